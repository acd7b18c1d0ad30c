"""The page, in a headless browser, with a real server and real things."""

from __future__ import annotations

import os

from selenium.webdriver.common.keys import Keys
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from tests.fleet.http.pages import CONTRASTS, LOOK, Crowd, Held, PageCase
from thing.fleet import Kind
from thing.fleet.http.guard import FileToken

SHORT = 2.0
"""A TTL with which little time passes until a thing is late, seconds."""

WATCH = """
window.shown = {};
const look = () => {
    for (const row of document.querySelectorAll('#things tbody tr')) {
        const name = row.querySelector('.open').textContent;
        const status = row.querySelector('.c-status').textContent;
        window.shown[`${name} ${status}`] ??= Date.now() / 1000;
    }
};
new MutationObserver(look).observe(document.querySelector('#things tbody'),
    {childList: true, subtree: true, characterData: true, attributes: true});
"""
"""Notes the time at which a thing is first shown with a status."""


KEY = """
const event = new KeyboardEvent('keydown', {bubbles: true, ...arguments[0]});
document.activeElement.dispatchEvent(event);
"""
"""Presses a key, with more said of it than a keyboard says."""

CUT = """
return [...document.querySelectorAll('#things thead button')].filter(one => {
    one.click();
    return one.checkVisibility() && one.parentElement.scrollWidth > one.parentElement.clientWidth;
}).map(one => one.textContent);
"""
"""Which headings have not enough room, when they say that it is sorted by them."""


class LifeTests(PageCase):
    """What happens to things is on the page at once."""

    async def test_appearsIsLateAndFlatLined(self) -> None:
        """
        A thing appears, misses its heartbeat, and is flat-lined, and the page shows each: when
        it is told, and not when it asks again, which is of no use here. Each of them is
        there within a second, at least once in three tries on a busy machine.
        """
        await self.open()
        await self.untilText("empty-title", "No thing is here yet")
        await self.browser.run(WATCH)
        self.presence.held = True
        slowest = []
        for number in range(3):
            slowest.append(await self.liveAndDie(f"lamp-{number}"))
            if slowest[-1] < 1.0:
                break
        self.assertLess(min(slowest), 1.0)
        await self.untilFeed("lamp-0", "joined", "late", "flat-lined", "HEARTBEAT_MISSED")

    async def liveAndDie(self, name: str) -> float:
        """A thing comes, and is frozen; how long the page took for the slowest event, seconds."""
        lamp = await self.connect(name, SHORT)
        await self.untilStatus(name, "present")
        lamp.time.stop()
        await self.untilStatus(name, "flat-lined")
        shown = await self.browser.run("return window.shown")
        told = {fed.event.kind: fed.event.at for fed in self.told if fed.event.id == name}
        words = {Kind.JOINED: "present", Kind.LATE: "late", Kind.LEFT: "flat-lined"}
        return max(shown[f"{name} {word}"] - told[kind] for kind, word in words.items())

    async def test_heartbeats(self) -> None:
        """The heartbeats that were seen are drawn, and told in words."""
        await self.connect("lamp", SHORT)
        await self.open()
        await self.browser.until(
            "const label = document.querySelector('#things .spark')?.getAttribute('aria-label');"
            "return /^[2-9] beats, round trip [0-9.]+ ms to [0-9.]+ ms$/.test(label)"
        )
        line = "return document.querySelector('#things .spark .line').getAttribute('d')"
        self.assertRegex(await self.browser.run(line), r"^M[0-9. ]+L")

    async def test_messages(self) -> None:
        """What a thing says is told; it is text, whatever it looks like."""
        lamp = await self.connect("lamp")
        await self.open()
        lamp.sendMessage(b"<b>21.5</b> \xe2\x80\xae degrees")
        await self.untilFeed("says", "lamp", "“<b>21.5</b> ⟨U+202E⟩ degrees”")
        lamp.sendMessage(b"m" * 9000)
        await self.untilFeed("“" + "m" * 300 + " … (9,000 characters)”")
        lamp.sendMessage(b"\xff")
        await self.untilFeed("octets, base64: /w==")

    async def test_lastWord(self) -> None:
        """A thing's last word is told when it is lost, and the ends are counted by reason."""
        lamp = await self.connect("lamp")
        lamp.setLastWord(b"the battery is empty")
        await self.open()
        lamp.abort()
        await self.untilFeed("last word", "“the battery is empty”")
        await self.browser.until(
            "return document.querySelector('#legend').innerText.trim() !== ''"
            " && document.querySelectorAll('#chart rect').length > 0"
        )

    async def test_hidden(self) -> None:
        """A page that is not seen asks nothing, and asks at once when it is seen again."""
        await self.open()
        hide = """
            const hidden = {get: () => arguments[0], configurable: true};
            Object.defineProperty(document, 'hidden', hidden);
            document.dispatchEvent(new Event('visibilitychange'));
        """
        await self.browser.run(hide, True)
        asked = self.presence.asked
        await self.connect("lamp")
        await self.untilNames("lamp")  # It is told, not asked.
        self.assertEqual(self.presence.asked, asked)
        await self.browser.run(hide, False)
        while self.presence.asked == asked:
            await deferLater(reactor, 0.05)


