"""The rows: each has a name of its own, and its sentence is the specification's."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT
from thing.conformance.catalogue import CHECKS, SECTIONS, checksFor
from thing.conformance.check import Profile
from thing.core.messages import Role

SPECIFICATION = PROJECT / "docs" / "specification.rst"


def sections() -> dict[str, str]:
    """The sections of the specification, by their titles; those below belong to each, too."""
    lines = SPECIFICATION.read_text().splitlines()
    levels = {"=": 1, "-": 2}
    heads = [
        (number, line, levels[under[0]])
        for number, (line, under) in enumerate(pairwise(lines))
        if line and re.fullmatch(r"(=+|-+)", under) and len(under) == len(line)
    ]
    found = {}
    for at, (number, title, level) in enumerate(heads):
        ends = [begin for begin, _, other in heads[at + 1 :] if other <= level]
        text = lines[number + 2 : ends[0] if ends else None]
        found[title] = " ".join(" ".join(text).split())
    return found


class CatalogueTests(SynchronousTestCase):
    """All rows."""

    def test_names(self) -> None:
        """No two rows about peers of one role have the same name."""
        for role in Role:
            names = Counter(each.name for each in CHECKS if role in each.examines)
            self.assertEqual([name for name, count in names.items() if count > 1], [])
            self.assertGreater(len(names), 100)

    def test_sentences(self) -> None:
        """Each says what its section of the specification says, word by word."""
        found = sections()
        self.assertIn("Records", found)
        for each in CHECKS:
            self.assertIn(each.section, found, each.name)
            self.assertIn(" ".join(each.sentence.split()), found[each.section], each.name)

    def test_order(self) -> None:
        """They are told section by section, as the specification has these."""
        used = {each.section for each in CHECKS}
        self.assertEqual([title for title in sections() if title in used], list(SECTIONS))

    def test_profiles(self) -> None:
        """A small peer is asked no more than one of the full profile."""
        for role in Role:
            small, full = checksFor(role, Profile.SMALL), checksFor(role)
            self.assertLess({each.name for each in small}, {each.name for each in full})
