"""
The servers that are compared; each runs in a process of its own.

``python peers.py KIND DIRECTORY`` serves until its standard input ends. It
answers each line there with a line of JSON: where it listens and what it has
used so far. ``collect`` has it collect its garbage first, ``trace`` and
``untrace`` have it follow Python's allocations or no longer do so, and
``usage`` has it do nothing.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from credentials import tlsOptions
from jobs import ANSWER, JOBS
from processes import allowFiles
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    SSL4ServerEndpoint,
    TCP4ServerEndpoint,
    quoteStringArgument,
    serverFromString,
)
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.logger import (
    FileLogObserver,
    LogEvent,
    LogLevel,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from thing import AuthorizedThings, IdentityKey, ServerSettings, ThingFactory, ThingProtocol
from thing.daemon.logs import TextLines
from thing.fleet import MemoryPresence, Twins
from thing.fleet.http import makeStatusService
from thing.trust.tickets import TicketKeys

LIFETIME = 600
"""How long a process goes on unasked, seconds."""

TLS_KINDS = {
    "tls": ("ed25519", True),
    "tls-p256": ("p256", True),
    "tls-rsa": ("rsa", True),
    "tls-server-only": ("ed25519", False),
}
"""For each kind of TLS server: its certificates' algorithm, and whether clients show one, too."""

PRESENCE, ENDPOINT = "thing-presence", "thing-endpoint"

THING_KINDS = ("thing", PRESENCE, ENDPOINT)
"""All kinds of Thing server: a factory, one whose things are known, and a ``thing:`` endpoint."""

KINDS = (*THING_KINDS, *TLS_KINDS, "tcp")
"""All kinds of server that are here."""

NODE = "thing-node"
"""A Thing server that is a node of a fleet; it is compared with nothing, and for ``million.py``."""

REDIS_SOCKET = "redis.sock"
"""Where that finds Redis, in the directory; without it, its presence is in memory."""

BROKERS = {"mosquitto": None, "mosquitto-tls": "ed25519", "mosquitto-tls-rsa": "rsa"}
"""The kinds of server that are not: for each its certificate's algorithm, if it has one."""

RESUMED = "thing-resumed"
"""What those clients of a Thing server speak that come back with a ticket."""

PATIENT = "thing-patient"
"""What those speak that ask for a long TTL."""


class Census:
    """
    How many connections a server has.

    :ivar connections: how many.
    :ivar page: the port of a page that shows them, if there is one.
    """

    connections = 0
    page = 0


class ThingServer(ThingProtocol):
    """One session of Thing."""

    job: str
    census: Census

    def connectionMade(self) -> None:
        """Count it."""
        self.census.connections += 1

    def handshakeCompleted(self) -> None:
        """Get ready to work; heartbeats are answered without."""
        if self.job != "beat":
            self._task = JOBS[self.job](self)

    def messageReceived(self, message: bytes) -> None:
        """
        Hand a message on.

        :param message: the message.
        """
        self._task.take(message)

    def requestReceived(self, data: bytes) -> bytes:
        """
        Answer a request as long as the streams' servers do.

        :param data: the request.
        :return: the answer.
        """
        return ANSWER

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Count it no longer.

        :param reason: why.
        """
        super().connectionLost(reason)
        self.census.connections -= 1


@implementer(IHandshakeListener)
class StreamServer(Protocol):
    """One stream; once both sides have proved themselves it says welcome, if it does so at all."""

    job: str
    census: Census
    kind: str

    def connectionMade(self) -> None:
        """Count it and get ready to work."""
        self.census.connections += 1
        self.transport.setTcpNoDelay(True)  # As Thing does by itself.
        self._take = JOBS[self.job](self.transport).take
        if self.kind == "tcp":
            self.transport.write(ANSWER)

    def handshakeCompleted(self) -> None:
        """Say welcome, which to a client of TLS 1.3 is what SHF is to one of Thing."""
        self.transport.write(ANSWER)

    def dataReceived(self, data: bytes) -> None:
        """
        Hand octets on.

        :param data: the octets.
        """
        self._take(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Count it no longer.

        :param reason: why.
        """
        self.census.connections -= 1


