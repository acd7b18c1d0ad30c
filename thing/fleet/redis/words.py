"""What a node tells the script: the words of each operation."""

from __future__ import annotations

from typing import Any

from thing.fleet.local import LocalSession
from thing.fleet.model import Ending, FleetEvent, Kind, messageData
from thing.fleet.redis.outbox import Write
from thing.fleet.redis.script import asJson

_STATUS = {Kind.LATE: "late", Kind.RENEWED: "present"}
"""What an event makes of a thing's status."""

_FROM = ("fromNode", "fromSession", "fromEpoch")


def writeOf(session: LocalSession, event: FleetEvent, most: int) -> Write | None:
    """
    Put an event into words.

    :param session: whose event it is.
    :param event: the event.
    :param most: about how many events the stream keeps.
    :return: what is to be written; None for what the registry decides by itself.
    """
    kind, at = event.kind, moment(event.at)
    if kind is Kind.TWINS:
        return None  # It counts takeovers on all nodes.
    if kind in (Kind.JOINED, Kind.MOVED):
        # Where the thing was before is the registry's to say.
        data = {name: value for name, value in event.data.items() if name not in _FROM}
        return Write("join", session, sessionWords(session, event.sequence, at, data))
    spoken = (most, session.id, session.session, event.sequence)
    if kind is Kind.LEFT:
        ending = Ending(
            session.session,
            event.node,
            session.since,
            event.at,
            event.data["cause"],
            event.data["detail"],
        )
        return Write("leave", session, (*spoken, at, asJson(event.data), asJson(ending.asDict())))
    return Write(
        "tell",
        session,
        (*spoken, kind.value, at, asJson(event.data), _STATUS.get(kind, "")),
        uplink=kind in (Kind.MESSAGE, Kind.LAST_WORD),
    )


def restoreWords(session: LocalSession, now: float) -> list[str | float]:
    """
    Put a session that is up into words, for a registry that may have lost it.

    :param session: the session.
    :param now: the time of day.
    :return: the words.
    """
    agreed = session.protocol.session
    assert agreed is not None, "the session is up"
    data = {
        "name": agreed.peer.name,
        "fingerprint": agreed.peer.fingerprint,
        "address": session.address,
        "ttl": session.protocol.ttl,
        "resumed": agreed.resumed,
    }
    return sessionWords(session, 0, moment(now), data, session.sequence + 1)


def sessionWords(
    session: LocalSession, told: int, at: str, data: dict[str, Any], sequence: int | None = None
) -> list[str | float]:
    """
    Put all that is kept of a session into words.

    :param session: the session.
    :param told: the sequence of the latest event that the registry need not be told.
    :param at: when.
    :param data: what the event tells.
    :param sequence: of the event; None for ``told``.
    :return: the words.
    """
    agreed = session.protocol.session
    assert agreed is not None, "the session was up"
    return [
        *(session.id, session.session, session.epoch, told if sequence is None else sequence),
        *(told, "late" if session.late else "present", session.key),
        *(moment(session.since), at, asJson(data), lastWordOf(session)),
        *(agreed.peer.name or "", agreed.peer.fingerprint, session.address),
        *(agreed.group, agreed.aead, "1" if agreed.resumed else "0"),
    ]


def lastWordOf(session: LocalSession) -> str:
    """
    Put a thing's last word into words.

    :param session: its session.
    :return: what an event would tell; empty if there is none.
    """
    word = session.protocol.lastWord
    return asJson(messageData(word)) if word else ""


def moment(at: float) -> str:
    """
    Write a time of day.

    :param at: the time, seconds.
    :return: with three decimals.
    """
    return f"{at:.3f}"
