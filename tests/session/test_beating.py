"""A client's schedule of heartbeats, alone."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.pairs import CallbackBug
from thing.session.beating import Beating


class BeatingTests(SynchronousTestCase):
    """When heartbeats are sent."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.beats: list[float] = []
        self.beating = Beating(self.beat, self.clock)

    def beat(self) -> None:
        self.beats.append(self.clock.seconds())
        self.beating.sent()

    def test_steady(self) -> None:
        """The first comes somewhere in the first interval, the others one interval apart."""
        self.beating.start(4.0, 0.25)
        self.clock.pump([0.5] * 34)
        self.assertEqual(self.beats, [1.0, 5.0, 9.0, 13.0, 17.0])
        self.beating.stop()

    def test_changeInterval(self) -> None:
        """Another interval counts from the last beat, whether it is longer or shorter."""
        for interval, following in ((6.0, [5.0, 11.0, 17.0]), (2.0, [5.0, 7.0, 9.0])):
            self.setUp()
            self.beating.start(4.0, 0.25)
            self.clock.pump([0.5] * 11)
            self.beating.changeInterval(interval)
            self.assertEqual(self.beating.interval, interval)
            self.clock.pump([0.5] * 40)
            self.assertEqual(self.beats[1:4], following)
            self.beating.stop()

    def test_changedTooLate(self) -> None:
        """An interval by which the next beat is overdue has it sent at once."""
        self.beating.start(4.0, 0.25)
        self.clock.pump([0.5] * 9)
        self.beating.changeInterval(2.0)
        self.clock.advance(0)
        self.assertEqual(self.beats, [1.0, 4.5])
        self.beating.stop()

    def test_stop(self) -> None:
        """Stopped at any moment, more than once, it leaves nothing behind."""
        for moment in (0, 1, 3, 30):
            self.setUp()
            self.beating.start(4.0, 0.5)
            self.clock.pump([0.5] * moment)
            self.beating.stop()
            self.beating.stop()
            before = list(self.beats)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.clock.advance(10)
            self.assertEqual(self.beats, before)

    def test_fails(self) -> None:
        """A beat that fails is logged, and is the last."""

        def beat() -> None:
            self.beats.append(self.clock.seconds())
            raise CallbackBug("beat")

        self.beating = Beating(beat, self.clock)
        self.beating.start(4.0, 0.25)
        self.clock.pump([0.5] * 20)
        self.assertEqual(self.beats, [1.0])
        self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 1)
        self.beating.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
