"""``--reuse-port``: several processes on one port."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from tests.daemon.test_service import NO_IPV6
from tests.daemon.test_tap import TapCase, parse
from tests.daemon.test_twistd import Client, Process, TwistdCase
from thing.daemon.errors import CannotStart
from thing.daemon.reuseport import SharedPorts, canReuse

MANY = 32
"""So many clients never all get the same of two processes, but once in two thousand million."""


class SharedPortsTests(TestCase):
    """SharedPorts"""

    async def listen(self, description: str) -> Any:
        """A port that is shared; closed at the end."""
        from twisted.internet import reactor

        endpoint = serverFromString(SharedPorts(reactor), description)
        port: Any = await endpoint.listen(Factory.forProtocol(Protocol))
        self.addCleanup(port.stopListening)
        return port

    async def test_again(self) -> None:
        """A second port has the same number; both are where they were asked to be."""
        first = await self.listen("tcp:0:interface=127.0.0.1")
        second = await self.listen(f"tcp:{first.getHost().port}:interface=127.0.0.1")
        self.assertEqual(first.getHost(), second.getHost())
        self.assertEqual(first.getHost().host, "127.0.0.1")

    async def test_everywhere(self) -> None:
        """Without an interface it listens on all of IPv4, as tcp: does."""
        port = await self.listen("tcp:0")
        self.assertEqual(port.getHost().host, "0.0.0.0")

    async def test_ipv6(self) -> None:
        """An IPv6 port is shared, too."""
        first = await self.listen("tcp6:0:interface=\\:\\:1")
        second = await self.listen(f"tcp6:{first.getHost().port}:interface=\\:\\:1")
        self.assertEqual((second.getHost().host, second.getHost()), ("::1", first.getHost()))

    test_ipv6.skip = NO_IPV6  # type: ignore[attr-defined]

    async def test_backlog(self) -> None:
        """As many may wait to be accepted as was asked for."""
        listening = socket.socket.listen
        asked: list[int] = []

        def listen(self: socket.socket, backlog: int) -> None:
            asked.append(backlog)
            listening(self, backlog)

        self.patch(socket.socket, "listen", listen)
        await self.listen("tcp:0:backlog=7:interface=127.0.0.1")
        self.assertEqual(asked, [7])

    async def test_taken(self) -> None:
        """A port of somebody who does not share it cannot be had."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            description = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            with self.assertRaises(CannotListenError):
                await self.listen(description)

    @inlineCallbacks
    def test_noInterface(self) -> Any:
        """An address that is none cannot be listened on."""
        from twisted.internet import reactor

        for interface in ("192.0.2.1", "\\:\\:zz"):
            endpoint = serverFromString(SharedPorts(reactor), f"tcp:0:interface={interface}")
            yield self.assertFailure(
                endpoint.listen(Factory.forProtocol(Protocol)), CannotListenError
            )


class OptionTests(TapCase):
    """The option."""

    def test_kinds(self) -> None:
        """TCP ports can be shared, behind a balancer, too; others cannot."""
        for description in ("tcp:9000", "tcp6:9000", "haproxy:tcp:9000:interface=127.0.0.1"):
            self.assertTrue(canReuse(description))
            parse("--reuse-port", "--port", description)
        for description in ("unix:/run/tcp", "ssl:9000", "systemd:domain=INET:index=0", "haproxy"):
            self.assertFalse(canReuse(description))
            error = self.assertRaises(CannotStart, parse, "--reuse-port", "--port", description)
            self.assertIn(f"tcp6: ports, not for {description}", str(error.code))
            parse("--port", description)

    def test_default(self) -> None:
        """Ports are not shared unless it is asked for, and the default port can be."""
        self.assertFalse(parse()["reuse-port"])
        self.assertTrue(parse("--reuse-port")["reuse-port"])


class ProcessTests(TwistdCase):
    """Two servers on one port."""

    async def server(self, port: int) -> Process:
        """One of them."""
        process = self.twistd(f"--port=tcp:{port}:interface=127.0.0.1", "--reuse-port", "--demo")
        await process.whenLine("thing connect ")
        return process

    async def test_share(self) -> None:
        """Each gets some of many clients; when one is killed the other serves the port."""
        first = await self.server(0)
        (line,) = (line for line in first.lines if "Listening on" in line)
        port = int(line.partition("127.0.0.1:")[2].split()[0])
        second = await self.server(port)
        description = f"tcp:127.0.0.1:{port}"
        clients = [await self.connect(description) for _ in range(MANY)]
        for client in clients:
            await client.whenHeard("Welcome")
        for server in (first, second):
            await server.whenLine("is established")
        os.kill(first.pid, signal.SIGKILL)
        await first.ended
        after: list[Client] = [await self.connect(description) for _ in range(MANY)]
        for client in after:
            await client.whenHeard("Welcome")
        await self.stop(second)

    async def test_notShared(self) -> None:
        """A server without the option does not join one that has it."""
        first = await self.server(0)
        (line,) = (line for line in first.lines if "Listening on" in line)
        port = line.partition("127.0.0.1:")[2].split()[0]
        other = self.twistd(f"--port=tcp:{port}:interface=127.0.0.1")
        self.assertEqual(await other.ended, 1)
        self.assertIn("Address already in use", other.output)
