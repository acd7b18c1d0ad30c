"""
Server-sent events, as they come in: cut into events, with bounds.

What an event means is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_EVENT = 8 << 20
"""The longest event that is taken, octets: a message of a mebibyte, each octet of it escaped."""

_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
"""A line's end; whether more belongs to a carriage return is seen when more has come."""


class ServerEvent(NamedTuple):
    """What came."""

    kind: str
    """``message`` if it does not say; empty for a comment, which shows that the server is there."""
    data: str
    position: str
    """The latest id that came with or before it."""


class EventReader:
    """Cuts a stream into events, as the HTML standard has it."""

    def __init__(self) -> None:
        """Begin a stream."""
        self._buffer = bytearray()
        self._searched = 0
        self._kind = ""
        self._data: list[str] = []
        self._size = 0
        self._position = ""

    def feed(self, octets: bytes) -> Iterator[ServerEvent]:
        """
        Take some of the stream.

        :param octets: what came.
        :return: what is whole now.
        :raises ValueError: if an event is too long.
        """
        self._buffer += octets
        while (end := _END.search(self._buffer, self._searched)) is not None:
            line = bytes(self._buffer[: end.start()])
            del self._buffer[: end.end()]
            self._searched = 0
            yield from self._line(line)
        # A carriage return at the end is looked at again.
        self._searched = max(0, len(self._buffer) - 1)
        if len(self._buffer) + self._size > MAX_EVENT:
            raise ValueError(f"an event is longer than {MAX_EVENT >> 20} MiB")

    def _line(self, line: bytes) -> Iterator[ServerEvent]:
        if not line:
            if self._data:
                yield ServerEvent(self._kind or "message", "\n".join(self._data), self._position)
            self._kind, self._data, self._size = "", [], 0
            return
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                yield ServerEvent("", value, self._position)
            case "event":
                self._kind = value
            case "data":
                self._size += len(line)
                self._data.append(value)
            case "id" if "\0" not in value:
                self._position = value
