"""docs/manpages.py: the manual pages have what ``--help`` has."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import click
from twisted.trial.unittest import TestCase

from tests import PROJECT
from thing.cli.commands import commands
from thing.daemon.options import GROUPS
from thing.trust.keywords import asOption


def made() -> dict[str, str]:
    """The pages, by their files' names."""
    spec = importlib.util.spec_from_file_location("manpages", PROJECT / "docs" / "manpages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


def read(page: str) -> str:
    """A page as a reader has it, on one line."""
    return " ".join(re.sub(r"(?m)^\.\w+ *", "", page).replace("\\-", "-").split())


class ManualPageTests(TestCase):
    """The pages, as roff."""

    def setUp(self) -> None:
        self.pages = made()

    def test_commands(self) -> None:
        """Each command has a page, with its options, their help, its examples and exit codes."""
        for name, command in commands.commands.items():
            page = read(self.pages[f"thing-{name}.1"])
            self.assertIn(f"thing-{name}(1)", read(self.pages["thing.1"]))
            for option in command.params:
                if isinstance(option, click.Option):
                    self.assertIn(max(option.opts, key=len), page)
                    self.assertIn(" ".join(option.help.split()), page)
            for line in command.epilog.replace("\b\n", "").splitlines():
                if line.startswith(" "):
                    self.assertIn(" ".join(line.split()), page)

    def test_daemon(self) -> None:
        """``twistd-thing`` has each option, what it takes, what it is."""
        page = read(self.pages["twistd-thing.1"])
        for title, keywords in GROUPS:
            self.assertIn(title.rstrip(":"), page)
            for keyword in keywords:
                self.assertIn(asOption(keyword.name), page)
                self.assertIn(keyword.plainDoc, page)

    def test_requests(self) -> None:
        """Nothing of a text is taken for a request of roff."""
        known = {"TH", "SH", "SS", "TP", "B", "PP", "nf", "fi", "nh", "ad"}
        for name, page in self.pages.items():
            requests = {line[1:].split(" ")[0] for line in page.splitlines() if line[:1] in ".'"}
            self.assertLessEqual(requests, known, name)
            self.assertEqual(set(re.findall(r"\\.", page)) - {"\\-", "\\e", "\\&"}, set(), name)

    def test_lint(self) -> None:
        """mandoc finds no fault, but that the day is not told on which they were made."""
        directory = Path(self.mktemp())
        directory.mkdir()
        for name, page in self.pages.items():
            (directory / name).write_text(page, "utf-8")
        command = ["mandoc", "-T", "lint", "-W", "warning", *sorted(directory.iterdir())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        faults = (done.stdout + done.stderr).splitlines()
        self.assertEqual([each for each in faults if "missing date" not in each], [])

    if shutil.which("mandoc") is None:
        test_lint.skip = "mandoc is not installed"
