"""Chance, for what is no secret: so that many do not do the same in one moment."""

import secrets

_PARTS = 1 << 53


def chance() -> float:
    """
    Draw a number.

    :return: a random number from 0 up to 1.
    """
    return secrets.randbelow(_PARTS) / _PARTS
