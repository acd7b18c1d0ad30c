"""
The HTTP server as a service, and where it may listen.

It joins all of this room; a program that has a server of its own takes :class:`StatusSite`.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, Service
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IFileDescriptor,
    IListeningPort,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure

from thing.core.messages import REQUEST_LIMIT
from thing.errors import ThingError
from thing.fleet.history import History, historyOf
from thing.fleet.http.api import FleetApi
from thing.fleet.http.channel import HttpFactory
from thing.fleet.http.guard import FileToken, Guard, Token, isLoopback
from thing.fleet.http.history import HistoryApi
from thing.fleet.http.invitations import InvitationApi
from thing.fleet.http.metrics import Exporter
from thing.fleet.http.reaches import ReachApi
from thing.fleet.http.sse import SEND_BUFFER
from thing.fleet.interfaces import IPresence, IReaches
from thing.fleet.local import LocalRegistry
from thing.fleet.meter import Meter
from thing.fleet.page import document
from thing.logger import Logger
from thing.session.addresses import formatAddress
from thing.session.failures import Failures

if TYPE_CHECKING:
    from thing.fleet.inviting import Inviter


_SCHEMES = {"tcp": "http", "tcp6": "http", "systemd": "http", "ssl": "https"}
"""What is spoken over each kind of endpoint."""


class StatusError(ThingError):
    """The HTTP server cannot start."""


class StatusSite(HttpFactory):
    """
    Answers HTTP about one fleet.

    :ivar api: answers.
    """

    def __init__(
        self,
        presence: IPresence,
        token: Token | None = None,
        *,
        viewToken: Token | None = None,
        ready: Callable[[], bool] = lambda: True,
        inviter: Inviter | None = None,
        reaches: IReaches | None = None,
        history: History | None = None,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        """
        :param presence: knows the fleet; the clock of its sessions measures time here, too.
        :param token: what clients must know; None if only this machine can connect.
        :param viewToken: what they may know instead to look, and no more; None for nothing.
        :param ready: tells whether the node takes things.
        :param inviter: makes invitations; None for none.
        :param reaches: knows the reaches; None for none.
        :param history: knows what the figures were; None for none.
        :param wallClock: tells the time of day, seconds.
        """
        clock = presence.local.factory.clock
        failures = Failures(Logger(), clock.seconds)
        others = [InvitationApi(inviter).routes, HistoryApi(history, presence.node).routes]
        self.api = FleetApi(
            presence,
            Guard(token, viewToken),
            document(),
            ready,
            failures,
            ReachApi(reaches),
            others,
        )
        super().__init__(self.api.handle, clock, wallClock, REQUEST_LIMIT)

    def close(self) -> Deferred[None]:
        """
        End all streams of events, and close all connections.

        :return: fires when the last is closed.
        """
        for stream in list(self.api.readers):
            stream.stop()
        return super().close()


class StatusService(Service):
    """
    Listens for HTTP from start to stop.

    :ivar port: what it listens on, while it does.
    """

    _log = Logger()

    def __init__(
        self,
        site: StatusSite,
        counting: Sequence[Meter | History],
        endpoint: IStreamServerEndpoint,
        description: str,
    ) -> None:
        """
        :param site: answers.
        :param counting: what counts, while the service runs, what the site tells.
        :param endpoint: where to listen.
        :param description: of the endpoint.
        """
        self.site = site
        self.port: IListeningPort | None = None
        self._counting = counting
        self._endpoint = endpoint
        self._description = description

    def privilegedStartService(self) -> None:
        """
        Listen, while the process may still open any port.

        :raises StatusError: if that is not possible.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        problems: list[Failure] = []
        listening = self._endpoint.listen(self.site)
        listening.addCallbacks(self._listening, problems.append)
        if problems:
            raise StatusError(f"cannot listen on {self._description}: {_reasonOf(problems[0])}")

    def startService(self) -> None:
        """
        Run; listen first, unless that is done.

        :raises StatusError: as :meth:`privilegedStartService`.
        """
        if self.port is None:
            self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]
        for each in self._counting:
            each.start()

    def _listening(self, port: IListeningPort) -> None:
        self.port = port
        _boundBuffers(port)
        address = urlOf(self._description, port.getHost())
        self._log.info("Status is told at {address}", address=address)

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, and close all connections.

        :return: fires when the last is closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        for each in self._counting:
            each.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self.port = self.port, None
        if port is not None:
            stopped = port.stopListening()
            if stopped is not None:
                await stopped
        await self.site.close()


