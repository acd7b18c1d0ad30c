"""
The endpoint descriptions ``thing:...``.

Thing is imported when a description is parsed, and not when Twisted looks for
what kinds of description there are.
"""

from typing import Any

from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, IStreamServerEndpointStringParser)
class _ServerParser:
    """Parses a server's description."""

    prefix = "thing"

    def parseStreamServer(
        self, reactor: Any, /, *args: Any, **kwargs: Any
    ) -> IStreamServerEndpoint:
        """
        Parse it.

        :param reactor: the reactor.
        :param args: the fields without a name.
        :param kwargs: the fields with a name.
        :return: the endpoint.
        """
        from thing.endpoints.parsers import parseServer

        return parseServer(reactor, args, kwargs)


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class _ClientParser:
    """Parses a client's description."""

    prefix = "thing"

    def parseStreamClient(
        self, reactor: Any, /, *args: Any, **kwargs: Any
    ) -> IStreamClientEndpoint:
        """
        Parse it.

        :param reactor: the reactor.
        :param args: the fields without a name.
        :param kwargs: the fields with a name.
        :return: the endpoint.
        """
        from thing.endpoints.parsers import parseClient

        return parseClient(reactor, args, kwargs)


thingServerParser = _ServerParser()
thingClientParser = _ClientParser()
