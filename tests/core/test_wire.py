"""Between messages and octets: in the clear, sealed, ahead of their turn, and over key updates."""

from __future__ import annotations

from unittest import mock

from twisted.trial.unittest import TestCase

from thing.core import records
from thing.core.messages import CDT, CHB, CHI_LIMIT, CKU, MessageType, Role
from thing.core.records import RECORD_LIMIT, Aead, TrafficKey
from thing.core.wire import MessageReader, MessageWriter
from thing.errors import ErrorCode, RemoteProtocolError

DATA = CDT(0, 0, b"data").typed()
BEAT = CHB(1).typed()
UPDATE = CKU().typed()


def ends(sealed: bool = True) -> tuple[MessageWriter, MessageReader]:
    """The client's way out and the server's way in."""
    writer, reader = MessageWriter(Role.CLIENT), MessageReader(Role.CLIENT)
    if sealed:
        writer.key = TrafficKey(Aead.AES_256_GCM, bytes(32), 0.0)
        reader.key = TrafficKey(Aead.AES_256_GCM, bytes(32), 0.0)
    return writer, reader


class WireTests(TestCase):
    """One direction."""

    def test_across(self) -> None:
        """Messages come out as they went in, in their order, sealed or not, however cut."""
        for sealed in (False, True):
            for chunk in (1, 7, 1000):
                writer, reader = ends(sealed)
                for message in (DATA, BEAT):
                    writer.add(message)
                data, got = writer.take(), []
                self.assertEqual(writer.take(), b"")
                for at in range(0, len(data), chunk):
                    reader.feed(data[at : at + chunk])
                    while (message := reader.nextMessage(CHI_LIMIT)) is not None:
                        got.append(message)
                self.assertEqual(got, [DATA, BEAT])
                self.assertEqual(reader.buffered, 0)

    def test_ahead(self) -> None:
        """A message that was looked at comes next all the same."""
        writer, reader = ends()
        writer.add(DATA)
        writer.add(BEAT)
        reader.feed(writer.take())
        self.assertTrue(reader.nextIs(MessageType.CDT, RECORD_LIMIT))
        self.assertFalse(reader.nextIs(MessageType.CHB, RECORD_LIMIT))
        self.assertEqual(reader.nextMessage(RECORD_LIMIT), DATA)
        self.assertFalse(reader.nextIs(MessageType.CDT, RECORD_LIMIT))
        self.assertEqual(reader.nextMessage(RECORD_LIMIT), BEAT)
        self.assertFalse(reader.nextIs(MessageType.CDT, RECORD_LIMIT))
        self.assertIsNone(reader.nextMessage(RECORD_LIMIT))

    def test_update(self) -> None:
        """A key update takes effect with the next record, on both ends."""
        writer, reader = ends()
        writer.add(DATA)
        writer.update(0.0)
        writer.add(BEAT)
        reader.feed(writer.take())
        self.assertEqual(reader.nextMessage(RECORD_LIMIT), DATA)
        self.assertEqual(reader.nextMessage(RECORD_LIMIT), UPDATE)
        self.assertEqual(reader.update(0.0), 1)
        self.assertEqual(reader.nextMessage(RECORD_LIMIT), BEAT)

    def test_repeatedUpdate(self) -> None:
        """An update right behind another is refused; one behind anything else is not."""
        for between, refused in (((), True), ((BEAT,), False)):
            writer, reader = ends()
            writer.update(0.0)
            for message in between:
                writer.add(message)
            writer.update(0.0)
            reader.feed(writer.take())
            reader.nextMessage(RECORD_LIMIT)
            reader.update(0.0)
            for message in between:
                self.assertEqual(reader.nextMessage(RECORD_LIMIT), message)
            if refused:
                error = self.assertRaises(RemoteProtocolError, reader.nextMessage, RECORD_LIMIT)
                self.assertIs(error.code, ErrorCode.KEY_UPDATE_REPEATED)
            else:
                self.assertEqual(reader.nextMessage(RECORD_LIMIT), UPDATE)

    def test_worn(self) -> None:
        """A key that has done its share is left before the next record."""
        writer, reader = ends()
        with mock.patch.object(records, "MAX_RECORDS", 4):
            for _ in range(3):
                writer.seal(DATA, 0.0)
        reader.feed(writer.take())
        got = [reader.nextMessage(RECORD_LIMIT) for _ in range(3)]
        self.assertEqual(got, [DATA, DATA, UPDATE])
        reader.update(0.0)
        self.assertEqual(reader.nextMessage(RECORD_LIMIT), DATA)

    def test_empty(self) -> None:
        """A record without even a type is refused."""
        writer, reader = ends()
        writer.add(b"")
        reader.feed(writer.take())
        error = self.assertRaises(RemoteProtocolError, reader.nextMessage, RECORD_LIMIT)
        self.assertIs(error.code, ErrorCode.RECORD_EMPTY)

    def test_clear(self) -> None:
        """At the end nothing is left that was read or is to be written, nor the reader's key."""
        writer, reader = ends()
        writer.add(DATA)
        reader.feed(writer.take())
        self.assertTrue(reader.nextIs(MessageType.CDT, RECORD_LIMIT))
        reader.clear()
        self.assertEqual((reader.nextMessage(RECORD_LIMIT), reader.key), (None, None))
        writer.add(DATA)
        writer.clear()
        self.assertEqual(writer.take(), b"")
