"""The page's invitations in a headless browser, with a server that makes them up."""

from __future__ import annotations

import time
from typing import Any

from selenium.webdriver.common.keys import Keys

from tests.fleet.http.pages import CONTRASTS, PageCase
from thing.fleet.http.answers import Answer, Problem, jsonAnswer
from thing.fleet.http.routes import Call, Route

SECRET = "AQIDBAUGBwg-" + "s3cr_t" * 20
COMMAND = f"thing join {SECRET}"
FINGERPRINT = "SHA256:" + "a" * 43

WHEREABOUTS = """
const fields = [...document.querySelectorAll('input, textarea')].map(one => one.value);
const asked = performance.getEntriesByType('resource').map(one => one.name);
return [document.documentElement.outerHTML, location.href, document.cookie,
    JSON.stringify({...sessionStorage}), JSON.stringify({...localStorage}),
    JSON.stringify(history.state), ...fields, ...asked].join('\\n');
"""
"""All in which a browser could keep something of a page."""


class Invitations:
    """
    Makes invitations up.

    :ivar known: what is told of each, by id.
    :ivar asked: what was asked, in order.
    """

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.asked: list[Any] = []

    def add(self, name: str, **changes: Any) -> str:
        """An invitation that was made elsewhere; its id."""
        id = f"{len(self.known) + 1:016x}"
        self.known[id] = {
            "id": id,
            "name": name,
            "servers": ["localhost:1"],
            "state": "open",
            "expires": time.time() + 3600,
            "confirm": False,
            "replace": False,
            "fingerprint": None,
            **changes,
        }
        return id

    async def _list(self, call: Call) -> Answer:
        return jsonAnswer({"invitations": list(self.known.values())})

    async def _make(self, call: Call) -> Answer:
        wish = call.object()
        self.asked.append(dict(wish))
        if wish["name"] == "taken":
            raise Problem(409, "The name is taken.")
        expires = time.time() + wish.pop("expires")
        id = self.add(**wish, expires=expires)
        told = {"id": id, "name": wish["name"], "token": SECRET, "command": COMMAND}
        return jsonAnswer({**told, "expires": expires, "qr": ["101", "010", "111"]}, 201)

    async def _withdraw(self, call: Call) -> Answer:
        self.asked.append(("withdraw", call.id))
        del self.known[call.id]
        return jsonAnswer({}, 202)

    async def _confirm(self, call: Call) -> Answer:
        self.asked.append(("confirm", call.id, call.object()))
        self.known[call.id]["state"] = "used"
        return jsonAnswer({})

    def routes(self) -> dict[str, Route]:
        """What answers each path."""
        return {
            "/invitations": Route({b"GET": self._list, b"POST": self._make}),
            "/invitations/{id}": Route({b"DELETE": self._withdraw}),
            "/invitations/{id}/confirmation": Route({b"POST": self._confirm}),
        }


