"""
Sessions on thin and lossy links that carry as much as they can, both ways: none may be lost.

Run from anywhere, as root, on Linux::

    python benchmarks/thin.py [--quick] [--json FILE]

The network is that of ``link.py``. Each row is one session with bulk data in both directions, an
application that takes everything at once, and heartbeats in between; it says how long a heartbeat
took at worst, and whether the session lived. Without root or ``/dev/net/tun`` it says that it was
left out, and exits with status 0. The exit status is 1 if a session was lost.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.task import deferLater, react
from twisted.python.usage import Options

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import credentials
from link import ADDRESSES, PORT, Link, canMeasure, inside, network

from thing import (
    AuthorizedThings,
    ClientSettings,
    IdentityKey,
    PinnedServers,
    ServerSettings,
    ThingFactory,
    ThingProtocol,
)
from thing.trust.keys import fingerprint, parsePublicKey

MESSAGE = bytes(4096)


@dataclass(frozen=True)
class Row:
    """One link, and one session on it."""

    name: str
    rate: float
    """Bits a second."""
    roundTrip: float
    """Seconds."""
    ttl: float
    """Seconds."""
    loss: float = 0.0
    """Of the packets, each way."""


ROWS = (
    Row("64 kbit/s, TTL 5 s", 64e3, 0.1, 5.0),
    Row("64 kbit/s, TTL 30 s", 64e3, 0.1, 30.0),
    Row("32 kbit/s, TTL 30 s", 32e3, 0.1, 30.0),
    Row("128 kbit/s, TTL 5 s", 128e3, 0.1, 5.0),
    Row("1 Mbit/s, TTL 2 s", 1e6, 0.05, 2.0),
    Row("1 Mbit/s, 20 % loss, TTL 10 s", 1e6, 0.05, 10.0, 0.2),
)


class Bulk(ThingProtocol):
    """Sends as much as it may, and takes as much as comes."""

    received = 0
    worst = 0.0
    beats = 0

    def handshakeCompleted(self) -> None:
        """Begin."""
        self.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Send one more (``IPullProducer``), or go on with what is held (``IPushProducer``)."""
        self.sendMessage(MESSAGE)

    def stopProducing(self) -> None:
        """Send no more (``IPullProducer``)."""

    def messageReceived(self, message: bytes) -> None:
        """
        Count it.

        :param message: some octets.
        """
        self.received += len(message)

    def heartbeatAcknowledged(self, sequence: int, roundTripTime: float) -> None:
        """
        Note how long a heartbeat took.

        :param sequence: its number.
        :param roundTripTime: seconds.
        """
        self.beats += 1
        self.worst = max(self.worst, roundTripTime)


async def serve(reactor: Any, directory: str) -> None:
    """
    Serve until the standard input ends.

    :param reactor: the reactor.
    :param directory: the credentials.
    """
    path = Path(directory)
    factory = ThingFactory(
        ServerSettings(credential=IdentityKey.load(path / "thing-server")),
        AuthorizedThings(path / "authorized"),
    )
    factory.protocol = Bulk
    await serverFromString(reactor, f"tcp:{PORT}").listen(factory)
    print("ready", flush=True)
    ended: Deferred[None] = Deferred()
    threading.Thread(
        target=lambda: (sys.stdin.read(), reactor.callFromThread(ended.callback, None)), daemon=True
    ).start()
    await ended


async def visit(reactor: Any, directory: str, ttl: str, seconds: str) -> None:
    """
    Have one session for some time, and print what became of it.

    :param reactor: the reactor.
    :param directory: the credentials.
    :param ttl: the TTL to ask for, seconds.
    :param seconds: how long.
    """
    path = Path(directory)
    public = parsePublicKey((path / "thing-server.pub").read_text())
    factory = ThingFactory(
        ClientSettings(
            credential=IdentityKey.load(path / "thing-client"),
            requestedTtl=float(ttl),
            handshakeTimeout=60.0,
        ),
        PinnedServers([fingerprint(public)]),
    )
    factory.protocol = Bulk
    began = time.monotonic()
    endpoint = clientFromString(reactor, f"tcp:{ADDRESSES[0]}:{PORT}:timeout=60")
    client = await endpoint.connect(factory)
    await client.whenEstablished()
    ended = client.whenTerminated()
    await deferLater(reactor, float(seconds))
    lost = str(client.termination) if client.termination is not None else None
    print(
        json.dumps(
            {
                "lost": lost,
                "beats": client.beats,
                "worst": client.worst,
                "received": client.received / (time.monotonic() - began),
            }
        ),
        flush=True,
    )
    client.abort()
    await ended


def measure(row: Row, seconds: float) -> dict[str, Any]:
    """
    Have one session.

    :param row: on what link.
    :param seconds: how long.
    :return: what became of it.
    """
    with (
        tempfile.TemporaryDirectory() as directory,
        network(Link(row.rate, row.roundTrip, row.loss)) as (host, guest),
    ):
        credentials.create(Path(directory))
        command = inside(host, "serve", directory, program=__file__)
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert server.stdin is not None and server.stdout is not None, "it has pipes"
        try:
            server.stdout.readline()
            done = subprocess.run(
                inside(guest, "visit", directory, str(row.ttl), str(seconds), program=__file__),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                timeout=seconds + 120,
                check=True,
            )
            found: dict[str, Any] = json.loads(done.stdout)
            return found
        finally:
            server.stdin.close()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            server.stdout.close()


class ThinOptions(Options):
    """The command line."""

    optFlags = [["quick", None, "20 seconds for each row instead of 120."]]
    optParameters = [["json", None, None, "Write every figure into this file."]]


def main() -> None:
    """Measure, or say why not."""
    options = ThinOptions()
    if not canMeasure(options):
        return
    seconds = 20.0 if options["quick"] else 120.0
    found = []
    print(f"{'link':<32}{'beats':>6}{'worst':>9}{'to the client':>15}  lost")
    for row in ROWS:
        figures = measure(row, max(seconds, 4 * row.ttl))
        found.append({**asdict(row), **figures})
        print(
            f"{row.name:<32}{figures['beats']:>6}{figures['worst']:>7.2f} s"
            f"{figures['received'] / 1000:>10.1f} kB/s  {figures['lost'] or 'no'}",
            flush=True,
        )
    if options["json"]:
        Path(options["json"]).write_text(json.dumps(found, indent=1) + "\n")
    raise SystemExit(1 if any(each["lost"] for each in found) else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        react(serve, sys.argv[2:])
    elif sys.argv[1:2] == ["visit"]:
        react(visit, sys.argv[2:])
    else:
        main()
