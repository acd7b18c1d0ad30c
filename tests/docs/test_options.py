"""What can be set, in the tables, in the help of both programs, and in the manual: the same."""

from __future__ import annotations

import re

import click
from click.testing import CliRunner
from twisted.trial.unittest import TestCase

from tests import PROJECT
from thing.cli.commands import commands
from thing.daemon.options import GROUPS
from thing.daemon.tap import Options
from thing.session.settable import CLIENT_SETTINGS, SERVER_SETTINGS
from thing.trust.choice import CLIENT_KEYWORDS, SERVER_KEYWORDS
from thing.trust.keywords import Keyword, Where, asOption, writtenIn, yes

OPERATING = PROJECT / "docs" / "operating.rst"

RENAMED = {"knownServers": "--known-hosts", "firstUse": "--trust-on-first-use"}
"""The options of ``thing`` that ssh's users know by other names."""

OWN_WORDS = {"identity", "passphraseFile", "serverKey", "knownServers"}
"""What ``thing`` has its own defaults for, and so its own words."""


def words(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


class DaemonTests(TestCase):
    """``twistd thing``."""

    def setUp(self) -> None:
        self.told = {asOption(each.name): each for _, group in GROUPS for each in group}

    def test_tables(self) -> None:
        """Whatever the tables have for the daemon can be told to it, in the same words."""
        for keyword in writtenIn(Where.DAEMON, (*SERVER_KEYWORDS, *SERVER_SETTINGS)):
            self.assertIs(self.told[asOption(keyword.name)], keyword)

    def test_othersPlaces(self) -> None:
        """What the tables have for other places only cannot."""
        known = {name.partition("=")[0] for name in Options().longOpt}
        for keyword in (*SERVER_KEYWORDS, *SERVER_SETTINGS):
            name = asOption(keyword.name).removeprefix("--")
            self.assertEqual(name in known, Where.DAEMON in keyword.where, name)

    def test_help(self) -> None:
        """The help has of each what it takes, what it is, and its default."""
        lines = Options().getUsage().splitlines()
        for name, keyword in self.told.items():
            (line,) = (each for each in lines if re.match(rf"  (-p,|   ) {name}(?![\w-])", each))
            option, doc = re.fullmatch(r"  (?:-p,|   ) (\S+) +(.+)", line).groups()
            self.assertEqual(option, name if keyword.read is yes else f"{name}={keyword.value}")
            default = keyword.defaultText or ("made, see below" if name == "--identity" else "")
            end = f" [{default}]" if default else ""
            self.assertEqual(doc, keyword.doc.replace("`", "") + end)

    def test_manual(self) -> None:
        """The manual's table has of each what it takes, where it says so, and its default."""
        table = OPERATING.read_text().split(".. list-table::")[1].split("\n\n\n")[0]
        _, *rows = re.findall(r"\n   \* - (.*)", table)
        documented = []
        for row in rows:
            options, bracket = re.fullmatch(r"(``.*``)(?: \[(.+)\])?", row).groups()
            found = re.findall(r"``(--[a-z-]+)(?:=([A-Z:=]+))?``", options)
            defaults = bracket.split(", ") if bracket else [""] * len(found)
            for (name, value), default in zip(found, defaults, strict=True):
                documented.append(name)
                self.assertIn(value, ("", self.told[name].value), name)
                self.assertEqual(plain(default), self.told[name].defaultText, name)
        self.assertEqual(set(documented), self.told.keys() - {"--version", "--help"})
        self.assertEqual(len(documented), len(set(documented)))


def plain(default: str) -> str:
    """A default of the manual's as the help has it."""
    mebi = re.fullmatch(r"(\d+) MiB", default)
    return str(int(mebi[1]) << 20) if mebi else default.replace("`", "")


class CommandTests(TestCase):
    """``thing``."""

    def command(self, name: str) -> click.Command:
        command = commands.commands[name]
        assert isinstance(command, click.Command)
        return command

    def helpOf(self, name: str, keyword: Keyword) -> str | None:
        """The option of a keyword and its help, or nothing if a command does not have it."""
        option = RENAMED.get(keyword.name, asOption(keyword.name))
        for each in self.command(name).params:
            if option in each.opts:
                assert isinstance(each, click.Option)
                self.assertEqual(each.is_flag, keyword.read is yes)
                self.assertEqual(each.is_flag or each.metavar, each.is_flag or keyword.value)
                return each.help
        return None

    def test_tables(self) -> None:
        """Whatever the tables have for a command is an option of connect, in the same words."""
        for keyword in (*CLIENT_KEYWORDS, *CLIENT_SETTINGS):
            told = self.helpOf("connect", keyword)
            self.assertEqual(told is not None, Where.COMMAND in keyword.where, keyword.name)
            if told is not None and keyword.name not in OWN_WORDS:
                doc = keyword.doc.replace("`", "")
                default = f"  [default: {keyword.defaultText}]" if keyword.defaultText else ""
                self.assertEqual(told, f"{doc[0].upper()}{doc[1:]}.{default}")

    def test_others(self) -> None:
        """Whom to trust is told to ping and reach in the same words; both choose no TTL so."""
        for command in ("ping", "reach"):
            for keyword in CLIENT_KEYWORDS:
                self.assertEqual(self.helpOf(command, keyword), self.helpOf("connect", keyword))
            for keyword in CLIENT_SETTINGS:
                self.assertIsNone(self.helpOf(command, keyword))

    def test_commands(self) -> None:
        """The manual has every command, and no page names another one."""
        manual = OPERATING.read_text()
        section = manual.split("The ``thing`` command\n---")[1].split("**Which server")[0]
        table = "".join(re.findall(r"(?m)^``thing .*$", section))
        self.assertEqual(set(re.findall(r"``(?:thing )?([a-z]+)", table)), set(commands.commands))
        for page in (PROJECT / "README.rst", *(PROJECT / "docs").glob("*.rst")):
            text = page.read_text()
            named = re.findall(r"``thing\s+([a-z]+)|(?m:^ +\$ \S*\bthing) ([a-z]+)", text)
            unknown = {one or other for one, other in named} - commands.commands.keys()
            self.assertEqual(unknown, set(), page.name)

    def test_help(self) -> None:
        """``--help`` shows what the options have."""
        shown = words(CliRunner().invoke(commands, ["connect", "--help"]).output)
        for keyword in writtenIn(Where.COMMAND, (*CLIENT_KEYWORDS, *CLIENT_SETTINGS)):
            told = self.helpOf("connect", keyword)
            assert told is not None
            self.assertIn(words(told), shown)
