"""The reaches of all nodes: each tells its own, and ends what another is asked to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface.verify import verifyObject

from tests.fleet.relaying import TwoNodesCase
from tests.pairs import firings
from thing import StopCode
from thing.fleet import NotPresent
from thing.fleet.interfaces import IReaches
from thing.fleet.model import Undelivered
from thing.fleet.redis.reaches import FleetReaches, recordOf
from thing.fleet.redis.rows import MALFORMED


class Asking:
    """
    A presence that asks other nodes, as far as reaches need one.

    :ivar others: what the other nodes answer, by what they are asked.
    """

    def __init__(self, node: str) -> None:
        self.node = node
        self.served: dict[str, Callable[[Any], Any]] = {}
        self.others: list[dict[str, Callable[[Any], Any]]] = []
        self.complete = True
        self.located: list[str] = []
        self.only: list[str | None] = []
        self.where: Callable[[str], Deferred[Any]] = lambda _: succeed(None)

    def serve(self, op: str, answerer: Callable[[Any], Any]) -> None:
        self.served[op] = answerer

    def locate(self, id: str) -> Deferred[Any]:
        self.located.append(id)
        return self.where(id)

    def ask(self, op: str, question: Any, node: str | None = None) -> Deferred[Any]:
        self.only.append(node)
        asked = json.loads(json.dumps(question))
        answers = [json.loads(json.dumps(other[op](asked))) for other in self.others]
        return succeed((answers, self.complete))


class FleetReachesTests(TwoNodesCase):
    """Two nodes, with an operator on one and a thing on the other."""

    def setUp(self) -> None:
        super().setUp()
        self.asking, farAsking = Asking("node"), Asking("far")
        self.all = FleetReaches(self.reaches, self.asking)
        self.farAll = FleetReaches(self.farReaches, farAsking)
        self.asking.others, farAsking.others = [farAsking.served], [self.asking.served]
        self.asking.where = farAsking.where = self.known.locate

    def listed(self, reaches: FleetReaches, thing: str | None = None) -> Any:
        """What a node lists."""
        (found,) = firings(reaches.listed(thing))
        return found

    def test_listed(self) -> None:
        """Each node lists all, each of them once, as the thing's node tells it."""
        verifyObject(IReaches, self.all)
        _, near, *_ = self.reached()
        near.transport.write(b"12345")
        self.settle()
        (record,), complete = self.listed(self.all)
        self.assertEqual(self.listed(self.farAll), ([record], True))
        self.assertTrue(complete)
        self.assertEqual((record.node, record.thing, record.octetsUp), ("far", "lamp", 5))
        for reaches in (self.all, self.farAll):
            self.assertEqual(self.listed(reaches, "lamp"), ([record], True))
            self.assertEqual(self.listed(reaches, "clock"), ([], True))
        near.transport.abortConnection()
        self.settle()
        self.assertEqual(self.listed(self.all), ([], True))

    def test_oneThing(self) -> None:
        """For those of one thing only its node is asked; all of them if nobody tells which."""
        self.reached()
        self.assertEqual(len(self.listed(self.all, "lamp")[0]), 1)
        self.assertEqual(len(self.listed(self.farAll, "lamp")[0]), 1)
        self.assertEqual(self.listed(self.all, "clock"), ([], True))
        self.assertEqual(self.asking.only, ["far"])
        self.known.away = True
        self.assertEqual(len(self.listed(self.all, "lamp")[0]), 1)
        self.assertEqual(self.asking.only, ["far", None])

    def test_incomplete(self) -> None:
        """If a node is silent, or tells nonsense, the list says that there may be more."""
        self.reached()
        (good,), _ = self.listed(self.all)
        self.asking.others.append({"reaches": lambda _: {"found": [good.asDict(), {}]}})
        found, complete = self.listed(self.all)
        self.assertEqual((found[0], complete), (good, False))
        self.asking.others.pop()
        self.asking.complete = False
        self.assertEqual(self.listed(self.all), ([good], False))

    def test_ended(self) -> None:
        """Any node ends any reach, and both ends learn which word it was."""
        for reaches in (self.all, self.farAll):
            _, near, _, far = self.reached()
            (record,), _ = self.listed(self.all)
            self.assertEqual(firings(reaches.end(record.id)), [None])
            self.settle()
            self.assertIs(near.reason.code, StopCode.ENDED)
            self.assertIs(far.reason.code, StopCode.CANCELLED)
            self.assertEqual(self.events()[-1]["reason"], "ENDED")

    def test_notThere(self) -> None:
        """What nobody has is said so; unless a node is silent that may have it."""
        (error,) = firings(self.all.end("0" * 16))
        self.assertIsInstance(error, NotPresent)
        self.asking.complete = False
        (error,) = firings(self.all.end("0" * 16))
        self.assertIsInstance(error, Undelivered)

    def test_silent(self) -> None:
        """A reach to a thing whose node does not answer is ended at the operator's."""
        _, near, *_ = self.reached()
        (record,), _ = self.listed(self.all)
        self.asking.others, self.asking.complete = [], False
        self.assertEqual(firings(self.all.end(record.id)), [None])
        self.settle()
        self.assertIs(near.reason.code, StopCode.ENDED)
        self.assertEqual(self.farReaches.open, [])

    def test_records(self) -> None:
        """What makes no sense is no record."""
        self.reached()
        (record,), _ = self.listed(self.all)
        told = record.asDict()
        self.assertEqual(recordOf(told), record)
        for name in told:
            for value in (None, [], {}) if name != "since" else (None, "x", 1e999):
                self.assertRaises(MALFORMED, recordOf, told | {name: value})
        self.assertRaises(MALFORMED, recordOf, {})
        self.assertRaises(MALFORMED, recordOf, None)
