"""
The client's side of a Connection: what it offers, receives and answers; its heartbeats.

What both sides do alike is in :mod:`thing.core.connection`, :mod:`thing.core.opening` and
:mod:`thing.core.dialogue`.
"""

from __future__ import annotations

from collections.abc import Callable

from thing.core import endings
from thing.core.chance import chance
from thing.core.clienthandshake import ClientHandshake
from thing.core.credentials import verifyCredential
from thing.core.dialogue import Dialogue
from thing.core.handshakemessages import SCC, SDH, SHF, SHI
from thing.core.heartbeat import Pulse, checkSchedule
from thing.core.keyschedule import (
    CURRENT_KEY_CONTEXT,
    NEXT_KEY_CONTEXT,
    nextKeyHash,
    signatureContent,
)
from thing.core.messages import (
    CFL,
    CHB,
    CHR,
    CLW,
    CRP,
    CRQ,
    LAST_WORD_LIMIT,
    SFL,
    SGA,
    SGB,
    SHR,
    SNK,
    SUU,
    MessageType,
    Role,
)
from thing.core.puzzle import Search
from thing.core.settings import ClientSettings
from thing.core.states import BEATING_STATES, WRITABLE_STATES, State, Step
from thing.errors import EndReason, ErrorCode, LocalProtocolError, RemoteProtocolError
from thing.events import (
    Cause,
    Event,
    GoingAway,
    HeartbeatAcknowledged,
    HeartbeatSent,
    KeysAnnounced,
    ResumptionTicket,
    Termination,
    TicketReceived,
)
from thing.identity import Identity


