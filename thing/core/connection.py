"""
What every message meets, in either role: which is it, is it legal now, and whose is it.

Bytes and the time go in; events, bytes to send and the next deadline come out. Three things drive
a Connection: the network (:meth:`Connection.receiveData`), the clock
(:meth:`Connection.handleTimer`) and this side's own program (the other methods). Each returns the
events that follow; after each, the driver sends what :meth:`Connection.dataToSend` gives and looks
at :attr:`Connection.nextDeadline` again. Nothing that a peer sends raises here. What a message
brings about stands elsewhere: in :mod:`thing.core.opening`, :mod:`thing.core.dialogue` and the two
roles' modules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from thing.core import endings
from thing.core.heartbeat import Verdict, toMilliseconds
from thing.core.inbox import TYPES, Inbox
from thing.core.layout import Message
from thing.core.liveness import Liveness
from thing.core.messages import (
    CHI_LIMIT,
    END,
    FRAGMENT_LIMIT,
    HANDSHAKE_LIMIT,
    MessageType,
    Reject,
    Role,
)
from thing.core.outbox import Outbox
from thing.core.records import HEADER_LENGTH, TAG_LENGTH
from thing.core.settings import Settings
from thing.core.states import LIVENESS_STATES, State, StateMachine, Step
from thing.core.streams import Streams
from thing.core.wire import MessageReader, MessageWriter
from thing.errors import ErrorCode, RemoteProtocolError
from thing.events import (
    Cause,
    Event,
    HeartbeatLate,
    Session,
    Terminated,
    Termination,
)

_FAREWELLS = frozenset({MessageType.CGB, MessageType.SGB})
_LAST = frozenset({MessageType.CST, MessageType.SST}) | _FAREWELLS
_OVERHEAD = HEADER_LENGTH + TAG_LENGTH

WRITE_BATCH = 65536
"""About how many octets are sealed at a time: what is sealed a heartbeat cannot overtake."""


class Connection:
    """
    Which message it is, whether it is legal now, and whose it is; and how it all ends.

    What is done with a message is added by those who build on this:
    :class:`~thing.core.opening.Opening`, :class:`~thing.core.dialogue.Dialogue` and the two roles.

    :ivar role: this side's role.
    :ivar session: what was agreed on, once the Connection is Established.
    :ivar termination: how it ended, once it has.
    :ivar octetsReceived: how many octets of the stream this side has taken.
    :ivar octetsSent: how many it has given to the transport.
    """

    role: ClassVar[Role]
    _rejectIn: ClassVar[type[Reject]]
    _rejectOut: ClassVar[type[Reject]]
    _dataOut: ClassVar[MessageType]
    _creditOut: ClassVar[MessageType]
    _inOrder: ClassVar[frozenset[MessageType]]
    """What goes through the inbox: data, what is in order with them, and the goodbye."""
    _dataIn: ClassVar[MessageType]
    _farewellIn: ClassVar[MessageType]
    _handlers: ClassVar[dict[MessageType, Callable[[Any, bytes], None]]]

    __slots__ = (
        "_events", "_inboxOrNone", "_limits", "_liveness", "_machine", "_now", "_outbox", "_proved",
        "_reader", "_roundTrip", "_streamsOrNone", "_writer", "octetsReceived", "octetsSent",
        "session", "termination",
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        """:param settings: what this side chose."""
        self.session: Session | None = None
        self.termination: Termination | None = None
        self.octetsReceived = self.octetsSent = 0
        self._limits = settings
        self._machine = StateMachine(self.role)
        self._reader = MessageReader(self.role.peer)
        self._writer = MessageWriter(self.role)
        self._outbox = Outbox(self._dataOut, self._creditOut, settings.maxBuffered)
        self._inboxOrNone: Inbox | None = None  # Big; idle sessions have neither.
        self._streamsOrNone: Streams | None = None
        self._roundTrip = math.inf
        self._events: list[Event] = []  # Never more than a few.
        self._now = 0.0
        self._liveness = Liveness()
        self._proved = False

    # What the driver asks.

    @property
    def state(self) -> State:
        """Where the Connection stands."""
        return self._machine.state

    @property
    def nextDeadline(self) -> float | None:
        """When :meth:`handleTimer` wants to be called, seconds; None for never."""
        return self._liveness.next(self._machine.state in LIVENESS_STATES)

    @property
    def ttl(self) -> float | None:
        """The TTL as the server granted it last, seconds; None before Established."""
        return self._liveness.ttl

    def silence(self, now: float) -> float | None:
        """
        How long it is since the session was renewed.

        :param now: the time, seconds.
        :return: seconds; None before the session is up, and when the peer's silence does not
            count any more.
        """
        return self._liveness.silence(now) if self.state in LIVENESS_STATES else None

    @property
    def queued(self) -> int:
        """How many octets of application data wait to be sent in the main stream."""
        return self._outbox.queued

    @property
    def hasEvents(self) -> bool:
        """Whether something happened while something was sent."""
        return bool(self._events)

    @property
    def hasDataToSend(self) -> bool:
        """Whether :meth:`dataToSend` with a positive limit would give anything."""
        return bool(self._writer.ready or self._outbox)

    @property
    def hasDataReady(self) -> bool:
        """Whether data of some stream would be among it, not only what the protocol says."""
        return bool(self._outbox.turns)

    def dataToSend(
        self, now: float, limit: int = WRITE_BATCH, longest: int = FRAGMENT_LIMIT
    ) -> bytes:
        """
        Seal and take records, the urgent ones first.

        :param now: the time, seconds.
        :param limit: about how many octets the transport takes; at zero only
            the handshake's messages, a key update that was asked for and the
            final word come out.
        :param longest: how many octets of data a record has at most, if the peer takes as many:
            few for a path that is not known to be quick.
        :return: octets for the transport.
        """
        size, outbox, writer = 0, self._outbox, self._writer
        while size < limit:
            message = outbox.take(longest)
            if message is None:
                break
            writer.seal(message, now)
            size += len(message) + _OVERHEAD
            kind = message[0]
            if kind in _FAREWELLS:
                self._machine.step(Step.FLUSHED)
            if kind in _LAST or (kind == self._dataOut and message[1] & END):
                self._sentLast(message)
        if outbox.drained:
            self._noteDrained()
        if not writer.ready:
            return b""
        data = writer.take()
        self.octetsSent += len(data)
        return data

    # The network.

    def receiveData(self, data: bytes, now: float) -> Iterator[Event]:
        """
        Take octets from the peer.

        :param data: the octets, however cut.
        :param now: the time, seconds.
        :return: what follows, one by one: the next record is not looked at
            before the driver has dealt with the event of the last.
        """
        self._now = now
        if self.termination is None:
            self.octetsReceived += len(data)
            self._reader.feed(data)
        return self._follow()

    def receiveEnd(self, now: float) -> list[Event]:
        """
        The peer's stream has ended.

        :param now: the time, seconds.
        :return: what follows: what was held, and a truncation unless the session was over.
        """
        self._now = now
        self._releaseReceived()
        try:
            while self.termination is None and self._advanceReceived():
                pass
        except RemoteProtocolError as error:
            self._refuse(error)
        if self.termination is None:
            self._end(Termination(Cause.TRUNCATED, detail=f"in state {self.state.name}"))
        return self._takeEvents()

    def _follow(self) -> Iterator[Event]:
        """Tell what happened, then let the next thing happen, until nothing more can."""
        advanced = True
        while advanced or self._events:
            while self._events:
                yield self._events.pop(0)
            try:
                advanced = self.termination is None and self._advance()
            except RemoteProtocolError as error:
                self._refuse(error)

    def _advance(self) -> bool:
        """Deal with one thing that came in, if there is any: what came first, first."""
        waits = self._inboxOrNone is not None or self._streamsOrNone is not None
        if waits and self._advanceReceived():
            return True
        established = self.session is not None
        limit = self._limits.capacity.recordLimit if established else self._handshakeLimit
        message = self._reader.nextMessage(limit)
        if message is None:
            return False
        kind = TYPES.get(message[0])
        if kind is None:
            raise self._unknown(message)
        if established and kind in self._inOrder:
            self._receiveInOrder(kind, message, limit)
        else:
            self._machine.receive(kind)
            self._handlers[kind](self, message)
        return True

    def _unknown(self, message: bytes) -> RemoteProtocolError:
        stranger = self.state is State.AWAIT_CHI
        code = ErrorCode.NOT_THING if stranger else ErrorCode.UNKNOWN_MESSAGE
        return RemoteProtocolError(code, f"type {message[0]:#04x}")

    # What those who build on this do about what stands in the order of streams.

    def _receiveInOrder(self, kind: MessageType, message: bytes, limit: int) -> None:
        """Deal with such a message, now or when its turn comes."""

    def _advanceReceived(self) -> bool:
        """Deal with one that has waited, unless all are held."""
        return False

    def _releaseReceived(self) -> None:
        """Hold nothing any more."""

    def _deliverRest(self) -> None:
        """The session is over: tell what came whole and in order before that."""

    def _dropReceived(self) -> None:
        """This side ends the session at once: what it has not taken it does not want."""

    def _forgetReceived(self) -> None:
        """The session is over, and all is told."""

    def _sentLast(self, message: bytes) -> None:
        """Data with END, a stop, or the goodbye were handed to the transport."""

    def _noteDrained(self) -> None:
        """Of some stream little waits to be sent."""

    @property
    def _handshakeLimit(self) -> int:
        first = self.state in (State.AWAIT_CHI, State.AWAIT_SECOND_CHI)
        return CHI_LIMIT if first else HANDSHAKE_LIMIT

    # The clock.

    def handleTimer(self, now: float) -> list[Event]:
        """
        Look at the deadlines.

        :param now: the time, seconds.
        :return: what follows.
        """
        self._now = now
        verdict = self._liveness.check(now, self.state in LIVENESS_STATES)
        if verdict is not Verdict.ALIVE:
            self._judge(verdict)
        return self._takeEvents()

    def _outOfTime(self) -> None:
        """The handshake, or the orderly close, took too long."""
        if self.session is None:
            self._refuse(RemoteProtocolError(ErrorCode.HANDSHAKE_TIMEOUT, self.state.value))
        else:
            self._end(Termination(Cause.ABORTED, ErrorCode.CLOSE_TIMEOUT, detail=self.state.value))

    def _judge(self, verdict: Verdict) -> None:
        if verdict is Verdict.OUT_OF_TIME:
            self._outOfTime()
        elif verdict is Verdict.LATE:
            self._events.append(HeartbeatLate(self._liveness.silence(self._now) or 0.0))
        elif verdict is Verdict.DEAD:
            self._peerIsDead()

    def _peerIsDead(self) -> None:
        """The peer was silent for a TTL."""
        self._end(Termination(Cause.LAPSED))

    # This side's program.

    def reject(
        self, code: ErrorCode, now: float, detail: str = "", retryAfter: float = 0.0
    ) -> list[Event]:
        """
        End the connection because this side's program refuses it, and say so to the peer.

        :param code: what the peer is told.
        :param now: the time, seconds.
        :param detail: why, for this side's log only.
        :param retryAfter: how long a client should stay away, seconds; for a server to say.
        :return: what follows.
        """
        self._now = now
        if self.termination is None:
            self._dropReceived()
            cause = Cause.REJECTED if self.session is None else Cause.ABORTED
            self._sayReject(code, retryAfter)
            self._end(Termination(cause, code, detail=detail))
        return self._takeEvents()

    def abort(self, now: float, code: ErrorCode = ErrorCode.ABORTED) -> list[Event]:
        """
        End the connection at once, without a word.

        :param now: the time, seconds.
        :param code: what this side's program is told.
        :return: what follows.
        """
        self._now = now
        if self.termination is None:
            self._writer.clear()
            self._dropReceived()
            self._end(Termination(Cause.ABORTED, code))
        return self._takeEvents()

    # What both roles' messages share.

    def _urgent(self, message: Message) -> None:
        self._outbox.urgent(message.typed())

    def _receiveReject(self, message: bytes) -> None:
        reject = self._rejectIn.decode(message[1:])
        self._end(endings.rejectedByPeer(reject, self.session is not None, self._proved))

    def _beginClose(self) -> None:
        self._liveness.limit(self._now, self._limits.closeTimeout)

    # The end.

    def _refuse(self, error: RemoteProtocolError) -> None:
        """The peer broke a rule: tell it which, and end."""
        if self.termination is not None:
            return
        if error.code is not ErrorCode.NOT_THING:
            self._sayReject(error.code, 0.0)
        self._end(endings.refused(error, self.session is not None))

    def _sayReject(self, code: ErrorCode, retryAfter: float) -> None:
        advice = toMilliseconds(retryAfter) if self.role is Role.SERVER else 0
        self._finalWord(self._rejectOut(code, advice))

    def _finalWord(self, message: Message) -> None:
        self._outbox.clear()
        self._writer.add(message.typed())

    def _end(self, termination: Termination) -> None:
        """The only way to the end: tell what came before it, forget all secrets and all else."""
        self._deliverRest()
        self._machine.step(Step.END)
        self.termination = termination
        self._forgetReceived()
        self._outbox.clear()
        self._reader.clear()
        self._writer.key = None
        self._liveness.end()
        self._events.append(Terminated(termination))

    def _takeEvents(self) -> list[Event]:
        events = list(self._events)
        self._events.clear()
        return events
