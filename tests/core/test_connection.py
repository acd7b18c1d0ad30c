"""A whole Connection: data, key updates, exporters, announcements, and every way to end."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any
from unittest import mock

from twisted.trial.unittest import TestCase

from tests.helpers import (
    CLIENT_CREDENTIAL,
    PLENTY,
    SERVER_CREDENTIAL,
    Eavesdropper,
    Ed25519Credential,
    clientSettings,
    ending,
    establishedPair,
    flip,
    give,
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
from thing.core import records
from thing.core.capacity import Capacity
from thing.core.client import ClientConnection
from thing.core.dialogue import Dialogue
from thing.core.heartbeat import TtlPolicy
from thing.core.layout import Message
from thing.core.messages import (
    CDT,
    CFL,
    CGB,
    CHR,
    CKU,
    FRAGMENT_LIMIT,
    MORE,
    SDT,
    SFL,
    SGA,
    SGB,
    SHR,
    SKU,
    MessageType,
    Role,
)
from thing.core.records import HEADER_LENGTH, RECORD_LIMIT
from thing.core.server import ServerConnection
from thing.core.states import State
from thing.errors import EndReason, ErrorCode, LocalProtocolError
from thing.events import (
    Cause,
    Event,
    GoingAway,
    GoodbyeReceived,
    HeartbeatAcknowledged,
    HeartbeatLate,
    HeartbeatReceived,
    HeartbeatSent,
    KeysAnnounced,
    KeyUpdated,
    LastWordReceived,
    MessageReceived,
    RequestReceived,
    Terminated,
    TicketReceived,
)
from thing.trust.tickets import TicketKeys

WIDE = Capacity(RECORD_LIMIT, 1 << 20, 16384, 100)
"""What a side can take that is given much before it grants more."""

NARROW = Capacity(512, 576, 128, 0)
"""The least that a side can take."""

NEXT_CREDENTIAL = Ed25519Credential("the server's next")


def received(events: list[Event]) -> list[bytes]:
    """The application messages among the events."""
    return [event.data for event in only(MessageReceived, events)]


def names(messages: list[Message]) -> list[str]:
    """The messages' names."""
    return [type(message).__name__ for message in messages]


class DataTests(TestCase):
    """Application messages."""

    def test_anySize(self) -> None:
        """Messages of any size arrive whole and in order, in both directions."""
        sizes = [0, 1, 0, FRAGMENT_LIMIT - 1, FRAGMENT_LIMIT, FRAGMENT_LIMIT + 1, 200_000, 0]
        messages = [bytes((number,)) * size for number, size in enumerate(sizes)]
        for limit in (1, 20_000, PLENTY):
            client, server = establishedPair()
            for message in messages:
                client.sendMessage(message)
                server.sendMessage(message[::-1])
            told = pump(client, server, limit=limit)
            self.assertEqual(received(told.server), messages)
            self.assertEqual(received(told.client), messages)
            self.assertEqual((client.queued, server.queued), (0, 0))

    def test_chunks(self) -> None:
        """However the network cuts the octets, the messages are the same."""
        for chunk in (1, 2, 7, 1000):
            client, server = establishedPair()
            client.sendMessage(b"one")
            client.sendMessage(b"x" * 3000)
            self.assertEqual(
                received(pump(client, server, chunk=chunk).server), [b"one", b"x" * 3000]
            )

    def test_kinds(self) -> None:
        """What is sent is a copy: a buffer that changes afterwards changes nothing."""
        client, server = establishedPair()
        buffer = bytearray(b"before")
        client.sendMessage(buffer)  # type: ignore[arg-type]
        client.sendMessage(memoryview(b"view"))  # type: ignore[arg-type]
        buffer[:] = b"after!"
        self.assertEqual(received(pump(client, server).server), [b"before", b"view"])

    def test_longestMessage(self) -> None:
        """A message as long as the receiver's limit is taken, one octet more is refused."""
        limit = 3 * FRAGMENT_LIMIT
        for size, taken in ((limit, True), (limit + 1, False)):
            client, server = establishedPair(server=serverSettings(maxMessage=limit))
            client.sendMessage(bytes(size))
            told = pump(client, server)
            if taken:
                self.assertEqual(received(told.server), [bytes(size)])
                continue
            self.assertIs(ending(told.server).code, ErrorCode.MESSAGE_TOO_LONG)
            self.assertIs(ending(told.client).code, ErrorCode.MESSAGE_TOO_LONG)
            self.assertEqual(received(told.server), [])

    def test_memory(self) -> None:
        """A peer that never ends its message is stopped at the limit."""
        _, server = establishedPair(server=serverSettings(maxMessage=10 * FRAGMENT_LIMIT))
        for number in range(11):
            self.assertLessEqual(len(server._inbox._begun or b""), 10 * FRAGMENT_LIMIT)
            events = sendTo(server, CDT(MORE, 0, bytes(FRAGMENT_LIMIT)))
            self.assertEqual(bool(events), number == 10)
        self.assertIs(ending(events).code, ErrorCode.MESSAGE_TOO_LONG)
        self.assertIsNone(server._inbox._begun)

    def test_emptyLastFragment(self) -> None:
        """A message may end with an empty fragment."""
        _, server = establishedPair()
        events = sendTo(server, CDT(MORE, 0, b"all"), CDT(0, 0, b""), CDT(0, 0, b"next"))
        self.assertEqual(received(events), [b"all", b"next"])

    def test_flags(self) -> None:
        """Unknown flags, and a fragment that adds nothing but wants more, are refused."""
        for flags, data in ((4, b"x"), (3, b"x"), (0x80, b""), (MORE, b"")):
            for role in Role:
                client, server = establishedPair()
                side: Dialogue = client if role is Role.CLIENT else server
                message = SDT(flags, 0, data) if role is Role.CLIENT else CDT(flags, 0, data)
                self.assertIs(ending(sendTo(side, message)).code, ErrorCode.MALFORMED_MESSAGE)

    def test_full(self) -> None:
        """No more is queued than the limit says; the session goes on."""
        client, server = establishedPair(clientSettings(maxBuffered=1000))
        client.sendMessage(bytes(1000))
        error = self.assertRaises(LocalProtocolError, client.sendMessage, b"x")
        self.assertIs(error.code, ErrorCode.BUFFER_FULL)
        self.assertEqual(received(pump(client, server).server), [bytes(1000)])
        client.sendMessage(b"again")
        self.assertEqual(received(pump(client, server).server), [b"again"])

    def test_batches(self) -> None:
        """The transport is given about as much as it asked for, and nothing for nothing."""
        client, _ = establishedPair()
        client.sendMessage(bytes(10 * FRAGMENT_LIMIT))
        self.assertEqual(client.dataToSend(0.0, 0), b"")
        self.assertEqual(len(splitRecords(client.dataToSend(0.0, 1))), 1)
        self.assertLess(len(client.dataToSend(0.0, 40_000)), 40_000 + records.RECORD_LIMIT + 2)

    def test_stream(self) -> None:
        """As a stream, what came together is told as one, without a limit on a message."""
        client, server = establishedPair(
            server=serverSettings(stream=True, maxMessage=10, capacity=WIDE)
        )
        client.sendMessage(b"x" * (2 * FRAGMENT_LIMIT + 5))
        client.sendMessage(b"y")
        told = pump(client, server)
        self.assertEqual(received(told.server), [b"x" * (2 * FRAGMENT_LIMIT + 5) + b"y"])

    def test_streamInOrder(self) -> None:
        """What comes behind the stream's octets waits until the driver has dealt with them."""
        client, server = establishedPair(server=serverSettings(stream=True))
        for octets in (b"1", b"2"):
            client.sendMessage(octets)
        client.goodbye(0.0)
        events = server.receiveData(client.dataToSend(0.0, PLENTY), 0.0)
        self.assertEqual(next(events), MessageReceived(b"12"))
        self.assertIs(server.state, State.ESTABLISHED)
        self.assertTrue(server.sendMessage(b"the answer"))
        self.assertEqual(list(events), [GoodbyeReceived()])

    def test_streamBeforeError(self) -> None:
        """The stream's octets before a broken record are told before the end."""
        client, server = establishedPair(server=serverSettings(stream=True))
        client.sendMessage(b"12")
        data = client.dataToSend(0.0, PLENTY) + bytes((0, 0, 17)) + bytes(17)
        first, last = server.receiveData(data, 0.0)
        self.assertEqual(first, MessageReceived(b"12"))
        self.assertIs(ending([last]).code, ErrorCode.RECORD_UNREADABLE)

    def test_exhaustedHeader(self) -> None:
        """A record longer than what a side said that it takes is refused at its header."""
        for side in establishedPair(
            clientSettings(capacity=NARROW), serverSettings(capacity=NARROW)
        ):
            header = (NARROW.recordLimit + 1).to_bytes(HEADER_LENGTH, "big")
            self.assertIs(ending(side.receiveData(header, 0.0)).code, ErrorCode.RECORD_TOO_LONG)

    def test_emptyPlaintext(self) -> None:
        """A sealed record without even a type is refused."""
        for side in establishedPair():
            termination = ending(side.receiveData(recordFor(side, b""), 0.0))
            self.assertIs(termination.code, ErrorCode.RECORD_EMPTY)

    def test_replay(self) -> None:
        """A record that comes twice ends the session; nothing is delivered twice."""
        client, server = establishedPair()
        client.sendMessage(b"once")
        events = give(server, client.dataToSend(0.0, PLENTY) * 2, 0.0)
        self.assertEqual(received(events), [b"once"])
        self.assertIs(ending(events).code, ErrorCode.RECORD_UNREADABLE)


