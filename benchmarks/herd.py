"""
What reaches a server that was restarted while thousands of clients were there.

First two simulations, with the policies that decide in real clients and time that
is not waited for: a server that dies, and one that is ended in order and asks its
clients to come back little by little. Then, smaller, the real thing: a server in a process of its
own is killed and started again, under clients over the loopback interface.
"""

from __future__ import annotations

import heapq
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import Clock, deferLater, react
from twisted.python.usage import Options, UsageError

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from thing import (
    Anyone,
    Cause,
    ClientSettings,
    EndReason,
    ErrorCode,
    IdentityKey,
    Limits,
    PinnedServers,
    ServerSettings,
    Termination,
)
from thing.endpoints import Backoff, ThingClientEndpoint, ThingClientService, ThingServerEndpoint

RATE = 400
"""How many handshakes a second the simulated server completes."""

DOWNTIME = 5.0
"""How long the simulated server is away, seconds."""

REAL_DOWNTIME = 2.0
"""How long the real one is at least, seconds: its start comes on top."""

PATIENCE = 75.0
"""How long the part with real clients may take, seconds."""

WIDTH = 24
"""The longest bar, characters."""

TRUNCATED = Termination(Cause.TRUNCATED)

Farewell = Callable[[random.Random], Termination]
"""How the session of one client ends."""

Pause = Callable[[float, "Termination | None"], float]
"""A client's policy: from the time and how it ended to how long to stay away."""


class HerdOptions(Options):
    """The command line."""

    synopsis = "python benchmarks/herd.py [--quick] [--simulation]"
    optFlags = [
        ["quick", None, "Fewer clients."],
        ["simulation", None, "Leave out the real clients."],
    ]


