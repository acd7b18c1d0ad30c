"""
The messages of a session, and what all messages have in numbers (specification, "Messages").

A message is a type octet and a body. Each class declares its body's layout
once, for both directions (:mod:`thing.core.layout`). Integers are big-endian. Times on
the wire are whole milliseconds, except the round-trip time in CHB, which is in
microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from thing.core.layout import (
    OPAQUE8,
    OPAQUE16,
    REST,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    FixedMessage,
    Message,
)

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
    CCR = 0x38
    SCR = 0x39
    COP = 0x3A
    SOP = 0x3B
    CAC = 0x3C
    SAC = 0x3D
    CST = 0x3E
    SST = 0x3F
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
class Reject(FixedMessage):
    """One side ends the connection because of an error."""

    LAYOUT = (UINT16, UINT32)

    code: int
    retryAfter: int = 0
    """Milliseconds; zero gives no advice, and from a client it is always zero."""


class CHR(Reject):
    """Client Reject: the client ends the connection because of an error."""

    __slots__ = ()
    TYPE = MessageType.CHR


class SHR(Reject):
    """Server Reject: the server ends the connection because of an error."""

    __slots__ = ()
    TYPE = MessageType.SHR


@dataclass(frozen=True, slots=True)
class Data(Message):
    """Octets of a stream, or one fragment of an application message."""

    LAYOUT = (UINT8, UINT32, REST)

    flags: int
    """:data:`MORE`, :data:`END` or zero."""
    stream: int
    data: bytes


class CDT(Data):
    """Client Data: octets of a stream, or one fragment of an application message."""

    __slots__ = ()
    TYPE = MessageType.CDT


class SDT(Data):
    """Server Data: octets of a stream, or one fragment of an application message."""

    __slots__ = ()
    TYPE = MessageType.SDT


@dataclass(frozen=True, slots=True)
class Request(Message):
    """One side asks something."""

    LAYOUT = (UINT32, REST)

    number: int
    data: bytes


class CRQ(Request):
    """Client Request: the client asks something."""

    __slots__ = ()
    TYPE = MessageType.CRQ


class SRQ(Request):
    """Server Request: the server asks something."""

    __slots__ = ()
    TYPE = MessageType.SRQ


@dataclass(frozen=True, slots=True)
class Reply(Message):
    """The answer to a request of the other side."""

    LAYOUT = (UINT32, UINT8, REST)

    number: int
    """That of the request."""
    status: int
    data: bytes


class CRP(Reply):
    """Client Reply: the client's answer to a request."""

    __slots__ = ()
    TYPE = MessageType.CRP


class SRP(Reply):
    """Server Reply: the server's answer to a request."""

    __slots__ = ()
    TYPE = MessageType.SRP


@dataclass(frozen=True, slots=True)
class CLW(Message):
    """Client Last Word: what is made public if the client is lost."""

    TYPE = MessageType.CLW
    LAYOUT = (REST,)

    data: bytes


@dataclass(frozen=True, slots=True)
class Credit(FixedMessage):
    """How much the other side may have spent on a stream."""

    LAYOUT = (UINT32, UINT64)

    stream: int
    credit: int
    """In all since the stream began, octets."""


class CCR(Credit):
    """Client Credit: how much the server may have spent on a stream."""

    __slots__ = ()
    TYPE = MessageType.CCR


class SCR(Credit):
    """Server Credit: how much the client may have spent on a stream."""

    __slots__ = ()
    TYPE = MessageType.SCR


@dataclass(frozen=True, slots=True)
class Open(Message):
    """This side opens a stream."""

    LAYOUT = (UINT32, OPAQUE8)

    stream: int
    label: bytes
    """What it is for, in UTF-8."""


class COP(Open):
    """Client Open: the client opens a stream."""

    __slots__ = ()
    TYPE = MessageType.COP


class SOP(Open):
    """Server Open: the server opens a stream."""

    __slots__ = ()
    TYPE = MessageType.SOP


@dataclass(frozen=True, slots=True)
class Accept(FixedMessage):
    """This side accepts a stream that the other opened."""

    LAYOUT = (UINT32,)

    stream: int


class CAC(Accept):
    """Client Accept: the client accepts a stream that the server opened."""

    __slots__ = ()
    TYPE = MessageType.CAC


class SAC(Accept):
    """Server Accept: the server accepts a stream that the client opened."""

    __slots__ = ()
    TYPE = MessageType.SAC


@dataclass(frozen=True, slots=True)
class Stop(FixedMessage):
    """This side ends both directions of a stream."""

    LAYOUT = (UINT32, UINT16)

    stream: int
    code: int
    """Why: a :class:`~thing.errors.StopCode`, or one of the application's."""


class CST(Stop):
    """Client Stop: the client ends both directions of a stream."""

    __slots__ = ()
    TYPE = MessageType.CST


class SST(Stop):
    """Server Stop: the server ends both directions of a stream."""

    __slots__ = ()
    TYPE = MessageType.SST


MORE = 0x01
"""The flag of a CDT or SDT that is not its message's last."""

END = 0x02
"""The flag of the last CDT or SDT in its direction of its stream."""
