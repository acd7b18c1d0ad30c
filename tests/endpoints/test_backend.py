"""Streams in front of servers that know nothing of Thing, over real sockets and in memory."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.daemon.test_forward import (
    BackendFactory,
    BackendServer,
    Client,
    ForwardCase,
    HalfBackend,
    LaterEndpoint,
    LineServer,
    Pieces,
    octets,
    whenCalled,
)
from tests.helpers import serverSettings, socketDirectory
from tests.pairs import Pair, firings
from thing import Anyone, IdentityKey, ServerSettings, ThingFactory
from thing.endpoints import backend as backendModule
from thing.endpoints.backend import (
    CONNECT_TIMEOUT,
    UNREACHABLE_LOGGED,
    UNREACHABLE_WINDOW,
    Backend,
)
from thing.errors import StopCode, StreamRefused
from thing.session.reasons import StreamCut


class ServeCase(ForwardCase):
    """Tests with servers, each behind the streams of a label."""

    async def serveLabels(self, **backends: Any) -> None:
        """A server with a backend for each label; each is a factory, or an endpoint's text."""
        from twisted.internet import reactor

        settings = ServerSettings(
            credential=IdentityKey.generate(), allowAnonymous=True, closeTimeout=5.0
        )
        self.server: Any = ThingFactory(settings, Anyone())
        self.backends: dict[str, Backend] = {}
        for label, backend in backends.items():
            where = backend
            if isinstance(backend, Factory):
                where = f"tcp:127.0.0.1:{await self.listen(backend)}"
            self.backends[label] = Backend(clientFromString(reactor, where))
            self.server.serve(label, self.backends[label])
        self.backend = next(iter(self.backends.values()))
        self.port = await self.listen(self.server)
        self.addCleanup(self.assertNothingLeft)

    async def opened(self, client: Client, label: str, kind: Any = HalfBackend) -> Any:
        """The client's protocol in a new stream."""
        return await client.streams.endpoint(label).connect(BackendFactory(kind))

    async def joined(self) -> tuple[Client, Any, Any]:
        """A client with a stream; its protocol there, and the backend's."""
        backends = BackendFactory(HalfBackend)
        await self.serveLabels(talk=backends)
        client = await self.connect()
        stream = await self.opened(client, "talk")
        return client, stream, await backends.connected


