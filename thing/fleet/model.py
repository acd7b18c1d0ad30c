"""
What is known of a fleet: its things, their ends, its nodes, and what happens.

Times of day are seconds since 1970, since they leave the process; durations
are in seconds, sizes in octets.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from thing.errors import EndReason, ErrorCode, ThingError
from thing.events import Termination
from thing.identity import CredentialKind, Identity


class Twins(Enum):
    """What happens when an authenticated identity connects while it is connected."""

    REFUSE = "refuse"
    """The newcomer is told ``IDENTITY_IN_USE``."""
    REPLACE = "replace"
    """The older session is told that it is replaced."""
    ALLOW = "allow"
    """Each session is a thing of its own, called ``NAME#SESSION``."""


class Status(Enum):
    """Whether a thing is here."""

    PRESENT = "present"
    LATE = "late"
    """It missed a heartbeat, and its TTL is not over."""
    GONE = "gone"


class Kind(Enum):
    """What an event tells."""

    JOINED = "joined"
    """A thing is here that was not."""
    MOVED = "moved"
    """A thing that is here has a new session; the one before counts no more."""
    LATE = "late"
    """A thing missed a heartbeat."""
    RENEWED = "renewed"
    """A thing that was late is not any more."""
    MESSAGE = "message"
    """A thing sent a message."""
    LEFT = "left"
    """A thing is here no more."""
    LAST_WORD = "lastWord"
    """A thing left this message for the case that it ends without goodbye, and it did."""
    TWINS = "twins"
    """Two with the same key keep replacing each other; newcomers must wait for a while."""
    REACHED = "reached"
    """An operator reaches a service of a thing."""
    REACH_ENDED = "reachEnded"
    """It reaches that service no more."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a session ended."""

    session: str
    """The session id, hexadecimal."""
    node: str
    since: float
    """When the session began, time of day."""
    until: float
    """When it ended, time of day."""
    cause: str
    """The name of a :class:`~thing.events.Cause`, or ``REPLACED``, or ``NODE_LOST``."""
    detail: str
    """One plain sentence."""

    def asDict(self) -> dict[str, Any]:
        """:return: what JSON can hold."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What the node that has a session measures of it; other nodes have to ask."""

    roundTripTime: float | None
    silence: float | None
    """Since the last heartbeat, seconds."""
    heartbeats: int
    octetsIn: int
    octetsOut: int
    messagesIn: int
    messagesOut: int
    streams: int
    """Open now, besides the main one."""
    creditStalls: int
    """How often something for it had to wait until it granted credit."""
    ttl: float | None
    """As granted last, seconds."""

    def asDict(self) -> dict[str, Any]:
        """:return: what JSON can hold."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class ThingRecord:
    """What is known of one thing, here or gone."""

    id: str
    """What it is called: the name that the authorizer gave it, else its key's fingerprint."""
    name: str | None
    fingerprint: str
    """Of its key; empty if it has no public key."""
    status: Status
    node: str
    """Where it is, or was last."""
    session: str
    """The session id, hexadecimal; the last one's if it is gone."""
    epoch: int
    """Of this session: larger than that of every session of this thing before."""
    sequence: int
    """Of the latest event in this epoch."""
    since: float
    """When the session began, time of day."""
    lastSeen: float
    """When it was last known to be alive, time of day."""
    address: str
    group: str
    aead: str
    resumed: bool
    traffic: Traffic | None = None
    """None if the thing is gone, or its node did not say."""
    endings: tuple[Ending, ...] = ()
    """How earlier sessions ended, the latest first; a few."""

    def asDict(self) -> dict[str, Any]:
        """:return: what JSON can hold."""
        simple = {name: getattr(self, name) for name in self.__slots__}
        return simple | {
            "status": self.status.value,
            "traffic": self.traffic and self.traffic.asDict(),
            "endings": [ending.asDict() for ending in self.endings],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetEvent:
    """
    Something that happened to one thing.

    Of two events of one thing, the later has the larger ``(epoch, sequence)``.
    """

    kind: Kind
    id: str
    epoch: int
    sequence: int
    node: str
    session: str
    at: float
    """Time of day."""
    data: dict[str, Any] = field(default_factory=dict)
    """
    What else is told, by kind. Of JOINED and MOVED: ``name``, ``fingerprint``,
    ``address``, ``ttl``, ``resumed``; of MOVED besides ``fromNode``, ``fromSession``,
    ``fromEpoch``. Of LATE: ``silence``. Of RENEWED: ``roundTripTime``. Of LEFT: ``cause``,
    ``detail``, ``code``, ``reason``, ``byPeer``, ``since``. Of MESSAGE and LAST_WORD:
    what :func:`messageData` gives. Of TWINS: ``wait``, how long newcomers have to, seconds.
    Of REACHED and REACH_ENDED: ``reach``, ``service``, ``by``, ``key``, ``from``; of REACH_ENDED
    besides ``duration``, seconds, ``octetsUp``, ``octetsDown``, ``reason``.
    """

    def asDict(self) -> dict[str, Any]:
        """:return: what JSON can hold."""
        return {
            "kind": self.kind.value,
            **{name: getattr(self, name) for name in self.__slots__ if name not in _APART},
            **self.data,
        }

    @classmethod
    def fromDict(cls, found: dict[str, Any]) -> FleetEvent:
        """
        Read what :meth:`asDict` wrote.

        :param found: the dictionary.
        :return: the event.
        :raises ValueError: if it is none; also ``KeyError``, ``TypeError``.
        """
        data = dict(found)
        kind = Kind(data.pop("kind"))
        own = {name: data.pop(name) for name in cls.__slots__ if name not in _APART}
        return cls(kind=kind, data=data, **own)


_APART = ("kind", "data")


@dataclass(frozen=True, slots=True)
class FedEvent:
    """An event and its place in the feed."""

    position: str
    """
    Opaque but for this: of two positions ``milliseconds-number`` the later is larger,
    compared as two integers.
    """
    event: FleetEvent

    def asDict(self) -> dict[str, Any]:
        """:return: what JSON can hold."""
        return {"position": self.position, **self.event.asDict()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachRecord:
    """An operator's way to a service of a thing, which is open."""

    id: str
    """16 hexadecimal digits."""
    thing: str
    """The thing's id."""
    service: str
    by: str
    """The operator's name, or its key's fingerprint."""
    key: str
    """The fingerprint of the operator's key."""
    address: str
    """Where the operator is."""
    since: float
    """When it began, time of day."""
    node: str
    """Which node has the thing."""
    octetsUp: int
    """Passed to the thing so far."""
    octetsDown: int
    """Passed to the operator."""

    def asDict(self) -> dict[str, Any]:
        """:return: what JSON can hold."""
        simple = {name: getattr(self, name) for name in self.__slots__}
        simple["from"] = simple.pop("address")
        return simple


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """The health of one node."""

    node: str
    since: float
    """When it started, time of day."""
    status: str
    """``up``, ``draining``, ``stopped`` in order, or ``lost``."""
    sessions: int
    lastSeen: float
    """When it last said how it is, time of day."""
    handshakes: int = 0
    """In progress."""
    completed: int = 0
    """Handshakes completed since it started."""
    terminations: dict[str, int] = field(default_factory=dict)
    """How many sessions and handshakes ended since it started, by cause."""
    minutes: tuple[tuple[int, dict[str, int]], ...] = ()
    """
    The same for each of the last minutes: when it began, time of day, and how many; without the
    sessions of guests, and the checks of balancers.
    """
    loopLag: float = 0.0
    """How late the latest timer came, seconds."""
    registry: str = "memory"
    """
    ``memory``, or whether the shared registry can be reached: ``connected``, ``away``, or
    ``impaired`` if it is not heard from there what other nodes say, or not what happens.
    """
    registryReason: str = ""
    """Why it is away or impaired, in one line."""
    version: str = ""
    advertised: str = ""
    """Where other nodes reach it, ``host:port``; empty for nowhere."""
    fingerprint: str = ""
    """Of the raw key that it shows; empty if it has none."""

    @property
    def isThere(self) -> bool:
        """Whether it neither stopped nor was lost."""
        return self.status not in ("stopped", "lost")

    def asDict(self) -> dict[str, Any]:
        """:return: what JSON can hold."""
        simple = {name: getattr(self, name) for name in self.__slots__}
        return simple | {"minutes": [list(minute) for minute in self.minutes]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which things are asked for; all conditions hold, None asks nothing."""

    text: str | None = None
    """Part of the id, the name, the fingerprint or the address; case counts not."""
    status: Status | None = None
    """None leaves out those that are gone."""
    node: str | None = None

    def admits(self, status: Status, node: str, text: str) -> bool:
        """
        Decide about one thing.

        :param status: whether it is here.
        :param node: where it is, or was last.
        :param text: what :func:`searchText` made of it.
        :return: whether it is asked for.
        """
        if self.status is None:
            fits = status is not Status.GONE
        else:
            fits = status is self.status
        if not fits or self.node not in (None, node):
            return False
        return self.text is None or self.text.casefold() in text


def searchText(id: str, name: str | None, fingerprint: str, address: str) -> str:
    """
    Put together what a thing is searched by.

    :param id: its id.
    :param name: its name, if it has one.
    :param fingerprint: its key's.
    :param address: where it connected from.
    :return: the text.
    """
    return "\n".join((id, name or "", fingerprint, address)).casefold()


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the things, in the order of their ids."""

    things: tuple[ThingRecord, ...]
    following: str | None
    """Where the next page begins: give it as ``after``; None after the last."""
    complete: bool = True
    """False if the shared registry is away, and only this node told, or if it is impaired."""


class NotPresent(ThingError):
    """The thing is not here, as far as anybody knows."""


class NotLost(ThingError):
    """The node is up, and cannot be forgotten."""


class NotGone(ThingError):
    """The thing is here, and cannot be forgotten."""


class Undelivered(ThingError):
    """A message may or may not have reached the thing: there was no answer."""


def notForgotten(node: str, up: bool) -> ThingError:
    """
    Tell why a node is not forgotten.

    :param node: its name.
    :param up: whether it is up; otherwise nobody has heard of it.
    :return: the error.
    """
    return NotLost(f"{node} is up") if up else NotPresent(f"there is no node {node}")


def endingData(termination: Termination) -> dict[str, Any]:
    """
    What an event tells of a session's end.

    :param termination: how it ended.
    :return: what JSON can hold.
    """
    return {
        "cause": termination.cause.name,
        "detail": str(termination),
        "code": _named(termination.code),
        "reason": _named(termination.reason),
        "byPeer": termination.byPeer,
    }


def keyOf(identity: Identity) -> str:
    """
    Name the key that an identity has proved: only the same key takes a session over.

    :param identity: who.
    :return: the key's fingerprint, or the identity of a pre-shared key; empty if there is none.
    """
    if identity.kind is CredentialKind.PRESHARED:
        return f"{identity.kind.name}:{identity.credential.decode(errors='replace')}"
    return identity.fingerprint


def _named(number: ErrorCode | EndReason | int | None) -> str | int | None:
    return number.name if isinstance(number, ErrorCode | EndReason) else number


def messageData(message: bytes) -> dict[str, Any]:
    """
    A thing's message, for an event.

    :param message: the octets.
    :return: ``text`` if they are UTF-8, else ``base64``.
    """
    try:
        return {"text": message.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(message).decode("ascii")}
