"""
What a program can ask of the session that its protocol's transport is carried in.

And what it can have served in the streams of one. What the session is, and does, is not told here.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ITCPTransport
from zope.interface import Attribute, Interface

from thing.arguments import checkMethods


class IThingTransport(ITCPTransport):
    """
    A stream transport inside a Thing session, with half-closes.

    The peer has proved itself, and was admitted, before a protocol gets such a
    transport; what is said here of the session stays true after its end.
    """

    session = Attribute(
        "The :class:`~thing.events.Session`: what both sides agreed on at the handshake."
    )

    peer = Attribute(
        "The :class:`~thing.identity.Identity` that the peer proved, with the name that"
        " this side knows it by."
    )

    sessionId = Attribute("The session id in hexadecimal, the same on both sides.")

    ttl = Attribute("The TTL as the server granted it last, seconds.")

    streams = Attribute(
        "The session's streams, a :class:`~thing.session.streams.SessionStreams`: open others"
        " beside this one, and say what is served in them."
    )

    roundTripTime = Attribute(
        "What the client's last acknowledged heartbeat measured, seconds; None before one."
    )

    def exportKeyingMaterial(label: str, context: bytes, length: int) -> bytes:
        """
        Derive octets that only the two ends of this session know, for channel binding.

        :param label: what they are for; ASCII, at most 128 characters.
        :param context: what else they are bound to.
        :param length: how many, 1 to 8160.
        :return: the same octets on both sides.
        :raises LocalProtocolError: if the session is over, or an argument is out of bounds.
        """


class IStreamServer(Interface):
    """
    What is served in the streams of a label where no one protocol factory does for all of them.

    As that it is given to ``serve``, and told when it is in use.
    """

    def streamRequested(protocol: Any, label: str) -> Any:
        """
        Decide about a stream that the peer opens.

        :param protocol: the :class:`~thing.session.protocol.ThingProtocol` of the session.
        :param label: what it is for.
        :return: a protocol factory; None to refuse it; or a Deferred of one of these, which is
            cancelled if the stream is given up.
        :raises StreamRefused: to refuse it with another code than ``NOT_TAKEN``.
        """

    def doStart() -> None:
        """Note that it is in use."""

    def doStop() -> None:
        """Note that it is in use no more."""


def checkApplication(factory: object) -> None:
    """
    Refuse what builds no protocols.

    :param factory: the application's factory.
    :raises TypeError: if it cannot.
    """
    wanted = "a factory of protocols, as Factory.forProtocol(...)"
    checkMethods("protocolFactory", factory, ("buildProtocol", "doStart", "doStop"), wanted)


def checkServed(factory: object) -> None:
    """
    Refuse what cannot be served in streams.

    :param factory: what builds a protocol for each, or decides about each.
    :raises TypeError: if it does neither.
    """
    does = "streamRequested" if IStreamServer.providedBy(factory) else "buildProtocol"
    wanted = "a factory of protocols, as Factory.forProtocol(...), or an IStreamServer"
    checkMethods("factory", factory, (does, "doStart", "doStop"), wanted)
