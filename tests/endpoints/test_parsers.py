"""Endpoint descriptions: what they come to, what is wrong in them, and real sockets behind them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography import x509
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, gatherResults, inlineCallbacks
from twisted.internet.endpoints import (
    clientFromString,
    connectProtocol,
    quoteStringArgument,
    serverFromString,
)
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    DNSLookupError,
)
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import IPlugin
from twisted.protocols import amp
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests import PROJECT
from tests.certificates import CLIENT, NOW, SERVER, authority, issue, writeCertificate
from thing.core.groups import GroupName
from thing.core.records import Aead
from thing.core.settings import ClientSettings, ServerSettings
from thing.endpoints import (
    Goodbye,
    IThingTransport,
    SentAway,
    ThingClientEndpoint,
    ThingServerEndpoint,
    parsers,
)
from thing.endpoints.parsers import CLIENT_FIELDS, SERVER_FIELDS
from thing.errors import ErrorCode, HandshakeFailed, StreamRefused
from thing.events import Cause
from thing.identity import CredentialKind
from thing.session.clock import SteadyClock
from thing.trust import IdentityKey
from thing.trust.keywords import Keyword
from twisted.plugins import thing_endpoints

MANUAL = PROJECT / "docs" / "endpoints.rst"

PIN = "ycDvZaEpCgYPX0f8DvYwpHTgyzi4tA9CzREGhyPhxgA"
"""A fingerprint, without SHA256 and the colon."""

IMPORT_PLUGIN = """
import sys
import twisted.plugins.thing_endpoints
print(*sys.modules, sep="\\n")
"""


class Files:
    """A test's files of keys."""

    def setUp(self) -> None:
        self.key = IdentityKey.generate()
        self.ownKey = IdentityKey.generate()
        self.identity = self.saved(self.key)
        self.ownIdentity = self.saved(self.ownKey)
        self.things = self.written(self.ownKey.publicLine("lamp") + "\n")

    def saved(self, key: IdentityKey, passphrase: bytes | None = None) -> str:
        path = os.path.abspath(self.mktemp())  # type: ignore[attr-defined]
        key.save(path, passphrase)
        return path

    def written(self, content: str) -> str:
        path = os.path.abspath(self.mktemp())  # type: ignore[attr-defined]
        Path(path).write_text(content)
        os.chmod(path, 0o600)
        return path


class ParserCase(Files, SynchronousTestCase):
    """Descriptions, parsed for a reactor that connects nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = MemoryReactorClock()
        self.addCleanup(SteadyClock._perReactor.pop, self.reactor, None)

    def server(self, rest: str = "", before: str = "thing:9000") -> ThingServerEndpoint:
        """A server's endpoint, with an identity and somebody to admit."""
        endpoint = serverFromString(
            self.reactor, f"{before}:identity={self.identity}:anyone=yes{rest}"
        )
        self.assertTrue(verifyObject(IStreamServerEndpoint, endpoint))
        assert isinstance(endpoint, ThingServerEndpoint)
        return endpoint

    def serverSettings(self, rest: str) -> ServerSettings:
        settings = self.server(rest).factory.settings
        assert isinstance(settings, ServerSettings)
        return settings

    def client(
        self, rest: str = f":serverKey={PIN}", before: str = "thing:example.org:9000"
    ) -> ThingClientEndpoint:
        """A client's endpoint, with a server to believe."""
        endpoint = clientFromString(self.reactor, before + rest)
        self.assertTrue(verifyObject(IStreamClientEndpoint, endpoint))
        assert isinstance(endpoint, ThingClientEndpoint)
        return endpoint

    def clientSettings(self, rest: str = "") -> ClientSettings:
        settings = self.client(f":serverKey={PIN}{rest}").factory.settings
        assert isinstance(settings, ClientSettings)
        return settings

    def refuses(self, parse: Any, description: str, *words: str) -> None:
        """The description is refused in one line that has these words."""
        error = self.assertRaises(ValueError, parse, self.reactor, description)
        self.assertNotIn("\n", str(error))
        for word in words:
            self.assertIn(word, str(error))


