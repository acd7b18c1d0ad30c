"""
Logs as text, for people, and as JSON lines, for the programs that read logs; and what the journal
of systemd wants to know of each line, of whatever format.

Text is as Twisted's own, but for what steers terminals; and it is quicker to write, since each
session has two lines.

An object has ``time`` (RFC 3339, UTC), ``level``, ``namespace`` and ``message``,
the fields of the event that are plain values, and after a failure ``traceback``.
Objects and octets are in the message at most, as its template shows them: what
nobody meant for the log does not get there by being near.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from enum import Enum
from typing import IO, Any, cast

from twisted.logger import FileLogObserver, LogEvent, formatEvent, formatTime

from thing.core.rates import RateLimiter
from thing.daemon.logfile import LineFile, withLosses
from thing.text import visible

FORMATS = ("text", "json")
"""What a log may look like."""

TEXT_LIMIT = 16384
"""The longest text in an object, characters: collectors of logs cut longer lines apart."""

ITEMS_LIMIT = 100
"""The most items of a list."""

DEPTH_LIMIT = 4
"""How deep lists may lie in one another."""

INTEGER_LIMIT = 2**63
"""Readers of JSON take no whole number from here on."""

_OWN = frozenset({"level", "namespace", "traceback"})
"""The names that mean something else here."""

_LEGACY = frozenset(
    {"message", "time", "system", "format", "failure", "why", "isError", "logLevel"}
)
"""What Twisted writes into an event for its older observers."""

JOURNAL = re.compile(r"/run/systemd/journal(\.[^/]+)?/stdout")
"""The sockets at which the journal reads what programs write."""

PRIORITIES = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}
"""The levels, as syslog and the journal count them."""

ACCEPTING = re.compile(r"twisted\.internet\.\w+\.Port")
"""What Twisted's log calls itself where it takes connections."""

HEADERS = re.compile(r".*/twisted/protocols/haproxy/_\w*parser\.py")
"""Where Twisted reads what a ``haproxy:`` port is told of a client."""

COMPLAINTS, COMPLAINTS_WINDOW = 10, 60.0
"""How many of the lines of both are written in so many seconds."""

NO_PLUGIN_CACHE = "Unable to write to plugin cache"
"""How Twisted begins to say that it cannot write its list of plugins."""

_NOT_PLAIN = object()
"""In place of a value that is left out."""


class TextLines:
    """Writes events as text: the time, what logs, and the message; what follows is indented."""

    def __init__(self) -> None:
        self._second, self._stamp = 0, ""

    def __call__(self, event: LogEvent) -> str | None:
        """
        Write an event; whatever is in it, this does not raise.

        :param event: the event.
        :return: a line with its end, and more of them after a failure; None if nothing is said.
        """
        text = _messageOf(event)
        failure = event.get("log_failure")
        if failure is not None:
            text = f"{text}\n{_tracebackOf(failure)}"
        if not text:
            return None
        if not text.isprintable():
            text = "\n\t".join(map(visible, text.split("\n")))
        return f"{self._stampOf(event.get('log_time'))} [{_systemOf(event)}] {text}\n"

    def _stampOf(self, seconds: object) -> str:
        if not isinstance(seconds, (int, float)):
            return "-"
        if not self._second <= seconds < self._second + 1 or not self._stamp:
            try:
                self._second, self._stamp = math.floor(seconds), formatTime(seconds)
            except (ValueError, OverflowError, OSError):
                return "-"
        return self._stamp


def _messageOf(event: LogEvent) -> str:
    """What an event says."""
    if "log_flattened" not in event:
        with suppress(Exception):  # Twisted knows more templates, and what to say of the others.
            text: str = event["log_format"].format_map(event)
            return text
    return formatEvent(event)


def _tracebackOf(failure: Any) -> str:
    try:
        return str(failure.getTraceback())
    except Exception as error:
        return f"no traceback can be had: {type(error).__name__}"


