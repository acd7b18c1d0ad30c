"""
Running the script that changes a registry, and reading what it answers to a change.

What it can be asked is elsewhere, and so is what its rows and entries mean.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from twisted.internet.defer import Deferred

from thing.fleet.redis.connection import Link, RegistryAway
from thing.fleet.redis.operations import Operation, Sweep

MOST_FED = 100_000
"""About how many events the stream keeps."""

MOST_FED_OCTETS = 256 << 20
"""About how many octets the stream may take in Redis; it is shortened when it has more."""

KEEP = 30 * 86400.0
"""How long things that are gone are remembered, seconds."""

MOST_GONE = 1_000_000
"""How many of them at most; who went first is forgotten first."""

KEEP_NODES = 86400.0
"""How long nodes that were lost are shown, seconds."""

KEEP_STOPPED = 3600.0
"""How long nodes are that stopped in order, seconds: for so long it is told how sessions ended."""

BATCH = 50
"""How many things one run of the script deals with, so that it is over in a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much a registry keeps."""

    events: int = MOST_FED
    octets: int = MOST_FED_OCTETS
    keep: float = KEEP
    gone: int = MOST_GONE


class Script:
    """
    Runs :file:`registry.lua` in Redis.

    It is one script, and loaded before a connection counts as up: if it is missing all
    the same, so it is for all that is on the way, and nothing overtakes anything.
    """

    def __init__(self, prefix: str, bounds: Bounds | None = None) -> None:
        """
        :param prefix: with what all keys begin.
        :param bounds: how much the registry keeps.
        """
        self.prefix = prefix
        self.bounds = bounds or Bounds()
        self.text = files("thing.fleet.redis").joinpath("registry.lua").read_text("utf-8")
        # Redis names scripts by SHA-1; it is no matter of trust.
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def load(self, link: Link) -> None:
        """
        Let Redis have the script.

        :param link: the connection.
        """
        await link.call("SCRIPT", "LOAD", self.text)

    def run(self, link: Link, operation: Operation) -> Deferred[Any]:
        """
        Run an operation.

        :param link: the connection.
        :param operation: which.
        :return: fires with the answer; fails as :meth:`~thing.fleet.redis.connection.Link.call`.
        """
        return link.call(*self.command(operation))

    def command(self, operation: Operation) -> tuple[bytes | str | int, ...]:
        """
        Tell what runs an operation.

        :param operation: which.
        :return: the words of a command for Redis.
        """
        return ("EVALSHA", self.digest, 1, self.prefix, operation.op, operation.encode())

    def sweep(self, link: Link, lease: float) -> Deferred[Any]:
        """
        Clean up some of what is to be cleaned up.

        :param link: the connection.
        :param lease: how long a lease is, seconds.
        :return: fires with how much is left to be done at once.
        """
        bounds = self.bounds
        return self.run(
            link,
            Sweep(
                most=bounds.events,
                limit=BATCH,
                keep=int(bounds.keep * 1000),
                mostGone=bounds.gone,
                keepNodes=int(KEEP_NODES * 1000),
                mostOctets=bounds.octets,
                lease=int(lease * 1000),
            ),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the script answered to a session that wanted to change something."""

    word: str
    """What became of it, as the script says it."""
    epoch: int | None = None
    sequence: int | None = None
    detail: str = ""


def outcomeOf(answer: Any) -> Outcome:
    """
    Read an answer.

    :param answer: what the script gave.
    :return: the outcome.
    :raises RegistryAway: if it is none: whoever answered is not our script.
    """
    try:
        word, *rest = (part.decode() for part in answer)
        if word in ("key", "here"):
            return Outcome(word, detail=rest[0])
        epoch, sequence = [*map(int, rest), None, None][:2]
        return Outcome(word, epoch, sequence)
    except (AttributeError, IndexError, TypeError, ValueError):
        raise RegistryAway("the registry's answer makes no sense") from None


def asJson(value: Any) -> str:
    """
    Write JSON in the shortest way.

    :param value: what JSON can hold.
    :return: the text, ASCII only.
    """
    return json.dumps(value, separators=(",", ":"))


def pairsOf(flat: Sequence[Any]) -> list[tuple[Any, Any]]:
    """
    Pair what Redis lists flat.

    :param flat: name, value, name, value...
    :return: the pairs.
    """
    return list(zip(flat[::2], flat[1::2], strict=False))
