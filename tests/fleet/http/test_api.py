"""What the fleet's HTTP server answers."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any
from unittest import mock

from jsonschema import Draft202012Validator
from twisted.internet.defer import Deferred, fail, succeed

from tests.fleet.http.web import Response, WebCase, parseResponses, pathOf, request
from thing import EndReason, ReplyStatus, RequestFailed
from thing.core.capacity import Capacity
from thing.core.messages import REQUEST_LIMIT
from thing.core.requests import REQUESTS_OUTSTANDING
from thing.fleet import Undelivered
from thing.fleet.http.answers import encode, pageAnswer
from thing.fleet.http.description import DESCRIPTION
from thing.session.protocol import linkOf

Json = dict[str, Any]


def closed(schema: Any) -> Any:
    """A schema whose objects may have nothing that is not described."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(each) for name, each in schema.items()}
    if "properties" in found and found.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


def schemaOf(name: str) -> Json:
    """What the description says of a kind of object, to the letter."""
    components = closed(DESCRIPTION["components"]["schemas"])
    return {"$ref": f"#/components/schemas/{name}", "components": {"schemas": components}}


def operationFor(method: str, path: str) -> Json | None:
    """What the description says of a request, if it does."""
    template = re.sub("/[0-9a-f]{16}(?![^/])", "/{id}", path.partition("?")[0])
    found: Json | None = DESCRIPTION["paths"].get(template, {}).get(method.lower())
    return found


class ApiCase(WebCase):
    """Tests of answers, each of which is compared with the description."""

    def ask(self, path: str, method: str = "GET", **more: Any) -> Response:  # type: ignore[override]
        response = super().ask(path, method, **more)
        operation = operationFor("GET" if method == "HEAD" else method, path)
        if operation is not None:
            self.check(operation, response, method == "HEAD")
        return response

    def check(self, operation: Json, response: Response, head: bool) -> None:
        """Compare an answer with what is said of it."""
        described = operation["responses"][str(response.status)]
        contentType = response.headers["content-type"].partition(";")[0]
        schema = described["content"][contentType]["schema"]
        for header in described.get("headers", {}):
            self.assertIn(header.lower(), response.headers)
        if head or contentType == "text/html":
            return
        isJson = contentType.endswith("json")
        found = response.json if isJson else response.body.decode()
        whole = {**closed(schema), "components": closed(DESCRIPTION["components"])}
        Draft202012Validator(whole).validate(found)


class ListTests(ApiCase):
    """``/things``."""

    def test_nobody(self) -> None:
        """Without a thing the list is empty, and says who answers and that it is complete."""
        response = self.ask("/things")
        self.assertEqual(response.status, 200)
        self.assertEqual(
            response.json, {"things": [], "following": None, "complete": True, "node": "node"}
        )

    def test_pages(self) -> None:
        """Pages of things follow one another in the order of their ids, and the last one ends."""
        for name in ("d", "a", "c", "b", "e"):
            self.connect(self.home, name)
        found, after, pages = [], "", 0
        while after is not None:
            page = self.ask(f"/things?limit=2&after={after}").json
            found += [thing["id"] for thing in page["things"]]
            after, pages = page["following"], pages + 1
        self.assertEqual(found, ["a", "b", "c", "d", "e"])
        self.assertEqual(pages, 3)

    def test_filters(self) -> None:
        """A text, a status and a node choose; those that are gone are listed when asked for."""
        pairs = {name: self.connect(self.home, name) for name in ("lamp", "clock", "Lamp 2")}
        pairs["clock"].client.goodbye()
        self.advance(1)

        def listed(query: str) -> list[str]:
            return [thing["id"] for thing in self.ask(f"/things?{query}").json["things"]]

        self.assertEqual(listed(""), ["Lamp 2", "lamp"])
        self.assertEqual(listed("q=LAMP"), ["Lamp 2", "lamp"])
        self.assertEqual(listed("q=lamp+2"), ["Lamp 2"])
        self.assertEqual(listed("status=gone"), ["clock"])
        self.assertEqual(listed("status=late"), [])
        self.assertEqual(listed("node=node&status=present"), ["Lamp 2", "lamp"])
        self.assertEqual(listed("node=another"), [])

    def test_refused(self) -> None:
        """What is not understood is refused, and named; it is not ignored."""
        for query, parameter in {
            "limit=0": "limit",
            "limit=1001": "limit",
            "limit=": "limit",
            "limit=1.0": "limit",
            "limit=%D9%A1": "limit",
            "limit=1&limit=2": "limit",
            "status=": "status",
            "status=asleep": "status",
            "lim=3": "lim",
            "": None,
        }.items():
            response = self.ask(f"/things?{query}")
            if parameter is None:
                self.assertEqual(response.status, 200)
            else:
                self.assertEqual(response.status, 400, query)
                self.assertEqual(response.json["parameter"], parameter)

    def test_badEscapes(self) -> None:
        """A percent sign that escapes nothing, and octets that are no UTF-8, are refused."""
        for path in ("/things%", "/thing?id=%2", "/thing?id=%zz", "/%ff", "/things?q=%C3"):
            response = self.ask(path)
            self.assertEqual(response.status, 400, path)
            self.assertTrue(response.title)


