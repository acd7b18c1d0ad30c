"""
The thin layer between one Connection and Twisted: its transport, its timers, its owner.

All that the protocol decides is decided in :mod:`thing.core`; here bytes are
carried, one timer is kept at the next deadline, and events become calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.core.client import ClientConnection
from thing.core.messages import FRAGMENT_LIMIT, Role
from thing.core.server import ServerConnection
from thing.core.states import WRITABLE_STATES, State
from thing.errors import ErrorCode, NotAuthorized
from thing.events import (
    Event,
    HandshakeCompleted,
    HeartbeatAcknowledged,
    HeartbeatSent,
    PeerProved,
    Terminated,
    Termination,
)
from thing.identity import Identity
from thing.session.beating import Beating
from thing.session.transports import abort, loseWrite, sendsAtOnce, tune

WRITE_BATCH = 65536
"""About how many octets of records go to the transport at once."""

QUICK_BATCH = 7 * FRAGMENT_LIMIT
"""The same while they leave at once: Twisted's transports for sockets send up to 128 KiB a turn."""

QUICK = 0.01
"""How long that may take, seconds: what is slower makes heartbeats wait behind a smaller batch."""

QUEUE_HIGH = 65536
"""With this many octets queued the application's producer is paused."""

HELD_HIGH = 65536
"""With this many octets held back by the application the transport is paused."""

LINGER = 2.0
"""How long the transport may take to carry a final word to the peer, seconds."""


class Owner(Protocol):
    """Whom a driver works for: what it tells, and what it must ask."""

    def authorize(self, identity: Identity, /) -> Deferred[Identity]:
        """
        Decide whether to go on with the peer.

        :param identity: what it has proved.
        :return: fires with the identity and its name; fails with
            :class:`~thing.errors.NotAuthorized`, or with whatever is wrong.
        """

    def deliver(self, event: Event, /) -> None:
        """
        Take an event: any but :class:`~thing.events.PeerProved`.

        :param event: what happened; what this raises ends the session.
        """

    def jitter(self) -> float:
        """:return: a random number from 0 up to 1, for the schedule of heartbeats."""

    def loopLagged(self, seconds: float, /) -> None:
        """
        Note the event loop's lag.

        :param seconds: how late a timer came.
        """


