"""``thing reach`` with a real ``twistd thing`` between it and a thing."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory

from tests.cli.test_process import Command, CommandCase
from tests.cli.test_reach import ECHOES, GREETING, Refusing, Service
from tests.daemon.test_twistd import Client, TwistdCase
from tests.trust.test_keys import write
from thing import IdentityKey, StopCode
from thing.cli.exits import ExitCode
from thing.session.reasons import SessionOver


class Lamp(Client):
    """A thing that has services, as an agent does."""

    def handshakeCompleted(self) -> None:
        self.service = Service()
        self.streams.serve("reach:echo", ECHOES)
        self.streams.serve("reach:one", Factory.forProtocol(lambda: self.service))
        self.streams.serve("reach:refusing", Refusing(StopCode.UNREACHABLE))


class WholeCase(TwistdCase, CommandCase):
    """A server, a thing, and an operator who may reach some of its services."""

    permits = "lamp,clock:echo,one,refusing,none"

    def setUp(self) -> None:
        CommandCase.setUp(self)
        TwistdCase.setUp(self)
        os.mkdir(self.home)
        self.operator, self.lampKey, self.other = (IdentityKey.generate() for _ in range(3))
        self.operator.save(os.path.join(str(self.home), "id_ed25519"))

    def authorize(self, permits: str) -> None:
        """Write the server's file."""
        lines = [f"{self.lampKey.publicLine()} lamp", f"{self.other.publicLine()} other"]
        if permits:
            lines += [f'name="anna",permit-reach="{permits}" {self.operator.publicLine()}']
        write(self.path("authorized"), "".join(f"{line}\n" for line in lines).encode())

    async def comeUp(self) -> Lamp:
        """Start it all; the thing."""
        self.authorize(self.permits)
        self.server, self.where = await self.started(
            "--status=tcp:0:interface=127.0.0.1",
            f"--authorized={os.path.abspath(self.path('authorized'))}",
        )
        line = await self.server.whenLine("Status is told at ")
        self.environment["THING_STATUS"] = line.rpartition(" ")[2]
        return await self.lamp()

    async def lamp(self) -> Lamp:
        """Have the thing connect."""
        lamp = await self.connect(self.where, Lamp, self.lampKey)
        assert isinstance(lamp, Lamp)
        return lamp

    def reach(self, thing: str, service: str, *arguments: str, **named: Any) -> Command:
        """Start the command."""
        server = self.where.removeprefix("tcp:")
        return self.run_(
            *("reach", "--trust-on-first-use", "--server", server, *arguments, thing, service),
            **named,
        )