class TableTests(PageCase):
    """The table: what is in it, and what the user makes of it."""

    async def test_search(self) -> None:
        """What is typed is searched for; if nothing is found, that is said, and undone."""
        for name in ("door", "lamp-1", "lamp-2"):
            await self.connect(name)
        await self.open()
        await self.untilNames("door", "lamp-1", "lamp-2")
        await self.browser.press("/", "LAMP")
        await self.untilNames("lamp-1", "lamp-2")
        await self.connect("lamp-3")
        await self.connect("gate")
        await self.untilNames("lamp-1", "lamp-2", "lamp-3")
        await self.browser.press("x")
        await self.untilText("empty-title", "No thing matches")
        await self.browser.run("document.querySelector('#clear').click()")
        await self.untilNames("door", "gate", "lamp-1", "lamp-2", "lamp-3")

    async def test_status(self) -> None:
        """Those that are gone are shown if they are asked for, with the reason."""
        (await self.connect("door")).abort()
        await self.connect("lamp")
        await self.open()
        await self.untilNames("lamp")
        await self.choose("status", "gone")
        await self.untilNames("door")
        await self.untilStatus("door", "cut off")
        await self.choose("status", "")
        await self.choose("node", "south")
        await self.untilText("empty-title", "No thing matches")

    async def choose(self, id: str, value: str) -> None:
        """Choose one of a list, which it is put into if it is not there."""
        script = """
            const list = document.getElementById(arguments[0]);
            if (![...list.options].some(one => one.value === arguments[1])) {
                list.add(new Option(arguments[1]));
            }
            list.value = arguments[1];
            list.dispatchEvent(new Event('change'));
        """
        await self.browser.run(script, id, value)

    async def test_sort(self) -> None:
        """A column's name sorts by it, the other way at the second time, and says so."""
        for name in ("door", "gate", "lamp"):
            await self.connect(name)
        await self.open()
        await self.untilNames("door", "gate", "lamp")
        click = "document.querySelector('#things th.c-since button').click()"
        await self.browser.run(click)
        await self.untilNames("lamp", "gate", "door")
        await self.browser.run(click)
        await self.untilNames("door", "gate", "lamp")
        sort = "return document.querySelector('#things th.c-since').getAttribute('aria-sort')"
        self.assertEqual(await self.browser.run(sort), "descending")

    async def test_hostileNames(self) -> None:
        """Names are text: no markup, nothing that turns or hides the text, no room but theirs."""
        names = ["<img src=x onerror=alert(1)>", "a" * 500, "gpj.\u202eexe", "  ", "../nodes?#"]
        for name in names:
            await self.connect(name)
        await self.open()
        await self.browser.until("return seen.names().length === 5")
        shown = await self.browser.run("return seen.names()")
        self.assertEqual(
            [name[:60] for name in shown],
            ["⟨blank⟩", "../nodes?#", "<img src=x onerror=alert(1)>", "a" * 60, "gpj.⟨U+202E⟩exe"],
        )
        for name in ("../nodes?#", "<img src=x onerror=alert(1)>"):
            await self.openDetails(name)
            await self.browser.until(
                "return document.querySelector('#facts dd')?.textContent === arguments[0]", name
            )
        for width in (1280, 320):
            await self.browser.emulate(width)
            wide = "return document.documentElement.scrollWidth"
            self.assertLessEqual(await self.browser.run(wide), width)
        self.assertEqual(await self.browser.run("return document.images.length"), 0)
        self.assertEqual(await self.browser.complaints(), [])

    async def test_keyboard(self) -> None:
        """The page can be used without a mouse: search, table, details, and back."""
        for name in ("door", "gate", "lamp"):
            await self.connect(name)
        await self.open()
        await self.untilNames("door", "gate", "lamp")
        await self.browser.press(Keys.TAB)
        await self.untilFocus("Skip to the things")
        await self.browser.press("/")
        await self.untilFocus("search")
        await self.browser.press("lamp")
        await self.untilNames("lamp")
        await self.browser.press(Keys.ENTER)
        await self.untilFocus("lamp")
        await self.browser.press("/", Keys.ESCAPE)
        await self.untilNames("door", "gate", "lamp")
        self.assertEqual(
            await self.browser.run("return document.querySelector('#search').value"), ""
        )
        await self.browser.press("k", Keys.HOME)
        await self.untilFocus("door")
        await self.browser.press("j", Keys.ARROW_DOWN)
        await self.untilFocus("lamp")
        await self.browser.press("k")
        await self.untilFocus("gate")
        await self.browser.press(Keys.ENTER)
        await self.untilFocus("details-title")
        await self.untilText("details-title", "gate")
        await self.browser.press(Keys.ESCAPE)
        await self.untilFocus("gate")
        self.assertTrue(await self.browser.run("return seen.hides('details')"))

    async def test_crowd(self) -> None:
        """
        However many there are and however much happens, the page holds a few: of 5000 things
        one page, and of 5000 events the latest.
        """
        await self.stop()
        crowd: Crowd = await self.serve(Crowd)
        await self.open()
        names = "return seen.loaded() && seen.names()[0] === arguments[0] && seen.names().length"
        self.assertEqual(await self.browser.until(names, "meter-00000"), 50)
        for number in range(crowd.count, 2 * crowd.count):
            crowd.joined(number)
        await self.untilFeed(f"meter-{2 * crowd.count - 1:05}")
        elements = "return document.querySelectorAll('*').length"
        self.assertLess(await self.browser.run(elements), 3000)
        self.assertEqual(await self.browser.until(names, "meter-00000"), 50)
        for button, first in (("next", 50), ("next", 100), ("previous", 50)):
            await self.browser.run("document.getElementById(arguments[0]).click()", button)
            self.assertEqual(await self.browser.until(names, f"meter-{first:05}"), 50)


