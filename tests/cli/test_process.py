"""The ``thing`` command as users run it: real processes, real sockets, real signals."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests import PROJECT
from tests.helpers import silentResolver, socketDirectory
from tests.trust.test_choice import HOST, KIND_OF, KINDS, TrustFiles
from tests.trust.test_keys import NO_SSH_KEYGEN
from thing import (
    Anyone,
    EndReason,
    ErrorCode,
    Identity,
    IdentityKey,
    ServerSettings,
    Termination,
    ThingFactory,
    ThingProtocol,
)
from thing.cli.exits import ExitCode
from thing.trust import ServerChoice
from thing.trust.keywords import asOption
from thing.trust.servers import MAX_KEYS

reactor: Any = installedReactor


class Command(ProcessProtocol):
    """
    One run of the command.

    :ivar out: what it wrote to standard output.
    :ivar err: what it wrote to standard error.
    :ivar ended: fires with its exit code.
    """

    def __init__(self) -> None:
        self.out = b""
        self.err = b""
        self.ended: Deferred[int] = Deferred()
        self._waiting: list[tuple[bytes, Deferred[None]]] = []

    def connectionMade(self) -> None:
        self.pid = self.transport.pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if childFD == 2:
            self.err += data
        else:
            self.out += data
        ready = [entry for entry in self._waiting if entry[0] in self.out + self.err]
        self._waiting = [entry for entry in self._waiting if entry not in ready]
        for _, waiter in ready:
            waiter.callback(None)

    def processEnded(self, reason: Failure) -> None:
        code = reason.value.exitCode
        for text, waiter in self._waiting:
            waiter.errback(AssertionError(f"{text!r} was not written, but {self.err!r}"))
        self.ended.callback(-reason.value.signal if code is None else code)

    def wrote(self, text: bytes) -> Deferred[None]:
        """Wait until it has written something."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append((text, waiter))
        self.childDataReceived(2, b"")
        return waiter

    def write(self, data: bytes) -> None:
        """Give it input."""
        self.transport.write(data)

    def endInput(self) -> None:
        """Close its standard input."""
        self.transport.closeStdin()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


class Server(ThingProtocol):
    """
    A server that does what the test says.

    :cvar doing: by name of callback, what to do in it.
    """

    doing: dict[str, Callable[..., object]]

    def _do(self, name: str, *args: object) -> None:
        self.doing.get(name, lambda *_: None)(self, *args)

    def handshakeCompleted(self) -> None:
        self._do("handshakeCompleted")

    def messageReceived(self, message: bytes) -> None:
        self._do("messageReceived", message)

    def terminated(self, termination: Termination) -> None:
        self._do("terminated", termination)

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self._do("pauseProducing")


def echoing(server: Server) -> None:
    """Take no more from a client than goes back to it."""
    server.registerProducer(server, True)


ECHO: dict[str, Callable[..., object]] = {
    "handshakeCompleted": echoing,
    "messageReceived": ThingProtocol.sendMessage,
}


