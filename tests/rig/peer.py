"""
One side of many sessions, in a process of its own: ``python -m tests.rig.peer``.

It does what lines of JSON on its standard input say, each a list of a word and its arguments (the
methods ``do_...`` of :class:`Peer`), and prints a line of JSON for whatever happens. It ends with
its standard input. :mod:`tests.rig.peers` is the other end of both.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from tests.rig.peers import CHUNK, content
from thing import (
    Anyone,
    ClientSettings,
    IdentityKey,
    PinnedServers,
    ServerSettings,
    ThingFactory,
    ThingProtocol,
    TtlPolicy,
)

SHORTEST = 0.1
"""The shortest TTL that a server here grants: that of the specification; seconds."""

HANDSHAKE = 60.0
"""How long a handshake may take on the thinnest link, seconds."""


def tell(what: str, **about: object) -> None:
    """
    Print what happened.

    :param what: in a word.
    :param about: all about it.
    """
    print(json.dumps({"what": what, **about}), flush=True)


def serverSettings() -> ServerSettings:
    """A server of the rig's, with a new key."""
    key = IdentityKey.generate()
    return ServerSettings(
        credential=key, ttl=TtlPolicy(minimum=SHORTEST), handshakeTimeout=HANDSHAKE
    )


def clientSettings(ttl: float) -> ClientSettings:
    """
    A client of the rig's, with a new key.

    :param ttl: what it asks for, seconds.
    """
    key = IdentityKey.generate()
    return ClientSettings(credential=key, requestedTtl=ttl, handshakeTimeout=HANDSHAKE)


class Side(ThingProtocol):
    """One end of a session: tells what becomes of it, and counts."""

    factory: Sides

    def __init__(self) -> None:
        """Nothing has happened."""
        self.figures = {"beats": 0, "worst": 0.0, "received": 0}
        self._hash = hashlib.sha256()
        self._readRate = 0.0

    # What happens.

    def handshakeCompleted(self) -> None:
        """Tell so."""
        assert self.session is not None, "it is up"
        self.factory.up.append(self)
        tell("up", id=self.sessionId, ttl=self.session.ttl)

    def heartbeatReceived(self, sequence: int, roundTripTime: float | None) -> None:
        """Count it; a server's."""
        self.figures["beats"] += 1

    def heartbeatAcknowledged(self, sequence: int, roundTripTime: float) -> None:
        """Count it; a client's."""
        self.figures["beats"] += 1
        self.figures["worst"] = max(self.figures["worst"], roundTripTime)

    def heartbeatLate(self, silence: float) -> None:
        """Tell so."""
        tell("late", id=self.sessionId, silence=silence)

    def messageReceived(self, message: bytes) -> None:
        """Take note, and take no more for a while if this is a slow reader."""
        self.figures["received"] += len(message)
        self._hash.update(message)
        if self._readRate:
            self.pauseProducing()
            self.factory.clock.callLater(len(message) / self._readRate, self._readOn)

    def terminated(self, termination: Any) -> None:
        """Tell how."""
        name = self.sessionId if self.session is not None else ""
        tell("end", id=name, cause=termination.cause.name, text=str(termination))

    # What it is told.

    def readSlowly(self, rate: float) -> None:
        """
        Take so much from now on.

        :param rate: octets a second.
        """
        self._readRate = rate

    def _readOn(self) -> None:
        if self.termination is None:
            self.resumeProducing()

    @property
    def digest(self) -> str:
        """Of all that came."""
        return self._hash.hexdigest()


class Giving:
    """Sends in a session, as fast as it takes it, or slowly."""

    def __init__(self, side: Side, size: int | None, rate: float) -> None:
        """
        :param side: whose session it is.
        :param size: how many octets; None without end.
        :param rate: how many a second; 0 for as many as go.
        """
        self._side, self._contents, self._rate = side, content(size), rate
        if rate:
            self._giveSlowly()
        else:
            side.registerProducer(self, False)

    def _give(self) -> int:
        some = next(self._contents, b"")
        if some:
            self._side.sendMessage(some)
        else:
            tell("gave", id=self._side.sessionId)
        return len(some)

    def _giveSlowly(self) -> None:
        if self._side.termination is None and (given := self._give()):
            self._side.factory.clock.callLater(given / self._rate, self._giveSlowly)

    def resumeProducing(self) -> None:
        """Send one more (``IPullProducer``)."""
        if not self._give():
            self._side.unregisterProducer()

    def stopProducing(self) -> None:
        """Send no more (``IPullProducer``)."""


class Sides(ThingFactory):
    """
    Makes them.

    :ivar up: those that are, or were.
    """

    protocol = Side

    def __init__(self, *arguments: Any) -> None:
        """:param arguments: of a factory."""
        super().__init__(*arguments)
        self.up: list[Side] = []


class Peer(LineOnlyReceiver):
    """Does what its standard input says."""

    delimiter = b"\n"

    def __init__(self, reactor: Any, ended: Deferred[None]) -> None:
        """
        :param reactor: the reactor.
        :param ended: fires when the input ends.
        """
        self._reactor, self._ended = reactor, ended
        self._factories: list[Sides] = []

    def lineReceived(self, line: bytes) -> None:
        """
        Do it.

        :param line: a word and its arguments.
        """
        word, *arguments = json.loads(line)
        getattr(self, f"do_{word}")(*arguments)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End."""
        self._ended.callback(None)

    @property
    def _sides(self) -> list[Side]:
        return [side for factory in self._factories for side in factory.up]

    def do_serve(self, host: str) -> None:
        """Listen, and tell where, and with what key."""
        settings = serverSettings()
        factory = Sides(settings, Anyone())
        self._factories.append(factory)
        listening = serverFromString(self._reactor, f"tcp:0:interface={host}").listen(factory)
        key = settings.credential.fingerprint
        listening.addCallback(lambda port: tell("serves", port=port.getHost().port, key=key))

    def do_open(self, host: str, port: int, key: str, ttls: list[float]) -> None:
        """Have a session with each of these TTLs."""
        for ttl in ttls:
            factory = Sides(clientSettings(ttl), PinnedServers([key]))
            self._factories.append(factory)
            endpoint = clientFromString(self._reactor, f"tcp:{host}:{port}:timeout=60")
            endpoint.connect(factory).addErrback(lambda why: tell("failed", text=str(why.value)))

    def do_stall(self, seconds: float) -> None:
        """Hold the reactor up."""
        time.sleep(seconds)

    def do_give(self, size: int | None, rate: float) -> None:
        """Send in all sessions."""
        for side in self._sides:
            Giving(side, size, rate)

    def do_read(self, rate: float) -> None:
        """Read slowly in all sessions."""
        for side in self._sides:
            side.readSlowly(rate)

    def do_goodbye(self) -> None:
        """Say goodbye in all sessions."""
        for side in self._sides:
            side.goodbye()

    def do_figures(self) -> None:
        """Tell what was counted."""
        found = {each.sessionId: {**each.figures, "digest": each.digest} for each in self._sides}
        tell("figures", of=found)


async def main(reactor: Any) -> None:
    """
    Do all that is said.

    :param reactor: the reactor.
    """
    ended: Deferred[None] = Deferred()
    StandardIO(Peer(reactor, ended), reactor=reactor)
    await ended


if __name__ == "__main__":
    assert CHUNK <= 16384, "a fragment each"
    react(main)
