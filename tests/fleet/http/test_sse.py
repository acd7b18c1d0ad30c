"""The stream of events over HTTP: what readers get, and what becomes of those that do not read."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

from jsonschema import Draft202012Validator
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock

from tests.fleet.http.test_api import schemaOf
from tests.fleet.http.web import Connection, WebCase, parseResponses, request
from tests.trust.test_keys import write
from thing.fleet import FedEvent, FleetEvent, Kind
from thing.fleet.feed import MOST_EVENTS, MOST_OCTETS
from thing.fleet.http import makeStatusService, sse
from thing.fleet.http.guard import FileToken
from thing.fleet.http.sse import (
    COMMENT_INTERVAL,
    MAX_READERS,
    MAX_WAITING,
    STALL_TIMEOUT,
    EventWriter,
    eventFilter,
)
from thing.fleet.subscriptions import Subscription


@dataclass
class Told:
    """An event as a reader gets it."""

    kind: str
    position: str | None
    data: Any


def unchunked(data: bytes) -> tuple[bytes, bytes]:
    """The head of an answer, and the body that came in chunks so far."""
    head, _, rest = data.partition(b"\r\n\r\n")
    body = b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return head, body


def eventsIn(connection: Connection) -> list[Told]:
    """The events that a reader has read, as the standard has them read; comments are left out."""
    head, body = unchunked(bytes(connection.received))
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
    assert b"\r\nContent-Type: text/event-stream\r\n" in head + b"\r\n", head
    *blocks, _ = body.decode().split("\n\n")
    found = []
    for block in blocks:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line[0] != ":")
        if fields:
            data = json.loads(fields["data"])
            found.append(Told(fields["event"], fields.get("id"), data))
    return found


class Later:
    """
    A source that tells a subscription nothing by itself.

    :ivar subscription: the one that was started.
    :ivar ended: whether it was cancelled.
    """

    subscription: Subscription
    ended = False

    def begin(self, subscription: Subscription) -> None:
        self.subscription = subscription

    def end(self, subscription: Subscription) -> None:
        self.ended = True


class EventsCase(WebCase):
    """Tests with readers of events."""

    def setUp(self) -> None:
        super().setUp()
        (self.own,) = self.home.feed.subscriptions  # The test's own.

    def happen(self, count: int = 1, text: str = "", id: str = "lamp") -> list[FedEvent]:
        """Let things send messages."""
        return [
            self.home.feed.append(
                FleetEvent(
                    kind=Kind.MESSAGE,
                    id=id,
                    epoch=1,
                    sequence=at,
                    node="node",
                    session="aa",
                    at=self.wallClock(),
                    data={"text": text},
                )
            )
            for at in range(count)
        ]

    def follow(self, query: str = "", **headers: str) -> Connection:
        """A reader."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = self.open(request("GET", f"/events{query}", names))
        connection.read()
        return connection

    def positions(self, connection: Connection) -> list[str | None]:
        """Where the events are that a reader has read."""
        connection.read()
        return [told.position for told in eventsIn(connection)]


