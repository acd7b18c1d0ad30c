"""What ``twistd thing`` can be told: its options, and their help."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from thing.core.heartbeat import TtlPolicy
from thing.core.settings import Settings
from thing.daemon.forward import MIN_BUFFERED
from thing.daemon.logs import FORMATS, formatProblem
from thing.daemon.reuseport import canReuse
from thing.daemon.service import CannotStart
from thing.errors import LocalProtocolError, ThingError
from thing.session.limits import Limits
from thing.trust.choice import SERVER_KEYWORDS
from thing.trust.keywords import Keyword, asOption, readKeywords, yes

DEFAULT_PORT = "tcp:9000"
"""Where the server listens if nobody says where."""

DRAIN_TIMEOUT = 10.0
"""How long clients may take to leave at SIGTERM, seconds: goodbyes take a round trip."""

IN_MEMORY = "memory"
"""The presence that shares nothing."""

NODE_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a node may be called: it stands in names of keys and in addresses of pages."""

TWINS = ("replace", "refuse", "allow")
"""The values of :class:`thing.fleet.Twins`, which is not imported just for the help."""


def _seconds(text: str) -> float:
    """A positive duration."""
    seconds = _secondsOrZero(text)
    if seconds == 0:
        raise ValueError("not more than zero")
    return seconds


