"""What ``thing top`` shows, and what its keys do: all but the terminal itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from thing.cli.formats import (
    causeName,
    formatCount,
    formatRoundTrip,
    formatSpan,
    formatTime,
    visible,
)
from thing.cli.nodelist import HEADINGS, RIGHT, nodeCells
from thing.cli.records import LATELY, Node, Row
from thing.cli.watching import Snapshot

MOST_TYPED = 100
"""The longest text to search for, characters."""

HELP = """\
 n  r  l  m      sort by name, round trip, last heartbeat, messages
 R               the other way round
 /               search: type, Enter to keep, Esc to drop
 arrows, PgUp, PgDn, Home, End
 space           look again now
 ?               this help, and back
 q               quit

 Ended in the last 10 minutes: sessions and handshakes of all nodes, by cause.
 LAG: how late a node's latest timer came.  BEAT: since the last heartbeat."""

_FOOTER = "q quit  / search  n r l m sort  R reverse  arrows scroll  ? help"

_SORTED_BY = {"n": "name", "r": "trip", "l": "beat", "m": "messages"}

_MEASURES: dict[str, Callable[[Row], float | None]] = {
    "trip": lambda row: row.roundTripTime,
    "beat": lambda row: row.silence,
    "messages": lambda row: row.messages,
}

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


def ordered(rows: Iterable[Row], sort: str, reverse: bool) -> list[Row]:
    """
    Sort things.

    :param rows: the things, in the order of their ids.
    :param sort: by what; of numbers the largest is first, and what is not known is last.
    :param reverse: whether the other way round.
    :return: the things, sorted.
    """
    rows = list(rows)
    if sort == "name":
        return rows[::-1] if reverse else rows
    measure, sign = _MEASURES[sort], 1 if reverse else -1

    def key(row: Row) -> tuple[bool, float]:
        value = measure(row)
        return value is None, sign * (value or 0.0)

    return sorted(rows, key=key)


def summary(snapshot: Snapshot, shown: int) -> str:
    """
    Write how many things there are.

    :param snapshot: what was seen.
    :param shown: how many of the things are shown.
    :return: a line.
    """
    late = sum(row.status == "late" for row in snapshot.rows)
    total = len(snapshot.rows)
    parts = [f"{formatTime(snapshot.at)[11:]}  {total} thing{'s' * (total != 1)}, {late} late"]
    if shown != total:
        parts.append(f"{shown} shown")
    if snapshot.more:
        parts.append("and more: search")
    if not snapshot.complete:
        parts.append("INCOMPLETE: the registry is away or impaired")
    return ", ".join(parts)


def endings(snapshot: Snapshot) -> str:
    """
    Write what ended lately on all nodes.

    :param snapshot: what was seen.
    :return: a line.
    """
    ended: Counter[str] = Counter()
    for node in snapshot.nodes:
        ended.update(node.ended)
    counts = ", ".join(
        f"{formatCount(count)} {causeName(cause)}" for cause, count in ended.most_common(8)
    )
    return f"Ended in the last {LATELY / 60:.0f} minutes: {counts or 'none'}"


