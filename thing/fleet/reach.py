"""
:class:`Reach`: one operator's way to a service of a thing, and the two streams that it joins.

Specification, "Reaching". Which reaches there are is in :mod:`thing.fleet.reaches`; how octets
pass, in :mod:`thing.session.relay`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from thing.errors import StopCode, StreamRefused
from thing.fleet.model import ReachRecord
from thing.fleet.sessions import LocalSession
from thing.session.protocol import ThingProtocol
from thing.session.reasons import SessionOver, StreamCut
from thing.session.relay import RelayEnd

APPLICATIONS = 0x100
"""From here on codes are the applications' own."""

_THINGS_WORDS = frozenset(
    {
        *(StopCode.DONE, StopCode.CANCELLED, StopCode.UNREACHABLE, StopCode.TIMED_OUT),
        *(StopCode.BUSY, StopCode.FAILED, StopCode.NOT_EXPOSED),
    }
)
"""What an operator is told as the thing says it."""


def fromThing(code: StopCode | int) -> StopCode | int:
    """
    Tell what an operator is told of a thing's word: what a server decides is not a thing's to say.

    :param code: why the thing refused, or stopped, a stream.
    :return: what the operator is told.
    """
    if code in (StopCode.NOT_TAKEN, StopCode.NOT_PERMITTED):
        return StopCode.NOT_EXPOSED
    return code if code in _THINGS_WORDS or code >= APPLICATIONS else StopCode.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an operator asks for."""

    thing: str
    """The thing's id."""
    service: str
    by: str
    """The operator's name, or its key's fingerprint."""
    key: str
    """The fingerprint of the operator's key."""
    address: str
    """Where the operator is."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    """16 hexadecimal digits, the same on all nodes."""

    def asData(self) -> dict[str, str]:
        """:return: what an event tells of it."""
        return {
            "reach": self.id,
            "service": self.service,
            "by": self.by,
            "key": self.key,
            "from": self.address,
        }


class Reach:
    """
    One reach, from the question to its end.

    :ivar asked: what is asked for, and by whom.
    :ivar asker: the session by which it is asked for: the operator's, or another node's.
    :ivar isPermitted: tells whether the operator may have it, as far as is known now.
    :ivar session: the thing's session; None if the thing is on another node.
    :ivar near: the end in the asker's session.
    :ivar far: the end in the thing's session, or on the way to the thing's node.
    :ivar since: when it began, time of day, seconds; None until it has.
    :ivar began: the same by the steady clock.
    :ivar reason: why it ended, or was refused; None until then.
    :ivar begun: called once with this, when octets may pass.
    :ivar over: called once with this, when none pass any more, if any ever could.
    :ivar gone: called once with this, when nothing is on its way to the operator any more.
    """

    def __init__(self, asked: Asked, asker: ThingProtocol, isPermitted: Callable[[], bool]) -> None:
        """
        :param asked: what is asked for, and by whom.
        :param asker: the session by which it is asked for.
        :param isPermitted: tells whether the operator may have it, as far as is known now.
        """
        self.asked = asked
        self.asker = asker
        self.isPermitted = isPermitted
        self.session: LocalSession | None = None
        self.near = NearEnd(self)
        self.far = FarEnd(self)
        self.since: float | None = None
        self.began = 0.0
        self.reason: StopCode | int | None = None
        self.begun: Callable[[Reach], object] = _tellNobody
        self.over: Callable[[Reach], object] = _tellNobody
        self.gone: Callable[[Reach], object] = _tellNobody

    @property
    def isTold(self) -> bool:
        """Whether it is open, and this is the node that tells of it: the thing's."""
        return self.since is not None and self.session is not None and self.reason is None

    @property
    def whyNot(self) -> str:
        """Why it ended, or was refused, for this node's log; the operator is told no more."""
        assert self.reason is not None, "it is over"
        return str(StreamRefused(self.reason))

    def record(self, node: str) -> ReachRecord:
        """
        Tell what is known of it.

        :param node: this node.
        :return: what is known; it has begun.
        """
        assert self.since is not None, "it has begun"
        asked = self.asked
        return ReachRecord(
            id=asked.id,
            thing=asked.thing,
            service=asked.service,
            by=asked.by,
            key=asked.key,
            address=asked.address,
            since=self.since,
            node=node,
            octetsUp=self.octetsUp,
            octetsDown=self.octetsDown,
        )

    @property
    def octetsUp(self) -> int:
        """How many octets were passed to the thing."""
        return self.near.passed

    @property
    def octetsDown(self) -> int:
        """How many octets were passed to the operator."""
        return self.far.passed

    def end(self, code: StopCode | int) -> None:
        """
        End it at once, on both sides.

        :param code: why; the operator is told.
        """
        self.near.part()
        self._over(code)
        self.near.drop(code)
        self.far.drop(StopCode.CANCELLED)

    def thingLeaves(self) -> None:
        """
        The thing's session ends: what the thing ended in order before is whole all the same.

        It goes on to the operator, and may be ended, when the thing has no part in it any more.
        """
        if self.far.lost:
            self._tell(StopCode.DONE)
        else:
            self.end(StopCode.WENT_AWAY)

    def lost(self, code: StopCode | int) -> None:
        """
        One of the streams is over.

        :param code: why; ``DONE`` if it ended in order: then the other is waited for.
        """
        if code != StopCode.DONE or (self.near.lost and self.far.lost):
            self._over(code)

    def _over(self, code: StopCode | int) -> None:
        self._tell(code)
        gone, self.gone = self.gone, _tellNobody
        gone(self)

    def _tell(self, code: StopCode | int) -> None:
        if self.reason is None:
            self.reason = code
            self.over(self)


