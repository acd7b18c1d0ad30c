"""
The parts of :mod:`endurance`, each a process of its own: a server that stalls, and its clients.

``python survivors.py serve DIRECTORY TTL STALL EVERY SEED`` answers lines as ``peers.py`` does;
after ``stall`` it stands still now and then, until ``run``. ``python survivors.py live
DIRECTORY ADDRESS FIRST COUNT`` keeps sessions of so many things alive, and answers lines with what
is asked for.
"""

from __future__ import annotations

import heapq
import json
import math
import os
import random
import selectors
import signal
import socket
import sys
import time
from collections import deque
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

# What is measured is the package beside this directory, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from load import IP_BIND_ADDRESS_NO_PORT, PATIENCE
from peers import LIFETIME, beginLogging
from processes import Child, allowFiles
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from wires import READ, Fleet, ThingWire

from thing import (
    AuthorizedThings,
    HandshakeFailed,
    IdentityKey,
    ServerSettings,
    ThingFactory,
    ThingProtocol,
    TtlPolicy,
)
from thing.events import Event, HandshakeCompleted, HeartbeatReceived, Terminated
from thing.trust.tickets import TicketKeys

AT_ONCE = 8
"""How many handshakes each process of clients has in progress: all fit into the backlog."""

LOOK = 0.1
"""How long a process of clients sleeps at most, seconds."""

PROCESSES = 4
"""In how many processes the clients are."""


# The server.


class Books:
    """
    Notes when each session gave a sign of life, and how it ended.

    :ivar ended: for each that ended: its id, the cause, how long it had been silent, and how much
        of the time since its TTL was over the server stood still; seconds.
    :ivar stalls: from when to when the server stood still.
    """

    def __init__(self, ttl: float) -> None:
        """:param ttl: the TTL, seconds."""
        self._ttl = ttl
        self._heard: dict[ThingProtocol, float] = {}
        self.ended: list[tuple[str, str, float, float]] = []
        self.stalls: list[tuple[float, float]] = []

    def observe(self, protocol: ThingProtocol, event: Event) -> None:
        """
        Take note.

        :param protocol: whose event it is.
        :param event: the event.
        """
        now = time.monotonic()
        if isinstance(event, (HandshakeCompleted, HeartbeatReceived)):
            self._heard[protocol] = now
        elif isinstance(event, Terminated) and protocol in self._heard:
            heard = self._heard.pop(protocol)
            still = sum(
                max(0.0, min(now, end) - max(heard + self._ttl, begin))
                for begin, end in self.stalls
            )
            cause = event.termination.cause.name
            self.ended.append((protocol.sessionId, cause, now - heard, still))


class LaggingFactory(ThingFactory):
    """
    Notes how late timers come without a stall: how short of CPU time the server is.

    :ivar latest: the latest so far, seconds.
    """

    latest = 0.0
    _books: Books

    def noteIn(self, books: Books) -> None:
        """
        Leave the stalls out.

        :param books: know them.
        """
        self._books = books

    def loopLagged(self, seconds: float) -> None:
        """
        Take note.

        :param seconds: how late a timer came.
        """
        super().loopLagged(seconds)
        stalls = self._books.stalls
        if not stalls or stalls[-1][1] < time.monotonic() - seconds:
            self.latest = max(self.latest, seconds)


class Stalls:
    """Now and then, holds the reactor up."""

    def __init__(self, books: Books, length: float, every: float, seed: int) -> None:
        """
        :param books: take note.
        :param length: how long each time, seconds.
        :param every: how long it is from one to the next on average, seconds.
        :param seed: of the chance.
        """
        self._books = books
        self._length = length
        self._every = every
        self._chance = random.Random(seed)
        self._next: IDelayedCall | None = None

    def begin(self) -> None:
        """Stall from now on."""
        from twisted.internet import reactor

        wait = self._chance.expovariate(1 / self._every)
        self._next = reactor.callLater(wait, self._stall)

    def _stall(self) -> None:
        begun = time.monotonic()
        time.sleep(self._length)
        self._books.stalls.append((begun, time.monotonic()))
        self.begin()

    def end(self) -> None:
        """Stall no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None


class Keeper(LineOnlyReceiver):
    """Answers the measuring process."""

    delimiter = b"\n"
    MAX_LENGTH = 1 << 26

    def __init__(self, factory: LaggingFactory, port: int, books: Books, stalls: Stalls) -> None:
        """
        :param factory: the server's.
        :param port: where it listens.
        :param books: its books.
        :param stalls: its stalls.
        """
        self._factory = factory
        self._port = port
        self._books = books
        self._actions = {b"stall": stalls.begin, b"run": stalls.end, b"usage": lambda: None}

    def lineReceived(self, line: bytes) -> None:
        """
        Do what is asked, then say how things are.

        :param line: what is asked.
        """
        signal.alarm(LIFETIME)
        self._actions[line]()
        answer = {
            "port": self._port,
            "sessions": len(self._factory.sessions),
            "ended": self._books.ended,
            "stalls": len(self._books.stalls),
            "latest": self._factory.latest,
        }
        self.sendLine(json.dumps(answer).encode())

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Stop: nobody is asking any more.

        :param reason: why.
        """
        from twisted.internet import reactor

        with suppress(ReactorNotRunning):  # A signal came first.
            reactor.stop()


