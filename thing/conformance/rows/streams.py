"""Rows about data, credit and streams: all that both sides may send when a session is up."""

from __future__ import annotations

from collections.abc import Callable

from thing.conformance.bench import Bench
from thing.conformance.check import BOTH, Checks
from thing.conformance.peer import Peer
from thing.conformance.steps import refusing, taking
from thing.conformance.verdict import Failed, NotTried, Over, judge
from thing.core.messages import END, MORE, Accept, Role, Stop
from thing.core.window import RECORD_COST
from thing.errors import ErrorCode, StopCode

STREAMS = Checks()

_WRONG_NUMBER = ErrorCode.STREAM_NUMBER

_FLAGS = (
    "Its flags: ``MALFORMED_MESSAGE`` for an empty fragment with MORE, for MORE with END, for MORE "
    "outside the main stream, and for any other flag."
)
_NEVER = "One that was never opened: ``STREAM_UNKNOWN``."
_ENDED = "What comes all the same is refused with ``STREAM_ENDED``."
_EXCEEDED = (
    "A side MUST NOT spend more than it was granted; the record that does is refused with "
    "``CREDIT_EXCEEDED``."
)
_NUMBER = "Another number in COP or SOP is refused with ``STREAM_NUMBER``."
_LABEL = "the label, which is neither empty nor anything but UTF-8 (``MALFORMED_MESSAGE``);"
_OTHER = (
    "What comes for a number that was never opened, other than COP and SOP, is refused with "
    "``STREAM_UNKNOWN``."
)
_FORGOTTEN = (
    "A stream that is over, or was stopped by either side, is **forgotten**: what still comes for "
    "it, of any kind but COP and SOP, is ignored."
)


def own(peer: Peer, at: int = 0) -> int:
    """
    Tell the number of a stream that this side opens.

    :param peer: the connection.
    :param at: how many it has opened before.
    :return: the number.
    """
    return (1 if peer.role is Role.CLIENT else 2) + 2 * at


def other(peer: Peer) -> int:
    """
    Tell the number of the first stream that the peer would open.

    :param peer: the connection.
    :return: the number.
    """
    return 2 if peer.role is Role.CLIENT else 1


# Data.

STREAMS.add(
    "data.empty",
    BOTH,
    "Data",
    "A message may be empty: one record with flags ``00`` and no data.",
    taking(lambda peer: [peer.say.data(0, 0, b"")]),
)
STREAMS.add(
    "data.fragments",
    BOTH,
    "Data",
    "A fragment with MORE MUST NOT be empty; the last one may be.",
    taking(
        lambda peer: [
            peer.say.data(MORE, 0, b"in "),
            peer.say.data(MORE, 0, b"parts"),
            peer.say.data(0, 0, b""),
        ]
    ),
)


def _flagged(name: str, flags: int, data: bytes) -> None:
    """A row about data with flags that are not legal."""
    run = refusing(lambda peer: [peer.say.data(flags, 0, data)], ErrorCode.MALFORMED_MESSAGE)
    STREAMS.add(name, BOTH, "Data", _FLAGS, run)


_flagged("data.more-empty", MORE, b"")
_flagged("data.more-and-end", MORE | END, b"x")
_flagged("data.unknown-flag", 0x04, b"x")
_flagged("data.unknown-flag-high", 0x80, b"x")
STREAMS.add(
    "data.never-opened",
    BOTH,
    "Data",
    _NEVER,
    refusing(lambda peer: [peer.say.data(0, 7, b"x")], ErrorCode.STREAM_UNKNOWN),
)
STREAMS.add(
    "data.after-end",
    BOTH,
    "Streams",
    _ENDED,
    refusing(
        lambda peer: [peer.say.data(END, 0, b"the last"), peer.say.data(0, 0, b"x")],
        ErrorCode.STREAM_ENDED,
    ),
)
STREAMS.add(
    "data.request-after-end",
    BOTH,
    "Streams",
    _ENDED,
    refusing(
        lambda peer: [peer.say.data(END, 0, b""), peer.say.request(1, b"")],
        ErrorCode.STREAM_ENDED,
    ),
)

# Credit.


