"""How a command waits for another thread."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from thing.cli import waiting, watching
from thing.cli.waiting import LONGEST_LOOK, waitUntil
from thing.cli.watching import Snapshot, Watcher


class Enough(BaseException):
    """Ends what would go on for ever."""


class SteadyTime:
    """Stands for ``time``: it goes by while somebody sleeps, and only then."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.then: dict[int, Any] = {}

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.then.get(len(self.slept), int)()


class WaitingTests(SynchronousTestCase):
    """Waits by the steady clock alone."""

    def setUp(self) -> None:
        self.time = SteadyTime()
        for module in (waiting, watching):
            self.patch(module, "time", self.time)

    def test_done(self) -> None:
        """What is done is not waited for."""
        self.assertTrue(waitUntil(lambda: True, 10.0))
        self.assertEqual(self.time.slept, [])

    def test_soon(self) -> None:
        """What gets done is seen soon: at once in the beginning, and later within a moment."""
        for due in (0.001, 0.01, 1.0, 8.0):
            began = self.time.now
            self.assertTrue(waitUntil(lambda due=due, at=began: self.time.now >= at + due, 10.0))
            late = self.time.now - began - due
            self.assertLessEqual(late, min(LONGEST_LOOK, due) + 1e-6)

    def test_never(self) -> None:
        """What does not get done is waited for that long, and no longer."""
        self.assertFalse(waitUntil(lambda: False, 10.0))
        self.assertAlmostEqual(self.time.now, 1010.0)

    def watch(self, looks: int, took: float = 0.0) -> tuple[Watcher, list[tuple[str, float]]]:
        """What a watcher looks for, and when, until it has looked so often."""
        seen: list[tuple[str, float]] = []

        def look(text: str) -> Snapshot:
            seen.append((text, self.time.now - 1000.0))
            self.time.now += took
            if len(seen) == looks:
                raise Enough
            return Snapshot(at=0.0, nodes=[], rows=[], complete=True, more=False)

        return Watcher(look, "", 2.0, lambda news: None), seen

    def test_watcher(self) -> None:
        """A watcher looks again after its delay, or later if a look takes long."""
        for took, every in ((0.0, 2.0), (0.25, 2.0), (3.0, 12.0)):
            self.time.now = 1000.0
            watcher, seen = self.watch(3, took)
            self.assertRaises(Enough, watcher.run)
            for (_, at), expected in zip(seen, (0.0, every, 2 * every), strict=True):
                self.assertAlmostEqual(at, expected)

    def test_hurry(self) -> None:
        """A watcher that shall hurry, or search, looks at once, and then in its rhythm."""
        watcher, seen = self.watch(3)
        self.time.then[10] = lambda: watcher.search("lamp")
        self.assertRaises(Enough, watcher.run)
        self.assertEqual([text for text, _ in seen], ["", "lamp", "lamp"])
        self.assertAlmostEqual(seen[1][1], sum(self.time.slept[:10]))
        self.assertLess(seen[1][1], 0.5)
        self.assertAlmostEqual(seen[2][1] - seen[1][1], 2.0)
