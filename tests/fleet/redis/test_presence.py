"""Three nodes that share a real Redis: who is here, and where, as each of them says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from math import isfinite
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.fleet.redis.redises import SHORT, FleetCase, Node
from thing import EndReason, ErrorCode, IdentityKey, LocalProtocolError
from thing.errors import ReplyStatus, RequestFailed, RequestTimedOut
from thing.events import Cause
from thing.fleet import (
    FedEvent,
    Filter,
    IPresence,
    Kind,
    NotPresent,
    Status,
    Twins,
    Undelivered,
    searching,
)
from thing.fleet.redis import queries
from thing.fleet.redis.admission import BUSY_TIME
from thing.fleet.redis.connection import ANSWER_TIME, Link
from thing.fleet.redis.script import Bounds
from thing.trust.live import fingerprintOf


class SharedTests(FleetCase):
    """What one node knows, all do."""

    async def test_interface(self) -> None:
        """It is an ``IPresence``."""
        node = await self.node("a")
        verifyObject(IPresence, node.presence)

    async def test_joinedAndLeft(self) -> None:
        """A thing that comes to one node is known to all, and so is its goodbye."""
        nodes = await self.three()
        for node in nodes:
            node.presence.subscribe(node.told.append).start()
        lamp = await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        for node in nodes:
            record = await node.presence.thing("lamp")
            assert record is not None
            self.assertEqual(
                (record.name, record.node, record.session), ("lamp", "a", lamp.sessionId)
            )
            self.assertEqual(record.fingerprint, self.key("lamp").fingerprint)
            self.assertIs(record.status, Status.PRESENT)
            assert record.traffic is not None
        lamp.goodbye()
        await self.assertHere({}, *nodes)
        record = await nodes[2].presence.thing("lamp")
        assert record is not None
        self.assertIs(record.status, Status.GONE)
        self.assertEqual([ending.cause for ending in record.endings], ["GOODBYE"])
        await self.until(lambda: all(node.events() == [Kind.JOINED, Kind.LEFT] for node in nodes))
        self.assertEqual(nodes[0].told, nodes[1].told)
        self.assertOrdered()

    async def test_moved(self) -> None:
        """A thing that connects elsewhere is there at once; its older session is told to go."""
        nodes = await self.three()
        older = await self.connect(nodes[0], "lamp")
        newer = await self.connect(nodes[1], "lamp")
        ended = await older.whenTerminated()
        self.assertIs(ended.cause, Cause.GOODBYE)
        self.assertEqual(ended.reason.name, "REPLACED")
        await self.assertHere({"lamp": "b"}, *nodes)
        self.assertEqual(self.kindsOf("lamp"), ["joined", "moved"])
        self.assertOrdered()
        record = await nodes[0].presence.thing("lamp")
        assert record is not None
        self.assertEqual(record.session, newer.sessionId)
        self.assertEqual([ending.cause for ending in record.endings], ["REPLACED"])
        self.assertEqual(len(nodes[0].presence.local), 0)

    async def test_delivered(self) -> None:
        """A message reaches a thing on any node, and its answer comes back."""
        nodes = await self.three()
        lamp = await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        for node in nodes:
            answer = await node.presence.deliver("lamp", node.name.encode(), 10.0)
            self.assertEqual(answer, b"answer to " + node.name.encode())
        self.assertEqual(lamp.messages, [b"a", b"b", b"c"])

    async def test_failures(self) -> None:
        """What keeps a message from being dealt with is the same from every node."""
        nodes = await self.three()
        await self.connect(nodes[0], "lamp")
        deaf = await self.connect(nodes[0], "deaf")
        deaf.requestReceived = raiseNotTaken  # type: ignore[method-assign]
        mute = await self.connect(nodes[0], "mute")
        mute.requestReceived = lambda data: Deferred()  # type: ignore[method-assign]
        await self.assertHere({"lamp": "a", "deaf": "a", "mute": "a"}, *nodes)
        for node in nodes:
            deliver = node.presence.deliver
            await self.assertFailure(deliver("nobody", b"", 9.0), NotPresent)
            error = await self.assertFailure(deliver("deaf", b"", 9.0), RequestFailed)
            self.assertIs(error.status, ReplyStatus.NOT_TAKEN)
            await self.assertFailure(deliver("mute", b"", 0.2), RequestTimedOut)
            protocolError = await self.assertFailure(
                deliver("lamp", bytes(3 << 20), 9.0), LocalProtocolError
            )
            self.assertIs(protocolError.code, ErrorCode.BAD_ARGUMENT)

    async def test_movedMeanwhile(self) -> None:
        """A message follows a thing that moves just then."""
        nodes = await self.three()
        await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        errands, node = nodes[2].presence._errands, ["a"]
        lookUp = errands._nodeOf

        async def outdated(id: str) -> str:
            return node.pop() if node else await lookUp(id)

        errands._nodeOf = outdated  # type: ignore[method-assign]
        lamp = await self.connect(nodes[1], "lamp")
        await self.assertHere({"lamp": "b"}, *nodes)
        answer = await nodes[2].presence.deliver("lamp", b"hello", 10.0)
        self.assertEqual((answer, lamp.messages), (b"answer to hello", [b"hello"]))

    async def test_located(self) -> None:
        """Each node tells where a thing is, or that nobody knows it, or that it cannot say."""
        nodes = await self.three()
        await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        for node in nodes:
            found = await node.presence.locate("lamp")
            self.assertEqual((found.node, found.status), ("a", Status.PRESENT))
            self.assertIsNone(await node.presence.locate("nobody"))
        self.redis.kill()
        await self.until(lambda: nodes[1].presence.registry == "away")
        await self.until(lambda: nodes[0].presence.registry == "away")
        self.assertEqual((await nodes[0].presence.locate("lamp")).node, "a")
        await self.assertFailure(nodes[1].presence.locate("lamp"), Undelivered)

    async def test_advertised(self) -> None:
        """Each node tells where every other is reached, and by which key it is known."""
        first = await self.node("a", advertised="a.example:9000")
        second = await self.node("b")
        await self.connected(first, second)
        keys = [fingerprintOf(node.factory.settings.credential) for node in (first, second)]
        expected = {"a": ("a.example:9000", keys[0]), "b": ("", keys[1])}
        for node in (first, second):
            told = {r.node: (r.advertised, r.fingerprint) for r in await node.presence.nodes()}
            self.assertEqual(told, expected)

    async def test_askedAll(self) -> None:
        """All other nodes are asked the same; who asks is told whether one is silent."""
        nodes = await self.three()
        asked: list[Any] = []
        for node in nodes:

            def answer(question: Any, name: str = node.presence.node) -> dict[str, Any]:
                asked.append((name, question["of"]))
                return {"by": name}

            node.presence.serve("who", answer)
        answers, complete = await nodes[1].presence.ask("who", {"of": "x"})
        self.assertEqual(([each["by"] for each in answers], complete), (["a", "c"], True))
        self.assertEqual(sorted(asked), [("a", "x"), ("c", "x")])
        self.assertEqual(await nodes[1].presence.ask("who", {"of": "x"}, "nobody"), ([], True))
        answers, complete = await nodes[1].presence.ask("who", {"of": "x"}, "c")
        self.assertEqual(([each["by"] for each in answers], complete), (["c"], True))
        nodes[2].presence.serve("who", lambda question: question["no such word"])
        answers, complete = await nodes[1].presence.ask("who", {"of": "y"})
        self.assertEqual(([each["by"] for each in answers], complete), (["a"], False))
        self.assertEqual(nodes[2].presence.malformed, 1)

    async def test_dismissed(self) -> None:
        """A thing on another node is asked to leave."""
        nodes = await self.three()
        lamp = await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        await nodes[1].presence.dismiss("lamp")
        ended = await lamp.whenTerminated()
        self.assertIs(ended.reason, EndReason.CLOSING)
        await self.assertHere({}, *nodes)
        await self.assertFailure(nodes[1].presence.dismiss("lamp"), NotPresent)

    async def test_traffic(self) -> None:
        """What only the thing's node measures is in every node's answer; if it is silent, not."""
        nodes = await self.three()
        await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        for node in nodes:
            page = await node.presence.things("", 10, Filter())
            (record,) = page.things
            assert record.traffic is not None
            self.assertEqual(record.traffic.ttl, 30.0)
            self.assertGreater(record.traffic.octetsIn, 0)
        await nodes[0].presence._inboxLink.stop()
        for node in nodes[1:]:
            record = await node.presence.thing("lamp")
            assert record is not None
            self.assertIs(record.status, Status.PRESENT)
            self.assertIsNone(record.traffic)

    async def test_nobodyWaits(self) -> None:
        """A question about a thing elsewhere can be given up; nothing is wrong then."""
        nodes = await self.three()
        await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        asked: list[Deferred[Any]] = []

        def silent(*_: object) -> Deferred[Any]:
            asked.append(Deferred())
            return asked[-1]

        nodes[1].presence._inbox.measure = silent  # type: ignore[method-assign]
        asking = nodes[1].presence.thing("lamp")
        await self.until(lambda: bool(asked))
        asking.cancel()
        await self.assertFailure(asking, CancelledError)

    async def test_pages(self) -> None:
        """Pages are in the order of the ids, whatever node the things are on, and filtered."""
        nodes = await self.three()
        names = [f"thing-{number:02}" for number in range(12)]
        clients = [await self.connect(nodes[number % 3], name) for number, name in enumerate(names)]
        await self.assertHere({name: "abc"[n % 3] for n, name in enumerate(names)}, *nodes)
        self.assertEqual(
            await self.listed(nodes[0], 5, Filter()), [names[:5], names[5:10], names[10:]]
        )
        self.assertEqual(await self.listed(nodes[1], 12, Filter()), [names])
        self.assertEqual(await self.listed(nodes[1], 99, Filter(node="b")), [names[1::3]])
        self.assertEqual(await self.listed(nodes[1], 99, Filter(text="G-03")), [["thing-03"]])
        clients[3].goodbye()
        await self.until(lambda: self.kindsOf("thing-03") == ["joined", "left"])
        self.assertEqual(await self.listed(nodes[2], 9, Filter(status=Status.GONE)), [["thing-03"]])
        self.assertEqual(await self.listed(nodes[2], 9, Filter(text="g-03")), [[]])

    async def test_longSearch(self) -> None:
        """One among many is found, however many are looked at, or else another page follows."""
        node = await self.node("a")
        await self.connected(node)
        names = [f"thing-{number:02}" for number in range(12)]
        for name in names:
            await self.connect(node, name)
        await self.until(lambda: self.kindsOf(names[-1]) == ["joined"])
        self.patch(queries, "LOOKED", 2)
        wanted = Filter(text="G-09")
        self.assertEqual(await self.listed(node, 5, wanted), [["thing-09"]])
        self.assertEqual(await self.listed(node, 99, Filter(node="a")), [names])
        self.patch(searching, "SEARCH_TIME", 0.0)
        self.assertEqual(await self.listed(node, 5, wanted), [[], [], [], [], ["thing-09"], [], []])

    async def listed(self, node: Node, limit: int, wanted: Filter) -> list[list[str]]:
        """All pages, as ids."""
        pages, after = [], ""
        while True:
            page = await node.presence.things(after, limit, wanted)
            self.assertTrue(page.complete)
            pages.append([record.id for record in page.things])
            if page.following is None:
                return pages
            after = page.following

    async def test_nodes(self) -> None:
        """How every node is; the one that is asked comes first."""
        nodes = await self.three()
        await self.connect(nodes[1], "lamp")
        await self.until(lambda: self.sessionsOf(nodes[2], "b", 1))
        records = await nodes[2].presence.nodes()
        self.assertEqual([each.node for each in records], ["c", "a", "b"])
        self.assertEqual({each.status for each in records}, {"up"})
        self.assertEqual({each.registry for each in records[:1]}, {"connected"})
        await nodes[1].stop()
        records = await nodes[2].presence.nodes()
        self.assertEqual([each.node for each in records], ["c", "a", "b"])
        self.assertEqual([each.status for each in records], ["up", "up", "stopped"])

    async def test_endedBefore(self) -> None:
        """How sessions ended on a node is told when it has stopped, and when it is back."""

        async def ended(node: str) -> int:
            records = await nodes[0].presence.nodes()
            (record,) = [each for each in records if each.node == node]
            return sum(counts.get("GOODBYE", 0) for _, counts in record.minutes)

        nodes = await self.three()
        client = await self.connect(nodes[1], "lamp")
        client.goodbye()
        await self.assertHere({}, *nodes)
        await nodes[1].stop()
        self.assertEqual(await ended("b"), 1)
        again = await self.node("b")
        await self.connected(again)
        self.assertEqual(await ended("b"), 1)
        self.assertEqual((await again.presence.nodes())[0].completed, 0)

    async def sessionsOf(self, node: Node, name: str, count: int) -> bool:
        """Whether a node says that another has so many sessions."""
        records = await node.presence.nodes()
        return [each.sessions for each in records if each.node == name] == [count]

    async def test_anonymous(self) -> None:
        """Each anonymous session is a thing of its own, and forgotten when it is over."""
        nodes = await self.three()
        clients = [await self.connect(node, None) for node in nodes]
        ids = {
            f"anonymous#{client.sessionId[:16]}": node.name
            for client, node in zip(clients, nodes, strict=True)
        }
        await self.assertHere(ids, *nodes)
        for client in clients:
            client.goodbye()
        await self.assertHere({}, *nodes)
        for id in ids:
            self.assertIsNone(await nodes[0].presence.thing(id))
        self.assertEqual(self.redis.ask("KEYS", "thing:t:*"), [])

    def lastWord(self) -> bytes:
        """The lamp's last word, as the registry has it."""
        word: bytes = self.redis.ask("HGET", "thing:t:lamp", "lastWord")
        return word

    async def test_lastWord(self) -> None:
        """A node that is lost takes no last word with it: another publishes it."""
        network = await self.network("a")
        nodes = [
            await self.node("a", network=network, lease=SHORT),
            await self.node("b", lease=SHORT),
            await self.node("c", lease=SHORT),
        ]
        await self.connected(*nodes)
        lamp = await self.connect(nodes[0], "lamp", lastWord=b"first")
        lamp.setLastWord(b"farewell")
        farewell = b'{"text":"farewell"}'
        await self.until(lambda: self.lastWord() == farewell)
        network.swallow()
        await self.until(lambda: self.kindsOf("lamp")[:3] == ["joined", "lastWord", "left"])
        self.assertEqual(self.feed()[1]["data"].encode(), farewell)
        network.mend()
        await self.assertHere({"lamp": "a"}, *nodes)
        self.assertEqual(self.lastWord(), farewell)
        lamp.abort()
        await self.until(lambda: self.kindsOf("lamp")[4:] == ["lastWord", "left"])
        self.assertOrdered()


