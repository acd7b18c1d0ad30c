"""
The terminal of ``thing top``: its modes, its keys, its size, and the signals that go with it.

What is drawn, and what a key means, is elsewhere.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import select
import signal
import subprocess
import sys
import termios
import tty
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from thing.cli.answers import Unreachable
from thing.cli.api import Api
from thing.cli.board import Board
from thing.cli.errands import Deed, Errand, Outcome, start
from thing.cli.exits import CommandError
from thing.cli.formats import visible
from thing.cli.watching import News, Snapshot, Watcher, takeSnapshot

__all__ = ["Keys", "Screen"]

_SEQUENCE = re.compile(r"\x1b[\[O]([<0-9;]*)([A-Za-z~])")

_BEGUN = re.compile(r"\x1b[\[O][<0-9;]{0,20}")
"""The beginning of one; Esc alone is a key."""

_NAMED = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "H": "home",
    "F": "end",
    "1~": "home",
    "3~": "delete",
    "4~": "end",
    "5~": "pageUp",
    "6~": "pageDown",
    "7~": "home",
    "8~": "end",
}
"""What terminals send for keys that are no characters."""

_CONTROLS = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace"}

_MODES = "\x1b[?1000{0}\x1b[?1006{0}\x1b[?2004{0}"
"""Has a terminal report its mouse, and mark what is pasted, with ``h``, and no more, with ``l``."""

_NEWS = 0
"""What the watcher writes to the pipe that signals are written to; no signal has this number."""

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_HANDLED = (*_ENDING, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)
_FOR_COMMANDS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)
"""What a key sends to whatever is on the terminal."""


class Keys:
    """Makes keys of what a terminal sends."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._begun = ""
        self._pasting = False

    def feed(self, octets: bytes) -> Iterator[str]:
        """
        Take what was typed.

        :param octets: what came.
        :return: characters, and names of keys.
        """
        text = self._begun + self._decoder.decode(octets)
        self._begun = ""
        while text:
            if _BEGUN.fullmatch(text):
                self._begun = text  # The rest is still on its way.
                return
            found = _SEQUENCE.match(text)
            if found is not None:
                text = text[found.end() :]
                final = found[2]
                if final == "~" and found[1] in ("200", "201"):
                    self._pasting = found[1] == "200"
                    continue
                if found[1].startswith("<"):
                    yield _mouse(found[1][1:], final)
                    continue
                yield _NAMED.get(f"{found[1]}~" if final == "~" else final, "unknown")
                continue
            character, text = text[0], text[1:]
            # Before another character it is that of a combination that has no use here.
            if self._pasting:
                yield f"paste {character if character.isprintable() else ' '}"
            elif character == "\x1b":
                yield "escape"
            else:
                yield _CONTROLS.get(character, character)


def _mouse(what: str, final: str) -> str:
    """The name of what the mouse did: ``click N`` with the line, or a turn of its wheel."""
    button, line = what.partition(";")[0], what.rpartition(";")[2]
    if final == "M" and button == "0" and line.isdecimal():
        return f"click {int(line) - 1}"
    return {"64M": "wheelUp", "65M": "wheelDown"}.get(button + final, "unknown")


