"""The messages: every codec whole, cut short, overfull, and on any octets at all."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.helpers import CAN
from thing.core.catalogue import MESSAGES
from thing.core.extensions import (
    ExtensionType,
    GivenTicket,
    PresharedOffer,
    Puzzle,
    Solution,
    find,
)
from thing.core.handshakemessages import CCC, CDH, CHI, SCC, SDH, SHF, SHI
from thing.core.layout import (
    EXTENSIONS,
    LIST8,
    LIST16,
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
    Received,
)
from thing.core.messages import (
    CAC,
    CCR,
    CDT,
    CFL,
    CGB,
    CHB,
    CHR,
    CKU,
    CLW,
    COP,
    CRP,
    CRQ,
    CST,
    MAGIC,
    SAC,
    SCR,
    SDT,
    SFL,
    SGA,
    SGB,
    SHR,
    SKU,
    SNK,
    SOP,
    SRP,
    SRQ,
    SST,
    SUU,
    VERSION,
    MessageType,
    Role,
)
from thing.errors import ErrorCode, RemoteProtocolError

OCTETS = bytes(range(32))
SIGNATURE = bytes(range(64))

EXAMPLES: list[tuple[Message, str]] = [
    (
        CHI((1,), OCTETS, (0x11EC, 0x1D), (2, 29), (1,), 30000, 512, 576, 128, 4, ((7, b"x"),)),
        MAGIC.hex() + "0101" + OCTETS.hex() + "0411ec001d" + "040002001d" + "0101"
        "00007530" + "00000200" + "00000240" + "00000080" + "0004" + "0005" + "0007000178",
    ),
    (
        SHI(1, OCTETS, 0x1D, 2, 65558, 32768, 16384, 100),
        "01" + OCTETS.hex() + "001d" + "0002" + "00010016" + "00008000" + "00004000" + "0064"
        "0000",
    ),
    (SDH(OCTETS), "0020" + OCTETS.hex() + "0000"),
    (CDH(OCTETS), "0020" + OCTETS.hex() + "0000"),
    (
        SCC(OCTETS, (0, 1), 1, OCTETS, (), 0x0807, SIGNATURE, OCTETS),
        OCTETS.hex() + "020001" + "01" + "0020" + OCTETS.hex() + "0000" + "0807" + "0040"
        + SIGNATURE.hex() + OCTETS.hex(),
    ),
    (
        CCC(0, b"", (), 0, b"", OCTETS),
        "00" + "0000" + "0000" + "0000" + "0000" + OCTETS.hex(),
    ),
    (SHF(30000, 10000, (), OCTETS), "00007530" + "00002710" + "0000" + OCTETS.hex()),
    (CHB(1, 500), "0000000000000001" + "000001f4"),
    (CHB(2), "0000000000000002" + "ffffffff"),
    (SUU(1, 30000, 10000), "0000000000000001" + "00007530" + "00002710"),
    (CGB(), ""),
    (SGB(), ""),
    (CFL(), ""),
    (SFL(3, 1, 5000), "0000000000000003" + "0001" + "00001388"),
    (SGA(2, 5000, 10000), "0002" + "00001388" + "00002710"),
    (CDT(1, 0, b"hello"), "01" + "00000000" + b"hello".hex()),
    (SDT(2, 258, b""), "02" + "00000102"),
    (CRQ(1, b"time?"), "00000001" + b"time?".hex()),
    (SRQ(0xFFFFFFFF, b""), "ffffffff"),
    (CRP(2, 2, b""), "00000002" + "02"),
    (SRP(1, 0, b"noon"), "00000001" + "00" + b"noon".hex()),
    (CLW(b"gone"), b"gone".hex()),
    (CCR(3, 1 << 32), "00000003" + "0000000100000000"),
    (SCR(0, 576), "00000000" + "0000000000000240"),
    (COP(1, b"amp"), "00000001" + "03" + b"amp".hex()),
    (SOP(2, "é".encode()), "00000002" + "02" + "c3a9"),
    (CAC(2), "00000002"),
    (SAC(1), "00000001"),
    (CST(1, 0x100), "00000001" + "0100"),
    (SST(2, 6), "00000002" + "0006"),
    (CKU(), ""),
    (SKU(), ""),
    (
        SNK(1, OCTETS, 0x0807, SIGNATURE, 0x0807, SIGNATURE),
        "01" + "0020" + OCTETS.hex() + ("0807" + "0040" + SIGNATURE.hex()) * 2,
    ),
    (CHR(0x26), "0026" + "00000000"),
    (SHR(0x0F, 5000), "000f" + "00001388"),
]  # fmt: skip

EXTENSION_EXAMPLES: list[tuple[Message, str]] = [
    (Puzzle(OCTETS, 12), OCTETS.hex() + "0c"),
    (Solution(1 << 40), "0000010000000000"),
    (PresharedOffer(2, b"ticket", OCTETS), "02" + "0006" + b"ticket".hex() + OCTETS.hex()),
    (GivenTicket(86400, b"ticket"), "00015180" + "0006" + b"ticket".hex()),
]
"""The values of extensions: what holds for messages holds for them, too."""

VALUES: dict[Field[Any], st.SearchStrategy[Any]] = {
    UINT8: st.integers(0, 0xFF),
    UINT16: st.integers(0, 0xFFFF),
    UINT32: st.integers(0, 0xFFFFFFFF),
    UINT64: st.integers(0, 0xFFFFFFFFFFFFFFFF),
    OCTETS32: st.binary(min_size=32, max_size=32),
    OPAQUE8: st.binary(max_size=255),
    OPAQUE16: st.binary(max_size=300),
    LIST8: st.lists(st.integers(0, 0xFF), min_size=1, max_size=255).map(tuple),
    LIST16: st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=127).map(tuple),
    EXTENSIONS: st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=40), max_size=6).map(
        lambda found: tuple(found.items())
    ),
    REST: st.binary(max_size=300),
}


def messagesOf(cls: type[Message]) -> st.SearchStrategy[Message]:
    """Any message of a class, after its layout; of CHI and SHI those of this version."""
    fields = [VALUES[field] for field in cls.LAYOUT]
    if cls is CHI:
        fields[0] = fields[0].map(lambda versions: (*versions[1:], VERSION))
    if cls is SHI:
        fields[0] = st.just(VERSION)
    return st.builds(cls, *fields)


EXTENSIONS_CLASSES = [type(value) for value, _ in EXTENSION_EXAMPLES]

EVERY_CLASS = st.sampled_from([*MESSAGES.values(), *EXTENSIONS_CLASSES])


class RegistryTests(TestCase):
    """The list of messages."""

    def test_complete(self) -> None:
        """Each of the 34 types has a class, which knows its type and bears its name."""
        self.assertEqual(len(MessageType), 34)
        self.assertEqual(set(MESSAGES), set(MessageType))
        for kind, cls in MESSAGES.items():
            self.assertIs(cls.TYPE, kind)
            self.assertEqual(cls.__name__, kind.name)

    def test_examplesAreComplete(self) -> None:
        """Each class is among the examples here."""
        self.assertEqual({type(message) for message, _ in EXAMPLES}, set(MESSAGES.values()))

    def test_senders(self) -> None:
        """A message's first letter says who sends it."""
        self.assertEqual({MessageType.CHI.sender, MessageType.CFL.sender}, {Role.CLIENT})
        self.assertEqual({MessageType.SUU.sender, MessageType.SFL.sender}, {Role.SERVER})
        self.assertIs(Role.CLIENT.peer, Role.SERVER)
        self.assertIs(Role.SERVER.peer, Role.CLIENT)

    def test_oneFieldEach(self) -> None:
        """Each class has as many attributes as its layout has fields."""
        for cls in (*MESSAGES.values(), *EXTENSIONS_CLASSES):
            self.assertEqual(len(fields(cls)), len(cls.LAYOUT), cls.__name__)  # type: ignore[arg-type]

    def test_extensions(self) -> None:
        """The extensions have the specification's numbers."""
        self.assertEqual(
            {each.name: int(each) for each in ExtensionType},
            {"PUZZLE": 1, "SOLUTION": 2, "PRESHARED_KEY": 3, "TICKET": 4, "NEXT_KEY": 5},
        )

    def test_find(self) -> None:
        """An extension is found wherever it stands, and an empty value is not a missing one."""
        extensions = ((9, b"x"), (4, b""), (1, b"puzzle"))
        self.assertEqual(find(extensions, ExtensionType.TICKET), b"")
        self.assertEqual(find(extensions, ExtensionType.PUZZLE), b"puzzle")
        self.assertIsNone(find(extensions, ExtensionType.SOLUTION))
        self.assertIsNone(find((), ExtensionType.PUZZLE))

    def test_noBinder(self) -> None:
        """An offer without its binder is as long as one with it: the binder covers its length."""
        offer = PresharedOffer(1, b"kettle")
        self.assertEqual(len(offer.encode()), len(PresharedOffer(1, b"kettle", OCTETS).encode()))
        self.assertTrue(offer.encode().endswith(bytes(32)))

    def test_heartbeatsHaveFixedSizes(self) -> None:
        """No heartbeat carries a length or octets of the sender's choice."""
        for cls in (CHB, SUU):
            self.assertTrue(issubclass(cls, FixedMessage))
            self.assertEqual({type(field) for field in cls.LAYOUT}, {type(UINT8)})


