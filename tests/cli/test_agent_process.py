"""``thing agent`` as devices run it: real processes, real sockets, real signals."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.cli.test_process import Command, CommandCase, Server
from tests.daemon.test_systemd import EXAMPLES, Manager
from tests.daemon.test_twistd import Process, TwistdCase
from tests.trust.test_keys import write
from thing import IdentityKey
from thing.cli.exits import ExitCode
from thing.errors import ReplyStatus, RequestFailed, SessionEnded, StopCode, StreamRefused

reactor: Any = installedReactor


class Sink(Protocol):
    """A service that takes what comes: what it was, and how it ended."""

    def __init__(self) -> None:
        self.received = b""
        self.reason: BaseException | None = None
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason.value
        self.lost.callback(None)


@implementer(IHalfCloseableProtocol)
class End(Sink):
    """An end whose two directions end one by one."""

    def readConnectionLost(self) -> None:
        """Go on."""

    def writeConnectionLost(self) -> None:
        """Go on."""


class Reverser(End):
    """A service that answers when all was asked: half-closes are its protocol."""

    def readConnectionLost(self) -> None:
        self.transport.write(self.received[::-1])
        self.transport.loseConnection()


class AgentCase(CommandCase):
    """Servers in this process, and agents."""

    def setUp(self) -> None:
        super().setUp()
        self.heard: list[bytes] = []
        self.servers: list[Any] = []
        self.changed: list[Deferred[None]] = []

    def serveAgent(self, **settings: Any) -> str:
        """Start a server that keeps what it hears; the target that leads to it."""

        def up(server: Server) -> None:
            self.servers.append(server)
            self.tell()

        def heard(server: Server, message: bytes) -> None:
            self.heard.append(message)
            self.tell()

        doing = {
            "handshakeCompleted": up,
            "messageReceived": heard,
            "terminated": lambda *_: self.tell(),
        }
        return self.serve(doing, **settings)

    def tell(self) -> None:
        """Something has happened."""
        changed, self.changed = self.changed, []
        for waiter in changed:
            waiter.callback(None)

    async def until(self, condition: Any) -> None:
        """Wait until something is so."""
        while not condition():
            waiter: Deferred[None] = Deferred()
            self.changed.append(waiter)
            await waiter

    async def session(self) -> Any:
        """The server's side of the first session."""
        await self.until(lambda: self.servers)
        return self.servers[0]

    def agent(self, target: str, *arguments: str, **named: Any) -> Command:
        """Start an agent that believes the server."""
        return self.run_("agent", "--server-key", self.key.fingerprint, *arguments, target, **named)

    async def assertLeaves(self, agent: Command) -> None:
        """Told to, it leaves with a goodbye."""
        await agent.wrote(b"is established")
        agent.signal(signal.SIGTERM)
        await self.assertExit(agent, ExitCode.GOODBYE)
        await self.until(lambda: self.terminations and self.terminations[-1].clean)


