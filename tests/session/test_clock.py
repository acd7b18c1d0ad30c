"""The steady clock: a clock of its own for a reactor whose clock is set."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorFromThreads,
    IReactorTime,
)
from twisted.internet.task import Clock, LoopingCall
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests import PROJECT
from tests.helpers import clientSettings, serverSettings
from tests.pairs import Pair
from thing import Anyone, ThingFactory
from thing.session import clock as clockModule
from thing.session.clock import FORGET_ABOVE, SteadyClock, steadySeconds

HOUR = 3600.0


class WallReactor:
    """
    A reactor in memory with a clock that is set, as a real one's is.

    It wakes its calls by its wall clock, so a step back delays them all.
    """

    def __init__(self) -> None:
        self._clock = Clock()
        self.steady = 1000.0
        self._clock.rightNow = 1e9

    def seconds(self) -> float:
        return self._clock.seconds()

    def callLater(self, delay: float, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        return self._clock.callLater(delay, call, *args, **named)

    def getDelayedCalls(self) -> list[IDelayedCall]:
        return list(self._clock.getDelayedCalls())

    def passTime(self, seconds: float, step: float = 0.25) -> None:
        """Let both clocks go on."""
        end = self.steady + seconds
        while self.steady < end - 1e-9:
            pause = min(step, end - self.steady)
            self.steady += pause
            self._clock.advance(pause)

    def setWall(self, by: float) -> None:
        """Set the wall clock, and let the reactor look at its calls."""
        self._clock.rightNow += by
        self._clock.advance(0)

    def sleep(self, seconds: float) -> None:
        """The machine sleeps: the steady clock goes on, the reactor's does not."""
        self.steady += seconds


class SteadyCase(SynchronousTestCase):
    """A steady clock over a reactor in memory."""

    def setUp(self) -> None:
        self.reactor = WallReactor()
        self.clock = SteadyClock(self.reactor, lambda: self.reactor.steady)
        self.fired: list[object] = []

    def later(self, delay: float, what: object = "fired") -> IDelayedCall:
        return self.clock.callLater(delay, self.fired.append, what)


