"""One session as its user sees it: callbacks, Deferreds, ends, and a user's own mistakes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher, textFileLogObserver
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.helpers import SERVER_CREDENTIAL, Ed25519Credential
from tests.pairs import CallbackBug, Pair, PairCase, Recorder, firings, freshClient, freshServer
from thing.core.heartbeat import TtlPolicy
from thing.core.records import HEADER_LENGTH
from thing.core.states import State
from thing.errors import EndReason, ErrorCode, HandshakeFailed, LocalProtocolError, NotAuthorized
from thing.events import Cause, Session, Termination
from thing.identity import Identity
from thing.session.protocol import ThingProtocol, linkOf
from thing.trust.interfaces import IAuthorizer

SHORT = TtlPolicy(default=3.0)


@implementer(IAuthorizer)
class Deciding:
    """An authorizer that does what the test tells it to."""

    def __init__(self, decide: Callable[[Identity], Any]) -> None:
        self.asked: list[Identity] = []
        self._decide = decide

    def authorize(self, identity: Identity) -> Any:
        self.asked.append(identity)
        return self._decide(identity)


class CallbackTests(PairCase):
    """What is called, how often, and in what order."""

    def test_order(self) -> None:
        """The stream, the session, messages, the session's end, the stream's end: in this order."""
        pair = self.pair().up()
        pair.client.sendMessage(b"question")
        pair.pump()
        pair.server.sendMessage(b"answer")
        pair.client.goodbye()
        pair.pump()
        for side in (pair.client, pair.server):
            self.assertEqual(
                side.names(),
                [
                    "connectionMade",
                    "handshakeCompleted",
                    "messageReceived",
                    "terminated",
                    "connectionLost",
                ],
            )
            self.assertIs(side.end.cause, Cause.GOODBYE)
            self.assertTrue(side.end.clean)

    def test_beforeHandshake(self) -> None:
        """At connectionMade nothing is known of the peer, and nothing may be sent."""
        seen: list[object] = []
        pair = self.pair()

        def look() -> None:
            seen.extend([pair.client.session, pair.client.peer, pair.client.sessionId])
            with self.assertRaises(LocalProtocolError) as caught:
                pair.client.sendMessage(b"too early")
            seen.append(caught.exception.code)

        pair.client.doing["connectionMade"] = look
        pair.connect()
        self.assertEqual(seen, [None, None, "", ErrorCode.WRONG_STATE])

    def test_agreement(self) -> None:
        """Both sides tell the same session id, and each tells the other's key."""
        pair = self.pair().up()
        self.assertEqual(pair.client.sessionId, pair.server.sessionId)
        self.assertEqual(len(pair.client.sessionId), 32)
        assert pair.client.peer is not None
        self.assertEqual(pair.client.peer.publicKey, SERVER_CREDENTIAL.data)
        exported = [
            side.exportKeyingMaterial("label", b"context", 40)
            for side in (pair.client, pair.server)
        ]
        self.assertEqual(exported[0], exported[1])

    def test_dataBehindHandshake(self) -> None:
        """What a callback sends at handshakeCompleted arrives after the peer's own completion."""
        pair = self.pair()
        for side in (pair.server, pair.client):
            side.doing["handshakeCompleted"] = lambda side=side: side.sendMessage(b"hello")
        pair.up().pump()
        for side in (pair.server, pair.client):
            names = [name for name in side.names() if name != "connectionMade"]
            self.assertEqual(names, ["handshakeCompleted", "messageReceived"])

    def test_messageSizes(self) -> None:
        """Messages of all lengths arrive whole and in order, empty ones too."""
        sent = [bytes(size) for size in (0, 1, 16383, 16384, 16385, 100_000, 1 << 20, 0)]
        pair = self.pair().up()
        for message in sent:
            pair.client.sendMessage(message)
            pair.server.write(message)
        pair.pump(limit=10_007)
        self.assertEqual(pair.server.messages, sent)
        self.assertEqual(pair.client.messages, sent)

    def test_serverKeyAnnounced(self) -> None:
        """A client is told of the server's next key."""
        following = Ed25519Credential("the next")
        pair = self.pair(freshServer(nextCredential=following)).up()
        (identity,) = pair.client.of("serverKeyAnnounced")
        self.assertEqual(identity.publicKey, following.data)

    def test_noOtherServerKey(self) -> None:
        """A client hears of no next key from a server that has none."""
        self.assertEqual(self.pair().up().client.of("serverKeyAnnounced"), [])

    def test_keyUpdated(self) -> None:
        """Each side is told when the other moves to its next key, and data goes on."""
        pair = self.pair().up()
        for _ in range(3):
            for side in (pair.client, pair.server):
                side.sendMessage(b"before")
                side.updateKey()
                side.sendMessage(b"after")
            pair.pump()
        for side in (pair.client, pair.server):
            self.assertEqual(side.of("keyUpdated"), [1, 2, 3])
            self.assertEqual(side.messages, [b"before", b"after"] * 3)

    def test_interfaces(self) -> None:
        """A protocol can be registered as a producer."""
        pair = self.pair()
        self.assertTrue(verifyObject(IPushProducer, pair.client))

    def test_tlsHandshake(self) -> None:
        """
        An outer TLS transport does not call handshakeCompleted: it tells TLS's completion to
        whatever protocol provides IHandshakeListener, before this protocol's own handshake.
        """
        self.assertFalse(IHandshakeListener.implementedBy(ThingProtocol))

    def test_stringTransport(self) -> None:
        """A client begins with CHI on any transport; the transport's end is a truncation."""
        pair = Pair()
        transport = StringTransport()
        pair.client.makeConnection(transport)
        self.assertEqual(transport.value()[HEADER_LENGTH:][:6], b"\x01THING")
        self.assertEqual(pair.client.names(), ["connectionMade"])
        pair.client.connectionLost()
        self.assertIs(pair.client.end.cause, Cause.TRUNCATED)
        self.assertEqual(pair.clock.getDelayedCalls(), [])


