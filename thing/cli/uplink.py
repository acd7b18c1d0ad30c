"""
Lines that become messages: from standard input, or from a FIFO whose writers come and go.

Nothing is read that cannot be sent: while there is no session, or its queue is full, lines
wait in the pipe, and so does who writes them.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.cli.standard import Input
from thing.logger import Logger
from thing.session.clock import callOff
from thing.session.protocol import ThingProtocol

LONGEST_LINE = 65536
"""The longest line that is sent, octets."""

REOPEN_DELAY = 10.0
"""After how many seconds a FIFO that cannot be opened any more is tried again."""


class LineCutter:
    """
    Cuts octets into lines.

    :ivar skipped: how many lines were too long.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._rest = bytearray()
        self._skipping = False

    def feed(self, octets: bytes) -> list[bytes]:
        """
        Take some octets.

        :param octets: what came.
        :return: the lines that are whole now, without their ends.
        """
        *whole, last = octets.split(b"\n")
        lines = []
        for piece in whole:
            self._take(piece)
            lines += self.end()
        self._take(last)
        return lines

    def end(self) -> list[bytes]:
        """
        A line is over, or the input is.

        :return: the line, if there is one that is not too long.
        """
        line, self._rest = bytes(self._rest), bytearray()
        skipping, self._skipping = self._skipping, False
        return [] if skipping else [line]

    @property
    def within(self) -> bool:
        """Whether a line has begun, and is not over."""
        return self._skipping or bool(self._rest)

    def _take(self, piece: bytes) -> None:
        if self._skipping:
            return
        self._rest += piece
        if len(self._rest) > LONGEST_LINE:
            self._rest.clear()
            self._skipping = True
            self.skipped += 1


@implementer(IPushProducer)
class Uplink:
    """Sends lines, each as a message, in whatever session is up."""

    _log = Logger()

    def __init__(self, read: Callable[[Uplink], Any]) -> None:
        """
        :param read: begins to read for this; what it returns can be paused and resumed.
        :raises OSError: if there is nothing to be read.
        """
        self._lines: deque[bytes] = deque()
        self._cutter = LineCutter()
        self._session: ThingProtocol | None = None
        self._full = False
        self._source = read(self)
        self._source.pauseProducing()

    def attach(self, session: ThingProtocol) -> None:
        """
        Send in a session.

        :param session: one that is up.
        """
        if session.termination is None:
            self._session, self._full = session, False
            session.registerProducer(self, True)
            self._go()

    def close(self) -> None:
        """Send what was read, of which there is little, and read no more."""
        while self._lines and self._session is not None:
            self._full = False
            self._go()
        self.stopProducing()
        if self._lines:
            self._log.warn("{count} lines were not sent", count=len(self._lines))

    def _go(self) -> None:
        """Send what there is to send, and read more only then."""
        while self._lines and self._session is not None and not self._full:
            if not self._session.sendMessage(self._lines[0]):
                self._session = None  # It is closing; the line is for the next one.
                break
            self._lines.popleft()
        if self._lines or self._session is None or self._full:
            self._source.pauseProducing()
        else:
            self._source.resumeProducing()

    # The session's side.

    def pauseProducing(self) -> None:
        """The session's queue is full."""
        self._full = True
        self._source.pauseProducing()

    def resumeProducing(self) -> None:
        """The session takes more."""
        self._full = False
        self._go()

    def stopProducing(self) -> None:
        """The session takes nothing any more: what was read waits for the next one."""
        self._session = None
        self._source.pauseProducing()

    # The source's side.

    def inputReceived(self, octets: bytes) -> None:
        """
        Take some input.

        :param octets: the input.
        """
        self._add(self._cutter.feed(octets))

    def inputEnded(self) -> None:
        """Whoever wrote is gone: what they wrote last is a line, even without an end."""
        if self._cutter.within:
            self._add(self._cutter.end())

    def fail(self, trouble: str) -> None:
        """
        Note that nothing can be read.

        :param trouble: why not.
        """
        self._log.error("No more messages go up: {trouble}", trouble=trouble)

    def _add(self, lines: list[bytes]) -> None:
        skipped, self._cutter.skipped = self._cutter.skipped, 0
        if skipped:
            self._log.warn(
                "{count} lines of more than {longest} octets were not sent",
                count=skipped,
                longest=LONGEST_LINE,
            )
        self._lines += lines
        self._go()


class StandardInput:
    """Standard input, until it ends."""

    def __init__(self, reactor: Any, uplink: Uplink) -> None:
        """
        :param reactor: provides ``IReactorFDSet``.
        :param uplink: is given what is read.
        """
        self._uplink = uplink
        self._input: Any = Input(reactor, self, "input", 0)  # type: ignore[no-untyped-call]

    def pauseProducing(self) -> None:
        """Read nothing for now."""
        self._input.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again, if there is more."""
        self._input.resumeProducing()

    def childDataReceived(self, name: str, data: bytes) -> None:
        """
        Pass on what was read.

        :param name: that it is input.
        :param data: the input.
        """
        self._uplink.inputReceived(data)

    def childConnectionLost(self, name: str, reason: Failure) -> None:
        """
        It has ended, or failed.

        :param name: that it is input.
        :param reason: why.
        """
        self._uplink.inputEnded()
        if isinstance(reason.value, OSError):
            self._uplink.fail(f"cannot read standard input: {reason.value.strerror}")


class Fifo:
    """A FIFO, which is an endless input: its writers come and go."""

    def __init__(self, reactor: Any, path: str, clock: IReactorTime, uplink: Uplink) -> None:
        """
        :param reactor: provides ``IReactorFDSet``.
        :param path: where it is; it is made there, for this user alone, if nothing is.
        :param clock: measures how long to wait if it is gone.
        :param uplink: is given what is read.
        :raises OSError: if it cannot be made or opened, or if something else is there.
        """
        self._reactor = reactor
        self._path = path
        self._clock = clock
        self._uplink = uplink
        self._reading = True
        self._again: Any = None
        self._input: Any = None
        self._open()

    def _open(self) -> None:
        if not os.path.lexists(self._path):
            os.mkfifo(self._path, 0o600)
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(0, "it is no FIFO")
        self._input = Input(self._reactor, self, "input", descriptor)  # type: ignore[no-untyped-call]
        self._flow()

    def _flow(self) -> None:
        if self._input is not None and self._reading:
            self._input.resumeProducing()
        elif self._input is not None:
            self._input.pauseProducing()

    def pauseProducing(self) -> None:
        """Read nothing for now."""
        self._reading = False
        self._flow()

    def resumeProducing(self) -> None:
        """Read again."""
        self._reading = True
        self._flow()

    def childDataReceived(self, name: str, data: bytes) -> None:
        """
        Pass on what was read.

        :param name: that it is input.
        :param data: the input.
        """
        self._uplink.inputReceived(data)

    def childConnectionLost(self, name: str, reason: Failure) -> None:
        """
        The last writer has left, or it cannot be read: open it anew.

        :param name: that it is input.
        :param reason: why.
        """
        before, self._input = self._input, None
        self._uplink.inputEnded()
        self._reopen()
        os.close(before.fileno())  # Not sooner: a writer that comes just now finds a reader.

    def _reopen(self) -> None:
        callOff(self._again)
        try:
            self._open()
        except OSError as error:
            trouble = f"cannot open {self._path}: {error.strerror}"
            self._uplink.fail(f"{trouble}; next try in {REOPEN_DELAY:g} s")
            self._again = self._clock.callLater(REOPEN_DELAY, self._reopen)
