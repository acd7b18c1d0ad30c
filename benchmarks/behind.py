"""
Heartbeats that have much data before them, over a ``thing:`` endpoint.

One side writes it all at once, the other takes 4 MB a second. ``python behind.py
serve DIRECTORY`` and ``python behind.py visit DIRECTORY`` are the two processes; the second
answers ``DIRECTION PORT SIZE`` with what it saw of one session.
"""

from __future__ import annotations

import json
import signal
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import SIZE_LENGTH
from peers import LIFETIME, Census, Control, beginLogging
from processes import HERE, Child
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ReactorNotRunning
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from thing import AuthorizedThings, ClientSettings, IdentityKey, PinnedServers, ServerSettings
from thing.endpoints import ThingClientEndpoint, ThingServerEndpoint
from thing.events import Event, HeartbeatAcknowledged, HeartbeatSent
from thing.trust.keys import fingerprint, parsePublicKey
from thing.trust.tickets import TicketKeys

SPEED = 4_000_000
"""How much the slow side takes, octets a second."""

TTL = 1.0
"""The TTL, seconds: as short as a server grants by default, for as many heartbeats as can be."""

SLACK = 60.0
"""How much longer than it should a transfer may take, seconds."""

DIRECTIONS = ("server to client", "client to server")


@dataclass(frozen=True)
class Seen:
    """What one session showed."""

    latencies: list[float]
    """From heartbeat to acknowledgement, seconds; that of one never acknowledged up to the end."""
    lost: bool
    """Whether the session ended before everything had come."""


class Slow(Protocol):
    """Takes so many octets, so fast, then says one."""

    def __init__(self, size: int) -> None:
        """:param size: how many."""
        self._left = size
        self._due = 0.0

    def connectionMade(self) -> None:
        """Begin to count the time."""
        self._due = time.monotonic()

    def dataReceived(self, data: bytes) -> None:
        """
        Take some octets, and no more until their time is over.

        :param data: the octets.
        """
        from twisted.internet import reactor

        self._left -= len(data)
        self._due += len(data) / SPEED
        wait = self._due - time.monotonic()
        if self._left <= 0:
            self.arrived()
        elif wait > 0:
            self.transport.pauseProducing()
            reactor.callLater(wait, self._goOn)

    def _goOn(self) -> None:
        if self.transport.connected:
            self.transport.resumeProducing()

    def arrived(self) -> None:
        """Everything came."""
        self.transport.write(b"!")


