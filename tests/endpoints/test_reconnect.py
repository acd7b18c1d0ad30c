"""Clients that come back: when, how often, and when not at all."""

from __future__ import annotations

import contextlib
import gc
import math
import random
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from automat import NoTransition
from twisted.application.internet import ClientService
from twisted.application.service import Application, IService, IServiceCollection
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol, IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests import PROJECT
from tests.docs.test_docs import DOCS, EXAMPLES, FINGERPRINT, GOODBYE, TWISTD, DocumentedPrograms
from tests.pairs import PairedEndpoint
from thing.core.backoff import AFTER_REFUSAL, AFTER_SESSION, Pace, paceAfter
from thing.core.heartbeat import TtlPolicy
from thing.core.messages import SHR
from thing.core.records import HEADER_LENGTH
from thing.core.settings import ClientSettings, ServerSettings
from thing.endpoints import (
    Backoff,
    SentAway,
    ThingClientService,
    isHopeless,
    retryPolicy,
    terminationOf,
)
from thing.endpoints.endpoints import ThingClientEndpoint, ThingServerEndpoint
from thing.errors import EndReason, ErrorCode, HandshakeFailed, LocalProtocolError
from thing.events import Cause, Termination
from thing.session.factory import ThingFactory
from thing.session.protocol import ThingProtocol
from thing.testing import FakeThingTransport, Pair
from thing.testing.keys import Keys
from thing.trust.authorized import AuthorizedThings
from thing.trust.keys import IdentityKey
from thing.trust.servers import PinnedServers

PATIENCE = 60.0
"""How long a test waits for sockets at most, seconds."""

HERD = PROJECT / "benchmarks" / "herd.py"

BUSY = Termination(Cause.REJECTED, ErrorCode.SERVER_BUSY, byPeer=True, retryAfter=10.0)
REFUSED = Termination(Cause.REJECTED, ErrorCode.NOT_AUTHORIZED, byPeer=True)
UNPROVED = Termination(
    Cause.REJECTED, ErrorCode.NOT_AUTHORIZED, byPeer=True, detail="unauthenticated"
)
DISBELIEVED = Termination(Cause.REJECTED, ErrorCode.NOT_AUTHORIZED, detail="the key is another")
TRUNCATED = Termination(Cause.TRUNCATED)


def ended(termination: Termination) -> Failure:
    """What a protocol gets in ``connectionLost``."""
    reason = ConnectionDone() if termination.clean else ConnectionLost()
    reason.termination = termination  # type: ignore[union-attr]
    return Failure(reason)


def rejected(termination: Termination) -> Failure:
    """What an endpoint's ``connect`` fails with."""
    return Failure(HandshakeFailed(termination))


class PaceTests(SynchronousTestCase):
    """How soon to try again, after whatever can happen."""

    def test_complete(self) -> None:
        """Each code and each reason stands in its table, with its pace."""
        self.assertEqual(set(AFTER_REFUSAL), set(ErrorCode))
        self.assertEqual(set(AFTER_SESSION), set(EndReason))

    def test_everyEnd(self) -> None:
        """Each cause has a pace: that of the code after a refusal, else that of the reason."""
        for cause in Cause:
            for reason in EndReason:
                for code in ErrorCode:
                    end = Termination(cause, code, reason=reason)
                    refused = cause is Cause.REJECTED
                    pace = AFTER_REFUSAL[code] if refused else AFTER_SESSION[reason]
                    self.assertIs(paceAfter(end), pace, end)

    def test_unknown(self) -> None:
        """What this side has no name for, or no stream to be told by, is tried again soon."""
        refused = Termination(Cause.REJECTED, 0x7777, byPeer=True)
        for end in (None, TRUNCATED, refused, Termination(Cause.FLAT_LINED, reason=0x7777)):
            self.assertIs(paceAfter(end), Pace.SOON, end)

    def test_unnamed(self) -> None:
        """A code without a name here is judged by its range."""
        for code in range(0x100):
            if code not in AFTER_REFUSAL:
                refused = Termination(Cause.REJECTED, code, byPeer=True)
                seldom = 0x80 <= code < 0xA0
                self.assertIs(paceAfter(refused), Pace.SELDOM if seldom else Pace.SOON, code)
                self.assertEqual(isHopeless(refused), seldom)
                within = Termination(Cause.ABORTED, code, byPeer=True)
                self.assertIs(paceAfter(within), Pace.SOON)

    def test_onlyRefusalsStop(self) -> None:
        """A client that gives up does so for nothing that time can mend."""
        for cause in Cause:
            for code in ErrorCode:
                for byPeer in (True, False):
                    end = Termination(cause, code, byPeer)
                    if isHopeless(end):
                        self.assertIs(paceAfter(end), Pace.SELDOM, end)

    def test_documented(self) -> None:
        """The guide names all that is tried again seldom, and nothing else there."""
        page = (DOCS / "howto-reconnect.rst").read_text()
        row = page.split("* - a refusal that somebody must act for")[1].split("\n     - ")[0]
        seldom = {code.name for code in ErrorCode if AFTER_REFUSAL[code] is Pace.SELDOM}
        self.assertEqual(set(re.findall("``([A-Z_]+)``", row)), seldom)


class HopelessTests(SynchronousTestCase):
    """Which rejections leave no hope."""

    def test_provedServer(self) -> None:
        """A server that has proved itself is believed when it says that this client may not in."""
        for code in (
            ErrorCode.NOT_AUTHORIZED,
            ErrorCode.CREDENTIAL_REQUIRED,
            ErrorCode.NO_COMMON_CREDENTIAL,
            ErrorCode.NO_COMMON_GROUP,
            ErrorCode.NO_COMMON_AEAD,
            ErrorCode.VERSION_UNSUPPORTED,
            ErrorCode.BAD_CREDENTIAL,
            ErrorCode.TTL_OUT_OF_BOUNDS,
        ):
            self.assertTrue(isHopeless(Termination(Cause.REJECTED, code, byPeer=True)), code)

    def test_serverNotBelieved(self) -> None:
        """A server whose key is not believed here will not be believed the next time."""
        self.assertTrue(isHopeless(DISBELIEVED))

    def test_strangers(self) -> None:
        """What anybody on the path can have sent stops nobody, whatever it says."""
        for code in ErrorCode:
            clear = Termination(Cause.REJECTED, code, byPeer=True, detail="unauthenticated")
            self.assertFalse(isHopeless(clear), code)

    def test_choicesOfStrangers(self) -> None:
        """Nor does a choice in clear that this side cannot follow."""
        for code in (
            ErrorCode.NOT_THING,
            ErrorCode.VERSION_UNSUPPORTED,
            ErrorCode.NO_COMMON_GROUP,
            ErrorCode.NO_COMMON_AEAD,
            ErrorCode.NO_COMMON_CREDENTIAL,
            ErrorCode.BAD_CREDENTIAL,
        ):
            self.assertFalse(isHopeless(Termination(Cause.REJECTED, code, detail="of SHI")), code)

    def test_passing(self) -> None:
        """Troubles that pass, ends of sessions, and no stream at all leave hope."""
        for code in (
            ErrorCode.SERVER_BUSY,
            ErrorCode.HANDSHAKE_TIMEOUT,
            ErrorCode.INTERNAL_ERROR,
            ErrorCode.PUZZLE_UNSOLVED,
            ErrorCode.BAD_SIGNATURE,
            0x7777,
        ):
            for byPeer in (True, False):
                self.assertFalse(isHopeless(Termination(Cause.REJECTED, code, byPeer)), code)
        for cause in set(Cause) - {Cause.REJECTED}:
            self.assertFalse(isHopeless(Termination(cause, ErrorCode.NOT_AUTHORIZED, True)), cause)
        self.assertFalse(isHopeless(None))

    def test_terminationOf(self) -> None:
        """A termination is found in a failed handshake and in a lost connection, if there is."""
        self.assertIs(terminationOf(rejected(BUSY)), BUSY)
        self.assertIs(terminationOf(ended(TRUNCATED)), TRUNCATED)
        self.assertIsNone(terminationOf(Failure(ConnectionRefusedError())))
        odd = ConnectionLost()
        odd.termination = "of something else"  # type: ignore[attr-defined]
        self.assertIsNone(terminationOf(Failure(odd)))


