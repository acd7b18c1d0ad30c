"""
Every error of Thing: its code, its name and its sentence.

The codes are those of the specification's section "Error codes"; the sentence
is the same on the wire's both ends, in the exception and in the log.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class Worded(IntEnum):
    """Numbers that have a plain sentence each, in :attr:`sentence`."""

    sentence: str

    def __new__(cls, value: int, sentence: str = "") -> Self:
        """Attach the sentence to the number."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member


class ErrorCode(Worded):
    """
    Why a handshake or a session was refused (specification, "Error codes").

    The value goes over the wire in CHR and SHR; :attr:`sentence` says it in
    plain words. What a code means that has no name here, its range says.
    """

    # The handshake: negotiation and proof.
    NOT_THING = 0x01, "the peer does not speak the Thing protocol"
    VERSION_UNSUPPORTED = 0x02, "no protocol version in common"
    NO_COMMON_GROUP = 0x03, "no key exchange group in common"
    NO_COMMON_AEAD = 0x04, "no AEAD in common"
    NO_COMMON_CREDENTIAL = 0x05, "no credential kind in common"
    RETRY_REFUSED = 0x06, "the server asks for a retry that this client refuses"
    BAD_SHARE = 0x07, "the Diffie-Hellman share is not valid"
    BAD_CREDENTIAL = 0x08, "the credential is not valid"
    BAD_SIGNATURE = 0x09, "the signature does not verify"
    BAD_MAC = 0x0A, "the message authentication code does not verify"
    CREDENTIAL_REQUIRED = 0x0B, "the server does not admit anonymous clients"
    NOT_AUTHORIZED = 0x0C, "the credential is not authorized"
    TTL_OUT_OF_BOUNDS = 0x0D, "the TTL or the beat interval is out of bounds"
    HANDSHAKE_TIMEOUT = 0x0E, "the handshake did not complete in time"
    SERVER_BUSY = 0x0F, "the server has no room for the session now"
    PUZZLE_UNSOLVED = 0x10, "the retry does not solve the puzzle, or differs from the first try"
    IDENTITY_IN_USE = 0x11, "a session of the same identity is up, and it stays"
    LIMITS_OUT_OF_BOUNDS = 0x12, "what the peer says that it can take is out of bounds"
    UNDECIDED = 0x13, "whether the credential is authorized cannot be decided now"
    NOT_VALID_NOW = 0x14, "the credential is not valid now, by the clock of the side that judges"

    # Records and messages, at any time.
    RECORD_EMPTY = 0x20, "a record holds no message"
    RECORD_TOO_LONG = 0x21, "a record is longer than its state allows"
    RECORD_UNREADABLE = 0x22, "a record does not decrypt under the current key"
    MALFORMED_MESSAGE = 0x23, "a message does not have the layout of its type"
    UNKNOWN_MESSAGE = 0x24, "the message type is unknown"
    REFLECTED_MESSAGE = 0x25, "the message type belongs to the other role"
    UNEXPECTED_MESSAGE = 0x26, "the message is not legal in this state"
    MESSAGE_TOO_LONG = 0x27, "an application message is longer than the limit"
    HEARTBEAT_SEQUENCE = 0x28, "a heartbeat's sequence number is not the one expected"
    HEARTBEAT_OUTSTANDING = 0x29, "a heartbeat came before the one before it was acknowledged"
    KEY_EXHAUSTED = 0x2A, "a traffic key was used beyond its limit"
    KEY_UPDATE_REPEATED = 0x2B, "a key update followed another with no record between them"
    TOO_MANY_REQUESTS = 0x2C, "more requests were made than may be unanswered"
    REPLY_UNEXPECTED = 0x2D, "a reply is to no request that is unanswered"
    REQUEST_NUMBER = 0x2E, "a request's number is not the one expected"
    CREDIT_EXCEEDED = 0x2F, "more was sent than the receiver had granted"
    STREAM_NUMBER = 0x30, "a stream's number is not the one expected"
    STREAM_UNKNOWN = 0x31, "a message is about a stream that is not there"
    STREAM_ENDED = 0x32, "something came behind the end of a stream"
    TOO_MANY_STREAMS = 0x33, "more streams were opened than may be open"

    # Ends decided here.
    CLOSE_TIMEOUT = 0x40, "the orderly close did not complete in time"
    ABORTED = 0x41, "the application aborted the session"
    INTERNAL_ERROR = 0x42, "an internal error ended the session"

    # Misuse of the library's own interface; never on the wire.
    WRONG_STATE = 0x60, "the call is not legal in this state"
    BUFFER_FULL = 0x61, "too many bytes wait to be sent"
    BAD_ARGUMENT = 0x62, "an argument is out of bounds"


class EndReason(Worded):
    """
    Why a server asks a client to leave (SGA) or flat-lines it (SFL).

    Specification, "Reasons". A reason that a peer does not know is kept as
    its number.
    """

    UNSPECIFIED = 0, "no reason given"
    HEARTBEAT_MISSED = 1, "no heartbeat came within the TTL"
    SHUTDOWN = 2, "the server is shutting down"
    CLOSING = 3, "the server's application closed the session"
    REPLACED = 4, "a newer session of the same identity took over"
    REVOKED = 5, "the client's credential was revoked"
    OVERLOADED = 6, "the server has too many sessions"
    EXPIRED = 7, "the client's credential has expired"


