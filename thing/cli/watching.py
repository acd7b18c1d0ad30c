"""
What ``thing top`` knows: it looks at the fleet again and again.

How it is shown is not known here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from thing.cli.api import Api
from thing.cli.records import Node, Row, nodes, pages
from thing.cli.waiting import waitUntil

MOST_THINGS = 5000
"""How many things are looked at; a search finds the others."""

LEISURE = 3
"""Between two looks passes so many times what one took: to be watched shall not be all work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a look at the fleet showed."""

    at: float
    """When, by this machine's time of day."""
    nodes: list[Node]
    rows: list[Row]
    complete: bool
    """Whether no part of the fleet is missing."""
    more: bool
    """Whether there are more things than were looked at."""


News = Snapshot | Exception
"""What a look brought."""


def takeSnapshot(api: Api, text: str, keep: bool = False) -> Snapshot:
    """
    Look at the fleet.

    :param api: the server.
    :param text: what the things must have in their ids, names, fingerprints or addresses.
    :param keep: whether all that is told of them is wanted.
    :return: what is seen.
    :raises CommandError: if the server does not answer, or nonsense.
    """
    found, complete = nodes(api)
    rows: list[Row] = []
    more = False
    for page in pages(api, {"q": text or None}, keep):
        rows += page.rows
        complete = complete and page.complete
        more = page.following is not None
        if len(rows) >= MOST_THINGS:
            break
    return Snapshot(at=time.time(), nodes=found, rows=rows, complete=complete, more=more)


class Watcher(threading.Thread):
    """
    Looks again and again in a thread of its own, so that keys and resizing never wait.

    :ivar text: what is searched for.
    """

    def __init__(
        self, look: Callable[[str], Snapshot], text: str, delay: float, tell: Callable[[News], None]
    ) -> None:
        """
        :param look: looks.
        :param text: what to search for.
        :param delay: the time from one look to the next, seconds.
        :param tell: is told, in this thread, what a look brought.
        """
        super().__init__(name="watcher", daemon=True)
        self.text = text
        self._look = look
        self._delay = delay
        self._tell = tell
        self._wanted = False

    def search(self, text: str) -> None:
        """
        Search for something else, at once.

        :param text: what.
        """
        self.text = text
        self.hurry()

    def hurry(self) -> None:
        """Look again at once."""
        self._wanted = True

    def run(self) -> None:
        """Look for ever: the thread ends with the process."""
        while True:
            self._wanted = False
            began = time.monotonic()
            try:
                news: News = self._look(self.text)
            except Exception as error:
                news = error
            self._tell(news)
            took = time.monotonic() - began
            waitUntil(lambda: self._wanted, max(self._delay - took, LEISURE * took))
