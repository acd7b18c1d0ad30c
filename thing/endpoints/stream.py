"""One session that carries a stream for a protocol which knows nothing of Thing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IProtocol,
    IProtocolFactory,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from twisted.python.log import callWithContext

from thing.core.settings import ClientSettings, ServerSettings
from thing.errors import ErrorCode, HandshakeFailed
from thing.session.carried import StreamTransport, prefixOf
from thing.session.checks import roleOf
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol, linkOf
from thing.session.reasons import reasonOf


class StreamProtocol(ThingProtocol):
    """
    One session; the application's protocol is built when it is up, and not before.

    :ivar application: the application's factory.
    :ivar wrapped: the application's protocol, while it is connected.
    """

    factory: StreamFactory
    application: IProtocolFactory
    transport: Any
    wrapped: IProtocol | None = None
    _context: dict[str, str] = {}  # The log's, of the application's callbacks.
    _carried: StreamTransport | None = None
    _bug: Failure | None = None
    _waiter: Deferred[IProtocol] | None = None

    def whenConnected(self) -> Deferred[IProtocol]:
        """
        Wait for the application's protocol; asked for once, before the session is over.

        :return: fires with it after its ``connectionMade``, or fails with
            :class:`~thing.errors.HandshakeFailed`, with ``NoProtocol``, or with what
            the application's factory raised. To cancel it aborts the session.
        """
        if self._bug is not None:
            return fail(self._bug)
        if self.wrapped is not None:
            return succeed(self.wrapped)
        if linkOf(self).closed and self.termination is not None:
            return fail(HandshakeFailed(self.termination))
        self._waiter = Deferred(self._cancelled)
        return self._waiter

    def _cancelled(self, waiter: Deferred[IProtocol]) -> None:
        self._waiter = None
        self.abort()

    def guard(self, callback: Callable[..., object], *args: object) -> None:
        """
        Call something of the application's; if it fails, log it and end the session.

        :param callback: what to call.
        :param args: with what.
        """
        linkOf(self).driver.guard(self._tell, callback, *args)

    def _tell(self, callback: Callable[..., object], *args: object) -> None:
        """Call the application in its own logging context, and remember its first failure."""
        try:
            callWithContext(self._context, callback, *args)  # type: ignore[no-untyped-call]
        except BaseException:
            self._bug = self._bug or Failure()  # type: ignore[no-untyped-call]
            raise

    def logPrefix(self) -> str:
        """:return: the name of the application's protocol, once there is one."""
        return prefixOf(self.wrapped) if self.wrapped is not None else type(self).__name__

    # The session's callbacks.

    def handshakeCompleted(self) -> None:
        """Build the application's protocol, and connect it."""
        try:
            self.wrapped = self.application.buildProtocol(self.transport.getPeer())
            if self.wrapped is None:
                raise NoProtocol
            self._context = {"system": self.logPrefix()}
        except Exception:
            self._notBuilt(Failure())  # type: ignore[no-untyped-call]
            return
        factory = self.factory
        self._carried = StreamTransport(
            self, self.transport, factory.clock, factory.settings.closeTimeout
        )
        self.registerProducer(self._carried.outflow, False)
        try:
            self._tell(self.wrapped.makeConnection, self._carried)
        finally:
            self._answer(self._bug or self.wrapped)

    def _notBuilt(self, failure: Failure) -> None:
        """Nobody is there to talk to: leave in order."""
        if self._waiter is None and not isinstance(failure.value, NoProtocol):
            self.factory.failures.log("The application's factory failed", failure)
        self._bug = failure
        self._answer(failure)
        self.goodbye()

    def _answer(self, result: IProtocol | Failure) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(result)  # To call back with a Failure is to fail.

    def dataReceived(self, data: bytes) -> None:
        """
        Take octets from the stream.

        What the application has written comes first: the session may be over after them.

        :param data: the octets.
        """
        if self._carried is not None:
            self._carried.outflow.drain()
        super().dataReceived(data)

    def messageReceived(self, message: bytes) -> None:
        """
        Give the application what its peer wrote, and take its answer.

        :param message: some octets.
        """
        if self.wrapped is not None and self._carried is not None:
            self._tell(self.wrapped.dataReceived, message)
            self._carried.outflow.drain()

    def dataEnded(self) -> None:
        """Tell the application that its peer has closed its half, as TCP does."""
        if self._carried is not None:
            self._carried.peerEnded(self.wrapped)

    def endData(self) -> None:
        """Close this half, and tell the application, as TCP does."""
        super().endData()
        if self._carried is not None:
            self._carried.ended(self.wrapped)

    def complete(self) -> None:
        """Close the session: both halves of its main stream are closed."""
        if self._carried is not None:
            self._carried.loseConnection()

    def cut(self, code: int) -> None:
        """
        Abort the session.

        :param code: is for other streams.
        """
        self.abort()

    def timeOut(self) -> None:
        """End the session at once: the peer takes nothing any more, and something is left."""
        linkOf(self).abort(ErrorCode.CLOSE_TIMEOUT)

    def written(self) -> None:
        """Note that the application wrote something: whatever comes in has it sent first."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell the application how its session ended, in Twisted's words.

        :param reason: why the stream below closed.
        """
        super().connectionLost(reason)
        assert self.termination is not None, "without a stream there is no session"
        if self._waiter is not None:
            self._waiter.errback(HandshakeFailed(self.termination))
        carried, wrapped = self._carried, self.wrapped
        if carried is not None:
            carried.lost()
        try:
            if wrapped is not None:
                why = self._bug or Failure(reasonOf(self.termination))  # type: ignore[no-untyped-call]
                self._tell(wrapped.connectionLost, why)
        finally:
            self._bug = self._bug if wrapped is None else None
            self.wrapped = self._carried = None
            del self.application  # It may know the application's protocol, which knows us.


