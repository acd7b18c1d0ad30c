"""The page's invitations in a headless browser, with real ones in a file."""

from __future__ import annotations

import time

from selenium.webdriver.common.keys import Keys
from twisted.internet import reactor

from tests.docs.test_docs import FINGERPRINT, TWISTD, DocumentedPrograms
from tests.fleet.http.browser import MISSING, Browser
from tests.fleet.http.pages import CONTRASTS, LOOK, PageCase
from tests.fleet.inviter import MadeUpInviter
from thing import IdentityKey
from thing.identity import fingerprint
from thing.trust.jointoken import JoinToken

WHEREABOUTS = """
const fields = [...document.querySelectorAll('input, textarea')].map(one => one.value);
const asked = performance.getEntriesByType('resource').map(one => one.name);
return [document.documentElement.outerHTML, location.href, document.cookie,
    JSON.stringify({...sessionStorage}), JSON.stringify({...localStorage}),
    JSON.stringify(history.state), ...fields, ...asked].join('\\n');
"""
"""All in which a browser could keep something of a page."""


RAW_KEY = bytes(32)
ITS_PRINT = fingerprint(RAW_KEY)


class InviteTests(PageCase):
    """The dialog of the invitations."""

    async def setUp(self) -> None:
        self.inviter = self.invitations = MadeUpInviter(self.mktemp(), time.time, reactor)
        self.invitations.taken.add("taken")
        await super().setUp()

    async def claimed(self, name: str, **choices: bool) -> str:
        """An invitation that a key has come with; its id."""
        made = await self.invitations.make(name, **choices)
        await self.invitations.claim(made.id, RAW_KEY)
        return made.id

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

    async def command(self) -> str:
        """The command that is shown."""
        command: str = await self.browser.run("return seen.text('invited-command')")
        return command

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
        word, command, token = (await self.command()).split(" ")
        self.assertEqual((word, command), ("thing", "join"))
        self.assertEqual(JoinToken.parse(token).servers, ("a.example:1", "b.example:2"))
        code = "return document.querySelector('#invited-code path').getAttribute('d')"
        finder = "M0 0h7v1h-7z"  # The first row of the mark in the corner of every code.
        self.assertTrue((await self.browser.run(code)).startswith(finder))
        await self.untilText("invitations", "lampopen for 59 min, with your yes")
        (made,) = self.invitations.list()
        self.assertEqual((made.name, made.confirm, made.replace), ("lamp", True, False))
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
            await self.untilFocus("invited-title")
            secret = (await self.command()).partition(" join ")[2]
            self.assertIn(secret, await self.browser.run(WHEREABOUTS))
            if script:
                await self.browser.run(script)
            else:
                await self.browser.press(Keys.ESCAPE)
            await self.browser.until("return seen.hides('invited')")
            self.assertNotIn(secret, await self.browser.run(WHEREABOUTS), name)
            code = "return document.querySelector('#invited-code').childNodes.length"
            self.assertEqual(await self.browser.run(code), 0)
        self.assertEqual(await self.browser.complaints(), [])

    async def test_used(self) -> None:
        """An invitation that somebody has used is shown no more; the list says by which key."""
        await self.inviteLamp()
        secret = await self.command()
        (made,) = self.invitations.list()
        await self.invitations.claim(made.id, RAW_KEY)
        await self.invitations.use(made.id, RAW_KEY)
        await self.browser.until("return seen.hides('invited')")
        await self.untilFocus("invitations-title")
        await self.untilText("invitations", "has joined")
        await self.untilText("invitations", ITS_PRINT)
        self.assertNotIn(secret, await self.browser.run(WHEREABOUTS))

    async def test_refused(self) -> None:
        """Why there is no invitation is told, and what was typed stays."""
        await self.openDialog()
        await self.invite("taken")
        await self.untilText("invite-answer", "A thing has the name 'taken' already.")
        name = "return document.querySelector('#invite-name').value"
        self.assertEqual(await self.browser.run(name), "taken")
        self.assertTrue(await self.browser.run("return seen.hides('invited')"))

    async def test_confirm(self) -> None:
        """A key that waits is announced; it is admitted by the fingerprint that is shown."""
        await self.open()
        id = await self.claimed("lamp", confirm=True)
        await self.browser.run("window.dispatchEvent(new Event('online'))")  # Ask now.
        await self.untilText("invite", "Invite (1 waiting)")
        await self.untilText("spoken", "1 invited key waiting for your yes")
        await self.click("#invite")
        await self.untilFocus("invitations-title")
        await self.untilText("invitations", ITS_PRINT)
        await self.browser.press(Keys.TAB)
        await self.untilFocus("Yes, admit lamp")
        await self.browser.press(Keys.ENTER)
        await self.untilText("invitations-answer", "The key is admitted.")
        await self.untilText("invitations", "a key is about to join")
        await self.untilFocus("invitations-title")
        await self.invitations.use(id, RAW_KEY)  # Only what was said yes to can be.
        await self.untilText("invitations", "has joined")
        await self.browser.until("return seen.text('invite') === 'Invite'")

    async def test_waitsMeanwhile(self) -> None:
        """That a key waits is said within the dialog while it is open: all else is out of reach."""
        await self.openDialog()
        await self.claimed("lamp", confirm=True)
        await self.untilText("invitations-answer", "1 invited key waiting for your yes")
        self.assertEqual(await self.browser.run("return seen.text('spoken')"), "")

    async def test_order(self) -> None:
        """What comes to wait goes to the head of the list, and no button loses the focus."""
        await self.invitations.make("door", life=60)
        lamp = await self.invitations.make("lamp", confirm=True)
        await self.openDialog()
        names = "[...document.querySelectorAll('#invitations strong')].map(one => one.textContent)"
        await self.browser.until(f"return {names}.join() === 'door,lamp'")
        await self.browser.run("document.querySelector('#invitations button').focus()")
        await self.invitations.claim(lamp.id, RAW_KEY)
        await self.browser.until(f"return {names}.join() === 'lamp,door'")
        await self.untilFocus("Withdraw door")

    async def test_withdraw(self) -> None:
        """An invitation is withdrawn, and a key that waits is turned away by the same."""
        await self.claimed("door", confirm=True)
        await self.invitations.make("lamp")
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
        self.assertEqual(self.invitations.list(), [])

    async def test_copy(self) -> None:
        """The command is copied, or selected where the browser lets no page copy."""
        await self.inviteLamp()
        command = await self.command()
        take = """
            Object.defineProperty(navigator, 'clipboard',
                {value: {writeText: (text) => { window.copied = text; }}, configurable: true});
        """
        await self.browser.run(take)
        await self.click("#invited-copy")
        await self.untilText("invited-copied", "Copied.")
        self.assertEqual(await self.browser.run("return window.copied"), command)
        refuse = "Object.defineProperty(navigator, 'clipboard', {value: undefined})"
        await self.browser.run(refuse)
        await self.click("#invited-copy")
        await self.untilText("invited-copied", "It is selected")
        self.assertEqual(await self.browser.run("return String(getSelection())"), command)

    async def test_hostileNames(self) -> None:
        """Whatever is in a name, it is text."""
        name = "<img src=x onerror=alert(1)>"
        await self.claimed(name, confirm=True)
        await self.openDialog("invitations-title")
        await self.untilText("invitations", name)
        await self.browser.run("document.querySelector('#invite-name').focus()")
        await self.invite(name)
        await self.untilText("invited-title", name)
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
        for name in ("waiting", "claimed"):
            await self.claimed(f"a-lamp-with-quite-a-long-name-{name}", confirm=name == "waiting")
        used = await self.claimed("a-lamp-with-quite-a-long-name-used")
        await self.invitations.use(used, RAW_KEY)
        await self.openDialog("invitations-title")
        await self.invite("taken")
        await self.browser.run("document.querySelector('#invite-name').focus()")
        await self.invite("lamp")
        await self.untilFocus("invited-title")
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