def _secondsOrZero(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError("not a duration")
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError("not a positive number")
    return count


def _presence(text: str) -> str:
    if text == IN_MEMORY or "://" in text:
        return text
    raise ValueError("neither")


def _node(text: str) -> str:
    if not NODE_NAME.fullmatch(text):
        raise ValueError("not a name")
    return text


def _twins(text: str) -> str:
    if text not in TWINS:
        raise ValueError("not a policy")
    return text


def _logFormat(text: str) -> str:
    if text not in FORMATS:
        raise ValueError("not a format")
    return text


_WANTED: dict[Callable[[str], Any], str] = {
    _seconds: "a number of seconds above zero",
    _secondsOrZero: "a number of seconds, zero or more",
    _count: "a whole number above zero",
    _presence: f"{IN_MEMORY}, nor a URL",
    _node: "a name of 1 to 64 letters, digits, dots, hyphens and underscores",
    _twins: f"one of {', '.join(TWINS)}",
    _logFormat: " or ".join(FORMATS),
}


@dataclass(frozen=True)
class _Option:
    """One option and its line in the help."""

    name: str
    value: str
    """What the help calls its value; nothing for a flag."""
    doc: str
    default: Any = None
    coerce: Callable[[str], Any] = str
    shown: str = ""
    """What the help says of a default that cannot be printed."""
    short: str | None = None

    def parse(self, text: str) -> Any:
        """
        Read the value.

        :param text: as it was typed.
        :return: the value.
        :raises UsageError: if it is none.
        """
        try:
            return self.coerce(text)
        except ValueError:
            raise UsageError(f"--{self.name}: {text!r} is not {_WANTED[self.coerce]}") from None

    @property
    def line(self) -> str:
        """The line in the help."""
        name = f"--{self.name}={self.value}" if self.value else f"--{self.name}"
        default = self.shown
        if isinstance(self.default, (int, float)):
            default = f"{self.default:.12g}"
        elif not default and self.value and self.default is not None:
            default = str(self.default)
        short = f"-{self.short}," if self.short else "   "
        return f"  {short} {name:31}{self.doc}" + (f" [{default}]" if default else "")


def _trustOption(keyword: Keyword) -> _Option:
    return _Option(
        asOption(keyword.name)[2:],
        "" if keyword.read is yes else keyword.value,
        keyword.doc.replace("`", ""),
        shown="made, see below" if keyword.name == "identity" else keyword.defaultText,
    )


_TRUST = {keyword.name: _trustOption(keyword) for keyword in SERVER_KEYWORDS}
"""The option of each keyword of :mod:`thing.trust.choice`."""

_DECIDING = tuple(_TRUST[keyword.name].name for keyword in SERVER_KEYWORDS if keyword.decides)

_TTL = TtlPolicy()
_LIMITS = Limits()
_SETTINGS = Settings()

_PORT = _Option("port", "PORT", "number or endpoint, repeatable", None, str, DEFAULT_PORT, "p")
_REUSE_PORT = _Option("reuse-port", "", "share TCP ports with other processes")

_GROUPS: tuple[tuple[str, tuple[_Option, ...]], ...] = (
    ("Where to listen:", (_PORT, _REUSE_PORT)),
    (
        "The server's keys, and whom to admit; without a choice the demo admits everybody:",
        tuple(_TRUST.values()),
    ),
    (
        "What to serve; without a choice the demo:",
        (
            _Option("factory", "NAME", "a ThingFactory, as package.module.Class"),
            _Option("forward", "ENDPOINT", "another server: carry octets to and fro"),
        ),
    ),
    (
        "Liveness:",
        (
            _Option("ttl", "SECONDS", "TTL, if the client asks for none", _TTL.default, _seconds),
            _Option("min-ttl", "SECONDS", "shortest TTL granted", _TTL.minimum, _seconds),
            _Option("max-ttl", "SECONDS", "longest TTL granted", _TTL.maximum, _seconds),
            _Option(
                "beats-per-second",
                "N",
                "of all clients; TTLs grow to hold it",
                int(_TTL.beatsPerSecond),
                _count,
            ),
            _Option(
                "pause-limit",
                "SECONDS",
                "reading may be held back so long",
                None,
                _seconds,
                "TTL/3",
            ),
        ),
    ),
    (
        "Who is here:",
        (
            _Option("twins", "WHAT", "if a thing connects a second time", TWINS[0], _twins),
            _Option("presence", "WHERE", "memory, or a Redis URL", IN_MEMORY, _presence),
            _Option("node", "NAME", "of this process", None, _node, "the host's and a number"),
            _Option("status", "PORT", "HTTP to ask: number or endpoint"),
            _Option("status-token", "FILE", "holds the token that HTTP needs then"),
        ),
    ),
    (
        "Time limits:",
        (
            _Option(
                "handshake-timeout",
                "SECONDS",
                "for a handshake",
                _SETTINGS.handshakeTimeout,
                _seconds,
            ),
            _Option(
                "close-timeout", "SECONDS", "for an orderly close", _SETTINGS.closeTimeout, _seconds
            ),
            _Option(
                "drain-timeout",
                "SECONDS",
                "for clients to leave at SIGTERM",
                DRAIN_TIMEOUT,
                _secondsOrZero,
            ),
            _Option(
                "retry-after",
                "SECONDS",
                "told to clients that are sent away",
                _LIMITS.retryAfter,
                _secondsOrZero,
            ),
        ),
    ),
    (
        "Capacity:",
        (
            _Option("max-sessions", "N", "with handshakes", _LIMITS.sessions, _count),
            _Option(
                "max-sessions-per-address",
                "N",
                "of them, from one address",
                _LIMITS.sessionsPerAddress,
                _count,
            ),
            _Option("max-handshakes", "N", "in progress at once", _LIMITS.handshakes, _count),
            _Option(
                "max-handshakes-per-address",
                "N",
                "of them, from one address",
                _LIMITS.handshakesPerAddress,
                _count,
            ),
            _Option(
                "puzzle-after",
                "N",
                "failed lately: newcomers solve puzzles",
                _LIMITS.puzzleAfter,
                _count,
            ),
            _Option(
                "returns-per-second",
                "N",
                "of those sent away at SIGTERM",
                _LIMITS.returnsPerSecond,
                _count,
            ),
            _Option("max-message", "OCTETS", "longest message taken", _SETTINGS.maxMessage, _count),
            _Option(
                "max-buffered", "OCTETS", "waiting for one client", _SETTINGS.maxBuffered, _count
            ),
        ),
    ),
    (
        "Other:",
        (
            _Option("log-format", "FORMAT", "text or json", FORMATS[0], _logFormat, FORMATS[0]),
            _Option("version", "", "show Twisted's version"),
            _Option("help", "", "show this"),
        ),
    ),
)

_EPILOGUE = """\
The default key is made at the first start: server_key in $THING_HOME, else in
$XDG_DATA_HOME/thing, else in ~/.local/share/thing. An endpoint is written as
Twisted writes it: tcp:9000:interface=127.0.0.1, tcp6:9000, unix:/run/thing,
ssl:9001:privateKey=key.pem:certKey=cert.pem, systemd:domain=INET:index=0,
haproxy:tcp:9000. --forward takes a client endpoint, as tcp:localhost:8007.
SIGTERM lets the clients leave in order; SIGHUP reads the files of keys anew.
"""


class Options(UsageOptions):
    """
    The options of ``twistd thing``.

    An option that is wrong ends the program in one line, as ``--help`` ends it
    after its text.
    """

    _options = tuple(option for _, group in _GROUPS for option in group)

    optParameters = [
        [option.name, option.short, option.default, option.doc, option.parse]
        for option in _options
        if option.value and option is not _PORT
    ]
    optFlags = [
        [option.name, None, option.doc]
        for option in _options
        if not option.value and (option in _TRUST.values() or option is _REUSE_PORT)
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["port"] = []

    def opt_port(self, description: str) -> None:
        """
        Listen there.

        :param description: a number, or a server endpoint description.
        :raises UsageError: if it is neither.
        """
        if description.isdecimal():
            if int(description) > 0xFFFF:
                raise UsageError(f"--port: {description} is not within 0 to 65535")
            description = f"tcp:{int(description)}"
        self["port"].append(description)

    opt_p = opt_port

    def parseOptions(self, options: Any = None) -> None:
        """
        Read a command line.

        :param options: its words; None for the program's own.
        :raises CannotStart: if an option is wrong.
        """
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except UsageError as error:
            raise CannotStart(f"{error} (see twistd thing --help)") from None

    def postOptions(self) -> None:
        """
        Check what can be checked without a look at the world.

        :raises UsageError: if options do not go together.
        """
        self["port"] = self["port"] or [DEFAULT_PORT]
        if self._has("factory") and self._has("forward"):
            raise UsageError("--factory and --forward exclude each other")
        for served in ("factory", "forward"):
            if self._has(served) and not self.decided:
                choices = " or ".join(f"--{each}" for each in _DECIDING)
                raise UsageError(f"--{served} needs {choices}")
        if self._has("forward") and self["max-buffered"] < MIN_BUFFERED:
            raise UsageError(f"--forward needs a --max-buffered of {MIN_BUFFERED} or more")
        self._checkProcess()
        try:
            _ = self.ttlPolicy
            readKeywords(SERVER_KEYWORDS, self.trust, asOption)
        except LocalProtocolError as error:
            raise UsageError(error.detail) from None
        except ThingError as error:
            raise UsageError(str(error)) from None
        for option in _TRUST.values():
            if option.value == "FILE" and self[option.name] is not None:
                # A daemon may change its directory before it reads them again.
                self[option.name] = os.path.abspath(self[option.name])

    def _checkProcess(self) -> None:
        """Check what concerns the process and not the protocol."""
        if self._has("status-token") and not self._has("status"):
            raise UsageError("--status-token is of no use without --status")
        problem = formatProblem(self["log-format"], self.parent)
        if problem:
            raise UsageError(problem)
        for description in self["port"]:
            if self["reuse-port"] and not canReuse(description):
                raise UsageError(f"--reuse-port is for tcp: and tcp6: ports, not for {description}")

    @property
    def trust(self) -> dict[str, str]:
        """What was chosen, by the keywords of :mod:`thing.trust.choice`."""
        return {
            keyword: self[option.name] if option.value else "yes"
            for keyword, option in _TRUST.items()
            if self._has(option.name)
        }

    @property
    def ttlPolicy(self) -> TtlPolicy:
        """
        What TTL is granted.

        :raises LocalProtocolError: if the numbers do not go together.
        """
        return TtlPolicy(self["ttl"], self["min-ttl"], self["max-ttl"], self["beats-per-second"])

    @property
    def decided(self) -> bool:
        """Whether it was said whom to admit."""
        return any(map(self._has, _DECIDING))

    def _has(self, name: str) -> bool:
        """Whether an option was given; an empty value, as of an unset variable, is given, too."""
        return self[name] not in (None, 0)

    def getUsage(self, width: int | None = None) -> str:
        """
        Write the options by group, one in a line.

        :param width: ignored: the lines are short.
        :return: the text.
        """
        groups = ("\n".join([title, *(o.line for o in group)]) for title, group in _GROUPS)
        return "\n" + "\n\n".join(groups) + "\n\n" + _EPILOGUE
