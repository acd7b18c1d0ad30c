"""
A soak: many sessions in child processes that come to every kind of end, and books of them.

A small one is a test (``tests/test_soak.py``), a large one a benchmark
(``benchmarks/soak.py``). The books are kept twice, by the server and by the
clients; :meth:`Soak.imbalance` compares them, session by session.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import deferLater

from tests.clients import Choices, ClientProcess
from tests.pairs import freshServer
from thing.core.heartbeat import TtlPolicy
from thing.core.limits import Limits
from thing.events import Cause, Termination
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol
from thing.trust.authorized import Anyone

PAIRS = {
    Cause.GOODBYE: Cause.GOODBYE,
    Cause.ABORTED: Cause.TRUNCATED,
}
"""How a client's end is told by the server, for those clients that live to tell."""


@dataclass(frozen=True)
class Plan:
    """How large a soak is."""

    processes: int = 8
    perProcess: int = 25
    killed: int = 2
    """How many of the processes are killed."""
    frozen: int = 2
    """How many are stopped, and never go on."""
    duration: float = 3.0
    """For how long after all are up the ends are spread, seconds."""
    ttl: float = 4.0
    """The TTL, seconds."""
    patience: float = 60.0
    """How long each phase may take at most, seconds."""
    seed: int = 1

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return self.processes * self.perProcess


class Booked(ThingProtocol):
    """A server's side, which enters its end in the factory's book."""

    factory: SoakFactory

    def terminated(self, termination: Termination) -> None:
        if self.session is not None:
            self.factory.book[self.sessionId].append(termination.cause)

    def handshakeCompleted(self) -> None:
        self.factory.book[self.sessionId] = []

    def heartbeatLate(self, silence: float) -> None:
        self.factory.late += 1

    def heartbeatReceived(self, sequence: int, roundTripTime: float | None) -> None:
        self.factory.beats += 1
        self.factory.slowest = max(self.factory.slowest, roundTripTime or 0.0)


class SoakFactory(ThingFactory):
    """
    The server.

    :ivar book: the causes of each session's ends, by its id; there must be one each.
    """

    protocol = Booked

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            freshServer(ttl=TtlPolicy(default=plan.ttl)),
            Anyone(),
            # All come at once, and from one address.
            limits=Limits(
                handshakes=plan.sessions,
                handshakesPerAddress=plan.sessions,
                sessions=plan.sessions,
            ),
        )
        self.book: dict[str, list[Cause]] = {}
        self.beats = 0
        self.late = 0
        self.slowest = 0.0
        self.worstLag = 0.0

    def loopLagged(self, seconds: float) -> None:
        super().loopLagged(seconds)
        self.worstLag = max(self.worstLag, seconds)


