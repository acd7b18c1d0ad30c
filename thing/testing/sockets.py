"""
Two sockets in memory, and the network between them: what it holds, carries, loses and resets.

They do what a kernel's TCP sockets do that do not block. Who reads and writes them, and
when, is said in :mod:`thing.testing.transports`.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

from twisted.internet.address import IPv4Address

SERVER_ADDRESS = IPv4Address("TCP", "192.0.2.1", 9000)
"""Where a server in memory is, unless a test says so; a network for documentation."""

CLIENT_ADDRESS = IPv4Address("TCP", "192.0.2.2", 50000)
"""Where its client comes from."""

RESETS = struct.pack("ii", 1, 0)
"""The ``SO_LINGER`` by which a program has its socket reset the connection when it closes it."""


class Wire:
    """
    One direction of a connection: all that lies between two programs.

    :ivar size: how many octets it takes before the receiver has read some.
    :ivar held: the octets on their way.
    :ivar frozen: whether the network carries nothing; what was sent stays on its way.
    :ivar finished: whether the sender has closed its half, after the octets held.
    :ivar reset: whether the sender has reset the connection.
    :ivar abandoned: whether the receiver has closed its socket, and will read nothing any more.
    :ivar carried: how many octets the receiver has read.
    :ivar limit: how many octets the receiver may still read.
    :ivar tap: if set, what becomes of octets on their way, whole reads at a time.
    """

    def __init__(self, size: int) -> None:
        """:param size: how many octets it takes before the receiver has read some."""
        self.size = size
        self.held = bytearray()
        self.frozen = self.finished = self.reset = self.abandoned = False
        self.carried = 0
        self.limit = 0
        self.tap: Callable[[bytes], bytes] | None = None

    @property
    def tells(self) -> bool:
        """Whether the receiver can read octets, or that there will be none."""
        return not self.frozen and (bool(self.held) or self.finished or self.reset)

    def drop(self, limit: int) -> int:
        """
        Lose octets that are on their way; those behind them arrive.

        :param limit: the most octets that are lost, the first ones.
        :return: how many were.
        """
        lost = min(limit, len(self.held))
        del self.held[:lost]
        return lost

    def cut(self) -> None:
        """Reset the connection, and lose what is on its way."""
        self.held.clear()
        self.reset = True


class MemorySocket:
    """
    One of two connected sockets; it has the methods that Twisted's TCP transport calls.

    :ivar sending: the way out.
    :ivar receiving: the way in.
    """

    def __init__(self, sending: Wire, receiving: Wire) -> None:
        """
        :param sending: the way out.
        :param receiving: the way in.
        """
        self.sending = sending
        self.receiving = receiving
        self._options: dict[tuple[int, int], int | bytes] = {}

    @property
    def writable(self) -> bool:
        """Whether it takes octets, or tells that it never will."""
        return self._wasReset or len(self.sending.held) < self.sending.size

    @property
    def _wasReset(self) -> bool:
        return self.receiving.reset and not self.receiving.frozen

    def send(self, data: bytes | memoryview) -> int:
        """
        Send what there is room for.

        :param data: the octets.
        :return: how many of them it took.
        :raises BlockingIOError: if there is no room.
        :raises ConnectionResetError: if the peer has reset the connection.
        """
        if self._wasReset:
            raise ConnectionResetError(errno.ECONNRESET, "reset by the peer")
        if self.sending.finished:
            raise BrokenPipeError(errno.EPIPE, "this half is closed")
        room = self.sending.size - len(self.sending.held)
        if data and room <= 0:
            raise BlockingIOError(errno.EWOULDBLOCK, "the network takes no more for now")
        part = data[:room]
        self.sending.held += part
        return len(part)

    def recv(self, size: int) -> bytes:
        """
        Receive what has arrived.

        :param size: the most octets to give.
        :return: the octets; none once the peer has closed its half.
        :raises BlockingIOError: if none have arrived.
        :raises ConnectionResetError: if the peer has reset the connection.
        """
        wire = self.receiving
        part = b"" if wire.frozen else bytes(wire.held[: min(size, wire.limit)])
        if part:
            del wire.held[: len(part)]
            wire.carried += len(part)
            wire.limit -= len(part)
            part = wire.tap(part) if wire.tap is not None else part
            if part:
                return part
        elif self._wasReset:
            raise ConnectionResetError(errno.ECONNRESET, "reset by the peer")
        elif wire.finished and not wire.frozen and not wire.held:
            return b""
        raise BlockingIOError(errno.EWOULDBLOCK, "nothing has arrived")

    def shutdown(self, how: int) -> None:
        """
        Close one half, after what was sent.

        :param how: which, or both; to close the one that receives tells the peer nothing.
        """
        if how != socket.SHUT_RD:
            self.sending.finished = True

    def close(self) -> None:
        """Close; with octets unread, or with ``SO_LINGER`` so set, that resets the connection."""
        resets = self._options.get((socket.SOL_SOCKET, socket.SO_LINGER)) == RESETS
        if resets or self.receiving.held:
            self.sending.cut()
        self.sending.finished = True
        self.receiving.abandoned = True
        self.receiving.held.clear()

    def fileno(self) -> int:
        """:return: no number that any kernel knows."""
        return -1

    def setblocking(self, flag: bool) -> None:
        """
        Do nothing: it never blocks.

        :param flag: whether it should.
        """

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """
        Remember an option.

        :param level: of what.
        :param option: which.
        :param value: its value.
        """
        self._options[level, option] = value

    def getsockopt(self, level: int, option: int) -> int | bytes:
        """
        Tell an option.

        :param level: of what.
        :param option: which.
        :return: its value, zero unless it was set.
        """
        return self._options.get((level, option), 0)


def connectedSockets(size: int) -> tuple[MemorySocket, MemorySocket]:
    """
    Make two sockets that are connected.

    :param size: how many octets the network takes each way before some were read.
    :return: the two.
    """
    one, other = Wire(size), Wire(size)
    return MemorySocket(one, other), MemorySocket(other, one)
