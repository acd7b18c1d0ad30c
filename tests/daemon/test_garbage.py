"""Python's collector in a process that serves."""

from __future__ import annotations

import gc
import sys
import weakref
from unittest import mock

from tests.pairs import PairCase, freshClient
from thing import IdentityKey, testing
from thing.daemon.garbage import INTERVAL, LEAST_BLOCKS, GarbageCollection


class Circle:
    """Knows itself."""

    def __init__(self) -> None:
        self.self = self


class GarbageTests(PairCase):
    """A service that has the collector look at what is new."""

    def setUp(self) -> None:
        super().setUp()
        gc.disable()  # Nobody else collects here.
        self.addCleanup(gc.enable)
        self.pair_ = self.pair(client=freshClient(credential=IdentityKey.generate()))
        self.clock = self.pair_.clock
        self.service = GarbageCollection(self.pair_.serverFactory)

    def start(self) -> None:
        self.service.startService()
        self.addCleanup(lambda: self.service.running and self.service.stopService())

    def isFreed(self, circle: weakref.ref[Circle]) -> bool:
        """Whether a look frees a circle."""
        self.clock.advance(INTERVAL)
        return circle() is None

    def test_new(self) -> None:
        """A new circle is freed soon; what lives is not looked at again."""
        self.pair_.up()
        self.start()
        kept = Circle()
        new = weakref.ref(Circle())
        self.assertTrue(self.isFreed(new))
        self.assertFalse(any(each is kept for each in gc.get_objects()))
        old = weakref.ref(kept)
        del kept
        self.assertFalse(self.isFreed(old))
        self.service.stopService()
        gc.collect()
        self.assertIsNone(old())

    def test_quiet(self) -> None:
        """When the last session has ended all is looked at, once."""
        self.pair_.up()
        self.start()
        kept = Circle()
        self.clock.advance(INTERVAL)
        old = weakref.ref(kept)
        del kept
        self.pair_.close()
        self.assertTrue(self.isFreed(old))
        with mock.patch.object(gc, "unfreeze") as unfreeze:
            for _ in range(3):
                self.clock.advance(INTERVAL)
        unfreeze.assert_not_called()

    def test_growth(self) -> None:
        """So it is when memory has doubled, and sessions do not explain it."""
        self.pair_.up()
        self.start()
        kept = Circle()
        self.clock.advance(INTERVAL)
        old = weakref.ref(kept)
        del kept
        blocks = sys.getallocatedblocks()
        for factor, isFreed in ((1.5, False), (3, True)):
            with mock.patch.object(
                sys, "getallocatedblocks", return_value=int(factor * max(blocks, LEAST_BLOCKS))
            ):
                self.assertEqual(self.isFreed(old), isFreed)

    def test_freedWhileFrozen(self) -> None:
        """A session that was found alive is freed when it ends, all the same."""
        pair = testing.Pair(self.pair_.serverFactory, self.pair_.clientFactory).up()
        self.pair_.up()
        self.start()
        self.clock.advance(INTERVAL)
        session = weakref.ref(pair.serverSession)
        pair.close()
        del pair
        self.assertIsNone(session())

    def test_stopped(self) -> None:
        """Once it has stopped all is as it was, and no timer is left."""
        self.start()
        self.assertGreater(gc.get_freeze_count(), 0)
        self.service.stopService()
        self.assertEqual(gc.get_freeze_count(), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_neverStarted(self) -> None:
        """A service that was not started may be stopped."""
        self.service.stopService()
        self.assertFalse(self.service.running)