class Timeline:
    """
    What is to happen, in order.

    :ivar clock: shows the time; nothing waits for it.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()

    def after(self, delay: float, call: Callable[[], object]) -> None:
        """
        Let something happen.

        :param delay: from now, seconds.
        :param call: what.
        """
        heapq.heappush(self._events, (self.clock.seconds() + delay, next(self._order), call))

    def run(self) -> None:
        """Let everything happen."""
        while self._events:
            due, _, call = heapq.heappop(self._events)
            self.clock.advance(max(0.0, due - self.clock.seconds()))
            call()


@dataclass
class Curve:
    """What one policy brought about."""

    arrivals: Counter[int] = field(default_factory=Counter)
    """How many tries reached the server in each second from its return on."""

    back: Counter[int] = field(default_factory=Counter)
    """How many sessions came up in each."""

    refused: int = 0
    """How many tries came while nobody listened."""

    turnedAway: int = 0
    """How many were told that the server is busy."""

    last: float = 0.0
    """When the last client was back, seconds after the server was."""

    @property
    def nearlyAll(self) -> int:
        """In how many seconds 99 in 100 of those who came back were."""
        missing = sum(self.back.values()) * 0.99
        for second in sorted(self.back):
            missing -= self.back[second]
            if missing <= 0:
                return second + 1
        return 0

    def summary(self, name: str) -> str:
        """
        Sum up.

        :param name: of the policy.
        :return: one line.
        """
        return (
            f"{name}: peak {max(self.arrivals.values())} a second, all back after"
            f" {self.last:.1f} s, 99 in 100 within {self.nearlyAll} s;"
            f" {self.turnedAway} tries turned away, {self.refused} while nobody listened"
        )


class SimulatedServer:
    """Completes handshakes one by one, the oldest first, and sheds load as a ThingFactory does."""

    def __init__(self, timeline: Timeline, chance: random.Random, curve: Curve) -> None:
        """
        :param timeline: where its work goes on.
        :param chance: spreads what it asks of clients.
        :param curve: where it counts.
        """
        self._timeline = timeline
        self._chance = chance
        self._curve = curve
        self._limits = Limits()
        self._handshakes: deque[SimulatedClient] = deque()
        self._busy = False

    def arrive(self, client: SimulatedClient) -> None:
        """
        Take a connection, if there is anybody to take it.

        :param client: whose it is.
        """
        second = self._timeline.clock.seconds() - DOWNTIME
        if second < 0:
            self._curve.refused += 1
            client.lost(None)
            return
        self._curve.arrivals[int(second)] += 1
        self._handshakes.append(client)
        if len(self._handshakes) > self._limits.handshakes:
            self._curve.turnedAway += 1
            retryAfter = self._limits.retryAfter * (1 + self._chance.random())
            code = ErrorCode.SERVER_BUSY
            self._handshakes.popleft().lost(
                Termination(Cause.REJECTED, code, byPeer=True, retryAfter=retryAfter)
            )
        if not self._busy:
            self._busy = True
            self._timeline.after(1 / RATE, self._complete)

    def _complete(self) -> None:
        self._handshakes.popleft()
        since = self._timeline.clock.seconds() - DOWNTIME
        self._curve.back[int(since)] += 1
        self._curve.last = since
        self._busy = bool(self._handshakes)
        if self._busy:
            self._timeline.after(1 / RATE, self._complete)


class SimulatedClient:
    """Tries until it is back."""

    def __init__(self, timeline: Timeline, server: SimulatedServer, pause: Pause) -> None:
        """
        :param timeline: where it waits.
        :param server: where it wants to be.
        :param pause: its policy.
        """
        self._timeline = timeline
        self._server = server
        self._pause = pause

    def lost(self, termination: Termination | None) -> None:
        """
        Wait, and try again.

        :param termination: how it ended, if there was a stream.
        """
        pause = self._pause(self._timeline.clock.seconds(), termination)
        self._timeline.after(pause, partial(self._server.arrive, self))


def twisted(policy: Callable[[int], float]) -> Pause:
    """
    Count failures for a policy of Twisted's.

    :param policy: the policy.
    :return: what one client does.
    """
    failures = count(1)
    return lambda now, termination: policy(next(failures))


def killed(chance: random.Random) -> Termination:
    """:return: the end of a session whose server says nothing."""
    return TRUNCATED


def drained(clients: int, limits: Limits) -> Farewell:
    """
    Ask clients to leave, as a ThingFactory does when it drains.

    :param clients: how many.
    :param limits: the server's.
    :return: how the session of each ends.
    """
    spread = limits.spread(clients, limits.retryAfter)

    def farewell(chance: random.Random) -> Termination:
        away = limits.retryAfter + spread * chance.random()
        return Termination(Cause.GOODBYE, reason=EndReason.SHUTDOWN, retryAfter=away)

    return farewell


def simulate(
    clients: int, policyOf: Callable[[random.Random], Pause], farewell: Farewell = killed
) -> Curve:
    """
    End a server under its clients, and start it again.

    :param clients: how many.
    :param policyOf: makes the policy of one.
    :param farewell: how the sessions end.
    :return: what happened.
    """
    timeline, chance, curve = Timeline(), random.Random(1), Curve()
    server = SimulatedServer(timeline, chance, curve)
    for _ in range(clients):
        client = SimulatedClient(timeline, server, policyOf(chance))
        timeline.after(0, partial(client.lost, farewell(chance)))
    timeline.run()
    return curve


POLICIES: dict[str, Callable[[random.Random], Pause]] = {
    "Thing": lambda chance: Backoff(jitter=chance.random).down,
    "Twisted, default": lambda chance: twisted(backoffPolicy(jitter=chance.random)),
    "Twisted, no jitter": lambda chance: twisted(backoffPolicy(jitter=lambda: 0.0)),
}


def bars(curves: dict[str, Counter[int]]) -> str:
    """
    Draw histograms side by side.

    :param curves: by name, how many in each second.
    :return: a line for each second in which there was anything.
    """
    highest = max(max(curve.values()) for curve in curves.values())
    lines = ["second  " + "".join(f"{name:<{WIDTH + 7}}" for name in curves).rstrip()]
    for second in sorted(set().union(*curves.values())):
        line = f"{second:>6}  "
        for curve in curves.values():
            number = curve[second]
            bar = "#" * -(-number * WIDTH // highest)
            line += f"{number or '':>5} {bar:<{WIDTH}} "
        lines.append(line.rstrip())
    return "\n".join(lines)


def simulation(clients: int) -> None:
    """
    Compare the policies, and print.

    :param clients: how many.
    """
    print(
        f"{clients} clients lose a server that is back after {DOWNTIME:g} s"
        f" and completes {RATE} handshakes a second: tries that reach it\n"
    )
    curves = {name: simulate(clients, policyOf) for name, policyOf in POLICIES.items()}
    print(bars({name: curve.arrivals for name, curve in curves.items()}), end="\n\n")
    for name, curve in curves.items():
        print(curve.summary(name))


def restart(clients: int) -> None:
    """
    Compare what an orderly end asks of the clients, and print.

    :param clients: how many.
    """
    limits = Limits()
    spread = limits.spread(clients, limits.retryAfter)
    print(
        f"\n{clients} clients are asked to leave, and to come back after {limits.retryAfter:g} s"
        f" at the earliest, spread over {spread:g} s: tries that reach the server\n"
    )
    alone = replace(
        limits, returnsPerSecond=sys.maxsize
    )  # By --retry-after, whatever their number.
    policyOf = POLICIES["Thing"]
    curves = {
        "Thing, asked": simulate(clients, policyOf, drained(clients, limits)),
        "By retry-after alone": simulate(clients, policyOf, drained(clients, alone)),
    }
    print(bars({name: curve.arrivals for name, curve in curves.items()}), end="\n\n")
    for name, curve in curves.items():
        print(curve.summary(name))


# The real ones.


class Leash(Protocol):
    """Ends this process with the one that started it."""

    def connectionLost(self, reason: object = None) -> None:
        """Nobody holds it any more."""
        from twisted.internet import reactor

        reactor.stop()  # type: ignore[attr-defined]


async def serve(reactor: Any, port: str, keyFile: str) -> None:
    """
    Be the server, until it is killed or left alone.

    :param reactor: the reactor.
    :param port: where to listen on the loopback interface.
    :param keyFile: the server's key.
    """
    # All clients have one address here, and that is not what is measured.
    limits = Limits(handshakesPerAddress=Limits().handshakes)
    endpoint = ThingServerEndpoint(
        TCP4ServerEndpoint(reactor, int(port), interface="127.0.0.1"),
        ServerSettings(credential=IdentityKey.load(keyFile)),
        Anyone(),
        limits=limits,
    )
    listening = await endpoint.listen(Factory.forProtocol(Protocol))
    print(listening.getHost().port, flush=True)  # type: ignore[attr-defined]
    StandardIO(Leash())
    await Deferred()


def startServer(port: int, keyFile: Path) -> tuple[subprocess.Popen[str], int]:
    """
    Start the server.

    :param port: where it is to listen; zero for anywhere.
    :param keyFile: its key.
    :return: its process and its port; it listens already.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", str(port), str(keyFile)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None, "it has a pipe"
    return process, int(process.stdout.readline())