class StopCode(Worded):
    """
    Why a stream was stopped (CST, SST).

    Specification, "Stop codes". Codes from 0x100 on are the applications' own; one that is not
    known is kept as its number.
    """

    DONE = 0, "nothing more is wanted"
    CANCELLED = 1, "the application gave it up"
    NOT_TAKEN = 2, "nobody takes streams of this label"
    NOT_PERMITTED = 3, "the peer may not open this stream"
    UNREACHABLE = 4, "what the stream was for could not be reached"
    TIMED_OUT = 5, "nobody decided, or nothing moved, in time"
    BUSY = 6, "there is no room for the stream now"
    FAILED = 7, "the application failed"

    # Of reaches, told to who opened one.
    UNKNOWN_THING = 8, "no thing of that name is known"
    NOT_CONNECTED = 9, "the thing is not connected"
    NOT_EXPOSED = 10, "the thing does not expose that service"
    WENT_AWAY = 11, "the thing went away"
    ENDED = 12, "somebody who may do so ended it"
    NO_WAY = 13, "there is no way to the node that the thing is on"


class ReplyStatus(Worded):
    """
    What became of a request (specification, "Requests and replies").

    A status that is not known counts as :attr:`FAILED`.
    """

    DONE = 0, "the request was answered"
    FAILED = 1, "the program that was asked failed to answer"
    NOT_TAKEN = 2, "the program that was asked takes no requests"
    BUSY = 3, "the program that was asked has too much to do"


class ThingError(Exception):
    """The base of every exception that this package raises."""


class ProtocolError(ThingError):
    """
    A rule of the protocol was broken.

    :ivar code: which rule.
    :ivar detail: what exactly was seen; for this side's log only.
    """

    def __init__(self, code: ErrorCode, detail: str = "") -> None:
        """
        :param code: which rule was broken.
        :param detail: what exactly was seen, without secrets.
        """
        self.code = code
        self.detail = detail
        super().__init__(f"{code.name}: {code.sentence}" + (f" ({detail})" if detail else ""))


class LocalProtocolError(ProtocolError):
    """The caller asked for something that the protocol does not allow now."""


class BadArgument(LocalProtocolError, ValueError):
    """What a program has chosen is out of bounds; the detail is one sentence about it."""

    def __init__(self, detail: str) -> None:
        """:param detail: what is out of which bounds."""
        super().__init__(ErrorCode.BAD_ARGUMENT, detail)


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule of the protocol; the connection cannot go on."""


class NotAuthorized(ThingError):
    """
    An authorizer's refusal of a peer that has proved its identity.

    :ivar detail: why, for this side's log only; the peer learns no more than the code.
    :ivar code: what the peer is told.
    :ivar retryAfter: how long a client should stay away, seconds.
    """

    def __init__(
        self,
        detail: str,
        code: ErrorCode = ErrorCode.NOT_AUTHORIZED,
        retryAfter: float = 0.0,
    ) -> None:
        """
        :param detail: why, for this side's log only.
        :param code: what the peer is told.
        :param retryAfter: how long a client should stay away, seconds; zero gives no advice.
        """
        self.detail = detail
        self.code = code
        self.retryAfter = retryAfter
        super().__init__(detail)

    @property
    def isPassing(self) -> bool:
        """Whether it says nothing about the peer's right: it ends no session that is up."""
        return self.code in _PASSING


_PASSING = frozenset({ErrorCode.SERVER_BUSY, ErrorCode.UNDECIDED, ErrorCode.NOT_VALID_NOW})
"""The codes of refusals for a fault of the one who judges, or for the time of day."""


class CredentialError(ThingError):
    """A key or a file of keys cannot be used; the message is one plain line."""


class PassphraseNeeded(CredentialError):
    """A private key is encrypted, and no passphrase was given."""


class HandshakeFailed(ThingError):
    """
    The session never came up.

    :ivar termination: how it ended (:class:`thing.events.Termination`).
    """

    def __init__(self, termination: Any) -> None:
        """:param termination: how it ended."""
        self.termination = termination
        super().__init__(str(termination))


class RequestFailed(ThingError):
    """
    The peer answered a request by saying that it could not.

    A program raises it itself to say so: ``NOT_TAKEN`` to take no requests, ``BUSY`` if it has
    too much to do, ``FAILED`` if it has said already why.

    :ivar status: ``FAILED``, ``NOT_TAKEN`` or ``BUSY``.
    """

    def __init__(self, status: ReplyStatus) -> None:
        """:param status: what the peer said."""
        self.status = status
        super().__init__(f"{status.name}: {status.sentence}")


class StreamRefused(ThingError):
    """
    A stream was not accepted, or is not to be.

    :meth:`~thing.session.callbacks.SessionCallbacks.streamRequested` raises it to refuse one with a
    code of its own.

    :ivar code: why: a :class:`StopCode`, or one of the application's from 0x100 on.
    """

    def __init__(self, code: StopCode | int = StopCode.NOT_TAKEN) -> None:
        """
        :param code: why.
        :raises ValueError: if it is not within 0 to 65535.
        """
        if not 0 <= code <= 0xFFFF:
            raise ValueError(f"no code of a stop: {code}")
        self.code = code
        if isinstance(code, StopCode):
            super().__init__(f"{code.name}: {code.sentence}")
        else:
            super().__init__(f"code {code:#06x}")


class RequestTimedOut(ThingError):
    """A request was not answered in time; whether the peer has dealt with it is not known."""


class SessionEnded(ThingError):
    """
    The session ended before the peer answered; whether it has dealt with it is not known.

    :ivar termination: how it ended (:class:`thing.events.Termination`).
    """

    def __init__(self, termination: Any) -> None:
        """:param termination: how it ended."""
        self.termination = termination
        super().__init__(str(termination))
