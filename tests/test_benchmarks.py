"""Whether the benchmarks run and judge rightly; how fast anything is, is not for a test to say."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from tests import PROJECT

BENCHMARKS = PROJECT / "benchmarks"
RUN = BENCHMARKS / "run.py"

sys.path.append(str(BENCHMARKS))  # Its modules are programs and what they share, and no package.

PLOTTED = importlib.util.find_spec("matplotlib") is not None

BROKER = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is not None

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is not None

REDIS = shutil.which("redis-server") is not None

THINGS = {"Thing", "Thing, with page"}

UP = (
    THINGS
    | {"TLS", "TLS, server only", "TCP"}
    | ({"mosquitto TLS", "mosquitto"} if BROKER else set())
)

ALL = (
    UP
    | {"Thing, ML-KEM", "Thing, resumed", "TLS, ML-KEM", "TLS, P-256", "TLS, RSA"}
    | ({"mosquitto TLS, RSA"} if BROKER else set())
)

BULK = {"Thing", "Thing, endpoint", "TLS", "TCP"}

BEHIND = {
    f"{direction}, {which}"
    for direction in ("server to client", "client to server")
    for which in ("usual", "worst")
}

PEERS = {
    "handshake": ALL,
    "heartbeat, fleet": UP,
    "heartbeat, single": UP,
    "heartbeat, crowd": {*THINGS, "TCP"},
    "server to client": BULK,
    "client to server": BULK,
    "idle session": UP,
    "idle session, Python": {*THINGS, "TLS", "TCP"},
    "handshake latency": ALL,
    "heartbeat behind data": BEHIND,
    "sessions lost behind data": {"Thing, endpoint"},
    "start of a command": {"twistd", "twistd thing"},
}

MAY_BE_ZERO = {"sessions lost behind data", "idle session"}
"""Of 100 sessions the machine may see nothing: memory comes in pages, and in more at once."""


def program(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the benchmarks to its end."""
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *arguments],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


