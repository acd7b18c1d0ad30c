"""
Sessions in front of a server that knows nothing of Thing.

Each session gets a connection of its own to the backend, and octets go both ways in order, as
fast as the slower side takes them. A close, or a half of it, arrives at the other side after all
octets that came before it; a session that was cut, or a connection that was, as a cut.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from thing.core.settings import ServerSettings
from thing.endpoints.backend import Backend, BackendEnd, NoPlace
from thing.endpoints.stream import StreamFactory, StreamProtocol
from thing.errors import ErrorCode
from thing.logger import Logger
from thing.session.relay import RelayEnd, factoryOf


class MainEnd(RelayEnd):
    """The client's end: the main stream of its session."""

    def __init__(self, session: ForwardProtocol) -> None:
        """:param session: whose main stream it is."""
        super().__init__()
        self._session = session

    def cut(self, reason: Failure) -> None:
        """
        End the session out of order: the connection to the backend was cut.

        :param reason: why it was.
        """
        self._session.giveUp("is lost", reason)


class ForwardProtocol(StreamProtocol):
    """One session, whose main stream is joined with a connection to the backend."""

    factory: ForwardFactory
    _log = Logger()
    _back: BackendEnd | None = None
    _connecting: Deferred[Any] | None = None

    def __init__(self) -> None:
        self._front = MainEnd(self)
        self.application = factoryOf(self._front)

    def handshakeCompleted(self) -> None:
        """Hold back what the client sends until the backend is there."""
        super().handshakeCompleted()
        self._front.pauseProducing()
        self._connecting = self.factory.backend.connect(self)
        self._connecting.addCallbacks(self._connected, self._unreachable)

    def _connected(self, back: BackendEnd) -> None:
        self._connecting, self._back = None, back
        if self.termination is None:
            self._front.join(back)
        else:
            back.finish()  # Nothing was sent there yet.

    def _unreachable(self, failure: Failure) -> None:
        self._connecting = None
        if self.termination is None:
            busy = isinstance(failure.value, NoPlace)
            code = ErrorCode.SERVER_BUSY if busy else ErrorCode.INTERNAL_ERROR
            self.giveUp("cannot be reached", failure, code)

    def giveUp(
        self, what: str, failure: Failure, code: ErrorCode = ErrorCode.INTERNAL_ERROR
    ) -> None:
        """
        End the session out of order, since octets may be missing.

        :param what: what is the matter with the backend.
        :param failure: why.
        :param code: what the client is told.
        """
        reason = failure.getErrorMessage()
        self._log.warn(
            "The backend of session {sessionId} {what}: {reason}",
            sessionId=self.sessionId,
            what=what,
            reason=reason,
        )
        self.reject(
            code,
            f"the backend {what}: {reason}",
            self.factory.limits.retryAfter,
        )

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Have the connection to the backend closed as the session was.

        :param reason: why the stream below closed.
        """
        super().connectionLost(reason)
        if self._connecting is not None:
            self._connecting.cancel()
        front, back = self._front, self._back
        self._back = None
        del self._front  # It knows us.
        if front.transport is None:  # There was no session, or it is not the backend's.
            return
        self._log.info(
            "Session {sessionId}: {received} octets to the backend, {sent} from it,"
            " {discarded} discarded",
            sessionId=self.sessionId,
            received=front.passed,
            sent=0 if back is None else back.passed,
            discarded=front.discarded + (0 if back is None else back.discarded),
        )


class ForwardFactory(StreamFactory):
    """
    Builds a :class:`ForwardProtocol` for each session.

    :ivar backend: where the octets go.
    """

    protocol = ForwardProtocol

    def __init__(
        self, settings: ServerSettings, authorizer: Any, backend: Backend, **others: Any
    ) -> None:
        """
        :param settings: the server's settings; ``stream`` is set whatever they say.
        :param authorizer: whom to believe.
        :param backend: where the octets go.
        :param others: as for :class:`~thing.session.factory.ThingFactory`.
        """
        super().__init__(settings, authorizer, **others)
        self.backend = backend
