"""
What ``twistd thing`` can be told: its options, and their help.

They are made from the tables of trust (:mod:`thing.trust.choice`) and of the session
(:mod:`thing.session.settable`). What concerns the process alone is here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from thing.core.streams import LABEL_LIMIT
from thing.daemon.errors import CannotStart
from thing.daemon.logs import FORMATS, formatProblem
from thing.daemon.reuseport import canReuse
from thing.errors import CredentialError, LocalProtocolError
from thing.session.settable import SERVER_SETTINGS, Topic, settingsOf
from thing.trust.choice import SERVER_KEYWORDS
from thing.trust.keywords import (
    Keyword,
    Where,
    asOption,
    checkCombination,
    host,
    readKeywords,
    seconds,
    server,
    writtenIn,
    yes,
)

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


def _presence(value: str) -> str:
    if value != IN_MEMORY and "://" not in value:
        raise ValueError(f"{value!r} is not {IN_MEMORY}, nor a URL")
    return value


def _node(value: str) -> str:
    if not NODE_NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a name of 1 to 64 letters, digits, dots, hyphens and underscores"
        )
    return value


def _address(value: str) -> str:
    name, number = server(value)
    host(name)
    if number is None:
        raise ValueError(f"{value!r} is not host:port")
    return value


def _isLabel(text: str) -> bool:
    """Whether a text can be a stream's label; what is no UTF-8 on a command line cannot."""
    try:
        return 0 < len(text.encode()) <= LABEL_LIMIT
    except UnicodeEncodeError:
        return False


def _oneOf(words: Sequence[str], wanted: str) -> Callable[[str], str]:
    """What reads one of these words."""

    def read(value: str) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is not {wanted}")
        return value

    return read


_DECIDING = tuple(keyword.name for keyword in SERVER_KEYWORDS if keyword.decides)

_PORT = Keyword("port", "PORT", "number or endpoint, repeatable", shown=DEFAULT_PORT)
_SERVE = Keyword(
    "serve",
    "LABEL=ENDPOINT",
    "streams of a label, repeatable",
    needs=_DECIDING,
)
_REUSE_PORT = Keyword("reusePort", "yes", "share TCP ports with other processes", yes)
_SERVED = (
    Keyword(
        "demo",
        "yes",
        "a conversation, to try it with",
        yes,
        excludes=("factory", "forward"),
    ),
    Keyword(
        "factory",
        "NAME",
        "a ThingFactory, as package.module.Class",
        str,
        needs=_DECIDING,
        excludes=("forward",),
    ),
    Keyword("forward", "ENDPOINT", "another server: carry octets to and fro", str, needs=_DECIDING),
    Keyword(
        "proxyProtocol",
        "yes",
        "tell those servers who the client is",
        yes,
        needs=("forward", "serve"),
    ),
)
_FLEET = (
    Keyword(
        "twins",
        "WHAT",
        "if a thing connects a second time",
        _oneOf(TWINS, f"one of {', '.join(TWINS)}"),
        default=TWINS[0],
    ),
    Keyword("presence", "WHERE", "memory, or a Redis URL", _presence, default=IN_MEMORY),
    Keyword("node", "NAME", "of this process", _node, shown="the host's name and a number"),
    Keyword(
        "advertise", "HOST:PORT", "where other nodes reach this one", _address, needs=("nodes",)
    ),
    Keyword("status", "PORT", "HTTP to ask: number or endpoint", str),
    Keyword("statusToken", "FILE", "holds the token that HTTP needs then", str, needs=("status",)),
    Keyword(
        "statusViewToken",
        "FILE",
        "holds one with which one may only look",
        str,
        needs=("statusToken",),
    ),
)
_DRAIN_TIMEOUT = Keyword(
    "drainTimeout", "SECONDS", "for clients to leave at SIGTERM", seconds, default=DRAIN_TIMEOUT
)
_LOG_FORMAT = Keyword(
    "logFormat",
    "FORMAT",
    "text or json",
    _oneOf(FORMATS, " or ".join(FORMATS)),
    default=FORMATS[0],
)
_PROCESS = (_REUSE_PORT, *_SERVED, *_FLEET, _DRAIN_TIMEOUT, _LOG_FORMAT)
"""What concerns the process, but for what may be repeated."""

_REPEATABLE = (_PORT, _SERVE)
"""What concerns the process, too, and has methods of its own."""

_SETTINGS = writtenIn(Where.DAEMON, SERVER_SETTINGS)
_TRUST = writtenIn(Where.DAEMON, SERVER_KEYWORDS)


def _about(topic: Topic) -> tuple[Keyword, ...]:
    return tuple(each for each in _SETTINGS if each.topic is topic)


GROUPS: tuple[tuple[str, tuple[Keyword, ...]], ...] = (
    ("Where to listen:", (_PORT, _REUSE_PORT)),
    ("The server's keys, and whom to admit; without a choice everybody:", _TRUST),
    (
        "What to serve, besides who is here and messages to things:",
        (*_SERVED[:3], _SERVE, *_SERVED[3:]),
    ),
    ("Liveness:", _about(Topic.LIVENESS)),
    ("Who is here:", _FLEET),
    ("Time limits:", (*_about(Topic.TIME), _DRAIN_TIMEOUT)),
    ("Capacity:", _about(Topic.CAPACITY)),
    (
        "Other:",
        (
            _LOG_FORMAT,
            Keyword("version", "yes", "show the version", yes),
            Keyword("help", "yes", "show this", yes),
        ),
    ),
)
"""All that can be told, as the help has it."""

