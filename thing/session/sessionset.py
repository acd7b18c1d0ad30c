"""
:class:`SessionSet`: the sessions of a factory, as a set that asks nothing of them.

A user's protocol may be a dataclass, or have an ``__eq__`` of its own: it can have no hash then,
and two of them be equal. Here each is itself, and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from typing import TypeVar

T = TypeVar("T")


class SessionSet(MutableSet[T]):
    """A set whose members are told apart by ``is``; it has no order but that of their coming."""

    __slots__ = ("_members",)

    def __init__(self, members: Iterable[T] = ()) -> None:
        """:param members: who is in it from the start."""
        self._members = {id(member): member for member in members}

    def __contains__(self, member: object) -> bool:
        """Whether this very one is in it."""
        return id(member) in self._members

    def __iter__(self) -> Iterator[T]:
        """Who is in it."""
        return iter(self._members.values())

    def __len__(self) -> int:
        """How many are in it."""
        return len(self._members)

    def add(self, value: T) -> None:
        """
        Have one be in it.

        :param value: who.
        """
        self._members[id(value)] = value

    def discard(self, value: T) -> None:
        """
        Have one be in it no more, if it is.

        :param value: who.
        """
        self._members.pop(id(value), None)

    def __repr__(self) -> str:
        """Who is in it."""
        return f"{type(self).__name__}({list(self)!r})"
