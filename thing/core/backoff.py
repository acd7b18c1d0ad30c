"""
When a client comes back.

After a server's restart all its clients come back. If chance spreads them over
a time that grows with each failure (*full jitter*), the server sees a stream of
handshakes that it can take, and no herd.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from thing.arguments import checkCallable, checkNumber
from thing.core.chance import chance
from thing.errors import EndReason, ErrorCode
from thing.events import Cause, Termination

BASE = 10.0
"""The longest pause after the first failure, seconds: so thousands are spread from the start on."""

CAP = 30.0
"""The longest pause after any number of failures, seconds."""

SELDOM = 300.0
"""The least pause after a refusal that time alone will hardly change, seconds."""


class Pace(Enum):
    """How soon to try again; the value says it in words."""

    SOON = "time can mend it: as after any failure"
    SELDOM = "somebody must act"


AFTER_REFUSAL: dict[int | None, Pace] = {
    **dict.fromkeys(
        (
            ErrorCode.NOT_THING,
            ErrorCode.VERSION_UNSUPPORTED,
            ErrorCode.NO_COMMON_GROUP,
            ErrorCode.NO_COMMON_AEAD,
            ErrorCode.NO_COMMON_CREDENTIAL,
            ErrorCode.BAD_CREDENTIAL,
            ErrorCode.CREDENTIAL_REQUIRED,
            # The key is not known here, is another one, or is revoked.
            ErrorCode.NOT_AUTHORIZED,
            ErrorCode.TTL_OUT_OF_BOUNDS,
            ErrorCode.LIMITS_OUT_OF_BOUNDS,
        ),
        Pace.SELDOM,
    ),
    **dict.fromkeys(
        (
            # A server that is in trouble, or slow, or full.
            ErrorCode.HANDSHAKE_TIMEOUT,
            ErrorCode.SERVER_BUSY,
            ErrorCode.RETRY_REFUSED,
            ErrorCode.PUZZLE_UNSOLVED,
            # The session before lapses within its TTL.
            ErrorCode.IDENTITY_IN_USE,
            # A clock may be wrong, a list late, a disk full.
            ErrorCode.UNDECIDED,
            ErrorCode.NOT_VALID_NOW,
            # Somebody on the path, or a connection that garbles.
            ErrorCode.BAD_SHARE,
            ErrorCode.BAD_SIGNATURE,
            ErrorCode.BAD_MAC,
            # Every broken rule of records and messages, and a program that failed.
            *(code for code in ErrorCode if code >= ErrorCode.RECORD_EMPTY),
        ),
        Pace.SOON,
    ),
}
"""When to try again after a refused handshake, by its code, if it has a name here."""

_LASTING = range(0x80, 0xA0)
"""The codes for which somebody must act, though none has a name yet (specification)."""

AFTER_SESSION: dict[int | None, Pace] = {
    EndReason.UNSPECIFIED: Pace.SOON,
    EndReason.HEARTBEAT_MISSED: Pace.SOON,
    EndReason.SHUTDOWN: Pace.SOON,
    EndReason.CLOSING: Pace.SOON,
    # Two things with one key would else throw each other out as fast as they can.
    EndReason.REPLACED: Pace.SELDOM,
    # The next handshake tells whether it still is; a new certificate may be there.
    EndReason.REVOKED: Pace.SOON,
    EndReason.EXPIRED: Pace.SOON,
    EndReason.OVERLOADED: Pace.SOON,
}
"""When to try again after a session, by the server's reason; soon if there is none."""

_DECIDED_HERE = frozenset({ErrorCode.CREDENTIAL_REQUIRED, ErrorCode.NOT_AUTHORIZED})
"""Those that this side says only of a server that has proved its key."""


