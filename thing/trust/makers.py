"""
What each keyword of trust makes of its value, beside the others that were chosen.

The tables of :mod:`thing.trust.choice` name these. Each is given the keyword's value and the
choice (:class:`~thing.trust.parts.Parts`), and raises CredentialError if a file is of no use.
What may be long, and what decides about peers beside it, is made in slices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from thing.core.credentials import Credential
from thing.core.messages import Role
from thing.errors import CredentialError
from thing.trust.authorized import Anyone, AuthorizedThings, readListing
from thing.trust.keys import IdentityKey
from thing.trust.known import KnownServers
from thing.trust.parts import Parts
from thing.trust.preshared import (
    PresharedKey,
    PresharedKeys,
    PresharedServer,
    PresharedThings,
    readKeys,
)
from thing.trust.revocation import RevokedKeys, readRevoked
from thing.trust.servers import PinnedServers
from thing.trust.slices import Slices, inOneSlice
from thing.trust.sshcertificates import CertifiedKey, CertifiedServers, CertifiedThings
from thing.trust.unrevoked import Unrevoked

PLATFORM = "platform"
"""What stands for the roots that the operating system comes with."""


def identityKey(path: str, parts: Parts) -> IdentityKey:
    """A key by itself."""
    return parts.unlocked(path, functools.partial(IdentityKey.load, path))


def certifiedKey(path: str, parts: Parts) -> CertifiedKey:
    """The same with an OpenSSH certificate, of the kind that our role shows."""
    identity = parts.chosen["identity"]
    certified = parts.unlocked(identity, functools.partial(CertifiedKey.load, identity, path))
    if certified.isHost is not (parts.role is Role.SERVER):
        due = "host" if parts.role is Role.SERVER else "user"
        raise CredentialError(f"{path}: a {due} certificate is due here, not the other kind")
    return certified


def certificateChain(path: str, parts: Parts) -> Credential:
    """X.509 certificates and their key."""
    from thing.trust.certificates import CertificateChain  # It takes long to import.

    key = parts.chosen.get("privateKey")
    return parts.unlocked(key or path, functools.partial(CertificateChain.load, path, key))


@inOneSlice
def sharedKey(path: str, parts: Parts) -> PresharedServer:
    """Who believes the server that has our pre-shared key."""
    return PresharedServer(PresharedKey.load(path))


def showsKey(made: PresharedServer, parts: Parts) -> None:
    """A pre-shared key is what to show, too."""
    parts.credentials.append(made.key)


@inOneSlice
def everybody(_: bool, parts: Parts) -> Anyone:
    """Who admits whoever comes."""
    return Anyone()


def authorizedThings(path: str, parts: Parts) -> Slices[AuthorizedThings]:
    """Who admits the keys in a file."""
    listing = parts.earlier and parts.earlier.listing
    return AuthorizedThings(path, (yield from readListing(path, parts.read(path), listing)))


def hasThings(made: AuthorizedThings, parts: Parts) -> None:
    """They can be counted."""
    parts.authorizedThings = made


@inOneSlice
def certifiedThings(path: str, parts: Parts) -> CertifiedThings:
    """Who admits things by OpenSSH certificates."""
    return CertifiedThings(path, principals=parts.chosen.get("principals"))


def thingCertificates(path: str, parts: Parts) -> Slices[Any]:
    """Who admits things by X.509 certificates."""
    from thing.trust.certificates import ThingCertificates  # It takes long to import.

    if parts.earlier is None:
        return ThingCertificates(path, parts.chosen.get("revocationLists"))
    return (yield from parts.earlier.again())


def hasLists(made: Any, parts: Parts) -> None:
    """Lists of revoked certificates have their times."""
    parts.revocationLists = made.authorities.lists


def presharedThings(path: str, parts: Parts) -> Slices[PresharedThings]:
    """Who admits things by pre-shared keys."""
    keys = yield from readKeys(path, parts.read(path, private=True))
    return PresharedThings(PresharedKeys(path, keys))


def hasKeys(made: PresharedThings, parts: Parts) -> None:
    """The handshake needs the keys."""
    parts.presharedKeys = made.keys


@inOneSlice
def pinnedServers(fingerprints: tuple[str, ...], parts: Parts) -> PinnedServers:
    """Who believes servers with these keys."""
    return PinnedServers(fingerprints)


@inOneSlice
def knownServers(path: str, parts: Parts) -> KnownServers:
    """Who believes the servers in a file, or at first use any."""
    return KnownServers(path, parts.host, parts.port, "firstUse" in parts.chosen)


def hasServers(made: KnownServers, parts: Parts) -> None:
    """A command shows what it has learned."""
    parts.knownServers = made


@inOneSlice
def certifiedServers(path: str, parts: Parts) -> CertifiedServers:
    """Who believes servers by OpenSSH certificates."""
    return CertifiedServers(path, parts.host, port=parts.port or None)


def serverCertificates(path: str, parts: Parts) -> Slices[Any]:
    """Who believes servers by X.509 certificates."""
    from thing.trust.certificates import ServerCertificates  # It takes long to import.

    if parts.earlier is None:
        roots = None if path == PLATFORM else path
        return ServerCertificates(roots, parts.host, parts.chosen.get("revocationLists"))
    return (yield from parts.earlier.again())


def unlessRevoked(path: str, parts: Parts) -> Slices[Callable[[Any], Unrevoked]]:
    """What refuses whatever a file revokes, before or after somebody else decides."""
    revoked = RevokedKeys(path, (yield from readRevoked(path, parts.read(path))))
    return functools.partial(Unrevoked, revoked=revoked)
