"""docs/howto-reach.rst: its commands reach a web page, and its table has the right codes."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from urllib.request import urlopen

from twisted.internet.threads import deferToThread

from tests.docs.test_docs import DOCS, TWISTD, DocumentedPrograms, Program
from thing import StopCode
from thing.cli.commands import commands
from thing.cli.destination import Destination
from thing.cli.exits import ExitCode
from thing.cli.forwarding import MOST


def freePort() -> str:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


class ReachPageTests(DocumentedPrograms):
    """docs/howto-reach.rst"""

    def setUp(self) -> None:
        super().setUp()
        self.text = (DOCS / "howto-reach.rst").read_text()
        self.ports = {known: freePort() for known in ("9001", "8000", "8080")}
        self.commands = re.findall(r"(?m)^    \$ (.+)$", self.text.replace(" \\\n       ", ""))
        self.environment["THING_STATUS"] = f"http://127.0.0.1:{self.ports['9001']}"

    def moved(self, text: str) -> str:
        text = super().moved(text)
        return re.sub(r"\b(9001|8000|8080)\b", lambda match: self.ports[match[0]], text)

    def type_(self, start: str, number: int = 0) -> Program:
        """Run one of the page's commands."""
        found = [command for command in self.commands if command.startswith(start)]
        program, *words = shlex.split(self.moved(found[number]))
        python = {"thing": ["-m", "thing.cli"], "twistd": ["-c", TWISTD], "python3": []}
        return self.run_(*python[program], *words)

    async def done(self, start: str, number: int = 0) -> str:
        """Run one to its end; what it wrote."""
        program = self.type_(start, number)
        self.assertEqual(await program.exits(), 0, program.output)
        return program.output

    async def test_commands(self) -> None:
        """The keys, the file, the server, the device and its page; reached, listed and ended."""
        (self.directory / "index.html").write_text("the page of the lamp\n")
        await self.done("thing keygen -f")
        await self.done("thing keygen -C")
        lamp, anna = (
            " ".join((self.directory / name).read_text().split()[:2])
            for name in ("lamp_key.pub", "home/id_ed25519.pub")
        )
        shown = re.findall(r"(?m)^    (.*)ssh-ed25519 AAAA\S+(.*)$", self.text)
        lines = (
            f"{before}{key}{after}\n"
            for (before, after), key in zip(shown, (lamp, anna), strict=True)
        )
        (self.directory / "things").write_text("".join(lines))
        server = self.type_("twistd")
        await server.says("Status is told at")
        page = self.type_("python3 -m http.server")
        await page.says("Serving HTTP")
        agent = self.type_("thing agent")
        await server.says("with lamp at .* is established")

        forward = self.type_("thing reach lamp web --listen")
        url = await forward.says(r"(http://127.0.0.1:\d+/)")
        self.assertIn(self.moved("    http://127.0.0.1:8080/\n"), f"    {url}\n")
        self.assertIn("the page of the lamp", await deferToThread(self.get, url))
        local = self.type_("thing reach lamp web --listen", 1)
        await local.says("unix:web.sock")
        self.assertIn("OPEN FOR", await self.done("thing ls --reach"))
        (piped,) = (command for command in self.commands if command.startswith("echo"))
        answer = await deferToThread(self.piped, *piped.split(" | "))
        self.assertTrue(answer.endswith("the page of the lamp\n"), answer)
        for forwarding in (forward, local):
            forwarding.signal("INT")
            self.assertEqual(await forwarding.exits(), 0, forwarding.output)
        agent.signal("INT")
        self.assertEqual(await agent.exits(), 0, agent.output)

    def get(self, url: str) -> str:
        with urlopen(url, timeout=60) as answer:
            return str(answer.read().decode())

    def piped(self, echo: str, reach: str) -> str:
        """What a command of the page answers to its input."""
        done = subprocess.run(
            [sys.executable, "-m", "thing.cli", *shlex.split(reach)[1:]],
            input=f"{shlex.split(echo)[1]}\r\n\r\n",
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def test_codes(self) -> None:
        """The table has the exit code of each reason for which nothing is reached any more."""
        told = {int(code) for code in re.findall(r"(?m)^   \* - (\d+)$", self.text)}
        destination = Destination("lamp", "web")
        reasons = {*StopCode} - {StopCode.DONE}
        codes = {destination.refusal(code, "your key").exit_code for code in reasons}
        self.assertEqual(told, codes | {ExitCode.INTERRUPTED})

    def test_options(self) -> None:
        """The options on the page are there, and the number of connections."""
        known = {
            name
            for command in ("reach", "ls", "end", "events", "agent", "keygen")
            for each in commands.commands[command].params
            for name in each.opts
        }
        others = {"--nodaemon", "--port", "--authorized", "--status", "--bind", "--unix-socket"}
        named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", self.text))
        self.assertLessEqual(named - others, known)
        self.assertIn("--listen", named)
        self.assertIn(f"{MOST} at once", self.text)
