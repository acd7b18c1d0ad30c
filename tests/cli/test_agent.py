"""``thing agent`` in memory: its lines, its programs, its messages, its sessions."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests import PROJECT
from tests.anypeer import NoPeer
from tests.daemon.test_systemd import Manager
from tests.pairs import PairedEndpoint
from thing.cli import programs
from thing.cli.addresses import Addresses
from thing.cli.attending import REACHES, Choices, sessionOf
from thing.cli.downlink import MESSAGE_COST, QUEUE_HIGH, QUEUE_MOST, Answerer, Dispatcher
from thing.cli.keeping import OUTPUT_PATIENCE, Agent, AgentFactory
from thing.cli.options import ClientOptions
from thing.cli.programs import Program, ProgramFailed, inSession, parseCommand
from thing.cli.target import parseTarget
from thing.cli.uplink import LONGEST_LINE, REOPEN_DELAY, Fifo, LineCutter, Uplink
from thing.core.messages import REQUEST_LIMIT
from thing.daemon.systemd import Supervisor
from thing.endpoints import Backoff
from thing.errors import ErrorCode, ReplyStatus, RequestFailed
from thing.events import Cause
from thing.session.protocol import ThingProtocol
from thing.testing import Pair
from thing.trust.keys import IdentityKey
from thing.trust.servers import PinnedServers

reactor: Any = installedReactor


class LineCutterTests(SynchronousTestCase):
    """Octets become lines."""

    def cut(self, *pieces: bytes) -> list[bytes]:
        """The lines of what comes in such pieces."""
        self.cutter = LineCutter()
        return [line for piece in pieces for line in self.cutter.feed(piece)]

    def test_lines(self) -> None:
        """However they come, lines are the same; an empty one is one, and octets stay."""
        octets = b"one\n\n two \r\n\xff\0\nrest"
        lines = [b"one", b"", b" two \r", b"\xff\0"]
        for size in (1, 2, 3, len(octets)):
            pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
            self.assertEqual(self.cut(*pieces), lines)
            self.assertTrue(self.cutter.within)
            self.assertEqual(self.cutter.end(), [b"rest"])
            self.assertFalse(self.cutter.within)

    def test_longest(self) -> None:
        """A line that is too long is left out, and those around it are not."""
        longest = b"x" * LONGEST_LINE
        for size in (LONGEST_LINE // 2, 2 * LONGEST_LINE):
            octets = b"before\n" + longest + b"\n" + longest + b"x\nafter\n"
            pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
            self.assertEqual(self.cut(*pieces), [b"before", longest, b"after"])
            self.assertEqual(self.cutter.skipped, 1)

    def test_endless(self) -> None:
        """One that never ends is not kept."""
        self.assertEqual(self.cut(*[b"x" * 1000] * 1000), [])
        self.assertLess(len(self.cutter._rest), LONGEST_LINE)
        self.assertEqual((self.cutter.end(), self.cutter.skipped), ([], 1))


class Source:
    """What an uplink reads from; the test says what there is."""

    def __init__(self, uplink: Uplink) -> None:
        self.uplink = uplink
        self.reading = True

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True


class Hearer(ThingProtocol):
    """A server that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def messageReceived(self, message: bytes) -> None:
        self.heard.append(message)


