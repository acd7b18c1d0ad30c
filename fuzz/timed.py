"""A Connection whose every call is watched, so that no cost can be moved to where nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from fuzz.cost import BEFORE, admitted, within
from thing.core.states import State

T = TypeVar("T")

_OVER = object()


class Timed:
    """
    A Connection, each of whose methods is done within the time that it may cost.

    All that it does before it knows its peer counts together, except what solves a puzzle: that is
    done in slices. After that a call may cost what the octets admit that it is given, that it
    gives, and that wait. What it tells one by one counts with it, but not what is done about that.
    """

    def __init__(self, core: Any) -> None:
        """:param core: the Connection."""
        self._core = core
        self._spent = 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._core, name)
        return partial(self._call, found) if callable(found) else found

    def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method within its time."""
        core = self._core
        given = sum(len(each) for each in arguments if isinstance(each, bytes))
        most = admitted(given + core._reader.buffered + core.held)
        found, spent = self._do(method.__name__, most, partial(method, *arguments))
        if isinstance(found, Iterator):
            return self._each(method.__name__, most - spent, found)
        return found

    def _each(self, what: str, most: float, events: Iterator[T]) -> Iterator[T]:
        """Take one after the other, all within the time."""
        while True:
            event, spent = self._do(what, most, partial(next, events, _OVER))
            if event is _OVER:
                return
            most -= spent
            yield event

    def _do(self, what: str, most: float, do: Callable[[], Any]) -> tuple[Any, float]:
        """Do a part of a call; what it gave, and what of its own time it took."""
        core = self._core
        solving, stranger = core.state is State.SOLVING, core.session is None
        if stranger:
            most = BEFORE if solving else BEFORE - self._spent
        with within(most, f"{what} in {core.state.name}") as watch:
            found = do()
            if isinstance(found, bytes):
                watch.most += admitted(len(found))
        if stranger and not solving:
            self._spent += watch.spent
        return found, 0.0 if stranger else watch.spent