class CommandCase(TestCase):
    """Servers in this process, and commands that are gone when the test is over."""

    timeout = 90

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        self.environment: dict[str, str] = {}
        self.key = IdentityKey.generate()
        self.terminations: list[Termination] = []

    def run_(
        self, *arguments: str, childFDs: dict[int, Any] | None = None, **named: Any
    ) -> Command:
        """Start the command."""
        command = Command()
        process = reactor.spawnProcess(
            command,
            sys.executable,
            [sys.executable, "-m", "thing.cli", *arguments],
            env={
                "PATH": os.environ.get("PATH", ""),
                "PYTHONPATH": str(PROJECT),
                "THING_HOME": str(self.home),
                **self.environment,
            },
            childFDs=childFDs,
            **named,
        )

        def end() -> Deferred[int] | None:
            if command.ended.called:
                return None
            with contextlib.suppress(ProcessExitedAlready):
                process.signalProcess("KILL")
            return command.ended

        self.addCleanup(end)
        return command

    def connect(self, target: str, *arguments: str, **named: Any) -> Command:
        """Start ``thing connect`` to a server that is believed."""
        return self.run_(
            "connect", "-v", "--server-key", self.key.fingerprint, *arguments, target, **named
        )

    def listen(self, factory: Factory) -> int:
        """Listen on a free port."""
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def serverFactory(
        self, doing: dict[str, Callable[..., object]], **settings: Any
    ) -> ThingFactory:
        """A server's factory whose sessions are over when the test is."""
        own = {"credential": self.key, "allowAnonymous": True}
        factory = ThingFactory(ServerSettings(**(own | settings)), Anyone())
        built: list[Server] = []

        def terminated(server: Server, termination: Termination) -> None:
            self.terminations.append(termination)
            doing.get("terminated", lambda *_: None)(server, termination)

        def build() -> Server:
            server = Server()
            server.doing = {**doing, "terminated": terminated}
            built.append(server)
            return server

        def end() -> Deferred[list[Termination]]:
            over = gatherResults([server.whenTerminated() for server in built])
            for server in built:
                server.abort()
            return over

        factory.protocol = build
        self.addCleanup(end)
        return factory

    def serve(self, doing: dict[str, Callable[..., object]], **settings: Any) -> str:
        """Start a server; the target that leads to it."""
        return f"127.0.0.1:{self.listen(self.serverFactory(doing, **settings))}"

    def serveAndFallSilent(self) -> tuple[str, Callable[[], None]]:
        """Start a server; the target that leads to it, and what makes it deaf and dumb."""
        servers: list[Server] = []
        factory = self.serverFactory({"handshakeCompleted": servers.append})
        factory.clock = Clock()  # Time stands still for the server, so that it misses nobody.

        def fall() -> None:
            for server in servers:
                server.transport.below.pauseProducing()

        return f"127.0.0.1:{self.listen(factory)}", fall

    async def assertExit(self, command: Command, code: ExitCode, said: bytes = b"") -> None:
        """The command exits so, says so, and shows no traceback."""
        self.assertEqual(await command.ended, code, command.err)
        self.assertIn(said, command.err)
        self.assertNotIn(b"Traceback", command.err)


