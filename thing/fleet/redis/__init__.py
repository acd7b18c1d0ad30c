"""
Presence on many nodes, over a Redis or a Valkey that they share.

Here lives all that knows of the shared registry: the script that alone changes it
(``registry.lua``), what it is asked (``operations``) and what it says (``rows``), the connection
(``connection``, ``endpoints``, ``address``), what a node keeps there (``keeper``, ``outbox``,
``writes``), what it asks others (``inbox``), and what it tells (``queries``, ``tail``);
``presence`` joins them. It watches a node's registry of sessions, and asks it to give up what
another node has.

It never believes what it reads, never makes a session wait for Redis longer than a moment, and
never changes a key but through the script. A change of what is stored begins in the script.
"""

from thing.fleet.redis.address import Address, RegistryURLError, parseAddress
from thing.fleet.redis.presence import RedisPresence, connectPresence
from thing.fleet.redis.script import Bounds

__all__ = [
    "Address",
    "Bounds",
    "RedisPresence",
    "RegistryURLError",
    "connectPresence",
    "parseAddress",
]
