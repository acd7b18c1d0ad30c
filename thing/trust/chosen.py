"""
What a choice comes to: the credentials, the authorizer and the settings of a server or a client.

Everything that can be wrong is found when the choice is read, and not when the first peer
connects. What can be chosen is in :mod:`thing.trust.choice`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from thing.core.credentials import Anonymous, Credential
from thing.core.messages import Role
from thing.core.settings import ClientSettings, ServerSettings
from thing.errors import CredentialError
from thing.identity import CredentialKind
from thing.trust.authorized import AuthorizedThings
from thing.trust.bykind import ByKind
from thing.trust.choice import CLIENT_KEYWORDS, SERVER_KEYWORDS, expectedServer
from thing.trust.invitations import Invitations
from thing.trust.keywords import Server, checkDecided, readKeywords
from thing.trust.known import KnownServers
from thing.trust.parts import Ask, Made, Parts
from thing.trust.slices import Slices, atOnce
from thing.trust.tickets import DEFAULT_LIFETIME, TicketKeys

if TYPE_CHECKING:  # It takes long to import.
    from thing.trust.crls import RevocationLists


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChoice:
    """What a server's strings come to."""

    credentials: tuple[Credential, ...]
    """What the server authenticates with, the first if the client can check all."""

    nextCredential: Credential | None
    """What it will use next."""

    nodeCredential: Credential | None
    """What it shows other nodes when it connects to them; None if it knows of none."""

    authorizer: ByKind
    """Whom to admit."""

    authorizedThings: AuthorizedThings | None
    """The file of things that have a key, if there is one."""

    presharedKeys: Mapping[bytes, bytes] = field(repr=False)
    """The pre-shared keys, by identity."""

    invitations: Invitations | None
    """Who may join, if the server keeps that."""

    tickets: TicketKeys | None
    """Seals the tickets."""

    revocationLists: RevocationLists | None
    """The lists of revoked X.509 certificates, if there are some."""

    given: Mapping[str, str]
    """The strings."""

    made: Mapping[str, Made] = field(repr=False)
    """What the files came to, by keyword."""

    kept: tuple[str, ...]
    """Which files have changed but cannot be read any more, and so are what they were."""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> ServerChoice:
        """
        Read a server's choice, and the files that it names.

        :param given: plain strings, by the names in :data:`SERVER_KEYWORDS`.
        :return: what they come to.
        :raises CredentialError: if they are wrong, leave open whom to admit, or
            name a file that is of no use.
        """
        return atOnce(cls._read(given, None))

    @classmethod
    def _read(cls, given: Mapping[str, str], before: ServerChoice | None) -> Slices[ServerChoice]:
        """The same; files that have not changed since before are not read again."""
        chosen = readKeywords(SERVER_KEYWORDS, given)
        if not ("identity" in chosen or "certificate" in chosen):
            raise CredentialError("identity must be said: the server's private key")
        checkDecided(SERVER_KEYWORDS, chosen, "whom to admit")
        parts = Parts(role=Role.SERVER, chosen=chosen, before=before.made if before else {})
        built = yield from parts.build(SERVER_KEYWORDS)
        return cls(
            credentials=tuple(built.credentials),
            nextCredential=built.nextCredential,
            nodeCredential=_nodeCredential(built) if "nodes" in chosen else None,
            authorizer=ByKind(built.authorizers),
            authorizedThings=built.authorizedThings,
            presharedKeys=built.presharedKeys,
            invitations=built.invitations,
            tickets=before.tickets if before else _ticketKeys(chosen),
            revocationLists=built.revocationLists,
            given=given,
            made=built.made,
            kept=tuple(built.kept),
        )

    def again(self) -> Slices[ServerChoice]:
        """
        Read the same strings and those of their files that have changed; this stays as it is.

        The ticket keys look after their file themselves.

        :return: the slices, which come to what they are now.
        :raises CredentialError: as :meth:`read`, or if a file has lost all its lines.
        """
        now = yield from ServerChoice._read(self.given, self)
        if self.tickets is not None:
            self.tickets.refresh()
        return now

    @property
    def things(self) -> int | None:
        """How many keys the file of authorized things has; None if there is no such file."""
        return None if self.authorizedThings is None else self.authorizedThings.count

    @property
    def files(self) -> list[str]:
        """The files that this was read from; but not those that the server writes itself."""
        return [
            self.given[keyword.name]
            for keyword in SERVER_KEYWORDS
            if keyword.value == "FILE" and not keyword.ownFile and keyword.name in self.given
        ]

    def nextBegin(self, now: datetime) -> datetime | None:
        """
        Tell when something in the files begins to count that does not yet.

        :param now: the time.
        :return: when; None if everything does.
        """
        lists = self.revocationLists
        return None if lists is None else lists.nextBegin(now)

    def troubles(self, now: datetime) -> list[str]:
        """
        Tell what is wrong with the files, though they can be used.

        :param now: the time.
        :return: a line for each trouble; as long as it lasts always the same.
        """
        return _troubles(self, now)

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

    resumption: bool | None
    """Whether to ask for tickets; None leaves it to what is shown."""

    revocationLists: RevocationLists | None
    """The lists of revoked X.509 certificates, if there are some."""

    given: Mapping[str, str]
    """The strings."""

    server: Server | None
    """The host and the port that the client connects to, if it has them."""

    made: Mapping[str, Made] = field(repr=False)
    """What the files came to, by keyword."""

    kept: tuple[str, ...]
    """Which files have changed but cannot be read any more, and so are what they were."""

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
        return atOnce(cls._read(given, server, ask, {}))

    @classmethod
    def _read(
        cls,
        given: Mapping[str, str],
        server: Server | None,
        ask: Ask | None,
        before: Mapping[str, Made],
    ) -> Slices[ClientChoice]:
        """The same; files that have not changed since before are not read again."""
        chosen = readKeywords(CLIENT_KEYWORDS, given)
        checkDecided(CLIENT_KEYWORDS, chosen, "which server to believe")
        host, port = expectedServer(chosen, server)
        parts = Parts(
            role=Role.CLIENT,
            chosen=chosen,
            ask=ask and functools.cache(ask),  # A key and its certificate are of one file.
            host=host,
            port=port,
            before=before,
        )
        built = yield from parts.build(CLIENT_KEYWORDS)
        return cls(
            credential=built.credentials[-1] if built.credentials else Anonymous(),
            authorizer=ByKind(dict(reversed(built.authorizers.items()))),
            knownServers=built.knownServers,
            resumption={"yes": True, "no": False}.get(given.get("resumption", "")),
            revocationLists=built.revocationLists,
            given=given,
            server=server,
            made=built.made,
            kept=tuple(built.kept),
        )

    def again(self) -> Slices[ClientChoice]:
        """
        Read the same strings and those of their files that have changed; this stays as it is.

        Nobody is asked for a passphrase.

        :return: the slices, which come to what they are now; to this itself if that is the same.
        :raises CredentialError: as :meth:`read`, or if a file has lost all its lines.
        """
        now = yield from ClientChoice._read(self.given, self.server, None, self.made)
        return self if all(now.made[name] is made for name, made in self.made.items()) else now

    def troubles(self, now: datetime) -> list[str]:
        """
        Tell what is wrong with the files, though they can be used.

        :param now: the time.
        :return: a line for each trouble; as long as it lasts always the same.
        """
        return _troubles(self, now)

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

    def applied(self, settings: ClientSettings) -> ClientSettings:
        """
        Put what the files have into settings that there are.

        :param settings: the settings.
        :return: the same, with what this choice says.
        """
        return replace(settings, credential=self.credential, peerKinds=self.authorizer.peerKinds)


def _troubles(choice: ServerChoice | ClientChoice, now: datetime) -> list[str]:
    """What is wrong with the files of a choice, though they can be used."""
    lists = choice.revocationLists
    return [*choice.kept, *([] if lists is None else lists.troubles(now))]


def _nodeCredential(built: Parts) -> Credential:
    """What a server shows other nodes: the key of its own for that, or its raw key."""
    raw = [each for each in built.credentials if each.kind is CredentialKind.ED25519]
    return built.nodeCredential or raw[0]


def _ticketKeys(chosen: Mapping[str, Any]) -> TicketKeys | None:
    """What seals a server's tickets."""
    lifetime = chosen.get("ticketLifetime", DEFAULT_LIFETIME)
    return TicketKeys(chosen.get("ticketKeys"), lifetime) if lifetime else None
