"""
The record layer: framing, protection, sequence numbers and key update.

Specification, "Records". A record is a 3-octet length and that many octets:
a message in the clear, or the AEAD's ciphertext of one.
"""

from __future__ import annotations

import weakref
from collections import deque
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from thing.core.keyschedule import expandLabel, nextTrafficSecret
from thing.errors import ErrorCode, RemoteProtocolError

HEADER_LENGTH = 3
"""The length of a record's header, octets."""

TAG_LENGTH = 16
"""What either AEAD adds to a message, octets."""

RECORD_LIMIT = 65558
"""The longest payload of all, octets: 64 KiB of data and what is beside them."""

KEY_LENGTH = 32
IV_LENGTH = 12

MAX_RECORDS = 1 << 23
"""How many records one traffic key may protect; well below AES-GCM's 2^24.5 (RFC 8446, 5.5)."""

MAX_BYTES = 1 << 36
"""How many octets of plaintext one traffic key may protect."""

MAX_AGE = 3600.0
"""How long one traffic key may be in use, seconds."""


class Aead(IntEnum):
    """The AEADs, by their IANA numbers (RFC 5116; specification, "AEADs")."""

    AES_256_GCM = 2
    CHACHA20_POLY1305 = 29


_CIPHERS: dict[Aead, type[AESGCM] | type[ChaCha20Poly1305]] = {
    Aead.AES_256_GCM: AESGCM,
    Aead.CHACHA20_POLY1305: ChaCha20Poly1305,
}


class _Ciphers:
    """
    Decides which traffic keys keep the cipher that was made for them: those used often.

    A cipher is more than half of what an idle session would take, and made in a microsecond. A
    key that was last used long ago gets one for one use only, whose memory the next one takes.

    :ivar made: how many ciphers were made.
    """

    def __init__(self, limit: int) -> None:
        """:param limit: how many keys may have a cipher at hand."""
        self.made = 0
        self._limit = limit
        self._keeping: deque[weakref.ref[TrafficKey]] = deque()

    def keeps(self, key: TrafficKey) -> bool:
        """
        Note that a cipher was made.

        :param key: for which key.
        :return: whether the key is to keep it; then the one that has had one the longest does not.
        """
        self.made += 1
        often = self.made - key.made <= self._limit
        key.made = self.made
        if often:
            self._keeping.append(weakref.ref(key))
            if len(self._keeping) > self._limit:
                oldest = self._keeping.popleft()()
                if oldest is not None:
                    oldest.dropCipher()
        return often


_ciphers = _Ciphers(1024)


class TrafficKey:
    """
    One direction's key: its cipher, its IV and its sequence number.

    :ivar generation: how many key updates came before; zero is the first key.
    :ivar records: how many records the current key has protected.
    :ivar made: how many ciphers had been made for all keys when this one's last was.
    """

    __slots__ = (
        "__weakref__", "_aead", "_bytes", "_cipher", "_iv", "_key", "_secret", "_since",
        "generation", "made", "records",
    )  # fmt: skip

    def __init__(self, aead: Aead, secret: bytes, now: float) -> None:
        """
        :param aead: the AEAD.
        :param secret: the traffic secret of this direction.
        :param now: the time, seconds.
        """
        self._aead = aead
        self.generation = 0
        self._use(secret, now)

    def _use(self, secret: bytes, now: float) -> None:
        self._secret = secret
        self._key = expandLabel(secret, b"key", length=KEY_LENGTH)
        self._cipher: AESGCM | ChaCha20Poly1305 | None = None
        self.made = _ciphers.made
        self._iv = int.from_bytes(expandLabel(secret, b"iv", length=IV_LENGTH), "big")
        self.records = 0
        self._bytes = 0
        self._since = now

    def update(self, now: float) -> None:
        """
        Move to the next key; the one before cannot be derived from it.

        :param now: the time, seconds.
        """
        self.generation += 1
        self._use(nextTrafficSecret(self._secret), now)

    def worn(self, now: float) -> bool:
        """
        Whether it is time to move to the next key, well before the limits.

        :param now: the time, seconds.
        :return: whether half of any limit is reached.
        """
        return self.records > 0 and (  # A key that protected nothing is as good as new.
            now - self._since >= MAX_AGE / 2
            or self.records >= MAX_RECORDS >> 1
            or self._bytes >= MAX_BYTES >> 1
        )

    def seal(self, message: bytes) -> bytes:
        """
        Protect a message.

        :param message: the type octet and the body.
        :return: the record, header included.
        """
        return b"".join(self.protect(message))

    def protect(self, message: bytes) -> tuple[bytes, bytes]:
        """
        Protect a message, for a record that is joined with others.

        :param message: the type octet and the body.
        :return: the record's header and its payload.
        """
        length = len(message)
        nonce = (self._iv ^ self.records).to_bytes(IV_LENGTH, "big")
        self.records += 1
        self._bytes += length
        header = (length + TAG_LENGTH).to_bytes(HEADER_LENGTH, "big")
        cipher = self._cipher or self._makeCipher()
        return header, cipher.encrypt(nonce, message, header)

    def _makeCipher(self) -> AESGCM | ChaCha20Poly1305:
        cipher = _CIPHERS[self._aead](self._key)
        if _ciphers.keeps(self):
            self._cipher = cipher
        return cipher

    def dropCipher(self) -> None:
        """Make do without a cipher until the next use."""
        self._cipher = None

    def open(self, header: bytes, payload: bytes | memoryview) -> bytes:
        """
        Read a protected record.

        :param header: the record's header.
        :param payload: the record without its header.
        :return: the type octet and the body.
        :raises RemoteProtocolError: if the record was not made with this key
            and sequence number, or the key was used beyond its limit.
        """
        if self.records >= MAX_RECORDS or self._bytes >= MAX_BYTES:
            raise RemoteProtocolError(ErrorCode.KEY_EXHAUSTED)
        nonce = (self._iv ^ self.records).to_bytes(IV_LENGTH, "big")
        self.records += 1
        self._bytes += len(payload) - TAG_LENGTH
        try:
            return (self._cipher or self._makeCipher()).decrypt(nonce, payload, header)
        except InvalidTag:
            raise RemoteProtocolError(ErrorCode.RECORD_UNREADABLE) from None


