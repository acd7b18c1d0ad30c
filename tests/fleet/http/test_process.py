"""The fleet's HTTP server on real sockets: in twistd, and with readers that do not read."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import time
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, FileBodyProducer, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from tests.daemon.test_twistd import TIMEOUT, Deaf, Process, TwistdCase
from tests.docs.test_docs import OneEndpoint
from tests.fleet.http.web import pathOf
from tests.helpers import serverSettings, socketDirectory
from tests.trust.test_keys import write
from thing import EndReason, ThingFactory
from thing.fleet import FleetEvent, Kind, MemoryPresence
from thing.fleet.http import StatusSite, sse
from thing.fleet.http.api import FleetApi
from thing.fleet.http.channel import MAX_CONNECTIONS
from thing.fleet.http.service import StatusService
from thing.fleet.meter import Meter
from thing.trust import Anyone

TOKEN = "correct-horse-battery-staple"
VIEW_TOKEN = "only-for-the-screen-on-the-wall"


class Stream(Protocol):
    """
    Reads a stream of events.

    :ivar over: fires when it ends.
    """

    def __init__(self) -> None:
        self.text = ""
        self.over: Deferred[None] = Deferred()
        self._waiters: list[tuple[str, Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.text += data.decode()
        for waiter in [each for each in self._waiters if each[0] in self.text]:
            self._waiters.remove(waiter)
            waiter[1].callback(None)

    def whenTold(self, part: str) -> Deferred[None]:
        """Wait for a text."""
        told: Deferred[None] = Deferred()
        if part in self.text:
            told.callback(None)
        else:
            self._waiters.append((part, told))
        return told

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.over.callback(None)


class AskMixin:
    """Asks a server, in a test with a reactor."""

    async def ask(
        self, where: str, path: str, method: str = "GET", body: bytes | None = None, token: str = ""
    ) -> IResponse:
        """Send a request; its answer has the body to be read."""
        from twisted.internet import reactor

        endpoint = OneEndpoint(clientFromString(reactor, where))
        agent = Agent.usingEndpointFactory(reactor, endpoint)
        headers = Headers({"Authorization": [f"Bearer {token}"]} if token else {})
        producer = None
        if body is not None:
            producer = FileBodyProducer(BytesIO(body), cooperator=_Eager())
        url = f"http://localhost{path}".encode()
        response: IResponse = await agent.request(method.encode(), url, headers, producer)
        return response

    async def json(self, where: str, path: str, method: str = "GET", **more: Any) -> Any:
        """Ask, and read JSON."""
        return json.loads(await readBody(await self.ask(where, path, method, **more)))

    async def follow(self, where: str, path: str = "/events", token: str = "") -> Stream:
        """A reader of events."""
        response = await self.ask(where, path, token=token)
        assert response.code == 200
        stream = Stream()
        response.deliverBody(stream)
        return stream


class _Eager:
    """Produces a short body at once, and leaves no delayed call."""

    def cooperate(self, iterator: Any) -> Any:
        for _ in iterator:
            pass
        return self

    def whenDone(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def stop(self) -> None:
        """There is nothing to stop."""


class StatusTests(AskMixin, TwistdCase):
    """``twistd thing --status``."""

    async def serving(self, *arguments: str, where: str = "0") -> tuple[Process, str, str]:
        """A server; where its things connect, and where it is asked."""
        process, things = await self.started(f"--status={where}", *arguments)
        line = await process.whenLine("Status is told at ")
        return process, things, f"tcp:{line.rpartition('/')[2]}"

    async def test_fleet(self) -> None:
        """A thing comes, gets a message, is asked to leave and goes; all of that is told."""
        process, things, where = await self.serving()
        stream = await self.follow(where)
        client = await self.connect(things)
        await stream.whenTold("event: joined")
        (found,) = (await self.json(where, "/things"))["things"]
        self.assertEqual((found["status"], found["session"]), ("present", client.sessionId))

        path = pathOf(found["id"], "/messages")
        sent = await self.json(where, path, "POST", body=b"hello from afar")
        self.assertEqual(sent, {"acknowledged": True, "reply": {"text": ""}})
        await client.whenHeard("hello from afar")

        self.assertEqual(await self.json(where, pathOf(found["id"]), "DELETE"), {})
        self.assertEqual(await client.left, EndReason.CLOSING)
        await client.whenTerminated()
        await stream.whenTold("event: left")
        figures = (await readBody(await self.ask(where, "/metrics"))).decode()
        name = 'thing_terminations_total{cause="GOODBYE",peer="thing",reason="CLOSING"}'
        self.assertIn(f"{name} 1.0\n", figures)
        await self.stop(process)
        await stream.over

    async def test_page(self) -> None:
        """The page is served from the installed package."""
        process, _, where = await self.serving()
        page = await readBody(await self.ask(where, "/"))
        self.assertIn(b"<html", page)
        await self.stop(process)

    async def test_drain(self) -> None:
        """While things are asked to leave it still answers, that it is not ready; then it ends."""
        process, things, where = await self.serving("--drain-timeout=40")
        client = await self.connect(things, Deaf)
        stream = await self.follow(where)
        os.kill(process.pid, signal.SIGTERM)
        await process.whenLine("Draining 1 sessions")
        response = await self.ask(where, "/readyz")
        self.assertEqual(response.code, 503)
        await readBody(response)
        self.assertEqual((await self.json(where, "/nodes"))["nodes"][0]["status"], "draining")
        client.transport.abortConnection()
        await stream.whenTold("event: left")
        await stream.over
        self.assertEqual(await process.ended, -signal.SIGTERM)
        self.assertClean(process)

    async def test_token(self) -> None:
        """With a token it may listen anywhere; the token never shows."""
        path = write(os.path.join(self.cwd, "token"), f"{TOKEN}\n".encode())
        view = write(os.path.join(self.cwd, "view"), VIEW_TOKEN.encode())
        choices = (f"--status-token={path}", f"--status-view-token={view}")
        process, _, where = await self.serving(*choices, where="tcp:0:interface=0.0.0.0")
        where = where.replace("0.0.0.0", "127.0.0.1")
        response = await self.ask(where, "/things")
        self.assertEqual(response.code, 401)
        await readBody(response)
        self.assertEqual((await self.json(where, "/things", token=TOKEN))["things"], [])
        refused = await self.ask(where, "/thing?id=x", "DELETE", token=VIEW_TOKEN)
        self.assertEqual(refused.code, 403)
        await readBody(refused)
        self.assertEqual((await self.json(where, "/things", token=VIEW_TOKEN))["things"], [])
        write(path, b"another-token-altogether")
        self.assertEqual((await self.ask(where, "/healthz")).code, 200)
        again = await self.json(where, "/things", token="another-token-altogether")
        self.assertEqual(again["things"], [])
        await self.stop(process)
        self.assertNotIn(TOKEN, process.output)
        self.assertNotIn("another-token", process.output)
        self.assertNotIn(VIEW_TOKEN, process.output)

    async def test_crowd(self) -> None:
        """Strangers who hold all connections that they can get keep nobody out."""
        path = write(os.path.join(self.cwd, "token"), f"{TOKEN}\n".encode())
        process, _, where = await self.serving(f"--status-token={path}")
        host, port = where.removeprefix("tcp:").split(":")
        for _ in range(MAX_CONNECTIONS + 50):
            self.addCleanup(socket.create_connection((host, int(port))).close)
        self.assertEqual(await readBody(await self.ask(where, "/healthz")), b"ok\n")
        figures = (await readBody(await self.ask(where, "/metrics", token=TOKEN))).decode()
        self.assertNotIn('thing_http_limits_hit_total{limit="strangers"} 0.0', figures)
        await self.stop(process)

    async def test_unix(self) -> None:
        """It listens on a unix socket, too, without a token."""
        path = os.path.join(socketDirectory(self), "status")
        process, _, _ = await self.serving(where=f"unix:{path}")
        self.assertEqual((await self.json(f"unix:{path}", "/things"))["complete"], True)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        await self.stop(process)

    async def refused(self, *arguments: str) -> str:
        """The one line with which a server refuses to start."""
        process = self.twistd("--port=tcp:0:interface=127.0.0.1", *arguments)
        self.assertEqual(await process.ended, 1)
        self.assertClean(process)
        lines = [line for line in process.lines if "twistd thing: " in line]
        self.assertEqual(len(lines), 1, process.output)
        return lines[0]

    async def test_refused(self) -> None:
        """Where others could ask without a token, it does not start, and says why in one line."""
        line = await self.refused("--status=tcp:0")
        self.assertIn("--status=tcp:0 can be reached from elsewhere", line)
        self.assertIn("--status-token", line)

    async def test_badToken(self) -> None:
        """Nor does it with a token that can be guessed."""
        path = write(os.path.join(self.cwd, "token"), b"short")
        self.assertIn(path, await self.refused("--status=0", f"--status-token={path}"))

    async def test_portTaken(self) -> None:
        """Nor on a port that is taken."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            line = await self.refused(f"--status={taken.getsockname()[1]}")
        self.assertIn("cannot listen on tcp:", line)
        self.assertIn("Address already in use", line)

    async def test_tokenAlone(self) -> None:
        """A token without a server that would want it is a mistake."""
        self.assertIn("--status", await self.refused("--status-token=x"))