class WaiterTests(PairCase):
    """whenEstablished, whenTerminated and goodbye fire exactly once, on every path."""

    def waiters(self, pair: Pair) -> list[tuple[Recorder, list[Any], list[Any]]]:
        return [
            (side, firings(side.whenEstablished()), firings(side.whenTerminated()))
            for side in (pair.server, pair.client)
        ]

    def assertFired(self, waiters: list[tuple[Recorder, list[Any], list[Any]]]) -> None:
        """Each has fired once, with what the protocol says itself."""
        for side, established, terminated in waiters:
            self.assertEqual(terminated, [side.termination])
            (result,) = established
            if side.session is None:
                self.assertIsInstance(result, HandshakeFailed)
                self.assertIs(result.termination, side.termination)
            else:
                self.assertIs(result, side.session)

    def test_completed(self) -> None:
        """After a whole session all have fired, those asked for late too."""
        pair = self.pair()
        early = self.waiters(pair)
        pair.up()
        during = self.waiters(pair)
        for _, established, terminated in early:
            self.assertEqual((len(established), terminated), (1, []))
        goodbyes = [firings(pair.client.goodbye()), firings(pair.client.goodbye())]
        pair.pump()
        goodbyes += [firings(pair.client.goodbye()), firings(pair.server.goodbye())]
        self.assertFired(early + during + self.waiters(pair))
        for fired in goodbyes:
            self.assertEqual([one.cause for one in fired], [Cause.GOODBYE])

    def carried(self, count: int) -> Pair:
        """A pair after so many pieces of the session's course have been carried."""
        pair = self.pair(
            freshServer(nextCredential=Ed25519Credential("the next")), networkSize=50
        ).connect()
        pair.early = self.waiters(pair)  # type: ignore[attr-defined]
        for at in range(count):
            pair.step(50, 50)
            if pair.client.session is not None and at % 2 and not pair.client.termination:
                pair.client.goodbye()
        return pair

    def everyStep(self, break_: Callable[[Pair], object]) -> None:
        """Break a session after each piece of its course; all waiters fire."""
        causes = set()
        for count in range(60):
            pair = self.carried(count)
            break_(pair)
            pair.pump()
            pair.advance(40, 1)
            self.assertFired(pair.early)  # type: ignore[attr-defined]
            causes.update((pair.client.end.cause, pair.server.end.cause))
        self.assertIn(Cause.GOODBYE, causes)
        self.assertGreater(len(causes), 1)

    def test_lostAtEachStep(self) -> None:
        """The stream breaks anywhere between the first octet and the last."""

        def lose(pair: Pair) -> None:
            for end in (pair.serverEnd, pair.clientEnd):
                if end.connected:
                    end.abortConnection()

        self.everyStep(lose)

    def test_abortedAtEachStep(self) -> None:
        """The client's program aborts anywhere between the first octet and the last."""
        self.everyStep(lambda pair: pair.client.abort())

    def test_serverAbortsAtEachStep(self) -> None:
        """The server's program aborts anywhere between the first octet and the last."""
        self.everyStep(lambda pair: pair.server.abort())

    def test_goodbyeAtEachStep(self) -> None:
        """Both programs say goodbye anywhere between the first octet and the last."""

        def goodbye(pair: Pair) -> None:
            for side in (pair.client, pair.server):
                side.goodbye()

        self.everyStep(goodbye)

    def test_silentAtEachStep(self) -> None:
        """The stream carries nothing more, anywhere between the first octet and the last."""
        self.everyStep(Pair.freeze)

    def test_goodbyeBeforeEstablished(self) -> None:
        """A goodbye before the session is up aborts it, and says so."""
        pair = self.pair().connect()
        fired = firings(pair.client.goodbye())
        pair.pump()
        self.assertEqual([one.cause for one in fired], [Cause.ABORTED])
        self.assertIs(pair.server.end.cause, Cause.TRUNCATED)

    def test_cancelled(self) -> None:
        """A waiter that was cancelled disturbs nothing."""
        pair = self.pair().connect()
        waiters = [pair.client.whenEstablished(), pair.client.whenTerminated()]
        fired = [firings(waiter) for waiter in waiters]
        for waiter in waiters:
            waiter.cancel()
        pair.pump()
        pair.client.goodbye()
        pair.pump()
        for results in fired:
            self.assertEqual([type(one) for one in results], [CancelledError])
        self.assertTrue(pair.server.end.clean)

    def test_waiterRaises(self) -> None:
        """A waiter's own exception is its own: the session goes on."""
        pair = self.pair()
        broken = pair.client.whenEstablished()
        broken.addCallback(lambda _: 1 / 0)
        fired = firings(pair.client.whenEstablished())
        pair.up()
        self.assertIsInstance(fired[0], Session)
        self.failureResultOf(broken, ZeroDivisionError)
        self.assertIsNone(pair.client.termination)


