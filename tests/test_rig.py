"""Whether the rig tells what held from what did not; ``.ci/run`` runs the checks themselves."""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from unittest import mock

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from tests.rig import __main__ as command
from tests.rig.check import CHECKS, LeftOut, Result, Row, promiseOf, run


class CheckTests(SynchronousTestCase):
    """What is made of what a check yields."""

    def result(self, *rows: Row, missing: str = "") -> Result:
        """Run a check that finds so much."""
        module = ModuleType("tests.rig.madeup", "A promise\nof two lines.\n\nAnd more.")

        def check(short: bool) -> Iterator[Row]:
            self.short = short
            yield from rows
            if missing:
                raise LeftOut(missing)

        module.check = check  # type: ignore[attr-defined]
        self.told: list[str] = []
        with mock.patch.dict(sys.modules, {"tests.rig.madeup": module}):
            return run("madeup", True, self.told.append)

    def test_held(self) -> None:
        """A check holds if all that it tried did; each is told, and its promise."""
        result = self.result(Row("one", "1 s", True), Row("two", "2 s", True))
        self.assertTrue(result.held)
        self.assertTrue(self.short)
        self.assertEqual(self.told[0], "madeup: A promise of two lines.")
        self.assertIn("2 s", self.told[2])
        self.assertIn("2 of 2 held", self.told[3])
        self.assertEqual(result.plain()["rows"][0]["figure"], "1 s")

    def test_broken(self) -> None:
        """One that did not hold breaks it, and is marked."""
        result = self.result(Row("one", "1 s", True), Row("two", "2 s", False))
        self.assertFalse(result.held)
        self.assertTrue(self.told[2].endswith("BROKEN"))
        self.assertIn("1 of 2 held", self.told[3])

    def test_nothingTried(self) -> None:
        """A check that tried nothing has shown nothing."""
        self.assertFalse(self.result().held)

    def test_leftOut(self) -> None:
        """What cannot be tried here is no failure, and it is said why."""
        result = self.result(missing="no root")
        self.assertTrue(result.held)
        self.assertEqual(self.told[-1], "madeup: left out: no root")

    def test_brokenAndLeftOut(self) -> None:
        """What did not hold before something was missing is not forgotten."""
        self.assertFalse(self.result(Row("one", "1 s", False), missing="no root").held)


class ChecksTests(SynchronousTestCase):
    """The checks that there are."""

    def test_checks(self) -> None:
        """They stand in the order of the alphabet; each can be run, and promises one thing."""
        self.assertEqual(list(CHECKS), sorted(CHECKS))
        for name in CHECKS:
            self.assertTrue(callable(importlib.import_module(f"tests.rig.{name}").check))
            self.assertTrue(promiseOf(name).endswith("."), name)
            self.assertLessEqual(len(promiseOf(name)), 100)


class CommandTests(SynchronousTestCase):
    """The command line."""

    def test_all(self) -> None:
        """Without a name it is about all checks."""
        options = command.RigOptions()
        options.parseOptions(["--short"])
        self.assertEqual(options["names"], tuple(CHECKS))

    def test_unknown(self) -> None:
        """A name that no check has is refused."""
        self.assertRaises(UsageError, command.RigOptions().parseOptions, ["nothing"])

    def test_status(self) -> None:
        """The exit status says whether all held."""
        self.patch(command.signal, "signal", lambda number, handler: None)
        result = Result("pauses", "")
        self.patch(command, "run", lambda name, short, tell: result)
        result.rows.append(Row("one", "1 s", True))
        command.main(["pauses"])
        result.rows.append(Row("two", "2 s", False))
        self.assertEqual(self.assertRaises(SystemExit, command.main, ["pauses"]).code, 1)

    def test_strict(self) -> None:
        """What was left out fails where all has to be tried, of one check and of many."""
        self.patch(command.signal, "signal", lambda number, handler: None)
        result = Result("links", "", leftOut="no root")
        self.patch(command, "run", lambda name, short, tell: result)
        self.patch(command, "runAll", lambda names, short: [result.plain()] * len(names))
        for names in (["links"], ["links", "pauses"]):
            command.main(names)
            end = self.assertRaises(SystemExit, command.main, ["--strict", *names])
            self.assertEqual(end.code, 1)
        result.leftOut = ""
        result.rows.append(Row("one", "1 s", True))
        command.main(["--strict", "links"])
