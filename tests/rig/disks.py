"""
A disk that is full, read-only or broken costs no file what it held, and no session.

Each thing that writes is done in a process of its own, under strace, where one system call fails:
once for each that it makes, with each error. It has to succeed all the same or to be refused in
one line, each file has to be the old one or the new one, and who does it again succeeds.

Then a server has all its files on a small disk of its own, in a mount namespace, which takes root.
While that is full and while it is read-only, sessions have to come up and live on, what must be
written has to be refused in one line, and later the log has to go on with whole lines.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from benchmarks.processes import ended, whenLogged
from tests.rig.check import LeftOut, Row, needProgram, needRoot
from tests.rig.killed import callsOf
from tests.rig.tracing import REFUSED, traced
from tests.rig.writers import WRITERS, Writer, contents, faults, left, secretsLeft
from thing.trust import IdentityKey

ERRORS = ("ENOSPC", "EROFS", "EIO")
"""No space left, a file system that is read-only, and a disk that fails."""

REMOVING = ("unlink", "unlinkat", "rmdir", "close")
"""Where these fail, something may be left for the next one to sweep."""

STARTING, ANSWERING = 60.0, 30.0
"""How long the server may take to start, and a command to end, seconds."""


def check(short: bool) -> Iterator[Row]:
    """
    Have the system fail.

    :param short: whether to try one writer, with one error, and no server.
    :return: a row for each writer, and some for the server.
    """
    for writer in WRITERS[:1] if short else WRITERS:
        yield failedAtEach(writer, ERRORS[:1] if short else ERRORS)
    if not short:
        try:
            needRoot()
        except LeftOut as missing:
            yield Row("a server on a disk that is full", f"left out: {missing}", True)
        else:
            yield from serverOn()


def failedAtEach(writer: Writer, errors: tuple[str, ...]) -> Row:
    """
    Have each call of one writer fail.

    :param writer: the writer.
    :param errors: with what.
    :return: what came of it.
    """
    with tempfile.TemporaryDirectory(prefix="thing-rig-") as scratch:
        wrong, calls = callsOf(writer, scratch)
        refused = count = 0
        for call, number in calls:
            for error in errors:
                with tempfile.TemporaryDirectory(dir=scratch) as directory:
                    inject = f"{call}:error={error}:when={number}"
                    found, code = failedAt(writer, Path(directory), inject)
                wrong += [f"{inject}: {each}" for each in found]
                refused, count = refused + (code == REFUSED), count + 1
    figure = f"{count} errors, {refused} refused in a line"
    return Row(writer.name, "; ".join(wrong) or figure, not wrong and refused > 0)


def failedAt(writer: Writer, directory: Path, inject: str) -> tuple[list[str], int]:
    """Have one call of a writer fail; what is wrong then, and how it ended."""
    writer.prepare(directory)
    before = contents(directory)
    ending = traced(partial(writer.write, directory), *writer.inject, inject)
    wrong = faults(writer, directory, before)
    if ending.code not in (0, REFUSED) or "\n" in ending.said:
        wrong.append(f"ended with {ending.code}: {ending.said}")
    if left(writer, directory) and not inject.startswith(REMOVING):
        wrong.append(f"left {left(writer, directory)}")
    writer.write(directory)
    wrong += [f"after it {each}" for each in faults(writer, directory, before)]
    if secretsLeft(writer, directory):
        wrong.append(f"after it {secretsLeft(writer, directory)} left")
    return wrong, ending.code


MOUNT = """
mount -t tmpfs -o size=256k,mode=700 thing "$1" && cp -p "$2"/* "$1" && mkdir "$1"/log &&
mount -t tmpfs -o size=64k,mode=700 thing "$1"/log && cd "$1" && shift 2 && exec "$@"
"""
"""What runs in the mount namespace: two small disks, one for the log, and the server."""

SERVE = (
    *("--port=tcp:0:interface=127.0.0.1", "--identity=server_key", "--authorized=things"),
    *("--ticket-keys=tickets", "--invitations=invitations", "--status=tcp:0:interface=127.0.0.1"),
)

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000 \[\S+\] .+")
"""A whole line of the log."""


class Server:
    """A server with its files on a small disk."""

    def __init__(self, mounted: Path, files: Path) -> None:
        """
        :param mounted: where its disk is, in its own mount namespace.
        :param files: what is there at first.
        """
        self._directory = mounted
        twistd = "from twisted.scripts.twistd import run; run()"
        self.process = subprocess.Popen(
            [
                *(needProgram("unshare"), "--mount", "sh", "-c", MOUNT, "sh", mounted, files),
                *(sys.executable, "-c", twistd, "-n", "--pidfile=", "--logfile=log/log"),
                *("thing", *SERVE),
            ],
            stdout=subprocess.DEVNULL,
        )
        self.address = self.status = ""
        self.seen = Path(f"/proc/{self.process.pid}/root{mounted}")
        """Its disk, as this process sees it."""
        self.logged = self.seen / "log" / "log"
        """The file of its log there."""

    def start(self) -> None:
        """Wait until it listens."""
        pattern = r"Try it: thing connect (\S+)"
        self.address = whenLogged(self.process, self.logged, pattern, STARTING)
        self.status = whenLogged(self.process, self.logged, r"Status is told at (\S+)", STARTING)

    @property
    def log(self) -> str:
        """What is in its log."""
        return self.logged.read_text()

    def command(self, *arguments: str, home: str = "home") -> tuple[int, str]:
        """Run a command beside it, on its disk; how that ended, and what it said."""
        done = subprocess.run(
            [*self.beside, f"THING_HOME={home}", sys.executable, "-m", "thing.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=ANSWERING,
            check=False,
        )
        return done.returncode, done.stdout

    @property
    def beside(self) -> list[str]:
        """How a program is run on its disk."""
        enter = [needProgram("nsenter"), "--target", str(self.process.pid), "--mount"]
        return [*enter, "env", "-C", str(self._directory)]

    def remount(self, how: str) -> None:
        """Have its files, but not its log, be on a disk that is read-only, or is not."""
        mount = ["mount", "-o", f"remount,{how}", str(self._directory)]
        subprocess.run([*self.beside, *mount], check=True, timeout=ANSWERING)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Have both of its disks be full."""
        fillers = [self.seen / "filler", self.seen / "log" / "filler"]
        for path in fillers:
            with path.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(4096)):
                    pass
        yield
        for path in fillers:
            path.unlink()

    def stop(self) -> int:
        """End it; its exit code."""
        return ended(self.process, ANSWERING)


def serverOn() -> Iterator[Row]:
    """Have a server, and what runs beside it, live through a disk that is full, and read-only."""
    with tempfile.TemporaryDirectory(prefix="thing-rig-") as scratch:
        files, mounted = Path(scratch, "files"), Path(scratch, "mounted")
        files.mkdir()
        mounted.mkdir()
        for name in ("server_key", "lamp", "lasting"):
            IdentityKey.generate().save(files / name, comment=name)
        things = [(files / f"{name}.pub").read_text() for name in ("lamp", "lasting")]
        (files / "things").write_text("".join(things))
        key = IdentityKey.load(files / "server_key")
        server = Server(mounted, files)
        try:
            server.start()
            yield from livedThrough(server, f"--server-key={key.fingerprint}")
        finally:
            code = server.stop()
    yield Row("the server's end", f"exit code {code}", code in (0, 143, -signal.SIGTERM))


def livedThrough(server: Server, serverKey: str) -> Iterator[Row]:
    """Have the disk be full and read-only, and look what becomes of all."""
    yield done(server, "before", *inviting(server))
    known = (serverKey, "--identity=lamp")
    connect = ("connect", serverKey, "--identity=lasting", server.address)
    lasting = subprocess.Popen(
        [*server.beside, sys.executable, "-m", "thing.cli", *connect],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    with server.full():
        codes = [server.command("ping", "-c1", *known, server.address)[0] for _ in range(16)]
        yield Row(
            "new sessions on a full disk", f"{codes.count(0)} of {len(codes)}", not any(codes)
        )
        yield from refusals(server, "No space left")
    before = server.log
    code, _ = server.command("ping", "-c1", *known, server.address)
    lines = server.log.splitlines()
    torn = [line for line in lines if not LINE.fullmatch(line)]
    lost = [line for line in lines[before.count("\n") :] if "entries are missing here" in line]
    found = f"{len(lines)} lines, {len(torn)} torn; {lost[0].split('] ')[1] if lost else ''}"
    yield Row("the log of a full disk", found, not torn and len(lost) == 1 and not code)
    server.remount("ro")
    codes = [server.command("ping", "-c1", *known, server.address)[0] for _ in range(3)]
    yield Row("new sessions on one that is read-only", f"{codes.count(0)} of 3", not any(codes))
    yield from refusals(server, "Read-only")
    server.remount("rw")
    yield done(server, "once that is over", "keygen", "--file=new")
    yield done(server, "once that is over", *inviting(server))
    alive = lasting.poll() is None
    lasting.communicate(timeout=ANSWERING)
    ended = f"{'alive' if alive else 'ended'}, then exit code {lasting.returncode}"
    yield Row("a session that lasted all the time", ended, alive and lasting.returncode == 0)


def done(server: Server, when: str, name: str, *arguments: str) -> Row:
    """Have something be written, while it can be."""
    code, said = server.command(name, *arguments)
    return Row(f"thing {name}, {when}", f"exit code {code}" if code == 0 else said, code == 0)


def inviting(server: Server) -> tuple[str, ...]:
    """What invites a thing."""
    return ("invite", "kettle", f"--status={server.status}", f"--server={server.address}")


def refusals(server: Server, why: str) -> Iterator[Row]:
    """Ask for what must be written, while nothing can be."""
    before = sorted(os.listdir(server.seen))
    for name, *arguments in (
        ("keygen", "--file=new"),
        ("ping", "--trust-on-first-use", "--identity=lamp", "-c1", server.address),
        inviting(server),
    ):
        code, said = server.command(name, *arguments, home="other")
        plain = said.count("\n") == 1 and why in said and "Traceback" not in said
        new = {*os.listdir(server.seen)} - {*before, "other"}
        figure = f"exit code {code}, {'one line' if plain else repr(said)}"
        yield Row(f"thing {name} {arguments[0]}: {why}", figure, code > 0 and plain and not new)
