"""
Connects to a host by its name or its address.

Twisted's ``HostnameEndpoint`` races the addresses. Here is what it lacks: names with underscores,
addresses with a zone, and a bound on the time that a lookup may take.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from thing.session.clock import SteadyClock
from thing.trust.keywords import asciiHost

CONNECT_TIMEOUT = 30.0
"""How long an attempt to connect may take, seconds, as in Twisted's own descriptions."""

LOOKUPS = 20
"""How many names are looked up at once; the others wait."""

_FAMILIES = {IPv4Address: socket.AF_INET, IPv6Address: socket.AF_INET6}
_ADDRESSES: dict[int, Callable[..., Any]] = {
    family: address for address, family in _FAMILIES.items()
}


@implementer(IStreamClientEndpoint)
class HostEndpoint:
    """Connects to one host over TCP, to that of its addresses that answers first."""

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        timeout: float = CONNECT_TIMEOUT,
        bindAddress: tuple[str, int] | None = None,
        clock: IReactorTime | None = None,
    ) -> None:
        """
        :param reactor: connects; its name resolver looks the name up, at each attempt.
        :param host: a name, or an address; of IPv6 perhaps with a zone.
        :param port: the port.
        :param timeout: how long an attempt may take, with the lookup, seconds.
        :param bindAddress: own address and port; None for any.
        :param clock: measures the lookup, and when the next address is tried; the reactor's steady
            clock if None.
        :raises ValueError: if the host can be no host.
        """
        self._reactor = reactor
        self._host = asciiHost(host)
        self._port = port
        self._timeout = timeout
        self._bindAddress = bindAddress
        self._clock = clock or SteadyClock.of(reactor)

    def __repr__(self) -> str:
        """The host and the port."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"<HostEndpoint {host}:{self._port}>"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """
        Connect.

        :param protocolFactory: builds the protocol.
        :return: fires with the protocol; fails with DNSLookupError if no address is found in
            time, or with why the last address was not reached.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, protocolFactory: IProtocolFactory) -> Any:
        from twisted.internet.endpoints import HostnameEndpoint  # It takes long to import.

        until = self._clock.seconds() + self._timeout
        addresses = await self._lookUp()
        if not addresses:
            raise DNSLookupError(f"no address of {self._host} was found")
        racing = HostnameEndpoint(
            _Found(self._reactor, self._clock, addresses),
            addresses[0].host,  # It takes any address for a name, but not any name.
            self._port,
            max(0.0, until - self._clock.seconds()),
            self._bindAddress,
        )
        return await racing.connect(protocolFactory)

    async def _lookUp(self) -> list[Any]:
        """The addresses, of IPv6 with the zone."""
        if isIPv6Address(self._host):
            return [IPv6Address("TCP", self._host, self._port)]
        if isIPAddress(self._host):
            return [IPv4Address("TCP", self._host, self._port)]
        receiver = _Receiver()
        self._reactor.nameResolver.resolveHostName(receiver, self._host, self._port)
        receiver.complete.addTimeout(self._timeout, self._clock)
        try:
            return await receiver.complete
        except DeferredTimeout:
            raise DNSLookupError(
                f"no answer within {self._timeout:g} s on what the address of {self._host} is"
            ) from None


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects addresses; :ivar complete: fires with them."""

    def __init__(self) -> None:
        self.complete: Deferred[list[Any]] = Deferred()
        self._addresses: list[Any] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """It begins."""

    def addressResolved(self, address: IAddress) -> None:
        """Keep one; what connects by it knows a zone only as part of the address."""
        if isinstance(address, IPv6Address) and address.scopeID and "%" not in address.host:
            host = f"{address.host}%{address.scopeID}"
            address = IPv6Address(address.type, host, address.port)
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        """That was all."""
        self.complete.callback(self._addresses)


@implementer(IHostResolution)
class _Lookup:
    """A name that is being looked up."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Nothing can stop the system: who has no use for its answer does not listen to it."""


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class _Found:
    """A reactor for ``HostnameEndpoint`` in which the addresses are known already."""

    def __init__(self, reactor: Any, clock: IReactorTime, addresses: Sequence[Any]) -> None:
        self.seconds = clock.seconds
        self.callLater = clock.callLater
        self.connectTCP = reactor.connectTCP
        self.nameResolver: IHostnameResolver = self
        self._addresses = addresses

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Have another resolver."""
        previous, self.nameResolver = self.nameResolver, resolver
        return previous

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        *_: object,
        **__: object,
    ) -> IHostResolution:
        """Tell them at once."""
        lookup = _Lookup(hostName)
        resolutionReceiver.resolutionBegan(lookup)
        for address in self._addresses:
            resolutionReceiver.addressResolved(address)
        resolutionReceiver.resolutionComplete()
        return lookup


class _Daemon(Thread):
    """A thread that the interpreter does not wait for."""

    def __init__(self, *args: Any, **others: Any) -> None:
        super().__init__(*args, daemon=True, **others)


class _Pool(ThreadPool):
    threadFactory = _Daemon


@implementer(IHostnameResolver)
class SystemResolver:
    """
    Looks names up as the system does, and keeps no process from its end.

    The threads of the reactor's own resolver are waited for when the reactor stops, for as long as
    a silent name server lets them wait. A command or a daemon installs this in its place with
    ``reactor.installNameResolver``.
    """

    def __init__(self, reactor: Any, getaddrinfo: Callable[..., Any] = socket.getaddrinfo) -> None:
        """
        :param reactor: where the answers are needed.
        :param getaddrinfo: asks the system, and blocks.
        """
        self._reactor = reactor
        self._getaddrinfo = getaddrinfo
        self._pool = _Pool(0, LOOKUPS, "lookup")

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """
        Look a name up.

        :param resolutionReceiver: is told the addresses; none if it has none or cannot be one.
        :param hostName: the name.
        :param portNumber: the port in the addresses.
        :param addressTypes: the kinds of addresses to look for; None for all.
        :param transportSemantics: ``TCP`` or ``UDP``.
        :return: the lookup, which is under way.
        """
        if not self._pool.started:  # No sooner: a daemon forks before.
            self._pool.start()
        families = [_FAMILIES[kind] for kind in addressTypes or _FAMILIES]
        family = families[0] if len(families) == 1 else socket.AF_UNSPEC
        kind = socket.SOCK_STREAM if transportSemantics == "TCP" else socket.SOCK_DGRAM
        lookup = _Lookup(hostName)
        resolutionReceiver.resolutionBegan(lookup)

        def told(found: list[Any]) -> None:
            for which, *_, place in found:
                if which in _ADDRESSES:
                    address = _ADDRESSES[which](transportSemantics, *place)
                    resolutionReceiver.addressResolved(address)

        def failed(failure: Failure) -> None:
            failure.trap(OSError, UnicodeError)  # type: ignore[no-untyped-call]

        looking = deferToThreadPool(
            self._reactor, self._pool, self._getaddrinfo, hostName, portNumber, family, kind
        )
        looking.addCallbacks(told, failed)
        looking.addCallback(lambda _: resolutionReceiver.resolutionComplete())
        return lookup
