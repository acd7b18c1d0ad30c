"""The record layer: framing, its caps and its memory; protection, its limits and its ratchet."""

import weakref
from collections.abc import Callable
from unittest import mock

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.helpers import (
    SERVER_CREDENTIAL,  # noqa: F401  (loads the hypothesis profile)
    cut,
)
from thing.core import records
from thing.core.capacity import DATA_OVERHEAD
from thing.core.keyschedule import expandLabel, nextTrafficSecret
from thing.core.messages import CHI_LIMIT, FRAGMENT_LIMIT, HANDSHAKE_LIMIT, MessageType
from thing.core.records import (
    HEADER_LENGTH,
    RECORD_LIMIT,
    Aead,
    RecordReader,
    TrafficKey,
    clearRecord,
    looksLike,
)
from thing.errors import ErrorCode, RemoteProtocolError

SECRET = bytes(range(32))


class RecordReaderTests(TestCase):
    """Cutting a stream into records."""

    def assertCode(self, code: ErrorCode, call: Callable[..., object], *args: object) -> None:
        self.assertIs(self.assertRaises(RemoteProtocolError, call, *args).code, code)

    def test_bytewise(self) -> None:
        """Octets that come one by one are the same records as octets that come at once."""
        stream = b"\0\0\x01a" + b"\0\0\x03bcd" + b"\0\x01\0" + bytes(256)
        reader = RecordReader()
        found = []
        for at in range(len(stream)):
            reader.feed(stream[at : at + 1])
            while (record := reader.next(RECORD_LIMIT)) is not None:
                found.append(record)
        expected = [
            (b"\0\0\x01", b"a"),
            (b"\0\0\x03", b"bcd"),
            (b"\0\x01\0", bytes(256)),
        ]
        self.assertEqual(found, expected)
        self.assertEqual(reader.buffered, 0)

    def test_longest(self) -> None:
        """A record as long as the limit is taken."""
        for limit in (CHI_LIMIT, HANDSHAKE_LIMIT, RECORD_LIMIT):
            reader = RecordReader()
            reader.feed(limit.to_bytes(HEADER_LENGTH, "big") + bytes(limit))
            self.assertEqual(
                reader.next(limit), (limit.to_bytes(HEADER_LENGTH, "big"), bytes(limit))
            )

    def test_tooLong(self) -> None:
        """A record one octet too long is refused at its header, before its payload comes."""
        for limit in (HANDSHAKE_LIMIT, RECORD_LIMIT - 1):
            reader = RecordReader()
            reader.feed(b"\0\0\1x" + (limit + 1).to_bytes(HEADER_LENGTH, "big"))
            self.assertIsNotNone(reader.next(limit))
            self.assertCode(ErrorCode.RECORD_TOO_LONG, reader.next, limit)

    def test_firstTooLong(self) -> None:
        """The very first record, if too long, comes from a stranger."""
        for length in (CHI_LIMIT + 1, RECORD_LIMIT):
            reader = RecordReader()
            reader.feed(length.to_bytes(HEADER_LENGTH, "big"))
            self.assertCode(ErrorCode.NOT_THING, reader.next, CHI_LIMIT)

    def test_empty(self) -> None:
        """A record without even a type is refused."""
        reader = RecordReader()
        reader.feed(bytes(HEADER_LENGTH))
        self.assertCode(ErrorCode.RECORD_EMPTY, reader.next, RECORD_LIMIT)

    def test_halfHeader(self) -> None:
        """Half a header tells nothing yet."""
        reader = RecordReader()
        reader.feed(b"\xff")
        self.assertIsNone(reader.next(CHI_LIMIT))

    def test_memory(self) -> None:
        """What is held is never more than one record and the chunk that came last."""
        chunk = 1000
        stream = (RECORD_LIMIT.to_bytes(HEADER_LENGTH, "big") + bytes(RECORD_LIMIT)) * 4
        reader = RecordReader()
        taken = 0
        for at in range(0, len(stream), chunk):
            reader.feed(stream[at : at + chunk])
            while reader.next(RECORD_LIMIT) is not None:
                taken += 1
            self.assertLess(reader.buffered, HEADER_LENGTH + RECORD_LIMIT)
            self.assertLessEqual(len(reader._buffer), HEADER_LENGTH + RECORD_LIMIT + chunk)
        self.assertEqual(taken, 4)

    def test_clear(self) -> None:
        """Once cleared, nothing is left."""
        reader = RecordReader()
        reader.feed(b"\0\x05abc")
        reader.clear()
        self.assertEqual(reader.buffered, 0)
        self.assertIsNone(reader.next(RECORD_LIMIT))

    @given(st.lists(st.binary(min_size=1, max_size=60), max_size=8), st.data())
    def test_anyChunking(self, payloads: list[bytes], data: st.DataObject) -> None:
        """However a stream is cut, its records are the same."""
        stream = b"".join(len(p).to_bytes(HEADER_LENGTH, "big") + p for p in payloads)
        reader = RecordReader()
        found = []
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            reader.feed(stream[:size])
            stream = stream[size:]
            while (record := reader.next(RECORD_LIMIT)) is not None:
                found.append(record[1])
        self.assertEqual(found, payloads)


