"""Whether the flood can be measured; how well a server stands it is not for a test to say."""

import json
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests import PROJECT

FLOOD = PROJECT / "benchmarks" / "flood.py"


class FloodTests(TestCase):
    """One run of the smallest size."""

    if sys.platform != "linux":
        skip = "only Linux has all of 127.0.0.0/8 without being asked"

    def test_quick(self) -> None:
        """It runs and ends by itself; attackers got through, and all lines are there."""
        report = Path(self.mktemp())
        done = subprocess.run(
            [sys.executable, str(FLOOD), "--quick", "--json", str(report)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        results = json.loads(report.read_text())
        self.assertEqual(len(results), 2)
        for result in results:
            self.assertIn(result["cell"]["flood"], done.stdout)
            self.assertIn(result["cell"]["policy"], done.stdout)
            self.assertGreater(result["rate"], 0, result)
            self.assertGreater(result["cost"], 0, result)
            self.assertTrue(0 <= result["served"] <= 1, result)

    def test_unknownOption(self) -> None:
        """An option that does not exist is refused with the usage, before anything is flooded."""
        done = subprocess.run(
            [sys.executable, str(FLOOD), "--quickly"], capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("python benchmarks/flood.py [--quick] [--json FILE]", done.stderr)
