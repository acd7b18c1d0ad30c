"""Peers of ours with one rule taken out: the rows about that rule fail, and others hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

from tests.conformance.examining import ExaminingCase
from thing.conformance.bench import Bench
from thing.conformance.check import Outcome
from thing.core import client, handshake, inbox
from thing.core.credentials import readCredential
from thing.core.handshake import Handshake
from thing.core.handshakemessages import CHI
from thing.core.heartbeat import Pulse
from thing.core.layout import Extensions, Message
from thing.core.messages import CHB, CHI_LIMIT, VERSION, MessageType
from thing.core.requests import RequestLedger
from thing.core.server import ServerConnection
from thing.core.serverhandshake import ServerHandshake
from thing.core.window import Window
from thing.core.wire import MessageReader
from thing.identity import Identity
from thing.trust import PinnedServers


def nothing(*arguments: Any) -> None:
    """Check nothing."""


def believing(kind: int, data: bytes, *others: Any) -> Identity:
    """Believe whoever shows a credential."""
    return readCredential(kind, data)


class BrokenCase(ExaminingCase):
    """Finds out which rows notice."""

    async def assertNoticed(self, bench: Bench[Any], *failing: str, holds: str) -> None:
        """Rows fail, and another holds."""
        self.assertEqual(await self.outcomes(bench, [holds]), {holds: Outcome.HOLDS}, self.whys)
        bench.terms = replace(bench.terms, patience=0.6)  # What never comes is waited for.
        found = await self.outcomes(bench, failing)
        self.assertEqual(found, dict.fromkeys(failing, Outcome.FAILS), self.whys)


class ServerTests(BrokenCase):
    """Servers."""

    async def test_heartbeatNumbers(self) -> None:
        """One that takes heartbeats of any number."""
        right = ServerConnection._handlers[MessageType.CHB]

        def wrong(self: ServerConnection, octets: bytes) -> None:
            self.lastHeartbeat = CHB.decode(octets[1:]).sequence - 1
            right(self, octets)

        with mock.patch.dict(ServerConnection._handlers, {MessageType.CHB: wrong}):
            names = ("first-0", "first-2", "repeated", "skipped")
            await self.assertNoticed(
                self.serverBench(),
                *(f"heartbeat.{name}" for name in names),
                holds="heartbeat.answered",
            )

    async def test_dataRenew(self) -> None:
        """One that takes data for a sign of life."""
        right = ServerConnection._receiveInOrder

        def wrong(self: Any, *arguments: Any) -> None:
            self._liveness.renew(self._now, 0.2)
            right(self, *arguments)

        with mock.patch.object(ServerConnection, "_receiveInOrder", wrong):
            await self.assertNoticed(
                self.serverBench(), "liveness.only-beats", holds="liveness.silent"
            )

    async def test_layoutFirst(self) -> None:
        """One that reads all of CHI, by the layout of this version, before it looks at versions."""

        def wrong(body: bytes) -> CHI:
            message = Message.decode.__func__(CHI, body)  # type: ignore[attr-defined]
            assert isinstance(message, CHI)
            return right(body) if VERSION not in message.versions else message

        right = CHI.decode
        with mock.patch.object(CHI, "decode", wrong):
            names = ("nothing", "others", "many")
            await self.assertNoticed(
                self.serverBench(),
                *(f"handshake.version-and-{name}" for name in names),
                holds="handshake.version",
            )

    async def test_unasked(self) -> None:
        """One that adds what nobody has asked for."""

        def wrong(self: ServerHandshake) -> Extensions:
            return ((0xFF01, b"unasked"),)

        with mock.patch.object(ServerHandshake, "_giveTicket", wrong):
            await self.assertNoticed(
                self.serverBench(), "handshake.unasked-extensions", holds="handshake.established"
            )

    async def test_macs(self) -> None:
        """One that checks no MAC."""
        with mock.patch.object(Handshake, "_checkMac", nothing):
            await self.assertNoticed(self.serverBench(), "proofs.mac", holds="proofs.signature")

    async def test_signatures(self) -> None:
        """One that checks no signature."""
        with mock.patch.object(handshake, "verifyCredential", believing):
            names = ("proofs.signature", "proofs.signature-short", "proofs.scheme")
            await self.assertNoticed(self.serverBench(), *names, holds="proofs.mac")

    async def test_credit(self) -> None:
        """One that does not count what was spent."""
        with mock.patch.object(Window, "spend", nothing):
            names = ("credit.exceeded", "streams.exceeded")
            await self.assertNoticed(self.serverBench(), *names, holds="data.empty")

    async def test_flags(self) -> None:
        """One that ignores flags that it does not know."""
        with mock.patch.object(inbox, "_FLAGS", frozenset(range(256))):
            names = ("data.unknown-flag", "data.unknown-flag-high", "data.more-and-end")
            await self.assertNoticed(self.serverBench(), *names, holds="data.more-empty")

    async def test_limits(self) -> None:
        """One that waits for whatever a header announces."""
        right = MessageReader.nextMessage

        def wrong(self: MessageReader, limit: int) -> bytes | None:
            return right(self, 1 << 24 if limit > CHI_LIMIT else limit)

        with mock.patch.object(MessageReader, "nextMessage", wrong):
            await self.assertNoticed(
                self.serverBench(), "records.too-long", holds="records.first-too-long"
            )


class ClientTests(BrokenCase):
    """Clients."""

    async def test_bounds(self) -> None:
        """One that takes any TTL and any interval."""
        with mock.patch.object(client, "checkSchedule", nothing):
            names = ("handshake.ttl-short", "handshake.interval-long")
            await self.assertNoticed(self.clientBench(), *names, holds="heartbeat.ttl-short")

    async def test_outstanding(self) -> None:
        """One that beats though the beat before is not answered."""
        right = Pulse.beat

        def wrong(self: Pulse, now: float) -> CHB | None:
            return right(self, now) or CHB(1)

        with mock.patch.object(Pulse, "beat", wrong):
            await self.assertNoticed(
                self.clientBench(), "heartbeat.outstanding", holds="heartbeat.new-interval"
            )

    async def test_anyServer(self) -> None:
        """One that believes any server."""

        def wrong(self: PinnedServers, identity: Identity) -> Identity:
            return identity

        with mock.patch.object(PinnedServers, "authorize", wrong):
            await self.assertNoticed(self.clientBench(), "proofs.stranger", holds="proofs.mac")

    async def test_requestNumbers(self) -> None:
        """One that takes requests of any number, as many as there are."""

        def wrong(self: Any, number: int, octets: int, repliesWaiting: int) -> None:
            self._taken[number] = 0

        with mock.patch.object(RequestLedger, "take", wrong):
            names = ("requests.first-0", "requests.first-2", "requests.skipped")
            await self.assertNoticed(self.clientBench(), *names, holds="requests.answered")

    async def test_keyUpdates(self) -> None:
        """One that takes key updates with nothing between them."""
        right = MessageReader.update

        def wrong(self: Any, now: float) -> int:
            generation = right(self, now)
            self._updated = False
            return generation

        with mock.patch.object(MessageReader, "update", wrong):
            await self.assertNoticed(self.clientBench(), "keys.repeated", holds="keys.updated")

    async def test_errors(self) -> None:
        """One that says nothing when it refuses."""
        with mock.patch.object(client.ClientConnection, "_sayReject", nothing):
            await self.assertNoticed(
                self.clientBench(), "messages.unknown", "records.tampered", holds="keys.updated"
            )