class MessageTests(AgentCase):
    """Messages and requests."""

    async def test_lines(self) -> None:
        """Lines go up, messages come down; that the input ends is not the end."""
        agent = self.agent(self.serveAgent(), "--last-word", "gone")
        agent.write(b"one\ntwo\nthr")
        agent.endInput()
        await self.until(lambda: len(self.heard) == 3)
        self.assertEqual(self.heard, [b"one", b"two", b"thr"])
        server = await self.session()
        self.assertEqual(server.lastWord, b"gone")
        server.sendMessage(b"on")
        server.sendMessage(b"two\nlines\n")
        self.assertEqual(await server.request(b"acknowledged"), b"")
        await agent.wrote(b"acknowledged\n")
        self.assertEqual(agent.out, b"on\ntwo\nlines\nacknowledged\n")
        await self.assertLeaves(agent)

    async def test_fifo(self) -> None:
        """Lines come from a FIFO, which is made, and standard input is left alone."""
        fifo = self.home / "messages"
        agent = self.agent(self.serveAgent(), "--messages-from", str(fifo))
        agent.write(b"not read\n")
        await self.session()
        self.assertTrue(stat.S_ISFIFO(os.stat(fifo).st_mode))
        for line in (b"one\n", b"two\n"):
            fifo.write_bytes(line)
            await self.until(lambda line=line: line.rstrip() in self.heard)
        self.assertEqual(self.heard, [b"one", b"two"])
        await self.assertLeaves(agent)

    async def test_onRequest(self) -> None:
        """A program answers; when it fails the peer is told so, and the agent says why."""
        program = 'read x && test "$x" != no && echo "$x!"'
        agent = self.agent(self.serveAgent(), "--on-request", f"sh -c '{program}'")
        server = await self.session()
        self.assertEqual(await server.request(b"on\n"), b"on!\n")
        failed = await self.assertFailure(server.request(b"no\n"), RequestFailed)
        self.assertIs(failed.status, ReplyStatus.FAILED)
        await agent.wrote(b"The program for requests failed: its exit status was 1")
        await self.assertLeaves(agent)

    async def test_slowPrograms(self) -> None:
        """A program that takes too long is ended, and meanwhile one more request is too many."""
        agent = self.agent(
            self.serveAgent(),
            *("--on-request", "sleep 60", "--program-timeout", "1", "--requests-at-once", "1"),
        )
        server = await self.session()
        slow = server.request(b"x")
        busy = await self.assertFailure(server.request(b"x"), RequestFailed)
        self.assertIs(busy.status, ReplyStatus.BUSY)
        failed = await self.assertFailure(slow, RequestFailed)
        self.assertIs(failed.status, ReplyStatus.FAILED)
        await agent.wrote(b"it took longer than 1 s")
        await self.assertLeaves(agent)

    async def test_nothingIsLeft(self) -> None:
        """When a program is killed, nothing is left of what it has started."""
        fifo = os.path.abspath(self.mktemp())
        os.mkfifo(fifo)
        program = f"exec 3>{fifo}; echo >&3 begun; sleep 600 & wait"
        agent = self.agent(self.serveAgent(), "--on-request", f"sh -c '{program}'")
        server = await self.session()
        asking = server.request(b"x")
        opened = await deferToThread(open, fifo, "rb")
        self.addCleanup(opened.close)
        self.assertEqual(await deferToThread(opened.readline), b"begun\n")
        server.abort()
        await self.assertFailure(asking, SessionEnded)
        # It ends when nobody has it open for writing any more.
        self.assertEqual(await deferToThread(opened.read), b"")
        agent.signal(signal.SIGTERM)
        await self.assertExit(agent, ExitCode.GOODBYE)

    async def test_onMessage(self) -> None:
        """Each message is given to a program, in their order; its output is the agent's."""
        program = 'sed "s/^/got /"; echo >&2 done'
        agent = self.agent(self.serveAgent(), "--on-message", f"sh -c '{program}'")
        server = await self.session()
        for message in (b"one\n", b"two\n", b"three\n"):
            server.sendMessage(message)
        await agent.wrote(b"got three")
        self.assertEqual(agent.out, b"got one\ngot two\ngot three\n")
        await agent.wrote(b"done\n")
        await self.assertLeaves(agent)

    async def test_leavingDealsWithMessages(self) -> None:
        """Messages that have come are dealt with before it ends."""
        agent = self.agent(self.serveAgent(), "--on-message", "sh -c 'sleep 0.3; cat'")
        server = await self.session()
        server.sendMessage(b"one\n")
        await server.request(b"two\n")
        server.sendMessage(b"three\n")
        await self.assertLeaves(agent)
        self.assertEqual(agent.out, b"one\ntwo\nthree\n")

    async def test_outputFull(self) -> None:
        """While nobody reads its output the server is held back; then all comes, in order."""
        reader, writer = os.pipe()
        agent = self.agent(self.serveAgent(), childFDs={0: "w", 1: writer, 2: "r"})
        os.close(writer)
        server = await self.session()
        messages = [b"%03d" % number * 20_000 for number in range(100)]
        for message in messages:
            server.sendMessage(message)
        while server.creditStalls == 0:
            await deferLater(reactor, 0.01)
        self.assertGreater(server.queued, 1 << 20)
        with os.fdopen(reader, "rb") as output:
            lines = await deferToThread(lambda: [output.readline() for _ in messages])
            await self.assertLeaves(agent)
        self.assertEqual(lines, [message + b"\n" for message in messages])

    async def test_outputGone(self) -> None:
        """That nobody reads its output any more ends it, before a message is lost."""
        reader, writer = os.pipe()
        agent = self.agent(self.serveAgent(), childFDs={0: "w", 1: writer, 2: "r"})
        os.close(writer)
        await agent.wrote(b"is established")
        os.close(reader)
        await self.assertFails(agent, b"nobody reads it")

    async def test_outputFails(self) -> None:
        """So does a message that cannot be written."""
        with open("/dev/full", "wb") as full:
            agent = self.agent(self.serveAgent(), childFDs={0: "w", 1: full.fileno(), 2: "r"})
        server = await self.session()
        server.sendMessage(b"one")
        await self.assertFails(agent, b"No space left on device")

    async def assertFails(self, agent: Command, why: bytes) -> None:
        """It says why it ends, and goodbye."""
        said = b"Cannot write to standard output: " + why
        await self.assertExit(agent, ExitCode.FAILED, said)
        await self.until(lambda: self.terminations)
        self.assertTrue(self.terminations[0].clean)


