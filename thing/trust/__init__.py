"""
Who may be believed: our own key, and the decision about a peer's.

A server asks an :class:`IAuthorizer` about each client, a client about the
server. Files of keys, certificates and lists are read here and nowhere else, and
what the core has proved is judged, not proved again. Who has a session, and what
is said in it, is never asked.
"""

from typing import TYPE_CHECKING

from thing.trust.authorized import Anyone, AuthorizedThings
from thing.trust.bykind import ByKind
from thing.trust.checker import CheckedThings, IThingCredentials, ThingCredentials
from thing.trust.chosen import ClientChoice, ServerChoice
from thing.trust.interfaces import IAuthorizer, IKeyContinuity
from thing.trust.keys import (
    IdentityKey,
    formatPublicKey,
    loadPublicKey,
    parseFingerprint,
    parsePublicKey,
    readPassphrase,
)
from thing.trust.preshared import PresharedKey, PresharedKeys, PresharedServer, PresharedThings
from thing.trust.revocation import RevokedKeys
from thing.trust.servers import KnownServers, PinnedServers
from thing.trust.sshcertificates import CertifiedKey, CertifiedServers, CertifiedThings
from thing.trust.tickets import TicketKeys

if TYPE_CHECKING:  # It takes as long to import as half of the rest.
    from thing.trust.certificates import CertificateChain, ServerCertificates, ThingCertificates

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
    "IThingCredentials",
    "IdentityKey",
    "KnownServers",
    "PinnedServers",
    "PresharedKey",
    "PresharedKeys",
    "PresharedServer",
    "PresharedThings",
    "RevokedKeys",
    "ServerCertificates",
    "ServerChoice",
    "ThingCertificates",
    "ThingCredentials",
    "TicketKeys",
    "formatPublicKey",
    "loadPublicKey",
    "parseFingerprint",
    "parsePublicKey",
    "readPassphrase",
]


def __getattr__(name: str) -> object:
    """Import what has to do with X.509 when it is asked for."""
    if name in ("CertificateChain", "ServerCertificates", "ThingCertificates"):
        from thing.trust import certificates

        return getattr(certificates, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
