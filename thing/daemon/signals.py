"""
What a server's process does at signals: it reads its keys anew, or it ends, or it hurries.

What ends, and how long it may take, is the service's.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

_ENDING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """
    Catches the signals of a process, where that can be done: in the main thread.

    SIGHUP ends a process that does not catch it, so that it is caught as soon as there is a
    server. The first SIGTERM or SIGINT is for the reactor, which stops; what comes while it does
    so would be an error there, and means that somebody does not want to wait.
    """

    def __init__(self, reactor: Any) -> None:
        """:param reactor: provides ``IReactorCore`` and ``IReactorFromThreads``."""
        self._reactor = reactor
        self._before: dict[int, Any] = {}
        self._reload: Callable[[], object] | None = None
        self._hungUp = False
        self._ending = False
        self._forget: Callable[[], object] | None = None

    def catchHangUp(self) -> None:
        """Let SIGHUP end nothing; what it asks for is done when :meth:`attend` says how."""
        if signal.SIGHUP not in self._before:
            self._catch(signal.SIGHUP, self._hangUp)

    def attend(self, reload: Callable[[], object] | None, hurry: Callable[[], object]) -> None:
        """
        Say what signals are for.

        :param reload: reads the keys anew, at SIGHUP; None leaves that signal to others.
        :param hurry: ends at once, at the second SIGTERM or SIGINT.
        """
        if reload is not None:
            self._reload = reload
            self.catchHangUp()
            if self._hungUp:
                self._hungUp = False
                self._reactor.callWhenRunning(reload)
        self._ending = False
        trigger = self._reactor.addSystemEventTrigger("before", "shutdown", self._end)
        self._forget = partial(self._reactor.removeSystemEventTrigger, trigger)
        # The reactor sets its own handlers when it starts.
        self._reactor.callWhenRunning(self._catchEnding, hurry)

    def restore(self) -> None:
        """
        Leave all signals to whoever had them before.

        If the process ends, SIGHUP still does not hasten that; but one more SIGTERM or SIGINT
        kills: what is left may take long, such as a thread that waits for a name to be resolved.
        """
        forget, self._forget = self._forget, None
        if forget is not None:
            forget()
        self._reload = None
        if self._ending:
            for number in self._before.keys() - {signal.SIGHUP}:
                signal.signal(number, signal.SIG_DFL)
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _catch(self, number: int, handler: Callable[[int, FrameType | None], object]) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before[number] = signal.signal(number, handler)

    def _hangUp(self, number: int, frame: FrameType | None) -> None:
        if self._reload is None:
            self._hungUp = True
        else:
            self._reactor.callFromThread(self._reload)

    def _catchEnding(self, hurry: Callable[[], object]) -> None:
        def caught(number: int, frame: FrameType | None) -> None:
            if self._ending:
                # In the turn after: one that came just before stops the reactor at the end of this.
                self._reactor.callFromThread(self._reactor.callFromThread, hurry)
            else:
                self._ending = True
                self._before[number](number, frame)

        for number in _ENDING:
            # A signal that is ignored, or ends the process at once, was meant to.
            if self._forget is not None and callable(signal.getsignal(number)):
                self._catch(number, caught)

    def _end(self) -> None:
        self._ending = True
        self._forget = None
