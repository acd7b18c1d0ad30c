"""What clients of the fleet's HTTP server cannot do: hold, fill, flood or confuse it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.logger import capturedLogs, formatEvent

from tests.fleet.http.web import Connection, WebCase, parseResponses, pathOf, request
from tests.trust.test_keys import write
from thing.core.messages import REQUEST_LIMIT
from thing.fleet.http.answers import ANSWER_TIMEOUT
from thing.fleet.http.channel import (
    LINGER_TIMEOUT,
    MARK,
    MAX_CONNECTIONS,
    MAX_DISCARDED,
    MAX_HEAD,
    MAX_HEADERS,
    REQUEST_TIMEOUT,
)
from thing.fleet.http.guard import FileToken
from thing.fleet.http.places import MAX_ADMITTED, MAX_STRANGERS

TOKEN = "correct-horse-battery-staple"

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


class SlowTests(WebCase):
    """Clients that take their time."""

    def trickle(self, connection: Connection, octets: bytes, every: float) -> float:
        """Send octets one by one; how long it took until the connection was closed, or all sent."""
        began = self.clock.seconds()
        for at in range(len(octets)):
            if connection.closed:
                break
            connection.send(octets[at : at + 1])
            self.clock.advance(every)
            connection.read()
        return self.clock.seconds() - began

    def test_silent(self) -> None:
        """A connection on which nothing is asked is closed."""
        connection = self.open()
        self.clock.advance(REQUEST_TIMEOUT - 0.5)
        self.assertIsNone(connection.read() or connection.closed)
        self.clock.advance(1)
        connection.read()
        self.assertIs(connection.closed, ConnectionDone)

    def test_slowHeaders(self) -> None:
        """Headers that trickle in buy no more time."""
        taken = self.trickle(self.open(), HEAD + b"X: y\r\n" * 100, 1.0)
        self.assertLessEqual(taken, REQUEST_TIMEOUT + 1)

    def test_slowBody(self) -> None:
        """Nor does a body that does."""
        connection = self.open(request("POST", pathOf("x", "/messages"), {"Content-Length": "999"}))
        self.assertLessEqual(self.trickle(connection, bytes(999), 1.0), REQUEST_TIMEOUT + 1)
        self.assertEqual(connection.received, b"")

    def test_slowChunks(self) -> None:
        """Nor one in chunks."""
        headers = {"Transfer-Encoding": "chunked"}
        connection = self.open(request("POST", pathOf("x", "/messages"), headers))
        self.assertLessEqual(self.trickle(connection, b"1\r\nx\r\n" * 99, 1.0), REQUEST_TIMEOUT + 1)

    def test_idle(self) -> None:
        """After an answer the time begins anew, for the next request."""
        connection = self.open()
        for _ in range(3):
            self.clock.advance(REQUEST_TIMEOUT - 1)
            connection.send(request("GET", "/healthz"))
            self.assertIn(b"200 OK", connection.read())
        self.clock.advance(REQUEST_TIMEOUT + 1)
        connection.read()
        self.assertIs(connection.closed, ConnectionDone)

    def test_answerNotRead(self) -> None:
        """A client that does not read its answer is cut off."""
        for at in range(200):
            self.connect(self.home, f"thing {at}")
        connection = self.open(request("GET", "/things?limit=200"))
        self.assertGreater(len(connection.buffered), Connection.bufferSize)
        self.clock.advance(ANSWER_TIMEOUT + 1)
        connection.read()
        self.assertIs(connection.closed, ConnectionAborted)

    def test_answerReadSlowly(self) -> None:
        """One that reads it slowly gets it whole."""
        for at in range(200):
            self.connect(self.home, f"thing {at}")
        connection = self.open(request("GET", "/things?limit=200"))
        for _ in range(20):
            connection.read(10_000)
            self.clock.advance(1)
        connection.read()
        (response,) = parseResponses(bytes(connection.received))
        self.assertEqual(len(response.json["things"]), 200)
        self.assertIn(b"ok", connection.send(request("GET", "/healthz")).read())

    def test_lastWordsNotRead(self) -> None:
        """A connection that is to be closed is, whether the client reads or not."""
        connection = self.open(request("GET", "/healthz", {"Connection": "close"}))
        self.assertIsNone(connection.closed)
        self.clock.advance(LINGER_TIMEOUT + 1)
        connection.read()
        self.assertIs(connection.closed, ConnectionAborted)


class BigTests(WebCase):
    """Clients that send too much."""

    def assertRefused(self, connection: Connection) -> None:
        """It was told 400 as a problem, and closed."""
        (response,) = parseResponses(connection.read())
        self.assertEqual(response.status, 400)
        self.assertTrue(response.title)
        self.assertIn(MARK.lower(), response.headers)
        self.assertIn("frame-ancestors 'none'", response.headers["content-security-policy"])
        self.assertIs(connection.closed, ConnectionDone)

    def test_line(self) -> None:
        """A request line, or a header, that has no end is refused while it grows."""
        for beginning in (b"GET /", HEAD + b"X: "):
            connection = self.open(beginning)
            for _ in range(20):
                connection.send(b"x" * 1024)
            self.assertRefused(connection)

    def test_head(self) -> None:
        """So are headers that are too long together."""
        self.assertRefused(self.open(HEAD + b"X: %s\r\n" % (b"y" * 1000) * (MAX_HEAD // 1000 + 1)))

    def test_headers(self) -> None:
        """So are too many headers."""
        self.assertRefused(self.open(HEAD + b"X: y\r\n" * MAX_HEADERS + b"\r\n"))

    def test_longestUrl(self) -> None:
        """An address may be long."""
        self.assertEqual(self.ask("/things?q=" + "x" * 10_000).status, 200)

    def test_nonsense(self) -> None:
        """What is no HTTP is refused in HTTP's words."""
        for data in (
            b"\x16\x03\x01\x02\x00\r\n",
            b"GET /\r\n",
            b"GET / HTTP/1.1 x\r\n",
            HEAD + b"no colon\r\n\r\n",
            HEAD + b"Content-Length: -1\r\n\r\n",
            HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
            HEAD + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        ):
            self.assertRefused(self.open(data))

    def test_afterNonsense(self) -> None:
        """What comes over TLS until the connection is closed, as it is to be, is not looked at."""
        connection = self.open(b"nonsense\r\n")
        connection.send(b"\r\n").send(request("GET", "/healthz"))
        self.assertRefused(connection)

    def test_body(self) -> None:
        """A body that is too long is never kept; who reads the answer is told."""
        path, body = pathOf("x", "/messages"), bytes(REQUEST_LIMIT * 4)
        head = request("POST", path, {"Transfer-Encoding": "chunked"})
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        for data in (request("POST", path, body=body), head + chunks):
            connection = self.open()
            for at in range(0, len(data), 4096):
                connection.send(data[at : at + 4096])
                for each in connection.channel.requests:
                    self.assertLessEqual(len(each.content.getvalue()), REQUEST_LIMIT)
            (response,) = parseResponses(connection.read())
            self.assertEqual(response.status, 413)

    def test_endlessBody(self) -> None:
        """A client that goes on and on is cut off."""
        data = {"Content-Length": str(1 << 40)}
        connection = self.open(request("POST", pathOf("x", "/messages"), data))
        sent = 0
        while not connection.closed:
            connection.send(bytes(65536))
            sent += 65536
        self.assertIs(connection.closed, ConnectionAborted)
        self.assertLessEqual(sent, MAX_DISCARDED + 65536)

    def test_bodyOfGet(self) -> None:
        """A body where none belongs is thrown away."""
        connection = self.open(request("GET", "/healthz", body=bytes(100_000)))
        connection.send(request("GET", "/readyz"))
        self.assertEqual([r.status for r in parseResponses(connection.read())], [200, 200])

    def test_expectation(self) -> None:
        """A client that asks before it sends its body is told to go on."""
        headers = {"Expect": "100-continue", "Content-Length": "1"}
        connection = self.open(request("POST", pathOf("x", "/messages"), headers))
        self.assertEqual(connection.read(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertIn(b"404 Not Found", connection.send(b"x").read())


TEMPLATES = (
    request("GET", "/things?limit=3&q=a"),
    request("POST", "/thing/messages?id=a%2Fb&timeout=1", {"Expect": "100-continue"}, b"hello"),
    request("POST", "/thing/messages?id=x", {"Transfer-Encoding": "chunked"})
    + b"3\r\nabc\r\n0\r\n\r\n",
    request("GET", "/events?after=1-0&kind=left", {"Last-Event-ID": "2-0"}),
    request("DELETE", "/thing?id=x", {"Origin": "http://localhost"}),
    request("HEAD", "/metrics", {"Connection": "close"}),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Requests with octets changed, taken out or put in anywhere, cut into pieces anywhere."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(TEMPLATES), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
    return [bytes(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


class AnyOctetsTests(WebCase):
    """Whatever a client sends."""

    @given(conversations())
    def test_conversations(self, pieces: list[bytes]) -> None:
        """It is answered in HTTP or not at all; nothing fails, and nothing is left behind."""
        connection = self.open()
        for piece in pieces:
            connection.send(piece)
            self.assertRegex(connection.read(), rb"^(HTTP/1\.1 [1-5]\d\d |[^H]|$)")
        self.assertNotIn(b" 500 ", connection.received)
        self.clock.advance(REQUEST_TIMEOUT + 1)
        connection.read()
        connection.leave()
        self.assertEqual((self.site.channels, self.site.api.readers), (set(), set()))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CrowdTests(WebCase):
    """Strangers that hold more connections than there are places."""

    def setUp(self) -> None:
        super().setUp()
        self.serve(FileToken(write(self.mktemp(), TOKEN.encode())))

    def bearing(self, path: str) -> bytes:
        """What who knows the token asks."""
        return request("GET", path, {"Authorization": f"Bearer {TOKEN}"})

    def test_healthOfANeighbour(self) -> None:
        """One who holds all that can be had keeps out nobody, not even at the same address."""
        held = [self.open() for _ in range(3 * MAX_CONNECTIONS)]
        for host in "127.0.0.1", "192.0.2.1":
            for path in "/healthz", "/readyz", "/":
                self.assertIn(b"200 OK", self.open(request("GET", path), host).read())
            self.assertIn(b"200 OK", self.open(self.bearing("/metrics"), host).read())
        for each in held:
            each.read()
        self.assertLessEqual(len(self.site.channels), MAX_CONNECTIONS)
        self.assertIs(held[0].closed, ConnectionAborted)

    def test_comingBack(self) -> None:
        """Nor by coming back with each that was closed, however much of a request it has sent."""
        honest = self.open(HEAD, "192.0.2.1")
        held = [self.open(HEAD) for _ in range(MAX_CONNECTIONS)]
        for _ in range(5):
            for each in held:
                each.read()
            held = [each if not each.closed else self.open(HEAD) for each in held]
        self.assertIn(b"200 OK", honest.send(b"\r\n").read())

    def test_known(self) -> None:
        """Who has shown the token stays, idle or not, until its time is over."""
        known = [self.open(self.bearing("/nodes")), self.open(self.bearing("/events"))]
        for at in range(3 * MAX_CONNECTIONS):
            self.open(host=f"192.0.2.{at % 250}").read()
        for each in known:
            each.read()
            self.assertIsNone(each.closed)
        self.assertIn(b"200 OK", known[0].send(self.bearing("/things")).read())

    def test_wrongToken(self) -> None:
        """Who shows another has proved nothing."""
        wrong = self.open(request("GET", "/nodes", {"Authorization": "Bearer wrong"}), "192.0.2.1")
        self.assertIn(b"401 Unauthorized", wrong.read())
        for at in range(MAX_STRANGERS):
            self.open(host=f"192.0.2.{at + 2}")
        self.assertIs(wrong.read() or wrong.closed, ConnectionAborted)

    def test_manyKnown(self) -> None:
        """Too many who know the token are told so, if all wait for an answer; else one goes."""
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        idle = self.open(self.bearing("/nodes"))
        for at in range(MAX_ADMITTED):
            idle.read()
            self.assertIsNone(idle.closed)
            self.connect(self.home, f"lamp {at}")  # It answers when it is pumped: never.
            self.open(request("POST", pathOf(f"lamp {at}", "/messages"), bearer, b"hello"))
        self.assertIs(idle.read() or idle.closed, ConnectionAborted)
        (response,) = parseResponses(self.open(self.bearing("/nodes")).read())
        self.assertEqual((response.status, response.headers["retry-after"]), (503, "1"))
        self.assertEqual(self.ask("/healthz").status, 200)
        self.assertEqual(self.site.limitsHit, {"admitted": 2})

    def test_slowKnown(self) -> None:
        """Who has shown the token, and now trickles, keeps no place from others that have it."""
        held = [self.open(self.bearing("/nodes")) for _ in range(MAX_ADMITTED)]
        for each in held:
            each.send(HEAD)
        self.assertIn(b"200 OK", self.open(self.bearing("/nodes")).read())
        for each in held:
            each.read()
        self.assertEqual([each.closed is None for each in held], [False] + [True] * (len(held) - 1))

    def test_told(self) -> None:
        """It is counted, and logged with the address, once a second however many they are."""
        with capturedLogs() as logs:
            for _ in range(MAX_STRANGERS + 100):
                self.open(host="192.0.2.7")
            self.clock.advance(1)
            self.open()
        self.assertEqual(self.site.limitsHit, {"strangers": 101})
        told = [str(formatEvent(log)) for log in logs if log["log_level"].name == "warn"]
        self.assertEqual(len(told), 3, told)
        self.assertIn("from 192.0.2.7:1 met the limit of strangers", told[0])
        self.assertIn("99 more connections", told[1])


class ManyTests(WebCase):
    """Clients that are many, or ask for much."""

    def test_pipelineNotRead(self) -> None:
        """Who asks a hundred times and reads nothing is answered once, not a hundred times."""
        for at in range(150):
            self.connect(self.home, f"thing {at}")
        one = len(self.ask("/things?limit=150").body)
        self.assertGreater(one, Connection.bufferSize)
        connection = self.open(request("GET", "/things?limit=150") * 100)
        self.assertLess(len(connection.buffered), 2 * one)
        self.assertLess(connection.highest, 2 * one)
        connection.read()
        self.assertEqual(len(parseResponses(bytes(connection.received))), 100)
        self.assertLess(connection.highest, 2 * one + Connection.bufferSize)

    def test_floodWhileWaiting(self) -> None:
        """While a request waits for its answer, a little more is read ahead, and no more."""
        pair = self.connect(self.home, "lamp")
        connection = self.open(request("POST", pathOf("lamp", "/messages"), body=b"x"))
        sent = 0
        while connection.reading and sent < 1 << 20:
            connection.send(request("GET", "/healthz") * 10)
            sent += 10 * len(request("GET", "/healthz"))
        self.assertLess(sent, 65536)
        pair.pump()
        self.assertTrue(connection.read().startswith(b"HTTP/1.1 200 OK"))
        self.assertTrue(connection.reading)

    def test_oldProgram(self) -> None:
        """An HTTP/1.0 client gets its answer, and the end."""
        connection = self.open(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        self.assertTrue(connection.read().endswith(b"ok\n"))
        self.assertIs(connection.closed, ConnectionDone)

    def test_clientLeaves(self) -> None:
        """A client may go away at any octet of its request."""
        data = request("POST", pathOf("x", "/messages"), body=b"abc")
        for at in range(len(data)):
            self.open(data[:at]).leave()
        self.assertEqual(self.site.channels, set())

    def test_close(self) -> None:
        """When the server closes, connections that idle, ask or are answered end in time."""
        for at in range(150):
            self.connect(self.home, f"thing {at}")
        states = (b"", HEAD, request("GET", "/things?limit=150"), request("GET", "/events"))
        held = [self.open(state) for state in states]
        closed: list[None] = []
        self.site.close().addCallback(closed.append)
        for connection in held[:2]:
            connection.read()
            self.assertIs(connection.closed, ConnectionDone)
        self.assertTrue(held[3].read().endswith(b"0\r\n\r\n"))
        self.assertEqual(closed, [])
        self.clock.advance(LINGER_TIMEOUT + 1)
        held[2].read()
        self.assertEqual(closed, [None])
        self.site.close().addCallback(closed.append)
        self.assertEqual(closed, [None, None])
