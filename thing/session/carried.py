"""
What a protocol over Thing has for a transport: Twisted's TCP transport, in all it does.

When octets may be sent, and how many, is decided below.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IHalfCloseableProtocol,
    ILoggingContext,
    IPushProducer,
    IReactorTime,
)
from zope.interface import implementer

from thing.errors import StopCode
from thing.events import Session
from thing.identity import Identity
from thing.session.interfaces import IThingTransport
from thing.session.outflow import Carrier, Outflow
from thing.session.tcpoptions import TcpOptions


class StreamCarrier(Carrier, Protocol):
    """What a stream's transport needs of the session that carries it."""

    @property
    def session(self) -> Session | None:
        """What both sides agreed on; there once the session is up."""

    @property
    def streams(self) -> Any:
        """The session's streams."""

    @property
    def sessionId(self) -> str:
        """The session id in hexadecimal."""

    @property
    def ttl(self) -> float | None:
        """The TTL as the server granted it last, seconds."""

    @property
    def roundTripTime(self) -> float | None:
        """What the client's last acknowledged heartbeat measured, seconds."""

    def exportKeyingMaterial(self, label: str, context: bytes, length: int) -> bytes:
        """Derive octets that only the two ends of the session know."""

    def pauseProducing(self) -> None:
        """Deliver no data."""

    def resumeProducing(self) -> None:
        """Deliver data again."""

    def cut(self, code: int) -> None:
        """End the stream at once, and tell the peer why; with the main stream the session ends."""

    def complete(self) -> None:
        """Close what both sides have ended, however long the peer takes for the rest of it."""

    def logPrefix(self) -> str:
        """Name the protocol that the stream is carried for."""