_MADE = {"identity": "made, see below"}
"""What the help says of defaults that are the daemon's own."""

_EPILOGUE = """\
The default key is made at the first start: server_key in $THING_HOME, else in
$XDG_DATA_HOME/thing, else in ~/.local/share/thing. An endpoint is written as
Twisted writes it: tcp:9000:interface=127.0.0.1, tcp6:9000, unix:/run/thing,
ssl:9001:privateKey=key.pem:certKey=cert.pem, systemd:domain=INET:index=0,
haproxy:tcp:9000. --forward and --serve take client endpoints, as in
--serve=web=tcp:localhost:8007. SIGTERM lets the clients leave in order; SIGHUP
reads the files of keys anew.
"""


def _option(keyword: Keyword) -> str:
    """The name of a keyword's option."""
    return asOption(keyword.name).removeprefix("--")


def _reader(keyword: Keyword) -> Callable[[str], Any]:
    """What reads the value of an option, and tells what is wrong with it."""

    def read(value: str) -> Any:
        try:
            return keyword.read(value)
        except ValueError as error:
            raise UsageError(f"--{_option(keyword)}: {error}") from None

    return read


def _line(keyword: Keyword) -> str:
    """A keyword's line in the help."""
    short = "-p," if keyword is _PORT else "   "
    name = asOption(keyword.name) + ("" if keyword.read is yes else f"={keyword.value}")
    default = _MADE.get(keyword.name, keyword.defaultText)
    return f"  {short} {name:31}{keyword.plainDoc}" + (f" [{default}]" if default else "")


class Options(UsageOptions):
    """
    The options of ``twistd thing``.

    An option that is wrong ends the program in one line, as ``--help`` ends it
    after its text.
    """

    # The strings of trust stay strings: they are read again when the files have changed.
    optParameters = [
        *([_option(each), None, None, each.doc] for each in _TRUST if each.read is not yes),
        *(
            [_option(each), None, each.default, each.doc, _reader(each)]
            for each in (*_SETTINGS, *_PROCESS)
            if each.read is not yes
        ),
    ]
    optFlags = [
        [_option(each), None, each.doc] for each in (*_TRUST, *_PROCESS) if each.read is yes
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["port"] = []
        self["serve"] = {}

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

    def opt_version(self) -> NoReturn:
        """
        Show the version.

        :raises SystemExit: always.
        """
        from thing.version import __version__  # It takes a while.

        sys.stdout.write(f"thing {__version__}\n")
        sys.exit()

    def opt_serve(self, description: str) -> None:
        """
        Serve another server in streams of a label.

        :param description: the label, an equals sign, and a client endpoint description.
        :raises UsageError: if it is not that, or the label was there before.
        """
        label, equals, endpoint = description.partition("=")
        if not (_isLabel(label) and equals and endpoint):
            raise UsageError(
                f"--serve: {description!r} is not LABEL=ENDPOINT, as web=tcp:localhost:8080"
            )
        if label in self["serve"]:
            raise UsageError(f"--serve: the label {label!r} is there twice")
        self["serve"][label] = endpoint

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
        given = {each.name for each in (*_TRUST, *_PROCESS, _SERVE) if self._isGiven(each)}
        try:
            for keyword in (*_PROCESS, _SERVE):
                if keyword.name in given:
                    checkCombination(keyword, given, asOption)
            self._checkProcess()
            settingsOf(SERVER_SETTINGS, self.settings)
            readKeywords(SERVER_KEYWORDS, self.trust, asOption)
        except LocalProtocolError as error:
            raise UsageError(error.detail) from None
        except CredentialError as error:
            raise UsageError(str(error)) from None
        for keyword in _TRUST:
            if keyword.value == "FILE" and self._isGiven(keyword):
                # A daemon may change its directory before it reads them again.
                self[_option(keyword)] = os.path.abspath(self[_option(keyword)])

    def _checkProcess(self) -> None:
        """Check what concerns the process and not the protocol."""
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
            each.name: "yes" if each.read is yes else self[_option(each)]
            for each in _TRUST
            if self._isGiven(each)
        }

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen or is the default, by the keywords of :mod:`thing.session.settable`."""
        return {each.name: self[_option(each)] for each in _SETTINGS}

    @property
    def decided(self) -> bool:
        """Whether it was said whom to admit."""
        return any(each.decides and self._isGiven(each) for each in _TRUST)

    def _isGiven(self, keyword: Keyword) -> bool:
        """Whether an option was given; an empty value, as of an unset variable, is given, too."""
        return self[_option(keyword)] not in (None, 0, {})

    def getUsage(self, width: int | None = None) -> str:
        """
        Write the options by group, one in a line.

        :param width: ignored: the lines are short.
        :return: the text.
        """
        groups = ("\n".join([title, *map(_line, group)]) for title, group in GROUPS)
        return "\n" + "\n\n".join(groups) + "\n\n" + _EPILOGUE
