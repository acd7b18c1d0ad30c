"""
One Connection, either role, without I/O.

Bytes and the time go in; events, bytes to send and the next deadline come
out. Three things drive it: the network (:meth:`Connection.receiveData`), the
clock (:meth:`Connection.handleTimer`) and this side's own program (the other
methods). Each returns the events that follow; after each, the driver sends
what :meth:`Connection.dataToSend` gives and looks at
:attr:`Connection.nextDeadline` again. Nothing that a peer sends raises here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

from thing.core import keyschedule
from thing.core.handshake import Handshake
from thing.core.heartbeat import Deadline, Verdict, Watch, toMilliseconds
from thing.core.layout import Message
from thing.core.messages import (
    CHI_LIMIT,
    CHR,
    CKU,
    CRP,
    CRQ,
    HANDSHAKE_LIMIT,
    MORE,
    REQUEST_LIMIT,
    SHR,
    SRP,
    SRQ,
    MessageType,
    Role,
)
from thing.core.outbox import Outbox
from thing.core.records import (
    HEADER_LENGTH,
    RECORD_LIMIT,
    TAG_LENGTH,
    RecordReader,
    TrafficKey,
    clearRecord,
)
from thing.core.requests import RequestLedger
from thing.core.settings import Settings
from thing.core.states import LIVENESS_STATES, WRITABLE_STATES, State, StateMachine, Step
from thing.errors import (
    EndReason,
    ErrorCode,
    LocalProtocolError,
    RemoteProtocolError,
    ReplyStatus,
)
from thing.events import (
    UNAUTHENTICATED,
    Cause,
    Event,
    HandshakeCompleted,
    HeartbeatLate,
    KeyUpdated,
    MessageReceived,
    PeerProved,
    ReplyReceived,
    RequestReceived,
    Session,
    Terminated,
    Termination,
)
from thing.identity import Identity

_TYPES = {int(kind): kind for kind in MessageType}
_FAREWELLS = frozenset({MessageType.CGB, MessageType.SGB})
_BROKEN_RULES = frozenset(range(0x40)) - {
    ErrorCode.CREDENTIAL_REQUIRED,
    ErrorCode.NOT_AUTHORIZED,
    ErrorCode.HANDSHAKE_TIMEOUT,
    ErrorCode.SERVER_BUSY,
    ErrorCode.IDENTITY_IN_USE,
}
"""The codes that blame the other side; all others tell of a program's decision."""

DATA_HEADER = 2
"""What comes before the application's octets in a CDT or SDT: the type and the flags."""

_MORE, _LAST = bytes((MORE,)), b"\0"
_OVERHEAD = HEADER_LENGTH + TAG_LENGTH

HELD_OVERHEAD = 128
"""What a held message costs besides its octets, so that tiny ones count fairly."""


H = TypeVar("H", bound=Handshake)


