"""
What waits to be sent, in plaintext: what is urgent, what is about streams, then data in turn.

Specification, "Order of sending". Records are sealed when they leave here, so a heartbeat
overtakes queued data and a key update takes effect in order. What one stream may send, and what
waits in it, is in :mod:`thing.core.lane`.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from thing.core.lane import STREAM_LENGTH, Lane
from thing.core.messages import CCR, FRAGMENT_LIMIT, MessageType

_ANSWERS = tuple(
    bytes((kind,)) for kind in (MessageType.CAC, MessageType.SAC, MessageType.CST, MessageType.SST)
)
"""The types of what needs not be said of a stream any more once the peer has stopped it."""

_REPLIES = frozenset({MessageType.CRP, MessageType.SRP})
"""What waits for no credit."""


class Outbox:
    """
    All that one side still has to send; it is true while something may go now.

    :ivar mainCredit: the peer's first for the main stream, octets.
    :ivar held: how many octets of data wait in all streams, with something for each message.
    :ivar stalls: how often a stream had to stop for more credit, with something left to send.
    :ivar longest: how many octets of data the peer takes in a record.
    :ivar turns: the streams that have data that may go now, in the order of their turns.
    :ivar drained: the numbers of streams of which little waits, as somebody wanted to know.
    """

    __slots__ = (
        "_creditType",
        "_credits",
        "_dataType",
        "_farewell",
        "_lanes",
        "_limit",
        "_main",
        "_notices",
        "_urgent",
        "drained",
        "held",
        "longest",
        "mainCredit",
        "stalls",
        "turns",
    )  # fmt: skip

    def __init__(self, dataType: MessageType, creditType: MessageType, limit: int) -> None:
        """
        :param dataType: CDT or SDT.
        :param creditType: CCR or SCR.
        :param limit: how many octets of application data may wait in one stream.
        """
        self._dataType = dataType
        self._creditType = creditType
        self._limit = limit
        # An idle session has none of these: they are big.
        self._urgent: list[bytes] | None = None  # Never more than a few.
        # Both in order, and cheap at their front and anywhere else: a peer can make them long.
        self._notices: OrderedDict[bytes, bytes] | None = None  # By type and stream: once each.
        self._credits: OrderedDict[int, int] | None = None
        self.turns: deque[Lane] | None = None
        self._lanes: dict[int, Lane] | None = None
        self._farewell: bytes | None = None
        self._main: Lane | None = None
        self.drained: list[int] | None = None
        self.mainCredit = self.stalls = self.held = 0
        self.longest = FRAGMENT_LIMIT

    # What goes before data.

    def urgent(self, message: bytes) -> None:
        """
        Queue a message that goes before everything else.

        :param message: its type and its body.
        """
        if self._urgent is None:
            self._urgent = [message]
        else:
            self._urgent.append(message)

    def isWaiting(self, kind: MessageType) -> bool:
        """
        Whether an urgent message of this type still waits.

        :param kind: the type.
        :return: whether it does.
        """
        if not self._urgent:
            return False
        return any(message[0] == kind for message in self._urgent)

    def notice(self, message: bytes) -> None:
        """
        Queue a message about a stream, which goes before all data.

        :param message: its type and its body.
        """
        if self._notices is None:
            self._notices = OrderedDict()
        self._notices[message[: 1 + STREAM_LENGTH]] = message

    def grant(self, number: int, credit: int) -> None:
        """
        Let the peer know of its credit; only the latest for each stream waits.

        :param number: the stream's.
        :param credit: how much the peer may have spent in all, octets.
        """
        if self._credits is None:
            self._credits = OrderedDict()
        self._credits[number] = credit

    # Data.

    @property
    def main(self) -> Lane:
        """The main stream's lane."""
        if self._main is None:
            self._main = Lane(0, self.mainCredit, self._limit)
        return self._main

    @property
    def queued(self) -> int:
        """How many octets of application data wait in the main stream."""
        return 0 if self._main is None else self._main.queued

    @property
    def mainEnding(self) -> bool:
        """Whether this side's END of the main stream follows, or has."""
        return self._main is not None and self._main.ending

    def lane(self, number: int, credit: int) -> Lane:
        """
        Make room for another stream.

        :param number: the stream's.
        :param credit: the peer's first, octets.
        :return: its lane.
        """
        if self._lanes is None:
            self._lanes = {}
        lane = self._lanes[number] = Lane(number, credit, self._limit)
        return lane

    def forget(self, lane: Lane) -> None:
        """
        Drop what waits in a stream that is over, its credit for the peer, too.

        :param lane: the stream's.
        """
        self.held -= lane.held
        lane.clear()
        self.release(lane)
        self.retract(lane.number)
        if self._credits is not None:
            self._credits.pop(lane.number, None)
        if lane.inTurn and self.turns is not None:
            self.turns.remove(lane)
            lane.inTurn = False

    def release(self, lane: Lane) -> None:
        """
        Need no more room for a stream that is over: nothing of it waits.

        :param lane: the stream's.
        """
        if self._lanes is not None:
            self._lanes.pop(lane.number, None)

    def retract(self, number: int) -> None:
        """
        Drop what waits and would accept or stop a stream: it is over.

        :param number: the stream's.
        """
        if self._notices:
            about = number.to_bytes(STREAM_LENGTH, "big")
            for kind in _ANSWERS:
                self._notices.pop(kind + about, None)

    def data(self, lane: Lane, message: bytes, limited: bool = True) -> None:
        """
        Queue an application's octets, or its message.

        :param lane: the stream's.
        :param message: the octets.
        :param limited: whether it may be refused; there must be another bound if not.
        :raises LocalProtocolError: ``BUFFER_FULL`` if too much waits already.
        """
        before = lane.held
        lane.data(message, limited)
        self.held += lane.held - before
        self.wake(lane)

    def whole(self, kind: MessageType, body: bytes, content: int, limited: bool = True) -> None:
        """
        Queue a message that is not split, in order with the main stream's data.

        :param kind: its type.
        :param body: its body; it counts as application data.
        :param content: how many octets of the body are spent for.
        :param limited: whether it may be refused; there must be another bound if not.
        :raises LocalProtocolError: ``BUFFER_FULL`` if too much waits already.
        """
        main = self.main
        before = main.held
        main.whole(kind, body, content, limited)
        self.held += main.held - before
        self.wake(main)

    def reply(self, message: bytes) -> None:
        """
        Queue a reply, in order with the main stream's data as far as these have credit.

        :param message: its type and its body.
        """
        main = self.main
        before = main.held
        main.reply(message)
        self.held += main.held - before
        self.wake(main)

    @property
    def repliesWaiting(self) -> int:
        """How many replies still wait."""
        return 0 if self._main is None else self._main.repliesWaiting

    def raiseCredit(self, lane: Lane, credit: int) -> None:
        """
        Let a stream spend more.

        :param lane: the stream's.
        :param credit: how much in all, octets; less than before changes nothing.
        """
        if credit > lane.credit:
            lane.credit = credit
            self.wake(lane)

    def wake(self, lane: Lane) -> None:
        """
        Give a stream its turns, if it has something to send and the credit for it.

        :param lane: the stream's; it was given data, credit, or its end.
        """
        if not lane.inTurn and lane.ready:
            if self.turns is None:
                self.turns = deque()
            self.turns.append(lane)
            lane.inTurn = True

    def farewell(self, kind: MessageType) -> None:
        """
        Queue a message without a body behind all data of all streams.

        :param kind: CGB or SGB.
        """
        self._farewell = bytes((kind,))

    def clear(self) -> None:
        """Drop everything that waits."""
        self._urgent = None
        self._notices = self._credits = self.turns = self._lanes = None
        self._farewell = None
        self.held = 0
        if self._main is not None:
            self._main.clear()
            self._main.inTurn = False

    # What goes next.

    def __bool__(self) -> bool:
        """Whether something may go now."""
        return bool(
            self._urgent
            or self.turns
            or self._notices
            or self._credits
            or (self._farewell and not self._isDataWaiting())
        )

    def _isDataWaiting(self) -> bool:
        return bool(self._main) or any((self._lanes or {}).values())

    def take(self, longest: int = FRAGMENT_LIMIT) -> bytes | None:
        """
        Take what goes next.

        :param longest: how many octets of data it has at most, if the peer takes as many.
        :return: the message, type and body; None if nothing may go now.
        """
        if self._urgent:
            message = self._urgent.pop(0)
            self._urgent = self._urgent or None
            return message
        if self._notices:
            return self._notices.popitem(last=False)[1]
        if self._credits:
            number, credit = self._credits.popitem(last=False)
            return CCR.WHOLE.pack(self._creditType, number, credit)
        if self.turns:
            return self._takeTurn(self.turns, min(longest, self.longest))
        if self._farewell and not self._isDataWaiting():
            farewell, self._farewell = self._farewell, None
            return farewell
        return None

    def _takeTurn(self, turns: deque[Lane], longest: int) -> bytes:
        lane = turns[0]
        before = lane.held
        message = lane.take(self._dataType, longest)
        self.held += lane.held - before
        if lane.ready:
            turns.rotate(-1)
        else:
            turns.popleft()
            lane.inTurn = False
            if lane and message[0] not in _REPLIES:  # Those go by what has stopped before.
                self.stalls += 1
        if lane.wanted is not None and lane.queued < lane.wanted:
            lane.wanted = None
            self.drained = [*(self.drained or ()), lane.number]
        return message
