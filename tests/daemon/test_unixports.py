"""Unix sockets, and what is left of them."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import stat
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from tests.daemon.test_twistd import TwistdCase
from tests.helpers import socketDirectory
from thing.daemon.unixports import UnixPorts
from thing.trust import temporary


def abandon(path: str) -> None:
    """Leave what a process leaves that is killed: a socket, and Twisted's file that names it."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    # In a container the process that comes next has the same number.
    os.symlink(str(os.getpid()), f"{path}.lock")


class UnixPortsTests(TestCase):
    """UnixPorts"""

    def setUp(self) -> None:
        self.directory = socketDirectory(self)
        self.path = os.path.join(self.directory, "socket")

    async def listen(self, more: str = "", path: str = "") -> Any:
        """A port, closed at the end."""
        from twisted.internet import reactor

        endpoint = serverFromString(UnixPorts(reactor), f"unix:{path or self.path}{more}")
        port: Any = await endpoint.listen(Factory.forProtocol(Protocol))
        self.addCleanup(port.stopListening)
        return port

    async def refused(self, more: str = "") -> OSError:
        """Why there can be no port."""
        with self.assertRaises(CannotListenError) as caught:
            await self.listen(more)
        error: OSError = caught.exception.socketError
        return error

    async def test_abandoned(self) -> None:
        """A socket on which nobody listens is replaced, whatever a file says."""
        abandon(self.path)
        await self.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)

    async def test_leavesNothing(self) -> None:
        """It has the mode that was asked for; in the end nothing is left."""
        port = await self.listen(":mode=600")
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(os.listdir(self.directory), ["socket"])
        await port.stopListening()
        self.assertEqual(os.listdir(self.directory), [])

    async def test_taken(self) -> None:
        """One on which somebody listens is not, also if nobody else fits in there."""
        await self.listen()
        self.assertIn("in use", (await self.refused()).strerror)
        os.unlink(self.path)
        with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
            busy.bind(self.path)
            busy.listen(0)
            client.connect(self.path)
            self.assertIn("in use", (await self.refused()).strerror)
            with socket.socket(socket.AF_UNIX) as second:
                second.setblocking(False)
                self.assertRaises(BlockingIOError, second.connect, self.path)

    async def test_others(self) -> None:
        """Nothing else is removed: a file, a link, a directory, a socket of another kind."""
        with open(self.path, "w") as file:
            file.write("precious")
        await self.refused()
        with open(self.path) as file:
            self.assertEqual(file.read(), "precious")
        os.unlink(self.path)
        abandon(os.path.join(self.directory, "target"))
        os.symlink("target", self.path)
        await self.refused()
        self.assertTrue(os.path.islink(self.path))
        os.unlink(self.path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(self.path)
            await self.refused()
            self.assertTrue(os.path.exists(self.path))

    async def test_wanted(self) -> None:
        """Who does not want that gets what the system says."""
        abandon(self.path)
        self.assertIn("in use", (await self.refused(":lockfile=0")).strerror)

    async def test_abstract(self) -> None:
        """A name that is in no file system needs none of it."""
        name = f"\0thing-{os.getpid()}"
        await self.listen(path=name)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(name)

    async def test_two(self) -> None:
        """Of two that start at once the second one gives up; a file that is left is nothing."""
        lock = os.path.join(self.directory, ".socket.starting")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        abandon(self.path)
        self.assertIn("about to listen", (await self.refused()).strerror)
        self.assertTrue(os.path.exists(self.path))
        os.close(descriptor)  # As when its process is killed.
        await self.listen()
        self.assertFalse(os.path.exists(lock))

    async def test_lockedDirectory(self) -> None:
        """Who may only look into the directory, and locks that, keeps nobody from listening."""
        descriptor = os.open(self.directory, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        await self.listen()

    async def test_relative(self) -> None:
        """The path may be relative."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        abandon("socket")
        await self.listen(path="socket")
        self.assertEqual(sorted(os.listdir()), ["socket", "socket.lock"])

    async def test_noLocks(self) -> None:
        """Where there are no locks it is done all the same."""

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOLCK, "no locks there")

        self.patch(temporary.fcntl, "flock", refuse)
        abandon(self.path)
        await self.listen()

    async def test_noDirectory(self) -> None:
        """What cannot be is told as the system says it."""
        self.path = os.path.join(self.directory, "no", "socket")
        self.assertIn("No such file", (await self.refused()).strerror)


class KilledTests(TwistdCase):
    """``twistd thing`` on unix sockets, after the one before was killed."""

    async def test_again(self) -> None:
        """It listens again, for things and for those who watch."""
        paths = [os.path.join(socketDirectory(self), name) for name in ("things", "status")]
        options = [f"--port=unix:{paths[0]}", f"--status=unix:{paths[1]}"]
        first = self.twistd(*options)
        await first.whenLine("Listening on")
        os.kill(first.pid, signal.SIGKILL)
        await first.ended
        for path in paths:
            self.assertTrue(os.path.exists(path))
            os.unlink(path)
            abandon(path)
        second = self.twistd(*options)
        await second.whenLine("Listening on")
        for path in paths:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
        await self.stop(second)
