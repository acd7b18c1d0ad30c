"""
Slow readers and slow writers of 200 MB get every octet, and their sessions live on.

Messages go one way in a session with a short TTL: to a reader that takes them slowly, from a
writer that has them slowly, and as fast as they go. The reader's SHA-256 has to be that of what was
sent, both sides have to beat all the while, and afterwards a goodbye has to be one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from tests.rig.check import Row
from tests.rig.peers import Peer, connected, digestOf

SIZE = 200_000_000
"""How much, octets."""

SHORT = 2_000_000

RATE = 2_000_000.0
"""What a slow side takes or gives, octets a second."""

TTL = 2.0
"""Seconds."""

LIMIT = 300.0
"""How long one may take, seconds."""


@dataclass(frozen=True)
class Transfer:
    """What goes where, and how."""

    up: bool
    """Whether the client sends."""
    size: int = SIZE
    readRate: float = 0.0
    """Octets a second; 0 for as fast as it goes."""
    writeRate: float = 0.0

    def __str__(self) -> str:
        slow = "reader" if self.readRate else "writer" if self.writeRate else ""
        how = f"a {slow} of {RATE / 1e6:g} MB/s" if slow else "no slow side"
        return f"{self.size / 1e6:g} MB {'up' if self.up else 'down'}, TTL {TTL:g} s, {how}"


def tried(transfer: Transfer) -> Row:
    """
    Make one transfer.

    :param transfer: which.
    """
    with ExitStack() as onto:
        server, client = Peer(onto), Peer(onto)
        connected(server, client, [TTL])
        writer, reader = (client, server) if transfer.up else (server, client)
        began = time.monotonic()
        reader.do("read", transfer.readRate)
        writer.do("give", transfer.size, transfer.writeRate)
        while (came := received(reader)) < transfer.size and time.monotonic() < began + LIMIT:
            if reader.of("end") or writer.of("end"):
                break
            time.sleep(0.2)
        took = time.monotonic() - began
        (found,) = reader.figures().values()
        beats = [each["beats"] for peer in (server, client) for each in peer.figures().values()]
        same = came == transfer.size and found["digest"] == digestOf(transfer.size)
        early = reader.of("end") + writer.of("end")
        client.do("goodbye")
        ends = [end["cause"] for peer in (server, client) for end in peer.until("end", 1, 30.0)]
        figure = (
            f"{'the same' if same else f'{came} octets, not the same'} in {took:.1f} s,"
            f" {min(beats)} beats, {' and '.join(ends)}"
        )
        return Row(str(transfer), figure, same and not early and ends == ["GOODBYE"] * 2)


def received(reader: Peer) -> int:
    """
    How much has come.

    :param reader: where.
    """
    return int(sum(each["received"] for each in reader.figures().values()))


def check(short: bool) -> Iterator[Row]:
    """Each way, with a slow reader, a slow writer, and neither; or a reader of little."""
    if short:
        yield tried(Transfer(up=True, size=SHORT, readRate=RATE))
        return
    for up in (True, False):
        yield tried(Transfer(up))
        yield tried(Transfer(up, readRate=RATE))
        yield tried(Transfer(up, writeRate=RATE))
