"""
Two hosts with a link between them: network namespaces, TUN devices, and a thread with the packets.

No kernel module is needed and no network of the machine is touched, but it takes root.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from tests.rig.check import LeftOut, needProgram, needRoot

TUN = "/dev/net/tun"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

ADDRESSES = ("192.0.2.1", "192.0.2.2")
"""Of the server and of the client; reserved for documentation (RFC 5737), inside namespaces."""

MTU = 1500
"""The usual size of the largest packet, octets."""


@dataclass(frozen=True)
class Link:
    """What the network is like, in each direction."""

    rate: float
    """Bits a second."""
    roundTrip: float
    """Seconds, without a queue."""
    loss: float = 0.0
    """How many of the packets are lost, of one."""
    reordered: float = 0.0
    """How many arrive half a round trip later than they should, behind others; of one."""
    mtu: int = MTU
    """The size of the largest packet, octets."""

    @property
    def queue(self) -> int:
        """How many octets wait at most: as many as are on their way in one round trip."""
        return max(64 * MTU, int(self.rate / 8 * self.roundTrip))


class Direction:
    """
    The packets of one direction: those that wait for the link, and those that are on it.

    :ivar cut: whether all are lost from now on.
    """

    def __init__(self, link: Link, source: int, target: int) -> None:
        """
        :param link: what it is like.
        :param source: the descriptor of the device that packets come from.
        :param target: that of the device that they go to.
        """
        self.cut = False
        self.source, self.target = source, target
        self._link = link
        self._chance = random.Random(0)  # The same in every run.
        self._free = 0.0  # When the link has carried all that it was given.
        self._taken = 0
        self._arriving: list[tuple[float, int, bytes]] = []

    def take(self, now: float) -> None:
        """
        Take all that the source has; what finds the queue full is lost.

        :param now: the time, seconds.
        """
        link = self._link
        with suppress(BlockingIOError):
            while True:
                packet = os.read(self.source, 65536)
                begin = max(now, self._free)
                full = (begin - now) * link.rate / 8 > link.queue
                if self.cut or full or self._chance.random() < link.loss:
                    continue
                self._free = begin + len(packet) * 8 / link.rate
                halves = 2 if link.reordered and self._chance.random() < link.reordered else 1
                self._taken += 1
                arrives = self._free + halves * link.roundTrip / 2
                heappush(self._arriving, (arrives, self._taken, packet))

    def give(self, now: float) -> float | None:
        """
        Hand over what has arrived.

        :param now: the time, seconds.
        :return: when the next packet arrives; None if none is on its way.
        """
        arriving = self._arriving
        while arriving and arriving[0][0] <= now:
            _, _, packet = heappop(arriving)
            if not self.cut:
                with suppress(OSError):  # The device may be down already.
                    os.write(self.target, packet)
        return arriving[0][0] if arriving else None


class Carrier(threading.Thread):
    """Carries packets both ways until it is stopped, or this process ends."""

    def __init__(self, directions: tuple[Direction, Direction]) -> None:
        """:param directions: both, the one's source the other's target."""
        super().__init__(daemon=True)
        self._directions = directions
        self._stopped = threading.Event()

    def run(self) -> None:
        """Carry."""
        wait: float | None = None
        devices = [each.source for each in self._directions]
        while not self._stopped.is_set():
            readable, _, _ = select.select(devices, [], [], 0.1 if wait is None else wait)
            now = time.monotonic()
            for direction in self._directions:
                if direction.source in readable:
                    direction.take(now)
            now = time.monotonic()
            arrivals = [at for each in self._directions if (at := each.give(now)) is not None]
            wait = max(0.0, min(arrivals) - now) if arrivals else None

    def stop(self) -> None:
        """Stop, and wait until it has."""
        self._stopped.set()
        self.join()


class Network(NamedTuple):
    """Two hosts and what is between them."""

    server: str
    """The namespace of the server's host."""
    client: str
    """The namespace of the client's host."""
    up: Direction
    """From the client to the server."""
    down: Direction
    """From the server to the client."""


def needNetwork() -> None:
    """
    See whether a network can be made here.

    :raises LeftOut: if not.
    """
    needRoot()
    needProgram("ip")
    if not os.access(TUN, os.W_OK):
        raise LeftOut(f"there is no {TUN}")


def command(*words: str) -> None:
    """
    Run a command that has to succeed.

    :param words: the command.
    """
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


def within(namespace: str, *arguments: str) -> list[str]:
    """
    A process of this Python on one of the hosts.

    :param namespace: the host's.
    :param arguments: Python's.
    :return: the command.
    """
    return ["ip", "netns", "exec", namespace, sys.executable, *arguments]


@contextmanager
def network(link: Link) -> Iterator[Network]:
    """
    Two hosts with a link between them, gone at the end.

    :param link: what it is like.
    :return: the hosts.
    """
    names = tuple(f"thing-{os.getpid()}-{side}" for side in ("server", "client"))
    with ExitStack() as stack:
        devices = []
        for name, own, other in zip(names, ADDRESSES, ADDRESSES[::-1], strict=True):
            device = f"tun{len(devices)}t{os.getpid() % 100000}"
            command("ip", "netns", "add", name)
            stack.callback(command, "ip", "netns", "delete", name)
            descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            flags = IFF_TUN | IFF_NO_PI
            fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", device.encode(), flags))
            devices.append(descriptor)
            command("ip", "link", "set", device, "netns", name)
            inside = ("ip", "-netns", name)
            command(*inside, "link", "set", "lo", "up")
            command(*inside, "address", "add", own, "peer", other, "dev", device)
            size = ("mtu", str(link.mtu), "txqueuelen", "1000")
            command(*inside, "link", "set", device, *size, "up")
        down, up = Direction(link, *devices), Direction(link, *devices[::-1])
        carrier = Carrier((down, up))
        carrier.start()
        stack.callback(carrier.stop)
        yield Network(names[0], names[1], up, down)
