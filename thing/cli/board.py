"""
What ``thing top`` shows, and what its keys do: all but the terminal itself.

Where its figures come from, and how they are drawn, is elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from thing.cli.boardview import drawLine, drawNodes, drawPrompt, drawThings
from thing.cli.errands import Deed, Errand, Outcome, reachCommand
from thing.cli.formats import causeName, formatCount, formatTime, visible
from thing.cli.lineedit import LineEdit
from thing.cli.records import LATELY, Row
from thing.cli.watching import Snapshot

MOST_TYPED = 100
"""The longest text to search for, characters."""

LONGEST = 4000
"""The longest message, or command, that is typed, characters."""

HELP = """\
 n  r  l  m      sort by name, round trip, last heartbeat, messages
 R               the other way round
 /               search: type, Enter to keep, Esc to drop
 arrows, PgUp, PgDn, Home, End, or the mouse: choose a thing
 Enter           its details, and back
 s               send it a message
 x               ask it to leave
 o               open a service of it: thing reach, on this terminal
 Esc             back; then drop the search, and the choice
 space           look again now
 ?               this help, and back
 q               quit

 Ended in the last 10 minutes: things' sessions, and handshakes, by cause.
 LAG: how late a node's latest timer came.  BEAT: since the last heartbeat.
 To mark text with the mouse, hold the Shift key."""

_FOOTER = "q quit  / search  Enter details  s send  x leave  o reach  ? help"

_IN_DETAILS = "Esc back  s send  x leave  o reach  arrows scroll"

_UNCHOSEN = "choose a thing first: with the arrows, or the mouse"

_MOVES = ("up", "down", "pageUp", "pageDown", "home", "end", "wheelUp", "wheelDown")

_SORTED_BY = {"n": "name", "r": "trip", "l": "beat", "m": "messages"}

_MEASURES: dict[str, Callable[[Row], float | None]] = {
    "trip": lambda row: row.roundTripTime,
    "beat": lambda row: row.silence,
    "messages": lambda row: row.messages,
}


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


@dataclass(slots=True)
class _Prompt:
    """Something that is typed, or asked, on the last line."""

    label: str
    line: LineEdit
    deed: Deed | None
    """What becomes of it; None for a search."""
    id: str = ""
    """With which thing."""


class Board:
    """
    What is on the screen.

    :ivar search: what the things must have in their names.
    :ivar over: whether the user has seen enough.
    :ivar hurried: whether the user wants to see what is now.
    :ivar errand: what the user wants to be done; None for nothing.
    :ivar detailed: the id of the thing whose details are shown; None for none.
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
        self.over = False
        self.hurried = False
        self.errand: Errand | None = None
        self.detailed: str | None = None
        self.snapshot: Snapshot | None = None
        self._server = server
        self._trouble = ""
        self._said: Text | None = None
        self._helping = False
        self._prompt: _Prompt | None = None
        self._details: list[str] = []
        self._chosen: str | None = None
        self._offset = 0
        self._page = 1
        self._top = 0

    @property
    def typing(self) -> bool:
        """Whether a text to search for is being typed."""
        return self._prompt is not None and self._prompt.deed is None

    # What is told.

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

    def done(self, outcome: Outcome) -> None:
        """
        Show what came of an errand.

        :param outcome: what came of it.
        """
        if outcome.errand.deed is not Deed.SHOW:
            style = "bold red" if outcome.failed else "bold"
            self._said = drawLine("; ".join(outcome.lines), style)
        elif outcome.errand.id == self.detailed:
            self._details = outcome.lines

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

        :param key: a character, or the name of a key; ``click N`` for the line that was clicked,
            ``paste C`` for a character that was pasted.
        """
        self.hurried, self.errand, self._said = False, None, None
        if self._prompt is not None:
            self._type(self._prompt, key)
        elif self._helping or key == "?":
            self._helping = not self._helping
        elif self.detailed is not None:
            self._inDetails(self.detailed, key)
        elif key in _SORTED_BY:
            self.sort, self._offset = _SORTED_BY[key], 0
        elif key in _MOVES:
            self._choose(self._moved(key))
        elif key.startswith("click "):
            self._click(int(key[6:]))
        else:
            self._command(key)

    def _command(self, key: str) -> None:
        match key:
            case "q":
                self.over = True
            case "R":
                self.reverse = not self.reverse
            case "/":
                self._prompt = _Prompt("/", LineEdit(MOST_TYPED, self.search), None)
            case "escape" if self.search:
                self.search = ""
            case "escape":
                self._chosen = None
            case " ":
                self.hurried = True
            case "enter" | "s" | "x" | "o" if self._chosen is None:
                self._said = drawLine(_UNCHOSEN, "bold")
            case "enter" if self._chosen is not None:
                self._open(self._chosen)
            case "s" | "x" | "o" if self._chosen is not None:
                self._ask(key, self._chosen)

    def _ask(self, key: str, id: str) -> None:
        """Have the user say what is to be done with a thing."""
        name = visible(id, 40)
        if key == "s":
            self._prompt = _Prompt(f"Send {name}: ", LineEdit(LONGEST), Deed.SEND, id)
        elif key == "x":
            self._prompt = _Prompt(f"Ask {name} to leave? [y/N] ", LineEdit(1), Deed.LEAVE, id)
        else:
            line = LineEdit(LONGEST, reachCommand(id))
            self._prompt = _Prompt("$ ", line, Deed.REACH, id)

    def _type(self, prompt: _Prompt, key: str) -> None:
        if key.startswith("paste "):  # No pasted line sends itself, nor says yes.
            key = "" if prompt.deed is Deed.LEAVE else key[6:]
        prompt.line.press(key)
        text = prompt.line.text
        if prompt.deed is None:
            self._offset = 0
            self.search = "" if key == "escape" else text
        if key == "escape" or (key == "enter" and prompt.deed is None):
            self._prompt = None
        elif prompt.deed is Deed.LEAVE and (text or key == "enter"):
            self._prompt = None
            if text in ("y", "Y"):
                self._wish(Deed.LEAVE, prompt.id)
        elif key == "enter" and prompt.deed is not None:
            self._prompt = None
            if text.strip():
                self._wish(prompt.deed, prompt.id, text)

    def _wish(self, deed: Deed, id: str, text: str = "") -> None:
        self.errand = Errand(deed, id, text)
        if deed is Deed.SEND:
            self._said = drawLine(f"sending it to {visible(id)}", "dim")

    def _open(self, id: str) -> None:
        self.detailed, self._details, self._offset = id, ["asking the status server"], 0
        self.errand = Errand(Deed.SHOW, id)

    def _inDetails(self, id: str, key: str) -> None:
        if key in ("escape", "enter", "q", "left"):
            self.detailed, self._offset = None, 0
        elif key in ("s", "x", "o"):
            self._ask(key, id)
        elif key in _MOVES:
            self._offset = self._moved(key, self._offset, len(self._details))

    # Which thing is chosen.

    def _moved(self, key: str, at: int | None = None, total: int | None = None) -> int:
        """The place that a key leads to: from the chosen thing, or from another place."""
        rows = self.rows()
        if total is None:
            total = len(rows)
            at = next((n for n, row in enumerate(rows) if row.id == self._chosen), None)
        if at is None:
            at = self._offset
            if key in ("up", "down"):
                return at  # The first one that is seen.
        steps = {"up": -1, "down": 1, "pageUp": -self._page, "pageDown": self._page}
        steps |= {"home": -at, "end": total, "wheelUp": -3, "wheelDown": 3}
        return max(0, min(total - 1, at + steps[key]))

    def _choose(self, at: int) -> None:
        rows = self.rows()
        if not 0 <= at < len(rows):
            return
        self._chosen = rows[at].id
        if not self._offset <= at < self._offset + self._page:
            self._offset = at if at < self._offset else at - self._page + 1

    def _click(self, line: int) -> None:
        """Choose a thing, or open the one that is chosen."""
        at, before = self._offset + line - self._top, self._chosen
        if self._top <= line < self._top + self._page:
            self._choose(at)
            if self._chosen is not None and self._chosen == before and at < len(self.rows()):
                self._open(self._chosen)

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
        if self.detailed is not None:
            return self._renderDetails(width, height)
        rows = self.rows()
        nodes = self.snapshot.nodes if self.snapshot is not None else []
        if len(nodes) > max(1, height // 6):  # Those that are well may be left out.
            nodes = sorted(nodes, key=lambda node: node.status in ("up", "stopped"))
        shown = nodes[: max(1, height // 6)]
        head = [self._title(len(rows)), self._state(), *drawNodes(shown, len(nodes))]
        lines = 2 + (len(shown) + 1 + (len(nodes) > len(shown)) if nodes else 0)
        self._page, self._top = max(1, height - lines - 3), lines + 2
        self._offset = min(self._offset, max(0, len(rows) - self._page))
        page = rows[self._offset : self._offset + self._page]
        table = drawThings(page, self._chosen, self.sort, width)
        blanks = [Text("")] * (self._page - len(page))
        return Group(*head, Text(""), table, *blanks, self._footer(len(rows), width))

    def _renderDetails(self, width: int, height: int) -> RenderableType:
        self._page = max(1, height - 4)
        self._offset = min(self._offset, max(0, len(self._details) - self._page))
        page = self._details[self._offset : self._offset + self._page]
        lines = [drawLine(line) for line in page]
        blanks = [Text("")] * (self._page - len(page))
        last = self._last(width) or drawLine(_IN_DETAILS, "dim")
        return Group(self._title(None), self._state(), Text(""), *lines, *blanks, last)

    def _title(self, shown: int | None) -> Text:
        text = Text("thing top  ", style="bold", no_wrap=True, overflow="ellipsis")
        if self.snapshot is not None:
            total = len(self.snapshot.rows) if shown is None else shown
            text.append(summary(self.snapshot, total))
        return text.append(f"  {visible(self._server)}", style="not bold dim")

    def _state(self) -> Text:
        if self._trouble:
            return drawLine(f"{visible(self._trouble)}; trying again", "bold red")
        if self.snapshot is None:
            return drawLine("asking the status server")
        return drawLine(endings(self.snapshot))

    def _last(self, width: int) -> Text | None:
        """What the last line has in place of the keys."""
        if self._prompt is not None:
            return drawPrompt(self._prompt.label, self._prompt.line, width)
        return self._said

    def _footer(self, total: int, width: int) -> Text:
        last = self._last(width)
        if last is not None:
            return last
        where = f"{self._offset + 1}-{min(self._offset + self._page, total)} of {total}  "
        filtered = f"search: {visible(self.search)}  " if self.search else ""
        return drawLine(f"{where if total > self._page else ''}{filtered}{_FOOTER}", "dim")
