"""
Who may be believed: our own key, and the decision about a peer's.

A server asks an :class:`IAuthorizer` about each client, a client about the
server.
"""

from thing.trust.authorized import Anyone, AuthorizedThings
from thing.trust.interfaces import IAuthorizer, IKeyContinuity
from thing.trust.keys import (
    IdentityKey,
    formatPublicKey,
    loadPublicKey,
    parseFingerprint,
    parsePublicKey,
    readPassphrase,
)
from thing.trust.servers import KnownServers, PinnedServers

__all__ = [
    "Anyone",
    "AuthorizedThings",
    "IAuthorizer",
    "IKeyContinuity",
    "IdentityKey",
    "KnownServers",
    "PinnedServers",
    "formatPublicKey",
    "loadPublicKey",
    "parseFingerprint",
    "parsePublicKey",
    "readPassphrase",
]
