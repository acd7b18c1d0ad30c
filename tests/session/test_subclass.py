"""Whatever a user's subclass overrides, forgets, or calls its own: the books stay right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import attr
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.haproxy import proxyEndpoint
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.pairs import CallbackBug, Pair, firings, freshServer
from thing import testing
from thing.core.door import Door
from thing.core.limits import Limits
from thing.core.rates import FAILURES_WINDOW
from thing.endpoints.stream import ApplicationFactory, StreamFactory
from thing.errors import ErrorCode
from thing.events import Cause, Termination
from thing.fleet.memory import MemoryPresence
from thing.fleet.meter import Meter
from thing.fleet.model import Twins
from thing.session.driver import Driver
from thing.session.factory import ThingFactory
from thing.session.link import Link
from thing.session.protocol import ThingProtocol
from thing.session.reception import Reception
from thing.session.requests import Requests
from thing.trust.authorized import Anyone
from thing.trust.tickets import TicketKeys

PLACES = 3


class Forgetful(ThingProtocol):
    """Overrides connectionLost, and calls no other; so do Twisted's own protocols."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.cleaned = True


class Failing(ThingProtocol):
    """Fails as soon as it is told that the stream is gone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        raise CallbackBug("connectionLost")


class Calling(ThingProtocol):
    """Calls the inherited method, as it once had to."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.cleaned = True


class Deaf(ThingProtocol):
    """Takes what comes in, and gives it to nobody."""

    def dataReceived(self, data: bytes) -> None:
        """Take the octets."""


class FailingAtOnce(ThingProtocol):
    """Fails when it is given its transport."""

    def makeConnection(self, transport: Any) -> None:
        raise CallbackBug("makeConnection")


class FailingLater(ThingProtocol):
    """Fails when it has been given its transport."""

    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(transport)
        raise CallbackBug("makeConnection")


@dataclass
class Data(ThingProtocol):
    """A dataclass: all of them are equal, and none has a hash."""

    level: int = 0
    ended: int = 0

    def terminated(self, termination: Termination) -> None:
        self.ended += 1


@attr.s(auto_attribs=True)
class Attrs(ThingProtocol):
    """The same, of attrs'."""

    level: int = 0
    ended: int = 0

    def terminated(self, termination: Termination) -> None:
        self.ended += 1


class Changing(ThingProtocol):
    """Has a hash that does not stay, and an opinion about who is like it."""

    ended = 0

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return self.ended

    def terminated(self, termination: Termination) -> None:
        self.ended += 1


class Rude(ThingProtocol):
    """Takes any other for no friend of its, and for no reason to go on."""

    ended = 0
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise CallbackBug("__eq__")

    def __len__(self) -> int:
        return 0

    def terminated(self, termination: Termination) -> None:
        self.ended += 1


def serverFactory(protocol: type[ThingProtocol], clock: Clock) -> ThingFactory:
    """A server that has room for a few, and builds this."""
    limits = Limits(sessions=PLACES, handshakes=PLACES)
    factory = ThingFactory(freshServer(), Anyone(), limits=limits, clock=clock)
    factory.protocol = protocol
    return factory


class BooksCase(SynchronousTestCase):
    """Tests that look at the books of a factory."""

    def assertEmpty(self, factory: ThingFactory) -> None:
        """Nobody is here, and nothing is counted."""
        door = factory.door
        self.assertEqual((door.connected, door.handshakes, door.up), (0, {}, 0))
        self.assertEqual((door.perNetwork, door.handshakesPerNetwork), ({}, {}))
        self.assertEqual(factory.sessions, set())