class ConnectTests(CommandCase):
    """``thing connect`` moves bytes."""

    async def test_lines(self) -> None:
        """What is written goes out, and comes back; at the end of the input comes goodbye."""
        messages: list[bytes] = []

        def received(server: Server, message: bytes) -> None:
            messages.append(message)
            server.sendMessage(message.upper())

        command = self.connect(self.serve({"messageReceived": received}), "-q", "0")
        command.write(b"one\ntwo\n\nthree")
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE, b"end: both sides said goodbye")
        self.assertEqual(b"".join(messages), b"one\ntwo\n\nthree")
        self.assertEqual(command.out, b"ONE\nTWO\n\nTHREE")
        self.assertTrue(self.terminations[0].clean)

    async def test_conversation(self) -> None:
        """What is written goes out at once, without a newline, too, and so it comes back."""
        command = self.connect(self.serve(ECHO))
        for line in (b"first\n", b"\x16\x03\x01", b"\0", b"k" * 60000, b"second\n"):
            command.write(line)
            await command.wrote(line)
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE)

    async def test_handshakeIsReported(self) -> None:
        """``-v`` tells the group, the AEAD, the session id, the server's key and heartbeats."""
        sessions: list[str] = []
        command = self.connect(
            self.serve({"handshakeCompleted": lambda server: sessions.append(server.sessionId)}),
            *("--ttl", "1"),
        )
        await command.wrote(b"beat=2 time=")
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE)
        text = command.err.decode()
        for expected in (
            "X25519MLKEM768, ",
            f"session {sessions[0]} ",
            self.key.fingerprint,
            "TTL 1 s",
            "a heartbeat every 0.333 s",
        ):
            self.assertIn(expected, text)

    async def test_files(self) -> None:
        """Some megabytes from a file to a file, through an echo, arrive whole; blank or binary."""
        data = os.urandom(1 << 20) + b"\n" * 1000 + bytes(2 << 20) + b"line\n" * 10000
        source, sink = self.home / "in", self.home / "out"
        source.write_bytes(data)
        with source.open("rb") as stdin, sink.open("wb") as stdout:
            command = self.connect(
                self.serve(ECHO),
                childFDs={0: stdin.fileno(), 1: stdout.fileno(), 2: "r"},
            )
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(hashlib.sha256(sink.read_bytes()).digest(), hashlib.sha256(data).digest())

    async def test_listener(self) -> None:
        """A server that ends its half at once gets all of a file, and nothing waits for replies."""
        data = os.urandom(4 << 20)
        messages: list[bytes] = []
        target = self.serve(
            {
                "handshakeCompleted": lambda server: server.endData(),
                "messageReceived": lambda _, message: messages.append(message),
            }
        )
        source = self.home / "in"
        source.write_bytes(data)
        with source.open("rb") as stdin:
            command = self.connect(
                target, "-q", "1000", childFDs={0: stdin.fileno(), 1: "r", 2: "r"}
            )
        await self.assertExit(command, ExitCode.GOODBYE, b"ended what it sends")
        self.assertEqual(b"".join(messages), data)

    async def test_slowReader(self) -> None:
        """A reader of standard output that does not read for a while loses nothing."""
        data = os.urandom(8 << 20)
        source = self.home / "in"
        source.write_bytes(data)
        full: Deferred[None] = Deferred()

        def paused(server: Server) -> None:
            if not full.called:
                full.callback(None)

        reader, writer = os.pipe()
        with source.open("rb") as stdin:
            command = self.connect(
                self.serve({**ECHO, "pauseProducing": paused}),
                childFDs={0: stdin.fileno(), 1: writer, 2: "r"},
            )
        os.close(writer)
        await full  # The jam has reached the server.
        output = Output(reader)
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(await output.ended, data)

    async def test_readerGoesAway(self) -> None:
        """When nobody reads standard output any more, goodbye is said."""
        reader, writer = os.pipe()
        command = self.connect(self.serve(ECHO), childFDs={0: "w", 1: writer, 2: "r"})
        os.close(writer)
        await command.wrote(b"TTL")
        os.close(reader)
        command.write(b"into the void\n")
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertTrue(self.terminations[0].clean)

    async def test_lateReply(self) -> None:
        """Replies that come within ``-q`` seconds of silence are waited for."""

        def received(server: Server, message: bytes) -> None:
            reactor.callLater(0.2, server.sendMessage, b"late " + message)

        command = self.connect(self.serve({"messageReceived": received}), "-q", "20")
        command.write(b"question\n")
        command.endInput()
        await command.wrote(b"late question\n")
        command.signal(signal.SIGINT)
        await self.assertExit(command, ExitCode.GOODBYE)

    async def test_request(self) -> None:
        """What the server asks is written as a line of its own, and that it was is the answer."""
        answers: list[bytes] = []

        def ask(server: ThingProtocol) -> None:
            for question in (b"lights on", b"and off\n"):
                server.request(question).addCallback(answers.append)

        command = self.connect(self.serve({"handshakeCompleted": ask}))
        await command.wrote(b"lights on\nand off\n")
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(answers, [b"", b""])

    async def test_stay(self) -> None:
        """With a negative ``-q`` the session lasts until the server ends it."""

        def received(server: Server, message: bytes) -> None:
            reactor.callLater(0.2, server.sendMessage, message)
            reactor.callLater(0.4, server.loseConnection)

        command = self.connect(self.serve({"messageReceived": received}), "-q", "-1")
        command.write(b"question\n")
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE, b"the server asks to leave")
        self.assertEqual(command.out, b"question\n")

    async def test_unixSocket(self) -> None:
        """An endpoint string leads to a server that has no host."""
        path = os.path.join(socketDirectory(self), "socket")
        port = reactor.listenUNIX(path, self.serverFactory(ECHO))
        self.addCleanup(port.stopListening)
        command = self.connect(f"unix:{path}", "-q", "0")
        command.write(b"hello\n")
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(command.out, b"hello\n")

    async def test_ownKey(self) -> None:
        """The server learns the key of ``--identity``, else the default one, else none."""
        fingerprints: list[str] = []
        target = self.serve(
            {"handshakeCompleted": lambda server: fingerprints.append(server.peer.fingerprint)}
        )
        own, other = IdentityKey.generate(), IdentityKey.generate()

        async def run(*arguments: str) -> None:
            command = self.connect(target, "-q", "0", *arguments)
            command.endInput()
            await self.assertExit(command, ExitCode.GOODBYE)

        await run()
        own.save(self.home / "id_ed25519")
        await run()
        other.save(self.home / "other", b"secret")
        (self.home / "passphrase").write_bytes(b"secret\n")
        (self.home / "passphrase").chmod(0o600)
        await run(
            *("--identity", str(self.home / "other")),
            *("--passphrase-file", str(self.home / "passphrase")),
        )
        await run("--anonymous")
        self.assertEqual(fingerprints, ["", own.fingerprint, other.fingerprint, ""])