class StrangerTests(TestCase):
    """What the log says of a peer that is no Thing."""

    def test_names(self) -> None:
        """Well-known protocols are named."""
        for first, name in (
            (b"GET / HTTP/1.1\r\n", "HTTP"),
            (b"SSH-2.0-OpenSSH", "SSH"),
            (b"\x16\x03\x01\x02\x00", "TLS"),
            (b"PRI * HTTP/2.0", "HTTP/2"),
            (b"PROXY TCP4", "PROXY"),
            (b"\r\n\r\n\x00\r\nQUIT\n", "PROXY"),
        ):
            self.assertIn(name, looksLike(first))

    def test_unknown(self) -> None:
        """Others are not guessed at."""
        self.assertEqual(looksLike(b"\xff\xff\xff\xff"), "no known protocol")

    def test_inTheError(self) -> None:
        """The error tells what the first octets look like."""
        reader = RecordReader()
        reader.feed(b"GET / HTTP/1.1\r\n")
        error = self.assertRaises(RemoteProtocolError, reader.next, CHI_LIMIT)
        self.assertIn("HTTP", error.detail)


class TrafficKeyTests(TestCase):
    """Protection."""

    def pair(self, aead: Aead = Aead.AES_256_GCM) -> tuple[TrafficKey, TrafficKey]:
        return TrafficKey(aead, SECRET, 0.0), TrafficKey(aead, SECRET, 0.0)

    def assertUnreadable(self, key: TrafficKey, record: bytes) -> None:
        error = self.assertRaises(RemoteProtocolError, key.open, *cut(record))
        self.assertIs(error.code, ErrorCode.RECORD_UNREADABLE)

    def test_roundTrip(self) -> None:
        """What one side seals in order, the other opens in order."""
        for aead in Aead:
            sender, receiver = self.pair(aead)
            for message in (b"a", b"", bytes(FRAGMENT_LIMIT + 2)):
                record = sender.seal(message)
                self.assertEqual(len(record), HEADER_LENGTH + len(message) + 16)
                self.assertEqual(receiver.open(*cut(record)), message)

    def test_independently(self) -> None:
        """A record is the AEAD of the message, the header its data, the number in its nonce."""
        ciphers = {Aead.AES_256_GCM: AESGCM, Aead.CHACHA20_POLY1305: ChaCha20Poly1305}
        for aead, cipher in ciphers.items():
            sender, _ = self.pair(aead)
            key = expandLabel(SECRET, b"key", length=32)
            iv = expandLabel(SECRET, b"iv", length=12)
            for sequence in range(3):
                record = sender.seal(b"message")
                nonce = iv[:4] + bytes(
                    a ^ b for a, b in zip(iv[4:], sequence.to_bytes(8, "big"), strict=True)
                )
                self.assertEqual(record[:HEADER_LENGTH], (7 + 16).to_bytes(HEADER_LENGTH, "big"))
                self.assertEqual(
                    cipher(key).decrypt(nonce, record[HEADER_LENGTH:], record[:HEADER_LENGTH]),
                    b"message",
                )

    def test_typeIsHidden(self) -> None:
        """An observer sees neither the type nor the content."""
        record = self.pair()[0].seal(bytes((MessageType.CDT,)) + b"attack at dawn")
        self.assertNotIn(b"attack", record)
        self.assertNotIn(b"dawn", record)

    def test_wrongKey(self) -> None:
        """A record under another key is not readable."""
        other = TrafficKey(Aead.AES_256_GCM, bytes(32), 0.0)
        self.assertUnreadable(other, self.pair()[0].seal(b"message"))

    def test_wrongAead(self) -> None:
        """A record under another AEAD is not readable."""
        other = TrafficKey(Aead.CHACHA20_POLY1305, SECRET, 0.0)
        self.assertUnreadable(other, self.pair()[0].seal(b"message"))

    def test_replayed(self) -> None:
        """A record is readable once."""
        sender, receiver = self.pair()
        record = sender.seal(b"message")
        receiver.open(*cut(record))
        self.assertUnreadable(receiver, record)

    def test_skipped(self) -> None:
        """A record is not readable if one before it is missing."""
        sender, receiver = self.pair()
        sender.seal(b"lost")
        self.assertUnreadable(receiver, sender.seal(b"message"))

    def test_flipped(self) -> None:
        """A record with any bit flipped, in the header too, is not readable."""
        for aead in Aead:
            record = self.pair(aead)[0].seal(b"message")
            for bit in range(len(record) * 8):
                flipped = bytearray(record)
                flipped[bit // 8] ^= 1 << bit % 8
                self.assertUnreadable(self.pair(aead)[1], bytes(flipped))

    def test_shorterThanItsTag(self) -> None:
        """A record that is too short to have a tag is not readable."""
        for aead in Aead:
            for length in range(16):
                self.assertUnreadable(
                    self.pair(aead)[1], length.to_bytes(HEADER_LENGTH, "big") + bytes(length)
                )

    def test_update(self) -> None:
        """An update changes the key on both sides alike and starts the numbers anew."""
        sender, receiver = self.pair()
        before = sender.seal(b"before")
        receiver.open(*cut(before))
        sender.update(1.0)
        receiver.update(1.0)
        self.assertEqual((sender.generation, sender.records), (1, 0))
        after = sender.seal(b"after")
        self.assertEqual(receiver.open(*cut(after)), b"after")

    def test_updateIsTheRatchet(self) -> None:
        """The next key is the first key of the next traffic secret."""
        sender, _ = self.pair()
        sender.update(0.0)
        record = sender.seal(b"after")
        fresh = TrafficKey(Aead.AES_256_GCM, nextTrafficSecret(SECRET), 0.0)
        self.assertEqual(fresh.open(*cut(record)), b"after")

    def test_updateIsNeeded(self) -> None:
        """The old key does not read what the new one sealed."""
        sender, receiver = self.pair()
        sender.update(0.0)
        self.assertUnreadable(receiver, sender.seal(b"after"))

    def test_numbers(self) -> None:
        """The limits are those of the specification."""
        self.assertEqual(records.MAX_RECORDS, 2**23)
        self.assertEqual(records.MAX_BYTES, 2**36)
        self.assertEqual(records.MAX_AGE, 3600)

    def test_wornByRecords(self) -> None:
        """A key is due for an update when half of its records are used."""
        with mock.patch.object(records, "MAX_RECORDS", 8):
            sender, _ = self.pair()
            for _ in range(4):
                self.assertFalse(sender.worn(0.0))
                sender.seal(b"message")
            self.assertTrue(sender.worn(0.0))

    def test_wornByBytes(self) -> None:
        """A key is due for an update when half of its octets are used."""
        with mock.patch.object(records, "MAX_BYTES", 100):
            sender, _ = self.pair()
            sender.seal(bytes(49))
            self.assertFalse(sender.worn(0.0))
            sender.seal(bytes(1))
            self.assertTrue(sender.worn(0.0))

    def test_wornByAge(self) -> None:
        """A key is due for an update after half of its time, counted from the last update."""
        sender, _ = self.pair()
        sender.seal(b"message")
        self.assertFalse(sender.worn(1799.0))
        self.assertTrue(sender.worn(1800.0))
        sender.update(1800.0)
        sender.seal(b"message")
        self.assertFalse(sender.worn(3599.0))
        self.assertTrue(sender.worn(3600.0))

    def test_exhausted(self) -> None:
        """A peer that goes on with a key beyond its limit is refused."""
        for name, value in (("MAX_RECORDS", 3), ("MAX_BYTES", 3)):
            with mock.patch.object(records, name, value):
                sender, receiver = self.pair()
                for _ in range(3):
                    record = sender.seal(b"m")
                    receiver.open(*cut(record))
                record = sender.seal(b"m")
                error = self.assertRaises(RemoteProtocolError, receiver.open, *cut(record))
                self.assertIs(error.code, ErrorCode.KEY_EXHAUSTED, name)

    def test_secretsAreNotShown(self) -> None:
        """A key's repr does not tell the key."""
        key = self.pair()[0]
        for secret in (SECRET, expandLabel(SECRET, b"key")):
            self.assertNotIn(secret.hex(), repr(key))
            self.assertNotIn(repr(secret)[2:-1], repr(key))


class ClearRecordTests(TestCase):
    """The clear part of the handshake."""

    def test_layout(self) -> None:
        """A clear record is a length, a type and a body."""
        self.assertEqual(clearRecord(MessageType.CHI, b"abc"), b"\0\0\x04\x01abc")

    def test_limits(self) -> None:
        """The longest record holds 64 KiB of data, and its header can say so."""
        self.assertEqual(RECORD_LIMIT - DATA_OVERHEAD, 1 << 16)
        self.assertLess(RECORD_LIMIT, 1 << (8 * HEADER_LENGTH))


class CipherTests(TestCase):
    """Which keys have a cipher at hand."""

    def test_idle(self) -> None:
        """Only the keys used of late have one; the others go on as if they had."""
        self.patch(records, "_ciphers", records._Ciphers(4))
        pairs = [
            [TrafficKey(Aead.AES_256_GCM, bytes((number,)) * 32, 0.0) for _ in "sr"]
            for number in range(8)
        ]
        for again in range(3):
            for sender, receiver in pairs:
                for _ in range(2):
                    record = sender.seal(b"message %d" % again)
                    self.assertEqual(
                        receiver.open(*cut(record)),
                        b"message %d" % again,
                    )
            have = [key for pair in pairs for key in pair if key._cipher is not None]
            self.assertEqual(have, [key for pair in pairs[-2:] for key in pair])

    def test_inTurn(self) -> None:
        """Keys that are used in turn, and are too many, do not take it from one another."""
        self.patch(records, "_ciphers", records._Ciphers(4))
        keys = [TrafficKey(Aead.AES_256_GCM, SECRET, 0.0) for _ in range(20)]
        seen = []
        for _ in range(5):
            for key in keys:
                key.seal(b"in turn")
            seen.append([key._cipher for key in keys])
        self.assertEqual(seen, seen[:1] * 5)
        self.assertEqual(seen[0].count(None), 16)

    def test_inUse(self) -> None:
        """A key in use does not make its cipher again each time."""
        key = TrafficKey(Aead.AES_256_GCM, SECRET, 0.0)
        key.seal(b"first")
        cipher = key._cipher
        key.seal(b"second")
        self.assertIs(key._cipher, cipher)

    def test_forgotten(self) -> None:
        """A key that its session has forgotten is kept by nobody."""
        key = TrafficKey(Aead.AES_256_GCM, SECRET, 0.0)
        key.seal(b"message")
        kept = weakref.ref(key)
        del key
        self.assertIsNone(kept())
