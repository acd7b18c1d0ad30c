"""
Thing as a Twisted transport: endpoints over which any protocol runs unchanged.

A program writes ``thing:...`` where it wrote ``tcp:...``, or uses the classes
here. Its protocols are built when a session is up, and see a transport that
does all that Twisted's TCP transport does. What a session is and how it ends is
settled below; here it is put into Twisted's words. What listens elsewhere and knows nothing of
Thing is joined with sessions and streams by connections of its own.

The session room and those below it may be touched from here. What never: a Connection
itself, a file that trust does not read, the fleet, or the process.
"""

from typing import TYPE_CHECKING

from thing.lazy import importer

if TYPE_CHECKING:
    from thing.core.backoff import Backoff, isHopeless
    from thing.endpoints.backend import Backend
    from thing.endpoints.endpoints import ThingClientEndpoint, ThingServerEndpoint
    from thing.endpoints.reconnect import ThingClientService, retryPolicy, terminationOf
    from thing.endpoints.stream import ApplicationFactory, StreamFactory
    from thing.session.interfaces import IStreamServer, IThingTransport
    from thing.session.reasons import (
        Aborted,
        FlatLined,
        Goodbye,
        Lapsed,
        RuleBroken,
        SentAway,
        SessionAborted,
        SessionLost,
        SessionOver,
        StreamCut,
        Truncated,
    )

__all__ = [
    "Aborted",
    "ApplicationFactory",
    "Backend",
    "Backoff",
    "FlatLined",
    "Goodbye",
    "IStreamServer",
    "IThingTransport",
    "Lapsed",
    "RuleBroken",
    "SentAway",
    "SessionAborted",
    "SessionLost",
    "SessionOver",
    "StreamCut",
    "StreamFactory",
    "ThingClientEndpoint",
    "ThingClientService",
    "ThingServerEndpoint",
    "Truncated",
    "isHopeless",
    "retryPolicy",
    "terminationOf",
]

_HOMES = {
    "thing.core.backoff": (
        "Backoff",
        "isHopeless",
    ),
    "thing.endpoints.backend": ("Backend",),
    "thing.endpoints.endpoints": (
        "ThingClientEndpoint",
        "ThingServerEndpoint",
    ),
    "thing.endpoints.reconnect": (
        "ThingClientService",
        "retryPolicy",
        "terminationOf",
    ),
    "thing.endpoints.stream": (
        "ApplicationFactory",
        "StreamFactory",
    ),
    "thing.session.interfaces": (
        "IStreamServer",
        "IThingTransport",
    ),
    "thing.session.reasons": (
        "Aborted",
        "FlatLined",
        "Goodbye",
        "Lapsed",
        "RuleBroken",
        "SentAway",
        "SessionAborted",
        "SessionLost",
        "SessionOver",
        "StreamCut",
        "Truncated",
    ),
}


if not TYPE_CHECKING:  # Type checkers would believe that any name is there.
    __getattr__, __dir__ = importer(__name__, _HOMES)
