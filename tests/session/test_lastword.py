"""The last word of a client, and what a Connection counts."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from tests.helpers import (
    PLENTY,
    clientSettings,
    ending,
    establishedPair,
    give,
    makePair,
    only,
    pump,
    sendTo,
    serverSettings,
)
from tests.pairs import PairCase, freshClient, freshServer
from thing.core.backoff import Pace, paceAfter
from thing.core.capacity import Capacity
from thing.core.heartbeat import TtlPolicy
from thing.core.messages import CDT, CGB, CLW, LAST_WORD_LIMIT, MORE
from thing.core.records import HEADER_LENGTH, TAG_LENGTH
from thing.errors import EndReason, ErrorCode, LocalProtocolError, ReplyStatus
from thing.events import (
    Cause,
    HandshakeCompleted,
    HeartbeatReceived,
    LastWordReceived,
    MessageReceived,
)

LONGEST = bytes(LAST_WORD_LIMIT)


class CoreTests(TestCase):
    """The last word between two cores."""

    def test_left(self) -> None:
        """The server keeps the latest; an empty one withdraws it."""
        client, server = establishedPair()
        self.assertEqual((client.lastWord, server.lastWord), (b"", b""))
        for word in (b"gone", LONGEST, b"gone again", b""):
            self.assertTrue(client.setLastWord(word))
            self.assertEqual(pump(client, server).server, [LastWordReceived(word)])
            self.assertEqual((client.lastWord, server.lastWord), (word, word))

    def test_longerThanTaken(self) -> None:
        """One that the server cannot take keeps the session from coming up at all."""
        small = serverSettings(capacity=Capacity(512, 576, 128, 0))
        for word, code in ((bytes(495), None), (bytes(496), ErrorCode.LIMITS_OUT_OF_BOUNDS)):
            for early in (False, True):
                client, server = makePair(clientSettings(lastWord=b"" if early else word), small)
                if early:
                    client.setLastWord(word)
                told = pump(client, server)
                if code is None:
                    self.assertEqual(server.lastWord, word)
                    continue
                self.assertEqual(only(HandshakeCompleted, told.client), [])
                ended = ending(told.client)
                self.assertEqual((ended.cause, ended.code), (Cause.REJECTED, code))
                self.assertIs(paceAfter(ended), Pace.SELDOM)
                self.assertIs(ending(told.server).code, code)
                self.assertEqual(only(HandshakeCompleted, told.server), [])

    def test_ofSmallClient(self) -> None:
        """What a client can take itself is no bound of its last word."""
        client, server = makePair(clientSettings(capacity=Capacity(512, 576, 128, 0)))
        self.assertTrue(client.setLastWord(LONGEST))
        pump(client, server)
        self.assertEqual(server.lastWord, LONGEST)

    def test_first(self) -> None:
        """One that is set beforehand, in the settings or by a call, goes out first."""
        for choices, later in (
            ({"lastWord": b"gone"}, None),
            ({"lastWord": b"old"}, b"gone"),
            ({}, b"gone"),
        ):
            client, server = makePair(clientSettings(**choices))
            if later is not None:
                self.assertTrue(client.setLastWord(later))
            self.assertEqual(client.lastWord, b"gone")
            events: list[Any] = []
            while client.session is None:
                events += give(server, client.dataToSend(0.0, 0), 0.0)
                give(client, server.dataToSend(0.0, 0), 0.0)
            client.sendMessage(b"data")
            events = give(server, client.dataToSend(0.0, PLENTY), 0.0)
            self.assertEqual(events, [LastWordReceived(b"gone"), MessageReceived(b"data")])

    def test_none(self) -> None:
        """Without one nothing is sent."""
        client, server = makePair()
        client.setLastWord(b"withdrawn at once")
        client.setLastWord(b"")
        told = pump(client, server).server
        self.assertIsInstance(told[-1], HandshakeCompleted)
        self.assertEqual(only(LastWordReceived, told), [])

    def test_inOrder(self) -> None:
        """It keeps its place among the data, and heartbeats overtake it."""
        client, server = establishedPair()
        client.sendMessage(b"before")
        client.setLastWord(b"gone")
        client.sendMessage(b"after")
        client.beat(0.0)
        told = pump(client, server).server
        self.assertIsInstance(told.pop(0), HeartbeatReceived)
        self.assertEqual(
            told, [MessageReceived(b"before"), LastWordReceived(b"gone"), MessageReceived(b"after")]
        )

    def test_tooLong(self) -> None:
        """One octet too many is refused on both sides, and in the settings."""
        client, server = establishedPair()
        for call in (client.setLastWord, lambda word: clientSettings(lastWord=word)):
            error = self.assertRaises(LocalProtocolError, call, LONGEST + b"x")
            self.assertIs(error.code, ErrorCode.BAD_ARGUMENT)
        self.assertEqual(client.lastWord, b"")
        events = sendTo(server, CLW(b"first"), CLW(LONGEST + b"x"))
        self.assertIs(ending(events).code, ErrorCode.MESSAGE_TOO_LONG)
        self.assertEqual(server.lastWord, b"first")

    def test_kinds(self) -> None:
        """What is kept is a copy; a text is refused."""
        client, server = establishedPair()
        buffer = bytearray(b"before")
        client.setLastWord(buffer)  # type: ignore[arg-type]
        buffer[:] = b"after!"
        pump(client, server)
        self.assertEqual((client.lastWord, server.lastWord), (b"before", b"before"))
        self.assertRaises(TypeError, client.setLastWord, "text")

    def test_full(self) -> None:
        """One that finds no room is refused, and the one before stands."""
        client, server = establishedPair(clientSettings(maxBuffered=100, lastWord=b"old"))
        client.sendMessage(bytes(98))
        error = self.assertRaises(LocalProtocolError, client.setLastWord, b"new")
        self.assertIs(error.code, ErrorCode.BUFFER_FULL)
        self.assertEqual(client.lastWord, b"old")
        self.assertTrue(client.setLastWord(b""))
        self.assertEqual(client.queued, 99)
        pump(client, server)
        self.assertEqual((client.queued, server.lastWord), (0, b""))

    def test_insideMessage(self) -> None:
        """Between two fragments there is no place for it, in a stream neither."""
        for stream in (False, True):
            _, server = establishedPair(server=serverSettings(stream=stream))
            events = sendTo(server, CDT(MORE, 0, b"half"), CLW(b"gone"))
            self.assertIs(ending(events).code, ErrorCode.MALFORMED_MESSAGE)
            self.assertEqual(server.lastWord, b"")

    def test_afterGoodbye(self) -> None:
        """A client that has said goodbye leaves no other, and is refused if it does."""
        client, server = establishedPair()
        client.setLastWord(b"gone")
        client.goodbye(0.0)
        self.assertFalse(client.setLastWord(b"more"))
        self.assertEqual(client.lastWord, b"gone")
        self.assertTrue(ending(pump(client, server).server).clean)
        self.assertFalse(client.setLastWord(b"more"))
        _, server = establishedPair()
        events = sendTo(server, CGB(), CLW(b"gone"))
        self.assertIs(ending(events).code, ErrorCode.UNEXPECTED_MESSAGE)

    def test_outlivesTheSession(self) -> None:
        """The server still has it when the session is over, however that came."""
        for end in ("abort", "receiveEnd", "reject", "dies"):
            client, server = establishedPair(clientSettings(lastWord=b"gone"))
            pump(client, server)
            if end == "reject":
                events = server.reject(ErrorCode.INTERNAL_ERROR, 0.0)
            elif end == "dies":
                events = server.handleTimer(60.0) + server.handleTimer(60.01)
                events += server.handleTimer(120.0)
            else:
                events = getattr(server, end)(0.0)
            self.assertFalse(ending(events).clean, end)
            self.assertEqual(server.lastWord, b"gone")

    def test_held(self) -> None:
        """It is held with the data; if the stream ends meanwhile, it counts."""
        client, server = establishedPair()
        server.hold()
        client.sendMessage(b"data")
        client.setLastWord(b"gone")
        self.assertEqual(pump(client, server).server, [])
        self.assertEqual(server.lastWord, b"")
        events = server.receiveEnd(0.0)
        self.assertEqual(events[:2], [MessageReceived(b"data"), LastWordReceived(b"gone")])
        self.assertEqual(server.lastWord, b"gone")

    def test_whileGoingAway(self) -> None:
        """Until the client has learned that the server goes, its last word counts."""
        client, server = establishedPair()
        server.goAway(EndReason.SHUTDOWN, 0.0, 10.0)
        client.setLastWord(b"gone")
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        self.assertEqual(server.lastWord, b"gone")

    def test_notShown(self) -> None:
        """The settings do not show it."""
        self.assertNotIn("gone", repr(clientSettings(lastWord=b"gone")))


class ProtocolTests(PairCase):
    """The last word as the application sees it."""

    def test_left(self) -> None:
        """The server's program is told, and can ask for it, after the end, too."""
        pair = self.pair(client=freshClient(lastWord=b"gone")).up()
        self.assertEqual(pair.server.of("lastWordReceived"), [b"gone"])
        self.assertEqual((pair.client.lastWord, pair.server.lastWord), (b"gone", b"gone"))
        self.assertTrue(pair.client.setLastWord(b"really gone"))
        pair.pump()
        self.assertEqual(pair.server.of("lastWordReceived"), [b"gone", b"really gone"])
        seen: list[bytes] = []
        pair.server.doing["terminated"] = lambda _: seen.append(pair.server.lastWord)
        pair.client.abort()
        pair.pump()
        self.assertEqual(seen, [b"really gone"])
        self.assertIs(pair.server.end.cause, Cause.TRUNCATED)
        self.assertFalse(pair.client.setLastWord(b"too late"))

    def test_early(self) -> None:
        """It may be left before there is a session, even before there is a stream."""
        pair = self.pair()
        self.assertTrue(pair.client.setLastWord(b"gone"))
        pair.up()
        self.assertEqual(pair.server.lastWord, b"gone")

    def test_server(self) -> None:
        """A server leaves none."""
        pair = self.pair().up()
        error = self.assertRaises(LocalProtocolError, pair.server.setLastWord, b"gone")
        self.assertIs(error.code, ErrorCode.WRONG_STATE)

    def test_callbackFails(self) -> None:
        """A bug in its callback ends the session, as in most others."""
        pair = self.pair().up()
        pair.server.doing["lastWordReceived"] = lambda _: 1 // 0
        pair.client.setLastWord(b"gone")
        pair.pump()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIs(pair.server.end.code, ErrorCode.INTERNAL_ERROR)
        self.assertEqual(pair.server.lastWord, b"gone")


