"""
Of many sessions of every fate, each is accounted once, told alike by both sides, and nothing grows.

A server, ``twistd thing``, has 1,500 things in ten processes. They come, resume, ask, stream, say
goodbye, abort, are sent away, have another session that replaces the one they have, and come back;
somebody else comes in between whom the server refuses. Now and then the keys of a process are taken
out of the file of those who are admitted, until all of its sessions are over; or a process is
killed, or stands still until the server has found it and is killed then, and another takes its
place. In the end all say goodbye. The books are the server's log and what the things have told:
every session that began must have ended once, as the other side knows it, and the server's metrics
must say the same. Its memory must not grow after the first third of the time.

``python -m tests.rig soak`` takes 15 minutes, and as many as the environment's ``SOAK_MINUTES``.
In the first few the memory does grow, until the server has the 10,000 latest events that it keeps.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, linear_regression
from typing import Any

from twisted.internet.protocol import Factory, Protocol

from benchmarks import credentials
from benchmarks.churn import Metrics
from benchmarks.processes import freePort, memoryOf, untilListening
from benchmarks.startup import TWISTD
from tests import PROJECT
from tests.rig import check as rig
from tests.rig.crowd import DISMISS, HANDSHAKE, LABEL
from thing import ThingFactory, ThingProtocol
from thing.errors import EndReason

PATIENCE = 300.0
"""How long things may take to come, or to leave, seconds."""

GROWTH = 0.05
"""By how much of itself the memory may grow in the last two thirds."""

LATEST = 2.0
"""
How long after its TTL the last frozen session is found at the latest, seconds: the tolerance of the
measurement. A server that has the time to look at its clock finds it at once, and the books are
read some time later (:data:`LOOK`): both took 0.1 s in an hour on a busy machine, and 1.8 s where
work of a higher priority left them little of it. Who was saying goodbye has as long as a close may
take, which is no longer than the TTL of the long form.
"""

MIB = 1 << 20

LOOK = 0.2
"""How often the books are read, seconds."""


@dataclass(frozen=True)
class Plan:
    """How much, how long."""

    processes: int
    perProcess: int
    seconds: float
    """How long it goes on when all have come, seconds."""
    ttl: float
    life: float
    """How long a session lives on average, seconds."""
    blows: int
    """How many processes something is done to, of :data:`BLOWS` by turns."""


BLOWS = ("revoked", "killed", "frozen")
"""What is done to a process: its keys are admitted no more for a while, or itself is struck."""

SHORT = Plan(processes=2, perProcess=10, seconds=2.0, ttl=1.0, life=1.0, blows=3)


def longPlan() -> Plan:
    """What the environment asks for."""
    seconds = 60 * float(os.environ.get("SOAK_MINUTES", "15"))
    blows = max(len(BLOWS), int(seconds / 120))
    return Plan(processes=10, perProcess=150, seconds=seconds, ttl=30.0, life=120.0, blows=blows)


# The server's side.


class Answering(ThingProtocol):
    """Answers every request with itself, and sends away who asks for it."""

    def requestReceived(self, data: bytes) -> bytes:
        """:return: the answer."""
        if data == DISMISS:
            self.goAway(EndReason.CLOSING)
        return data


class Echo(Protocol):
    """Sends everything back."""

    def dataReceived(self, data: bytes) -> None:
        """:param data: what came."""
        assert self.transport is not None, "it is connected"
        self.transport.write(data)


class Echoing(ThingFactory):
    """What ``--factory`` names."""

    protocol = Answering

    def __init__(self, *arguments: Any, **others: Any) -> None:
        """:param arguments: of a factory."""
        super().__init__(*arguments, **others)
        self.serve(LABEL, Factory.forProtocol(Echo))


# The books.


class Lines:
    """Reads the lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        """:param path: the file, which is there."""
        self._file = path.open("rb")
        self._rest = b""

    def more(self) -> list[str]:
        """:return: those that are new."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [line.decode() for line in lines]


@dataclass
class Crowd:
    """A process of things, and what it told."""

    process: subprocess.Popen[bytes]
    lines: Lines
    fate: str = ""
    """How it was struck, if it was."""
    revoked: bool = False
    """Whether its keys were not admitted for a while."""
    up: dict[str, str] = field(default_factory=dict)
    """By session, how it ended; empty if it was not told."""
    counts: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    """How many sessions ended for silence."""
    wrong: list[str] = field(default_factory=list)

    def read(self) -> None:
        """Take note of what it has told since."""
        for line in self.lines.more():
            fact, _, about = line.partition(" ")
            if fact == "up":
                identifier, how = about.split()
                self.up[identifier] = ""
                self.counts[how] += 1
            elif fact == "end":
                identifier, cause, *reason = about.split()
                self.up[identifier] = cause
                self.counts[cause] += 1
                self.counts.update(reason)
                self.lost += cause in LOST and reason in SILENCE
            elif fact in ("refused", "barred"):
                self.counts[fact] += 1
                if about != "NOT_AUTHORIZED" or (fact == "barred" and not self.revoked):
                    self.wrong.append(line)
            elif fact == "away":
                self.counts["away"] += 1
            else:
                self.wrong.append(line)

    @property
    def open(self) -> list[str]:
        """The sessions of which it has told no end."""
        return [identifier for identifier, cause in self.up.items() if not cause]


LOST = ("LAPSED", "FLAT_LINED")
SILENCE = ([], [EndReason.HEARTBEAT_MISSED.name])
"""How things are lost that nothing was done to, and for which of the server's reasons."""

