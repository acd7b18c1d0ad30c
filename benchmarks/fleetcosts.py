"""
What a fleet costs on this machine: a short calibration for ``million.py``.

A node's costs are those of a real server process, its sockets and the kernel's part
included, under the light clients of the other benchmarks. Redis's are the CPU time of a
real redis-server of its own, on a unix socket, for each operation of the real script with
the words that a real node writes.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import credentials
from fleetregistry import THINGS, Registry, measureRedis, sessionOf
from peers import NODE
from processes import Load, Server
from workloads import HYBRID, QUICK, Context, Peer, handshake, memory, singleBeat

from thing import ClientSettings, IdentityKey, ServerSettings
from thing.core.client import ClientConnection
from thing.core.server import ServerConnection
from thing.events import PeerProved
from thing.fleet.redis.operations import Restore
from thing.fleet.redis.script import BATCH, MOST_FED
from thing.fleet.redis.writes import heldNow

SIZE = replace(QUICK, handshakes=96, beats=1000, sessions=600)
"""How much a node is given to do."""

ROUNDS = 3
"""How often a node's costs are measured; the median counts."""


@dataclass(frozen=True)
class Costs:
    """What everything costs: times are CPU time, in seconds; sizes are in octets."""

    machine: str
    """Where it was measured."""

    beat: float
    """A node's, for one heartbeat that wakes it up."""
    handshake: float
    """A node's, for one full handshake, the new session's write to the registry included."""
    words: float
    """A node's, to put one session into words for a registry that may have lost it."""
    session: float
    """Of a node's memory, for one idle session."""
    handshakeOctets: float
    """Of a handshake, in records, both ways."""
    beatOctets: float
    """Of a heartbeat and its answer, in records."""

    admit: float
    """Redis's, to say whether a thing may come."""
    join: float
    """For a thing that was gone."""
    moved: float
    """For a thing that another node has."""
    leave: float
    tell: float
    """For one message of a thing."""
    renew: float
    """For a node's lease."""
    sweep: float
    """To find nothing to clean up."""
    lost: float
    """To take one thing of a lost node off, in a sweep that takes as many as it may."""
    restore: float
    """For one session that Redis does not know, in a batch."""
    mine: float
    """To name one thing of a node, in a batch."""
    read: float
    """To hand one entry of the stream to one node that follows it."""
    thing: float
    """Of Redis's memory, for one thing."""
    entry: float
    """Of Redis's memory, for one entry of the stream."""
    entryOctets: float
    """What an entry is on its way to a node that follows the stream."""

    def dump(self, path: Path) -> None:
        """
        Write them to a file.

        :param path: the file.
        """
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


NODE_COSTS = ("beat", "handshake", "words", "session", "handshakeOctets", "beatOctets")
"""What is measured without Redis."""


def load(path: Path) -> Costs:
    """
    Read costs from a file.

    :param path: the file.
    :return: the costs.
    :raises ValueError: if it does not hold them.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    names = {field.name for field in fields(Costs)}
    if not isinstance(found, dict) or set(found) != names:
        raise ValueError(f"it must be an object with {', '.join(sorted(names))}")
    bad = [
        name
        for name, value in found.items()
        if name != "machine" and not (isinstance(value, int | float) and value > 0)
    ]
    if bad:
        raise ValueError(f"{bad[0]} must be a positive number")
    return Costs(**found)


def calibrate(directory: Path, tell: Callable[[str], object], without: Costs | None) -> Costs:
    """
    Measure.

    :param directory: for credentials and Redis; empty, and for this user's eyes only.
    :param tell: is told what is being done.
    :param without: leave Redis out, and take its costs from these.
    :return: the costs.
    """
    credentials.create(directory)
    registry = None if without else Registry(directory)
    try:
        tell("measuring a node")
        found: dict[str, Any] = {"machine": _machine(registry), **_node(directory)}
        if registry is None:
            return Costs(**{**asdict(without), **found})  # type: ignore[arg-type]
        tell("measuring Redis")
        return Costs(**(found | measureRedis(registry)))
    finally:
        if registry is not None:
            registry.stop()


def _machine(registry: Registry | None) -> str:
    redis = registry.version if registry else "not measured here"
    system = f"{platform.system()} {platform.machine()}"
    return f"{_processor()}, {system}, Python {platform.python_version()}, Redis {redis}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


# A node.


def _node(directory: Path) -> dict[str, float]:
    """What a server process takes that has a presence."""
    server, fresh = Server(NODE, directory), Server(NODE, directory)
    clients = Load(HYBRID, directory)
    bench = Context(server, clients, Peer("node", "thing", HYBRID), SIZE, directory)
    taken: dict[str, list[float]] = {"handshake": [], "beat": []}
    try:
        for number in range(ROUNDS + 1):
            for name, workload in (("handshake", handshake), ("beat", singleBeat)):
                server.settle()
                figure = workload(bench) / 1e6
                if number:  # Everything is done once, unmeasured.
                    taken[name].append(figure)
                clients.do("close")
        fresh.settle()
        octets = 1000 * memory(replace(bench, server=fresh))
    finally:
        for child in (clients, server, fresh):
            child.stop()
    handshakeOctets, beatOctets = _wire()
    return {
        **{name: statistics.median(figures) for name, figures in taken.items()},
        "words": _wordsTime(),
        "session": octets,
        "handshakeOctets": handshakeOctets,
        "beatOctets": beatOctets,
    }


def _wire() -> tuple[int, int]:
    """How many octets a handshake and a heartbeat take, both ways."""
    client: Any = ClientConnection(ClientSettings(credential=IdentityKey.generate()))
    server: Any = ServerConnection(ServerSettings(credential=IdentityKey.generate()))
    octets = 0

    def follow(core: Any, events: Iterable[Any]) -> None:
        for event in events:
            if isinstance(event, PeerProved):
                follow(core, core.admit(event.identity, 0.0))

    def carry() -> int:
        carried = 0
        for _ in range(8):  # More often than a handshake turns.
            for one, other in ((client, server), (server, client)):
                data = one.dataToSend(0.0, sys.maxsize)
                carried += len(data)
                follow(other, other.receiveData(data, 0.0) if data else ())
        return carried

    follow(client, client.start(0.0))
    follow(server, server.start(0.0))
    octets = carry()
    follow(client, client.beat(0.0))
    return octets, carry()


def _wordsTime() -> float:
    sessions = [sessionOf(number, 1, "a" * 8) for number in range(THINGS)]
    begun = time.process_time()
    for at in range(0, THINGS, BATCH):
        held = [heldNow(session, 1e9) for session in sessions[at : at + BATCH]]
        Restore(node="node-01", most=MOST_FED, sessions=held).encode()
    return (time.process_time() - begun) / THINGS
