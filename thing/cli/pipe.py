"""What ``thing connect`` does: standard input to the session, the session to standard output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.cli.session import CommandProtocol
from thing.events import Termination

LONGEST = 65536
"""The longest message that is made of the input, octets."""


class Lines:
    """Cuts input into messages: lines with their newlines, or :data:`LONGEST` octets of one."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        Take more input.

        :param data: the input.
        :return: the messages that are complete now.
        """
        text, start = self._rest + data, 0
        while True:
            end = text.find(b"\n", start, start + LONGEST) + 1
            if not end:
                end = start + LONGEST
                if end > len(text):
                    break
            yield text[start:end]
            start = end
        self._rest = text[start:]

    def end(self) -> bytes:
        """:return: the last line, which has no newline; empty if there is none."""
        rest, self._rest = self._rest, b""
        return rest


@implementer(IHalfCloseableProtocol, IPushProducer)
class StandardStreams(Protocol):
    """
    Standard input and output, for a :class:`Pipe`.

    To the session standard input is a producer; that it is stopped leaves
    standard output open.
    """

    def __init__(self, pipe: Pipe) -> None:
        """:param pipe: whom to tell what happens."""
        self._pipe = pipe
        stdio: Any = StandardIO
        self._stdio = stdio(self)
        self._stdio.registerProducer(pipe, streaming=True)

    def write(self, data: bytes) -> None:
        """
        Write to standard output.

        :param data: the output.
        """
        self._stdio.write(data)

    def close(self) -> None:
        """Read no more, write what is still to be written, and be done."""
        self._stdio.unregisterProducer()  # A paused one would have to be resumed first.
        self._stdio.loseConnection()

    def pauseProducing(self) -> None:
        """Read no input for now."""
        self._stdio.pauseProducing()

    def resumeProducing(self) -> None:
        """Read input again."""
        self._stdio.resumeProducing()

    def stopProducing(self) -> None:
        """Read no input any more: the session takes nothing."""
        self._stdio.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        """
        Take input.

        :param data: the input.
        """
        self._pipe.inputReceived(data)

    def readConnectionLost(self) -> None:
        """Standard input has ended."""
        self._pipe.inputEnded()

    def writeConnectionLost(self) -> None:
        """Nobody reads standard output any more."""
        self._pipe.outputClosed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        All output is written.

        :param reason: not of interest.
        """
        self._pipe.outputClosed()


class Pipe(CommandProtocol):
    """
    A session between standard input and output and a server.

    Backpressure works both ways: while the session's queue is full, standard
    input is not read; while standard output is full, messages are held.
    """

    def __init__(self, verbose: bool, quitAfter: float) -> None:
        """
        :param verbose: whether to report on standard error.
        :param quitAfter: how long to wait for replies after the input's end,
            seconds since the last one; negative to wait for the server's end.
        """
        super().__init__(verbose)
        self._quitAfter = quitAfter
        self._lines = Lines()
        self._streams: StandardStreams | None = None
        self._outputFull = False
        self._outputDone: Deferred[None] = Deferred()
        self._quitting: IDelayedCall | None = None

    # The session's side.

    def handshakeCompleted(self) -> None:
        """Begin to read and write."""
        super().handshakeCompleted()
        self._streams = StandardStreams(self)
        self.registerProducer(self._streams, True)

    def messageReceived(self, message: bytes) -> None:
        """
        Write what was received, and wait anew for silence.

        :param message: a message, or a piece of one.
        """
        if self._streams is not None:
            self._streams.write(message)
        if self._quitting is not None:
            self._quitting.reset(self._quitAfter)

    def requestReceived(self, data: bytes) -> None:
        """
        Write what was asked, as a line of its own; that it was is the whole answer.

        :param data: the request, such as a message that somebody sends to this thing.
        """
        self.messageReceived(data if data.endswith(b"\n") else data + b"\n")

    def pauseProducing(self) -> None:
        """Standard output is full."""
        self._outputFull = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """Standard output takes more."""
        self._outputFull = False
        super().resumeProducing()

    def terminated(self, termination: Termination) -> None:
        """
        Let standard output take what was received.

        :param termination: how the session ended.
        """
        super().terminated(termination)
        if self._quitting is not None:
            self._quitting.cancel()
            self._quitting = None
        if self._streams is not None:
            self._streams.close()

    def cut(self) -> None:
        """End at once; what standard output did not take yet is dropped."""
        super().cut()
        self.outputClosed()

    async def over(self) -> Termination:
        """
        Wait until the session has ended and all its output is written.

        :return: how the session ended.
        """
        termination = await super().over()
        if self._streams is not None:
            await self._outputDone
        return termination

    # The standard streams' side.

    def inputReceived(self, data: bytes) -> None:
        """
        Send the lines that are complete.

        :param data: some input.
        """
        for line in self._lines.feed(data):
            self.sendMessage(line)

    def inputEnded(self) -> None:
        """Send the last line and wait for silence, or do not wait."""
        self.unregisterProducer()
        self.done()
        rest = self._lines.end()
        if rest:
            self.sendMessage(rest)
        if self._quitAfter == 0:
            self.leave()
        elif self._quitAfter > 0:
            self._quitting = self.factory.clock.callLater(self._quitAfter, self._silent)

    def outputClosed(self) -> None:
        """Nothing more will be written: all is, or nobody reads it."""
        if self._outputDone.called:
            return
        self._outputDone.callback(None)
        if self.termination is None:
            self.leave()

    def _silent(self) -> None:
        """Nothing was received for a while after the input's end."""
        self._quitting = None
        if self.queued or self._outputFull:  # It is not the server that is slow to answer.
            self._quitting = self.factory.clock.callLater(self._quitAfter, self._silent)
        else:
            self.leave()
