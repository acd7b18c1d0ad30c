"""
Between messages and the octets on the wire: what comes is cut and opened, what goes is sealed.

Each direction has its own traffic key, in the clear before there is one. Whether a message is
legal, and what it means, is of no concern here.
"""

from __future__ import annotations

from thing.core.messages import MessageType, Role
from thing.core.records import TAG_LENGTH, RecordReader, TrafficKey, clearRecord
from thing.errors import ErrorCode, RemoteProtocolError

_UPDATES = {Role.CLIENT: MessageType.CKU, Role.SERVER: MessageType.SKU}
_REJECTS = {Role.CLIENT: MessageType.CHR, Role.SERVER: MessageType.SHR}


class MessageReader(RecordReader):
    """
    Makes messages of what the peer sends, one by one.

    :ivar key: opens the peer's records; None while they are in the clear.
    :ivar clearReject: whether a reject may still come in the clear, although there is a key: the
        peer may have said it before it had one.
    """

    __slots__ = ("_ahead", "_reject", "_update", "_updated", "clearReject", "key")

    def __init__(self, sender: Role) -> None:
        """:param sender: whose messages they are."""
        super().__init__()
        self._update = _UPDATES[sender]
        self._reject = _REJECTS[sender]
        self._updated = False
        self._ahead: bytes | None = None
        self.clearReject = False
        self.key: TrafficKey | None = None

    def nextMessage(self, limit: int) -> bytes | None:
        """
        Take the next message.

        :param limit: the longest record that is legal now, octets.
        :return: its type octet and its body; None if more must come in.
        :raises RemoteProtocolError: if there is no message in the next record.
        """
        if self._ahead is not None:
            message, self._ahead = self._ahead, None
            return message
        record = self.next(limit)
        if record is None:
            return None
        header, payload = record
        key = None if self.clearReject and self._isClearReject(payload) else self.key
        message = bytes(payload) if key is None else key.open(header, payload)
        if not message:
            raise RemoteProtocolError(ErrorCode.RECORD_EMPTY)
        if self._updated:
            if message[0] == self._update:
                raise RemoteProtocolError(ErrorCode.KEY_UPDATE_REPEATED)
            self._updated = False
        return message

    def _isClearReject(self, payload: memoryview) -> bool:
        """Whether it is one: what is sealed is longer than its tag."""
        return len(payload) <= TAG_LENGTH and payload[0] == self._reject

    def nextIs(self, kind: MessageType, limit: int) -> bool:
        """
        Look at the next message without taking it.

        :param kind: a type.
        :param limit: the longest record that is legal now, octets.
        :return: whether the next message is there, and of that type.
        :raises RemoteProtocolError: if there is no message in the next record.
        """
        self._ahead = self.nextMessage(limit)
        return self._ahead is not None and self._ahead[0] == kind

    def update(self, now: float) -> int:
        """
        Move to the peer's next key: it said that its next record is under it.

        :param now: the time, seconds.
        :return: the generation of that key.
        """
        assert self.key is not None, "only a session updates keys"
        self.key.update(now)
        self._updated = True
        return self.key.generation

    def clear(self) -> None:
        """Forget everything, the key too: the connection is over."""
        super().clear()
        self._ahead = self.key = None


class MessageWriter:
    """
    Makes records of this side's messages, in the order in which they are added.

    :ivar key: seals the records; None while they are in the clear.
    :ivar ready: the octets that are ready for the transport.
    """

    __slots__ = ("_update", "key", "ready")

    def __init__(self, sender: Role) -> None:
        """:param sender: whose messages they are."""
        self._update = bytes((_UPDATES[sender],))
        self.key: TrafficKey | None = None
        self.ready: list[bytes] = []

    def add(self, message: bytes) -> None:
        """
        Make a record.

        :param message: the message's type and its body.
        """
        if self.key is None:
            self.ready.append(clearRecord(message[0], message[1:]))
        else:
            self.ready += self.key.protect(message)

    def seal(self, message: bytes, now: float) -> None:
        """
        Make a record under the session's key, and move on from a key that has done its share.

        :param message: the message's type and its body.
        :param now: the time, seconds.
        """
        key = self.key
        assert key is not None, "nothing is queued before the keys exist"
        if key.worn(now):
            self.update(now)
        self.ready += key.protect(message)

    def update(self, now: float) -> None:
        """
        Move to the next key, and say so.

        :param now: the time, seconds.
        """
        assert self.key is not None, "there is a key to update"
        self.add(self._update)
        self.key.update(now)

    def take(self) -> bytes:
        """
        Take all that is ready.

        :return: whole records.
        """
        ready, self.ready = self.ready, []
        return b"".join(ready)

    def clear(self) -> None:
        """Drop what is ready; the key stays for a final word."""
        self.ready.clear()