class EndTests(PairCase):
    """Every way in which a session ends, told on both sides."""

    def assertEnds(self, pair: Pair, client: Cause, server: Cause) -> None:
        self.assertEqual((pair.client.end.cause, pair.server.end.cause), (client, server))

    def test_clientGoodbye(self) -> None:
        """A client's goodbye is a clean end on both sides."""
        pair = self.pair().up()
        pair.client.goodbye()
        pair.pump()
        self.assertEnds(pair, Cause.GOODBYE, Cause.GOODBYE)

    def test_serverGoodbye(self) -> None:
        """A server's goodbye makes the client leave: a clean end, with a reason."""
        pair = self.pair().up()
        pair.server.goodbye()
        pair.pump()
        self.assertEnds(pair, Cause.GOODBYE, Cause.GOODBYE)
        self.assertEqual(pair.client.calls[2], ("goingAway", EndReason.CLOSING, 0.0))
        self.assertIs(pair.server.end.reason, EndReason.CLOSING)

    def test_crossing(self) -> None:
        """Goodbyes that cross are a clean end on both sides."""
        pair = self.pair().up()
        pair.client.goodbye()
        pair.server.goodbye()
        pair.pump()
        self.assertEnds(pair, Cause.GOODBYE, Cause.GOODBYE)

    def test_loseConnection(self) -> None:
        """What a side wrote before loseConnection arrives, however much it is."""
        for closing in ("client", "server"):
            pair = self.pair(networkSize=4096).up()
            side = getattr(pair, closing)
            other = pair.server if closing == "client" else pair.client
            sent = [bytes([at]) * 100_000 for at in range(30)]
            for message in sent:
                side.sendMessage(message)
            side.loseConnection()
            pair.pump()
            self.assertEqual(other.messages, sent)
            self.assertEnds(pair, Cause.GOODBYE, Cause.GOODBYE)

    def test_abort(self) -> None:
        """An abort is told as one here, and as a truncation there."""
        pair = self.pair().up()
        pair.client.abort()
        pair.pump()
        self.assertEnds(pair, Cause.ABORTED, Cause.TRUNCATED)
        self.assertIs(pair.client.end.code, ErrorCode.ABORTED)
        self.assertFalse(pair.server.end.clean)

    def test_truncated(self) -> None:
        """A stream that just ends is a truncation on both sides, never a clean end."""
        pair = self.pair().up()
        pair.serverEnd.loseConnection()
        pair.serverEnd.unregisterProducer()
        pair.pump()
        self.assertEnds(pair, Cause.TRUNCATED, Cause.TRUNCATED)

    def test_flatLined(self) -> None:
        """A client that falls silent is flat-lined, and told so."""
        pair = self.pair(freshServer(ttl=SHORT), clientClock=Clock()).up()
        pair.clock.pump([0.125] * 25)  # For the client, no time has passed.
        pair.pump()
        self.assertEnds(pair, Cause.FLAT_LINED, Cause.FLAT_LINED)
        self.assertIs(pair.client.end.reason, EndReason.HEARTBEAT_MISSED)
        self.assertTrue(pair.client.end.byPeer)

    def test_lapsed(self) -> None:
        """A server that falls silent has lapsed for the client."""
        pair = self.pair(freshServer(ttl=SHORT)).up()
        pair.serverEnd.frozen = True
        pair.advance(4)
        self.assertIs(pair.client.end.cause, Cause.LAPSED)

    def test_protocolError(self) -> None:
        """A peer that breaks a rule is told which, and both sides report it."""
        pair = self.pair(freshServer(maxMessage=1000)).up()
        pair.client.sendMessage(bytes(1001))
        pair.pump()
        self.assertEnds(pair, Cause.PROTOCOL_ERROR, Cause.PROTOCOL_ERROR)
        for side in (pair.client, pair.server):
            self.assertIs(side.end.code, ErrorCode.MESSAGE_TOO_LONG)
        self.assertEqual((pair.client.end.byPeer, pair.server.end.byPeer), (True, False))

    def test_rejected(self) -> None:
        """A refused client learns the code, and the server the detail."""

        def refuse(identity: Identity) -> Any:
            raise NotAuthorized("not on the list")

        pair = self.pair(authorizer=Deciding(refuse)).connect()
        pair.pump()
        self.assertEnds(pair, Cause.REJECTED, Cause.REJECTED)
        self.assertIs(pair.client.end.code, ErrorCode.NOT_AUTHORIZED)
        self.assertEqual((pair.client.end.detail, pair.server.end.detail), ("", "not on the list"))

    def test_closeTimeout(self) -> None:
        """A close that the peer does not answer is aborted at its deadline, and says so."""
        pair = self.pair(freshServer(ttl=SHORT), freshClient(closeTimeout=1.0)).up()
        pair.freeze()
        pair.client.goodbye()
        pair.advance(0.875)
        self.assertIsNone(pair.client.termination)
        pair.advance(0.125)
        self.assertIs(pair.client.end.cause, Cause.ABORTED)
        self.assertIs(pair.client.end.code, ErrorCode.CLOSE_TIMEOUT)

    def test_counted(self) -> None:
        """A factory counts its ends by cause."""
        pair = self.pair().up()
        pair.client.abort()
        pair.pump()
        self.assertEqual(pair.serverFactory.terminations, {Cause.TRUNCATED: 1})
        self.assertEqual(pair.clientFactory.terminations, {Cause.ABORTED: 1})
        self.assertEqual(pair.serverFactory.completed, 1)

    def test_separateSessions(self) -> None:
        """Nothing of a dead session reaches the next of the same factories."""
        first = self.pair().up()
        second = self.pair(serverFactory=first.serverFactory, clock=first.clock).up()
        first.client.sendMessage(b"first")
        first.client.abort()
        first.pump()
        second.pump()
        self.assertEqual(second.server.names(), ["connectionMade", "handshakeCompleted"])
        self.assertNotEqual(first.server.sessionId, second.server.sessionId)


