"""Tests for thing.text: what may be a name, what may be shown, and JSON."""

import sys
import unicodedata
from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from thing.text import isName, readObject, visible

JOINER, NON_JOINER, WIDE_SPACE, SHOWN = "\u200d", "\u200c", "\u3000", "\ufffd"

WORDS = (
    # Persian: a letter that joins the next, and one that joins the last.
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "\u062e\u0627\u0646\u0647\u200c\u0647\u0627",
    # Marks on the letters are no letters.
    "\u0645\u06cc\u064e\u200c\u064e\u062e\u0648\u0627\u0647\u0645",
    "क्\u200dष",  # Hindi: after a virama.
    "क्\u200cष",
    "ශ්\u200dරී",  # Sinhala.
    "山田\u3000太郎",
    "カナ\u30001",
)
"""What has to have such a character to be written."""

STRAYS = (
    "",
    *("a", "क", "山"),
    *("\u0627", "\u0621"),  # They join nothing that follows; the second joins nothing at all.
    *(NON_JOINER, JOINER, WIDE_SPACE, " "),
)
"""What such a character may not follow."""

UNSEEN = ["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"]
"""The categories of what is not seen, or has no meaning for everybody."""

DECEIVING = (
    *("\u202a", "\u202e", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c"),  # Directions.
    *("\u00ad", "\u034f", "\u115f", "\u17b4", "\u180e", "\u200b", "\u2060", "\ufeff"),
    *("\u3164", "\uffa0", "\u2800", "\ufe0f", "\U000e0041", "\U000e0100"),
    *("\u00a0", "\u2003", "\u202f", "\u2028", "\x00", "\x1b", "\x7f", "\x9b", "\n", "\r", "\t"),
)
"""What is not seen, looks like a space, or turns what stands beside it."""


class NameTests(SynchronousTestCase):
    """isName"""

    def test_words(self) -> None:
        """A name may be in any script, with what its words need."""
        for word in (*WORDS, "", "lamp 7", "Größe", "Ångström", "лампа", "灯", "💡", "a-b_c.d"):
            self.assertTrue(isName(word), ascii(word))

    def test_strays(self) -> None:
        """What words need is refused where it is not needed, as it could not be seen there."""
        for sign, before, after in product((JOINER, NON_JOINER, WIDE_SPACE), STRAYS, STRAYS):
            apart = sign == WIDE_SPACE and before.isalnum() and after.isalnum()
            self.assertEqual(isName(before + sign + after), apart, ascii(before + sign + after))

    def test_otherEnd(self) -> None:
        """A non-joiner needs a letter on both sides; a joiner is only for after a virama."""
        for text in (
            "\u0645\u06cc\u200c",
            "\u200c\u062e",
            "\u0645\u06cc\u200ca",
            "\u0645\u06cc\u200d\u062e",
            "a\u200c\u062e",
        ):
            self.assertFalse(isName(text), ascii(text))

    def test_deceiving(self) -> None:
        """Nothing hides in a name, or turns it around."""
        for sign in DECEIVING:
            for text in (sign, f"lamp{sign}7", f"{sign}lamp", f"lamp{sign}", f"山{sign}田"):
                self.assertFalse(isName(text), ascii(text))

    def test_categories(self) -> None:
        """Of all characters none that is not seen is a name, and all letters of use are."""
        for code in range(sys.maxunicode + 1):
            category = unicodedata.category(chr(code))
            if category in UNSEEN or (category == "Zs" and code != ord(" ")):
                self.assertFalse(isName(chr(code)), hex(code))
            elif category in ("Lu", "Ll", "Nd"):
                self.assertTrue(isName(chr(code)), hex(code))

    @given(st.text())
    def test_shown(self, text: str) -> None:
        """A name is shown as it is."""
        if isName(text):
            self.assertEqual(visible(text), text)


class VisibleTests(SynchronousTestCase):
    """visible"""

    def test_words(self) -> None:
        """Text that can be read stays what it is, in any script."""
        for text in (*WORDS, "", "lamp 7: on", "Größe", "💡"):
            self.assertEqual(visible(text), text)

    def test_replaced(self) -> None:
        """Each character that could steer a terminal is one that says that it was there."""
        self.assertEqual(visible("a\r\x1b[2Kb\n\x9b8mc\u202e\ud800"), "a��[2Kb��8mc��")
        for sign in (JOINER, NON_JOINER, WIDE_SPACE):
            self.assertEqual(visible(f"a{sign}-"), f"a{SHOWN}-")

    def test_tabs(self) -> None:
        """A tab is a space."""
        self.assertEqual(visible("a\tb"), "a b")

    @given(st.text(st.characters(codec=None)))
    def test_anyText(self, text: str) -> None:
        """Of any text one line becomes, as long as before, that UTF-8 can have."""
        shown = visible(text)
        self.assertEqual(len(shown), len(text))
        self.assertLessEqual(len(shown.splitlines()), 1)
        for each in shown:
            self.assertTrue(each.isprintable() or each in (JOINER, NON_JOINER, WIDE_SPACE))
        shown.encode()
        self.assertEqual(visible(shown), visible(visible(shown)))


class ObjectTests(SynchronousTestCase):
    """What is read as a JSON object."""

    def test_objects(self) -> None:
        """JSON that is no object, or no JSON at all, is refused, however deep it is."""
        for wrong in (
            "",
            "[]",
            "1",
            "{",
            '{"a": NaN}',
            '{"a": 1e999}',
            "\xff",
            b"\xff{}",
            "[" * 100_000,
        ):
            self.assertRaises(ValueError, readObject, wrong)
        self.assertEqual(readObject('{"a": 1}'), {"a": 1})
