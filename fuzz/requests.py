"""Whatever a stranger says to the status server, it is answered or cut off, and nothing is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from fuzz.choices import Choices
from fuzz.cost import admitted, within
from tests.fleet.http.web import Connection, pathOf, request
from tests.pairs import freshServer
from thing import ThingFactory
from thing.fleet import MemoryPresence
from thing.fleet.http import StatusSite
from thing.fleet.http.channel import LINGER_TIMEOUT, REQUEST_TIMEOUT
from thing.trust import Anyone

WALL = 1_800_000_000.0
"""The time of day at which each input begins, seconds."""


def _site(clock: Clock) -> StatusSite:
    factory = ThingFactory(freshServer(allowAnonymous=True), Anyone(), clock=clock)
    presence = MemoryPresence(factory, node="node", wallClock=lambda: WALL)
    return StatusSite(presence, None, wallClock=lambda: WALL)


@contextmanager
def unbroken() -> Iterator[None]:
    """
    Do something of which nothing that goes wrong may be left to the log.

    :raises Exception: what was logged.
    """
    failures: list[Any] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    for each in failures:
        each.raiseException()


def oneInput(data: bytes) -> None:
    """
    Say octets to the server.

    :param data: where they are cut, then the octets.
    """
    choices = Choices(data)
    size = choices.octet() or 256
    said = choices.octets(1 << 20)
    clock = Clock()
    site = _site(clock)
    with unbroken():
        connection = Connection(site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)))
        for at in range(0, len(said), 4 * size):
            with within(admitted(4 * size), "octets of a request"):
                connection.send(said[at : at + 4 * size])
        with within(admitted(len(said)), "the answers"):
            connection.read()
        clock.advance(REQUEST_TIMEOUT)
        connection.read()
        clock.advance(LINGER_TIMEOUT)
        connection.leave()
    assert not site.channels
    assert not site.api.readers
    assert not clock.getDelayedCalls(), "something is left of a connection"


def seeds() -> list[bytes]:
    """
    Make requests to begin with.

    :return: of each sort some.
    """
    asked = [
        *((method, "/") for method in ("GET", "HEAD", "POST", "OPTIONS")),
        *(("GET", path) for path in ("/things?limit=2&q=a*", "/nodes", "/health", "/metrics")),
        *(("GET", path) for path in ("/ready", "/openapi.json", "/events?after=1-1", "/history")),
        *(("GET", path) for path in ("/invitations", "/reaches", pathOf("lamp"), "/%ff?a=%zz")),
        ("POST", pathOf("lamp", "/message")),
        ("DELETE", pathOf("lamp")),
    ]
    told = [request(method, path) for method, path in asked]
    told += [
        request("POST", pathOf("lamp", "/message"), {"Origin": "http://localhost"}, b"word"),
        request("POST", "/invitations", {"Content-Type": "application/json"}, b'{"name":"a"}'),
        request("GET", "/events", {"Last-Event-ID": "1-1", "Accept": "text/event-stream"}),
        request("POST", "/", {"Transfer-Encoding": "chunked"}) + b"3\r\nabc\r\n0\r\n\r\n",
        request("GET", "/") * 3,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    return [b"\0" + each for each in told]