class BackoffTests(SynchronousTestCase):
    """How long a client stays away."""

    def longest(self, **choices: Any) -> Backoff:
        """A backoff whose chance is as good as one."""
        return Backoff(base=1.0, cap=60.0, jitter=lambda: 1.0, **choices)

    def test_growth(self) -> None:
        """The longest pause doubles with each failure, up to the cap, for ever."""
        backoff = self.longest()
        pauses = [backoff.down(0.0) for _ in range(3000)]
        self.assertEqual(pauses[:8], [1, 2, 4, 8, 16, 32, 60, 60])
        self.assertEqual(set(pauses[8:]), {60.0})

    def test_fullJitter(self) -> None:
        """Chance has all of it: pauses are uniform from zero on, with no common part."""
        backoff = Backoff(base=1.0, cap=60.0, jitter=random.Random(1).random)
        for reach in (1.0, 2.0, 4.0, 8.0):
            pauses = []
            for _ in range(2000):
                backoff.failures = round(math.log2(reach))
                pauses.append(backoff.down(0.0) / reach)
            for tenth in range(10):
                share = sum(tenth / 10 <= pause < (tenth + 1) / 10 for pause in pauses)
                self.assertTrue(150 <= share <= 250, f"{share} of 2000 in a tenth")

    def test_stable(self) -> None:
        """A session that was up for two TTLs ends the row of failures, and not one moment less."""
        backoff = self.longest()
        for _ in range(5):
            backoff.down(0.0)
        backoff.up(100.0, ttl=30.0)
        self.assertEqual(backoff.down(159.9), 32.0)
        backoff.up(200.0, ttl=30.0)
        self.assertEqual(backoff.down(260.0), 1.0)
        self.assertEqual(backoff.down(1000.0), 2.0)

    def test_stableAfter(self) -> None:
        """How long is stable may be chosen; without a TTL it is as long as the longest pause."""
        for backoff, ttl, stable in (
            (self.longest(stableAfter=5.0), 30.0, 5.0),
            (self.longest(), None, 60.0),
        ):
            for lasted, pause in ((stable - 0.1, 8.0), (stable, 1.0)):
                backoff.failures = 3
                backoff.up(0.0, ttl)
                self.assertEqual(backoff.down(lasted), pause)

    def test_reset(self) -> None:
        """Everything can be forgotten."""
        backoff = self.longest()
        backoff.down(0.0)
        backoff.up(0.0, 30.0)
        backoff.reset()
        self.assertEqual(backoff.down(100.0), 1.0)
        self.assertEqual(backoff.down(100.0), 2.0)

    def test_retryAfter(self) -> None:
        """What the server asks for is the least, and is spread by as much again."""
        for jitter, pause in ((0.0, 10.0), (0.5, 15.0), (1.0, 20.0)):
            backoff = Backoff(base=1.0, jitter=lambda jitter=jitter: jitter)  # type: ignore[misc]
            self.assertEqual(backoff.down(0.0, BUSY), pause)

    def test_retryAfterOfEveryEnd(self) -> None:
        """It is heeded in a goodbye, in a flat line and in a refusal."""
        for cause in (Cause.GOODBYE, Cause.FLAT_LINED, Cause.REJECTED):
            backoff = Backoff(jitter=lambda: 0.0)
            self.assertEqual(backoff.down(0.0, Termination(cause, retryAfter=7.0)), 7.0)

    def test_retryAfterGrows(self) -> None:
        """A server that is busy again and again is asked less often."""
        backoff = self.longest()
        self.assertEqual([backoff.down(0.0, BUSY) for _ in range(6)], [20, 20, 20, 20, 26, 42])

    def test_retryAfterOfStrangers(self) -> None:
        """An unproved server cannot send a client away for long; a proved one may."""
        backoff = Backoff(jitter=lambda: 0.0)
        for detail, pause in (("unauthenticated", 300.0), ("", 3600.0)):
            asked = Termination(
                Cause.REJECTED, ErrorCode.SERVER_BUSY, True, detail, retryAfter=3600.0
            )
            self.assertEqual(backoff.down(0.0, asked), pause)

    def test_seldom(self) -> None:
        """After a refusal that will hardly change it takes minutes, and longer if so asked."""
        for termination in (UNPROVED, REFUSED, DISBELIEVED):
            self.assertEqual(Backoff(jitter=lambda: 0.0).down(0.0, termination), 300.0)
            self.assertEqual(Backoff(jitter=lambda: 1.0).down(0.0, termination), 600.0)
        asked = Termination(Cause.REJECTED, ErrorCode.NOT_AUTHORIZED, True, retryAfter=900.0)
        self.assertEqual(Backoff(jitter=lambda: 0.0).down(0.0, asked), 900.0)

    def test_replaced(self) -> None:
        """A client whose place was taken does not take it back at once."""
        replaced = Termination(Cause.GOODBYE, reason=EndReason.REPLACED)
        self.assertEqual(Backoff(jitter=lambda: 0.0).down(0.0, replaced), 300.0)

    def test_badDurations(self) -> None:
        """Durations that make no sense are refused at once."""
        for name in ("base", "cap", "seldom", "stableAfter"):
            for value in (0.0, -1.0, math.inf, math.nan):
                self.assertRaises(LocalProtocolError, Backoff, **{name: value})

    def test_retryPolicy(self) -> None:
        """For Twisted's own service there is a policy with the same pauses."""
        policy = retryPolicy(base=1.0, cap=60.0, jitter=lambda: 1.0)
        self.assertEqual([policy(count) for count in (1, 2, 3, 7, 1000, 1)], [1, 2, 4, 60, 60, 1])
        self.assertEqual(retryPolicy(jitter=lambda: 0.0)(5), 0.0)


