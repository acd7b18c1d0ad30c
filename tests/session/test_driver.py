"""Between a Connection and Twisted: timers, heartbeats, stalls, pauses, producers and closing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from zope.interface import implementer

from tests.pairs import CallbackBug, Pair, PairCase, Recorder, firings, freshClient, freshServer
from thing.core.client import ClientConnection
from thing.core.connection import WRITE_BATCH
from thing.core.heartbeat import STILL_GRACE, TtlPolicy
from thing.core.messages import FRAGMENT_LIMIT, MessageType
from thing.core.states import State
from thing.core.window import RECORD_COST
from thing.errors import EndReason, ErrorCode, LocalProtocolError, RequestTimedOut
from thing.events import Cause
from thing.session.driver import LINGER
from thing.session.producers import QUEUE_HIGH
from thing.session.protocol import linkOf

SHORT = TtlPolicy(default=3.0, minimum=0.5)
"""A TTL of three seconds: a beat every second."""


class HeartbeatTests(PairCase):
    """A LoopingCall beats; silence is noticed on time by both sides."""

    def test_hundreds(self) -> None:
        """Hundreds of beats keep a session up, each acknowledged, in steps of one interval."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        pair.advance(300)
        numbers = list(range(1, 301))
        self.assertEqual(pair.client.of("heartbeatSent"), numbers)
        self.assertEqual(pair.client.of("heartbeatAcknowledged"), numbers)
        self.assertEqual(pair.server.of("heartbeatReceived"), numbers)
        for side in (pair.client, pair.server):
            self.assertNotIn("heartbeatLate", side.names())
            self.assertIsNone(side.termination)

    def test_keyUpdates(self) -> None:
        """New keys at both sides, at every beat or between two, hold up none."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        for beat in range(1, 21):
            for side in (pair.client, pair.server):
                side.updateKey()
            pair.advance(1)
            self.assertEqual(pair.client.of("heartbeatAcknowledged")[-1], beat)
        self.assertGreater(len(pair.server.of("keyUpdated")), 15)
        for side in (pair.client, pair.server):
            self.assertNotIn("heartbeatLate", side.names())

    def test_flatLine(self) -> None:
        """Silence is late at half a TTL, and ends the session at the TTL, not before or after."""
        pair = self.pair(freshServer(ttl=SHORT))
        times: dict[str, float] = {}
        for name in ("heartbeatReceived", "heartbeatLate", "terminated"):
            pair.server.doing[name] = lambda *_, name=name: times.update(
                {name: pair.clock.seconds()}
            )
        pair.up().advance(10.5, 0.125)
        pair.freeze()
        pair.advance(10, 0.125)
        last = times["heartbeatReceived"]
        self.assertEqual(times["heartbeatLate"], last + 1.5)
        self.assertEqual(times["terminated"], last + 3)
        self.assertIs(pair.server.end.cause, Cause.FLAT_LINED)
        self.assertEqual(pair.server.end.lastHeartbeat, 11)
        self.assertEqual(pair.server.of("heartbeatLate"), [1.5])

    def test_lapse(self) -> None:
        """A client without acknowledgement notes it late, and gives up at the TTL."""
        pair = self.pair(freshServer(ttl=SHORT))
        times: dict[str, float] = {}
        for name in ("heartbeatAcknowledged", "heartbeatLate", "terminated"):
            pair.client.doing[name] = lambda *_, name=name: times.update(
                {name: pair.clock.seconds()}
            )
        pair.up().advance(10.5, 0.125)
        pair.freeze()
        pair.advance(10, 0.125)
        last = times["heartbeatAcknowledged"]
        self.assertEqual(times["heartbeatLate"], last + 1.5)
        self.assertEqual(times["terminated"], last + 3)
        self.assertIs(pair.client.end.cause, Cause.LAPSED)

    def test_lateThenWell(self) -> None:
        """Late is not dead: a beat that comes before the TTL is over goes on with the session."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        pair.advance(5.5)
        pair.freeze()
        pair.advance(2)
        pair.serverEnd.frozen = pair.clientEnd.frozen = False
        pair.advance(20)
        for side in (pair.client, pair.server):
            self.assertEqual(side.names().count("heartbeatLate"), 1)
            self.assertIsNone(side.termination)

    def test_neverBeats(self) -> None:
        """A client that never beats lives for one TTL."""
        pair = self.pair(freshServer(ttl=SHORT), clientClock=Clock()).up()
        pair.clock.pump([0.125] * 23)
        self.assertIsNone(pair.server.termination)
        pair.clock.pump([0.125] * 2)
        self.assertIs(pair.server.end.cause, Cause.FLAT_LINED)
        self.assertEqual(pair.server.end.lastHeartbeat, 0)

    def test_jitter(self) -> None:
        """The first beats of a fleet are spread over the whole interval."""
        firsts: list[float] = []
        for tenth in range(10):
            pair = self.pair(freshServer(ttl=SHORT), jitter=lambda tenth=tenth: tenth / 10)
            pair.connect()
            while pair.client.session is None:
                pair.step()
            (first,) = [
                call.getTime() for call in pair.clock.getDelayedCalls() if call.getTime() < 1.0
            ]
            firsts.append(first)
            pair.advance(0.95)
            self.assertEqual(pair.client.of("heartbeatSent"), [1])
        self.assertEqual(firsts, [tenth / 10 for tenth in range(10)])

    def test_newInterval(self) -> None:
        """A client keeps to the interval that the latest acknowledgement names."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        pair.advance(3)
        pair.serverFactory.settings = freshServer(ttl=TtlPolicy(default=30.0))
        linkOf(pair.server).core._grant = lambda _: 30.0  # type: ignore[union-attr]
        pair.advance(1.5)
        before = len(pair.client.of("heartbeatSent"))
        pair.advance(100, 0.5)
        self.assertIn(len(pair.client.of("heartbeatSent")) - before, (10, 11))

    def test_changingInterval(self) -> None:
        """
        While the granted TTL changes with every acknowledgement, as in a growing fleet, a client
        still beats three times a TTL: the published formula is what the server is prepared for.
        """
        for jitter in (0.0, 0.1, 0.5):
            pair = self.pair(freshServer(ttl=SHORT), jitter=lambda jitter=jitter: jitter).up()
            grants = iter(range(1, 10**6))
            linkOf(pair.server).core._grant = (  # type: ignore[union-attr]
                lambda _, grants=grants: 3.0 + next(grants) / 1000
            )
            pair.advance(90, 0.25)
            self.assertIsNone(pair.client.termination)
            self.assertLessEqual(len(pair.client.of("heartbeatSent")), 92, f"jitter {jitter}")

    def test_roundTripTime(self) -> None:
        """The client measures the round trip, and tells the server with the next beat."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        pair.clock.advance(0.5)  # A beat, on its way.
        pair.clock.advance(0.25)
        pair.pump()
        self.assertEqual(pair.client.roundTripTime, 0.25)
        self.assertIsNone(pair.server.roundTripTime)
        pair.advance(1)
        self.assertEqual(
            [call[2] for call in pair.server.calls if call[0] == "heartbeatReceived"], [None, 0.25]
        )
        self.assertEqual(pair.server.roundTripTime, 0.25)

    def test_noneOutstanding(self) -> None:
        """Over a stream with a long delay only one beat is outstanding at a time."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        pair.freeze()
        pair.clock.pump([0.125] * 20)
        self.assertEqual(pair.client.of("heartbeatSent"), [1])


class StallTests(PairCase):
    """This side's own stall is never the peer's death."""

    def test_serverStalls(self) -> None:
        """The server stalls for longer than a TTL while beats wait in its sockets: nobody dies."""
        for stall in (2.9, 3.5, 5.0, 5.9):
            clock = Clock()
            pairs = [
                self.pair(freshServer(ttl=SHORT), clock=clock, clientClock=Clock()).up()
                for _ in range(20)
            ]
            for pair in pairs:
                pair.clientClock.pump([0.125] * 15)  # The beats are on their way.
            clock.advance(stall)
            for pair in pairs:
                self.assertIsNone(pair.server.termination)
                pair.pump()
            clock.advance(1)
            for pair in pairs:
                pair.pump()
                self.assertIsNone(pair.server.termination)
                self.assertEqual(pair.server.of("heartbeatReceived"), [1])
                self.assertIsNone(pair.client.termination)

    def test_clientStalls(self) -> None:
        """A client that stalled for a TTL did not beat either: it gives up in a moment."""
        pair = self.pair(freshServer(ttl=SHORT), clientClock=Clock()).up()
        pair.clientClock.advance(2.875)
        pair.pump()
        pair.clientClock.advance(5.125)
        self.assertIsNone(pair.client.termination)
        pair.clientClock.advance(STILL_GRACE)
        self.assertIs(pair.client.end.cause, Cause.LAPSED)

    def test_deadAfterStall(self) -> None:
        """A stall does not make a dead peer immortal: it gets as much time as was stalled."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        pair.freeze()
        pair.clock.advance(5.0)
        self.assertIsNone(pair.server.termination)
        pair.clock.pump([0.05] * 45)
        self.assertIs(pair.server.end.cause, Cause.FLAT_LINED)
        self.assertLess(pair.clock.seconds(), 7.3)

    def test_stallAgainAndAgain(self) -> None:
        """Stalls add up to one TTL of mercy, no more."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        pair.freeze()
        for _ in range(20):
            pair.clock.advance(1.1)
        self.assertIs(pair.server.end.cause, Cause.FLAT_LINED)

    def test_loopLag(self) -> None:
        """How late the latest timer came is told by the factory."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        self.assertEqual(pair.serverFactory.loopLag, 0.0)
        pair.clock.advance(2.25)  # The server's first look was due at 1.5.
        self.assertEqual(pair.serverFactory.loopLag, 0.75)


