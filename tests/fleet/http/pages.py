"""A real server, its page in the browser, and real things: what tests of the page need."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.task import Clock, LoopingCall
from twisted.trial.unittest import TestCase

from tests.anypeer import AnyPeer
from tests.fleet.http.browser import MISSING, Browser
from tests.fleet.inmemory import Book
from tests.pairs import freshClient, freshServer
from thing import IdentityKey, ThingFactory, ThingProtocol
from thing.core.heartbeat import TtlPolicy
from thing.fleet import (
    FedEvent,
    Filter,
    FleetEvent,
    Kind,
    MemoryPresence,
    Page,
    Status,
    ThingRecord,
)
from thing.fleet.history import historyOf
from thing.fleet.http import StatusSite
from thing.fleet.http.guard import FileToken
from thing.fleet.interfaces import IReaches
from thing.fleet.inviting import Inviter
from thing.fleet.meter import Meter

LONG = 600.0
"""A TTL with which no thing is late, however slow the machine is, seconds."""

LOOK = """
window.seen = {
    names: () => [...document.querySelectorAll('#things tbody .open')].map(one => one.textContent),
    status: (name) => {
        const open = [...document.querySelectorAll('#things tbody .open')]
            .find(one => one.textContent === name);
        return open && open.closest('tr').querySelector('.c-status').textContent;
    },
    state: () => document.querySelector('#state').dataset.state,
    feed: () => document.querySelector('#feed').innerText,
    loaded: () => document.querySelector('#things').getAttribute('aria-busy') === 'false',
    focus: () => document.activeElement.id || document.activeElement.textContent.trim(),
    text: (id) => document.getElementById(id).textContent,
    hides: (id) => document.getElementById(id).hidden,
};
"""
"""What the tests look at in the page."""

CONTRASTS = """
const parts = (color) => color.match(/[0-9.]+/g).map(Number);
const light = (color) => {
    const [red, green, blue] = parts(color).slice(0, 3).map(part => part / 255)
        .map(part => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
    return .2126 * red + .7152 * green + .0722 * blue;
};
const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
        const color = getComputedStyle(at).backgroundColor;
        if (parts(color)[3] !== 0) return color;
    }
    return 'rgb(255, 255, 255)';
};
const poor = [];
let seen = 0;
for (const one of document.querySelectorAll('body *')) {
    const text = [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    const exempt = one.closest('svg, .unseen, option, script, style, template, :disabled');
    if (!text || exempt || !one.checkVisibility()) continue;
    seen += 1;
    const [high, low] = [getComputedStyle(one).color, ground(one)].map(light)
        .sort((a, b) => b - a);
    const contrast = (high + .05) / (low + .05);
    if (contrast < 4.5) poor.push(`${one.tagName} ${one.textContent} ${contrast.toFixed(2)}`);
}
return {seen, poor};
"""
"""Measures the contrast of every text that is seen, as WCAG has it."""


class ThingTime(Clock):
    """The time of things: it goes with everybody's until it is stopped, and they stop with it."""

    def __init__(self) -> None:
        super().__init__()
        self._call = LoopingCall.withCount(lambda count: self.advance(count * 0.02))
        self._call.start(0.02, now=False)

    def stop(self) -> None:
        """Let no more time pass."""
        if self._call.running:
            self._call.stop()


class Lamp(ThingProtocol):
    """
    A thing that answers what it is asked.

    :ivar time: its time.
    :ivar heard: fires with what it was asked; then it does not answer.
    """

    time: ThingTime
    heard: Deferred[bytes] | None = None

    def requestReceived(self, data: bytes) -> bytes | Deferred[bytes]:
        if self.heard is None:
            return b"you said " + data
        self.heard.callback(data)
        return Deferred()


class Held(MemoryPresence):
    """
    A presence that answers questions about its things only as long as it is told to.

    :ivar held: whether it does not any more.
    :ivar asked: how often it was asked.
    :ivar complete: what it says of its answers.
    """

    held = False
    asked = 0
    complete = True

    def things(self, after: str, limit: int, wanted: Filter) -> Deferred[Page]:
        self.asked += 1
        if self.held:
            return Deferred()

        def mark(page: Page) -> Page:
            return Page(page.things, page.following, self.complete)

        return super().things(after, limit, wanted).addCallback(mark)


class Crowd(MemoryPresence):
    """A presence that says that many more are here."""

    count = 5000

    def record(self, number: int) -> ThingRecord:  # type: ignore[override]
        return ThingRecord(
            id=f"meter-{number:05}",
            name=f"meter-{number:05}",
            fingerprint="",
            status=Status.PRESENT,
            node=self.node,
            session=f"{number:032x}",
            epoch=1,
            sequence=1,
            since=time.time(),
            lastSeen=time.time(),
            address="192.0.2.1:9",
            group="",
            aead="",
            resumed=False,
        )

    def things(self, after: str, limit: int, wanted: Filter) -> Deferred[Page]:
        first = int(after.partition("-")[2]) + 1 if after else 0
        last = min(first + limit, self.count)
        following = f"meter-{last - 1:05}" if last < self.count else None
        return succeed(Page(tuple(map(self.record, range(first, last))), following))

    def joined(self, number: int) -> None:
        """Tell that one joined."""
        record = self.record(number)
        data = {"name": record.name, "fingerprint": "", "address": record.address}
        event = FleetEvent(
            kind=Kind.JOINED,
            id=record.id,
            epoch=1,
            sequence=1,
            node=self.node,
            session=record.session,
            at=time.time(),
            data={**data, "ttl": 30.0, "resumed": False},
        )
        self.feed.append(event)


class PageCase(TestCase):
    """Tests with a server, its things, and the browser."""

    timeout = 240
    skip = MISSING or None
    makeBook = Book
    inviter: Inviter | None = None

    async def setUp(self) -> None:
        self.browser = Browser(reactor)
        self.book = self.makeBook()
        self.told: list[FedEvent] = []
        self.token: FileToken | None = None
        self.viewToken: FileToken | None = None
        self.presence = await self.serve(Held)

    async def serve(self, kind: type[Any], port: int = 0) -> Any:
        """Start a server of things, and of the page; on this port, if it has had one."""
        settings = freshServer(allowAnonymous=True, ttl=TtlPolicy(default=LONG))
        factory = ThingFactory(settings, self.book)
        presence = kind(factory, node="north")
        presence.subscribe(self.told.append).start()
        self.things = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(self.things.stopListening)
        self.addCleanup(lambda: [one.abort() for one in list(factory.sessions)])
        history = historyOf(Meter(factory), presence.local)
        history.start()
        self.addCleanup(history.stop)
        site = StatusSite(
            presence,
            self.token,
            viewToken=self.viewToken,
            history=history,
            inviter=self.inviter,
            reaches=self.reachesOf(presence),
        )
        self.http = await self.listen(port, site)
        self.site = site
        self.addCleanup(site.close)
        self.url = f"http://127.0.0.1:{self.http.getHost().port}/"
        return presence

    def reachesOf(self, presence: Any) -> IReaches | None:
        """What knows the reaches of a server; none by default."""
        return None

    async def listen(self, port: int, factory: IProtocolFactory) -> IListeningPort:
        """Answer what the page asks."""
        endpoint = TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
        listening = await endpoint.listen(factory)
        self.addCleanup(listening.stopListening)
        return listening

    async def stop(self) -> None:
        """Stop the page's server."""
        await self.http.stopListening()
        await self.site.close()

    async def connect(self, name: str, ttl: float = LONG) -> Lamp:
        """A thing connects, with a key and a time of its own."""
        key = IdentityKey.generate()
        self.book.names[key.fingerprint] = name
        time = ThingTime()
        self.addCleanup(time.stop)
        settings = freshClient(credential=key, requestedTtl=ttl)
        factory = ThingFactory(settings, AnyPeer(), clock=time, jitter=lambda: 0.5)
        factory.protocol = Lamp
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.things.getHost().port)
        lamp: Lamp = await endpoint.connect(factory)
        lamp.time = time
        self.addCleanup(lamp.abort)
        await lamp.whenEstablished()
        return lamp

    async def open(self, live: bool = True) -> None:
        """Open the page; wait until it has its first answer and follows the events."""
        await self.browser.emulate()
        await self.browser.open(self.url)
        await self.browser.run(LOOK)
        if live:
            await self.browser.until("return seen.state() === 'live' && seen.loaded()")

    async def openDetails(self, name: str) -> None:
        """Click on a thing, in the table or else among what happens, as soon as it is there."""
        click = """
            const open = [...document.querySelectorAll('.open')]
                .find(one => one.textContent === arguments[0]);
            open?.click();
            return open !== undefined;
        """
        await self.browser.until(click, name)

    async def untilNames(self, *names: str) -> None:
        """Wait until these are the things in the table."""
        await self.browser.until(
            "return seen.loaded() && seen.names().join('|') === arguments[0]", "|".join(names)
        )

    async def untilStatus(self, name: str, status: str) -> None:
        """Wait until a thing is shown like this."""
        await self.browser.until("return seen.status(arguments[0]) === arguments[1]", name, status)

    async def untilFeed(self, *parts: str) -> None:
        """Wait until this is told among what happens."""
        script = "return arguments[0].every(part => seen.feed().includes(part))"
        await self.browser.until(script, list(parts))

    async def untilFocus(self, what: str) -> None:
        """Wait until what has this id, or else this text, has the focus."""
        await self.browser.until("return seen.focus() === arguments[0]", what)

    async def untilText(self, id: str, part: str) -> None:
        """Wait until an element says this."""
        await self.browser.until("return seen.text(arguments[0]).includes(arguments[1])", id, part)
