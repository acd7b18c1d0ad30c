"""
How ``thing top`` draws nodes, things and lines of text, with rich.

Nothing here decides what is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from thing.cli.formats import formatCount, formatRoundTrip, formatSpan, visible
from thing.cli.lineedit import LineEdit
from thing.cli.nodelist import HEADINGS, RIGHT, nodeCells
from thing.cli.records import Node, Row

_STYLES = {
    "late": "yellow",
    "gone": "dim",
    "stopped": "dim",
    "lost": "bold red",
    "draining": "yellow",
}

_COLUMNS: tuple[tuple[str, str, int, Callable[[Row], str]], ...] = (
    ("STATUS", "", 7, lambda row: visible(row.status, 20)),
    ("NODE", "", 16, lambda row: visible(row.node, 60)),
    ("UP FOR", "", 7, lambda row: formatSpan(row.up)),
    ("BEAT", "beat", 7, lambda row: formatSpan(row.silence)),
    ("TRIP", "trip", 7, lambda row: formatRoundTrip(row.roundTripTime)),
    ("MSGS", "messages", 6, lambda row: formatCount(row.messages)),
    ("ADDRESS", "", 24, lambda row: visible(row.address, 60)),
)
"""The heading, what it sorts by, the width and the cells of the columns after the first."""

_LEFT = ("STATUS", "NODE", "ADDRESS")
_NARROW, _WIDE = 72, 104
"""Below so many cells a row has no node; below so many, no address."""


def drawNodes(nodes: Sequence[Node], total: int) -> Iterable[RenderableType]:
    """
    Draw nodes.

    :param nodes: those that have room.
    :param total: how many there are.
    :return: a table, and how many more there are; nothing if there are none.
    """
    if not nodes:
        return
    table = _grid()
    for heading in HEADINGS:
        table.add_column(
            heading,
            no_wrap=True,
            overflow="ellipsis",
            min_width=8,
            ratio=1 if heading == "NODE" else None,
            justify="right" if heading in RIGHT else "left",
        )
    for node in nodes:
        style = _STYLES.get(node.status, "")
        table.add_row(*(Text(cell) for cell in nodeCells(node)), style=style)
    yield table
    if total > len(nodes):
        yield drawLine(f"and {total - len(nodes)} more")


def drawThings(rows: Iterable[Row], chosen: str | None, sort: str, width: int) -> Table:
    """
    Draw things.

    :param rows: the things.
    :param chosen: the id of the one that is chosen; None for none.
    :param sort: by what they are sorted.
    :param width: of the terminal, cells.
    :return: a table.
    """
    without = {"NODE"} if width < _NARROW else set()
    without |= {"ADDRESS"} if width < _WIDE else set()
    columns = [column for column in _COLUMNS if column[0] not in without]
    table = _grid()
    table.add_column(_heading("ID", sort == "name"), no_wrap=True, overflow="ellipsis", ratio=1)
    for heading, by, size, _ in columns:
        table.add_column(
            _heading(heading, by == sort),
            width=size,
            no_wrap=True,
            overflow="ellipsis",
            justify="left" if heading in _LEFT else "right",
        )
    for row in rows:
        cells = [visible(row.id) or "?", *(cell(row) for *_, cell in columns)]
        style = f"{_STYLES.get(row.status, '')} {'reverse' if row.id == chosen else ''}"
        table.add_row(*map(Text, cells), style=style.strip())
    return table


def drawLine(text: str, style: str = "") -> Text:
    """
    Draw a line, as far as there is room.

    :param text: the line; it is fit for a terminal.
    :param style: how it looks, as rich has it.
    :return: the line.
    """
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def drawPrompt(label: str, line: LineEdit, width: int) -> Text:
    """
    Draw what is typed, so that its cursor can be seen.

    :param label: what it is for.
    :param line: what is typed.
    :param width: of the terminal, cells.
    :return: the line.
    """
    room = max(1, width - len(label) - 2)
    text = Text(label, style="bold", no_wrap=True, overflow="crop")
    text.append(visible(line.before, len(line.before))[-room:], style="not bold")
    behind = visible(line.behind, len(line.behind))
    text.append(behind[:1] or "█", style="not bold reverse" if behind else "not bold")
    return text.append(behind[1:], style="not bold")


def _grid() -> Table:
    return Table(box=None, expand=True, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")


def _heading(heading: str, sorted: bool) -> Text:
    return Text(heading, style="underline" if sorted else "")
