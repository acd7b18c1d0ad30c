"""
No session on a thin or lossy link is lost to its own bulk data.

Each row is one session on a link of its own, with as much as can be sent in both directions, an
application that takes everything at once, and heartbeats in between; it says how long a heartbeat
took at worst.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.task import deferLater, react

from benchmarks import credentials
from tests.rig import check as rig
from tests.rig.network import ADDRESSES, Link, needNetwork, network, within
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

PORT = 9000

VISIT = ("-m", "tests.rig.links", "visit")

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
        network(Link(row.rate, row.roundTrip, row.loss)) as hosts,
    ):
        credentials.create(Path(directory))
        command = within(hosts.server, "-m", "tests.rig.links", "serve", directory)
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert server.stdin is not None and server.stdout is not None, "it has pipes"
        try:
            server.stdout.readline()
            done = subprocess.run(
                within(
                    hosts.client,
                    "-m",
                    "tests.rig.links",
                    "visit",
                    directory,
                    str(row.ttl),
                    str(seconds),
                ),
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


def check(short: bool) -> Iterator[rig.Row]:
    """Each link by turns, for two minutes, or one link for some seconds."""
    needNetwork()
    for row in ROWS[:1] if short else ROWS:
        found = measure(row, 4.0 if short else max(120.0, 4 * row.ttl))
        figure = f"{found['beats']} beats, {found['worst']:.2f} s at worst"
        yield rig.Row(row.name, found["lost"] or figure, not found["lost"])


if __name__ == "__main__":
    react({"serve": serve, "visit": visit}[sys.argv[1]], sys.argv[2:])
