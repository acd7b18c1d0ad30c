"""
What a node writes into the registry of its sessions: an event, or all of a session.

When that is sent, and what becomes of it, is decided elsewhere.
"""

from __future__ import annotations

from typing import Any

from thing.fleet.model import Ending, FleetEvent, Kind, messageData, searchText
from thing.fleet.redis.operations import Held, LastWord, Leave, Tell
from thing.fleet.redis.outbox import Write
from thing.fleet.redis.script import asJson
from thing.fleet.sessions import LocalSession, joinedData

_STATUS = {Kind.LATE: "late", Kind.RENEWED: "present"}
"""What an event makes of a thing's status."""

_ONCE = (Kind.MESSAGE, Kind.LAST_WORD, Kind.REACHED, Kind.REACH_ENDED)
"""What nothing tells again if it is lost: what a thing says, and who reaches it."""

_FROM = ("fromNode", "fromSession", "fromEpoch")


def writeOf(session: LocalSession, event: FleetEvent, most: int) -> Write | None:
    """
    Tell what is to be written of an event.

    :param session: whose event it is.
    :param event: the event.
    :param most: about how many events the stream keeps.
    :return: what is to be written; None for what the registry decides by itself.
    """
    if event.kind is Kind.TWINS:
        return None  # It counts takeovers on all nodes.
    if event.kind in (Kind.JOINED, Kind.MOVED):
        # Where the thing was before is the registry's to say.
        data = {name: value for name, value in event.data.items() if name not in _FROM}
        sequence = event.sequence
        return Write(session, _held(session, sequence, sequence, moment(event.at), data))
    if event.kind is Kind.LEFT:
        return Write(session, _leave(session, event, most))
    tell = Tell(
        most=most,
        id=session.id,
        session=session.session,
        sequence=event.sequence,
        kind=event.kind.value,
        at=moment(event.at),
        data=asJson(event.data),
        status=_STATUS.get(event.kind, ""),
    )
    return Write(session, tell, uplink=event.kind in _ONCE)


def _leave(session: LocalSession, event: FleetEvent, most: int) -> Leave:
    ending = Ending(
        session.session,
        event.node,
        session.since,
        event.at,
        event.data["cause"],
        event.data["detail"],
    )
    return Leave(
        most=most,
        id=session.id,
        session=session.session,
        sequence=event.sequence,
        at=moment(event.at),
        data=asJson(event.data),
        ending=asJson(ending.asDict()),
    )


def lastWordWrite(session: LocalSession) -> Write:
    """
    Tell what is to be written of a last word, for the case that its thing is lost.

    :param session: whose last word it is.
    :return: what is to be written.
    """
    word = LastWord(id=session.id, session=session.session, lastWord=_lastWordOf(session))
    return Write(session, word, uplink=True)


def heldNow(session: LocalSession, now: float) -> Held:
    """
    Describe a session that is up, for a registry that may have lost it.

    :param session: the session.
    :param now: the time of day, seconds.
    :return: all that is kept of it.
    """
    data = joinedData(session) | {"ttl": session.protocol.ttl}  # Another may be agreed by now.
    return _held(session, session.sequence + 1, 0, moment(now), data)


def _held(session: LocalSession, sequence: int, told: int, at: str, data: dict[str, Any]) -> Held:
    """All that is kept of a session, with the event that tells of it."""
    agreed = session.protocol.session
    assert agreed is not None, "the session was up"
    peer = agreed.peer
    return Held(
        id=session.id,
        session=session.session,
        epoch=session.epoch,
        sequence=sequence,
        told=told,
        status="late" if session.late else "present",
        key=session.key,
        since=moment(session.since),
        at=at,
        data=asJson(data),
        lastWord=_lastWordOf(session),
        name=peer.name or "",
        fingerprint=peer.fingerprint,
        address=session.address,
        text=searchText(session.id, peer.name, peer.fingerprint, session.address),
        ttl=int((session.protocol.ttl or 0.0) * 1000),
        group=agreed.group,
        aead=agreed.aead,
        resumed=agreed.resumed,
    )


def _lastWordOf(session: LocalSession) -> str:
    """What an event would tell of a session's last word; empty if there is none."""
    word = session.protocol.lastWord
    return asJson(messageData(word)) if word else ""


def moment(at: float) -> str:
    """
    Write a time of day.

    :param at: the time, seconds.
    :return: with three decimals.
    """
    return f"{at:.3f}"
