"""
:class:`ThingProtocol`: one session, as its user sees it.

What it tells is in :mod:`thing.session.callbacks`; here is what can be asked of it and done with
it. All of that is delegated: the session itself is in its link (:mod:`thing.session.link`).
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable
from types import FunctionType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IConsumer, IPushProducer
from zope.interface import implementer

from thing.core.client import ClientConnection
from thing.core.server import ServerConnection
from thing.core.states import ESTABLISHED_STATES
from thing.errors import EndReason, ErrorCode, LocalProtocolError, ReplyStatus, RequestFailed
from thing.events import Session, Termination
from thing.identity import Identity
from thing.session.callbacks import SessionCallbacks
from thing.session.link import Link
from thing.session.sessionfactory import SessionFactory
from thing.session.sessiontransport import SessionTransport
from thing.session.streams import SessionStreams


@implementer(IConsumer, IPushProducer)
class ThingProtocol(SessionCallbacks):
    """
    One session, for either role; subclass it and override callbacks.

    The callbacks, their order, and what becomes of an exception in one are described at
    :class:`~thing.session.callbacks.SessionCallbacks`. None of them needs to call the one that
    it overrides. One class serves both roles; the factory's settings say which.

    A subclass may use any name that is not public here.

    :ivar factory: the :class:`~thing.session.factory.ThingFactory` that built it.
    :ivar transport: tells where the peer is; to close it is to end the session, and to write to
        it an error.
    """

    factory: SessionFactory[Any]
    transport: SessionTransport
    __link: Link[Any]

    def __init_subclass__(cls, **others: Any) -> None:
        super().__init_subclass__(**others)
        own = vars(cls).get("dataReceived")
        # Who takes the octets away from the session overrides it without to call it.
        if isinstance(own, FunctionType) and "dataReceived" not in own.__code__.co_names:
            told = f"{cls.__name__}.dataReceived takes the session's octets: use messageReceived"
            warnings.warn(told, stacklevel=2)

    def requestReceived(self, data: bytes) -> bytes | Awaitable[bytes | None] | None:
        """
        Answer a request of the peer's.

        By default it is taken as a message, by :meth:`messageReceived`, and answered with
        nothing: so an acknowledged message. With ``stream`` set no requests are taken.

        Unlike in other callbacks, an exception does not end the session: it is logged, and
        the peer is told ``FAILED``. So it is if the answer is too long, or not bytes.

        :param data: what is asked.
        :return: the answer, at most 16380 octets, and no more than the peer's records hold (490
            at least); None for an empty one; or a Deferred or a coroutine that gives it, and is
            cancelled if the session ends first.
        :raises RequestFailed: to tell the peer its status; it is not logged.
        """
        if self.__link.core.stream:
            raise RequestFailed(ReplyStatus.NOT_TAKEN)
        result = self.messageReceived(data)
        return None if result is None else self.__link.turns.acknowledge(result)

    # What can be asked.

    @property
    def session(self) -> Session | None:
        """What was agreed on: session id, peer, group, AEAD, TTL; None before Established."""
        return self.__link.core.session

    @property
    def proved(self) -> bool:
        """Whether the peer has proved who it is; it may not be admitted yet."""
        return self.__link.proved

    @property
    def provedIdentity(self) -> Identity | None:
        """What the peer has proved, without the name that an authorizer gave; None before."""
        return self.__link.driver.proved

    @property
    def silent(self) -> bool:
        """Whether nothing has come from the peer yet, except a PROXY header."""
        return self.__link.silent

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
        return self.__link.core.termination

    @property
    def connectedFrom(self) -> IAddress | None:
        """Where the connection came from; None while a PROXY header is to tell it."""
        return self.__link.connectedFrom

    @property
    def address(self) -> IAddress | None:
        """The peer's transport address; behind a PROXY header the one that it tells."""
        return self.__link.address

    @property
    def streams(self) -> SessionStreams:
        """The session's streams beside the main one: what is served, and endpoints for others."""
        return self.__link.streams

    @property
    def roundTripTime(self) -> float | None:
        """What the client's last acknowledged heartbeat measured, seconds; None before one."""
        return self.__link.core.roundTripTime

    @property
    def silence(self) -> float | None:
        """
        How long it is since the session was renewed, seconds.

        None before it is up, and when the peer's silence does not count any more.
        """
        return self.__link.core.silence(self.factory.clock.seconds())

    @property
    def octetsReceived(self) -> int:
        """How many octets of the stream were taken, records and handshake included."""
        return self.__link.core.octetsReceived

    @property
    def octetsSent(self) -> int:
        """How many octets were given to the transport, records and handshake included."""
        return self.__link.core.octetsSent

    @property
    def messagesReceived(self) -> int:
        """How many messages and requests came in."""
        return self.__link.core.messagesReceived

    @property
    def messagesSent(self) -> int:
        """How many messages and requests were given to send."""
        return self.__link.core.messagesSent

    @property
    def openStreams(self) -> int:
        """How many streams are open, besides the main one."""
        return self.__link.core.openStreams

    @property
    def creditStalls(self) -> int:
        """How often something had to wait until the peer granted credit, in any stream."""
        return self.__link.core.creditStalls

    @property
    def lastWord(self) -> bytes:
        """What the client leaves, to be made public if it is lost; empty for nothing."""
        return self.__link.core.lastWord

    @property
    def heartbeats(self) -> int:
        """Server: how many heartbeats came."""
        core = self.__link.core
        return core.lastHeartbeat if isinstance(core, ServerConnection) else 0

    @property
    def ttl(self) -> float | None:
        """The TTL as the server granted it last, seconds; None before Established."""
        return self.__link.core.ttl

    @property
    def queued(self) -> int:
        """How many octets of application data wait to be sent."""
        return self.__link.core.queued

    def whenEstablished(self) -> Deferred[Session]:
        """
        Wait for the handshake.

        :return: fires with the session, or fails with
            :class:`~thing.errors.HandshakeFailed` once the stream is closed;
            always one of the two, once.
        """
        return self.__link.whenEstablished()

    def whenTerminated(self) -> Deferred[Termination]:
        """
        Wait for the end of the session and of its stream.

        A program that exits when this has fired has sent its final word.

        :return: fires with how the session ended; never fails.
        """
        return self.__link.whenTerminated()

    def exportKeyingMaterial(self, label: str, context: bytes, length: int) -> bytes:
        """
        Derive octets that only the two ends of this session know, for channel binding.

        :param label: what they are for; ASCII, at most 128 characters.
        :param context: what else they are bound to.
        :param length: how many, 1 to 8160.
        :return: the same octets on both sides.
        :raises LocalProtocolError: if the session is not up, or an argument is out of bounds.
        """
        return self.__link.core.exportKeyingMaterial(label, context, length)

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
        return self.__link.driver.send(message)

    def request(self, data: bytes, timeout: float = 10.0) -> Deferred[bytes]:
        """
        Ask the peer something; it arrives in order with the messages.

        To cancel the Deferred is to wait no longer. At most 64 requests are unanswered
        at a time, and those that nobody waits for any more count until their reply comes.

        :param data: what is asked, at most 16380 octets, and no more than the peer's records hold
            (490 at least).
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
        return self.__link.requests.ask(data, timeout)

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
        core = self.__link.core
        if not isinstance(core, ClientConnection):
            raise LocalProtocolError(ErrorCode.WRONG_STATE, "only a client leaves a last word")
        left = core.setLastWord(lastWord)
        self.__link.driver.flush()
        return left

    def endData(self) -> None:
        """
        End this side's half, behind all that was sent: no message, request or reply follows.

        The peer's half goes on, and so does the session; see :meth:`goodbye` for its end.
        """
        self.__link.core.endStream(0)
        self.__link.driver.flush()

    def goodbye(self) -> Deferred[Termination]:
        """
        End the session in order: all that was sent before arrives.

        A client says CGB; a server asks the client to (SGA). Before the
        session is up it is simply aborted. Calling it again is harmless.

        :return: fires with how the session ended once its stream is closed, too:
            within ``closeTimeout`` seconds and the moment that the stream
            lingers; a server waits as long again for the client's goodbye.
        """
        self.__link.drainStreams()
        ended = self.whenTerminated()
        link, now = self.__link, self.factory.clock.seconds()
        core = link.core
        if core.state not in ESTABLISHED_STATES:
            self.abort()
        elif isinstance(core, ClientConnection):
            link.driver.follow(core.goodbye(now))
        else:
            self.goAway(EndReason.CLOSING)
        link.turns.part()  # The peer's goodbye comes behind what is held.
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
        core, now = self.__link.core, self.factory.clock.seconds()
        if not isinstance(core, ServerConnection):
            raise LocalProtocolError(ErrorCode.WRONG_STATE, "only a server goes away")
        grace = self.factory.settings.closeTimeout if grace is None else grace
        self.__link.driver.follow(core.goAway(reason, now, grace, retryAfter))

    def abort(self) -> None:
        """End the session at once; the peer sees a truncated stream."""
        self.__link.abort()

    def reject(self, code: ErrorCode, detail: str = "", retryAfter: float = 0.0) -> None:
        """
        End the session at once and tell the peer a code.

        :param code: what the peer is told.
        :param detail: why, for this side's log only.
        :param retryAfter: how long a client should stay away, seconds.
        """
        self.__link.reject(code, detail, retryAfter)

    def updateKey(self) -> None:
        """
        Move the sending key forward now; it also happens by itself, in time.

        :raises LocalProtocolError: ``WRONG_STATE`` unless the session is up.
        """
        self.__link.core.updateKey(self.factory.clock.seconds())
        self.__link.driver.flush()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let a producer call :meth:`write` as fast as the peer takes it (``IConsumer``).

        :param producer: an ``IPushProducer`` if ``streaming``, else an ``IPullProducer``.
        :param streaming: which of the two.
        :raises RuntimeError: if there is one already.
        """
        self.__link.driver.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Forget the producer (``IConsumer``)."""
        self.__link.driver.unregisterProducer()

    def write(self, data: bytes) -> None:
        """
        Send a message, the name that producers know (``IConsumer``).

        :param data: the message.
        """
        self.sendMessage(data)

    def pauseProducing(self) -> None:
        """
        Stop delivering messages (``IPushProducer``); heartbeats go on.

        What the peer may send meanwhile is bounded by its credit; a pause may last for as long
        as it likes.
        """
        self.__link.turns.pause()

    def resumeProducing(self) -> None:
        """Deliver messages again (``IPushProducer``)."""
        self.__link.turns.resume()

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
        self.transport = SessionTransport(transport, self)
        self.__link.connect(transport)

    def dataReceived(self, data: bytes) -> None:
        """
        Take octets; the transport calls this.

        :param data: the octets.
        """
        self.__link.received(data)


def join(protocol: ThingProtocol, link: Link[Any]) -> None:
    """
    Make a protocol ready for its connection.

    :param protocol: a new one.
    :param link: its link.
    """
    protocol._ThingProtocol__link = link  # type: ignore[attr-defined]
    # Before the user's, which may be anything, the books are put right; see Link.
    protocol.connectionLost = link.connectionLost  # type: ignore[method-assign]


def linkOf(protocol: ThingProtocol) -> Link[Any]:
    """
    Tell what is behind a protocol; for the rooms of Thing alone.

    :param protocol: which a factory has built.
    :return: its link.
    """
    link: Link[Any] = protocol._ThingProtocol__link  # type: ignore[attr-defined]
    return link