class ClientConnection(Dialogue[ClientHandshake]):
    """
    One server, as the client sees it.

    :ivar credential: what this side shows, unless a secret takes its place.
    :ivar lastWord: what the server has, or will be given, to make public if this client is lost.
    """

    role = Role.CLIENT
    _rejectIn, _rejectOut = SHR, CHR
    _inOrder = frozenset({MessageType.SDT, MessageType.SRQ, MessageType.SGB})
    _dataIn = MessageType.SDT
    _farewellIn = MessageType.SGB
    _dataOut = MessageType.CDT
    _creditOut = MessageType.CCR
    _requestOut = CRQ
    _replyOut = CRP

    __slots__ = (
        "_jitter", "_nextKeyDue", "_peerKinds", "_pulse", "_search", "_sentAway", "credential",
        "lastWord",
    )  # fmt: skip

    def __init__(
        self,
        settings: ClientSettings,
        ticket: ResumptionTicket | None = None,
        jitter: Callable[[], float] = chance,
    ) -> None:
        """
        :param settings: what the client chose.
        :param ticket: what an earlier session with the same server left.
        :param jitter: gives random numbers from 0 up to 1: when in the first interval the first
            heartbeat is sent.
        """
        super().__init__(settings, ClientHandshake(settings, ticket))
        self.credential = settings.credential
        self.lastWord = settings.lastWord
        self._peerKinds = settings.peerKinds
        self._search: Search | None = None
        self._pulse = Pulse()
        self._jitter = jitter
        self._nextKeyDue: bool | None = None
        self._sentAway: GoingAway | None = None

    # The handshake.

    def start(self, now: float) -> list[Event]:
        """
        The transport is connected: CHI is sent.

        :param now: the time, seconds.
        :return: what follows.
        """
        events = super().start(now)
        self._sendHandshake(self._handshake.begin())
        return events

    def _receiveSHI(self, octets: bytes) -> None:
        self._answered()
        self._search = self._handshake.receiveSHI(SHI.received(octets))
        if self._search is not None:
            self._machine.step(Step.RETRY)
            self._allowSearch(self._search.difficulty)

    @property
    def nextDeadline(self) -> float | None:
        """When :meth:`handleTimer` wants to be called, seconds; None for never."""
        if self.state is State.SOLVING:
            return self._now  # At once, but let the reactor turn.
        deadline = super().nextDeadline
        if deadline is None or not self._beats:
            return deadline
        return min(deadline, self._pulse.due)

    def handleTimer(self, now: float) -> list[Event]:
        """
        Look at the deadlines, beat if it is time, and go on with a puzzle.

        :param now: the time, seconds.
        :return: what follows.
        """
        self._now = now
        if self._beats:
            self._send(self._pulse.keepTime(now))
        if self.state is State.SOLVING and self._search is not None:
            solution = self._search.go()
            if solution is not None:
                self._search = None
                self._machine.step(Step.SOLVED)
                self._sendHandshake(self._handshake.retry(solution))
        return super().handleTimer(now)

    def _receiveSDH(self, octets: bytes) -> None:
        self._sendHandshake(self._handshake.receiveSDH(SDH.received(octets)))
        secrets = self._handshake.secrets
        self._useKeys(secrets.clientSecret, secrets.serverSecret)
        self._reader.clearReject = True  # The server has no keys before it has CDH.

    def _receiveSCC(self, octets: bytes) -> None:
        self._reader.clearReject = False
        self._peerProved(self._handshake.receiveSCC(SCC.received(octets)))

    def _admitted(self) -> None:
        self._peerCapacity = self._handshake.peerCapacity
        if len(self.lastWord) > self._peerCapacity.lastWord:
            raise RemoteProtocolError(
                ErrorCode.LIMITS_OUT_OF_BOUNDS, "the server takes no last word of this length"
            )
        self._sendHandshake(self._handshake.answer())

    def _receiveSHF(self, octets: bytes) -> None:
        received = SHF.received(octets)
        self._handshake.receiveSHF(received)
        shf = received.message
        # The server has these keys: a refusal from here on is under them, too.
        sessionId = self._useSessionKeys()
        checkSchedule(shf.ttl, shf.interval)
        ticket = self._handshake.ticket()
        self._nextKeyDue = self._handshake.nextKeyDue
        self._establish(sessionId, shf.ttl / 1000, shf.interval / 1000)
        self._pulse.begin(self._now, shf.interval / 1000, self._jitter())
        if self._nextKeyDue is False:
            self._keysAnnounced(None)
        if self.lastWord:
            self._leaveLastWord(limited=False)
        if ticket is not None:
            self._events.append(TicketReceived(ticket))

    def _receiveSNK(self, octets: bytes) -> None:
        snk = SNK.decode(octets[1:])
        assert self.session is not None, "announced inside a session only"
        if not self._nextKeyDue:
            raise RemoteProtocolError(ErrorCode.UNEXPECTED_MESSAGE, "SNK, and none is due")
        self._nextKeyDue = False
        current = self.session.peer
        if snk.credentialKind not in self._peerKinds:
            raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, f"kind {snk.credentialKind}")
        hashed = nextKeyHash(
            self.session.sessionId,
            current.kind,
            current.data,
            snk.credentialKind,
            snk.credential,
        )
        verifyCredential(
            current.kind,
            current.data,
            snk.scheme,
            snk.signature,
            signatureContent(CURRENT_KEY_CONTEXT, hashed),
        )
        following = verifyCredential(
            snk.credentialKind,
            snk.credential,
            snk.nextScheme,
            snk.nextSignature,
            signatureContent(NEXT_KEY_CONTEXT, hashed),
        )
        self._keysAnnounced(following)

    def _keysAnnounced(self, following: Identity | None) -> None:
        assert self.session is not None, "announced inside a session only"
        self._events.append(KeysAnnounced(self.session.peer, following))

    # The heartbeat.

    def beat(self, now: float) -> list[Event]:
        """
        Send a heartbeat now, unless one is outstanding or the session is not up.

        :meth:`handleTimer` does so by itself, on the schedule that the server grants.

        :param now: the time, seconds.
        :return: what follows: that one is sent, or nothing.
        """
        if self._beats:
            self._send(self._pulse.beat(now))
        return self._takeEvents()

    @property
    def _beats(self) -> bool:
        """Whether this side sends heartbeats now."""
        return self._machine.state in BEATING_STATES and self._liveness.watched

    def _send(self, chb: CHB | None) -> None:
        if chb is not None:
            self._urgent(chb)
            self._events.append(HeartbeatSent(chb.sequence))

    @property
    def roundTripTime(self) -> float | None:
        """What the last acknowledged heartbeat measured, seconds; None before the first."""
        return self._pulse.roundTripTime

    def _receiveSUU(self, octets: bytes) -> None:
        suu = SUU.decode(octets[1:])
        rtt = self._pulse.acknowledged(suu, self._now)
        self._measure(rtt)
        ttl, interval = suu.ttl / 1000, suu.interval / 1000
        self._liveness.renew(self._now, ttl)
        self._events.append(HeartbeatAcknowledged(suu.sequence, rtt, ttl, interval))

    # The last word.

    def setLastWord(self, data: bytes) -> bool:
        """
        Leave a message that the server makes public if this client is lost.

        Before the session is up it is kept, and goes out first when it is. If the server turns out
        to take none of its length, it is refused.

        :param data: the message; it replaces the one before, an empty one withdraws it.
        :return: whether the server gets it; False once the session is closing or over.
        :raises LocalProtocolError: ``BAD_ARGUMENT`` if it is too long; ``BUFFER_FULL`` if
            with it too much would wait.
        :raises TypeError: unless ``data`` is bytes or like bytes.
        """
        word = bytes(memoryview(data))
        longest = min(LAST_WORD_LIMIT, self._peerCapacity.lastWord)
        if len(word) > longest:
            raise LocalProtocolError(
                ErrorCode.BAD_ARGUMENT, f"a last word has {longest} octets at most"
            )
        if self.session is None and self.termination is None:
            self.lastWord = word
            return True
        if self.state not in WRITABLE_STATES or self._outbox.mainEnding:
            return False
        before, self.lastWord = self.lastWord, word
        try:
            self._leaveLastWord()
        except LocalProtocolError:
            self.lastWord = before
            raise
        return True

    def _leaveLastWord(self, limited: bool = True) -> None:
        word = self.lastWord
        self._outbox.whole(MessageType.CLW, CLW(word).encode(), len(word), limited)

    # Termination.

    def goodbye(self, now: float) -> list[Event]:
        """
        End the session in order: all that is queued is sent, then CGB.

        :param now: the time, seconds.
        :return: what follows.
        :raises LocalProtocolError: ``WRONG_STATE`` before the session is up or after its end.
        """
        self._now = now
        self._machine.step(Step.GOODBYE)
        self._leave()
        return self._takeEvents()

    def _leave(self) -> None:
        if self.state is State.LEAVING and not self._liveness.limited:
            self._stopUndecided()
            self._outbox.farewell(MessageType.CGB)
            self._beginClose()

    def _receiveSGA(self, octets: bytes) -> None:
        sga = SGA.decode(octets[1:])
        self._liveness.unwatch()  # Nothing is renewed any more: the close deadline takes over.
        self._leave()
        self._sentAway = GoingAway(
            endings.known(EndReason, sga.reason),
            endings.heededRetryAfter(sga.retryAfter),
            sga.grace / 1000,
        )
        self._events.append(self._sentAway)

    def _farewellCame(self) -> None:
        self._liveness.unwatch()  # The server answers no more, even if its goodbye is held here.

    def _receiveSGB(self, octets: bytes) -> None:
        SGB.decode(octets[1:])
        self._finalWord(CFL())
        away = self._sentAway
        if away is None:
            self._end(Termination(Cause.GOODBYE))
        else:
            self._end(Termination(Cause.GOODBYE, reason=away.reason, retryAfter=away.retryAfter))

    def _receiveSFL(self, octets: bytes) -> None:
        sfl = SFL.decode(octets[1:])
        self._end(endings.flatLinedByPeer(sfl))

    _handlers = {
        MessageType.SHI: _receiveSHI,
        MessageType.SDH: _receiveSDH,
        MessageType.SCC: _receiveSCC,
        MessageType.SHF: _receiveSHF,
        MessageType.SUU: _receiveSUU,
        MessageType.SNK: _receiveSNK,
        MessageType.SGA: _receiveSGA,
        MessageType.SGB: _receiveSGB,
        MessageType.SFL: _receiveSFL,
        MessageType.SDT: Dialogue._receiveData,
        MessageType.SRQ: Dialogue._receiveRequest,
        MessageType.SRP: Dialogue._receiveReply,
        MessageType.SCR: Dialogue._receiveCredit,
        MessageType.SOP: Dialogue._receiveOpen,
        MessageType.SAC: Dialogue._receiveAccept,
        MessageType.SST: Dialogue._receiveStop,
        MessageType.SKU: Dialogue._receiveUpdate,
        MessageType.SHR: Dialogue._receiveReject,
    }