class ThingTests(ApiCase):
    """``/thing?id=ID``."""

    def test_here(self) -> None:
        """All that is known of a thing is told."""
        pair = self.connect(self.home, "lamp")
        pair.client.sendMessage(b"on")
        self.advance(31)
        found = self.ask(pathOf("lamp")).json
        self.assertEqual(found["status"], "present")
        self.assertEqual(found["session"], pair.client.sessionId)
        self.assertEqual(found["traffic"]["messagesIn"], 1)
        self.assertGreaterEqual(found["traffic"]["heartbeats"], 2)

    def test_gone(self) -> None:
        """What is known of a thing outlives its session, which is told with its end."""
        self.connect(self.home, "lamp").client.goodbye()
        self.advance(1)
        found = self.ask(pathOf("lamp")).json
        self.assertEqual((found["status"], found["traffic"]), ("gone", None))
        self.assertEqual([ending["cause"] for ending in found["endings"]], ["GOODBYE"])

    def test_unknown(self) -> None:
        """That nothing is known of a thing is said with its id, as no proxy says it."""
        response = self.ask(pathOf("no/body"))
        self.assertEqual((response.status, response.json["id"]), (404, "no/body"))
        self.assertNotIn("id", self.ask("/nothing").json)

    def test_noId(self) -> None:
        """Without an id the server says what is missing, and does nothing."""
        for path, method in (
            *(("/thing", "GET"), ("/thing?id=", "GET"), ("/thing", "DELETE")),
            ("/thing/messages", "POST"),
        ):
            response = self.ask(path, method)
            self.assertEqual((response.status, response.json["parameter"]), (400, "id"))

    def test_names(self) -> None:
        """A thing may be called anything; what has a meaning in an address is escaped."""
        names = ["a/b", "a//b", "..", "a#b", "a?b", "100 %", "Ångström", "灯", "a+b", "%2F", "a&b"]
        for name in names:
            self.connect(self.home, name)
        for name in names:
            self.assertEqual(self.ask(pathOf(name)).json["id"], name)
        listed = self.ask("/things").json["things"]
        self.assertEqual([thing["id"] for thing in listed], sorted(names))
        for name in names:
            self.assertEqual(self.ask(pathOf(name), "DELETE").status, 202)

    def test_fingerprint(self) -> None:
        """A thing that the authorizer gives no name is called by its key's fingerprint."""
        key = self.key("x")
        self.book.names[key.fingerprint] = None  # type: ignore[assignment]
        self.connect(self.home, "x", key)
        self.assertEqual(self.ask(pathOf(key.fingerprint)).json["name"], None)

    def test_notUnicode(self) -> None:
        """A name that is no Unicode, as a file of keys may give it, breaks no answer."""
        self.assertEqual(json.loads(encode(["bad \udcff", "Å"]).decode()), ["bad \udcff", "Å"])


