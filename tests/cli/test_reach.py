"""``thing reach``: a real process, and a server in this one that has the services itself."""

from __future__ import annotations

import hashlib
import os
import select
import signal
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.cli.test_commands import HomeCase
from tests.cli.test_process import Command, CommandCase, Output
from tests.cli.test_standard import MEMORY
from thing import IdentityKey, StopCode, StreamCut, StreamRefused
from thing.cli.destination import Destination
from thing.cli.exits import ExitCode
from thing.cli.reaching import keyOf
from thing.core.credentials import Anonymous
from thing.errors import CredentialError
from thing.session.interfaces import IStreamServer
from thing.session.reasons import SessionLost
from thing.trust import PresharedKey
from thing.trust.onlyserver import onlyServer

ENDINGS = {
    StopCode.NOT_PERMITTED: (ExitCode.NOT_PERMITTED, b'permit-reach="lamp:it"'),
    StopCode.UNKNOWN_THING: (ExitCode.UNKNOWN, b"knows no thing lamp"),
    StopCode.NOT_CONNECTED: (ExitCode.NOT_HERE, b"lamp is not connected"),
    StopCode.NOT_EXPOSED: (ExitCode.NOT_EXPOSED, b"lamp does not expose it"),
    StopCode.UNREACHABLE: (ExitCode.UNREACHABLE, b"it of lamp refused"),
    StopCode.WENT_AWAY: (ExitCode.WENT_AWAY, b"lamp went away"),
    StopCode.NO_WAY: (ExitCode.NOT_CONNECTED, b"no way to the node that lamp is on"),
    StopCode.ENDED: (ExitCode.ENDED, b"somebody ended"),
    StopCode.NO_WAY: (ExitCode.NOT_CONNECTED, b"no way to the node that lamp is on"),
    StopCode.NOT_TAKEN: (ExitCode.NOT_TAKEN, b"knows nothing of reaching"),
    StopCode.BUSY: (ExitCode.NOT_TAKEN, b"no room"),
    StopCode.TIMED_OUT: (ExitCode.NOT_CONNECTED, b"lamp gave no answer in time"),
    StopCode.FAILED: (ExitCode.BROKE, b"the program that serves it failed"),
    StopCode.CANCELLED: (ExitCode.TRUNCATED, b"it of lamp cut the connection"),
    4711: (ExitCode.TRUNCATED, b"code 0x1267"),
}
"""What the command makes of the reasons for which a stream is stopped."""


GREETING = b"220 ready\n"
"""What a service says first: so a command that has it has opened its stream."""


