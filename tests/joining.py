"""Servers that invite and things that join, in memory, over files that they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as NobodyListens
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.pairs import PairCase, Recorder
from tests.trust.test_keys import DirectoryMixin, read, write
from tests.turning import TurningClock
from thing import testing
from thing.core.groups import GroupName
from thing.core.settings import ClientSettings
from thing.fleet.inviting import Inviter
from thing.identity import CredentialKind
from thing.session.factory import ThingFactory
from thing.trust import AuthorizedThings, IdentityKey, PinnedServers
from thing.trust.chosen import ServerChoice
from thing.trust.invitations import Invitation, Invitations
from thing.trust.joiners import InvitingServer
from thing.trust.jointoken import JoinToken
from thing.trust.live import LiveTrust

NOW = 1_800_000_000.0
X25519 = (GroupName.X25519,)
SERVER = "example.org:9000"


class Node:
    """
    A server that invites.

    :ivar choice: its files.
    :ivar factory: its sessions.
    :ivar inviter: its invitations.
    """

    def __init__(self, given: dict[str, str], clock: Clock, wallClock: Callable[[], float]) -> None:
        self.choice = ServerChoice.read(given)
        assert self.choice.invitations is not None
        self.choice.invitations.wallClock = wallClock
        settings = self.choice.settings(groups=X25519)
        self.factory = ThingFactory(
            settings, self.choice.authorizer, clock=clock, jitter=lambda: 0.5, wallClock=wallClock
        )
        self.factory.protocol = Recorder
        self.factory.trust = LiveTrust(self.choice, clock, wallClock)
        self.inviter = Inviter(self.factory, self.choice.invitations, given["authorized"])


class JoinCase(DirectoryMixin, PairCase):
    """
    A server that invites, and whatever joins it.

    :ivar things: the file of authorized things.
    :ivar node: the server.
    :ivar clock: its clock, and everybody's.
    """

    pairType: Any = testing.Pair

    def setUp(self) -> None:
        DirectoryMixin.setUp(self)
        PairCase.setUp(self)
        self.clock = TurningClock()
        self.serverKey = IdentityKey.generate()
        self.serverKey.save(self.path("server"))
        self.things = write(self.path("things"), b"# things\n")
        self.given = {
            "identity": self.path("server"),
            "authorized": self.things,
            "invitations": self.path("invitations"),
        }
        self.node = self.anotherNode()

    def wallClock(self) -> float:
        return NOW + self.clock.seconds()

    def anotherNode(self, **given: str) -> Node:
        """A server over the same files."""
        return Node(self.given | given, self.clock, self.wallClock)

    def invited(self, name: str = "lamp", **choices: Any) -> tuple[Invitation, JoinToken]:
        """An invitation, and its token."""
        servers = choices.pop("servers", (SERVER,))
        return self.successResultOf(self.node.inviter.invite(name, servers, **choices))

    def state(self, invitation: Invitation) -> Invitation | None:
        """What another process finds of it."""
        return Invitations(self.given["invitations"], self.wallClock, self.clock).find(
            invitation.id
        )

    def lines(self) -> list[str]:
        """What the file of authorized things says now, in all its lines but the first."""
        return read(self.things).decode().splitlines()[1:]

    def nameOf(self, key: IdentityKey) -> str | None:
        """The name that another process finds for a key; fails if it is not there."""
        return AuthorizedThings(self.things).listing.lines[key.publicKey].name

    def joiner(self, token: JoinToken, node: Node | None = None) -> testing.Pair:
        """Somebody who comes with a token, and is connected."""
        factory = ThingFactory(
            ClientSettings(credential=token, peerKinds=(CredentialKind.PRESHARED,), groups=X25519),
            InvitingServer(token),
            clock=self.clock,
        )
        return self.connected(factory, node)

    def thing(self, key: IdentityKey, node: Node | None = None) -> testing.Pair:
        """A thing that comes with a key of its own."""
        settings = ClientSettings(credential=key, groups=X25519, resumption=False)
        authorizer = PinnedServers([self.serverKey.fingerprint])
        return self.connected(ThingFactory(settings, authorizer, clock=self.clock), node)

    def connected(self, factory: ThingFactory, node: Node | None = None) -> testing.Pair:
        factory.protocol = Recorder
        pair = self.pair((node or self.node).factory, factory, clock=self.clock)
        pair.connect()
        self.settle()
        return pair

    def settle(self, seconds: float = 0.0) -> None:
        """Let everybody say what there is to say, and time pass."""
        end = self.clock.seconds() + seconds
        while True:
            known = -1
            while known != len(self.pairs):
                known = len(self.pairs)
                for pair in list(self.pairs):
                    pair.pump()
            left = end - self.clock.seconds()
            if left <= 1e-9:
                return
            if self.pairs:
                self.pairs[0].advance(min(left, 0.125))
            else:
                self.clock.advance(min(left, 0.125))


@implementer(IStreamClientEndpoint)
class Way:
    """An endpoint in memory: a way to a node, which may be closed."""

    def __init__(self, case: JoinCase, node: Node | None) -> None:
        self._case = case
        self._node = node

    def connect(self, factory: Any) -> Deferred[Any]:
        if self._node is None:
            return fail(NobodyListens())
        factory.protocol = Recorder
        factory.settings = replace(factory.settings, groups=X25519)
        pair = self._case.pair(self._node.factory, factory, clock=self._case.clock)
        pair.connect()
        return succeed(pair.clientSession)
