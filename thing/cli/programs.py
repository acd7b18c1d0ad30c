"""
Programs of the user's, which are given octets and give some back, within bounds.

One is run for each request or message. What it is given is on its standard input. It begins a
session of its own, so that what it has started can be killed with it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from thing.session.clock import callOff

_SETSID = "import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])"
"""What setsid does, where there is none."""


class ProgramFailed(Exception):
    """A program did not do what it was to do; the message says why."""


def parseCommand(text: str) -> tuple[str, ...]:
    """
    Understand what the user wrote: words as a shell has them, but no shell comes into it.

    :param text: the program, by its name or path, and its arguments.
    :return: the words.
    :raises ValueError: if it is no command, or there is no such program.
    """
    words = shlex.split(text)
    if not words:
        raise ValueError("there is no command")
    if shutil.which(words[0]) is None:
        raise ValueError(f"{words[0]!r} is no program that can be run")
    return tuple(words)


def inSession(words: tuple[str, ...]) -> tuple[str, ...]:
    """
    Have a command begin a session, whose number is that of its process.

    :param words: the program and its arguments.
    :return: the words that do so.
    """
    setsid = shutil.which("setsid")
    begin = (sys.executable, "-I", "-S", "-c", _SETSID) if setsid is None else (setsid,)
    return (*begin, *words)


class Program:
    """
    A command, which may be run several times at once.

    :ivar running: those runs that are not over.
    """

    def __init__(
        self,
        reactor: Any,
        words: tuple[str, ...],
        *,
        patience: float,
        limit: int | None = None,
        clock: IReactorTime,
    ) -> None:
        """
        :param reactor: provides ``IReactorProcess``.
        :param words: the program and its arguments.
        :param patience: how long a run may take, seconds.
        :param limit: how many octets its standard output may have; None leaves it our own.
        :param clock: measures how long it takes.
        """
        self.running: set[Run] = set()
        self._reactor = reactor
        self._words = inSession(words)
        self._patience = patience
        self._limit = limit
        self._clock = clock

    def run(self, octets: bytes) -> Deferred[bytes]:
        """
        Run it once.

        :param octets: what it finds on its standard input.
        :return: fires with what it wrote to standard output; fails with :class:`ProgramFailed`.
            To cancel it kills the program, as each failure does, and what that has started.
        """
        run = Run(self, octets, self._limit or 0)
        self.running.add(run)
        run.late = self._clock.callLater(
            self._patience, run.giveUp, f"it took longer than {self._patience:g} s"
        )
        output: int | str = 1 if self._limit is None else "r"
        try:
            self._reactor.spawnProcess(
                run, self._words[0], self._words, env=None, childFDs={0: "w", 1: output, 2: 2}
            )
        except OSError as error:  # There is no room for another process.
            run.fail(ProgramFailed(f"it cannot be run: {error.strerror}"))
        return run.over

    def kill(self) -> None:
        """Kill all that run."""
        for run in list(self.running):
            run.giveUp("it was killed at the end")


class Run(ProcessProtocol):
    """
    One run of a program.

    :ivar over: as :meth:`Program.run` returns it.
    :ivar late: comes when it has taken too long.
    """

    transport: Any
    late: IDelayedCall | None = None

    def __init__(self, program: Program, octets: bytes, limit: int) -> None:
        """
        :param program: which.
        :param octets: what it is given.
        :param limit: how many octets it may give back.
        """
        self.over: Deferred[bytes] = Deferred(self._cancelled)
        self._program = program
        self._octets = octets
        self._limit = limit
        self._output = bytearray()

    def connectionMade(self) -> None:
        """Give it what it is for."""
        self._session = self.transport.pid
        self.transport.write(self._octets)
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """
        Keep what it gives back.

        :param data: some of it.
        """
        self._output += data
        if len(self._output) > self._limit:
            self.giveUp(f"it gave more than {self._limit} octets")

    def processEnded(self, reason: Failure) -> None:
        """
        It has ended, and its output with it.

        :param reason: how.
        """
        error = reason.value
        if not isinstance(error, ProcessTerminated):
            if self._finish():
                self.over.callback(bytes(self._output))
        elif error.signal is not None:
            self.fail(ProgramFailed(f"it was ended by signal {error.signal}"))
        else:
            self.fail(ProgramFailed(f"its exit status was {error.exitCode}"))

    def giveUp(self, why: str) -> None:
        """
        Kill it, and wait for nothing: what is in another session may hold its output open.

        :param why: why.
        """
        self.fail(ProgramFailed(why))

    def fail(self, error: ProgramFailed) -> None:
        """
        It did not do what it was to do.

        :param error: why not.
        """
        if self._finish():
            self._kill()
            self.over.errback(error)

    def _cancelled(self, over: Deferred[bytes]) -> None:
        if self._finish():
            self._kill()

    def _finish(self) -> bool:
        """Wait for nothing more; whether there is somebody to be told."""
        callOff(self.late)
        if self not in self._program.running:
            return False
        self._program.running.discard(self)
        return True

    def _kill(self) -> None:
        """Leave no process of its session, if it was started."""
        if self.transport is None:
            return
        with suppress(ProcessExitedAlready):  # It may be just about to begin its session.
            self.transport.signalProcess("KILL")
        with suppress(ProcessLookupError, PermissionError):  # Nobody is there, or no more.
            os.killpg(self._session, signal.SIGKILL)
        self.transport.loseConnection()
