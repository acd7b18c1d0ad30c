"""
:class:`CarriedStream`: one stream beside the main one, and the protocol in it.

It is what the protocol's transport (:mod:`thing.session.carried`) is carried by; how streams come
about is in :mod:`thing.session.streams`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory, IReactorTime
from twisted.python.failure import Failure
from twisted.python.log import callWithContext

from thing.core.lane import moves
from thing.core.states import State
from thing.errors import StopCode
from thing.events import Session, Termination
from thing.session.carried import StreamTransport, prefixOf
from thing.session.clock import callOff
from thing.session.driver import Driver
from thing.session.interfaces import IStreamServer
from thing.session.producers import QUEUE_LOW, PacedProducer
from thing.session.reasons import StreamCut
from thing.session.sessionfactory import SessionFactory

STOP_FAILED = "A factory of streams failed to stop"
"""What is logged of that; all else goes on."""


class Siblings(Protocol):
    """All streams of a session, as one of them knows them."""

    def written(self, carried: CarriedStream) -> None:
        """Note that something was written that the session is not given at once."""

    def forget(self, carried: CarriedStream) -> None:
        """Note that a stream is over."""


class Owner(Protocol):
    """What the streams of a session need of it."""

    driver: Driver
    factory: SessionFactory[Any]

    @property
    def streams(self) -> Siblings:
        """The streams themselves."""

    @property
    def protocol(self) -> Any:
        """The session's protocol."""

    @property
    def audience(self) -> Any:
        """Who is asked about streams that nothing is served for."""

    @property
    def clock(self) -> IReactorTime:
        """Measures time."""

    @property
    def served(self) -> Mapping[str, IProtocolFactory | IStreamServer]:
        """What is served in the streams of all sessions, by label."""

    def whenEstablished(self) -> Deferred[Session]:
        """:return: fires when the session is up."""