class Output(Protocol):
    """Reads a pipe to its end."""

    def __init__(self, descriptor: int) -> None:
        from twisted.internet.stdio import StandardIO

        self.data: list[bytes] = []
        self.ended: Deferred[bytes] = Deferred()
        self._descriptor = descriptor
        self._null = os.open(os.devnull, os.O_WRONLY)
        StandardIO(self, descriptor, self._null)

    def dataReceived(self, data: bytes) -> None:
        self.data.append(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        os.close(self._descriptor)
        os.close(self._null)
        self.ended.callback(b"".join(self.data))


class Mute(Protocol):
    """Takes connections and says nothing, so no handshake begins."""


class ExitCodeTests(CommandCase):
    """Every exit code of the table, by a run that ends so."""

    async def test_failed(self) -> None:
        """A key file that is not there is said in one line."""
        command = self.connect("127.0.0.1:1", "--identity", str(self.home / "missing"))
        await self.assertExit(command, ExitCode.FAILED, b"No such file")
        self.assertEqual(command.err.count(b"\n"), 1)

    async def test_usage(self) -> None:
        """A target that is none, a TTL that no protocol has and a bad fingerprint are explained."""
        for arguments, said in (
            (["::1"], b"[::1]"),
            (["localhost", "--ttl", "1e9"], b"a TTL of 1e+09 s"),
            (["localhost", "--server-key", "SHA256:short"], b"not a fingerprint"),
            (["unix:/run/x"], b"--server-key"),
            (["nowhere:9000:x", "--server-key", self.key.fingerprint], b"not a client endpoint"),
        ):
            await self.assertExit(self.run_("connect", *arguments), ExitCode.USAGE, said)

    async def test_badNames(self) -> None:
        """What can be no host's name is told in one line, whoever finds out."""
        for target, code in (
            ("a..b:1", ExitCode.USAGE),
            (f"tcp:{'x' * 64}:1", ExitCode.USAGE),
            ("tls:a b:1", ExitCode.USAGE),
            ("under_score.invalid:1", ExitCode.NOT_CONNECTED),
        ):
            command = self.connect(target)
            await self.assertExit(command, code)
            self.assertTrue(command.err.splitlines()[-1].startswith((b"Error: ", b"thing: ")))

    async def test_silentResolver(self) -> None:
        """A lookup that never ends delays neither an interruption nor ``--timeout``."""
        self.environment["PYTHONPATH"] = silentResolver(self.home)
        fleet = ("ls", "--status", "http://host.example:1")
        for arguments in (("connect", "--trust-on-first-use", "host.example"), fleet):
            command = self.run_(*arguments)
            await command.wrote(b"asked for host.example")
            command.signal(signal.SIGINT)
            await self.assertExit(command, ExitCode.INTERRUPTED)
        command = self.connect("host.example", "--timeout", "0.1")
        await self.assertExit(command, ExitCode.NOT_CONNECTED, b"cannot connect to host.example")

    async def test_refused(self) -> None:
        """A port where nobody listens is said in one line."""
        port = reactor.listenTCP(0, Factory.forProtocol(Mute), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        command = self.connect(f"127.0.0.1:{number}")
        await self.assertExit(command, ExitCode.NOT_CONNECTED, b"cannot connect to 127.0.0.1:")
        self.assertEqual(command.err.count(b"\n"), 1)

    async def test_noAnswer(self) -> None:
        """A server that takes the connection and says nothing is given ``--timeout``."""
        number = self.listen(Factory.forProtocol(Mute))
        command = self.connect(f"127.0.0.1:{number}", "--timeout", "0.3")
        await self.assertExit(command, ExitCode.NOT_CONNECTED, b"HANDSHAKE_TIMEOUT")

    async def test_unknownServer(self) -> None:
        """An unknown server is refused; its fingerprint and the ways to go on are shown."""
        command = self.run_("connect", self.serve(ECHO))
        await self.assertExit(command, ExitCode.NOT_TRUSTED, self.key.fingerprint.encode())
        self.assertIn(b"--trust-on-first-use", command.err)
        self.assertIn(self.key.publicLine().encode(), command.err)

    async def test_firstUseAndChange(self) -> None:
        """A key is stored on first use, believed then, and its change is refused loudly."""
        factory = self.serverFactory(ECHO)
        target = f"localhost:{self.listen(factory)}"
        first = self.run_("connect", "-q", "0", "--trust-on-first-use", target)
        first.endInput()
        await self.assertExit(first, ExitCode.GOODBYE, b"Permanently added '[localhost]:")
        self.assertIn(f"key fingerprint is {self.key.fingerprint}".encode(), first.err)
        second = self.run_("connect", "-q", "0", target)
        second.endInput()
        await self.assertExit(second, ExitCode.GOODBYE)
        self.assertEqual(second.err, b"")
        changed = IdentityKey.generate()
        factory.settings = ServerSettings(credential=changed, allowAnonymous=True)
        third = self.run_("connect", "--trust-on-first-use", target)
        await self.assertExit(third, ExitCode.NOT_TRUSTED, b"HAS CHANGED! @")
        self.assertIn(b"@@@@@@@@@@", third.err)
        self.assertIn(self.key.fingerprint.encode(), third.err)
        self.assertIn(changed.fingerprint.encode(), third.err)

    async def test_damagedLine(self) -> None:
        """A damaged line of the file of known servers is told, and costs no session."""
        target = f"127.0.0.1:{self.listen(self.serverFactory(ECHO))}"
        line = f"[{target.replace(':', ']:')} {self.key.publicLine()}\n"
        (self.home / "known_servers").write_text("garbage\n" + line)
        command = self.run_("connect", "-q", "0", target)
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE, b"known_servers:1 is damaged, and skipped")
        self.assertEqual(command.err.count(b"\n"), 1)

    async def test_nextKeyIsNotKept(self) -> None:
        """That the server's next key is not kept is told, without -v, too."""
        following = IdentityKey.generate()
        factory = self.serverFactory(ECHO, nextCredential=following)
        target = f"127.0.0.1:{self.listen(factory)}"
        others = [IdentityKey.generate() for _ in range(MAX_KEYS - 1)]
        lines = [
            f"[{target.replace(':', ']:')} {key.publicLine()}\n" for key in [self.key, *others]
        ]
        (self.home / "known_servers").write_text("".join(lines))
        command = self.run_("connect", "-q", "0.5", target)
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE, b"The server's keys are not kept: ")

    async def test_wrongPin(self) -> None:
        """A server whose key is not the pinned one is refused; both are shown."""
        target = self.serve(ECHO)
        other = IdentityKey.generate().fingerprint
        command = self.run_("connect", "--server-key", other, target)
        await self.assertExit(command, ExitCode.NOT_TRUSTED, self.key.fingerprint.encode())
        self.assertIn(other.encode(), command.err)

    async def test_rejected(self) -> None:
        """A server that wants to know who comes refuses an anonymous client."""
        command = self.connect(self.serve(ECHO, allowAnonymous=False))
        await self.assertExit(command, ExitCode.REJECTED, b"CREDENTIAL_REQUIRED")

    async def test_flatLined(self) -> None:
        """A command that was stopped when it was asked to leave learns that it was given up."""
        servers: list[Server] = []
        command = self.connect(self.serve({"handshakeCompleted": servers.append}))
        await command.wrote(b"TTL")
        command.signal(signal.SIGSTOP)
        servers[0].goAway(EndReason.SHUTDOWN, grace=0.2)
        flatLined: Deferred[None] = Deferred()
        servers[0].doing["terminated"] = lambda *_: flatLined.callback(None)
        await flatLined
        command.signal(signal.SIGCONT)
        await self.assertExit(command, ExitCode.FLAT_LINED, b"the server flat-lined the session")

    async def test_lapsed(self) -> None:
        """A server that falls silent is given up after the TTL; that it is late is told before."""
        target, falls = self.serveAndFallSilent()
        command = self.connect(target, "--ttl", "1")
        await command.wrote(b"beat=1 time=")
        falls()
        await self.assertExit(command, ExitCode.LAPSED, b"gave no sign of life")
        self.assertIn(b"late: no heartbeat was acknowledged", command.err)

    async def test_truncated(self) -> None:
        """A stream that breaks off is no goodbye."""
        command = self.connect(
            self.serve({"messageReceived": lambda it, _: it.transport.below.abortConnection()})
        )
        command.write(b"cut\n")
        await self.assertExit(command, ExitCode.TRUNCATED, b"without goodbye")

    async def test_protocolError(self) -> None:
        """Bytes that the session's keys did not make end it."""
        command = self.connect(
            self.serve({"messageReceived": lambda it, _: it.transport.below.write(bytes(99))})
        )
        command.write(b"confuse me\n")
        await self.assertExit(command, ExitCode.PROTOCOL_ERROR, b"a rule of the protocol")

    async def test_notThing(self) -> None:
        """A server of another protocol is found out, in one line."""

        class Web(Protocol):
            def connectionMade(self) -> None:
                self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        command = self.connect(f"127.0.0.1:{self.listen(Factory.forProtocol(Web))}")
        await self.assertExit(command, ExitCode.PROTOCOL_ERROR)

    async def test_aborted(self) -> None:
        """An end that the server's program decided, without goodbye, is told."""
        command = self.connect(
            self.serve(
                {"messageReceived": lambda server, _: server.reject(ErrorCode.INTERNAL_ERROR)}
            )
        )
        command.write(b"fail\n")
        await self.assertExit(command, ExitCode.ABORTED, b"INTERNAL_ERROR")

    async def test_sentAway(self) -> None:
        """A server that shuts down while there is still input leaves something undone."""
        command = self.connect(
            self.serve(
                {
                    "messageReceived": lambda server, _: server.goAway(
                        EndReason.SHUTDOWN, retryAfter=7.0
                    )
                }
            )
        )
        command.write(b"work\n")
        await self.assertExit(command, ExitCode.SENT_AWAY, b"shutting down; come back in 7 s")

    async def test_interruptedHandshake(self) -> None:
        """Ctrl-C before the session is up ends at once."""
        connected: Deferred[None] = Deferred()

        class Waiting(Mute):
            def connectionMade(self) -> None:
                connected.callback(None)

        command = self.connect(f"127.0.0.1:{self.listen(Factory.forProtocol(Waiting))}")
        await connected
        command.signal(signal.SIGINT)
        await self.assertExit(command, ExitCode.INTERRUPTED, b"interrupted")

    async def test_interrupt(self) -> None:
        """Ctrl-C, SIGTERM or a terminal that closes say goodbye; the input is not missed."""
        target = self.serve(ECHO)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            command = self.connect(target)
            await command.wrote(b"TTL")
            command.signal(number)
            await self.assertExit(command, ExitCode.GOODBYE, b"both sides said goodbye")
            self.assertTrue(self.terminations.pop().clean)

    async def test_nohup(self) -> None:
        """A terminal that closes is nothing to a command that was told to ignore it."""
        command = Command()
        arguments = ("connect", "-v", "--server-key", self.key.fingerprint, self.serve(ECHO))
        quoted = shlex.join((sys.executable, "-m", "thing.cli", *arguments))
        reactor.spawnProcess(
            command,
            "/bin/sh",
            ["sh", "-c", f"trap '' HUP; exec {quoted}"],
            env={"PYTHONPATH": str(PROJECT), "THING_HOME": str(self.home)},
        )
        await command.wrote(b"TTL")
        command.signal(signal.SIGHUP)
        command.write(b"still here")
        await command.wrote(b"still here")
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE)

    async def test_secondInterrupt(self) -> None:
        """A second Ctrl-C does not wait for a server that owes its goodbye."""
        command = self.connect(self.serve({"handshakeCompleted": ThingProtocol.pauseProducing}))
        await command.wrote(b"TTL")
        command.signal(signal.SIGINT)
        await command.wrote(b"saying goodbye")
        command.signal(signal.SIGINT)
        await self.assertExit(command, ExitCode.INTERRUPTED, b"interrupted")

    async def test_secondInterruptWhileWriting(self) -> None:
        """A second Ctrl-C does not wait for a reader of standard output that does not read."""
        flooded: Deferred[None] = Deferred()

        def flood(server: Server, message: bytes) -> None:
            server.sendMessage(bytes(200_000))
            flooded.callback(None)

        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        command = self.connect(
            self.serve({"messageReceived": flood}), childFDs={0: "w", 1: writer, 2: "r"}
        )
        os.close(writer)
        command.write(b"flood me\n")
        await flooded
        command.signal(signal.SIGINT)
        await command.wrote(b"saying goodbye")
        command.signal(signal.SIGINT)
        await self.assertExit(command, ExitCode.INTERRUPTED, b"interrupted")


