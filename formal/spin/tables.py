"""
Write the code's tables of states as Promela, so that the models cannot drift from the code.

``python -m formal.spin.tables`` writes ``tables.pml``; with ``--check`` it writes nothing and
exits with 1 if the file is not what the code gives. With anything else it exits with 2.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from thing.core.capacity import MIN_STREAM_CREDIT
from thing.core.client import ClientConnection
from thing.core.messages import MessageType, Role
from thing.core.server import ServerConnection
from thing.core.states import (
    BEATING_STATES,
    ESTABLISHED_STATES,
    LIVENESS_STATES,
    TRANSITIONS,
    WRITABLE_STATES,
    State,
    Step,
)
from thing.core.stream import STREAM_TRANSITIONS, UNDECIDED, WRITING, StreamState, StreamStep
from thing.core.window import RECORD_COST
from thing.events import Cause

PAGE = Path(__file__).resolve().parent / "tables.pml"

E = TypeVar("E", bound=Enum)

HEAD = """\
/*
 * The tables of states, written by tables.py from thing/core: do not edit.
 *
 * What is not in a table is an error of whoever brought it about; here that must not happen.
 */
"""

SETS: dict[str, Iterable[Enum]] = {
    "isEstablished": ESTABLISHED_STATES,
    "isWritable": WRITABLE_STATES,
    "isBeating": BEATING_STATES,
    "isWatched": LIVENESS_STATES,
    "isUndecided": UNDECIDED,
    "isWriting": WRITING,
    "isInOrder": ClientConnection._inOrder | ServerConnection._inOrder,
}
"""The sets that the code goes by, each with the name of the macro that asks for it."""


def names(kind: str, members: Iterable[str]) -> str:
    """
    Declare names.

    :param kind: of which kind they are.
    :param members: the names.
    :return: Promela.
    """
    return f"mtype:{kind} = {{\n    {', '.join(members)}\n}}"


def oneOf(name: str, members: Iterable[Enum]) -> str:
    """
    Define a macro that tells whether something is in a set.

    :param name: the macro's.
    :param members: the set.
    :return: Promela.
    """
    order = sorted(members, key=lambda each: list(type(each)).index(each))
    asked = " || ".join(f"(x) == {each.name}" for each in order)
    return f"#define {name}(x) ({asked})"


def moves(name: str, where: str, table: Mapping[E, Mapping[Any, E]], inputs: type[Enum]) -> str:
    """
    Write a table as an inline that advances what stands somewhere.

    :param name: the inline's.
    :param where: the variable that holds the state.
    :param table: for each state the inputs, and the states that they lead to.
    :param inputs: which inputs.
    :return: Promela.
    """
    return "\n".join([f"inline {name}(input) {{", *_moves(where, table, inputs), "}"])


def _moves(where: str, table: Mapping[E, Mapping[Any, E]], inputs: type[Enum]) -> Iterator[str]:
    yield "    if"
    for before, row in table.items():
        given = {each: after for each, after in row.items() if isinstance(each, inputs)}
        if given:
            yield f"    :: {where} == {before.name} ->"
            yield "        if"
            for each, after in given.items():
                yield f"        :: input == {each.name} -> {where} = {after.name}"
            yield "        :: else -> illegal()"
            yield "        fi"
    yield "    :: else -> illegal()"
    yield "    fi"


def tables() -> str:
    """:return: all of the code that the models are made of."""
    steps = {each.name: each for each in Step if each is not Step.END}
    parts = [
        HEAD,
        names("message", (each.name for each in MessageType)),
        names("state", (each.name for each in State)),
        names("step", steps),
        names("cause", (f"BY_{each.name}" for each in Cause)),
        names("streamState", (each.name for each in StreamState)),
        names("streamStep", (each.name for each in StreamStep)),
        "\n".join(oneOf(name, members) for name, members in SETS.items()),
        f"#define MIN_WINDOW {MIN_STREAM_CREDIT // RECORD_COST}  /* a stream's, in records */",
        "#define illegal() assert(false)",
    ]
    for role, name in ((Role.CLIENT, "client"), (Role.SERVER, "server")):
        where = f"state[{role.name}]"
        parts.append(moves(f"{name}Receives", where, TRANSITIONS[role], MessageType))
        parts.append(moves(f"{name}Steps", where, TRANSITIONS[role], Step))
    parts.append(moves("streamSteps", "STREAM", STREAM_TRANSITIONS, StreamStep))
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str]) -> int:
    """
    Write the tables, or check that they are written.

    :param arguments: nothing, or ``--check``.
    :return: the exit status.
    """
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    text = tables()
    if arguments == ["--check"]:
        return int(PAGE.read_text() != text)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
