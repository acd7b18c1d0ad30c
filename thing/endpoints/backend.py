"""
Servers that know nothing of Thing, and the connections that sessions and streams have to them.

Each session, or each stream of a label, gets a connection of its own. The two are joined in
:mod:`thing.session.relay`.
"""

from __future__ import annotations

import math
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, fail
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.core.rates import RateLimiter
from thing.endpoints.proxyheader import proxyHeader
from thing.errors import StopCode, StreamRefused, ThingError
from thing.logger import Logger
from thing.session.clock import callOff
from thing.session.interfaces import IStreamServer
from thing.session.protocol import ThingProtocol
from thing.session.relay import RelayEnd, factoryOf
from thing.session.transports import abort, closeWriteSide

CONNECT_TIMEOUT = 10.0
"""How long a backend may take to accept a connection, seconds."""

UNREACHABLE_LOGGED = 10
"""How many refused streams of a backend are logged in :data:`UNREACHABLE_WINDOW`, one by one."""

UNREACHABLE_WINDOW = 60.0
"""For how long they are counted before that begins anew, seconds."""

RESET_DELAY = 1.0
"""How long what came before a cut may take on its way to the backend, seconds: a reset drops it."""


class NoPlace(ThingError):
    """There are as many connections to a backend as there may be."""


class BackendEnd(RelayEnd):
    """
    A connection to a backend.

    :ivar closed: fires when it is closed, or comes to nothing.
    :ivar unwanted: whether nobody waits for it any more.
    """

    def __init__(self, backend: Backend, protocol: ThingProtocol) -> None:
        """
        :param backend: where to.
        :param protocol: in whose session.
        """
        super().__init__()
        self.closed: Deferred[None] = Deferred()
        self.unwanted = False
        self._backend = backend
        self._protocol = protocol
        self._clock: IReactorTime = protocol.factory.clock
        self._patience: float = protocol.factory.settings.closeTimeout
        self._isCut = False
        self._closing: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Say who the client is, if that is wanted; nothing is read before the ends are joined."""
        self._backend.connections.add(self)  # Again, if it was given up and comes all the same.
        if self.unwanted:
            self.transport.loseConnection()
            return
        self.transport.pauseProducing()
        if self._backend.proxyProtocol:
            self.transport.write(proxyHeader(self._protocol))

    def readConnectionLost(self) -> None:
        """Nothing more comes from the backend."""
        if self._isCut:
            abort(self.transport)  # To close in order would tell it that nothing is missing.
        else:
            super().readConnectionLost()

    def finish(self) -> None:
        """
        Say that no more comes, after all that was written, and let the backend close.

        To close at once with octets of the backend unread would reset the connection, and the
        backend could lose what it was sent last.
        """
        self.resumeProducing()  # Else its end would not be seen.
        if self.ended:
            self.transport.loseConnection()
        else:
            closeWriteSide(self.transport)
        self._closeWithin(self._patience)

    def cut(self, reason: Failure) -> None:
        """
        Reset the connection, when what came before has had its time to arrive.

        :param reason: why.
        """
        self._isCut = True
        self._closeWithin(RESET_DELAY)

    def _closeWithin(self, seconds: float) -> None:
        if self._closing is None and not self.lost:
            self._closing = self._clock.callLater(seconds, abort, self.transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Have the client's end closed as this one is.

        :param reason: why the connection is closed.
        """
        callOff(self._closing)
        super().connectionLost(reason)
        self.forget()

    def forget(self) -> None:
        """Count no more: the connection is closed, or comes to nothing."""
        self._backend.connections.discard(self)
        if not self.closed.called:
            self.closed.callback(None)


class StreamEnd(RelayEnd):
    """A client's end, which is joined with the backend's as soon as it is there."""

    def __init__(self, back: BackendEnd) -> None:
        """:param back: the backend's end, which is there already."""
        super().__init__()
        self._back = back

    def connectionMade(self) -> None:
        """Let octets pass."""
        self.join(self._back)


