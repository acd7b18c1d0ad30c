"""
Twisted's own tests of transports, none of them edited, over Thing.

Where they ask for endpoints they get ``thing:`` ones; where they call
``reactor.listenTCP`` and ``reactor.connectTCP``, both speak Thing. They run on
every reactor that Twisted tests itself on. docs/endpoints.rst names those of
TCP's tests that cannot apply.
"""

from __future__ import annotations

import socket
from typing import Any
from unittest import skipIf

from twisted.internet import reactor as trialsReactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    clientFromString,
    quoteStringArgument,
    serverFromString,
)
from twisted.internet.interfaces import IReactorFDSet, IReactorSocket, IReactorTCP
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.internet.test import test_tcp as tcp
from twisted.internet.test.connectionmixins import (
    ConnectionTestsMixin,
    EndpointCreator,
    StreamClientTestsMixin,
)
from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.test import test_tcp as trialTcp

from thing.core.settings import ClientSettings, ServerSettings
from thing.endpoints import ApplicationFactory, StreamFactory, ThingClientEndpoint
from thing.session.clock import SteadyClock
from thing.trust import Anyone, IdentityKey, PinnedServers


class StringCreator(EndpointCreator):
    """Endpoints from descriptions, as users write them."""

    interface = "127.0.0.1"

    def __init__(self, key: IdentityKey, path: str) -> None:
        self.key = key
        self.path = path

    def server(self, reactor: Any) -> Any:
        quoted = quoteStringArgument(self.interface)
        return serverFromString(
            reactor, f"thing:0:interface={quoted}:identity={self.path}:anyone=yes"
        )

    def client(self, reactor: Any, serverAddress: Any) -> Any:
        quoted = quoteStringArgument(self.interface)
        key = quoteStringArgument(self.key.fingerprint)
        return clientFromString(reactor, f"thing:{quoted}:{serverAddress.port}:serverKey={key}")


class ObjectCreator(StringCreator):
    """The same with a client made of objects, which takes ports that no description may have."""

    def client(self, reactor: Any, serverAddress: Any) -> Any:
        return ThingClientEndpoint(
            TCP4ClientEndpoint(reactor, self.interface, serverAddress.port),
            ClientSettings(),
            PinnedServers([self.key.fingerprint]),
            clock=SteadyClock.of(reactor),
        )


class ThingBuilder(ReactorBuilder):
    """Builds reactors, and endpoints that get along with each other."""

    requiredInterfaces = (IReactorTCP,)
    creator: type[StringCreator] = StringCreator

    def setUp(self) -> None:
        ReactorBuilder.setUp(self)
        self.key = IdentityKey.generate()
        path = self.mktemp()
        self.key.save(path)
        self.endpoints = self.creator(self.key, path)

    def buildReactor(self) -> Any:
        reactor = ReactorBuilder.buildReactor(self)
        self.addCleanup(SteadyClock._perReactor.pop, reactor, None)
        return reactor


class ThingReactorBuilder(ThingBuilder):
    """
    Builds reactors that speak Thing when they listen and when they connect.

    :cvar listening: the reactor's methods that begin to listen, or take a server's connection.
    """

    listening: tuple[str, ...] = ("listenTCP", "adoptStreamPort")

    def buildReactor(self) -> Any:
        reactor = ThingBuilder.buildReactor(self)
        clock = SteadyClock.of(reactor)
        server = StreamFactory(
            ServerSettings(credential=self.key, allowAnonymous=True), Anyone(), clock=clock
        )
        client = StreamFactory(ClientSettings(), PinnedServers([self.key.fingerprint]), clock=clock)
        for name in self.listening:
            speak(reactor, name, server)
        speak(reactor, "connectTCP", client)
        return reactor


def speak(reactor: Any, name: str, sessions: StreamFactory) -> None:
    """Let a reactor's method, which takes a factory, put sessions between it and the stream."""
    method = getattr(reactor, name)

    def over(*args: Any, **named: Any) -> Any:
        over = {name: _over(sessions, arg) for name, arg in named.items()}
        return method(*(_over(sessions, arg) for arg in args), **over)

    setattr(reactor, name, over)


