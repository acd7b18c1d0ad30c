"""
The parts of a flood, each a process of its own: a server, an attacker, honest clients.

``python strangers.py serve POLICY DIRECTORY`` serves as ``peers.py`` does. ``attack`` and
``visit`` wait for a line, do their part and answer it with a line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall, deferLater, react

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from peers import LIFETIME, Census, Control, ThingServer, beginLogging
from processes import allowFiles

from thing import (
    AuthorizedThings,
    ClientSettings,
    CredentialKind,
    HandshakeFailed,
    Identity,
    IdentityKey,
    Limits,
    PinnedServers,
    ServerSettings,
    ThingFactory,
    ThingProtocol,
)
from thing.core.client import ClientConnection
from thing.core.door import Door, Verdict, Wait
from thing.core.handshakemessages import CDH
from thing.core.messages import MessageType
from thing.core.records import clearRecord
from thing.session.link import Link
from thing.trust.keys import parsePublicKey

TIMEOUT = 2.0
"""How long a handshake may take, seconds: less than by default, so that all is over soon."""

NO_LIMIT = 1 << 30
"""More than anything here comes to."""

AT_ONCE = 2000
"""How many connections one attacker holds open at most."""

AT_MOST = 40_000
"""After how many connections an attacker stops."""

VISITS = 10.0
"""How many honest clients come in a second."""

BURST = 32
"""How many an attacker opens before it looks at those that it has."""

ADDRESSES = 16
"""From how many addresses the honest clients come."""

SHARE_LENGTH = 1120
"""How long a client's share in X25519MLKEM768 is, octets."""


# The server.


class NewestGoes(Door[Link[ThingProtocol]]):
    """Judges as Thing did once: beyond the limit of handshakes the newest is turned away."""

    def judge(self, newcomer: Link[ThingProtocol]) -> Verdict[Link[ThingProtocol]]:
        """
        Judge a newcomer.

        :param newcomer: who has entered.
        :return: the verdict.
        """
        if len(self.handshakes) > Limits().handshakes:
            return Wait("handshakes", "too many handshakes", 1.0)
        return super().judge(newcomer)


WITHOUT = Limits(
    sessions=NO_LIMIT,
    sessionsPerAddress=NO_LIMIT,
    handshakes=NO_LIMIT,
    handshakesPerAddress=NO_LIMIT,
    puzzleAfter=NO_LIMIT,
)

POLICIES: dict[str, tuple[type[Door[Link[ThingProtocol]]], Limits]] = {
    "as it comes": (Door, Limits()),
    "newest refused": (NewestGoes, WITHOUT),
    "no defence": (Door, WITHOUT),
}
"""How a server may meet a flood, by name."""


def serve(policy: str, directory: Path) -> None:
    """
    Serve until standard input ends.

    :param policy: one of :data:`POLICIES`.
    :param directory: the credentials.
    """
    from twisted.internet import reactor

    signal.alarm(LIFETIME)
    allowFiles()
    beginLogging()
    census = Census()
    kind, limits = POLICIES[policy]
    factory = ThingFactory(
        ServerSettings(
            credential=IdentityKey.load(directory / "thing-server"), handshakeTimeout=TIMEOUT
        ),
        AuthorizedThings(directory / "authorized"),
    )
    factory.door = kind(limits, factory.jitter)
    factory.protocol = type("Server", (ThingServer,), {"job": "beat", "census": census})
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    StandardIO(Control(census, {"flood": port.getHost().port}))
    reactor.run()


# The attackers.


def begin() -> bytes:
    """:return: an honest client's first message."""
    core = ClientConnection(ClientSettings())
    core.start(0.0)
    return core.dataToSend(0.0, sys.maxsize)


def share() -> bytes:
    """:return: the first message, a share that fits and means nothing, and an unreadable proof."""
    cdh = clearRecord(MessageType.CDH, CDH(os.urandom(SHARE_LENGTH)).encode())
    return begin() + cdh + (200).to_bytes(3, "big") + os.urandom(200)


FLOODS: dict[str, tuple[Callable[[], bytes], int]] = {
    "silent": (bytes, 4096),
    "CHI, then silence": (begin, 4096),
    "the same, one address": (begin, 1),
    "CHI, a bad share": (share, 4096),
    "garbage": (lambda: b"\xff" * 600, 4096),
}
"""What the attackers send, and from how many addresses each, by name."""


