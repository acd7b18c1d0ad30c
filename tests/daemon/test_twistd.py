"""Real ``twistd`` processes: how they start, serve, read their files anew, and stop."""

from __future__ import annotations

import contextlib  # Trial has another use for a module's "suppress".
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests import PROJECT
from tests.anypeer import AnyPeer
from tests.certificates import writeCertificate
from tests.helpers import silentResolver
from tests.trust.test_keys import DirectoryMixin, write
from thing import (
    Cause,
    ClientSettings,
    EndReason,
    ErrorCode,
    HandshakeFailed,
    IdentityKey,
    PinnedServers,
    Termination,
    ThingFactory,
    ThingProtocol,
)

TIMEOUT = 60.0
"""How long any test here may take, seconds: a process takes a second to start."""


TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
"""What the console script does, whatever directory it is installed in."""

HUNG_UP = """
import os, signal, sys

class HangUp:
    def find_spec(self, name, path=None, target=None):
        if name == "thing.daemon.assembly":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGHUP)

sys.meta_path.insert(0, HangUp())
"""
"""Sends SIGHUP as soon as the options are read."""

CLIENT = """
import sys
from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString
from tests.anypeer import AnyPeer
from thing import ClientSettings, ThingFactory, ThingProtocol

class Client(ThingProtocol):
    def heartbeatAcknowledged(self, sequence, roundTripTime):
        print("acknowledged", sequence, flush=True)

factory = ThingFactory(ClientSettings(), AnyPeer())
factory.protocol = Client
clientFromString(reactor, sys.argv[1]).connect(factory)
reactor.run()
"""


class Process(ProcessProtocol):
    """
    A process, and the lines that it writes to standard output or error.

    :ivar pid: its number.
    :ivar ended: fires with the exit status, or with minus the number of the
        signal that ended it.
    """

    pid: int

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.ended: Deferred[int] = Deferred()
        self._rest = b""
        self._waiters: list[tuple[str, int, Deferred[str]]] = []

    @property
    def output(self) -> str:
        """All that it has written."""
        return "\n".join(self.lines)

    def outReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line.decode())

    errReceived = outReceived

    def _take(self, line: str) -> None:
        self.lines.append(line)
        for waiter in self._waiters[:]:
            part, start, found = waiter
            if part in line and len(self.lines) > start:
                self._waiters.remove(waiter)
                found.callback(line)

    def whenLine(self, part: str, start: int = 0) -> Deferred[str]:
        """
        Wait for a line, or for the end, which is a failure.

        :param part: what is in it.
        :param start: how many lines to leave out at the beginning.
        """
        found: Deferred[str] = Deferred()
        for line in self.lines[start:]:
            if part in line:
                found.callback(line)
                return found
        self._waiters.append((part, start, found))
        return found

    def processEnded(self, reason: Failure) -> None:
        if self._rest:
            self._take(self._rest.decode())
        status: int = 0
        if isinstance(reason.value, ProcessTerminated):
            status = -reason.value.signal if reason.value.signal else reason.value.exitCode or 0
        else:
            assert isinstance(reason.value, ProcessDone)
        waiters, self._waiters = self._waiters, []
        for part, _, found in waiters:
            found.errback(AssertionError(f"no line with {part!r}, but the end:\n{self.output}"))
        self.ended.callback(status)


class Client(ThingProtocol):
    """
    Keeps what it gets.

    :ivar acknowledged: fires with the first heartbeat that is acknowledged.
    :ivar left: fires when the server asks to be left.
    """

    def __init__(self) -> None:
        self.text = ""
        self.acknowledged: Deferred[int] = Deferred()
        self.left: Deferred[EndReason | int] = Deferred()
        self._waiters: list[tuple[str, Deferred[None]]] = []

    def messageReceived(self, message: bytes) -> None:
        self.text += message.decode()
        for waiter in [w for w in self._waiters if w[0] in self.text]:
            self._waiters.remove(waiter)
            waiter[1].callback(None)

    def whenHeard(self, part: str) -> Deferred[None]:
        """Wait for a text."""
        heard: Deferred[None] = Deferred()
        if part in self.text:
            heard.callback(None)
        else:
            self._waiters.append((part, heard))
        return heard

    def heartbeatAcknowledged(self, sequence: int, roundTripTime: float) -> None:
        if not self.acknowledged.called:
            self.acknowledged.callback(sequence)

    def goingAway(self, reason: EndReason | int, retryAfter: float) -> None:
        self.left.callback(reason)


