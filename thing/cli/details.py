"""
What ``thing show`` and ``thing leave`` do, and what ``thing top`` shows of one thing.

Columns and times are drawn by :mod:`~thing.cli.formats`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from thing.cli.answers import (
    Answer,
    Unreachable,
    countIn,
    listIn,
    numberIn,
    numberOrNoneIn,
    textIn,
    wrong,
)
from thing.cli.api import Api
from thing.cli.exits import CommandError, ExitCode, complain
from thing.cli.formats import (
    Columns,
    causeName,
    formatCount,
    formatRoundTrip,
    formatSpan,
    formatTime,
    visible,
)
from thing.cli.output import asLine, endingQuietly, write
from thing.cli.reachlist import INCOMPLETE, reachLines, readReach


def showThing(api: Api, id: str, asJson: bool) -> None:
    """
    Print what is known of a thing.

    :param api: the server.
    :param id: which thing.
    :param asJson: whether to print JSON.
    :raises CommandError: if it does not answer, or nonsense, or if nobody has heard of it.
    """
    with endingQuietly(ExitCode.INTERRUPTED):
        answer = lookAt(api, id)
        write([asLine(answer.found)] if asJson else detailLines(answer))
    if answer.found.get("complete") is False:
        complain(INCOMPLETE)


def dismissThing(api: Api, id: str) -> None:
    """
    Ask a thing to leave.

    :param api: the server.
    :param id: which thing.
    :raises CommandError: if it was not asked.
    """
    with endingQuietly(ExitCode.INTERRUPTED):
        askToLeave(api, id)


def askToLeave(api: Api, id: str) -> None:
    """
    Ask a thing to leave, whatever signals come.

    :param api: the server.
    :param id: which thing.
    :raises CommandError: if it was not asked.
    """
    answer = api.ask("DELETE", "/thing", {"id": id})
    if answer.status == 404:
        raise _about(id, answer, ExitCode.NOT_HERE)
    if answer.status == 504:
        raise Unreachable(f"{visible(id)}: {answer.title.rstrip('.')}")
    if answer.status != 202:
        raise api.failed(answer)


def lookAt(api: Api, id: str) -> Answer:
    """
    Ask what is known of a thing.

    :param api: the server.
    :param id: which thing.
    :return: the answer.
    :raises CommandError: if it does not answer, or nonsense, or if nobody has heard of it.
    """
    answer = api.ask("GET", "/thing", {"id": id})
    if answer.status == 404:
        raise _about(id, answer, ExitCode.UNKNOWN)
    if answer.status != 200:
        raise api.failed(answer)
    return answer


def detailLines(answer: Answer) -> Iterator[str]:
    """
    Write what is known of a thing.

    :param answer: what was told of it.
    :return: the lines.
    :raises BadAnswer: if that is nonsense.
    """
    found, now = answer.found, answer.now
    yield from (f"{name:<12} {value}" for name, value in (*_session(found, now), *_traffic(found)))
    reaches = [readReach(item, now) for item in listIn(found, "reaches")]
    if reaches:
        yield ""
        yield from reachLines(reaches)
    endings = [_endingOf(item) for item in listIn(found, "endings")]
    if endings:
        yield ""
        yield from Columns(_ENDED).lines([_ENDED, *endings])


_ENDED = ("ENDED", "LASTED", "NODE", "HOW")


def _session(found: dict[str, Any], now: float) -> Iterator[tuple[str, str]]:
    gone = textIn(found, "status") == "gone"
    since, lastSeen = numberIn(found, "since"), numberIn(found, "lastSeen")
    yield "id", visible(textIn(found, "id"))
    if isinstance(found.get("name"), str) and found["name"] != found["id"]:
        yield "name", visible(found["name"])
    yield "key", visible(textIn(found, "fingerprint")) or "none"
    yield "status", visible(textIn(found, "status"), 20)
    yield "node", visible(textIn(found, "node"), 60)
    yield "address", visible(textIn(found, "address"), 60)
    yield "session", visible(textIn(found, "session"), 60)
    up = f"{formatSpan(now - since)} ago" if gone else f"for {formatSpan(now - since)}"
    yield "since", f"{formatTime(since)}, {up}"
    yield "last seen", f"{formatTime(lastSeen)}, {formatSpan(now - lastSeen)} ago"
    resumed = ", resumed" if found.get("resumed") is True else ""
    ciphers = [visible(textIn(found, name), 60) for name in ("group", "aead")]
    yield "cipher", f"{', '.join(ciphers)}{resumed}"


def _traffic(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What the node measures; nothing of a thing that is gone, or if its node does not say."""
    traffic = found.get("traffic")
    if traffic is None:
        return
    if not isinstance(traffic, dict):
        raise wrong("traffic")
    ttl = numberOrNoneIn(traffic, "ttl")
    silence = formatSpan(numberOrNoneIn(traffic, "silence"))
    yield "last beat", f"{silence} ago" + (f" of a TTL of {ttl:g} s" if ttl is not None else "")
    yield "round trip", formatRoundTrip(numberOrNoneIn(traffic, "roundTripTime"))
    for what in ("messages", "octets"):
        both = [formatCount(countIn(traffic, f"{what}{way}")) for way in ("In", "Out")]
        yield what, f"{both[0]} in, {both[1]} out"
    yield "streams", f"{countIn(traffic, 'streams')} open"


def _endingOf(found: object) -> tuple[str, ...]:
    if not isinstance(found, dict):
        raise wrong("endings")
    since, until = numberIn(found, "since"), numberIn(found, "until")
    detail, cause = visible(textIn(found, "detail")), causeName(textIn(found, "cause"))
    return (
        formatTime(until),
        formatSpan(until - since),
        visible(textIn(found, "node"), 60),
        detail or cause,
    )


def _about(id: str, answer: Answer, code: ExitCode) -> CommandError:
    return CommandError(f"{visible(id)}: {answer.title.rstrip('.')}", code)
