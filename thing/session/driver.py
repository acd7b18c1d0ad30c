"""
The thin layer between one Connection and Twisted: its transport, its timers, its owner.

Octets come in from the transport, the core makes events of them, and those go to the owner; what
the core has for the peer goes out through a sink. All that the protocol decides is decided in
:mod:`thing.core`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol
from weakref import proxy

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITransport
from twisted.python.failure import Failure

from thing.core.client import ClientConnection
from thing.core.connection import WRITE_BATCH
from thing.core.server import ServerConnection
from thing.core.states import State
from thing.errors import ErrorCode, NotAuthorized
from thing.events import (
    Event,
    PeerProved,
    Terminated,
    Termination,
)
from thing.identity import Identity
from thing.session.clock import callOff
from thing.session.deadline import DeadlineTimer
from thing.session.failures import Failures
from thing.session.producers import PacedProducer
from thing.session.sinks import Sink, openSink
from thing.session.transports import (
    FULL_READ,
    NOT_SENT_LIMIT,
    abort,
    closeWriteSide,
    limitUnsent,
    readMore,
    setNoDelay,
)

LINGER = 2.0
"""How long the transport may take to carry a final word to the peer, seconds."""


class Owner(Protocol):
    """Whom a driver works for: what it tells, and what it must ask."""

    @property
    def failures(self) -> Failures:
        """Logs what goes wrong in the program's own code."""

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

    def holds(self, octets: int, /) -> None:
        """
        Count what waits in the memory for the session; it has changed.

        :param octets: how much waits now.
        """

    def loopLagged(self, seconds: float, /) -> None:
        """
        Note the event loop's lag.

        :param seconds: how late a timer came.
        """


