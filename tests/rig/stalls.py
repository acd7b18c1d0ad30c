"""
A process that stands still for two thirds of a TTL loses nobody; past a TTL both sides know.

Both sides at once may stand still for as long as they like. Either side, or both, is stopped by
``SIGSTOP`` or held up by its own program, on Twisted and on asyncio, for less than two thirds of
the TTL, for almost all of it, and for much longer. What a peer is told, and how long after the
other stood still, is in the rows.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from tests.rig.check import Row
from tests.rig.peers import ASYNCIO, TWISTED, Peer, connected, endsOf

SESSIONS = 20
"""How many sessions each row has."""

LESS, ABOUT, MORE = 0.6, 0.9, 3.0
"""For how many TTLs a side stands still: ``LESS`` loses nobody, ``MORE`` all."""

GRACE = 1.0
"""
How long a client that stood still itself waits for the server at most, or its TTL if that is less,
seconds; a server waits for another TTL (specification, "Grace").
"""

TOLERANCE = 1.0
"""
The tolerance of the measurement: how much later than promised an end may be seen, seconds. It takes
a machine with other work some time to run a process again, and what it tells some time to come.
"""


@dataclass(frozen=True)
class Stall:
    """Who stands still, and how."""

    kind: str
    """On what both sides run."""
    who: str
    """``client``, ``server`` or ``both``."""
    how: str
    """``SIGSTOP`` or ``a callback``."""
    ttl: float
    """Seconds."""
    ttls: float
    """For how many TTLs."""

    @property
    def seconds(self) -> float:
        """For how long."""
        return self.ttl * self.ttls

    def __str__(self) -> str:
        on = "asyncio" if self.kind == ASYNCIO else "Twisted"
        return f"{on}, TTL {self.ttl:g} s: {self.who} held {self.seconds:g} s by {self.how}"


SHORT = (
    # For longer than a server may wait that had no time itself: on a busy machine it has none.
    Stall(TWISTED, "client", "SIGSTOP", 1.0, MORE),
    Stall(TWISTED, "server", "SIGSTOP", 1.0, MORE),
    Stall(TWISTED, "both", "SIGSTOP", 1.0, MORE),
    # Long enough to be late, with a sixth of the TTL to spare for a beat that was due.
    Stall(TWISTED, "client", "SIGSTOP", 5.0, 0.5),
)


def hold(stall: Stall, peers: dict[str, Peer]) -> float:
    """
    Have them stand still, and go on.

    :param stall: who, and how.
    :param peers: by their names.
    :return: when they stood still, monotonic seconds.
    """
    held = list(peers.values()) if stall.who == "both" else [peers[stall.who]]
    began = time.monotonic()
    for peer in held:
        if stall.how == "SIGSTOP":
            peer.signal(signal.SIGSTOP)
        else:
            peer.do("stall", stall.seconds)
    time.sleep(stall.seconds)
    for peer in held:
        peer.signal(signal.SIGCONT)
    return began


def told(ends: dict[str, list[dict[str, Any]]], since: float) -> str:
    """
    How sessions ended, in words.

    :param ends: as :func:`tests.rig.peers.endsOf` has them.
    :param since: from when to count, monotonic seconds.
    :return: each cause, and when it was told first and last.
    """
    times: dict[str, list[float]] = {}
    for all_ in ends.values():
        for end in all_:
            times.setdefault(end["cause"], []).append(end["at"] - since)
    return ", ".join(
        f"{len(each)} {cause} {min(each):.1f}-{max(each):.1f} s" for cause, each in times.items()
    )


def tried(stall: Stall, tolerance: float) -> Iterator[Row]:
    """
    Do it to some sessions.

    :param stall: what.
    :param tolerance: how much later than promised an end may be seen, seconds.
    :return: a row, or one for each side.
    """
    with ExitStack() as onto:
        peers = {"server": Peer(onto, stall.kind), "client": Peer(onto, stall.kind)}
        connected(peers["server"], peers["client"], [stall.ttl] * SESSIONS)
        time.sleep(stall.ttl / 2)  # All have beaten.
        began = hold(stall, peers)
        if stall.ttls < 1 or stall.who == "both":
            time.sleep(stall.ttl + GRACE + TOLERANCE)  # Nobody has more time than that.
            yield survived(stall, list(peers.values()))
        else:
            for name, peer in peers.items():
                yield judged(stall, name, peer, began, tolerance)


def survived(stall: Stall, peers: list[Peer]) -> Row:
    """
    See whom a stall cost that was shorter than the TTL, or of both sides at once.

    :param stall: what was done.
    :param peers: both.
    """
    lost = []
    for peer in peers:
        peer.figures()  # It lives.
        lost.append({name for name, ends in endsOf(peer).items() if ends})
    alike = lost[0] == lost[1] and all(len(peer.of("end")) == len(lost[0]) for peer in peers)
    figure = f"{len(lost[0])} of {SESSIONS} lost{'' if alike else ' at one side only'}"
    mayLose = stall.who != "both" and stall.ttls > LESS
    return Row(str(stall), figure, alike and (mayLose or not lost[0]))


def judged(stall: Stall, name: str, peer: Peer, began: float, tolerance: float) -> Row:
    """
    See what one side told of a long stall.

    Who was there knows within a TTL; who was not, within its grace once it is again.

    :param stall: what was done.
    :param name: the side.
    :param peer: its process.
    :param began: when it was done, monotonic seconds.
    :param tolerance: as of :func:`tried`.
    """
    there = stall.who != name
    most = stall.ttl if name == "server" else min(stall.ttl, GRACE)
    grace = 0.0 if there else most
    limit = (stall.ttl if there else stall.seconds + grace) + tolerance
    peer.waits(
        lambda: len(peer.of("end")) >= SESSIONS, began + limit + tolerance - time.monotonic()
    )
    ends = endsOf(peer)
    once = all(len(each) == 1 and each[0]["cause"] != "GOODBYE" for each in ends.values())
    latest = max((each[-1]["at"] - began for each in ends.values() if each), default=0.0)
    return Row(f"{stall}, the {name} told", told(ends, began), once and latest <= limit)


def check(short: bool) -> Iterator[Row]:
    """All of that, or one of each by ``SIGSTOP``."""
    if short:
        for stall in SHORT:
            yield from tried(stall, 3 * TOLERANCE)
        return
    for kind in (TWISTED, ASYNCIO):
        for ttl in (2.0, 5.0):
            for how in ("SIGSTOP", "a callback"):
                for who in ("client", "server", "both"):
                    for ttls in (LESS, ABOUT, MORE):
                        yield from tried(Stall(kind, who, how, ttl, ttls), TOLERANCE)
