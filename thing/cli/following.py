"""
What ``thing events`` does: it follows the feed, and comes back when it is cut off.

How the events of a stream are cut is in :mod:`~thing.cli.stream`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from thing.cli.answers import BadAnswer, Unreachable
from thing.cli.api import Api, Query
from thing.cli.exits import ExitCode, complain
from thing.cli.formats import formatCount, formatRoundTrip, formatSpan, formatTime, visible
from thing.cli.output import ReaderGone, asLine, endingQuietly, readerIsGone, write
from thing.cli.stream import EventReader, ServerEvent
from thing.core.backoff import Backoff
from thing.text import readObject

__all__ = ["Follower", "describe"]

SILENCE = 50.0
"""How long nothing may come, seconds: the server sends a comment three times in that time."""

FIRST_WAIT = 2.0
"""How long to wait at most before coming back for the first time, seconds; then twice that."""

STABLE = 10.0
"""A connection that held for so long, seconds, makes the next wait the first again."""

RESET = "reset"
"""The kind of event that says that events are lost."""

_POSITION = re.compile(r"[!-~]{1,100}")


class Follower:
    """A run of ``thing events``."""

    def __init__(
        self,
        api: Api,
        query: Query,
        count: int | None,
        asJson: bool,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """
        :param api: the server.
        :param query: which events.
        :param count: after how many to end; None for never.
        :param asJson: whether to print JSON.
        :param sleep: waits for some seconds.
        """
        self._api = api
        self._query = query
        self._left = count
        self._asJson = asJson
        self._sleep = sleep
        self._position: str | None = None
        self._connected = False
        self._backoff = Backoff(base=FIRST_WAIT, stableAfter=STABLE)

    def run(self, after: str | None) -> None:
        """
        Follow the events until there were enough.

        :param after: the position behind which to begin; None for now.
        :raises CommandError: if the server is not there at first, refuses, or talks nonsense.
        """
        # To be stopped is how it ends, unless it was to count.
        stopped = ExitCode.GOODBYE if self._left is None else ExitCode.INTERRUPTED
        with endingQuietly(stopped):
            while True:
                try:
                    if self._follow(after):
                        return
                    trouble = f"{self._api.address.text} ended the stream"
                except Unreachable as error:
                    if not self._connected:
                        raise
                    trouble = str(error)
                self._pause(trouble)

    def _pause(self, trouble: str) -> None:
        self._api.close()
        if readerIsGone():
            raise ReaderGone
        wait = self._backoff.down(time.monotonic())
        complain(f"{trouble}; trying again in {wait:.1f} s")
        self._sleep(wait)

    def _follow(self, after: str | None) -> bool:
        """Follow over one connection; whether there were enough."""
        position = self._position
        headers = {} if position is None else {"Last-Event-ID": position}
        query = {**self._query, "after": after if position is None else None}
        response = self._api.stream("/events", query, headers)
        self._backoff.up(time.monotonic())
        if self._connected:
            complain("connected again")
            if position is None and after is None:
                self._lost()
        self._connected = True
        reader = EventReader()
        while octets := self._api.read(response, SILENCE):
            try:
                for event in reader.feed(octets):
                    if self._take(event):
                        return True
            except ValueError as error:
                raise BadAnswer(f"{self._api.address.text} sent nonsense: {error}") from None
        return False

    def _take(self, event: ServerEvent) -> bool:
        """Print an event; whether there were enough."""
        if not event.kind:
            if readerIsGone():
                raise ReaderGone
            return False
        if event.kind == RESET:
            self._lost()
            return False
        found = readObject(event.data)
        line = describe(found)
        if event.position and not _POSITION.fullmatch(event.position):
            raise ValueError("a position that is none")
        write([asLine(found) if self._asJson else line])
        self._position = event.position or self._position
        if self._left is not None:
            self._left -= 1
        return self._left == 0

    def _lost(self) -> None:
        complain("events were lost; thing ls tells who is here")
        if self._asJson:
            write([asLine({"kind": RESET})])


def describe(found: dict[str, Any]) -> str:
    """
    Write an event for people.

    :param found: what the server told.
    :return: one line: when, what kind, which thing, and what.
    :raises ValueError: if it is no event.
    """
    kind, id, at = (found.get(name) for name in ("kind", "id", "at"))
    if not (isinstance(kind, str) and isinstance(id, str) and isinstance(at, int | float)):
        raise ValueError("an event without a kind, an id or a time")
    tell = _DESCRIPTIONS.get(kind)
    what = "" if tell is None else tell(_EventFields(found))
    return f"{formatTime(at)}  {visible(kind, 20):<8}  {visible(id)}  {what}".rstrip()


class _EventFields:
    """The members of an event, whatever they are."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found

    def text(self, name: str) -> str:
        said = self._found.get(name)
        return visible(said) if isinstance(said, str) else "?"

    def number(self, name: str, write: Callable[[float], str]) -> str:
        said = self._found.get(name)
        if isinstance(said, int | float) and abs(said) < 1e12:
            return write(float(said))
        return "?"

    def octets(self, name: str) -> str:
        return self.number(name, lambda number: formatCount(int(number)))

    def word(self, name: str) -> str:
        said = self._found.get(name)
        return f"code {said}" if isinstance(said, int) else self.text(name)

    def message(self) -> str:
        text, coded = self._found.get("text"), self._found.get("base64")
        if isinstance(text, str):
            return visible(text.removesuffix("\n"))
        return f"{len(coded) * 3 // 4} octets" if isinstance(coded, str) else "?"


_DESCRIPTIONS: dict[str, Callable[[_EventFields], str]] = {
    "joined": lambda said: f"from {said.text('address')}, on {said.text('node')}",
    "moved": lambda said: (
        f"from {said.text('address')}, on {said.text('node')}; was on {said.text('fromNode')}"
    ),
    "late": lambda said: f"silent for {said.number('silence', formatSpan)}",
    "renewed": lambda said: f"alive, round trip {said.number('roundTripTime', formatRoundTrip)}",
    "message": _EventFields.message,
    "lastWord": _EventFields.message,
    "left": lambda said: said.text("detail"),
    "twins": lambda said: f"two with one key; newcomers wait for {said.number('wait', formatSpan)}",
    "reached": lambda said: (
        f"{said.text('service')}, by {said.text('by')} from {said.text('from')}"
    ),
    "reachEnded": lambda said: (
        f"{said.text('service')}, by {said.text('by')}, after"
        f" {said.number('duration', formatSpan)}: {said.word('reason')};"
        f" {said.octets('octetsUp')} octets to it, {said.octets('octetsDown')} from it"
    ),
}
"""What is said of each kind."""
