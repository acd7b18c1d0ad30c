"""
What the light clients speak: each octet in and out, and nothing of sockets.

A wire is a client of one server, without Twisted. All have the same methods, so the
:mod:`load` treats them alike.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from credentials import fleetKey, tlsOptions
from jobs import ANSWER, BEAT
from OpenSSL import SSL
from peers import BROKERS, PATIENT, RESUMED, THING_KINDS, TLS_KINDS

from thing import ClientSettings, GroupName, HandshakeFailed, IdentityKey
from thing.core.capacity import Capacity
from thing.core.client import ClientConnection
from thing.core.pace import LONG_RECORD
from thing.events import (
    Event,
    HandshakeCompleted,
    HeartbeatAcknowledged,
    MessageReceived,
    PeerProved,
    ReplyReceived,
    ResumptionTicket,
    Terminated,
    TicketReceived,
)
from thing.trust.keys import parsePublicKey

READ = 1 << 18
"""How many octets are read at once."""

LONG_TTL = 3600.0
"""What a patient client asks for, seconds: the most that a server grants by default."""

KEEP_ALIVE = 600
"""What an MQTT client promises to say something within, seconds."""


@dataclass(frozen=True, slots=True)
class Speech:
    """What is said over a plain stream."""

    hello: Callable[[], bytes]
    """Gives the client's first words."""
    welcome: int
    """How long the server's first words are, octets."""
    beat: bytes
    """A heartbeat."""
    answer: int
    """How long the answer to it is, octets."""


def _connect() -> bytes:
    """:return: an MQTT client's CONNECT (MQTT 3.1.1, section 3.1), with a name of its own."""
    name = os.urandom(8).hex().encode()
    rest = b"\0\4MQTT\4\2" + KEEP_ALIVE.to_bytes(2, "big") + len(name).to_bytes(2, "big") + name
    return bytes((0x10, len(rest))) + rest


PLAIN = Speech(bytes, len(ANSWER), BEAT, len(ANSWER))
"""What the streams' servers in :mod:`peers` speak."""

MQTT = Speech(_connect, 4, b"\xc0\0", 2)
"""MQTT: CONNECT, CONNACK; PINGREQ, PINGRESP."""


class TcpWire:
    """
    A plain stream, the floor.

    :ivar octets: how many octets of the application have come, the welcome included.
    """

    def __init__(self, speech: Speech) -> None:
        """:param speech: what is said."""
        self.octets = 0
        self.speech = speech

    @property
    def established(self) -> bool:
        """Whether the server has said welcome."""
        return self.octets >= self.speech.welcome

    @property
    def waiting(self) -> int:
        """How many octets wait until the server takes more: none, but in the kernel."""
        return 0

    @property
    def received(self) -> int:
        """How many octets came after the welcome."""
        return self.octets - self.speech.welcome

    @property
    def acknowledged(self) -> int:
        """How many heartbeats were answered."""
        return self.received // self.speech.answer

    @property
    def answered(self) -> int:
        """How many questions were answered; on a stream they are what heartbeats are."""
        return self.acknowledged

    def begin(self) -> bytes:
        """:return: what the client sends first."""
        return self.speech.hello()

    def feed(self, data: bytes) -> bytes:
        """
        Take what the server sent.

        :param data: the octets.
        :return: what to send in return.
        """
        self.octets += len(data)
        return b""

    def beat(self) -> bytes:
        """:return: the next heartbeat."""
        return self.seal(self.speech.beat)

    def ask(self) -> bytes:
        """:return: the next question."""
        return self.beat()

    def seal(self, data: bytes) -> bytes:
        """
        Make of the application's octets what goes over the wire.

        :param data: the octets.
        :return: the same.
        """
        return data


class TlsWire(TcpWire):
    """TLS 1.3."""

    def __init__(self, context: SSL.Context, speech: Speech) -> None:
        """
        :param context: the client's.
        :param speech: what is said inside.
        """
        super().__init__(speech)
        self._tls = SSL.Connection(context, None)
        self._tls.set_connect_state()
        self._shaking = True

    def begin(self) -> bytes:
        """:return: what the client sends first."""
        return self.feed(b"")

    def feed(self, data: bytes) -> bytes:
        """
        Take what the server sent.

        :param data: the octets.
        :return: what to send in return.
        """
        if data:
            self._tls.bio_write(data)
        try:
            if self._shaking:
                self._tls.do_handshake()
                self._shaking = False
                hello = self.speech.hello()
                if hello:
                    self._tls.sendall(hello)
            while True:
                self.octets += len(self._tls.recv(READ))
        except SSL.WantReadError:
            return self._pending()

    def seal(self, data: bytes) -> bytes:
        """
        Encrypt.

        :param data: the application's octets.
        :return: the records.
        """
        self._tls.sendall(data)
        return self._pending()

    def _pending(self) -> bytes:
        out = []
        try:
            while True:
                out.append(self._tls.bio_read(READ))
        except SSL.WantReadError:
            return b"".join(out)


