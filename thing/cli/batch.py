"""What ``thing top -b`` does: it prints what a look at the fleet shows, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from thing.cli.api import Api
from thing.cli.board import Board, endings, summary
from thing.cli.exits import CommandError, ExitCode, complain
from thing.cli.formats import colourWanted
from thing.cli.listing import Table
from thing.cli.nodelist import nodeLines
from thing.cli.output import asLine, endingQuietly, write
from thing.cli.watching import Snapshot, takeSnapshot

__all__ = ["Batch"]


class Batch:
    """A run of ``thing top -b``."""

    def __init__(
        self,
        api: Api,
        board: Board,
        delay: float,
        count: int | None,
        asJson: bool,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """
        :param api: the server.
        :param board: chooses and sorts the things.
        :param delay: the time from one look to the next, seconds.
        :param count: after how many looks to end; None for never.
        :param asJson: whether to print JSON.
        :param sleep: waits for some seconds.
        """
        self._api = api
        self._board = board
        self._delay = delay
        self._count = count
        self._asJson = asJson
        self._sleep = sleep

    def run(self) -> None:
        """
        Print until there was enough.

        :raises CommandError: if the first look shows nothing.
        """
        stopped = ExitCode.GOODBYE if self._count is None else ExitCode.INTERRUPTED
        done = 0
        with endingQuietly(stopped):
            while True:
                self._print()
                done += 1
                if done == self._count:
                    return
                self._sleep(self._delay)

    def _print(self) -> None:
        board = self._board
        first = board.snapshot is None
        try:
            snapshot = takeSnapshot(self._api, board.search, keep=self._asJson)
        except CommandError as error:
            if first:
                raise
            complain(str(error))
            return
        board.see(snapshot)
        if self._asJson:
            write([self._object(snapshot)])
        else:
            write(self._lines(snapshot, [] if first else [""]))

    def _object(self, snapshot: Snapshot) -> str:
        return asLine(
            {
                "at": snapshot.at,
                "complete": snapshot.complete and not snapshot.more,
                "nodes": [node.found for node in snapshot.nodes],
                "things": [row.found for row in self._board.rows()],
            }
        )

    def _lines(self, snapshot: Snapshot, before: list[str]) -> Iterator[str]:
        rows = self._board.rows()
        yield from before
        yield summary(snapshot, len(rows))
        yield endings(snapshot)
        yield from nodeLines(snapshot.nodes)
        yield ""
        yield from Table(colourWanted(), messages=True).lines(rows)
