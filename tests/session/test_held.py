"""What waits in the memory for all sessions together: counted, bounded, and whose session ends."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import establishedPair, give, recordFor, sendTo
from thing import testing
from thing.core.limits import Limits
from thing.core.messages import CDT, COP, FRAGMENT_LIMIT, MORE
from thing.core.records import TAG_LENGTH
from thing.core.streams import STREAM_COST
from thing.core.window import RECORD_COST
from thing.errors import ErrorCode, ReplyStatus
from thing.events import Cause
from thing.logger import Logger
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol, linkOf

LIMIT = 1 << 18
"""How many octets may wait for all, in these tests."""

DONE = ReplyStatus.DONE

HOME, ELSEWHERE = (IPv4Address("TCP", f"192.0.2.{number}", 1) for number in (1, 2))


class IdleTests(SynchronousTestCase):
    """What an idle session takes."""

    def test_memory(self) -> None:
        """Both of its ends, and the network between them, are no more than some kilobytes."""
        count, clock, keys = 100, Clock(), testing.Keys()
        server, client = (
            ThingFactory(settings, authorizer, clock=clock)
            for settings, authorizer in (
                (keys.serverSettings(), keys.things),
                (keys.clientSettings(), keys.servers),
            )
        )
        # Until a log is begun Twisted keeps what goes into it.
        self.patch(Logger, "emit", lambda *_, **__: None)
        testing.Pair(server, client).up()  # What the first one loads is nobody's.
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            pairs = [testing.Pair(server, client).up() for _ in range(count)]
            clock.advance(1)
            gc.collect()
            each = (tracemalloc.get_traced_memory()[0] - before) / len(pairs)
        finally:
            tracemalloc.stop()
        self.assertEqual(len(server.sessions), count + 1)
        self.assertLess(each, 16_000)


class CountTests(SynchronousTestCase):
    """What counts, of one Connection."""

    def setUp(self) -> None:
        self.client, self.server = establishedPair()

    def give(self) -> None:
        """The server gets what the client has to send."""
        give(self.server, self.client.dataToSend(0.0, 1 << 30), 0.0)

    def test_idle(self) -> None:
        """Nothing waits for a session that is idle."""
        self.assertEqual((self.client.held, self.server.held), (0, 0))

    def test_unfinishedRecord(self) -> None:
        """A record of which some is missing counts, and none of the chunk that it came with."""
        record = recordFor(self.server, CDT(0, 0, bytes(FRAGMENT_LIMIT)).typed())
        give(self.server, record[:100], 0.0)
        self.assertEqual(self.server.held, 100)
        give(self.server, record[100:], 0.0)
        self.assertEqual(self.server.held, 0)

    def test_nothingIsKept(self) -> None:
        """What was read is let go of at once, and so is a chunk for the little left of it."""
        self.client.sendMessage(bytes(10_000))
        self.give()
        self.assertEqual(self.server._reader._buffer, b"")
        self.client.sendMessage(bytes(10_000))
        self.client.sendMessage(b"x")
        data = self.client.dataToSend(0.0, 1 << 30)[:-1]
        give(self.server, data, 0.0)
        self.assertLess(len(self.server._reader._buffer), 4 * TAG_LENGTH)

    def test_unfinishedMessage(self) -> None:
        """A message counts until its last fragment is there."""
        for number in (1, 2):
            sendTo(self.server, CDT(MORE, 0, bytes(1000)))
            self.assertEqual(self.server.held, 1000 * number)
        sendTo(self.server, CDT(0, 0, bytes(500)))
        self.assertEqual(self.server.held, 0)

    def test_heldData(self) -> None:
        """Data that nobody takes count, until they are taken."""
        self.server.hold()
        for _ in range(3):
            sendTo(self.server, CDT(0, 0, bytes(100)))
        self.assertGreaterEqual(self.server.held, 3 * (100 + RECORD_COST))
        list(self.server.release(0.0))
        self.assertEqual(self.server.held, 0)

    def test_streams(self) -> None:
        """A stream counts while it is open, and what waits in it."""
        sendTo(self.server, COP(1, b"label"))
        self.assertEqual(self.server.held, STREAM_COST)
        sendTo(self.server, CDT(0, 1, bytes(100)))
        self.assertGreaterEqual(self.server.held, STREAM_COST + RECORD_COST + 100)
        self.server.stopStream(1, 1)
        self.assertEqual(self.server.held, 0)

    def test_requests(self) -> None:
        """A request counts until it is answered, the answer until it is with the transport."""
        self.client.request(bytes(1000))
        self.give()
        self.assertEqual(self.server.held, 1000 + RECORD_COST)
        self.server.reply(1, DONE, bytes(3000))
        self.assertGreaterEqual(self.server.held, 3000)
        self.server.dataToSend(0.0, 1 << 30)
        self.assertEqual(self.server.held, 0)

    def test_unsent(self) -> None:
        """What is to be sent counts, each message with something of its own."""
        for _ in range(10):
            self.server.sendMessage(b"x")
        self.assertEqual(self.server.held, 10 * (1 + RECORD_COST))
        self.server.dataToSend(0.0, 1 << 30)
        self.assertEqual(self.server.held, 0)
        self.server.sendMessage(bytes(3 * FRAGMENT_LIMIT))
        before = self.server.held
        self.server.dataToSend(0.0, 1)
        self.assertEqual(before - self.server.held, FRAGMENT_LIMIT)

    def test_end(self) -> None:
        """Nothing waits any more when the session has ended, whatever there was."""
        _, server = establishedPair()
        sendTo(server, COP(1, b"label"), CDT(0, 1, bytes(100)), CDT(MORE, 0, bytes(1000)))
        server.sendMessage(bytes(1000))
        record = recordFor(server, CDT(0, 0, b"x").typed())
        give(server, record[:-1], 0.0)
        self.assertGreater(server.held, 2000)
        server.reject(ErrorCode.SERVER_BUSY, 0.0)
        self.assertEqual(server.held, 0)


class Taking(ThingProtocol):
    """A server's side; it answers no request before the test does, and takes streams."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Deferred[bytes]] = []

    def requestReceived(self, data: bytes) -> Any:
        self.asked.append(Deferred())
        return self.asked[-1]


