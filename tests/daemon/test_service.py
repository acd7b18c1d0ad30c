"""The server as a service, on real ports of this machine."""

from __future__ import annotations

import io
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from twisted.application.service import Application, IService, MultiService
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Protocol
from twisted.logger import FileLogObserver, ILogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from tests.anypeer import AnyPeer
from tests.certificates import writeCertificate
from tests.helpers import SERVER_CREDENTIAL
from tests.trust.test_keys import DirectoryMixin
from thing import (
    Anyone,
    Cause,
    ClientSettings,
    CredentialError,
    EndReason,
    IdentityKey,
    ServerSettings,
    Termination,
    ThingFactory,
    ThingProtocol,
)
from thing.core.credentials import Credential
from thing.daemon.errors import CannotStart
from thing.daemon.service import ThingService
from thing.session.addresses import formatAddress
from thing.trust.live import LiveTrust
from thing.trust.slices import inOneSlice

TIMEOUT = 20.0
"""How long anything here may take, seconds."""

LOCAL = "tcp:0:interface=127.0.0.1"

try:
    with socket.create_server(("::1", 0), family=socket.AF_INET6):
        NO_IPV6 = None
except OSError:
    NO_IPV6 = "there is no IPv6 on this machine"


class Echo(ThingProtocol):
    """Sends back what it gets."""

    def messageReceived(self, message: bytes) -> None:
        self.sendMessage(message)


class Client(ThingProtocol):
    """
    Keeps what comes.

    :ivar left: fires with the reason when the server asks to be left.
    """

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.message: Deferred[bytes] = Deferred()
        self.left: Deferred[Any] = Deferred()
        self.retryAfter: float | None = None

    def messageReceived(self, message: bytes) -> None:
        self.messages.append(message)
        waiter, self.message = self.message, Deferred()
        waiter.callback(message)

    def goingAway(self, reason: EndReason | int, retryAfter: float) -> None:
        self.retryAfter = retryAfter
        self.left.callback(reason)


class Rude(Client):
    """Stays when it is asked to leave."""

    def dataReceived(self, data: bytes) -> None:
        if self.session is None:
            super().dataReceived(data)


class ServiceCase(DirectoryMixin, TestCase):
    """Tests with services that are stopped, and clients that are gone, at the end."""

    timeout = TIMEOUT

    def setUp(self) -> None:
        super().setUp()
        self.logged: list[str] = []
        self.waiters: list[tuple[str, Deferred[None]]] = []
        self.key = IdentityKey.generate()
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: Any) -> None:
        if event["log_namespace"].startswith("thing."):
            line = formatEvent(event)
            self.logged.append(line)
            for part, waiter in [w for w in self.waiters if w[0] in line]:
                self.waiters.remove((part, waiter))
                waiter.callback(None)

    def whenLogged(self, part: str) -> Deferred[None]:
        """Wait for a line."""
        waiter: Deferred[None] = Deferred()
        if any(part in line for line in self.logged):
            waiter.callback(None)
        else:
            self.waiters.append((part, waiter))
        return waiter

    def settings(self, **choices: Any) -> ServerSettings:
        return ServerSettings(credential=self.key, allowAnonymous=True, **choices)

    def service(self, *descriptions: str, **choices: Any) -> ThingService:
        """A service, not started, that sends back what it gets."""
        from twisted.internet import reactor

        factory = ThingFactory(choices.pop("settings", None) or self.settings(), Anyone())
        factory.protocol = Echo
        endpoints = {text: serverFromString(reactor, text) for text in descriptions or (LOCAL,)}
        service = ThingService(reactor, factory, endpoints, **choices)
        self.addCleanup(lambda: service.stopService() if service.running else None)
        return service

    def started(self, *descriptions: str, **choices: Any) -> ThingService:
        """A service that runs."""
        service = self.service(*descriptions, **choices)
        service.privilegedStartService()
        service.startService()
        return service

    def where(self, service: ThingService) -> Any:
        """The address of a service's only port."""
        (port,) = service.ports.values()
        return port.getHost()

    async def connect(
        self, description: str, kind: type[Client] = Client, credential: IdentityKey | None = None
    ) -> Client:
        """A client with a session."""
        from twisted.internet import reactor

        settings = ClientSettings(**({"credential": credential} if credential else {}))
        factory = ThingFactory(settings, AnyPeer())
        factory.protocol = kind
        protocol = await clientFromString(reactor, description).connect(factory)
        assert isinstance(protocol, kind)
        self.addCleanup(self.closed, protocol)
        await protocol.whenEstablished()
        return protocol

    def closed(self, protocol: ThingProtocol) -> Deferred[Any] | None:
        """Cut a connection, and wait until it is gone."""
        if not protocol.transport.connected:
            return None
        gone: Deferred[None] = Deferred()
        lost = protocol.connectionLost

        def connectionLost(*args: Any) -> None:
            lost(*args)
            gone.callback(None)

        protocol.connectionLost = connectionLost  # type: ignore[method-assign]
        protocol.abort()
        protocol.transport.abortConnection()
        return gone

    async def assertEchoes(self, description: str) -> Client:
        """A client reaches the server by this endpoint and gets back what it sends."""
        client = await self.connect(description)
        message = client.message
        client.sendMessage(b"hello")
        self.assertEqual(await message, b"hello")
        return client

    def assertLogged(self, *parts: str) -> str:
        """Exactly one logged line has all these parts."""
        found = [line for line in self.logged if all(part in line for part in parts)]
        self.assertEqual(len(found), 1, self.logged)
        self.assertNotIn("\n", found[0])
        return found[0]


