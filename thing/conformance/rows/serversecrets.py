"""Rows about what a server makes of shared secrets and of a puzzle's solution."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from thing.conformance.asclient import ClientPeer
from thing.conformance.bench import ServerBench
from thing.conformance.check import SERVER, Checks
from thing.conformance.steps import changing, refusedIn
from thing.conformance.verdict import Failed, NotTried, Over, judge
from thing.conformance.words import Twists, flipped
from thing.core.extensions import ExtensionType, GivenTicket, find
from thing.core.layout import OCTETS32, OPAQUE16, UINT8
from thing.core.messages import MessageType
from thing.core.preshared import Form, Preshared
from thing.errors import ErrorCode
from thing.identity import CredentialKind, Identity

SERVER_SECRETS = Checks()

_NOBODY = Identity(CredentialKind.NONE)
_LAST = (
    "PRESHARED_KEY MUST be the last extension of a CHI, else the server refuses with "
    "``MALFORMED_MESSAGE``."
)


def _offer(form: int, identity: bytes) -> bytes:
    """An offer of a secret that nobody has."""
    return UINT8.write(form) + OPAQUE16.write(identity) + OCTETS32.write(secrets.token_bytes(32))


def _signing(bench: ServerBench) -> None:
    """Skip the check where this side knows a pre-shared key only."""
    if bench.choice.offer is not None:
        raise NotTried("with --preshared-key no signature of the server is believed")


def _offering(*values: tuple[int, bytes]) -> Twists:
    """Put extensions into CHI."""
    return changing(
        MessageType.CHI, lambda chi: replace(chi, extensions=(*chi.extensions, *values))
    )


@SERVER_SECRETS.row("secrets.last", SERVER, "Extensions", _LAST)
async def _notLast(bench: ServerBench) -> None:
    offer = (ExtensionType.PRESHARED_KEY, _offer(2, b"a ticket"))
    peer = await bench.peer(_offering(offer, (0xFF01, b"")), offer=None)
    await refusedIn(peer, ErrorCode.MALFORMED_MESSAGE)


@SERVER_SECRETS.row(
    "handshake.unasked-extensions",
    SERVER,
    "Extensions",
    "SHI, SDH, SCC and SHF hold only extensions whose number CHI had, but for PUZZLE and NEXT_KEY.",
)
async def _unasked(bench: ServerBench) -> None:
    peer = await bench.session()
    choice = peer.choice
    offered = {ExtensionType.TICKET: choice.wantsTicket, ExtensionType.PRESHARED_KEY: choice.offer}
    legal = {ExtensionType.NEXT_KEY, *(number for number, had in offered.items() if had)}
    for message in (peer.shi, peer.sdh, peer.scc, peer.shf):
        for number, _ in message.extensions:
            if number not in legal:
                raise Failed(f"{message.TYPE.name} has the extension {number}, not asked for")


_IGNORED = (
    "A server ignores a ticket that it cannot open, that has expired, or whose identity is of a "
    "kind that it no longer takes: the handshake goes on with signatures."
)


async def _ignored(bench: ServerBench, offer: bytes) -> None:
    """Offer what the server must pass over: the handshake goes on with signatures."""
    _signing(bench)
    peer = await bench.session(_offering((ExtensionType.PRESHARED_KEY, offer)), offer=None)
    await peer.alive()


@SERVER_SECRETS.row(
    "secrets.other-form", SERVER, "Extensions", "A server ignores an offer of another form."
)
async def _otherForm(bench: ServerBench) -> None:
    await _ignored(bench, _offer(9, b"what is this"))


@SERVER_SECRETS.row("tickets.unknown", SERVER, "Resumption", _IGNORED)
async def _unknownTicket(bench: ServerBench) -> None:
    await _ignored(bench, _offer(Form.TICKET, secrets.token_bytes(200)))


@SERVER_SECRETS.row(
    "preshared.unknown",
    SERVER,
    "Pre-shared keys",
    "If it is not known, or the binder is wrong, it refuses with ``NOT_AUTHORIZED``.",
)
async def _unknownIdentity(bench: ServerBench) -> None:
    offer = (ExtensionType.PRESHARED_KEY, _offer(Form.KEY, b"nobody has this"))
    peer = await bench.peer(_offering(offer), offer=None)
    try:
        await peer.begin()
    except Over as end:
        judge(end, (ErrorCode.NOT_AUTHORIZED,))
    else:
        raise NotTried("it takes no pre-shared keys")


def _ownKey(bench: ServerBench) -> Preshared:
    if bench.choice.offer is None:
        raise NotTried("no --preshared-key was given")
    return bench.choice.offer


@SERVER_SECRETS.row(
    "preshared.accepted",
    SERVER,
    "Pre-shared keys",
    "With a pre-shared key both sides are proved by their MACs, and no ticket is given: it could "
    "save nothing.",
)
async def _presharedTaken(bench: ServerBench) -> None:
    _ownKey(bench)
    peer = await bench.session(wantsTicket=True)
    if not peer.taken:
        raise Failed("it does not take the pre-shared key")
    if find(peer.shf.extensions, ExtensionType.TICKET) is not None:
        raise Failed("it gives a ticket")
    await peer.alive()


@SERVER_SECRETS.row(
    "preshared.binder",
    SERVER,
    "Pre-shared keys",
    "If it is not known, or the binder is wrong, it refuses with ``NOT_AUTHORIZED``.",
)
async def _wrongBinder(bench: ServerBench) -> None:
    _ownKey(bench)
    peer = await bench.peer(Twists(mac={MessageType.CHI: flipped}))
    await refusedIn(peer, ErrorCode.NOT_AUTHORIZED)


async def _ticket(bench: ServerBench) -> tuple[ClientPeer, Preshared]:
    """A session that gave a ticket, and the ticket."""
    _signing(bench)
    peer = await bench.session(wantsTicket=True)
    value = find(peer.shf.extensions, ExtensionType.TICKET)
    if value is None:
        raise NotTried("it gives no tickets")
    given = GivenTicket.decode(value)
    if not 0 < len(given.ticket) <= 768 or not given.lifetime:
        raise Failed(f"a ticket of {len(given.ticket)} octets, for {given.lifetime} s")
    return peer, Preshared(Form.TICKET, given.ticket, peer.resumption, _NOBODY)


@SERVER_SECRETS.row("tickets.accepted", SERVER, "Resumption", "Otherwise it accepts the secret.")
async def _resumed(bench: ServerBench) -> None:
    _, offer = await _ticket(bench)
    peer = await bench.session(offer=offer, wantsTicket=True)
    if not peer.taken:
        raise NotTried("it does not take its ticket, as a server may")
    await peer.alive()


@SERVER_SECRETS.row(
    "tickets.binder",
    SERVER,
    "Resumption",
    "If it can open it, and the binder is wrong, it refuses with ``BAD_MAC``.",
)
async def _ticketsBinder(bench: ServerBench) -> None:
    _, offer = await _ticket(bench)
    peer = await bench.peer(Twists(mac={MessageType.CHI: flipped}), offer=offer)
    await refusedIn(peer, ErrorCode.BAD_MAC)


@SERVER_SECRETS.row(
    "tickets.secret",
    SERVER,
    "Resumption",
    "If it can open it, and the binder is wrong, it refuses with ``BAD_MAC``.",
)
async def _ticketsSecret(bench: ServerBench) -> None:
    _, offer = await _ticket(bench)
    peer = await bench.peer(offer=replace(offer, secret=bytes(32)))
    await refusedIn(peer, ErrorCode.BAD_MAC)


@SERVER_SECRETS.row("tickets.tampered", SERVER, "Resumption", _IGNORED)
async def _tamperedTicket(bench: ServerBench) -> None:
    _, offer = await _ticket(bench)
    peer = await bench.session(offer=replace(offer, identity=flipped(offer.identity)))
    if peer.taken:
        raise Failed("it takes a ticket of which a bit was changed")
    await peer.alive()


# Retry.


async def _asked(bench: ServerBench, **choice: Any) -> ClientPeer:
    """A connection of which the server wants a puzzle solved."""
    _signing(bench)
    peer = await bench.peer(offer=None, **choice)
    peer.offerTo(peer.chi())
    await peer.choose()
    if peer.shi.group != 0:
        raise NotTried("it asks for no retry; have it ask everybody to try this")
    return peer


_EQUAL = "All but SOLUTION and PRESHARED_KEY equals the first CHI, else ``PUZZLE_UNSOLVED``."
_UNSOLVED = (
    "There is a SOLUTION (``PUZZLE_UNSOLVED``), it has its layout (``MALFORMED_MESSAGE``), and it "
    "solves the puzzle (``PUZZLE_UNSOLVED``)."
)


@SERVER_SECRETS.row("retry.unsolved", SERVER, "Retry and puzzle", _UNSOLVED)
async def _unsolved(bench: ServerBench) -> None:
    peer = await _asked(bench)
    assert peer.puzzle is not None, "it was asked"
    peer.offerTo(peer.chi())
    await peer.refused(ErrorCode.PUZZLE_UNSOLVED)


@SERVER_SECRETS.row("retry.differs", SERVER, "Retry and puzzle", _EQUAL)
async def _differs(bench: ServerBench) -> None:
    peer = await _asked(bench)
    peer.choice = replace(peer.choice, ttl=4321)
    peer.solve()
    await peer.refused(ErrorCode.PUZZLE_UNSOLVED)


@SERVER_SECRETS.row("retry.solved", SERVER, "Retry and puzzle", "and asks for no second retry.")
async def _solved(bench: ServerBench) -> None:
    peer = await _asked(bench)
    peer.solve()
    await peer.choose()
    if peer.shi.group == 0:
        raise Failed("it asks for a second retry")
