"""
A reactor's timers, measured by a clock that nobody sets.

``reactor.seconds`` is the wall clock: set back by an hour it freezes every
``LoopingCall`` for an hour, set forward it fires every deadline at once. The
:class:`SteadyClock` keeps its own due times on a monotonic clock that goes on
while the machine sleeps, and uses the reactor only to be woken. It never
changes the reactor's clock, since others rely on it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Any, ClassVar, cast

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from zope.interface import implementer

WATCH_INTERVAL = 1.0
"""How often the wall clock is compared with the steady one, seconds; oftener for short TTLs."""

LEAST_WATCH_INTERVAL = 0.01
"""How often at most, seconds: the shortest TTL is ten times as long."""

STEP_TOLERANCE = 0.1
"""A difference that grew by more than this is a step, seconds."""

FORGET_ABOVE = 1000
"""How many cancelled calls may be kept whatever the number of others."""


_STEADY_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


steadySeconds: Callable[[], float] = partial(time.clock_gettime, _STEADY_CLOCK)
"""
Reads a monotonic clock that counts, where it can, the time that the machine was suspended.

It gives seconds since some moment in the past.
"""


def callOff(call: IDelayedCall | None) -> None:
    """
    See to it that a call does not come any more.

    :param call: it may have come already, or there may be none.
    """
    if call is not None and call.active():
        call.cancel()


def _isCurrent(entry: int, call: SteadyCall) -> bool:
    """Whether an entry is its call's last, and the call is still to come."""
    return call.entry == entry and call.active()


