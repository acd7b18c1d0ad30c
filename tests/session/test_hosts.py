"""How a host is found: names, addresses, zones, and name servers that say nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass

from thing.session.hosts import HostEndpoint, SystemResolver


@implementer(IHostnameResolver)
class Resolver:
    """Notes what is asked, and answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.answer: Callable[[Sequence[Any]], None]

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        *_: object,
        **__: object,
    ) -> IHostResolution:
        """Ask."""

        def answer(addresses: Sequence[Any]) -> None:
            for address in addresses:
                resolutionReceiver.addressResolved(address)
            resolutionReceiver.resolutionComplete()

        self.asked.append((hostName, portNumber))
        self.answer = answer
        return None  # type: ignore[return-value]  # Nobody needs it.


class HostCase(SynchronousTestCase):
    """A reactor in memory, and its resolver."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.resolver = Resolver()
        self.reactor.nameResolver = self.resolver

    def connect(self, host: str, **choices: Any) -> Deferred[Any]:
        """Connect to a host."""
        endpoint = HostEndpoint(self.reactor, host, 9000, clock=self.reactor, **choices)
        return endpoint.connect(Factory.forProtocol(Protocol))

    @property
    def tried(self) -> list[str]:
        """The addresses that were tried."""
        return [attempt[0] for attempt in self.reactor.tcpClients]


class AddressTests(HostCase):
    """An address is connected to as it is."""

    def test_literals(self) -> None:
        """Nothing is looked up, and the zone is kept."""
        addresses = ["192.0.2.1", "2001:db8::1", "fe80::1%lo"]
        for address in addresses:
            self.assertNoResult(self.connect(address))
        self.assertEqual(self.tried, addresses)
        self.assertEqual(self.resolver.asked, [])

    def test_connected(self) -> None:
        """The protocol is what the endpoint is for; own address and time are passed on."""
        connecting = self.connect("192.0.2.1", timeout=7, bindAddress=("192.0.2.2", 0))
        _, port, factory, timeout, bound = self.reactor.tcpClients[0]
        self.assertEqual((port, timeout, bound), (9000, 7, ("192.0.2.2", 0)))
        protocol = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 9000))
        protocol.makeConnection(StringTransport())
        self.assertIsInstance(self.successResultOf(connecting), Protocol)

    def test_repr(self) -> None:
        """It shows where it leads to."""
        for host, shown in (("redis_1", "redis_1:1"), ("fe80::1%lo", "[fe80::1%lo]:1")):
            endpoint = HostEndpoint(self.reactor, host, 1)
            self.assertEqual(repr(endpoint), f"<HostEndpoint {shown}>")


class NameTests(HostCase):
    """A name is looked up at each attempt."""

    def test_names(self) -> None:
        """Underscores are asked for as they are, other letters as name servers write them."""
        for name in ("redis_1", "bücher.example"):
            self.assertNoResult(self.connect(name))
        self.assertEqual(self.resolver.asked, [("redis_1", 9000), ("xn--bcher-kva.example", 9000)])

    def test_clock(self) -> None:
        """When the next address is tried is a matter of the steady clock, not of the reactor's."""
        clock = Clock()
        endpoint = HostEndpoint(self.reactor, "two", 9000, clock=clock)
        self.assertNoResult(endpoint.connect(Factory.forProtocol(Protocol)))
        found = ["192.0.2.1", "192.0.2.2"]
        self.resolver.answer([IPv4Address("TCP", each, 9000) for each in found])
        self.assertEqual(self.tried, found[:1])
        clock.advance(1)
        self.assertEqual(self.tried, found)

    def test_noName(self) -> None:
        """What can be no name is refused when the endpoint is made."""
        for host in ("", "a..b", "x" * 64, "a\nb"):
            self.assertRaises(ValueError, HostEndpoint, self.reactor, host, 1)

    def test_race(self) -> None:
        """The addresses are tried one after the other; a zone that was found is kept."""
        connecting = self.connect("redis_1")
        self.resolver.answer(
            [IPv6Address("TCP", "fe80::1", 9000, 0, 3), IPv4Address("TCP", "192.0.2.1", 9000)]
        )
        self.assertEqual(self.tried, ["fe80::1%3"])
        self.reactor.advance(1)
        self.assertEqual(self.tried, ["fe80::1%3", "192.0.2.1"])
        for attempt in self.reactor.tcpClients:
            attempt[2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.reactor.advance(1)
        self.failureResultOf(connecting, ConnectionRefusedError)

    def test_unknown(self) -> None:
        """A name without addresses is told."""
        connecting = self.connect("redis_1")
        self.resolver.answer([])
        self.assertIn("redis_1", str(self.failureResultOf(connecting, DNSLookupError).value))

    def test_silence(self) -> None:
        """A lookup has the time of an attempt; its answer is not awaited afterwards."""
        connecting = self.connect("redis_1", timeout=2)
        self.reactor.advance(1.9)
        self.assertNoResult(connecting)
        self.reactor.advance(0.2)
        self.assertIn("within 2 s", str(self.failureResultOf(connecting, DNSLookupError).value))
        self.resolver.answer([IPv4Address("TCP", "192.0.2.1", 9000)])
        self.assertEqual(self.tried, [])

    def test_slowness(self) -> None:
        """What a lookup takes is not there for connecting any more."""
        self.assertNoResult(self.connect("redis_1", timeout=5))
        self.reactor.advance(2)
        self.resolver.answer([IPv4Address("TCP", "192.0.2.1", 9000)])
        self.assertEqual(self.reactor.tcpClients[0][3], 3)

    def test_cancelled(self) -> None:
        """Who gives up gets an end at once, in the lookup too."""
        connecting = self.connect("redis_1")
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.resolver.answer([IPv4Address("TCP", "192.0.2.1", 9000)])
        self.assertEqual((self.tried, self.reactor.getDelayedCalls()), ([], []))


@implementer(IResolutionReceiver)
class Receiver:
    """Collects what a resolver tells."""

    def __init__(self) -> None:
        self.addresses: list[Any] = []
        self.complete: Deferred[list[Any]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Note the name."""
        self.name = resolutionInProgress.name
        resolutionInProgress.cancel()

    def addressResolved(self, address: Any) -> None:
        """Keep it."""
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        """That was all."""
        self.complete.callback(self.addresses)


class SystemResolverTests(TestCase):
    """Names are looked up by the system, in threads for which nobody waits."""

    timeout = 30

    async def lookUp(self, getaddrinfo: Callable[..., Any], *choices: Any) -> list[Any]:
        """Look a name up, port 9."""
        receiver = Receiver()
        resolver = SystemResolver(installedReactor, getaddrinfo)
        resolver.resolveHostName(receiver, "redis_1", 9, *choices)
        self.assertEqual(receiver.name, "redis_1")
        return await receiver.complete

    def test_interface(self) -> None:
        """It is what can be installed in a reactor."""
        self.assertTrue(verifyClass(IHostnameResolver, SystemResolver))

    async def test_addresses(self) -> None:
        """What the system says is told, of the families that are known; zones are, too."""
        asked: list[Any] = []

        def getaddrinfo(*arguments: Any) -> list[Any]:
            asked.append((arguments, threading.current_thread().daemon))
            return [
                (socket.AF_INET6, 1, 6, "", ("fe80::1", 9, 0, 3)),
                (socket.AF_UNIX, 1, 6, "", ("strange",)),
                (socket.AF_INET, 1, 6, "", ("192.0.2.1", 9)),
            ]

        found = await self.lookUp(getaddrinfo)
        inet6, inet = IPv6Address("TCP", "fe80::1", 9, 0, 3), IPv4Address("TCP", "192.0.2.1", 9)
        self.assertEqual(found, [inet6, inet])
        await self.lookUp(getaddrinfo, [IPv4Address], "UDP")
        stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
        self.assertEqual(
            asked,
            [
                (("redis_1", 9, socket.AF_UNSPEC, stream), True),
                (("redis_1", 9, socket.AF_INET, datagram), True),
            ],
        )

    async def test_failures(self) -> None:
        """What cannot be looked up has no addresses."""
        for error in (socket.gaierror("no such name"), UnicodeError("label too long")):

            def getaddrinfo(*_: Any, error: Exception = error) -> list[Any]:
                raise error

            self.assertEqual(await self.lookUp(getaddrinfo), [])
