"""
What a Connection tells: the events of the core, and how a session ended.

Times are in seconds throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from thing.errors import EndReason, ErrorCode, ReplyStatus, StopCode
from thing.identity import Identity


class Cause(Enum):
    """The ways in which a session ends; the value says it in words."""

    GOODBYE = "both sides said goodbye"
    FLAT_LINED = "the server flat-lined the session"
    LAPSED = "the server gave no sign of life within the TTL"
    TRUNCATED = "the stream ended without goodbye or flat line"
    REJECTED = "the handshake was refused"
    PROTOCOL_ERROR = "a rule of the protocol was broken"
    ABORTED = "the session was aborted"


UNAUTHENTICATED = "unauthenticated"
"""The detail of a reject from a peer that has not proved who it is."""


@dataclass(frozen=True, slots=True)
class Termination:
    """How a session ended (specification, "Termination")."""

    cause: Cause
    """Which of the ways it was."""

    code: ErrorCode | int | None = None
    """The error's code, where there was one; an ``int`` if the peer's is not known here."""

    byPeer: bool = False
    """Whether the peer decided it."""

    detail: str = ""
    """What exactly was seen, for the log."""

    reason: EndReason | int | None = None
    """The server's reason for a flat line, or for the request that a goodbye answered."""

    retryAfter: float | None = None
    """How long the server asks the client to stay away, seconds."""

    lastHeartbeat: int | None = None
    """The sequence number of the last heartbeat that the server saw, in a flat line."""

    @property
    def clean(self) -> bool:
        """Whether all that both sides sent before their goodbyes has arrived."""
        return self.cause is Cause.GOODBYE

    @property
    def unauthenticated(self) -> bool:
        """Whether anybody on the path can have said it: change nothing for it."""
        return self.byPeer and self.detail == UNAUTHENTICATED

    def __str__(self) -> str:
        """One plain sentence."""
        parts = [self.cause.value]
        for number in (self.code, self.reason):
            if isinstance(number, ErrorCode | EndReason):
                parts.append(f"{number.name}: {number.sentence}")
            elif number is not None:
                parts.append(f"unknown number {number}")
        if self.detail:
            parts.append(self.detail)
        return "; ".join(parts) + (" (told by the peer)" if self.byPeer else "")


@dataclass(frozen=True, slots=True)
class Session:
    """What both sides agreed on."""

    sessionId: bytes
    """16 octets, the same on both sides."""

    peer: Identity
    """Who the peer proved to be."""

    group: str
    """The key exchange group's name."""

    aead: str
    """The AEAD's name."""

    ttl: float
    """The TTL that the server granted at the handshake, seconds."""

    interval: float
    """The beat interval that the server granted at the handshake, seconds."""

    resumed: bool = False
    """Whether a ticket took the place of the signatures."""


@dataclass(frozen=True, slots=True)
class ResumptionTicket:
    """What a client keeps of a session, to come back without signatures."""

    ticket: bytes = field(repr=False)
    """What the server gave; only a server can read it."""

    secret: bytes = field(repr=False)
    """What both sides will have before the next handshake."""

    peer: Identity
    """The server, as the first handshake proved it."""

    lifetime: float
    """How long the ticket is of use, seconds."""


@dataclass(frozen=True, slots=True)
class PeerProved:
    """The peer proved its key, or a secret; the application must admit or refuse it."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """The Connection is Established."""

    session: Session


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """An application message, or in stream mode some of the stream's bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class DataEnded:
    """The peer has ended its direction of the main stream: no message comes any more."""


@dataclass(frozen=True, slots=True)
class StreamRequested:
    """The peer opened a stream, and waits for a decision."""

    stream: int
    """Its number."""
    label: str
    """What it is for."""


@dataclass(frozen=True, slots=True)
class StreamAccepted:
    """The peer accepted a stream that this side opened."""

    stream: int


@dataclass(frozen=True, slots=True)
class StreamData:
    """Octets of a stream."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The peer has ended its direction of a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """The peer ended both directions of a stream."""

    stream: int
    code: StopCode | int
    """Why; an ``int`` if it is not known here."""


@dataclass(frozen=True, slots=True)
class StreamDrained:
    """Little of a stream waits to be sent, as this side wanted to know."""

    stream: int


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """A stream that this side has closed is over: all that it sent is with the transport."""

    stream: int


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """The peer asks something; its number is for the reply."""

    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """The peer answered a request of this side."""

    number: int
    status: ReplyStatus
    data: bytes


@dataclass(frozen=True, slots=True)
class LastWordReceived:
    """Server: what the client wants to be made public if it is lost; empty withdraws it."""

    data: bytes


@dataclass(frozen=True, slots=True)
class HeartbeatSent:
    """Client: a CHB is on its way."""

    sequence: int


@dataclass(frozen=True, slots=True)
class HeartbeatReceived:
    """Server: a CHB renewed the TTL."""

    sequence: int
    roundTripTime: float | None
    """What the client measured last, seconds."""
    ttl: float
    """What was granted in return, seconds."""


@dataclass(frozen=True, slots=True)
class HeartbeatAcknowledged:
    """Client: an SUU said that the TTL was renewed."""

    sequence: int
    roundTripTime: float
    ttl: float
    interval: float


@dataclass(frozen=True, slots=True)
class HeartbeatLate:
    """A heartbeat (server) or its acknowledgement (client) is overdue, but not yet fatal."""

    silence: float
    """Since the last one, seconds."""


@dataclass(frozen=True, slots=True)
class GoingAway:
    """Client: the server asks to be left; the goodbye is already on its way."""

    reason: EndReason | int
    retryAfter: float
    grace: float
    """How long the server waits for the goodbye, seconds."""


@dataclass(frozen=True, slots=True)
class GoodbyeReceived:
    """Server: the client said goodbye; what is queued is still sent, nothing can be added."""


@dataclass(frozen=True, slots=True)
class KeyUpdated:
    """The peer moved to its next traffic key."""

    generation: int


@dataclass(frozen=True, slots=True)
class KeysAnnounced:
    """Client: the server has said by which keys it holds."""

    current: Identity
    """The one that the handshake proved."""
    following: Identity | None
    """The next one, proved by the current one and by itself; None if there is no other."""


@dataclass(frozen=True, slots=True)
class TicketReceived:
    """Client: the server gave a ticket for the next handshake."""

    ticket: ResumptionTicket


@dataclass(frozen=True, slots=True)
class Terminated:
    """The session is over; this is the last event."""

    termination: Termination


Event = (
    PeerProved
    | HandshakeCompleted
    | MessageReceived
    | DataEnded
    | StreamRequested
    | StreamAccepted
    | StreamData
    | StreamEnded
    | StreamStopped
    | StreamDrained
    | StreamClosed
    | RequestReceived
    | ReplyReceived
    | LastWordReceived
    | HeartbeatSent
    | HeartbeatReceived
    | HeartbeatAcknowledged
    | HeartbeatLate
    | GoingAway
    | GoodbyeReceived
    | KeyUpdated
    | KeysAnnounced
    | TicketReceived
    | Terminated
)
"""Everything that a Connection tells."""
