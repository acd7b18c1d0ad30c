"""
How what a server tells is shown: safely, shortly, in columns.

What is shown, and in which order, is up to the commands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

from rich.cells import cell_len

from thing.text import visible as shown

WIDEST = 64
"""A text that is wider, in a terminal's cells, does not widen its column."""

MAX_TEXT = 300
"""How many characters of a text are shown."""

_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s"))


def visible(text: str, most: int = MAX_TEXT) -> str:
    """
    Make a text that a stranger chose fit for a line on a terminal.

    :param text: the text.
    :param most: how many characters are shown.
    :return: the text without anything that could steer the terminal; its end is cut off.
    """
    return shown(text[:most]) + ("…" if len(text) > most else "")


def colourWanted() -> bool:
    """:return: whether standard output is a terminal whose user wants colours."""
    return (
        sys.stdout is not None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "dumb") != "dumb"
    )


def formatTime(at: float) -> str:
    """
    Write a time of day.

    :param at: seconds since 1970.
    :return: the date and the time, where the user is.
    """
    try:
        local = datetime.fromtimestamp(at, timezone.utc).astimezone()
    except (ValueError, OverflowError, OSError):
        return "?"
    return f"{local:%Y-%m-%d %H:%M:%S}"


def formatSpan(seconds: float | None) -> str:
    """
    Write a duration, in six characters at most if it is no longer than 273 years.

    :param seconds: how long; None if it is not known.
    :return: such as ``4.2s``, ``42s``, ``12m05s``, ``3h05m``, ``2d04h``, ``120d``.
    """
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole >= 100 * 86400:
        return f"{whole // 86400}d"
    for size, unit, part, smaller in _UNITS:
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part:02}{smaller}"
    return f"{whole}s"


def formatRoundTrip(seconds: float | None) -> str:
    """
    Write a round-trip time.

    :param seconds: how long; None if it is not known.
    :return: milliseconds below a second.
    """
    if seconds is None:
        return "-"
    milliseconds = max(0.0, seconds) * 1000
    if milliseconds >= 999.5:
        return formatSpan(seconds)
    return f"{milliseconds:.1f}ms" if milliseconds < 99.95 else f"{milliseconds:.0f}ms"


def formatCount(number: int) -> str:
    """
    Write how many there are, in five characters at most.

    :param number: how many.
    :return: such as ``950``, ``12.3k``, ``4.5M``.
    """
    value = float(number)
    for unit in ("", "k", "M", "G", "T"):
        if value < 999.5 or unit == "T":
            break
        value /= 1000
    return f"{value:.0f}{unit}" if not unit or value >= 99.95 else f"{value:.1f}{unit}"


def causeName(cause: str) -> str:
    """
    Write how a session ended.

    :param cause: as the server has it, such as ``FLAT_LINED``.
    :return: such as ``flat lined``.
    """
    return visible(cause, 20).replace("_", " ").lower()


class Columns:
    """
    Aligns the cells of rows that come bit by bit.

    A column is as wide as the widest that was seen in it, so that rows that come later may
    be wider, but none is held back.
    """

    def __init__(self, headings: Sequence[str], right: Iterable[str] = ()) -> None:
        """
        :param headings: what stands above the columns.
        :param right: which of them have their cells to the right.
        """
        self.headings = headings
        self._right = [heading in right for heading in headings]
        self._widths = [cell_len(heading) for heading in headings]

    def lines(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """
        Align some rows.

        :param rows: a text for each column.
        :return: a line for each.
        """
        for row in rows:
            for column, cell in enumerate(row):
                self._widths[column] = max(self._widths[column], min(cell_len(cell), WIDEST))
        return [self._line(row) for row in rows]

    def _line(self, row: Sequence[str]) -> str:
        cells = []
        for cell, width, right in zip(row, self._widths, self._right, strict=True):
            blanks = " " * (width - cell_len(cell))
            cells.append(blanks + cell if right else cell + blanks)
        return "  ".join(cells).rstrip()
