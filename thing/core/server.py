"""
The server's side of a Connection: what it receives, grants and ends.

What both sides do alike is in :mod:`thing.core.connection`, :mod:`thing.core.opening` and
:mod:`thing.core.dialogue`.
"""

from __future__ import annotations

from collections.abc import Callable

from thing.core.credentials import Credential
from thing.core.dialogue import Dialogue
from thing.core.handshakemessages import CCC, CDH, CHI
from thing.core.heartbeat import BEATS_PER_TTL, scheduleOf, toMilliseconds
from thing.core.messages import (
    CFL,
    CGB,
    CHB,
    CHR,
    CLW,
    LAST_WORD_LIMIT,
    SFL,
    SGA,
    SHR,
    SRP,
    SRQ,
    SUU,
    UNKNOWN_RTT,
    MessageType,
    Role,
)
from thing.core.nextkey import announcement
from thing.core.records import TAG_LENGTH
from thing.core.serverhandshake import ServerHandshake
from thing.core.settings import ServerSettings
from thing.core.states import State, Step
from thing.errors import EndReason, ErrorCode, RemoteProtocolError
from thing.events import (
    Cause,
    Event,
    GoodbyeReceived,
    HeartbeatReceived,
    LastWordReceived,
    Termination,
)

_UNAUTHORIZED = frozenset({EndReason.REVOKED, EndReason.EXPIRED})
"""The reasons of whoever would not be let in again with the same credential."""

Grant = Callable[[float | None], float]
"""Decides a TTL: what the client asked for, or None, to what it gets; seconds."""


