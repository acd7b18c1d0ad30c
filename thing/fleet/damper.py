"""
Two with the same key that keep replacing each other: how long newcomers must wait.

Of one node only: over Redis the script counts the takeovers of all nodes by the same rules.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

TAKEOVERS = 3
"""
So many takeovers of one thing in a window are borne: a thing on a bad line reconnects now and
then before its older session has ended.
"""

WINDOW = 60.0
"""How long a takeover counts, seconds."""

FIRST_WAIT = 10.0
"""How long newcomers must wait then, seconds; twice that at each takeover that follows soon."""

LONGEST_WAIT = 300.0
"""How long they must wait at most, seconds."""

MOST_KEPT = 10_000
"""Of how many things takeovers are remembered; of those that were quiet the longest, not."""


@dataclass(slots=True)
class _Fight:
    """The takeovers of one thing."""

    takeovers: list[float]
    wait: float = 0.0
    until: float = 0.0


class Damper:
    """Counts takeovers, and says when there were too many."""

    def __init__(self) -> None:
        """Begin with none."""
        self._fights: OrderedDict[str, _Fight] = OrderedDict()

    def takenOver(self, id: str, now: float) -> float:
        """
        Count a takeover.

        :param id: of which thing.
        :param now: the time, seconds.
        :return: how long newcomers must wait from now on, seconds; zero while it is borne.
        """
        fight = self._fights.pop(id, None) or _Fight([])
        self._fights[id] = fight
        if len(self._fights) > MOST_KEPT:
            self._fights.popitem(last=False)
        fight.takeovers = [when for when in fight.takeovers if now - when < WINDOW] + [now]
        if now - fight.until >= WINDOW:
            fight.wait = 0.0
        if len(fight.takeovers) <= TAKEOVERS and not fight.wait:
            return 0.0
        fight.wait = min(2 * fight.wait or FIRST_WAIT, LONGEST_WAIT)
        fight.until = now + fight.wait
        return fight.wait

    def remaining(self, id: str, now: float) -> float:
        """
        Tell how long a newcomer must still wait.

        :param id: of which thing.
        :param now: the time, seconds.
        :return: seconds; zero if it need not.
        """
        fight = self._fights.get(id)
        return 0.0 if fight is None else max(0.0, fight.until - now)