class PauseTests(PairCase):
    """A program that does not want messages now."""

    def test_heldBack(self) -> None:
        """A pause holds messages back; heartbeats go on for as long as it likes."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        pair.server.pauseProducing()
        for at in range(5):
            pair.client.sendMessage(b"%d" % at)
        pair.advance(60)
        self.assertEqual(pair.server.messages, [])
        self.assertEqual(len(pair.server.of("heartbeatReceived")), 60)
        pair.server.resumeProducing()
        self.assertEqual(pair.server.messages, [b"0", b"1", b"2", b"3", b"4"])

    def test_client(self) -> None:
        """A client's program may pause as well."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        pair.client.pauseProducing()
        pair.server.sendMessage(b"held")
        pair.advance(60)
        self.assertEqual(pair.client.messages, [])
        pair.client.resumeProducing()
        self.assertEqual(pair.client.messages, [b"held"])

    def fill(self, pair: Pair, size: int = 4096, count: int = 300) -> list[bytes]:
        """Let the client send more than is held back for a paused server."""
        sent = [at.to_bytes(2, "big") + bytes(size - 2) for at in range(count)]
        for message in sent:
            pair.client.sendMessage(message)
        return sent

    def test_limitHeld(self) -> None:
        """What is held back is bounded by its credit: the sender waits, reading goes on."""
        for size, count in ((4096, 300), (16384, 100), (1 << 20, 3), (2, 60_000)):
            pair = self.pair().up()
            pair.server.pauseProducing()
            self.fill(pair, size, count)
            pair.pump()
            core = linkOf(pair.server).core
            # Each record is held with its header of six octets.
            credit = pair.serverFactory.settings.capacity.mainCredit
            self.assertLessEqual(core.held, credit * (RECORD_COST + 8) / (RECORD_COST + 2))
            self.assertTrue(pair.serverEnd.reading)
            self.assertEqual(core._reader.buffered, 0)
            self.assertEqual(len(pair.clientEnd.outgoing), 0)
            self.assertGreater(pair.client.queued, 0)

    def test_resumed(self) -> None:
        """Resumed, all arrives in order, and the sender goes on."""
        pair = self.pair().up()
        pair.server.pauseProducing()
        sent = self.fill(pair)
        pair.pump()
        self.assertEqual(pair.server.messages, [])
        pair.server.resumeProducing()
        pair.pump()
        self.assertEqual(pair.server.messages, sent)
        self.assertTrue(pair.serverEnd.reading)

    def test_resumedForOne(self) -> None:
        """A program may take one message at a time, however much waits."""
        pair = self.pair().up()
        pair.server.doing["messageReceived"] = lambda _: pair.server.pauseProducing()
        sent = self.fill(pair)
        pair.pump()
        for count in range(1, len(sent) + 1):
            self.assertEqual(len(pair.server.messages), count)
            pair.server.resumeProducing()
            pair.pump()
        self.assertEqual(pair.server.messages, sent)

    def test_slowButSteady(self) -> None:
        """A program that takes one message at a time, and seldom, keeps its session."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        pair.server.doing["messageReceived"] = lambda _: pair.server.pauseProducing()
        self.fill(pair)
        pair.pump()
        for _ in range(20):
            pair.advance(4)
            taken = len(pair.server.messages)
            pair.server.resumeProducing()
            self.assertEqual(len(pair.server.messages), taken + 1)
        self.assertEqual(len(pair.server.of("heartbeatReceived")), 80)
        self.assertIsNone(pair.server.termination)

    def test_stopWhileHeld(self) -> None:
        """A consumer that stops its producer, a session that holds, ends it cleanly and soon."""
        for stopping in ("client", "server"):
            pair = self.pair().up()
            side = getattr(pair, stopping)
            other = pair.server if stopping == "client" else pair.client
            side.pauseProducing()
            other.sendMessage(b"held")
            pair.pump()
            side.stopProducing()
            pair.pump()
            for one in (side, other):
                self.assertIs(one.end.cause, Cause.GOODBYE)
            self.assertEqual(side.messages, [b"held"])

    def test_heldAtFlatLine(self) -> None:
        """What was held when the client fell silent is delivered before the end is told."""
        pair = self.pair(freshServer(ttl=SHORT), clientClock=Clock()).up()
        pair.server.pauseProducing()
        pair.client.sendMessage(b"held")
        pair.pump()
        pair.clock.pump([0.125] * 25)
        self.assertIs(pair.server.end.cause, Cause.FLAT_LINED)
        self.assertEqual(pair.server.messages, [b"held"])

    def test_resumeInCallback(self) -> None:
        """A program may resume inside any callback; reading goes on as from anywhere else."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        pair.client.pauseProducing()
        for _ in range(300):
            pair.server.sendMessage(bytes(4096))
        pair.pump()
        self.assertEqual(pair.client.messages, [])
        pair.client.doing["heartbeatSent"] = lambda _: pair.client.resumeProducing()
        pair.advance(0.625)
        self.assertEqual(pair.client.of("heartbeatSent"), [1])
        self.assertEqual(len(pair.client.messages), 300)
        pair.advance(10)
        self.assertIsNone(pair.client.termination)

    def paused(self, side: str, settings: Any = None) -> tuple[Pair, Recorder, Recorder]:
        """A pair of which one side has paused, that side, and the other one."""
        pair = self.pair(settings or freshServer(ttl=SHORT)).up()
        sides = (pair.server, pair.client) if side == "server" else (pair.client, pair.server)
        sides[0].pauseProducing()
        return pair, *sides

    def assertBoth(self, pair: Pair, cause: Cause | None) -> None:
        """Both sides have ended so, or not at all."""
        ends = [each.termination for each in (pair.server, pair.client)]
        self.assertEqual([end and end.cause for end in ends], [cause] * 2)

    def test_longPause(self) -> None:
        """No pause with data behind it costs a session, on either side; all arrives then."""
        for side in ("server", "client"):
            pair, pausing, other = self.paused(side)
            sent = [at.to_bytes(2, "big") + bytes(4094) for at in range(300)]
            for message in sent:
                other.sendMessage(message)
            pair.advance(100 * 3.0)
            self.assertBoth(pair, None)
            self.assertEqual(pausing.messages, [])
            for each in (pair.client, pair.server):
                self.assertNotIn("heartbeatLate", each.names())
            pausing.resumeProducing()
            pair.advance(5)
            self.assertEqual(pausing.messages, sent)
            self.assertBoth(pair, None)

    def test_longPauseFromTheStart(self) -> None:
        """The same for a program that has paused before the session was up, or as it came up."""
        for name in ("connectionMade", "handshakeCompleted"):
            for side in ("server", "client"):
                pair = self.pair(freshServer(ttl=SHORT))
                pausing, other = pair.server, pair.client
                if side == "client":
                    pausing, other = other, pausing
                pausing.doing[name] = pausing.pauseProducing
                pair.up()
                other.sendMessage(b"early")
                pair.advance(100 * 3.0)
                self.assertEqual(pausing.messages, [])
                self.assertBoth(pair, None)
                pausing.resumeProducing()
                pair.pump()
                self.assertEqual(pausing.messages, [b"early"])

    def test_longPauseWithRequests(self) -> None:
        """The same with requests: each is answered in the end, unless nobody waits any more."""
        for side in ("server", "client"):
            pair, pausing, other = self.paused(side)
            pausing.requestReceived = bytes.upper  # type: ignore[method-assign]
            patient = [firings(other.request(b"%d a" % at, 1000.0)) for at in range(32)]
            hasty = [firings(other.request(b"%d b" % at, 10.0)) for at in range(32)]
            pair.advance(100 * 3.0)
            self.assertBoth(pair, None)
            self.assertEqual(patient, [[]] * 32)
            self.assertEqual([type(fired[0]) for fired in hasty], [RequestTimedOut] * 32)
            pausing.resumeProducing()
            pair.advance(1)
            self.assertEqual(patient, [[b"%d A" % at] for at in range(32)])
            self.assertBoth(pair, None)

    def test_longPauseOfReplies(self) -> None:
        """Replies come all the same, behind whatever waits here and there."""
        pair, pausing, other = self.paused("client")
        other.requestReceived = bytes.upper  # type: ignore[method-assign]
        other.sendMessage(bytes(100_000))
        pair.advance(100 * 3.0)
        fired = firings(pausing.request(b"a", 1.0))
        pair.pump()
        self.assertEqual(fired, [b"A"])
        self.assertEqual(pausing.messages, [])

    def test_longPauseWithGoodbye(self) -> None:
        """A goodbye waits behind the data of a paused side, as long as its sender waits for it."""
        for side in ("server", "client"):
            pair, pausing, other = self.paused(side)
            for at in range(300):
                other.sendMessage(b"%d" % at)
            ended = firings(other.goodbye())
            pair.advance(8 * 3.0)
            self.assertEqual((pausing.messages, ended), ([], []))
            pausing.resumeProducing()
            pair.advance(1)
            self.assertEqual(pausing.messages, [b"%d" % at for at in range(300)])
            self.assertBoth(pair, Cause.GOODBYE)

    def test_goodbyeGivenUp(self) -> None:
        """Who says goodbye waits for no longer than its closeTimeout; the data arrive even so."""
        pair, pausing, other = self.paused("server", freshServer(ttl=SHORT))
        other.sendMessage(b"last words")
        other.goodbye()
        pair.advance(31)
        self.assertIs(other.end.code, ErrorCode.CLOSE_TIMEOUT)
        self.assertEqual(pausing.messages, [b"last words"])
        self.assertIs(pausing.end.cause, Cause.TRUNCATED)

    def test_goodbyeBehindHeld(self) -> None:
        """A goodbye waits behind the messages that are held back, and both arrive."""
        pair = self.pair().up()
        pair.server.pauseProducing()
        pair.client.sendMessage(b"last words")
        pair.client.goodbye()
        pair.pump()
        self.assertIsNone(pair.server.termination)
        pair.server.resumeProducing()
        pair.pump()
        self.assertEqual(pair.server.messages, [b"last words"])
        self.assertIs(pair.server.end.cause, Cause.GOODBYE)

    def test_endWhileHeld(self) -> None:
        """What the peer sent before it ended the session is delivered before the end is told."""
        pair = self.pair().up()
        pair.server.pauseProducing()
        for at in range(3):
            pair.client.sendMessage(b"%d" % at)
        pair.pump()
        pair.client.abort()
        pair.pump()
        self.assertEqual(
            pair.server.names()[-5:], ["messageReceived"] * 3 + ["terminated", "connectionLost"]
        )

    def test_raisesWhileHeld(self) -> None:
        """A callback that raises at a held message does not keep the end from being told."""
        pair = self.pair().up()
        pair.server.pauseProducing()
        pair.client.sendMessage(b"message")
        pair.pump()
        pair.server.raising = frozenset(("messageReceived",))
        ended = firings(pair.server.whenTerminated())
        pair.client.abort()
        pair.pump()
        self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 1)
        self.assertEqual(len(ended), 1)
        self.assertOver(pair)

    def test_pauseAfterEnd(self) -> None:
        """Pausing and resuming after the end is harmless."""
        pair = self.pair().up()
        pair.client.abort()
        pair.pump()
        for side in (pair.client, pair.server):
            side.pauseProducing()
            side.resumeProducing()
            side.stopProducing()


