"""
The body of ``twistd thing``: the service that its options describe.

Options are read and checked in :mod:`thing.daemon.options`; here they become a factory,
endpoints, and the services beside it.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python.reflect import InvalidName, namedAny

from thing.daemon.demo import DemoFactory
from thing.daemon.errors import CannotStart
from thing.daemon.forward import ForwardFactory
from thing.daemon.garbage import GarbageCollection
from thing.daemon.logs import makeObserver
from thing.daemon.openfiles import STATUS, allowFiles, fitted
from thing.daemon.options import IN_MEMORY, Options
from thing.daemon.reuseport import SharedPorts
from thing.daemon.service import ThingService
from thing.daemon.signals import Signals
from thing.daemon.systemd import Supervisor
from thing.daemon.unixports import UnixPorts
from thing.endpoints.backend import Backend
from thing.errors import ThingError
from thing.logger import Logger
from thing.session.factory import ThingFactory
from thing.session.hosts import HostEndpoint, SystemResolver
from thing.session.settable import SERVER_SETTINGS, limitsOf, settingsOf
from thing.trust import IdentityKey
from thing.trust.chosen import ServerChoice
from thing.trust.home import makeHome
from thing.trust.live import LiveTrust

if TYPE_CHECKING:
    from thing.fleet import IPresence, IReaches
    from thing.fleet.inviting import Inviter
    from thing.fleet.reaches import Reaches

_log = Logger()

MOST_STREAMS = 256
"""How many streams there may be in a session: one operator may have so many reaches."""


def assemble(options: Options, signals: Signals) -> ThingService:
    """
    Make the service that the options describe.

    :param options: the options, parsed.
    :param signals: what is done at signals; SIGHUP is caught already.
    :return: the service; nothing listens yet.
    :raises CannotStart: if a file, a name or an endpoint is of no use.
    """
    # What ML-KEM imports at its first use: the right to read it may be given up by then.
    import cryptography.hazmat.backends.openssl.backend  # noqa: F401
    from twisted.internet import reactor

    reactor.installNameResolver(SystemResolver(reactor))  # type: ignore[attr-defined]
    try:
        ports = UnixPorts(SharedPorts(reactor) if options["reuse-port"] else reactor)
        endpoints = {text: _serverEndpoint(ports, text) for text in options["port"]}
        # Not sooner: it takes from the environment what Twisted's systemd: endpoint reads there.
        supervisor = Supervisor.fromEnvironment(os.environ)
        choice = ServerChoice.read(_trustWithDefaults(options))
        factory, backends = _makeFactory(reactor, choice, options)
        companions = _makeWatchers(reactor, factory, choice, options)
        companions += [*backends, GarbageCollection(factory)]
    except ThingError as error:
        raise CannotStart(str(error)) from None

    if not options.decided:
        _log.warn("Everybody is admitted, with a key or without; --authorized says whom to admit")
    return ThingService(
        reactor,
        factory,
        endpoints,
        companions=companions,
        drainTimeout=options["drain-timeout"],
        retryAfter=options["retry-after"],
        supervisor=supervisor,
        signals=signals,
        makeObserver=_logMaker(options),
        files=_companionsFiles(options),
    )


def _makeFactory(
    reactor: Any, choice: ServerChoice, options: Options
) -> tuple[ThingFactory, list[Backend]]:
    """What builds the sessions, and the servers that these are joined with."""
    settings = choice.settings(**settingsOf(SERVER_SETTINGS, options.settings))
    settings = replace(settings, capacity=settings.capacity._replace(maxStreams=MOST_STREAMS))
    limits, connections = fitted(
        limitsOf(options.settings),
        allowFiles(),
        backends=len(options["serve"]) + (options["forward"] is not None),
        others=0 if options["status"] is None else STATUS,
    )
    forward, served = _backends(reactor, options, connections)
    make = _chooseFactory(options, forward)
    factory = make(settings, choice.authorizer, limits=limits)
    factory.trust = LiveTrust(choice, factory.clock)
    for label, backend in served.items():
        factory.serve(label, backend)
    return factory, [*served.values()] if forward is None else [forward, *served.values()]


def _makeWatchers(
    reactor: Any, factory: ThingFactory, choice: ServerChoice, options: Options
) -> list[IService]:
    """Have the sessions registered, and told of, and reached; the services that this needs."""
    inviter = _makeInviter(factory, choice)
    presence, services = _makePresence(reactor, factory, options)
    reaches = _makeReaches(reactor, factory, presence, services)
    if options["status"] is None:
        return services
    ports = UnixPorts(reactor)
    return [_makeStatus(ports, presence, options, inviter=inviter, reaches=reaches), *services]


def _companionsFiles(options: Options) -> list[str]:
    """What is read again while the server runs, beside the files of trust."""
    files = [options["status-token"], options["status-view-token"]]
    if options["presence"] != IN_MEMORY:
        from thing.fleet.redis.address import parseAddress  # It needs packages of its own.

        files += parseAddress(options["presence"]).paths
    return [os.path.abspath(each) for each in files if each]


def _logMaker(options: Options) -> Callable[[], Any] | None:
    """What opens the log, if there is one to be opened."""
    twistd = options.parent
    if twistd is None:
        return None

    def make() -> object:
        try:
            return makeObserver(options["log-format"], twistd, os.environ)
        except (OSError, ValueError) as error:
            raise CannotStart(f"cannot open the log: {_oneLine(error)}") from None

    return make


def _serverEndpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    from twisted.internet.endpoints import serverFromString  # It takes long to import.

    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)  # type: ignore[no-untyped-call]
    except Exception as error:  # A parser may raise anything.
        raise CannotStart(f"--port: {description!r}: {_oneLine(error)}") from None
    return endpoint


def _chooseFactory(options: Options, forward: Backend | None) -> Callable[..., ThingFactory]:
    """What makes the factory from settings, authorizer and limits."""
    if options["factory"] is not None:
        return _namedFactory(options["factory"])
    if forward is not None:
        return partial(ForwardFactory, backend=forward)
    return DemoFactory if options["demo"] else ThingFactory


def _backend(
    reactor: Any, options: Options, option: str, description: str, connections: int
) -> Backend:
    """A server that knows nothing of Thing, and how many connections there may be to it."""
    from twisted.internet.endpoints import clientFromString

    try:
        endpoint = clientFromString(reactor, description)  # type: ignore[no-untyped-call]
    except Exception as error:  # A parser may raise anything.
        raise CannotStart(f"--{option}: {description!r}: {_oneLine(error)}") from None
    return Backend(endpoint, bool(options["proxy-protocol"]), connections)


def _backends(
    reactor: Any, options: Options, connections: int
) -> tuple[Backend | None, dict[str, Backend]]:
    """Where the main stream of each session is forwarded to, and where streams are, by label."""
    forward = options["forward"]
    return (
        None if forward is None else _backend(reactor, options, "forward", forward, connections),
        {
            label: _backend(reactor, options, "serve", description, connections)
            for label, description in options["serve"].items()
        },
    )


def _namedFactory(name: str) -> type[ThingFactory]:
    try:
        found = namedAny(name)  # type: ignore[no-untyped-call]
    except InvalidName as error:  # twistd does not look where it was started.
        raise CannotStart(
            f"--factory: cannot import {name}: {_oneLine(error)};"
            " PYTHONPATH=DIRECTORY before twistd says where else modules are"
        ) from None
    except Exception as error:  # A module may raise anything.
        raise CannotStart(f"--factory: cannot import {name}: {_oneLine(error)}") from None
    if not (isinstance(found, type) and issubclass(found, ThingFactory)):
        raise CannotStart(f"--factory: {name} is not a subclass of thing.ThingFactory")
    return found


def _trustWithDefaults(options: Options) -> dict[str, str]:
    """What was chosen, and for the rest a key of our own, and everybody."""
    trust = options.trust
    if not options.decided:
        trust["anyone"] = "yes"
    if "identity" not in trust and "certificate" not in trust:
        trust["identity"] = _defaultIdentity()
    if "authorized" in trust:
        trust.setdefault("invitations", f"{trust['authorized']}.invitations")
    return trust


def _makePresence(
    reactor: Any, factory: ThingFactory, options: Options
) -> tuple[IPresence, list[IService]]:
    """Have the sessions registered; who knows them, and the services that this needs."""
    from thing.fleet import MemoryPresence, Twins

    choices: dict[str, Any] = {
        "node": options["node"] or _nodeName(),
        "twins": Twins(options["twins"]),
        "advertised": options["advertise"] or "",
    }
    if options["presence"] == IN_MEMORY:
        return MemoryPresence(factory, **choices), []
    from thing.fleet.redis import connectPresence  # It needs packages of its own.

    try:
        presence = connectPresence(reactor, options["presence"], factory, **choices)
    except ThingError as error:
        raise CannotStart(f"--presence: {error}") from None
    return presence, [presence]


def _makeInviter(factory: ThingFactory, choice: ServerChoice) -> Inviter | None:
    """Have things join by invitation, where there is a file to write them to."""
    from thing.fleet.inviting import Inviter

    if choice.invitations is None or choice.authorizedThings is None:
        return None
    return Inviter(factory, choice.invitations, choice.authorizedThings.path)


def _makeReaches(
    reactor: Any, factory: ThingFactory, presence: IPresence, companions: list[IService]
) -> IReaches:
    """Have operators admitted, who reach services of things: without a permit, none."""
    from thing.fleet.operators import admitOperators
    from thing.fleet.reaches import Reaches

    reaches = Reaches(presence.local)
    admitOperators(factory, reaches)
    if not companions:
        return reaches  # Nothing is known of other nodes.
    return _makeRelays(reactor, factory, presence, reaches, companions)


def _makeRelays(
    reactor: Any,
    factory: ThingFactory,
    presence: Any,
    reaches: Reaches,
    companions: list[IService],
) -> IReaches:
    """Have things reached that are on other nodes, and have other nodes ask for things here."""
    from thing.fleet.nodes import CONNECT_TIME, Nodes
    from thing.fleet.redis.reaches import FleetReaches
    from thing.fleet.relays import Relays, admitNodes

    trust = factory.trust
    assert trust is not None, "the factory has the files of trust"
    nodes = Nodes(
        presence,
        lambda: trust.choice.nodeCredential,
        partial(HostEndpoint, reactor, timeout=CONNECT_TIME),
    )
    reaches.elsewhere = Relays(presence, nodes).connect
    admitNodes(factory, reaches)
    trust.followers.append(nodes.reconsider)
    companions.append(nodes)
    return FleetReaches(reaches, presence)


def _makeStatus(reactor: Any, presence: IPresence, options: Options, **others: Any) -> IService:
    """Have it all told over HTTP, with what else there is to tell of."""
    from thing.fleet.http import makeStatusService

    return makeStatusService(
        reactor,
        presence,
        options["status"],
        options["status-token"],
        options["status-view-token"],
        **others,
    )


def _nodeName() -> str:
    """The host's name, and a number that tells apart the processes that have the same."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:48] or "node"
    return f"{host}-{secrets.token_hex(4)}"


def _defaultIdentity() -> str:
    """The file of the default key; at the first start it is made."""
    path = os.path.join(makeHome(), "server_key")
    if not os.path.lexists(path):
        _log.info("A new key is made for the server: {path}", path=os.path.abspath(path))
    IdentityKey.loadOrCreate(path)
    return path


def _oneLine(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
