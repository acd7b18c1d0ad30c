"""
Twisted's own TCP transport over a socket in memory, which a test drives instead of a reactor.

Nothing of the transport is imitated, so a protocol meets in memory what it meets in service:
when it is paused, how it closes, what is left of it after its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from thing.testing.sockets import MemorySocket, Wire, connectedSockets

PLENTY = 1 << 30
"""More octets than any test sends."""


class MemoryTransport(Connection):
    """
    One end of a connection.

    It reads and writes only in :meth:`step`, and so ``dataReceived`` and ``connectionLost``
    never come while the protocol calls a method. (Twisted has one exception: to close an end
    whose sending half is closed already.)

    :ivar peer: the other end.
    :ivar sending: the way to the other end.
    :ivar reading: whether it asks for octets, as it does until its protocol pauses it.
    :ivar writing: whether it has something to send, or to close.
    :ivar highest: the most octets that ever waited in it for the socket.
    """

    peer: MemoryTransport
    highest = 0

    def __init__(
        self, skt: MemorySocket, clock: IReactorTime, host: IAddress, peer: IAddress
    ) -> None:
        """
        :param skt: the socket.
        :param clock: the reactor's, for what is done in its next turn.
        :param host: this end's address.
        :param peer: the other end's.
        """
        self.reading = self.writing = False
        self.sending: Wire = skt.sending
        self._memory = skt
        self._addresses = host, peer
        super().__init__(cast(Any, skt), cast(Any, None), cast(Any, clock))

    def connect(self, protocol: IProtocol) -> None:
        """
        Tell a protocol that it is connected, and read for it from now on.

        :param protocol: the protocol.
        """
        self.protocol = protocol
        self.connected = 1
        self.startReading()
        protocol.makeConnection(self)

    def getHost(self) -> IAddress:
        """:return: this end's address."""
        return self._addresses[0]

    def getPeer(self) -> IAddress:
        """:return: the other end's address."""
        return self._addresses[1]

    def write(self, data: bytes) -> None:
        """
        Send octets, as soon as the socket takes them.

        :param data: the octets.
        """
        super().write(data)  # type: ignore[no-untyped-call]
        self.highest = max(self.highest, len(self.dataBuffer) - self.offset + self._tempDataLen)

    # What a reactor would look at.

    def startReading(self) -> None:
        """Ask for octets."""
        self.reading = True

    def stopReading(self) -> None:
        """Ask for none."""
        self.reading = False

    def startWriting(self) -> None:
        """Ask to be told when the socket takes octets."""
        self.writing = True

    def stopWriting(self) -> None:
        """Ask for that no more."""
        self.writing = False

    # What a test may look at.

    @property
    def outgoing(self) -> bytes:
        """What was written, and the socket has not taken yet."""
        return b"".join([self.dataBuffer[self.offset :], *self._tempDataBuffer])

    @property
    def kernel(self) -> bytes:
        """What the socket has taken, and is on its way to the other end."""
        return bytes(self.sending.held)

    @property
    def taken(self) -> int:
        """How many octets the other end has read."""
        return self.sending.carried

    @property
    def frozen(self) -> bool:
        """Whether the network carries nothing of what this end sends; it may be set."""
        return self.sending.frozen

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        self.sending.frozen = frozen

    @property
    def tap(self) -> Callable[[bytes], bytes] | None:
        """What becomes of the octets of each read on their way; it may be set."""
        return self.sending.tap

    @tap.setter
    def tap(self, tap: Callable[[bytes], bytes] | None) -> None:
        self.sending.tap = tap

    # The network, as the test drives it.

    def step(self, limit: int = PLENTY) -> bool:
        """
        Send what the socket takes, and let the other end read once what is on its way to it.

        :param limit: the most octets that arrive there now.
        :return: whether anything happened.
        """
        wrote = self._send()
        return self._carry(limit) or wrote

    def drop(self, limit: int = PLENTY) -> int:
        """
        Send what the socket takes, and lose it, with what is on its way already.

        :param limit: the most octets that are lost, the first ones.
        :return: how many were.
        """
        self._send()
        return self.sending.drop(limit)

    def _send(self) -> bool:
        writes = self.writing and self._memory.writable
        if writes:
            self._look(self.doWrite(), False)  # type: ignore[no-untyped-call]
        return writes

    def _carry(self, limit: int) -> bool:
        wire = self.sending
        if wire.abandoned:
            return self._bounce()
        if not (self.peer.reading and wire.tells) or (wire.held and not limit):
            return False
        wire.limit = limit
        self.peer._look(self.peer.doRead(), True)
        return True

    def _bounce(self) -> bool:
        """Have a closed socket answer what arrives there, as kernels do: with a reset."""
        wire = self.sending
        if wire.frozen or not wire.held:
            return False
        wire.held.clear()
        self._memory.receiving.reset = True
        return True

    def _look(self, why: Any, isRead: bool) -> None:
        """Do as the reactor does with what ``doRead`` and ``doWrite`` return."""
        if why is None:
            return
        reason = Failure(why)  # type: ignore[no-untyped-call]
        self.stopReading()
        if isRead and isinstance(why, ConnectionDone):
            self.readConnectionLost(reason)
        else:
            self.stopWriting()
            self.connectionLost(reason)


def connectedTransports(
    clock: IReactorTime,
    otherClock: IReactorTime,
    address: IAddress,
    otherAddress: IAddress,
    size: int,
) -> tuple[MemoryTransport, MemoryTransport]:
    """
    Make two ends that are connected.

    :param clock: the reactor's of the one end.
    :param otherClock: the reactor's of the other.
    :param address: the one end's.
    :param otherAddress: the other's.
    :param size: how many octets the network takes each way before some were read.
    :return: the two.
    """
    sockets = connectedSockets(size)
    one = MemoryTransport(sockets[0], clock, address, otherAddress)
    other = MemoryTransport(sockets[1], otherClock, otherAddress, address)
    one.peer, other.peer = other, one
    return one, other


def layered(protocol: IProtocol) -> IProtocol:
    """
    Lay something between a protocol and its transport that only passes on, as any layer lies there.

    :param protocol: the protocol.
    :return: what to connect instead.
    """
    layers: Any = WrappingFactory(None)  # type: ignore[no-untyped-call]
    return ProtocolWrapper(layers, protocol)
