"""
Standard input and output on the reactor; Twisted's own tell nobody why one of them failed.

What is done with the octets is up to the command.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.process import ProcessReader, ProcessWriter
from twisted.python.failure import Failure
from zope.interface import implementer

LONGEST = 65536
"""The most that is read at once, octets."""

_INPUT, _OUTPUT = "input", "output"


class Input(ProcessReader):
    """Standard input; an error is not its end."""

    def doRead(self) -> Exception | None:
        """
        Read what is there.

        :return: why it is lost; None if it is not.
        """
        try:
            octets = os.read(self.fd, LONGEST)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            return error
        if not octets:
            return ConnectionDone()
        self.dataReceived(octets)  # type: ignore[no-untyped-call]
        return None


class Output(ProcessWriter):
    """
    Standard output; why it failed is kept.

    What it takes at once does not wait for a turn of the reactor, nor is anybody paused for it.
    """

    _waiting = False

    def write(self, data: bytes) -> None:
        """
        Write as much as it takes now, and the rest when it takes more.

        :param data: the output.
        """
        written = 0 if self._waiting else self.writeSomeData(data)
        if isinstance(written, Exception):
            written = 0  # It fails so again, in a turn of the reactor.
        if written < len(data):
            super().write(data[written:])  # type: ignore[no-untyped-call]

    def startWriting(self) -> None:
        """Note that something waits."""
        self._waiting = True
        super().startWriting()  # type: ignore[no-untyped-call]

    def stopWriting(self) -> None:
        """Note that nothing waits."""
        self._waiting = False
        super().stopWriting()  # type: ignore[no-untyped-call]

    def writeSomeData(self, data: bytes) -> int | Exception:
        """
        Write as much as it takes.

        :param data: what there is to write.
        :return: how many octets were written, or why it is lost.
        """
        try:
            written = os.write(self.fd, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            return error
        if written == len(data) and self.enableReadHack:
            # A pipe that nobody reads any more shows that so.
            self.startReading()  # type: ignore[no-untyped-call]
        return written


@implementer(IPushProducer)
class StandardStreams:
    """
    Standard input and output.

    :ivar typed: whether the input is a terminal's.

    To a session standard input is a producer; that it is stopped leaves
    standard output open.
    """

    def __init__(self, reactor: Any, pipe: Any) -> None:
        """
        :param reactor: provides ``IReactorFDSet``.
        :param pipe: an ``IPushProducer``, paused while output is full; what happens it is told by
            ``inputReceived``, ``inputEnded``, ``outputClosed`` and ``fail``.
        """
        self.typed = os.isatty(0)
        self._pipe = pipe
        self._blocking = os.get_blocking(1)
        self._input: Any = Input(reactor, self, _INPUT, 0)  # type: ignore[no-untyped-call]
        self._output: Any = Output(reactor, self, _OUTPUT, 1)  # type: ignore[no-untyped-call]
        self._output.registerProducer(pipe, True)

    def write(self, data: bytes) -> None:
        """
        Write to standard output.

        :param data: the output.
        """
        self._output.write(data)

    def close(self) -> None:
        """Read no more, write what is still to be written, and be done."""
        self._input.stopReading()
        self.endOutput()

    def endOutput(self) -> None:
        """Write what is still to be written, and have the reader see the end."""
        self._output.unregisterProducer()  # A paused one would have to be resumed first.
        self._output.loseConnection()

    def pauseProducing(self) -> None:
        """Read no input for now."""
        self._input.pauseProducing()

    def resumeProducing(self) -> None:
        """Read input again."""
        self._input.resumeProducing()

    def stopProducing(self) -> None:
        """Read no input any more: the session takes nothing."""
        self._input.pauseProducing()

    # What the two tell.

    def childDataReceived(self, name: str, data: bytes) -> None:
        """
        Take input.

        :param name: that it is input.
        :param data: the input.
        """
        self._pipe.inputReceived(data)

    def childConnectionLost(self, name: str, reason: Failure) -> None:
        """
        One of the two has ended, or failed.

        :param name: which.
        :param reason: why.
        """
        error = reason.value
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            doing = "read" if name == _INPUT else "write to"
            self._pipe.fail(f"cannot {doing} standard {name}: {error.strerror}")
        elif name == _INPUT:
            self._pipe.inputEnded()
        if name == _OUTPUT:
            _closeOutput(self._blocking)
            self._pipe.outputClosed()


def _closeOutput(blocking: bool) -> None:
    """
    Close standard output, as other processes had it; no file gets its number.

    :param blocking: whether it was blocking.
    """
    with suppress(OSError):
        os.set_blocking(1, blocking)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
