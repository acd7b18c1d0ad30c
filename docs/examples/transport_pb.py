"""
Perspective Broker: objects that are used from the other side, in both directions.

    $ python transport_pb.py server thing:9000:identity=server_key:authorized=things
    $ python transport_pb.py thing \
        thing:localhost:9000:identity=thing_key:serverKey=...
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.spread import pb
from zope.interface import implementer

from thing import HandshakeFailed
from thing.endpoints import IThingTransport


class Broker(pb.Broker):
    """One session; it says how it ended."""

    def connectionMade(self) -> None:
        self.gone: Deferred[object] = Deferred()
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.gone.callback(reason.value)


class Switch(pb.Referenceable):
    """What the server lends to a thing: it works the thing's own lamp."""

    def __init__(self, name: str, lamp: pb.RemoteReference) -> None:
        self.name = name
        self.lamp = lamp

    async def flip(self, state: bool) -> str:
        answer = await self.lamp.callRemote("light", state)
        print(f"{self.name}: {answer}", flush=True)
        return f"{self.name} is {answer}"

    def remote_flip(self, state: bool) -> Deferred[str]:
        return Deferred.fromCoroutine(self.flip(state))


class Desk(pb.Referenceable):
    """What a thing may ask of the server."""

    def __init__(self, broker: pb.Broker) -> None:
        self.broker = broker

    def remote_register(self, lamp: pb.RemoteReference) -> Switch:
        # Who asks was proved before the first call. Over anything but Thing this fails.
        return Switch(str(IThingTransport(self.broker.transport).peer), lamp)


@implementer(pb.IPBRoot)
class House:
    """Gives each session a desk of its own."""

    def rootObject(self, broker: pb.Broker) -> Desk:
        return Desk(broker)


class Lamp(pb.Referenceable):
    """What a thing lends to the server."""

    def remote_light(self, state: bool) -> str:
        return "on" if state else "off"


async def serve(reactor: Any, description: str) -> None:
    factory = pb.PBServerFactory(House())
    port = await endpoints.serverFromString(reactor, description).listen(factory)
    print(f"listening on {port.getHost()}", flush=True)
    await Deferred()


async def connect(reactor: Any, description: str) -> None:
    factory = pb.PBClientFactory()
    factory.protocol = Broker
    broker = await endpoints.clientFromString(reactor, description).connect(factory)
    desk = await factory.getRootObject()
    switch = await desk.callRemote("register", Lamp())
    for state in (True, False):
        print(await switch.callRemote("flip", state))
    factory.disconnect()
    print(await broker.gone)


async def main(reactor: Any, role: str, description: str) -> None:
    try:
        await (serve if role == "server" else connect)(reactor, description)
    except (CannotListenError, ConnectError, HandshakeFailed) as failure:
        raise SystemExit(str(failure)) from None


task.react(main, sys.argv[1:])
