"""The figures of a node: what is counted, what Prometheus reads, and what the docs say of it."""

from __future__ import annotations

import gc
import re
from typing import Any
from unittest import mock

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from tests import PROJECT
from tests.fleet.http.web import WebCase
from tests.fleet.reaching import OperatorsBook
from tests.pairs import firings, freshClient
from thing import Anonymous, Cause, EndReason, ErrorCode, Limits, Termination
from thing.core.limits import LIMITS_HIT
from thing.fleet import Kind
from thing.fleet.http.answers import STATUSES
from thing.fleet.http.description import DESCRIPTION
from thing.fleet.http.metrics import Exporter
from thing.fleet.http.places import MAX_STRANGERS
from thing.fleet.interfaces import ISharedPresence
from thing.fleet.meter import PROBE_INTERVAL, Histogram, Meter, reasonOf
from thing.fleet.operators import admitOperators
from thing.fleet.reaches import Reaches


class MeterCase(WebCase):
    """
    Tests with a meter, and its figures as Prometheus reads them.

    :ivar meter: the meter.
    """

    book: OperatorsBook

    def serve(self, *args: Any, **named: Any) -> Any:
        self.book = OperatorsBook()
        site = super().serve(*args, **named)
        self.factory = self.home.local.factory
        self.meter = Meter(self.factory)
        reaches = Reaches(self.home.local)
        admitOperators(self.factory, reaches)
        site.api.figures = Exporter(self.meter, self.home, site.api, site, reaches).answer
        return site

    def share(self, registry: str, connections: dict[str, str]) -> None:
        """Have the presence say that it shares a registry, and how that is."""
        self.home.registry, self.home.connections = registry, connections
        self.home.waiting, self.home.dropped, self.home.malformed = 7, 3, 1
        directlyProvides(self.home, ISharedPresence)

    def families(self) -> dict[str, Any]:
        """The figures, by their names."""
        response = self.ask("/metrics")
        self.assertEqual(response.status, 200)
        self.assertTrue(response.headers["content-type"].startswith("text/plain"))
        return {each.name: each for each in text_string_to_metric_families(response.body.decode())}

    def samples(self) -> dict[str, float]:
        """The samples, as they are written."""
        lines = self.ask("/metrics").body.decode().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return {name: float(value) for name, value in pairs}


class BornTests(MeterCase):
    """A figure that is first seen when it is 50 has not grown, as Prometheus sees it."""

    def test_zero(self) -> None:
        """All that can be counted is told from the start, at zero."""
        now = self.samples()
        for name, labels in {
            "thing_handshakes_total": [
                f'result="{result}"'
                for result in ("ESTABLISHED", "SILENT", "TRUNCATED", "NOT_AUTHORIZED", "OTHER")
            ],
            "thing_terminations_total": [
                'cause="GOODBYE",peer="thing",reason=""',
                'cause="GOODBYE",peer="thing",reason="SHUTDOWN"',
                'cause="FLAT_LINED",peer="thing",reason="HEARTBEAT_MISSED"',
                'cause="TRUNCATED",peer="thing",reason=""',
                'cause="PROTOCOL_ERROR",peer="thing",reason="RECORD_UNREADABLE"',
                'cause="ABORTED",peer="thing",reason="CLOSE_TIMEOUT"',
                'cause="PROTOCOL_ERROR",peer="guest",reason="RECORD_UNREADABLE"',
            ],
            "thing_reaches_total": ['outcome="OPENED"', 'outcome="NOT_PERMITTED"'],
            "thing_http_answers_total": ['status="404"', 'status="500"'],
        }.items():
            for each in labels:
                self.assertEqual(now[f"{name}{{{each}}}"], 0)
        self.assertLess(len(now), 500)

    def test_nothingIsBorn(self) -> None:
        """Whatever happens, no figure comes to those that are there."""
        born = set(self.samples())
        pairs = [self.connect(self.home, name) for name in ("lamp", "clock", "door", "bell")]
        pairs[0].client.goodbye()
        pairs[1].freeze()
        pairs[2].server.goAway(EndReason.REVOKED)
        pairs[3].client.reject(ErrorCode.RECORD_UNREADABLE)
        self.advance(100)
        self.pair(serverFactory=self.factory, clock=self.clock).connect()
        self.ask("/nothing")
        self.ask("/things", method="PUT")
        self.assertEqual(set(self.samples()) - born, set())
        self.assertGreaterEqual(sum(map(bool, self.meter.terminations.values())), 4)

    def test_statuses(self) -> None:
        """All statuses of answers are known: those of the description, and those of the code."""
        described = {
            int(status)
            for path in DESCRIPTION["paths"].values()
            for operation in path.values()
            if "responses" in operation
            for status in operation["responses"]
        }
        code = "".join(path.read_text() for path in (PROJECT / "thing/fleet/http").glob("*.py"))
        raised = {int(status) for status in re.findall(r"Problem\(\s*(\d{3})\b", code)}
        self.assertGreater(len(described & raised), 5)
        self.assertEqual((described | raised) - set(STATUSES), set())