class EndpointTests(ServiceCase):
    """Every kind of stream that Twisted can listen on carries sessions."""

    async def test_tcp(self) -> None:
        """TCP over IPv4, and the command to try it is logged."""
        service = self.started()
        port = self.where(service).port
        await self.assertEchoes(f"tcp:127.0.0.1:{port}")
        self.assertLogged(f"Listening on 127.0.0.1:{port} ({LOCAL})")
        self.assertLogged(f"thing connect 127.0.0.1:{port} --server-key {self.key.fingerprint}")

    async def test_tcp6(self) -> None:
        """TCP over IPv6."""
        service = self.started("tcp6:0:interface=\\:\\:1")
        port = self.where(service).port
        await self.assertEchoes(f"tcp:host=\\:\\:1:port={port}")
        self.assertLogged(f"thing connect [::1]:{port} ")

    test_tcp6.skip = NO_IPV6  # type: ignore[attr-defined]

    async def test_unix(self) -> None:
        """A unix socket, which is gone when the service is."""
        path = os.path.relpath(self.path("socket"))
        service = self.started(f"unix:{path}")
        await self.assertEchoes(f"unix:{path}")
        self.assertLogged(f"thing connect unix:{path} ")
        await service.stopService()
        self.assertFalse(os.path.exists(path))

    async def test_ssl(self) -> None:
        """An outer layer of TLS; no command is given, since a client needs to know more."""
        certificate = writeCertificate(self.path("certificate.pem"), "localhost")
        description = f"ssl:0:privateKey={certificate}:certKey={certificate}:interface=127.0.0.1"
        service = self.started(description)
        port = self.where(service).port
        await self.assertEchoes(f"tls:localhost:{port}:trustRoots={self.directory}")
        self.assertFalse([line for line in self.logged if "thing connect" in line])

    async def test_haproxy(self) -> None:
        """Behind a balancer that says in a PROXY line for whom it speaks."""
        service = self.started(f"haproxy:{LOCAL}")
        line = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 9000\r\n"
        client = await self.connectBehind(self.where(service).port, line)
        message = client.message
        client.sendMessage(b"hello")
        self.assertEqual(await message, b"hello")
        (session,) = service.factory.sessions
        self.assertEqual(session.transport.getPeer(), IPv4Address("TCP", "192.0.2.7", 4711))

    async def connectBehind(self, port: int, line: bytes) -> Client:
        """A client whose stream begins with a line that is not its own."""
        from twisted.internet import reactor

        class Balanced(Client):
            def makeConnection(self, transport: Any) -> None:
                transport.write(line)
                super().makeConnection(transport)

        factory = ThingFactory(ClientSettings(), AnyPeer())
        factory.protocol = Balanced
        description = f"tcp:127.0.0.1:{port}"
        protocol = await clientFromString(reactor, description).connect(factory)
        self.addCleanup(self.closed, protocol)
        await protocol.whenEstablished()
        return protocol  # type: ignore[return-value]

    async def test_several(self) -> None:
        """Sessions from all ports are sessions of one server."""
        path = os.path.relpath(self.path("socket"))
        service = self.started(LOCAL, f"unix:{path}")
        await self.assertEchoes(f"tcp:127.0.0.1:{service.ports[LOCAL].getHost().port}")
        await self.assertEchoes(f"unix:{path}")
        self.assertEqual(len(service.factory.sessions), 2)

    async def test_allInterfaces(self) -> None:
        """A server on all interfaces is reached as localhost from its own machine."""
        service = self.started("tcp:0")
        await self.whenLogged(f"thing connect localhost:{self.where(service).port} ")


