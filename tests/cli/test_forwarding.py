"""``thing reach --listen``: a real process, with a server and clients in this one."""

from __future__ import annotations

import os
import signal
import stat
from dataclasses import replace
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.anypeer import NoPeer
from tests.cli.test_commands import HomeCase
from tests.cli.test_process import Command
from tests.cli.test_reach import ECHOES, GREETING, ReachCase, Refusing, Service
from tests.helpers import socketDirectory
from thing import StopCode, StreamCut
from thing.cli.exits import ExitCode
from thing.cli.forwarding import MOST
from thing.cli.listenaddress import ListenAddress, parseListen

reactor: Any = installedReactor


@implementer(IHalfCloseableProtocol)
class Client(Protocol):
    """
    What connects to the port.

    :ivar received: what came.
    :ivar lost: fires with why when it is over.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.lost: Deferred[BaseException] = Deferred()
        self._awaited = (b"", Deferred[None]())

    def got(self, data: bytes) -> Deferred[None]:
        """Fires when that much has come."""
        self._awaited = (data, Deferred())
        self.dataReceived(b"")
        return self._awaited[1]

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        wanted, waiter = self._awaited
        if wanted and wanted in self.received and not waiter.called:
            waiter.callback(None)

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert reason.value is not None
        self.lost.callback(reason.value)


class ForwardCase(ReachCase):
    """A port that is forwarded."""

    def forward(self, served: Any, listen: str = "0", *arguments: str) -> Command:
        """Start the command."""
        return self.reach(served, "--listen", listen, *arguments)

    async def portOf(self, command: Command) -> int:
        """Where it listens."""
        await command.wrote(b"/\n")
        start, _, rest = command.out.partition(b"http://127.0.0.1:")
        self.assertEqual(start, b"")
        number, _, end = rest.partition(b"/\n")
        self.assertEqual(end, b"")
        return int(number)

    async def client(self, number: int) -> Client:
        """Connect."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", number)
        client = await connectProtocol(endpoint, Client())

        def close() -> Deferred[BaseException] | None:
            if client.lost.called:
                return None
            client.transport.abortConnection()
            return client.lost

        self.addCleanup(close)
        return client

    async def assertCut(self, number: int) -> None:
        """Connect, and be cut; that may come before the reactor has seen the connection."""
        try:
            client = await self.client(number)
        except ConnectError:
            return
        self.assertIsInstance(await client.lost, ConnectionLost)

    async def interrupt(self, command: Command) -> None:
        """End it as a user does."""
        command.signal(signal.SIGINT)
        await self.assertExit(command, ExitCode.GOODBYE)


