"""Servers: who comes in, within which limits, and what each session is for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from thing.arguments import checkCoroutine, checkKind
from thing.asyncio.checks import check_authorizer, check_on_request, check_settings, check_streams
from thing.asyncio.contexts import Closing, Opening
from thing.asyncio.link import Link
from thing.asyncio.log import Failures
from thing.asyncio.session import RequestHandler, Session
from thing.asyncio.streams import StreamHandler
from thing.core.chance import chance
from thing.core.door import Displace, Door, Go, Verdict, Wait
from thing.core.expiry import nextLook, whenAsked
from thing.core.limits import Limits
from thing.core.networks import networkOfHost
from thing.core.rates import RecentCount
from thing.core.server import ServerConnection
from thing.core.settings import ServerSettings
from thing.core.states import State
from thing.errors import EndReason, ErrorCode, SessionEnded
from thing.events import Event, HandshakeCompleted, Terminated
from thing.trust.interfaces import ThingAuthorizer

EXPIRED_GRACE = 2.0
"""How long a session whose credential has expired may take to say goodbye, seconds."""

HANDLERS = 2
"""
How many handlers may be at work, as a multiple of ``limits.sessions``: those included that go on
though their session is over. With more, clients are turned away.
"""

Handler = Callable[[Session], Awaitable[object]]
"""Has one session; it is closed when this returns."""


class ServerSession(Session):
    """
    A session of a server.

    :ivar network: by what network it is counted.
    :ivar up: whether its session counts as up, at the door.
    """

    def __init__(self, server: Server) -> None:
        """:param server: whose it is."""
        settings = server.settings
        core = ServerConnection(settings, server.grant, server.ask_puzzle, server.count_exchange)
        super().__init__(
            settings, core, server.authorizer, server.on_request, server.streams, server.failures
        )
        self.network = ""
        self.up = False
        self._server = server
        self._expiring: asyncio.TimerHandle | None = None

    @property
    def proved(self) -> bool:
        """Whether the peer has proved who it is; it may not be admitted yet."""
        return self._core.state is State.AUTHORIZING or self._core.session is not None

    def connected(self, link: Link) -> None:
        """:param link: which has its transport now."""
        where = self.remote_address
        self.network = networkOfHost(where[0]) if isinstance(where, tuple) else ""
        self._server.entered(self)

    def admitted(self, link: Link) -> None:
        """:param link: whose peer was admitted."""
        self._server.admitted(self)

    def holds(self, octets: int) -> None:
        """:param octets: how much waits in the memory for this session now."""
        self._server.hold(self, octets)

    def disconnected(self) -> None:
        """The stream is gone."""
        self._server.left(self)
        super().disconnected()

    def deliver(self, event: Event) -> None:
        """
        Deal with what the core tells.

        :param event: what happened.
        """
        if isinstance(event, HandshakeCompleted):
            self._server.established(self)
            expires = event.session.peer.expires
            if expires is not None:
                self._look(whenAsked(expires, time.time(), self._server.door.jitter()))
        elif isinstance(event, Terminated):
            self._server.ended(self)
            if self._expiring is not None:
                self._expiring.cancel()
        super().deliver(event)

    def _look(self, due: float) -> None:
        """Whether the credential has expired, by a wall clock that can be set."""
        left = nextLook(due, time.time())
        if left > 0:
            self._expiring = asyncio.get_running_loop().call_later(left, self._look, due)
        elif self.termination is None:
            self.go_away(EndReason.EXPIRED, EXPIRED_GRACE)

    def cut_off(self, detail: str) -> None:
        """
        End the connection as a busy server, at once: the peer sees its stream end.

        :param detail: why, for this side's log only.
        """
        self.link.reject(ErrorCode.SERVER_BUSY, detail)
        self.link.cut()


class Server(Closing):
    """
    A server that listens.

    What it was given may be replaced, and counts for sessions to come.

    :ivar failures: logs what goes wrong in the program's own code.
    :ivar door: counts who is here, and judges newcomers by its ``limits``.
    :ivar sessions: the sessions that are up.
    """

    def __init__(
        self,
        handler: Handler,
        settings: ServerSettings,
        authorizer: ThingAuthorizer,
        limits: Limits | None,
        on_request: RequestHandler | None,
        streams: Mapping[str, StreamHandler],
    ) -> None:
        """
        :param handler: has each session.
        :param settings: what the server chose.
        :param authorizer: whom to believe.
        :param limits: how much the server takes on.
        :param on_request: answers requests; without, they are taken as messages.
        :param streams: what serves streams that clients open, by label.
        """
        self.settings = settings
        self.authorizer = authorizer
        self.on_request = on_request
        self.streams = streams
        self.failures = Failures()
        self.door: Door[ServerSession] = Door(limits or Limits(), chance)
        self.sessions: set[Session] = set()
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._exchanges = RecentCount()
        self._handling: set[asyncio.Task[None]] = set()
        self._connected: set[ServerSession] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._listening: asyncio.Server | None = None

    # What a program does with it.

    @property
    def settings(self) -> ServerSettings:
        """What the server chose."""
        return self._settings

    @settings.setter
    def settings(self, settings: ServerSettings) -> None:
        check_settings(settings, ServerSettings)
        self._settings = settings

    @property
    def authorizer(self) -> ThingAuthorizer:
        """Whom to believe."""
        return self._authorizer

    @authorizer.setter
    def authorizer(self, authorizer: ThingAuthorizer) -> None:
        check_authorizer(authorizer, ServerSettings)
        self._authorizer = authorizer

    @property
    def on_request(self) -> RequestHandler | None:
        """Answers requests; without, they are taken as messages."""
        return self._on_request

    @on_request.setter
    def on_request(self, on_request: RequestHandler | None) -> None:
        check_on_request(on_request)
        self._on_request = on_request

    @property
    def streams(self) -> Mapping[str, StreamHandler]:
        """What serves streams that clients open, by label."""
        return self._streams

    @streams.setter
    def streams(self, streams: Mapping[str, StreamHandler]) -> None:
        check_streams(streams)
        self._streams = streams

    async def listen(self, host: str | None, port: int | None, **listening: Any) -> None:
        """
        Begin to listen.

        :param host: where.
        :param port: the port.
        :param listening: what else ``loop.create_server`` takes.
        """
        self._listening = await self._loop.create_server(self._build, host, port, **listening)

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The sockets that it listens on."""
        return () if self._listening is None else tuple(self._listening.sockets)

    async def serve_forever(self) -> None:
        """Serve until it is cancelled."""
        await self._loop.create_future()

    def close(
        self,
        grace: float | None = None,
        reason: EndReason = EndReason.SHUTDOWN,
        retry_after: float = 0.0,
    ) -> None:
        """
        Listen no more, and ask every client to leave; :meth:`wait_closed` waits for the last.

        :param grace: how long each may take to say goodbye, seconds; None for ``closeTimeout``.
        :param reason: what they are told.
        :param retry_after: how long they should stay away, seconds, and at random up to
            :meth:`~thing.core.limits.Limits.spread` longer; zero gives no advice.
        """
        self.door.draining = True
        if self._listening is not None:
            self._listening.close()
        limits = self.door.limits
        spread = limits.spread(len(self._connected), retry_after) if retry_after else 0.0
        for session in list(self._connected):
            away = retry_after + spread * chance()
            if session.termination is not None:
                continue
            if session.agreed is None:
                session.link.reject(ErrorCode.SERVER_BUSY, "draining", away)
            else:
                session.go_away(reason, grace, away)

    async def wait_closed(self) -> None:
        """Wait until the last connection is gone, and its handler has returned."""
        await self._empty.wait()
        while self._handling:
            await asyncio.wait(set(self._handling))

    def _cut(self) -> None:
        for session in list(self._connected):
            session.abort()

    # What its sessions ask and tell.

    def _build(self) -> asyncio.BaseProtocol:
        return ServerSession(self).link

    def grant(self, requested: float | None) -> float:
        """
        Decide a TTL.

        :param requested: what the client asked for, seconds, or None.
        :return: the TTL, seconds.
        """
        return self.settings.ttl.grant(requested, len(self.sessions))

    def ask_puzzle(self) -> int:
        """:return: how hard a puzzle to ask of a client, bits; zero for none."""
        return self.door.limits.difficulty(self._exchanges.count(self._loop.time()))

    def count_exchange(self) -> None:
        """Count a key exchange, in vain until there is a session."""
        self._exchanges.add(1, self._loop.time())

    def entered(self, session: ServerSession) -> None:
        """:param session: whose stream is there; it may be one too many."""
        self._connected.add(session)
        self._empty.clear()
        verdict = self.door.knock()
        self.door.enter(session, self._loop.time())
        self.carry_out(verdict or self.door.judge(session), session)

    def admitted(self, session: ServerSession) -> None:
        """:param session: whose peer was admitted; by now all places may be taken."""
        limits = self.door.limits
        verdict: Verdict[ServerSession] = self.door.admit(session)
        if verdict is None and len(self._handling) >= HANDLERS * limits.sessions:
            detail = f"limit of {HANDLERS * limits.sessions} handlers"
            self.failures.log("Clients are turned away: too many handlers go on without a session")
            verdict = Wait("sessions", detail, limits.retryAfter * (1 + self.door.jitter()))
        self.carry_out(verdict, session)

    def carry_out(self, verdict: Verdict[ServerSession], session: ServerSession) -> None:
        """
        Do what was decided about a newcomer.

        :param verdict: what was decided.
        :param session: the newcomer.
        """
        match verdict:
            case Displace():
                verdict.displaced.cut_off(verdict.detail)
            case Go():
                session.cut_off(verdict.detail)
            case Wait():
                session.link.reject(ErrorCode.SERVER_BUSY, verdict.detail, verdict.retryAfter)
            case None:
                pass

    def established(self, session: ServerSession) -> None:
        """:param session: which is up now."""
        self.door.establish(session)
        self._exchanges.add(-1, self._loop.time())
        self.sessions.add(session)
        handling = self._loop.create_task(self._handle(session))
        self._handling.add(handling)
        handling.add_done_callback(self._handling.discard)

    def hold(self, session: ServerSession, octets: int) -> None:
        """
        Count what waits in the memory for a session, and end sessions while that is too much.

        :param session: which.
        :param octets: how much waits now.
        """
        if self.door.hold(session, octets):
            while (judged := self.door.relieve()) is not None:
                heaviest, verdict = judged
                self.carry_out(verdict, heaviest)

    async def _handle(self, session: ServerSession) -> None:
        try:
            await self._handler(session)
        except SessionEnded:
            pass  # A handler need not mind.
        except Exception:
            self.failures.log("The handler of a session failed; its session ends")
            session.link.reject(ErrorCode.INTERNAL_ERROR, "a failed handler")
        finally:
            session.close()

    def ended(self, session: ServerSession) -> None:
        """:param session: which is over; its stream may still be there."""
        if self.door.end(session):
            session.link.cut()
        self.sessions.discard(session)

    def left(self, session: ServerSession) -> None:
        """:param session: whose stream is gone."""
        self.door.leave(session)
        self._connected.discard(session)
        if not self._connected:
            self._empty.set()