class AdmissionTests(FleetCase):
    """Who may come, when the thing is here already."""

    async def rejected(self, node: Node, name: str, **choices: Any) -> Any:
        """With what a thing is rejected."""
        client = await self.dial(node, name, **choices)
        ended = await client.whenTerminated()
        self.assertIs(ended.cause, Cause.REJECTED)
        return ended

    async def test_refuse(self) -> None:
        """With twins refused, who is here stays, on whatever node the other comes."""
        nodes = await self.three(twins=Twins.REFUSE)
        lamp = await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        for node in nodes:
            ended = await self.rejected(node, "lamp")
            self.assertIs(ended.code, ErrorCode.IDENTITY_IN_USE)
            self.assertTrue(0.0 < ended.retryAfter <= lamp.ttl)
        self.assertIsNone(lamp.termination)
        lamp.goodbye()
        await self.assertHere({}, *nodes)
        await self.connect(nodes[1], "lamp")
        await self.assertHere({"lamp": "b"}, *nodes)

    async def test_busyRegistry(self) -> None:
        """A registry that is slow to answer is asked no more questions about newcomers."""
        node = await self.node("a")
        await self.connected(node)
        keeper = node.presence._keeper
        asked: list[str] = []
        ask = keeper.ask
        self.patch(keeper, "ask", lambda each: asked.append(each.op) or ask(each))
        await self.connect(node, "lamp")
        self.assertEqual(asked.count("admit"), 1)
        self.patch(Link, "lag", BUSY_TIME + 0.1)
        await self.connect(node, "door")
        self.assertEqual(asked.count("admit"), 1)
        await self.assertHere({"lamp": "a", "door": "a"}, node)

    def test_lag(self) -> None:
        """How long the oldest command has waited is known, and that none has."""
        clock = Clock()
        link = Link(None, clock, float, prepare=float, onUp=float, onDown=float)  # type: ignore[arg-type]
        self.assertEqual(link.lag, 0.0)
        link._deadlines.append(clock.seconds() + ANSWER_TIME)
        clock.advance(0.7)
        self.assertEqual(link.lag, 0.7)

    async def test_allow(self) -> None:
        """With twins allowed each session is a thing of its own."""
        nodes = await self.three(twins=Twins.ALLOW)
        clients = [await self.connect(node, "lamp") for node in nodes]
        expected = {
            f"lamp#{client.sessionId[:16]}": node.name
            for client, node in zip(clients, nodes, strict=True)
        }
        await self.assertHere(expected, *nodes)

    async def test_otherKey(self) -> None:
        """Another key with the same name takes nothing over, on whatever node it comes."""
        nodes = await self.three()
        lamp = await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        other = IdentityKey.generate()
        self.book.names[other.fingerprint] = "lamp"
        for node in nodes:
            ended = await self.rejected(node, "lamp", key=other)
            self.assertIs(ended.code, ErrorCode.IDENTITY_IN_USE)
        self.assertIsNone(lamp.termination)

    async def test_twins(self) -> None:
        """Twins on different nodes that replace each other must wait, and it is told."""
        nodes = await self.three()
        nodes[2].presence.subscribe(nodes[2].told.append).start()
        for number in range(5):
            await self.connect(nodes[number % 2], "lamp")
            await self.assertHere({"lamp": "ab"[number % 2]}, *nodes)
        await self.until(lambda: Kind.TWINS in nodes[2].events())
        for node in nodes:
            ended = await self.rejected(node, "lamp")
            self.assertIs(ended.code, ErrorCode.SERVER_BUSY)
            self.assertGreater(ended.retryAfter, 1.0)
        self.assertOrdered()

    async def test_race(self) -> None:
        """Of two that come at once with different keys to different nodes, one stays."""
        nodes = await self.three()
        self.key("lamp")
        other = IdentityKey.generate()
        self.book.names[other.fingerprint] = "lamp"
        for node in nodes:
            node.factory.admission = None
        one = await self.connect(nodes[0], "lamp")
        two = await self.connect(nodes[1], "lamp", key=other)
        ended = await two.whenTerminated()
        self.assertIs(ended.cause, Cause.GOODBYE)
        await self.assertHere({"lamp": "a"}, *nodes)
        self.assertIsNone(one.termination)

    async def racing(self, node: Node, *keys: IdentityKey) -> Any:
        """Things come to a node while Redis is slow, and one may stay: why the other may not."""
        self.redis.pause()
        try:
            clients = [await self.dial(node, "lamp", key=key) for key in keys]
            await self.until(lambda: len(node.factory.sessions) == 1 and node.factory.completed)
        finally:
            self.redis.resume()
        await self.until(lambda: sum(each.termination is not None for each in clients) == 1)
        (winner,) = (each for each in clients if each.termination is None)
        (loser,) = (each for each in clients if each.termination is not None)
        await self.assertHere({"lamp": node.name}, node)
        self.assertEqual(self.kindsOf("lamp"), ["joined"])
        self.assertIsNone(winner.termination)
        return loser.termination

    async def test_raceOnOneNode(self) -> None:
        """Of two that come at once with different keys to one node, the first stays."""
        node = await self.node("a")
        await self.connected(node)
        other = IdentityKey.generate()
        self.book.names[other.fingerprint] = "lamp"
        ended = await self.racing(node, self.key("lamp"), other)
        self.assertIs(ended.cause, Cause.REJECTED)
        self.assertIs(ended.code, ErrorCode.IDENTITY_IN_USE)

    async def test_refusedAtOnce(self) -> None:
        """Of two that come at once where twins are refused, the first stays."""
        node = await self.node("a", twins=Twins.REFUSE)
        await self.connected(node)
        ended = await self.racing(node, self.key("lamp"), self.key("lamp"))
        self.assertIs(ended.cause, Cause.REJECTED)
        self.assertIs(ended.code, ErrorCode.IDENTITY_IN_USE)

    async def test_slowRegistry(self) -> None:
        """A registry that does not answer keeps nobody waiting for long."""
        nodes = await self.three()
        self.redis.pause()
        self.addCleanup(self.redis.resume)
        await self.connect(nodes[0], "lamp")
        self.redis.resume()
        await self.assertHere({"lamp": "a"}, *nodes)


