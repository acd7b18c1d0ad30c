"""
HTTP's own part: connections, what they may hold, and how long they may take.

All that a client can make this side keep or wait for has a limit here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import formatdate
from io import BytesIO
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from thing.fleet.http.answers import API_VERSION, MARK

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

MAX_CONNECTIONS = 256
"""How many connections at once; one beyond is told so and closed."""

REQUEST_TIMEOUT = 30.0
"""In what time a request must be whole, from the connection or the answer before, seconds."""

LINGER_TIMEOUT = 15.0
"""How long a connection that is to be closed may take to carry what was written, seconds."""

MAX_HEAD = 16 * 1024
"""The most octets of a request's line and headers."""

MAX_HEADERS = 100
"""How many headers a request may have."""

MAX_DISCARDED = 1 << 20
"""
So much of a body that is too long is read and thrown away, as a client that is still
sending would not read why; one that sends more is cut off.
"""


class StatusRequest(Request):
    """
    One request; what a form would hold is no business of ours.

    :ivar gone: whether its client is.
    :ivar query: what stands behind the question mark, as it came.
    :ivar body: what it holds, once it is whole.
    :ivar tooLong: whether the body had more than the limit.
    """

    channel: StatusChannel
    _content: BytesIO
    query = b""
    body = b""
    tooLong = False
    _length = 0

    @property
    def gone(self) -> bool:
        """Whether the client is gone: nothing may be written then."""
        return bool(self._disconnected or self.finished)

    @property
    def clock(self) -> IReactorTime:
        """What measures time."""
        return self.channel.factory.clock

    @property
    def date(self) -> str:
        """The time of day, as HTTP writes it."""
        return formatdate(self.channel.factory.wallClock(), usegmt=True)

    def cut(self) -> None:
        """End the connection at once."""
        if not self.gone:
            self.channel.forceAbortClient()

    def endConnection(self) -> None:
        """Let this be the last request of its connection."""
        self.channel.persistent = 0

    # Twisted's, with types; and nothing is written to a client that is gone.

    def setHeader(self, name: str, value: str) -> None:
        """
        Set a header of the answer.

        :param name: its name.
        :param value: its value.
        """
        super().setHeader(name, value)  # type: ignore[no-untyped-call]

    def write(self, data: bytes) -> None:
        """
        Write some of the answer.

        :param data: the octets.
        """
        if not self.gone:
            super().write(data)  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """End the answer."""
        if not self.gone:
            super().finish()  # type: ignore[no-untyped-call]

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let a producer be told when the transport is full.

        :param producer: an ``IPushProducer``.
        :param streaming: true.
        """
        super().registerProducer(producer, streaming)  # type: ignore[no-untyped-call]

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        if not self.gone:
            super().unregisterProducer()  # type: ignore[no-untyped-call]

    # What the channel tells.

    def gotLength(self, length: int | None) -> None:
        """
        Make ready for the body, in memory: it is short.

        :param length: what the client says; None if it comes in chunks.
        """
        self.content = self._content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """
        Take some of the body, up to the limit.

        :param data: the octets.
        """
        self._length += len(data)
        if self._length <= self.channel.factory.maxBody:
            self._content.write(data)
            return
        self.tooLong = True
        if self._length > MAX_DISCARDED:
            self.channel.forceAbortClient()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """
        Answer a request that is whole.

        :param command: the method.
        :param path: path and query.
        :param version: of HTTP.
        """
        self.method, self.uri, self.clientproto, self.args = command, path, version, {}
        self.path, _, self.query = path.partition(b"?")
        self.body = self._content.getvalue()
        self.channel.factory.handle(self)


class StatusChannel(HTTPChannel):
    """
    One connection.

    :ivar factory: built it.
    """

    factory: HttpFactory
    requestFactory = StatusRequest
    MAX_LENGTH = MAX_HEAD
    totalHeadersSize = MAX_HEAD
    maxHeaders = MAX_HEADERS
    timeOut = REQUEST_TIMEOUT  # type: ignore[assignment]
    _lingering: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Count the connection."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.factory.channels.add(self)

    def resetTimeout(self) -> None:
        """Give no more time for octets that trickle in: the whole request has its time."""

    def timeoutConnection(self) -> None:
        """Close: there was no whole request in time, or no other one after the last."""
        self.loseConnection()

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        Refuse a line that is too long.

        :param line: its beginning.
        """
        self._respondToBadRequestAndDisconnect()

    def _respondToBadRequestAndDisconnect(self) -> None:
        refuse(self.transport, 400, "Bad Request", "That is no request of HTTP/1.1, or too long.")
        self.loseConnection()

    def loseConnection(self) -> None:
        """Close once all is written, and in any case soon."""
        if self._lingering is None:
            self._lingering = self.factory.clock.callLater(LINGER_TIMEOUT, self.forceAbortClient)
        super().loseConnection()  # type: ignore[no-untyped-call]

    def forceAbortClient(self) -> None:
        """Close at once."""
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Forget the connection.

        :param reason: why it is closed.
        """
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        self.factory.lost(self)


def refuse(transport: Any, status: int, phrase: str, title: str) -> None:
    """
    Answer where there is no request that could be answered.

    :param transport: the connection's.
    :param status: of HTTP.
    :param phrase: HTTP's words for it.
    :param title: one plain sentence.
    """
    body = json.dumps({"title": title, "status": status}).encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n{MARK}: {API_VERSION}\r\nConnection: close\r\n\r\n"
    )
    transport.write(head.encode() + body)


class _OverLimit(Protocol):
    """A connection beyond the limit."""

    def connectionMade(self) -> None:
        """Say so, and close."""
        refuse(self.transport, 503, "Service Unavailable", "There are too many connections.")
        assert self.transport is not None, "the connection is made"
        self.transport.loseConnection()


class HttpFactory(Factory):
    """
    Builds the connections, counts them and closes them.

    :ivar clock: measures time.
    :ivar wallClock: tells the time of day, seconds.
    :ivar maxBody: the most octets of a request's body.
    :ivar channels: the connections.
    """

    noisy = False
    protocol = StatusChannel  # type: ignore[assignment]

    def __init__(
        self,
        handle: Callable[[StatusRequest], None],
        clock: IReactorTime,
        wallClock: Callable[[], float],
        maxBody: int,
        maxConnections: int = MAX_CONNECTIONS,
    ) -> None:
        """
        :param handle: answers a request.
        :param clock: measures time.
        :param wallClock: tells the time of day, seconds.
        :param maxBody: the most octets of a request's body.
        :param maxConnections: how many connections at once.
        """
        self.handle = handle
        self.clock = clock
        self.wallClock = wallClock
        self.maxBody = maxBody
        self.channels: set[StatusChannel] = set()
        self._maxConnections = maxConnections
        self._closed: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """
        Build what answers a connection.

        :param addr: the client's address.
        :return: the protocol.
        """
        if len(self.channels) >= self._maxConnections:
            return _OverLimit()
        channel = StatusChannel()  # type: ignore[no-untyped-call]
        channel.factory = self
        channel.callLater = self.clock.callLater  # type: ignore[assignment, method-assign]
        return channel

    def log(self, request: StatusRequest) -> None:
        """
        Write no access log: who asks is known, and a query is nobody else's business.

        :param request: the request.
        """

    def lost(self, channel: StatusChannel) -> None:
        """
        Forget a connection.

        :param channel: the connection.
        """
        self.channels.discard(channel)
        if self._closed is not None and not self.channels:
            closed, self._closed = self._closed, None
            closed.callback(None)

    def close(self) -> Deferred[None]:
        """
        Close all connections.

        :return: fires when the last is closed.
        """
        if not self.channels:
            return succeed(None)
        closed = self._closed = Deferred()
        for channel in list(self.channels):
            channel.loseConnection()
        return closed