class SteadyClockTests(SteadyCase):
    """The interface: what callLater and its calls do, as a reactor's own do."""

    def test_interfaces(self) -> None:
        """The clock and its calls provide what they say."""
        self.assertTrue(verifyObject(IReactorTime, self.clock))
        self.assertTrue(verifyObject(IDelayedCall, self.later(1)))

    def test_callLater(self) -> None:
        """A call comes once, when its time has come, with its arguments."""
        calls = []
        self.clock.callLater(2, lambda *args, **named: calls.append((args, named)), 1, two=2)
        self.reactor.passTime(1.75)
        self.assertEqual(calls, [])
        self.reactor.passTime(0.25)
        self.assertEqual(calls, [((1,), {"two": 2})])
        self.reactor.passTime(10)
        self.assertEqual(len(calls), 1)

    def test_seconds(self) -> None:
        """The clock's time is the steady time; a call's time is told in it."""
        self.assertEqual(self.clock.seconds(), 1000.0)
        self.assertEqual(self.later(2.5).getTime(), 1002.5)

    def test_order(self) -> None:
        """Calls come in the order of their times."""
        for delay in (3, 1, 2):
            self.later(delay, delay)
        self.reactor.passTime(5)
        self.assertEqual(self.fired, [1, 2, 3])

    def test_atOnce(self) -> None:
        """A delay of zero comes at the reactor's next turn, not inside callLater."""
        self.later(0)
        self.assertEqual(self.fired, [])
        self.reactor.passTime(0.25)
        self.assertEqual(self.fired, ["fired"])

    def test_getDelayedCalls(self) -> None:
        """The calls that are to come are told, and no others."""
        first, second, third = self.later(1), self.later(2), self.later(3)
        self.assertEqual(set(self.clock.getDelayedCalls()), {first, second, third})
        second.cancel()
        self.reactor.passTime(1)
        self.assertEqual(self.clock.getDelayedCalls(), [third])
        third.cancel()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """A cancelled call does not come, and leaves nothing in the reactor."""
        call = self.later(1)
        self.assertTrue(call.active())
        call.cancel()
        self.assertFalse(call.active())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.reactor.passTime(2)
        self.assertEqual(self.fired, [])

    def test_cancelled(self) -> None:
        """A cancelled call can be neither cancelled nor moved."""
        call = self.later(1)
        call.cancel()
        self.assertRaises(AlreadyCancelled, call.cancel)
        self.assertRaises(AlreadyCancelled, call.reset, 1)
        self.assertRaises(AlreadyCancelled, call.delay, 1)

    def test_called(self) -> None:
        """A call that came can be neither cancelled nor moved."""
        call = self.later(1)
        self.reactor.passTime(1)
        self.assertFalse(call.active())
        self.assertRaises(AlreadyCalled, call.cancel)
        self.assertRaises(AlreadyCalled, call.reset, 1)
        self.assertRaises(AlreadyCalled, call.delay, 1)

    def test_whileCalled(self) -> None:
        """A call is over from its first instruction on: it cannot cancel itself."""
        seen: list[object] = []

        def run() -> None:
            seen.append(call.active())
            self.assertRaises(AlreadyCalled, call.cancel)

        call = self.clock.callLater(1, run)
        self.reactor.passTime(1)
        self.assertEqual(seen, [False])

    def test_resetLater(self) -> None:
        """A call that is set later comes later, once."""
        call = self.later(1)
        self.reactor.passTime(0.5)
        call.reset(1)
        self.assertEqual(call.getTime(), 1001.5)
        self.reactor.passTime(0.75)
        self.assertEqual(self.fired, [])
        self.reactor.passTime(0.25)
        self.assertEqual(self.fired, ["fired"])
        self.reactor.passTime(5)
        self.assertEqual(self.fired, ["fired"])

    def test_resetSooner(self) -> None:
        """A call that is set sooner comes sooner, once."""
        call = self.later(10)
        call.reset(1)
        self.reactor.passTime(1)
        self.assertEqual(self.fired, ["fired"])
        self.reactor.passTime(20)
        self.assertEqual(self.fired, ["fired"])

    def test_delay(self) -> None:
        """A call is moved by some seconds, later or sooner."""
        call = self.later(2)
        call.delay(3)
        self.assertEqual(call.getTime(), 1005)
        call.delay(-4)
        self.assertEqual(call.getTime(), 1001)
        self.reactor.passTime(1)
        self.assertEqual(self.fired, ["fired"])

    def test_resetCostsNothing(self) -> None:
        """Moving a call later asks nothing of the reactor, so a deadline costs O(1) a heartbeat."""
        call = self.later(1)
        (wake,) = self.reactor.getDelayedCalls()
        for _ in range(1000):
            call.reset(30)
        self.assertEqual(self.reactor.getDelayedCalls(), [wake])
        call.cancel()
        self.assertFalse(wake.active())

    def test_exception(self) -> None:
        """A call that raises is over, and the others come all the same."""

        def fail() -> None:
            raise ZeroDivisionError

        call = self.clock.callLater(1, fail)
        self.later(2)
        self.assertRaises(ZeroDivisionError, self.reactor.passTime, 1)
        self.assertFalse(call.active())
        self.reactor.passTime(2)
        self.assertEqual(self.fired, ["fired"])

    def test_callWithinCall(self) -> None:
        """A call may set the next one and cancel another."""
        other = self.later(5, "other")

        def run() -> None:
            other.cancel()
            self.later(1, "next")

        self.clock.callLater(1, run)
        self.reactor.passTime(10)
        self.assertEqual(self.fired, ["next"])

    def test_of(self) -> None:
        """A reactor has one steady clock."""
        other = WallReactor()
        self.assertIs(SteadyClock.of(self.reactor), SteadyClock.of(self.reactor))
        self.assertIsNot(SteadyClock.of(self.reactor), SteadyClock.of(other))
        self.assertIs(SteadyClock.of(self.reactor).reactor, self.reactor)

    def test_steadySeconds(self) -> None:
        """The steady clock never goes back."""
        seen = [steadySeconds() for _ in range(1000)]
        self.assertEqual(seen, sorted(seen))


