"""
What is claimed of the protocol, and of which model.

A claim is a query of ProVerif's, with the verdict that it must have. A mutation is a change to the
model, for which the same query must have another verdict; or the same one, and then it is said why.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

MODELS_DIRECTORY = Path(__file__).resolve().parent / "models"

_WITH = re.compile(r"\(\* with: (.*?) \*\)")


class Verdict(Enum):
    """What ProVerif says of a query."""

    PROVED = "proved"
    BROKEN = "broken"
    """There is an attack, or what must be possible is."""
    OPEN = "open"
    """ProVerif cannot decide, or not in time."""


@dataclass(frozen=True)
class Mutation:
    """
    A change to a model.

    :ivar name: a few words with hyphens.
    :ivar what: what is taken out or changed, for readers.
    :ivar old: a part of the model's text; it must stand there once.
    :ivar new: what stands there instead.
    :ivar verdict: what the claim's query must say then.
    :ivar why: why, if the claim still holds: what else keeps it up.
    :ivar also: more pairs of what is changed, and into what.
    """

    name: str
    what: str
    old: str
    new: str
    verdict: Verdict = Verdict.BROKEN
    why: str = ""
    also: tuple[tuple[str, str], ...] = ()

    def applied(self, text: str) -> str:
        """
        Change a model.

        :param text: the model.
        :return: the changed one.
        :raises ValueError: if a place is not there, or not once.
        """
        for old, new in ((self.old, self.new), *self.also):
            found = text.count(old)
            if found != 1:
                raise ValueError(f"{self.name}: {old!r} stands {found} times in the model")
            text = text.replace(old, new)
        return text


@dataclass(frozen=True)
class Claim:
    """
    What must hold of a model.

    :ivar name: a few words with hyphens.
    :ivar what: what the query says, for readers.
    :ivar sentence: the sentence of ``docs/security.rst`` that it shows; none if it only shows that
        the model can reach its end.
    :ivar query: ProVerif's query, or all of the declarations that it needs.
    :ivar verdict: what it must say.
    :ivar mutations: what must break it.
    :ivar why: why the verdict is not "proved", where it is none.
    """

    name: str
    what: str
    sentence: str
    query: str
    verdict: Verdict = Verdict.PROVED
    mutations: tuple[Mutation, ...] = ()
    why: str = ""

    @property
    def unproved(self) -> Verdict:
        """What ProVerif says if the claim does not hold: it refutes no equivalence."""
        return Verdict.OPEN if self.query.startswith("noninterf") else Verdict.BROKEN


@dataclass(frozen=True)
class Model:
    """
    A model and its claims.

    :ivar name: the name of its file in ``models``, without ``.pv``.
    :ivar what: which part of the protocol it is, for readers.
    :ivar claims: what must hold of it.
    """

    name: str
    what: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Run:
    """
    One run of ProVerif: a claim, as it is or with a mutation.

    :ivar model: the model.
    :ivar claim: what is asked.
    :ivar mutation: what is changed, if anything is.
    """

    model: Model
    claim: Claim
    mutation: Mutation | None = None

    @property
    def name(self) -> str:
        """What the run is called in the results: model, claim and mutation."""
        parts = (self.model.name, self.claim.name, self.mutation and self.mutation.name)
        return "/".join(part for part in parts if part)

    @property
    def expected(self) -> Verdict:
        """The verdict that it must have."""
        return (self.mutation or self.claim).verdict

    def text(self) -> str:
        """
        The model's libraries, the model with the query before its main process, and the mutation.

        :return: what ProVerif gets.
        :raises ValueError: if the mutation's place is not there, or not once.
        """
        text = _withLibraries(self.model.name)
        if self.mutation is not None:
            text = self.mutation.applied(text)
        before, process, after = text.rpartition("\nprocess\n")
        return f"{before}\n{self.claim.query.strip()}\n{process}{after}"

    def hash(self) -> str:
        """:return: the SHA-256 of :meth:`text`, in hexadecimal."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def _withLibraries(name: str) -> str:
    model = (MODELS_DIRECTORY / f"{name}.pv").read_text()
    first = _WITH.match(model)
    names = first[1].split() if first is not None else []
    return "\n".join([*((MODELS_DIRECTORY / each).read_text() for each in names), model])


def runs(models: tuple[Model, ...]) -> Iterator[Run]:
    """
    All that has to be run.

    :param models: the models.
    :return: each claim, followed by its mutations.
    """
    for model in models:
        for claim in model.claims:
            yield Run(model, claim)
            for mutation in claim.mutations:
                yield Run(model, claim, mutation)