class InviteTests(PageCase):
    """The dialog of the invitations."""

    async def serve(self, kind: type[Any], port: int = 0) -> Any:
        presence = await super().serve(kind, port)
        self.invitations = Invitations()
        self.site.api.routes.known.update(self.invitations.routes())
        return presence

    async def openDialog(self, focus: str = "invite-name") -> None:
        """Open the page and the dialog."""
        await self.open()
        await self.browser.until("return !seen.hides('invite')")
        await self.browser.run("document.querySelector('#invite').focus()")
        await self.browser.press(Keys.ENTER)
        await self.untilFocus(focus)

    async def click(self, selector: str) -> None:
        """Click on the only element like this."""
        click = "document.querySelector(arguments[0]).click()"
        await self.browser.run(click, selector)

    async def invite(self, name: str) -> None:
        """Have an invitation made, with the keyboard alone."""
        await self.browser.press(name, Keys.TAB, "a.example:1 b.example:2", Keys.ENTER)

    async def inviteLamp(self) -> None:
        """Have one made, and wait until it is shown."""
        await self.openDialog()
        await self.invite("lamp")
        await self.untilFocus("invited-title")

    async def test_invite(self) -> None:
        """The command and its code are shown, for what was typed, and the invitation is listed."""
        await self.openDialog()
        await self.click("#invite-confirm")
        await self.browser.run("document.querySelector('#invite-name').focus()")
        await self.invite(" lamp ")
        await self.untilFocus("invited-title")
        await self.untilText("invited-title", "Run this on lamp")
        self.assertEqual(await self.browser.run("return seen.text('invited-command')"), COMMAND)
        code = "return document.querySelector('#invited-code path').getAttribute('d')"
        self.assertTrue((await self.browser.run(code)).startswith("M0 0h1v1h-1zM2 0h1"))
        await self.untilText("invitations", "lamp" + "open for 59 min, with your yes")
        expected = {
            "name": "lamp",
            "servers": ["a.example:1", "b.example:2"],
            "expires": 3600,
            "confirm": True,
            "replace": False,
        }
        self.assertEqual(self.invitations.asked, [expected])
        self.assertEqual(await self.browser.complaints(), [])

    async def test_secretGoes(self) -> None:
        """What is shown once is nowhere any more, however the user leaves it."""
        leaving = {
            "done": "document.querySelector('#invited-done').click()",
            "close": "document.querySelector('#invite-close').click()",
            "escape": "",
        }
        for name, script in leaving.items():
            await self.openDialog()
            await self.invite("lamp")
            await self.untilText("invited-command", COMMAND)
            if script:
                await self.browser.run(script)
            else:
                await self.browser.press(Keys.ESCAPE)
            await self.browser.until("return seen.hides('invited')")
            self.assertNotIn("s3cr_t", await self.browser.run(WHEREABOUTS), name)
            code = "return document.querySelector('#invited-code').childNodes.length"
            self.assertEqual(await self.browser.run(code), 0)
        self.assertEqual(await self.browser.complaints(), [])

    async def test_used(self) -> None:
        """An invitation that somebody has used is shown no more; the list says by which key."""
        await self.inviteLamp()
        (id,) = self.invitations.known
        self.invitations.known[id].update(state="used", fingerprint=FINGERPRINT)
        await self.browser.until("return seen.hides('invited')")
        await self.untilFocus("invitations-title")
        await self.untilText("invitations", "has joined")
        await self.untilText("invitations", FINGERPRINT)
        self.assertNotIn("s3cr_t", await self.browser.run(WHEREABOUTS))

    async def test_refused(self) -> None:
        """Why there is no invitation is told, and what was typed stays."""
        await self.openDialog()
        await self.invite("taken")
        await self.untilText("invite-answer", "The name is taken.")
        name = "return document.querySelector('#invite-name').value"
        self.assertEqual(await self.browser.run(name), "taken")
        self.assertTrue(await self.browser.run("return seen.hides('invited')"))

    async def test_confirm(self) -> None:
        """A key that waits is announced; it is admitted by the fingerprint that is shown."""
        await self.open()
        id = self.invitations.add("lamp", state="waiting", fingerprint=FINGERPRINT)
        await self.untilText("invite", "Invite (1 waiting)")
        await self.untilText("spoken", "1 invited key waiting for your yes")
        await self.click("#invite")
        await self.untilFocus("invitations-title")
        await self.untilText("invitations", FINGERPRINT)
        await self.browser.press(Keys.TAB)
        await self.untilFocus("Yes, admit lamp")
        await self.browser.press(Keys.ENTER)
        await self.untilText("invitations-answer", "The key is admitted.")
        asked = ("confirm", id, {"fingerprint": FINGERPRINT})
        self.assertEqual(self.invitations.asked, [asked])
        await self.untilText("invitations", "has joined")
        await self.browser.until("return seen.text('invite') === 'Invite'")

    async def test_withdraw(self) -> None:
        """An invitation is withdrawn, and a key that waits is turned away by the same."""
        waits = self.invitations.add("door", state="waiting", fingerprint=FINGERPRINT)
        opened = self.invitations.add("lamp")
        await self.openDialog("invitations-title")
        await self.browser.press(Keys.TAB, Keys.TAB)
        await self.untilFocus("No, turn away door")
        await self.browser.press(Keys.ENTER)
        await self.browser.until("return !seen.text('invitations').includes('door')")
        await self.untilFocus("invitations-title")
        await self.browser.press(Keys.TAB)
        await self.untilFocus("Withdraw lamp")
        await self.browser.press(Keys.ENTER)
        await self.browser.until("return !seen.hides('no-invitation')")
        self.assertEqual(self.invitations.asked, [("withdraw", waits), ("withdraw", opened)])

    async def test_copy(self) -> None:
        """The command is copied, or selected where the browser lets no page copy."""
        await self.inviteLamp()
        take = """
            Object.defineProperty(navigator, 'clipboard',
                {value: {writeText: (text) => { window.copied = text; }}, configurable: true});
        """
        await self.browser.run(take)
        await self.click("#invited-copy")
        await self.untilText("invited-copied", "Copied.")
        self.assertEqual(await self.browser.run("return window.copied"), COMMAND)
        refuse = "Object.defineProperty(navigator, 'clipboard', {value: undefined})"
        await self.browser.run(refuse)
        await self.click("#invited-copy")
        await self.untilText("invited-copied", "It is selected")
        self.assertEqual(await self.browser.run("return String(getSelection())"), COMMAND)

    async def test_hostileNames(self) -> None:
        """Whatever is in a name or a fingerprint, it is text."""
        for name in ("<img src=x onerror=alert(1)>", "gpj.\u202eexe", " "):
            self.invitations.add(name, state="waiting", fingerprint=f"{name}!")
        await self.openDialog("invitations-title")
        await self.untilText("invitations", "<img src=x onerror=alert(1)>!")
        await self.untilText("invitations", "gpj.⟨U+202E⟩exe!")
        self.assertEqual(await self.browser.run("return document.images.length"), 0)
        self.assertEqual(await self.browser.complaints(), [])

    async def test_keys(self) -> None:
        """The keys of the page do nothing behind the dialog; Escape closes the dialog alone."""
        await self.connect("lamp")
        await self.openDialog()
        await self.browser.run("document.querySelector('#invite-close').focus()")
        await self.browser.press("/")
        await self.untilFocus("invite-close")
        await self.browser.press(Keys.ESCAPE)
        await self.browser.until("return !document.querySelector('#invite-dialog').open")
        await self.untilFocus("invite")

    async def test_look(self) -> None:
        """Its text stands out from its ground, and it fits on a telephone."""
        for state in ("waiting", "claimed", "used"):
            self.invitations.add(f"a-lamp-with-quite-a-long-name-{state}", state=state)
        self.invitations.add("old", expires=time.time() - 1)
        await self.openDialog("invitations-title")
        await self.invite("taken")
        await self.browser.run("document.querySelector('#invite-name').focus()")
        await self.invite("lamp")
        await self.untilFocus("invited-title")
        await self.untilText("invitations", "ran out")
        for scheme in ("light", "dark"):
            await self.browser.emulate(scheme=scheme)
            self.assertEqual((await self.browser.run(CONTRASTS))["poor"], [], scheme)
        await self.browser.emulate(320, 640)
        wide = "const one = document.querySelector('#invite-dialog');"
        wide += "return [one.scrollWidth - one.clientWidth, one.getBoundingClientRect().width]"
        over, width = await self.browser.run(wide)
        self.assertEqual(over, 0)
        self.assertLessEqual(width, 320)


class NoInvitationsTests(PageCase):
    """A server that invites nobody."""

    async def test_absent(self) -> None:
        """There is no word of invitations, and the page asks for them no more."""
        await self.connect("lamp")
        await self.open()
        await self.untilNames("lamp")
        self.assertTrue(await self.browser.run("return seen.hides('invite')"))
        asked = "return performance.getEntriesByType('resource')"
        asked += ".filter(one => one.name.endsWith('/invitations')).length"
        await self.browser.run("performance.clearResourceTimings()")
        things = asked.replace("endsWith('/invitations')", "includes('/things')")
        await self.browser.until(f"{things} > 1")
        self.assertEqual(await self.browser.run(asked), 0)
