"""The open reaches on the page in a headless browser, with a real operator and a real thing."""

from __future__ import annotations

from typing import Any

from selenium.webdriver.common.keys import Keys
from twisted.internet.protocol import Factory, Protocol

from tests.fleet.http.pages import CONTRASTS, PageCase
from tests.fleet.reaching import OperatorsBook
from thing.fleet import MemoryPresence
from thing.fleet.operators import admitOperators
from thing.fleet.reaches import Reaches


class Echo(Protocol):
    """A service that gives back what it gets."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class ReachTests(PageCase):
    """The rows of the open reaches in the details of a thing, and what is told of them."""

    book: OperatorsBook

    makeBook = OperatorsBook

    async def setUp(self) -> None:
        await super().setUp()
        self.lamp = await self.connect("lamp")
        for service in ("ssh", "web"):
            self.lamp.streams.serve(f"reach:{service}", Factory.forProtocol(Echo))
        await self.open()
        await self.openDetails("lamp")

    def reachesOf(self, presence: MemoryPresence) -> Reaches:
        reaches = Reaches(presence.local)
        admitOperators(presence.local.factory, reaches)
        return reaches

    async def reach(self, service: str, by: str = "alice") -> Any:
        """An operator reaches a service; the protocol of the near end."""
        self.book.permits[by] = ("*:*",)
        operator = await self.connect(by)
        endpoint = operator.streams.endpoint(f"reach:{service}:lamp")
        return await endpoint.connect(Factory.forProtocol(Protocol))

    async def focusOnFirst(self) -> None:
        """Go to the button of the first row."""
        await self.browser.run("document.querySelector('#reaches button').focus()")

    async def test_rows(self) -> None:
        """Each open reach is told: which service, who, from where, since when, how much."""
        await self.browser.until("return !seen.hides('no-reach')")
        ssh = await self.reach("ssh")
        await self.untilText("reaches", "sshby alice from 127.0.0.1:")
        await self.untilText("reaches", "0 B to it, 0 B from it")
        self.assertTrue(await self.browser.run("return seen.hides('no-reach')"))
        ssh.transport.write(b"5" * 5000)
        await self.untilText("reaches", "5.0 kB to it, 5.0 kB from it")
        await self.reach("web", by="<b>")
        await self.untilText("reaches", "webby <b> from")
        for scheme in ("light", "dark"):
            await self.browser.emulate(scheme=scheme)
            self.assertEqual((await self.browser.run(CONTRASTS))["poor"], [], scheme)
        await self.browser.emulate(320, 640)
        wide = "return document.documentElement.scrollWidth"
        self.assertLessEqual(await self.browser.run(wide), 320)
        self.assertEqual(await self.browser.complaints(), [])

    async def test_told(self) -> None:
        """That a thing is reached, and how that ended, is among what happens."""
        ssh = await self.reach("ssh")
        await self.untilFeed("is reached", "ssh by alice from 127.0.0.1:")
        ssh.transport.loseConnection()
        await self.untilFeed("reach ended", "0 B to it, 0 B from it: closed")
        await self.browser.until("return !seen.hides('no-reach')")

    async def test_end(self) -> None:
        """A reach is ended by a second click, which the first one asks for; not without."""
        await self.reach("ssh")
        await self.untilText("reaches", "ssh")
        await self.reach("web")
        await self.untilText("reaches", "web")
        await self.focusOnFirst()
        await self.browser.until("return seen.focus().startsWith('End ssh by alice from ')")
        await self.browser.press(Keys.ENTER)
        await self.browser.until("return seen.focus().startsWith('Yes, end ssh by alice from ')")
        await self.browser.press(Keys.TAB)
        await self.browser.until("return seen.focus().startsWith('End web by alice from ')")
        self.assertNotIn("Yes", await self.browser.run("return seen.text('reaches')"))
        await self.browser.press(Keys.ENTER, Keys.ENTER)
        await self.untilText("reach-ended", "It is ended.")
        await self.untilFocus("reaches-title")
        await self.untilFeed("web by alice", "somebody ended it")
        self.assertIn("ssh", await self.browser.run("return seen.text('reaches')"))
