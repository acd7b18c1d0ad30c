"""Rows about retry, shared secrets and announced keys, to a client."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from thing.conformance.asserver import ServerPeer
from thing.conformance.bench import ClientBench
from thing.conformance.check import CLIENT, Checks, Profile
from thing.conformance.steps import (
    changing,
    refusedIn,
)
from thing.conformance.verdict import Failed, NotTried, Over
from thing.core.extensions import ExtensionType, GivenTicket, Puzzle, Solution, find
from thing.core.handshakemessages import CHI
from thing.core.messages import SNK, MessageType
from thing.core.nextkey import announcement
from thing.core.puzzle import solves
from thing.errors import ErrorCode
from thing.trust.keys import IdentityKey

CLIENT_SECRETS = Checks()

T = MessageType


# Retry.


async def _asks(bench: ClientBench, extensions: Any, *codes: ErrorCode) -> None:
    """Ask for a retry that must be refused."""
    peer = await bench.peer()
    await peer.hear()
    peer.ask(extensions)
    await peer.refused(*codes)


async def _retried(bench: ClientBench) -> tuple[ServerPeer, CHI, Puzzle]:
    """A client that was asked for a retry, and went for it; and its first CHI."""
    peer = await bench.peer()
    first = await peer.hear()
    puzzle = peer.askPuzzle(4)
    try:
        await peer.hear()
    except Over as end:
        if end.code != ErrorCode.RETRY_REFUSED:
            raise
        bench.needsAll("retries")
        raise
    return peer, first, puzzle


@CLIENT_SECRETS.row(
    "retry.solved", CLIENT, "Retry and puzzle", "The second CHI has the extension SOLUTION."
)
async def _solved(bench: ClientBench) -> None:
    peer, first, puzzle = await _retried(bench)
    given = find(peer.chi.extensions, ExtensionType.SOLUTION)
    if given is None or not solves(puzzle, first.random, Solution.decode(given).number):
        raise Failed("it does not solve the puzzle")
    await peer.conclude()
    await peer.alive()


@CLIENT_SECRETS.row(
    "retry.same",
    CLIENT,
    "Retry and puzzle",
    "all that the first had stands in the second one, octet by octet;",
)
async def _same(bench: ClientBench) -> None:
    peer, first, _ = await _retried(bench)
    changing = (ExtensionType.SOLUTION, ExtensionType.PRESHARED_KEY)
    one, other = (
        replace(chi, extensions=tuple(sorted(e for e in chi.extensions if e[0] not in changing)))
        for chi in (first, peer.chi)
    )
    if one != other:
        raise Failed("its second CHI differs from the first")


@CLIENT_SECRETS.row(
    "retry.second",
    CLIENT,
    "Retry and puzzle",
    "this is the first retry (``RETRY_REFUSED``),",
)
async def _second(bench: ClientBench) -> None:
    peer, _, _ = await _retried(bench)
    peer.askPuzzle(1)
    await peer.refused(ErrorCode.RETRY_REFUSED)


@CLIENT_SECRETS.row(
    "retry.no-puzzle", CLIENT, "Retry and puzzle", "there is a puzzle (``RETRY_REFUSED``),"
)
async def _noPuzzle(bench: ClientBench) -> None:
    await _asks(bench, (), ErrorCode.RETRY_REFUSED)


@CLIENT_SECRETS.row(
    "retry.too-hard",
    CLIENT,
    "Retry and puzzle",
    "and its difficulty is not above the client's own bound, for which 20 bits SHOULD be the "
    "default (``RETRY_REFUSED``).",
)
async def _tooHard(bench: ClientBench) -> None:
    puzzle = Puzzle(bytes(32), 255).encode()
    await _asks(bench, ((ExtensionType.PUZZLE, puzzle),), ErrorCode.RETRY_REFUSED)


@CLIENT_SECRETS.row(
    "retry.layout", CLIENT, "Retry and puzzle", "it has its layout (``MALFORMED_MESSAGE``),"
)
async def _layout(bench: ClientBench) -> None:
    codes = (ErrorCode.MALFORMED_MESSAGE, ErrorCode.RETRY_REFUSED)
    legal = codes if bench.terms.profile is Profile.SMALL else codes[:1]
    await _asks(bench, ((ExtensionType.PUZZLE, b"short"),), *legal)


# Shared secrets.


@CLIENT_SECRETS.row(
    "preshared.accepted",
    CLIENT,
    "Pre-shared keys",
    "With a pre-shared key both sides are proved by their MACs, and no ticket is given: it could "
    "save nothing.",
)
async def _preshared(bench: ClientBench) -> None:
    if not bench.choice.presharedKeys:
        raise NotTried("no --preshared-key was given")
    peer = await bench.session()
    if peer.preshared is None:
        raise Failed("it does not offer the pre-shared key")
    await peer.alive()


@CLIENT_SECRETS.row(
    "preshared.not-taken",
    CLIENT,
    "Handshake",
    "If there is none, it did not offer a pre-shared key, else ``NO_COMMON_CREDENTIAL``;",
)
async def _presharedNotTaken(bench: ClientBench) -> None:
    if not bench.choice.presharedKeys:
        raise NotTried("no --preshared-key was given")
    peer = await bench.peer(presharedKeys={})
    await refusedIn(peer, ErrorCode.NO_COMMON_CREDENTIAL)


@CLIENT_SECRETS.row(
    "tickets.layout",
    CLIENT,
    "Handshake",
    "A ticket that it asked for has its layout, else ``MALFORMED_MESSAGE``.",
)
async def _ticketsLayout(bench: ClientBench) -> None:
    peer = await bench.peer(ticket=b"?")
    chi = await peer.hear()
    if find(chi.extensions, ExtensionType.TICKET) is None:
        raise NotTried("it asks for no tickets")
    peer.answer()
    await peer.exchange()
    peer.prove()
    await peer.finish()
    await peer.refused(ErrorCode.MALFORMED_MESSAGE)


@CLIENT_SECRETS.row(
    "tickets.offered",
    CLIENT,
    "Resumption",
    "In a later handshake the client MAY offer the ticket by PRESHARED_KEY, ``form`` 2, with a "
    "binder; the secret is the resumption secret.",
)
async def _ticketOffered(bench: ClientBench) -> None:
    ticket = secrets.token_bytes(32)
    peer = await bench.session(ticket=GivenTicket(3600, ticket).encode())
    if find(peer.chi.extensions, ExtensionType.TICKET) is None:
        raise NotTried("it asks for no tickets")
    await peer.alive()  # It has the ticket now.
    peer = await bench.session(tickets={ticket: peer.resumption})
    if peer.preshared is None:
        raise NotTried("it does not offer its ticket, as a client may")
    await peer.alive()


@CLIENT_SECRETS.row(
    "tickets.too-long", CLIENT, "Extensions", "A client ignores one of another length."
)
async def _ticketsLength(bench: ClientBench) -> None:
    peer = await bench.session(ticket=GivenTicket(3600, bytes(769)).encode())
    if find(peer.chi.extensions, ExtensionType.TICKET) is None:
        raise NotTried("it asks for no tickets")
    await peer.alive()


# The server's next key.


@CLIENT_SECRETS.row(
    "handshake.unanswered-extensions",
    CLIENT,
    "Extensions",
    "CDH and CCC hold only extensions that SHI answered.",
)
async def _unanswered(bench: ClientBench) -> None:
    peer = await bench.session()
    if peer.cdh.extensions or peer.ccc.extensions:
        raise Failed("CDH or CCC has an extension that nobody answered")


_DUE = "SHF had NEXT_KEY, and this is the first SNK of the session (``UNEXPECTED_MESSAGE``);"


async def _announcing(bench: ClientBench, **fields: Any) -> tuple[ServerPeer, SNK]:
    """A session in which a next key is due, and the announcement; some fields are changed."""
    due = (ExtensionType.NEXT_KEY, b"")
    peer = await bench.session(
        changing(T.SHF, lambda shf: replace(shf, extensions=(*shf.extensions, due)))
    )
    if peer.preshared is not None:
        raise NotTried("with a pre-shared key no other is announced")
    current, following = bench.choice.credential, IdentityKey.generate()
    snk = announcement(peer.session.sessionId, current, following)
    return peer, replace(snk, **fields)


@CLIENT_SECRETS.row(
    "nextkey.taken",
    CLIENT,
    "Server Next Key",
    "A client that keeps no such records makes the checks all the same, and then ignores what was "
    "said.",
)
async def _nextKey(bench: ClientBench) -> None:
    peer, snk = await _announcing(bench)
    peer.send(snk)
    await peer.alive()


@CLIENT_SECRETS.row("nextkey.twice", CLIENT, "Server Next Key", _DUE)
async def _nextKeyTwice(bench: ClientBench) -> None:
    peer, snk = await _announcing(bench)
    peer.send(snk, snk)
    await peer.refused(ErrorCode.UNEXPECTED_MESSAGE)


@CLIENT_SECRETS.row("nextkey.not-due", CLIENT, "Server Next Key", _DUE)
async def _nextKeyNotDue(bench: ClientBench) -> None:
    _, snk = await _announcing(bench)
    peer = await bench.session()
    peer.send(snk)
    await peer.refused(ErrorCode.UNEXPECTED_MESSAGE)


def _announcingWrongly(name: str, sentence: str, code: ErrorCode, **fields: Any) -> None:
    """A row about an announcement of which some fields are wrong."""

    async def run(bench: ClientBench) -> None:
        peer, snk = await _announcing(bench, **fields)
        peer.send(snk)
        await peer.refused(code)

    CLIENT_SECRETS.add(name, CLIENT, "Server Next Key", sentence, run)


_announcingWrongly(
    "nextkey.signature",
    "and ``signature`` verifies under the current key (``BAD_SIGNATURE``);",
    ErrorCode.BAD_SIGNATURE,
    signature=bytes(64),
)
_announcingWrongly(
    "nextkey.next-signature",
    "and ``nextSignature`` verifies under the next key (``BAD_SIGNATURE``).",
    ErrorCode.BAD_SIGNATURE,
    nextSignature=bytes(64),
)
_announcingWrongly(
    "nextkey.kind",
    "the next kind is one that it offered in CHI (``BAD_CREDENTIAL``);",
    ErrorCode.BAD_CREDENTIAL,
    credentialKind=0xF1,
)
_announcingWrongly(
    "nextkey.scheme",
    "``scheme`` belongs to the current key (``BAD_CREDENTIAL``)",
    ErrorCode.BAD_CREDENTIAL,
    scheme=0x0403,
)
