"""
:class:`Sink`: where a link's octets go, and when the kernel asks for more.

How much goes at a time is decided in the core (:mod:`thing.core.pace`). It is measured here: a
transport of asyncio gives the kernel at once what it is given, and the kernel takes far more than
leaves a slow path while a heartbeat may wait. It asks for more with next to nothing left to send.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress

from thing.core.pace import Pace


class Sink:
    """
    Takes octets for one transport.

    A loop tells of no socket that one of its transports has, whether the kernel asks for more, but
    of a duplicate of it: there is one while that is waited for. Where neither can be had, it is
    enough that the transport has given away all.

    :ivar room: about how many octets it takes now of what can wait; zero or less for none.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        more: Callable[[], object],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """
        :param transport: the stream to the peer.
        :param more: is called whenever there is room again.
        :param loop: tells the time, and of the kernel.
        """
        self._transport = transport
        self._more = more
        self._loop = loop
        self._pace = Pace()
        self.room = self._pace.batch
        self._unsent = 0
        self._written_at = 0.0
        self._watched = -1  # The duplicate's descriptor; negative for none.
        transport.set_write_buffer_limits(high=0)  # It tells when it has given away all.
        self._limit_unsent()

    @property
    def longest(self) -> int:
        """How many octets of data a record has at most."""
        return self._pace.longest

    def send(self, data: bytes, urgent: bool) -> None:
        """
        Have the transport send.

        :param data: the octets.
        :param urgent: whether they are few, and none of them can wait.
        """
        self._transport.write(data)
        if urgent:
            return
        if not self._unsent:
            self._written_at = self._loop.time()
        self._unsent += len(data)
        self.room -= len(data)
        self._look()

    def look(self) -> None:
        """The transport has given away all, or the kernel asks for more: see which."""
        if self._look():
            self._more()

    def close(self) -> None:
        """Take nothing any more."""
        self._unwatch()
        self.room = 0

    def _look(self) -> bool:
        """Whether there is room again."""
        if not self._unsent:
            return False
        if self._transport.get_write_buffer_size():
            self._unwatch()  # The transport comes first, and tells.
            return False
        descriptor = self._descriptor()
        if descriptor >= 0 and not _asks(descriptor) and self._watch(descriptor):
            return False
        self._unwatch()
        if self._pace.measure(self._unsent, self._loop.time() - self._written_at):
            self._limit_unsent()
        self._unsent, self.room = 0, self._pace.batch
        return True

    def _descriptor(self) -> int:
        """The socket's; negative if there is none any more."""
        below = self._transport.get_extra_info("socket")
        return -1 if below is None else int(below.fileno())

    def _watch(self, descriptor: int) -> bool:
        """Have the loop tell when the kernel asks for more, if it can."""
        if self._watched < 0:
            try:
                self._watched = os.dup(descriptor)
                self._loop.add_writer(self._watched, self.look)
            except (OSError, NotImplementedError):
                self._unwatch()
        return self._watched >= 0

    def _unwatch(self) -> None:
        watched, self._watched = self._watched, -1
        if watched >= 0:
            with suppress(NotImplementedError):
                self._loop.remove_writer(watched)
            os.close(watched)

    def _limit_unsent(self) -> None:
        """Have the kernel hold next to nothing unsent."""
        below = self._transport.get_extra_info("socket")
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if below is not None and option is not None:
            with suppress(OSError, ValueError):  # It is no TCP socket, or gone.
                below.setsockopt(socket.IPPROTO_TCP, option, self._pace.unsentLimit)


def _asks(descriptor: int) -> bool:
    """Whether the kernel asks for more, of a socket; where that cannot be asked, it does."""
    if not hasattr(select, "poll"):
        return True
    polled = select.poll()
    polled.register(descriptor, select.POLLOUT)
    return bool(polled.poll(0))
