"""How many sessions fit into the files that the process may open."""

from __future__ import annotations

import resource
import socket

from twisted.internet.defer import DeferredList
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.daemon.test_twistd import TWISTD, TwistdCase
from thing import Limits
from thing.daemon.openfiles import LEAST_SESSIONS, SPARE, STATUS, TooFewFiles, allowFiles, fitted
from thing.errors import StopCode
from thing.fleet.http.places import MAX_ADMITTED, MAX_STRANGERS

LIMITED = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (50, 200))
{TWISTD}
"""
"""``twistd``, where a process may open 50 files unless it asks for more, and never 201."""

LIMITS = Limits(sessions=1000, handshakes=100)


class FittedTests(SynchronousTestCase):
    """Limits, and what becomes of them."""

    def test_enough(self) -> None:
        """What fits stays as it is, and nothing is said."""
        with capturedLogs() as events:
            self.assertIs(fitted(LIMITS, SPARE + 1100)[0], LIMITS)
            self.assertIs(fitted(LIMITS, SPARE + STATUS + 2100, 1, STATUS)[0], LIMITS)
        self.assertEqual(events, [])

    def test_sessions(self) -> None:
        """What does not fit is lowered, sessions first, and the log says to what."""
        with capturedLogs() as events:
            lowered, _ = fitted(LIMITS, SPARE + 1099)
        self.assertEqual((lowered.sessions, lowered.handshakes), (999, 100))
        (event,) = events
        self.assertIn("may open 1227 files", formatEvent(event))
        self.assertIn("999 sessions at most, and 100 handshakes", formatEvent(event))

    def test_behind(self) -> None:
        """Servers behind the sessions have room for each, and all that is left beside."""
        self.assertEqual(fitted(LIMITS, SPARE + 1099, 2)[0].sessions, 333)
        for backends in (1, 2, 5):
            for files in (500, 1100, 2000, 20000, 1 << 20):
                limits, most = fitted(LIMITS, files, backends, STATUS)
                self.assertGreaterEqual(most, limits.sessions)
                used = limits.handshakes + limits.sessions + backends * most
                self.assertLessEqual(used, files - SPARE - STATUS)
                self.assertGreater(used + backends, files - SPARE - STATUS)

    def test_handshakes(self) -> None:
        """Handshakes have a quarter at most: strangers never fill all."""
        lowered, _ = fitted(LIMITS, SPARE + 200)
        self.assertEqual((lowered.sessions, lowered.handshakes), (150, 50))

    def test_tooFew(self) -> None:
        """Where next to nothing fits, it is an error."""
        fitted(LIMITS, SPARE + 2 * LEAST_SESSIONS)
        for files in (0, SPARE, SPARE + LEAST_SESSIONS):
            error = self.assertRaises(TooFewFiles, fitted, LIMITS, files)
            self.assertIn(f"may open {files} files only", str(error))

    def test_status(self) -> None:
        """There is room for as many connections as the status server has places for."""
        self.assertEqual(STATUS, MAX_ADMITTED + MAX_STRANGERS)

    def test_allowed(self) -> None:
        """The soft limit becomes the hard one."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] // 2, before[1]))
        self.assertEqual(allowFiles(), before[1])
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (before[1], before[1]))


class FloodTests(TwistdCase):
    """A server that may open few files."""

    async def test_flood(self) -> None:
        """Strangers who say nothing, more than there are files, keep nobody out."""
        arguments = ("--port=tcp:0:interface=127.0.0.1", "--demo")
        server = self.spawn("-c", LIMITED, "--nodaemon", "--pidfile=", "thing", *arguments)
        await server.whenLine("The process may open 200 files")
        line = await server.whenLine("thing connect ")
        address = line.partition("thing connect ")[2].split()[0]
        host, _, port = address.rpartition(":")
        for _ in range(250):
            self.addCleanup(socket.create_connection((host, int(port))).close)
        client = await self.connect(f"tcp:{address}")
        await client.whenHeard("Welcome")
        self.assertNotIn("EMFILE", server.output)
        self.assertTrue((await client.goodbye()).clean)
        await self.stop(server)

    async def test_streams(self) -> None:
        """Nor do those who are in, by streams that have connections to a backend each."""
        from twisted.internet import reactor

        talk = Factory.forProtocol(Protocol)
        backend = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(talk)
        self.addCleanup(backend.stopListening)
        arguments = ("--port=tcp:0:interface=127.0.0.1", "--demo", "--anyone")
        serve = f"--serve=talk=tcp:127.0.0.1:{backend.getHost().port}"
        server = self.spawn("-c", LIMITED, "--nodaemon", "--pidfile=", "thing", *arguments, serve)
        line = await server.whenLine("thing connect ")
        address = f"tcp:{line.partition('thing connect ')[2].split()[0]}"
        endpoint = (await self.connect(address)).streams.endpoint("talk")
        opened = await DeferredList(
            [endpoint.connect(talk) for _ in range(100)], consumeErrors=True
        )
        refused = [result.value.code for ok, result in opened if not ok]
        self.assertEqual(set(refused), {StopCode.BUSY})
        self.assertLess(len(refused), 100)
        client = await self.connect(address)
        await client.whenHeard("Welcome")
        self.assertNotIn("EMFILE", server.output)
        await self.stop(server)

    async def test_tooFew(self) -> None:
        """With next to none it ends in one line."""
        script = LIMITED.replace("200", "130")
        server = self.spawn("-c", script, "--nodaemon", "--pidfile=", "thing", "--port=tcp:0")
        self.assertEqual(await server.ended, 1)
        self.assertIn("the process may open 130 files only", server.lines[-1])