class Echo(Protocol):
    """Sends back what it gets."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class CountingTests(MeterCase):
    """What is counted."""

    def test_streams(self) -> None:
        """Open streams are counted, and how often what goes to a client waits for credit."""
        pair = self.connect(self.home, "lamp")
        pair.server.streams.serve("talk", Factory.forProtocol(Protocol))
        fired = firings(pair.client.streams.endpoint("talk").connect(Factory.forProtocol(Protocol)))
        pair.pump()
        self.assertEqual(self.samples()["thing_streams_open"], 1)
        self.assertEqual(self.samples()["thing_credit_stalls_total"], 0)
        pair.client.pauseProducing()
        pair.server.sendMessage(bytes(1 << 20))
        pair.pump()
        self.assertGreaterEqual(self.samples()["thing_credit_stalls_total"], 1)
        fired[0].transport.loseConnection()
        pair.client.resumeProducing()
        self.advance(1)
        self.assertEqual(self.samples()["thing_streams_open"], 0)
        stalls = self.samples()["thing_credit_stalls_total"]
        pair.client.goodbye()
        self.advance(1)
        self.assertEqual(self.samples()["thing_credit_stalls_total"], stalls)

    def test_octets(self) -> None:
        """Octets of streams are counted by what is served; labels of peers' own are one."""
        talk = Factory.forProtocol(Echo)
        self.factory.serve("talk", talk)
        self.factory.serve("tell:", talk)
        pair = self.connect(self.home, "lamp")
        pair.server.streams.serve("own", talk)
        for label, size in (("talk", 1000), ("tell:a", 200), ("tell:b", 30), ("own", 4)):
            fired = firings(
                pair.client.streams.endpoint(label).connect(Factory.forProtocol(Protocol))
            )
            pair.pump()
            fired[0].transport.write(bytes(size))
        pair.pump()
        now = self.samples()
        name = 'thing_stream_octets_total{direction="%s",label="%s"}'
        for label, octets in (("talk", 1000), ("tell:", 230), ("", 4)):
            self.assertEqual(now[name % ("received", label)], octets)
            self.assertEqual(now[name % ("sent", label)], octets)

    def test_session(self) -> None:
        """A session is counted while it is up, and in the sums for ever."""
        pair = self.connect(self.home, "lamp")
        pair.client.sendMessage(b"one")
        pair.server.sendMessage(b"two")
        pair.pump()
        now = self.samples()
        self.assertEqual(now["thing_sessions"], 1)
        self.assertEqual(now['thing_handshakes_total{result="ESTABLISHED"}'], 1)
        self.assertEqual(now["thing_messages_received_total"], 1)
        self.assertEqual(now["thing_messages_sent_total"], 1)
        self.assertEqual(now["thing_received_bytes_total"], pair.clientEnd.taken)
        self.assertEqual(now["thing_sent_bytes_total"], pair.serverEnd.taken)
        pair.client.goodbye()
        self.advance(1)
        later = self.samples()
        self.assertEqual(later["thing_sessions"], 0)
        self.assertEqual(later["thing_messages_received_total"], 1)
        self.assertEqual(later["thing_received_bytes_total"], pair.clientEnd.taken)
        self.assertEqual(later["thing_sent_bytes_total"], pair.serverEnd.taken)
        self.assertEqual(
            later['thing_terminations_total{cause="GOODBYE",peer="thing",reason=""}'], 1
        )

    def test_resumed(self) -> None:
        """A handshake with a ticket is told apart."""
        protocol, event = mock.Mock(), mock.Mock()
        event.session.resumed = True
        self.meter._handshakeCompleted(protocol, event)
        self.assertEqual(self.meter.handshakes["RESUMED"], 1)
        self.assertEqual(self.meter.handshakes.total(), 1)

    def test_refused(self) -> None:
        """A handshake that comes to nothing is counted by its error; it is no termination."""
        pair = self.connect(self.home, "stranger", self.keyOfNobody())
        self.assertIs(pair.client.end.code, ErrorCode.NOT_AUTHORIZED)
        now = self.samples()
        self.assertEqual(now['thing_handshakes_total{result="NOT_AUTHORIZED"}'], 1)
        self.assertEqual(now['thing_handshake_duration_seconds_count{result="failed"}'], 1)
        self.assertEqual(self.meter.terminations.total(), 0)
        self.assertGreater(now["thing_received_bytes_total"], 0)

    def test_silent(self) -> None:
        """Who says nothing is told apart, and is no handshake that took a time."""
        for said in ((), (b"\x00",)):
            protocol: Any = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4000))
            protocol.makeConnection(StringTransport())
            for octets in said:
                protocol.dataReceived(octets)
            protocol.connectionLost(Failure(ConnectionDone()))
        now = self.samples()
        self.assertEqual(now['thing_handshakes_total{result="SILENT"}'], 1)
        self.assertEqual(now['thing_handshakes_total{result="TRUNCATED"}'], 1)
        self.assertEqual(now['thing_handshake_duration_seconds_count{result="failed"}'], 1)
        for octets in (b"", b"\x00"):
            late: Any = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4000))
            late.makeConnection(StringTransport())
            if octets:
                late.dataReceived(octets)
        self.advance(60)
        now = self.samples()
        self.assertEqual(now['thing_handshakes_total{result="SILENT"}'], 2)
        self.assertEqual(now['thing_handshakes_total{result="HANDSHAKE_TIMEOUT"}'], 1)
        self.assertEqual(now['thing_handshake_duration_seconds_count{result="failed"}'], 2)

    def keyOfNobody(self) -> Any:
        """A key that the book does not know."""
        key = self.key("nobody")
        del self.book.names[key.fingerprint]
        return key

    def test_handshakeTime(self) -> None:
        """How long a handshake took is measured from the connection on."""
        client = freshClient(credential=self.key("lamp"))
        pair = self.pair(client=client, serverFactory=self.factory, clock=self.clock)
        pair.connect()
        self.assertEqual(self.samples()["thing_handshakes_in_progress"], 1)
        self.clock.advance(0.3)
        pair.pump()
        now = self.samples()
        name = 'thing_handshake_duration_seconds_bucket{le="%s",result="established"}'
        self.assertEqual((now[name % "0.25"], now[name % "0.5"]), (0, 1))
        self.assertEqual(now["thing_handshakes_in_progress"], 0)

    def test_beats(self) -> None:
        """Heartbeats are counted, with their round trips and how late they came."""
        self.connect(self.home, "lamp")
        self.advance(60)
        now = self.samples()
        self.assertGreaterEqual(now["thing_heartbeats_total"], 5)
        beats = now["thing_heartbeats_total"]
        self.assertEqual(now["thing_heartbeat_lateness_seconds_count"], beats - 1)
        self.assertEqual(now["thing_heartbeat_round_trip_seconds_count"], beats - 1)
        self.assertEqual(now['thing_heartbeat_lateness_seconds_bucket{le="0.5"}'], beats - 1)

    def test_late(self) -> None:
        """A heartbeat that does not come is missed; one that comes late counts as late."""
        pair = self.connect(self.home, "lamp")
        self.advance(15)
        pair.freeze()
        self.advance(20)
        self.assertEqual(self.samples()["thing_heartbeats_missed_total"], 1)
        pair.serverEnd.frozen = pair.clientEnd.frozen = False
        self.advance(1)
        now = self.samples()
        self.assertEqual(now["thing_heartbeats_missed_total"], 1)
        name = 'thing_heartbeat_lateness_seconds_bucket{le="%s"}'
        self.assertEqual(now[name % "+Inf"] - now[name % "5.0"], 1)

    def test_flatLine(self) -> None:
        """A session that ends without a goodbye is counted by its cause and reason."""
        pair = self.connect(self.home, "lamp")
        self.advance(12)
        pair.freeze()
        self.advance(40)
        name = 'thing_terminations_total{cause="FLAT_LINED",peer="thing",reason="HEARTBEAT_MISSED"}'
        self.assertEqual(self.samples()[name], 1)
        self.assertEqual(self.meter._due, {})

    def test_guests(self) -> None:
        """An operator is no thing: the ends of its sessions are told apart from theirs."""
        self.book.permits["olga"] = ("*:*",)
        pair = self.connect(self.home, "olga")
        now = self.samples()
        self.assertEqual((now["thing_sessions"], now["thing_guests"]), (0, 1))
        pair.freeze()
        self.advance(100)
        now = self.samples()
        name = 'thing_terminations_total{cause="FLAT_LINED",peer="%s",reason="HEARTBEAT_MISSED"}'
        self.assertEqual((now[name % "thing"], now[name % "guest"]), (0, 1))
        self.assertEqual((now["thing_sessions"], now["thing_guests"]), (0, 0))
        self.assertEqual((self.meter.joined, self.meter.left), (0, 0))
        (record,) = self.successResultOf(self.home.nodes())
        self.assertEqual(record.minutes, ())

    def test_reasons(self) -> None:
        """A peer may choose any number for a reason; there is one name for all that have none."""
        for termination, reason in {
            Termination(Cause.GOODBYE): "",
            Termination(Cause.GOODBYE, reason=EndReason.SHUTDOWN): "SHUTDOWN",
            Termination(Cause.REJECTED, code=ErrorCode.NO_COMMON_AEAD): "NO_COMMON_AEAD",
            Termination(Cause.REJECTED, code=0xBEEF, byPeer=True): "OTHER",
        }.items():
            self.assertEqual(reasonOf(termination), reason)

    def test_limits(self) -> None:
        """A connection that is turned away is counted by the limit that it met."""
        self.factory.limits = Limits(sessions=1)
        self.connect(self.home, "lamp")
        self.connect(self.home, "clock")
        self.factory.limits = Limits(sessionsPerAddress=1)
        self.connect(self.home, "door")
        self.factory.limits = Limits(sessions=1, handshakes=0)
        self.assertIsNone(self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1)))
        self.factory.limits = Limits()
        self.factory.drain(1)
        self.connect(self.home, "late")
        now = self.samples()
        found = {limit: now[f'thing_limits_hit_total{{limit="{limit}"}}'] for limit in LIMITS_HIT}
        hit = ("sessions", "sessions_per_address", "connections", "draining")
        self.assertEqual(found, {limit: float(limit in hit) for limit in LIMITS_HIT})
        self.assertEqual(now["thing_draining"], 1)

    def test_handshakeLimits(self) -> None:
        """So is a handshake that is displaced, or one too many of an address."""
        self.factory.limits = Limits(handshakes=1)
        pairs = [self.pair(serverFactory=self.factory, clock=self.clock) for _ in range(3)]
        for pair in pairs[:2]:
            pair.connect()
        self.assertEqual(self.factory.limitsHit, {"handshakes": 1})
        self.factory.limits = Limits(handshakesPerAddress=1)
        pairs[2].connect()
        self.assertEqual(self.factory.limitsHit["handshakes_per_address"], 1)

    def test_puzzles(self) -> None:
        """Clients that are asked to solve a puzzle are counted."""
        self.factory.limits = Limits(puzzleAfter=0, puzzleBits=1)
        self.connect(self.home, "lamp")
        self.assertEqual(self.samples()["thing_puzzles_asked_total"], 1)

    def test_events(self) -> None:
        """What is told of this node's things is counted by kind, takeovers and twins among it."""
        for _ in range(5):
            self.connect(self.home, "lamp")
        now = self.samples()
        kinds = {kind: now[f'thing_events_total{{kind="{kind.value}"}}'] for kind in Kind}
        self.assertEqual(kinds[Kind.JOINED], 1)
        self.assertEqual((kinds[Kind.MOVED], kinds[Kind.TWINS]), (4, 1))
        self.assertEqual(now["thing_takeovers_total"], 4)

    def test_lag(self) -> None:
        """The event loop's lag is measured while the meter runs, and leaves nothing behind."""
        self.meter.start()
        self.clock.advance(PROBE_INTERVAL)
        self.clock.advance(PROBE_INTERVAL + 0.2)
        self.meter.stop()
        self.meter.stop()
        now = self.samples()
        self.assertEqual(now["thing_event_loop_lag_seconds_count"], 2)
        self.assertEqual(now['thing_event_loop_lag_seconds_bucket{le="0.1"}'], 1)
        self.assertAlmostEqual(now["thing_event_loop_lag_seconds_sum"], 0.2)

    def test_pauses(self) -> None:
        """The collector's pauses are measured while the meter runs."""
        before = list(gc.callbacks)
        self.meter.start()
        gc.collect()
        self.meter.stop()
        gc.collect()
        self.assertEqual(gc.callbacks, before)
        now = self.samples()
        self.assertGreaterEqual(now["thing_gc_pause_seconds_count"], 1)
        self.assertGreater(now["thing_gc_pause_seconds_sum"], 0)

    def test_watchers(self) -> None:
        """Who follows over HTTP is counted, and what is answered."""
        self.open(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.ask("/nothing")
        now = self.samples()
        self.assertEqual(now["thing_event_readers"], 1)
        self.assertEqual(now['thing_http_answers_total{status="404"}'], 1)
        self.assertEqual(now["thing_event_readers_cut_off_total"], 0)
        self.assertEqual(now["thing_http_connections"], 3)

    def test_crowd(self) -> None:
        """Connections over HTTP that met a limit are counted by it."""
        for _ in range(MAX_STRANGERS + 2):
            self.open()
        now = self.samples()
        self.assertEqual(now['thing_http_limits_hit_total{limit="strangers"}'], 3)
        self.assertEqual(now['thing_http_limits_hit_total{limit="admitted"}'], 0)

    def test_anonymous(self) -> None:
        """No figure says who anybody is."""
        self.connect(self.home, None)
        key = self.key("lamp")
        self.connect(self.home, "lamp")
        text = self.ask("/metrics").body.decode()
        for secret in ("lamp", key.fingerprint, "192.0.2", Anonymous.__name__.lower()):
            self.assertNotIn(secret, text)


class HistogramTests(MeterCase):
    """Durations in buckets."""

    def test_bounds(self) -> None:
        """A bound belongs to its bucket; what is beyond all bounds is counted, too."""
        histogram = Histogram((1.0, 2.0))
        for seconds in (0.0, 1.0, 1.5, 2.0, 2.1, 1e9):
            histogram.add(seconds)
        self.assertEqual(histogram.counts, [2, 2, 2])
        self.assertEqual(histogram.total, sum((0.0, 1.0, 1.5, 2.0, 2.1, 1e9)))

    def test_buckets(self) -> None:
        """For Prometheus each bucket holds the smaller ones, and the last one all."""
        for seconds in (0.0001, 0.3, 0.3, 99.0):
            self.meter.roundTrips.add(seconds)
        family = self.families()["thing_heartbeat_round_trip_seconds"]
        counts = [each.value for each in family.samples if each.name.endswith("_bucket")]
        self.assertEqual(counts, sorted(counts))
        self.assertEqual((counts[0], counts[-1]), (1, 4))


class SharedTests(MeterCase):
    """The registry that nodes share."""

    def test_alone(self) -> None:
        """A node that shares nothing has no samples of it."""
        self.assertEqual([name for name in self.samples() if "registry" in name], [])

    def test_shared(self) -> None:
        """Whether it is there, and what it cost that it was not."""
        self.share(registry="away", connections={"writing": "", "hearing": "refused"})
        found = {name: it for name, it in self.samples().items() if "registry" in name}
        self.assertEqual(
            found,
            {
                "thing_registry_up": 0,
                'thing_registry_connection_up{purpose="writing"}': 1,
                'thing_registry_connection_up{purpose="hearing"}': 0,
                "thing_registry_writes_waiting": 7,
                "thing_registry_messages_dropped_total": 3,
                "thing_registry_malformed_total": 1,
            },
        )
        self.home.registry = "connected"
        self.assertEqual(self.samples()["thing_registry_up"], 1)
