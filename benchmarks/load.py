"""
The load: many light clients in one process, each a socket and what it speaks.

``python load.py GROUP DIRECTORY`` does what it is asked in lines of JSON on
standard input, answers each with a line of JSON, and ends with its input. Its
own CPU time counts nowhere, but a slow client would cut the server's work into
smaller pieces; so a wave of heartbeats is sealed before the first is sent, and
a download is read to the end before it is decrypted.
"""

from __future__ import annotations

import json
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from credentials import tlsOptions
from OpenSSL import SSL
from peers import ANSWER, BEAT, CHUNK, LIFETIME, RESUMED, SIZE_LENGTH, TLS_KINDS

from thing import ClientSettings, GroupName, HandshakeFailed, IdentityKey
from thing.core.client import ClientConnection
from thing.events import (
    Event,
    HandshakeCompleted,
    HeartbeatAcknowledged,
    MessageReceived,
    PeerProved,
    ResumptionTicket,
    Terminated,
    TicketReceived,
)
from thing.trust.keys import parsePublicKey

AT_ONCE = 16
"""How many handshakes are in progress at once."""

PATIENCE = 30.0
"""How long a server may keep everybody waiting, seconds."""

READ = 1 << 18
"""How many octets are read at once."""


class TcpWire:
    """
    A plain stream, the floor.

    :ivar octets: how many octets of the application have come, the welcome included.
    """

    def __init__(self) -> None:
        """Start with nothing received."""
        self.octets = 0

    @property
    def established(self) -> bool:
        """Whether the server has said welcome."""
        return self.octets >= len(ANSWER)

    @property
    def received(self) -> int:
        """How many octets came after the welcome."""
        return self.octets - len(ANSWER)

    @property
    def acknowledged(self) -> int:
        """How many heartbeats were answered."""
        return self.received // len(ANSWER)

    def begin(self) -> bytes:
        """:return: what the client sends first."""
        return b""

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
        return self.seal(BEAT)

    def seal(self, data: bytes) -> bytes:
        """
        Make of the application's octets what goes over the wire.

        :param data: the octets.
        :return: the same.
        """
        return data


class TlsWire(TcpWire):
    """TLS 1.3."""

    def __init__(self, context: SSL.Context) -> None:
        """:param context: the client's."""
        super().__init__()
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

    :ivar established: whether the session is up.
    :ivar acknowledged: how many heartbeats were acknowledged.
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
        self._core = ClientConnection(settings, tickets[-1] if tickets else None)
        self._serverKey = serverKey
        self.established = False
        self.acknowledged = 0
        self.received = 0

    def begin(self) -> bytes:
        """:return: what the client sends first."""
        return self._follow(self._core.start(time.monotonic()))

    def feed(self, data: bytes) -> bytes:
        """
        Take what the server sent.

        :param data: the octets.
        :return: what to send in return.
        """
        return self._follow(self._core.receiveData(data, time.monotonic()))

    def beat(self) -> bytes:
        """:return: the next heartbeat."""
        return self._follow(self._core.beat(time.monotonic()))

    def seal(self, data: bytes) -> bytes:
        """
        Send a message.

        :param data: the message.
        :return: the records.
        """
        self._core.sendMessage(data)
        return self._follow(())

    def _follow(self, events: Iterable[Event]) -> bytes:
        for event in events:
            self._handle(event)
        return self._core.dataToSend(time.monotonic(), sys.maxsize)

    def _handle(self, event: Event) -> None:
        if isinstance(event, HeartbeatAcknowledged):
            self.acknowledged += 1
        elif isinstance(event, MessageReceived):
            self.received += len(event.data)
        elif isinstance(event, PeerProved):
            if event.identity.publicKey != self._serverKey:
                raise RuntimeError("the server has another key")
            self._core.admit(event.identity, time.monotonic())
        elif isinstance(event, HandshakeCompleted):
            if event.session.resumed is not self._offered:
                raise RuntimeError("the server does not do with the ticket as it should")
            self.established = True
        elif isinstance(event, TicketReceived) and self._tickets is not None:
            self._tickets[:] = [event.ticket]
        elif isinstance(event, Terminated):
            raise HandshakeFailed(event.termination)


Wire = TcpWire | ThingWire


def wiresOf(directory: Path, group: str) -> dict[str, Callable[[], Wire]]:
    """
    What makes a wire to each kind of server.

    :param directory: the credentials.
    :param group: the key exchange group; OpenSSL's is set by its own configuration.
    :return: for each kind of server what makes a wire to it.
    """
    settings = ClientSettings(
        credential=IdentityKey.load(directory / "thing-client"), groups=(GroupName[group],)
    )
    serverKey = parsePublicKey((directory / "thing-server.pub").read_text())

    def tls(algorithm: str, mutual: bool) -> Callable[[], Wire]:
        context = tlsOptions(directory, "client", algorithm, mutual=mutual).getContext()
        return lambda: TlsWire(context)

    wires: dict[str, Callable[[], Wire]] = {
        kind: tls(algorithm, mutual) for kind, (algorithm, mutual) in TLS_KINDS.items()
    }
    tickets: list[ResumptionTicket] = []
    wires["thing"] = lambda: ThingWire(settings, serverKey)
    wires[RESUMED] = lambda: ThingWire(settings, serverKey, tickets)
    wires["tcp"] = TcpWire
    return wires