class Deaf(Client):
    """Once it has a session it looks at what came only when the stream has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.unread = b""
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if self.session is None:
            super().dataReceived(data)
        else:
            self.unread += data

    def connectionMade(self) -> None:
        lost, hear = self.connectionLost, super().dataReceived

        def connectionLost(*args: Any) -> None:
            hear(self.unread)  # Before the session learns that its stream has ended.
            lost(*args)
            self.gone.callback(None)

        self.connectionLost = connectionLost  # type: ignore[method-assign]


class TwistdCase(DirectoryMixin, TestCase):
    """Tests with processes that are ended, and clients that are gone, at the end."""

    timeout = TIMEOUT

    def setUp(self) -> None:
        super().setUp()
        self.home = os.path.abspath(self.path("home"))
        self.cwd = os.path.abspath(self.path("cwd"))
        os.mkdir(self.cwd)

    def spawn(
        self, *arguments: str, childFDs: dict[int, Any] | None = None, **environment: str
    ) -> Process:
        """Start a Python process, elsewhere than in the checkout; it is gone at the end."""
        process = Process()
        self.begin(process, sys.executable, *arguments, childFDs=childFDs, **environment)
        return process

    def begin(
        self,
        process: Process,
        program: str,
        *arguments: str,
        childFDs: dict[int, Any] | None = None,
        **environment: str,
    ) -> None:
        """Start a process of some program, in the same way."""
        from twisted.internet import reactor

        transport = reactor.spawnProcess(  # type: ignore[attr-defined]
            process,
            program,
            [program, *arguments],
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "PYTHONPATH": str(PROJECT),
                "PYTHONUNBUFFERED": "1",
                "THING_HOME": self.home,
                **environment,
            },
            path=self.cwd,
            childFDs=childFDs,
        )
        process.pid = pid = transport.pid

        def end() -> Deferred[int] | None:
            if process.ended.called:
                return None
            with contextlib.suppress(ProcessLookupError):  # It has ended just now.
                os.kill(pid, signal.SIGKILL)
            return process.ended

        self.addCleanup(end)

    def twistd(self, *arguments: str, **others: Any) -> Process:
        """Start ``twistd thing`` in the foreground."""
        return self.spawn("-c", TWISTD, "--nodaemon", "--pidfile=", "thing", *arguments, **others)

    async def started(self, *arguments: str, **others: Any) -> tuple[Process, str]:
        """A server that listens on a free port, and the description to connect to it."""
        process = self.twistd("--port=tcp:0:interface=127.0.0.1", *arguments, **others)
        line = await process.whenLine("thing connect ")
        address = line.partition("thing connect ")[2].split()[0]
        return process, f"tcp:{address}"

    async def connect(
        self,
        description: str,
        kind: type[Client] = Client,
        credential: IdentityKey | None = None,
        authorizer: Any = None,
    ) -> Client:
        """A client with a session."""
        from twisted.internet import reactor

        settings = ClientSettings(**({"credential": credential} if credential else {}))
        factory = ThingFactory(settings, authorizer or AnyPeer())
        factory.protocol = kind
        client = await clientFromString(reactor, description).connect(factory)
        assert isinstance(client, kind)
        lost: Deferred[None] = Deferred()
        original = client.connectionLost

        def connectionLost(*args: Any) -> None:
            original(*args)
            lost.callback(None)

        def cut() -> Deferred[None]:
            if not lost.called:
                client.transport.abortConnection()
            return lost

        client.connectionLost = connectionLost  # type: ignore[method-assign]
        self.addCleanup(cut)
        await client.whenEstablished()
        return client

    def whenWritten(self, path: Path, part: str) -> Deferred[Any]:
        """Wait until a file that another process writes has this in it."""

        def look() -> None:
            if path.exists() and part in path.read_text():
                looking.stop()

        looking = LoopingCall(look)
        self.addCleanup(lambda: looking.stop() if looking.running else None)
        return looking.start(0.02)

    async def stop(self, process: Process) -> None:
        """Stop a server by SIGTERM; it ends by it, after an orderly shutdown."""
        os.kill(process.pid, signal.SIGTERM)
        self.assertEqual(await process.ended, -signal.SIGTERM)
        self.assertIn("Server Shut Down.", process.output)
        self.assertClean(process)

    def assertClean(self, process: Process) -> None:
        """Nothing went wrong that was not foreseen."""
        for word in ("Traceback", "Unhandled", "CRITICAL", "PRIVATE KEY"):
            self.assertNotIn(word, process.output)


class ServingTests(TwistdCase):
    """A server with no options, or with some."""

    async def test_demo(self) -> None:
        """It makes its key, says how to reach it, and holds a conversation with heartbeats."""
        process, description = await self.started("--demo", "--ttl=1")
        line = await process.whenLine("The server's key is SHA256:")
        fingerprint = line.split()[-1]
        key = os.path.join(self.home, "server_key")
        self.assertEqual(IdentityKey.load(key).fingerprint, fingerprint)
        self.assertEqual(stat.S_IMODE(os.stat(self.home).st_mode), 0o700)
        await process.whenLine("Everybody is admitted")
        await process.whenLine(f"{description.removeprefix('tcp:')} --server-key {fingerprint}")

        client = await self.connect(description, authorizer=PinnedServers([fingerprint]))
        await client.whenHeard("Welcome")
        client.sendMessage(b"hello there\n")
        await client.whenHeard("hello there\n")
        self.assertEqual(await client.acknowledged, 1)
        self.assertTrue((await client.goodbye()).clean)
        await self.stop(process)

    async def test_sameKeyAgain(self) -> None:
        """Started again, it has the key that it had."""
        first, _ = await self.started()
        line = await first.whenLine("The server's key is")
        await self.stop(first)
        second, _ = await self.started()
        again = await second.whenLine("The server's key is")
        self.assertEqual(line.split()[-1], again.split()[-1])

    async def test_defaultPort(self) -> None:
        """Without ``--port`` it listens on port 9000, or says in one line that it cannot."""
        process = self.twistd()
        listening = process.whenLine("(tcp:9000)")
        listening.addErrback(lambda _: "")
        if not await listening:
            self.assertIn("cannot listen on tcp:9000: Address already in use", process.output)
        self.assertClean(process)

    async def test_systemd(self) -> None:
        """It serves on a socket that systemd hands over."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        script = f"import os; os.environ['LISTEN_PID'] = str(os.getpid()); {TWISTD}"
        process = self.spawn(
            *("-c", script, "--nodaemon", "--pidfile=", "thing"),
            *("--port=systemd:domain=INET:index=0", "--demo"),
            childFDs={0: "w", 1: "r", 2: "r", 3: listening.fileno()},
            LISTEN_FDS="1",
            LISTEN_FDNAMES="thing",
        )
        port = listening.getsockname()[1]
        await process.whenLine(f"thing connect 127.0.0.1:{port} ")
        client = await self.connect(f"tcp:127.0.0.1:{port}")
        await client.whenHeard("Welcome")

    async def test_ssl(self) -> None:
        """It serves inside an outer layer of TLS, and drains there, too."""
        certificate = writeCertificate(os.path.abspath(self.path("cert.pem")), "localhost")
        port = f"ssl:0:privateKey={certificate}:interface=127.0.0.1"
        process = self.twistd(f"--port={port}", "--demo")
        line = await process.whenLine("Listening on 127.0.0.1:")
        number = line.partition("127.0.0.1:")[2].split()[0]
        client = await self.connect(
            f"tls:localhost:{number}:trustRoots={os.path.abspath(self.directory)}"
        )
        await client.whenHeard("Welcome")
        ended = client.whenTerminated()
        await self.stop(process)
        self.assertIs((await ended).cause, Cause.GOODBYE)

    async def test_factory(self) -> None:
        """It serves a program's own factory, found on the module path."""
        write(
            os.path.join(self.cwd, "greeter.py"),
            b"from thing import ThingFactory, ThingProtocol\n"
            b"class Greeter(ThingProtocol):\n"
            b"    def handshakeCompleted(self):\n"
            b"        self.sendMessage(b'greetings from a program')\n"
            b"class GreeterFactory(ThingFactory):\n"
            b"    protocol = Greeter\n",
        )
        _, description = await self.started(
            *("--factory=greeter.GreeterFactory", "--anyone"),
            PYTHONPATH=f"{PROJECT}{os.pathsep}{self.cwd}",
        )
        client = await self.connect(description)
        await client.whenHeard("greetings from a program")

    async def test_help(self) -> None:
        """``--help`` succeeds."""
        process = self.twistd("--help")
        self.assertEqual(await process.ended, 0)
        self.assertIn("--authorized=FILE", process.output)


