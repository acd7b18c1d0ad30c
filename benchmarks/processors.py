"""
What a second process brings: handshakes and heartbeats of one ``twistd thing`` and of two.

Run from anywhere::

    python benchmarks/processors.py [--quick] [--json FILE]

The processes share a port (``--reuse-port``), the keys of their tickets, and a registry in a Redis
of their own. Each is as ``twistd thing --authorized`` has it. Both ways are measured by turns.

A process can use one processor, and this machine's have the clients and Redis to carry, too. So
what is told is how much is done in each second of the processor of the process that does most:
what is had where each process has a processor of its own. Redis's share is told beside it.
It needs redis-server. The exit status is 1 if a goal was missed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
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
import goals
import run
from fleetregistry import Registry
from goals import Figures, Goal
from load import THINGS_APART
from measure import Result
from peers import REDIS_SOCKET
from processes import Load, awaited, awaitQuiet, cpuOf, freePort, python
from startup import TWISTD
from workloads import CLASSIC, CROWD_THING

ONE, TWO = "one process", "two processes"

HANDSHAKES, BEATS = "handshakes", "heartbeats"

REDIS = "Redis beside handshakes"
"""How much of another processor the registry has."""

LOADS = 2
"""In how many processes the clients are."""


@dataclass(frozen=True)
class Plan:
    """How large a run is."""

    sessions: int
    waves: int
    rounds: int


FULL = Plan(2000, 20, 7)
QUICK = Plan(1000, 5, 2)
SMOKE = Plan(40, 1, 1)


def _gain(what: str) -> Goal:
    """One process's figure is at most 1 / 1.8 of two processes'."""

    def ratio(figures: Figures) -> float:
        pairs = zip(figures.rounds(what, ONE), figures.rounds(what, TWO), strict=True)
        return statistics.median(one / two for one, two in pairs)

    return Goal(f"{what} a second: {ONE} / {TWO}", "", 1 / 1.8, ratio)


GOALS = (_gain(HANDSHAKES), _gain(BEATS))
"""Two processes do at least 1.8 times as much as one."""


class Nodes:
    """Some processes of ``twistd thing`` on one port."""

    def __init__(self, count: int, directory: Path, onto: ExitStack) -> None:
        """
        Start them, and wait until all listen.

        :param count: how many.
        :param directory: the credentials, and Redis's socket.
        :param onto: ends them.
        """
        self.port = freePort()
        self._processes = [self._start(count, number, directory, onto) for number in range(count)]
        awaited(lambda: self._listening() == count, f"port {self.port}")

    def _start(
        self, count: int, number: int, directory: Path, onto: ExitStack
    ) -> subprocess.Popen[bytes]:
        name = f"{count}-{number}"
        return python(
            onto,
            directory / f"{name}.log",
            *("-c", TWISTD, "--nodaemon", "--pidfile=", f"--logfile={directory}/{name}.twistd.log"),
            *("thing", "--port", f"tcp:{self.port}:interface=127.0.0.1", "--reuse-port"),
            *("--identity", f"{directory}/thing-server", "--authorized", f"{directory}/authorized"),
            *("--presence", f"unix://{directory}/{REDIS_SOCKET}?prefix={count}"),
            *("--node", name, "--ticket-keys", f"{directory}/ticket_keys"),
        )

    def _listening(self) -> int:
        listening = f"0100007F:{self.port:04X} 00000000:0000 0A"
        return Path("/proc/net/tcp").read_text().count(listening)

    def cpus(self) -> list[float]:
        """:return: the CPU time of each process so far, once it has no more to do, seconds."""
        for process in self._processes:
            awaitQuiet(process.pid)
        return [cpuOf(process.pid) for process in self._processes]

    def busiest(self, work: Callable[[], object]) -> float:
        """
        Have something done.

        :param work: has it done.
        :return: the CPU time of the process that did most, seconds.
        """
        before = self.cpus()
        work()
        return max(after - each for each, after in zip(before, self.cpus(), strict=True))


def measure(plan: Plan, directory: Path, tell: Callable[[str], object]) -> list[Result]:
    """
    Have sessions come, beat and go, with one process and with two.

    :param plan: how many.
    :param directory: for the credentials; empty, and for this user's eyes only.
    :param tell: is told what is being done.
    :return: the results.
    :raises RuntimeError: if there is no redis-server.
    """
    credentials.create(directory, THINGS_APART + plan.sessions // LOADS)  # No thing is there twice.
    taken: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as onto:
        registry = Registry(directory)
        onto.callback(registry.stop)
        ways = {name: Nodes(count, directory, onto) for name, count in ((ONE, 1), (TWO, 2))}
        loads = [Load(CLASSIC, directory, f"127.0.0.{number + 2}") for number in range(LOADS)]
        for load in loads:
            onto.callback(load.stop)
        for number in range(-1, plan.rounds):  # The first time unmeasured.
            tell("warming up" if number < 0 else f"round {number + 1} of {plan.rounds}")
            for name, nodes in ways.items():
                figures = _round(plan, nodes, loads, registry)
                for what, figure in figures.items() if number >= 0 else ():
                    taken.setdefault((what, name), []).append(figure)
    return [_result(what, name, taken) for what in (HANDSHAKES, BEATS, REDIS) for name in ways]


def _round(plan: Plan, nodes: Nodes, loads: list[Load], registry: Registry) -> dict[str, float]:
    share = plan.sessions // len(loads)

    def together(name: str, **arguments: object) -> None:
        for load in loads:
            load.tell(json.dumps([name, arguments]))
        for load in loads:
            load.answer()

    before = cpuOf(registry.pid)
    opening = nodes.busiest(
        lambda: together("open", kind=CROWD_THING.wire, port=nodes.port, count=share)
    )
    redis = cpuOf(registry.pid) - before
    beating = nodes.busiest(lambda: together("beat", waves=plan.waves))
    together("close")
    nodes.cpus()  # They have told the registry.
    return {
        HANDSHAKES: plan.sessions / opening,
        BEATS: plan.sessions * plan.waves / beating,
        REDIS: redis / opening,
    }


def _result(what: str, name: str, taken: dict[tuple[str, str], list[float]]) -> Result:
    unit = "of a processor" if what == REDIS else "a second of the busiest process"
    return Result.of(what, name, unit, taken[what, name])


class ProcessorsOptions(Options):
    """The command line."""

    synopsis = "python benchmarks/processors.py [--quick] [--json FILE]"
    optFlags = [
        ["quick", None, "Fewer sessions, twice."],
        ["smoke", None, "Only see whether everything runs; the figures mean nothing."],
    ]
    optParameters = [["json", None, None, "Write all figures and verdicts to this file."]]


def main(arguments: list[str]) -> None:
    """
    Measure and print.

    :param arguments: the command line.
    """
    options = ProcessorsOptions()
    command.parse(options, arguments)
    plan = SMOKE if options["smoke"] else QUICK if options["quick"] else FULL
    about = run.machine()
    with tempfile.TemporaryDirectory(prefix="thing-") as name:
        results = measure(plan, Path(name), command.tell)
    figures = Figures(results)
    verdicts = [goal.judge(figures) for goal in GOALS]
    print(run.table(results), goals.report(verdicts), sep="\n\n")
    command.write(options["json"], results, verdicts, machine=about, plan=asdict(plan))
    command.endBy(verdicts)


if __name__ == "__main__":
    main(sys.argv[1:])
