""":func:`started`: what a callback returned, if it takes its time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


def started(result: object) -> Deferred[Any] | None:
    """
    Tell whether a callback is at work, and have it begin.

    :param result: what it returned.
    :return: fires when it is done; None if it is done by now.
    :raises TypeError: if it returned a generator, which does nothing by itself.
    """
    if result is None or isinstance(result, Deferred):
        return result
    if isinstance(result, Generator | AsyncGenerator):
        raise TypeError("a callback is a generator: it needs inlineCallbacks, or await for yield")
    return Deferred.fromCoroutine(_awaited(result)) if isinstance(result, Awaitable) else None


async def _awaited(result: Awaitable[T]) -> T:
    return await result
