"""
The stream to an examined peer: octets go out as they are, and what comes waits to be read.

Nothing here knows a message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.core.messages import Role
from thing.core.wire import MessageReader

MOST_UNREAD = 1 << 20
"""How many octets may wait to be read, about; a peer that sends more must wait."""


@implementer(IHalfCloseableProtocol)
class Line(Protocol):
    """
    One stream.

    :ivar reader: makes messages of what came.
    :ivar ended: whether the peer sends nothing any more.
    """

    def __init__(
        self, reader: MessageReader, made: Callable[[Line], object] = lambda line: None
    ) -> None:
        """
        :param reader: makes messages of what comes.
        :param made: is told of this stream when it is there.
        """
        self.reader = reader
        self.ended = False
        self._made = made
        self._waiter: Deferred[bool] | None = None

    @property
    def _transport(self) -> Any:
        return self.transport

    def send(self, octets: bytes) -> None:
        """
        Send octets; they are dropped if there is no stream any more.

        :param octets: the octets.
        """
        if self.connected:
            self._transport.write(octets)

    def finish(self) -> None:
        """Send nothing more, and go on reading."""
        if self.connected:
            self._transport.loseWriteConnection()

    def cut(self) -> None:
        """Close both directions at once."""
        if self.connected:
            self._transport.abortConnection()

    def changed(self, clock: Any, until: float) -> Deferred[bool]:
        """
        Wait until something comes.

        :param clock: tells the time, and calls back.
        :param until: how long to wait, by that clock; seconds.
        :return: fires with whether something came, or the end; false once the time is over.
        """
        waiter: Deferred[bool] = Deferred(lambda _: self._stop(timer))
        timer = clock.callLater(max(0.0, until - clock.seconds()), self._wake, False)
        waiter.addBoth(self._stopped, timer)
        self._waiter = waiter
        if self.connected:
            self._transport.resumeProducing()
        return waiter

    def _stop(self, timer: Any) -> None:
        self._waiter = None

    def _stopped(self, result: Any, timer: Any) -> Any:
        if timer.active():
            timer.cancel()
        return result

    def _wake(self, something: bool = True) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(something)

    # What the transport tells.

    def connectionMade(self) -> None:
        """The stream is there."""
        self._made(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Take octets.

        :param data: the octets.
        """
        self.reader.feed(data)
        if self.reader.buffered > MOST_UNREAD:
            self._transport.pauseProducing()
        self._wake()

    def readConnectionLost(self) -> None:
        """The peer has closed its direction."""
        self.ended = True
        self._wake()

    def writeConnectionLost(self) -> None:
        """This side has closed its own."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Nothing comes or goes any more.

        :param reason: why.
        """
        self.ended = True
        self._wake()


class Lines(Factory):
    """
    Makes the streams to peers that connect; each waits until somebody takes it.

    :ivar came: fires when the first one is there.
    """

    noisy = False

    def __init__(self, sender: Role) -> None:
        """:param sender: who connects."""
        self.came: Deferred[None] = Deferred()
        self._sender = sender
        self._waiting: list[Line] = []
        self._wanted: list[Deferred[Line]] = []

    def buildProtocol(self, addr: object) -> Line:
        """
        A peer connects.

        :param addr: from where.
        :return: its stream.
        """
        return Line(MessageReader(self._sender), self._made)

    def _made(self, line: Line) -> None:
        if not self.came.called:
            self.came.callback(None)
        if self._wanted:
            self._wanted.pop(0).callback(line)
        else:
            self._waiting.append(line)

    def next(self) -> Deferred[Line]:
        """:return: fires with the next stream that nobody has taken; it may be cancelled."""
        while self._waiting:
            line = self._waiting.pop(0)
            if not line.ended:
                found: Deferred[Line] = Deferred()
                found.callback(line)
                return found
        wanted: Deferred[Line] = Deferred(self._wanted.remove)
        self._wanted.append(wanted)
        return wanted

    def cut(self) -> None:
        """Close what nobody has taken."""
        for line in self._waiting:
            line.cut()
        self._waiting.clear()