@implementer(IPushProducer, IPullProducer)
class Producer:
    """Writes numbered messages as fast as it may, as a push producer or a pull producer."""

    def __init__(self, consumer: Recorder, size: int = 4096, limit: int = 1 << 30) -> None:
        self.consumer = consumer
        self.size = size
        self.limit = limit
        self.sent = 0
        self.paused = False
        self.stopped = 0
        self.told: list[str] = []

    def start(self, streaming: bool) -> None:
        self.consumer.registerProducer(self, streaming)
        if streaming:
            self.go()

    def go(self) -> None:
        """As a push producer, write until told to stop."""
        while not (self.paused or self.stopped) and self.sent < self.limit:
            self.write()

    def write(self) -> None:
        self.consumer.write(self.sent.to_bytes(4, "big") + bytes(self.size - 4))
        self.sent += 1
        if self.sent == self.limit:
            self.consumer.unregisterProducer()

    def pauseProducing(self) -> None:
        self.told.append("pause")
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        if "pause" in self.told or linkOf(self.consumer).driver._producer.streaming:
            self.told.append("resume")
            self.go()
        else:
            self.write()

    def stopProducing(self) -> None:
        self.stopped += 1


@implementer(IPushProducer, IPullProducer)
class BrokenProducer:
    """A producer with a bug in one method."""

    def __init__(self, bug: str) -> None:
        self.bug = bug

    def pauseProducing(self) -> None:
        self.check("pauseProducing")

    def resumeProducing(self) -> None:
        self.check("resumeProducing")

    def stopProducing(self) -> None:
        self.check("stopProducing")

    def check(self, name: str) -> None:
        if name == self.bug:
            raise CallbackBug(name)


