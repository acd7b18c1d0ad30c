"""Hundreds of sessions that come to every kind of end: both sides' books must balance."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import TestCase

from tests.soak import Plan, Soak


class SoakTests(TestCase):
    """A small soak; the large one is a benchmark."""

    timeout = 300

    @inlineCallbacks
    def test_booksBalance(self) -> Generator[Any, Any, None]:
        """
        Of two hundred sessions in eight processes some say goodbye, abort, are killed or frozen,
        and the rest are drained: each ends once, for the right reason, told alike on both sides.
        """
        from twisted.internet import reactor

        soak = Soak(Plan(), reactor)
        yield soak.run()
        self.assertEqual(soak.imbalance(), [])
        self.assertEqual(self.flushLoggedErrors(), [])
        factory = soak.factory
        self.assertEqual(factory.completed, soak.plan.sessions)
        self.assertEqual(sum(factory.terminations.values()), soak.plan.sessions)
        self.assertEqual((factory.sessions, factory.door.handshakes), (set(), {}))
        self.assertEqual((factory.door.connected, factory.door.perNetwork), (0, {}))
