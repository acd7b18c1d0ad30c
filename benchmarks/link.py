"""
How much of a link with a delay ``thing:`` endpoints fill, beside TLS and TCP in the same run.

Run from anywhere, as root, on Linux::

    python benchmarks/link.py [--quick] [--json FILE] [--rate MBIT] [--round-trip MS]

Two network namespaces are made, each with a TUN device, and this program carries the packets
between them: so many bits a second, so much later, and none beyond a queue. Server and client
are processes in one namespace each, the same for all peers but for their endpoints.
Without root or ``/dev/net/tun`` it says that it was left out, and exits with status 0.

``python link.py serve KIND DIRECTORY`` and ``python link.py visit KIND DIRECTORY SIZE`` are the
two processes.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    SSL4ClientEndpoint,
    SSL4ServerEndpoint,
    clientFromString,
    serverFromString,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import react
from twisted.python.failure import Failure
from twisted.python.usage import Options, UsageError

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import credentials
from jobs import SIZE_LENGTH
from processes import reaped

from tests.rig.check import LeftOut
from tests.rig.network import ADDRESSES, Link, needNetwork, network, within
from thing.trust.keys import fingerprint, parsePublicKey

KINDS = ("TCP", "TLS", "Thing")

PORT = 9000
MIB = 1 << 20

PATIENCE = 300.0
"""How long one transfer may take, seconds."""

DIRECTIONS = {"up": 1, "down": -1}
"""To the server and to the client, with the sign of their sizes."""

GOAL = 0.9
"""How much of TLS's throughput Thing's has to reach."""


class Taking(Protocol):
    """Counts octets; told how many are to come, it says when all have."""

    def __init__(self) -> None:
        """Nothing is to come yet."""
        self._left = 0
        self._sent = False

    def dataReceived(self, data: bytes) -> None:
        """
        Server: take the size, negative for one to send; then what comes.

        :param data: the octets.
        """
        if not self._left:
            self._left = int.from_bytes(data[:SIZE_LENGTH], "big", signed=True)
            data = data[SIZE_LENGTH:]
            if self._left < 0:
                self.transport.write(bytes(-self._left))
                self._left = 0
                return
        self._left -= len(data)
        if self._left <= 0:
            self._left = 0
            self.transport.write(b"!")


class Visit(Protocol):
    """One transfer: sends all and waits for the answer, or asks for all and waits for the last."""

    def __init__(self, size: int) -> None:
        """:param size: how many octets, negative for those that the server sends."""
        self._size = size
        self.done: Deferred[float] = Deferred()
        self._left = 1 if size > 0 else -size
        self._began = 0.0

    def connectionMade(self) -> None:
        """Begin."""
        self._began = time.monotonic()
        content = bytes(max(0, self._size))
        self.transport.write(self._size.to_bytes(SIZE_LENGTH, "big", signed=True) + content)

    def dataReceived(self, data: bytes) -> None:
        """
        Count.

        :param data: the octets.
        """
        self._left -= len(data)
        if self._left <= 0:
            self.done.callback(time.monotonic() - self._began)
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        It ended.

        :param reason: why.
        """
        if not self.done.called:
            self.done.errback(reason)


async def serve(reactor: Any, kind: str, directory: str) -> None:
    """
    Serve until the standard input ends.

    :param reactor: the reactor.
    :param kind: one of :data:`KINDS`.
    :param directory: the credentials.
    """
    endpoint = endpointOf(reactor, kind, Path(directory), "server")
    await endpoint.listen(Factory.forProtocol(Taking))
    print("ready", flush=True)
    ended: Deferred[None] = Deferred()
    threading.Thread(
        target=lambda: (sys.stdin.read(), reactor.callFromThread(ended.callback, None)), daemon=True
    ).start()
    await ended


async def visit(reactor: Any, kind: str, directory: str, size: str) -> None:
    """
    Make one transfer and print how long it took, seconds.

    :param reactor: the reactor.
    :param kind: one of :data:`KINDS`.
    :param directory: the credentials.
    :param size: as :class:`Visit` takes it.
    """
    endpoint = endpointOf(reactor, kind, Path(directory), "client")
    protocol = await endpoint.connect(_factory(Visit(int(size))))
    print(await protocol.done, flush=True)


def _factory(protocol: Protocol) -> Factory:
    factory = Factory()
    factory.buildProtocol = lambda _: protocol  # type: ignore[method-assign]
    return factory


