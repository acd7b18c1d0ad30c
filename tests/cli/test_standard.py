"""The standard streams of every command: full, gone, closed, broken, not to be waited for."""

from __future__ import annotations

import fcntl
import itertools
import os
import select
import signal
import subprocess
import sys
import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT
from tests.cli.madeup import FleetCase, thing
from tests.cli.test_process import ECHO, CommandCase
from thing import IdentityKey
from thing.cli.exits import CommandError, ExitCode
from thing.cli.output import endingQuietly, guardStandardStreams, write
from thing.fleet import Kind

MEMORY = "/proc/self/mem"
"""A file that can be opened for reading, but not read at its beginning."""


class InterruptedTests(SynchronousTestCase):
    """Output that a signal interrupts."""

    def test_onlyOnce(self) -> None:
        """What was written when a signal came is not written again when the command ends."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, writer)
        before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        self.patch(sys, "stderr", sys.stderr)
        main = threading.get_ident()

        def interruptWhenFull() -> None:
            while select.select([], [writer], [], 0)[1]:
                threading.Event().wait(0.001)
            signal.pthread_kill(main, signal.SIGUSR1)

        with os.fdopen(os.dup(writer), "w") as pipe:
            self.patch(sys, "stdout", pipe)
            guardStandardStreams()
            size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
            interrupter = threading.Thread(target=interruptWhenFull)
            interrupter.start()
            with self.assertRaises(KeyboardInterrupt):
                write(["x" * (size + 1)])  # What is buffered as a whole.
            interrupter.join()
            os.close(reader)
            sys.stdout.flush()  # It would fail if there were anything to write.


class UnwindingTests(SynchronousTestCase):
    """A signal that comes while another ends the command."""

    def end(self, first: str, second: str, before: str = "") -> tuple[int, bytes]:
        """The exit code of a process that gets both, and what it writes to standard error."""
        script = f"""
import signal
from thing.cli.output import endingQuietly
{before}
with endingQuietly():
    try:
        signal.raise_signal(signal.{first})
    finally:
        signal.raise_signal(signal.{second})
