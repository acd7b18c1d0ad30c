"""
Messages as a hostile peer would write them, from the layouts that the code itself declares.

Nothing here knows a message: what is in :data:`~thing.core.catalogue.MESSAGES`, and what is
declared among the extensions, is made and changed by the layout of its fields. So a new message
is fuzzed from the day on which it is in the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fuzz.choices import Choices
from thing.core import extensions
from thing.core.catalogue import MESSAGES
from thing.core.extensions import ExtensionType
from thing.core.layout import (
    EXTENSIONS,
    LIST8,
    LIST16,
    OCTETS32,
    OPAQUE8,
    OPAQUE16,
    REST,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    Extensions,
    Field,
    Message,
)
from thing.core.messages import MessageType
from thing.errors import RemoteProtocolError

VALUES = tuple(
    each
    for each in vars(extensions).values()
    if isinstance(each, type) and issubclass(each, Message) and each is not Message
)
"""The values of extensions, which have layouts as messages have."""

SIZES = (0, 1, 2, 31, 32, 33, 63, 64, 255, 490, 512, 1024, 4096, 4097, 16380, 16384, 65536)
"""How long octets are that a peer chooses freely: about the limits that there are."""

LONGEST_VALUE = 3000
"""How long the value of an extension is at most: as many as there may be, and one more, fit."""

KNOWN: list[bytes] = [b"", bytes(32), b"label", b"\xff\xfe"]
"""Octets that mean something somewhere; targets add theirs."""


def _integer(size: int) -> Callable[[Choices], int]:
    """Small ones above all, as they are numbers of streams and requests; and those at edges."""
    most = (1 << 8 * size) - 1

    def make(choices: Choices) -> int:
        shape = choices.octet()
        if shape < 160:
            return shape % 16
        if shape < 224:
            return max(0, min(most, (1 << shape % (8 * size + 1)) - 1 + shape % 3))
        return choices.number(size)

    return make


def _octets(most: int) -> Callable[[Choices], bytes]:
    def make(choices: Choices) -> bytes:
        shape = choices.octet()
        if shape < 96:
            return choices.pick(KNOWN)[:most]
        if shape < 160:
            return choices.octets(shape % 32)
        return bytes((shape,)) * min(SIZES[shape % len(SIZES)], most)

    return make


def _fixed(choices: Choices) -> bytes:
    return choices.octets(choices.below(33)).ljust(32, b"\0")


def _numbers(size: int) -> Callable[[Choices], tuple[int, ...]]:
    make = _integer(size)

    def several(choices: Choices) -> tuple[int, ...]:
        count = choices.octet()
        if count < 224:
            return tuple([make(choices) for _ in range(count % 8)])
        return (make(choices),) * (255 // size)

    return several


def _extensions(choices: Choices) -> Extensions:
    count = choices.octet()
    return tuple([extension(choices) for _ in range(count % 5 if count < 250 else 17)])


def extension(choices: Choices) -> tuple[int, bytes]:
    """
    Make an extension.

    :param choices: what decides.
    :return: its number, which may be none, and its value, which may be another's.
    """
    number = choices.below(len(ExtensionType) + 2)
    shape = choices.octet()
    if shape < 192:
        return number, make(VALUES[shape % len(VALUES)], choices).encode()[:LONGEST_VALUE]
    return number, _octets(700)(choices)


MAKERS: dict[Field[Any], Callable[[Choices], Any]] = {
    UINT8: _integer(1),
    UINT16: _integer(2),
    UINT32: _integer(4),
    UINT64: _integer(8),
    OCTETS32: _fixed,
    OPAQUE8: _octets(255),
    OPAQUE16: _octets(65535),
    LIST8: _numbers(1),
    LIST16: _numbers(2),
    EXTENSIONS: _extensions,
    REST: _octets(65536),
}
"""What makes a value, for every layout of a field that there is."""


def make(kind: type[Message], choices: Choices) -> Message:
    """
    Make a message, or the value of an extension.

    :param kind: its class.
    :param choices: what decides.
    :return: the message; what it says may make no sense.
    """
    return kind(*[MAKERS[field](choices) for field in kind.LAYOUT])


def kindOf(choices: Choices) -> type[Message]:
    """
    Choose a kind of message, by its type octet: one that is there already stays what it is.

    :param choices: what decides.
    :return: the class.
    """
    number = choices.octet()
    known = number in MessageType._value2member_map_
    kind = MessageType(number) if known else list(MESSAGES)[number % len(MESSAGES)]
    return MESSAGES[kind]


def changed(message: Message, choices: Choices) -> Message:
    """
    Change one field of a message, by a little or altogether.

    :param message: the message.
    :param choices: what decides.
    :return: the message, changed; the same if it has no fields.
    """
    if not message.LAYOUT:
        return message
    at = choices.below(len(message.LAYOUT))
    field, name = message.LAYOUT[at], message.__match_args__[at]
    before = getattr(message, name)
    after = _near(field, before, choices) if choices.below(2) else MAKERS[field](choices)
    try:
        field.write(after)
    except OverflowError:  # Its length cannot even be said.
        return message
    return replace(message, **{name: after})  # type: ignore[type-var]


def _near(field: Field[Any], value: Any, choices: Choices) -> Any:
    """A value that differs by a little."""
    shape = choices.octet()
    if isinstance(value, int):
        step = (1, -1, 2, 1 << shape % 8)[shape % 4]
        return (value + step) % (1 << 8 * field.size)
    if isinstance(value, bytes):
        return _flipped(value, choices, keep=field is OCTETS32)
    return _reordered(value, shape, MAKERS[field](choices))


def _flipped(octets: bytes, choices: Choices, keep: bool = False) -> bytes:
    """Octets with one changed, or fewer, or more."""
    way, at = choices.below(1 if keep else 3), choices.octet() % (len(octets) + 1)
    if way == 0:
        flipped = bytes(each ^ 1 << at % 8 for each in octets[at : at + 1])
        return octets[:at] + flipped + octets[at + 1 :]
    return octets[:at] if way == 1 else octets + choices.octets(at % 16)


def _reordered(several: tuple[Any, ...], shape: int, more: tuple[Any, ...]) -> tuple[Any, ...]:
    """A list that is turned, shorter, longer, or has something twice."""
    ways = (several[::-1], several[1:], several[:-1], several + several[:1], several + more, more)
    return ways[shape % len(ways)]


CHANGES = 10
"""How many ways there are to change what is sent."""


def lies(message: bytes, choices: Choices) -> list[bytes]:
    """
    Change a message before it is sealed.

    :param message: its type octet and its body.
    :param choices: what decides.
    :return: what is sent in its place: nothing, one or several, of which some may be empty.
    """
    way = choices.below(CHANGES)
    if way < 3:
        return [_typed(message, choices)]
    if way == 3:
        return [message, message]
    if way == 4:
        return []
    if way == 5:
        return [message, make(kindOf(choices), choices).typed()]
    if way == 6:
        return [make(kindOf(choices), choices).typed(), message]
    if way == 7:
        return [bytes((choices.octet(),)) + message[1:]]
    if way == 8:
        return [_flipped(message, choices)]
    return [message[:1] + kind.encode() if (kind := make(kindOf(choices), choices)) else message]


def _typed(message: bytes, choices: Choices) -> bytes:
    """A message with a field changed, if it can be read; the rest if not."""
    try:
        read = MESSAGES[MessageType(message[0])].decode(message[1:])
    except (ValueError, IndexError, RemoteProtocolError):
        return _flipped(message, choices)
    return changed(read, choices).typed()
