"""What the sessions of one server have in common: counts, limits, going away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import Clock, deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests.anypeer import AnyPeer
from tests.helpers import CLIENT_CREDENTIAL, SERVER_CREDENTIAL
from tests.pairs import Pair, PairCase, Recorder, firings, freshClient, freshServer
from thing.core.endings import MAX_RETRY_AFTER
from thing.core.heartbeat import TtlPolicy
from thing.core.limits import Limits
from thing.core.messages import Role
from thing.core.settings import ClientSettings
from thing.core.states import State
from thing.errors import EndReason, ErrorCode, HandshakeFailed
from thing.events import Cause
from thing.identity import Identity
from thing.session.addresses import formatAddress
from thing.session.factory import ThingFactory
from thing.session.journal import REFUSALS_LOGGED
from thing.session.protocol import ThingProtocol, linkOf
from thing.trust.authorized import Anyone
from thing.trust.interfaces import IAuthorizer


class FleetCase(PairCase):
    """Tests with many pairs on one server's factory."""

    def factory(self, **named: Any) -> ThingFactory:
        self.clock = Clock()
        settings = named.pop("settings", None) or freshServer()
        named.setdefault("jitter", lambda: 0.5)
        factory = ThingFactory(settings, AnyPeer(), clock=self.clock, **named)
        factory.protocol = Recorder
        return factory

    def join(self, factory: ThingFactory, host: str = "192.0.2.1", pump: bool = True) -> Pair:
        """One more client, from an address."""
        address = IPv4Address("TCP", host, 1)
        pair = self.pair(serverFactory=factory, clock=self.clock, address=address)
        pair.connect()
        if pump:
            pair.pump()
        return pair

    def assertBusy(self, pair: Pair, detail: str, retryAfter: float = 7.5) -> None:
        """The client was turned away with SERVER_BUSY and told when to come back."""
        self.assertIs(pair.client.end.cause, Cause.REJECTED)
        self.assertIs(pair.client.end.code, ErrorCode.SERVER_BUSY)
        self.assertEqual(pair.client.end.retryAfter, retryAfter)
        self.assertIn(detail, pair.server.end.detail)
        self.assertIsNone(pair.server.session)

    def stranger(self, factory: ThingFactory, host: str = "192.0.2.1") -> Pair:
        """A client that says CHI, and then nothing."""
        pair = self.join(factory, host, pump=False)
        pair.clientEnd.step(1 << 20)
        pair.freeze()
        return pair

    def asked(self, factory: ThingFactory) -> int:
        """How hard a puzzle is asked of the next client that begins, bits."""
        pair = self.stranger(factory)
        core = linkOf(pair.server).core
        puzzle = core.state is State.AWAIT_SECOND_CHI
        difficulty = core._handshake._asked[1].difficulty if puzzle else 0
        pair.server.abort()
        return difficulty


