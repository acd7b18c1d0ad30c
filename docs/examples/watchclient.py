"""A client that stays, and tells how its server is."""

import sys

from twisted.internet import endpoints, task
from twisted.internet.error import ConnectError

from thing import ClientSettings, HandshakeFailed, PinnedServers, ThingFactory, ThingProtocol


class Watching(ThingProtocol):
    def heartbeatAcknowledged(self, sequence, roundTripTime):
        print(f"heartbeat {sequence}: {roundTripTime * 1000:.1f} ms", flush=True)

    def heartbeatLate(self, silence):
        print(f"the server is late: silent for {silence:.1f} s", flush=True)


async def main(reactor, fingerprint):
    factory = ThingFactory(ClientSettings(requestedTtl=3.0), PinnedServers([fingerprint]))
    factory.protocol = Watching
    try:
        client = await endpoints.clientFromString(reactor, "tcp:localhost:9000").connect(factory)
        session = await client.whenEstablished()
    except (ConnectError, HandshakeFailed) as failure:
        raise SystemExit(str(failure)) from None
    print(f"TTL {session.ttl:g} s, a heartbeat every {session.interval:g} s", flush=True)
    print(await client.whenTerminated())


task.react(main, sys.argv[1:])