"""
        done = subprocess.run(
            [sys.executable, "-c", script],
            check=False,
            stderr=subprocess.PIPE,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
        return done.returncode, done.stderr

    def test_second(self) -> None:
        """It ends the process, without a traceback."""
        for first, second in itertools.product(("SIGINT", "SIGTERM"), repeat=2):
            self.assertEqual(self.end(first, second), (-signal.Signals[second], b""))

    def test_ignored(self) -> None:
        """One that the process was told to ignore stays ignored, as in the background."""
        ignore = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
        self.assertEqual(self.end("SIGTERM", "SIGINT", ignore), (0, b""))
        self.assertEqual(self.end("SIGINT", "SIGINT", ignore), (0, b""))

    def test_disguised(self) -> None:
        """What a lock makes of a signal that interrupts it is the signal still."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.assertRaises(CommandError) as caught, endingQuietly(ExitCode.INTERRUPTED):
                try:
                    signal.raise_signal(number)
                finally:
                    threading.Lock().release()
            self.assertEqual(caught.exception.exit_code, ExitCode.INTERRUPTED)

    def test_mistake(self) -> None:
        """Without a signal an error is what it is."""
        with self.assertRaises(RuntimeError), endingQuietly():
            threading.Lock().release()

    def test_restored(self) -> None:
        """Without a signal both are as they were."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.getsignal(number) for number in numbers]
        with endingQuietly():
            pass
        self.assertEqual([signal.getsignal(number) for number in numbers], before)


class FullTests(FleetCase):
    """Output that cannot be written."""

    def setUp(self) -> None:
        super().setUp()
        self.numbers = itertools.count()
        self.key.save(self.home / "ours")

    def table(self) -> list[list[str]]:
        """Every command that writes, as it is typed."""
        self.fleet.add(thing("lamp"))
        self.serveFleet()
        key = str(self.home / f"key-{next(self.numbers)}")
        target = self.serve({"handshakeCompleted": lambda server: server.sendMessage(b"hello")})
        believed = ["--server-key", self.key.fingerprint, target]
        first, _ = (self.fleet.happen(Kind.MESSAGE, "lamp", text="on") for _ in range(2))
        return [
            ["--help"],
            ["--version"],
            ["connect", "--help"],
            ["conformance", "--list"],
            ["keygen", "-f", key],
            ["keygen", "--preshared", "lamp", "-f", f"{key}.psk"],
            ["fingerprint", str(self.home / "ours")],
            ["connect", *believed],
            ["ping", *believed],
            ["ls"],
            ["ls", "--json"],
            ["ls", "--reach"],
            ["top", "--once"],
            ["top", "--once", "--json"],
            ["nodes"],
            ["show", "lamp"],
            ["events", "--after", first.position],
            ["invite", f"lamp-{next(self.numbers)}", "--server", "thing.example"],
            ["invitations"],
        ]

    async def assertEach(self, childFDs: dict[int, Any], code: ExitCode, said: bytes) -> None:
        """Each command ends so, and says so in one line, or not at all."""
        table = self.table()
        commands = [self.run_(*arguments, childFDs=childFDs) for arguments in table]
        for arguments, command in zip(table, commands, strict=True):
            await self.assertExit(command, code)
            self.assertEqual(command.err, said, arguments)
        self.assertEqual(self.inviter.list(), [])  # A token that nobody has counts for nobody.

    async def test_completion(self) -> None:
        """So it is with what a shell reads to complete lines, which click writes by itself."""
        self.environment["_THING_COMPLETE"] = "bash_source"
        with open("/dev/full", "wb") as full:
            command = self.run_(childFDs={0: "w", 1: full.fileno(), 2: "r"})
        await self.assertExit(command, ExitCode.FAILED)
        self.assertEqual(command.err.count(b"\n"), 1)
        self.assertIn(b"No space left on device", command.err)

    async def test_full(self) -> None:
        """On a full disk every command says that in one line, and its exit code is not zero."""
        with open("/dev/full", "wb") as full:
            await self.assertEach(
                {0: "w", 1: full.fileno(), 2: "r"},
                ExitCode.FAILED,
                b"thing: cannot write to standard output: No space left on device\n",
            )

    async def test_readerGone(self) -> None:
        """When nobody reads the output, every command ends without a word."""
        reader, writer = os.pipe()
        os.close(reader)
        self.addCleanup(os.close, writer)
        await self.assertEach({0: "w", 1: writer, 2: "r"}, ExitCode.GOODBYE, b"")

    async def test_closed(self) -> None:
        """Without standard output no command does anything."""
        await self.assertEach(
            {0: "w", 2: "r"},
            ExitCode.USAGE,
            b"thing: standard output must be open; /dev/null is\n",
        )

    async def test_sent(self) -> None:
        """A message whose answer cannot be written was sent all the same, but that is not 0."""
        self.table()
        self.fleet.delivering = lambda message: b"on"
        with open("/dev/full", "wb") as full:
            command = self.run_("send", "lamp", "x", childFDs={0: "w", 1: full.fileno(), 2: "r"})
        await self.assertExit(command, ExitCode.FAILED, b"No space left on device")


class ConnectedTests(CommandCase):
    """The streams of a session."""

    async def test_inputFails(self) -> None:
        """Input that cannot be read is not at its end: the server sees no goodbye."""
        with open(MEMORY, "rb") as broken:
            command = self.connect(self.serve(ECHO), childFDs={0: broken.fileno(), 1: "r", 2: "r"})
        await self.assertExit(
            command, ExitCode.FAILED, b"thing: cannot read standard input: Input/output error\n"
        )
        self.assertFalse(self.terminations[0].clean)

    async def test_outputFails(self) -> None:
        """Output that cannot be written ends the session, at its very end, too."""
        for arguments in ([], ["-q", "0"]):
            with open("/dev/full", "wb") as full:
                command = self.connect(
                    self.serve(ECHO), *arguments, childFDs={0: "w", 1: full.fileno(), 2: "r"}
                )
            command.write(b"an echo")
            command.endInput()
            await self.assertExit(
                command, ExitCode.FAILED, b"thing: cannot write to standard output: No space left"
            )

    async def test_closedError(self) -> None:
        """What would go to a closed standard error goes nowhere, and not into the output."""
        command = self.connect(self.serve(ECHO), childFDs={0: "w", 1: "r"})
        command.write(b"an echo")
        command.endInput()
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(command.out, b"an echo")

    async def test_gaps(self) -> None:
        """Whichever descriptors are closed, no report is in the output, nor in a file."""
        table = (
            (["connect", "127.0.0.1:1"], ExitCode.NOT_CONNECTED, b""),
            (["connect", "127.0.0.1:1", "--server-key", "x"], ExitCode.USAGE, b""),
            (["ping", "127.0.0.1:1"], ExitCode.NOT_CONNECTED, b""),
            (["keygen", "-f"], ExitCode.GOODBYE, b"Your identification"),
        )
        runs = []
        for closed in range(8):
            ours = {number: end for number, end in enumerate("wrr") if not closed & 1 << number}
            path = str(self.home / f"key-{closed}")
            for words, code, output in table:
                keygen, connect = words[0] == "keygen", words[0] == "connect"
                command = self.run_(*words, *([path] if keygen else []), childFDs=ours)
                if 1 not in ours or (0 not in ours and connect):
                    runs.append((command, ExitCode.USAGE, b""))
                else:
                    runs.append((command, code, output))
        for command, code, output in runs:
            await self.assertExit(command, code)
            self.assertEqual(command.out[:19], output)
        for closed in range(8):
            if not closed & 2:
                IdentityKey.load(self.home / f"key-{closed}")
