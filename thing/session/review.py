"""Keys are live: who is not authorized any more loses its session, too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.python.failure import Failure

from thing.errors import EndReason, ErrorCode, LocalProtocolError, NotAuthorized

if TYPE_CHECKING:
    from thing.identity import Identity
    from thing.session.factory import ThingFactory
    from thing.session.protocol import ThingProtocol

AT_ONCE = 16
"""How many questions an authorizer is asked at a time: it may look into a database."""

LEAVE_GRACE = 2.0
"""How long a session that must end may take to say goodbye, seconds."""


class Review:
    """
    Asks the authorizer of a server again about every session that is up.

    Whose key it refuses now is asked to leave (``REVOKED``), and flat-lined if it has not
    after two seconds; whom it knows by another name is asked to come back under that. An
    authorizer that fails, or is too busy to answer, ends nobody's session.
    """

    _log = Logger()

    def __init__(self, factory: ThingFactory) -> None:
        """:param factory: whose sessions to ask about."""
        self._factory = factory

    def run(self) -> Deferred[int]:
        """
        Ask about all of them, a few at a time, while the reactor goes on.

        :return: fires with how many were asked to leave.
        """
        self._left = 0
        self._factory.reviews += 1
        clock = self._factory.clock
        cooperator = Cooperator(scheduler=partial(clock.callLater, 0.0))
        work = self._questions(list(self._factory.sessions))
        tasks = [cooperator.coiterate(work) for _ in range(AT_ONCE)]

        def count(_: object) -> int:
            cooperator.stop()
            return self._left

        return DeferredList(tasks).addCallback(count)

    def _questions(self, sessions: list[ThingProtocol]) -> Iterator[Deferred[None]]:
        for protocol in sessions:
            if protocol.termination is None:
                asked = maybeDeferred(self._factory.authorizer.authorize, protocol.provedIdentity)
                yield asked.addCallbacks(
                    partial(self._admitted, protocol), partial(self._refused, protocol)
                )

    def _admitted(self, protocol: ThingProtocol, identity: Identity) -> None:
        before = protocol.peer
        if before is not None and identity.name != before.name:
            self._end(protocol, EndReason.CLOSING, f"its name is {identity} now")

    def _refused(self, protocol: ThingProtocol, failure: Failure) -> None:
        error: Any = failure.value
        if not isinstance(error, NotAuthorized):
            self._log.failure("The authorizer failed; the session stays", failure=failure)
        elif error.code is not ErrorCode.SERVER_BUSY:
            self._end(protocol, EndReason.REVOKED, error.detail)

    def _end(self, protocol: ThingProtocol, reason: EndReason, why: str) -> None:
        try:
            protocol.goAway(reason, LEAVE_GRACE)
        except LocalProtocolError:
            return  # It is leaving already.
        self._left += 1
        self._log.info(
            "Session {sessionId} with {peer} must end: {why}",
            sessionId=protocol.sessionId,
            peer=str(protocol.peer),
            why=why,
        )