class PingTests(CommandCase):
    """``thing ping``."""

    def ping(self, target: str, *arguments: str, **named: Any) -> Command:
        """Start ``thing ping`` to a server that is believed."""
        return self.run_("ping", "--server-key", self.key.fingerprint, *arguments, target, **named)

    async def test_count(self) -> None:
        """As many heartbeats as wanted are shown, at the granted interval, and summed up."""
        target = self.serve(ECHO)
        command = self.ping(target, "-c", "3", "-i", "0.1")
        await self.assertExit(command, ExitCode.GOODBYE)
        text = command.out.decode()
        lines = [line for line in text.splitlines() if " late: " not in line]
        self.assertRegex(
            lines[0],
            rf"^PING {target} \(SHA256:\S+\): handshake=[\d.]+ ms, "
            r"TTL 1 s, a beat every 0.333 s$",
        )
        for number in (1, 2, 3):
            self.assertRegex(lines[number], rf"^beat={number} time=[\d.]+ ms$")
        self.assertEqual(lines[5], f"--- {target} heartbeat statistics ---")
        self.assertRegex(lines[6], r"^3 sent, 3 acknowledged, 0% loss, time \d+ ms$")
        self.assertRegex(lines[7], r"^rtt min/avg/max/mdev = ([\d.]+/){3}[\d.]+ ms$")
        self.assertEqual(command.err, b"")
        self.assertTrue(self.terminations[0].clean)

    async def test_interrupt(self) -> None:
        """Ctrl-C prints the summary and says goodbye."""
        command = self.ping(self.serve(ECHO))
        await command.wrote(b"beat=1 ")
        command.signal(signal.SIGINT)
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertIn(b"1 acknowledged, ", command.out)
        self.assertTrue(self.terminations[0].clean)

    async def test_silentServer(self) -> None:
        """Heartbeats that are not acknowledged are late, then lost, and the exit code says so."""
        target, falls = self.serveAndFallSilent()
        command = self.ping(target, "-i", "0.3")
        await command.wrote(b"beat=1 time=")
        falls()
        await self.assertExit(command, ExitCode.LAPSED, b"gave no sign of life")
        self.assertRegex(command.out, rb"beat=\d+ late: ")
        self.assertRegex(command.out, rb"(\d+) sent, \d+ acknowledged, [1-9][\d.]*% loss")

    async def test_readerGoesAway(self) -> None:
        """When nobody reads standard output any more, goodbye is said."""
        reader, writer = os.pipe()
        os.close(reader)
        command = self.ping(self.serve(ECHO), childFDs={0: "w", 1: writer, 2: "r"})
        os.close(writer)
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(command.err, b"")

    async def test_refused(self) -> None:
        """Without a session there is nothing to sum up."""
        command = self.run_("ping", self.serve(ECHO))
        await self.assertExit(command, ExitCode.NOT_TRUSTED)
        self.assertEqual(command.out, b"")


