"""
:class:`SessionTransport`: the ``transport`` of a :class:`~thing.session.protocol.ThingProtocol`.

The octets of a session are the driver's, which has the transport below. Who writes to a transport
out of habit would write between the records, in the clear: here that is an error that tells what
to do instead, and to close is to end the session.
"""

from __future__ import annotations

from typing import Any, NoReturn, Protocol
from weakref import proxy

from twisted.internet.interfaces import IAddress, IPushProducer, ITransport
from zope.interface import implementer

from thing.session.tcpoptions import TcpOptions
from thing.session.transports import abort


class OwnSession(Protocol):
    """The session, as its transport knows it."""

    def goodbye(self) -> object:
        """End it in order."""

    def abort(self) -> None:
        """End it at once."""

    def endData(self) -> None:
        """End this side's half."""

    def pauseProducing(self) -> None:
        """Deliver no messages."""

    def resumeProducing(self) -> None:
        """Deliver messages again."""


@implementer(ITransport, IPushProducer)
class SessionTransport(TcpOptions):
    """
    The transport of one session's protocol: where the peer is, and ways to end the session.

    :ivar below: the transport that carries the session, for what has no name here. What is
        written there by anybody else breaks the session.
    """

    __slots__ = ("_session", "below")

    def __init__(self, below: Any, session: OwnSession) -> None:
        """
        :param below: the transport that carries the session.
        :param session: the session.
        """
        self.below = below
        self._session: OwnSession = proxy(session)

    # What is not to be done.

    def write(self, data: bytes) -> NoReturn:
        """
        Refuse: a session sends messages.

        :param data: what would be written between the records, in the clear.
        :raises TypeError: always.
        """
        raise TypeError("the octets of the transport are the session's: use self.sendMessage(data)")

    def writeSequence(self, data: Any) -> NoReturn:
        """
        Refuse, as :meth:`write`.

        :param data: what would be written.
        :raises TypeError: always.
        """
        self.write(data)

    def registerProducer(self, producer: Any, streaming: bool) -> NoReturn:
        """
        Refuse: what a producer writes is sent in messages.

        :param producer: what would produce.
        :param streaming: how.
        :raises TypeError: always.
        """
        raise TypeError("use self.registerProducer(producer, streaming): it sends messages")

    def unregisterProducer(self) -> NoReturn:
        """
        Refuse, as :meth:`registerProducer`.

        :raises TypeError: always.
        """
        raise TypeError("use self.unregisterProducer()")

    # What is done to the session.

    def loseConnection(self) -> None:
        """End the session in order: all that was sent before arrives."""
        self._session.goodbye()

    def loseWriteConnection(self) -> None:
        """End this side's half, behind all that was sent."""
        self._session.endData()

    def abortConnection(self) -> None:
        """End the session at once, and its stream: the peer sees that truncated."""
        self._session.abort()
        abort(self.below)  # It may be over, and its stream linger.

    def pauseProducing(self) -> None:
        """Stop delivering messages; heartbeats go on (``IPushProducer``)."""
        self._session.pauseProducing()

    def resumeProducing(self) -> None:
        """Deliver messages again (``IPushProducer``)."""
        self._session.resumeProducing()

    def stopProducing(self) -> None:
        """End the session (``IPushProducer``)."""
        self._session.goodbye()

    # What is asked of the transport below.

    @property
    def connected(self) -> bool:
        """Whether the stream is there."""
        return bool(self.below.connected)

    @property
    def disconnecting(self) -> bool:
        """Whether the stream is about to close."""
        return bool(self.below.disconnecting)

    def getPeer(self) -> IAddress:
        """:return: the peer's address; behind a PROXY header the one that it tells."""
        address: IAddress = self.below.getPeer()
        return address

    def getHost(self) -> IAddress:
        """:return: this side's address."""
        address: IAddress = self.below.getHost()
        return address

    @property
    def _tcp(self) -> Any:
        return self.below if self.connected else None

    def __repr__(self) -> str:
        """The stream below."""
        return f"<SessionTransport over {self.below!r}>"
