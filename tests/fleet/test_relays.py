"""Reaches from one node to another: who judges, which words each end gets, and what is bounded."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs, formatEvent

from tests.anypeer import AnyPeer
from tests.fleet.relaying import TwoNodesCase
from tests.fleet.test_reaches import Source
from tests.pairs import Pair, firings, freshServer
from tests.session.test_streams import HalfTalk, Maker, doing
from thing import IdentityKey, RequestFailed, StopCode, StreamRefused, ThingFactory
from thing.core.settings import ClientSettings
from thing.core.window import MAX_WINDOW
from thing.fleet import Kind
from thing.fleet.nodes import ANSWER_TIME, HOLD_OFF, IDLE_TIME, STREAMS, TTL
from thing.fleet.relays import ANNOUNCED_TIME, MOST_ANNOUNCED, Announcement, admitNodes
from thing.identity import Purpose
from thing.session.outflow import BUFFER_SIZE
from thing.session.protocol import linkOf


class OpenTests(TwoNodesCase):
    """How a reach begins, and what passes."""

    def test_octets(self) -> None:
        """Octets pass both ways through both nodes, and each half ends for itself."""
        _, near, _, far = self.reached()
        self.assertEqual(self.dialed, [("far.example", 9000)])
        near.transport.write(b"question")
        self.settle()
        self.assertEqual(far.data, b"question")
        near.transport.loseWriteConnection()
        self.settle()
        self.assertEqual(far.halves, ["read"])
        far.transport.write(b"answer")
        self.settle()
        self.assertEqual(near.data, b"answer")
        far.transport.loseWriteConnection()
        self.settle()
        self.advance(1)
        for end in (near, far):
            self.assertIsInstance(end.reason, ConnectionDone)
        for reaches in (self.reaches, self.farReaches):
            self.assertEqual(reaches._held, {})

    def test_told(self) -> None:
        """The thing's node alone tells of it, with the operator's name by its own files."""
        _, near, _, far = self.reached()
        near.transport.write(b"12345")
        far.transport.write(b"123")
        self.settle()
        self.assertEqual(self.reaches.open, [])
        (reach,) = self.farReaches.open
        self.assertIn(reach.asked.id, self.reaches._held)
        record = reach.record("far")
        self.assertEqual((record.by, record.key), ("olga", self.key("olga").fingerprint))
        self.assertEqual(record.address, "192.0.2.1:1 via 192.0.2.1:1")
        self.assertEqual((record.octetsUp, record.octetsDown), (5, 3))
        near.transport.abortConnection()
        self.settle()
        begun, ended = [e for e in self.events() if e["kind"].startswith("reach")]
        self.assertEqual((begun["reach"], begun["by"]), (reach.asked.id, "olga"))
        self.assertEqual((ended["reason"], ended["octetsUp"]), ("CANCELLED", 5))
        self.assertEqual({e["node"] for e in (begun, ended)}, {"far"})
        self.assertEqual((self.reaches.outcomes, self.reaches.octets), (Counter(), (0, 0)))
        self.assertEqual(self.farReaches.octets, (5, 3))

    def test_greeting(self) -> None:
        """What a service says first is lost on neither node."""
        self.thing(kind=doing(connectionMade=lambda it: it.transport.write(b"SSH-2.0-x\r\n")))
        near = self.opened(self.operator())
        self.assertEqual(near.data, b"SSH-2.0-x\r\n")

    def test_oneSession(self) -> None:
        """All reaches between two nodes are in one session, until it is full; then in two."""
        things = [self.thing(f"lamp-{number}") for number in range(4)]
        operators = [self.operator(name=name) for name in ("olga", "otto", "olaf")]
        nears = [
            self.opened(operators[number % 3], f"reach:ssh:lamp-{number % 4}")
            for number in range(STREAMS + 5)
        ]
        self.assertEqual(self.nodes.connected, ["far", "far"])
        for number, near in enumerate(nears):
            near.transport.write(b"%d" % number)
        self.settle()
        fars = [each for _, maker in things for each in maker.made]
        self.assertEqual(sorted(int(far.data) for far in fars), [*range(STREAMS + 5)])

    def test_atOnce(self) -> None:
        """Many that are asked for while the session is being made wait for it, and no other."""
        things = [self.thing(f"lamp-{number}") for number in range(4)]
        operator = self.operator()
        waiters = [self.opening(operator, f"reach:ssh:lamp-{number % 4}") for number in range(100)]
        for _ in range(4):
            self.settle()
        self.assertEqual(len(self.dialed), 1)
        self.assertEqual(sum(len(maker.made) for _, maker in things), 100)
        for (near,) in waiters:
            self.assertIsInstance(near, HalfTalk)

    def test_idle(self) -> None:
        """The session is closed when nobody has needed it for a while, and made again."""
        _, near, *_ = self.reached()
        self.advance(IDLE_TIME + 5)
        self.assertEqual(self.nodes.connected, ["far"])
        near.transport.abortConnection()
        self.advance(IDLE_TIME - 5)
        self.assertEqual(self.nodes.connected, ["far"])
        again = self.opened(self.operator())
        self.advance(IDLE_TIME - 5)
        again.transport.abortConnection()
        self.advance(IDLE_TIME + 2)
        self.assertEqual((self.nodes.connected, len(self.dialed)), ([], 1))
        self.assertTrue(self.ways[0].client.termination.clean)
        self.assertIsInstance(self.opened(self.operator()), HalfTalk)
        self.assertEqual(len(self.dialed), 2)

    def test_slowReader(self) -> None:
        """A reader that stops holds the writer at the other end; neither node holds much more."""
        _, near, _, far = self.reached()
        near.transport.pauseProducing()
        source = Source(far.transport)
        for _ in range(60):
            self.advance(0.5)
        self.assertGreater(source.written, 0)
        self.assertLess(source.written, 3 * (MAX_WINDOW + 2 * BUFFER_SIZE) + BUFFER_SIZE)
        held = source.written
        self.advance(10 * 30.0, 2.0)
        self.assertEqual(source.written, held)
        near.transport.resumeProducing()
        self.advance(5)
        self.assertGreater(source.written, held)
        source.stop()
        self.advance(30)
        self.assertEqual(len(near.data), source.written)


class RefusedTests(TwoNodesCase):
    """Who decides what, and with which words."""

    def refusal(self, *permits: str, label: str = "reach:ssh:lamp") -> Any:
        """The code with which an operator is refused."""
        result = self.opened(self.operator(*permits), label)
        self.assertIsInstance(result, StreamRefused)
        self.assertEqual((self.reaches._held, self.farReaches._held), ({}, {}))
        return result.code

    def test_absent(self) -> None:
        """A thing that nobody has heard of, that is gone, or that went just then."""
        self.assertIs(self.refusal(), StopCode.UNKNOWN_THING)
        pair, _ = self.thing()
        known = self.far.local.find("lamp")
        pair.client.goodbye()
        self.settle()
        self.assertIs(self.refusal(), StopCode.NOT_CONNECTED)
        self.assertEqual(self.dialed, [])
        self.known.located = [known]
        self.assertIs(self.refusal(), StopCode.NOT_CONNECTED)
        self.assertEqual(len(self.dialed), 1)

    def test_moved(self) -> None:
        """A thing that is not where it was a moment ago is looked for once more."""
        third = self.presence(node="third")
        reaches = self.reachable(third)
        reaches.elsewhere = self.reaches.elsewhere
        admitNodes(third.local.factory, reaches)
        self.hosts["third.example"] = third.local.factory
        self.known.more = [replace(self.known.told, node="third", advertised="third.example:1")]
        self.thing()
        found = self.far.local.find("lamp")
        assert found is not None
        self.known.located = [replace(found, node="third")]
        self.assertIsInstance(self.opened(self.operator()), HalfTalk)
        self.assertEqual([host for host, _ in self.dialed], ["third.example", "far.example"])

    def test_notHere(self) -> None:
        """A node looks for no thing on a third one: no reach goes round."""
        pair, _ = self.thing()
        found = self.far.local.find("lamp")
        pair.client.goodbye()
        self.settle()
        self.known.located = [found] * 9
        self.assertIs(self.refusal(), StopCode.NOT_CONNECTED)
        self.assertEqual(len(self.dialed), 1)

    def test_thingsWord(self) -> None:
        """What the thing says comes through both nodes."""
        self.thing("lamp", "web")
        self.assertIs(self.refusal(), StopCode.NOT_EXPOSED)

    def assertNotPermitted(self, why: str, *permits: str) -> None:
        """An operator is told that it may not; which line is missing, the thing's node logs."""
        before = self.farReaches.outcomes["NOT_PERMITTED"]
        with capturedLogs() as captured:
            self.assertIs(self.refusal(*permits), StopCode.NOT_PERMITTED)
        lines = [str(formatEvent(event)) for event in captured]
        self.assertTrue(any(line.endswith(why) for line in lines), lines)
        self.assertEqual(self.farReaches.outcomes["NOT_PERMITTED"], before + 1)

    def test_operator(self) -> None:
        """The thing's node judges the operator by its own files, whatever the other has judged."""
        self.thing()
        for permits in ((), ("lamp:web",), ("clock:ssh",), ("!lamp,*:ssh",)):
            other = type(self.book)()
            other.names, other.nodes = self.book.names, self.book.nodes
            other.permits = {"olga": permits} if permits else {}
            self.far.local.factory.authorizer = other
            why = "the operator's line here does not permit it" if permits else "no operator's"
            self.assertNotPermitted(why, "*:*")
        other.names = {}
        self.assertNotPermitted("here the key is no operator's", "*:*")
        self.assertEqual(self.farReaches.open, [])

    def test_node(self) -> None:
        """What the operator may, the node may have to be allowed to ask for, too."""
        self.thing("lamp", "ssh", "web")
        self.permit("lamp:web", "clock:*")
        self.assertNotPermitted("the line of a node does not")
        self.assertIsInstance(self.opened(self.operator(), "reach:web:lamp"), HalfTalk)

    def test_nothing(self) -> None:
        """A node without a permit may ask for nothing."""
        self.thing()
        self.permit()
        self.assertNotPermitted("the line of a node does not")

    def test_busy(self) -> None:
        """Places are bounded at the thing's node, too."""
        self.thing()
        self.farReaches._mostOpen = 1
        self.assertIsInstance(self.opened(self.operator()), HalfTalk)
        self.assertIs(self.opened(self.operator()).code, StopCode.BUSY)