class CallbackBugTests(PairCase):
    """An exception in a callback is logged, and ends that session and no other thing."""

    def reach(self, pair: Pair, name: str) -> None:
        """Bring both sides to each callback in turn."""
        pair.connect()
        pair.pump()
        for side in (pair.client, pair.server):
            if side.termination is None:
                side.sendMessage(b"message")
                side.updateKey()
                side.sendMessage(b"message")
        pair.pump()
        pair.advance(3)
        if name == "heartbeatLate":
            pair.freeze()
            pair.advance(2)
            pair.serverEnd.frozen = pair.clientEnd.frozen = False
            pair.pump()
        if pair.server.termination is None:
            pair.server.goAway(EndReason.CLOSING)
        pair.pump()

    def assertContained(self, role: str, name: str, code: ErrorCode) -> None:
        """The bug is logged, told to the peer as INTERNAL_ERROR, and reaches nothing else."""
        pair = self.pair(freshServer(ttl=SHORT, nextCredential=Ed25519Credential("the next")))
        side, other = pair.client, pair.server
        if role == "server":
            side, other = other, side
        side.raising = frozenset((name,))
        established = firings(side.whenEstablished())
        terminated = firings(side.whenTerminated())
        self.reach(pair, name)
        self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 1)
        self.assertIn(name, side.names())
        self.assertEqual((len(established), len(terminated)), (1, 1))
        if name != "terminated":
            self.assertIs(side.end.code, ErrorCode.INTERNAL_ERROR, f"{role} {name}")
            self.assertFalse(side.end.byPeer)
            self.assertIs(other.end.code, code)
        pair.advance(3)
        self.assertOver(pair)

    def test_server(self) -> None:
        """Each callback of a server."""
        for name in (
            "handshakeCompleted",
            "messageReceived",
            "keyUpdated",
            "heartbeatReceived",
            "heartbeatLate",
            "terminated",
        ):
            self.assertContained("server", name, ErrorCode.INTERNAL_ERROR)

    def test_client(self) -> None:
        """Each callback of a client."""
        for name in (
            "handshakeCompleted",
            "messageReceived",
            "keyUpdated",
            "serverKeyAnnounced",
            "heartbeatSent",
            "heartbeatAcknowledged",
            "heartbeatLate",
            "goingAway",
            "terminated",
        ):
            self.assertContained("client", name, ErrorCode.INTERNAL_ERROR)

    def test_connectionMade(self) -> None:
        """An exception in connectionMade ends the connection, too; no books go wrong."""
        for role in ("server", "client"):
            pair = self.pair()
            side = getattr(pair, role)
            side.raising = frozenset(("connectionMade",))
            pair.connect()
            pair.pump()
            self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 1)
            self.assertIs(side.end.code, ErrorCode.INTERNAL_ERROR)
            pair.advance(3)
            self.assertOver(pair)

    def test_messageAfterBug(self) -> None:
        """After the message at which a callback raised, none is delivered any more."""
        pair = self.pair().up()
        pair.server.raising = frozenset(("messageReceived",))
        for _ in range(5):
            pair.client.sendMessage(b"message")
        pair.pump()
        self.assertEqual(pair.server.messages, [b"message"])
        self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 1)


