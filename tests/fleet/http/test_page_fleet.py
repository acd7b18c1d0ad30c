"""The page, in a headless browser: what was, many things at once, and what a viewer sees."""

from __future__ import annotations

from selenium.webdriver.common.keys import Keys

from tests.fleet.http.pages import LOOK, Held, PageCase
from tests.trust.test_keys import write
from thing.fleet import history
from thing.fleet.http.guard import FileToken

CLICK = "document.querySelector(arguments[0]).click()"
SHOWN = "return document.querySelector(arguments[0]).checkVisibility()"


class FleetCase(PageCase):
    """Tests of the whole fleet."""

    async def click(self, selector: str) -> None:
        """Click on an element."""
        await self.browser.run(CLICK, selector)

    async def reload(self) -> None:
        """Open the page anew, with what the browser has kept."""
        await self.browser.run("location.reload()")
        await self.browser.until("return document.readyState === 'complete'")
        await self.browser.run(LOOK)


class HistoryTests(FleetCase):
    """What was."""

    async def setUp(self) -> None:
        self.patch(history, "TICK", 0.1)
        await super().setUp()

    async def test_history(self) -> None:
        """
        The charts are told in words, point by point with the keyboard, and as a table; who hides
        them finds them hidden again.
        """
        await self.connect("lamp")
        await self.open()
        label = "document.querySelector('#charts svg').getAttribute('aria-label')"
        await self.browser.until(
            f"return /^Sessions: now 1, from [01] to 1, last hour/.test({label})"
        )
        await self.browser.run("document.querySelector('#moment').focus()")
        await self.browser.press(Keys.HOME)
        await self.browser.until("return /^[0-9:]{8}$/.test(seen.text('moment-text'))")
        text = "return document.querySelector('#moment').getAttribute('aria-valuetext')"
        self.assertRegex(await self.browser.run(text), "^[0-9:]{8}$")
        await self.browser.press(Keys.END)
        await self.untilText("moment-text", "now")
        await self.click("#as-table")
        rows = "return document.querySelectorAll('#points tbody tr').length"
        self.assertGreater(await self.browser.run(rows), 0)
        await self.click("#fold")
        await self.reload()
        self.assertFalse(await self.browser.run(SHOWN, "#past"))
        await self.click("#fold")
        await self.untilText("history-note", "of node north")
        self.assertTrue(await self.browser.run(SHOWN, "#past"))


class ManyTests(FleetCase):
    """Many things at once."""

    async def test_bulk(self) -> None:
        """
        Things are chosen with the mouse and the keyboard, are sent a message, are asked to leave
        once that is confirmed, and are forgotten when they are gone; how it went is told of each.
        """
        for name in ("<b>door</b>", "gate", "lamp"):
            await self.connect(name)
        (await self.connect("pipe")).abort()
        await self.open()
        await self.untilNames("<b>door</b>", "gate", "lamp")
        await self.browser.run("document.querySelector('#things .pick').focus()")
        await self.browser.press(" ", "j", "x")
        await self.untilText("bulk-count", "2 things chosen")
        await self.click("#bulk-send")
        await self.untilFocus("bulk-message")
        await self.browser.press("hello", Keys.TAB, Keys.TAB, Keys.ENTER)
        await self.untilText("bulk-answer", "2 of 2 things: done")
        await self.untilText("bulk-list", "<b>door</b>replied: you said hello")
        await self.click("#bulk-close")
        await self.untilFocus("scroll")
        await self.click("#pick-all")
        await self.untilText("bulk-count", "3 things chosen")
        await self.click("#bulk-leave")
        self.assertEqual(len(self.presence.local), 3)
        await self.click("#bulk-yes")
        await self.untilText("bulk-answer", "3 of 3 things: done")
        await self.browser.press(Keys.ESCAPE)
        await self.browser.until("return seen.hides('bulk')")
        await self.untilStatus("gate", "left")
        choose = "const list = document.querySelector('#status'); list.value = 'gone';"
        await self.browser.run(f"{choose} list.dispatchEvent(new Event('change'))")
        await self.untilNames("<b>door</b>", "gate", "lamp", "pipe")
        await self.click("#pick-all")
        await self.click("#bulk-forget")
        await self.click("#bulk-yes")
        await self.untilText("bulk-answer", "4 of 4 things: done")
        await self.untilText("empty-title", "No thing matches")

    async def test_columns(self) -> None:
        """Columns are left out as the user likes, and are again when the page is opened again."""
        await self.connect("lamp")
        await self.open()
        await self.untilNames("lamp")
        self.assertTrue(await self.browser.run(SHOWN, "#things td.c-node"))
        await self.click("#columns summary")
        await self.click("#columns label:nth-of-type(2) input")
        self.assertFalse(await self.browser.run(SHOWN, "#things td.c-node"))
        await self.browser.press(Keys.ESCAPE)
        self.assertFalse(await self.browser.run("return document.querySelector('#columns').open"))
        await self.reload()
        await self.untilNames("lamp")
        self.assertFalse(await self.browser.run(SHOWN, "#things td.c-node"))
        self.assertTrue(await self.browser.run(SHOWN, "#things td.c-since"))


class ViewerTests(FleetCase):
    """Who may only look."""

    async def test_viewer(self) -> None:
        """With the second token everything is seen, and nothing is there that would be refused."""
        await self.stop()
        self.token, self.viewToken = (
            FileToken(write(self.mktemp(), text)) for text in (b"a" * 20, b"b" * 20)
        )
        self.presence = await self.serve(Held)
        await self.connect("lamp")
        await self.open(live=False)
        await self.browser.until("return document.querySelector('#token-dialog').open")
        await self.browser.press("b" * 20, Keys.ENTER)
        await self.untilNames("lamp")
        await self.browser.until("return !seen.hides('viewing')")
        await self.openDetails("lamp")
        await self.browser.until("return document.querySelector('#facts dd')")
        shown = (
            "return [...document.querySelectorAll('.acts')].filter(one => one.checkVisibility())"
        )
        self.assertEqual(await self.browser.run(f"{shown}.length"), 0)
        await self.browser.press(Keys.ESCAPE, "x")
        self.assertTrue(await self.browser.run("return seen.hides('bulk')"))
        refused = [note for note in await self.browser.complaints() if "401" not in note]
        self.assertEqual(refused, [])
