"""What breaks: nodes, Redis, and the network between them. Afterwards presence is the truth."""

from __future__ import annotations

import time

from twisted.internet.defer import Deferred, succeed

from tests.fleet.redis.redises import SHORT, FleetCase, Node
from thing.fleet import Filter, Kind, NotLost, NotPresent, Undelivered
from thing.fleet.redis.connection import Link
from thing.fleet.redis.endpoints import logIn
from thing.fleet.redis.keeper import Keeper


class RedisFaultTests(FleetCase):
    """Redis fails; sessions stay up, and presence repairs itself."""

    async def fleet(self) -> list[Node]:
        """Three nodes with a thing each."""
        nodes = await self.three()
        for node in nodes:
            node.presence.subscribe(node.told.append).start()
            await self.connect(node, f"thing-{node.name}")
        await self.assertHere(self.truth, *nodes)
        return nodes

    @property
    def truth(self) -> dict[str, str]:
        """Who is where."""
        return {f"thing-{name}": name for name in ("a", "b", "c")}

    async def away(self, *nodes: Node) -> None:
        """Wait until nodes know that Redis is away."""
        for node in nodes:
            await self.until(lambda node=node: node.presence.registry == "away")

    def assertNobodyLeft(self) -> None:
        """No session has ended."""
        self.assertEqual([client.termination for client in self.things], [None] * 3)

    async def test_killedAndEmpty(self) -> None:
        """Redis is killed and comes back with nothing: all nodes tell it what they have."""
        nodes = await self.fleet()
        self.redis.kill()
        await self.away(*nodes)
        for node in nodes:
            page = await node.presence.things("", 10, Filter())
            self.assertFalse(page.complete)
            self.assertEqual([record.id for record in page.things], [f"thing-{node.name}"])
            (record,) = await node.presence.nodes()
            self.assertEqual(record.registry, "away")
        self.redis.start()
        await self.assertHere(self.truth, *nodes)
        self.assertNobodyLeft()
        self.assertEqual({entry["kind"] for entry in self.feed()}, {"joined"})

    async def test_killedWithData(self) -> None:
        """Redis is killed and comes back with its data: what changed meanwhile is made up for."""
        self.redis.remove()
        self.redis = type(self.redis)("--appendonly", "yes", "--appendfsync", "always").start()
        self.addCleanup(self.redis.remove)
        nodes = await self.fleet()
        self.redis.kill()
        await self.away(*nodes)
        self.things[0].goodbye()
        await self.things[0].whenTerminated()
        await self.connect(nodes[2], "late")
        self.redis.start()
        await self.assertHere({"thing-b": "b", "thing-c": "c", "late": "c"}, *nodes)
        self.assertEqual(self.kindsOf("thing-a"), ["joined", "left"])
        left = next(entry for entry in self.feed() if entry["kind"] == "left")
        self.assertIn('"GOODBYE"', left["data"])
        self.assertEqual(self.kindsOf("thing-b"), ["joined"])
        self.assertOrdered()

    async def test_stopped(self) -> None:
        """Redis does not answer: nothing waits for it longer than it may, and all is well after."""
        nodes = await self.fleet()
        self.redis.pause()
        self.addCleanup(self.redis.resume)
        page = await nodes[0].presence.things("", 10, Filter())
        self.assertFalse(page.complete)
        await self.away(*nodes)
        await self.connect(nodes[1], "late")
        self.redis.resume()
        await self.assertHere({**self.truth, "late": "b"}, *nodes)
        self.assertEqual(self.things[0].termination, None)
        self.assertOrdered()

    async def test_messagesAreKept(self) -> None:
        """What things say while Redis is away is in the stream afterwards, once, in order."""
        nodes = await self.fleet()
        said = [f"message {number}" for number in range(300)]
        for text in said[:100]:
            self.things[0].sendMessage(text.encode())
        self.redis.pause()
        self.addCleanup(self.redis.resume)
        for text in said[100:200]:
            self.things[0].sendMessage(text.encode())
        await self.away(*nodes)
        for text in said[200:]:
            self.things[0].sendMessage(text.encode())
        await self.until(lambda: nodes[0].presence.waiting >= 200)
        self.redis.resume()
        await self.until(lambda: nodes[0].presence.waiting == 0)
        await self.connected(*nodes)
        found = [entry["data"] for entry in self.feed() if entry["kind"] == "message"]
        self.assertEqual(found, [f'{{"text":"{text}"}}' for text in said])
        self.assertEqual(nodes[0].presence.dropped, 0)
        self.assertOrdered()

    async def test_subscribersAreReset(self) -> None:
        """Who subscribed is told None around the gap, what happens here in it, and all after it."""
        nodes = await self.fleet()
        await self.until(lambda: len(nodes[0].told) >= 1)
        self.redis.kill()
        await self.away(*nodes)
        del nodes[0].told[:]
        await self.connect(nodes[0], "here")
        await self.until(lambda: nodes[0].events("here") == [Kind.JOINED])
        self.redis.start()
        await self.connected(*nodes)
        self.assertIn(None, nodes[0].told)
        await self.connect(nodes[1], "there")
        await self.until(lambda: nodes[0].events("there") == [Kind.JOINED])

    async def test_deliveredAlone(self) -> None:
        """Without Redis a node reaches its own things, and says of others that it cannot."""
        nodes = await self.fleet()
        self.redis.kill()
        await self.away(*nodes)
        answer = await nodes[0].presence.deliver("thing-a", b"hello", 10.0)
        self.assertEqual(answer, b"answer to hello")
        for call in (
            nodes[0].presence.deliver("thing-b", b"hello", 10.0),
            nodes[0].presence.dismiss("thing-b"),
        ):
            await self.assertFailure(call, Undelivered)

    async def test_flushed(self) -> None:
        """Somebody empties Redis while it runs: all nodes tell it again what they have."""
        nodes = await self.fleet()
        self.redis.ask("FLUSHALL")
        await self.assertHere(self.truth, *nodes)
        self.redis.ask("SCRIPT", "FLUSH")
        self.redis.ask("FLUSHALL")
        await self.assertHere(self.truth, *nodes)
        self.assertNobodyLeft()

    async def test_full(self) -> None:
        """Redis has no memory left: nodes go on alone, and make up for it when it has."""
        nodes = await self.fleet()
        self.redis.ask("CONFIG", "SET", "maxmemory", 1)
        await self.connect(nodes[0], "late")
        await self.away(nodes[0])
        self.redis.ask("CONFIG", "SET", "maxmemory", 0)
        await self.assertHere({**self.truth, "late": "a"}, *nodes)
        self.assertIsNone(self.things[0].termination)

    async def test_muchToCleanUp(self) -> None:
        """However much a lost node left, who cleans up after it keeps its own lease meanwhile."""
        node = await self.node("a", lease=SHORT)
        await self.connected(node)
        keeper = node.presence._keeper
        renewed: list[float] = []
        original = keeper._renew
        self.patch(keeper, "_renew", lambda: renewed.append(self.reactor.seconds()) or original())
        sweeping: list[Deferred[int]] = []

        def sweep(link: object, lease: float) -> Deferred[int]:
            sweeping[:] = [self.later(0.01).addCallback(one)]
            return sweeping[0]

        self.patch(keeper.script, "sweep", sweep)
        await self.until(lambda: len(renewed) >= 4)
        self.patch(keeper.script, "sweep", lambda link, lease: succeed(0))
        await self.until(lambda: sweeping[0].called)
        self.assertGreater(keeper.swept, 3)
        self.assertEqual(node.presence.registry, "connected")

    async def test_replica(self) -> None:
        """Redis is made a replica of another: nodes do not write there, and lose nothing."""
        nodes = await self.fleet()
        self.redis.ask("REPLICAOF", "127.0.0.1", "1")
        self.things[0].sendMessage(b"to be kept")
        await self.away(nodes[0])
        self.redis.ask("REPLICAOF", "NO", "ONE")
        await self.assertHere(self.truth, *nodes)
        self.assertEqual(self.kindsOf("thing-a"), ["joined", "message"])
        self.assertNobodyLeft()