class FactoryTests(FleetCase):
    """Building and counting."""

    def test_role(self) -> None:
        """The settings decide the role."""
        for settings, role in ((freshServer(), Role.SERVER), (freshClient(), Role.CLIENT)):
            factory = ThingFactory(settings, AnyPeer(), clock=Clock())
            protocol = factory.buildProtocol(None)
            assert protocol is not None
            self.assertIs(linkOf(protocol).core.role, role)
            self.assertIs(type(protocol), ThingProtocol)
            self.assertIs(protocol.factory, factory)

    def test_notAnAuthorizer(self) -> None:
        """What cannot authorize is refused at once, and not at the first handshake."""
        self.assertRaises(TypeError, ThingFactory, freshServer(), object(), clock=Clock())

    def test_counts(self) -> None:
        """The sessions that are up, the handshakes completed, and the ends by cause."""
        factory = self.factory()
        pairs = [self.join(factory) for _ in range(4)]
        self.assertEqual(factory.sessions, {pair.server for pair in pairs})
        self.assertEqual(factory.completed, 4)
        pairs[0].client.goodbye()
        pairs[1].client.abort()
        pairs[2].server.abort()
        for pair in pairs:
            pair.pump()
        self.assertEqual(factory.sessions, {pairs[3].server})
        self.assertEqual(
            factory.terminations,
            Counter({Cause.GOODBYE: 1, Cause.TRUNCATED: 1, Cause.ABORTED: 1}),
        )

    def test_stranger(self) -> None:
        """A connection that never was a session is counted while it is there, then forgotten."""
        factory = self.factory()
        pair = self.join(factory, pump=False)
        self.assertEqual((len(factory.door.handshakes), factory.door.connected), (1, 1))
        pair.server.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(factory.terminations, Counter({Cause.REJECTED: 1}))
        self.assertEqual(factory.sessions, set())
        self.assertIn("HTTP", pair.server.end.detail)

    def test_settingsReplaced(self) -> None:
        """Settings may be replaced; sessions that are up keep what they have."""
        factory = self.factory()
        before = self.join(factory)
        factory.settings = freshServer(ttl=TtlPolicy(default=7.0))
        after = self.join(factory)
        assert before.client.session is not None and after.client.session is not None
        self.assertEqual((before.client.session.ttl, after.client.session.ttl), (30.0, 7.0))

    def test_fleetTtl(self) -> None:
        """The TTL grows with the fleet, so that it beats no more often than the server takes."""
        policy = TtlPolicy(default=1.0, beatsPerSecond=2.0)
        factory = self.factory(settings=freshServer(ttl=policy))
        granted = []
        for _ in range(10):
            session = self.join(factory).client.session
            assert session is not None
            granted.append(session.ttl)
        self.assertEqual(granted, sorted(granted))
        self.assertEqual(granted[-1], 3 * 9 / 2.0)

    def test_logs(self) -> None:
        """A session's log lines name it and its peer, and hold no key material."""
        lines: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(lines.append)
        self.addCleanup(globalLogPublisher.removeObserver, lines.append)
        pair = self.join(self.factory())
        pair.client.goodbye()
        pair.pump()
        server = [line for line in lines if line.get("sessionId") == pair.server.sessionId]
        self.assertEqual(len(server), 4)
        text = repr(lines)
        for secret in (SERVER_CREDENTIAL._key.private_bytes_raw(), CLIENT_CREDENTIAL.data):
            self.assertNotIn(repr(secret)[2:-1], text)
            self.assertNotIn(secret.hex(), text)


