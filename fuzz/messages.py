"""Any octets are one message, which is encoded as the same octets, or are refused."""

from __future__ import annotations

from fuzz.choices import Choices
from fuzz.cost import admitted, within
from fuzz.grammar import VALUES, make
from thing.core.catalogue import MESSAGES
from thing.core.layout import Message
from thing.core.records import RECORD_LIMIT, RecordReader
from thing.errors import RemoteProtocolError

CLASSES = (*MESSAGES.values(), *VALUES)
"""The messages, and the values of extensions, which have layouts like theirs."""


def oneInput(data: bytes) -> None:
    """
    Decode octets as a message, and as a stream of records.

    :param data: which message, then its body.
    """
    if not data:
        return
    with within(admitted(len(data)), "a message"):
        _message(CLASSES[data[0] % len(CLASSES)], data[1:])
    with within(admitted(len(data)), "records"):
        _records(data)


def _message(cls: type[Message], data: bytes) -> None:
    for body in (data, cls.PREFIX + data):
        try:
            message = cls.decode(body)
        except RemoteProtocolError:
            continue
        assert message.encode() == body
        assert cls.decode(body) == message


def _records(data: bytes) -> None:
    reader = RecordReader()
    reader.feed(data)
    taken = 0
    try:
        while (record := reader.next(RECORD_LIMIT)) is not None:
            taken += sum(map(len, record))
    except RemoteProtocolError:
        return
    assert taken + reader.buffered == len(data)


def seeds() -> list[bytes]:
    """
    Make messages to begin with.

    :return: of each class some, with fields of every sort.
    """
    return [
        bytes((number,)) + make(cls, Choices(bytes(shape) * 20)).encode()[len(cls.PREFIX) :]
        for number, cls in enumerate(CLASSES)
        for shape in ((0,), (3, 161), (97, 7, 5))
    ]
