"""
Long work in slices, so that whoever else is on a reactor or an event loop has a turn in between.

A list of keys may have a hundred thousand lines. What reads one is a generator that yields
wherever others may have a turn, and returns what it has read; a slice takes some milliseconds.
Slices are counted by work and not by time: no clock that steps makes one longer. A list that is
short has one slice.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Slices = Generator[None, None, T]
"""Work in slices, which comes to something."""


def inOneSlice(function: Callable[P, T]) -> Callable[P, Slices[T]]:
    """
    Have a work that is short be taken for one in slices.

    :param function: does it.
    :return: the same, in one slice.
    """

    @functools.wraps(function)
    def work(*args: P.args, **kwargs: P.kwargs) -> Slices[T]:
        yield from ()
        return function(*args, **kwargs)

    return work


def atOnce(work: Slices[T]) -> T:
    """
    Do a work without a pause.

    :param work: the work.
    :return: what it comes to.
    :raises Exception: what the work raises.
    """
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result


async def inTurns(work: Slices[T], pause: Callable[[], Awaitable[object]]) -> T:
    """
    Do a work slice by slice; the first now.

    :param work: the work.
    :param pause: gives what is waited for between two slices.
    :return: what the work comes to.
    :raises Exception: what the work, or what is waited for, raises.
    """
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result
        await pause()


def eachOf(items: Iterable[T], take: Callable[[T], object], size: int) -> Slices[None]:
    """
    Give things to somebody, one by one.

    :param items: the things.
    :param take: takes each.
    :param size: how many there are in a slice.
    :return: the slices.
    """
    for count, item in enumerate(items):
        if count and count % size == 0:
            yield
        take(item)