class ProducerTests(PairCase):
    """A fast writer and a slow reader: all arrives, and memory stays bounded."""

    def assertBounded(self, pair: Pair, size: int) -> None:
        for side, end in ((pair.server, pair.serverEnd), (pair.client, pair.clientEnd)):
            self.assertLessEqual(side.queued, QUEUE_HIGH + size)
            self.assertLessEqual(end.highest, end.bufferSize + WRITE_BATCH + 2 * FRAGMENT_LIMIT)

    def slowly(self, role: str, streaming: bool, size: int, count: int) -> None:
        """One side produces; the other takes a little at a time."""
        pair = self.pair(networkSize=8192).up()
        side, other = pair.client, pair.server
        if role == "server":
            side, other = other, side
        producer = Producer(side, size, count)
        producer.start(streaming)
        self.assertLess(producer.sent, count)
        while len(other.messages) < count:
            before = pair.clientEnd.taken + pair.serverEnd.taken
            pair.step(5000, 5000)
            self.assertBounded(pair, size)
            self.assertGreater(pair.clientEnd.taken + pair.serverEnd.taken, before)
        self.assertEqual(
            [int.from_bytes(message[:4], "big") for message in other.messages], list(range(count))
        )
        self.assertEqual(producer.stopped, 0)
        if streaming:
            self.assertIn("resume", producer.told)
        side.goodbye()
        pair.pump()
        self.assertIs(side.end.cause, Cause.GOODBYE)

    def test_push(self) -> None:
        """A push producer is paused and resumed."""
        for role in ("client", "server"):
            self.slowly(role, True, 4096, 500)
            self.slowly(role, True, 70_000, 30)

    def test_pull(self) -> None:
        """A pull producer is asked as often as there is room."""
        for role in ("client", "server"):
            self.slowly(role, False, 4096, 500)
            self.slowly(role, False, 70_000, 30)

    def test_pullLater(self) -> None:
        """A pull producer that has nothing now is asked again after its next message."""
        pair = self.pair().up()
        asked: list[int] = []
        ready: list[bytes] = [b"first"]

        @implementer(IPullProducer)
        class Sometimes:
            def resumeProducing(self) -> None:
                asked.append(1)
                if ready:
                    pair.client.write(ready.pop())

            def stopProducing(self) -> None:
                asked.clear()

        pair.client.registerProducer(Sometimes(), False)
        pair.pump()
        self.assertIn(len(asked), (2, 3))  # Once more if the transport tells that it is done.
        ready.append(b"second")
        pair.client.write(b"another")
        pair.pump()
        self.assertEqual(pair.server.messages, [b"first", b"another", b"second"])

    def test_secondProducer(self) -> None:
        """One producer at a time; after it is unregistered the next may come."""
        pair = self.pair().up()
        producer = Producer(pair.client, limit=1)
        pair.client.registerProducer(producer, True)
        self.assertRaises(RuntimeError, pair.client.registerProducer, producer, True)
        pair.client.unregisterProducer()
        pair.client.registerProducer(producer, True)

    def test_neverReads(self) -> None:
        """Towards a peer that never reads, a producer stops soon and stays stopped."""
        for streaming in (True, False):
            pair = self.pair(freshServer(ttl=SHORT), clientClock=Clock(), networkSize=8192).up()
            pair.clientEnd.reading = False
            producer = Producer(pair.server)
            producer.start(streaming)
            pair.clock.pump([0.125] * 16)
            pair.serverEnd.step(0)
            self.assertBounded(pair, producer.size)
            self.assertLess(producer.sent * producer.size, 4 * 65536 + 8192)
            pair.clock.pump([0.125] * 16)
            self.assertIs(pair.server.end.cause, Cause.FLAT_LINED)
            self.assertEqual(producer.stopped, 1)

    def test_stoppedAtEnd(self) -> None:
        """However a session ends, its producer is stopped, once."""
        for ending in ("abort", "lose"):
            for streaming in (True, False):
                pair = self.pair(networkSize=8192).up()
                pair.serverEnd.reading = False
                producer = Producer(pair.client)
                producer.start(streaming)
                if ending == "abort":
                    pair.client.abort()
                else:
                    pair.serverEnd.abortConnection()
                pair.pump()
                self.assertEqual(producer.stopped, 1)

    def test_registeredTooLate(self) -> None:
        """A producer that comes after the end is stopped at once."""
        pair = self.pair().up()
        pair.client.abort()
        producer = Producer(pair.client)
        pair.client.registerProducer(producer, True)
        self.assertEqual(producer.stopped, 1)
        pair = self.pair().connect()
        pair.client.abort()  # This one never was a session.
        for streaming in (True, False):
            producer = Producer(pair.client)
            pair.client.registerProducer(producer, streaming)
            self.assertEqual(producer.stopped, 1)

    def test_registeredEarly(self) -> None:
        """A producer may be registered before the session is up; it is asked once it is."""
        pair = self.pair()
        producer = Producer(pair.client, limit=3)
        pair.client.doing["connectionMade"] = lambda: pair.client.registerProducer(producer, False)
        pair.connect().pump()
        self.assertIsNone(pair.client.termination)
        self.assertEqual(len(pair.server.messages), 3)

    def test_closing(self) -> None:
        """
        A goodbye, from either side, with a producer registered on either side: the producer is
        stopped, nothing is raised anywhere, and the session ends cleanly.
        """
        for closing in ("client", "server"):
            for producing in ("client", "server"):
                for streaming in (True, False):
                    pair = self.pair(networkSize=8192).up()
                    producer = Producer(getattr(pair, producing))
                    producer.start(streaming)
                    for _ in range(20):
                        pair.step(5000, 5000)
                    case = f"{closing} closes, {producing} produces, streaming {streaming}"
                    getattr(pair, closing).goodbye()
                    pair.pump()
                    self.assertEqual(self.flushLoggedErrors(), [], case)
                    self.assertEqual(producer.stopped, 1, case)
                    for side in (pair.client, pair.server):
                        self.assertIs(side.end.cause, Cause.GOODBYE, case)

    def test_bugs(self) -> None:
        """A producer's exception is logged and ends its session, and leaves nothing behind."""
        for streaming in (True, False):
            for bug in ("pauseProducing", "resumeProducing", "stopProducing"):
                if bug == "pauseProducing" and not streaming:
                    continue
                pair = self.pair(networkSize=8192).up()
                case = f"{bug}, streaming {streaming}"
                try:
                    pair.client.registerProducer(BrokenProducer(bug), streaming)
                    for _ in range(100):
                        if pair.client.termination is None:
                            pair.client.sendMessage(bytes(4096))
                    pair.pump()
                    pair.client.abort()
                except CallbackBug:
                    self.fail(f"{case}: the producer's exception escaped")
                pair.pump()
                pair.advance(3)
                self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 1, case)
                self.assertOver(pair)


