"""
How to connect to a registry: the endpoint of an address, and what to say first.

That a connection is made again when it is lost is no business of this module.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocolFactory, IReactorTime, IStreamClientEndpoint
from zope.interface import implementer

from thing.fleet.redis.address import Address
from thing.fleet.redis.connection import CONNECT_TIME, Link, RegistryAway, askOnce
from thing.session.hosts import HostEndpoint


def endpointOf(reactor: Any, clock: IReactorTime, address: Address) -> IStreamClientEndpoint:
    """
    Make the endpoint of an address.

    :param reactor: connects.
    :param clock: measures time.
    :param address: where the registry is.
    :return: the endpoint; with TLS it checks the certificate and the host's name in it.
    """
    if address.scheme == "unix":
        return UNIXClientEndpoint(reactor, address.path, timeout=int(CONNECT_TIME))  # type: ignore[no-untyped-call]
    if address.service:
        return SentinelEndpoint(reactor, clock, address)
    return RegistryEndpoint(reactor, address, *address.hosts[0])


@implementer(IStreamClientEndpoint)
class RegistryEndpoint:
    """Connects to one host, over TLS if the address says so, with the files as they are then."""

    def __init__(self, reactor: Any, address: Address, host: str, port: int) -> None:
        """
        :param reactor: connects.
        :param address: says how.
        :param host: the host; with TLS its certificate must be for this name.
        :param port: the port.
        """
        self._reactor, self._address = reactor, address
        self._host, self._port = host, port

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """
        Connect.

        :param protocolFactory: builds the protocol.
        :return: fires with the protocol; fails if there is no connection, or no file for TLS.
        """
        return maybeDeferred(self._connect, protocolFactory)

    def _connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        endpoint: Any = HostEndpoint(self._reactor, self._host, self._port, CONNECT_TIME)
        if self._address.tls:
            endpoint = wrapClientTLS(self._address.files.optionsFor(self._host), endpoint)
        connecting: Deferred[Any] = endpoint.connect(protocolFactory)
        return connecting


async def logIn(link: Link, address: Address) -> None:
    """
    Say who we are, and which database it is.

    :param link: a connection that was made just now.
    :param address: where it is to.
    :raises RegistryAway: if it is to a server that is no master any more, or to none.
    :raises RegistryRefused: if it does not let us in.
    """
    authentication = address.login.command()
    if authentication:
        await link.call(*authentication)
    if address.service:
        role = await link.call("ROLE")
        if not isinstance(role, list) or role[:1] != [b"master"]:
            raise RegistryAway("the Sentinels named a server that is no master")
    if address.db:
        await link.call("SELECT", address.db)
    await link.call("PING")  # It must answer, even if there was nothing else to be said.


@implementer(IStreamClientEndpoint)
class SentinelEndpoint:
    """Asks Sentinels which server is the master, each time, and connects to that."""

    def __init__(self, reactor: Any, clock: IReactorTime, address: Address) -> None:
        """
        :param reactor: connects.
        :param clock: measures time.
        :param address: the Sentinels, and what they call the service.
        """
        self._reactor = reactor
        self._clock = clock
        self._address = address
        self._sentinels = list(address.hosts)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """
        Connect to the master.

        :param protocolFactory: builds the protocol.
        :return: fires with the protocol; fails if no Sentinel names a master that takes it.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, protocolFactory: IProtocolFactory) -> Any:
        host, port = await self._master()
        endpoint = RegistryEndpoint(self._reactor, self._address, host, port)
        return await endpoint.connect(protocolFactory)

    async def _master(self) -> tuple[str, int]:
        service, problem = self._address.service, ""
        for host, port in list(self._sentinels):
            endpoint = RegistryEndpoint(self._reactor, self._address, host, port)
            asking = ("SENTINEL", "get-master-addr-by-name", service)
            try:
                first = self._address.sentinelLogin.command()
                answer = await askOnce(endpoint, self._clock, *filter(None, (first, asking)))
                return _masterOf(answer, service)
            except Exception as error:
                self._sentinels.append(self._sentinels.pop(0))  # The next one first, next time.
                if isinstance(error, CancelledError):
                    raise
                problem = str(error) or type(error).__name__
        raise RegistryAway(f"no Sentinel names a master: {problem}")


def _masterOf(answer: Any, service: str) -> tuple[str, int]:
    """The host and port of a Sentinel's answer."""
    if answer is None:
        raise RegistryAway(f"it knows no {service}")
    host, port = answer
    return host.decode("ascii"), int(port)
