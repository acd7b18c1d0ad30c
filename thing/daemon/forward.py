"""
Sessions in front of a server that knows nothing of Thing.

Each session gets a connection of its own to the backend, and octets go both
ways in order, as fast as the slower side takes them. Either side's orderly
close arrives at the other after all octets that came before it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IPushProducer,
    ISSLTransport,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.core.settings import ServerSettings
from thing.errors import EndReason, ErrorCode, LocalProtocolError
from thing.events import Termination
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol
from thing.session.transports import setNoDelay

CONNECT_TIMEOUT = 10.0
"""How long the backend may take to accept a connection, seconds."""


MIN_BUFFERED = 131072
"""
The least that ``maxBuffered`` may be, octets: a session pauses its backend at
half of that, and as much again may come before it does.
"""


class ForwardProtocol(ThingProtocol):
    """
    One session, and its connection to the backend.

    As a producer it is paused by that connection: what the session received
    is held back while the backend takes no more.
    """

    factory: ForwardFactory
    _log = Logger()
    _connecting: Deferred[IProtocol] | None = None
    _link: Link | None = None
    _received = 0
    _sent = 0
    _discarded = 0

    def handshakeCompleted(self) -> None:
        """Hold back what the client sends until the backend is there."""
        self.pauseProducing()
        connecting = self.factory.backend.connect(_LinkFactory(self))
        self._connecting = connecting
        connecting.addTimeout(CONNECT_TIMEOUT, self.factory.clock)
        connecting.addErrback(self._unreachable)

    def linked(self, link: Link) -> None:
        """
        Let octets pass: the backend is there.

        :param link: the connection to it.
        """
        self._connecting = None
        if self.termination is not None:
            link.finish()
            return
        self._link = link
        self.registerProducer(link, True)
        self.resumeProducing()

    def _unreachable(self, failure: Failure) -> None:
        self._connecting = None
        if self.termination is None:
            self._giveUp("cannot be reached", failure)

    def messageReceived(self, message: bytes) -> None:
        """
        Pass on what the client sent.

        :param message: some octets.
        """
        if self._link is None:
            self._discarded += len(message)
            return
        self._received += len(message)
        self._link.write(message)

    def backendSent(self, data: bytes) -> None:
        """
        Pass on what the backend sent.

        :param data: some octets.
        """
        try:
            queued = self.sendMessage(data)  # Not after the client's goodbye.
        except LocalProtocolError as error:
            queued = False
            self.reject(ErrorCode.INTERNAL_ERROR, error.detail)
        if queued:
            self._sent += len(data)
        else:
            self._discarded += len(data)

    def unlinked(self, reason: Failure) -> None:
        """
        End the session, because its connection to the backend is closed.

        :param reason: why it is.
        """
        self._link = None
        if self.termination is not None:
            return
        self.unregisterProducer()
        if isinstance(reason.value, ConnectionDone):
            self.loseConnection()
        else:
            self._giveUp("is lost", reason)

    def stopProducing(self) -> None:
        """Wait for :meth:`unlinked`, which knows why the backend takes no more."""

    def _giveUp(self, what: str, failure: Failure) -> None:
        """End the session out of order, since octets may be missing."""
        reason = failure.getErrorMessage()
        self._log.warn(
            "The backend of session {sessionId} {what}: {reason}",
            sessionId=self.sessionId,
            what=what,
            reason=reason,
        )
        self.reject(
            ErrorCode.INTERNAL_ERROR,
            f"the backend {what}: {reason}",
            self.factory.limits.retryAfter,
        )

    def terminated(self, termination: Termination) -> None:
        """
        Close the connection to the backend, after all that is to be written.

        :param termination: how the session ended.
        """
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None:
            self._link.finish()
        self._log.info(
            "Session {sessionId}: {received} octets to the backend, {sent} from it,"
            " {discarded} discarded",
            sessionId=self.sessionId,
            received=self._received,
            sent=self._sent,
            discarded=self._discarded,
        )


@implementer(IPushProducer)
class Link(Protocol):
    """
    The connection to the backend; as a producer it is paused by its session.

    :ivar closed: fires when it is closed.
    """

    transport: Any
    _finishing = False
    _patience: IDelayedCall | None = None

    def __init__(self, session: ForwardProtocol) -> None:
        """:param session: whose octets it carries."""
        self._session = session
        self.closed: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Let the backend's slowness be felt by the client, and begin."""
        setNoDelay(self.transport)
        self._session.factory.links.add(self)
        self.transport.registerProducer(self._session, True)
        self._session.linked(self)

    def write(self, data: bytes) -> None:
        """
        Send octets to the backend.

        :param data: the octets.
        """
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """
        Pass on octets from the backend, while there is somebody to take them.

        :param data: the octets.
        """
        if not self._finishing:
            self._session.backendSent(data)

    def finish(self) -> None:
        """
        Say that no more comes, after all that was written, and let the backend close.

        To close at once with octets of the backend unread would reset the
        connection, and the backend could lose what it was sent last.
        """
        self._finishing = True
        transport = self.transport
        transport.unregisterProducer()
        transport.resumeProducing()
        if ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport):
            transport.loseWriteConnection()
        else:
            transport.loseConnection()
        factory = self._session.factory
        self._patience = factory.clock.callLater(
            factory.settings.closeTimeout, transport.abortConnection
        )

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell the session.

        :param reason: why the connection is closed.
        """
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        self._session.factory.links.discard(self)
        self._session.unlinked(reason)
        self.closed.callback(None)

    def pauseProducing(self) -> None:
        """Take no more from the backend (``IPushProducer``)."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Take more from the backend (``IPushProducer``)."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Wait for :meth:`finish`, which the end of the session brings (``IPushProducer``)."""


class ForwardFactory(ThingFactory):
    """
    Builds a :class:`ForwardProtocol` for each session.

    :ivar backend: where the octets go.
    :ivar links: the connections to the backend.
    """

    protocol = ForwardProtocol

    def __init__(
        self,
        settings: ServerSettings,
        authorizer: Any,
        backend: IStreamClientEndpoint,
        **others: Any,
    ) -> None:
        """
        :param settings: the server's settings; ``stream`` is set whatever they say.
        :param authorizer: whom to believe.
        :param backend: where the octets go.
        :param others: as for :class:`~thing.session.factory.ThingFactory`.
        """
        super().__init__(replace(settings, stream=True), authorizer, **others)
        self.backend = backend
        self.links: set[Link] = set()

    def drain(
        self,
        grace: float,
        reason: EndReason = EndReason.SHUTDOWN,
        retryAfter: float = 0.0,
    ) -> Deferred[None]:
        """
        Ask every client to leave, and wait until the backend has what the last one sent.

        :param grace: how long each client may take to say goodbye, seconds.
        :param reason: what they are told.
        :param retryAfter: how long they should stay away, seconds.
        :return: fires when the last connection to the backend is closed.
        """

        def close(_: None) -> Deferred[Any]:
            return DeferredList([link.closed for link in self.links])

        return super().drain(grace, reason, retryAfter).addCallback(close).addCallback(_nothing)


class _LinkFactory(Factory):
    """Builds the one link of a session."""

    noisy = False

    def __init__(self, session: ForwardProtocol) -> None:
        self.protocol = partial(Link, session)


def _nothing(_: object) -> None:
    """Forget a result."""
