"""
A server is flooded by strangers while honest clients want to be served.

Run from anywhere::

    python benchmarks/flood.py [--quick] [--json FILE]

Each kind of flood meets a fresh server under each policy. The table says which
share of the honest clients got in and how long they took, how many connections
the attackers managed, and what each cost the server. A full run takes about
80 seconds, ``--quick`` ten. All traffic stays on 127.0.0.0/8, of which Linux
lets a process use every address.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles

from twisted.python.usage import Options, UsageError

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from credentials import create
from processes import HERE, Child
from strangers import FLOODS, POLICIES, TIMEOUT

ATTACKERS = 2
"""How many processes attack."""

HEAD_START = 1.0
"""How long the flood lasts before the first honest client comes, seconds."""

SETTLING = 0.7
"""How long the processes take to start, seconds."""

STEADY = 1200.0
"""How many connections a flood opens in a second that is not as fast as it can be."""

FASTEST = 1e9
"""More connections in a second than there will be."""


@dataclass(frozen=True)
class Cell:
    """One line of the table, before it is measured."""

    flood: str
    policy: str
    rate: float = STEADY


FULL = [
    *(Cell(flood, policy) for flood in FLOODS if flood != "garbage" for policy in POLICIES),
    Cell("garbage", "as it comes"),
    *(Cell(flood, "as it comes", FASTEST) for flood in FLOODS if "one" not in flood),
]

QUICK = [
    Cell("CHI, then silence", "as it comes"),
    Cell("CHI, then silence", "newest refused"),
]


@dataclass(frozen=True)
class Result:
    """What one kind of flood did to a server with one policy."""

    cell: Cell
    served: float
    """Which share of the honest clients got in."""
    median: float
    """How long they took, seconds; as long as they had, if they did not get in."""
    ninth: float
    """How long nine tenths of them took at most, seconds."""
    rate: float
    """How many connections the attackers made in a second."""
    cost: float
    """What each of these cost the server, microseconds of CPU."""


def measure(cell: Cell, seconds: float, directory: Path) -> Result:
    """
    Flood a fresh server.

    :param cell: which flood and which policy.
    :param seconds: for how long honest clients come.
    :param directory: the credentials.
    :return: what came of it.
    """
    file, lasting = str(HERE / "strangers.py"), HEAD_START + seconds + TIMEOUT / 2
    server = Child(file, "serve", cell.policy, str(directory))
    port = str(server.ask("usage")["ports"]["flood"])
    honest = Child(file, "visit", port, str(seconds), str(directory))
    each = str(cell.rate / ATTACKERS)
    attackers = [
        Child(file, "attack", cell.flood, port, str(number), str(lasting), each)
        for number in range(ATTACKERS)
    ]
    time.sleep(SETTLING)
    with ThreadPoolExecutor() as pool:
        before = server.ask("usage")["cpu"]
        attacks = [pool.submit(attacker.ask, "go") for attacker in attackers]
        time.sleep(HEAD_START)
        times = honest.ask("go")
        made = sum(attack.result() for attack in attacks)
        used = server.ask("usage")["cpu"] - before
    for child in (*attackers, honest, server):
        child.stop()
    served = [taken for taken in times if taken is not None]
    waits = [TIMEOUT if taken is None else taken for taken in times]
    deciles = quantiles(waits, n=10, method="inclusive")
    return Result(
        cell,
        len(served) / len(times),
        deciles[4],
        deciles[8],
        made / lasting,
        used / max(made, 1) * 1e6,
    )


def table(results: list[Result]) -> str:
    """
    Lay the results out.

    :param results: the results.
    :return: lines for a terminal.
    """
    lines = [f"{'':<18}{'served':>8}{'median':>10}{'9 of 10':>10}{'flood/s':>10}{'CPU each':>11}"]
    title = ""
    for result in results:
        speed = ", as fast as possible" if result.cell.rate == FASTEST else ""
        if result.cell.flood + speed != title:
            title = result.cell.flood + speed
            lines += ["", title]
        lines.append(
            f"  {result.cell.policy:<16}{result.served:>8.0%}{result.median * 1000:>7.0f} ms"
            f"{result.ninth * 1000:>7.0f} ms{result.rate:>10.0f}{result.cost:>8.0f} us"
        )
    return "\n".join(lines)


class FloodOptions(Options):
    """The command line."""

    synopsis = "python benchmarks/flood.py [--quick] [--json FILE]"
    optFlags = [["quick", None, "Only two lines of it, in ten seconds."]]
    optParameters = [["json", None, None, "Write all figures to this file."]]


def main(arguments: list[str]) -> None:
    """
    Measure and print.

    :param arguments: the command line.
    """
    options = FloodOptions()
    try:
        options.parseOptions(arguments)
    except UsageError as error:
        sys.exit(f"{options}\n{error}")
    cells, seconds = (QUICK, 0.5) if options["quick"] else (FULL, 1.2)
    results = []
    with tempfile.TemporaryDirectory(prefix="thing-flood-") as name:
        create(Path(name))
        for cell in cells:
            print(f"{cell.flood}, {cell.policy}", file=sys.stderr, flush=True)
            results.append(measure(cell, seconds, Path(name)))
    print(table(results))
    if options["json"]:
        report = json.dumps([asdict(result) for result in results], indent=1)
        Path(options["json"]).write_text(report + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
