"""``thing join`` as users run it: real servers, their invitations, and devices that come."""

from __future__ import annotations

import os
import re
import signal
import stat
from pathlib import Path

from click.testing import CliRunner
from twisted.trial.unittest import TestCase

from tests.cli.test_commands import HomeCase
from tests.daemon.test_twistd import Process, TwistdCase
from tests.trust.test_keys import DirectoryMixin, read, write
from thing import IdentityKey
from thing.cli.commands import commands
from thing.cli.exits import ExitCode
from thing.cli.joining import keyFor
from thing.trust.jointoken import JoinToken, newId, newSecret
from thing.trust.keys import loadPublicKey

FINGERPRINT = r"SHA256:[A-Za-z0-9+/]{43}"


def tokenFor(*servers: str, key: IdentityKey | None = None) -> str:
    """A token that nobody has made."""
    prints = ((key or IdentityKey.generate()).fingerprint,)
    return JoinToken(newId(), newSecret(), prints, servers).encode()


class Server:
    """A server that invites: its process, where things connect, where it is asked."""

    def __init__(self, process: Process, address: str, status: str) -> None:
        self.process = process
        self.address = address
        self.status = status


class JoinCase(TwistdCase):
    """A server's files, and devices with homes of their own."""

    timeout = 120

    def setUp(self) -> None:
        super().setUp()
        self.things = os.path.abspath(self.path("things"))
        write(self.things, b"# things\n")

    async def serve(self, port: str = "0", home: str = "home", things: str = "") -> Server:
        """Start a server; homes have keys."""
        process = self.twistd(
            f"--port=tcp:{port}:interface=127.0.0.1",
            "--status=tcp:0:interface=127.0.0.1",
            f"--authorized={things or self.things}",
            THING_HOME=os.path.abspath(self.path(home)),
        )
        address = (await process.whenLine("Try it: thing connect ")).split("connect ")[1].split()[0]
        status = (await process.whenLine("Status is told at ")).rpartition(" ")[2]
        return Server(process, address, status)

    def command(self, server: Server | None, *arguments: str, home: str = "device") -> Process:
        """Start a command, on a device."""
        environment = {"THING_HOME": os.path.abspath(self.path(home))}
        if server is not None:
            environment["THING_STATUS"] = server.status
        return self.spawn("-m", "thing.cli", *arguments, **environment)

    async def ran(
        self,
        server: Server | None,
        *arguments: str,
        code: ExitCode = ExitCode.GOODBYE,
        home: str = "device",
    ) -> list[str]:
        """Run a command; the lines that it wrote."""
        process = self.command(server, *arguments, home=home)
        self.assertEqual(await process.ended, code, process.output)
        self.assertNotIn("Traceback", process.output)
        return process.lines

    async def invite(self, server: Server, *arguments: str, name: str = "lamp") -> str:
        """Invite a device; its token."""
        where = () if "--server" in arguments else ("--server", server.address)
        (line,) = await self.ran(server, "invite", name, *where, *arguments)
        return line.removeprefix("thing join ")

    def key(self, home: str = "device") -> IdentityKey:
        """A device's key."""
        return IdentityKey.load(os.path.join(self.path(home), "id_ed25519"))

    @property
    def lines(self) -> list[str]:
        """What the server has written to its file."""
        return read(self.things).decode().splitlines()[1:]


class KeyForTests(DirectoryMixin, TestCase):
    """The key that a thing joins with."""

    def test_publicMissing(self) -> None:
        """A key that was left without its public file gets it; where it cannot, it joins, too."""
        key = IdentityKey.generate()
        key.save(self.path())
        os.rename(self.path("id_ed25519.pub"), self.path("moved"))
        os.symlink("nowhere", self.path("id_ed25519.pub"))
        self.assertEqual(keyFor(self.path(), None).publicKey, key.publicKey)
        os.unlink(self.path("id_ed25519.pub"))
        self.assertEqual(keyFor(self.path(), None).publicKey, key.publicKey)
        self.assertEqual(loadPublicKey(self.path("id_ed25519.pub")), key.publicKey)


