"""A client that asks, and leaves a last word in case that it is lost."""

import sys

from twisted.internet import endpoints, task
from twisted.internet.error import ConnectError

from thing import (
    ClientSettings,
    HandshakeFailed,
    PinnedServers,
    RequestFailed,
    RequestTimedOut,
    ThingFactory,
)


async def main(reactor, fingerprint):
    settings = ClientSettings(lastWord=b"the kettle is gone")
    factory = ThingFactory(settings, PinnedServers([fingerprint]))
    try:
        client = await endpoints.clientFromString(reactor, "tcp:localhost:9000").connect(factory)
        await client.whenEstablished()
    except (ConnectError, HandshakeFailed) as failure:
        raise SystemExit(str(failure)) from None
    for question in (b"6 7", b"six seven"):
        try:
            answer = await client.request(question, timeout=5)
            print(f"the answer is {answer.decode()}")
        except (RequestFailed, RequestTimedOut) as error:
            print(f"no answer: {error}")
    client.abort()  # As if it were lost.
    print(await client.whenTerminated())


task.react(main, sys.argv[1:])