class NoWayTests(TwoNodesCase):
    """The node is not to be reached, or not to be believed."""

    def assertNoWay(self, words: str) -> None:
        """An operator is told that there is no way, and the log says why."""
        self.thing()
        with capturedLogs() as captured:
            result = self.opened(self.operator())
        self.assertEqual(result.code, StopCode.NO_WAY)
        lines = [str(formatEvent(event)) for event in captured]
        self.assertTrue(any(words in line for line in lines), lines)
        self.assertEqual((self.reaches._held, self.nodes.connected), ({}, []))
        self.advance(HOLD_OFF)

    def test_holdOff(self) -> None:
        """A node that cannot be reached is not tried as fast as somebody asks."""
        self.dial = self.refused
        self.thing()
        operator = self.operator()
        for _ in range(5):
            self.assertIs(self.opened(operator).code, StopCode.NO_WAY)
        self.assertEqual(len(self.dialed), 1)
        self.dial = self.connected
        self.advance(HOLD_OFF)
        self.assertIsInstance(self.opened(operator), HalfTalk)
        self.assertEqual(len(self.dialed), 2)

    def test_refused(self) -> None:
        """Nobody answers there."""
        self.dial = self.refused
        self.assertNoWay("nobody is there")

    def test_silent(self) -> None:
        """Somebody accepts, and says nothing: within the time of an operator it is over."""
        self.dial = lambda factory: Deferred()
        self.thing()
        waiter = self.opening(self.operator())
        self.settle()
        self.advance(11)
        (result,) = waiter
        self.assertIs(result.code, StopCode.TIMED_OUT)
        self.assertEqual(self.reaches._held, {})

    def test_registryAway(self) -> None:
        """While nobody tells where the thing is, it is not looked for."""
        self.known.away = True
        self.assertNoWay("the registry cannot be reached")
        self.assertEqual(self.dialed, [])

    def test_lost(self) -> None:
        """The node is lost, as the registry says; or does not say where it is."""
        for changes, words in (
            ({"status": "lost"}, "does not tell where the node far is"),
            ({"node": "other"}, "does not tell where the node far is"),
            ({"advertised": ""}, "does not say where it is reached"),
            ({"fingerprint": ""}, "does not say where it is reached"),
            ({"advertised": "tcp:x:1"}, "neither a host nor host:port"),
        ):
            told = self.known.told
            self.known.told = replace(told, **changes)
            self.assertNoWay(words)
            self.known.told = told

    def test_otherKey(self) -> None:
        """Who answers must have the key that the registry tells."""
        told = self.known.told
        fingerprint = IdentityKey.generate().fingerprint
        self.known.told = replace(told, fingerprint=fingerprint)
        self.assertNoWay("and the registry tells")

    def other(self, key: IdentityKey) -> None:
        """The second node has a key of its own, and the registry tells it."""
        factory = self.far.local.factory
        factory.settings = freshServer(credential=key, ttl=factory.settings.ttl)
        told = self.known.told
        self.known.told = replace(told, fingerprint=key.fingerprint)

    def test_onlyTheRegistry(self) -> None:
        """That the registry tells a key is not enough: this server's files must have it."""
        key = IdentityKey.generate()
        self.other(key)
        admitNodes(self.home.local.factory, self.reaches)
        self.assertNoWay("not in the book")
        self.book.names[key.fingerprint] = "lamp-17"
        self.assertNoWay("is no node here")
        self.book.nodes[key.fingerprint] = ()
        self.assertIsInstance(self.opened(self.operator()), HalfTalk)

    def test_notAdmitted(self) -> None:
        """The other node does not know this one."""
        self.book.nodes.clear()
        self.assertNoWay("NOT_AUTHORIZED")

    def test_noNodes(self) -> None:
        """The other one takes no nodes at all."""
        del self.far.local.factory.attendants[Purpose.NODE]
        self.assertNoWay("NOT_AUTHORIZED")

    def test_noAnswer(self) -> None:
        """The other node is there, and does not answer a request in time."""
        self.thing()
        self.assertIsInstance(self.opened(self.operator()), HalfTalk)
        self.ways[0].clientEnd.pauseProducing()
        waiter = self.opening(self.operator())
        for _ in range(int(ANSWER_TIME) + 1):
            for pair in self.pairs:
                if pair is not self.ways[0]:
                    pair.pump()
            self.clock.advance(1)
        for pair in self.pairs:
            pair.pump()
        (result,) = waiter
        self.assertIs(result.code, StopCode.NO_WAY)