class OverridingTests(BooksCase):
    """A server of three places, filled ten times over by a subclass that does not cooperate."""

    def fill(self, protocol: type[ThingProtocol], errors: int, times: int = 10) -> list[Pair]:
        """Fill all places with sessions, and end them; return what came last."""
        clock = Clock()
        factory = serverFactory(protocol, clock)
        for time in range(1, times + 1):
            pairs = [Pair(serverFactory=factory, clock=clock) for _ in range(PLACES)]
            told = [firings(pair.server.whenTerminated()) for pair in pairs]
            for pair in pairs:
                pair.up()
            self.assertEqual(len(factory.sessions), PLACES)
            for pair in pairs:
                pair.client.abort()
                pair.pump()
            self.assertEqual(told, [[pair.server.termination] for pair in pairs])
            self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), errors * PLACES)
            self.assertEmpty(factory)
            self.assertEqual(factory.terminations, {Cause.TRUNCATED: PLACES * time})
            clock.advance(FAILURES_WINDOW)  # So many are logged, and no more in that time.
        self.assertEqual(factory.limitsHit, {})
        return pairs

    def test_forgets(self) -> None:
        """One that does not call the inherited connectionLost; it is called all the same."""
        for pair in self.fill(Forgetful, 0):
            self.assertTrue(pair.server.cleaned)  # type: ignore[attr-defined]

    def test_raises(self) -> None:
        """One whose connectionLost raises; that is logged."""
        self.fill(Failing, 1)

    def test_calls(self) -> None:
        """One that calls the inherited connectionLost; nothing is counted twice."""
        for pair in self.fill(Calling, 0):
            self.assertTrue(pair.server.cleaned)  # type: ignore[attr-defined]

    def test_equals(self) -> None:
        """Those that are no keys of a dict, or no good ones: they are told apart all the same."""
        for protocol in (Data, Attrs, Changing, Rude):
            for pair in self.fill(protocol, 0, 2):
                self.assertEqual(pair.server.ended, 1)  # type: ignore[attr-defined]

    def test_strangers(self) -> None:
        """A handshake that fails leaves nothing of them either."""
        for protocol in (Data, Attrs, Changing, Rude):
            clock = Clock()
            factory = serverFactory(protocol, clock)
            for _ in range(2 * PLACES):
                pair = Pair(serverFactory=factory, clock=clock).connect()
                pair.cut()
                self.assertEqual(pair.server.ended, 1)  # type: ignore[attr-defined]
            self.assertEmpty(factory)
            self.assertEqual(factory.limitsHit, {})

    def test_fleet(self) -> None:
        """The fleet knows them, and forgets them, one by one."""
        for protocol in (Data, Attrs, Changing, Rude):
            clock = Clock()
            factory = serverFactory(protocol, clock)
            presence = MemoryPresence(factory, node="a", twins=Twins.ALLOW, wallClock=clock.seconds)
            meter = Meter(factory)
            pairs = [Pair(serverFactory=factory, clock=clock).up() for _ in range(2)]
            for _ in range(15):
                pairs[0].advance(1.0, 1.0)
                pairs[1].pump()
            self.assertEqual(len(presence.local), 2)
            for left, pair in ((1, pairs[1]), (0, pairs[0])):
                pair.cut()
                self.assertEqual(len(presence.local), left)
            self.assertGreater(meter.heartbeats, 0)
            self.assertEqual(meter._due, {})
            self.assertEmpty(factory)

    def test_transport(self) -> None:
        """One that has put something else in the place of its transport."""

        class Odd(ThingProtocol):
            def handshakeCompleted(self) -> None:
                self.transport = object()  # type: ignore[assignment]

        self.fill(Odd, 0, 2)
        self.flushLoggedErrors(AttributeError)

    def test_nothingStays(self) -> None:
        """What stands before the user's method is gone when that is called."""
        for pair in self.fill(Forgetful, 0):
            self.assertNotIn("connectionLost", vars(pair.server))

    def test_waitersFail(self) -> None:
        """Who waits for a session that never comes is told, too."""
        clock = Clock()
        factory = serverFactory(Failing, clock)
        pair = Pair(serverFactory=factory, clock=clock).connect()
        waiting = firings(pair.server.whenEstablished())
        pair.client.abort()
        pair.pump()
        self.assertEqual([error.termination for error in waiting], [pair.server.termination])
        self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 1)
        self.assertEmpty(factory)

    def test_deaf(self) -> None:
        """One that takes no octets holds its place no longer than a handshake may take."""
        clock = Clock()
        factory = serverFactory(Deaf, clock)
        for _ in range(10):
            pairs = [Pair(serverFactory=factory, clock=clock).connect() for _ in range(PLACES)]
            told = [firings(pair.server.whenTerminated()) for pair in pairs]
            pairs[0].advance(11.0, 1.0)
            for pair in pairs:
                pair.advance(3.0, 1.0)
            self.assertEqual(told, [[pair.server.termination] for pair in pairs])
            self.assertEmpty(factory)

    def test_makeConnection(self) -> None:
        """One whose makeConnection fails, before the inherited one or after, holds no place."""
        for protocol in (FailingAtOnce, FailingLater):
            clock = Clock()
            factory = serverFactory(protocol, clock)
            for _ in range(10 * PLACES):
                server = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
                assert server is not None
                told = firings(server.whenTerminated())
                self.assertRaises(CallbackBug, server.makeConnection, StringTransport())
                server.connectionLost(Failure(ConnectionLost()))
                self.assertEqual(told, [server.termination])
                self.assertEmpty(factory)
            self.assertEqual(clock.getDelayedCalls(), [])


