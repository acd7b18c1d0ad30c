"""The steps of ``.ci/run``, and the sessions of ``noxfile.py`` that run them."""

import runpy
import subprocess
import sys
from types import ModuleType
from typing import Any
from unittest import mock

from twisted.trial.unittest import TestCase

from tests import PROJECT

RUN = PROJECT / ".ci" / "run"
NEEDED = {"tests", "lint", "types", "docs", "news", "release", "minimums"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``.ci/run``."""
    return subprocess.run(
        [RUN, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


class StepsTests(TestCase):
    """What has to pass is said once."""

    if not RUN.exists():
        skip = "a release has no .ci"

    def setUp(self) -> None:
        """Ask for the steps."""
        listed = run("--list")
        self.assertEqual(listed.stderr, "")
        self.steps = dict(line.split(maxsplit=1) for line in listed.stdout.splitlines())

    def test_list(self) -> None:
        """Each step has a name, and a heading that no other has."""
        self.assertLessEqual(NEEDED, set(self.steps))
        self.assertEqual(len(set(self.steps.values())), len(self.steps))

    def test_defined(self) -> None:
        """A step needs only steps before it, and what it runs is there."""
        script = RUN.read_text()
        rows = script.partition('STEPS="\n')[2].partition('"\n')[0].splitlines()
        names = [row.split()[0] for row in rows]
        self.assertEqual(names, list(self.steps))
        for number, row in enumerate(rows):
            _, needs, runs, _ = row.split(maxsplit=3)
            self.assertIn(needs, ["-", *names[:number]])
            self.assertIn(f"\n{runs}() {{\n", script)

    def test_unknown(self) -> None:
        """A name that no step has is refused, before anything is done."""
        done = run("lint", "lnit")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stdout, "")
        self.assertIn("lnit", done.stderr)

    def test_sessions(self) -> None:
        """Nox has a session for each step, which runs that step and nothing else."""
        sessions: dict[str, Any] = {}
        nox = ModuleType("nox")
        nox.session = lambda function, name, venv_backend: sessions.update({name: function})
        nox.Session = object
        with mock.patch.dict(sys.modules, nox=nox):
            runpy.run_path(str(PROJECT / "noxfile.py"))
        self.assertEqual(list(sessions), list(self.steps))
        for name, function in sessions.items():
            session = mock.Mock()
            function(session)
            session.run.assert_called_once()
            self.assertEqual(session.run.call_args.args, (str(RUN), name))
            self.assertEqual(function.__doc__, f"{self.steps[name]}.")
