""":class:`ThingFactory`: what all sessions of one server, or one client, have in common."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from thing.core.client import ClientConnection
from thing.core.credentials import Credential
from thing.core.server import ServerConnection
from thing.core.settings import ClientSettings, ServerSettings
from thing.errors import EndReason, ErrorCode
from thing.events import Cause, Event, ResumptionTicket, Termination
from thing.identity import Identity
from thing.session.addresses import formatAddress, networkOf
from thing.session.clock import SteadyClock
from thing.session.driver import Driver
from thing.session.limits import Limits
from thing.session.protocol import ThingProtocol
from thing.session.rates import Brake, Lately
from thing.trust.interfaces import IAuthorizer

if TYPE_CHECKING:
    from twisted.internet.defer import _DeferredListResultListT

    from thing.session.live import LiveTrust


Observer = Callable[[ThingProtocol, Event], None]
"""Is told an event of a protocol; what it raises is logged."""

REFUSALS_LOGGED = 10
"""How many handshakes that fail are logged each second, one by one; of the rest the number is."""


class Busy(NamedTuple):
    """Why a connection is turned away."""

    detail: str
    """For this side's log."""

    retryAfter: float
    """How long the client should stay away, seconds."""


class _KeptTicket(NamedTuple):
    """A client's ticket for its next session, and when it is of use."""

    ticket: ResumptionTicket
    credential: Credential
    until: float


class _Owner:
    """What one connection's driver asks its factory, and tells its protocol."""

    __slots__ = ("_factory", "deliver")

    def __init__(self, factory: ThingFactory, protocol: ThingProtocol) -> None:
        self._factory = factory
        self.deliver = protocol.deliver

    def authorize(self, identity: Identity) -> Deferred[Identity]:
        return self._factory.authorize(identity)

    def jitter(self) -> float:
        return self._factory.jitter()

    def loopLagged(self, seconds: float) -> None:
        self._factory.loopLagged(seconds)