class serve(Opening[Server]):
    """
    Listen for clients, and have a handler for each session.

    ::

        async with serve(handler, "localhost", 9000, settings, authorizer) as server:
            await server.serve_forever()

    asks every client to leave in the end; ``server = await serve(...)`` leaves that to you.
    """

    def __init__(
        self,
        handler: Handler,
        host: str | None,
        port: int | None,
        settings: ServerSettings,
        authorizer: ThingAuthorizer,
        *,
        limits: Limits | None = None,
        on_request: RequestHandler | None = None,
        streams: Mapping[str, StreamHandler] | None = None,
        **listening: Any,
    ) -> None:
        """
        :param handler: a coroutine function that has each session; the session is closed when it
            returns.
        :param host: where to listen.
        :param port: the port.
        :param settings: what the server chose.
        :param authorizer: whom to believe.
        :param limits: how much the server takes on.
        :param on_request: answers requests; without, they are taken as messages.
        :param streams: what serves streams that clients open, by label; a label that ends in a
            colon stands for all that begin so.
        :param listening: what else ``loop.create_server`` takes, as ``sock`` or ``reuse_port``.
        :raises TypeError: if anything is of another kind.
        """
        checkCoroutine("handler", handler)
        check_settings(settings, ServerSettings)
        check_authorizer(authorizer, ServerSettings)
        if limits is not None:
            checkKind("limits", limits, Limits, "Limits(...)")
        check_on_request(on_request)
        check_streams(streams or {})
        self._choices = (handler, settings, authorizer, limits, on_request, streams or {})
        self._where = (host, port)
        self._listening = listening

    async def _open(self) -> Server:
        server = Server(*self._choices)
        await server.listen(*self._where, **self._listening)
        return server