class UplinkTests(SynchronousTestCase):
    """Lines become messages."""

    def setUp(self) -> None:
        self.uplink = Uplink(Source)
        self.source: Source = self.uplink._source

    def session(self) -> Pair:
        """A session that the lines are sent in."""
        pair = Pair(Hearer, ThingProtocol).up()
        self.addCleanup(pair.close)
        self.uplink.attach(pair.clientSession)
        return pair

    def test_sends(self) -> None:
        """Nothing is read before there is a session; then each line is a message."""
        self.assertFalse(self.source.reading)
        pair = self.session()
        self.assertTrue(self.source.reading)
        self.uplink.inputReceived(b"one\ntwo\n\nthr")
        pair.pump()
        self.assertEqual(pair.serverSession.heard, [b"one", b"two", b""])
        self.uplink.inputReceived(b"ee\nfour")
        self.uplink.inputEnded()
        self.uplink.inputEnded()
        pair.pump()
        self.assertEqual(pair.serverSession.heard[3:], [b"three", b"four"])

    def test_backpressure(self) -> None:
        """While the session's queue is full nothing is read, and what was read waits."""
        pair = self.session()
        pair.freeze()
        line = b"x" * 1000
        for _ in range(10_000):
            if not self.source.reading:
                break
            self.uplink.inputReceived((line + b"\n") * 50)
        self.assertFalse(self.source.reading)
        self.assertLess(pair.clientSession.queued, 4 * QUEUE_HIGH)
        pair.thaw()
        pair.pump()
        self.assertTrue(self.source.reading)
        self.assertEqual(set(pair.serverSession.heard), {line})

    def test_nextSession(self) -> None:
        """What a closing session does not take any more goes up in the next one."""
        pair = self.session()
        pair.clientSession.goodbye()
        self.uplink.inputReceived(b"one\ntwo\n")
        pair.advance(5.0)
        self.assertFalse(self.source.reading)
        following = self.session()
        following.pump()
        self.assertEqual(pair.serverSession.heard + following.serverSession.heard, [b"one", b"two"])
        self.assertTrue(self.source.reading)

    def test_lostSession(self) -> None:
        """When a session is lost nothing is read until there is another."""
        self.session().cut()
        self.assertFalse(self.source.reading)
        self.session()
        self.assertTrue(self.source.reading)

    def test_overAlready(self) -> None:
        """A session that is over already takes nothing."""
        pair = Pair(Hearer, ThingProtocol).up()
        pair.cut()
        self.uplink.attach(pair.clientSession)
        self.assertFalse(self.source.reading)

    def test_tooLong(self) -> None:
        """That a line is too long is logged, once for all that came at once."""
        pair = self.session()
        with capturedLogs() as events:
            self.uplink.inputReceived(2 * (b"x" * (LONGEST_LINE + 1) + b"\n") + b"short\n")
        self.assertEqual(
            list(map(formatEvent, events)), ["2 lines of more than 65536 octets were not sent"]
        )
        pair.pump()
        self.assertEqual(pair.serverSession.heard, [b"short"])

    def test_close(self) -> None:
        """What was read is sent at the end, however full the queue is; nothing is read any more."""
        pair = self.session()
        self.uplink.pauseProducing()
        pair.freeze()
        lines = [b"%03d" % number * 200 for number in range(500)]
        self.uplink.inputReceived(b"".join(line + b"\n" for line in lines))
        self.uplink.close()
        pair.thaw()
        pair.pump()
        self.assertEqual(pair.serverSession.heard, lines)
        self.uplink.resumeProducing()
        self.assertFalse(self.source.reading)

    def test_closeInVain(self) -> None:
        """What was read and cannot be sent at the end is counted in the log."""
        self.session().clientSession.goodbye()
        self.uplink.inputReceived(b"one\ntwo\n")
        with capturedLogs() as events:
            self.uplink.close()
        self.assertIn("2 lines were not sent", map(formatEvent, events))


