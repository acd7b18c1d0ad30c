"""Peers that make the most of credit and of streams, and what they cost: the windows, no more."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

from twisted.trial.unittest import TestCase

from tests.helpers import (
    PLENTY,
    clientSettings,
    ending,
    establishedPair,
    pump,
    sendTo,
    serverSettings,
)
from thing.core.capacity import Capacity
from thing.core.client import ClientConnection
from thing.core.dialogue import Dialogue
from thing.core.messages import CCR, CDT, CGB, CHB, COP, CST, END, SDT, SGB
from thing.core.records import RECORD_LIMIT
from thing.core.server import ServerConnection
from thing.core.streams import SHARE
from thing.core.window import RECORD_COST, Budget
from thing.errors import ErrorCode, LocalProtocolError, StopCode
from thing.events import Event, HeartbeatReceived, MessageReceived, StreamData

EVERYTHING = (1 << 64) - 1
"""The most credit that can be said."""

WANTED = Capacity(RECORD_LIMIT, 32768, 16384, 20)
"""What the server here can take."""

GRANTED = WANTED.mainCredit + WANTED.maxStreams * WANTED.streamCredit
"""What all of it may hold at first, octets: the published figure."""


def grown(act: Callable[[], object]) -> int:
    """How much memory an act takes and keeps, octets."""
    act()  # What is made once, for all, is made.
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        act()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before


class AttackTests(TestCase):
    """A server, and a client that has the right keys and no good intentions."""

    def setUp(self) -> None:
        """Keep what the acts make, so that it counts."""
        self.kept: list[object] = []

    def server(self) -> ServerConnection:
        """A server in a session."""
        pair = establishedPair(server=serverSettings(capacity=WANTED, maxBuffered=100_000))
        self.kept.append(pair)
        return pair[1]

    def assertAlive(self, server: ServerConnection) -> None:
        """The session goes on."""
        (beat,) = sendTo(server, CHB(server.lastHeartbeat + 1))
        self.assertIsInstance(beat, HeartbeatReceived)

    def fill(self, server: Dialogue, number: int) -> int:
        """Let a program write until it may not; how many octets wait."""
        with self.assertRaises(LocalProtocolError) as caught:
            for _ in range(1000):
                server.sendStream(number, bytes(1000))
        self.assertIs(caught.exception.code, ErrorCode.BUFFER_FULL)
        return server.streamQueued(number)

    def test_grantsNothing(self) -> None:
        """A peer that grants nothing holds up its own streams, and what waits is bounded."""
        server = self.server()
        for number in (1, 3):
            sendTo(server, COP(number, b"x"))
            server.acceptStream(number)
        self.assertLessEqual(self.fill(server, 1), 100_000)
        server.dataToSend(0.0, PLENTY)
        waiting = server.streamQueued(1)
        self.assertGreater(waiting, 100_000 - 16384 - 1000)
        self.assertEqual(server.dataToSend(0.0, PLENTY), b"")
        self.assertEqual(server.streamQueued(1), waiting)
        sendTo(server, CCR(3, EVERYTHING))
        server.sendStream(3, bytes(50_000))
        self.assertGreater(len(server.dataToSend(0.0, PLENTY)), 50_000)
        self.assertAlive(server)

    def test_grantsAllAndReadsNothing(self) -> None:
        """Credit makes no room: what a transport does not take waits, and is bounded."""
        server = self.server()
        sendTo(server, COP(1, b"x"))
        server.acceptStream(1)
        sendTo(server, CCR(0, EVERYTHING), CCR(1, EVERYTHING))
        server.dataToSend(0.0, 1)
        self.assertLessEqual(self.fill(server, 1), 100_000)
        server.sendMessage(bytes(100_000))
        with self.assertRaises(LocalProtocolError):
            server.sendMessage(b"x")
        self.assertAlive(server)

    def test_saysGoodbyeForEver(self) -> None:
        """A second goodbye is refused when it comes, though the first waits behind what is held."""
        for farewell, side in ((CGB(), 1), (SGB(), 0)):
            held = establishedPair()[side]
            held.hold()
            data = (CDT if side else SDT)(0, 0, b"word")
            self.assertEqual(sendTo(held, data, farewell), [])
            told, end = sendTo(held, farewell)
            self.assertEqual(told, MessageReceived(b"word"))
            self.assertIs(ending([end]).code, ErrorCode.UNEXPECTED_MESSAGE)

    def stall(self, octets: int) -> list[Event]:
        """Open the most streams, and spend all in each, so many octets a record."""
        server = self.server()
        server.hold()
        numbers = [2 * index + 1 for index in range(WANTED.maxStreams)]
        sendTo(server, *(COP(number, b"x") for number in numbers))
        for number, credit in (
            (0, WANTED.mainCredit),
            *((number, WANTED.streamCredit) for number in numbers),
        ):
            for _ in range(credit // (RECORD_COST + octets)):
                self.assertEqual(sendTo(server, CDT(0, number, bytes(octets))), [])
        self.assertAlive(server)
        return sendTo(server, COP(numbers[-1] + 2, b"x"))

    def test_opensAllAndStalls(self) -> None:
        """The most streams, with all that may be in them, hold what was granted and no more."""
        self.assertLess(grown(lambda: self.stall(8128)), 1.2 * GRANTED)
        self.assertIs(ending(self.stall(8128)).code, ErrorCode.TOO_MANY_STREAMS)

    def test_octetByOctet(self) -> None:
        """One octet a record holds no more: what a record costs is more than its octets."""
        self.assertLess(grown(lambda: self.stall(1)), 2 * GRANTED)

    def test_beyondByOne(self) -> None:
        """An octet beyond the credit is refused, whether it comes alone or with others."""
        for number, credit in ((0, WANTED.mainCredit), (1, WANTED.streamCredit)):
            for first in (0, 1, 1000):
                server = self.server()
                server.hold()
                sendTo(server, COP(1, b"x"), CDT(0, number, bytes(first)))
                left = credit - 2 * RECORD_COST - first
                self.assertEqual(sendTo(server, CDT(0, number, bytes(left))), [])
                server = self.server()
                server.hold()
                sendTo(server, COP(1, b"x"), CDT(0, number, bytes(first)))
                events = sendTo(server, CDT(0, number, bytes(left + 1)))
                self.assertIs(ending(events).code, ErrorCode.CREDIT_EXCEEDED)

    def test_stopsAndReopens(self) -> None:
        """A peer that opens, fills and stops as fast as it can leaves nothing behind."""

        def act() -> None:
            server = self.server()
            for number in range(1, 2001, 2):
                sendTo(server, COP(number, b"x"), CDT(0, number, bytes(16000)))
                if number % 4 == 1:
                    server.acceptStream(number)
                elif number % 8 == 3:
                    server.stopStream(number, StopCode.NOT_TAKEN)
                sendTo(server, CST(number, 0))
            self.assertEqual(server._streams.open, {})
            self.assertFalse(server.hasDataToSend)
            self.assertEqual(server._limits.budget.reserved, 0)
            self.assertAlive(server)

        self.assertLess(grown(act), 50_000)

    def test_stopsWhatNobodyTakes(self) -> None:
        """
        Streams that were accepted, and whose end the application never looks at, are bounded,
        whatever the peer says of itself.
        """
        pair = establishedPair(
            clientSettings(capacity=Capacity(RECORD_LIMIT, 32768, 16384, 65535)),
            serverSettings(capacity=WANTED),
        )
        server = pair[1]
        for number in range(1, 2001, 2):
            sendTo(server, COP(number, b"x"))
            server.acceptStream(number)
            server.holdStream(number)
            sendTo(server, CDT(0, number, bytes(1000)), CST(number, 0))
            server.dataToSend(0.0, PLENTY)
        self.assertLessEqual(len(server._streams.open), 2 * WANTED.maxStreams)
        self.assertAlive(server)

    def test_endsAndReopens(self) -> None:
        """So it is for one that ends each stream in order: both directions must have ended."""
        server = self.server()
        events: list[Event] = []
        for number in range(1, 2 * WANTED.maxStreams + 3, 2):
            events = sendTo(server, COP(number, b"x"), CDT(END, number, b""))
        self.assertIs(ending(events).code, ErrorCode.TOO_MANY_STREAMS)

    def test_growsAllWindows(self) -> None:
        """A peer that has all its windows grow, and then idles, leaves most of what there is."""
        budget = Budget(8 << 20)
        settings = serverSettings(capacity=WANTED, maxWindow=1 << 18, budget=budget)
        client, server = establishedPair(server=settings)
        for _ in range(WANTED.maxStreams):
            number = client.openStream("x", 0.0)
            pump(client, server)
            server.acceptStream(number)
            client.sendStream(number, bytes(1 << 21))
            pump(client, server, turn=0.001)
        self.assertGreater(budget.reserved, 1 << 20)
        self.assertLessEqual(budget.reserved, SHARE * settings.maxWindow)
        self.assertFalse(budget.short)
        server.abort(0.0)
        self.assertEqual(budget.reserved, 0)

    def test_othersAreServed(self) -> None:
        """A stream that stalls takes nothing from those that go on, nor from other sessions."""
        server = self.server()
        sendTo(server, COP(1, b"stuck"), COP(3, b"fine"))
        for number in (1, 3):
            server.acceptStream(number)
        server.holdStream(1)
        sendTo(server, CDT(0, 1, bytes(16000)))
        for _ in range(50):
            self.assertEqual(len(sendTo(server, CDT(0, 3, bytes(8000)))), 1)
        client, other = establishedPair(server=server._limits)  # type: ignore[arg-type]
        assert isinstance(client, ClientConnection)
        number = client.openStream("x", 0.0)
        client.sendStream(number, bytes(10_000))
        list(other.receiveData(client.dataToSend(0.0, PLENTY), 0.0))
        other.acceptStream(number)
        told = list(other.releaseStream(number, 0.0))
        self.assertEqual(told, [StreamData(number, bytes(10_000))])
