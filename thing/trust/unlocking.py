"""
What is done to a file on the reactor, once no other process holds its lock.

What a lock is, and how it is held, is in :mod:`~thing.trust.files`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from thing.trust.files import LOCK_INTERVAL, LOCK_TRIES, FileLocked

T = TypeVar("T")


def onceUnlocked(action: Callable[[], T], clock: IReactorTime | None) -> T | Deferred[T]:
    """
    Do something that locks a file; while another process has the lock, again and again.

    It is tried :data:`LOCK_TRIES` times, which takes a second, and blocks nobody meanwhile.

    :param action: what to do; it has done nothing yet when it raises :exc:`FileLocked`.
    :param clock: measures the time between the tries; None for the reactor.
    :return: what it returns; a Deferred of that if the first try was in vain, which fails as
        the action does, with :exc:`FileLocked` after the last try.
    """
    try:
        return action()
    except FileLocked:
        return Deferred.fromCoroutine(_tryAgain(action, clock))


async def _tryAgain(action: Callable[[], T], clock: IReactorTime | None) -> T:
    if clock is None:
        from twisted.internet import reactor

        clock = IReactorTime(reactor)
    for _ in range(LOCK_TRIES - 2):
        await deferLater(clock, LOCK_INTERVAL)
        with suppress(FileLocked):
            return action()
    await deferLater(clock, LOCK_INTERVAL)
    return action()