async def serve(
    reactor: Any, directory: Path, ttl: float, stall: float, every: float, seed: int
) -> None:
    """
    Serve until standard input ends.

    :param reactor: the reactor.
    :param directory: the credentials.
    :param ttl: the TTL, seconds.
    :param stall: how long a stall is, seconds.
    :param every: how long it is from one to the next, seconds.
    :param seed: of the chance.
    """
    books = Books(ttl)
    factory = LaggingFactory(
        ServerSettings(
            credential=IdentityKey.load(directory / "thing-server"),
            tickets=TicketKeys(),
            ttl=TtlPolicy(default=ttl),
        ),
        AuthorizedThings(directory / "authorized"),
    )
    factory.observers.append(books.observe)
    factory.noteIn(books)
    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    port: Any = await endpoint.listen(factory)
    stalls = Stalls(books, stall, every, seed)
    StandardIO(Keeper(factory, port.getHost().port, books, stalls))
    await Deferred()


# The clients.


def camps(directory: Path, things: int, onto: ExitStack) -> list[Child]:
    """
    Start the processes of the clients.

    :param directory: the credentials.
    :param things: how many things each process has.
    :param onto: ends them.
    :return: the processes.
    """
    started = []
    for number in range(PROCESSES):
        where = (f"127.0.0.{number + 2}", str(number * things), str(things))
        camp = Child(__file__, "live", str(directory), *where)
        onto.callback(camp.stop)
        started.append(camp)
    return started


class Survivor:
    """
    One session of a client.

    :ivar number: which thing it is.
    :ivar wire: what it speaks.
    :ivar connection: its socket.
    :ivar up: whether the handshake is complete.
    """

    def __init__(self, number: int, wire: ThingWire, connection: socket.socket) -> None:
        """
        :param number: which thing it is.
        :param wire: what it speaks.
        :param connection: its socket, connected.
        """
        self.number = number
        self.wire = wire
        self.connection = connection
        self.up = False

    @property
    def id(self) -> str:
        """The session id, hexadecimal."""
        session = self.wire.core.session
        return session.sessionId.hex() if session is not None else ""


