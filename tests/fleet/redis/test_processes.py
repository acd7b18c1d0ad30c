"""Real ``twistd`` processes as nodes, which are killed and paused; another node watches."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from twisted.internet.defer import DeferredList

from tests.fleet.redis.processes import ProcessCase
from tests.fleet.redis.redises import Client, FleetCase, Node
from thing import EndReason, IdentityKey

WITHIN = 14.0 + 16.0
"""Within what time a lost node's things are off, and what a busy machine takes besides; seconds."""


class ProcessTests(ProcessCase):
    """Two nodes are processes of their own, and are asked over HTTP."""

    async def assertTold(self, expected: dict[str, str], node: str) -> None:
        """A process soon tells over HTTP who is where, and its nodes how they are."""

        async def agreed() -> bool:
            found = await self.json(self.status[node], "/things?limit=100")
            here = {each["id"]: each["node"] for each in found["things"]}
            return bool(found["complete"]) and here == expected

        await self.until(agreed)
        found = await self.json(self.status[node], "/nodes")
        self.assertEqual((found["complete"], found["nodes"][0]["node"]), (True, node))

    @staticmethod
    def called(clients: list[Client]) -> list[str]:
        """What the things are called."""
        return [client.factory.settings.credential.fingerprint for client in clients]

    def lefts(self) -> list[str]:
        """Who left, in order."""
        return [entry["id"] for entry in self.feed() if entry["kind"] == "left"]

    async def test_killed(self) -> None:
        """A node is killed: each of its things leaves once, within the bound, and says why."""
        watcher = await self.node("w")
        killed, port = await self.spawned("x")
        _, other = await self.spawned("y")
        lost, kept = await self.come(port, 5), await self.come(other, 2)
        names = self.called(lost)
        everywhere = {**dict.fromkeys(names, "x"), **dict.fromkeys(self.called(kept), "y")}
        await self.assertHere(everywhere, watcher)
        for node in ("x", "y"):
            await self.assertTold(everywhere, node)
        os.kill(killed.pid, signal.SIGKILL)
        await DeferredList([client.whenTerminated() for client in lost])
        remaining = dict.fromkeys(self.called(kept), "y")
        await self.assertHere(remaining, watcher, within=WITHIN)
        await self.assertTold(remaining, "y")
        self.assertEqual(sorted(self.lefts()), sorted(names))
        causes = [entry["data"] for entry in self.feed() if entry["kind"] == "left"]
        self.assertTrue(all("NODE_LOST" in cause for cause in causes), causes)
        self.assertEqual([client.termination for client in kept], [None, None])
        self.assertOrdered()

    async def test_restarted(self) -> None:
        """A node that comes back by the same name does not wait for its lease to clean up."""
        watcher = await self.node("w")
        killed, port = await self.spawned("x")
        names = self.called(await self.come(port, 3))
        await self.assertHere(dict.fromkeys(names, "x"), watcher)
        os.kill(killed.pid, signal.SIGKILL)
        await killed.ended
        _, port = await self.spawned("x")
        self.assertEqual(await self.here(watcher), {})
        (client,) = await self.come(port, 1)
        await self.assertHere({self.called([client])[0]: "x"}, watcher)
        self.assertEqual(sorted(self.lefts()), sorted(names))

    async def test_paused(self) -> None:
        """A node is paused: its things are taken off, and when it goes on they are back."""
        watcher = await self.node("w")
        paused, port = await self.spawned("x")
        clients = await self.come(port, 3)
        names = self.called(clients)
        await self.assertHere(dict.fromkeys(names, "x"), watcher)
        os.kill(paused.pid, signal.SIGSTOP)
        try:
            await self.assertHere({}, watcher, within=WITHIN)
        finally:
            os.kill(paused.pid, signal.SIGCONT)
        await self.assertHere(dict.fromkeys(names, "x"), watcher)
        await self.assertTold(dict.fromkeys(names, "x"), "x")
        self.assertEqual([client.termination for client in clients], [None] * 3)
        for name in names:
            self.assertEqual(self.kindsOf(name)[:3], ["joined", "left", "joined"])
        self.assertOrdered()

    async def test_redisIsKilled(self) -> None:
        """Redis is killed and comes back with nothing: every process tells the truth again."""
        (_, one), (_, two) = await self.spawned("x"), await self.spawned("y")
        names = {
            **dict.fromkeys(self.called(await self.come(one, 2)), "x"),
            **dict.fromkeys(self.called(await self.come(two, 2)), "y"),
        }
        for node in ("x", "y"):
            await self.assertTold(names, node)
        self.redis.kill()
        for node in ("x", "y"):
            await self.until(lambda node=node: self.alone(node))
        self.redis.start()
        for node in ("x", "y"):
            await self.assertTold(names, node)
        self.assertEqual([client.termination for client in self.things], [None] * 4)

    async def alone(self, node: str) -> bool:
        """Whether a process says that it tells only what it knows itself, and tells that."""
        found = await self.json(self.status[node], "/things?limit=100")
        here = {each["node"] for each in found["things"]}
        return not found["complete"] and here == {node} and len(found["things"]) == 2

    async def test_revoked(self) -> None:
        """Keys that are removed from the file of all nodes end the sessions on each of them."""
        keys = {name: IdentityKey.generate() for name in "xyz"}
        stays = IdentityKey.generate()
        things = Path(self.redis.directory) / "things"

        def admit(*admitted: IdentityKey) -> None:
            lines = "".join(f"{each.publicLine(each.fingerprint)}\n" for each in admitted)
            (things.parent / "new").write_text(lines)
            os.replace(things.parent / "new", things)

        admit(stays, *keys.values())
        revoked: list[Client] = []
        for name, key in keys.items():
            _, port = await self.spawned(name, f"--authorized={things}")
            revoked += await self.come(port, 1, key)
        (kept,) = await self.come(port, 1, stays)
        here = {key.fingerprint: name for name, key in keys.items()}
        for node in keys:
            await self.assertTold({**here, stays.fingerprint: "z"}, node)
        admit(stays)
        for client in revoked:
            self.assertIs((await client.whenTerminated()).reason, EndReason.REVOKED)
        for node in keys:
            await self.assertTold({stays.fingerprint: "z"}, node)
        self.assertIsNone(kept.termination)

    async def test_terminated(self) -> None:
        """A node that is asked to stop takes itself off at once."""
        watcher = await self.node("w")
        stopped, port = await self.spawned("x")
        clients = await self.come(port, 2)
        await self.assertHere(dict.fromkeys(self.called(clients), "x"), watcher)
        os.kill(stopped.pid, signal.SIGTERM)
        await stopped.ended
        self.assertEqual(await self.here(watcher), {})
        told = {each.node: each.status for each in await watcher.presence.nodes()}
        self.assertEqual(told, {"w": "up", "x": "stopped"})
        self.assertEqual(self.redis.ask("EXISTS", "thing:n:x"), 0)
        left = [entry["data"] for entry in self.feed() if entry["kind"] == "left"]
        self.assertTrue(all("GOODBYE" in data for data in left), left)


class UsurpedTests(FleetCase):
    """Two nodes with one name."""

    async def test_oneName(self) -> None:
        """The later has the name; the earlier goes on alone, says so, and recovers after it."""
        watcher: Node = await self.node("w")
        first = await self.node("x")
        await self.connected(first, watcher)
        await self.connect(first, "lamp")
        second = await self.node("x")
        await self.connected(second)
        await self.until(lambda: first.presence.registry == "away")
        await self.connect(second, "door")
        await self.assertHere({"door": "x"}, second, watcher)
        await second.stop()
        await self.assertHere({"lamp": "x"}, first, watcher)
