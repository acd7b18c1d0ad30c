"""
Fetch a file of any size from a web server that is reached through Thing.

    $ twistd -n web --path public --listen thing:9000:identity=server_key:authorized=things
    $ python transport_web.py \
        thing:localhost:9000:identity=thing_key:serverKey=... http://server/big big
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any, BinaryIO

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer


@implementer(IAgentEndpointFactory)
class Through:
    """Sends every request to one endpoint, whatever host its URI names."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self.endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self.endpoint


class Body(Protocol):
    """Takes a response's body as it comes, and keeps none of it in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.hash = hashlib.sha256()
        self.done: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.file.write(data)
        self.hash.update(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ResponseDone):
            self.done.callback(None)
        else:
            self.done.errback(reason)  # It names the session's end: never take this for whole.


async def main(reactor: Any, description: str, uri: str, path: str) -> None:
    endpoint = endpoints.clientFromString(reactor, description)
    agent = Agent.usingEndpointFactory(reactor, Through(endpoint))
    response = await agent.request(b"GET", uri.encode())
    if response.code != 200:
        raise SystemExit(f"the server answers {response.code}")
    with open(path, "wb") as file:
        body = Body(file)
        response.deliverBody(body)
        await body.done
        print(f"{body.hash.hexdigest()}  {path}, {file.tell()} octets")
    for session in list(endpoint.factory.sessions):  # The agent says no word of its connection.
        print(await session.whenTerminated())


task.react(main, sys.argv[1:])