class CloseTests(PairCase):
    """Every close ends by its deadline, in every state, whatever the peer does."""

    def test_bothAtOnce(self) -> None:
        """Two sides with full buffers that close at once do not wait for each other."""
        for networkSize in (1, 8192):
            pair = self.pair(networkSize=networkSize).up()
            sent = [bytes(50_000) for _ in range(10 if networkSize > 1 else 2)]
            for message in sent:
                pair.client.sendMessage(message)
                pair.server.sendMessage(message)
            pair.client.loseConnection()
            pair.server.loseConnection()
            pair.pump(rounds=10**7)
            for side in (pair.client, pair.server):
                self.assertIs(side.end.cause, Cause.GOODBYE)
                self.assertEqual(side.messages, sent)

    def silentPair(self, stage: int, **settings: Any) -> Pair:
        """A pair whose stream stops at some stage of its life."""
        pair = self.pair(
            freshServer(closeTimeout=4.0, handshakeTimeout=4.0, **settings),
            freshClient(closeTimeout=4.0, handshakeTimeout=4.0),
            networkSize=64,
        ).connect()
        for _ in range(stage):
            pair.step(64, 64)
        pair.freeze()
        return pair

    def test_silentPeer(self) -> None:
        """With a peer that never answers, in every state, with every kind of producer."""
        states: set[State] = set()
        for stage in range(40):
            for streaming in (None, True, False):
                pair = self.silentPair(stage, ttl=TtlPolicy(default=60.0))
                for side in (pair.client, pair.server):
                    if streaming is not None and side.session is not None:
                        Producer(side).start(streaming)
                    states.add(linkOf(side).core.state)
                ended = [firings(side.goodbye()) for side in (pair.client, pair.server)]
                pair.advance(4.0)
                for side in (pair.client, pair.server):
                    self.assertIsNotNone(side.termination)
                pair.advance(LINGER + 0.125)
                self.assertEqual([len(one) for one in ended], [1, 1])
                self.assertOver(pair)
                self.assertEqual(self.flushLoggedErrors(), [])
        self.assertGreater(len(states), 6)

    def test_silentAfterGoodbye(self) -> None:
        """A goodbye that is followed by silence at any of its steps ends by the deadline."""
        for closing in ("client", "server"):
            states: set[State] = set()
            for stage in range(30):
                pair = self.pair(
                    freshServer(closeTimeout=4.0, ttl=TtlPolicy(default=60.0)),
                    freshClient(closeTimeout=4.0),
                    networkSize=16,
                ).up()
                side = getattr(pair, closing)
                ended = firings(side.goodbye())
                for _ in range(stage):
                    pair.step(16, 16)
                pair.freeze()
                states.update(linkOf(one).core.state for one in (pair.client, pair.server))
                pair.advance(4.125)
                self.assertIsNotNone(side.termination)
                pair.advance(LINGER)
                self.assertEqual(len(ended), 1)
                pair.advance(60 + LINGER, 1)
                self.assertOver(pair)
            self.assertGreater(len(states), 2)

    def test_silentBeforeGoodbye(self) -> None:
        """A handshake that stops at any octet ends by its deadline, on both sides."""
        for stage in range(30):
            pair = self.silentPair(stage, ttl=SHORT)
            pair.advance(4.25 + LINGER)
            self.assertOver(pair)

    def test_lastMinute(self) -> None:
        """
        A server waits one closeTimeout for the client's goodbye and one for the rest: a client
        that answers at the last moment and then no more gains that, and not a moment more.
        """
        pair = self.pair(freshServer(closeTimeout=4.0, ttl=TtlPolicy(default=60.0))).up()
        ended = firings(pair.server.goodbye())
        while linkOf(pair.client).core.state is State.ESTABLISHED:
            pair.serverEnd.step(1 << 20)
        pair.clock.advance(3.875)
        while linkOf(pair.server).core.state is State.GOING_AWAY:
            pair.clientEnd.step(1 << 20)
        pair.freeze()
        pair.advance(4.125)
        self.assertIsNotNone(pair.server.termination)
        pair.advance(LINGER)
        self.assertEqual(len(ended), 1)

    def test_whilePaused(self) -> None:
        """A server's goodbye ends within closeTimeout although its program takes nothing."""
        pair = self.pair(freshServer(closeTimeout=4.0, ttl=TtlPolicy(default=600.0))).up()
        pair.server.pauseProducing()
        for _ in range(100):
            pair.client.sendMessage(bytes(4096))
        pair.pump()
        self.assertGreater(pair.client.queued, 0)
        ended = firings(pair.server.goodbye())
        pair.advance(4.25 + LINGER)
        self.assertEqual(len(ended), 1)

    def test_drainWhilePaused(self) -> None:
        """A drain ends within its grace although a session's program takes nothing."""
        pair = self.pair(freshServer(ttl=TtlPolicy(default=600.0))).up()
        pair.server.pauseProducing()
        for _ in range(100):
            pair.client.sendMessage(bytes(4096))
        pair.pump()
        drained = firings(pair.serverFactory.drain(5.0))
        pair.advance(5.25 + LINGER)
        self.assertEqual(len(drained), 1)

    def test_stubbornClient(self) -> None:
        """A client that goes on beating and never leaves is flat-lined when the grace is over."""
        pair = self.pair(freshServer(ttl=TtlPolicy(default=60.0)), jitter=lambda: 0.0).up()
        self.patch(ClientConnection, "_leave", lambda core: None)
        pair.server.goAway(EndReason.OVERLOADED, grace=5.0, retryAfter=7.0)
        pair.advance(4.875)
        self.assertIsNone(pair.server.termination)
        pair.advance(0.25)
        self.assertIs(pair.server.end.cause, Cause.FLAT_LINED)
        self.assertIs(pair.server.end.reason, EndReason.OVERLOADED)
        self.assertIs(pair.client.end.cause, Cause.FLAT_LINED)
        self.assertEqual(pair.client.end.retryAfter, 7.0)

    def test_lingers(self) -> None:
        """A final word is half-closed behind, and the stream is cut if the peer does not close."""
        pair = self.pair().up()
        pair.freeze()
        pair.server.reject(ErrorCode.INTERNAL_ERROR)
        pair.pump()
        self.assertTrue(pair.serverEnd.sending.finished)
        pair.advance(LINGER - 0.125)
        self.assertTrue(pair.serverEnd.connected)
        pair.advance(0.25)
        self.assertFalse(pair.serverEnd.connected)

    def test_floodWhileLingering(self) -> None:
        """What a peer sends after the end is neither kept nor looked at."""
        pair = self.pair().up()
        pair.server.reject(ErrorCode.INTERNAL_ERROR)
        for _ in range(10):
            pair.server.dataReceived(bytes(65536))
        self.assertEqual(linkOf(pair.server).core._reader.buffered, 0)
        self.assertNotIn("messageReceived", pair.server.names())

    def test_closesAtOnce(self) -> None:
        """
        On a transport that tells connectionLost inside loseConnection the order is the same:
        terminated comes first, connectionLost last, and no timer is left.
        """
        pair = Pair()
        transport = StringTransportWithDisconnection()
        transport.protocol = pair.client
        pair.client.makeConnection(transport)
        pair.client.abort()
        self.assertEqual(pair.client.names(), ["connectionMade", "terminated", "connectionLost"])
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_rejectClosesAtOnce(self) -> None:
        """The same with a final word to be said."""
        pair = Pair()
        transport = StringTransportWithDisconnection()
        transport.protocol = pair.server
        pair.server.makeConnection(transport)
        pair.server.reject(ErrorCode.SERVER_BUSY)
        self.assertEqual(pair.server.names(), ["connectionMade", "terminated", "connectionLost"])
        self.assertEqual(pair.clock.getDelayedCalls(), [])


