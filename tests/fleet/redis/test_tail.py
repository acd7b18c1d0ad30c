"""Subscriptions to a registry that end early: nothing is left of them."""

from __future__ import annotations

from tests.fleet.redis.redises import FleetCase, Node
from thing.fleet import FedEvent, ISubscription
from thing.fleet.redis.tail import BATCH


class EarlyEndTests(FleetCase):
    """A receiver that cancels its subscription while it is told."""

    async def history(self, node: Node, count: int) -> str:
        """Let much happen; gives the position of the first event of it."""
        await self.connected(node)
        lamp = await self.connect(node, "lamp")
        for number in range(count):
            lamp.sendMessage(str(number).encode())

        def written() -> bool:
            return int(self.redis.ask("XLEN", "thing:feed")) == count + 1

        await self.until(written)
        (first, _), *_ = self.redis.ask("XRANGE", "thing:feed", "-", "+", "COUNT", 1)
        position: str = first.decode()
        return position

    def cancelling(
        self, node: Node, told: list[FedEvent | None], after: str | None = None, at: int = 1
    ) -> ISubscription:
        """A subscription that ends itself once it was told so much."""

        def receive(fed: FedEvent | None) -> None:
            told.append(fed)
            if len(told) == at:
                subscription.cancel()

        subscription = node.presence.subscribe(receive, after)
        subscription.start()
        return subscription

    async def assertNobodyIsTold(self, node: Node) -> None:
        """Nothing is left behind, and the reading of the stream ends."""
        tail = node.presence._tail
        self.assertEqual(tail.subscriptions, [])
        self.assertEqual(node.presence.feed.subscriptions, [])
        await self.until(lambda: not tail._following)

    async def test_whatWas(self) -> None:
        """It may end at the first event that was, in the midst of a piece, or of a later one."""
        node = await self.node("a")
        first = await self.history(node, 2 * BATCH + 10)
        for at in (1, BATCH // 2, BATCH + 7):
            told: list[FedEvent | None] = []
            subscription = self.cancelling(node, told, first, at)
            await self.until(lambda told=told, at=at: len(told) == at)
            self.assertFalse(subscription.active)
            await self.later(0.1)
            self.assertEqual(len(told), at)
            await self.assertNobodyIsTold(node)

    async def test_catchingUp(self) -> None:
        """Whoever follows can tell what was from what comes, whatever the clocks say."""
        node = await self.node("a", wallClock=lambda: 0.0)
        first = await self.history(node, BATCH + 10)
        found: list[bool] = []
        subscription = node.presence.subscribe(
            lambda _: found.append(subscription.catchingUp), first
        )
        subscription.start()
        await self.until(lambda: not subscription.catchingUp)
        self.assertEqual(found, [True] * (BATCH + 10))
        await self.connect(node, "door")
        await self.until(lambda: len(found) == BATCH + 11)
        self.assertFalse(found[-1])
        node.presence._keeper.link.drop("the test drops it")
        await self.until(lambda: len(found) >= BATCH + 12)  # That it is away, and then is back.
        await self.until(lambda: not subscription.catchingUp)
        subscription.cancel()
        await self.assertNobodyIsTold(node)

    async def test_gap(self) -> None:
        """It may end when it is told that something is missing."""
        node = await self.node("a")
        await self.history(node, 3)
        told: list[FedEvent | None] = []
        self.cancelling(node, told, "5-5")
        await self.until(lambda: told)
        await self.later(0.1)
        self.assertEqual(told, [None])
        await self.assertNobodyIsTold(node)

    async def test_whatComes(self) -> None:
        """It may end at the first event that comes; the others are told that and the next."""
        node = await self.node("a")
        await self.connected(node)
        told: list[FedEvent | None] = []
        self.cancelling(node, told)
        other = node.presence.subscribe(node.told.append)
        other.start()
        await self.until(lambda: node.presence._tail._following)
        for name in ("one", "two"):
            await self.connect(node, name)
        await self.until(lambda: len(node.told) == 2)
        self.assertEqual(told, node.told[:1])
        other.cancel()
        await self.assertNobodyIsTold(node)

    async def test_away(self) -> None:
        """While the registry is away it may end at the first event, or before any."""
        node = await self.node("a", url="unix:///nowhere/at/all")
        for after, tells in (("5-5", False), (None, True)):
            told: list[FedEvent | None] = []
            self.cancelling(node, told, after)
            if tells:
                self.assertEqual(len(node.presence.feed.subscriptions), 1)
                await self.connect(node, "lamp")
            self.assertEqual(len(told), 1)
            await self.assertNobodyIsTold(node)

    async def test_lostAndBack(self) -> None:
        """It may end when the registry is lost, and when it is back."""
        for at in (1, 2):
            node = await self.node(f"node {at}")
            await self.connected(node)
            told: list[FedEvent | None] = []
            self.cancelling(node, told, at=at)
            await self.until(lambda node=node: node.presence._tail._following)
            node.presence._keeper.link.drop("a test")
            await self.until(lambda told=told, at=at: len(told) == at)
            self.assertEqual(told, [None] * at)
            await self.connected(node)
            await self.assertNobodyIsTold(node)
