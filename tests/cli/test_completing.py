"""Completion in a shell: of commands, ids of things and names of nodes."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from typing import Any
from unittest import mock

from click.shell_completion import ShellComplete
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue

from tests import PROJECT
from tests.cli.madeup import CLEAR, NOW, OWN, FleetCase, answer, thing
from tests.cli.test_fleet_process import reach
from thing.cli import completing
from thing.cli.commands import commands
from thing.fleet import NodeRecord
from thing.fleet.http.guard import FileToken

MANUAL = (PROJECT / "docs" / "operating.rst").read_text("utf-8")

READ = {shell: f'eval "$(_THING_COMPLETE={shell}_source thing)"' for shell in ("bash", "zsh")}
"""What the shells read."""

BASH = r"""
{read}
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_thing_completion thing
printf '%s\n' "${{COMPREPLY[@]}}"
"""

ZSH = r"""
compdef() {{ :; }}
compadd() {{ print -l -- $completions; }}
_describe() {{ print -l -- ${{completions_with_descriptions%%:*}}; }}
{read}
words=({words}) CURRENT=$#words
_thing_completion
"""


class CompletionTests(FleetCase):
    """What Tab offers, in this process."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(completing, "PATIENCE", 60.0)
        self.fleet.add(*(thing(id) for id in ("lamp", "ladder", "door", "Lager")))

    async def offered(self, *words: str) -> list[str]:
        """What is offered for the last of some words."""
        completer = ShellComplete(commands, {}, "thing", "_THING_COMPLETE")

        def complete() -> list[str]:
            with mock.patch.dict(os.environ, self.environment):
                found = completer.get_completions(list(words[:-1]), words[-1])
            return [item.value for item in found]

        return await deferToThread(complete)  # The server answers in this process meanwhile.

    async def test_things(self) -> None:
        """Whichever command takes the id of a thing has it completed."""
        self.serveFleet()
        for words in (
            ["send"],
            ["send", "--timeout", "3"],
            ["show"],
            ["leave"],
            ["reach"],
            ["events", "--id"],
        ):
            self.assertEqual(await self.offered(*words, "la"), ["ladder", "lamp"], words)
        self.assertEqual(await self.offered("send", "lamp"), ["lamp"])
        self.assertEqual(await self.offered("send", ""), ["Lager", "door", "ladder", "lamp"])
        self.assertEqual(await self.offered("send", "x"), [])

    async def test_nodes(self) -> None:
        """So are the names of nodes."""
        self.fleet.health.append(
            NodeRecord(node="south", since=NOW, status="lost", sessions=0, lastSeen=NOW)
        )
        self.serveFleet()
        self.assertEqual(await self.offered("ls", "--node", ""), ["north", "south"])
        self.assertEqual(await self.offered("nodes", "--forget", "s"), ["south"])

    async def test_ids(self) -> None:
        """So are the ids of what is reached, and of invitations."""
        self.reaches.open = [reach(1), reach(2)]
        self.serveFleet()
        self.assertEqual(await self.offered("end", ""), [f"{1:016x}", f"{2:016x}"])
        invited, _ = await self.inviter.invite("kettle", ["localhost:9000"], 60.0, True, False)
        for option in ("--withdraw", "--confirm"):
            found = await self.offered("invitations", option, "")
            self.assertEqual(found, [invited.id])

    async def test_servers(self) -> None:
        """The server is asked that the line names; its token is shown to it."""
        token = self.home / "token"
        token.write_text("open-sesame-open-sesame-open-sesame\n")
        token.chmod(0o600)
        url = self.serveFleet(FileToken(str(token)))
        self.environment["THING_STATUS"] = "http://127.0.0.1:1"
        words = ("send", "--status", url, "--token-file", str(token), "la")
        self.assertEqual(await self.offered(*words), ["ladder", "lamp"])
        self.assertEqual(await self.offered("send", "--status", url, "la"), [])
        self.environment |= {"THING_STATUS": url, "THING_STATUS_TOKEN_FILE": str(token)}
        self.assertEqual(await self.offered("reach", "la"), ["ladder", "lamp"])

    async def test_many(self) -> None:
        """Of very many as many are offered as one can choose from."""
        self.fleet.add(*(thing(f"{n:04}") for n in range(1100)))
        self.serveFleet()
        self.assertEqual(len(await self.offered("send", "0")), completing.MOST)
        self.assertEqual(await self.offered("send", "107"), [f"107{n}" for n in range(10)])

    async def test_hostile(self) -> None:
        """No id is offered that a shell could take for more than a word, or a terminal for more."""
        self.fleet.add(*(thing(f"z{each}") for each in ("$(x)", "`x`", ";x", " x", "\n", CLEAR)))
        self.fleet.add(thing("z-1.2:3"))
        self.serveFleet()
        self.assertEqual(await self.offered("send", "z"), ["z-1.2:3"])

    async def test_silence(self) -> None:
        """A server that cannot be asked, or tells nonsense, is no completion, and no more."""
        self.environment["THING_STATUS"] = "http://127.0.0.1:1"
        self.assertEqual(await self.offered("send", "la"), [])
        self.environment["THING_STATUS"] = "nowhere"
        self.assertEqual(await self.offered("send", "la"), [])
        self.assertEqual(await self.offered("reach", "la"), [])
        self.serveOctets(answer(b'{"things": [{"id": 5}]}', "200 OK", OWN))
        self.assertEqual(await self.offered("send", "la"), [])
        self.environment["THING_STATUS_TOKEN_FILE"] = str(self.home / "missing")
        self.assertEqual(await self.offered("send", "la"), [])

    async def test_impatience(self) -> None:
        """Who does not answer soon is not waited for."""
        self.patch(completing, "PATIENCE", 0.01)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            self.environment["THING_STATUS"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
            self.assertEqual(await self.offered("send", "la"), [])


class ShellTests(FleetCase):
    """Shells that have read what ``docs/operating.rst`` says."""

    async def offered(self, shell: tuple[str, ...], script: str, words: str) -> list[str]:
        """What a shell offers for the last of some words, if it has read what the manual says."""
        self.assertIn(f"\n    {READ[shell[0]]}\n", MANUAL)
        directory = self.home / "bin"
        if not directory.exists():
            directory.mkdir()
            program = directory / "thing"
            program.write_text(f'#!/bin/sh\nexec {sys.executable} -m thing.cli "$@"\n')
            program.chmod(0o755)
        environment = {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT),
            **self.environment,
        }
        program, *arguments = shell
        out, err, code = await getProcessOutputAndValue(
            shutil.which(program),
            (*arguments, "-c", script.format(read=READ[program], words=words)),
            environment,
        )
        self.assertEqual((err, code), (b"", 0))
        return sorted(set(out.decode().split()))

    async def check(self, *shell: Any, script: str) -> None:
        """A shell completes what there is, and says nothing if the server is away."""
        self.fleet.add(thing("lamp"), thing("ladder"))
        self.serveFleet()
        self.assertEqual(await self.offered(shell, script, "thing se"), ["send"])
        for _ in range(20):  # A machine that is very busy may take longer than one waits.
            found = await self.offered(shell, script, "thing send la")
            if found:
                break
        self.assertEqual(found, ["ladder", "lamp"])
        self.environment["THING_STATUS"] = "http://127.0.0.1:1"
        self.assertEqual(await self.offered(shell, script, "thing send la"), [])

    async def test_bash(self) -> None:
        """bash."""
        await self.check("bash", "--norc", script=BASH)

    async def test_zsh(self) -> None:
        """zsh."""
        await self.check("zsh", "-f", script=ZSH)

    if shutil.which("bash") is None:
        test_bash.skip = "bash is not installed"  # type: ignore[attr-defined]
    if shutil.which("zsh") is None:
        test_zsh.skip = "zsh is not installed"  # type: ignore[attr-defined]
