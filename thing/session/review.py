"""
:class:`Review`: who is not authorized any more loses the session that is up, too.

Here it is asked again about everybody who is here, with what each has proved. When that is to be
done is decided elsewhere: by whoever replaces the authorizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator
from twisted.python.failure import Failure

from thing.errors import EndReason, LocalProtocolError, NotAuthorized
from thing.events import Termination
from thing.identity import Identity
from thing.logger import Logger
from thing.session.failures import Failures

IN_TURN = 64
"""How many questions are asked in a turn of the reactor, if they are answered at once."""

AT_ONCE = 16
"""How many questions an authorizer is asked at a time: it may look into a database."""

ANSWER_TIME = 10.0
"""How long an authorizer may take for one of them, seconds: others wait for their turn."""

LEAVE_GRACE = 2.0
"""How long a session that must end may take to say goodbye, seconds."""


class Reviewed(Protocol):
    """A session that is up: what is asked about it, and how it is asked to leave."""

    @property
    def sessionId(self) -> str:
        """The session id in hexadecimal."""

    @property
    def peer(self) -> Identity | None:
        """Who the peer is, by the name that it was admitted with."""

    @property
    def provedIdentity(self) -> Identity | None:
        """What the peer has proved."""

    @property
    def termination(self) -> Termination | None:
        """How the session ended; None while it has not."""

    def goAway(self, reason: EndReason, grace: float) -> None:
        """
        Ask the client to leave.

        :param reason: why.
        :param grace: how long it may take, seconds.
        :raises LocalProtocolError: if the session is not up, or is over.
        """


class Sessions(Protocol):
    """
    The sessions of a server, as a factory has them.

    :ivar reviews: how often they were asked about.
    :ivar failures: logs what goes wrong in the program's own code.
    """

    reviews: int
    clock: IReactorTime
    failures: Failures

    @property
    def everybody(self) -> Sequence[Reviewed]:
        """All sessions that are up now."""

    def judge(self, identity: Identity) -> Deferred[Identity]:
        """
        Decide whether to believe a peer.

        :param identity: what it has proved.
        :return: fires with the identity and its name, or fails.
        """

    def readmit(self, session: Any, identity: Identity) -> None:
        """
        Tell who attends to a session what its peer is admitted as now.

        :param session: which.
        :param identity: the peer, as the authorizer knows it now.
        """


class Review:
    """
    Asks again about every session that is up whether it would be admitted by what it proved.

    Who would be refused now is asked to leave (``REVOKED``), and flat-lined if it has not
    after two seconds; who is known by another name is asked to come back under that. An
    authorizer that fails, or cannot decide now or in time, ends nobody's session.
    """

    _log = Logger()

    def __init__(self, factory: Sessions) -> None:
        """:param factory: whose sessions to ask about, with its authorizer."""
        self._factory = factory

    def run(self) -> Deferred[int]:
        """
        Ask about all of them, a few at a time, while the reactor goes on.

        :return: fires with how many were asked to leave.
        """
        self._left = 0
        self._factory.reviews += 1
        clock = self._factory.clock
        cooperator = Cooperator(_inTurn, partial(clock.callLater, 0.0))
        work = self._questions(self._factory.everybody)
        tasks = [cooperator.coiterate(work) for _ in range(AT_ONCE)]

        def done(_: object) -> int:
            cooperator.stop()
            return self._left

        return DeferredList(tasks).addCallback(done)

    def _questions(self, sessions: Sequence[Reviewed]) -> Iterator[Deferred[None]]:
        for session in sessions:
            proved = session.provedIdentity
            if session.termination is None and proved is not None:
                asked = self._factory.judge(proved)
                yield asked.addTimeout(ANSWER_TIME, self._factory.clock).addCallbacks(
                    partial(self._admitted, session), partial(self._refused, session)
                )

    def _admitted(self, session: Reviewed, identity: Identity) -> None:
        before = session.peer
        if before is None:
            return
        if identity.name != before.name:
            self._end(session, EndReason.CLOSING, f"its name is {identity} now")
        elif identity.purpose is not before.purpose:
            self._end(session, EndReason.CLOSING, f"it is admitted as {identity.purpose.value} now")
        else:
            self._factory.readmit(session, identity)

    def _refused(self, session: Reviewed, failure: Failure) -> None:
        error: Any = failure.value
        if not isinstance(error, NotAuthorized):
            self._factory.failures.log("The authorizer failed; the session stays", failure)
        elif not error.isPassing:
            self._end(session, EndReason.REVOKED, error.detail)

    def _end(self, session: Reviewed, reason: EndReason, why: str) -> None:
        try:
            session.goAway(reason, LEAVE_GRACE)
        except LocalProtocolError:
            return  # It is over.
        self._left += 1
        self._log.info(
            "Session {sessionId} with {peer} must end: {why}",
            sessionId=session.sessionId,
            peer=str(session.peer),
            why=why,
        )


def _inTurn() -> Callable[[], bool]:
    """What ends a turn: by count, as the wall clock, by which a Cooperator does, may step back."""
    asked = count(1)
    return lambda: next(asked) >= IN_TURN
