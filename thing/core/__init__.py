"""
The protocol without I/O: bytes and the time in; bytes, events and a deadline out.

Bring your own I/O: :class:`ClientConnection` and :class:`ServerConnection` are the way in, and
:doc:`/bring-your-own-io` has the loop. The names in ``__all__`` here, and those of
:mod:`thing.events`, :mod:`thing.errors` and :mod:`thing.identity`, keep their meaning between
releases; what else is in the modules of this package does not. To import them imports neither
Twisted nor :mod:`zope`.

What lives here: messages and their layouts, records and keys, the handshake, liveness and the
schedule of heartbeats, what waits in either direction; and what every adapter decides alike: who
may come in (:class:`Door`), when a client comes back (:class:`Backoff`). What may be touched from
here: the words that everybody uses (:mod:`thing.errors`, :mod:`thing.events`,
:mod:`thing.identity`), :mod:`cryptography`, and the source of secrets. What never: a socket, a
file, a clock, a log, Twisted, or a room above this one. Time is an argument, and nothing that a
peer sends raises out of here.
"""

from typing import TYPE_CHECKING

from thing.lazy import importer

if TYPE_CHECKING:
    from thing.core.backoff import Backoff, isHopeless
    from thing.core.capacity import Capacity
    from thing.core.client import ClientConnection
    from thing.core.credentials import Anonymous, Credential, SignatureScheme
    from thing.core.door import Door
    from thing.core.groups import GroupName
    from thing.core.heartbeat import TtlPolicy
    from thing.core.kept import KeptTicket
    from thing.core.limits import Limits
    from thing.core.messages import Role
    from thing.core.records import Aead
    from thing.core.server import ServerConnection
    from thing.core.settings import ClientSettings, ServerSettings
    from thing.core.states import State
    from thing.core.window import Budget

__all__ = [
    "Aead",
    "Anonymous",
    "Backoff",
    "Budget",
    "Capacity",
    "ClientConnection",
    "ClientSettings",
    "Credential",
    "Door",
    "GroupName",
    "KeptTicket",
    "Limits",
    "Role",
    "ServerConnection",
    "ServerSettings",
    "SignatureScheme",
    "State",
    "TtlPolicy",
    "isHopeless",
]

_HOMES = {
    "thing.core.backoff": (
        "Backoff",
        "isHopeless",
    ),
    "thing.core.capacity": ("Capacity",),
    "thing.core.client": ("ClientConnection",),
    "thing.core.credentials": (
        "Anonymous",
        "Credential",
        "SignatureScheme",
    ),
    "thing.core.door": ("Door",),
    "thing.core.groups": ("GroupName",),
    "thing.core.heartbeat": ("TtlPolicy",),
    "thing.core.kept": ("KeptTicket",),
    "thing.core.limits": ("Limits",),
    "thing.core.messages": ("Role",),
    "thing.core.records": ("Aead",),
    "thing.core.server": ("ServerConnection",),
    "thing.core.settings": (
        "ClientSettings",
        "ServerSettings",
    ),
    "thing.core.states": ("State",),
    "thing.core.window": ("Budget",),
}


if not TYPE_CHECKING:  # Type checkers would believe that any name is there.
    __getattr__, __dir__ = importer(__name__, _HOMES)
