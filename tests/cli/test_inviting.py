"""``thing invite`` and ``thing invitations`` as users run them, over real HTTP."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.madeup import CLEAR, OWN, answer
from tests.cli.test_commands import HomeCase
from tests.cli.test_fleet_process import ProcessCase
from tests.cli.test_top import Terminal, TerminalCase
from tests.fleet.http.test_invitations import NOBODY
from thing import IdentityKey
from thing.cli.commands import commands
from thing.cli.exits import ExitCode
from thing.cli.inviting import codeLines
from thing.fleet.http.code import codeRows
from thing.trust.invitations import LIFE, Invitation, State
from thing.trust.jointoken import JoinToken

SERVER = ("--server", "thing.example:9000")

MADE = {
    "id": NOBODY,
    "name": "lamp",
    "state": "open",
    "expires": 2_000_000_000,
    "confirm": False,
    "replace": False,
    "fingerprint": "",
    "command": "thing join AAAA",
    "qr": [],
}
"""What a server answers to an invitation."""


class InviteTests(ProcessCase):
    """``thing invite``"""

    async def invite(self, *arguments: str, code: ExitCode = ExitCode.GOODBYE) -> list[str]:
        """Run it; the lines that it wrote."""
        return await self.output("invite", "lamp", *arguments, code=code)

    async def test_line(self) -> None:
        """One line is written, which is the command to type, and nothing else is said."""
        self.serveFleet()
        (line,) = await self.invite(*SERVER)
        token = JoinToken.parse(line.removeprefix("thing join "))
        self.assertEqual(token.servers, ("thing.example:9000",))
        self.assertEqual(token.fingerprints, (self.inviter.key.fingerprint,))
        (made,) = self.inviter.list()
        self.assertEqual((made.id, made.name), (token.invitation, "lamp"))
        self.assertEqual((made.confirm, made.replace), (False, False))
        self.assertEqual(self.said, "")

    async def test_chosen(self) -> None:
        """Several servers, how long it counts, and the rest are as they were chosen."""
        self.serveFleet()
        servers = ("--server", "a.example", "--server", "[2001:db8::1]:1")
        await self.invite(*servers, "--expires", "2d", "--confirm", "--replace")
        (made,) = self.inviter.list()
        self.assertEqual((made.confirm, made.replace), (True, True))
        await self.invite(*SERVER)
        longer = made.expires - self.inviter.list()[1].expires
        self.assertLess(abs(longer - (2 * 86400 - LIFE)), 60)
        self.environment["THING_SERVER"] = "c.example d.example:1"
        (line,) = await self.invite()
        token = JoinToken.parse(line.removeprefix("thing join "))
        self.assertEqual(token.servers, ("c.example:9000", "d.example:1"))

    async def test_code(self) -> None:
        """A QR code goes to standard error, and is that of the token."""
        self.serveFleet()
        (line,) = await self.invite(*SERVER, "--qr")
        rows = codeRows(line.removeprefix("thing join "))
        expected = [re.sub("\x1b[^m]*m", "", each) for each in codeLines(rows)]
        self.assertEqual(self.said.splitlines(), expected)

    async def test_noCode(self) -> None:
        """A token that is too long for a QR code is said to be, and is there all the same."""
        self.serveFleet()
        servers = [f"{letter * 60}.{'x' * 60}.example" for letter in "abcdefgh"]
        chosen = [word for server in servers for word in ("--server", server)]
        (line,) = await self.invite(*chosen, "--qr")
        self.assertEqual(len(JoinToken.parse(line.removeprefix("thing join ")).servers), 8)
        self.assertIn("too long for a QR code", self.said)

    async def test_nameTaken(self) -> None:
        """A name that is taken is refused, with what to do about it."""
        self.serveFleet()
        self.inviter.taken.add("lamp")
        await self.invite(*SERVER, code=ExitCode.NAME_TAKEN)
        self.assertIn("has the name", self.said)
        self.assertIn("--replace", self.said)
        await self.invite(*SERVER, "--replace")
        self.inviter.operators.add("olga")
        await self.output("invite", "olga", *SERVER, "--replace", code=ExitCode.NAME_TAKEN)
        self.assertIn("is an operator's", self.said)
        self.assertNotIn("--replace", self.said)

    async def test_refused(self) -> None:
        """A name that is none is refused, whatever is in it."""
        self.serveFleet()
        for name in ("", f"a{CLEAR}", "a" * 256, b"\xff"):
            await self.output("invite", name, *SERVER, code=ExitCode.USAGE)  # type: ignore[arg-type]
            self.assertIn("name: " if name else "NAME: it is empty", self.said)
        self.assertEqual(self.inviter.list(), [])

    async def test_nobodyInvites(self) -> None:
        """A server that invites nobody says so."""
        self.inviter = None  # type: ignore[assignment]
        self.serveFleet()
        for arguments in (("invite", "lamp", *SERVER), ("invitations",)):
            await self.output(*arguments, code=ExitCode.NOT_TAKEN)
            self.assertIn("invites nobody", self.said)

    async def test_nonsense(self) -> None:
        """A server that answers nonsense has nothing of it typed by a user."""
        for change in (
            {"command": "rm -rf /"},
            {"command": "thing join AAAA\nrm -rf /"},
            {"command": 1},
            {"expires": "soon"},
            {"name": None},
        ):
            self.serveOctets(answer(json.dumps(MADE | change).encode(), "201 Created", OWN))
            self.assertEqual(await self.invite(*SERVER, code=ExitCode.PROTOCOL_ERROR), [])
        for rows in (["1"] * 2, ["12", "01"], [CLEAR]):
            told = json.dumps(MADE | {"qr": rows}).encode()
            self.serveOctets(answer(told, "201 Created", OWN))
            await self.invite(*SERVER, "--qr", code=ExitCode.PROTOCOL_ERROR)

    async def test_request(self) -> None:
        """It is asked for as the API's description has it."""
        self.serveOctets(answer(json.dumps(MADE).encode(), "201 Created", OWN), whole=True)
        await self.invite(*SERVER)
        head, _, body = b"".join(self.requests).partition(b"\r\n\r\n")
        self.assertIn(b"POST /invitations HTTP/1.1", head)
        self.assertIn(b"Content-Type: application/json", head)
        self.assertEqual(
            json.loads(body),
            {
                "name": "lamp",
                "servers": ["thing.example:9000"],
                "lifetime": LIFE,
                "confirm": False,
                "replace": False,
            },
        )


