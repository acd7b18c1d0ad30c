"""Thing: authenticated, encrypted, liveness-tracked sessions for Twisted."""

from thing.core.credentials import Anonymous
from thing.core.groups import GroupName
from thing.core.heartbeat import TtlPolicy
from thing.core.records import Aead
from thing.core.settings import ClientSettings, ServerSettings
from thing.errors import (
    CredentialError,
    EndReason,
    ErrorCode,
    HandshakeFailed,
    LocalProtocolError,
    NotAuthorized,
    RemoteProtocolError,
    ReplyStatus,
    RequestFailed,
    RequestTimedOut,
    SessionEnded,
    ThingError,
)
from thing.events import Cause, Session, Termination
from thing.identity import CredentialKind, Identity
from thing.session.factory import ThingFactory
from thing.session.limits import Limits
from thing.session.protocol import ThingProtocol
from thing.trust import (
    Anyone,
    AuthorizedThings,
    IAuthorizer,
    IdentityKey,
    IKeyContinuity,
    KnownServers,
    PinnedServers,
)

__all__ = [
    "Aead",
    "Anonymous",
    "Anyone",
    "AuthorizedThings",
    "Cause",
    "ClientSettings",
    "CredentialError",
    "CredentialKind",
    "EndReason",
    "ErrorCode",
    "GroupName",
    "HandshakeFailed",
    "IAuthorizer",
    "IKeyContinuity",
    "Identity",
    "IdentityKey",
    "KnownServers",
    "Limits",
    "LocalProtocolError",
    "NotAuthorized",
    "PinnedServers",
    "RemoteProtocolError",
    "ReplyStatus",
    "RequestFailed",
    "RequestTimedOut",
    "ServerSettings",
    "Session",
    "SessionEnded",
    "Termination",
    "ThingError",
    "ThingFactory",
    "ThingProtocol",
    "TtlPolicy",
]
