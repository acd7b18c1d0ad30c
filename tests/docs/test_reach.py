"""docs/howto-reach.rst: its table has the right codes, and its options are there."""

from __future__ import annotations

import re

from twisted.trial.unittest import TestCase

from tests.docs.test_docs import DOCS
from thing import StopCode
from thing.cli.commands import commands
from thing.cli.destination import Destination
from thing.cli.exits import ExitCode
from thing.cli.forwarding import MOST


class ReachPageTests(TestCase):
    """docs/howto-reach.rst"""

    def setUp(self) -> None:
        """Read it."""
        self.text = (DOCS / "howto-reach.rst").read_text()

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
        others = {"--nodaemon", "--port", "--authorized", "--nodes", "--status"}
        others |= {"--bind", "--unix-socket"}
        named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", self.text))
        self.assertLessEqual(named - others, known)
        self.assertIn("--listen", named)
        self.assertIn(f"{MOST} at once", self.text)
