"""
What ``thing reach`` does: standard input and output become those of a service of a thing.

Whether that is allowed is for the server to say.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.cli.destination import Destination
from thing.cli.endings import plain
from thing.cli.exits import CommandError, ExitCode
from thing.cli.session import CommandProtocol
from thing.cli.standard import StandardStreams
from thing.core.credentials import readCredential
from thing.errors import LocalProtocolError, StopCode, StreamRefused
from thing.events import Termination
from thing.identity import CredentialKind
from thing.session.clock import callOff
from thing.session.reasons import StreamCut
from thing.session.relay import factoryOf

LINGER = 1.0
"""How long input is still taken when nobody reads the output any more, seconds."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class StandardEnd(Protocol):
    """
    The end of a stream at standard input and output.

    Octets go both ways as fast as the slower side takes them, and each direction ends for itself.

    :ivar written: fires when all output is written, or cannot be.
    """

    transport: Any

    def __init__(self, ended: Callable[[Failure], object], fail: Callable[[str], object]) -> None:
        """
        :param ended: called with the reason when the stream is over.
        :param fail: called with what went wrong with input or output.
        """
        self.written: Deferred[None] = Deferred()
        self.fail = fail
        self._ended = ended
        self._streams: StandardStreams
        self._inputEnded = self._outputEnded = False
        self._hangingUp: IDelayedCall | None = None

    @property
    def isOpen(self) -> bool:
        """Whether the stream is open."""
        return self.transport is not None and bool(self.transport.connected)

    # The stream's side.

    def connectionMade(self) -> None:
        """Begin to read and write."""
        from twisted.internet import reactor

        self._streams = StandardStreams(reactor, self)
        self.transport.registerProducer(self._streams, True)

    def dataReceived(self, data: bytes) -> None:
        """
        Write what came.

        :param data: some octets.
        """
        if self._hangingUp is None:
            self._streams.write(data)

    def readConnectionLost(self) -> None:
        """The service has no more to say: nor has standard output."""
        self._outputEnded = True
        self._streams.endOutput()

    def writeConnectionLost(self) -> None:
        """All input has gone, and no more will."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The stream is over; what came is still written.

        :param reason: why.
        """
        callOff(self._hangingUp)
        self._outputEnded = True
        self._streams.close()
        self._ended(reason)

    def hangUp(self) -> None:
        """Nobody reads any more: close when the input has ended, which may be just about to."""
        if self._hangingUp is None:
            from twisted.internet import reactor

            later: Any = reactor
            self._hangingUp = later.callLater(0.0 if self._inputEnded else LINGER, self._close)
            self.transport.resumeProducing()  # What still comes is dropped.
            self.drop()

    def _close(self) -> None:
        self._streams.close()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once, and drop what is not written yet."""
        self.transport.abortConnection()
        self.drop()

    def drop(self) -> None:
        """Do not wait until what came is written."""
        if not self.written.called:
            self.written.callback(None)

    # The standard streams' side.

    def inputReceived(self, data: bytes) -> None:
        """
        Send it, at once.

        :param data: some input.
        """
        self.transport.write(data)

    def inputEnded(self) -> None:
        """Tell the service that no more comes."""
        self._inputEnded = True
        self.transport.unregisterProducer()
        if self._hangingUp is None:
            self.transport.loseWriteConnection()
        else:
            self._close()

    def outputClosed(self) -> None:
        """Nothing more will be written: all is, or nobody reads it."""
        self.drop()
        if not self._outputEnded:
            self.hangUp()

    def pauseProducing(self) -> None:
        """Standard output is full (``IPushProducer``)."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Standard output takes more (``IPushProducer``)."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Wait for :meth:`outputClosed` (``IPushProducer``)."""


class Reacher(CommandProtocol):
    """A session with one stream in it, to a service."""

    def __init__(self, verbose: bool, destination: Destination) -> None:
        """
        :param verbose: whether to report on standard error.
        :param destination: what to reach.
        """
        super().__init__(verbose)
        self._destination = destination
        self._end = StandardEnd(self._ended, self.fail)

    def handshakeCompleted(self) -> None:
        """Open the stream."""
        super().handshakeCompleted()
        endpoint = self.streams.endpoint(self._destination.label)
        opening: Deferred[Any] = endpoint.connect(factoryOf(self._end))
        opening.addErrback(self._ended)

    def interrupted(self, number: int) -> None:
        """
        End the stream: as if input and output were closed, if the user has hung up.

        :param number: the signal.
        """
        if number == signal.SIGHUP and self._end.isOpen:
            self._end.hangUp()  # So ssh tells its ProxyCommand that it is about to exit.
            return
        self.trouble = CommandError("interrupted", ExitCode.INTERRUPTED)
        if self._end.isOpen:
            self._end.abort()
        self.leave()

    def _ended(self, reason: Failure) -> None:
        """The stream is over, or did not come about."""
        if self.termination is not None:
            return  # The session's end says why.
        error = reason.value
        if isinstance(error, StreamRefused | StreamCut):
            self._explain(error.code)
        elif isinstance(error, TimeoutError):
            self._explain(StopCode.TIMED_OUT)
        elif isinstance(error, LocalProtocolError):
            self._explain(StopCode.BUSY)
        elif self.trouble is None and not isinstance(error, ConnectionDone):
            self.trouble = CommandError(plain(error))
        self.leave()

    def _explain(self, code: StopCode | int) -> None:
        if self.trouble is None:
            key = keyOf(self.factory.settings.credential)
            self.trouble = self._destination.refusal(code, key)

    def cut(self) -> None:
        """End at once; what standard output did not take yet is dropped."""
        super().cut()
        self._end.drop()

    async def over(self) -> Termination:
        """
        Wait until the session has ended and all its output is written.

        :return: how the session ended.
        """
        termination = await super().over()
        if self._end.transport is not None:
            await self._end.written
        return termination


def keyOf(credential: Any) -> str:
    """
    Name the user's key, if it is of the kind that stands in the server's file.

    :param credential: what the user shows.
    :return: the key, for a sentence.
    """
    if credential.kind is not CredentialKind.ED25519:
        return "an Ed25519 key, of which you showed none,"
    return f"your key {readCredential(credential.kind, credential.data).fingerprint}"
