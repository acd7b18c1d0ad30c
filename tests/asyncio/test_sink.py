"""Where a link's octets go: how much at a time, and when the kernel asks for more."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any, cast
from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase

from tests.asyncio.loops import run
from thing.asyncio.sink import Sink
from thing.core.pace import AHEAD, FIRST_BATCH, LEAST_BATCH


class Transport:
    """
    Gives what it is given to a socket, as far as that takes it, or keeps it.

    :ivar kept: how many octets it has.
    """

    def __init__(self, ours: socket.socket | None = None, takes: bool = True) -> None:
        self.ours = ours
        self.takes = takes
        self.kept = 0
        self.high: int | None = None

    def write(self, data: bytes) -> None:
        """Give it to the kernel, or keep it."""
        if self.ours is not None:
            self.ours.send(data)
        elif not self.takes:
            self.kept += len(data)

    def get_write_buffer_size(self) -> int:
        """What is kept."""
        return self.kept

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When to tell."""
        self.high = high

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The socket."""
        return self.ours if name == "socket" else default


def opened(transport: Transport, more: Mock) -> Sink:
    """A sink."""
    return Sink(cast(Any, transport), more, asyncio.get_running_loop())


def filled() -> tuple[socket.socket, socket.socket]:
    """Two sockets, the first of which takes a little only."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * FIRST_BATCH)
    return ours, theirs


def descriptors() -> int:
    """How many this process has."""
    return len(os.listdir("/dev/fd"))


class SinkTests(SynchronousTestCase):
    """Over a transport that the test has."""

    def test_quick(self) -> None:
        """A kernel that asks for more at once is given more at once, and nothing is watched."""

        async def main() -> None:
            transport = Transport()
            sink = opened(transport, Mock())
            self.assertEqual(transport.high, 0)
            self.assertEqual(sink.room, FIRST_BATCH)
            sink.send(bytes(FIRST_BATCH), False)
            self.assertEqual(sink.room, 2 * FIRST_BATCH)

        run(main())

    def test_transportKeeps(self) -> None:
        """While the transport keeps some there is no room; how long it does tells the pace."""

        async def main() -> None:
            more = Mock()
            transport = Transport(takes=False)
            sink = opened(transport, more)
            sink.send(b"beat", True)
            self.assertEqual(sink.room, FIRST_BATCH)
            sink.send(bytes(FIRST_BATCH), False)
            self.assertEqual(sink.room, 0)
            await asyncio.sleep(100.0)
            sink.look()
            self.assertEqual((sink.room, more.call_count), (0, 0))
            transport.kept = 0
            sink.look()
            self.assertEqual((sink.room, more.call_count), (LEAST_BATCH, 1))

        run(main())

    def test_kernelHolds(self) -> None:
        """While the kernel holds much the loop tells when that is gone; no descriptor is left."""

        async def main() -> None:
            before = descriptors()
            ours, theirs = filled()
            more = Mock()
            sink = opened(Transport(ours), more)
            while sink.room > 0:
                sink.send(bytes(FIRST_BATCH), False)
            self.assertEqual(descriptors(), before + 3)
            await asyncio.sleep(AHEAD)
            more.assert_not_called()
            while True:
                try:
                    theirs.recv(1 << 16)
                except BlockingIOError:
                    break
            await asyncio.sleep(AHEAD)
            more.assert_called_once_with()
            self.assertGreater(sink.room, 0)
            ours.close()
            theirs.close()
            self.assertEqual(descriptors(), before)

        run(main())

    def test_closed(self) -> None:
        """Who is closed watches nothing; where nothing can be watched, the transport is enough."""

        async def main() -> None:
            before = descriptors()
            more = Mock()
            ours, theirs = filled()
            sink = opened(Transport(ours), more)
            while sink.room > 0:
                sink.send(bytes(FIRST_BATCH), False)
            sink.close()
            self.assertEqual(descriptors(), before + 2)
            theirs.close()
            await asyncio.sleep(AHEAD)
            more.assert_not_called()
            for error in (OSError(24, "no files"), NotImplementedError()):
                ours, theirs = filled()
                self.patch(asyncio.get_running_loop(), "add_writer", Mock(side_effect=error))
                sink = opened(Transport(ours), more)
                for _ in range(3):
                    sink.send(bytes(FIRST_BATCH), False)
                self.assertGreater(sink.room, 0)
                ours.close()
                theirs.close()

        run(main())
