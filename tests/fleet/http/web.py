"""HTTP in memory: what the tests of the fleet's server share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.fleet.inmemory import PresenceCase
from thing.fleet.http import StatusSite
from thing.fleet.http.guard import Token

HOST = b"localhost"
"""What a client says whom it wants, unless a test says something else."""


@implementer(ITransport, IConsumer, IPushProducer)
class Connection:
    """
    A connection's transport, with its client on the other side.

    As a TCP transport it has a buffer that pauses the producer, and
    ``connectionLost`` never comes while a method of the protocol runs.

    :ivar received: what the client has read.
    :ivar buffered: what was written, and the client has not read.
    :ivar highest: the most that was ever buffered.
    :ivar closed: how the connection ended, or None.
    """

    bufferSize = 65536

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.received = bytearray()
        self.buffered = bytearray()
        self.highest = 0
        self.reading = True
        self.closed: type[Exception] | None = None
        self._closing: type[Exception] | None = None
        self._producer: Any = None
        self._paused = False
        channel.makeConnection(self)

    # The transport, as the server sees it.

    @property
    def disconnecting(self) -> bool:
        """Whether the server has closed it."""
        return self._closing is not None

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        if self.closed or self._closing:
            return
        self.buffered += data
        self.highest = max(self.highest, len(self.buffered))
        if self._producer and not self._paused and len(self.buffered) > self.bufferSize:
            self._paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self._producer is None and streaming
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def stopProducing(self) -> None:
        self.loseConnection()

    def loseConnection(self) -> None:
        self._closing = self._closing or ConnectionDone
        self.reading = False

    def abortConnection(self) -> None:
        self._closing = ConnectionAborted
        self.buffered.clear()

    def getPeer(self) -> object:
        return IPv4Address("TCP", "127.0.0.1", 1)

    def getHost(self) -> object:
        return IPv4Address("TCP", "127.0.0.1", 2)

    # The client, as the test drives it.

    def send(self, data: bytes) -> Connection:
        """Send octets; the server gets them at once."""
        if not self.closed:
            self.channel.dataReceived(data)
        self._settle()
        return self

    def read(self, limit: int | None = None) -> bytes:
        """Read what is there, and what comes while it is read, up to a limit; all by default."""
        before = len(self.received)
        while self.buffered and (limit is None or len(self.received) - before < limit):
            room = None if limit is None else limit - (len(self.received) - before)
            self.received += self.buffered[:room]
            del self.buffered[:room]
            if self._paused and not self.buffered and self._producer and not self.closed:
                self._paused = False
                self._producer.resumeProducing()
        self._settle()
        return bytes(self.received[before:])

    def leave(self) -> None:
        """Close the connection from the client's side."""
        if not self.closed:
            self._lose(ConnectionDone)

    def _settle(self) -> None:
        if self._closing and not self.closed and not self.buffered:
            self._lose(self._closing)

    def _lose(self, reason: type[Exception]) -> None:
        self.closed = reason
        self.channel.connectionLost(Failure(reason()))


@dataclass
class Response:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What its body holds."""
        return json.loads(self.body)

    @property
    def title(self) -> str:
        """What a problem says of itself; it must be one."""
        assert self.headers["content-type"] == "application/problem+json", self.headers
        assert self.json["status"] == self.status
        title: str = self.json["title"]
        return title


def parseResponses(data: bytes, heads: int = 0) -> list[Response]:
    """
    Read whole answers.

    :param data: what a client read.
    :param heads: how many of the first answer HEAD, and have no body.
    """
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1", first
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, f"{name} is given twice"
            headers[name.lower()] = value
        length = 0 if len(found) < heads else int(headers["content-length"])
        assert len(data) >= length, "the body is cut"
        found.append(Response(int(status), headers, data[:length]))
        data = data[length:]
    return found


def request(
    method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> bytes:
    """A request's octets; a body has its length said."""
    lines = {"Host": HOST.decode(), **(headers or {})}
    if body is not None:
        lines.setdefault("Content-Length", str(len(body)))
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items())]
    return "\r\n".join([*head, "", ""]).encode("utf-8", "surrogateescape") + (body or b"")


def pathOf(id: str, rest: str = "") -> str:
    """The path of a thing."""
    return f"/thing{rest}?id={quote(id, safe='')}"


class WebCase(PresenceCase):
    """Tests with a fleet in memory, and its server."""

    def setUp(self) -> None:
        super().setUp()
        self.connections: list[Connection] = []
        self.serve()

    def serve(self, token: Token | None = None, **choices: Any) -> StatusSite:
        """Have a fresh presence and a server for it; the last one is asked by default."""
        self.home = self.presence()
        self.site = StatusSite(
            self.home,
            token,
            ready=lambda: not self.home.local.factory.draining,
            wallClock=self.wallClock,
            **choices,
        )
        return self.site

    def open(self, data: bytes = b"", host: str = "127.0.0.1") -> Connection:
        """A connection from a host; it is gone at the end of the test."""
        connection = Connection(self.site.buildProtocol(IPv4Address("TCP", host, 1)))
        self.connections.append(connection)
        return connection.send(data) if data else connection

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """One request on a connection of its own, and its answer."""
        connection = self.open(request(method, path, headers, body))
        (response,) = parseResponses(connection.read(), heads=method == "HEAD")
        return response

    def tearDown(self) -> None:
        for connection in self.connections:
            connection.leave()
        self.assertEqual(self.site.channels, set())
        self.assertEqual(self.site.api.readers, set())
        super().tearDown()
        self.assertEqual(self.clock.getDelayedCalls(), [])
