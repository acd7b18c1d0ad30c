"""
HTTP's own part: connections, what they may hold, and how long they may take.

All that a client can make this side keep or wait for has a limit here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from io import BytesIO
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from thing.core.rates import RateLimiter
from thing.fleet.http.places import MAX_ADMITTED, MAX_STRANGERS, NoPlace, Places
from thing.logger import Logger
from thing.session.addresses import formatAddress, networkOf

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

MAX_CONNECTIONS = MAX_STRANGERS + MAX_ADMITTED
"""How many connections at once."""

LOGGED = 1
"""How many that are cut off, or refused, are logged each second; of the rest the number is."""

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

MARK = "Thing-Api"
"""
The header that every answer of this server has: an error without it is a proxy's, and says
nothing of the token, of things, or of this server but that it was not reached.
"""

ROLE = "Thing-Role"
"""The header that says what the client may do: ``viewer``, or ``admin`` for everything."""

API_VERSION = "1"
"""What it says."""

COMMON_HEADERS = {
    MARK: API_VERSION,
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""What every answer says; the page has a policy of its own."""


class StatusRequest(Request):
    """
    One request; what a form would hold is no business of ours.

    :ivar gone: whether its client is.
    :ivar query: what stands behind the question mark, as it came.
    :ivar body: what it holds, once it is whole.
    :ivar tooLong: whether the body had more than the limit.
    :ivar admitted: whether it is answered what not everybody is.
    :ivar role: what its client may do, as the answer says; empty if that is not asked.
    """

    channel: StatusChannel
    _content: BytesIO
    query = b""
    body = b""
    tooLong = False
    admitted = False
    role = ""
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

    def admit(self) -> bool:
        """
        Give the connection a place that no stranger can take; it is answered what not all are.

        :return: whether it has one; else there are too many.
        """
        self.admitted = self.channel.factory.admit(self.channel)
        return self.admitted

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
    :ivar address: the client's.
    :ivar network: by what network it is counted.
    """

    factory: HttpFactory
    requestFactory = StatusRequest
    MAX_LENGTH = MAX_HEAD
    totalHeadersSize = MAX_HEAD
    maxHeaders = MAX_HEADERS
    timeOut = REQUEST_TIMEOUT  # type: ignore[assignment]
    address: IAddress | None = None
    network = ""
    _lingering: IDelayedCall | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is answered just now but what everybody may ask."""
        return not any(request.admitted for request in self.requests)

    def connectionMade(self) -> None:
        """Count the connection."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.factory.made(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Take octets; what TLS still gives while the connection is being closed, nobody reads.

        :param data: the octets.
        """
        if self._lingering is None:
            super().dataReceived(data)  # type: ignore[no-untyped-call]

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
        """Answer where there is no request that could be answered."""
        title = "That is no request of HTTP/1.1, or too long."
        body = json.dumps({"title": title, "status": 400}).encode()
        headers = {
            **COMMON_HEADERS,
            "Content-Type": "application/problem+json",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        lines = ["HTTP/1.1 400 Bad Request", *(f"{name}: {headers[name]}" for name in headers)]
        transport: Any = self.transport
        transport.write("\r\n".join([*lines, "", ""]).encode() + body)
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


class HttpFactory(Factory):
    """
    Builds the connections, counts them and closes them.

    :ivar clock: measures time.
    :ivar wallClock: tells the time of day, seconds.
    :ivar maxBody: the most octets of a request's body.
    :ivar channels: the connections, whether they have a place or are about to end.
    :ivar limitsHit: how many were cut off, or refused, by one of ``HTTP_LIMITS``.
    """

    _log = Logger()
    noisy = False
    protocol = StatusChannel  # type: ignore[assignment]

    def __init__(
        self,
        handle: Callable[[StatusRequest], None],
        clock: IReactorTime,
        wallClock: Callable[[], float],
        maxBody: int,
    ) -> None:
        """
        :param handle: answers a request.
        :param clock: measures time.
        :param wallClock: tells the time of day, seconds.
        :param maxBody: the most octets of a request's body.
        """
        self.handle = handle
        self.clock = clock
        self.wallClock = wallClock
        self.maxBody = maxBody
        self.channels: set[StatusChannel] = set()
        self.limitsHit: Counter[str] = Counter()
        self._places: Places[StatusChannel] = Places()
        self._logged = RateLimiter(LOGGED)
        self._closed: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """
        Build what answers a connection.

        :param addr: the client's address.
        :return: the protocol.
        """
        channel = StatusChannel()  # type: ignore[no-untyped-call]
        channel.factory = self
        channel.address, channel.network = addr, networkOf(addr)
        channel.callLater = self.clock.callLater  # type: ignore[assignment, method-assign]
        return channel

    def log(self, request: StatusRequest) -> None:
        """
        Write no access log: who asks is known, and a query is nobody else's business.

        :param request: the request.
        """

    def made(self, channel: StatusChannel) -> None:
        """
        Count a connection, and give it a place.

        :param channel: the connection.
        """
        self.channels.add(channel)
        displaced = self._places.enter(channel)
        if displaced is not None:
            self._cutOff(displaced, "strangers")

    def admit(self, channel: StatusChannel) -> bool:
        """
        Give a connection a place that no stranger can take.

        :param channel: the connection.
        :return: whether it has one; else there are too many.
        """
        try:
            displaced = self._places.admit(channel)
        except NoPlace:
            self._hit(channel, "admitted")
            return False
        if displaced is not None:
            self._cutOff(displaced, "admitted")
        return True

    def _cutOff(self, channel: StatusChannel, limit: str) -> None:
        """A word to it would cost more, and be waited for while it takes the word."""
        self._hit(channel, limit)
        channel.forceAbortClient()

    def _hit(self, channel: StatusChannel, limit: str) -> None:
        self.limitsHit[limit] += 1
        now = self.clock.seconds()
        held = self._logged.takeHeld(now)
        if held:
            self._log.warn("{count} more connections over HTTP met a limit", count=held)
        if self._logged.passes(now):
            self._log.warn(
                "A connection over HTTP from {address} met the limit of {limit}",
                address=formatAddress(channel.address),
                limit=limit,
            )

    def lost(self, channel: StatusChannel) -> None:
        """
        Forget a connection.

        :param channel: the connection.
        """
        self._places.leave(channel)
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