class ForwardTests(ForwardCase):
    """Connections, and what becomes of them."""

    async def test_many(self) -> None:
        """20 connections at once in one session, each with its octets and half-closes."""
        command = self.forward(ECHOES)
        number = await self.portOf(command)

        async def echo(index: int) -> None:
            data = bytes([index]) * 100_000
            client = await self.client(number)
            client.transport.write(data)
            client.transport.loseWriteConnection()
            self.assertIsInstance(await client.lost, ConnectionDone)
            self.assertEqual(client.received, data)

        await gatherResults([Deferred.fromCoroutine(echo(index)) for index in range(20)])
        await self.interrupt(command)
        self.assertEqual(command.err, b"")
        (termination,) = self.terminations
        self.assertTrue(termination.clean)

    async def test_terminated(self) -> None:
        """SIGTERM and SIGHUP end it as Ctrl-C does; connections are cut."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            service = Service()
            command = self.forward(Factory.forProtocol(lambda service=service: service))
            client = await self.client(await self.portOf(command))
            await client.got(GREETING)
            command.signal(number)
            await self.assertExit(command, ExitCode.GOODBYE)
            self.assertIsInstance(await client.lost, ConnectionLost)
            self.assertIsInstance(await service.lost, StreamCut)

    async def test_refused(self) -> None:
        """One that is refused is cut, and told; the next one may be taken."""
        refusing = Refusing(StopCode.UNREACHABLE)
        command = self.forward(refusing)
        number = await self.portOf(command)
        await self.assertCut(number)
        await command.wrote(b"thing: it of lamp refused the connection")
        service = Service()
        refusing.streamRequested = (  # type: ignore[method-assign, assignment]
            lambda protocol, label: Factory.forProtocol(lambda: service)
        )
        client = await self.client(number)
        await client.got(GREETING)
        service.transport.loseConnection()
        self.assertIsInstance(await client.lost, ConnectionDone)
        await self.interrupt(command)

    async def test_cut(self) -> None:
        """One whose thing goes away is cut, and told; what came before has arrived."""
        service = Service()
        command = self.forward(Factory.forProtocol(lambda: service))
        client = await self.client(await self.portOf(command))
        await client.got(GREETING)
        service.transport.abortConnection(StopCode.WENT_AWAY)
        self.assertIsInstance(await client.lost, ConnectionLost)
        await command.wrote(b"thing: lamp went away")
        await self.interrupt(command)

    async def test_clientGoesAway(self) -> None:
        """A client that is cut cuts its stream, and no other."""
        services = [Service(), Service()]
        left = list(services)
        command = self.forward(Factory.forProtocol(lambda: left.pop(0)))
        number = await self.portOf(command)
        clients = [await self.client(number) for _ in services]
        for client in clients:
            await client.got(GREETING)
        clients[0].transport.abortConnection()
        lost = [service.lost for service in services]
        reason, index = await DeferredList(lost, fireOnOneCallback=True)
        self.assertIsInstance(reason, StreamCut)
        services[1 - index].transport.write(b"still here")
        await clients[1].got(b"still here")
        await self.interrupt(command)

    async def test_sessionIsLost(self) -> None:
        """A session that is lost is had again; what was open in it is cut."""
        service = Service()
        left = [service]
        factory = self.serverFactory({})
        served = Factory.forProtocol(lambda: left.pop() if left else Service())
        factory.serve("reach:it:lamp", served)
        server = f"127.0.0.1:{self.listen(factory)}"
        believed = ("--server", server, "--server-key", self.key.fingerprint)
        command = self.run_("reach", *believed, "--listen", "0", "lamp", "it")
        number = await self.portOf(command)
        client = await self.client(number)
        await client.got(GREETING)
        (session,) = factory.sessions
        session.abort()
        self.assertIsInstance(await client.lost, ConnectionLost)
        await command.wrote(b"thing: there is no session: ")
        late = await self.client(number)  # It is joined with a stream as soon as that can be.
        await command.wrote(b"thing: the session is up again\n")
        await late.got(GREETING)
        await self.interrupt(command)

    async def test_tooMany(self) -> None:
        """More connections than are taken are cut, and told; the others go on."""
        factory = self.serverFactory({})
        capacity = factory.settings.capacity._replace(maxStreams=2 * MOST)
        factory.settings = replace(factory.settings, capacity=capacity)
        factory.serve("reach:it:lamp", ECHOES)
        server = f"127.0.0.1:{self.listen(factory)}"
        believed = ("--server", server, "--server-key", self.key.fingerprint)
        command = self.run_("reach", *believed, "--listen", "0", "lamp", "it")
        number = await self.portOf(command)
        clients = [await self.client(number) for _ in range(100)]
        for client in clients:
            client.transport.write(b"hello")
            await client.got(b"hello")
        left = [await self.client(number) for _ in range(MOST - len(clients))]
        await self.assertCut(number)
        await command.wrote(f"one connection too many: {MOST} are open".encode())
        for client in left:
            client.transport.abortConnection()
        clients[0].transport.write(b" again")
        await clients[0].got(b"hello again")
        await self.interrupt(command)

    async def test_noSession(self) -> None:
        """While there is no session a connection waits for one, but not for ever."""
        factory = self.serverFactory({})
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        server = f"127.0.0.1:{port.getHost().port}"
        believed = ("--server", server, "--server-key", self.key.fingerprint)
        command = self.run_("reach", *believed, "--timeout", "2", "--listen", "0", "lamp", "it")
        number = await self.portOf(command)
        await port.stopListening()
        (session,) = factory.sessions
        session.abort()
        await command.wrote(b"thing: there is no session: ")
        client = await self.client(number)
        self.assertIsInstance(await client.lost, ConnectionLost)
        await command.wrote(b"thing: a connection is refused: there was no session within 2 s\n")
        await self.interrupt(command)

    async def test_notAdmittedAnyMore(self) -> None:
        """When the server admits it no more it ends."""
        factory = self.serverFactory({})
        server = f"127.0.0.1:{self.listen(factory)}"
        believed = ("--server", server, "--server-key", self.key.fingerprint)
        command = self.run_("reach", *believed, "--listen", "0", "lamp", "it")
        await self.portOf(command)
        factory.authorizer = NoPeer()
        (session,) = factory.sessions
        session.abort()
        await self.assertExit(command, ExitCode.REJECTED)


class ListenTests(ForwardCase):
    """Where it listens."""

    async def test_unixSocket(self) -> None:
        """A socket in the file system is for the user alone; one that was left is replaced."""
        path = os.path.join(socketDirectory(self), "socket")
        for _ in range(2):
            command = self.forward(ECHOES, f"unix:{path}")
            await command.wrote(f"unix:{path}\n".encode())
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            client = await connectProtocol(UNIXClientEndpoint(reactor, path), Client())
            client.transport.write(b"hello")
            client.transport.loseWriteConnection()
            await client.lost
            self.assertEqual(client.received, b"hello")
            command.signal(signal.SIGKILL)
            await command.ended
        command = self.forward(ECHOES, f"unix:{path}")
        await command.wrote(f"unix:{path}\n".encode())
        await self.interrupt(command)
        self.assertFalse(os.path.lexists(path))

    async def test_busy(self) -> None:
        """A port that another has is said at once."""
        number = self.listen(Factory())
        command = self.forward(ECHOES, str(number))
        said = f"thing: cannot listen at 127.0.0.1:{number}: Address already in use\n".encode()
        await self.assertExit(command, ExitCode.FAILED, said)
        command = self.forward(ECHOES, "unix:/nowhere/at/all")
        await self.assertExit(command, ExitCode.FAILED, b"cannot listen at unix:/nowhere/at/all: ")

    async def test_noServer(self) -> None:
        """Without a first session it ends as any other session does."""
        nobody = self.run_("reach", "--server", "127.0.0.1:1", "--listen", "0", "lamp", "it")
        await self.assertExit(nobody, ExitCode.NOT_CONNECTED, b"cannot connect to 127.0.0.1:1: ")
        server = self.serveIt(ECHOES)
        stranger = self.run_("reach", "--server", server, "--listen", "0", "lamp", "it")
        await self.assertExit(stranger, ExitCode.NOT_TRUSTED, b"is not in")
        self.assertEqual(nobody.out + stranger.out, b"")


class ParseTests(SynchronousTestCase):
    """What can be said of where to listen."""

    def test_addresses(self) -> None:
        """A port alone is one of loopback."""
        for text, address, shown in (
            ("8080", ListenAddress("127.0.0.1", 8080), "127.0.0.1:8080"),
            ("localhost:8080", ListenAddress("127.0.0.1", 8080), "127.0.0.1:8080"),
            ("0.0.0.0:80", ListenAddress("0.0.0.0", 80), "0.0.0.0:80"),
            ("[::1]:0", ListenAddress("::1", 0), "[::1]:0"),
            ("unix:/run/web", ListenAddress(path="/run/web"), "unix:/run/web"),
        ):
            self.assertEqual(parseListen(text), address)
            self.assertEqual(str(address), shown)

    def test_mistakes(self) -> None:
        """What is none is a mistake."""
        for text in ("", "web", "65536", ":80", "host.example:80", "::1:80", "[127.0.0.1]:80"):
            with self.assertRaises(ValueError, msg=text):
                parseListen(text)
        with self.assertRaises(ValueError):
            parseListen("unix:")

    def test_urls(self) -> None:
        """Where it listens at all addresses, it is reached at loopback, too."""

        class Port:
            def getHost(self) -> Any:
                return self

            port = 8080

        for host, url in (
            ("127.0.0.1", "http://127.0.0.1:8080/"),
            ("0.0.0.0", "http://127.0.0.1:8080/"),
            ("::", "http://[::1]:8080/"),
            ("192.0.2.1", "http://192.0.2.1:8080/"),
        ):
            self.assertEqual(ListenAddress(host, 0).url(Port()), url)


class ArgumentTests(HomeCase):
    """What is typed."""

    def test_mistake(self) -> None:
        """An address that is none is a mistake in the command line."""
        result = self.invoke("reach", "--listen", "web:80", "lamp", "web")
        self.assertExit(result, ExitCode.USAGE, "'web' is not an address")
