"""Whether the benchmarks run; how fast anything is, is not for a test to say."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

RUN = Path(__file__).resolve().parent.parent / "benchmarks" / "run.py"

AFTER_HANDSHAKE = {"Thing", "TLS", "TCP"}

ALL = AFTER_HANDSHAKE | {
    *("Thing, ML-KEM", "Thing, resumed"),
    *("TLS, ML-KEM", "TLS, P-256", "TLS, server only"),
}

PEERS = {
    "handshake": ALL,
    "heartbeat, fleet": AFTER_HANDSHAKE,
    "heartbeat, single": AFTER_HANDSHAKE,
    "server to client": AFTER_HANDSHAKE,
    "client to server": AFTER_HANDSHAKE,
    "idle session": AFTER_HANDSHAKE,
    "idle session, Python": AFTER_HANDSHAKE,
    "handshake latency": ALL,
}


class BenchmarkTests(TestCase):
    """One run of the smallest size."""

    def measure(self) -> tuple[str, list[dict[str, Any]]]:
        """Run the command; return what it printed and the results that it wrote."""
        report = Path(self.mktemp())
        done = subprocess.run(
            [sys.executable, str(RUN), "--smoke", "--json", str(report)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, json.loads(report.read_text())["results"]

    def test_everyWorkloadMeasuresEveryPeer(self) -> None:
        """Each workload yields a positive figure for each of its peers, and all are printed."""
        printed, results = self.measure()
        peers: dict[str, set[str]] = {}
        for result in results:
            peers.setdefault(result["workload"], set()).add(result["peer"])
            self.assertGreater(min(result["rounds"]), 0, result)
            self.assertGreater(result["median"], 0, result)
            if not result["peer"].startswith("Thing"):
                self.assertGreater(result["ratio"], 0, result)
        self.assertEqual(peers, PEERS)
        for name in (*PEERS, *ALL):
            self.assertIn(name, printed)

    def test_unknownOption(self) -> None:
        """An option that does not exist is refused with the usage, before anything is measured."""
        done = subprocess.run(
            [sys.executable, str(RUN), "--quickly"], capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("python benchmarks/run.py [--quick] [--json FILE]", done.stderr)