class ExitTests(BooksCase):
    """Exceptions that are none of Exception's: as in Twisted they end a session, and no program."""

    CALLBACKS = ("connectionMade", "handshakeCompleted", "messageReceived", "heartbeatReceived")
    LATE = ("heartbeatLate", "terminated", "connectionLost")

    def exiting(self, callback: str, error: BaseException) -> Pair:
        """A pair whose server's callback raises this; all that brings that about has happened."""

        def leave(self: ThingProtocol, *args: object) -> None:
            raise error

        clock = Clock()
        factory = serverFactory(type("Exits", (ThingProtocol,), {callback: leave}), clock)
        pair = Pair(serverFactory=factory, clock=clock).connect()
        pair.pump()
        if pair.client.session is not None:
            pair.client.sendMessage(b"hello")
        pair.advance(15.0, 1.0)
        return pair

    def test_exit(self) -> None:
        """One that leaves by sys.exit(): its session ends, the place is free, waiters are told."""
        for callback in self.CALLBACKS:
            pair = self.exiting(callback, SystemExit(1))
            self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1, callback)
            pair.advance(5.0, 1.0)
            assert pair.server.termination is not None, callback
            self.assertIs(pair.server.termination.code, ErrorCode.INTERNAL_ERROR, callback)
            self.assertEqual(len(firings(pair.server.whenTerminated())), 1, callback)
            self.assertEmpty(pair.serverFactory)

    def test_late(self) -> None:
        """So does one that has nobody at the other end any more."""
        for callback in self.LATE:
            pair = self.exiting(callback, SystemExit(1))
            told = firings(pair.server.whenTerminated())
            pair.freeze()
            pair.advance(60.0, 1.0)
            self.assertEqual(len(told), 1, callback)
            self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1, callback)
            self.assertEmpty(pair.serverFactory)
            pair.close()

    def test_reset(self) -> None:
        """So does one whose connection is reset, which is when Twisted swallows it."""
        pair = self.exiting("terminated", SystemExit(1))
        told = firings(pair.server.whenTerminated())
        pair.cut()
        self.assertEqual(len(told), 1)
        self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1)
        self.assertEmpty(pair.serverFactory)

    def test_interrupt(self) -> None:
        """Ctrl-C is for the program; the books are right all the same."""
        pair = self.exiting("terminated", KeyboardInterrupt())
        told = firings(pair.server.whenTerminated())
        lost = Failure(ConnectionLost())
        self.assertRaises(KeyboardInterrupt, pair.server.connectionLost, lost)
        self.assertEqual(told, [pair.server.termination])
        self.assertEmpty(pair.serverFactory)


