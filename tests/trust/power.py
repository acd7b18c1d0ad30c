"""A machine that loses its power between any two things that are done to files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from unittest import mock

OPERATIONS = (
    *("open", "link", "rename", "unlink", "mkdir", "rmdir"),
    *("fsync", "fchmod", "fchown"),
)


class PowerLost(BaseException):
    """Nothing goes on from here: no cleaning up either."""


class Power:
    """
    Power for so many operations on files; with :func:`outages`, one less each time.

    :ivar done: how many operations were done.
    :ivar lost: whether one was asked for that was not done any more.
    """

    def __init__(self, operations: int) -> None:
        self.done = 0
        self.lost = False
        self._operations = operations
        self._patches = ExitStack()

    def __enter__(self) -> Power:
        for name in OPERATIONS:
            self._patches.enter_context(mock.patch.object(os, name, self._limited(name)))
        return self

    def __exit__(self, *exception: object) -> None:
        self._patches.close()

    def _limited(self, name: str) -> Callable[..., Any]:
        operation = getattr(os, name)

        def limited(*arguments: Any, **keywords: Any) -> Any:
            if self.done == self._operations:
                self.lost = True
                raise PowerLost(name)
            self.done += 1
            return operation(*arguments, **keywords)

        return limited


def outages() -> Iterator[Power]:
    """Power for no operation, for one, for two and so on, until it was enough for all."""
    for operations in range(1000):
        power = Power(operations)
        yield power
        if not power.lost:
            return
    raise AssertionError("it goes on for ever")
