"""docs/howto-join.rst: what it says of invitations is so."""

from __future__ import annotations

import re

from twisted.trial.unittest import TestCase

from tests.docs.test_docs import DOCS
from thing.cli.join import _ENDS
from thing.trust.invitations import LIFE, MAX_LIFE

DAY = 86400.0


class JoinPageTests(TestCase):
    """docs/howto-join.rst"""

    def setUp(self) -> None:
        """Read it."""
        self.text = (DOCS / "howto-join.rst").read_text()

    def test_codes(self) -> None:
        """The table has the exit codes of the command, but for those of all commands."""
        codes = re.findall(r"(?m)^   \* - (\d+)$", self.text)
        self.assertEqual(list(map(int, codes)), sorted(_ENDS))

    def test_numbers(self) -> None:
        """How long an invitation counts is as the code has it."""
        self.assertEqual((LIFE, MAX_LIFE), (3600.0, 30 * DAY))
        self.assertIn("counts for an hour", self.text)
        self.assertIn("30\ndays at most", self.text)