class DetailTests(PageCase):
    """The details of one thing."""

    async def test_message(self) -> None:
        """A message is sent, and it is told whether the thing took it and what it answered."""
        await self.connect("lamp")
        await self.open()
        await self.untilNames("lamp")
        await self.browser.run("document.querySelector('#things .open').click()")
        await self.browser.run("document.querySelector('#message').focus()")
        await self.browser.press("on <i>please</i>", Keys.TAB, Keys.ENTER)
        await self.untilText("answer", "Acknowledged; it replied:\nyou said on <i>please</i>")

    async def test_draft(self) -> None:
        """
        What was typed stays until the thing's program has it: Escape leaves the box and then the
        thing, and neither that nor an input method's keys empty it; each thing has its own.
        """
        for name in ("door", "lamp"):
            await self.connect(name)
        await self.open()
        await self.untilNames("door", "lamp")
        await self.openDetails("lamp")
        await self.browser.run("document.querySelector('#message').focus()")
        await self.browser.press("half a word")
        for told in ({"isComposing": True}, {"keyCode": 229}):
            await self.browser.run(KEY, {"key": "Escape", **told})
            self.assertEqual(await self.browser.run("return seen.focus()"), "message")
        await self.browser.press(Keys.ESCAPE)
        await self.untilFocus("details-title")
        await self.browser.press(Keys.ESCAPE)
        await self.untilFocus("lamp")
        typed = "return document.querySelector('#message').value"
        for name, text in (("door", ""), ("lamp", "half a word")):
            await self.openDetails(name)
            self.assertEqual(await self.browser.run(typed), text, name)
        await self.browser.run("document.querySelector('#message').focus()")
        await self.browser.run(KEY, {"key": "Enter", "ctrlKey": True, "isComposing": True})
        await self.browser.run(KEY, {"key": "Enter", "ctrlKey": True})
        await self.untilText("answer", "you said half a word")
        self.assertEqual(await self.browser.run(typed), "")

    async def test_noAnswer(self) -> None:
        """If the thing does not answer, the page says that the message may have arrived."""
        lamp = await self.connect("lamp")
        lamp.heard = Deferred()
        await self.open()
        await self.untilNames("lamp")
        await self.openDetails("lamp")
        await self.browser.run("document.querySelector('#message').value = 'on'")
        await self.browser.run("document.querySelector('#send').requestSubmit()")
        self.assertEqual(await lamp.heard, b"on")
        lamp.abort()
        await self.untilText("answer", "may have arrived")

    async def test_leave(self) -> None:
        """A thing is asked to leave once that is confirmed; how it ended is told."""
        await self.connect("lamp")
        await self.open()
        await self.untilNames("lamp")
        await self.openDetails("lamp")
        await self.browser.run("document.querySelector('#leave').click()")
        await self.untilFocus("leave-no")
        self.assertEqual(len(self.presence.local), 1)
        await self.browser.run("document.querySelector('#leave-yes').click()")
        await self.untilText("left", "It is asked to leave.")
        await self.untilStatus("lamp", "left")
        await self.untilText("endings", "both sides said goodbye")

    async def test_address(self) -> None:
        """The page's address keeps what is looked at, for a bookmark."""
        for name in ("door", "lamp"):
            await self.connect(name)
        await self.open()
        await self.browser.press("/", "lamp")
        await self.untilNames("lamp")
        await self.openDetails("door")
        await self.browser.run("location.reload()")
        await self.browser.until("return document.readyState === 'complete'")
        await self.browser.run(LOOK)
        await self.untilNames("lamp")
        await self.untilText("details-title", "door")


