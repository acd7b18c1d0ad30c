"""Sessions over real sockets and the real reactor, where only the operating system is the judge."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import inlineCallbacks
from twisted.internet.endpoints import (
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    clientFromString,
    serverFromString,
)
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests import PROJECT
from tests.anypeer import AnyPeer
from tests.clients import Choices, ClientProcess
from tests.pairs import Recorder, freshClient, freshServer
from thing.core.client import ClientConnection
from thing.core.heartbeat import TtlPolicy
from thing.errors import EndReason, ErrorCode
from thing.events import Cause, Termination
from thing.session.factory import ThingFactory
from thing.trust.authorized import Anyone

PATIENCE = 60.0
"""How long a test waits for processes and sockets at most, seconds."""


class SocketCase(TestCase):
    """A server on the loopback, on the default clock; the client's processes end with the test."""

    timeout = 120

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.processes: list[ClientProcess] = []
        self.ends: list[Termination] = []
        self.factory = self.makeFactory(1.0)
        port = self.reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.port = port.getHost().port
        self.addCleanup(self.noSessions)
        self.addCleanup(port.stopListening)
        self.addCleanup(self.endProcesses)

    def makeFactory(self, ttl: float, **choices: Any) -> ThingFactory:
        settings = freshServer(ttl=TtlPolicy(default=ttl, minimum=0.1), **choices)
        factory = ThingFactory(settings, Anyone())
        factory.protocol = Recorder
        return factory

    def clientFactory(self) -> ThingFactory:
        factory = ThingFactory(freshClient(), AnyPeer())
        factory.protocol = Recorder
        return factory

    @inlineCallbacks
    def until(self, condition: Callable[[], object]) -> Generator[Any, Any, None]:
        """Let the reactor run until something is so; fail after a long while."""
        end = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), end, "it took too long")
            yield deferLater(self.reactor, 0.01)

    @inlineCallbacks
    def endProcesses(self) -> Generator[Any, Any, None]:
        for process in self.processes:
            process.end()
        yield self.until(lambda: all(process.over for process in self.processes))

    @inlineCallbacks
    def noSessions(self) -> Generator[Any, Any, None]:
        yield self.until(lambda: not self.factory.door.connected)
        self.assertEqual(self.factory.sessions, set())
        self.assertEqual(self.flushLoggedErrors(), [])

    @inlineCallbacks
    def clients(self, **choices: Any) -> Generator[Any, Any, ClientProcess]:
        """A process of clients whose sessions are all up."""
        process = ClientProcess(Choices(self.port, **choices)).start(self.reactor)
        self.processes.append(process)
        yield self.until(lambda: len(process.up) == process.choices.count or process.failed)
        self.assertEqual(process.failed, [])
        return process

    @inlineCallbacks
    def goodbyes(self, process: ClientProcess) -> Generator[Any, Any, None]:
        """Drain the server; every client of the process says a clean goodbye."""
        yield self.factory.drain(10.0)
        yield self.until(lambda: process.over)
        self.assertEqual(process.failed, [])
        self.assertEqual(
            [end.cause for end in process.ends.values() if end.cause is not Cause.GOODBYE], []
        )
        self.assertEqual(set(process.ends), process.up)


class StallTests(SocketCase):
    """The server's event loop stands still."""

    @inlineCallbacks
    def test_shortStall(self) -> Generator[Any, Any, None]:
        """A handler that blocks for half a TTL costs none of twenty sessions anything."""
        self.factory.settings = freshServer(ttl=TtlPolicy(default=3.0))
        process = yield self.clients(count=20)
        time.sleep(1.5)
        yield deferLater(self.reactor, 3.0)
        self.assertEqual(len(self.factory.sessions), 20)
        yield self.goodbyes(process)

    @inlineCallbacks
    def test_longStall(self) -> Generator[Any, Any, None]:
        """
        A handler that blocks for more than two TTLs makes the server declare none of twenty
        sessions dead: their heartbeats are in its sockets. (An ordinary client gives up by
        itself; these wait.)
        """
        self.factory.settings = freshServer(ttl=TtlPolicy(default=1.5))
        process = yield self.clients(count=20, patient=True)
        time.sleep(3.5)
        yield deferLater(self.reactor, 2.5)
        self.assertEqual(len(self.factory.sessions), 20)
        self.assertEqual(sum(self.factory.terminations.values()), 0)
        self.assertGreaterEqual(self.factory.loopLag, 0.0)
        yield self.goodbyes(process)

    @inlineCallbacks
    def test_clientsGiveUp(self) -> Generator[Any, Any, None]:
        """Ordinary clients give up after a TTL without an answer, and the server sees them go."""
        process = yield self.clients(count=5)
        time.sleep(2.5)
        yield self.until(lambda: process.over)
        self.assertEqual({end.cause for end in process.ends.values()}, {Cause.LAPSED})
        yield self.until(lambda: not self.factory.sessions)
        self.assertEqual(set(self.factory.terminations), {Cause.TRUNCATED})

    @inlineCallbacks
    def test_frozenClient(self) -> Generator[Any, Any, None]:
        """Clients whose process is stopped are flat-lined."""
        process = yield self.clients(count=5)
        process.transport.signalProcess("STOP")
        yield self.until(lambda: not self.factory.sessions)
        self.assertEqual(self.factory.terminations, {Cause.FLAT_LINED: 5})

    @inlineCallbacks
    def test_killedClient(self) -> Generator[Any, Any, None]:
        """Clients whose process is killed are truncated, at once."""
        process = yield self.clients(count=5)
        process.transport.signalProcess("KILL")
        yield self.until(lambda: not self.factory.sessions)
        self.assertEqual(self.factory.terminations, {Cause.TRUNCATED: 5})


