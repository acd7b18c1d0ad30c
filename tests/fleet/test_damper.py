"""Twins that keep replacing each other."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from thing.fleet import damper
from thing.fleet.damper import FIRST_WAIT, LONGEST_WAIT, TAKEOVERS, WINDOW, Damper


class DamperTests(SynchronousTestCase):
    """How many takeovers are borne, and what follows."""

    def setUp(self) -> None:
        self.damper = Damper()

    def fight(self, now: float, step: float = 1.0) -> float:
        """As many takeovers as are borne; tells when the last was."""
        for _ in range(TAKEOVERS):
            self.assertEqual(self.damper.takenOver("lamp", now), 0.0)
            now += step
        return now

    def test_borne(self) -> None:
        """A few takeovers are borne, and nobody waits."""
        now = self.fight(0.0)
        self.assertEqual(self.damper.remaining("lamp", now), 0.0)

    def test_damped(self) -> None:
        """One more, and newcomers wait; the wait passes."""
        now = self.fight(0.0)
        self.assertEqual(self.damper.takenOver("lamp", now), FIRST_WAIT)
        self.assertEqual(self.damper.remaining("lamp", now + 1), FIRST_WAIT - 1)
        self.assertEqual(self.damper.remaining("lamp", now + FIRST_WAIT), 0.0)
        self.assertEqual(self.damper.remaining("other", now), 0.0)

    def test_doubles(self) -> None:
        """Who goes on fighting waits twice as long each time, up to a bound."""
        now = self.fight(0.0)
        expected = FIRST_WAIT
        for _ in range(10):
            self.assertEqual(self.damper.takenOver("lamp", now), expected)
            now += expected
            expected = min(2 * expected, LONGEST_WAIT)

    def test_seldom(self) -> None:
        """Takeovers that are far from each other are borne forever."""
        for at in range(100):
            self.assertEqual(self.damper.takenOver("lamp", at * WINDOW / TAKEOVERS), 0.0)

    def test_forgiven(self) -> None:
        """After a quiet time it begins anew."""
        now = self.fight(0.0)
        now += self.damper.takenOver("lamp", now) + WINDOW
        self.fight(now)

    def test_bounded(self) -> None:
        """Of many things the quietest is forgotten first."""
        self.patch(damper, "MOST_KEPT", 10)
        now = self.fight(0.0)
        self.damper.takenOver("lamp", now)
        for number in range(9):
            self.damper.takenOver(f"other {number}", now)
        self.assertEqual(self.damper.remaining("lamp", now), FIRST_WAIT)
        self.damper.takenOver("one more", now)
        self.assertEqual(self.damper.remaining("lamp", now), 0.0)