@implementer(IHalfCloseableProtocol)
class Service(Protocol):
    """
    What runs on the thing, as the test wants it.

    :ivar received: what came.
    :ivar opened: fires with this when it is connected.
    :ivar ended: fires with this when nothing more comes.
    :ivar lost: fires with why when it is over.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.opened: Deferred[Service] = Deferred()
        self.ended: Deferred[Service] = Deferred()
        self.lost: Deferred[BaseException] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(GREETING)
        self.opened.callback(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def readConnectionLost(self) -> None:
        self.ended.callback(self)

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.lost.callback(reason.value)


class Echo(Service):
    """Sends back what comes, as fast as it is taken; ends as the other side does."""

    def connectionMade(self) -> None:
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()


@implementer(IStreamServer)
class Refusing:
    """Refuses each stream."""

    def __init__(self, code: int) -> None:
        self.code = code

    def streamRequested(self, protocol: Any, label: str) -> None:
        raise StreamRefused(self.code)

    def doStart(self) -> None:
        pass

    def doStop(self) -> None:
        pass


class ReachCase(CommandCase):
    """A server that reaches ``it`` on ``lamp``."""

    def serveIt(self, served: Any) -> str:
        """Start a server; the target that leads to it."""
        factory = self.serverFactory({})
        factory.serve("reach:it:lamp", served)
        return f"127.0.0.1:{self.listen(factory)}"

    def reach(self, served: Any, *arguments: str, **named: Any) -> Command:
        """Start the command, with such a server."""
        server = ("--server", self.serveIt(served), "--server-key", self.key.fingerprint)
        return self.run_("reach", *server, *arguments, "lamp", "it", **named)

    def reachOne(self, service: Service, *arguments: str, **named: Any) -> Command:
        """Start the command, with a server that has this service once."""
        return self.reach(Factory.forProtocol(lambda: service), *arguments, **named)


ECHOES = Factory.forProtocol(Echo)


class OctetsTests(ReachCase):
    """Octets, in order, both ways."""

    async def test_conversation(self) -> None:
        """What is written goes out at once, whatever octets it has, and what comes likewise."""
        command = self.reach(ECHOES)
        for piece in (b"first\n", b"\x16\x03\x01", b"\0", b"k" * 60000, b"no newline"):
            command.write(piece)
            await command.wrote(piece)
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(command.err, b"")
        self.assertTrue(self.terminations[0].clean)

    async def test_files(self) -> None:
        """20 MiB from a file to a file, through an echo, arrive whole."""
        data = os.urandom(20 << 20)
        source, sink = self.home / "in", self.home / "out"
        source.write_bytes(data)
        with source.open("rb") as stdin, sink.open("wb") as stdout:
            command = self.reach(ECHOES, childFDs={0: stdin.fileno(), 1: stdout.fileno(), 2: "r"})
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(hashlib.sha256(sink.read_bytes()).digest(), hashlib.sha256(data).digest())

    async def test_inputEndsFirst(self) -> None:
        """A service that answers when the question is whole is told that it is."""
        service = Service()
        command = self.reachOne(service)
        command.write(b"a question")
        command.endInput()
        await service.ended
        service.transport.write(service.received.upper())
        service.transport.loseConnection()
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(command.out, GREETING + b"A QUESTION")

    async def test_outputEndsFirst(self) -> None:
        """A service that has no more to say closes the output, and takes input all the same."""
        service = Service()
        reader, writer = os.pipe()
        command = self.reachOne(service, childFDs={0: "w", 1: writer, 2: "r"})
        os.close(writer)
        output = Output(reader)
        await service.opened
        service.transport.write(b"all I have to say")
        service.transport.loseWriteConnection()
        self.assertEqual(await output.ended, GREETING + b"all I have to say")
        command.write(b"and now you")
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(service.received, b"and now you")

    async def test_slowReader(self) -> None:
        """A reader that does not read for a while holds back the service, and loses nothing."""
        data = os.urandom(8 << 20)

        class Source(Service):
            def connectionMade(self) -> None:
                self.full: Deferred[None] = Deferred()
                self.transport.registerProducer(self, True)
                self.transport.write(data)
                self.opened.callback(self)

            def pauseProducing(self) -> None:
                self.full.callback(None)

            def resumeProducing(self) -> None:
                self.transport.unregisterProducer()
                self.transport.loseConnection()

            def stopProducing(self) -> None:
                pass

        service = Source()
        reader, writer = os.pipe()
        command = self.reachOne(service, childFDs={0: "w", 1: writer, 2: "r"})
        os.close(writer)
        await service.opened
        await service.full
        output = Output(reader)
        self.assertEqual(await output.ended, data)
        await self.assertExit(command, ExitCode.GOODBYE)

    async def test_slowService(self) -> None:
        """A service that takes nothing holds back the writer of the input."""

        class Lazy(Service):
            def connectionMade(self) -> None:
                self.transport.pauseProducing()
                self.opened.callback(self)

        service = Lazy()
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        command = self.reachOne(service, childFDs={0: reader, 1: "r", 2: "r"})
        os.close(reader)
        await service.opened
        written = await fill(writer)
        service.transport.resumeProducing()
        os.close(writer)
        await service.ended
        service.transport.loseConnection()
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(len(service.received), written)


async def fill(writer: int) -> int:
    """Write to a pipe until it takes nothing for a while; how many octets it took."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    clock: Any = reactor
    written, idle = 0, 0
    while idle < 20:
        try:
            written += os.write(writer, bytes(65536))
            idle = 0
        except BlockingIOError:
            idle += 1
            await deferLater(clock, 0.05)
    return written