class ServerTests(DocumentedPrograms):
    """A server and a thing as people run them, and the page between them."""

    skip = MISSING or None

    async def test_join(self) -> None:
        """
        The command that the page shows waits on the device until the user has said yes on the
        page to the key that the device shows; then the device is a thing of that name.
        """
        (self.directory / "things").touch()
        IdentityKey.generate().save(self.directory / "server_key")
        words = "-n --pidfile= thing --identity server_key --authorized things --status 0 --port"
        server = self.run_("-c", TWISTD, *words.split(), self.moved("tcp:9000"))
        url = (await server.says(r"Status is told at \S+")).split()[-1]
        await server.says("Listening on")
        browser = Browser(reactor)
        await browser.emulate()
        await browser.open(f"{url}/")
        await browser.run(LOOK)
        await browser.until("return !seen.hides('invite')")
        await browser.run("document.querySelector('#invite').click()")
        await browser.run("document.querySelector('#invite-confirm').click()")
        await browser.run("document.querySelector('#invite-name').focus()")
        await browser.press("lamp", Keys.TAB, f"localhost:{self.port}", Keys.ENTER)
        command = await browser.until("return seen.text('invited-command')")
        device = self.run_("-m", "thing.cli", *command.split()[1:])
        key = await device.says(FINGERPRINT)
        await browser.until("return seen.text('invitations').includes(arguments[0])", key)
        self.assertEqual(await browser.run("return seen.text('invited-command')"), "")
        yes = "document.querySelector('#invitations .line:not([hidden]) button').click()"
        await browser.run(yes)
        self.assertEqual(await device.exits(), 0, device.output)
        await browser.until("return seen.text('invitations').includes('has joined')")
        self.assertIn('name="lamp"', (self.directory / "things").read_text())
        self.assertEqual(await browser.complaints(), [])
