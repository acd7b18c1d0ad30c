"""Whom the fleet's HTTP server answers: tokens, hosts, origins, and where it may listen."""

from __future__ import annotations

import hmac
import os
from typing import Any
from unittest import mock

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.fleet.http.web import Response, WebCase, pathOf, request
from tests.trust.test_keys import DirectoryMixin, write
from thing import CredentialError, ThingError
from thing.fleet.http import StatusError, makeStatusService
from thing.fleet.http.guard import MAX_TOKEN, MIN_TOKEN, FileToken, isLoopback
from thing.fleet.http.service import isLocal, urlOf

VIEW_TOKEN = "only-for-the-screen-on-the-wall"
TOKEN = "correct-horse-battery-staple"

LINK = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
"""What a browser says of a request when somebody follows a link."""

PUBLIC = ("/", "/healthz", "/readyz")
PROTECTED = (
    *("/things", "/thing?id=x", "/nodes", "/events", "/metrics", "/openapi.json"),
    "/nothing",
)


class TokenFileTests(DirectoryMixin, SynchronousTestCase):
    """The file that holds a token."""

    def file(self, content: str, mode: int = 0o600) -> str:
        """A file with this content."""
        return write(self.path("token"), content.encode(), mode)

    def test_firstLine(self) -> None:
        """The first line is the token, without spaces around it."""
        token = FileToken(self.file(f"  {TOKEN}\r\nanother line\n"))
        self.assertTrue(token.admits(TOKEN.encode()))
        for wrong in ("", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "another line"):
            self.assertFalse(token.admits(wrong.encode()), wrong)

    def test_useless(self) -> None:
        """A token that can be guessed, or that no header can carry, is refused."""
        for content in (
            "",
            "\n" + TOKEN,
            "x" * (MIN_TOKEN - 1),
            "x" * (MAX_TOKEN + 1),
            "correct horse battery staple",
            "grün-grün-grün-grün",
        ):
            with self.assertRaisesRegex(CredentialError, "first line is not a token"):
                FileToken(self.file(content))

    def test_tooOpen(self) -> None:
        """A file that others may read is refused, as ssh does with keys."""
        with self.assertRaisesRegex(CredentialError, "too open"):
            FileToken(self.file(TOKEN, 0o644))

    def test_missing(self) -> None:
        """A file that is not there is refused in one line."""
        with self.assertRaisesRegex(CredentialError, "No such file"):
            FileToken(self.path("nothing"))

    def test_change(self) -> None:
        """A new token counts at once, and the old one no more."""
        token = FileToken(self.file(TOKEN))
        self.file("another-token-altogether")
        self.assertFalse(token.admits(TOKEN.encode()))
        self.assertTrue(token.admits(b"another-token-altogether"))

    def test_badChange(self) -> None:
        """While the file is of no use the token stays, and the log says why once."""
        path = self.file(TOKEN)
        token = FileToken(path)
        with capturedLogs() as logs:
            os.unlink(path)
            self.assertTrue(token.admits(TOKEN.encode()))
            self.assertTrue(token.admits(TOKEN.encode()))
        self.assertEqual(len([log for log in logs if log["log_level"].name == "error"]), 1)
        self.file("another-token-altogether")
        self.assertTrue(token.admits(b"another-token-altogether"))

    def test_secret(self) -> None:
        """Neither the log nor a representation shows the token."""
        path = self.file(TOKEN)
        with capturedLogs() as logs:
            token = FileToken(path)
            self.file("another-token-altogether")
            token.admits(b"guess-guess-guess-guess")
        self.assertNotIn(TOKEN, f"{token!r} {token} {logs}")
        self.assertNotIn("another-token-altogether", f"{token!r} {token} {logs}")


