"""
The attacks of docs/security.rst that no other test module tries.

The attacker here owns the network: it sees, holds back, drops, changes and
invents octets. Where a test gives it more, such as a stolen key, it says so.
"""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import (
    CLIENT_CREDENTIAL,
    SERVER_CREDENTIAL,
    Ed25519Credential,
    MessageClient,
    MessageServer,
    SeededRandom,
    clientSettings,
    cut,
    ending,
    establishedPair,
    give,
    makeHandshakes,
    makePair,
    nextKeyMessage,
    only,
    pump,
    recordFor,
    runTimers,
    sendTo,
    serverSettings,
    splitRecords,
)
from thing.core import handshake as handshakeModule
from thing.core.client import ClientConnection
from thing.core.dialogue import Dialogue
from thing.core.endings import MAX_RETRY_AFTER
from thing.core.groups import GROUPS, Group, GroupName, Random, ServerExchange
from thing.core.layout import Message
from thing.core.limits import Limits
from thing.core.messages import (
    CDT,
    CFL,
    CGB,
    CHB,
    CHI_LIMIT,
    CHR,
    FRAGMENT_LIMIT,
    HANDSHAKE_LIMIT,
    MORE,
    SFL,
    SGA,
    SGB,
    SHR,
    MessageType,
)
from thing.core.records import HEADER_LENGTH, Aead, TrafficKey, clearRecord
from thing.core.server import ServerConnection
from thing.core.states import State
from thing.core.window import RECORD_COST
from thing.errors import EndReason, ErrorCode, NotAuthorized, RemoteProtocolError
from thing.events import (
    Cause,
    HeartbeatAcknowledged,
    HeartbeatReceived,
    KeysAnnounced,
    MessageReceived,
    PeerProved,
)
from thing.identity import fingerprint
from thing.session.driver import LINGER
from thing.session.factory import ThingFactory
from thing.trust import Anyone, PinnedServers

LAST_WORDS: tuple[tuple[bool, Message], ...] = (
    (True, SFL(0, EndReason.HEARTBEAT_MISSED, 0)),
    (True, SGB()),
    (True, SGA(EndReason.SHUTDOWN, 0, 0)),
    (True, SHR(ErrorCode.NOT_AUTHORIZED)),
    (False, CGB()),
    (False, CFL()),
    (False, CHR(ErrorCode.NOT_AUTHORIZED)),
)
"""Every message that ends a session, with whether it goes to the client."""

TTL = 30.0
"""What the server grants by default, seconds."""


def anotherPair(seed: str, **server: Any) -> tuple[ClientConnection, ServerConnection]:
    """A session of the usual two, with randomness of its own."""
    return establishedPair(
        clientSettings(random=SeededRandom(f"client {seed}")),
        serverSettings(random=SeededRandom(f"server {seed}"), **server),
    )


def output(side: Dialogue, now: float = 0.0) -> bytes:
    """All that a side has to send."""
    return side.dataToSend(now, 1 << 30)


def messages(events: Iterable[object]) -> list[bytes]:
    """The application's messages among the events."""
    return [event.data for event in only(MessageReceived, events)]


