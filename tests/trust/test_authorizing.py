"""Lines that a server adds to its file of authorized things."""

from __future__ import annotations

import contextlib
import os
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.trust.power import PowerLost, outages
from tests.trust.test_authorized import identity, line
from tests.trust.test_keys import DirectoryMixin, modeOf, read, write
from thing.errors import CredentialError
from thing.identity import Purpose
from thing.text import isName
from thing.trust import AuthorizedThings, authorizing, formatPublicKey
from thing.trust.authorized import KeyLine, parseLine
from thing.trust.authorizing import KeyTaken, authorizeThing, checkFree
from thing.trust.files import FileLocked, lockedFile
from thing.trust.invitations import NameTaken

COMMENT = "joined 2026-11-28T18:00:00Z by invitation 0123456789abcdef"


def keyOf(number: int) -> bytes:
    """The raw key that :func:`line` writes by this number."""
    return identity(number).publicKey


class AuthorizingTests(DirectoryMixin, TestCase):
    """The file, before and after."""

    def setUp(self) -> None:
        super().setUp()
        self.file = self.path("things")

    def holding(self, *lines: str, end: str = "\n") -> bytes:
        content = ("\n".join(lines) + end).encode()
        write(self.file, content, 0o640)
        return content

    def add(self, name: str, number: int, replaces: bool = False) -> None:
        authorizeThing(self.file, name, keyOf(number), COMMENT, replaces)

    def named(self, number: int) -> str | None:
        return AuthorizedThings(self.file).authorize(identity(number)).name

    def test_added(self) -> None:
        """A line is added as people write it; all else stays, and so does the file's mode."""
        before = self.holding("# things", "", line(1, "kettle"))
        self.add("lamp", 2)
        key = formatPublicKey(keyOf(2))
        self.assertEqual(read(self.file), before + f'name="lamp" {key} {COMMENT}\n'.encode())
        self.assertEqual((self.named(1), self.named(2)), ("kettle", "lamp"))
        self.assertEqual(modeOf(self.file), 0o640)

    def test_lastLine(self) -> None:
        """The last line need not end."""
        self.holding(line(1, "kettle"), end="")
        self.add("lamp", 2)
        self.assertEqual((self.named(1), self.named(2)), ("kettle", "lamp"))

    def test_empty(self) -> None:
        """A file that is empty, or says that it is, gets its first line."""
        for content in (b"", b"# empty\n", b"\xef\xbb\xbf"):
            write(self.file, content)
            self.add("lamp", 2)
            self.assertEqual(self.named(2), "lamp")

    def test_again(self) -> None:
        """A thing that is there just so is not added again, whether or not it replaces."""
        self.holding(line(1, "kettle"))
        self.add("lamp", 2)
        before = read(self.file)
        for replaces in (False, True):
            self.add("lamp", 2, replaces)
            self.assertEqual(read(self.file), before)

    def test_nameTaken(self) -> None:
        """A name that a line has, as an option or a comment, is not given again."""
        for held in (line(1, "lamp"), f'name="lamp" {line(1)}'):
            before = self.holding(line(3, "kettle"), held)
            error = self.assertRaises(NameTaken, self.add, "lamp", 2)
            self.assertEqual(str(error), f"{self.file}:2 has the name 'lamp' already")
            self.assertRaises(NameTaken, checkFree, self.file, "lamp")
            self.assertEqual(read(self.file), before)
            checkFree(self.file, "Lamp")
            checkFree(self.file, "lamp", replaces=True)

    def test_replaced(self) -> None:
        """All lines of the name go, in the one moment in which the new one comes."""
        self.holding(line(1, "lamp"), "# note", line(3, "kettle"), f'name="lamp" {line(4)}')
        self.add("lamp", 2, replaces=True)
        self.assertEqual(read(self.file).decode().splitlines()[:2], ["# note", line(3, "kettle")])
        self.assertEqual(AuthorizedThings(self.file).count, 2)
        self.assertEqual((self.named(2), self.named(3)), ("lamp", "kettle"))

    def test_onlyLine(self) -> None:
        """The only line of a file is replaced, too."""
        for end in ("\n", ""):
            self.holding(line(1, "lamp"), end=end)
            self.add("lamp", 2, replaces=True)
            self.assertEqual((AuthorizedThings(self.file).count, self.named(2)), (1, "lamp"))

    def test_operator(self) -> None:
        """An operator's line is not replaced: what it permits would be lost."""
        before = self.holding(f'name="olga",permit-reach="*:ssh" {line(1)}')
        for replaces in (False, True):
            self.assertRaises(NameTaken, self.add, "olga", 2, replaces)
            self.assertRaises(NameTaken, checkFree, self.file, "olga", replaces=replaces)
        self.assertRaises(KeyTaken, self.add, "lamp", 1)
        self.assertEqual(read(self.file), before)
        olga = AuthorizedThings(self.file).authorize(identity(1))
        self.assertIs(olga.purpose, Purpose.OPERATOR)

    def test_keyTaken(self) -> None:
        """A key that a line has by another name is not given this one, even to replace it."""
        before = self.holding(line(1, "kettle"), line(3, "lamp"))
        for replaces in (False, True):
            error = self.assertRaises(KeyTaken, self.add, "lamp", 1, replaces)
            self.assertEqual(str(error), f"{self.file}:1 has the key already")
            self.assertRaises(KeyTaken, checkFree, self.file, "lamp", keyOf(1), replaces)
            checkFree(self.file, "kettle", keyOf(1), replaces)
        self.assertEqual(read(self.file), before)

    def test_noFile(self) -> None:
        """A file that is missing is a fault, and is not made."""
        self.assertRaises(CredentialError, self.add, "lamp", 2)
        self.assertRaises(CredentialError, checkFree, self.file, "lamp")
        self.assertFalse(os.path.exists(self.file))

    def test_notUnderstood(self) -> None:
        """A file that is not understood is left as it is: no line in it would work."""
        before = self.holding(line(1, "kettle"), "restrict " + line(3))
        error = self.assertRaises(CredentialError, self.add, "lamp", 2)
        self.assertIn(f"{self.file}:2: ", str(error))
        self.assertRaises(CredentialError, checkFree, self.file, "lamp")
        self.assertEqual(read(self.file), before)

    def test_locked(self) -> None:
        """While another process has the lock nothing is done."""
        before = self.holding(line(1, "kettle"))
        with lockedFile(self.file):
            self.assertRaises(FileLocked, self.add, "lamp", 2)
            self.assertRaises(FileLocked, checkFree, self.file, "lamp")
        self.assertEqual(read(self.file), before)

    def test_full(self) -> None:
        """A file does not grow beyond what is read of it."""
        before = self.holding(line(1, "kettle"))
        self.patch(authorizing, "MAX_FILE", len(before) + 20)
        self.assertIn("would be longer", str(self.assertRaises(CredentialError, self.add, "a", 2)))
        with mock.patch("os.rename", side_effect=OSError(28, "No space left")):
            self.patch(authorizing, "MAX_FILE", 10**6)
            self.assertRaises(CredentialError, self.add, "lamp", 2)
        self.assertEqual(read(self.file), before)

    def test_names(self) -> None:
        """What cannot be a name in the file is none."""
        before = self.holding(line(1, "kettle"))
        for name in ("", "\\", "a\\", "a\nb", "a\0", "a\tb", "\u202e", "a" * 185, "\ud800", "\x7f"):
            self.assertRaises(CredentialError, checkFree, self.file, name)
            self.assertRaises(CredentialError, self.add, name, 2)
        self.assertEqual(read(self.file), before)

    def test_fingerprint(self) -> None:
        """What a key without a name is known by is no name of another one."""
        self.holding(line(1))
        name = AuthorizedThings(self.file).authorize(identity(1)).fingerprint
        for each in (name, f"{name}="):
            error = self.assertRaises(CredentialError, checkFree, self.file, each)
            self.assertIn("fingerprint", str(error))
        checkFree(self.file, name.removesuffix(name[-1]))

    def test_oddNames(self) -> None:
        """Whatever is odd in a name but is seen is read again as it was meant."""
        for number, name in enumerate(
            (
                '"',
                '\\"',
                '"\\\\"',
                'a",permit-reach="*:*',
                '" ssh-ed25519 AAAA',
                "# no comment",
                "a, b=c",
                " lamp ",
                "ssh-ed25519",
                "*",
                "join:0123456789abcdef",
                "\U0001f4a1 Küche, links",
                "\N{IDEOGRAPHIC SPACE}".join("你好"),
                "a" * 184,
                "\U00020000" * 46,
            ),
            2,
        ):
            self.holding(line(1, "kettle"))
            self.add(name, number)
            known = AuthorizedThings(self.file)
            self.assertEqual(known.count, 2)
            admitted = known.authorize(identity(number))
            self.assertEqual((admitted.name, admitted.purpose), (name, Purpose.THING))

    @given(st.text(max_size=40))
    def test_anyName(self, name: str) -> None:
        """A name is refused, or is in its line just what it was, and nothing else is."""
        key = bytes(32)
        try:
            written = authorizing._format(name, key, COMMENT)
        except CredentialError:
            self.assertTrue(not name or not isName(name) or name.endswith("\\"), name)
        else:
            self.assertEqual(parseLine(written), (key, KeyLine(name)))
            self.assertNotIn("\n", written)


class PowerTests(DirectoryMixin, TestCase):
    """Lost power at any moment leaves the file without the line, or with it."""

    def test_eachStep(self) -> None:
        """There is what was, or all that was to be; a second time all is well."""
        path = self.path("things")
        before = f"# things\n{line(1, 'lamp')}\n{line(3, 'kettle')}\n".encode()
        found = []
        for power in outages():
            write(path, before)
            with power, contextlib.suppress(PowerLost):
                authorizeThing(path, "lamp", keyOf(2), COMMENT, True)
            found.append(read(path))
            authorizeThing(path, "lamp", keyOf(2), COMMENT, True)
            after = read(path)
            self.assertIn(found[-1], (before, after))
        self.assertEqual(AuthorizedThings(path).authorize(identity(2)).name, "lamp")
        self.assertEqual({before, after}, set(found))