class Attacker:
    """Opens connections as fast as it can, says its piece, and holds on."""

    def __init__(self, port: int, number: int, payload: bytes, addresses: int) -> None:
        """
        :param port: the server's.
        :param number: tells this attacker's addresses from the others'.
        :param payload: what each connection sends.
        :param addresses: from how many addresses.
        """
        self._port = port
        self._network = 64 + number
        self._payload = payload
        self._addresses = addresses
        self._selector = selectors.DefaultSelector()
        self._open: dict[socket.socket, None] = {}  # The oldest first.
        self.made = 0

    def run(self, seconds: float, rate: float) -> None:
        """
        Attack.

        :param seconds: for how long.
        :param rate: how many connections to open in a second at most.
        """
        begun = time.monotonic()
        opened = 0
        while (elapsed := time.monotonic() - begun) < seconds:
            more = min(int(elapsed * rate), AT_MOST) - opened
            for _ in range(min(more, BURST)):
                opened += 1
                self._connect()
            for key, ready in self._selector.select(0.001):
                self._turn(key.fileobj, ready)

    def _connect(self) -> None:
        if len(self._open) >= AT_ONCE:
            self._close(next(iter(self._open)))
        stream = socket.socket()
        stream.setblocking(False)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        at = random.randrange(self._addresses)
        stream.bind((f"127.{self._network}.{at >> 8}.{1 + (at & 0x7F)}", 0))
        stream.connect_ex(("127.0.0.1", self._port))
        self._open[stream] = None
        self._selector.register(stream, selectors.EVENT_WRITE)

    def _turn(self, stream: Any, ready: int) -> None:
        try:
            if ready & selectors.EVENT_WRITE:
                if self._payload:
                    stream.send(self._payload)
                self.made += 1
                self._selector.modify(stream, selectors.EVENT_READ)
            elif not stream.recv(65536):
                self._close(stream)
        except OSError:
            self._close(stream)

    def _close(self, stream: socket.socket) -> None:
        self._selector.unregister(stream)
        del self._open[stream]
        stream.close()


def attack(flood: str, port: int, number: int, seconds: float, rate: float) -> None:
    """
    Attack for a while, then say how many connections were made.

    :param flood: one of :data:`FLOODS`.
    :param port: the server's.
    :param number: which attacker this is.
    :param seconds: for how long.
    :param rate: how many connections to open in a second at most.
    """
    allowFiles()
    payload, addresses = FLOODS[flood]
    attacker = Attacker(port, number, payload(), addresses)
    sys.stdin.readline()
    attacker.run(seconds, rate)
    print(json.dumps(attacker.made), flush=True)


# The honest clients, as users have them.


class Honest:
    """Clients that come at a steady rate, each for one handshake and a goodbye."""

    def __init__(self, reactor: Any, port: int, directory: Path) -> None:
        """
        :param reactor: runs them.
        :param port: the server's.
        :param directory: the credentials.
        """
        self._reactor = reactor
        self._port = port
        settings = ClientSettings(
            credential=IdentityKey.load(directory / "thing-client"),
            handshakeTimeout=TIMEOUT,
            resumption=False,
        )
        serverKey = parsePublicKey((directory / "thing-server.pub").read_text())
        fingerprint = Identity(CredentialKind.ED25519, serverKey).fingerprint
        self._factory = ThingFactory(settings, PinnedServers([fingerprint]))
        self._times: list[float | None] = []
        self._waiting: list[Deferred[None]] = []

    async def run(self, seconds: float) -> list[float | None]:
        """
        Let clients come, and wait for the last.

        :param seconds: for how long.
        :return: how long each took, seconds; None for those that did not get in.
        """
        coming = LoopingCall(lambda: self._waiting.append(Deferred.fromCoroutine(self._come())))
        coming.start(1 / VISITS)
        await deferLater(self._reactor, seconds)
        coming.stop()
        await DeferredList(self._waiting, consumeErrors=True)
        return self._times

    async def _come(self) -> None:
        begun = time.monotonic()
        source = f"127.0.1.{1 + len(self._waiting) % ADDRESSES}"
        endpoint = TCP4ClientEndpoint(self._reactor, "127.0.0.1", self._port, TIMEOUT, (source, 0))
        try:
            protocol = await endpoint.connect(self._factory)
            await protocol.whenEstablished()
        except (HandshakeFailed, ConnectError):
            self._times.append(None)
            return
        taken = time.monotonic() - begun
        self._times.append(taken if taken <= TIMEOUT else None)
        await protocol.goodbye()


def visit(port: int, seconds: float, directory: Path) -> None:
    """
    Let honest clients come for a while, then say how long each took.

    :param port: the server's.
    :param seconds: for how long.
    :param directory: the credentials.
    """

    async def visiting(reactor: Any) -> None:
        print(json.dumps(await Honest(reactor, port, directory).run(seconds)), flush=True)

    beginLogging()
    sys.stdin.readline()
    react(lambda reactor: ensureDeferred(visiting(reactor)))


PARTS: dict[str, Callable[..., None]] = {
    "serve": lambda policy, directory: serve(policy, Path(directory)),
    "attack": lambda flood, port, number, seconds, rate: attack(
        flood, int(port), int(number), float(seconds), float(rate)
    ),
    "visit": lambda port, seconds, directory: visit(int(port), float(seconds), Path(directory)),
}
"""What the other processes do, by their first argument."""


if __name__ == "__main__":
    PARTS[sys.argv[1]](*sys.argv[2:])
