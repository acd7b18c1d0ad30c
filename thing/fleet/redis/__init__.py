"""Presence on many nodes, over a Redis or a Valkey that they share."""

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
