"""What people choose as strings: how values are read, and what keywords have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from thing.core.groups import GroupName
from thing.errors import CredentialError
from thing.trust.keywords import (
    Keyword,
    Where,
    asOption,
    checkCombination,
    count,
    duration,
    host,
    members,
    port,
    seconds,
    writtenIn,
)


class ReaderTests(SynchronousTestCase):
    """The readers of values."""

    def reads(self, read: Callable[[str], Any], good: dict[str, Any], bad: tuple[str, ...]) -> None:
        """The good are read; the bad are refused, in words that begin with them."""
        for text, value in good.items():
            self.assertEqual(read(text), value)
        for text in bad:
            self.assertIn(repr(text), str(self.assertRaises(ValueError, read, text)))

    def test_numbers(self) -> None:
        """Durations are finite, some of them more than nothing; counts are one or more."""
        never = ("soon", "", "-1", "nan", "inf", "-inf", "1e999", "2,5")
        self.reads(seconds, {"0": 0, "2.5": 2.5, "1e3": 1000}, never)
        self.reads(duration, {"2.5": 2.5, "1e3": 1000}, (*never, "0", "0.0"))
        self.reads(count, {"1": 1, "8388608": 1 << 23}, ("many", "", "0", "-1", "1.5", "9" * 5000))
        self.reads(port, {"0": 0, "65535": 65535}, ("http", "", "-1", "65536", "+1", "1.0"))

    def test_hosts(self) -> None:
        """A host has a name that can be looked up, with underscores or not, or an address."""
        good = (
            *("localhost", "redis_1", "_a._b.example", "example.com.", "bücher.example"),
            *("192.0.2.1", "2001:db8::1", "fe80::1%eth0", "a" * 63, ".".join(["a" * 61] * 4)),
        )
        bad = (
            *("", ".", "a..b", ".a", "a" * 64, "a b", "a\nb", "a\0", "a\x1b[2J"),
            *("\xad", "b\u0378", "ü" * 63, "::g", "a:1", "1:2", "fe80::1%", "fe80::1%a\n"),
        )
        self.reads(host, {text: text for text in good}, bad)
        for name in ("a." * 127 + "a", "ü." * 63 + "a"):
            self.assertIn("253", str(self.assertRaises(ValueError, host, name)))

    def test_members(self) -> None:
        """Names of a registry are read in any letters, and the known ones are told."""
        read = members(GroupName)
        self.reads(
            read,
            {
                "x25519": (GroupName.X25519,),
                "X25519MLKEM768, X25519": (GroupName.X25519MLKEM768, GroupName.X25519),
            },
            ("", "P256", "X25519,"),
        )
        self.assertIn("X25519MLKEM768", str(self.assertRaises(ValueError, read, "P256")))


class KeywordTests(SynchronousTestCase):
    """What a table's row can say."""

    def test_defaultText(self) -> None:
        """A default is shown as it would be written, or in the words that the row has."""
        for default, shown, text in (
            (None, "", ""),
            (None, "all", "all"),
            (5000.0, "", "5000"),
            (0.5, "", "0.5"),
            (1 << 23, "", "8388608"),
            (0, "", "0"),
            (True, "", "yes"),
            (False, "", "no"),
            ((GroupName.X25519,), "", "X25519"),
            ("memory", "", "memory"),
            (30.0, "in words", "in words"),
        ):
            keyword = Keyword("name", "X", "what it is", default=default, shown=shown)
            self.assertEqual(keyword.defaultText, text)

    def test_where(self) -> None:
        """What can be written in a place is found, in the table's order."""
        both, daemon, endpoint = (
            Keyword("name", "X", "what it is", where=where)
            for where in (Where.DAEMON | Where.ENDPOINT, Where.DAEMON, Where.ENDPOINT)
        )
        table = (both, daemon, endpoint)
        self.assertEqual(writtenIn(Where.DAEMON, table), (both, daemon))
        self.assertEqual(writtenIn(Where.ENDPOINT, table), (both, endpoint))
        self.assertEqual(writtenIn(Where.COMMAND, table), ())

    def test_combination(self) -> None:
        """A keyword is refused beside what it excludes, or without any of what it needs."""
        keyword = Keyword("oneThing", "X", "", needs=("a", "bC"), excludes=("d",))
        for chosen in ({"oneThing", "a"}, {"oneThing", "bC"}):
            checkCombination(keyword, chosen)
        for chosen, said in (
            ({"oneThing"}, "--one-thing needs --a or --b-c"),
            ({"oneThing", "a", "d"}, "--one-thing and --d exclude each other"),
        ):
            error = self.assertRaises(CredentialError, checkCombination, keyword, chosen, asOption)
            self.assertEqual(str(error), said)
