"""
What a check is: a row with a name, the sentence that it is about, and what it does.

Which there are is in the catalogue.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from thing.core.messages import Role

Run = Callable[[Any], Awaitable[None]]
"""
Does it, on a :class:`~thing.conformance.bench.Bench`. Who returns has found that the sentence
holds; who raises :class:`~thing.conformance.peer.Failed` that it does not, or
:class:`~thing.conformance.peer.NotTried` that it has no use with this peer.
"""

SERVER = frozenset({Role.SERVER})
"""Examines servers."""

CLIENT = frozenset({Role.CLIENT})
"""Examines clients."""

BOTH = SERVER | CLIENT
"""Examines either."""


class Profile(Enum):
    """What a peer claims to be (specification, "Profiles")."""

    SMALL = "small"
    FULL = "full"


class Outcome(Enum):
    """What a check has found; the value is what the user reads."""

    HOLDS = "holds"
    FAILS = "FAILS"
    DIFFERS = "differs"
    """It is only recommended, and the peer does otherwise."""
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One row."""

    name: str
    """What it is called, for good: people exclude rows by it."""

    examines: frozenset[Role]
    """The roles of which it examines peers."""

    section: str
    """The title of the section of the specification."""

    sentence: str
    """What holds, as it stands there."""

    run: Run
    small: bool = True
    """Whether a peer of the small profile must pass it, too."""

    must: bool = True
    """Whether it has to hold, and not only should."""

    bound: float = 20.0
    """How long it may take, the connections included, seconds."""


class Checks:
    """Rows that are about the same; they are added one by one, and keep their order."""

    def __init__(self) -> None:
        """Start with none."""
        self._rows: list[Check] = []

    def __iter__(self) -> Iterator[Check]:
        """:return: the rows."""
        return iter(self._rows)

    def add(
        self,
        name: str,
        examines: frozenset[Role],
        section: str,
        sentence: str,
        run: Run,
        **others: Any,
    ) -> None:
        """
        Add a row.

        :param name: what it is called.
        :param examines: the roles of which it examines peers.
        :param section: the title of the section.
        :param sentence: what holds, as it stands there.
        :param run: does it.
        :param others: the other fields of :class:`Check`.
        """
        row = Check(
            name=name, examines=examines, section=section, sentence=sentence, run=run, **others
        )
        self._rows.append(row)

    def row(
        self, name: str, examines: frozenset[Role], section: str, sentence: str, **others: Any
    ) -> Callable[[Run], Run]:
        """
        Add a row that is made of a coroutine function.

        :param name: as for :meth:`add`, with all that follows.
        :param examines: the same.
        :param section: the same.
        :param sentence: the same.
        :param others: the same.
        :return: a decorator of what does it.
        """

        def decorate(run: Run) -> Run:
            self.add(name, examines, section, sentence, run, **others)
            return run

        return decorate