@implementer(IPushProducer)
class Driver:
    """
    Drives one Connection over one transport.

    :ivar core: the Connection.
    :ivar proved: who the peer proved to be, as the authorizer was told.
    """

    __slots__ = (
        "_atOnce", "_beating", "_clock", "_deciding", "_deliver", "_drained", "_events",
        "_following", "_handedAt", "_linger", "_now", "_owner", "_producer", "_producerPaused",
        "_producerStreaming", "_pulling", "_readingPaused", "_room", "_sending", "_timer",
        "_transport", "_wakesAt", "core", "proved",
    )  # fmt: skip
    _log = Logger()

    def __init__(
        self,
        core: ServerConnection | ClientConnection,
        owner: Owner,
        clock: IReactorTime,
    ) -> None:
        """
        :param core: the Connection, not started.
        :param owner: is told of every event, and asked what the protocol leaves open.
        :param clock: measures time.
        """
        self.core = core
        self._owner = owner
        self._deliver = owner.deliver
        self._clock = clock
        self._now = clock.seconds
        self._transport: Any = None
        self._events: list[Iterator[Event]] = []
        self._following = self._sending = False
        self._timer: IDelayedCall | None = None
        self._wakesAt = 0.0
        self._linger: IDelayedCall | None = None
        self._deciding: Deferred[Identity] | None = None
        self.proved: Identity | None = None
        self._beating: Beating | None = None
        self._atOnce = False
        self._drained = False
        self._room = WRITE_BATCH  # How many octets the transport may be given for now.
        self._handedAt = 0.0
        self._readingPaused = False
        self._producer: Any = None
        self._producerStreaming = False
        self._producerPaused = False
        self._pulling = False

    # The transport's side.

    def attach(self, transport: ITransport) -> None:
        """
        Take hold of the transport.

        :param transport: the stream to the peer.
        """
        self._transport = transport
        tune(transport)
        self._register()

    def _register(self) -> None:
        """Have the transport tell when it takes more."""
        self._atOnce = sendsAtOnce(self._transport)
        # As a pull producer we are told whenever the transport has nothing left to send.
        self._transport.registerProducer(self, not self._atOnce)
        self._drained = False  # That told nothing: others may have written before us.

    def start(self) -> None:
        """Begin the handshake, unless the connection was turned away already."""
        if self.core.termination is not None:
            return
        if self._atOnce and not sendsAtOnce(self._transport):  # TLS began in connectionMade.
            self._transport.unregisterProducer()
            self._register()
        self.follow(self.core.start(self._now()))

    def cut(self) -> None:
        """Cut the stream of a connection that is over already."""
        abort(self._transport)

    def received(self, data: bytes) -> None:
        """
        Octets came in.

        :param data: the octets.
        """
        self.follow(self.core.receiveData(data, self._now()))

    def disconnected(self) -> None:
        """The transport is gone: no timer, no waiter and no producer is left behind."""
        self._events.append(iter(self.core.receiveEnd(self._now())))
        following, self._following = self._following, True
        self._handleEvents()
        self._following = following
        self._cancel("_linger")
        self._cancel("_timer")
        self._transport = None

    def pauseProducing(self) -> None:
        """The transport has enough for now (``IPushProducer``)."""
        self._room = 0

    def resumeProducing(self) -> None:
        """The transport takes more (``IPushProducer``)."""
        if self._atOnce and self._transport.disconnecting:
            self._transport.unregisterProducer()  # It waits for that before it closes.
            return
        self._room, self._drained = WRITE_BATCH, self._atOnce
        if self._atOnce and self._now() - self._handedAt < QUICK:
            self._room = QUICK_BATCH
        self._send()

    def stopProducing(self) -> None:
        """The transport will take nothing any more (``IPushProducer``)."""
        self._room = 0

    # Driving.

    def follow(self, events: Iterable[Event]) -> None:
        """
        Deal with what the core tells, then send what it has and set the timer.

        What a callback brings about is dealt with after the callback, and
        before what the core was going to tell next.

        :param events: what it tells, possibly lazily.
        """
        self._events.append(iter(events))
        if self._following:
            return
        self._following = True
        try:
            self._handleEvents()
        finally:
            self._following = False
        self._send()
        if self._readingPaused is not (self.core.held > HELD_HIGH):
            self._balanceReading()
        self._setTimer()

    def _handleEvents(self) -> None:
        pending = self._events
        while pending:
            latest = pending[-1]
            try:
                for event in latest:
                    own = _OWN.get(type(event))
                    if own is None:
                        self._deliver(event)
                    else:
                        own(self, event)
                    if not pending or pending[-1] is not latest:
                        break  # What the event brought about comes first, or did already.
                else:
                    pending.pop()
            except Exception:
                self._failed()

    def guard(self, callback: Callable[..., object], *args: object) -> None:
        """
        Call something of the application's; if it fails, log it and end the session.

        :param callback: what to call.
        :param args: with what.
        """
        try:
            callback(*args)
        except Exception:
            self._failed()

    def _failed(self) -> None:
        self._log.failure("The application failed; its session ends")
        self.follow(self.core.reject(ErrorCode.INTERNAL_ERROR, self._now(), "a failed callback"))

    def _handleProved(self, event: PeerProved) -> None:
        self._authorize(event.identity)

    def _handleCompleted(self, event: HandshakeCompleted) -> None:
        if self.core.role is Role.CLIENT:
            self._beating = Beating(self._beat, self._clock)
            self._beating.start(event.session.interval, self._owner.jitter())
        self._deliver(event)

    def _handleSent(self, event: HeartbeatSent) -> None:
        if self._beating is not None:
            self._beating.sent()
        self._deliver(event)

    def _handleAcknowledged(self, event: HeartbeatAcknowledged) -> None:
        if self._beating is not None and event.interval != self._beating.interval:
            self._beating.keep(event.interval)
        self._deliver(event)

    def _handleTerminated(self, event: Terminated) -> None:
        self._finish(event.termination)

    def flush(self) -> None:
        """Send what the core has; in the middle of dealing with events, once that is done."""
        if self._sending or (self._following and self.core.queued < WRITE_BATCH):
            self._balanceProducer()
        else:
            self._send()

    def _send(self) -> None:
        """
        Send what the core has, as far as the transport takes it, and ask for more.

        What the protocol says itself, heartbeats above all, need not wait for a turn of the
        reactor. Data do: pressed into a kernel that does not ask for more, in small segments,
        they exhaust a slow receiver's memory. It drops some, and from there on whatever stands
        behind the gap, acknowledgements too: two that echo each other stood still for good.
        """
        if self._sending:
            return
        self._sending = True
        try:
            full = False
            while self._transport is not None and not full:
                room, atOnce = self._room, self._drained and not self.core.queued
                full = room <= 0
                data = self.core.dataToSend(self._now(), room)
                if data:
                    self._hand(data, atOnce)
                if self._producer is not None:
                    self._balanceProducer()
                elif len(data) < room:
                    break  # That was all.
                if not self.core.hasDataToSend:
                    break
        finally:
            self._sending = False

    def _hand(self, data: bytes, atOnce: bool) -> None:
        """
        Have the transport send, in a turn of the reactor of its own or before.

        :param data: what.
        :param atOnce: whether to send now what the kernel takes; only when the transport has
            nothing that would go before it.
        """
        sent = self._transport.writeSomeData(data) if atOnce else 0
        if not isinstance(sent, int):
            sent = 0  # The stream is broken: the reactor will find and report it.
        left = data[sent:]
        if left:
            self._transport.write(left)
            if self._atOnce:  # Then it tells when all is sent, and nothing else.
                self._room -= len(left)
                self._drained, self._handedAt = False, self._now()

    def _setTimer(self) -> None:
        deadline = self.core.nextDeadline
        if deadline is None:
            self._cancel("_timer")
        elif self._timer is None:
            # A wait of zero is one turn of the reactor: what has arrived is read in between.
            wait = max(0.0, deadline - self._now())
            self._wakesAt = deadline
            self._timer = self._clock.callLater(wait, self._timeout)
        elif deadline < self._wakesAt:
            self._wakesAt = deadline
            self._timer.reset(max(0.0, deadline - self._now()))

    def _timeout(self) -> None:
        self._timer = None
        now = self._now()
        deadline = self.core.nextDeadline
        if deadline is not None and now < deadline:
            self._setTimer()  # It was moved meanwhile, as every heartbeat does.
            return
        if deadline is not None:
            self._owner.loopLagged(now - deadline)
        self.follow(self.core.handleTimer(now))

    # Authorization.

    def _authorize(self, identity: Identity) -> None:
        self.proved = identity
        deciding = self._owner.authorize(identity)
        self._deciding = deciding
        deciding.addCallbacks(partial(self.guard, self._admitted), self._refused)

    def _admitted(self, identity: Identity) -> None:
        self._deciding = None
        if self.core.state is State.AUTHORIZING:
            self.follow(self.core.admit(identity, self._now()))

    def _refused(self, failure: Failure) -> None:
        self._deciding = None
        if self.core.state is not State.AUTHORIZING:
            return  # The session ended first, and with it the question.
        error = failure.value
        if not isinstance(error, NotAuthorized):
            self._log.failure("The authorizer failed", failure=failure)
            error = NotAuthorized("the authorizer failed", ErrorCode.INTERNAL_ERROR)
        self.follow(self.core.reject(error.code, self._now(), error.detail, error.retryAfter))

    def _beat(self) -> None:
        if isinstance(self.core, ClientConnection):
            self.follow(self.core.beat(self._now()))

    # The application's data.

    def send(self, data: bytes) -> bool:
        """
        Send an application message.

        :param data: the message.
        :return: whether it is on its way.
        :raises LocalProtocolError: as :meth:`thing.core.connection.Connection.sendMessage`.
        """
        queued = self.core.sendMessage(data)
        self.flush()
        return queued

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let a producer send as fast as the peer takes it.

        :param producer: an ``IPushProducer`` or an ``IPullProducer``.
        :param streaming: which of the two.
        :raises RuntimeError: if there is one already.
        """
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        self._producer = producer
        self._producerStreaming = streaming
        self._producerPaused = False
        self._balanceProducer()

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None

    def _balanceProducer(self) -> None:
        """Pause the producer while nothing can be sent or much is queued, else let it go on."""
        core = self.core
        if self._producer is None:
            return
        up = core.session is not None
        if core.termination is not None or (up and core.state not in WRITABLE_STATES):
            self._stopProducer()
        elif self._producerStreaming:
            self._balanceStreaming(core.queued if up else QUEUE_HIGH)
        elif up and not self._pulling:
            self._pull()

    def _balanceStreaming(self, queued: int) -> None:
        if not self._producerPaused and queued >= QUEUE_HIGH:
            self._producerPaused = True
            self.guard(self._producer.pauseProducing)
        elif self._producerPaused and queued < QUEUE_HIGH // 2:
            self._producerPaused = False
            self.guard(self._producer.resumeProducing)

    def _pull(self) -> None:
        self._pulling = True
        try:
            while self._producer is not None and self.core.queued < QUEUE_HIGH // 2:
                sent = self.core.messagesSent
                self.guard(self._producer.resumeProducing)
                if self.core.messagesSent == sent:
                    return  # It has nothing now; its next message brings us back here.
        finally:
            self._pulling = False

    def _stopProducer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            self.guard(producer.stopProducing)

    def hold(self) -> None:
        """Deliver no data to the application; heartbeats go on."""
        self.core.hold()

    def release(self) -> None:
        """Deliver data again."""
        if self._readingPaused:  # The application goes on: what has a limit is its next pause.
            self.core.readingResumed(self._now())
            self.core.readingPaused(self._now())
        self.follow(self.core.release(self._now()))

    def _balanceReading(self) -> None:
        """Read on only while what the application holds back is not more than is kept for it."""
        tooMuch = self.core.held > HELD_HIGH
        if tooMuch is self._readingPaused or self._transport is None:
            return
        self._readingPaused = tooMuch
        if tooMuch:
            self._transport.pauseProducing()
            self.core.readingPaused(self._now())
        else:
            self.core.readingResumed(self._now())
            self._transport.resumeProducing()

    # The end.

    def _finish(self, termination: Termination) -> None:
        """Stop everything, say the final word, tell the application, close the transport."""
        if self._beating is not None:
            self._beating.stop()
        self._cancel("_timer")
        if self._deciding is not None:
            self.guard(self._deciding.cancel)
        finalWord = self.core.dataToSend(self._now(), 0)
        if finalWord and self._transport is not None:
            self._hand(finalWord, self._drained)
        self._stopProducer()
        self.guard(self._deliver, Terminated(termination))
        if self._transport is not None:
            self._close(self._transport, termination, bool(finalWord))

    def _close(self, transport: Any, termination: Termination, finalWord: bool) -> None:
        """See to it that the transport closes in time, the final word first."""
        transport.unregisterProducer()
        self._balanceReading()  # Nothing is held any more, and the stream's end must be seen.
        if not (finalWord or termination.byPeer or termination.clean):
            abort(transport)
            return
        self._linger = self._clock.callLater(LINGER, abort, transport)
        if finalWord:
            loseWrite(transport)
        else:
            transport.loseConnection()

    def _cancel(self, name: str) -> None:
        call: IDelayedCall | None = getattr(self, name)
        setattr(self, name, None)
        if call is not None and call.active():
            call.cancel()


_OWN: dict[type[Any], Callable[[Driver, Any], None]] = {
    PeerProved: Driver._handleProved,
    HandshakeCompleted: Driver._handleCompleted,
    HeartbeatSent: Driver._handleSent,
    HeartbeatAcknowledged: Driver._handleAcknowledged,
    Terminated: Driver._handleTerminated,
}
"""The events that the driver itself has to do with; all others are the protocol's alone."""
