"""
The streams of a session as Twisted knows streams: who opens them, who is served in them.

What may be sent in a stream, and when it is over, is decided in the core; one stream and its
protocol are in :mod:`thing.session.stream`. The main stream is not here: its messages are the
protocol's, and a ``thing:`` endpoint makes a transport of it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, ensureDeferred, fail, maybeDeferred
from twisted.internet.error import ConnectionDone, NoProtocol
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.core.streams import keysOf
from thing.errors import SessionEnded, StopCode, StreamRefused
from thing.events import Session, StreamRequested, StreamStopped, Termination
from thing.session.interfaces import IStreamServer, checkApplication, checkServed
from thing.session.reasons import StreamCut, reasonOf
from thing.session.stream import STOP_FAILED, CarriedStream, Owner

DECISION_TIMEOUT = 10.0
"""How long a program may take to decide about a stream, seconds."""

ACCEPT_TIMEOUT = 30.0
"""How long an endpoint waits for the peer's decision by default, seconds."""


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
            :class:`~thing.errors.HandshakeFailed`, with ``TimeoutError``, with what the
            factory or ``connectionMade`` raised, or with
            :class:`~thing.errors.LocalProtocolError`: ``TOO_MANY_STREAMS``, ``WRONG_STATE``
            while the session says goodbye, ``BAD_ARGUMENT`` for a label that is none. It may be
            cancelled, which gives the stream up.
        :raises TypeError: if the factory is none.
        """
        checkApplication(protocolFactory)
        return self._streams.open(self._label, protocolFactory, self._timeout)


class SessionStreams:
    """
    What is served in a session's streams, and a way to open others.

    It is the ``streams`` of a :class:`~thing.session.protocol.ThingProtocol`, and of the
    transports that :class:`~thing.session.interfaces.IThingTransport` describes.
    """

    def __init__(self, owner: Owner) -> None:
        """:param owner: whose they are."""
        self._owner = owner
        self._core = owner.driver.core
        self._served: dict[str, Any] = {}
        self._carried: dict[int, CarriedStream] = {}
        self._deciding: dict[int, Deferred[Any]] = {}
        self._opening: dict[int, tuple[CarriedStream, Deferred[CarriedStream]]] = {}
        self._unsent: dict[int, CarriedStream] = {}

    # The program's side.

    def endpoint(self, label: str, timeout: float = ACCEPT_TIMEOUT) -> StreamEndpoint:
        """
        Make an endpoint that opens a stream for each connection.

        :param label: what the streams are for, 1 to 255 octets in UTF-8.
        :param timeout: how long the peer may take to decide, seconds.
        :return: the endpoint.
        """
        return StreamEndpoint(self, label, timeout)

    def serve(self, label: str, factory: IProtocolFactory | IStreamServer | None) -> None:
        """
        Accept the streams of a label that the peer of this session opens from now on.

        What a :class:`~thing.session.factory.ThingFactory` serves in all its sessions need not be
        said again.

        :param label: the label; one that ends in a colon stands for all that begin so.
        :param factory: builds a protocol for each stream, or decides about each; None to take no
            more of them, whatever is served in all sessions.
        :raises TypeError: if the factory is none.
        """
        if factory is not None:
            checkServed(factory)
        if self._core.termination is not None:
            return
        if factory is not None:
            factory.doStart()
        before, self._served[label] = self._served.get(label), factory
        if before is not None:
            before.doStop()

    def __len__(self) -> int:
        """How many streams have a protocol."""
        return len(self._carried)

    def __bool__(self) -> bool:
        """Always true, whether there are streams or not."""
        return True

    def open(self, label: str, factory: IProtocolFactory, timeout: float) -> Deferred[IProtocol]:
        """
        Open a stream, as soon as the session is up.

        :param label: what it is for.
        :param factory: builds the protocol.
        :param timeout: how long the peer may take to decide, seconds.
        :return: as :meth:`StreamEndpoint.connect`.
        """

        def build(carried: CarriedStream) -> tuple[CarriedStream, IProtocol]:
            return carried, self._build(carried, factory)

        def failed(failure: Failure) -> Failure:
            self._doStop(factory)
            return failure

        def connect(built: tuple[CarriedStream, IProtocol]) -> IProtocol:
            carried, protocol = built
            self._connect(carried, protocol, factory)
            if carried.bug is not None:  # Its end is told in a turn of its own.
                carried.bug.raiseException()
            return protocol

        factory.doStart()
        # No coroutine: an exception in one keeps it, and the session, until a collection.
        opening = self._whenEstablished().addCallback(lambda _: self._request(label, timeout))
        return opening.addCallback(build).addErrback(failed).addCallback(connect)

    def _whenEstablished(self) -> Deferred[Session]:
        """Fires when the session is up; fails if it was, and is no more."""
        if self._core.termination is not None and self._core.session is not None:
            return fail(SessionEnded(self._core.termination))
        return self._owner.whenEstablished()

    def _request(self, label: str, timeout: float) -> Deferred[CarriedStream]:
        """Open a stream; fires when the peer accepts it."""
        number = self._core.openStream(label, self._owner.clock.seconds())
        carried = CarriedStream(number, label, self._owner)

        def givenUp(_: object) -> None:
            self._opening.pop(number, None)
            carried.stop(StopCode.CANCELLED)

        answer: Deferred[CarriedStream] = Deferred(givenUp)
        self._opening[number] = carried, answer
        answer.addTimeout(timeout, self._owner.clock)
        self._owner.driver.flush()
        return answer

    def _build(self, carried: CarriedStream, factory: IProtocolFactory) -> IProtocol:
        """Build the protocol of a stream, or stop it."""
        try:
            protocol = factory.buildProtocol(self._owner.protocol.transport.getPeer())
            if protocol is None:
                raise NoProtocol
        except BaseException as error:
            carried.stop(_codeOf(error))
            raise
        return protocol

    def _connect(
        self, carried: CarriedStream, protocol: IProtocol, factory: IProtocolFactory
    ) -> None:
        """Give a protocol its stream, which both sides have accepted."""
        self._carried[carried.number] = carried
        carried.connect(protocol, factory, self._owner.protocol.transport)

    # What a stream tells.

    def written(self, carried: CarriedStream) -> None:
        """
        Something was written in a stream that the session is not given at once.

        :param carried: the stream.
        """
        self._unsent[carried.number] = carried

    def forget(self, carried: CarriedStream) -> None:
        """
        A stream is over.

        :param carried: which.
        """
        self._carried.pop(carried.number, None)
        self._unsent.pop(carried.number, None)

    # The session's side.

    def drain(self) -> None:
        """Give the session all that was written in streams: its end may come."""
        unsent, self._unsent = self._unsent, {}
        for carried in unsent.values():
            carried.drain()

    def requested(self, event: StreamRequested) -> None:
        """
        The peer opens a stream: take it if its label is served, else have the program decide.

        :param event: which.
        """
        deciding: Deferred[Any] = maybeDeferred(self._decide, event.label)
        self._deciding[event.stream] = deciding
        if not deciding.called:  # A peer may ask very often.
            deciding.addTimeout(DECISION_TIMEOUT, self._owner.clock)
        deciding.addCallback(self._decided, event).addErrback(self._refuse, event)

    def _decide(self, label: str) -> Any:
        for served in (self._served, self._owner.served):
            for known in keysOf(label):
                if known in served:
                    factory = served[known]
                    if IStreamServer.providedBy(factory):
                        return factory.streamRequested(self._owner.protocol, label)
                    return factory
        answer = self._owner.audience.streamRequested(label)
        return ensureDeferred(answer) if hasattr(answer, "__await__") else answer

    def _decided(self, factory: IProtocolFactory | None, event: StreamRequested) -> None:
        if event.stream not in self._deciding:
            return  # It was given up first.
        if factory is None:
            self._stop(event.stream, StopCode.NOT_TAKEN)
            return
        carried = CarriedStream(event.stream, event.label, self._owner)
        factory.doStart()
        try:
            protocol = self._build(carried, factory)
        except BaseException:
            self._doStop(factory)
            raise
        del self._deciding[event.stream]
        if self._core.acceptStream(event.stream):
            self._connect(carried, protocol, factory)
            carried.begin()
        else:
            self._doStop(factory)

    def _doStop(self, factory: IProtocolFactory | IStreamServer) -> None:
        """Tell a factory that it is in use no more, whatever it makes of that."""
        self._owner.driver.failures.guard(STOP_FAILED, factory.doStop)

    def _refuse(self, failure: Failure, event: StreamRequested) -> None:
        if event.stream not in self._deciding:
            return  # It was given up first.
        code = _codeOf(failure.value)
        if code == StopCode.FAILED and not isinstance(failure.value, StreamRefused):
            failures = self._owner.driver.failures
            failures.log("A stream was not decided about; it is refused", failure)
        self._stop(event.stream, code)

    def _stop(self, number: int, code: int) -> None:
        """Refuse a stream that was asked for."""
        del self._deciding[number]
        self._core.stopStream(number, code)
        self._owner.driver.flush()

    def accepted(self, number: int) -> None:
        """
        The peer accepts a stream.

        :param number: its number.
        """
        opening = self._opening.pop(number, None)
        if opening is not None:
            carried, answer = opening
            answer.callback(carried)

    def find(self, number: int) -> CarriedStream | None:
        """
        Find the stream that something is told of.

        :param number: its number.
        :return: the stream; None if it has no protocol, or none any more.
        """
        return self._carried.get(number)

    def stopped(self, event: StreamStopped) -> None:
        """
        The peer ended both directions of a stream, or does not accept it.

        :param event: which, and why.
        """
        opening = self._opening.pop(event.stream, None)
        deciding = self._deciding.pop(event.stream, None)
        carried = self._carried.get(event.stream)
        if opening is not None:
            opening[1].errback(StreamRefused(event.code))
        elif deciding is not None:
            self._giveUp(deciding)
        elif carried is not None:
            done = event.code == StopCode.DONE
            carried.lost(ConnectionDone() if done else StreamCut(event.code))

    def _giveUp(self, deciding: Deferred[Any]) -> None:
        """Nobody wants to know any more what the program decides."""
        failures = self._owner.driver.failures
        failures.guard("The decision about a stream could not be cancelled", deciding.cancel)

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
            self._giveUp(decision)
        for carried in list(self._carried.values()):
            carried.lost(reasonOf(termination))
        served, self._served = self._served, {}
        for factory in served.values():
            if factory is not None:
                self._doStop(factory)


def _codeOf(error: BaseException | None) -> StopCode | int:
    """What the peer is told of a stream that did not come about here."""
    if isinstance(error, StreamRefused):
        return error.code
    if isinstance(error, TimeoutError):
        return StopCode.TIMED_OUT
    return StopCode.NOT_TAKEN if isinstance(error, NoProtocol) else StopCode.FAILED