class UsageTests(HomeCase):
    """What is typed wrong."""

    def test_wrong(self) -> None:
        """It is told before anybody is asked."""
        for arguments in (
            ("invite",),
            ("invite", "lamp"),
            ("invite", "", *SERVER),
            ("invite", "lamp", "--server", "a:0"),
            ("invite", "lamp", "--server", "unix:/run/thing"),
            ("invite", "lamp", "--server", "tcp:a:1"),
            ("invite", "lamp", *SERVER, "--expires", "0"),
            ("invite", "lamp", *SERVER, "--expires", "1w"),
            ("invite", "lamp", *SERVER, "--expires", "-1h"),
            ("invite", "lamp", *SERVER, "--expires", "9" * 400),
            ("invitations", "--withdraw", NOBODY, "--confirm", NOBODY),
            ("invitations", "--key", "SHA256:"),
            ("invitations", "--withdraw", "../things"),
            ("invitations", "--confirm", "lamp"),
            ("invitations", "--confirm", NOBODY),
        ):
            done = CliRunner().invoke(commands, arguments, catch_exceptions=False)
            self.assertEqual(done.exit_code, ExitCode.USAGE, (arguments, done.output))


class CodeTests(SynchronousTestCase):
    """How a QR code is drawn."""

    def test_modules(self) -> None:
        """Each sign of a line is two modules, one above the other; there is a light margin."""
        rows = codeRows("A" * 140)
        lines = [re.sub("\x1b[^m]*m", "", line) for line in codeLines(rows)]
        halves = {" ": "11", "\u2584": "10", "\u2580": "01", "\u2588": "00"}
        found = ["".join(halves[sign][half] for sign in line) for line in lines for half in (0, 1)]
        width = len(rows) + 4
        self.assertEqual({len(row) for row in found}, {width})
        self.assertEqual([row[2:-2] for row in found[2 : 2 + len(rows)]], rows)
        self.assertEqual(found[:2] + found[2 + len(rows) :][:2], ["0" * width] * 4)
        self.assertEqual({row[:2] + row[-2:] for row in found[: len(rows) + 4]}, {"0000"})


