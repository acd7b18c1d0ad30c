"""Tests for thing.logger."""

import io

from twisted.logger import LogLevel, textFileLogObserver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.test_imports import modulesOfThing
from thing.logger import Logger

NAME = "lamp\r\x1b[2K\u202e\n2026-01-01 [-] all is well"
SHOWN = "lamp\ufffd\ufffd[2K\ufffd\ufffd2026-01-01 [-] all is well"


class LoggerTests(SynchronousTestCase):
    """Logger"""

    def setUp(self) -> None:
        self.events: list[dict[str, object]] = []
        self.log = Logger(namespace="test", observer=self.events.append)

    def test_texts(self) -> None:
        """At every level a text is fit for one line of a log when an observer has it."""
        for level in LogLevel.iterconstants():
            getattr(self.log, level.name)("{name}", name=NAME)
        self.assertEqual([event["name"] for event in self.events], [SHOWN] * 5)

    def test_failure(self) -> None:
        """What is told with a failure is, too; the failure itself is the observers'."""
        failure = Failure(ValueError("x"))
        self.log.failure("{name}", failure, name=NAME)
        (event,) = self.events
        self.assertEqual(event["name"], SHOWN)
        self.assertIs(event["log_failure"], failure)

    def test_others(self) -> None:
        """What is no text is passed on as it is."""
        octets = NAME.encode()
        self.log.info("{octets!r} {count}", octets=octets, count=7)
        (event,) = self.events
        self.assertEqual((event["octets"], event["count"]), (octets, 7))

    def test_attribute(self) -> None:
        """As the attribute of a class it tells whose event it is, as Twisted's own does."""

        class Lamp:
            log = Logger(observer=self.events.append)

        lamp = Lamp()
        lamp.log.info("{name}", name=NAME)
        (event,) = self.events
        self.assertIs(event["log_source"], lamp)
        self.assertEqual(event["log_namespace"], f"{__name__}.Lamp")
        self.assertEqual(event["name"], SHOWN)

    def test_written(self) -> None:
        """Twisted's own text log has one line for one event."""
        out = io.StringIO()
        Logger(namespace="test", observer=textFileLogObserver(out)).info("{name}", name=NAME)
        self.assertTrue(out.getvalue().endswith(f"[test#info] {SHOWN}\n"))
        self.assertEqual(out.getvalue().count("\n"), 1)

    def test_everywhere(self) -> None:
        """No module of Thing logs by another."""
        others = [
            name
            for name, imports in modulesOfThing().items()
            if any(each.target == "twisted.logger.Logger" for each in imports)
        ]
        self.assertEqual(others, [])
