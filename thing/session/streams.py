"""
The streams of a session as Twisted knows streams: endpoints, factories, transports.

What may be sent in a stream, and when it is over, is decided in the core. The main stream is not
here: its messages are the protocol's, and a ``thing:`` endpoint makes a transport of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, TimeoutError, ensureDeferred, fail, maybeDeferred
from twisted.internet.error import ConnectionDone, ConnectionLost, NoProtocol
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    ILoggingContext,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.core.states import State
from thing.errors import LocalProtocolError, SessionEnded, StopCode, StreamRefused
from thing.events import Session, StreamData, StreamRequested, StreamStopped, Termination
from thing.session.carried import StreamTransport
from thing.session.driver import Driver
from thing.session.producers import QUEUE_LOW, PacedProducer
from thing.session.reasons import reasonOf

DECISION_TIMEOUT = 10.0
"""How long a program may take to decide about a stream, seconds."""

ACCEPT_TIMEOUT = 30.0
"""How long an endpoint waits for the peer's decision by default, seconds."""


class StreamCut(ConnectionLost):
    """
    A stream was stopped, by the peer or because its protocol failed.

    :ivar code: why: a :class:`~thing.errors.StopCode`, or one of the application's.
    """

    def __init__(self, code: StopCode | int) -> None:
        """:param code: why."""
        super().__init__(str(StreamRefused(code)))
        self.code = code


class Owner(Protocol):
    """What the streams of a session need of it."""

    driver: Driver

    @property
    def streams(self) -> SessionStreams:
        """The streams themselves."""

    @property
    def protocol(self) -> Any:
        """The session's protocol."""

    @property
    def clock(self) -> IReactorTime:
        """Measures time."""

    @property
    def closeTimeout(self) -> float:
        """How long a close waits while nothing moves, seconds."""

    def whenEstablished(self) -> Deferred[Session]:
        """:return: fires when the session is up."""


