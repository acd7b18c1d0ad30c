"""
Draw the specification's tables, diagrams and worked example from the code.

``python docs/generate.py`` writes them between their marker comments in
``specification.rst``; with ``--check`` it writes nothing and exits with 1 if
the page is stale. Thing must be installed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from thing.core.catalogue import MESSAGES
from thing.core.extensions import (
    ExtensionType,
    GivenTicket,
    PresharedOffer,
    Puzzle,
    Solution,
)
from thing.core.layout import Message
from thing.core.messages import MessageType, Role
from thing.core.states import TRANSITIONS, State, Step
from thing.core.stream import STREAM_TRANSITIONS, StreamState, StreamStep
from thing.errors import EndReason, ErrorCode, ReplyStatus, StopCode
from thing.identity import fingerprint
from thing.session.joinmessages import Refusal
from thing.trust.jointoken import JoinToken

E = TypeVar("E", bound=Enum)

EXTENSIONS: dict[ExtensionType, dict[MessageType, type[Message] | None]] = {
    ExtensionType.PUZZLE: {MessageType.SHI: Puzzle},
    ExtensionType.SOLUTION: {MessageType.CHI: Solution},
    ExtensionType.PRESHARED_KEY: {MessageType.CHI: PresharedOffer, MessageType.SHI: None},
    ExtensionType.TICKET: {MessageType.CHI: None, MessageType.SHF: GivenTicket},
    ExtensionType.NEXT_KEY: {MessageType.SHF: None},
}
"""Where each extension stands, and the layout of its value there; None for an empty one."""

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "specification.rst"
EXAMPLE = DOCS.parent / "tests" / "vectors" / "x25519-aes-256-gcm-mutual.json"

MISUSE = 0x60
"""The codes from here on are no part of the protocol."""

WORDLESS = {ErrorCode.CLOSE_TIMEOUT, ErrorCode.ABORTED}
"""The codes of ends without a word."""

ROLES = {Role.CLIENT: "client", Role.SERVER: "server"}

BLOCK = re.compile(
    r"^(\.\. begin generated: (?P<name>[^\n]+)\n).*?^(\.\. end generated: (?P=name)\n)",
    re.DOTALL | re.MULTILINE,
)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """
    A simple table.

    :param head: the columns' titles.
    :param rows: the rows, no first cell empty.
    :return: reStructuredText.
    """
    body = list(rows)
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    rule = " ".join("=" * width for width in widths)
    lines = [
        " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *body)
    ]
    return "\n".join((rule, lines[0], rule, *lines[1:], rule))


def summary(cls: type[Message]) -> str:
    """
    What a message is, in the words of its class.

    :param cls: the message's class.
    :return: the docstring's first sentence, without the message's full name.
    """
    first = (cls.__doc__ or "").strip().splitlines()[0]
    return first.partition(": ")[2].rstrip(".")


def messageTypes() -> str:
    """:return: the registry of message types."""
    return table(
        ("type", "name", "sent by", "meaning"),
        (
            (f"0x{kind:02x}", kind.name, ROLES[kind.sender], summary(cls))
            for kind, cls in MESSAGES.items()
        ),
    )


def extensions() -> str:
    """:return: the registry of extensions."""
    return table(
        ("number", "name", "in", "value"),
        (
            (
                f"0x{number:04x}",
                number.name,
                ", ".join(kind.name for kind in values),
                "; ".join("empty" if cls is None else cls.__name__ for cls in values.values()),
            )
            for number, values in EXTENSIONS.items()
        ),
    )


def extensionLayouts() -> str:
    """:return: the layout of every extension's value."""
    classes = [cls for values in EXTENSIONS.values() for cls in values.values() if cls]
    return "\n\n".join(
        f"{cls.__name__}:\n\n"
        + table(("field", "layout"), zip(cls.__match_args__, map(str, cls.LAYOUT), strict=True))
        for cls in classes
    )


def layout(kind: MessageType) -> str:
    """
    The body of one message.

    :param kind: its type.
    :return: a sentence and a table.
    """
    cls = MESSAGES[kind]
    sent = f"{kind.name}: type ``0x{kind:02x}``, sent by the {ROLES[kind.sender]}."
    rows = [("magic", f'{len(cls.PREFIX)} octets, "{cls.PREFIX.decode()}"')] if cls.PREFIX else []
    fields = zip(cls.__match_args__, cls.LAYOUT, strict=True)
    rows += [(name, str(field)) for name, field in fields]
    if not rows:
        return f"{sent} The body is empty."
    return f"{sent}\n\n" + table(("field", "layout"), rows)


def states() -> str:
    """:return: what the states and the steps are."""
    return "\n\n".join(
        (
            table(("state", "meaning"), ((state.name, state.value) for state in State)),
            table(("step", "meaning"), ((step.name, step.value) for step in Step)),
        )
    )


def transitions(what: str, moves: Mapping[E, Mapping[Any, E]]) -> str:
    """
    A diagram of states, and a table of the same.

    :param what: what has these states, one word.
    :param moves: for each state the inputs, and the states that they lead to.
    :return: reStructuredText.
    """
    edges: dict[tuple[E, E], list[Enum]] = {}
    for before, inputs in moves.items():
        for given, after in inputs.items():
            edges.setdefault((before, after), []).append(given)
    lines = [f".. graphviz::\n   :alt: the states of a {what}\n"]
    lines.append(f"   digraph {what} {{")
    lines.append("      node [shape=box, style=rounded];")
    for (before, after), given in edges.items():
        label = "\\n".join(each.name for each in given)
        lines.append(f'      {before.name} -> {after.name} [label="{label}"];')
    lines.append("   }")
    rows = (
        (before.name, ", ".join(each.name for each in given), after.name)
        for (before, after), given in edges.items()
    )
    return "\n".join(lines) + "\n\n" + table(("state", "on", "next state"), rows)


