"""
Clients that are always on.

How long a client stays away is decided by
:class:`~thing.core.backoff.Backoff`, which has no timer;
:class:`ThingClientService` is Twisted's ``ClientService`` with that decision in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

from twisted.application.internet import ClientService
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.arguments import checkCallable, checkFlag, checkKind
from thing.core.backoff import BASE, CAP, Backoff, isHopeless
from thing.core.chance import chance
from thing.events import Termination
from thing.logger import Logger
from thing.session.checks import checkEndpoint
from thing.session.clock import SteadyClock
from thing.session.factory import ThingFactory
from thing.session.failures import Failures
from thing.session.interfaces import IThingTransport, checkApplication
from thing.session.protocol import ThingProtocol
from thing.session.reasons import reasonOf


def terminationOf(failure: Failure) -> Termination | None:
    """
    Find out how a session, or a try for one, ended.

    :param failure: what a Thing endpoint's ``connect`` failed with, or what a
        protocol over it got in ``connectionLost``.
    :return: how it ended; None if there was not even a stream.
    """
    termination = getattr(failure.value, "termination", None)
    return termination if isinstance(termination, Termination) else None


def retryPolicy(
    base: float = BASE, cap: float = CAP, jitter: Callable[[], float] = chance
) -> Callable[[int], float]:
    """
    Make a ``retryPolicy`` for Twisted's own ``ClientService``: full jitter, and no more.

    Twisted counts the tries, and begins anew with each connection, however short.

    :param base: the longest pause after the first failure, seconds.
    :param cap: the longest pause after any number of failures, seconds.
    :param jitter: gives random numbers from 0 up to 1.
    :return: a function of the number of failures in a row, from one.
    :raises LocalProtocolError: ``BAD_ARGUMENT`` for a duration out of bounds.
    """
    backoff = Backoff(base=base, cap=cap, jitter=jitter)

    def policy(failures: int) -> float:
        backoff.failures = max(0, failures - 1)
        return backoff.down(0.0)

    return policy


class _Told(NamedTuple):
    """What a service is told of its tries, and of its sessions."""

    arrived: Callable[[ITransport], None]
    succeeded: Callable[[Deferred[Any], IProtocol], None]
    lost: Callable[[IProtocol, Failure], None]
    failed: Callable[[Deferred[Any], Failure], None]


class ThingClientService(ClientService):
    """
    Keeps one session up.

    It is Twisted's ``ClientService`` for sessions, where to connect is to have a session that is
    up: a protocol's over a Thing endpoint, or the
    :class:`~thing.session.protocol.ThingProtocol` of a
    :class:`~thing.session.factory.ThingFactory` over any other. It goes on whatever happens, and
    only seldom after a rejection that is hopeless until somebody acts
    (:func:`~thing.core.backoff.isHopeless`). If it is to give up it stops by itself then:
    :meth:`whenConnected` fails with the rejection from then on, until the service is started
    again. ``stopService`` says goodbye to the server.

    The callbacks, and whoever waits, may start and stop it. A callback may be a coroutine, for
    which no other waits; if it fails that is logged.
    """

    __ownLog = Logger()

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        factory: IProtocolFactory,
        *,
        backoff: Backoff | None = None,
        giveUp: bool = False,
        onUp: Callable[[Any], object] | None = None,
        onDown: Callable[[Failure, float | None], object] | None = None,
        onRejected: Callable[[Failure], object] | None = None,
        clock: IReactorTime | None = None,
    ) -> None:
        """
        :param endpoint: how to get a session: a
            :class:`~thing.endpoints.endpoints.ThingClientEndpoint`; for a ``ThingFactory``, how
            to get the stream below it.
        :param factory: builds a protocol for each session; or a client's ``ThingFactory``.
        :param backoff: how long to stay away; it belongs to this service alone.
        :param giveUp: whether to stop after a hopeless rejection, and not to go on, seldom.
        :param onUp: called with the application's protocol when a session is up.
        :param onDown: called when there is no session, after each end and each
            failed try: with why, and with how long it is to the next try,
            seconds; with None when there is none, because the service is stopping.
        :param onRejected: called with a hopeless rejection; if it is to give up, once the
            service has stopped for it, and it may be started again.
        :param clock: measures time; by default a steady clock over the reactor.
        """
        if clock is None:
            from twisted.internet import reactor

            clock = SteadyClock.of(reactor)
        self.__backoff = Backoff() if backoff is None else backoff
        checkEndpoint(endpoint, "connect")
        checkApplication(factory)
        checkKind("backoff", self.__backoff, Backoff, "Backoff(...)")
        checkFlag("giveUp", giveUp)
        for name, told in (("onUp", onUp), ("onDown", onDown), ("onRejected", onRejected)):
            checkCallable(name, told, awaited=True)
        self.__givesUp = giveUp
        self.__onUp, self.__onDown, self.__onRejected = onUp, onDown, onRejected
        self.__time = clock
        self.__failures = Failures(self.__ownLog, clock.seconds)
        self.__delay = 0.0
        self.__rejection: Failure | None = None
        self.__givingUp: IDelayedCall | None = None
        self.__depth = 0
        self.__postponed: list[Callable[[], object]] = []
        # ClientService forgets these if it is stopped before its first start.
        self.__early: list[tuple[Deferred[IProtocol], int | None]] | None = []
        if isinstance(factory, ThingFactory):
            endpoint, factory = _SessionEndpoint(endpoint, factory), _sessionEnds
        watching = _Told(self.__arrived, self.__succeeded, self.__lost, self.__failed)
        super().__init__(
            _WatchedEndpoint(endpoint, watching, clock),
            factory,
            retryPolicy=lambda failures: self.__delay,
            clock=clock,
        )

    def startService(self) -> None:
        """Begin, or begin anew after a rejection, with no failure counted."""
        if not self.running:
            self.__rejection = None
            self.__backoff.reset()
        early = self.__noMoreEarly()
        super().startService()
        for waiter, failAfterFailures in early:
            super().whenConnected(failAfterFailures).chainDeferred(waiter)

    def stopService(self) -> Deferred[None]:
        """
        Say goodbye if there is a session, and come back no more.

        :return: fires when the session is over and nothing is left to be done.
        """
        if self.__givingUp is not None and self.__givingUp.active():
            self.__givingUp.cancel()
        with self.__deciding():
            stopped = super().stopService().addBoth(self.__afterwards)
            for waiter, _ in self.__noMoreEarly():
                waiter.errback(CancelledError())
            return stopped

    def whenConnected(self, failAfterFailures: int | None = None) -> Deferred[IProtocol]:
        """
        Wait for a session.

        :param failAfterFailures: after how many failed tries to give up waiting; None for never.
        :return: fires with the application's protocol of the session that is
            up, or of the next one. It fails with the rejection if that
            stopped the service, with ``CancelledError`` if somebody else
            stopped it, and after ``failAfterFailures`` with what failed last.
        """

        def explained(failure: Failure) -> Failure:
            stopped = isinstance(failure.value, CancelledError)
            return self.__rejection if stopped and self.__rejection is not None else failure

        waiting: Deferred[IProtocol]
        if self.__early is None:
            waiting = super().whenConnected(failAfterFailures)
        else:
            waiting = Deferred()
            self.__early.append((waiting, failAfterFailures))
        return waiting.addCallbacks(_usersOwn, explained).addBoth(self.__afterwards)

    def __noMoreEarly(self) -> list[tuple[Deferred[IProtocol], int | None]]:
        """Whoever waits since before the first start or stop, of which this is one."""
        early, self.__early = self.__early or [], None
        return early

    # ClientService's machine cannot be asked while it decides, so others are told afterwards.

    @contextmanager
    def __deciding(self) -> Iterator[None]:
        """Let ``ClientService`` decide something, and then tell everybody."""
        self.__depth += 1
        try:
            yield
        finally:
            self.__depth -= 1
            while self.__postponed and not self.__depth:
                self.__postponed.pop(0)()

    def __afterwards(self, result: Any) -> Any:
        """Give a Deferred its result when ``ClientService`` has decided."""
        if not self.__depth:
            return result
        later: Deferred[Any] = Deferred()
        self.__postponed.append(partial(later.callback, result))
        return later

    def __tell(self, callback: Callable[..., object] | None, *args: object) -> None:
        """Have a callback called when ``ClientService`` has decided."""

        def call() -> None:
            if callback is not None:
                self.__failures.guard(f"A callback of {self} failed", callback, *args)

        self.__postponed.append(call)

    # What the endpoint and the protocols tell.

    def __arrived(self, transport: ITransport) -> None:
        inSession = isinstance(transport, ThingProtocol) or IThingTransport.providedBy(transport)
        ttl = cast(Any, transport).ttl if inSession else None
        self.__backoff.up(self.__time.seconds(), ttl)

    def __succeeded(self, attempt: Deferred[Any], protocol: IProtocol) -> None:
        with self.__deciding():
            attempt.callback(protocol)
            up = super().whenConnected().addCallback(_usersOwn)
            up.addCallback(partial(self.__tell, self.__onUp))

    def __lost(self, protocol: IProtocol, reason: Failure) -> None:
        with self.__deciding():
            self.__schedule(reason)
            protocol.connectionLost(reason)

    def __failed(self, attempt: Deferred[Any], failure: Failure) -> None:
        if self.running and isHopeless(terminationOf(failure)):
            if self.__givesUp:
                # The try is not over until then, and no other is scheduled.
                self.__rejection = failure
                self.__givingUp = self.__time.callLater(0, self.__giveUp, failure)
                return
            self.__tell(self.__onRejected, failure)
        with self.__deciding():
            if self.running:
                self.__schedule(failure)
            attempt.errback(failure)

    def __schedule(self, reason: Failure) -> None:
        """Decide on the next try, if there is one, and tell of it."""
        delay = None
        if self.running:
            now = self.__time.seconds()
            delay = self.__delay = self.__backoff.down(now, terminationOf(reason))
        self.__tell(self.__onDown, reason, delay)

    def __giveUp(self, rejection: Failure) -> None:
        self.__ownLog.error(
            "No more tries, because they are hopeless: {reason}",
            reason=rejection.getErrorMessage(),
        )
        with self.__deciding():
            self.stopService()
            self.__tell(self.__onRejected, rejection)


class _SessionEnd(Protocol):
    """Stands in ``ClientService`` for a session, which is its transport: to close it is goodbye."""


_sessionEnds: Factory[_SessionEnd] = Factory.forProtocol(_SessionEnd)
_sessionEnds.noisy = False


def _usersOwn(protocol: Any) -> Any:
    """The protocol that the user knows: that of the session, if another stands for it."""
    return protocol.transport if isinstance(protocol, _SessionEnd) else protocol


@implementer(IStreamClientEndpoint)
class _SessionEndpoint:
    """Has a factory's session for each connection: it is connected when the session is up."""

    def __init__(self, endpoint: IStreamClientEndpoint, sessions: ThingFactory) -> None:
        self._endpoint = endpoint
        self._sessions = sessions

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, protocolFactory: IProtocolFactory) -> IProtocol:
        connecting: Deferred[Any] = self._endpoint.connect(self._sessions)
        session: ThingProtocol = await connecting
        try:
            await session.whenEstablished()
        except CancelledError:
            session.abort()
            raise
        if session.termination is not None:
            raise reasonOf(session.termination)
        end: Any = protocolFactory.buildProtocol(cast(Any, session.transport).getPeer())
        end.makeConnection(session)

        def ended(termination: Termination) -> None:
            end.connectionLost(Failure(reasonOf(termination)))  # type: ignore[no-untyped-call]

        session.whenTerminated().addCallback(ended)
        return cast(IProtocol, end)

    def __repr__(self) -> str:
        return repr(self._endpoint)


