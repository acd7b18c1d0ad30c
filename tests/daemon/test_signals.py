"""Signals of the server's process: when they are caught, and what they hasten."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from thing import Cause, EndReason, ThingProtocol
from thing.daemon.service import HURRY_TIME, ThingService
from thing.daemon.signals import Signals
from thing.testing import Pair

HANDLED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Reactor:
    """
    As much of a reactor as signals concern.

    :ivar stopped: the signals that it was stopped by.
    """

    def __init__(self) -> None:
        self.stopped: list[int] = []
        self.triggers: list[Callable[[], object]] = []
        self._hooks: list[Callable[[], object]] = []

    def addSystemEventTrigger(self, phase: str, event: str, function: Callable[[], object]) -> Any:
        assert (phase, event) == ("before", "shutdown")
        self.triggers.append(function)
        return function

    def removeSystemEventTrigger(self, trigger: Any) -> None:
        self.triggers.remove(trigger)

    def callWhenRunning(self, function: Callable[..., object], *arguments: Any) -> None:
        self._hooks.append(lambda: function(*arguments))

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:
        function(*arguments)

    def start(self) -> None:
        """Set its own handlers, and then do what waits for that."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.end)
        for hook in self._hooks:
            hook()

    def end(self, number: int, frame: object) -> None:
        """Its own handler."""
        self.stopped.append(number)


class SignalCase(SynchronousTestCase):
    """Tests that leave the signals of the process as they were."""

    def setUp(self) -> None:
        for number in HANDLED:
            before = signal.signal(number, lambda *_: self.fail("not caught"))
            self.addCleanup(signal.signal, number, before)
        self.reactor = Reactor()
        self.signals = Signals(self.reactor)
        self.did: list[str] = []

    def attend(self) -> None:
        """Say what signals are for."""
        self.signals.attend(lambda: self.did.append("read"), lambda: self.did.append("hurried"))

    def handlers(self) -> list[Any]:
        """Who has the signals."""
        return [signal.getsignal(number) for number in HANDLED]


class HangUpTests(SignalCase):
    """SIGHUP."""

    def test_early(self) -> None:
        """What comes too early ends nothing, and is done once the reactor runs."""
        self.signals.catchHangUp()
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        self.attend()
        self.assertEqual(self.did, [])
        self.reactor.start()
        self.assertEqual(self.did, ["read"])
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(self.did, ["read"] * 2)

    def test_nothingToRead(self) -> None:
        """Who reads nothing leaves the signal to others."""
        before = self.handlers()
        self.signals.attend(None, lambda: None)
        self.assertEqual(self.handlers(), before)

    def test_whileItEnds(self) -> None:
        """The signal does not end a process that ends in order."""
        self.attend()
        self.reactor.start()
        signal.raise_signal(signal.SIGTERM)
        self.signals.restore()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(self.did, [])