class BenchmarkTests(TestCase):
    """One run of the smallest size."""

    timeout = 300

    def measure(self) -> tuple[str, dict[str, Any]]:
        """Run the command; return what it printed and what it wrote."""
        report, picture = Path(self.mktemp()), Path(self.mktemp()).with_suffix(".svg")
        plot = ["--plot", str(picture)] if PLOTTED else []
        done = program("run.py", "--smoke", "--json", str(report), *plot)
        self.assertEqual(done.returncode, 0, done.stderr)
        if PLOTTED:
            self.assertIn("</svg>", picture.read_text())
        return done.stdout, json.loads(report.read_text())

    def test_everyWorkloadMeasuresEveryPeer(self) -> None:
        """Each workload yields figures for each of its peers; all are printed, and judged."""
        printed, report = self.measure()
        peers: dict[str, set[str]] = {}
        for result in report["results"]:
            peers.setdefault(result["workload"], set()).add(result["peer"])
            if result["workload"] not in MAY_BE_ZERO:
                self.assertGreater(min(result["rounds"]), 0, result)
                self.assertGreater(result["median"], 0, result)
        self.assertEqual(peers, PEERS)
        for name in (*PEERS, *ALL, *BULK, *BEHIND):
            self.assertIn(name, printed)
        for verdict in report["goals"]:
            self.assertIn(verdict["goal"], printed)
            if verdict["figure"] is not None:
                self.assertIs(verdict["met"], verdict["figure"] <= verdict["limit"], verdict)

    def test_unknownOption(self) -> None:
        """An option that does not exist is refused with the usage, before anything is measured."""
        done = program("run.py", "--quickly")
        self.assertEqual(done.returncode, 1)
        self.assertIn("run.py [--quick] [--json FILE] [--plot FILE]", done.stderr)

    def test_endurance(self) -> None:
        """A short run counts each session that froze, the stalls and the heartbeats."""
        report = Path(self.mktemp())
        options = "--sessions 24 --minutes 0.06 --ttl 4 --stall 0.3 --every 0.5 --frozen 4"
        done = program("endurance.py", *options.split(), "--json", str(report))
        self.assertTrue(report.exists(), done.stderr)
        content = json.loads(report.read_text())
        figures = {each["peer"]: each["median"] for each in content["results"]}
        self.assertEqual(figures["frozen sessions"], 4)
        self.assertGreater(figures["heartbeats"], 0)
        self.assertGreater(figures["stalls"], 0)
        self.assertEqual(len(content["goals"]), 4)
        met = all(each["met"] for each in content["goals"])
        self.assertEqual(done.returncode, 0 if met else 1, done.stderr)

    def test_reach(self) -> None:
        """A short run measures a reach each way, beside ssh if sshd is there, and judges that."""
        report = Path(self.mktemp())
        done = program("reach.py", "--smoke", "--json", str(report))
        self.assertTrue(report.exists(), done.stderr)
        content = json.loads(report.read_text())
        self.assertEqual(
            {(each["workload"], each["peer"]) for each in content["results"]},
            {
                (f"reach {direction}, {what}", peer)
                for direction in ("to the thing", "from the thing")
                for what in ("server", "throughput")
                for peer in ("thing reach", *(("ssh -R", "ssh -R and -L") if SSHD else ()))
            },
        )
        for each in content["results"]:
            self.assertGreater(each["median"], 0, each)
        verdicts = {each["met"] for each in content["goals"]}
        self.assertEqual(None in verdicts, not SSHD)
        self.assertEqual(done.returncode, 1 if False in verdicts else 0, done.stderr)

    def test_churn(self) -> None:
        """A short run loses nobody, sees some go, and judges what the server says of itself."""
        report = Path(self.mktemp())
        options = "--sessions 24 --minutes 0.05 --rate 20"
        done = program("churn.py", *options.split(), "--json", str(report))
        self.assertTrue(report.exists(), done.stderr)
        content = json.loads(report.read_text())
        figures = {each["peer"]: each["median"] for each in content["results"]}
        self.assertEqual(figures["sessions lost while others come and go"], 0)
        self.assertGreater(figures["sessions that came and went"], 0)
        self.assertGreater(figures["pauses of the collector"], 0)
        self.assertEqual(len(content["goals"]), 3)
        met = all(each["met"] for each in content["goals"])
        self.assertEqual(done.returncode, 0 if met else 1, done.stderr)

    def test_latency(self) -> None:
        """A short run has each peer's quantiles, in order."""
        report = Path(self.mktemp())
        done = program("latency.py", "--smoke", "--json", str(report))
        self.assertEqual(done.returncode, 0, done.stderr)
        results = json.loads(report.read_text())["results"]
        for peer in ("Thing", "TLS", "TCP"):
            medians = [each["median"] for each in results if each["peer"] == peer]
            self.assertEqual(len(medians), 3)
            self.assertGreater(medians[0], 0)
            self.assertEqual(medians, sorted(medians))

    def test_reload(self) -> None:
        """Short lists are read: no turn is longer than all of them, and that is judged."""
        report = Path(self.mktemp())
        options = "--keys 500 --revoked 500 --rounds 2"
        done = program("reload.py", *options.split(), "--json", str(report))
        self.assertTrue(report.exists(), done.stderr)
        content = json.loads(report.read_text())
        wholes, longest = (
            {
                each["peer"]: each["rounds"]
                for each in content["results"]
                if each["workload"] == name
            }
            for name in ("long lists, in all", "long lists, the longest turn")
        )
        anew = ["keys in another order", "one more key"]
        read = ["keys at the start", *anew, "revoked certificates"]
        self.assertEqual((list(wholes), list(longest)), (read, read))
        for what in read:
            for whole, turn in zip(wholes[what], longest[what], strict=True):
                self.assertTrue(0 < turn <= whole, what)
        (verdict,) = content["goals"]
        self.assertEqual(verdict["figure"], max(max(longest[what]) for what in anew))
        self.assertEqual(done.returncode, 0 if verdict["met"] else 1, done.stderr)

    def test_processors(self) -> None:
        """A short run compares one process with two, and judges that."""
        if not REDIS:
            raise SkipTest("there is no redis-server")
        report = Path(self.mktemp())
        done = program("processors.py", "--smoke", "--json", str(report))
        self.assertTrue(report.exists(), done.stderr)
        content = json.loads(report.read_text())
        self.assertEqual(len(content["results"]), 6)
        for each in content["results"]:
            self.assertGreater(each["median"], 0, each)
        met = all(each["met"] for each in content["goals"])
        self.assertEqual(done.returncode, 0 if met else 1, done.stderr)

    def test_inMemory(self) -> None:
        """What callgrind counts runs to its end: no recorded client is refused."""
        done = program("instructions.py", "work")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_limitNeedsOthers(self) -> None:
        """A limit on what is higher, without anything to compare with, is refused at once."""
        done = program("instructions.py", "--limit", "3")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--limit needs --compare", done.stderr)

    def test_unknownKindIsNotProfiled(self) -> None:
        """To profile a kind of server that does not exist is refused with the usage."""
        done = program("profiles.py", "--kind", "nothing", self.mktemp())
        self.assertEqual(done.returncode, 1)
        self.assertIn("nothing is no kind of server", done.stderr)


