"""A reach that is over is freed by reference counting alone, as a session is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.fleet.reaching import ReachCase
from tests.leftovers import collectorOff


class FreedTests(ReachCase):
    """Reaches that end while both sessions go on."""

    def assertFreed(self, end: Callable[[Any, Any], object]) -> None:
        """Reaches that end so leave nothing for the collector."""
        _, maker = self.thing()
        operator = self.operator()

        def reach() -> None:
            near = self.opened(operator)
            self.settle()
            near.transport.write(b"x")
            self.settle()
            end(near, maker.made.pop())
            self.settle()
            self.advance(1)
            self.assertEqual(self.reaches.open, [])

        reach()  # What is made once for all is made.
        with collectorOff() as left:
            for _ in range(3):
                reach()
        self.assertEqual(dict(left), {})

    def test_operatorCloses(self) -> None:
        """The operator's program closes."""
        self.assertFreed(lambda near, _: near.transport.loseConnection())

    def test_serviceCloses(self) -> None:
        """The service does."""
        self.assertFreed(lambda _, far: far.transport.loseConnection())

    def test_cut(self) -> None:
        """The operator's stream is cut."""
        self.assertFreed(lambda near, _: near.transport.abortConnection())

    def test_ended(self) -> None:
        """Somebody ends it."""
        self.assertFreed(lambda *_: self.reaches.end(self.reaches.open[0].asked.id))