class EndingTests(SynchronousTestCase):
    """Can SFL, or any other end of a session, be exploited?"""

    def assertUnreadable(self, side: Dialogue, data: bytes) -> None:
        """The octets end the session, and it does not look like the end that they wanted."""
        termination = ending(give(side, data, 0.0))
        self.assertIs(termination.cause, Cause.PROTOCOL_ERROR)
        self.assertIs(termination.code, ErrorCode.RECORD_UNREADABLE)
        self.assertFalse(termination.byPeer or termination.clean)
        self.assertIsNone(termination.retryAfter)

    def test_forged(self) -> None:
        """No final word is believed from one who has not the keys, neither clear nor sealed."""
        for toClient, message in LAST_WORDS:
            body = message.encode()
            key = TrafficKey(Aead.AES_256_GCM, os.urandom(32), 0.0)
            for forgery in (
                clearRecord(message.TYPE, body),
                key.seal(bytes((message.TYPE,)) + body),
            ):
                client, server = establishedPair()
                self.assertUnreadable(client if toClient else server, forgery)

    def test_replayed(self) -> None:
        """The final words of one session are worth nothing in the next of the same two."""
        for toClient, message in LAST_WORDS:
            old, new = anotherPair("old"), anotherPair("new")
            plaintext = bytes((message.TYPE,)) + message.encode()
            record = recordFor(old[0 if toClient else 1], plaintext)
            self.assertUnreadable(new[0 if toClient else 1], record)

    def test_replayedHeartbeat(self) -> None:
        """A heartbeat is worth nothing the second time: it renews nothing, and ends the session."""
        client, server = establishedPair()
        client.beat(1.0)
        record = output(client)
        self.assertEqual(len(only(HeartbeatReceived, give(server, record, 1.0))), 1)
        self.assertUnreadable(server, record)

    def test_reflected(self) -> None:
        """A side's own final word does not end its session, whoever sends it back."""
        for toClient, message in LAST_WORDS:
            client, server = establishedPair()
            sender, receiver = (server, client) if toClient else (client, server)
            plaintext = bytes((message.TYPE,)) + message.encode()
            self.assertUnreadable(sender, recordFor(receiver, plaintext))
            # Not even if it were sealed with the right key.
            client, server = establishedPair()
            termination = ending(sendTo(server if toClient else client, message))
            self.assertIs(termination.code, ErrorCode.REFLECTED_MESSAGE)

    def test_reordered(self) -> None:
        """A final word that is let past the data before it is not believed, and nothing is lost."""
        client, server = establishedPair()
        server.sendMessage(b"before")
        records = splitRecords(output(server))
        runTimers(server, 0.0, TTL)
        (finalWord,) = splitRecords(output(server))
        self.assertUnreadable(client, finalWord + b"".join(records))
        client, server = establishedPair()
        client.sendMessage(b"before")
        client.goodbye(0.0)
        data, goodbye = splitRecords(output(client))
        self.assertUnreadable(server, goodbye + data)

    def test_leftOut(self) -> None:
        """A record that is taken out of the stream makes the next one unreadable."""
        client, server = establishedPair()
        for message in (b"one", b"two", b"three"):
            client.sendMessage(message)
        one, _, three = splitRecords(output(client))
        self.assertEqual(messages(give(server, one, 0.0)), [b"one"])
        self.assertUnreadable(server, three)

    def test_changed(self) -> None:
        """With any bit of any octet of SFL changed it is no flat line."""
        _, server = establishedPair()
        runTimers(server, 0.0, TTL)
        record = output(server)
        for at in range(len(record)):
            for bit in range(8):
                client, _ = establishedPair()
                changed = bytearray(record)
                changed[at] ^= 1 << bit
                told = [*give(client, bytes(changed), 0.0), *client.receiveEnd(0.0)]
                self.assertIn(ending(told).cause, (Cause.PROTOCOL_ERROR, Cause.TRUNCATED))

    def test_injected(self) -> None:
        """Octets that are put in before a final word end the session by themselves."""
        client, server = establishedPair()
        runTimers(server, 0.0, TTL)
        self.assertUnreadable(client, clearRecord(MessageType.SUU, bytes(16)) + output(server))

    def test_nothingAfter(self) -> None:
        """After SFL a session is over: what was held back till then delivers and renews nothing."""
        client, server = establishedPair()
        client.beat(10.0)
        client.sendMessage(b"late")
        held = output(client, 10.0)
        runTimers(server, 0.0, 2 * TTL)
        self.assertIs(server.state, State.ENDED)
        output(server)
        self.assertEqual(give(server, held, 2 * TTL), [])
        self.assertEqual(output(server), b"")

    def test_cut(self) -> None:
        """
        However the stream is cut, no end looks clean unless all data arrived.

        A server's goodbye is clean only with CFL. A client's is with SGB, which the server
        sends when it has everything: only CFL itself, which carries nothing, can be missing.
        """
        sizes = self._converse(1 << 30, 1 << 30)
        for size in range(sizes[0]):
            self._converse(size, 1 << 30)
        for size in range(sizes[1]):
            self._converse(1 << 30, size)

    def _converse(self, fromClient: int, fromServer: int) -> tuple[int, int]:
        """A goodbye with data both ways, of which only so many octets get through."""
        client, server = establishedPair()
        client.sendMessage(b"question")
        server.sendMessage(b"answer")
        client.goodbye(0.0)
        told: dict[Dialogue, list[object]] = {client: [], server: []}
        carried = {client: 0, server: 0}
        budget = {client: fromClient, server: fromServer}
        while client.hasDataToSend or server.hasDataToSend:
            for sender, receiver in ((client, server), (server, client)):
                data = output(sender)[: max(0, budget[sender] - carried[sender])]
                carried[sender] += len(data)
                told[receiver] += give(receiver, data, 0.0)
        for side in (client, server):
            told[side] += side.receiveEnd(0.0)
        clientEnd, serverEnd = ending(told[client]), ending(told[server])  # type: ignore[arg-type]
        for end in (clientEnd, serverEnd):
            self.assertIn(end.cause, (Cause.GOODBYE, Cause.TRUNCATED))
        if clientEnd.clean or serverEnd.clean:
            self.assertEqual(messages(told[client]), [b"answer"])
            self.assertEqual(messages(told[server]), [b"question"])
        if fromClient != 1 << 30:
            self.assertFalse(serverEnd.clean)
        return carried[client], carried[server]