class HoldTests(TestCase):
    """An application that wants no data for a while."""

    def test_held(self) -> None:
        """Held data is told later, in order, and what comes meanwhile waits behind it."""
        client, server = establishedPair()
        server.hold()
        for message in (b"one", b"two"):
            client.sendMessage(message)
        self.assertEqual(received(pump(client, server).server), [])
        self.assertGreater(server.held, len(b"onetwo"))
        events = list(server.release(0.0))
        self.assertEqual(received(events), [b"one", b"two"])
        self.assertEqual(server.held, 0)
        client.sendMessage(b"three")
        self.assertEqual(received(pump(client, server).server), [b"three"])

    def test_heartbeatsGoOn(self) -> None:
        """Heartbeats and key updates are not held."""
        client, server = establishedPair()
        server.hold()
        client.sendMessage(b"data")
        pump(client, server)
        client.beat(1.0)
        client.updateKey(1.0)
        told = pump(client, server, 1.0)
        self.assertEqual(len(only(HeartbeatReceived, told.server)), 1)
        self.assertEqual(len(only(KeyUpdated, told.server)), 1)
        self.assertEqual(received(list(server.release(1.0))), [b"data"])

    def test_heldAgain(self) -> None:
        """An application that holds again after a message gets the rest later."""
        client, server = establishedPair()
        server.hold()
        for message in (b"one", b"two", b"three"):
            client.sendMessage(message)
        pump(client, server)
        got = []
        for event in server.release(0.0):
            got.append(event)
            server.hold()
        self.assertEqual(received(got), [b"one"])
        self.assertEqual(received(list(server.release(0.0))), [b"two", b"three"])

    def test_arrivesWhileReleased(self) -> None:
        """What comes while held data is being told waits its turn."""
        client, server = establishedPair()
        server.hold()
        for message in (b"one", b"two"):
            client.sendMessage(message)
        pump(client, server)
        got: list[Event] = []
        for event in server.release(0.0):
            got.append(event)
            if len(got) == 1:
                client.sendMessage(b"three")
                got += server.receiveData(client.dataToSend(0.0, PLENTY), 0.0)
        self.assertEqual(received(got), [b"one", b"two", b"three"])

    def test_goodbyeBehindData(self) -> None:
        """A goodbye waits behind the data that came before it, on both sides."""
        client, server = establishedPair()
        server.hold()
        client.hold()
        client.sendMessage(b"last of the client")
        server.sendMessage(b"last of the server")
        client.goodbye(0.0)
        told = pump(client, server)
        self.assertEqual(only(Terminated, told.client + told.server), [])
        self.assertEqual(received(list(server.release(0.0))), [b"last of the client"])
        told = pump(client, server)
        self.assertEqual(only(Terminated, told.client + told.server), [])
        events = list(client.release(0.0))
        self.assertEqual(received(events), [b"last of the server"])
        self.assertTrue(ending(events).clean)
        self.assertTrue(ending(pump(client, server).server).clean)

    def test_flatLineLosesNothing(self) -> None:
        """What the peer sent before it ended the session is told before the end."""
        client, server = establishedPair()
        client.hold()
        server.sendMessage(b"held")
        pump(client, server)
        events = sendTo(client, SFL(0, EndReason.SHUTDOWN))
        self.assertEqual(received(events), [b"held"])
        self.assertIs(ending(events).cause, Cause.FLAT_LINED)

    def test_brokenRuleKeepsTheOrder(self) -> None:
        """What was held when a rule was broken is told in the order in which it came."""
        for stream in (False, True):
            client, server = establishedPair(server=serverSettings(stream=stream))
            server.hold()
            client.sendMessage(b"ONE ")
            client.request(b"ASK")
            client.setLastWord(b"WORD")
            client.sendMessage(b"TWO ")
            client.sendMessage(b"THREE ")
            pump(client, server)
            client.sendMessage(b"x")
            events = give(server, flip(client.dataToSend(0.0, PLENTY), 20), 0.0)
            after = [MessageReceived(b"TWO "), MessageReceived(b"THREE ")]
            self.assertEqual(
                events[:-1],
                [
                    MessageReceived(b"ONE "),
                    RequestReceived(1, b"ASK"),
                    LastWordReceived(b"WORD"),
                    *([MessageReceived(b"TWO THREE ")] if stream else after),
                ],
            )
            self.assertIs(ending(events).code, ErrorCode.RECORD_UNREADABLE)
            self.assertEqual(server.held, 0)

    def test_nothingBehindGoodbye(self) -> None:
        """What a peer sends behind its goodbye is not told, however the session ends."""
        for release in (False, True):
            _, server = establishedPair()
            server.hold()
            self.assertEqual(sendTo(server, CDT(0, 0, b"held"), CGB(), CDT(0, 0, b"never")), [])
            events: list[Event] = []
            if release:
                for event in server.release(0.0):
                    events.append(event)
                    if isinstance(event, GoodbyeReceived):
                        server.hold()
            events += sendTo(server, CHR(ErrorCode.CLOSE_TIMEOUT))
            self.assertEqual(received(events), [b"held"])
            self.assertIs(ending(events).cause, Cause.ABORTED)

    def test_urgentBehindOctets(self) -> None:
        """What is not held waits for the octets before it, but not for held ones behind them."""
        client, server = establishedPair(server=serverSettings(stream=True))
        for octets in (b"1", b"2"):
            client.sendMessage(octets)
        data = client.dataToSend(0.0, PLENTY)
        client.beat(0.0)
        data += client.dataToSend(0.0, PLENTY)
        client.sendMessage(b"3")
        data += client.dataToSend(0.0, PLENTY)
        events = server.receiveData(data, 0.0)
        self.assertEqual(next(events), MessageReceived(b"12"))
        server.hold()
        self.assertEqual([type(event) for event in events], [HeartbeatReceived])
        self.assertEqual(received(list(server.release(0.0))), [b"3"])

    def test_truncationLosesNothing(self) -> None:
        """What came before the stream ended is told before the end."""
        client, server = establishedPair()
        server.hold()
        client.sendMessage(b"held")
        pump(client, server)
        events = server.receiveEnd(0.0)
        self.assertEqual(received(events), [b"held"])
        self.assertIs(ending(events).cause, Cause.TRUNCATED)

    def test_forgotten(self) -> None:
        """After this side's own end nothing held is told."""
        client, server = establishedPair()
        server.hold()
        client.sendMessage(b"held")
        pump(client, server)
        server.abort(0.0)
        self.assertEqual(server.held, 0)
        self.assertEqual(list(server.release(0.0)), [])


