"""How a command without a reactor connects to a host."""

from __future__ import annotations

import socket
import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from thing.cli.dialing import dial


class DialTests(SynchronousTestCase):
    """Names are looked up, and the addresses tried, until it took too long."""

    def resolve(self, *addresses: tuple[str, int]) -> None:
        """Have names mean these addresses; none means an error."""

        def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
            if not addresses:
                raise socket.gaierror(-2, "Name or service not known")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in addresses]

        self.patch(socket, "getaddrinfo", getaddrinfo)

    def listen(self) -> tuple[str, int]:
        """Listen until the test is over; where."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        return "127.0.0.1", int(listening.getsockname()[1])

    def refusing(self) -> tuple[str, int]:
        """Where nobody listens, and nobody else will until the test is over."""
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        self.addCleanup(bound.close)
        return "127.0.0.1", int(bound.getsockname()[1])

    def test_nextAddress(self) -> None:
        """An address that refuses is not the last."""
        listening = self.listen()
        self.resolve(self.refusing(), listening)
        with dial("status_1", 80, 10.0) as connection:
            self.assertEqual(connection.getpeername(), listening)

    def test_shares(self) -> None:
        """An address that says nothing leaves time for the next one."""
        given: list[float] = []

        class Silent(socket.socket):
            def connect(self, address: Any) -> None:
                given.append(self.gettimeout() or 0.0)
                raise TimeoutError("timed out")

        self.patch(socket, "socket", Silent)
        self.resolve(*[("192.0.2.1", port) for port in range(1, 5)])
        self.assertRaises(TimeoutError, dial, "status_1", 80, 1000.0)
        for share, allowed in zip(given, (250, 334, 500, 1000), strict=True):
            self.assertTrue(0 < share <= allowed, given)

    def test_lastAddress(self) -> None:
        """What the last one says is told."""
        self.resolve(self.refusing(), self.refusing())
        self.assertRaises(ConnectionRefusedError, dial, "status_1", 80, 10.0)

    def test_unknown(self) -> None:
        """A name that means nothing is told."""
        self.resolve()
        error = self.assertRaises(socket.gaierror, dial, "status_1", 80, 10.0)
        self.assertIn("not known", str(error))

    def test_silence(self) -> None:
        """A lookup that does not end is left alone when the time is over."""
        over = threading.Event()
        self.addCleanup(over.set)

        def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
            over.wait()
            return []

        self.patch(socket, "getaddrinfo", getaddrinfo)
        self.assertRaises(TimeoutError, dial, "status_1", 80, 0.01)