class EndTests(ReachCase):
    """How it ends, and what is said."""

    async def test_refused(self) -> None:
        """Each refusal has its exit code, and one line that says what is missing."""
        commands = {code: self.reach(Refusing(code)) for code in ENDINGS}
        for code, command in commands.items():
            exitCode, said = ENDINGS[code]
            await self.assertExit(command, exitCode, said)
            self.assertEqual(command.err.count(b"\n"), 1, command.err)
            self.assertTrue(command.err.startswith(b"thing: "))
        for termination in self.terminations:
            self.assertTrue(termination.clean)

    async def test_cut(self) -> None:
        """So it is later; what came before is in the output."""
        services = {code: Service() for code in ENDINGS}
        commands = {code: self.reachOne(service) for code, service in services.items()}
        for code, command in commands.items():
            service = services[code]
            await command.wrote(GREETING)
            service.transport.write(b"so far")
            await command.wrote(b"so far")
            service.transport.abortConnection(code)
            exitCode, said = ENDINGS[code]
            await self.assertExit(command, exitCode, said)
            self.assertEqual(command.out, GREETING + b"so far")

    async def test_ownKey(self) -> None:
        """Who is not permitted is told which key it was."""
        own = IdentityKey.generate()
        own.save(self.home / "id_ed25519")
        refusing = Refusing(StopCode.NOT_PERMITTED)
        said = f"your key {own.fingerprint} ".encode()
        await self.assertExit(self.reach(refusing), ExitCode.NOT_PERMITTED, said)
        command = self.reach(refusing, "--anonymous")
        await self.assertExit(command, ExitCode.NOT_PERMITTED, b"you showed none")

    async def test_serviceCloses(self) -> None:
        """When the service closes in order nothing waits for the input."""
        service = Service()
        command = self.reachOne(service)
        await command.wrote(GREETING)
        service.transport.write(b"bye")
        service.transport.loseConnection()
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual((command.out, command.err), (GREETING + b"bye", b""))

    async def test_serverGoesAway(self) -> None:
        """A server that is shut down says so; that is not the service's end."""
        factory = self.serverFactory({})
        factory.serve("reach:it:lamp", ECHOES)
        server = f"127.0.0.1:{self.listen(factory)}"
        believed = ("--server-key", self.key.fingerprint)
        command = self.run_("reach", "--server", server, *believed, "lamp", "it")
        command.write(b"hello")
        await command.wrote(b"hello")
        factory.drain(grace=0.1)
        await self.assertExit(command, ExitCode.SENT_AWAY, b"the server asks to leave")

    async def test_serverIsCut(self) -> None:
        """A connection to the server that breaks is told."""
        service = Service()
        command = self.reachOne(service)
        await command.wrote(GREETING)
        service.transport._below.abortConnection()
        await self.assertExit(command, ExitCode.TRUNCATED)

    async def test_interrupted(self) -> None:
        """Ctrl-C and SIGTERM cut the stream, say goodbye to the server, and are no success."""
        for number in (signal.SIGINT, signal.SIGTERM):
            service = Service()
            command = self.reachOne(service)
            await command.wrote(GREETING)
            command.signal(number)
            await self.assertExit(command, ExitCode.INTERRUPTED)
            self.assertEqual(command.err, b"thing: interrupted\n")
            reason = await service.lost
            assert isinstance(reason, StreamCut)
            self.assertEqual(reason.code, StopCode.CANCELLED)
        for termination in self.terminations:
            self.assertTrue(termination.clean)

    async def test_interruptedWhileFull(self) -> None:
        """Neither Ctrl-C nor SIGHUP waits for a reader that does not read."""
        for number, code in (
            (signal.SIGINT, ExitCode.INTERRUPTED),
            (signal.SIGHUP, ExitCode.GOODBYE),
        ):
            service = Service()
            reader, writer = os.pipe()
            self.addCleanup(os.close, reader)
            command = self.reachOne(service, childFDs={0: "w", 1: writer, 2: "r"})
            await service.opened
            service.transport.write(bytes(1 << 20))
            while select.select([], [writer], [], 0)[1]:
                await turn()
            os.close(writer)
            command.signal(number)
            await self.assertExit(command, code)

    async def test_hangUp(self) -> None:
        """At SIGHUP, as ssh sends it, what was written before still arrives, in order."""
        service = Service()
        command = self.reachOne(service)
        await command.wrote(GREETING)
        command.signal(signal.SIGSTOP)
        command.write(b"my last word")
        command.signal(signal.SIGHUP)
        command.endInput()
        command.signal(signal.SIGCONT)
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(command.err, b"")
        self.assertIsInstance(await service.lost, ConnectionDone)
        self.assertEqual(service.received, b"my last word")

    async def test_hangUpAlone(self) -> None:
        """At SIGHUP it ends though the input does not."""
        service = Service()
        command = self.reachOne(service)
        await command.wrote(GREETING)
        command.signal(signal.SIGHUP)
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertIsInstance(await service.lost, ConnectionDone)

    async def test_readerGoesAway(self) -> None:
        """When nobody reads the output any more it ends in order, without a word."""
        service = Service()
        reader, writer = os.pipe()
        command = self.reachOne(service, childFDs={0: "w", 1: writer, 2: "r"})
        os.close(writer)
        await service.opened
        os.close(reader)
        service.transport.write(b"into the void")
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(command.err, b"")
        self.assertIsInstance(await service.lost, ConnectionDone)

    async def test_killed(self) -> None:
        """A command that is killed is no service's client that closed in order."""
        service = Service()
        command = self.reachOne(service)
        await command.wrote(GREETING)
        command.signal(signal.SIGKILL)
        self.assertIsInstance(await service.lost, SessionLost)
        await command.ended

    async def test_inputFails(self) -> None:
        """Input that cannot be read is not at its end."""
        service = Service()
        with open(MEMORY, "rb") as broken:
            command = self.reachOne(service, childFDs={0: broken.fileno(), 1: "r", 2: "r"})
        await self.assertExit(command, ExitCode.FAILED, b"thing: cannot read standard input")
        self.assertIsInstance(await service.lost, SessionLost)

    async def test_outputFails(self) -> None:
        """Output that cannot be written is told."""
        service = Service()
        with open("/dev/full", "wb") as full:
            command = self.reachOne(service, childFDs={0: "w", 1: full.fileno(), 2: "r"})
        await service.opened
        service.transport.write(b"too much")
        await self.assertExit(command, ExitCode.FAILED, b"thing: cannot write to standard output")
        self.assertIsInstance(await service.lost, SessionLost)


