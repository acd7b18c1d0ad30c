"""
The workloads, and what each costs the server.

A :class:`Bench` holds one server process for each kind of server and one load
process for each key exchange group. :meth:`Bench.run` goes round all workloads
and all peers several times, so that whatever disturbs the machine disturbs all
of them alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import credentials
from peers import KINDS, RESUMED
from processes import Load, Server

MIB = 1 << 20


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


FULL = Size(15, 192, 200, 25, 2000, 64 * MIB, 1000, 3, 25)
QUICK = Size(3, 64, 200, 4, 300, 8 * MIB, 300, 1, 8)
SMOKE = Size(1, 4, 4, 2, 10, MIB // 4, 64, 1, 2)


@dataclass(frozen=True)
class Peer:
    """One row of the table: a kind of server, and how its clients agree on keys."""

    name: str
    kind: str
    group: str
    resumed: bool = False
    """Whether its clients come back with tickets."""

    @property
    def wire(self) -> str:
        """What its clients speak."""
        return RESUMED if self.resumed else self.kind


CLASSIC, HYBRID = "X25519", "X25519MLKEM768"

THING = Peer("Thing", "thing", CLASSIC)
THING_HYBRID = Peer("Thing, ML-KEM", "thing", HYBRID)
THING_RESUMED = Peer("Thing, resumed", "thing", CLASSIC, resumed=True)
TLS = Peer("TLS", "tls", CLASSIC)
TLS_HYBRID = Peer("TLS, ML-KEM", "tls", HYBRID)
TLS_P256 = Peer("TLS, P-256", "tls-p256", CLASSIC)
TLS_SERVER_ONLY = Peer("TLS, server only", "tls-server-only", CLASSIC)
TCP = Peer("TCP", "tcp", CLASSIC)

PLAIN = (THING, TLS, TCP)
"""The peers whose sessions are up: how the keys were agreed on no longer matters."""

ALL = (THING, THING_HYBRID, THING_RESUMED, TLS, TLS_HYBRID, TLS_P256, TLS_SERVER_ONLY, TCP)

_OPPONENT = {TLS_HYBRID: THING_HYBRID}
"""Which of Thing's rows a peer is compared with, if not with the plain one."""


