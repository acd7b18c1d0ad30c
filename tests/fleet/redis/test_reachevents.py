"""Reaches in the feed of many nodes: in the order of what else happens to their things."""

from __future__ import annotations

from typing import Any

from tests.fleet.reaching import OperatorsBook
from tests.fleet.redis.redises import FleetCase, Node
from tests.session.test_streams import HalfTalk, Maker
from thing import StopCode, ThingProtocol
from thing.fleet import Kind
from thing.fleet.operators import admitOperators
from thing.fleet.reaches import Reaches


class ReachEventTests(FleetCase):
    """Two nodes; an operator reaches a thing on the first."""

    book: OperatorsBook

    def setUp(self) -> None:
        super().setUp()
        self.book = OperatorsBook()

    async def two(self) -> tuple[Node, Node]:
        """Nodes that are told what happens."""
        nodes = await self.node("a"), await self.node("b")
        for node in nodes:
            admitOperators(node.factory, Reaches(node.presence.local))
            node.presence.subscribe(node.told.append).start()
        await self.connected(*nodes)
        return nodes

    async def reached(self, node: Node) -> tuple[ThingProtocol, Any]:
        """A thing, and an operator's stream to it."""
        served = Maker(HalfTalk)
        lamp = await self.connect(node, "lamp")
        lamp.streams.serve("reach:ssh", served)
        self.book.permits["olga"] = ("lamp:ssh",)
        operator = await self.dial(node, "olga")
        await operator.whenEstablished()
        near = await operator.streams.endpoint("reach:ssh:lamp").connect(served)
        return lamp, near

    async def assertTold(self, nodes: tuple[Node, Node], *kinds: Kind) -> None:
        """All nodes are told this of the lamp, in this order."""
        await self.until(lambda: all(node.events("lamp") == [*kinds] for node in nodes))
        self.assertEqual(nodes[0].told, nodes[1].told)
        self.assertOrdered()

    async def test_events(self) -> None:
        """Both are told on all nodes, with what belongs to them."""
        nodes = await self.two()
        lamp, near = await self.reached(nodes[0])
        near.transport.abortConnection()
        await self.until(lambda: len(nodes[1].events("lamp")) == 3)
        lamp.goodbye()
        await self.assertTold(nodes, Kind.JOINED, Kind.REACHED, Kind.REACH_ENDED, Kind.LEFT)
        data = [fed.event.data for fed in nodes[1].told if fed is not None]
        begun, ended = data[1:3]
        self.assertEqual((begun["by"], begun["service"]), ("olga", "ssh"))
        self.assertEqual((ended["reach"], ended["reason"]), (begun["reach"], "CANCELLED"))

    async def test_thingGoesFirst(self) -> None:
        """If the thing goes, or comes anew, its reaches end before that is told."""
        nodes = await self.two()
        lamp, _ = await self.reached(nodes[0])
        lamp.abort()
        await self.assertTold(nodes, Kind.JOINED, Kind.REACHED, Kind.REACH_ENDED, Kind.LEFT)
        await self.reached(nodes[0])
        await self.connect(nodes[0], "lamp")
        await self.assertTold(
            nodes,
            *(Kind.JOINED, Kind.REACHED, Kind.REACH_ENDED, Kind.LEFT),
            *(Kind.JOINED, Kind.REACHED, Kind.REACH_ENDED, Kind.MOVED),
        )

    async def test_movesAway(self) -> None:
        """If it comes anew on another node, that stands for the end of its reaches."""
        nodes = await self.two()
        _, near = await self.reached(nodes[0])
        await self.connect(nodes[1], "lamp")
        await self.assertTold(nodes, Kind.JOINED, Kind.REACHED, Kind.MOVED)
        await self.until(lambda: near.reason is not None)
        self.assertIs(near.reason.code, StopCode.WENT_AWAY)
