"""A real Redis for a test, a network to it that can be cut, and nodes that share it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import hiredis
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from tests.anypeer import AnyPeer
from tests.fleet.inmemory import Book
from tests.pairs import freshClient, freshServer
from thing import Anonymous, IdentityKey, ThingFactory, ThingProtocol
from thing.fleet import FedEvent, Filter, Kind
from thing.fleet.redis import RedisPresence, parseAddress
from thing.fleet.redis.script import pairsOf

PATIENCE = 60.0
"""How long anything may take, seconds: the machine may be slow, and busy."""

SHORT = 5.0
"""A lease for tests that wait until it has run out, seconds; a busy machine must not be late."""


def redisProgram() -> str:
    """Where redis-server is, or valkey-server."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise SkipTest("redis-server is not installed")
    return found


class RedisServer:
    """
    A Redis of its own, on a unix socket in a directory of its own.

    :ivar path: the socket.
    """

    def __init__(self, *options: str) -> None:
        self.directory = tempfile.mkdtemp(prefix="thing-redis-")
        self.path = os.path.join(self.directory, "redis.sock")
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> RedisServer:
        """Start it, and wait until it answers."""
        program = redisProgram()
        self._process = subprocess.Popen(
            [
                *(program, "--port", "0", "--unixsocket", self.path, "--save", ""),
                *("--dir", self.directory, "--logfile", f"{self.directory}/log"),
                *self._options,
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wait()
        return self

    def wait(self) -> None:
        """Wait until it answers, and has read its data."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                if not isinstance(self.ask("PING"), Exception):
                    return
            except OSError:
                pass
            if time.monotonic() > until:
                raise AssertionError(Path(self.directory, "log").read_text())
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it without a warning."""
        if self._process is not None:
            os.kill(self.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it, so that it neither answers nor hangs up."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def remove(self) -> None:
        """End it, and remove what it left."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def ask(self, *words: Any) -> Any:
        """Ask it something, and wait for the answer."""
        with RedisClient(self.path) as client:
            return client.ask(*words)


class RedisClient:
    """A connection to a Redis, by its socket's path or its port; it waits for each answer."""

    def __init__(self, where: str | int) -> None:
        family = socket.AF_INET if isinstance(where, int) else socket.AF_UNIX
        self._socket = socket.socket(family)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(("127.0.0.1", where) if isinstance(where, int) else where)
        self._reader = hiredis.Reader()

    def __enter__(self) -> RedisClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, *words: Any) -> Any:
        """Ask something; an error is returned and not raised."""
        self._socket.sendall(hiredis.pack_command(words))
        while (answer := self._reader.gets()) is False:
            data = self._socket.recv(1 << 16)
            if not data:
                raise OSError("hung up")
            self._reader.feed(data)
        return answer


class Network:
    """
    What is between one node and Redis.

    :ivar path: where the node finds Redis.
    """

    def __init__(self, reactor: Any, server: RedisServer, name: str) -> None:
        self.path = os.path.join(server.directory, f"to-{name}.sock")
        self.mode = "open"
        self._reactor = reactor
        self._target = UNIXClientEndpoint(reactor, server.path)
        self._ends: set[_End] = set()
        self._port: Any = None

    async def start(self) -> None:
        """Let nodes connect."""
        factory = Factory.forProtocol(lambda: _End(self))
        self._port = await UNIXServerEndpoint(self._reactor, self.path).listen(factory)

    async def stop(self) -> None:
        """Cut it for good."""
        await self._port.stopListening()
        self.reset()

    def join(self, end: _End) -> None:
        """Connect one end with another, at Redis."""
        if self.mode == "reset":
            end.transport.abortConnection()
        elif self.mode == "open":
            other = _End(self, end)
            self._target.connect(Factory.forProtocol(lambda: other)).addErrback(
                lambda _: end.transport.abortConnection()
            )

    def swallow(self) -> None:
        """Carry nothing any more, and tell nobody."""
        self.mode = "swallow"
        for end in self._ends:
            end.transport.pauseProducing()

    def reset(self) -> None:
        """End every connection, and take no new one."""
        self.mode = "reset"
        for end in list(self._ends):
            end.transport.abortConnection()

    def mend(self) -> None:
        """Be as at first; what was swallowed on the way is lost with its connection."""
        self.reset()
        self.mode = "open"


class _End(Protocol):
    """One end of a connection through a network."""

    def __init__(self, network: Network, other: _End | None = None) -> None:
        self.network = network
        self.other = other
        self.kept: list[bytes] = []

    def connectionMade(self) -> None:
        self.network._ends.add(self)
        if self.network.mode == "swallow":
            self.transport.pauseProducing()
        if self.other is None:
            self.network.join(self)
            return
        self.other.other = self
        for data in self.other.kept:
            self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        if self.network.mode != "open":
            return
        if self.other is None:
            self.kept.append(data)
        else:
            self.other.transport.write(data)

    def connectionLost(self, reason: object = None) -> None:
        self.network._ends.discard(self)
        if self.other is not None and self.network.mode != "swallow":
            self.other.transport.loseConnection()


class Server(ThingProtocol):
    """A node's side: it keeps what it was sent."""

    def messageReceived(self, message: bytes) -> None:
        if message == b"fail":
            raise RuntimeError("told to fail")


class Client(ThingProtocol):
    """
    A thing.

    :ivar messages: what it was sent.
    """

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def requestReceived(self, data: bytes) -> bytes:
        self.messages.append(data)
        return b"answer to " + data


class Node:
    """A node: a server on a port of its own, and its presence."""

    def __init__(self, reactor: Any, name: str, url: str, book: Book, **choices: Any) -> None:
        self.name = name
        settings = freshServer(allowAnonymous=True, closeTimeout=3.0)
        self.factory = ThingFactory(settings, book)
        self.factory.protocol = Server
        self.port: Any = None
        self.told: list[FedEvent | None] = []
        self.presence = RedisPresence(
            reactor,
            parseAddress(url),
            self.factory,
            node=name,
            **choices,
        )
        self._reactor = reactor

    async def start(self) -> None:
        """Listen, and connect to the registry."""
        endpoint = TCP4ServerEndpoint(self._reactor, 0, interface="127.0.0.1")
        self.port = await endpoint.listen(self.factory)
        self.presence.startService()

    async def stop(self) -> None:
        """Stop in order."""
        if self.port is not None:
            port, self.port = self.port, None
            await port.stopListening()
            await self.factory.drain(1.0)
        if self.presence.running:
            await self.presence.stopService()

    def events(self, id: str | None = None) -> list[Kind]:
        """What it was told."""
        return [
            fed.event.kind for fed in self.told if fed is not None and id in (None, fed.event.id)
        ]


class FleetCase(TestCase):
    """Tests with several nodes that share a real Redis."""

    timeout = 4 * PATIENCE
    redisOptions: tuple[str, ...] = ()

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.book = Book()
        self.keys: dict[str, IdentityKey] = {}
        self.nodes: list[Node] = []
        self.things: list[Client] = []
        self.networks: list[Network] = []
        self.redis = RedisServer(*self.redisOptions).start()
        self.addCleanup(self.redis.remove)
        self.addCleanup(self._stop)

    async def _stop(self) -> None:
        for client in self.things:
            if client.termination is None:
                client.abort()
        await DeferredList([client.whenTerminated() for client in self.things])
        for node in self.nodes:
            await node.stop()
        for network in self.networks:
            await network.stop()

    async def node(self, name: str, *, network: Network | None = None, **choices: Any) -> Node:
        """A node that runs."""
        path = self.redis.path if network is None else network.path
        url = choices.pop("url", f"unix://{path}")
        node = Node(self.reactor, name, url, self.book, **choices)
        self.nodes.append(node)
        await node.start()
        return node

    async def connected(self, *nodes: Node) -> None:
        """Wait until nodes have the registry."""
        for node in nodes:
            await self.until(lambda node=node: node.presence.registry == "connected")

    async def three(self, **choices: Any) -> list[Node]:
        """Three nodes, connected."""
        nodes = [await self.node(name, **choices) for name in ("a", "b", "c")]
        await self.connected(*nodes)
        return nodes

    async def network(self, name: str) -> Network:
        """A network to Redis that can be cut."""
        network = Network(self.reactor, self.redis, name)
        self.networks.append(network)
        await network.start()
        return network

    def key(self, name: str) -> IdentityKey:
        """A thing's key, which the book knows."""
        if name not in self.keys:
            self.keys[name] = key = IdentityKey.generate()
            self.book.names[key.fingerprint] = name
        return self.keys[name]

    async def dial(self, node: Node, name: str | None, **choices: Any) -> Client:
        """A thing connects to a node; whether it is let in is still to be seen."""
        credential = choices.pop("key", None) or (Anonymous() if name is None else self.key(name))
        factory = ThingFactory(freshClient(credential=credential, **choices), AnyPeer())
        factory.protocol = Client
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", node.port.getHost().port)
        client: Any = await endpoint.connect(factory)
        self.things.append(client)
        return client

    async def connect(self, node: Node, name: str | None, **choices: Any) -> Client:
        """A thing has a session with a node."""
        client = await self.dial(node, name, **choices)
        await client.whenEstablished()
        await self.until(lambda: client.sessionId in {p.sessionId for p in node.factory.sessions})
        return client

    def later(self, seconds: float) -> Deferred[None]:
        """Wait."""
        return deferLater(self.reactor, seconds)

    async def until(self, holds: Callable[[], object], within: float = PATIENCE) -> None:
        """Wait until something holds."""
        begun = time.monotonic()
        while True:
            held = holds()
            if await held if isinstance(held, Awaitable) else held:
                return
            if time.monotonic() - begun > within:
                self.fail(f"it does not hold after {within:g} s")
            await self.later(0.05)

    async def here(self, node: Node) -> dict[str, str] | None:
        """Who is where, as a node says; None while it does not know of all."""
        page = await node.presence.things("", 1000, Filter())
        if not page.complete:
            return None
        return {record.id: record.node for record in page.things}

    async def assertHere(
        self, expected: dict[str, str], *nodes: Node, within: float = PATIENCE
    ) -> None:
        """Soon each node knows who is where."""

        async def agreed() -> bool:
            return all([await self.here(node) == expected for node in nodes])

        try:
            await self.until(agreed, within)
        except self.failureException:
            said = [await self.here(node) for node in nodes]
            self.fail(f"{expected} is the truth, and the nodes say {said}")

    def feed(self) -> list[dict[str, str]]:
        """All that is in the stream."""
        return [
            {name.decode(): value.decode() for name, value in pairsOf(flat)}
            for _, flat in self.redis.ask("XRANGE", "thing:feed", "-", "+")
        ]

    def kindsOf(self, id: str) -> list[str]:
        """What the stream tells of one thing."""
        return [entry["kind"] for entry in self.feed() if entry["id"] == id]

    def assertOrdered(self) -> None:
        """The events of each thing are in the order of (epoch, sequence)."""
        latest: dict[str, tuple[int, int]] = {}
        for entry in self.feed():
            place = int(entry["epoch"]), int(entry["sequence"])
            self.assertGreater(place, latest.get(entry["id"], (0, 0)), entry)
            latest[entry["id"]] = place
