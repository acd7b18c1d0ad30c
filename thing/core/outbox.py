"""
What waits to be sent, in plaintext: urgent messages first, then data in order.

Specification, "Order of sending". Records are sealed when they leave here, so
a heartbeat overtakes queued data and a key update takes effect in order.
"""

from __future__ import annotations

from collections import deque

from thing.core.messages import FRAGMENT_LIMIT, MORE, MessageType
from thing.errors import ErrorCode, LocalProtocolError


class Outbox:
    """
    One side's queue.

    :ivar queued: how many octets of application data wait; an empty message counts as one.
    """

    __slots__ = (
        "_data", "_dataType", "_farewell", "_limit", "_offset", "_urgent", "_wholes", "queued",
    )  # fmt: skip

    def __init__(self, dataType: MessageType, limit: int) -> None:
        """
        :param dataType: CDT or SDT.
        :param limit: how many octets of application data may wait.
        """
        self._dataType = bytes((dataType,))
        self._limit = limit
        self._urgent: deque[bytes] = deque()
        self._data: deque[tuple[bytes, bytes]] = deque()
        self._wholes: dict[int, int] = {}
        self._offset = 0
        self._farewell: bytes | None = None
        self.queued = 0

    def urgent(self, kind: MessageType, body: bytes) -> None:
        """
        Queue a message that goes before all data.

        :param kind: its type.
        :param body: its body.
        """
        self._urgent.append(bytes((kind,)) + body)

    def isWaiting(self, kind: MessageType) -> bool:
        """
        Whether an urgent message of this type still waits.

        :param kind: the type.
        :return: whether it does.
        """
        return any(message[0] == kind for message in self._urgent)

    def data(self, message: bytes) -> None:
        """
        Queue an application message.

        :param message: the message.
        :raises LocalProtocolError: ``BUFFER_FULL`` if too much waits already.
        """
        cost = len(message) or 1  # Empty messages take room, too.
        if self.queued + cost > self._limit:
            raise self._full()
        self._data.append((b"", message))
        self.queued += cost

    def whole(self, kind: MessageType, body: bytes, limited: bool = True) -> None:
        """
        Queue a message that is not cut, in order with the data.

        :param kind: its type.
        :param body: its body; it counts as application data.
        :param limited: whether it may be refused; there must be another bound if not.
        :raises LocalProtocolError: ``BUFFER_FULL`` if too much waits already.
        """
        cost = len(body) or 1
        if limited and self.queued + cost > self._limit:
            raise self._full()
        self._data.append((bytes((kind,)), body))
        self._wholes[kind] = self.waiting(kind) + 1
        self.queued += cost

    def waiting(self, kind: MessageType) -> int:
        """
        Count the messages of a type that :meth:`whole` was given and that still wait.

        :param kind: the type.
        :return: how many there are.
        """
        return self._wholes.get(kind, 0)

    def _full(self) -> LocalProtocolError:
        return LocalProtocolError(
            ErrorCode.BUFFER_FULL, f"{self.queued} of {self._limit} octets wait"
        )

    def farewell(self, kind: MessageType) -> None:
        """
        Queue a message without a body behind all data.

        :param kind: CGB or SGB.
        """
        self._farewell = bytes((kind,))

    def clear(self) -> None:
        """Drop everything that waits."""
        self._urgent.clear()
        self._data.clear()
        self._wholes.clear()
        self._farewell = None
        self._offset = self.queued = 0

    @property
    def hasUrgent(self) -> bool:
        """Whether an urgent message waits."""
        return bool(self._urgent)

    @property
    def hasData(self) -> bool:
        """Whether data or the farewell waits."""
        return bool(self._data) or self._farewell is not None

    @property
    def atFarewell(self) -> bool:
        """Whether the farewell waits, and no data before it."""
        return self._farewell is not None and not self._data

    def takeUrgent(self) -> bytes:
        """:return: the next urgent message, type and body."""
        return self._urgent.popleft()

    def takeData(self) -> bytes:
        """:return: the next fragment of data, whole message, or the farewell, type and body."""
        if not self._data:
            farewell, self._farewell = self._farewell, None
            assert farewell is not None, "takeData needs hasData"
            return farewell
        whole, message = self._data[0]
        if whole:
            self._data.popleft()
            self._wholes[whole[0]] -= 1
            self.queued -= len(message) or 1
            return whole + message
        fragment = message[self._offset : self._offset + FRAGMENT_LIMIT]
        self._offset += len(fragment)
        self.queued -= len(fragment) or 1
        more = self._offset < len(message)
        if not more:
            self._data.popleft()
            self._offset = 0
        return self._dataType + (_MORE if more else _LAST) + fragment


_MORE = bytes((MORE,))
_LAST = bytes((0,))
