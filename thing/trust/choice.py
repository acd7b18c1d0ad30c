"""
Trust as people write it: plain strings, in an endpoint's description or on a command line.

One table for each role says what can be chosen: :data:`SERVER_KEYWORDS` and
:data:`CLIENT_KEYWORDS`. Everything that can be wrong is found when the choice
is read, and not when the first peer connects.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from thing.core.credentials import Anonymous, Credential
from thing.core.messages import Role
from thing.core.settings import ClientSettings, ServerSettings
from thing.errors import CredentialError, PassphraseNeeded
from thing.identity import CredentialKind
from thing.trust.authorized import Anyone, AuthorizedThings
from thing.trust.bykind import ByKind
from thing.trust.keys import IdentityKey, readPassphrase
from thing.trust.keywords import (
    Keyword,
    Server,
    checkDecided,
    fingerprints,
    names,
    readKeywords,
    seconds,
    server,
    yes,
)
from thing.trust.preshared import PresharedKey, PresharedKeys, PresharedServer, PresharedThings
from thing.trust.revocation import RevokedKeys
from thing.trust.servers import KnownServers, PinnedServers
from thing.trust.sshcertificates import CertifiedKey, CertifiedServers, CertifiedThings
from thing.trust.tickets import DEFAULT_LIFETIME, TicketKeys

PLATFORM = "platform"
"""What stands for the roots that the operating system comes with."""

Ask = Callable[[str], bytes]
"""Asks somebody for a passphrase, with a prompt."""

_Key = TypeVar("_Key")

_IDENTITY = Keyword("identity", "FILE", "OpenSSH private key, Ed25519")
_OWN: tuple[Keyword, ...] = (
    Keyword("identityCertificate", "FILE", "the key's OpenSSH certificate", needs=("identity",)),
    Keyword("certificate", "FILE", "X.509 certificates in PEM, the own one first"),
    Keyword(
        "privateKey", "FILE", "their private key, if not in the same file", needs=("certificate",)
    ),
    Keyword(
        "passphraseFile",
        "FILE",
        "its first line decrypts the private keys",
        needs=("identity", "certificate"),
    ),
)
_REVOKED = Keyword(
    "revoked",
    "FILE",
    "what is revoked, as ``ssh-keygen -k`` has it",
    needs=("authorities",),
)
_REVOCATION_LISTS = Keyword(
    "revocationLists", "FILE", "X.509 revocation lists (CRLs) in PEM", needs=("trustRoots",)
)

SERVER_KEYWORDS: tuple[Keyword, ...] = (
    _IDENTITY,
    *_OWN,
    Keyword("nextIdentity", "FILE", "private key to come, announced to clients"),
    Keyword("authorized", "FILE", "admit the keys in it, as in ``authorized_keys``", decides=True),
    Keyword("authorities", "FILE", "admit who has an OpenSSH certificate of these", decides=True),
    Keyword(
        "principals",
        "NAMES",
        "of these names only; patterns, commas between",
        names,
        needs=("authorities",),
    ),
    _REVOKED,
    Keyword("trustRoots", "FILE", "admit who has an X.509 certificate of these", decides=True),
    _REVOCATION_LISTS,
    Keyword("presharedKeys", "FILE", "admit who has a key in it, lines ``name:hex``", decides=True),
    Keyword(
        "anonymous",
        "yes",
        "besides, admit clients without a key",
        yes,
        needs=("authorized", "authorities", "trustRoots", "presharedKeys"),
    ),
    Keyword(
        "anyone",
        "yes",
        "admit everybody, with a key or without",
        yes,
        decides=True,
        excludes=("authorized", "authorities", "trustRoots", "presharedKeys", "anonymous"),
    ),
    Keyword("ticketKeys", "FILE", "keys of resumption tickets; made if missing"),
    Keyword(
        "ticketLifetime",
        "SECONDS",
        "lifetime of a ticket; 0 for none",
        seconds,
        default=f"{DEFAULT_LIFETIME:.0f}",
    ),
)
"""What a server chooses."""

CLIENT_KEYWORDS: tuple[Keyword, ...] = (
    replace(_IDENTITY, excludes=("certificate", "presharedKey")),
    *_OWN,
    Keyword(
        "presharedKey",
        "FILE",
        "key shared with the server, a line ``name:hex``",
        decides=True,
        excludes=("certificate", "serverKey", "knownServers", "authorities", "trustRoots"),
    ),
    Keyword(
        "serverKey",
        "FINGERPRINT",
        "believe a server with this key; several with commas between",
        fingerprints,
        decides=True,
        excludes=("knownServers", "firstUse"),
    ),
    Keyword("knownServers", "FILE", "believe the keys in it, as in ``known_hosts``", decides=True),
    Keyword(
        "firstUse",
        "yes",
        "believe and store the key of a server not in that file",
        yes,
        needs=("knownServers",),
    ),
    Keyword(
        "authorities", "FILE", "believe a server with an OpenSSH certificate of these", decides=True
    ),
    _REVOKED,
    Keyword(
        "trustRoots",
        "FILE",
        f"believe a server with an X.509 certificate of these; or ``{PLATFORM}``",
        decides=True,
    ),
    _REVOCATION_LISTS,
    Keyword(
        "serverName",
        "HOST[:PORT]",
        "what the server is called, if not as it is connected to",
        server,
        needs=("knownServers", "authorities", "trustRoots"),
    ),
    Keyword("resumption", "yes|no", "come back without signatures, if allowed; yes", yes),
)
"""What a client chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChoice:
    """What a server's strings come to."""

    credentials: tuple[Credential, ...]
    """What the server authenticates with, the first if the client can check all."""

    nextCredential: Credential | None
    """What it will use next."""

    authorizer: ByKind
    """Whom to admit."""

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
        keys = PresharedKeys(chosen["presharedKeys"]) if "presharedKeys" in chosen else {}
        return cls(
            credentials=tuple(_readCredentials(chosen, Role.SERVER)),
            nextCredential=_readKey(chosen, "nextIdentity") if "nextIdentity" in chosen else None,
            authorizer=ByKind(_thingsToAdmit(chosen, keys)),
            presharedKeys=keys,
            tickets=_ticketKeys(chosen),
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
        authorizer = self.authorizer.authorizers.get(CredentialKind.ED25519)
        return authorizer.count if isinstance(authorizer, AuthorizedThings) else None

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
        if "presharedKey" in chosen:
            key = PresharedKey.load(chosen["presharedKey"])
            return cls(
                credential=key,
                authorizer=ByKind({key.kind: PresharedServer(key)}),
                resumption=False,
            )
        credentials = list(_readCredentials(chosen, Role.CLIENT, ask))
        return cls(
            credential=credentials[-1] if credentials else Anonymous(),
            authorizer=ByKind(_serversToBelieve(chosen, *serverCalled(chosen, server))),
            resumption="resumption" in chosen or "resumption" not in given,
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


def serverCalled(
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
    for name, wanted in (
        ("trustRoots", "host" if not host else ""),
        ("authorities", "host" if not host else ""),
        ("knownServers", "host and port" if not (host and port) else ""),
    ):
        if wanted and name in chosen:
            raise CredentialError(
                f"{spelled(name)} needs {spelled('serverName')}, as there is no {wanted}"
            )
    return host, port


def _readCredentials(
    chosen: Mapping[str, Any], role: Role, ask: Ask | None = None
) -> Iterator[Credential]:
    """Our own credentials: the plain key, then what certifies one."""
    ask = ask and functools.cache(ask)  # A key and its certificate are of one file.
    if "identity" in chosen:
        yield _readKey(chosen, "identity", ask)
    if "identityCertificate" in chosen:
        path = chosen["identityCertificate"]
        load = functools.partial(CertifiedKey.load, chosen["identity"], path)
        certified = _unlocked(chosen, "identity", load, ask)
        if certified.isHost is not (role is Role.SERVER):
            due = "host" if role is Role.SERVER else "user"
            raise CredentialError(f"{path}: a {due} certificate is due here, not the other kind")
        yield certified
    if "certificate" in chosen:
        files = chosen["certificate"], chosen.get("privateKey")
        name = "privateKey" if "privateKey" in chosen else "certificate"
        from thing.trust.certificates import CertificateChain

        yield _unlocked(chosen, name, functools.partial(CertificateChain.load, *files), ask)


def _readKey(chosen: Mapping[str, Any], name: str, ask: Ask | None = None) -> IdentityKey:
    return _unlocked(chosen, name, functools.partial(IdentityKey.load, chosen[name]), ask)


def _unlocked(
    chosen: Mapping[str, Any], name: str, load: Callable[[bytes | None], _Key], ask: Ask | None
) -> _Key:
    """Load the private key of a keyword; ask for its passphrase if no file has it."""
    file = chosen.get("passphraseFile")
    try:
        return load(None if file is None else readPassphrase(file))
    except PassphraseNeeded:
        if ask is None:
            raise
    return load(ask(f"Passphrase of {chosen[name]}"))


def _ticketKeys(chosen: Mapping[str, Any]) -> TicketKeys | None:
    lifetime = chosen.get("ticketLifetime", DEFAULT_LIFETIME)
    return TicketKeys(chosen.get("ticketKeys"), lifetime) if lifetime else None


def _revokedKeys(chosen: Mapping[str, Any]) -> RevokedKeys | None:
    return RevokedKeys(chosen["revoked"]) if "revoked" in chosen else None


def _thingsToAdmit(
    chosen: Mapping[str, Any], presharedKeys: Mapping[bytes, bytes]
) -> dict[CredentialKind, Any]:
    """A server's authorizer for each kind of credential."""
    found: dict[CredentialKind, Any] = {}
    if "anyone" in chosen:
        found[CredentialKind.ED25519] = Anyone()
    if "authorized" in chosen:
        found[CredentialKind.ED25519] = AuthorizedThings(chosen["authorized"])
    if "authorities" in chosen:
        found[CredentialKind.SSH_CERTIFICATE] = CertifiedThings(
            chosen["authorities"], _revokedKeys(chosen), chosen.get("principals")
        )
    if "trustRoots" in chosen:
        from thing.trust.certificates import ThingCertificates

        found[CredentialKind.X509] = ThingCertificates(
            chosen["trustRoots"], chosen.get("revocationLists")
        )
    if "presharedKeys" in chosen:
        found[CredentialKind.PRESHARED] = PresharedThings(presharedKeys)
    if "anyone" in chosen or "anonymous" in chosen:
        found[CredentialKind.NONE] = Anyone()
    return found


def _serversToBelieve(chosen: Mapping[str, Any], host: str, port: int) -> dict[CredentialKind, Any]:
    """A client's authorizer for each kind of credential."""
    found: dict[CredentialKind, Any] = {}
    if "trustRoots" in chosen:
        roots = None if chosen["trustRoots"] == PLATFORM else chosen["trustRoots"]
        from thing.trust.certificates import ServerCertificates

        found[CredentialKind.X509] = ServerCertificates(roots, host, chosen.get("revocationLists"))
    if "authorities" in chosen:
        found[CredentialKind.SSH_CERTIFICATE] = CertifiedServers(
            chosen["authorities"], host, _revokedKeys(chosen)
        )
    if "serverKey" in chosen:
        found[CredentialKind.ED25519] = PinnedServers(chosen["serverKey"])
    if "knownServers" in chosen:
        found[CredentialKind.ED25519] = KnownServers(
            chosen["knownServers"], host, port, "firstUse" in chosen
        )
    return found
