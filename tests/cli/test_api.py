"""How a status server is asked, and what a hostile one can do about it: little."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.threads import deferToThread

from tests.certificates import writeCertificate
from tests.cli.madeup import CLEAR, OWN, FleetCase, answer, reactor, thing
from thing.cli import api as client
from thing.cli.address import parseStatus
from thing.cli.answers import BadAnswer, Unreachable
from thing.cli.api import MAX_ANSWER, Api
from thing.cli.exits import CommandError, ExitCode
from thing.cli.records import nodes, pages
from thing.fleet.http.guard import FileToken

TOKEN = "correct-horse-battery-staple"


class ApiCase(FleetCase):
    """Requests from a thread, as the client waits for its answers."""

    def ask(
        self, url: str, asking: Callable[[Api], Any], token: str | None = None
    ) -> Deferred[Any]:
        """Ask in a thread."""

        def run() -> Any:
            with Api(parseStatus(url), token) as api:
                return asking(api)

        return deferToThread(run)

    async def refused(
        self, url: str, code: ExitCode, said: str, token: str | None = None, path: str = "/nodes"
    ) -> CommandError:
        """Ask, and fail so, in one line that is fit for a terminal and tells no token."""
        try:
            found = await self.ask(url, lambda api: api.get(path), token)
        except CommandError as error:
            self.assertIn(said, str(error))
            self.assertEqual(error.exit_code, code, error)
            self.assertTrue(str(error).isprintable(), error)
            self.assertLess(len(str(error)), 600)
            self.assertNotIn(TOKEN, str(error))
            return error
        raise AssertionError(f"{found} was answered")


class AskTests(ApiCase):
    """Asking a server that is one."""

    async def test_things(self) -> None:
        """Things and nodes are told, page after page over one connection."""
        self.fleet.add(*(thing(f"{n:04}") for n in range(1200)))
        connections: list[object] = []
        url = self.serveFleet()
        build = self.site.buildProtocol

        def counting(address: Any) -> Any:
            connections.append(address)
            return build(address)

        self.patch(self.site, "buildProtocol", counting)
        found = await self.ask(url, lambda api: (list(pages(api, {}, False)), nodes(api)))
        (first, second, third), (health, complete) = found
        self.assertEqual([len(page.rows) for page in (first, second, third)], [500, 500, 200])
        self.assertEqual((health[0].name, complete), ("north", True))
        self.assertEqual(len(connections), 1)

    async def test_unixSocket(self) -> None:
        """A socket in the file system is asked without a token, by the name of this machine."""
        path = self.mktemp()  # Not its whole path, which can be longer than a socket's may be.
        self.serveFleet(listen=lambda site: reactor.listenUNIX(path, site))
        found = await self.ask(f"unix:{path}", nodes)
        self.assertEqual(found[0][0].name, "north")

    async def test_token(self) -> None:
        """The token is shown; without it, or with another, the answer is a clear no."""
        file = self.home / "token"
        file.write_text(TOKEN)
        file.chmod(0o600)
        url = self.serveFleet(FileToken(str(file)))
        await self.ask(url, nodes, TOKEN)
        for wrong in (None, "another-token-that-is-long"):
            await self.refused(url, ExitCode.NO_ACCESS, "give --token-file", wrong)

    async def test_closedInBetween(self) -> None:
        """A connection that the server closed while it was not used is made anew."""
        url = self.serveFleet()

        def askTwice(api: Api) -> int:
            api.get("/nodes")
            server = api._connection
            assert server is not None
            reactor.callFromThread(self.site.close)
            server.sock.settimeout(30)
            self.assertEqual(server.sock.recv(1), b"")  # Its end has come.
            return api.get("/nodes").status

        self.assertEqual(await self.ask(url, askTwice), 200)

    async def test_onlyQuestionsAreRepeated(self) -> None:
        """What does something is not asked for twice: it may have been done."""
        for method, asked in (("GET", 2), ("POST", 1)):
            url = self.serveOctets(answer(b"{}"))  # And then the connection is closed.

            def askTwice(api: Api, method: str = method) -> int:
                api.ask(method, "/x")
                return api.ask(method, "/x").status

            if asked == 2:
                self.assertEqual(await self.ask(url, askTwice), 200)
            else:
                with self.assertRaises(Unreachable):
                    await self.ask(url, askTwice)
            self.assertEqual(b"".join(self.requests).count(method.encode()), asked)

    async def test_refusedBody(self) -> None:
        """A server that answers before it has read all is understood."""
        url = self.serveFleet()
        self.fleet.add(thing("x"))
        body = bytes(500_000)
        found = await self.ask(url, lambda api: api.ask("POST", "/thing/messages", body=body))
        self.assertEqual(found.status, 413)

    async def test_sent(self) -> None:
        """It is known whether a server that went away can have the whole of a request."""
        self.serveFleet()
        nowhere = self.serveOctets(b"")

        def post(api: Api, body: bytes) -> bool:
            self.assertRaises(Unreachable, api.ask, "POST", "/thing/messages", body=body)
            return api.sent

        self.assertTrue(await self.ask(nowhere, lambda api: post(api, b"short")))
        # A server reads no more of such a body than it can hold.
        self.assertFalse(await self.ask(nowhere, lambda api: post(api, bytes(64 << 20))))


class TlsTests(ApiCase):
    """``https:`` checks certificates."""

    def serveTls(self, host: str) -> tuple[str, str]:
        """A server with a certificate for a host; its port, and the certificate's file."""
        certificate = writeCertificate(os.path.abspath(self.mktemp()), host)
        context = DefaultOpenSSLContextFactory(certificate, certificate)
        self.serveFleet(
            listen=lambda site: reactor.listenSSL(0, site, context, interface="127.0.0.1")
        )
        return str(self.port.getHost().port), certificate

    async def test_stranger(self) -> None:
        """A server whose certificate nobody vouches for is not asked; the token stays here."""
        port, _ = self.serveTls("localhost")
        await self.refused(
            f"https://localhost:{port}", ExitCode.NOT_TRUSTED, "is not trusted", TOKEN
        )
        self.assertEqual(self.fleet.asked, 0)

    async def test_trusted(self) -> None:
        """A server whose certificate is known, and for that host, is asked."""
        port, certificate = self.serveTls("localhost")
        with mock.patch.dict(os.environ, SSL_CERT_FILE=certificate):
            found = await self.ask(f"https://localhost:{port}", nodes)
            self.assertEqual(found[0][0].name, "north")
            await self.refused(f"https://127.0.0.1:{port}", ExitCode.NOT_TRUSTED, "127.0.0.1")

    async def test_plain(self) -> None:
        """A server that does not speak TLS is away."""
        url = self.serveFleet()
        await self.refused(url.replace("http:", "https:"), ExitCode.NOT_CONNECTED, "cannot reach")


