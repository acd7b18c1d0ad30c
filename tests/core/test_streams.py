"""Streams: opening, credit, both directions' ends, stops, and what a hostile peer makes of them."""

from __future__ import annotations

from collections import defaultdict

from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import (
    PLENTY,
    clientSettings,
    ending,
    establishedPair,
    give,
    only,
    pump,
    sendTo,
    serverSettings,
)
from thing.core.capacity import Capacity
from thing.core.client import ClientConnection
from thing.core.dialogue import Dialogue
from thing.core.messages import CAC, CCR, CDT, COP, CRQ, CST, END, MORE, SCR, SDT, MessageType
from thing.core.outbox import Outbox
from thing.core.records import RECORD_LIMIT
from thing.core.server import ServerConnection
from thing.core.states import State
from thing.core.streams import MAX_STREAM
from thing.core.window import RECORD_COST, Budget
from thing.errors import EndReason, ErrorCode, LocalProtocolError, StopCode
from thing.events import (
    Cause,
    DataEnded,
    Event,
    MessageReceived,
    StreamAccepted,
    StreamClosed,
    StreamData,
    StreamEnded,
    StreamRequested,
    StreamStopped,
    Terminated,
)

SMALL = Capacity(512, 576, 128, 4)


class Case(SynchronousTestCase):
    """Pairs of Connections with streams."""

    def pair(
        self, client: Capacity | None = None, server: Capacity | None = None
    ) -> tuple[ClientConnection, ServerConnection]:
        """A session; what each side can take may be said."""
        return establishedPair(
            clientSettings(**({} if client is None else {"capacity": client})),
            serverSettings(**({} if server is None else {"capacity": server})),
        )

    def opened(self, client: Dialogue, server: Dialogue, label: str = "test") -> int:
        """A stream that the client opened and the server has accepted."""
        number = client.openStream(label, 0.0)
        pump(client, server)
        self.assertTrue(server.acceptStream(number))
        pump(client, server)
        return number

    def assertRefused(self, code: ErrorCode, events: list[Event]) -> None:
        """The session has ended for this reason."""
        termination = ending(events)
        self.assertEqual((termination.cause, termination.code), (Cause.PROTOCOL_ERROR, code))


