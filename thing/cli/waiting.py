"""
Waits for another thread, but not for ever, and by the steady clock.

A lock that is waited for within a time, and whatever is made of one, would do it without a look now
and then. But where the C library has no ``sem_clockwait``, as musl, Python goes by the wall clock
there: once that is set back, it waits on by as much.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_LOOK, LONGEST_LOOK = 0.001, 0.05
"""After which time is looked again for the first time, and in the long run, seconds."""


def waitUntil(done: Callable[[], object], seconds: float) -> bool:
    """
    Wait until something is done, or for a time.

    :param done: tells whether it is.
    :param seconds: how long at most.
    :return: whether it is done.
    """
    end = time.monotonic() + seconds
    pause = FIRST_LOOK
    while not done():
        left = end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_LOOK)
    return True