class CounterTests(TestCase):
    """What a Connection counts."""

    def test_octets(self) -> None:
        """What one side has sent is what the other has received, handshake and records included."""
        client, server = makePair()
        self.assertEqual((client.octetsSent, client.octetsReceived), (0, 0))
        pump(client, server)
        self.assertGreater(client.octetsSent, 200)
        before = client.octetsSent
        client.sendMessage(b"12345")
        pump(client, server, chunk=3)
        self.assertEqual(client.octetsSent - before, HEADER_LENGTH + 6 + 5 + TAG_LENGTH)
        client.goodbye(0.0)
        pump(client, server)
        self.assertEqual(client.octetsSent, server.octetsReceived)
        self.assertEqual(server.octetsSent, client.octetsReceived)
        list(server.receiveData(b"after the end", 0.0))
        self.assertEqual(client.octetsSent, server.octetsReceived)

    def test_messages(self) -> None:
        """Messages and requests count, once each; fragments, replies and last words do not."""
        for stream in (False, True):
            client, server = establishedPair(server=serverSettings(stream=stream))
            client.sendMessage(b"")
            client.sendMessage(bytes(100_000))
            client.request(b"question")
            client.setLastWord(b"gone")
            pump(client, server)
            server.reply(1, ReplyStatus.DONE)
            pump(client, server)
            self.assertEqual((client.messagesSent, client.messagesReceived), (3, 0))
            self.assertEqual((server.messagesSent, server.messagesReceived), (0, 3))

    def test_held(self) -> None:
        """What is held back has not been received yet."""
        client, server = establishedPair()
        server.hold()
        client.sendMessage(b"data")
        pump(client, server)
        self.assertEqual(server.messagesReceived, 0)
        list(server.release(0.0))
        self.assertEqual(server.messagesReceived, 1)

    def test_roundTripTime(self) -> None:
        """The server has what the client measured last, with the client's next beat."""
        client, server = establishedPair()
        self.assertIsNone(server.roundTripTime)
        client.beat(1.0)
        give(server, client.dataToSend(1.0, PLENTY), 1.0)
        give(client, server.dataToSend(1.25, PLENTY), 1.25)
        self.assertEqual((client.roundTripTime, server.roundTripTime), (0.25, None))
        client.beat(2.0)
        pump(client, server, 2.0)
        self.assertEqual(server.roundTripTime, 0.25)

    def test_silence(self) -> None:
        """It counts from the last renewal, on both sides, while the session is watched."""
        client, server = makePair()
        self.assertEqual((client.silence(1.0), server.silence(1.0)), (None, None))
        pump(client, server, 1.0)
        self.assertEqual((client.silence(3.0), server.silence(3.0)), (2.0, 2.0))
        client.beat(4.0)
        give(server, client.dataToSend(4.0, PLENTY), 4.0)
        self.assertEqual((client.silence(5.0), server.silence(5.0)), (4.0, 1.0))
        give(client, server.dataToSend(5.0, PLENTY), 5.0)
        self.assertEqual((client.silence(6.0), server.silence(6.0)), (1.0, 2.0))
        server.goAway(EndReason.SHUTDOWN, 6.0, 10.0)
        self.assertIsNone(server.silence(7.0))
        pump(client, server, 7.0)
        self.assertEqual((client.silence(8.0), server.silence(8.0)), (None, None))

    def test_silenceAtTheGoodbye(self) -> None:
        """A server that has said goodbye watches no more."""
        client, server = establishedPair()
        client.goodbye(0.0)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        self.assertEqual(server.silence(1.0), 1.0)
        server.dataToSend(0.0, PLENTY)
        self.assertIsNone(server.silence(1.0))


