"""
How much a server takes on.

Who is turned away at them is decided by :mod:`~thing.core.door`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from thing.arguments import checkCount, checkNumber
from thing.core.endings import MAX_RETRY_AFTER

LIMITS_HIT = (
    "draining",
    "sessions",
    "sessions_per_address",
    "handshakes",
    "handshakes_per_address",
    "held",
    "connections",
)
"""
What connections are turned away for, and sessions ended; ``connections`` those that not even
hear why.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    How much a server takes on; a connection beyond is told ``SERVER_BUSY``, cheaply.

    Of handshakes beyond :attr:`handshakes` it is the oldest that has proved nothing that is
    turned away, and not the newest: an honest client is quick, and who holds handshakes open to
    keep others out is not.
    """

    sessions: int = 18000
    """How many sessions at once; with the handshakes, a process may open 20,000 files by custom."""

    sessionsPerAddress: int = 18000
    """How many of them from one network address, beside its handshakes."""

    handshakes: int = 1000
    """How many handshakes in progress at once; half as many if ``sessions`` are almost reached."""

    handshakesPerAddress: int = 250
    """How many of them from one network address."""

    held: int = 1 << 30
    """
    How many octets may wait in the memory for all sessions together, both ways: of messages that
    are not whole, data that nobody has taken, requests that are unanswered, and what is to be sent.
    By default 18,000 main streams may be full, and their windows have grown as far as they may.
    """

    puzzleAfter: int = 200
    """
    With so many key exchanges made in vain lately, in the last second or two, whoever begins
    another handshake must solve a puzzle first.
    """

    puzzleBits: int = 12
    """How hard it is then: 2 to the power of this many hashes, four times that at each doubling."""

    maxPuzzleBits: int = 18
    """How hard it gets at most; clients refuse more than 20 by default."""

    def __post_init__(self) -> None:
        """
        :raises TypeError: for a limit that is no number.
        :raises BadArgument: for one out of bounds.
        """
        for name in (
            *("sessions", "sessionsPerAddress", "handshakes", "handshakesPerAddress"),
            *("puzzleAfter", "puzzleBits", "maxPuzzleBits"),
        ):
            checkCount(name, getattr(self, name), 0)
        checkCount("held", self.held)
        checkCount("returnsPerSecond", self.returnsPerSecond)
        if self.retryAfter != 0:
            checkNumber("retryAfter", self.retryAfter)

    def difficulty(self, exchanges: float) -> int:
        """
        Decide how hard a puzzle to ask (specification, "Retry and puzzle").

        :param exchanges: how many key exchanges were made lately and led to no session.
        :return: bits; zero for no puzzle.
        """
        if exchanges < self.puzzleAfter:
            return 0
        doublings = math.log2(max(1.0, exchanges / max(1, self.puzzleAfter)))
        return min(self.puzzleBits + int(2 * doublings), self.maxPuzzleBits)

    retryAfter: float = 5.0
    """How long a client that is turned away should wait, seconds; up to twice that, at random."""

    returnsPerSecond: int = 500
    """
    How many of the clients that are sent away in one moment may come back in one second; so many
    handshakes must be in the server's reach.
    """

    def spread(self, leaving: int, retryAfter: float) -> float:
        """
        Decide how far apart the clients come back that are sent away in one moment.

        It is ``max(retryAfter, leaving / returnsPerSecond)``, or less if the last
        of them would else be asked for more than any client heeds.

        :param leaving: how many they are.
        :param retryAfter: how long the first of them stays away, seconds.
        :return: how much later the last may come back, seconds.
        """
        spread = max(retryAfter, leaving / self.returnsPerSecond)
        return max(0.0, min(spread, MAX_RETRY_AFTER - retryAfter))
