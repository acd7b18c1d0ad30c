"""Peers that mean no good: strangers, men in the middle, floods; in memory and over sockets."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Generator, Iterator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase

from tests.anypeer import AnyPeer
from tests.helpers import splitRecords
from tests.pairs import (
    Pair,
    PairCase,
    Recorder,
    firings,
    freshClient,
    freshServer,
)
from thing.core.capacity import Capacity
from thing.core.client import ClientConnection
from thing.core.connection import WRITE_BATCH
from thing.core.groups import GroupName
from thing.core.heartbeat import TtlPolicy
from thing.core.layout import Message
from thing.core.limits import Limits
from thing.core.messages import (
    CDT,
    CHB,
    CHI_LIMIT,
    CHR,
    CKU,
    CLW,
    CRP,
    CRQ,
    HANDSHAKE_LIMIT,
    LAST_WORD_LIMIT,
    MORE,
    REQUEST_LIMIT,
    REQUESTS_OUTSTANDING,
    SHR,
    MessageType,
)
from thing.core.records import HEADER_LENGTH, clearRecord
from thing.core.window import RECORD_COST
from thing.errors import ErrorCode
from thing.events import Cause, PeerProved
from thing.session.driver import LINGER
from thing.session.factory import ThingFactory
from thing.session.protocol import linkOf
from thing.testing.transports import MemoryTransport
from thing.trust.authorized import Anyone

HTTP = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
TLS = bytes.fromhex("16030100c8010000c40303") + bytes(194)
SSH = b"SSH-2.0-OpenSSH_9.6\r\n"

SMALL = Capacity(16384, 32768, 16384, 100)
"""What a server can take that takes records of less than the longest."""

PATIENCE = 30.0
"""How long a test waits for sockets at most, seconds."""


class TamperingTests(PairCase):
    """A man in the middle who changes, cuts or repeats what he carries, in memory."""

    def honestLengths(self, group: GroupName) -> tuple[int, int]:
        """How many octets a handshake takes in each direction."""
        pair = self.handshake(group)
        pair.pump()
        assert pair.server.session is not None
        return pair.clientEnd.taken, pair.serverEnd.taken

    def handshake(self, group: GroupName) -> Pair:
        # Not checked at the end one by one: there are thousands.
        return Pair(freshServer(groups=(group,)), freshClient(groups=(group,))).connect()

    def flip(self, end: MemoryTransport, offset: int, bit: int) -> None:
        """Flip one bit of what an end sends."""
        position = 0

        def tap(data: bytes) -> bytes:
            nonlocal position
            at = offset - position
            position += len(data)
            if 0 <= at < len(data):
                return data[:at] + bytes((data[at] ^ bit,)) + data[at + 1 :]
            return data

        end.tap = tap

    def assertFails(self, pair: Pair, what: str) -> None:
        """No session comes of it: the client never has one, the server at most for a moment."""
        pair.pump()
        self.assertIsNone(pair.client.session, what)
        pair.advance(10.0, 5.0)
        pair.advance(LINGER, LINGER)
        self.assertIsNone(pair.client.session, what)
        self.assertIsNotNone(pair.client.termination, what)
        self.assertIsNotNone(pair.server.termination, what)
        self.assertIsNot(pair.server.end.cause, Cause.GOODBYE, what)
        self.assertEqual(pair.serverFactory.sessions, set())
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def flipEverywhere(self, group: GroupName, bits: tuple[int, ...]) -> None:
        fromClient, fromServer = self.honestLengths(group)
        self.assertGreater(min(fromClient, fromServer), 250)
        for offset in range(fromClient):
            for bit in bits:
                pair = self.handshake(group)
                self.flip(pair.clientEnd, offset, 1 << (offset + bit) % 8)
                self.assertFails(pair, f"octet {offset} of the client, bit {bit}")
                self.assertIsNone(pair.server.session)
        for offset in range(fromServer):
            for bit in bits:
                pair = self.handshake(group)
                self.flip(pair.serverEnd, offset, 1 << (offset + bit) % 8)
                self.assertFails(pair, f"octet {offset} of the server, bit {bit}")

    def test_flipped(self) -> None:
        """A bit flipped at any octet of any handshake message: no session."""
        self.flipEverywhere(GroupName.X25519, (0, 3, 6))

    def test_flippedHybrid(self) -> None:
        """The same with the hybrid group, whose shares are over a thousand octets long."""
        self.flipEverywhere(GroupName.X25519MLKEM768, (0,))

    def test_truncated(self) -> None:
        """A handshake cut off at any octet, in either direction, and then the stream's end."""
        lengths = self.honestLengths(GroupName.X25519)
        for which, length in enumerate(lengths):
            for offset in range(length):
                pair = self.handshake(GroupName.X25519)
                end = (pair.clientEnd, pair.serverEnd)[which]
                while end.taken < offset and end.step(offset - end.taken) | end.peer.step(1 << 20):
                    pass
                end.abortConnection()
                self.assertFails(pair, f"cut at octet {offset} of {end.getHost()}")

    def test_frozen(self) -> None:
        """A handshake that stops at any octet and stays open: over at its deadline."""
        lengths = self.honestLengths(GroupName.X25519)
        for which, length in enumerate(lengths):
            for offset in range(0, length, 7):
                pair = self.handshake(GroupName.X25519)
                end = (pair.clientEnd, pair.serverEnd)[which]
                while end.taken < offset and end.step(offset - end.taken) | end.peer.step(1 << 20):
                    pass
                pair.freeze()
                pair.advance(10.125, 2.0)
                self.assertIsNotNone(pair.client.termination)
                if pair.server.session is None:
                    self.assertIs(pair.server.end.code, ErrorCode.HANDSHAKE_TIMEOUT)

    def session(self) -> Pair:
        return self.pair().up()

    def assertUnreadable(self, pair: Pair, messages: int) -> None:
        """The server saw the fraud, ended the session, and delivered nothing of it."""
        pair.pump()
        self.assertIs(pair.server.end.cause, Cause.PROTOCOL_ERROR)
        self.assertIs(pair.server.end.code, ErrorCode.RECORD_UNREADABLE)
        self.assertEqual(len(pair.server.messages), messages)

    def test_replayedRecord(self) -> None:
        """A record of a session that comes twice ends it, and is delivered once."""
        pair = self.session()
        pair.clientEnd.tap = lambda data: data + data
        pair.client.sendMessage(b"pay once")
        self.assertUnreadable(pair, 1)

    def test_reordered(self) -> None:
        """Records in another order end the session, and none is delivered."""
        pair = self.session()
        pair.clientEnd.tap = lambda data: b"".join(reversed(splitRecords(data)))
        for at in range(3):
            pair.client.sendMessage(b"%d" % at)
        self.assertUnreadable(pair, 0)

    def test_dropped(self) -> None:
        """A record that is left out ends the session at the next."""
        pair = self.session()
        pair.clientEnd.tap = lambda data: b"".join(splitRecords(data)[:1] + splitRecords(data)[2:])
        for at in range(3):
            pair.client.sendMessage(b"%d" % at)
        self.assertUnreadable(pair, 1)

    def test_reflected(self) -> None:
        """What a side sent comes back to it: refused, in the clear and under keys."""
        pair = self.pair().connect()
        pair.client.dataReceived(bytes(pair.clientEnd.outgoing))
        self.assertIs(pair.client.end.code, ErrorCode.REFLECTED_MESSAGE)
        pair = self.session()
        pair.client.sendMessage(b"mine")
        pair.client.dataReceived(bytes(pair.clientEnd.outgoing))
        self.assertIs(pair.client.end.code, ErrorCode.RECORD_UNREADABLE)
        self.assertEqual(pair.client.messages, [])

    def test_otherSession(self) -> None:
        """Records of another session between the same two are refused."""
        first, second = self.session(), self.session()
        first.client.sendMessage(b"meant for the first")
        second.server.dataReceived(bytes(first.clientEnd.outgoing))
        self.assertUnreadable(second, 0)

    def test_clearReject(self) -> None:
        """Once keys exist, a reject in the clear is believed by nobody."""
        pair = self.session()
        for side, kind, reject in (
            (pair.client, MessageType.SHR, SHR(ErrorCode.NOT_AUTHORIZED)),
            (pair.server, MessageType.CHR, CHR(ErrorCode.NOT_AUTHORIZED)),
        ):
            side.dataReceived(clearRecord(kind, reject.encode()))
            self.assertIs(side.end.code, ErrorCode.RECORD_UNREADABLE)
            self.assertFalse(side.end.byPeer)

    def test_clearRejectEarly(self) -> None:
        """Before keys exist, a reject ends the attempt, and is told as not authenticated."""
        pair = self.pair().connect()
        reject = SHR(ErrorCode.NOT_AUTHORIZED).encode()
        pair.client.dataReceived(clearRecord(MessageType.SHR, reject))
        self.assertEqual(pair.client.end.detail, "unauthenticated")

    def test_replayedHandshake(self) -> None:
        """All that a client sent in one handshake, sent again: the proof does not hold."""
        recorded = bytearray()
        pair = self.pair()
        pair.clientEnd.tap = lambda data: recorded.extend(data) or data  # type: ignore[func-returns-value]
        pair.up()
        again = self.pair()
        again.serverEnd.connect(again.server)
        again.clientEnd.connect(again.client)
        again.freeze()
        for record in splitRecords(bytes(recorded)):
            again.server.dataReceived(record)
        self.assertIsNone(again.server.session)
        self.assertIs(again.server.end.code, ErrorCode.RECORD_UNREADABLE)

    def test_replayedServer(self) -> None:
        """All that a server sent in one handshake, sent again: the client is not deceived."""
        recorded = bytearray()
        pair = self.pair()
        pair.serverEnd.tap = lambda data: recorded.extend(data) or data  # type: ignore[func-returns-value]
        pair.up()
        again = self.pair(client=freshClient(random=bytes)).connect()
        again.freeze()
        for record in splitRecords(bytes(recorded)):
            again.client.dataReceived(record)
        self.assertIsNone(again.client.session)
        self.assertIs(again.client.end.code, ErrorCode.RECORD_UNREADABLE)


