"""
What ``thing agent`` does: it makes an agent of what the user chose, and runs it.

The agent itself is in :mod:`thing.cli.keeping`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn, cast

import click
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import react
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
)

from thing.cli.addresses import Addresses, Way, waysOf
from thing.cli.downlink import Answerer, Dispatcher, Downlink, Printer
from thing.cli.exits import CommandError
from thing.cli.keeping import Agent, AgentFactory
from thing.cli.options import ClientOptions
from thing.cli.programs import Program, parseCommand
from thing.cli.session import blockingRestored, warningsTold
from thing.cli.uplink import Fifo, StandardInput
from thing.core.messages import REQUEST_LIMIT
from thing.core.settings import ClientSettings
from thing.daemon.logs import TextLines, inJournal, withPriority
from thing.daemon.systemd import Supervisor
from thing.endpoints.backend import Backend
from thing.errors import LocalProtocolError
from thing.logger import Logger
from thing.session.hosts import SystemResolver
from thing.trust.permits import REACH, SERVICE_NAME

REACHES = 256
"""How many streams may be open to what is exposed, at once."""

QUIET = ("twisted", "thing.endpoints.reconnect")
"""Whose lines below a warning are not logged: what they tell of tries is told here."""

_log = Logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user chose besides the server and the keys."""

    ttl: float | None
    """The TTL to ask for, seconds."""

    lastWord: str
    """What the server makes public if this thing is lost."""

    onRequest: str | None
    """The program that answers requests."""

    onMessage: str | None
    """The program that takes messages; None for standard output."""

    messagesFrom: str | None
    """The FIFO where messages come from; None for standard input."""

    expose: tuple[str, ...]
    """What is exposed, as names and endpoints."""

    programTimeout: float
    """How long a run of a program may take, seconds."""

    requestsAtOnce: int
    """How many requests are answered at once."""


def attend(client: ClientOptions, choices: Choices) -> NoReturn:
    """
    Be an agent until the process is told to end.

    :param client: the server and the keys.
    :param choices: what else the user chose.
    :raises SystemExit: always, with the exit code.
    :raises click.UsageError: if an option does not make sense.
    :raises CommandError: if there is no reading where lines are to come from.
    :raises CredentialError: if a key or a file cannot be used.
    """
    supervisor = Supervisor.fromEnvironment(os.environ)
    with warningsTold():
        settings, ways = sessionOf(client, choices)
    from twisted.internet import reactor

    reactor.installNameResolver(SystemResolver(reactor))  # type: ignore[attr-defined]
    _, choice = ways[0]
    factory = AgentFactory(settings, choice.authorizer)
    agent = Agent(
        factory,
        Addresses(reactor, ways, lambda line: _log.warn("{line}", line=line)),
        exposed=_exposed(reactor, choices.expose),
        supervisor=supervisor,
    )
    clock = factory.clock
    factory.answerer = _answerer(reactor, choices, clock)
    program = _program(reactor, "--on-message", choices.onMessage, choices, clock)
    read: Any = partial(StandardInput, reactor)
    if choices.messagesFrom is not None:
        read = partial(Fifo, reactor, choices.messagesFrom, clock)
    with blockingRestored():
        down: Downlink = Printer(reactor, agent) if program is None else Dispatcher(program, agent)
        factory.downlink = down
        try:
            agent.read(read)
        except OSError as error:
            raise CommandError(f"{choices.messagesFrom}: {error.strerror}") from None
        logTo(sys.stderr, os.environ, client.verbose)
        react(agent.run)


def sessionOf(client: ClientOptions, choices: Choices) -> tuple[ClientSettings, list[Way]]:
    """
    Read the keys, and what else makes a session.

    :param client: the server and the keys.
    :param choices: what else the user chose.
    :return: the settings, and the addresses, with what to show and whom to believe there.
    :raises click.UsageError: if an option does not make sense.
    :raises CredentialError: if a key or a file cannot be used.
    """
    ways = waysOf(client)
    _, choice = ways[0]
    others = client.settings
    if choices.ttl is not None:
        others["requestedTtl"] = choices.ttl
    try:
        settings = choice.settings(lastWord=os.fsencode(choices.lastWord), **others)
    except LocalProtocolError as error:
        raise click.UsageError(error.detail) from None
    if choices.expose:
        settings = replace(settings, capacity=settings.capacity._replace(maxStreams=REACHES))
    # Who comes back again and again does so sooner with a ticket.
    return replace(settings, resumption=None), ways


def _exposed(reactor: Any, expose: tuple[str, ...]) -> dict[str, Backend]:
    """What is exposed, by the label of its streams."""
    from twisted.internet.endpoints import clientFromString  # It takes long to import.

    exposed: dict[str, Backend] = {}
    for text in expose:
        name, _, description = text.partition("=")
        if not (SERVICE_NAME.fullmatch(name) and description):
            raise click.UsageError(f"--expose: {text!r} is not NAME=ENDPOINT")
        label = f"{REACH}{name}"
        if label in exposed:
            raise click.UsageError(f"--expose: {name} is given twice")
        try:
            endpoint = clientFromString(reactor, description)  # type: ignore[no-untyped-call]
        except Exception as error:  # A parser may raise anything.
            raise click.UsageError(f"--expose: {description!r}: {error}") from None
        exposed[label] = Backend(endpoint)
    return exposed


def _answerer(reactor: Any, choices: Choices, clock: IReactorTime) -> Answerer | None:
    program = _program(
        reactor, "--on-request", choices.onRequest, choices, clock, limit=REQUEST_LIMIT
    )
    return None if program is None else Answerer(program, choices.requestsAtOnce)


def _program(
    reactor: Any,
    option: str,
    command: str | None,
    choices: Choices,
    clock: IReactorTime,
    limit: int | None = None,
) -> Program | None:
    """The program of an option, if it was given."""
    if command is None:
        return None
    try:
        words = parseCommand(command)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None
    return Program(reactor, words, patience=choices.programTimeout, limit=limit, clock=clock)


def logTo(file: Any, environ: Mapping[str, str], verbose: bool) -> None:
    """
    Begin to log.

    :param file: where to, such as standard error.
    :param environ: the environment, by which the journal of systemd is known.
    :param verbose: whether to log each heartbeat, too.
    """
    write = TextLines()
    level = LogLevel.debug if verbose else LogLevel.info
    wanted = LogLevelFilterPredicate(defaultLogLevel=level)
    for namespace in QUIET:
        wanted.setLogLevelForNamespace(namespace, LogLevel.warn)
    observer = FileLogObserver(file, withPriority(write) if inJournal(file, environ) else write)
    globalLogBeginner.beginLoggingTo(
        [cast(Any, FilteringLogObserver(observer, [wanted]))],
        discardBuffer=True,
        redirectStandardIO=False,
    )
