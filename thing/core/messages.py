"""
The messages: numbers, layouts, encoders and decoders (specification, "Messages").

A message is a type octet and a body. Each class declares its body's layout
once, for both directions (:mod:`thing.core.layout`). Integers are big-endian. Times on
the wire are whole milliseconds, except the round-trip time in CHB, which is in
microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from typing import TypeVar

from thing.core.layout import (
    EXTENSIONS,
    LIST8,
    LIST16,
    OCTETS32,
    OPAQUE16,
    REST,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    Extensions,
    FixedMessage,
    Message,
)

C = TypeVar("C", bound="Check")
S = TypeVar("S", bound="SignedCheck")

MAGIC = b"THING"
"""The first octets of a CHI's body."""

VERSION = 1
"""The protocol version that this package speaks."""

CHI_LIMIT = 1024
"""The longest CHI record, octets: every list and a ticket fit, far below what a flood needs."""

HANDSHAKE_LIMIT = 8192
"""The longest other record before Established, octets: a certificate chain fits."""

FRAGMENT_LIMIT = 16384
"""The most application octets in one CDT or SDT: what a heartbeat may have to wait for."""

REQUEST_LIMIT = FRAGMENT_LIMIT - 4
"""The most octets in one request or reply: a reply's number and status fit in a full record."""

REQUESTS_OUTSTANDING = 64
"""How many requests of one side may be unanswered: with their replies that is 2 MiB at most."""

LAST_WORD_LIMIT = 4096
"""The most octets in a CLW: a server keeps one for every session."""

UNKNOWN_RTT = 0xFFFFFFFF
"""CHB's round-trip time field when there is none to tell, or it does not fit."""

MIN_TTL = 100
"""The shortest TTL, milliseconds."""

MAX_TTL = 7 * 24 * 3600 * 1000
"""The longest TTL, milliseconds: one week."""

MIN_INTERVAL = 25
"""The shortest beat interval, milliseconds."""


class Role(Enum):
    """The two ends of a Connection."""

    CLIENT = "C"
    SERVER = "S"

    @property
    def peer(self) -> Role:
        """The other role."""
        return Role.SERVER if self is Role.CLIENT else Role.CLIENT


class MessageType(IntEnum):
    """The message types (specification, "Message types"); the first letter is the sender."""

    CHI = 0x01
    SHI = 0x02
    SDH = 0x03
    CDH = 0x04
    SCC = 0x05
    CCC = 0x06
    SHF = 0x07
    CHB = 0x10
    SUU = 0x11
    CGB = 0x20
    SGB = 0x21
    CFL = 0x22
    SFL = 0x23
    SGA = 0x24
    CDT = 0x30
    SDT = 0x31
    CRQ = 0x32
    SRQ = 0x33
    CRP = 0x34
    SRP = 0x35
    CLW = 0x36
    CKU = 0x40
    SKU = 0x41
    SNK = 0x42
    CHR = 0x50
    SHR = 0x51

    # Members are looked up at every record; Enum's own hash is a call of Python's.
    __hash__ = int.__hash__

    @property
    def sender(self) -> Role:
        """The role that sends this message."""
        return Role(self.name[0])


@dataclass(frozen=True, slots=True)
class CHI(Message):
    """Client Handshake Init: what the client offers and asks for, after the magic."""

    TYPE = MessageType.CHI
    PREFIX = MAGIC
    LAYOUT = (LIST8, OCTETS32, LIST16, LIST16, LIST8, UINT32, EXTENSIONS)

    versions: tuple[int, ...]
    random: bytes
    groups: tuple[int, ...]
    aeads: tuple[int, ...]
    credentialKinds: tuple[int, ...]
    """The kinds of server credential that the client can check."""
    requestedTtl: int
    """Milliseconds; zero leaves the choice to the server."""
    extensions: Extensions = ()


@dataclass(frozen=True, slots=True)
class SHI(Message):
    """Server Handshake Init: what the server chose."""

    TYPE = MessageType.SHI
    LAYOUT = (UINT8, OCTETS32, UINT16, UINT16, EXTENSIONS)

    version: int
    random: bytes
    group: int
    """The group's number; zero asks for a retry."""
    aead: int
    extensions: Extensions = ()


@dataclass(frozen=True, slots=True)
class SDH(Message):
    """Server Diffie-Hellman: the server's ephemeral public share."""

    TYPE = MessageType.SDH
    LAYOUT = (OPAQUE16, EXTENSIONS)

    share: bytes
    extensions: Extensions = ()


