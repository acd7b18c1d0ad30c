"""
What waits to be sent, in plaintext: urgent messages first, then data in order.

Specification, "Order of sending". Records are sealed when they leave here, so
a heartbeat overtakes queued data and a key update takes effect in order.
"""

from __future__ import annotations

from collections import deque

from thing.core.messages import FRAGMENT_LIMIT, MORE, MessageType
from thing.errors import ErrorCode, LocalProtocolError


def frozen(data: bytes) -> bytes:
    """
    Have octets that cannot change any more while they wait.

    :param data: anything like bytes.
    :return: the same octets; bytes themselves need no copy.
    :raises TypeError: unless it is bytes or like bytes.
    """
    return data if type(data) is bytes else bytes(memoryview(data))


class Outbox:
    """
    One side's queue; it is true while anything waits.

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
        self._urgent: list[bytes] = []  # Never more than a few.
        self._data: deque[tuple[bytes, bytes]] | None = None  # Big, and idle sessions have none.
        self._wholes: dict[int, int] | None = None
        self._offset = 0
        self._farewell: bytes | None = None
        self.queued = 0

    def urgent(self, message: bytes) -> None:
        """
        Queue a message that goes before all data.

        :param message: its type and its body.
        """
        self._urgent.append(message)

    def isWaiting(self, kind: MessageType) -> bool:
        """
        Whether an urgent message of this type still waits.

        :param kind: the type.
        :return: whether it does.
        """
        return bool(self._urgent) and any(message[0] == kind for message in self._urgent)

    def data(self, message: bytes) -> None:
        """
        Queue an application message.

        :param message: the message.
        :raises LocalProtocolError: ``BUFFER_FULL`` if too much waits already.
        :raises TypeError: unless it is bytes or like bytes.
        """
        message = frozen(message)
        cost = len(message) or 1  # Empty messages take room, too.
        if self.queued + cost > self._limit:
            raise self._full()
        self._append(b"", message)
        self.queued += cost

    def _append(self, whole: bytes, message: bytes) -> None:
        if self._data is None:
            self._data = deque()
        self._data.append((whole, message))

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
        self._append(bytes((kind,)), body)
        if self._wholes is None:
            self._wholes = {}
        self._wholes[kind] = self.waiting(kind) + 1
        self.queued += cost

    def waiting(self, kind: MessageType) -> int:
        """
        Count the messages of a type that :meth:`whole` was given and that still wait.

        :param kind: the type.
        :return: how many there are.
        """
        return 0 if self._wholes is None else self._wholes.get(kind, 0)

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
        self._data = self._wholes = None
        self._farewell = None
        self._offset = self.queued = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._urgent or self._data or self._farewell)

    def take(self) -> bytes | None:
        """
        Take what goes next: something urgent, a fragment of data, a whole message, the farewell.

        :return: the message, type and body; None if nothing waits.
        """
        if self._urgent:
            return self._urgent.pop(0)
        if self._data:
            return self._takeData(self._data)
        farewell, self._farewell = self._farewell, None
        return farewell

    def _takeData(self, data: deque[tuple[bytes, bytes]]) -> bytes:
        whole, message = data[0]
        if whole:
            assert self._wholes is not None, "it was counted"
            data.popleft()
            self._wholes[whole[0]] -= 1
            self.queued -= len(message) or 1
            return whole + message
        start = self._offset
        end = start + FRAGMENT_LIMIT
        more = end < len(message)
        if more:
            self._offset = end
        else:
            end, self._offset = len(message), 0
            data.popleft()
        self.queued -= end - start or 1
        fragment = memoryview(message)[start:end]
        return b"".join((self._dataType, _MORE if more else _LAST, fragment))


_MORE = bytes((MORE,))
_LAST = bytes((0,))