class InstructionTests(SynchronousTestCase):
    """What became of the counts."""

    def risen(self, before: float, after: float) -> list[str]:
        """Compare two counts of one part, with a limit of 3 %."""
        from instructions import Counted

        old, new = (Counted({}, {"heartbeat": count}) for count in (before, after))
        return new.risenBy(0.03, old)

    def test_within(self) -> None:
        """A count may rise by less than the limit, and fall as it likes."""
        self.assertEqual(self.risen(1000.0, 1029.0), [])
        self.assertEqual(self.risen(1000.0, 500.0), [])

    def test_beyond(self) -> None:
        """What rises by more is named."""
        self.assertEqual(self.risen(1000.0, 1031.0), ["heartbeat"])

    def test_new(self) -> None:
        """What was not counted before cannot have risen."""
        from instructions import Counted

        new = Counted({}, {"heartbeat": 1000.0})
        self.assertEqual(new.risenBy(0.03, Counted({}, {})), [])

    def test_kept(self) -> None:
        """The repository has a count for each part, and with what it was counted."""
        from instructions import PARTS, versions

        kept = json.loads((BENCHMARKS / "results" / "instructions.json").read_text())
        self.assertEqual(list(kept["counts"]), [part.name for part in PARTS])
        self.assertEqual(list(kept["versions"]), list(versions()))


class GoalTests(SynchronousTestCase):
    """The verdict on each goal."""

    def judge(self, **peers: list[float]) -> Any:
        """The verdict on Thing's single heartbeats compared with those of TCP."""
        import goals
        from measure import Result

        results = [
            Result.of("heartbeat, single", peer, "µs", rounds) for peer, rounds in peers.items()
        ]
        (verdict,) = (
            each for each in goals.judge(results) if each.goal == "heartbeat, single: Thing / TCP"
        )
        return verdict

    def test_met(self) -> None:
        """A goal is met by the median of the rounds' ratios, and not by the ratio of medians."""
        verdict = self.judge(Thing=[10.0, 100.0, 33.0], TCP=[10.0, 100.0, 30.0])
        self.assertEqual((verdict.figure, verdict.met), (1.0, True))

    def test_missed(self) -> None:
        """A figure above the limit is a miss, and is called one."""
        verdict = self.judge(Thing=[14.0], TCP=[10.0])
        self.assertEqual((verdict.figure, verdict.met, verdict.word), (1.4, False, "MISSED"))

    def test_notMeasured(self) -> None:
        """Without the other peer a goal is neither met nor missed, and all the same reported."""
        import goals

        verdict = self.judge(Thing=[12.0])
        self.assertEqual((verdict.figure, verdict.met), (None, None))
        self.assertIn("not measured", goals.report([verdict]))


