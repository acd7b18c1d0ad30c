"""
A process full of clients: the load of the tests that need real sockets and a second process.

Run as ``python -m tests.clients CHOICES``, with :class:`Choices` as JSON. Each
line that it prints is one fact: ``up ID`` or ``end ID CAUSE BEATS SLOWEST``. It
ends when its last session has, or when its standard input is closed.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol, Protocol
from twisted.internet.stdio import StandardIO

from tests import PROJECT
from tests.anypeer import AnyPeer
from tests.helpers import CLIENT_CREDENTIAL
from thing.core.groups import GroupName
from thing.core.heartbeat import Watch
from thing.core.settings import ClientSettings
from thing.errors import LocalProtocolError
from thing.events import Cause, Termination
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol, linkOf


@dataclass
class Choices:
    """What the clients of one process do."""

    port: int
    count: int = 1
    patient: bool = False
    """Whether the clients wait for acknowledgements forever, to see who gives up first."""
    bulk: int = 0
    """How many messages of 16,000 octets each sends at once; it says goodbye behind them."""


class Patient(Watch):
    """Gives up on nobody."""

    def renew(self, now: float, ttl: float) -> None:
        super().renew(now, 1e6)


class LoadClient(ThingProtocol):
    """One client, which does what its process was told."""

    factory: LoadFactory

    def __init__(self) -> None:
        self.beats = 0
        self.slowest = 0.0

    def handshakeCompleted(self) -> None:
        assert self.session is not None
        tell("up", self.sessionId)
        if self.factory.choices.patient:
            watch = Patient(self.session.ttl, self.factory.clock.seconds())
            linkOf(self).core._liveness._watch = watch
        self.factory.begin(self)

    def heartbeatAcknowledged(self, sequence: int, roundTripTime: float) -> None:
        self.beats = sequence
        self.slowest = max(self.slowest, roundTripTime)

    def terminated(self, termination: Termination) -> None:
        if self.session is not None:
            tell("end", self.sessionId, termination.cause.name, self.beats, self.slowest)
        else:
            tell("failed", str(termination).replace(" ", "_"))

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.factory.left()


class LoadFactory(ThingFactory):
    """All clients of this process."""

    protocol = LoadClient

    def __init__(self, choices: Choices, reactor: Any) -> None:
        settings = ClientSettings(credential=CLIENT_CREDENTIAL, groups=(GroupName.X25519,))
        super().__init__(settings, AnyPeer())
        self.choices = choices
        self.reactor = reactor
        self.here = choices.count

    def begin(self, client: LoadClient) -> None:
        """Let a client that is up do its part."""
        choices = self.choices
        for at in range(choices.bulk):
            try:
                client.sendMessage(at.to_bytes(4, "big") + bytes(15_996))
            except LocalProtocolError as error:
                tell("failed", str(error).replace(" ", "_"))
        if choices.bulk:
            client.goodbye()

    def left(self) -> None:
        """Count a client that has gone; the last one ends the process."""
        self.here -= 1
        if not self.here:
            self.reactor.stop()


class Leash(Protocol):
    """Ends this process with the one that started it."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def connectionLost(self, reason: object = None) -> None:
        if self.reactor.running:
            self.reactor.stop()


def tell(*words: object) -> None:
    """Print a fact."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the clients."""
    from twisted.internet import reactor

    choices = Choices(**json.loads(sys.argv[1]))
    StandardIO(Leash(reactor))
    factory = LoadFactory(choices, reactor)
    endpoint = HostnameEndpoint(reactor, "127.0.0.1", choices.port)

    def failed(failure: Any) -> None:
        tell("failed", failure.getErrorMessage().replace(" ", "_"))
        factory.left()

    for _ in range(choices.count):
        endpoint.connect(factory).addErrback(failed)
    reactor.run()  # type: ignore[attr-defined]


@dataclass
class End:
    """What a client said of its end."""

    cause: Cause
    beats: int
    slowest: float


class ClientProcess(ProcessProtocol):
    """
    The other side: a process of clients, and what it told.

    :ivar up: the ids of the sessions that came up.
    :ivar ends: how they ended, for those that told.
    :ivar failed: what went wrong instead.
    """

    transport: IProcessTransport

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.up: set[str] = set()
        self.ends: dict[str, End] = {}
        self.failed: list[str] = []
        self.over = False
        self._line = b""

    def start(self, reactor: Any) -> ClientProcess:
        """Start it."""
        reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, "-m", "tests.clients", json.dumps(asdict(self.choices))],
            env=None,
            path=str(PROJECT),
        )
        return self

    def outReceived(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            fact, *words = line.decode().split(" ")
            if fact == "up":
                self.up.add(words[0])
            elif fact == "end":
                self.ends[words[0]] = End(Cause[words[1]], int(words[2]), float(words[3]))
            else:
                self.failed += words

    def errReceived(self, data: bytes) -> None:
        self.failed.append(data.decode(errors="replace"))

    def processEnded(self, reason: Any) -> None:
        self.over = True
        if reason.check(ProcessTerminated) and reason.value.signal is None:
            self.failed.append(f"exit status {reason.value.exitCode}")

    def end(self) -> None:
        """End it, whatever it does."""
        if not self.over:
            self.transport.signalProcess("KILL")


if __name__ == "__main__":
    main()