class CarriedStream:
    """
    One stream and the protocol in it; its transport's carrier.

    :ivar number: the stream's.
    :ivar label: what it is for.
    :ivar transport: the protocol's transport, once there is a protocol.
    :ivar bug: what the protocol raised first, if it did.
    :ivar messagesSent: how often it was given something to send.
    """

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
        self._tally = owner.factory.served.tallyOf(label)
        self._protocol: Any = None
        self._producer: PacedProducer | None = None
        self._over = self._paused = False
        self._factory: IProtocolFactory | None = None
        self._ending: IDelayedCall | None = None
        self.bug: Failure | None = None
        self.messagesSent = 0

    # What the transport asks of its carrier.

    @property
    def streams(self) -> Siblings:
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
        # As in Twisted's own transports what waits is bounded by producers, if at all.
        queued = self._core.sendStream(self.number, message, limited=False)
        self.messagesSent += 1
        self._tally.sent += len(message)
        self._core.wantStream(self.number, QUEUE_LOW)
        self._driver.flush()
        return queued

    def written(self) -> None:
        """Something was written, and will be given to the session in a turn of the reactor."""
        self.streams.written(self)

    def endData(self) -> None:
        """End this direction, behind what waits."""
        self._core.endStream(self.number)
        self._driver.flush()
        if self.transport is not None:
            self.transport.ended(self._protocol)

    def goodbye(self) -> None:
        """Close both directions in order, or not at all if the peer takes nothing any more."""
        if self._ending is None:
            self._watchProgress(self.queued)
        self._driver.follow(self._core.closeStream(self.number, self._owner.clock.seconds()))

    @property
    def _patience(self) -> float:
        """How long a close waits while next to nothing moves, seconds."""
        return self._owner.factory.settings.closeTimeout

    def _watchProgress(self, queued: int) -> None:
        self._ending = self._owner.clock.callLater(self._patience, self._checkProgress, queued)

    def _checkProgress(self, before: int) -> None:
        queued = self.queued
        if moves(before, queued, self._patience):
            self._watchProgress(queued)
        else:
            self.timeOut()

    def timeOut(self) -> None:
        """End both directions at once: the peer takes nothing any more, and something is left."""
        self.stop(StopCode.TIMED_OUT)
        self.lost(StreamCut(StopCode.TIMED_OUT))

    def pauseProducing(self) -> None:
        """Deliver no data."""
        self._paused = True
        self._core.holdStream(self.number)

    def resumeProducing(self) -> None:
        """Deliver data again."""
        self._paused = False
        self._driver.follow(self._core.releaseStream(self.number, self._owner.clock.seconds()))

    def complete(self) -> None:
        """Be over when all has gone out: the peer lives, and may pause for as long as it likes."""
        assert self.transport is not None, "both halves were open"
        self.transport.disconnecting = True
        self._driver.follow(self._core.closeStream(self.number, self._owner.clock.seconds()))

    def cut(self, code: int) -> None:
        """
        End both directions at once.

        :param code: why.
        """
        self.stop(code)
        self._loseLater(ConnectionAborted())

    def _loseLater(self, reason: BaseException) -> None:
        """The protocol may be in the middle of the call that led here."""
        callOff(self._ending)
        self._ending = self._owner.clock.callLater(0.0, self.lost, reason)

    def logPrefix(self) -> str:
        """:return: the name of the protocol."""
        return prefixOf(self._protocol)

    def guard(self, callback: Callable[..., object], *args: object) -> None:
        """
        Call the protocol, in its logging context; if it fails, log it and end its stream.

        :param callback: what to call.
        :param args: with what.
        """
        try:
            callWithContext({"system": self.logPrefix()}, callback, *args)  # type: ignore[no-untyped-call]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._driver.failures.log("The protocol in a stream failed; its stream ends")
            self.bug = self.bug or Failure()  # type: ignore[no-untyped-call]
            self.stop(StopCode.FAILED)
            self._loseLater(error)

    # What the session's streams tell.

    def connect(self, protocol: IProtocol, factory: IProtocolFactory, below: Any) -> None:
        """
        Give a protocol its transport.

        :param protocol: the protocol.
        :param factory: built it; it was told that it is in use.
        :param below: the transport that the session has.
        """
        self._protocol = protocol
        self._factory = factory
        self.transport = StreamTransport(self, below, self._owner.clock, self._patience)
        self._producer = PacedProducer(self, self.guard)
        self._producer.register(self.transport.outflow, False)
        self.guard(protocol.makeConnection, self.transport)

    def begin(self) -> None:
        """Deliver what came before the stream was accepted, unless the protocol has paused."""
        if not self._paused:
            self.resumeProducing()

    def drain(self) -> None:
        """Give the session what was written."""
        if self.transport is not None:
            self.transport.outflow.drain()

    def received(self, data: bytes) -> None:
        """
        Octets came.

        :param data: the octets.
        """
        self._tally.received += len(data)
        if self.transport is not None and self.bug is None:
            self.guard(self._protocol.dataReceived, data)
            self.transport.outflow.drain()

    def drained(self) -> None:
        """Little waits to be sent."""
        if self._producer is not None:
            self._producer.balance()

    def peerEnded(self) -> None:
        """The peer has ended its direction."""
        if self.transport is not None and self.bug is None:
            self.transport.peerEnded(self._protocol)

    def closed(self) -> None:
        """Both directions have ended in order, as this side wanted."""
        self._loseLater(ConnectionDone())

    def lost(self, reason: BaseException) -> None:
        """
        The stream is over; its protocol is told once.

        :param reason: why.
        """
        if self._over:
            return
        self._over = True
        callOff(self._ending)
        self.streams.forget(self)
        if self.transport is not None:
            self.transport.lost()
            why = self.bug or Failure(reason)  # type: ignore[no-untyped-call]
            self.guard(self._protocol.connectionLost, why)
            callOff(self._ending)  # It has failed, perhaps; it is over all the same.
        if self._factory is not None:
            self._driver.failures.guard(STOP_FAILED, self._factory.doStop)
        # What knows us is let go of: so all of it is gone once nobody asks about the stream.
        self.transport = self._protocol = self._producer = self._factory = self._ending = None

    def stop(self, code: int) -> None:
        """
        End both directions at once.

        :param code: why.
        """
        self._core.stopStream(self.number, code)
        self._driver.flush()
