"""What a node's figures were: counted in steps, in bounded memory, by a clock that never jumps."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fleet.inmemory import WALL
from tests.fleet.reaching import ReachCase
from thing.fleet import history
from thing.fleet.history import SPANS, TICK, History, Reading, historyOf, quantile
from thing.fleet.meter import Meter

BOUNDS = (0.01, 0.1)


class HistoryTests(SynchronousTestCase):
    """A history of figures that the test makes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.step = 0.0
        self.figures = {"sessions": 0, "joined": 0, "left": 0, "heartbeats": 0, "messages": 0}
        self.trips = [0, 0, 0]
        self.reads = 0

    def read(self) -> Reading:
        """The figures now."""
        self.reads += 1
        return Reading(**self.figures, roundTrips=tuple(self.trips))

    def wallClock(self) -> float:
        """The time of day, which a test may step."""
        return WALL + self.clock.seconds() + self.step

    def make(self) -> History:
        """A history that has begun; the test ends it."""
        made = History(self.read, BOUNDS, self.clock, self.wallClock)
        made.start()
        self.addCleanup(made.stop)
        return made

    def count(self, **more: int) -> None:
        """Let something happen, and a tick pass."""
        for name, number in more.items():
            self.figures[name] += number
        self.clock.advance(TICK)

    def test_nothing(self) -> None:
        """At first nothing is known, of any span."""
        made = self.make()
        for span in SPANS:
            told = made.told(span)
            self.assertEqual((told["span"], told["at"], told["sessions"]), (span, [], []))

    def test_steps(self) -> None:
        """Each point has what happened in its step, and how many sessions were up at its end."""
        made = self.make()
        self.count(sessions=5, joined=6, left=1, heartbeats=50, messages=7)
        self.count(sessions=-2, left=2, heartbeats=30)
        told = made.told("1h")
        self.assertEqual(told["step"], TICK)
        self.assertEqual(told["at"], [WALL + 1010.0, WALL + 1020.0])
        self.assertEqual(told["seconds"], [TICK, TICK])
        for name, expected in (
            ("sessions", [5, 3]),
            ("joined", [6, 0]),
            ("left", [1, 2]),
            ("heartbeats", [50, 30]),
            ("messages", [7, 0]),
            ("roundTripP50", [None, None]),
            ("roundTripP99", [None, None]),
        ):
            self.assertEqual(told[name], expected, name)

    def test_coarse(self) -> None:
        """Longer spans have longer steps; one that is not over is told as it is so far."""
        made = self.make()
        for _ in range(29):
            self.count(joined=1)
        self.clock.advance(TICK / 2)
        told = made.told("24h")
        self.assertEqual((told["joined"], told["seconds"]), ([29], [290.0]))
        self.clock.advance(TICK / 2)
        self.count(joined=1)
        told = made.told("24h")
        self.assertEqual((told["joined"], told["seconds"]), ([29, 1], [300.0, 10.0]))
        self.assertEqual(made.told("7d")["joined"], [30])

    def test_roundTrips(self) -> None:
        """Round trips are those of the step, and none if no heartbeat came in it."""
        made = self.make()
        self.trips = [100, 0, 0]
        self.clock.advance(TICK)
        self.trips = [100, 10, 0]
        self.clock.advance(TICK)
        self.clock.advance(TICK)
        told = made.told("1h")
        self.assertEqual(told["roundTripP50"], [0.005, 0.055, None])
        self.assertEqual(told["roundTripP99"], [0.0099, 0.0991, None])

    def test_bounded(self) -> None:
        """However long it runs, no more is kept than a span has, the latest, and what is open."""
        self.patch(history, "SPANS", {"1h": (3, 1), "24h": (2, 4)})
        made = self.make()
        for _ in range(50):
            self.count(joined=1)
        self.assertEqual(made.told("1h")["at"], [WALL + 1480.0, WALL + 1490.0, WALL + 1500.0])
        self.assertEqual(made.told("24h")["joined"], [4, 4, 2])
        self.assertEqual(self.reads, 51)

    def test_old(self) -> None:
        """What is older than the span is not told, though nothing came since then."""
        made = self.make()
        self.count(joined=1)
        made.stop()
        self.clock.advance(3599.0)
        self.assertEqual(made.told("1h")["joined"], [1])
        self.clock.advance(1.0)
        self.assertEqual(made.told("1h")["joined"], [])

    def test_wallClock(self) -> None:
        """If the time of day is set, what was keeps its distance from now, and its order."""
        made = self.make()
        self.count(joined=1)
        self.step = -86400.0
        self.count(joined=2)
        told = made.told("1h")
        now = WALL + self.clock.seconds() + self.step
        self.assertEqual(told["at"], [now - TICK, now])
        self.assertEqual(told["seconds"], [TICK, TICK])

    def test_stopped(self) -> None:
        """While the process was stopped there are no points; the next one says how long it took."""
        made = self.make()
        self.clock.advance(300.0)
        told = made.told("1h")
        self.assertEqual((told["at"], told["seconds"]), ([WALL + 1300.0], [300.0]))

    def test_again(self) -> None:
        """It is started once, however often it is told so, and stopped likewise."""
        made = self.make()
        made.start()
        self.clock.advance(TICK)
        self.assertEqual(self.reads, 2)
        made.stop()
        made.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unknown(self) -> None:
        """There are no other spans."""
        self.assertRaises(KeyError, self.make().told, "1y")


class QuantileTests(SynchronousTestCase):
    """Below what most durations are."""

    def test_quantile(self) -> None:
        """Within a bucket it is as if that were evenly filled; beyond all, the largest bound."""
        cases: list[tuple[float, list[int], Any]] = [
            (0.5, [0, 0, 0], None),
            (0.5, [4, 0, 0], 0.005),
            (0.5, [0, 4, 0], 0.055),
            (0.5, [1, 1, 0], 0.01),
            (1.0, [1, 1, 0], 0.1),
            (0.99, [0, 0, 5], 0.1),
            (0.0, [0, 0, 5], None),
        ]
        for share, counts, expected in cases:
            found = quantile(share, counts, BOUNDS)
            if expected is None:
                self.assertIsNone(found)
            else:
                assert found is not None
                self.assertAlmostEqual(found, expected)


class NodeTests(ReachCase):
    """The history of a node with real sessions."""

    def test_node(self) -> None:
        """Sessions, heartbeats, messages and round trips are as they are, without operators."""
        made = historyOf(Meter(self.home.local.factory), self.home.local)
        made.start()
        self.addCleanup(made.stop)
        pair, other = self.connect(self.home, "lamp"), self.connect(self.home, "door")
        pair.client.sendMessage(b"hello")
        other.client.goodbye()
        self.book.permits["olga"] = ("*:*",)
        self.connect(self.home, "olga").client.goodbye()
        self.advance(TICK * 2)
        told = made.told("1h")
        self.assertEqual(told["sessions"], [1, 1])
        for name, total in (("joined", 2), ("left", 1), ("messages", 1)):
            self.assertEqual(sum(told[name]), total, name)
        self.assertGreaterEqual(sum(told["heartbeats"]), 1)
        self.assertTrue(any(each is not None for each in told["roundTripP99"]))