class HostileTests(FleetCase):
    """Whoever may write into Redis may write anything."""

    async def test_nonsense(self) -> None:
        """What makes no sense is skipped and counted; the rest is told."""
        nodes = await self.three()
        node = nodes[0]
        node.presence.subscribe(node.told.append).start()
        await self.until(lambda: node.presence._tail._following)
        ask = self.redis.ask
        ask("XADD", "thing:feed", "*", "kind", "joined")
        ask("XADD", "thing:feed", "*", b"\xff", b"\xff")
        ask(
            *("XADD", "thing:feed", "*", "kind", "left", "id", "x", "epoch", "1e999"),
            *("sequence", "1", "node", "a", "session", "s", "at", "1", "data", "{}"),
        )
        ask(
            *("XADD", "thing:feed", "*", "kind", "left", "id", "x", "epoch", "1"),
            *("sequence", "1", "node", "a", "session", "s", "at", "nan", "data", "{}"),
        )
        ask(
            *("XADD", "thing:feed", "*", "kind", "left", "id", "x", "epoch", "1"),
            *("sequence", "1", "node", "a", "session", "s", "at", "1", "data", "[" * 100_000),
        )
        ask("HSET", "thing:t:bad", "session", "s", "status", "odd")
        ask("ZADD", "thing:here", 0, "bad\0bad")
        ask("ZADD", "thing:here", 0, "worse")
        ask("ZADD", "thing:here", 0, b"\xff\xfe")
        ask("HSET", "thing:nodes", "odd", "{")
        ask("ZADD", "thing:leases", "+inf", "odd")
        for text in (
            b"\xff",
            "{}",
            "[]",
            '{"op":"supersede"}',
            '{"op":["x"]}',
            '{"op":"answer"}',
            '{"op":"measure","ids":{},"from":"b","call":"1"}',
            '{"op":"deliver","id":[],"message":"","timeout":1,"from":"b","call":"1"}',
            '{"op":"deliver","id":"x","message":"!","timeout":1,"from":"b","call":"1"}',
            '{"op":"dismiss","id":"x","from":1,"call":[]}',
            '{"op":"supersede","id":"lamp","session":["x"],"epoch":"y"}',
        ):
            ask("PUBLISH", "thing:inbox:a", text)
        await self.connect(nodes[1], "lamp")
        await self.until(lambda: node.events() == [Kind.JOINED])
        await self.assertHere({"lamp": "b"}, *nodes)
        self.assertEqual([each.node for each in await node.presence.nodes()], ["a", "b", "c"])
        await self.until(lambda: node.presence.malformed >= 5 + 11 + 2)
        self.assertEqual(node.presence.registry, "connected")

    async def test_setOfALostNode(self) -> None:
        """A set of another type, of a node that is lost, takes no other node from the registry."""
        network = await self.network("c")
        a, c = await self.node("a", lease=SHORT), await self.node("c", lease=SHORT, network=network)
        await self.connected(a, c)
        await self.connect(c, "lamp")
        await self.assertHere({"lamp": "c"}, a)
        network.swallow()
        self.redis.ask("DEL", "thing:n:c")
        self.redis.ask("SET", "thing:n:c", "a string")
        await self.until(lambda: self.redis.ask("EXISTS", "thing:n:c") == 0)
        await self.connect(a, "lamp")
        await self.assertHere({"lamp": "a"}, a)
        self.assertEqual(a.presence._keeper.link.losses, 0)

    async def test_mayNotPublish(self) -> None:
        """A node that may publish nothing is not connected, and says why."""
        self.redis.ask("ACL", "SETUSER", "node", "on", ">secret", "~*", "&*", "+@all", "-publish")
        a = await self.node("a", url=f"unix://{self.redis.path}?user=node&password=secret")
        await self.until(lambda: "publish" in a.presence._keeper.reason)
        self.assertEqual(a.presence.registry, "away")

    async def test_nonsenseOfANode(self) -> None:
        """What another node says of its things is skipped if it is no number; they are listed."""
        nodes = await self.three()
        await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        inbox = nodes[0].presence._inbox
        publish = inbox._publish
        for number in ("1e999", '"Infinity"', '"nan"', "null"):
            spoil = partial(re.sub, '"lastSeen":[^,]+', f'"lastSeen":{number}')
            inbox._publish = lambda node, text, spoil=spoil: publish(node, spoil(text))  # type: ignore[method-assign]
            before = nodes[1].presence.malformed
            page = await nodes[1].presence.things("", 10, Filter())
            (record,) = page.things
            self.assertTrue(page.complete, number)
            self.assertTrue(isfinite(record.lastSeen), number)
            self.assertIsNone(record.traffic, number)
            self.assertEqual(nodes[1].presence.malformed, before + 1, number)

    async def test_epochBeyondAll(self) -> None:
        """A newer session with an epoch that no registry can keep is none."""
        node = await self.node("a")
        await self.connected(node)
        await self.connect(node, "lamp")
        await self.assertHere({"lamp": "a"}, node)
        session = node.presence.local.session("lamp").session
        told = {"op": "supersede", "id": "lamp", "session": session, "epoch": 10**400}
        self.redis.ask("PUBLISH", "thing:inbox:a", json.dumps(told))
        await self.until(lambda: node.presence.malformed == 1)
        self.assertEqual(await self.here(node), {"lamp": "a"})

    async def test_wrongType(self) -> None:
        """A thing's key of another type is replaced."""
        nodes = await self.three()
        self.redis.ask("SET", "thing:t:lamp", "a string")
        await self.connect(nodes[0], "lamp")
        await self.connect(nodes[1], "door")
        await self.assertHere({"door": "b", "lamp": "a"}, *nodes)

    async def test_everyKey(self) -> None:
        """Whatever key is deleted, or replaced by another type, the nodes write it again."""
        nodes = await self.three(lease=SHORT)
        things = [await self.connect(node, f"lamp-{node.name}") for node in nodes]
        everybody = {f"lamp-{node.name}": node.name for node in nodes}
        await self.assertHere(everybody, *nodes)
        nodes[0].presence.subscribe(nodes[0].told.append).start()
        await self.until(lambda: nodes[0].presence._tail._following)
        names = [name.decode() for name in self.redis.ask("KEYS", "thing:*")]
        self.assertGreater(len(names), 10)
        for number, replace in enumerate((True, False)):
            for name in names:
                self.redis.ask("DEL", name)
                if replace:
                    self.redis.ask("SET", name, "a string")
            for thing in things:
                thing.sendMessage(b"word %d" % number)
            await self.assertHere(everybody, *nodes)
        await self.connected(*nodes)
        await self.until(lambda: nodes[0].presence._tail._following)
        things[2].sendMessage(b"after all")
        await self.until(lambda: self.heard(nodes[0], "after all"))
        self.assertEqual([thing.termination for thing in things], [None] * 3)

    def heard(self, node: Node, text: str) -> bool:
        """Whether a node was told that a thing said something."""
        return any(fed is not None and fed.event.data.get("text") == text for fed in node.told)

    async def test_usurperIsLost(self) -> None:
        """Two nodes have one name and no third is there: when the later is lost, all is well."""
        first = await self.node("x", lease=SHORT)
        await self.connected(first)
        await self.connect(first, "lamp")
        network = await self.network("x")
        second = await self.node("x", network=network, lease=SHORT)
        await self.connected(second)
        await self.until(lambda: first.presence.registry == "away")
        network.swallow()
        await self.connected(first)
        await self.assertHere({"lamp": "x"}, first)