class Attempt:
    """One call of ``connect``, which the test lets succeed or fail."""

    def __init__(self, clock: Clock, factory: Any) -> None:
        self.clock = clock
        self.factory = factory
        self.at = clock.seconds()
        self.cancelled = False
        self.result: Deferred[Any] = Deferred(self.cancel)

    def cancel(self, result: object) -> None:
        self.cancelled = True

    def succeed(self, ttl: float = 30.0) -> FakeThingTransport:
        """A session comes up; it closes when it was told to, a moment later."""
        transport = FakeThingTransport(ttl=ttl, clock=self.clock)
        protocol = self.factory.buildProtocol(None)
        transport.connect(protocol)
        self.result.callback(protocol)
        return transport

    def fail(self, failure: Failure) -> None:
        """None comes up."""
        self.result.errback(failure)


class FakeEndpoint:
    """Records the attempts."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.attempts: list[Attempt] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        self.attempts.append(Attempt(self.clock, factory))
        return self.attempts[-1].result


class AlreadyConnected(FakeEndpoint):
    """Connects at once, as endpoints in memory do."""

    def connect(self, factory: Any) -> Deferred[Any]:
        result = super().connect(factory)
        self.attempts[-1].succeed()
        return result


class AlreadyFailed(FakeEndpoint):
    """Knows at once that it fails."""

    def __init__(self, clock: Clock, failure: Failure) -> None:
        super().__init__(clock)
        self.failure = failure

    def connect(self, factory: Any) -> Deferred[Any]:
        result = super().connect(factory)
        self.attempts[-1].fail(self.failure)
        return result


@implementer(IHalfCloseableProtocol)
class Application_(Protocol):
    """The application's protocol."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)

    def readConnectionLost(self) -> None:
        """Never called."""

    def writeConnectionLost(self) -> None:
        """Never called."""


@dataclass
class Told:
    """What the callbacks of a service were given."""

    up: list[Any] = field(default_factory=list)
    down: list[tuple[Failure, float | None]] = field(default_factory=list)
    rejected: list[Failure] = field(default_factory=list)

    @property
    def hooks(self) -> dict[str, Any]:
        """The parameters of the service."""
        return {
            "onUp": self.up.append,
            "onDown": lambda reason, delay: self.down.append((reason, delay)),
            "onRejected": self.rejected.append,
        }

    @property
    def delays(self) -> list[float | None]:
        """How long it is to the next try, each time."""
        return [delay for _, delay in self.down]


class ServiceCase(SynchronousTestCase):
    """A service with a fake endpoint, whose every pause is the longest."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.told = Told()
        self.endpoint = FakeEndpoint(self.clock)
        self.service = self.makeService()
        self.addCleanup(self.nothingIsLeft)

    def makeService(self, **choices: Any) -> ThingClientService:
        backoff = Backoff(base=1.0, cap=60.0, jitter=lambda: 1.0)
        choices = {
            "backoff": backoff,
            "clock": self.clock,
            "giveUp": True,
            **self.told.hooks,
            **choices,
        }
        endpoint: Any = choices.pop("endpoint", self.endpoint)
        return ThingClientService(endpoint, Factory.forProtocol(Application_), **choices)

    def nothingIsLeft(self) -> None:
        """Stop, and find no timer."""
        self.service.stopService()
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @property
    def attempt(self) -> Attempt:
        """The latest one."""
        return self.endpoint.attempts[-1]

    def attemptsAt(self) -> list[float]:
        """When they began."""
        return [attempt.at for attempt in self.endpoint.attempts]

    def comeUp(self) -> None:
        """A session comes up."""
        self.attempt.succeed()

    def comeAndGo(self) -> None:
        """A session comes up, and is lost."""
        self.attempt.succeed().lose(TRUNCATED)

    def refuse(self) -> None:
        """Nobody listens."""
        self.attempt.fail(Failure(ConnectionRefusedError()))


class ServiceTests(ServiceCase):
    """The service comes back."""

    def test_waitersBeforeStart(self) -> None:
        """Those who wait since before the start count tries, and may leave, as others do."""
        impatient, patient = self.service.whenConnected(2), self.service.whenConnected()
        self.service.whenConnected().addErrback(lambda why: why.trap(CancelledError)).cancel()
        self.service.startService()
        self.refuse()
        self.assertNoResult(impatient)
        self.clock.advance(self.told.delays[-1] or 0.0)
        self.refuse()
        self.failureResultOf(impatient, ConnectionRefusedError)
        self.assertNoResult(patient)
        self.clock.advance(self.told.delays[-1] or 0.0)
        self.comeUp()
        self.assertIsInstance(self.successResultOf(patient), Application_)

    def test_connects(self) -> None:
        """It connects when it is started, and gives the application's own protocol."""
        waiting = self.service.whenConnected()
        self.assertEqual(self.endpoint.attempts, [])
        self.service.startService()
        self.assertNoResult(waiting)
        transport = self.attempt.succeed()
        protocol = self.successResultOf(waiting)
        self.assertIs(type(protocol), Application_)
        self.assertIs(self.successResultOf(self.service.whenConnected()), protocol)
        self.assertEqual(self.told, Told(up=[protocol]))
        self.assertIs(protocol.transport, transport)
        transport.protocol.dataReceived(b"hello")
        self.assertEqual(protocol.received, b"hello")

    def test_interfaces(self) -> None:
        """The transport finds in the wrapped protocol what the application's provides."""
        self.service.startService()
        transport = self.attempt.succeed()
        self.assertTrue(IHalfCloseableProtocol.providedBy(transport.protocol))
        self.assertEqual(transport.protocol.logPrefix(), "Application_")
        self.assertIn("Application_", repr(transport.protocol))
        self.assertIn("Factory", repr(self.attempt.factory))

    def test_comesBack(self) -> None:
        """After an end and after failures it comes back, after pauses that grow."""
        self.service.startService()
        self.attempt.succeed().lose(TRUNCATED)
        self.clock.advance(0.9)
        self.assertEqual(len(self.endpoint.attempts), 1)
        self.clock.advance(0.1)
        for pause in (2, 4, 8):
            self.refuse()
            self.clock.advance(pause)
        self.attempt.succeed()
        self.assertEqual(self.attemptsAt(), [0, 1, 3, 7, 15])
        self.assertEqual(self.told.delays, [1, 2, 4, 8])
        self.assertIs(terminationOf(self.told.down[0][0]), TRUNCATED)
        self.assertTrue(self.told.down[1][0].check(ConnectionRefusedError))
        self.assertEqual(len(self.told.up), 2)
        self.assertEqual(self.told.up[0].lost, [self.told.down[0][0]])

    def test_shortSessions(self) -> None:
        """Sessions that end soon after the handshake are failures."""
        self.service.startService()
        for _ in range(4):
            self.attempt.succeed(ttl=30.0).lose(TRUNCATED)
            self.clock.advance(self.told.delays[-1] or 0.0)
        self.assertEqual(self.told.delays, [1, 2, 4, 8])

    def test_stableSession(self) -> None:
        """A session of two TTLs makes everything good."""
        self.service.startService()
        for _ in range(3):
            self.refuse()
            self.clock.advance(self.told.delays[-1] or 0.0)
        transport = self.attempt.succeed(ttl=30.0)
        self.clock.advance(60.0)
        transport.lose(TRUNCATED)
        self.assertEqual(self.told.delays, [1, 2, 4, 1])

    def test_retryAfter(self) -> None:
        """The server's advice counts, in a refusal and in a goodbye."""
        self.service.startService()
        self.attempt.fail(rejected(BUSY))
        self.clock.advance(20.0)
        leave = Termination(Cause.GOODBYE, reason=EndReason.SHUTDOWN, retryAfter=50.0)
        self.attempt.succeed().lose(leave)
        self.assertEqual(self.told.delays, [20.0, 100.0])

    def test_applicationFails(self) -> None:
        """A protocol that fails when it is connected is one failure, and no session."""

        class Broken(Application_):
            def connectionMade(self) -> None:
                raise ArithmeticError

        self.service = ThingClientService(
            self.endpoint,  # type: ignore[arg-type]
            Factory.forProtocol(Broken),
            backoff=Backoff(base=1.0, cap=60.0, jitter=lambda: 1.0),
            clock=self.clock,
            **self.told.hooks,
        )
        self.service.startService()
        protocol = self.attempt.factory.buildProtocol(None)
        transport = FakeThingTransport(clock=self.clock)
        self.assertRaises(ArithmeticError, transport.connect, protocol)
        self.attempt.fail(Failure(ArithmeticError()))
        with contextlib.suppress(NoTransition):  # Twisted's service has forgotten it.
            protocol.connectionLost(ended(TRUNCATED))
        self.assertEqual(len(protocol.lost), 1)
        self.assertEqual((self.told.up, self.told.delays), ([], [1.0]))

    def test_failAfterFailures(self) -> None:
        """Who waits may give up after some failures, as with Twisted's service."""
        self.service.startService()
        impatient, patient = self.service.whenConnected(1), self.service.whenConnected()
        self.refuse()
        self.failureResultOf(impatient, ConnectionRefusedError)
        self.clock.advance(1.0)
        self.attempt.succeed()
        self.successResultOf(patient)

    def test_plainTwistedService(self) -> None:
        """Twisted's own service takes the policy."""
        service = ClientService(
            self.endpoint,  # type: ignore[arg-type]
            Factory.forProtocol(Application_),
            retryPolicy=retryPolicy(base=1.0, cap=60.0, jitter=lambda: 1.0),
            clock=self.clock,
        )
        service.startService()
        for pause in (1, 2, 4):
            self.refuse()
            self.clock.advance(pause)
        self.assertEqual(self.attemptsAt(), [0, 1, 3, 7])
        service.stopService()

    def test_application(self) -> None:
        """It is a service like others: an application starts and stops it."""
        application = Application("always on")
        self.service.setServiceParent(IServiceCollection(application))
        service = IService(application)
        service.privilegedStartService()
        service.startService()
        self.attempt.succeed()
        stopped = service.stopService()
        self.assertNoResult(stopped)
        self.clock.advance(0)
        self.successResultOf(stopped)

    def test_defaultClock(self) -> None:
        """By default it measures with the clock that nobody sets, and an own backoff each."""
        first = ThingClientService(self.endpoint, Factory())  # type: ignore[arg-type]
        second = ThingClientService(self.endpoint, Factory())  # type: ignore[arg-type]
        clock, other = (vars(each)["_ThingClientService__time"] for each in (first, second))
        self.assertIs(clock, other)
        self.assertIsNot(clock, self.clock)
        backoffs = {id(vars(each)["_ThingClientService__backoff"]) for each in (first, second)}
        self.assertEqual(len(backoffs), 2)