class WholeTests(JoinCase):
    """Devices that join."""

    async def test_twoCommands(self) -> None:
        """A device has a key, knows the server, and holds sessions; it is in the server's file."""
        server = await self.serve()
        token = await self.invite(server)
        lines = await self.ran(server, "join", token)
        key = self.key()
        self.assertIn(f"Joined {server.address}, as lamp.", lines)
        self.assertIn("A first session with the key of this thing was in order.", lines)
        self.assertIn(f"thing: joining with the key {key.fingerprint}", lines)
        self.assertNotIn(token, "\n".join(lines))
        (line,) = self.lines
        self.assertRegex(
            line,
            rf'^name="lamp" {re.escape(key.publicLine())} '
            r"joined 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ by invitation [0-9a-f]{16}$",
        )
        file = Path(self.path("device"), "id_ed25519")
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        (heading, beat, *_) = await self.ran(server, "ping", "-c", "1", server.address)
        self.assertIn("PING", heading)
        self.assertIn("beat=1", beat)
        (_, listed) = await self.ran(server, "invitations")
        self.assertRegex(listed, rf"  lamp  has joined  +\S+  {re.escape(key.fingerprint)}$")
        for secret in (token, JoinToken.parse(token).key.hex()):
            self.assertNotIn(secret, server.process.output)
        await self.stop(server.process)

    async def test_again(self) -> None:
        """The same device completes it as often as it likes; another one comes too late."""
        server = await self.serve()
        token = await self.invite(server)
        await self.ran(server, "join", token)
        os.unlink(os.path.join(self.path("device"), "known_servers"))
        lines = await self.ran(server, "join", token)
        self.assertIn(f"Joined {server.address}, it had joined before.", lines)
        await self.ran(server, "ping", "-c", "1", server.address)
        lines = await self.ran(server, "join", token, home="thief", code=ExitCode.OVER)
        self.assertIn("used or withdrawn", lines[-1])
        self.assertEqual(len(self.lines), 1)

    async def test_atOnce(self) -> None:
        """Two runs at once on one device make one key, and both join with it."""
        server = await self.serve()
        token = await self.invite(server)
        runs = [self.command(None, "join", token) for _ in range(2)]
        for run in runs:
            self.assertEqual(await run.ended, ExitCode.GOODBYE, run.output)
        self.assertEqual(len(self.lines), 1)
        self.assertIn(self.key().publicLine(), self.lines[0])

    async def test_input(self) -> None:
        """The whole line that invited it is taken from standard input; the key is one's own."""
        server = await self.serve()
        token = await self.invite(server)
        IdentityKey.generate().save(self.path("lamp_key"))
        own = os.path.abspath(self.path("lamp_key"))
        process = self.command(server, "join", "-", "--identity", own)
        # Its writer may wait for what this does before it ends.
        process.transport.write(f"thing join {token}\n".encode())  # type: ignore[union-attr]
        self.assertEqual(await process.ended, ExitCode.GOODBYE, process.output)
        self.assertIn(IdentityKey.load(own).publicLine(), self.lines[0])
        await self.ran(server, "ping", "-c", "1", "--identity", own, server.address)
        self.assertFalse(os.path.exists(os.path.join(self.path("device"), "id_ed25519")))

    async def test_restart(self) -> None:
        """An invitation outlives its server, however that ends."""
        server = await self.serve()
        token = await self.invite(server)
        os.kill(server.process.pid, signal.SIGKILL)
        await server.process.ended
        joining = self.command(None, "join", token)
        await joining.whenLine("joining with")
        again = await self.serve(port=server.address.rpartition(":")[2])
        self.assertEqual(await joining.ended, ExitCode.GOODBYE, joining.output)
        await self.ran(again, "ping", "-c", "1", server.address)

    async def test_twoNodes(self) -> None:
        """What one node has invited joins at another that shares its files, and is at both."""
        north, south = await self.serve(), await self.serve()
        token = await self.invite(
            north, "--server", "127.0.0.1:1", "--server", south.address, "--server", north.address
        )
        lines = await self.ran(None, "join", token)
        self.assertIn(f"Joined {south.address}, as lamp.", lines)
        await north.process.whenLine("Reloaded")
        for node in (south, north):
            await self.ran(node, "ping", "-c", "1", node.address)
            (_, listed) = await self.ran(node, "invitations")
            self.assertIn("has joined", listed)

    async def test_confirm(self) -> None:
        """A key waits until somebody says yes to its fingerprint; who gave up goes on."""
        server = await self.serve()
        token = await self.invite(server, "--confirm")
        lines = await self.ran(None, "join", token, "--timeout", "6", code=ExitCode.WAITING)
        self.assertIn("thing: nobody has said yes within 6 s", lines)
        joining = self.command(None, "join", token)
        await joining.whenLine("waiting until somebody says yes")
        (_, listed) = await self.ran(server, "invitations")
        self.assertIn("waits for a yes", listed)
        id, fingerprint = listed.split()[0], self.key().fingerprint
        self.assertTrue(listed.endswith(fingerprint), listed)
        self.assertEqual(self.lines, [])
        await self.ran(server, "join", token, home="thief", code=ExitCode.OTHER_KEY)
        await self.ran(server, "invitations", "--confirm", id, "--key", fingerprint)
        self.assertEqual(await joining.ended, ExitCode.GOODBYE, joining.output)
        self.assertEqual(len(self.lines), 1)

    async def test_turnedAway(self) -> None:
        """Who waits for a yes, and gets a no, is told; so is whoever comes later."""
        server = await self.serve()
        token = await self.invite(server, "--confirm")
        joining = self.command(None, "join", token)
        await joining.whenLine("waiting until somebody says yes")
        id = JoinToken.parse(token).invitation
        await self.ran(server, "invitations", "--withdraw", id)
        self.assertEqual(await joining.ended, ExitCode.OVER, joining.output)
        await self.ran(None, "join", token, code=ExitCode.OVER)
        self.assertEqual(self.lines, [])

    async def test_interrupted(self) -> None:
        """Ctrl-C ends it at once, and the same command goes on."""
        server = await self.serve()
        token = await self.invite(server, "--confirm")
        joining = self.command(None, "join", token)
        await joining.whenLine("waiting until somebody says yes")
        os.kill(joining.pid, signal.SIGINT)
        self.assertEqual(await joining.ended, ExitCode.INTERRUPTED, joining.output)
        self.assertIn("the same command goes on", joining.lines[-1])

    async def test_nameTaken(self) -> None:
        """Of two that were invited by one name the second is refused, unless it replaces."""
        server = await self.serve()
        tokens = [await self.invite(server) for _ in range(2)]
        await self.ran(None, "join", tokens[0])
        await self.ran(None, "join", tokens[1], home="second", code=ExitCode.NAME_TAKEN)
        where = ("--server", server.address)
        await self.ran(server, "invite", "lamp", *where, code=ExitCode.NAME_TAKEN)
        token = await self.invite(server, "--replace")
        await self.ran(None, "join", token, home="second")
        (line,) = self.lines
        self.assertIn(self.key("second").publicLine(), line)
        await self.ran(server, "ping", "-c", "1", server.address, code=ExitCode.REJECTED)

    async def test_keyTaken(self) -> None:
        """A key that the server has for another thing is refused."""
        server = await self.serve()
        await self.ran(None, "join", await self.invite(server))
        other = await self.invite(server, name="kettle")
        await self.ran(None, "join", other, code=ExitCode.KEY_REFUSED)

    async def test_expired(self) -> None:
        """When its time is over, it is over."""
        server = await self.serve()
        token = await self.invite(server, "--expires", "1s")
        while len(await self.ran(server, "invitations")) > 1:
            pass
        await self.ran(None, "join", token, code=ExitCode.OVER)

    async def test_anotherServer(self) -> None:
        """A server with another key is not believed, and not written down."""
        server = await self.serve()
        token = await self.invite(server)
        await self.stop(server.process)
        other = os.path.abspath(self.path("other_things"))
        write(other, b"# things\n")
        port = server.address.rpartition(":")[2]
        await self.serve(port=port, home="impostor", things=other)
        lines = await self.ran(None, "join", token, code=ExitCode.NOT_TRUSTED)
        self.assertIn("not the server of the token", lines[-1])
        known = Path(self.path("device"), "known_servers")
        self.assertFalse(known.exists() and known.read_bytes())

    async def test_knownOtherwise(self) -> None:
        """A server that is known by another key is not believed for a token."""
        server = await self.serve()
        token = await self.invite(server)
        host, _, port = server.address.rpartition(":")
        other = IdentityKey.generate().publicLine()
        os.mkdir(self.path("device"))
        write(
            os.path.join(self.path("device"), "known_servers"),
            f"[{host}]:{port} {other}\n".encode(),
        )
        await self.ran(None, "join", token, code=ExitCode.NOT_TRUSTED)
        self.assertEqual(self.lines, [])

    async def test_nowhereToWrite(self) -> None:
        """Where the server's key cannot be written nobody is asked, and the token still counts."""
        server = await self.serve()
        token = await self.invite(server)
        nowhere = os.path.abspath(self.path("nowhere/known_servers"))
        await self.ran(None, "join", token, "--known-hosts", nowhere, code=ExitCode.FAILED)
        self.assertEqual(self.lines, [])
        await self.ran(None, "join", token)

    async def test_unreachable(self) -> None:
        """Each address that does not answer is told, with why."""
        token = tokenFor("127.0.0.1:1", "[::1]:1")
        lines = await self.ran(None, "join", token, "--timeout", "3", code=ExitCode.NOT_CONNECTED)
        text = "\n".join(lines)
        self.assertIn("127.0.0.1:1: ", text)
        self.assertIn("[::1]:1: ", text)
        self.assertIn("the same command goes on", lines[-1])


