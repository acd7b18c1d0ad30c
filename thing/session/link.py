"""
:class:`Link`: what joins one user's protocol to its driver and to its factory.

It owns the driver, turns events into the user's callbacks, and sees to it that the books are
right and every waiter is told, whatever the user's methods do. What is sent goes past it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Generic, TypeVar
from weakref import proxy

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress, IProtocolFactory, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from thing import events
from thing.core.client import ClientConnection
from thing.core.server import ServerConnection
from thing.core.states import State
from thing.errors import EndReason, ErrorCode, HandshakeFailed
from thing.events import Event, Session, Termination
from thing.identity import Identity
from thing.logger import Logger
from thing.session.addresses import networkOf
from thing.session.attendant import Attendant
from thing.session.callbacks import SessionCallbacks
from thing.session.clock import SteadyClock
from thing.session.continuity import keepKeys
from thing.session.driver import Driver
from thing.session.failures import Failures
from thing.session.interfaces import IStreamServer
from thing.session.reception import Reception
from thing.session.requests import Requests
from thing.session.review import LEAVE_GRACE
from thing.session.sessionfactory import SessionFactory
from thing.session.stream import CarriedStream
from thing.session.streams import SessionStreams
from thing.session.transports import awaitsProxyHeader
from thing.session.turns import Turns

P = TypeVar("P", bound=SessionCallbacks)


class Link(Generic[P]):
    """
    Joins one protocol to its driver, whose owner it is, and to its factory.

    The transport reaches its :meth:`connectionLost` before the user's: it stands in the
    protocol's instance until then.

    :ivar protocol: the user's.
    :ivar audience: who is told what happens: the user's protocol, or of a peer that is no thing
        the attendant.
    :ivar factory: whose connection it is.
    :ivar core: the Connection.
    :ivar driver: drives it.
    :ivar connectedFrom: where the connection came from; None while a PROXY header is to tell it.
    :ivar network: by what network it is counted.
    :ivar up: whether its session counts as up, at the door.
    :ivar closed: whether the stream is gone.
    """

    __slots__ = (
        "__weakref__", "_ended", "_entered", "_established", "_presumed", "_reception", "_requests",
        "_streams", "_turns", "audience", "closed", "connectedFrom", "core", "driver", "factory",
        "network", "protocol", "up",
    )  # fmt: skip
    _log = Logger()

    def __init__(
        self,
        protocol: P,
        core: ServerConnection | ClientConnection,
        factory: SessionFactory[P],
        reception: Reception[Link[P]],
        address: IAddress | None,
    ) -> None:
        """
        :param protocol: the user's.
        :param core: the Connection, not started.
        :param factory: whose connection it is.
        :param reception: receives it.
        :param address: the peer's.
        """
        self.protocol = protocol
        self.audience: P | Attendant = protocol
        self.core = core
        self.factory = factory
        self.driver = Driver(core, self, factory.clock)
        self.connectedFrom, self.network = address, networkOf(address)
        self.up = self.closed = False
        self._reception = reception
        self._requests: Requests | None = None
        self._streams: SessionStreams | None = None
        self._turns: Turns | None = None
        self._presumed: IAddress | None = None
        self._entered = False
        self._established: tuple[Deferred[Session], ...] = ()
        self._ended: tuple[Deferred[Termination], ...] = ()

    # The transport's side.

    def connect(self, transport: Any) -> None:
        """
        Begin.

        :param transport: the stream to the peer.
        """
        self._presumed = transport.getPeer()
        if awaitsProxyHeader(transport):
            # The balancer has no limit: it stands for all the others.
            self.connectedFrom, self.network = None, networkOf(None)
        self._entered = True
        self._reception.enter(self)
        self.driver.attach(transport)
        if self.termination is not None:  # It was turned away before there was a stream.
            self.driver.cut()
            return
        self.driver.guard(self._call, self.protocol.connectionMade)
        self._reception.judge(self)
        self.driver.start()

    def received(self, data: bytes) -> None:
        """
        Take octets.

        :param data: the octets.
        """
        if self._presumed is not None:
            self._learnAddress()
        if self._streams is not None:
            self._streams.drain()  # What comes in may be the end.
        self.driver.received(data)

    def _learnAddress(self) -> None:
        """Before the first data: a PROXY header was read by now, if there is one."""
        presumed, self._presumed = self._presumed, None
        address = self.address
        if address is not None and address != presumed:
            self.connectedFrom = address
            self._reception.readdress(self, networkOf(address))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Put the books right and tell all waiters, then have the user clean up.

        :param reason: why the transport closed.
        """
        vars(self.protocol).pop("connectionLost", None)  # Now it is the class's.
        try:
            self.driver.disconnected()
        finally:
            self.closed = True
            self._leave()
            assert self.termination is not None, "without a stream there is no session"
            for failing in self._established:
                failing.errback(HandshakeFailed(self.termination))
            for waiter in self._ended:
                waiter.callback(self.termination)
            self._established = self._ended = ()
            self._requests = self._streams = None
            self._tell(self._tellLost, reason)

    def _tellLost(self, reason: Failure) -> None:
        self.driver.guard(self._call, self.protocol.connectionLost, reason)
        # It has us, and so is there whenever we are asked.
        self.protocol = self.audience = proxy(self.protocol)
        self._turns = None

    def _tell(self, callback: Callable[..., object], *args: object) -> None:
        """Call somebody once no callback of the user's is at work."""
        if self._turns is None:
            callback(*args)
        else:
            self._turns.afterwards(partial(callback, *args))

    def _call(self, callback: Callable[..., object], *args: object) -> None:
        """Call the user, and have data wait if that is a coroutine."""
        if (result := callback(*args)) is not None:
            self.turns.follow(result)

    # What can be asked.

    @property
    def address(self) -> IAddress | None:
        """The peer's transport address; behind a PROXY header the one that it tells."""
        transport = self.protocol.transport
        return self.connectedFrom if transport is None else transport.getPeer()

    @property
    def session(self) -> Session | None:
        """What was agreed on; None before Established."""
        return self.core.session

    @property
    def proved(self) -> bool:
        """Whether the peer has proved who it is; it may not be admitted yet."""
        return self.core.state is State.AUTHORIZING or self.core.session is not None

    @property
    def silent(self) -> bool:
        """Whether nothing has come from the peer yet, except a PROXY header."""
        return self._presumed is not None

    @property
    def termination(self) -> Termination | None:
        """How the connection ended; None while it has not."""
        return self.core.termination

    @property
    def requests(self) -> Requests:
        """Both sides' requests; most sessions have none."""
        self._requests = self._requests or Requests(self.driver, self.factory.clock)
        return self._requests

    @property
    def streams(self) -> SessionStreams:
        """The streams beside the main one; most sessions have none."""
        streams = self._streams or SessionStreams(self)
        if not self.closed:
            self._streams = streams
        return streams

    @property
    def turns(self) -> Turns:
        """What waits for callbacks; in most sessions nothing does."""
        turns = self._turns or Turns(self.driver, partial(self._call, self._dispatch))
        if not self.closed:
            self._turns = turns
        return turns

    def drainStreams(self) -> None:
        """Give the Connection all that was written in streams."""
        if self._streams is not None:
            self._streams.drain()

    @property
    def clock(self) -> IReactorTime:
        """Measures time."""
        return self.factory.clock

    @property
    def failures(self) -> Failures:
        """Logs what goes wrong in the program's own code."""
        return self.factory.failures

    @property
    def served(self) -> Mapping[str, IProtocolFactory | IStreamServer]:
        """What is served in the streams of this session and all like it, by label."""
        audience = self.audience
        return audience.served if isinstance(audience, Attendant) else self.factory.served

    def whenEstablished(self) -> Deferred[Session]:
        """:return: as :meth:`thing.session.protocol.ThingProtocol.whenEstablished`."""
        if self.core.session is not None:
            return succeed(self.core.session)
        if self.closed and self.termination is not None:
            return fail(HandshakeFailed(self.termination))
        waiter: Deferred[Session] = Deferred()
        self._established += (waiter,)
        return waiter

    def whenTerminated(self) -> Deferred[Termination]:
        """:return: as :meth:`thing.session.protocol.ThingProtocol.whenTerminated`."""
        if self.closed and self.termination is not None:
            return succeed(self.termination)
        waiter: Deferred[Termination] = Deferred()
        self._ended += (waiter,)
        return waiter

    # What can be done.

    def reject(self, code: ErrorCode, detail: str = "", retryAfter: float = 0.0) -> None:
        """
        End the connection and tell the peer a code.

        :param code: what the peer is told.
        :param detail: why, for this side's log only.
        :param retryAfter: how long a client should stay away, seconds.
        """
        if self._turns is not None:
            self._turns.drop()
        now = self.factory.clock.seconds()
        self.driver.follow(self.core.reject(code, now, detail, retryAfter))

    def abort(self, code: ErrorCode = ErrorCode.ABORTED) -> None:
        """
        End the session at once; the peer sees a truncated stream.

        :param code: what this side's program is told.
        """
        if self._turns is not None:
            self._turns.drop()
        self.driver.follow(self.core.abort(self.factory.clock.seconds(), code))

    def expire(self) -> None:
        """Server: ask the client to leave, since its credential has expired."""
        assert isinstance(self.core, ServerConnection), "a client has no such timer"
        if self.termination is None:  # Else its end is about to be told.
            now = self.factory.clock.seconds()
            self.driver.follow(self.core.goAway(EndReason.EXPIRED, now, LEAVE_GRACE))

    def readmit(self, identity: Identity) -> None:
        """
        Tell an attendant that its peer was judged again.

        :param identity: the peer, as the authorizer knows it now.
        """
        if isinstance(self.audience, Attendant):
            self.driver.guard(self.audience.readmitted, identity)

    def cutOff(self, detail: str) -> None:
        """
        End the connection as a busy server, at once: the peer sees its stream end.

        :param detail: why, for this side's log only.
        """
        self.reject(ErrorCode.SERVER_BUSY, detail)
        self.driver.cut()
        self._leave()  # In the reactor's next turn; until then it is in nobody's way.

    def _leave(self) -> None:
        if self._entered:
            self._entered = False
            self._reception.leave(self)

    # The driver's side.

    def authorize(self, identity: Identity) -> Deferred[Identity]:
        """
        Have the factory decide whether to go on with the peer.

        :param identity: what it has proved.
        :return: fires with the identity and its name, or fails.
        """
        return self.factory.authorize(identity).addCallback(self._admitted)

    def _admitted(self, identity: Identity) -> Identity:
        self._reception.admit(self)
        return identity

    def holds(self, octets: int) -> None:
        """:param octets: how much waits in the memory for this session now."""
        self._reception.hold(self, octets)

    def loopLagged(self, seconds: float) -> None:
        """
        Tell the factory how late a timer came.

        :param seconds: how late.
        """
        self.factory.loopLagged(seconds)

    def deliver(self, event: Event) -> None:
        """
        Turn an event into a callback; observers are told first.

        :param event: the event.
        """
        if self.factory.observers:
            self.factory.observe(self.protocol, event)
        if self._turns is None or not self._turns.postpones(event):
            result = _DELIVERIES[type(event)](self, event)
            if result is not None:
                self.turns.follow(result)

    def _dispatch(self, event: Event) -> object:
        return _DELIVERIES[type(event)](self, event)

    def _deliverCompleted(self, event: events.HandshakeCompleted) -> object:
        self._reception.establish(self, event.session)
        attend = self.factory.attendants.get(event.session.peer.purpose)
        if attend is None:
            self.factory.sessions.add(self.protocol)
        else:
            self.factory.guests.add(self.protocol)
            self.audience = attend(self.protocol)
        if isinstance(self.factory.clock, SteadyClock):
            self.factory.clock.watchFor(event.session.ttl)
        result = self.audience.handshakeCompleted()
        waiters, self._established = self._established, ()
        for waiter in waiters:
            waiter.callback(event.session)
        return result

    def _deliverToStream(self, number: int, tell: Callable[..., object], *args: object) -> None:
        if (carried := self.streams.find(number)) is not None:
            tell(carried, *args)

    def _deliverKeys(self, event: events.KeysAnnounced) -> object:
        keepKeys(self.factory.authorizer, event, self._log)
        following = event.following
        return following and self.audience.serverKeyAnnounced(following)

    def _deliverTicket(self, event: events.TicketReceived) -> None:
        assert isinstance(self.core, ClientConnection), "only a client is given tickets"
        self.factory.keepTicket(event.ticket, self.core.credential)

    def _deliverTerminated(self, event: events.Terminated) -> None:
        self.factory.sessions.discard(self.protocol)
        self.factory.guests.discard(self.protocol)
        goes = self._reception.end(self, event.termination)
        if goes:
            self.driver.cut()
            self._leave()
        if self._requests is not None:
            self._requests.end(event.termination)
        if self._streams is not None:
            self._streams.sessionEnded(event.termination)
        if self.audience is not self.protocol:
            self.driver.guard(self.audience.terminated, event.termination)
        self._tell(self._call, self.protocol.terminated, event.termination)


