"""What is measured: the peers, the workloads, and what each workload does with one peer."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from broker import Broker
from peers import BROKERS as BROKER_KINDS
from peers import ENDPOINT, PATIENT, PRESENCE, RESUMED, THING_KINDS
from processes import Load, Server

MIB = 1 << 20

FIRST_SESSIONS = 100
"""How many sessions a server has before it is looked at how its memory grows with more."""

TRACED_SESSIONS = 500
"""How many more it gets at most while Python's allocations are followed, which is slow."""

TOGETHER = 200
"""How many of a crowd's sessions beat together: as many as a fleet has."""


@dataclass(frozen=True)
class Size:
    """How much of everything; more of it takes longer and scatters less."""

    rounds: int
    """How often everything is measured."""
    handshakes: int
    """Handshakes in each round."""
    fleet: int
    """Sessions that beat together."""
    waves: int
    """How often they do in each round."""
    beats: int
    """Heartbeats of a single session in each round."""
    bulk: int
    """Octets each way in each round."""
    sessions: int
    """Sessions at once, to see what memory they take."""
    memoryRounds: int
    """How often that is measured."""
    latencies: int
    """Handshakes one after the other in each round."""
    crowd: int
    """Sessions of a server that has as many as it may."""
    behind: int
    """Octets that a heartbeat is to overtake."""
    behindRounds: int
    """How often it is to."""
    starts: int
    """How often the commands are started whose imports are measured."""