class ThingWire:
    """
    A client's Connection, without Twisted.

    :ivar core: the Connection.
    :ivar established: whether the session is up.
    :ivar acknowledged: how many heartbeats were acknowledged.
    :ivar answered: how many requests were answered.
    :ivar received: how many octets of messages have come.
    """

    def __init__(
        self,
        settings: ClientSettings,
        serverKey: bytes,
        tickets: list[ResumptionTicket] | None = None,
    ) -> None:
        """
        :param settings: the client's.
        :param serverKey: what the server must prove to have.
        :param tickets: where the latest ticket is kept, to come back with; None to be a stranger.
        """
        self._tickets = tickets
        self._offered = bool(tickets)
        self.core = ClientConnection(settings, tickets[-1] if tickets else None)
        self._serverKey = serverKey
        self.established = False
        self.acknowledged = 0
        self.answered = 0
        self.received = 0

    @property
    def waiting(self) -> int:
        """How many octets wait until the server takes more."""
        return self.core.queued

    def begin(self) -> bytes:
        """:return: what the client sends first."""
        return self.follow(self.core.start(time.monotonic()))

    def feed(self, data: bytes) -> bytes:
        """
        Take what the server sent.

        :param data: the octets.
        :return: what to send in return.
        """
        return self.follow(self.core.receiveData(data, time.monotonic()))

    def beat(self) -> bytes:
        """:return: the next heartbeat."""
        return self.follow(self.core.beat(time.monotonic()))

    def ask(self) -> bytes:
        """:return: the next request, as long as a heartbeat."""
        self.core.request(BEAT)
        return self.follow(())

    def seal(self, data: bytes) -> bytes:
        """
        Send a message.

        :param data: the message.
        :return: the records.
        """
        self.core.sendMessage(data)
        return self.follow(())

    def follow(self, events: Iterable[Event]) -> bytes:
        """
        Take note of what the core tells.

        :param events: what it tells.
        :return: what to send in return.
        :raises HandshakeFailed: if the session ended.
        """
        for event in events:
            self._handle(event)
        return self.core.dataToSend(time.monotonic(), sys.maxsize, LONG_RECORD)

    def _handle(self, event: Event) -> None:
        if isinstance(event, HeartbeatAcknowledged):
            self.acknowledged += 1
        elif isinstance(event, ReplyReceived):
            self.answered += 1
        elif isinstance(event, MessageReceived):
            self.received += len(event.data)
        elif isinstance(event, PeerProved):
            if event.identity.publicKey != self._serverKey:
                raise RuntimeError("the server has another key")
            self.core.admit(event.identity, time.monotonic())
        elif isinstance(event, HandshakeCompleted):
            if event.session.resumed is not self._offered:
                raise RuntimeError("the server does not do with the ticket as it should")
            self.established = True
        elif isinstance(event, TicketReceived) and self._tickets is not None:
            self._tickets[:] = [event.ticket]
        elif isinstance(event, Terminated):
            raise HandshakeFailed(event.termination)


Wire = TcpWire | ThingWire


class Fleet:
    """Makes Thing's clients, each of which is another thing."""

    def __init__(
        self, directory: Path, group: str, first: int = 0, capacity: Capacity | None = None
    ) -> None:
        """
        :param directory: the credentials.
        :param group: the key exchange group.
        :param first: the number of the first thing.
        :param capacity: what each can take; None for what is usual.
        """
        self._seeds = (directory / "fleet").read_bytes()
        self._numbers = count(first)
        self._settings = ClientSettings(
            credential=IdentityKey.load(directory / "thing-client"), groups=(GroupName[group],)
        )
        if capacity is not None:
            self._settings = replace(self._settings, capacity=capacity)
        self._serverKey = parsePublicKey((directory / "thing-server.pub").read_text())
        self._tickets: list[ResumptionTicket] = []

    def next(self, ttl: float | None = None) -> ThingWire:
        """
        Make the client of the next thing.

        :param ttl: what it asks for, seconds; None for nothing.
        :return: the client.
        """
        return self.of(next(self._numbers), ttl)

    def of(self, number: int, ttl: float | None = None) -> ThingWire:
        """
        Make a client of one thing.

        :param number: which.
        :param ttl: what it asks for, seconds; None for nothing.
        :return: the client.
        """
        key = fleetKey(self._seeds, number)
        settings = replace(self._settings, credential=key, requestedTtl=ttl)
        return ThingWire(settings, self._serverKey)

    def back(self) -> ThingWire:
        """:return: the client of a thing that was there before, with its ticket."""
        return ThingWire(self._settings, self._serverKey, self._tickets)


def wiresOf(directory: Path, group: str, first: int = 0) -> dict[str, Callable[[], Wire]]:
    """
    What makes a wire to each kind of server.

    :param directory: the credentials.
    :param group: the key exchange group; OpenSSL's is set by its own configuration.
    :param first: the number of the first thing of the fleet.
    :return: for each kind of server what makes a wire to it.
    """

    def tls(algorithm: str, mutual: bool, speech: Speech) -> Callable[[], Wire]:
        context = tlsOptions(directory, "client", algorithm, mutual=mutual).getContext()
        return lambda: TlsWire(context, speech)

    fleet = Fleet(directory, group, first)
    wires: dict[str, Callable[[], Wire]] = {
        kind: tls(algorithm, mutual, PLAIN) for kind, (algorithm, mutual) in TLS_KINDS.items()
    }
    wires |= dict.fromkeys(THING_KINDS, fleet.next)
    wires[RESUMED] = fleet.back
    wires[PATIENT] = lambda: fleet.next(LONG_TTL)
    wires["tcp"] = lambda: TcpWire(PLAIN)
    for kind, secured in BROKERS.items():
        wires[kind] = tls(secured, False, MQTT) if secured else lambda: TcpWire(MQTT)
    return wires