_DELIVERIES: dict[type[Any], Callable[[Link[Any], Any], object]] = {
    events.HandshakeCompleted: Link._deliverCompleted,
    events.MessageReceived: lambda it, e: it.audience.messageReceived(e.data),
    events.DataEnded: lambda it, e: it.audience.dataEnded(),
    events.StreamRequested: lambda it, e: it.streams.requested(e),
    events.StreamAccepted: lambda it, e: it.streams.accepted(e.stream),
    events.StreamData: lambda it, e: it._deliverToStream(e.stream, CarriedStream.received, e.data),
    events.StreamDrained: lambda it, e: it._deliverToStream(e.stream, CarriedStream.drained),
    events.StreamEnded: lambda it, e: it._deliverToStream(e.stream, CarriedStream.peerEnded),
    events.StreamStopped: lambda it, e: it.streams.stopped(e),
    events.StreamClosed: lambda it, e: it._deliverToStream(e.stream, CarriedStream.closed),
    events.RequestReceived: lambda it, e: it.requests.answer(
        e.number, e.data, it.audience.requestReceived
    ),
    events.ReplyReceived: lambda it, e: it.requests.replied(e),
    events.LastWordReceived: lambda it, e: it.audience.lastWordReceived(e.data),
    events.HeartbeatSent: lambda it, e: it.audience.heartbeatSent(e.sequence),
    events.HeartbeatReceived: lambda it, e: it.audience.heartbeatReceived(
        e.sequence, e.roundTripTime
    ),
    events.HeartbeatAcknowledged: lambda it, e: it.audience.heartbeatAcknowledged(
        e.sequence, e.roundTripTime
    ),
    events.HeartbeatLate: lambda it, e: it.audience.heartbeatLate(e.silence),
    events.GoingAway: lambda it, e: it.audience.goingAway(e.reason, e.retryAfter),
    events.GoodbyeReceived: lambda it, e: it.audience.goodbyeReceived(),
    events.KeyUpdated: lambda it, e: it.audience.keyUpdated(e.generation),
    events.KeysAnnounced: Link._deliverKeys,
    events.TicketReceived: Link._deliverTicket,
    events.Terminated: Link._deliverTerminated,
}
"""What becomes of each event that a driver delivers."""