class LimitsTests(FleetCase):
    """More than a server takes on is turned away, cheaply, with advice."""

    def test_sessions(self) -> None:
        """A session beyond the limit; when one has left there is room again."""
        factory = self.factory(limits=Limits(sessions=3))
        pairs = [self.join(factory) for _ in range(3)]
        self.assertBusy(self.join(factory), "3 sessions")
        pairs[1].client.goodbye()
        pairs[1].pump()
        self.assertIsNotNone(self.join(factory).client.session)
        self.assertBusy(self.join(factory), "3 sessions")

    def test_perAddress(self) -> None:
        """A session of one address beyond its limit; others are not touched."""
        factory = self.factory(limits=Limits(sessionsPerAddress=2))
        pairs = [self.join(factory) for _ in range(2)]
        self.assertBusy(self.join(factory), "one address")
        self.assertIsNotNone(self.join(factory, "192.0.2.9").client.session)
        pairs[0].client.abort()
        pairs[0].pump()
        self.assertIsNotNone(self.join(factory).client.session)

    def test_perNetwork(self) -> None:
        """Of IPv6, where one host has many addresses, a /64 counts as one."""
        factory = self.factory(limits=Limits(sessionsPerAddress=2, retryAfter=5.0))
        for host in ("2001:db8::1", "2001:db8::2"):
            self.assertIsNotNone(self.join(factory, host).client.session)
        self.assertBusy(self.join(factory, "2001:db8::3"), "one address")
        self.assertIsNotNone(self.join(factory, "2001:db8:0:1::3").client.session)

    def test_nameOfAUnixSocket(self) -> None:
        """The name that a peer gave its socket cannot write control characters into the log."""
        text = formatAddress(UNIXAddress(b"a\x1b]0;owned\x07\nb"))
        self.assertEqual(text, "a\ufffd]0;owned\ufffd\ufffdb")

    def test_noAddress(self) -> None:
        """Streams without a network address, as unix sockets, are not counted by address."""
        factory = self.factory(limits=Limits(sessionsPerAddress=1))
        for _ in range(3):
            address = UNIXAddress("/run/thing")
            pair = self.pair(serverFactory=factory, clock=self.clock, address=address)
            pair.connect().pump()
            self.assertIsNotNone(pair.client.session)

    def test_notEvenARefusal(self) -> None:
        """With as many as all limits allow, connections are closed without a protocol."""
        factory = self.factory()
        address = IPv4Address("TCP", "192.0.2.1", 1)
        held = [self.join(factory, pump=False) for _ in range(3)]
        factory.limits = Limits(sessions=1, handshakes=2)
        self.assertIsNone(factory.buildProtocol(address))
        for pair in held:
            pair.client.abort()
            pair.pump()
        self.assertIsNotNone(factory.buildProtocol(address))

    def test_replaced(self) -> None:
        """Limits may be replaced at any time."""
        factory = self.factory(limits=Limits(sessions=1))
        self.join(factory)
        self.assertBusy(self.join(factory), "1 sessions")
        factory.limits = Limits(sessions=2)
        self.assertIsNotNone(self.join(factory).client.session)

    def test_spread(self) -> None:
        """The advice is spread from once to twice, so that a fleet does not come back as one."""
        numbers = iter(tenth / 10 for tenth in range(100))
        factory = self.factory(
            limits=Limits(sessions=0, retryAfter=10.0), jitter=lambda: next(numbers)
        )
        advice = [self.join(factory).client.end.retryAfter for _ in range(10)]
        self.assertEqual(advice, [10.0 + tenth for tenth in range(10)])

    def test_spreadOfMany(self) -> None:
        """Those sent away at once are spread by their number, from a floor up to what is heeded."""
        limits = Limits(returnsPerSecond=500)
        for leaving, retryAfter, spread in (
            (0, 5.0, 5.0),
            (2500, 5.0, 5.0),
            (10_000, 5.0, 20.0),
            (10_000, 60.0, 60.0),
            (10_000_000, 5.0, MAX_RETRY_AFTER - 5.0),
            (10_000, MAX_RETRY_AFTER, 0.0),
            (10_000, 2 * MAX_RETRY_AFTER, 0.0),
        ):
            self.assertEqual(limits.spread(leaving, retryAfter), spread)

    def test_notAClients(self) -> None:
        """Limits are a server's: a client's factory turns nobody away."""
        pair = self.pair()
        pair.clientFactory.limits = Limits(sessions=0, handshakes=0, sessionsPerAddress=0)
        pair.up()