class Soak:
    """One run."""

    def __init__(self, plan: Plan, reactor: Any) -> None:
        self.plan = plan
        self.reactor = reactor
        self.factory = SoakFactory(plan)
        self.random = random.Random(plan.seed)
        self.processes: list[ClientProcess] = []
        self.killed: list[ClientProcess] = []
        self.frozen: list[ClientProcess] = []
        self.seconds: dict[str, float] = {}

    @inlineCallbacks
    def until(self, what: str, condition: Callable[[], object]) -> Generator[Any, Any, None]:
        """Wait for a phase to end, and note how long it took."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() > began + self.plan.patience:
                raise TimeoutError(f"{what}: not within {self.plan.patience:g} s; {self.state()}")
            yield deferLater(self.reactor, 0.01)
        self.seconds[what] = time.monotonic() - began

    def state(self) -> str:
        """Where it stands, for a failure's message."""
        failed = [failure for process in self.processes for failure in process.failed]
        return f"{len(self.factory.sessions)} sessions are up; {failed[:3]}"

    @inlineCallbacks
    def run(self) -> Generator[Any, Any, None]:
        """Run it, and leave nothing behind however it goes."""
        port = self.reactor.listenTCP(0, self.factory, interface="127.0.0.1", backlog=1024)
        try:
            yield from self.course(port.getHost().port)
        finally:
            for process in self.processes:
                process.end()
            yield self.until(
                "processes ended", lambda: all(process.over for process in self.processes)
            )
            yield port.stopListening()

    def course(self, port: int) -> Generator[Any, Any, None]:
        """Up, ends of every kind, drained, over."""
        plan = self.plan
        for number in range(plan.processes):
            stays = number < plan.killed + plan.frozen
            choices = Choices(
                port, plan.perProcess, not stays, plan.duration, seed=plan.seed + number
            )
            self.processes.append(ClientProcess(choices).start(self.reactor))
        self.killed = self.processes[: plan.killed]
        self.frozen = self.processes[plan.killed : plan.killed + plan.frozen]
        yield self.until("all up", lambda: len(self.factory.book) >= plan.sessions)
        for process in self.killed:
            self.signalLater(process, "KILL")
        for process in self.frozen:
            self.signalLater(process, "STOP")
        yield deferLater(self.reactor, plan.duration)
        stopped = {identifier for process in self.frozen for identifier in process.up}
        yield self.until(
            "frozen flat-lined",
            lambda: not any(one.sessionId in stopped for one in self.factory.sessions),
        )
        drained = self.factory.drain(plan.patience / 2)
        yield drained
        yield self.until("all gone", lambda: not self.factory.door.connected)
        live = [one for one in self.processes if one not in self.frozen]
        yield self.until("clients ended", lambda: all(process.over for process in live))

    def signalLater(self, process: ClientProcess, signal: str) -> None:
        """Kill or stop a process at some moment."""
        self.reactor.callLater(
            self.random.uniform(0, self.plan.duration), process.transport.signalProcess, signal
        )

    def imbalance(self) -> list[str]:
        """Compare the books; what does not balance, one line each."""
        wrong = [failure for process in self.processes for failure in process.failed]
        told = set()
        for process in self.processes:
            told |= process.up
            for identifier in process.up:
                wrong += self._compare(process, identifier)
        wrong += [f"{one}: no client knows it" for one in self.factory.book.keys() - told]
        if len(told) != self.plan.sessions:
            wrong.append(f"{len(told)} of {self.plan.sessions} sessions came up")
        return wrong

    def _compare(self, process: ClientProcess, identifier: str) -> list[str]:
        if process in self.killed:
            client, expected = None, Cause.TRUNCATED
        elif process in self.frozen:
            client, expected = None, Cause.FLAT_LINED
        else:
            end = process.ends.get(identifier)
            if end is None:
                return [f"{identifier}: the client never told its end"]
            client, maybe = end.cause, PAIRS.get(end.cause)
            if maybe is None:
                return [f"{identifier}: a client ended by {end.cause.name}"]
            expected = maybe
        server = self.factory.book.get(identifier)
        if server != [expected]:
            return [f"{identifier}: the client tells {client}, the server {server}"]
        return []

    def table(self) -> str:
        """What happened, for people."""
        server = Counter(cause for causes in self.factory.book.values() for cause in causes)
        client = Counter(end.cause for one in self.processes for end in one.ends.values())
        lines = [f"{'':24}{'server':>10}{'clients':>10}"]
        lines += [
            f"{cause.name:24}{server[cause]:>10}{client[cause]:>10}"
            for cause in Cause
            if server[cause] or client[cause]
        ]
        silent = sum(len(process.up) for process in self.killed + self.frozen)
        lines.append(f"{'killed or frozen':24}{'':10}{silent:>10}")
        lines.append(f"{'all':24}{server.total():>10}{client.total() + silent:>10}")
        lines.append("")
        lines += [
            f"{name:34}{value}"
            for name, value in (
                ("heartbeats", self.factory.beats),
                ("late heartbeats", self.factory.late),
                ("slowest heartbeat, ms", f"{self.factory.slowest * 1000:.1f}"),
                ("worst loop lag, ms", f"{self.factory.worstLag * 1000:.1f}"),
                *((f"{what}, s", f"{took:.2f}") for what, took in self.seconds.items()),
            )
        ]
        return "\n".join(lines)
