"""
:class:`ThingService`: a server that listens, reads its keys anew, and drains.

What it is made of is decided by the options, and put together elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IStreamServerEndpoint,
)
from twisted.logger import ILogObserver
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from thing.core.settings import ServerSettings
from thing.daemon.errors import CannotStart
from thing.daemon.signals import Signals
from thing.daemon.systemd import Supervisor
from thing.errors import EndReason, ThingError
from thing.identity import CredentialKind
from thing.logger import Logger
from thing.session.addresses import formatAddress
from thing.session.factory import ThingFactory
from thing.trust.files import unreadable
from thing.trust.live import fingerprintOf

FLAT_LINE_TIME = 1.0
"""What may pass between the end of the drain timeout and the last flat line, seconds."""

HURRY_TIME = 0.5
"""In a drain that is hurried: how long sessions are waited for, and then all the rest, seconds."""

_ALL_INTERFACES = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class ThingService(Service):
    """
    Listens with one factory on any number of endpoints, from start to stop.

    Stopping it drains: the ports are closed first, then every client is asked
    to leave, and after ``drainTimeout`` those that did not are flat-lined.
    While it runs, SIGHUP reads the keys anew, if the factory has a ``trust``.
    While it drains, another SIGTERM or SIGINT ends it without any more waiting.
    A supervisor, such as systemd, is told of all that.

    :ivar factory: builds the protocols.
    :ivar ports: what it listens on, by the endpoint's description.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        factory: ThingFactory,
        endpoints: Mapping[str, IStreamServerEndpoint],
        *,
        companions: Sequence[IService] = (),
        drainTimeout: float = 10.0,
        retryAfter: float = 0.0,
        supervisor: Supervisor | None = None,
        signals: Signals | None = None,
        makeObserver: Callable[[], ILogObserver | None] | None = None,
        files: Sequence[str] = (),
    ) -> None:
        """
        :param reactor: provides ``IReactorCore``, and ``IReactorFromThreads`` for the signals.
        :param factory: a server's factory.
        :param endpoints: where to listen, each by its description.
        :param companions: services that start before it listens, and stop when it has
            drained: they serve those who watch.
        :param drainTimeout: how long the clients may take to leave, seconds.
        :param retryAfter: how long clients that are asked to leave should stay
            away, seconds.
        :param supervisor: tells the service manager; None for nobody.
        :param signals: catches the process's signals.
        :param makeObserver: opens the log of the application that the service is
            put into; None, or to give None, for the log that the application has anyway.
        :param files: those that the companions read again while they run.
        """
        self.factory = factory
        self.ports: dict[str, IListeningPort] = {}
        self._reactor = reactor
        self._endpoints = dict(endpoints)
        self._companions = tuple(companions)
        self._drainTimeout = drainTimeout
        self._retryAfter = retryAfter
        self._supervisor = supervisor or Supervisor()
        self._signals = signals or Signals(reactor)
        self._makeObserver = makeObserver
        self._files = files
        self._listened = False
        self._reloads = 0
        self._answers: list[Deferred[Any]] = []
        self._hurried = False
        self._enough = Deferred[None]()
        self._deadlines: list[IDelayedCall] = []
        self._waiting: list[Deferred[None]] = []

    # Starting.

    def setServiceParent(self, parent: Any) -> None:
        """
        Belong to an application, and see to its log.

        :param parent: the application, or a service of services.
        """
        if self._makeObserver is not None and isinstance(parent, Componentized):
            observer = self._makeObserver()
            if observer is not None:
                # twistd looks there, and it begins to log when this has returned.
                parent.setComponent(ILogObserver, observer)  # type: ignore[no-untyped-call]
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def privilegedStartService(self) -> None:
        """
        Listen, while the process may still open any port.

        :raises CannotStart: if that is not possible; then nothing listens.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        try:
            for companion in self._companions:
                companion.privilegedStartService()  # type: ignore[no-untyped-call]
            self._listen()
        except (CannotStart, ThingError) as error:
            for companion in self._companions:
                companion.stopService()  # type: ignore[no-untyped-call]
            raise error if isinstance(error, CannotStart) else CannotStart(str(error)) from None

    def startService(self) -> None:
        """
        Run; listen first, unless that is done.

        :raises CannotStart: as :meth:`privilegedStartService`.
        """
        if not self._listened:
            self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]
        self._sayUnreadable()  # Rights were given up just now, if at all.
        for companion in self._companions:
            companion.startService()  # type: ignore[no-untyped-call]
        self._signals.attend(None if self.factory.trust is None else self.reload, self.hurry)
        # Who reads that the server is there may connect, and send signals, from then on.
        self._reactor.callWhenRunning(self._begin)

    def _sayUnreadable(self) -> None:
        """Say which files could be read at the start, but not when they have changed."""
        if self.factory.trust is not None:
            self.factory.trust.sayUnreadable()
        for line in unreadable(self._files):
            self._log.warn("{line}", line=line)

    def _listen(self) -> None:
        """Say how the server is known, and listen on every endpoint; Twisted's answer at once."""
        self._announceKeys()
        problems: list[str] = []
        self._answers = []
        for description, endpoint in self._endpoints.items():
            listening = endpoint.listen(self.factory)
            listening.addCallback(partial(self.ports.__setitem__, description))
            listening.addErrback(partial(self._notListening, problems.append, description))
            self._answers.append(listening)
        if problems:
            self._stopListening()
            raise CannotStart(problems[0])
        self._listened = True

    def _notListening(
        self, tell: Callable[[str], None], description: str, failure: Failure
    ) -> None:
        problem = f"cannot listen on {description}: {_reasonOf(failure.value)}"
        if self._listened:  # The start was told of the problems that came at once.
            self._log.critical("{problem}", problem=problem)
        else:
            tell(problem)

    def _announceKeys(self) -> None:
        self._log.info(
            "The server's key is {fingerprint}",
            fingerprint=fingerprintOf(self._settings.credential),
        )
        following = self._settings.nextCredential
        if following is not None:
            self._log.info(
                "Its next key is announced: {fingerprint}", fingerprint=fingerprintOf(following)
            )

    def _begin(self) -> None:
        self._announcePorts()
        DeferredList(self._answers).addCallback(self._ready)

    def _ready(self, _: object) -> None:
        """Tell the supervisor that all ports listen that ever will."""
        if self.running and self.ports:
            self._supervisor.ready(self.factory.clock, self._describe)

    def _describe(self) -> str:
        doing = "" if self.running else "Draining, "
        return f"{doing}{self.factory.door.up} sessions"

    def _announcePorts(self) -> None:
        """Tell where the server is, and what to type to try it."""
        for description, port in self.ports.items():
            address = port.getHost()
            self._log.info(
                "Listening on {address} ({description})",
                address=formatAddress(address),
                description=description,
            )
            settings = self._settings
            target = _clientTarget(description, address)
            byKey = CredentialKind.ED25519 in settings.peerKinds
            if target and byKey and settings.credential.kind is CredentialKind.ED25519:
                self._log.info(
                    "Try it: thing connect {target} --server-key {fingerprint}{own}",
                    target=target,
                    fingerprint=fingerprintOf(settings.credential),
                    own="" if settings.allowAnonymous else " --identity YOUR_KEY",
                )

    @property
    def _settings(self) -> ServerSettings:
        settings = self.factory.settings
        assert isinstance(settings, ServerSettings), "a server's factory has a server's settings"
        return settings

    # Reading the keys anew.

    def reload(self) -> Deferred[int]:
        """
        Read the keys anew; on any error all stays as it was. The outcome is logged.

        :return: fires with how many sessions were asked to leave for it.
        """
        trust = self.factory.trust
        if trust is None:
            return succeed(0)
        self._reloads += 1
        self._supervisor.reloading()
        return trust.reload().addBoth(self._reloaded)

    def _reloaded(self, result: Any) -> Any:
        self._reloads -= 1
        if not self._reloads:  # Else another was asked for meanwhile, and is not over.
            self._supervisor.reloaded()
        return result

    # Stopping.

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, then drain.

        :return: fires when the last session is over.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._supervisor.stopping(self._drainTimeout + FLAT_LINE_TIME)
        stopped = Deferred[None]()
        self._waiting.append(stopped)
        if len(self._waiting) == 1:
            self._hurried, self._enough = False, Deferred()
            Deferred.fromCoroutine(self._shutDown()).addBoth(self._finish)
        return stopped

    def hurry(self) -> None:
        """While it drains: wait no more. Who has not left is flat-lined; again, all is dropped."""
        if not self._waiting:
            return
        if self._hurried:
            self._giveUp()
            return
        self._hurried = True
        self._log.info("Hurrying: {count} sessions end now", count=self.factory.door.up)
        for protocol in self.factory.everybody:
            if protocol.termination is None:
                protocol.goAway(EndReason.SHUTDOWN, 0.0)
        self._within(HURRY_TIME, self._drainNoMore)
        self._within(2 * HURRY_TIME, self._giveUp)

    def _drainNoMore(self) -> None:
        self._abandon()
        self._enough.callback(None)

    def _giveUp(self) -> None:
        self._abandon()
        self._log.warn("Stopped before all was in order")
        self._finish(None)

    def _within(self, seconds: float, function: Callable[[], object]) -> None:
        """Do this unless all is over before."""
        self._deadlines.append(self.factory.clock.callLater(seconds, function))

    async def _shutDown(self) -> None:
        await self._drain()
        for companion in reversed(self._companions):
            await maybeDeferred(companion.stopService)

    def _finish(self, result: Any) -> None:
        """It has stopped, or nobody waits for the rest."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        for deadline in self._deadlines:
            if deadline.active():
                deadline.cancel()
        self._deadlines.clear()
        self._supervisor.stopped()
        # Not sooner: without a handler SIGHUP would end the process in the middle.
        self._signals.restore()
        for stopped in waiting:
            stopped.callback(result)

    async def _drain(self) -> None:
        await self._stopListening()
        self._log.info(
            "Draining {count} sessions, for {seconds:g} s at most",
            count=self.factory.door.up,
            seconds=self._drainTimeout,
        )
        # A client that began to say goodbye is bound by another deadline.
        self._within(self._drainTimeout + FLAT_LINE_TIME, self._abandon)
        drained = self.factory.drain(self._drainTimeout, retryAfter=self._retryAfter)
        await DeferredList([drained, self._enough], fireOnOneCallback=True)

    def _stopListening(self) -> Deferred[Any]:
        ports, self.ports = self.ports, {}
        self._listened = False
        return DeferredList([maybeDeferred(port.stopListening) for port in ports.values()])

    def _abandon(self) -> None:
        for protocol in self.factory.everybody:
            protocol.abort()


def _clientTarget(description: str, address: IAddress) -> str:
    """What a client on this machine connects to, if no more than an address is needed."""
    if description.partition(":")[0] not in ("tcp", "tcp6", "unix", "systemd"):
        return ""  # There is another layer, and it depends on more what a client needs.
    host, name = getattr(address, "host", None), getattr(address, "name", None)
    if host in _ALL_INTERFACES:
        return f"localhost:{getattr(address, 'port', None)}"
    if name is not None:
        from twisted.internet.endpoints import quoteStringArgument  # It takes long to import.

        path = quoteStringArgument(formatAddress(address))  # type: ignore[no-untyped-call]
        return f"unix:{path}"
    return formatAddress(address)


def _reasonOf(error: BaseException | None) -> str:
    """What went wrong, in one line."""
    if isinstance(error, CannotListenError):
        error = error.socketError
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    return text if isinstance(error, ThingError) else f"{type(error).__name__}: {text}"
