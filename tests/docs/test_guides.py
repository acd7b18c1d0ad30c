"""What those who carry on are told: CONTRIBUTING.rst, SECURITY.rst and docs/architecture.rst."""

import importlib
import re
import subprocess
import sys

from twisted.trial.unittest import TestCase

from tests import PROJECT
from tests.test_imports import LEVELS
from thing.core.client import ClientConnection
from thing.core.server import ServerConnection

ARCHITECTURE = PROJECT / "docs" / "architecture.rst"
CONTRIBUTING = PROJECT / "CONTRIBUTING.rst"
GUIDES = (CONTRIBUTING, PROJECT / "SECURITY.rst", ARCHITECTURE)

ROOMS = {
    "ground",
    "core",
    "trust",
    "session",
    "asyncio",
    "endpoints",
    "fleet",
    "conformance",
    "daemon",
    "cli",
}

FILE = re.compile(r"``((?!-)[\w.-]+(?:/[\w.-]+)*/?)``")
"""A literal that may name a file or a directory."""

SUFFIXES = (".py", ".rst", ".cfg", ".toml", ".lua", ".json", ".in", "/")

SCRIPT = re.compile(r"\b(?:benchmarks|docs|tests|thing)(?:/\w+)+\.py\b")
"""A file of Python, also in a command."""

TEST = re.compile(r"\btests(?:\.\w+)+")

ARROW = re.compile(r"^ +(\w+) -> (\w+);$", re.MULTILINE)


def filesIn(text: str) -> set[str]:
    """The files and directories that a page names, as it names them."""
    named = {name for name in FILE.findall(text) if "/" in name or name.endswith(SUFFIXES)}
    return named | set(SCRIPT.findall(text))


class GuideTests(TestCase):
    """What they name is there."""

    def test_files(self) -> None:
        """Every file that they name exists, in the project's directory or below ``thing``."""
        for guide in GUIDES:
            named = filesIn(guide.read_text())
            self.assertGreater(len(named), 2, guide.name)
            missing = {
                name
                for name in named
                if not (PROJECT / name).exists() and not (PROJECT / "thing" / name).exists()
            }
            self.assertEqual(missing, set(), guide.name)

    def test_connection(self) -> None:
        """The page on the architecture names every file that a Connection is made of."""
        bases = {*ClientConnection.__mro__, *ServerConnection.__mro__}
        parts = {each.__module__ for each in bases if each.__module__.startswith("thing.core.")}
        self.assertGreater(len(parts), 5)
        files = {part.removeprefix("thing.").replace(".", "/") + ".py" for part in parts}
        self.assertEqual(files - filesIn(ARCHITECTURE.read_text()), set())

    def test_missingFile(self) -> None:
        """A file that is no more is found in prose and in a command; other words are none."""
        text = "``core/gone.py`` and ``thing/void``, ``sendMessage`` ``--port``; python docs/no.py"
        self.assertEqual(filesIn(text), {"core/gone.py", "thing/void", "docs/no.py"})

    def test_tests(self) -> None:
        """The tests that are run as examples exist."""
        names = TEST.findall(CONTRIBUTING.read_text())
        self.assertGreater(len(names), 1)
        for name in names:
            parts = name.split(".")
            count = next(n for n, part in enumerate([*parts, "Z"]) if part[0].isupper())
            found: object = importlib.import_module(".".join(parts[:count]))
            for part in parts[count:]:
                found = getattr(found, part)

    def test_steps(self) -> None:
        """The sessions of nox that are run as examples are steps of ``.ci/run``."""
        listed = subprocess.check_output([PROJECT / ".ci" / "run", "--list"], text=True)
        steps = {line.split()[0] for line in listed.splitlines()}
        text = CONTRIBUTING.read_text()
        (named,) = re.findall(r"nox -s (.*)", text)
        alone = re.findall(r"``\.ci/run (\w+)``", text)
        self.assertTrue(alone)
        self.assertLessEqual({*named.split(), *alone}, steps)

    if not (PROJECT / ".ci" / "run").exists():
        test_steps.skip = "a release that is not complete has no .ci"  # type: ignore[attr-defined]


class DrawingTests(TestCase):
    """The drawing of the rooms."""

    def test_current(self) -> None:
        """It is what the imports in the code come to, and so is what is said of each room."""
        done = subprocess.run(
            [sys.executable, str(PROJECT / "docs" / "rooms.py"), "--check"],
            env={"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_rooms(self) -> None:
        """It has the ten rooms, and no arrow that points up or to the side."""
        arrows = ARROW.findall(ARCHITECTURE.read_text())
        self.assertEqual({room for arrow in arrows for room in arrow}, ROOMS)
        self.assertEqual([pair for pair in arrows if LEVELS[pair[0]] <= LEVELS[pair[1]]], [])
