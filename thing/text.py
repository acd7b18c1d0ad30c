"""
Text from elsewhere: what may be a name, what may be shown in a log or on a terminal, and JSON.

Names follow the identifiers of PRECIS (RFC 8265, UsernameCasePreserved) in what they refuse: what
cannot be seen, or turns the direction of writing. They are not changed, though, and are compared
as they are; other than there, signs and spaces between words are no harm.
"""

from __future__ import annotations

import json
import math
import unicodedata
from functools import cache
from typing import Any

_NON_JOINER, _JOINER, _WIDE_SPACE = "\u200c", "\u200d", "\u3000"
_VIRAMA = 9
_FORMS = (*range(0xFB50, 0xFE00), *range(0xFE70, 0xFF00))
_INVISIBLE = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)
"""What is printable to Python and shows nothing: default ignorables, and the blank of braille."""


def isName(text: str) -> bool:
    """
    Tell whether a text may be a name: whoever reads it sees all of it, in its order.

    A zero-width joiner or non-joiner is part of a word where RFC 5892 (CONTEXTJ) has it, as in
    Persian and Hindi; so is an ideographic space between two letters.

    :param text: the text.
    :return: whether it may; an empty one may.
    """
    if text.isascii():
        return text.isprintable()
    return not any(
        each in _INVISIBLE or not (each.isprintable() or _belongs(text, at))
        for at, each in enumerate(text)
    )


def visible(text: str) -> str:
    """
    Make text from elsewhere fit for a line of a log or a terminal.

    :param text: the text.
    :return: the text, with a space for each tab and a replacement character for all else that is
        not printed: nothing in it ends the line, steers a terminal or turns the direction of
        writing.
    """
    if text.isprintable():
        return text
    text = text.replace("\t", " ")
    return "".join(
        each if each.isprintable() or _belongs(text, at) else "\N{REPLACEMENT CHARACTER}"
        for at, each in enumerate(text)
    )


def readObject(content: bytes | str) -> dict[str, Any]:
    """
    Read a JSON object from elsewhere.

    :param content: the text.
    :return: the object; all numbers in it are finite, so that it can be written as JSON again.
    :raises ValueError: if it is none.
    """
    try:
        found = json.loads(content, parse_constant=_noNumber, parse_float=_finite)
    except RecursionError:
        raise ValueError("brackets in brackets without an end") from None
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _noNumber(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _belongs(text: str, at: int) -> bool:
    """Whether a character that is not printable belongs to the word that it stands in."""
    if text[at] == _WIDE_SPACE:
        return text[at - 1 : at].isalnum() and text[at + 1 : at + 2].isalnum()
    if at == 0 or text[at] not in (_NON_JOINER, _JOINER):
        return False
    if unicodedata.combining(text[at - 1]) == _VIRAMA:
        return True
    if text[at] == _JOINER:
        return False
    before, after = _letter(text, range(at - 1, -1, -1)), _letter(text, range(at + 1, len(text)))
    return before in _joining("initial") and after in _joining("final")


def _letter(text: str, places: range) -> str:
    """The first character there that is no mark on another; empty if there is none."""
    return next((text[at] for at in places if unicodedata.category(text[at]) != "Mn"), "")


@cache
def _joining(form: str) -> frozenset[str]:
    """The letters that have such a form: an initial one joins the next, a final one the last."""
    parts = (unicodedata.decomposition(chr(code)).split() for code in _FORMS)
    return frozenset(
        chr(int(part[1], 16)) for part in parts if len(part) == 2 and part[0] == f"<{form}>"
    )