class RefusedTests(FleetCase):
    """Redis refuses a session for what it is; here it knows no PUBLISH, which a move needs."""

    redisOptions = ("--rename-command", "PUBLISH", "")

    def setUp(self) -> None:
        """Have nodes be up all the same: they try that first."""
        super().setUp()

        async def prepare(keeper: Keeper, link: Link) -> None:
            await logIn(link, keeper._address)
            await keeper.script.load(link)

        self.patch(Keeper, "_prepare", prepare)

    async def test_joinIsTriedAgain(self) -> None:
        """The session stays, its node keeps the registry, and what it said is told in order."""
        nodes = [await self.node(name, lease=SHORT) for name in ("a", "b")]
        await self.connected(*nodes)
        older = await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        newer = await self.connect(nodes[1], "lamp")
        newer.sendMessage(b"hello")
        outbox = nodes[1].presence._keeper.outbox
        await self.until(lambda: outbox.refused == 1)
        nodes[1].presence._keeper.link.drop("the test drops it")
        await self.connected(nodes[1])
        await self.connect(nodes[1], "door")
        await self.assertHere({"lamp": "a", "door": "b"}, *nodes)
        older.goodbye()
        await self.assertHere({"lamp": "b", "door": "b"}, *nodes)
        await self.until(lambda: len(outbox) == 0)
        self.assertEqual(self.kindsOf("lamp"), ["joined", "left", "joined", "message"])
        self.assertIsNone(newer.termination)

    async def test_endsMeanwhile(self) -> None:
        """A session that ends before it was known is not told at all."""
        nodes = [await self.node(name, lease=SHORT) for name in ("a", "b")]
        await self.connected(*nodes)
        await self.connect(nodes[0], "lamp")
        newer = await self.connect(nodes[1], "lamp")
        outbox = nodes[1].presence._keeper.outbox
        await self.until(lambda: outbox.refused == 1)
        newer.goodbye()
        await self.until(lambda: len(outbox) == 0)
        self.assertEqual(self.kindsOf("lamp"), ["joined"])
        await self.assertHere({"lamp": "a"}, *nodes)


