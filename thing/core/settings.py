"""
What a program chooses about its Connections: one frozen object for each role.

All durations are in seconds, all sizes in octets.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from thing.arguments import checkCount, checkFlag, checkKind, checkMethods, checkNumber
from thing.core.capacity import Capacity
from thing.core.credentials import Anonymous, Credential
from thing.core.groups import GROUPS, Group, GroupName, Random
from thing.core.heartbeat import TtlPolicy
from thing.core.messages import LAST_WORD_LIMIT, MAX_TTL, MIN_TTL, Role
from thing.core.preshared import TicketSealer, digestOf, showing
from thing.core.records import RECORD_LIMIT, Aead
from thing.core.window import MAX_WINDOW, Budget
from thing.errors import BadArgument
from thing.identity import CredentialKind, Identity

BUDGET = 256 << 20
"""What the windows of one server, or one client, may have together beyond their first, octets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What both roles choose."""

    peerKinds: tuple[CredentialKind, ...] = (CredentialKind.ED25519,)
    """The kinds of credential that this side's authorizer can judge, the preferred first."""

    groups: tuple[GroupName, ...] = tuple(GROUPS)
    """The key exchange groups, the preferred first."""

    aeads: tuple[Aead, ...] = tuple(Aead)
    """The AEADs, the preferred first."""

    handshakeTimeout: float = 10.0
    """How long the handshake may take, the authorizer's decision included."""

    closeTimeout: float = 30.0
    """How long an orderly close may take, from its first message to its last."""

    maxMessage: int = 1 << 20
    """The longest application message that is taken."""

    maxBuffered: int = 8 << 20
    """How much application data may wait to be sent, in each stream."""

    capacity: Capacity = Capacity(RECORD_LIMIT, 24576, 16384, 100)
    """
    What this side can take once Established, as the peer is told. With 64 kbit/s full both ways
    the credit of the main stream is three seconds of a heartbeat's way; with less a path of 200
    Mbit/s and 100 ms is filled too late.
    """

    maxWindow: int = MAX_WINDOW
    """How far the window of one stream grows: what the application has not taken is no more."""

    budget: Budget = field(default_factory=lambda: Budget(BUDGET), repr=False, compare=False)
    """What all windows together may grow beyond their first; one for all that share it."""

    stream: bool = False
    """Whether received data is told as it comes instead of message by message."""

    random: Random = field(default=secrets.token_bytes, repr=False)
    """The source of randomness."""

    groupTable: dict[GroupName, Group] = field(default_factory=lambda: GROUPS, repr=False)
    """The implementations of the groups."""

    def __post_init__(self) -> None:
        """
        :raises TypeError: for a setting of another type.
        :raises BadArgument: for one out of bounds.
        """
        checkNumber("handshakeTimeout", self.handshakeTimeout)
        checkNumber("closeTimeout", self.closeTimeout)
        for name, size in (
            ("maxMessage", self.maxMessage),
            ("maxBuffered", self.maxBuffered),
            ("maxWindow", self.maxWindow),
        ):
            checkCount(name, size)
        checkFlag("stream", self.stream)
        checkKind("capacity", self.capacity, Capacity, "a Capacity")
        checkKind("budget", self.budget, Budget, "a Budget")
        for name, chosen, kind in (
            ("peerKinds", self.peerKinds, CredentialKind),
            ("groups", self.groups, GroupName),
            ("aeads", self.aeads, Aead),
        ):
            _checkList(name, chosen, kind)
        if self.capacity.problem:
            raise BadArgument(self.capacity.problem)
        if not set(self.groups) <= set(self.groupTable):
            raise BadArgument("a group is not in the group table")
        if CredentialKind.NONE in self.peerKinds:
            raise BadArgument("nobody is no kind of peer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings(Settings):
    """What a server chooses."""

    credential: Credential
    """What the server authenticates with."""

    otherCredentials: tuple[Credential, ...] = ()
    """What it authenticates with to clients that cannot check the first, one of a kind."""

    nextCredential: Credential | None = None
    """What it will use next: announced in every session, signed (SNK); without, no other holds."""

    allowAnonymous: bool = False
    """Whether a client without a credential may reach the authorizer."""

    presharedKeys: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """The pre-shared keys, by identity; they count only if :attr:`peerKinds` has their kind."""

    tickets: TicketSealer | None = field(default=None, repr=False)
    """Seals and opens resumption tickets; None for none."""

    ttl: TtlPolicy = TtlPolicy()
    """What TTL is granted."""

    def __post_init__(self) -> None:
        """
        :raises TypeError: for a setting of another type.
        :raises BadArgument: for one out of bounds.
        """
        Settings.__post_init__(self)
        _checkCredential("credential", self.credential)
        if self.credential.kind is CredentialKind.NONE:
            raise BadArgument("credential is Anonymous(), but a server must be known by something")
        checkKind("otherCredentials", self.otherCredentials, tuple, "a tuple of credentials")
        for other in self.otherCredentials:
            _checkCredential("each of otherCredentials", other)
        if self.nextCredential is not None:
            _checkCredential("nextCredential", self.nextCredential)
        checkFlag("allowAnonymous", self.allowAnonymous)
        checkKind("ttl", self.ttl, TtlPolicy, "a TtlPolicy, as TtlPolicy(default=30)")
        if self.tickets is not None:
            checkMethods(
                "tickets", self.tickets, ("seal", "open"), "what seals them, as TicketKeys"
            )
        checkKind("presharedKeys", self.presharedKeys, Mapping, "a mapping of bytes to bytes")
        for pair in self.presharedKeys.items():
            for each in pair:
                checkKind("each of presharedKeys", each, bytes, "bytes, both identity and key")

    @property
    def role(self) -> Role:
        """The role that these settings are for."""
        return Role.SERVER

    def takes(self, identity: Identity) -> bool:
        """
        Say whether a client that proved something can prove just that here, and now.

        :param identity: what it has proved; whether to admit it is for an authorizer to judge.
        :return: whether such credentials are taken, and, of a pre-shared key, whether it is
            the very one that this server has.
        """
        if identity.kind not in self.peerKinds:
            return self.allowAnonymous and identity.anonymous
        if identity.kind is not CredentialKind.PRESHARED:
            return True
        key = self.presharedKeys.get(identity.credential)
        return key is not None and hmac.compare_digest(digestOf(key), identity.secretDigest)

    @property
    def shown(self) -> bytes:
        """What the server is known by, and will be: what its tickets are good for."""
        following = () if self.nextCredential is None else (self.nextCredential,)
        return showing((self.credential, *self.otherCredentials, *following))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings(Settings):
    """What a client chooses."""

    credential: Credential = Anonymous()
    """What the client authenticates with."""

    requestedTtl: float | None = None
    """The TTL to ask for; None leaves it to the server."""

    resumption: bool | None = None
    """
    Whether to ask for a ticket. The server recognizes who comes back with one: so None is for
    one that shows a credential, and not for one that is anonymous.
    """

    maxDifficulty: int = 20
    """The hardest puzzle to solve, in bits of zero: each doubles the work. 20 take a second."""

    lastWord: bytes = field(default=b"", repr=False)
    """What the server makes public if this client is lost; sent first in every session."""

    @property
    def role(self) -> Role:
        """The role that these settings are for."""
        return Role.CLIENT

    @property
    def wantsTicket(self) -> bool:
        """Whether to ask for a ticket, and use one; there is none beside a pre-shared key."""
        kind, resumption = self.credential.kind, self.resumption
        if kind is CredentialKind.PRESHARED:
            return False
        return kind is not CredentialKind.NONE if resumption is None else resumption

    def __post_init__(self) -> None:
        """
        :raises TypeError: for a setting of another type.
        :raises BadArgument: for one out of bounds.
        """
        Settings.__post_init__(self)
        _checkCredential("credential", self.credential)
        checkCount("maxDifficulty", self.maxDifficulty, 0)
        checkKind("lastWord", self.lastWord, bytes, "bytes")
        if self.resumption is not None:
            checkFlag("resumption", self.resumption)
        if len(self.lastWord) > LAST_WORD_LIMIT:
            raise BadArgument(f"a last word has {LAST_WORD_LIMIT} octets at most")
        if self.credential.kind is CredentialKind.PRESHARED and self.peerKinds != (
            CredentialKind.PRESHARED,
        ):
            raise BadArgument("with a pre-shared key, the peer can be of no other kind")
        if self.requestedTtl is not None:
            least, most = MIN_TTL / 1000, MAX_TTL / 1000
            checkNumber("requestedTtl", self.requestedTtl)
            if not least <= self.requestedTtl <= most:
                raise BadArgument(
                    f"a TTL of {self.requestedTtl:g} s is not within {least:g} s to {most:g} s"
                )


def _checkCredential(name: str, credential: object) -> None:
    """Refuse what nobody can be known by: a path, the class, nothing."""
    wanted = "a credential, as IdentityKey.load(path)"
    checkMethods(name, credential, ("kind", "data", "scheme", "sign"), wanted)


def _checkList(name: str, chosen: object, kind: type) -> None:
    """Refuse what is no list of a kind of things, or empty."""
    checkKind(name, chosen, (tuple, list), f"a tuple of {kind.__name__}")
    assert isinstance(chosen, tuple | list), "it was looked at"
    for each in chosen:
        checkKind(f"each of {name}", each, int, f"of {kind.__name__}")
    if not chosen:
        raise BadArgument(f"{name} is empty")
