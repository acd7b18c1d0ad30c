"""What the log says of connections to the registry that are down, and of Redis as the reason."""

from __future__ import annotations

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.fleet.redis.redises import FleetCase, Node, RedisClient
from thing.fleet import Filter
from thing.fleet.redis.complaints import MOST_REASONS, Complaints
from thing.fleet.redis.connection import Link, RegistryRefused


class ComplaintsTests(SynchronousTestCase):
    """Which reasons are said."""

    def test_once(self) -> None:
        """A reason is said once, another one as well, and all anew after the connection was up."""
        complaints = Complaints()
        said = [complaints.isNew(reason) for reason in ("a", "a", "b", "a")]
        self.assertEqual(said, [True, False, True, False])
        complaints.clear()
        self.assertEqual(complaints.reason, "")
        self.assertTrue(complaints.isNew("a"))

    def test_many(self) -> None:
        """Reasons that never are the same do not fill the log."""
        complaints = Complaints()
        said = [complaints.isNew(str(number)) for number in range(1000)]
        self.assertEqual(sum(said), MOST_REASONS)

    def test_borne(self) -> None:
        """Of some failures nothing is said, each time after the connection was up."""
        complaints = Complaints(borne=1)
        for _ in range(2):
            self.assertEqual([complaints.isNew("a") for _ in range(3)], [False, True, False])
            complaints.clear()


class LogTests(FleetCase):
    """What nodes say of a real Redis."""

    def setUp(self) -> None:
        super().setUp()
        self.said: list[str] = []
        globalLogPublisher.addObserver(self.note)
        self.addCleanup(globalLogPublisher.removeObserver, self.note)

    def note(self, event: LogEvent) -> None:
        """Keep what is said."""
        if event.get("log_namespace", "").startswith("thing.fleet.redis"):
            self.said.append(formatEvent(event))

    def count(self, *words: str) -> int:
        """How often something was said that has all these words in it."""
        return sum(all(word in text for word in words) for text in self.said)

    async def test_passwordIsWanted(self) -> None:
        """That Redis wants a password now is said, though it hung up before; and only once."""
        node = await self.node("a")
        await self.connected(node)
        link = node.presence._keeper.link
        with RedisClient(self.redis.path) as admin:  # Who is in already, stays in.
            admin.ask("CONFIG", "SET", "requirepass", "right")
            for kind in ("normal", "pubsub"):
                admin.ask("CLIENT", "KILL", "TYPE", kind)
        await self.until(lambda: link.losses >= 4)
        self.assertEqual(self.count("is away", "NOAUTH"), 1)
        self.assertEqual(self.count("is down"), 0)

    async def test_noSweeping(self) -> None:
        """What is refused only after the repair is said once, however often that goes well."""
        self.redis.ask("ACL", "SETUSER", "node", "on", ">secret", "~*", "&*", "+@all", "-memory")
        node = await self.node("a", url=self.url, lease=0.9)
        link = node.presence._keeper.link
        await self.until(lambda: link.losses >= 4)
        self.assertGreaterEqual(self.count("is up to date"), 3)
        self.assertEqual(self.count("is away"), 1)

    async def test_noChannels(self) -> None:
        """A node that may not hear the others says so everywhere, though it can write and ask."""
        rules = ("on", ">secret", "~*", "&*", "+@all", "-subscribe")
        self.redis.ask("ACL", "SETUSER", "node", *rules)
        node = await self.node("a", url=self.url)
        await self.until(lambda: node.presence.registry == "impaired")
        await self.until(lambda: self.count("for hearing other nodes", "NOPERM") >= 1)
        losses = node.presence._inboxLink.losses
        await self.until(lambda: node.presence._inboxLink.losses >= losses + 2)
        self.assertEqual(self.count("is down"), 1)
        await self.assertSaid(node, "impaired", "hearing other nodes: NOPERM")
        self.redis.ask("ACL", "SETUSER", "node", "+subscribe")
        await self.connected(node)
        await self.assertSaid(node, "connected", "")

    async def test_noFollowing(self) -> None:
        """Nor does one that cannot make its third connection claim to have the registry."""
        rules = ("on", ">secret", "~*", "&*", "+@all")
        self.redis.ask("ACL", "SETUSER", "node", *rules)
        node = await self.node("a", url=self.url)
        await self.connected(node)
        following = node.presence._tail.link
        self.patch(following, "_prepare", self.refuse)
        following.drop("the test drops it")
        await self.until(lambda: self.count("for following events", "told to") == 1)
        await self.assertSaid(node, "impaired", "following events: told to")

    @staticmethod
    async def refuse(link: Link) -> None:
        raise RegistryRefused("told to")

    async def test_noStream(self) -> None:
        """A node that may not read the stream says so, and goes on with all the rest."""
        self.redis.ask("ACL", "SETUSER", "node", "on", ">secret", "~*", "&*", "+@all")
        node = await self.node("a", url=self.url)
        await self.connected(node)
        link = node.presence._keeper.link
        for number, right in enumerate(("xread", "xrange", "xrevrange")):
            self.redis.ask("ACL", "SETUSER", "node", f"-{right}")
            subscription = node.presence.subscribe(node.told.append)
            subscription.start()
            await self.connect(node, f"door-{right}")
            await self.until(lambda right=right: self.count("for following events", right) >= 1)
            losses = node.presence._tail.link.losses
            await self.until(lambda least=losses + 2: node.presence._tail.link.losses >= least)
            self.assertEqual((node.presence.registry, link.losses), ("impaired", 0))
            self.assertEqual(self.count("for following events"), number + 1)
            self.redis.ask("ACL", "SETUSER", "node", f"+{right}")
            await self.connected(node)
            del node.told[:]
            await self.until(lambda: node.presence._tail._following)
            await self.connect(node, f"lamp-{right}")
            await self.until(lambda right=right: node.events(f"lamp-{right}"))
            subscription.cancel()

    async def test_reasonChanges(self) -> None:
        """Why a connection is down is said as it is now."""
        rules = ("on", ">secret", "~*", "&*", "+@all", "-subscribe")
        self.redis.ask("ACL", "SETUSER", "node", *rules)
        node = await self.node("a", url=self.url)
        await self.until(lambda: self.count("for hearing other nodes", "'subscribe'") >= 1)
        self.redis.ask("ACL", "SETUSER", "node", "+subscribe", "resetchannels")
        await self.until(lambda: self.count("for hearing other nodes", "channel") == 1)
        await self.assertSaid(node, "impaired", "channel")

    @property
    def url(self) -> str:
        """With a user whose rights the test decides."""
        return f"unix://{self.redis.path}?user=node&password=secret"

    async def assertSaid(self, node: Node, registry: str, reason: str) -> None:
        """What a node tells of itself to those who ask, and to other nodes."""
        (record,) = (each for each in await node.presence.nodes() if each.node == "a")
        self.assertEqual(record.registry, registry)
        self.assertIn(reason, record.registryReason)
        self.assertEqual(bool(record.registryReason), bool(reason))
        page = await node.presence.things("", 10, Filter())
        self.assertEqual(page.complete, registry == "connected")
        await node.presence._keeper._renew()
        other = await self.node("b")
        await self.connected(other)
        told = {each.node: each.registryReason for each in await other.presence.nodes()}
        self.assertEqual(told["a"], record.registryReason)
        await other.stop()
        self.nodes.remove(other)
