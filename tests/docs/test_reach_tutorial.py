"""docs/tutorial-reach.rst, and what README.rst has of it: commands that lead to a device."""

from __future__ import annotations

import re
import shlex
import socket
import sys

from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol

from tests.docs.test_docs import DOCS, README, TWISTD, DocumentedPrograms, Program
from tests.sshd import MISSING, Sshd
from thing import IdentityKey


class ReachTutorialTests(DocumentedPrograms):
    """What the page says is typed, on the two machines, which are two directories here."""

    if MISSING:
        skip = MISSING

    def setUp(self) -> None:
        super().setUp()
        self.text = (DOCS / "tutorial-reach.rst").read_text()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.status = free.getsockname()[1]
        for name in ("bin", "ssh"):
            (self.directory / name).mkdir()
        self.sshd = Sshd(self.directory / "ssh").start()
        self.addCleanup(self.sshd.stop)
        python = shlex.quote(sys.executable)
        self.program("thing", f'{python} -m thing.cli "$@"')
        self.program("twistd", f'{python} -c {shlex.quote(TWISTD)} "$@"')
        self.program("ssh", f'/usr/bin/ssh -F {self.sshd.config} "$@"')
        self.environment["PATH"] = f"{self.directory / 'bin'}:{self.environment['PATH']}"
        self.environment["THING_STATUS"] = f"http://127.0.0.1:{self.status}"

    def program(self, name: str, command: str) -> None:
        """Put a program onto the path that runs another one."""
        path = self.directory / "bin" / name
        path.write_text(f"#!/bin/sh\nexec {command}\n")
        path.chmod(0o755)

    def commands(self, title: str) -> list[str]:
        """The commands of a section, as they are typed here."""
        section = self.text.partition(f"\n{title}\n---")[2].partition("\n---")[0]
        moves = {
            "--port 9000": f"--port {self.moved('tcp:9000')}",
            "9000": str(self.port),
            "9001": str(self.status),
            "tcp:localhost:22": f"tcp:localhost:{self.sshd.port}",
            "root@": f"{self.sshd.user}@",
        }
        pattern = "|".join(map(re.escape, moves))
        typed = re.findall(r"(?m)^    \$ (.+)$", section)
        return [re.sub(pattern, lambda match: moves[match[0]], line) for line in typed]

    def type_(self, command: str, machine: str) -> Program:
        """Have a shell do it on a machine."""
        from twisted.internet import reactor

        program = Program()
        environment = {**self.environment, "THING_HOME": str(self.directory / machine)}
        words = ["sh", "-c", f"exec {command}"]
        reactor.spawnProcess(  # type: ignore[attr-defined]
            program, "/bin/sh", words, environment, str(self.directory)
        )
        self.addCleanup(self._end, program)
        return program

    async def done(self, command: str, machine: str) -> str:
        """Have it done; what it printed."""
        program = self.type_(command, machine)
        self.assertEqual(await program.exits(), 0, f"{command}\n{program.output}")
        return program.output

    async def test_fiveCommands(self) -> None:
        """
        Five commands end in a shell on the device, which the server shows; who may not be there
        any more is not.
        """
        for command in self.commands("Before: you are an operator"):
            await self.done(command, "desk")
        start, invite, join, agent, ssh = self.commands("Five commands")
        server = self.type_(start, "desk")
        await server.says("Listening on")
        (printed,) = re.findall("thing join .+", await self.done(invite, "desk"))
        self.assertEqual(printed.split()[:2], join.split()[:2])
        await self.done(printed, "device")
        things = self.directory / "things"
        self.assertRegex(things.read_text(), r'(?m)^name="lamp" ssh-ed25519 ')
        keeping = self.type_(agent, "device")
        await keeping.says("Session .* is established")
        shell = self.type_(f"{ssh} 'echo you are here; cat'", "desk")
        await shell.says("you are here")
        (show,) = self.commands("What happened")
        self.assertIn("ssh", await self.done(show, "desk"))
        lines = things.read_text().splitlines(keepends=True)
        things.write_text("".join(line for line in lines if "permit-reach" not in line))
        self.assertNotEqual(await shell.exits(), 0, shell.output)


class Greeting(Protocol):
    """A service that says a sentence to whoever connects."""

    def connectionMade(self) -> None:
        self.transport.write(b"here is the kettle\n")  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]


class ReadmeReachTests(DocumentedPrograms):
    """README.rst, "Reach what runs on a device"."""

    async def test_commands(self) -> None:
        """The operator comes to the service that the agent offers; the thing itself does not."""
        section = README.read_text().partition("\nReach what runs on a device\n---")[2]
        section = section.partition("\n\n\n")[0]
        (agent,) = re.findall(r"(?m)^    \.venv/bin/thing (.+)$", section)
        (reach,) = re.findall(r"ProxyCommand='\.venv/bin/thing (reach .+)' root@kettle", section)
        (permit,) = re.findall(r"``(permit-reach=.+)`` before", section)
        keys = {name: IdentityKey.generate() for name in ("server", "operator", "device")}
        for name, key in keys.items():
            key.save(self.directory / name)
        lines = (
            f"{permit} {keys['operator'].publicLine('you')}",
            keys["device"].publicLine("kettle"),
        )
        self.write("things", "".join(f"{line}\n" for line in lines))
        words = ["-n", "thing", "--identity", "server", "--authorized", "things", "--port"]
        server = self.run_("-c", TWISTD, *words, self.moved("tcp:9000"))
        await server.says("Listening")
        known = self.directory / "home" / "known_servers"
        known.parent.mkdir()
        known.write_text(f"[localhost]:{self.port} {keys['server'].publicLine('')}\n")

        service = await self.greet()
        words = shlex.split(self.moved(agent).replace("localhost:22", f"127.0.0.1:{service}"))
        self.run_("-m", "thing.cli", *words, "--identity", "device")
        await server.says("with kettle at .* is established")
        words = shlex.split(reach.replace("%h", "kettle"))
        reaching = self.run_("-m", "thing.cli", *words, "--identity", "operator")
        await reaching.says("here is the kettle")
        reaching.transport.closeStdin()  # type: ignore[union-attr]
        self.assertEqual(await reaching.exits(), 0, reaching.output)
        refused = self.run_("-m", "thing.cli", *words, "--identity", "device")
        self.assertNotEqual(await refused.exits(), 0, refused.output)
        self.assertNotIn("here is the kettle", refused.output)

    async def greet(self) -> int:
        """Have a service; its port."""
        from twisted.internet import reactor

        endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
        port = await endpoint.listen(Factory.forProtocol(Greeting))
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)
