"""
The fleet: who is here, what happens, and a word to a thing, wherever it is.

It hears of sessions from the factories that it watches, and tells the status server, the
page and other nodes. Sessions go on whether or not anybody asks.
"""

from thing.fleet.interfaces import IPresence, ISubscription
from thing.fleet.memory import MemoryPresence
from thing.fleet.model import (
    Ending,
    FedEvent,
    Filter,
    FleetEvent,
    Kind,
    NodeRecord,
    NotPresent,
    Page,
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
    "ISubscription",
    "Kind",
    "MemoryPresence",
    "NodeRecord",
    "NotPresent",
    "Page",
    "Status",
    "ThingRecord",
    "Traffic",
    "Twins",
    "Undelivered",
]
