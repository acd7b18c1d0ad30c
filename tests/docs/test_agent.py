"""docs/howto-agent.rst: its commands work, and answer what it shows."""

from __future__ import annotations

import re
import shlex
import subprocess
import textwrap

import click

from tests.docs.test_docs import EXAMPLES, GOODBYE, TWISTD, StatusPrograms
from thing import ThingFactory
from thing.cli.commands import commands
from thing.endpoints import Backend
from thing.testing.keys import Keys


class AgentPageTests(StatusPrograms):
    """docs/howto-agent.rst"""

    page = "howto-agent.rst"

    def thing(self, command: str, *others: str) -> list[str]:
        """The words of a command of ``thing``."""
        program, *words = shlex.split(self.moved(command))
        self.assertEqual(program, "thing")
        return ["-m", "thing.cli", *words, *others]

    async def test_byHand(self) -> None:
        """A server, an agent whose requests a program answers, and what it is asked."""
        section = self.text.partition("\nBy hand\n---")[2].partition("\n---")[0]
        section = re.sub(r" \\\n +", " ", section)
        keygen, copying, start, agent, *sends = re.findall(r"(?m)^    \$ (.+)$", section)
        program = self.directory / "lamp.sh"
        program.write_text((EXAMPLES / "lamp.sh").read_text())
        program.chmod(0o755)
        self.assertEqual(await self.run_(*self.thing(keygen)).exits(), 0)
        subprocess.run(copying.split(), cwd=self.directory, check=True)
        server = self.run_("-c", TWISTD, *shlex.split(self.moved(start))[1:])
        await server.says("Status is told at")
        lamp = self.run_(*self.thing(agent))
        await server.says("with lamp at .* is established")
        where = ("--status", f"http://127.0.0.1:{self.status}")
        answers = re.findall(r"(?m)^    \$ thing send .+\n    (.+)$", section)
        for send, answer in zip(sends, answers, strict=True):
            sending = self.run_(*self.thing(send, *where))
            self.assertEqual(await sending.exits(), 0, sending.output)
            self.assertEqual(sending.output.splitlines(), [answer])
        wrong = self.run_(*self.thing("thing send lamp dance", *where))
        await wrong.exits()
        await lamp.says("no lamp does this: dance")
        await lamp.says("The program for requests failed: its exit status was 1")
        lamp.signal("INT")
        self.assertEqual(await lamp.exits(), 0, lamp.output)
        await server.says(GOODBYE)

    def test_expose(self) -> None:
        """The piece of Python has a factory serve what it says."""
        (block,) = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", self.text)
        keys = Keys()
        factory = ThingFactory(keys.clientSettings(), keys.servers)
        exec(textwrap.dedent(block), {"factory": factory})
        self.assertIsInstance(factory.served["reach:ssh"], Backend)

    def test_options(self) -> None:
        """Every option of the agent's own is on the page, and the page has no other."""
        agent, connect = commands.commands["agent"], commands.commands["connect"]
        assert isinstance(agent, click.Command)
        shared = {name for each in connect.params for name in each.opts}
        own = {name for each in agent.params for name in each.opts} - shared
        named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", self.text))
        own = {name for name in own if name.startswith("--")}
        self.assertLessEqual(own, named)
        others = {"--nodaemon", "--port", "--authorized", "--status", "--now"}  # Of others.
        self.assertLessEqual(named - others, own | shared)
