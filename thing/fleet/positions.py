"""Positions of events: their order, and how they are written. Nothing here knows any event."""

from __future__ import annotations

LONGEST_POSITION = 41
"""How many characters a position has at most: two numbers of 64 bits."""

LARGEST = 1 << 64
"""Both numbers are smaller."""

Position = tuple[int, int]
"""Milliseconds since 1970, and a number among the events of that millisecond."""


def parsePosition(text: str) -> Position:
    """
    Read a position.

    :param text: ``milliseconds-number``.
    :return: the two integers, to be compared.
    :raises ValueError: if it is none.
    """
    moment, _, number = text.partition("-")
    plain = all(part.isascii() and part.isdecimal() for part in (moment, number))
    if len(text) > LONGEST_POSITION or not plain:
        raise ValueError("a position is two whole numbers with a hyphen between them")
    position = int(moment), int(number)
    if max(position) >= LARGEST:
        raise ValueError("a position has numbers of 64 bits")
    return position


def formatPosition(position: Position) -> str:
    """
    Write a position.

    :param position: the two integers.
    :return: ``milliseconds-number``.
    """
    return f"{position[0]}-{position[1]}"
