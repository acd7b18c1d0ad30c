"""
How to connect to a registry: the endpoint of an address, and what to say first.

That a connection is made again when it is lost is no business of this module.
"""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from zope.interface import implementer

from thing.fleet.redis.address import Address
from thing.fleet.redis.connection import CONNECT_TIME, Link, RegistryAway, askOnce


def endpointOf(reactor: Any, clock: IReactorTime, address: Address) -> IStreamClientEndpoint:
    """
    Make the endpoint of an address.

    :param reactor: connects.
    :param clock: measures time.
    :param address: where the registry is.
    :return: the endpoint; of ``rediss://`` it checks the certificate and the host's name in it.
    """
    if address.scheme == "unix":
        return UNIXClientEndpoint(reactor, address.path, timeout=int(CONNECT_TIME))  # type: ignore[no-untyped-call]
    if address.scheme == "redis+sentinel":
        return SentinelEndpoint(reactor, clock, address)
    ((host, port),) = address.hosts
    endpoint = _hostEndpoint(reactor, host, port)
    if address.scheme == "redis":
        return endpoint
    trust = _authorities(address.ca) if address.ca else None
    wrapped: IStreamClientEndpoint = wrapClientTLS(
        optionsForClientTLS(host, trustRoot=trust), endpoint
    )
    return wrapped


def _hostEndpoint(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, host, port, timeout=CONNECT_TIME)
    return endpoint


def _authorities(path: str) -> Any:
    with open(path, "rb") as file:
        found = re.findall(
            b"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----",
            file.read(1 << 20),
            re.DOTALL,
        )
    certificates = [Certificate.loadPEM(each) for each in found]
    return trustRootFromCertificates(certificates)  # type: ignore[no-untyped-call]


async def logIn(link: Link, address: Address) -> None:
    """
    Say who we are, and which database it is.

    :param link: a connection that was made just now.
    :param address: where it is to.
    :raises RegistryAway: if it is to a server that is no master any more, or to none.
    :raises RegistryRefused: if it does not let us in.
    """
    secret = address.secret()
    if secret:
        await link.call("AUTH", *([address.user] if address.user else []), secret)
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
        self._service = address.service
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
        return await _hostEndpoint(self._reactor, host, port).connect(protocolFactory)

    async def _master(self) -> tuple[str, int]:
        problem = ""
        for host, port in list(self._sentinels):
            endpoint = _hostEndpoint(self._reactor, host, port)
            try:
                answer = await askOnce(
                    endpoint, self._clock, "SENTINEL", "get-master-addr-by-name", self._service
                )
                return _masterOf(answer, self._service)
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
