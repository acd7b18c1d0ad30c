"""
What pages show of answers, and whether an answer is one of these.

``…`` (or ``...``) stands for whatever is left out; a line of it alone, for lines; in JSON, for
members or elements. Fingerprints, ids, tokens, times and long numbers are never the same twice; but
what is shown twice on a page is the same in both places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

KINDS = {
    "lines": (r"(?m:^ *…$)", r"[\s\S]*?"),
    "key": (r"SHA256:[\w+/]{10,}…?|AAAA[\w+/]{4,}=*…?", r"(?:SHA256:[\w+/]{43}|AAAA[\w+/]{60,}=*)"),
    "id": (r"\b(?:[0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f]{8})\b", r"[0-9a-f]+"),
    "token": (r"\b[\w-]{6,}…", r"[\w-]{6,}"),
    "time": (r"\d{4}-\d\d-\d\dT[\d:.]+Z", r"\d{4}-\d\d-\d\dT[\d:.]+Z"),
    "number": (r"\d+\.\d+|\d{4,}", r"\d+(?:\.\d+)?"),
    "rest": (r"…|\.\.\.", r".*?"),
    "space": (r"\s+", r"\s+"),
}
"""Of each part that differs: how it is shown, and what it is like."""

LEARNED = {"key", "id", "token"}

_PARTS = re.compile("|".join(f"(?P<{kind}>{shown})" for kind, (shown, _) in KINDS.items()))


def patternOf(answer: str, known: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """
    Say what an answer must be like.

    :param answer: what is shown of it.
    :param known: the real values, by those that were shown before.
    :return: a regular expression, and of its groups the values that are shown.
    """
    parts: list[str] = []
    names: dict[str, str] = {}
    at = 0
    for each in _PARTS.finditer(answer):
        kind, shown = str(each.lastgroup), each[0]
        parts.append(re.escape(answer[at : each.start()]))
        at = each.end()
        like = KINDS[kind][1]
        if shown in known:
            parts.append(re.escape(known[shown]))
        elif kind in LEARNED and shown not in names.values():
            names[f"v{len(names)}"] = shown
            parts.append(f"(?P<v{len(names) - 1}>{like})")
        else:
            parts.append(like)
    return "".join([*parts, re.escape(answer[at:])]), names


def readJSON(text: str) -> Any:
    """
    Read JSON as a page shows it.

    :param text: what is shown.
    :return: its value, in which ``…`` is a member or an element.
    """
    text = re.sub(r"…\s*\}", '"…": 0}', text)
    return json.loads(re.sub(r"([\[,]\s*)…\s*\]", r'\1"…"]', text))


def isShownIn(shown: Any, found: Any) -> bool:
    """
    Compare JSON.

    :param shown: as :func:`readJSON` has it.
    :param found: what was answered.
    :return: whether it is that, other numbers aside.
    """
    if isinstance(shown, dict) and isinstance(found, dict):
        names = shown.keys() - {"…"}
        if "…" not in shown and names != found.keys():
            return False
        return all(name in found and isShownIn(shown[name], found[name]) for name in names)
    if isinstance(shown, list) and isinstance(found, list):
        each = [one for one in shown if one != "…"]
        if "…" not in shown and len(each) != len(found):
            return False
        return len(each) <= len(found) and all(map(isShownIn, each, found))
    if isinstance(shown, str) and isinstance(found, str):
        return re.fullmatch(patternOf(shown, {})[0], found) is not None
    if isinstance(shown, bool) or isinstance(found, bool):
        return shown is found
    numbers = (int, float, type(None))
    return isinstance(shown, numbers) and isinstance(found, numbers)