class Connection(Generic[H]):
    """
    What both roles do; :class:`~thing.core.server.ServerConnection` and
    :class:`~thing.core.client.ClientConnection` add theirs.

    :ivar role: this side's role.
    :ivar session: what was agreed on, once the Connection is Established.
    :ivar termination: how it ended, once it has.
    :ivar octetsReceived: how many octets of the stream this side has taken.
    :ivar octetsSent: how many it has given to the transport.
    :ivar messagesReceived: how many of the application's messages and requests came in.
    :ivar messagesSent: how many were given to send.
    :ivar held: how many octets of the peer's data are held.
    """

    role: ClassVar[Role]
    _rejectOut: ClassVar[type[CHR] | type[SHR]]
    _dataOut: ClassVar[MessageType]
    _requestOut: ClassVar[type[CRQ] | type[SRQ]]
    _replyOut: ClassVar[type[CRP] | type[SRP]]
    _inOrder: ClassVar[frozenset[MessageType]]
    """What :meth:`hold` keeps: data, what is in order with them, and the goodbye behind them."""
    _dataIn: ClassVar[MessageType]
    _updateIn: ClassVar[MessageType]
    _updateOut: ClassVar[MessageType]
    _handlers: ClassVar[dict[MessageType, Callable[[Any, bytes], None]]]

    __slots__ = (
        "_deadline", "_events", "_exporterSecret", "_handshakeOrNone", "_held",
        "_holding", "_identity", "_insideMessage", "_ledger", "_limits", "_machine",
        "_message", "_now", "_outbox", "_pieces", "_proved", "_reader", "_readingPaused",
        "_ready", "_receiveKey", "_sendKey", "_taken", "_ttl", "_updated", "_watch",
        "held", "messagesReceived", "messagesSent", "octetsReceived", "octetsSent",
        "session", "termination",
    )  # fmt: skip

    def __init__(self, settings: Settings, handshake: H) -> None:
        """
        :param settings: what this side chose.
        :param handshake: this side's handshake, not begun.
        """
        self.session: Session | None = None
        self.termination: Termination | None = None
        self.octetsReceived = self.octetsSent = 0
        self.messagesReceived = self.messagesSent = 0
        self._limits = settings
        self._handshakeOrNone: H | None = handshake
        self._machine = StateMachine(self.role)
        self._reader = RecordReader()
        self._outbox = Outbox(self._dataOut, settings.maxBuffered)
        self._ledger: RequestLedger | None = None
        self._ready: list[bytes] = []
        self._events: list[Event] = []  # Never more than a few.
        self._holding = False
        self._held: deque[tuple[MessageType, bytes]] | None = None
        self.held = 0
        self._now = 0.0
        self._sendKey: TrafficKey | None = None
        self._receiveKey: TrafficKey | None = None
        self._exporterSecret: bytes | None = None
        self._watch: Watch | None = None
        self._deadline: Deadline | None = None
        self._ttl: float | None = None
        self._readingPaused = False
        self._identity: Identity | None = None
        self._proved = False
        self._message: bytearray | None = None
        self._pieces: list[memoryview] | None = None
        self._taken: tuple[MessageType, bytes] | None = None
        self._insideMessage = False
        self._updated = False

    # What the driver asks.

    @property
    def state(self) -> State:
        """Where the Connection stands."""
        return self._machine.state

    @property
    def nextDeadline(self) -> float | None:
        """When :meth:`handleTimer` wants to be called, seconds; None for never."""
        watch, deadline = self._watch, self._deadline
        if watch is None or self._machine.state not in LIVENESS_STATES:
            return None if deadline is None else deadline.due
        return watch.nextCheck if deadline is None else min(deadline.due, watch.nextCheck)

    @property
    def ttl(self) -> float | None:
        """The TTL as the server granted it last, seconds; None before Established."""
        return self._ttl

    @property
    def stream(self) -> bool:
        """Whether received data is told as it comes instead of message by message."""
        return self._limits.stream

    def silence(self, now: float) -> float | None:
        """
        How long it is since the session was renewed.

        :param now: the time, seconds.
        :return: seconds, without the time in which this side did not read; None before
            the session is up, and when the peer's silence does not count any more.
        """
        if self._watch is None or self.state not in LIVENESS_STATES:
            return None
        return self._watch.silence(now)

    @property
    def queued(self) -> int:
        """How many octets of application data wait to be sent."""
        return self._outbox.queued

    @property
    def hasDataToSend(self) -> bool:
        """Whether :meth:`dataToSend` with a positive limit would give anything."""
        return bool(self._ready or self._outbox)

    def dataToSend(self, now: float, limit: int) -> bytes:
        """
        Seal and take records, the urgent ones first.

        :param now: the time, seconds.
        :param limit: about how many octets the transport takes; at zero only
            the handshake's messages, a key update that was asked for and the
            final word come out.
        :return: octets for the transport.
        """
        out: list[bytes] = []
        if self._ready:
            out, self._ready = self._ready, []
        size, outbox = 0, self._outbox
        while size < limit:
            message = outbox.take()
            if message is None:
                break
            key = self._sendKey
            assert key is not None, "nothing is queued before the keys exist"
            if key.worn(now):
                self._ratchet(out, now)
            out += key.protect(message)
            size += len(message) + _OVERHEAD
            if message[0] in _FAREWELLS:
                self._machine.step(Step.FLUSHED)
        data = b"".join(out)
        self.octetsSent += len(data)
        return data

    def _ratchet(self, out: list[bytes], now: float) -> None:
        key = self._sendKey
        assert key is not None, "there is a key to update"
        out.append(key.seal(bytes((self._updateOut,))))
        key.update(now)

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
        return self._follow(self._nextRecord)

    def receiveEnd(self, now: float) -> list[Event]:
        """
        The peer's stream has ended.

        :param now: the time, seconds.
        :return: what follows: what was held, and a truncation unless the session was over.
        """
        self._now = now
        self._holding = False
        try:
            while self.termination is None and self._nextHeld():
                pass
        except RemoteProtocolError as error:
            self._refuse(error)
        if self.termination is None:
            self._end(Termination(Cause.TRUNCATED, detail=f"in state {self.state.name}"))
        return self._takeEvents()

    def hold(self) -> None:
        """
        Keep the peer's data, and its goodbye behind them, for later; the rest goes on.

        How much is kept is up to the driver: it watches :attr:`held`, and stops reading.
        """
        self._holding = True

    def release(self, now: float) -> Iterator[Event]:
        """
        Go on with the peer's data.

        :param now: the time, seconds.
        :return: what follows, one by one; holding again stops it.
        """
        self._now = now
        self._holding = False
        return self._follow(self._nextHeld)

    def _follow(self, advance: Callable[[], bool]) -> Iterator[Event]:
        """Tell what happened, then let the next thing happen, until nothing more can."""
        advanced = True
        while advanced or self._events:
            while self._events:
                yield self._events.pop(0)
            try:
                advanced = self.termination is None and advance()
            except RemoteProtocolError as error:
                self._refuse(error)
            if not advanced and self._pieces:
                self._tellPieces()

    def _nextRecord(self) -> bool:
        taken, self._taken = self._taken, None
        if taken is None:
            limit = RECORD_LIMIT if self.session is not None else self._handshakeLimit
            record = self._reader.next(limit)
            if record is None:
                return False
            taken = self._open(*record)
        kind, octets = taken
        if self._pieces and kind is not self._dataIn:
            self._tellPieces()
            self._taken = taken  # What is behind the data waits until they are dealt with.
        elif (self._holding or self._held) and self.session is not None and kind in self._inOrder:
            self._hold(kind, octets)
        else:
            self._receiveMessage(kind, octets)
        return True

    def _nextHeld(self) -> bool:
        if self._holding or not self._held:
            return False
        if self._pieces and self._held[0][0] is not self._dataIn:
            self._tellPieces()
            return True
        kind, octets = self._held.popleft()
        self.held -= len(octets) + HELD_OVERHEAD
        self._receiveMessage(kind, octets)
        return True

    def _tellPieces(self) -> None:
        """Tell in one what came of the stream: the fewer calls, the better."""
        pieces, self._pieces = self._pieces, None
        if pieces:
            self._events.append(MessageReceived(b"".join(pieces)))

    @property
    def _handshakeLimit(self) -> int:
        first = self.state in (State.AWAIT_CHI, State.AWAIT_SECOND_CHI)
        return CHI_LIMIT if first else HANDSHAKE_LIMIT

    def _open(self, header: bytes, payload: memoryview) -> tuple[MessageType, bytes]:
        """What is in a record: the message's type, and its octets with the type's."""
        if self._receiveKey is None:
            octets = bytes(payload)
        else:
            octets = self._receiveKey.open(header, payload)
            if not octets:
                raise RemoteProtocolError(ErrorCode.RECORD_EMPTY)
        kind = _TYPES.get(octets[0])
        if kind is None:
            if self.state is State.AWAIT_CHI:
                raise RemoteProtocolError(ErrorCode.NOT_THING, f"type {octets[0]:#04x}")
            raise RemoteProtocolError(ErrorCode.UNKNOWN_MESSAGE, f"type {octets[0]:#04x}")
        if self._updated:
            if kind is self._updateIn:
                raise RemoteProtocolError(ErrorCode.KEY_UPDATE_REPEATED)
            self._updated = False
        return kind, octets

    def _hold(self, kind: MessageType, octets: bytes) -> None:
        if self._held is None:
            self._held = deque()
        self._held.append((kind, octets))
        self.held += len(octets) + HELD_OVERHEAD

    def _receiveMessage(self, kind: MessageType, octets: bytes) -> None:
        self._machine.receive(kind)
        self._handlers[kind](self, octets)

    # The clock.

    def handleTimer(self, now: float) -> list[Event]:
        """
        Look at the deadlines.

        :param now: the time, seconds.
        :return: what follows.
        """
        self._now = now
        if self._deadline is not None and self._deadline.expired(now):
            self._outOfTime()
        elif self._watch is not None and self.state in LIVENESS_STATES:
            self._judge(self._watch.check(now))
        return self._takeEvents()

    def _outOfTime(self) -> None:
        """The handshake, or the orderly close, took too long."""
        if self.session is None:
            self._refuse(RemoteProtocolError(ErrorCode.HANDSHAKE_TIMEOUT, self.state.value))
        else:
            self._end(Termination(Cause.ABORTED, ErrorCode.CLOSE_TIMEOUT, detail=self.state.value))

    def _judge(self, verdict: Verdict) -> None:
        assert self._watch is not None, "a verdict is about somebody"
        if verdict is Verdict.LATE:
            self._events.append(HeartbeatLate(self._watch.silence(self._now)))
        elif verdict is Verdict.PAUSED_TOO_LONG:
            self._sayReject(ErrorCode.PAUSED_TOO_LONG, 0.0)
            self._end(Termination(Cause.ABORTED, ErrorCode.PAUSED_TOO_LONG))
        elif verdict is Verdict.DEAD:
            self._peerIsDead()

    def _peerIsDead(self) -> None:
        """The peer was silent for a TTL."""
        self._end(Termination(Cause.LAPSED))

    # This side's program.

    def start(self, now: float) -> list[Event]:
        """
        The transport is connected.

        :param now: the time, seconds.
        :return: what follows.
        """
        self._now = now
        self._machine.step(Step.START)
        timeout = self._limits.handshakeTimeout
        self._deadline = Deadline(now + timeout, timeout)
        return self._takeEvents()

    def admit(self, identity: Identity, now: float) -> list[Event]:
        """
        The authorizer admits the peer that :class:`~thing.events.PeerProved` told of.

        :param identity: the peer, with the name that this side knows it by.
        :param now: the time, seconds.
        :return: what follows.
        :raises LocalProtocolError: ``WRONG_STATE`` if nothing is to be decided.
        """
        self._now = now
        self._machine.step(Step.ADMIT)
        self._identity = identity
        try:
            self._admitted()
        except RemoteProtocolError as error:
            self._refuse(error)
        return self._takeEvents()

    def _admitted(self) -> None:
        """Go on with the handshake."""

    def reject(
        self, code: ErrorCode, now: float, detail: str = "", retryAfter: float = 0.0
    ) -> list[Event]:
        """
        End the connection because this side's program refuses it, and say so to the peer.

        :param code: what the peer is told.
        :param now: the time, seconds.
        :param detail: why, for this side's log only.
        :param retryAfter: how long a client should stay away, seconds.
        :return: what follows.
        """
        self._now = now
        if self.termination is None:
            self._held = None
            cause = Cause.REJECTED if self.session is None else Cause.ABORTED
            self._sayReject(code, retryAfter)
            self._end(Termination(cause, code, detail=detail))
        return self._takeEvents()

    def abort(self, now: float) -> list[Event]:
        """
        End the connection at once, without a word.

        :param now: the time, seconds.
        :return: what follows.
        """
        self._now = now
        if self.termination is None:
            self._ready.clear()
            self._held = None
            self._end(Termination(Cause.ABORTED, ErrorCode.ABORTED))
        return self._takeEvents()

    def sendMessage(self, data: bytes) -> bool:
        """
        Queue an application message of any length, zero included.

        :param data: the message.
        :return: whether it is queued; False once the session is closing or
            over, as a program cannot always know that yet.
        :raises LocalProtocolError: ``WRONG_STATE`` before the session is up;
            ``BUFFER_FULL`` if with it too much would wait.
        :raises TypeError: unless ``data`` is bytes or like bytes.
        """
        if self._machine.state not in WRITABLE_STATES:
            self._checkBegun()
            return False
        self._outbox.data(_frozen(data))
        self.messagesSent += 1
        return True

    def _checkBegun(self) -> None:
        """Nothing can be sent now: that is the caller's error only before the session is up."""
        if self.session is None and self.termination is None:
            raise LocalProtocolError(ErrorCode.WRONG_STATE, f"no data in {self.state.name}")

    def request(self, data: bytes) -> int | None:
        """
        Queue a request; its reply is told by :class:`~thing.events.ReplyReceived`.

        :param data: what is asked, at most ``REQUEST_LIMIT`` octets.
        :return: its number; None once the session is closing or over.
        :raises LocalProtocolError: ``WRONG_STATE`` before the session is up;
            ``BAD_ARGUMENT`` if it is too long; ``BUFFER_FULL`` if too many are
            unanswered, or if with it too much would wait.
        :raises TypeError: unless ``data`` is bytes or like bytes.
        """
        content = _bounded(data)
        if self._machine.state not in WRITABLE_STATES:
            self._checkBegun()
            return None
        number = self._requests.next
        request = self._requestOut(number, content)
        self._outbox.whole(request.TYPE, request.encode())
        self._requests.made(number)
        self.messagesSent += 1
        return number

    def reply(self, number: int, status: ReplyStatus, data: bytes = b"") -> bool:
        """
        Queue the reply to a request of the peer's.

        It is never refused for want of room: the peer's requests are bounded, and wait for it.

        :param number: the request's.
        :param status: what became of it.
        :param data: the answer, at most ``REQUEST_LIMIT`` octets.
        :return: whether it is queued; False once the session is closing or over.
        :raises LocalProtocolError: ``BAD_ARGUMENT`` if it is too long, or if no such
            request is unanswered; ``WRONG_STATE`` before the session is up.
        """
        content = _bounded(data)
        if self._machine.state not in WRITABLE_STATES:
            self._checkBegun()
            return False
        self._requests.reply(number)
        reply = self._replyOut(number, status, content)
        self._outbox.whole(reply.TYPE, reply.encode(), limited=False)
        return True

    def updateKey(self, now: float) -> None:
        """
        Move this side's sending key forward now (it also does so by itself, in time).

        :param now: the time, seconds.
        :raises LocalProtocolError: ``WRONG_STATE`` unless the session is up.
        """
        if self.session is None or self._sendKey is None:
            raise LocalProtocolError(ErrorCode.WRONG_STATE, f"no traffic key in {self.state.name}")
        if self.state is State.AWAIT_CFL:
            return  # The final word is said.
        if self._sendKey.records:  # An unused key needs no update, and the peer would refuse it.
            self._ratchet(self._ready, now)

    def readingPaused(self, now: float) -> None:
        """
        This side stops reading: the peer's silence no longer counts.

        :param now: the time, seconds.
        """
        self._readingPaused = True
        if self._watch is not None:
            self._watch.pause(now)

    def readingResumed(self, now: float) -> None:
        """
        This side reads again.

        :param now: the time, seconds.
        """
        self._readingPaused = False
        if self._watch is not None:
            self._watch.resume(now)

    def exportKeyingMaterial(self, label: str, context: bytes, length: int) -> bytes:
        """
        Derive octets that only the two ends of this session know.

        :param label: what they are for; ASCII, at most 128 characters.
        :param context: what else they are bound to.
        :param length: how many, 1 to 8160.
        :return: the same octets on both sides.
        :raises LocalProtocolError: ``WRONG_STATE`` unless the session is up,
            ``BAD_ARGUMENT`` for a label or a length out of bounds.
        """
        if self._exporterSecret is None:
            raise LocalProtocolError(ErrorCode.WRONG_STATE, f"no keys in {self.state.name}")
        if not (label.isascii() and 0 < len(label) <= 128 and 0 < length <= 8160):
            raise LocalProtocolError(ErrorCode.BAD_ARGUMENT, "exporter label or length")
        return keyschedule.exportKeyingMaterial(
            self._exporterSecret, label.encode("ascii"), context, length
        )

    # What both roles' messages share.

    @property
    def _requests(self) -> RequestLedger:
        if self._ledger is None:
            self._ledger = RequestLedger()
        return self._ledger

    @property
    def _handshake(self) -> H:
        assert self._handshakeOrNone is not None, "the state machine puts the handshake first"
        return self._handshakeOrNone

    def _sendHandshake(self, *messages: Message) -> None:
        for message in messages:
            self._ready.append(self._record(message))

    def _record(self, message: Message) -> bytes:
        body = message.encode()
        if self._sendKey is None:
            return clearRecord(message.TYPE, body)
        return self._sendKey.seal(bytes((message.TYPE,)) + body)

    def _urgent(self, message: Message) -> None:
        self._outbox.urgent(bytes((message.TYPE,)) + message.encode())

    def _useKeys(self, clientSecret: bytes, serverSecret: bytes) -> None:
        keys = [
            TrafficKey(self._handshake.aead, secret, self._now)
            for secret in (clientSecret, serverSecret)
        ]
        self._sendKey, self._receiveKey = keys if self.role is Role.CLIENT else keys[::-1]

    def _useSessionKeys(self) -> bytes:
        """Move to the session's keys; what is kept of its secrets moves on with each update."""
        secrets = self._handshake.sessionSecrets()
        self._useKeys(secrets.clientSecret, secrets.serverSecret)
        self._exporterSecret = secrets.exporterSecret
        return secrets.sessionId

    def _peerProved(self, identity: Identity) -> None:
        self._proved = True
        self._events.append(PeerProved(identity))

    def _establish(self, sessionId: bytes, ttl: float, interval: float) -> None:
        """The session is up; from here on liveness counts."""
        handshake = self._handshake
        assert self._identity is not None, "both sides are proved"
        patient = self.role is Role.SERVER
        self._ttl = ttl
        self._watch = Watch(ttl, self._now, self._limits.pauseLimit, patient)
        if self._readingPaused:
            self._watch.pause(self._now)
        self._deadline = None
        self.session = Session(
            sessionId,
            self._identity,
            handshake.group.name,
            handshake.aead.name,
            ttl,
            interval,
            handshake.resumed,
        )
        self._handshakeOrNone = None
        self._events.append(HandshakeCompleted(self.session))

    def _receiveData(self, octets: bytes) -> None:
        flags = octets[1:2]  # CDT and SDT: flags, and the rest; too long to be copied for that.
        more = flags == _MORE
        if not (flags == _LAST or (more and len(octets) > DATA_HEADER)):
            raise RemoteProtocolError(ErrorCode.MALFORMED_MESSAGE, "data flags")
        self._insideMessage = more
        if self._limits.stream:
            self.messagesReceived += not more
            if len(octets) > DATA_HEADER:
                if self._pieces is None:
                    self._pieces = []
                self._pieces.append(memoryview(octets)[DATA_HEADER:])
            return
        before = self._message
        if len(before or b"") + len(octets) - DATA_HEADER > self._limits.maxMessage:
            raise RemoteProtocolError(
                ErrorCode.MESSAGE_TOO_LONG, f"limit {self._limits.maxMessage} octets"
            )
        if before is not None:
            before += memoryview(octets)[DATA_HEADER:]
        elif more:
            self._message = bytearray(memoryview(octets)[DATA_HEADER:])
        if not more:
            self._message = None
            self.messagesReceived += 1
            data = octets[DATA_HEADER:] if before is None else bytes(before)
            self._events.append(MessageReceived(data))

    def _notInside(self, what: str) -> None:
        if self._insideMessage:
            raise RemoteProtocolError(ErrorCode.MALFORMED_MESSAGE, f"{what} inside a message")

    def _receiveRequest(self, octets: bytes) -> None:
        message = CRQ.decode(octets[1:])  # SRQ has the same layout.
        self._notInside("a request")
        if len(message.data) > REQUEST_LIMIT:
            raise RemoteProtocolError(ErrorCode.MESSAGE_TOO_LONG, "a request")
        self._requests.take(message.number, self._outbox.waiting(self._replyOut.TYPE))
        self.messagesReceived += 1
        self._events.append(RequestReceived(message.number, message.data))

    def _receiveReply(self, octets: bytes) -> None:
        message = CRP.decode(octets[1:])  # SRP has the same layout.
        self._notInside("a reply")
        self._requests.replied(message.number)
        status = known(ReplyStatus, message.status)
        if not isinstance(status, ReplyStatus):
            status = ReplyStatus.FAILED
        self._events.append(ReplyReceived(message.number, status, message.data))

    def _receiveUpdate(self, octets: bytes) -> None:
        CKU.decode(octets[1:])  # SKU has the same layout.
        assert self._receiveKey is not None, "only a session updates keys"
        self._receiveKey.update(self._now)
        self._updated = True
        self._events.append(KeyUpdated(self._receiveKey.generation))

    def _receiveReject(self, octets: bytes) -> None:
        message = SHR.decode(octets[1:])  # CHR has the same layout.
        if self.session is None:
            cause = Cause.REJECTED
        else:
            broken = message.code in _BROKEN_RULES
            cause = Cause.PROTOCOL_ERROR if broken else Cause.ABORTED
        self._end(
            Termination(
                cause,
                known(ErrorCode, message.code),
                byPeer=True,
                # Keys by themselves prove nobody: whoever is between has some, too.
                detail="" if self._proved else UNAUTHENTICATED,
                retryAfter=heededRetryAfter(message.retryAfter),
            )
        )

    def _beginClose(self) -> None:
        self._deadline = Deadline(self._now + self._limits.closeTimeout, 0.0)

    # The end.

    def _refuse(self, error: RemoteProtocolError) -> None:
        """The peer broke a rule: tell it which, and end."""
        if self.termination is not None:
            return
        if error.code is not ErrorCode.NOT_THING:
            self._sayReject(error.code, 0.0)
        cause = Cause.REJECTED if self.session is None else Cause.PROTOCOL_ERROR
        self._end(Termination(cause, error.code, detail=error.detail))

    def _sayReject(self, code: ErrorCode, retryAfter: float) -> None:
        if self._sendKey is None and self.state is State.AWAIT_CCC:
            return  # The client has keys already, this side has none: it could not be believed.
        self._finalWord(self._rejectOut(code, toMilliseconds(retryAfter)))

    def _finalWord(self, message: Message) -> None:
        self._outbox.clear()
        self._ready.append(self._record(message))

    def _end(self, termination: Termination) -> None:
        """The only way to the end: forget all secrets and all that waits."""
        self._deliverHeld()
        self._tellPieces()
        self._taken = None
        self._machine.step(Step.END)
        self.termination = termination
        self._outbox.clear()
        self._reader.clear()
        self._message = self._held = self._ledger = None
        self.held = 0
        self._sendKey = self._receiveKey = self._exporterSecret = None
        self._watch = self._deadline = None
        self._handshakeOrNone = None
        self._events.append(Terminated(termination))

    def _deliverHeld(self) -> None:
        """What the peer sent before the session ended is not lost."""
        for kind, octets in self._held or ():
            if kind in (MessageType.CGB, MessageType.SGB):
                return
            try:
                self._handlers[kind](self, octets)
            except RemoteProtocolError:
                return  # The session is over as it is.

    def _takeEvents(self) -> list[Event]:
        events = list(self._events)
        self._events.clear()
        return events


MAX_RETRY_AFTER = 3600.0
"""The longest absence that a client lets a server ask of it, seconds."""


def heededRetryAfter(milliseconds: int) -> float:
    """
    Clamp a server's advice, so that no server can send a client away for good.

    :param milliseconds: what the server asks for.
    :return: what is told to the application, seconds.
    """
    return min(milliseconds / 1000, MAX_RETRY_AFTER)


def _frozen(data: bytes) -> bytes:
    """What cannot change any more while it waits; bytes need no copy."""
    return data if type(data) is bytes else bytes(memoryview(data))


def _bounded(data: bytes) -> bytes:
    content = _frozen(data)
    if len(content) > REQUEST_LIMIT:
        raise LocalProtocolError(
            ErrorCode.BAD_ARGUMENT, f"a request or a reply has {REQUEST_LIMIT} octets at most"
        )
    return content


E = TypeVar("E", ErrorCode, EndReason, ReplyStatus)


def known(enum: type[E], number: int) -> E | int:
    """
    Name a number that the peer sent, if this side has a name for it.

    :param enum: the registry.
    :param number: the number.
    :return: the registry's member, or the number.
    """
    try:
        return enum(number)
    except ValueError:
        return number
