"""
Connects to a server that may have several addresses: they are tried one after the other.

Which server is believed there is trust's, and when to come back the endpoints'.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from thing.cli.endings import whyNot
from thing.cli.exits import complain
from thing.cli.keys import askPassphrase
from thing.cli.options import ClientOptions
from thing.cli.servers import choiceOf
from thing.session.clock import SteadyClock
from thing.trust import ClientChoice
from thing.trust.fresh import FreshTrust

Way = tuple[ClientOptions, ClientChoice]
"""One address of the server, and what is believed there."""


def waysOf(options: ClientOptions) -> list[Way]:
    """
    Read the keys, and what tells which server to believe at each of its addresses.

    :param options: what the user chose.
    :return: the addresses in their order, with what is believed there.
    :raises CredentialError: if a file cannot be read or understood.
    """
    ask = functools.cache(askPassphrase)  # A key is asked for once, however many there are.
    each = [replace(options, target=target, others=()) for target in options.targets]
    return [(one, choiceOf(one, ask)) for one in each]


@implementer(IStreamClientEndpoint)
class Addresses:
    """The addresses of a server: the first that takes the connection has it."""

    def __init__(
        self, reactor: Any, ways: Sequence[Way], tell: Callable[[str], object] = complain
    ) -> None:
        """
        :param reactor: connects.
        :param ways: the addresses, with what is believed there.
        :param tell: called with the line that says why the next one is tried.
        """
        self._tell = tell
        clock = SteadyClock.of(reactor)
        self._ways = [
            (
                options,
                options.target.endpoint(reactor, options.timeout),
                FreshTrust(choice, clock),
            )
            for options, choice in ways
        ]

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """
        Connect.

        :param protocolFactory: a :class:`~thing.session.factory.ThingFactory`; it shows and
            believes from then on what counts at the address that is tried, as the files have it by
            then.
        :return: fires with the protocol, or fails as the last address did.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: Any) -> Any:
        *firsts, last = self._ways
        for options, endpoint, trust in firsts:
            _apply(await trust.renewed(), factory)
            try:
                connecting: Deferred[Any] = endpoint.connect(factory)
                return await connecting.addTimeout(options.timeout, factory.clock)
            except CancelledError:
                raise
            except Exception as error:  # An endpoint may fail in any way.
                self._tell(f"{whyNot(options, error)}; trying the next address")
        _, endpoint, trust = last
        _apply(await trust.renewed(), factory)
        return await endpoint.connect(factory)


def _apply(choice: ClientChoice, factory: Any) -> None:
    """Have a factory's next session show and believe what was chosen."""
    factory.settings = choice.applied(factory.settings)
    factory.authorizer = choice.authorizer