class TokenTests(WebCase):
    """A server with a token."""

    def setUp(self) -> None:
        super().setUp()
        self.serve(FileToken(write(self.mktemp(), TOKEN.encode())))

    def bearing(self, text: str, path: str = "/nodes", method: str = "GET") -> Response:
        """A request with this Authorization."""
        return self.ask(path, method, headers={"Authorization": text})

    def test_needed(self) -> None:
        """Without the token nothing is told, not even which paths there are."""
        for path in PROTECTED:
            for method in ("GET", "POST", "DELETE", "HEAD"):
                response = self.ask(path, method)
                self.assertEqual(response.status, 401, (method, path))
                self.assertEqual(response.headers["www-authenticate"], "Bearer")
        for path in PUBLIC:
            self.assertEqual(self.ask(path).status, 200, path)

    def test_right(self) -> None:
        """With it everything is answered, however the scheme is written, and from anywhere."""
        for text in (f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN}"):
            self.assertEqual(self.bearing(text).status, 200, text)
        headers = {
            "Authorization": f"Bearer {TOKEN}",
            "Host": "fleet.example",
            "Origin": "https://elsewhere.example",
        }
        self.assertEqual(self.ask(pathOf("x"), "DELETE", headers=headers).status, 404)

    def test_wrong(self) -> None:
        """Anything else is refused."""
        for text in (
            "",
            "Bearer",
            "Bearer ",
            TOKEN,
            f"Basic {TOKEN}",
            f"Bearer {TOKEN[:-1]}",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN} {TOKEN}",
            f"Bearer{TOKEN}",
            "Bearer \xff",
        ):
            self.assertEqual(self.bearing(text).status, 401, text)

    def test_twice(self) -> None:
        """Two tokens are none, as nobody knows which one another server would take."""
        connection = self.open(
            f"GET /nodes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        self.assertIn(b"401 Unauthorized", connection.read())

    def test_constantTime(self) -> None:
        """What compares tells nothing by the time that it takes."""
        with mock.patch.object(hmac, "compare_digest", wraps=hmac.compare_digest) as compare:
            self.bearing("Bearer " + "x" * len(TOKEN))
            self.bearing(f"Bearer {TOKEN}")
        self.assertEqual(compare.call_count, 2)

    def test_notLogged(self) -> None:
        """No log has the token, right or wrong, nor who asked for what."""
        with capturedLogs() as logs:
            self.bearing(f"Bearer {TOKEN}")
            self.bearing("Bearer wrong-token-wrong-token")
            self.ask("/things?q=private")
        for text in (TOKEN, "wrong-token", "private"):
            self.assertNotIn(text, str(logs))


class LocalTests(WebCase):
    """A server without a token, which only its own machine can reach."""

    def status(self, method: str = "GET", **headers: str) -> int:
        """What a request with these headers comes to."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        path = pathOf("x") if method == "DELETE" else "/nodes"
        return self.ask(path, method, headers=names).status

    def test_hosts(self) -> None:
        """Names and addresses of this machine are answered, with any port."""
        for host in (
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:8080",
            "127.1.2.3",
            "[::1]",
            "[::1]:1",
        ):
            self.assertEqual(self.status(Host=host), 200, host)

    def test_rebinding(self) -> None:
        """Any other name is not, whatever address it has: a page elsewhere may have chosen it."""
        for host in (
            "evil.example",
            "evil.example:80",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "[2001:db8::1]",
            "localhost@evil.example",
            "localhost:80:80",
            "::1",
            "[::1",
            "2130706433",
            "0",
            "",
        ):
            for method in ("GET", "DELETE"):
                self.assertEqual(self.status(method, Host=host), 421, host)
        self.assertEqual(self.ask("/", headers={"Host": "evil.example"}).status, 421)

    def test_noHost(self) -> None:
        """Without a Host, or with two, nothing is answered, not even to old programs."""
        for head in (b"HTTP/1.1\r\n", b"HTTP/1.0\r\n", b"HTTP/1.1\r\nHost: a\r\nHost: b\r\n"):
            connection = self.open(b"GET /nodes " + head + b"\r\n")
            self.assertIn(b" 400 Bad Request\r\n", connection.read())

    def test_otherSites(self) -> None:
        """A page of another site may change nothing, and not keep the server busy, either."""
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:8080"},
            {"Origin": "http://localhost.evil.example"},
            {"Origin": "file://"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
        ):
            self.assertEqual(self.status("DELETE", **headers), 403, headers)
            self.assertEqual(self.status("GET", Sec_Fetch_Mode="no-cors", **headers), 403)
            self.assertEqual(self.status("GET", **headers), 403)
            path = pathOf("x", "/messages")
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            self.assertEqual(self.ask(path, "POST", headers=names, body=b"x").status, 403)

    def test_link(self) -> None:
        """A link on a page of another site may be followed; it changes nothing."""
        for site in "cross-site", "same-site":
            link = {"Sec_Fetch_Site": site, **LINK}
            self.assertEqual(self.status("GET", **link), 200)
            self.assertEqual(self.status("DELETE", **link), 403)

    def test_frames(self) -> None:
        """
        A page of another site may not put anything from here into itself.

        For a browser a frame is navigated as a window is, but nobody has followed a link: the
        page may have hundreds of them, unseen, and learn how long each takes.
        """
        for site in "cross-site", "same-site":
            for destination in "iframe", "frame", "embed", "object", "fencedframe", "empty", "":
                frame = {"Sec_Fetch_Site": site, **LINK, "Sec_Fetch_Dest": destination}
                self.assertEqual(self.status("GET", **frame), 403, frame)
                names = {name.replace("_", "-"): value for name, value in frame.items()}
                for path in "/", "/things", "/events", "/metrics", "/healthz":
                    self.assertEqual(self.ask(path, headers=names).status, 403, path)
            unsaid = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate"}
            self.assertEqual(self.status("GET", **unsaid), 403)

    def test_prefetch(self) -> None:
        """Nor may it have a browser fetch something from here before anybody follows a link."""
        for header in "Sec_Purpose", "Purpose", "X_Moz":
            for purpose in "prefetch", "prefetch;prerender", "prefetch;anonymous-client-ip":
                early = {"Sec_Fetch_Site": "cross-site", **LINK, header: purpose}
                self.assertEqual(self.status("GET", **early), 403, early)

    def test_ownPage(self) -> None:
        """The server's own page, and programs that are no browsers, may."""
        for headers in (
            {},
            {"Origin": "http://localhost"},
            {"Host": "[::1]:80", "Origin": "http://[::1]:80"},
            {"Origin": "http://localhost", "Sec_Fetch_Site": "same-origin"},
            {"Sec_Fetch_Site": "none"},
        ):
            self.assertEqual(self.status("DELETE", **headers), 404, headers)


class RoleTests(WebCase):
    """A server with a second token, with which one may only look."""

    def setUp(self) -> None:
        super().setUp()
        self.files = [write(self.mktemp(), text.encode()) for text in (TOKEN, VIEW_TOKEN)]
        self.serve(FileToken(self.files[0]), viewToken=FileToken(self.files[1]))

    def bearing(self, token: str, path: str, method: str = "GET", **more: Any) -> Response:
        """A request with a token."""
        return self.ask(path, method, headers={"Authorization": f"Bearer {token}"}, **more)

    def test_viewer(self) -> None:
        """All that is told is told to a viewer but invitations; whatever changes is refused."""
        self.connect(self.home, "lamp")
        looked = 0
        for path, route in self.site.api.routes.known.items():
            where = path.replace("{id}", "0" * 16)
            where += {"/thing": "?id=lamp"}.get(path, "")
            for method in (each.decode() for each in route.methods):
                if route.public or path == "/events":
                    continue
                found = self.bearing(VIEW_TOKEN, where, method, body=b"{}")
                mayLook = method == "GET" and "invitations" not in path
                if mayLook:
                    looked += 1
                    self.assertIn(found.status, (200, 404), (method, path))
                else:
                    self.assertEqual(found.title, "With this token one may only look.", path)
                    self.assertEqual(found.status, 403)
                self.assertEqual(found.headers["thing-role"], "viewer")
        self.assertGreater(looked, 5)
        self.assertEqual(len(self.home.local), 1)

    def test_admin(self) -> None:
        """With the first token everything may be done, and is said to be."""
        self.connect(self.home, "lamp")
        found = self.bearing(TOKEN, "/thing?id=lamp", "DELETE")
        self.assertEqual((found.status, found.headers["thing-role"]), (202, "admin"))
        self.assertEqual(self.bearing(TOKEN, "/invitations").status, 404)

    def test_public(self) -> None:
        """What needs no token says nothing of what one may do, and nor does a refusal."""
        for path in ("/", "/healthz", "/things"):
            self.assertNotIn("thing-role", self.ask(path).headers)

    def test_same(self) -> None:
        """If both come to be the same, nobody may do more than look."""
        write(self.files[0], VIEW_TOKEN.encode())
        self.assertEqual(self.bearing(VIEW_TOKEN, "/thing?id=lamp", "DELETE").status, 403)
        self.assertEqual(self.bearing(TOKEN, "/nodes").status, 401)

    def test_events(self) -> None:
        """A viewer follows the events until the token is another one."""
        headers = {"Authorization": f"Bearer {VIEW_TOKEN}"}
        reader = self.open(request("GET", "/events", headers))
        self.assertIn(b"Thing-Role: viewer", reader.read())
        self.advance(1)
        reader.read()
        self.assertIsNone(reader.closed)
        write(self.files[1], b"yet-another-token-of-some-length")
        self.advance(1)
        reader.read()
        self.assertIsNotNone(reader.closed)

    def test_files(self) -> None:
        """A second token needs a first one that is another; its file may be read by its owner."""
        for first, second, why in (
            (None, self.files[1], "needs a --status-token"),
            (self.files[0], write(self.mktemp(), TOKEN.encode()), "is another one"),
            (self.files[0], write(self.mktemp(), b"short"), "not a token"),
        ):
            with self.assertRaisesRegex(ThingError, why):
                makeStatusService(Clock(), self.home, "8080", first, second)
        os.chmod(self.files[1], 0o644)
        with self.assertRaisesRegex(ThingError, "too open"):
            makeStatusService(Clock(), self.home, "8080", *self.files)


class WhereTests(WebCase):
    """Where a server may listen."""

    def make(self, description: str, tokenFile: str | None = None) -> object:
        """A service that would listen there."""
        return makeStatusService(Clock(), self.home, description, tokenFile)

    def test_local(self) -> None:
        """What only this machine can reach needs no token."""
        self.make("8080")
        for description in (
            "tcp:8080:interface=127.0.0.1",
            "tcp:8080:interface=127.9.9.9",
            "tcp:interface=localhost:port=8080",
            "tcp6:8080:interface=\\:\\:1",
            "unix:/run/thing.socket",
            "unix:address=/run/thing.socket:mode=600",
        ):
            self.assertTrue(isLocal(description), description)

    def test_notLocal(self) -> None:
        """What others can reach, or may be able to, needs one; the refusal is one plain line."""
        for description in (
            "tcp:8080",
            "tcp:8080:interface=",
            "tcp:8080:interface=0.0.0.0",
            "tcp:8080:0.0.0.0",
            "tcp:8080:interface=0.0.0.0\\:interface=127.0.0.1",
            "tcp:8080:interface=192.0.2.1",
            "tcp:8080:interface=localhost.evil.example",
            "tcp:8080:interface=127.0.0.1:interface=0.0.0.0",
            "tcp6:8080",
            "tcp6:8080:interface=\\:\\:",
            "ssl:8080:interface=127.0.0.1",
            "systemd:domain=INET:index=0",
            "haproxy:tcp:8080:interface=127.0.0.1",
            "fd:3",
        ):
            self.assertFalse(isLocal(description), description)
            with self.assertRaises(StatusError) as caught:
                self.make(description)
            self.assertRegex(str(caught.exception), "^--status=.* --status-token$")

    def test_url(self) -> None:
        """The log tells what a browser or a command takes, if that is known."""
        for description, address, url in (
            ("tcp:1", IPv4Address("TCP", "127.0.0.1", 9001), "http://127.0.0.1:9001"),
            ("tcp:1", IPv4Address("TCP", "0.0.0.0", 9001), "http://localhost:9001"),
            ("tcp6:1", IPv6Address("TCP", "::", 9001), "http://localhost:9001"),
            ("tcp6:1", IPv6Address("TCP", "::1", 9001), "http://[::1]:9001"),
            ("ssl:1", IPv4Address("TCP", "192.0.2.1", 443), "https://192.0.2.1:443"),
            ("haproxy:tcp:1", IPv4Address("TCP", "192.0.2.1", 9001), "192.0.2.1:9001"),
            ("systemd:domain=UNIX", UNIXAddress(b"/run/thing"), "unix:/run/thing"),
        ):
            self.assertEqual(urlOf(description, address), url)

    def modeOf(self, description: str, tokenFile: str | None = None) -> int:
        """With which mode a service would listen on a unix socket."""
        reactor = MemoryReactorClock()
        service = makeStatusService(reactor, self.home, description, tokenFile)
        service.privilegedStartService()
        ((_, _, _, mode, _),) = reactor.unixServers
        return mode

    def test_modes(self) -> None:
        """Whoever can connect to a unix socket without a token owns it, unless it is said."""
        for description, mode in (
            ("unix:/run/thing/status", 0o600),
            ("unix:address=/run/thing/status", 0o600),
            ("unix:/run/thing/status:backlog=5", 0o600),
            ("unix:/run/thing/mode\\=666", 0o600),
            ("unix:/run/thing\\:666", 0o600),
            ("unix:/run/thing/status:mode=660", 0o660),
            ("unix:mode=666:address=/run/thing/status", 0o666),
            ("unix:/run/thing/status:660", 0o660),
            ("unix:/run/thing/status:660:5", 0o660),
        ):
            self.assertEqual(oct(self.modeOf(description)), oct(mode), description)
        token = write(self.mktemp(), TOKEN.encode())
        self.assertEqual(self.modeOf("unix:/run/thing/status", token), 0o666)

    def test_useless(self) -> None:
        """An endpoint that is none is refused in one line."""
        path = write(self.mktemp(), TOKEN.encode())
        for description in ("tcp:x:interface=127.0.0.1", "tcp6:", "nonsense"):
            with self.assertRaises(StatusError) as caught:
                self.make(description, path)
            self.assertNotIn("\n", str(caught.exception))
        with self.assertRaises(CredentialError):
            self.make("tcp:8080", self.mktemp())

    def test_loopback(self) -> None:
        """A host is this machine by its name or its address, and nobody is asked."""
        for host in ("localhost", "127.0.0.1", "127.255.0.1", "::1"):
            self.assertTrue(isLoopback(host), host)
        for host in ("", "example", "10.0.0.1", "::", "127.0.0.1.nip.example", "localhost."):
            self.assertFalse(isLoopback(host), host)
