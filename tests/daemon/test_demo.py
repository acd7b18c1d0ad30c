"""The conversation that ``twistd thing --demo`` serves."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import Ed25519Credential, clientSettings, serverSettings
from tests.pairs import Pair, firings
from thing import Anyone, Cause, Identity
from thing.daemon.demo import (
    HELP,
    MAX_LINES,
    MAX_TEXT,
    MAX_WAITING,
    MAX_WHO,
    SAY_INTERVAL,
    DemoFactory,
)


class Naming(Anyone):
    """Admits anyone, by a name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def authorize(self, identity: Identity) -> Identity:
        return Identity(identity.kind, identity.publicKey, self.name)


class DemoCase(SynchronousTestCase):
    """Visitors of one demo, in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.demo = DemoFactory(
            serverSettings(allowAnonymous=True), Anyone(), clock=self.clock, jitter=lambda: 0.5
        )
        self.visitors: list[Pair] = []

    def visit(self, **choices: Any) -> Pair:
        """A visitor that has been greeted."""
        pair = Pair(
            clock=self.clock, client=clientSettings(**choices), serverFactory=self.demo
        ).up()
        self.visitors.append(pair)
        return pair

    def pump(self) -> None:
        """Carry all that was said to all visitors."""
        for _ in self.visitors:
            for pair in self.visitors:
                pair.pump()

    def heard(self, pair: Pair) -> str:
        """What a visitor hears that it has not heard yet."""
        self.pump()
        messages = [call for call in pair.client.calls if call[0] == "messageReceived"]
        pair.client.calls = [call for call in pair.client.calls if call[0] != "messageReceived"]
        text = b"".join(message for _, message in messages).decode()
        self.assertTrue(not text or text.endswith("\n"))
        return text

    def ask(self, pair: Pair, message: bytes) -> str:
        """What the demo answers, without the newline."""
        self.heard(pair)
        pair.client.sendMessage(message)
        return self.heard(pair).removesuffix("\n")


class GreetingTests(DemoCase):
    """What a visitor hears first."""

    def test_request(self) -> None:
        """A request is a message that is acknowledged; what it asks for comes as ever."""
        pair = self.visit()
        self.heard(pair)
        fired = firings(pair.client.request(b"hello"))
        self.assertEqual(self.heard(pair), "hello\n")
        self.assertEqual(fired, [b""])

    def test_greeting(self) -> None:
        """It is told the session, who and where it is, the ciphers and the TTL."""
        visitor = self.visit()
        greeting = self.heard(visitor)
        session = visitor.client.session
        peer = visitor.server.peer
        assert session is not None and peer is not None
        for part in (
            session.sessionId.hex(),
            peer.fingerprint,
            "192.0.2.1:1",
            session.group,
            session.aead,
            "TTL is 30 s",
            "every 10 s",
            "help",
        ):
            self.assertIn(part, greeting)

    def test_name(self) -> None:
        """A visitor that the server knows is greeted by its name."""
        self.demo.authorizer = Naming("boiler")
        self.assertIn("You are boiler at ", self.heard(self.visit()))

    def test_noAddress(self) -> None:
        """A visitor whose stream has no network address is greeted, too."""
        pair = Pair(clock=self.clock, serverFactory=self.demo)
        pair.serverEnd.getPeer = lambda: None  # type: ignore[method-assign]
        self.visitors.append(pair.up())
        self.assertIn(" at an unknown address.", self.heard(pair))


class CommandTests(DemoCase):
    """What a visitor can say."""

    def test_help(self) -> None:
        """``help`` names every command."""
        self.assertEqual(self.ask(self.visit(), b"help\n"), HELP)
        for command in ("help", "who", "time", "status", "say", "bye"):
            self.assertIn(f"{command} ", HELP)

    def test_lines(self) -> None:
        """A newline is optional, of either kind; case and space around a command are ignored."""
        visitor = self.visit()
        for message in (b"help", b"help\n", b"help\r\n", b" HELP \n"):
            self.assertEqual(self.ask(visitor, message), HELP)

    def test_echo(self) -> None:
        """Anything else comes back, with one newline at its end."""
        visitor = self.visit()
        for text in (
            "hello",
            "gr\u00fc\u00df dich \u4e16\u754c",
            "helpless",
            "time flies",
            "",
            " x ",
        ):
            self.assertEqual(self.ask(visitor, text.encode()), text)
            self.assertEqual(self.ask(visitor, text.encode() + b"\n"), text)

    def test_severalLines(self) -> None:
        """Each line of a message is answered, in order."""
        self.assertEqual(self.ask(self.visit(), b"one\n\ntwo\n"), "one\n\ntwo")

    def test_time(self) -> None:
        """``time`` tells the server's time of day."""
        self.demo.wallClock = lambda: datetime(2026, 2, 3, 4, 5, 6, 7, timezone.utc)
        self.assertEqual(self.ask(self.visit(), b"time"), "2026-02-03 04:05:06+00:00")

    def test_status(self) -> None:
        """``status`` tells how long the session is up, its heartbeats and the round trip."""
        visitor = self.visit()
        status = self.ask(visitor, b"status")
        self.assertIn("up for 0 s", status)
        self.assertIn("heartbeats so far: 0", status)
        self.assertIn("not measured yet", status)
        visitor.advance(40.0)
        status = self.ask(visitor, b"status")
        self.assertIn(visitor.client.sessionId, status)
        self.assertIn("up for 40 s", status)
        self.assertIn("heartbeats so far: 4", status)
        self.assertRegex(status, r"round trip: \d+\.\d ms")

    def test_who(self) -> None:
        """``who`` lists everybody who is here, and nobody who has left."""
        first, second = self.visit(), self.visit(credential=Ed25519Credential("another"))
        listed = self.ask(first, b"who")
        self.assertEqual(len(listed.splitlines()), 2)
        for visitor in (first, second):
            peer = visitor.server.peer
            assert peer is not None
            self.assertIn(f"{peer.fingerprint} [{visitor.client.sessionId[:8]}]", listed)
        second.client.goodbye()
        self.pump()
        self.assertEqual(len(self.ask(first, b"who").splitlines()), 1)

    def test_whoIsBounded(self) -> None:
        """The list has an end, and says how many are not in it."""
        visitors = [self.visit() for _ in range(MAX_WHO + 3)]
        listed = self.ask(visitors[0], b"who").splitlines()
        self.assertEqual(len(listed), MAX_WHO + 1)
        self.assertEqual(listed[-1], "and 3 more")

    def test_say(self) -> None:
        """``say`` tells everybody else, and says who said it."""
        speaker, *others = (self.visit() for _ in range(3))
        for visitor in self.visitors:
            self.heard(visitor)
        self.assertEqual(self.ask(speaker, b"say  hello there \n"), "Said to 2.")
        for other in others:
            heard = self.heard(other)
            self.assertIn(f"[{speaker.client.sessionId[:8]}] says: hello there", heard)
            self.assertEqual(heard.count("\n"), 1)

    def test_sayNothing(self) -> None:
        """``say`` wants a text."""
        self.assertEqual(self.ask(self.visit(), b"say"), "Say what?")

    def test_sayIsPaced(self) -> None:
        """One visitor cannot flood the others."""
        speaker, other = self.visit(), self.visit()
        self.heard(other)
        self.assertIn("Said to 1.", self.ask(speaker, b"say one\nsay two"))
        self.assertEqual(self.heard(other).count("says"), 1)
        self.clock.advance(SAY_INTERVAL)
        self.assertEqual(self.ask(speaker, b"say three"), "Said to 1.")

    def test_bye(self) -> None:
        """``bye`` is answered, and ends the session in order."""
        visitor = self.visit()
        self.assertEqual(self.ask(visitor, b"bye"), "Goodbye.")
        self.assertIs(visitor.client.end.cause, Cause.GOODBYE)


