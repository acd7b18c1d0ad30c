"""
What the peer sent in order and this side has not dealt with yet, the mirror of the outbox.

All that stands in the order of the data waits here and leaves here in that order, whether it is
dealt with at once, held back, or left over when the session ends. Fragments become messages here;
what may be sent when, and what it means, is of no concern here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from thing.core.messages import MORE, MessageType
from thing.errors import ErrorCode, RemoteProtocolError

DATA_HEADER = 2
"""What comes before the application's octets in a CDT or SDT: the type and the flags."""

HELD_OVERHEAD = 128
"""What a waiting message costs besides its octets, so that tiny ones count fairly."""

_MORE, _LAST = bytes((MORE,)), b"\0"


class Inbox:
    """
    One direction's data, what stands among them, and the goodbye behind them.

    :ivar holding: whether everything that is here stays here for now.
    :ivar held: how many octets wait, and :data:`HELD_OVERHEAD` more for each message.
    :ivar messages: how many application messages have left it to their last octet.
    """

    __slots__ = (
        "_begun", "_dataType", "_farewell", "_insideMessage", "_maxMessage", "_over", "_stream",
        "_waiting", "held", "holding", "messages",
    )  # fmt: skip

    def __init__(
        self, dataType: MessageType, farewell: MessageType, maxMessage: int, stream: bool
    ) -> None:
        """
        :param dataType: CDT or SDT.
        :param farewell: CGB or SGB, behind which nothing counts any more.
        :param maxMessage: the longest application message that is taken, octets.
        :param stream: whether data leave as octets that came together, not message by message.
        """
        self._dataType = dataType
        self._farewell = farewell
        self._maxMessage = maxMessage
        self._stream = stream
        self._waiting: deque[tuple[MessageType, bytes]] | None = None  # Big: None while empty.
        self._begun: bytearray | None = None
        self._insideMessage = False
        self._over = False
        self.holding = False
        self.held = 0
        self.messages = 0

    def put(self, kind: MessageType, message: bytes) -> None:
        """
        Let a message wait behind those that came before it.

        :param kind: its type.
        :param message: its type and its body.
        """
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append((kind, message))
        self.held += len(message) + HELD_OVERHEAD

    @property
    def next(self) -> MessageType | None:
        """The type of what leaves next; None if nothing may leave now."""
        if self.holding or self._waiting is None:
            return None
        return self._waiting[0][0]

    def take(self) -> bytes | None:
        """
        Take what :attr:`next` told of.

        :return: of data, a whole message, or the octets that have come together, or None if there
            is neither yet; of anything else, its type and its body.
        :raises RemoteProtocolError: ``MALFORMED_MESSAGE`` or ``MESSAGE_TOO_LONG`` if it cannot
            stand where it does.
        """
        return self.accept(*self._pop())

    def accept(self, kind: MessageType, message: bytes) -> bytes | None:
        """
        Take a message that need not wait: nothing is in front of it, and nothing is held.

        :param kind: its type.
        :param message: its type and its body.
        :return: as :meth:`take`.
        :raises RemoteProtocolError: as :meth:`take`.
        """
        if kind is self._dataType:
            if not _isFragment(message):
                raise RemoteProtocolError(ErrorCode.MALFORMED_MESSAGE, "data flags")
            return self._joined(message) if self._stream else self._assembled(message)
        if self._insideMessage:
            raise RemoteProtocolError(ErrorCode.MALFORMED_MESSAGE, f"{kind.name} inside a message")
        self._over = kind is self._farewell
        return message

    def rest(self) -> Iterator[tuple[MessageType, bytes]]:
        """
        Take all that is whole, in order and before the goodbye: the session is over.

        :return: the type of each, and what :meth:`take` gives.
        :raises RemoteProtocolError: as :meth:`take`; what follows is not worth telling.
        """
        self.holding = False
        while not self._over and (kind := self.next) not in (None, self._farewell):
            content = self.take()
            if content is not None:
                yield kind, content

    def clear(self) -> None:
        """Forget all that waits."""
        self._waiting = self._begun = None
        self.held = 0

    def _pop(self) -> tuple[MessageType, bytes]:
        waiting = self._waiting
        assert waiting, "something is next"
        first = waiting.popleft()
        if not waiting:
            self._waiting = None
        self.held -= len(first[1]) + HELD_OVERHEAD
        return first

    def _joined(self, fragment: bytes) -> bytes | None:
        """Join what came together: the fewer calls the application gets, the better."""
        pieces = []
        while True:
            pieces.append(memoryview(fragment)[DATA_HEADER:])
            self._insideMessage = fragment[1] == MORE
            self.messages += not self._insideMessage
            if not self._goesOn():
                return b"".join(pieces) or None
            _, fragment = self._pop()

    def _goesOn(self) -> bool:
        if self._waiting is None:
            return False
        kind, message = self._waiting[0]
        return kind is self._dataType and _isFragment(message)

    def _assembled(self, fragment: bytes) -> bytes | None:
        begun, more = self._begun, fragment[1] == MORE
        if len(begun or b"") + len(fragment) - DATA_HEADER > self._maxMessage:
            raise RemoteProtocolError(
                ErrorCode.MESSAGE_TOO_LONG, f"limit {self._maxMessage} octets"
            )
        self._insideMessage = more
        if begun is not None:
            begun += memoryview(fragment)[DATA_HEADER:]
        elif more:
            self._begun = bytearray(memoryview(fragment)[DATA_HEADER:])
        if more:
            return None
        self._begun = None
        self.messages += 1
        return fragment[DATA_HEADER:] if begun is None else bytes(begun)


def _isFragment(message: bytes) -> bool:
    """Whether a CDT or SDT has flags that mean something; one that wants more must add some."""
    flags = message[1:DATA_HEADER]
    return flags == _LAST or (flags == _MORE and len(message) > DATA_HEADER)