def statesOf(role: Role) -> str:
    """
    One role's diagram and table.

    :param role: the role.
    :return: reStructuredText.
    """
    return transitions(ROLES[role], TRANSITIONS[role])


def streamStates() -> str:
    """:return: the states and steps of a stream, and how one leads to the other."""
    return "\n\n".join(
        (
            table(("state", "meaning"), ((each.name, each.value) for each in StreamState)),
            table(("step", "meaning"), ((each.name, each.value) for each in StreamStep)),
            transitions("stream", STREAM_TRANSITIONS),
        )
    )


def onWire(code: ErrorCode) -> str:
    """
    Whether an error may be told to the peer.

    :param code: the error.
    :return: a word or a few.
    """
    if code in WORDLESS:
        return "accepted, never sent"
    return "no" if code is ErrorCode.NOT_THING else "yes"


def errorCodes() -> str:
    """:return: the registry of errors."""
    return table(
        ("code", "name", "wire", "sentence"),
        (
            (f"0x{code:02x}", code.name, onWire(code), code.sentence)
            for code in ErrorCode
            if code < MISUSE
        ),
    )


def reasons() -> str:
    """:return: the registry of reasons."""
    return table(
        ("reason", "name", "sentence"),
        ((f"{int(reason)}", reason.name, reason.sentence) for reason in EndReason),
    )


def replyStatuses() -> str:
    """:return: the registry of what becomes of requests."""
    return table(
        ("status", "name", "sentence"),
        ((f"{int(status)}", status.name, status.sentence) for status in ReplyStatus),
    )


def stopCodes() -> str:
    """:return: the registry of why streams are stopped."""
    return table(
        ("code", "name", "sentence"),
        ((f"0x{int(code):04x}", code.name, code.sentence) for code in StopCode),
    )


def joinRefusals() -> str:
    """:return: the registry of why a thing does not join."""
    return table(
        ("word", "what it means"), ((f"``{each.value}``", each.sentence) for each in Refusal)
    )


def joinToken() -> str:
    """:return: a token and what is in it, as text."""
    token = JoinToken(
        "0123456789abcdef",
        bytes(range(32)),
        (fingerprint(bytes(32)), fingerprint(bytes(range(32, 64)))),
        ("thing.example:9000", "[2001:db8::1]:9000"),
    )
    values = {
        "id": token.invitation,
        "secret": token.key.hex(),
        "fingerprint": list(token.fingerprints),
        "address": list(token.servers),
        "token": token.encode(),
    }
    lines = []
    for name, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            lines += _value(name, each, "   ")
    return "::\n\n" + "\n".join(lines)


def _value(name: str, value: object, indent: str) -> list[str]:
    text = str(value)
    if len(text) <= 64:
        return [f"{indent}{name} = {text}"]
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return [f"{indent}{name} =", *(f"{indent}    {line}" for line in lines)]


def _tree(values: dict[str, Any], indent: str = "   ") -> list[str]:
    lines = []
    for name, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", *_tree(value, indent + "    ")]
        elif isinstance(value, list):
            lines += [f"{indent}{name}", *_records(value, indent + "    ")]
        else:
            lines += _value(name, value, indent)
    return lines


def _records(records: list[dict[str, Any]], indent: str) -> list[str]:
    lines = []
    for record in records:
        title = f"{record['name']} from the {record['from']}"
        if "generation" in record:
            title += f", generation {record['generation']}, sequence {record['sequence']}"
        lines.append(indent + title)
        for name in ("plaintext", "record", "transcriptHash"):
            if name in record:
                lines += _value(name, record[name], indent + "    ")
    return lines


def workedExample() -> str:
    """:return: one file of test vectors, as text."""
    values = json.loads(EXAMPLE.read_text())
    del values["comment"]
    return "::\n\n" + "\n".join(_tree(values))


DRAW: dict[str, Callable[[], str]] = {
    "message-types": messageTypes,
    "extensions": extensions,
    "extension-layouts": extensionLayouts,
    "states": states,
    "client-states": lambda: statesOf(Role.CLIENT),
    "server-states": lambda: statesOf(Role.SERVER),
    "stream-states": streamStates,
    "error-codes": errorCodes,
    "reasons": reasons,
    "reply-statuses": replyStatuses,
    "stop-codes": stopCodes,
    "join-token": joinToken,
    "join-refusals": joinRefusals,
    "worked-example": workedExample,
    **{f"layout {kind.name}": lambda kind=kind: layout(kind) for kind in MESSAGES},
}
"""What draws each generated part of the page."""


def refreshed(page: str, draw: dict[str, Callable[[], str]] | None = None) -> str:
    """
    The page with all its generated parts as they are now.

    :param page: the page's text.
    :param draw: what draws each of them; by default those of the specification.
    :return: the new text.
    :raises ValueError: if a part is missing or there twice.
    """
    draw = DRAW if draw is None else draw
    names = [match["name"] for match in BLOCK.finditer(page)]
    if sorted(names) != sorted(draw):
        raise ValueError(f"the page's generated parts are {names}")
    return BLOCK.sub(lambda match: f"{match[1]}\n{draw[match['name']]()}\n\n{match[3]}", page)


def main(
    arguments: list[str], page: Path = PAGE, draw: dict[str, Callable[[], str]] | None = None
) -> int:
    """
    Refresh or check a page.

    :param arguments: nothing, or ``--check``.
    :param page: the page; by default the specification.
    :param draw: what draws each of its generated parts.
    :return: the exit status.
    """
    before = page.read_text()
    after = refreshed(before, draw)
    if arguments == ["--check"]:
        return int(before != after)
    page.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
