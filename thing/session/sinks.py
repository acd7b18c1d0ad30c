"""
Where a driver's octets go: into the kernel now, or with a turn of the reactor's.

Here is decided how a transport is given octets, and how it is made to tell that it takes more. What
there is to send, in which order, and how much at a time, is decided in the core.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from thing.core.connection import WRITE_BATCH
from thing.core.messages import FRAGMENT_LIMIT
from thing.core.pace import FIRST_BATCH, LONG_RECORD, QUICK_BATCH, Pace
from thing.session.transports import canSendDirectly, limitUnsent, sendMore


class Sink(ABC):
    """
    Takes octets for one transport, whose producer it is.

    Once it is closed, or its transport is gone, it takes nothing and asks for nothing.

    :ivar longest: how many octets of data a record has at most: many where the path is quick.
    :ivar room: about how many octets it takes now of what can wait; zero or less for none.
    :ivar unsent: about how many the transport has, at most.
    """

    __slots__ = ("_more", "_transport", "longest", "room", "unsent")

    def __init__(self, transport: Any, more: Callable[[], object], room: int = 0) -> None:
        """
        :param transport: the stream to the peer.
        :param more: is called whenever there is room again.
        :param room: how much there is until the transport tells.
        """
        self._transport: Any = transport
        self._more = more
        self.longest = FRAGMENT_LIMIT
        self.room = room
        self.unsent = 0

    @abstractmethod
    def send(self, data: bytes, urgent: bool) -> None:
        """
        Have the transport send.

        :param data: the octets.
        :param urgent: whether they need not wait for a turn of the reactor.
        """

    def suits(self) -> bool:
        """:return: whether its transport can still be sent over in this way."""
        return True

    def close(self, finalWord: bytes) -> None:
        """
        Take nothing any more; a transport that is to close waits for that.

        :param finalWord: octets to send before, or none.
        """
        if finalWord:
            self.send(finalWord, True)
        transport = self._transport
        self.stopProducing()
        if transport is not None:
            transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The transport is gone (``IProducer``)."""
        self._transport = None
        self.room = self.unsent = 0


@implementer(IPushProducer)
class WritingSink(Sink):
    """Sends over any transport: ``write`` sends with a turn of the reactor, all in order."""

    __slots__ = ()

    def __init__(self, transport: Any, more: Callable[[], object]) -> None:
        """
        :param transport: the stream to the peer.
        :param more: is called whenever there is room again.
        """
        super().__init__(transport, more, WRITE_BATCH)
        transport.registerProducer(self, True)

    def send(self, data: bytes, urgent: bool) -> None:
        """
        Have the transport send.

        :param data: the octets.
        :param urgent: makes no difference.
        """
        if self._transport is not None:
            self._transport.write(data)

    def pauseProducing(self) -> None:
        """The transport has enough for now (``IPushProducer``)."""
        self.room, self.unsent = 0, WRITE_BATCH

    def resumeProducing(self) -> None:
        """The transport takes more (``IPushProducer``)."""
        if self._transport is not None:
            self.room, self.unsent = WRITE_BATCH, 0
            self._more()


@implementer(IPullProducer)
class DirectSink(Sink):
    """
    Sends over a transport that can ``writeSomeData``, now or with a turn of the reactor.

    What the protocol says itself, heartbeats above all, need not wait for a turn of the
    reactor. Data do: pressed into a kernel that does not ask for more, in small segments,
    they exhaust a slow receiver's memory. It drops some, and from there on whatever stands
    behind the gap, acknowledgements too: two that echo each other stood still for good.

    As its pull producer we are told whenever the transport has nothing left to send. How long that
    took tells how quick the path is, and so how much is handed over the next time, and how much
    the kernel may hold unsent: behind that a heartbeat waits.
    """

    __slots__ = ("_drained", "_pace", "_seconds", "_writtenAt")

    def __init__(
        self, transport: Any, more: Callable[[], object], seconds: Callable[[], float]
    ) -> None:
        """
        :param transport: the stream to the peer.
        :param more: is called whenever there is room again.
        :param seconds: tells the time, seconds.
        """
        super().__init__(transport, more, FIRST_BATCH)
        self._seconds = seconds
        self._pace = Pace()
        self.longest = self._pace.longest
        self._writtenAt = 0.0
        limitUnsent(transport, self._pace.unsentLimit)
        sendMore(transport, QUICK_BATCH + LONG_RECORD)  # A batch ends with the record it began.
        transport.registerProducer(self, False)
        self._drained = False  # It asks at once, which tells nothing: others may have written.

    def suits(self) -> bool:
        """:return: whether its transport can still be sent over at once: not once TLS began."""
        return self._transport is None or canSendDirectly(self._transport)

    def send(self, data: bytes, urgent: bool) -> None:
        """
        Have the transport send.

        :param data: the octets.
        :param urgent: whether to send now what the kernel takes, unless there is something
            that must go before it.
        """
        transport = self._transport
        if transport is None:
            return
        sent = transport.writeSomeData(data) if urgent and self._drained else 0
        if not isinstance(sent, int) or sent < 0:
            sent = 0  # The stream is broken: the reactor will find and report it.
        left = data[sent:]
        if left:
            transport.write(left)
            self.room -= len(left)
            if not self.unsent:
                self._writtenAt = self._seconds()
            self._drained = False
            self.unsent += len(left)

    def resumeProducing(self) -> None:
        """All is sent (``IPullProducer``)."""
        if self._transport is None:
            return
        if self._transport.disconnecting:
            self._transport.unregisterProducer()  # It waits for that before it closes.
            return
        if self.unsent:
            self._measure(self._seconds() - self._writtenAt)
            self.unsent = 0
        self.room, self._drained = self._pace.batch, True
        self._more()

    def _measure(self, took: float) -> None:
        """What was handed over has left after so many seconds."""
        if self._pace.measure(self.unsent, took):
            limitUnsent(self._transport, self._pace.unsentLimit)
        self.longest = self._pace.longest


def openSink(transport: Any, more: Callable[[], object], seconds: Callable[[], float]) -> Sink:
    """
    Choose how to send over a transport.

    :param transport: any stream transport.
    :param more: is called whenever there is room again.
    :param seconds: tells the time, seconds.
    :return: the sink, which is the transport's producer.
    """
    if canSendDirectly(transport):
        return DirectSink(transport, more, seconds)
    return WritingSink(transport, more)
