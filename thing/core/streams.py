"""
The streams of one Connection beside the main one: their numbers, how many, and whose turn it is.

Specification, "Streams". What one of them is, is in :mod:`thing.core.stream`, what waits to be
sent in :mod:`thing.core.outbox`; the main stream is :mod:`thing.core.receiving`'s.
"""

from __future__ import annotations

from collections import OrderedDict

from thing.core.capacity import Capacity
from thing.core.inbox import Inbox, Tally, costOf
from thing.core.messages import CAC, COP, CST, END, SAC, SOP, SST, MessageType, Role
from thing.core.outbox import Outbox
from thing.core.settings import Settings
from thing.core.stream import UNDECIDED, WRITING, Stream, StreamState, StreamStep, labelOf
from thing.core.window import Budget, Window
from thing.errors import ErrorCode, LocalProtocolError, RemoteProtocolError, StopCode

MAX_STREAM = 0xFFFFFFFF
"""The last number that a stream can have."""

SHARE = 8
"""How many windows of the largest size the streams of one Connection may have between them."""

STREAM_COST = 4096
"""About how many octets the objects of a stream take, its label too."""

MAX_CODE = 0xFFFF
"""The largest code that a stop can have."""

LABEL_LIMIT = 255
"""How many octets a label has at most, in UTF-8."""