class Screen:
    """A run of ``thing top`` on a terminal, whose state is restored however it ends."""

    def __init__(self, api: Api, board: Board, delay: float) -> None:
        """
        :param api: the server.
        :param board: what is shown.
        :param delay: the time from one look to the next, seconds.
        """
        self._api = api
        self._board = board
        self._input = sys.stdin.fileno()
        self._output = sys.stdout.fileno()
        self._keys = Keys()
        self._news: deque[News] = deque(maxlen=1)
        self._outcomes: deque[Outcome | Exception] = deque()
        self._looking: str | None = None
        self._live: Live | None = None
        self._console = Console(force_terminal=True, force_interactive=True, highlight=False)
        self._watcher = Watcher(
            lambda text: takeSnapshot(api, text), board.search, delay, self._tell
        )
        self._before: list[Any] = []
        self._reader, self._writer = -1, -1

    def run(self) -> None:
        """
        Show the board until the user has seen enough.

        :raises CommandError: if the server refuses, or is none, at the first look.
        """
        if self._console.is_dumb_terminal or not os.environ.get("TERM"):
            raise click.UsageError("this terminal cannot be drawn on; -b needs none")
        with ExitStack() as stack:
            stack.enter_context(self._signals())
            self._before = termios.tcgetattr(self._input)
            stack.callback(self._leave)
            self._enter()
            self._watcher.start()
            self._loop()

    def _loop(self) -> None:
        try:
            while not self._board.over:
                self._draw()
                ready, _, _ = select.select([self._input, self._reader], [], [])
                if self._reader in ready:
                    for number in os.read(self._reader, 1024):
                        self._happened(number)
                if self._input in ready:
                    self._typed(os.read(self._input, 1024))
        except OSError as error:
            if error.errno != errno.EIO:  # Else the terminal is gone: nobody looks any more.
                raise

    def _typed(self, octets: bytes) -> None:
        board, watcher = self._board, self._watcher
        if not octets:
            board.over = True
        for key in self._keys.feed(octets):
            board.press(key)
            if board.hurried:
                watcher.hurry()
            if board.errand is not None:
                self._do(board.errand)
        if not board.typing and board.search != watcher.text:
            watcher.search(board.search)

    def _tell(self, news: News) -> None:
        """Called in the watcher's thread."""
        self._news.append(news)
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # Full, so that it is read soon.
            os.write(self._writer, bytes([_NEWS]))

    def _happened(self, number: int) -> None:
        if number == _NEWS:
            self._take()
        elif number in _ENDING:
            self._board.over = True
        elif number == signal.SIGTSTP:
            self._suspend()
        elif number == signal.SIGCONT:
            # Whoever stopped us may have left the terminal in any state.
            self._leave()
            self._enter()

    def _do(self, errand: Errand) -> None:
        if errand.deed is Deed.REACH:
            self._runCommand(errand.text)
            return
        if errand.deed is Deed.SHOW:
            self._looking = errand.id
        start(self._api, errand, self._tellOutcome)

    def _tellOutcome(self, outcome: Outcome | Exception) -> None:
        """Have the main thread look at what came of an errand."""
        self._outcomes.append(outcome)
        self._wake()

    def _lookAgain(self) -> None:
        """Keep the details that are shown up to date, one question at a time."""
        id = self._board.detailed
        if id is not None and self._looking is None:
            self._do(Errand(Deed.SHOW, id))

    def _takeOutcomes(self) -> None:
        while self._outcomes:
            outcome = self._outcomes.popleft()
            if isinstance(outcome, Exception):
                raise outcome
            if outcome.errand.deed is Deed.SHOW:
                self._looking = None
            self._board.done(outcome)

    def _take(self) -> None:
        self._takeOutcomes()
        if not self._news:
            return
        news = self._news.pop()
        self._lookAgain()
        if isinstance(news, Snapshot):
            self._board.see(news)
            return
        # What will not change by itself ends it, unless there is something to be seen.
        if self._board.snapshot is None and not isinstance(news, Unreachable):
            raise news
        if not isinstance(news, CommandError):
            raise news
        self._board.complain(str(news))

    def _runCommand(self, command: str) -> None:
        """Give the terminal to a command until that ends, and the user has seen what it left."""
        self._leave()
        self._say(f"$ {visible(command, len(command))}\n")
        # Were it stopped, nobody could continue it.
        words = ["/bin/sh", "-c", f"trap '' TSTP\n{command}"]
        with suppress(OSError):
            subprocess.run(words, check=False)  # noqa: S603 - the user's own line
        self._say("[Enter] goes back to thing top ")
        happened: list[int] = []
        while select.select([self._reader], [], [], 0)[0]:
            happened += os.read(self._reader, 1024)
        happened = [number for number in happened if number not in _FOR_COMMANDS]
        while not set(happened) & set(_ENDING):
            ready, _, _ = select.select([self._input, self._reader], [], [])
            if self._input in ready:
                os.read(self._input, 1024)
                break
            happened += os.read(self._reader, 1024)
        self._enter()
        for number in happened:
            self._happened(number)

    def _say(self, text: str) -> None:
        with suppress(OSError):
            os.write(self._output, text.encode(errors="replace"))

    # The terminal.

    def _enter(self) -> None:
        """Take the terminal: no echo, each key at once, the other screen."""
        tty.setcbreak(self._input)
        live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live = live
        live.start()
        self._say(_MODES.format("h"))

    def _leave(self) -> None:
        """Give the terminal back as it was."""
        live, self._live = self._live, None
        with suppress(termios.error, OSError):
            if live is not None:
                self._say(_MODES.format("l"))
                live.stop()
        with suppress(termios.error, OSError):
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    def _draw(self) -> None:
        if self._live is None:
            return
        width, height = os.get_terminal_size(self._output)
        width, height = width or 80, height or 24  # Some terminals do not know.
        self._console.size = (width, height)
        self._live.update(self._board.render(width, height), refresh=True)

    def _suspend(self) -> None:
        """Stop as if the signal were not handled, and come back when that is over."""
        self._leave()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        try:
            signal.raise_signal(signal.SIGTSTP)
        finally:
            signal.signal(signal.SIGTSTP, handler)
        self._enter()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Have signals written to a pipe, where they are found among all else that happens."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        handlers: list[tuple[int, Any]] = []
        wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        try:
            for handled in _HANDLED:
                handlers.append((handled, signal.signal(handled, _nothing)))
            yield
        finally:
            for number, handler in handlers:
                signal.signal(number, handler)
            # The pipe stays open: the watcher may be about to write to it.
            signal.set_wakeup_fd(wakeup)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Let the pipe tell it."""
