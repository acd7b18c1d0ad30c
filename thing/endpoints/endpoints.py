"""
Endpoints: any Twisted protocol over Thing, over any endpoint of Twisted's.

What becomes of a session once it is up is in :mod:`~thing.endpoints.stream`.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from thing.core.limits import Limits
from thing.core.messages import Role
from thing.core.settings import ClientSettings, ServerSettings
from thing.endpoints.stream import ApplicationFactory, StreamFactory, StreamProtocol
from thing.session.checks import checkEndpoint, roleOf
from thing.session.interfaces import checkApplication
from thing.trust.fresh import FreshTrust
from thing.trust.interfaces import ServerAuthorizer, ThingAuthorizer


@implementer(IStreamServerEndpoint)
class ThingServerEndpoint:
    """
    Listens on another endpoint, and lets protocols speak over sessions there.

    :ivar factory: the sessions of all its ports: who is there, how they ended, ``drain``.
    """

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        settings: ServerSettings,
        authorizer: ThingAuthorizer,
        *,
        limits: Limits | None = None,
        clock: IReactorTime | None = None,
    ) -> None:
        """
        :param endpoint: where to listen.
        :param settings: the server's settings; ``stream`` and ``maxBuffered`` do not count.
        :param authorizer: whom to admit.
        :param limits: how much the server takes on.
        :param clock: measures time; by default a steady clock over the reactor.
        :raises TypeError: if one of them is something else, or for a client.
        """
        checkEndpoint(endpoint, "listen")
        roleOf(settings, Role.SERVER)
        self.factory = StreamFactory(settings, authorizer, limits=limits, clock=clock)
        self._endpoint = endpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Listen.

        :param protocolFactory: builds a protocol for each session, once it is up.
        :return: fires with the port; ``stopListening`` ends no session, and who is revoked later
            loses it all the same.
        :raises TypeError: if the factory is something else.
        """
        checkApplication(protocolFactory)
        listening: Deferred[IListeningPort] = self._endpoint.listen(
            ApplicationFactory(self.factory, protocolFactory)
        )
        return listening


@implementer(IStreamClientEndpoint)
class ThingClientEndpoint:
    """
    Connects by another endpoint, and lets a protocol speak over a session there.

    Whatever survives between sessions is kept here, so keep the endpoint and connect again.

    :ivar factory: the sessions.
    :ivar trust: what keeps settings and authorizer as the files of keys have them, or None; to be
        set, with the choice that they were made of. An endpoint that a string describes has it.
    """

    trust: FreshTrust | None = None

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        settings: ClientSettings,
        authorizer: ServerAuthorizer,
        *,
        clock: IReactorTime | None = None,
    ) -> None:
        """
        :param endpoint: how to connect.
        :param settings: the client's settings; ``stream`` and ``maxBuffered`` do not count.
        :param authorizer: which server to believe.
        :param clock: measures time; by default a steady clock over the reactor.
        :raises TypeError: if one of them is something else, or for a server.
        """
        checkEndpoint(endpoint, "connect")
        roleOf(settings, Role.CLIENT)
        self.factory = StreamFactory(settings, authorizer, clock=clock)
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Connect.

        :param protocolFactory: builds the protocol, once the session is up.
        :return: fires with the protocol when both sides have proved themselves and
            its ``connectionMade`` is done; fails with what the endpoint below failed with, or
            with :class:`~thing.errors.HandshakeFailed`, which tells how. It may be cancelled.
        :raises TypeError: if the factory is something else.
        """
        checkApplication(protocolFactory)
        if self.trust is None:
            return self._connect(protocolFactory)
        renewing = Deferred.fromCoroutine(self._renew(self.trust))
        return renewing.addCallback(lambda _: self._connect(protocolFactory))

    def _connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connecting: Deferred[Any] = self._endpoint.connect(
            ApplicationFactory(self.factory, protocolFactory)
        )
        return connecting.addCallback(StreamProtocol.whenConnected)

    async def _renew(self, trust: FreshTrust) -> None:
        """Have what the files of keys have by now; if that is the same, all stays as it was set."""
        before, choice = trust.choice, await trust.renewed()
        if choice is not before:
            settings: Any = self.factory.settings
            self.factory.settings = choice.applied(settings)
            self.factory.authorizer = choice.authorizer
