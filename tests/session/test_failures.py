"""What is logged of failures of a program's own code, which any peer may bring about."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.pairs import CallbackBug, Recorder
from tests.session.test_factory import FleetCase
from thing.core.limits import Limits
from thing.core.rates import FAILURES_LOGGED, FAILURES_WINDOW
from thing.identity import Identity
from thing.session.failures import Failures
from thing.trust.interfaces import IAuthorizer

MANY = 5 * FAILURES_LOGGED


def _raise(error: BaseException) -> None:
    raise error


class DownError(Exception):
    """What a program's own code raises."""


class FailuresTests(SynchronousTestCase):
    """The log, by itself."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.lines: list[dict[str, Any]] = []
        log = Logger(namespace="tests.failures", observer=self.lines.append)  # type: ignore[arg-type]
        self.failures = Failures(log, self.clock.seconds)

    def fail(self, what: str, times: int = 1) -> None:  # type: ignore[override]
        """Have something fail."""
        for _ in range(times):
            try:
                raise DownError("the database")
            except DownError:
                self.failures.log(what)

    def test_whole(self) -> None:
        """A failure is logged with its traceback."""
        self.fail("It failed")
        (line,) = self.lines
        self.assertEqual(formatEvent(line), "It failed")
        self.assertIsInstance(line["log_failure"].value, DownError)

    def test_many(self) -> None:
        """Of many the first are logged, and later how many there were."""
        self.fail("It failed", MANY)
        self.assertEqual(len(self.lines), FAILURES_LOGGED)
        self.clock.advance(FAILURES_WINDOW)
        self.fail("It failed")
        texts = [formatEvent(line) for line in self.lines[FAILURES_LOGGED:]]
        self.assertEqual(texts, [f"It failed ({MANY - FAILURES_LOGGED} more times)", "It failed"])
        self.assertNotIn("log_failure", self.lines[FAILURES_LOGGED])

    def test_sorts(self) -> None:
        """Many of one sort leave room for another."""
        self.fail("It failed", MANY)
        self.fail("Something else failed")
        self.assertEqual(formatEvent(self.lines[-1]), "Something else failed")

    def test_guard(self) -> None:
        """What is called may raise anything; that is logged, and goes no further."""
        done: list[object] = []
        self.failures.guard("It failed", done.append, 1)
        for error in (DownError("the database"), SystemExit(1)):
            self.failures.guard("It failed", _raise, error)
            self.assertIs(self.lines[-1]["log_failure"].value, error)
        self.assertEqual((done, len(self.lines)), ([1], 2))
        self.assertRaises(KeyboardInterrupt, self.failures.guard, "", _raise, KeyboardInterrupt())

    def test_coroutine(self) -> None:
        """A coroutine is begun, and its failure is logged when it fails."""
        waiting: Deferred[None] = Deferred()

        async def look() -> None:
            await waiting
            raise DownError("the database")

        self.failures.guard("It failed", look)
        self.assertEqual(self.lines, [])
        waiting.callback(None)
        (line,) = self.lines
        self.assertIsInstance(line["log_failure"].value, DownError)

    def test_template(self) -> None:
        """What is logged is text, and no template."""
        self.fail("{it}")
        self.assertEqual(formatEvent(self.lines[-1]), "{it}")


@implementer(IAuthorizer)
class Down:
    """An authorizer whose database is down."""

    def authorize(self, identity: Identity) -> Identity:
        raise DownError("the database")


def fails(*_: object) -> bytes:
    """A part of a program that fails."""
    raise DownError("a part")


class StrangerTests(FleetCase):
    """However many strangers make a program's code fail, its log stays small."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.factory(limits=Limits(puzzleAfter=1 << 30))
        self.server.authorizer = Down()

    def come(self, error: type[Exception], sorts: int = 1) -> None:
        """Many strangers come and go; of each sort of failure so many are logged."""
        for _ in range(MANY):
            self.join(self.server)
        self.assertEqual(len(self.flushLoggedErrors(error)), sorts * FAILURES_LOGGED)

    def test_authorizer(self) -> None:
        """An authorizer that fails."""
        self.come(DownError)

    def test_observer(self) -> None:
        """An observer that fails."""
        self.server.observers.append(fails)
        self.come(DownError, 2)  # The authorizer's, too.

    def test_callbacks(self) -> None:
        """A callback of the protocol's that fails, of those that a stranger meets."""
        for name in ("connectionMade", "terminated", "connectionLost"):
            self.server.failures = Failures(Logger(), self.clock.seconds)
            self.server.protocol = type(name, (Recorder,), {"raising": {name}})
            self.come(CallbackBug)
        self.flushLoggedErrors(DownError)

    def test_requests(self) -> None:
        """A request that cannot be answered, asked again and again."""
        pair = self.join(self.factory())
        pair.server.requestReceived = fails
        for _ in range(MANY):
            pair.client.request(b"?").addErrback(lambda _: None)
            pair.pump()
        self.assertEqual(len(self.flushLoggedErrors(DownError)), FAILURES_LOGGED)