class HeartbeatTests(SynchronousTestCase):
    """What a network can do to heartbeats."""

    def test_delayed(self) -> None:
        """A heartbeat that comes late, but within the TTL, renews the session."""
        client, server = establishedPair()
        client.beat(10.0)
        beat = output(client, 10.0)
        runTimers(server, 0.0, TTL - 1)
        self.assertEqual(len(only(HeartbeatReceived, give(server, beat, TTL - 1))), 1)
        answer = output(server, TTL - 1)
        self.assertEqual(len(only(HeartbeatAcknowledged, give(client, answer, TTL - 1))), 1)

    def test_withheld(self) -> None:
        """Who withholds everything ends the session, within a TTL, and both sides know it."""
        client, server = establishedPair()
        client.beat(10.0)
        output(client, 10.0)
        serverTold = runTimers(server, 0.0, 10 * TTL)
        clientTold = runTimers(client, 0.0, 10 * TTL)
        self.assertIs(server.termination and server.termination.cause, Cause.FLAT_LINED)
        self.assertIs(client.termination and client.termination.cause, Cause.LAPSED)
        for told in (serverTold, clientTold):
            self.assertLessEqual(told[-1][0], TTL + 0.1)

    def test_stored(self) -> None:
        """Who stores heartbeats can feign life for one TTL more: only one is ever outstanding."""
        client, server = establishedPair()
        client.beat(10.0)
        stored = output(client, 10.0)
        client.beat(20.0)
        self.assertEqual(output(client, 20.0), b"")
        runTimers(server, 0.0, TTL - 1)
        give(server, stored, TTL - 1)
        told = runTimers(server, TTL - 1, 10 * TTL)
        self.assertLessEqual(told[-1][0], 2 * TTL)
        self.assertIs(server.termination and server.termination.cause, Cause.FLAT_LINED)

    def test_fixedSize(self) -> None:
        """A heartbeat and its answer have one length each, and echo no octet that a peer chose."""
        for toClient, kind, length in ((False, MessageType.CHB, 12), (True, MessageType.SUU, 16)):
            for wrong in (0, 1, length - 1, length + 1, length + 2, FRAGMENT_LIMIT):
                client, server = establishedPair()
                client.beat(0.0)
                side = client if toClient else server
                record = recordFor(side, bytes((kind,)) + bytes(wrong))
                self.assertIs(ending(give(side, record, 0.0)).code, ErrorCode.MALFORMED_MESSAGE)
        _, server = establishedPair()
        secret = 0xDEADBEEF
        sendTo(server, CHB(1, secret))
        self.assertNotIn(secret.to_bytes(4, "big"), output(server))

    def test_beforeProof(self) -> None:
        """Before the handshake is complete a heartbeat is not answered."""
        for kind, size in ((MessageType.CHB, 12), (MessageType.SUU, 16)):
            client, server = makePair()
            for side in (client, server):
                output(side)
                events = give(side, clearRecord(kind, bytes(size)), 0.0)
                self.assertIs(ending(events).cause, Cause.REJECTED)
                for answer in splitRecords(output(side)):
                    self.assertIn(answer[HEADER_LENGTH], (MessageType.CHR, MessageType.SHR))