class ServerParserTests(ParserCase):
    """``serverFromString``."""

    def test_whereToListen(self) -> None:
        """The fields of TCP mean what they mean to ``tcp:``."""
        self.server().listen(Factory())
        self.server(":interface=127.0.0.1:backlog=7", "thing:port=9001").listen(Factory())
        ports = [(port, backlog, host) for port, _, backlog, host in self.reactor.tcpServers]
        self.assertEqual(ports, [(9000, 50, ""), (9001, 7, "127.0.0.1")])

    def test_innerEndpoint(self) -> None:
        """Instead of a port any other description will do, its colons escaped."""
        self.server(before=r"thing:endpoint=tcp\:9002\:interface=127.0.0.1").listen(Factory())
        self.server(before=r"thing:endpoint=unix\:/run/x").listen(Factory())
        self.server(before=r"thing:endpoint=haproxy\:tcp\:9003").listen(Factory())
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [9002, 9003])
        self.assertEqual([server[0] for server in self.reactor.unixServers], ["/run/x"])

    def test_trust(self) -> None:
        """Whom to admit is read from the files that are named."""
        settings = self.serverSettings("")
        self.assertEqual(settings.credential.data, self.key.publicKey)
        self.assertTrue(settings.allowAnonymous)
        for rest, anonymous in (("", False), (":anonymous=no", False), (":anonymous=yes", True)):
            endpoint = serverFromString(
                self.reactor, f"thing:0:identity={self.identity}:authorized={self.things}{rest}"
            )
            self.assertEqual(endpoint.factory.settings.allowAnonymous, anonymous)
            kinds = endpoint.factory.settings.peerKinds
            self.assertEqual(kinds, (CredentialKind.ED25519,))

    def test_passphrase(self) -> None:
        """An encrypted key is decrypted by what a file holds."""
        path = self.saved(self.key, b"sesame")
        passphrase = self.written("sesame\n")
        description = f"thing:0:anyone=yes:identity={path}"
        endpoint = serverFromString(self.reactor, f"{description}:passphraseFile={passphrase}")
        self.assertEqual(endpoint.factory.settings.credential.data, self.key.publicKey)
        self.refuses(serverFromString, description, path, "passphrase")

    def test_session(self) -> None:
        """Liveness, times and algorithms are the settings of the same names."""
        settings = self.serverSettings(
            ":ttl=20:minTtl=2:maxTtl=200:beatsPerSecond=10:handshakeTimeout=3:closeTimeout=4"
            ":groups=x25519:aeads=CHACHA20_POLY1305,aes_256_gcm"
        )
        policy = settings.ttl
        self.assertEqual((policy.default, policy.minimum, policy.maximum), (20, 2, 200))
        self.assertEqual(policy.beatsPerSecond, 10)
        times = (settings.handshakeTimeout, settings.closeTimeout)
        self.assertEqual(times, (3, 4))
        self.assertEqual(settings.groups, (GroupName.X25519,))
        self.assertEqual(settings.aeads, (Aead.CHACHA20_POLY1305, Aead.AES_256_GCM))

    def test_limits(self) -> None:
        """What the server takes on can be said."""
        limits = self.server(
            ":maxSessions=5:maxSessionsPerAddress=4:maxHandshakes=3:maxHandshakesPerAddress=2"
            ":retryAfter=0.5:maxHeld=1000"
        ).factory.limits
        self.assertEqual((limits.sessions, limits.sessionsPerAddress), (5, 4))
        self.assertEqual((limits.handshakes, limits.handshakesPerAddress), (3, 2))
        self.assertEqual((limits.retryAfter, limits.held), (0.5, 1000))

    def test_stream(self) -> None:
        """Whatever is said, data is taken as it comes and any amount may wait."""
        settings = self.serverSettings("")
        self.assertTrue(settings.stream)
        self.assertGreater(settings.maxBuffered, 1 << 60)

    def test_nobodyAdmitted(self) -> None:
        """A server that does not say whom it admits is refused, and so is one without a key."""
        key = f"thing:0:identity={self.identity}"
        self.refuses(serverFromString, key, "whom to admit", "authorized", "anyone")
        self.refuses(serverFromString, f"{key}:anyone=no", "whom to admit")
        self.refuses(serverFromString, f"{key}:anonymous=yes", "anonymous needs authorized")
        self.refuses(serverFromString, "thing:0:anyone=yes", "identity")

    def test_wrong(self) -> None:
        """Whatever is wrong is told when the description is parsed, by its name."""
        good = f"thing:0:identity={self.identity}:anyone=yes"
        for rest, words in (
            (":colour=red", ("colour is not known", "authorized")),
            (":serverKey=x", ("serverKey is not known",)),
            (":interface=", ("interface", "empty")),
            (":backlog=many", ("backlog", "'many'")),
            (":backlog=0", ("backlog", "'0'")),
            (":ttl=soon", ("ttl", "'soon'")),
            (":ttl=0", ("ttl", "'0'")),
            (":ttl=nan", ("ttl", "'nan'")),
            (":minTtl=100", ("TTL",)),
            (":maxSessions=-1", ("maxSessions", "'-1'")),
            (":groups=P256", ("groups", "X25519MLKEM768")),
            (":aeads=", ("aeads", "AES_256_GCM")),
            (f":authorized={self.things}", ("exclude each other",)),
            (":1:2", ("'1'", "a field too many")),
            (r":endpoint=unix\:/x", ("endpoint and port exclude each other",)),
        ):
            self.refuses(serverFromString, good + rest, *words)
        without = f"identity={self.identity}:anyone=yes"
        for before, words in (
            ("thing", ("port or endpoint",)),
            ("thing:http", ("port", "'http'")),
            ("thing:65536", ("port", "'65536'")),
            ("thing:-1", ("port", "'-1'")),
            (r"thing:endpoint=nonsense\:1", ("endpoint", "nonsense")),
            (r"thing:endpoint=tcp\:x", ("endpoint", "tcp:x")),
        ):
            self.refuses(serverFromString, f"{before}:{without}", *words)

    def test_wrongFiles(self) -> None:
        """A file that is missing or damaged is named at once."""
        missing = "/nonexistent/file"
        key = f"thing:0:identity={self.identity}"
        self.refuses(serverFromString, f"thing:0:anyone=yes:identity={missing}", missing)
        self.refuses(serverFromString, f"{key}:authorized={missing}", missing)
        self.refuses(serverFromString, f"{key}:authorized={self.identity}", self.identity)
        self.refuses(serverFromString, f"{key}:anyone=yes:passphraseFile={missing}", missing)


