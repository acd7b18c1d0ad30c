"""
What the keywords of trust build: each its own part of a server's or a client's choice.

Which keywords there are, and what goes together, is in the tables of :mod:`thing.trust.choice`;
what each makes of its value, in :mod:`thing.trust.makers`; how a file is read and a peer judged,
in the module of each kind of credential.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from thing.core.credentials import Credential
from thing.core.messages import Role
from thing.errors import CredentialError, PassphraseNeeded
from thing.identity import CredentialKind
from thing.trust.authorized import AuthorizedThings, readListing
from thing.trust.files import MAX_FILE, Stamp, readFile, stampOf
from thing.trust.interfaces import IRevocations
from thing.trust.invitations import Invitations
from thing.trust.joiners import Joiners, JoinKeys
from thing.trust.keys import readPassphrase
from thing.trust.keywords import Keyword
from thing.trust.known import KnownServers
from thing.trust.lines import EMPTY_LINE, saysNothing
from thing.trust.nodes import NodesFirst
from thing.trust.slices import Slices, inOneSlice
from thing.trust.unrevoked import Unrevoked

if TYPE_CHECKING:  # It takes long to import.
    from thing.trust.crls import RevocationLists

Ask = Callable[[str], bytes]
"""Asks somebody for a passphrase, with a prompt."""

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Made:
    """What a keyword has made of its files."""

    value: Any = field(repr=False)
    """What it has made."""

    stamps: tuple[Stamp, ...]
    """How the files looked before they were read."""

    full: bool
    """Whether its own file says something, if that is one of lines."""


@dataclass(slots=True, kw_only=True)
class Parts:
    """What the keywords of one choice have built, each its part."""

    role: Role
    """Whose choice it is."""

    chosen: Mapping[str, Any]
    """The values of all keywords: some keywords say how another one builds its part."""

    ask: Ask | None = None
    """Asked for the passphrase of a key that has one, if no file has it."""

    host: str = ""
    """What a client calls the server, if it needs to."""

    port: int = 0
    """The server's port, if a client needs it."""

    before: Mapping[str, Made] = field(default_factory=dict)
    """What was made of the same strings before, by keyword: what has not changed is kept."""

    earlier: Any = field(default=None, repr=False)
    """What the keyword that is making its part made before; None if it did not."""

    made: dict[str, Made] = field(default_factory=dict)
    """What is made of them now, by keyword."""

    contents: dict[str, bytes] = field(default_factory=dict, repr=False)
    """What the files of lines hold that were read, by path."""

    kept: list[str] = field(default_factory=list)
    """What was kept though it has changed, as it cannot be read any more: a line for each."""

    credentials: list[Credential] = field(default_factory=list)
    """What to authenticate with; each proves more than the one before."""

    nextCredential: Credential | None = None
    """What a server will authenticate with next."""

    nodeCredential: Credential | None = None
    """What a server shows other nodes when it connects to them."""

    authorizers: dict[CredentialKind, Any] = field(default_factory=dict)
    """Who decides about a peer, by the kind of its credential."""

    presharedKeys: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """A server's pre-shared keys, by identity."""

    invitations: Invitations | None = None
    """A server's invitations, if it keeps some."""

    authorizedThings: AuthorizedThings | None = None
    """A server's file of things, if it has one."""

    revocationLists: RevocationLists | None = None
    """A server's lists of revoked X.509 certificates, if it has some."""

    knownServers: KnownServers | None = None
    """A client's file of servers, if it has one."""

    def build(self, table: Iterable[TrustKeyword]) -> Slices[Parts]:
        """
        Have each keyword that was chosen build its part; those that wrap others' come last.

        What one authorizer knows to be revoked binds the kinds of all others, too: a server's key
        may be in a certificate as well as by itself.

        :param table: the keywords.
        :return: the slices, which come to this.
        :raises CredentialError: if a file is of no use.
        """
        chosen = [(each, each.part) for each in table if each.name in self.chosen]
        for keyword, part in chosen:
            if part is not None and not isinstance(part, Binds):
                part.build((yield from self._make(keyword, part)), self)
        self.authorizers = dict(map(self._bound, self.authorizers))
        for keyword, part in chosen:
            if isinstance(part, Binds):
                part.build((yield from self._make(keyword, part)), self)
        return self

    def _bound(self, kind: CredentialKind) -> tuple[CredentialKind, Any]:
        """A kind and its authorizer, bound by what those of other kinds know to be revoked."""
        own = bound = self.authorizers[kind]
        for each in self.authorizers.values():
            if each is not own and IRevocations.providedBy(each):
                bound = Unrevoked(bound, each)
        return kind, bound

    def read(self, path: str, private: bool = False) -> bytes:
        """
        Read a file of lines, once: who asks again is told the same, even if it has changed.

        :param path: the file.
        :param private: whether to refuse a file of our own that anybody else may access.
        :return: its content.
        :raises CredentialError: if it cannot be read, or is too open.
        """
        if path not in self.contents:
            self.contents[path] = readFile(path, MAX_FILE, private)
        return self.contents[path]

    def _make(self, keyword: TrustKeyword, part: Part) -> Slices[Any]:
        """Have a keyword make its part; or keep what it made, if no file has changed."""
        files = [self.chosen[name] for name in keyword.files if name in self.chosen]
        before = self.before.get(keyword.name)
        known = before.stamps if before else (None,) * len(files)
        stamps = tuple(map(stampOf, files, known))
        if before is None or stamps != known:
            before = yield from self._read(keyword, part, stamps, before)
        self.made[keyword.name] = before
        return before.value

    def _read(
        self, keyword: TrustKeyword, part: Part, stamps: tuple[Stamp, ...], before: Made | None
    ) -> Slices[Made]:
        value = self.chosen[keyword.name]
        self.earlier = None if before is None else before.value
        try:
            made = yield from part.make(value, self)
            full = keyword.lines and not saysNothing(self.read(value))
        except CredentialError as error:
            if before is None or not isinstance(error.__cause__, PermissionError):
                raise
            # Who gave up its rights still follows what it can read.
            self.kept.append(f"{error}: what it was before stays until a restart")
            return replace(before, stamps=stamps)
        if before is not None and before.full and not full:
            raise CredentialError(
                f"{value} is suddenly empty, which is taken for a fault; "
                f"if it is meant, leave the line {EMPTY_LINE.decode()!r} in it"
            )
        return Made(made, stamps, full)

    def unlocked(self, path: str, load: Callable[[bytes | None], _Key]) -> _Key:
        """
        Load a private key with its passphrase; ask for that if no file has it.

        :param path: the key's file.
        :param load: loads it, with a passphrase or without.
        :return: the key.
        :raises PassphraseNeeded: if it has a passphrase, and nobody can be asked.
        :raises CredentialError: if a file is of no use.
        """
        file = self.chosen.get("passphraseFile")
        try:
            return load(None if file is None else readPassphrase(file))
        except PassphraseNeeded:
            if self.ask is None:
                raise
        return load(self.ask(f"Passphrase of {path}"))