class LifeTests(AgentCase):
    """It comes back, and ends when it is told to."""

    async def test_comesBack(self) -> None:
        """A session that is cut is followed by another; why, and when, is logged."""
        agent = self.agent(self.serveAgent())
        await agent.wrote(b"is established")  # The server's side is up sooner.
        self.servers[0].abort()
        await agent.wrote(b"No session: the stream ended ")
        while agent.err.count(b"is established") < 2:
            await deferLater(reactor, 0.05)
        self.assertRegex(agent.err, rb"No session: the stream ended .*; next try in \d+ s\n")
        await self.assertLeaves(agent)

    async def test_refused(self) -> None:
        """A server that does not know the key ends nothing; the log says that somebody must act."""
        agent = self.agent(self.serveAgent(allowAnonymous=False))
        await agent.wrote(b"somebody must act; next try in ")
        agent.signal(signal.SIGTERM)
        await self.assertExit(agent, ExitCode.GOODBYE)

    async def test_nobodyThere(self) -> None:
        """Nor does it that nobody is there."""
        agent = self.agent("127.0.0.1:1")
        await agent.wrote(b"No session: ")
        self.assertIn(b"Connection refused", agent.err)
        agent.signal(signal.SIGINT)
        await self.assertExit(agent, ExitCode.GOODBYE)

    async def test_addresses(self) -> None:
        """All addresses are tried: those of the variable, or all that are known."""
        target = self.serveAgent()
        (self.home / "known_servers").write_text(
            f"[127.0.0.1]:1 {self.key.publicLine()}\n"
            f"[127.0.0.1]:{target.rpartition(':')[2]} {self.key.publicLine()}\n"
        )
        for named in ("", f"127.0.0.1:1 {target}"):
            self.environment["THING_SERVER"] = named
            agent = self.run_("agent", "--server-key", self.key.fingerprint)
            await agent.wrote(b"127.0.0.1:1: Connection refused; trying the next address")
            await self.assertLeaves(agent)

    async def test_secondSignal(self) -> None:
        """While it says goodbye to a server that does not listen, a second signal ends it."""
        target, fallSilent = self.serveAndFallSilent()
        agent = self.agent(target)
        await agent.wrote(b"is established")
        fallSilent()
        agent.signal(signal.SIGTERM)
        await deferLater(reactor, 0.5)
        self.assertFalse(agent.ended.called)
        agent.signal(signal.SIGTERM)
        await self.assertExit(agent, ExitCode.GOODBYE)
        self.assertIn(b"Hurrying", agent.err)

    async def test_hangUp(self) -> None:
        """That its terminal is gone ends it in order."""
        agent = self.agent(self.serveAgent())
        await agent.wrote(b"is established")
        agent.signal(signal.SIGHUP)
        await self.assertExit(agent, ExitCode.GOODBYE)
        await self.until(lambda: self.terminations and self.terminations[-1].clean)

    async def test_systemd(self) -> None:
        """It tells systemd when it is ready, that it lives, and that it stops; programs do not."""
        manager = Manager()
        self.addCleanup(manager.socket.close)
        self.environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000"}
        agent = self.agent(
            self.serveAgent(), "--on-request", "sh -c 'echo ${NOTIFY_SOCKET-nothing}'"
        )
        server = await self.session()
        self.assertEqual(await server.request(b""), b"nothing\n")
        told: list[str] = []
        while not any(line.startswith("STATUS=Session with ") for line in told):
            await deferLater(reactor, 0.05)
            told += [line for message in manager.told() for line in message]
        self.assertEqual(told[:2], ["READY=1", "STATUS=Connecting"])
        self.assertIn("WATCHDOG=1", told)
        await self.assertLeaves(agent)
        told = [line for message in manager.told() for line in message]
        self.assertIn("STOPPING=1", told)

    async def test_journal(self) -> None:
        """In the journal each line has its priority."""
        ours, theirs = socket.socketpair()
        status = os.fstat(theirs.fileno())
        self.environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        agent = self.agent("127.0.0.1:1", childFDs={0: "w", 1: "r", 2: theirs.fileno()})
        theirs.close()
        log = Sink()
        reactor.adoptStreamConnection(
            ours.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: log)
        )
        ours.close()
        while b"No session" not in log.received:
            await deferLater(reactor, 0.05)
        self.assertRegex(log.received, rb"(?m)^<4>.*No session: Connection refused")
        agent.signal(signal.SIGTERM)
        self.assertEqual(await agent.ended, ExitCode.GOODBYE)

    async def test_usage(self) -> None:
        """What cannot be is told before anything begins."""
        file = self.home / "file"
        file.touch()
        table = (
            (["--on-request", "no-such-program"], "--on-request: 'no-such-program' is no program"),
            (["--on-message", "'"], "--on-message: No closing quotation"),
            (["--expose", "ssh"], "'ssh' is not NAME=ENDPOINT"),
            (["--expose", "s h=tcp:x:1"], "'s h=tcp:x:1' is not NAME=ENDPOINT"),
            (["--expose", "ssh=no-such:x"], "--expose: 'no-such:x': "),
            (["--expose", "a=tcp:x:1", "--expose", "a=tcp:x:2"], "--expose: a is given twice"),
            (["--last-word", "x" * 4097], "a last word has 4096 octets at most"),
            (["--program-timeout", "0"], "0.0 is not a positive number of seconds"),
            (["--requests-at-once", "65"], "65 is not in the range 1<=x<=64"),
        )
        for arguments, said in table:
            agent = self.agent("127.0.0.1:1", *arguments)
            self.assertEqual(await agent.ended, ExitCode.USAGE, agent.err)
            self.assertIn(said, " ".join(agent.err.decode().split()))
        agent = self.agent("127.0.0.1:1", "--messages-from", str(file))
        await self.assertExit(agent, ExitCode.FAILED, b"file: it is no FIFO")


