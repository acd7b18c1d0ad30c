"""Reaches, as the fleet's HTTP server tells of them and ends them."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator
from twisted.internet.defer import fail, succeed

from tests.fleet.http.test_api import ApiCase, schemaOf
from tests.fleet.reaching import ReachCase
from thing import StopCode
from thing.fleet import Undelivered
from thing.fleet.http import StatusSite
from thing.fleet.http.metrics import Exporter
from thing.fleet.meter import Meter


class ReachApiTests(ReachCase, ApiCase):
    """``/reaches``, and what else says something of them."""

    def setUp(self) -> None:
        super().setUp()
        self.serveReaches(self.reaches)

    def serveReaches(self, reaches: Any) -> None:
        """Have the HTTP server tell of these."""
        self.site = StatusSite(self.home, reaches=reaches, wallClock=self.wallClock)
        meter = Meter(self.home.local.factory)
        self.site.api.figures = Exporter(meter, self.home, self.site.api, self.site, reaches).answer

    def samples(self) -> dict[str, float]:
        """The figures of reaches, as they are written."""
        lines = self.ask("/metrics").body.decode().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if line.startswith("thing_reach")]
        return {name: float(value) for name, value in pairs}

    def test_none(self) -> None:
        """Where nothing is reached the list is empty."""
        self.assertEqual(self.ask("/reaches").json, {"reaches": [], "complete": True})
        self.assertEqual(self.ask("/reaches", "HEAD").status, 200)
        self.assertEqual(self.ask(f"/reaches/{'0' * 16}", "DELETE").status, 404)
        self.assertEqual(self.ask("/reaches?id=x").status, 400)
        self.assertEqual(self.ask(f"/reaches/{'0' * 16}?x=y", "DELETE").status, 400)

    def test_unreachable(self) -> None:
        """So it is where nothing can be, and there are no figures."""
        self.serveReaches(None)
        self.assertEqual(self.ask("/reaches").json, {"reaches": [], "complete": True})
        self.assertEqual(self.ask(f"/reaches/{'0' * 16}", "DELETE").status, 404)
        self.connect(self.home, "lamp")
        self.assertEqual(self.ask("/thing?id=lamp").json["reaches"], [])
        self.assertEqual(self.samples(), {})

    def test_listed(self) -> None:
        """Those that are open are listed, and told of their thing, and nowhere else."""
        self.reached()
        self.connect(self.home, "clock")
        (found,) = self.ask("/reaches").json["reaches"]
        told = {"thing": "lamp", "service": "ssh", "by": "olga", "from": "192.0.2.1:1"}
        self.assertEqual({name: found[name] for name in told}, told)
        self.assertEqual(self.ask("/thing?id=lamp").json["reaches"], [found])
        self.assertEqual(self.ask("/thing?id=clock").json["reaches"], [])
        for each in self.ask("/things").json["things"]:
            self.assertNotIn("reaches", each)

    def test_ended(self) -> None:
        """One is ended by its id, once."""
        _, near, _, _ = self.reached()
        (found,) = self.ask("/reaches").json["reaches"]
        response = self.ask(f"/reaches/{found['id']}", "DELETE")
        self.assertEqual((response.status, response.json), (202, {}))
        self.settle()
        self.assertEqual(near.reason.code, StopCode.ENDED)
        self.assertEqual(self.ask("/reaches").json["reaches"], [])
        self.assertEqual(self.ask(f"/reaches/{found['id']}", "DELETE").status, 404)

    def test_elsewhere(self) -> None:
        """A node that does not answer, or is not heard, is told as such."""
        self.reaches.end = lambda id: fail(Undelivered("x"))  # type: ignore[method-assign]
        self.reaches.listed = lambda thing: succeed(([], False))  # type: ignore[assignment]
        self.assertEqual(self.ask(f"/reaches/{'0' * 16}", "DELETE").status, 504)
        self.assertEqual(self.ask("/reaches").json, {"reaches": [], "complete": False})
        self.thing()
        self.assertFalse(self.ask("/thing?id=lamp").json["complete"])

    def test_events(self) -> None:
        """Both events are told as they are described."""
        connection = self.open(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        _, near, _, _ = self.reached()
        near.transport.abortConnection()
        self.settle()
        told = [each for each in self.events() if each["kind"].startswith("reach")]
        self.assertEqual(len(told), 2)
        read = connection.read().decode()
        for each in told:
            self.assertIn(f"event: {each['kind']}\n", read)
            Draft202012Validator(schemaOf("Event")).validate({"position": "1-0", **each})

    def test_figures(self) -> None:
        """What is open, what came of all that were asked for, and the octets of each direction."""
        operator, near, _, far = self.reached()
        near.transport.write(b"12345")
        far.transport.write(b"123")
        self.opened(operator, "reach:ssh:nobody")
        self.assertEqual(
            {name: value for name, value in self.samples().items() if value},
            {
                "thing_reaches_open": 1,
                'thing_reaches_total{outcome="OPENED"}': 1,
                'thing_reaches_total{outcome="UNKNOWN_THING"}': 1,
                'thing_reach_octets_total{direction="up"}': 5,
                'thing_reach_octets_total{direction="down"}': 3,
            },
        )
