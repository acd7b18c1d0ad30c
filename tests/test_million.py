"""The model of a million things, and what docs/scaling.rst prints of it."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT
from thing import Limits
from thing.core.backoff import BASE
from thing.core.heartbeat import BEATS_PER_TTL, TtlPolicy
from thing.fleet.redis.admission import ADMISSION_TIME
from thing.fleet.redis.connection import ANSWER_TIME
from thing.fleet.redis.keeper import LEASE
from thing.fleet.redis.outbox import WINDOW
from thing.fleet.redis.script import MOST_FED

COSTS = PROJECT / "benchmarks" / "million.json"
PAGE = PROJECT / "docs" / "scaling.rst"
BALANCER = PROJECT / "docs" / "examples" / "operating" / "haproxy.cfg"

PATIENCE = 400.0
"""How long a run may take, seconds: the machine may be slow, and busy."""


def run(*options: str, fails: bool = False) -> str:
    """What the command prints, or says when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.million", *options],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if (done.returncode != 0) is not fails:
        raise AssertionError(f"{done.returncode}: {done.stderr}")
    return done.stderr if fails else done.stdout


def section() -> tuple[str, str]:
    """What the page says of a million things: the text without the table, and the table."""
    text = PAGE.read_text().partition("\nA million things\n")[2]
    before, table, after = re.split(r"(?m)((?:^    Measured on: .*\n)(?:^(?:    .*)?\n)+)", text)
    return before + after, re.sub("(?m)^    ", "", table).rstrip() + "\n"


def column(printed: str, nodes: str) -> list[str]:
    """What each line says of one fleet, with its label; lines without figures as they are."""
    lines, place = [], None
    for line in printed.splitlines():
        if heads := re.findall(r"\d+(?= nodes(?: {2}|$))", line):
            place = heads.index(nodes)
        # What breaks first has paragraphs, and not columns.
        if line == "What breaks first":
            break
        label, *figures = re.split(r" {2,}", line.rstrip().removeprefix("  "))
        lines.append(label if place is None or not figures else f"{label}: {figures[place]}")
    return lines


class PageTests(SynchronousTestCase):
    """docs/scaling.rst, "A million things"."""

    def test_simulated(self) -> None:
        """The page shows what is printed with the documented costs: a fleet of sixty nodes."""
        shown = column(section()[1], "60")
        self.assertGreater(len(shown), 100)
        printed = run("--reference", "--nodes", "60")
        self.assertEqual(column(printed, "60"), shown)
        self.assertIn(printed.partition("What breaks first\n")[2], section()[1])

    def test_calculated(self) -> None:
        """All that is not simulated is as it is printed, for every fleet on the page."""
        shown = section()[1].splitlines()
        for line in run("--reference", "--paper").splitlines():
            self.assertIn(line, shown)

    def test_figures(self) -> None:
        """Every figure in the text is one of the table, or a limit of the code."""
        text, table = section()
        limits, policy = Limits(), TtlPolicy()
        connections = int(re.findall(r"(?m)^ +maxconn (\d+)$", BALANCER.read_text())[0])
        needed = math.ceil(1e6 / limits.sessions)
        known = {
            *(f"{each:,}" for each in (limits.sessions, limits.handshakes, MOST_FED, WINDOW)),
            *(f"{each:g}" for each in (limits.returnsPerSecond, BEATS_PER_TTL, LEASE, BASE)),
            *(f"{each:g}" for each in (ADMISSION_TIME, ANSWER_TIME)),
            *(f"{policy.beatsPerSecond:,.0f}", f"{policy.maximum:g}", f"{policy.default:g}"),
            *(str(needed), str(needed + 1), f"{connections:,}", str(-(-1000000 // connections))),
            f"{LEASE / 3 * 0.875:.1f}",
            f"{1 - limits.retryAfter / BASE + math.log(1 + limits.retryAfter / BASE):.2f}",
        }
        figures = r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?"
        known |= {*re.findall(figures, table), *self.habits()}
        self.assertEqual(set(re.findall(figures, text)) - known, {"1000000"})

    def habits(self) -> set[str]:
        """What is assumed."""
        habits = (PROJECT / "benchmarks" / "fleetmodel.py").read_text()
        found = re.findall(r"(?m)^    \w+: (?:float|int) = ([\d.]+)( \* 2\*\*30|e6)?$", habits)
        self.assertEqual(len(found), 7)
        return {f"{float(figure) * (8 / 1000 if unit == 'e6' else 1):g}" for figure, unit in found}

    def test_breaksFirst(self) -> None:
        """What breaks first has the least of all that a fleet lasts for."""
        table = run("--reference", "--paper", "--nodes", "60")
        lasting = table.partition("millions of things it lasts\n")[2].partition("\n\n")[0]
        least = min(
            (float(line.split()[-1]), line.rpartition("  ")[0].strip())
            for line in lasting.splitlines()
            if not line.endswith("more")
        )
        self.assertIn(f"on 60 nodes: {least[1]},", table)
        self.assertEqual(f"{least[0]:.2f}", f"{Limits().sessions * 59 / 1e6:.2f}")


class CommandTests(SynchronousTestCase):
    """python -m benchmarks.million"""

    def test_measures(self) -> None:
        """All costs are measured, with a Redis if there is one, and kept for another time."""
        saved = Path(self.mktemp()).resolve()
        without = () if shutil.which("redis-server") else ("--no-redis",)
        few = ("--things", "1000", "--nodes", "2")
        printed = run(*few, "--save", str(saved), *without)
        self.assertIn("What breaks first", printed)
        costs = json.loads(saved.read_text())
        self.assertEqual(costs.keys(), json.loads(COSTS.read_text()).keys())
        machine = costs.pop("machine")
        self.assertIn("Python", machine)
        self.assertGreater(min(costs.values()), 0, costs)
        again = run(*few, "--reference", "--costs", str(saved))
        self.assertEqual(again, printed)

    def test_chance(self) -> None:
        """Another seed has other chances; the same has the same."""
        few = ("--reference", "--things", "2000", "--nodes", "4")
        self.assertEqual(run(*few), run(*few, "--seed", "1"))
        self.assertNotEqual(run(*few), run(*few, "--seed", "2"))

    def test_refused(self) -> None:
        """What makes no sense is refused before anything is measured."""
        broken = Path(self.mktemp())
        broken.write_text('{"beat": 1}')
        for options, said in (
            (("--nodes", "1"), "--nodes must be from 2"),
            (("--things", "10"), "--things must be from ten a node"),
            (("--costs", str(broken.resolve())), "it must be an object with"),
            (("--costs", "nowhere.json"), "nowhere.json"),
        ):
            self.assertIn(said, run(*options, fails=True))

    def test_costsOutOfBounds(self) -> None:
        """Costs that are no positive numbers are refused."""
        costs = json.loads(COSTS.read_text())
        for value in (0, -1, "much"):
            bad = Path(self.mktemp()).resolve()
            bad.write_text(json.dumps(costs | {"beat": value}))
            self.assertIn("beat must be", run("--reference", "--costs", str(bad), fails=True))