class ServeTests(ServeCase):
    """What clients and backends see of each other."""

    async def test_conversations(self) -> None:
        """Streams of a session go to the servers of their labels, each with a connection."""
        other = BackendFactory(BackendServer)
        await self.serveLabels(lines=BackendFactory(LineServer), other=other)
        client = await self.connect()
        first, second = [await self.opened(client, "lines") for _ in range(2)]
        third = await self.opened(client, "other")
        first.transport.write(b"one\r\n")
        second.transport.write(b"two\r\n")
        third.transport.write(b"three\r\n")
        await first.whenReceived(12)
        await second.whenReceived(12)
        await (await other.connected).whenReceived(7)
        self.assertEqual(bytes(first.received), b"ready\r\nONE\r\n")
        self.assertEqual(bytes(second.received), b"ready\r\nTWO\r\n")
        self.assertEqual(len(self.backends["lines"].connections), 2)
        third.transport.loseConnection()
        await third.lost

    async def test_otherLabel(self) -> None:
        """What nobody serves is refused as ever."""
        await self.serveLabels(lines=BackendFactory(LineServer))
        client = await self.connect()
        error = await self.assertFailure(
            client.streams.endpoint("other").connect(Factory()), StreamRefused
        )
        self.assertIs(error.code, StopCode.NOT_TAKEN)

    async def test_unreachable(self) -> None:
        """If nothing listens there, the stream is refused; a line says why, the session lives."""
        await self.serveLabels(gone="unix:/nonexistent/socket")
        client = await self.connect()
        error = await self.assertFailure(
            client.streams.endpoint("gone").connect(Factory()), StreamRefused
        )
        self.assertIs(error.code, StopCode.UNREACHABLE)
        self.assertIsNone(client.termination)
        (line,) = self.logged
        self.assertIn("'gone'", line)
        self.assertIn("cannot be reached", line)

    async def test_halfCloses(self) -> None:
        """Each direction ends for itself; when both have, all is closed in order."""
        client, stream, backend = await self.joined()
        data = octets("there", 1 << 20)
        stream.transport.write(data)
        stream.transport.loseWriteConnection()
        await backend.readEnded
        self.assertEqual(bytes(backend.received), data)
        backend.transport.write(b"answer")
        backend.transport.loseWriteConnection()
        self.assertIsInstance(await stream.lost, ConnectionDone)
        self.assertEqual(bytes(stream.received), b"answer")
        backend.transport.loseConnection()
        self.assertIsInstance(await backend.lost, ConnectionDone)
        self.assertIsNone(client.termination)

    async def test_backendsHalf(self) -> None:
        """A backend can end its direction first."""
        _, stream, backend = await self.joined()
        backend.transport.write(b"all")
        backend.transport.loseWriteConnection()
        await stream.readEnded
        self.assertEqual(bytes(stream.received), b"all")
        stream.transport.write(b"thanks")
        await backend.whenReceived(6)
        stream.transport.loseConnection()
        await backend.readEnded
        backend.transport.loseConnection()
        self.assertIsInstance(await backend.lost, ConnectionDone)
        self.assertIsInstance(await stream.lost, ConnectionDone)

    async def test_backendResets(self) -> None:
        """A connection that is reset is a stream that is cut; the session lives."""
        client, stream, backend = await self.joined()
        backend.transport.write(b"part")
        await stream.whenReceived(4)
        backend.transport.abortConnection()
        self.assertIsInstance(await stream.lost, StreamCut)
        self.assertIsNone(client.termination)

    async def test_clientStops(self) -> None:
        """A stream that is stopped is a connection that is reset, behind what came before."""
        _, stream, backend = await self.joined()
        stream.transport.write(b"part")
        await backend.whenReceived(4)
        stream.transport.abortConnection()
        self.assertIsInstance(await backend.lost, ConnectionLost)
        self.assertNotIn("read", backend.halves)

    async def test_sessionIsCut(self) -> None:
        """So it is if the session is cut."""
        client, stream, backend = await self.joined()
        stream.transport.write(b"part")
        await backend.whenReceived(4)
        client.transport.abortConnection()
        self.assertIsInstance(await backend.lost, ConnectionLost)
        self.assertNotIn("read", backend.halves)

    async def test_unixSocket(self) -> None:
        """A backend at a unix socket cannot tell a cut from an end, as the pages say."""
        from twisted.internet import reactor

        self.patch(backendModule, "RESET_DELAY", 0.01)
        backends = BackendFactory(BackendServer)
        path = os.path.join(socketDirectory(self), "socket")
        port = await serverFromString(reactor, f"unix:{path}").listen(backends)
        self.addCleanup(port.stopListening)
        await self.serveLabels(talk=f"unix:{path}")
        stream = await self.opened(await self.connect(), "talk")
        stream.transport.write(b"part")
        there = await backends.connected
        await there.whenReceived(4)
        stream.transport.abortConnection()
        self.assertIsInstance(await there.lost, ConnectionDone)

    async def test_goodbye(self) -> None:
        """A goodbye ends what each stream sends in order."""
        client, stream, backend = await self.joined()
        stream.transport.write(b"all")
        client.goodbye()
        await backend.readEnded
        self.assertEqual(bytes(backend.received), b"all")
        backend.transport.loseConnection()
        self.assertIsInstance(await backend.lost, ConnectionDone)
        await self.backend.stopService()
        self.assertEqual(self.backend.connections, set())

    async def test_slowBackend(self) -> None:
        """A backend that reads nothing holds up its own stream alone; all arrives in the end."""
        client, stream, backend = await self.joined()
        backend.transport.pauseProducing()
        (connection,) = self.backend.connections
        assert IPushProducer.providedBy(connection._other)
        full = whenCalled(connection._other, "pauseProducing")
        data = octets("there", 32 << 20)
        pieces = Pieces(stream.transport, data)
        await full
        client.sendMessage(b"the main stream goes on")
        another = await self.opened(client, "talk")
        self.assertFalse(pieces.done.called)
        backend.transport.resumeProducing()
        await backend.whenReceived(len(data))
        self.assertEqual(bytes(backend.received), data)
        another.transport.abortConnection()
        await another.lost

    async def test_slowClient(self) -> None:
        """A client that takes nothing slows the backend down, and all arrives in the end."""
        _, stream, backend = await self.joined()
        stream.transport.pauseProducing()
        (connection,) = self.backend.connections
        full = whenCalled(connection, "pauseProducing")
        data = octets("back", 32 << 20)
        pieces = Pieces(backend.transport, data)
        await full
        self.assertFalse(pieces.done.called)
        stream.transport.resumeProducing()
        await stream.whenReceived(len(data))
        self.assertEqual(bytes(stream.received), data)