class OpeningTests(Case):
    """How streams begin."""

    def test_opened(self) -> None:
        """The peer is asked, with the label; when it accepts, both may send."""
        client, server = self.pair()
        number = client.openStream("låmp", 0.0)
        self.assertEqual(pump(client, server).server, [StreamRequested(1, "låmp")])
        server.acceptStream(number)
        self.assertEqual(pump(client, server).client, [StreamAccepted(1)])
        client.sendStream(number, b"up")
        server.sendStream(number, b"down")
        told = pump(client, server)
        self.assertEqual(told.server, [StreamData(1, b"up")])
        self.assertEqual(told.client, [StreamData(1, b"down")])

    def test_numbers(self) -> None:
        """The client's streams are odd, the server's even, and none is used again."""
        client, server = self.pair()
        numbers = [client.openStream("a", 0.0), client.openStream("b", 0.0)]
        numbers += [server.openStream("c", 0.0), server.openStream("d", 0.0)]
        client.stopStream(numbers[1], StopCode.CANCELLED)
        pump(client, server)
        numbers.append(client.openStream("e", 0.0))
        self.assertEqual(numbers, [1, 3, 2, 4, 5])

    def test_early(self) -> None:
        """Data may be sent before the stream is accepted, and are told after that."""
        client, server = self.pair()
        number = client.openStream("early", 0.0)
        client.sendStream(number, b"bird")
        client.endStream(number)
        self.assertEqual(pump(client, server).server, [StreamRequested(1, "early")])
        server.acceptStream(number)
        events = list(server.releaseStream(number, 0.0))
        self.assertEqual(events, [StreamData(1, b"bird"), StreamEnded(1)])

    def test_refused(self) -> None:
        """A stream that is not accepted is stopped with a code, one's own or one of the list."""
        client, server = self.pair()
        for number, code in ((1, StopCode.NOT_TAKEN), (3, 0x1234)):
            client.openStream("no", 0.0)
            client.sendStream(number, b"lost")
            pump(client, server)
            server.stopStream(number, code)
            self.assertEqual(pump(client, server).client, [StreamStopped(number, code)])
            self.assertFalse(client.sendStream(number, b"x"))
        self.assertIsNone(server.termination)

    def test_tooMany(self) -> None:
        """No more are opened than the peer takes at a time; one that is over makes room."""
        client, server = self.pair(server=SMALL)
        numbers = [client.openStream("x", 0.0) for _ in range(SMALL.maxStreams)]
        pump(client, server)
        with self.assertRaises(LocalProtocolError) as caught:
            client.openStream("x", 0.0)
        self.assertIs(caught.exception.code, ErrorCode.TOO_MANY_STREAMS)
        server.stopStream(numbers[2], StopCode.BUSY)
        pump(client, server)
        client.openStream("x", 0.0)
        pump(client, server)
        self.assertIsNone(server.termination)

    def test_placeAfterBothEnds(self) -> None:
        """Both ENDs make room at once, though a stop of this side's still waits behind its own."""
        client, server = self.pair(server=Capacity(512, 576, 128, 1))
        number = self.opened(client, server)
        server.endStream(number)
        pump(client, server)
        client.endStream(number)
        sent = client.dataToSend(0.0, PLENTY)
        client.openStream("next", 0.0)
        server.closeStream(number, 0.0)  # A stop, which waits.
        told = give(server, sent + client.dataToSend(0.0, PLENTY), 0.0)
        self.assertEqual(told[-1], StreamRequested(number + 2, "next"))
        self.assertFalse(server.hasDataToSend)

    def test_tooManyByPeer(self) -> None:
        """A peer that opens more is refused."""
        _, server = self.pair(server=SMALL)
        events: list[Event] = []
        for number in range(1, 2 * SMALL.maxStreams + 2, 2):
            events = sendTo(server, COP(number, b"x"))
        self.assertRefused(ErrorCode.TOO_MANY_STREAMS, events)

    def test_placeIsFreeWhenTold(self) -> None:
        """A peer that does not read what stops its streams cannot open others meanwhile."""
        _, server = self.pair(server=SMALL)
        events: list[Event] = []
        for number in range(1, 2 * SMALL.maxStreams + 2, 2):
            events = sendTo(server, COP(number, b"x"))
            server.stopStream(number, StopCode.NOT_TAKEN)
        self.assertRefused(ErrorCode.TOO_MANY_STREAMS, events)

    def test_wrong(self) -> None:
        """Numbers that are not the next, and labels that are none, are refused."""
        for message, code in (
            (COP(3, b"x"), ErrorCode.STREAM_NUMBER),
            (COP(0, b"x"), ErrorCode.STREAM_NUMBER),
            (COP(2, b"x"), ErrorCode.STREAM_NUMBER),
            (COP(1, b""), ErrorCode.MALFORMED_MESSAGE),
            (COP(1, b"\xff"), ErrorCode.MALFORMED_MESSAGE),
        ):
            _, server = self.pair()
            self.assertRefused(code, sendTo(server, message))
        client, _ = self.pair()
        for label in ("", "x" * 256, "å" * 128):
            with self.assertRaises(LocalProtocolError) as caught:
                client.openStream(label, 0.0)
            self.assertIs(caught.exception.code, ErrorCode.BAD_ARGUMENT)

    def test_unknown(self) -> None:
        """What is about a stream that was never opened is refused; the main one is not stopped."""
        for message in (CDT(0, 1, b"x"), CDT(0, 2, b"x"), CCR(1, 9), CAC(2), CST(2, 0), CST(0, 0)):
            _, server = self.pair()
            self.assertRefused(ErrorCode.STREAM_UNKNOWN, sendTo(server, message))

    def test_acceptedTwice(self) -> None:
        """Accepting a stream twice is refused, and so is accepting one's own."""
        client, server = self.pair()
        server.openStream("x", 0.0)
        pump(client, server)
        sendTo(server, CAC(2))
        self.assertRefused(ErrorCode.STREAM_UNKNOWN, sendTo(server, CAC(2)))
        client, server = self.pair()
        number = client.openStream("x", 0.0)
        pump(client, server)
        self.assertRefused(ErrorCode.STREAM_UNKNOWN, sendTo(server, CAC(number)))

    def test_dataBeforeAccept(self) -> None:
        """Who was asked sends nothing before it accepts."""
        client, server = self.pair()
        client.openStream("x", 0.0)
        pump(client, server)
        self.assertRefused(ErrorCode.STREAM_UNKNOWN, sendTo(client, SDT(0, 1, b"x")))

    def test_lastNumbers(self) -> None:
        """The last numbers of both sides can be used; then there are no more."""
        client, server = self.pair()
        for side in (client, server):
            side._streams._nextOwn += MAX_STREAM - 5
            side._streams._nextPeer += MAX_STREAM - 5
        for _ in range(2):
            self.opened(client, server)
            number = server.openStream("x", 0.0)
            pump(client, server)
            client.acceptStream(number)
            client.sendStream(number, b"x")
            self.assertEqual(pump(client, server).server[-1], StreamData(number, b"x"))
        self.assertEqual(self.opened(client, server), MAX_STREAM)
        for side in (client, server):
            with self.assertRaises(LocalProtocolError) as caught:
                side.openStream("x", 0.0)
            self.assertIs(caught.exception.code, ErrorCode.TOO_MANY_STREAMS)
        self.assertRefused(ErrorCode.STREAM_NUMBER, sendTo(server, COP(1, b"x")))

    def test_goodbye(self) -> None:
        """Once the session says goodbye no stream is opened, and the peer's are ignored."""
        client, server = self.pair()
        server.openStream("crossing", 0.0)
        client.goodbye(0.0)
        with self.assertRaises(LocalProtocolError):
            client.openStream("late", 0.0)
        told = pump(client, server)
        self.assertEqual(only(StreamRequested, told.client), [])
        self.assertIs(ending(told.client).cause, Cause.GOODBYE)
        self.assertIs(ending(told.server).cause, Cause.GOODBYE)