class WithinCallbackTests(PairCase):
    """Calls that a program makes inside a callback."""

    def test_abortInConnectionMade(self) -> None:
        """A program may turn a connection away at once, by its address for example."""
        for role in ("server", "client"):
            for how in ("abort", "loseConnection", "goodbye"):
                pair = self.pair()
                side = getattr(pair, role)
                side.doing["connectionMade"] = getattr(side, how)
                established = firings(side.whenEstablished())
                pair.connect()
                pair.pump()
                self.assertIs(side.end.cause, Cause.ABORTED)
                self.assertEqual(len(established), 1)
                pair.advance(3)
                self.assertOver(pair)

    def test_closeInEachCallback(self) -> None:
        """abort, goodbye and loseConnection inside any callback end the session in order."""
        for how in ("abort", "goodbye", "loseConnection"):
            for role in ("server", "client"):
                for name in (
                    "handshakeCompleted",
                    "messageReceived",
                    "keyUpdated",
                    "heartbeatSent",
                    "heartbeatReceived",
                    "heartbeatAcknowledged",
                    "goingAway",
                    "terminated",
                ):
                    pair = self.pair(freshServer(ttl=SHORT))
                    side = getattr(pair, role)
                    side.doing[name] = lambda *_, side=side, how=how: getattr(side, how)()
                    CallbackBugTests.reach(self, pair, name)  # type: ignore[arg-type]
                    pair.advance(35, 1)
                    self.assertOver(pair)

    def test_nothingAfterAbort(self) -> None:
        """After an abort inside a callback nothing is delivered but the end."""
        pair = self.pair().up()
        pair.server.doing["messageReceived"] = lambda _: pair.server.abort()
        for _ in range(5):
            pair.client.sendMessage(b"message")
        pair.pump()
        self.assertEqual(
            pair.server.names()[2:], ["messageReceived", "terminated", "connectionLost"]
        )

    def test_replyWhileLeaving(self) -> None:
        """
        A client that answers a message after the server asked it to leave ends cleanly: its
        program cannot know what is on its way, and its answer may be dropped, but no more.
        """
        pair = self.pair().up()
        pair.client.doing["messageReceived"] = lambda _: pair.client.sendMessage(b"answer")
        pair.server.goAway(EndReason.SHUTDOWN)
        for _ in range(3):
            pair.server.sendMessage(b"question")
        pair.pump()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertIs(pair.client.end.cause, Cause.GOODBYE)
        self.assertEqual(len(pair.client.messages), 3)

    def test_endedBeforeTheStream(self) -> None:
        """A protocol that a factory ends while building it leaves no stream and no count behind."""
        for end in ("abort", "loseConnection"):
            pair = self.pair()
            getattr(pair.server, end)()
            pair.serverEnd.connect(pair.server)  # There is no client.
            pair.pump()
            self.assertFalse(pair.serverEnd.connected)
            self.assertEqual(pair.serverFactory.door.handshakes, {})
            self.assertEqual(pair.serverFactory.door.connected, 0)
            self.assertNotIn("connectionMade", pair.server.names())
            pair.server.transport = None  # Its calls are not those of a whole session.

    def test_replyAfterTruncation(self) -> None:
        """
        A program that answers the messages that it held back while the peer vanished gets no
        error for it: the peer's end would otherwise fill this side's log with tracebacks.
        """
        pair = self.pair().up()
        pair.server.doing["messageReceived"] = lambda _: pair.server.sendMessage(b"answer")
        pair.server.pauseProducing()
        for _ in range(3):
            pair.client.sendMessage(b"question")
        pair.pump()
        pair.client.abort()
        pair.pump()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(len(pair.server.messages), 3)

    def test_pauseAndResume(self) -> None:
        """A program may pause and resume inside each of many held messages, without recursion."""
        pair = self.pair().up()
        depth: list[int] = [0]
        deepest: list[int] = []

        def turn(message: bytes) -> None:
            depth[0] += 1
            deepest.append(depth[0])
            pair.server.pauseProducing()
            pair.server.resumeProducing()
            depth[0] -= 1

        pair.server.pauseProducing()
        for at in range(300):
            pair.client.sendMessage(b"%d" % at)
        pair.pump()
        pair.server.doing["messageReceived"] = turn
        pair.server.resumeProducing()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(pair.server.messages, [b"%d" % at for at in range(300)])
        self.assertEqual(max(deepest), 1, "a message inside another's callback")

    def test_pauseInMessage(self) -> None:
        """After a pause inside a callback nothing is delivered until it is resumed."""
        pair = self.pair().up()
        pair.server.doing["messageReceived"] = lambda _: pair.server.pauseProducing()
        for at in range(3):
            pair.client.sendMessage(b"%d" % at)
        pair.pump()
        for count in (1, 2, 3):
            self.assertEqual(len(pair.server.messages), count)
            pair.server.resumeProducing()


