"""
A wall clock that is set, at either side, by an hour or a day, forward or back, ends no session.

Sessions of all TTLs, from the shortest that there is, are up on Twisted and on asyncio while the
wall clock of one side is set, or of both, and set right again. None may end. Then one side is
stopped in the same moment in which the other's clock is set: the other must know as if it had not
been.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.rig.check import Row
from tests.rig.peers import ASYNCIO, TWISTED, Peer, connected
from tests.rig.wallclock import WallClock

HOUR, DAY = 3600, 86400

STEPS = {"an hour on": HOUR, "an hour back": -HOUR, "a day on": DAY, "a day back": -DAY}

TTLS = (0.3, 0.5, 1.0, 1.5, 2.0, 5.0, 30.0)
"""The TTLs of the sessions, seconds."""

EACH = 10
"""How many sessions have each."""

WATCHED = 6.0
"""How long is waited after each step, seconds: the longest TTL but one, and more."""

TOLERANCE = 1.0
"""How much later than promised an end may be told, seconds."""


class Site:
    """Two peers with a wall clock each, and sessions between them."""

    def __init__(self, onto: ExitStack, directory: Path, kind: str, ttls: list[float]) -> None:
        """
        :param onto: ends them.
        :param directory: for the clocks.
        :param kind: on what they run.
        :param ttls: of their sessions.
        """
        self.count = len(ttls)
        self.clocks = {name: WallClock(directory, name) for name in ("server", "client")}
        for clock in self.clocks.values():
            onto.callback(clock.close)
        self.server, self.client = self.peers = [
            Peer(onto, kind, environment=self.clocks[name].environment)
            for name in ("server", "client")
        ]
        connected(self.server, self.client, ttls)

    def set(self, who: str, ahead: int) -> None:
        """
        Set a clock, or both.

        :param who: whose.
        :param ahead: how far it is ahead of the machine's, seconds.
        """
        for name, clock in self.clocks.items():
            if who in (name, "both"):
                clock.set(ahead)

    def lost(self) -> int:
        """How many sessions ended, at either side."""
        for peer in self.peers:
            peer.figures()  # It lives.
        return len({each["id"] for peer in self.peers for each in peer.of("end")})


def unset(site: Site, kind: str, watched: float) -> Iterator[Row]:
    """
    See what is lost if no clock is set: on a busy machine the shortest TTLs may be.

    :param site: whose.
    :param kind: on what it runs.
    :param watched: for how long, seconds.
    """
    time.sleep(watched)
    yield Row(
        f"{kind}: no clock is set, to compare with", f"{site.lost()} of {site.count} lost", True
    )


def stepped(
    site: Site, kind: str, watched: float, sides: Iterable[str], steps: Mapping[str, int]
) -> Iterator[Row]:
    """
    Set the clocks, and back.

    :param site: whose.
    :param kind: on what it runs.
    :param watched: how long to wait after each step, seconds.
    :param sides: whose clocks, by turns.
    :param steps: by their names, how far.
    """
    for who in sides:
        for name, by in steps.items():
            before = site.lost()
            for ahead in (by, 0):
                site.set(who, ahead)
                time.sleep(watched)
            lost = site.lost() - before
            what = f"{kind}: {who} set {name}, and right again"
            yield Row(what, f"{lost} of {site.count} lost", not lost)


def stopped(site: Site, kind: str, ttl: float, who: str, ahead: int, tolerance: float) -> Row:
    """
    Set one side's clock while the other stands still.

    :param site: has sessions of one TTL.
    :param kind: on what it runs.
    :param ttl: the TTL, seconds.
    :param who: whose clock is set.
    :param ahead: by how much, seconds.
    :param tolerance: how much later than its TTL an end may be told, seconds.
    """
    there, gone = (site.server, site.client) if who == "server" else (site.client, site.server)
    gone.signal(signal.SIGSTOP)
    began = time.monotonic()
    site.set(who, ahead)
    there.waits(lambda: len(there.of("end")) >= site.count, ttl + 2 * tolerance)
    times = [each["at"] - began for each in there.of("end") if each["at"] > began]
    return Row(
        f"{kind}: {who} set {ahead:+d} s as the other stands still",
        f"{len(times)} told within {max(times, default=0.0):.2f} s of TTL {ttl:g} s",
        len(times) == site.count and max(times) <= ttl + tolerance,
    )


def check(short: bool) -> Iterator[Row]:
    """All of that, or an hour back for a client, and then for one that is left alone."""
    with tempfile.TemporaryDirectory(prefix="thing-rig-") as name, ExitStack() as outer:
        directory = Path(name)
        if short:
            site = Site(outer, directory, TWISTED, [1.0] * EACH)
            yield from stepped(site, "Twisted", 1.5, ("client",), {"an hour back": -HOUR})
            yield stopped(site, "Twisted", 1.0, "client", -HOUR, 3 * TOLERANCE)
            return
        for kind, title in ((TWISTED, "Twisted"), (ASYNCIO, "asyncio")):
            with ExitStack() as onto:
                site = Site(onto, directory, kind, list(TTLS) * EACH)
                yield from unset(site, title, WATCHED)
                yield from stepped(site, title, WATCHED, ("client", "server", "both"), STEPS)
            for who in ("client", "server"):
                for ahead in STEPS.values():
                    with ExitStack() as onto:
                        site = Site(onto, directory, kind, [1.0] * EACH)
                        time.sleep(1.0)
                        yield stopped(site, title, 1.0, who, ahead, TOLERANCE)