class ClientParserTests(ParserCase):
    """``clientFromString``."""

    def test_whereToConnect(self) -> None:
        """The fields of TCP mean what they mean to ``tls:``."""
        descriptions = (
            "thing:192.0.2.1:9000",
            "thing:host=192.0.2.1:port=9000",
            "thing:host=192.0.2.1:9000",
            "thing:192.0.2.1:port=9000:timeout=3:bindAddress=127.0.0.2",
        )
        made: list[tuple[Any, ...]] = []
        endpoint = mock.Mock()
        self.patch(parsers, "HostEndpoint", lambda *args: made.append(args[1:]) or endpoint)
        for description in descriptions:
            self.client(before=description)
        self.assertEqual(made[:3], [("192.0.2.1", 9000, 30.0, None)] * 3)
        self.assertEqual(made[3], ("192.0.2.1", 9000, 3.0, ("127.0.0.2", 0)))

    def test_innerEndpoint(self) -> None:
        """Instead of a host and a port any other description will do."""
        self.client(before=r"thing:endpoint=unix\:/run/x").connect(Factory())
        self.assertEqual(self.reactor.unixClients[0][0], "/run/x")

    def test_pins(self) -> None:
        """A fingerprint is understood with its prefix and without, and several are."""
        for written in (PIN, f"SHA256\\:{PIN}", f"{PIN}="):
            authorizer = self.client(f":serverKey={written}").factory.authorizer
            pinned = authorizer.authorizers[CredentialKind.ED25519]
            self.assertEqual(pinned.fingerprints, {f"SHA256:{PIN}"})
        both = f":serverKey={PIN},{self.key.fingerprint[7:]}"
        pinned = self.client(both).factory.authorizer.authorizers[CredentialKind.ED25519]
        self.assertEqual(pinned.fingerprints, {f"SHA256:{PIN}", self.key.fingerprint})

    def test_identity(self) -> None:
        """A client shows the key that is named, and none if none is."""
        self.assertIs(self.clientSettings().credential.kind, CredentialKind.NONE)
        settings = self.clientSettings(f":identity={self.ownIdentity}")
        self.assertEqual(settings.credential.data, self.ownKey.publicKey)

    def test_knownServers(self) -> None:
        """The file is asked for the host and the port, or for the name that is given."""
        path = self.written("")
        for rest, before, server in (
            ("", "thing:example.org:9000", "[example.org]:9000"),
            (r":serverName=a.example\:7", "thing:example.org:9000", "[a.example]:7"),
            (r":serverName=[\:\:1]\:7", r"thing:endpoint=unix\:/x", "[::1]:7"),
        ):
            for first in ("yes", "no"):
                endpoint = self.client(f":knownServers={path}:firstUse={first}{rest}", before)
                known = endpoint.factory.authorizer.authorizers[CredentialKind.ED25519]
                self.assertEqual((known.server, known.firstUse), (server, first == "yes"))

    def test_session(self) -> None:
        """Times and algorithms are the settings of the same names."""
        settings = self.clientSettings(":ttl=60:handshakeTimeout=3:closeTimeout=4:groups=X25519")
        self.assertEqual(settings.requestedTtl, 60)
        self.assertEqual((settings.handshakeTimeout, settings.closeTimeout), (3, 4))
        self.assertEqual(settings.groups, (GroupName.X25519,))
        self.assertTrue(settings.stream)

    def test_nobodyBelieved(self) -> None:
        """A client that does not say which server it believes is refused."""
        self.refuses(clientFromString, "thing:h:1", "which server to believe", "serverKey")

    def test_wrong(self) -> None:
        """Whatever is wrong is told when the description is parsed, by its name."""
        path = self.written("")
        good = f"thing:h:1:serverKey={PIN}"
        for rest, words in (
            (":colour=red", ("colour is not known",)),
            (":anyone=yes", ("anyone is not known",)),
            (":timeout=never", ("timeout", "'never'")),
            (":ttl=0.001", ("TTL",)),
            (f":knownServers={path}", ("exclude each other",)),
            (":firstUse=yes", ("exclude each other",)),
            (":identity=/nonexistent", ("/nonexistent",)),
            (f":passphraseFile={path}", ("passphraseFile needs identity",)),
            (r":endpoint=unix\:/x", ("exclude each other",)),
        ):
            self.refuses(clientFromString, good + rest, *words)
        for description, words in (
            (f"thing:h:serverKey={PIN}", ("host and port",)),
            (f"thing:port=1:serverKey={PIN}", ("port needs host",)),
            (f"thing:h:x:serverKey={PIN}", ("port", "'x'")),
            (rf"thing:endpoint=nonsense\:1:serverKey={PIN}", ("endpoint", "nonsense")),
            ("thing:h:1:serverKey=abc", ("serverKey", "SHA256:<43 characters>")),
            (f"thing:h:1:serverKey=SHA256:{PIN}", (PIN, "backslash")),
            ("thing:h:1:knownServers=/nonexistent/file", ("/nonexistent/file",)),
            (rf"thing:endpoint=unix\:/x:knownServers={path}", ("serverName",)),
            (f"thing:h:1:knownServers={path}:firstUse=maybe", ("firstUse", "maybe")),
            (f"thing:h:1:knownServers={path}:serverName=[h", ("serverName",)),
        ):
            self.refuses(clientFromString, description, *words)


