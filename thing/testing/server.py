"""
:class:`LoopbackServer`: a real server on a free port, for tests with trial.

What it serves is the test's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.task import deferLater
from zope.interface import implementer

from thing.core.settings import ClientSettings, ServerSettings
from thing.endpoints.stream import StreamProtocol
from thing.session.protocol import ThingProtocol
from thing.testing.keys import Keys
from thing.testing.sides import build, factoryOf

WAIT = 0.001
"""How long to wait between two looks whether a connection is closed, seconds."""


class Case(Protocol):
    """A test that cleans up: trial's ``TestCase``."""

    def addCleanup(self, function: Callable[[], object]) -> None:
        """
        Have something done after the test.

        :param function: is called then; the test waits for its Deferred.
        """


class LoopbackServer:
    """
    A server that listens on a free port of this machine until a test is over.

    After the test it listens no more, and its connections are closed, those that
    :meth:`connect` made too: nothing of them is left in the reactor.

    :ivar keys: the keys of the server, and of the client that it admits.
    :ivar factory: builds the server's sessions.
    :ivar host: its address.
    :ivar port: its port.
    :ivar fingerprint: its key's fingerprint.
    """

    def __init__(
        self,
        case: Case,
        server: Any,
        *,
        settings: ServerSettings | None = None,
        keys: Keys | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        """
        :param case: the test.
        :param server: the server's side, as :class:`~thing.testing.Pair` takes it.
        :param settings: the settings of a factory that is made on the spot.
        :param keys: the keys of both sides; by default new ones.
        :param host: where to listen, 127.0.0.1 or ::1.
        """
        from twisted.internet import reactor

        self._reactor = cast(Any, reactor)
        self._sessions: list[ThingProtocol] = []
        self.keys = keys or Keys()
        self.factory: Any = factoryOf(
            server, settings or self.keys.serverSettings(), self.keys.things
        )
        self.host = host
        self.fingerprint = self.keys.server.fingerprint
        self._listening = self._reactor.listenTCP(
            0, _Counting(self.factory, self._sessions), interface=host
        )
        self.port: int = self._listening.getHost().port
        case.addCleanup(self._stop)

    def connect(self, client: Any, settings: ClientSettings | None = None) -> Deferred[Any]:
        """
        Connect a client.

        :param client: the client's side, as :class:`~thing.testing.Pair` takes it.
        :param settings: the settings of a factory that is made on the spot.
        :return: fires with the client's ``ThingProtocol``, or its application's protocol, once the
            session is up; fails with :class:`~thing.errors.HandshakeFailed`.
        """
        factory = factoryOf(client, settings or self.keys.clientSettings(), self.keys.servers)
        return ensureDeferred(self._connect(factory))

    async def _connect(self, factory: Any) -> Any:
        kind = TCP6ClientEndpoint if ":" in self.host else TCP4ClientEndpoint
        endpoint = kind(self._reactor, self.host, self.port)
        session: Any = await endpoint.connect(_Counting(factory, self._sessions))
        if isinstance(session, StreamProtocol):
            return await session.whenConnected()
        await session.whenEstablished()
        return session

    def _stop(self) -> Deferred[None]:
        return ensureDeferred(self._closeAll())

    async def _closeAll(self) -> None:
        await maybeDeferred(self._listening.stopListening)
        transports: list[Any] = [session.transport for session in self._sessions]
        for session, transport in zip(self._sessions, transports, strict=True):
            if session.termination is None:
                session.abort()
            if transport is not None:
                transport.abortConnection()
        while any(transport is not None and transport.connected for transport in transports):
            await deferLater(self._reactor, WAIT)


@implementer(IProtocolFactory)
class _Counting:
    """Builds what a factory builds, and notes it."""

    def __init__(self, factory: Any, sessions: list[ThingProtocol]) -> None:
        self._factory = factory
        self._sessions = sessions

    def buildProtocol(self, addr: IAddress) -> Any:
        try:
            session, _ = build(self._factory, addr)
        except ConnectionRefusedError:
            return None
        self._sessions.append(session)
        return session

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()
