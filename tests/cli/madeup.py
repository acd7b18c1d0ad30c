"""A fleet that is made up, told over real HTTP, for tests of the commands about it."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from tests.cli.test_process import CommandCase
from tests.fleet.inviter import MadeUpInviter
from tests.pairs import freshServer
from thing import Anyone, ThingFactory
from thing.fleet import (
    FedEvent,
    FleetEvent,
    IPresence,
    IReaches,
    Kind,
    MemoryPresence,
    NodeRecord,
    Page,
    Status,
    ThingRecord,
    Traffic,
)
from thing.fleet.feed import Feed
from thing.fleet.http import StatusSite
from thing.fleet.model import NotPresent, ReachRecord, searchText
from thing.fleet.subscriptions import Subscription

reactor: Any = installedReactor

NOW = 1_800_000_000.0
"""The time of day at which the feed of a made-up fleet begins."""

OWN = "Thing-Api: 1"
"""What a status server says of all its answers."""

CLEAR = "\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}\a"
"""What a terminal must never get from a stranger."""


def traffic(**changes: Any) -> Traffic:
    """What is measured of a session."""
    known: dict[str, Any] = {
        "roundTripTime": 0.0123,
        "silence": 4.2,
        "heartbeats": 7,
        "octetsIn": 1000,
        "octetsOut": 2000,
        "messagesIn": 3,
        "messagesOut": 4,
        "streams": 2,
        "creditStalls": 1,
        "ttl": 30.0,
    }
    return Traffic(**(known | changes))


def thing(id: str, **changes: Any) -> ThingRecord:
    """What is known of a thing."""
    known: dict[str, Any] = {
        "id": id,
        "name": id,
        "fingerprint": f"SHA256:{id}",
        "status": Status.PRESENT,
        "node": "north",
        "session": "00" * 16,
        "epoch": 1,
        "sequence": 2,
        "since": 1_700_000_000.0,
        "lastSeen": 1_700_000_500.0,
        "address": "192.0.2.1:4711",
        "group": "X25519MLKEM768",
        "aead": "AES_256_GCM",
        "resumed": False,
        "traffic": traffic(),
    }
    return ThingRecord(**(known | changes))


@implementer(IPresence)
class MadeUpFleet:
    """
    Answers what the test put into it.

    :ivar known: the things.
    :ivar health: the nodes.
    :ivar complete: whether it says that nothing is missing.
    :ivar delivering: is called with each message, and answers.
    :ivar looked: at how many things it looks for one page.
    :ivar delivered: the messages, each with its id and timeout.
    :ivar asked: how many pages were asked for.
    """

    node = "north"

    def __init__(self) -> None:
        factory = ThingFactory(freshServer(), Anyone())
        self.local = MemoryPresence(factory, node=self.node).local
        self.known: dict[str, ThingRecord] = {}
        self.health = [NodeRecord(node="north", since=NOW, status="up", sessions=0, lastSeen=NOW)]
        self.complete = True
        self.delivered: list[tuple[str, bytes, float]] = []
        self.delivering: Callable[[bytes], Any] = lambda message: b""
        self.asked = 0
        self.looked = sys.maxsize
        self.feed = Feed(NOW)
        self.moment = NOW

    def add(self, *records: ThingRecord) -> None:
        """Have some more things."""
        self.known |= {record.id: record for record in records}

    def happen(self, kind: Kind, id: str, **data: Any) -> FedEvent:
        """Tell an event, one second after the one before."""
        self.moment += 1
        return self.feed.append(
            FleetEvent(
                kind=kind,
                id=id,
                epoch=1,
                sequence=1,
                node="north",
                session="00" * 16,
                at=self.moment,
                data=data,
            )
        )

    def things(self, after: str, limit: int, wanted: Any) -> Deferred[Page]:
        """List things."""
        self.asked += 1
        behind = [record for id, record in sorted(self.known.items()) if id > after]
        looked = behind[: self.looked]
        found = [
            record
            for record in looked
            if wanted.admits(
                record.status,
                record.node,
                searchText(record.id, record.name, record.fingerprint, record.address),
            )
        ]
        following = looked[-1].id if len(looked) < len(behind) else None
        following = found[limit - 1].id if len(found) > limit else following
        return succeed(Page(tuple(found[:limit]), following, self.complete))

    def thing(self, id: str) -> Deferred[ThingRecord | None]:
        """Find a thing."""
        return succeed(self.known.get(id))

    def nodes(self) -> Deferred[list[NodeRecord]]:
        """Tell how the nodes are."""
        return succeed(self.health)

    def deliver(self, id: str, message: bytes, timeout: float) -> Deferred[bytes]:
        """Send a message."""
        self.delivered.append((id, message, timeout))
        return maybeDeferred(self.delivering, message)

    def dismiss(self, id: str) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)

    def forget(self, node: str) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)

    def subscribe(
        self, receiver: Any, after: str | None = None, room: Callable[[], bool] | None = None
    ) -> Subscription:
        """Tell what happens."""
        return self.feed.subscribe(receiver, after)


@implementer(IReaches)
class MadeUpReaches:
    """
    Answers what the test put into it.

    :ivar open: the reaches.
    :ivar complete: whether it says that these are all.
    """

    def __init__(self) -> None:
        self.open: list[ReachRecord] = []
        self.complete = True

    def listed(self, thing: str | None = None) -> Deferred[tuple[list[ReachRecord], bool]]:
        """List them."""
        found = [each for each in self.open if thing in (None, each.thing)]
        return succeed((found, self.complete))

    def end(self, id: str) -> Deferred[None]:
        """End one."""
        left = [each for each in self.open if each.id != id]
        if len(left) == len(self.open):
            return fail(NotPresent(id))
        self.open = left
        return succeed(None)


class FleetCase(CommandCase):
    """Status servers in this process, which invite, too; and commands that ask them."""

    def setUp(self) -> None:
        super().setUp()
        self.fleet = MadeUpFleet()
        self.reaches = MadeUpReaches()
        self.inviter = MadeUpInviter(str(self.home / "invitations"), time.time, reactor)

    def serveFleet(self, token: Any = None, listen: Callable[[Factory], Any] | None = None) -> str:
        """Start a status server; the URL that leads to it."""
        site = StatusSite(self.fleet, token, reaches=self.reaches, inviter=self.inviter)
        self.site = site
        self.addCleanup(site.close)
        if listen is not None:
            port = listen(site)
        else:
            port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port
        number = getattr(port.getHost(), "port", 0)
        self.environment["THING_STATUS"] = f"http://127.0.0.1:{number}"
        return self.environment["THING_STATUS"]

    def serveOctets(self, *answers: bytes, hangUp: bool = True, whole: bool = False) -> str:
        """
        Start a server that answers each connection so, whatever it is asked.

        It answers what came first, or a request that is whole. Its URL.
        """
        self.requests: list[bytes] = []
        left = list(answers)
        requests = self.requests

        class Canned(Protocol):
            received = b""

            def dataReceived(self, data: bytes) -> None:
                self.received += data
                head, end, body = self.received.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\nContent-Length: *(\d+)", head)
                if whole and (not end or len(body) < int(length[1] if length else 0)):
                    return
                requests.append(self.received)
                self.received = b""
                self.transport.write(left.pop(0) if len(left) > 1 else left[0])
                if hangUp:
                    self.transport.loseConnection()

        number = self.listen(Factory.forProtocol(Canned))
        self.environment["THING_STATUS"] = f"http://127.0.0.1:{number}"
        return self.environment["THING_STATUS"]


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """What an HTTP server writes."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body
