"""
Where peers are examined: whence their connections come, and what this side is to them.

What is tried there is in the rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from thing.conformance.asclient import ClientChoice, ClientPeer
from thing.conformance.asserver import ServerChoice, ServerPeer
from thing.conformance.check import Profile
from thing.conformance.line import Line, Lines
from thing.conformance.peer import Peer
from thing.conformance.verdict import Failed, NotTried, Over
from thing.conformance.words import Twists
from thing.core.messages import Role
from thing.core.wire import MessageReader

P = TypeVar("P", bound=Peer)

NO_TWISTS = Twists()

FIRST = 60.0
"""How long to wait for the first connection of a client, seconds: it may have to be built."""


class NotReached(Exception):
    """There is no peer: it does not take a connection, or none comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds for a whole examination."""

    clock: Any
    """The reactor: it tells the time, and calls back."""

    patience: float = 5.0
    """How long to wait for a connection, and for each answer, seconds."""

    profile: Profile = Profile.FULL
    """What the peer claims to be."""

    label: str = "conformance"
    """The label of the streams that are opened."""


class Bench(ABC, Generic[P]):
    """
    The place of one check, which has its connections from here.

    :ivar terms: what holds for the examination.
    """

    def __init__(self, terms: Terms) -> None:
        """:param terms: what holds for the examination."""
        self.terms = terms
        self._peers: list[P] = []

    async def ready(self) -> None:
        """
        Wait until there is a peer at all: it may start later than this.

        :raises NotReached: if none comes.
        """

    async def peer(self, twists: Twists = NO_TWISTS, **choice: Any) -> P:
        """
        Have a new connection, on which nothing was said; those of the check before it are cut.

        A peer may have one session for each key, and a client no more than one at all.

        :param twists: what of this side's handshake is to be wrong.
        :param choice: what of this side is to be otherwise.
        :return: the peer.
        :raises NotReached: if there is none.
        """
        self.clear()
        connecting = self._connect()
        connecting.addTimeout(self.terms.patience, self.terms.clock)
        try:
            line = await connecting
        except CancelledError:
            raise
        except DeferredTimeout:
            raise NotReached(f"no connection within {self.terms.patience:g} s") from None
        except Exception as error:  # An endpoint may fail in any way.
            raise NotReached(str(error) or type(error).__name__) from None
        peer = self._make(line, twists, choice)
        self._peers.append(peer)
        return peer

    async def session(self, twists: Twists = NO_TWISTS, **choice: Any) -> P:
        """
        Have a new connection, with a session that is up.

        :param twists: as for :meth:`peer`.
        :param choice: as for :meth:`peer`.
        :return: the peer.
        :raises Failed: if the session does not come up.
        """
        peer = await self.peer(twists, **choice)
        try:
            await peer.handshake()
        except Over as end:
            raise Failed(f"no session came up: {end}") from None
        return peer

    def sleep(self, seconds: float) -> Deferred[None]:
        """
        Wait.

        :param seconds: for so long.
        :return: fires then.
        """
        return deferLater(self.terms.clock, seconds)

    def needsAll(self, wanted: str) -> None:
        """
        Skip the check with a small peer.

        :param wanted: what such a peer need not have.
        :raises NotTried: if this is one.
        """
        if self.terms.profile is Profile.SMALL:
            raise NotTried(f"a small peer need not have {wanted}")

    def clear(self) -> None:
        """The check is over: close what is still open."""
        for peer in self._peers:
            peer.line.cut()
        self._peers.clear()

    @abstractmethod
    def again(self) -> Bench[P]:
        """:return: the place of another check."""

    @abstractmethod
    def _connect(self) -> Deferred[Line]:
        """Have a connection."""

    @abstractmethod
    def _make(self, line: Line, twists: Twists, choice: dict[str, Any]) -> P:
        """Be this side on a connection."""


class _Caller(Factory):
    """Makes the stream to a server."""

    noisy = False

    def buildProtocol(self, addr: object) -> Line:
        """
        A connection is there.

        :param addr: to where.
        :return: its stream.
        """
        return Line(MessageReader(Role.SERVER))


class ServerBench(Bench[ClientPeer]):
    """Examines a server."""

    examines = Role.SERVER

    def __init__(self, terms: Terms, endpoint: Any, choice: ClientChoice) -> None:
        """
        :param terms: what holds for the examination.
        :param endpoint: connects to the server.
        :param choice: what this side is.
        """
        super().__init__(terms)
        self.choice = choice
        self._endpoint = endpoint

    def again(self) -> ServerBench:
        """:return: the place of another check."""
        return ServerBench(self.terms, self._endpoint, self.choice)

    def _connect(self) -> Deferred[Line]:
        connecting: Deferred[Line] = self._endpoint.connect(_Caller())
        return connecting

    def _make(self, line: Line, twists: Twists, choice: dict[str, Any]) -> ClientPeer:
        chosen = replace(self.choice, **choice)
        return ClientPeer(line, self.terms.clock, self.terms.patience, twists, chosen)


class ClientBench(Bench[ServerPeer]):
    """Examines a client."""

    examines = Role.CLIENT

    def __init__(self, terms: Terms, lines: Lines, choice: ServerChoice) -> None:
        """
        :param terms: what holds for the examination.
        :param lines: the client's connections.
        :param choice: what this side is.
        """
        super().__init__(terms)
        self.choice = choice
        self._lines = lines

    def again(self) -> ClientBench:
        """:return: the place of another check."""
        return ClientBench(self.terms, self._lines, self.choice)

    async def ready(self) -> None:
        """
        Wait until a client has connected: it may start later than this.

        :raises NotReached: if none comes.
        """
        try:
            await self._lines.came.addTimeout(FIRST, self.terms.clock)
        except DeferredTimeout:
            raise NotReached(f"no client connected within {FIRST:g} s") from None

    def _connect(self) -> Deferred[Line]:
        return self._lines.next()

    def _make(self, line: Line, twists: Twists, choice: dict[str, Any]) -> ServerPeer:
        chosen = replace(self.choice, **choice)
        return ServerPeer(line, self.terms.clock, self.terms.patience, twists, chosen)
