"""The layouts of fields: written, read, cut short and overfull."""

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.helpers import SERVER_CREDENTIAL  # noqa: F401  (loads the hypothesis profile)
from thing.core.layout import (
    EXTENSIONS,
    LIST8,
    LIST16,
    MAX_EXTENSIONS,
    OCTETS32,
    OPAQUE8,
    OPAQUE16,
    REST,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    Field,
    FixedMessage,
    Message,
    readAll,
)
from thing.errors import ErrorCode, RemoteProtocolError

EXAMPLES: list[tuple[Field[Any], object, str]] = [
    (UINT8, 0xAB, "ab"),
    (UINT16, 0x0102, "0102"),
    (UINT32, 1, "00000001"),
    (UINT64, 1 << 63, "8000000000000000"),
    (OCTETS32, bytes(range(32)), bytes(range(32)).hex()),
    (OPAQUE8, b"", "00"),
    (OPAQUE8, b"abc", "03616263"),
    (OPAQUE16, b"abc", "0003616263"),
    (LIST8, (1,), "0101"),
    (LIST8, (3, 1, 2), "03030102"),
    (LIST16, (0x11EC, 0x1D), "0411ec001d"),
    (EXTENSIONS, (), "0000"),
    (EXTENSIONS, ((1, b""),), "000400010000"),
    (EXTENSIONS, ((2, b"b"), (1, b"a")), "000a000200016200010001" + "61"),
]


def messageOf(field: Field[Any]) -> type[Message]:
    """A message with just this field."""

    @dataclass(frozen=True, slots=True)
    class Lone(Message):
        LAYOUT = (field,)

        value: Any

    return Lone


class FieldTests(TestCase):
    """Each kind of field, alone in a message."""

    def assertMalformed(self, cls: type[Message], body: bytes) -> None:
        error = self.assertRaises(RemoteProtocolError, cls.decode, body)
        self.assertIs(error.code, ErrorCode.MALFORMED_MESSAGE)

    def test_examples(self) -> None:
        """Each field is written as the specification shows it, and read back the same."""
        for field, value, octets in EXAMPLES:
            lone = messageOf(field)
            self.assertEqual(lone(value).encode().hex(), octets, str(field))
            self.assertEqual(lone.decode(bytes.fromhex(octets)).value, value, str(field))

    def test_truncated(self) -> None:
        """A field that ends early is malformed, wherever it was cut."""
        for field, _, octets in EXAMPLES:
            whole = bytes.fromhex(octets)
            for length in range(len(whole)):
                self.assertMalformed(messageOf(field), whole[:length])

    def test_trailing(self) -> None:
        """Octets after the last field are malformed."""
        for field, _, octets in EXAMPLES:
            self.assertMalformed(messageOf(field), bytes.fromhex(octets) + b"\0")

    def test_emptyList(self) -> None:
        """A list of numbers has at least one entry."""
        for field in (LIST8, LIST16):
            self.assertMalformed(messageOf(field), b"\0")

    def test_oddList(self) -> None:
        """A list of 16-bit numbers does not have an odd number of octets."""
        self.assertMalformed(messageOf(LIST16), b"\x03\0\x01\x02")

    def test_repeatedExtension(self) -> None:
        """An extension type stands at most once in a list."""
        doubled = bytes.fromhex("0008" + "00010000" + "00010000")
        self.assertMalformed(messageOf(EXTENSIONS), doubled)

    def test_manyExtensions(self) -> None:
        """A list holds sixteen extensions and no more, whatever room there is for others."""
        message = messageOf(EXTENSIONS)
        for count in (MAX_EXTENSIONS, MAX_EXTENSIONS + 1):
            entries = b"".join(number.to_bytes(2, "big") + b"\0\0" for number in range(count))
            body = len(entries).to_bytes(2, "big") + entries
            if count == MAX_EXTENSIONS:
                self.assertEqual(message.decode(body).encode(), body)
            else:
                self.assertMalformed(message, body)

    def test_extensionPastItsList(self) -> None:
        """An extension does not reach past the end of its list into the next field."""

        @dataclass(frozen=True, slots=True)
        class Two(Message):
            LAYOUT = (EXTENSIONS, REST)

            extensions: Any
            rest: bytes

        self.assertMalformed(Two, bytes.fromhex("0004" + "00010001" + "ff"))

    def test_rest(self) -> None:
        """The rest takes whatever is left, nothing included."""
        for data in (b"", b"x", bytes(1000)):
            self.assertEqual(messageOf(REST).decode(data).value, data)

    def test_readAll(self) -> None:
        """Octets that are one field again and again are read to their end, which is a whole one."""
        data = b"\0\x02ab" + b"\0\0" + b"\0\x01c"
        self.assertEqual(readAll(OPAQUE16, data), [b"ab", b"", b"c"])
        self.assertEqual(readAll(OPAQUE16, b""), [])
        for cut in (data[:-1], data + b"\0"):
            error = self.assertRaises(RemoteProtocolError, readAll, OPAQUE16, cut)
            self.assertIs(error.code, ErrorCode.MALFORMED_MESSAGE)

    def test_words(self) -> None:
        """Each field says its layout in the specification's word."""
        self.assertEqual(str(UINT16), "uint16")
        self.assertEqual(str(EXTENSIONS), "extensions")

    def test_packed(self) -> None:
        """A layout of integers is the same in struct's terms, without padding."""

        class Numbers(FixedMessage):
            LAYOUT = (UINT8, UINT64, UINT16, UINT32)

        numbers = zip(Numbers.LAYOUT, (1, 2, 3, 4), strict=True)
        written = b"".join(field.write(value) for field, value in numbers)
        self.assertEqual(Numbers.PACK.pack(1, 2, 3, 4), written)

    @given(st.sampled_from([field for field, _, _ in EXAMPLES]), st.binary(max_size=80))
    def test_anyOctets(self, field: Field[Any], data: bytes) -> None:
        """Any octets are one value, which is written as the same octets, or are refused."""
        try:
            message = messageOf(field).decode(data)
        except RemoteProtocolError:
            return
        self.assertEqual(message.encode(), data)
