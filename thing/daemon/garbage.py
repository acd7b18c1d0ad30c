"""
Python's collector in a process that serves: a little at a time, and never all that lives.

What a session is made of lives long, and is freed by reference counting alone. The collector looks
at all of it again and again for circles that are not there: with some thousand sessions each look
stops the process for a quarter of a second, and makes every heartbeat late. So here whatever is
found alive once is not looked at again. A program that has Thing as a library has the collector as
it likes it; how to do the same there is in the page on operating.
"""

from __future__ import annotations

import gc
import sys

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from thing.session.factory import ThingFactory

INTERVAL = 0.25
"""How often what is new is looked at, seconds: some milliseconds' worth in a storm."""

SESSION_BLOCKS = 1000
"""More blocks of memory than a session has."""

LEAST_BLOCKS = 1_000_000
"""How many others may come before all is looked at: some 100 MB."""


class GarbageCollection(Service):
    """
    Looks at what is new, and leaves alone what was found alive.

    What was alive then and is a circle without use later would stay for ever. So all is looked at
    when there are no sessions, whom that would make late; and when memory has doubled, and
    sessions do not explain it.
    """

    def __init__(self, factory: ThingFactory) -> None:
        """:param factory: whose sessions live long."""
        self._factory = factory
        self._looking = LoopingCall(self.look)
        self._looking.clock = factory.clock
        self._others = 0
        self._wasQuiet = False

    @property
    def clock(self) -> IReactorTime:
        """Tells when to look."""
        return self._factory.clock

    def startService(self) -> None:
        """Look at all of it once; from now on at what is new."""
        super().startService()  # type: ignore[no-untyped-call]
        self._lookAtAll()
        self._looking.start(INTERVAL, now=False)

    def stopService(self) -> None:
        """Have it as before."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:  # A server that cannot listen stops what was not started.
            self._looking.stop()
            gc.unfreeze()

    def look(self) -> None:
        """Free circles among what is new; among all there is if it is time for that."""
        sessions = self._factory.door.up
        others = sys.getallocatedblocks() - sessions * SESSION_BLOCKS
        quiet = not sessions and not self._factory.handshakes
        if (quiet and not self._wasQuiet) or others > 2 * max(self._others, LEAST_BLOCKS):
            self._lookAtAll()
        else:
            gc.collect()
            gc.freeze()
        self._wasQuiet = quiet

    def _lookAtAll(self) -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        sessions = self._factory.door.up
        self._others = max(0, sys.getallocatedblocks() - sessions * SESSION_BLOCKS)
