"""
How long a request waits for its answer while thousands of other sessions beat, beside TLS and TCP.

Run from anywhere::

    python benchmarks/latency.py [--quick] [--json FILE]

Each server has 5,000 sessions that beat, each every ten seconds, and one more that asks 200 times
a second; TLS's and TCP's clients send as many octets and get as many back. The questions come at
fixed times, whether or not the one before was answered, so a pause counts for all that fall into
it. The peers go by turns. A full run takes five minutes.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from twisted.python.usage import Options

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import command
import credentials
import run
from measure import Result
from processes import Load, Server
from workloads import CROWD_THING, TCP, THING, TLS, Peer

PEERS = (THING, TLS, TCP)

QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}

RATE = 200.0
"""How many requests a second."""

PROCESSES = 2
"""In how many processes the crowd's clients are."""


@dataclass(frozen=True)
class Plan:
    """How large a run is."""

    sessions: int
    interval: float
    """From one beat of a session to its next, seconds."""
    requests: int
    """In each round."""
    rounds: int


FULL = Plan(5000, 10.0, 4000, 5)
QUICK = Plan(5000, 10.0, 2000, 1)
SMOKE = Plan(20, 1.0, 100, 1)


def workload(quantile: str) -> str:
    """
    Name a group of rows of the table.

    :param quantile: one of :data:`QUANTILES`.
    :return: the name.
    """
    return f"request in a crowd, {quantile}"


class Scene:
    """
    A server, its crowd, and who asks.

    :ivar unanswered: how many beats of the crowd were not answered.
    """

    def __init__(self, peer: Peer, plan: Plan, directory: Path, onto: ExitStack) -> None:
        """
        :param peer: whose server.
        :param plan: how many sessions.
        :param directory: the credentials.
        :param onto: ends the processes.
        """
        self.unanswered = 0
        self._plan = plan
        server = Server(peer.kind, directory)
        onto.callback(server.stop)
        self._crowd = [
            self._load(peer, directory, f"127.0.0.{number + 2}", onto)
            for number in range(PROCESSES)
        ]
        self._asking = self._load(peer, directory, "127.0.0.1", onto)
        wire = CROWD_THING.wire if peer is THING else peer.wire  # Left alone between rounds.
        port = server.ports["beat"]
        for load in self._crowd:
            load.do("open", kind=wire, port=port, count=plan.sessions // PROCESSES)
        self._asking.do("open", kind=wire, port=port, count=1)

    @staticmethod
    def _load(peer: Peer, directory: Path, address: str, onto: ExitStack) -> Load:
        load = Load(peer.group, directory, address)
        onto.callback(load.stop)
        return load

    def ask(self) -> list[float]:
        """:return: how long each request of one round took, seconds."""
        plan = self._plan
        beats = plan.sessions / plan.interval / PROCESSES
        seconds = plan.requests / RATE
        for load in self._crowd:
            load.tell(json.dumps(["beatSteadily", {"rate": beats, "seconds": seconds}]))
        times: list[float] = self._asking.do("ask", rate=RATE, count=plan.requests)
        self.unanswered += sum(load.answer() for load in self._crowd)
        return times


def measure(plan: Plan, directory: Path, tell: Callable[[str], object]) -> list[Result]:
    """
    Ask, the peers by turns.

    :param plan: how much.
    :param directory: for the credentials; empty, and for this user's eyes only.
    :param tell: is told what is being done.
    :return: the results.
    :raises RuntimeError: if a heartbeat of the crowd was not answered.
    """
    credentials.create(directory, plan.sessions)
    taken: dict[str, list[list[float]]] = {peer.name: [] for peer in PEERS}
    with ExitStack() as onto:
        tell(f"{plan.sessions} sessions for each of {len(PEERS)} servers")
        scenes = {peer.name: Scene(peer, plan, directory, onto) for peer in PEERS}
        for number in range(plan.rounds):
            tell(f"round {number + 1} of {plan.rounds}")
            for name, scene in scenes.items():
                taken[name].append(scene.ask())
        if any(scene.unanswered for scene in scenes.values()):
            raise RuntimeError("heartbeats were not answered")
    return [_result(quantile, name, taken) for quantile in QUANTILES for name in scenes]


def _result(quantile: str, name: str, taken: dict[str, list[list[float]]]) -> Result:
    def figures(peer: str) -> list[float]:
        share = QUANTILES[quantile]
        return [sorted(each)[int(share * len(each))] * 1e6 for each in taken[peer]]

    ratio = None
    if name != THING.name:
        pairs = zip(figures(THING.name), figures(name), strict=True)
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    return Result.of(workload(quantile), name, "µs wall time", figures(name), ratio)


class LatencyOptions(Options):
    """The command line."""

    synopsis = "python benchmarks/latency.py [--quick] [--json FILE]"
    optFlags = [
        ["quick", None, "Fewer requests, once."],
        ["smoke", None, "Only see whether everything runs; the figures mean nothing."],
    ]
    optParameters = [["json", None, None, "Write all figures to this file."]]


def main(arguments: list[str]) -> None:
    """
    Measure and print.

    :param arguments: the command line.
    """
    options = LatencyOptions()
    command.parse(options, arguments)
    plan = SMOKE if options["smoke"] else QUICK if options["quick"] else FULL
    about = run.machine()
    with tempfile.TemporaryDirectory(prefix="thing-benchmark-") as name:
        results = measure(plan, Path(name), command.tell)
    print(run.table(results))
    command.write(options["json"], results, machine=about, plan=asdict(plan))


if __name__ == "__main__":
    main(sys.argv[1:])
