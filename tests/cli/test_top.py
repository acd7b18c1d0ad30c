"""``thing top`` on a real terminal: its screen, its keys, its size, and what it leaves behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import struct
import sys
import termios
from collections.abc import Callable
from typing import Any

import pyte
from rich.cells import cell_len
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.cli.madeup import CLEAR, OWN, FleetCase, answer, reactor, thing
from tests.cli.test_process import PROJECT
from thing.cli.exits import ExitCode
from thing.fleet import Status

ENTER_SCREEN, LEAVE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"

CRASHING = """
from thing.cli.commands import commands
from thing.cli.board import Board
shown = Board.see
def see(board, snapshot):
    if snapshot.rows:
        raise RuntimeError("a mistake in the program")
    shown(board, snapshot)
Board.see = see
commands(prog_name="thing")
"""

JOB = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-m", "thing.cli", *sys.argv[1:]])
while True:
    _, status = os.waitpid(child, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
    print("SHELL: stopped", flush=True)
    sys.stdin.readline()
    os.tcsetpgrp(0, child)
    os.kill(-child, signal.SIGCONT)
"""
"""What a shell does for one job: a line continues it when it is stopped."""


class Terminal(ProcessProtocol):
    """
    A terminal with a program in it.

    :ivar screen: what is on it.
    :ivar out: all that was written to it.
    :ivar ended: fires with the program's exit code.
    """

    def __init__(self, width: int, height: int) -> None:
        self.out = b""
        self.screen = pyte.Screen(width, height)
        self.ended: Deferred[int] = Deferred()
        self.files = os.openpty()
        # Either side tells the modes; this one, also when the program is gone.
        self._own = os.dup(self.files[0])
        self.resize(width, height)
        self.before = self.modes
        self._stream = pyte.ByteStream(self.screen)
        self._waiting: list[tuple[Callable[[], object], Deferred[None]]] = []

    @property
    def lines(self) -> list[str]:
        """What is on the screen."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        """The same, as one text."""
        return "\n".join(self.lines)

    @property
    def modes(self) -> list[Any]:
        """The terminal's modes."""
        return termios.tcgetattr(self._own)

    @modes.setter
    def modes(self, modes: list[Any]) -> None:
        termios.tcsetattr(self._own, termios.TCSANOW, modes)

    @property
    def restored(self) -> bool:
        """Whether the terminal is as it was before: its modes, its screen, its cursor."""
        return (
            self.modes == self.before
            and self.out.count(ENTER_SCREEN) == self.out.count(LEAVE_SCREEN) > 0
            and self.out.rindex(SHOW_CURSOR) > self.out.rindex(HIDE_CURSOR)
        )

    def close(self) -> None:
        """Let go of it."""
        if self._own != -1:
            os.close(self._own)
            self._own = -1

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size."""
        self.screen.resize(height, width)
        size = struct.pack("HHHH", height, width, 0, 0)
        fcntl.ioctl(self._own, termios.TIOCSWINSZ, size)

    def outReceived(self, data: bytes) -> None:
        self.out += data
        self._stream.feed(data)
        self._look()

    def _look(self) -> None:
        for entry in list(self._waiting):
            if entry[0]():
                self._waiting.remove(entry)
                entry[1].callback(None)

    def processEnded(self, reason: Failure) -> None:  # type: ignore[override]
        value: Any = reason.value
        for _, waiter in self._waiting:
            waiter.errback(AssertionError(f"it ended, showing {self.text}"))
        self._waiting = []
        self.ended.callback(value.exitCode if value.exitCode is not None else -value.signal)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until what was written makes it true."""
        waiter: Deferred[None] = Deferred()

        def late(value: object, timeout: float) -> None:
            raise AssertionError(f"it never came; the screen shows\n{self.text}")

        self._waiting.append((condition, waiter))
        self._look()
        await waiter.addTimeout(60, reactor, late)

    async def shows(self, pattern: str) -> None:
        """Wait until the screen has something on it."""
        await self.until(lambda: re.search(pattern, self.text, re.MULTILINE))

    def press(self, keys: str) -> None:
        """Type something."""
        self.transport.write(keys.encode())  # type: ignore[union-attr]

    def signal(self, number: int) -> None:
        """Send the program a signal."""
        os.kill(self.transport.pid, number)  # type: ignore[union-attr, arg-type]