class CodecTests(TestCase):
    """Encoding and decoding."""

    def test_examples(self) -> None:
        """Each message is encoded as the specification shows it, and decoded the same."""
        for message, octets in EXAMPLES + EXTENSION_EXAMPLES:
            self.assertEqual(message.encode().hex(), octets, str(message))
            self.assertEqual(type(message).decode(bytes.fromhex(octets)), message)

    def test_truncated(self) -> None:
        """A message cut short anywhere is malformed; the rest, where there is one, may be cut."""
        for message, octets in EXAMPLES + EXTENSION_EXAMPLES:
            whole = bytes.fromhex(octets)
            codes = {ErrorCode.MALFORMED_MESSAGE}
            for length in range(len(whole)):
                if REST in message.LAYOUT and length >= sum(each.size for each in message.LAYOUT):
                    continue
                if isinstance(message, CHI) and length < len(MAGIC):
                    codes = {ErrorCode.NOT_THING}
                error = self.assertRaises(RemoteProtocolError, type(message).decode, whole[:length])
                self.assertIn(error.code, codes, f"{message} cut to {length}")
                codes = {ErrorCode.MALFORMED_MESSAGE}

    def test_trailing(self) -> None:
        """A message with octets to spare is malformed; one with a rest has none to spare."""
        for message, octets in EXAMPLES + EXTENSION_EXAMPLES:
            if REST in message.LAYOUT:
                continue
            for extra in (b"\0", b"\xff" * 40):
                error = self.assertRaises(
                    RemoteProtocolError, type(message).decode, bytes.fromhex(octets) + extra
                )
                self.assertIs(error.code, ErrorCode.MALFORMED_MESSAGE, str(message))

    def test_noMagic(self) -> None:
        """A CHI without the magic does not come from a Thing at all."""
        body = EXAMPLES[0][0].encode()
        error = self.assertRaises(RemoteProtocolError, CHI.decode, b"thing" + body[5:])
        self.assertIs(error.code, ErrorCode.NOT_THING)

    @given(EVERY_CLASS.flatmap(messagesOf))
    def test_decodeAfterEncode(self, message: Message) -> None:
        """Whatever is encoded is decoded the same."""
        self.assertEqual(type(message).decode(message.encode()), message)

    @given(EVERY_CLASS.flatmap(messagesOf), st.data())
    def test_encodeAfterDecode(self, message: Message, data: st.DataObject) -> None:
        """
        Octets that are decoded at all are encoded the same: nothing is said in two ways.

        The transcript relies on it.
        """
        octets = bytearray(message.encode())
        for at in data.draw(st.lists(st.integers(0, max(len(octets) - 1, 0)), max_size=3)):
            if octets:
                octets[at] = data.draw(st.integers(0, 255))
        try:
            decoded = type(message).decode(bytes(octets))
        except RemoteProtocolError:
            return
        self.assertEqual(decoded.encode(), octets)

    @given(EVERY_CLASS, st.binary(max_size=200))
    def test_anyOctets(self, cls: type[Message], octets: bytes) -> None:
        """Any octets are a message, or malformed, or what is no CHI or SHI of this version."""
        codes = {ErrorCode.MALFORMED_MESSAGE}
        if cls in (CHI, SHI):
            codes |= {ErrorCode.NOT_THING, ErrorCode.VERSION_UNSUPPORTED}
        for body in (octets, cls.PREFIX + octets):
            try:
                message = cls.decode(body)
            except RemoteProtocolError as error:
                self.assertIn(error.code, codes)
            else:
                self.assertEqual(message.encode(), body)


