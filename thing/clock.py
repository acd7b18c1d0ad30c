"""
A reactor's timers, measured by a clock that nobody sets.

``reactor.seconds`` is the wall clock: set back by an hour it freezes every
``LoopingCall`` for an hour, set forward it fires every deadline at once. The
:class:`SteadyClock` keeps its own due times on a monotonic clock that goes on
while the machine sleeps, and uses the reactor only to be woken. It never
changes the reactor's clock, since others rely on it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, cast

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from zope.interface import implementer

WATCH_INTERVAL = 1.0
"""How often the wall clock is compared with the steady one, seconds."""

STEP_TOLERANCE = 0.1
"""A difference that grew by more than this is a step, seconds."""


_STEADY_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


steadySeconds: Callable[[], float] = partial(time.clock_gettime, _STEADY_CLOCK)
"""
Reads a monotonic clock that counts, where it can, the time that the machine was suspended.

It gives seconds since some moment in the past.
"""


@implementer(IDelayedCall)
class SteadyCall:
    """A call that comes when the steady clock says so; made by :class:`SteadyClock`."""

    __slots__ = ("_call", "_clock", "_due", "_over", "_wake")

    def __init__(self, clock: SteadyClock, due: float, call: Callable[[], object]) -> None:
        """
        :param clock: whose time it is.
        :param due: when, in the clock's seconds.
        :param call: what to call.
        """
        self._clock = clock
        self._due = due
        self._call: Callable[[], object] | None = call
        self._wake: IDelayedCall | None = None
        self.rearm()

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
        self._finish(AlreadyCancelled)

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
            self.rearm()

    def delay(self, secondsLater: float) -> None:
        """
        Move the time.

        :param secondsLater: by how much, seconds; negative for sooner.
        """
        self.reset(self._due + secondsLater - self._clock.seconds())

    def rearm(self) -> None:
        """Ask the reactor to be woken at the due time, whatever it was asked before."""
        if self._wake is not None and self._wake.active():
            self._wake.cancel()
        wait = max(0.0, self._due - self._clock.seconds())
        self._wake = self._clock.reactor.callLater(wait, self._woken)

    def _woken(self) -> None:
        if self._due > self._clock.seconds():
            self.rearm()  # It was moved later, or the wall clock was set forward.
            return
        call = self._call
        self._finish(AlreadyCalled)
        assert call is not None, "a finished call is not woken"
        call()

    def _finish(self, over: type[Exception]) -> None:
        self._call = None
        self._over = over
        self._clock._calls.discard(self)
        if self._wake is not None and self._wake.active():
            self._wake.cancel()
        self._wake = None

    def _checkActive(self) -> None:
        if self._call is None:
            raise self._over()


@implementer(IReactorTime)
class SteadyClock:
    """
    An ``IReactorTime`` on a steady clock, over any reactor.

    While calls are pending a small thread compares the reactor's clock with
    the steady one, once a second, because a reactor whose clock was set back
    sleeps on and no timer of its own can wake it.

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
        self._calls: set[SteadyCall] = set()
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
        due = self.seconds() + delay
        call = SteadyCall(self, due, lambda: callable(*args, **kwargs))
        self._calls.add(call)
        self._watch()
        return cast(IDelayedCall, call)

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """:return: all calls that are to come."""
        return cast("list[IDelayedCall]", list(self._calls))

    def rearm(self) -> None:
        """Set every pending call anew, because the reactor's clock was set or the machine slept."""
        for call in list(self._calls):
            call.rearm()

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

    def _watchForSteps(self) -> None:
        """The thread: wake the reactor after a step or a sleep; end when nothing is pending."""
        before = self._offsets()
        pause = threading.Event()
        while True:
            pause.wait(WATCH_INTERVAL)
            with self._lock:
                if not self._calls:
                    self._watcher = None
                    return
            after = self._offsets()
            if any(abs(a - b) > STEP_TOLERANCE for a, b in zip(before, after, strict=True)):
                self.reactor.callFromThread(self.rearm)
            before = after
