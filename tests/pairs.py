"""What the tests of the Twisted layer share: recording protocols, and pairs of them in memory."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.anypeer import AnyPeer
from tests.helpers import clientSettings, serverSettings
from thing import testing
from thing.core.limits import Limits
from thing.core.settings import ClientSettings, ServerSettings
from thing.events import Session, Termination
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol
from thing.testing.pair import NETWORK_SIZE
from thing.trust.authorized import Anyone

ADDRESS = IPv4Address("TCP", "192.0.2.1", 1)
"""Where a client comes from, unless a test says so."""

CALLBACKS = (
    "connectionMade",
    "handshakeCompleted",
    "messageReceived",
    "lastWordReceived",
    "heartbeatSent",
    "heartbeatReceived",
    "heartbeatAcknowledged",
    "heartbeatLate",
    "goingAway",
    "serverKeyAnnounced",
    "keyUpdated",
    "terminated",
    "connectionLost",
)
"""Every callback of a ThingProtocol."""


class CallbackBug(Exception):
    """What a recording protocol raises where it was told to."""


class Recorder(ThingProtocol):
    """
    Records its callbacks, as (name, arguments), and does what it is told in them.

    :ivar calls: the callbacks, in order.
    :ivar raising: the names of the callbacks that raise.
    :ivar doing: what else to do in a callback, by its name; called with the callback's arguments.
    """

    raising: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.doing: dict[str, Callable[..., object]] = {}

    def names(self) -> list[str]:
        """The names of the callbacks, in order."""
        return [call[0] for call in self.calls]

    def of(self, name: str) -> list[Any]:
        """The first arguments of the calls of one callback."""
        return [call[1] for call in self.calls if call[0] == name]

    @property
    def messages(self) -> list[bytes]:
        """The messages received."""
        return self.of("messageReceived")

    @property
    def end(self) -> Termination:
        """How the session ended; it must have, once."""
        (termination,) = self.of("terminated")
        return termination


def _recording(name: str) -> Callable[..., None]:
    def callback(self: Recorder, *args: object) -> None:
        self.calls.append((name, *args))
        if name in self.doing:
            self.doing[name](*args)
        if name in self.raising:
            raise CallbackBug(name)

    return callback


for _name in CALLBACKS:
    setattr(Recorder, _name, _recording(_name))


def freshServer(**choices: Any) -> ServerSettings:
    """A server's settings; unlike the core's tests, with real randomness in every session."""
    return serverSettings(**{"random": secrets.token_bytes, **choices})


def freshClient(**choices: Any) -> ClientSettings:
    """A client's settings, with real randomness in every session."""
    return clientSettings(**{"random": secrets.token_bytes, **choices})


class Pair(testing.Pair):
    """
    A server and a client that record what they are told; by default the server admits anyone.

    :cvar layers: whether something lies between sessions and sockets.
    """

    layers = False

    def __init__(
        self,
        server: ServerSettings | None = None,
        client: ClientSettings | None = None,
        *,
        limits: Limits | None = None,
        authorizer: object = None,
        clientAuthorizer: object = None,
        clock: Clock | None = None,
        clientClock: Clock | None = None,
        networkSize: int = NETWORK_SIZE,
        serverFactory: ThingFactory | None = None,
        clientFactory: ThingFactory | None = None,
        clientProtocol: Callable[[], Any] = Recorder,
        jitter: Callable[[], float] = lambda: 0.5,
        address: Any = ADDRESS,
    ) -> None:
        clock = clock or Clock()
        clientClock = clientClock or clock
        if serverFactory is None:
            serverFactory = ThingFactory(
                server or freshServer(),
                authorizer or Anyone(),
                limits=limits,
                clock=clock,
                jitter=jitter,
            )
            serverFactory.protocol = Recorder
        if clientFactory is None:
            clientFactory = ThingFactory(
                client or freshClient(),
                clientAuthorizer or AnyPeer(),
                clock=clientClock,
                jitter=jitter,
            )
            clientFactory.protocol = clientProtocol
        super().__init__(
            serverFactory,
            clientFactory,
            clock=clock,
            clientClock=clientClock,
            networkSize=networkSize,
            layers=self.layers,
            clientAddress=address,
        )


class PairedEndpoint:
    """Has a server in memory at the other end of each connection."""

    def __init__(self, clock: Clock, server: Callable[[], ThingProtocol] = ThingProtocol) -> None:
        """
        :param clock: both sides'.
        :param server: makes the server's side.
        """
        self.clock = clock
        self.keys = testing.Keys()
        self.pairs: list[testing.Pair] = []
        self._server = server

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect a client's factory."""
        pair = testing.Pair(self._server, factory, keys=self.keys, clock=self.clock).connect()
        self.pairs.append(pair)
        return succeed(pair.clientSession)


def firings(waiter: Any) -> list[Any]:
    """What a Deferred fires with, as a list that grows; a failure's exception for a failure."""
    fired: list[Session | Termination | BaseException] = []
    waiter.addCallbacks(fired.append, lambda failure: fired.append(failure.value))
    return fired


class PairCase(SynchronousTestCase):
    """
    Tests with pairs; at the end of each, whatever it did, nothing of a session is left.

    :ivar pairType: makes a pair.
    """

    pairType: Callable[..., Pair] = Pair

    def setUp(self) -> None:
        self.pairs: list[Pair] = []

    def pair(self, *args: Any, **named: Any) -> Pair:
        """A pair that is checked at the end of the test."""
        pair = self.pairType(*args, **named)
        self.pairs.append(pair)
        return pair

    def tearDown(self) -> None:
        for pair in self.pairs:
            pair.close()
        for pair in self.pairs:
            self.assertOver(pair)

    def assertOver(self, pair: Pair) -> None:
        """Both sides have ended, once each, in order, and left nothing behind."""
        for side, end in ((pair.server, pair.serverEnd), (pair.client, pair.clientEnd)):
            if side.transport is None:
                continue
            self.assertFalse(end.connected, f"the transport to {end.getPeer()} is open")
            names = side.names()
            self.assertEqual(names[0], "connectionMade")
            self.assertLessEqual(names.count("handshakeCompleted"), 1)
            self.assertEqual(names[-2:], ["terminated", "connectionLost"])
            self.assertEqual(names.count("terminated"), 1)
            self.assertEqual(names.count("connectionLost"), 1)
        self.assertEqual(pair.clock.getDelayedCalls(), [])
        self.assertEqual(pair.clientClock.getDelayedCalls(), [])
        for factory in (pair.serverFactory, pair.clientFactory):
            self.assertEqual(factory.sessions, set())
            self.assertEqual(factory.door.handshakes, {})
            self.assertEqual(factory.door.handshakesPerNetwork, {})
            self.assertEqual(factory.door.connected, 0)
            self.assertEqual(factory.door.perNetwork, {})
