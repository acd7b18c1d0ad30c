"""
No session on a thin, lossy or broken link is lost to its own bulk data; a cut is known in time.

Each row has one session on a link of its own. The first ones send as much as goes in both
directions, with heartbeats in between: the slowest of them is the last figure, and is held to what
is promised. In the others the link is cut, in one direction or both, for good or for a while.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

from tests.rig.check import Row
from tests.rig.network import ADDRESSES, Link, Network, needNetwork, network, within
from tests.rig.peers import ASYNCIO, TWISTED, Peer, connected, endsOf
from thing.core.window import QUEUE

MANY = 120.0
"""For how long data are sent, seconds; four TTLs if that is longer."""

TOLERANCE = 1.0
"""The tolerance of the measurement: how much later than promised an end may be seen, seconds."""

FAST = Link(10e6, 0.05)
"""What is cut."""


@dataclass(frozen=True)
class Load:
    """A link that is filled, and the TTL of its session, seconds."""

    link: Link
    ttl: float

    def __str__(self) -> str:
        link = self.link
        parts = [f"{link.rate / 1000:g} kbit/s", f"{link.roundTrip * 1000:g} ms"]
        if link.loss:
            parts.append(f"{link.loss:.0%} lost")
        if link.reordered:
            parts.append(f"{link.reordered:.0%} reordered")
        if link.mtu != Link.mtu:
            parts.append(f"MTU {link.mtu}")
        return f"{', '.join(parts)}, TTL {self.ttl:g} s"


SMALL = Load(Link(64e3, 0.1), 5.0)

LOADS = (
    SMALL,
    replace(SMALL, ttl=30.0),
    Load(Link(32e3, 0.1), 30.0),
    Load(Link(128e3, 0.1), 5.0),
    Load(Link(1e6, 0.05), 2.0),
    Load(Link(1e6, 0.05, loss=0.2), 10.0),
    Load(Link(1e6, 0.6), 5.0),
    Load(Link(2e6, 0.1, reordered=0.3), 5.0),
    Load(Link(1e6, 0.05, mtu=576), 5.0),
    Load(Link(64e3, 0.6, loss=0.02, reordered=0.1, mtu=576), 30.0),
)

LOADS_ON_ASYNCIO = (SMALL, Load(Link(1e6, 0.05), 2.0), Load(Link(1e6, 0.05, loss=0.2), 10.0))
"""What is tried there, too: what is decided is the same, and who measures is not."""


@dataclass(frozen=True)
class Cut:
    """What is lost, for how long, of a session with a TTL of so many seconds."""

    directions: tuple[str, ...]
    ttl: float
    seconds: float | None = None
    """None for good."""

    def __str__(self) -> str:
        how = "for good" if self.seconds is None else f"for {self.seconds:g} s"
        return f"{' and '.join(self.directions)} cut {how}, TTL {self.ttl:g} s"


BOTH = ("up", "down")

CUTS = tuple(
    Cut(directions, 5.0, seconds)
    for seconds in (1.0, None)
    for directions in (("up",), ("down",), BOTH)
)


def slowest(link: Link) -> float | None:
    """
    How long a heartbeat and its acknowledgement may take on a link that is filled both ways.

    Each waits behind its own side's data for at most 0.3 s where the link carries 64 KiB in that
    time, else for the time of 32 KiB, and on the way behind what a window holds there beyond a
    round trip (specification, "Credit"). Beside that comes the round trip, and what a machine with
    other work takes for it: two processes and the link itself want the processor.

    :param link: the link.
    :return: seconds; None where TCP's waits for what it sends again are not ours to promise.
    """
    if link.loss or link.reordered:
        return None
    octets = link.rate / 8
    wait = 0.3 if octets * 0.3 >= 65536 else 32768 / octets
    queue = max(QUEUE, link.roundTrip / 2)
    return 2 * (wait + queue) + link.roundTrip + TOLERANCE


def hosts(
    onto: ExitStack, link: Link, ttl: float, kind: str = TWISTED
) -> tuple[Network, Peer, Peer]:
    """
    Have a session over a link.

    :param onto: ends it.
    :param link: the link.
    :param ttl: the TTL, seconds.
    :param kind: on what both sides run.
    :return: the network, the server and the client.
    """
    net = onto.enter_context(network(link))
    server, client = (Peer(onto, kind, within(namespace)) for namespace in (net.server, net.client))
    connected(server, client, [ttl], ADDRESSES[0])
    return net, server, client


def filled(load: Load, seconds: float, kind: str = TWISTED) -> Row:
    """
    Send as much as goes both ways.

    :param load: on which link.
    :param seconds: for how long.
    :param kind: on what both sides run.
    """
    with ExitStack() as onto:
        _, server, client = peers = hosts(onto, load.link, load.ttl, kind)
        for peer in peers[1:]:
            peer.do("give", None, 0.0)
        time.sleep(seconds)
        (there,), (here,) = server.figures().values(), client.figures().values()
        ends = server.of("end") + client.of("end")
        least = min(there["received"], here["received"])
        figure = f"{least / seconds / 1000:.1f} kB/s, {here['beats']} beats, {here['worst']:.2f} s"
        lives = not ends and least > 0 and (here["beats"] > 0 or seconds < load.ttl)
        most = slowest(load.link)
        soon = most is None or here["worst"] <= most
        what = f"{load}{', asyncio' if kind == ASYNCIO else ''}"
        return Row(what, "; ".join(end["text"] for end in ends) or figure, lives and soon)


def broken(cut: Cut, tolerance: float) -> Row:
    """
    Cut a link.

    :param cut: how.
    :param tolerance: how much later than promised an end may be seen, seconds.
    """
    with ExitStack() as onto:
        net, *peers = hosts(onto, FAST, cut.ttl)
        time.sleep(cut.ttl / 2)
        began = time.monotonic()
        for name in cut.directions:
            getattr(net, name).cut = True
        if cut.seconds is not None:
            time.sleep(cut.seconds)
            net.up.cut = net.down.cut = False
            time.sleep(2 * cut.ttl)
            return Row(str(cut), *lives(peers))
        # Who is heard no more is dead a TTL after its last word. Who does not hear that ends the
        # connection then, and TCP says so in the direction that is left.
        limit = cut.ttl + tolerance
        for peer in peers:
            left = began + limit + tolerance - time.monotonic()
            peer.waits(lambda peer=peer: bool(peer.of("end")), left)  # type: ignore[misc]
        ends = [endsOf(peer).popitem()[1] for peer in peers]
        said = [
            f"{name} {end['cause']} {end['at'] - began:.1f} s"
            for name, all_ in zip(("server", "client"), ends, strict=True)
            for end in all_
        ]
        known = all(len(all_) == 1 and all_[0]["at"] - began <= limit for all_ in ends)
        return Row(str(cut), ", ".join(said), known)


def lives(peers: list[Peer]) -> tuple[str, bool]:
    """
    See whether a session is up at both sides.

    :param peers: its sides.
    :return: the figure, and whether it is.
    """
    ends = [end["text"] for peer in peers for end in peer.of("end")]
    for peer in peers:
        peer.figures()  # The process is there.
    return "; ".join(ends) or "lives", not ends


def check(short: bool) -> Iterator[Row]:
    """Each link by turns, or one of each kind for a moment."""
    needNetwork()
    if short:
        yield filled(SMALL, 4.0)
        for directions in (BOTH, ("down",)):
            yield broken(Cut(directions, 1.0), 3 * TOLERANCE)
        return
    for load in LOADS:
        yield filled(load, max(MANY, 4 * load.ttl))
    for load in LOADS_ON_ASYNCIO:
        yield filled(load, MANY, ASYNCIO)
    for cut in CUTS:
        yield broken(cut, TOLERANCE)
