"""Rows about a client's handshake: choices and proofs of every kind that is wrong, and retry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from thing.conformance.bench import ClientBench
from thing.conformance.check import CLIENT, Checks
from thing.conformance.shares import SMALL_ORDER, pointed, withTopBit
from thing.conformance.steps import (
    changing,
    misconfirming,
    refusedIn,
    refusingHandshake,
    replacing,
    stating,
    takingHandshake,
)
from thing.conformance.verdict import Failed
from thing.conformance.words import Twists
from thing.core.extensions import ExtensionType
from thing.core.groups import GroupName
from thing.core.handshakemessages import CHI
from thing.core.messages import SUU, MessageType
from thing.core.records import Aead, clearRecord
from thing.errors import ErrorCode

CLIENT_HANDSHAKES = Checks()

T = MessageType
_UNKNOWN = (0xFF01, b"unknown")
_IGNORES = (
    "A receiver MUST ignore, in a list that the peer offers, numbers that it does not know, and "
    "MUST ignore extensions that it does not know."
)
_BODY = (
    "The fields of a message MUST fill its body exactly: no octet may be missing, none may be "
    "left over."
)
_EXHAUSTIVE = "These tables and diagrams are exhaustive: what is not in them is not legal."
_LIMITS = "what the server can take is in bounds, else ``LIMITS_OUT_OF_BOUNDS``."
_ZERO = "A result of 32 zero octets MUST be refused with ``BAD_SHARE``."
_LENGTH = "A share of any other length is refused with ``BAD_SHARE``."


def _wrongly(
    name: str, section: str, sentence: str, twists: Twists, *codes: ErrorCode, **choice: Any
) -> None:
    """A row about a handshake that is wrong."""
    run = refusingHandshake(twists, *codes, **choice)
    CLIENT_HANDSHAKES.add(name, CLIENT, section, sentence, run)


def _field(name: str, sentence: str, kind: MessageType, code: ErrorCode, **fields: Any) -> None:
    """A row about a message of which some fields are wrong."""
    _wrongly(name, "Handshake", sentence, stating(kind, **fields), code)


@CLIENT_HANDSHAKES.row(
    "handshake.established",
    CLIENT,
    "Introduction and model",
    "After SHF the Connection is **Established**.",
)
async def _established(bench: ClientBench) -> None:
    peer = await bench.session()
    await peer.alive()


@CLIENT_HANDSHAKES.row(
    "handshake.offer",
    CLIENT,
    "CHI, Client Handshake Init",
    "The protocol versions that the client speaks.",
)
async def _offer(bench: ClientBench) -> None:
    peer = await bench.peer()
    chi = await peer.hear()
    if CHI.decode(chi.encode()) != chi or chi.encode() != peer.last[1:]:
        raise Failed("its CHI has another encoding than its fields")
    if not any(group in (0x1D, 0x11EC) for group in chi.groups):
        raise Failed("it offers no group that anybody has")


@CLIENT_HANDSHAKES.row(
    "handshake.fresh", CLIENT, "CHI, Client Handshake Init", "32 fresh random octets."
)
async def _fresh(bench: ClientBench) -> None:
    one = await bench.peer()
    before = (await one.hear()).random
    other = await bench.peer()
    if before == (await other.hear()).random:
        raise Failed("two connections have the same random")


@CLIENT_HANDSHAKES.row(
    "groups.x25519", CLIENT, "Profiles", "X25519; X25519MLKEM768 SHOULD be X25519"
)
async def _x25519(bench: ClientBench) -> None:
    peer = await bench.peer(groups=(GroupName.X25519,))
    chi = await peer.hear()
    if GroupName.X25519 not in chi.groups:
        raise Failed("it does not offer X25519")
    await peer.conclude()
    await peer.alive()


@CLIENT_HANDSHAKES.row(
    "groups.x25519mlkem768",
    CLIENT,
    "Profiles",
    "X25519; X25519MLKEM768 SHOULD be X25519",
    small=False,
    must=False,
)
async def _hybrid(bench: ClientBench) -> None:
    peer = await bench.peer(groups=(GroupName.X25519MLKEM768,))
    chi = await peer.hear()
    if GroupName.X25519MLKEM768 not in chi.groups:
        raise Failed("it does not offer X25519MLKEM768")
    await peer.conclude()
    await peer.alive()


async def _withAead(bench: ClientBench, aead: Aead) -> None:
    peer = await bench.peer(aeads=(aead,))
    if aead not in (await peer.hear()).aeads:
        bench.needsAll(aead.name)
        raise Failed(f"it does not offer {aead.name}")
    await peer.conclude()
    await peer.alive()


@CLIENT_HANDSHAKES.row("aeads.aes-256-gcm", CLIENT, "Profiles", "both at least one of the two")
async def _aes(bench: ClientBench) -> None:
    await _withAead(bench, Aead.AES_256_GCM)


@CLIENT_HANDSHAKES.row(
    "aeads.chacha20-poly1305", CLIENT, "Profiles", "both at least one of the two"
)
async def _chacha(bench: ClientBench) -> None:
    await _withAead(bench, Aead.CHACHA20_POLY1305)


def _malformed(name: str, sentence: str, kind: MessageType, twists: Twists) -> None:
    """A row about a message that does not have its layout."""
    code = ErrorCode.MALFORMED_MESSAGE
    run = misconfirming(twists, code) if kind is T.SHF else refusingHandshake(twists, code)
    CLIENT_HANDSHAKES.add(f"{name}-{kind.name.lower()}", CLIENT, "Notation", sentence, run)


# The choice.

for _kind in (T.SHI, T.SDH, T.SCC, T.SHF):
    CLIENT_HANDSHAKES.add(
        f"handshake.unknown-extension-{_kind.name.lower()}",
        CLIENT,
        "Messages",
        _IGNORES,
        takingHandshake(
            changing(_kind, lambda each: replace(each, extensions=(_UNKNOWN, *each.extensions)))
        ),
    )
    _malformed("handshake.cut", _BODY, _kind, replacing(_kind, lambda octets: [octets[:-1]]))
    _malformed("handshake.left-over", _BODY, _kind, replacing(_kind, lambda each: [each + b"\0"]))
    _malformed(
        "handshake.extension-twice",
        "and a number MUST NOT stand twice in it.",
        _kind,
        changing(_kind, lambda each: replace(each, extensions=(_UNKNOWN, _UNKNOWN))),
    )

_VERSION = "``version`` is 1, else ``VERSION_UNSUPPORTED``; whatever octets follow."
_field("handshake.version", _VERSION, T.SHI, ErrorCode.VERSION_UNSUPPORTED, version=2)


def _otherVersion(behind: bytes) -> Twists:
    """An SHI of version 2, whatever that has behind its version."""
    return replacing(T.SHI, lambda shi: [shi[:1] + b"\x02" + behind])


for _name, _octets in (("nothing", b""), ("others", b"\xff" * 64), ("many", bytes(8190))):
    _wrongly(
        f"handshake.version-and-{_name}",
        "Handshake",
        _VERSION,
        _otherVersion(_octets),
        ErrorCode.VERSION_UNSUPPORTED,
    )
_field(
    "handshake.other-group",
    "``group`` is one that it offered, else ``NO_COMMON_GROUP``.",
    T.SHI,
    ErrorCode.NO_COMMON_GROUP,
    group=0xFE01,
)
_field(
    "handshake.other-aead",
    "``aead`` is one that it offered, else ``NO_COMMON_AEAD``;",
    T.SHI,
    ErrorCode.NO_COMMON_AEAD,
    aead=0x8001,
)
for _name, _fields in (
    ("record-limit", {"recordLimit": 511}),
    ("main-credit", {"recordLimit": 512, "mainCredit": 575}),
    ("stream-credit", {"streamCredit": 127}),
):
    _field(f"handshake.{_name}", _LIMITS, T.SHI, ErrorCode.LIMITS_OUT_OF_BOUNDS, **_fields)
for _limit in (65559, 0xFFFFFFFF):
    CLIENT_HANDSHAKES.add(
        f"handshake.record-limit-{_limit}",
        CLIENT,
        "What each side can take",
        "A receiver MUST take a ``recordLimit`` above 65558 for 65558,",
        takingHandshake(stating(T.SHI, recordLimit=_limit, mainCredit=16466)),
    )


@CLIENT_HANDSHAKES.row(
    "handshake.not-offered",
    CLIENT,
    "Handshake",
    "If there is PRESHARED_KEY, it offered a secret, and the value is empty, else "
    "``BAD_CREDENTIAL``.",
)
async def _notOffered(bench: ClientBench) -> None:
    accepting = (ExtensionType.PRESHARED_KEY, b"x")
    peer = await bench.peer(changing(T.SHI, lambda shi: replace(shi, extensions=(accepting,))))
    await refusedIn(peer, ErrorCode.BAD_CREDENTIAL)


_wrongly(
    "handshake.shi-twice",
    "States",
    _EXHAUSTIVE,
    replacing(T.SHI, lambda shi: [shi, shi]),
    ErrorCode.UNEXPECTED_MESSAGE,
)
_wrongly(
    "handshake.sdh-missing",
    "States",
    _EXHAUSTIVE,
    replacing(T.SDH, lambda sdh: [bytes((T.SCC,)) + bytes(80)]),
    ErrorCode.UNEXPECTED_MESSAGE,
)
_wrongly(
    "handshake.sdh-twice",
    "Rejects",
    "Anything else in the clear is not honoured once keys are in use: it is ``RECORD_UNREADABLE``.",
    replacing(T.SDH, lambda sdh: [sdh, sdh]),
    ErrorCode.RECORD_UNREADABLE,
)
_wrongly(
    "handshake.scc-missing",
    "States",
    _EXHAUSTIVE,
    replacing(T.SCC, lambda scc: [SUU(1, 1000, 300).typed()]),
    ErrorCode.UNEXPECTED_MESSAGE,
)


@CLIENT_HANDSHAKES.row("handshake.scc-twice", CLIENT, "States", _EXHAUSTIVE)
async def _sccTwice(bench: ClientBench) -> None:
    peer = await bench.peer(replacing(T.SCC, lambda scc: [scc, scc]))
    await peer.hear()
    peer.answer()
    await peer.exchange()
    peer.prove()
    await peer.refused(ErrorCode.UNEXPECTED_MESSAGE)


_wrongly(
    "handshake.shf-twice",
    "States",
    _EXHAUSTIVE,
    replacing(T.SHF, lambda shf: [shf, shf]),
    # The second is under the handshake key, which is in use no more.
    ErrorCode.RECORD_UNREADABLE,
)


@CLIENT_HANDSHAKES.row(
    "handshake.refused-clear",
    CLIENT,
    "Rejects",
    "While it waits for SCC it therefore takes a record of at most 16 octets whose first is "
    "``0x51`` for a clear SHR.",
)
async def _refusedClear(bench: ClientBench) -> None:
    peer = await bench.peer()
    await peer.hear()
    peer.answer()
    await peer.exchange()
    peer.line.send(clearRecord(T.SHR, peer.say.reject(ErrorCode.SERVER_BUSY, 0).encode()))
    await peer.closed()


@CLIENT_HANDSHAKES.row("handshake.refused", CLIENT, "Rejects", "A reject is never answered.")
async def _refused(bench: ClientBench) -> None:
    peer = await bench.peer()
    await peer.hear()
    peer.send(peer.say.reject(ErrorCode.SERVER_BUSY, 0))
    await peer.closed()


@CLIENT_HANDSHAKES.row(
    "handshake.silence",
    CLIENT,
    "Handshake",
    "past it, refuse with ``HANDSHAKE_TIMEOUT``.",
    must=False,
    bound=30.0,
)
async def _silence(bench: ClientBench) -> None:
    peer = await bench.peer()
    await peer.hear()
    await peer.refused(ErrorCode.HANDSHAKE_TIMEOUT, within=15.0)


# Shares.

for _number, _point in enumerate(SMALL_ORDER):
    _wrongly(
        f"shares.small-order-{_number}",
        "Groups",
        _ZERO,
        changing(T.SDH, pointed(_point)),
        ErrorCode.BAD_SHARE,
    )
_wrongly(
    "shares.short",
    "Groups",
    _LENGTH,
    changing(T.SDH, lambda sdh: replace(sdh, share=sdh.share[:-1])),
    ErrorCode.BAD_SHARE,
)
_wrongly(
    "shares.long",
    "Groups",
    _LENGTH,
    changing(T.SDH, lambda sdh: replace(sdh, share=sdh.share + b"\0")),
    ErrorCode.BAD_SHARE,
)
CLIENT_HANDSHAKES.add(
    "shares.top-bit",
    CLIENT,
    "Groups",
    "The top bit of a peer's public key is ignored, as RFC 7748 says.",
    takingHandshake(changing(T.SDH, lambda sdh: replace(sdh, share=withTopBit(sdh.share)))),
)


@CLIENT_HANDSHAKES.row(
    "shares.coefficients",
    CLIENT,
    "Groups",
    "The client MUST check the encapsulation key as FIPS 203, section 7.2 says (every coefficient "
    "below 3329) and refuse one that fails with ``BAD_SHARE``.",
)
async def _coefficients(bench: ClientBench) -> None:
    wrong = changing(T.SDH, lambda sdh: replace(sdh, share=b"\xff" * 1152 + sdh.share[1152:]))
    peer = await bench.peer(wrong, groups=(GroupName.X25519MLKEM768,))
    await refusedIn(peer, ErrorCode.BAD_SHARE)