@implementer(IStreamClientEndpoint)
class _WatchedEndpoint:
    """Tells a service how its tries end, and its sessions."""

    def __init__(self, endpoint: IStreamClientEndpoint, told: _Told, clock: IReactorTime) -> None:
        self._endpoint = endpoint
        self._told = told
        self._clock = clock

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect."""
        factory = cast(IProtocolFactory, _WatchedFactory(protocolFactory, self._told))
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        telling: IDelayedCall | None = None

        def cancelled(_: object) -> None:
            if telling is not None and telling.active():
                telling.cancel()
                connecting.addErrback(lambda _: None)
            connecting.cancel()

        attempt: Deferred[IProtocol] = Deferred(cancelled)
        tell = partial(
            connecting.addCallbacks,
            lambda watched: self._told.succeeded(attempt, watched.wrapped),
            partial(self._told.failed, attempt),
        )
        if connecting.called:  # At once, while ClientService decides to wait for it.
            telling = self._clock.callLater(0, tell)
        else:
            tell()
        return attempt

    def __repr__(self) -> str:
        return repr(self._endpoint)


class _Wrapper:
    """Stands for something else, with all that it has and all interfaces that it provides."""

    def __init__(self, wrapped: Any, told: _Told) -> None:
        self.wrapped = wrapped
        self._told = told

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)

    def __repr__(self) -> str:
        return repr(self.wrapped)


class _WatchedFactory(_Wrapper):
    """Builds watched protocols."""

    def buildProtocol(self, addr: IAddress) -> _WatchedProtocol | None:
        protocol = self.wrapped.buildProtocol(addr)
        return None if protocol is None else _WatchedProtocol(protocol, self._told)


class _WatchedProtocol(_Wrapper):
    """Tells a service when it is connected, and when no more."""

    _up = False

    def makeConnection(self, transport: ITransport) -> None:
        self.wrapped.makeConnection(transport)
        self._up = True
        self._told.arrived(transport)

    def connectionLost(self, reason: Failure) -> None:
        if self._up:
            self._told.lost(self.wrapped, reason)
        else:  # Its makeConnection failed, and so did the try.
            self.wrapped.connectionLost(reason)