class StopTests(ServiceCase):
    """The service stops, whatever it is doing."""

    def test_whileConnected(self) -> None:
        """It closes the session in order, says so, and does not come back."""
        self.service.startService()
        self.attempt.succeed()
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        self.clock.advance(0)
        self.successResultOf(stopped)
        ((reason, delay),) = self.told.down
        self.assertTrue(reason.check(ConnectionDone))
        self.assertIsNone(delay)
        self.failureResultOf(self.service.whenConnected(), CancelledError)

    def test_whileConnecting(self) -> None:
        """It cancels the attempt; that there is no session is no news."""
        self.service.startService()
        waiting = self.service.whenConnected()
        self.successResultOf(self.service.stopService())
        self.assertTrue(self.attempt.cancelled)
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.told, Told())

    def test_beforeStart(self) -> None:
        """Whoever waited for the first start learns that there will be none."""
        waiting = [self.service.whenConnected(), self.service.whenConnected(1)]
        left = self.service.whenConnected()
        left.cancel()
        self.failureResultOf(left, CancelledError)
        self.successResultOf(self.service.stopService())
        for waiter in (*waiting, self.service.whenConnected()):
            self.failureResultOf(waiter, CancelledError)
        self.successResultOf(self.service.stopService())
        self.service.startService()
        self.attempt.succeed()
        self.successResultOf(self.service.whenConnected())

    def test_startedByWaiter(self) -> None:
        """Whoever waited for the first start, and is told of the stop, may start it."""
        started = self.service.whenConnected()
        started.addErrback(lambda _: self.service.startService())
        self.successResultOf(self.service.stopService())
        self.successResultOf(started)
        self.attempt.succeed()
        self.successResultOf(self.service.whenConnected())

    def test_whileWaiting(self) -> None:
        """It forgets the next try."""
        self.service.startService()
        self.refuse()
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_again(self) -> None:
        """It can be started again, and begins with the shortest pause."""
        self.service.startService()
        for _ in range(2):
            self.refuse()
            self.clock.advance(self.told.delays[-1] or 0.0)
        self.service.stopService()
        self.service.startService()
        self.refuse()
        self.assertEqual(self.told.delays, [1, 2, 1])

    def test_insideCallbacks(self) -> None:
        """Each callback may stop it."""

        def stop(*arguments: object) -> None:
            stopped.append(self.service.stopService())

        for name, happens in (
            ("onUp", self.comeUp),
            ("onDown", self.refuse),
            ("onDown", self.comeAndGo),
            ("onRejected", lambda: self.attempt.fail(rejected(REFUSED))),
        ):
            stopped: list[Any] = []
            hooks = {"onUp": None, "onDown": None, "onRejected": None, name: stop}
            self.service = self.makeService(**hooks)
            self.service.startService()
            happens()
            self.clock.advance(0)
            self.successResultOf(stopped[0])
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertFalse(self.service.running)

    def test_insideWaiters(self) -> None:
        """Whoever waits may stop it, when the session is there and when a try has failed."""

        async def stopAfter(waiting: Deferred[Any]) -> str:
            try:
                await waiting
            except ConnectionRefusedError:
                return str(await self.service.stopService())
            return str(await self.service.stopService())

        for happens in (self.comeUp, self.refuse):
            self.service.startService()
            using = Deferred.fromCoroutine(stopAfter(self.service.whenConnected(1)))
            happens()
            self.clock.advance(0)
            self.assertEqual(self.successResultOf(using), "None")
            self.assertFalse(self.service.running)

    def test_waitAfterStop(self) -> None:
        """Whoever waited for the stop may start it again and wait for the next session."""
        self.service.startService()
        self.attempt.succeed()
        waiting = self.service.stopService()
        waiting.addCallback(lambda _: self.service.startService())
        waiting.addCallback(lambda _: self.service.whenConnected())
        self.clock.advance(0)
        self.assertNoResult(waiting)
        self.attempt.succeed()
        self.assertIsInstance(self.successResultOf(waiting), Application_)

    def test_failingCallbacks(self) -> None:
        """A callback that fails is logged, and changes nothing."""

        def fail(*arguments: object) -> None:
            raise ArithmeticError

        self.service = self.makeService(onUp=fail, onDown=fail, onRejected=fail)
        self.service.startService()
        self.attempt.succeed().lose(TRUNCATED)
        self.clock.advance(1.0)
        self.attempt.fail(rejected(REFUSED))
        self.clock.advance(0)
        self.assertFalse(self.service.running)
        self.assertEqual(len(self.flushLoggedErrors(ArithmeticError)), 3)
        self.flushLoggedErrors()

    def test_coroutines(self) -> None:
        """A callback may be a coroutine; no other waits for it, and its failure is logged."""
        told: list[object] = []
        waiting: Deferred[None] = Deferred()

        async def tell(*arguments: object) -> None:
            told.append(arguments[0])
            await waiting
            raise ArithmeticError

        self.service = self.makeService(onUp=tell, onDown=tell)
        self.service.startService()
        self.attempt.succeed().lose(TRUNCATED)
        self.assertEqual(len(told), 2)
        waiting.callback(None)
        self.assertEqual(len(self.flushLoggedErrors(ArithmeticError)), 2)