class StartTests(ServiceCase):
    """How a service starts, or does not."""

    def test_portTaken(self) -> None:
        """A port that is taken is one line, and the ports that were opened are closed again."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        description = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        service = self.service(LOCAL, description)
        error = self.assertRaises(CannotStart, service.privilegedStartService)
        self.assertEqual(
            error.code, f"twistd thing: cannot listen on {description}: Address already in use"
        )
        self.assertEqual(service.ports, {})

    def test_impossiblePorts(self) -> None:
        """Whatever else keeps an endpoint from listening is one line, too."""
        for description in ("tcp:70000", "tcp:0:interface=192.0.2.1", "unix:/nonexistent/socket"):
            service = self.service(description)
            error = self.assertRaises(CannotStart, service.privilegedStartService)
            self.assertIn(f"cannot listen on {description}: ", str(error.code))
            self.assertNotIn("\n", str(error.code))

    def test_withoutPrivilegedStart(self) -> None:
        """A program that only calls startService has a server, too, and an error likewise."""
        service = self.service()
        service.startService()
        self.assertEqual(len(service.ports), 1)
        self.assertRaises(CannotStart, self.service("tcp:70000").startService)

    def test_inAnApplication(self) -> None:
        """In an application it starts and stops with the application."""
        application = Application("test")
        service = self.service()
        service.setServiceParent(application)
        IService(application).privilegedStartService()
        IService(application).startService()
        self.assertEqual(len(service.ports), 1)
        return IService(application).stopService()

    def test_laterProblem(self) -> None:
        """An endpoint that fails only after the start is logged, and the others go on."""
        later: Deferred[IListeningPort] = Deferred()

        class Slow:
            def listen(self, factory: object) -> Deferred[IListeningPort]:
                return later

        service = self.service()
        service._endpoints["slow:"] = Slow()  # type: ignore[assignment]
        service.startService()
        later.errback(OSError(5, "Input/output error"))
        self.assertLogged("cannot listen on slow:: Input/output error")
        self.assertEqual(list(service.ports), [LOCAL])

    def test_problemAtOnce(self) -> None:
        """An endpoint that answers with a failure keeps the service from starting."""

        class Broken:
            def listen(self, factory: object) -> Deferred[IListeningPort]:
                return fail(RuntimeError("two\nlines"))

        service = self.service()
        service._endpoints["broken:"] = Broken()  # type: ignore[assignment]
        error = self.assertRaises(CannotStart, service.startService)
        self.assertIn("cannot listen on broken:: RuntimeError: two lines", str(error.code))

    def test_keysAreLogged(self) -> None:
        """The fingerprints of the key and of the next key are logged."""
        following = IdentityKey.generate()
        self.started(settings=self.settings(nextCredential=following))
        self.assertLogged("The server's key is", self.key.fingerprint)
        self.assertLogged("next key", following.fingerprint)


@dataclass
class FakeChoice:
    """What would be read from files."""

    current: Credential | None
    following: Credential | None
    read: Callable[[], object]
    authorizer: object = Anyone()
    files: tuple[str, ...] = ()
    tickets: None = None
    things: int | None = None

    @property
    def credentials(self) -> tuple[Credential, ...]:
        return (self.current or SERVER_CREDENTIAL,)

    @property
    def nextCredential(self) -> Credential | None:
        return self.following

    @inOneSlice
    def again(self) -> FakeChoice:
        self.read()
        return self

    def nextBegin(self, now: object) -> None:
        return None

    def troubles(self, now: object) -> list[str]:
        return []

    def applied(self, settings: ServerSettings) -> ServerSettings:
        if self.current is None:
            return settings
        return replace(settings, credential=self.current, nextCredential=self.following)


class ReloadTests(ServiceCase):
    """SIGHUP reads the keys anew."""

    def follow(
        self,
        service: ThingService,
        current: Credential | None = None,
        following: Credential | None = None,
        again: Callable[[], object] = lambda: None,
    ) -> None:
        """Have the service read these keys, when it reads again."""
        service.factory.trust = LiveTrust(
            FakeChoice(current, following, again), service.factory.clock
        )

    async def test_newKey(self) -> None:
        """New sessions see the new key; a session that is up goes on with the old one."""
        new, following = IdentityKey.generate(), IdentityKey.generate()
        service = self.started()
        self.follow(service, new, following)
        description = f"tcp:127.0.0.1:{self.where(service).port}"
        old = await self.assertEchoes(description)
        service.reload()
        fresh = await self.assertEchoes(description)
        assert old.peer is not None and fresh.peer is not None
        self.assertEqual(old.peer.fingerprint, self.key.fingerprint)
        self.assertEqual(fresh.peer.fingerprint, new.fingerprint)
        self.assertEqual(len(service.factory.sessions), 2)
        self.assertLogged("Reloaded", new.fingerprint, following.fingerprint)
        message = old.message
        old.sendMessage(b"still here")
        self.assertEqual(await message, b"still here")

    def test_otherSettingsStay(self) -> None:
        """Only the keys change, whatever a factory did to its settings."""
        new = IdentityKey.generate()
        service = self.service()
        self.follow(service, new)
        service.factory.settings = replace(service.factory.settings, stream=True, closeTimeout=7.0)
        before = service.factory.settings
        service.reload()
        assert isinstance(before, ServerSettings)
        self.assertEqual(service.factory.settings, replace(before, credential=new))

    def test_error(self) -> None:
        """On any error all stays as it was, and one line says why."""
        for error, expected in (
            (CredentialError("key: permissions 0644 are too open"), "as it was: key: perm"),
            (RuntimeError("what\nelse"), "as it was: RuntimeError: what else"),
        ):
            self.logged.clear()

            def again(error: Exception = error) -> None:
                raise error

            service = self.service()
            self.follow(service, again=again)
            before = service.factory.settings
            service.reload()
            self.assertIs(service.factory.settings, before)
            self.assertLogged("Not reloaded", expected)

    async def test_signal(self) -> None:
        """The signal is caught while the service runs, and only then."""
        before = signal.getsignal(signal.SIGHUP)
        read: Deferred[None] = Deferred()

        service = self.service()
        self.follow(service, again=lambda: read.callback(None))
        service.startService()
        os.kill(os.getpid(), signal.SIGHUP)
        await read
        await service.stopService()
        self.assertIs(signal.getsignal(signal.SIGHUP), before)

    async def test_signalLeftAlone(self) -> None:
        """A service that has nothing to read leaves the signal to others."""
        before = signal.getsignal(signal.SIGHUP)
        service = self.started()
        self.assertIs(signal.getsignal(signal.SIGHUP), before)
        service.reload()
        self.assertEqual([line for line in self.logged if "eloaded" in line], [])


class LogTests(ServiceCase):
    """The application's log."""

    def test_application(self) -> None:
        """An application gets the observer, where twistd looks for it; a service does not."""
        observer = FileLogObserver(io.StringIO(), lambda event: "")
        application = Application("thing")
        self.service(makeObserver=lambda: observer).setServiceParent(application)
        self.assertIs(application.getComponent(ILogObserver), observer)
        parent = MultiService()
        self.service(makeObserver=lambda: observer).setServiceParent(parent)
        self.assertEqual(len(list(parent)), 1)

    def test_own(self) -> None:
        """Without one the application keeps its log."""
        application = Application("thing")
        self.service().setServiceParent(application)
        self.assertIsNone(application.getComponent(ILogObserver))


