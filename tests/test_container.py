"""The container image that ``Containerfile`` describes."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

from tests import PROJECT
from tests.test_packaging import GIT, TWISTD, git, runPython


class ContainerfileTests(TestCase):
    """What ``Containerfile`` makes an image of, as far as it can be seen without an engine."""

    def setUp(self) -> None:
        """Read its instructions."""
        text = (PROJECT / "Containerfile").read_text("utf-8")
        code = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", "")
        self.instructions = [line.split(maxsplit=1) for line in code.splitlines() if line]

    def all(self, name: str) -> list[str]:
        """What the instructions of a name say."""
        return [words for instruction, words in self.instructions if instruction == name]

    def test_instructions(self) -> None:
        """Each is known; two images are made, and only one of them stays."""
        known = {"ARG", "FROM", "COPY", "RUN", "LABEL", "ENV", "USER", "WORKDIR", "VOLUME"}
        found = {name for name, _ in self.instructions}
        self.assertEqual(found, known | {"EXPOSE", "ENTRYPOINT"})
        arguments = [words.partition("=")[0] for words in self.all("ARG")]
        expected = [f"${{{arguments[0]}}} AS build", f"${{{arguments[1]}}}"]
        self.assertEqual(self.all("FROM"), expected)

    def test_rights(self) -> None:
        """It runs as a user without rights, who owns the directory that is kept."""
        (user,), (home,) = self.all("USER"), self.all("VOLUME")
        self.assertNotIn(user, ("0", "root"))
        self.assertIn(
            f"useradd --uid {user} --create-home --home-dir {home} ", " ".join(self.all("RUN"))
        )
        self.assertIn(f"THING_HOME={home}", self.all("ENV")[0])

    def test_entryPoint(self) -> None:
        """It starts the daemon, in the foreground, and on the port that it tells."""
        (line,) = self.all("ENTRYPOINT")
        program, *words = json.loads(line)
        self.assertEqual(program, "twistd")
        elsewhere = Path(self.mktemp())
        elsewhere.mkdir()
        shown = runPython("-c", TWISTD, *words, "--help", cwd=elsewhere, path=PROJECT)
        self.assertIn(f"[tcp:{self.all('EXPOSE')[0]}]", shown)
        self.assertIn("--nodaemon", words)

    def test_ignored(self) -> None:
        """Nothing that is in git is left out of the context: the version would tell changes."""
        if GIT is None or not (PROJECT / ".git").exists():
            raise SkipTest("this is no clone")
        tracked = git(PROJECT, "ls-files").splitlines()
        for line in (PROJECT / ".dockerignore").read_text().splitlines():
            if line and not line.startswith("#"):
                pattern = line.removeprefix("**/")
                found = [
                    name
                    for name in tracked
                    if any(fnmatch(part, pattern) for part in (name, *Path(name).parts))
                    or name.startswith(f"{pattern}/")
                ]
                self.assertEqual(found, [], line)
