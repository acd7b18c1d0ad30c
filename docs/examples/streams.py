"""
Several protocols in one session: a web server and AMP beside each other.

The thing serves its pages to the server, which opens streams to it as it likes; the thing asks
the server by AMP, in a stream of its own.

    $ python streams.py server 9000 server_key things
    $ python streams.py thing localhost 9000 thing_key SHA256:...
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import endpoints, reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols import amp
from twisted.web.client import URI, Agent, readBody
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from thing import (
    AuthorizedThings,
    ClientSettings,
    HandshakeFailed,
    IdentityKey,
    PinnedServers,
    ServerSettings,
    StopCode,
    StreamRefused,
    Termination,
    ThingFactory,
    ThingProtocol,
)
from thing.endpoints import IThingTransport


class Setpoint(amp.Command):
    """A thing asks how warm it is to be."""

    response = [(b"celsius", amp.Float())]


class Advisor(amp.AMP):
    """The server's side of a stream for AMP."""

    transport: IThingTransport

    @Setpoint.responder
    def setpoint(self) -> dict[str, float]:
        print(f"{self.transport.peer.name} asks for its setpoint", flush=True)
        return {"celsius": 21.5}


@implementer(IAgentEndpointFactory)
class Through:
    """Sends every request to one endpoint, whatever host its URI names."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self.endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self.endpoint


class Hub(ThingProtocol):
    """One session, on the server."""

    def handshakeCompleted(self) -> None:
        Deferred.fromCoroutine(self.look()).addErrback(lambda failure: print(failure.value))

    async def look(self) -> None:
        """Fetch the thing's page, in a stream that this side opens."""
        agent = Agent.usingEndpointFactory(reactor, Through(self.streams.endpoint("http")))
        response = await agent.request(b"GET", b"http://thing/")
        page = (await readBody(response)).decode()
        print(f"{self.peer} shows: {page}", flush=True)

    def streamRequested(self, label: str) -> Factory | None:
        """Decide about streams of labels that are not served to everybody."""
        assert self.peer is not None
        if label == "setpoint" and self.peer.name == "lamp":
            return Factory.forProtocol(Advisor)
        raise StreamRefused(StopCode.NOT_PERMITTED)

    def terminated(self, termination: Termination) -> None:
        print(f"{self.peer}: {termination}", flush=True)


class Page(Resource):
    """What a thing shows."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.shown: Deferred[None] = Deferred()

    def render_GET(self, request: Any) -> bytes:
        request.notifyFinish().chainDeferred(self.shown)
        return b"20.5 degrees"


class Thing(ThingProtocol):
    """The session of a thing."""

    def handshakeCompleted(self) -> None:
        self.page = Page()
        self.streams.serve("http", Site(self.page))


async def serve(port: str, key: str, things: str) -> None:
    factory = ThingFactory(
        ServerSettings(credential=IdentityKey.load(key)), AuthorizedThings(things)
    )
    factory.protocol = Hub
    endpoint = endpoints.TCP4ServerEndpoint(reactor, int(port), interface="127.0.0.1")
    listening = await endpoint.listen(factory)
    print(f"listening on {listening.getHost()}", flush=True)
    await Deferred()


async def connect(host: str, port: str, key: str, fingerprint: str) -> None:
    factory = ThingFactory(
        ClientSettings(credential=IdentityKey.load(key)), PinnedServers([fingerprint])
    )
    factory.protocol = Thing
    endpoint = endpoints.HostnameEndpoint(reactor, host, int(port))
    session = await endpoint.connect(factory)
    stream = session.streams.endpoint("setpoint")  # It waits until the session is up.
    asking = await endpoints.connectProtocol(stream, amp.AMP())
    answer = await asking.callRemote(Setpoint)
    print(f"to be {answer['celsius']} degrees warm", flush=True)
    try:
        await endpoints.connectProtocol(session.streams.endpoint("shell"), amp.AMP())
    except StreamRefused as refused:
        print(f"shell: {refused}", flush=True)
    await session.page.shown
    print(await session.goodbye())


async def main(_: Any, role: str, *rest: str) -> None:
    try:
        await (serve if role == "server" else connect)(*rest)
    except (CannotListenError, ConnectError, HandshakeFailed) as failure:
        raise SystemExit(str(failure)) from None


task.react(main, sys.argv[1:])
