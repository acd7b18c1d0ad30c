"""
The extensions of the handshake's messages (specification, "Extensions").

Each value has a layout of its own, declared as those of messages are.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from thing.core.layout import (
    OCTETS32,
    OPAQUE16,
    UINT8,
    UINT32,
    UINT64,
    Extensions,
    Message,
)


class ExtensionType(IntEnum):
    """The extensions' numbers."""

    PUZZLE = 1
    SOLUTION = 2
    PRESHARED_KEY = 3
    TICKET = 4
    NEXT_KEY = 5


@dataclass(frozen=True, slots=True)
class Puzzle(Message):
    """In an SHI that asks for a retry: what the client must solve before anything is spent."""

    LAYOUT = (OCTETS32, UINT8)

    seed: bytes
    difficulty: int
    """How many bits must be zero."""


@dataclass(frozen=True, slots=True)
class Solution(Message):
    """In the second CHI: the number that solves the puzzle."""

    LAYOUT = (UINT64,)

    number: int


@dataclass(frozen=True, slots=True)
class PresharedOffer(Message):
    """In CHI, and last there: a secret that both sides may have already."""

    LAYOUT = (UINT8, OPAQUE16, OCTETS32)
    NO_BINDER: ClassVar[bytes] = bytes(32)

    form: int
    """Which sort of secret: a :class:`~thing.core.preshared.Form`."""
    identity: bytes
    """The pre-shared key's identity, or the ticket."""
    binder: bytes = NO_BINDER
    """Shows, before anything else is done, that the client has the secret."""


@dataclass(frozen=True, slots=True)
class GivenTicket(Message):
    """In SHF: a ticket for the next handshake."""

    LAYOUT = (UINT32, OPAQUE16)

    lifetime: int
    """How long the ticket is of use, seconds."""
    ticket: bytes


def find(extensions: Extensions, number: ExtensionType) -> bytes | None:
    """
    Look for an extension.

    :param extensions: a message's.
    :param number: which.
    :return: its value, or None if it is not there.
    """
    return dict(extensions).get(number)