class GivingUp(Factory):
    """
    A proxy whose server is away.

    :ivar answer: what it answers.
    """

    noisy = False

    class protocol(Protocol):
        def dataReceived(self, data: bytes) -> None:
            """Answer."""
            self.transport.write(self.factory.answer)
            self.transport.loseConnection()

    def __init__(self, status: str) -> None:
        """:param status: of HTTP."""
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
        self.answer = head.encode() + b"{}"


class LinkTests(PageCase):
    """Between the page and the server."""

    async def test_restart(self) -> None:
        """
        While the server is away the page says so, and shows what it knew; when it is back, so
        is the page, by itself; and it knows that it has missed something.
        """
        lamp = await self.connect("lamp")
        await self.open()
        await self.untilFeed("lamp", "joined")
        port = self.http.getHost().port
        await self.stop()
        await self.browser.until("return seen.state() === 'offline' && !seen.hides('offline')")
        await self.untilText("offline-text", "does not answer. The server was heard last at ")
        self.assertEqual(await self.browser.run("return seen.names()"), ["lamp"])
        self.assertRegex(await self.browser.run("return document.title"), "^Offline")
        lamp.abort()
        self.presence = await self.serve(Held, port)
        await self.connect("door")
        await self.browser.until("return seen.state() === 'live' && seen.hides('offline')")
        await self.untilNames("door")
        await self.untilFeed("events were lost")

    async def test_proxyWithoutServer(self) -> None:
        """
        What a proxy answers in place of a server that is away is not believed: neither that a
        token is wanted, nor that something is there; the page says since when nothing is heard.
        """
        await self.connect("lamp")
        await self.open()
        port = self.http.getHost().port
        for status in ("502 Bad Gateway", "401 Unauthorized", "404 Not Found", "200 OK"):
            await self.stop()
            proxy = await self.listen(port, GivingUp(status))
            said = f"A proxy answers {status[:3]} in place of the server."
            await self.untilText("offline-text", f"{said} The server was heard last at ")
            self.assertEqual(await self.browser.run("return seen.state()"), "offline")
            self.assertEqual(await self.browser.run("return seen.names()"), ["lamp"])
            dialog = "return document.querySelector('#token-dialog').open"
            self.assertFalse(await self.browser.run(dialog))
            await proxy.stopListening()
            self.http = await self.listen(port, self.site)
            await self.browser.until("return seen.state() === 'live' && seen.hides('offline')")

    async def test_token(self) -> None:
        """
        If the server wants a token, the page asks for it, again if it is wrong, keeps it for
        this tab, and forgets it on demand; it is never in the address.
        """
        await self.stop()
        path = self.mktemp()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write("correct-horse-battery-staple\n")
        self.token = FileToken(path)
        self.presence = await self.serve(Held)
        await self.connect("lamp")
        await self.open(live=False)
        await self.browser.until("return document.querySelector('#token-dialog').open")
        await self.untilFocus("token")
        await self.browser.press("wrong-token-of-some-length", Keys.ENTER)
        await self.untilText("token-note", "The server did not take this token.")
        await self.browser.press("correct-horse-battery-staple", Keys.ENTER)
        await self.untilNames("lamp")
        await self.browser.until("return seen.state() === 'live'")
        self.assertNotIn("horse", await self.browser.run("return location.href"))
        await self.browser.run("location.reload()")
        await self.browser.until("return document.readyState === 'complete'")
        await self.browser.run(LOOK)
        await self.untilNames("lamp")
        await self.browser.run("document.querySelector('#forget').click()")
        await self.browser.until("return document.querySelector('#token-dialog').open")
        self.assertEqual(await self.browser.run("return sessionStorage.length"), 0)

    async def test_incomplete(self) -> None:
        """If not all things may be known, the page says so, until they are again."""
        self.presence.complete = False
        await self.open()
        await self.untilText("incomplete-text", "Node north does not reach all of the shared")
        self.assertFalse(await self.browser.run("return seen.hides('incomplete')"))
        self.presence.complete = True
        await self.browser.until("return seen.hides('incomplete')")