class StreamFactory(ThingFactory):
    """
    What all sessions of one endpoint have in common.

    Whatever its settings say, data is taken as it comes, and any amount of it
    may wait to be sent, as in Twisted's own transports.
    """

    protocol = StreamProtocol

    def __init__(
        self, settings: ServerSettings | ClientSettings, authorizer: Any, **others: Any
    ) -> None:
        """
        :param settings: the server's settings or the client's.
        :param authorizer: whom to believe.
        :param others: as for :class:`~thing.session.factory.ThingFactory`.
        """
        roleOf(settings)
        settings = replace(settings, stream=True, maxBuffered=sys.maxsize)
        super().__init__(settings, authorizer, **others)


class ApplicationFactory(Factory):
    """
    Has an application's protocols carried in sessions; any stream transport takes it.

    It is what an endpoint gives to the endpoint below it, and what
    ``reactor.connectTCP`` and ``reactor.listenTCP`` may be given, too.
    """

    noisy = False

    def __init__(self, sessions: StreamFactory, application: Any) -> None:
        """
        :param sessions: builds the sessions.
        :param application: the application's factory, an ``IProtocolFactory``.
        """
        self.sessions = sessions
        self.application = application

    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> StreamProtocol | None:
        """
        Build the session of a new connection.

        :param addr: the peer's address.
        :return: the session, or None if not even a refusal can be afforded.
        """
        session = self.sessions.buildProtocol(addr)
        if session is not None:
            assert isinstance(session, StreamProtocol), "a stream factory builds no other"
            session.application = self.application
        return session

    def doStart(self) -> None:
        """Tell the application that it is in use."""
        self.sessions.doStart()
        try:
            self.application.doStart()
        except BaseException:
            self.sessions.doStop()
            raise

    def doStop(self) -> None:
        """Tell the application that it is in use no more."""
        try:
            self.application.doStop()
        finally:
            self.sessions.doStop()

    def logPrefix(self) -> str:
        """:return: the name of the application's factory, and that it is over Thing."""
        return f"{prefixOf(self.application)} (Thing)"

    # A client's factory is told of these by ``reactor.connectTCP``.

    def startedConnecting(self, connector: IConnector) -> None:
        """
        Tell the application that it is being connected.

        :param connector: connects it.
        """
        self.application.startedConnecting(connector)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """
        Tell the application that there is no stream.

        :param connector: did not connect it.
        :param reason: why not.
        """
        self.application.clientConnectionFailed(connector, reason)

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:
        """
        Tell the application that the stream is closed.

        :param connector: had connected it.
        :param reason: why the stream below closed.
        """
        self.application.clientConnectionLost(connector, reason)