class Reader:
    """Stands for an uplink: it keeps what a source gives it."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def inputReceived(self, octets: bytes) -> None:
        self.events.append(octets)

    def inputEnded(self) -> None:
        self.events.append("ended")

    def fail(self, trouble: str) -> None:
        self.events.append(trouble)


class FifoTests(TestCase):
    """A FIFO whose writers come and go."""

    timeout = 30

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.reader: Any = Reader()
        self.clock = Clock()

    def fifo(self) -> Fifo:
        fifo = Fifo(reactor, self.path, self.clock, self.reader)
        self.addCleanup(fifo.pauseProducing)
        return fifo

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the reactor run until something is so."""
        while not condition():
            await deferLater(reactor, 0.005)

    def write(self, octets: bytes) -> None:
        """A writer comes, writes, and goes."""
        with open(self.path, "wb", buffering=0) as writer:
            writer.write(octets)

    async def test_made(self) -> None:
        """It is made, for this user alone, if it is not there."""
        self.fifo()
        status = os.stat(self.path)
        self.assertTrue(stat.S_ISFIFO(status.st_mode))
        self.assertEqual(stat.S_IMODE(status.st_mode), 0o600)

    async def test_comeAndGo(self) -> None:
        """One writer after the other is read, and the end of each is told."""
        os.mkfifo(self.path)
        self.fifo()
        for octets in (b"one\n", b"two", b"three\n"):
            self.write(octets)
            await self.until(lambda: self.reader.events[-1:] == ["ended"])
            self.assertEqual(self.reader.events, [octets, "ended"])
            self.reader.events.clear()

    async def test_idle(self) -> None:
        """While there is no writer the reactor has nothing to do for it."""
        self.fifo()
        self.write(b"one\n")
        await self.until(lambda: "ended" in self.reader.events)
        await deferLater(reactor, 0.05)
        self.assertEqual(self.reader.events, [b"one\n", "ended"])

    async def test_pause(self) -> None:
        """While it is paused nothing is read, and nothing is lost."""
        fifo = self.fifo()
        fifo.pauseProducing()
        self.write(b"")  # It has a reader all the same.
        with open(self.path, "wb", buffering=0) as writer:
            writer.write(b"waits\n")
            await deferLater(reactor, 0.05)
            self.assertEqual(self.reader.events, [])
            fifo.resumeProducing()
            await self.until(lambda: b"waits\n" in self.reader.events)

    async def test_noFifo(self) -> None:
        """Anything else is refused."""
        for make in (Path.touch, Path.mkdir):
            self.path = self.mktemp()
            make(Path(self.path))
            with self.assertRaises(OSError) as caught:
                self.fifo()
            self.assertEqual(caught.exception.strerror, "it is no FIFO")

    async def test_gone(self) -> None:
        """If it is something else when it is to be opened anew, it is tried again later."""
        self.fifo()
        with open(self.path, "wb", buffering=0) as writer:
            os.unlink(self.path)
            Path(self.path).touch()
            writer.write(b"last\n")
        await self.until(lambda: len(self.reader.events) == 3)
        trouble = f"cannot open {self.path}: it is no FIFO; next try in {REOPEN_DELAY:g} s"
        self.assertEqual(self.reader.events, [b"last\n", "ended", trouble])
        os.unlink(self.path)
        self.clock.advance(REOPEN_DELAY)
        self.write(b"again\n")
        await self.until(lambda: b"again\n" in self.reader.events)


class Process:
    """A process that the test ends."""

    def __init__(self, protocol: Any, words: tuple[str, ...], pid: int) -> None:
        self.protocol = protocol
        self.words = words
        self.input = b""
        self.inputClosed = self.killed = self.closed = False
        self.pid = pid
        protocol.makeConnection(self)

    def write(self, data: bytes) -> None:
        self.input += data

    def closeStdin(self) -> None:
        self.inputClosed = True

    def loseConnection(self) -> None:
        self.closed = True

    def signalProcess(self, name: str) -> None:
        if self.closed:
            raise ProcessExitedAlready
        self.killed = True

    def end(self, output: bytes = b"", status: int = 0, signal: int | None = None) -> None:
        """It writes something, and ends."""
        if output:
            self.protocol.outReceived(output)
        well = status == 0 and signal is None
        error = ProcessDone(0) if well else ProcessTerminated(status or None, signal)
        self.closed = True
        self.protocol.processEnded(Failure(error))


class Processes:
    """A reactor that starts processes which do nothing."""

    def __init__(self) -> None:
        self.started: list[Process] = []
        self.problem: OSError | None = None

    def spawnProcess(self, protocol: Any, path: str, args: Any, env: Any, childFDs: Any) -> None:
        if self.problem is not None:
            raise self.problem
        assert path == args[0]
        assert args[: len(inSession(()))] == inSession(())
        self.childFDs = childFDs
        # No system has so many: nothing real is ever killed.
        self.started.append(Process(protocol, args, 2**30 + len(self.started)))

    @property
    def last(self) -> Process:
        """The latest one."""
        return self.started[-1]


