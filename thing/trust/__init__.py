"""
Who may be believed: our own key, and the decision about a peer's.

A server asks an :class:`IAuthorizer` about each client, a client about the
server. Files of keys, certificates and lists are read here and nowhere else, and
what the core has proved is judged, not proved again. Who has a session, and what
is said in it, is never asked.

What needs no reactor imports none: keys (:mod:`~thing.trust.keys`), files of authorized things
(:mod:`~thing.trust.authorized`), pinned servers and what a file knows of a server
(:mod:`~thing.trust.servers`) serve any program. The core's credentials and the words that
everybody uses may be touched from here; sessions, sockets and the process never.
"""

from typing import TYPE_CHECKING

from thing.lazy import importer

if TYPE_CHECKING:
    from thing.trust.authorized import Anyone, AuthorizedThings
    from thing.trust.bykind import ByKind
    from thing.trust.certificates import CertificateChain, ServerCertificates, ThingCertificates
    from thing.trust.checker import CheckedThings, IThingCredentials, ThingCredentials
    from thing.trust.chosen import ClientChoice, ServerChoice
    from thing.trust.interfaces import (
        IAuthorizer,
        IKeyContinuity,
        IServerAuthorizer,
        IThingAuthorizer,
        ServerAuthorizer,
        ServerIdentity,
        ThingAuthorizer,
        ThingIdentity,
    )
    from thing.trust.keys import (
        IdentityKey,
        formatPublicKey,
        loadPublicKey,
        parseFingerprint,
        parsePublicKey,
        readPassphrase,
    )
    from thing.trust.known import KnownServers
    from thing.trust.preshared import PresharedKey, PresharedKeys, PresharedServer, PresharedThings
    from thing.trust.revocation import RevokedKeys
    from thing.trust.servers import PinnedServers
    from thing.trust.sshcertificates import CertifiedKey, CertifiedServers, CertifiedThings
    from thing.trust.tickets import TicketKeys

__all__ = [
    "Anyone",
    "AuthorizedThings",
    "ByKind",
    "CertificateChain",
    "CertifiedKey",
    "CertifiedServers",
    "CertifiedThings",
    "CheckedThings",
    "ClientChoice",
    "IAuthorizer",
    "IKeyContinuity",
    "IServerAuthorizer",
    "IThingAuthorizer",
    "IThingCredentials",
    "IdentityKey",
    "KnownServers",
    "PinnedServers",
    "PresharedKey",
    "PresharedKeys",
    "PresharedServer",
    "PresharedThings",
    "RevokedKeys",
    "ServerAuthorizer",
    "ServerCertificates",
    "ServerChoice",
    "ServerIdentity",
    "ThingAuthorizer",
    "ThingCertificates",
    "ThingCredentials",
    "ThingIdentity",
    "TicketKeys",
    "formatPublicKey",
    "loadPublicKey",
    "parseFingerprint",
    "parsePublicKey",
    "readPassphrase",
]

_HOMES = {
    "thing.trust.authorized": (
        "Anyone",
        "AuthorizedThings",
    ),
    "thing.trust.bykind": ("ByKind",),
    "thing.trust.certificates": (
        "CertificateChain",
        "ServerCertificates",
        "ThingCertificates",
    ),
    "thing.trust.checker": (
        "CheckedThings",
        "IThingCredentials",
        "ThingCredentials",
    ),
    "thing.trust.chosen": (
        "ClientChoice",
        "ServerChoice",
    ),
    "thing.trust.interfaces": (
        "IAuthorizer",
        "IKeyContinuity",
        "IServerAuthorizer",
        "IThingAuthorizer",
        "ServerAuthorizer",
        "ServerIdentity",
        "ThingAuthorizer",
        "ThingIdentity",
    ),
    "thing.trust.keys": (
        "IdentityKey",
        "formatPublicKey",
        "loadPublicKey",
        "parseFingerprint",
        "parsePublicKey",
        "readPassphrase",
    ),
    "thing.trust.known": ("KnownServers",),
    "thing.trust.preshared": (
        "PresharedKey",
        "PresharedKeys",
        "PresharedServer",
        "PresharedThings",
    ),
    "thing.trust.revocation": ("RevokedKeys",),
    "thing.trust.servers": ("PinnedServers",),
    "thing.trust.sshcertificates": (
        "CertifiedKey",
        "CertifiedServers",
        "CertifiedThings",
    ),
    "thing.trust.tickets": ("TicketKeys",),
}


if not TYPE_CHECKING:  # Type checkers would believe that any name is there.
    __getattr__, __dir__ = importer(__name__, _HOMES)
