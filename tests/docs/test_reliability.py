"""docs/reliability.rst: each check of the rig has a row, and each command that it names exists."""

import re
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT
from tests.rig.check import CHECKS

PAGE = PROJECT / "docs" / "reliability.rst"

COMMAND = re.compile(r"``python (?:-m (benchmarks\.\w+|tests\.\w+)|(benchmarks/\w+\.py))([^`]*)``")


def rows() -> list[list[str]]:
    """The cells of each row of the table, without its head."""
    table = PAGE.read_text().partition(".. list-table::")[2].partition("\n\n   * - ")[2]
    rows = table.partition("\n\n\n")[0].split("\n   * - ")[1:]
    return [[" ".join(cell.split()) for cell in row.split("\n     - ")] for row in rows]


class PageTests(SynchronousTestCase):
    """The table."""

    def test_commands(self) -> None:
        """Each row has a promise, what was seen, and a command that exists."""
        self.assertTrue(rows())
        for row in rows():
            self.assertEqual(len(row), 3, row)
            found = COMMAND.fullmatch(row[2])
            assert found is not None, row
            module, path, arguments = found.groups()
            if module == "tests.rig":
                self.assertIn(arguments.strip(), CHECKS)
            else:
                self.assertTrue((PROJECT / (path or module.replace(".", "/") + ".py")).exists())

    def test_everyCheckHasARow(self) -> None:
        """Each check of the rig stands in the table, once."""
        named = Counter(
            row[2].removeprefix("``python -m tests.rig ").removesuffix("``")
            for row in rows()
            if "tests.rig" in row[2]
        )
        self.assertEqual(named, Counter(CHECKS.keys()))
