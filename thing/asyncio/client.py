"""
Clients: one session, and one after the other for as long as the program likes.

What a session is, and what is said in it, is elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from thing.arguments import checkFlag, checkKind, checkNumber
from thing.asyncio.checks import check_authorizer, check_on_request, check_settings, check_streams
from thing.asyncio.contexts import Opening
from thing.asyncio.log import Failures, log
from thing.asyncio.session import RequestHandler, Session
from thing.asyncio.streams import StreamHandler
from thing.core.backoff import Backoff, isHopeless
from thing.core.client import ClientConnection
from thing.core.kept import KeptTicket
from thing.core.settings import ClientSettings
from thing.errors import HandshakeFailed
from thing.events import Termination
from thing.text import visible
from thing.trust import keywords
from thing.trust.interfaces import ServerAuthorizer

if TYPE_CHECKING:
    from typing_extensions import Self

CONNECT_TIMEOUT = 30.0
"""How long the connection below a session may take by default, seconds."""


class connect(Opening[Session]):
    """
    Connect to a server, and have a session.

    ::

        async with connect("localhost:9000", settings, authorizer) as session:
            ...

    says goodbye in the end; ``session = await connect(...)`` leaves that to you. Either raises
    ``OSError`` if there is no connection, and :class:`~thing.errors.HandshakeFailed` if the session
    does not come up.
    """

    def __init__(
        self,
        server: str,
        settings: ClientSettings,
        authorizer: ServerAuthorizer,
        *,
        on_request: RequestHandler | None = None,
        streams: Mapping[str, StreamHandler] | None = None,
        tickets: KeptTicket | None = None,
        timeout: float = CONNECT_TIMEOUT,
        **connecting: Any,
    ) -> None:
        """
        :param server: ``host:port``, with an IPv6 address in brackets.
        :param settings: what the client chose.
        :param authorizer: whom to believe.
        :param on_request: answers the server's requests; without, they are taken as messages.
        :param streams: what serves streams that the server opens, by label; a label that ends in
            a colon stands for all that begin so.
        :param tickets: keeps what lets the next session begin without signatures.
        :param timeout: how long the connection may take, seconds; the handshake has the settings'
            ``handshakeTimeout``.
        :param connecting: what else ``loop.create_connection`` takes, as ``local_addr`` or
            ``sock``.
        :raises ValueError: if ``server`` is no host and port, or the timeout out of bounds.
        :raises TypeError: if anything is of another kind.
        """
        check_settings(settings, ClientSettings)
        check_authorizer(authorizer, ClientSettings)
        check_on_request(on_request)
        check_streams(streams or {})
        if tickets is not None:
            checkKind("tickets", tickets, KeptTicket, "KeptTicket()")
        checkNumber("timeout", timeout)
        self._failures = Failures()
        self._host, self._port = parse_address(server)
        self._settings = settings
        self._authorizer = authorizer
        self._on_request = on_request
        self._served = streams or {}
        self._tickets = tickets
        self._timeout = timeout
        self._connecting = connecting

    async def _open(self) -> Session:
        loop = asyncio.get_running_loop()
        ticket = None
        if self._tickets is not None:
            ticket = self._tickets.take(self._settings, loop.time())
        core = ClientConnection(self._settings, ticket)
        session = Session(
            self._settings,
            core,
            self._authorizer,
            self._on_request,
            self._served,
            self._failures,
            self._tickets,
        )
        where = () if "sock" in self._connecting else (self._host, self._port)
        opening = loop.create_connection(lambda: session.link, *where, **self._connecting)
        try:
            await asyncio.wait_for(opening, self._timeout)
            await session.wait_established()
        except BaseException:
            session.abort()
            raise
        return session


class reconnect:
    """
    Have one session after the other, for ever.

    ::

        async for session in reconnect("localhost:9000", settings, authorizer):
            try:
                async for message in session:
                    ...
            except SessionEnded:
                continue

    Between two sessions, and after a try that failed, it stays away as
    :class:`~thing.core.backoff.Backoff` has it, and as the server asks. A session that is still up
    when the next is asked for is closed, and so it is when ``aclose`` is called or an
    ``async with reconnect(...) as sessions`` is left; who leaves the loop by ``break`` has the
    session still, and closes it.
    """

    def __init__(
        self,
        server: str,
        settings: ClientSettings,
        authorizer: ServerAuthorizer,
        *,
        backoff: Backoff | None = None,
        give_up: bool = False,
        **choices: Any,
    ) -> None:
        """
        :param server: as of :class:`connect`.
        :param settings: what the client chose.
        :param authorizer: whom to believe.
        :param backoff: how long to stay away; it belongs to this alone.
        :param give_up: whether to raise a rejection that is hopeless until somebody acts
            (:func:`~thing.core.backoff.isHopeless`), and not to go on, seldom.
        :param choices: what else :class:`connect` takes.
        :raises ValueError: if ``server`` is no host and port, or a choice out of bounds.
        :raises TypeError: if anything is of another kind.
        """
        if backoff is not None:
            checkKind("backoff", backoff, Backoff, "Backoff(...)")
        checkFlag("give_up", give_up)
        self._backoff = Backoff() if backoff is None else backoff
        self._give_up = give_up
        choices.setdefault("tickets", KeptTicket())
        self._once = connect(server, settings, authorizer, **choices)
        self._where = server
        self._session: Session | None = None

    def __aiter__(self) -> Self:
        """:return: the sessions."""
        return self

    async def __anext__(self) -> Session:
        """
        Wait for the next session.

        :return: a session that is up.
        :raises HandshakeFailed: after a hopeless rejection, if it is to give up.
        """
        before = self._session
        await self.aclose()
        if before is not None:
            await self._stay_away(before.termination)
        while True:
            try:
                session = self._session = await self._once
            except (OSError, asyncio.TimeoutError) as error:
                reason = visible(str(error)) or "it took too long"
                log.info("No connection to %s: %s", self._where, reason)
                await self._stay_away(None)
            except HandshakeFailed as error:
                log.info("No session with %s: %s", self._where, visible(str(error)))
                if self._give_up and isHopeless(error.termination):
                    raise
                await self._stay_away(error.termination)
            else:
                self._backoff.up(asyncio.get_running_loop().time(), session.ttl)
                return session

    async def _stay_away(self, termination: Termination | None) -> None:
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(self._backoff.down(now, termination))

    async def aclose(self) -> None:
        """Close the session that is up, if there is one, and wait for its end."""
        session, self._session = self._session, None
        if session is not None:
            async with session:
                pass

    async def __aenter__(self) -> Self:
        """:return: the sessions."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the session that is up."""
        await self.aclose()


def parse_address(text: str) -> tuple[str, int]:
    """
    Read where a server is.

    :param text: ``host:port``, with an IPv6 address in brackets.
    :return: the host and the port.
    :raises ValueError: if it is none, or no host can be called so.
    :raises TypeError: if it is no text.
    """
    checkKind("server", text, str, 'a text, as "localhost:9000"')
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if (
        not colon
        or not host
        or not port.isascii()
        or not port.isdecimal()
        or not 0 < int(port) < 65536
    ):
        raise ValueError(f"not a host and a port: {text!r:.80}")
    return keywords.host(host), int(port)
