"""A timer at the next deadline."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from thing.session.deadline import DeadlineTimer


class DeadlineTimerTests(SynchronousTestCase):
    """One timer, wherever the deadline moves."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.late: list[float] = []
        self.timer = DeadlineTimer(self.clock, self.late.append)

    def calls(self) -> list[float]:
        """When the clock's calls are due."""
        return [call.getTime() for call in self.clock.getDelayedCalls()]

    def test_passed(self) -> None:
        """It tells once that its deadline has passed, and how late that is."""
        self.timer.set(103.0)
        self.clock.advance(2.5)
        self.assertEqual(self.late, [])
        self.clock.advance(1.5)
        self.assertEqual(self.late, [1.0])
        self.clock.advance(100)
        self.assertEqual(self.late, [1.0])
        self.assertEqual(self.calls(), [])

    def test_sooner(self) -> None:
        """A deadline that moves to an earlier time is kept."""
        self.timer.set(110.0)
        self.timer.set(103.0)
        self.assertEqual(self.calls(), [103.0])
        self.clock.advance(3)
        self.assertEqual(self.late, [0.0])

    def test_later(self) -> None:
        """One that moves to a later time is kept, and costs one look at the time it had."""
        self.timer.set(103.0)
        self.timer.set(105.0)
        self.timer.set(110.0)
        self.assertEqual(self.calls(), [103.0])
        self.clock.advance(4)
        self.assertEqual(self.late, [])
        self.assertEqual(self.calls(), [110.0])
        self.clock.advance(6)
        self.assertEqual(self.late, [0.0])

    def test_laterThenSooner(self) -> None:
        """One that moves to and fro counts where it was moved last."""
        self.timer.set(103.0)
        self.timer.set(110.0)
        self.timer.set(105.0)
        self.clock.advance(3)
        self.assertEqual(self.calls(), [105.0])
        self.clock.advance(2)
        self.assertEqual(self.late, [0.0])

    def test_past(self) -> None:
        """A deadline that is past already takes a turn of the reactor."""
        self.timer.set(90.0)
        self.assertEqual(self.late, [])
        self.clock.advance(0)
        self.assertEqual(self.late, [10.0])

    def test_none(self) -> None:
        """Without a deadline there is no timer."""
        self.timer.set(None)
        self.timer.set(103.0)
        self.timer.set(None)
        self.assertEqual(self.calls(), [])
        self.timer.set(104.0)
        self.timer.stop()
        self.timer.stop()
        self.assertEqual(self.calls(), [])
        self.clock.advance(10)
        self.assertEqual(self.late, [])

    def test_setWhenPassed(self) -> None:
        """Whoever is told may set the next deadline, or none."""
        self.timer = DeadlineTimer(self.clock, lambda _: self.timer.set(following.pop()))
        following: list[float | None] = [None, 108.0, 104.0]
        self.timer.set(102.0)
        self.clock.pump([1.0] * 20)
        self.assertEqual(following, [])
        self.assertEqual(self.calls(), [])