@implementer(IDelayedCall)
class SteadyCall:
    """A call that comes when the steady clock says so; made by :class:`SteadyClock`."""

    __slots__ = ("_args", "_call", "_clock", "_due", "_kwargs", "_overError", "entry")

    def __init__(
        self,
        clock: SteadyClock,
        due: float,
        call: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> None:
        """
        :param clock: whose time it is.
        :param due: when, in the clock's seconds.
        :param call: what to call.
        :param args: with what.
        :param kwargs: with what, by name.
        """
        self._clock = clock
        self._due = due
        self._call: Callable[..., object] | None = call
        self._args = args
        self._kwargs = kwargs or None
        self._overError: type[Exception] = AlreadyCalled
        self.entry = 0

    def getTime(self) -> float:
        """:return: when the call comes, in the clock's seconds."""
        return self._due

    def active(self) -> bool:
        """:return: whether it is still to come."""
        return self._call is not None

    def cancel(self) -> None:
        """
        Forget the call.

        :raises AlreadyCalled: if it came, or was cancelled.
        """
        self._checkActive()
        self._overError = AlreadyCancelled
        self._call = self._kwargs = None
        self._args = ()
        self._clock.cancelled()

    def reset(self, secondsFromNow: float) -> None:
        """
        Set a new time; moving it later costs next to nothing.

        :param secondsFromNow: from now, seconds.
        """
        self._checkActive()
        due = self._clock.seconds() + secondsFromNow
        sooner = due < self._due
        self._due = due
        if sooner:
            self._clock.enter(self)

    def delay(self, secondsLater: float) -> None:
        """
        Move the time.

        :param secondsLater: by how much, seconds; negative for sooner.
        """
        self.reset(self._due + secondsLater - self._clock.seconds())

    def run(self) -> None:
        """Call; the clock does that when it is time."""
        call, args, kwargs = self._call, self._args, self._kwargs
        self._call = self._kwargs = None
        self._args = ()
        assert call is not None, "a call that is over does not come"
        call(*args, **(kwargs or {}))

    def _checkActive(self) -> None:
        if self._call is None:
            raise self._overError()


@implementer(IReactorTime)
class SteadyClock:
    """
    An ``IReactorTime`` on a steady clock, over any reactor.

    It keeps its calls itself, in the order of their times, and is woken by the reactor for
    the first of them. While calls are pending a small thread compares the reactor's clock
    with the steady one, because a reactor whose clock was set back sleeps on and no timer of its
    own can wake it. It does so once a second; or four times in the shortest TTL that
    :meth:`watchFor` was told, so that a step puts nothing off for longer than its session can bear.

    :ivar reactor: the reactor that wakes this clock.
    """

    _perReactor: ClassVar[dict[Any, SteadyClock]] = {}

    def __init__(self, reactor: Any, seconds: Callable[[], float] = steadySeconds) -> None:
        """
        :param reactor: provides ``IReactorTime``; the watch needs ``IReactorFromThreads``, too.
        :param seconds: the steady clock.
        """
        self.reactor = reactor
        self.seconds = seconds
        # A call may be entered more than once; only its last entry counts.
        self._entries: list[tuple[float, int, SteadyCall]] = []
        self._entered = 0
        self._active = 0
        self._shortest = math.inf
        self._wake: IDelayedCall | None = None
        self._wakesAt = 0.0
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None

    @classmethod
    def of(cls, reactor: Any) -> SteadyClock:
        """
        The one steady clock of a reactor.

        :param reactor: the reactor.
        :return: its clock.
        """
        return cls._perReactor.setdefault(reactor, cls(reactor))

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> IDelayedCall:
        """
        Call later.

        :param delay: from now, seconds.
        :param callable: what to call.
        :param args: with what.
        :param kwargs: with what, by name.
        :return: the pending call.
        """
        call = SteadyCall(self, self.seconds() + delay, callable, args, kwargs)
        self._active += 1
        self.enter(call)
        self._watch()
        return cast(IDelayedCall, call)

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """:return: all calls that are to come."""
        return [
            cast(IDelayedCall, call) for _, entry, call in self._entries if _isCurrent(entry, call)
        ]

    def watchFor(self, ttl: float) -> None:
        """
        Have steps seen soon enough for a session, for as long as any call is pending.

        A single call says nothing of that: it may be the rest of a long wait.

        :param ttl: the session's, seconds.
        """
        self._shortest = min(self._shortest, ttl)

    def rearm(self) -> None:
        """Ask to be woken anew, because the reactor's clock was set or the machine slept."""
        self._disarm()
        self._arm()

    # What the calls tell.

    def enter(self, call: SteadyCall) -> None:
        """
        Note when a call is due, which is sooner than before.

        :param call: the call.
        """
        self._entered += 1
        call.entry = self._entered
        heappush(self._entries, (call.getTime(), call.entry, call))
        self._arm()

    def cancelled(self) -> None:
        """Forget calls that are cancelled, once they are many or there is no other."""
        self._active -= 1
        if self._active and len(self._entries) < 2 * self._active + FORGET_ABOVE:
            return
        self._entries = [each for each in self._entries if _isCurrent(*each[1:])]
        heapify(self._entries)
        if not self._entries:
            self._disarm()

    # The reactor.

    def _arm(self) -> None:
        """Be woken for the first entry that counts."""
        while self._entries and not _isCurrent(*self._entries[0][1:]):
            heappop(self._entries)
        if not self._entries:
            return
        due = self._entries[0][0]
        if self._wake is None or due < self._wakesAt:
            self._disarm()
            self._wakesAt = due
            self._wake = self.reactor.callLater(max(0.0, due - self.seconds()), self._woken)

    def _disarm(self) -> None:
        wake, self._wake = self._wake, None
        callOff(wake)

    def _woken(self) -> None:
        """Make the calls that are due; those that they bring about have a turn of their own."""
        self._wake = None
        now, last = self.seconds(), self._entered
        try:
            while self._entries and self._entries[0][0] <= now and self._entries[0][1] <= last:
                _, entry, call = heappop(self._entries)
                if not _isCurrent(entry, call):
                    continue
                if call.getTime() > now:
                    self._entered += 1  # It was moved meanwhile.
                    call.entry = self._entered
                    heappush(self._entries, (call.getTime(), call.entry, call))
                else:
                    self._active -= 1
                    call.run()
        finally:
            self._arm()

    def _watch(self) -> None:
        with self._lock:
            watched = self._watcher is not None and self._watcher.is_alive()  # Not after a fork.
            if watched or not IReactorFromThreads.providedBy(self.reactor):
                return
            self._watcher = threading.Thread(
                target=self._watchForSteps, name="thing steady clock", daemon=True
            )
            self._watcher.start()

    def _offsets(self) -> tuple[float, float]:
        """How far the wall clock and the sleepless clock are from the steady one."""
        now = self.seconds()
        return self.reactor.seconds() - now, time.monotonic() - now

    @property
    def watchInterval(self) -> float:
        """How long the thread sleeps, seconds; by the shortest TTL since no call was pending."""
        return min(WATCH_INTERVAL, max(LEAST_WATCH_INTERVAL, self._shortest / 4))

    def _watchForSteps(self) -> None:
        """The thread: wake the reactor after a step or a sleep; end when nothing is pending."""
        before = self._offsets()
        while True:
            # Not a lock: without sem_clockwait, as in musl, Python waits for one by the wall clock.
            time.sleep(self.watchInterval)
            with self._lock:
                if not self._active:
                    self._watcher, self._shortest = None, math.inf
                    return
            after = self._offsets()
            if any(abs(a - b) > STEP_TOLERANCE for a, b in zip(before, after, strict=True)):
                self.reactor.callFromThread(self.rearm)
            before = after
