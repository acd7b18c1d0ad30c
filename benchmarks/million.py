"""
A million things on N nodes, on paper and simulated: ``python -m benchmarks.million --help``.

First it measures what everything costs on this machine. Then it prints what such a fleet
needs at rest, what its storms bring, and what is used up first.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import command
from fleetcosts import Costs, calibrate, load
from fleetmodel import RESOURCES, Plan, first
from fleetnodes import Storm
from fleetstorms import anew, emptied, killed, restarted, vanished
from twisted.python.usage import Options, UsageError

from thing.fleet.redis.connection import ANSWER_TIME

REFERENCE = Path(__file__).resolve().with_name("million.json")
"""What everything cost where the documentation's table was made."""

MIB = 2.0**20

LABEL, COLUMN = 46, 13
"""How wide the table's columns are, characters."""

MOST_THINGS, MOST_NODES = 10_000_000, 1000
"""What is simulated at most, so that it is over in a moment."""


def whole(text: str) -> int:
    """
    Read a number of the command line.

    :param text: the number.
    :return: the same.
    """
    return int(text.replace(",", "_"))


def several(text: str) -> list[int]:
    """
    Read some numbers of the command line.

    :param text: with commas between them.
    :return: the numbers.
    """
    return [int(each) for each in text.split(",")]


several.coerceDoc = "must be whole numbers with commas between them."  # type: ignore[attr-defined]
whole.coerceDoc = "must be a whole number."  # type: ignore[attr-defined]


class MillionOptions(Options):
    """The command line."""

    synopsis = "python -m benchmarks.million [--things N] [--nodes N,N] [--no-redis | --reference]"
    optFlags = [
        ["no-redis", None, "Do not start a Redis; take its costs from --costs, or as documented."],
        ["reference", None, "Measure nothing; take all costs from --costs, or as documented."],
        ["paper", None, "Simulate nothing."],
    ]
    optParameters = [
        ["things", None, 1_000_000, "How many things.", whole],
        ["nodes", None, [20, 60, 100], "On how many nodes; several with commas.", several],
        ["seed", None, 1, "Of chance: the same seed and costs print the same.", whole],
        ["costs", None, None, "A file with costs, as --save writes it."],
        ["save", None, None, "Write the costs that were measured to this file."],
    ]

    def postOptions(self) -> None:
        """
        See whether the numbers fit together.

        :raises UsageError: if they do not.
        """
        things, nodes = self["things"], self["nodes"]
        if not all(2 <= each <= MOST_NODES for each in nodes):
            raise UsageError(f"--nodes must be from 2 to {MOST_NODES}")
        if not 10 * max(nodes) <= things <= MOST_THINGS:
            raise UsageError(f"--things must be from ten a node to {MOST_THINGS:,}")


Row = tuple[str, Callable[[Any], str]]
"""What a line of the table has: its label, and what it says of each fleet."""