FULL = Size(15, 192, 200, 25, 2000, 64 * MIB, 4000, 3, 25, 18_000, 40 * MIB, 3, 15)
QUICK = Size(3, 64, 200, 4, 300, 8 * MIB, 1000, 1, 8, 3000, 4 * MIB, 1, 5)
SMOKE = Size(1, 4, 4, 2, 10, MIB // 4, 100, 1, 2, 20, 4 * MIB, 1, 1)


@dataclass(frozen=True)
class Peer:
    """One row of the table: a kind of server, and how its clients agree on keys."""

    name: str
    kind: str
    group: str
    speaks: str = ""
    """What its clients speak, if not just what such a server's clients do."""

    @property
    def wire(self) -> str:
        """What its clients speak."""
        return self.speaks or self.kind


CLASSIC, HYBRID = "X25519", "X25519MLKEM768"

THING = Peer("Thing", "thing", CLASSIC)
THING_HYBRID = Peer("Thing, ML-KEM", "thing", HYBRID)
THING_RESUMED = Peer("Thing, resumed", "thing", CLASSIC, RESUMED)
THING_PRESENCE = Peer("Thing, with page", PRESENCE, CLASSIC)
THING_ENDPOINT = Peer("Thing, endpoint", ENDPOINT, CLASSIC)
TLS = Peer("TLS", "tls", CLASSIC)
TLS_HYBRID = Peer("TLS, ML-KEM", "tls", HYBRID)
TLS_P256 = Peer("TLS, P-256", "tls-p256", CLASSIC)
TLS_RSA = Peer("TLS, RSA", "tls-rsa", CLASSIC)
TLS_SERVER_ONLY = Peer("TLS, server only", "tls-server-only", CLASSIC)
MOSQUITTO, MOSQUITTO_TLS, MOSQUITTO_RSA = (
    Peer(name, kind, CLASSIC)
    for name, kind in zip(
        ("mosquitto", "mosquitto TLS", "mosquitto TLS, RSA"), BROKER_KINDS, strict=True
    )
)
TCP = Peer("TCP", "tcp", CLASSIC)

CROWD_THING = Peer("Thing", "thing", CLASSIC, PATIENT)
CROWD_PRESENCE = Peer("Thing, with page", PRESENCE, CLASSIC, PATIENT)

BROKERS = (MOSQUITTO_TLS, MOSQUITTO_RSA, MOSQUITTO)

UP = (THING, THING_PRESENCE, TLS, TLS_SERVER_ONLY, MOSQUITTO_TLS, MOSQUITTO, TCP)
"""The peers whose sessions are up: how the keys were agreed on no longer matters."""

BULK = (THING, THING_ENDPOINT, TLS, TCP)
"""The peers that carry a stream."""

PYTHON = (THING, THING_PRESENCE, TLS, TCP)
"""The peers whose Python can be looked into."""

ALL = (
    *(THING, THING_HYBRID, THING_RESUMED, THING_PRESENCE),
    *(TLS, TLS_HYBRID, TLS_P256, TLS_RSA, TLS_SERVER_ONLY),
    *BROKERS,
    TCP,
)
"""The peers whose handshakes are compared."""

OPPONENTS = {TLS_HYBRID: THING_HYBRID}
"""Which of Thing's rows a peer is compared with, if not with the first."""


@dataclass
class Context:
    """What a workload works with: one peer's two processes."""

    server: Server | Broker
    load: Load
    peer: Peer
    size: Size
    directory: Path
    crowd: list[Load] = field(default_factory=list)
    """The processes of a crowd, if there is one."""

    def open(self, job: str, count: int) -> None:
        """
        Open sessions.

        :param job: what for.
        :param count: how many.
        """
        self.load.do("open", kind=self.peer.wire, port=self.server.ports[job], count=count)

    def openIdle(self, count: int) -> None:
        """
        Open sessions that are left alone, for longer than a TTL perhaps.

        :param count: how many.
        """
        wire = PATIENT if self.peer.kind in THING_KINDS else self.peer.wire
        self.load.do("open", kind=wire, port=self.server.ports["beat"], count=count)

    def cost(self, name: str, **arguments: int) -> float:
        """
        Let the clients do something.

        :param name: a method of ``load.Load``.
        :param arguments: its arguments.
        :return: the CPU time that it took the server, seconds.
        """
        before = self.server.cpu()
        self.load.do(name, **arguments)
        return self.server.cpu() - before


def handshake(bench: Context) -> float:
    """
    Measure a full handshake, the accepted connection included.

    :param bench: what to work with.
    :return: the server's CPU time for each, microseconds.
    """
    before = bench.server.cpu()
    bench.open("beat", bench.size.handshakes)
    return (bench.server.cpu() - before) / bench.size.handshakes * 1e6


def fleetBeat(bench: Context) -> float:
    """
    Measure heartbeats of many sessions that come together.

    :param bench: what to work with.
    :return: the server's CPU time for each, microseconds.
    """
    bench.open("beat", bench.size.fleet)
    count = bench.size.waves * bench.size.fleet
    return bench.cost("beat", waves=bench.size.waves) / count * 1e6


def singleBeat(bench: Context) -> float:
    """
    Measure heartbeats of a single session: each wakes the server up.

    :param bench: what to work with.
    :return: the server's CPU time for each, microseconds.
    """
    bench.open("beat", 1)
    return bench.cost("beat", waves=bench.size.beats) / bench.size.beats * 1e6


def crowdBeat(bench: Context) -> float:
    """
    Measure heartbeats of a server's whole crowd, as many together as in a fleet.

    :param bench: what to work with.
    :return: the server's CPU time for each, microseconds.
    """
    before = bench.server.cpu()
    for load in bench.crowd:
        load.do("beatAround", together=TOGETHER)
    return (bench.server.cpu() - before) / bench.size.crowd * 1e6


def upload(bench: Context) -> float:
    """
    Measure data from the client, in messages of 64 KiB.

    :param bench: what to work with.
    :return: the server's CPU time for each MiB, microseconds.
    """
    bench.open("upload", 1)
    return bench.cost("upload", size=bench.size.bulk) / bench.size.bulk * MIB * 1e6


def download(bench: Context) -> float:
    """
    Measure data from the server, in messages of 64 KiB from a producer.

    :param bench: what to work with.
    :return: the server's CPU time for each MiB, microseconds.
    """
    bench.open("download", 1)
    return bench.cost("download", size=bench.size.bulk) / bench.size.bulk * MIB * 1e6


def latency(bench: Context) -> float:
    """
    Measure how long a lone client waits for its session, its own work included.

    :param bench: what to work with.
    :return: the median time, microseconds.
    """
    port = bench.server.ports["beat"]
    count = bench.size.latencies
    times = bench.load.do("latency", kind=bench.peer.wire, port=port, count=count)
    return statistics.median(times) * 1e6


def _growth(bench: Context, count: int, figure: Callable[[], float]) -> float:
    """How much a figure of the server grows with each idle session, thousands of octets."""
    first = FIRST_SESSIONS
    bench.openIdle(first)  # Whatever comes with the first sessions comes now.
    bench.server.settle(first)
    before = figure()
    bench.openIdle(count)
    bench.server.settle(first + count)
    return float((figure() - before) / count / 1000)


def memory(bench: Context) -> float:
    """
    Measure what an idle session takes of the machine's memory, in a server without a past.

    :param bench: what to work with; the server was just started.
    :return: KB, each a thousand octets.
    """
    return _growth(bench, bench.size.sessions, bench.server.memory)


def traced(bench: Context) -> float:
    """
    Measure what an idle session takes in Python objects; OpenSSL's own memory is not seen.

    :param bench: what to work with.
    :return: KB.
    """
    server = bench.server
    assert isinstance(server, Server), "only Python's allocations are traced"
    server.ask("trace")
    try:
        count = min(bench.size.sessions, TRACED_SESSIONS)
        return _growth(bench, count, lambda: float(server.ask("usage")["traced"]))
    finally:
        server.ask("untrace")


@dataclass(frozen=True)
class Workload:
    """Something to measure."""

    title: str
    unit: str
    measure: Callable[[Context], float]
    peers: tuple[Peer, ...]
    memory: bool = False
    """Whether it is measured in fewer rounds."""
    fresh: bool = False
    """Whether it needs a server that was just started."""
    crowd: bool = False
    """Whether it needs a server whose sessions are all up already."""


HANDSHAKE = Workload("handshake", "µs CPU each", handshake, ALL)
FLEET = Workload("heartbeat, fleet", "µs CPU each", fleetBeat, UP)
SINGLE = Workload("heartbeat, single", "µs CPU each", singleBeat, UP)
CROWD = Workload(
    "heartbeat, crowd",
    "µs CPU each",
    crowdBeat,
    (CROWD_THING, CROWD_PRESENCE, TCP),
    crowd=True,
)
DOWNLOAD = Workload("server to client", "µs CPU per MiB", download, BULK)
UPLOAD = Workload("client to server", "µs CPU per MiB", upload, BULK)
MEMORY = Workload("idle session", "KB", memory, UP, memory=True, fresh=True)
TRACED = Workload("idle session, Python", "KB allocated", traced, PYTHON, memory=True)
LATENCY = Workload("handshake latency", "µs wall time", latency, ALL)

BEHIND = "heartbeat behind data"
"""The workload of :mod:`behind`, as the table calls it."""

LOST = "sessions lost behind data"

START = "start of a command"
"""The workload of :mod:`startup`."""

WORKLOADS = (HANDSHAKE, FLEET, SINGLE, CROWD, DOWNLOAD, UPLOAD, MEMORY, TRACED, LATENCY)
"""The workloads of all rounds, in the order of the table."""
