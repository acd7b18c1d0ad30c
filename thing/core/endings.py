"""
How a session ended, in words: what each way to the end says about it.

A peer's final word is taken for what it is worth: numbers that are not known here stay numbers,
and no server sends a client away for good. When a session ends is of no concern here.
"""

from __future__ import annotations

from typing import TypeVar

from thing.core.messages import SFL, SHR, Reject
from thing.errors import EndReason, ErrorCode, RemoteProtocolError, ReplyStatus, StopCode
from thing.events import UNAUTHENTICATED, Cause, Termination

MAX_RETRY_AFTER = 3600.0
"""The longest absence that a client lets a server ask of it, seconds."""

_BROKEN_RULES = frozenset(range(0x40)) - {
    ErrorCode.CREDENTIAL_REQUIRED,
    ErrorCode.NOT_AUTHORIZED,
    ErrorCode.HANDSHAKE_TIMEOUT,
    ErrorCode.SERVER_BUSY,
    ErrorCode.IDENTITY_IN_USE,
    ErrorCode.UNDECIDED,
    ErrorCode.NOT_VALID_NOW,
}
"""The codes that blame the other side; all others tell of a program's decision."""

_MISUSE = range(0x60, 0x80)
"""The codes that mean something on this side alone."""

E = TypeVar("E", ErrorCode, EndReason, ReplyStatus, StopCode)


def known(enum: type[E], number: int) -> E | int:
    """
    Name a number that the peer sent, if this side has a name for it.

    :param enum: the registry.
    :param number: the number.
    :return: the registry's member, or the number.
    """
    try:
        return enum(number)
    except ValueError:
        return number


def heededRetryAfter(milliseconds: int) -> float:
    """
    Clamp a server's advice, so that no server can send a client away for good.

    :param milliseconds: what the server asks for.
    :return: what is told to the application, seconds.
    """
    return min(milliseconds / 1000, MAX_RETRY_AFTER)


def refused(error: RemoteProtocolError, established: bool) -> Termination:
    """
    This side ends it because the peer broke a rule.

    :param error: which.
    :param established: whether the session was up.
    :return: how it ended.
    """
    cause = Cause.PROTOCOL_ERROR if established else Cause.REJECTED
    return Termination(cause, error.code, detail=error.detail)


def rejectedByPeer(reject: Reject, established: bool, proved: bool) -> Termination:
    """
    The peer ended it, and said why.

    :param reject: what it said.
    :param established: whether the session was up.
    :param proved: whether the peer has proved who it is. Keys by themselves prove nobody: whoever
        is between has some, too.
    :return: how it ended.
    """
    if not established:
        cause = Cause.REJECTED
    else:
        cause = Cause.PROTOCOL_ERROR if reject.code in _BROKEN_RULES else Cause.ABORTED
    code = reject.code
    return Termination(
        cause,
        code if code in _MISUSE else known(ErrorCode, code),
        byPeer=True,
        detail="" if proved else UNAUTHENTICATED,
        # No client sends a server away.
        retryAfter=heededRetryAfter(reject.retryAfter if isinstance(reject, SHR) else 0),
    )


def flatLinedByPeer(flatLine: SFL) -> Termination:
    """
    The server ended it: no heartbeat came in time, or no goodbye.

    :param flatLine: what it said.
    :return: how it ended.
    """
    return Termination(
        Cause.FLAT_LINED,
        byPeer=True,
        reason=known(EndReason, flatLine.reason),
        retryAfter=heededRetryAfter(flatLine.retryAfter),
        lastHeartbeat=flatLine.lastHeartbeat,
    )