class EndTests(TwoNodesCase):
    """What each end learns when something between them ends."""

    def ended(self) -> dict[str, Any]:
        """What was told of the end."""
        (event,) = [each for each in self.events() if each["kind"] == Kind.REACH_ENDED.value]
        return event

    def test_thingGoes(self) -> None:
        """The thing leaves: the operator is told so."""
        _, near, thing, _ = self.reached()
        thing.client.goodbye()
        self.advance(1)
        self.assertIs(near.reason.code, StopCode.WENT_AWAY)
        self.assertEqual(self.ended()["reason"], "WENT_AWAY")

    def test_operatorGoes(self) -> None:
        """The operator leaves: the thing is told that nobody wants it any more."""
        operator, _, _, far = self.reached()
        operator.client.abort()
        self.advance(1)
        self.assertIs(far.reason.code, StopCode.CANCELLED)
        self.assertEqual(self.ended()["reason"], "CANCELLED")

    def test_wayCut(self) -> None:
        """The way between the nodes is cut: both ends know at once."""
        _, near, _, far = self.reached()
        self.ways[0].client.abort()
        self.advance(1)
        self.assertIs(near.reason.code, StopCode.NO_WAY)
        self.assertIs(far.reason.code, StopCode.CANCELLED)
        self.assertEqual(self.nodes.connected, [])
        self.assertIsInstance(self.opened(self.operator()), HalfTalk)

    def test_waySilent(self) -> None:
        """The way swallows everything: both ends know within the TTL."""
        _, near, _, far = self.reached()
        silent = self.ways[0]
        self.assertEqual(silent.client.ttl, TTL)
        self.pairs.remove(silent)
        self.advance(TTL - 3)
        self.assertEqual((near.reason, far.reason), (None, None))
        self.advance(6)
        self.assertIs(near.reason.code, StopCode.NO_WAY)
        self.assertIs(far.reason.code, StopCode.CANCELLED)
        self.pairs.append(silent)
        self.advance(1)

    def test_drained(self) -> None:
        """The thing's node is stopped in order: nothing new goes there."""
        _, near, _, _ = self.reached()
        self.far.local.factory.drain(5.0)
        self.advance(1)
        self.assertIn(near.reason.code, (StopCode.NO_WAY, StopCode.WENT_AWAY))
        self.assertEqual(self.nodes.connected, [])

    def test_stopped(self) -> None:
        """The operator's node stops: its sessions with others end in order."""
        _, _, _, far = self.reached()
        stopped = firings(self.nodes.stopService())
        self.advance(1)
        self.assertEqual(len(stopped), 1)
        self.assertIs(far.reason.code, StopCode.CANCELLED)
        self.assertTrue(self.ways[0].client.termination.clean)

    def test_ended(self) -> None:
        """Somebody ends it at the thing's node: the operator learns that."""
        _, near, _, far = self.reached()
        (reach,) = self.farReaches.open
        self.farReaches.end(reach.asked.id)
        self.advance(1)
        self.assertIs(near.reason.code, StopCode.ENDED)
        self.assertIs(far.reason.code, StopCode.CANCELLED)

    def test_operatorRevoked(self) -> None:
        """The operator loses its permit at the thing's node alone."""
        _, near, _, _ = self.reached()
        other = type(self.book)()
        other.names, other.nodes = dict(self.book.names), self.book.nodes
        other.permits = {"olga": ("lamp:web",)}
        self.far.local.factory.authorizer = other
        self.reviewFar()
        self.assertIs(near.reason.code, StopCode.NOT_PERMITTED)

    def test_operatorGone(self) -> None:
        """The operator's key is taken out at the thing's node."""
        _, near, _, _ = self.reached()
        other = type(self.book)()
        other.names = {k: v for k, v in self.book.names.items() if v != "olga"}
        other.nodes = self.book.nodes
        self.far.local.factory.authorizer = other
        self.reviewFar()
        self.assertIs(near.reason.code, StopCode.NOT_PERMITTED)

    def test_nodeBound(self) -> None:
        """What the node may ask for is bound closer: what it may not any more ends."""
        _, near, _, _ = self.reached()
        self.permit("lamp:web")
        self.reviewFar()
        self.assertIs(near.reason.code, StopCode.NOT_PERMITTED)
        self.assertEqual(self.nodes.connected, ["far"])

    def test_nodeRevoked(self) -> None:
        """The node's key is taken out at the other: its session ends."""
        _, near, _, far = self.reached()
        self.book.nodes.clear()
        self.reviewFar()
        self.advance(3)
        self.assertIs(near.reason.code, StopCode.NO_WAY)
        self.assertIs(far.reason.code, StopCode.CANCELLED)

    def test_notBelieved(self) -> None:
        """This node believes the other no more: it cuts the session off."""
        key = IdentityKey.generate()
        factory = self.far.local.factory
        factory.settings = freshServer(credential=key, ttl=factory.settings.ttl)
        told = self.known.told
        self.known.told = replace(told, fingerprint=key.fingerprint)
        self.book.nodes[key.fingerprint] = ()
        admitNodes(self.home.local.factory, self.reaches)
        _, near, _, _ = self.reached()
        self.assertEqual(self.successResultOf(self.nodes.reconsider()), 0)
        self.assertIsNone(near.reason)
        del self.book.nodes[key.fingerprint]
        self.assertEqual(self.successResultOf(self.nodes.reconsider()), 1)
        self.advance(1)
        self.assertIs(near.reason.code, StopCode.NO_WAY)


