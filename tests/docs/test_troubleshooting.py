"""docs/troubleshooting.rst: whatever a program says of an end can be looked up there."""

from __future__ import annotations

import re
from collections import Counter

from twisted.trial.unittest import TestCase

from tests import PROJECT
from thing import Cause, EndReason, ErrorCode, ReplyStatus, StopCode
from thing.cli.exits import ExitCode
from thing.errors import Worded
from thing.session.joinmessages import Refusal

PAGE = PROJECT / "docs" / "troubleshooting.rst"


def named(codes: type[Worded]) -> set[str]:
    """What programs say of each of these."""
    return {f"{code.name}: {code.sentence}" for code in codes}


class TroubleshootingTests(TestCase):
    """The page has an entry of its own for each."""

    def setUp(self) -> None:
        """Read what the page explains: the terms of its glossaries."""
        text = PAGE.read_text()
        self.entries = Counter(re.findall(r"(?m)^   (\S.*)\n      \S", text))

    def look(self, said: set[str]) -> None:
        """Look all of these up."""
        self.assertEqual({each for each in said if self.entries[each] != 1}, set())

    def test_errorCodes(self) -> None:
        """Each code that a handshake or a session ends with."""
        self.look(named(ErrorCode))

    def test_causes(self) -> None:
        """Each way in which a session ends."""
        self.look({cause.value for cause in Cause})

    def test_reasons(self) -> None:
        """Each reason of a server to have somebody leave."""
        self.look(named(EndReason))

    def test_streams(self) -> None:
        """Each code with which a stream, or a reach, is refused or stopped."""
        self.look(named(StopCode))

    def test_requests(self) -> None:
        """Whatever may become of a request."""
        self.look(named(ReplyStatus))

    def test_joining(self) -> None:
        """Each reason for which a thing does not join."""
        self.look({refusal.sentence for refusal in Refusal})

    def test_exitCodes(self) -> None:
        """Each exit code of the command."""
        self.look({f"exit code {code.value}: {code.sentence}" for code in ExitCode})

    def test_gone(self) -> None:
        """It explains no code that there is no more."""
        names = {name for entry in self.entries for name in re.findall(r"^([A-Z_]+): ", entry)}
        codes = (ErrorCode, EndReason, StopCode, ReplyStatus)
        known = {code.name for each in codes for code in each}
        self.assertEqual(names - known, set())
