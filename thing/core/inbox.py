"""
What the peer sent in one stream and this side has not dealt with yet, the mirror of the outbox.

All that stands in a stream's order waits here and leaves here in that order, whether it is
dealt with at once, held back, or left over when the session ends. Fragments become messages here;
what may be sent when, and what it means, is of no concern here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from thing.core.messages import END, MORE, MessageType
from thing.core.window import RECORD_COST
from thing.errors import ErrorCode, RemoteProtocolError

CONTENT_AT: dict[int, int] = {
    MessageType.CDT: 6,
    MessageType.SDT: 6,
    MessageType.CRQ: 5,
    MessageType.SRQ: 5,
    MessageType.CLW: 1,
}
"""Where the octets that are spent for begin in a message that stands in a stream's order."""

DATA_AT = CONTENT_AT[MessageType.CDT]
"""Where the octets of a CDT or SDT begin."""


def costOf(message: bytes) -> int:
    """
    Tell what a record spends (specification, "Credit").

    :param message: its type and its body.
    :return: octets; none for what does not stand in a stream's order.
    """
    at = CONTENT_AT.get(message[0])
    return 0 if at is None else RECORD_COST + len(message) - at


class Tally:
    """
    Counts what waits in all inboxes of one Connection.

    :ivar octets: how much, with :data:`~thing.core.window.RECORD_COST` for each record.
    """

    __slots__ = ("octets",)

    def __init__(self) -> None:
        """Start with nothing."""
        self.octets = 0


