"""Any octets are one message, which is encoded as the same octets, or are refused."""

from __future__ import annotations

from fuzz import run
from thing.core.catalogue import MESSAGES
from thing.core.extensions import GivenTicket, PresharedOffer, Puzzle, Solution
from thing.core.records import RECORD_LIMIT, RecordReader
from thing.errors import RemoteProtocolError

CLASSES = (*MESSAGES.values(), Puzzle, Solution, PresharedOffer, GivenTicket)
"""The messages, and the values of extensions, which have layouts like theirs."""


def oneInput(data: bytes) -> None:
    """
    Decode octets as a message, and as a stream of records.

    :param data: which message, then its body.
    """
    if not data:
        return
    cls = CLASSES[data[0] % len(CLASSES)]
    for body in (data[1:], cls.PREFIX + data[1:]):
        try:
            message = cls.decode(body)
        except RemoteProtocolError:
            continue
        assert message.encode() == body
        assert cls.decode(body) == message
    reader = RecordReader()
    reader.feed(data)
    taken = 0
    try:
        while (record := reader.next(RECORD_LIMIT)) is not None:
            taken += sum(map(len, record))
    except RemoteProtocolError:
        return
    assert taken + reader.buffered == len(data)


if __name__ == "__main__":
    run(oneInput)