class InvitationsTests(ProcessCase):
    """``thing invitations``"""

    async def made(self, name: str = "lamp", claimedBy: Any = None, **more: Any) -> Invitation:
        """An invitation; a key may have come with it."""
        made = await self.inviter.make(name, **more)
        return made if claimedBy is None else await self.inviter.claim(made.id, claimedBy.publicKey)

    async def test_list(self) -> None:
        """Each has a line: its id, its name, what has become of it, how long, and its key."""
        self.serveFleet()
        key = IdentityKey.generate()
        ids = [
            (await self.made("a")).id,
            (await self.made("b", confirm=True)).id,
            (await self.made("c", key, confirm=True)).id,
            (await self.made("\u96fb\u7403", key)).id,
        ]
        await self.inviter.use(ids[3], key.publicKey)
        heading, *lines = await self.output("invitations")
        self.assertEqual(re.split("  +", heading), ["ID", "NAME", "STATE", "COUNTS FOR", "KEY"])
        self.assertEqual([line.split()[0] for line in lines], ids)
        for line, pattern in zip(
            lines,
            (
                "  a +open +(1h00m|59m[0-9]+s)  -$",
                "  b +open, asks +",
                f"  c +waits for a yes +.*{re.escape(key.fingerprint)}$",
                "  \u96fb\u7403 +has joined +",
            ),
            strict=True,
        ):
            self.assertRegex(line, pattern)
        found = [json.loads(line) for line in await self.output("invitations", "--json")]
        self.assertEqual([each["id"] for each in found], ids)
        self.assertNotIn("secret", str(found))

    async def test_withdraw(self) -> None:
        """One that is withdrawn counts no more; there is none of that id then."""
        self.serveFleet()
        made = await self.made()
        self.assertEqual(await self.output("invitations", "--withdraw", made.id), [])
        self.assertEqual(self.inviter.list(), [])
        await self.output("invitations", "--withdraw", made.id, code=ExitCode.OVER)
        self.assertIn("no such invitation", self.said)

    async def test_confirm(self) -> None:
        """Without a terminal the key is named; another one than has come is refused."""
        self.serveFleet()
        key, other = IdentityKey.generate(), IdentityKey.generate()
        made = await self.made(confirm=True)
        yes = ("invitations", "--confirm", made.id, "--key")
        await self.output(*yes, key.fingerprint, code=ExitCode.OTHER_KEY)
        self.assertIn("nobody has come", self.said.lower())
        await self.inviter.claim(made.id, key.publicKey)
        await self.output(*yes, other.fingerprint, code=ExitCode.OTHER_KEY)
        await self.output(*yes, "SHA256:x", code=ExitCode.USAGE)
        await self.output("invitations", "--confirm", made.id, code=ExitCode.USAGE)
        self.assertEqual(self.inviter.list()[0].state, State.WAITING)
        await self.output(*yes, key.fingerprint)
        self.assertEqual(self.inviter.list()[0].state, State.CLAIMED)
        gone = ("invitations", "--confirm", NOBODY, "--key", key.fingerprint)
        await self.output(*gone, code=ExitCode.OVER)

    async def test_steering(self) -> None:
        """What a server tells steers no terminal."""
        told = {"invitations": [MADE | {"name": CLEAR, "state": CLEAR, "fingerprint": CLEAR}]}
        self.serveOctets(answer(json.dumps(told).encode(), "200 OK", OWN))
        self.assertEqual(len(await self.output("invitations")), 2)


