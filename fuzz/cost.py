"""
What an input may cost: CPU time of this thread, which other processes hardly disturb.

The bounds are those that ``docs/security.rst`` publishes ("Exhaustion").
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import thread_time

BEFORE = 0.020
"""What all that a stranger sends may cost together, before this side has authorized it, seconds."""

AFTER = 0.005
"""What each begun KiB of what a peer sends may cost after that, seconds."""

TRIES = 3
"""How often an input must be too slow to count: a garbage collection or a noisy machine is not."""


class TooSlow(AssertionError):
    """An input costs more CPU time than its length admits."""


def admitted(octets: int) -> float:
    """
    Tell what octets may cost.

    :param octets: how many.
    :return: seconds.
    """
    return AFTER * (octets // 1024 + 1)


class within:
    """
    Do something that may take so long, and no longer; no garbage is collected meanwhile.

    :ivar most: how long it may take, seconds.
    :ivar spent: how long it took, of CPU time, once it is done, seconds.
    """

    spent = 0.0

    def __init__(self, seconds: float, what: str) -> None:
        """
        :param seconds: how long it may take, of CPU time.
        :param what: what is done, in words.
        """
        self.most = seconds
        self._what = what

    def __enter__(self) -> within:
        gc.disable()
        self._began = thread_time()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """:raises TooSlow: if it took longer, and nothing worse is to be told."""
        self.spent = thread_time() - self._began
        gc.enable()
        if error is None and self.spent > self.most:
            spent, most = self.spent * 1000, self.most * 1000
            raise TooSlow(f"{self._what}: {spent:.1f} ms, and {most:.1f} are admitted")


def often(oneInput: Callable[[bytes], object], octets: bytes) -> None:
    """
    Try an input; if it is too slow, again.

    :param oneInput: a target.
    :param octets: the input.
    :raises TooSlow: if it was too slow each time.
    :raises Exception: what the target raises.
    """
    for left in reversed(range(TRIES)):
        try:
            oneInput(octets)
        except TooSlow:
            if not left:
                raise
        else:
            return
