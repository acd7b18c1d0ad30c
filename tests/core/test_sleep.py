"""What becomes of a session whose sides stand still for a while: alone, or both at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import establishedPair, pump
from thing.core.connection import Connection
from thing.core.heartbeat import BEATS_PER_TTL, STILL_GRACE
from thing.events import Cause

TTL = 30.0
TICK = 0.25
PHASES = range(int(TTL / BEATS_PER_TTL))
"""When a pause begins, seconds since some moment: each phase between two heartbeats."""


class SleepTests(SynchronousTestCase):
    """A client and a server that beat for some minutes, and a pause between."""

    def setUp(self) -> None:
        self.sides: tuple[Connection, Connection] = establishedPair(grant=lambda asked: TTL)
        self.now = 0.0

    def run_(self, seconds: float, awake: Sequence[Connection]) -> None:
        """Let time pass for who is awake."""
        until = self.now + seconds
        while self.now < until:
            self.now += TICK
            self.look(awake)
            if len(awake) == len(self.sides):
                pump(*self.sides, self.now)

    def look(self, sides: Sequence[Connection]) -> None:
        for side in sides:
            if side.nextDeadline is not None and side.nextDeadline <= self.now:
                side.handleTimer(self.now)

    def survives(self, phase: float, pause: float, awake: slice, first: int) -> bool:
        """Whether a session outlives that some stand still, and are then seen to one by one."""
        self.setUp()
        self.run_(4 * TTL + phase, self.sides)
        if self.sides[awake]:
            self.run_(pause, self.sides[awake])
        else:
            self.now += pause
        for _ in range(2):  # Once more, when the first look brought nothing.
            self.look(self.sides[:: 1 - 2 * first])
        pump(*self.sides, self.now)
        self.run_(2 * TTL, self.sides)
        return not any(side.termination for side in self.sides)

    def test_both(self) -> None:
        """If both sides stood still at once, on one machine, it is for nothing, however long."""
        for phase, first, pause in itertools.product(PHASES, (0, 1), (0.8, 0.98, 1.5, 20.0)):
            self.assertTrue(self.survives(phase, pause * TTL, slice(0), first), (phase, pause))

    def test_oneShort(self) -> None:
        """A pause of one side that is an interval shorter than the TTL costs no session."""
        pause = TTL - TTL / BEATS_PER_TTL - 2 * TICK
        for phase, first, awake in itertools.product(PHASES, (0, 1), (slice(1), slice(1, 2))):
            self.assertTrue(self.survives(phase, pause, awake, first), (phase, awake))

    def test_oneLong(self) -> None:
        """One as long as the TTL costs it: the other side must know that nobody is there."""
        for phase, first, awake in itertools.product(PHASES, (0, 1), (slice(1), slice(1, 2))):
            self.assertFalse(self.survives(phase, TTL, awake, first), (phase, awake))

    def test_word(self) -> None:
        """A client that stood still waits a moment for what became of its session meanwhile."""
        client, server = self.sides
        self.run_(2 * TTL, self.sides)
        self.run_(2 * TTL, [server])  # Its word is on the way.
        for _ in range(2):
            self.look([client])
        self.now += 0.5
        self.look([client])
        pump(*self.sides, self.now)
        assert client.termination is not None
        self.assertEqual(client.termination.cause, Cause.FLAT_LINED)

    def test_noWord(self) -> None:
        """It does not wait for longer than that moment."""
        client, _ = self.sides
        self.run_(2 * TTL, self.sides)
        self.now += 2 * TTL
        self.look([client])
        self.now += STILL_GRACE
        self.look([client])
        assert client.termination is not None
        self.assertEqual(client.termination.cause, Cause.LAPSED)