class CarriedStream:
    """
    One stream and the protocol in it; its transport's carrier.

    :ivar number: the stream's.
    :ivar label: what it is for.
    :ivar transport: the protocol's transport, once there is a protocol.
    """

    _log = Logger()

    def __init__(self, number: int, label: str, owner: Owner) -> None:
        """
        :param number: the stream's.
        :param label: what it is for.
        :param owner: whose it is.
        """
        self.number = number
        self.label = label
        self.transport: StreamTransport | None = None
        self._owner = owner
        self._driver = owner.driver
        self._core = owner.driver.core
        self._protocol: Any = None
        self._producer: PacedProducer | None = None
        self._over = self._peerEnded = False
        self._reason: Failure | None = None
        self.messagesSent = 0

    # What the transport asks of its carrier.

    @property
    def streams(self) -> SessionStreams:
        """The session's streams."""
        return self._owner.streams

    @property
    def session(self) -> Session | None:
        """What both sides agreed on."""
        return self._core.session

    @property
    def termination(self) -> Termination | None:
        """How the session ended; None while it has not."""
        return self._core.termination

    @property
    def state(self) -> State:
        """The session's state."""
        return self._core.state

    @property
    def sessionId(self) -> str:
        """The session id in hexadecimal."""
        session = self._core.session
        return "" if session is None else session.sessionId.hex()

    @property
    def ttl(self) -> float | None:
        """The TTL as the server granted it last, seconds."""
        return self._core.ttl

    @property
    def roundTripTime(self) -> float | None:
        """What the client's last acknowledged heartbeat measured, seconds."""
        return self._core.roundTripTime

    @property
    def queued(self) -> int:
        """How many octets wait in the session."""
        return self._core.streamQueued(self.number)

    def exportKeyingMaterial(self, label: str, context: bytes, length: int) -> bytes:
        """
        Derive octets that only the two ends of the session know.

        :param label: what they are for.
        :param context: what else they are bound to.
        :param length: how many.
        :return: the octets.
        """
        return self._core.exportKeyingMaterial(label, context, length)

    def sendMessage(self, message: bytes) -> bool:
        """
        Send octets.

        :param message: the octets.
        :return: whether they are on their way.
        """
        queued = self._core.sendStream(self.number, message)
        self.messagesSent += 1
        self._core.wantStream(self.number, QUEUE_LOW)
        self._driver.flush()
        return queued

    def endData(self) -> None:
        """End this direction, behind what waits."""
        self._core.endStream(self.number)
        self._driver.flush()
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self.guard(self._protocol.writeConnectionLost)
        if self._peerEnded and self.transport is not None:
            self.transport.loseConnection()

    def goodbye(self) -> None:
        """Close both directions in order."""
        self._driver.follow(self._core.closeStream(self.number, self._seconds()))

    def pauseProducing(self) -> None:
        """Deliver no data."""
        self._core.holdStream(self.number)

    def resumeProducing(self) -> None:
        """Deliver data again."""
        self._driver.follow(self._core.releaseStream(self.number, self._seconds()))

    def abort(self) -> None:
        """End both directions at once."""
        self.stop(StopCode.CANCELLED)
        self._owner.clock.callLater(0.0, self.lost, _failure(ConnectionDone()))

    def logPrefix(self) -> str:
        """:return: the name of the protocol."""
        if ILoggingContext.providedBy(self._protocol):
            prefix: str = self._protocol.logPrefix()
            return prefix
        return type(self._protocol).__name__

    def guard(self, callback: Callable[..., object], *args: object) -> None:
        """
        Call the protocol; if it fails, log it and end its stream.

        :param callback: what to call.
        :param args: with what.
        """
        try:
            callback(*args)
        except Exception:
            self._log.failure("The protocol in a stream failed; its stream ends")
            self._reason = self._reason or Failure()  # type: ignore[no-untyped-call]
            self.stop(StopCode.FAILED)
            self._owner.clock.callLater(0.0, self.lost, self._reason)

    def _seconds(self) -> float:
        return self._owner.clock.seconds()

    # What the session's streams tell.

    def connect(self, protocol: IProtocol, below: Any) -> None:
        """
        Give a protocol its transport.

        :param protocol: the protocol.
        :param below: the transport that the session has.
        """
        self._protocol = protocol
        self.transport = StreamTransport(self, below, self._owner.clock, self._owner.closeTimeout)
        self._producer = PacedProducer(self, self.guard)
        self._producer.register(self.transport.outflow, False)
        self.guard(protocol.makeConnection, self.transport)

    def received(self, data: bytes) -> None:
        """
        Octets came.

        :param data: the octets.
        """
        if self.transport is not None and not self._over:
            self.guard(self._protocol.dataReceived, data)
            self.transport.outflow.drain()

    def drained(self) -> None:
        """Little waits to be sent."""
        if self._producer is not None and not self._over:
            self._producer.balance()

    def ended(self) -> None:
        """The peer has ended its direction."""
        self._peerEnded = True
        if self.transport is None or self._over:
            return
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self.guard(self._protocol.readConnectionLost)
            if self.transport.outflow.ended:
                self.transport.loseConnection()
        else:
            self.transport.loseConnection()

    def lost(self, reason: Failure) -> None:
        """
        The stream is over; its protocol is told once.

        :param reason: why.
        """
        if self._over:
            return
        self._over = True
        self.streams.forget(self)
        if self.transport is not None:
            self.transport.lost()
            try:
                self._protocol.connectionLost(self._reason or reason)
            except Exception:
                self._log.failure("The protocol in a stream failed when that was over")

    def stop(self, code: int) -> None:
        """
        End both directions at once.

        :param code: why.
        """
        self._core.stopStream(self.number, code)
        self._driver.flush()


