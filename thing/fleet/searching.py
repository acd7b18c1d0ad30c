"""How a page of things is filled, however many have to be looked at for it: in slices, in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from thing.fleet.model import Page, ThingRecord

SEARCH_TIME = 1.0
"""After so long a page is told as it is, full or not, seconds."""

Look = Callable[[str, int], Awaitable[Page]]
"""Looks at some things behind an id, for as many as are wanted at most: a slice of a page."""


async def fill(look: Look, after: str, limit: int, clock: IReactorTime) -> Page:
    """
    Look on until a page is full, or nothing is left, or it took long enough.

    :param look: looks at a slice; between two of them everybody else has a turn.
    :param after: the id behind which to begin; the empty string for the first.
    :param limit: how many things at most.
    :param clock: measures time.
    :return: the page; it may be short, and another follow all the same.
    """
    until = clock.seconds() + SEARCH_TIME
    found: list[ThingRecord] = []
    while True:
        page = await look(after, limit - len(found))
        found += page.things
        if page.following is None or len(found) == limit or clock.seconds() >= until:
            return replace(page, things=tuple(found))
        after = page.following
        await deferLater(clock, 0.0)
