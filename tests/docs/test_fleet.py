"""docs/howto-fleet.rst: its commands work, and answer what it shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

from twisted.internet.threads import deferToThread

from tests.docs.test_docs import TWISTD, Program, StatusPrograms
from thing import IdentityKey
from thing.fleet import Kind
from thing.fleet.feed import MOST_EVENTS, MOST_OCTETS
from thing.fleet.http import channel, places, sse
from thing.fleet.http.answers import ANSWER_TIMEOUT
from thing.fleet.http.description import LISTED, LONGEST_WAIT, MOST_LISTED, WAIT


def shapeOf(value: Any) -> Any:
    """What JSON consists of, whatever its values are."""
    if isinstance(value, dict):
        return {name: shapeOf(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shapeOf(each) for each in value[:1]]
    return type(value).__name__


def isShownIn(shown: Any, found: Any) -> bool:
    """Whether what a page shows is part of what was answered, leaving out values."""
    if isinstance(shown, dict) and isinstance(found, dict):
        return all(name in found and isShownIn(shown[name], found[name]) for name in shown)
    if isinstance(shown, list) and isinstance(found, list):
        return len(shown) <= len(found) and all(map(isShownIn, shown, found))
    return True


class FleetPageTests(StatusPrograms):
    """docs/howto-fleet.rst"""

    if shutil.which("curl") is None:
        skip = "there is no curl"

    page = "howto-fleet.rst"

    def commands(self) -> list[tuple[str, str]]:
        """The page's commands with curl, and what it shows of their answers."""
        block = r"\.\. code-block:: console\n\n((?:    .*\n|\n)+)"
        found = []
        for console in re.findall(block, self.text):
            for part in re.split(r"(?m)^    \$ ", console)[1:]:
                command, _, answer = part.replace("\\\n", "").partition("\n")
                if command.startswith("curl"):
                    found.append((command, answer))
        return found

    def type_(self, command: str) -> str:
        """Have a shell do it; what it prints."""
        command = self.moved(command).replace("curl", "curl --silent --show-error --max-time 30", 1)
        if "/events" in command:
            command = command.replace("--max-time 30", "--max-time 2")
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertIn(done.returncode, (0, 28) if "/events" in command else (0,), done.stderr)
        return done.stdout

    async def serve(self, *arguments: str) -> Program:
        """A server as on the page."""
        program = self.run_("-c", TWISTD, "-n", "--pidfile=", "thing", *map(self.moved, arguments))
        await program.says("Listening on")
        return program

    async def test_commands(self) -> None:
        """Each command works, and answers what is shown, other values aside."""
        key = IdentityKey.generate()
        key.save(self.directory / "lamp_key")
        (self.directory / "things").write_text(key.publicLine("lamp") + "\n")
        (start,) = re.findall(r"\$ twistd --nodaemon thing (--authorized.*9001)\n", self.text)
        await self.serve("--port=tcp:9000", *start.split())
        lamp = self.example("lamp.py")
        await lamp.says("The lamp is here")
        shown = [(command, answer) for command, answer in self.commands() if "token" not in command]
        self.assertGreater(len(shown), 8)
        for command, answer in shown:
            if "/nodes" in command:
                await lamp.exits()
            found = await deferToThread(self.type_, command)
            if answer.strip().startswith("{"):
                self.assertTrue(isShownIn(json.loads(answer), json.loads(found)), found)
            elif "/events" not in command:
                self.assertEqual(found.strip(), answer.strip())
            if "/messages" in command:
                self.assertEqual(json.loads(found), json.loads(answer))
        self.assertIn("both sides said goodbye", lamp.output)

    async def test_whole(self) -> None:
        """What is shown of a thing and of a node is all that is told."""
        key = IdentityKey.generate()
        key.save(self.directory / "lamp_key")
        (self.directory / "things").write_text(key.publicLine("lamp") + "\n")
        await self.serve("--port=tcp:9000", "--authorized=things", "--status=9001")
        lamp = self.example("lamp.py")
        await lamp.says("The lamp is here")
        answers = dict(self.commands())
        for path in ("/things", "/nodes"):
            command = f"curl http://localhost:9001{path}"
            shown = json.loads(answers[command])
            found = json.loads(await deferToThread(self.type_, command))
            for each in (shown, found):
                for node in each.get("nodes", ()):
                    node.update(terminations={}, minutes=[])
            self.assertEqual(shapeOf(found), shapeOf(shown))

    async def test_token(self) -> None:
        """The commands that make a token and use it work."""
        (make,) = re.findall(r"\$ (\(umask.*)\n", self.text)
        await deferToThread(self.type_, make)
        (self.directory / "things").touch()
        (start,) = re.findall(r"\$ twistd --nodaemon thing (.*\\\n.*status_token)\n", self.text)
        await self.serve("--port=tcp:9000", *start.replace("\\\n", "").split())
        (command,) = [command for command, _ in self.commands() if "token" in command]
        found = json.loads(await deferToThread(self.type_, command))
        self.assertEqual(found["things"], [])

    def test_numbers(self) -> None:
        """The limits that the page names are those of the code."""
        text = " ".join(self.text.split())
        for words in (
            f"pages of {LISTED} things",
            f"up to {MOST_LISTED}",
            f"{WAIT:g} without it and {LONGEST_WAIT:g} at most",
            f"last {MOST_EVENTS:,} events, or {MOST_OCTETS >> 20} MiB",
            f"more than {sse.MAX_WAITING >> 10} KiB of events",
            f"every {sse.COMMENT_INTERVAL:g} seconds",
            f"{sse.MAX_READERS} may follow at once",
            f"first comment is one of {sse.MAX_WAITING >> 10} KiB",
            f"{channel.MAX_CONNECTIONS}; {sse.MAX_READERS}",
            f"{places.MAX_STRANGERS}; {places.MAX_ADMITTED}",
            f"{channel.MAX_HEAD >> 10} KiB; {channel.MAX_HEADERS}",
            f"answer before - {channel.REQUEST_TIMEOUT:g} seconds",
            f"to read an answer - {ANSWER_TIMEOUT:g} seconds",
        ):
            self.assertIn(words, text)
        for kind in Kind:
            self.assertIn(f"``{kind.value}``", text)
