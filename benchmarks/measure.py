"""
The rounds and the statistics.

A :class:`Bench` holds one server process for each kind of server and one load
process for each key exchange group. :meth:`Bench.run` goes round all workloads
and all peers several times, so that whatever disturbs the machine disturbs all
of them alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import behind
import credentials
import startup
from broker import Broker
from load import THINGS_APART
from peers import KINDS
from processes import Load, Onlooker, Server, program
from workloads import (
    BEHIND,
    BROKERS,
    CLASSIC,
    CROWD,
    HYBRID,
    LOST,
    OPPONENTS,
    SMOKE,
    START,
    THING_ENDPOINT,
    WORKLOADS,
    Context,
    Peer,
    Size,
    Workload,
)

CROWD_PROCESSES = 3
"""In how many processes a crowd is: none may open more than 20,000 files."""


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
    ratio: float | None = None
    """Thing's full cost divided by this peer's, the median over the rounds; None for Thing."""

    @classmethod
    def of(
        cls,
        workload: str,
        peer: str,
        unit: str,
        rounds: list[float],
        ratio: float | None = None,
    ) -> Result:
        """
        Sum the rounds up.

        :param workload: what was measured.
        :param peer: of which peer.
        :param unit: in what unit.
        :param rounds: the figure of each round.
        :param ratio: as :attr:`ratio`.
        :return: the result.
        """
        median = statistics.median(rounds)
        spread = 0.0
        if len(rounds) > 1 and median:
            low, _, high = statistics.quantiles(rounds, n=4, method="inclusive")
            spread = (high - low) / median
        return cls(workload, peer, unit, rounds, median, spread, ratio)


def startServer(kind: str, directory: Path) -> Server | Broker:
    """
    Start a server, and look at its page if it has one.

    :param kind: its kind.
    :param directory: the credentials.
    :return: the server.
    """
    if kind not in KINDS:
        return Broker(kind, directory)
    server = Server(kind, directory)
    if server.ports["page"]:
        Onlooker(server.ports["page"])
    return server


class Crowd:
    """
    A server with as many sessions as it may have, and their clients.

    :ivar server: the server.
    :ivar loads: the clients.
    """

    def __init__(self, peer: Peer, size: Size, directory: Path, onto: ExitStack) -> None:
        """
        :param peer: whose server.
        :param size: how many sessions.
        :param directory: the credentials.
        :param onto: stops the processes.
        """
        self.server = startServer(peer.kind, directory)
        onto.callback(self.server.stop)
        self.loads = []
        for number in range(CROWD_PROCESSES):
            load = Load(peer.group, directory, f"127.0.0.{number + 2}")
            onto.callback(load.stop)
            share = size.crowd // CROWD_PROCESSES + (number < size.crowd % CROWD_PROCESSES)
            load.do("open", kind=peer.wire, port=self.server.ports["beat"], count=share)
            self.loads.append(load)
        self.server.settle(size.crowd)


class Bench:
    """All processes of one run."""

    def __init__(self, size: Size, directory: Path, only: str = "") -> None:
        """
        :param size: how much of everything.
        :param directory: for the credentials; empty, and for this user's eyes only.
        :param only: what the title of a workload begins with; others are left out.
        """
        self._size = size
        self._only = only
        self._directory = directory
        self._servers: dict[str, Server | Broker] = {}
        self._loads: dict[str, Load] = {}
        self._crowds: dict[Peer, Crowd] = {}
        self._brokers = program("mosquitto") is not None

    def run(self, tell: Callable[[str], object]) -> list[Result]:
        """
        Measure everything.

        :param tell: is told what is being done.
        :return: the results, in the order of the table.
        """
        size = self._size
        credentials.create(self._directory, max(size.crowd + THINGS_APART, size.sessions))
        taken: dict[tuple[Workload, Peer], list[float]] = {}
        with ExitStack() as processes:
            self._start(tell, processes)
            for number in range(size.rounds):
                tell(f"round {number + 1} of {size.rounds}")
                for workload, peer in self._order(number):
                    figure = self._measure(workload, peer, size)
                    taken.setdefault((workload, peer), []).append(figure)
        results = [self._result(each, peer, taken) for each, peer in self._all()]
        return results + self._others(tell)

    def _others(self, tell: Callable[[str], object]) -> list[Result]:
        """What has processes of its own."""
        return [
            result
            for title, measure in ((BEHIND, self._behind), (START, self._starts))
            if title.startswith(self._only)
            for result in measure(tell)
        ]

    def _behind(self, tell: Callable[[str], object]) -> list[Result]:
        tell(BEHIND)
        seen = behind.measure(self._directory, self._size.behind, self._size.behindRounds)
        results = [
            Result.of(BEHIND, f"{direction}, {name}", "ms wall time", [figure(s) for s in sessions])
            for direction, sessions in seen.items()
            for name, figure in (("usual", behind.middle), ("worst", behind.slowest))
        ]
        lost = [float(session.lost) for sessions in seen.values() for session in sessions]
        return [*results, Result.of(LOST, THING_ENDPOINT.name, "sessions", lost)]

    def _starts(self, tell: Callable[[str], object]) -> list[Result]:
        tell(START)
        starts = startup.measure(self._directory, self._size.starts)
        return [Result.of(START, name, "ms CPU", figures) for name, figures in starts.items()]

    def _start(self, tell: Callable[[str], object], processes: ExitStack) -> None:
        """Start all processes, and have each do everything once, unmeasured."""
        tell("warming up")
        for group in (CLASSIC, HYBRID):
            self._loads[group] = Load(group, self._directory)
            processes.callback(self._loads[group].stop)
        for kind in (*KINDS, *(peer.kind for peer in BROKERS if self._brokers)):
            self._servers[kind] = startServer(kind, self._directory)
            processes.callback(self._servers[kind].stop)
        if not self._brokers:
            tell("mosquitto is not installed, so it is left out")
        for workload, peer in self._all():
            if not (workload.memory or workload.crowd):
                self._measure(workload, peer, SMOKE)
        for peer in CROWD.peers if CROWD.title.startswith(self._only) else ():
            tell(f"{self._size.crowd} sessions of {peer.name}")
            self._crowds[peer] = Crowd(peer, self._size, self._directory, processes)
            self._measure(CROWD, peer, self._size)

    def _all(self) -> Iterator[tuple[Workload, Peer]]:
        """Everything that can be measured here."""
        for workload in WORKLOADS:
            for peer in workload.peers:
                if workload.title.startswith(self._only) and (self._brokers or peer not in BROKERS):
                    yield workload, peer

    def _order(self, number: int) -> Iterator[tuple[Workload, Peer]]:
        """What to measure in a round; each round another peer comes first."""
        for workload in WORKLOADS:
            if workload.memory and number >= self._size.memoryRounds:
                continue
            peers = [peer for each, peer in self._all() if each is workload]
            shift = number % max(1, len(peers))
            for peer in peers[shift:] + peers[:shift]:
                yield workload, peer

    def _measure(self, workload: Workload, peer: Peer, size: Size) -> float:
        load, crowd = self._loads[peer.group], []
        if workload.fresh:
            server = startServer(peer.kind, self._directory)
        elif workload.crowd:
            server, crowd = self._crowds[peer].server, self._crowds[peer].loads
        else:
            server = self._servers[peer.kind]
        try:
            server.settle(size.crowd if workload.crowd else 0)
            return workload.measure(Context(server, load, peer, size, self._directory, crowd))
        finally:
            load.do("close")
            if workload.fresh:
                server.stop()

    def _result(
        self, workload: Workload, peer: Peer, taken: dict[tuple[Workload, Peer], list[float]]
    ) -> Result:
        rounds, ratio = taken[workload, peer], None
        first = workload.peers[0]
        if peer not in (first, *OPPONENTS.values()) and min(rounds) > 0:
            ours = taken[workload, OPPONENTS.get(peer, first)]
            ratio = statistics.median(a / b for a, b in zip(ours, rounds, strict=True))
        return Result.of(workload.title, peer.name, workload.unit, rounds, ratio)


def plain(results: list[Result]) -> list[dict[str, Any]]:
    """
    Say the results in JSON's terms.

    :param results: the results.
    :return: the same.
    """
    return [asdict(result) for result in results]
