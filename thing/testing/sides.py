"""
What speaks on one side of a test's connection: a class or factory, made into one of sessions.

What carries the connection is not its concern.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory
from zope.interface import implementer

from thing.endpoints import ApplicationFactory, StreamFactory
from thing.endpoints.stream import StreamProtocol
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol


def factoryOf(side: Any, settings: Any, authorizer: Any, **others: Any) -> Any:
    """
    Make the factory of a side, unless it is one.

    :param side: a class of ``ThingProtocol`` or ``ThingFactory``, any other class of protocols or
        factory of such, or a ``ThingFactory`` or ``ApplicationFactory``.
    :param settings: the settings of a factory that is made.
    :param authorizer: its authorizer.
    :param others: as for ``ThingFactory``.
    :return: a ``ThingFactory`` or an ``ApplicationFactory``.
    :raises TypeError: if the side is nothing of that.
    """
    if isinstance(side, (ThingFactory, ApplicationFactory)):
        return side
    if isinstance(side, type) and issubclass(side, ThingFactory):
        return side(settings, authorizer, **others)
    if isinstance(side, type) and issubclass(side, ThingProtocol):
        factory = ThingFactory(settings, authorizer, **others)
        factory.protocol = side
        return factory
    if isinstance(side, type) and IProtocol.implementedBy(side):
        side = Factory.forProtocol(side)
    if not IProtocolFactory.providedBy(side):
        raise TypeError(f"neither a class of protocols nor a factory: {side!r}")
    return ApplicationFactory(StreamFactory(settings, authorizer, **others), side)


@implementer(IProtocolFactory)
class Remembering:
    """
    An application's factory that remembers what it built.

    :ivar built: the latest.
    """

    def __init__(self, factory: IProtocolFactory) -> None:
        """:param factory: the factory."""
        self._factory = factory
        self.built: IProtocol | None = None

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        """
        Build a protocol.

        :param addr: the peer's address.
        :return: the protocol.
        """
        self.built = self._factory.buildProtocol(addr)
        return self.built

    def doStart(self) -> None:
        """Tell the factory that it is in use."""
        self._factory.doStart()

    def doStop(self) -> None:
        """Tell the factory that it is in use no more."""
        self._factory.doStop()


def build(factory: Any, peer: IAddress) -> tuple[ThingProtocol, Remembering | None]:
    """
    Build a session.

    :param factory: of :func:`factoryOf`.
    :param peer: the peer's address.
    :return: the session, and what remembers the application's protocol if it is one's.
    :raises ConnectionRefusedError: if the factory takes no connection.
    """
    session = factory.buildProtocol(peer)
    if session is None:
        raise ConnectionRefusedError("the factory takes no connection")
    if not isinstance(session, StreamProtocol):
        return session, None
    session.application = application = Remembering(session.application)
    return session, application
