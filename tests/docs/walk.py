"""
Walk through pages as a reader does: type what they say, and see that what they show comes.

``unshare --net --pid --fork --kill-child python -m tests.docs.walk README.rst docs/howto-join.rst``
walks two, in a network of their own, since ports are those of the pages. The console blocks of a
page are typed one after the other, in a directory that is empty but for the programs that the page
has shown. A line without ``$`` is what the command answers (:mod:`.shown`). What a
reader does besides is said in comments, stage directions:

- ``.. walk: given COMMAND``: was done on another page; ``.. walk: include FILE``: is there;
- ``.. walk: file NAME``: the next block is saved by that name;
- ``.. walk: in NAME``: what follows is typed on that machine, which has a home of its own;
- ``.. walk: take OLD for NEW``: the page's OLD is typed as NEW from here on;
- ``.. walk: stays``, ``.. walk: stays PATTERN``: the next block's last command goes on, once it has
  answered what is shown, or the pattern. Servers and agents do by themselves;
- ``.. walk: exits N``: the next block's last command ends with that status;
- ``.. walk: press KEY``, ``.. walk: enter TEXT``: to the last program that goes on. Keys are
  ``Ctrl-C``, ``Ctrl-D``, ``Ctrl-Z``, and ``fg`` or ``kill -9`` in the shell;
- ``.. walk: see PATTERN``: it says that; ``.. walk: shown``: it says what the next block shows;
- each of these with `` at WORDS``: to the last that was started by these words;
- ``.. walk: with sshd``: this machine has one, as most have;
- ``.. walk: skip REASON``: the next block is not typed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests import PROJECT
from tests.docs.pages import Step, commandsOf, stepsOf
from tests.docs.shown import isShownIn, patternOf, readJSON
from tests.sshd import Sshd

PATIENCE = 120.0
"""How long anything may take, seconds: the machine may be slow, and busy."""

READY = {
    r"twistd .*\bweb ": ["Starting factory|starting on"],
    r"twistd .*\bthing .*--status": ["Listening on", "Status is told at"],
    r"twistd .*\bthing\b": ["Listening on"],
    r"thing agent ": ["is established"],
    r"thing reach .*--listen": ["http:|unix:"],
    r"python3? -m http.server": ["Serving HTTP"],
}
"""Programs that go on, and what each says once it is there."""

SIGNALS = {
    "Ctrl-C": signal.SIGINT,
    "Ctrl-Z": signal.SIGSTOP,
    "fg": signal.SIGCONT,
    "kill -9": signal.SIGKILL,
}


def say(line: str) -> None:
    """Tell who watches."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


_AT = re.compile(r"(?s)(.*?)(?: at ([^ ]+(?: [^ ]+)?))?")


class Trouble(Exception):
    """A page does not keep what it says."""


class Program:
    """
    Something that was typed.

    :ivar command: what.
    """

    def __init__(self, command: str, directory: Path, environment: dict[str, str]) -> None:
        """
        :param command: what a shell is to run.
        :param directory: where.
        :param environment: its variables.
        """
        self.command = command
        self._output = ""
        self._seen = 0
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._keyboard = self._process.stdin
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), 65536):
            self._output += data.decode(errors="replace")

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self._output.lstrip()

    @property
    def isOver(self) -> bool:
        """Whether it has ended and said all."""
        return self._process.poll() is not None and not self._reader.is_alive()

    def says(self, pattern: str) -> re.Match[str]:
        """Wait until it has said this."""
        deadline = time.monotonic() + PATIENCE
        while True:
            isLast = self.isOver or time.monotonic() > deadline
            if (found := re.search(pattern, self.output)) is not None:
                return found
            if isLast:
                raise Trouble(f"{self.command}\nnever said {pattern}\nbut\n{self.output}")
            time.sleep(0.02)

    def sees(self, pattern: str) -> None:
        """Wait until it says this, behind what was waited for before."""
        found = self.says(rf"(?s:.{{{self._seen}}})[\s\S]*?(?:{pattern})")
        self._seen = found.end()

    def ends(self) -> int:
        """Wait for its end; its exit status."""
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Trouble(f"{self.command}\nnever ended, but said\n{self.output}") from None
        self._reader.join(PATIENCE)
        return status

    def press(self, key: str) -> None:
        """Press a key in its terminal."""
        if key == "Ctrl-D":
            self._keyboard.close()
        else:
            os.killpg(self._process.pid, SIGNALS[key])
        if key in ("Ctrl-C", "Ctrl-D", "kill -9"):
            self.ends()

    def kill(self) -> None:
        """End it, if that has not happened yet."""
        if not self.isOver:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self.ends()

    def enter(self, line: str) -> None:
        """Type a line in its terminal."""
        self._keyboard.write(f"{line}\n".encode())
        self._keyboard.flush()