class MessageTests(ApiCase):
    """``POST /thing/messages?id=ID``."""

    def setUp(self) -> None:
        super().setUp()
        self.pair = self.connect(self.home, "lamp")

    def answering(self, answer: Any) -> None:
        """Have the thing's program answer requests like this."""
        self.pair.client.requestReceived = answer  # type: ignore[method-assign]

    def post(self, body: bytes, more: str = "", seconds: float = 0.0, **choices: Any) -> Response:
        """Send a message, and let the network and the clock work until there is an answer."""
        data = request("POST", pathOf("lamp", "/messages") + more, body=body, **choices)
        connection = self.open(data)
        self.pair.pump()
        self.advance(seconds)
        (response,) = parseResponses(connection.read())
        self.check(DESCRIPTION["paths"]["/thing/messages"]["post"], response, False)
        return response

    def test_acknowledged(self) -> None:
        """A message that the program took is acknowledged; by default it answers nothing."""
        response = self.post(b"light up")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.json, {"acknowledged": True, "reply": {"text": ""}})
        self.assertEqual(self.pair.client.messages, [b"light up"])

    def test_reply(self) -> None:
        """An answer comes back as text, or in base64 if it is none."""
        self.answering(lambda data: data.upper())
        self.assertEqual(self.post("grün".encode()).json["reply"], {"text": "GRüN"})
        self.answering(lambda data: data)
        self.assertEqual(self.post("grün".encode()).json["reply"], {"text": "grün"})
        binary = bytes(range(256))
        reply = self.post(binary).json["reply"]
        self.assertEqual(base64.b64decode(reply["base64"]), binary)

    def test_anyContentType(self) -> None:
        """The octets arrive as they are, whatever their type is said to be."""
        for contentType in (
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "multipart/form-data",
            "nonsense",
        ):
            self.post(b"a=1&timeout=99&%zz", headers={"Content-Type": contentType})
        self.assertEqual(self.pair.client.messages, [b"a=1&timeout=99&%zz"] * 4)

    def test_longest(self) -> None:
        """The longest message is taken, and one octet more is refused before anybody is asked."""
        self.assertEqual(self.post(bytes(REQUEST_LIMIT)).status, 200)
        response = self.post(bytes(REQUEST_LIMIT + 1))
        self.assertEqual(response.status, 413)
        self.assertIn(str(REQUEST_LIMIT), response.title)
        self.assertEqual(len(self.pair.client.messages), 1)

    def test_smallThing(self) -> None:
        """What the thing's own records do not hold is refused, and the answer says how much is."""
        linkOf(self.pair.server).core._peerCapacity = Capacity(512, 576, 128, 0)
        response = self.post(bytes(491))
        self.assertEqual(response.status, 413)
        self.assertIn("491 octets, and the peer takes 490 at most", response.title)
        self.assertEqual(self.post(bytes(490)).status, 200)

    def test_notHere(self) -> None:
        """To a thing that is not here nothing is sent."""
        self.assertEqual(self.ask(pathOf("no", "/messages"), "POST", body=b"x").status, 404)
        self.pair.client.goodbye()
        self.advance(1)
        self.assertEqual(self.ask(pathOf("lamp", "/messages"), "POST", body=b"x").status, 404)

    def test_noAnswer(self) -> None:
        """A thing that does not answer in time may have the message."""
        self.answering(lambda data: Deferred())
        response = self.post(b"x", "&timeout=2.5", 3.0)
        self.assertEqual(response.status, 504)
        self.assertEqual(response.json["acknowledged"], False)

    def test_sessionEnds(self) -> None:
        """So may one whose session ends before it answered."""
        self.answering(lambda data: self.pair.client.abort())
        response = self.post(b"x")
        self.assertEqual((response.status, response.json["acknowledged"]), (504, False))

    def test_nodeAway(self) -> None:
        """So may one whose node does not answer."""
        with mock.patch.object(self.home, "deliver", return_value=fail(Undelivered("away"))):
            response = self.ask(pathOf("lamp", "/messages"), "POST", body=b"x")
        self.assertEqual((response.status, response.json["acknowledged"]), (504, False))

    def test_takesNone(self) -> None:
        """A program that takes no requests says so."""

        def refuse(data: bytes) -> bytes:
            raise RequestFailed(ReplyStatus.NOT_TAKEN)

        self.answering(refuse)
        self.assertEqual(self.post(b"x").status, 409)

    def test_busy(self) -> None:
        """A program that has too much to do may be asked again."""

        def refuse(data: bytes) -> bytes:
            raise RequestFailed(ReplyStatus.BUSY)

        self.answering(refuse)
        response = self.post(b"x")
        self.assertEqual(response.status, 503)
        self.assertEqual(response.headers["retry-after"], "1")

    def test_fails(self) -> None:
        """A program that fails is told apart from one that is not there."""

        def fail(data: bytes) -> bytes:
            raise RuntimeError("broken lamp")

        self.answering(fail)
        response = self.post(b"x")
        self.assertEqual(response.status, 502)
        self.assertNotIn(b"broken lamp", response.body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_tooMany(self) -> None:
        """Beyond what may be unanswered nothing more waits."""
        self.answering(lambda data: Deferred())
        data = request("POST", pathOf("lamp", "/messages"), body=b"x")
        for _ in range(REQUESTS_OUTSTANDING):
            self.open(data)
            self.pair.pump()
        response = self.post(b"x")
        self.assertEqual(response.status, 503)
        self.assertEqual(response.headers["retry-after"], "1")
        self.advance(11)

    def test_timeouts(self) -> None:
        """How long to wait is a number above zero, and a minute at most."""
        for text in ("0", "-1", "60.001", "nan", "inf", "1_0", "", "ten", "%D9%A1"):
            response = self.post(b"x", f"&timeout={text}")
            self.assertEqual((response.status, response.json["parameter"]), (400, "timeout"), text)
        for text in ("60", "1e0", ".5"):
            self.assertEqual(self.post(b"x", f"&timeout={text}").status, 200, text)

    def test_clientLeaves(self) -> None:
        """If who asked goes away meanwhile, nobody waits any more; the answer is dropped."""
        answer: Deferred[bytes] = Deferred()
        self.answering(lambda data: answer)
        connection = self.open(request("POST", pathOf("lamp", "/messages"), body=b"x"))
        self.pair.pump()
        self.assertEqual(len(linkOf(self.pair.server).requests._waiting), 1)
        connection.leave()
        self.assertEqual(len(linkOf(self.pair.server).requests._waiting), 0)
        answer.callback(b"too late")
        self.pair.pump()
        self.assertEqual(connection.read(), b"")


class DismissTests(ApiCase):
    """``DELETE /thing?id=ID``."""

    def test_asked(self) -> None:
        """A thing is asked to leave, and does."""
        pair = self.connect(self.home, "lamp")
        response = self.ask(pathOf("lamp"), "DELETE")
        self.assertEqual((response.status, response.json), (202, {}))
        self.advance(1)
        self.assertEqual(pair.client.of("goingAway"), [EndReason.CLOSING])
        self.assertEqual(self.ask(pathOf("lamp")).json["status"], "gone")

    def test_notHere(self) -> None:
        """Who is not here cannot be asked."""
        self.assertEqual(self.ask(pathOf("nobody"), "DELETE").status, 404)

    def test_nodeAway(self) -> None:
        """Nor can one whose node does not answer."""
        with mock.patch.object(self.home, "dismiss", return_value=fail(Undelivered("away"))):
            self.assertEqual(self.ask(pathOf("lamp"), "DELETE").status, 504)


class ForgetTests(ApiCase):
    """``DELETE /node?name=NODE``."""

    def test_answers(self) -> None:
        """A node is forgotten unless it is up, unknown, or nobody can tell."""
        self.assertEqual(self.ask("/node?name=node", "DELETE").status, 409)
        self.assertEqual(self.ask("/node?name=other", "DELETE").status, 404)
        for path in ("/node", "/node?name=", "/node?name=a&name=b", "/node?id=a"):
            self.assertEqual(self.ask(path, "DELETE").status, 400, path)
        for result, status in ((succeed(None), 200), (fail(Undelivered("away")), 504)):
            with mock.patch.object(self.home, "forget", return_value=result) as forget:
                self.assertEqual(self.ask("/node?name=n%2F1", "DELETE").status, status)
            forget.assert_called_once_with("n/1")


class ForgetThingTests(ApiCase):
    """``DELETE /thing/record?id=ID``."""

    def test_answers(self) -> None:
        """A thing is forgotten unless it is here, unknown, or nobody can tell."""
        pair = self.connect(self.home, "lamp")
        path = pathOf("lamp", "/record")
        self.assertEqual(self.ask(path, "DELETE").title, "The thing is here.")
        pair.client.abort()
        pair.pump()
        self.assertEqual(self.ask(pathOf("lamp")).status, 200)
        self.assertEqual(self.ask(path, "DELETE").json, {})
        found = self.ask(path, "DELETE")
        self.assertEqual((found.status, found.json["id"]), (404, "lamp"))
        self.assertEqual(self.ask(pathOf("lamp")).status, 404)
        self.assertEqual(self.ask("/thing/record", "DELETE").status, 400)
        away = fail(Undelivered("away"))
        with mock.patch.object(self.home, "forgetThing", return_value=away):
            self.assertEqual(self.ask(path, "DELETE").status, 504)


class ServerTests(ApiCase):
    """The rest of the paths, and what all of them have in common."""

    GETTABLE = ("/", "/healthz", "/readyz", "/openapi.json", "/things", "/nodes", "/metrics")

    def test_nodes(self) -> None:
        """The nodes are told with their health; in memory there is one."""
        self.connect(self.home, "lamp")
        found = self.ask("/nodes").json
        self.assertEqual(found["complete"], True)
        (node,) = found["nodes"]
        self.assertEqual((node["node"], node["status"], node["sessions"]), ("node", "up", 1))

    def test_registryAway(self) -> None:
        """While a shared registry is away, the nodes are not all that there are."""
        record = self.home.health.record("away")
        with mock.patch.object(self.home.health, "record", return_value=record):
            self.assertEqual(self.ask("/nodes").json["complete"], False)

    def test_ready(self) -> None:
        """A node that drains is healthy, and not ready."""
        self.assertEqual(self.ask("/readyz").body, b"ready\n")
        self.home.local.factory.drain(1)
        self.assertEqual(self.ask("/readyz").status, 503)
        self.assertEqual(self.ask("/healthz").body, b"ok\n")

    def test_description(self) -> None:
        """The description is served as it is."""
        self.assertEqual(self.ask("/openapi.json").json, DESCRIPTION)

    def test_everyPathIsDescribed(self) -> None:
        """The description has the paths and methods that are answered, and no others."""
        routes = {
            (path, method.decode().lower())
            for path, route in self.site.api.routes.known.items()
            for method in route.methods
        }
        described = {
            (path, method)
            for path, found in DESCRIPTION["paths"].items()
            for method in found
            if method != "parameters"
        }
        self.assertEqual(routes, described)

    def test_publicPathsAreDescribed(self) -> None:
        """The description says which paths need no token, as it is."""
        for path, route in self.site.api.routes.known.items():
            for method in route.methods:
                operation = operationFor(method.decode(), path)
                assert operation is not None
                self.assertEqual(operation.get("security") == [], route.public, path)
                self.assertEqual("401" in operation["responses"], not route.public, path)

    def test_page(self) -> None:
        """The page may run the script and the style that it holds, and nothing else."""
        page = b"<style>a{}</style><script>let b</script><script type='module'>c</script>"
        policy = pageAnswer(page).headers["Content-Security-Policy"]
        for text in (b"let b", b"c", b"a{}"):
            digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
            self.assertIn(f"'sha256-{digest}'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertIn("default-src 'none'", policy)
        self.assertEqual(self.ask("/").headers["content-type"], "text/html; charset=utf-8")

    def test_headers(self) -> None:
        """Every answer says whose it is, and tells browsers to keep, guess and load nothing."""
        paths = [*self.GETTABLE, "/nothing", "/thing?id=x", "/things?limit=x", "/things%"]
        for path in paths:
            headers = self.ask(path).headers
            self.assertEqual(headers["thing-api"], DESCRIPTION["info"]["version"], path)
            self.assertEqual(headers["cache-control"], "no-store", path)
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["referrer-policy"], "no-referrer")
            self.assertEqual(headers["cross-origin-resource-policy"], "same-origin")
            self.assertEqual(headers["cross-origin-opener-policy"], "same-origin")
            policy = headers["content-security-policy"]
            self.assertIn("default-src 'none'", policy)
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertNotIn("server", headers)
            self.assertEqual(headers["date"], "Fri, 15 Jan 2027 08:00:00 GMT")

    def test_head(self) -> None:
        """HEAD answers as GET does, without the body."""
        for path in (*self.GETTABLE, "/nothing", "/things?limit=x"):
            got, headed = self.ask(path), self.ask(path, "HEAD")
            self.assertEqual(headed.body, b"")
            self.assertEqual(headed.status, got.status)
            if path != "/metrics":  # Its figures change.
                self.assertEqual(headed.headers, got.headers)

    def test_methods(self) -> None:
        """A method that a path does not have is told which it has."""
        for method, path, allowed in (
            ("POST", "/things", "GET, HEAD"),
            ("PUT", "/thing?id=x", "GET, DELETE, HEAD"),
            ("GET", "/thing/messages?id=x", "POST"),
            ("HEAD", "/thing/messages?id=x", "POST"),
            ("OPTIONS", "/events", "GET, HEAD"),
            ("TRACE", "/", "GET, HEAD"),
            ("get", "/nodes", "GET, HEAD"),
            ("BREW", "/nodes", "GET, HEAD"),
        ):
            response = WebCase.ask(self, path, method)
            self.assertEqual(response.status, 405, (method, path))
            self.assertEqual(response.headers["allow"], allowed)

    def test_paths(self) -> None:
        """A path that is not there is not found, however it is written."""
        for path in (
            "/nothing",
            "//",
            "/things/x",
            "/things/",
            "/thing/messages/",
            "/THINGS",
            "/a/..",
        ):
            self.assertEqual(self.ask(path).status, 404, path)
        for path in ("things", "http://localhost/things", "*"):
            self.assertEqual(self.ask(path).status, 400, path)

    def test_failure(self) -> None:
        """What fails here is logged, and the client is told no more than that."""
        with mock.patch.object(self.home, "things", side_effect=KeyError("a secret")):
            response = WebCase.ask(self, "/things")
        self.assertEqual(response.status, 500)
        self.assertNotIn(b"secret", response.body)
        self.assertNotIn(b"Traceback", response.body)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_asyncFailure(self) -> None:
        """So is what fails later."""
        later: Deferred[Any] = Deferred()
        with mock.patch.object(self.home, "nodes", return_value=later):
            connection = self.open(request("GET", "/nodes"))
        later.errback(ValueError("later"))
        (response,) = parseResponses(connection.read())
        self.assertEqual(response.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_keepAlive(self) -> None:
        """Requests may follow one another on a connection, and be sent ahead."""
        connection = self.open(request("GET", "/healthz") * 3)
        self.assertEqual([r.body for r in parseResponses(connection.read())], [b"ok\n"] * 3)
        connection.send(request("GET", "/readyz"))
        self.assertIn(b"ready\n", connection.read())

    def test_headersAreAscii(self) -> None:
        """What stands in an answer's head never comes from a client."""
        response = self.ask("/nothing%0d%0aX-Evil:%20yes")
        self.assertNotIn("x-evil", response.headers)
        self.assertEqual(response.status, 404)
