"""Logs as JSON lines: what is in an object, and that whatever is logged becomes one."""

from __future__ import annotations

import errno
import importlib
import io
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from enum import IntEnum
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import (
    FileLogObserver,
    LegacyLogObserverWrapper,
    Logger,
    LogLevel,
    LogPublisher,
    capturedLogs,
    eventAsJSON,
    eventFromJSON,
    formatEvent,
    formatEventAsClassicLogText,
)
from twisted.plugin import getCache
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.python.log import LogPublisher as LegacyLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.daemon.test_twistd import PROJECT, TWISTD, TwistdCase
from thing import Cause
from thing.daemon import logs
from thing.daemon.logs import (
    COMPLAINTS,
    COMPLAINTS_WINDOW,
    TEXT_LIMIT,
    TextLines,
    eventAsLine,
    formatProblem,
    inJournal,
    isComplaint,
    makeObserver,
    withFewComplaints,
    withoutNoise,
)


class Broken:
    """Raises from whatever is asked of it."""

    def __str__(self) -> str:
        raise RuntimeError("not to be printed")

    __repr__ = __str__


class BrokenText(str):
    """A text that cannot be printed as it wants to be."""

    def __str__(self) -> str:
        raise RuntimeError("not to be printed")


class Liar:
    """Has no class that can be asked for."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no class")


class Number(IntEnum):
    """An enumeration of numbers."""

    SEVEN = 7


KEYS = ("log_format", "log_time", "log_level", "log_namespace", "log_system", "log_failure", "a")
"""Of events."""


def flattened(event: dict[str, Any]) -> dict[str, Any]:
    """An event as it is kept, and read again."""
    return eventFromJSON(eventAsJSON(event))


class LogsCase(SynchronousTestCase):
    """Tests with a logger whose events become lines."""

    def setUp(self) -> None:
        self.file = io.StringIO()
        self.observer = FileLogObserver(self.file, eventAsLine)
        self.log = Logger(namespace="test.logs", observer=self.observer)

    def objects(self) -> list[dict[str, Any]]:
        """What was written, read by a strict reader."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        lines = self.file.getvalue().splitlines()
        return [json.loads(line, parse_constant=refuse) for line in lines]

    def only(self) -> dict[str, Any]:
        """The only object that was written."""
        (line,) = self.objects()
        return line


