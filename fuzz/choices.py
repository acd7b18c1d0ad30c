"""Octets as choices: what a target does is decided by its input, to the last octet."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """
    Decisions, each made by the next octets; when there are no more, each is the first one.

    So an input that is cut still means something, and one that is longer goes on.
    """

    def __init__(self, octets: bytes) -> None:
        """:param octets: what decides."""
        self._octets = octets
        self._at = 0

    @property
    def over(self) -> bool:
        """Whether all octets are used."""
        return self._at >= len(self._octets)

    @property
    def used(self) -> int:
        """How many octets were asked for, whether they were there or not."""
        return self._at

    def octet(self) -> int:
        """
        Take the next octet.

        :return: its value.
        """
        return self.number(1)

    def number(self, size: int) -> int:
        """
        Take a number.

        :param size: of how many octets.
        :return: its value.
        """
        return int.from_bytes(self.octets(size).ljust(size, b"\0"), "big")

    def octets(self, count: int) -> bytes:
        """
        Take octets.

        :param count: how many.
        :return: so many, or as many as there are.
        """
        taken = self._octets[self._at : self._at + count]
        self._at += count
        return taken

    def below(self, limit: int) -> int:
        """
        Take a number from 0 on.

        :param limit: what it is below, 256 at most.
        :return: the number.
        """
        return self.octet() % limit

    def pick(self, among: Sequence[T]) -> T:
        """
        Take one of several.

        :param among: the several, 256 at most.
        :return: one of them.
        """
        return among[self.below(len(among))]


def mutated(source: random.Random, seeds: Sequence[bytes], count: int) -> Iterator[bytes]:
    """
    Make inputs of others: cut, joined, with octets changed, put in and taken out.

    :param source: the source of chance.
    :param seeds: what to start from; each is also an input itself.
    :param count: how many to make.
    :return: the inputs.
    """
    yield from seeds
    for _ in range(count):
        yield mutation(source, seeds)


def mutation(source: random.Random, seeds: Sequence[bytes]) -> bytes:
    """
    Make one input of others.

    :param source: the source of chance.
    :param seeds: what to start from.
    :return: the input.
    """
    octets = bytearray(source.choice(seeds))
    for _ in range(source.randrange(6)):
        at = source.randrange(len(octets) + 1)
        change = source.randrange(6)
        if change == 0:
            octets[at : at + 1] = source.randbytes(1)
        elif change == 1:
            octets[at:at] = source.randbytes(source.randrange(1, 5))
        elif change == 2:
            del octets[at : at + source.randrange(1, 5)]
        elif change == 3:
            octets[at:] = source.choice(seeds)
        elif change == 4:
            octets[at:at] = octets[at : at + source.randrange(1, 33)]
        elif at < len(octets):
            octets[at] ^= 1 << source.randrange(8)
    return bytes(octets)
