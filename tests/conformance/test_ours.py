"""Our own peers pass what they are not shown in whole processes, too: secrets, puzzles, tickets."""

from __future__ import annotations

from typing import Any, ClassVar
from unittest import mock

from twisted.internet.defer import Deferred

from tests.conformance.examining import ExaminingCase
from thing import Limits
from thing.conformance.bench import Terms
from thing.conformance.catalogue import checksFor
from thing.conformance.check import Outcome, Profile
from thing.conformance.line import Line
from thing.core.capacity import Capacity
from thing.core.groups import GroupName
from thing.core.messages import Role
from thing.core.records import Aead
from thing.identity import CredentialKind
from thing.trust import PresharedKey, TicketKeys

RETRIES = ("retry.unsolved", "retry.differs", "retry.solved")
TICKETS = ("tickets.accepted", "tickets.binder", "tickets.secret", "tickets.tampered")
PRESHARED = (
    *("preshared.accepted", "preshared.binder", "preshared.unknown", "secrets.last", "proofs.mac"),
    *("handshake.unknown-extension-chi", "handshake.no-credential", "handshake.chi-twice"),
)
PRESHARED_CLIENT = (
    *("preshared.accepted", "preshared.not-taken", "proofs.mac", "proofs.not-taken"),
    *("handshake.not-offered", "retry.solved", "retry.same"),
)


class ServerTests(ExaminingCase):
    """Servers."""

    async def test_puzzles(self) -> None:
        """One that asks everybody to solve a puzzle."""
        bench = self.serverBench(Limits(puzzleAfter=0, puzzleBits=4))
        found = await self.outcomes(bench, RETRIES)
        self.assertEqual(set(found.values()), {Outcome.HOLDS}, self.whys)

    async def test_tickets(self) -> None:
        """One that gives tickets."""
        found = await self.outcomes(self.serverBench(tickets=TicketKeys()), TICKETS)
        self.assertEqual(set(found.values()), {Outcome.HOLDS}, self.whys)

    async def test_preshared(self) -> None:
        """One that takes a pre-shared key, and nothing else."""
        shared = PresharedKey.generate(b"lamp")
        bench = self.serverBench(
            shared=shared,
            peerKinds=(CredentialKind.PRESHARED,),
            presharedKeys={shared.identity: shared.key},
        )
        found = await self.outcomes(bench, PRESHARED)
        self.assertEqual(set(found.values()), {Outcome.HOLDS}, self.whys)


class ClientTests(ExaminingCase):
    """Clients."""

    async def test_tickets(self) -> None:
        """One that asks for tickets, and offers them."""
        bench = self.clientBench(1, resumption=True)
        found = await self.outcomes(bench, ("tickets.layout", "tickets.too-long"))
        found |= await self.outcomes(bench, ["tickets.offered"])
        self.assertEqual(set(found.values()), {Outcome.HOLDS}, self.whys)

    async def test_preshared(self) -> None:
        """One that knows its server by a pre-shared key."""
        bench = self.clientBench(shared=PresharedKey.generate(b"lamp"))
        found = await self.outcomes(bench, PRESHARED_CLIENT)
        self.assertEqual(set(found.values()), {Outcome.HOLDS}, self.whys)


class SmallTests(ExaminingCase):
    """Small peers, in their profile."""

    LEAST: ClassVar[dict[str, Any]] = {
        "capacity": Capacity(512, 576, 128, 0),
        "groups": (GroupName.X25519,),
        "aeads": (Aead.CHACHA20_POLY1305,),
    }

    TIMED = ("handshake.silence", "heartbeat.", "liveness.")
    """What waits, and has nothing to do with sizes."""

    def terms(self, profile: Profile = Profile.SMALL) -> Terms:
        """They are small."""
        return super().terms(profile)

    async def test_server(self) -> None:
        """A server that takes the least."""
        found = await self.outcomes(self.serverBench(**self.LEAST), without=self.TIMED)
        self.assertNotIn(Outcome.FAILS, found.values(), self.whys)
        self.assertEqual(found["streams.too-many"], Outcome.HOLDS)

    async def test_client(self) -> None:
        """A client that takes the least."""
        found = await self.outcomes(self.clientBench(**self.LEAST), without=self.TIMED)
        self.assertNotIn(Outcome.FAILS, found.values(), self.whys)


class TwinsTests(ExaminingCase):
    """A server that has one session for each key at a time, as it is by default."""

    async def test_oneAtATime(self) -> None:
        """No check connects a second time before its first session is over."""
        bench = self.serverBench(tickets=TicketKeys())
        most = []
        make = bench._connect

        def connect() -> Deferred[Line]:
            most.append(sum(each.line.connected for each in bench._peers))
            return make()

        for name in ("handshake.fresh", "handshake.first-aead", "tickets.accepted"):
            with mock.patch.object(bench, "_connect", connect):
                (row,) = (each for each in checksFor(Role.SERVER) if each.name == name)
                await row.run(bench)
                bench.clear()
        self.assertEqual(most, [0] * 6)
