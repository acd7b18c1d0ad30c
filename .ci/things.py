"""Keep some things connected to a server: ``things.py ENDPOINT COUNT``, until it is ended."""

import sys

from twisted.application.internet import ClientService
from twisted.internet.endpoints import clientFromString

from thing import Anyone, ClientSettings, ThingFactory


def main() -> None:
    """Connect them, and connect them again half a second after they were sent away."""
    from twisted.internet import reactor

    for _ in range(int(sys.argv[2])):
        factory = ThingFactory(ClientSettings(), Anyone())
        endpoint = clientFromString(reactor, sys.argv[1])
        ClientService(endpoint, factory, retryPolicy=lambda attempts: 0.5).startService()
    reactor.run()


main()
