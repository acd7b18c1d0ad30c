"""README.rst, the tutorials and the how-tos: each is walked, and answers what it shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests import PROJECT
from tests.docs.pages import Step, commandsOf, stepsOf
from tests.docs.shown import isShownIn, patternOf, readJSON
from tests.docs.walk import PATIENCE
from tests.sshd import MISSING

ALONE = ["unshare", "--net", "--pid", "--fork", "--kill-child"]
if os.getuid() != 0:
    ALONE[1:1] = ["--user", "--map-root-user"]

COMMAND = re.compile(r"(?m)^ *(?:[$#] )?(?:thing|twistd|trial|pip|curl|python3?) [a-z-]")
"""What begins a line that somebody is to type, in a block that is not one of a terminal."""


def canBeAlone() -> bool:
    """Whether a network of its own can be had here."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return subprocess.run([*ALONE, "ip", "link"], capture_output=True, check=False).returncode == 0


OTHERS = ("docs/bring-your-own-io.rst", "docs/implementing.rst")


def pages() -> set[str]:
    """The pages that are walked."""
    found = [*PROJECT.glob("docs/howto-*.rst"), *PROJECT.glob("docs/tutorial*.rst")]
    return {"README.rst", *OTHERS, *(f"docs/{page.name}" for page in found)}