class RawClient:
    """A client's core without its rules: proves its key, then sends whatever the test wants."""

    def __init__(self, pair: Pair) -> None:
        self.core = ClientConnection(freshClient())
        self.core.start(0.0)
        self.server = pair.server
        self.transport = StringTransport()
        self.server.makeConnection(self.transport)
        while self.server.session is None:
            self.server.dataReceived(self.core.dataToSend(0.0, 1 << 20))
            answer = self.transport.value()
            self.transport.clear()
            for event in self.core.receiveData(answer, 0.0):
                if isinstance(event, PeerProved):
                    self.core.admit(event.identity, 0.0)

    def records(self, *messages: Message) -> bytes:
        """Seal messages."""
        key = self.core._writer.key
        assert key is not None
        sealed = b""
        for message in messages:
            sealed += key.seal(bytes((message.TYPE,)) + message.encode())
            if isinstance(message, CKU):
                key.update(0.0)
        return sealed


class FloodTests(PairCase):
    """Peers that have proved a key, and flood: bounded memory, and an end."""

    def rawClient(self) -> tuple[Pair, RawClient]:
        pair = Pair()
        raw = RawClient(pair)
        self.addCleanup(self.finish, pair)
        return pair, raw

    def finish(self, pair: Pair) -> None:
        if pair.server.termination is None:
            pair.server.abort()
        pair.server.connectionLost()
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_beats(self) -> None:
        """Beats without reading their acknowledgements: the answers are bounded, then it ends."""
        pair, raw = self.rawClient()
        sequence = 0
        while pair.server.termination is None and sequence < 100_000:
            sequence += 1
            raw.server.dataReceived(raw.records(CHB(sequence)))
            if len(raw.transport.value()) > 65536 and raw.transport.producer:
                raw.transport.producer.pauseProducing()
        self.assertIs(pair.server.end.code, ErrorCode.HEARTBEAT_OUTSTANDING)
        self.assertLess(len(raw.transport.value()), 65536 + 200)

    def test_beatsOutOfOrder(self) -> None:
        """A beat with another number than the next ends the session."""
        for sequence in (0, 2, 1 << 63):
            pair, raw = self.rawClient()
            raw.server.dataReceived(raw.records(CHB(sequence)))
            self.assertIs(pair.server.end.code, ErrorCode.HEARTBEAT_SEQUENCE)

    def test_fragments(self) -> None:
        """A message without end, in the smallest of fragments, ends at the longest message."""
        pair = Pair(freshServer(maxMessage=5000))
        raw = RawClient(pair)
        self.addCleanup(self.finish, pair)
        core = linkOf(pair.server).core
        for _ in range(5000):
            raw.server.dataReceived(raw.records(CDT(MORE, 0, b"x")))
            self.assertLessEqual(len(core._inbox._begun or b""), 5000)
        self.assertIsNone(pair.server.termination)
        raw.server.dataReceived(raw.records(CDT(MORE, 0, b"x")))
        self.assertIs(pair.server.end.code, ErrorCode.MESSAGE_TOO_LONG)
        self.assertIsNone(core._inbox._begun)

    def test_emptyFragments(self) -> None:
        """Fragments that hold nothing and promise more are refused."""
        pair, raw = self.rawClient()
        raw.server.dataReceived(raw.records(CDT(MORE, 0, b"")))
        self.assertIs(pair.server.end.code, ErrorCode.MALFORMED_MESSAGE)

    def test_keyUpdates(self) -> None:
        """Key updates with nothing between them are refused; with a message between, harmless."""
        pair, raw = self.rawClient()
        for _ in range(200):
            raw.server.dataReceived(raw.records(CKU(), CDT(0, 0, b"")))
        self.assertIsNone(pair.server.termination)
        raw.server.dataReceived(raw.records(CKU(), CKU()))
        self.assertIs(pair.server.end.code, ErrorCode.KEY_UPDATE_REPEATED)

    def test_tinyWhilePaused(self) -> None:
        """A flood of the smallest messages at a paused program: what is kept is bounded."""
        pair, raw = self.rawClient()
        pair.server.pauseProducing()
        most = pair.serverFactory.settings.capacity.mainCredit // RECORD_COST
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(most):
                raw.server.dataReceived(raw.records(CDT(0, 0, b"")))
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        self.assertEqual(raw.transport.producerState, "producing")
        self.assertLess(grown, 100_000)
        self.assertIsNone(pair.server.termination)
        raw.server.dataReceived(raw.records(CDT(0, 0, b"")))
        self.assertIs(pair.server.end.code, ErrorCode.CREDIT_EXCEEDED)
        self.assertEqual(len(pair.server.messages), most)

    def test_requests(self) -> None:
        """Requests without end at a program that never answers: the 65th ends the session."""
        pair, raw = self.rawClient()
        cancelled: list[object] = []
        pair.server.requestReceived = lambda _: Deferred(cancelled.append)  # type: ignore[method-assign]
        for number in range(1, REQUESTS_OUTSTANDING + 1):
            raw.server.dataReceived(raw.records(CRQ(number, b"")))
        self.assertIsNone(pair.server.termination)
        raw.server.dataReceived(raw.records(CRQ(65, b"")))
        self.assertIs(pair.server.end.code, ErrorCode.TOO_MANY_REQUESTS)
        self.assertEqual(len(cancelled), REQUESTS_OUTSTANDING)

    def test_unreadReplies(self) -> None:
        """Requests at a program that answers, and nobody reads: what waits is bounded."""
        pair, raw = self.rawClient()
        pair.server.requestReceived = lambda _: bytes(REQUEST_LIMIT)  # type: ignore[method-assign]
        raw.transport.producer.pauseProducing()
        number = 0
        while pair.server.termination is None and number < 1000:
            number += 1
            self.assertLess(pair.server.queued, 2 << 20)
            raw.server.dataReceived(raw.records(CRQ(number, b"")))
        self.assertEqual(number, REQUESTS_OUTSTANDING + 1)
        self.assertIs(pair.server.end.code, ErrorCode.TOO_MANY_REQUESTS)

    def test_replies(self) -> None:
        """Replies that nobody asked for, or for the second time, end the session."""
        for numbers in ((1,), (0,), (2, 2), (2, 1, 1)):
            pair, raw = self.rawClient()
            if len(numbers) > 1:
                fired = [firings(pair.server.request(b"")) for _ in range(2)]
            raw.server.dataReceived(raw.records(*[CRP(number, 0, b"x") for number in numbers]))
            self.assertIs(pair.server.end.code, ErrorCode.REPLY_UNEXPECTED)
            if len(numbers) > 1:
                self.assertEqual([len(each) for each in fired], [1, 1])
                self.assertEqual(fired[1], [b"x"])

    def test_heldRequests(self) -> None:
        """A flood of requests at a paused program: what is kept is bounded, and then judged."""
        pair, raw = self.rawClient()
        pair.server.pauseProducing()
        most = pair.serverFactory.settings.capacity.mainCredit // RECORD_COST
        for number in range(1, most + 1):
            raw.server.dataReceived(raw.records(CRQ(number, b"")))
        self.assertIsNone(pair.server.termination)
        pair.server.requestReceived = lambda _: Deferred()  # type: ignore[method-assign]
        pair.server.resumeProducing()
        self.assertIs(pair.server.end.code, ErrorCode.TOO_MANY_REQUESTS)

    def test_lastWords(self) -> None:
        """Last words without end: one is kept."""
        pair, raw = self.rawClient()
        for number in range(200):
            raw.server.dataReceived(raw.records(CLW(b"%04d" % number * 1024)))
        self.assertEqual(pair.server.lastWord, b"0199" * 1024)
        raw.server.dataReceived(raw.records(CLW(bytes(LAST_WORD_LIMIT + 1))))
        self.assertIs(pair.server.end.code, ErrorCode.MESSAGE_TOO_LONG)
        self.assertEqual(pair.server.lastWord, b"0199" * 1024)

    def test_otherTypes(self) -> None:
        """Every message type that is not legal for a client now ends its session."""
        data = MessageType.CDT
        legal = (data, MessageType.CLW)
        for number in range(256):
            pair, raw = self.rawClient()
            key = raw.core._writer.key
            assert key is not None
            raw.server.dataReceived(key.seal(bytes((number,)) + bytes(40)))
            self.assertEqual(pair.server.termination is None, number in legal, f"{number:#04x}")
            self.assertEqual(pair.server.messages, [bytes(35)] if number == data else [])

    def test_sinceTheEnd(self) -> None:
        """After the end nothing is fed to the core, however much comes."""
        pair = Pair(freshServer(capacity=SMALL))
        raw = RawClient(pair)
        self.addCleanup(self.finish, pair)
        raw.server.dataReceived(b"\xff" * 100)
        self.assertIs(pair.server.end.code, ErrorCode.RECORD_TOO_LONG)
        for _ in range(100):
            raw.server.dataReceived(bytes(65536))
        self.assertEqual(linkOf(pair.server).core._reader.buffered, 0)