def _over(sessions: StreamFactory, arg: Any) -> Any:
    """A factory over Thing, unless an endpoint has seen to that already; or what is none."""
    inner = getattr(arg, "_wrappedFactory", arg)
    if not isinstance(arg, Factory) or isinstance(inner, ApplicationFactory):
        return arg
    return ApplicationFactory(sessions, arg)


class ThingConnectionTests(ThingBuilder, ConnectionTestsMixin):
    """What applies to any transport."""


class ThingAbortTests(ThingBuilder, tcp.AbortConnectionMixin):
    """``abortConnection``."""


class ThingWriteSequenceTests(ThingBuilder, tcp.WriteSequenceTestsMixin):
    """``writeSequence``, and the producers of both kinds."""

    def getConnectedClientAndServer(
        self, reactor: Any, interface: str, addressFamily: int
    ) -> Deferred[Any]:
        server, client = tcp.MyServerFactory(), tcp.MyClientFactory()
        for factory in (server, client):
            factory.protocolConnectionMade = Deferred()
            factory.protocolConnectionLost = Deferred()
        lost = gatherResults([client.protocolConnectionLost, server.protocolConnectionLost])
        lost.addBoth(lambda _: reactor.stop())
        port = self.successResultOf(self.endpoints.server(reactor).listen(server))
        self.endpoints.client(reactor, port.getHost()).connect(client)
        made = gatherResults([client.protocolConnectionMade, server.protocolConnectionMade])
        return made.addCallback(lambda protocols: (*protocols, port))


class ThingAdoptedStreamTests(ThingReactorBuilder, tcp.WriteSequenceTestsMixin):
    """The same where the server's connection was accepted by somebody else."""

    listening = ("adoptStreamConnection",)
    requiredInterfaces = (IReactorFDSet, IReactorSocket)
    getConnectedClientAndServer = tcp.AdoptStreamConnectionTestsBuilder.getConnectedClientAndServer


def borrowed(source: type, *names: str) -> type:
    """A class with some of another's own members; an older Twisted has not all of them yet."""
    members = vars(source)
    return type("Borrowed", (), {name: members[name] for name in names if name in members})


class ThingClientTestsBase(
    ThingReactorBuilder,
    ConnectionTestsMixin,
    StreamClientTestsMixin,
    borrowed(  # type: ignore[misc]
        tcp.TCPClientTestsBase,
        *("_port", "port", "interface", "listen", "connect"),
        "test_buildProtocolReturnsNone",
        *("assertConnectPortErrorCalls", "assertConnectPortError"),
        "test_connectPortUnderflow",
        "test_connectPortOverflow",
        "test_connectPortZero",
        "test_connectPortNotNumeric",
    ),
):
    """Clients, by endpoints and by ``connectTCP``."""

    creator = ObjectCreator


class Thing4ClientTests(ThingClientTestsBase):
    """Clients over IPv4."""

    family = socket.AF_INET
    addressClass = IPv4Address


class ObjectCreator6(ObjectCreator):
    """Endpoints over IPv6."""

    @property
    def interface(self) -> str:  # type: ignore[override]
        return tcp.getLinkLocalIPv6Address()


@skipIf(tcp.ipv6Skip, tcp.ipv6SkipReason)
class Thing6ClientTests(ThingClientTestsBase):
    """Clients over IPv6."""

    creator = ObjectCreator6
    family = socket.AF_INET6
    addressClass = IPv6Address


class ThingPortTestsBase(ThingReactorBuilder, tcp.StreamTransportTestsMixin):
    """Ports: what they log, where they are, and what they do when files run out."""

    getExpectedConnectionLostLogMsg = tcp.TCPPortTestsMixin.getExpectedConnectionLostLogMsg

    test_portGetHostOnIPv4 = tcp.TCPPortTestsMixin.test_portGetHostOnIPv4
    test_portGetHostOnIPv6 = tcp.TCPPortTestsMixin.test_portGetHostOnIPv6
    test_portGetHostOnIPv6ScopeID = tcp.TCPPortTestsMixin.test_portGetHostOnIPv6ScopeID

    def getExpectedStartListeningLogMessage(self, port: Any, factory: str) -> str:
        return f"{factory} (Thing) starting on {port.getHost().port}"


