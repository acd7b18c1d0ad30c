"""
How message bodies are laid out (specification, "Notation").

A :class:`Message` declares its fields' layouts once; writing, reading and the
specification's tables all follow that declaration. Reading never runs past
the body's end and refuses octets that are left over.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from thing.errors import ErrorCode, RemoteProtocolError

Extensions = tuple[tuple[int, bytes], ...]
"""The extension list of a handshake message: (type, value) pairs, no type twice."""

MAX_EXTENSIONS = 16
"""The most extensions in a message: a stranger's many would cost more than a key exchange."""

T = TypeVar("T")
M = TypeVar("M", bound="Message")


def _malformed(detail: str) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.MALFORMED_MESSAGE, detail)


def _cut(data: bytes, start: int, end: int) -> bytes:
    """A part of a body, which must not run past the body's end."""
    if end > len(data):
        raise _malformed("the message ends too early")
    return data[start:end]


class Field(ABC, Generic[T]):
    """How one field of a body is written and read; its ``str()`` is the specification's word."""

    def __init__(self, size: int, word: str) -> None:
        """
        :param size: the size that the kind of field needs, octets.
        :param word: how the specification names the field's layout.
        """
        self.size = size
        self.word = word

    def __str__(self) -> str:
        """The specification's word."""
        return self.word

    @abstractmethod
    def write(self, value: T) -> bytes:
        """
        Encode ``value``.

        :param value: the field's value.
        :return: its octets.
        """

    @abstractmethod
    def read(self, data: bytes, at: int) -> tuple[T, int]:
        """
        Decode the next octets.

        :param data: where from.
        :param at: where they begin.
        :return: the field's value, and where it ends.
        :raises RemoteProtocolError: if they do not have this layout.
        """


class _Integer(Field[int]):
    def write(self, value: int) -> bytes:
        return value.to_bytes(self.size, "big")

    def read(self, data: bytes, at: int) -> tuple[int, int]:
        end = at + self.size
        return int.from_bytes(_cut(data, at, end), "big"), end


class _Octets(Field[bytes]):
    def write(self, value: bytes) -> bytes:
        return value

    def read(self, data: bytes, at: int) -> tuple[bytes, int]:
        end = at + self.size
        return _cut(data, at, end), end


class _Vector(Field[bytes]):
    def write(self, value: bytes) -> bytes:
        return len(value).to_bytes(self.size, "big") + value

    def read(self, data: bytes, at: int) -> tuple[bytes, int]:
        start = at + self.size
        end = start + int.from_bytes(_cut(data, at, start), "big")
        return _cut(data, start, end), end


class _Numbers(Field[tuple[int, ...]]):
    def write(self, value: tuple[int, ...]) -> bytes:
        return OPAQUE8.write(b"".join([number.to_bytes(self.size, "big") for number in value]))

    def read(self, data: bytes, at: int) -> tuple[tuple[int, ...], int]:
        numbers, end = OPAQUE8.read(data, at)
        if not numbers or len(numbers) % self.size:
            raise _malformed("a list is empty or not a whole number of entries")
        if self.size == 1:
            return tuple(numbers), end
        starts = range(0, len(numbers), self.size)
        return tuple([int.from_bytes(numbers[i : i + self.size], "big") for i in starts]), end


class _ExtensionList(Field[Extensions]):
    def write(self, value: Extensions) -> bytes:
        return OPAQUE16.write(
            b"".join([UINT16.write(number) + OPAQUE16.write(data) for number, data in value])
        )

    def read(self, data: bytes, at: int) -> tuple[Extensions, int]:
        inner, end = OPAQUE16.read(data, at)
        found: dict[int, bytes] = {}
        position = 0
        while position < len(inner):
            number, position = UINT16.read(inner, position)
            if number in found:
                raise _malformed(f"extension {number:#06x} twice")
            if len(found) == MAX_EXTENSIONS:
                raise _malformed("too many extensions")
            found[number], position = OPAQUE16.read(inner, position)
        return tuple(found.items()), end


class _Rest(Field[bytes]):
    def write(self, value: bytes) -> bytes:
        return value

    def read(self, data: bytes, at: int) -> tuple[bytes, int]:
        return data[at:], len(data)


UINT8 = _Integer(1, "uint8")
UINT16 = _Integer(2, "uint16")
UINT32 = _Integer(4, "uint32")
UINT64 = _Integer(8, "uint64")
OCTETS32 = _Octets(32, "32 octets")
OPAQUE8 = _Vector(1, "opaque8")
OPAQUE16 = _Vector(2, "opaque16")
LIST8 = _Numbers(1, "list of uint8")
LIST16 = _Numbers(2, "list of uint16")
EXTENSIONS = _ExtensionList(2, "extensions")
REST = _Rest(0, "the rest")