class KeyUpdateTests(TestCase):
    """Moving on to the next traffic key."""

    def test_onDemand(self) -> None:
        """Either side moves its own key on, again and again; data goes on under the new one."""
        client, server = establishedPair()
        for generation in (1, 2, 3):
            for side, other in ((client, server), (server, client)):
                side.sendMessage(b"old")
                pump(client, server)
                side.updateKey(0.0)
                side.sendMessage(b"new")
                told = pump(client, server).by(other.role)
                self.assertEqual(told, [KeyUpdated(generation), MessageReceived(b"new")])

    def test_unusedKey(self) -> None:
        """A key that nothing was sealed with is not updated."""
        client, server = establishedPair()
        client.updateKey(0.0)
        self.assertFalse(client.hasDataToSend)
        client.sendMessage(b"x")
        pump(client, server)
        client.updateKey(0.0)
        client.updateKey(0.0)
        told = pump(client, server)
        self.assertEqual(told.server, [KeyUpdated(1)])

    def test_byRecords(self) -> None:
        """A key is updated by itself when half of its records are used; nothing is lost."""
        messages = [bytes((number,)) for number in range(50)]
        with mock.patch.object(records, "MAX_RECORDS", 16):
            client, server = establishedPair()
            for message in messages:
                client.sendMessage(message)
                server.sendMessage(message)
            told = pump(client, server)
        self.assertEqual(received(told.server), messages)
        self.assertEqual(received(told.client), messages)
        self.assertEqual(len(only(KeyUpdated, told.server)), 6)

    def test_byBytes(self) -> None:
        """A key is updated by itself when half of its octets are used."""
        with mock.patch.object(records, "MAX_BYTES", 4 * FRAGMENT_LIMIT):
            client, server = establishedPair()
            client.sendMessage(bytes(20 * FRAGMENT_LIMIT))
            told = pump(client, server)
        self.assertEqual(received(told.server), [bytes(20 * FRAGMENT_LIMIT)])
        self.assertGreaterEqual(len(only(KeyUpdated, told.server)), 6)

    def test_byAge(self) -> None:
        """A key is updated by itself after half an hour, with what is sent next."""
        client, server = establishedPair(grant=lambda requested: 7200.0)
        client.sendMessage(b"x")
        self.assertEqual(only(KeyUpdated, pump(client, server, 1799.0).server), [])
        client.sendMessage(b"x")
        self.assertEqual(only(KeyUpdated, pump(client, server, 1801.0).server), [KeyUpdated(1)])

    def test_byAgeAfterDemand(self) -> None:
        """A key that was updated and never used since is not updated again by its age."""
        ttl = TtlPolicy(default=7200.0, maximum=7200.0)
        client, server = establishedPair(server=serverSettings(ttl=ttl))
        for side in (client, server):
            side.sendMessage(b"x")
            pump(client, server)
            side.updateKey(1.0)
            pump(client, server, 1.0)
        client.beat(2400.0)
        told = pump(client, server, 2400.0)
        self.assertEqual(only(Terminated, told.client + told.server), [])
        self.assertEqual(len(only(HeartbeatReceived, told.server)), 1)

    def test_repeated(self) -> None:
        """An update right after another is refused: it would cost the receiver for nothing."""
        for role, update in ((Role.SERVER, CKU()), (Role.CLIENT, SKU())):
            pair = establishedPair()
            side: Dialogue = pair[0] if role is Role.CLIENT else pair[1]
            self.assertEqual(sendTo(side, update), [KeyUpdated(1)])
            termination = ending(sendTo(side, update))
            self.assertIs(termination.code, ErrorCode.KEY_UPDATE_REPEATED)

    def test_withBody(self) -> None:
        """An update says nothing else."""
        _, server = establishedPair()
        record = recordFor(server, bytes((MessageType.CKU,)) + b"x")
        termination = ending(server.receiveData(record, 0.0))
        self.assertIs(termination.code, ErrorCode.MALFORMED_MESSAGE)

    def test_withinMessage(self) -> None:
        """A key may change in the middle of a message."""
        client, server = establishedPair()
        client.sendMessage(bytes(3 * FRAGMENT_LIMIT))
        told = [*give(server, client.dataToSend(0.0, 1), 0.0)]
        client.updateKey(0.0)
        told += pump(client, server).server
        self.assertEqual(received(told), [bytes(3 * FRAGMENT_LIMIT)])

    def test_forwardOnly(self) -> None:
        """After an update the key before it is gone from memory."""
        client, server = establishedPair()
        assert client._writer.key is not None
        before = client._writer.key._secret
        client.sendMessage(b"x")
        pump(client, server)
        client.updateKey(0.0)
        pump(client, server)
        for side in (client, server):
            for key in (side._writer.key, side._reader.key):
                assert key is not None
                self.assertNotEqual(key._secret, before)

    def test_wrongState(self) -> None:
        """Before and after the session there is no key to update."""
        client, server = makePair()
        self.assertRaises(LocalProtocolError, client.updateKey, 0.0)
        pump(client, server)
        client.abort(0.0)
        self.assertRaises(LocalProtocolError, client.updateKey, 0.0)

    def test_pastTheLimit(self) -> None:
        """A peer that never updates its key is refused at the limit."""
        _, server = establishedPair()
        with mock.patch.object(records, "MAX_RECORDS", 5):
            events: list[Event] = []
            for _ in range(6):
                events += sendTo(server, CDT(0, 0, b"x"))
        self.assertEqual(len(received(events)), 5)
        self.assertIs(ending(events).code, ErrorCode.KEY_EXHAUSTED)