class TrustTests(DemoCase):
    """What a visitor cannot do to the server or to the others."""

    def test_controlCharacters(self) -> None:
        """Nothing that steers a terminal reaches another one: no escape, no line, no direction."""
        speaker, other = self.visit(), self.visit()
        self.heard(other)
        self.ask(speaker, "say a\x1b[2Jb\rc\x00d\x9be\u202ef\u2028g\th".encode())
        said = self.heard(other).partition("says: ")[2]
        self.assertEqual(said, "a\ufffd[2Jb\ufffdc\ufffdd\ufffde\ufffdf\ufffdg h\n")

    def test_ownControlCharacters(self) -> None:
        """An echo is as plain as what the others hear."""
        self.assertEqual(self.ask(self.visit(), b"\x1b]0;x\x07"), "\ufffd]0;x\ufffd")

    def test_notUtf8(self) -> None:
        """Octets that are not UTF-8 are shown as such, and end nothing."""
        visitor = self.visit()
        self.assertEqual(self.ask(visitor, b"\xff\xfehello"), "\ufffd\ufffdhello")
        self.assertIsNone(visitor.client.termination)

    def test_tooMuch(self) -> None:
        """A message that is too long, or has too many lines, is refused; the session goes on."""
        visitor = self.visit()
        self.assertEqual(self.ask(visitor, b"x" * MAX_TEXT), "x" * MAX_TEXT)
        self.assertIn("Too much", self.ask(visitor, b"x" * (MAX_TEXT + 1)))
        self.assertEqual(self.ask(visitor, b"x\n" * MAX_LINES).count("x"), MAX_LINES)
        self.assertIn("Too much", self.ask(visitor, b"who\n" * (MAX_LINES + 1)))
        self.assertEqual(self.ask(visitor, b"still here"), "still here")

    def test_doesNotRead(self) -> None:
        """Who does not read the answers is not answered without end, and loses none of them."""
        visitor = self.visit()
        self.heard(visitor)
        visitor.clientEnd.reading = False
        question = b"x" * MAX_TEXT
        for _ in range(200):
            visitor.client.sendMessage(question)
        visitor.pump()
        self.assertLess(visitor.server.queued, MAX_WAITING + 2 * MAX_TEXT)
        visitor.clientEnd.reading = True
        self.assertEqual(self.heard(visitor).count("x"), 200 * MAX_TEXT)

    def test_otherDoesNotRead(self) -> None:
        """Who does not read misses what is said, and costs the server no more memory."""
        speaker, other = self.visit(requestedTtl=3600.0), self.visit(requestedTtl=3600.0)
        other.clientEnd.reading = False
        for _ in range(200):
            speaker.advance(SAY_INTERVAL, SAY_INTERVAL)
            speaker.client.sendMessage(b"say " + b"x" * 4000)
            self.pump()
        self.assertTrue(MAX_WAITING <= other.server.queued < MAX_WAITING + 2 * MAX_TEXT)
        self.assertIn("Said to 0.", self.heard(speaker))

    def test_otherIsLeaving(self) -> None:
        """A visitor on its way out does not disturb who speaks."""
        speaker, other = self.visit(), self.visit()
        other.client.goodbye()
        other.clientEnd.step(1 << 20)
        other.clientEnd.step(1 << 20)
        self.assertRegex(self.ask(speaker, b"say hello"), r"Said to \d\.")
        self.assertIsNone(speaker.client.termination)
        self.assertIs(other.client.end.cause, Cause.GOODBYE)
