"""
What is read from a registry, made into records again.

Whoever may write to the registry may write anything: what makes no sense is
None here, to be skipped and counted, and never an error.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from thing.fleet.model import (
    Ending,
    FedEvent,
    FleetEvent,
    Kind,
    NodeRecord,
    Status,
    ThingRecord,
    Traffic,
)
from thing.fleet.order import placeOf
from thing.fleet.positions import parsePosition
from thing.fleet.redis.script import pairsOf
from thing.text import readObject

MALFORMED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What reading something malformed may raise."""

LARGEST = 1 << 53
"""Whole numbers in the registry are smaller than this, as the script keeps no larger ones."""

FIELDS = (
    *("name", "fingerprint", "status", "node", "session", "epoch", "sequence"),
    *("since", "seen", "address", "group", "aead", "resumed", "endings"),
)
"""What a record is made of: the script is asked for these fields of a thing, in this order."""

_OWN = {"position", *(each.name for each in fields(FleetEvent))}


def recordOf(row: Any) -> ThingRecord | None:
    """
    Read what is known of a thing.

    :param row: its id, and its :data:`FIELDS`, as Redis gives them.
    :return: the record, or None if it makes no sense.
    """
    try:
        id, *values = map(_text, row)
        found = dict(zip(FIELDS, values, strict=True))
        endings = found["endings"]
        return ThingRecord(
            id=id,
            name=found["name"] or None,
            fingerprint=found["fingerprint"],
            status=Status(found["status"]),
            node=found["node"],
            session=found["session"],
            epoch=wholeOf(found["epoch"]),
            sequence=wholeOf(found["sequence"]),
            since=realOf(found["since"]),
            lastSeen=realOf(found["seen"]),
            address=found["address"],
            group=found["group"],
            aead=found["aead"],
            resumed=found["resumed"] == "1",
            endings=tuple(map(_ending, endings.split("\n"))) if endings else (),
        )
    except MALFORMED:
        return None


def _ending(line: str) -> Ending:
    found = readObject(line)
    session, node, cause, detail = (
        _string(found[name]) for name in ("session", "node", "cause", "detail")
    )
    return Ending(session, node, realOf(found["since"]), realOf(found["until"]), cause, detail)


def eventOf(entry: Any) -> FedEvent | None:
    """
    Read an entry of the stream.

    :param entry: its position and its fields, as Redis gives them.
    :return: the event, or None if it makes no sense.
    """
    try:
        position, flat = entry
        found = {_text(name): value for name, value in pairsOf(flat)}
        event = FleetEvent(
            kind=Kind(_text(found["kind"])),
            id=_text(found["id"]),
            epoch=wholeOf(_text(found["epoch"])),
            sequence=wholeOf(_text(found["sequence"])),
            node=_text(found["node"]),
            session=_text(found["session"]),
            at=realOf(_text(found["at"])),
            data=_dataOf(readObject(found["data"])),
        )
        return FedEvent(positionOf(position), event)
    except MALFORMED:
        return None


def _dataOf(found: dict[str, Any]) -> dict[str, Any]:
    """What an event tells besides; it must not replace what every event has."""
    return {name: value for name, value in found.items() if name not in _OWN}


def positionOf(position: Any) -> str:
    """
    Read a position in the stream.

    :param position: as Redis gives it.
    :return: the position.
    :raises ValueError: if it is none; also others of :data:`MALFORMED`.
    """
    text = _text(position)
    parsePosition(text)
    return text


def nodesOf(answer: Any) -> tuple[list[NodeRecord], int]:
    """
    Read how the nodes are.

    :param answer: what the script's ``nodes`` gives.
    :return: the records in the order of their names, and how many made no sense.
    """
    try:
        now, flat, leases = answer
        alive = {name for name, until in pairsOf(leases) if float(until) > float(now)}
        said = pairsOf(flat)
    except MALFORMED:
        return [], 1
    records = [nodeOf(name, text, name in alive) for name, text in said]
    found = [each for each in records if each is not None]
    found.sort(key=lambda each: placeOf(each.node))
    return found, len(records) - len(found)


def nodeOf(name: Any, text: Any, alive: bool) -> NodeRecord | None:
    """
    Read how a node is, or was.

    :param name: its name, as Redis gives it.
    :param text: what it said.
    :param alive: whether it has a lease.
    :return: the record, or None if it makes no sense.
    """
    try:
        said = readObject(text)
        status = _string(said["status"])
        record = NodeRecord(
            node=_text(name),
            since=realOf(said["since"]),
            lastSeen=realOf(said["lastSeen"]),
            status=status if alive or status == "stopped" else "lost",
            sessions=wholeOf(said["sessions"]) if alive else 0,
            handshakes=wholeOf(said["handshakes"]),
            completed=wholeOf(said["completed"]),
            terminations=_counts(said["terminations"]),
            minutes=tuple((wholeOf(minute), _counts(counts)) for minute, counts in said["minutes"]),
            loopLag=realOf(said["loopLag"]),
            registry=_string(said["registry"]) if alive else "away",
            registryReason=_string(said["registryReason"]) if alive else "",
            version=_string(said["version"]),
            advertised=_string(said["advertised"]) if alive else "",
            fingerprint=_string(said["fingerprint"]),
        )
    except MALFORMED:
        return None
    return record


def _counts(found: Any) -> dict[str, int]:
    return {_string(cause): wholeOf(count) for cause, count in found.items()}


def trafficOf(found: Any) -> Traffic | None:
    """
    Read what a node measured of a session.

    :param found: what :meth:`~thing.fleet.model.Traffic.asDict` gave.
    :return: the figures, or None if they make no sense.
    """
    try:
        return Traffic(
            roundTripTime=_optional(found["roundTripTime"]),
            silence=_optional(found["silence"]),
            heartbeats=wholeOf(found["heartbeats"]),
            octetsIn=wholeOf(found["octetsIn"]),
            octetsOut=wholeOf(found["octetsOut"]),
            messagesIn=wholeOf(found["messagesIn"]),
            messagesOut=wholeOf(found["messagesOut"]),
            streams=wholeOf(found["streams"]),
            creditStalls=wholeOf(found["creditStalls"]),
            ttl=_optional(found["ttl"]),
        )
    except MALFORMED:
        return None


def _text(value: Any) -> str:
    text: str = value.decode() if value is not None else ""
    return text


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def wholeOf(value: Any) -> int:
    """
    Read a whole number.

    :param value: a number, or its text.
    :return: the number, which is smaller than :data:`LARGEST`.
    :raises ValueError: if it is none; also others of :data:`MALFORMED`.
    """
    number = int(value)
    if not -LARGEST < number < LARGEST:
        raise ValueError("too large")
    return number


def _optional(value: Any) -> float | None:
    return None if value is None else realOf(value)


def realOf(value: Any) -> float:
    """
    Read a number.

    :param value: a number, or its text.
    :return: the number, which is finite.
    :raises ValueError: if it is none; also others of :data:`MALFORMED`.
    """
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number