class PropertyTests(PairCase):
    """The same, as the application sees it."""

    def test_properties(self) -> None:
        """Both sides can ask for all of it, before, during and after a session."""
        pair = self.pair(freshServer(ttl=TtlPolicy(default=3.0)))
        for side in (pair.client, pair.server):
            self.assertEqual((side.octetsReceived, side.octetsSent), (0, 0))
            self.assertIsNone(side.silence)
            self.assertIsNone(side.roundTripTime)
        pair.up()
        pair.client.sendMessage(b"data")
        pair.client.request(b"question")
        pair.clock.advance(0.25)
        pair.pump()
        self.assertEqual((pair.client.silence, pair.server.silence), (0.25, 0.25))
        pair.advance(2)
        self.assertEqual((pair.client.messagesSent, pair.server.messagesReceived), (2, 2))
        self.assertEqual((pair.server.messagesSent, pair.client.messagesReceived), (0, 0))
        self.assertEqual(pair.client.roundTripTime, pair.server.roundTripTime)
        self.assertLess(pair.server.silence or 0.0, 1.1)
        pair.client.goodbye()
        pair.pump()
        self.assertEqual(pair.client.octetsSent, pair.server.octetsReceived)
        self.assertEqual(pair.server.octetsSent, pair.client.octetsReceived)
        self.assertEqual((pair.client.silence, pair.server.silence), (None, None))
        for name in ("octetsSent", "messagesSent", "silence", "lastWord", "roundTripTime"):
            self.assertRaises(AttributeError, setattr, pair.client, name, 1)
