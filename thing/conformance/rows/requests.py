"""Rows about requests, replies and last words."""

from __future__ import annotations

from thing.conformance.bench import Bench, ServerBench
from thing.conformance.check import BOTH, SERVER, Checks
from thing.conformance.peer import Peer
from thing.conformance.steps import refusing, taking
from thing.conformance.verdict import NotTried, Over, judge
from thing.core.capacity import MIN_STREAM_CREDIT, Capacity
from thing.core.messages import (
    CLW,
    LAST_WORD_LIMIT,
    MORE,
    REQUEST_LIMIT,
    REQUESTS_OUTSTANDING,
)
from thing.core.window import RECORD_COST
from thing.errors import ErrorCode, ReplyStatus

REQUESTS = Checks()

_BETWEEN = (
    "and stands between its messages, never between two fragments of one: that is refused with "
    "``MALFORMED_MESSAGE``, in stream use, too."
)
_NUMBERED = "Any other number is refused with ``REQUEST_NUMBER``."


@REQUESTS.row(
    "requests.answered",
    BOTH,
    "Requests and replies",
    "Either side may send a **request** (CRQ, SRQ) once Established, and the other answers it with "
    "one **reply** (SRP, CRP).",
)
async def _answered(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    for _ in range(3):
        await peer.asked()
    await peer.quiet(peer.theirs.reply)


def _numbered(name: str, *numbers: int) -> None:
    """A row about requests of which the last has a wrong number."""
    run = refusing(
        lambda peer: [peer.say.request(number, b"") for number in numbers],
        ErrorCode.REQUEST_NUMBER,
    )
    REQUESTS.add(name, BOTH, "Requests and replies", _NUMBERED, run)


_numbered("requests.first-0", 0)
_numbered("requests.first-2", 2)
_numbered("requests.skipped", 1, 3)
REQUESTS.add(
    "requests.in-a-message",
    BOTH,
    "Requests and replies",
    _BETWEEN,
    refusing(
        lambda peer: [peer.say.data(MORE, 0, b"half"), peer.say.request(1, b"")],
        ErrorCode.MALFORMED_MESSAGE,
    ),
)
REQUESTS.add(
    "requests.reply-unasked",
    BOTH,
    "Requests and replies",
    "A reply whose number is not that of an unanswered request is refused with "
    "``REPLY_UNEXPECTED``.",
    refusing(lambda peer: [peer.say.reply(1, ReplyStatus.DONE, b"")], ErrorCode.REPLY_UNEXPECTED),
)


@REQUESTS.row(
    "requests.too-long",
    BOTH,
    "Requests and replies",
    "A longer one is refused with ``MESSAGE_TOO_LONG``.",
)
async def _tooLong(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    beyond = REQUEST_LIMIT + 1
    fits = peer.capacity.lastWord - 4 >= beyond
    if not fits or RECORD_COST + beyond > peer.capacity.mainCredit:
        raise NotTried("it takes no record as long as that")
    peer.send(peer.say.request(1, bytes(beyond)))
    await peer.refused(ErrorCode.MESSAGE_TOO_LONG)


@REQUESTS.row(
    "requests.too-many",
    BOTH,
    "Requests and replies",
    "so it refuses, with ``TOO_MANY_REQUESTS``, a peer that asks and does not read.",
)
async def _tooMany(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    numbers = range(1, REQUESTS_OUTSTANDING + 2)
    if len(numbers) * RECORD_COST > peer.capacity.mainCredit:
        raise NotTried("it takes fewer at once")
    peer.send(*(peer.say.request(number, b"") for number in numbers))
    try:
        for _ in numbers:
            await peer.expect(peer.theirs.reply)
    except Over as end:
        judge(end, (ErrorCode.TOO_MANY_REQUESTS,))
    else:
        raise NotTried("it answers each before it reads the next")


@REQUESTS.row(
    "requests.reply-without-credit",
    BOTH,
    "Requests and replies",
    "A reply spends nothing: an application may take no data, and so grant no credit, until its "
    "request is answered.",
)
async def _free(bench: Bench[Peer]) -> None:
    peer = await bench.peer()
    peer.ours = Capacity(512, 576, MIN_STREAM_CREDIT, 0)  # Of nine records, and never more.
    await peer.handshake()
    for number in range(1, 21):
        await peer.give(peer.say.request(number, b""))
        await peer.expect(peer.theirs.reply)


# Last words.

REQUESTS.add(
    "lastword.taken",
    SERVER,
    "Last word",
    "The latest replaces the one before. One without octets withdraws it: there is none.",
    taking(lambda peer: [CLW(b"gone"), CLW(b"really gone"), CLW(b"")]),
)
REQUESTS.add(
    "lastword.in-a-message",
    SERVER,
    "Last word",
    "CLW is in order with the data, and stands between its messages, never between two fragments "
    "of one (``MALFORMED_MESSAGE``).",
    refusing(
        lambda peer: [peer.say.data(MORE, 0, b"half"), CLW(b"gone")], ErrorCode.MALFORMED_MESSAGE
    ),
)


@REQUESTS.row(
    "lastword.too-long",
    SERVER,
    "Last word",
    "It is at most 4096 octets, because a server keeps one for each Connection: a longer one is "
    "refused with ``MESSAGE_TOO_LONG``.",
)
async def _longWord(bench: ServerBench) -> None:
    peer = await bench.session()
    beyond = LAST_WORD_LIMIT + 1
    if peer.capacity.lastWord < beyond or RECORD_COST + beyond > peer.capacity.mainCredit:
        raise NotTried("it takes no record as long as that")
    peer.send(CLW(bytes(beyond)))
    await peer.refused(ErrorCode.MESSAGE_TOO_LONG)