TOLD = {
    "GOODBYE": {"GOODBYE"},
    "ABORTED": {"TRUNCATED"},
    "LAPSED": {"FLAT_LINED", "TRUNCATED"},
    "FLAT_LINED": {"FLAT_LINED"},
}
"""By what a thing tells of its end, what the server tells."""

SILENT = {
    "killed": {"TRUNCATED", "GOODBYE"},  # It may have been about to tell.
    "frozen": {"FLAT_LINED", "GOODBYE", "TRUNCATED", "ABORTED"},  # Likewise; or in its goodbye.
}
"""By what was done to its process, what the server tells of a thing that told no end."""


class Soak:
    """One run."""

    def __init__(self, plan: Plan, directory: Path, onto: ExitStack) -> None:
        """
        :param plan: how much, how long.
        :param directory: for the credentials and what the processes write; empty.
        :param onto: ends them.
        """
        self.plan, self._directory, self._onto = plan, directory, onto
        credentials.create(directory, plan.processes * plan.perProcess)
        self._keys = (directory / "authorized").read_text()
        self._port, self._status = freePort(), freePort()
        self.server = self._start(
            "server",
            *("-c", TWISTD, "--nodaemon", "--pidfile=", "thing", "--log-format=json"),
            *("--port", f"tcp:{self._port}:interface=127.0.0.1", "--status", str(self._status)),
            *("--identity", f"{directory}/thing-server", "--authorized", f"{directory}/authorized"),
            *("--factory", "tests.rig.soak.Echoing", "--ttl", f"{plan.ttl:g}"),
            *("--handshake-timeout", f"{HANDSHAKE:g}", "--max-handshakes-per-address", "1000"),
        )
        untilListening(self._port)
        untilListening(self._status)
        self._log = Lines(directory / "server")
        self.book: dict[str, list[str]] = {}
        self.faults: list[str] = []
        self.crowds: list[Crowd] = []
        self._here = [self._begin(number) for number in range(plan.processes)]
        self.memory: list[tuple[float, int]] = []
        self.latest = 0.0

    def _start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        with (self._directory / name).open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *words],
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
                cwd=self._directory,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )
        self._onto.callback(process.wait)
        self._onto.callback(process.kill)
        return process

    def _begin(self, number: int) -> Crowd:
        """Have a process of things."""
        name, count = f"crowd-{len(self.crowds)}", self.plan.perProcess
        words = (self._port, self._directory, number * count, count, self.plan.life)
        process = self._start(name, "-m", "tests.rig.crowd", *map(str, words))
        crowd = Crowd(process, Lines(self._directory / name))
        self.crowds.append(crowd)
        return crowd

    # What is known.

    def read(self) -> None:
        """Bring the books up to date."""
        for line in self._log.more():
            entry = json.loads(line)
            identifier = entry.get("sessionId")
            if entry["level"] in ("error", "critical"):
                self.faults.append(entry["message"])
            elif identifier and "cause" in entry:
                self.book[identifier].append(entry["cause"])
            elif identifier and "established" in entry:
                self.book[identifier] = []
        for crowd in self.crowds:
            crowd.read()

    def until(self, done: Any, what: str, patience: float = PATIENCE) -> float:
        """Read the books until something is so; says after how many seconds it was."""
        began = time.monotonic()
        while not done():
            if time.monotonic() > began + patience:
                self.faults.append(f"{what}: not within {patience:g} s")
                break
            time.sleep(LOOK)
            self.read()
        return time.monotonic() - began

    # What is done.

    def run(self) -> None:
        """All come, some are struck, all leave."""
        plan = self.plan
        most = plan.processes * plan.perProcess
        self.until(lambda: len(self.book) >= 0.9 * most, "all come")
        began = time.monotonic()
        for blow in range(plan.blows):
            self._goOn(began + plan.seconds * (blow + 0.5) / plan.blows, began)
            self._strike(blow % plan.processes, BLOWS[blow % len(BLOWS)])
        self._goOn(began + plan.seconds, began)
        for crowd in self._here:
            assert crowd.process.stdin is not None, "it has a pipe"
            crowd.process.stdin.close()
        self.until(lambda: all(one.process.poll() is not None for one in self._here), "all leave")
        self.until(lambda: all(self.book.values()), "all are gone")

    def _goOn(self, until: float, began: float) -> None:
        """Read the books, and look at the server's memory."""
        while (now := time.monotonic()) < until:
            self.read()
            self.memory.append((now - began, memoryOf(self.server.pid)))
            time.sleep(min(until - now, self.plan.seconds / 200))

    def _strike(self, number: int, blow: str) -> None:
        """Kill a process of things, or freeze it or revoke its keys until its sessions are over."""
        crowd = self._here[number]
        if blow == "revoked":
            crowd.revoked = True
            self._admit(number)
            self._untilOver(crowd, "revoked ones are gone")
            self._admit()
            return
        crowd.fate = blow
        if blow == "frozen":
            crowd.process.send_signal(signal.SIGSTOP)
            took = self._untilOver(crowd, "frozen ones are found")
            self.latest = max(self.latest, took - self.plan.ttl)
        crowd.process.kill()
        crowd.process.wait()
        self._here[number] = self._begin(number)

    def _untilOver(self, crowd: Crowd, what: str) -> float:
        """Wait for the end of all sessions that a process has now, as :meth:`until` does."""
        self.read()
        those = [each for each in crowd.open if each in self.book]
        return self.until(lambda: all(self.book[each] for each in those), what)

    def _admit(self, without: int | None = None) -> None:
        """Have the server admit the things of all processes, or of all but one."""
        lines = self._keys.splitlines(keepends=True)
        if without is not None:
            first = 1 + without * self.plan.perProcess  # The first key is nobody's here.
            del lines[first : first + self.plan.perProcess]
        new = self._directory / "authorized.new"
        new.write_text("".join(lines))
        new.replace(self._directory / "authorized")
        self.server.send_signal(signal.SIGHUP)

    # What came of it.

    def imbalance(self) -> Iterator[str]:
        """Compare the books; what does not balance."""
        yield from self.faults
        known: dict[str, tuple[str, str]] = {}
        for crowd in self.crowds:
            yield from crowd.wrong
            known.update((each, (crowd.fate, cause)) for each, cause in crowd.up.items())
        unheard = [each for each in self.book if each not in known]
        # Their process was struck as they came up, or it had not the time to hear of it.
        if len(unheard) > self.struck + self.counts["away"]:
            yield f"{len(unheard)} sessions that no thing knows"
        for identifier, (fate, cause) in known.items():
            ended = self.book.get(identifier)
            expected = (TOLD if cause else SILENT).get(cause or fate, set())
            if ended is None or len(ended) != 1 or ended[0] not in expected:
                told = f"the thing tells {cause or 'nothing'}, the server {ended}"
                yield f"{identifier} ({fate or 'not struck'}): {told}"

    def counted(self) -> Iterator[str]:
        """Compare the server's metrics with its log; what is not the same."""
        metrics = Metrics(self._status)
        begun = sum(
            metrics.total("thing_handshakes_total", f'result="{result}"')
            for result in ("ESTABLISHED", "RESUMED")
        )
        if begun != len(self.book):
            yield f"{begun:g} sessions in the metrics, {len(self.book)} in the log"
        ended = Counter(cause for causes in self.book.values() for cause in causes)
        for cause in ("GOODBYE", "TRUNCATED", "FLAT_LINED", "ABORTED", "LAPSED", "PROTOCOL_ERROR"):
            terminated = metrics.total("thing_terminations_total", f'cause="{cause}"')
            if terminated != ended[cause]:
                yield f"{cause}: {terminated:g} in the metrics, {ended[cause]} in the log"
        refused = metrics.total("thing_handshakes_total", 'result="NOT_AUTHORIZED"')
        told = self.counts["refused"] + self.counts["barred"]
        if not 0 <= refused - told <= self.struck:
            yield f"{refused:g} refused in the metrics, {told} told"
        held = metrics.figure("thing_held_bytes")
        if held:
            yield f"{held:g} octets are held for nobody"

    @property
    def counts(self) -> Counter[str]:
        """What the things have told."""
        return sum((crowd.counts for crowd in self.crowds), Counter())

    @property
    def struck(self) -> int:
        """How many things were killed or frozen."""
        return sum(self.plan.perProcess for crowd in self.crowds if crowd.fate)

    @property
    def growth(self) -> tuple[float, float]:
        """The server's memory on average of the last two thirds, and its growth, octets."""
        samples = [each for each in self.memory if each[0] > self.plan.seconds / 3]
        times, sizes = [list(map(float, each)) for each in zip(*samples, strict=True)]
        slope, middle = linear_regression(times, sizes).slope, fmean(sizes)
        return middle, slope * (times[-1] - times[0])


