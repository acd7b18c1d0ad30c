"""
Thing: authenticated, encrypted, liveness-tracked sessions for Twisted.

The public names are here, whatever module they live in. Each is imported when it is first
used: a program that needs one room of the house does not wait for the others, and one that drives
:mod:`thing.core` itself, or runs on asyncio, never meets Twisted. Thing's own modules import each
other, and never this one.
"""

from typing import TYPE_CHECKING

from thing.lazy import importer

if TYPE_CHECKING:
    from thing.core.capacity import Capacity
    from thing.core.credentials import Anonymous
    from thing.core.groups import GroupName
    from thing.core.heartbeat import TtlPolicy
    from thing.core.limits import Limits
    from thing.core.records import Aead
    from thing.core.settings import ClientSettings, ServerSettings
    from thing.core.window import Budget
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
        StopCode,
        StreamRefused,
        ThingError,
    )
    from thing.events import Cause, Session, Termination
    from thing.identity import CredentialKind, Identity
    from thing.session.factory import ThingFactory
    from thing.session.protocol import ThingProtocol
    from thing.session.reasons import StreamCut
    from thing.session.streams import SessionStreams
    from thing.trust.authorized import Anyone, AuthorizedThings
    from thing.trust.interfaces import IAuthorizer, IKeyContinuity
    from thing.trust.keys import IdentityKey
    from thing.trust.known import KnownServers
    from thing.trust.servers import PinnedServers

__all__ = [
    "Aead",
    "Anonymous",
    "Anyone",
    "AuthorizedThings",
    "Budget",
    "Capacity",
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
    "SessionStreams",
    "StopCode",
    "StreamCut",
    "StreamRefused",
    "Termination",
    "ThingError",
    "ThingFactory",
    "ThingProtocol",
    "TtlPolicy",
]

__version__: str
"""Which build this is, as :pep:`440` writes versions."""

_HOMES = {
    "thing.core.capacity": ("Capacity",),
    "thing.core.credentials": ("Anonymous",),
    "thing.core.groups": ("GroupName",),
    "thing.core.heartbeat": ("TtlPolicy",),
    "thing.core.records": ("Aead",),
    "thing.core.settings": ("ClientSettings", "ServerSettings"),
    "thing.core.window": ("Budget",),
    "thing.errors": (
        "CredentialError",
        "EndReason",
        "ErrorCode",
        "HandshakeFailed",
        "LocalProtocolError",
        "NotAuthorized",
        "RemoteProtocolError",
        "ReplyStatus",
        "RequestFailed",
        "RequestTimedOut",
        "SessionEnded",
        "StopCode",
        "StreamRefused",
        "ThingError",
    ),
    "thing.events": ("Cause", "Session", "Termination"),
    "thing.identity": ("CredentialKind", "Identity"),
    "thing.session.factory": ("ThingFactory",),
    "thing.core.limits": ("Limits",),
    "thing.session.protocol": ("ThingProtocol",),
    "thing.session.reasons": ("StreamCut",),
    "thing.session.streams": ("SessionStreams",),
    "thing.trust.authorized": ("Anyone", "AuthorizedThings"),
    "thing.trust.interfaces": ("IAuthorizer", "IKeyContinuity"),
    "thing.trust.keys": ("IdentityKey",),
    "thing.trust.known": ("KnownServers",),
    "thing.trust.servers": ("PinnedServers",),
}


if not TYPE_CHECKING:  # Type checkers would believe that any name is there.
    __getattr__, __dir__ = importer(__name__, {**_HOMES, "thing.version": ("__version__",)})