class AuthorizerTests(PairCase):
    """The decision about a proved peer, on either side."""

    def both(self, decide: Callable[[Identity], Any]) -> list[tuple[Pair, Recorder, Recorder]]:
        """A server that decides so, and a client that does; who decided, and the other."""
        server = self.pair(authorizer=Deciding(decide))
        client = self.pair(clientAuthorizer=Deciding(decide))
        return [(server, server.server, server.client), (client, client.client, client.server)]

    def test_name(self) -> None:
        """The identity that the authorizer returns is the session's peer."""
        for answer in (lambda one: one, succeed):
            for pair, side, _ in self.both(
                lambda one, answer=answer: answer(replace(one, name="a thing"))
            ):
                pair.up()
                assert side.peer is not None
                self.assertEqual(side.peer.name, "a thing")

    def test_later(self) -> None:
        """An answer may come later; nothing is up before it."""
        for named in ("authorizer", "clientAuthorizer"):
            answers: list[Deferred[Identity]] = []
            deciding = Deciding(lambda _: answers.append(Deferred()) or answers[-1])  # noqa: B023
            pair = self.pair(**{named: deciding}).connect()
            pair.pump()
            self.assertEqual((pair.client.session, pair.server.session), (None, None))
            (answer,) = answers
            answer.callback(deciding.asked[0])
            pair.pump()
            self.assertIsNotNone(pair.client.session)
            self.assertIsNotNone(pair.server.session)

    def test_coroutine(self) -> None:
        """An authorizer may be a coroutine function."""

        async def decide(identity: Identity) -> Identity:
            return replace(identity, name="awaited")

        for pair, side, _ in self.both(decide):
            pair.up()
            assert side.peer is not None
            self.assertEqual(side.peer.name, "awaited")

    def assertRefused(self, decide: Callable[[Identity], Any], code: ErrorCode) -> None:
        for pair, side, other in self.both(decide):
            pair.connect().pump()
            for one in (side, other):
                self.assertIs(one.end.cause, Cause.REJECTED)
                self.assertIs(one.end.code, code)
                self.assertNotIn("handshakeCompleted", one.names())
            # A client that refuses has not shown who it is.
            proved = side is pair.server
            self.assertEqual(other.end.detail, "" if proved else "unauthenticated")

    def test_refused(self) -> None:
        """A refusal is told as its code, raised or failed."""
        refusal = NotAuthorized("secret reasons")
        self.assertRefused(lambda _: fail(refusal), ErrorCode.NOT_AUTHORIZED)
        required = NotAuthorized("who are you", ErrorCode.CREDENTIAL_REQUIRED)
        self.assertRefused(lambda _: fail(required), ErrorCode.CREDENTIAL_REQUIRED)

    def test_fails(self) -> None:
        """An authorizer's own failure refuses the peer, and is logged."""
        self.assertRefused(lambda _: 1 / 0, ErrorCode.INTERNAL_ERROR)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertRefused(lambda _: fail(OSError("no file")), ErrorCode.INTERNAL_ERROR)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 2)

    def test_cancellerRaises(self) -> None:
        """A question whose cancelling fails does not keep the end from being told."""

        def canceller(_: object) -> None:
            raise CallbackBug("canceller")

        pair = self.pair(authorizer=Deciding(lambda _: Deferred(canceller))).connect()
        pair.pump()
        pair.client.abort()
        pair.pump()
        self.assertIs(pair.server.end.cause, Cause.TRUNCATED)
        self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 1)

    def test_signingFails(self) -> None:
        """A credential that cannot sign is logged, and ends the handshake at once."""

        class Broken(Ed25519Credential):
            def sign(self, content: bytes) -> bytes:
                raise CallbackBug("sign")

        pair = self.pair(client=freshClient(credential=Broken("broken"))).connect()
        pair.pump()
        self.assertIs(pair.client.end.code, ErrorCode.INTERNAL_ERROR)
        self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 1)

    def test_nameIsNoText(self) -> None:
        """A name with what is no character, which no log could write, admits nobody."""
        deciding = Deciding(lambda identity: replace(identity, name="lamp\udcff"))
        pair = self.pair(authorizer=deciding).connect()
        pair.pump()
        self.assertIsNone(pair.client.session)
        self.assertIs(pair.client.end.code, ErrorCode.INTERNAL_ERROR)
        self.assertEqual(len(self.flushLoggedErrors(UnicodeEncodeError)), 1)

    def test_nameInTheLog(self) -> None:
        """A name that could steer a terminal is no more than a word in its line of the log."""
        name = "lamp\r\x1b[2K\nSession 00 with admin ended\x1b[8m\u202e"
        deciding = Deciding(lambda identity: replace(identity, name=name))
        out = io.StringIO()
        observer = textFileLogObserver(out)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        pair = self.pair(authorizer=deciding).up()
        self.assertEqual(pair.server.peer.name, name)
        pair.client.goodbye()
        pair.pump()
        shown = "lamp\ufffd\ufffd[2K\ufffdSession 00 with admin ended\ufffd[8m\ufffd"
        lines = out.getvalue().split("\n")
        self.assertEqual(sum(f" with {shown} at " in line for line in lines), 2)
        self.assertTrue(all(line.isprintable() for line in lines), ascii(lines))

    def test_notAnIdentity(self) -> None:
        """An authorizer that returns something else than an identity admits nobody."""
        for nonsense in (None, True, "a thing"):
            for pair, side, other in self.both(lambda _, nonsense=nonsense: nonsense):
                pair.connect().pump()
                self.assertIs(side.end.code, ErrorCode.INTERNAL_ERROR)
                self.assertIsNone(other.session)
                self.assertTrue(self.flushLoggedErrors())

    def test_neverAnswers(self) -> None:
        """Without an answer the handshake fails at its deadline, and the question is cancelled."""
        for named in ("authorizer", "clientAuthorizer"):
            cancelled: list[object] = []
            deciding = Deciding(lambda _, seen=cancelled: Deferred(seen.append))
            pair = self.pair(
                freshServer(handshakeTimeout=5.0),
                freshClient(handshakeTimeout=5.0),
                **{named: deciding},
            ).connect()
            pair.pump()
            pair.advance(4.875)
            self.assertEqual((pair.client.termination, pair.server.termination), (None, None))
            pair.advance(0.25)
            self.assertEqual(len(cancelled), 1)
            for side in (pair.client, pair.server):
                self.assertIs(side.end.cause, Cause.REJECTED)
            self.assertEqual(self.flushLoggedErrors(), [])

    def test_answersAfterTheEnd(self) -> None:
        """An answer that comes when the connection is over changes nothing, yes or no."""

        for answer in ("callback", "errback", "cancelling callback"):
            for named in ("authorizer", "clientAuthorizer"):
                answers: list[Deferred[Identity]] = []
                canceller: Callable[[Any], object] | None = None
                if answer == "cancelling callback":
                    canceller = lambda one: one.callback(Identity)  # noqa: E731
                deciding = Deciding(
                    lambda _, answers=answers, canceller=canceller: (
                        answers.append(Deferred(canceller)) or answers[-1]
                    )
                )
                pair = self.pair(**{named: deciding}).connect()
                pair.pump()
                pair.clientEnd.abortConnection()
                pair.pump()
                if answer == "callback":
                    answers[0].callback(deciding.asked[0])
                elif answer == "errback":
                    answers[0].errback(NotAuthorized("too late"))
                self.assertEqual(self.flushLoggedErrors(), [])
                self.assertEqual(pair.serverFactory.completed, 0)

    def test_notBeforeProof(self) -> None:
        """The authorizer is asked once, about a peer that has proved its key, and not before."""
        deciding = Deciding(lambda one: one)
        pair = self.pair(authorizer=deciding, networkSize=10).connect()
        while not deciding.asked:
            self.assertIsNot(linkOf(pair.server).core.state, State.ESTABLISHED)
            pair.step(10, 10)
        pair.pump()
        self.assertEqual(len(deciding.asked), 1)

    def test_replaced(self) -> None:
        """A factory's authorizer may be replaced; the next handshake asks the new one."""
        pair = self.pair().up()
        pair.serverFactory.authorizer = Deciding(lambda _: fail(NotAuthorized("closed")))
        other = self.pair(serverFactory=pair.serverFactory, clock=pair.clock).connect()
        other.pump()
        self.assertIs(other.client.end.code, ErrorCode.NOT_AUTHORIZED)
        self.assertIsNone(pair.client.termination)