class CheckTests(TestCase):
    """The messages that end in a proof."""

    def test_parts(self) -> None:
        """The signature covers all before it; the MAC covers all before it, signature included."""
        for message, octets in EXAMPLES:
            whole = bytes((message.TYPE,)) + bytes.fromhex(octets)
            if isinstance(message, SCC | CCC):
                signature = 2 + len(message.signature)
                self.assertEqual(message.macPart(whole), whole[:-32])
                self.assertEqual(message.signedPart(whole), whole[: -32 - signature])
            elif isinstance(message, SHF):
                self.assertEqual(message.macPart(whole), whole[:-32])

    def test_unsigned(self) -> None:
        """A message is made up to where its signature goes, whether it has one already or not."""
        for message, octets in EXAMPLES:
            if isinstance(message, SCC | CCC):
                whole = bytes((message.TYPE,)) + bytes.fromhex(octets)
                unsigned = replace(message, signature=b"", mac=b"")
                self.assertEqual(unsigned.unsigned(), message.signedPart(whole))
                self.assertEqual(message.unsigned(), message.signedPart(whole))


class ReceivedTests(TestCase):
    """Messages whose octets count, too."""

    def test_octets(self) -> None:
        """What came in is kept as it came, beside what it says; the type is part of it."""
        for message, octets in EXAMPLES:
            whole = bytes((message.TYPE,)) + bytes.fromhex(octets)
            self.assertEqual(type(message).received(whole), Received(message, whole))
            self.assertEqual(message.typed(), whole)

    def test_malformed(self) -> None:
        """Octets that are no such message are refused."""
        self.assertRaises(
            RemoteProtocolError, SHI.received, SHI(1, OCTETS, 0, 0, *CAN).typed()[:-1]
        )

    def test_immutable(self) -> None:
        """A message cannot be changed, and holds its fields and nothing else."""
        for message, _ in EXAMPLES:
            for name in (*message.__match_args__, "_octets"):
                self.assertRaises((AttributeError, TypeError), setattr, message, name, 1)
            self.assertFalse(hasattr(message, "__dict__"))
