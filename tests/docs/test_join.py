"""docs/howto-join.rst: its commands have things join, and what it says of them is so."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

from twisted.internet.threads import deferToThread

from tests.docs.test_docs import FINGERPRINT, TWISTD, StatusPrograms
from thing import IdentityKey
from thing.cli.exits import ExitCode
from thing.trust.invitations import LIFE, MAX_LIFE

DAY = 86400.0


class JoinPageTests(StatusPrograms):
    """docs/howto-join.rst"""

    page = "howto-join.rst"

    def commands(self, first: str) -> list[str]:
        """The commands that begin so, in order."""
        return [line.strip() for line in re.findall(rf"(?m)^    {first}.*$", self.text)]

    async def type_(self, command: str, **replaced: str) -> str:
        """Have a shell do it; what it prints."""
        for old, new in replaced.items():
            command = re.sub(old, new, command)
        thing = f"{shlex.quote(sys.executable)} -m thing.cli"
        command = re.sub(r"(^|\| )thing ", rf"\1{thing} ", self.moved(command))
        done = await deferToThread(
            subprocess.run,
            command,
            shell=True,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
        return str(done.stdout)

    async def test_commands(self) -> None:
        """Each command does what is said; the line in the server's file is as it is shown."""
        await self.type_(*self.commands("touch"))
        IdentityKey.generate().save(self.directory / "server_key")
        self.environment["THING_STATUS"] = f"http://127.0.0.1:{self.status}"
        (start,) = self.commands("twistd")
        words = shlex.split(start.replace("9000", "tcp:9000"))[1:]
        server = self.run_("-c", TWISTD, "--pidfile=", *map(self.moved, words))
        await server.says("Listening on")
        lamp, kettle, radio, door = self.commands("thing invite")
        joining, *_ = self.commands("thing join")
        ping, *_ = self.commands("thing ping")
        listing, withdrawing, confirming = self.commands("thing invitations")

        line = await self.type_(lamp)
        self.assertRegex(line, r"^thing join [\w-]+\n$")
        self.assertEqual(joining.split()[:2], line.split()[:2])
        await self.type_(line.strip())
        self.assertIn("beat=1", await self.type_(ping))
        written = (self.directory / "things").read_text()
        (shown,) = self.commands("name=")
        self.assertRegex(written, _patternOf(shown))

        self.assertIn("as kettle", await self.type_(kettle))
        await self.type_(radio)
        listed = await self.type_(listing)
        self.assertRegex(listed, r"(?m)  lamp +has joined .*\n.*  kettle +has joined ")
        (id,) = re.findall(r"(?m)^(\w+)  radio +open ", listed)
        await self.type_(withdrawing, **{"[0-9a-f]{16}": id})
        self.assertNotIn("radio", await self.type_(listing))

        line = await self.type_(door)
        waiting = self.run_("-m", "thing.cli", *line.split()[1:], "--identity", "door_key")
        fingerprint = await waiting.says(FINGERPRINT)
        await waiting.says("waiting until somebody says yes")
        (id,) = re.findall(r"(?m)^(\w+)  door +waits ", await self.type_(listing))
        await self.type_(confirming, **{"[0-9a-f]{16}": id, "SHA256:…": fingerprint})
        self.assertEqual(await waiting.exits(), 0, waiting.output)

    def test_codes(self) -> None:
        """Each exit code of the table is one of the command's."""
        codes = re.findall(r"(?m)^   \* - (\d+)$", self.text)
        self.assertGreater(len(codes), 5)
        self.assertEqual({int(code) for code in codes} - {code.value for code in ExitCode}, set())

    def test_numbers(self) -> None:
        """How long an invitation counts is as the code has it."""
        self.assertEqual((LIFE, MAX_LIFE), (3600.0, 30 * DAY))
        self.assertIn("counts for an hour", self.text)
        self.assertIn("30\ndays at most", self.text)


def _patternOf(shown: str) -> str:
    """What matches a line that is like the one shown: of other keys, times and ids."""
    pattern = re.escape(shown).replace("AAAAC3Nz…", r"AAAAC3Nz\S+")
    pattern = re.sub(r"2026\\-\d\d\\-\d\dT\d\d:\d\d:\d\dZ", r"\\S+Z", pattern)
    return f"(?m)^{re.sub('[0-9a-f]{16}', '[0-9a-f]{16}', pattern)}$"
