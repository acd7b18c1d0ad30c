"""
Trust as people write it: plain strings, in an endpoint's description or on a command line.

One table for each role says what can be chosen, what goes together, and what each
keyword builds (:mod:`thing.trust.parts`): :data:`SERVER_KEYWORDS` and
:data:`CLIENT_KEYWORDS`. Everything that can be wrong is found when the choice
is read, and not when the first peer connects.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from thing.core.credentials import Anonymous, Credential
from thing.core.messages import Role
from thing.core.settings import ClientSettings, ServerSettings
from thing.errors import CredentialError
from thing.identity import CredentialKind
from thing.trust import parts
from thing.trust.authorized import AuthorizedThings
from thing.trust.bykind import ByKind
from thing.trust.keywords import (
    Server,
    Where,
    checkDecided,
    fingerprints,
    names,
    readKeywords,
    seconds,
    server,
    yes,
)
from thing.trust.parts import Admits, Announces, Ask, Binds, Parts, Shows, TrustKeyword, tableOf
from thing.trust.servers import KnownServers
from thing.trust.tickets import DEFAULT_LIFETIME, TicketKeys

_RAW = (CredentialKind.ED25519,)
_CERTIFIED = (CredentialKind.SSH_CERTIFICATE,)
_X509 = (CredentialKind.X509,)
_PRESHARED = (CredentialKind.PRESHARED,)
_NOBODY = (CredentialKind.NONE,)

_IDENTITY = TrustKeyword(
    "identity", "FILE", "OpenSSH private key, Ed25519", part=Shows(parts.identityKey)
)
_OWN = (
    TrustKeyword(
        "identityCertificate",
        "FILE",
        "the key's OpenSSH certificate",
        needs=("identity",),
        part=Shows(parts.certifiedKey),
    ),
    TrustKeyword(
        "certificate",
        "FILE",
        "X.509 certificates in PEM, the own one first",
        part=Shows(parts.certificateChain),
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
    part=Binds(_CERTIFIED, parts.unlessRevoked),
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
        part=Announces(parts.identityKey),
    ),
    TrustKeyword(
        "authorized",
        "FILE",
        "admit the keys in it, as in ``authorized_keys``",
        decides=True,
        part=Admits(_RAW, parts.authorizedThings),
    ),
    TrustKeyword(
        "authorities",
        "FILE",
        "admit who has an OpenSSH certificate of these",
        decides=True,
        part=Admits(_CERTIFIED, parts.certifiedThings),
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
        part=Admits(_X509, parts.thingCertificates),
    ),
    _REVOCATION_LISTS,
    TrustKeyword(
        "presharedKeys",
        "FILE",
        "admit who has a key in it, lines ``name:hex``",
        decides=True,
        part=Admits(_PRESHARED, parts.presharedThings),
    ),
    TrustKeyword(
        "anonymous",
        "yes",
        "besides, admit clients without a key",
        yes,
        needs=("authorized", "authorities", "trustRoots", "presharedKeys"),
        part=Admits(_NOBODY, parts.everybody),
    ),
    TrustKeyword(
        "anyone",
        "yes",
        "admit everybody, with a key or without",
        yes,
        decides=True,
        excludes=("authorized", "authorities", "trustRoots", "presharedKeys", "anonymous"),
        part=Admits((*_RAW, *_NOBODY), parts.everybody),
    ),
    TrustKeyword("ticketKeys", "FILE", "keys of resumption tickets; made if missing"),
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
        part=Admits(_PRESHARED, parts.sharedKey),
    ),
    TrustKeyword(
        "serverKey",
        "FINGERPRINT",
        "believe a server with this key; several with commas between",
        fingerprints,
        decides=True,
        excludes=("knownServers", "firstUse"),
        part=Admits(_RAW, parts.pinnedServers),
    ),
    TrustKeyword(
        "knownServers",
        "FILE",
        "believe the keys in it, as in ``known_hosts``",
        decides=True,
        part=Admits(_RAW, parts.knownServers, "host and port"),
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
        part=Admits(_CERTIFIED, parts.certifiedServers, "host"),
    ),
    _REVOKED,
    TrustKeyword(
        "trustRoots",
        "FILE",
        f"believe a server with an X.509 certificate of these; or ``{parts.PLATFORM}``",
        decides=True,
        part=Admits(_X509, parts.serverCertificates, "host"),
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
        default=True,
        where=Where.ENDPOINT,  # Who comes by a command comes once.
    ),
)
"""What a client chooses; what stands further down proves more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChoice:
    """What a server's strings come to."""

    credentials: tuple[Credential, ...]
    """What the server authenticates with, the first if the client can check all."""

    nextCredential: Credential | None
    """What it will use next."""

    authorizer: ByKind
    """Whom to admit."""

    authorizedThings: AuthorizedThings | None
    """The file of things that have a key, if there is one."""

    presharedKeys: Mapping[bytes, bytes] = field(repr=False)
    """The pre-shared keys, by identity."""

    tickets: TicketKeys | None
    """Seals the tickets."""

    given: Mapping[str, str]
    """The strings."""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> ServerChoice:
        """
        Read a server's choice, and the files that it names.

        :param given: plain strings, by the names in :data:`SERVER_KEYWORDS`.
        :return: what they come to.
        :raises CredentialError: if they are wrong, leave open whom to admit, or
            name a file that is of no use.
        """
        chosen = readKeywords(SERVER_KEYWORDS, given)
        if not ("identity" in chosen or "certificate" in chosen):
            raise CredentialError("identity must be said: the server's private key")
        checkDecided(SERVER_KEYWORDS, chosen, "whom to admit")
        built = Parts(role=Role.SERVER, chosen=chosen).build(SERVER_KEYWORDS)
        lifetime = chosen.get("ticketLifetime", DEFAULT_LIFETIME)
        return cls(
            credentials=tuple(built.credentials),
            nextCredential=built.nextCredential,
            authorizer=ByKind(built.authorizers),
            authorizedThings=built.authorizedThings,
            presharedKeys=built.presharedKeys,
            tickets=TicketKeys(chosen.get("ticketKeys"), lifetime) if lifetime else None,
            given=given,
        )

    def again(self) -> ServerChoice:
        """
        Read the same strings and their files again; ticket keys in no file stay.

        :return: what they come to now.
        :raises CredentialError: as :meth:`read`.
        """
        now = ServerChoice.read(self.given)
        return now if "ticketKeys" in self.given else replace(now, tickets=self.tickets)

    @property
    def things(self) -> int | None:
        """How many keys the file of authorized things has; None if there is no such file."""
        return None if self.authorizedThings is None else self.authorizedThings.count

    @property
    def files(self) -> list[str]:
        """The files that this was read from; but not that of the ticket keys, which changes."""
        return [
            self.given[keyword.name]
            for keyword in SERVER_KEYWORDS
            if keyword.value == "FILE"
            and keyword.name in self.given
            and keyword.name != "ticketKeys"
        ]

    @property
    def _fields(self) -> dict[str, Any]:
        return {
            "credential": self.credentials[0],
            "otherCredentials": self.credentials[1:],
            "nextCredential": self.nextCredential,
            "peerKinds": self.authorizer.peerKinds,
            "allowAnonymous": CredentialKind.NONE in self.authorizer.authorizers,
            "presharedKeys": self.presharedKeys,
            "tickets": self.tickets,
        }

    def settings(self, **others: Any) -> ServerSettings:
        """
        Make a server's settings.

        :param others: what this choice does not say.
        :return: the settings.
        """
        return ServerSettings(**self._fields, **others)

    def applied(self, settings: ServerSettings) -> ServerSettings:
        """
        Put this choice into settings that there are.

        :param settings: the settings.
        :return: the same, with what this choice says.
        """
        return replace(settings, **self._fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientChoice:
    """What a client's strings come to."""

    credential: Credential
    """What the client authenticates with."""

    authorizer: ByKind
    """Which servers to believe."""

    knownServers: KnownServers | None
    """The file of servers that are known, if there is one."""

    resumption: bool
    """Whether to ask for tickets."""

    @classmethod
    def read(
        cls,
        given: Mapping[str, str],
        server: Server | None = None,
        ask: Ask | None = None,
    ) -> ClientChoice:
        """
        Read a client's choice, and the files that it names.

        :param given: plain strings, by the names in :data:`CLIENT_KEYWORDS`.
        :param server: the host and the port that the client connects to, if it has them.
        :param ask: asked for the passphrase of a key that has one, if no file has it.
        :return: what they come to.
        :raises PassphraseNeeded: if a key has a passphrase, and nobody can be asked.
        :raises CredentialError: if they are wrong, leave open which server to
            believe, or name a file that is of no use.
        """
        chosen = readKeywords(CLIENT_KEYWORDS, given)
        checkDecided(CLIENT_KEYWORDS, chosen, "which server to believe")
        host, port = expectedServer(chosen, server)
        built = Parts(
            role=Role.CLIENT,
            chosen=chosen,
            ask=ask and functools.cache(ask),  # A key and its certificate are of one file.
            host=host,
            port=port,
        ).build(CLIENT_KEYWORDS)
        preshared = CredentialKind.PRESHARED in built.authorizers
        return cls(
            credential=built.credentials[-1] if built.credentials else Anonymous(),
            authorizer=ByKind(dict(reversed(built.authorizers.items()))),
            knownServers=built.knownServers,
            resumption=not preshared and given.get("resumption") != "no",
        )

    def settings(self, **others: Any) -> ClientSettings:
        """
        Make a client's settings.

        :param others: what this choice does not say.
        :return: the settings.
        """
        return ClientSettings(
            credential=self.credential,
            peerKinds=self.authorizer.peerKinds,
            resumption=self.resumption,
            **others,
        )


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
