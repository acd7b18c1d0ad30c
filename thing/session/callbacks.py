"""
:class:`SessionCallbacks`: what a session tells its user, each a method to be overridden.

Nothing is done here, and nothing here must be called by a method that overrides it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from thing.errors import EndReason, ReplyStatus, RequestFailed
from thing.events import Termination
from thing.identity import Identity


class SessionCallbacks(Protocol):
    """
    The callbacks of a :class:`~thing.session.protocol.ThingProtocol`.

    They come in this order: ``connectionMade`` when the stream is there and nothing is secure
    yet; :meth:`handshakeCompleted` once, when both sides have proved themselves; messages and
    heartbeats; :meth:`terminated` once; :meth:`connectionLost` once, last. An exception in a
    callback is logged and ends the session with ``INTERNAL_ERROR``; only one in
    :meth:`requestReceived` fails no more than that request.

    A callback may be a coroutine, or return a Deferred. Until that is done the next message waits,
    and what else stands in the order of the data: requests, their end, the peer's goodbye; so do
    :meth:`terminated` and :meth:`connectionLost`, and what the peer may send is bounded by its
    credit. Heartbeats, streams and replies go on, so it may wait for a :meth:`request
    <thing.session.protocol.ThingProtocol.request>`; if both sides do, at once, each request waits
    behind the other's callback. If it fails, that is an exception in the
    callback. It is never cancelled: of an end it learns by what it waits for, and what lasts as
    long as the session is better started by itself, with ``Deferred.fromCoroutine``. What
    :meth:`requestReceived` returns is another matter: an answer, and no other waits for it.

    Of a peer that is no thing (:class:`~thing.identity.Purpose`) a program is told nothing but
    :meth:`terminated` and :meth:`connectionLost`, as of a handshake that did not complete.

    ``handshakeCompleted`` bears the name of Twisted's ``IHandshakeListener``,
    but the interface is not provided: over an outer TLS transport it would be
    called for TLS's handshake, too.
    """

    def handshakeCompleted(self) -> Awaitable[object] | None:
        """Say that the session is up: the peer is proved and admitted, data may be sent."""

    def messageReceived(self, message: bytes) -> Awaitable[object] | None:
        """
        Take an application message, or with ``stream`` set some of the stream's bytes.

        :param message: the message.
        """

    def dataEnded(self) -> Awaitable[object] | None:
        """Note that the peer has ended its half: no message and no request comes any more."""

    def streamRequested(self, label: str) -> Any:
        """
        Decide about a stream that the peer opens, of a label that nothing is served for.

        :param label: what it is for; the peer's choice, so it may be any text.
        :return: a protocol factory; None to refuse it; or a Deferred or a coroutine of one of
            these, which is cancelled if the stream is given up, and has 10 seconds.
        :raises StreamRefused: to refuse it with another code than ``NOT_TAKEN``.
        """
        return None

    def requestReceived(self, data: bytes) -> bytes | Awaitable[bytes | None] | None:
        """
        Answer a request of the peer's.

        Unlike in other callbacks, an exception does not end the session: it is logged, and
        the peer is told ``FAILED``. So it is if the answer is too long, or not bytes.

        :param data: what is asked.
        :return: the answer, at most 16380 octets, and no more than the peer's records hold (490
            at least); None for an empty one; or a Deferred or a coroutine that gives it, and is
            cancelled if the session ends first.
        :raises RequestFailed: to tell the peer its status; it is not logged.
        """
        raise RequestFailed(ReplyStatus.NOT_TAKEN)

    def lastWordReceived(self, lastWord: bytes) -> Awaitable[object] | None:
        """
        Server: note what the client leaves, to be made public if it is lost.

        :param lastWord: the message, which replaces the one before; empty withdraws it.
        """

    def heartbeatSent(self, sequence: int) -> Awaitable[object] | None:
        """
        Client: note that a heartbeat is on its way.

        :param sequence: its number, from one.
        """

    def heartbeatReceived(
        self, sequence: int, roundTripTime: float | None
    ) -> Awaitable[object] | None:
        """
        Server: note that a heartbeat renewed the session.

        :param sequence: its number, from one.
        :param roundTripTime: what the client measured last, seconds, or None.
        """

    def heartbeatAcknowledged(
        self, sequence: int, roundTripTime: float
    ) -> Awaitable[object] | None:
        """
        Client: note that the server renewed the session.

        :param sequence: the heartbeat's number.
        :param roundTripTime: from heartbeat to acknowledgement, seconds.
        """

    def heartbeatLate(self, silence: float) -> Awaitable[object] | None:
        """
        Note that the peer missed a heartbeat (server) or an acknowledgement (client).

        :param silence: since the last one, seconds; at one TTL the session ends.
        """

    def goingAway(self, reason: EndReason | int, retryAfter: float) -> Awaitable[object] | None:
        """
        Client: note that the server asked to be left; the goodbye follows by itself.

        :param reason: why.
        :param retryAfter: how long to stay away, seconds; zero gives no advice.
        """

    def goodbyeReceived(self) -> Awaitable[object] | None:
        """Server: note that the client said goodbye; what is queued still goes to it, no more."""

    def serverKeyAnnounced(self, identity: Identity) -> Awaitable[object] | None:
        """
        Client: note the key that the server will use next, signed by the one it uses now.

        An authorizer that provides
        :class:`~thing.trust.interfaces.IKeyContinuity` has been told already.

        :param identity: the next key.
        """

    def keyUpdated(self, generation: int) -> Awaitable[object] | None:
        """
        Note that the peer moved to its next traffic key.

        :param generation: how many times it did so in this session.
        """

    def terminated(self, termination: Termination) -> Awaitable[object] | None:
        """
        Say how the session ended; the stream may take a moment longer to close.

        :param termination: how, why and by whom.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Say that the stream is closed, and all waiters have been told.

        :param reason: why the transport closed; :meth:`terminated` knows better.
        """
