"""What is typed on a page, what is shown, and the stage directions between, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_DIRECTIVE = re.compile(r" *\.\. (walk:|code-block::|literalinclude::) *(.*)")


@dataclass(frozen=True)
class Step:
    """
    What comes next on a page.

    :ivar line: where, from 1 on.
    :ivar word: the first word of a stage direction, or ``block``, or ``include``.
    :ivar text: the rest of a direction, a block's content, or the file that is included.
    :ivar language: of a block.
    :ivar caption: of a block or a file.
    """

    line: int
    word: str
    text: str
    language: str = ""
    caption: str = ""


def stepsOf(page: str) -> Iterator[Step]:
    """
    Read a page.

    :param page: its reStructuredText.
    :return: its blocks and stage directions.
    """
    lines = page.split("\n")
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        directive = _DIRECTIVE.match(line)
        isLiteral = line.rstrip().endswith("::") and not line.lstrip().startswith(".. ")
        if not directive and not isLiteral:
            continue
        began, body = number, []
        while number < len(lines) and _isDeeper(lines[number], _depth(line)):
            body.append(lines[number])
            number += 1
        kind, text = (directive[1], directive[2]) if directive else ("code-block::", "text")
        yield _stepOf(kind, text, body, began)


def _stepOf(kind: str, text: str, body: list[str], line: int) -> Step:
    """Make a step of a directive and what stands below it."""
    if kind == "walk:":
        word, *rest = " ".join([text, *(each.strip() for each in body)]).split(None, 1)
        return Step(line, word, rest[0].strip() if rest else "")
    options = {}
    while body and (option := re.match(r" +:(\w+): *(.*)", body[0])):
        options[option[1]] = option[2]
        body = body[1:]
    caption = options.get("caption", "")
    if kind == "literalinclude::":
        return Step(line, "include", text, caption=caption)
    depth = min((_depth(each) for each in body if each.strip()), default=0)
    content = "\n".join(each[depth:] for each in body).strip("\n")
    return Step(line, "block", content, text, caption)


def _depth(line: str) -> int:
    """How far a line is indented; of an item of a list, how far what belongs to it is."""
    indent = re.match(r" *(?:\d+\. |[*-] )*", line)
    assert indent is not None
    return len(indent[0])


def _isDeeper(line: str, depth: int) -> bool:
    return not line.strip() or _depth(line) > depth


def commandsOf(block: str) -> list[tuple[str, str]]:
    """
    Take a console block apart.

    :param block: its content.
    :return: each command, and what is shown of its answer.
    """
    found = []
    for part in re.split(r"(?m)^[$#] ", block)[1:]:
        command, _, answer = re.sub(r"\\\n *", "", part).partition("\n")
        found.append((command, answer.strip()))
    return found
