"""
:class:`ThingProtocol`: one session, as its user sees it.

One class serves both roles; the factory's settings say which. Override the
callbacks that you need, call the methods; everything else is the protocol's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IConsumer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.core.client import ClientConnection
from thing.core.server import ServerConnection
from thing.core.states import ESTABLISHED_STATES, State
from thing.errors import (
    EndReason,
    ErrorCode,
    HandshakeFailed,
    LocalProtocolError,
    ReplyStatus,
    RequestFailed,
    ThingError,
)
from thing.events import (
    Event,
    GoingAway,
    GoodbyeReceived,
    HandshakeCompleted,
    HeartbeatAcknowledged,
    HeartbeatLate,
    HeartbeatReceived,
    HeartbeatSent,
    KeyUpdated,
    LastWordReceived,
    MessageReceived,
    NextKeyAnnounced,
    ReplyReceived,
    RequestReceived,
    Session,
    Terminated,
    Termination,
    TicketReceived,
)
from thing.identity import Identity
from thing.session.driver import Driver
from thing.session.requests import Requests
from thing.session.transports import awaitsProxyHeader
from thing.trust.interfaces import IKeyContinuity

if TYPE_CHECKING:
    from thing.session.factory import ThingFactory


@implementer(IConsumer, IPushProducer)
class ThingProtocol(Protocol):
    """
    One session, for either role; subclass it and override callbacks.

    The callbacks come in this order: :meth:`connectionMade` when the stream is
    there and nothing is secure yet; :meth:`handshakeCompleted` once, when both
    sides have proved themselves; messages and heartbeats; :meth:`terminated`
    once; :meth:`connectionLost` once, last. A subclass that overrides
    ``connectionLost`` calls the inherited one first. An exception in a callback
    is logged and ends the session with ``INTERNAL_ERROR``; only one in
    :meth:`requestReceived` fails no more than that request.

    ``handshakeCompleted`` bears the name of Twisted's ``IHandshakeListener``,
    but the interface is not provided: over an outer TLS transport it would be
    called for TLS's handshake, too.

    :ivar factory: the :class:`ThingFactory` that built it.
    :ivar connectedFrom: where the connection came from; None while a PROXY header
        is to tell it.
    """

    factory: ThingFactory
    _driver: Driver
    _requests: Requests
    connectedFrom: IAddress | None
    _presumed: IAddress | None
    _closed: bool
    _established: list[Deferred[Session]]
    _ended: list[Deferred[Termination]]
    _log = Logger()

    # Callbacks.

    def handshakeCompleted(self) -> None:
        """Say that the session is up: the peer is proved and admitted, data may be sent."""

    def messageReceived(self, message: bytes) -> None:
        """
        Take an application message, or with ``stream`` set some of the stream's bytes.

        :param message: the message.
        """

    def requestReceived(self, data: bytes) -> bytes | Awaitable[bytes | None] | None:
        """
        Answer a request of the peer's.

        By default it is taken as a message, by :meth:`messageReceived`, and answered with
        nothing: so an acknowledged message. With ``stream`` set no requests are taken.

        Unlike in other callbacks, an exception does not end the session: it is logged, and
        the peer is told ``FAILED``. So it is if the answer is too long, or not bytes.

        :param data: what is asked.
        :return: the answer, at most 16380 octets; None for an empty one; or a Deferred or
            a coroutine that gives it, and is cancelled if the session ends first.
        :raises RequestFailed: with ``NOT_TAKEN``, to say so to the peer; it is not logged.
        """
        if self._core.stream:
            raise RequestFailed(ReplyStatus.NOT_TAKEN)
        self.messageReceived(data)
        return None

    def lastWordReceived(self, lastWord: bytes) -> None:
        """
        Server: note what the client leaves, to be made public if it is lost.

        :param lastWord: the message, which replaces the one before; empty withdraws it.
        """

    def heartbeatSent(self, sequence: int) -> None:
        """
        Client: note that a heartbeat is on its way.

        :param sequence: its number, from one.
        """

    def heartbeatReceived(self, sequence: int, roundTripTime: float | None) -> None:
        """
        Server: note that a heartbeat renewed the session.

        :param sequence: its number, from one.
        :param roundTripTime: what the client measured last, seconds, or None.
        """

    def heartbeatAcknowledged(self, sequence: int, roundTripTime: float) -> None:
        """
        Client: note that the server renewed the session.

        :param sequence: the heartbeat's number.
        :param roundTripTime: from heartbeat to acknowledgement, seconds.
        """

    def heartbeatLate(self, silence: float) -> None:
        """
        Note that the peer missed a heartbeat (server) or an acknowledgement (client).

        :param silence: since the last one, seconds; at one TTL the session ends.
        """

    def goingAway(self, reason: EndReason | int, retryAfter: float) -> None:
        """
        Client: note that the server asked to be left; the goodbye follows by itself.

        :param reason: why.
        :param retryAfter: how long to stay away, seconds; zero gives no advice.
        """

    def goodbyeReceived(self) -> None:
        """Server: note that the client said goodbye; what is queued still goes to it, no more."""

    def serverKeyAnnounced(self, identity: Identity) -> None:
        """
        Client: note the key that the server will use next, signed by the one it uses now.

        An authorizer that provides
        :class:`~thing.trust.interfaces.IKeyContinuity` has been told already.

        :param identity: the next key.
        """

    def keyUpdated(self, generation: int) -> None:
        """
        Note that the peer moved to its next traffic key.

        :param generation: how many times it did so in this session.
        """

    def terminated(self, termination: Termination) -> None:
        """
        Say how the session ended; the stream may take a moment longer to close.

        :param termination: how, why and by whom.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Clean up after the stream; overriding methods call this one first.

        :param reason: why the transport closed; :meth:`terminated` knows better.
        """
        self._driver.disconnected()
        self.factory.disconnected(self)
        self._closed = True
        assert self.termination is not None, "without a stream there is no session"
        established, self._established = self._established, []
        for failing in established:
            failing.errback(HandshakeFailed(self.termination))
        ended, self._ended = self._ended, []
        for waiter in ended:
            waiter.callback(self.termination)

    # What can be asked.

    @property
    def session(self) -> Session | None:
        """What was agreed on: session id, peer, group, AEAD, TTL; None before Established."""
        return self._core.session

    @property
    def proved(self) -> bool:
        """Whether the peer has proved who it is; it may not be admitted yet."""
        return self._core.state is State.AUTHORIZING or self.session is not None

    @property
    def provedIdentity(self) -> Identity | None:
        """What the peer has proved, without the name that an authorizer gave; None before."""
        return self._driver.proved

    @property
    def silent(self) -> bool:
        """Whether nothing has come from the peer yet, except a PROXY header."""
        return self._presumed is not None

    @property
    def peer(self) -> Identity | None:
        """Who the peer is; None before Established."""
        return self.session.peer if self.session is not None else None

    @property
    def sessionId(self) -> str:
        """The session id in hexadecimal, the same on both sides; empty before Established."""
        return self.session.sessionId.hex() if self.session is not None else ""

    @property
    def termination(self) -> Termination | None:
        """How the session ended; None while it has not."""
        return self._core.termination

    @property
    def address(self) -> IAddress | None:
        """The peer's transport address; behind a PROXY header the one that it tells."""
        return self.transport.getPeer() if self.transport is not None else self.connectedFrom

    @property
    def roundTripTime(self) -> float | None:
        """What the client's last acknowledged heartbeat measured, seconds; None before one."""
        return self._core.roundTripTime

    @property
    def silence(self) -> float | None:
        """
        How long it is since the session was renewed, seconds.

        None before it is up, and when the peer's silence does not count any more.
        """
        return self._core.silence(self.factory.clock.seconds())

    @property
    def octetsReceived(self) -> int:
        """How many octets of the stream were taken, records and handshake included."""
        return self._core.octetsReceived

    @property
    def octetsSent(self) -> int:
        """How many octets were given to the transport, records and handshake included."""
        return self._core.octetsSent

    @property
    def messagesReceived(self) -> int:
        """How many messages and requests came in."""
        return self._core.messagesReceived

    @property
    def messagesSent(self) -> int:
        """How many messages and requests were given to send."""
        return self._core.messagesSent

    @property
    def lastWord(self) -> bytes:
        """What the client leaves, to be made public if it is lost; empty for nothing."""
        return self._core.lastWord

    @property
    def heartbeats(self) -> int:
        """Server: how many heartbeats came."""
        core = self._core
        return core.lastHeartbeat if isinstance(core, ServerConnection) else 0

    @property
    def ttl(self) -> float | None:
        """The TTL as the server granted it last, seconds; None before Established."""
        return self._core.ttl

    @property
    def queued(self) -> int:
        """How many octets of application data wait to be sent."""
        return self._core.queued

    def whenEstablished(self) -> Deferred[Session]:
        """
        Wait for the handshake.

        :return: fires with the session, or fails with
            :class:`~thing.errors.HandshakeFailed` once the stream is closed;
            always one of the two, once.
        """
        waiter: Deferred[Session] = Deferred()
        if self._core.session is not None:
            waiter.callback(self._core.session)
        elif self._closed and self.termination is not None:
            waiter.errback(HandshakeFailed(self.termination))
        else:
            self._established.append(waiter)
        return waiter

    def whenTerminated(self) -> Deferred[Termination]:
        """
        Wait for the end of the session and of its stream.

        A program that exits when this has fired has sent its final word.

        :return: fires with how the session ended; never fails.
        """
        if self._closed and self.termination is not None:
            return succeed(self.termination)
        waiter: Deferred[Termination] = Deferred()
        self._ended.append(waiter)
        return waiter

    def exportKeyingMaterial(self, label: str, context: bytes, length: int) -> bytes:
        """
        Derive octets that only the two ends of this session know, for channel binding.

        :param label: what they are for; ASCII, at most 128 characters.
        :param context: what else they are bound to.
        :param length: how many, 1 to 8160.
        :return: the same octets on both sides.
        :raises LocalProtocolError: if the session is not up, or an argument is out of bounds.
        """
        return self._core.exportKeyingMaterial(label, context, length)

    # What can be done.

    def sendMessage(self, message: bytes) -> bool:
        """
        Send an application message.

        :param message: any length, zero included, up to what the peer takes.
        :return: whether it is on its way; False once the session is closing or
            over, as a program cannot always know that yet.
        :raises LocalProtocolError: ``WRONG_STATE`` before the session is up;
            ``BUFFER_FULL`` if with it more than ``maxBuffered`` octets would wait.
        :raises TypeError: unless it is bytes or like bytes.
        """
        return self._driver.send(message)

    def request(self, data: bytes, timeout: float = 10.0) -> Deferred[bytes]:
        """
        Ask the peer something; it arrives in order with the messages.

        To cancel the Deferred is to wait no longer. At most 64 requests are unanswered
        at a time, and those that nobody waits for any more count until their reply comes.

        :param data: what is asked, at most 16380 octets.
        :param timeout: how long to wait for the reply, seconds.
        :return: fires with the reply; or fails with
            :class:`~thing.errors.RequestFailed` if the peer says that it could not,
            :class:`~thing.errors.RequestTimedOut`, or
            :class:`~thing.errors.SessionEnded`. After the last two it is not known
            whether the peer has dealt with it.
        :raises LocalProtocolError: ``WRONG_STATE`` before the session is up;
            ``BAD_ARGUMENT`` if it is too long; ``BUFFER_FULL`` if 64 are unanswered, or
            if with it more than ``maxBuffered`` octets would wait.
        :raises TypeError: unless it is bytes or like bytes.
        """
        return self._requests.ask(data, timeout)

    def setLastWord(self, lastWord: bytes) -> bool:
        """
        Client: leave a message that the server makes public if the session ends without goodbye.

        Before the session is up it is kept, and goes out first when it is.

        :param lastWord: at most 4096 octets; they replace those before, none withdraw them.
        :return: whether the server gets it; False once the session is closing or over.
        :raises LocalProtocolError: ``WRONG_STATE`` on a server; ``BAD_ARGUMENT`` if it is
            too long; ``BUFFER_FULL`` if with it more than ``maxBuffered`` octets would wait.
        :raises TypeError: unless it is bytes or like bytes.
        """
        core = self._core
        if not isinstance(core, ClientConnection):
            raise LocalProtocolError(ErrorCode.WRONG_STATE, "only a client leaves a last word")
        left = core.setLastWord(lastWord)
        self._driver.flush()
        return left

    def goodbye(self) -> Deferred[Termination]:
        """
        End the session in order: all that was sent before arrives.

        A client says CGB; a server asks the client to (SGA). Before the
        session is up it is simply aborted. Calling it again is harmless.

        :return: fires with how the session ended once its stream is closed, too:
            within ``closeTimeout`` seconds and the moment that the stream
            lingers; a server waits as long again for the client's goodbye.
        """
        ended = self.whenTerminated()
        core, now = self._core, self.factory.clock.seconds()
        if core.state not in ESTABLISHED_STATES:
            self.abort()
        elif isinstance(core, ClientConnection):
            self._driver.follow(core.goodbye(now))
        else:
            self.goAway(EndReason.CLOSING)
        self._driver.release()  # The peer's goodbye comes behind what is held.
        return ended

    def loseConnection(self) -> None:
        """End the session in order, as a Twisted transport does; see :meth:`goodbye`."""
        self.goodbye()

    def goAway(
        self, reason: EndReason, grace: float | None = None, retryAfter: float = 0.0
    ) -> None:
        """
        Server: ask the client to say goodbye; its heartbeats renew nothing any more.

        :param reason: why.
        :param grace: how long to wait at most, seconds; None for ``closeTimeout``.
        :param retryAfter: how long the client should stay away, seconds.
        :raises LocalProtocolError: ``WRONG_STATE`` on a client, or unless the session is up.
        """
        core = self._core
        if not isinstance(core, ServerConnection):
            raise LocalProtocolError(ErrorCode.WRONG_STATE, "only a server goes away")
        grace = self.factory.settings.closeTimeout if grace is None else grace
        self._driver.follow(core.goAway(reason, self.factory.clock.seconds(), grace, retryAfter))

    def abort(self) -> None:
        """End the session at once; the peer sees a truncated stream."""
        self._driver.follow(self._core.abort(self.factory.clock.seconds()))

    def updateKey(self) -> None:
        """
        Move the sending key forward now; it also happens by itself, in time.

        :raises LocalProtocolError: ``WRONG_STATE`` unless the session is up.
        """
        self._core.updateKey(self.factory.clock.seconds())
        self._driver.flush()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let a producer call :meth:`write` as fast as the peer takes it (``IConsumer``).

        :param producer: an ``IPushProducer`` if ``streaming``, else an ``IPullProducer``.
        :param streaming: which of the two.
        :raises RuntimeError: if there is one already.
        """
        self._driver.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Forget the producer (``IConsumer``)."""
        self._driver.unregisterProducer()

    def write(self, data: bytes) -> None:
        """
        Send a message, the name that producers know (``IConsumer``).

        :param data: the message.
        """
        self.sendMessage(data)

    def pauseProducing(self) -> None:
        """
        Stop delivering messages (``IPushProducer``); heartbeats go on.

        More than 64 KiB held back stops the reading, too, and then the session
        ends unless it is resumed within ``pauseLimit`` (by default a third of the TTL).
        """
        self._driver.hold()

    def resumeProducing(self) -> None:
        """Deliver messages again (``IPushProducer``)."""
        self._driver.release()

    def stopProducing(self) -> None:
        """End the session (``IPushProducer``); what was held back is delivered first."""
        self.loseConnection()

    # The transport's side; not to be overridden.

    def makeConnection(self, transport: Any) -> None:
        """
        Begin; the transport calls this.

        :param transport: the stream to the peer.
        """
        self.connected = 1
        self.transport = transport
        self._presumed = transport.getPeer()
        if awaitsProxyHeader(transport):
            self.connectedFrom = None  # The balancer has no limit: it stands for all the others.
        self.factory.connected(self)
        self._driver.attach(transport)
        if self.termination is not None:  # It was turned away before there was a stream.
            self._driver.cut()
            return
        self._driver.guard(self.connectionMade)
        busy = self.factory.refusal(self)
        if busy:
            self.reject(ErrorCode.SERVER_BUSY, busy.detail, busy.retryAfter)
        self._driver.start()

    def dataReceived(self, data: bytes) -> None:
        """
        Take octets; the transport calls this.

        :param data: the octets.
        """
        if self._presumed is not None:
            self._learnAddress()
        self._driver.received(data)

    def _learnAddress(self) -> None:
        """Before the first data: a PROXY header was read by now, if there is one."""
        presumed, self._presumed = self._presumed, None
        address = self.address
        if address is None or address == presumed:
            return
        busy = self.factory.moved(self, address)
        if busy:
            self.reject(ErrorCode.SERVER_BUSY, busy.detail, busy.retryAfter)

    # The factory's and the driver's side; not to be overridden.

    def attach(self, driver: Driver, address: IAddress | None) -> None:
        """
        Make ready for a connection; the factory calls this.

        :param driver: drives the Connection.
        :param address: the peer's address.
        """
        self._driver = driver
        self._requests = Requests(driver, self.factory.clock)
        self.connectedFrom = address
        self._presumed = None
        self._closed = False
        self._established = []
        self._ended = []

    def reject(self, code: ErrorCode, detail: str = "", retryAfter: float = 0.0) -> None:
        """
        End the connection and tell the peer a code.

        :param code: what the peer is told.
        :param detail: why, for this side's log only.
        :param retryAfter: how long a client should stay away, seconds.
        """
        now = self.factory.clock.seconds()
        self._driver.follow(self._core.reject(code, now, detail, retryAfter))

    def cutOff(self, detail: str) -> None:
        """
        End the connection as a busy server, at once: the peer sees its stream end.

        :param detail: why, for this side's log only.
        """
        self.reject(ErrorCode.SERVER_BUSY, detail)
        self._driver.cut()

    def deliver(self, event: Event) -> None:
        """
        Turn an event into a callback; the driver calls this.

        :param event: the event.
        """
        if self.factory.observers:
            self.factory.observe(self, event)
        self._DELIVERIES[type(event)](self, event)

    @property
    def _core(self) -> ServerConnection | ClientConnection:
        return self._driver.core

    def _deliverCompleted(self, event: HandshakeCompleted) -> None:
        self.factory.established(self)
        self.handshakeCompleted()
        waiters, self._established = self._established, []
        for waiter in waiters:
            waiter.callback(event.session)

    def _deliverNextKey(self, event: NextKeyAnnounced) -> None:
        if IKeyContinuity.providedBy(self.factory.authorizer):
            try:
                kept = self.factory.authorizer.nextKeyAnnounced(event.current, event.following)
                if isinstance(kept, Deferred):
                    kept.addErrback(self._nextKeyNotKept)
            except ThingError:
                self._nextKeyNotKept(Failure())  # type: ignore[no-untyped-call]
        self.serverKeyAnnounced(event.following)

    def _nextKeyNotKept(self, failure: Failure) -> None:
        self._log.warn("The server's next key is not kept: {error}", error=str(failure.value))

    def _deliverTicket(self, event: TicketReceived) -> None:
        assert isinstance(self._core, ClientConnection), "only a client is given tickets"
        self.factory.keepTicket(event.ticket, self._core.credential)

    def _deliverTerminated(self, event: Terminated) -> None:
        self.factory.ended(self, event.termination)
        self._requests.end(event.termination)
        self.terminated(event.termination)

    _DELIVERIES: ClassVar[dict[type[Any], Callable[[ThingProtocol, Any], None]]] = {
        HandshakeCompleted: _deliverCompleted,
        MessageReceived: lambda self, e: self.messageReceived(e.data),
        RequestReceived: lambda self, e: self._requests.answer(
            e.number, e.data, self.requestReceived
        ),
        ReplyReceived: lambda self, e: self._requests.replied(e),
        LastWordReceived: lambda self, e: self.lastWordReceived(e.data),
        HeartbeatSent: lambda self, e: self.heartbeatSent(e.sequence),
        HeartbeatReceived: lambda self, e: self.heartbeatReceived(e.sequence, e.roundTripTime),
        HeartbeatAcknowledged: lambda self, e: self.heartbeatAcknowledged(
            e.sequence, e.roundTripTime
        ),
        HeartbeatLate: lambda self, e: self.heartbeatLate(e.silence),
        GoingAway: lambda self, e: self.goingAway(e.reason, e.retryAfter),
        GoodbyeReceived: lambda self, e: self.goodbyeReceived(),
        KeyUpdated: lambda self, e: self.keyUpdated(e.generation),
        NextKeyAnnounced: _deliverNextKey,
        TicketReceived: _deliverTicket,
        Terminated: _deliverTerminated,
    }