class BulkTests(SocketCase):
    """Heartbeats beside a transfer that takes several TTLs."""

    @inlineCallbacks
    def transfer(
        self, ttl: float, pause: float, messages: int
    ) -> Generator[Any, Any, ClientProcess]:
        """A client sends much at once to a server whose program is slow."""
        received: list[int] = []

        class Slow(Recorder):
            def messageReceived(self, message: bytes) -> None:
                time.sleep(pause)
                received.append(int.from_bytes(message[:4], "big"))

        self.factory.protocol = Slow
        self.factory.settings = freshServer(ttl=TtlPolicy(default=ttl))
        process = yield self.clients(bulk=messages)
        yield self.until(lambda: process.over)
        self.assertEqual(process.failed, [])
        self.assertEqual(received, list(range(len(received))))
        (end,) = process.ends.values()
        self.assertIs(end.cause, Cause.GOODBYE, f"after {len(received)} messages")
        self.assertEqual(len(received), messages)
        self.assertGreater(end.beats, 2)
        return process

    @inlineCallbacks
    def test_slowReader(self) -> Generator[Any, Any, None]:
        """Eight megabytes to a reader that takes 3 MB/s: the beats of a short TTL are answered."""
        yield self.transfer(1.5, 0.005, 500)

    @inlineCallbacks
    def test_slowerReader(self) -> Generator[Any, Any, None]:
        """Four megabytes to one that takes 0.8 MB/s: what the kernels hold is bounded, too."""
        yield self.transfer(2.0, 0.02, 250)


STEPPED = """
import sys, time
from twisted.internet import reactor
wall = 0.0
reactor.seconds = lambda: time.time() + wall

from twisted.internet.endpoints import HostnameEndpoint
from tests.anypeer import AnyPeer
from tests.pairs import Recorder, freshClient, freshServer
from thing import ThingFactory, TtlPolicy

server = ThingFactory(freshServer(ttl=TtlPolicy(default=1.5)), AnyPeer())
client = ThingFactory(freshClient(), AnyPeer())
server.protocol = client.protocol = Recorder
port = reactor.listenTCP(0, server, interface="127.0.0.1").getHost().port
HostnameEndpoint(reactor, "127.0.0.1", port).connect(client)

def setWall():
    global wall
    wall += float(sys.argv[1])

server.clock.callLater(1.0, setWall)

def tell():
    (one,) = client.sessions
    print(one.of("heartbeatAcknowledged")[-1], len(server.sessions), dict(server.terminations))
    reactor.stop()

server.clock.callLater(4.5, tell)
reactor.run()
"""
"""A session whose process has its wall clock set after a second; tells how it fared."""


BOOTED = """
import sys, time
from pathlib import Path
real, began = time.time, time.time()
time.time = lambda: 12.0 + real() - began

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import (
    clientFromString, quoteStringArgument, serverFromString
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react
from twisted.protocols.wire import Echo
from thing import IdentityKey

here = Path(sys.argv[1])
server, thing = IdentityKey.generate(), IdentityKey.generate()
server.save(here / "server")
thing.save(here / "thing")
(here / "things").write_text(thing.publicLine("lamp"))
(here / "shared").write_text("lamp:" + "5a" * 32)
(here / "shared").chmod(0o600)

class Asks(Protocol):
    def connectionMade(self):
        self.heard, self.over = Deferred(), Deferred()
        self.transport.write(time.strftime("%Y", time.gmtime(time.time())).encode())

    def dataReceived(self, data):
        self.heard.callback(data.decode())

    def connectionLost(self, reason):
        self.over.callback(None)

@inlineCallbacks
def main(reactor):
    served = f"thing:0:interface=127.0.0.1:identity={here}/server:authorized={here}/things"
    endpoint = serverFromString(reactor, f"{served}:presharedKeys={here}/shared")
    port = yield endpoint.listen(Factory.forProtocol(Echo))
    where = f"thing:127.0.0.1:{port.getHost().port}"
    believed = quoteStringArgument(server.fingerprint)
    byKey = f"{where}:identity={here}/thing:serverKey={believed}"
    for described in (byKey, f"{where}:presharedKey={here}/shared"):
        client = clientFromString(reactor, described)
        for _ in range(2):
            asks = yield client.connect(Factory.forProtocol(Asks))
            said = yield asks.heard
            session = asks.transport.session
            print(said, session.peer.kind.name, session.resumed)
            asks.transport.loseConnection()
            yield asks.over
    yield port.stopListening()

react(main)
"""
"""A server and two clients of one process, whose day is the first of January 1970."""