class BoundTests(SynchronousTestCase):
    """Many sessions of one server, for which too much waits."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.keys = testing.Keys()
        self.factory: Any = ThingFactory(
            self.keys.serverSettings(),
            self.keys.things,
            limits=Limits(held=LIMIT, retryAfter=4.0),
            clock=self.clock,
            jitter=lambda: 0.5,
        )
        self.factory.protocol = Taking

    def pair(self, address: Any = HOME) -> Any:
        """One more session of a client at this address."""
        return testing.Pair(
            self.factory, ThingProtocol, keys=self.keys, clock=self.clock, clientAddress=address
        ).up()

    def unfinished(self, pair: Any, octets: int) -> None:
        """A client sends so much of a message, and not the rest."""
        core = linkOf(pair.client).core
        sent = 0
        while sent < octets:
            piece = CDT(MORE, 0, bytes(min(FRAGMENT_LIMIT, octets - sent)))
            core._writer.seal(piece.typed(), 0.0)
            sent += len(piece.data)
            linkOf(pair.client).driver.flush()
            pair.pump()
            linkOf(pair.client).driver.follow(())
            pair.pump()

    def ended(self, pairs: list[Any]) -> list[bool]:
        """Whose session has ended."""
        for pair in pairs:
            pair.pump()
        return [pair.server.termination is not None for pair in pairs]

    def test_unfinishedMessages(self) -> None:
        """
        However many sessions a stranger has, what they leave unfinished is bounded: the one that
        holds the most is told to come back later, the others go on.
        """
        pairs = [self.pair() for _ in range(5)]
        for pair, octets in zip(pairs, (40_000, 60_000, 90_000, 50_000, 50_000), strict=True):
            self.unfinished(pair, octets)
            self.assertLessEqual(self.factory.door.held, LIMIT)
        self.assertEqual(self.ended(pairs), [False, False, True, False, False])
        for end, byPeer in (
            (pairs[2].server.termination, False),
            (pairs[2].client.termination, True),
        ):
            self.assertIs(end.cause, Cause.ABORTED)
            self.assertIs(end.code, ErrorCode.SERVER_BUSY)
            self.assertEqual(end.byPeer, byPeer)
        self.assertEqual(pairs[2].client.termination.retryAfter, 6.0)
        self.assertEqual(
            pairs[2].server.termination.detail,
            f"limit of {LIMIT} octets held: 90000 for it, 272768 for its network",
        )
        self.assertEqual(self.factory.limitsHit, {"held": 1})
        self.assertEqual(self.factory.door.held, 200_000)

    def test_othersAreNotInvolved(self) -> None:
        """Who holds most of all from one network does not end the session of a larger one."""
        stranger = [self.pair() for _ in range(6)]
        honest = self.pair(ELSEWHERE)
        for pair in stranger:
            self.unfinished(pair, 40_000)
        self.unfinished(honest, 100_000)
        self.assertEqual(self.ended([honest]), [False])
        self.assertEqual(sum(self.ended(stranger)), 2)

    def test_behindBalancer(self) -> None:
        """Where networks are not known each session stands for itself."""
        pairs = [self.pair() for _ in range(4)]
        for pair, octets in zip(pairs, (60_000, 60_000, 70_000, 80_000), strict=True):
            self.factory.door.readdress(linkOf(pair.server), "")
            self.unfinished(pair, octets)
        self.assertEqual(self.ended(pairs), [False, False, False, True])

    def test_backToNothing(self) -> None:
        """What is finished, taken, answered or over is not counted any more."""
        pairs = [self.pair() for _ in range(3)]
        for pair in pairs:
            for _ in range(3):
                pair.client.request(bytes(1000)).addErrback(lambda _: None)
                pair.client.sendMessage(bytes(50_000))
            pair.pump()
        self.assertEqual(self.factory.door.held, 9 * (1000 + RECORD_COST))
        for pair in pairs[:2]:
            for waiting in pair.server.asked:
                waiting.callback(b"")
            pair.pump()
        self.assertEqual(self.factory.door.held, 3 * (1000 + RECORD_COST))
        pairs[2].client.abort()
        pairs[2].pump()
        self.assertEqual((self.factory.door.held, self.factory.door.holding), (0, {}))

    def test_heldRequests(self) -> None:
        """Requests that wait for their answers are bounded together, too."""
        pairs = [self.pair() for _ in range(20)]
        for pair in pairs:
            for _ in range(20):
                pair.client.request(bytes(1000)).addErrback(lambda _: None)
            pair.pump()
            self.assertLessEqual(self.factory.door.held, LIMIT)
        self.assertEqual(sum(self.ended(pairs)), self.factory.limitsHit["held"])
        self.assertGreater(self.factory.limitsHit["held"], 5)

    def test_unread(self) -> None:
        """So is what waits for clients that do not read."""
        pairs = [self.pair() for _ in range(8)]
        for pair in pairs:
            pair.clientEnd.pauseProducing()
        for _ in range(40):
            for pair in pairs:
                if pair.server.termination is None:
                    pair.server.sendMessage(bytes(20_000))
            self.assertLessEqual(self.factory.door.held, LIMIT)
        self.assertGreater(self.factory.limitsHit["held"], 0)