class TerminalCase(FleetCase):
    """Tests with commands on a terminal."""

    def onTerminal(self, *words: str, size: tuple[int, int] = (80, 24)) -> Terminal:
        """Run Python on a terminal."""
        terminal = Terminal(*size)
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(PROJECT),
            "THING_HOME": str(self.home),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            # Of another window: only the terminal knows its size.
            "COLUMNS": "33",
            "LINES": "11",
        }
        process = reactor.spawnProcess(
            terminal,
            sys.executable,
            [sys.executable, *words],
            env=environment | self.environment,
            usePTY=(*terminal.files, ""),
        )

        def end() -> Deferred[int] | None:
            if terminal.ended.called:
                return None
            with contextlib.suppress(ProcessExitedAlready):
                process.signalProcess("KILL")
            return terminal.ended

        self.addCleanup(terminal.close)
        self.addCleanup(end)
        return terminal


class TopCase(TerminalCase):
    """Tests with ``thing top`` on a terminal."""

    def top(
        self,
        *arguments: str,
        size: tuple[int, int] = (80, 24),
        program: tuple[str, ...] = ("-m", "thing.cli"),
    ) -> Terminal:
        """Start it."""
        return self.onTerminal(*program, "top", "-d", "0.3", *arguments, size=size)

    async def assertEnds(self, terminal: Terminal, code: int = ExitCode.GOODBYE) -> None:
        """It ends so, and leaves the terminal as it was."""
        self.assertEqual(await terminal.ended, code, terminal.text)
        self.assertTrue(terminal.restored, terminal.out[-300:])