class Part(Protocol):
    """What a keyword makes of its value, and what that is in a choice."""

    def make(self, value: Any, parts: Parts) -> Slices[Any]:
        """
        Make it.

        :param value: the keyword's value.
        :param parts: the choice, with the values of the others.
        :return: the slices, which come to what is made.
        :raises CredentialError: if a file is of no use.
        """

    def build(self, made: Any, parts: Parts) -> None:
        """
        Add it to a choice.

        :param made: what was made.
        :param parts: the choice.
        """


@dataclass(frozen=True, slots=True)
class Shows:
    """A credential of our own."""

    load: Callable[[Any, Parts], Credential]
    """Makes it of the keyword's value."""

    @inOneSlice
    def make(self, value: Any, parts: Parts) -> Credential:
        """Load it."""
        return self.load(value, parts)

    def build(self, made: Credential, parts: Parts) -> None:
        """Authenticate with it."""
        parts.credentials.append(made)


@dataclass(frozen=True, slots=True)
class Announces:
    """A credential that a server will show, and now says so."""

    load: Callable[[Any, Parts], Credential]
    """Makes it of the keyword's value."""

    @inOneSlice
    def make(self, value: Any, parts: Parts) -> Credential:
        """Load it."""
        return self.load(value, parts)

    def build(self, made: Credential, parts: Parts) -> None:
        """Announce it."""
        parts.nextCredential = made


@dataclass(frozen=True, slots=True)
class Introduces:
    """A credential that a server shows when it is the client of another node."""

    load: Callable[[Any, Parts], Credential]
    """Makes it of the keyword's value."""

    @inOneSlice
    def make(self, value: Any, parts: Parts) -> Credential:
        """Load it."""
        return self.load(value, parts)

    def build(self, made: Credential, parts: Parts) -> None:
        """Show it to other nodes."""
        parts.nodeCredential = made


