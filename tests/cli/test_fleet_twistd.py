"""The commands about a fleet, with a real ``twistd thing --status`` and real things."""

from __future__ import annotations

import json
import os

from tests.daemon.test_twistd import Client, Process, TwistdCase
from tests.trust.test_keys import write
from thing import IdentityKey
from thing.cli.exits import ExitCode

TOKEN = "correct-horse-battery-staple"


class Lamp(Client):
    """A thing that answers."""

    def requestReceived(self, data: bytes) -> bytes:
        return b"lamp: " + data


class WholeTests(TwistdCase):
    """A server, a thing, and somebody who looks at both."""

    async def serve(self, status: str, *arguments: str) -> str:
        """Start a server with one authorized thing; where things connect to."""
        self.key = IdentityKey.generate()
        write(self.path("authorized"), f"{self.key.publicLine()} lamp\n".encode())
        authorized = os.path.abspath(self.path("authorized"))
        self.server, where = await self.started(
            f"--status={status}", "--authorized", authorized, *arguments
        )
        return where

    def command(self, *arguments: str, **environment: str) -> Process:
        """Start a command."""
        return self.spawn("-m", "thing.cli", *arguments, **environment)

    async def assertEnds(self, process: Process, code: int = ExitCode.GOODBYE) -> list[str]:
        """It ends so; the lines that it wrote."""
        self.assertEqual(await process.ended, code, process.output)
        return process.lines

    async def test_fleet(self) -> None:
        """A thing joins, is listed, shown and sent a message, and leaves; all of it is told."""
        where = await self.serve("tcp:0:interface=127.0.0.1")
        line = await self.server.whenLine("Status is told at ")
        url = line.rpartition(" ")[2]
        lamp = await self.connect(where, Lamp, self.key)
        events = self.command("events", "--after", "0-0", THING_STATUS=url)
        await events.whenLine("  joined    lamp  from 127.0.0.1:")
        (listed,) = await self.assertEnds(self.command("ls", "--json", THING_STATUS=url))
        self.assertEqual(json.loads(listed)["id"], "lamp")
        lines = await self.assertEnds(self.command("top", "--once", THING_STATUS=url))
        self.assertIn("1 thing, 0 late", lines[0])
        self.assertRegex(lines[-1], "^lamp +present ")
        sent = self.command("send", "lamp", "shine", THING_STATUS=url)
        self.assertEqual(await self.assertEnds(sent), ["lamp: shine"])
        lamp.sendMessage(b"it is dark\n")
        await events.whenLine("  message   lamp  it is dark")
        lamp.loseConnection()
        await events.whenLine("  left      lamp  both sides said goodbye")
        nobody = self.command("send", "lamp", "shine", THING_STATUS=url)
        await self.assertEnds(nobody, ExitCode.NOT_HERE)
        gone = self.command("ls", "--status-is", "gone", THING_STATUS=url)
        self.assertRegex((await self.assertEnds(gone))[-1], "^lamp +gone: goodbye ")
        os.kill(self.server.pid, 15)
        await events.whenLine("trying again in ")
        os.kill(events.pid, 2)
        await self.assertEnds(events)

    async def test_token(self) -> None:
        """A server with a token is looked at by those who have it, and in the same words."""
        token, other = (os.path.abspath(self.path(name)) for name in ("token", "other"))
        write(token, f"{TOKEN}\n".encode())
        write(other, f"{TOKEN}-not\n".encode())
        await self.serve("tcp:0:interface=127.0.0.1", "--status-token", token)
        line = await self.server.whenLine("Status is told at ")
        url = line.rpartition(" ")[2]
        lines = await self.assertEnds(self.command("ls", "--status", url, "--token-file", token))
        self.assertRegex(lines[0], "^ID ")
        for arguments in ([], ["--token-file", other]):
            refused = self.command("ls", "--status", url, *arguments)
            (line,) = await self.assertEnds(refused, ExitCode.NO_ACCESS)
            self.assertNotIn(TOKEN, line)
        chosen = {"THING_STATUS": url, "THING_STATUS_TOKEN_FILE": token}
        await self.assertEnds(self.command("ls", **chosen))

    async def test_unixSocket(self) -> None:
        """A server on a socket in the file system is looked at without a token."""
        await self.serve("unix:status")
        line = await self.server.whenLine("Status is told at ")
        self.assertTrue(line.endswith(" unix:status"), line)
        lines = await self.assertEnds(self.command("top", "--once", "--status", "unix:status"))
        self.assertIn("0 things, 0 late", lines[0])