class BootTests(TestCase):
    """Whoever has no clock of the day starts with the first one."""

    def test_1970(self) -> None:
        """With keys as ssh has them, and with a pre-shared one, sessions come up, and come back."""
        here = Path(self.mktemp()).absolute()
        here.mkdir()
        result = subprocess.run(
            [sys.executable, "-c", BOOTED, str(here)],
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=PROJECT,
        )
        self.assertEqual(result.stderr, "")
        self.assertEqual(
            result.stdout.splitlines(),
            [
                "1970 ED25519 False",
                "1970 ED25519 True",
                "1970 PRESHARED False",
                "1970 PRESHARED False",
            ],
        )


class WallClockTests(TestCase):
    """The wall clock is set by an hour under a live session, in a process of its own."""

    def step(self, seconds: float) -> None:
        result = subprocess.run(
            [sys.executable, "-c", STEPPED, str(seconds)],
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=PROJECT,
        )
        beats, sessions, terminations = result.stdout.split(" ", 2)
        self.assertEqual((int(sessions), terminations), (1, "{}\n"))
        self.assertIn(int(beats), range(5, 10))  # One every half second.

    def test_back(self) -> None:
        """An hour back: no session dies, none freezes, and the beat goes on."""
        self.step(-3600)

    def test_forward(self) -> None:
        """An hour forward: the same."""
        self.step(3600)


class FinalWordTests(SocketCase):
    """A final word reaches the peer, whatever else is under way."""

    @inlineCallbacks
    def session(self, endpoint: Any = None) -> Generator[Any, Any, tuple[Recorder, Recorder]]:
        endpoint = endpoint or clientFromString(self.reactor, f"tcp:127.0.0.1:{self.port}")
        client = yield endpoint.connect(self.clientFactory())
        yield client.whenEstablished()
        yield self.until(lambda: self.factory.sessions)
        (server,) = self.factory.sessions
        return server, client

    @inlineCallbacks
    def test_rejectUnderLoad(self) -> Generator[Any, Any, None]:
        """The server ends a session that sends it megabytes: the client learns the code."""
        server, client = yield self.session()
        for _ in range(100):
            client.sendMessage(bytes(50_000))
        server.doing["messageReceived"] = lambda _: server.reject(ErrorCode.INTERNAL_ERROR)
        termination = yield client.whenTerminated()
        self.assertIs(termination.code, ErrorCode.INTERNAL_ERROR)
        self.assertTrue(termination.byPeer)
        yield server.whenTerminated()

    @inlineCallbacks
    def flatLine(self, endpoint: Any = None) -> Generator[Any, Any, None]:
        """A client that ignores SGA is flat-lined, and reads that."""
        server, client = yield self.session(endpoint)
        self.patch(ClientConnection, "_leave", lambda core: None)
        server.goAway(EndReason.OVERLOADED, grace=0.3, retryAfter=9.0)
        termination = yield client.whenTerminated()
        self.assertIs(termination.cause, Cause.FLAT_LINED)
        self.assertIs(termination.reason, EndReason.OVERLOADED)
        self.assertEqual(termination.retryAfter, 9.0)
        yield server.whenTerminated()

    def test_tcp(self) -> Any:
        """Over TCP."""
        return self.flatLine()

    @inlineCallbacks
    def test_unix(self) -> Generator[Any, Any, None]:
        """Over a unix socket."""
        with tempfile.TemporaryDirectory() as directory:  # A short path, as these sockets need.
            path = f"{directory}/thing"
            listening = yield UNIXServerEndpoint(self.reactor, path).listen(self.factory)
            yield self.flatLine(UNIXClientEndpoint(self.reactor, path))
            yield listening.stopListening()

    @inlineCallbacks
    def test_tls(self) -> Generator[Any, Any, None]:
        """Over TLS, whose handshake is not taken for this protocol's."""
        certificate = self.certificate()
        listening = yield serverFromString(
            self.reactor, f"ssl:0:interface=127.0.0.1:privateKey={certificate}"
        ).listen(self.factory)
        port = listening.getHost().port
        endpoint = clientFromString(self.reactor, f"ssl:127.0.0.1:{port}")
        server, client = yield self.session(endpoint)
        for side in (server, client):
            self.assertEqual(side.names(), ["connectionMade", "handshakeCompleted"])
        sent = [bytes(100_000) for _ in range(20)]
        for message in sent:
            client.sendMessage(message)
        yield client.goodbye()
        yield server.whenTerminated()
        self.assertIs(server.end.cause, Cause.GOODBYE)
        self.assertEqual(server.messages, sent)
        yield self.flatLine(endpoint)
        yield listening.stopListening()

    def certificate(self) -> str:
        """A file with a new key and a certificate of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        path = Path(self.mktemp())
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return str(path)