class Served(Factory):
    """Is served in streams, and notes when it is in use; or fails."""

    noisy = False

    def __init__(self, *fails: str) -> None:
        self.fails = fails
        self.used: list[str] = []

    def tell(self, name: str) -> None:
        self.used.append(name)
        if name in self.fails:
            raise CallbackBug(name)

    def startFactory(self) -> None:
        self.tell("start")

    def stopFactory(self) -> None:
        self.tell("stop")


class Trust:
    """Stands for what follows files of keys; notes whether it does."""

    running = False

    def __init__(self) -> None:
        self.followers: list[object] = []

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False


class ForgetfulFactory(ThingFactory):
    """Overrides Twisted's hooks, and calls no other; so do Twisted's own factories."""

    fails: tuple[str, ...] = ()

    def startFactory(self) -> None:
        self.database = object()
        if "start" in self.fails:
            raise CallbackBug("start")

    def stopFactory(self) -> None:
        del self.database
        if "stop" in self.fails:
            raise CallbackBug("stop")


class ForgetfulFactoryTests(BooksCase):
    """What a factory does when it is started and stopped is not in the user's hooks."""

    def factory(self, *fails: str) -> ForgetfulFactory:
        """One that forgets; or whose hooks fail."""
        factory = ForgetfulFactory(freshServer(), Anyone(), clock=Clock())
        factory.fails = fails
        return factory

    def test_drained(self) -> None:
        """Who listens again after a drain takes connections again."""
        factory = self.factory()
        factory.doStart()
        factory.drain(1.0)
        self.assertTrue(factory.draining)
        factory.doStop()
        factory.doStart()
        self.assertFalse(factory.draining)
        Pair(serverFactory=factory, clock=factory.clock).up()

    def test_served(self) -> None:
        """What is served is started once and stopped once, however many ports there are."""
        factory, served = self.factory(), Served()
        factory.serve("x", served)
        for _ in range(2):
            factory.doStart()
        for _ in range(2):
            self.assertEqual(served.used, ["start"])
            factory.doStop()
        self.assertEqual((served.used, factory.numPorts), (["start", "stop"], 0))

    def test_trust(self) -> None:
        """Files of keys are followed from the first port to the last."""
        factory, trust = self.factory(), Trust()
        factory.trust = trust  # type: ignore[assignment]
        self.assertFalse(trust.running)
        factory.doStart()
        self.assertTrue(trust.running)
        factory.doStop()
        self.assertFalse(trust.running)

    def test_startFails(self) -> None:
        """If its hook fails, or what it serves, nothing is in use."""
        for fails, served in ((("start",), Served()), ((), Served("start"))):
            factory, first = self.factory(*fails), Served()
            factory.serve("first", first)
            factory.serve("x", served)
            self.assertRaises(CallbackBug, factory.doStart)
            ports = factory.numPorts, first.numPorts, served.numPorts
            self.assertEqual(ports, (0, 0, 0))

    def test_noProtocol(self) -> None:
        """So it is if it builds no sessions; that may be mended, and it begins anew."""
        factory = self.factory()
        factory.protocol = Protocol  # type: ignore[assignment]
        self.assertRaises(TypeError, factory.doStart)
        self.assertEqual(factory.numPorts, 0)
        factory.protocol = ThingProtocol
        factory.doStart()
        self.assertEqual(factory.numPorts, 1)

    def test_stopFails(self) -> None:
        """If a hook fails all others are told, and the keys are followed no more."""
        factory, first, second = self.factory("stop"), Served("stop"), Served()
        factory.trust = trust = Trust()  # type: ignore[assignment]
        factory.serve("first", first)
        factory.serve("second", second)
        factory.doStart()
        self.assertRaises(CallbackBug, factory.doStop)
        self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), 1)
        self.assertEqual(
            (factory.numPorts, first.used, second.used), (0, ["start", "stop"], ["start", "stop"])
        )
        self.assertFalse(trust.running)

    def test_application(self) -> None:
        """An application whose hook fails leaves its sessions' factory out of use, too."""
        for fails in ("start", "stop"):
            sessions = StreamFactory(freshServer(), Anyone(), clock=Clock())
            application = ApplicationFactory(sessions, Served(fails))
            if fails == "stop":
                application.doStart()
            method = {"start": application.doStart, "stop": application.doStop}[fails]
            self.assertRaises(CallbackBug, method)
            self.assertEqual(sessions.numPorts, 0)


