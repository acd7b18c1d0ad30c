"""Rows about how a session ends: goodbyes, going away, final words, and the bare end."""

from __future__ import annotations

from thing.conformance.bench import Bench, ClientBench, ServerBench
from thing.conformance.check import BOTH, CLIENT, SERVER, Checks
from thing.conformance.peer import Peer
from thing.conformance.steps import refusing
from thing.conformance.verdict import Failed
from thing.core.layout import Message
from thing.core.messages import CDT, CFL, CGB, CHB, COP, MORE, SFL, SGA, SGB, SUU, Role
from thing.errors import EndReason, ErrorCode

ENDINGS = Checks()

_EXHAUSTIVE = "These tables and diagrams are exhaustive: what is not in them is not legal."
_INSIDE = (
    "CGB or SGB between two fragments of one message is refused with ``MALFORMED_MESSAGE``, in "
    "stream use, too."
)
_AFTER = (
    "After it has sent or received a final word, a side sends nothing more and ignores all that "
    "still arrives."
)
_CLOSES = "The receiver of a final word closes it."

# Servers.


@ENDINGS.row(
    "goodbye.answered",
    SERVER,
    "Client-initiated (CICT)",
    "it sends all that still waits in all streams, then **SGB**.",
)
async def _goodbye(bench: ServerBench) -> None:
    peer = await bench.session()
    peer.send(CDT(0, 0, b"before the goodbye"))
    await peer.goodbye()


@ENDINGS.row(
    "goodbye.beats",
    SERVER,
    "Heartbeat",
    "A server that has sent SGA, or SGB, still accepts CHB (it is checked as ever) but answers "
    "none and renews nothing.",
)
async def _beatsAfter(bench: ServerBench) -> None:
    peer = await bench.session()
    peer.send(CGB())
    await peer.expect(SGB)
    peer.send(CHB(1))
    await peer.quiet(SUU)
    peer.send(CFL())
    await peer.closed()


@ENDINGS.row(
    "goodbye.update",
    SERVER,
    "Key update",
    "Key updates are legal once Established, until the sender's final word.",
)
async def _updateAfter(bench: ServerBench) -> None:
    peer = await bench.session()
    peer.send(CGB())
    await peer.expect(SGB)
    peer.update()
    peer.send(CFL())
    await peer.closed()


def _behind(name: str, said: Message) -> None:
    """A row about what has no place behind CGB."""
    run = refusing(lambda peer: [CGB(), said], ErrorCode.UNEXPECTED_MESSAGE)
    ENDINGS.add(name, SERVER, "States", _EXHAUSTIVE, run)


_behind("goodbye.data-behind", CDT(0, 0, b"x"))
_behind("goodbye.open-behind", COP(1, b"conformance"))
_behind("goodbye.twice", CGB())
ENDINGS.add(
    "goodbye.flat-line-early",
    SERVER,
    "States",
    _EXHAUSTIVE,
    refusing(lambda peer: [CFL()], ErrorCode.UNEXPECTED_MESSAGE),
)
ENDINGS.add(
    "goodbye.in-a-message",
    BOTH,
    "Client-initiated (CICT)",
    _INSIDE,
    refusing(
        lambda peer: [
            peer.say.data(MORE, 0, b"half"),
            CGB() if peer.role is Role.CLIENT else SGB(),
        ],
        # From a server, SGB has no place before CGB, which is looked at first.
        ErrorCode.MALFORMED_MESSAGE,
        ErrorCode.UNEXPECTED_MESSAGE,
    ),
)

# Both.


@ENDINGS.row("ends.reject", BOTH, "Rejects", "A reject is never answered.")
async def _reject(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    peer.send(peer.say.reject(ErrorCode.INTERNAL_ERROR, 0))
    await peer.closed()


@ENDINGS.row(
    "ends.unknown-reject", BOTH, "Rejects", "A code that is not known is kept as its number."
)
async def _unknownReject(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    peer.send(peer.say.reject(0xFF77, 0))
    await peer.closed()


@ENDINGS.row("ends.after-reject", BOTH, "Termination", _AFTER)
async def _afterReject(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    peer.line.send(
        peer.seal(peer.say.reject(ErrorCode.INTERNAL_ERROR, 0))
        + peer.seal(peer.say.data(0x80, 0, b"not looked at"))
    )
    await peer.closed()


@ENDINGS.row("ends.silent-after", BOTH, "Termination", _AFTER)
async def _silentAfter(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    peer.send(b"\x7f")
    await peer.refused(ErrorCode.UNKNOWN_MESSAGE)
    peer.send(peer.say.data(0, 0, b"still here?"), peer.say.request(1, b""))
    peer.line.finish()
    await peer.closed()


@ENDINGS.row(
    "ends.truncated",
    BOTH,
    "Deadlines and the end of the stream",
    "If the stream ends and no final word was received or sent, the Connection is *truncated*, "
    "during the handshake, too.",
)
async def _truncated(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    peer.line.finish()
    end = await peer.ends()
    if end.word is not None:
        raise Failed(str(end))


# Clients.


@ENDINGS.row(
    "away.goodbye",
    CLIENT,
    "Going away (SGA)",
    "The client, on SGA, sends what still waits and CGB, as in CICT;",
)
async def _away(bench: ClientBench) -> None:
    peer = await bench.session()
    peer.send(SGA(EndReason.CLOSING, 0, 5000))
    await peer.goodbye()


@ENDINGS.row(
    "away.twice",
    CLIENT,
    "Going away (SGA)",
    "A second SGA is not refused and has no further effect.",
)
async def _awayTwice(bench: ClientBench) -> None:
    peer = await bench.session()
    peer.line.send(peer.seal(SGA(EndReason.CLOSING, 0, 5000)) + peer.seal(SGA(0xFF01, 0, 4000)))
    await peer.goodbye()


@ENDINGS.row(
    "away.no-beats",
    CLIENT,
    "Heartbeat",
    "A client that has had either makes no more.",
)
async def _awayNoBeats(bench: ClientBench) -> None:
    peer = await bench.session(ttl=5000, interval=100)
    peer.send(SGA(EndReason.CLOSING, 0, 4000))
    await peer.expect(CGB)
    await peer.quiet(CHB, seconds=0.5)
    peer.send(SGB())
    end = await peer.ends()
    if not isinstance(end.word, CFL):
        raise Failed(str(end))


@ENDINGS.row(
    "ends.flat-lined",
    CLIENT,
    "Server-initiated (SICT)",
    "it needs no response.",
)
async def _flatLined(bench: ClientBench) -> None:
    peer = await bench.session()
    peer.send(SFL(0, EndReason.HEARTBEAT_MISSED, 0))
    await peer.closed()


ENDINGS.add(
    "goodbye.unasked",
    CLIENT,
    "States",
    _EXHAUSTIVE,
    refusing(lambda peer: [SGB()], ErrorCode.UNEXPECTED_MESSAGE),
)