class ExporterTests(TestCase):
    """Keying material for the application."""

    def test_equal(self) -> None:
        """Both sides export the same octets for the same label, context and length."""
        client, server = establishedPair()
        for label, context, length in (("a", b"", 1), ("a", b"x", 32), ("b" * 128, b"", 8160)):
            ours = client.exportKeyingMaterial(label, context, length)
            self.assertEqual(ours, server.exportKeyingMaterial(label, context, length))
            self.assertEqual(len(ours), length)

    def test_separate(self) -> None:
        """Another label, context, length or session gives unrelated octets."""
        client, _ = establishedPair()
        other, _ = establishedPair(clientSettings(random=lambda count: b"\x11" * count))
        exported = {
            side.exportKeyingMaterial(label, context, length)[:16]
            for side in (client, other)
            for label in ("a", "b")
            for context in (b"", b"c")
            for length in (32, 33)
        }
        self.assertEqual(len(exported), 16)

    def test_survivesUpdates(self) -> None:
        """Key updates do not change what is exported."""
        client, server = establishedPair()
        before = client.exportKeyingMaterial("a", b"", 32)
        client.sendMessage(b"x")
        pump(client, server)
        client.updateKey(0.0)
        self.assertEqual(pump(client, server).server, [KeyUpdated(1)])
        self.assertEqual(client.exportKeyingMaterial("a", b"", 32), before)
        self.assertEqual(server.exportKeyingMaterial("a", b"", 32), before)

    def test_bounds(self) -> None:
        """Labels and lengths out of bounds are refused."""
        client, _ = establishedPair()
        for label, length in (("", 32), ("é", 32), ("x" * 129, 32), ("a", 0), ("a", 8161)):
            error = self.assertRaises(
                LocalProtocolError, client.exportKeyingMaterial, label, b"", length
            )
            self.assertIs(error.code, ErrorCode.BAD_ARGUMENT)

    def test_wrongState(self) -> None:
        """Before and after the session nothing is exported."""
        client, server = makePair()
        for _ in range(2):
            error = self.assertRaises(LocalProtocolError, client.exportKeyingMaterial, "a", b"", 32)
            self.assertIs(error.code, ErrorCode.WRONG_STATE)
            pump(client, server)
            client.abort(0.0)


class NextKeyTests(TestCase):
    """The server's next key, announced."""

    def test_announced(self) -> None:
        """A server with a next key announces it in each session, signed by both keys."""
        client, server = makePair(server=serverSettings(nextCredential=NEXT_CREDENTIAL))
        told = pump(client, server)
        (announced,) = only(KeysAnnounced, told.client)
        self.assertEqual(announced.current.publicKey, SERVER_CREDENTIAL.data)
        self.assertEqual(announced.following.publicKey, NEXT_CREDENTIAL.data)
        self.assertIsNotNone(client.session)

    def test_noOther(self) -> None:
        """A server without a next key says that no other holds."""
        client, server = makePair()
        (announced,) = only(KeysAnnounced, pump(client, server).client)
        self.assertEqual(announced.current.publicKey, SERVER_CREDENTIAL.data)
        self.assertIsNone(announced.following)

    def due(self) -> ClientConnection:
        """A client that was told of one more key, which was not announced yet."""
        self.patch(ServerConnection, "_announceNextKey", lambda *_: None)
        client, server = makePair(server=serverSettings(nextCredential=NEXT_CREDENTIAL))
        self.assertEqual(only(KeysAnnounced, pump(client, server).client), [])
        return client

    def test_once(self) -> None:
        """A second announcement is refused: each costs the client two checks and a file."""
        client = self.due()
        assert client.session is not None
        announcement = nextKeyMessage(client.session, SERVER_CREDENTIAL, NEXT_CREDENTIAL)
        events = sendTo(client, announcement, announcement)
        self.assertEqual(len(only(KeysAnnounced, events)), 1)
        self.assertIs(ending(events).code, ErrorCode.UNEXPECTED_MESSAGE)

    def test_notDue(self) -> None:
        """Who has said that no other key holds announces none."""
        client, _ = establishedPair()
        assert client.session is not None
        events = sendTo(client, nextKeyMessage(client.session, SERVER_CREDENTIAL, NEXT_CREDENTIAL))
        self.assertIs(ending(events).code, ErrorCode.UNEXPECTED_MESSAGE)
        self.assertEqual(only(KeysAnnounced, events), [])

    def test_refused(self) -> None:
        """An announcement that one of the two keys did not sign for this session is refused."""
        other = Ed25519Credential("another")
        stranger, _ = establishedPair(clientSettings(random=lambda count: b"\x11" * count))
        client = self.due()
        assert client.session is not None and stranger.session is not None
        good = nextKeyMessage(client.session, SERVER_CREDENTIAL, NEXT_CREDENTIAL)
        replayed = nextKeyMessage(stranger.session, SERVER_CREDENTIAL, NEXT_CREDENTIAL)
        unsigned = nextKeyMessage(client.session, other, NEXT_CREDENTIAL)
        unowned = replace(good, credential=other.data)
        swapped = replace(good, signature=good.nextSignature, nextSignature=good.signature)
        half = replace(good, signature=good.nextSignature)
        otherHalf = replace(good, nextSignature=good.signature)
        for bad in (replayed, unsigned, unowned, swapped, half, otherHalf):
            client = self.due()
            events = sendTo(client, bad)
            self.assertIs(ending(events).code, ErrorCode.BAD_SIGNATURE)
            self.assertEqual(only(KeysAnnounced, events), [])
        client = self.due()
        self.assertEqual(len(only(KeysAnnounced, sendTo(client, good))), 1)

    def test_none(self) -> None:
        """Nobody's key is no next key."""
        client = self.due()
        assert client.session is not None
        good = nextKeyMessage(client.session, SERVER_CREDENTIAL, NEXT_CREDENTIAL)
        nobody = replace(good, credentialKind=0, credential=b"", nextScheme=0, nextSignature=b"")
        self.assertIs(ending(sendTo(client, nobody)).code, ErrorCode.BAD_CREDENTIAL)