class ProgramCase(SynchronousTestCase):
    """Tests of a program whose processes are made up."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.processes = Processes()
        self.killed: list[int] = []
        self.patch(programs.os, "killpg", lambda number, _: self.killed.append(number))
        self.program = self.makeProgram()
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def makeProgram(self, limit: int | None = 100) -> Program:
        return Program(self.processes, ("lamp", "-v"), patience=10.0, limit=limit, clock=self.clock)


class ProgramTests(ProgramCase):
    """A program is run, within bounds."""

    def assertFails(self, run: Deferred[bytes], why: str) -> None:
        """The run has failed, and nothing is left of it."""
        self.assertEqual(str(self.failureResultOf(run, ProgramFailed).value), why)
        self.assertEqual(self.program.running, set())

    def test_answers(self) -> None:
        """What it is given is its standard input, which ends then; its output is the answer."""
        run = self.program.run(b"how are you?")
        self.assertNoResult(run)
        process = self.processes.last
        self.assertEqual(process.words[-2:], ("lamp", "-v"))
        self.assertEqual((process.input, process.inputClosed), (b"how are you?", True))
        process.protocol.outReceived(b"fi")
        process.end(b"ne")
        self.assertEqual(self.successResultOf(run), b"fine")
        self.assertEqual((process.killed, self.killed), (False, []))

    def test_outputs(self) -> None:
        """Its errors go where ours do; so does its output, if that is no answer."""
        self.program.run(b"x")
        self.assertEqual(self.processes.childFDs, {0: "w", 1: "r", 2: 2})
        self.processes.last.end()
        self.makeProgram(limit=None).run(b"x")
        self.assertEqual(self.processes.childFDs, {0: "w", 1: 1, 2: 2})
        self.processes.last.end()

    def test_status(self) -> None:
        """How it fails is told."""
        run = self.program.run(b"")
        self.processes.last.end(b"half an ans", status=3)
        self.assertFails(run, "its exit status was 3")
        run = self.program.run(b"")
        self.processes.last.end(signal=11)
        self.assertFails(run, "it was ended by signal 11")
        self.assertEqual(self.killed, [process.pid for process in self.processes.started])

    def test_longest(self) -> None:
        """An answer of the most octets is one; if there is one more it is killed at once."""
        run = self.program.run(b"")
        self.processes.last.end(bytes(100))
        self.assertEqual(self.successResultOf(run), bytes(100))
        run = self.program.run(b"")
        self.processes.last.protocol.outReceived(bytes(101))
        self.assertTrue(self.processes.last.killed and self.processes.last.closed)
        self.assertFails(run, "it gave more than 100 octets")
        self.processes.last.end(b"more", signal=9)

    def test_slow(self) -> None:
        """One that takes too long is killed with what it has started; nothing is waited for."""
        run = self.program.run(b"")
        self.clock.advance(9.9)
        self.assertNoResult(run)
        self.clock.advance(0.2)
        self.assertTrue(self.processes.last.killed)
        self.assertEqual(self.killed, [self.processes.last.pid])
        self.assertFails(run, "it took longer than 10 s")

    def test_cancel(self) -> None:
        """To cancel it kills it."""
        run = self.program.run(b"")
        run.addErrback(lambda _: None)
        run.cancel()
        self.assertTrue(self.processes.last.killed)
        self.assertEqual(self.program.running, set())
        self.processes.last.end(signal=9)

    def test_notStarted(self) -> None:
        """If there is no room for a process, that is a failure like others."""
        self.processes.problem = OSError(11, "Resource temporarily unavailable")
        self.assertFails(
            self.program.run(b""), "it cannot be run: Resource temporarily unavailable"
        )

    def test_kill(self) -> None:
        """All runs end together."""
        runs = [self.program.run(b"") for _ in range(3)]
        self.program.kill()
        for run in runs:
            self.assertFails(run, "it was killed at the end")

    def test_session(self) -> None:
        """It begins a session where setsid is, and where it is not."""
        told = "import os; print(os.getsid(0) == os.getpid(), end='')"
        for path in (os.environ["PATH"], ""):
            with mock.patch.dict(os.environ, PATH=path):
                words = inSession((sys.executable, "-c", told))
            self.assertEqual(subprocess.check_output(words), b"True")

    def test_parse(self) -> None:
        """A command is words as a shell has them, the first of which can be run."""
        self.assertEqual(parseCommand("sh -c 'echo \"a b\"'"), ("sh", "-c", 'echo "a b"'))
        for text in ("", "  ", "no-such-program x", "sh 'open"):
            self.assertRaises(ValueError, parseCommand, text)


class AnswererTests(ProgramCase):
    """Requests are answered by a program."""

    def answerer(self) -> Answerer:
        return Answerer(self.program, 2)

    def test_bounded(self) -> None:
        """So many are dealt with at once; one more is told so, and later there is room again."""
        answerer = self.answerer()
        answers = [answerer.answer(b"x") for _ in range(2)]
        with self.assertRaises(RequestFailed) as caught:
            answerer.answer(b"x")
        self.assertIs(caught.exception.status, ReplyStatus.BUSY)
        self.processes.started[0].end(b"fine")
        self.assertEqual(self.successResultOf(answers[0]), b"fine")
        answers.append(answerer.answer(b"x"))
        for process in self.processes.started[1:]:
            process.end()
        self.assertEqual([self.successResultOf(answer) for answer in answers[1:]], [b"", b""])

    def test_fails(self) -> None:
        """What goes wrong is logged, and the peer is told that it did."""
        answer = self.answerer().answer(b"x")
        with capturedLogs() as events:
            self.processes.last.end(status=2)
        failure = self.failureResultOf(answer, RequestFailed)
        self.assertIs(failure.value.status, ReplyStatus.FAILED)
        (event,) = events
        self.assertEqual(
            formatEvent(event), "The program for requests failed: its exit status was 2"
        )
        self.assertIs(event["log_level"], LogLevel.warn)


class Flow:
    """What a downlink pauses."""

    paused = False

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False


class DispatcherTests(ProgramCase):
    """Messages are given to a program, one after the other."""

    def setUp(self) -> None:
        super().setUp()
        self.flow: Any = Flow()
        self.dispatcher = Dispatcher(self.makeProgram(limit=None), self.flow)

    def test_order(self) -> None:
        """The next one comes when the one before is dealt with."""
        done = [self.dispatcher.take(message) for message in (b"one", b"two", b"three")]
        for count, message in enumerate((b"one", b"two", b"three"), 1):
            self.assertEqual(len(self.processes.started), count)
            self.assertEqual(self.processes.last.input, message)
            self.assertNoResult(done[count - 1])
            self.processes.last.end()
            self.successResultOf(done[count - 1])

    def test_fails(self) -> None:
        """One that fails is logged, and holds up nothing."""
        done = [self.dispatcher.take(message) for message in (b"one", b"two")]
        with capturedLogs() as events:
            self.processes.last.end(status=1)
        self.failureResultOf(done[0], RequestFailed)
        self.assertEqual(
            list(map(formatEvent, events)),
            ["The program for messages failed: its exit status was 1"],
        )
        self.processes.last.end()
        self.successResultOf(done[1])

    def test_bounded(self) -> None:
        """When much waits, no more is taken until some is dealt with."""
        half = bytes(QUEUE_HIGH // 2 - MESSAGE_COST)
        self.dispatcher.take(half)
        self.assertFalse(self.flow.paused)
        self.dispatcher.take(half)
        self.assertTrue(self.flow.paused)
        self.processes.last.end()
        self.assertFalse(self.flow.paused)
        self.processes.last.end()

    def test_most(self) -> None:
        """What comes all the same, as at a session's end, has a bound, too."""
        for _ in range(QUEUE_MOST // QUEUE_HIGH):
            self.dispatcher.take(bytes(QUEUE_HIGH - MESSAGE_COST)).addErrback(lambda _: None)
        with capturedLogs() as events:
            for _ in range(3):
                failure = self.failureResultOf(self.dispatcher.take(b"x"), RequestFailed)
                self.assertIs(failure.value.status, ReplyStatus.BUSY)
            self.processes.last.end()
            taken = self.dispatcher.take(b"x")
            self.assertNoResult(taken)
            while self.flow.paused:
                self.processes.last.end()
        self.assertEqual(
            list(map(formatEvent, events)),
            ["Messages are dropped: too much waits already", "3 messages were dropped"],
        )
        self.processes.last.end()
        self.successResultOf(taken)

    def test_close(self) -> None:
        """At the end those that have come are dealt with."""
        for message in (b"one", b"two"):
            self.dispatcher.take(message)
        closed = self.dispatcher.close()
        self.processes.last.end()
        self.assertNoResult(closed)
        self.processes.last.end()
        self.successResultOf(closed)
        self.assertEqual(len(self.processes.started), 2)

    def test_closeIdle(self) -> None:
        """If none waits it is at its end at once."""
        self.successResultOf(self.dispatcher.close())

    def test_cut(self) -> None:
        """In a hurry the program is killed, and what waits is dropped, which is logged."""
        done = [self.dispatcher.take(message) for message in (b"one", b"two", b"three")]
        closed = self.dispatcher.close()
        with capturedLogs() as events:
            self.dispatcher.cut()
        self.assertIn("2 messages are dropped", map(formatEvent, events))
        for each in done:
            self.failureResultOf(each, RequestFailed)
        self.successResultOf(closed)
        self.assertTrue(self.processes.last.killed)
        self.assertEqual(len(self.processes.started), 1)


class Kept:
    """A downlink that keeps what it takes."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.answer: Callable[[], Deferred[None]] = lambda: succeed(None)
        self.closed: Deferred[None] = succeed(None)
        self.wasCut = False

    def take(self, message: bytes) -> Deferred[None]:
        self.taken.append(message)
        return self.answer()

    def close(self) -> Deferred[None]:
        return self.closed

    def cut(self) -> None:
        self.wasCut = True
        if not self.closed.called:
            self.closed.callback(None)


class AgentTests(SynchronousTestCase):
    """Sessions come and go; what is to be done in them is done."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = PairedEndpoint(self.clock, Hearer)
        keys = self.endpoint.keys
        self.manager = Manager()
        self.addCleanup(self.manager.socket.close)
        self.factory = AgentFactory(
            keys.clientSettings(lastWord=b"gone"), keys.servers, clock=self.clock
        )
        self.down: Any = Kept()
        self.factory.downlink = self.down
        self.agent = Agent(
            self.factory,
            self.endpoint,  # type: ignore[arg-type]
            exposed={},
            supervisor=Supervisor(self.manager.address, 4.0),
            backoff=Backoff(jitter=lambda: 1.0),
        )
        self.agent.read(Source)
        self.addCleanup(self.nothingIsLeft)

    def nothingIsLeft(self) -> None:
        """Stop, and find no timer and no connection."""
        self.agent.stop()
        for pair in self.endpoint.pairs:
            pair.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @property
    def source(self) -> Source:
        """Where lines come from."""
        assert self.agent._uplink is not None
        source: Source = self.agent._uplink._source
        return source

    def begin(self) -> Pair:
        """The agent tries, and all is carried that there is."""
        if not self.endpoint.pairs:
            self.agent.start()
        pair = self.endpoint.pairs[-1]
        pair.pump()
        return pair

    def statuses(self) -> list[str]:
        """How it said that it is, since the last time."""
        return [
            assignment.removeprefix("STATUS=")
            for message in self.manager.told()
            for assignment in message
            if assignment.startswith("STATUS=")
        ]

    def logged(self, happens: Callable[[], object]) -> list[tuple[LogLevel, str]]:
        """What the agent itself logs when something happens."""
        with capturedLogs() as events:
            happens()
        return [
            (event["log_level"], formatEvent(event))
            for event in events
            if event["log_namespace"] == "thing.cli.keeping.Agent"
        ]

    def test_ready(self) -> None:
        """It is ready as soon as it tries: a server that is away holds up no boot."""
        self.agent.start()
        self.assertEqual(self.manager.told(), [["READY=1", "STATUS=Connecting"]])
        self.begin()
        self.clock.advance(2.0)
        ((alive, status),) = self.manager.told()
        self.assertEqual(alive, "WATCHDOG=1")
        self.assertRegex(status, "^STATUS=Session with SHA256:")

    def test_session(self) -> None:
        """Lines go up, messages come down, the last word is left."""
        pair = self.begin()
        self.source.uplink.inputReceived(b"warm\n")
        pair.serverSession.sendMessage(b"on")
        pair.pump()
        self.assertEqual(pair.serverSession.heard, [b"warm"])
        self.assertEqual(self.down.taken, [b"on"])
        self.assertEqual(pair.serverSession.lastWord, b"gone")

    def test_requestIsMessage(self) -> None:
        """Without a program a request is a message, and answered when that is dealt with."""
        pair = self.begin()
        dealt: Deferred[None] = Deferred()
        self.down.answer = lambda: dealt
        answer = pair.serverSession.request(b"on")
        pair.pump()
        self.assertEqual(self.down.taken, [b"on"])
        self.assertNoResult(answer)
        dealt.callback(None)
        pair.pump()
        self.assertEqual(self.successResultOf(answer), b"")

    def test_requestFails(self) -> None:
        """A message that cannot be dealt with fails as a request, and is no matter as a message."""
        pair = self.begin()

        def fails() -> Deferred[None]:
            raise RequestFailed(ReplyStatus.FAILED)

        self.down.answer = lambda: Deferred.fromCoroutine(self.failing())
        answer = pair.serverSession.request(b"on")
        pair.serverSession.sendMessage(b"off")
        pair.pump()
        self.failureResultOf(answer, RequestFailed)
        self.assertIsNone(pair.clientSession.termination)

    async def failing(self) -> None:
        raise RequestFailed(ReplyStatus.FAILED)

    def test_request(self) -> None:
        """A program answers requests; more than it may are told that it is busy."""
        processes = Processes()
        program = Program(processes, ("lamp",), patience=10.0, limit=100, clock=self.clock)
        self.factory.answerer = Answerer(program, 1)
        pair = self.begin()
        answer, another = pair.serverSession.request(b"one"), pair.serverSession.request(b"two")
        pair.pump()
        busy = self.failureResultOf(another, RequestFailed)
        self.assertIs(busy.value.status, ReplyStatus.BUSY)
        processes.last.end(b"fine")
        pair.pump()
        self.assertEqual(self.successResultOf(answer), b"fine")

    def test_requestGivenUp(self) -> None:
        """When the session is lost, the programs that would answer in it are killed."""
        processes = Processes()
        program = Program(processes, ("lamp",), patience=10.0, limit=100, clock=self.clock)
        self.factory.answerer = Answerer(program, 1)
        pair = self.begin()
        answer = pair.serverSession.request(b"one")
        pair.pump()
        pair.cut()
        self.failureResultOf(answer)
        self.assertTrue(processes.last.killed)

    def test_held(self) -> None:
        """While messages cannot be taken none come, in the next session neither."""
        pair = self.begin()
        self.agent.pauseProducing()
        pair.serverSession.sendMessage(b"one")
        pair.pump()
        self.assertEqual(self.down.taken, [])
        pair.cut()
        self.assertEqual(self.down.taken, [b"one"])  # It had come; nothing comes after it.
        self.clock.advance(10.0)
        pair = self.begin()
        pair.serverSession.sendMessage(b"two")
        pair.pump()
        self.assertEqual(self.down.taken, [b"one"])
        self.agent.resumeProducing()
        pair.pump()
        self.assertEqual(self.down.taken, [b"one", b"two"])

    def test_comesBack(self) -> None:
        """A session that is lost is told, with when it tries again; so is one that ends well."""
        pair = self.begin()
        lines = self.logged(pair.cut)
        why = "the stream ended without goodbye or flat line; in state ESTABLISHED"
        self.assertEqual(lines, [(LogLevel.warn, f"No session: {why}; next try in 10 s")])
        self.statuses()
        self.clock.advance(2.0)
        self.assertEqual(self.statuses(), [f"No session: {why}"])
        self.clock.advance(8.0)
        pair = self.begin()
        pair.serverSession.goodbye()
        ((level, line),) = self.logged(lambda: pair.advance(5.0))
        self.assertIs(level, LogLevel.info)
        self.assertRegex(line, "^No session: both sides said goodbye; .*; next try in 20 s$")

    def test_refused(self) -> None:
        """A refusal that somebody must act for is an error, and it goes on, seldom."""
        self.endpoint.keys.things = NoPeer()
        ((level, line),) = self.logged(lambda: self.begin().advance(1.0))
        self.assertIs(level, LogLevel.error)
        self.assertRegex(line, "NOT_AUTHORIZED.*; somebody must act; next try in 600 s$")
        self.clock.advance(600.0)
        self.assertEqual(len(self.endpoint.pairs), 2)

    def test_notBelieved(self) -> None:
        """A server that is not believed is told with the key that it has shown."""
        self.factory.authorizer = PinnedServers([IdentityKey.generate().fingerprint])
        ((level, line),) = self.logged(lambda: self.begin().advance(1.0))
        self.assertIs(level, LogLevel.error)
        self.assertIn(f"the server's key is {self.endpoint.keys.server.fingerprint}", line)

    def test_statusIsOneLine(self) -> None:
        """What a peer says makes no assignment of its own."""
        pair = self.begin()
        pair.clientSession.reject(ErrorCode.INTERNAL_ERROR, "x\nREADY=0\nMAINPID=1")
        pair.advance(1.0)
        self.clock.advance(2.0)
        for message in self.manager.told():
            self.assertNotIn("READY=0", message)
            self.assertNotIn("MAINPID=1", message)

    def test_stop(self) -> None:
        """At the end it says goodbye, and waits for what takes messages."""
        pair = self.begin()
        self.down.closed = Deferred()
        stopped = self.agent.stop()
        self.assertIn("STOPPING=1", self.manager.told()[-1])
        pair.advance(5.0)
        self.assertIs(pair.serverSession.termination.cause, Cause.GOODBYE)
        self.assertNoResult(stopped)
        self.down.closed.callback(None)
        self.successResultOf(stopped)
        self.assertFalse(self.down.wasCut)

    def test_stopInVain(self) -> None:
        """It does not wait for ever for what takes messages."""
        pair = self.begin()
        self.down.closed = Deferred()
        stopped = self.agent.stop()
        pair.advance(5.0)
        self.clock.advance(OUTPUT_PATIENCE)
        self.successResultOf(stopped)
        self.assertTrue(self.down.wasCut)

    def test_hurry(self) -> None:
        """In a hurry the session is cut, and so is what takes messages."""
        pair = self.begin()
        pair.freeze()
        self.down.closed = Deferred()
        stopped = self.agent.stop()
        self.agent.hurry()
        pair.thaw()
        pair.advance(1.0)
        self.successResultOf(stopped)
        self.assertTrue(self.down.wasCut)
        self.assertIs(pair.clientSession.termination.cause, Cause.ABORTED)


class ChoiceTests(SynchronousTestCase):
    """What the options come to."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir()
        (self.home / "known").touch()
        self.trust = {"knownServers": str(self.home / "known")}

    def client(self) -> ClientOptions:
        """The server and the keys."""
        return ClientOptions(
            target=parseTarget("127.0.0.1:1"),
            trust=self.trust,
            anonymous="identity" not in self.trust,
            timeout=10.0,
            verbose=False,
        )

    def choices(self, *expose: str) -> Choices:
        """The rest."""
        return Choices(
            ttl=None,
            lastWord="gone",
            onRequest=None,
            onMessage=None,
            messagesFrom=None,
            expose=expose,
            programTimeout=10.0,
            requestsAtOnce=8,
        )

    def test_reaches(self) -> None:
        """What is exposed has so many places; without, there are those of every client."""
        for choices, places in (
            (self.choices(), 100),
            (self.choices("ssh=tcp:localhost:22"), REACHES),
        ):
            settings, _ = sessionOf(self.client(), choices)
            self.assertEqual(settings.capacity.maxStreams, places)
            self.assertEqual(settings.lastWord, b"gone")
            self.assertIsNone(settings.resumption)

    def test_renewed(self) -> None:
        """Each session has the key that the file has by then; the rest stays."""
        file = self.home / "key"
        self.trust["identity"] = str(file)
        keys = [IdentityKey.generate() for _ in range(2)]
        keys[0].save(file)
        keys[1].save(self.home / "next")
        client = self.client()
        settings, ways = sessionOf(client, self.choices("ssh=tcp:localhost:22"))
        reactor = MemoryReactorClock()
        factory = AgentFactory(settings, ways[0][1].authorizer, clock=reactor)
        endpoint = Addresses(reactor, ways)

        def shown() -> Any:
            endpoint.connect(factory)
            return factory.settings.credential

        first = shown()
        self.assertEqual(first.fingerprint, keys[0].fingerprint)
        self.assertIs(shown(), first)
        os.replace(self.home / "next", file)
        self.assertEqual(shown().fingerprint, keys[1].fingerprint)
        self.assertEqual(len(reactor.tcpClients), 3)
        self.assertEqual(factory.settings, replace(settings, credential=shown()))

    def test_documented(self) -> None:
        """The guide has the bounds as they are."""
        page = " ".join((PROJECT / "docs" / "howto-agent.rst").read_text().split())
        for text in (
            f"A line of more than {LONGEST_LINE} octets",
            f"While {QUEUE_HIGH >> 10} KiB wait",
            f"longer than {REQUEST_LIMIT} octets",
            f"be open at once: {REACHES}.",
            f"for {OUTPUT_PATIENCE:g} seconds at most",
        ):
            self.assertIn(text, page)
