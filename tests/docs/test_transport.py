"""docs/howto-transport.rst: Twisted's own protocols, and one's own, over ``thing:`` endpoints."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shlex
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import skipUnless

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import Agent, readBody
from twisted.web.server import Site

from tests.docs.test_docs import DOCS, EXAMPLES, GOODBYE, TWISTD, DocumentedPrograms, Program
from thing import IdentityKey
from thing.endpoints import IThingTransport, SentAway, ThingServerEndpoint

PAGE = DOCS / "howto-transport.rst"

SERVER = "thing:9000:identity=server_key:authorized=things"
"""How the examples' servers listen."""

CLIENT = "thing:localhost:9000:identity=thing_key:serverKey=..."
"""How their clients connect."""

CUT = "the stream ended without goodbye or flat line"

LISTENING = r"listening on IPv4Address\(.* port=(\d+)\)\n"

SIZE = 100_000_000
"""How large a file is downloaded, octets."""

STATUS = "/proc/self/status"

MEASURED = f"""
import atexit, runpy, sys
atexit.register(lambda: print(open({STATUS!r}).read()))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a program, and shows at its end what the kernel knows of the process."""


def peak(status: str) -> int:
    """The most memory that a process ever had, octets."""
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None, status
    return int(found[1]) * 1024


class Talker(Protocol):
    """Collects what it hears, and waits for the end."""

    transport: IThingTransport

    def __init__(self) -> None:
        self.heard = b""
        self.lost: Deferred[Any] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(reason.value)


class TransportPrograms(DocumentedPrograms):
    """Has a server's key, and the key of a thing that the server knows as lamp."""

    def setUp(self) -> None:
        super().setUp()
        self.fingerprint = self.makeKey("server_key").removeprefix("SHA256:")
        self.makeKey("thing_key", "lamp")
        self.admit("thing_key")

    def makeKey(self, name: str, comment: str = "") -> str:
        """A new key in a file; gives its fingerprint."""
        key = IdentityKey.generate()
        key.save(self.directory / name, comment=comment)
        return key.fingerprint

    def admit(self, *names: str) -> None:
        """Write the server's file of authorized keys."""
        lines = [(self.directory / f"{name}.pub").read_text() for name in names]
        (self.directory / "things").write_text("".join(lines))

    @property
    def listening(self) -> str:
        """The server's description, on any free port of the loopback interface."""
        return SERVER.replace("9000", "0:interface=127.0.0.1")

    def connecting(self, port: str, key: str = "thing_key", fingerprint: str = "") -> str:
        """The client's description."""
        where = CLIENT.replace("localhost:9000", f"127.0.0.1:{port}")
        return where.replace("thing_key", key).replace("...", fingerprint or self.fingerprint)

    async def portOf(self, server: Program, pattern: str = LISTENING) -> str:
        """The port that a server says that it listens on."""
        found = re.search(pattern, await server.says(pattern))
        assert found is not None
        return found[1]

    async def talk(self, port: str) -> Talker:
        """A session of this process's own with a server, as lamp."""
        from twisted.internet import reactor

        description = self.connecting(port, str(self.directory / "thing_key"))
        endpoint = clientFromString(reactor, description)
        talker: Talker = await connectProtocol(endpoint, Talker())
        return talker

    async def succeeds(self, client: Program) -> str:
        """What a client printed, which has ended well."""
        self.assertEqual(await client.exits(), 0, client.output)
        return client.output


class AmpTests(TransportPrograms):
    """transport_amp.py"""

    async def test_bothWays(self) -> None:
        """Each side calls the other, an error keeps its kind, and the name is the session's."""
        server = self.example("transport_amp.py", "server", self.listening)
        port = await self.portOf(server)
        client = self.example("transport_amp.py", "thing", self.connecting(port))
        output = await self.succeeds(client)
        self.assertRegex(output, rf"known as lamp\nlamp is too warm\n.*{GOODBYE}")
        await server.says("lamp: door opened at 20.5 degrees")
        await server.says("lamp: door closed at 41.0 degrees")
        await server.says(f"lamp: .*{GOODBYE}")

    async def test_strangers(self) -> None:
        """A key that is not in the file never reaches the protocol, and ends the client."""
        self.makeKey("stranger_key", "lamp")
        server = self.example("transport_amp.py", "server", self.listening)
        port = await self.portOf(server)
        said = server.output
        client = self.example("transport_amp.py", "thing", self.connecting(port, "stranger_key"))
        self.assertEqual(await client.exits(), 1, client.output)
        self.assertIn("NOT_AUTHORIZED", client.output)
        self.assertEqual(server.output, said)

    async def test_anotherServer(self) -> None:
        """A server with another key is not believed, and is told nothing."""
        server = self.example("transport_amp.py", "server", self.listening)
        port = await self.portOf(server)
        said = server.output
        another = IdentityKey.generate().fingerprint.removeprefix("SHA256:")
        where = self.connecting(port, fingerprint=another)
        client = self.example("transport_amp.py", "thing", where)
        self.assertEqual(await client.exits(), 1, client.output)
        self.assertIn("NOT_AUTHORIZED", client.output)
        self.assertEqual(server.output, said)