@implementer(IStreamServer)
class Backend(Service):
    """
    A server, and all connections to it; as a service it stops when they are closed.

    :ivar endpoint: where it is.
    :ivar proxyProtocol: whether each connection begins with a PROXY header.
    :ivar most: how many connections there may be at once, for all sessions together.
    :ivar connections: those that are open, and those that are being made.
    """

    _log = Logger()

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        proxyProtocol: bool = False,
        most: float = math.inf,
    ) -> None:
        """
        :param endpoint: where it is.
        :param proxyProtocol: whether each connection begins with a PROXY header, version 2.
        :param most: how many connections there may be at once: each is a file of the process's,
            and a session may open many streams.
        """
        self.proxyProtocol = proxyProtocol
        self.most = most
        self.connections: set[BackendEnd] = set()
        self.endpoint = endpoint
        self._unreachable = RateLimiter(UNREACHABLE_LOGGED, UNREACHABLE_WINDOW)

    def connect(self, protocol: ThingProtocol) -> Deferred[BackendEnd]:
        """
        Connect.

        :param protocol: in whose session.
        :return: fires with the connection, from which nothing is read yet; fails if there is
            none within :data:`CONNECT_TIMEOUT`, and with :class:`NoPlace` if there are
            :attr:`most` already. It may be cancelled.
        """
        if len(self.connections) >= self.most:
            return fail(NoPlace(f"there are {self.most} connections to it, and may be no more"))
        end = BackendEnd(self, protocol)
        self.connections.add(end)

        def failed(failure: Failure) -> Failure:
            end.unwanted = True
            if end.transport is None:
                end.forget()
            return failure

        connecting: Deferred[Any] = self.endpoint.connect(factoryOf(end))
        connecting.addTimeout(CONNECT_TIMEOUT, protocol.factory.clock)
        return connecting.addErrback(failed)

    def streamRequested(self, protocol: ThingProtocol, label: str) -> Deferred[IProtocolFactory]:
        """
        Answer for a stream that a client opens: it is accepted if the backend is there.

        :param protocol: in whose session.
        :param label: the stream's.
        :return: fires with what builds the client's end; fails with
            :class:`~thing.errors.StreamRefused` and ``UNREACHABLE`` or ``BUSY``. It may be
            cancelled.
        """
        connecting = self.connect(protocol)
        answer: Deferred[IProtocolFactory] = Deferred(lambda _: connecting.cancel())

        def connected(back: BackendEnd) -> None:
            front = StreamEnd(back)
            answer.callback(factoryOf(front))
            if front.transport is None:  # The client gave it up in this very moment.
                back.finish()

        def failed(failure: Failure) -> None:
            if not isinstance(failure.value, CancelledError):
                self._logUnreachable(protocol, label, failure)
            busy = isinstance(failure.value, NoPlace)
            answer.errback(StreamRefused(StopCode.BUSY if busy else StopCode.UNREACHABLE))

        connecting.addCallbacks(connected, failed)
        return answer

    def _logUnreachable(self, protocol: ThingProtocol, label: str, failure: Failure) -> None:
        """Log why a stream is refused, unless it is one too many: peers open them as they like."""
        now = protocol.factory.clock.seconds()
        held = self._unreachable.takeHeld(now)
        if held:
            self._log.warn(
                "Streams could not be joined with a backend {count} more times", count=held
            )
        if self._unreachable.passes(now):
            self._log.warn(
                "The backend of a stream {label!r} of session {sessionId} cannot be reached:"
                " {reason}",
                label=label,
                sessionId=protocol.sessionId,
                reason=failure.getErrorMessage(),
            )

    def abort(self) -> None:
        """Cut all connections now; one that is only being made is closed when it is there."""
        for end in list(self.connections):
            end.unwanted = True
            if end.transport is not None:
                abort(end.transport)

    def doStart(self) -> None:
        """Do nothing: who opens a stream has it connect."""

    def doStop(self) -> None:
        """Do nothing: the connections end with their sessions."""

    def stopService(self) -> Deferred[Any]:
        """:return: fires when all connections are closed, which their sessions' ends bring."""
        super().stopService()  # type: ignore[no-untyped-call]
        return DeferredList([end.closed for end in self.connections])