def _systemOf(event: LogEvent) -> str:
    """What logs, as Twisted names it."""
    system = event.get("log_system")
    if system is None:
        level = getattr(event.get("log_level"), "name", "-")
        system = f"{event.get('log_namespace', '-')}#{level}"
    return visible(_asString(system))


def _asString(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return "UNFORMATTABLE"


def eventAsLine(event: LogEvent) -> str:
    """
    Write an event as one line of JSON; whatever is in it, this does not raise.

    :param event: the event.
    :return: the line, in ASCII, with its end.
    """
    try:
        return json.dumps(_asObject(event), allow_nan=False) + "\n"
    except Exception as error:  # A value may be of any class, with any method broken.
        about = f"an event cannot be written: {type(error).__name__}"
        return json.dumps({"time": _timeOf({}), "level": "error", "message": about}) + "\n"


def _asObject(event: LogEvent) -> dict[str, Any]:
    level = event.get("log_level")
    line = {
        "time": _timeOf(event),
        "level": str(getattr(level, "name", "info")),
        "namespace": _text(str(event.get("log_namespace", "-"))),
        "message": _text(formatEvent(event)),
    }
    for name, value in event.items():
        if name.startswith("log_") or name in _OWN or name in _LEGACY:
            continue
        plain = _plain(value)
        if plain is not _NOT_PLAIN:
            line[_text(name)] = plain
    failure = event.get("log_failure")
    if failure is not None:
        line["traceback"] = _text(_tracebackOf(failure), fromEnd=True)
    return line


def _timeOf(event: LogEvent) -> str:
    seconds = event.get("log_time")
    if not isinstance(seconds, (int, float)):
        seconds = time.time()
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON can have it, or a mark that it cannot."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int):
        return int(value) if abs(value) < INTEGER_LIMIT else hex(value)[:TEXT_LIMIT]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, (list, tuple)) and depth < DEPTH_LIMIT:
        items = (_plain(item, depth + 1) for item in value[:ITEMS_LIMIT])
        return [item for item in items if item is not _NOT_PLAIN]
    return _NOT_PLAIN


def _text(text: str, fromEnd: bool = False) -> str:
    """A text that is not too long, and that UTF-8 can have."""
    if len(text) > TEXT_LIMIT:  # The end of a traceback tells more than its beginning.
        text = "..." + text[-TEXT_LIMIT:] if fromEnd else text[:TEXT_LIMIT] + "..."
    return text.encode("utf-8", "replace").decode()


def inJournal(out: object, environ: Mapping[str, str]) -> bool:
    """
    Tell whether what is written somewhere goes to the journal of systemd.

    :param out: a file, such as standard output.
    :param environ: the environment; systemd says there which descriptor it reads.
    :return: whether it does.
    """
    try:
        descriptor = cast("IO[Any]", out).fileno()
        status = os.fstat(descriptor)
        if environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
            return True
        with socket.socket(fileno=os.dup(descriptor)) as connected:
            # Neither an older systemd-cat nor other programs say in the environment what it is.
            return JOURNAL.fullmatch(str(connected.getpeername())) is not None
    except (AttributeError, OSError, ValueError):
        return False


def withPriority(write: Callable[[LogEvent], str | None]) -> Callable[[LogEvent], str | None]:
    """
    Have each line begin with how important it is, as ``sd-daemon(3)`` says.

    :param write: writes an event as text.
    :return: writes it with that; the journal takes it off again.
    """

    def writeForJournal(event: LogEvent) -> str | None:
        level = getattr(event.get("log_level"), "name", "info")
        mark = f"<{PRIORITIES.get(level, PRIORITIES['info'])}>"
        text = write(event)
        return text and mark + text.rstrip("\n").replace("\n", f"\n{mark}") + "\n"

    return writeForJournal


def withoutNoise(write: Callable[[LogEvent], str | None]) -> Callable[[LogEvent], str | None]:
    """
    Leave out that Twisted cannot keep its list of plugins, which it says twice at each start.

    On a system that cannot be written, as a container's, that is as it should be: without a list
    it looks at what there is.

    :param write: writes an event.
    :return: writes it unless it is that.
    """

    def writeOthers(event: LogEvent) -> str | None:
        noise = str(event.get("format", "")).startswith(NO_PLUGIN_CACHE)
        return None if noise else write(event)

    return writeOthers


