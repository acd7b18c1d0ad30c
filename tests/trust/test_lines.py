"""Files of lines, read in slices."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from thing.errors import CredentialError
from thing.trust.lines import (
    BYTE_ORDER_MARK,
    EMPTY_LINE,
    MAX_LINE,
    SLICE,
    eachLine,
    saysNothing,
    textLines,
)


class EachLineTests(SynchronousTestCase):
    """Tests for :func:`thing.trust.lines.eachLine`."""

    def read(self, content: bytes, start: int = 0) -> tuple[list[tuple[int, str]], int]:
        """The lines, and in how many slices they came."""
        lines: list[tuple[int, str]] = []
        work = eachLine("things", content, lambda *line: lines.append(line), start)
        return lines, 1 + sum(1 for _ in work)

    def test_short(self) -> None:
        """A short file is read in one slice."""
        self.assertEqual(self.read(b"one\n# two\nthree"), ([(1, "one"), (3, "three")], 1))
        self.assertEqual(self.read(b""), ([], 1))

    def test_long(self) -> None:
        """A slice has so many bytes and the rest of a line, also if no line says anything."""
        for line in (b"x" * 99 + b"\n", b"\n", b"# nothing\n"):
            content = line * (4 * SLICE // len(line))
            lines, slices = self.read(content)
            self.assertEqual(lines, list(textLines("things", content)))
            self.assertIn(slices, (4, 5))

    def test_from(self) -> None:
        """Where it begins later, lines have the numbers that they have in the file."""
        self.assertEqual(self.read(b"one\n\nthree\n", 4), ([(3, "three")], 1))

    def test_tooLong(self) -> None:
        """A line that is too long is refused by its number, wherever it is."""
        content = b"x\n" * SLICE + b"y" * (MAX_LINE + 1)
        error = self.assertRaises(CredentialError, self.read, content)
        self.assertEqual(str(error), f"things:{SLICE + 1}: longer than {MAX_LINE} bytes")

    @given(
        st.lists(
            st.sampled_from([b"", b"#", b"a b", b"\r", BYTE_ORDER_MARK, b"x" * 8000]), max_size=9
        )
    )
    def test_any(self, lines: list[bytes]) -> None:
        """However it is cut, what comes is what the file has."""
        content = b"\n".join(lines)
        self.assertEqual(self.read(content)[0], list(textLines("things", content)))


class SaysNothingTests(SynchronousTestCase):
    """Tests for :func:`thing.trust.lines.saysNothing`."""

    def test_byteOrderMark(self) -> None:
        """A byte order mark says nothing, and hides neither a comment nor the line that does."""
        mark = BYTE_ORDER_MARK
        for content in (b"", b"\r\n", b"# none yet\r\n"):
            self.assertTrue(saysNothing(mark + content), content)
        for content in (b"# empty\r\n", b"ssh-ed25519 AAAA\n"):
            self.assertFalse(saysNothing(mark + content), content)

    def test_carriageReturn(self) -> None:
        """A line ends where it does for who reads the keys: a comment goes on after a return."""
        self.assertTrue(saysNothing(b"# none\rssh-ed25519 AAAA\n"))

    @given(
        st.lists(
            st.sampled_from([b"", b"#", b"# empty", b" \t", b"\x0b", b"key", b"\r"]), max_size=9
        )
    )
    def test_any(self, lines: list[bytes]) -> None:
        """It is as the lines are, one by one."""
        each = [line.strip() for line in lines]
        says = any(line and (line[:1] != b"#" or line == EMPTY_LINE) for line in each)
        self.assertEqual(saysNothing(b"\n".join(lines)), not says)
