"""
What waits in one stream to be sent: in its order, split into records, and never beyond its credit.

Replies, which spend none, go past what has to wait for it.

Specification, "Credit" and "Data". Which stream goes next is decided in
:mod:`thing.core.outbox`.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from thing.core.messages import END, FRAGMENT_LIMIT, MORE, MessageType
from thing.core.window import RECORD_COST
from thing.errors import ErrorCode, LocalProtocolError

STREAM_LENGTH = 4
"""How many octets a stream's number has."""

_HEADER = Struct(">BBI").pack
"""Makes what is in front of data: the type, the flags and the stream's number."""


def frozen(data: bytes) -> bytes:
    """
    Have octets that cannot change any more while they wait.

    :param data: anything like bytes.
    :return: the same octets; bytes themselves need no copy.
    :raises TypeError: unless it is bytes or like bytes.
    """
    return data if type(data) is bytes else bytes(memoryview(data))


LEAST_RATE = 100
"""With fewer octets a second than this gone, a close waits no longer for those that wait."""


def moves(before: int, now: int, seconds: float) -> bool:
    """
    Tell whether what waits to be sent goes fast enough for a close to wait on for it.

    Without a least rate a peer that takes an octet now and then would keep what was closed for
    ever.

    :param before: how many octets waited then.
    :param now: how many of those wait still.
    :param seconds: how much later that is.
    :return: whether something waited, and enough of it has gone.
    """
    return before > now and before - now >= min(before, LEAST_RATE * seconds)


class Lane:
    """
    What waits in one stream to be sent, and how much of it may be.

    :ivar number: the stream's.
    :ivar credit: how much the peer granted in all, octets.
    :ivar queued: how many octets of application data wait; an empty message counts as one.
    :ivar ending: whether END follows, or has.
    :ivar inTurn: whether the outbox has it in its turns.
    :ivar wanted: with less than this waiting, octets, somebody wants to know; None for nobody.
    """

    __slots__ = (
        "_endWaits", "_gone", "_limit", "_offset", "_queue", "_replies", "_spent",
        "credit", "ending", "inTurn", "number", "queued", "wanted",
    )  # fmt: skip

    def __init__(self, number: int, credit: int, limit: int) -> None:
        """
        :param number: the stream's number.
        :param credit: the peer's first, octets.
        :param limit: how many octets may wait.
        """
        self.number = number
        self.credit = credit
        self._limit = limit
        self._spent = 0
        # Of each message: its type if it is whole, its body, and what of that is content.
        self._queue: deque[tuple[bytes, bytes, int]] | None = None  # Big: None while empty.
        # Each reply, and how many of these have gone when its turn comes.
        self._replies: deque[tuple[int, bytes]] | None = None
        self._gone = 0
        self._offset = 0
        self._endWaits = False
        self.ending = False
        self.queued = 0
        self.inTurn = False
        self.wanted: int | None = None

    def data(self, message: bytes, limited: bool = True) -> None:
        """
        Queue octets, or a message.

        :param message: the octets; they are split as needed.
        :param limited: whether it may be refused; there must be another bound if not.
        :raises LocalProtocolError: ``BUFFER_FULL`` if too much waits already.
        :raises TypeError: unless it is bytes or like bytes.
        """
        message = frozen(message)
        self._append(b"", message, len(message), limited)

    def whole(self, kind: MessageType, body: bytes, content: int, limited: bool = True) -> None:
        """
        Queue a message that is not split, in order with the data.

        :param kind: its type.
        :param body: its body.
        :param content: how many octets of the body are spent for.
        :param limited: whether it may be refused; there must be another bound if not.
        :raises LocalProtocolError: ``BUFFER_FULL`` if too much waits already.
        """
        self._append(bytes((kind,)), body, content, limited)

    def reply(self, message: bytes) -> None:
        """
        Queue a reply, in order with the data as far as these have credit.

        :param message: its type and its body.
        """
        if self._replies is None:
            self._replies = deque()
        self._replies.append((self._gone + len(self._queue or ()), message))
        self.queued += len(message) - 1

    def _append(self, kind: bytes, message: bytes, content: int, limited: bool) -> None:
        cost = len(message) or 1  # Empty messages take room, too.
        if limited and self.queued + cost > self._limit:
            raise LocalProtocolError(
                ErrorCode.BUFFER_FULL, f"{self.queued} of {self._limit} octets wait"
            )
        if self._queue is None:
            self._queue = deque()
        self._queue.append((kind, message, content))
        self.queued += cost

    def end(self) -> None:
        """Let END follow what waits, once."""
        if not self.ending:
            self.ending = self._endWaits = True

    def clear(self) -> None:
        """Drop everything that waits."""
        self._queue = self._replies = None
        self._offset = self.queued = 0
        self._endWaits = False

    def __bool__(self) -> bool:
        """Whether anything waits, with credit or without."""
        return bool(self._queue or self._replies or self._endWaits)

    @property
    def held(self) -> int:
        """What waits, with :data:`~thing.core.window.RECORD_COST` for each message, octets."""
        return self.queued + RECORD_COST * (len(self._queue or ()) + len(self._replies or ()))

    @property
    def repliesWaiting(self) -> int:
        """How many replies wait."""
        return len(self._replies or ())

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` gives something: something waits, and has credit or needs none."""
        return self._replies is not None or self._hasCredit

    @property
    def _hasCredit(self) -> bool:
        """Whether what is next of all but replies may go."""
        room = self.credit - self._spent - RECORD_COST
        if room < 0:
            return False
        if not self._queue:
            return self._endWaits
        kind, message, content = self._queue[0]
        if kind:
            return content <= room
        return room > 0 or self._offset == len(message)

    def take(self, dataType: int, most: int) -> bytes:
        """
        Take what goes next; only while :attr:`ready`.

        :param dataType: CDT or SDT.
        :param most: how many octets of data a record has at most; a long one takes no more than a
            quarter of the credit, too.
        :return: the message, type and body.
        """
        queue, replies = self._queue, self._replies
        if replies and (replies[0][0] <= self._gone or not self._hasCredit):
            return self._takeReply(replies)
        if not queue:
            self._endWaits = False
            self._spent += RECORD_COST
            return _HEADER(dataType, END, self.number)
        kind, message, content = queue[0]
        if kind:
            self._pop(queue)
            self.queued -= len(message) or 1
            self._spent += RECORD_COST + content
            return kind + message
        start = self._offset
        room = self.credit - self._spent - RECORD_COST
        if most > FRAGMENT_LIMIT:  # The peer is to grant more before all is spent.
            most = max(FRAGMENT_LIMIT, min(most, room // 4))
        end = start + min(most, room)
        if end < len(message):
            self._offset, flags = end, MORE if self.number == 0 else 0
        else:
            end, self._offset, flags = len(message), 0, 0
            self._pop(queue)
            last = self._endWaits and not queue and not replies
            if last and (message or self.number):  # An empty message with END would be none.
                self._endWaits, flags = False, END
        self.queued -= end - start or 1
        self._spent += RECORD_COST + end - start
        header = _HEADER(dataType, flags, self.number)
        return b"".join((header, memoryview(message)[start:end]))

    def _takeReply(self, replies: deque[tuple[int, bytes]]) -> bytes:
        _, message = replies.popleft()
        if not replies:
            self._replies = None
        self.queued -= len(message) - 1
        return message

    def _pop(self, queue: deque[tuple[bytes, bytes, int]]) -> None:
        queue.popleft()
        self._gone += 1
        if not queue:
            self._queue = None