class Inbox:
    """
    One direction's data, what stands among them, and the farewell behind them.

    :ivar holding: whether everything that is here stays here for now.
    :ivar held: how many octets wait, and :data:`~thing.core.window.RECORD_COST` for each record.
    :ivar closed: whether the peer's END is here, or has been.
    :ivar ended: whether it has left.
    :ivar parting: whether the farewell is here, or has been.
    :ivar consumed: what was spent for all that has left since this was set to zero.
    :ivar messages: how many application messages have left it to their last octet.
    """

    __slots__ = (
        "_begun", "_farewell", "_insideMessage", "_maxMessage", "_over", "_tally", "_waiting",
        "closed", "consumed", "ended", "held", "holding", "messages", "parting",
    )  # fmt: skip

    def __init__(self, farewell: MessageType, maxMessage: int | None, tally: Tally) -> None:
        """
        :param farewell: what nothing counts behind any more: CGB, SGB, CST or SST.
        :param maxMessage: the longest application message that is taken, octets; None where data
            leave as octets that came together, not message by message.
        :param tally: counts what waits here, and of a message that is not whole, too.
        """
        self._tally = tally
        self._farewell = farewell
        self._maxMessage = maxMessage
        self._waiting: deque[bytes] | None = None  # Big: None while empty.
        self._begun: bytearray | None = None
        self._insideMessage = False
        self._over = False
        self.holding = self.closed = self.ended = self.parting = False
        self.held = self.consumed = 0
        self.messages = 0

    def put(self, message: bytes) -> None:
        """
        Let a message wait behind those that came before it.

        :param message: its type and its body; of data, with flags that are legal.
        """
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(message)
        self._hold(RECORD_COST + len(message))
        if message[0] in DATA:
            if message[1] & END:
                self.closed = True
        elif message[0] == self._farewell:
            self.parting = True

    def drop(self, message: bytes) -> None:
        """
        Let data go that nobody takes any more; their END counts, and what they spent.

        :param message: its type and its body, of data.
        """
        self.closed |= bool(message[1] & END)
        self.consumed += costOf(message)

    @property
    def next(self) -> MessageType | None:
        """The type of what leaves next; None if nothing may leave now."""
        if self.holding or self._waiting is None:
            return None
        return TYPES[self._waiting[0][0]]

    def take(self) -> bytes | None:
        """
        Take what :attr:`next` told of.

        :return: of data, a whole message, or the octets that have come together, or None if there
            is neither yet; of anything else, its type and its body.
        :raises RemoteProtocolError: ``MALFORMED_MESSAGE`` or ``MESSAGE_TOO_LONG`` if it cannot
            stand where it does.
        """
        return self.accept(self._pop())

    def accept(self, message: bytes) -> bytes | None:
        """
        Take a message that need not wait: nothing is in front of it, and nothing is held.

        :param message: its type and its body; of data, with flags that are legal.
        :return: as :meth:`take`.
        :raises RemoteProtocolError: as :meth:`take`.
        """
        kind = message[0]
        if kind in DATA:
            if self._maxMessage is None:
                return self._joined(message)
            return self._assembled(message, self._maxMessage)
        self.consumed += costOf(message)
        if self._insideMessage:
            raise _inside(message)
        if kind == self._farewell:
            self.parting = self._over = True
        return message

    def rest(self) -> Iterator[tuple[MessageType, bytes]]:
        """
        Take all that is whole, in order and before the farewell: the session is over.

        :return: the type of each, and what :meth:`take` gives.
        :raises RemoteProtocolError: as :meth:`take`; what follows is not worth telling.
        """
        self.holding = False
        while not self._over and (kind := self.next) is not None and kind is not self._farewell:
            content = self.take()
            if content is not None:
                yield kind, content

    def clear(self) -> None:
        """Forget all that waits; it counts as consumed."""
        for message in self._waiting or ():
            self.consumed += costOf(message)
        self._tally.octets -= self.held + len(self._begun or b"")
        self._waiting = self._begun = None
        self.held = 0

    def _pop(self) -> bytes:
        waiting = self._waiting
        assert waiting, "something is next"
        message = waiting.popleft()
        if not waiting:
            self._waiting = None
        self._hold(-RECORD_COST - len(message))
        return message

    def _hold(self, octets: int) -> None:
        """So much more waits, or less."""
        self.held += octets
        self._tally.octets += octets

    def _begin(self, fragment: bytes) -> None:
        """Note what a CDT or SDT says beside its octets."""
        flags = fragment[1]
        self.consumed += RECORD_COST + len(fragment) - DATA_AT
        self._insideMessage = flags == MORE
        if flags == END:
            self.closed = self.ended = True

    def _joined(self, fragment: bytes) -> bytes | None:
        """Join what came together: the fewer calls the application gets, the better."""
        pieces: list[memoryview] = []
        while True:
            self._begin(fragment)
            self.messages += not self._insideMessage
            pieces.append(memoryview(fragment)[DATA_AT:])
            if self._waiting is None or self._waiting[0][0] not in DATA:
                return b"".join(pieces) or None
            fragment = self._pop()

    def _assembled(self, fragment: bytes, most: int) -> bytes | None:
        inside, begun = self._insideMessage, self._begun
        before, content = len(begun or b""), len(fragment) - DATA_AT
        self._begin(fragment)
        if before + content > most:
            raise RemoteProtocolError(ErrorCode.MESSAGE_TOO_LONG, f"limit {most} octets")
        if begun is not None:
            begun += memoryview(fragment)[DATA_AT:]
        elif self._insideMessage:
            self._begun = bytearray(memoryview(fragment)[DATA_AT:])
        if self._insideMessage:
            self._tally.octets += content
            return None
        if self.ended and not inside and not content:
            return None  # Nothing but the end was said.
        self._tally.octets -= before
        self._begun = None
        self.messages += 1
        return fragment[DATA_AT:] if begun is None else bytes(begun)


def streamOf(message: bytes) -> int:
    """
    Tell in which stream data stand, if their flags mean something (specification, "Data").

    :param message: a CDT or SDT, its type and its body.
    :return: the stream's number.
    :raises RemoteProtocolError: ``MALFORMED_MESSAGE``.
    """
    if len(message) < DATA_AT:
        raise RemoteProtocolError(ErrorCode.MALFORMED_MESSAGE, "the message ends too early")
    flags, number = message[1], int.from_bytes(message[2:DATA_AT], "big")
    if flags not in _FLAGS or (flags == MORE and (number or len(message) == DATA_AT)):
        raise RemoteProtocolError(ErrorCode.MALFORMED_MESSAGE, "data flags")
    return number


def _inside(message: bytes) -> RemoteProtocolError:
    name = TYPES[message[0]].name
    return RemoteProtocolError(ErrorCode.MALFORMED_MESSAGE, f"{name} inside a message")


TYPES = {int(kind): kind for kind in MessageType}
"""The type that an octet stands for."""

DATA = frozenset({int(MessageType.CDT), int(MessageType.SDT)})
"""The types of data."""

_FLAGS = frozenset({0, MORE, END})