class ReloadTests(TwistdCase):
    """SIGHUP."""

    async def test_authorized(self) -> None:
        """A key that is added to the file is admitted; one that is gone loses its session."""
        first, second = IdentityKey.generate(), IdentityKey.generate()
        things = write(
            os.path.abspath(self.path("things")), f"{first.publicLine('one')}\n".encode()
        )
        process, description = await self.started(f"--authorized={things}", "--demo")
        client = await self.connect(description, credential=first)
        await client.whenHeard("You are one at ")

        failed = self.connect(description, credential=second)
        failure = await self.assertFailure(Deferred.fromCoroutine(failed), HandshakeFailed)
        self.assertIs(failure.termination.code, ErrorCode.NOT_AUTHORIZED)

        write(things, f"{second.publicLine('two')}\n".encode())
        os.kill(process.pid, signal.SIGHUP)
        await process.whenLine("Reloaded")
        other = await self.connect(description, credential=second)
        await other.whenHeard("You are two at ")
        self.assertEqual(await client.left, EndReason.REVOKED)
        self.assertIs((await client.whenTerminated()).cause, Cause.GOODBYE)

        write(things, b"nonsense\n")
        os.kill(process.pid, signal.SIGHUP)
        line = await process.whenLine("Not reloaded")
        self.assertIn(f"{things}:1: ", line)
        other.sendMessage(b"still here\n")
        await other.whenHeard("still here\n")
        self.assertClean(process)

    async def test_early(self) -> None:
        """The signal may come before anything has started: then it is kept until that."""
        process = self.spawn(
            *("-c", HUNG_UP + TWISTD, "--nodaemon", "--pidfile=", "thing"),
            "--port=tcp:0:interface=127.0.0.1",
        )
        await process.whenLine("Reloaded")
        await self.stop(process)