class WholeTests(WholeCase):
    """What a person sees."""

    async def test_files(self) -> None:
        """20 MiB through an echo on the thing arrive whole."""
        await self.comeUp()
        data = os.urandom(20 << 20)
        source, sink = (os.path.abspath(self.path(name)) for name in ("in", "out"))
        write(source, data)
        with open(source, "rb") as stdin, open(sink, "wb") as stdout:
            command = self.reach(
                "lamp", "echo", childFDs={0: stdin.fileno(), 1: stdout.fileno(), 2: "r"}
            )
        await self.assertExit(command, ExitCode.GOODBYE)
        with open(sink, "rb") as got:
            digest = hashlib.sha256(got.read()).digest()
        self.assertEqual(digest, hashlib.sha256(data).digest())

    async def test_halfClose(self) -> None:
        """The service learns that the input has ended, and still answers."""
        lamp = await self.comeUp()
        command = self.reach("lamp", "one")
        command.write(b"a question")
        command.endInput()
        service = await lamp.service.ended
        service.transport.write(service.received.upper())
        service.transport.loseConnection()
        await self.assertExit(command, ExitCode.GOODBYE)
        self.assertEqual(command.out, GREETING + b"A QUESTION")

    async def test_refused(self) -> None:
        """Whatever is in the way has its exit code and its line."""
        lamp = await self.comeUp()
        for thing, service, code, said in (
            ("lamp", "ssh", ExitCode.NOT_PERMITTED, b'permit-reach="lamp:ssh"'),
            ("nobody", "ssh", ExitCode.NOT_PERMITTED, b'permit-reach="nobody:ssh"'),
            ("clock", "echo", ExitCode.UNKNOWN, b"the server knows no thing clock"),
            ("lamp", "none", ExitCode.NOT_EXPOSED, b"--expose none=ENDPOINT"),
            ("lamp", "refusing", ExitCode.UNREACHABLE, b"refusing of lamp refused"),
        ):
            await self.assertExit(self.reach(thing, service), code, said)
        lamp.loseConnection()
        await self.server.whenLine("said goodbye")
        command = self.reach("lamp", "echo")
        await self.assertExit(command, ExitCode.NOT_HERE, b"lamp is not connected")

    async def test_thingsMayNot(self) -> None:
        """A thing's own key reaches nothing, and the line says what it would want."""
        await self.comeUp()
        key = os.path.abspath(self.path("other_key"))
        self.other.save(key)
        command = self.reach("lamp", "echo", "--identity", key)
        said = f"in the line of your key {self.other.fingerprint} ".encode()
        await self.assertExit(command, ExitCode.NOT_PERMITTED, said)

    async def test_ended(self) -> None:
        """What is open is listed, and ends: by a user, by the thing, by a permission that goes."""
        lamp = await self.comeUp()
        command = self.reach("lamp", "one")
        await command.wrote(GREETING)
        listing = self.run_("ls", "--reach", "--json")
        await self.assertExit(listing, ExitCode.GOODBYE)
        told = json.loads(listing.out)
        self.assertEqual((told["thing"], told["service"], told["by"]), ("lamp", "one", "anna"))
        self.assertEqual(told["key"], self.operator.fingerprint)
        self.assertEqual(told["octetsDown"], len(GREETING))
        await self.assertExit(self.run_("end", told["id"]), ExitCode.GOODBYE)
        await self.assertExit(command, ExitCode.ENDED, b"somebody ended this reach")

        lamp.service = Service()
        command = self.reach("lamp", "one")
        await command.wrote(GREETING)
        lamp.transport.abortConnection()
        await self.assertExit(command, ExitCode.WENT_AWAY, b"lamp went away")

        lamp = await self.lamp()
        command = self.reach("lamp", "one")
        await command.wrote(GREETING)
        self.authorize("lamp:echo")
        await self.assertExit(command, ExitCode.NOT_PERMITTED, b'permit-reach="lamp:one"')

    async def test_killed(self) -> None:
        """An operator's end that is killed, and a server that is, are no orderly ends."""
        lamp = await self.comeUp()
        command = self.reach("lamp", "one")
        await command.wrote(GREETING)
        command.signal(signal.SIGKILL)
        await command.ended
        self.assertNotIsInstance(await lamp.service.lost, SessionOver)

        lamp.service = Service()
        command = self.reach("lamp", "one")
        await command.wrote(GREETING)
        os.kill(self.server.pid, signal.SIGKILL)
        await self.assertExit(command, ExitCode.TRUNCATED)

    async def test_forwarded(self) -> None:
        """A port that is forwarded goes on when the thing was away."""
        lamp = await self.comeUp()
        command = self.reach("lamp", "echo", "--listen", "0")
        await command.wrote(b"/\n")
        number = int(command.out.decode().strip("/\n").rpartition(":")[2])
        await self.assertEcho(number)
        lamp.loseConnection()
        await self.server.whenLine("said goodbye")
        with self.assertRaises(ConnectionError):
            await self.assertEcho(number)
        await command.wrote(b"lamp is not connected")
        await self.lamp()
        await self.assertEcho(number)
        command.signal(signal.SIGTERM)
        await self.assertExit(command, ExitCode.GOODBYE)

    def assertEcho(self, number: int) -> Deferred[None]:
        """What is sent to the port comes back, to its end."""
        from twisted.internet.threads import deferToThread

        return deferToThread(echoed, number)


def echoed(number: int) -> None:
    """Send something to a port, and have it back."""
    import socket

    with socket.create_connection(("127.0.0.1", number), timeout=30) as connection:
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        got = b""
        while octets := connection.recv(100):
            got += octets
    if got != b"hello":
        raise ConnectionError(f"{got!r} came")
