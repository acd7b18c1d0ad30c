"""
:class:`FakeThingTransport`: the transport of a protocol over Thing, without a session.

Nothing is sent, and nothing protected.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    ILoggingContext,
    IProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.endpoints import IThingTransport
from thing.errors import ErrorCode, StopCode
from thing.events import Cause, Session, Termination
from thing.identity import CredentialKind, Identity
from thing.session.carried import prefixOf
from thing.session.outflow import BUFFER_SIZE
from thing.session.reasons import reasonOf
from thing.testing.sockets import CLIENT_ADDRESS, SERVER_ADDRESS

NOBODY = Identity(CredentialKind.ED25519, bytes(32), "thing")
"""The peer, unless a test says who it is."""


@implementer(IThingTransport, IConsumer, IPushProducer, ILoggingContext)
class FakeThingTransport:
    """
    The transport of a protocol that is tested alone.

    It keeps what is written, and the test decides when the session ends, and how.

    :ivar protocol: the protocol that has it.
    :ivar session: the made-up session.
    :ivar peer: the made-up peer.
    :ivar sessionId: the session id in hexadecimal.
    :ivar ttl: the TTL, seconds.
    :ivar roundTripTime: None until the test sets it.
    :ivar streams: None, unless the test has something for the protocol to open streams with.
    :ivar connected: whether the session is up.
    :ivar disconnecting: whether the protocol asked for its end.
    :ivar writeEnded: whether it has closed its half.
    :ivar aborted: whether it did by :meth:`abortConnection`.
    :ivar abortCode: what the peer is told then.
    :ivar reading: whether the protocol takes data now.
    :ivar producer: the producer that is registered.
    :ivar bufferSize: with more octets than this unsent a producer is paused in service; here none.
    """

    bufferSize = BUFFER_SIZE
    abortCode: StopCode | int | None = None

    def __init__(
        self,
        *,
        peer: Identity = NOBODY,
        ttl: float = 30.0,
        address: IPv4Address | IPv6Address = CLIENT_ADDRESS,
        clock: IReactorTime | None = None,
    ) -> None:
        """
        :param peer: who the peer is.
        :param ttl: the TTL, seconds.
        :param address: the peer's address.
        :param clock: if given, the session ends in the clock's next turn once the protocol
            asked for that, as it does in service; else the test calls :meth:`lose`.
        """
        self.session = Session(bytes(16), peer, "x25519", "aes-256-gcm", ttl, ttl / 3)
        self.peer = peer
        self.sessionId = self.session.sessionId.hex()
        self.ttl: float | None = ttl
        self.roundTripTime: float | None = None
        self.streams: Any = None
        self.connected = self.disconnecting = self.aborted = self.writeEnded = False
        self.reading = True
        self.producer: Any = None
        self._address = address
        self._clock = clock
        self._written = bytearray()
        self._options: dict[str, bool] = {}
        self.protocol: IProtocol | None = None

    # What the test does.

    def connect(self, protocol: IProtocol) -> None:
        """
        Give a protocol this transport.

        :param protocol: the protocol.
        """
        self.protocol = protocol
        self.connected = True
        protocol.makeConnection(self)

    def value(self) -> bytes:
        """:return: what was written, and not cleared since."""
        return bytes(self._written)

    def clear(self) -> None:
        """Forget what was written."""
        self._written.clear()

    def lose(self, termination: Termination | None = None) -> None:
        """
        End the session, and tell the protocol; nothing if it has ended.

        :param termination: how it ends; by default with a goodbye, or as the protocol aborted it.
        """
        if not self.connected or self.protocol is None:
            return
        self.connected = self.reading = False
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        reason = Failure(reasonOf(termination or self._ending()))  # type: ignore[no-untyped-call]
        self.protocol.connectionLost(reason)

    def endRead(self) -> None:
        """Have the peer close its half, and tell the protocol, as TCP does."""
        protocol: Any = self.protocol
        if IHalfCloseableProtocol.providedBy(protocol):
            protocol.readConnectionLost()
        else:
            self.loseConnection()

    def _ending(self) -> Termination:
        if self.aborted:
            return Termination(Cause.ABORTED, ErrorCode.ABORTED)
        return Termination(Cause.GOODBYE)

    # What the protocol does.

    def write(self, data: bytes) -> None:
        """
        Keep octets.

        :param data: the octets.
        :raises TypeError: unless it is bytes.
        """
        self.writeSequence((data,))

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Keep octets in pieces.

        :param data: the pieces.
        :raises TypeError: unless they are bytes.
        """
        for piece in data:
            if not isinstance(piece, bytes):
                raise TypeError("Data must be bytes")
            if self.connected and not self.disconnecting and not self.writeEnded:
                self._written += piece

    def loseConnection(self) -> None:
        """Note that the session is to end."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            if self._clock is not None:
                self._clock.callLater(0, self.lose)

    def loseWriteConnection(self) -> None:
        """Note that the protocol has closed its half; what it writes now is dropped."""
        self.writeEnded = self.writeEnded or self.connected

    def abortConnection(self, code: StopCode | int = StopCode.CANCELLED) -> None:
        """
        Note that the session, or a stream in it, is to end at once.

        :param code: what the peer is told of a stream.
        """
        if self.connected:
            self.aborted, self.abortCode = True, code
            self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Note a producer; the test resumes and pauses it.

        :param producer: the producer.
        :param streaming: whether it is an ``IPushProducer``.
        :raises RuntimeError: if there is one already.
        """
        if self.producer is not None:
            raise RuntimeError("there is a producer already")
        if self.connected:
            self.producer = producer
        else:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self.producer = None

    def stopConsuming(self) -> None:
        """Forget the producer, and note that the session is to end."""
        self.unregisterProducer()
        self.loseConnection()

    def stopReading(self) -> None:
        """Pause, by the name that Twisted's own transports have for it."""
        self.pauseProducing()

    def startReading(self) -> None:
        """Resume, by the name that Twisted's own transports have for it."""
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """Note that the protocol takes no data."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Note that it takes data."""
        self.reading = self.connected

    def stopProducing(self) -> None:
        """Note that the session is to end."""
        self.loseConnection()

    def exportKeyingMaterial(self, label: str, context: bytes, length: int) -> bytes:
        """
        Make up octets, which are the same for the same arguments and peer.

        :param label: what they are for.
        :param context: what else they are bound to.
        :param length: how many.
        :return: the octets.
        """
        key = hmac.digest(self.peer.publicKey, label.encode() + b"\0" + context, "sha256")
        return hashlib.shake_256(key).digest(length)

    def logPrefix(self) -> str:
        """:return: the name of the protocol over this transport."""
        return prefixOf(self.protocol)

    def getPeer(self) -> IPv4Address | IPv6Address:
        """:return: the peer's address."""
        return self._address

    def getHost(self) -> IPv4Address | IPv6Address:
        """:return: an address for this side."""
        return SERVER_ADDRESS

    def getTcpNoDelay(self) -> bool:
        """:return: what was set last."""
        return self._options.get("noDelay", True)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Note a choice.

        :param enabled: the choice.
        """
        self._options["noDelay"] = enabled

    def getTcpKeepAlive(self) -> bool:
        """:return: what was set last."""
        return self._options.get("keepAlive", False)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Note a choice.

        :param enabled: the choice.
        """
        self._options["keepAlive"] = enabled
