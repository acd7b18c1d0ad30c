"""
What a status server tells, read: things page by page, and nodes.

A server may be newer than this command, so that only what is shown is looked at, and words
that are not known are shown as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from thing.cli.answers import (
    BadAnswer,
    countIn,
    finite,
    listIn,
    numberIn,
    numberOrNoneIn,
    textIn,
    wrong,
)
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
    begun: set[str] = set()
    while True:
        answer = api.get("/things", {"limit": PAGE, **query, "after": after})
        page = _pageOf(answer.found, answer.now, keep)
        yield page
        after = page.following
        if after is None:
            return
        if after in begun:
            raise BadAnswer(f"{api.address.text} tells the same things again and again")
        begun.add(after)


def nodes(api: Api) -> tuple[list[Node], bool]:
    """
    Ask how the nodes are.

    :param api: the server.
    :return: the nodes, and whether none is missing.
    :raises CommandError: if the server does not answer, or nonsense.
    """
    answer = api.get("/nodes")
    found = [_nodeOf(item, answer.now) for item in listIn(answer.found, "nodes")]
    return found, answer.found.get("complete") is not False


def _pageOf(found: dict[str, Any], now: float, keep: bool) -> Page:
    following = found.get("following")
    if not (following is None or isinstance(following, str)):
        raise wrong("following")
    rows = [_rowOf(item, now, keep) for item in listIn(found, "things")]
    return Page(rows, following, found.get("complete") is not False)


def _rowOf(found: object, now: float, keep: bool) -> Row:
    if not isinstance(found, dict):
        raise wrong("things")
    id, status, address = (textIn(found, name) for name in ("id", "status", "address"))
    traffic = found.get("traffic") or {}
    if not isinstance(traffic, dict):
        raise wrong("traffic")
    since, lastSeen = numberIn(found, "since"), numberIn(found, "lastSeen")
    silence = numberOrNoneIn(traffic, "silence")
    # The time that goes with an answer is in whole seconds; its node measures better.
    now = now if silence is None else lastSeen + silence
    gone = status == "gone"
    searched = (id, found.get("name"), found.get("fingerprint"), address)
    return Row(
        id=id,
        status=status,
        node=textIn(found, "node"),
        address=address,
        up=None if gone else now - since,
        silence=now - lastSeen if silence is None else silence,
        roundTripTime=numberOrNoneIn(traffic, "roundTripTime"),
        messages=countIn(traffic, "messagesIn") + countIn(traffic, "messagesOut"),
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
        raise wrong("nodes")
    return Node(
        name=textIn(found, "node"),
        status=textIn(found, "status"),
        sessions=countIn(found, "sessions"),
        handshakes=countIn(found, "handshakes"),
        loopLag=numberOrNoneIn(found, "loopLag") or 0.0,
        registry=textIn(found, "registry"),
        ended=_endedLately(found, now),
        found=found,
    )


def _endedLately(found: dict[str, Any], now: float) -> dict[str, int]:
    """Add up the minutes that are not long over."""
    ended: dict[str, int] = {}
    for minute in listIn(found, "minutes"):
        match minute:
            case [began, dict() as counts]:
                for cause in counts if now - finite(began, "minutes") < LATELY else ():
                    ended[cause] = ended.get(cause, 0) + countIn(counts, cause)
            case _:
                raise wrong("minutes")
    return ended