class GoneTests(PairCase):
    """A stream that is gone ends its session, and nothing reaches for it any more."""

    def held(self, holding: str, **settings: Any) -> tuple[Pair, Recorder, Recorder, Producer]:
        """A pair of which one side holds back what comes, and has a producer that waits."""
        pair = self.pair(freshServer(**settings)).up()
        side, other = pair.server, pair.client
        if holding == "client":
            side, other = other, side
        producer = Producer(side, limit=0)
        producer.start(True)
        side.pauseProducing()
        return pair, side, other, producer

    def assertTold(self, pair: Pair, side: Recorder, producer: Producer) -> None:
        """The end is told to the program, its factory and its producer."""
        pair.pump()
        self.assertEqual(side.names()[-2:], ["terminated", "connectionLost"])
        self.assertEqual(side.end, side.termination)
        self.assertEqual(side.factory.sessions, set())
        self.assertEqual(side.factory.terminations.total(), 1)
        self.assertEqual(producer.stopped, 1)

    def test_goodbyeHeld(self) -> None:
        """What was held tells a client to leave: it has nobody any more to say goodbye to."""
        pair, client, server, producer = self.held("client", closeTimeout=2.0)
        server.sendMessage(b"held")
        server.goodbye()
        pair.advance(2.5)
        self.assertTold(pair, client, producer)
        self.assertEqual(client.messages, [b"held"])

    def test_malformedHeld(self) -> None:
        """What was held breaks a rule: there is nobody any more to be told."""
        for holding in ("client", "server"):
            pair, side, other, producer = self.held(holding)
            linkOf(other).core._outbox.whole(MessageType.CRQ, b"\x07x", 0)
            linkOf(other).driver.flush()
            pair.pump()
            other.abort()
            self.assertTold(pair, side, producer)

    def test_raisesHeld(self) -> None:
        """A callback fails at what was held."""
        for holding in ("client", "server"):
            pair, side, other, producer = self.held(holding)
            side.raising = frozenset(("messageReceived",))
            other.sendMessage(b"held")
            pair.pump()
            other.abort()
            self.assertTold(pair, side, producer)
            self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 1)

    def test_rejectsHeld(self) -> None:
        """A callback rejects what was held."""
        for holding in ("client", "server"):
            pair, side, other, producer = self.held(holding)
            side.doing["messageReceived"] = lambda _, side=side: side.reject(ErrorCode.ABORTED)
            other.sendMessage(b"held")
            pair.pump()
            other.abort()
            self.assertTold(pair, side, producer)

    def test_whateverIsCalled(self) -> None:
        """A program may call whatever it likes, in its last callbacks and after them."""
        calls: tuple[Callable[[Recorder], object], ...] = (
            lambda side: side.sendMessage(b"late"),
            lambda side: side.setLastWord(b"late"),
            lambda side: side.goodbye(),
            lambda side: side.goAway(EndReason.CLOSING),
            lambda side: side.abort(),
            lambda side: side.updateKey(),
            lambda side: side.reject(ErrorCode.ABORTED),
            lambda side: linkOf(side).cutOff("late"),
            lambda side: side.pauseProducing(),
            lambda side: side.resumeProducing(),
            lambda side: side.stopProducing(),
            lambda side: side.registerProducer(Producer(side), True),
            lambda side: side.unregisterProducer(),
        )

        def callAll(side: Recorder) -> None:
            for call in calls:
                with contextlib.suppress(LocalProtocolError):
                    call(side)

        for holding in ("client", "server"):
            pair, side, other, _ = self.held(holding)
            for name in ("messageReceived", "terminated", "connectionLost"):
                side.doing[name] = lambda *_, side=side: callAll(side)
            other.sendMessage(b"held")
            pair.pump()
            other.abort()
            pair.pump()
            callAll(side)
            self.assertIn("messageReceived", side.names())
            self.assertOver(pair)

    def test_goneAtOnce(self) -> None:
        """A stream that its program closes when it is made is gone before the handshake."""
        pair = Pair()
        transport = StringTransportWithDisconnection()
        transport.protocol = pair.server
        pair.server.doing["connectionMade"] = transport.loseConnection
        pair.server.makeConnection(transport)
        linkOf(pair.server).cutOff("a limit that it would exceed")
        self.assertEqual(pair.server.names(), ["connectionMade", "terminated", "connectionLost"])
        self.assertEqual(pair.clock.getDelayedCalls(), [])