class RejectionTests(ServiceCase):
    """The service gives up where there is no hope."""

    def test_stops(self) -> None:
        """After a hopeless rejection it stops, says why, and leaves no timer."""
        self.service.startService()
        waiting = [self.service.whenConnected(), self.service.whenConnected(3)]
        self.attempt.fail(rejected(REFUSED))
        self.assertEqual(self.told.rejected, [])
        self.clock.advance(0)
        self.assertFalse(self.service.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for waiter in (*waiting, self.service.whenConnected()):
            failure = self.failureResultOf(waiter, HandshakeFailed)
            self.assertIs(failure.value.termination, REFUSED)
        (failure,) = self.told.rejected
        self.assertIs(terminationOf(failure), REFUSED)
        self.assertEqual(self.told.down, [])
        self.clock.advance(10_000.0)
        self.assertEqual(len(self.endpoint.attempts), 1)

    def test_logged(self) -> None:
        """The log says why there will be no more tries."""
        from twisted.logger import capturedLogs, formatEvent

        with capturedLogs() as events:
            self.service.startService()
            self.attempt.fail(rejected(DISBELIEVED))
            self.clock.advance(0)
        (line,) = [line for line in map(formatEvent, events) if "hopeless" in line]
        self.assertEqual(line, f"No more tries, because they are hopeless: {DISBELIEVED}")
        self.assertFalse(any("Scheduling retry" in formatEvent(event) for event in events))

    def test_startAgain(self) -> None:
        """An operator who has acted starts it again, also from the callback."""
        self.service.startService()
        self.attempt.fail(rejected(REFUSED))
        self.clock.advance(0)
        self.service.startService()
        waiting = self.service.whenConnected()
        self.attempt.succeed()
        self.successResultOf(waiting)
        self.assertEqual(len(self.endpoint.attempts), 2)
        self.service.stopService()
        self.clock.advance(0)
        self.failureResultOf(self.service.whenConnected(), CancelledError)

    def test_startAgainInCallback(self) -> None:
        """The callback may start it again, as by then it has stopped."""
        self.service = self.makeService(onRejected=lambda failure: self.service.startService())
        self.service.startService()
        self.attempt.fail(rejected(REFUSED))
        self.clock.advance(0)
        self.assertEqual(len(self.endpoint.attempts), 2)
        self.attempt.succeed()
        self.successResultOf(self.service.whenConnected())

    def test_stopMeanwhile(self) -> None:
        """A stop that comes between the rejection and its own is the one that counts."""
        self.service.startService()
        waiting = self.service.whenConnected()
        self.attempt.fail(rejected(REFUSED))
        self.successResultOf(self.service.stopService())
        self.failureResultOf(waiting, HandshakeFailed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.told, Told())

    def test_atOnce(self) -> None:
        """An endpoint that fails before it has even returned is no different."""
        self.endpoint = AlreadyFailed(self.clock, rejected(REFUSED))
        self.service = self.makeService()
        self.service.startService()
        waiting = self.service.whenConnected()
        self.clock.pump([0, 0])
        self.failureResultOf(waiting, HandshakeFailed)
        self.assertEqual(len(self.told.rejected), 1)
        self.assertFalse(self.service.running)

    def test_connectedAtOnce(self) -> None:
        """Nor is one that has connected before it returned."""
        self.endpoint = AlreadyConnected(self.clock)
        stopped: list[Deferred[None]] = []
        self.service = self.makeService(
            onUp=lambda protocol: stopped.append(self.service.stopService())
        )
        self.service.startService()
        waiting = self.service.whenConnected()
        self.clock.pump([0, 0])
        self.assertIsInstance(self.successResultOf(waiting), Application_)
        self.successResultOf(stopped[0])

    def test_stoppedAtOnce(self) -> None:
        """A stop in the same turn leaves nothing to be told."""
        self.endpoint = AlreadyFailed(self.clock, rejected(REFUSED))
        self.service = self.makeService()
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.told, Told())
        self.endpoint.attempts.clear()
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_failedAtOnce(self) -> None:
        """Nor is one that fails at once with hope."""
        self.endpoint = AlreadyFailed(self.clock, Failure(ConnectionRefusedError()))
        self.service = self.makeService()
        self.service.startService()
        self.clock.pump([0, 1, 0, 2, 0, 4])
        self.assertEqual(self.attemptsAt(), [0, 1, 3, 7])

    def test_unauthenticated(self) -> None:
        """A refusal that anybody can have sent makes it slow, and does not stop it."""
        self.service.startService()
        waiting = self.service.whenConnected()
        self.attempt.fail(rejected(UNPROVED))
        self.clock.advance(0)
        self.assertEqual((self.told.delays, self.told.rejected), ([600.0], []))
        self.clock.advance(600.0)
        self.attempt.succeed()
        self.successResultOf(waiting)

    def test_goesOn(self) -> None:
        """By default it goes on, seldom, and says each time that it was rejected."""
        self.service = ThingClientService(
            self.endpoint,  # type: ignore[arg-type]
            Factory.forProtocol(Application_),
            backoff=Backoff(base=1.0, cap=60.0, jitter=lambda: 1.0),
            clock=self.clock,
            **self.told.hooks,
        )
        self.service.startService()
        for termination in (REFUSED, DISBELIEVED):
            self.attempt.fail(rejected(termination))
            self.clock.advance(600.0)
        self.attempt.succeed()
        self.assertEqual(len(self.told.rejected), 2)
        self.assertEqual(self.told.delays, [600.0, 600.0])

    def test_timeMends(self) -> None:
        """What time can mend is no rejection: it goes on as after a loss, even if it gives up."""
        self.service.startService()
        for code in (ErrorCode.NOT_VALID_NOW, ErrorCode.UNDECIDED):
            for byPeer in (True, False):
                self.attempt.fail(rejected(Termination(Cause.REJECTED, code, byPeer)))
                self.clock.advance(self.told.delays[-1] or 0.0)
        self.assertEqual((self.told.delays, self.told.rejected), ([1.0, 2.0, 4.0, 8.0], []))


