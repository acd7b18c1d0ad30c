"""Rows about heartbeats, and about what becomes of a session when they stop."""

from __future__ import annotations

from thing.conformance.asclient import ClientPeer
from thing.conformance.bench import ClientBench, ServerBench
from thing.conformance.check import CLIENT, SERVER, Checks
from thing.conformance.steps import refusing
from thing.conformance.verdict import Failed, NotTried, Over, judge
from thing.core.messages import CHB, SFL, SUU, UNKNOWN_RTT
from thing.errors import EndReason, ErrorCode

HEARTBEATS = Checks()

_SEQUENCE = "The server refuses any other with ``HEARTBEAT_SEQUENCE``."
_OWN = (
    "On SUU the client checks that a CHB is outstanding and that ``sequence`` is its own "
    "(``HEARTBEAT_SEQUENCE``), then the bounds of ``ttl`` and ``interval`` (``TTL_OUT_OF_BOUNDS``)."
)
_FLAT_LINED = (
    "A dead *client* is flat-lined: the server sends SFL with the last heartbeat's number and the "
    "reason ``HEARTBEAT_MISSED``, and ends the Connection."
)
LONGEST = 6000
"""How long a TTL is waited for, milliseconds."""

SHORT = 600
"""The TTL that a client is granted where its beats are looked at, milliseconds."""

# Servers.


@HEARTBEATS.row(
    "heartbeat.answered",
    SERVER,
    "Heartbeat",
    "The client sends CHB; the server answers each with one SUU.",
)
async def _answered(bench: ServerBench) -> None:
    peer = await bench.session()
    for _ in range(5):
        await peer.beat()
    await peer.quiet(SUU)


def _numbered(name: str, *numbers: int) -> None:
    """A row about heartbeats of which the last has a wrong number."""
    run = refusing(lambda peer: map(CHB, numbers), ErrorCode.HEARTBEAT_SEQUENCE)
    HEARTBEATS.add(name, SERVER, "Heartbeat", _SEQUENCE, run)


_numbered("heartbeat.first-0", 0)
_numbered("heartbeat.first-2", 2)
_numbered("heartbeat.repeated", 1, 1)
_numbered("heartbeat.skipped", 1, 3)


@HEARTBEATS.row(
    "heartbeat.flood",
    SERVER,
    "Heartbeat",
    "A server that still has an SUU to send when the next CHB comes, and has found its sequence "
    "right, refuses it with ``HEARTBEAT_OUTSTANDING``.",
)
async def _flood(bench: ServerBench) -> None:
    peer = await bench.session()
    peer.line.send(b"".join(peer.seal(CHB(number)) for number in range(1, 201)))
    try:
        for number in range(1, 201):  # It may be quick enough to answer all.
            peer.beats = number
            await peer.understood()
    except Over as end:
        judge(end, (ErrorCode.HEARTBEAT_OUTSTANDING,))


def _bounded(peer: ClientPeer) -> float:
    """The TTL, if it can be waited for; seconds."""
    if peer.ttl > LONGEST:
        raise NotTried(f"it grants a TTL of {peer.ttl} ms though less was asked for")
    return peer.ttl / 1000


async def _flatLined(peer: ClientPeer, beats: int) -> None:
    """See that the server flat-lines this side, not too early and not too late."""
    ttl = _bounded(peer)
    try:
        await peer.expect(SUU, within=2 * ttl + peer.patience)
    except Over as end:
        if not isinstance(end.word, SFL):
            raise
        sfl = end.word
    if peer.clock.seconds() - peer.renewed < ttl * 0.9:
        raise Failed(f"it did not wait for its TTL of {ttl:g} s")
    if (sfl.reason, sfl.lastHeartbeat) != (EndReason.HEARTBEAT_MISSED, beats):
        raise Failed(f"SFL has the reason {sfl.reason} and the number {sfl.lastHeartbeat}")
    await peer.closed()


@HEARTBEATS.row("liveness.silent", SERVER, "Timing and liveness", _FLAT_LINED, bound=40.0)
async def _silent(bench: ServerBench) -> None:
    peer = await bench.session(ttl=100)
    await _flatLined(peer, 0)


@HEARTBEATS.row("liveness.silent-later", SERVER, "Timing and liveness", _FLAT_LINED, bound=40.0)
async def _silentLater(bench: ServerBench) -> None:
    peer = await bench.session(ttl=100)
    await peer.beat()
    await peer.beat()
    await _flatLined(peer, 2)