class Walks(TestCase):
    """Whoever types what a page says sees what it shows."""

    timeout = 5 * PATIENCE
    if not canBeAlone():
        skip = "there can be no network of its own"

    def walk(self, *names: str) -> Deferred[None]:
        """Walk pages, whose blocks are all typed but for those that say why not."""
        return deferToThread(self._walk, names)

    def _walk(self, names: tuple[str, ...]) -> None:
        done = subprocess.run(
            [*ALONE, sys.executable, "-m", "tests.docs.walk", *names],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=self.timeout,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertGreaterEqual(done.stdout.count("\n$ "), 1)


class WalkTests(Walks):
    """Pages that need nothing but Thing."""

    def test_tutorial(self) -> Deferred[None]:
        """The tutorial."""
        return self.walk("docs/tutorial.rst")

    def test_fleet(self) -> Deferred[None]:
        """How to know your fleet, by HTTP, on a page and by metrics."""
        return self.walk("docs/howto-fleet.rst", "docs/howto-page.rst", "docs/howto-metrics.rst")

    def test_keys(self) -> Deferred[None]:
        """How to have things join, to change keys and to revoke them."""
        return self.walk(
            *("docs/howto-first-server.rst", "docs/howto-join.rst"),
            *("docs/howto-rotate.rst", "docs/howto-revoke.rst"),
        )

    def test_programs(self) -> Deferred[None]:
        """How to write programs."""
        return self.walk(
            *("docs/howto-subclass.rst", "docs/howto-transport.rst", "docs/howto-streams.rst"),
            *("docs/howto-test.rst", "docs/howto-agent.rst", "docs/howto-asyncio.rst"),
            "docs/howto-reconnect.rst",
        )

    def test_others(self) -> Deferred[None]:
        """How to do without Twisted, or without this implementation."""
        return self.walk(*OTHERS)


class ReachWalkTests(Walks):
    """Pages on which ssh goes to a device, whose sshd has port 22."""

    if os.getuid() != 0:
        skip = "such an sshd is root's"
    elif MISSING:
        skip = MISSING

    def test_readme(self) -> Deferred[None]:
        """README.rst"""
        return self.walk("README.rst")

    def test_tutorial(self) -> Deferred[None]:
        """The tutorial of reaching a device."""
        return self.walk("docs/tutorial-reach.rst")

    def test_reach(self) -> Deferred[None]:
        """How to reach what runs on a thing."""
        return self.walk("docs/howto-reach.rst")


class PagesTests(TestCase):
    """What is walked, and what is not."""

    def test_everywhere(self) -> None:
        """Each page with something to type is walked by one of the tests above."""
        source = (PROJECT / "tests" / "docs" / "test_walk.py").read_text()
        for page in pages():
            typed = [step for step in stepsOf((PROJECT / page).read_text()) if isTyped(step)]
            skipped = sum(step.word == "skip" for step in stepsOf((PROJECT / page).read_text()))
            if len(typed) > skipped:
                self.assertIn(f'"{page}"', source)

    def test_marked(self) -> None:
        """A block of commands is one of a terminal: typed, or skipped for a reason."""
        for page in pages():
            for step in stepsOf((PROJECT / page).read_text()):
                where = f"{page}:{step.line}"
                if step.word == "block" and step.language in (
                    "text",
                    "bash",
                    "shell",
                ):  # Scripts are in sh.
                    self.assertNotRegex(step.text, COMMAND, where)
                if isTyped(step):
                    self.assertTrue(commandsOf(step.text), where)
                if step.word == "skip":
                    self.assertGreater(len(step.text), 20, where)

    def test_told(self) -> None:
        """Whoever reads a page is told of each key that its walk presses."""
        for page in pages():
            text = (PROJECT / page).read_text()
            lines, steps = text.split("\n"), list(stepsOf(text))
            for number, step in enumerate(steps):
                if step.word == "press":
                    before = [each.line for each in steps[:number] if isTyped(each)]
                    behind = [each.line for each in steps[number:] if isTyped(each)]
                    around = lines[max(before, default=0) : min(behind, default=len(lines))]
                    prose = "\n".join(line for line in around if ".. walk:" not in line)
                    key = step.text.partition(" at ")[0]
                    self.assertRegex(prose, rf"{key}|Stop |Restart", f"{page}:{step.line}")

    def test_few(self) -> None:
        """Nearly all that can be typed is."""
        steps = [step for page in pages() for step in stepsOf((PROJECT / page).read_text())]
        skipped = sum(step.word == "skip" for step in steps)
        self.assertLess(skipped, 0.2 * sum(map(isTyped, steps)))


def isTyped(step: Step) -> bool:
    """Whether it is a block of commands."""
    return step.word == "block" and step.language == "console"


class StepsTests(TestCase):
    """How a page is read."""

    def test_steps(self) -> None:
        """Blocks and directions come in order, also within a list."""
        text = """
1. Type this:

   .. walk: given touch
      here
   .. code-block:: console
      :caption: one

      $ cat \\
          here
      nothing

2. See::

       that
"""
        given, typed, seen = stepsOf(text)
        self.assertEqual((given.word, given.text), ("given", "touch here"))
        self.assertEqual((typed.word, typed.language, typed.caption), ("block", "console", "one"))
        self.assertEqual(commandsOf(typed.text), [("cat here", "nothing")])
        self.assertEqual((seen.language, seen.text), ("text", "that"))


class ShownTests(TestCase):
    """How an answer is compared with what is shown."""

    def matches(self, shown: str, answer: str, **known: str) -> bool:
        """Whether the whole answer is as shown."""
        return re.fullmatch(patternOf(shown, known)[0], answer) is not None

    def test_words(self) -> None:
        """Words are the same, however the lines are broken."""
        self.assertTrue(self.matches("it is\n  here", "it is here"))
        self.assertFalse(self.matches("it is here", "it is there"))

    def test_values(self) -> None:
        """Times and measures are other ones, small numbers are not."""
        self.assertTrue(self.matches("3 beats in 1.5 ms at 1795575162", "3 beats in 9 ms at 12"))
        self.assertFalse(self.matches("3 beats", "4 beats"))

    def test_learned(self) -> None:
        """An id that was shown before is the one that was meant then."""
        pattern, names = patternOf("5b0f8d3c2e9a4671  lamp", {})
        match = re.fullmatch(pattern, "0123456789abcdef  lamp")
        assert match is not None
        known = {shown: match[name] for name, shown in names.items()}
        self.assertEqual(known, {"5b0f8d3c2e9a4671": "0123456789abcdef"})
        shown = "ended 5b0f8d3c2e9a4671"
        self.assertTrue(re.fullmatch(patternOf(shown, known)[0], "ended 0123456789abcdef"))
        self.assertFalse(re.fullmatch(patternOf(shown, known)[0], "ended fedcba9876543210"))

    def test_leftOut(self) -> None:
        """What is left out is marked: in a line, whole lines, and nothing else."""
        self.assertTrue(self.matches("lamp  present …", "lamp present node-a 3 s"))
        self.assertTrue(self.matches("ID\n…\nlamp", "ID\ndoor\nkettle\nlamp"))
        self.assertFalse(self.matches("ID\nlamp", "ID\ndoor\nkettle\nlamp"))

    def test_json(self) -> None:
        """JSON has the members and elements that are shown, and no other without a mark."""
        for shown, answer, isSame in (
            ('{"a": 1, "b": "x"}', '{"b":"x","a":2}', True),
            ('{"a": 1}', '{"a":1,"b":2}', False),
            ('{"a": 1, …}', '{"a":1,"b":2}', True),
            ('{"a": {…}}', '{"a":{"b":2}}', True),
            ('{"a": [1]}', '{"a":[1,2]}', False),
            ('{"a": [1, …]}', '{"a":[1,2]}', True),
            ('{"a": "on"}', '{"a":"off"}', False),
            ('{"a": true}', '{"a":false}', False),
            ('{"a": true}', '{"a":1}', False),
            ('{"a": null}', '{"a":0.5}', True),
        ):
            self.assertEqual(isShownIn(readJSON(shown), json.loads(answer)), isSame, shown)