class GoodbyeTests(TestCase):
    """Endings that the client begins."""

    def test_threeSteps(self) -> None:
        """A goodbye is CGB, SGB, CFL, and clean on both sides."""
        client, server = establishedPair()
        listeners = Eavesdropper(client), Eavesdropper(server)
        client.goodbye(0.0)
        first = client.dataToSend(0.0, PLENTY)
        give(server, first, 0.0)
        second = server.dataToSend(0.0, PLENTY)
        self.assertIs(server.state, State.AWAIT_CFL)
        atClient = give(client, second, 0.0)
        third = client.dataToSend(0.0, PLENTY)
        atServer = give(server, third, 0.0)
        self.assertEqual(names(listeners[0].read(first + third)), ["CGB", "CFL"])
        self.assertEqual(names(listeners[1].read(second)), ["SGB"])
        for events in (atClient, atServer):
            termination = ending(events)
            self.assertIs(termination.cause, Cause.GOODBYE)
            self.assertTrue(termination.clean)

    def test_nothingIsLost(self) -> None:
        """All that either side sent before its goodbye arrives, however slow the transport."""
        for limit in (1, 5000, PLENTY):
            client, server = establishedPair()
            client.sendMessage(bytes(100_000))
            server.sendMessage(bytes(150_000))
            client.goodbye(0.0)
            told = pump(client, server, limit=limit)
            self.assertEqual(received(told.server), [bytes(100_000)])
            self.assertEqual(received(told.client), [bytes(150_000)])
            self.assertTrue(ending(told.client).clean)
            self.assertTrue(ending(told.server).clean)

    def test_twice(self) -> None:
        """A second goodbye changes nothing, and does not put the deadline off."""
        client, _ = establishedPair()
        client.goodbye(0.0)
        client.goodbye(20.0)
        self.assertEqual(client._liveness.next(False), 30.0)
        self.assertEqual(names(Eavesdropper(client).read(client.dataToSend(20.0, PLENTY))), ["CGB"])
        client.goodbye(21.0)
        self.assertFalse(client.hasDataToSend)

    def test_noDataAfter(self) -> None:
        """After a goodbye what either side still sends is dropped, and it is told so."""
        client, server = establishedPair()
        client.goodbye(0.0)
        events = give(server, client.dataToSend(0.0, PLENTY), 0.0)
        self.assertEqual(events, [GoodbyeReceived()])
        for side in (client, server):
            self.assertFalse(side.sendMessage(b"late"))
            self.assertEqual(side.queued, 0)

    def test_insideMessage(self) -> None:
        """A goodbye in the middle of a message is refused, on both sides."""
        client, server = establishedPair()
        events = sendTo(server, CDT(MORE, 0, b"half"), CGB())
        self.assertIs(ending(events).code, ErrorCode.MALFORMED_MESSAGE)
        client.goodbye(0.0)
        client.dataToSend(0.0, PLENTY)
        events = sendTo(client, SDT(MORE, 0, b"half"), SGB())
        self.assertIs(ending(events).code, ErrorCode.MALFORMED_MESSAGE)

    def test_insideStream(self) -> None:
        """As a stream, too, a goodbye does not come in the middle of a message."""
        _, server = establishedPair(server=serverSettings(stream=True))
        events = sendTo(server, CDT(MORE, 0, b"half"), CGB())
        self.assertIs(ending(events).code, ErrorCode.MALFORMED_MESSAGE)

    def test_heartbeatsGoOn(self) -> None:
        """While a close takes its time, heartbeats keep it alive."""
        client, server = establishedPair(
            clientSettings(closeTimeout=1000.0), serverSettings(closeTimeout=1000.0)
        )
        server.sendMessage(bytes(400_000))
        client.goodbye(0.0)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        for now in range(10, 200, 10):
            self.assertEqual(len(only(HeartbeatSent, client.handleTimer(now))), 1)
            give(server, client.dataToSend(now, PLENTY), now)
            give(client, server.dataToSend(now, 16_000), now)
            for side in (client, server):
                self.assertEqual(side.handleTimer(now), [])
        told = pump(client, server, 199.0)
        self.assertTrue(ending(told.client).clean)

    def test_closeTimeouts(self) -> None:
        """In each closing state a peer that does not answer costs no more than the deadline."""
        for state in (State.LEAVING, State.AWAIT_SGB, State.CLOSING, State.AWAIT_CFL):
            client, server = establishedPair(
                clientSettings(closeTimeout=5.0), serverSettings(closeTimeout=7.0)
            )
            side: Dialogue = client
            client.goodbye(1.0)
            timeout = 5.0
            if state is not State.LEAVING:
                data = client.dataToSend(1.0, PLENTY)
                if state is not State.AWAIT_SGB:
                    side, timeout = server, 7.0
                    give(server, data, 1.0)
                    if state is State.AWAIT_CFL:
                        server.dataToSend(1.0, PLENTY)
            self.assertIs(side.state, state)
            told = runTimers(side, 1.0, 100.0)
            ((when, event),) = (each for each in told if not isinstance(each[1], HeartbeatSent))
            self.assertEqual(when, 1.0 + timeout)
            termination = ending([event])
            self.assertEqual(
                (termination.cause, termination.code), (Cause.ABORTED, ErrorCode.CLOSE_TIMEOUT)
            )
            self.assertFalse(termination.clean)
            self.assertIn(state.value, termination.detail)

    def test_stuckTransport(self) -> None:
        """A client whose transport takes nothing gives up all the same."""
        client, _ = establishedPair()
        client.sendMessage(bytes(1 << 20))
        client.goodbye(0.0)
        told = runTimers(client, 0.0, 100.0)
        self.assertEqual(told[-1][0], 30.0)
        self.assertEqual(client.queued, 0)

    def test_truncated(self) -> None:
        """A stream that ends before the final word is truncated, in each closing state."""
        for cut in ("client", "server"):
            client, server = establishedPair()
            client.goodbye(0.0)
            give(server, client.dataToSend(0.0, PLENTY), 0.0)
            data = server.dataToSend(0.0, PLENTY)
            if cut == "client":
                self.assertIs(ending(client.receiveEnd(0.0)).cause, Cause.TRUNCATED)
            else:
                self.assertTrue(ending(give(client, data, 0.0)).clean)
                self.assertIs(ending(server.receiveEnd(0.0)).cause, Cause.TRUNCATED)

    def test_halfRecord(self) -> None:
        """A stream that ends inside a record is truncated; the half is not delivered."""
        client, server = establishedPair()
        client.sendMessage(b"whole")
        client.sendMessage(b"half")
        events = give(server, client.dataToSend(0.0, PLENTY)[:-1], 0.0)
        self.assertEqual(received(events), [b"whole"])
        self.assertIs(ending(server.receiveEnd(0.0)).cause, Cause.TRUNCATED)

    def test_endAfterEnd(self) -> None:
        """After a clean end the stream's own end is no event."""
        client, server = establishedPair()
        client.goodbye(0.0)
        pump(client, server)
        for side in (client, server):
            self.assertEqual(side.receiveEnd(0.0), [])
            assert side.termination is not None
            self.assertTrue(side.termination.clean)

    def test_wrongState(self) -> None:
        """There is no goodbye before the session is up, nor after its end."""
        client, _ = makePair()
        self.assertRaises(LocalProtocolError, client.goodbye, 0.0)
        client.abort(0.0)
        self.assertRaises(LocalProtocolError, client.goodbye, 0.0)