class LookTests(PageCase):
    """What the page looks like."""

    async def test_contrast(self) -> None:
        """All text stands out from its ground, in the light and in the dark, as WCAG AA asks."""
        door = await self.connect("door", SHORT)
        await self.connect("lamp")
        (await self.connect("gate")).abort()
        await self.open()
        door.time.stop()
        self.presence.complete = False
        await self.untilStatus("door", "flat-lined")
        await self.openDetails("door")
        grounds = set()
        for scheme in ("light", "dark"):
            await self.browser.emulate(scheme=scheme)
            found = await self.browser.run(CONTRASTS)
            self.assertEqual(found["poor"], [], scheme)
            self.assertGreater(found["seen"], 40)
            ground = "return getComputedStyle(document.documentElement).backgroundColor"
            grounds.add(await self.browser.run(ground))
        self.assertEqual(len(grounds), 2)

    async def test_phone(self) -> None:
        """
        On a phone nothing is wider than the screen, and the thing's status is still there; on no
        screen is a heading cut off.
        """
        await self.connect("a-lamp-with-quite-a-long-name-for-such-a-screen")
        await self.open()
        await self.browser.until("return seen.names().length === 1")
        for width in (1900, 1280, 1000, 700):
            await self.browser.emulate(width)
            self.assertEqual(await self.browser.run(CUT), [], width)
        await self.browser.emulate(320, 640)
        wide = "return document.documentElement.scrollWidth"
        self.assertLessEqual(await self.browser.run(wide), 320)
        meta = "return document.querySelector('#things .meta').innerText"
        self.assertIn("present", await self.browser.run(meta))
        await self.browser.run("document.querySelector('#things .open').click()")
        self.assertLessEqual(await self.browser.run(wide), 320)
        await self.browser.run("document.querySelector('#close').click()")

    async def test_policy(self) -> None:
        """The page needs nothing that its strict policy forbids, nor anything from elsewhere."""
        await self.connect("lamp")
        await self.open()
        await self.untilNames("lamp")
        await self.openDetails("lamp")
        urls = "return performance.getEntriesByType('resource').map(one => one.name)"
        for url in await self.browser.run(urls):
            self.assertTrue(url.startswith(self.url), url)
        self.assertEqual(await self.browser.complaints(), [])