@implementer(IAuthorizer)
class Undecided:
    """An authorizer that does not decide before it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Deferred[Identity], Identity]] = []

    def authorize(self, identity: Identity) -> Deferred[Identity]:
        waiting: Deferred[Identity] = Deferred()
        self.asked.append((waiting, identity))
        return waiting

    def decide(self) -> None:
        """Admit everybody."""
        for waiting, identity in self.asked:
            waiting.callback(identity)


class FloodTests(FleetCase):
    """Many handshakes that come to nothing, and honest clients among them."""

    def assertCutOff(self, pair: Pair, detail: str) -> None:
        """The server cut the stream without a word, and knows why."""
        self.assertIs(pair.server.end.cause, Cause.REJECTED)
        self.assertIs(pair.server.end.code, ErrorCode.SERVER_BUSY)
        self.assertIn(detail, pair.server.end.detail)
        pair.pump()
        self.assertIs(pair.client.end.cause, Cause.TRUNCATED)

    def test_oldestIsCutOff(self) -> None:
        """Beyond the limit the oldest handshake is cut off; the newcomer and the others go on."""
        factory = self.factory(limits=Limits(handshakes=2))
        slow = [self.join(factory, pump=False) for _ in range(2)]
        self.assertIsNotNone(self.join(factory).client.session)
        self.assertCutOff(slow[0], "2 handshakes")
        slow[1].pump()
        self.assertIsNotNone(slow[1].client.session)

    def test_flood(self) -> None:
        """However many come and stay silent, each honest client between them gets in."""
        factory = self.factory(limits=Limits(handshakes=5))
        for _ in range(10):
            for _ in range(7):
                self.join(factory, pump=False).freeze()
            self.assertIsNotNone(self.join(factory).client.session)
            self.assertLessEqual(len(factory.door.handshakes), 5)
        self.assertEqual(len(factory.sessions), 10)

    def test_provedStay(self) -> None:
        """Whoever has proved a key and waits for a slow authorizer is not cut off."""
        factory = self.factory(limits=Limits(handshakes=2))
        factory.authorizer = authorizer = Undecided()
        proved = self.join(factory)
        silent = self.join(factory, pump=False)
        late = self.join(factory)
        self.assertCutOff(silent, "2 handshakes")
        authorizer.decide()
        for pair in (proved, late):
            pair.pump()
            self.assertIsNotNone(pair.client.session)

    def test_allProved(self) -> None:
        """If all others have proved who they are it is the newcomer that must come back later."""
        factory = self.factory(limits=Limits(handshakes=2))
        factory.authorizer = authorizer = Undecided()
        proved = [self.join(factory) for _ in range(2)]
        self.assertBusy(self.join(factory), "2 handshakes")
        authorizer.decide()
        for pair in proved:
            pair.pump()
            self.assertIsNotNone(pair.client.session)

    def test_nearlyFull(self) -> None:
        """For the last place, too, silence keeps nobody out, however many are silent."""
        factory = self.factory(limits=Limits(sessions=3, handshakes=4))
        for _ in range(3):
            for _ in range(10):
                self.join(factory, pump=False).freeze()
            self.assertIsNotNone(self.join(factory).client.session)
        self.assertEqual(len(factory.sessions), 3)
        self.assertBusy(self.join(factory), "3 sessions")

    def test_nearlyFullOfOneAddress(self) -> None:
        """So it is where all come from one address, as by a balancer."""
        factory = self.factory(limits=Limits(sessions=3, sessionsPerAddress=3, handshakes=4))
        for _ in range(3):
            for _ in range(10):
                self.join(factory, pump=False).freeze()
            self.assertIsNotNone(self.join(factory).client.session)
        self.assertBusy(self.join(factory), "3 sessions")

    def test_brokenRules(self) -> None:
        """Those that broke a rule are told, and may stay a while; but not too many of them."""
        factory = self.factory(limits=Limits(sessions=3, handshakes=4))
        for _ in range(2):
            self.assertIsNotNone(self.join(factory).client.session)
        for number in range(6):
            stranger = self.stranger(factory)
            stranger.server.dataReceived(b"\0\0\1\x7f")
            self.assertEqual(factory.door.connected, 3 + min(number, 1))
        self.assertIsNotNone(self.join(factory).client.session)

    def test_lastPlace(self) -> None:
        """Of those that are proved while the last place is taken the later one must come back."""
        factory = self.factory(limits=Limits(sessions=1))
        factory.authorizer = authorizer = Undecided()
        first, second = (self.join(factory) for _ in range(2))
        authorizer.decide()
        first.pump()
        self.assertIsNotNone(first.client.session)
        second.pump()
        self.assertBusy(second, "1 sessions")
        self.assertEqual(factory.limitsHit, {"sessions": 1})

    def test_mappedAddresses(self) -> None:
        """IPv4 on a port that takes both is counted by its own addresses, and not as one."""
        factory = self.factory(limits=Limits(handshakesPerAddress=1))
        for host in ("::ffff:192.0.2.1", "::ffff:192.0.2.2"):
            self.assertIsNotNone(self.join(factory, host).client.session)
        self.assertEqual(set(factory.door.perNetwork), {"192.0.2.1", "192.0.2.2"})

    def test_perAddress(self) -> None:
        """Handshakes of one address beyond its limit are refused; others are not touched."""
        factory = self.factory(limits=Limits(handshakesPerAddress=2))
        slow = [self.join(factory, pump=False) for _ in range(2)]
        self.assertBusy(self.join(factory), "2 handshakes of one address")
        self.assertIsNotNone(self.join(factory, "192.0.2.9").client.session)
        slow[0].pump()
        self.assertIsNotNone(slow[0].client.session)
        self.assertIsNotNone(self.join(factory).client.session)

    def test_perNetwork(self) -> None:
        """Of IPv6 a /64 counts as one address."""
        factory = self.factory(limits=Limits(handshakesPerAddress=2))
        for host in ("2001:db8::1", "2001:db8::2"):
            self.join(factory, host, pump=False)
        self.assertBusy(self.join(factory, "2001:db8::3"), "2 handshakes of one address")
        self.assertIsNotNone(self.join(factory, "2001:db8:0:1::3").client.session)

    def test_refusedWhoStay(self) -> None:
        """Of those that are refused and do not leave, no more are told than handshakes may be."""
        factory = self.factory(limits=Limits(handshakes=3, handshakesPerAddress=1))
        self.join(factory, pump=False)
        told = [self.join(factory, pump=False) for _ in range(3)]
        unheard = self.join(factory, pump=False)
        self.assertEqual({bool(pair.serverEnd.outgoing) for pair in told}, {True})
        self.assertCutOff(unheard, "1 handshakes of one address")
        self.assertEqual(unheard.serverEnd.taken, 0)
        self.assertIsNotNone(self.join(factory, "192.0.2.9").client.session)

    def test_silentAreGone(self) -> None:
        """Silent connections are over at the handshake's deadline, and nothing is left of them."""
        factory = self.factory(
            limits=Limits(handshakes=5), settings=freshServer(handshakeTimeout=2.0)
        )
        strangers = [self.join(factory, pump=False) for _ in range(5)]
        strangers += [self.stranger(factory) for _ in range(5)]
        for pair in strangers:
            pair.freeze()
        self.clock.pump([0.125] * 17)
        self.assertEqual(factory.door.handshakes, {})
        self.assertEqual(factory.door.handshakesPerNetwork, {})
        codes = [pair.server.end.code for pair in strangers]
        self.assertEqual(codes.count(ErrorCode.HANDSHAKE_TIMEOUT), 5)
        self.assertEqual(codes.count(ErrorCode.SERVER_BUSY), 5)

    def test_logIsBounded(self) -> None:
        """Of a flood so many lines are logged each second, and then how many there were."""
        lines: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(lines.append)
        self.addCleanup(globalLogPublisher.removeObserver, lines.append)
        factory = self.factory()
        for _ in range(REFUSALS_LOGGED + 90):
            self.join(factory, pump=False).server.dataReceived(b"GET / HTTP/1.1")
        self.assertEqual(len(lines), REFUSALS_LOGGED)
        self.clock.advance(1.0)
        self.join(factory, pump=False).server.dataReceived(b"GET / HTTP/1.1")
        texts = [formatEvent(line) for line in lines[REFUSALS_LOGGED:]]
        self.assertEqual(len(texts), 2)
        self.assertIn("90 more handshakes", texts[0])
        self.assertIn("a stranger", texts[1])

    def test_sessionsAreLogged(self) -> None:
        """However many strangers there are, the line on a session is there."""
        lines: list[dict[str, Any]] = []
        factory = self.factory()
        for _ in range(2 * REFUSALS_LOGGED):
            self.join(factory, pump=False).server.dataReceived(b"GET / HTTP/1.1")
        globalLogPublisher.addObserver(lines.append)
        self.addCleanup(globalLogPublisher.removeObserver, lines.append)
        pair = self.join(factory)
        pair.client.goodbye()
        pair.pump()
        server = [line for line in lines if line.get("sessionId") == pair.server.sessionId]
        self.assertEqual(len(server), 4)