class EndTests(Case):
    """How streams end."""

    def test_halfClose(self) -> None:
        """Each direction ends for itself, behind what was sent in it."""
        client, server = self.pair()
        number = self.opened(client, server)
        client.sendStream(number, b"question")
        client.endStream(number)
        self.assertFalse(client.sendStream(number, b"more"))
        told = pump(client, server)
        self.assertEqual(told.server, [StreamData(1, b"question"), StreamEnded(1)])
        server.sendStream(number, b"answer")
        server.endStream(number)
        self.assertEqual(pump(client, server).client, [StreamData(1, b"answer"), StreamEnded(1)])
        self.assertFalse(server.sendStream(number, b"more"))

    def test_main(self) -> None:
        """The main stream's directions end, too; the session goes on."""
        client, server = self.pair()
        client.sendMessage(b"last")
        client.endStream(0)
        self.assertFalse(client.sendMessage(b"more"))
        told = pump(client, server)
        self.assertEqual(told.server, [MessageReceived(b"last"), DataEnded()])
        server.sendMessage(b"not yet")
        self.assertEqual(pump(client, server).client, [MessageReceived(b"not yet")])
        client.goodbye(0.0)
        self.assertIs(ending(pump(client, server).server).cause, Cause.GOODBYE)

    def test_mainEndAlone(self) -> None:
        """An end that nothing goes before holds no message."""
        client, server = self.pair()
        client.endStream(0)
        self.assertEqual(pump(client, server).server, [DataEnded()])

    def test_endedTwice(self) -> None:
        """To end a direction again changes nothing, whether its END was sent already or not."""
        client, server = self.pair()
        number = self.opened(client, server)
        for each in (0, number):
            client.endStream(each)
            client.endStream(each)
        told = pump(client, server)
        self.assertEqual(told.server, [DataEnded(), StreamEnded(number)])
        client.endStream(0)
        client.endStream(number)
        self.assertEqual(pump(client, server).server, [])
        self.assertIsNone(server.termination)

    def test_forgotten(self) -> None:
        """Nothing is kept of a stream that is over, however it ended."""
        client, server = self.pair()
        for ends in (
            (client.endStream, server.endStream),
            (lambda number: client.closeStream(number, 0.0), server.endStream),
            (lambda number: client.closeStream(number, 0.0),),
            (lambda number: client.stopStream(number, StopCode.CANCELLED),),
        ):
            number = self.opened(client, server)
            client.sendStream(number, b"question")
            for end in ends:
                end(number)
                pump(client, server)
            for side in (client, server):
                self.assertEqual((side._streams.open, side._streams.stirred), ({}, {}))
                self.assertEqual(side._outbox._lanes, {})

    def test_wrongCode(self) -> None:
        """A code that is none is an error of the caller's, and changes nothing."""
        client, server = self.pair()
        number = self.opened(client, server)
        for code in (-1, 0x10000):
            with self.assertRaises(LocalProtocolError) as caught:
                server.stopStream(number, code)
            self.assertIs(caught.exception.code, ErrorCode.BAD_ARGUMENT)
        server.stopStream(number, 0xFFFF)
        self.assertEqual(pump(client, server).client, [StreamStopped(number, 0xFFFF)])

    def test_afterEnd(self) -> None:
        """What comes behind an end is refused."""
        for stream in (0, 1):
            client, server = self.pair()
            self.opened(client, server)
            sendTo(server, CDT(END, stream, b""))
            self.assertRefused(ErrorCode.STREAM_ENDED, sendTo(server, CDT(0, stream, b"x")))

    def test_flags(self) -> None:
        """Flags that mean nothing are refused, and fragments outside the main stream are."""
        for message in (
            CDT(MORE | END, 0, b"x"),
            CDT(4, 0, b"x"),
            CDT(MORE, 0, b""),
            CDT(MORE, 1, b"x"),
        ):
            client, server = self.pair()
            self.opened(client, server)
            self.assertRefused(ErrorCode.MALFORMED_MESSAGE, sendTo(server, message))

    def test_stopped(self) -> None:
        """A stop ends both directions; what came before it is told first."""
        client, server = self.pair()
        number = self.opened(client, server)
        client.sendStream(number, b"before")
        pumped = server.receiveData(client.dataToSend(0.0, 1 << 20), 0.0)
        self.assertEqual(list(pumped), [StreamData(1, b"before")])
        server.holdStream(number)
        client.sendStream(number, b"held")
        pump(client, server)
        client.stopStream(number, StopCode.FAILED)
        self.assertEqual(pump(client, server).server, [])
        events = list(server.releaseStream(number, 0.0))
        self.assertEqual(events, [StreamData(1, b"held"), StreamStopped(1, StopCode.FAILED)])
        self.assertFalse(server.sendStream(number, b"x"))

    def test_stoppedBehindEnd(self) -> None:
        """A stop behind an end is told, held or not: this side may still have been writing."""
        for hold in (False, True):
            client, server = self.pair()
            number = self.opened(client, server)
            if hold:
                server.holdStream(number)
            client.endStream(number)
            pump(client, server)
            client.stopStream(number, StopCode.FAILED)
            events = pump(client, server).server
            events += server.releaseStream(number, 0.0)
            stopped = StreamStopped(number, StopCode.FAILED)
            self.assertEqual(events, [StreamEnded(number), stopped] if hold else [stopped])

    def test_crossing(self) -> None:
        """What is on its way when a stream is stopped is ignored, whatever it is."""
        client, server = self.pair()
        number = self.opened(client, server)
        client.sendStream(number, bytes(9000))
        client.endStream(number)
        server.stopStream(number, StopCode.CANCELLED)
        told = pump(client, server)
        self.assertEqual(told.server, [])
        self.assertEqual(told.client, [StreamStopped(1, StopCode.CANCELLED)])
        for message in (CDT(0, 1, b"x"), CCR(1, 1 << 40), CST(1, 9), CDT(END, 1, b"")):
            self.assertEqual(sendTo(server, message), [])
        self.assertIsNone(server.termination)

    def test_closed(self) -> None:
        """Closing sends what waits and the end, then stops what the peer still sends."""
        client, server = self.pair()
        number = self.opened(client, server)
        client.sendStream(number, bytes(100_000))
        self.assertEqual(client.closeStream(number, 0.0), [])
        server.sendStream(number, b"useless")
        told = pump(client, server)
        received = b"".join(event.data for event in only(StreamData, told.server))
        self.assertEqual(received, bytes(100_000))
        self.assertEqual(told.server[-2:], [StreamEnded(1), StreamStopped(1, StopCode.DONE)])
        self.assertEqual(client.takeEvents(), [StreamClosed(1)])

    def test_closedByBoth(self) -> None:
        """Two sides that close at once are both done, and nobody is stopped in vain."""
        client, server = self.pair()
        number = self.opened(client, server)
        client.closeStream(number, 0.0)
        server.closeStream(number, 0.0)
        told = pump(client, server)
        self.assertEqual(client.takeEvents() + told.client, [StreamClosed(1)])
        self.assertEqual(server.takeEvents() + told.server, [StreamClosed(1)])

    def test_closedBeforeAccepted(self) -> None:
        """A stream that is closed before it was accepted is over once it is, and all was sent."""
        client, server = self.pair()
        number = client.openStream("x", 0.0)
        client.sendStream(number, b"all")
        client.closeStream(number, 0.0)
        told = pump(client, server)
        server.acceptStream(number)
        told.server += server.releaseStream(number, 0.0)
        told.client += pump(client, server).client
        self.assertEqual(
            told.server, [StreamRequested(1, "x"), StreamData(1, b"all"), StreamEnded(1)]
        )
        self.assertEqual(only(StreamClosed, told.client + client.takeEvents()), [StreamClosed(1)])

    def test_stopsCross(self) -> None:
        """A place is free for who has stopped its stream, though the other's stop still waits."""
        client, server = self.pair(server=SMALL)
        numbers = [client.openStream("x", 0.0) for _ in range(SMALL.maxStreams)]
        pump(client, server)
        for number in numbers:
            server.stopStream(number, StopCode.NOT_TAKEN)  # Its transport takes nothing now.
            client.stopStream(number, StopCode.CANCELLED)
            client.dataToSend(0.0, 1 << 20)
            sendTo(server, CST(number, StopCode.CANCELLED))
        self.assertFalse(server.hasDataToSend)
        for number in range(9, 17, 2):
            self.assertEqual(sendTo(server, COP(number, b"x")), [StreamRequested(number, "x")])

    def test_sessionEnds(self) -> None:
        """The end of a session is the end of all streams; what was held is told before it."""
        client, server = self.pair()
        number = self.opened(client, server)
        server.holdStream(number)
        client.sendStream(number, b"held")
        pump(client, server)
        events = list(server.receiveEnd(0.0))
        self.assertEqual(events[0], StreamData(1, b"held"))
        self.assertIsInstance(events[-1], Terminated)
        self.assertFalse(server.sendStream(number, b"x"))

    def test_goodbyeWaits(self) -> None:
        """A goodbye waits for what an application has not taken from a stream yet."""
        client, server = self.pair()
        number = self.opened(client, server)
        server.holdStream(number)
        client.sendStream(number, b"held")
        client.goodbye(0.0)
        told = pump(client, server)
        self.assertEqual((told.server, told.client), ([], []))
        told.server += list(server.releaseStream(number, 0.0))
        told.client += pump(client, server).client
        self.assertEqual(told.server[0], StreamData(1, b"held"))
        self.assertIs(ending(told.client).cause, Cause.GOODBYE)


