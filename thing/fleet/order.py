"""
The order of things: by their ids as people count, ``lamp-2`` before ``lamp-10``.

The script of the registry and the page have the same rule, each in its language.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"0*([0-9]+)")


def placeOf(id: str) -> str:
    """
    Make what sorts as an id should, by its characters alone.

    Each number in it is preceded by how many digits it has, without its leading zeros; the id
    itself decides between equals, behind a zero character.

    :param id: the id.
    :return: its place among others.
    """
    return f"{_NUMBER.sub(_counted, id)}\0{id}"


def idAt(place: str) -> str:
    """
    Tell whose place it is.

    :param place: what :func:`placeOf` made.
    :return: the id.
    """
    parts = place.split("\0")  # A number takes or adds none: as many are before as behind.
    return "\0".join(parts[len(parts) // 2 :])


def _counted(number: re.Match[str]) -> str:
    digits = number[1]
    return f"{len(digits):03}{digits}"
