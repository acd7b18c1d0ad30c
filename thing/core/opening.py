"""
The way to an established session, in so far as both roles go it alike: keys, proof, admission.

What the handshake's messages say is decided in :mod:`thing.core.handshake`; here its results take
effect on the Connection. What a session then carries is :mod:`thing.core.dialogue`'s.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from thing.core.capacity import MOST, Capacity
from thing.core.handshake import Handshake
from thing.core.messages import Role
from thing.core.puzzle import allowance
from thing.core.receiving import Receiving
from thing.core.records import TrafficKey
from thing.core.settings import Settings
from thing.core.states import Step
from thing.errors import RemoteProtocolError
from thing.events import Event, HandshakeCompleted, PeerProved, Session, Termination
from thing.identity import Identity

H = TypeVar("H", bound=Handshake)


class Opening(Receiving, Generic[H]):
    """A Connection, with its handshake."""

    __slots__ = ("_exporterSecret", "_handshakeOrNone", "_identity", "_peerCapacity")

    def __init__(self, settings: Settings, handshake: H) -> None:
        """
        :param settings: what this side chose.
        :param handshake: this side's handshake, not begun.
        """
        super().__init__(settings)
        self._handshakeOrNone: H | None = handshake
        self._identity: Identity | None = None
        self._exporterSecret: bytes | None = None
        self._peerCapacity = MOST  # Until the peer has said its own.

    def start(self, now: float) -> list[Event]:
        """
        The transport is connected.

        :param now: the time, seconds.
        :return: what follows.
        """
        self._now = now
        self._machine.step(Step.START)
        timeout = self._limits.handshakeTimeout
        self._liveness.limit(now, timeout, patience=timeout)
        return self._takeEvents()

    def _allowSearch(self, difficulty: int) -> None:
        """The client was asked a puzzle: the handshake may take as much longer as that does."""
        timeout = self._limits.handshakeTimeout
        self._liveness.limit(self._now, timeout + allowance(difficulty), patience=timeout)

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

    @property
    def _handshake(self) -> H:
        assert self._handshakeOrNone is not None, "the state machine puts the handshake first"
        return self._handshakeOrNone

    def _sendHandshake(self, *messages: bytes) -> None:
        self._since = self._now
        for message in messages:
            self._writer.add(message)

    def _answered(self) -> None:
        """The peer answered what this side said last: that was a round trip."""
        self._measure(self._now - self._since)

    def _measure(self, roundTrip: float) -> None:
        if roundTrip < self._roundTrip:
            self._roundTrip = max(0.0, roundTrip)

    def _useKeys(self, clientSecret: bytes, serverSecret: bytes) -> None:
        keys = [
            TrafficKey(self._handshake.aead, secret, self._now)
            for secret in (clientSecret, serverSecret)
        ]
        ours, theirs = keys if self.role is Role.CLIENT else keys[::-1]
        self._writer.key, self._reader.key = ours, theirs

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
        self._liveness.watch(self._now, ttl, patient=self.role is Role.SERVER)
        self.session = Session(
            sessionId,
            self._identity,
            handshake.group.name,
            handshake.aead.name,
            ttl,
            interval,
            handshake.resumed,
        )
        self._grantCredit(handshake.peerCapacity)
        self._handshakeOrNone = None
        self._events.append(HandshakeCompleted(self.session))

    def _grantCredit(self, peer: Capacity) -> None:
        """From now on each side may spend what the other has granted at first."""
        self._since = self._now
        self._peerCapacity = peer
        self._outbox.mainCredit = peer.mainCredit
        self._outbox.longest = peer.fragment

    def _end(self, termination: Termination) -> None:
        super()._end(termination)
        self._handshakeOrNone = self._exporterSecret = None