class WrappedTests(BooksCase):
    """The same under the wrappers that Twisted puts between a transport and a protocol."""

    def assertBooked(self, wrap: Callable[[ThingFactory], Factory]) -> None:
        """However often such protocols come and go, there is room for the next ones."""
        for protocol, errors in ((Forgetful, 0), (Failing, 1)):
            clock = Clock()
            factory = serverFactory(protocol, clock)
            wrapping = wrap(factory)
            for _ in range(10):
                wrapped: list[Any] = []
                for _ in range(PLACES):
                    outer: Any = wrapping.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
                    outer.makeConnection(StringTransport())
                    wrapped.append(outer)
                self.assertEqual(factory.handshakes, PLACES)
                told = [firings(outer.wrappedProtocol.whenTerminated()) for outer in wrapped]
                for outer in wrapped:
                    outer.connectionLost(Failure(ConnectionLost()))
                self.assertEqual([len(each) for each in told], [1] * PLACES)
                self.assertEqual(len(self.flushLoggedErrors(CallbackBug)), errors * PLACES)
                self.assertEmpty(factory)
                clock.advance(FAILURES_WINDOW)

    def test_policies(self) -> None:
        """A wrapper of twisted.protocols.policies."""
        self.assertBooked(WrappingFactory)

    def test_tls(self) -> None:
        """An outer TLS."""
        options = CertificateOptions()
        self.assertBooked(lambda factory: TLSMemoryBIOFactory(options, False, factory))

    def test_haproxy(self) -> None:
        """The PROXY protocol's."""

        class Endpoint:
            def listen(self, factory: Factory) -> None:
                self.factory = factory

        def wrap(factory: ThingFactory) -> Factory:
            endpoint = Endpoint()
            proxyEndpoint(endpoint).listen(factory)  # type: ignore[arg-type]
            return endpoint.factory

        self.assertBooked(wrap)


FORMER_NAMES = (
    *("_closed", "_core", "_deliverCompleted", "_deliverNextKey", "_deliverTerminated"),
    *("_deliverTicket", "_DELIVERIES", "_driver", "_ended", "_established", "_learnAddress"),
    *("_log", "_presumed", "_requests", "attach", "cutOff", "deliver"),
)
"""What a ThingProtocol had for itself once, under everyday names."""

FORMER_FACTORY_NAMES = {
    *("_role", "_authorizer", "_ticket", "_reception", "_trust", "_log", "_believe", "_checked"),
    *("_grantTtl", "_unlessReviewed", "_followTrust", "_trustChanged"),
}
"""What a ThingFactory had for itself once."""

PUBLIC_NAMES = frozenset(dir(ThingProtocol))


def everydayNames() -> list[str]:
    """Every name that something behind a protocol has, and its user may think of, too."""
    behind = {name for kind in (Door, Driver, Link, Reception, Requests) for name in dir(kind)}
    behind |= {name for kind in (Door, Reception) for name in kind.__init__.__code__.co_names}
    dunder = {name for name in behind if name.startswith("__")}
    return sorted((behind | set(FORMER_NAMES)) - dunder - PUBLIC_NAMES)


