"""Reaches under whatever happens, in any order: nothing is left, and all is told."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import Deferred

from tests.fleet.reaching import ReachCase
from tests.pairs import Pair
from tests.session.test_streams import HalfTalk, Maker
from thing import StopCode
from thing.fleet import Kind

STEPS = 120
"""How much happens in each test."""


class AnyOrderTests(ReachCase):
    """Two things and two operators, who come, go, ask, answer, write, pause and close."""

    def setUp(self) -> None:
        super().setUp()
        self.things: dict[str, Pair] = {}
        self.operators: dict[str, Pair] = {}
        self.makers: list[Maker] = []
        self.opening: list[Deferred[Any]] = []
        self.undecided: list[tuple[Deferred[Any], Maker]] = []
        self.random = random.Random(0)

    def comes(self, name: str) -> None:
        """A thing comes, or comes anew; of what it does not serve it decides later."""
        pair, maker = self.thing(name)
        self.makers.append(maker)

        def later(label: str) -> Deferred[Any]:
            self.undecided.append((Deferred(), maker))
            return self.undecided[-1][0]

        pair.client.streamRequested = later
        self.things[name] = pair

    def asks(self) -> None:
        """An operator opens a stream."""
        service, thing = self.random.choice(("ssh", "ssh", "later")), self.random.choice("abc")
        maker = Maker(HalfTalk)
        operator = self.operators[self.random.choice(("olga", "otto"))]
        endpoint = operator.client.streams.endpoint(f"reach:{service}:{thing}")
        connecting = endpoint.connect(maker)
        connecting.addErrback(lambda _: None)
        self.opening.append(connecting)
        self.makers.append(maker)

    def givesUp(self) -> None:
        """An operator waits no more, for one that may be open already."""
        if self.opening:
            self.opening.pop(self.random.randrange(len(self.opening))).cancel()

    def decides(self) -> None:
        """A thing decides."""
        if self.undecided:
            answer, maker = self.undecided.pop(self.random.randrange(len(self.undecided)))
            if not answer.called:
                answer.callback(self.random.choice((maker, None)))

    def acts(self) -> None:
        """One end of a stream does something."""
        made = [end for maker in self.makers for end in maker.made if end.transport is not None]
        ends = [end for end in made if end.reason is None]
        if not ends:
            return
        transport = self.random.choice(ends).transport
        name, *args = self.random.choice(
            (
                ("write", bytes(self.random.randrange(200_000))),
                ("pauseProducing",),
                ("resumeProducing",),
                ("loseWriteConnection",),
                ("loseConnection",),
                ("abortConnection", self.random.choice((StopCode.CANCELLED, 3, 0x200))),
            )
        )
        getattr(transport, name)(*args)

    def leaves(self) -> None:
        """A thing or an operator goes, and comes anew, sometimes before it went."""
        name = self.random.choice(("a", "b", "olga", "otto"))
        pair = (self.things | self.operators)[name]
        if name in self.operators or self.random.random() < 0.5:
            self.random.choice((pair.client.abort, pair.client.goodbye))()
        if name in self.things:
            self.comes(name)
        else:
            self.operators[name] = self.operator(name=name)

    def permits(self) -> None:
        """Somebody may reach something else from now on."""
        permits = self.random.choice((("*:*",), ("a:ssh",)))
        self.book.permits[self.random.choice(("olga", "otto"))] = permits
        self.review()

    def ends(self) -> None:
        """Somebody ends a reach."""
        if self.reaches.open:
            self.reaches.end(self.random.choice(self.reaches.open).asked.id)

    def run_(self, seed: int) -> None:
        """Let a lot happen, and then all go."""
        self.random.seed(seed)
        for name in ("a", "b"):
            self.comes(name)
        for name in ("olga", "otto"):
            self.operators[name] = self.operator(name=name)
        happenings = (
            *(6 * [self.asks] + 8 * [self.acts] + 2 * [self.decides]),
            *(self.givesUp, self.leaves, self.permits, self.ends),
        )
        for _ in range(STEPS):
            self.random.choice(happenings)()
            if self.random.random() < 0.6:
                self.settle()
            if self.random.random() < 0.2:
                self.advance(1)
            self.assertEqual(sum(self.reaches._heldBy.values()), len(self.reaches._held))
        for pair in self.pairs:
            if pair.client.termination is None:
                pair.client.abort()
        self.advance(3)

    def test_all(self) -> None:
        """No place, no opening and no end is left, and what is told adds up, in order."""
        for seed in range(8):
            self.tearDown()
            self.setUp()
            self.run_(seed)
            reaches = self.reaches
            for left in (reaches._held, reaches._heldBy, reaches._heldTo, reaches._opening):
                self.assertEqual(left, {}, seed)
            told = [fed.event.asDict() for fed in self.told]
            begun = [each["reach"] for each in told if each["kind"] == Kind.REACHED.value]
            ended = [each for each in told if each["kind"] == Kind.REACH_ENDED.value]
            self.assertGreater(len(begun), 5)
            self.assertEqual(sorted(begun), sorted(each["reach"] for each in ended), seed)
            octets = [sum(each[name] for each in ended) for name in ("octetsUp", "octetsDown")]
            self.assertEqual(octets, [*reaches.octets])
            self.assertOrdered()