class RestTests(Case):
    """What is still there when a session is over."""

    def test_endIsTold(self) -> None:
        """An end that is held is told, as data are, whatever ends the session."""
        for broken in (False, True):
            client, server = self.pair()
            server.hold()
            client.sendMessage(b"last")
            client.endStream(0)
            pump(client, server)
            events = sendTo(server, CAC(9)) if broken else server.receiveEnd(0.0)
            self.assertEqual(events[:2], [MessageReceived(b"last"), DataEnded()])

    def test_badRest(self) -> None:
        """What is wrong among what was held does not keep streams from being told and let go."""
        budget = Budget(1 << 20)
        client, server = establishedPair(clientSettings(), serverSettings(budget=budget))
        number = self.opened(client, server)
        client.sendStream(number, bytes(1 << 20))
        pump(client, server, turn=0.01)
        self.assertGreater(budget.reserved, 0)
        server.hold()
        server.holdStream(number)
        client.sendStream(number, b"held")
        pump(client, server)
        sendTo(server, CRQ(1, b""), CRQ(9, b""))  # That is not the next.
        events = server.receiveEnd(0.0)
        self.assertEqual(only(StreamData, events), [StreamData(number, b"held")])
        self.assertIsInstance(events[-1], Terminated)
        self.assertEqual(budget.reserved, 0)

    def test_dropped(self) -> None:
        """Whoever cuts or refuses its session is told nothing more that it has held."""
        for cut in (
            lambda side: side.abort(0.0),
            lambda side: side.reject(ErrorCode.INTERNAL_ERROR, 0.0),
        ):
            client, server = self.pair()
            number = self.opened(client, server)
            server.hold()
            server.holdStream(number)
            client.sendMessage(b"held")
            client.sendStream(number, b"held")
            client.endStream(number)
            pump(client, server)
            (terminated,) = cut(server)
            self.assertIsInstance(terminated, Terminated)

    def test_nothingAfter(self) -> None:
        """Nothing is told after the end, whatever this side still does with its streams."""
        client, server = self.pair()
        number = self.opened(client, server)
        client.sendStream(number, b"x")
        pump(client, server)
        server.abort(0.0)
        self.assertEqual(server.closeStream(number, 0.0), [])
        server.stopStream(number, 0)
        server.endStream(number)
        server.endStream(0)
        self.assertFalse(server.sendStream(number, b"x"))
        self.assertFalse(server.acceptStream(number))
        self.assertEqual(list(server.releaseStream(number, 0.0)), [])
        self.assertEqual(server.takeEvents(), [])
        self.assertFalse(server.hasDataToSend)

    def test_goodbyeBehindHeld(self) -> None:
        """A goodbye that came behind what a stream held counts when the transport ends."""
        client, server = self.pair()
        number = self.opened(client, server)
        client.holdStream(number)
        server.sendStream(number, b"held")
        pump(client, server)
        client.goodbye(0.0)
        pump(client, server)
        self.assertIsNone(client.termination)
        events = client.receiveEnd(0.0)
        self.assertEqual(only(StreamData, events), [StreamData(number, b"held")])
        self.assertIs(ending(events).cause, Cause.GOODBYE)