class CountingEndpoint:
    """Counts tries."""

    def __init__(self, endpoint: Any, tried: Callable[[], None]) -> None:
        """
        :param endpoint: connects.
        :param tried: called at each try.
        """
        self._endpoint = endpoint
        self._tried = tried

    def connect(self, factory: Any) -> Deferred[Any]:
        """
        Connect.

        :param factory: builds the protocol.
        :return: what the endpoint returns.
        """
        self._tried()
        return self._endpoint.connect(factory)


class Herd:
    """
    Real clients.

    :ivar up: how many sessions are up.
    """

    def __init__(self, reactor: Any, clients: int, port: int, fingerprint: str) -> None:
        """
        :param reactor: the reactor.
        :param clients: how many.
        :param port: where the server is.
        :param fingerprint: its key's.
        """
        self.up = 0
        self._reactor = reactor
        self._since: float | None = None
        self._end = time.monotonic() + PATIENCE
        self._curve = Curve()
        inner = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        pins = PinnedServers([fingerprint])
        self._services = [
            ThingClientService(
                CountingEndpoint(  # type: ignore[arg-type]
                    ThingClientEndpoint(
                        inner, ClientSettings(credential=IdentityKey.generate()), pins
                    ),
                    self._tried,
                ),
                Factory.forProtocol(Protocol),
                onUp=self._cameUp,
                onDown=self._wentDown,
            )
            for _ in range(clients)
        ]

    def start(self) -> None:
        """Start them, a hundred a second."""
        for index, service in enumerate(self._services):
            self._reactor.callLater(index / 100, service.startService)

    def stop(self) -> Deferred[Any]:
        """:return: fires when all have said goodbye."""
        return DeferredList([service.stopService() for service in self._services])

    def _tried(self) -> None:
        if self._since is None:
            self._curve.refused += 1
        else:
            self._curve.arrivals[int(time.monotonic() - self._since)] += 1

    def _cameUp(self, protocol: object) -> None:
        self.up += 1
        if self._since is not None:
            self._curve.last = time.monotonic() - self._since
            self._curve.back[int(self._curve.last)] += 1

    def _wentDown(self, reason: Any, delay: float | None) -> None:
        if hasattr(reason.value, "termination"):
            if reason.value.termination.cause is Cause.REJECTED:
                self._curve.turnedAway += 1
            else:
                self.up -= 1

    async def until(self, up: int) -> bool:
        """
        Wait until so many sessions are up.

        :param up: how many.
        :return: whether they are; False if it takes too long.
        """
        while self.up != up and time.monotonic() < self._end:
            await deferLater(self._reactor, 0.02)
        return self.up == up

    def count(self, since: float | None) -> Curve:
        """
        Begin to count anew.

        :param since: when the server was back; None while it is not.
        :return: what is counted from now on.
        """
        if since is None:
            self._curve = Curve()
        self._since = since
        return self._curve


