"""
How long Python's collector and whatever else hold ``twistd thing`` up while sessions come and go.

Run from anywhere::

    python benchmarks/churn.py [--minutes N] [--sessions N] [--rate N] [--json FILE]

By default 18,000 sessions with a TTL of 30 seconds beat for ten minutes, and 200 a second of them
say goodbye while as many others come. What is asked is the server itself, for its own metrics:
``thing_gc_pause_seconds`` and ``thing_event_loop_lag_seconds``. The opening takes another minute.
The exit status is 1 if a goal was missed.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
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
from goals import CHURN, LAGS, LOST_IN_CHURN, PAUSES
from processes import freePort, python, untilListening
from startup import TWISTD
from survivors import PROCESSES

SPARE = 250
"""How many more things each process of clients has: who comes may be faster than who goes."""

LONGEST_PAUSE, LONGEST_LAG = 0.02, 0.1
"""What is counted is longer than this, seconds; each is a bound of the metric's buckets."""

ASKING = 5.0
"""How often the processes are asked, seconds; left alone they would end."""


@dataclass(frozen=True)
class Plan:
    """How large a run is."""

    sessions: int
    seconds: float
    ttl: float
    rate: float


class Metrics:
    """What the server says of itself."""

    def __init__(self, port: int) -> None:
        """:param port: of its status."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            self._text = answer.read().decode()

    def figure(self, name: str) -> float:
        """
        Look one up.

        :param name: of the sample, with its labels as they are written.
        :return: its value.
        :raises KeyError: if it is not there.
        """
        found = re.search(rf"^{re.escape(name)} (\S+)$", self._text, re.MULTILINE)
        if found is None:
            raise KeyError(name)
        return float(found[1])

    def total(self, name: str, label: str) -> float:
        """
        Add samples up.

        :param name: of the metric.
        :param label: what they have in common, as it is written.
        :return: the sum of their values.
        """
        samples = re.findall(rf"^{name}{{([^}}]*)}} (\S+)$", self._text, re.MULTILINE)
        return sum(float(value) for labels, value in samples if label in labels.split(","))

    def longer(self, histogram: str, seconds: float) -> float:
        """
        Count what took long.

        :param histogram: the metric.
        :param seconds: one of its bounds.
        :return: how many took longer.
        """
        within = self.figure(f'{histogram}_bucket{{le="{seconds:g}"}}')
        return self.figure(f"{histogram}_count") - within


def run(plan: Plan, directory: Path, tell: Callable[[str], object]) -> dict[str, tuple[str, float]]:
    """
    Have all sessions come, some go, and count.

    :param plan: how many, how long.
    :param directory: for the credentials; empty, and for this user's eyes only.
    :param tell: is told what is being done.
    :return: by name, what is reported: the unit and the figure.
    """
    share = plan.sessions // PROCESSES
    things = PROCESSES * (share + SPARE)
    credentials.create(directory, things)
    with ExitStack() as onto:
        port, status = freePort(), freePort()
        python(
            onto,
            directory / "server.log",
            *("-c", TWISTD, "--nodaemon", "--pidfile=", f"--logfile={directory}/twistd.log"),
            *("thing", "--port", f"tcp:{port}:interface=127.0.0.1", "--status", str(status)),
            *("--identity", f"{directory}/thing-server", "--ttl", f"{plan.ttl:g}"),
            *("--authorized", f"{directory}/authorized"),
            *("--max-sessions", str(things)),
        )
        untilListening(port)
        untilListening(status)
        camps = survivors.camps(directory, share + SPARE, onto)
        for camp in camps:
            camp.tell(json.dumps(["open", {"port": port, "count": share}]))
        tell(f"{sum(camp.answer() for camp in camps)} sessions are up")
        for camp in camps:
            camp.ask(json.dumps(["turnOver", {"rate": plan.rate / PROCESSES}]))
        before, begun = Metrics(status), time.monotonic()
        while (left := begun + plan.seconds - time.monotonic()) > 0:
            time.sleep(min(ASKING, left))
            books = [camp.ask('["books", {}]') for camp in camps]
        after = Metrics(status)
    return _figures(plan, before, after, books)


def _figures(
    plan: Plan, before: Metrics, after: Metrics, books: list[dict[str, Any]]
) -> dict[str, tuple[str, float]]:
    """What became of it."""
    pause, lag = "thing_gc_pause_seconds", "thing_event_loop_lag_seconds"

    def grown(figure: Callable[[Metrics], float]) -> float:
        return figure(after) - figure(before)

    looks = grown(lambda each: each.figure(f"{pause}_count"))
    spent = grown(lambda each: each.figure(f"{pause}_sum"))
    return {
        LOST_IN_CHURN: ("sessions", float(sum(len(each["lost"]) for each in books))),
        PAUSES: ("times", grown(lambda each: each.longer(pause, LONGEST_PAUSE))),
        LAGS: ("times", grown(lambda each: each.longer(lag, LONGEST_LAG))),
        "sessions that came and went": ("sessions", float(sum(each["parted"] for each in books))),
        "sessions at the end": ("sessions", float(sum(each["up"] for each in books))),
        "pauses of the collector": ("times", looks),
        "one of them, on average": ("ms", spent / looks * 1000 if looks else 0.0),
        "looks at the loop's lag": ("times", grown(lambda each: each.figure(f"{lag}_count"))),
        "the slowest heartbeat": ("seconds", max(each["slowest"] for each in books)),
    }


class ChurnOptions(Options):
    """The command line."""

    synopsis = "python benchmarks/churn.py [--minutes N] [--sessions N] [--rate N] [--json FILE]"
    optParameters = [
        ["minutes", None, 10.0, "How long it lasts.", float],
        ["sessions", None, 18_000, "How many sessions.", int],
        ["ttl", None, 30.0, "The TTL, seconds.", float],
        ["rate", None, 200.0, "How many come and go a second.", float],
        ["json", None, None, "Write the figures and verdicts to this file."],
    ]


def main(arguments: list[str]) -> None:
    """
    Measure and print.

    :param arguments: the command line.
    """
    options = ChurnOptions()
    command.parse(options, arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # What it started ends, too.
    plan = Plan(
        options["sessions"] // PROCESSES * PROCESSES,
        options["minutes"] * 60,
        options["ttl"],
        options["rate"],
    )
    with tempfile.TemporaryDirectory(prefix="thing-benchmark-") as name:
        figures = run(plan, Path(name), command.tell)
    results = command.counted(CHURN, figures)
    verdicts = [each for each in goals.judge(results) if each.met is not None]
    print(command.listing(results), goals.report(verdicts), sep="\n\n")
    command.write(options["json"], results, verdicts, plan=asdict(plan))
    command.endBy(verdicts)


if __name__ == "__main__":
    main(sys.argv[1:])