class Walk:
    """
    One reader with one page.

    :ivar directory: where everything is typed.
    """

    def __init__(self, directory: Path) -> None:
        """:param directory: an empty one."""
        self.directory = directory
        self._machine = ""
        self._environments: dict[str, dict[str, str]] = {}
        self._typed: list[Program] = []
        self._stay: list[Program] = []
        self._values: dict[str, str] = {}
        self._next: dict[str, str] = {}  # What is said of the next block.
        self._installed()

    def _installed(self) -> None:
        """Have the programs on the path that a page's reader has installed."""
        (self.directory / "bin").mkdir()
        scripts = Path(sys.executable).parent
        for name, command in {
            "python": sys.executable,
            "python3": sys.executable,
            "thing": f"{sys.executable} -m thing.cli",
            "twistd": str(scripts / "twistd"),
            "trial": str(scripts / "trial"),
        }.items():
            self._program(name, f"PYTHONPATH={PROJECT}:$PYTHONPATH exec {command}")
        (self.directory / ".curlrc").write_text("silent\nshow-error\n")

    def _program(self, name: str, command: str) -> None:
        """Put a program onto the path."""
        path = self.directory / "bin" / name
        path.write_text(f'#!/bin/sh\n{command} "$@"\n')
        path.chmod(0o755)

    def _environment(self) -> dict[str, str]:
        """The variables of this machine's terminals."""
        home = self.directory / self._machine
        home.mkdir(exist_ok=True)
        return self._environments.setdefault(
            self._machine,
            {
                "COLUMNS": "200",
                "HOME": str(home),
                "CURL_HOME": str(self.directory),
                "LC_ALL": "C.UTF-8",
                "NO_COLOR": "1",
                "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
                "PYTHONUNBUFFERED": "1",
                "SOURCE": str(PROJECT),
            },
        )

    def do(self, step: Step) -> None:
        """
        Do what comes next.

        :param step: what.
        :raises Trouble: if something else comes of it.
        """
        match = _AT.fullmatch(step.text)
        assert match is not None
        text, words = match.groups("")
        actions: dict[str, Callable[[], object]] = {
            "block": lambda: self._block(step),
            "include": lambda: self._save(step.text, (PROJECT / "docs" / step.text).read_text()),
            "given": lambda: self._type(step.text, "", *self._told()),
            "with": self._sshd,
            "press": lambda: self._at(words).press(text),
            "enter": lambda: self._at(words).enter(self._filled(text)),
            "see": lambda: self._at(words).sees(text),
        }
        if step.word == "in":
            self._machine = step.text
        elif step.word == "take":
            old, _, new = step.text.partition(" for ")
            self._values[old] = new
        elif step.word in actions:
            actions[step.word]()
        elif step.word in ("file", "stays", "exits", "shown", "skip"):
            self._next[step.word] = step.text
        else:
            raise Trouble(f"no stage direction: {step.word}")

    def _told(self) -> tuple[str | None, int]:
        """Whether the last command stays, and else its exit status."""
        told, self._next = self._next, {}
        return told.get("stays"), int(told.get("exits", 0))

    def _block(self, step: Step) -> None:
        """Do with a block what its language and the directions before it say."""
        if (name := self._next.pop("file", None)) is not None:
            self._save(name, f"{step.text}\n")
        elif (words := self._next.pop("shown", None)) is not None:
            self._compare(self._at(words.removeprefix("at ")), step.text, False)
        elif step.language == "console" and self._next.pop("skip", None) is None:
            *before, (command, answer) = commandsOf(step.text)
            for earlier, answered in before:
                self._type(earlier, answered)
            self._type(command, answer, *self._told())

    def _save(self, name: str, content: str) -> None:
        """Save a program that the page shows, if it is one."""
        path = self.directory / Path(name).name
        if path.suffix in (".py", ".sh"):
            path.write_text(content)
            path.chmod(0o755)

    def _sshd(self) -> None:
        """Run OpenSSH's server, and have its client let in."""
        folder = self.directory / "sshd"
        folder.mkdir()
        sshd = Sshd(folder, 22).start()
        self._program("ssh", f"exec /usr/bin/ssh -F {sshd.config}")

    def _at(self, words: str) -> Program:
        """The last program that stays, of those with these words."""
        for program in reversed(self._stay):
            if words in program.command:
                return program
        raise Trouble(f"nothing that stays was started by {words!r}")

    def _filled(self, command: str) -> str:
        """A command with the real values in place of those that are shown."""
        for shown in sorted(self._values, key=len, reverse=True):  # One may begin another.
            command = command.replace(shown, self._values[shown])
        return re.sub(r"SHA256:(\.\.\.|…)", lambda _: self._lastKey(), command)

    def _lastKey(self) -> str:
        """The fingerprint that was printed last."""
        for program in reversed(self._typed):
            if keys := re.findall(r"SHA256:[\w+/]{43}", program.output):
                return str(keys[-1])
        raise Trouble("nobody has printed a fingerprint")

    def _type(self, command: str, answer: str, stays: str | None = None, status: int = 0) -> None:
        """Type a command, and compare what it answers."""
        filled = self._filled(command)
        say(f"$ {filled}")
        if filled.startswith("export "):
            return self._export(filled)
        program = Program(filled, self.directory, self._environment())
        self._typed.append(program)
        ready = [says for words, says in READY.items() if re.search(words, filled)]
        if stays is None and (not ready or "--help" in filled):
            if (ended := program.ends()) != status:
                raise Trouble(f"{filled}\nexited with {ended}, not {status}\n{program.output}")
            return self._compare(program, answer, True)
        self._stay.append(program)
        for pattern in [stays] if stays else ready[0] if ready else []:
            program.says(pattern)
        return self._compare(program, answer, False)

    def _export(self, command: str) -> None:
        """Keep variables for this machine's terminals."""
        environment = self._environment()
        told = subprocess.check_output(
            ["bash", "-c", f"{command}; env -0"], cwd=self.directory, env=environment, text=True
        )
        environment.update(each.split("=", 1) for each in told.split("\0") if "=" in each)

    def _compare(self, program: Program, answer: str, isWhole: bool) -> None:
        """Compare an answer with what is shown of it, if that is, and learn its values."""
        if not answer:
            return
        if isWhole and answer.startswith("{"):
            if not isShownIn(readJSON(answer), json.loads(program.output)):
                raise Trouble(f"{program.command}\nanswered\n{program.output}\nnot\n{answer}")
            return
        pattern, names = patternOf(answer, self._values)
        found = program.says(rf"\A{pattern}\s*\Z" if isWhole else pattern)
        self._values.update({shown: found[name] for name, shown in names.items()})

    def end(self) -> None:
        """
        Close all terminals.

        :raises Trouble: if a program has shown a traceback.
        """
        for program in self._typed:
            program.kill()
            if "Traceback (most recent call last)" in program.output:
                raise Trouble(f"{program.command}\nfailed\n{program.output}")


def main(*pages: str) -> None:
    """
    Walk through pages, each in a directory of its own.

    :param pages: their files, from the project on.
    """
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for page in pages:
        say(f"=== {page}")
        with tempfile.TemporaryDirectory(prefix="thing-walk-") as directory:
            walk, line = Walk(Path(directory)), 0
            try:
                for step in stepsOf((PROJECT / page).read_text()):
                    line = step.line
                    walk.do(step)
                walk.end()
            except Trouble as trouble:
                raise SystemExit(f"{page}:{line}: {trouble}") from None


if __name__ == "__main__":
    main(*sys.argv[1:])