def turn() -> Deferred[None]:
    """Fires in a later turn of the reactor."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    clock: Any = reactor
    return deferLater(clock, 0.01)


class DestinationTests(SynchronousTestCase):
    """What can be reached."""

    def test_label(self) -> None:
        """The thing may have any id."""
        for thing in ("lamp", "SHA256:abc", "Büro 1", "a" * 200):
            self.assertEqual(Destination(thing, "ssh").label, f"reach:ssh:{thing}")

    def test_mistakes(self) -> None:
        """A name that none can have is a mistake."""
        for thing, service in (
            ("", "ssh"),
            ("lamp", ""),
            ("lamp", "s" * 65),
            ("lamp", "a:b"),
            ("lamp", "é"),
            ("é" * 124, "ssh"),
        ):
            with self.assertRaises(ValueError):
                Destination(thing, service)

    def test_everyReason(self) -> None:
        """All reasons for which a stream can be stopped out of order are tested here."""
        self.assertEqual(ENDINGS.keys() - {4711}, {*StopCode} - {StopCode.DONE})

    def test_keys(self) -> None:
        """Who shows no key that could stand in the server's file is told so."""
        own = IdentityKey.generate()
        self.assertEqual(keyOf(own), f"your key {own.fingerprint}")
        for other in (Anonymous(), PresharedKey(b"lamp", bytes(32))):
            self.assertIn("of which you showed none", keyOf(other))

    def test_steering(self) -> None:
        """A thing's name cannot steer the terminal."""
        error = Destination("\x1b[2J", "ssh").refusal(StopCode.NOT_CONNECTED, "your key")
        self.assertNotIn("\x1b", str(error))


