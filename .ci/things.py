"""Keep some things connected to a server: ``things.py ENDPOINT COUNT``, until it is ended."""

import sys

from twisted.application.internet import ClientService
from twisted.internet.endpoints import clientFromString
from zope.interface import implementer

from thing import ClientSettings, IAuthorizer, Identity, ThingFactory


@implementer(IAuthorizer)
class AnyServer:
    """Believes whatever server: it is on this machine, and was just started."""

    def authorize(self, identity: Identity) -> Identity:
        """Believe it."""
        return identity


def main() -> None:
    """Connect them, and connect them again half a second after they were sent away."""
    from twisted.internet import reactor

    for _ in range(int(sys.argv[2])):
        factory = ThingFactory(ClientSettings(), AnyServer())
        endpoint = clientFromString(reactor, sys.argv[1])
        ClientService(endpoint, factory, retryPolicy=lambda attempts: 0.5).startService()
    reactor.run()


main()