def _tellNobody(_: Reach) -> None:
    """Nobody wants to know."""


class ReachEnd(RelayEnd):
    """
    One of the two ends of a reach, in a stream.

    :cvar goneCode: what the other side is told if this side's session ends.
    """

    goneCode: StopCode
    transport: Any

    def __init__(self, reach: Reach) -> None:
        """:param reach: whose end it is."""
        super().__init__()
        self._reach = reach

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Have the other end closed as this one is.

        :param reason: why the stream is over.
        """
        code = self.codeOf(reason.value)
        if code != StopCode.DONE:
            reason = Failure(StreamCut(code))  # type: ignore[no-untyped-call]
        super().connectionLost(reason)
        self._reach.lost(code)
        del self._reach  # It has this end, and is to be freed by counting references alone.

    def codeOf(self, error: BaseException | None) -> StopCode | int:
        """
        Tell what the other side is told of the end of this side's stream.

        A session's end, be it in order, says nothing of what was in its streams: they are cut.

        :param error: why it is over.
        :return: why; ``DONE`` if it ended in order.
        """
        if isinstance(error, SessionOver):
            return self.goneCode
        if isinstance(error, ConnectionDone):
            return StopCode.DONE
        return error.code if isinstance(error, StreamCut) else StopCode.FAILED

    def cut(self, reason: Failure) -> None:
        """
        Close out of order, as the other end was.

        :param reason: why it was, a :class:`~thing.session.reasons.StreamCut`.
        """
        assert isinstance(reason.value, StreamCut), "the other end says so"
        self.drop(reason.value.code)

    def drop(self, code: StopCode | int) -> None:
        """
        Close at once, if it is there.

        :param code: what the peer is told.
        """
        if self.transport is not None and not self.lost:
            self.transport.abortConnection(code)


class NearEnd(ReachEnd):
    """The operator's end, or that on the way to the operator's node."""

    goneCode = StopCode.CANCELLED

    def connectionMade(self) -> None:
        """Let octets pass, both ways."""
        self._reach.begun(self._reach)
        self.join(self._reach.far)


class FarEnd(ReachEnd):
    """The thing's end, or that on the way to the thing's node."""

    goneCode = StopCode.WENT_AWAY

    def connectionMade(self) -> None:
        """Hold back what comes until the operator's end is there."""
        self.transport.pauseProducing()

    def codeOf(self, error: BaseException | None) -> StopCode | int:
        """
        Tell what the operator is told of the end of the thing's stream.

        :param error: why it is over.
        :return: why; ``DONE`` if it ended in order.
        """
        code = super().codeOf(error)
        isOver = isinstance(error, SessionOver)
        if self._reach.session is None:
            return StopCode.NO_WAY if isOver else code
        return code if isOver else fromThing(code)