class ReaderTests(AskMixin, TestCase):
    """Readers of events on real sockets, in this process."""

    timeout = TIMEOUT

    async def test_slowReader(self) -> None:
        """A reader that does not read is cut off, while another gets every event in order."""
        from twisted.internet import reactor

        factory = ThingFactory(serverSettings(), Anyone())
        presence = MemoryPresence(factory, node="node")
        site = StatusSite(presence)
        port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.addCleanup(site.close)
        number = port.getHost().port
        stuck = socket.socket()
        self.addCleanup(stuck.close)
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", number))
        stuck.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reader = await self.follow(f"tcp:127.0.0.1:{number}")
        while len(site.api.readers) < 2:
            await deferLater(reactor, 0.01)

        count = 0
        while not site.api.cutOff:
            for _ in range(5):  # The other reader takes up to 64 KiB at a time.
                presence.feed.append(_event(count))
                count += 1
            await deferLater(reactor, 0)
        await reader.whenTold(f'"sequence":{count - 1},')
        told = [json.loads(line[6:]) for line in reader.text.split("\n") if line.startswith("data")]
        self.assertEqual([each["sequence"] for each in told], list(range(count)))
        self.assertEqual(len(site.api.readers), 1)


class StalledTests(AskMixin, TestCase):
    """Readers of events on real sockets of a fleet in which nothing happens."""

    timeout = TIMEOUT

    async def serve(self, description: str) -> tuple[FleetApi, Any]:
        """A server there, which has no place for a third reader, and waits for none for long."""
        from twisted.internet import reactor

        self.patch(sse, "STALL_TIMEOUT", 0.5)
        presence = MemoryPresence(ThingFactory(serverSettings(), Anyone()), node="node")
        site = StatusSite(presence)
        self.patch(site.api, "_maxReaders", 2)
        endpoint = serverFromString(reactor, description)
        service = StatusService(site, [Meter(presence.local.factory)], endpoint, description)
        service.startService()
        self.addCleanup(service.stopService)
        while service.port is None:
            await deferLater(reactor, 0.01)
        return site.api, service.port.getHost()

    async def stalled(self, api: FleetApi, where: str, stuck: socket.socket) -> None:
        """One that reads nothing is cut off when another comes; who reads is not."""
        from twisted.internet import reactor

        self.addCleanup(stuck.close)
        stuck.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reader = await self.follow(where)
        while len(api.readers) < 2:
            await deferLater(reactor, 0.01)
        response = await self.ask(where, "/events")
        self.assertEqual(response.code, 503)
        await readBody(response)
        while not api.cutOff:
            await deferLater(reactor, 0.01)
        self.assertEqual(len(api.readers), 1)
        self.assertFalse(reader.over.called)
        await self.follow(where)

    async def test_stalled(self) -> None:
        """Over TCP the system would take megabytes for it."""
        api, host = await self.serve("tcp:0:interface=127.0.0.1")
        stuck = socket.create_connection(("127.0.0.1", host.port))
        await self.stalled(api, f"tcp:127.0.0.1:{host.port}", stuck)

    async def test_unix(self) -> None:
        """So it is on a unix socket."""
        path = os.path.join(socketDirectory(self), "status")
        api, _ = await self.serve(f"unix:{path}")
        stuck = socket.socket(socket.AF_UNIX)
        stuck.connect(path)
        await self.stalled(api, f"unix:{path}", stuck)


def _event(number: int) -> FleetEvent:
    return FleetEvent(
        kind=Kind.MESSAGE,
        id="lamp",
        epoch=1,
        sequence=number,
        node="node",
        session="aa",
        at=time.time(),
        data={"text": "x" * 4000},
    )