class GoodbyeTests(Case):
    """Streams, and a session that says goodbye."""

    def test_nothingBehindCGB(self) -> None:
        """A client that has said goodbye says no other end: its goodbye stands for all of them."""
        client, server = self.pair()
        numbers = [self.opened(client, server) for _ in range(4)]
        server.endStream(numbers[1])
        server.endStream(numbers[2])
        pump(client, server)
        asking = client.openStream("asking", 0.0)
        client.goodbye(0.0)
        octets = client.dataToSend(0.0, 1 << 20)
        self.assertIs(client.state, State.AWAIT_SGB)
        told = list(server.receiveData(octets, 0.0))
        closed = []
        for number in (*numbers[:2], asking):
            closed += client.closeStream(number, 0.0)
        self.assertEqual(closed, [StreamClosed(number) for number in numbers[:2]])
        for number in numbers[2:]:
            client.endStream(number)
            self.assertFalse(client.sendStream(number, b"late"))
        both = pump(client, server)
        self.assertIs(ending(told + both.server).cause, Cause.GOODBYE)
        self.assertIs(ending(both.client).cause, Cause.GOODBYE)

    def test_undecided(self) -> None:
        """What the peer asked for and nobody has decided is stopped by a goodbye."""
        for early in (b"", b"early"):
            client, server = self.pair()
            number = server.openStream("asked", 0.0)
            server.sendStream(number, early)
            pump(client, server)
            client.goodbye(0.0)
            self.assertFalse(client.acceptStream(number))
            told = pump(client, server)
            self.assertEqual(only(StreamData, told.client), [])
            stopped = StreamStopped(number, StopCode.CANCELLED)
            self.assertEqual(only(StreamStopped, told.server), [stopped])
            self.assertTrue(ending(told.client).clean)
            self.assertTrue(ending(told.server).clean)

    def test_undecidedByServer(self) -> None:
        """A server that has the client's goodbye stops what it has not decided."""
        client, server = self.pair()
        number = client.openStream("asked", 0.0)
        client.goodbye(0.0)
        told = pump(client, server)
        stopped = StreamStopped(number, StopCode.CANCELLED)
        self.assertEqual(only(StreamStopped, told.client), [stopped])
        self.assertTrue(ending(told.server).clean)

    def test_crossingOpen(self) -> None:
        """A stream that crosses a goodbye holds nothing up, however much waits in it."""
        client, server = self.pair()
        number = server.openStream("crossing", 0.0)
        server.sendStream(number, bytes(1 << 20))
        client.goodbye(0.0)
        told = pump(client, server)
        self.assertEqual(only(StreamRequested, told.client), [])
        self.assertTrue(ending(told.client).clean)
        client, server = self.pair()
        number = client.openStream("crossing", 0.0)
        client.sendStream(number, bytes(1 << 20))
        server.goAway(EndReason.SHUTDOWN, 0.0, grace=10.0)
        told = pump(client, server)
        self.assertEqual(only(StreamRequested, told.server), [])
        self.assertTrue(ending(told.server).clean)

    def test_nothingBehindSGB(self) -> None:
        """A server that has said goodbye says nothing more about streams."""
        client, server = self.pair()
        numbers = [self.opened(client, server) for _ in range(2)]
        client.goodbye(0.0)
        server.receiveData(client.dataToSend(0.0, 1 << 20), 0.0)
        list(server.receiveData(client.dataToSend(0.0, 1 << 20), 0.0))
        server.dataToSend(0.0, 1 << 20)
        self.assertIs(server.state, State.AWAIT_CFL)
        server.stopStream(numbers[0], StopCode.FAILED)
        self.assertEqual(server.closeStream(numbers[1], 0.0), [StreamClosed(numbers[1])])
        self.assertFalse(server.hasDataToSend)

    def test_neverAccepted(self) -> None:
        """What came in a stream that nobody took is not told when the session is cut."""
        for end in (False, True):
            client, server = self.pair()
            number = client.openStream("x", 0.0)
            client.sendStream(number, b"early")
            if end:
                client.endStream(number)
            pump(client, server)
            self.assertEqual(only(StreamData, server.receiveEnd(0.0)), [])


