"""
Many sessions on a server that stalls: who should live does, and who froze is found in time.

Run from anywhere::

    python benchmarks/endurance.py [--minutes N] [--sessions N] [--json FILE]

By default 18,000 sessions with a TTL of 30 seconds beat for ten minutes, while the server
stands still for two seconds, every twenty seconds on average, and 200 sessions freeze one by
one: their clients neither beat nor read any more, and their streams stay open. The opening and
the end take another two minutes. The exit status is 1 if a goal was missed.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twisted.python.usage import Options

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import command
import credentials
import goals
import survivors
from goals import ENDURANCE, FOUND_LATE, FOUND_LATE_GRACED, FOUND_LATE_RUNNING, LOST_ALIVE
from processes import HERE, Child
from survivors import PROCESSES

TOLERANCE = 1.0
"""How long after its TTL a frozen session is to be found at the latest, seconds."""


@dataclass(frozen=True)
class Plan:
    """How large a run is."""

    sessions: int
    seconds: float
    ttl: float
    stall: float
    every: float
    frozen: int
    seed: int = 1


@dataclass(frozen=True)
class Outcome:
    """What became of the sessions."""

    lost: list[tuple[str, str]]
    """Those that ended and should not have: which, and why."""
    late: list[tuple[float, float]]
    """
    For each frozen session that was found: how long after its TTL, and for how much of that
    time the server stood still, seconds.
    """
    missing: int
    """How many frozen sessions were not found at all."""
    stalls: int
    beats: int
    slowest: float
    """The longest time from heartbeat to acknowledgement, seconds."""
    latest: float
    """How late a timer of the server came at most, but for the stalls, seconds."""

    def figures(self) -> dict[str, tuple[str, float]]:
        """:return: by name, what is reported: the unit and the figure."""
        found = [seconds for seconds, _ in self.late]
        running = [seconds - still for seconds, still in self.late]
        graced = [seconds - 2 * still for seconds, still in self.late]  # A grace is as long again.
        return {
            LOST_ALIVE: ("sessions", float(len(self.lost))),
            FOUND_LATE: ("sessions", float(self._tooLate(found))),
            FOUND_LATE_RUNNING: ("sessions", float(self._tooLate(running))),
            FOUND_LATE_GRACED: ("sessions", float(self._tooLate(graced))),
            "frozen sessions": ("sessions", float(len(self.late) + self.missing)),
            "the last found after its TTL": ("seconds", max(found, default=0.0)),
            "the same without stalls": ("seconds", max(running, default=0.0)),
            "the same without grace": ("seconds", max(graced, default=0.0)),
            "stalls": ("times", float(self.stalls)),
            "heartbeats": ("times", float(self.beats)),
            "the slowest heartbeat": ("seconds", self.slowest),
            "the latest timer, but for stalls": ("seconds", self.latest),
        }

    def _tooLate(self, late: list[float]) -> int:
        return self.missing + sum(seconds > TOLERANCE for seconds in late)


def run(plan: Plan, directory: Path) -> Outcome:
    """
    Have all sessions, and count.

    :param plan: how many, how long.
    :param directory: for the credentials; empty, and for this user's eyes only.
    :return: what became of them.
    """
    file, chance = str(HERE / "survivors.py"), random.Random(plan.seed)
    credentials.create(directory, plan.sessions)
    frozen = set()
    with ExitStack() as processes:
        times = map(str, (plan.ttl, plan.stall, plan.every, plan.seed))
        server = Child(file, "serve", str(directory), *times)
        processes.callback(server.stop)
        share = plan.sessions // PROCESSES
        camps = survivors.camps(directory, share, processes)
        port = server.ask("usage")["port"]
        for camp in camps:
            camp.tell(json.dumps(["open", {"port": port, "count": share}]))
        opened = sum(camp.answer() for camp in camps)
        command.tell(f"{opened} sessions are up")
        server.ask("stall")
        begun = time.monotonic()
        for number in range(plan.frozen):
            time.sleep(max(0.0, begun + number * plan.seconds / plan.frozen - time.monotonic()))
            frozen.add(chance.choice(camps).ask('["freeze", {}]'))
            server.ask("usage")
            for camp in camps:
                camp.ask('["books", {}]')  # Else they would end, left alone.
        server.ask("run")
        # Every deadline may be seen late by one stall, and has as much time again then.
        time.sleep(plan.ttl + 3 * plan.stall + 2 * TOLERANCE)
        books = [camp.ask('["books", {}]') for camp in camps]
        return judge(plan, frozen, server.ask("usage"), books)


def judge(
    plan: Plan, frozen: set[str], server: dict[str, Any], books: list[dict[str, Any]]
) -> Outcome:
    """
    Compare the books.

    :param plan: what was planned.
    :param frozen: the ids of the sessions that froze.
    :param server: what the server says.
    :param books: what the processes of clients say.
    :return: the outcome.
    """
    lost = [(name, reason) for each in books for name, reason in each["lost"]]
    known = {name for name, _ in lost}
    late, found = [], set()
    for name, cause, silence, still in server["ended"]:
        if name in frozen:
            found.add(name)
            late.append((silence - plan.ttl, still))
        elif name not in known:
            lost.append((name, f"the server: {cause}"))
    return Outcome(
        lost,
        late,
        len(frozen - found),
        server["stalls"],
        sum(each["beats"] for each in books),
        max(each["slowest"] for each in books),
        server["latest"],
    )


class EnduranceOptions(Options):
    """The command line."""

    synopsis = "python benchmarks/endurance.py [--minutes N] [--sessions N] [--json FILE]"
    optParameters = [
        ["minutes", None, 10.0, "How long it lasts.", float],
        ["sessions", None, 18_000, "How many sessions.", int],
        ["ttl", None, 30.0, "The TTL, seconds.", float],
        ["stall", None, 2.0, "How long the server stands still at a time, seconds.", float],
        ["every", None, 20.0, "How long it is from one stall to the next, seconds.", float],
        ["frozen", None, 200, "How many sessions freeze.", int],
        ["json", None, None, "Write the figures and verdicts to this file."],
    ]


def main(arguments: list[str]) -> None:
    """
    Measure and print.

    :param arguments: the command line.
    """
    options = EnduranceOptions()
    command.parse(options, arguments)
    plan = Plan(
        options["sessions"] // PROCESSES * PROCESSES,
        options["minutes"] * 60,
        options["ttl"],
        options["stall"],
        options["every"],
        options["frozen"],
    )
    with tempfile.TemporaryDirectory(prefix="thing-benchmark-") as name:
        outcome = run(plan, Path(name))
    results = command.counted(ENDURANCE, outcome.figures())
    verdicts = [each for each in goals.judge(results) if each.met is not None]
    print(command.listing(results), "", goals.report(verdicts), *outcome.lost[:20], sep="\n")
    command.write(options["json"], results, verdicts, plan=asdict(plan))
    command.endBy(verdicts)


if __name__ == "__main__":
    main(sys.argv[1:])
