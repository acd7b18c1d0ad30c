"""Shares that must be refused, or must not: points of small order, and what RFC 7748 ignores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

_P = (1 << 255) - 19

SMALL_ORDER = tuple(
    number.to_bytes(32, "little")
    for number in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _P - 1,
        _P,
        _P + 1,
    )
)
"""The points with which X25519 gives 32 zero octets, whatever the private key."""


def withTopBit(share: bytes) -> bytes:
    """
    Set the bit of an X25519 key that a receiver ignores.

    :param share: a share whose last 32 octets are such a key.
    :return: the share with the bit set.
    """
    return share[:-1] + bytes((share[-1] | 0x80,))


def pointed(point: bytes) -> Callable[[Any], Any]:
    """
    Put a point in the place of an X25519 key.

    :param point: the point.
    :return: makes another SDH or CDH of one.
    """
    return lambda each: replace(each, share=each.share[:-32] + point)
