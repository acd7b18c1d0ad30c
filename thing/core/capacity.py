"""
What each side can take once Established, as CHI and SHI say it.

Specification, "What each side can take". What follows from it for one stream is in
:mod:`thing.core.window`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from thing.core.handshakemessages import CHI, SHI
from thing.core.messages import REQUEST_LIMIT
from thing.core.records import RECORD_LIMIT, TAG_LENGTH
from thing.core.window import RECORD_COST
from thing.errors import ErrorCode, RemoteProtocolError

MIN_RECORD = 512
"""The least that a record limit may be, octets: a label or a short message fits."""

MIN_STREAM_CREDIT = 128
"""The least first credit of a stream, octets: an octet goes at a time, at least."""

MOST_CREDIT = 0xFFFFFFFF
"""The most that a first credit may be, octets: what CHI and SHI can say."""

MOST_STREAMS = 0xFFFF
"""The most open streams that they can say."""

DATA_OVERHEAD = 6 + TAG_LENGTH
"""What a record of data has besides the data, octets: type, flags, stream and tag."""

REPLY_OVERHEAD = 6 + TAG_LENGTH
"""What a record of a reply has besides the answer, octets."""

MAX_REQUEST_RECORD = REQUEST_LIMIT + REPLY_OVERHEAD
"""The longest record that is not split, octets."""


class Capacity(NamedTuple):
    """What one side can take."""

    recordLimit: int
    """The longest payload of a record, octets."""
    mainCredit: int
    """The first credit of the main stream, octets."""
    streamCredit: int
    """The first credit of every other stream, octets."""
    maxStreams: int
    """How many streams the other side may have open at once."""

    @classmethod
    def of(cls, message: CHI | SHI) -> Capacity:
        """
        Read what the peer can take.

        :param message: what it says.
        :return: what it can take; of a record no more than this version knows.
        :raises RemoteProtocolError: ``LIMITS_OUT_OF_BOUNDS``.
        """
        recordLimit = min(message.recordLimit, RECORD_LIMIT)
        capacity = _shared(
            recordLimit, message.mainCredit, message.streamCredit, message.maxStreams
        )
        problem = capacity.problem
        if problem:
            raise RemoteProtocolError(ErrorCode.LIMITS_OUT_OF_BOUNDS, problem)
        return capacity

    @property
    def problem(self) -> str:
        """What is out of bounds, in words; empty if nothing is."""
        if not MIN_RECORD <= self.recordLimit <= RECORD_LIMIT:
            return f"records of {self.recordLimit} octets"
        least = RECORD_COST + min(self.recordLimit, MAX_REQUEST_RECORD)
        if not least <= self.mainCredit <= MOST_CREDIT:
            return f"a first credit of {self.mainCredit} octets"
        if not MIN_STREAM_CREDIT <= self.streamCredit <= MOST_CREDIT:
            return f"a first credit of {self.streamCredit} octets for a stream"
        if not 0 <= self.maxStreams <= MOST_STREAMS:
            return f"{self.maxStreams} streams at once"
        return ""

    @property
    def fragment(self) -> int:
        """How many octets of data fit into a record."""
        return self.recordLimit - DATA_OVERHEAD

    @property
    def lastWord(self) -> int:
        """How many octets a last word may have, as far as the record goes."""
        return self.recordLimit - 1 - TAG_LENGTH

    @property
    def whole(self) -> int:
        """What the costliest record spends that is not split, octets."""
        return RECORD_COST + min(REQUEST_LIMIT, self.lastWord)

    @property
    def request(self) -> int:
        """How many octets a request or a reply may have."""
        return min(REQUEST_LIMIT, self.recordLimit - REPLY_OVERHEAD)


MOST = Capacity(RECORD_LIMIT, MOST_CREDIT, MOST_CREDIT, MOST_STREAMS)
"""The most that a peer can say."""


@lru_cache(maxsize=64)
def _shared(recordLimit: int, mainCredit: int, streamCredit: int, maxStreams: int) -> Capacity:
    """One object for all peers that can take the same, as most of a fleet do."""
    return Capacity(recordLimit, mainCredit, streamCredit, maxStreams)
