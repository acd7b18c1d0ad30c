"""
The fleet: who is here, what happens, a word to a thing and a way to its services.

Here live the presence of a node, its registry of sessions, the feed of events, and what tells
them to others: :mod:`thing.fleet.http` to people and programs, :mod:`thing.fleet.redis` to
other nodes. It hears of sessions by watching a :class:`~thing.session.factory.ThingFactory`,
decides who is admitted beside whom, asks sessions to leave or to take a message, and joins the
streams of operators with those of things (:mod:`thing.fleet.reaches`); it may touch what session,
trust and core offer to everybody.

It never changes what a session does by itself, never holds one up, and never reads keys.
Nobody below knows of it, and sessions go on whether or not anybody asks. Whatever comes from
HTTP or from the registry is a stranger's: it is checked where it is read.

Where to begin: :mod:`~thing.fleet.model` has the words for all that is told (a new kind of
event begins there), :mod:`~thing.fleet.local` what becomes of a node's sessions,
:mod:`~thing.fleet.interfaces` what can be asked.
"""

from thing.fleet.interfaces import IPresence, IReaches, ISubscription
from thing.fleet.memory import MemoryPresence
from thing.fleet.model import (
    Ending,
    FedEvent,
    Filter,
    FleetEvent,
    Kind,
    NodeRecord,
    NotGone,
    NotLost,
    NotPresent,
    Page,
    ReachRecord,
    Status,
    ThingRecord,
    Traffic,
    Twins,
    Undelivered,
)

__all__ = [
    "Ending",
    "FedEvent",
    "Filter",
    "FleetEvent",
    "IPresence",
    "IReaches",
    "ISubscription",
    "Kind",
    "MemoryPresence",
    "NodeRecord",
    "NotGone",
    "NotLost",
    "NotPresent",
    "Page",
    "ReachRecord",
    "Status",
    "ThingRecord",
    "Traffic",
    "Twins",
    "Undelivered",
]