@dataclass
class Context:
    """What a workload works with: one peer's two processes."""

    server: Server
    load: Load
    peer: Peer
    size: Size
    directory: Path

    def open(self, job: str, count: int) -> None:
        """
        Open sessions.

        :param job: what for.
        :param count: how many.
        """
        self.load.do("open", kind=self.peer.wire, port=self.server.ports[job], count=count)

    def cost(self, name: str, **arguments: int) -> float:
        """
        Let the clients do something, and close.

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


def growth(bench: Context, figure: str) -> float:
    """
    Measure how much a figure of the server grows with each idle session.

    :param bench: what to work with.
    :param figure: its name.
    :return: KiB.
    """
    first, count = 16, bench.size.sessions
    bench.open("beat", first)  # Whatever comes with the first session comes now.
    before = bench.server.settle(first)[figure]
    bench.open("beat", count)
    after = bench.server.settle(first + count)[figure]
    return float((after - before) / count / 1024)


def resident(bench: Context) -> float:
    """
    Measure what an idle session takes of the machine's memory, in a server without a past.

    :param bench: what to work with.
    :return: KiB.
    """
    server = Server(bench.peer.kind, bench.directory)
    try:
        return growth(replace(bench, server=server), "resident")
    finally:
        server.stop()


def traced(bench: Context) -> float:
    """
    Measure what an idle session takes in Python objects; OpenSSL's own memory is not seen.

    :param bench: what to work with.
    :return: KiB.
    """
    bench.server.ask("trace")
    try:
        return growth(bench, "traced")
    finally:
        bench.server.ask("untrace")


@dataclass(frozen=True)
class Workload:
    """Something to measure."""

    title: str
    unit: str
    measure: Callable[[Context], float]
    peers: tuple[Peer, ...]
    memory: bool = False


WORKLOADS = (
    Workload("handshake", "µs CPU each", handshake, ALL),
    Workload("heartbeat, fleet", "µs CPU each", fleetBeat, PLAIN),
    Workload("heartbeat, single", "µs CPU each", singleBeat, PLAIN),
    Workload("server to client", "µs CPU per MiB", download, PLAIN),
    Workload("client to server", "µs CPU per MiB", upload, PLAIN),
    Workload("idle session", "KiB resident", resident, PLAIN, memory=True),
    Workload("idle session, Python", "KiB allocated", traced, PLAIN, memory=True),
    Workload("handshake latency", "µs wall time", latency, ALL),
)
"""All workloads, in the order of the table."""


@dataclass(frozen=True)
class Result:
    """What was measured for one peer under one workload."""

    workload: str
    peer: str
    unit: str
    rounds: list[float]
    median: float
    spread: float
    """The distance of the quartiles, as a part of the median."""
    ratio: float | None
    """Thing's full cost divided by this peer's, the median over the rounds; None for Thing."""


class Bench:
    """All processes of one run."""

    def __init__(self, size: Size, directory: Path) -> None:
        """
        :param size: how much of everything.
        :param directory: for the credentials; empty, and for this user's eyes only.
        """
        self._size = size
        self._directory = directory
        self._servers: dict[str, Server] = {}
        self._loads: dict[str, Load] = {}

    def run(self, tell: Callable[[str], object]) -> list[Result]:
        """
        Measure everything.

        :param tell: is told what is being done.
        :return: the results, in the order of the table.
        """
        credentials.create(self._directory)
        taken: dict[tuple[Workload, Peer], list[float]] = {}
        try:
            self._start(tell)
            for number in range(self._size.rounds):
                tell(f"round {number + 1} of {self._size.rounds}")
                for workload, peer in self._order(number):
                    figure = self._measure(workload, peer, self._size)
                    taken.setdefault((workload, peer), []).append(figure)
        finally:
            for child in (*self._loads.values(), *self._servers.values()):
                child.stop()
        return [_result(workload, peer, taken) for workload in WORKLOADS for peer in workload.peers]

    def _start(self, tell: Callable[[str], object]) -> None:
        """Start all processes, and have each do everything once, unmeasured."""
        tell("warming up")
        for group in (CLASSIC, HYBRID):
            self._loads[group] = Load(group, self._directory)
        for kind in KINDS:
            self._servers[kind] = Server(kind, self._directory)
        for workload in WORKLOADS:
            for peer in workload.peers if not workload.memory else ():
                self._measure(workload, peer, SMOKE)

    def _order(self, number: int) -> Iterator[tuple[Workload, Peer]]:
        """What to measure in a round; each round another peer comes first."""
        for workload in WORKLOADS:
            if workload.memory and number >= self._size.memoryRounds:
                continue
            shift = number % len(workload.peers)
            for peer in workload.peers[shift:] + workload.peers[:shift]:
                yield workload, peer

    def _measure(self, workload: Workload, peer: Peer, size: Size) -> float:
        server, load = self._servers[peer.kind], self._loads[peer.group]
        server.settle()
        figure = workload.measure(Context(server, load, peer, size, self._directory))
        load.do("close")
        return figure


def _result(
    workload: Workload, peer: Peer, taken: dict[tuple[Workload, Peer], list[float]]
) -> Result:
    rounds = taken[workload, peer]
    median = statistics.median(rounds)
    spread = 0.0
    if len(rounds) > 1 and median:
        low, _, high = statistics.quantiles(rounds, n=4, method="inclusive")
        spread = (high - low) / median
    ratio = None
    if peer not in (THING, THING_HYBRID) and min(rounds) > 0:
        ours = taken[workload, _OPPONENT.get(peer, THING)]
        ratio = statistics.median(a / b for a, b in zip(ours, rounds, strict=True))
    return Result(workload.title, peer.name, workload.unit, rounds, median, spread, ratio)


def plain(results: list[Result]) -> list[dict[str, Any]]:
    """
    Say the results in JSON's terms.

    :param results: the results.
    :return: the same.
    """
    return [asdict(result) for result in results]