class GoAwayTests(TestCase):
    """Endings that the server begins."""

    def test_heeded(self) -> None:
        """A client that is asked to leave says goodbye; nothing is lost."""
        client, server = establishedPair()
        client.sendMessage(b"from the client")
        server.sendMessage(b"from the server")
        server.goAway(EndReason.SHUTDOWN, 0.0, grace=10.0, retryAfter=60.0)
        told = pump(client, server)
        self.assertEqual(only(GoingAway, told.client), [GoingAway(EndReason.SHUTDOWN, 60.0, 10.0)])
        self.assertEqual(received(told.server), [b"from the client"])
        self.assertEqual(received(told.client), [b"from the server"])
        self.assertTrue(ending(told.client).clean)
        self.assertEqual(
            (ending(told.server).cause, ending(told.server).reason),
            (Cause.GOODBYE, EndReason.SHUTDOWN),
        )

    def test_serverMayStillWrite(self) -> None:
        """Until the client says goodbye the server may still send."""
        client, server = establishedPair()
        server.goAway(EndReason.CLOSING, 0.0, grace=10.0)
        server.sendMessage(b"one more thing")
        self.assertEqual(received(pump(client, server).client), [b"one more thing"])

    def test_ignored(self) -> None:
        """A client that beats on but does not leave is flat-lined after the grace."""
        client, server = establishedPair()
        server.goAway(EndReason.OVERLOADED, 0.0, grace=10.0, retryAfter=60.0)
        server.dataToSend(0.0, PLENTY)  # The client never hears of it.
        client.beat(1.0)
        events = give(server, client.dataToSend(1.0, PLENTY), 1.0)
        self.assertEqual(only(HeartbeatReceived, events), [])
        self.assertFalse(server.hasDataToSend)
        listener = Eavesdropper(server)
        told = runTimers(server, 1.0, 100.0)
        self.assertEqual(told[-1][0], 10.0)
        self.assertEqual(
            listener.read(server.dataToSend(10.0, 0)), [SFL(1, EndReason.OVERLOADED, 60_000)]
        )
        assert server.termination is not None
        self.assertIs(server.termination.reason, EndReason.OVERLOADED)

    def test_notLate(self) -> None:
        """A client whose beats are no longer counted is not called late for it."""
        client, server = establishedPair()
        server.goAway(EndReason.SHUTDOWN, 0.0, grace=30.0)
        server.dataToSend(0.0, PLENTY)
        client.beat(10.0)
        give(server, client.dataToSend(10.0, PLENTY), 10.0)
        told = runTimers(server, 10.0, 29.0)
        self.assertEqual(only(HeartbeatLate, [event for _, event in told]), [])

    def test_graceIsWithinTtl(self) -> None:
        """The grace is never longer than the time that the client had anyway."""
        _, server = establishedPair()
        server.goAway(EndReason.SHUTDOWN, 10.0, grace=1000.0)
        (sga,) = Eavesdropper(server).read(server.dataToSend(10.0, PLENTY))
        self.assertEqual(sga, SGA(EndReason.SHUTDOWN, 0, 20_000))

    def test_graceWhileHeld(self) -> None:
        """Data that are held do not make the grace longer than announced, nor the end another."""
        client, server = establishedPair()
        server.hold()
        client.sendMessage(b"held")
        pump(client, server)
        server.goAway(EndReason.SHUTDOWN, 5.0, grace=1.0)
        told = runTimers(server, 5.0, 100.0)
        self.assertEqual(told[-1][0], 6.0)
        self.assertEqual(received([event for _, event in told]), [b"held"])
        self.assertIs(ending(event for _, event in told).cause, Cause.FLAT_LINED)

    def test_twice(self) -> None:
        """A second request for later changes nothing: neither the grace nor the reason."""
        _, server = establishedPair()
        server.goAway(EndReason.SHUTDOWN, 0.0, grace=5.0)
        server.goAway(EndReason.CLOSING, 1.0, grace=50.0)
        (told,) = Eavesdropper(server).read(server.dataToSend(1.0, PLENTY))
        self.assertEqual(told, SGA(EndReason.SHUTDOWN, 0, 5000))
        ended = runTimers(server, 1.0, 100.0)
        self.assertEqual(ended[-1][0], 5.0)
        assert server.termination is not None
        self.assertIs(server.termination.reason, EndReason.SHUTDOWN)

    def test_sooner(self) -> None:
        """A second request for sooner makes the grace shorter; the end has its reason."""
        _, server = establishedPair()
        listener = Eavesdropper(server)
        server.goAway(EndReason.SHUTDOWN, 0.0, grace=20.0, retryAfter=60.0)
        server.goAway(EndReason.REPLACED, 1.0, grace=2.0, retryAfter=7.0)
        (told,) = listener.read(server.dataToSend(1.0, PLENTY))
        self.assertEqual(told, SGA(EndReason.SHUTDOWN, 60_000, 20_000))
        ended = runTimers(server, 1.0, 100.0)
        self.assertEqual(ended[-1][0], 3.0)
        self.assertEqual(
            listener.read(server.dataToSend(3.0, 0)), [SFL(0, EndReason.REPLACED, 7000)]
        )

    def closing(self, asked: EndReason | None = None) -> ServerConnection:
        """A server that has a client's goodbye, and cannot get rid of its own data."""
        client, server = establishedPair()
        server.sendMessage(bytes(200_000))
        if asked is not None:
            server.goAway(asked, 0.0, grace=2.0)
        client.goodbye(0.0)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        self.assertIs(server.state, State.CLOSING)
        return server

    def endOf(self, server: ServerConnection, now: float) -> tuple[float, Cause, Any]:
        """When and how a session ends by itself."""
        at, event = runTimers(server, now, 100.0)[-1]
        assert isinstance(event, Terminated)
        return at, event.termination.cause, event.termination.reason

    def test_soonerAfterGoodbye(self) -> None:
        """Who has said goodbye has the time of the close, whoever wants it to leave sooner."""
        server = self.closing()
        server.goAway(EndReason.SHUTDOWN, 1.0, grace=2.0)
        self.assertEqual(self.endOf(server, 1.0), (30.0, Cause.ABORTED, None))

    def test_revoked(self) -> None:
        """Who is revoked is gone when the grace is over, whatever was asked and said before."""
        flatLined = Cause.FLAT_LINED, EndReason.REVOKED
        _, server = establishedPair()
        server.goAway(EndReason.SHUTDOWN, 0.0, grace=20.0)
        server.goAway(EndReason.REVOKED, 1.0, grace=2.0)
        server.goAway(EndReason.CLOSING, 1.0, grace=1.5)
        self.assertEqual(self.endOf(server, 1.0), (2.5, *flatLined))
        server = self.closing()
        server.goAway(EndReason.REVOKED, 1.0, grace=2.0)
        self.assertEqual(self.endOf(server, 1.0), (3.0, *flatLined))
        self.assertEqual(self.endOf(self.closing(EndReason.REVOKED), 0.0), (2.0, *flatLined))

    def test_expired(self) -> None:
        """Whose credential has expired is gone when the grace is over, too."""
        server = self.closing()
        server.goAway(EndReason.EXPIRED, 1.0, grace=2.0)
        self.assertEqual(self.endOf(server, 1.0), (3.0, Cause.FLAT_LINED, EndReason.EXPIRED))

    def test_revokedSoon(self) -> None:
        """Who is to leave sooner than who is revoked is told at its end that it is revoked."""
        _, server = establishedPair()
        server.goAway(EndReason.REPLACED, 0.0, grace=1.0)
        server.goAway(EndReason.REVOKED, 0.5, grace=2.0)
        self.assertEqual(self.endOf(server, 0.5), (1.0, Cause.FLAT_LINED, EndReason.REVOKED))

    def test_revokedAtTheEnd(self) -> None:
        """Who has the goodbye of a server is not waited for longer, if it is revoked."""
        client, server = establishedPair()
        client.goodbye(0.0)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        server.dataToSend(0.0, PLENTY)
        self.assertIs(server.state, State.AWAIT_CFL)
        server.goAway(EndReason.REVOKED, 1.0, grace=2.0)
        self.assertEqual(self.endOf(server, 1.0), (3.0, Cause.ABORTED, None))

    def test_unknownReason(self) -> None:
        """A reason from the future is kept as its number."""
        client, _ = establishedPair()
        (going,) = only(GoingAway, sendTo(client, SGA(999, 0, 1000)))
        self.assertEqual(going.reason, 999)

    def test_crossesGoodbye(self) -> None:
        """A request that crosses a goodbye ends as cleanly as either alone."""
        client, server = establishedPair()
        client.sendMessage(b"data")
        client.goodbye(0.0)
        fromClient = client.dataToSend(0.0, PLENTY)
        server.goAway(EndReason.SHUTDOWN, 0.0, grace=5.0)
        fromServer = server.dataToSend(0.0, PLENTY)
        atServer = give(server, fromClient, 0.0)
        atClient = give(client, fromServer, 0.0)
        told = pump(client, server)
        self.assertTrue(ending(atClient + told.client).clean)
        self.assertTrue(ending(atServer + told.server).clean)
        self.assertEqual(received(atServer), [b"data"])

    def test_goodbyeThenRequest(self) -> None:
        """A request to a client that has already said goodbye is not even sent."""
        client, server = establishedPair()
        client.goodbye(0.0)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        server.goAway(EndReason.SHUTDOWN, 0.0, grace=5.0)
        self.assertEqual(names(Eavesdropper(server).read(server.dataToSend(0.0, PLENTY))), ["SGB"])

    def heldGoodbye(self) -> tuple[ClientConnection, ServerConnection]:
        """A server whose program has not taken what is in front of the client's goodbye."""
        client, server = establishedPair()
        server.hold()
        client.sendMessage(b"held")
        client.goodbye(0.0)
        give(server, client.dataToSend(0.0, PLENTY), 0.0)
        self.assertIs(server.state, State.ESTABLISHED)
        return client, server

    def test_heldGoodbyeThenRequest(self) -> None:
        """Nor is one to a client whose goodbye waits; it beats on, and the close has its time."""
        client, server = self.heldGoodbye()
        server.goAway(EndReason.SHUTDOWN, 1.0, grace=2.0)
        self.assertEqual(server.dataToSend(1.0, PLENTY), b"")
        client.beat(4.0)
        give(server, client.dataToSend(4.0, PLENTY), 4.0)
        acknowledged = give(client, server.dataToSend(4.0, PLENTY), 4.0)
        self.assertEqual(len(only(HeartbeatAcknowledged, acknowledged)), 1)
        server.goAway(EndReason.SHUTDOWN, 5.0, grace=2.0)
        told = list(server.release(30.0))
        self.assertEqual(received(told), [b"held"])
        self.assertTrue(ending(told + pump(client, server, 30.0).server).clean)

    def test_heldGoodbyeForEver(self) -> None:
        """What is held is not waited for longer than any close, and of the revoked not so long."""
        client, server = self.heldGoodbye()
        server.goAway(EndReason.SHUTDOWN, 1.0, grace=2.0)
        client.beat(20.0)
        give(server, client.dataToSend(20.0, PLENTY), 20.0)
        self.assertEqual(self.endOf(server, 20.0), (31.0, Cause.ABORTED, None))
        _, server = self.heldGoodbye()
        server.goAway(EndReason.SHUTDOWN, 1.0, grace=2.0)
        server.goAway(EndReason.REVOKED, 1.0, grace=2.0)
        self.assertEqual(server.dataToSend(1.0, PLENTY), b"")
        self.assertEqual(self.endOf(server, 1.0), (3.0, Cause.FLAT_LINED, EndReason.REVOKED))

    def test_heededSlowly(self) -> None:
        """Once the client has said goodbye, the close has its own time: the grace is over."""
        client, server = establishedPair()
        server.sendMessage(bytes(200_000))
        server.goAway(EndReason.SHUTDOWN, 0.0, grace=1.0)
        give(client, server.dataToSend(0.0, 1), 0.0)
        give(server, client.dataToSend(0.5, PLENTY), 0.5)
        self.assertIs(server.state, State.CLOSING)
        self.assertEqual(runTimers(server, 0.5, 20.0), [])
        self.assertTrue(ending(pump(client, server, 20.0).server).clean)

    def test_wrongState(self) -> None:
        """Nobody is asked to leave before the session is up, nor after its end."""
        _, server = makePair()
        self.assertRaises(LocalProtocolError, server.goAway, EndReason.SHUTDOWN, 0.0, 1.0)
        server.abort(0.0)
        self.assertRaises(LocalProtocolError, server.goAway, EndReason.SHUTDOWN, 0.0, 1.0)