class SubscriberTests(FleetCase):
    """Who is told what happens."""

    async def test_resumed(self) -> None:
        """Who was there before is told what it missed, on any node, and then what comes."""
        nodes = await self.three()
        seen: list[FedEvent | None] = []
        subscription = nodes[0].presence.subscribe(seen.append)
        subscription.start()
        await self.connect(nodes[0], "one")
        await self.until(lambda: len(seen) == 1)
        subscription.cancel()
        for name in ("two", "three", "four"):
            await self.connect(nodes[1], name)
        assert seen[0] is not None
        again: list[FedEvent | None] = []
        nodes[2].presence.subscribe(again.append, seen[0].position).start()
        await self.until(lambda: len(again) == 3)
        await self.connect(nodes[0], "five")
        await self.until(lambda: len(again) == 4)
        self.assertEqual([fed and fed.event.id for fed in again], ["two", "three", "four", "five"])
        self.assertEqual(len(seen), 1)

    async def test_gap(self) -> None:
        """Who comes with a position that is not there is told that something may be missing."""
        nodes = await self.three()
        await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        for after in ("0-0", "5-5", "9999999999999-7"):
            seen: list[FedEvent | None] = []
            nodes[1].presence.subscribe(seen.append, after).start()
            await self.until(lambda seen=seen: len(seen) >= 1)
            self.assertIsNone(seen[0])
            name = f"door-{after}"
            await self.connect(nodes[0], name)
            await self.until(lambda seen=seen, name=name: seen[-1] and seen[-1].event.id == name)
        self.assertRaises(ValueError, nodes[0].presence.subscribe, seen.append, "nonsense")

    async def test_many(self) -> None:
        """Long histories are read in pieces, and nothing is told twice while more comes."""
        nodes = await self.three()
        lamp = await self.connect(nodes[0], "lamp")
        seen: list[FedEvent | None] = []
        nodes[1].presence.subscribe(seen.append).start()
        await self.until(lambda: nodes[1].presence._tail._following)
        lamp.sendMessage(b"0")
        await self.until(lambda: len(seen) >= 1)
        for number in range(1, 1000):
            lamp.sendMessage(str(number).encode())
        await self.until(lambda: len(seen) >= 1000)
        assert seen[0] is not None
        again: list[FedEvent | None] = []
        nodes[2].presence.subscribe(again.append, seen[0].position).start()
        for number in range(1000, 1200):
            lamp.sendMessage(str(number).encode())
        await self.until(lambda: len(again) >= 1199 and len(seen) >= 1200)
        self.assertEqual(
            [fed and fed.event.data["text"] for fed in seen], [str(n) for n in range(1200)]
        )
        self.assertEqual(again, seen[1:])

    async def test_longMessages(self) -> None:
        """Long messages do not make an answer of Redis longer than it can be in a moment."""
        nodes = await self.three()
        node = nodes[1]
        node.presence.subscribe(node.told.append).start()
        await self.until(lambda: node.presence._tail._following)
        lamp = await self.connect(nodes[0], "lamp")
        answers: list[int] = []
        for link in (node.presence._keeper.link, node.presence._tail.link):
            self.patch(link, "call", partial(measuredCall, link.call, answers))
        for number in range(12):
            lamp.sendMessage(b"\x01" * 500_000)
            await self.until(lambda number=number: len(node.told) == number + 2)
        first = node.told[0]
        assert first is not None
        again: list[FedEvent | None] = []
        node.presence.subscribe(again.append, first.position).start()
        await self.until(lambda: len(again) == 12)
        self.assertEqual(again, node.told[1:])
        self.assertLess(max(answers), 2 * 3_100_000)

    async def test_noRoom(self) -> None:
        """For who takes no more nothing is read; then it goes on, and is told if it missed some."""
        node = await self.node("a", bounds=Bounds(events=1000))
        await self.connected(node)
        room = False
        seen: list[FedEvent | None] = []
        add = ("XADD", "thing:feed", "MAXLEN", 1000, "*", *eventWords())
        first = self.redis.ask(*add).decode()
        for _ in range(900):
            self.redis.ask(*add)
        subscription = node.presence.subscribe(seen.append, first, lambda: room)
        subscription.start()
        await self.later(0.5)
        self.assertEqual(seen, [])
        room = True
        await self.until(lambda: len(seen) == 900)
        self.assertNotIn(None, seen)
        subscription.cancel()
        room = False
        del seen[:]
        node.presence.subscribe(seen.append, first, lambda: room).start()
        await self.later(0.5)
        for _ in range(500):
            self.redis.ask(*add)
        room = True
        await self.until(lambda: len(seen) == 1 + 1000)
        self.assertIsNone(seen[0])
        room = False
        await self.until(lambda: node.presence._tail._following)
        self.redis.ask(*add)  # What comes it has to take.
        await self.until(lambda: len(seen) == 1 + 1001)

    async def test_positionBeyondAll(self) -> None:
        """A position beyond what Redis can count is none; nobody loses the registry for it."""
        node = await self.node("a")
        await self.connected(node)
        await self.connect(node, "lamp")
        await self.assertHere({"lamp": "a"}, node)
        link, last = node.presence._keeper.link, 2**64 - 1
        for after in (f"{2**64}-0", f"0-{2**64}"):
            self.assertRaises(ValueError, node.presence.subscribe, node.told.append, after)
        node.presence.subscribe(node.told.append, f"{last}-{last}").start()
        await self.until(lambda: node.presence._tail._following)
        self.assertEqual((node.told, link.losses), ([None], 0))

    async def test_noRoomAtTheEnd(self) -> None:
        """Who takes no more keeps nothing from ending, and begins anew with the registry."""
        node = await self.node("a")
        await self.connected(node)
        await self.connect(node, "lamp")
        await self.assertHere({"lamp": "a"}, node)
        (first, _), *_ = self.redis.ask("XRANGE", "thing:feed", "-", "+")
        await self.connect(node, "door")
        seen: list[FedEvent | None] = []
        room = False
        subscriptions = [
            node.presence.subscribe(seen.append, first.decode(), lambda: room) for _ in range(2)
        ]
        for subscription in subscriptions:
            subscription.start()
        await self.later(0.3)
        subscriptions[0].cancel()
        node.presence._keeper.link.drop("a test")
        await self.until(lambda: seen == [None, None])  # It was lost, and it is back.
        await self.until(lambda: node.presence._tail._following)
        await self.connect(node, "cat")
        await self.until(lambda: len(seen) == 3)
        assert seen[2] is not None
        self.assertEqual(seen[2].event.id, "cat")

    async def test_broken(self) -> None:
        """A receiver that raises keeps nobody else from being told."""
        nodes = await self.three()

        def broken(fed: object) -> None:
            raise RuntimeError("told to")

        subscription = nodes[0].presence.subscribe(broken)
        subscription.start()
        nodes[0].presence.subscribe(nodes[0].told.append).start()
        await self.connect(nodes[1], "lamp")
        await self.until(lambda: nodes[0].events() == [Kind.JOINED])
        subscription.cancel()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_tailIsCut(self) -> None:
        """When only the connection for the stream is lost, nothing is missed."""
        nodes = await self.three()
        nodes[0].presence.subscribe(nodes[0].told.append).start()
        await self.until(lambda: nodes[0].presence._tail._following)
        for number in range(5):
            nodes[0].presence._tail.link.drop("a test")
            await self.connect(nodes[1], f"lamp-{number}")
        await self.until(lambda: len(nodes[0].told) >= 5)
        self.assertEqual(
            [fed and fed.event.id for fed in nodes[0].told], [f"lamp-{n}" for n in range(5)]
        )


def eventWords() -> tuple[str, ...]:
    """An entry of the stream."""
    return (
        *("kind", "late", "id", "x", "epoch", "1", "sequence", "1"),
        *("node", "a", "session", "s", "at", "1", "data", "{}"),
    )


def octetsIn(answer: Any) -> int:
    """How long an answer of a registry is."""
    if isinstance(answer, list):
        return sum(map(octetsIn, answer))
    return len(answer) if isinstance(answer, bytes) else 0


def measuredCall(call: Callable[..., Any], sizes: list[int], *words: Any, **more: Any) -> Any:
    """Ask a registry something, and note how long the answer is."""

    def note(answer: Any) -> Any:
        sizes.append(octetsIn(answer))
        return answer

    return call(*words, **more).addCallback(note)


def raiseNotTaken(data: bytes) -> bytes:
    """Take no requests."""
    raise RequestFailed(ReplyStatus.NOT_TAKEN)
