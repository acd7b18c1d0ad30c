"""What the sessions of one server have in common: counts, limits, going away."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import CLIENT_CREDENTIAL, SERVER_CREDENTIAL
from tests.pairs import Pair, PairCase, Recorder, firings, freshClient, freshServer
from thing.core.heartbeat import TtlPolicy
from thing.core.messages import Role
from thing.errors import EndReason, ErrorCode
from thing.events import Cause
from thing.factory import Limits, ThingFactory, formatAddress
from thing.protocol import ThingProtocol
from thing.trust.authorized import Anyone


class FleetCase(PairCase):
    """Tests with many pairs on one server's factory."""

    def factory(self, **named: Any) -> ThingFactory:
        self.clock = Clock()
        settings = named.pop("settings", None) or freshServer()
        named.setdefault("jitter", lambda: 0.5)
        factory = ThingFactory(settings, Anyone(), clock=self.clock, **named)
        factory.protocol = Recorder
        return factory

    def join(self, factory: ThingFactory, host: str = "192.0.2.1", pump: bool = True) -> Pair:
        """One more client, from an address."""
        pair = self.pair(serverFactory=factory, clock=self.clock)
        pair.server.connectedFrom = IPv4Address("TCP", host, 1)
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


class FactoryTests(FleetCase):
    """Building and counting."""

    def test_role(self) -> None:
        """The settings decide the role."""
        for settings, role in ((freshServer(), Role.SERVER), (freshClient(), Role.CLIENT)):
            factory = ThingFactory(settings, Anyone(), clock=Clock())
            protocol = factory.buildProtocol(None)
            assert protocol is not None
            self.assertIs(protocol._driver.core.role, role)
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
        self.assertEqual((len(factory._handshaking), factory._connected), (1, 1))
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
        self.assertEqual(text, "a?]0;owned??b")

    def test_noAddress(self) -> None:
        """Streams without a network address, as unix sockets, are not counted by address."""
        factory = self.factory(limits=Limits(sessionsPerAddress=1))
        for _ in range(3):
            pair = self.pair(serverFactory=factory, clock=self.clock)
            pair.server.connectedFrom = UNIXAddress("/run/thing")
            pair.connect().pump()
            self.assertIsNotNone(pair.client.session)

    def test_handshakes(self) -> None:
        """A handshake beyond the limit; when one is completed there is room again."""
        factory = self.factory(limits=Limits(handshakes=2))
        slow = [self.join(factory, pump=False) for _ in range(2)]
        self.assertBusy(self.join(factory), "2 handshakes")
        slow[0].pump()
        self.assertIsNotNone(self.join(factory).client.session)

    def test_silentHandshakes(self) -> None:
        """Connections that never say a word give their places back at the handshake's deadline."""
        factory = self.factory(
            limits=Limits(handshakes=5), settings=freshServer(handshakeTimeout=2.0)
        )
        for _ in range(5):
            self.join(factory, pump=False).freeze()
        self.assertBusy(self.join(factory), "5 handshakes")
        self.clock.pump([0.125] * 17)
        self.assertEqual(factory._handshaking, set())
        self.assertIsNotNone(self.join(factory).client.session)

    def test_notEvenARefusal(self) -> None:
        """When even refusals pile up, connections are closed without a protocol."""
        factory = self.factory(limits=Limits(sessions=1, handshakes=2))
        address = IPv4Address("TCP", "192.0.2.1", 1)
        held = [self.join(factory, pump=False) for _ in range(3)]
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

    def test_notAClients(self) -> None:
        """Limits are a server's: a client's factory turns nobody away."""
        pair = self.pair()
        pair.clientFactory.limits = Limits(sessions=0, handshakes=0, sessionsPerAddress=0)
        pair.up()


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
            pair = self.pair(serverFactory=factory, clock=self.clock, kernelSize=64).connect()
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
        self.assertEqual(factory._handshaking, set())

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
