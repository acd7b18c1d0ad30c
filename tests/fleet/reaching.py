"""Operators, and things that expose services, in memory: what the tests of reaches share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.fleet.inmemory import Book, PresenceCase
from tests.pairs import Pair, firings
from tests.session.test_streams import HalfTalk, Maker
from thing import Identity
from thing.fleet import MemoryPresence
from thing.fleet.operators import admitOperators
from thing.fleet.reaches import Reaches
from thing.identity import Purpose
from thing.session.review import Review


class OperatorsBook(Book):
    """
    Knows operators, too.

    :ivar permits: what each may reach, by its name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.permits: dict[str, tuple[str, ...]] = {}

    def authorize(self, identity: Identity) -> Identity:
        found = super().authorize(identity)
        if found.name not in self.permits:
            return found
        permits = self.permits[found.name]
        return replace(found, purpose=Purpose.OPERATOR, permits=permits)


class ReachCase(PresenceCase):
    """
    Tests with a node whose things can be reached.

    :ivar home: the node's presence.
    :ivar reaches: its reaches.
    """

    book: OperatorsBook

    def setUp(self) -> None:
        super().setUp()
        self.book = OperatorsBook()
        self.home = self.presence()
        self.reaches = self.reachable(self.home)

    def reachable(self, presence: MemoryPresence, **bounds: int) -> Reaches:
        """The reaches of a node."""
        reaches = Reaches(presence.local, **bounds)
        admitOperators(presence.local.factory, reaches)
        return reaches

    def thing(self, name: str = "lamp", *services: str, kind: Any = HalfTalk) -> tuple[Pair, Maker]:
        """A thing that exposes services, and what serves them: "ssh" if none is named."""
        pair, maker = self.connect(self.home, name), Maker(kind)
        for service in services or ("ssh",):
            pair.client.streams.serve(f"reach:{service}", maker)
        return pair, maker

    def operator(self, *permits: str, name: str = "olga") -> Pair:
        """An operator; without permits it may reach all."""
        self.book.permits[name] = permits or ("*:*",)
        return self.connect(self.home, name)

    def opening(self, operator: Pair, label: str = "reach:ssh:lamp", kind: Any = HalfTalk) -> Any:
        """What an operator's stream fires with, as a list that grows."""
        return firings(operator.client.streams.endpoint(label).connect(Maker(kind)))

    def opened(self, operator: Pair, label: str = "reach:ssh:lamp", kind: Any = HalfTalk) -> Any:
        """The protocol, or the error, that came of an operator's stream."""
        waiter = self.opening(operator, label, kind)
        self.settle()
        (result,) = waiter
        return result

    def settle(self) -> None:
        """Let everything arrive, at all pairs."""
        for _ in range(8):
            for pair in self.pairs:
                pair.pump()

    def reached(self, **choices: Any) -> tuple[Pair, Any, Pair, Any]:
        """An operator with its protocol, and a thing with its own, which are joined."""
        thing, maker = self.thing()
        operator = self.operator()
        near = self.opened(operator, **choices)
        return operator, near, thing, maker.made[-1]

    def review(self) -> None:
        """Have everybody judged again, as after a reload."""
        Review(self.home.local.factory).run()
        self.advance(0.5)

    def events(self, id: str = "lamp") -> list[dict[str, Any]]:
        """What was told of a thing, as dictionaries."""
        return [fed.event.asDict() for fed in self.told if fed.event.id == id]