class AskingTests(TerminalCase):
    """Whether a key is admitted is asked on a terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.theirs = IdentityKey.generate()

    async def begin(self) -> tuple[Terminal, Invitation]:
        """Invite somebody, and have a key come."""
        self.serveFleet()
        words = ("invite", "lamp", "--confirm", *SERVER)
        terminal = self.onTerminal("-m", "thing.cli", *words, size=(200, 24))
        await terminal.shows("waiting for its key")
        (made,) = self.inviter.list()
        return terminal, made

    async def test_yes(self) -> None:
        """The command waits for the key, shows its fingerprint, and says yes to it."""
        terminal, made = await self.begin()
        await self.inviter.claim(made.id, self.theirs.publicKey)
        await terminal.shows(rf"the key {re.escape(self.theirs.fingerprint)}\.")
        await terminal.shows(r"Is that its key\? \[y/N\]:")
        self.assertEqual(self.inviter.list()[0].state, State.WAITING)
        terminal.press("y\n")
        self.assertEqual(await terminal.ended, ExitCode.GOODBYE, terminal.text)
        self.assertEqual(self.inviter.list()[0].state, State.CLAIMED)
        self.assertRegex(terminal.text, r"(?m)^thing: until 20.* one thing can join by it as lamp$")

    async def test_no(self) -> None:
        """Who says no turns the key away."""
        terminal, made = await self.begin()
        await self.inviter.claim(made.id, self.theirs.publicKey)
        await terminal.shows(r"\[y/N\]:")
        terminal.press("\n")
        self.assertEqual(await terminal.ended, ExitCode.OVER, terminal.text)
        self.assertEqual(self.inviter.list(), [])

    async def test_code(self) -> None:
        """A QR code is drawn on a terminal that is wide enough, light on dark."""
        self.serveFleet()
        words = ("-m", "thing.cli", "invite", "lamp", "--qr", *SERVER)
        terminal = self.onTerminal(*words, size=(80, 50))
        self.assertEqual(await terminal.ended, ExitCode.GOODBYE, terminal.text)
        (token,) = re.findall(rb"thing join ([\w-]+)", terminal.out)
        drawn = "\r\n".join(codeLines(codeRows(token.decode())))
        self.assertIn(drawn.encode(), terminal.out)
        terminal = self.onTerminal(*words, size=(40, 50))
        self.assertEqual(await terminal.ended, ExitCode.GOODBYE, terminal.text)
        self.assertIn("too narrow", terminal.text)

    async def test_elsewhere(self) -> None:
        """Who has said yes elsewhere is not asked; who has withdrawn it, neither."""
        terminal, made = await self.begin()
        await self.inviter.claim(made.id, self.theirs.publicKey)
        await self.inviter.confirm(made.id, self.theirs.fingerprint)
        self.assertEqual(await terminal.ended, ExitCode.GOODBYE, terminal.text)
        await self.inviter.withdraw(made.id)
        terminal, made = await self.begin()
        await self.inviter.withdraw(made.id)
        self.assertEqual(await terminal.ended, ExitCode.OVER, terminal.text)

    async def test_interrupted(self) -> None:
        """Who does not want to wait finds the invitation among the others."""
        terminal, made = await self.begin()
        terminal.signal(signal.SIGINT)
        self.assertEqual(await terminal.ended, ExitCode.INTERRUPTED, terminal.text)
        await self.inviter.claim(made.id, self.theirs.publicKey)
        words = ("invitations", "--confirm", made.id)
        terminal = self.onTerminal("-m", "thing.cli", *words, size=(200, 24))
        await terminal.shows(r"\[y/N\]:")
        terminal.press("n\n")
        self.assertEqual(await terminal.ended, ExitCode.WAITING, terminal.text)
        terminal = self.onTerminal("-m", "thing.cli", *words, size=(200, 24))
        await terminal.shows(r"\[y/N\]:")
        terminal.press("y\n")
        self.assertEqual(await terminal.ended, ExitCode.GOODBYE, terminal.text)
        self.assertEqual(self.inviter.list()[0].state, State.CLAIMED)
