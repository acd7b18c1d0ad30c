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
import resource
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from credentials import tlsOptions
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.logger import LogEvent, LogLevel, globalLogBeginner, textFileLogObserver
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from thing import AuthorizedThings, IdentityKey, ServerSettings, ThingFactory, ThingProtocol
from thing.fleet import MemoryPresence, Twins
from thing.fleet.redis import RedisPresence, parseAddress
from thing.trust.tickets import TicketKeys

BEAT = bytes(13)
"""What the streams' clients send as a heartbeat: as long as CHB, its type included."""

ANSWER = bytes(17)
"""What the streams' servers answer: as long as SUU, its type included."""

CHUNK = bytes(65536)
"""The application's messages in bulk."""

SIZE_LENGTH = 8
"""A bulk transfer begins with its size, octets."""

LIFETIME = 300
"""How long a process goes on unasked, seconds."""

TLS_KINDS = {
    "tls": ("ed25519", True),
    "tls-p256": ("p256", True),
    "tls-server-only": ("ed25519", False),
}
"""For each kind of TLS server: its certificates' algorithm, and whether clients show one, too."""

KINDS = ("thing", *TLS_KINDS, "tcp")
"""All kinds of server."""

NODE = "thing-node"
"""A Thing server that is a node of a fleet; it is compared with nothing, and for ``million.py``."""

REDIS_SOCKET = "redis.sock"
"""Where that finds Redis, in the directory; without it, its presence is in memory."""

RESUMED = "thing-resumed"
"""What those clients of a Thing server speak that come back with a ticket."""


class Beats:
    """Answers heartbeats, for the streams, which have none of their own."""

    def __init__(self, consumer: Any) -> None:
        """:param consumer: takes the answers."""
        self._consumer = consumer
        self._octets = 0

    def take(self, data: bytes) -> None:
        """
        Answer every heartbeat that is complete.

        :param data: what came in.
        """
        beats, self._octets = divmod(self._octets + len(data), len(BEAT))
        if beats:
            self._consumer.write(ANSWER * beats)


class Upload:
    """Takes a size and that many octets, then answers."""

    def __init__(self, consumer: Any) -> None:
        """:param consumer: takes the answer."""
        self._consumer = consumer
        self._left = 0

    def take(self, data: bytes) -> None:
        """
        Count.

        :param data: what came in.
        """
        if not self._left:
            self._left = int.from_bytes(data[:SIZE_LENGTH], "big")
            data = data[SIZE_LENGTH:]
        self._left -= len(data)
        if not self._left:
            self._consumer.write(ANSWER)


@implementer(IPushProducer)
class Download:
    """Takes a size and sends that many octets, as fast as they are taken."""

    def __init__(self, consumer: Any) -> None:
        """:param consumer: takes them."""
        self._consumer = consumer
        self._left = 0
        self._paused = False

    def take(self, data: bytes) -> None:
        """
        Begin to send.

        :param data: the size.
        """
        self._left = int.from_bytes(data, "big")
        self._consumer.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """Wait."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._paused = False
        while self._left and not self._paused:
            chunk = CHUNK[: self._left]
            self._left -= len(chunk)
            self._consumer.write(chunk)
        if not self._left:
            self._consumer.unregisterProducer()

    def stopProducing(self) -> None:
        """Give up."""
        self._left = 0


JOBS: dict[str, Callable[[Any], Beats | Upload | Download]] = {
    "beat": Beats,
    "upload": Upload,
    "download": Download,
}
"""What a server does, each on a port of its own."""


class Census:
    """
    How many connections a server has.

    :ivar connections: how many.
    """

    connections = 0


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

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Count it no longer.

        :param reason: why.
        """
        super().connectionLost(reason)
        self.census.connections -= 1


@implementer(IHandshakeListener)
class StreamServer(Protocol):
    """One connection of TCP or TLS; once both sides have proved themselves it says welcome."""

    job: str
    census: Census
    secure: bool

    def connectionMade(self) -> None:
        """Count it and get ready to work."""
        self.census.connections += 1
        self.transport.setTcpNoDelay(True)  # As Thing does by itself.
        self._take = JOBS[self.job](self.transport).take
        if not self.secure:
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


def residentOctets() -> int:
    """:return: how much of this process is in memory, octets; at most so far where unknown."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


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
            "resident": residentOctets(),
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

        reactor.stop()


def factoryOf(kind: str, job: str, directory: Path, census: Census) -> Factory:
    """
    Set a server up as its users would.

    :param kind: one of :data:`KINDS`, or :data:`NODE`.
    :param job: one of :data:`JOBS`.
    :param directory: the credentials.
    :param census: counts the connections.
    :return: the factory, without TLS.
    """
    attributes: dict[str, Any] = {"job": job, "census": census}
    if kind in ("thing", NODE):
        key = IdentityKey.load(directory / "thing-server")
        factory: Factory = ThingFactory(
            ServerSettings(credential=key, tickets=TicketKeys()),
            AuthorizedThings(directory / "authorized"),
        )
        if kind == NODE:
            keepPresence(factory, f"{job}-{os.getpid()}", directory)
        base: type[Protocol] = ThingServer
    else:
        factory, base = Factory(), StreamServer
        factory.noisy = False
        attributes["secure"] = kind in TLS_KINDS
    factory.protocol = type(base.__name__, (base,), attributes)
    return factory


def keepPresence(factory: ThingFactory, node: str, directory: Path) -> None:
    """
    Make a node of a server. Its clients share one key, so each session is a thing of its own.

    :param factory: the server's.
    :param node: its name.
    :param directory: where Redis may be.
    """
    from twisted.internet import reactor

    socket = directory / REDIS_SOCKET
    if socket.exists():
        address = parseAddress(f"unix://{socket}")
        RedisPresence(reactor, address, factory, node=node, twins=Twins.ALLOW).startService()
    else:
        MemoryPresence(factory, node=node, twins=Twins.ALLOW)


def beginLogging() -> None:
    """Log as twistd has a service log, but to nowhere; what went wrong is shown as well."""
    everything = textFileLogObserver(open(os.devnull, "w"))  # noqa: SIM115
    shown = textFileLogObserver(sys.stderr)

    def failures(event: LogEvent) -> None:
        if event["log_level"] is LogLevel.critical:
            shown(event)

    globalLogBeginner.beginLoggingTo([everything, failures], redirectStandardIO=False)


def main(kind: str, directory: Path) -> None:
    """
    Serve until standard input ends.

    :param kind: one of :data:`KINDS`, or :data:`NODE`.
    :param directory: the credentials.
    """
    from twisted.internet import reactor

    signal.alarm(LIFETIME)
    beginLogging()
    census = Census()
    ports = {}
    for job in JOBS:
        factory = factoryOf(kind, job, directory, census)
        if kind in TLS_KINDS:
            algorithm, mutual = TLS_KINDS[kind]
            options = tlsOptions(directory, "server", algorithm, mutual=mutual)
            port = reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        else:
            port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        ports[job] = port.getHost().port
    StandardIO(Control(census, ports))
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
