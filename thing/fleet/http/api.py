"""
The API's paths: what each is answered, from what the presence says.

Each path is a route and a method here, and is described to clients elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from thing.core.messages import REQUEST_LIMIT
from thing.errors import (
    ErrorCode,
    LocalProtocolError,
    ReplyStatus,
    RequestFailed,
    ThingError,
)
from thing.fleet.http.answers import (
    STATUSES,
    Answer,
    Problem,
    Sending,
    jsonAnswer,
    pageAnswer,
    textAnswer,
)
from thing.fleet.http.description import DESCRIPTION, LISTED, LONGEST_WAIT, MOST_LISTED, WAIT
from thing.fleet.http.guard import SAFE_METHODS, Guard, Role
from thing.fleet.http.queries import pathOf
from thing.fleet.http.reaches import ReachApi
from thing.fleet.http.routes import Call, Route, Routes
from thing.fleet.http.sse import MAX_READERS, EventStream, EventWriter, eventFilter
from thing.fleet.model import (
    Filter,
    NotGone,
    NotLost,
    NotPresent,
    Status,
    Undelivered,
    messageData,
)
from thing.fleet.positions import parsePosition
from thing.logger import Logger
from thing.session.failures import Failures

if TYPE_CHECKING:
    from thing.fleet.http.channel import StatusRequest
    from thing.fleet.interfaces import IPresence


class FleetApi:
    """
    Answers requests about one fleet.

    :ivar readers: who follows the events.
    :ivar cutOff: how many of them were cut off, as they did not read.
    :ivar answers: how many answers there were, by status.
    :ivar figures: gives those for Prometheus.
    :ivar routes: what answers each path.
    """

    _log = Logger()

    def __init__(
        self,
        presence: IPresence,
        guard: Guard,
        page: bytes,
        ready: Callable[[], bool],
        failures: Failures,
        reaches: ReachApi,
        others: Iterable[Mapping[str, Route]] = (),
        maxReaders: int = MAX_READERS,
    ) -> None:
        """
        :param presence: knows the fleet.
        :param guard: decides whether a request may be answered.
        :param page: the document at ``/``.
        :param ready: tells whether the node takes things.
        :param failures: logs what goes wrong here.
        :param reaches: answers about reaches.
        :param others: more routes by path, of what stands beside the presence.
        :param maxReaders: how many may follow the events at once.
        """
        self.readers: set[EventStream] = set()
        self.cutOff = 0
        self.answers = Counter(dict.fromkeys(STATUSES, 0))
        self.figures: Callable[[], Answer] = _noFigures
        self._presence = presence
        self._guard = guard
        self._page = pageAnswer(page)
        self._description = jsonAnswer(DESCRIPTION)
        self._ready = ready
        self._failures = failures
        self._reaches = reaches
        self._maxReaders = maxReaders
        self._writer = EventWriter()
        self.routes = Routes(self._ownRoutes(), reaches.routes, *others)

    def handle(self, request: StatusRequest) -> None:
        """
        Answer a request.

        :param request: the request, whole.
        """
        over = request.notifyFinish()
        answering = Deferred.fromCoroutine(self._answer(request))
        answering.addErrback(self._failed, request)
        # Nobody waits any more for what a thing or another node may say.
        over.addErrback(lambda _: answering.cancel())

    async def _answer(self, request: StatusRequest) -> None:
        try:
            answer = await self._route(request)
        except Problem as problem:
            answer = problem.answer()
        if answer is not None:
            self._send(request, answer)

    def _send(self, request: StatusRequest, answer: Answer) -> None:
        self.answers[answer.status] += 1
        Sending(request, answer)

    def _failed(self, failure: Failure, request: StatusRequest) -> None:
        if request.gone and isinstance(failure.value, CancelledError):
            return
        self._failures.log("A request could not be answered", failure)
        if request.startedWriting:
            request.cut()
        else:
            self._send(request, Problem(500, "Something failed here; the log says what.").answer())

    async def _route(self, request: StatusRequest) -> Answer | None:
        route, id = self.routes.find(pathOf(request.path))
        public = route is not None and route.public
        role = self._guard.check(request.method, request.requestHeaders, public)
        if not public and not request.admit():
            raise Problem(503, "There are too many connections.", {"Retry-After": "1"})
        if role is not None:
            request.role = role.value
        if route is None:
            raise Problem(404, "There is no such path.")
        answering = route.handler(request.method)
        if role is Role.VIEWER and not (route.viewed and request.method in SAFE_METHODS):
            raise Problem(403, "With this token one may only look.")
        return await answering(Call(request, id))

    # What is known.

    async def _getThings(self, call: Call) -> Answer:
        query = call.query("after", "limit", "q", "status", "node")
        status = query.one("status")
        try:
            wanted = Filter(
                text=query.one("q"),
                status=None if status is None else Status(status),
                node=query.one("node") or None,
            )
        except ValueError:
            raise Problem(400, "status is not present, late or gone.", parameter="status") from None
        limit = query.whole("limit", LISTED, 1, MOST_LISTED)
        after = query.one("after") or ""
        page = await self._presence.things(after, limit, wanted)  # type: ignore[no-untyped-call]
        return jsonAnswer(
            {
                "things": [record.asDict() for record in page.things],
                "following": page.following,
                "complete": page.complete,
                "node": self._presence.node,
            }
        )

    async def _getThing(self, call: Call) -> Answer:
        id, _ = call.thing()
        record = await self._presence.thing(id)  # type: ignore[no-untyped-call]
        if record is None:
            raise Problem(404, "Nobody has heard of this thing.", id=id)
        return jsonAnswer(record.asDict() | await self._reaches.listed(id))

    async def _getNodes(self, call: Call) -> Answer:
        call.query()
        found = await self._presence.nodes()  # type: ignore[no-untyped-call]
        nodes = [node.asDict() for node in found]
        # Of the other nodes nothing is sure while the shared registry is away, or impaired.
        complete = not nodes or nodes[0]["registry"] in ("memory", "connected")
        return jsonAnswer({"nodes": nodes, "complete": complete})

    # What can be done.

    async def _postMessage(self, call: Call) -> Answer:
        if call.request.tooLong:
            raise _tooLong()
        id, query = call.thing("timeout")
        timeout = query.seconds("timeout", WAIT, LONGEST_WAIT)
        delivering = self._presence.deliver(id, call.request.body, timeout)  # type: ignore[no-untyped-call]
        try:
            reply = await delivering
        except ThingError as error:
            raise undelivered(error) from None
        return jsonAnswer({"acknowledged": True, "reply": messageData(reply)})

    async def _deleteThing(self, call: Call) -> Answer:
        id, _ = call.thing()
        try:
            await self._presence.dismiss(id)  # type: ignore[no-untyped-call]
        except NotPresent:
            raise Problem(404, "The thing is not here.") from None
        except Undelivered:
            raise Problem(504, "The thing's node did not answer.") from None
        self._log.info("Over HTTP {id!r} was asked to leave", id=id)
        return jsonAnswer({}, 202)

    async def _deleteRecord(self, call: Call) -> Answer:
        id, _ = call.thing()
        try:
            await self._presence.forgetThing(id)  # type: ignore[no-untyped-call]
        except NotPresent:
            raise Problem(404, "Nobody has heard of this thing.", id=id) from None
        except NotGone:
            raise Problem(409, "The thing is here.") from None
        except Undelivered:
            raise Problem(504, "The shared registry did not answer.") from None
        self._log.info("Over HTTP the thing {id!r} was forgotten", id=id)
        return jsonAnswer({})

    async def _deleteNode(self, call: Call) -> Answer:
        node = call.query("name").one("name")
        if not node:
            raise Problem(400, "It is not said which node.", parameter="name")
        try:
            await self._presence.forget(node)  # type: ignore[no-untyped-call]
        except NotPresent:
            raise Problem(404, "Nobody has heard of this node.") from None
        except NotLost:
            raise Problem(409, "The node is up.") from None
        except Undelivered:
            raise Problem(504, "The shared registry did not answer.") from None
        self._log.info("Over HTTP the node {node!r} was forgotten", node=node)
        return jsonAnswer({})

    # What happens.

    async def _getEvents(self, call: Call) -> Answer | None:
        query, request = call.query("id", "kind", "after"), call.request
        try:
            wanted = eventFilter(query.all("id"), query.all("kind"))
        except ValueError:
            raise Problem(400, "There is no such kind of event.", parameter="kind") from None
        given, after = request.getHeader(b"Last-Event-ID"), query.one("after")
        latest = None if given is None else given.decode("latin-1")  # Which reads any octets.
        if len(self.readers) >= self._maxReaders:
            for reader in self.readers:
                reader.probe()
            raise Problem(503, "Too many follow the events already.", {"Retry-After": "10"})
        stream = EventStream(request, self._writer, wanted, self._admits, self._readerEnded)
        self.readers.add(stream)
        try:
            if latest is not None and after is not None:
                parsePosition(after)  # It does not count, and must be right all the same.
            stream.start(self._presence, after if latest is None else latest)
        except Exception as error:
            self.readers.discard(stream)
            if not isinstance(error, ValueError):
                raise
            raise Problem(400, "That is no position of an event.", parameter="after") from None
        self.answers[200] += 1
        if request.method == b"HEAD":
            stream.stop()
        return None

    def _admits(self, request: StatusRequest) -> bool:
        try:
            self._guard.check(request.method, request.requestHeaders, public=False)
        except Problem:
            return False
        return True

    def _readerEnded(self, stream: EventStream, cutOff: bool) -> None:
        self.readers.discard(stream)
        self.cutOff += cutOff

    # About the server.

    async def _getPage(self, call: Call) -> Answer:
        return self._page

    async def _getHealth(self, call: Call) -> Answer:
        return textAnswer("ok")

    async def _getReady(self, call: Call) -> Answer:
        if not self._ready():
            raise Problem(503, "The node takes no more things, as it is about to stop.")
        return textAnswer("ready")

    async def _getDescription(self, call: Call) -> Answer:
        return self._description

    async def _getMetrics(self, call: Call) -> Answer:
        return self.figures()

    def _ownRoutes(self) -> dict[str, Route]:
        return {
            "/": Route({b"GET": self._getPage}, public=True),
            "/healthz": Route({b"GET": self._getHealth}, public=True),
            "/readyz": Route({b"GET": self._getReady}, public=True),
            "/openapi.json": Route({b"GET": self._getDescription}),
            "/things": Route({b"GET": self._getThings}),
            # Which thing is said in the query: proxies decode a slash in a path, or refuse it.
            "/thing": Route({b"GET": self._getThing, b"DELETE": self._deleteThing}),
            "/thing/record": Route({b"DELETE": self._deleteRecord}),
            "/thing/messages": Route({b"POST": self._postMessage}),
            "/nodes": Route({b"GET": self._getNodes}),
            "/node": Route({b"DELETE": self._deleteNode}),
            "/metrics": Route({b"GET": self._getMetrics}),
            "/events": Route({b"GET": self._getEvents}),
        }


def _noFigures() -> Answer:
    return textAnswer("")


def undelivered(error: ThingError) -> Problem:
    """
    Tell why a message was not acknowledged.

    :param error: what the presence said.
    :return: the problem.
    """
    if isinstance(error, NotPresent):
        return Problem(404, "The thing is not here.")
    if isinstance(error, RequestFailed):
        if error.status is ReplyStatus.NOT_TAKEN:
            return Problem(409, "The thing's program takes no requests.")
        if error.status is ReplyStatus.BUSY:
            return Problem(503, "The thing's program has too much to do.", {"Retry-After": "1"})
        return Problem(502, "The thing's program failed on the message.")
    if isinstance(error, LocalProtocolError):
        if error.code is ErrorCode.BAD_ARGUMENT:
            return Problem(413, f"The message is too long for the thing: {error.detail}.")
        return Problem(503, "Too much waits for the thing already.", {"Retry-After": "1"})
    # RequestTimedOut, SessionEnded, Undelivered.
    return Problem(504, "There was no answer; the message may have arrived.", acknowledged=False)


def _tooLong() -> Problem:
    return Problem(413, f"The message is too long: {REQUEST_LIMIT} octets are the most.")
