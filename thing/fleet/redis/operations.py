"""
What a node may ask of the script, each operation a class, and its fields by name.

These classes and :file:`registry.lua` are the two sides of one thing: a field is named here
as it is there, and nowhere else. What an operation does to the registry is said in the script.

An operation travels as one JSON object, since Python writes JSON and every Redis reads it,
with nothing to be installed. Numbers are doubles in the script, however they come: epochs,
sequences and times are whole and below 2**53, so none is rounded, and the script
writes them itself, never with ``cjson``, which keeps 14 digits. What the script only passes on
(times of day, events' data, ends of sessions) is text, and stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

_JSON = json.JSONEncoder(default=vars, ensure_ascii=False, separators=(",", ":"))


class Operation:
    """
    What the script is to do.

    :cvar op: as the script calls it.
    """

    op: ClassVar[str]

    def encode(self) -> bytes:
        """
        Write it as the script reads it.

        :return: a JSON object; octets that are no UTF-8, read with ``surrogateescape``, are in
            it as they were.
        """
        return _JSON.encode(vars(self)).encode("utf-8", "surrogateescape")


@dataclass(frozen=True, kw_only=True)
class Held:
    """
    A session, and all that is kept of its thing while it has it.

    :ivar id: of the thing.
    :ivar session: its id, hexadecimal.
    :ivar epoch: of the session, as far as the node knows.
    :ivar sequence: of the event that it came up, or is here still.
    :ivar told: the sequence of the latest event that the registry need not be told.
    :ivar status: ``present`` or ``late``.
    :ivar key: what :func:`~thing.fleet.model.keyOf` says of its identity.
    :ivar since: when it came up, seconds since 1970, as text.
    :ivar at: when the event happened, likewise.
    :ivar data: what the event tells, JSON.
    :ivar lastWord: what an event would tell of its last word, JSON; empty if there is none.
    :ivar name: of the identity; empty if it has none.
    :ivar fingerprint: of the identity's key.
    :ivar address: from where it came.
    :ivar text: what :func:`~thing.fleet.model.searchText` makes of all that.
    :ivar ttl: for how long it lives without a heartbeat, milliseconds.
    :ivar group: the key exchange that was agreed upon.
    :ivar aead: the cipher that was agreed upon.
    :ivar resumed: whether it goes on with the secrets of an earlier session.
    """

    op: ClassVar[str] = "hold"
    id: str
    session: str
    epoch: int
    sequence: int
    told: int
    status: str
    key: str
    since: str
    at: str
    data: str
    lastWord: str
    name: str
    fingerprint: str
    address: str
    text: str
    ttl: int
    group: str
    aead: str
    resumed: bool


@dataclass(frozen=True, kw_only=True)
class Join(Operation):
    """
    A session came up.

    :ivar node: whose it is.
    :ivar most: about how many events the stream keeps.
    :ivar deadline: when the node stops waiting for the answer, milliseconds since 1970.
    :ivar refuse: whether a session that is here already stays.
    :ivar held: the session.
    """

    op = "join"
    node: str
    most: int
    deadline: int
    refuse: bool
    held: Held


@dataclass(frozen=True, kw_only=True)
class Restore(Operation):
    """
    Some sessions were up already; the registry may have lost them.

    :ivar node: whose they are.
    :ivar most: about how many events the stream keeps.
    :ivar sessions: the sessions.
    """

    op = "restore"
    node: str
    most: int
    sessions: Sequence[Held]


@dataclass(frozen=True, kw_only=True)
class Tell(Operation):
    """
    Something happened to a thing.

    :ivar most: about how many events the stream keeps.
    :ivar id: of the thing.
    :ivar session: for which the node speaks, hexadecimal.
    :ivar sequence: of the event, as the node counts.
    :ivar kind: of the event.
    :ivar at: when, seconds since 1970, as text.
    :ivar data: what the event tells, JSON.
    :ivar status: what it makes of the thing's status; empty if it leaves it.
    """

    op = "tell"
    most: int
    id: str
    session: str
    sequence: int
    kind: str
    at: str
    data: str
    status: str


@dataclass(frozen=True, kw_only=True)
class Leave(Operation):
    """
    A thing's session is over.

    :ivar most: about how many events the stream keeps.
    :ivar id: of the thing.
    :ivar session: for which the node speaks, hexadecimal.
    :ivar sequence: of the event, as the node counts.
    :ivar at: when, seconds since 1970, as text.
    :ivar data: what the event tells, JSON.
    :ivar ending: what is remembered of the session, JSON.
    """

    op = "leave"
    most: int
    id: str
    session: str
    sequence: int
    at: str
    data: str
    ending: str


@dataclass(frozen=True, kw_only=True)
class LastWord(Operation):
    """
    A thing left another last word.

    :ivar id: of the thing.
    :ivar session: for which the node speaks, hexadecimal.
    :ivar lastWord: what an event would tell of it, JSON.
    """

    op = "lastWord"
    id: str
    session: str
    lastWord: str


@dataclass(frozen=True, kw_only=True)
class Admit(Operation):
    """
    Ask whether an identity may have a session.

    :ivar id: of its thing.
    :ivar key: what :func:`~thing.fleet.model.keyOf` says of it.
    :ivar refuse: whether a session that is here already stays.
    """

    op = "admit"
    id: str
    key: str
    refuse: bool


@dataclass(frozen=True, kw_only=True)
class Renew(Operation):
    """
    A node is alive.

    :ivar node: its name.
    :ivar process: a random name of its process.
    :ivar lease: for how long it counts as alive, milliseconds.
    :ivar record: how it is, JSON.
    :ivar first: whether it never had the lease: then it takes the name from any other process.
    """

    op = "renew"
    node: str
    process: str
    lease: int
    record: str
    first: bool


@dataclass(frozen=True, kw_only=True)
class Sweep(Operation):
    """
    Some of what is to be cleaned up is.

    :ivar most: about how many events the stream keeps.
    :ivar limit: how many things may be dealt with.
    :ivar keep: how long things that are gone are remembered, milliseconds.
    :ivar mostGone: how many of them at most.
    :ivar keepNodes: how long nodes that were lost are, milliseconds.
    :ivar mostOctets: about how many octets the stream may take.
    :ivar lease: for how long a node counts as alive, milliseconds.
    """

    op = "sweep"
    most: int
    limit: int
    keep: int
    mostGone: int
    keepNodes: int
    mostOctets: int
    lease: int


@dataclass(frozen=True, kw_only=True)
class Claims(Operation):
    """
    Ask what a node is said to have.

    :ivar node: its name.
    :ivar cursor: where to go on; ``0`` for the beginning.
    :ivar count: about how many things.
    """

    op = "claims"
    node: str
    cursor: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    """
    A session that a node is said to have.

    :ivar id: of its thing.
    :ivar session: its id.
    """

    id: str
    session: str


@dataclass(frozen=True, kw_only=True)
class Disown(Operation):
    """
    A node does not have what it is said to have.

    :ivar node: its name.
    :ivar most: about how many events the stream keeps.
    :ivar claims: what it does not have.
    """

    op = "disown"
    node: str
    most: int
    claims: Sequence[Claim]


@dataclass(frozen=True, kw_only=True)
class Retire(Operation):
    """
    A node stops in order.

    :ivar node: its name.
    :ivar process: the name of its process.
    :ivar record: how it was at last, JSON.
    :ivar keep: how long it is shown so, milliseconds.
    :ivar most: about how many events the stream keeps.
    :ivar limit: how many things may be dealt with.
    """

    op = "retire"
    node: str
    process: str
    record: str
    keep: int
    most: int
    limit: int


@dataclass(frozen=True, kw_only=True)
class Find(Operation):
    """
    Ask what is known of some things.

    :ivar ids: which things.
    :ivar fields: what of each, as :data:`~thing.fleet.redis.rows.FIELDS`.
    """

    op = "find"
    ids: Sequence[str]
    fields: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class List(Operation):
    """
    Look at the things behind one, in the order of their ids, and tell what is known of some.

    :ivar set: ``here`` for those that are here, ``ids`` for all.
    :ivar after: the id behind which to begin; empty for the first.
    :ivar count: how many to look at.
    :ivar most: how many to tell of at most.
    :ivar text: only of those with this in what they are searched by; empty for any.
    :ivar node: only of those of this node; empty for any.
    :ivar status: only of those with this status; empty for any.
    :ivar fields: what of each, as :data:`~thing.fleet.redis.rows.FIELDS`.
    """

    op = "list"
    set: str
    after: str
    count: int
    most: int
    text: str
    node: str
    status: str
    fields: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Read(Operation):
    """
    Ask what happened.

    :ivar after: the position behind which to begin.
    :ivar limit: how many events at most.
    :ivar octets: about how many octets they may have together, unless it is one.
    """

    op = "read"
    after: str
    limit: int
    octets: int


@dataclass(frozen=True, kw_only=True)
class Nodes(Operation):
    """Ask how the nodes are."""

    op = "nodes"


@dataclass(frozen=True, kw_only=True)
class Forget(Operation):
    """
    A node that was lost is to be shown no more.

    :ivar node: its name.
    """

    op = "forget"
    node: str


@dataclass(frozen=True, kw_only=True)
class ForgetThing(Operation):
    """
    A thing that is gone is to be remembered no more.

    :ivar id: which.
    """

    op = "forgetThing"
    id: str


Change = Held | Tell | Leave | LastWord
"""What is to be written of a session; one that is held is joined or restored."""