class ExposeTests(AgentCase):
    """What listens beside the agent is reached through it."""

    async def stream(self, server: Any, label: str) -> End:
        """The server's end of a new stream."""
        end: Any = await server.streams.endpoint(label).connect(Factory.forProtocol(End))
        return end

    async def test_reached(self) -> None:
        """Each stream has a connection of its own; a half-close goes through, and octets stay."""
        port = self.listen(Factory.forProtocol(Reverser))
        agent = self.agent(self.serveAgent(), "--expose", f"back=tcp:127.0.0.1:{port}")
        server = await self.session()
        ends = [await self.stream(server, "reach:back") for _ in range(3)]
        for number, end in enumerate(ends):
            assert end.transport is not None
            end.transport.write(b"\0\xff%d\n" % number * 1000)
            end.transport.loseWriteConnection()
        for number, end in enumerate(ends):
            await end.lost
            self.assertIsInstance(end.reason, ConnectionDone)
            self.assertEqual(end.received, (b"\0\xff%d\n" % number * 1000)[::-1])
        await self.assertLeaves(agent)

    async def test_unreachable(self) -> None:
        """If nobody listens the stream is refused; what is not exposed is not taken."""
        agent = self.agent(self.serveAgent(), "--expose", "web=tcp:127.0.0.1:1")
        server = await self.session()
        for label, code in (
            ("reach:web", StopCode.UNREACHABLE),
            ("reach:ssh", StopCode.NOT_TAKEN),
            ("web", StopCode.NOT_TAKEN),
        ):
            refused = await self.assertFailure(
                Deferred.fromCoroutine(self.stream(server, label)), StreamRefused
            )
            self.assertIs(refused.code, code)
        await agent.wrote(b"cannot be reached: Connection was refused")
        await self.assertLeaves(agent)

    async def test_leaving(self) -> None:
        """When the agent leaves, what was written arrives at the service."""
        served: list[Sink] = []

        def build() -> Sink:
            served.append(Sink())
            return served[-1]

        port = self.listen(Factory.forProtocol(build))
        agent = self.agent(self.serveAgent(), "--expose", f"sink=tcp:127.0.0.1:{port}")
        end = await self.stream(await self.session(), "reach:sink")
        assert end.transport is not None
        end.transport.write(bytes(1 << 20))
        while not served or len(served[0].received) < 1 << 20:
            await deferLater(reactor, 0.01)
        await self.assertLeaves(agent)
        await served[0].lost