def one(_: object) -> int:
    """There is more to be done."""
    return 1


class NetworkFaultTests(FleetCase):
    """The network between a node and Redis fails."""

    async def test_swallowed(self) -> None:
        """
        A node that reaches Redis no more: its things are taken off by the others, stay up, and
        are back when the network is.
        """
        network = await self.network("a")
        nodes = [
            await self.node("a", network=network, lease=SHORT),
            await self.node("b", lease=SHORT),
            await self.node("c", lease=SHORT),
        ]
        await self.connected(*nodes)
        lamp = await self.connect(nodes[0], "lamp")
        door = await self.connect(nodes[1], "door")
        await self.assertHere({"lamp": "a", "door": "b"}, *nodes)
        network.swallow()
        await self.assertHere({"door": "b"}, *nodes[1:])
        await self.until(lambda: nodes[0].presence.registry == "away")
        self.assertEqual(self.kindsOf("lamp"), ["joined", "left"])
        left = [entry for entry in self.feed() if entry["kind"] == "left"]
        self.assertIn('"NODE_LOST"', left[0]["data"])
        (found,) = [each for each in await nodes[1].presence.nodes() if each.node == "a"]
        self.assertEqual((found.status, found.sessions), ("lost", 0))
        network.mend()
        await self.assertHere({"lamp": "a", "door": "b"}, *nodes)
        self.assertEqual(self.kindsOf("lamp"), ["joined", "left", "joined"])
        await self.until(lambda: nodes[0].presence._inboxLink.up)
        answer = await nodes[1].presence.deliver("lamp", b"hello", 10.0)
        self.assertEqual(answer, b"answer to hello")
        self.assertEqual((lamp.termination, door.termination), (None, None))
        self.assertOrdered()

    async def test_reset(self) -> None:
        """A connection that is reset comes back; nobody is taken off for that."""
        network = await self.network("a")
        nodes = [await self.node("a", network=network), await self.node("b")]
        await self.connected(*nodes)
        await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        link = nodes[0].presence._keeper.link
        for losses in range(3):
            network.mend()
            await self.until(lambda losses=losses: link.losses > losses)
            await self.connected(nodes[0])
        await self.assertHere({"lamp": "a"}, *nodes)
        self.assertEqual(self.kindsOf("lamp"), ["joined"])

    async def test_movedMeanwhile(self) -> None:
        """
        A thing moves from a node that is cut off: when that is back, the older session goes and
        the newer one stays.
        """
        network = await self.network("a")
        nodes = [await self.node("a", network=network), await self.node("b")]
        await self.connected(*nodes)
        older = await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        network.reset()
        await self.until(lambda: nodes[0].presence.registry == "away")
        newer = await self.connect(nodes[1], "lamp")
        await self.assertHere({"lamp": "b"}, nodes[1])
        self.assertIsNone(older.termination)
        network.mend()
        await older.whenTerminated()
        await self.assertHere({"lamp": "b"}, *nodes)
        self.assertIsNone(newer.termination)
        self.assertEqual(self.kindsOf("lamp"), ["joined", "moved"])

    async def test_islandIsNewer(self) -> None:
        """A thing that moved to a node that is cut off is there when that is back."""
        network = await self.network("a")
        nodes = [await self.node("a", network=network), await self.node("b")]
        await self.connected(*nodes)
        older = await self.connect(nodes[1], "lamp")
        await self.assertHere({"lamp": "b"}, *nodes)
        network.reset()
        await self.until(lambda: nodes[0].presence.registry == "away")
        await self.later(0.05)
        newer = await self.connect(nodes[0], "lamp")
        network.mend()
        await older.whenTerminated()
        await self.assertHere({"lamp": "a"}, *nodes)
        self.assertIsNone(newer.termination)
        self.assertOrdered()

    async def test_inboxAlone(self) -> None:
        """Who publishes to a node that does not listen learns it at once."""
        nodes = await self.three()
        await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        waiting = nodes[0].presence._inboxLink.stop()
        await waiting
        call: Deferred[bytes] = nodes[1].presence.deliver("lamp", b"hello", 30.0)
        await self.assertFailure(call, Undelivered)
        await self.assertFailure(nodes[1].presence.deliver("nobody", b"", 1.0), NotPresent)

    async def test_forgotten(self) -> None:
        """A node that was lost is forgotten when somebody says so, and is there when it is back."""
        network = await self.network("b")
        kept = await self.node("a", lease=SHORT)
        lost = await self.node("b", network=network, lease=SHORT)
        await self.connected(kept, lost)
        forget = kept.presence.forget
        for name in ("a", "b"):
            await self.assertFailure(forget(name), NotLost)
        await self.assertFailure(forget("c"), NotPresent)
        network.reset()

        async def statusOf(name: str) -> str:
            return {each.node: each.status for each in await kept.presence.nodes()}.get(name, "")

        async def isLost() -> bool:
            return await statusOf("b") == "lost"

        await self.until(isLost)
        await self.assertFailure(lost.presence.forget("a"), Undelivered)
        await forget("b")
        self.assertEqual(await statusOf("b"), "")
        network.mend()
        await self.connected(lost)
        self.assertEqual(await statusOf("b"), "up")

    async def test_clocksDisagree(self) -> None:
        """Whose session is the newer is decided by the registry's clock, and not the nodes'."""
        network = await self.network("a")
        slow = await self.node("a", network=network, wallClock=lambda: time.time() - 3600)
        fast = await self.node("b", wallClock=lambda: time.time() + 3600)
        await self.connected(slow, fast)
        older = await self.connect(fast, "lamp")
        await self.assertHere({"lamp": "b"}, slow, fast)
        network.reset()
        await self.until(lambda: slow.presence.registry == "away")
        await self.later(0.05)
        newer = await self.connect(slow, "lamp")
        network.mend()
        await older.whenTerminated()
        await self.assertHere({"lamp": "a"}, slow, fast)
        self.assertIsNone(newer.termination)