class NeighbourTests(TwoNodesCase):
    """What a node takes of another that does not behave."""

    def setUp(self) -> None:
        super().setUp()
        self.pairOf = self.wild()

    def wild(self) -> Pair:
        """A session with the second node as the first node would have it."""
        factory = ThingFactory(
            ClientSettings(credential=self.nodeKey), AnyPeer(), clock=self.clock, jitter=lambda: 0.5
        )
        self.dialed.append(("far.example", 9000))
        self.connected(factory)
        self.settle()
        return self.ways[-1]

    def announcement(self, **changes: Any) -> bytes:
        """What asks for a reach of an operator who may have it."""
        self.book.permits["olga"] = ("*:*",)
        told = json.loads(
            Announcement("0" * 16, self.key("olga").publicKey, "x", "ssh", "lamp").encode()
        )
        return json.dumps(told | changes).encode()

    def ask(self, data: bytes, label: str = "relay:" + "0" * 16) -> Any:
        """What a request and a stream come to."""
        asked = firings(self.pairOf.client.request(data))
        self.settle()
        opened = firings(self.pairOf.client.streams.endpoint(label).connect(Maker(HalfTalk)))
        self.settle()
        return asked[0], opened[0]

    def test_round(self) -> None:
        """What is encoded is decoded."""
        told = Announcement("0123456789abcdef", bytes(32), "x:1", "ssh", "lämp:1")
        self.assertEqual(Announcement.decode(told.encode()), told)

    def test_good(self) -> None:
        """This is what works."""
        self.thing()
        self.assertIsInstance(self.ask(self.announcement())[1], HalfTalk)

    def test_nonsense(self) -> None:
        """Requests that make no sense are refused, and so is a stream of an unknown id."""
        for data in (
            *(b"", b"{}", b"[]", b"\xff", b"[" * 16000, b"9" * 16000),
            *(self.announcement(**{name: value}) for name, value in NONSENSE),
        ):
            asked, opened = self.ask(data)
            self.assertIsInstance(asked, RequestFailed, data)
            self.assertEqual(opened.code, StopCode.NOT_TAKEN)
        self.assertIsNone(self.pairOf.client.termination)

    def test_otherStreams(self) -> None:
        """Nothing but announced relays may be opened: no reach, no service of the factory."""
        self.thing()
        self.far.local.factory.serve("talk", Maker())
        for label in ("talk", "reach:ssh:lamp", "relay:", "0" * 16, "relay:" + "1" * 16):
            self.assertEqual(self.ask(self.announcement(), label)[1].code, StopCode.NOT_TAKEN)

    def test_once(self) -> None:
        """An announcement is for one stream, soon."""
        self.thing()
        label = "relay:" + "0" * 16
        self.ask(self.announcement())
        again = firings(self.pairOf.client.streams.endpoint(label).connect(Maker()))
        self.settle()
        self.assertEqual(again[0].code, StopCode.NOT_TAKEN)
        self.assertEqual(self.ask(self.announcement())[1].code, StopCode.FAILED)
        firings(self.pairOf.client.request(self.announcement(reach="2" * 16)))
        self.advance(ANNOUNCED_TIME + 1)
        firings(self.pairOf.client.request(self.announcement(reach="3" * 16)))
        self.settle()
        late = firings(self.pairOf.client.streams.endpoint("relay:" + "2" * 16).connect(Maker()))
        self.settle()
        self.assertEqual(late[0].code, StopCode.NOT_TAKEN)

    def test_many(self) -> None:
        """Of those that are announced and not asked for, only so many are kept."""
        for number in range(MOST_ANNOUNCED + 10):
            self.pairOf.client.request(self.announcement(reach=f"{number:016x}"))
            self.settle()
        (session,) = self.far.local.factory.guests
        self.assertEqual(len(linkOf(session).audience._announced), MOST_ANNOUNCED)

    def test_noOperator(self) -> None:
        """A key of a thing, of a node or of nobody is no operator's, whatever a node says."""
        self.thing()
        strange = IdentityKey.generate()
        for key in (self.key("lamp"), self.nodeKey, strange):
            data = self.announcement(key=key.publicLine())
            self.assertEqual(self.ask(data)[1].code, StopCode.NOT_PERMITTED)


NONSENSE = (
    *(("reach", ""), ("reach", "0" * 15), ("reach", "G" * 16), ("reach", 7), ("reach", None)),
    *(("key", "x"), ("key", "ssh-rsa AAAA"), ("service", "a b"), ("service", ""), ("thing", "")),
    *(
        ("thing", "x" * 2000),
        ("thing", ["lamp"]),
        ("from", "a\nb"),
        ("from", "\ud800"),
        ("from", 1),
    ),
)
