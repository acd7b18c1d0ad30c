"""docs/howto-two-nodes.rst: its commands make two nodes, which know of each other's things."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.docs.test_docs import DOCS, FINGERPRINT, TWISTD, DocumentedPrograms, Program
from tests.fleet.redis.redises import RedisServer, redisProgram
from thing import IdentityKey


class TwoNodesTests(DocumentedPrograms):
    """What the page says is done, with a Redis that is here."""

    if redisProgram() is None:
        skip = "there is no redis-server"

    def setUp(self) -> None:
        super().setUp()
        self.text = (DOCS / "howto-two-nodes.rst").read_text()
        self.redis = RedisServer().start()
        self.addCleanup(self.redis.remove)
        settings = re.findall(r"(?m)^ +(maxmemory-policy|requirepass) (\S+)$", self.text)
        self.assertEqual(len(settings), 2)
        for name, value in settings:  # The last is the password, needed from then on.
            self.assertEqual(self.redis.ask("CONFIG", "SET", name, value), b"OK")
        password = dict(settings)["requirepass"]
        secret = self.directory / "redis-password"
        secret.write_text(f"{password}\n")
        secret.chmod(0o600)
        for name in ("server_key", "lamp_key"):
            IdentityKey.generate().save(self.directory / name)
        key = IdentityKey.load(self.directory / "lamp_key")
        self.write("things", key.publicLine("lamp") + "\n")

    async def node(self, words: list[str]) -> tuple[Program, str, str]:
        """A node as on the page, on free ports; where it listens, and where it tells of that."""
        url = words[words.index("--presence") + 1]
        self.assertTrue(url.startswith("rediss://redis.example?passwordFile="), url)
        here = f"unix://{self.redis.path}?passwordFile={self.directory / 'redis-password'}"
        moved = {url: here, "9000": "tcp:0:interface=127.0.0.1", "9001": "0"}
        words = [moved.get(word, word) for word in words]
        node = self.run_("-c", TWISTD, "--nodaemon", "--pidfile=", *words)
        await node.says(r"The registry .* is up to date")
        listening = await node.says(r"Listening on \S+")
        status = await node.says(r"Status is told at \S+")
        return node, listening.split()[-1], status.split()[-1]

    async def test_commands(self) -> None:
        """A thing is found from both nodes, and on the other one when its own is stopped."""
        block = self.text.replace("\\\n", "")
        commands = re.findall(r"(?m)^ +[$] twistd (thing .+)$", block)
        more = re.findall(r"(?m)^ +(--nodes .+)$", block)  # They may reach each other's things.
        line = next(line for line in block.splitlines() if line.endswith(" fleet"))
        server = IdentityKey.load(self.directory / "server_key")
        self.write("nodes", line.strip().replace("ssh-ed25519 AAAA...", server.publicLine()) + "\n")
        (north, at, northTells), (south, other, southTells) = [
            await self.node(shlex.split(f"{command} {options}"))
            for command, options in zip(commands, more, strict=True)
        ]
        shown = [
            shlex.split(line) for line in re.findall(r"(?m)^ +[$] thing ((?:ls|top).*)$", block)
        ]
        self.assertEqual(len(shown), 2)
        connect = ("-m", "thing.cli", "connect", "-v", "--identity", "lamp_key", "--server-key")
        lamp = self.run_(*connect, await north.says(FINGERPRINT), at)
        await lamp.says("session [0-9a-f]+")
        for words in shown:
            for where in (northTells, southTells):
                self.assertRegex(await self.told(words, where), r"(?m)^lamp +present +north ")
        north.signal("TERM")
        await north.exits()
        self.assertIn("the server asks to leave", await lamp.says("(?s).*asks to leave.*"))
        lamp = self.run_(*connect, await south.says(FINGERPRINT), other)
        await lamp.says("session [0-9a-f]+")
        self.assertRegex(await self.told(shown[0], southTells), r"(?m)^lamp +present +south ")
        south.signal("TERM")
        await south.exits()

    async def told(self, words: list[str], where: str) -> str:
        """What a command prints that asks one node."""
        asking = self.run_("-m", "thing.cli", *words, "--status", where)
        self.assertEqual(await asking.exits(), 0, asking.output)
        return asking.output

    def test_balancer(self) -> None:
        """The port that a balancer needs is the one in the example of its configuration."""
        example = Path(DOCS, "examples", "operating", "haproxy.cfg").read_text()
        (port,) = re.findall(r"twistd thing --port=(haproxy:\S+)", example)
        self.assertIn(f"``--port {port}``", " ".join(self.text.split()))
        self.assertIn("send-proxy", example)