class HostileTests(ApiCase):
    """Servers that are none, or worse."""

    async def test_nobody(self) -> None:
        """Where nobody listens is said."""
        port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        for url in (
            f"http://127.0.0.1:{number}",
            f"unix:{self.home}/none",
            "http://no.host.invalid",
        ):
            error = await self.refused(url, ExitCode.NOT_CONNECTED, f"cannot reach {url}")
            self.assertIsInstance(error, Unreachable)

    async def test_redirect(self) -> None:
        """A redirection is told and not followed: the token goes nowhere else."""
        elsewhere = self.serveOctets(answer(b"{}"))
        stolen = self.requests
        for status in ("301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Moved"):
            url = self.serveOctets(answer(b"{}", status, f"Location: {elsewhere}/{CLEAR}"))
            error = await self.refused(url, ExitCode.PROTOCOL_ERROR, elsewhere, TOKEN)
            self.assertIn("not followed", str(error))
            self.assertIn(TOKEN.encode(), b"".join(self.requests))
        self.assertEqual(stolen, [])

    async def test_noStatusServer(self) -> None:
        """What is no answer of a status server is named, whatever it is."""
        title = '{"title": "Gone fishing' + "!" * 5000 + '"}'
        for octets, said in (
            (answer(b"<html>"), "200 OK, and no JSON object"),
            (answer(b"<html>", "404 Not Found"), "404 Not Found, which is not its own"),
            (answer(title.encode(), "401 Unauthorized"), "401 Unauthorized, which is not its own"),
            (answer(b"<html>", "500 Oops", OWN), "500 Oops, and no JSON object"),
            (answer(b"{}", "500 Oops", OWN), "500 Oops, and nothing that says what went wrong"),
            (answer(title.encode(), "418 I'm a teapot", OWN), "Gone fishing"),
            (answer(b"[]"), "no JSON object"),
            (answer(b"[" * 1_000_000), "no JSON object"),
            (answer(b'{"a": 1' + b"0" * 100_000 + b"}"), "no JSON object"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
            (f"HTTP/1.1 200 {CLEAR}\r\nContent-Length: 1\r\n\r\n1".encode(), "no JSON object"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "does not answer as"),
            (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, "does not answer as"),
        ):
            await self.refused(self.serveOctets(octets), ExitCode.PROTOCOL_ERROR, said)

    async def test_brokenOff(self) -> None:
        """An answer that breaks off is no answer."""
        for octets in (
            answer(b"{}")[:-1],
            b"",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ):
            await self.refused(self.serveOctets(octets), ExitCode.NOT_CONNECTED, "closed the conn")

    async def test_endless(self) -> None:
        """An answer without an end is read up to a bound, however its length is told."""
        for head in (
            b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % (1 << 40),
            b"Content-Length: %d\r\n\r\n" % (1 << 40),
            b"\r\n",
        ):
            sent, Endless.lost = Endless.sent, Deferred()
            sent[0] = 0
            Endless.head = b"HTTP/1.1 200 OK\r\n" + head
            url = f"http://127.0.0.1:{self.listen(Factory.forProtocol(Endless))}"
            await self.refused(url, ExitCode.PROTOCOL_ERROR, "longer than 4 MiB")
            await Endless.lost
            self.assertGreater(sent[0], MAX_ANSWER)

    async def test_slow(self) -> None:
        """A server that sends an octet now and then is given up in time, in head and body."""
        self.patch(client, "PATIENCE", 1.0)
        for begin in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"):
            Dripping.begin = begin
            url = f"http://127.0.0.1:{self.listen(Factory.forProtocol(Dripping))}"
            with self.assertRaises(Unreachable) as raised:
                await self.ask(url, lambda api: api.ask("GET", "/nodes", patience=1.0))
            self.assertIn("no answer in time", str(raised.exception))

    async def test_waitAMoment(self) -> None:
        """What may be better later is told apart from what will not."""
        body = b'{"title": "Too many follow the events already."}'
        for status in ("429 Slow", "500 Oops", "502 Bad", "503 Busy", "504 Late"):
            error = await self.refused(
                self.serveOctets(answer(body, status, OWN)),
                ExitCode.NOT_CONNECTED,
                "Too many follow",
            )
            self.assertIsInstance(error, Unreachable)
        for status, code in (
            ("400 Bad", ExitCode.USAGE),
            ("403 No", ExitCode.NO_ACCESS),
            ("421 No", ExitCode.NO_ACCESS),
            ("404 None", ExitCode.PROTOCOL_ERROR),
        ):
            url = self.serveOctets(answer(body, status, OWN))
            await self.refused(url, code, "Too many follow")

    async def test_proxy(self) -> None:
        """A proxy that does not reach the server is a server that is away, whatever it says."""
        for body in (b"<html>", b'{"message": "no Route matched"}', b'{"title": "Bad Gateway"}'):
            url = self.serveOctets(answer(body, "502 Bad Gateway"))
            said = f"cannot reach {url}: a proxy answers 502 Bad Gateway for it"
            error = await self.refused(url, ExitCode.NOT_CONNECTED, said)
            self.assertIsInstance(error, Unreachable)
            with self.assertRaises(Unreachable):
                await self.ask(url, lambda api: api.stream("/events", {}, {}))

    async def test_notEvents(self) -> None:
        """A stream that is not one of events is not followed."""
        for octets in (answer(b"{}"), answer(b"{}", "200 OK", "Content-Type: text/html")):
            url = self.serveOctets(octets)
            with self.assertRaises(BadAnswer):
                await self.ask(url, lambda api: api.stream("/events", {}, {}))

    async def test_clock(self) -> None:
        """The server's time is taken from its answer; a wrong one is not."""
        body = b'{"nodes": []}'
        url = self.serveOctets(answer(body, "200 OK", "Date: Fri, 15 Jan 2027 08:00:00 GMT"))
        self.assertEqual((await self.ask(url, lambda api: api.get("/nodes"))).now, 1_800_000_000.0)
        for wrong in ("yesterday", "Fri, 99 Jan 2027 08:00:00 GMT", ""):
            before = time.time()
            url = self.serveOctets(answer(body, "200 OK", f"Date: {wrong}"))
            found = await self.ask(url, lambda api: api.get("/nodes"))
            self.assertTrue(before <= found.now <= time.time())


class Endless(Protocol):
    """Sends an answer that has no end."""

    head: bytes
    lost: Deferred[None]
    sent = [0]

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self.head)
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        self.sent[0] += 65536
        self.transport.write(bytes(65536))

    def stopProducing(self) -> None:
        pass

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)


class Dripping(Protocol):
    """Sends an octet now and then."""

    begin: bytes

    def connectionMade(self) -> None:
        from twisted.internet.task import LoopingCall

        self.transport.write(self.begin)
        self.dripping = LoopingCall(self.transport.write, b"H")
        self.dripping.start(0.05, now=False)

    def connectionLost(self, reason: object = None) -> None:
        self.dripping.stop()
