"""``thing conformance`` as it is run: against ``twistd thing``, and against a small program."""

from __future__ import annotations

import json
import os
import socket
import sys
import textwrap
from typing import Any

from twisted.internet.protocol import Factory

from tests.conformance.examining import Echo
from tests.daemon.test_twistd import Process, TwistdCase
from thing.cli.exits import ExitCode
from thing.conformance.catalogue import checksFor
from thing.core.messages import Role

PROGRAM = """
import sys
from twisted.internet import defer, endpoints, protocol, task
from thing import ClientSettings, PinnedServers, ThingFactory, ThingProtocol

class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

class Client(ThingProtocol):
    def streamRequested(self, label):
        return protocol.Factory.forProtocol(Echo)

async def comeBack(reactor, port, fingerprint):
    factory = ThingFactory(
        ClientSettings(handshakeTimeout=2, resumption=True), PinnedServers([fingerprint])
    )
    factory.protocol = Client
    endpoint = endpoints.clientFromString(reactor, f"tcp:127.0.0.1:{port}")
    while True:
        session = await endpoint.connect(factory)
        await session.whenTerminated()

async def main(reactor, *arguments):
    programs = [defer.ensureDeferred(comeBack(reactor, *arguments)) for _ in range(8)]
    await defer.gatherResults(programs)

task.react(main, sys.argv[1:])
"""
"""A client that comes back as soon as a session is over, eight times at once."""

ASYNCIO = """
import asyncio, contextlib, sys
from thing.asyncio import connect, serve
from thing.core import ClientSettings, KeptTicket, ServerSettings, TtlPolicy
from thing.errors import HandshakeFailed, SessionEnded
from thing.trust.authorized import Anyone
from thing.trust.keys import IdentityKey
from thing.trust.servers import PinnedServers

async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()

async def take(session):
    async for _ in session:
        pass
    await session.wait_closed()

SERVED = {"conformance": echo}

async def server(port):
    key = IdentityKey.generate()
    settings = ServerSettings(
        credential=key, allowAnonymous=True, handshakeTimeout=2.0, ttl=TtlPolicy(minimum=0.2)
    )
    async with serve(
        take, "127.0.0.1", int(port), settings, Anyone(), streams=SERVED
    ) as listening:
        print(key.fingerprint, flush=True)
        await listening.serve_forever()

async def comeBack(port, fingerprint):
    settings = ClientSettings(handshakeTimeout=2.0, resumption=True)
    servers, tickets = PinnedServers([fingerprint]), KeptTicket()
    while True:
        with contextlib.suppress(HandshakeFailed, SessionEnded):
            async with connect(
                f"127.0.0.1:{port}", settings, servers, streams=SERVED, tickets=tickets
            ) as session:
                await take(session)

async def client(*arguments):
    await asyncio.gather(*(comeBack(*arguments) for _ in range(8)))

role, *arguments = sys.argv[1:]
with contextlib.suppress(OSError):
    asyncio.run({"server": server, "client": client}[role](*arguments))
"""
"""The same on asyncio, and a server."""

PIN = f"SHA256:{'A' * 43}"
"""No server's key."""

NEEDS = {"retry.unsolved", "retry.differs", "retry.solved"}
"""What is tried only with a server that asks for retries."""


