"""What the log says of connections to the registry that are down, and of Redis as the reason."""

from __future__ import annotations

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.fleet.redis.redises import FleetCase, RedisClient
from thing.fleet.redis.complaints import MOST_REASONS, Complaints


class ComplaintsTests(SynchronousTestCase):
    """Which reasons are said."""

    def test_once(self) -> None:
        """A reason is said once, another one as well, and all anew after the connection was up."""
        complaints = Complaints()
        said = [complaints.isNew(reason) for reason in ("a", "a", "b", "a")]
        self.assertEqual(said, [True, False, True, False])
        complaints.clear()
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

    async def test_noChannels(self) -> None:
        """A node that may not hear the others says so, though it has the registry."""
        rules = ("on", ">secret", "~*", "resetchannels", "+@all")
        self.redis.ask("ACL", "SETUSER", "node", *rules)
        url = f"unix://{self.redis.path}?user=node&password=secret"
        node = await self.node("a", url=url)
        await self.connected(node)
        await self.until(lambda: self.count("to hear other nodes", "NOPERM") >= 1)
        losses = node.presence._inboxLink.losses
        await self.until(lambda: node.presence._inboxLink.losses >= losses + 2)
        self.assertEqual(self.count("is down"), 1)
        self.redis.ask("ACL", "SETUSER", "node", "allchannels")
        await self.until(lambda: node.presence._inboxLink.up)
