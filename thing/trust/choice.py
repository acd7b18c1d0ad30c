"""
Trust as people write it: plain strings, in an endpoint's description or on a command line.

One table for each role says what can be chosen, what goes together, and what each
keyword builds (:mod:`thing.trust.parts`): :data:`SERVER_KEYWORDS` and
:data:`CLIENT_KEYWORDS`. What a choice comes to is in :mod:`thing.trust.chosen`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from thing.errors import CredentialError
from thing.identity import CredentialKind
from thing.trust import makers
from thing.trust.keywords import (
    Server,
    Where,
    fingerprints,
    names,
    seconds,
    server,
    yes,
)
from thing.trust.parts import (
    Admits,
    AdmitsNodes,
    Announces,
    Binds,
    Introduces,
    Invites,
    Shows,
    TrustKeyword,
    tableOf,
)
from thing.trust.tickets import DEFAULT_LIFETIME

_RAW = (CredentialKind.ED25519,)
_CERTIFIED = (CredentialKind.SSH_CERTIFICATE,)
_X509 = (CredentialKind.X509,)
_PRESHARED = (CredentialKind.PRESHARED,)
_NOBODY = (CredentialKind.NONE,)

_IDENTITY = TrustKeyword(
    "identity",
    "FILE",
    "OpenSSH private key, Ed25519",
    part=Shows(makers.identityKey),
    reads=("passphraseFile",),
)
_OWN = (
    TrustKeyword(
        "identityCertificate",
        "FILE",
        "the key's OpenSSH certificate",
        needs=("identity",),
        part=Shows(makers.certifiedKey),
        reads=("identity", "passphraseFile"),
    ),
    TrustKeyword(
        "certificate",
        "FILE",
        "X.509 certificates in PEM, the own one first",
        part=Shows(makers.certificateChain),
        reads=("privateKey", "passphraseFile"),
    ),
    TrustKeyword(
        "privateKey", "FILE", "their private key, if not in the same file", needs=("certificate",)
    ),
    TrustKeyword(
        "passphraseFile",
        "FILE",
        "its first line decrypts the private keys",
        needs=("identity", "certificate"),
    ),
)
_REVOKED = TrustKeyword(
    "revoked",
    "FILE",
    "what is revoked, as ``ssh-keygen -k`` has it",
    part=Binds((*_RAW, *_CERTIFIED, *_X509), makers.unlessRevoked),
    lines=True,
)
_REVOCATION_LISTS = TrustKeyword(
    "revocationLists", "FILE", "X.509 revocation lists (CRLs) in PEM", needs=("trustRoots",)
)

SERVER_KEYWORDS = tableOf(
    _IDENTITY,
    *_OWN,
    TrustKeyword(
        "nextIdentity",
        "FILE",
        "private key to come, announced to clients",
        part=Announces(makers.identityKey),
        reads=("passphraseFile",),
    ),
    TrustKeyword(
        "authorized",
        "FILE",
        "admit the keys in it, as in ``authorized_keys``",
        decides=True,
        part=Admits(_RAW, makers.authorizedThings, note=makers.hasThings),
        lines=True,
    ),
    TrustKeyword(
        "authorities",
        "FILE",
        "admit who has an OpenSSH certificate of these",
        decides=True,
        part=Admits(_CERTIFIED, makers.certifiedThings),
    ),
    TrustKeyword(
        "principals",
        "NAMES",
        "of these names only; patterns, commas between",
        names,
        needs=("authorities",),
    ),
    _REVOKED,
    TrustKeyword(
        "trustRoots",
        "FILE",
        "admit who has an X.509 certificate of these",
        decides=True,
        part=Admits(_X509, makers.thingCertificates, note=makers.hasLists),
        reads=("revocationLists",),
    ),
    _REVOCATION_LISTS,
    TrustKeyword(
        "presharedKeys",
        "FILE",
        "admit who has a key in it, lines ``name:hex``",
        decides=True,
        part=Admits(_PRESHARED, makers.presharedThings, note=makers.hasKeys),
        lines=True,
    ),
    TrustKeyword(
        "invitations",
        "FILE",
        "who may join once",
        needs=("authorized",),
        part=Invites(),
        ownFile=True,
        shown="AUTHORIZED.invitations",
        where=Where.DAEMON,  # Nobody could invite elsewhere.
    ),
    TrustKeyword(
        "anonymous",
        "yes",
        "besides, admit clients without a key",
        yes,
        needs=("authorized", "authorities", "trustRoots", "presharedKeys"),
        part=Admits(_NOBODY, makers.everybody),
    ),
    TrustKeyword(
        "anyone",
        "yes",
        "admit everybody, with a key or without",
        yes,
        decides=True,
        excludes=("authorized", "authorities", "trustRoots", "presharedKeys", "anonymous"),
        part=Admits((*_RAW, *_NOBODY), makers.everybody),
    ),
    TrustKeyword(
        "nodes",
        "FILE",
        "other nodes: who has a key in it, for reaches",
        needs=("identity",),
        part=AdmitsNodes(),
        lines=True,
        where=Where.DAEMON,
    ),
    TrustKeyword(
        "nodeIdentity",
        "FILE",
        "private key to show them, if it is another",
        needs=("nodes",),
        part=Introduces(makers.identityKey),
        reads=("passphraseFile",),
        where=Where.DAEMON,
    ),
    TrustKeyword("ticketKeys", "FILE", "keys of resumption tickets; made if missing", ownFile=True),
    TrustKeyword(
        "ticketLifetime",
        "SECONDS",
        "lifetime of a ticket; 0 for none",
        seconds,
        default=DEFAULT_LIFETIME,
    ),
)
"""What a server chooses."""

CLIENT_KEYWORDS = tableOf(
    replace(_IDENTITY, excludes=("certificate", "presharedKey")),
    *_OWN,
    TrustKeyword(
        "presharedKey",
        "FILE",
        "key shared with the server, a line ``name:hex``",
        decides=True,
        excludes=("certificate", "serverKey", "knownServers", "authorities", "trustRoots"),
        part=Admits(_PRESHARED, makers.sharedKey, note=makers.showsKey),
    ),
    TrustKeyword(
        "serverKey",
        "FINGERPRINT",
        "believe a server with this key; several with commas between",
        fingerprints,
        decides=True,
        excludes=("knownServers", "firstUse"),
        part=Admits(_RAW, makers.pinnedServers),
    ),
    TrustKeyword(
        "knownServers",
        "FILE",
        "believe the keys in it, as in ``known_hosts``",
        decides=True,
        part=Admits(_RAW, makers.knownServers, "host and port", note=makers.hasServers),
        ownFile=True,
    ),
    TrustKeyword(
        "firstUse",
        "yes",
        "believe and store the key of a server not in that file",
        yes,
        needs=("knownServers",),
    ),
    TrustKeyword(
        "authorities",
        "FILE",
        "believe a server with an OpenSSH certificate of these",
        decides=True,
        part=Admits(_CERTIFIED, makers.certifiedServers, "host"),
    ),
    _REVOKED,
    TrustKeyword(
        "trustRoots",
        "FILE",
        f"believe a server with an X.509 certificate of these; or ``{makers.PLATFORM}``",
        decides=True,
        part=Admits(_X509, makers.serverCertificates, "host", note=makers.hasLists),
        reads=("revocationLists",),
    ),
    _REVOCATION_LISTS,
    TrustKeyword(
        "serverName",
        "HOST[:PORT]",
        "what the server is called, if not as it is connected to",
        server,
        needs=("knownServers", "authorities", "trustRoots"),
    ),
    TrustKeyword(
        "resumption",
        "yes|no",
        "come back without signatures, if allowed",
        yes,
        shown="with a credential yes, without no",
        where=Where.ENDPOINT,  # Who comes by a command comes once.
    ),
)
"""What a client chooses; what stands further down proves more."""


def expectedServer(
    chosen: Mapping[str, Any], server: Server | None, spelled: Callable[[str], str] = str
) -> tuple[str, int]:
    """
    Find what a server is called, and whether that is enough for what was chosen.

    :param chosen: what was, of :data:`CLIENT_KEYWORDS`.
    :param server: the host and the port that the client connects to, if it has them.
    :param spelled: how a keyword is written where it was chosen.
    :return: the host and the port; empty and zero if nothing needs them.
    :raises CredentialError: if one is needed and not known.
    """
    host, port = chosen.get("serverName", server) or ("", None)
    port = port or (server and server[1]) or 0
    for keyword in reversed(CLIENT_KEYWORDS):
        wanted = keyword.part.names if isinstance(keyword.part, Admits) else ""
        missing = {"host": not host, "host and port": not (host and port)}.get(wanted, False)
        if missing and keyword.name in chosen:
            raise CredentialError(
                f"{spelled(keyword.name)} needs {spelled('serverName')}, as there is no {wanted}"
            )
    return host, port
