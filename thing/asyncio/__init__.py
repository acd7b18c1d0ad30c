"""
Sessions for programs on asyncio, clients and servers; no Twisted is imported.

:class:`~thing.asyncio.client.connect` and :class:`~thing.asyncio.client.reconnect` have sessions
with a server, :class:`~thing.asyncio.server.serve` with clients; each is a
:class:`~thing.asyncio.session.Session`. Names are those of asyncio: ``wait_closed``,
``open_stream``. What comes from the core keeps its own, as the fields of settings and events do.

What lives here: one Connection on an event loop, and what waits for it. What may be touched from
here: :mod:`thing.core`, and what trust has without a reactor. What never: Twisted, or a room that
needs it. What a message is, when a peer is dead and who may come in is decided in the core, for
this adapter as for Twisted's.
"""

from thing.asyncio.client import connect, reconnect
from thing.asyncio.known import KeyContinuity, KnownServers
from thing.asyncio.link import Authorizer
from thing.asyncio.server import Server, serve
from thing.asyncio.session import Session
from thing.asyncio.streams import StreamCut

__all__ = [
    "Authorizer",
    "KeyContinuity",
    "KnownServers",
    "Server",
    "Session",
    "StreamCut",
    "connect",
    "reconnect",
    "serve",
]
