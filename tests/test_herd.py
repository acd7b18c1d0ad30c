"""What comes back to a server that was restarted, by the policies that real clients have."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT
from thing import Limits

HERD = PROJECT / "benchmarks" / "herd.py"
HOWTO = PROJECT / "docs" / "howto-upgrade.rst"

THINGS = 10_000


def loadHerd() -> Any:
    """The simulation of the benchmarks."""
    specification = importlib.util.spec_from_file_location("herd_of_benchmarks", HERD)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


class RestartTests(SynchronousTestCase):
    """Ten thousand things, and a server that completes 400 handshakes a second."""

    def setUp(self) -> None:
        path = list(sys.path)
        self.herd = loadHerd()
        sys.path[:] = path
        self.policy = self.herd.POLICIES["Thing"]

    def drained(self, limits: Limits, things: int = THINGS) -> Any:
        """What an orderly restart brings about."""
        farewell = self.herd.drained(things, limits)
        curve = self.herd.simulate(things, self.policy, farewell)
        self.assertEqual(sum(curve.back.values()), things)
        return curve

    def test_figures(self) -> None:
        """The documentation has these figures."""
        rows = HOWTO.read_text().partition("all back after\n")[2].partition("\n\n")[0]
        figures = [int(number) for number in re.findall(r"(?m)^     - (\d+)(?: s)?$", rows)]
        found: list[int] = []
        for things, rate in ((2500, 500), (THINGS, 500), (THINGS, 100)):
            curve = self.drained(Limits(returnsPerSecond=rate), things)
            found += [max(curve.arrivals.values()), math.ceil(curve.last)]
        self.assertEqual(figures, found)

    def test_drained(self) -> None:
        """After an orderly restart no more come in a second than was chosen, and all get in."""
        limits = Limits()
        curve = self.drained(limits)
        self.assertEqual(limits.returnsPerSecond, 500)
        self.assertLessEqual(max(curve.arrivals.values()), limits.returnsPerSecond)
        self.assertEqual((curve.turnedAway, curve.refused), (0, 0))
        # Each client waits as long as it is asked to, or by its own chance up to twice that.
        longest = limits.retryAfter + limits.spread(THINGS, limits.retryAfter)
        self.assertLess(curve.last, 2 * longest)

    def test_chosen(self) -> None:
        """A slower machine asks for fewer, and gets fewer, but for what chance does in a second."""
        curve = self.drained(Limits(returnsPerSecond=100))
        self.assertLessEqual(max(curve.arrivals.values()), 100 + 4 * math.sqrt(100))
        self.assertEqual(curve.turnedAway, 0)

    def test_withoutSpread(self) -> None:
        """Without regard to their number they would be a herd: the simulation can tell."""
        curve = self.drained(Limits(returnsPerSecond=10**9))
        self.assertGreater(max(curve.arrivals.values()), 900)
        self.assertGreater(curve.turnedAway, 1000)

    def test_killed(self) -> None:
        """
        After a crash nobody told them anything: their own chance holds them apart.

        The gate turns away a part of the first rush, which costs it next to nothing.
        """
        curve = self.herd.simulate(THINGS, self.policy)
        self.assertEqual(sum(curve.back.values()), THINGS)
        self.assertLess(max(curve.arrivals.values()), THINGS * 0.15)
        self.assertLess(curve.turnedAway, THINGS / 2)