class ThingPortTests(ThingPortTestsBase, tcp.ListenTCPMixin):
    """Ports of ``listenTCP``."""


class ThingAdoptedPortTests(ThingPortTestsBase, tcp.SocketTCPMixin):
    """Ports of sockets that were there before."""


class ThingStreamTests(ThingReactorBuilder):
    """Streams that are paused, and half closes."""

    creator = StringCreator

    test_stopStartReading = tcp.TCPConnectionTestsBuilder.test_stopStartReading
    test_connectionLostAfterPausedTransport = (
        tcp.TCPConnectionTestsBuilder.test_connectionLostAfterPausedTransport
    )
    test_doubleHalfClose = tcp.TCPConnectionTestsBuilder.test_doubleHalfClose

    def setUp(self) -> None:
        ThingReactorBuilder.setUp(self)
        self.patch(tcp, "TCPCreator", lambda: self.endpoints)


class Thing4ConnectorTests(ThingReactorBuilder, tcp.TCPConnectorTestsBuilder):
    """Connectors over IPv4."""

    interface = "127.0.0.1"
    family = socket.AF_INET
    addressClass = IPv4Address


@skipIf(tcp.ipv6Skip, tcp.ipv6SkipReason)
class Thing6ConnectorTests(ThingReactorBuilder, tcp.TCPConnectorTestsBuilder):
    """Connectors over IPv6."""

    family = socket.AF_INET6
    addressClass = IPv6Address

    def setUp(self) -> None:
        ThingReactorBuilder.setUp(self)
        self.interface = tcp.getLinkLocalIPv6Address()


class TrialsReactorMixin:
    """Lets the reactor that trial runs on speak Thing when it listens and when it connects."""

    def setUp(self: Any) -> Any:
        key = IdentityKey.generate()
        server = StreamFactory(ServerSettings(credential=key, allowAnonymous=True), Anyone())
        client = StreamFactory(ClientSettings(), PinnedServers([key.fingerprint]))
        for name, sessions in (("listenTCP", server), ("connectTCP", client)):
            self.patch(trialsReactor, name, getattr(trialsReactor, name))  # To be put back.
            speak(trialsReactor, name, sessions)
        self.addCleanup(self.noSessions, server, client)
        return super().setUp()  # type: ignore[misc]

    async def noSessions(self, *factories: StreamFactory) -> None:
        """Wait until all have ended: these tests do not."""
        await factories[0].drain(5.0)
        for factory in factories:
            while factory.door.connected:
                await deferLater(trialsReactor, 0.01)


class ThingHalfCloseTests(
    TrialsReactorMixin, trialTcp.HalfCloseNoNotificationAndShutdownExceptionTests
):
    """Half-closes where nobody wants to know of them, or too late."""


class ThingHalfCloseBugTests(TrialsReactorMixin, trialTcp.HalfCloseBuggyApplicationTests):
    """Half-closes of which somebody is told who fails."""


class ThingWriterTests(TrialsReactorMixin, trialTcp.TestCase):
    """Much that is written at once, and a close behind it."""

    test_writer = trialTcp.WriteDataTests.test_writer


class ThingCallbackOrderTests(TrialsReactorMixin, trialTcp.CallBackOrderTests):
    """Who is told of the end first."""


for _builder in (
    ThingConnectionTests,
    ThingAbortTests,
    ThingWriteSequenceTests,
    ThingAdoptedStreamTests,
    Thing4ClientTests,
    Thing6ClientTests,
    ThingPortTests,
    ThingAdoptedPortTests,
    ThingStreamTests,
    Thing4ConnectorTests,
    Thing6ConnectorTests,
):
    for _name, _case in _builder.makeTestCaseClasses().items():
        if not getattr(_case, "skip", ""):  # Else the reactor is not installed.
            globals()[_name] = _case