class TerminalTests(CommandCase):
    """Passphrases are asked for on the terminal."""

    async def test_passphrase(self) -> None:
        """A key is made with a passphrase asked for twice, and used with the same."""
        path = str(self.home / "key")
        maker = self.run_("keygen", "-p", "-f", path, usePTY=True)
        # The space after each prompt comes when the terminal has dropped what was typed before.
        await maker.wrote(b"Passphrase of the new key: ")
        maker.write(b"correct horse\n")
        await maker.wrote(b"Repeat for confirmation: ")
        maker.write(b"correct horse\n")
        self.assertEqual(await maker.ended, ExitCode.GOODBYE, maker.out)
        self.assertNotIn(b"correct horse", maker.out)
        key = IdentityKey.load(path, b"correct horse")
        fingerprints: list[str] = []
        target = self.serve(
            {"handshakeCompleted": lambda server: fingerprints.append(server.peer.fingerprint)}
        )
        user = self.connect(target, "--identity", path, usePTY=True)
        await user.wrote(b"/key: ")
        user.write(b"correct horse\n")
        await user.wrote(b"TTL")
        user.write(b"\x04")
        self.assertEqual(await user.ended, ExitCode.GOODBYE, user.out)
        self.assertEqual(fingerprints, [key.fingerprint])

    async def test_noTerminal(self) -> None:
        """Without a terminal a passphrase must come from a file; that is said, not waited for."""
        path = str(self.home / "key")
        IdentityKey.generate().save(path, b"secret")
        command = self.connect("127.0.0.1:1", "--identity", path)
        await self.assertExit(command, ExitCode.FAILED, b"--passphrase-file")


