"""
:class:`Pair`: a server and a client in memory, on a clock that the test moves.

The two sides are real; the network and the time between them are made up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock

from thing.core.settings import ClientSettings, ServerSettings
from thing.endpoints import ApplicationFactory
from thing.errors import HandshakeFailed
from thing.session.driver import LINGER
from thing.session.factory import ThingFactory
from thing.testing.keys import Keys
from thing.testing.sides import build, factoryOf
from thing.testing.sockets import CLIENT_ADDRESS, SERVER_ADDRESS
from thing.testing.transports import PLENTY, connectedTransports, layered

if TYPE_CHECKING:
    from typing_extensions import Self

NETWORK_SIZE = 1 << 18
"""How many octets the network takes each way before some were read, unless it is told."""

TURN = 0.125
"""How far the clock moves between two turns of the network, seconds."""

ROUNDS = 100_000
"""In so many turns of the network everything has arrived, or something goes round for ever."""


class Pair:
    """
    A server and a client, connected in memory, on one clock.

    Each side is one of these:

    - a class of :class:`~thing.session.protocol.ThingProtocol`, or one of
      :class:`~thing.session.factory.ThingFactory`: its factory is made on the spot, with
      keys that the other side believes;
    - any other class of protocols or any factory of such protocols: an application, which speaks
      over a session as over ``thing:``;
    - a ``ThingFactory`` or an :class:`~thing.endpoints.ApplicationFactory` of yours, made with
      the pair's clock.

    Nothing moves by itself: :meth:`pump` carries octets, :meth:`advance` lets time
    pass, too. Their transports are Twisted's own, over sockets in memory.

    :ivar clock: the clock of the server, and of the client too unless it has one of its own.
    :ivar clientClock: the client's clock.
    :ivar keys: the keys of the factories that were made on the spot.
    :ivar serverFactory: builds the server's sessions.
    :ivar clientFactory: builds the client's.
    :ivar serverSession: the server's :class:`~thing.session.protocol.ThingProtocol`.
    :ivar clientSession: the client's.
    :ivar serverEnd: the server's end of the connection, a
        :class:`~thing.testing.transports.MemoryTransport`.
    :ivar clientEnd: the client's.
    """

    def __init__(
        self,
        server: Any,
        client: Any,
        *,
        serverSettings: ServerSettings | None = None,
        clientSettings: ClientSettings | None = None,
        keys: Keys | None = None,
        clock: Clock | None = None,
        clientClock: Clock | None = None,
        jitter: Callable[[], float] = lambda: 0.5,
        layers: bool = False,
        networkSize: int = NETWORK_SIZE,
        serverAddress: IAddress = SERVER_ADDRESS,
        clientAddress: IAddress = CLIENT_ADDRESS,
    ) -> None:
        """
        :param server: the server's side.
        :param client: the client's side.
        :param serverSettings: the settings of a server whose factory is made on the spot.
        :param clientSettings: the settings of a client whose factory is made on the spot.
        :param keys: the keys of both; by default new ones.
        :param clock: the clock; by default the one that a factory of yours has, or a new one.
        :param clientClock: the client's clock, if it is another.
        :param jitter: numbers from 0 up to 1 for the schedule of heartbeats.
        :param layers: whether something lies between sessions and sockets, as TLS does. Over a
            socket alone, as by default, a session sends some of its octets without waiting for a
            turn of the reactor.
        :param networkSize: how many octets the network takes each way before some were read.
        :param serverAddress: the server's address.
        :param clientAddress: the client's address.
        :raises TypeError: if a side is nothing of what it may be, or a clock is no ``Clock``.
        """
        self.keys = keys or Keys()
        self.clock: Clock = clock or _clockOf(server) or _clockOf(client) or Clock()
        self.clientClock: Clock = clientClock or _clockOf(client) or self.clock
        self.serverFactory: Any = factoryOf(
            server,
            serverSettings or self.keys.serverSettings(),
            self.keys.things,
            clock=self.clock,
            jitter=jitter,
        )
        self.clientFactory: Any = factoryOf(
            client,
            clientSettings or self.keys.clientSettings(),
            self.keys.servers,
            clock=self.clientClock,
            jitter=jitter,
        )
        self._layers = layers
        self.serverSession, self._serverApplication = build(self.serverFactory, clientAddress)
        self.clientSession, self._clientApplication = build(self.clientFactory, serverAddress)
        self.serverEnd, self.clientEnd = connectedTransports(
            self.clock, self.clientClock, serverAddress, clientAddress, networkSize
        )

    @property
    def server(self) -> Any:
        """The server's ``ThingProtocol``; or its application's protocol, None until it is built."""
        application = self._serverApplication
        return self.serverSession if application is None else application.built

    @property
    def client(self) -> Any:
        """The client's ``ThingProtocol``; or its application's protocol, None until it is built."""
        application = self._clientApplication
        return self.clientSession if application is None else application.built

    # How it goes.

    def connect(self) -> Self:
        """
        Connect both sides; nothing is carried yet.

        :return: the pair.
        """
        for session, end in (
            (self.serverSession, self.serverEnd),
            (self.clientSession, self.clientEnd),
        ):
            end.connect(layered(session) if self._layers else session)
        return self

    def up(self) -> Self:
        """
        Connect both sides, and complete the handshake.

        :return: the pair.
        :raises HandshakeFailed: if it fails.
        :raises AssertionError: if it comes to a halt.
        """
        self.connect().pump()
        for session in (self.clientSession, self.serverSession):
            if session.session is None and session.termination is not None:
                raise HandshakeFailed(session.termination)
        if None in (self.clientSession.session, self.serverSession.session):
            raise AssertionError(
                "the handshake waits for something; connect() and go on from there"
            )
        return self

    def step(self, clientLimit: int = PLENTY, serverLimit: int = PLENTY) -> bool:
        """
        One turn of the reactor: do what is due, then let each side send and receive once.

        :param clientLimit: the most octets of the client's that arrive now.
        :param serverLimit: the most octets of the server's that arrive now.
        :return: whether the network did anything.
        """
        self._tick(0.0)
        return self.clientEnd.step(clientLimit) | self.serverEnd.step(serverLimit)

    def drop(self, clientLimit: int = PLENTY, serverLimit: int = PLENTY) -> int:
        """
        One turn of the reactor in which each side sends once, and nothing of it arrives.

        What is sent afterwards does. No TCP does that, but who is in the middle can: the records
        that follow do not open, and so end the session.

        :param clientLimit: the most octets of the client's that are lost, the first ones.
        :param serverLimit: the most octets of the server's that are lost.
        :return: how many octets were lost.
        """
        self._tick(0.0)
        return self.clientEnd.drop(clientLimit) + self.serverEnd.drop(serverLimit)

    def pump(self, limit: int = PLENTY, rounds: int = ROUNDS) -> None:
        """
        Let turns of the reactor follow each other until nothing happens any more.

        :param limit: the most octets of each side that arrive in one turn.
        :param rounds: how many turns may follow each other.
        :raises AssertionError: if it never comes to rest.
        """
        quiet = 0
        for _ in range(rounds):
            quiet = 0 if self.step(limit, limit) else quiet + 1
            if quiet == 2:  # What was done in the one may have effects in the other.
                return
        raise AssertionError("the two do not come to rest")

    def advance(self, seconds: float, turn: float = TURN) -> None:
        """
        Let time pass, with network and reactor at work all the while.

        :param seconds: how long.
        :param turn: the longest time between two turns of the reactor, seconds.
        """
        end = self.clock.seconds() + seconds
        while (left := end - self.clock.seconds()) > 1e-9:
            self._tick(min(turn, left, self._untilDue() or turn))
            self.pump()

    def stall(self, seconds: float) -> None:
        """
        Let time pass while both sides stand still, as if their process was stopped.

        All that fell due meanwhile is done afterwards, at once, and then what has arrived is read.
        A client that stood still for a TTL gives its server a second, and then up.

        :param seconds: how long.
        """
        self._tick(seconds)
        self.pump()

    def freeze(self) -> None:
        """
        Let the network carry nothing any more, either way, and tell nobody.

        For one way only set ``frozen`` of the end that sends.
        """
        self.serverEnd.frozen = self.clientEnd.frozen = True

    def thaw(self) -> None:
        """Let the network carry again, first of all what was sent meanwhile, as TCP does."""
        self.serverEnd.frozen = self.clientEnd.frozen = False

    def cut(self) -> None:
        """Reset the connection from its middle: all on its way is lost, and both sides learn."""
        for end in (self.serverEnd, self.clientEnd):
            end.sending.cut()
        self.pump()

    def close(self) -> None:
        """
        End what is left of both sides; for ``addCleanup``.

        :raises AssertionError: if an end stays open.
        """
        for session in (self.serverSession, self.clientSession):
            if session.connected and session.termination is None:
                session.abort()
        self.thaw()
        self.pump()
        self.advance(LINGER + 1, 0.5)
        if self.serverEnd.connected or self.clientEnd.connected:
            raise AssertionError("a connection is left open")

    def _tick(self, seconds: float) -> None:
        _turn(self.clock, seconds)
        if self.clientClock is not self.clock:
            _turn(self.clientClock, seconds)

    def _untilDue(self) -> float:
        """How long the next delayed call waits, seconds; what is late looks like a stall."""
        waits = (
            call.getTime() - clock.seconds()
            for clock in (self.clock, self.clientClock)
            for call in clock.getDelayedCalls()
        )
        return max(0.0, min(waits, default=math.inf))


def _turn(clock: Clock, seconds: float) -> None:
    """
    Move a clock, and do what is due.

    ``Clock.advance`` does what follows from that at once, too. Here it waits for the next
    turn, as with any reactor: something else may come between.
    """
    clock.rightNow += seconds
    for call in [call for call in clock.calls if call.getTime() <= clock.rightNow]:
        if call.active() and call.getTime() <= clock.rightNow:
            clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


def _clockOf(side: Any) -> Clock | None:
    """The clock of a side that has one already."""
    factory = side.sessions if isinstance(side, ApplicationFactory) else side
    if not isinstance(factory, ThingFactory):
        return None
    if not isinstance(factory.clock, Clock):
        raise TypeError(f"{factory!r} was not made with a task.Clock")
    return factory.clock
