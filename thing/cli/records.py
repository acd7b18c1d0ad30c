"""
What a status server tells, read: things page by page, and nodes.

A server may be newer than this command, so that only what is shown is looked at, and words
that are not known are shown as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from thing.cli.answers import BadAnswer
from thing.cli.api import Api, Query

PAGE = 500
"""How many things are asked for at once; the longest answer has 8 KiB for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing, as it is shown."""

    id: str
    status: str
    node: str
    address: str
    up: float | None
    """For how long it is here, seconds; None if it is gone."""
    silence: float
    """Since it was last known to be alive, seconds."""
    roundTripTime: float | None
    messages: int
    """In and out, in this session."""
    cause: str | None
    """How its session ended, if it is gone."""
    text: str
    """What it is searched by, casefolded."""
    found: dict[str, Any]
    """All that was told; empty if it was not to be kept."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the things, in the order of their ids."""

    rows: list[Row]
    following: str | None
    """Where the next page begins; None after the last."""
    complete: bool
    """Whether nodes are not missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The health of one node, as it is shown."""

    name: str
    status: str
    sessions: int
    handshakes: int
    loopLag: float
    registry: str
    ended: dict[str, int]
    """How many sessions and handshakes ended lately, by cause."""
    found: dict[str, Any]
    """All that was told."""


LATELY = 600.0
"""What ended within so many seconds ended lately."""


def pages(api: Api, query: Query, keep: bool) -> Iterator[Page]:
    """
    Ask for things, page by page, each when it is wanted.

    :param api: the server.
    :param query: which things.
    :param keep: whether all that is told of them is wanted.
    :return: the pages.
    :raises CommandError: if the server does not answer, or nonsense.
    """
    after: str | None = None
    while True:
        answer = api.get("/things", {"limit": PAGE, **query, "after": after})
        page = _pageOf(answer.found, answer.now, keep)
        yield page
        following = page.following
        if following is None:
            return
        if after is not None and following <= after:
            raise BadAnswer(f"{api.address.text} tells the same things again and again")
        after = following


def nodes(api: Api) -> tuple[list[Node], bool]:
    """
    Ask how the nodes are.

    :param api: the server.
    :return: the nodes, and whether none is missing.
    :raises CommandError: if the server does not answer, or nonsense.
    """
    answer = api.get("/nodes")
    found = [_nodeOf(item, answer.now) for item in _items(answer.found, "nodes")]
    return found, answer.found.get("complete") is not False


def _pageOf(found: dict[str, Any], now: float, keep: bool) -> Page:
    following = found.get("following")
    if not (following is None or isinstance(following, str)):
        raise _wrong("following")
    rows = [_rowOf(item, now, keep) for item in _items(found, "things")]
    return Page(rows, following, found.get("complete") is not False)


def _rowOf(found: object, now: float, keep: bool) -> Row:
    if not isinstance(found, dict):
        raise _wrong("things")
    id, status, address = (_text(found, name) for name in ("id", "status", "address"))
    traffic = found.get("traffic") or {}
    if not isinstance(traffic, dict):
        raise _wrong("traffic")
    since, lastSeen = _number(found, "since"), _number(found, "lastSeen")
    silence = _maybe(traffic, "silence")
    # The time that goes with an answer is in whole seconds; its node measures better.
    now = now if silence is None else lastSeen + silence
    gone = status == "gone"
    searched = (id, found.get("name"), found.get("fingerprint"), address)
    return Row(
        id=id,
        status=status,
        node=_text(found, "node"),
        address=address,
        up=None if gone else now - since,
        silence=now - lastSeen if silence is None else silence,
        roundTripTime=_maybe(traffic, "roundTripTime"),
        messages=_count(traffic, "messagesIn") + _count(traffic, "messagesOut"),
        cause=_lastCause(found) if gone else None,
        text="\n".join(part for part in searched if isinstance(part, str)).casefold(),
        found=found if keep else {},
    )


def _lastCause(found: dict[str, Any]) -> str | None:
    match found.get("endings"):
        case [{"cause": str(cause)}, *_]:
            return cause
    return None


def _nodeOf(found: object, now: float) -> Node:
    if not isinstance(found, dict):
        raise _wrong("nodes")
    return Node(
        name=_text(found, "node"),
        status=_text(found, "status"),
        sessions=_count(found, "sessions"),
        handshakes=_count(found, "handshakes"),
        loopLag=_maybe(found, "loopLag") or 0.0,
        registry=_text(found, "registry"),
        ended=_endedLately(found, now),
        found=found,
    )


def _endedLately(found: dict[str, Any], now: float) -> dict[str, int]:
    """Add up the minutes that are not long over."""
    ended: dict[str, int] = {}
    for minute in _items(found, "minutes"):
        match minute:
            case [began, dict() as counts]:
                for cause in counts if now - _finite(began, "minutes") < LATELY else ():
                    ended[cause] = ended.get(cause, 0) + _count(counts, cause)
            case _:
                raise _wrong("minutes")
    return ended


def _items(found: dict[str, Any], name: str) -> list[object]:
    items = found.get(name)
    if not isinstance(items, list):
        raise _wrong(name)
    return items


def _text(found: dict[str, Any], name: str) -> str:
    text = found.get(name)
    if not isinstance(text, str):
        raise _wrong(name)
    return text


def _maybe(found: dict[str, Any], name: str) -> float | None:
    number = found.get(name)
    return None if number is None else _finite(number, name)


def _number(found: dict[str, Any], name: str) -> float:
    return _finite(found.get(name), name)


def _finite(number: object, name: str) -> float:
    if isinstance(number, int | float) and not isinstance(number, bool):
        with suppress(OverflowError):
            if math.isfinite(float(number)):
                return float(number)
    raise _wrong(name)


def _count(found: dict[str, Any], name: str) -> int:
    return int(_maybe(found, name) or 0)


def _wrong(name: str) -> BadAnswer:
    return BadAnswer(f"the status server's answer makes no sense: {name!r} is missing or wrong")
