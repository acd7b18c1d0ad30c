"""
One stream beside the main one: its states, in one table, and what belongs to it.

Specification, "Streams". How many there are, and which numbers they have, is decided in
:mod:`thing.core.streams`. The specification's table and diagram are drawn from
:data:`STREAM_TRANSITIONS`.
"""

from __future__ import annotations

from enum import Enum

from thing.core.inbox import Inbox
from thing.core.lane import Lane
from thing.core.window import Window
from thing.errors import ErrorCode, RemoteProtocolError


class StreamState(Enum):
    """Where a stream stands; the value says it in words."""

    ASKING = "this side opened it, the peer has not decided"
    ASKING_ENDED = "the same, and this side has sent END"
    ASKED = "the peer opened it, this side has not decided"
    ASKED_ENDED = "the same, and the peer has sent END"
    OPEN = "both directions are open"
    SENT_END = "this side has sent END, the peer has not"
    GOT_END = "the peer has sent END, this side has not"
    OVER = "forgotten: what still comes is ignored"

    __hash__ = object.__hash__


class StreamStep(Enum):
    """What happens to a stream; the value says it in words."""

    ACCEPT = "this side accepts it"
    ACCEPTED = "the peer accepts it"
    SEND_END = "this side's last record of data is sent"
    GET_END = "the peer's last record of data came"
    STOP = "this side stops it"
    STOPPED = "the peer stops it"

    __hash__ = object.__hash__


_S, _T = StreamState, StreamStep
_STOPS = {_T.STOP: _S.OVER, _T.STOPPED: _S.OVER}

STREAM_TRANSITIONS: dict[StreamState, dict[StreamStep, StreamState]] = {
    _S.ASKING: {_T.ACCEPTED: _S.OPEN, _T.SEND_END: _S.ASKING_ENDED, **_STOPS},
    _S.ASKING_ENDED: {_T.ACCEPTED: _S.SENT_END, **_STOPS},
    _S.ASKED: {_T.ACCEPT: _S.OPEN, _T.GET_END: _S.ASKED_ENDED, **_STOPS},
    _S.ASKED_ENDED: {_T.ACCEPT: _S.GOT_END, **_STOPS},
    _S.OPEN: {_T.SEND_END: _S.SENT_END, _T.GET_END: _S.GOT_END, **_STOPS},
    _S.SENT_END: {_T.GET_END: _S.OVER, **_STOPS},
    _S.GOT_END: {_T.SEND_END: _S.OVER, **_STOPS},
    _S.OVER: {},
}
"""For each state the legal steps, and the states that they lead to."""

UNDECIDED = frozenset({_S.ASKED, _S.ASKED_ENDED})
"""The states in which this side's application has not said whether it takes the stream."""

WRITING = frozenset({_S.ASKING, _S.OPEN, _S.GOT_END})
"""The states in which this side may send data."""


class Stream:
    """
    One stream, as this side sees it.

    :ivar number: its number.
    :ivar label: what it is for.
    :ivar state: where it stands.
    :ivar lane: what waits to be sent.
    :ivar inbox: what came and was not taken yet.
    :ivar window: what the peer may send.
    :ivar discarding: whether what comes is of no use any more.
    """

    __slots__ = (
        "discarding", "inbox", "label", "lane", "number", "state", "window",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        label: str,
        state: StreamState,
        lane: Lane,
        inbox: Inbox,
        window: Window,
    ) -> None:
        """
        :param number: its number.
        :param label: what it is for.
        :param state: where it stands at first.
        :param lane: what waits to be sent.
        :param inbox: what came and was not taken yet.
        :param window: what the peer may send.
        """
        self.number = number
        self.label = label
        self.state = state
        self.lane = lane
        self.inbox = inbox
        self.window = window
        self.discarding = False

    def step(self, step: StreamStep) -> None:
        """
        Advance by what happens to the stream.

        :param step: what; it must be legal.
        """
        self.state = STREAM_TRANSITIONS[self.state][step]

    def allows(self, step: StreamStep) -> bool:
        """
        Tell whether something is legal now.

        :param step: what.
        :return: whether it is.
        """
        return step in STREAM_TRANSITIONS[self.state]


def labelOf(octets: bytes) -> str:
    """
    Read what a stream is for.

    :param octets: its label as it came.
    :return: the label.
    :raises RemoteProtocolError: ``MALFORMED_MESSAGE`` if it is empty, or not UTF-8.
    """
    if not octets:
        raise RemoteProtocolError(ErrorCode.MALFORMED_MESSAGE, "an empty label")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError(
            ErrorCode.MALFORMED_MESSAGE, "a label that is not UTF-8"
        ) from None