class Board:
    """
    What is on the screen.

    :ivar search: what the things must have in their names.
    :ivar typing: whether a text to search for is being typed.
    :ivar over: whether the user has seen enough.
    :ivar hurried: whether the user wants to see what is now.
    """

    def __init__(self, server: str, sort: str, reverse: bool, search: str) -> None:
        """
        :param server: as the user named it.
        :param sort: by what the things are sorted.
        :param reverse: whether the other way round.
        :param search: what the things must have in their names.
        """
        self.sort = sort
        self.reverse = reverse
        self.search = search
        self.typing = False
        self.over = False
        self.hurried = False
        self.snapshot: Snapshot | None = None
        self._server = server
        self._trouble = ""
        self._helping = False
        self._offset = 0
        self._page = 1

    def see(self, snapshot: Snapshot) -> None:
        """
        Show what a look brought.

        :param snapshot: what was seen.
        """
        self.snapshot = snapshot
        self._trouble = ""

    def complain(self, trouble: str) -> None:
        """
        Show that a look failed; what was seen before stays.

        :param trouble: why.
        """
        self._trouble = trouble

    def rows(self) -> list[Row]:
        """:return: the things that are shown, sorted."""
        if self.snapshot is None:
            return []
        wanted = self.search.casefold()
        rows = (row for row in self.snapshot.rows if wanted in row.text)
        return ordered(rows, self.sort, self.reverse)

    # What the keys do.

    def press(self, key: str) -> None:
        """
        Do what a key is for.

        :param key: a character, or the name of a key.
        """
        self.hurried = False
        if self.typing:
            self._type(key)
        elif self._helping or key == "?":
            self._helping = not self._helping
        elif key in _SORTED_BY:
            self.sort, self._offset = _SORTED_BY[key], 0
        elif key in ("up", "down", "pageUp", "pageDown", "home", "end"):
            self._scroll(key)
        else:
            self._command(key)

    def _command(self, key: str) -> None:
        match key:
            case "q":
                self.over = True
            case "R":
                self.reverse = not self.reverse
            case "/":
                self.typing = True
            case "escape":
                self.search = ""
            case " ":
                self.hurried = True

    def _type(self, key: str) -> None:
        self._offset = 0
        if key == "enter":
            self.typing = False
        elif key == "escape":
            self.typing, self.search = False, ""
        elif key == "backspace":
            self.search = self.search[:-1]
        elif len(key) == 1 and key.isprintable() and len(self.search) < MOST_TYPED:
            self.search += key

    def _scroll(self, key: str) -> None:
        steps = {
            "up": -1,
            "down": 1,
            "pageUp": -self._page,
            "pageDown": self._page,
            "home": -self._offset,
            "end": len(self.rows()),
        }
        self._offset = max(0, self._offset + steps[key])  # The end is minded when it is drawn.

    # What is shown.

    def render(self, width: int, height: int) -> RenderableType:
        """
        Draw it.

        :param width: of the terminal, cells.
        :param height: of the terminal, lines.
        :return: what rich can print.
        """
        if self._helping:
            return Text(HELP, no_wrap=True, overflow="crop")
        rows = self.rows()
        nodes = self.snapshot.nodes if self.snapshot is not None else []
        if len(nodes) > max(1, height // 6):  # Those that are well may be left out.
            nodes = sorted(nodes, key=lambda node: node.status in ("up", "stopped"))
        shown = nodes[: max(1, height // 6)]
        head = [self._title(len(rows)), self._state(), *self._nodes(shown, len(nodes))]
        lines = 2 + (len(shown) + 1 + (len(nodes) > len(shown)) if nodes else 0)
        self._page = max(1, height - lines - 3)
        self._offset = min(self._offset, max(0, len(rows) - self._page))
        page = rows[self._offset : self._offset + self._page]
        blanks = [Text("")] * (self._page - len(page))
        return Group(*head, Text(""), self._table(page, width), *blanks, self._footer(len(rows)))

    def _title(self, shown: int) -> Text:
        text = Text("thing top  ", style="bold", no_wrap=True, overflow="ellipsis")
        if self.snapshot is not None:
            text.append(summary(self.snapshot, shown))
        return text.append(f"  {visible(self._server)}", style="not bold dim")

    def _state(self) -> Text:
        if self._trouble:
            return _line(f"{visible(self._trouble)}; trying again", "bold red")
        if self.snapshot is None:
            return _line("asking the status server")
        return _line(endings(self.snapshot))

    def _nodes(self, nodes: list[Node], total: int) -> Iterable[RenderableType]:
        if not nodes:
            return
        table = _grid()
        for heading in HEADINGS:
            name = heading == "NODE"
            table.add_column(
                heading,
                no_wrap=True,
                overflow="ellipsis",
                min_width=8,
                ratio=1 if name else None,
                justify="right" if heading in RIGHT else "left",
            )
        for node in nodes:
            style = _STYLES.get(node.status, "")
            table.add_row(*(Text(cell) for cell in nodeCells(node)), style=style)
        yield table
        if total > len(nodes):
            yield _line(f"and {total - len(nodes)} more")

    def _table(self, rows: list[Row], width: int) -> Table:
        without = {"NODE"} if width < _NARROW else set()
        without |= {"ADDRESS"} if width < _WIDE else set()
        columns = [column for column in _COLUMNS if column[0] not in without]
        table = _grid()
        table.add_column(self._heading("ID", "name"), no_wrap=True, overflow="ellipsis", ratio=1)
        for heading, sort, size, _ in columns:
            table.add_column(
                self._heading(heading, sort),
                width=size,
                no_wrap=True,
                overflow="ellipsis",
                justify="left" if heading in _LEFT else "right",
            )
        for row in rows:
            cells = [visible(row.id) or "?", *(cell(row) for *_, cell in columns)]
            table.add_row(*map(Text, cells), style=_STYLES.get(row.status, ""))
        return table

    def _heading(self, heading: str, sort: str) -> Text:
        return Text(heading, style="underline" if sort == self.sort else "")

    def _footer(self, total: int) -> Text:
        if self.typing:
            return _line(f"/{visible(self.search)}█")
        where = f"{self._offset + 1}-{min(self._offset + self._page, total)} of {total}  "
        filtered = f"search: {visible(self.search)}  " if self.search else ""
        return _line(f"{where if total > self._page else ''}{filtered}{_FOOTER}", "dim")


def _grid() -> Table:
    return Table(box=None, expand=True, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