def clearRecord(kind: int, body: bytes) -> bytes:
    """
    Frame a message of the clear part of the handshake.

    :param kind: its type.
    :param body: its body.
    :return: the record.
    """
    return (1 + len(body)).to_bytes(HEADER_LENGTH, "big") + bytes((kind,)) + body


_GREETINGS = (
    (b"SSH-", "SSH"),
    (b"\x16\x03", "TLS"),
    (b"GET ", "HTTP"),
    (b"POST", "HTTP"),
    (b"HEAD", "HTTP"),
    (b"PRI ", "HTTP/2"),
    (b"OPTI", "HTTP"),
    (b"CONN", "HTTP"),
    (b"PROX", "the PROXY protocol"),
    (b"\r\n\r\n", "the PROXY protocol"),  # Its version 2.
)


def looksLike(data: bytes) -> str:
    """
    Name the protocol that a stranger's first octets belong to, for the log.

    :param data: the first octets.
    :return: a few words.
    """
    for greeting, name in _GREETINGS:
        if data.startswith(greeting):
            return f"this looks like {name}"
    return "no known protocol"


class RecordReader:
    """
    Cuts a stream of octets into records.

    What it holds never exceeds one record and the chunk that was fed last, and of that no more
    than twice what is not read yet. Records are read where they came: only what a chunk leaves
    over is copied, in front of the next.
    """

    __slots__ = ("_buffer", "_first", "_offset")

    def __init__(self) -> None:
        """Start with nothing read."""
        self._buffer = b""
        self._offset = 0
        self._first = True

    @property
    def buffered(self) -> int:
        """How many octets are held and not yet returned."""
        return len(self._buffer) - self._offset

    def feed(self, data: bytes) -> None:
        """
        Add octets.

        :param data: what came in.
        """
        buffer = self._buffer
        if self._offset == len(buffer):
            self._buffer = data
        else:  # Octet by octet this copies much, yet less than each costs that comes alone.
            self._buffer = b"".join((memoryview(buffer)[self._offset :], data))
        self._offset = 0

    def next(self, limit: int) -> tuple[bytes, memoryview] | None:
        """
        Take the next record.

        :param limit: the longest record that is legal now, octets.
        :return: its header and its payload, or None if more octets are needed.
        :raises RemoteProtocolError: as soon as the header shows an illegal length.
        """
        buffer, offset = self._buffer, self._offset
        start = offset + HEADER_LENGTH
        if len(buffer) < start:
            if len(buffer) == offset:  # As after most of what comes: records in a piece.
                self._buffer, self._offset = b"", 0
            else:
                self._letGo()
            return None
        header = buffer[offset:start]
        length = int.from_bytes(header, "big")
        if length == 0:
            raise RemoteProtocolError(ErrorCode.RECORD_EMPTY)
        if length > limit:
            raise self._tooLong(length, limit)
        end = start + length
        if len(buffer) < end:
            self._letGo()
            return None
        self._offset = end
        self._first = False
        return header, memoryview(buffer)[start:end]

    def _letGo(self) -> None:
        """Keep no chunk for little of it: what follows may not come for long."""
        if 2 * self._offset > len(self._buffer):
            self._buffer = self._buffer[self._offset :]
            self._offset = 0

    def _tooLong(self, length: int, limit: int) -> RemoteProtocolError:
        if self._first:  # Most likely this is a stranger.
            seen = self._buffer[self._offset : self._offset + 8]
            return RemoteProtocolError(ErrorCode.NOT_THING, looksLike(seen))
        return RemoteProtocolError(ErrorCode.RECORD_TOO_LONG, f"{length} octets, limit {limit}")

    def clear(self) -> None:
        """Forget everything: the connection is over."""
        self._buffer = b""
        self._offset = 0
