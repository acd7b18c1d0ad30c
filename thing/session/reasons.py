"""
Why a protocol over Thing lost its connection.

Each is a kind of what Twisted's TCP would tell. If the session ended, it says in ``termination``
(:class:`~thing.events.Termination`) how: with ``retryAfter``, the server's reason, or what exactly
was seen.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted, ConnectionClosed, ConnectionDone
from twisted.internet.error import ConnectionLost as TwistedConnectionLost

from thing.errors import EndReason, ErrorCode, StopCode, StreamRefused
from thing.events import Cause, Termination


class SessionOver(ConnectionClosed):
    """
    The session is over.

    :ivar termination: how it ended.
    """

    def __init__(self, termination: Termination) -> None:
        """:param termination: how it ended."""
        super().__init__(str(termination))
        self.termination = termination


class Goodbye(SessionOver, ConnectionDone):
    """
    Both sides said goodbye: all that each wrote before the other asked to close has arrived.

    As over TCP, what is written after that is dropped.
    """


class Aborted(SessionOver, ConnectionAborted):
    """This side's application called ``abortConnection``."""


class SessionLost(SessionOver, TwistedConnectionLost):
    """The session ended out of order: what was sent last may not have arrived."""


class SentAway(SessionLost):
    """The server sent the client away, as in a drain: what was being written may be cut short."""


class FlatLined(SessionLost):
    """The server flat-lined the session: the client had been silent for a TTL, or did not leave."""


class Lapsed(SessionLost):
    """The server gave no sign of life within the TTL."""


class Truncated(SessionLost):
    """The stream ended without goodbye or flat line."""


class RuleBroken(SessionLost):
    """A rule of the protocol was broken, as it is by whoever tampers with the stream."""


class SessionAborted(SessionLost):
    """The peer's application, a failure of this side's, or a deadline ended the session."""


class StreamCut(TwistedConnectionLost):
    """
    One stream of a session was stopped, by the peer or by this side; the session goes on.

    :ivar code: why: a :class:`~thing.errors.StopCode`, or one of the application's.
    """

    def __init__(self, code: StopCode | int) -> None:
        """:param code: why."""
        super().__init__(str(StreamRefused(code)))
        self.code = code


_REASONS: dict[Cause, type[SessionOver]] = {
    Cause.GOODBYE: Goodbye,
    Cause.FLAT_LINED: FlatLined,
    Cause.LAPSED: Lapsed,
    Cause.TRUNCATED: Truncated,
    Cause.PROTOCOL_ERROR: RuleBroken,
    Cause.ABORTED: SessionAborted,
}


def reasonOf(termination: Termination) -> SessionOver:
    """
    Say as Twisted does why a connection is closed.

    :param termination: how a session that was up ended.
    :return: the exception for ``connectionLost``.
    """
    if termination.code is ErrorCode.ABORTED and not termination.byPeer:
        return Aborted(termination)
    if termination.clean and termination.reason not in (None, EndReason.CLOSING):
        return SentAway(termination)
    return _REASONS[termination.cause](termination)
