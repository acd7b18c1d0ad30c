"""How much a transport is handed at a time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from thing.core.connection import WRITE_BATCH
from thing.core.pace import (
    AHEAD,
    FIRST_BATCH,
    LEAST_BATCH,
    LONG_RECORD,
    QUICK,
    QUICK_BATCH,
    Pace,
)


class PaceTests(SynchronousTestCase):
    """What is handed over follows what leaves."""

    def setUp(self) -> None:
        self.pace = Pace()

    def test_quick(self) -> None:
        """What leaves at once is followed by twice as much, in longer records, up to the most."""
        batch = FIRST_BATCH
        while batch < QUICK_BATCH:
            self.assertLess(self.pace.longest, LONG_RECORD)
            self.pace.measure(batch, QUICK / 2)
            batch = min(2 * batch, QUICK_BATCH)
            self.assertEqual(self.pace.batch, batch)
        self.assertEqual(self.pace.longest, LONG_RECORD)

    def test_little(self) -> None:
        """That little leaves at once tells nothing of much, however often; nor does one record."""
        for _ in range(100):
            self.pace.measure(100, 0.0)
        self.assertEqual(self.pace.batch, FIRST_BATCH)
        self.pace.measure(10 * FIRST_BATCH, 0.0)
        self.assertEqual(self.pace.batch, 2 * FIRST_BATCH)

    def test_slow(self) -> None:
        """A path is given what leaves within the time that a beat may wait, or the least."""
        for _ in range(10):
            self.pace.measure(self.pace.batch, 0.0)
        for rate, batch in ((1e6, 100_000), (160_000.0, 16_000), (8000.0, LEAST_BATCH)):
            self.pace.measure(QUICK_BATCH, QUICK_BATCH / rate)
            self.assertAlmostEqual(self.pace.batch, batch, delta=2)
            self.assertLessEqual(self.pace.batch, max(LEAST_BATCH, rate * AHEAD))

    def test_unsent(self) -> None:
        """The kernel is told another limit only where that is much more, or much less."""
        self.assertFalse(self.pace.measure(FIRST_BATCH - 100, AHEAD))
        self.assertEqual(self.pace.unsentLimit, FIRST_BATCH)
        for _ in range(30):
            self.pace.measure(self.pace.batch, 0.0)
        self.assertGreater(self.pace.unsentLimit, WRITE_BATCH // 2)
        self.assertTrue(self.pace.measure(FIRST_BATCH, 10.0))
        self.assertEqual(self.pace.unsentLimit, LEAST_BATCH)