class TerminationTests(PairCase):
    """What is said of an end."""

    def test_isTold(self) -> None:
        """The Termination that terminated() gets is the one that everything else tells."""
        pair = self.pair().up()
        fired = firings(pair.client.whenTerminated())
        pair.client.goodbye()
        pair.pump()
        self.assertIsInstance(pair.client.end, Termination)
        self.assertEqual(fired, [pair.client.end])
        self.assertIs(pair.client.termination, pair.client.end)

    def test_factoryRole(self) -> None:
        """Only a server goes away."""
        pair = self.pair().up()
        error = self.assertRaises(LocalProtocolError, pair.client.goAway, EndReason.CLOSING)
        self.assertIs(error.code, ErrorCode.WRONG_STATE)

    def test_sendAfterEnd(self) -> None:
        """After the end nothing is sent, and asking for the end again is harmless."""
        pair = self.pair().up()
        pair.client.abort()
        for again in (pair.client.abort, pair.client.loseConnection, pair.client.goodbye):
            again()
        self.assertFalse(pair.client.sendMessage(b""))
        self.assertRaises(LocalProtocolError, pair.client.updateKey)
        pair.pump()
        self.assertFalse(pair.server.sendMessage(b""))
        self.assertEqual((pair.client.messages, pair.server.messages), ([], []))
