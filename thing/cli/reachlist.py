"""What ``thing ls --reach`` and ``thing end`` do: they list what is reached, and end it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from thing.cli.answers import countIn, listIn, numberIn, textIn, wrong
from thing.cli.api import Api
from thing.cli.exits import CommandError, ExitCode, complain
from thing.cli.formats import Columns, formatCount, formatSpan, visible
from thing.cli.output import asLine, endingQuietly, write

INCOMPLETE = "the answer is incomplete: not all nodes have told what is reached by way of them"
"""What is said when nodes did not answer."""

_HEADINGS = ("ID", "THING", "SERVICE", "BY", "FROM", "NODE", "OPEN FOR", "UP", "DOWN")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenReach:
    """One operator's way to a service of a thing, as it is shown."""

    cells: tuple[str, ...]
    """A text for each column."""
    node: str
    text: str
    """What it is searched by, casefolded."""
    found: dict[str, Any]
    """All that was told."""


def listReaches(api: Api, text: str | None, node: str | None, asJson: bool) -> None:
    """
    Print what is reached.

    :param api: the server.
    :param text: only what has this in the thing, the service, or who reaches it, or from where.
    :param node: only to things on this node.
    :param asJson: whether to print JSON.
    :raises CommandError: if it does not answer, or nonsense.
    """
    wanted = (text or "").casefold()
    with endingQuietly(ExitCode.INTERRUPTED):
        answer = api.get("/reaches")
        found = [readReach(item, answer.now) for item in listIn(answer.found, "reaches")]
        found = [each for each in found if wanted in each.text and node in (None, each.node)]
        write((asLine(each.found) for each in found) if asJson else reachLines(found))
    if answer.found.get("complete") is False:
        complain(INCOMPLETE)


def endReach(api: Api, id: str) -> None:
    """
    End one.

    :param api: the server.
    :param id: which.
    :raises CommandError: if that was not done.
    """
    with endingQuietly(ExitCode.INTERRUPTED):
        answer = api.ask("DELETE", f"/reaches/{id}")
        if answer.status == 404:
            raise CommandError(f"{id}: {answer.title.rstrip('.')}", ExitCode.UNKNOWN)
        if answer.status != 202:
            raise api.failed(answer)


def readReach(found: object, now: float) -> OpenReach:
    """
    Read what a server tells of one.

    :param found: what it tells.
    :param now: its time of day, seconds.
    :return: the reach.
    :raises BadAnswer: if it is none.
    """
    if not isinstance(found, dict):
        raise wrong("reaches")
    names = ("id", "thing", "service", "by", "from", "node")
    texts = [textIn(found, name) for name in names]
    figures = (
        formatSpan(now - numberIn(found, "since")),
        formatCount(countIn(found, "octetsUp")),
        formatCount(countIn(found, "octetsDown")),
    )
    return OpenReach(
        cells=(*(visible(text, 60) for text in texts), *figures),
        node=texts[-1],
        text="\n".join((*texts[:-1], textIn(found, "key"))).casefold(),
        found=found,
    )


def reachLines(found: Sequence[OpenReach]) -> Iterator[str]:
    """
    Write some in columns.

    :param found: the reaches.
    :return: the lines, the headings first.
    """
    columns = Columns(_HEADINGS, _HEADINGS[-3:])
    lines = columns.lines([each.cells for each in found])
    yield from columns.lines([_HEADINGS])
    yield from lines