def freePort() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Conformance(Process):
    """A run of the command; what it writes to either stream is a line."""

    @property
    def results(self) -> list[dict[str, Any]]:
        """What was found."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]


class ProcessTests(TwistdCase):
    """Whole processes."""

    def conformance(self, *arguments: str) -> Conformance:
        """Start the command."""
        process = Conformance()
        own = ("-m", "thing.cli", "conformance", "--parallel", "8", "--json", *arguments)
        self.begin(process, sys.executable, *own)
        return process

    def assertHolds(self, process: Conformance, role: Role, untried: set[str]) -> None:
        """All rows were tried, but for some, and hold."""
        found = {result["name"]: result["outcome"] for result in process.results}
        self.assertEqual(set(found), {each.name for each in checksFor(role)}, process.output)
        others = {name: outcome for name, outcome in found.items() if outcome != "holds"}
        self.assertEqual(others, dict.fromkeys(untried, "not tried"), process.output)

    async def test_server(self) -> None:
        """``twistd thing`` keeps to the specification."""
        from twisted.internet import reactor

        echo: Any = reactor.listenTCP(  # type: ignore[attr-defined]
            0, Factory.forProtocol(Echo), interface="127.0.0.1"
        )
        self.addCleanup(echo.stopListening)
        server, description = await self.started(
            "--anyone",
            "--min-ttl=0.2",
            "--handshake-timeout=2",
            f"--serve=conformance=tcp:127.0.0.1:{echo.getHost().port}",
        )
        line = await server.whenLine("SHA256:")
        fingerprint = line.partition("SHA256:")[2].split()[0].rstrip(".,;")
        process = self.conformance(
            description.removeprefix("tcp:"), "--server-key", f"SHA256:{fingerprint}"
        )
        self.assertEqual(await process.ended, ExitCode.GOODBYE, process.output)
        untried = NEEDS | {"proofs.stranger", "proofs.nobody"}
        untried |= {"preshared.unknown", "preshared.accepted", "preshared.binder"}
        self.assertHolds(process, Role.SERVER, untried)
        self.assertClean(server)

    async def test_client(self) -> None:
        """So does a program with ``ThingFactory``; the server's key is made, and told."""
        port = freePort()
        process = self.conformance("--listen", f"127.0.0.1:{port}")
        line = await process.whenLine("the server's key is")
        program = os.path.join(self.cwd, "client.py")
        with open(program, "w") as file:
            file.write(textwrap.dedent(PROGRAM))
        client = self.spawn(program, str(port), line.split()[-1])
        self.assertEqual(await process.ended, ExitCode.GOODBYE, process.output)
        self.assertClientHolds(process)
        self.assertNotIn("Unhandled", client.output)

    def assertClientHolds(self, process: Process) -> None:
        """All holds of a client that has a key, and no shared secret."""
        untried = {"preshared.accepted", "preshared.not-taken"}
        if "it does not offer its ticket" in process.output:  # Another of the programs came first.
            untried.add("tickets.offered")
        self.assertHolds(process, Role.CLIENT, untried)

    def asyncio(self, *arguments: str) -> Process:
        """Start the program on asyncio."""
        program = os.path.join(self.cwd, "on_asyncio.py")
        with open(program, "w") as file:
            file.write(ASYNCIO)
        return self.spawn(program, *arguments)

    async def test_asyncioServer(self) -> None:
        """A server of ``thing.asyncio`` keeps to the specification, too."""
        port = str(freePort())
        server = self.asyncio("server", port)
        key = await server.whenLine("SHA256:")
        process = self.conformance("--anonymous", "--server-key", key, f"127.0.0.1:{port}")
        self.assertEqual(await process.ended, ExitCode.GOODBYE, process.output)
        untried = NEEDS | {"proofs.stranger", "proofs.nobody"}
        untried |= {"preshared.unknown", "preshared.accepted", "preshared.binder"}
        untried |= {"tickets.accepted", "tickets.binder", "tickets.secret", "tickets.tampered"}
        self.assertHolds(process, Role.SERVER, untried)
        self.assertNotIn("Traceback", server.output)

    async def test_asyncioClient(self) -> None:
        """So does a client."""
        port = str(freePort())
        process = self.conformance("--listen", f"127.0.0.1:{port}")
        line = await process.whenLine("the server's key is")
        client = self.asyncio("client", port, line.split()[-1])
        self.assertEqual(await process.ended, ExitCode.GOODBYE, process.output)
        self.assertClientHolds(process)
        self.assertNotIn("Traceback", client.output)

    async def test_nobody(self) -> None:
        """Without a peer the run ends soon, in one line."""
        process = self.conformance("--anonymous", "--server-key", PIN, f"127.0.0.1:{freePort()}")
        self.assertEqual(await process.ended, ExitCode.NOT_CONNECTED, process.output)
        self.assertIn("thing: no peer at", process.lines[-1])
        self.assertClean(process)

    async def test_readerGone(self) -> None:
        """If nobody reads what it prints, it ends without a word."""
        words = f"conformance --anonymous --server-key {PIN} 127.0.0.1:{freePort()}"
        process = Process()
        self.begin(process, "/bin/sh", "-c", f"{sys.executable} -m thing.cli {words} | head -n 1")
        self.assertEqual(await process.ended, 0)
        self.assertEqual(process.output, "Introduction and model:")