class Control(LineOnlyReceiver):
    """Answers the measuring process on standard input and output."""

    delimiter = b"\n"
    _actions: ClassVar[dict[bytes, Callable[[], object]]] = {
        b"usage": lambda: None,
        b"collect": gc.collect,
        b"trace": tracemalloc.start,
        b"untrace": tracemalloc.stop,
    }

    def __init__(self, census: Census, ports: dict[str, int]) -> None:
        """
        :param census: how many connections there are.
        :param ports: the port of each job.
        """
        self._census = census
        self._ports = ports

    def lineReceived(self, line: bytes) -> None:
        """
        Do what is asked, then say how things are.

        :param line: what is asked.
        """
        signal.alarm(LIFETIME)
        self._actions[line]()
        answer = {
            "ports": self._ports,
            "cpu": time.process_time(),
            "traced": tracemalloc.get_traced_memory()[0],
            "connections": self._census.connections,
        }
        self.sendLine(json.dumps(answer).encode())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Stop: nobody is asking any more.

        :param reason: why.
        """
        from twisted.internet import reactor

        with suppress(ReactorNotRunning):  # A signal came first.
            reactor.stop()


def thingFactory(directory: Path) -> ThingFactory:
    """
    Set a Thing server up as its users would.

    :param directory: the credentials.
    :return: the factory.
    """
    key = IdentityKey.load(directory / "thing-server")
    return ThingFactory(
        ServerSettings(credential=key, tickets=TicketKeys()),
        AuthorizedThings(directory / "authorized"),
    )


def showPage(reactor: Any, factory: ThingFactory) -> int:
    """
    Have all sessions known, and a page where they can be seen.

    :param reactor: the reactor.
    :param factory: the server's.
    :return: the page's port.
    """
    status: Any = makeStatusService(reactor, MemoryPresence(factory, node="benchmark"), "0")
    status.startService()
    return int(status.port.getHost().port)


def keepPresence(reactor: Any, factory: ThingFactory, node: str, directory: Path) -> None:
    """
    Make a node of a server. Its clients share one key, so each session is a thing of its own.

    :param reactor: the reactor.
    :param factory: the server's.
    :param node: its name.
    :param directory: where Redis may be.
    """
    from thing.fleet.redis import RedisPresence, parseAddress

    socket = directory / REDIS_SOCKET
    if socket.exists():
        address = parseAddress(f"unix://{socket}")
        RedisPresence(reactor, address, factory, node=node, twins=Twins.ALLOW).startService()
    else:
        MemoryPresence(factory, node=node, twins=Twins.ALLOW)


async def listen(reactor: Any, kind: str, job: str, directory: Path, census: Census) -> int:
    """
    Listen as a server's user would have it listen.

    :param reactor: the reactor.
    :param kind: one of :data:`KINDS`, or :data:`NODE`.
    :param job: one of :data:`JOBS`.
    :param directory: the credentials.
    :param census: counts the connections.
    :return: the port.
    """
    endpoint: Any = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    base: type[Protocol] = StreamServer
    factory = Factory()
    if kind in TLS_KINDS:
        algorithm, mutual = TLS_KINDS[kind]
        options = tlsOptions(directory, "server", algorithm, mutual=mutual)
        endpoint = SSL4ServerEndpoint(reactor, 0, options, interface="127.0.0.1")
    elif kind == ENDPOINT:
        key = quoteStringArgument(str(directory / "thing-server"))
        authorized = quoteStringArgument(str(directory / "authorized"))
        endpoint = serverFromString(
            reactor, f"thing:0:interface=127.0.0.1:identity={key}:authorized={authorized}"
        )
    elif kind in (*THING_KINDS, NODE):
        factory, base = thingFactory(directory), ThingServer
        if kind == PRESENCE:
            census.page = showPage(reactor, factory)
        elif kind == NODE:
            keepPresence(reactor, factory, f"{job}-{os.getpid()}", directory)
    factory.noisy = False
    attributes = {"job": job, "census": census, "kind": kind}
    factory.protocol = type(base.__name__, (base,), attributes)
    port = await endpoint.listen(factory)
    return int(port.getHost().port)


def beginLogging() -> None:
    """Log as ``twistd thing`` does, but to nowhere; what went wrong is shown as well."""
    everything = FileLogObserver(open(os.devnull, "w"), TextLines())  # noqa: SIM115
    shown = textFileLogObserver(sys.stderr)

    def failures(event: LogEvent) -> None:
        if event["log_level"] is LogLevel.critical:
            shown(event)

    globalLogBeginner.beginLoggingTo([everything, failures], redirectStandardIO=False)


async def serve(reactor: Any, kind: str, directory: Path) -> None:
    """
    Serve until standard input ends.

    :param reactor: the reactor.
    :param kind: one of :data:`KINDS`, or :data:`NODE`.
    :param directory: the credentials.
    """
    census = Census()
    ports = {job: await listen(reactor, kind, job, directory, census) for job in reversed(JOBS)}
    ports["page"] = census.page  # That of the job that came last, the heartbeats.
    StandardIO(Control(census, ports))
    await Deferred()


def main(kind: str, directory: Path) -> None:
    """
    Serve until standard input ends.

    :param kind: one of :data:`KINDS`, or :data:`NODE`.
    :param directory: the credentials.
    """
    signal.alarm(LIFETIME)
    allowFiles()
    beginLogging()
    react(serve, (kind, directory))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