class EndingTests(SignalCase):
    """SIGTERM and SIGINT."""

    def test_second(self) -> None:
        """The first is for the reactor, and only that; each that follows hastens the end."""
        for first, second in ((signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGINT)):
            self.setUp()
            self.attend()
            self.reactor.start()
            signal.raise_signal(first)
            self.assertEqual((self.reactor.stopped, self.did), ([first], []))
            signal.raise_signal(second)
            signal.raise_signal(signal.SIGTERM)
            self.assertEqual((self.reactor.stopped, self.did), ([first], ["hurried"] * 2))

    def test_atOnce(self) -> None:
        """Both may come before the reactor has seen the first: it stops at the end of that turn."""
        turn: list[Callable[[], object]] = []
        self.reactor.callFromThread = lambda *call: turn.append(partial(*call))  # type: ignore[method-assign]
        self.attend()
        self.reactor.start()
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        for expected in ([], ["hurried"]):
            calls, turn[:] = turn[:], []
            for call in calls:
                call()
            self.assertEqual(self.did, expected)

    def test_stoppedOtherwise(self) -> None:
        """If the reactor stops for another reason the first signal hastens that."""
        self.attend()
        self.reactor.start()
        (trigger,) = self.reactor.triggers
        trigger()
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual((self.reactor.stopped, self.did), ([], ["hurried"]))

    def test_afterTheEnd(self) -> None:
        """When all has stopped, but a thread is still busy, one more signal kills."""
        self.attend()
        self.reactor.start()
        signal.raise_signal(signal.SIGTERM)
        self.signals.restore()
        hangUp, *others = self.handlers()
        self.assertEqual(others, [signal.SIG_DFL] * 2)
        self.assertTrue(callable(hangUp))

    def test_ignored(self) -> None:
        """A signal that the process was told to ignore stays ignored."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.attend()
        self.reactor.start()
        self.assertIs(signal.getsignal(signal.SIGINT), signal.SIG_IGN)
        signal.raise_signal(signal.SIGTERM)
        self.signals.restore()
        self.assertIs(signal.getsignal(signal.SIGINT), signal.SIG_IGN)

    def test_restored(self) -> None:
        """A service that stops while the process goes on gives all signals back."""
        hangUp, *_ = self.handlers()
        self.attend()
        self.reactor.start()
        self.signals.restore()
        self.assertEqual(self.handlers(), [hangUp, self.reactor.end, self.reactor.end])
        self.assertEqual(self.reactor.triggers, [])

    def test_neverRan(self) -> None:
        """A service that is stopped before the reactor runs takes no signal afterwards."""
        self.attend()
        self.signals.restore()
        self.reactor.start()
        self.assertEqual(self.handlers()[1:], [self.reactor.end] * 2)


class Stuck(Service):
    """Does not stop."""

    def stopService(self) -> Deferred[None]:
        return Deferred()


class HurryTests(SignalCase):
    """A service that drains, with a client whose process is stopped, and is told to hurry."""

    def drain(self, *companions: Service) -> tuple[Pair, Deferred[None]]:
        """Both, as the drain begins."""
        pair = Pair(ThingProtocol, ThingProtocol).up()
        self.addCleanup(pair.close)
        self.service = ThingService(
            self.reactor,
            pair.serverFactory,
            {},
            companions=companions,
            drainTimeout=20.0,
            signals=self.signals,
        )
        self.service.startService()
        self.reactor.start()
        pair.freeze()
        signal.raise_signal(signal.SIGTERM)
        stopped = self.service.stopService()
        pair.advance(HURRY_TIME)
        self.assertNoResult(stopped)
        return pair, stopped

    def test_flatLine(self) -> None:
        """Who has not left is flat-lined at once; what serves those who watch stops in order."""
        companion = Service()
        pair, stopped = self.drain(companion)
        signal.raise_signal(signal.SIGINT)
        pair.advance(0.01)
        termination = pair.serverSession.termination
        self.assertTrue(companion.running)
        pair.advance(HURRY_TIME)
        self.successResultOf(stopped)
        self.assertFalse(companion.running)
        self.assertIs(termination.cause, Cause.FLAT_LINED)
        self.assertIs(termination.reason, EndReason.SHUTDOWN)

    def test_goodbyeOnItsWay(self) -> None:
        """A session that waits for the last of a goodbye is not waited for."""
        pair, stopped = self.drain()
        pair.serverSession.goodbye()
        signal.raise_signal(signal.SIGTERM)
        pair.advance(HURRY_TIME + 0.01)
        self.successResultOf(stopped)
        self.assertEqual(pair.serverFactory.sessions, set())

    def test_stuck(self) -> None:
        """What does not stop is given up within a second."""
        pair, stopped = self.drain(Stuck())
        signal.raise_signal(signal.SIGTERM)
        pair.advance(HURRY_TIME)
        self.assertNoResult(stopped)
        pair.advance(HURRY_TIME)
        self.successResultOf(stopped)

    def test_third(self) -> None:
        """One more signal gives up at once."""
        _, stopped = self.drain(Stuck())
        signal.raise_signal(signal.SIGTERM)
        self.assertNoResult(stopped)
        signal.raise_signal(signal.SIGTERM)
        self.successResultOf(stopped)

    def test_nothingLeft(self) -> None:
        """When all has stopped nothing is left to do, and no call waits."""
        pair, stopped = self.drain()
        signal.raise_signal(signal.SIGTERM)
        pair.advance(HURRY_TIME + 0.01)
        self.successResultOf(stopped)
        self.service.hurry()
        pair.close()
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_stoppedTwice(self) -> None:
        """Whoever stops it, too, learns when it has stopped."""
        pair, stopped = self.drain()
        again = self.service.stopService()
        signal.raise_signal(signal.SIGTERM)
        pair.advance(HURRY_TIME + 0.01)
        for each in (stopped, again):
            self.successResultOf(each)