def _boundBuffers(port: IListeningPort) -> None:
    """Have the port's connections, which inherit it, tell early that a client does not read."""
    if IFileDescriptor.providedBy(port):
        with socket.socket(fileno=os.dup(port.fileno())) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)


def makeStatusService(
    reactor: Any,
    presence: IPresence,
    description: str,
    tokenFile: str | None = None,
    viewTokenFile: str | None = None,
    inviter: Inviter | None = None,
    reaches: IReaches | None = None,
) -> IService:
    """
    Make the service that tells about a fleet over HTTP.

    :param reactor: where it listens.
    :param presence: knows the fleet.
    :param description: a port's number, on this machine only; or a server endpoint.
    :param tokenFile: holds the token that clients must know; None for none.
    :param viewTokenFile: holds another, with which they may only look; None for none.
    :param inviter: makes invitations; None for none.
    :param reaches: knows the reaches; None for none.
    :return: the service; nothing listens yet.
    :raises ThingError: if the file or the endpoint is of no use, or if more than this machine
        could ask without a token.
    """
    if description.isdecimal():
        description = f"tcp:{int(description)}:interface=127.0.0.1"
    token, viewToken = _tokenOf(tokenFile), _tokenOf(viewTokenFile)
    if viewToken is not None and (token is None or viewToken.isSameAs(token)):
        raise StatusError("--status-view-token needs a --status-token that is another one")
    if token is None:
        if not isLocal(description):
            raise StatusError(
                f"--status={description} can be reached from elsewhere: that needs --status-token"
            )
        description = _forOwner(description)
    try:
        endpoint = serverFromString(reactor, description)  # type: ignore[no-untyped-call]
    except Exception as error:  # A parser may raise anything.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise StatusError(f"--status: {description!r}: {reason}") from None
    local: LocalRegistry = presence.local
    factory = local.factory
    meter = Meter(factory)
    history = historyOf(meter, local)
    site = StatusSite(
        presence,
        token,
        viewToken=viewToken,
        ready=lambda: not factory.draining,
        inviter=inviter,
        reaches=reaches,
        history=history,
    )
    site.api.figures = Exporter(meter, presence, site.api, site, reaches).answer
    service: IService = StatusService(site, [meter, history], endpoint, description)
    return service


def _tokenOf(path: str | None) -> FileToken | None:
    return None if path is None else FileToken(os.path.abspath(path))


def _reasonOf(failure: Failure) -> str:
    """What the system says, in one line."""
    error = failure.value
    error = error.socketError if isinstance(error, CannotListenError) else error
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def urlOf(description: str, address: IAddress) -> str:
    """
    Tell what a browser on this machine, or ``thing --status``, takes to ask a server.

    :param description: of its endpoint.
    :param address: that it listens at.
    :return: a URL, or ``unix:`` with the path; the address alone if the endpoint has layers whose
        clients are not known.
    """
    written = formatAddress(address)
    if isinstance(address, UNIXAddress):
        return f"unix:{written}"
    scheme = _SCHEMES.get(_partsOf(description)[0])
    for everywhere in ("0.0.0.0:", "[::]:"):
        if written.startswith(everywhere):
            written = f"localhost:{written.removeprefix(everywhere)}"
    return written if scheme is None else f"{scheme}://{written}"


def isLocal(description: str) -> bool:
    """
    Tell whether only programs on this machine can connect.

    :param description: of a server endpoint.
    :return: whether that is certain.
    """
    kind, *parts = (re.sub(r"\\(.)", r"\1", part) for part in _partsOf(description))
    if kind == "unix":
        return True
    named = [part.partition("=")[2] for part in parts if part.startswith("interface=")]
    return kind in ("tcp", "tcp6") and len(named) == 1 and isLoopback(named[0])


def _forOwner(description: str) -> str:
    """The same endpoint; of a unix socket whose mode is not given, for its owner alone."""
    kind, *parts = _partsOf(description)
    byPosition = [part for part in parts if part and not re.match(r"\w+=", part)]
    hasMode = len(byPosition) > 1 or any(part.startswith("mode=") for part in parts)
    return description if kind != "unix" or hasMode else f"{description}:mode=600"


def _partsOf(description: str) -> list[str]:
    """As Twisted takes it apart: a backslash takes the meaning from what follows it."""
    return re.findall(r"((?:\\.|[^\\:])*)(?::|$)", description)