class Streams:
    """
    All streams of one Connection but the main one.

    :ivar open: those whose end the application has not heard of, by number.
    :ivar stirred: those for which something came, by number.
    :ivar settled: the numbers of those that this side has closed, and that are over now.
    :ivar closing: whether the session says goodbye: the peer's new streams are stopped.
    """

    __slots__ = (
        "_budget", "_halfClosed", "_nextOwn", "_nextPeer", "_outbox", "_ownPlaces", "_peer",
        "_peerOpen", "_peerPlaces", "_role", "_settings", "_tally", "closing", "open", "settled",
        "stirred",
    )  # fmt: skip

    def __init__(
        self, role: Role, outbox: Outbox, settings: Settings, peer: Capacity, tally: Tally
    ) -> None:
        """
        :param role: this side's role.
        :param outbox: takes what is to be sent.
        :param settings: what this side chose.
        :param peer: what the peer can take.
        :param tally: counts what waits of all that the peer sent.
        """
        self._tally = tally
        self.open: dict[int, Stream] = {}
        self.stirred: OrderedDict[int, Stream] = OrderedDict()
        self.settled: list[int] = []
        self.closing = False
        self._role = role
        self._outbox = outbox
        self._settings = settings
        # Whatever a path carries, eight times its octets fill it: windows grow no further on it.
        self._budget = Budget(SHARE * settings.maxWindow, settings.budget)
        self._peer = peer
        self._nextOwn = 1 if role is Role.CLIENT else 2
        self._nextPeer = 3 - self._nextOwn
        # Those that are open on the wire: a place is free when the last word of this side is out.
        self._ownPlaces: set[int] = set()
        self._peerPlaces: set[int] = set()
        self._halfClosed: set[int] = set()  # Stopped behind this side's END.
        self._peerOpen = 0  # How many of those in `open` are the peer's.

    # This side's program.

    def request(self, label: str, now: float) -> Stream:
        """
        Open a stream.

        :param label: what it is for.
        :param now: the time, seconds.
        :return: the stream; data may be sent at once.
        :raises LocalProtocolError: ``BAD_ARGUMENT`` for a label that is empty or too long;
            ``TOO_MANY_STREAMS`` if the peer takes no more.
        """
        octets = label.encode()
        if not 0 < len(octets) <= LABEL_LIMIT:
            raise LocalProtocolError(
                ErrorCode.BAD_ARGUMENT, f"a label has 1 to {LABEL_LIMIT} octets"
            )
        if len(self._ownPlaces) >= self._peer.maxStreams or self._nextOwn > MAX_STREAM:
            raise LocalProtocolError(
                ErrorCode.TOO_MANY_STREAMS, f"{len(self._ownPlaces)} streams are open"
            )
        stream = self._make(self._nextOwn, label, StreamState.ASKING, now)
        self._nextOwn += 2
        self._ownPlaces.add(stream.number)
        message = COP if self._role is Role.CLIENT else SOP
        self._outbox.notice(message(stream.number, octets).typed())
        return stream

    def _make(self, number: int, label: str, state: StreamState, now: float) -> Stream:
        settings = self._settings
        farewell = MessageType.SST if self._role is Role.CLIENT else MessageType.CST
        first = settings.capacity.streamCredit
        stream = self.open[number] = Stream(
            number,
            label,
            state,
            self._outbox.lane(number, self._peer.streamCredit),
            Inbox(farewell, None, self._tally),
            Window(first, now, self._budget, settings.maxWindow),
        )
        stream.inbox.holding = state is StreamState.ASKED  # Nobody takes anything yet.
        return stream

    def accept(self, stream: Stream) -> None:
        """
        Accept a stream that the peer opened.

        :param stream: which.
        :raises LocalProtocolError: ``WRONG_STATE`` if there is nothing to decide any more.
        """
        if not stream.allows(StreamStep.ACCEPT):
            raise LocalProtocolError(ErrorCode.WRONG_STATE, f"a stream that is {stream.state.name}")
        stream.step(StreamStep.ACCEPT)
        stream.inbox.holding = False
        message = CAC if self._role is Role.CLIENT else SAC
        self._outbox.notice(message(stream.number).typed())

    def send(self, stream: Stream, data: bytes, limited: bool) -> bool:
        """
        Queue octets.

        :param stream: in which stream.
        :param data: the octets.
        :param limited: whether it may be refused.
        :return: whether they are queued; False once this direction ends or has.
        :raises LocalProtocolError: ``BUFFER_FULL`` if too much waits already.
        """
        if stream.state not in WRITING or stream.lane.ending:
            return False
        if data:
            self._outbox.data(stream.lane, data, limited)
        return True

    def end(self, stream: Stream) -> None:
        """
        End this side's direction, behind what waits in it.

        :param stream: of which stream.
        """
        if stream.state in WRITING:
            stream.lane.end()
            self._outbox.wake(stream.lane)

    def close(self, stream: Stream, now: float, roundTrip: float) -> None:
        """
        End this side's direction in order, then the other one: what still comes is of no use.

        :param stream: of which stream.
        :param now: the time, seconds.
        :param roundTrip: the shortest round trip that was seen, seconds.
        """
        stream.discarding = True
        stream.inbox.holding = False
        stream.inbox.clear()
        self.consumed(stream, now, roundTrip)
        if stream.state in WRITING:
            self.end(stream)
        elif stream.state in UNDECIDED:
            self.stop(stream, StopCode.NOT_TAKEN)
        else:
            self._settle(stream)

    def _settle(self, stream: Stream) -> None:
        """Nothing of a stream is wanted any more: it is over when this side's END is out."""
        if stream.state is StreamState.SENT_END:
            self.stop(stream, StopCode.DONE)
            self.settled.append(stream.number)
        elif stream.state is StreamState.OVER:
            self.heard(stream)
            self.settled.append(stream.number)

    def stop(self, stream: Stream, code: int) -> None:
        """
        End both directions at once.

        :param stream: of which stream.
        :param code: why.
        """
        if stream.state is not StreamState.OVER:
            if stream.state is StreamState.SENT_END:
                self._halfClosed.add(stream.number)
            stream.step(StreamStep.STOP)
            self._outbox.forget(stream.lane)
            message = CST if self._role is Role.CLIENT else SST
            self._outbox.notice(message(stream.number, code).typed())
        self.heard(stream)

    def stopUndecided(self) -> None:
        """Stop what the peer asked for and nobody has decided: this side says goodbye."""
        for stream in list(self.open.values()):
            if stream.state in UNDECIDED:
                self.stop(stream, StopCode.CANCELLED)

    def heard(self, stream: Stream) -> None:
        """
        The application knows that a stream is over, or caused it.

        :param stream: which.
        """
        stream.inbox.clear()
        stream.window.close()
        self._outbox.release(stream.lane)
        self.stirred.pop(stream.number, None)
        if self.open.pop(stream.number, None) is not None:
            self._peerOpen -= self._isPeers(stream.number)

    def _isPeers(self, number: int) -> bool:
        return number % 2 == self._nextPeer % 2

    # The peer.

    def requested(self, number: int, label: bytes, now: float) -> Stream | None:
        """
        The peer opens a stream.

        :param number: its number.
        :param label: what it is for, in UTF-8.
        :param now: the time, seconds.
        :return: the stream; None if the session says goodbye, or there is no room for it.
        :raises RemoteProtocolError: if the peer may not open it so.
        """
        if number != self._nextPeer:
            raise RemoteProtocolError(ErrorCode.STREAM_NUMBER, f"{number}, not {self._nextPeer}")
        text = labelOf(label)
        most = self._settings.capacity.maxStreams
        if len(self._peerPlaces) >= most:
            raise RemoteProtocolError(ErrorCode.TOO_MANY_STREAMS, f"limit of {most}")
        self._nextPeer += 2
        self._peerPlaces.add(number)
        stream = self._make(number, text, StreamState.ASKED, now)
        self._peerOpen += 1
        if self.closing:
            self.stop(stream, StopCode.CANCELLED)
            return None
        if self._peerOpen > 2 * most:
            self.stop(stream, StopCode.BUSY)  # The application does not look at their ends.
            return None
        return stream

    def find(self, number: int) -> Stream | None:
        """
        Find the stream that a message of the peer's is about.

        :param number: its number.
        :return: the stream; None if it is forgotten.
        :raises RemoteProtocolError: ``STREAM_UNKNOWN`` if it was never opened.
        """
        stream = self.open.get(number)
        if stream is not None:
            return None if stream.state is StreamState.OVER else stream
        following = self._nextPeer if self._isPeers(number) else self._nextOwn
        if number == 0 or number >= following:
            raise RemoteProtocolError(ErrorCode.STREAM_UNKNOWN, f"number {number}")
        return None

    def accepted(self, number: int) -> Stream | None:
        """
        The peer accepts a stream.

        :param number: its number.
        :return: the stream; None if it is forgotten.
        :raises RemoteProtocolError: ``STREAM_UNKNOWN`` if there is nothing to accept.
        """
        stream = self.find(number)
        if stream is not None:
            if not stream.allows(StreamStep.ACCEPTED):
                raise RemoteProtocolError(ErrorCode.STREAM_UNKNOWN, f"{number} is not to accept")
            stream.step(StreamStep.ACCEPTED)
            if stream.discarding:
                self._settle(stream)
        return stream

    def stopped(self, number: int, message: bytes) -> None:
        """
        The peer ends both directions of a stream.

        :param number: its number.
        :param message: the stop, its type and its body; the application is told of it in order.
        :raises RemoteProtocolError: ``STREAM_UNKNOWN`` if it was never opened.
        """
        stream = self.find(number)
        if stream is None:
            self._settleForgotten(number)
        else:
            if stream.state in UNDECIDED:
                stream.inbox.clear()  # Nobody has taken anything, and nobody will.
                stream.inbox.holding = False
            stream.step(StreamStep.STOPPED)
            self._outbox.forget(stream.lane)
            self._leave(number)
            if stream.discarding:
                self._settle(stream)
                return
            stream.inbox.put(message)
            self.stirred[number] = stream

    def _settleForgotten(self, number: int) -> None:
        """The peer, too, has done with it: this side's own stop need not be told any more."""
        self._outbox.retract(number)
        self._leave(number)

    def received(self, number: int, message: bytes, now: float, roundTrip: float) -> None:
        """
        Data came; those for a stream that is forgotten are ignored.

        :param number: the stream's number.
        :param message: the data, their type and their body, with flags that are legal.
        :param now: the time, seconds.
        :param roundTrip: the shortest round trip that was seen, seconds.
        :raises RemoteProtocolError: if the peer may not send them.
        """
        stream = self.find(number)
        if stream is None:
            if message[1] & END and number in self._halfClosed:
                self._settleForgotten(number)
            return
        if stream.inbox.closed:
            raise RemoteProtocolError(ErrorCode.STREAM_ENDED, f"stream {number}")
        self._mustBeAccepted(stream)
        stream.window.spend(costOf(message))
        if message[1] & END:
            stream.step(StreamStep.GET_END)
            if stream.state is StreamState.OVER:
                self._leave(number)
        if stream.discarding:
            stream.inbox.drop(message)
            self.consumed(stream, now, roundTrip)
            self._settle(stream)
        else:
            stream.inbox.put(message)
            self.stirred[number] = stream

    def granted(self, number: int, credit: int) -> None:
        """
        The peer grants credit.

        :param number: the stream's number.
        :param credit: how much may be spent in all, octets.
        :raises RemoteProtocolError: ``STREAM_UNKNOWN`` if it was never opened, or if the peer
            has not accepted it.
        """
        stream = self.find(number)
        if stream is not None:
            self._mustBeAccepted(stream)
            self._outbox.raiseCredit(stream.lane, credit)

    @staticmethod
    def _mustBeAccepted(stream: Stream) -> None:
        if stream.state in (StreamState.ASKING, StreamState.ASKING_ENDED):
            raise RemoteProtocolError(ErrorCode.STREAM_UNKNOWN, f"{stream.number} is not accepted")

    # What follows.

    def consumed(self, stream: Stream, now: float, roundTrip: float) -> None:
        """
        What left a stream's inbox makes room for more.

        :param stream: which.
        :param now: the time, seconds.
        :param roundTrip: the shortest round trip that was seen, seconds.
        """
        cost, stream.inbox.consumed = stream.inbox.consumed, 0
        if cost and not stream.inbox.closed and stream.state is not StreamState.OVER:
            credit = stream.window.consume(cost, now, roundTrip)
            if credit is not None:
                self._outbox.grant(stream.number, credit)

    def sent(self, message: bytes) -> None:
        """
        A message was handed to the transport that may free a place.

        :param message: CST or SST, or data with END; its type and its body.
        """
        kind = message[0]
        if kind in _STOPPING:
            self._leave(int.from_bytes(message[1:5], "big"))
            return
        stream = self.open.get(int.from_bytes(message[2:6], "big"))
        if stream is not None:
            self._sentEnd(stream)

    def sentFarewell(self) -> None:
        """CGB was handed to the transport: it stands for END in all streams that are open."""
        for stream in list(self.open.values()):
            stream.lane.ending = True
            self._sentEnd(stream)

    def _sentEnd(self, stream: Stream) -> None:
        if not stream.allows(StreamStep.SEND_END):
            return
        stream.step(StreamStep.SEND_END)
        over = stream.state is StreamState.OVER
        if over:
            self._leave(stream.number)
        if stream.discarding:
            self._settle(stream)
        elif over and not stream.inbox.held:
            self.heard(stream)

    def _leave(self, number: int) -> None:
        self._ownPlaces.discard(number)
        self._peerPlaces.discard(number)
        self._halfClosed.discard(number)

    def clear(self) -> None:
        """Forget all of them: the session is over."""
        for stream in self.open.values():
            stream.inbox.clear()
            stream.window.close()
        self.open.clear()
        self.stirred.clear()
        self._peerOpen = 0


def keysOf(label: str) -> tuple[str, str]:
    """
    Tell by what is looked for whatever serves a label.

    :param label: what a stream is for.
    :return: the label itself, then its family: up to its first colon.
    """
    return label, label[: label.find(":") + 1]


_STOPPING = frozenset({int(MessageType.CST), int(MessageType.SST)})
