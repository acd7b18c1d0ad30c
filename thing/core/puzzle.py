"""
The client puzzle: work asked of a stranger before any is done for it.

Specification, "Retry and puzzle". The construction is Hashcash's (Back, 1997),
sent as TLS 1.3 sends HelloRetryRequest: find a number that gives a hash with
so many leading zero bits. The check costs one hash.
"""

from __future__ import annotations

import hashlib

from thing.core.extensions import Puzzle

CONTEXT = b"thing/1 client puzzle\x00"

HASH_BITS = 256


HASHES_PER_SECOND = 4096
"""What the slowest device that is waited for makes: a microcontroller of 48 MHz has twice that."""

PATIENCE_BITS = 20
"""The hardest puzzle whose whole search is waited for, bits."""


def allowance(difficulty: int) -> float:
    """
    Tell how much longer a handshake may take for a puzzle.

    :param difficulty: how hard it is, bits.
    :return: seconds.
    """
    return (1 << min(difficulty, PATIENCE_BITS)) / HASHES_PER_SECOND


class Search:
    """
    The search for a puzzle's solution, a slice at a time.

    :ivar difficulty: how hard the puzzle is, bits.
    :cvar SLICE: how many numbers :meth:`go` tries: some milliseconds, then the reactor may turn.
    """

    SLICE = 2048

    def __init__(self, puzzle: Puzzle, clientRandom: bytes) -> None:
        """
        :param puzzle: what the server asked.
        :param clientRandom: CHI's random, so that a solution is of use to one client only.
        """
        self.difficulty = puzzle.difficulty
        self._prefix = _prefix(puzzle, clientRandom)
        self._bound = 1 << (HASH_BITS - puzzle.difficulty)
        self._next = 0

    def go(self) -> int | None:
        """
        Try the next numbers.

        :return: the solution, or None if it is not among them.
        """
        prefix, bound = self._prefix, self._bound
        for number in range(self._next, self._next + self.SLICE):
            hashed = prefix.copy()
            hashed.update(number.to_bytes(8, "big"))
            if int.from_bytes(hashed.digest(), "big") < bound:
                return number
        self._next += self.SLICE
        return None


def solves(puzzle: Puzzle, clientRandom: bytes, number: int) -> bool:
    """
    Check a solution.

    :param puzzle: what was asked.
    :param clientRandom: CHI's random.
    :param number: the client's answer.
    :return: whether it is right.
    """
    hashed = _prefix(puzzle, clientRandom)
    hashed.update(number.to_bytes(8, "big"))
    return int.from_bytes(hashed.digest(), "big") >> (HASH_BITS - puzzle.difficulty) == 0


def _prefix(puzzle: Puzzle, clientRandom: bytes) -> hashlib._Hash:
    return hashlib.sha256(CONTEXT + puzzle.seed + clientRandom)