class OutputTests(JoinCase):
    """Output that cannot be written, and that nobody reads."""

    async def test_output(self) -> None:
        """It has joined; of the one it says so in a line, and of the other nothing."""
        server = await self.serve()
        reader, gone = os.pipe()
        os.close(reader)
        full = os.open("/dev/full", os.O_WRONLY)
        for name, output, code, lines in (
            ("full", full, ExitCode.FAILED, 2),
            ("gone", gone, ExitCode.GOODBYE, 1),
        ):
            token = await self.invite(server, name=name)
            home = {"THING_HOME": os.path.abspath(self.path(name))}
            command = ("-m", "thing.cli", "join", token)
            process = self.spawn(*command, childFDs={0: "w", 1: output, 2: "r"}, **home)
            os.close(output)
            self.assertEqual(await process.ended, code, process.output)
            self.assertEqual(len(process.lines), lines, process.output)
        self.assertEqual(len(self.lines), 2)


class TokenTests(HomeCase):
    """What is no token."""

    def test_damaged(self) -> None:
        """It is told before anything is made or asked; nothing of it is quoted."""
        token = tokenFor("thing.example:9000")
        for wrong in (token[:-1], token[:20] + "A" + token[21:], "x", f"{token}A", "\u00e4"):
            for arguments, given in ((("join", wrong), None), (("join", "-"), wrong)):
                done = CliRunner().invoke(commands, arguments, given, catch_exceptions=False)
                self.assertEqual(done.exit_code, ExitCode.DAMAGED, done.output)
                self.assertNotIn(wrong, done.output.replace("exit", ""))
        self.assertFalse(self.home.exists())