def endpointOf(reactor: Any, kind: str, directory: Path, role: str) -> Any:
    """
    One side's endpoint, set up as its users would.

    :param reactor: the reactor.
    :param kind: one of :data:`KINDS`.
    :param directory: the credentials.
    :param role: ``server`` or ``client``.
    :return: the endpoint.
    """
    host = ADDRESSES[0]
    if kind == "Thing":
        key = f"identity={directory / f'thing-{role}'}"
        if role == "server":
            things = directory / "authorized"
            return serverFromString(reactor, f"thing:{PORT}:{key}:authorized={things}")
        public = parsePublicKey((directory / "thing-server.pub").read_text())
        known = fingerprint(public).removeprefix("SHA256:")
        return clientFromString(reactor, f"thing:{host}:{PORT}:{key}:serverKey={known}")
    if kind == "TLS":
        options = credentials.tlsOptions(directory, role, "ed25519", mutual=True)
        if role == "server":
            return SSL4ServerEndpoint(reactor, PORT, options)
        return SSL4ClientEndpoint(reactor, host, PORT, options)
    if role == "server":
        return serverFromString(reactor, f"tcp:{PORT}")
    return clientFromString(reactor, f"tcp:{host}:{PORT}")


@contextmanager
def serving(namespace: str, kind: str, directory: str) -> Iterator[None]:
    """
    A server's process.

    :param namespace: where.
    :param kind: one of :data:`KINDS`.
    :param directory: the credentials.
    """
    process = subprocess.Popen(
        within(namespace, __file__, "serve", kind, directory),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None, "it has pipes"
    try:
        if not process.stdout.readline():
            raise RuntimeError("the server did not start")
        yield
    finally:
        process.stdin.close()
        reaped(process)
        process.stdout.close()


def transfer(namespace: str, kind: str, directory: str, size: int) -> float:
    """
    Make one transfer, in a process of its own.

    :param namespace: where the client is.
    :param kind: one of :data:`KINDS`.
    :param directory: the credentials.
    :param size: as :class:`Visit` takes it.
    :return: how long it took, seconds.
    """
    done = subprocess.run(
        within(namespace, __file__, "visit", kind, directory, str(size)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=True,
    )
    return float(done.stdout)


def measure(link: Link, size: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """
    Make all transfers, the peers by turns.

    :param link: what the network is like.
    :param size: how much, octets.
    :param rounds: how often.
    :return: for each direction and peer, octets a second.
    """
    found: dict[str, dict[str, list[float]]] = {
        direction: {kind: [] for kind in KINDS} for direction in DIRECTIONS
    }
    with tempfile.TemporaryDirectory() as directory, network(link) as hosts:
        credentials.create(Path(directory))
        for _ in range(rounds):
            for kind in KINDS:
                with serving(hosts.server, kind, directory):
                    for direction, sign in DIRECTIONS.items():
                        took = transfer(hosts.client, kind, directory, sign * size)
                        found[direction][kind].append(size / took)
    return found


def report(found: dict[str, dict[str, list[float]]]) -> bool:
    """
    Print the table.

    :param found: what :func:`measure` found.
    :return: whether the goal is met.
    """
    print("direction  " + "".join(f"{kind:>12}" for kind in KINDS) + "  Thing / TLS")
    met = True
    for direction, figures in found.items():
        medians = {kind: statistics.median(figures[kind]) for kind in KINDS}
        ratio = medians["Thing"] / medians["TLS"]
        met = met and ratio >= GOAL
        row = "".join(f"{medians[kind] / 1e6:>7.2f} MB/s" for kind in KINDS)
        print(f"{direction:<11}{row}{ratio:>13.2f}")
    print(f"goal: at least {GOAL} of TLS each way: {'met' if met else 'missed'}")
    return met


class LinkOptions(Options):
    """The command line."""

    optFlags = [["quick", None, "4 MiB, once, instead of 16 MiB three times."]]
    optParameters = [
        ["json", None, None, "Write every figure into this file."],
        ["rate", None, 200.0, "Megabits a second.", float],
        ["round-trip", None, 100.0, "Milliseconds.", float],
    ]


def main() -> None:
    """
    Measure, or say why not.

    :raises SystemExit: by whether the goal is met, or if the command line is wrong.
    """
    options = LinkOptions()
    try:
        options.parseOptions()
        needNetwork()
    except UsageError as error:
        raise SystemExit(f"{error}\n{options}") from None
    except LeftOut as missing:
        print(f"left out: {missing}")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # The namespaces go, however it ends.
    link = Link(options["rate"] * 1e6, options["round-trip"] / 1000)
    size, rounds = (4 * MIB, 1) if options["quick"] else (16 * MIB, 3)
    print(
        f"{size // MIB} MiB over {options['rate']:g} Mbit/s with a round trip of"
        f" {options['round-trip']:g} ms, the median of {rounds}"
    )
    found = measure(link, size, rounds)
    if options["json"]:
        Path(options["json"]).write_text(json.dumps(found, indent=1) + "\n")
    raise SystemExit(0 if report(found) else 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        react(serve, sys.argv[2:])
    elif sys.argv[1:2] == ["visit"]:
        react(visit, sys.argv[2:])
    else:
        main()