async def measure(reactor: Any, clients: int, directory: Path) -> None:
    """
    Kill a real server under real clients, start it again, and print.

    :param reactor: the reactor.
    :param clients: how many.
    :param directory: where the key may be.
    """
    keyFile = directory / "key"
    fingerprint = IdentityKey.loadOrCreate(keyFile).fingerprint
    server, port = startServer(0, keyFile)
    herd = Herd(reactor, clients, port, fingerprint)
    try:
        herd.start()
        if not await herd.until(clients):
            sys.exit(f"only {herd.up} of {clients} clients came up")
        herd.count(None)
        server.kill()
        server.wait()
        await herd.until(0)
        await deferLater(reactor, REAL_DOWNTIME)
        server, _ = startServer(port, keyFile)
        curve = herd.count(time.monotonic())
        allBack = await herd.until(clients)
        print(f"\n{clients} real clients over 127.0.0.1 lose their server and find it again\n")
        print(bars({"tries": curve.arrivals, "sessions": curve.back}), end="\n\n")
        print(curve.summary("Thing, real"))
        if not allBack:
            sys.exit(f"only {herd.up} of {clients} clients came back")
        await herd.stop()
    finally:
        server.kill()
        server.wait()


def main(arguments: list[str]) -> None:
    """
    Simulate, measure and print.

    :param arguments: the command line.
    """
    if arguments[:1] == ["serve"]:  # It started itself.
        react(serve, arguments[1:])
    options = HerdOptions()
    try:
        options.parseOptions(arguments)
    except UsageError as error:
        sys.exit(f"{options}\n{error}")
    simulation(1000 if options["quick"] else 5000)
    restart(4000 if options["quick"] else 10_000)
    if not options["simulation"]:
        with tempfile.TemporaryDirectory(prefix="thing-benchmark-") as directory:
            react(measure, (50 if options["quick"] else 300, Path(directory)))


if __name__ == "__main__":
    main(sys.argv[1:])
