"""
What ``thing ping`` does: it prints heartbeats and their summary.

When heartbeats are due is decided by the core.
"""

from __future__ import annotations

import math

from thing.cli.exits import CommandError
from thing.cli.output import ReaderGone, write
from thing.cli.session import CommandProtocol
from thing.events import Termination

__all__ = ["Pinger", "Statistics"]


class Statistics:
    """
    What is known of the round-trip times, without keeping them.

    :ivar count: how many there were.
    :ivar smallest: the shortest, seconds.
    :ivar largest: the longest, seconds.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.count = 0
        self.smallest = math.inf
        self.largest = 0.0
        self._mean = 0.0
        self._squares = 0.0

    def add(self, value: float) -> None:
        """
        Count one more (Welford's method, which does not lose small deviations).

        :param value: the round-trip time, seconds.
        """
        self.count += 1
        self.smallest = min(self.smallest, value)
        self.largest = max(self.largest, value)
        delta = value - self._mean
        self._mean += delta / self.count
        self._squares += delta * (value - self._mean)

    def __str__(self) -> str:
        """The line that ping prints, in milliseconds."""
        deviation = math.sqrt(self._squares / self.count) if self.count else 0.0
        values = (self.smallest, self._mean, self.largest, deviation)
        numbers = "/".join(f"{value * 1000:.3f}" for value in values)
        return f"rtt min/avg/max/mdev = {numbers} ms"


class Pinger(CommandProtocol):
    """A session that only beats."""

    def __init__(self, target: str, verbose: bool, count: int | None) -> None:
        """
        :param target: the server, as the user named it.
        :param verbose: whether to report on standard error.
        :param count: after how many acknowledgements to say goodbye; None for never.
        """
        super().__init__(verbose)
        self._target = target
        self._count = count
        self._sent = 0
        self._times = Statistics()
        self._began = 0.0

    def handshakeCompleted(self) -> None:
        """Print the first line."""
        super().handshakeCompleted()
        session = self.session
        assert session is not None, "the handshake made a session"
        self._began = self.factory.clock.seconds()
        self._print(
            f"PING {self._target} ({session.peer.fingerprint or session.peer}): "
            f"handshake={self.handshakeTime() * 1000:.2f} ms, "
            f"TTL {session.ttl:g} s, a beat every {session.interval:g} s"
        )

    def heartbeatSent(self, sequence: int) -> None:
        """
        Count a heartbeat.

        :param sequence: its number, from one.
        """
        self._sent = sequence

    def heartbeatAcknowledged(self, sequence: int, roundTripTime: float) -> None:
        """
        Print a heartbeat.

        :param sequence: its number.
        :param roundTripTime: from heartbeat to acknowledgement, seconds.
        """
        self._times.add(roundTripTime)
        self._print(f"beat={sequence} time={roundTripTime * 1000:.2f} ms")
        if self._times.count == self._count:
            self.leave()

    def heartbeatLate(self, silence: float) -> None:
        """
        Print that an acknowledgement is overdue.

        :param silence: since the last one, seconds.
        """
        self._print(f"beat={self._sent} late: {silence:.1f} s since the last acknowledgement")

    def terminated(self, termination: Termination) -> None:
        """
        Print the summary.

        :param termination: how the session ended.
        """
        super().terminated(termination)
        if self.session is None:
            return
        took = (self.factory.clock.seconds() - self._began) * 1000
        lost = 100 * (self._sent - self._times.count) / max(self._sent, 1)
        self._print(f"\n--- {self._target} heartbeat statistics ---")
        self._print(
            f"{self._sent} sent, {self._times.count} acknowledged, "
            f"{lost:.3g}% loss, time {took:.0f} ms"
        )
        if self._times.count:
            self._print(str(self._times))

    def _print(self, line: str) -> None:
        """Print a line; if that cannot be done, leave."""
        try:
            write([line])
        except ReaderGone:
            if self.termination is None:
                self.leave()
        except CommandError as error:
            self.fail(error.message)
