"""The open reaches on the page in a headless browser, with a server that makes them up."""

from __future__ import annotations

import json
import time
from typing import Any

from selenium.webdriver.common.keys import Keys

from tests.fleet.http.pages import CONTRASTS, PageCase
from thing.fleet.http.answers import Answer, Problem, jsonAnswer
from thing.fleet.http.routes import Call, Route

KEY = "SHA256:" + "k" * 43


class Reaches:
    """
    Makes reaches of every thing up.

    :ivar known: what is told of each, by id.
    :ivar ended: the ids of those that were ended.
    """

    def __init__(self, things: Route) -> None:
        """:param things: tells of one thing, without its reaches."""
        self.known: dict[str, dict[str, Any]] = {}
        self.ended: list[str] = []
        self._tell = things.handler(b"GET")

    def add(self, service: str, **changes: Any) -> str:
        """One is opened; its id."""
        id = f"{len(self.known) + 1:016x}"
        self.known[id] = {
            "id": id,
            "thing": "lamp",
            "service": service,
            "by": "alice",
            "key": KEY,
            "from": "192.0.2.7:9",
            "since": time.time() - 90,
            "node": "north",
            "octetsUp": 1000,
            "octetsDown": 2000000,
            **changes,
        }
        return id

    async def thing(self, call: Call) -> Answer:
        """Tell of one thing, and of its reaches."""
        answer = await self._tell(call)
        assert answer is not None
        return jsonAnswer({**json.loads(answer.body), "reaches": list(self.known.values())})

    async def end(self, call: Call) -> Answer:
        """End one."""
        if call.id not in self.known:
            raise Problem(404, "There is no such reach.")
        del self.known[call.id]
        self.ended.append(call.id)
        return jsonAnswer({}, 202)


class ReachTests(PageCase):
    """The rows of the open reaches in the details of a thing."""

    async def setUp(self) -> None:
        await super().setUp()
        known = self.site.api.routes.known
        self.reaches = Reaches(known["/thing"])
        known["/thing"] = Route({b"GET": self.reaches.thing})
        known["/reaches/{id}"] = Route({b"DELETE": self.reaches.end})
        await self.connect("lamp")
        await self.open()
        await self.openDetails("lamp")

    async def test_rows(self) -> None:
        """Each open reach is told: which service, who, from where, since when, how much."""
        await self.browser.until("return !seen.hides('no-reach')")
        ssh = self.reaches.add("ssh")
        await self.untilText("reaches", "sshby alice from 192.0.2.7:9")
        await self.untilText("reaches", "(1 min), 1.0 kB to it, 2.0 MB from it")
        self.assertTrue(await self.browser.run("return seen.hides('no-reach')"))
        self.reaches.known[ssh]["octetsUp"] = 5000
        await self.untilText("reaches", "5.0 kB to it")
        self.reaches.add("web", by="<b>\u202e")
        await self.untilText("reaches", "by <b>⟨U+202E⟩ from")
        for scheme in ("light", "dark"):
            await self.browser.emulate(scheme=scheme)
            self.assertEqual((await self.browser.run(CONTRASTS))["poor"], [], scheme)
        await self.browser.emulate(320, 640)
        wide = "return document.documentElement.scrollWidth"
        self.assertLessEqual(await self.browser.run(wide), 320)
        self.assertEqual(await self.browser.complaints(), [])

    async def test_end(self) -> None:
        """A reach is ended by a second click, which the first one asks for; not without."""
        ssh, web = self.reaches.add("ssh"), self.reaches.add("web")
        await self.untilText("reaches", "web")
        await self.browser.run("document.querySelector('#reaches button').focus()")
        await self.untilFocus("End ssh by alice from 192.0.2.7:9")
        await self.browser.press(Keys.ENTER)
        await self.untilFocus("Yes, end ssh by alice from 192.0.2.7:9")
        await self.browser.press(Keys.TAB)
        await self.untilFocus("End web by alice from 192.0.2.7:9")
        self.assertNotIn("Yes", await self.browser.run("return seen.text('reaches')"))
        await self.browser.press(Keys.ENTER, Keys.ENTER)
        await self.untilText("reach-ended", "It is ended.")
        await self.untilFocus("reaches-title")
        self.assertEqual(self.reaches.ended, [web])
        self.assertIn(ssh, self.reaches.known)

    async def test_gone(self) -> None:
        """A reach that was over before it could be ended is said to be."""
        ssh = self.reaches.add("ssh")
        await self.untilText("reaches", "ssh")
        await self.browser.run("document.querySelector('#reaches button').focus()")
        await self.browser.press(Keys.ENTER)
        self.reaches.known["f" * 16] = self.reaches.known.pop(ssh)
        await self.browser.press(Keys.ENTER)
        await self.untilText("reach-ended", "There is no such reach.")