class OnlyServerTests(HomeCase):
    """The server that is meant when none is named."""

    def fileOf(self, *lines: str) -> str:
        """A file of known servers."""
        path = self.directory / "known_servers"
        path.write_text("".join(f"{line}\n" for line in lines))
        return str(path)

    def setUp(self) -> None:
        super().setUp()
        self.one, self.other = (IdentityKey.generate().publicLine() for _ in range(2))

    def test_one(self) -> None:
        """The only one there is."""
        path = self.fileOf("# mine", "", f"[Example.org]:9000 {self.one} a comment")
        self.assertEqual(onlyServer(path), [("Example.org", 9000)])

    def test_addresses(self) -> None:
        """Names that share a key are one server's, in their order."""
        line = f"[a.example]:9000,[fe80::1%eth0]:9001 {self.one}"
        next = f"[a.example]:9000 {self.other}"
        self.assertEqual(
            onlyServer(self.fileOf(line, next)), [("a.example", 9000), ("fe80::1%eth0", 9001)]
        )
        lines = (f"[::1]:9000 {self.one}", f"[b.example]:9000 {self.one}")
        self.assertEqual(onlyServer(self.fileOf(*lines)), [("::1", 9000), ("b.example", 9000)])

    def test_others(self) -> None:
        """What is ssh's, hashed, a pattern or marked, is not counted."""
        path = self.fileOf(
            f"github.com {self.other}",
            f"@revoked [old.example]:9000 {self.other}",
            f"@cert-authority [*.example]:9000 {self.other}",
            f"[*.example]:9000 {self.other}",
            f"|1|aaaa|bbbb {self.other}",
            f"[big.example]:99999 {self.other}",
            "[rsa.example]:22 ssh-rsa AAAA",
            f"[a.example]:9000 {self.one}",
        )
        self.assertEqual(onlyServer(path), [("a.example", 9000)])

    def test_none(self) -> None:
        """None, several and no file are said."""
        several = (f"[a.example]:9000 {self.one}", f"[b.example]:9000 {self.other}")
        for lines, said in (((), "has no server"), (several, "has several servers")):
            error = self.assertRaises(CredentialError, onlyServer, self.fileOf(*lines))
            self.assertIn(said, str(error))
        self.assertRaises(CredentialError, onlyServer, str(self.directory / "nothing"))


class ArgumentTests(HomeCase):
    """What is typed."""

    def test_noServer(self) -> None:
        """Without a server it is said how to name one."""
        said = "known_servers; name the server, or set THING_SERVER"
        result = self.invoke("reach", "lamp", "ssh")
        self.assertExit(result, ExitCode.USAGE, said)
        self.assertIn("no server is known, as there is no ", result.output)

    def test_mistakes(self) -> None:
        """A service that none can be is a mistake in the command line."""
        result = self.invoke("reach", "--server", "localhost:1", "lamp", "a b")
        self.assertExit(result, ExitCode.USAGE, "can be no service")


class WhichServerTests(ReachCase):
    """Where the server is, if that is not said."""

    def known(self) -> None:
        """Know the server."""
        (self.home / "known_servers").write_text(
            f"[127.0.0.1]:{self.target.rpartition(':')[2]} {self.key.publicLine()}\n"
        )

    async def assertEcho(self, *arguments: str) -> None:
        command = self.run_("reach", *arguments, "lamp", "it")
        command.write(b"hello")
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(command.out, b"hello")

    async def test_default(self) -> None:
        """It is ``$THING_SERVER``, else the only one that is known."""
        self.target = self.serveIt(ECHOES)
        self.known()
        await self.assertEcho()
        self.environment["THING_SERVER"] = self.target
        await self.assertEcho()
        self.environment["THING_SERVER"] = ""
        await self.assertEcho()

    async def test_addresses(self) -> None:
        """All addresses of the server are tried, in their order: those that are known or named."""
        self.target = self.serveIt(ECHOES)
        self.known()
        known = self.home / "known_servers"
        known.write_text(f"[127.0.0.1]:1 {self.key.publicLine()}\n" + known.read_text())
        for named in ("", f"127.0.0.1:1 {self.target}", f"localhost:1 127.0.0.1:1 {self.target}"):
            self.environment["THING_SERVER"] = named
            await self.assertEcho()
        self.environment["THING_SERVER"] = "127.0.0.1:1 127.0.0.1:2"
        command = self.run_("reach", "lamp", "it")
        await self.assertExit(command, ExitCode.NOT_CONNECTED)
        said = command.err.decode().splitlines()
        self.assertRegex(said[0], "^thing: cannot connect to 127.0.0.1:1: .*; trying the next")
        self.assertRegex(said[1], "^thing: cannot connect to 127.0.0.1:2: ")