class StepTests(SteadyCase):
    """The wall clock is set by an hour: nothing comes early, and nothing freezes."""

    def test_forward(self) -> None:
        """Set forward, no call comes early, and each comes in time."""
        for delay in (1, 60, 4000):
            self.later(delay, delay)
        self.reactor.setWall(HOUR)
        self.assertEqual(self.fired, [])
        self.reactor.passTime(0.75)
        self.assertEqual(self.fired, [])
        self.reactor.passTime(0.25)
        self.assertEqual(self.fired, [1])
        self.reactor.passTime(59)
        self.assertEqual(self.fired, [1, 60])
        self.reactor.passTime(4000)
        self.assertEqual(self.fired, [1, 60, 4000])

    def test_back(self) -> None:
        """Set back, calls come in time once they are armed anew."""
        for delay in (1, 60, 4000):
            self.later(delay, delay)
        self.reactor.setWall(-HOUR)
        self.clock.rearm()
        self.reactor.passTime(1)
        self.assertEqual(self.fired, [1])
        self.reactor.passTime(3999)
        self.assertEqual(self.fired, [1, 60, 4000])

    def test_backAndForth(self) -> None:
        """However often the clock is set, a call comes once, at its time."""
        self.later(10)
        for by in (HOUR, -2 * HOUR, 3 * HOUR, -HOUR):
            self.reactor.setWall(by)
            self.clock.rearm()
            self.reactor.passTime(2)
            self.assertEqual(self.fired, [])
        self.reactor.passTime(2)
        self.assertEqual(self.fired, ["fired"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_loopingCall(self) -> None:
        """A LoopingCall keeps its beat through steps in both directions."""
        beats: list[float] = []
        loop = LoopingCall(lambda: beats.append(self.clock.seconds()))
        loop.clock = self.clock
        loop.start(10)
        for by in (HOUR, -HOUR, -HOUR, HOUR):
            self.reactor.passTime(25)
            self.reactor.setWall(by)
            self.clock.rearm()
        self.reactor.passTime(25)
        self.assertEqual(beats, [1000.0 + 10 * count for count in range(13)])
        loop.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_sleep(self) -> None:
        """What fell due while the machine slept comes at once after it; the rest in time."""
        self.later(60, "due")
        self.later(HOUR + 60, "not due")
        self.reactor.sleep(HOUR)
        self.clock.rearm()
        self.reactor.passTime(0.25)
        self.assertEqual(self.fired, ["due"])
        self.reactor.passTime(59)
        self.assertEqual(self.fired, ["due"])
        self.reactor.passTime(1)
        self.assertEqual(self.fired, ["due", "not due"])

    def test_rearmTwice(self) -> None:
        """Arming anew leaves one wake-up, for the first call."""
        self.later(1), self.later(2)
        for _ in range(5):
            self.clock.rearm()
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.passTime(2)
        self.assertEqual(len(self.fired), 2)

    def test_oneWakeUp(self) -> None:
        """However many calls there are, the reactor has one, and each comes in its turn."""
        for delay in range(100, 0, -1):
            self.later(delay, delay)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.passTime(100)
        self.assertEqual(self.fired, list(range(1, 101)))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_exceptionAmongOthers(self) -> None:
        """A call that raises holds none up that is due in the same moment."""
        self.clock.callLater(1, lambda: 1 / 0)
        self.later(1)
        self.assertRaises(ZeroDivisionError, self.reactor.passTime, 1)
        self.reactor.passTime(0.25)
        self.assertEqual(self.fired, ["fired"])

    def test_forgets(self) -> None:
        """Calls that are cancelled again and again are not kept until they were due."""
        kept = self.later(1)
        for _ in range(10 * FORGET_ABOVE):
            self.later(HOUR).cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [kept])
        self.assertLess(len(self.clock._entries), 2 * FORGET_ABOVE)
        self.reactor.passTime(1)
        self.assertEqual(self.fired, ["fired"])

    def test_cancelledBeforeAnother(self) -> None:
        """A call that was cancelled while another was to come leaves nothing after that one."""
        self.later(1)
        self.later(5).cancel()
        self.reactor.passTime(1)
        self.assertEqual(self.fired, ["fired"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_soonerAndLater(self) -> None:
        """A call that is moved to and fro comes once, at its last time."""
        call = self.later(10)
        for delay in (1, 5, 2, 7, 3):
            call.reset(delay)
        self.reactor.passTime(2.75)
        self.assertEqual(self.fired, [])
        self.reactor.passTime(20)
        self.assertEqual(self.fired, ["fired"])


@implementer(IReactorFromThreads)
class ThreadedWallReactor(WallReactor):
    """A reactor that a thread can wake, too: it notes the calls and tells the test."""

    def __init__(self) -> None:
        super().__init__()
        self.fromThread: list[Callable[[], object]] = []
        self.woken = threading.Event()
        self.looked = threading.Event()
        self.wall = 0.0

    def seconds(self) -> float:
        """A wall clock that goes on with real time, so that only the test's steps differ."""
        now = time.monotonic() + self.wall
        if threading.current_thread() is not threading.main_thread():
            self.looked.set()
        return now

    def callFromThread(self, call: Callable[[], object]) -> None:  # type: ignore[override]
        self.fromThread.append(call)
        self.woken.set()


class WatchTests(SynchronousTestCase):
    """The thread that wakes a reactor which sleeps by a clock that was set."""

    TURN = 30.0
    """How long a test waits for a thread at most, seconds."""

    def setUp(self) -> None:
        self.patch(clockModule, "WATCH_INTERVAL", 0.02)
        self.others = set(threading.enumerate())
        self.reactor = ThreadedWallReactor()
        self.offset = 0.0
        self.clock = SteadyClock(self.reactor, lambda: time.monotonic() + self.offset)

    def watchers(self) -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one not in self.others]

    def watchedCall(self) -> IDelayedCall:
        """A pending call, once the thread has had its first look at the clocks."""
        call = self.clock.callLater(60, lambda: None)
        self.assertTrue(self.reactor.looked.wait(self.TURN))
        return call

    def assertWakes(self) -> None:
        """The thread asks the reactor to arm every call anew."""
        self.assertTrue(self.reactor.woken.wait(self.TURN))
        self.assertEqual(self.reactor.fromThread[0], self.clock.rearm)

    def endWatch(self, *calls: IDelayedCall) -> None:
        before = self.watchers()
        for call in calls:
            call.cancel()
        for thread in before:
            thread.join(self.TURN)
            self.assertFalse(thread.is_alive())

    def test_stepBack(self) -> None:
        """A step back wakes the reactor."""
        call = self.watchedCall()
        self.reactor.wall -= HOUR
        self.assertWakes()
        self.endWatch(call)

    def test_stepForward(self) -> None:
        """A step forward wakes the reactor, too."""
        call = self.watchedCall()
        self.reactor.wall += HOUR
        self.assertWakes()
        self.endWatch(call)

    def test_suspend(self) -> None:
        """After a sleep, in which the steady clock went on alone, the reactor is woken."""
        call = self.watchedCall()
        self.offset += HOUR
        self.reactor.wall += HOUR
        self.assertWakes()
        self.endWatch(call)

    def test_shortTtls(self) -> None:
        """The shortest TTL decides how often the thread looks, until no call is pending."""
        self.patch(clockModule, "WATCH_INTERVAL", 1.0)
        clock = SteadyClock(WallReactor(), lambda: 0.0)
        self.assertEqual(clock.watchInterval, 1.0)
        for ttl, interval in ((30.0, 1.0), (1.0, 0.25), (3.0, 0.25), (0.1, 0.025), (0.01, 0.01)):
            clock.watchFor(ttl)
            self.assertEqual(clock.watchInterval, interval)

    def test_shortCalls(self) -> None:
        """A short call decides nothing: a deadline that was moved has short rests all the time."""
        self.patch(clockModule, "WATCH_INTERVAL", 1.0)
        clock = SteadyClock(WallReactor(), lambda: 0.0)
        clock.callLater(0.02, lambda: None)
        self.assertEqual(clock.watchInterval, 1.0)

    def test_sessions(self) -> None:
        """A session has steps seen in time."""
        self.patch(clockModule, "WATCH_INTERVAL", 1.0)
        time = Clock()
        clock = SteadyClock(time, time.seconds)
        server = ThingFactory(serverSettings(allowAnonymous=True), Anyone(), clock=clock)
        Pair(clock=time, client=clientSettings(requestedTtl=2.0), serverFactory=server).up()
        self.assertEqual(clock.watchInterval, 0.5)

    def test_longAgain(self) -> None:
        """What was short once, and is over with all others, says no more."""
        self.patch(clockModule, "WATCH_INTERVAL", 1.0)
        self.clock.watchFor(0.04)
        self.endWatch(self.clock.callLater(0.04, lambda: None))
        self.assertEqual(self.clock.watchInterval, 1.0)

    def test_oneThread(self) -> None:
        """However many calls are pending, there is one thread; it ends with the last of them."""
        calls = [self.clock.callLater(60, lambda: None) for _ in range(100)]
        self.assertEqual(len(self.watchers()), 1)
        self.assertTrue(self.watchers()[0].daemon)
        self.endWatch(*calls)
        again = self.clock.callLater(60, lambda: None)
        self.assertEqual(len(self.watchers()), 1)
        self.endWatch(again)

    def test_noThreads(self) -> None:
        """A reactor that threads cannot wake is not watched."""
        SteadyClock(WallReactor()).callLater(60, lambda: None)
        self.assertEqual(self.watchers(), [])


STEPPED = """
import sys, time
from twisted.internet import reactor
from thing.session.clock import LEAST_WATCH_INTERVAL, SteadyClock

wall = 0.0
reactor.seconds = lambda: time.time() + wall
clock = SteadyClock.of(reactor)
began = time.monotonic()

def setWall():
    global wall
    wall = float(sys.argv[1])

def tell(name):
    print(name, time.monotonic() - began)

clock.callLater(0.2, setWall)
clock.callLater(0.6, tell, "soon")
clock.callLater(2.2, tell, "later")
clock.callLater(300, tell, "early")
clock.callLater(2.4, reactor.stop)
reactor.run()
"""
"""Sets a real reactor's wall clock by so many seconds, and tells when its calls came."""


class RealReactorTests(TestCase):
    """A whole reactor, in a process of its own, whose wall clock is set while it waits."""

    def assertInTime(self, step: float) -> None:
        output = subprocess.run(
            [sys.executable, "-c", STEPPED, str(step)],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=PROJECT,
        ).stdout
        seen = {name: float(when) for name, when in map(str.split, output.splitlines())}
        self.assertEqual(set(seen), {"soon", "later"})
        self.assertGreaterEqual(seen["soon"], 0.6)
        self.assertGreaterEqual(seen["later"], 2.2)
        self.assertLess(seen["later"], 30)

    def test_stepBack(self) -> None:
        """An hour back: a real reactor makes its calls all the same."""
        self.assertInTime(-HOUR)

    def test_stepForward(self) -> None:
        """An hour forward: a real reactor makes no call early."""
        self.assertInTime(HOUR)