class StrangerTests(PairCase):
    """The first octets of somebody who proved nothing: bounded, cheap, and over soon."""

    def stranger(self) -> tuple[Recorder, StringTransport, Pair]:
        pair = Pair()
        transport = StringTransport()
        pair.server.makeConnection(transport)
        self.addCleanup(pair.server.connectionLost)
        return pair.server, transport, pair

    def test_firstOctets(self) -> None:
        """Every first octet but a CHI's length is refused at the second, with no long answer."""
        for length in (*range(CHI_LIMIT + 1, 1 << 16, 997), 0xFFFF, 0):
            server, transport, _ = self.stranger()
            server.dataReceived(length.to_bytes(HEADER_LENGTH, "big"))
            self.assertIs(server.end.cause, Cause.REJECTED)
            self.assertLess(len(transport.value()), 12)

    def test_otherProtocols(self) -> None:
        """Other protocols are named in the log and get no answer that they could not read."""
        for greeting, name in ((HTTP, "HTTP"), (TLS, "TLS"), (SSH, "SSH")):
            server, transport, _ = self.stranger()
            server.dataReceived(greeting)
            self.assertIs(server.end.code, ErrorCode.NOT_THING)
            self.assertIn(name, server.end.detail)
            self.assertEqual(transport.value(), b"")

    def test_answers(self) -> None:
        """Nothing is answered before a whole CHI, and then 1400 octets at most: SHI and SDH."""
        pair = self.pair().connect()
        chi = bytes(pair.clientEnd.outgoing)
        server, transport, _ = self.stranger()
        for octet in chi[:-1]:
            server.dataReceived(bytes((octet,)))
            self.assertEqual(transport.value(), b"")
        server.dataReceived(chi[-1:])
        self.assertLess(len(transport.value()), 1400)

    def test_oversized(self) -> None:
        """A length beyond the handshake's limit is refused at the header, and nothing is kept."""
        pair = self.pair().connect()
        server, _, _ = self.stranger()
        server.dataReceived(bytes(pair.clientEnd.outgoing))
        server.dataReceived((HANDSHAKE_LIMIT + 1).to_bytes(HEADER_LENGTH, "big"))
        self.assertIs(server.end.code, ErrorCode.RECORD_TOO_LONG)
        self.assertEqual(linkOf(server).core._reader.buffered, 0)

    def test_oversizedSession(self) -> None:
        """The same for a length beyond a session's limit."""
        pair = self.pair(freshServer(capacity=SMALL)).up()
        pair.server.dataReceived((SMALL.recordLimit + 1).to_bytes(HEADER_LENGTH, "big"))
        self.assertIs(pair.server.end.code, ErrorCode.RECORD_TOO_LONG)

    def test_memory(self) -> None:
        """
        A stranger costs a known amount of memory, whatever it sends before its proof, and
        nothing once it has gone.
        """
        count = 300
        pair = self.pair().connect()
        chi = bytes(pair.clientEnd.outgoing)
        limits = Limits(handshakesPerAddress=count, puzzleAfter=count + 1)
        factory = ThingFactory(freshServer(), Anyone(), limits=limits, clock=Clock())
        factory.protocol = Recorder
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            strangers = []
            for _ in range(count):
                server = factory.buildProtocol(None)
                assert server is not None
                server.makeConnection(StringTransport())
                server.dataReceived(chi + HANDSHAKE_LIMIT.to_bytes(HEADER_LENGTH, "big"))
                server.dataReceived(bytes(HANDSHAKE_LIMIT - 1))
                strangers.append(server)
            gc.collect()
            each = (tracemalloc.get_traced_memory()[0] - before) / count
            self.assertEqual(len(factory.door.handshakes), count)
            self.assertLess(each, 32_000)
            for server in strangers:
                server.connectionLost()
            del strangers, server
            gc.collect()
            left = (tracemalloc.get_traced_memory()[0] - before) / count
        finally:
            tracemalloc.stop()
        self.assertLess(left, 500)

    def test_silentPlaces(self) -> None:
        """Slow strangers, one octet a second, are over at the deadline like silent ones."""
        server, _, pair = self.stranger()
        chi = bytes(self.pair().connect().clientEnd.outgoing)
        for at in range(20):
            if server.termination is None:
                server.dataReceived(chi[at : at + 1])
                pair.clock.advance(1.0)
        self.assertIs(server.end.code, ErrorCode.HANDSHAKE_TIMEOUT)
        self.assertEqual(server.of("handshakeCompleted"), [])