class Load:
    """All clients of this process."""

    def __init__(self, wires: dict[str, Callable[[], Wire]]) -> None:
        """:param wires: what makes a wire to each kind of server."""
        self._wires = wires
        self._sessions: list[tuple[socket.socket, Wire]] = []
        self._selector = selectors.DefaultSelector()

    def open(self, kind: str, port: int, count: int) -> None:
        """
        Open sessions, a few at a time, and keep them.

        :param kind: the kind of server.
        :param port: its port.
        :param count: how many.
        """
        while count:
            some = [self._connect(kind, port) for _ in range(min(count, AT_ONCE))]
            count -= len(some)
            self._until(some, lambda wire: wire.established)

    def _connect(self, kind: str, port: int) -> tuple[socket.socket, Wire]:
        connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = self._wires[kind]()
        self._sessions.append((connection, wire))
        self._selector.register(connection, selectors.EVENT_READ, wire)
        connection.sendall(wire.begin())
        return connection, wire

    def _until(
        self, sessions: list[tuple[socket.socket, Wire]], reached: Callable[[Wire], bool]
    ) -> None:
        """Read and answer until every session is where it should be."""
        waiting = {wire for _, wire in sessions if not reached(wire)}
        while waiting:
            ready = self._selector.select(PATIENCE)
            if not ready:
                raise RuntimeError("the server keeps everybody waiting")
            for key, _ in ready:
                answer = key.data.feed(self._read(key.fileobj))
                if answer:
                    key.fileobj.sendall(answer)
                if reached(key.data):
                    waiting.discard(key.data)

    @staticmethod
    def _read(connection: Any) -> bytes:
        data: bytes = connection.recv(READ)
        if not data:
            raise RuntimeError("the server hung up")
        return data

    def beat(self, waves: int) -> None:
        """
        Let all sessions beat together.

        :param waves: how many times.
        """
        for _ in range(waves):
            goals = {wire: wire.acknowledged + 1 for _, wire in self._sessions}
            beats = [(connection, wire.beat()) for connection, wire in self._sessions]
            for connection, beat in beats:
                connection.sendall(beat)
            self._until(self._sessions, lambda wire, goals=goals: wire.acknowledged >= goals[wire])

    def upload(self, size: int) -> None:
        """
        Send to the server over the first session.

        :param size: how much, octets.
        """
        connection, wire = self._sessions[0]
        goal = wire.received + len(ANSWER)
        connection.sendall(wire.seal(size.to_bytes(SIZE_LENGTH, "big")))
        for left in range(size, 0, -len(CHUNK)):
            connection.sendall(wire.seal(CHUNK[:left]))
        self._until(self._sessions[:1], lambda wire: wire.received >= goal)

    def download(self, size: int) -> None:
        """
        Have the server send over the first session.

        :param size: how much, octets.
        """
        connection, wire = self._sessions[0]
        goal = wire.received + size
        connection.sendall(wire.seal(size.to_bytes(SIZE_LENGTH, "big")))
        pieces = []
        while size > 0:  # Records add to the size, so this many octets come for certain.
            pieces.append(self._read(connection))
            size -= len(pieces[-1])
        for piece in pieces:
            wire.feed(piece)
        self._until(self._sessions[:1], lambda wire: wire.received >= goal)

    def latency(self, kind: str, port: int, count: int) -> list[float]:
        """
        Open and close sessions one after the other.

        :param kind: the kind of server.
        :param port: its port.
        :param count: how many.
        :return: how long each took to open, seconds.
        """
        times = []
        for _ in range(count):
            begun = time.perf_counter()
            self.open(kind, port, 1)
            times.append(time.perf_counter() - begun)
            self.close()
        return times

    def close(self) -> None:
        """Hang up, without a word: how a session ends is not what is measured."""
        for connection, _ in self._sessions:
            self._selector.unregister(connection)
            connection.close()
        self._sessions.clear()


def main(group: str, directory: Path) -> None:
    """
    Do what is asked until standard input ends.

    :param group: the key exchange group.
    :param directory: the credentials.
    """
    load = Load(wiresOf(directory, group))
    signal.alarm(LIFETIME)
    for line in sys.stdin:
        signal.alarm(LIFETIME)
        name, arguments = json.loads(line)
        answer = getattr(load, name)(**arguments)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
