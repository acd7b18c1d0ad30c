"""
What the programs of a session put into streams, and what they are told of them.

Both roles do it alike. The states and numbers of streams are in :mod:`thing.core.streams`; what
stands in the main stream is :mod:`thing.core.dialogue`'s.
"""

from __future__ import annotations

from collections.abc import Iterator

from thing.core import endings
from thing.core.inbox import DATA
from thing.core.messages import CAC, CCR, COP, CST, MessageType
from thing.core.opening import H, Opening
from thing.core.states import WRITABLE_STATES, State
from thing.core.stream import UNDECIDED, Stream, StreamState, StreamStep
from thing.core.streams import MAX_CODE, Streams
from thing.errors import ErrorCode, LocalProtocolError, StopCode
from thing.events import (
    Event,
    StreamAccepted,
    StreamClosed,
    StreamData,
    StreamDrained,
    StreamEnded,
    StreamRequested,
    StreamStopped,
    Termination,
)


class Streaming(Opening[H]):
    """A Connection, with its streams."""

    __slots__ = ()

    @property
    def _streams(self) -> Streams:
        if self._streamsOrNone is None:
            self._streamsOrNone = Streams(
                self.role, self._outbox, self._limits, self._peerCapacity, self._tally
            )
        return self._streamsOrNone

    @property
    def openStreams(self) -> int:
        """How many streams are open, besides the main one."""
        return 0 if self._streamsOrNone is None else len(self._streamsOrNone.open)

    @property
    def creditStalls(self) -> int:
        """How often a stream, or the main one, had something to send and no credit left."""
        return self._outbox.stalls

    # This side's program.

    def openStream(self, label: str, now: float) -> int:
        """
        Open a stream; data may be sent at once.

        :param label: what it is for, 1 to 255 octets of UTF-8.
        :param now: the time, seconds.
        :return: its number.
        :raises LocalProtocolError: ``WRONG_STATE`` unless the session is up, and stays so;
            ``BAD_ARGUMENT`` for a label that is empty or too long; ``TOO_MANY_STREAMS`` if the
            peer takes no more.
        """
        if self._machine.state is not State.ESTABLISHED:
            raise LocalProtocolError(ErrorCode.WRONG_STATE, f"no stream in {self.state.name}")
        return self._streams.request(label, now).number

    def acceptStream(self, number: int) -> bool:
        """
        Accept a stream that the peer opened.

        :param number: its number.
        :return: whether it is; False if it is over, or the session says goodbye.
        """
        stream = self._streams.open.get(number)
        if stream is None or self._machine.state not in WRITABLE_STATES:
            return False
        if not stream.allows(StreamStep.ACCEPT):
            return False
        self._streams.accept(stream)
        return True

    def sendStream(self, number: int, data: bytes, limited: bool = True) -> bool:
        """
        Queue octets in a stream.

        :param number: its number.
        :param data: the octets.
        :param limited: whether it may be refused; there must be another bound if not.
        :return: whether they are queued; False once this direction ends, or the session does.
        :raises LocalProtocolError: ``BUFFER_FULL`` if too much waits already.
        :raises TypeError: unless ``data`` is bytes or like bytes.
        """
        stream = self._streams.open.get(number)
        if stream is None or self._machine.state not in WRITABLE_STATES:
            return False
        return self._streams.send(stream, data, limited)

    def streamQueued(self, number: int) -> int:
        """
        Tell how much waits in a stream to be sent.

        :param number: its number.
        :return: octets.
        """
        stream = self._streams.open.get(number)
        return 0 if stream is None else stream.lane.queued

    def wantStream(self, number: int, least: int) -> None:
        """
        Have :class:`~thing.events.StreamDrained` told, once, when little waits to be sent.

        :param number: the stream's number.
        :param least: how little, octets.
        """
        stream = self._streams.open.get(number)
        if stream is not None:
            stream.lane.wanted = least

    def endStream(self, number: int) -> None:
        """
        End this side's direction of a stream, behind what waits in it.

        :param number: its number; 0 for the main stream.
        """
        if self._machine.state not in WRITABLE_STATES:
            return
        if number == 0:
            self._outbox.main.end()
            self._outbox.wake(self._outbox.main)
            return
        stream = self._streams.open.get(number)
        if stream is not None:
            self._streams.end(stream)

    def closeStream(self, number: int, now: float) -> list[Event]:
        """
        End this side's direction of a stream in order, and take nothing more from the peer's.

        :param number: its number.
        :param now: the time, seconds.
        :return: what follows; :class:`~thing.events.StreamClosed` now or later.
        """
        if self.termination is not None:
            return []  # With it all streams have ended.
        stream = self._streams.open.get(number)
        if stream is None:  # Both directions have ended.
            self._events.append(StreamClosed(number))
        else:
            self._streams.close(stream, now, self._roundTrip)
            self._noteSettled()
        return self.takeEvents()

    def stopStream(self, number: int, code: int) -> None:
        """
        End both directions of a stream at once.

        :param number: its number.
        :param code: why: a :class:`~thing.errors.StopCode`, or one of the application's.
        :raises LocalProtocolError: ``BAD_ARGUMENT`` for a code that is not within 0 to 65535.
        """
        if not 0 <= code <= MAX_CODE:
            raise LocalProtocolError(ErrorCode.BAD_ARGUMENT, f"no code of a stop: {code}")
        stream = self._streams.open.get(number)
        if stream is not None:
            self._streams.stop(stream, code)

    def holdStream(self, number: int) -> None:
        """
        Keep what came in a stream for later; how much the peer may send is bounded.

        :param number: its number.
        """
        stream = self._streams.open.get(number)
        if stream is not None:
            stream.inbox.holding = True

    def releaseStream(self, number: int, now: float) -> Iterator[Event]:
        """
        Go on with what came in a stream.

        :param number: its number.
        :param now: the time, seconds.
        :return: what follows, one by one; holding again stops it.
        """
        self._now = now
        stream = self._streams.open.get(number)
        if stream is not None and stream.state not in UNDECIDED:
            stream.inbox.holding = False
            self._streams.stirred[number] = stream
        return self._follow()

    # The peer.

    def _receiveStreamData(self, number: int, message: bytes) -> None:
        self._streams.received(number, message, self._now, self._roundTrip)
        self._noteSettled()

    def _receiveCredit(self, message: bytes) -> None:
        number, credit = CCR.read(message[1:])  # SCR has the same layout.
        if number:
            self._streams.granted(number, credit)
        else:
            self._outbox.raiseCredit(self._outbox.main, credit)

    def _receiveOpen(self, message: bytes) -> None:
        request = COP.decode(message[1:])  # SOP has the same layout.
        self._streams.closing = self._machine.state is not State.ESTABLISHED
        stream = self._streams.requested(request.stream, request.label, self._now)
        if stream is not None:
            self._events.append(StreamRequested(stream.number, stream.label))

    def _receiveAccept(self, message: bytes) -> None:
        (number,) = CAC.read(message[1:])  # SAC has the same layout.
        if self._streams.accepted(number) is not None:
            self._events.append(StreamAccepted(number))
            self._noteSettled()

    def _receiveStop(self, message: bytes) -> None:
        number, _ = CST.read(message[1:])  # SST has the same layout.
        self._streams.stopped(number, message)
        self._noteSettled()

    # What follows.

    def _stopUndecided(self) -> None:
        """This side says goodbye: what the peer asked for and nobody has taken is not taken."""
        if self._streamsOrNone is not None:
            self._streamsOrNone.stopUndecided()

    def _advanceStreams(self) -> bool:
        """Deal with one thing that came in some stream, unless it is held."""
        streams = self._streams
        while streams.stirred:
            number, stream = next(iter(streams.stirred.items()))
            if stream.inbox.next is not None:
                self._tell(streams, stream)
                return True
            del streams.stirred[number]
        return False

    def _tell(self, streams: Streams, stream: Stream) -> None:
        """Tell what is next in a stream."""
        number, inbox = stream.number, stream.inbox
        kind = inbox.next
        content = inbox.take()
        if kind in DATA:
            if content:
                self._events.append(StreamData(number, content))
            if inbox.ended:
                inbox.ended = False
                stream.window.close()
                self._events.append(StreamEnded(number))
                if stream.state is StreamState.OVER and not inbox.held:
                    streams.heard(stream)  # Else a stop is behind it.
            streams.consumed(stream, self._now, self._roundTrip)
        elif content is not None:
            code = endings.known(StopCode, CST.read(content[1:])[1])
            streams.heard(stream)
            self._events.append(StreamStopped(number, code))

    @property
    def _areStreamsHeld(self) -> bool:
        """Whether something came in a stream that its application has not taken."""
        streams = self._streamsOrNone
        return streams is not None and any(each.inbox.held for each in streams.open.values())

    def _sentLast(self, message: bytes) -> None:
        streams = self._streamsOrNone
        if streams is not None:
            if message[0] == MessageType.SGB:
                streams.clear()  # It stands for the end of all that are open.
                return
            if message[0] == MessageType.CGB:
                streams.sentFarewell()
            else:
                streams.sent(message)
            self._noteSettled()

    def _noteDrained(self) -> None:
        drained, self._outbox.drained = self._outbox.drained, None
        self._events += [StreamDrained(number) for number in drained or ()]

    def _noteSettled(self) -> None:
        settled = self._streams.settled
        if settled:
            self._events += [StreamClosed(number) for number in settled]
            settled.clear()

    def takeEvents(self) -> list[Event]:
        """
        Take what happened while something was sent.

        :return: what happened.
        """
        return self._takeEvents()

    def _releaseStreams(self) -> None:
        streams = self._streamsOrNone
        if streams is not None:
            for stream in streams.open.values():
                if stream.state not in UNDECIDED:
                    stream.inbox.holding = False
                    streams.stirred[stream.number] = stream

    def _deliverRest(self) -> None:
        super()._deliverRest()
        self._releaseStreams()
        while self._advanceStreams():
            pass

    def _dropReceived(self) -> None:
        super()._dropReceived()
        self._clearStreams()

    def _clearStreams(self) -> None:
        if self._streamsOrNone is not None:
            self._streamsOrNone.clear()

    def _end(self, termination: Termination) -> None:
        super()._end(termination)
        self._clearStreams()
