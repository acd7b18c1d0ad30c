"""
When a session ends since what its peer has proved is over: by the wall clock, and not all at once.

A certificate says by the wall clock when that is, and a wall clock can be set; so it is looked at
again and again, and no timer runs for longer than that.
"""

from __future__ import annotations

SPREAD = 60.0
"""How long after the end of its credential a session is asked to leave at most, seconds."""

SHARE = 0.1
"""That is also at most this share of the time for which the credential was still good."""

LOOK_INTERVAL = 60.0
"""How often the wall clock is looked at, seconds."""


def whenAsked(expires: float, wallTime: float, chance: float) -> float:
    """
    Decide when a session is asked to leave.

    Certificates that were issued together end together. So that their things do not come back as
    one, each is asked a random while later, within :data:`SPREAD` and :data:`SHARE`. Not before:
    who then came back with the same certificate would be asked to leave again.

    :param expires: when its credential is over, seconds since 1970.
    :param wallTime: the time as it begins, likewise.
    :param chance: a random number from 0 up to 1.
    :return: when to ask it, likewise.
    """
    return expires + chance * min(SPREAD, SHARE * max(0.0, expires - wallTime))


def nextLook(due: float, wallTime: float) -> float:
    """
    Decide when to look at the wall clock the next time.

    :param due: when a session is asked to leave, seconds since 1970.
    :param wallTime: the time, likewise.
    :return: in how long, seconds; zero if it is to be asked now.
    """
    return min(LOOK_INTERVAL, max(0.0, due - wallTime))
