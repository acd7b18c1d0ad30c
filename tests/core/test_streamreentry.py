"""Programs that call the core in the middle of what it tells them, in any way that is legal."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import PLENTY, clientSettings, establishedPair, serverSettings
from thing.core.capacity import Capacity
from thing.core.client import ClientConnection
from thing.core.records import RECORD_LIMIT
from thing.core.server import ServerConnection
from thing.core.window import Budget
from thing.errors import EndReason, ErrorCode, LocalProtocolError, ReplyStatus, StopCode
from thing.events import (
    Event,
    RequestReceived,
    StreamData,
    StreamEnded,
    StreamStopped,
    Terminated,
)

CAPACITIES = (Capacity(512, 576, 128, 4), Capacity(RECORD_LIMIT, 32768, 16384, 8))

EXPECTED = (ErrorCode.TOO_MANY_STREAMS, ErrorCode.WRONG_STATE, ErrorCode.BUFFER_FULL)
"""What a program that does anything at any time is told."""

DEEPEST = 3
"""How deep calls stand within calls."""


class Program:
    """
    One side's program: for every other thing that it is told it does something at once.

    :ivar ends: how its session ended.
    """

    def __init__(self, core: ClientConnection | ServerConnection, chance: random.Random) -> None:
        self.core = core
        self.chance = chance
        self.depth = 0
        self.ends: list[Terminated] = []
        self.ended: set[int] = set()
        self.stopped: set[int] = set()

    def take(self, events: Iterable[Event]) -> None:
        """Note that what is told is legal, and perhaps do something about it."""
        for event in events:
            assert not self.ends, f"{event} after the end"
            if isinstance(event, StreamData | StreamEnded):
                assert event.stream not in self.ended | self.stopped
            if isinstance(event, StreamEnded):
                self.ended.add(event.stream)
            elif isinstance(event, StreamStopped):
                assert event.stream not in self.stopped
                self.stopped.add(event.stream)
            elif isinstance(event, RequestReceived):
                self.core.reply(event.number, ReplyStatus.DONE, b"")
            elif isinstance(event, Terminated):
                self.ends.append(event)
            if self.depth < DEEPEST and self.chance.random() < 0.5:
                self.act()

    def act(self) -> None:
        """Do anything."""
        self.depth += 1
        number = self.chance.choice(list(self.core._streams.open) or [1])
        try:
            self.chance.choice(self.acts(number))()
        except LocalProtocolError as error:
            assert error.code in EXPECTED, error
        self.depth -= 1

    def acts(self, number: int) -> list[Callable[[], object]]:
        """What it can do."""
        core = self.core
        acts: list[Callable[[], object]] = [
            lambda: core.openStream("x", 0.0),
            lambda: core.acceptStream(number),
            lambda: core.sendStream(number, bytes(self.chance.choice((1, 500, 5000)))),
            lambda: core.endStream(number),
            lambda: self.take(core.closeStream(number, 0.0)),
            lambda: core.stopStream(number, StopCode.FAILED),
            lambda: core.holdStream(number),
            lambda: self.take(core.releaseStream(number, 0.0)),
            lambda: core.sendMessage(bytes(self.chance.choice((0, 5000)))),
            lambda: core.request(b"?"),
            core.hold,
            lambda: self.take(core.release(0.0)),
        ]
        if self.chance.random() < 0.05:
            acts = [lambda: core.endStream(0), self.leave]
        return acts

    def leave(self) -> None:
        """Have the session end in order."""
        if isinstance(self.core, ClientConnection):
            self.take(self.core.goodbye(0.0))
        else:
            self.take(self.core.goAway(EndReason.CLOSING, 0.0, 10.0))

    def send(self, other: Program, limit: int) -> bool:
        """Carry octets to the other side; whether there were any."""
        data = self.core.dataToSend(0.0, limit)
        self.take(self.core.takeEvents())
        if data:
            other.take(other.core.receiveData(data, 0.0))
        return bool(data)

    def letGo(self) -> None:
        """Accept and take everything."""
        for number in list(self.core._streams.open):
            self.core.acceptStream(number)
            self.take(self.core.releaseStream(number, 0.0))
        self.take(self.core.release(0.0))


class ReentryTests(SynchronousTestCase):
    """Calls within events."""

    def settle(self, programs: list[Program]) -> None:
        """Carry until nothing moves."""
        for program in programs:
            program.depth = DEEPEST
        moved = True
        while moved:
            moved = False
            for side, other in (programs, programs[::-1]):
                side.letGo()
                moved = side.send(other, PLENTY) or moved

    @settings(max_examples=60)
    @given(seed=some.integers(0, 1 << 32))
    def test_anything(self, seed: int) -> None:
        """
        Whatever is called while something is told, neither side finds an error in the other,
        ends and stops are told once, nothing is told after the end, and nothing is left.
        """
        chance = random.Random(seed)
        capacity = chance.choice(CAPACITIES)
        budget = Budget(chance.choice((0, 10_000, 1 << 20)))
        choices = {"capacity": capacity, "budget": budget}
        pair = establishedPair(
            clientSettings(stream=chance.random() < 0.5, **choices), serverSettings(**choices)
        )
        programs = [Program(core, chance) for core in pair]
        for _ in range(150):
            side, other = chance.sample(programs, 2)
            if chance.random() < 0.6:
                side.act()
            else:
                side.send(other, chance.choice((1, 1000, PLENTY)))
        self.settle(programs)
        if not programs[0].ends:
            programs[0].leave()
            self.settle(programs)
        for program in programs:
            (end,) = program.ends
            self.assertTrue(end.termination.clean, end.termination)
            self.assertEqual(program.core._streams.open, {})
        self.assertEqual(budget.reserved, 0)