class Told_(ThingProtocol):
    """A session that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def handshakeCompleted(self) -> None:
        self.told.append("up")

    def messageReceived(self, message: bytes) -> None:
        self.told.append(message)

    def terminated(self, termination: Termination) -> None:
        self.told.append(termination.cause)


class FactoryTests(SynchronousTestCase):
    """The service runs the factory of a program's own sessions."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = PairedEndpoint(self.clock)
        self.factory = ThingFactory(
            self.endpoint.keys.clientSettings(), self.endpoint.keys.servers, clock=self.clock
        )
        self.factory.protocol = Told_
        self.told = Told()
        self.service = self.makeService()
        self.addCleanup(self.nothingIsLeft)

    def makeService(self, kind: Any = ThingClientService, **choices: Any) -> ThingClientService:
        backoff = Backoff(base=1.0, cap=60.0, jitter=lambda: 1.0)
        choices = {"backoff": backoff, "clock": self.clock, **self.told.hooks, **choices}
        service: ThingClientService = kind(self.endpoint, self.factory, **choices)
        return service

    def nothingIsLeft(self) -> None:
        """Stop, and find no timer and no connection."""
        self.service.stopService()
        for pair in self.endpoint.pairs:
            pair.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def begin(self) -> Pair:
        """The service tries, and all is carried that there is."""
        if not self.service.running:
            self.service.startService()
        pair = self.endpoint.pairs[-1]
        pair.pump()
        return pair

    def test_up(self) -> None:
        """It is connected when the handshake is complete, and gives the program's own protocol."""
        waiting = self.service.whenConnected()
        self.service.startService()
        self.clock.advance(0)
        self.assertNoResult(waiting)
        self.assertEqual(self.told.up, [])
        pair = self.begin()
        session = self.successResultOf(waiting)
        self.assertIs(session, pair.clientSession)
        self.assertIs(self.successResultOf(self.service.whenConnected()), session)
        self.assertEqual(self.told, Told(up=[session]))
        pair.serverSession.sendMessage(b"on")
        pair.pump()
        self.assertEqual(session.told, ["up", b"on"])

    def test_comesBack(self) -> None:
        """After the session's end it comes back, and says how that was."""
        self.begin().cut()
        self.assertIs(terminationOf(self.told.down[0][0]).cause, Cause.TRUNCATED)  # type: ignore[union-attr]
        self.clock.advance(1.0)
        self.begin()
        self.assertEqual(len(self.told.up), 2)
        self.assertEqual(self.told.delays, [1.0])

    def test_stableSession(self) -> None:
        """A session that was up for two of its TTLs ends the row of failures."""
        for _ in range(2):
            self.begin().cut()
            self.clock.advance(self.told.delays[-1] or 0.0)
        pair = self.begin()
        pair.advance(2 * pair.clientSession.ttl + 1.0)
        pair.cut()
        self.assertEqual(self.told.delays, [1.0, 2.0, 1.0])

    def test_refused(self) -> None:
        """A handshake that the server refuses is a failed try, and counts as hopeless."""
        self.endpoint.keys.things = Keys().things
        waiting = self.service.whenConnected(1)
        self.begin().advance(1.0)
        failure = self.failureResultOf(waiting, HandshakeFailed)
        self.assertIs(failure.value.termination.code, ErrorCode.NOT_AUTHORIZED)
        self.assertEqual(self.told.delays, [600.0])
        self.assertEqual(len(self.told.rejected), 1)
        self.assertEqual(self.told.up, [])

    def test_programFails(self) -> None:
        """A protocol that fails as soon as it is up is one failure, and no session."""

        class Broken(ThingProtocol):
            def handshakeCompleted(self) -> None:
                raise ArithmeticError

        self.factory.protocol = Broken
        self.begin().advance(1.0)
        self.assertEqual((self.told.up, self.told.delays), ([], [1.0]))
        self.assertEqual(len(self.flushLoggedErrors(ArithmeticError)), 1)

    def test_leavesAtOnce(self) -> None:
        """One that leaves as soon as it is up has had a session."""

        class Brief(ThingProtocol):
            def handshakeCompleted(self) -> None:
                self.goodbye()

        self.factory.protocol = Brief
        self.begin().advance(1.0)
        self.assertEqual(len(self.told.up), 1)
        self.assertTrue(self.told.down[0][0].check(ConnectionDone))

    def test_overAtOnce(self) -> None:
        """One that aborts as soon as it is up has had none that anybody could use."""

        class Fleeting(ThingProtocol):
            def handshakeCompleted(self) -> None:
                self.abort()

        self.factory.protocol = Fleeting
        self.begin().advance(0.5)
        self.assertEqual((self.told.up, self.told.delays), ([], [1.0]))

    def test_stop(self) -> None:
        """It says goodbye: what was sent before arrives, and nothing follows."""
        pair = self.begin()
        received: list[bytes] = []
        pair.serverSession.messageReceived = received.append
        pair.clientSession.sendMessage(b"off")
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        pair.advance(5.0)
        self.successResultOf(stopped)
        self.assertEqual(received, [b"off"])
        self.assertIs(pair.serverSession.termination.cause, Cause.GOODBYE)
        self.assertEqual(pair.clientSession.told, ["up", Cause.GOODBYE])
        self.assertEqual(self.told.delays, [None])

    def test_stopInHandshake(self) -> None:
        """A stop in the middle of a handshake leaves nothing behind."""
        waiting = self.service.whenConnected()
        self.service.startService()
        self.clock.advance(0)
        self.successResultOf(self.service.stopService())
        self.failureResultOf(waiting, CancelledError)
        (pair,) = self.endpoint.pairs
        pair.pump()
        self.assertIs(pair.clientSession.termination.cause, Cause.ABORTED)
        self.assertEqual(self.told, Told())

    def test_stopWhenUp(self) -> None:
        """A callback may stop it as soon as it is up."""
        stopped: list[Deferred[None]] = []
        self.service = self.makeService(onUp=lambda _: stopped.append(self.service.stopService()))
        self.begin().advance(5.0)
        self.successResultOf(stopped[0])

    def test_privateNames(self) -> None:
        """A subclass may use any name that is not public, but for those of Twisted's service."""
        twisted = {*dir(ClientService), *vars(ClientService(*[None] * 2))}  # type: ignore[arg-type]
        private = {name for name in {*dir(self.service)} - twisted if name[0] == "_"}
        self.assertEqual(
            [name for name in private if not name.startswith("_ThingClientService__")], []
        )
        mine = {name.replace("_ThingClientService_", ""): object() for name in private}

        class Mine(ThingClientService):
            def __init__(self, *args: Any, **others: Any) -> None:
                super().__init__(*args, **others)
                vars(self).update(mine)

        self.assertIn("_backoff", mine)
        self.service = self.makeService(Mine)
        pair = self.begin()
        pair.cut()
        pair.advance(1.0)
        self.begin()
        self.successResultOf(self.service.whenConnected())
        self.assertEqual((len(self.told.up), self.told.delays), (2, [1.0]))