class Driver:
    """
    Drives one Connection over one transport.

    :ivar core: the Connection.
    :ivar proved: who the peer proved to be, as the authorizer was told.
    :ivar aside: how many octets wait that the core has told of, and nobody has been given yet.
    """

    __slots__ = (
        "_clock", "_deciding", "_events", "_following", "_held", "_linger", "_now",
        "_owner", "_producer", "_sending", "_sink", "_timer", "_transport",
        "aside", "core", "proved",
    )  # fmt: skip

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
        self._clock = clock
        self._now = clock.seconds
        self._transport: Any = None
        self._sink: Sink | None = None
        self._events: list[Iterator[Event]] = []
        self._following = self._sending = False
        self._held = self.aside = 0
        self._timer = DeadlineTimer(clock, self._timedOut)
        self._linger: IDelayedCall | None = None
        self._deciding: Deferred[Identity] | None = None
        self.proved: Identity | None = None
        self._producer: PacedProducer | None = None  # Most sessions have none.

    @property
    def failures(self) -> Failures:
        """Logs what goes wrong in the program's own code."""
        return self._owner.failures

    # In: the transport's octets.

    def attach(self, transport: ITransport) -> None:
        """
        Take hold of the transport.

        :param transport: the stream to the peer.
        """
        self._transport = transport
        setNoDelay(transport)
        limitUnsent(transport, NOT_SENT_LIMIT)
        self._sink = openSink(transport, self._send, self._now)

    def start(self) -> None:
        """Begin the handshake, unless the connection was turned away already."""
        if self.core.termination is not None:
            return
        if self._sink is not None and not self._sink.suits():  # TLS began in connectionMade.
            self._sink.close(b"")
            self._sink = openSink(self._transport, self._send, self._now)
        self.follow(self.core.start(self._now()))

    def received(self, data: bytes) -> None:
        """
        Octets came in.

        :param data: the octets.
        """
        if len(data) == FULL_READ:
            readMore(self._transport)
        self.follow(self.core.receiveData(data, self._now()))

    def disconnected(self) -> None:
        """The transport is gone: no timer, no waiter and no producer is left behind."""
        self._transport = None  # Whatever the events bring about, nothing reaches for it.
        if self._sink is not None:
            self._sink.stopProducing()
        self._events.append(iter(self.core.receiveEnd(self._now())))
        following, self._following = self._following, True
        try:
            self._handleEvents()
        finally:
            self._following = following
            linger, self._linger = self._linger, None
            callOff(linger)
            # What knows us is let go of: so all of it is gone once nobody asks about the session.
            self._timer.end()
            self._sink = self._producer = None
            self._owner = proxy(self._owner)

    def cut(self) -> None:
        """Cut the stream of a connection that is over already."""
        if self._transport is not None:
            abort(self._transport)

    # Events: what the core tells.

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
        self._timer.set(self.core.nextDeadline)

    def _handleEvents(self) -> None:
        pending = self._events
        while pending:
            latest = pending[-1]
            try:
                for event in latest:
                    handler = _HANDLERS.get(type(event))
                    if handler is None:
                        self._owner.deliver(event)
                    else:
                        handler(self, event)
                    if not pending or pending[-1] is not latest:
                        break  # What the event brought about comes first, or did already.
                else:
                    pending.pop()
            except KeyboardInterrupt:
                raise
            except BaseException:  # As in Twisted, sys.exit() in a callback ends no program.
                self.fail()

    def guard(self, callback: Callable[..., object], *args: object) -> None:
        """
        Call something of the application's; if it fails, log it and end the session.

        :param callback: what to call.
        :param args: with what.
        """
        try:
            callback(*args)
        except KeyboardInterrupt:
            raise
        except BaseException:
            self.fail()

    def fail(self, failure: Failure | None = None) -> None:
        """
        Log that the application failed, and end the session.

        :param failure: how; by default the exception that is being handled.
        """
        if self._transport is None:
            self.failures.log("The application failed after its session had ended", failure)
            return
        self.failures.log("The application failed; its session ends", failure)
        self.follow(self.core.reject(ErrorCode.INTERNAL_ERROR, self._now(), "a failed callback"))

    # Out: what the core has for the peer.

    def send(self, data: bytes) -> bool:
        """
        Send an application message.

        :param data: the message.
        :return: whether it is on its way.
        :raises LocalProtocolError: as :meth:`thing.core.dialogue.Dialogue.sendMessage`.
        """
        queued = self.core.sendMessage(data)
        self.flush()
        return queued

    def flush(self) -> None:
        """Send what the core has; in the middle of dealing with events, once that is done."""
        if self._sending or (self._following and self.core.queued < WRITE_BATCH):
            if self._producer is not None:
                self._producer.balance()
        else:
            self._send()

    def _send(self) -> None:
        """Send what the core has, as far as the transport takes it, and ask for more."""
        sink, core = self._sink, self.core
        if self._sending or sink is None:
            return
        self._sending = True
        try:
            while True:
                room, urgent = sink.room, not core.hasDataReady
                data = core.dataToSend(self._now(), room, sink.longest)
                if data:
                    sink.send(data, urgent)
                told = core.hasEvents if data else False
                if told:
                    self.follow(core.takeEvents())
                if self._producer is not None:
                    self._producer.balance()
                elif len(data) < room and not told:
                    break  # That was all.
                if room <= 0 or not core.hasDataToSend:
                    break
        finally:
            self._sending = False
        held = core.held + sink.unsent + self.aside
        if held != self._held:
            self._held = held
            self._owner.holds(held)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let a producer send as fast as the peer takes it.

        :param producer: an ``IPushProducer`` or an ``IPullProducer``.
        :param streaming: which of the two.
        :raises RuntimeError: if there is one already.
        """
        if self._producer is None:
            self._producer = PacedProducer(self.core, self.guard)
        self._producer.register(producer, streaming)

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        paced, self._producer = self._producer, None
        if paced is not None:
            paced.unregister()

    # Data that the application does not take now.

    def hold(self) -> None:
        """Deliver no data of the main stream to the application; all else goes on."""
        self.core.hold()

    def release(self) -> None:
        """Deliver data again."""
        self.follow(self.core.release(self._now()))

    # Time.

    def _timedOut(self, late: float) -> None:
        self._owner.loopLagged(late)
        self.follow(self.core.handleTimer(self._now()))

    # Who the peer is.

    def _handleProved(self, event: PeerProved) -> None:
        self.proved = event.identity
        deciding = self._owner.authorize(event.identity)
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
            self.failures.log("The authorizer failed", failure)
            error = NotAuthorized("the authorizer failed", ErrorCode.INTERNAL_ERROR)
        self.follow(self.core.reject(error.code, self._now(), error.detail, error.retryAfter))

    # The end.

    def _handleTerminated(self, event: Terminated) -> None:
        """Stop everything, say the final word, tell the application, close the transport."""
        self._timer.stop()
        if self._deciding is not None:
            self.guard(self._deciding.cancel)
        finalWord = self.core.dataToSend(self._now(), 0)
        if self._sink is not None:
            self._sink.close(finalWord)
        if self._producer is not None:
            self.guard(self._producer.stop)
        self.guard(self._owner.deliver, event)
        if self._transport is not None:
            self._close(self._transport, event.termination, bool(finalWord))

    def _close(self, transport: Any, termination: Termination, finalWord: bool) -> None:
        """See to it that the transport closes in time, the final word first."""
        if not (finalWord or termination.byPeer or termination.clean):
            abort(transport)
            return
        self._linger = self._clock.callLater(LINGER, abort, transport)
        if finalWord:
            closeWriteSide(transport)
        else:
            transport.loseConnection()


_HANDLERS: dict[type[Any], Callable[[Driver, Any], None]] = {
    PeerProved: Driver._handleProved,
    Terminated: Driver._handleTerminated,
}
"""The events that the driver itself has to do with; all others are the protocol's alone."""