class GivenUpRightsTests(TwistdCase):
    """A server that was started by root, and is somebody else by the time it serves."""

    if os.getuid() != 0:
        skip = "only root can give up its rights"

    async def test_revoked(self) -> None:
        """The private key cannot be read any more, which is said; and who is revoked is gone."""
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, directory)
        directory.chmod(0o755)
        IdentityKey.generate().save(str(directory / "key"))
        first, second = IdentityKey.generate(), IdentityKey.generate()
        things = directory / "things"
        things.write_text(f"{first.publicLine('one')}\n{second.publicLine('two')}\n")
        process = self.spawn(
            *("-c", TWISTD, "--nodaemon", "--pidfile=", "--uid=65534", "--gid=65534", "thing"),
            *("--port=tcp:0:interface=127.0.0.1", f"--identity={directory / 'key'}"),
            f"--authorized={things}",
        )
        line = await process.whenLine(f"{directory / 'key'} cannot be read any more")
        self.assertIn("Permission denied; what it was at the start holds until a restart", line)
        line = await process.whenLine("thing connect ")
        description = f"tcp:{line.partition('thing connect ')[2].split()[0]}"
        client = await self.connect(description, credential=first)
        things.write_text(f"{second.publicLine('two')}\n")
        self.assertEqual(await client.left, EndReason.REVOKED)
        await process.whenLine("keys authorized: 1")
        self.assertNotIn(f"{things} cannot be read", process.output)
        self.assertClean(process)