class SshTests(CommandCase):
    """Keys go both ways between ssh-keygen and the command."""

    if shutil.which("ssh-keygen") is None:
        skip = "ssh-keygen is not installed"

    async def test_sessionWithSshKey(self) -> None:
        """A key that ssh-keygen made is one's own in a session."""
        path = str(self.home / "ssh")
        await run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
        fingerprints: list[str] = []
        target = self.serve(
            {"handshakeCompleted": lambda server: fingerprints.append(server.peer.fingerprint)}
        )
        command = self.connect(target, "-q", "0", "--identity", path)
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertIn(fingerprints[0].encode(), await run("ssh-keygen", "-lf", path))

    async def test_serverKeyFromKnownHosts(self) -> None:
        """A known_hosts file whose names ssh-keygen has hashed is understood."""
        target = self.serve(ECHO)
        file = self.home / "known_hosts"
        number = target.rpartition(":")[2]
        file.write_text(f"[127.0.0.1]:{number} {self.key.publicLine()}\n")
        await run("ssh-keygen", "-H", "-f", str(file))
        self.assertNotIn("127.0.0.1", file.read_text())
        command = self.run_("connect", "-q", "0", "--known-hosts", str(file), target)
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE)


class KindsTests(TrustFiles, CommandCase):
    """Sessions by certificates and by a pre-shared key, with the files that people have."""

    skip = NO_SSH_KEYGEN

    def setUp(self) -> None:
        TrustFiles.setUp(self)
        CommandCase.setUp(self)
        self.peers: list[Identity] = []

    def serveBy(self, *kinds: str) -> str:
        """Start a server that has these kinds; the target that leads to it."""
        doing = {"handshakeCompleted": lambda server: self.peers.append(server.peer)}
        factory = self.serverFactory(doing)
        choice = ServerChoice.read(self.serverOf(*kinds))
        factory.settings, factory.authorizer = choice.settings(), choice.authorizer
        return f"127.0.0.1:{self.listen(factory)}"

    def options(self, kind: str, *more: str) -> list[str]:
        """How a client's choice is typed."""
        words = [*more]
        for name, value in self.clientOf(kind).items():
            words += [asOption(name), os.path.abspath(value)]
        return words

    async def converse(self, kind: str, said: bytes, *more: str) -> None:
        """A run of ``thing connect`` whose server knows it as lamp."""
        target = self.serveBy(*KINDS)
        command = self.run_("connect", "-v", "-q", "0", *self.options(kind, *more), target)
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE, said)
        (peer,) = self.peers
        self.assertEqual((peer.kind, peer.name), (KIND_OF[kind], "lamp"))

    async def test_x509(self) -> None:
        """With X.509 certificates both sides know each other by name."""
        said = b"the key in the server's X.509 certificate is SHA256:"
        await self.converse("x509", said, "--server-name", HOST)

    async def test_ssh(self) -> None:
        """With OpenSSH certificates both sides know each other by name."""
        said = f"the key in the server's certificate is {self.pin}".encode()
        await self.converse("ssh", said, "--server-name", HOST)

    async def test_thingString(self) -> None:
        """A string for programs says the same as options do, which count more."""
        target = self.serveBy(*KINDS)
        fields = [f"{name}={os.path.abspath(file)}" for name, file in self.clientOf("x509").items()]
        string = ":".join((f"thing:{target}", *fields, f"serverName={HOST}", "ttl=7"))
        for options, ttl in (((), b"TTL 7 s"), (("--ttl", "8"), b"TTL 8 s")):
            command = self.run_("connect", "-v", "-q", "0", *options, string)
            command.endInput()
            await self.assertExit(command, ExitCode.GOODBYE, ttl)
            self.assertEqual(self.peers[-1].kind, KIND_OF["x509"])

    async def test_preshared(self) -> None:
        """With a pre-shared key both sides know each other by its name."""
        await self.converse("preshared", b"the server has the pre-shared key lamp")

    async def test_ping(self) -> None:
        """A server that has no public key is shown by the name of the key that it shares."""
        target = self.serveBy("preshared")
        command = self.run_("ping", "-c", "1", *self.options("preshared"), target)
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertIn(f"PING {target} (lamp): ".encode(), command.out)

    async def test_made(self) -> None:
        """A pre-shared key that ``thing keygen`` made is one for the server's file and ours."""
        path = self.path("preshared")
        os.remove(path)
        maker = self.run_("keygen", "--preshared", "lamp", "-f", os.path.abspath(path))
        await self.assertExit(maker, ExitCode.GOODBYE)
        shutil.copy(path, self.path("preshareds"))
        await self.converse("preshared", b"the pre-shared key lamp")

    async def test_notTrusted(self) -> None:
        """A server with a certificate for another host is refused, without advice on files."""
        target = self.serveBy(*KINDS)
        for kind in ("x509", "ssh"):
            command = self.run_("connect", *self.options(kind), target)
            await self.assertExit(
                command, ExitCode.NOT_TRUSTED, b"thing: the server is not trusted: "
            )
            self.assertIn(b"not for 127.0.0.1, but for example.org", command.err)
            self.assertEqual(command.err.count(b"\n"), 1)


async def run(*arguments: str) -> bytes:
    """Run another program to its end; what it wrote to standard output."""
    command = Command()
    program = shutil.which(arguments[0])
    assert program is not None
    reactor.spawnProcess(command, program, arguments, env=dict(os.environ))
    command.transport.closeStdin()
    code = await command.ended
    assert code == 0, command.err
    return command.out
