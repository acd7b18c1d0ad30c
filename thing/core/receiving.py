"""
What stands in the order of streams: it waits for its turn, is dealt with, and makes room for more.

The main stream's inbox and window are here, and the way of data to other streams; what those do
with them is :mod:`thing.core.streaming`'s, and what a message means the business of others still.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from thing.core.connection import Connection
from thing.core.inbox import CONTENT_AT, Inbox, Tally, streamOf
from thing.core.messages import MessageType
from thing.core.settings import Settings
from thing.core.window import RECORD_COST, Window
from thing.errors import ErrorCode, RemoteProtocolError
from thing.events import DataEnded, Event


class Receiving(Connection):
    """A Connection, with what came in the order of its streams."""

    __slots__ = ("_since", "_tallyOrNone", "_windowOrNone")

    def __init__(self, settings: Settings) -> None:
        """:param settings: what this side chose."""
        super().__init__(settings)
        self._since = 0.0  # When it asked last in the handshake, then when the session came up.
        self._windowOrNone: Window | None = None  # Big, and idle sessions have none.
        self._tallyOrNone: Tally | None = None

    @property
    def stream(self) -> bool:
        """Whether received data is told as it comes instead of message by message."""
        return self._limits.stream

    # This side's program.

    def hold(self) -> None:
        """
        Keep the main stream's data, and the goodbye behind them, for later; the rest goes on.

        How much the peer may send meanwhile is bounded by its credit. Replies spend none: who
        holds the data may wait for one.
        """
        self._inbox.holding = True

    def release(self, now: float) -> Iterator[Event]:
        """
        Go on with the peer's data.

        :param now: the time, seconds.
        :return: what follows, one by one; holding again stops it.
        """
        self._now = now
        self._inbox.holding = False
        return self._follow()

    # The main stream.

    def _receiveInOrder(self, kind: MessageType, message: bytes, limit: int) -> None:
        """Deal with what stands in the order of a stream, now or when its turn comes."""
        isData = kind is self._dataIn
        number = streamOf(message) if isData else 0
        if number or (isData and self._limits.stream):
            self._receiveOctets(number, message)
            self._receiveTogether(limit)
            self._advanceInbox()
            return
        inbox = self._inboxOrNone or self._inbox
        self._checkOrder(kind, message, inbox)
        if inbox.held or inbox.holding or kind is self._farewellIn:
            inbox.put(message)
            if kind is self._farewellIn:
                self._farewellCame()
            self._advanceInbox()
        else:
            self._machine.receive(kind)
            self._deal(kind, inbox.accept(message), inbox)

    def _checkOrder(self, kind: MessageType, message: bytes, inbox: Inbox) -> None:
        """Whether the peer may send this in the main stream."""
        if kind is self._farewellIn:
            if inbox.parting:  # They cost no credit: one may wait, and not as many as come.
                raise RemoteProtocolError(
                    ErrorCode.UNEXPECTED_MESSAGE, f"{kind.name} twice in {self.state.name}"
                )
        else:
            if inbox.closed:
                raise RemoteProtocolError(ErrorCode.STREAM_ENDED, f"{kind.name} after the end")
            window = self._windowOrNone or self._window
            window.spend(RECORD_COST + len(message) - CONTENT_AT[kind])

    def _receiveOctets(self, number: int, message: bytes) -> None:
        """Let octets of a stream wait there, for what may come together with them."""
        if number:
            self._machine.receive(self._dataIn)
            self._receiveStreamData(number, message)
        else:
            inbox = self._inboxOrNone or self._inbox
            self._checkOrder(self._dataIn, message, inbox)
            inbox.put(message)

    def _checkReply(self) -> None:
        """Whether the peer may send a reply still."""
        inbox = self._inboxOrNone
        if inbox is None:
            return
        if inbox.closed:
            raise RemoteProtocolError(ErrorCode.STREAM_ENDED, "a reply after the end")
        if inbox.parting:
            raise RemoteProtocolError(ErrorCode.UNEXPECTED_MESSAGE, "a reply after goodbye")

    def _farewellCame(self) -> None:
        """The peer said goodbye; what came before may still be held."""

    def _receiveTogether(self, limit: int) -> None:
        """Octets of streams that came in together are told together."""
        while self._reader.nextIs(self._dataIn, limit):
            message = self._reader.nextMessage(limit)
            assert message is not None, "it was seen"
            self._receiveOctets(streamOf(message), message)

    def _advanceInbox(self) -> bool:
        """Deal with what is next in order, unless that is held."""
        inbox = self._inbox
        kind = inbox.next
        if kind is None or (kind is self._farewellIn and self._areStreamsHeld):
            return False
        self._machine.receive(kind)
        self._deal(kind, inbox.take(), inbox)
        return True

    def _deal(self, kind: MessageType, content: bytes | None, inbox: Inbox) -> None:
        """Tell what has left the inbox, and make room for more."""
        if content is not None:
            self._handlers[kind](self, content)
        if inbox.ended:
            self._window.close()
            self._noteEnded(inbox)
        if inbox.consumed and self.termination is None:
            cost, inbox.consumed = inbox.consumed, 0
            credit = None
            if not inbox.closed:
                window = self._windowOrNone or self._window
                credit = window.consume(cost, self._now, self._roundTrip)
            if credit is not None:
                self._outbox.grant(0, credit)

    def _noteEnded(self, inbox: Inbox) -> None:
        if inbox.ended:
            inbox.ended = False
            self._events.append(DataEnded())

    def _advanceReceived(self) -> bool:
        inbox = self._inboxOrNone
        if inbox is not None and inbox.held and self._advanceInbox():
            return True
        return self._streamsOrNone is not None and self._advanceStreams()

    def _releaseReceived(self) -> None:
        self._inbox.holding = False
        self._releaseStreams()

    def _deliverRest(self) -> None:
        with suppress(RemoteProtocolError):  # The session is over as it is.
            for kind, content in self._inbox.rest():
                self._handlers[kind](self, content)
            self._noteEnded(self._inbox)

    def _dropReceived(self) -> None:
        self._inbox.clear()

    def _forgetReceived(self) -> None:
        self._inbox.clear()
        if self._windowOrNone is not None:
            self._windowOrNone.close()
            self._windowOrNone = None

    @property
    def _inbox(self) -> Inbox:
        """What the peer sent in the main stream."""
        if self._inboxOrNone is None:
            most = None if self._limits.stream else self._limits.maxMessage
            self._inboxOrNone = Inbox(self._farewellIn, most, self._tally)
        return self._inboxOrNone

    @property
    def _tally(self) -> Tally:
        """Counts what waits of all that the peer sent in streams."""
        if self._tallyOrNone is None:
            self._tallyOrNone = Tally()
        return self._tallyOrNone

    @property
    def _window(self) -> Window:
        """What the peer may send in the main stream."""
        if self._windowOrNone is None:
            limits, own = self._limits, self._limits.capacity
            self._windowOrNone = Window(
                own.mainCredit, self._since, limits.budget, limits.maxWindow, whole=own.whole
            )
        return self._windowOrNone

    # What is done about streams other than the main one by those who build on this.

    def _receiveStreamData(self, number: int, message: bytes) -> None:
        """Data of a stream other than the main one came."""

    def _advanceStreams(self) -> bool:
        """Deal with one thing that came in such a stream, unless it is held."""
        return False

    @property
    def _areStreamsHeld(self) -> bool:
        """Whether something came in such a stream that its application has not taken."""
        return False

    def _releaseStreams(self) -> None:
        """Hold nothing of any such stream any more."""