@implementer(IThingTransport, IConsumer, IPushProducer, ILoggingContext)
class StreamTransport(TcpOptions):
    """
    One stream of a session, as an ``ITCPTransport`` with half-closes.

    :ivar connected: whether the stream is there.
    :ivar disconnecting: whether it was asked to close.
    """

    def __init__(
        self, carrier: StreamCarrier, below: Any, clock: IReactorTime, closeTimeout: float
    ) -> None:
        """
        :param carrier: the session, which is up.
        :param below: the transport that the session itself has.
        :param clock: gives turns of the reactor.
        :param closeTimeout: how long a close waits while next to nothing moves, seconds.
        """
        self.connected = True
        self.disconnecting = False
        self.outflow = Outflow(carrier, clock, closeTimeout)
        self._carrier = carrier
        self._below = below
        self._clock = clock
        self._resuming: IDelayedCall | None = None
        self._peerEnded = False

    # The session.

    @property
    def streams(self) -> Any:
        """The session's streams (:class:`~thing.session.streams.SessionStreams`)."""
        return self._carrier.streams

    @property
    def session(self) -> Session:
        """What both sides agreed on."""
        session = self._carrier.session
        assert session is not None, "there is no transport before the session is up"
        return session

    @property
    def peer(self) -> Identity:
        """Who the peer is."""
        return self.session.peer

    @property
    def sessionId(self) -> str:
        """The session id in hexadecimal, the same on both sides."""
        return self._carrier.sessionId

    @property
    def ttl(self) -> float | None:
        """The TTL as the server granted it last, seconds."""
        return self._carrier.ttl

    @property
    def roundTripTime(self) -> float | None:
        """What the client's last acknowledged heartbeat measured, seconds."""
        return self._carrier.roundTripTime

    def exportKeyingMaterial(self, label: str, context: bytes, length: int) -> bytes:
        """
        Derive octets that only the two ends of this session know, for channel binding.

        :param label: what they are for; ASCII, at most 128 characters.
        :param context: what else they are bound to.
        :param length: how many, 1 to 8160.
        :return: the same octets on both sides.
        :raises LocalProtocolError: if the session is over, or an argument is out of bounds.
        """
        return self._carrier.exportKeyingMaterial(label, context, length)

    # Writing.

    @property
    def bufferSize(self) -> int:
        """With more octets than this unsent a producer is paused."""
        return self.outflow.bufferSize

    @bufferSize.setter
    def bufferSize(self, size: int) -> None:
        self.outflow.bufferSize = size

    def write(self, data: bytes) -> None:
        """
        Send octets; after the close they are silently dropped.

        :param data: the octets.
        :raises TypeError: unless it is bytes.
        """
        self.writeSequence((data,))

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Send octets in pieces.

        :param data: the pieces.
        :raises TypeError: unless they are bytes.
        """
        pieces = list(data)
        for piece in pieces:
            if not isinstance(piece, bytes):
                raise TypeError("Data must be bytes")
        self.outflow.write(pieces)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let a producer write as fast as the peer takes it (``IConsumer``).

        :param producer: an ``IPushProducer`` if ``streaming``, else an ``IPullProducer``.
        :param streaming: which of the two.
        :raises RuntimeError: if there is one already.
        """
        self.outflow.register(producer, streaming)

    def unregisterProducer(self) -> None:
        """Forget the producer (``IConsumer``)."""
        self.outflow.unregister()

    def stopConsuming(self) -> None:
        """Forget the producer, and close."""
        self.unregisterProducer()
        self.loseConnection()

    # Reading.

    def pauseProducing(self) -> None:
        """
        Deliver no data; heartbeats go on (``IPushProducer``).

        What the peer may send meanwhile is bounded; a pause may last for as long as it likes.
        Once the peer has closed its half only the end of the stream can come, which does not wait.
        """
        self._cancelResuming()
        if self.connected and not self._peerEnded and not self.outflow.saidGoodbye:
            self._carrier.pauseProducing()

    def resumeProducing(self) -> None:
        """Deliver data again, from the reactor's next turn on (``IPushProducer``)."""
        if self.connected and self._resuming is None:
            self._resuming = self._clock.callLater(0, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        self.outflow.drain()  # A goodbye that was held back may come now.
        self._carrier.resumeProducing()

    def _cancelResuming(self) -> None:
        resuming, self._resuming = self._resuming, None
        if resuming is not None and resuming.active():
            resuming.cancel()

    def stopProducing(self) -> None:
        """Close (``IPushProducer``)."""
        self.loseConnection()

    def stopReading(self) -> None:
        """Pause, by the name that Twisted's own transports have for it."""
        self.pauseProducing()

    def startReading(self) -> None:
        """Resume, by the name that Twisted's own transports have for it."""
        self.resumeProducing()

    # Closing.

    def loseConnection(self) -> None:
        """
        Close in order, after all that was written and all that a registered producer writes.

        What the peer wrote before it learned of that is still delivered in the main stream, and
        discarded in every other.
        """
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self.outflow.close()

    def loseWriteConnection(self) -> None:
        """Close this half in order, after all that was written (``IHalfCloseableDescriptor``)."""
        if self.connected and not self.disconnecting:
            self.outflow.end()

    def abortConnection(self, code: StopCode | int = StopCode.CANCELLED) -> None:
        """
        Close at once, whatever is not sent or received.

        :param code: what the peer is told, in a stream beside the main one: a
            :class:`~thing.errors.StopCode`, or one of the application's from 0x100 on.
        """
        if self.connected:
            self.disconnecting = True
            self._carrier.cut(code)

    def ended(self, protocol: Any) -> None:
        """
        This half is closed: tell the protocol, as TCP does, and close all if both are.

        :param protocol: the one over this transport.
        """
        if IHalfCloseableProtocol.providedBy(protocol):
            self._carrier.guard(protocol.writeConnectionLost)
        if self._peerEnded:
            self._complete()

    def peerEnded(self, protocol: Any) -> None:
        """
        The peer has closed its half: tell the protocol, as TCP does, and close all if both are.

        :param protocol: the one over this transport; if it knows of no halves, all is closed.
        """
        self._peerEnded = True
        self.resumeProducing()  # The last octets may have paused it.
        if IHalfCloseableProtocol.providedBy(protocol):
            self._carrier.guard(protocol.readConnectionLost)
            if self.outflow.ended:
                self._complete()
        else:
            self.loseConnection()

    def _complete(self) -> None:
        if not self.disconnecting:
            self._carrier.complete()

    def lost(self) -> None:
        """The stream is closed; its session calls this before the protocol is told."""
        self.connected = False
        self._cancelResuming()
        self.outflow.lost()

    # The stream below.

    def getPeer(self) -> Any:
        """:return: the peer's address; behind a PROXY header the one that it tells."""
        return self._below.getPeer()

    def getHost(self) -> Any:
        """:return: this side's address."""
        return self._below.getHost()

    @property
    def _tcp(self) -> Any:
        return self._below if self.connected else None

    def logPrefix(self) -> str:
        """:return: the name of the protocol over this transport."""
        return self._carrier.logPrefix()

    def __repr__(self) -> str:
        """The session, and the stream below it."""
        return f"<StreamTransport {self.sessionId} over {self._below!r}>"


def prefixOf(speaker: Any) -> str:
    """
    Tell what is logged of somebody, as Twisted's transports decide it.

    :param speaker: a protocol or a factory.
    :return: its prefix.
    """
    if ILoggingContext.providedBy(speaker):
        prefix: str = speaker.logPrefix()
        return prefix
    return type(speaker).__name__