class FlatLineTests(TestCase):
    """SFL, from the client's side."""

    def test_inEachState(self) -> None:
        """A flat line ends the session whatever the client is about to do."""
        for state in (State.ESTABLISHED, State.LEAVING, State.AWAIT_SGB):
            client, _ = establishedPair()
            if state is not State.ESTABLISHED:
                client.sendMessage(b"never sent")
                client.goodbye(0.0)
            if state is State.AWAIT_SGB:
                client.dataToSend(0.0, PLENTY)
            self.assertIs(client.state, state)
            termination = ending(sendTo(client, SFL(7, EndReason.REPLACED, 5000)))
            self.assertIs(termination.cause, Cause.FLAT_LINED)
            self.assertEqual(
                (termination.reason, termination.retryAfter, termination.lastHeartbeat),
                (EndReason.REPLACED, 5.0, 7),
            )
            self.assertEqual(client.dataToSend(0.0, PLENTY), b"")

    def test_crossesGoodbye(self) -> None:
        """A goodbye that crosses a flat line is too late: both sides call it a flat line."""
        client, server = establishedPair()
        client.goodbye(29.0)
        goodbye = client.dataToSend(29.0, PLENTY)
        ours = ending(event for _, event in runTimers(server, 0.0, 31.0))
        self.assertEqual(give(server, goodbye, 31.0), [])
        theirs = ending(give(client, server.dataToSend(31.0, 0), 31.0))
        self.assertEqual((ours.cause, theirs.cause), (Cause.FLAT_LINED, Cause.FLAT_LINED))

    def test_afterTheEnd(self) -> None:
        """A session that the server has flat-lined hears nothing any more."""
        client, server = establishedPair()
        runTimers(server, 0.0, 100.0)
        client.beat(31.0)
        client.sendMessage(b"late")
        self.assertEqual(give(server, client.dataToSend(31.0, PLENTY), 31.0), [])
        self.assertEqual(len(splitRecords(server.dataToSend(31.0, PLENTY))), 1)

    def test_dropsWhatWaits(self) -> None:
        """A flat line does not wait behind queued data."""
        _, server = establishedPair()
        server.sendMessage(bytes(1 << 20))
        runTimers(server, 0.0, 100.0)
        self.assertEqual(len(splitRecords(server.dataToSend(31.0, PLENTY))), 1)


class RejectTests(TestCase):
    """Errors and refusals inside a session."""

    def test_error(self) -> None:
        """A peer that breaks a rule is told which; both know that it was an error."""
        client, server = establishedPair()
        client.sendMessage(bytes(1 << 20))
        server.sendMessage(b"never sent")
        ours = ending(sendTo(server, CFL()))
        self.assertEqual((ours.cause, ours.byPeer), (Cause.PROTOCOL_ERROR, False))
        theirs = ending(give(client, server.dataToSend(0.0, 0), 0.0))
        self.assertEqual((theirs.cause, theirs.byPeer), (Cause.PROTOCOL_ERROR, True))
        self.assertIs(theirs.code, ErrorCode.UNEXPECTED_MESSAGE)
        self.assertEqual(client.queued, 0)

    def test_byTheProgram(self) -> None:
        """A session that a program ends for its own reasons is aborted, and both say so."""
        for code in (ErrorCode.INTERNAL_ERROR, ErrorCode.ABORTED, ErrorCode.NOT_AUTHORIZED):
            client, server = establishedPair()
            ours = ending(server.reject(code, 0.0, "for the log", 5.0))
            theirs = ending(give(client, server.dataToSend(0.0, 0), 0.0))
            self.assertEqual((ours.cause, ours.code), (Cause.ABORTED, code))
            self.assertEqual((theirs.cause, theirs.code), (Cause.ABORTED, code))
            self.assertEqual((theirs.byPeer, theirs.retryAfter), (True, 5.0))
            self.assertNotIn("for the log", str(theirs))

    def test_twice(self) -> None:
        """A session ends once: what comes after the end is no event and no word."""
        _, server = establishedPair()
        server.reject(ErrorCode.ABORTED, 0.0)
        first = server.termination
        self.assertEqual(server.reject(ErrorCode.INTERNAL_ERROR, 0.0), [])
        self.assertEqual(server.abort(0.0), [])
        self.assertIs(server.termination, first)
        self.assertEqual(len(splitRecords(server.dataToSend(0.0, PLENTY))), 1)

    def test_unreadable(self) -> None:
        """A record that does not decrypt ends the session; nothing is delivered from it."""
        client, server = establishedPair()
        client.sendMessage(b"data")
        data = bytearray(client.dataToSend(0.0, PLENTY))
        data[-1] ^= 1
        events = give(server, bytes(data), 0.0)
        self.assertEqual(received(events), [])
        self.assertIs(ending(events).code, ErrorCode.RECORD_UNREADABLE)

    def test_malformedBodies(self) -> None:
        """Each message with octets too many is refused, in the state where it is legal."""
        for message in (b"\x10" + bytes(11), b"\x20x", b"\x50\0", b"\x10" + bytes(13)):
            _, server = establishedPair()
            termination = ending(server.receiveData(recordFor(server, message), 0.0))
            self.assertIs(termination.code, ErrorCode.MALFORMED_MESSAGE)

    def test_rejectBothWays(self) -> None:
        """A reject is told to the program on either side."""
        client, server = establishedPair()
        for side, message in ((client, SHR(ErrorCode.ABORTED)), (server, CHR(ErrorCode.ABORTED))):
            termination = ending(sendTo(side, message))
            self.assertEqual((termination.cause, termination.byPeer), (Cause.ABORTED, True))
            self.assertEqual(termination.detail, "")


