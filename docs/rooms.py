"""
Draw the rooms of ``architecture.rst`` from the imports in the code.

``python docs/rooms.py`` writes the drawing and the table between their marker
comments; with ``--check`` it writes nothing and exits with 1 if the page is stale. Thing must
be installed editably, as its tests are read, too: ``tests/test_imports.py`` has the floors.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator

from generate import DOCS, main, table

from tests.test_imports import FLOORS, LEVELS, Import, modulesOfThing, roomOf

PAGE = DOCS / "architecture.rst"
PACKAGES = DOCS.parent / "thing"

BESIDE = {"facade", "testing"}
"""Rooms for users that stand on all others; with them the drawing would be arrows only."""


def arrows(modules: dict[str, list[Import]]) -> set[tuple[str, str]]:
    """
    Which room imports from which other.

    :param modules: every module of Thing, with its imports.
    :return: pairs of rooms, the one that imports first.
    """
    return {
        (here, there)
        for name, imports in modules.items()
        for target, _ in imports
        if (here := roomOf(name)) is not None
        and (there := roomOf(target)) is not None
        and here != there
        and not {here, there} & BESIDE
    }


def floors() -> Iterator[list[str]]:
    """:return: the rooms of each floor that is drawn, from the highest to the lowest."""
    for floor in reversed(FLOORS):
        rooms = [room for room in floor if room not in BESIDE]
        if rooms:
            yield rooms


def drawing() -> str:
    """:return: a diagram: higher rooms above, an arrow from each to those that it imports."""
    found = sorted(arrows(modulesOfThing()), key=lambda pair: (-LEVELS[pair[0]], pair))
    lines = [".. graphviz::", "   :alt: the rooms of Thing, and which imports from which", ""]
    lines += ["   digraph rooms {", "      node [shape=box, style=rounded, width=1.6];"]
    lines += [f"      {{ rank=same; {'; '.join(rooms)}; }}" for rooms in floors()]
    lines += [f"      {here} -> {there};" for here, there in found]
    return "\n".join([*lines, "   }"])


def rules() -> str:
    """:return: a table of the rooms, each with the first sentence of its docstring."""
    rows = []
    for rooms in floors():
        for room in rooms:
            path = PACKAGES / room / "__init__.py"
            if path.exists():
                said = ast.get_docstring(ast.parse(path.read_text())) or ""
                rows.append((f"``thing/{room}``", " ".join(said.split("\n\n")[0].split())))
    rows.append((", ".join(f"``{name}.py``" for name in ground()), "The words everybody uses."))
    return table(("room", "what lives there"), rows)


def ground() -> list[str]:
    """:return: the modules of the lowest floor."""
    return [name.rpartition(".")[2] for packages in FLOORS[0].values() for name in packages]


DRAW: dict[str, Callable[[], str]] = {"rooms": drawing, "rules": rules}
"""What draws each generated part of the page."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], PAGE, DRAW))