class DrainTests(ServiceCase):
    """How a service stops."""

    async def test_idle(self) -> None:
        """Without a session it stops at once."""
        service = self.started()
        await service.stopService()
        self.assertFalse(service.running)
        self.assertEqual(service.ports, {})

    async def test_neverStarted(self) -> None:
        """A service that was never started stops, too."""
        await self.service().stopService()

    async def test_goodbye(self) -> None:
        """Clients are asked to leave, told how long to stay away, and end with a goodbye."""
        service = self.started(drainTimeout=5.0, retryAfter=60.0)
        clients = [
            await self.connect(f"tcp:127.0.0.1:{self.where(service).port}") for _ in range(3)
        ]
        await service.stopService()
        for client in clients:
            self.assertEqual(await client.left, EndReason.SHUTDOWN)
            assert client.retryAfter is not None
            self.assertTrue(60.0 <= client.retryAfter <= 120.0)
            termination = await client.whenTerminated()
            self.assertIs(termination.cause, Cause.GOODBYE)
        self.assertEqual(service.factory.terminations, {Cause.GOODBYE: 3})

    async def test_listensNoMoreFirst(self) -> None:
        """While it waits for a client to leave, nobody else can connect."""
        service = self.started(drainTimeout=0.5)
        port = self.where(service).port
        client = await self.connect(f"tcp:127.0.0.1:{port}", Rude)
        draining = self.whenLogged("Draining 1 sessions")
        stopped = service.stopService()
        await draining
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        self.assertIsNone(client.termination)
        await stopped

    async def test_flatLine(self) -> None:
        """Who has not left when the time is over is flat-lined."""
        service = self.started(drainTimeout=0.2)
        await self.connect(f"tcp:127.0.0.1:{self.where(service).port}", Rude)
        await service.stopService()
        self.assertEqual(service.factory.terminations, {Cause.FLAT_LINED: 1})
        self.assertEqual(service.factory.sessions, set())

    async def test_halfwayGone(self) -> None:
        """A client that said goodbye and then fell silent does not hold the server up."""
        service = self.started(drainTimeout=0.2, settings=self.settings(closeTimeout=600.0))
        client = await self.connect(f"tcp:127.0.0.1:{self.where(service).port}", Rude)
        client.goodbye()
        await service.stopService()
        self.assertEqual(service.factory.sessions, set())
        self.assertEqual(service.factory.terminations, {Cause.ABORTED: 1})

    async def test_stranger(self) -> None:
        """A connection whose handshake is not complete is turned away."""
        from twisted.internet import reactor

        service = self.started(drainTimeout=5.0)
        description = f"tcp:127.0.0.1:{self.where(service).port}"
        stranger = await connectProtocol(clientFromString(reactor, description), Protocol())
        self.addCleanup(stranger.transport.abortConnection)
        client = await self.connect(description)
        await service.stopService()
        termination: Termination = await client.whenTerminated()
        self.assertTrue(termination.clean)
        self.assertEqual(service.factory.terminations[Cause.REJECTED], 1)


class AddressTests(TestCase):
    """How an address is shown."""

    def test_formats(self) -> None:
        """As host and port, IPv6 in brackets and IPv4 however it came, or as a path."""
        for address, text in (
            (IPv4Address("TCP", "192.0.2.1", 9), "192.0.2.1:9"),
            (IPv6Address("TCP", "2001:db8::1", 9), "[2001:db8::1]:9"),
            (IPv6Address("TCP", "::ffff:192.0.2.1", 9), "192.0.2.1:9"),
            (IPv6Address("TCP", "::ffff:c000:201", 9), "192.0.2.1:9"),
            (IPv6Address("TCP", "fe80::1%eth0", 9), "[fe80::1%eth0]:9"),
            (IPv6Address("TCP", "::ffff:odd", 9), "[::ffff:odd]:9"),
            (UNIXAddress(b"/run/thing"), "/run/thing"),
            (UNIXAddress(None), "a unix socket"),
            (UNIXAddress(b""), "a unix socket"),
            (None, "an unknown address"),
        ):
            self.assertEqual(formatAddress(address), text)