class ConnectingTests(SynchronousTestCase):
    """What happens while the backend is not there yet, in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = LaterEndpoint()
        self.backend = Backend(self.endpoint)
        factory = ThingFactory(
            serverSettings(allowAnonymous=True), Anyone(), clock=self.clock, jitter=lambda: 0.5
        )
        factory.serve("later", self.backend)
        self.pair = Pair(clock=self.clock, serverFactory=factory).up()
        self.connecting = self.pair.client.streams.endpoint("later").connect(
            BackendFactory(BackendServer)
        )
        self.fired = firings(self.connecting)
        self.pair.pump()

    def link(self) -> tuple[Any, BackendServer]:
        """Let the backend be there; the connection's pair, and the backend."""
        other = Pair(clock=self.clock)
        (factory,) = self.endpoint.factories
        connection, server = factory.buildProtocol(None), BackendServer()
        server.factory = BackendFactory(BackendServer)
        other.clientEnd.connect(server)
        other.serverEnd.connect(connection)
        self.endpoint.connecting.callback(connection)
        return other, server

    def test_accepted(self) -> None:
        """The stream is accepted when the backend is there, and not before."""
        self.pair.advance(CONNECT_TIMEOUT - 1)
        self.assertEqual(self.fired, [])
        other, server = self.link()
        self.pair.pump()
        (stream,) = self.fired
        stream.transport.write(b"hello")
        self.pair.advance(1)
        other.pump()
        self.assertEqual(bytes(server.received), b"hello")

    def test_timeout(self) -> None:
        """A backend that does not answer in time cannot be reached."""
        self.pair.advance(CONNECT_TIMEOUT + 1)
        self.assertEqual(self.endpoint.cancelled, 1)
        self.assertIs(self.fired[0].code, StopCode.UNREACHABLE)
        self.assertIsNone(self.pair.client.termination)

    def test_logged(self) -> None:
        """Whoever opens streams in vain fills no log: so many have a line, then their number."""
        self.connecting.addErrback(lambda _: None)
        with capturedLogs() as events:
            self.endpoint.connecting.errback(ConnectionRefusedError())
            for _ in range(UNREACHABLE_LOGGED + 4):
                answer = self.backend.streamRequested(self.pair.server, "later")
                self.endpoint.connecting.errback(ConnectionRefusedError())
                self.failureResultOf(answer, StreamRefused)
            self.assertEqual(len(events), UNREACHABLE_LOGGED)
            self.clock.advance(UNREACHABLE_WINDOW)
            answer = self.backend.streamRequested(self.pair.server, "later")
            self.endpoint.connecting.errback(ConnectionRefusedError())
            self.failureResultOf(answer, StreamRefused)
        *_, held, last = [
            formatEvent(event)
            for event in events
            if event["log_namespace"] == "thing.endpoints.backend.Backend"
        ]
        self.assertEqual(held, "Streams could not be joined with a backend 5 more times")
        self.assertIn("cannot be reached", last)

    def test_places(self) -> None:
        """So many connections and no more, counted from the attempt; the next is told to wait."""
        self.backend.most = 1
        answer = self.backend.streamRequested(self.pair.server, "later")
        self.assertIs(self.failureResultOf(answer, StreamRefused).value.code, StopCode.BUSY)
        self.connecting.cancel()
        self.pair.pump()
        self.endpoint.factories.clear()
        answer = self.backend.streamRequested(self.pair.server, "later")
        self.assertNoResult(answer)
        self.link()
        self.successResultOf(answer)
        stopping = self.backend.stopService()
        self.assertNoResult(stopping)
        answer = self.backend.streamRequested(self.pair.server, "later")
        self.failureResultOf(answer, StreamRefused)

    def test_placesAgain(self) -> None:
        """What comes although it was given up is counted until it is closed."""
        self.connecting.cancel()
        self.pair.pump()
        self.assertEqual(self.backend.connections, set())
        self.successResultOf(self.backend.stopService())
        other = Pair(clock=self.clock)
        (factory,) = self.endpoint.factories
        other.serverEnd.connect(factory.buildProtocol(None))
        self.assertEqual(len(self.backend.connections), 1)
        other.pump()
        self.assertEqual(self.backend.connections, set())

    def test_aborted(self) -> None:
        """All are cut in a hurry, and what is only being made is closed when it is there."""
        self.backend.abort()
        other, server = self.link()
        other.pump()
        self.assertIsInstance(self.successResultOf(server.lost), ConnectionDone)
        self.assertEqual(self.backend.connections, set())

    def test_givenUp(self) -> None:
        """A client may give up the stream meanwhile; the attempt is given up, too."""
        self.connecting.cancel()
        self.pair.pump()
        self.assertEqual(self.endpoint.cancelled, 1)

    def test_sessionEnds(self) -> None:
        """So it is if the session ends, and nothing is left."""
        self.pair.client.abort()
        self.pair.pump()
        self.assertEqual(self.endpoint.cancelled, 1)
        self.pair.advance(CONNECT_TIMEOUT + 5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_notTaken(self) -> None:
        """A backend that is there when nobody builds the other end any more is closed again."""
        self.connecting.cancel()
        self.pair.pump()
        self.endpoint.factories.clear()
        answer = self.backend.streamRequested(self.pair.server, "other")
        other, server = self.link()
        self.successResultOf(answer)
        other.pump()
        self.assertEqual(self.backend.connections, set())
        self.assertIsInstance(self.successResultOf(server.lost), ConnectionDone)