class ScreenTests(TopCase):
    """What is seen."""

    async def test_things(self) -> None:
        """Nodes and things are on the screen, and what changes changes there."""
        self.fleet.add(thing("lamp"), thing("電球"), thing(f"x{CLEAR}"))
        self.serveFleet()
        terminal = self.top()
        await terminal.shows(r"^lamp +present north +8m24s +4.2s  12.3ms +7$")
        self.assertRegex(terminal.lines[0], r"^thing top  \d\d:\d\d:\d\d  3 things, 0 late  http:")
        self.assertRegex(terminal.lines[3], r"^north +up +0 +0 +0.0ms memory$")
        self.assertIn("q quit", terminal.lines[-1])
        self.assertNotIn(b"\a", terminal.out)
        self.assertTrue(terminal.screen.cursor.hidden)
        self.fleet.add(thing("lamp", status=Status.LATE))
        await terminal.shows("^lamp +late ")
        self.assertIn("1 late", terminal.lines[0])
        del self.fleet.known["lamp"]
        await terminal.until(lambda: "lamp" not in terminal.text)
        terminal.press("q")
        await self.assertEnds(terminal)

    async def test_keys(self) -> None:
        """Keys sort, turn round, scroll, search and help."""
        self.fleet.add(*(thing(f"{n:03}") for n in range(100)))
        self.serveFleet()
        terminal = self.top()
        await terminal.shows("^000 ")
        terminal.press("R")
        await terminal.shows("^099 ")
        terminal.press("\x1b[6~")
        await terminal.shows("^082 ")
        terminal.press("/04")
        await terminal.shows("^/04█")
        await terminal.until(lambda: "082" not in terminal.text)
        terminal.press("\x7f\r")
        await terminal.shows("search: 0 ")
        terminal.press("\x1b")
        await terminal.until(lambda: "search:" not in terminal.text)
        terminal.press("?")
        await terminal.shows("the other way round")
        terminal.press("?")
        await terminal.shows("^099 ")
        terminal.press("q")
        await self.assertEnds(terminal)

    async def test_oneThing(self) -> None:
        """A thing is chosen, looked at, written to, asked to leave, all by keys or by the mouse."""
        self.fleet.add(thing("bell"), thing("lamp"))
        self.fleet.delivering = lambda message: message.upper() + CLEAR.encode()
        asked: list[str] = []
        self.patch(self.fleet, "dismiss", lambda id: asked.append(id) or succeed(None))
        self.serveFleet()
        terminal = self.top()
        await terminal.shows("^lamp ")
        line = next(n for n, text in enumerate(terminal.lines, 1) if text.startswith("lamp "))
        terminal.press(f"\x1b[<0;3;{line}M\x1b[<0;3;{line}m\r")
        await terminal.shows("^cipher +X25519MLKEM768")
        self.assertRegex(terminal.text, "(?m)^id +lamp$")
        terminal.press("sligths\x1b[D\x7f\x7fht\r")
        await terminal.shows("lamp answers: LIGHTS\ufffd")
        terminal.press("xy")
        await terminal.shows("lamp was asked to leave")
        self.assertEqual(asked, ["lamp"])
        terminal.press("\x1b")
        await terminal.shows("^bell ")
        terminal.press("q")
        await self.assertEnds(terminal)
        self.assertIn(b"\x1b[?1000l\x1b[?1006l", terminal.out)

    async def test_reach(self) -> None:
        """What reaches a thing has the terminal, and Ctrl-C and Ctrl-Z, until it ends."""
        self.fleet.add(thing("lamp"))
        self.serveFleet()
        terminal = self.top()
        await terminal.shows("^lamp ")
        terminal.press("\x1b[Bo")
        await terminal.shows(r"^\$ ssh -o ProxyCommand='thing reach %h ssh' lamp█")
        terminal.press("\x15echo it is here; cat; echo it is over\r")
        await terminal.until(lambda: terminal.out.endswith(b"it is here\r\n"))
        self.assertTrue(terminal.restored)
        terminal.press("\x1a")
        await terminal.until(lambda: b"it is here\r\n^Z" in terminal.out)
        terminal.press("\x04")
        await terminal.until(lambda: b"^Zit is over\r\n" in terminal.out)
        terminal.press("\n")
        await terminal.until(lambda: b"lamp" in b"".join(terminal.out.split(ENTER_SCREEN)[2:]))
        terminal.press("q")
        await self.assertEnds(terminal)

    async def test_resize(self) -> None:
        """It follows the terminal's size."""
        self.fleet.add(*(thing(f"{n:03}") for n in range(100)))
        self.serveFleet()
        terminal = self.top()
        await terminal.shows("^1-17 of 100")
        terminal.resize(120, 40)
        await terminal.shows("^1-33 of 100")
        self.assertIn("192.0.2.1:4711", terminal.text)
        terminal.resize(40, 12)
        await terminal.shows("^1-5 of 100")
        self.assertLessEqual(max(map(cell_len, terminal.lines)), 40)
        terminal.press("q")
        await self.assertEnds(terminal)

    async def test_away(self) -> None:
        """A server that goes away is told of and asked again; what was known stays meanwhile."""
        self.fleet.add(thing("lamp"))
        self.serveFleet()
        terminal = self.top()
        await terminal.shows("^lamp ")
        number = self.port.getHost().port
        await self.port.stopListening()
        await self.site.close()
        await terminal.shows("^cannot reach http://.*Connection refused; trying")
        self.assertRegex(terminal.text, "(?m)^lamp ")
        port = reactor.listenTCP(number, self.site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        await terminal.shows("^Ended in the last")
        terminal.press("q")
        await self.assertEnds(terminal)

    async def test_awayAtFirst(self) -> None:
        """A server that is not there yet is waited for."""
        self.serveFleet()
        number = self.port.getHost().port
        await self.port.stopListening()
        terminal = self.top()
        await terminal.shows("Connection refused; trying")
        port = reactor.listenTCP(number, self.site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        await terminal.shows("0 things")
        terminal.press("q")
        await self.assertEnds(terminal)

    async def test_colours(self) -> None:
        """What is not well is coloured, unless the user wants no colours."""
        self.fleet.add(thing("lamp", status=Status.LATE))
        self.serveFleet()
        for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
            self.environment.update(environment)
            terminal = self.top()
            await terminal.shows("^lamp ")
            self.assertIs(b"\x1b[33m" in terminal.out, coloured)
            terminal.press("q")
            await self.assertEnds(terminal)


class StateTests(TopCase):
    """However it ends, the terminal is as it was."""

    def setUp(self) -> None:
        super().setUp()
        self.serveFleet()

    async def shown(self, *arguments: str, **named: Any) -> Terminal:
        """Start it, and wait until it shows something."""
        terminal = self.top(*arguments, **named)
        await terminal.shows("0 things")
        self.assertFalse(terminal.restored)
        self.assertFalse(terminal.modes[3] & termios.ECHO)
        return terminal

    async def test_signals(self) -> None:
        """Signals that end a program end it in order; so does Ctrl-C."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            terminal = await self.shown()
            terminal.signal(number)
            await self.assertEnds(terminal)
        terminal = await self.shown()
        terminal.press("\x03")
        await self.assertEnds(terminal)

    async def test_crash(self) -> None:
        """A mistake in the program is shown on the terminal as it was before."""
        terminal = await self.shown(program=("-c", CRASHING))
        self.fleet.add(thing("lamp"))
        await self.assertEnds(terminal, 1)
        after = terminal.out.rpartition(LEAVE_SCREEN)[2]
        self.assertIn(b"a mistake in the program", after)

    async def test_refused(self) -> None:
        """What will not change by itself ends it at the first look, in one line."""
        self.serveOctets(answer(b'{"title": "A token is needed."}', "401 No", OWN))
        terminal = self.top()
        await self.assertEnds(terminal, ExitCode.NO_ACCESS)
        after = terminal.out.rpartition(LEAVE_SCREEN)[2]
        self.assertIn(b"A token is needed; give --token-file\r\n", after)

    async def test_stopped(self) -> None:
        """Ctrl-Z gives the terminal back; when it is continued, it takes it again."""
        terminal = await self.shown(program=("-c", JOB))
        terminal.press("\x1a")
        await terminal.until(lambda: terminal.out.endswith(b"SHELL: stopped\r\n"))
        self.assertTrue(terminal.restored)
        self.fleet.add(thing("lamp"))
        entered = terminal.out.count(ENTER_SCREEN)
        terminal.press("fg\n")
        await terminal.until(lambda: terminal.out.count(ENTER_SCREEN) > entered)
        await terminal.shows("^lamp ")
        self.assertFalse(terminal.restored)
        terminal.press("q")
        await self.assertEnds(terminal)

    async def test_continued(self) -> None:
        """Whoever stops and continues it without its knowing finds it drawn again."""
        terminal = await self.shown()
        terminal.signal(signal.SIGSTOP)
        terminal.modes = terminal.before
        entered = terminal.out.count(ENTER_SCREEN)
        terminal.signal(signal.SIGCONT)
        await terminal.until(lambda: terminal.out.count(ENTER_SCREEN) > entered)
        await terminal.until(lambda: not terminal.restored)
        terminal.press("q")
        await self.assertEnds(terminal)

    async def test_noJobControl(self) -> None:
        """Where nobody could continue it, Ctrl-Z does not stop it."""
        terminal = await self.shown()
        terminal.press("\x1a")
        await terminal.until(lambda: terminal.out.count(ENTER_SCREEN) > 1)
        self.fleet.add(thing("lamp"))
        await terminal.shows("^lamp ")
        terminal.press("q")
        await self.assertEnds(terminal)

    async def test_hangUp(self) -> None:
        """A terminal that is gone ends it."""
        terminal = await self.shown()
        terminal.close()
        terminal.transport.loseConnection()  # type: ignore[union-attr]
        await terminal.ended

    async def test_dumb(self) -> None:
        """On a terminal that cannot be drawn on, it says what to do instead."""
        self.environment["TERM"] = "dumb"
        terminal = self.top()
        self.assertEqual(await terminal.ended, ExitCode.USAGE)
        self.assertIn("-b needs none", terminal.text)
        self.assertEqual(terminal.modes, terminal.before)