class FlushTests(PairCase):
    """What is handed to the transport, and in what order."""

    def test_beatsOvertake(self) -> None:
        """Behind much data, a heartbeat waits for what the transport has, and for no more."""
        pair = self.pair(freshServer(ttl=SHORT), networkSize=65536).up()
        for _ in range(50):
            pair.client.sendMessage(bytes(100_000))
        ahead = len(pair.clientEnd.outgoing) + len(pair.clientEnd.kernel)
        self.assertLess(ahead, 65536 + WRITE_BATCH + FRAGMENT_LIMIT + 100)
        pair.clock.advance(0.5)
        start = pair.clientEnd.taken
        while not pair.server.of("heartbeatReceived"):
            pair.step(4096, 4096)
        self.assertLess(pair.clientEnd.taken - start, ahead + 65536 + WRITE_BATCH)
        self.assertGreater(pair.client.queued, 4_000_000)

    def test_acknowledgementsOvertake(self) -> None:
        """So do acknowledgements, behind the server's data."""
        pair = self.pair(freshServer(ttl=SHORT), networkSize=65536).up()
        for _ in range(50):
            pair.server.sendMessage(bytes(100_000))
        pair.clock.advance(0.5)
        while not pair.client.of("heartbeatAcknowledged"):
            pair.step(4096, 4096)
        self.assertGreater(pair.server.queued, 4_000_000)

    def test_slowReaderLives(self) -> None:
        """A transfer that takes twenty TTLs costs neither side its heartbeats."""
        pair = self.pair(freshServer(ttl=SHORT), networkSize=65536).up()
        for _ in range(60):
            pair.client.sendMessage(bytes(100_000))
            pair.server.sendMessage(bytes(100_000))
        for _ in range(600):  # 100 KB/s each way, for a minute.
            pair.step(10_000, 10_000)
            pair.clock.advance(0.1)
        for side in (pair.client, pair.server):
            self.assertIsNone(side.termination)
            self.assertGreater(len(side.messages), 40)
        self.assertGreater(len(pair.client.of("heartbeatAcknowledged")), 15)

    def test_bufferFull(self) -> None:
        """A program that never listens to its producer's methods is refused at maxBuffered."""
        pair = self.pair(client=freshClient(maxBuffered=500_000), networkSize=1).up()
        sent = 0
        while sent < 100:
            try:
                pair.client.sendMessage(bytes(10_000))
            except Exception as error:
                self.assertIs(error.code, ErrorCode.BUFFER_FULL)  # type: ignore[attr-defined]
                break
            sent += 1
        self.assertGreater(sent, 49)
        self.assertLess(sent, 80)
        self.assertIsNone(pair.client.termination)
