"""docs/promises.rst: each promise has where it is explained, and tests that are there."""

from __future__ import annotations

import importlib
import re

from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT

PAGE = PROJECT / "docs" / "promises.rst"

PROMISES = 28

TEST = re.compile(r"``(tests(?:\.\w+)+)\.(\w+)\.(test\w+)``")


def rows() -> list[list[str]]:
    """The cells of each row of the table, without its head."""
    table = PAGE.read_text().partition(".. list-table::")[2]
    rows = table.split("\n   * - ")[2:]
    return [[" ".join(cell.split()) for cell in row.split("\n     - ")] for row in rows]


class PromiseTests(SynchronousTestCase):
    """The table."""

    def test_complete(self) -> None:
        """Each promise has its number, a page that is there, and at least one test."""
        self.assertEqual([row[0] for row in rows()], [str(n + 1) for n in range(PROMISES)])
        for number, promise, explained, shown in rows():
            self.assertTrue(promise.endswith("."), number)
            pages = re.findall(r":doc:`([\w-]+)`", explained)
            self.assertEqual(explained, ", ".join(f":doc:`{page}`" for page in pages), number)
            self.assertTrue(pages, number)
            for page in pages:
                self.assertTrue((PROJECT / "docs" / f"{page}.rst").exists(), page)
            tests = [".".join(named) for named in TEST.findall(shown)]
            self.assertTrue(tests, number)
            self.assertEqual(shown, ", ".join(f"``{test}``" for test in tests), number)

    def test_shown(self) -> None:
        """Each test that is named is one."""
        for number, _, _, shown in rows():
            for module, case, method in TEST.findall(shown):
                found = getattr(importlib.import_module(module), case, None)
                self.assertTrue(callable(getattr(found, method, None)), (number, case, method))