class ReadingTests(EventsCase):
    """Readers that read."""

    def test_events(self) -> None:
        """Each event is told with its kind, its position and all that is known of it."""
        reader = self.follow()
        pair = self.connect(self.home, "lamp")
        pair.client.sendMessage("two\nlines\u2028\r".encode())
        pair.pump()
        pair.client.abort()
        pair.pump()
        reader.read()
        told = eventsIn(reader)
        self.assertEqual([each.kind for each in told], ["joined", "message", "left"])
        for each in told:
            Draft202012Validator(schemaOf("Event")).validate(each.data)
        self.assertEqual(told[1].data["text"], "two\nlines\u2028\r")
        self.assertEqual([each.data for each in told], [fed.asDict() for fed in self.told])
        self.assertEqual([each.position for each in told], [fed.position for fed in self.told])

    def test_notHeldBack(self) -> None:
        """The answer tells proxies, some of which hold back all they are not told to pass on."""
        head, _ = unchunked(bytes(self.follow().received))
        self.assertIn(b"\r\nX-Accel-Buffering: no\r\n", head)

    def test_now(self) -> None:
        """Without a position it begins with what happens next."""
        self.happen(3)
        reader = self.follow()
        (fed,) = self.happen()
        self.assertEqual(self.positions(reader), [fed.position])

    def test_resume(self) -> None:
        """It goes on behind a position, which a browser says in a header, and that counts first."""
        feds = self.happen(5)
        behind = [fed.position for fed in feds[2:]]
        self.assertEqual(self.positions(self.follow(f"?after={feds[1].position}")), behind)
        header = self.follow(Last_Event_ID=feds[1].position)
        self.assertEqual(self.positions(header), behind)
        both = self.follow(f"?after={feds[0].position}", Last_Event_ID=feds[1].position)
        self.assertEqual(self.positions(both), behind)
        (another,) = self.happen()
        self.assertEqual(self.positions(both), [*behind, another.position])

    def test_reset(self) -> None:
        """A reader that was away for too long is told that events are lost."""
        reader = self.follow("?after=1-0")
        self.assertEqual(
            [(e.kind, e.position, e.data) for e in eventsIn(reader)], [("reset", None, {})]
        )
        (fed,) = self.happen()
        self.assertEqual(self.positions(reader), [None, fed.position])

    def test_badPosition(self) -> None:
        """What is no position is refused."""
        for after in ("x", "1", "-", "1-", "1-2-3", "", "%D9%A1-0", "1-" + "0" * 40):
            response = self.ask(f"/events?after={after}")
            self.assertEqual((response.status, response.json["parameter"]), (400, "after"), after)
        self.assertEqual(self.ask("/events", headers={"Last-Event-ID": "x"}).status, 400)
        self.assertEqual(self.ask("/events", headers={"Last-Event-ID": "\udcff"}).status, 400)
        self.assertEqual(self.ask("/events?after=1-0&after=1-0").status, 400)
        overruled = self.ask("/events?after=x", headers={"Last-Event-ID": "1-0"})
        self.assertEqual(overruled.status, 400, "what does not count must be right, too")
        self.assertEqual(self.home.feed.subscriptions, [self.own])

    def test_failure(self) -> None:
        """A feed that fails takes no reader's place."""
        with mock.patch.object(self.home, "subscribe", side_effect=KeyError("feed")):
            self.assertEqual(self.ask("/events").status, 500)
        self.assertEqual(self.site.api.readers, set())
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_filters(self) -> None:
        """Things and kinds choose; several of each may be given."""
        reader = self.follow("?id=lamp&id=a%2Fb&kind=message&kind=left")
        for id in ("lamp", "clock", "a/b"):
            pair = self.connect(self.home, id)
            pair.client.sendMessage(id.encode())
            pair.pump()
            pair.client.abort()
            pair.pump()
        reader.read()
        told = [(each.data["id"], each.kind) for each in eventsIn(reader)]
        wanted = [("lamp", "message"), ("lamp", "left"), ("a/b", "message"), ("a/b", "left")]
        self.assertEqual(told, wanted)

    def test_badKind(self) -> None:
        """A kind that does not exist is refused."""
        for kind in ("", "reset", "JOINED"):
            response = self.ask(f"/events?kind={kind}")
            self.assertEqual((response.status, response.json["parameter"]), (400, "kind"))
        with self.assertRaises(ValueError):
            eventFilter([], ["nothing"])

    def test_comments(self) -> None:
        """While nothing happens, a comment comes now and then; no timeout ends the stream."""
        reader = self.follow()
        for _ in range(100):
            self.clock.advance(COMMENT_INTERVAL)
            reader.read()
        self.assertEqual(eventsIn(reader), [])
        comments = unchunked(bytes(reader.received))[1]
        self.assertEqual(comments.count(b":\n\n"), 100)
        # What only who reads takes does not fill a terminal, nor any program's line.
        self.assertEqual(comments.count(b"\n"), 2 * 100 + 8)
        self.assertEqual(max(map(len, re.split(rb"[\r\n]+", comments))), 63)
        self.assertLess(max(map(len, comments.split(b"\n"))), 1 << 15)
        self.assertIsNone(reader.closed)

    def test_clock(self) -> None:
        """They come by the clock of the sessions: the reactor's own is the wall's, which is set."""
        wall = Clock()
        self.site = makeStatusService(wall, self.home, "0").site
        reader = self.follow()
        self.clock.advance(COMMENT_INTERVAL)
        reader.read()
        self.assertEqual(unchunked(bytes(reader.received))[1].count(b":\n\n"), 1)
        self.assertEqual(wall.getDelayedCalls(), [])

    def test_head(self) -> None:
        """HEAD tells what would be answered, and ends."""
        response = self.ask("/events", "HEAD")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.headers["content-type"], "text/event-stream")
        self.assertEqual(response.headers["cache-control"], "no-store")
        self.assertEqual(self.site.api.readers, set())

    def test_oldProgram(self) -> None:
        """An HTTP/1.0 client follows, too, without chunks."""
        reader = self.open(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n")
        self.happen()
        self.assertTrue(reader.read().endswith(b"}\n\n"))
        self.assertNotIn(b"chunked", reader.received)

    def test_leave(self) -> None:
        """Who goes away is forgotten."""
        reader = self.follow()
        self.assertEqual(len(self.site.api.readers), 1)
        reader.leave()
        self.assertEqual(self.site.api.readers, set())
        self.assertEqual(self.home.feed.subscriptions, [self.own])
        self.happen(10)

    def test_leaveWhileTold(self) -> None:
        """Who goes away in the middle of an event hurts nobody."""
        readers = [self.follow() for _ in range(3)]
        self.home.subscribe(lambda fed: readers[1].leave()).start()
        late = self.follow()
        self.happen(2)
        self.assertEqual(len(self.positions(readers[0])), 2)
        self.assertEqual(len(self.positions(late)), 2)

    def test_close(self) -> None:
        """When the server closes, the stream ends in order."""
        reader = self.follow()
        self.happen()
        self.site.close()
        self.assertTrue(reader.read().endswith(b"\r\n0\r\n\r\n"))
        self.assertIs(reader.closed, ConnectionDone)

    def test_pipeline(self) -> None:
        """What is asked behind an endless answer is never answered, and not kept without bound."""
        reader = self.follow()
        sent = 0
        while reader.reading and sent < 1 << 20:
            reader.send(request("GET", "/healthz") * 10)
            sent += 10 * len(request("GET", "/healthz"))
        self.assertLess(sent, 65536)
        self.happen()
        self.assertEqual(len(self.positions(reader)), 1)
        self.assertNotIn(b"ok\n", reader.received)
        self.site.close()
        reader.read()
        self.assertIs(reader.closed, ConnectionDone)
        self.assertNotIn(b"ok\n", reader.received)

    def test_tooMany(self) -> None:
        """Beyond the limit another reader is told to come later; others are still answered."""
        readers = [self.follow() for _ in range(MAX_READERS)]
        response = self.ask("/events")
        self.assertEqual((response.status, response.headers["retry-after"]), (503, "10"))
        self.assertEqual(self.ask("/things").status, 200)
        readers[0].leave()
        self.assertIsNone(self.follow().closed)


class SlowTests(EventsCase):
    """Readers that do not read, or not fast enough."""

    def test_alone(self) -> None:
        """One that reads nothing at all is cut off after a minute and a bit, alone or not."""
        stuck, reader = self.follow(), self.follow()
        for _ in range(int(COMMENT_INTERVAL + STALL_TIMEOUT)):
            self.assertIsNone(stuck.closed)
            self.clock.advance(1)
            reader.read()
        self.assertIs(stuck.read() or stuck.closed, ConnectionAborted)
        self.assertIsNone(reader.closed)
        self.assertEqual(self.site.api.cutOff, 1)

    def test_quietFleet(self) -> None:
        """Readers that read nothing keep no places, though nothing happens that they could read."""
        stuck = [self.follow() for _ in range(MAX_READERS - 1)]
        reader = self.follow()
        self.assertEqual(self.ask("/events").status, 503)
        for _ in range(int(STALL_TIMEOUT)):
            reader.read()
            self.assertEqual(self.ask("/events").status, 503)
            self.clock.advance(1)
        self.assertEqual(self.site.api.cutOff, MAX_READERS - 1)
        for each in stuck:
            self.assertIs(each.read() or each.closed, ConnectionAborted)
        (fed,) = self.happen()
        self.assertEqual(self.positions(reader), [fed.position])
        self.assertEqual(self.positions(self.follow()), [])

    def test_proveItSeldom(self) -> None:
        """Readers that read prove it once, and again if need be, but once a minute at most."""
        readers = [self.follow() for _ in range(MAX_READERS)]
        for _ in range(10):
            self.clock.advance(COMMENT_INTERVAL)
            for each in readers:
                each.read()
        for each in readers:
            self.assertLess(len(each.received), MAX_WAITING + 1000)
        for _ in range(59):
            self.assertEqual(self.ask("/events").status, 503)
            for each in readers:
                each.read()
            self.clock.advance(1)
        for each in readers:
            self.assertEqual(eventsIn(each), [])
            self.assertLess(len(each.received), 2 * MAX_WAITING + 2000)
        self.assertEqual(self.site.api.cutOff, 0)

    def test_cutOff(self) -> None:
        """A reader that lets too much wait is cut off; the others go on and miss nothing."""
        stuck, reader = self.follow(), self.follow()
        feds = []
        for _ in range(100):
            feds += self.happen(10, "x" * 1000)
            reader.read()
        self.assertIs(stuck.closed or stuck.read() or stuck.closed, ConnectionAborted)
        self.assertEqual(self.positions(reader), [fed.position for fed in feds])
        self.assertEqual(self.site.api.cutOff, 1)
        self.assertLessEqual(stuck.highest, Connection.bufferSize + 2000)

    def test_bound(self) -> None:
        """It is cut off as soon as more waits than it may, and not before."""
        stuck = self.follow()
        (stream,) = self.site.api.readers
        while not stuck.disconnecting:
            self.assertLessEqual(stream.waiting, MAX_WAITING)
            told = len(stuck.buffered)
            self.happen(1, "x" * 1000)
        self.assertGreater(told, Connection.bufferSize)
        self.assertEqual(stream.waiting, 0)
        self.assertEqual(len(stream._pending), 0)

    def test_memory(self) -> None:
        """Thousands of events with stuck readers take memory for the feed, and no more."""
        stuck = [self.follow() for _ in range(20)]
        self.told = []
        self.own.cancel()  # It keeps them all.
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(3 * MOST_EVENTS):
                self.happen(1, "x" * 1000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertTrue(all(each.disconnecting for each in stuck))
        self.assertLess(peak - before, 2 * MOST_OCTETS)

    def test_catchUp(self) -> None:
        """A reader that was away gets all that is kept, at its own pace, however much it is."""
        feds = self.happen(5000, "x" * 500)
        self.clock.advance(1)
        reader = self.follow(f"?after={feds[0].position}")
        for _ in range(200):
            reader.read(20_000)
            self.clock.advance(0.1)
        late = self.happen(10)
        self.assertEqual(self.positions(reader), [fed.position for fed in [*feds[1:], *late]])
        self.assertEqual(self.site.api.cutOff, 0)

    def test_catchUpWhileMuchComes(self) -> None:
        """A reader that catches up is not cut off for what comes behind that meanwhile."""
        feds = self.happen(1000, "x" * 500)
        self.clock.advance(1)
        reader = self.open(request("GET", f"/events?after={feds[0].position}"))
        feds += self.happen(1 + MAX_WAITING // 500, "y" * 500)
        for _ in range(200):
            reader.read(20_000)
        self.assertEqual(self.positions(reader), [fed.position for fed in feds[1:]])
        self.assertEqual(self.site.api.cutOff, 0)

    def test_catchUpStuck(self) -> None:
        """One that asks for all that is kept and then does not read is cut off after a while."""
        feds = self.happen(5000, "x" * 500)
        self.clock.advance(1)
        reader = self.open(request("GET", f"/events?after={feds[0].position}"))
        self.assertGreater(len(reader.buffered), Connection.bufferSize)
        self.clock.advance(STALL_TIMEOUT - 1)
        self.assertFalse(reader.disconnecting)
        self.clock.advance(2)
        self.assertIs(reader.read() or reader.closed, ConnectionAborted)
        self.assertEqual(self.site.api.cutOff, 1)

    def test_catchUpOnAnything(self) -> None:
        """Nothing that a thing may say is so long as JSON that nobody can catch up on it."""
        first = self.happen(1)
        feds = self.happen(9, "\x01" * 800_000)
        self.clock.advance(1)
        reader = self.follow(f"?after={first[0].position}")
        for _ in range(2000):
            reader.read(50_000)
        self.assertEqual(self.positions(reader), [fed.position for fed in feds])
        self.assertEqual(self.site.api.cutOff, 0)

    def test_catchUpMemory(self) -> None:
        """However many ask for all that is kept, and read nothing, it is in memory once."""
        feds = self.happen(5000, "\x01" * 1000)
        self.clock.advance(1)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(20):
                self.open(request("GET", f"/events?after={feds[0].position}"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertEqual(len(self.site.api.readers), 20)
        self.assertLess(peak - before, 2 * MOST_OCTETS)

    def test_longMessages(self) -> None:
        """A message that is longer than what may wait reaches a reader that reads."""
        reader = self.follow()
        for _ in range(3):
            self.happen(1, "x" * 2 * MAX_WAITING)
            reader.read()
        self.assertEqual(len(eventsIn(reader)), 3)
        self.assertIsNone(reader.closed)

    def test_goesOn(self) -> None:
        """A reader that was slow for a while goes on where it was, in order."""
        reader = self.follow()
        feds = self.happen(150, "x" * 1000)
        self.assertEqual(self.positions(reader), [fed.position for fed in feds])
        self.clock.advance(2 * STALL_TIMEOUT)
        feds += self.happen(1)
        self.assertEqual(self.positions(reader), [fed.position for fed in feds])

    def test_writtenOnce(self) -> None:
        """An event is written as JSON once, however many read it."""
        for _ in range(10):
            self.follow()
        written = []
        original = FedEvent.asDict
        self.patch(FedEvent, "asDict", lambda fed: written.append(fed) or original(fed))
        self.happen(5)
        self.assertEqual(len(written), 5)


class BeginningTests(EventsCase):
    """Readers that do not get beyond what was."""

    def assertNobodyFollows(self) -> None:
        """No subscription is left behind, no reader, and no call."""
        self.assertEqual(self.site.api.readers, set())
        self.assertEqual(self.home.feed.subscriptions, [self.own])
        before = len(self.told)
        self.happen(3)
        self.assertEqual(len(self.told), before + 3)

    def replayWhile(self, happens: Callable[[], object]) -> Connection:
        """A reader gets what was; something happens while it is told the first of it."""
        feds = self.happen(10)
        write, written = EventWriter.write, []

        def writeFirst(writer: EventWriter, fed: FedEvent | None) -> bytes:
            written.append(fed)
            if len(written) == 1:
                happens()
            return write(writer, fed)

        self.patch(EventWriter, "write", writeFirst)
        reader = self.open(request("GET", f"/events?after={feds[0].position}"))
        self.assertEqual(written, feds[1:2])
        return reader

    def test_cutOff(self) -> None:
        """One that is cut off while it is told the first event is told no other."""
        reader = self.replayWhile(lambda: next(iter(self.site.api.readers))._cut())
        self.assertIs(reader.read() or reader.closed, ConnectionAborted)
        self.assertEqual(self.site.api.cutOff, 1)
        self.assertNobodyFollows()

    def test_stopped(self) -> None:
        """One that is stopped then, as the server closes, neither."""
        self.replayWhile(lambda: next(iter(self.site.api.readers)).stop())
        self.assertNobodyFollows()

    def test_longerThanItsBound(self) -> None:
        """One for whom more is kept than may ever wait is cut off in the midst of it."""
        self.patch(sse, "MAX_CATCHING_UP", 200_000)
        feds = self.happen(1000, "x" * 1000)
        self.clock.advance(1)
        reader = self.open(request("GET", f"/events?after={feds[0].position}"))
        self.assertIs(reader.read() or reader.closed, ConnectionAborted)
        self.assertEqual(self.site.api.cutOff, 1)
        self.assertNobodyFollows()

    def test_clockWasSetBack(self) -> None:
        """What was before the clock was set back waits through no fault of the reader's."""
        feds = self.happen(1000, "x" * 1000)
        self.wallStep = -3600.0
        reader = self.open(request("GET", f"/events?after={feds[0].position}"))
        self.assertEqual(self.positions(reader), [fed.position for fed in feds[1:]])
        self.assertEqual(self.site.api.cutOff, 0)
        reader.leave()
        self.assertNobodyFollows()

    def test_clockIsWrong(self) -> None:
        """Nor does what a registry tells later of what was, though this node's clock is behind."""
        feds = self.happen(1000, "x" * 1000)
        self.wallStep = -3600.0
        source = Later()
        self.patch(self.home, "subscribe", partial(Subscription, source))
        reader = self.open(request("GET", "/events?after=0-0"))
        source.subscription.catchingUp = True
        for fed in feds:
            source.subscription.tell(fed)
        self.assertEqual(self.positions(reader), [fed.position for fed in feds])
        self.assertEqual(self.site.api.cutOff, 0)
        reader.leave()
        self.assertTrue(source.ended)

    def test_clockIsAhead(self) -> None:
        """What comes waits no longer for that this node's clock is ahead of the registry's."""
        feds = self.happen(1000, "x" * 1000)
        self.wallStep = 3600.0
        source = Later()
        self.patch(self.home, "subscribe", partial(Subscription, source))
        reader = self.open(request("GET", "/events"))
        for fed in feds:
            source.subscription.tell(fed)
        self.assertIs(reader.read() or reader.closed, ConnectionAborted)
        self.assertTrue(source.ended)


class TokenTests(EventsCase):
    """Readers whose token changes."""

    def setUp(self) -> None:
        super().setUp()
        self.file = write(self.mktemp(), b"correct-horse-battery-staple")
        self.serve(FileToken(self.file))
        (self.own,) = self.home.feed.subscriptions

    def bearing(self, token: str) -> Connection:
        """A reader with this token."""
        return self.follow(Authorization=f"Bearer {token}")

    def test_changed(self) -> None:
        """When the token changes, who follows with the old one follows no more."""
        readers = [self.bearing("correct-horse-battery-staple") for _ in range(3)]
        self.clock.advance(3600)
        write(self.file, b"another-token-altogether")
        later = self.bearing("another-token-altogether")
        for _ in range(2):
            self.clock.advance(0.5)
        self.happen()
        for each in readers:
            self.assertNotIn(b"event:", each.received + each.read())
            self.assertIs(each.closed, ConnectionAborted)
        self.assertEqual(len(self.positions(later)), 1)
        self.assertEqual(self.site.api.cutOff, 0, "they were not too slow")

    def test_stuck(self) -> None:
        """So does one that reads nothing, or is in the midst of what was."""
        feds = self.happen(1000, "x" * 1000)
        bearer = {"Authorization": "Bearer correct-horse-battery-staple"}
        path = f"/events?after={feds[0].position}"
        reader = self.open(request("GET", path, bearer))
        write(self.file, b"another-token-altogether")
        self.clock.advance(1)
        self.assertIs(reader.read() or reader.closed, ConnectionAborted)
        self.assertEqual(self.home.feed.subscriptions, [self.own])

    def test_unreadable(self) -> None:
        """While the file is of no use the token is what it was, and who follows goes on."""
        reader = self.bearing("correct-horse-battery-staple")
        write(self.file, b"")
        self.clock.advance(5)
        self.happen()
        self.assertEqual(len(self.positions(reader)), 1)


class AnswerTests(EventsCase):
    """The rest."""

    def test_counted(self) -> None:
        """Streams are counted among the answers once each, and refusals by their status."""
        self.follow()
        self.ask("/events?after=x")
        self.ask("/events", "HEAD")
        self.assertEqual(+self.site.api.answers, {200: 2, 400: 1})

    def test_parse(self) -> None:
        """What the tests read of an ordinary answer is what it says."""
        (response,) = parseResponses(self.open(request("GET", "/healthz")).read())
        self.assertEqual(response.body, b"ok\n")