def withFewComplaints(
    write: Callable[[LogEvent], str | None], now: Callable[[], float] = time.monotonic
) -> Callable[[LogEvent], str | None]:
    """
    Leave out most of what Twisted says of connections that it could not take, or make sense of.

    It says three lines for each try while the process has no file left, which is some hundred
    thousand octets a second; and of some PROXY headers that are none, a traceback.

    :param write: writes an event.
    :param now: tells the time, seconds.
    :return: writes so many of them in a minute, and all others.
    """
    limiter = RateLimiter(COMPLAINTS, COMPLAINTS_WINDOW)

    def writeFew(event: LogEvent) -> str | None:
        return None if isComplaint(event) and not limiter.passes(now()) else write(event)

    return writeFew


def isComplaint(event: LogEvent) -> bool:
    """
    Tell whether Twisted says that it could not take a connection, or read a PROXY header.

    :param event: the event.
    :return: whether it is that: whoever connects can have it said as often as he likes.
    """
    frames = getattr(event.get("log_failure"), "frames", None) or ()
    return bool(
        ACCEPTING.fullmatch(str(event.get("log_namespace", "")))
        or any(HEADERS.fullmatch(str(frame[1])) for frame in frames)
    )


def makeObserver(
    logFormat: str, twistd: Mapping[str, Any], environ: Mapping[str, str]
) -> FileLogObserver | None:
    """
    Make an observer that writes where ``twistd`` would write its text.

    A log file is rotated as twistd's own is, by its size and by SIGUSR1.

    :param logFormat: one of :data:`FORMATS`.
    :param twistd: the options of ``twistd``.
    :param environ: the environment.
    :return: the observer; None if another was chosen.
    :raises ValueError: if a daemon is to log to standard output.
    """
    if "logfile" not in twistd or twistd.get("logger") or twistd.get("syslog"):
        return None
    if logFormat == FORMATS[0] and twistd["logfile"] == "-" and not twistd["nodaemon"]:
        return None  # twistd says what is wrong with that.
    toJournal = _isForeground(twistd) and inJournal(sys.stdout, environ)
    write = withoutNoise(TextLines() if logFormat == FORMATS[0] else eventAsLine)
    write = withFewComplaints(write)
    log = _openLog(twistd)
    if isinstance(log, LineFile):
        write = withLosses(write, log)
    return FileLogObserver(cast("IO[Any]", log), withPriority(write) if toJournal else write)


def _isForeground(twistd: Mapping[str, Any]) -> bool:
    """Whether the log is standard output."""
    return bool(twistd.get("nodaemon")) and twistd.get("logfile") in (None, "", "-")


def _openLog(twistd: Mapping[str, Any]) -> IO[Any] | LineFile:
    name, inForeground = twistd["logfile"], twistd["nodaemon"]
    if name == "-" and not inForeground:
        raise ValueError("a daemon cannot log to standard output")
    if _isForeground(twistd):
        return sys.stdout
    log: LineFile = LineFile.fromFullPath(name or "twistd.log")  # type: ignore[no-untyped-call]

    def rotate(number: int, frame: object) -> None:
        from twisted.internet import reactor

        reactor.callFromThread(log.rotate)  # type: ignore[attr-defined]

    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, rotate)
    return log


def formatProblem(logFormat: str, twistd: Mapping[str, Any] | None) -> str:
    """
    Tell why a format cannot be had.

    :param logFormat: one of :data:`FORMATS`.
    :param twistd: the options of the program that runs the server; None if there are none.
    :return: why, in words; empty if it can.
    """
    if logFormat == FORMATS[0]:
        return ""
    if twistd is None or "logfile" not in twistd:
        return f"--log-format={logFormat} needs twistd; other programs choose the format themselves"
    for option in ("logger", "syslog"):
        if twistd.get(option):
            return f"--log-format={logFormat} and twistd's --{option} exclude each other"
    return ""