class CreditTests(Case):
    """Who may send how much."""

    def test_bounded(self) -> None:
        """A side that takes nothing is sent no more than it granted; it goes on as it takes."""
        client, server = self.pair()
        number = self.opened(client, server)
        server.holdStream(number)
        client.sendStream(number, bytes(1 << 20))
        pump(client, server)
        granted = server._limits.capacity.streamCredit
        held = server._streams.open[number].inbox.held
        self.assertLess(held, granted + 1024)
        self.assertGreater(held, granted - 1024)
        events = list(server.releaseStream(number, 0.0))
        events += pump(client, server).server
        self.assertEqual(sum(len(each.data) for each in only(StreamData, events)), 1 << 20)

    def test_mainBounded(self) -> None:
        """So it is for messages, requests and replies in the main stream; beats go on."""
        client, server = self.pair()
        server.hold()
        for _ in range(40):
            client.sendMessage(bytes(10_000))
        pump(client, server)
        self.assertLess(server.held, 2 * server._limits.capacity.mainCredit)
        client.beat(1.0)
        pump(client, server)
        self.assertEqual(server.lastHeartbeat, 1)
        events = list(server.release(1.0))
        events += pump(client, server).server
        self.assertEqual(len(only(MessageReceived, events)), 40)

    def test_othersGoOn(self) -> None:
        """A stream that nobody reads holds up no other."""
        client, server = self.pair()
        stuck, other = self.opened(client, server), self.opened(client, server)
        server.holdStream(stuck)
        client.sendStream(stuck, bytes(1 << 20))
        client.sendStream(other, bytes(1 << 20))
        events = pump(client, server).server
        self.assertEqual(
            sum(len(e.data) for e in only(StreamData, events) if e.stream == other), 1 << 20
        )

    def test_turns(self) -> None:
        """Streams that have data and credit take turns, a record each."""
        client, server = self.pair(server=Capacity(RECORD_LIMIT, 1 << 20, 1 << 20, 10))
        numbers = [self.opened(client, server) for _ in range(4)]
        for number in numbers:
            client.sendStream(number, bytes(200_000))
        sent: dict[int, int] = defaultdict(int)
        for _ in range(20):
            for event in server.receiveData(client.dataToSend(0.0, 1), 0.0):
                if isinstance(event, StreamData):
                    sent[event.stream] += len(event.data)
        self.assertEqual(len(sent), 4)
        self.assertLessEqual(max(sent.values()) - min(sent.values()), 16384)

    def test_firstOnSlowPath(self) -> None:
        """
        A first record that is half of the window, and was long on its way, says that the path is
        slow: nobody grants more than the first window before that is known.
        """
        record = bytes(16384 - RECORD_COST)
        for since, window in ((0.01, 49152), (2.0, 24576)):
            _, server = self.pair()
            server._roundTrip = 0.01
            sendTo(server, CDT(0, 0, record), now=since)
            self.assertEqual(server._window.size, window)
            self.assertEqual(server._window.granted, 16384 + window)

    def test_exceeded(self) -> None:
        """An octet beyond the credit is refused, in a stream and in the main one."""
        for stream, credit in ((0, 24576), (1, 16384)):
            client, server = self.pair()
            self.opened(client, server)
            server.hold()
            server.holdStream(1)
            self.assertEqual(sendTo(server, CDT(0, stream, bytes(credit - RECORD_COST))), [])
            self.assertRefused(ErrorCode.CREDIT_EXCEEDED, sendTo(server, CDT(0, stream, b"")))

    def test_smallerChangesNothing(self) -> None:
        """Credit that is smaller than before, or comes twice, changes nothing."""
        client, server = self.pair(server=SMALL)
        number = self.opened(client, server)
        for credit in (1 << 20, 0, 1 << 20, 500):
            sendTo(server, CCR(0, credit), CCR(number, credit))
        self.assertEqual(server._outbox.main.credit, 1 << 20)
        self.assertEqual(server._streams.open[number].lane.credit, 1 << 20)

    def test_oneCreditWaits(self) -> None:
        """However often a side that cannot send takes something, one credit for a stream waits."""
        client, server = self.pair()
        number = self.opened(client, server)
        client.sendStream(number, bytes(1 << 20))
        for _ in range(100):
            list(server.receiveData(client.dataToSend(0.0, 4096), 0.0))
        self.assertEqual(len(server._outbox._credits or {}), 1)

    def test_small(self) -> None:
        """A small peer gets everything in records that it takes, requests and last words, too."""
        client, server = self.pair(client=SMALL, server=SMALL)
        client.sendMessage(bytes(5000))
        client.request(bytes(490))
        client.setLastWord(bytes(495))
        server.request(bytes(490))
        for side in (client, server):
            with self.assertRaises(LocalProtocolError):
                side.request(bytes(491))
        with self.assertRaises(LocalProtocolError):
            client.setLastWord(bytes(496))
        number = self.opened(client, server)
        client.sendStream(number, bytes(5000))
        told = pump(client, server)
        self.assertIsNone(client.termination)
        self.assertEqual(sum(len(each.data) for each in only(StreamData, told.server)), 5000)
        self.assertEqual(client.queued, 0)

    def test_lastWordIsNotStuck(self) -> None:
        """A last word that is as long as it may be gets its credit, whatever was spent before."""
        for spent in range(64, 700):
            client, server = self.pair(server=Capacity(512, 1000, 128, 0))
            whole, rest = divmod(spent, 554)
            for _ in range(whole):
                client.sendMessage(bytes(490))
            if rest >= RECORD_COST:
                client.sendMessage(bytes(rest - RECORD_COST))
            pump(client, server)
            client.setLastWord(bytes(495))
            pump(client, server)
            self.assertEqual(server.lastWord, bytes(495))

    def test_oldestCreditFirst(self) -> None:
        """Of the credits that wait the oldest goes first: none waits for ever."""
        outbox = Outbox(MessageType.CDT, MessageType.CCR, 1000)
        for number, credit in ((1, 10), (3, 10), (1, 20)):
            outbox.grant(number, credit)
        told = [outbox.take() for _ in range(2)]
        self.assertEqual(told, [CCR(1, 20).typed(), CCR(3, 10).typed()])

    def test_hugeCredit(self) -> None:
        """The largest credit there is, and credit after credit, do no harm."""
        client, server = self.pair(server=SMALL)
        number = self.opened(client, server)
        most = (1 << 64) - 1
        sendTo(client, SCR(0, most), SCR(number, most), SCR(number, most - 1))
        client.sendMessage(bytes(100_000))
        client.sendStream(number, bytes(100_000))
        size = 0
        while octets := client.dataToSend(0.0, 1000):
            size += len(octets)
        self.assertGreater(size, 200_000)
        self.assertEqual(client.queued + client.streamQueued(number), 0)

    def test_stopDropsAcceptance(self) -> None:
        """A peer that opens and stops without reading leaves nothing that waits for it."""
        _, server = self.pair()
        for number in range(1, 20_001, 2):
            sendTo(server, COP(number, b"x"))
            server.acceptStream(number)
            sendTo(server, CST(number, 0))
        self.assertIsNone(server.termination)
        self.assertLessEqual(len(server._outbox._notices or ()), 1)
        self.assertEqual(server._streams.open, {})