class Camp:
    """The clients of one process: all beat in time, while it waits for what is asked."""

    def __init__(self, fleet: Fleet, things: range, address: str) -> None:
        """
        :param fleet: makes the clients.
        :param things: which are here and nowhere else.
        :param address: where they come from.
        """
        self._fleet = fleet
        self._away = deque(things)
        self._address = address
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        self._asked = b""
        self._port = 0
        self._missing = 0
        self._shaking: set[Survivor] = set()
        self._up: dict[Survivor, None] = {}
        self._frozen: list[Survivor] = []
        self._due: list[tuple[float, int, Survivor]] = []
        self._order = count()
        self._lost: list[tuple[str, str]] = []
        self._beats = 0
        self._slowest = 0.0
        self._opening = False
        self._parted = 0
        self._pause = 0.0
        self._nextParting = math.inf

    def run(self) -> None:
        """Keep all sessions alive until standard input ends."""
        while True:
            while self._missing and len(self._shaking) < AT_ONCE:
                self._connect()
            self._beat()
            self._part()
            if self._opening and not self._missing and not self._shaking:
                self._opening = False
                self._answer(len(self._up))
            for key, _ in self._selector.select(LOOK):
                if key.fileobj is not sys.stdin:
                    self._read(key.data)
                elif not self._listen():
                    return

    def _listen(self) -> bool:
        """Take what is asked; False if nothing ever will be any more."""
        data = os.read(sys.stdin.fileno(), 1 << 16)
        self._asked += data
        while b"\n" in self._asked:
            line, _, self._asked = self._asked.partition(b"\n")
            signal.alarm(LIFETIME)
            name, arguments = json.loads(line)
            getattr(self, name)(**arguments)
        return bool(data)

    @staticmethod
    def _answer(answer: object) -> None:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()

    def open(self, port: int, count: int) -> None:
        """
        Open sessions; the answer comes when they are up.

        :param port: the server's.
        :param count: how many.
        """
        self._port, self._missing, self._opening = port, count, True

    def freeze(self) -> None:
        """Let one session neither read nor beat any more; the answer is its id."""
        survivor = random.choice(list(self._up))
        del self._up[survivor]
        self._selector.unregister(survivor.connection)
        self._frozen.append(survivor)
        self._answer(survivor.id)

    def turnOver(self, rate: float) -> None:
        """
        Let the longest sessions end with a goodbye, each for another thing's that comes.

        :param rate: how many a second; zero for no more.
        """
        self._pause = 1 / rate if rate else 0.0
        self._nextParting = time.monotonic() if rate else math.inf
        self._answer(None)

    def books(self) -> None:
        """Answer how things are."""
        self._answer(
            {
                "up": len(self._up),
                "parted": self._parted,
                "lost": self._lost,
                "beats": self._beats,
                "slowest": self._slowest,
            }
        )

    def _connect(self) -> None:
        self._missing -= 1
        connection = socket.socket()
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        connection.bind((self._address, 0))
        connection.connect(("127.0.0.1", self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = self._away.popleft()
        survivor = Survivor(number, self._fleet.of(number), connection)
        self._shaking.add(survivor)
        self._selector.register(connection, selectors.EVENT_READ, survivor)
        connection.sendall(survivor.wire.begin())

    def _read(self, survivor: Survivor) -> None:
        try:
            data = survivor.connection.recv(READ)
            if not data:
                raise ConnectionResetError("the server hung up")
            answer = survivor.wire.feed(data)
            if answer:
                survivor.connection.sendall(answer)
        except (OSError, HandshakeFailed) as error:
            if isinstance(error, HandshakeFailed) and error.termination.clean:
                self._hasParted(survivor)
            else:
                self._lose(survivor, error)
            return
        self._slowest = max(self._slowest, survivor.wire.core.roundTripTime or 0.0)
        if survivor.wire.established and not survivor.up:
            survivor.up = True
            self._shaking.discard(survivor)
            self._up[survivor] = None
            self._awake(survivor)

    def _lose(self, survivor: Survivor, error: Exception) -> None:
        self._lost.append((survivor.id, str(error)))
        self._shaking.discard(survivor)
        self._up.pop(survivor, None)
        self._hangUp(survivor)

    def _hangUp(self, survivor: Survivor) -> None:
        self._selector.unregister(survivor.connection)
        survivor.connection.close()
        self._away.append(survivor.number)

    def _part(self) -> None:
        """Let those say goodbye whose time has come."""
        while self._nextParting <= time.monotonic() and self._up:
            self._nextParting += self._pause
            survivor = next(iter(self._up))
            del self._up[survivor]
            wire = survivor.wire
            survivor.connection.sendall(wire.follow(wire.core.goodbye(time.monotonic())))
            self._missing += 1

    def _hasParted(self, survivor: Survivor) -> None:
        """The server said goodbye, too: say the last word."""
        with suppress(OSError):
            survivor.connection.sendall(survivor.wire.follow(()))
        self._parted += 1
        self._hangUp(survivor)

    def _awake(self, survivor: Survivor) -> None:
        """Come back to it when its time has come; the latest that it will have."""
        due = survivor.wire.core.nextDeadline
        assert due is not None, "it is up"
        heapq.heappush(self._due, (due, next(self._order), survivor))

    def _beat(self) -> None:
        """Let those beat whose time has come, and look whether they are answered."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, _, survivor = heapq.heappop(self._due)
            if survivor not in self._up:
                continue
            core = survivor.wire.core
            try:
                beat = survivor.wire.follow(core.handleTimer(now))
                if beat:
                    self._beats += 1
                    survivor.connection.sendall(beat)
            except (OSError, HandshakeFailed) as error:
                self._lose(survivor, error)
                continue
            self._awake(survivor)


def main(role: str, directory: Path, *arguments: str) -> None:
    """
    Be one of the processes.

    :param role: ``serve`` or ``live``.
    :param directory: the credentials.
    :param arguments: the rest, as this module's docstring has it.
    """
    signal.alarm(LIFETIME)
    allowFiles()
    if role == "serve":
        beginLogging()
        ttl, stall, every, seed = arguments
        react(serve, (directory, float(ttl), float(stall), float(every), int(seed)))
    else:
        address, first, count = arguments
        things = range(int(first), int(first) + int(count))
        Camp(Fleet(directory, "X25519"), things, address).run()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
