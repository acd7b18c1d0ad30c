"""
What ``thing connect`` does: standard input to the session, the session to standard output.

How the streams are read and written is in :mod:`~thing.cli.standard`.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from thing.cli.progress import Progress, progressOf
from thing.cli.session import CommandProtocol
from thing.cli.standard import StandardStreams
from thing.errors import EndReason
from thing.events import Termination


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
        self._streams: StandardStreams | None = None
        self._progress: Progress | None = None
        self._noMoreComes = False
        self._outputFull = False
        self._outputDone: Deferred[None] = Deferred()
        self._quitting: IDelayedCall | None = None

    # The session's side.

    def handshakeCompleted(self) -> None:
        """Begin to read and write."""
        super().handshakeCompleted()
        from twisted.internet import reactor

        self._streams = StandardStreams(reactor, self)
        if not self.verbose:  # Else there are lines enough.
            self._progress = progressOf(self.factory.clock)
        self.registerProducer(self._streams, True)

    def messageReceived(self, message: bytes) -> None:
        """
        Write what was received, and wait anew for silence.

        :param message: a message, or a piece of one.
        """
        if self._progress is not None:
            self._progress.received += len(message)
        if self._streams is not None:
            self._streams.write(message)
        if self._quitting is not None:
            self._quitting.reset(self._quitAfter)

    def dataEnded(self) -> None:
        """Leave, if all of the input is sent: a server that says no more may still listen."""
        self.note("the server has ended what it sends")
        self._noMoreComes = True
        typed = self._streams is not None and self._streams.typed
        if self._done or typed:  # Nobody is to sit before a terminal that shows nothing.
            self.leave()

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

    def goingAway(self, reason: EndReason | int, retryAfter: float) -> None:
        """
        Report that the server asks to leave, on a line of its own.

        :param reason: why.
        :param retryAfter: how long to stay away, seconds.
        """
        if self._progress is not None:
            self._progress.interrupt()
        super().goingAway(reason, retryAfter)

    def terminated(self, termination: Termination) -> None:
        """
        Let standard output take what was received.

        :param termination: how the session ended.
        """
        super().terminated(termination)
        if self._progress is not None:
            self._progress.stop()
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
        Send it, at once.

        :param data: some input.
        """
        if self._progress is not None:
            self._progress.sent += len(data)
        self.sendMessage(data)

    def inputEnded(self) -> None:
        """Wait for silence, or do not wait."""
        self.unregisterProducer()
        self.done()
        if self._quitAfter == 0 or self._noMoreComes:
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
