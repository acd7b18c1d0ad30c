"""
What a reach costs and how fast it is, beside ``ssh -R`` through OpenSSH's sshd, in one run.

Run from anywhere, on Linux, with ssh and sshd installed::

    python benchmarks/reach.py [--quick] [--json FILE]

The way is the same for all: an operator's connection, a server in the middle, a session that a
device keeps, and a TCP service beside the device. Each part is a process of its own, all on this
machine's loopback, and data go one way at a time. What is measured is the server's CPU time for
each MiB, and how much goes through in a second. The peers take turns, so that what disturbs the
machine disturbs all of them alike. The exit status is 1 if a goal was missed. Where sshd is not
installed it is left out, and nothing is judged. It takes a minute, or a quarter of one with
``--quick``, and longer on a busy machine.
"""

from __future__ import annotations

import signal
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from twisted.python.usage import Options

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import command
import goals
import run
from goals import Figures, Goal
from measure import Result
from processes import program
from ways import MIB, OpenSsh, Way, service, thing

LIFETIME = 600
"""How long all may take, seconds."""

DIRECTIONS = {"to the thing": 1, "from the thing": -1}
"""With the sign of their sizes."""

CPU, THROUGHPUT = "server", "throughput"
"""What is measured."""

THING, SSH, SSH_BOTH = "thing reach", "ssh -R", "ssh -R and -L"
"""
The peers. To a port of the server's machine the operator needs no session; from elsewhere, as
``thing reach`` is, a second one.
"""


def workload(what: str, direction: str) -> str:
    """
    Name a row of the table.

    :param what: what is measured.
    :param direction: one of :data:`DIRECTIONS`.
    :return: the name.
    """
    return f"reach {direction}, {what}"


def _goal(what: str, direction: str, over: str, under: str) -> Goal:
    """At most twice as much of one peer's figure as of the other's."""
    name = workload(what, direction)

    def ratio(figures: Figures) -> float:
        pairs = zip(figures.rounds(name, over), figures.rounds(name, under), strict=True)
        return statistics.median(a / b for a, b in pairs)

    return Goal(f"{name}: {over} / {under}", "", 2.0, ratio)


GOALS = (
    *(_goal(CPU, direction, THING, SSH) for direction in DIRECTIONS),
    *(_goal(THROUGHPUT, direction, SSH, THING) for direction in DIRECTIONS),
)
"""At most twice sshd's CPU time, and at least half its throughput."""


def measure(size: int, rounds: int, tell: Callable[[str], object]) -> list[Result]:
    """
    Make all transfers, the peers by turns.

    :param size: how much each, octets.
    :param rounds: how often.
    :param tell: is told what is being done.
    :return: the results.
    """
    taken: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as onto:
        directory = Path(onto.enter_context(tempfile.TemporaryDirectory(prefix="thing-reach-")))
        ways = _ways(directory, onto, tell)
        for number in range(-1, rounds):  # The first time unmeasured.
            tell("warming up" if number < 0 else f"round {number + 1} of {rounds}")
            for direction, sign in DIRECTIONS.items():
                for peer in _inTurn(list(ways), number):
                    took, used = ways[peer].transfer(sign * size)
                    if number >= 0:
                        mib = size / MIB
                        for what, figure in ((CPU, used * 1e6 / mib), (THROUGHPUT, mib / took)):
                            taken.setdefault((workload(what, direction), peer), []).append(figure)
    rows = [workload(what, direction) for what in (CPU, THROUGHPUT) for direction in DIRECTIONS]
    return [_result(row, peer, taken) for row in rows for peer in ways]


def _ways(directory: Path, onto: ExitStack, tell: Callable[[str], object]) -> dict[str, Way]:
    port = service(onto)
    ways = {THING: thing(directory, port, onto)}
    if program("sshd") is None:
        tell("sshd is not installed (Debian: openssh-server), so it is left out")
        return ways
    sshd = OpenSsh(directory, onto)
    ways[SSH] = sshd.remote(port)
    ways[SSH_BOTH] = sshd.local(ways[SSH])
    return ways


def _inTurn(peers: list[str], number: int) -> list[str]:
    shift = number % len(peers)
    return peers[shift:] + peers[:shift]


def _result(name: str, peer: str, taken: dict[tuple[str, str], list[float]]) -> Result:
    figures, ours = taken[name, peer], taken[name, THING]
    ratio = None
    if peer != THING:
        ratio = statistics.median(a / b for a, b in zip(ours, figures, strict=True))
    unit = "MiB/s" if name.endswith(THROUGHPUT) else "µs CPU per MiB"
    return Result.of(name, peer, unit, figures, ratio)


class ReachOptions(Options):
    """The command line."""

    synopsis = "python benchmarks/reach.py [--quick] [--json FILE]"
    optFlags = [
        ["quick", None, "64 MiB each, three times, instead of 128 MiB nine times."],
        ["smoke", None, "Only see whether everything runs; the figures mean nothing."],
    ]
    optParameters = [["json", None, None, "Write all figures and verdicts to this file."]]


def main(arguments: list[str]) -> None:
    """
    Measure and print.

    :param arguments: the command line.
    """
    options = ReachOptions()
    command.parse(options, arguments)
    signal.alarm(LIFETIME)
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("it takes too long"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # What it started ends, too.
    size, rounds = (128, 9)
    if options["smoke"]:
        size, rounds = 1, 1
    elif options["quick"]:
        size, rounds = 64, 3
    about = run.machine()
    results = measure(size * MIB, rounds, command.tell)
    figures = Figures(results)
    verdicts = [goal.judge(figures) for goal in GOALS]
    print(run.table(results), goals.report(verdicts), sep="\n\n")
    what = {"mib": size, "rounds": rounds}
    command.write(options["json"], results, verdicts, machine=about, size=what)
    command.endBy(verdicts)


if __name__ == "__main__":
    main(sys.argv[1:])
