"""The application's producer: what it is told, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from thing.core.states import State
from thing.events import Cause, Session, Termination
from thing.session.producers import QUEUE_HIGH, QUEUE_LOW, PacedProducer, RegisteredProducer


class Producer:
    """
    Notes what it is told.

    :ivar told: the methods called, in order.
    :ivar resumed: what else to do when it is resumed.
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self.resumed: Callable[[], object] = lambda: None

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")
        self.resumed()

    def stopProducing(self) -> None:
        self.told.append("stop")


class RegisteredProducerTests(SynchronousTestCase):
    """One producer at a time, told no more than it needs to know."""

    def setUp(self) -> None:
        self.registered = RegisteredProducer()
        self.producer = Producer()

    def test_nobody(self) -> None:
        """With no producer there is nobody to tell."""
        self.assertFalse(self.registered.registered)
        self.assertFalse(self.registered.waits)
        self.registered.pause()
        self.registered.resume()
        self.registered.stop()
        self.registered.unregister()

    def test_one(self) -> None:
        """A second one is refused; after the first is forgotten it may come."""
        self.registered.register(self.producer, True)
        self.assertRaises(RuntimeError, self.registered.register, Producer(), True)
        self.registered.unregister()
        self.registered.register(Producer(), False)
        self.assertTrue(self.registered.registered)

    def test_push(self) -> None:
        """A push producer is paused once, and resumed once."""
        self.registered.register(self.producer, True)
        self.assertFalse(self.registered.waits)
        for tell in (self.registered.resume, self.registered.pause, self.registered.pause):
            tell()
        self.assertTrue(self.registered.waits)
        self.registered.resume()
        self.registered.resume()
        self.assertEqual(self.producer.told, ["pause", "resume"])

    def test_pull(self) -> None:
        """A pull producer always waits, and is never paused."""
        self.registered.register(self.producer, False)
        self.registered.pause()
        for _ in range(2):
            self.assertTrue(self.registered.waits)
            self.registered.resume()
        self.assertEqual(self.producer.told, ["resume", "resume"])

    def test_stop(self) -> None:
        """It is stopped once, and forgotten before it is told."""
        self.registered.register(self.producer, True)
        self.registered.stop()
        self.registered.stop()
        self.assertEqual(self.producer.told, ["stop"])
        self.assertFalse(self.registered.registered)

    def test_nextIsNotPaused(self) -> None:
        """That one was paused says nothing of the next."""
        self.registered.register(self.producer, True)
        self.registered.pause()
        self.registered.unregister()
        self.registered.register(Producer(), True)
        self.assertFalse(self.registered.waits)


class FakeCore:
    """The outgoing side of a Connection, with whatever state a test gives it."""

    def __init__(self) -> None:
        self.session: Session | None = cast(Session, "a session")
        self.termination: Termination | None = None
        self.state = State.ESTABLISHED
        self.queued = 0
        self.messagesSent = 0

    def send(self, size: int) -> None:
        self.queued += size
        self.messagesSent += 1


