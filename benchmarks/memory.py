"""A server in memory, without a reactor and a kernel, that does the same each time it is made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from jobs import CHUNK
from twisted.internet.address import IPv4Address
from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import (
    IConsumer,
    IPushProducer,
    IReactorTime,
    ITransport,
    IWriteDescriptor,
)
from wires import ThingWire
from zope.interface import implementer

from thing import AuthorizedThings, IdentityKey, ServerSettings, ThingFactory, ThingProtocol
from thing.session.clock import SteadyClock
from thing.trust.tickets import TicketKeys


class Random:
    """A made-up source of randomness, the same each time."""

    def __init__(self) -> None:
        self._numbers = count()

    def __call__(self, length: int) -> bytes:
        """
        Give some octets.

        :param length: how many.
        :return: the octets.
        """
        return hashlib.shake_256(b"%d" % next(self._numbers)).digest(length)


@implementer(IReactorTime)
class Timers:
    """A reactor's timers, of which none comes; as in a reactor, a new one is not sorted."""

    def __init__(self) -> None:
        self._calls: list[DelayedCall] = []
        self._now = 1000.0

    def seconds(self) -> float:
        """:return: the time."""
        return self._now

    def turn(self) -> None:
        """Let as much time go by as lies between two reads: without it no window grows."""
        self._now += 0.01

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> DelayedCall:
        """
        Note a call, which never comes.

        :param delay: from now, seconds.
        :param callable: what to call.
        :param args: with what.
        :param kwargs: with what, by name.
        :return: the call.
        """
        due = self.seconds() + delay
        call = DelayedCall(due, callable, args, kwargs, lambda call: None, lambda call: None)
        self._calls.append(call)
        return call

    def getDelayedCalls(self) -> list[DelayedCall]:
        """:return: all calls."""
        return self._calls


@implementer(ITransport, IConsumer, IPushProducer, IWriteDescriptor)
class Memory:
    """
    A transport that keeps what is sent, as one of Twisted's own over a kernel that takes all.

    :ivar disconnecting: whether it closes: never.
    """

    disconnecting = False

    def __init__(self) -> None:
        """Start with nothing."""
        self._sent: list[bytes] = []
        self._waits = False
        self._producer: Any = None
        self._peer = IPv4Address("TCP", "127.0.0.1", 1)

    def take(self) -> bytes:
        """:return: what was sent since it was last asked for."""
        while self._waits:  # It asks for more, and may get it.
            self._waits = False
            self._producer.resumeProducing()
        data = b"".join(self._sent)
        self._sent.clear()
        return data

    def write(self, data: bytes) -> None:
        """
        Send some octets, with the next turn.

        :param data: the octets.
        """
        self._sent.append(data)
        self._waits = True

    def writeSomeData(self, data: bytes) -> int:
        """
        Send some octets at once.

        :param data: the octets.
        :return: how many were sent.
        """
        self._sent.append(data)
        return len(data)

    def doWrite(self) -> None:
        """Do nothing: no reactor calls it."""

    def getPeer(self) -> IPv4Address:
        """:return: an address."""
        return self._peer

    getHost = getPeer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Ask a producer for more whenever all is sent.

        :param producer: is asked, and never paused.
        :param streaming: which kind it is.
        """
        self._producer = producer
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Do nothing."""

    def pauseProducing(self) -> None:
        """Do nothing: there is nothing but what comes anyway."""

    def resumeProducing(self) -> None:
        """Do nothing."""

    def loseConnection(self) -> None:
        """Do nothing: it is over with the run."""

    abortConnection = stopProducing = loseConnection


class Node:
    """
    A server in memory; each that is made does the same.

    :ivar factory: its factory.
    :ivar timers: its time.
    """

    def __init__(self, directory: Path, tickets: TicketKeys | None = None) -> None:
        """
        :param directory: the credentials.
        :param tickets: seal the tickets; with None there are none.
        """
        self.timers = timers = Timers()
        self.factory = ThingFactory(
            ServerSettings(
                credential=IdentityKey.load(directory / "thing-server"),
                tickets=tickets,
                random=Random(),
            ),
            AuthorizedThings(directory / "authorized"),
            clock=SteadyClock(timers, timers.seconds),
        )

    def accept(self) -> tuple[ThingProtocol, Memory]:
        """:return: the protocol of a new connection, and its transport."""
        transport = Memory()
        protocol = self.factory.buildProtocol(transport.getPeer())
        assert protocol is not None, "it takes everybody"
        protocol.makeConnection(transport)
        return protocol, transport


@dataclass
class Recorded:
    """What a client sent, in the order in which the server read it."""

    shaking: list[bytes] = field(default_factory=list)
    beats: list[bytes] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    """Of each message its records."""


def record(node: Node, wire: ThingWire, beats: int = 0, messages: int = 0) -> Recorded:
    """
    Have a session, and keep the client's part.

    :param node: the server.
    :param wire: the client.
    :param beats: how many heartbeats it sends.
    :param messages: how many messages it sends.
    :return: what it sent.
    """
    protocol, transport = node.accept()
    recorded = Recorded()

    def pump(octets: bytes, kept: list[bytes]) -> None:
        while octets:
            kept.append(octets)
            protocol.dataReceived(octets)
            octets = wire.feed(transport.take())
            node.timers.turn()

    pump(wire.begin(), recorded.shaking)
    assert wire.established, "the handshake is complete"
    for _ in range(beats):
        pump(wire.beat(), recorded.beats)
    for _ in range(messages):
        pieces: list[bytes] = []  # At first there is more than the credit; later all is one piece.
        pump(wire.seal(CHUNK), pieces)
        recorded.data.append(b"".join(pieces))
    return recorded


def shake(node: Node, recorded: Recorded) -> tuple[ThingProtocol, Memory]:
    """
    Have a recorded client's handshake again.

    :param node: a server that is like the one of the record.
    :param recorded: the record.
    :return: the server's protocol and its transport.
    """
    protocol, transport = node.accept()
    for octets in recorded.shaking:
        protocol.dataReceived(octets)
        transport.take()
        node.timers.turn()
    return protocol, transport
