"""
AMP, called both ways: a thing asks its server, and the server asks its thing.

    $ python transport_amp.py server thing:9000:identity=server_key:authorized=things
    $ python transport_amp.py thing \
        thing:localhost:9000:identity=thing_key:serverKey=...
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure

from thing import HandshakeFailed
from thing.endpoints import IThingTransport


class TooWarm(Exception):
    """What AMP carries to the other side as an error of its own."""


class Report(amp.Command):
    """A thing tells what it sees, and is told under what name it is known."""

    arguments = [(b"event", amp.Unicode())]
    response = [(b"name", amp.Unicode()), (b"session", amp.Unicode())]
    errors = {TooWarm: b"TOO_WARM"}


class Measure(amp.Command):
    """The server asks a thing how warm it is."""

    response = [(b"celsius", amp.Float())]


class Hub(amp.AMP):
    """The server's side of one session."""

    transport: IThingTransport

    def connectionMade(self) -> None:
        super().connectionMade()
        self.name = str(self.transport.peer)

    @Report.responder
    def report(self, event: str) -> Deferred[dict[str, str]]:
        return Deferred.fromCoroutine(self.look(event))

    async def look(self, event: str) -> dict[str, str]:
        """Ask back before the answer."""
        answer = await self.callRemote(Measure)
        print(f"{self.name}: {event} at {answer['celsius']} degrees", flush=True)
        if answer["celsius"] > 40:
            raise TooWarm(f"{self.name} is too warm")
        return {"name": self.name, "session": self.transport.sessionId}

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        print(f"{self.name}: {reason.value}", flush=True)


class Thing(amp.AMP):
    """The thing's side."""

    transport: IThingTransport
    celsius = 20.5

    def connectionMade(self) -> None:
        super().connectionMade()
        self.gone: Deferred[object] = Deferred()

    @Measure.responder
    def measure(self) -> dict[str, float]:
        return {"celsius": self.celsius}

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.gone.callback(reason.value)


async def serve(reactor: Any, description: str) -> None:
    endpoint = endpoints.serverFromString(reactor, description)
    port = await endpoint.listen(Factory.forProtocol(Hub))
    print(f"listening on {port.getHost()}", flush=True)
    await Deferred()


async def connect(reactor: Any, description: str) -> None:
    endpoint = endpoints.clientFromString(reactor, description)
    thing = await endpoints.connectProtocol(endpoint, Thing())
    answer = await thing.callRemote(Report, event="door opened")
    assert answer["session"] == thing.transport.sessionId
    print(f"known as {answer['name']}")
    thing.celsius = 41.0
    try:
        await thing.callRemote(Report, event="door closed")
    except TooWarm as complaint:
        print(complaint)
    thing.transport.loseConnection()
    print(await thing.gone)  # To stop the reactor earlier would cut the goodbye off.


async def main(reactor: Any, role: str, description: str) -> None:
    try:
        await (serve if role == "server" else connect)(reactor, description)
    except (CannotListenError, ConnectError, HandshakeFailed) as failure:
        raise SystemExit(str(failure)) from None


task.react(main, sys.argv[1:])