class LoopbackTests(TestCase):
    """Real sessions, over sockets."""

    timeout = 2 * PATIENCE

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.directory = Path(self.mktemp())
        self.directory.mkdir(parents=True)
        self.serverKey, self.thingKey = IdentityKey.generate(), IdentityKey.generate()
        self.things = self.directory / "things"
        self.allow(self.thingKey)
        self.told = Told()
        self.served: list[Protocol] = []
        self.port = 0

    def allow(self, *keys: IdentityKey) -> None:
        """Write the file of authorized things."""
        self.things.write_text("".join(f"{key.publicLine('lamp')}\n" for key in keys))

    async def listen(self, endpoint: Any, factory: Any) -> IListeningPort:
        """Listen on the port of the one before."""
        port: IListeningPort = await endpoint.listen(factory)
        self.port = port.getHost().port  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return port

    def inner(self) -> TCP4ServerEndpoint:
        """Where to listen."""
        return TCP4ServerEndpoint(self.reactor, self.port, interface="127.0.0.1")

    async def serve(self, key: IdentityKey | None = None) -> None:
        """Start a server."""
        self.authorizer = AuthorizedThings(self.things)
        settings = ServerSettings(credential=key or self.serverKey, ttl=TtlPolicy(default=5.0))
        self.server = ThingServerEndpoint(self.inner(), settings, self.authorizer)
        served = self.served

        class Echo(Protocol):
            def connectionMade(self) -> None:
                served.append(self)

            def dataReceived(self, data: bytes) -> None:
                self.transport.write(data)

        self.listening = await self.listen(self.server, Factory.forProtocol(Echo))
        self.addCleanup(self.server.factory.drain, 5.0)

    async def crash(self) -> None:
        """The server is gone, without a word."""
        await self.listening.stopListening()
        for session in list(self.server.factory.sessions):
            session.abort()

    def client(self, protocol: Any = Application_, **choices: Any) -> ThingClientService:
        """A client of it, started, with short pauses."""
        service = ThingClientService(
            ThingClientEndpoint(
                HostnameEndpoint(self.reactor, "127.0.0.1", self.port),
                ClientSettings(credential=self.thingKey),
                PinnedServers([self.serverKey.fingerprint]),
            ),
            Factory.forProtocol(protocol),
            backoff=Backoff(base=0.05, cap=0.2, seldom=0.2),
            **{**self.told.hooks, **choices},
        )
        service.startService()
        self.addCleanup(service.stopService)
        return service

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the reactor run until something is so; fail after a long while."""
        end = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), end, "it took too long")
            await deferLater(self.reactor, 0.01)

    async def rejection(self, service: ThingClientService) -> Termination:
        """What stops the service."""
        await self.until(lambda: self.told.rejected)
        self.assertFalse(service.running)
        failure = await self.assertFailure(service.whenConnected(), HandshakeFailed)
        termination: Termination = failure.termination
        self.assertIs(termination, terminationOf(self.told.rejected[-1]))
        return termination

    async def test_restart(self) -> None:
        """A server crashes and starts again; the client comes back by itself, and works."""
        await self.serve()
        service = self.client()
        await service.whenConnected()
        await self.crash()
        await self.until(lambda: len(self.told.down) > 3)
        await self.serve()
        protocol: Any = await service.whenConnected()
        protocol.transport.write(b"still there?")
        await self.until(lambda: protocol.received == b"still there?")
        cause = terminationOf(self.told.down[0][0])
        self.assertIs(cause and cause.cause, Cause.TRUNCATED)
        self.assertTrue(self.told.down[1][0].check(ConnectionRefusedError))
        await service.stopService()
        self.assertTrue(protocol.lost[0].check(ConnectionDone))
        self.assertEqual(len(self.told.up), 2)

    async def test_drain(self) -> None:
        """A server that goes away says for how long, and the client keeps to it."""
        await self.serve()
        service = self.client()
        await service.whenConnected()
        await self.listening.stopListening()
        await self.server.factory.drain(5.0, retryAfter=0.5)
        await self.until(lambda: self.told.down)
        ((reason, delay),) = self.told.down
        self.assertTrue(reason.check(SentAway))
        self.assertTrue(delay is not None and 0.5 <= delay <= 2.0, delay)
        await self.serve()
        await service.whenConnected()

    async def test_keyRemoved(self) -> None:
        """If it is to give up it stops, and with the key put back it can be started again."""
        await self.serve()
        service = self.client(giveUp=True)
        await service.whenConnected()
        self.allow()
        self.authorizer.reload()
        for session in list(self.server.factory.sessions):
            session.goAway(EndReason.REVOKED, grace=5.0)
        termination = await self.rejection(service)
        self.assertIs(termination.code, ErrorCode.NOT_AUTHORIZED)
        self.assertTrue(termination.byPeer)

        self.allow(self.thingKey)
        self.authorizer.reload()
        service.startService()
        await service.whenConnected()

    async def test_keyPutBack(self) -> None:
        """A client whose key is removed goes on, and is back by itself when its key is."""
        self.allow()
        await self.serve()
        service = self.client()
        await self.until(lambda: len(self.told.rejected) > 2)
        self.allow(self.thingKey)
        self.authorizer.reload()
        await service.whenConnected()

    async def test_anotherServer(self) -> None:
        """A server with another key than is pinned stops a client that is to give up."""
        await self.serve(IdentityKey.generate())
        termination = await self.rejection(self.client(giveUp=True))
        self.assertFalse(termination.byPeer)
        self.assertIn("the server's key is", termination.detail)

    async def test_stranger(self) -> None:
        """Somebody who writes a refusal in clear delays a client, even if it would give up."""
        refusal = bytes((SHR.TYPE,)) + SHR(ErrorCode.NOT_AUTHORIZED, 0).encode()

        class Stranger(Protocol):
            def connectionMade(self) -> None:
                self.transport.write(len(refusal).to_bytes(HEADER_LENGTH, "big") + refusal)

        port = await self.listen(self.inner(), Factory.forProtocol(Stranger))
        service = self.client(giveUp=True)
        await self.until(lambda: len(self.told.down) > 2)
        for reason, delay in self.told.down:
            termination = terminationOf(reason)
            self.assertIs(termination and termination.code, ErrorCode.NOT_AUTHORIZED)
            self.assertTrue(delay is not None and 0.2 <= delay <= 0.4, delay)
        await port.stopListening()
        await self.serve()
        await service.whenConnected()
        self.assertEqual(self.told.rejected, [])

    async def test_stopWhileConnecting(self) -> None:
        """A stop in the middle of a handshake leaves nothing behind."""
        met: list[Protocol] = []

        class Silent(Protocol):
            def connectionMade(self) -> None:
                met.append(self)

        await self.listen(self.inner(), Factory.forProtocol(Silent))
        service = self.client()
        waiting = service.whenConnected()
        await self.until(lambda: met)
        await service.stopService()
        await self.assertFailure(waiting, CancelledError)
        await self.until(lambda: not met[0].connected or not met[0].transport.connected)

    async def test_stopWhenUp(self) -> None:
        """A callback that stops the service as soon as it is up ends the session in order."""
        await self.serve()
        stopped: list[Any] = []
        service = self.client(onUp=lambda protocol: stopped.append(service.stopService()))
        await self.until(lambda: stopped)
        await stopped[0]
        ((reason, delay),) = self.told.down
        self.assertTrue(reason.check(ConnectionDone))
        self.assertIsNone(delay)


class HowtoTests(DocumentedPrograms):
    """docs/howto-reconnect.rst"""

    async def test_alwaysOn(self) -> None:
        """The example comes back, seldom when it was rejected, and leaves with a goodbye."""
        source = (EXAMPLES / "always_on.py").read_text()
        for plain, impatient in (
            ("import ThingClientService", "import Backoff, ThingClientService"),
            ("onUp=up,", "onUp=up, backoff=Backoff(base=0.2, cap=0.5),"),
        ):
            self.assertIn(plain, source)
            source = source.replace(plain, impatient)
        self.write("always_on.py", source)
        start = ("-c", TWISTD, "--nodaemon", "--python", "always_on.py")
        (self.directory / "authorized_things").touch()
        server = self.example("keyserver.py")
        await server.says(FINGERPRINT)
        stranger = self.run_(*start, "--pidfile=stranger.pid")
        await stranger.says("rejected: .*NOT_AUTHORIZED")
        await stranger.says(r"down: .*NOT_AUTHORIZED.*; next try in \d+\.\d s")
        line = await server.says("ssh-ed25519 [A-Za-z0-9+/]+ NAME\n")
        server.signal("KILL")
        await server.exits()

        (self.directory / "authorized_things").write_text(line.replace("NAME", "lamp"))
        server = self.example("keyserver.py")
        await server.says(FINGERPRINT)
        lamp = self.run_(*start)
        await lamp.says("HELLO, lamp!")
        await lamp.says("up: session [0-9a-f]{32}")
        server.signal("KILL")
        await lamp.says(r"down: the stream ended without .*; next try in \d+\.\d s")
        await server.exits()
        server = self.example("keyserver.py")
        await lamp.says("(?s)up: session .*up: session ")
        lamp.signal("TERM")
        await server.says(GOODBYE)
        await lamp.exits()
        self.assertIn(f"down: {GOODBYE}; stopped", lamp.output)

    def test_snippets(self) -> None:
        """Every piece of Python on the page runs; what it makes is a service for the endpoint."""
        text = (DOCS / "howto-reconnect.rst").read_text()
        pattern = r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)"
        blocks = re.findall(pattern, text, re.MULTILINE)
        self.assertEqual(len(blocks), 4)
        for block in blocks:
            endpoint = FakeEndpoint(Clock())
            names: dict[str, Any] = {"endpoint": endpoint, "factory": Factory()}
            exec(textwrap.dedent(block), names)
            if "talk" in names:
                self.talks(names["talk"])
                continue
            self.assertIsInstance(names["service"], ClientService)
            names["service"].startService()
            self.assertEqual(len(endpoint.attempts), 1)
            names["service"].stopService()

    def talks(self, talk: Any) -> None:
        """The snippet that waits gets the rejection's code, or the protocol."""
        for happens, result in (
            (fail(HandshakeFailed(REFUSED)), "NOT_AUTHORIZED"),
            (succeed(7), 7),
        ):
            service = SimpleNamespace(whenConnected=lambda happens=happens: happens)
            self.assertEqual(self.successResultOf(Deferred.fromCoroutine(talk(service))), result)

    def test_table(self) -> None:
        """The pauses in the table are those of a backoff as it is by default."""
        text = (DOCS / "howto-reconnect.rst").read_text()
        longest = Backoff(jitter=lambda: 1.0)
        pauses = [longest.down(0.0, TRUNCATED) for _ in range(3)]
        self.assertIn("up to {:g} seconds, the next time {:g}, then {:g}\n".format(*pauses), text)
        seldom = [Backoff(jitter=lambda j=j: j).down(0.0, UNPROVED) / 60 for j in (0.0, 1.0)]
        self.assertEqual(text.count("at least {:g} minutes, at most {:g}\n".format(*seldom)), 2)


class HerdTests(SynchronousTestCase):
    """benchmarks/herd.py"""

    def test_simulation(self) -> None:
        """The simulation brings everybody back under each policy, and prints the curves."""
        done = subprocess.run(
            [sys.executable, str(HERD), "--quick", "--simulation"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        peaks = dict(re.findall(r"^(\w.*): peak (\d+) a second, all back after", done.stdout, re.M))
        killed, asked = {"Thing", "Twisted, default", "Twisted, no jitter"}, "Thing, asked"
        self.assertEqual(set(peaks), {*killed, asked, "By retry-after alone"})
        self.assertLess(int(peaks[asked]), int(peaks["By retry-after alone"]))
        self.assertLess(int(peaks["Thing"]), int(peaks["Twisted, default"]))
        self.assertLess(int(peaks["Thing"]), int(peaks["Twisted, no jitter"]))