def paceAfter(termination: Termination | None) -> Pace:
    """
    Tell how soon to try again.

    :param termination: how the session, or a try for one, ended; None if there was no stream.
    :return: the pace; whatever no table has is tried soon.
    """
    if termination is None:
        return Pace.SOON
    if termination.cause is Cause.REJECTED:
        unnamed = Pace.SELDOM if termination.code in _LASTING else Pace.SOON
        return AFTER_REFUSAL.get(termination.code, unnamed)
    return AFTER_SESSION.get(termination.reason, Pace.SOON)


def isHopeless(termination: Termination | None) -> bool:
    """
    Tell whether to try again is in vain until an operator has acted.

    It is after a refusal that says so, if it is well founded: the server that
    refuses has proved itself, or it has and is not believed here. What a
    stranger on the path could have written is no reason to give up for good.

    :param termination: how the last try ended; None if there was no stream.
    :return: whether it is.
    """
    if termination is None or termination.cause is not Cause.REJECTED:
        return False
    if paceAfter(termination) is not Pace.SELDOM:
        return False
    if termination.byPeer:
        return not termination.unauthenticated
    return termination.code in _DECIDED_HERE


@dataclass(slots=True, kw_only=True)
class Backoff:
    """
    How long one client stays away, from what happened to it so far.

    After the n-th failure in a row it is a random time from zero up to
    ``min(cap, base * 2 ** (n - 1))``. A session counts as a success, and ends
    the row, only when it was up for :attr:`stableAfter`: a server that fails
    again and again soon after the handshake is not asked faster for it.
    """

    base: float = BASE
    """The longest pause after the first failure, seconds."""

    cap: float = CAP
    """The longest pause after any number of failures, seconds."""

    seldom: float = SELDOM
    """
    The least pause after a refusal that time alone will hardly change, and the longest that
    is heeded of a server which has not proved itself, seconds.
    """

    stableAfter: float | None = None
    """How long a session must be up to be a success, seconds; None for two of its TTLs."""

    jitter: Callable[[], float] = chance
    """Gives random numbers from 0 up to 1."""

    failures: int = field(default=0, init=False)
    """How many failures there were in a row."""

    _provenAt: float = field(default=math.inf, init=False)

    def __post_init__(self) -> None:
        """
        :raises TypeError: for what is no duration.
        :raises BadArgument: for a duration out of bounds.
        """
        checkNumber("base", self.base)
        checkNumber("cap", self.cap)
        checkNumber("seldom", self.seldom)
        if self.stableAfter is not None:
            checkNumber("stableAfter", self.stableAfter)
        checkCallable("jitter", self.jitter)

    def reset(self) -> None:
        """Forget all failures."""
        self.failures = 0
        self._provenAt = math.inf

    def up(self, now: float, ttl: float | None = None) -> None:
        """
        Note that a session is up.

        :param now: the time, seconds.
        :param ttl: its TTL, seconds; if that is not known, :attr:`cap` stands for two of it.
        """
        stableAfter = self.stableAfter
        if stableAfter is None:
            stableAfter = self.cap if ttl is None else 2 * ttl
        self._provenAt = now + stableAfter

    def down(self, now: float, termination: Termination | None = None) -> float:
        """
        Note that the session, or a try for one, failed, and decide when to try again.

        What the server asks for is kept, and spread by as much again.

        :param now: the time, seconds.
        :param termination: how it ended; None if there was no stream.
        :return: how long to stay away from now on, seconds.
        """
        if now >= self._provenAt:
            self.failures = 0
        self._provenAt = math.inf
        reach = min(self.cap, self.base * 2.0 ** min(self.failures, 64))
        self.failures += 1
        least = self._least(termination)
        return least + self.jitter() * max(least, reach)

    def _least(self, termination: Termination | None) -> float:
        """How long to stay away at least, by what was said at the end."""
        if termination is None:
            return 0.0
        asked = termination.retryAfter or 0.0
        if termination.unauthenticated:
            asked = min(asked, self.seldom)
        if paceAfter(termination) is Pace.SELDOM:
            return max(asked, self.seldom)
        return asked
