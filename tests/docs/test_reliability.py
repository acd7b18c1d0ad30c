"""docs/reliability.rst: each check of the rig has a row, and each command that it names exists."""

import re
from collections import Counter
from pathlib import Path

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT
from tests.rig.check import CHECKS

PAGE = PROJECT / "docs" / "reliability.rst"
PERFORMANCE = PROJECT / "docs" / "performance.rst"

COMMAND = re.compile(
    r"``(?:trial (?P<tests>tests\.[\w.]+)|(?:\w+=\d+ )?python -m tests\.rig (?P<check>\w+)"
    r"|python (?P<path>benchmarks/\w+\.py))``"
)
NUMBER = re.compile(r"\d(?:[\d,.]*\d)?")


def rows() -> list[list[str]]:
    """The cells of each row of the table, without its head."""
    table = PAGE.read_text().partition(".. list-table::")[2].partition("\n\n   * - ")[2]
    rows = table.partition("\n\n\n")[0].split("\n   * - ")[1:]
    return [[" ".join(cell.split()) for cell in row.split("\n     - ")] for row in rows]


def commandOf(row: list[str]) -> dict[str, str]:
    """What the command of a row runs: tests, a check of the rig, or a file."""
    found = COMMAND.fullmatch(row[2])
    assert found is not None, row
    return found.groupdict()


def sectionOf(benchmark: str) -> str:
    """What the page about performance says of a benchmark, by its path."""
    marks = f"``python {benchmark}``", f"begin generated: {Path(benchmark).stem}\n"
    sections = PERFORMANCE.read_text().split("\n\n\n")
    (section,) = (each for each in sections if any(mark in each for mark in marks))
    return section


def figures(text: str) -> set[float]:
    """All numbers in a text."""
    return {float(number.replace(",", "")) for number in NUMBER.findall(text)}


class PageTests(SynchronousTestCase):
    """The table."""

    def test_commands(self) -> None:
        """Each row has a promise, what was seen, with a figure, and a command that exists."""
        self.assertTrue(rows())
        for row in rows():
            self.assertEqual(len(row), 3, row)
            self.assertRegex(row[1], r"\d", row)
            found = commandOf(row)
            if found["check"]:
                self.assertIn(found["check"], CHECKS)
            elif found["tests"]:
                self.assertTrue(issubclass(namedAny(found["tests"]), SynchronousTestCase))
            else:
                self.assertTrue((PROJECT / found["path"]).exists())

    def test_everyCheckHasARow(self) -> None:
        """Each check of the rig stands in the table, once."""
        named = Counter(commandOf(row)["check"] for row in rows())
        del named[None]
        self.assertEqual(named, Counter(CHECKS.keys()))

    def test_figuresOfPerformance(self) -> None:
        """What was measured is what the section of it on that page says."""
        measured = [row for row in rows() if commandOf(row)["path"]]
        self.assertTrue(measured)
        for row in measured:
            self.assertLessEqual(figures(row[1]), figures(sectionOf(commandOf(row)["path"])), row)