class PacedProducerTests(SynchronousTestCase):
    """A producer that is paced by what waits to be sent."""

    def setUp(self) -> None:
        self.core = FakeCore()
        self.paced = PacedProducer(self.core, lambda callback: callback())
        self.producer = Producer()

    def test_push(self) -> None:
        """A push producer is paused at the high mark, and goes on below the low one."""
        self.paced.register(self.producer, True)
        for queued, told in (
            (QUEUE_HIGH - 1, []),
            (QUEUE_HIGH, ["pause"]),
            (QUEUE_HIGH + 1, ["pause"]),
            (QUEUE_LOW, ["pause"]),
            (QUEUE_LOW - 1, ["pause", "resume"]),
            (QUEUE_HIGH - 1, ["pause", "resume"]),
        ):
            self.core.queued = queued
            self.paced.balance()
            self.assertEqual(self.producer.told, told)

    def test_pull(self) -> None:
        """A pull producer is asked until the low mark is reached, and then when there is room."""
        self.producer.resumed = lambda: self.core.send(QUEUE_LOW // 4)
        self.paced.register(self.producer, False)
        self.assertEqual(self.producer.told, ["resume"] * 4)
        self.paced.balance()
        self.assertEqual(self.producer.told, ["resume"] * 4)
        self.core.queued = QUEUE_LOW - 1
        self.paced.balance()
        self.assertEqual(self.producer.told, ["resume"] * 5)

    def test_pullWhileAsked(self) -> None:
        """A pull producer that is asked is not asked again before it has answered."""

        def resumed() -> None:
            self.core.send(QUEUE_LOW // 4)
            before = len(self.producer.told)
            self.paced.balance()
            self.assertEqual(len(self.producer.told), before)

        self.producer.resumed = resumed
        self.paced.register(self.producer, False)
        self.assertEqual(self.producer.told, ["resume"] * 4)

    def test_pullHasNothing(self) -> None:
        """A pull producer that writes nothing is not asked again until something else happens."""
        self.paced.register(self.producer, False)
        self.assertEqual(self.producer.told, ["resume"])

    def test_pullEnds(self) -> None:
        """A pull producer may say in its answer that it was the last."""

        def resumed() -> None:
            self.core.send(1)
            self.paced.unregister()

        self.producer.resumed = resumed
        self.paced.register(self.producer, False)
        self.assertEqual(self.producer.told, ["resume"])

    def test_pullReplaced(self) -> None:
        """A long row of pull producers, each registered by the one before, is asked in a loop."""
        left = list(range(5000))

        def resumed() -> None:
            self.core.messagesSent += 1
            self.paced.unregister()
            if left:
                left.pop()
                self.paced.register(self.producer, False)

        self.producer.resumed = resumed
        self.paced.register(self.producer, False)
        self.assertEqual(left, [])

    def test_early(self) -> None:
        """Before the session is up a push producer is paused, and a pull producer not asked."""
        self.core.session = None
        for streaming, before, after in ((True, ["pause"], ["pause", "resume"]), (False, [], None)):
            self.producer = Producer()
            self.core.session = None
            self.paced.register(self.producer, streaming)
            self.assertEqual(self.producer.told, before)
            self.core.session = cast(Session, "a session")
            self.paced.balance()
            self.assertEqual(self.producer.told, after or ["resume"])
            self.paced.unregister()

    def test_over(self) -> None:
        """When nothing can be sent any more it is stopped, and so is one that comes then."""

        def closing() -> None:
            self.core.state = State.CLOSING

        def ended() -> None:
            self.core.termination = Termination(Cause.GOODBYE)

        def neverUp() -> None:
            self.core.session = None
            self.core.termination = Termination(Cause.ABORTED)

        for end in (closing, ended, neverUp):
            for streaming in (True, False):
                self.core = FakeCore()
                self.paced = PacedProducer(self.core, lambda callback: callback())
                first, second = Producer(), Producer()
                self.paced.register(first, streaming)
                end()
                self.paced.balance()
                self.paced.register(second, streaming)
                self.assertEqual(first.told[-1], "stop")
                self.assertEqual(first.told.count("stop"), 1)
                self.assertEqual(second.told, ["stop"])
                self.assertFalse(self.paced.registered)

    def test_guarded(self) -> None:
        """Whatever it is told, it is told through the guard: it may raise."""
        guarded: list[str] = []

        def guard(callback: Callable[[], Any]) -> None:
            guarded.append(callback.__name__)
            callback()

        self.paced = PacedProducer(self.core, guard)
        self.paced.register(self.producer, True)
        for queued in (QUEUE_HIGH, 0):
            self.core.queued = queued
            self.paced.balance()
        self.core.termination = Termination(Cause.GOODBYE)
        self.paced.balance()
        self.assertEqual(guarded, ["pause", "resume", "stop"])
        self.assertEqual(self.producer.told, guarded)