def readAll(field: Field[T], data: bytes) -> list[T]:
    """
    Read octets that are one field again and again.

    :param field: the layout of each.
    :param data: the octets.
    :return: the values.
    :raises RemoteProtocolError: ``MALFORMED_MESSAGE`` if the last one is cut.
    """
    values, position = [], 0
    while position < len(data):
        value, position = field.read(data, position)
        values.append(value)
    return values


class Message:
    """
    A message's body, declared field by field.

    A subclass is a frozen, slotted dataclass whose fields stand in the order of its
    :attr:`LAYOUT`, or a subclass of one. Each message has one encoding only.
    """

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]]
    """The names of the fields, in order: a dataclass has them."""

    TYPE: ClassVar[Any]
    """The type octet."""

    PREFIX: ClassVar[bytes] = b""
    """Constant octets before the first field."""

    LAYOUT: ClassVar[tuple[Field[Any], ...]] = ()
    """The layout of each field, in order."""

    def encode(self) -> bytes:
        """
        Encode the body.

        :return: the octets after the type.
        """
        pairs = zip(self.LAYOUT, self.__match_args__, strict=True)
        parts = [field.write(getattr(self, name)) for field, name in pairs]
        return b"".join((self.PREFIX, *parts))

    def typed(self) -> bytes:
        """
        Encode the message.

        :return: its type octet and its body.
        """
        return bytes((self.TYPE,)) + self.encode()

    @classmethod
    def decode(cls: type[M], body: bytes) -> M:
        """
        Read a body.

        :param body: the octets after the type.
        :return: the message.
        :raises RemoteProtocolError: ``MALFORMED_MESSAGE`` if the layout is
            wrong; ``NOT_THING`` for a CHI without the magic.
        """
        if not body.startswith(cls.PREFIX):
            raise RemoteProtocolError(ErrorCode.NOT_THING, "no magic")
        values, position = [], len(cls.PREFIX)
        for field in cls.LAYOUT:
            value, position = field.read(body, position)
            values.append(value)
        if position < len(body):
            raise _malformed("octets after the message's end")
        return cls(*values)

    @classmethod
    def received(cls: type[M], octets: bytes) -> Received[M]:
        """
        Read a message of which the octets count, too.

        :param octets: its type octet and its body.
        :return: the message and its octets.
        :raises RemoteProtocolError: as :meth:`decode`.
        """
        return Received(cls.decode(octets[1:]), octets)


@dataclass(frozen=True, slots=True)
class Received(Generic[M]):
    """A message that came in, and the octets that it came in: a transcript is made of those."""

    message: M

    octets: bytes
    """The type octet and the body."""


class FixedMessage(Message):
    """A body of integers only, read and written by :mod:`struct`: it is on the hot path."""

    __slots__ = ()

    PACK: ClassVar[struct.Struct]
    """The layout, in struct's terms."""

    WHOLE: ClassVar[struct.Struct]
    """The same, with the type octet in front."""

    def __init_subclass__(cls) -> None:
        """Compile the subclass's layout."""
        letters = {1: "B", 2: "H", 4: "I", 8: "Q"}
        layout = "".join(letters[field.size] for field in cls.LAYOUT)
        cls.PACK, cls.WHOLE = struct.Struct(">" + layout), struct.Struct(">B" + layout)

    @classmethod
    def whole(cls, *values: int) -> bytes:
        """
        Encode a message that nobody needs as an object.

        :param values: the values of its fields.
        :return: its octets, the type included.
        """
        return cls.WHOLE.pack(cls.TYPE, *values)

    @classmethod
    def read(cls, body: bytes) -> tuple[int, ...]:
        """
        Read a body that nobody needs as an object.

        :param body: the octets after the type.
        :return: the values of its fields.
        :raises RemoteProtocolError: if the layout is wrong.
        """
        try:
            return cls.PACK.unpack(body)
        except struct.error:
            raise _malformed("the message does not have its fixed length") from None

    def encode(self) -> bytes:
        """
        Encode the body.

        :return: the octets after the type.
        """
        return self.PACK.pack(*[getattr(self, name) for name in self.__match_args__])

    @classmethod
    def decode(cls: type[M], body: bytes) -> M:
        """
        Read a body.

        :param body: the octets after the type.
        :return: the message.
        :raises RemoteProtocolError: if the layout is wrong.
        """
        return cls(*cls.read(body))  # type: ignore[attr-defined]