class WholeTests(TwistdCase):
    """With a real ``twistd thing``."""

    async def test_fleet(self) -> None:
        """An agent is a thing like others: it is listed, and answers what is sent to it."""
        key, path = IdentityKey.generate(), os.path.abspath(self.path("lamp"))
        key.save(path)
        authorized = os.path.abspath(self.path("authorized"))
        write(authorized, f"{key.publicLine()} lamp\n".encode())
        server, where = await self.started(
            "--status=tcp:0:interface=127.0.0.1", "--authorized", authorized
        )
        line = await server.whenLine("Status is told at ")
        url = line.rpartition(" ")[2]
        fingerprint = re.search(r"SHA256:\S+", "\n".join(server.lines))
        assert fingerprint is not None
        agent = self.spawn(
            *("-m", "thing.cli", "agent", where, "--identity", path),
            *("--server-key", fingerprint[0], "--on-request", "tr a-z A-Z"),
        )
        await agent.whenLine("is established")
        sent = self.command("send", "lamp", "shine", THING_STATUS=url)
        self.assertEqual(await sent.ended, ExitCode.GOODBYE, sent.output)
        self.assertEqual(sent.lines, ["SHINE"])
        os.kill(agent.pid, signal.SIGTERM)
        self.assertEqual(await agent.ended, ExitCode.GOODBYE, agent.output)

    async def test_unit(self) -> None:
        """The command of the example unit works with the file of its options."""
        lines = (EXAMPLES / "thing-agent.service").read_text()
        (start,) = re.findall(r"(?m)^ExecStart=/opt/thing/bin/thing (.+)$", lines)
        (options,) = re.findall(
            r'(?m)^THING_AGENT_OPTIONS="(.+)"$', (EXAMPLES / "etc-thing" / "agent.env").read_text()
        )
        home, where = os.path.abspath(self.path("state")), "127.0.0.1:1"
        os.mkdir(home)
        IdentityKey.generate().save(os.path.join(home, "id_ed25519"))
        Path(home, "known_servers").touch()
        words = start.replace("$THING_AGENT_OPTIONS", options)
        words = words.replace("things.example.org", where).replace("/run/thing-agent", home)
        agent = self.command(*words.split(), THING_HOME=home)
        await agent.whenLine("No session: ")
        self.assertTrue(stat.S_ISFIFO(os.stat(os.path.join(home, "messages")).st_mode))
        os.kill(agent.pid, signal.SIGTERM)
        self.assertEqual(await agent.ended, ExitCode.GOODBYE, agent.output)

    def command(self, *arguments: str, **environment: str) -> Process:
        """Start a command."""
        return self.spawn("-m", "thing.cli", *arguments, **environment)
