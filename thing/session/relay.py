"""
Two transports that are joined: what comes in at one goes out at the other, as fast as it can.

Each direction ends for itself, and what is abnormal at one side is abnormal at the other. Which
transports there are, and what else their ends mean, is known to those who join them.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.session.interfaces import IThingTransport
from thing.session.transports import (
    FULL_READ,
    LONG_READ,
    closeWriteSide,
    readMore,
    sendMore,
    setNoDelay,
)


@implementer(IHalfCloseableProtocol, IPushProducer)
class RelayEnd(Protocol):
    """
    One of the two ends; as a producer it is paused by the other end's transport.

    :ivar ended: whether nothing more comes in here.
    :ivar lost: whether its transport is gone.
    :ivar passed: how many octets came in here and were given to the other end.
    :ivar discarded: how many came in when that took none any more.
    """

    transport: Any

    def __init__(self) -> None:
        self.ended = False
        self.lost = False
        self.passed = 0
        self.discarded = 0
        self._other: RelayEnd | None = None

    def join(self, other: RelayEnd) -> None:
        """
        Let octets pass, both ways.

        :param other: the other end; both have their transports.
        """
        self._other, other._other = other, self
        self.transport.registerProducer(other, True)
        other.transport.registerProducer(self, True)
        for end in (self, other):
            setNoDelay(end.transport)
            sendMore(end.transport, LONG_READ)  # As much as the other end reads at a time.
            end.resumeProducing()

    # The transport's side.

    def dataReceived(self, data: bytes) -> None:
        """
        Pass on what came in.

        :param data: some octets.
        """
        if len(data) == FULL_READ:
            readMore(self.transport)
        if self._other is None:
            self.discarded += len(data)
        else:
            self.passed += len(data)
            self._other.transport.write(data)

    def readConnectionLost(self) -> None:
        """Nothing more comes in here: have the other end say so to its peer."""
        self.ended = True
        other = self._other
        if other is None:
            self.transport.loseConnection()
        elif other.ended:  # Now both directions have.
            self.part()
            self.finish()
            other.finish()
        else:
            other.transport.unregisterProducer()
            closeWriteSide(other.transport)

    def writeConnectionLost(self) -> None:
        """What was to go out here has gone, and nothing more will."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Have the other end closed as this one is.

        :param reason: why the transport is closed.
        """
        self.lost = True
        other = self.part()
        if other is None:
            return
        if isinstance(reason.value, ConnectionDone):
            other.finish()
        else:
            other.cut(reason)

    def part(self) -> RelayEnd | None:
        """
        Let no more octets pass, and discard what comes.

        :return: the other end, if there is one still.
        """
        other, self._other = self._other, None
        if other is not None:
            other._other = None
            for end in (self, other):
                if not end.lost:
                    end.transport.unregisterProducer()
                    end.resumeProducing()
        return other

    # The other end's side.

    def finish(self) -> None:
        """Close in order, after all that was passed on: both directions are over."""
        if self.ended and IThingTransport.providedBy(self.transport):
            # It is over when all has gone out, and a peer that lives may take its time.
            closeWriteSide(self.transport)
        else:
            self.transport.loseConnection()

    def cut(self, reason: Failure) -> None:
        """
        Close out of order: the other end was closed so, and octets may be missing.

        :param reason: why it was.
        """
        self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """Take no more in here (``IPushProducer``)."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Take more in here, if more can come (``IPushProducer``)."""
        if not self.ended:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Wait for the other end's ``connectionLost``, which knows why (``IPushProducer``)."""


def factoryOf(end: Protocol) -> Factory[Any]:
    """
    Make what builds this one protocol.

    :param end: the protocol.
    :return: the factory.
    """
    ends = [end]
    factory: Factory[Any] = Factory.forProtocol(ends.pop)  # It does not keep what it has built.
    factory.noisy = False
    return factory
