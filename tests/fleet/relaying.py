"""Nodes in memory, with operators on one and things on another: what tests of relays share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError

from tests.fleet.inmemory import WALL
from tests.fleet.reaching import OperatorsBook, ReachCase
from tests.pairs import Pair
from tests.session.test_streams import HalfTalk, Maker
from thing import Identity, IdentityKey
from thing.core.capacity import Capacity
from thing.core.records import RECORD_LIMIT
from thing.fleet import MemoryPresence, NodeRecord, ThingRecord
from thing.fleet.health import rawFingerprint
from thing.fleet.model import Undelivered
from thing.fleet.nodes import STREAMS, Nodes
from thing.fleet.relays import Relays, admitNodes
from thing.identity import Purpose
from thing.session.review import Review


class NodesBook(OperatorsBook):
    """
    Knows nodes, too.

    :ivar nodes: what each may ask for, by its key's fingerprint.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nodes: dict[str, tuple[str, ...]] = {}

    def authorize(self, identity: Identity) -> Identity:
        permits = self.nodes.get(identity.fingerprint)
        if permits is None:
            return super().authorize(identity)
        return replace(identity, name="a node", purpose=Purpose.NODE, permits=permits)


class Known:
    """A node's presence, which knows of another node what a registry would tell."""

    def __init__(self, own: MemoryPresence, other: MemoryPresence, address: str) -> None:
        self.node, self.local = own.node, own.local
        self.other = other
        self.away = False
        self.told = NodeRecord(
            node=other.node,
            since=WALL,
            lastSeen=WALL,
            status="up",
            sessions=0,
            advertised=address,
            fingerprint=rawFingerprint(other.local.factory.settings),
        )
        self.more: list[NodeRecord] = []
        """Other nodes that are told."""
        self.located: list[ThingRecord | None] = []
        """What is told first of where things are, in place of the truth."""

    def locate(self, id: str) -> Deferred[ThingRecord | None]:
        if self.away:
            return fail(Undelivered("the registry cannot be reached"))
        if self.located:
            return succeed(self.located.pop(0))
        return succeed(self.local.find(id) or self.other.local.find(id))

    def nodes(self) -> Deferred[list[NodeRecord]]:
        return succeed([] if self.away else [self.told, *self.more])


class TwoNodesCase(ReachCase):
    """
    Tests with two nodes: operators come to ``home``, and things to ``far``.

    :ivar far: the presence of the second node.
    :ivar farReaches: its reaches.
    :ivar known: what the first node knows.
    :ivar nodes: the sessions of the first node with the second.
    :ivar dialed: to where the first node has connected.
    :ivar hosts: the factories of other nodes that it may find there.
    :ivar ways: its connections.
    :ivar dial: makes one.
    """

    book: NodesBook

    def setUp(self) -> None:
        super().setUp()
        self.book = self.home.local.factory.authorizer = NodesBook()
        # As ``twistd thing`` has it.
        capacity = Capacity(RECORD_LIMIT, 32768, 16384, STREAMS)
        self.far = self.presence(node="far", capacity=capacity)
        self.farReaches = self.reachable(self.far)
        admitNodes(self.far.local.factory, self.farReaches)
        self.nodeKey = IdentityKey.generate()
        self.permit("*:*")
        self.known = Known(self.home, self.far, "far.example:9000")
        self.dialed: list[tuple[str, int]] = []
        self.hosts = {"far.example": self.far.local.factory}
        self.ways: list[Pair] = []
        self.dial: Callable[[Any], Deferred[Any]] = self.connected
        self.nodes = Nodes(self.known, lambda: self.nodeKey, self.endpoint)
        self.reaches.elsewhere = Relays(self.known, self.nodes).connect
        self.farReaches.elsewhere = self.reaches.elsewhere

    def permit(self, *permits: str) -> None:
        """What the first node may ask the second for."""
        self.book.nodes[self.nodeKey.fingerprint] = permits

    def endpoint(self, host: str, port: int) -> Any:
        """Connects to the second node, wherever it is said to be."""
        self.dialed.append((host, port))
        return self

    def connect(self, first: Any, *args: Any, **named: Any) -> Any:
        """As an endpoint, connect; as a case, have a thing or an operator connect."""
        if isinstance(first, MemoryPresence):
            return super().connect(first, *args, **named)
        return self.dial(first)

    def connected(self, factory: Any) -> Deferred[Any]:
        """There is a network, and a node answers."""
        there = self.hosts[self.dialed[-1][0]]
        pair = self.pair(serverFactory=there, clientFactory=factory, clock=self.clock)
        self.ways.append(pair.connect())
        return succeed(pair.client)

    def refused(self, factory: Any) -> Deferred[Any]:
        """Nobody answers."""
        return fail(ConnectError(string="nobody is there"))

    def thing(self, name: str = "lamp", *services: str, kind: Any = HalfTalk) -> tuple[Pair, Maker]:
        """A thing on the second node."""
        pair, maker = self.connect(self.far, name), Maker(kind)
        for service in services or ("ssh",):
            pair.client.streams.serve(f"reach:{service}", maker)
        return pair, maker

    def reviewFar(self) -> None:
        """The second node judges everybody again, as after a reload."""
        Review(self.far.local.factory).run()
        self.advance(0.5)

    def advance(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass, and then everything arrive."""
        super().advance(seconds, step)
        self.settle()

    def tearDown(self) -> None:
        self.nodes.stopService()
        self.settle()
        for pair in self.ways:  # Their ends record nothing.
            pair.close()
            self.pairs.remove(pair)
        super().tearDown()
