"""Services of things that operators reach: who may, what is told, and how each ends."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from tests.fleet.reaching import ReachCase
from tests.pairs import firings
from tests.session.test_streams import HalfTalk, Maker, doing
from thing import StopCode, StreamRefused
from thing.core.window import MAX_WINDOW
from thing.errors import CredentialError
from thing.fleet import Kind, NotPresent
from thing.fleet.interfaces import IReaches
from thing.fleet.model import ReachRecord
from thing.fleet.reaches import ANSWER_TIME, OPENED, REFUSALS_LOGGED
from thing.session.outflow import BUFFER_SIZE
from thing.session.transports import FULL_READ, LONG_READ
from thing.trust.keys import MAX_NAME, checkName

TTL = 30.0
"""What the server grants."""

PIECE = 16384
"""How many octets are written at a time."""


class OpenTests(ReachCase):
    """How a reach begins, and what passes."""

    def test_octets(self) -> None:
        """Octets pass both ways, and each half ends for itself; then all is over in order."""
        _, near, _, far = self.reached()
        near.transport.write(b"question")
        self.settle()
        self.assertEqual(far.data, b"question")
        near.transport.loseWriteConnection()
        self.settle()
        self.assertEqual(far.halves, ["read"])
        far.transport.write(b"answer")
        self.settle()
        self.assertEqual(near.data, b"answer")
        self.assertEqual(len(self.reaches.open), 1)
        far.transport.loseWriteConnection()
        self.settle()
        self.advance(1)
        for end in (near, far):
            self.assertIsInstance(end.reason, ConnectionDone)
        self.assertEqual(self.reaches.open, [])

    def test_record(self) -> None:
        """Each that is open is known: who, what, from where, since when, how much."""
        verifyObject(IReaches, self.reaches)
        self.advance(5)
        _, near, _, far = self.reached()
        near.transport.write(b"12345")
        far.transport.write(b"123")
        self.settle()
        (found,), complete = firings(self.reaches.listed())[0]
        self.assertTrue(complete)
        self.assertRegex(found.id, "^[0-9a-f]{16}$")
        self.assertEqual(
            found.asDict(),
            {
                "id": found.id,
                "thing": "lamp",
                "service": "ssh",
                "by": "olga",
                "key": self.key("olga").fingerprint,
                "from": "192.0.2.1:1",
                "since": self.wallClock(),
                "node": "node",
                "octetsUp": 5,
                "octetsDown": 3,
            },
        )
        self.assertEqual(self.listed("lamp"), [found])
        self.assertEqual(self.listed("clock"), [])

    def listed(self, thing: str) -> list[ReachRecord]:
        found: list[ReachRecord] = firings(self.reaches.listed(thing))[0][0]
        return found

    def test_many(self) -> None:
        """Two hundred at once, of several operators, to several things, do not mix."""
        things = [self.thing(f"lamp-{number}", "ssh", "web") for number in range(4)]
        operators = [self.operator(name=f"olga-{number}") for number in range(2)]
        nears = []
        for number in range(200):
            label = f"reach:{('ssh', 'web')[number % 2]}:lamp-{number % 4}"
            near = self.opened(operators[number // 100], label)
            near.transport.write(b"%d" % number)
            nears.append(near)
        self.settle()
        fars = [each for _, maker in things for each in maker.made]
        self.assertEqual(sorted(int(far.data) for far in fars), [*range(200)])
        for far in fars:
            far.transport.write(far.data[::-1])
        self.settle()
        self.assertEqual([near.data for near in nears], [str(n).encode()[::-1] for n in range(200)])
        self.assertEqual(len(self.reaches.open), 200)
        for pair, _ in things:
            pair.client.goodbye()
        self.advance(1)
        self.assertEqual(self.reaches.open, [])
        self.assertEqual({near.reason.code for near in nears}, {StopCode.WENT_AWAY})

    def test_whatTheThingIsTold(self) -> None:
        """A thing is told which service is wanted, and not by whom."""
        lamp, maker = self.thing("lamp", "web")
        asked: list[str] = []
        lamp.client.streamRequested = lambda label: asked.append(label) or maker
        self.opened(self.operator())
        self.assertEqual(asked, ["reach:ssh"])

    def test_dataBehindAccept(self) -> None:
        """What a service says first arrives, whoever is quicker."""
        greeting = doing(connectionMade=lambda it: it.transport.write(b"SSH-2.0"))
        self.thing(kind=greeting)
        near = self.opened(self.operator())
        self.assertEqual(near.data, b"SSH-2.0")


class RefusedTests(ReachCase):
    """
    Who decides what, and with which words.

    :ivar gone: what a thing was deciding when nobody waited for it any more.
    """

    def setUp(self) -> None:
        super().setUp()
        self.gone: list[Any] = []

    def assertRefused(self, result: Any, code: StopCode | int) -> None:
        """A stream was refused with this code, which is counted; nothing is left of it."""
        self.assertIsInstance(result, StreamRefused)
        self.assertEqual(result.code, code)
        name = code.name if isinstance(code, StopCode) else "OTHER"
        self.assertEqual(self.reaches.outcomes[name], 1)
        self.assertEqual(self.reaches._held, {})
        self.assertEqual(self.reaches._heldBy, {})
        self.assertEqual(self.kinds(), [Kind.JOINED] * len(self.home.local))

    def test_notPermitted(self) -> None:
        """Permission is judged before it is told what there is."""
        self.thing("lamp")
        operator = self.operator("lamp:web", "clock:ssh")
        for label in ("reach:ssh:lamp", "reach:ssh:nobody", "reach:web:clock", "reach:none:lamp"):
            self.assertRefused(self.opened(operator, label), StopCode.NOT_PERMITTED)
            self.reaches.outcomes.clear()

    def test_absent(self) -> None:
        """A thing that nobody has heard of, and one that is gone."""
        operator = self.operator()
        self.assertRefused(self.opened(operator), StopCode.UNKNOWN_THING)
        lamp, _ = self.thing()
        lamp.client.goodbye()
        self.advance(1)
        self.told.clear()
        self.assertRefused(self.opened(operator), StopCode.NOT_CONNECTED)

    def test_notExposed(self) -> None:
        """A thing that does not serve the label."""
        self.thing("lamp", "web")
        self.assertRefused(self.opened(self.operator()), StopCode.NOT_EXPOSED)

    def test_wordsOfThings(self) -> None:
        """A thing's own words pass on, but not those of which the server decides."""
        lamp, _ = self.thing("lamp", "web")
        operator = self.operator()
        for code, told in (
            (StopCode.UNREACHABLE, StopCode.UNREACHABLE),
            (StopCode.BUSY, StopCode.BUSY),
            (0x123, 0x123),
            (StopCode.NOT_PERMITTED, StopCode.NOT_EXPOSED),
            (StopCode.UNKNOWN_THING, StopCode.FAILED),
            (StopCode.NOT_CONNECTED, StopCode.FAILED),
            (StopCode.ENDED, StopCode.FAILED),
            (StopCode.DONE, StopCode.FAILED),
            (0x80, StopCode.FAILED),
        ):
            error = StreamRefused(code)
            lamp.client.streamRequested = lambda label, error=error: self.refuse(error)
            self.assertRefused(self.opened(operator), told)
            self.reaches.outcomes.clear()

    @staticmethod
    def refuse(error: Exception) -> None:
        raise error

    def test_full(self) -> None:
        """There are places in all, and for each operator; one that is free can be had again."""
        small = self.presence(node="small")
        self.home, self.reaches = small, self.reachable(small, mostOpen=3, mostOfOne=2)
        self.thing()
        olga, otto = self.operator(), self.operator(name="otto")
        nears = [self.opened(olga), self.opened(olga)]
        self.assertEqual(self.opened(olga).code, StopCode.BUSY)
        nears.append(self.opened(otto))
        self.assertEqual(self.opened(otto).code, StopCode.BUSY)
        nears[0].transport.abortConnection()
        self.settle()
        self.assertIsInstance(self.opened(otto), HalfTalk)

    def test_noPlaceAtThing(self) -> None:
        """A thing that takes no more streams."""
        self.thing()
        operators = [self.operator(name=f"olga-{number}") for number in range(2)]
        for number in range(100):
            self.assertIsInstance(self.opened(operators[number // 50]), HalfTalk)
        self.assertEqual(self.opened(operators[1]).code, StopCode.BUSY)

    def test_slowThing(self) -> None:
        """A thing that does not decide in time; what it decides later is of no use."""
        lamp, _ = self.thing("lamp", "web")
        late: Deferred[Any] = Deferred()
        lamp.client.streamRequested = lambda label: late
        opening = self.opening(self.operator())
        self.advance(ANSWER_TIME - 1)
        self.assertEqual(opening, [])
        self.advance(2)
        self.assertRefused(opening[0], StopCode.TIMED_OUT)
        late.callback(None)
        self.settle()

    def test_goesWhileAsked(self) -> None:
        """A thing that goes while it is asked."""
        lamp, _ = self.thing("lamp", "web")
        lamp.client.streamRequested = lambda label: Deferred()
        opening = self.opening(self.operator())
        self.settle()
        lamp.client.abort()
        self.advance(1)
        self.assertEqual(opening[0].code, StopCode.WENT_AWAY)
        self.assertEqual(self.kinds(), [Kind.JOINED, Kind.LEFT])

    def test_takenOverWhileAsked(self) -> None:
        """A thing that comes anew while it is asked."""
        lamp, _ = self.thing("lamp", "web")
        lamp.client.streamRequested = lambda label: Deferred()
        opening = self.opening(self.operator())
        self.settle()
        self.thing("lamp")
        self.settle()
        self.assertEqual(opening[0].code, StopCode.WENT_AWAY)
        self.assertEqual(self.kinds(), [Kind.JOINED, Kind.MOVED])

    def test_givenUp(self) -> None:
        """An operator that gives up while it is opened: nothing is left."""
        lamp, _ = self.thing("lamp", "web")
        asked: list[Deferred[Any]] = []

        def decide(label: str) -> Deferred[Any]:
            asked.append(Deferred(self.gone.append))
            return asked[-1]

        lamp.client.streamRequested = lambda label: (
            asked.append(Deferred(self.gone.append)) or asked[-1]
        )
        operator = self.operator()
        endpoint = operator.client.streams.endpoint("reach:ssh:lamp")
        connecting = endpoint.connect(Maker(HalfTalk))
        opening = firings(connecting)
        self.settle()
        self.assertEqual((len(asked), self.gone), (1, []))
        connecting.cancel()
        self.settle()
        self.assertIsInstance(opening[0], CancelledError)
        self.assertEqual(self.gone, asked)
        self.assertRefused(StreamRefused(StopCode.CANCELLED), StopCode.CANCELLED)

    def test_operatorGoesWhileItIsOpened(self) -> None:
        """So it is with one whose session ends."""
        lamp, _ = self.thing("lamp", "web")
        lamp.client.streamRequested = lambda label: Deferred(self.gone.append)
        operator = self.operator()
        self.opening(operator)
        self.settle()
        operator.client.abort()
        self.settle()
        self.assertEqual(len(self.gone), 1)
        self.assertRefused(StreamRefused(StopCode.CANCELLED), StopCode.CANCELLED)

    def test_permissionGoesWhileItIsOpened(self) -> None:
        """A permission that is taken while the thing decides is none."""
        lamp, maker = self.thing("lamp", "web")
        answer: Deferred[Any] = Deferred()
        lamp.client.streamRequested = lambda label: answer
        opening = self.opening(self.operator("lamp:ssh"))
        self.settle()
        self.book.permits["olga"] = ("lamp:web",)
        self.review()
        answer.callback(maker)
        self.settle()
        self.assertRefused(opening[0], StopCode.NOT_PERMITTED)
        self.assertEqual(maker.made[0].reason.code, StopCode.CANCELLED)

    def test_things(self) -> None:
        """A thing is told that it may not, whatever it names; it has no other word of reaches."""
        self.thing("lamp")
        clock, _ = self.thing("clock")
        for label in ("reach:ssh:lamp", "reach:ssh:nobody", "reach:", "reach::", "reach:x"):
            self.assertEqual(self.opened(clock, label).code, StopCode.NOT_PERMITTED)
        self.assertEqual(self.reaches._held, {})
        self.assertEqual(self.reaches.outcomes, Counter(NOT_PERMITTED=5))

    def test_labels(self) -> None:
        """What is no label of a reach is not taken, nor is anything else."""
        self.thing()
        operator = self.operator()
        for label in (
            *("reach:", "reach::lamp", "reach:ssh", "reach:ssh:", "reach:s sh:lamp", "ssh:lamp"),
            *("reach:" + 65 * "s" + ":lamp", "Reach:ssh:lamp", "relay:", "echo"),
        ):
            self.assertEqual(self.opened(operator, label).code, StopCode.NOT_TAKEN, label)

    def test_oddNames(self) -> None:
        """A thing whose id has colons in it, and no name."""
        pair = self.connect(self.home, None)
        pair.client.streams.serve("reach:ssh", Maker(HalfTalk))
        (id,) = [each.id for each in self.home.local.sessions]
        self.assertIsInstance(self.opened(self.operator(), f"reach:ssh:{id}"), HalfTalk)

    def test_longestName(self) -> None:
        """The longest name there may be, and the longest service, fill a label just so."""
        for letter in "x", "\U00020000":
            name, service = checkName(letter * (MAX_NAME // len(letter.encode()))), "s" * 64
            self.assertRaises(CredentialError, checkName, name + "x")
            self.thing(name, service)
            label = f"reach:{service}:{name}"
            self.assertEqual(len(label.encode()), 255)
            self.assertIsInstance(self.opened(self.operator(), label), HalfTalk)


class EndTests(ReachCase):
    """How a reach ends, and who is told what."""

    def test_thingIsLost(self) -> None:
        """A thing that is lost, however, is no end of file: its operators are told so."""
        for end in ("abort", "goodbye", "cut"):
            _, near, thing, far = self.reached()
            far.transport.write(b"part")
            self.settle()
            if end == "cut":
                thing.serverEnd.abortConnection()
            else:
                getattr(thing.client, end)()
            self.advance(1)
            self.assertEqual(near.data, b"part")
            self.assertEqual((near.halves, near.reason.code), ([], StopCode.WENT_AWAY), end)
            self.assertEqual(self.reaches.open, [])

    def test_operatorIsLost(self) -> None:
        """So it is the other way round."""
        for end in ("abort", "goodbye"):
            operator, near, _, far = self.reached()
            near.transport.write(b"part")
            self.settle()
            getattr(operator.client, end)()
            self.advance(1)
            self.assertEqual(far.data, b"part")
            self.assertEqual((far.halves, far.reason.code), ([], StopCode.CANCELLED), end)
            self.assertEqual(self.reaches.open, [])

    def test_stops(self) -> None:
        """A stream that is stopped is stopped at the other side, with the same word."""
        _, near, _, far = self.reached()
        far.transport.abortConnection(StopCode.UNREACHABLE)
        self.settle()
        self.assertEqual(near.reason.code, StopCode.UNREACHABLE)
        _, near, _, far = self.reached()
        near.transport.abortConnection(0x777)
        self.settle()
        self.assertEqual(far.reason.code, 0x777)

    def test_thingLies(self) -> None:
        """A thing cannot say in the server's name why a reach ends."""
        for code in (StopCode.NOT_PERMITTED, StopCode.WENT_AWAY, StopCode.ENDED):
            _, near, _, far = self.reached()
            far.transport.abortConnection(code)
            self.settle()
            told = StopCode.NOT_EXPOSED if code is StopCode.NOT_PERMITTED else StopCode.FAILED
            self.assertEqual(near.reason.code, told)

    def test_closes(self) -> None:
        """A full close of one side is one of the other, behind all that was written."""
        for one, other in ((1, 3), (3, 1)):
            joined = self.reached()
            joined[one].transport.write(b"all of it")
            joined[one].transport.loseConnection()
            self.advance(1)
            self.assertEqual(joined[other].data, b"all of it")
            joined[other].transport.loseConnection()
            self.advance(1)
            for each in (one, other):
                self.assertIsInstance(joined[each].reason, ConnectionDone)
            self.assertEqual(self.reaches.open, [])

    def test_ended(self) -> None:
        """Somebody ends it by its id."""
        _, near, _, far = self.reached()
        (reach,) = self.reaches.open
        self.assertEqual(firings(self.reaches.end(reach.asked.id)), [None])
        self.settle()
        self.assertEqual(near.reason.code, StopCode.ENDED)
        self.assertEqual(far.reason.code, StopCode.CANCELLED)
        for id in (reach.asked.id, "0" * 16, ""):
            self.assertIsInstance(firings(self.reaches.end(id))[0], NotPresent)

    def test_permissionIsTaken(self) -> None:
        """After each reload what is open is judged again; what may stay stays."""
        self.thing("lamp", "ssh", "web")
        operator = self.operator("lamp:ssh", "lamp:web")
        ssh, web = self.opened(operator), self.opened(operator, "reach:web:lamp")
        self.review()
        self.assertEqual((ssh.reason, web.reason), (None, None))
        self.book.permits["olga"] = ("*:web",)
        self.review()
        self.assertEqual(ssh.reason.code, StopCode.NOT_PERMITTED)
        self.assertIsNone(web.reason)
        self.assertIsNone(operator.client.termination)
        self.assertEqual(self.opened(operator).code, StopCode.NOT_PERMITTED)
        self.book.permits["olga"] = ("*:*",)
        self.review()
        self.assertIsInstance(self.opened(operator), HalfTalk)

    def test_keyIsTaken(self) -> None:
        """Without either key, or as a thing, nobody reaches anything within seconds."""
        for name in ("olga", "lamp"):
            _, near, _, far = self.reached()
            del self.book.names[self.key(name).fingerprint]
            self.review()
            self.advance(3)
            self.assertIsNotNone(near.reason)
            self.assertIsNotNone(far.reason)
            self.assertEqual(self.reaches.open, [])
            del self.keys[name]
        _, near, _, far = self.reached()
        del self.book.permits["olga"]
        self.review()
        self.advance(3)
        self.assertEqual(far.reason.code, StopCode.CANCELLED)

    def test_takenOver(self) -> None:
        """A newer session of the thing is another one: what the older had is over at once."""
        _, near, _, _ = self.reached()
        self.thing("lamp")
        self.settle()
        self.assertEqual(near.reason.code, StopCode.WENT_AWAY)
        self.assertEqual(self.reaches.open, [])
        self.assertEqual(self.kinds(), [Kind.JOINED, Kind.REACHED, Kind.REACH_ENDED, Kind.MOVED])
        self.assertOrdered()

    def test_drained(self) -> None:
        """A drain ends all, and nothing keeps the server from stopping."""
        _, near, _, far = self.reached()
        drained = firings(self.home.local.factory.drain(5.0))
        self.advance(8)
        self.assertEqual(len(drained), 1)
        self.assertIsNotNone(near.reason)
        self.assertIsNotNone(far.reason)
        self.assertEqual(self.reaches.open, [])
        self.assertIs(self.kinds()[-1], Kind.LEFT)


class CreditTests(ReachCase):
    """Who reads slowly holds back who writes, and nobody else."""

    def assertHeldBack(self, writer: Any, reader: Any) -> None:
        """Who writes as fast as it may waits, for ten TTLs, while the reader has paused."""
        source = Source(writer.transport)
        self.advance(0.1, 0.01)  # Windows grow with time.
        self.assertGreater(source.written, MAX_WINDOW)
        reader.transport.pauseProducing()
        before, read = source.written, len(reader.data)
        self.advance(10 * TTL, 2.0)
        # A window at the reader, one at the server, and what each side's transport takes.
        self.assertLess(source.written - before, 2 * MAX_WINDOW + 4 * BUFFER_SIZE)
        self.assertEqual(len(reader.data), read)
        reach = self.reaches.open[0]
        # The reader's window, what the relay gives at most before it is paused, and one read more.
        self.assertLess(
            reach.octetsUp + reach.octetsDown - read, MAX_WINDOW + LONG_READ + FULL_READ
        )
        stuck = source.written
        self.advance(2 * TTL, 2.0)
        self.assertEqual(source.written, stuck)

        source.stop()
        reader.transport.resumeProducing()
        self.advance(2)
        self.assertEqual(len(reader.data), source.written)
        self.assertEqual([pair.client.termination for pair in self.pairs], [None, None])

    def test_slowOperator(self) -> None:
        """An operator that does not read holds back the thing's service."""
        _, near, _, far = self.reached()
        self.assertHeldBack(far, near)

    def test_slowThing(self) -> None:
        """So does a service that does not read, the other way."""
        _, near, _, far = self.reached()
        self.assertHeldBack(near, far)

    def test_others(self) -> None:
        """One that is held back holds up no other, of the same operator and the same thing."""
        operator, near, _, far = self.reached()
        near.transport.pauseProducing()
        Source(far.transport)
        self.advance(2)
        _, maker = self.thing("clock")
        other = self.opened(operator, "reach:ssh:clock")
        other.transport.write(b"now")
        self.settle()
        self.assertEqual(maker.made[-1].data, b"now")

    def test_pausedAtTheEnd(self) -> None:
        """What both ends have ended waits for a reader that has paused, however long."""
        _, near, _, far = self.reached()
        near.transport.loseWriteConnection()
        self.settle()
        near.transport.pauseProducing()
        far.transport.write(bytes(100_000))
        far.transport.loseWriteConnection()
        self.advance(10 * TTL, 2.0)
        self.assertIsNone(near.reason)
        near.transport.resumeProducing()
        self.advance(1)
        self.assertEqual(len(near.data), 100_000)
        self.assertIsInstance(near.reason, ConnectionDone)

    def leftBehind(self) -> Any:
        """What a thing has ended in order goes on to an operator that has paused, without it."""
        _, near, thing, far = self.reached()
        near.transport.loseWriteConnection()
        self.settle()
        near.transport.pauseProducing()
        far.transport.write(bytes(50_000))
        far.transport.loseWriteConnection()
        self.advance(2)
        self.assertIsInstance(far.reason, ConnectionDone)
        thing.client.abort()
        self.advance(2)
        self.assertIsNone(near.reason)
        self.assertEqual(self.kinds()[-2:], [Kind.REACH_ENDED, Kind.LEFT])
        self.assertEqual(self.events()[-2]["reason"], "DONE")
        self.assertEqual(self.reaches.records(), [])
        return near

    def test_wholeBeforeTheThingLeaves(self) -> None:
        """What a thing had ended in order before it went is whole, though it is read later."""
        near = self.leftBehind()
        near.transport.resumeProducing()
        self.advance(1)
        self.assertEqual(len(near.data), 50_000)
        self.assertIsInstance(near.reason, ConnectionDone)
        self.assertGone()

    def test_endedBehindTheThing(self) -> None:
        """Until then it has its place, and ends with the permission, or when it is ended."""
        near = self.leftBehind()
        (reach,) = self.reaches._held
        self.successResultOf(self.reaches.end(reach))
        self.assertCut(near, StopCode.ENDED)
        near = self.leftBehind()
        self.book.permits["olga"] = ("clock:web",)
        self.review()
        self.assertCut(near, StopCode.NOT_PERMITTED)

    def assertCut(self, near: Any, code: StopCode) -> None:
        """A reach was cut, which its operator learns when it reads on."""
        self.assertGone()
        near.transport.resumeProducing()
        self.settle()
        self.assertEqual(near.reason.code, code)
        self.assertLess(len(near.data), 50_000)

    def assertGone(self) -> None:
        """Nothing is left of a reach, and its end was told once."""
        held = self.reaches._held, self.reaches._heldBy, self.reaches._heldTo
        self.assertEqual([*map(len, held)], [0, 0, 0])
        self.assertEqual(self.kinds()[-2:], [Kind.REACH_ENDED, Kind.LEFT])


class EventTests(ReachCase):
    """What the feed and the log tell of reaches."""

    def test_events(self) -> None:
        """Each begins and ends in the feed of its thing, in order with all else of it."""
        _, near, thing, far = self.reached()
        thing.client.sendMessage(b"hello")
        near.transport.write(b"12345")
        far.transport.write(b"123")
        self.advance(3)
        near.transport.abortConnection()
        self.settle()
        thing.client.goodbye()
        self.advance(1)
        kinds = [Kind.JOINED, Kind.REACHED, Kind.MESSAGE, Kind.REACH_ENDED, Kind.LEFT]
        self.assertEqual(self.kinds("lamp"), kinds)
        self.assertOrdered()
        begun, ended = self.events()[1], self.events()[3]
        who = {"by": "olga", "key": self.key("olga").fingerprint, "from": "192.0.2.1:1"}
        told = {"service": "ssh", **who, "reach": begun["reach"]}
        self.assertEqual({name: begun[name] for name in told}, told)
        told |= {"octetsUp": 5, "octetsDown": 3, "reason": "CANCELLED"}
        self.assertEqual({name: ended[name] for name in told}, told)
        self.assertAlmostEqual(ended["duration"], 3, delta=0.5)
        session = self.events()[0]["session"]
        self.assertEqual({each["session"] for each in self.events()}, {session})

    def test_thingGoesFirst(self) -> None:
        """If the thing goes, its reaches end before."""
        _, _, thing, _ = self.reached()
        self.opened(self.pairs[1])
        thing.client.setLastWord(b"farewell")
        self.settle()
        thing.client.abort()
        self.advance(1)
        self.assertEqual(
            self.kinds("lamp")[-4:],
            [Kind.REACH_ENDED, Kind.REACH_ENDED, Kind.LAST_WORD, Kind.LEFT],
        )
        self.assertEqual([each["reason"] for each in self.events()[3:5]], ["WENT_AWAY"] * 2)
        self.assertOrdered()

    def test_movedToAnotherNode(self) -> None:
        """If another node has the thing now, its reaches here end before that is heeded."""
        _, near, _, _ = self.reached()
        (session,) = self.home.local.sessions
        self.home.local.supersede("lamp", session.session, session.epoch + 1)
        self.settle()
        self.assertEqual(near.reason.code, StopCode.WENT_AWAY)
        self.assertEqual(self.kinds("lamp")[-1], Kind.REACH_ENDED)

    def test_codes(self) -> None:
        """A code that has no name is told as its number."""
        _, _, _, far = self.reached()
        far.transport.abortConnection(0x123)
        self.settle()
        self.assertEqual(self.events()[-1]["reason"], 0x123)

    def test_counted(self) -> None:
        """What came of all that were asked for, and the octets, also of those that are over."""
        _, near, _, far = self.reached()
        near.transport.write(b"12345")
        far.transport.write(b"123")
        self.settle()
        self.assertEqual(self.reaches.octets, (5, 3))
        near.transport.abortConnection()
        self.settle()
        self.assertEqual(self.reaches.octets, (5, 3))
        self.opened(self.pairs[1], "reach:ssh:nobody")
        self.assertEqual(self.reaches.outcomes, Counter({OPENED: 1, "UNKNOWN_THING": 1}))

    def test_logged(self) -> None:
        """A line when one begins, when it ends, and for a refusal; of a flood the number."""
        with capturedLogs() as captured:
            operator, near, _, _ = self.reached()
            near.transport.abortConnection()
            self.settle()
            for _ in range(REFUSALS_LOGGED + 5):
                self.opened(operator, "reach:ssh:\x1b[2J")
            self.advance(2)
            self.opened(operator, "reach:ssh:nobody")
        lines = [formatEvent(each) for each in captured if "reach" in each["log_namespace"]]
        self.assertIn("olga at 192.0.2.1:1 reaches ssh of 'lamp'", lines[0])
        self.assertIn("of 'lamp' ended after 0.0 s: CANCELLED; 0 octets to the thing", lines[1])
        self.assertEqual(len(lines), 2 + REFUSALS_LOGGED + 2)
        self.assertEqual(
            lines[2],
            "olga at 192.0.2.1:1 is refused ssh of '\ufffd[2J':"
            " UNKNOWN_THING: no thing of that name is known",
        )
        self.assertEqual(lines[-2], "5 more reaches were refused")

    def test_bug(self) -> None:
        """What cannot be opened for another reason is logged, and refused as failed."""
        self.thing()
        self.reaches.elsewhere = lambda reach, far: fail(ZeroDivisionError())
        self.assertEqual(self.opened(self.operator(), "reach:ssh:x").code, StopCode.FAILED)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ElsewhereTests(ReachCase):
    """Things that are on another node."""

    def test_elsewhere(self) -> None:
        """Another way leads there; it is told, counted and listed where the thing is."""
        other = self.presence(node="other")
        lamp, maker = self.connect(other, "lamp"), Maker(HalfTalk)
        lamp.client.streams.serve("reach:ssh", maker)
        here = lamp.server.streams
        self.reaches.elsewhere = lambda reach, far: here.endpoint("reach:ssh").connect(far)
        operator = self.operator()
        near = self.opened(operator)
        near.transport.write(b"hello")
        self.settle()
        self.assertEqual(maker.made[0].data, b"hello")
        self.assertEqual(self.reaches.open, [])
        self.assertEqual(self.reaches.octets, (0, 0))
        self.assertEqual(self.kinds("lamp"), [Kind.JOINED])
        maker.made[0].transport.abortConnection(StopCode.ENDED)
        self.settle()
        self.assertEqual(near.reason.code, StopCode.ENDED)
        self.assertEqual(self.reaches._held, {})

    def test_refused(self) -> None:
        """What the other node says is told as it is."""
        error = StreamRefused(StopCode.NOT_CONNECTED)
        self.reaches.elsewhere = lambda reach, far: fail(error)
        self.assertEqual(self.opened(self.operator()).code, StopCode.NOT_CONNECTED)


class Source:
    """
    Writes as fast as a transport lets it.

    :ivar written: how many octets it wrote.
    """

    def __init__(self, transport: Any) -> None:
        self.written = 0
        self._transport = transport
        self._paused = True
        transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        while not self._paused:
            self.written += PIECE
            self._transport.write(bytes(PIECE))

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True

    def stop(self) -> None:
        """Write no more."""
        self._transport.unregisterProducer()