@STREAMS.row("credit.exceeded", BOTH, "Credit", _EXCEEDED)
async def _exceeded(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    beyond = peer.capacity.mainCredit - RECORD_COST + 1
    if beyond > peer.capacity.fragment:
        raise NotTried("no single record that it takes spends as much as its mainCredit")
    peer.send(peer.say.data(0, 0, bytes(beyond)))
    await peer.refused(ErrorCode.CREDIT_EXCEEDED)


@STREAMS.row(
    "credit.raised",
    BOTH,
    "Credit",
    "It MUST raise the credit by the time that half of the window was consumed since it was raised "
    "last.",
)
async def _raised(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    most = min(1024, peer.capacity.fragment)
    for _ in range(3 * peer.capacity.mainCredit // (RECORD_COST + most) + 1):
        await peer.give(peer.say.data(0, 0, bytes(most)))
    await peer.alive()


STREAMS.add(
    "credit.smaller",
    BOTH,
    "Credit",
    "The number is absolute: what counts is the largest so far, and a smaller one changes nothing.",
    taking(lambda peer: [peer.say.credit(0, 1 << 30), peer.say.credit(0, 0)]),
)
STREAMS.add(
    "credit.never-opened",
    BOTH,
    "Streams",
    _OTHER,
    refusing(lambda peer: [peer.say.credit(9, 1 << 20)], ErrorCode.STREAM_UNKNOWN),
)


# Streams: numbers, labels, places.


def _opening(name: str, number: Callable[[Peer], int]) -> None:
    """A row about a first stream whose number is wrong."""
    run = refusing(lambda peer: [peer.say.open(number(peer), b"conformance")], _WRONG_NUMBER)
    STREAMS.add(name, BOTH, "Streams", _NUMBER, run)


_opening("streams.skipped", lambda peer: own(peer, 1))
_opening("streams.far", lambda peer: own(peer, 100))
_opening("streams.zero", lambda peer: 0)
_opening("streams.not-ours", other)
STREAMS.add(
    "streams.label-empty",
    BOTH,
    "Streams",
    _LABEL,
    refusing(lambda peer: [peer.say.open(own(peer), b"")], ErrorCode.MALFORMED_MESSAGE),
)
STREAMS.add(
    "streams.label-not-utf8",
    BOTH,
    "Streams",
    _LABEL,
    refusing(lambda peer: [peer.say.open(own(peer), b"\xff\xfe")], ErrorCode.MALFORMED_MESSAGE),
)


@STREAMS.row(
    "streams.too-many",
    BOTH,
    "Streams",
    "Of one side's streams at most so many are open at once as ``maxStreams`` of the other side "
    "says.",
)
async def _tooMany(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    label, most = bench.terms.label.encode(), peer.capacity.maxStreams
    if most > 1000:
        raise NotTried(f"it takes {most} streams, more than are opened here")
    peer.line.send(
        b"".join(peer.seal(peer.say.open(own(peer, at), label)) for at in range(most + 1))
    )
    try:
        stop = await peer.expect(peer.theirs.stop)
    except Over as end:
        judge(end, (ErrorCode.TOO_MANY_STREAMS,))
    else:
        raise NotTried(f"it stops streams of the label {label.decode()!r}: {stop.code:#06x}")


def _places(peer: Peer, wanted: int = 1) -> None:
    if peer.capacity.maxStreams < wanted:
        raise NotTried("it takes no streams")


async def _open(bench: Bench[Peer], peer: Peer) -> int:
    """Open a stream that the peer accepts."""
    _places(peer)
    number = own(peer)
    peer.send(peer.say.open(number, bench.terms.label.encode()))
    try:
        decision = await peer.expect(peer.theirs.accept, peer.theirs.stop, within=12.0)
    except Over as end:
        raise Failed(str(end)) from None
    if isinstance(decision, Stop):
        raise NotTried(f"it takes no streams of the label {bench.terms.label!r}")
    assert isinstance(decision, Accept), "nothing else was waited for"
    if decision.stream != number:
        raise Failed(f"it decides on the stream {decision.stream} and not on {number}")
    return number


@STREAMS.row(
    "streams.taken",
    BOTH,
    "Profiles",
    "all of `Streams`_",
    small=False,
)
async def _takesStreams(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    if peer.capacity.maxStreams == 0:
        raise Failed("its maxStreams is 0")


@STREAMS.row(
    "streams.decided",
    BOTH,
    "Streams",
    "The other side decides at leisure, within a deadline of its own (10 seconds are "
    "RECOMMENDED): it accepts by CAC or SAC, or stops the stream.",
    bound=30.0,
)
async def _decided(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    try:
        await _open(bench, peer)
    except NotTried:
        _places(peer)
    await peer.alive()


@STREAMS.row("streams.exceeded", BOTH, "Credit", _EXCEEDED)
async def _streamExceeded(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    beyond = peer.capacity.streamCredit - RECORD_COST + 1
    if beyond > peer.capacity.fragment:
        raise NotTried("no single record that it takes spends as much as its streamCredit")
    number = await _open(bench, peer)
    peer.send(peer.say.data(0, number, bytes(beyond)))
    await peer.refused(ErrorCode.CREDIT_EXCEEDED)


@STREAMS.row("streams.more", BOTH, "Data", _FLAGS)
async def _streamMore(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    _places(peer)
    peer.send(peer.say.open(own(peer), b"conformance"), peer.say.data(MORE, own(peer), b"x"))
    await peer.refused(ErrorCode.MALFORMED_MESSAGE)


@STREAMS.row("streams.after-end", BOTH, "Streams", _ENDED)
async def _streamAfterEnd(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    number = await _open(bench, peer)
    peer.line.send(
        peer.seal(peer.say.data(END, number, b"the last"))
        + peer.seal(peer.say.data(0, number, b"x"))
    )
    try:
        await peer.expect(peer.theirs.stop)
    except Over as end:
        judge(end, (ErrorCode.STREAM_ENDED,))
    else:
        raise NotTried("it stops the stream at once")


@STREAMS.row("streams.stopped", BOTH, "Streams", _FORGOTTEN)
async def _stopped(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    _places(peer)
    number = own(peer)
    peer.send(
        peer.say.open(number, bench.terms.label.encode()),
        peer.say.data(0, number, b"x"),
        peer.say.stop(number, StopCode.CANCELLED),
        peer.say.data(0, number, b"ignored"),
        peer.say.credit(number, 1 << 20),
        peer.say.accept(number),
        peer.say.stop(number, StopCode.CANCELLED),
    )
    await peer.alive()


@STREAMS.row("streams.again", BOTH, "Streams", "No number is used again;")
async def _again(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    _places(peer)
    number, label = own(peer), bench.terms.label.encode()
    peer.send(peer.say.open(number, label), peer.say.stop(number, StopCode.CANCELLED))
    peer.send(peer.say.open(number, label))
    await peer.refused(ErrorCode.STREAM_NUMBER)


@STREAMS.row(
    "streams.places",
    BOTH,
    "Streams",
    "It is open no more, and its place is free, once a stop, or the last END, was received or "
    "handed to the transport.",
)
async def _freePlaces(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    _places(peer)
    label = bench.terms.label.encode()
    for at in range(min(peer.capacity.maxStreams, 1000) + 3):
        peer.send(
            peer.say.open(own(peer, at), label), peer.say.stop(own(peer, at), StopCode.CANCELLED)
        )
    await peer.alive()


STREAMS.add(
    "streams.accept-unasked",
    BOTH,
    "Streams",
    "So is accepting what the receiver did not open, or a second time.",
    refusing(lambda peer: [peer.say.accept(other(peer))], ErrorCode.STREAM_UNKNOWN),
)
STREAMS.add(
    "streams.stop-main",
    BOTH,
    "Streams",
    "The main stream is not stopped (``STREAM_UNKNOWN``): that is what the endings of the "
    "Connection are for.",
    refusing(lambda peer: [peer.say.stop(0, 0)], ErrorCode.STREAM_UNKNOWN),
)
STREAMS.add(
    "streams.stop-never-opened",
    BOTH,
    "Streams",
    _OTHER,
    refusing(lambda peer: [peer.say.stop(other(peer), 0)], ErrorCode.STREAM_UNKNOWN),
)


@STREAMS.row(
    "streams.ended",
    BOTH,
    "Streams",
    "A stream other than the main one is over when END went both ways.",
)
async def _bothEnds(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    number = await _open(bench, peer)
    peer.send(peer.say.data(END, number, b"the last"))
    await peer.alive()
    peer.send(peer.say.stop(number, StopCode.DONE))
    peer.send(peer.say.data(0, number, b"ignored"))
    await peer.alive()