class WebTests(TransportPrograms):
    """transport_web.py, and Twisted's web server"""

    def setUp(self) -> None:
        super().setUp()
        (self.directory / "public").mkdir()

    async def serve(self) -> tuple[Program, str]:
        """Run the server of the example's docstring; gives it and its port."""
        words = commandsOf("transport_web.py")[0]
        self.assertEqual(words[0], "twistd")
        words = [self.listening if word == SERVER else word for word in words[1:]]
        server = self.run_("-c", TWISTD, *words)
        return server, await self.portOf(server, r"Site \(Thing\) starting on (\d+)")

    def makeFile(self) -> str:
        """The file to be served, which does not outlive the test; gives its SHA-256."""
        digest = hashlib.sha256()
        path = self.directory / "public" / "big"
        self.addCleanup(path.unlink)
        with path.open("wb") as file:
            for _ in range(SIZE // 1_000_000):
                piece = os.urandom(1_000_000)
                digest.update(piece)
                file.write(piece)
        return digest.hexdigest()

    def hasSome(self, path: Path) -> bool:
        """Whether there is something in a file."""
        return path.exists() and path.stat().st_size > 0

    @skipUnless(Path(STATUS).exists(), "only Linux tells how much memory a process ever had")
    async def test_download(self) -> None:
        """A file arrives whole through two processes that are both smaller than it."""
        digest = self.makeFile()
        server, port = await self.serve()
        self.write("transport_web.py", (EXAMPLES / "transport_web.py").read_text())
        words = ("transport_web.py", self.connecting(port), "http://server/big", "big")
        client = self.run_("-c", MEASURED, *words)
        self.addCleanup((self.directory / "big").unlink, missing_ok=True)
        output = await self.succeeds(client)
        self.assertIn(f"{digest}  big, {SIZE} octets\n{GOODBYE}", output)
        self.assertEqual((self.directory / "big").stat().st_size, SIZE)
        self.assertLess(peak(output), SIZE)
        pid: Any = server.transport
        self.assertLess(peak(Path(f"/proc/{pid.pid}/status").read_text()), SIZE)
        await server.says(f"with lamp at .*{GOODBYE}")

    async def test_missing(self) -> None:
        """The client says what the server answers for a file that is not there."""
        _, port = await self.serve()
        words = (self.connecting(port), "http://server/none", "none")
        client = self.example("transport_web.py", *words)
        self.assertEqual(await client.exits(), 1, client.output)
        self.assertIn("the server answers 404", client.output)

    async def test_cut(self) -> None:
        """A download whose server dies in the middle is an error, which names the session's end."""
        from twisted.internet import reactor

        path = self.directory / "public" / "big"
        path.touch()
        self.addCleanup(path.unlink)
        os.truncate(path, 100 * SIZE)  # A hole takes no room.
        server, port = await self.serve()
        words = (self.connecting(port), "http://server/big", "big")
        client = self.example("transport_web.py", *words)
        self.addCleanup((self.directory / "big").unlink, missing_ok=True)
        while not self.hasSome(self.directory / "big"):
            await deferLater(reactor, 0.01)
        server.signal("KILL")
        self.assertEqual(await client.exits(), 1, client.output)
        self.assertIn(CUT, client.output)


class PerspectiveBrokerTests(TransportPrograms):
    """transport_pb.py"""

    async def test_bothWays(self) -> None:
        """References go both ways, and are used from both sides."""
        server = self.example("transport_pb.py", "server", self.listening)
        port = await self.portOf(server)
        client = self.example("transport_pb.py", "thing", self.connecting(port))
        output = await self.succeeds(client)
        self.assertRegex(output, rf"lamp is on\nlamp is off\n.*{GOODBYE}")
        await server.says("lamp: on\nlamp: off\n")


class ChatTests(TransportPrograms):
    """transport_chat.py"""

    def setUp(self) -> None:
        super().setUp()
        names = ("alice", "bob", "carol")
        for name in names:
            self.makeKey(f"{name}_key", name)
        self.admit(*(f"{name}_key" for name in names))

    async def come(self, name: str, port: str) -> Program:
        """A client that has arrived."""
        where = self.connecting(port, f"{name}_key")
        client = self.example("transport_chat.py", "client", where)
        await client.says(rf"\* {name} came; here are ")
        return client

    async def test_conversation(self) -> None:
        """Everybody hears everybody, under the keys' names, and learns who left and how."""
        server = self.example("transport_chat.py", "server", self.listening)
        port = await self.portOf(server)
        alice, bob, carol = [await self.come(name, port) for name in ("alice", "bob", "carol")]
        await alice.says(r"\* carol came; here are alice, bob, carol")
        self.type(alice, "hello\n")
        self.type(bob, "alice: it is me\n\x1b[2Jhow are you?\n")
        for client in (alice, bob, carol):
            await client.says("alice: hello\n")
            await client.says(r"bob: alice: it is me\nbob: \[2Jhow are you\?\n")
        carol.signal("KILL")
        for client in (alice, bob):
            await client.says(rf"\* carol left: .*{CUT}")
        bob.transport.closeStdin()  # type: ignore[union-attr]
        await alice.says(rf"\* bob left: .*{GOODBYE}")
        self.assertIn(GOODBYE, await self.succeeds(bob))

    def type(self, client: Program, text: str) -> None:
        """Write to a client's standard input."""
        client.transport.write(text.encode())  # type: ignore[union-attr]


class SshTests(TransportPrograms):
    """transport_ssh.py"""

    def setUp(self) -> None:
        super().setUp()
        self.makeKey("host_key")
        self.makeKey("lamp_key")

    async def serve(self) -> str:
        """Run the server; gives its port."""
        self.server = self.example("transport_ssh.py", "server", self.listening)
        return await self.portOf(self.server)

    async def test_command(self) -> None:
        """A command gets and gives many windows full of data, across a change of SSH's keys."""
        port = await self.serve()
        client = self.example("transport_ssh.py", "lamp", self.connecting(port))
        output = await self.succeeds(client)
        self.assertRegex(output, rf"{GOODBYE}.*\n1800000 octets in capitals, 2 key exchanges\n")

    async def test_anotherName(self) -> None:
        """A session of another name cannot log in, though it has the key for SSH."""
        self.makeKey("robot_key", "robot")
        self.admit("robot_key")
        port = await self.serve()
        client = self.example("transport_ssh.py", "lamp", self.connecting(port, "robot_key"))
        self.assertEqual(await client.exits(), 1, client.output)
        self.assertIn("only 0 octets came back", client.output)

    async def test_anotherHostKey(self) -> None:
        """The client checks the key of the SSH server, too."""
        port = await self.serve()
        another = IdentityKey.generate()
        (self.directory / "host_key.pub").unlink()
        another.save(self.directory / "another")
        (self.directory / "another.pub").rename(self.directory / "host_key.pub")
        client = self.example("transport_ssh.py", "lamp", self.connecting(port))
        self.assertEqual(await client.exits(), 1, client.output)
        self.assertIn("only 0 octets came back", client.output)


class AsyncioTests(TransportPrograms):
    """transport_asyncio.py"""

    async def serve(self) -> tuple[Program, str]:
        """Run the server; gives it and its port."""
        server = self.example("transport_asyncio.py", "server", self.listening)
        return server, await self.portOf(server)

    async def test_conversation(self) -> None:
        """Coroutines of asyncio talk on both sides, and leave in order."""
        server, port = await self.serve()
        client = self.example("transport_asyncio.py", "thing", self.connecting(port))
        output = await self.succeeds(client)
        self.assertRegex(output, rf"^HELLO, lamp!\nGOODBYE, lamp!\n.*{GOODBYE}")
        await server.says(f"lamp: .*{GOODBYE}")
        server.signal("INT")
        await server.exits()
        self.assertNotIn("pending", server.output)

    async def test_cut(self) -> None:
        """A reader of asyncio's ends when its session is cut."""
        server, port = await self.serve()
        talker = await self.talk(port)
        talker.transport.write(b"half a li")
        talker.transport.abortConnection()
        await talker.lost
        await server.says(f"lamp: .*{CUT}")

    async def test_noLine(self) -> None:
        """Who never ends a line is sent away."""
        server, port = await self.serve()
        talker = await self.talk(port)
        talker.transport.write(b"a" * 1_000_000)
        self.assertIsInstance(await talker.lost, ConnectionDone)
        self.assertEqual(talker.heard, b"")
        await server.says(f"lamp: .*{GOODBYE}")


def commandsOf(example: str) -> list[list[str]]:
    """The words of the commands that an example's docstring gives."""
    text = ast.get_docstring(ast.parse((EXAMPLES / example).read_text()), clean=False) or ""
    lines = re.findall(r"^    \$ (.*)$", re.sub(r" \\\n +", " ", text), re.MULTILINE)
    return [shlex.split(line) for line in lines]


class PageTests(TransportPrograms):
    """docs/howto-transport.rst"""

    def setUp(self) -> None:
        super().setUp()
        self.text = PAGE.read_text()

    def snippets(self, **names: Any) -> SimpleNamespace:
        """What all the Python on the page makes; it finds the keys where it runs."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        pattern = r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)"
        blocks = re.findall(pattern, self.text, re.MULTILINE)
        for block in blocks:
            exec(textwrap.dedent(block), names)
        return SimpleNamespace(**names)

    def test_examples(self) -> None:
        """Each example is on the page, and its docstring has the commands that tests run here."""
        examples = sorted(EXAMPLES.glob("transport_*.py"))
        self.assertEqual(len(examples), 6)
        for path in examples:
            self.assertIn(f".. literalinclude:: examples/{path.name}\n", self.text)
            serve, connect = commandsOf(path.name)
            self.assertEqual(serve[-1], SERVER)
            self.assertEqual(connect[:2], ["python", path.name])
            self.assertIn(CLIENT, connect)
        self.assertIn(f"``{SERVER}``", self.text)
        self.assertIn(f"``{CLIENT}``", self.text)

    async def test_keys(self) -> None:
        """The commands on the page make the keys with which the examples run."""
        for path in self.directory.iterdir():
            path.unlink()
        commands = re.findall(r"^    \$ (.*)$", self.text, re.MULTILINE)
        first, second, copy = [shlex.split(command) for command in commands]
        made = ""
        for words in (first, second):
            self.assertEqual(words[0], "thing")
            made += await self.succeeds(self.run_("-m", "thing.cli", *words[1:]))
        self.assertEqual(copy, ["cp", "thing_key.pub", "things"])
        self.admit("thing_key")
        self.fingerprint = re.findall("SHA256:(.{43})", made)[0]
        server = self.example("transport_pb.py", "server", self.listening)
        port = await self.portOf(server)
        client = self.example("transport_pb.py", "thing", self.connecting(port))
        self.assertIn("lamp is on", await self.succeeds(client))

    async def test_classes(self) -> None:
        """The classes do what the strings do; the protocol on the page knows who is there."""
        from twisted.internet import reactor

        said: list[str] = []
        page = self.snippets(print=said.append)
        greeters: list[Any] = []

        class Greeter(page.Greeter):  # type: ignore[misc, name-defined]
            def connectionMade(self) -> None:
                super().connectionMade()
                self.gone: Deferred[None] = Deferred()
                greeters.append(self)

            def connectionLost(self, reason: Failure) -> None:
                super().connectionLost(reason)
                self.gone.callback(None)

        server = page.makeServer(reactor, 0)
        port = await server.listen(Factory.forProtocol(Greeter))
        self.addCleanup(port.stopListening)
        where = f"tcp:127.0.0.1:{port.getHost().port}"
        client = page.makeClient(reactor, f"SHA256:{self.fingerprint}", where)
        stays, cut, leaves = [await connectProtocol(client, Talker()) for _ in range(3)]
        material = [
            IThingTransport(transport).exportKeyingMaterial("EXPERIMENTAL login", b"", 32)
            for transport in (stays.transport, greeters[0].transport)
        ]
        self.assertEqual(*material)
        cut.transport.abortConnection()
        await cut.lost
        leaves.transport.loseConnection()
        self.assertIsInstance(await leaves.lost, ConnectionDone)
        await page.stop(server, port)
        self.assertIsInstance(await stays.lost, SentAway)
        for each in greeters:
            await each.gone
        session = stays.transport.sessionId.encode()
        self.assertEqual(stays.heard, b"hello, lamp, in " + session + b"\r\n")
        self.assertRegex(
            "\n".join(sorted(said)),
            f"^lamp is cut off: both .*SHUTDOWN.*\nlamp is cut off: {CUT}.*\nlamp left in order$",
        )

    def test_proven(self) -> None:
        """The check on the page passes an endpoint of Thing's, and no other."""
        from twisted.internet import reactor

        page = self.snippets()
        self.assertIsInstance(page.provenServer(reactor, SERVER), ThingServerEndpoint)
        with self.assertRaises(SystemExit):
            page.provenServer(reactor, "tcp:9000")

    async def test_resource(self) -> None:
        """The resource on the page tells a client the name of its key."""
        from twisted.internet import reactor

        page = self.snippets()
        server = page.provenServer(reactor, self.listening)
        port = await server.listen(Site(page.WhoAmI()))
        self.addCleanup(port.stopListening)
        endpoint = clientFromString(reactor, self.connecting(str(port.getHost().port)))
        through = SimpleNamespace(endpointForURI=lambda uri: endpoint)
        agent = Agent.usingEndpointFactory(reactor, through)
        response = await agent.request(b"GET", b"http://server/")
        self.assertEqual(await readBody(response), b"you are lamp\n")
        await page.stop(server, port)