class PluginTests(SynchronousTestCase):
    """The file that Twisted finds the parsers in."""

    def test_interfaces(self) -> None:
        """The parsers are what Twisted looks for."""
        for parser, interface in (
            (thing_endpoints.thingServerParser, IStreamServerEndpointStringParser),
            (thing_endpoints.thingClientParser, IStreamClientEndpointStringParserWithReactor),
        ):
            self.assertTrue(verifyObject(IPlugin, parser))
            self.assertTrue(verifyObject(interface, parser))

    def test_importsNothing(self) -> None:
        """To look for endpoints loads nothing of Thing and installs no reactor."""
        done = subprocess.run(
            [sys.executable, "-c", IMPORT_PLUGIN],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        loaded = done.stdout.split()
        self.assertIn("twisted.plugins.thing_endpoints", loaded)
        self.assertEqual([name for name in loaded if f"{name}.".startswith("thing.")], [])
        self.assertNotIn("twisted.internet.reactor", loaded)


def said(field: Keyword) -> str:
    """What the manual says of a field."""
    default = f" [{field.defaultText}]" if field.defaultText else ""
    return f"{field.doc[0].upper()}{field.doc[1:]}{default}."


class ManualTests(SynchronousTestCase):
    """docs/endpoints.rst."""

    def test_everyField(self) -> None:
        """The manual's two tables have just the fields that can be written, and their words."""
        titles = r"^(?:A server|A client|Over something else than TCP)\n"
        _, *sections, _ = re.split(titles, MANUAL.read_text(), flags=re.MULTILINE)
        for section, fields in zip(sections, (SERVER_FIELDS, CLIENT_FIELDS), strict=True):
            row = r"^   \* - ``(\w+)``\n     - (.+)\n     - (.+)$"
            written = re.findall(row, section, re.MULTILINE)
            self.assertEqual(written, [(each.name, each.value, said(each)) for each in fields])

    def test_noFieldTwice(self) -> None:
        """No two fields of one side have one name."""
        for fields in (SERVER_FIELDS, CLIENT_FIELDS):
            names = [field.name for field in fields]
            self.assertEqual(len(names), len(set(names)))


class Talker(Protocol):
    """Collects what it is sent; says when it is lost, and why."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.waiting: list[tuple[int, Deferred[bytes]]] = []
        self.lost: Deferred[BaseException] = Deferred()

    def until(self, size: int) -> Deferred[bytes]:
        """Wait until so much has come."""
        waiter: Deferred[bytes] = Deferred()
        self.waiting.append((size, waiter))
        self.dataReceived(b"")
        return waiter

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        for size, waiter in list(self.waiting):
            if len(self.received) >= size:
                self.waiting.remove((size, waiter))
                waiter.callback(self.received)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        assert isinstance(reason.value, BaseException)
        self.lost.callback(reason.value)


class Echo(Talker):
    """Sends back whatever comes."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class SocketCase(Files, TestCase):
    """Endpoints on real sockets."""

    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        super().setUp()
        self.reactor: Any = reactor
        self.echoes: list[Echo] = []

    def echo(self) -> Echo:
        """Build one more echo."""
        self.echoes.append(Echo())
        return self.echoes[-1]

    @inlineCallbacks
    def serve(self, before: str, rest: str) -> Generator[Any, Any, Any]:
        """Listen with echoes."""
        self.endpoint = serverFromString(
            self.reactor, f"{before}:identity={quoteStringArgument(self.identity)}{rest}"
        )
        port = yield self.endpoint.listen(Factory.forProtocol(self.echo))
        self.addCleanup(port.stopListening)
        return port

    @inlineCallbacks
    def serveTcp(self, rest: str = ":anyone=yes") -> Generator[Any, Any, str]:
        """Listen on the loopback; the beginning of a client's description."""
        self.port = yield self.serve("thing:0:interface=127.0.0.1", rest)
        return f"thing:127.0.0.1:{self.port.getHost().port}"

    @property
    def pin(self) -> str:
        """A client's field that believes the server."""
        return f":serverKey={self.key.fingerprint[7:]}"

    def connect(self, description: str) -> Deferred[Any]:
        """Connect somebody who talks."""
        return connectProtocol(clientFromString(self.reactor, description), Talker())

    @inlineCallbacks
    def converse(
        self, description: str, size: int = 1 << 20, noDelay: bool = True
    ) -> Generator[Any, Any, Talker]:
        """Have something echoed, and say goodbye."""
        talker: Talker = yield self.connect(description)
        self.assertTrue(IThingTransport.providedBy(talker.transport))
        self.assertEqual(talker.transport.getTcpNoDelay(), noDelay)
        for switch in (talker.transport.setTcpKeepAlive, talker.transport.setTcpNoDelay):
            switch(True)
        sent = os.urandom(size)
        talker.transport.write(sent)
        received = yield talker.until(size)
        self.assertEqual(received, sent)
        talker.transport.loseConnection()
        for reason in (yield gatherResults([talker.lost, self.echoes[-1].lost])):
            self.assertIsInstance(reason, Goodbye)
        return talker


class SocketTests(SocketCase):
    """What users run."""

    @inlineCallbacks
    def test_tcp(self) -> Generator[Any, Any, None]:
        """A megabyte goes to and fro over TCP, and both sides end in order."""
        client = yield self.serveTcp()
        yield self.converse(client + self.pin)

    @inlineCallbacks
    def test_unix(self) -> Generator[Any, Any, None]:
        """The same over a unix socket, which has none of TCP's options."""
        path = os.path.join(tempfile.mkdtemp(), "s")
        self.addCleanup(os.rmdir, os.path.dirname(path))
        inner = quoteStringArgument(f"unix:{path}")
        port = yield self.serve(f"thing:endpoint={inner}", ":anyone=yes")
        talker = yield self.converse(f"thing:endpoint={inner}{self.pin}", noDelay=False)
        self.assertIsInstance(talker.transport.getPeer(), UNIXAddress)
        yield port.stopListening()

    @inlineCallbacks
    def test_tls(self) -> Generator[Any, Any, None]:
        """The same inside TLS, for networks that let nothing else pass."""
        certificate = writeCertificate(os.path.abspath(self.mktemp()), "localhost")
        inner = quoteStringArgument(f"ssl:0:privateKey={certificate}:interface=127.0.0.1")
        port = yield self.serve(f"thing:endpoint={inner}", ":anyone=yes")
        outer = quoteStringArgument(f"ssl:127.0.0.1:{port.getHost().port}")
        yield self.converse(f"thing:endpoint={outer}{self.pin}")

    @inlineCallbacks
    def test_insideItself(self) -> Generator[Any, Any, None]:
        """The stream below may be Thing's own."""
        identity = quoteStringArgument(self.identity)
        inner = f"thing:0:interface=127.0.0.1:identity={identity}:anyone=yes"
        port = yield self.serve(f"thing:endpoint={quoteStringArgument(inner)}", ":anyone=yes")
        outer = f"thing:127.0.0.1:{port.getHost().port}{self.pin}"
        yield self.converse(f"thing:endpoint={quoteStringArgument(outer)}{self.pin}", 100_000)

    @inlineCallbacks
    def test_web(self) -> Generator[Any, Any, None]:
        """A web server and a web client talk over it, and neither was told."""
        page = os.urandom(3_000_000)

        class Page(Resource):
            isLeaf = True

            def render_POST(self, request: Any) -> bytes:
                assert request.content.read() == page
                return page

        endpoint = serverFromString(
            self.reactor, f"thing:0:interface=127.0.0.1:identity={self.identity}:anyone=yes"
        )
        port = yield endpoint.listen(Site(Page()))
        self.addCleanup(port.stopListening)
        client = f"thing:127.0.0.1:{port.getHost().port}{self.pin}"

        @implementer(IAgentEndpointFactory)
        class OverThing:
            def endpointForURI(self, uri: object) -> Any:
                return clientFromString(port.reactor, client)

        pool = HTTPConnectionPool(self.reactor)
        agent = Agent.usingEndpointFactory(self.reactor, OverThing(), pool)
        for _ in range(2):
            body = FileBodyProducer(BytesIO(page))
            response = yield agent.request(b"POST", b"http://example.org/", bodyProducer=body)
            self.assertEqual((yield readBody(response)), page)
        self.assertEqual(len(endpoint.factory.sessions), 1)
        yield pool.closeCachedConnections()
        yield endpoint.factory.drain(5.0)

    @inlineCallbacks
    def test_amp(self) -> Generator[Any, Any, None]:
        """So do both sides of AMP."""

        class Sum(amp.Command):
            arguments = [(b"a", amp.Integer()), (b"b", amp.Integer())]
            response = [(b"total", amp.Integer())]

        class Adder(amp.AMP):
            @Sum.responder
            def add(self, a: int, b: int) -> dict[str, int]:
                return {"total": a + b}

        endpoint = serverFromString(
            self.reactor, f"thing:0:interface=127.0.0.1:identity={self.identity}:anyone=yes"
        )
        port = yield endpoint.listen(Factory.forProtocol(Adder))
        self.addCleanup(port.stopListening)
        client = f"thing:127.0.0.1:{port.getHost().port}{self.pin}"
        asking = yield connectProtocol(clientFromString(self.reactor, client), amp.AMP())
        answers = yield gatherResults([asking.callRemote(Sum, a=n, b=1) for n in range(100)])
        self.assertEqual([answer["total"] for answer in answers], list(range(1, 101)))
        asking.transport.loseConnection()
        yield endpoint.factory.drain(5.0)

    @inlineCallbacks
    def test_names(self) -> Generator[Any, Any, None]:
        """A server knows a thing by the name in its file; a client the server by its host."""
        client = yield self.serveTcp(f":authorized={self.things}")
        known = self.written("")
        trust = f":identity={self.ownIdentity}:knownServers={known}"
        talker = yield self.connect(f"{client}{trust}:firstUse=yes")
        yield self.converse(client + trust, 1000)
        self.assertEqual(self.echoes[0].transport.peer.name, "lamp")
        port = self.port.getHost().port
        self.assertEqual(talker.transport.peer.name, f"[127.0.0.1]:{port}")
        talker.transport.loseConnection()
        yield gatherResults([talker.lost, self.echoes[0].lost])

    @inlineCallbacks
    def test_presharedKeys(self) -> Generator[Any, Any, None]:
        """Two sides that share a key know each other by it, and by nothing else."""
        line = "lamp:" + "5a" * 32 + "\n"
        client = yield self.serveTcp(f":presharedKeys={self.written(line)}")
        yield self.converse(f"{client}:presharedKey={self.written(line)}", 1000)
        self.assertEqual(self.echoes[0].transport.peer.name, "lamp")
        other = self.written("lamp:" + "a5" * 32 + "\n")
        yield self.assertFailure(self.connect(f"{client}:presharedKey={other}"), HandshakeFailed)

    @inlineCallbacks
    def test_certificates(self) -> Generator[Any, Any, None]:
        """Two sides with certificates of one authority know each other by their names."""
        now = {"begins": time.time() - NOW - 60, "ends": time.time() - NOW + 3600}
        root = authority(**now)
        trust = ":trustRoots=" + self.written(root.pem.decode())
        names = [x509.DNSName("server.example")]
        server = issue("server", root, names, use=SERVER, **now)
        thing = issue("lamp", root, [x509.DNSName("lamp.example")], use=CLIENT, **now)
        shown = [
            ":certificate=" + self.written((each.keyPem() + each.pem).decode())
            for each in (server, thing)
        ]
        client = yield self.serveTcp(trust + shown[0])
        name = ":serverName=server.example"
        yield self.converse(client + trust + shown[1] + name, 1000)
        self.assertEqual(self.echoes[0].transport.peer.name, "lamp.example")
        failure = yield self.assertFailure(self.connect(client + trust + shown[1]), HandshakeFailed)
        self.assertFalse(failure.termination.byPeer)

    @inlineCallbacks
    def test_refused(self) -> Generator[Any, Any, None]:
        """A client that is not admitted is told by the code; the application hears nothing."""
        client = yield self.serveTcp(f":authorized={self.things}")
        stranger = self.saved(IdentityKey.generate())
        for rest, code in (
            (f":identity={stranger}", ErrorCode.NOT_AUTHORIZED),
            ("", ErrorCode.CREDENTIAL_REQUIRED),
        ):
            failure = yield self.assertFailure(
                self.connect(client + self.pin + rest), HandshakeFailed
            )
            self.assertIs(failure.termination.cause, Cause.REJECTED)
            self.assertIs(failure.termination.code, code)
        self.assertEqual(self.echoes, [])
        self.assertEqual(self.endpoint.factory.terminations[Cause.REJECTED], 2)

    @inlineCallbacks
    def test_wrongServer(self) -> Generator[Any, Any, None]:
        """A server with another key than the one that is pinned is not believed."""
        client = yield self.serveTcp()
        failure = yield self.assertFailure(
            self.connect(f"{client}:serverKey={PIN}"), HandshakeFailed
        )
        self.assertIs(failure.termination.code, ErrorCode.NOT_AUTHORIZED)
        self.assertFalse(failure.termination.byPeer)

    @inlineCallbacks
    def test_noServer(self) -> Generator[Any, Any, None]:
        """Where nobody listens the error is the one of the stream below."""
        client = yield self.serveTcp()
        yield self.port.stopListening()
        yield self.assertFailure(self.connect(client + self.pin), ConnectError)

    @inlineCallbacks
    def test_otherProtocol(self) -> Generator[Any, Any, None]:
        """A server that does not speak Thing is found out, and a silent one in time."""
        for greeting, code in ((b"220 hello\r\n" * 9, None), (b"", ErrorCode.HANDSHAKE_TIMEOUT)):

            class Other(Protocol):
                def connectionMade(self, greeting: bytes = greeting) -> None:
                    assert self.transport is not None
                    self.transport.write(greeting)

            port = self.reactor.listenTCP(0, Factory.forProtocol(Other), interface="127.0.0.1")
            self.addCleanup(port.stopListening)
            failure = yield self.assertFailure(
                self.connect(
                    f"thing:127.0.0.1:{port.getHost().port}{self.pin}:handshakeTimeout=0.2"
                ),
                HandshakeFailed,
            )
            self.assertIn(code, (None, failure.termination.code))

    @inlineCallbacks
    def test_cancelled(self) -> Generator[Any, Any, None]:
        """Who cancels is told at once, whether the stream is there by then or not."""
        begun: Deferred[Any] = Deferred()
        lost: Deferred[Any] = Deferred()

        class Silent(Protocol):
            def dataReceived(self, data: bytes) -> None:
                begun.callback(None)

            def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
                if begun.called:
                    lost.callback(None)

        port = self.reactor.listenTCP(0, Factory.forProtocol(Silent), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        description = f"thing:127.0.0.1:{port.getHost().port}{self.pin}"
        early = self.connect(description)
        early.cancel()
        yield self.assertFailure(early, DNSLookupError, ConnectingCancelledError)
        late = self.connect(description)
        yield begun
        late.cancel()
        yield self.assertFailure(late, CancelledError)
        yield lost

    @inlineCallbacks
    def test_factory(self) -> Generator[Any, Any, None]:
        """An endpoint knows its sessions, limits them, counts them, and can drain them."""
        client = yield self.serveTcp(":anyone=yes:maxSessions=1")
        sessions = self.endpoint.factory
        talker = yield self.connect(client + self.pin)
        talker.transport.write(b"x")
        yield talker.until(1)
        self.assertEqual(len(sessions.sessions), 1)
        failure = yield self.assertFailure(self.connect(client + self.pin), HandshakeFailed)
        self.assertIs(failure.termination.code, ErrorCode.SERVER_BUSY)
        yield sessions.drain(5.0)
        reason = yield talker.lost
        self.assertIsInstance(reason, SentAway)
        self.assertEqual(sessions.terminations[Cause.GOODBYE], 1)
        self.assertEqual(len(sessions.sessions), 0)

    @inlineCallbacks
    def test_streams(self) -> Generator[Any, Any, None]:
        """Either side opens streams beside the main one, much goes through, and all end."""
        client = yield self.serveTcp()
        self.endpoint.factory.serve("echo", Factory.forProtocol(self.echo))
        main = yield self.connect(client + self.pin)
        main.transport.write(b"x")
        yield main.until(1)
        main.transport.streams.serve("back", Factory.forProtocol(self.echo))
        sides = (
            (main.transport.streams, "echo"),
            (self.echoes[0].transport.streams, "back"),
        )
        data = os.urandom(1 << 20)
        talkers = []
        for streams, label in sides * 3:
            talker = yield connectProtocol(streams.endpoint(label), Talker())
            talkers.append(talker)
            talker.transport.write(data)
        for talker in talkers:
            self.assertEqual((yield talker.until(len(data))), data)
            talker.transport.loseConnection()
            self.assertIsInstance((yield talker.lost), ConnectionDone)
        with self.assertRaises(StreamRefused):
            yield connectProtocol(main.transport.streams.endpoint("other"), Talker())
        main.transport.write(b"y")
        self.assertEqual((yield main.until(2)), b"xy")
        main.transport.loseConnection()
        yield gatherResults([main.lost, *(echo.lost for echo in self.echoes)])

    @inlineCallbacks
    def test_stopListening(self) -> Generator[Any, Any, None]:
        """A port that stops accepts nobody, and lets those who are there go on."""
        client = yield self.serveTcp()
        talker = yield self.connect(client + self.pin)
        yield self.port.stopListening()
        yield self.assertFailure(self.connect(client + self.pin), ConnectError)
        talker.transport.write(b"still here")
        yield talker.until(10)
        talker.transport.loseConnection()
        yield gatherResults([talker.lost, self.echoes[0].lost])

    @inlineCallbacks
    def test_again(self) -> Generator[Any, Any, None]:
        """One endpoint connects as often as it is asked, and counts all its sessions."""
        client = yield self.serveTcp()
        endpoint = clientFromString(self.reactor, client + self.pin)
        for _ in range(3):
            talker = yield connectProtocol(endpoint, Talker())
            talker.transport.loseConnection()
            yield gatherResults([talker.lost, self.echoes[-1].lost])
        self.assertEqual(endpoint.factory.completed, 3)
        self.assertEqual(endpoint.factory.terminations[Cause.GOODBYE], 3)