@HEARTBEATS.row(
    "liveness.only-beats",
    SERVER,
    "Heartbeat",
    "Only CHB renews: data, key updates and octets on the stream do not.",
    bound=40.0,
)
async def _onlyBeats(bench: ServerBench) -> None:
    peer = await bench.session(ttl=100)
    ttl = _bounded(peer)
    began = peer.clock.seconds()
    try:
        while peer.clock.seconds() - began < 2 * ttl + peer.patience:
            peer.send(peer.say.data(0, 0, b"not a beat"))
            peer.update()
            await peer.pause(ttl / 4)
    except Over as end:
        if not isinstance(end.word, SFL):
            raise
        return
    raise Failed("what is no heartbeat keeps the session up")


@HEARTBEATS.row(
    "liveness.renewed",
    SERVER,
    "Heartbeat",
    "On CHB the server decides the TTL and the interval anew, restarts its deadline and queues "
    "SUU with the same ``sequence``.",
    bound=40.0,
)
async def _renewed(bench: ServerBench) -> None:
    peer = await bench.session(ttl=1000)
    ttl = _bounded(peer)
    for _ in range(5):
        await bench.sleep(ttl * 0.4)
        await peer.beat()


# Clients.


@HEARTBEATS.row(
    "heartbeat.in-time",
    CLIENT,
    "Timing and liveness",
    "The client sends its first CHB after a time that is uniformly random within one interval "
    "after it is Established, and then one every interval.",
)
async def _inTime(bench: ClientBench) -> None:
    peer = await bench.session(ttl=3000, interval=200)
    for number in range(1, 6):
        chb = await peer.expect(CHB, within=3.0)  # Later the server would flat-line it.
        peer.beaten(chb)
        if number == 1 and chb.roundTripTime != UNKNOWN_RTT:
            raise Failed("the first CHB has a round trip, and there was none")
        if number > 1 and chb.roundTripTime > 60_000_000:
            raise Failed(f"a CHB has a round trip of {chb.roundTripTime} microseconds")


@HEARTBEATS.row(
    "heartbeat.outstanding",
    CLIENT,
    "Heartbeat",
    "At most one CHB is outstanding: a client MUST NOT send the next before the SUU for the one "
    "before has come.",
)
async def _outstanding(bench: ClientBench) -> None:
    peer = await bench.session(ttl=3000, interval=100)
    await peer.expect(CHB)
    await peer.quiet(CHB, seconds=0.5)


@HEARTBEATS.row(
    "liveness.lapsed",
    CLIENT,
    "Timing and liveness",
    "the client ends the Connection without a word (it has *lapsed*).",
    bound=30.0,
)
async def _lapsed(bench: ClientBench) -> None:
    peer = await bench.peer(ttl=SHORT, interval=SHORT // 3)
    await peer.hear()
    peer.answering = False
    began = peer.clock.seconds()
    await peer.conclude()
    end = await peer.ends(within=SHORT / 1000 + peer.patience)
    if end.word is not None:
        raise Failed(str(end))
    if peer.clock.seconds() - began < SHORT / 1000 * 0.9:
        raise Failed("it did not wait for its TTL")


@HEARTBEATS.row(
    "heartbeat.new-interval",
    CLIENT,
    "Heartbeat",
    "It takes the new TTL and interval, and restarts its deadline.",
)
async def _newInterval(bench: ClientBench) -> None:
    peer = await bench.session(ttl=20000, interval=100)
    chb = await peer.expect(CHB)
    peer.beats = chb.sequence
    peer.send(SUU(chb.sequence, 20000, 10000))
    await peer.quiet(CHB, seconds=0.6)


async def _answer(bench: ClientBench, *codes: ErrorCode, late: int = 0, ttl: int = 2000,
                  interval: int = 500) -> None:  # fmt: skip
    """Answer a heartbeat wrongly."""
    peer = await bench.session(ttl=SHORT, interval=SHORT // 3)
    chb = await peer.expect(CHB)
    peer.send(SUU(chb.sequence + late, ttl, interval))
    await peer.refused(*codes)


@HEARTBEATS.row("heartbeat.other-number", CLIENT, "Heartbeat", _OWN)
async def _otherNumber(bench: ClientBench) -> None:
    await _answer(bench, ErrorCode.HEARTBEAT_SEQUENCE, late=1)


@HEARTBEATS.row("heartbeat.ttl-short", CLIENT, "Heartbeat", _OWN)
async def _shortTtl(bench: ClientBench) -> None:
    await _answer(bench, ErrorCode.TTL_OUT_OF_BOUNDS, ttl=99, interval=30)


@HEARTBEATS.row("heartbeat.interval-long", CLIENT, "Heartbeat", _OWN)
async def _longInterval(bench: ClientBench) -> None:
    await _answer(bench, ErrorCode.TTL_OUT_OF_BOUNDS, ttl=1000, interval=501)


HEARTBEATS.add(
    "heartbeat.not-outstanding",
    CLIENT,
    "Heartbeat",
    _OWN,
    refusing(lambda peer: [SUU(1, 2000, 500)], ErrorCode.HEARTBEAT_SEQUENCE),
)