class Raw(Protocol):
    """A peer over a real socket that sends what it is told, and keeps what it gets."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.made: Deferred[Raw] = Deferred()
        self.lost: Deferred[Raw] = Deferred()
        self.closed = False

    def connectionMade(self) -> None:
        self.made.callback(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: object = None) -> None:
        self.closed = True
        self.lost.callback(self)


class Middle(Protocol):
    """One half of a man in the middle: passes what it gets on to the other half, changed."""

    def __init__(self, change: Callable[[bytes], bytes], other: Middle | None = None) -> None:
        self.change = change
        self.other = other
        self.waiting = b""

    def dataReceived(self, data: bytes) -> None:
        data = self.change(data)
        if self.other is None or self.other.transport is None:
            self.waiting += data
        else:
            self.other.transport.write(data)

    def connectionMade(self) -> None:
        if self.other is not None:
            self.transport.write(self.other.waiting)

    def connectionLost(self, reason: object = None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.loseConnection()


def flipper(offset: int) -> Callable[[bytes], bytes]:
    """Flips one bit at an offset of a stream."""
    position = 0

    def change(data: bytes) -> bytes:
        nonlocal position
        at = offset - position
        position += len(data)
        if 0 <= at < len(data):
            return data[:at] + bytes((data[at] ^ 1 << offset % 8,)) + data[at + 1 :]
        return data

    return change


def unchanged(data: bytes) -> bytes:
    """Passes on."""
    return data


class SocketTests(TestCase):
    """
    Hostile peers over sockets on the loopback; afterwards the server still serves.

    The sockets are real, the sessions' clock is not: a deadline comes when the
    test says so, however slow the machine is.
    """

    timeout = 120

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.clock = Clock()
        self.factory = self.makeFactory(freshServer(ttl=TtlPolicy(default=60.0)))
        self.port = self.listen(self.factory)
        self.raws: list[Raw] = []
        self.addCleanup(self.checkServer)  # Before the port is closed.

    def makeFactory(self, settings: Any, **named: Any) -> ThingFactory:
        factory = ThingFactory(settings, AnyPeer(), clock=self.clock, **named)
        factory.protocol = Recorder
        return factory

    def listen(self, factory: Factory) -> int:
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return port.getHost().port

    def connect(self, protocol: Protocol, port: int | None = None) -> None:
        factory = ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda _: protocol  # type: ignore[method-assign,assignment,return-value]
        self.reactor.connectTCP("127.0.0.1", port or self.port, factory)

    @inlineCallbacks
    def until(self, condition: Callable[[], object]) -> Generator[Any, Any, None]:
        """Let the reactor run until something is so; fail after a long while."""
        end = self.reactor.seconds() + PATIENCE
        while not condition():
            self.assertLess(self.reactor.seconds(), end, "the sockets took too long")
            yield deferLater(self.reactor, 0.002)

    @inlineCallbacks
    def raw(self, data: bytes = b"", port: int | None = None) -> Generator[Any, Any, Raw]:
        """A peer that connects and sends some octets."""
        raw = Raw()
        self.connect(raw, port)
        yield raw.made
        raw.transport.write(data)
        self.raws.append(raw)
        return raw

    def client(self, port: int | None = None, **choices: object) -> Recorder:
        """An honest client."""
        protocol = self.makeFactory(freshClient(**choices)).buildProtocol(None)
        assert isinstance(protocol, Recorder)
        self.connect(protocol, port)
        return protocol

    @inlineCallbacks
    def assertServes(self) -> Generator[Any, Any, None]:
        """An honest client is served, whatever else is going on."""
        client = self.client()
        yield self.until(lambda: client.session)
        (server,) = [one for one in self.factory.sessions if one.sessionId == client.sessionId]
        server.doing["messageReceived"] = server.sendMessage
        client.sendMessage(b"are you there?")
        yield self.until(lambda: client.messages)
        client.goodbye()
        yield self.until(lambda: "connectionLost" in client.names())
        self.assertIs(client.end.cause, Cause.GOODBYE)

    @inlineCallbacks
    def checkServer(self) -> Generator[Any, Any, None]:
        yield self.assertServes()
        for raw in self.raws:
            if not raw.closed:
                raw.transport.abortConnection()
        yield self.until(lambda: self.factory.door.connected == 0)
        self.assertEqual(self.factory.sessions, set())
        self.assertEqual(self.factory.door.handshakes, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    @inlineCallbacks
    def test_garbage(self) -> Generator[Any, Any, None]:
        """Octets of any kind end the connection, or leave it waiting for its deadline."""
        kinds = [HTTP, TLS, SSH, bytes(100), b"\xff" * 100_000, b"\0\0\x01", b"\0\0\x06\x01THING"]
        kinds += [bytes((high, low, 0)) for high in range(0, 256, 15) for low in (0, 1, 255)]
        for kind in kinds:
            yield self.raw(kind)
        yield self.assertServes()
        yield self.until(lambda: self.factory.terminations[Cause.REJECTED] >= len(kinds) - 9)
        self.clock.advance(10.0)
        self.clock.advance(LINGER)
        yield self.until(lambda: all(raw.closed for raw in self.raws))
        self.assertEqual(self.factory.completed, 1)

    @inlineCallbacks
    def test_silent(self) -> Generator[Any, Any, None]:
        """Connections that never send are served the deadline, and honest clients meanwhile."""
        for _ in range(100):
            yield self.raw()
        yield self.until(lambda: len(self.factory.door.handshakes) == 100)
        yield self.assertServes()
        self.clock.advance(10.0)
        yield self.until(lambda: all(raw.closed for raw in self.raws))
        self.assertEqual(self.factory.terminations[Cause.REJECTED], 100)

    @inlineCallbacks
    def test_slowLoris(self) -> Generator[Any, Any, None]:
        """One octet now and then does not keep a connection beyond the handshake's deadline."""
        chi = ClientConnection(freshClient())
        chi.start(0.0)
        octets = chi.dataToSend(0.0, 1 << 20)
        for _ in range(50):
            yield self.raw()
        for second in range(10):
            for raw in self.raws:
                raw.transport.write(octets[second : second + 1])
            yield self.assertServes()
            self.clock.advance(1.0)
        yield self.until(lambda: all(raw.closed for raw in self.raws))
        self.assertEqual(self.factory.door.handshakes, {})

    @inlineCallbacks
    def test_connectAndLeave(self) -> Generator[Any, Any, None]:
        """Connections that are cut at once, as a port scanner's, leave nothing behind."""
        for _ in range(100):
            raw = yield self.raw()
            raw.transport.abortConnection()
        yield self.until(lambda: self.factory.door.connected == 0)
        self.assertEqual(self.factory.door.handshakes, {})

    @inlineCallbacks
    def test_flippedOnTheWire(self) -> Generator[Any, Any, None]:
        """A man in the middle of real sockets flips a bit at any octet: nobody is deceived."""
        pair = Pair().up()
        clients = []
        for server, end in ((False, pair.clientEnd), (True, pair.serverEnd)):
            for offset in range(0, end.taken, 3):
                changes = [unchanged, unchanged]
                changes[server] = flipper(offset)
                client = yield self.inTheMiddle(*changes)
                clients.append(client)
        # Some wait for octets that never come: their deadline is now.
        self.clock.advance(10.0)
        yield self.until(lambda: all(client.termination for client in clients))
        self.clock.advance(LINGER)
        yield self.until(lambda: all("connectionLost" in client.names() for client in clients))
        self.assertGreater(len(clients), 190)
        self.assertEqual([client.session for client in clients if client.session], [])

    @inlineCallbacks
    def inTheMiddle(
        self, fromClient: Callable[[bytes], bytes], fromServer: Callable[[bytes], bytes]
    ) -> Generator[Any, Any, Recorder]:
        """An honest client that connects through a man in the middle, once it came to rest."""
        here = Middle(fromClient)
        there = Middle(fromServer, here)
        here.other = None

        factory = Factory()
        factory.noisy = False  # type: ignore[attr-defined]

        def build(_: object) -> Middle:
            self.connect(there)
            return here

        factory.buildProtocol = build  # type: ignore[method-assign,assignment]
        listening = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        there.connectionMade = lambda: self.join(here, there)  # type: ignore[method-assign]
        client = self.client(listening.getHost().port)
        yield self.until(lambda: client.transport is not None and here.transport is not None)
        yield listening.stopListening()
        return client

    def join(self, here: Middle, there: Middle) -> None:
        here.other = there
        there.transport.write(here.waiting)

    @inlineCallbacks
    def test_proxyIsHonest(self) -> Generator[Any, Any, None]:
        """The man in the middle who changes nothing is not noticed: the tests test something."""
        client = yield self.inTheMiddle(unchanged, unchanged)
        yield self.until(lambda: client.session)
        client.goodbye()
        yield self.until(lambda: client.termination)
        self.assertIs(client.end.cause, Cause.GOODBYE)

    @inlineCallbacks
    def test_replayedOnTheWire(self) -> Generator[Any, Any, None]:
        """A recorded handshake and session, sent again to the server: no session."""
        recorded = bytearray()

        def record(data: bytes) -> bytes:
            recorded.extend(data)
            return data

        client = yield self.inTheMiddle(record, unchanged)
        yield self.until(lambda: client.session)
        client.sendMessage(b"pay once")
        client.goodbye()
        yield self.until(lambda: client.termination)
        completed = self.factory.completed
        for end in range(0, len(recorded) + 1, 23):
            raw = yield self.raw(bytes(recorded[:end]))
            if end > 350:
                yield raw.lost
        self.clock.advance(10.0)
        self.clock.advance(LINGER)
        yield self.until(lambda: all(raw.closed for raw in self.raws))
        self.assertEqual(self.factory.completed, completed)

    @inlineCallbacks
    def test_neverReads(self) -> Generator[Any, Any, None]:
        """A client that never reads: what waits for it is bounded, and it ends by its deadlines."""
        client = self.client()
        yield self.until(lambda: client.session)
        client.transport.below.pauseProducing()
        (server,) = self.factory.sessions
        while server.queued < 1 << 20:
            server.sendMessage(bytes(65536))
            yield deferLater(self.reactor, 0)
        transport = server.transport.below
        waiting = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        self.assertLess(waiting, 65536 + WRITE_BATCH + 20_000)
        yield self.assertServes()
        self.clock.pump([1.0] * 60)
        self.assertIsNotNone(server.termination)
        self.clock.advance(LINGER)
        yield self.until(lambda: "connectionLost" in server.names())
        client.transport.abortConnection()
        yield self.until(lambda: "connectionLost" in client.names())

    @inlineCallbacks
    def test_limitsUnderFlood(self) -> Generator[Any, Any, None]:
        """Of a flood of handshakes the oldest are turned away, and whoever is honest gets in."""
        self.factory.limits = Limits(handshakes=20)
        for _ in range(100):
            yield self.raw()
        yield self.until(lambda: self.factory.terminations[Cause.REJECTED] == 80)
        self.assertEqual(len(self.factory.door.handshakes), 20)
        yield self.assertServes()
        self.assertEqual(self.factory.terminations[Cause.REJECTED], 81)
        self.clock.advance(10.0)
        self.clock.advance(LINGER)
        yield self.until(lambda: all(raw.closed for raw in self.raws))

    @inlineCallbacks
    def test_hostileServer(self) -> Generator[Any, Any, None]:
        """A client that meets something else than a server says so, and never hangs."""
        answers: Iterator[bytes] = iter([HTTP, TLS, SSH, bytes(50), b"\xff" * 70_000, b""])

        class Answer(Protocol):
            def connectionMade(self) -> None:
                self.transport.write(next(answers))

        factory = Factory.forProtocol(Answer)
        factory.noisy = False
        port = self.listen(factory)
        clients = [self.client(port) for _ in range(6)]
        yield self.until(lambda: sum(1 for client in clients if client.termination) >= 4)
        yield self.until(lambda: all("connectionMade" in client.names() for client in clients))
        self.clock.advance(10.0)
        self.clock.advance(LINGER)
        yield self.until(lambda: all("connectionLost" in client.names() for client in clients))
        for client in clients:
            self.assertIs(client.end.cause, Cause.REJECTED)
            self.assertIsNone(client.session)