class NameTests(SynchronousTestCase):
    """A subclass may use any name that is not public."""

    def assertWorks(self, body: dict[str, object], onInstance: dict[str, object]) -> None:
        """A session between two of a class with this body and these attributes does all it can."""

        def __init__(self: ThingProtocol) -> None:
            vars(self).update(onInstance)

        taken: list[bytes] = []
        body = {
            **body,
            "__init__": __init__,
            "messageReceived": lambda self, message: taken.append(message),
        }
        Mine: Any = type("Mine", (ThingProtocol,), body)
        pair = testing.Pair(Mine, Mine).up()
        answered = [firings(side.request(b"how are you?")) for side in (pair.client, pair.server)]
        pair.client.sendMessage(b"hello")
        pair.pump()
        pair.advance(20.0, 1.0)
        ended = firings(pair.client.goodbye())
        pair.pump()
        self.assertEqual(answered, [[b""], [b""]])
        self.assertIn(b"hello", taken)
        self.assertEqual([end.cause for end in ended], [Cause.GOODBYE])
        for side in (pair.client, pair.server):
            for name, value in onInstance.items():
                self.assertIs(vars(side)[name], value)
            self.assertIs(side.termination.cause, Cause.GOODBYE)  # type: ignore[union-attr]

    def test_attributes(self) -> None:
        """Attributes of such names, in the class and in its instances."""
        names = everydayNames()
        self.assertIn("_driver", names)
        self.assertIn("cutOff", names)
        things: dict[str, object] = {name: object() for name in names}
        self.assertWorks(things, {})
        self.assertWorks({}, things)

    def test_methods(self) -> None:
        """Methods of such names are never called."""

        def trap(self: object, *args: object) -> None:
            raise AssertionError("a private method of the application's was called")

        self.assertWorks(dict.fromkeys(everydayNames(), trap), {})

    def factories(self, body: dict[str, object], onInstance: dict[str, object]) -> None:
        """Factories of a class with this body and these attributes do all they can."""

        def __init__(self: Any, *args: Any, **others: Any) -> None:
            vars(self).update(onInstance)
            super(Mine, self).__init__(*args, **others)
            vars(self).update(onInstance)

        Mine: Any = type("Mine", (ThingFactory,), {**body, "__init__": __init__})
        keys, clock = testing.Keys(), Clock()
        settings = keys.serverSettings(tickets=TicketKeys())
        server = Mine(settings, keys.things, clock=clock)
        client = Mine(keys.clientSettings(), keys.servers, clock=clock)
        server.trust = trust = Trust()  # type: ignore[assignment]
        server.serve("x", Served())
        server.doStart()
        for resumed in (False, True):
            pair = testing.Pair(server, client, clock=clock).up()
            self.assertIs(pair.client.session.resumed, resumed)
            self.assertEqual(server.sessions, {pair.server})
            pair.advance(20.0, 1.0)
            ended = firings(server.drain(1.0))
            pair.advance(2.0, 1.0)
            self.assertEqual(ended, [None])
            server.doStop()
            self.assertFalse(trust.running)
            server.doStart()
        server.authorizer, server.settings = keys.things, settings
        self.assertEqual((server.completed, server.door.connected), (2, 0))
        server.doStop()
        for factory in (server, client):
            for name, value in onInstance.items():
                self.assertIs(vars(factory)[name], value)

    def test_factories(self) -> None:
        """Attributes and methods of such names in a factory, in its class and in its instances."""
        mine = ThingFactory(freshServer(), Anyone(), clock=Clock())
        names = set(everydayNames()) | FORMER_FACTORY_NAMES
        names -= set(dir(mine))
        self.assertIn("_reception", names)
        things: dict[str, object] = {name: object() for name in names if name[:2] != "__"}
        self.factories(things, {})
        self.factories({}, things)

    def test_onlyOne(self) -> None:
        """All that is not public is one attribute, under a name that nobody takes by chance."""
        protocol = Pair().server
        private = {
            name
            for name in {*dir(ThingProtocol), *dir(protocol)} - set(dir(type(protocol)))
            if name.startswith("_") and not name.startswith("__")
        }
        own = {name for name in dir(ThingProtocol) if name[0] == "_" and name[1] != "_"}
        self.assertEqual((private, own), ({"_ThingProtocol__link"}, set()))

    def test_others(self) -> None:
        """So is all that is not public of whatever else is subclassed."""
        factory = ThingFactory(freshServer(), Anyone(), clock=Clock())
        private = [name for name in {*dir(factory)} - set(dir(Factory)) if name[0] == "_"]
        self.assertEqual([name for name in private if not name.startswith("_ThingFactory__")], [])
