"""Three nodes that share a real Redis: who is here, and where, as each of them says."""

from __future__ import annotations

from tests.redises import FleetCase
from thing.events import Cause
from thing.fleet import Kind, Status


class SharedTests(FleetCase):
    """What one node knows, all do."""

    async def test_joinedAndLeft(self) -> None:
        """A thing that comes to one node is known to all, and so is its goodbye."""
        nodes = await self.three()
        for node in nodes:
            node.presence.subscribe(node.told.append)
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
