"""How often something happens."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from thing.core.rates import WINDOW, RateLimiter, RecentCount


class RecentCountTests(SynchronousTestCase):
    """Counting what was lately."""

    def test_fades(self) -> None:
        """After a second each counts half, and what is new counts whole."""
        lately = RecentCount()
        self.assertEqual(lately.count(5.0), 0.0)
        lately.add(8, 5.0)
        self.assertEqual(lately.count(5.0), 8.0)
        self.assertEqual(lately.count(6.0), 4.0)
        lately.add(1, 7.0)
        self.assertEqual(lately.count(7.0), 3.0)
        self.assertEqual(lately.count(10_000.0), 0.0)

    def test_neverNegative(self) -> None:
        """What turns out not to count never leaves less than nothing."""
        lately = RecentCount()
        lately.add(1, 0.0)
        lately.add(-1, 1.0)
        self.assertEqual(lately.count(1.0), 0.0)
        lately.add(1, 1.0)
        self.assertEqual(lately.count(1.0), 1.0)


class RateLimiterTests(SynchronousTestCase):
    """Letting so many through each second."""

    def test_passes(self) -> None:
        """So many get through in a second, and as many in the next."""
        brake = RateLimiter(2)
        for second in range(3):
            passed = [brake.passes(second * WINDOW + tenth / 10) for tenth in range(5)]
            self.assertEqual(passed, [True, True, False, False, False])

    def test_held(self) -> None:
        """How many were held back is told once, when their second is over."""
        brake = RateLimiter(1)
        for _ in range(5):
            brake.passes(0.5)
        self.assertEqual(brake.takeHeld(0.5 + WINDOW / 2), 0)
        self.assertEqual(brake.takeHeld(0.5 + WINDOW), 4)
        self.assertEqual(brake.takeHeld(0.5 + WINDOW), 0)