@dataclass(frozen=True, slots=True)
class CDH(Message):
    """Client Diffie-Hellman: the client's ephemeral public share."""

    TYPE = MessageType.CDH
    LAYOUT = (OPAQUE16, EXTENSIONS)

    share: bytes
    extensions: Extensions = ()


class Check(Message):
    """A message that ends in a MAC, empty while it is not made."""

    __slots__ = ()
    mac: bytes

    def macPart(self) -> bytes:
        """
        The body that the MAC covers.

        :return: the body up to the MAC.
        """
        body = self.encode()
        return body[: len(body) - len(self.mac)]

    def withMac(self: C, mac: bytes) -> C:
        """
        Complete the message.

        :param mac: the MAC.
        :return: the message with it.
        """
        whole = replace(self, mac=mac)  # type: ignore[type-var]
        whole._remember(self.macPart() + mac)
        return whole


class SignedCheck(Check):
    """SCC or CCC: before the MAC stands a signature, empty while it is not made."""

    __slots__ = ()
    signature: bytes

    def signedPart(self) -> bytes:
        """
        The body that the signature covers.

        :return: the body up to the signature.
        """
        part = self.macPart()
        return part[: len(part) - len(OPAQUE16.write(self.signature))]

    def withSignature(self: S, signature: bytes) -> S:
        """
        Add the signature.

        :param signature: the signature.
        :return: the message with it, and yet without a MAC.
        """
        signed = replace(self, signature=signature)  # type: ignore[type-var]
        signed._remember(self.signedPart() + OPAQUE16.write(signature))
        return signed


@dataclass(frozen=True, slots=True)
class SCC(SignedCheck):
    """Server Crypto Check: the server's credential, its challenge and its proof."""

    TYPE = MessageType.SCC
    LAYOUT = (OCTETS32, LIST8, UINT8, OPAQUE16, EXTENSIONS, UINT16, OPAQUE16, OCTETS32)

    challenge: bytes
    acceptedKinds: tuple[int, ...]
    """The kinds of client credential that the server takes; 0 stands for none at all."""
    credentialKind: int
    credential: bytes
    extensions: Extensions
    scheme: int
    signature: bytes = b""
    mac: bytes = b""


@dataclass(frozen=True, slots=True)
class CCC(SignedCheck):
    """Client Crypto Check: the client's credential, or none, and its proof."""

    TYPE = MessageType.CCC
    LAYOUT = (UINT8, OPAQUE16, EXTENSIONS, UINT16, OPAQUE16, OCTETS32)

    credentialKind: int
    credential: bytes
    extensions: Extensions
    scheme: int
    signature: bytes = b""
    mac: bytes = b""


@dataclass(frozen=True, slots=True)
class SHF(Check):
    """Server Handshake Finalize: the Connection's TTL and beat interval, and the server's MAC."""

    TYPE = MessageType.SHF
    LAYOUT = (UINT32, UINT32, EXTENSIONS, OCTETS32)

    ttl: int
    """Milliseconds."""
    interval: int
    """Milliseconds."""
    extensions: Extensions = ()
    mac: bytes = b""


@dataclass(frozen=True, slots=True)
class CHB(FixedMessage):
    """Client Heart Beat: renews the Connection's TTL."""

    TYPE = MessageType.CHB
    LAYOUT = (UINT64, UINT32)

    sequence: int
    """One for the first heartbeat, then one more each."""
    roundTripTime: int = UNKNOWN_RTT
    """What the client measured last, microseconds."""


@dataclass(frozen=True, slots=True)
class SUU(FixedMessage):
    """Server Understands U: the Connection is Renewed."""

    TYPE = MessageType.SUU
    LAYOUT = (UINT64, UINT32, UINT32)

    sequence: int
    """The heartbeat's own."""
    ttl: int
    """Milliseconds."""
    interval: int
    """Milliseconds."""


@dataclass(frozen=True, slots=True)
class CGB(FixedMessage):
    """Client Good Bye: the client sends no more data."""

    TYPE = MessageType.CGB


@dataclass(frozen=True, slots=True)
class SGB(FixedMessage):
    """Server Good Bye: the server has sent all it had."""

    TYPE = MessageType.SGB


@dataclass(frozen=True, slots=True)
class CFL(FixedMessage):
    """Client Flat Line: the Connection is Terminated."""

    TYPE = MessageType.CFL