class BooksTests(SynchronousTestCase):
    """What the long run makes of the server's and the clients' books."""

    def judge(self, ended: list[tuple[str, str, float, float]], lost: list[Any]) -> Any:
        """The outcome when the sessions called frozen and other froze, with a TTL of 30."""
        import endurance

        plan = endurance.Plan(sessions=4, seconds=1, ttl=30, stall=2, every=20, frozen=2)
        return endurance.judge(
            plan,
            {"frozen", "other"},
            {"ended": ended, "stalls": 3, "latest": 0.0},
            [{"lost": lost, "beats": 5, "slowest": 0.1}, {"lost": [], "beats": 6, "slowest": 0.2}],
        )

    def test_foundInTime(self) -> None:
        """A frozen session that is found in time is no miss; one not found at all is."""
        figures = self.judge([("frozen", "FLAT_LINED", 30.5, 0.0)], []).figures()
        self.assertEqual(figures["frozen sessions found after TTL + 1 s"][1], 1)
        self.assertEqual(figures["the last found after its TTL"][1], 0.5)
        self.assertEqual(figures["frozen sessions"][1], 2)
        self.assertEqual(figures["heartbeats"][1], 11)
        self.assertEqual(figures["the slowest heartbeat"][1], 0.2)

    def test_stallsAreLeftOutOnce(self) -> None:
        """Found late because the server stood still counts as late, but not in the second count."""
        figures = self.judge(
            [("frozen", "FLAT_LINED", 32.5, 2.0), ("other", "FLAT_LINED", 30.0, 0.0)], []
        ).figures()
        self.assertEqual(figures["frozen sessions found after TTL + 1 s"][1], 1)
        self.assertEqual(figures["the same, time of the server's stalls left out"][1], 0)

    def test_grace(self) -> None:
        """Found late because of the grace that a stall earns counts in the first two."""
        ended = [("frozen", "FLAT_LINED", 33.5, 1.5), ("other", "FLAT_LINED", 30.0, 0.0)]
        figures = self.judge(ended, []).figures()
        for name, count in (
            ("frozen sessions found after TTL + 1 s", 1),
            ("the same, time of the server's stalls left out", 1),
            ("the same, the grace for them left out, too", 0),
        ):
            self.assertEqual(figures[name][1], count, name)

    def test_lost(self) -> None:
        """A session that should live is lost once, whichever side says so, or both."""
        outcome = self.judge(
            [("alive", "FLAT_LINED", 30.0, 0.0), ("another", "FLAT_LINED", 30.0, 0.0)],
            [("alive", "flat-lined")],
        )
        self.assertEqual(sorted(name for name, _ in outcome.lost), ["alive", "another"])


class ReadingTests(SynchronousTestCase):
    """What is made of the output of other programs."""

    def test_strace(self) -> None:
        """The calls are taken from strace's summary, with errors or without, but not their sum."""
        import floor

        summary = (
            "% time     seconds  usecs/call     calls    errors syscall\n"
            "------ ----------- ----------- --------- --------- ----------------\n"
            " 50.00    0.000010           5         2           sendto\n"
            " 50.00    0.000010           5         4         1 recvfrom\n"
            "------ ----------- ----------- --------- --------- ----------------\n"
            "100.00    0.000020           3         6         1 total\n"
        )
        self.assertEqual(floor.parse(summary), Counter(sendto=2, recvfrom=4))

    def test_stacks(self) -> None:
        """What is above the reactor's loop is cut off, and what only waits is left out."""
        import flames

        raw = (
            "run (a.py:1);mainLoop (b.py:2);work (c.py:3);send (d.py:4) 3\n"
            "run (a.py:1);mainLoop (b.py:2);work (c.py:3) 1\n"
            "thread (e.py:5);watch (f.py:6) 9\n"
        )
        stacks = flames.parse(raw, "mainLoop", "watch")
        self.assertEqual(stacks, {("work (c.py)", "send (d.py)"): 3, ("work (c.py)",): 1})
        self.assertIn("  25.0%  100.0%  work (c.py)", flames.functions(stacks, 5))
        self.assertIn("send (d.py): 75.0%", flames.draw(stacks, "title"))


class MachineTests(SynchronousTestCase):
    """What is told of the machine."""

    def test_kernel(self) -> None:
        """Its system's version, and not what somebody called a build of it."""
        import run

        self.patch(run.platform, "release", lambda: "6.18.44-cloud-v7")
        self.assertEqual(run.machine()["system"].split()[1], "6.18")


class PageTests(SynchronousTestCase):
    """docs/performance.rst, and what another page has of it."""

    def test_figuresAreThoseOfTheFiles(self) -> None:
        """The pages show exactly what is in the committed files."""
        done = subprocess.run(
            [sys.executable, str(PROJECT / "docs" / "figures.py"), "--check"],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            check=False,
        )
        self.assertEqual(done.returncode, 0)