class CountingGroup:
    """X25519, and how many key pairs it made."""

    def __init__(self) -> None:
        self.begun = 0

    def begin(self, random: Random) -> ServerExchange:
        self.begun += 1
        return GROUPS[GroupName.X25519].begin(random)

    def respond(self, serverShare: bytes, random: Random) -> tuple[bytes, bytes]:
        return GROUPS[GroupName.X25519].respond(serverShare, random)


class StrangerTests(SynchronousTestCase):
    """What somebody costs who has proved nothing."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.group: Group = CountingGroup()
        self.transports: list[StringTransport] = []

    def factory(self, limits: Limits) -> ThingFactory:
        """A server's factory."""
        settings = serverSettings(groupTable={GroupName.X25519: self.group})
        return ThingFactory(settings, Anyone(), limits=limits, clock=self.clock, jitter=lambda: 0.0)

    def connect(self, factory: ThingFactory, host: str = "192.0.2.1") -> StringTransport | None:
        """A connection to the factory's server, or none if it takes none."""
        protocol = factory.buildProtocol(IPv4Address("TCP", host, 1))
        if protocol is None:
            return None
        transport = StringTransport()
        protocol.makeConnection(transport)
        transport.protocol = protocol
        return transport

    def assertBusy(self, transport: StringTransport | None) -> None:
        """The connection was turned away with a few octets."""
        assert transport is not None
        expected = SHR(ErrorCode.SERVER_BUSY, 5000)
        self.assertEqual(transport.value(), clearRecord(MessageType.SHR, expected.encode()))

    def stranger(self, factory: ThingFactory, data: bytes, host: str = "192.0.2.1") -> None:
        """A connection that says its piece, and goes when it is cut off."""
        transport = self.connect(factory, host)
        assert transport is not None
        transport.protocol.dataReceived(data)
        self.transports.append(transport)
        for other in [one for one in self.transports if one.disconnecting]:
            self.transports.remove(other)
            other.protocol.connectionLost()

    def test_halfOpen(self) -> None:
        """Of a flood of silent handshakes so many are kept, the newest; none costs a DH."""
        factory = self.factory(Limits(handshakes=3, sessions=100))
        transports = [self.connect(factory) for _ in range(20)]
        cut = [transport is not None and transport.disconnecting for transport in transports]
        self.assertEqual(cut, [True] * 17 + [False] * 3)
        self.assertEqual(self.group.begun, 0)  # type: ignore[attr-defined]

    def test_roomAgain(self) -> None:
        """A handshake that is left half open is over at its deadline, without anybody's help."""
        factory = self.factory(Limits(handshakes=1))
        transport = self.connect(factory)
        assert transport is not None
        for _ in range(110):
            self.clock.advance(0.1)
        self.assertIs(transport.protocol.termination.code, ErrorCode.HANDSHAKE_TIMEOUT)
        self.assertEqual(factory.door.handshakes, {})

    def test_keyExchanges(self) -> None:
        """A flood of first messages costs no more key exchanges than are free of a puzzle."""
        factory = self.factory(Limits(puzzleAfter=5))
        client, _ = makePair()
        chi = output(client)
        for _ in range(50):
            self.stranger(factory, chi)
        self.assertEqual(self.group.begun, 5)  # type: ignore[attr-defined]

    def test_wrongSolutions(self) -> None:
        """Nor does a flood of wrong solutions."""
        factory = self.factory(Limits(puzzleAfter=0, puzzleBits=200, maxPuzzleBits=200))
        client, _ = makePair()
        chi = output(client)
        for _ in range(50):
            self.stranger(factory, chi + chi)
        self.assertEqual(self.group.begun, 0)  # type: ignore[attr-defined]
        self.assertEqual((self.transports, factory.door.handshakes), ([], {}))

    def test_memoryOfAFlood(self) -> None:
        """
        However many strangers come, and however much each leaves unfinished, no more is held
        than for so many handshakes.
        """
        most = 50
        factory = self.factory(Limits(handshakes=most, puzzleAfter=1 << 30))
        client, _ = makePair()
        data = (
            output(client)
            + HANDSHAKE_LIMIT.to_bytes(HEADER_LENGTH, "big")
            + bytes(HANDSHAKE_LIMIT - 1)
        )
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(20 * most):
                self.stranger(factory, data)
                self.assertLessEqual(len(factory.door.handshakes), most)
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        buffered = [one.core._reader.buffered for one in factory.door.handshakes]
        self.assertEqual(len(buffered), most)
        self.assertLessEqual(max(buffered), HANDSHAKE_LIMIT + 2)
        self.assertLess(grown, most * 32_000)

    def test_allGone(self) -> None:
        """At whatever octet of its first messages a stranger stops, its deadline is the same."""
        factory = self.factory(Limits(puzzleAfter=100, handshakesPerAddress=1000))
        client, _ = makePair()
        chi = output(client)
        for end in range(len(chi) + 1):
            self.stranger(factory, chi[:end])
            self.stranger(factory, chi + chi[: end // 2])
        self.assertEqual(len(factory.door.handshakes), 2 * len(chi) + 2)
        self.clock.pump([0.5] * 21)
        self.assertEqual(factory.door.handshakes, {})
        self.clock.advance(LINGER)
        for transport in self.transports:
            self.assertTrue(transport.disconnecting)
            transport.protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((factory.door.connected, factory.door.handshakesPerNetwork), (0, {}))

    def test_oneAddress(self) -> None:
        """One network address cannot take all places."""
        factory = self.factory(Limits(sessionsPerAddress=2))
        factory.door.perNetwork["192.0.2.1"] = 2
        self.assertBusy(self.connect(factory))
        other = self.connect(factory, "192.0.2.77")
        assert other is not None
        self.assertEqual(other.value(), b"")

    def test_beyondRefusing(self) -> None:
        """When even the refused stay on, further connections are closed without a word."""
        factory = self.factory(Limits(sessions=0, handshakes=4))
        for _ in range(2):
            self.assertBusy(self.connect(factory))
        for _ in range(9):
            transport = self.connect(factory)
            assert transport is not None
            self.assertTrue(transport.disconnecting)
        self.assertEqual(factory.door.connected, 2)

    def test_slow(self) -> None:
        """Octets that trickle in do not move the handshake's deadline."""
        _, server = makePair()
        client, _ = makePair()
        chi = output(client)
        for second in range(9):
            self.assertEqual(give(server, chi[second : second + 1], float(second)), [])
        ((at, event),) = runTimers(server, 9.0, 60.0)
        self.assertIs(ending([event]).code, ErrorCode.HANDSHAKE_TIMEOUT)
        self.assertLessEqual(at, 10.0)

    def test_scanners(self) -> None:
        """A stranger to the protocol is refused at its first octets, and gets not one back."""
        for greeting in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"SSH-2.0-OpenSSH_9.9\r\n",
            b"\xff\xff" + bytes(100),
            b"\x00\x00\x03foo",
        ):
            _, server = makePair()
            termination = ending(give(server, greeting, 0.0))
            self.assertIs(termination.cause, Cause.REJECTED)
            self.assertIs(termination.code, ErrorCode.NOT_THING)
            self.assertEqual(output(server), b"")

    def test_memory(self) -> None:
        """Whatever length a stranger announces, no more than a few hundred octets are kept."""
        for length in range(0, 0x10000, 97):
            _, server = makePair()
            give(
                server, length.to_bytes(HEADER_LENGTH, "big") + b"\x01" * min(length - 1, 600), 0.0
            )
            self.assertLessEqual(server._reader.buffered, CHI_LIMIT + HEADER_LENGTH)

    @given(st.lists(st.binary(max_size=600), max_size=4))
    def test_anyOctets(self, chunks: list[bytes]) -> None:
        """No octets, in any state of either side, raise anything."""
        for side in (*makePair(), *establishedPair()):
            for chunk in chunks:
                give(side, chunk, 0.0)
            side.receiveEnd(0.0)
            self.assertIsNotNone(side.termination)

    @given(st.sampled_from(sorted(MessageType)), st.binary(max_size=80))
    def test_anyMessage(self, kind: MessageType, body: bytes) -> None:
        """Nor does any message of a peer that has the keys."""
        for side in establishedPair():
            give(side, recordFor(side, bytes((kind,)) + body), 0.0)
            runTimers(side, 0.0, 10 * TTL)
            self.assertIsNotNone(side.termination)


class PeerTests(SynchronousTestCase):
    """What a peer can do that is who it says, and means harm."""

    def test_manySessions(self) -> None:
        """Sessions of one key are strangers to each other: no secret, number or end is shared."""
        first, second = anotherPair("first"), anotherPair("second")
        sessions = [side.session for side in (first[1], second[1])]
        assert sessions[0] is not None and sessions[1] is not None
        self.assertEqual(sessions[0].peer, sessions[1].peer)
        self.assertNotEqual(sessions[0].sessionId, sessions[1].sessionId)
        exported = {side.exportKeyingMaterial("x", b"", 32) for side in (first[1], second[1])}
        self.assertEqual(len(exported), 2)
        runTimers(first[1], 0.0, TTL)
        self.assertIsNotNone(first[1].termination)
        second[0].beat(TTL)
        self.assertEqual(len(only(HeartbeatReceived, pump(*second, TTL).server)), 1)

    def test_endlessMessage(self) -> None:
        """A message that never ends is refused at the limit, and its pieces are forgotten."""
        _, server = establishedPair(server=serverSettings(maxMessage=3 * FRAGMENT_LIMIT))
        piece = CDT(MORE, 0, bytes(FRAGMENT_LIMIT))
        self.assertEqual(sendTo(server, piece), [])
        self.assertEqual(sendTo(server, piece, piece), [])
        self.assertIs(ending(sendTo(server, CDT(MORE, 0, b"x"))).code, ErrorCode.MESSAGE_TOO_LONG)
        self.assertIsNone(server._inbox._begun)

    def test_floodOfNothing(self) -> None:
        """Messages without content, held back by the program, count as what they cost."""
        _, server = establishedPair()
        server.hold()
        for _ in range(100):
            sendTo(server, CDT(0, 0, b""))
        self.assertGreaterEqual(server.held, 100 * RECORD_COST)

    def test_retryAfter(self) -> None:
        """How long to stay away is told, up to an hour; without keys it is anybody's word."""
        longest = 0xFFFFFFFF
        client, _ = makePair()
        clear = clearRecord(MessageType.SHR, SHR(ErrorCode.SERVER_BUSY, longest).encode())
        termination = ending(give(client, clear, 0.0))
        self.assertEqual(termination.retryAfter, MAX_RETRY_AFTER)
        self.assertEqual(termination.detail, "unauthenticated")
        self.assertIsNone(client.nextDeadline)
        client, _ = establishedPair()
        termination = ending(sendTo(client, SFL(0, EndReason.OVERLOADED, longest)))
        self.assertEqual(termination.retryAfter, MAX_RETRY_AFTER)
        self.assertIsNone(client.nextDeadline)

    def test_refusalsLookAlike(self) -> None:
        """A refused client cannot tell from the answer why it was not authorized."""
        answers = set()
        for detail in ("the key is unknown", "the key is revoked, since 2 May, by Ada"):
            client, server = makePair()
            give(server, output(client), 0.0)
            give(client, output(server), 0.0)
            give(server, output(client), 0.0)
            give(client, output(server), 0.0)
            (proved,) = server.receiveData(output(client), 0.0)
            self.assertIsInstance(proved, PeerProved)
            server.reject(ErrorCode.NOT_AUTHORIZED, 0.0, detail)
            answers.add(output(server))
        self.assertEqual(len(answers), 1)


class ImpostorTests(SynchronousTestCase):
    """Keys, stolen and not."""

    def test_inTheMiddle(self) -> None:
        """Who sits between and agrees on keys with each side has no use for the server's proof."""
        client, impostor = makeHandshakes(
            server=serverSettings(credential=Ed25519Credential("the impostor"))
        )
        scc = self._agree(client, impostor)
        realScc = self._agree(*makeHandshakes(client=clientSettings(random=os.urandom)))
        self.assertEqual(realScc.credential, SERVER_CREDENTIAL.data)
        # The impostor has the keys that it shares with the client, so the MAC is no hurdle.
        forged = replace(realScc, challenge=scc.challenge)
        part = forged.macPart(forged.typed())
        forged = replace(forged, mac=client._mac(client.secrets.serverFinished, part))
        failure = self.assertRaises(RemoteProtocolError, client.receiveSCC, forged)
        self.assertIs(failure.code, ErrorCode.BAD_SIGNATURE)

    def _agree(self, client: MessageClient, server: MessageServer):  # type: ignore[no-untyped-def]
        """The handshake up to the server's proof."""
        shi, sdh = server.receiveCHI(client.begin())
        client.receiveSHI(shi)
        return server.receiveCDH(client.receiveSDH(sdh))

    def test_stolenClientKey(self) -> None:
        """With a client's stolen key nobody can pose as a server to that client."""
        client, impostor = makeHandshakes(server=serverSettings(credential=CLIENT_CREDENTIAL))
        identity = client.receiveSCC(self._agree(client, impostor))
        self.assertEqual(identity.publicKey, CLIENT_CREDENTIAL.data)
        servers = PinnedServers([fingerprint(SERVER_CREDENTIAL.data)])
        self.assertRaises(NotAuthorized, servers.authorize, identity)

    def test_stolenServerKey(self) -> None:
        """With a server's stolen key nobody can pose as a client to that server."""
        posing = Ed25519Credential("the server")
        posing.data = CLIENT_CREDENTIAL.data
        client, server = makeHandshakes(client=clientSettings(credential=posing))
        client.receiveSCC(self._agree(client, server))
        failure = self.assertRaises(RemoteProtocolError, server.receiveCCC, client.answer())
        self.assertIs(failure.code, ErrorCode.BAD_SIGNATURE)

    def test_forwardSecrecy(self) -> None:
        """Long-term keys have no part in the secrets: stolen later, they open no recording."""
        secrets = set()
        for word in ("one key", "another key"):
            client, server = makeHandshakes(
                clientSettings(credential=Ed25519Credential(f"client {word}")),
                serverSettings(credential=Ed25519Credential(f"server {word}")),
            )
            self._agree(client, server)
            secrets.add(client.secrets.clientSecret)
        self.assertEqual(len(secrets), 1)  # The same ephemeral keys: the same secrets.
        client, server = makeHandshakes(clientSettings(random=SeededRandom("fresh")))
        self._agree(client, server)
        self.assertNotIn(client.secrets.clientSecret, secrets)

    def test_nothingIsKept(self) -> None:
        """A session keeps nothing of its handshake, and an ended one no key at all."""
        for side in establishedPair():
            self.assertIsNone(side._handshakeOrNone)
            side.abort(0.0)
            kept = (side._writer.key, side._reader.key, side._exporterSecret)
            self.assertEqual(kept, (None, None, None))

    def test_pastGenerations(self) -> None:
        """Who steals a session's keys reads what comes, and nothing from before a key update."""
        client, server = establishedPair()
        client.sendMessage(b"past")
        past = output(client)
        give(server, past, 0.0)
        client.updateKey(0.0)
        give(server, output(client), 0.0)
        stolen = server._reader.key
        assert stolen is not None
        failure = self.assertRaises(RemoteProtocolError, stolen.open, *cut(past))
        self.assertIs(failure.code, ErrorCode.RECORD_UNREADABLE)

    def test_nextKey(self) -> None:
        """A next key is believed from its own session only, and only if both keys signed it."""
        nextCredential = Ed25519Credential("the next")
        self.patch(ServerConnection, "_announceNextKey", lambda *_: None)
        client, _ = anotherPair("this", nextCredential=nextCredential)
        other, _ = anotherPair("other", nextCredential=nextCredential)
        assert client.session is not None and other.session is not None
        right = nextKeyMessage(client.session, SERVER_CREDENTIAL, nextCredential)
        self.assertEqual(len(only(KeysAnnounced, sendTo(client, right))), 1)
        byThief = Ed25519Credential("a thief")
        for wrong in (
            nextKeyMessage(other.session, SERVER_CREDENTIAL, nextCredential),
            nextKeyMessage(client.session, byThief, nextCredential),
            replace(right, nextSignature=right.signature),
            replace(right, credential=byThief.data),
        ):
            client, _ = anotherPair("this", nextCredential=nextCredential)
            self.assertIs(ending(sendTo(client, wrong)).code, ErrorCode.BAD_SIGNATURE)

    def test_constantTime(self) -> None:
        """Whether a MAC is right is for a comparison in constant time to say, and no other."""
        compared = []

        def compare(ours: bytes, theirs: bytes) -> bool:
            compared.append((ours, theirs))
            return False

        self.patch(handshakeModule.hmac, "compare_digest", compare)
        client, server = makeHandshakes()
        scc = self._agree(client, server)
        failure = self.assertRaises(RemoteProtocolError, client.receiveSCC, scc)
        self.assertIs(failure.code, ErrorCode.BAD_MAC)
        self.assertEqual(compared, [(scc.mac, scc.mac)])


class ObserverTests(SynchronousTestCase):
    """What one sees who only looks."""

    def test_lengths(self) -> None:
        """A record tells the length of its message, and nothing of its content: no compression."""
        lengths = set()
        for message in (bytes(1000), b"ab" * 500, os.urandom(1000)):
            client, _ = establishedPair()
            client.sendMessage(message)
            lengths.add(len(output(client)))
        self.assertEqual(lengths, {HEADER_LENGTH + 6 + 1000 + 16})

    def test_kinds(self) -> None:
        """The kind of a message is sealed: data, heartbeat and goodbye differ by length alone."""
        client, server = establishedPair()
        client.beat(0.0)
        beat = output(client)
        client, server = establishedPair()
        client.sendMessage(bytes(len(CHB(1, 0).encode()) - 5))
        data = output(client)
        self.assertEqual(beat[:HEADER_LENGTH], data[:HEADER_LENGTH])
        self.assertNotEqual(beat[2:3] + data[2:3], bytes((MessageType.CHB, MessageType.CDT)))
        self.assertEqual(len(only(MessageReceived, give(server, data, 0.0))), 1)

    def test_reprs(self) -> None:
        """What a program may print of a session or its settings holds none of its secrets."""
        client, server = establishedPair()
        for side in (client, server):
            sends, takes, exporter = side._writer.key, side._reader.key, side._exporterSecret
            assert sends is not None and takes is not None and exporter is not None
            shown = f"{sends!r} {takes!r} {side!r} {side._limits!r} {side.session!r}"
            for secret in (sends._secret, takes._secret, exporter):
                self.assertNotIn(repr(secret), shown)
                self.assertNotIn(secret.hex(), shown)
