"""One Connection's time: which deadline counts, and from when to when silence does."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from thing.core.heartbeat import Verdict
from thing.core.liveness import Liveness


class LivenessTests(TestCase):
    """A Connection from its beginning to its end."""

    def test_nothing(self) -> None:
        """At first, and at the end, nothing is waited for."""
        liveness = Liveness()
        self.assertEqual((liveness.next(True), liveness.ttl, liveness.silence(5.0)), (None,) * 3)
        self.assertIs(liveness.check(1e9, True), Verdict.ALIVE)
        liveness.watch(0.0, 30.0, patient=True)
        liveness.limit(0.0, 5.0)
        liveness.end()
        self.assertIsNone(liveness.next(True))
        self.assertIs(liveness.check(1e9, True), Verdict.ALIVE)

    def test_limit(self) -> None:
        """A deadline is over once it was seen past twice, so that what is there is read."""
        liveness = Liveness()
        self.assertFalse(liveness.limited)
        liveness.limit(1.0, 5.0)
        self.assertTrue(liveness.limited)
        self.assertEqual(liveness.next(True), 6.0)
        self.assertIs(liveness.check(5.9, True), Verdict.ALIVE)
        self.assertIs(liveness.check(6.0, True), Verdict.ALIVE)
        self.assertIs(liveness.check(6.0, True), Verdict.OUT_OF_TIME)

    def test_watch(self) -> None:
        """From Established on silence counts, and the handshake's deadline does not."""
        liveness = Liveness()
        liveness.limit(0.0, 5.0)
        liveness.watch(2.0, 30.0, patient=False)
        self.assertEqual((liveness.limited, liveness.watched, liveness.ttl), (False, True, 30.0))
        self.assertEqual(liveness.next(True), 17.0)
        self.assertIsNone(liveness.next(False))
        self.assertIs(liveness.check(17.0, True), Verdict.LATE)
        self.assertEqual(liveness.silence(17.0), 15.0)
        self.assertIs(liveness.check(1000.0, False), Verdict.ALIVE)

    def test_renew(self) -> None:
        """A sign of life counts from when it came, with the TTL that goes with it."""
        liveness = Liveness()
        liveness.watch(0.0, 30.0, patient=True)
        liveness.renew(10.0, 20.0)
        self.assertEqual((liveness.ttl, liveness.next(True)), (20.0, 20.0))
        self.assertEqual(liveness.remaining(15.0), 15.0)

    def test_unwatch(self) -> None:
        """Once nothing is renewed any more, a sign of life changes nothing."""
        liveness = Liveness()
        liveness.watch(0.0, 30.0, patient=True)
        liveness.limit(0.0, 7.0, patience=7.0)
        liveness.unwatch()
        liveness.renew(5.0, 100.0)
        self.assertEqual((liveness.ttl, liveness.next(True), liveness.watched), (30.0, 7.0, False))
        self.assertEqual(liveness.remaining(0.0), 0.0)

    def test_nearest(self) -> None:
        """Of a deadline and the next look at the silence, the earlier counts."""
        for seconds, due in ((3.0, 3.0), (100.0, 15.0)):
            liveness = Liveness()
            liveness.watch(0.0, 30.0, patient=True)
            liveness.limit(0.0, seconds)
            self.assertEqual(liveness.next(True), due)
