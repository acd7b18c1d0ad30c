"""docs/api.rst: whatever programs may import has its line there."""

from __future__ import annotations

import pkgutil
import re

from twisted.trial.unittest import TestCase

import thing
import thing.asyncio
import thing.core
from tests import PROJECT

PAGE = PROJECT / "docs" / "api.rst"


class ApiTests(TestCase):
    """The page lists names and rooms; Sphinx sees whether they are there."""

    def setUp(self) -> None:
        """Read what is listed."""
        self.listed = re.findall(r"(?m)^   ~?(thing[\w.]*)$", PAGE.read_text())

    def test_names(self) -> None:
        """Each public name, once, and where it is defined."""
        others = "thing.asyncio."  # It has its own of some.
        names = [
            name
            for name in self.listed
            if name.split(".")[-1] in thing.__all__ and not name.startswith(others)
        ]
        values = [getattr(thing, name) for name in thing.__all__]
        self.assertEqual(
            sorted(names), sorted(f"{value.__module__}.{value.__name__}" for value in values)
        )

    def test_otherLoops(self) -> None:
        """Each name that is kept for asyncio, and for those who bring their own I/O."""
        for package in (thing.asyncio, thing.core):
            values = [getattr(package, name) for name in package.__all__]
            where = {f"{value.__module__}.{value.__name__}" for value in values}
            self.assertLessEqual(where, set(self.listed))

    def test_rooms(self) -> None:
        """Each package."""
        found = pkgutil.iter_modules(thing.__path__)
        rooms = {f"thing.{each.name}" for each in found if each.ispkg}
        self.assertLessEqual(rooms, set(self.listed))
