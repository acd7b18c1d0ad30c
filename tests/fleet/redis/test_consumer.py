"""The example of a consumer group: it loses nothing while it is down."""

from __future__ import annotations

import os
import signal
import sys

from tests.daemon.test_twistd import PROJECT, Process
from tests.fleet.redis.redises import FleetCase


class ConsumerTests(FleetCase):
    """Messages of things, dealt with elsewhere."""

    def example(self, program: str, *words: str) -> Process:
        """A program of docs/examples; it is gone at the end."""
        process = Process()
        path = os.path.join(PROJECT, "docs", "examples", program)
        transport = self.reactor.spawnProcess(
            process, sys.executable, [sys.executable, path, *words], None
        )
        process.pid = transport.pid

        async def end() -> None:
            if not process.ended.called:
                os.kill(process.pid, signal.SIGKILL)
                await process.ended

        self.addCleanup(end)
        return process

    async def test_nothingIsLost(self) -> None:
        """What is sent while no consumer is there is dealt with when one is back, in order."""
        node = await self.node("a")
        await self.connected(node)
        lamp = await self.connect(node, "lamp")
        first = self.example("uplink_consumer.py", "work", "one", self.redis.path)
        lamp.sendMessage(b"message 0")
        await first.whenLine("lamp message 0")
        os.kill(first.pid, signal.SIGKILL)
        await first.ended
        for number in range(1, 300):
            lamp.sendMessage(f"message {number}".encode())
        await self.until(lambda: len(self.kindsOf("lamp")) == 301)
        second = self.example("uplink_consumer.py", "work", "one", self.redis.path)
        await second.whenLine("lamp message 299")
        expected = [f"lamp message {number}" for number in range(300)]
        # What the first had not acknowledged when it was killed may come twice.
        self.assertEqual(second.lines[-299:], expected[1:])
        self.assertLessEqual(len(second.lines), 300)