class EventTests(LogsCase):
    """eventAsLine"""

    def test_event(self) -> None:
        """An object has time, level, namespace, message, and the event's fields."""
        self.log.warn("{peer} at {address} is late", peer="lamp", address="192.0.2.1:9", beat=3)
        line = self.only()
        self.assertRegex(line.pop("time"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(
            line,
            {
                "level": "warn",
                "namespace": "test.logs",
                "message": "lamp at 192.0.2.1:9 is late",
                "peer": "lamp",
                "address": "192.0.2.1:9",
                "beat": 3,
            },
        )

    def test_time(self) -> None:
        """The time is that of the event, in UTC."""
        event = {"log_time": 1e9 + 0.25, "log_level": LogLevel.info, "log_format": "x"}
        self.assertEqual(json.loads(eventAsLine(event))["time"], "2001-09-09T01:46:40.250Z")

    def test_values(self) -> None:
        """Plain values stay what they are; what JSON cannot have is written as text."""
        self.log.info(
            "values",
            nothing=None,
            truth=True,
            half=0.5,
            infinite=float("-inf"),
            huge=10**6000,
            cause=Cause.GOODBYE,
            number=Number.SEVEN,
            text=BrokenText("shown"),
            many=[1, (2, None), "three"],
        )
        line = self.only()
        for name, value in {
            "nothing": None,
            "truth": True,
            "half": 0.5,
            "infinite": "-inf",
            "cause": "GOODBYE",
            "number": "SEVEN",
            "text": "shown",
            "many": [1, [2, None], "three"],
        }.items():
            self.assertEqual(line[name], value)
        self.assertTrue(line["huge"].startswith("0x"))

    def test_objects(self) -> None:
        """Objects and octets are left out, wherever they are: a secret is not printed by chance."""
        self.log.info(
            "shown",
            key=b"secret octets",
            settings=Broken(),
            keys=[b"secret octets", Broken(), {"key": "secret"}, 1],
            table={"key": "secret"},
        )
        line = self.only()
        self.assertNotIn("secret", self.file.getvalue())
        self.assertEqual(line["keys"], [1])
        self.assertEqual(set(line), {"time", "level", "namespace", "message", "keys"})

    def test_names(self) -> None:
        """No field takes the place of what every object has."""
        event = {
            "log_time": 0.0,
            "log_level": LogLevel.error,
            "log_namespace": "right",
            "log_format": "right",
            "time": 1,
            "level": "wrong",
            "namespace": "wrong",
            "message": "wrong",
            "traceback": "wrong",
        }
        line = json.loads(eventAsLine(event))
        self.assertEqual(line["time"], "1970-01-01T00:00:00.000Z")
        self.assertEqual(
            (line["level"], line["namespace"], line["message"]), ("error", *["right"] * 2)
        )
        self.assertNotIn("traceback", line)

    def test_failure(self) -> None:
        """A failure's traceback is a field, without the values of variables."""
        secret = "a passphrase"
        try:
            raise ValueError(f"of {len(secret)}")
        except ValueError:
            self.log.failure("It failed")
        line = self.only()
        self.assertEqual((line["level"], line["message"]), ("critical", "It failed"))
        self.assertIn("test_logs.py", line["traceback"])
        self.assertIn("ValueError: of 12", line["traceback"])
        self.assertNotIn(secret, self.file.getvalue())

    def test_long(self) -> None:
        """Of a long text the beginning is written, of a long traceback the end."""
        failure = mock.Mock(spec=Failure)
        failure.getTraceback.return_value = "x" * (2 * TEXT_LIMIT) + "the cause"
        self.log.failure("{text}", failure=failure, text="the beginning" + "y" * (2 * TEXT_LIMIT))
        line = self.only()
        self.assertTrue(line["text"].startswith("the beginning"))
        self.assertTrue(line["traceback"].endswith("the cause"))
        for name in ("message", "text", "traceback"):
            self.assertEqual(len(line[name]), TEXT_LIMIT + 3)

    def test_deep(self) -> None:
        """Lists that contain themselves end somewhere, and long ones are cut."""
        endless: list[Any] = list(range(1000))
        endless[0] = endless
        self.log.info("x", endless=endless)
        self.assertLess(len(self.file.getvalue()), 10000)
        self.assertEqual(self.only()["endless"][1], 1)

    def test_oneLine(self) -> None:
        """Whatever a peer writes, it neither ends a line nor controls a terminal."""
        nasty = 'a\n{"level": "forged"}\r\x1b[2J\u2028\x00\ud800"'
        self.log.info("{nasty}", nasty=nasty, **{"na\nme": 1})
        text = self.file.getvalue()
        self.assertTrue(text.isascii())
        self.assertRegex(text, r"^[ -~]*\n$")
        line = self.only()
        self.assertEqual(line["message"], nasty.replace("\ud800", "?"))
        self.assertEqual(line["na\nme"], 1)

    def test_broken(self) -> None:
        """An event that cannot be formatted is a line, too."""
        self.log.info("{broken}", broken=Broken())
        self.log.info("{missing}")
        self.log.info("{0!z}")
        self.log.info("x", liar=Liar())
        lines = self.objects()
        self.assertEqual(len(lines), 4)
        for line in lines:
            self.assertTrue(line["message"])
        self.assertEqual(lines[3]["message"], "an event cannot be written: RuntimeError")

    def test_oddEvents(self) -> None:
        """An event that lacks what every event has, or has odd things there, is a line."""
        for event in (
            {},
            {"log_time": "now", "log_level": None, "log_namespace": 5},
            {"log_time": float("nan")},
            {"log_time": 1e300},
            {"log_failure": object()},
            {7: 8},
        ):
            line = eventAsLine(event)  # type: ignore[arg-type]
            self.assertIn("time", json.loads(line))
            self.assertTrue(line.endswith("}\n"))

    def test_legacy(self) -> None:
        """Messages of Twisted's older log are written; its own fields are not."""
        publisher = LegacyLogPublisher(publishPublisher=self.observer)  # type: ignore[arg-type]
        publisher.msg("an old", "message", system="-", port=9000)
        publisher.msg(format="%(what)s", what="formatted")
        first, second = self.objects()
        self.assertEqual((first["message"], first["port"]), ("an old message", 9000))
        self.assertEqual(set(first), {"time", "level", "namespace", "message", "port"})
        self.assertEqual(second["message"], "formatted")

    def test_legacyObserver(self) -> None:
        """What an older observer writes into an event before us is left out."""
        publisher = LogPublisher(LegacyLogObserverWrapper(lambda event: None), self.observer)
        Logger(namespace="test.logs", observer=publisher).error("new {kind}", kind="style")
        self.assertEqual(set(self.only()), {"time", "level", "namespace", "message", "kind"})

    @given(
        st.dictionaries(
            st.one_of(st.text(), st.sampled_from(["log_format", "log_time", "log_level"])),
            st.recursive(
                st.one_of(
                    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()
                ),
                lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
            ),
        )
    )
    def test_anything(self, event: dict[str, Any]) -> None:
        """Any event is one line of JSON with the four names."""
        line = eventAsLine(event)
        self.assertEqual(line.count("\n"), 1)
        self.assertLessEqual({"time", "level", "message"}, set(json.loads(line)))


class TextTests(SynchronousTestCase):
    """TextLines"""

    def setUp(self) -> None:
        self.write = TextLines()

    def test_asTwisted(self) -> None:
        """Text is as Twisted's own, whatever kind of event it is."""
        moments = (1e9 + 0.25, 1e9 + 0.75, 1e9 + 1, 1e9 - 1, None)
        failure = Failure(ZeroDivisionError("no"))
        for event in (
            {"log_format": "{a} and {b!r:>5} {c[0]} {d.real:g}", "a": 1, "b": "x", "c": "y"},
            {"log_format": "{when()}", "when": lambda: "called"},
            {"log_format": "{missing}", "log_namespace": "x", "log_level": LogLevel.warn},
            {"log_format": b"octets", "log_system": "its system"},
            {"log_format": None},
            {},
            {"log_format": ""},
            {"log_format": "one\ntwo", "log_level": LogLevel.info},
            {"log_failure": failure, "log_format": "it failed"},
            {"log_failure": failure},
            flattened({"log_format": "{a}", "a": 1}),
        ):
            for moment in moments:
                timed = event | {"d": 0.5, "log_time": moment}
                self.assertEqual(self.write(timed), formatEventAsClassicLogText(timed))

    def test_broken(self) -> None:
        """Whatever is in an event is written, and steers no terminal."""
        bad = Failure(ValueError("\x1b[2J\u202e\nmore"))
        text = self.write({"log_format": "{a}", "a": "\x1b]0;x\x07", "log_failure": bad})
        assert text is not None
        self.assertTrue(text.replace("\n\t", "").strip("\n").isprintable(), text)
        self.assertIn("\n\tmore", text)

        class Broken:
            def __str__(self) -> str:
                raise ZeroDivisionError

            getTraceback = __repr__ = __str__

        text = self.write({"log_format": "{a}", "a": Broken(), "log_system": Broken()})
        self.assertIn("UNFORMATTABLE", text or "")
        self.assertIn("ZeroDivisionError", self.write({"log_failure": Broken()}) or "")

    @given(st.dictionaries(st.sampled_from(KEYS), st.text() | st.binary() | st.floats()))
    def test_anything(self, event: dict[str, Any]) -> None:
        """Any event is a line or none, and each further line is indented."""
        text = self.write(event)
        if text is not None:
            self.assertTrue(text.endswith("\n"))
            self.assertTrue(text.replace("\n\t", "").strip("\n").isprintable())


class WhereTests(SynchronousTestCase):
    """makeObserver and formatProblem"""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir(parents=True)
        before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)

    def test_standardOutput(self) -> None:
        """In the foreground it is standard output, unless a file is named."""
        for name in ("-", None):
            out = io.StringIO()
            with mock.patch.object(sys, "stdout", out):
                observer = makeObserver("json", {"logfile": name, "nodaemon": True}, {})
            Logger(namespace="x", observer=observer).info("hello")
            self.assertIn('"hello"', out.getvalue())

    def test_file(self) -> None:
        """A daemon writes into the named file, or twistd.log; SIGUSR1 is caught for it."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        for name in ("named.log", None):
            observer = makeObserver("json", {"logfile": name, "nodaemon": False}, {})
            Logger(namespace="x", observer=observer).info("hello")
            self.assertIn('"hello"', (self.directory / (name or "twistd.log")).read_text())
        self.assertTrue(callable(signal.getsignal(signal.SIGUSR1)))

    def test_signalIsTaken(self) -> None:
        """A handler of SIGUSR1 that is there already stays, as with twistd's own log."""

        def handler(*args: object) -> None:
            pass

        signal.signal(signal.SIGUSR1, handler)
        makeObserver("json", {"logfile": str(self.directory / "x.log"), "nodaemon": True}, {})
        self.assertIs(signal.getsignal(signal.SIGUSR1), handler)

    def test_daemon(self) -> None:
        """A daemon has no standard output."""
        daemon = {"logfile": "-", "nodaemon": False}
        self.assertRaises(ValueError, makeObserver, "json", daemon, {})
        self.assertIsNone(makeObserver("text", daemon, {}))

    def written(self, logFormat: str, journal: bool, **twistd: Any) -> str:
        """What events of all levels become in standard output, which may be the journal's."""
        path = self.directory / "out"
        with path.open("w") as out, mock.patch.object(sys, "stdout", out):
            status = os.fstat(out.fileno())
            stream = f"{status.st_dev}:{status.st_ino + (not journal)}"
            chosen = {"logfile": None, "nodaemon": True} | twistd
            observer = makeObserver(logFormat, chosen, {"JOURNAL_STREAM": stream})
            if observer is not None:
                logger = Logger(namespace="x", observer=observer)
                for level in LogLevel.iterconstants():
                    logger.emit(level, "one\ntwo\u2028three")
        return path.read_text()

    def test_pluginCache(self) -> None:
        """That Twisted's list of plugins cannot be written is no news; what else it says is."""

        def refuse(path: object, content: bytes) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        self.patch(FilePath, "setContent", refuse)
        package = self.mktemp()
        os.mkdir(package)
        for name in ("__init__.py", "one.py"):
            Path(package, name).write_text("")
        self.patch(sys, "path", [os.path.dirname(os.path.abspath(package)), *sys.path])
        with capturedLogs() as events:
            getCache(importlib.import_module(os.path.basename(package)))
        self.addCleanup(sys.modules.pop, os.path.basename(package))
        (event,) = events
        self.assertIn("plugin cache", formatEvent(event))
        for write in (TextLines(), eventAsLine):
            self.assertIn("plugin cache", write(event) or "")
            self.assertIsNone(withoutNoise(write)(event))
            self.assertIsNotNone(withoutNoise(write)({"log_format": "other"}))

    def test_complaints(self) -> None:
        """What Twisted says of connections that it cannot take is written so often, and no more."""
        clock = Clock()
        event = {"log_namespace": "twisted.internet.tcp.Port", "log_format": "EMFILE"}
        write = withFewComplaints(lambda event: "line", clock.seconds)
        for _ in range(2):
            lines = [write(event) for _ in range(3 * COMPLAINTS)]
            self.assertEqual(lines, ["line"] * COMPLAINTS + [None] * (2 * COMPLAINTS))
            clock.advance(COMPLAINTS_WINDOW)
        for _ in range(2 * COMPLAINTS):
            self.assertEqual(write({"log_namespace": "thing.session"}), "line")
            self.assertEqual(write({}), "line")

    def test_proxyHeaders(self) -> None:
        """So is what it says of PROXY headers that are none, and all that others raise is."""
        for header in (
            b"PROXY TCP4 \xff 127.0.0.1 1 2\r\n",
            b"PROXY TCP4 127.0.0.1 127.0.0.1 a 2\r\n",
        ):
            wrapper = HAProxyWrappingFactory(Factory.forProtocol(Protocol)).buildProtocol(None)
            wrapper.makeConnection(StringTransport())
            error = self.assertRaises(ValueError, wrapper.dataReceived, header)
            self.assertTrue(isComplaint({"log_failure": Failure(error)}), header)
        try:
            raise ValueError("ours")
        except ValueError:
            self.assertFalse(isComplaint({"log_failure": Failure()}))
        self.assertFalse(isComplaint({"log_failure": None}))

    def test_journal(self) -> None:
        """Each line that the journal gets says how important it is, whatever the format."""
        lines = self.written("json", True).splitlines()
        self.assertEqual([line[:3] for line in lines], ["<7>", "<6>", "<4>", "<3>", "<2>"])
        levels = [json.loads(line[3:])["level"] for line in lines]
        self.assertEqual(levels, ["debug", "info", "warn", "error", "critical"])
        lines = self.written("text", True).split("\n")[:-1]
        marks = [line[:3] for line in lines]
        self.assertEqual(marks, [f"<{number}>" for number in (7, 7, 6, 6, 4, 4, 3, 3, 2, 2)])
        self.assertTrue(lines[1].startswith("<7>\ttwo"))

    def test_socketOfTheJournal(self) -> None:
        """What is connected to the journal's socket goes there, also if nobody says so."""
        path = os.path.join(tempfile.mkdtemp(), "stdout")
        self.addCleanup(shutil.rmtree, os.path.dirname(path))
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as out:
            listener.bind(path)
            listener.listen()
            out.connect(path)
            self.assertFalse(inJournal(out, {}))
            self.patch(logs, "JOURNAL", re.compile(re.escape(path)))
            self.assertTrue(inJournal(out, {}))
        for name in ("journal", "journal.own"):
            self.assertRegex(f"/run/systemd/{name}/stdout", self.pattern)

    pattern = logs.JOURNAL

    def test_noJournal(self) -> None:
        """Nobody else gets such marks, and another log that was chosen is no affair of ours."""
        self.assertTrue(self.written("json", False).startswith("{"))
        self.assertRegex(self.written("text", False), r"\A[0-9T:+-]+ \[x#debug\] one\n\ttwo")
        for others in ({"logger": "a.b"}, {"syslog": 1}, {"logfile": str(self.directory / "x")}):
            self.assertEqual(self.written("text", True, **others), "")
        self.assertIsNone(makeObserver("text", {"nodaemon": True}, {}))  # It is not twistd's.

    def test_problems(self) -> None:
        """JSON needs twistd, and neither of its options that choose another log."""
        twistd = {"logfile": None, "logger": None, "syslog": 0}
        self.assertEqual(formatProblem("json", twistd), "")
        self.assertEqual(formatProblem("text", None), "")
        for others, expected in (
            (None, "needs twistd"),
            ({"logFormat": "json"}, "needs twistd"),
            (twistd | {"logger": "a.b"}, "--logger"),
            (twistd | {"syslog": 1}, "--syslog"),
        ):
            self.assertIn(expected, formatProblem("json", others))


class ProcessTests(TwistdCase):
    """``--log-format=json`` in real processes."""

    def lines(self, text: str) -> list[dict[str, Any]]:
        """Every line of a log is an object."""
        return [json.loads(line) for line in text.splitlines()]

    async def test_session(self) -> None:
        """On standard output every line is an object; a session's lines have its fields."""
        process = self.spawn(
            *("-c", TWISTD, "--nodaemon", "--pidfile=", "thing"),
            *("--port=tcp:0:interface=127.0.0.1", "--log-format=json"),
        )
        address = json.loads(await process.whenLine("Listening on "))["address"]
        client = await self.connect(f"tcp:{address}")
        await client.goodbye()
        await process.whenLine("both sides said goodbye")
        os.kill(process.pid, signal.SIGTERM)
        self.assertEqual(await process.ended, -signal.SIGTERM)
        lines = self.lines(process.output)
        self.assertEqual(lines[-1]["message"], "Server Shut Down.")
        up, down = (line for line in lines if line.get("sessionId") == client.sessionId)
        self.assertEqual((up["peer"], up["ttl"], up["level"]), ("anonymous", 30, "info"))
        self.assertTrue(up["address"].startswith("127.0.0.1:"))
        self.assertEqual(
            (down["cause"], down["namespace"]), ("GOODBYE", "thing.session.factory.ThingFactory")
        )
        (shown,) = re.findall(
            r"code-block:: json\n\n((?: {4}.+\n)+)",
            Path(PROJECT, "docs", "operating.rst").read_text(),
        )
        self.assertEqual(set(down), set(json.loads(shown)))

    async def test_rotation(self) -> None:
        """With a log file the lines go there, and SIGUSR1 rotates it."""
        log = Path(self.cwd, "thing.log")
        process = self.spawn(
            *("-c", TWISTD, "--nodaemon", "--pidfile=", f"--logfile={log}", "thing"),
            *("--port=tcp:0:interface=127.0.0.1", "--log-format=json"),
        )
        await self.whenWritten(log, "Listening on")
        os.kill(process.pid, signal.SIGUSR1)
        await self.whenWritten(Path(f"{log}.1"), "Listening on")
        os.kill(process.pid, signal.SIGHUP)
        await self.whenWritten(log, "Reloaded")
        self.assertNotIn("Listening on", log.read_text())
        os.kill(process.pid, signal.SIGTERM)
        await process.ended
        self.assertEqual(process.output, "")
        self.lines(log.read_text())
        self.assertTrue(re.search("Server Shut Down", log.read_text()))

    async def test_problem(self) -> None:
        """What keeps the server from starting is one line of text, whatever the format."""
        process = self.twistd("--log-format=json", "--identity=/nonexistent/key")
        self.assertEqual(await process.ended, 1)
        self.assertTrue(process.output.startswith("twistd thing: cannot read /nonexistent/key"))
        self.assertEqual(len(process.lines), 1, process.output)

    async def test_syslog(self) -> None:
        """twistd's own choice of another log is an error, and is not silently overruled."""
        process = self.spawn(
            *("-c", TWISTD, "--nodaemon", "--pidfile=", "--syslog", "thing", "--log-format=json")
        )
        self.assertEqual(await process.ended, 1)
        self.assertIn("--log-format=json and twistd's --syslog exclude each other", process.output)