@dataclass(frozen=True, slots=True)
class Admits:
    """An authorizer for some kinds of credential."""

    kinds: tuple[CredentialKind, ...]
    """The kinds."""

    maker: Callable[[Any, Parts], Slices[Any]]
    """Makes it of the keyword's value."""

    names: str = ""
    """What it must know of a server: ``host``, ``host and port``, or nothing."""

    note: Callable[[Any, Parts], object] | None = None
    """Notes in the choice what else there is to say of it."""

    def make(self, value: Any, parts: Parts) -> Slices[Any]:
        """Make the authorizer."""
        return self.maker(value, parts)

    def build(self, made: Any, parts: Parts) -> None:
        """Let it decide about these kinds."""
        parts.authorizers |= dict.fromkeys(self.kinds, made)
        if self.note is not None:
            self.note(made, parts)


@dataclass(frozen=True, slots=True)
class AdmitsNodes:
    """Other nodes with raw keys, before anybody is asked who decides about such keys."""

    def make(self, value: Any, parts: Parts) -> Slices[AuthorizedThings]:
        """Read their file."""
        listing = parts.earlier and parts.earlier.listing
        return AuthorizedThings(value, (yield from readListing(value, parts.read(value), listing)))

    def build(self, made: AuthorizedThings, parts: Parts) -> None:
        """Let nodes be admitted as such."""
        kind = CredentialKind.ED25519
        parts.authorizers[kind] = NodesFirst(made, parts.authorizers.get(kind))


@dataclass(frozen=True, slots=True)
class Binds:
    """A restriction for some kinds of credential, whoever else decides about them."""

    kinds: tuple[CredentialKind, ...]
    """The kinds."""

    maker: Callable[[Any, Parts], Slices[Callable[[Any], Any]]]
    """Makes of the keyword's value what wraps an authorizer."""

    def make(self, value: Any, parts: Parts) -> Slices[Callable[[Any], Any]]:
        """Make what wraps an authorizer."""
        return self.maker(value, parts)

    def build(self, made: Callable[[Any], Any], parts: Parts) -> None:
        """Wrap the authorizers of these kinds."""
        parts.authorizers |= {
            kind: made(authorizer)
            for kind, authorizer in parts.authorizers.items()
            if kind in self.kinds
        }


@dataclass(frozen=True, slots=True)
class Invites:
    """Who may join: a part of a server's choice, beside what else is admitted by such keys."""

    @inOneSlice
    def make(self, value: str, parts: Parts) -> Invitations:
        """Make the invitations."""
        return Invitations(value)

    def build(self, made: Invitations, parts: Parts) -> None:
        """Admit who comes by one."""
        kind = CredentialKind.PRESHARED
        parts.invitations = made
        parts.authorizers[kind] = Joiners(made, parts.authorizers.get(kind))
        parts.presharedKeys = JoinKeys(made, parts.presharedKeys)


@dataclass(frozen=True, slots=True)
class TrustKeyword(Keyword):
    """A keyword that builds its part of a choice, or says how another one does."""

    part: Part | None = field(default=None, kw_only=True)
    """What it builds, if it does."""

    reads: tuple[str, ...] = field(default=(), kw_only=True)
    """Which other keywords' files it reads for that."""

    lines: bool = field(default=False, kw_only=True)
    """Whether its file has lines, of which it must not lose all by accident."""

    ownFile: bool = field(default=False, kw_only=True)
    """Whether the server writes its file itself, and looks after it."""

    @property
    def files(self) -> tuple[str, ...]:
        """The keywords whose files its part is made of, and anew when they have changed."""
        return (self.name, *self.reads) if self.value == "FILE" and not self.ownFile else ()


def tableOf(*keywords: TrustKeyword) -> tuple[TrustKeyword, ...]:
    """
    Make a table of keywords, in which whatever restricts needs somebody to restrict.

    :param keywords: the keywords.
    :return: the same; those that bind kinds of credentials need one that admits such.
    """

    def admitting(kinds: Iterable[CredentialKind]) -> tuple[str, ...]:
        return tuple(
            each.name
            for each in keywords
            if isinstance(each.part, Admits) and not set(kinds).isdisjoint(each.part.kinds)
        )

    return tuple(
        replace(each, needs=admitting(each.part.kinds)) if isinstance(each.part, Binds) else each
        for each in keywords
    )
