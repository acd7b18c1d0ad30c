"""One side on asyncio, the other on Twisted, over real sockets: they keep the same promises."""

from __future__ import annotations

from importlib.util import find_spec

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from tests.asyncio.peer import DONE, MESSAGES, OCTETS
from tests.docs.test_docs import GOODBYE, DocumentedPrograms, Program
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol
from thing.testing import Keys, LoopbackServer

WITHOUT_UVLOOP = None if find_spec("uvloop") else "uvloop is not installed"


@implementer(IHalfCloseableProtocol)
class Echo(Protocol):
    """Sends back what comes, as fast as it is taken."""

    def connectionMade(self) -> None:
        self.transport.registerProducer(self.transport, True)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]

    def readConnectionLost(self) -> None:
        self.transport.unregisterProducer()  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]

    def writeConnectionLost(self) -> None:
        """The other half is still there."""


class Sender(Protocol):
    """Sends octets, and waits until as many have come back."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(OCTETS)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        if len(self.got) == len(OCTETS):
            self.transport.loseConnection()  # type: ignore[union-attr]
            self.done.callback(None)


class Peer(ThingProtocol):
    """Twisted's side of the conversation of :mod:`tests.asyncio.peer`."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.all: Deferred[None] = Deferred()
        self.over: Deferred[None] = Deferred()

    def handshakeCompleted(self) -> None:
        self.streams.serve("echo", Factory.forProtocol(Echo))

    def messageReceived(self, message: bytes) -> None:
        if message == DONE:
            self.over.callback(None)
        else:
            self.got.append(message)
            if len(self.got) == len(MESSAGES):
                self.all.callback(None)

    def requestReceived(self, data: bytes) -> bytes:
        return data[::-1]

    async def converse(self) -> None:
        """All at once; then wait for the other side to be through, too."""
        for message in MESSAGES:
            self.sendMessage(message)
        sender: Sender = await self.streams.endpoint("echo").connect(Factory.forProtocol(Sender))  # type: ignore[assignment]
        await gatherResults([sender.done, self.all])
        assert sender.got == OCTETS
        assert self.got == MESSAGES
        assert await self.request(b"abc") == b"cba"
        self.sendMessage(DONE)
        await self.over


class InteropTests(DocumentedPrograms):
    """Twisted in this process, asyncio in another."""

    loop = "asyncio"

    def setUp(self) -> None:
        super().setUp()
        self.keys = Keys()

    def peer(self, role: str, port: int) -> Program:
        """The other process."""
        key, other = self.keys.client, self.keys.server.fingerprint
        if role == "server":
            key, other = self.keys.server, self.keys.client.fingerprint
        key.save(self.directory / "key")
        words = (role, str(port), str(self.directory / "key"), other)
        return self.run_("-m", "tests.asyncio.peer", self.loop, *words)

    async def test_client(self) -> None:
        """A client on asyncio and Twisted's server."""
        server = LoopbackServer(self, Peer, keys=self.keys)
        arrived: Deferred[Peer] = Deferred()
        server.factory.observers.append(
            lambda session, event: arrived.called or (session.session and arrived.callback(session))
        )
        client = self.peer("client", server.port)
        session = await arrived
        await session.whenEstablished()
        await session.converse()
        self.assertTrue((await session.whenTerminated()).clean)
        self.assertEqual(await client.exits(), 0, client.output)
        self.assertIn(GOODBYE, client.output)

    async def test_server(self) -> None:
        """A server on asyncio and Twisted's client."""
        from twisted.internet import reactor

        server = self.peer("server", 0)
        port = int((await server.says(r"port \d+")).split()[1])
        factory = ThingFactory(self.keys.clientSettings(), self.keys.servers)
        factory.protocol = Peer
        session = await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(factory)
        assert isinstance(session, Peer)
        await session.whenEstablished()
        await session.converse()
        self.assertTrue((await session.goodbye()).clean)
        self.assertEqual(await server.exits(), 0, server.output)
        self.assertIn(GOODBYE, server.output)


class UvloopTests(InteropTests):
    """The same on uvloop."""

    loop = "uvloop"
    skip = WITHOUT_UVLOOP
