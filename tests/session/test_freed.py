"""A session that is over is freed by reference counting alone: collections stop the world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.anypeer import NoPeer
from tests.leftovers import collectorOff
from thing import EndReason, ErrorCode, ThingProtocol, testing


class Quiet(ThingProtocol):
    """Takes whatever comes."""

    def requestReceived(self, data: bytes) -> Deferred[bytes | None]:
        return Deferred()


class Broken(ThingProtocol):
    """Fails when the session is up."""

    def handshakeCompleted(self) -> None:
        raise ZeroDivisionError


class Echo(Protocol):
    """Sends back what it gets."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason


def say(pair: testing.Pair) -> None:
    """Both sides send something."""
    for side in (pair.client, pair.server):
        side.sendMessage(b"hello")
    pair.pump()


def freeze(pair: testing.Pair) -> None:
    """The network carries nothing, for longer than a TTL."""
    pair.freeze()
    pair.advance(120.0, 5.0)


ENDS: dict[str, Callable[[Any], object]] = {
    "client's goodbye": lambda pair: pair.client.goodbye(),
    "server's close": lambda pair: pair.server.loseConnection(),
    "going away": lambda pair: pair.server.goAway(EndReason.SHUTDOWN, 5.0),
    "client's abort": lambda pair: pair.client.abort(),
    "server's abort": lambda pair: pair.server.abort(),
    "reject": lambda pair: pair.server.reject(ErrorCode.INTERNAL_ERROR),
    "flat line": freeze,
    "cut": lambda pair: pair.cut(),
    "malformed": lambda pair: pair.clientEnd.write(b"\0" * 99),
    "client's transport": lambda pair: pair.clientEnd.loseConnection(),
}
"""How a session that is up may end."""


class FreedTests(SynchronousTestCase):
    """Sessions of every kind of end, in memory."""

    def setUp(self) -> None:
        self.factories: list[Any] = []  # They live on.

    def between(self, server: Any, client: Any = Quiet) -> testing.Pair:
        """A pair whose factories live on, as those of programs do."""
        made = testing.Pair(server, client)
        self.factories += (made.serverFactory, made.clientFactory)
        self.factories += (made.keys, made.serverSession, made.clientSession)
        return testing.Pair(made.serverFactory, made.clientFactory, keys=made.keys)

    def assertFreed(self, *lives: Callable[[], testing.Pair]) -> None:
        """What lives and ends leaves nothing for the collector."""
        lives[0]().close()  # What is made once for all is made.
        with collectorOff() as left:
            for live in lives:
                live().close()
        self.assertEqual(dict(left), {})

    def assertAllFreed(self, use: Callable[[Any], object]) -> None:
        """However a session ends that was used so."""
        self.assertFreed(*(lambda end=end: self.lived(end, use) for end in ENDS.values()))

    def lived(
        self,
        end: Callable[[Any], object],
        use: Callable[[Any], object],
    ) -> testing.Pair:
        """A pair whose session was used, and is over."""
        pair = self.between(Quiet).up()
        use(pair)
        end(pair)
        pair.advance(15.0)
        return pair

    def test_ends(self) -> None:
        """However a session ends."""
        self.assertAllFreed(say)

    def test_heartbeats(self) -> None:
        """After heartbeats, which have a loop."""
        self.assertFreed(lambda: self.lived(ENDS["cut"], lambda pair: pair.advance(60.0, 1.0)))

    def test_requests(self) -> None:
        """With requests that nobody has answered, either way."""

        def ask(pair: Any) -> None:
            for side in (pair.client, pair.server):
                side.request(b"?").addErrback(lambda _: None)
            pair.pump()

        self.assertAllFreed(ask)

    def test_streams(self) -> None:
        """With streams, open and half-closed, in which protocols talk."""

        def talk(pair: Any) -> None:
            for side, other in ((pair.client, pair.server), (pair.server, pair.client)):
                other.streams.serve("echo", Factory.forProtocol(Echo))
                for _ in range(2):
                    opening = side.streams.endpoint("echo").connect(Factory.forProtocol(Protocol))
                    pair.pump()
                    talker = self.successResultOf(opening)
                    talker.transport.write(b"hello")
                pair.pump()
                talker.transport.loseWriteConnection()
            pair.pump()

        self.assertAllFreed(talk)

    def test_asked(self) -> None:
        """When somebody asked about its streams, and waited for its end."""

        def wait(pair: Any) -> None:
            for side in (pair.client, pair.server):
                side.whenTerminated()
                side.streams.endpoint("none").connect(Factory.forProtocol(Protocol)).addErrback(
                    lambda _: None
                )

        self.assertFreed(lambda: self.lived(ENDS["cut"], wait))

    def test_producers(self) -> None:
        """With a producer on each side, and one that holds back reading."""

        def produce(pair: Any) -> None:
            pair.server.registerProducer(pair.server, True)
            pair.client.pauseProducing()
            pair.server.sendMessage(b"x" * 100_000)
            pair.pump()

        self.assertAllFreed(produce)

    def test_refused(self) -> None:
        """One that never came up: refused, too slow, or given up."""

        def refused() -> testing.Pair:
            pair = self.between(Quiet)
            pair.serverFactory.authorizer = NoPeer()
            pair.connect().pump()
            pair.advance(15.0)
            return pair

        def slow() -> testing.Pair:
            pair = self.between(Quiet).connect()
            pair.freeze()
            pair.advance(60.0, 1.0)
            return pair

        def givenUp() -> testing.Pair:
            pair = self.between(Quiet).connect()
            pair.client.whenEstablished().addErrback(lambda _: None)
            pair.client.abort()
            pair.advance(15.0)
            return pair

        self.assertFreed(refused, slow, givenUp)

    def test_failing(self) -> None:
        """One whose application fails."""

        def fail() -> testing.Pair:
            pair = self.between(Broken).connect()
            pair.advance(15.0)
            self.flushLoggedErrors(ZeroDivisionError)
            return pair

        self.assertFreed(fail)

    def test_endpoints(self) -> None:
        """Protocols behind endpoints: the transport is theirs, and gone with them."""

        def talk(end: Callable[[Any], object]) -> testing.Pair:
            pair = self.between(Echo, Echo).up()
            pair.client.transport.write(b"hello")
            pair.step()
            end(pair)
            pair.advance(15.0)
            return pair

        ends: tuple[Callable[[Any], object], ...] = (
            lambda pair: pair.client.transport.loseConnection(),
            lambda pair: pair.server.transport.abortConnection(),
            lambda pair: pair.cut(),
            freeze,
        )
        self.assertFreed(*(lambda end=end: talk(end) for end in ends))
