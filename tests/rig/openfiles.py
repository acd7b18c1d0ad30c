"""
A server that may open few files lets honest clients in while strangers flood it, and logs little.

Servers have limits of open files that are low. Strangers connect from thousands of addresses, more
than there are places for, and say nothing or only begin, while honest clients come ten times a
second. Then the limit of a running server is lowered to what it has open, as other parts of its
process might use all: nobody gets in then, but its log may not grow much; and once there are files
again all get in. Who gets in is a matter of time: it takes a machine that has nothing else to do,
and the short form leaves it out.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import credentials
from benchmarks.processes import HERE, Child, awaitQuiet, ended, whenLogged
from tests.rig.check import LeftOut, Row

HEAD_START = 1.5
"""How long they do so before the first honest client comes, seconds."""

AFTER = 0.5
"""How long they do so once the last has come, seconds."""

LOGGED = 64 * 1024
"""How much may be logged in one flood, octets."""

SERVED = 0.8
"""Which share of the honest clients has to get in within two seconds; this machine may be busy."""

PATIENCE = 60.0
"""How long the server may take to start and to end, seconds."""


@dataclass(frozen=True)
class Flood:
    """One flood."""

    what: str
    """What strangers say, as :data:`benchmarks.strangers.FLOODS` calls it."""
    soft: int
    hard: int
    """How many files the server may open."""
    rate: float
    """How many strangers come in a second: more than there are places for."""
    seconds: float
    """For how long honest clients come; none if zero."""


FULL = (
    Flood("silent", 1024, 8192, 200.0, 7.3),
    Flood("silent", 1024, 1024, 200.0, 7.3),
    Flood("CHI, then silence", 1024, 1024, 200.0, 7.3),
    Flood("silent", 300, 300, 40.0, 7.3),
)
SHORT = (Flood("silent", 256, 300, 200.0, 0.0),)


class Server:
    """A server that may open so many files."""

    def __init__(self, flood: Flood, directory: Path) -> None:
        """
        :param flood: which.
        :param directory: the credentials, and its log.
        """
        self.path = directory / "log"
        self.path.unlink(missing_ok=True)
        twistd = "from twisted.scripts.twistd import run; run()"
        self.process = subprocess.Popen(
            [
                *("sh", "-c", f'ulimit -Sn {flood.soft} && ulimit -Hn {flood.hard} && exec "$@"'),
                *("sh", sys.executable, "-c", twistd, "-n", "--pidfile=", f"--logfile={self.path}"),
                *("thing", "--port=tcp:0:interface=127.0.0.1"),
                *(f"--identity={directory / 'thing-server'}", "--ttl=60"),
                f"--authorized={directory / 'authorized'}",
            ]
        )
        self.port = ""

    def start(self) -> None:
        """Wait until it listens."""
        self.port = whenLogged(self.process, self.path, r"Listening on \S+:(\d+) ", PATIENCE)

    def limit(self, files: int | None = None) -> int:
        """Set how many files it may open; by default so many as it has. How many it might."""
        pid = self.process.pid
        if files is None:
            awaitQuiet(pid)  # Those who have gone have no files any more.
            files = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()) + 1
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, hard))
        return soft

    def stop(self) -> None:
        """End it."""
        ended(self.process, PATIENCE)


def check(short: bool) -> Iterator[Row]:
    """
    Flood servers.

    :param short: whether just one, for a moment.
    :return: rows for each.
    """
    if sys.platform != "linux":
        raise LeftOut("only Linux has all of 127.0.0.0/8 without being asked")
    with tempfile.TemporaryDirectory(prefix="thing-rig-") as name:
        credentials.create(Path(name))
        for flood in SHORT if short else FULL:
            server = Server(flood, Path(name))
            try:
                server.start()
                yield from flooded(flood, server, Path(name), short)
            finally:
                server.stop()


def flooded(flood: Flood, server: Server, directory: Path, short: bool) -> Iterator[Row]:
    """
    Flood a server, and again while it has no file left.

    :param flood: which.
    :param server: the server.
    :param directory: the credentials.
    :param short: whether only while it has none.
    :return: a row for each thing that was looked at.
    """
    title = f"{flood.what}, {flood.soft} of {flood.hard} files"
    if not short:
        yield rowOf(title, *_flood(flood, server, directory))
    before = server.limit()
    _, logged = _flood(flood, server, directory)
    figure, none = f"{logged / 1024:.0f} KiB logged", "EMFILE" in server.path.read_text()
    yield Row(f"{title}: none left", figure, none and logged <= LOGGED)
    server.limit(before)
    if not short:
        yield rowOf(f"{title}: enough again", *_flood(flood, server, directory))


def rowOf(title: str, times: list[float | None], logged: int) -> Row:
    """
    Judge a flood.

    :param title: which.
    :param times: how long each honest client took, seconds; None if it did not get in.
    :param logged: how many octets were logged.
    :return: the row.
    """
    served = [each for each in times if each is not None]
    figure = f"{len(served)} of {len(times)} in, {logged / 1024:.0f} KiB logged"
    return Row(title, figure, len(served) >= SERVED * len(times) > 0 and logged <= LOGGED)


def _flood(flood: Flood, server: Server, directory: Path) -> tuple[list[float | None], int]:
    """Let strangers and honest clients come; how long each of these took, and what was logged."""
    file, lasting = str(HERE / "strangers.py"), HEAD_START + flood.seconds + AFTER
    before = server.path.stat().st_size
    times: list[float | None] = []
    with ExitStack() as stack:
        how = (flood.what, server.port, "0", str(lasting), str(flood.rate))
        attacker = Child(file, "attack", *how)
        stack.callback(attacker.stop)
        attacker.tell("go")
        if flood.seconds:
            honest = Child(file, "visit", server.port, str(flood.seconds), str(directory))
            stack.callback(honest.stop)
            time.sleep(HEAD_START)
            times = honest.ask("go")
        attacker.answer()
    return times, server.path.stat().st_size - before