# The check.


def check(short: bool) -> Iterator[rig.Row]:
    """
    Try it.

    :param short: in the short form.
    """
    with tempfile.TemporaryDirectory(prefix="thing-rig-") as name, ExitStack() as onto:
        soak = Soak(SHORT if short else longPlan(), Path(name), onto)
        soak.run()
        counted = [*soak.counted()]
        yield from judged(soak, counted, short)


def judged(soak: Soak, counted: list[str], short: bool) -> Iterator[rig.Row]:
    """
    Say what came of it.

    :param soak: is over.
    :param counted: in what the metrics differ.
    :param short: whether it was too short for every fate and to say anything of memory, and the
        TTL too short for a machine that does much else.
    """
    counts, wrong = soak.counts, [*soak.imbalance()]
    parts = ("GOODBYE", "ABORTED", "resumed", "refused")
    asked = ("CLOSING", "REPLACED", "REVOKED")
    away = f", {counts['away']} turned away" if counts["away"] else ""
    silent = Counter(crowd.fate for crowd in soak.crowds for _ in crowd.open)
    figure = ", ".join(f"{counts[part]} {part.lower()}" for part in parts) + away
    every = short or all(counts[part] for part in (*parts, *asked))
    yield rig.Row(f"{len(soak.book)} sessions came", figure, every)
    figure = ", ".join(f"{counts[part]} {part}" for part in asked)
    yield rig.Row("ended as the server asked for it", figure, every)
    struck = f"{silent['killed']} killed, {silent['frozen']} frozen"
    both = short or len(silent) == 2
    yield rig.Row("sessions whose process was struck", struck, both)
    yield rig.Row("told alike, once, by both sides", f"{len(wrong)} were not", not wrong)
    yield from (rig.Row(each, "", False) for each in wrong[:10])
    lost = sum(crowd.lost for crowd in soak.crowds)
    yield rig.Row("lost, and nothing was done to them", f"{lost} sessions", short or not lost)
    found = f"{max(0.0, soak.latest):.1f} s after the TTL"
    yield rig.Row("the last frozen one was found", found, short or soak.latest < LATEST)
    yield rig.Row("the metrics are the books'", f"{len(counted)} are not", not counted)
    yield from (rig.Row(each, "", False) for each in counted)
    if not short:
        size, grown = soak.growth
        figure = f"{size / MIB:.1f} MiB, {grown / MIB:+.2f} in {soak.plan.seconds / 90:.0f} minutes"
        yield rig.Row("the server's memory", figure, grown < GROWTH * size)
