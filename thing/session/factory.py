"""
:class:`ThingFactory`: what all sessions of one server, or one client, have in common.

It holds what may be set and what may be asked, and builds protocols. Who may come in, and the
books on it, are the reception's (:mod:`thing.session.reception`).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict, overload

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IAddress, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory

from thing.core.client import ClientConnection
from thing.core.credentials import Credential
from thing.core.door import Door
from thing.core.kept import KeptTicket
from thing.core.limits import Limits
from thing.core.messages import Role
from thing.core.server import ServerConnection
from thing.core.settings import ClientSettings, ServerSettings
from thing.errors import EndReason, ErrorCode
from thing.events import Cause, Event, ResumptionTicket, Termination
from thing.identity import Identity, Purpose
from thing.logger import Logger
from thing.session.attendant import Attendant
from thing.session.believing import believe
from thing.session.checks import checkParts, checkProtocol, roleOf
from thing.session.clock import SteadyClock
from thing.session.expiry import Expiry
from thing.session.failures import Failures
from thing.session.interfaces import IStreamServer, checkServed
from thing.session.journal import Journal
from thing.session.link import Link
from thing.session.protocol import ThingProtocol, join, linkOf
from thing.session.reception import Reception
from thing.session.review import Review
from thing.session.served import Served
from thing.session.sessionset import SessionSet
from thing.session.stream import STOP_FAILED
from thing.trust.interfaces import ServerAuthorizer, ThingAuthorizer, checkRole

if TYPE_CHECKING:  # Users with a factory of their own need none of these.
    from twisted.internet.defer import _DeferredListResultListT
    from typing_extensions import Unpack

    from thing.trust.chosen import ServerChoice
    from thing.trust.live import LiveTrust

Observer = Callable[[ThingProtocol, Event], None]
"""Is told an event of a protocol, and may be a coroutine; what it raises is logged."""


class _Others(TypedDict, total=False):
    """What a factory may be given besides; see there."""

    limits: Limits | None
    clock: IReactorTime | None
    jitter: Callable[[], float]
    wallClock: Callable[[], float]


class ThingFactory(Factory):
    """
    Builds a :class:`~thing.session.protocol.ThingProtocol` for each connection, and knows them all.

    The role follows from the settings. Subclass it, or set :attr:`protocol`,
    to have your own protocol built. Settings, authorizer and limits may be
    replaced at any time; sessions that are up keep what they have.

    :ivar sessions: the protocols whose session is up, of peers that are things.
    :ivar guests: likewise of those that are none; attendants see to them.
    :ivar attendants: what sees to the sessions of peers that are no things, by purpose; without
        one such a peer is refused. Made for each session when it is up.
    :ivar served: what is served in the streams of all sessions, by label; see :meth:`serve`.
    :ivar observers: told every event of every protocol, before the protocol is.
    :ivar admission: an :class:`~thing.trust.interfaces.IAuthorizer` or None: asked about whom
        the authorizer admits, with the name that it gave.
    :ivar terminations: how many sessions and handshakes ended, by cause.
    :ivar limitsHit: how many connections were turned away or cut off, by one of ``LIMITS_HIT``.
    :ivar reviews: how often it was asked anew who is authorized.
    :ivar loopLag: how late the latest timer came, seconds: the event loop's lag.
    :ivar clock: the steady clock that measures everything.
    :ivar failures: logs what goes wrong in the program's own code.
    """

    protocol: Callable[[], ThingProtocol] = ThingProtocol  # type: ignore[assignment]
    noisy = False
    __log = Logger()

    @overload
    def __init__(
        self, settings: ServerSettings, authorizer: ThingAuthorizer, **others: Unpack[_Others]
    ) -> None: ...

    @overload
    def __init__(
        self, settings: ClientSettings, authorizer: ServerAuthorizer, **others: Unpack[_Others]
    ) -> None: ...

    def __init__(
        self,
        settings: ServerSettings | ClientSettings,
        authorizer: Any,
        *,
        limits: Limits | None = None,
        clock: IReactorTime | None = None,
        jitter: Callable[[], float] = random.random,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        """
        :param settings: the server's settings or the client's.
        :param authorizer: whom to believe: an :class:`~thing.trust.interfaces.IAuthorizer`.
        :param limits: how much a server takes on; ignored for a client.
        :param clock: measures time; by default a steady clock over the reactor.
        :param jitter: gives random numbers from 0 up to 1.
        :param wallClock: tells when credentials expire, seconds since 1970.
        :raises TypeError: if one of them is something else, or the authorizer one for the other
            role.
        """
        self.__role = roleOf(settings)
        checkParts(authorizer, self.__role, limits, clock=clock, jitter=jitter, wallClock=wallClock)
        if clock is None:
            from twisted.internet import reactor

            clock = SteadyClock.of(reactor)
        self.__settings = settings
        self.__authorizer = authorizer
        self.clock = clock
        self.sessions: SessionSet[ThingProtocol] = SessionSet()
        self.guests: SessionSet[ThingProtocol] = SessionSet()
        self.attendants: dict[Purpose, Callable[[ThingProtocol], Attendant]] = {}
        self.observers: list[Observer] = []
        self.served = Served()
        self.admission: Any = None
        self.reviews = 0
        self.loopLag = 0.0
        self.__trust: LiveTrust | None = None
        self.__ticket = KeptTicket()
        door: Door[Link[ThingProtocol]] = Door(limits or Limits(), jitter)
        now, judges = clock.seconds, self.__role is Role.SERVER
        self.failures = Failures(self.__log, now)
        journal = Journal(self.__log, now)
        expiry: Expiry[Link[ThingProtocol]] = Expiry(clock, wallClock)
        self.__reception = Reception(door, journal, expiry, now, judges, self.__followTrust)
        self.terminations: Counter[Cause] = self.__reception.terminations
        self.limitsHit: Counter[str] = self.__reception.limitsHit

    # What can be set and asked.

    @property
    def settings(self) -> ServerSettings | ClientSettings:
        """The server's settings or the client's; may be replaced by some for the same role."""
        return self.__settings

    @settings.setter
    def settings(self, settings: ServerSettings | ClientSettings) -> None:
        roleOf(settings, self.__role)
        self.__settings = settings

    @property
    def authorizer(self) -> Any:
        """Whom to believe; may be replaced by one for the same role."""
        return self.__authorizer

    @authorizer.setter
    def authorizer(self, authorizer: ThingAuthorizer | ServerAuthorizer) -> None:
        checkRole(authorizer, self.__role)
        self.__authorizer = authorizer

    @property
    def door(self) -> Door[Link[ThingProtocol]]:
        """Counts who is here and judges newcomers; may be replaced before there are any."""
        return self.__reception.door

    @door.setter
    def door(self, door: Door[Link[ThingProtocol]]) -> None:
        self.__reception.door = door

    @property
    def limits(self) -> Limits:
        """How much a server takes on; may be replaced."""
        return self.door.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self.door.limits = limits

    @property
    def jitter(self) -> Callable[[], float]:
        """Gives random numbers from 0 up to 1, for schedules and advice; may be replaced."""
        return self.door.jitter

    @jitter.setter
    def jitter(self, jitter: Callable[[], float]) -> None:
        self.door.jitter = jitter

    @property
    def trust(self) -> LiveTrust | None:
        """What keeps settings and authorizer as the files of keys have them, or None; to be set."""
        return self.__trust

    @trust.setter
    def trust(self, trust: LiveTrust | None) -> None:
        if self.__trust is not None:
            self.__trust.followers.remove(self.__trustChanged)
            self.__trust.stop()
        self.__trust = trust
        if trust is not None:
            trust.followers.append(self.__trustChanged)
        self.__followTrust()

    @property
    def completed(self) -> int:
        """How many handshakes were completed."""
        return self.__reception.completed

    @property
    def puzzlesAsked(self) -> int:
        """How many clients were asked to solve a puzzle."""
        return self.__reception.puzzlesAsked

    @property
    def draining(self) -> bool:
        """Whether no connection is taken, since everybody is asked to leave."""
        return self.door.draining

    @property
    def everybody(self) -> list[ThingProtocol]:
        """The protocols of all sessions that are up."""
        return [*self.sessions, *self.guests]

    @property
    def handshakes(self) -> int:
        """How many handshakes are in progress."""
        return len(self.door.handshakes)

    def handshakeTime(self, protocol: ThingProtocol) -> float | None:
        """
        Tell how long a handshake has been in progress.

        :param protocol: whose.
        :return: seconds; None if it is in none.
        """
        since = self.door.handshakes.get(linkOf(protocol))
        return None if since is None else self.clock.seconds() - since

    def serve(self, label: str, factory: IProtocolFactory | IStreamServer) -> None:
        """
        Accept the streams of a label that peers open, in all sessions.

        What a session's own :meth:`~thing.session.streams.SessionStreams.serve` says of the label
        counts before this. Serve before there are sessions: a peer may open a stream at once.

        :param label: what the streams are for; one that ends in a colon stands for all that begin
            so.
        :param factory: builds a protocol for each stream, or decides about each; it is started
            and stopped with this one.
        :raises TypeError: if it does neither.
        """
        checkServed(factory)
        if self.numPorts:
            factory.doStart()
        before, self.served[label] = self.served.get(label), factory
        if self.numPorts and before is not None:
            before.doStop()

    # Building. The hooks, startFactory and stopFactory, are the user's alone.

    def doStart(self) -> None:
        """
        Take connections, again after a drain, from the first port on; each that listens calls this.

        :raises TypeError: if :attr:`protocol` is no class of sessions.
        """
        super().doStart()  # type: ignore[no-untyped-call]
        if self.numPorts > 1:
            return
        try:
            checkProtocol(self.protocol)
            for served in list(self.served.values()):
                served.doStart()
        except BaseException:
            self.doStop()
            raise
        self.door.draining = False
        self.__followTrust()

    def doStop(self) -> None:
        """Take no connections, from the last port on; each that listens no more calls this."""
        if self.numPorts == 1:
            for served in list(self.served.values()):
                self.failures.guard(STOP_FAILED, served.doStop)
        try:
            super().doStop()  # type: ignore[no-untyped-call]
        finally:
            self.__followTrust()

    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> ThingProtocol | None:
        """
        Build the protocol of a new connection.

        :param addr: the peer's address.
        :return: the protocol, or None if not even a refusal can be afforded.
        """
        settings, reception = self.settings, self.__reception
        if not reception.admits():
            return None
        core: ServerConnection | ClientConnection
        if isinstance(settings, ServerSettings):
            core = ServerConnection(
                settings, self.__grantTtl, reception.askPuzzle, reception.exchange
            )
        else:
            ticket = self.__ticket.take(settings, self.clock.seconds())
            core = ClientConnection(settings, ticket, self.jitter)
        checkProtocol(self.protocol)
        protocol = self.protocol()
        protocol.factory = self
        join(protocol, Link(protocol, core, self, reception, addr))
        return protocol

    def __grantTtl(self, requested: float | None) -> float:
        assert isinstance(self.settings, ServerSettings), "only a server grants"
        return self.settings.ttl.grant(requested, len(self.sessions))

    def keepTicket(self, ticket: ResumptionTicket, credential: Credential) -> None:
        """
        Client: keep a ticket for the next connection; the latest only, and for one use.

        :param ticket: what the server gave.
        :param credential: what the client showed for it.
        """
        self.__ticket.keep(ticket, credential, self.clock.seconds())

    # Going away.

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
        self.door.draining = True
        leaving = [*self.door.handshakes, *map(linkOf, self.everybody)]
        spread = self.limits.spread(len(leaving), retryAfter) if retryAfter else 0.0
        ended = [link.whenTerminated() for link in leaving]
        for link in list(self.door.handshakes):
            away = retryAfter + spread * self.jitter()
            link.reject(ErrorCode.SERVER_BUSY, "draining", away)
        for protocol in self.everybody:
            if protocol.termination is None:  # Else its end is about to be told.
                protocol.goAway(reason, grace, retryAfter + spread * self.jitter())

        def done(results: _DeferredListResultListT[Termination]) -> None:
            self.__log.info("Drained: {count} sessions and handshakes ended", count=len(results))

        return DeferredList(ended).addCallback(done)

    # What the connections ask and tell.

    def authorize(self, identity: Identity) -> Deferred[Identity]:
        """
        Decide whether to go on with a peer.

        :param identity: what it has proved.
        :return: fires with the identity and its name; fails with ``NotAuthorized``, or with
            whatever an authorizer that is broken raises.
        """
        deciding = self.judge(identity)
        if self.admission is not None:
            deciding.addCallback(self.admission.authorize)
        return deciding.addCallback(self.__unlessReviewed, identity, self.reviews)

    def judge(self, identity: Identity) -> Deferred[Identity]:
        """
        Decide whether to believe a peer, whoever else is here.

        :param identity: what it has proved, now or when its session began.
        :return: fires, or fails, as :meth:`authorize`.
        """
        return maybeDeferred(believe, identity, self.authorizer, self.settings, self.attendants)

    def __unlessReviewed(
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
            self.failures.guard("An observer failed", observer, protocol, event)

    def readmit(self, session: ThingProtocol, identity: Identity) -> None:
        """
        Tell who attends to a session what its peer is admitted as now.

        :param session: which.
        :param identity: the peer, as the authorizer knows it now.
        """
        linkOf(session).readmit(identity)

    def loopLagged(self, seconds: float) -> None:
        """
        Note how late a timer came.

        :param seconds: how late.
        """
        self.loopLag = seconds

    # Keys that change.

    def __followTrust(self) -> None:
        """Look at the files of keys for as long as somebody may come, or is here."""
        if self.__trust is None:
            return
        if self.numPorts or self.door.up:
            self.__trust.start()
        else:
            self.__trust.stop()

    def __trustChanged(self, choice: ServerChoice) -> Deferred[int]:
        """Have what a server's files have now, in the sessions that are up, too."""
        assert isinstance(self.settings, ServerSettings), "a server's choice is for a server"
        self.settings, self.authorizer = choice.applied(self.settings), choice.authorizer
        return Review(self).run()