class Side(Slow):
    """The server's side: sends what it is asked for, or takes it."""

    def __init__(self, census: Census) -> None:
        """:param census: counts the connections."""
        super().__init__(0)
        self._census = census

    def connectionMade(self) -> None:
        """Count it."""
        self._census.connections += 1

    def dataReceived(self, data: bytes) -> None:
        """
        Take the size, negative for one to send; then what comes.

        :param data: the octets.
        """
        if not self._left:
            self._left = int.from_bytes(data[:SIZE_LENGTH], "big", signed=True)
            data = data[SIZE_LENGTH:]
            self._due = time.monotonic()
            if self._left < 0:
                self.transport.write(bytes(-self._left))
                return
        if data:
            super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Count it no longer.

        :param reason: why.
        """
        self._census.connections -= 1


class Visitor(Slow):
    """The client's side: asks, and takes or sends."""

    def __init__(self, size: int, download: bool, over: Deferred[bool]) -> None:
        """
        :param size: how much.
        :param download: whether it is to take it.
        :param over: fires when the session is over, with whether it was lost.
        """
        super().__init__(size if download else 1)
        self._ask = (-size if download else size).to_bytes(SIZE_LENGTH, "big", signed=True)
        self._data = b"" if download else bytes(size)
        self._over = over
        self._lost = True

    def connectionMade(self) -> None:
        """Say what is wanted, and all of it."""
        super().connectionMade()
        self.transport.write(self._ask + self._data)

    def arrived(self) -> None:
        """Leave."""
        self._lost = False
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell the outcome.

        :param reason: why.
        """
        self._over.callback(self._lost)


async def visit(reactor: Any, directory: Path, request: list[str]) -> Seen:
    """
    Have one session.

    :param reactor: the reactor.
    :param directory: the credentials.
    :param request: the direction, the port and the size.
    :return: what was seen.
    """
    direction, port, size = request
    sent: dict[int, float] = {}
    latencies: list[float] = []

    def observe(protocol: object, event: Event) -> None:
        if isinstance(event, HeartbeatSent):
            sent[event.sequence] = time.monotonic()
        elif isinstance(event, HeartbeatAcknowledged):
            latencies.append(time.monotonic() - sent.pop(event.sequence))

    serverKey = parsePublicKey((directory / "thing-server.pub").read_text())
    endpoint = ThingClientEndpoint(
        TCP4ClientEndpoint(reactor, "127.0.0.1", int(port)),
        ClientSettings(credential=IdentityKey.load(directory / "thing-client"), requestedTtl=TTL),
        PinnedServers([fingerprint(serverKey)]),
    )
    endpoint.factory.observers.append(observe)
    over: Deferred[bool] = Deferred()
    visitor = Visitor(int(size), direction == DIRECTIONS[0], over)
    await endpoint.connect(Factory.forProtocol(lambda: visitor))
    over.addTimeout(int(size) / SPEED + SLACK, reactor, lambda failure, timeout: True)
    lost = await over
    now = time.monotonic()
    return Seen(latencies + [now - begun for begun in sent.values()], lost)


class Requests(LineOnlyReceiver):
    """Has a session for each line."""

    delimiter = b"\n"

    def __init__(self, directory: Path) -> None:
        """:param directory: the credentials."""
        self._directory = directory

    def lineReceived(self, line: bytes) -> None:
        """
        Have one session, and say how it was.

        :param line: a JSON list for :func:`visit`.
        """
        from twisted.internet import reactor

        signal.alarm(LIFETIME)
        visiting = ensureDeferred(visit(reactor, self._directory, json.loads(line)))
        visiting.addCallback(lambda seen: self.sendLine(json.dumps(vars(seen)).encode()))
        visiting.addErrback(self._fail)

    def _fail(self, failure: Failure) -> None:
        sys.stderr.write(failure.getTraceback())
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Stop.

        :param reason: why.
        """
        from twisted.internet import reactor

        with suppress(ReactorNotRunning):  # A signal came first.
            reactor.stop()


async def main(reactor: Any, role: str, directory: Path) -> None:
    """
    Be one of the two processes, until standard input ends.

    :param reactor: the reactor.
    :param role: ``serve`` or ``visit``.
    :param directory: the credentials.
    """
    signal.alarm(LIFETIME)
    beginLogging()
    if role == "serve":
        census = Census()
        endpoint = ThingServerEndpoint(
            TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"),
            ServerSettings(
                credential=IdentityKey.load(directory / "thing-server"), tickets=TicketKeys()
            ),
            AuthorizedThings(directory / "authorized"),
        )
        listening: Any = await endpoint.listen(Factory.forProtocol(lambda: Side(census)))
        StandardIO(Control(census, {"beat": listening.getHost().port}))
    else:
        StandardIO(Requests(directory))
    await Deferred()


def measure(directory: Path, size: int, rounds: int) -> dict[str, list[Seen]]:
    """
    Have heartbeats overtake data.

    :param directory: the credentials.
    :param size: how much data, octets.
    :param rounds: how often.
    :return: what was seen, by direction.
    """
    file = str(HERE / "behind.py")
    server = Child(file, "serve", str(directory))
    visitor = Child(file, "visit", str(directory))
    try:
        port = str(server.ask("usage")["ports"]["beat"])
        return {
            direction: [
                Seen(**visitor.ask(json.dumps([direction, port, str(size)]))) for _ in range(rounds)
            ]
            for direction in DIRECTIONS
        }
    finally:
        visitor.stop()
        server.stop()


def slowest(seen: Seen) -> float:
    """
    Find the slowest heartbeat.

    :param seen: what was seen.
    :return: its latency, milliseconds.
    """
    return max(seen.latencies, default=0.0) * 1000


def middle(seen: Seen) -> float:
    """
    Find the usual heartbeat.

    :param seen: what was seen.
    :return: the median latency, milliseconds.
    """
    return statistics.median(seen.latencies or [0.0]) * 1000


if __name__ == "__main__":
    react(main, (sys.argv[1], Path(sys.argv[2])))