class ThingFactory(Factory):
    """
    Builds a :class:`~thing.session.protocol.ThingProtocol` for each connection, and knows them all.

    The role follows from the settings. Subclass it, or set :attr:`protocol`,
    to have your own protocol built. Settings, authorizer and limits may be
    replaced at any time; sessions that are up keep what they have.

    :ivar sessions: the protocols whose session is up.
    :ivar trust: what keeps settings and authorizer as the files of keys have them, or None.
    :ivar observers: told every event of every protocol, before the protocol is.
    :ivar admission: an :class:`~thing.trust.interfaces.IAuthorizer` or None: asked about whom
        the authorizer admits, with the name that it gave.
    :ivar terminations: how many sessions and handshakes ended, by cause.
    :ivar completed: how many handshakes were completed.
    :ivar limitsHit: how many connections were turned away or cut off, by one of ``LIMITS_HIT``.
    :ivar puzzlesAsked: how many clients were asked to solve a puzzle.
    :ivar reviews: how often it was asked anew who is authorized.
    :ivar loopLag: how late the latest timer came, seconds: the event loop's lag.
    :ivar clock: the steady clock that measures everything.
    :ivar jitter: a random number from 0 up to 1, for the schedule of heartbeats.
    """

    protocol: Callable[[], ThingProtocol] = ThingProtocol  # type: ignore[assignment]
    noisy = False
    _log = Logger()

    def __init__(
        self,
        settings: ServerSettings | ClientSettings,
        authorizer: Any,
        *,
        limits: Limits | None = None,
        clock: IReactorTime | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """
        :param settings: the server's settings or the client's.
        :param authorizer: an :class:`~thing.trust.interfaces.IAuthorizer`:
            whom to believe.
        :param limits: how much a server takes on; ignored for a client.
        :param clock: measures time; by default a steady clock over the reactor.
        :param jitter: gives random numbers from 0 up to 1.
        """
        if clock is None:
            from twisted.internet import reactor

            clock = SteadyClock.of(reactor)
        self.settings = settings
        self.authorizer: Any = IAuthorizer(authorizer)
        self.limits = limits or Limits()
        self.clock = clock
        self.jitter = jitter
        self.sessions: set[ThingProtocol] = set()
        self.trust: LiveTrust | None = None
        self.observers: list[Observer] = []
        self.admission: Any = None
        self.terminations: Counter[Cause] = Counter()
        self.completed = 0
        self.limitsHit: Counter[str] = Counter()
        self.puzzlesAsked = 0
        self.reviews = 0
        self.loopLag = 0.0
        self._handshaking: dict[ThingProtocol, float] = {}  # Since when; the oldest first.
        self._connected = 0
        self._perAddress: Counter[str] = Counter()
        self._handshakesPerAddress: Counter[str] = Counter()
        self._exchanges = Lately()  # Of handshakes that are no sessions.
        self._refusals = Brake(REFUSALS_LOGGED)
        self._ticket: _KeptTicket | None = None
        self._draining = False

    def startFactory(self) -> None:
        """Take connections again after a drain; called when the first port begins to listen."""
        self._draining = False
        if self.trust is not None:
            self.trust.start()

    def stopFactory(self) -> None:
        """Look at the files of keys no more; called when the last port listens no more."""
        if self.trust is not None:
            self.trust.stop()

    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> ThingProtocol | None:
        """
        Build the protocol of a new connection.

        :param addr: the peer's address.
        :return: the protocol, or None if not even a refusal can be afforded.
        """
        settings = self.settings
        core: ServerConnection | ClientConnection
        if isinstance(settings, ServerSettings):
            if self._connected >= self.limits.sessions + self.limits.handshakes:
                self.limitsHit["connections"] += 1
                return None
            core = ServerConnection(settings, self._grantTtl, self._difficulty, self._exchanged)
        else:
            core = ClientConnection(settings, self._takeTicket(settings))
        protocol = self.protocol()
        protocol.factory = self
        protocol.attach(Driver(core, _Owner(self, protocol), self.clock), addr)
        return protocol

    def _grantTtl(self, requested: float | None) -> float:
        assert isinstance(self.settings, ServerSettings), "only a server grants"
        return self.settings.ttl.grant(requested, len(self.sessions))

    def _difficulty(self) -> int:
        bits = self.limits.difficulty(self._exchanges.count(self.clock.seconds()))
        self.puzzlesAsked += bits > 0
        return bits

    def _exchanged(self) -> None:
        """Count a key exchange, in vain until there is a session."""
        self._exchanges.add(1, self.clock.seconds())

    def keepTicket(self, ticket: ResumptionTicket, credential: Credential) -> None:
        """
        Client: keep a ticket for the next connection; the latest only, and for one use.

        :param ticket: what the server gave.
        :param credential: what the client showed for it.
        """
        until = self.clock.seconds() + ticket.lifetime
        self._ticket = _KeptTicket(ticket, credential, until)

    def _takeTicket(self, settings: ClientSettings) -> ResumptionTicket | None:
        kept, self._ticket = self._ticket, None
        if kept is None or kept.credential is not settings.credential or not settings.resumption:
            return None  # With another key it is another client.
        left = kept.until - self.clock.seconds()
        return replace(kept.ticket, lifetime=left) if left > 0 else None

    def drain(
        self,
        grace: float,
        reason: EndReason = EndReason.SHUTDOWN,
        retryAfter: float = 0.0,
    ) -> Deferred[None]:
        """
        Server: ask every client to leave, take no new one, and wait for the last.

        :param grace: how long each client may take to say goodbye, seconds.
        :param reason: what they are told.
        :param retryAfter: how long they should stay away, seconds, and at random
            up to :meth:`Limits.spread` longer, so that they do not come back
            as one; zero gives no advice.
        :return: fires when the last session has ended, with a flat line if it must be.
        """
        self._draining = True
        leaving = len(self._handshaking) + len(self.sessions)
        spread = self.limits.spread(leaving, retryAfter) if retryAfter else 0.0
        ended = [protocol.whenTerminated() for protocol in (*self._handshaking, *self.sessions)]
        for protocol in list(self._handshaking):
            away = retryAfter + spread * self.jitter()
            protocol.reject(ErrorCode.SERVER_BUSY, "draining", away)
        for protocol in list(self.sessions):
            if protocol.termination is None:  # Else its end is about to be told.
                protocol.goAway(reason, grace, retryAfter + spread * self.jitter())

        def done(results: _DeferredListResultListT[Termination]) -> None:
            self._log.info("Drained: {count} sessions and handshakes ended", count=len(results))

        return DeferredList(ended).addCallback(done)

    @property
    def draining(self) -> bool:
        """Whether no connection is taken, since everybody is asked to leave."""
        return self._draining

    @property
    def handshakes(self) -> int:
        """How many handshakes are in progress."""
        return len(self._handshaking)

    def handshakeTime(self, protocol: ThingProtocol) -> float | None:
        """
        Tell how long a handshake has been in progress.

        :param protocol: whose.
        :return: seconds; None if it is in none.
        """
        since = self._handshaking.get(protocol)
        return None if since is None else self.clock.seconds() - since

    # What the protocols and their drivers ask and tell.

    def authorize(self, identity: Identity) -> Deferred[Identity]:
        """
        Decide whether to go on with a peer.

        :param identity: what it has proved.
        :return: fires with the identity and its name; fails with ``NotAuthorized``, or with
            whatever an authorizer that is broken raises.
        """
        deciding = maybeDeferred(self.authorizer.authorize, identity)
        deciding.addCallback(_checkIdentity)
        if self.admission is not None:
            deciding.addCallback(self.admission.authorize)
        return deciding.addCallback(self._unlessReviewed, identity, self.reviews)

    def _unlessReviewed(
        self, admitted: Identity, proved: Identity, reviews: int
    ) -> Identity | Deferred[Identity]:
        """A review of the sessions that are up has missed who was not quite up; so ask again."""
        return admitted if reviews == self.reviews else self.authorize(proved)

    def observe(self, protocol: ThingProtocol, event: Event) -> None:
        """
        Tell the observers.

        :param protocol: whose event it is.
        :param event: the event.
        """
        for observer in self.observers:
            try:
                observer(protocol, event)
            except Exception:
                self._log.failure("An observer failed")

    def connected(self, protocol: ThingProtocol) -> None:
        """
        Count a new connection.

        :param protocol: whose stream is there.
        """
        self._connected += 1
        host = networkOf(protocol.connectedFrom)
        self._perAddress[host] += 1
        if protocol.termination is None:
            self._handshaking[protocol] = self.clock.seconds()
            self._handshakesPerAddress[host] += 1

    def refusal(self, protocol: ThingProtocol) -> Busy | None:
        """
        Decide whether a new connection must be turned away.

        :param protocol: whose stream is there.
        :return: why and for how long, or None.
        """
        if isinstance(self.settings, ClientSettings):
            return None
        exceeded = self._overLimit(networkOf(protocol.connectedFrom))
        if exceeded is None:
            if len(self._handshaking) > self.limits.handshakes:
                self._displaceOldest(protocol)
            return None
        return self._busy(protocol, *exceeded)

    def _busy(self, protocol: ThingProtocol, limit: str, detail: str) -> Busy | None:
        """What to tell a connection that is turned away; None if it was cut off without a word."""
        self.limitsHit[limit] += 1
        leaving = self._connected - len(self._handshaking) - len(self.sessions)
        if leaving >= self.limits.handshakes:
            protocol.cutOff(detail)
            return None
        return Busy(detail, self.limits.retryAfter * (1 + self.jitter()))

    def moved(self, protocol: ThingProtocol, address: IAddress) -> Busy | None:
        """
        Count a connection by the address that its PROXY header tells, from now on.

        :param protocol: whose stream it is; nothing else of it was read yet.
        :param address: where it comes from.
        :return: why and for how long it must be turned away, or None.
        """
        before = networkOf(protocol.connectedFrom)
        protocol.connectedFrom = address
        host = networkOf(protocol.connectedFrom)
        _countDown(self._perAddress, before)
        self._perAddress[host] += 1
        if protocol in self._handshaking:
            _countDown(self._handshakesPerAddress, before)
            self._handshakesPerAddress[host] += 1
        if isinstance(self.settings, ClientSettings) or protocol.termination is not None:
            return None
        exceeded = self._overAddressLimit(host)
        return None if exceeded is None else self._busy(protocol, *exceeded)

    def _displaceOldest(self, newcomer: ThingProtocol) -> None:
        """
        Cut off who has been at the handshake the longest, if possible without having proved a key.

        A word to it would cost more, and it would be waited for while it takes the word.
        """
        others = [protocol for protocol in self._handshaking if protocol is not newcomer]
        oldest = next((each for each in others if not each.proved), others[0])
        self.limitsHit["handshakes"] += 1
        oldest.cutOff(f"limit of {self.limits.handshakes} handshakes")

    def _overLimit(self, host: str) -> tuple[str, str] | None:
        """Which limit a new connection exceeds, and the same in words."""
        limits = self.limits
        if self._draining:
            return "draining", "draining"
        if len(self._handshaking) + len(self.sessions) > limits.sessions:
            return "sessions", f"limit of {limits.sessions} sessions"
        return self._overAddressLimit(host)

    def _overAddressLimit(self, host: str) -> tuple[str, str] | None:
        limits = self.limits
        if host and self._perAddress[host] > limits.sessionsPerAddress:
            detail = f"limit of {limits.sessionsPerAddress} sessions of one address"
            return "sessions_per_address", detail
        if host and self._handshakesPerAddress[host] > limits.handshakesPerAddress:
            detail = f"limit of {limits.handshakesPerAddress} handshakes of one address"
            return "handshakes_per_address", detail
        return None

    def established(self, protocol: ThingProtocol) -> None:
        """
        Count a session that is up.

        :param protocol: whose.
        """
        session = protocol.session
        assert session is not None, "an established protocol has a session"
        self._handshakeEnded(protocol)
        self._exchanges.add(-1, self.clock.seconds())
        self.sessions.add(protocol)
        self.completed += 1
        self._log.info(
            "Session {sessionId} with {peer} at {address} is {established}: "
            "{group}, {aead}, TTL {ttl:g} s",
            established="resumed" if session.resumed else "established",
            sessionId=protocol.sessionId,
            peer=str(session.peer),
            fingerprint=session.peer.fingerprint,
            address=formatAddress(protocol.address),
            group=session.group,
            aead=session.aead,
            ttl=session.ttl,
        )

    def ended(self, protocol: ThingProtocol, termination: Termination) -> None:
        """
        Count a session or a handshake that is over.

        :param protocol: whose.
        :param termination: how it ended.
        """
        self._handshakeEnded(protocol)
        self.sessions.discard(protocol)
        self.terminations[termination.cause] += 1
        if protocol.session is None and (cameAndWent(protocol) or not self._logsRefusal()):
            return
        what = f"Session {protocol.sessionId}" if protocol.session else "Handshake"
        self._log.info(
            "{what} with {peer} at {address} ended: {termination}",
            what=what,
            sessionId=protocol.sessionId,
            peer=str(protocol.peer or "a stranger"),
            address=formatAddress(protocol.address),
            termination=str(termination),
            cause=termination.cause.name,
        )

    def _logsRefusal(self) -> bool:
        """Whether one more handshake that failed gets a line of its own: a flood fills no disk."""
        now = self.clock.seconds()
        held = self._refusals.takeHeld(now)
        if held:
            self._log.info("{count} more handshakes with strangers ended", count=held)
        return self._refusals.passes(now)

    def disconnected(self, protocol: ThingProtocol) -> None:
        """
        Forget a connection.

        :param protocol: whose stream is gone.
        """
        self._connected -= 1
        _countDown(self._perAddress, networkOf(protocol.connectedFrom))

    def _handshakeEnded(self, protocol: ThingProtocol) -> None:
        if protocol in self._handshaking:
            del self._handshaking[protocol]
            _countDown(self._handshakesPerAddress, networkOf(protocol.connectedFrom))

    def loopLagged(self, seconds: float) -> None:
        """
        Note how late a timer came.

        :param seconds: how late.
        """
        self.loopLag = seconds


def _checkIdentity(identity: Identity) -> Identity:
    if not isinstance(identity, Identity):
        raise TypeError(f"an authorizer returned a {type(identity).__name__}")
    str(identity).encode()  # Logs, registries and pages need names that are text.
    return identity


def cameAndWent(protocol: ThingProtocol) -> bool:
    """
    Tell whether the peer closed the stream without an octet, as a balancer's health check does.

    :param protocol: a connection that is over.
    :return: whether it did.
    """
    termination = protocol.termination
    return protocol.silent and termination is not None and termination.cause is Cause.TRUNCATED


def _countDown(counts: Counter[str], host: str) -> None:
    counts[host] -= 1
    if not counts[host]:
        del counts[host]