class ServerConnection(Dialogue[ServerHandshake]):
    """
    One client, as the server sees it.

    :ivar lastHeartbeat: the sequence number of the last heartbeat seen, zero for none.
    :ivar roundTripTime: what the client measured last, seconds, or None.
    :ivar lastWord: what the client leaves, to be made public if it is lost; empty for nothing.
    """

    role = Role.SERVER
    _rejectIn, _rejectOut = CHR, SHR
    _inOrder = frozenset({MessageType.CDT, MessageType.CRQ, MessageType.CLW, MessageType.CGB})
    _dataIn = MessageType.CDT
    _farewellIn = MessageType.CGB
    _dataOut = MessageType.SDT
    _creditOut = MessageType.SCR
    _requestOut = SRQ
    _replyOut = SRP

    __slots__ = (
        "_difficulty", "_exchanged", "_goingAway", "_grant", "_requestedTtl", "_settings",
        "lastHeartbeat", "lastWord", "roundTripTime",
    )  # fmt: skip

    def __init__(
        self,
        settings: ServerSettings,
        grant: Grant | None = None,
        difficulty: Callable[[], int] = lambda: 0,
        exchanged: Callable[[], object] = lambda: None,
    ) -> None:
        """
        :param settings: what the server chose.
        :param grant: decides the TTL at the handshake and at each heartbeat;
            by default the settings' policy, for a fleet of one.
        :param difficulty: how hard a puzzle to ask of a client that begins now, bits; by
            default none.
        :param exchanged: told when a key exchange was begun for this client.
        """
        super().__init__(settings, ServerHandshake(settings))
        self._settings = settings
        self._difficulty = difficulty
        self._exchanged = exchanged
        self._grant = grant or (lambda requested: settings.ttl.grant(requested, 1))
        self._requestedTtl: float | None = None
        self._goingAway: SGA | None = None
        self.lastHeartbeat = 0
        self.roundTripTime: float | None = None
        self.lastWord = b""

    # The handshake.

    def _receiveCHI(self, octets: bytes) -> None:
        handshake = self._handshake
        difficulty = 0 if handshake.asked else self._difficulty()
        self._sendHandshake(*handshake.receiveCHI(CHI.received(octets), difficulty))
        if handshake.chosen:
            self._exchanged()
        else:
            self._machine.step(Step.RETRY)
            self._allowSearch(difficulty)

    def _receiveCDH(self, octets: bytes) -> None:
        self._answered()
        scc = self._handshake.receiveCDH(CDH.received(octets))
        secrets = self._handshake.secrets
        self._useKeys(secrets.clientSecret, secrets.serverSecret)
        self._sendHandshake(scc)

    def _receiveCCC(self, octets: bytes) -> None:
        self._peerProved(self._handshake.receiveCCC(CCC.received(octets)))

    def _admitted(self) -> None:
        handshake = self._handshake
        self._requestedTtl = handshake.requestedTtl
        ttl = self._grant(self._requestedTtl)
        self._sendHandshake(handshake.finish(ttl, ttl / BEATS_PER_TTL))
        sessionId = self._useSessionKeys()
        milliseconds, interval = scheduleOf(ttl)
        self._establish(sessionId, milliseconds / 1000, interval / 1000)
        if handshake.following is not None:
            self._announceNextKey(handshake.credential, handshake.following)

    def _announceNextKey(self, current: Credential, following: Credential) -> None:
        assert self.session is not None, "announced inside a session only"
        message = announcement(self.session.sessionId, current, following).typed()
        if len(message) + TAG_LENGTH <= self._peerCapacity.recordLimit:
            self._outbox.urgent(message)

    # The heartbeat.

    def _receiveCHB(self, octets: bytes) -> None:
        sequence, microseconds = CHB.read(octets[1:])
        if sequence != self.lastHeartbeat + 1:
            raise RemoteProtocolError(
                ErrorCode.HEARTBEAT_SEQUENCE, f"CHB {sequence} after {self.lastHeartbeat}"
            )
        if self._outbox.isWaiting(MessageType.SUU):
            raise RemoteProtocolError(ErrorCode.HEARTBEAT_OUTSTANDING)
        self.lastHeartbeat = sequence
        if not self._liveness.watched or self._machine.state is State.AWAIT_CFL:
            return  # No longer renewed, so not acknowledged either.
        ttl = self._grant(self._requestedTtl)
        self._liveness.renew(self._now, ttl)
        self._outbox.urgent(SUU.whole(sequence, *scheduleOf(ttl)))
        rtt = self.roundTripTime = None if microseconds == UNKNOWN_RTT else microseconds / 1e6
        if rtt is not None:
            self._measure(rtt)
        self._events.append(HeartbeatReceived(sequence, rtt, ttl))

    def _outOfTime(self) -> None:
        unheeded = self.state is State.GOING_AWAY and not self._inbox.parting
        if unheeded or (self._unauthorized and self.state is not State.AWAIT_CFL):
            self._peerIsDead()
        else:
            super()._outOfTime()

    def _peerIsDead(self) -> None:
        reason, retryAfter = int(EndReason.HEARTBEAT_MISSED), 0
        if self._goingAway is not None:
            reason, retryAfter = self._goingAway.reason, self._goingAway.retryAfter
        self._finalWord(SFL(self.lastHeartbeat, reason, retryAfter))
        self._end(
            Termination(
                Cause.FLAT_LINED, reason=EndReason(reason), lastHeartbeat=self.lastHeartbeat
            )
        )

    # The last word.

    def _receiveLastWord(self, octets: bytes) -> None:
        clw = CLW.decode(octets[1:])
        if len(clw.data) > LAST_WORD_LIMIT:
            raise RemoteProtocolError(ErrorCode.MESSAGE_TOO_LONG, "a last word")
        self.lastWord = clw.data
        self._events.append(LastWordReceived(clw.data))

    # Termination.

    def goAway(
        self, reason: EndReason, now: float, grace: float, retryAfter: float = 0.0
    ) -> list[Event]:
        """
        Ask the client to say goodbye; from now on its heartbeats renew nothing.

        A client that was asked before gets no more time than it had, but may get less. One whose
        credential is of no use any more (``REVOKED``, ``EXPIRED``) is gone when the grace is over,
        however far its goodbye has come.

        :param reason: why; a client that is leaving already learns of it if it is flat-lined.
        :param now: the time, seconds.
        :param grace: how long to wait at most, seconds.
        :param retryAfter: how long the client should stay away, seconds.
        :return: what follows.
        :raises LocalProtocolError: ``WRONG_STATE`` before the session is up or after its end.
        """
        self._now = now
        self._machine.step(Step.GO_AWAY)
        leaving = self.state is not State.GOING_AWAY or self._inbox.parting
        if leaving and reason not in _UNAUTHORIZED:
            if not self._liveness.limited:  # Its goodbye waits behind what is held here.
                self._beginClose()
            return self._takeEvents()  # The close has its own time.
        first = not leaving and self._goingAway is None
        if first:
            grace = min(grace, self._liveness.remaining(now))
        sooner = self._liveness.shorten(now, grace, patience=grace)
        if (sooner or reason in _UNAUTHORIZED) and not self._unauthorized:
            self._goingAway = SGA(reason, toMilliseconds(retryAfter), toMilliseconds(grace))
        if first and self._goingAway is not None:
            self._urgent(self._goingAway)
            self._liveness.unwatch()  # Nothing is renewed any more: one deadline until the end.
        return self._takeEvents()

    @property
    def _unauthorized(self) -> bool:
        """Whether the client was asked to leave because it is not authorized any more."""
        return self._goingAway is not None and self._goingAway.reason in _UNAUTHORIZED

    def _farewellCame(self) -> None:
        if self.state is State.GOING_AWAY:
            # It heeded SGA in time, even if its goodbye is held back here.
            self._beginClose()

    def _receiveCGB(self, octets: bytes) -> None:
        CGB.decode(octets[1:])
        self._outbox.farewell(MessageType.SGB)
        self._stopUndecided()
        self._beginClose()
        self._events.append(GoodbyeReceived())

    def _beginClose(self) -> None:
        if not self._unauthorized:  # SGA's grace was for CGB; the close has its own time.
            super()._beginClose()

    def _receiveCFL(self, octets: bytes) -> None:
        CFL.decode(octets[1:])
        self._end(Termination(Cause.GOODBYE, reason=self._reason))

    @property
    def _reason(self) -> EndReason | None:
        return EndReason(self._goingAway.reason) if self._goingAway is not None else None

    _handlers = {
        MessageType.CHI: _receiveCHI,
        MessageType.CDH: _receiveCDH,
        MessageType.CCC: _receiveCCC,
        MessageType.CHB: _receiveCHB,
        MessageType.CGB: _receiveCGB,
        MessageType.CFL: _receiveCFL,
        MessageType.CDT: Dialogue._receiveData,
        MessageType.CRQ: Dialogue._receiveRequest,
        MessageType.CRP: Dialogue._receiveReply,
        MessageType.CLW: _receiveLastWord,
        MessageType.CCR: Dialogue._receiveCredit,
        MessageType.COP: Dialogue._receiveOpen,
        MessageType.CAC: Dialogue._receiveAccept,
        MessageType.CST: Dialogue._receiveStop,
        MessageType.CKU: Dialogue._receiveUpdate,
        MessageType.CHR: Dialogue._receiveReject,
    }