class StopTests(TwistdCase):
    """SIGTERM, and clients that fall silent."""

    async def test_drain(self) -> None:
        """At SIGTERM each client is asked to leave, and says goodbye."""
        process, description = await self.started()
        clients = [await self.connect(description) for _ in range(3)]
        ends = [client.whenTerminated() for client in clients]
        await self.stop(process)
        for client, end in zip(clients, ends, strict=True):
            self.assertEqual(await client.left, EndReason.SHUTDOWN)
            self.assertIs((await end).cause, Cause.GOODBYE)

    async def test_silentResolver(self) -> None:
        """A lookup of the registry's name that never ends does not keep it from its end."""
        silent = silentResolver(Path(self.cwd))
        process, _ = await self.started("--presence=redis://host.example", PYTHONPATH=silent)
        await process.whenLine("asked for host.example")
        await self.stop(process)

    async def test_drainTimeout(self) -> None:
        """A client that does not leave is flat-lined, and can see why."""
        process, description = await self.started("--drain-timeout=0.5")
        client = await self.connect(description, Deaf)
        assert isinstance(client, Deaf)
        await self.stop(process)
        await client.gone
        termination: Termination | None = client.termination
        assert termination is not None
        self.assertIs(termination.cause, Cause.FLAT_LINED)
        self.assertEqual(termination.reason, EndReason.SHUTDOWN)

    async def test_secondSignal(self) -> None:
        """Another signal ends the wait for a client that does not leave; it can see why."""
        for number in (signal.SIGTERM, signal.SIGINT):
            process, description = await self.started("--drain-timeout=600")
            client = await self.connect(description, Deaf)
            assert isinstance(client, Deaf)
            os.kill(process.pid, signal.SIGTERM)
            await process.whenLine("Draining 1 sessions")
            os.kill(process.pid, number)
            self.assertEqual(await process.ended, -signal.SIGTERM)
            self.assertIn("Hurrying: 1 sessions end now", process.output)
            self.assertIn("Server Shut Down.", process.output)
            self.assertClean(process)
            await client.gone
            termination: Termination | None = client.termination
            assert termination is not None
            self.assertIs(termination.cause, Cause.FLAT_LINED)

    async def test_stoppedClient(self) -> None:
        """A client process that is stopped is flat-lined when its TTL is over."""
        process, description = await self.started("--ttl=1")
        client = self.spawn("-c", CLIENT, description)
        await client.whenLine("acknowledged 1")
        os.kill(client.pid, signal.SIGSTOP)
        line = await process.whenLine("flat-lined")
        self.assertIn("HEARTBEAT_MISSED", line)
        await self.stop(process)


class ProblemTests(TwistdCase):
    """What keeps a server from starting is one line, and an exit status that says so."""

    async def assertProblem(self, expected: str, *arguments: str) -> None:
        """The process ends with status 1 and one line that says why."""
        process = self.twistd(*arguments)
        self.assertEqual(await process.ended, 1)
        self.assertClean(process)
        lines = [line for line in process.lines if "twistd thing: " in line]
        self.assertEqual(len(lines), 1, process.output)
        self.assertIn(expected, lines[0])

    async def test_option(self) -> None:
        """An option that is wrong, and nothing else is printed."""
        process = self.twistd("--ttl=soon")
        self.assertEqual(await process.ended, 1)
        self.assertEqual(
            process.output,
            "twistd thing: --ttl: 'soon' is not a number of seconds above zero"
            " (see twistd thing --help)",
        )

    async def test_file(self) -> None:
        """A file that is missing."""
        await self.assertProblem("No such file", "--identity=/nonexistent/key")

    async def test_portTaken(self) -> None:
        """A port that is taken."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            await self.assertProblem(
                f"cannot listen on {port}: Address already in use", f"--port={port}"
            )

    async def test_daemon(self) -> None:
        """A daemon that cannot listen tells who started it, and leaves no PID file."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            process = self.spawn("-c", TWISTD, "thing", f"--port={port}")
            self.assertEqual(await process.ended, 1)
        self.assertIn("cannot listen on", process.output)
        self.assertNotIn("Traceback", process.output)
        log = Path(self.cwd, "twistd.log")
        # The daemon has one more thing to do after it told its parent.
        await self.whenWritten(log, f"cannot listen on {port}: Address already in use")
        self.assertNotIn("Traceback", log.read_text())
        self.assertFalse(os.path.exists(os.path.join(self.cwd, "twistd.pid")))