class PuzzleTests(FleetCase):
    """A server under load asks for work before it does its own."""

    def solve(self, pair: Pair) -> Pair:
        """Let a client find its solution, and go on."""
        self.clock.advance(0)
        pair.pump()
        return pair

    def solving(self, factory: ThingFactory) -> Pair:
        """A client that was asked, and has its solution to find in the reactor's next turn."""
        pair = self.join(factory, pump=False)
        while linkOf(pair.client).core.state is not State.SOLVING:
            self.assertTrue(pair.step())
        return pair

    def test_difficulty(self) -> None:
        """Nothing is asked below the threshold; from there on two bits a doubling, up to a cap."""
        limits = Limits(puzzleAfter=100, puzzleBits=10, maxPuzzleBits=14)
        counts = (0, 1, 99.9, 100, 142, 200, 283, 400, 800, 1e9)
        asked = [limits.difficulty(count) for count in counts]
        self.assertEqual(asked, [0, 0, 0, 10, 11, 12, 13, 14, 14, 14])

    def test_always(self) -> None:
        """With a threshold of zero everybody is asked."""
        limits = Limits(puzzleAfter=0, puzzleBits=3)
        self.assertEqual(limits.difficulty(0), 3)
        factory = self.factory(limits=limits)
        self.assertIsNotNone(self.solve(self.join(factory)).client.session)

    def test_belowTheDefaultOfClients(self) -> None:
        """A server with default limits never asks for more than a default client does."""
        self.assertLessEqual(Limits().difficulty(1e12), ClientSettings().maxDifficulty)

    def test_pastTheThreshold(self) -> None:
        """So many key exchanges in vain are free, and then a puzzle is asked."""
        factory = self.factory(limits=Limits(puzzleAfter=3, puzzleBits=5))
        self.assertEqual([self.asked(factory) for _ in range(5)], [0, 0, 0, 5, 5])

    def test_handshakesThatAreOver(self) -> None:
        """It does not help to be gone at once: what counts is what was spent lately."""
        factory = self.factory(limits=Limits(puzzleAfter=3, puzzleBits=5))
        for _ in range(3):
            self.stranger(factory).server.dataReceived(b"\xff" * 600)
        self.assertEqual(factory.door.handshakes, {})
        self.assertEqual(self.asked(factory), 5)

    def test_silentDoNotCount(self) -> None:
        """Connections that say nothing cost no key exchange, so they bring about no puzzle."""
        factory = self.factory(limits=Limits(puzzleAfter=3))
        for _ in range(20):
            self.join(factory, pump=False).freeze()
        self.assertEqual(self.asked(factory), 0)

    def test_sessionsDoNotCount(self) -> None:
        """Handshakes that lead to sessions do not count, however many there are."""
        factory = self.factory(limits=Limits(puzzleAfter=3))
        for _ in range(20):
            self.assertIsNotNone(self.join(factory).client.session)
        self.assertEqual(self.asked(factory), 0)

    def test_unsolvedDoNotCount(self) -> None:
        """Whoever leaves the puzzle alone makes it no harder for the others."""
        factory = self.factory(limits=Limits(puzzleAfter=2, puzzleBits=4))
        self.assertEqual([self.asked(factory) for _ in range(50)], [0, 0] + [4] * 48)

    def test_solvedInVain(self) -> None:
        """The more puzzles are solved for handshakes that lead nowhere, the harder they get."""
        factory = self.factory(limits=Limits(puzzleAfter=2, puzzleBits=1, maxPuzzleBits=5))
        difficulties = []
        for _ in range(16):
            difficulties.append(self.asked(factory))
            pair = self.pair(
                serverFactory=factory, clock=self.clock, clientAuthorizer=Undecided()
            ).connect()
            pair.pump()
            self.solve(pair)
            self.assertIsNone(pair.client.termination)
        self.assertEqual(difficulties[0], 0)
        self.assertEqual(difficulties[1:], sorted(difficulties[1:]))
        self.assertEqual(difficulties[-1], 5)

    def test_fades(self) -> None:
        """When the flood is over the puzzles are, too, within seconds."""
        factory = self.factory(limits=Limits(puzzleAfter=3, puzzleBits=5))
        for _ in range(6):
            self.stranger(factory)
        self.assertEqual(self.asked(factory), 5)
        self.clock.advance(2.0)
        self.assertEqual(self.asked(factory), 0)

    def test_honest(self) -> None:
        """An honest client solves what it is asked, and has its session; data goes both ways."""
        factory = self.factory(limits=Limits(puzzleAfter=1, puzzleBits=8))
        self.stranger(factory)
        pair = self.solving(factory)
        self.solve(pair)
        pair.client.sendMessage(b"here I am")
        pair.pump()
        self.assertEqual(pair.server.messages, [b"here I am"])

    def test_waitsForTheReactor(self) -> None:
        """A client that solves lets other things happen: nothing is searched inside a callback."""
        factory = self.factory(limits=Limits(puzzleAfter=0, puzzleBits=1))
        pair = self.solving(factory)
        pair.client.abort()
        self.assertIs(pair.client.end.cause, Cause.ABORTED)

    def test_deadline(self) -> None:
        """A puzzle that is not solved in time ends at the handshake's deadline, on both sides."""
        factory = self.factory(
            limits=Limits(puzzleAfter=0, puzzleBits=200, maxPuzzleBits=200),
            settings=freshServer(handshakeTimeout=2.0),
        )
        pair = self.pair(
            client=freshClient(maxDifficulty=200, handshakeTimeout=2.0),
            serverFactory=factory,
            clock=self.clock,
        ).connect()
        pair.pump()
        self.assertIs(linkOf(pair.client).core.state, State.SOLVING)
        self.clock.advance(2.0 + 2**20 / 4096)  # It is longer by the hardest that is waited for.
        for side in (pair.client, pair.server):
            self.assertIs(side.end.code, ErrorCode.HANDSHAKE_TIMEOUT)
        self.assertEqual(factory.door.handshakes, {})

    def test_cutOffWhileSolving(self) -> None:
        """A client that is cut off while it solves ends, and stops searching."""
        factory = self.factory(
            limits=Limits(puzzleAfter=0, puzzleBits=200, maxPuzzleBits=200, handshakes=1)
        )
        client = freshClient(maxDifficulty=200)
        pair = self.pair(client=client, serverFactory=factory, clock=self.clock).connect()
        pair.pump()
        self.join(factory, pump=False)
        pair.pump()
        self.assertIs(pair.client.end.cause, Cause.TRUNCATED)
        self.clock.advance(1.0)