class HandshakeTimeoutTests(TestCase):
    """Handshakes that do not go on."""

    def test_inEachState(self) -> None:
        """A handshake that stands still ends at its deadline, and the peer is told."""
        for steps in range(4):
            client, server = makePair()
            for _ in range(steps):
                give(server, client.dataToSend(0.0, 0), 0.0)
                client, server = server, client  # type: ignore[assignment]
            for side in (client, server):
                if side.session is not None or not side.nextDeadline:
                    continue
                side.dataToSend(0.0, 0)
                listener = Eavesdropper(side)
                ((when, event),) = runTimers(side, 0.0, 100.0)
                self.assertEqual(when, 10.0)
                self.assertIs(ending([event]).code, ErrorCode.HANDSHAKE_TIMEOUT)
                (word,) = listener.read(side.dataToSend(10.0, 0))
                assert isinstance(word, CHR | SHR)
                self.assertEqual(word.code, ErrorCode.HANDSHAKE_TIMEOUT)

    def test_authorizer(self) -> None:
        """The authorizer's decision is within the same deadline; after it there is none."""
        client, server = makePair()
        give(server, client.dataToSend(0.0, 0), 0.0)
        give(client, server.dataToSend(0.0, 0), 0.0)
        give(server, client.dataToSend(0.0, 0), 0.0)
        give(client, server.dataToSend(0.0, 0), 0.0)
        (proved,) = server.receiveData(client.dataToSend(0.0, 0), 9.0)
        self.assertIs(server.state, State.AUTHORIZING)
        self.assertEqual(server.nextDeadline, 10.0)
        server.admit(proved.identity, 9.5)
        told = runTimers(server, 9.5, 39.4)
        self.assertEqual([type(event) for _, event in told], [HeartbeatLate])

    def test_tooLate(self) -> None:
        """An authorizer that decides after the end decides nothing."""
        _, server = makePair()
        runTimers(server, 0.0, 100.0)
        self.assertRaises(LocalProtocolError, server.admit, None, 100.0)

    def test_stalled(self) -> None:
        """This side's own stall does not fail a handshake whose next message is already there."""
        client, server = makePair()
        chi = client.dataToSend(0.0, 0)
        self.assertEqual(server.handleTimer(15.0), [])
        give(server, chi, 15.0)
        self.assertIs(server.state, State.AWAIT_CDH)


class SecretTests(TestCase):
    """What is left of the secrets."""

    def reachable(self, root: object) -> set[bytes]:
        """All octets that can be reached from an object, classes and modules aside."""
        found: set[bytes] = set()
        seen: set[int] = set()
        pending = [root]
        while pending:
            each = pending.pop()
            if id(each) in seen or isinstance(each, type) or callable(each):
                continue
            seen.add(id(each))
            if isinstance(each, bytes | bytearray):
                found.add(bytes(each))
            pending += gc.get_referents(each)
        return found

    def secretsOf(self, side: Dialogue) -> set[bytes]:
        assert side._exporterSecret is not None and side._writer.key is not None
        assert side._reader.key is not None
        return {side._exporterSecret, side._writer.key._secret, side._reader.key._secret}

    def test_dropped(self) -> None:
        """After the end no secret can be reached from a Connection, however it ended."""
        for how in ("goodbye", "abort", "flat line", "truncated", "error"):
            client, server = establishedPair()
            secrets = self.secretsOf(client)
            self.assertTrue(secrets <= self.reachable(client))  # Else this test is blind.
            if how == "goodbye":
                client.goodbye(0.0)
                pump(client, server)
            elif how == "abort":
                client.abort(0.0)
                server.abort(0.0)
            elif how == "flat line":
                runTimers(server, 0.0, 100.0)
                runTimers(client, 0.0, 100.0)
            elif how == "truncated":
                client.receiveEnd(0.0)
                server.receiveEnd(0.0)
            else:
                give(server, recordFor(server, b"\x7f"), 0.0)
                pump(client, server)
            for side in (client, server):
                self.assertIs(side.state, State.ENDED, how)
                self.assertFalse(secrets & self.reachable(side), how)

    def test_handshakeSecretsAreDropped(self) -> None:
        """Once the session is up, what led to it cannot be reached."""
        client, server = makePair()
        give(server, client.dataToSend(0.0, 0), 0.0)
        give(client, server.dataToSend(0.0, 0), 0.0)
        secrets = client._handshake.secrets
        before = {getattr(secrets, name) for name in type(secrets).__slots__}
        self.assertTrue(before <= self.reachable(client))
        pump(client, server)
        for side in (client, server):
            self.assertIsNotNone(side.session)
            self.assertFalse(before & self.reachable(side))

    def test_resumptionSecretIsDropped(self) -> None:
        """The secret of a ticket is the client's program's to keep; no Connection keeps it."""
        tickets = TicketKeys()
        first = makePair(server=serverSettings(tickets=tickets))
        (given,) = only(TicketReceived, pump(*first).client)
        ticket = given.ticket
        second = makePair(server=serverSettings(tickets=tickets), ticket=ticket)
        self.assertIn(ticket.secret, self.reachable(second[0]))  # Else this test is blind.
        pump(*second)
        for side in (*first, *second):
            self.assertIsNotNone(side.session)
            self.assertNotIn(ticket.secret, self.reachable(side))

    def test_notShown(self) -> None:
        """No repr tells a secret."""
        client, server = establishedPair()
        for side in (client, server):
            shown = " ".join(
                repr(each)
                for each in (side, side._writer.key, side._reader.key, side._limits, side.session)
            )
            for secret in self.secretsOf(side):
                self.assertNotIn(secret.hex(), shown)
                self.assertNotIn(repr(secret)[2:-1], shown)

    def test_abortDropsWhatWaits(self) -> None:
        """An abort is without a word: nothing that was ready is sent any more."""
        client, _ = makePair()
        client.abort(0.0)
        self.assertEqual(client.dataToSend(0.0, PLENTY), b"")
        client, _ = establishedPair()
        client.sendMessage(b"x")
        client.dataToSend(0.0, PLENTY)
        client.updateKey(0.0)
        client.abort(0.0)
        self.assertEqual(client.dataToSend(0.0, PLENTY), b"")


class ViewTests(TestCase):
    """What both sides see."""

    def test_sameSession(self) -> None:
        """Both sides tell the same of the session, each naming the other."""
        for ttl in (30.0, 10.0, 1.2345678):
            client, server = establishedPair(grant=lambda requested, ttl=ttl: ttl)
            ours, theirs = client.session, server.session
            assert ours is not None and theirs is not None
            self.assertEqual(ours.peer.publicKey, SERVER_CREDENTIAL.data)
            self.assertEqual(theirs.peer.publicKey, CLIENT_CREDENTIAL.data)
            for name in ("sessionId", "group", "aead", "ttl", "interval"):
                self.assertEqual(getattr(ours, name), getattr(theirs, name), name)