@dataclass(frozen=True, slots=True)
class SFL(FixedMessage):
    """Server Flat Line: no heartbeat came in time, the Connection is Terminated."""

    TYPE = MessageType.SFL
    LAYOUT = (UINT64, UINT16, UINT32)

    lastHeartbeat: int
    """The sequence number of the last heartbeat seen, zero for none."""
    reason: int
    retryAfter: int = 0
    """Milliseconds; zero gives no advice."""


@dataclass(frozen=True, slots=True)
class SGA(FixedMessage):
    """Server Going Away: the client is asked to say goodbye."""

    TYPE = MessageType.SGA
    LAYOUT = (UINT16, UINT32, UINT32)

    reason: int
    retryAfter: int
    """Milliseconds; zero gives no advice."""
    grace: int
    """How long the server still waits for CGB, milliseconds."""


@dataclass(frozen=True, slots=True)
class CKU(FixedMessage):
    """Client Key Update: the client's next record is under its next traffic key."""

    TYPE = MessageType.CKU


@dataclass(frozen=True, slots=True)
class SKU(FixedMessage):
    """Server Key Update: the server's next record is under its next traffic key."""

    TYPE = MessageType.SKU


@dataclass(frozen=True, slots=True)
class SNK(Message):
    """Server Next Key: the credential that the server will use next, signed by both."""

    TYPE = MessageType.SNK
    LAYOUT = (UINT8, OPAQUE16, UINT16, OPAQUE16, UINT16, OPAQUE16)

    credentialKind: int
    credential: bytes
    scheme: int
    """The scheme of the current credential's signature."""
    signature: bytes
    nextScheme: int
    """The scheme of the next credential's signature."""
    nextSignature: bytes


@dataclass(frozen=True, slots=True)
class CHR(FixedMessage):
    """Client Reject: the client ends the connection because of an error."""

    TYPE = MessageType.CHR
    LAYOUT = (UINT16, UINT32)

    code: int
    retryAfter: int = 0
    """Milliseconds; always zero from a client."""


@dataclass(frozen=True, slots=True)
class SHR(FixedMessage):
    """Server Reject: the server ends the connection because of an error."""

    TYPE = MessageType.SHR
    LAYOUT = (UINT16, UINT32)

    code: int
    retryAfter: int = 0
    """Milliseconds; zero gives no advice."""


@dataclass(frozen=True, slots=True)
class CDT(Message):
    """Client Data: one fragment of an application message."""

    TYPE = MessageType.CDT
    LAYOUT = (UINT8, REST)

    flags: int
    """:data:`MORE` or zero."""
    data: bytes


@dataclass(frozen=True, slots=True)
class SDT(Message):
    """Server Data: one fragment of an application message."""

    TYPE = MessageType.SDT
    LAYOUT = (UINT8, REST)

    flags: int
    """:data:`MORE` or zero."""
    data: bytes


@dataclass(frozen=True, slots=True)
class CRQ(Message):
    """Client Request: the client asks something."""

    TYPE = MessageType.CRQ
    LAYOUT = (UINT32, REST)

    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SRQ(Message):
    """Server Request: the server asks something."""

    TYPE = MessageType.SRQ
    LAYOUT = (UINT32, REST)

    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CRP(Message):
    """Client Reply: the client's answer to a request."""

    TYPE = MessageType.CRP
    LAYOUT = (UINT32, UINT8, REST)

    number: int
    """That of the request."""
    status: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SRP(Message):
    """Server Reply: the server's answer to a request."""

    TYPE = MessageType.SRP
    LAYOUT = (UINT32, UINT8, REST)

    number: int
    """That of the request."""
    status: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CLW(Message):
    """Client Last Word: what is made public if the client is lost."""

    TYPE = MessageType.CLW
    LAYOUT = (REST,)

    data: bytes


MORE = 0x01
"""The flag of a CDT or SDT that is not its message's last."""

MESSAGES: dict[MessageType, type[Message]] = {
    cls.TYPE: cls
    for cls in (
        CHI, SHI, SDH, CDH, SCC, CCC, SHF, CHB, SUU, CGB, SGB, CFL, SFL, SGA,
        CDT, SDT, CRQ, SRQ, CRP, SRP, CLW, CKU, SKU, SNK, CHR, SHR,
    )
}  # fmt: skip
"""Every message class by its type."""