@implementer(IStreamClientEndpoint)
class StreamEndpoint:
    """Opens a stream in a session for each connection."""

    def __init__(self, streams: SessionStreams, label: str, timeout: float) -> None:
        """
        :param streams: the session's.
        :param label: what the streams are for.
        :param timeout: how long the peer may take to decide, seconds.
        """
        self._streams = streams
        self._label = label
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Open a stream, as soon as the session is up.

        :param protocolFactory: builds the protocol, when the peer has accepted the stream.
        :return: fires with the protocol after its ``connectionMade``; fails with
            :class:`~thing.errors.StreamRefused`, with :class:`~thing.errors.SessionEnded` or
            :class:`~thing.errors.HandshakeFailed`, with ``TimeoutError``, or with
            :class:`~thing.errors.LocalProtocolError` (``TOO_MANY_STREAMS``, or a label that
            is none). It may be cancelled, which gives the stream up.
        """
        return self._streams.open(self._label, protocolFactory, self._timeout)


class SessionStreams:
    """
    What streams of a session are served, and a way to open others.

    It is the ``streams`` of a :class:`~thing.session.protocol.ThingProtocol`, and of the
    transports that :class:`~thing.session.interfaces.IThingTransport` describes.
    """

    _log = Logger()

    def __init__(self, owner: Owner) -> None:
        """:param owner: whose they are."""
        self._owner = owner
        self._core = owner.driver.core
        self._served: dict[str, IProtocolFactory] = {}
        self._carried: dict[int, CarriedStream] = {}
        self._deciding: dict[int, Deferred[Any]] = {}
        self._opening: dict[int, tuple[CarriedStream, Deferred[CarriedStream]]] = {}

    # The program's side.

    def endpoint(self, label: str, timeout: float = ACCEPT_TIMEOUT) -> StreamEndpoint:
        """
        Make an endpoint that opens a stream for each connection.

        :param label: what the streams are for, 1 to 255 octets in UTF-8.
        :param timeout: how long the peer may take to decide, seconds.
        :return: the endpoint.
        """
        return StreamEndpoint(self, label, timeout)

    def serve(self, label: str, factory: IProtocolFactory | None) -> None:
        """
        Accept the streams of a label that the peer opens from now on.

        :param label: the label.
        :param factory: builds a protocol for each stream; None to accept no more of them.
        """
        if factory is None:
            self._served.pop(label, None)
        else:
            self._served[label] = factory

    def __len__(self) -> int:
        """How many streams have a protocol."""
        return len(self._carried)

    def open(self, label: str, factory: IProtocolFactory, timeout: float) -> Deferred[IProtocol]:
        """
        Open a stream, as soon as the session is up.

        :param label: what it is for.
        :param factory: builds the protocol.
        :param timeout: how long the peer may take to decide, seconds.
        :return: as :meth:`StreamEndpoint.connect`.
        """

        async def connecting() -> IProtocol:
            if self._core.termination is not None and self._core.session is not None:
                raise SessionEnded(self._core.termination)
            await self._owner.whenEstablished()
            carried = await self._request(label, timeout)
            return self._connect(carried, factory)

        return ensureDeferred(connecting())

    def _request(self, label: str, timeout: float) -> Deferred[CarriedStream]:
        try:
            number = self._core.openStream(label, self._owner.clock.seconds())
        except LocalProtocolError:
            return fail()
        carried = CarriedStream(number, label, self._owner)

        def givenUp(_: object) -> None:
            self._opening.pop(number, None)
            carried.stop(StopCode.CANCELLED)

        answer: Deferred[CarriedStream] = Deferred(givenUp)
        self._opening[number] = carried, answer
        answer.addTimeout(timeout, self._owner.clock)
        self._owner.driver.flush()
        return answer

    def _connect(self, carried: CarriedStream, factory: IProtocolFactory) -> IProtocol:
        """Build the protocol of a stream that both sides have accepted."""
        below = self._owner.protocol.transport
        try:
            protocol = factory.buildProtocol(below.getPeer())
            if protocol is None:
                raise NoProtocol
        except Exception:
            carried.stop(StopCode.FAILED)
            raise
        self._carried[carried.number] = carried
        carried.connect(protocol, below)
        return protocol

    def forget(self, carried: CarriedStream) -> None:
        """
        A stream is over.

        :param carried: which.
        """
        self._carried.pop(carried.number, None)

    # The session's side.

    def drain(self) -> None:
        """Give the session all that was written in streams: it says goodbye."""
        for carried in list(self._carried.values()):
            if carried.transport is not None:
                carried.transport.outflow.drain()

    def requested(self, event: StreamRequested) -> None:
        """
        The peer opens a stream: have the program decide.

        :param event: which.
        """
        served = self._served.get(event.label)
        if served is not None:
            self._accept(event, served)
            return
        deciding: Deferred[Any] = maybeDeferred(self._ask, event.label)
        self._deciding[event.stream] = deciding
        deciding.addTimeout(DECISION_TIMEOUT, self._owner.clock)
        deciding.addCallback(self._decided, event).addErrback(self._refuse, event)

    def _ask(self, label: str) -> Any:
        answer = self._owner.protocol.streamRequested(label)
        return ensureDeferred(answer) if hasattr(answer, "__await__") else answer

    def _decided(self, factory: IProtocolFactory | None, event: StreamRequested) -> None:
        if factory is None:
            raise StreamRefused
        if self._deciding.pop(event.stream, None) is not None:
            self._accept(event, factory)

    def _refuse(self, failure: Failure, event: StreamRequested) -> None:
        if self._deciding.pop(event.stream, None) is None:
            return  # It was given up first.
        error = failure.value
        code: StopCode | int = StopCode.FAILED
        if isinstance(error, StreamRefused):
            code = error.code
        elif isinstance(error, TimeoutError):
            code = StopCode.TIMED_OUT
        else:
            self._log.failure("A stream was not decided about; it is refused", failure=failure)
        self._core.stopStream(event.stream, code)
        self._owner.driver.flush()

    def _accept(self, event: StreamRequested, factory: IProtocolFactory) -> None:
        if not self._core.acceptStream(event.stream):
            return
        carried = CarriedStream(event.stream, event.label, self._owner)
        try:
            self._connect(carried, factory)
        except NoProtocol:
            return
        except Exception:
            self._log.failure("A factory failed; its stream ends")
            return
        carried.resumeProducing()  # What came before it was accepted.

    def accepted(self, number: int) -> None:
        """
        The peer accepts a stream.

        :param number: its number.
        """
        opening = self._opening.pop(number, None)
        if opening is not None:
            carried, answer = opening
            answer.callback(carried)

    def received(self, event: StreamData) -> None:
        """
        Octets came.

        :param event: in which stream, and which.
        """
        carried = self._carried.get(event.stream)
        if carried is not None:
            carried.received(event.data)

    def ended(self, number: int) -> None:
        """
        The peer has ended its direction of a stream.

        :param number: the stream's.
        """
        carried = self._carried.get(number)
        if carried is not None:
            carried.ended()

    def drained(self, number: int) -> None:
        """
        Little of a stream waits to be sent.

        :param number: the stream's.
        """
        carried = self._carried.get(number)
        if carried is not None:
            carried.drained()

    def stopped(self, event: StreamStopped) -> None:
        """
        The peer ended both directions of a stream, or does not accept it.

        :param event: which, and why.
        """
        opening = self._opening.pop(event.stream, None)
        deciding = self._deciding.pop(event.stream, None)
        if opening is not None:
            opening[1].errback(StreamRefused(event.code))
        elif deciding is not None:
            deciding.cancel()
        else:
            done = event.code == StopCode.DONE
            self._lose(event.stream, ConnectionDone() if done else StreamCut(event.code))

    def closed(self, number: int) -> None:
        """
        A stream that this side has closed is over.

        :param number: its number.
        """
        carried = self._carried.get(number)
        if carried is not None:  # Its protocol may be in the middle of the call that led here.
            self._owner.clock.callLater(0.0, carried.lost, _failure(ConnectionDone()))

    def _lose(self, number: int, reason: Exception) -> None:
        carried = self._carried.get(number)
        if carried is not None:
            carried.lost(_failure(reason))

    def sessionEnded(self, termination: Termination) -> None:
        """
        The session is over, and all its streams with it.

        :param termination: how.
        """
        opening, self._opening = self._opening, {}
        for _, answer in opening.values():
            answer.errback(SessionEnded(termination))
        deciding, self._deciding = self._deciding, {}
        for decision in deciding.values():
            decision.cancel()
        for number in list(self._carried):
            self._lose(number, reasonOf(termination))


def _failure(reason: Exception) -> Failure:
    return Failure(reason)  # type: ignore[no-untyped-call]
