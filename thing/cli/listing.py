"""What ``thing ls`` does: it prints things, page by page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

import click

from thing.cli.api import Api, Query
from thing.cli.exits import ExitCode, complain
from thing.cli.formats import (
    Columns,
    causeName,
    colourWanted,
    formatCount,
    formatRoundTrip,
    formatSpan,
    visible,
)
from thing.cli.output import asLine, endingQuietly, write
from thing.cli.records import PAGE, Row, pages

__all__ = ["INCOMPLETE", "Listing", "Table"]

INCOMPLETE = "the answer is incomplete: that node does not reach all of the shared registry"
"""What is said when the shared registry is away or impaired."""


def _statusOf(row: Row) -> str:
    status = visible(row.status, 20)
    return status if row.cause is None else f"{status}: {causeName(row.cause)}"


_CELLS: dict[str, Callable[[Row], str]] = {
    "ID": lambda row: visible(row.id) or "?",
    "STATUS": _statusOf,
    "NODE": lambda row: visible(row.node, 60),
    "UP FOR": lambda row: formatSpan(row.up),
    "LAST BEAT": lambda row: formatSpan(row.silence),
    "ROUND TRIP": lambda row: formatRoundTrip(row.roundTripTime),
    "MESSAGES": lambda row: formatCount(row.messages),
    "ADDRESS": lambda row: visible(row.address, 60),
}

_RIGHT = ("UP FOR", "LAST BEAT", "ROUND TRIP", "MESSAGES")

_COLOURS = {"late": "yellow", "gone": "bright_black"}


class Table:
    """Things in columns."""

    def __init__(self, colour: bool, messages: bool = False) -> None:
        """
        :param colour: whether to colour those that are not well.
        :param messages: whether to tell how many messages each had.
        """
        headings = [heading for heading in _CELLS if messages or heading != "MESSAGES"]
        self._columns = Columns(headings, _RIGHT)
        self._colour = colour
        self._begun = False

    def lines(self, rows: Sequence[Row]) -> Iterator[str]:
        """
        Write some rows; the headings go first.

        :param rows: the things.
        :return: the lines.
        """
        headings = self._columns.headings
        cells = [[_CELLS[heading](row) for heading in headings] for row in rows]
        lines = self._columns.lines(cells)
        if not self._begun:
            self._begun = True
            yield from self._columns.lines([headings])
        for row, line in zip(rows, lines, strict=True):
            colour = _COLOURS.get(row.status) if self._colour else None
            yield click.style(line, fg=colour) if colour else line


class Listing:
    """A run of ``thing ls``."""

    def __init__(self, query: Query, everything: bool, asJson: bool) -> None:
        """
        :param query: which things.
        :param everything: whether to list more than the first of them.
        :param asJson: whether to print JSON.
        """
        self._query = query
        self._everything = everything
        self._asJson = asJson
        self._table = Table(colourWanted())

    def run(self, api: Api) -> None:
        """
        Print them.

        :param api: the server.
        :raises CommandError: if it does not answer, or nonsense.
        """
        complete, left = True, sys.maxsize if self._everything else PAGE
        with endingQuietly(ExitCode.INTERRUPTED):
            for page in pages(api, self._query, self._asJson):
                complete = complete and page.complete
                rows = page.rows[:left]
                left -= len(rows)
                if rows or page.following is None:  # Else it is still searched.
                    write(self._lines(rows))
                if len(rows) < len(page.rows) or (left == 0 and page.following is not None):
                    complain("there are more; --all lists them")
                    break
        if not complete:
            complain(INCOMPLETE)

    def _lines(self, rows: Sequence[Row]) -> Iterator[str]:
        if self._asJson:
            return (asLine(row.found) for row in rows)
        return self._table.lines(rows)