class SocketTests(TestCase):
    """The puzzle between a server and a client over a socket."""

    timeout = 60

    @inlineCallbacks
    def test_puzzle(self) -> Generator[Any, Any, None]:
        """A client solves what it is asked; one that does not want to is told, and leaves."""
        from twisted.internet import reactor

        limits = Limits(puzzleAfter=0, puzzleBits=8)
        server = ThingFactory(freshServer(), Anyone(), limits=limits)
        port = reactor.listenTCP(0, server, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        ends = []
        for most in (8, 7):
            client = ThingFactory(freshClient(maxDifficulty=most), AnyPeer())
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
            protocol = yield endpoint.connect(client)
            yield protocol.whenEstablished().addErrback(lambda why: why.trap(HandshakeFailed))
            ends.append((yield protocol.goodbye()))
        self.assertIs(ends[0].cause, Cause.GOODBYE)
        self.assertIs(ends[1].code, ErrorCode.RETRY_REFUSED)
        self.assertEqual(ends[1].detail, "a puzzle of 8 bits, and at most 7 are solved here")
        while server.door.connected:
            yield deferLater(reactor, 0.01)
        self.assertEqual(server.completed, 1)


class DrainTests(FleetCase):
    """A server goes away."""

    def test_drain(self) -> None:
        """Every client leaves cleanly, and the drain is over with the last of them."""
        factory = self.factory()
        pairs = [self.join(factory) for _ in range(5)]
        for pair in pairs:
            pair.client.sendMessage(b"on its way")
            pair.server.sendMessage(b"on its way, too")
        drained = firings(factory.drain(10.0, EndReason.SHUTDOWN, 4.0))
        for pair in pairs:
            self.assertEqual(drained, [])
            pair.pump()
        self.assertEqual(drained, [None])
        for pair in pairs:
            self.assertIs(pair.client.end.cause, Cause.GOODBYE)
            self.assertEqual(pair.server.messages, [b"on its way"])
            self.assertEqual(pair.client.messages, [b"on its way, too"])
            self.assertIn(("goingAway", EndReason.SHUTDOWN, 6.0), pair.client.calls)

    def test_spread(self) -> None:
        """The more there are, the further apart they are asked to come back."""
        numbers = iter(tenth / 10 for tenth in range(10))
        factory = self.factory(limits=Limits(returnsPerSecond=1))
        pairs = [self.join(factory) for _ in range(10)]
        factory.jitter = lambda: next(numbers)
        factory.drain(10.0, EndReason.SHUTDOWN, 4.0)
        for pair in pairs:
            pair.pump()
        asked = sorted(
            call[2] for pair in pairs for call in pair.client.calls if call[0] == "goingAway"
        )
        self.assertEqual(asked, [4.0 + number for number in range(10)])

    def test_noAdvice(self) -> None:
        """Without a retry-after there is no advice, however many there are."""
        factory = self.factory(limits=Limits(returnsPerSecond=1))
        pairs = [self.join(factory) for _ in range(3)]
        factory.drain(10.0, EndReason.SHUTDOWN, 0.0)
        for pair in pairs:
            pair.pump()
            self.assertIn(("goingAway", EndReason.SHUTDOWN, 0.0), pair.client.calls)

    def test_nobody(self) -> None:
        """Without sessions a drain is over at once."""
        self.assertEqual(firings(self.factory().drain(10.0)), [None])

    def test_newcomers(self) -> None:
        """While draining, nobody is taken on."""
        factory = self.factory()
        stays = self.join(factory)
        stays.freeze()
        factory.drain(10.0)
        self.assertBusy(self.join(factory), "draining")

    def test_handshakes(self) -> None:
        """Handshakes in progress are turned away, at whatever step they are."""
        factory = self.factory()
        pairs = []
        for steps in range(8):
            pair = self.pair(serverFactory=factory, clock=self.clock, networkSize=64).connect()
            for _ in range(steps):
                pair.step(64, 64)
            pairs.append(pair)
        factory.drain(10.0, retryAfter=2.0)
        for pair in pairs:
            pair.pump()
            if pair.server.session is None:
                self.assertIs(pair.server.end.code, ErrorCode.SERVER_BUSY)
            self.assertIsNotNone(pair.client.termination)
            self.assertIsNone(pair.client.session)
        self.assertEqual(factory.door.handshakes, {})

    def test_stubborn(self) -> None:
        """A client that does not answer is flat-lined when the grace is over."""
        factory = self.factory()
        stubborn, willing = self.join(factory), self.join(factory)
        stubborn.freeze()
        drained = firings(factory.drain(5.0))
        willing.pump()
        self.clock.pump([0.125] * 39)
        self.assertEqual(drained, [])
        self.clock.pump([0.125])
        self.assertIs(stubborn.server.end.cause, Cause.FLAT_LINED)
        self.assertIs(stubborn.server.end.reason, EndReason.SHUTDOWN)
        stubborn.advance(2.125)
        self.assertEqual(drained, [None])

    def test_leaving(self) -> None:
        """Sessions that are on their way out already are waited for."""
        factory = self.factory()
        pair = self.join(factory)
        pair.client.goodbye()
        pair.step(1 << 20, 0)
        drained = firings(factory.drain(5.0))
        pair.pump()
        self.assertEqual(drained, [None])
        self.assertIs(pair.client.end.cause, Cause.GOODBYE)

    def test_twice(self) -> None:
        """Draining again is harmless."""
        factory = self.factory()
        pair = self.join(factory)
        drained = [firings(factory.drain(5.0)), firings(factory.drain(5.0))]
        pair.pump()
        self.assertEqual(drained, [[None], [None]])

    def test_callbacksEndOthers(self) -> None:
        """A program may end other sessions while it learns of one's end."""
        factory = self.factory()
        pairs = [self.join(factory) for _ in range(5)]
        for pair in pairs:
            pair.server.doing["terminated"] = lambda _: [one.server.abort() for one in pairs]
        drained = firings(factory.drain(5.0))
        pairs[0].pump()
        for pair in pairs:
            pair.pump()
        self.assertEqual(drained, [None])


class DefaultClockTests(SynchronousTestCase):
    """Without a clock, a factory measures by a steady one."""

    def test_steady(self) -> None:
        """All factories of a reactor share its steady clock."""
        first, second = (ThingFactory(freshServer(), Anyone()) for _ in range(2))
        self.assertIs(first.clock, second.clock)
        self.assertIsNot(first.clock, None)