def number(value: float) -> str:
    """
    Write a number so that it can be read.

    :param value: the number.
    :return: with three digits at least.
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    """
    Write a duration.

    :param value: seconds.
    :return: in the unit that fits.
    """
    if value >= 600:
        return f"{value / 60:,.0f} min"
    return f"{value:,.1f} s" if value >= 1 else f"{value * 1000:.3g} ms"


def share(value: float) -> str:
    """
    Write a part.

    :param value: one for all.
    :return: per cent.
    """
    if value == math.inf:
        return "no bound"
    return f"{100 * value:,.0f} %" if value >= 0.1 else f"{100 * value:.1f} %"


def waited(value: float) -> str:
    """
    Write how long Redis let a node wait.

    :param value: seconds.
    :return: the same; nodes give it up when it takes too long.
    """
    return seconds(value) if value < ANSWER_TIME else f"over {seconds(ANSWER_TIME)}"


AT_REST: tuple[Row, ...] = (
    ("things on a node", lambda plan: number(plan.each)),
    ("sessions it must be allowed, a node lost", lambda plan: number(math.ceil(plan.worst))),
    ("TTL granted", lambda plan: seconds(plan.ttl(plan.each))),
    ("heartbeats a second, a node", lambda plan: number(plan.beats(plan.each))),
    ("heartbeats a second, all", lambda plan: number(plan.nodes * plan.beats(plan.each))),
    ("a node's core for heartbeats", lambda plan: share(plan.beatShare(plan.each))),
    ("a node's core for all", lambda plan: share(plan.busy(plan.each))),
    ("a node's sessions in memory, MiB", lambda plan: number(plan.each * plan.costs.session / MIB)),
    ("a node's network, Mbit/s", lambda plan: number(plan.traffic(plan.each) * 8e-6)),
    ("Redis operations a second, leases", lambda plan: number(plan.leaseOps)),
    ("Redis operations a second, all", lambda plan: number(plan.redisOps)),
    ("Redis's core", lambda plan: share(plan.redisBusy)),
    ("Redis's memory, MiB", lambda plan: number(plan.redisMemory / MIB)),
    ("entries of the stream a second", lambda plan: number(plan.events)),
    ("what the stream remembers", lambda plan: seconds(plan.history)),
)

CAME_BACK: tuple[Row, ...] = (
    ("things that must come back", lambda storm: number(storm.things)),
    ("the last is back after", lambda storm: seconds(storm.back)),
    ("handshakes a second on one node, at most", lambda storm: number(storm.peak)),
    ("tries turned away, or cut off", lambda storm: number(storm.turnedAway + storm.cutOff)),
    ("tries that are asked a puzzle, at most", lambda storm: number(storm.puzzled)),
)

ASKED_REDIS: tuple[Row, ...] = (
    ("Redis operations", lambda storm: number(storm.ops)),
    ("Redis operations a second, at most", lambda storm: number(storm.opsPeak)),
    ("Redis's core in that second, at most", lambda storm: share(storm.busyPeak)),
    ("longest wait for Redis", lambda storm: waited(storm.longest)),
)

SWEPT: tuple[Row, ...] = (
    ("things taken off with LEFT", lambda storm: number(storm.swept)),
    ("the last LEFT after", lambda storm: seconds(storm.lastLeft)),
)


def lines(title: str, rows: Sequence[Row], fleets: Sequence[Any]) -> list[str]:
    """
    Lay a part of the table out.

    :param title: its title.
    :param rows: its lines.
    :param fleets: what they are about, one for each column.
    :return: the lines.
    """
    laid = [f"  {label:<{LABEL - 2}}" for label, _ in rows]
    for index, (_, text) in enumerate(rows):
        laid[index] += "".join(f"{text(fleet):>{COLUMN}}" for fleet in fleets)
    return ["", title, *laid]


KNOWN: Row = ("all is known again after", lambda storm: seconds(storm.took))

ANEW: tuple[Row, ...] = (
    *CAME_BACK,
    *ASKED_REDIS,
    ("writes that wait on one node, at most", lambda storm: number(storm.queued)),
    KNOWN,
)

RESTARTED: tuple[Row, ...] = (*CAME_BACK[2:], *ASKED_REDIS[1:])

STORMS: tuple[tuple[str, Callable[[Plan, int], Storm], tuple[Row, ...]], ...] = (
    ("A node is killed", killed, (*CAME_BACK, *SWEPT, *ASKED_REDIS)),
    ("A node's machine vanishes", vanished, (*CAME_BACK, *SWEPT, *ASKED_REDIS)),
    (
        "All nodes are restarted, one after the other",
        restarted,
        (*RESTARTED, ("all nodes take", lambda storm: seconds(storm.took))),
    ),
    ("All balancers are restarted: all come anew", anew, ANEW),
    (
        "Redis is restarted with nothing",
        emptied,
        (*ASKED_REDIS, KNOWN),
    ),
)
"""The storms, and what is told of each."""

MEASURED: tuple[tuple[str, str], ...] = (
    ("beat", "a node, a heartbeat"),
    ("handshake", "a node, a handshake"),
    ("words", "a node, a session put into words"),
    ("admit", "Redis, may this thing come?"),
    ("join", "Redis, a thing joins"),
    ("moved", "Redis, a thing moves"),
    ("leave", "Redis, a thing leaves"),
    ("tell", "Redis, a message"),
    ("renew", "Redis, a lease"),
    ("sweep", "Redis, a sweep with nothing to do"),
    ("lost", "Redis, a thing of a lost node"),
    ("restore", "Redis, a session told anew"),
    ("mine", "Redis, a thing of a node named"),
    ("read", "Redis, an entry handed on"),
    ("session", "a node's memory, a session"),
    ("thing", "Redis's memory, a thing"),
    ("entry", "Redis's memory, an entry of the stream"),
    ("handshakeOctets", "a handshake, both ways"),
    ("beatOctets", "a heartbeat, both ways"),
    ("entryOctets", "an entry of the stream, on its way"),
)
"""The costs, and what they are called."""


def measured(costs: Costs) -> list[str]:
    """
    Tell what everything costs.

    :param costs: the costs.
    :return: the lines.
    """
    laid = [f"Measured on: {costs.machine}", ""]
    for name, title in MEASURED:
        value = getattr(costs, name)
        text = f"{value * 1e6:,.1f} us" if value < 1 else f"{value:,.0f} octets"
        laid.append(f"  {title:<{LABEL - 2}}{text:>{COLUMN}}")
    return laid


def breaking(plans: Sequence[Plan]) -> list[str]:
    """
    Tell what is used, and for how many things it lasts.

    :param plans: the fleets.
    :return: the lines.
    """

    def row(name: str, use: Callable[[Plan], float]) -> Row:
        return name, lambda plan: share(use(plan))

    def lasting(value: float) -> str:
        return "more" if value == math.inf else f"{value / 1e6:,.2f}"

    used = [row(each.name, each.use) for each in RESOURCES]
    lasts: list[Row] = [
        (each.name, lambda plan, each=each: lasting(each.lasts(plan)))  # type: ignore[misc]
        for each in RESOURCES
    ]
    laid = lines("What is used", used, plans)
    laid += lines("For how many millions of things it lasts", lasts, plans)
    laid += ["", "What breaks first"]
    for plan in plans:
        breaks = first(plan)
        more = f", on {plan.nodes} nodes"
        if breaks.byNodes:
            more = f", on {breaks.lasts(plan) / plan.each:.0f} nodes as large as now"
        laid.append(f"  on {plan.nodes} nodes: {breaks.name},")
        laid.append(f"    with more than {number(breaks.lasts(plan))} things{more}")
    return laid


def report(plans: Sequence[Plan], seed: int | None) -> str:
    """
    Calculate and simulate.

    :param plans: the fleets, one or several.
    :param seed: of chance; None to simulate nothing.
    :return: the tables.
    """
    heads = "".join(f"{f'{plan.nodes} nodes':>{COLUMN}}" for plan in plans)
    laid = [f"{f'{plans[0].things:,.0f} things':<{LABEL}}{heads}"]
    laid += lines("At rest", AT_REST, plans)
    if seed is not None:
        for title, storm, rows in STORMS:
            laid += lines(title, rows, [storm(plan, seed) for plan in plans])
    return "\n".join(laid + breaking(plans))


def costsOf(options: MillionOptions, tell: Callable[[str], object]) -> Costs:
    """
    Measure the costs, or read them.

    :param options: the command line.
    :param tell: is told what is being done.
    :return: the costs.
    :raises ValueError: if the file holds none.
    :raises OSError: if it cannot be read.
    """
    kept = load(Path(options["costs"] or REFERENCE))
    if options["reference"]:
        return kept
    with tempfile.TemporaryDirectory(prefix="thing-benchmark-") as directory:
        return calibrate(Path(directory), tell, kept if options["no-redis"] else None)


def main(arguments: list[str]) -> None:
    """
    Measure, calculate, simulate and print.

    :param arguments: the command line.
    """
    options = MillionOptions()
    command.parse(options, arguments)

    def tell(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    try:
        costs = costsOf(options, tell)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(str(error))
    if options["save"]:
        costs.dump(Path(options["save"]))
    print("\n".join(measured(costs)), end="\n\n")
    plans = [Plan(float(options["things"]), each, costs) for each in options["nodes"]]
    if not options["paper"]:
        tell("simulating")
    print(report(plans, None if options["paper"] else options["seed"]))


if __name__ == "__main__":
    main(sys.argv[1:])
