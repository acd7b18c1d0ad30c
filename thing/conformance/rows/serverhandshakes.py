"""Rows about a server's handshake: offers of every kind, wrong proofs, retry, shared secrets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from thing.conformance.bench import ServerBench
from thing.conformance.check import SERVER, Checks
from thing.conformance.shares import SMALL_ORDER, pointed, withTopBit
from thing.conformance.steps import (
    changing,
    refusedIn,
    refusingHandshake,
    replacing,
    stating,
    takingHandshake,
)
from thing.conformance.verdict import Failed, Over, judge
from thing.conformance.words import Twists
from thing.core.groups import GroupName
from thing.core.messages import CDT, CHB, MessageType
from thing.core.records import Aead, clearRecord
from thing.errors import ErrorCode

SERVER_HANDSHAKES = Checks()

T = MessageType
_UNKNOWN = (0xFF01, b"unknown")
_IGNORES = (
    "A receiver MUST ignore, in a list that the peer offers, numbers that it does not know, and "
    "MUST ignore extensions that it does not know."
)
_FIRST_GROUP = (
    "It takes as the group the **first** entry of ``groups`` that it supports, else "
    "``NO_COMMON_GROUP``."
)
_FIRST_AEAD = (
    "It takes as the AEAD the **first** entry of ``aeads`` that it supports, else "
    "``NO_COMMON_AEAD``."
)
_LIMITS = "what the client can take is in bounds, else ``LIMITS_OUT_OF_BOUNDS``."
_TTL = "``requestedTtl`` is 0 or from 100 to 604800000, else ``TTL_OUT_OF_BOUNDS``;"
_LISTS = (
    "A list MUST NOT be empty, and the length of a ``list of uint16`` MUST be even. A list of "
    "extensions has at most 16 entries, and a number MUST NOT stand twice in it."
)
_BODY = (
    "The fields of a message MUST fill its body exactly: no octet may be missing, none may be "
    "left over."
)
_ZERO = "A result of 32 zero octets MUST be refused with ``BAD_SHARE``."
_LENGTH = "A share of any other length is refused with ``BAD_SHARE``."
_EXHAUSTIVE = "These tables and diagrams are exhaustive: what is not in them is not legal."


def _chi(name: str, section: str, sentence: str, code: ErrorCode, **fields: Any) -> None:
    """A row about a CHI of which some fields are wrong."""
    run = refusingHandshake(stating(T.CHI, **fields), code)
    SERVER_HANDSHAKES.add(name, SERVER, section, sentence, run)


def _oddly(name: str, section: str, sentence: str, twists: Twists, **others: Any) -> None:
    """A row about a handshake that is odd, and not wrong."""
    SERVER_HANDSHAKES.add(name, SERVER, section, sentence, takingHandshake(twists), **others)


def _wrongly(
    name: str, section: str, sentence: str, twists: Twists, *codes: ErrorCode, **choice: Any
) -> None:
    """A row about a handshake that is wrong."""
    run = refusingHandshake(twists, *codes, **choice)
    SERVER_HANDSHAKES.add(name, SERVER, section, sentence, run)


# What is agreed on.


@SERVER_HANDSHAKES.row(
    "handshake.established",
    SERVER,
    "Introduction and model",
    "After SHF the Connection is **Established**.",
)
async def _established(bench: ServerBench) -> None:
    peer = await bench.session()
    await peer.alive()


@SERVER_HANDSHAKES.row(
    "handshake.fresh", SERVER, "Handshake", "A key pair MUST NOT be used for a second Connection."
)
async def _fresh(bench: ServerBench) -> None:
    one, other = await bench.session(), await bench.session()
    pairs = (
        (one.shi.random, other.shi.random, "random"),
        (one.sdh.share, other.sdh.share, "share"),
        (one.scc.challenge, other.scc.challenge, "challenge"),
    )
    for here, there, name in pairs:
        if here == there:
            raise Failed(f"two connections have the same {name}")


async def _withGroup(bench: ServerBench, group: GroupName) -> None:
    peer = await bench.peer(groups=(group,))
    try:
        await peer.handshake()
    except Over as end:
        if end.code != ErrorCode.NO_COMMON_GROUP:
            raise
        raise Failed(f"it does not have {group.name}") from None
    await peer.alive()


@SERVER_HANDSHAKES.row(
    "groups.x25519", SERVER, "Profiles", "X25519; X25519MLKEM768 SHOULD be X25519"
)
async def _x25519(bench: ServerBench) -> None:
    await _withGroup(bench, GroupName.X25519)


@SERVER_HANDSHAKES.row(
    "groups.x25519mlkem768",
    SERVER,
    "Profiles",
    "X25519; X25519MLKEM768 SHOULD be X25519",
    small=False,
    must=False,
)
async def _hybrid(bench: ServerBench) -> None:
    await _withGroup(bench, GroupName.X25519MLKEM768)


async def _withAead(bench: ServerBench, aead: Aead) -> None:
    peer = await bench.peer(aeads=(aead,))
    try:
        await peer.handshake()
    except Over as end:
        if end.code != ErrorCode.NO_COMMON_AEAD:
            raise
        bench.needsAll(aead.name)
        raise Failed(f"it does not have {aead.name}") from None
    await peer.alive()


@SERVER_HANDSHAKES.row("aeads.aes-256-gcm", SERVER, "Profiles", "both at least one of the two")
async def _aes(bench: ServerBench) -> None:
    await _withAead(bench, Aead.AES_256_GCM)


@SERVER_HANDSHAKES.row(
    "aeads.chacha20-poly1305", SERVER, "Profiles", "both at least one of the two"
)
async def _chacha(bench: ServerBench) -> None:
    await _withAead(bench, Aead.CHACHA20_POLY1305)


@SERVER_HANDSHAKES.row("handshake.first-group", SERVER, "Handshake", _FIRST_GROUP, small=False)
async def _firstGroup(bench: ServerBench) -> None:
    for groups in ((0x1D, 0x11EC), (0x11EC, 0x1D)):
        peer = await bench.session(groups=groups)
        if peer.shi.group != groups[0]:
            await _withGroup(bench, GroupName(groups[0]))  # It fails if it does not have it.
            raise Failed(f"of the groups {groups} it chose {peer.shi.group}")


@SERVER_HANDSHAKES.row("handshake.first-aead", SERVER, "Handshake", _FIRST_AEAD, small=False)
async def _firstAead(bench: ServerBench) -> None:
    for aeads in ((29, 2), (2, 29)):
        peer = await bench.session(aeads=aeads)
        if peer.shi.aead != aeads[0]:
            raise Failed(f"of the AEADs {aeads} it chose {peer.shi.aead}")


_CHI = "CHI, Client Handshake Init"
_oddly(
    "handshake.unknown-numbers",
    "Messages",
    _IGNORES,
    changing(
        T.CHI,
        lambda chi: replace(
            chi,
            versions=(0xEE, *chi.versions),
            groups=(0xFE01, *chi.groups),
            aeads=(0x8001, *chi.aeads),
            credentialKinds=(0xF1, *chi.credentialKinds),
        ),
    ),
)
_oddly(
    "handshake.numbers-twice",
    "Messages",
    "A number MAY stand twice in a list of numbers; the second time has no meaning.",
    changing(T.CHI, lambda chi: replace(chi, groups=chi.groups * 2, aeads=chi.aeads * 2)),
)
for _kind in (T.CHI, T.CDH, T.CCC):
    _oddly(
        f"handshake.unknown-extension-{_kind.name.lower()}",
        "Messages",
        _IGNORES,
        changing(_kind, lambda each: replace(each, extensions=(_UNKNOWN, *each.extensions))),
    )
_oddly(
    "handshake.useless-extensions",
    "Extensions",
    "one that has no use where it stands (SOLUTION in a first CHI, PUZZLE in an SHI with a group, "
    "a ticket that was not asked for) is not looked at.",
    changing(T.CHI, lambda chi: replace(chi, extensions=((2, b"?"), (1, b"?"), *chi.extensions))),
)

_VERSION = "Version 1 is in ``versions``, else ``VERSION_UNSUPPORTED``; whatever octets follow."
_chi("handshake.version", "Handshake", _VERSION, ErrorCode.VERSION_UNSUPPORTED, versions=(2,))


def _otherVersion(behind: bytes) -> Twists:
    """A CHI of version 2, whatever that has behind its versions."""
    return replacing(T.CHI, lambda chi: [chi[:6] + b"\x01\x02" + behind])


for _name, _octets in (("nothing", b""), ("others", b"\xff" * 64), ("many", bytes(1024 - 8))):
    _wrongly(
        f"handshake.version-and-{_name}",
        "Handshake",
        _VERSION,
        _otherVersion(_octets),
        ErrorCode.VERSION_UNSUPPORTED,
    )
_chi("handshake.ttl-short", "Handshake", _TTL, ErrorCode.TTL_OUT_OF_BOUNDS, requestedTtl=99)
_chi("handshake.ttl-long", "Handshake", _TTL, ErrorCode.TTL_OUT_OF_BOUNDS, requestedTtl=604800001)
_chi(
    "handshake.record-limit", "Handshake", _LIMITS, ErrorCode.LIMITS_OUT_OF_BOUNDS, recordLimit=511
)
for _limit in (65559, 0xFFFFFFFF):
    _oddly(
        f"handshake.record-limit-{_limit}",
        "What each side can take",
        "A receiver MUST take a ``recordLimit`` above 65558 for 65558,",
        stating(T.CHI, recordLimit=_limit, mainCredit=16466),
    )
_chi(
    "handshake.main-credit",
    "What each side can take",
    "``mainCredit`` is at least 64 more than ``recordLimit``, or than 16402 if that is less.",
    ErrorCode.LIMITS_OUT_OF_BOUNDS,
    recordLimit=512,
    mainCredit=575,
)
_chi(
    "handshake.stream-credit",
    "Handshake",
    _LIMITS,
    ErrorCode.LIMITS_OUT_OF_BOUNDS,
    streamCredit=127,
)
_chi("handshake.no-group", "Handshake", _FIRST_GROUP, ErrorCode.NO_COMMON_GROUP, groups=(0xFE01,))
_chi("handshake.no-aead", "Handshake", _FIRST_AEAD, ErrorCode.NO_COMMON_AEAD, aeads=(0x8001,))


@SERVER_HANDSHAKES.row(
    "handshake.no-credential",
    SERVER,
    "Handshake",
    "it takes as its credential the one whose kind stands **first** in ``credentialKinds``, else "
    "``NO_COMMON_CREDENTIAL``.",
)
async def _noCredential(bench: ServerBench) -> None:
    peer = await bench.peer(
        changing(T.CHI, lambda chi: replace(chi, credentialKinds=(0xF1,))), offer=None
    )
    await refusedIn(peer, ErrorCode.NO_COMMON_CREDENTIAL)


_chi("handshake.empty-list", "Notation", _LISTS, ErrorCode.MALFORMED_MESSAGE, groups=())
_chi(
    "handshake.extension-twice",
    "Notation",
    _LISTS,
    ErrorCode.MALFORMED_MESSAGE,
    extensions=(_UNKNOWN, _UNKNOWN),
)
_chi(
    "handshake.extensions-many",
    "Notation",
    _LISTS,
    ErrorCode.MALFORMED_MESSAGE,
    extensions=tuple((0xFF00 + number, b"") for number in range(17)),
)


def _oddList(octets: bytes) -> list[bytes]:
    """The groups' list has an octet more, which is half a number."""
    at = 1 + 5 + 2 + 32  # Type, magic, versions, random.
    length = octets[at]
    return [octets[:at] + bytes((length + 1,)) + octets[at + 1 : at + 1 + length] + b"\0"
            + octets[at + 1 + length :]]  # fmt: skip


_wrongly(
    "handshake.odd-list",
    "Notation",
    _LISTS,
    replacing(T.CHI, _oddList),
    ErrorCode.MALFORMED_MESSAGE,
)

# Messages that are cut, long, twice, or not there.

for _kind in (T.CHI, T.CDH, T.CCC):
    _wrongly(
        f"handshake.cut-{_kind.name.lower()}",
        "Notation",
        _BODY,
        replacing(_kind, lambda octets: [octets[:-1]]),
        ErrorCode.MALFORMED_MESSAGE,
    )
    _wrongly(
        f"handshake.left-over-{_kind.name.lower()}",
        "Notation",
        _BODY,
        replacing(_kind, lambda octets: [octets + b"\0"]),
        ErrorCode.MALFORMED_MESSAGE,
    )
_wrongly(
    "handshake.chi-twice",
    "States",
    _EXHAUSTIVE,
    replacing(T.CHI, lambda chi: [chi, chi]),
    ErrorCode.UNEXPECTED_MESSAGE,
)


@SERVER_HANDSHAKES.row(
    "handshake.cdh-twice",
    SERVER,
    "Rejects",
    "Anything else in the clear is not honoured once keys are in use: it is ``RECORD_UNREADABLE``.",
)
async def _cdhTwice(bench: ServerBench) -> None:
    def twice(octets: bytes) -> list[bytes]:
        return [octets, octets]

    peer = await bench.peer(replacing(T.CDH, twice))
    await peer.begin()
    try:
        await peer.exchange()
    except Over as end:
        judge(end, (ErrorCode.RECORD_UNREADABLE,))
    else:
        await peer.refused(ErrorCode.RECORD_UNREADABLE)


_wrongly(
    "handshake.ccc-twice",
    "States",
    _EXHAUSTIVE,
    replacing(T.CCC, lambda ccc: [ccc, ccc]),
    # It depends on whether the client was admitted before the second came.
    ErrorCode.UNEXPECTED_MESSAGE,
    ErrorCode.RECORD_UNREADABLE,
)


@SERVER_HANDSHAKES.row("handshake.cdh-missing", SERVER, "States", _EXHAUSTIVE)
async def _cdhMissing(bench: ServerBench) -> None:
    peer = await bench.peer()
    await peer.begin()
    peer.line.send(clearRecord(T.CCC, bytes(41)))
    await peer.refused(ErrorCode.UNEXPECTED_MESSAGE)


async def _beforeEstablished(bench: ServerBench, *messages: Any) -> None:
    peer = await bench.peer()
    await peer.begin()
    await peer.exchange()
    peer.send(*messages)
    await peer.refused(ErrorCode.UNEXPECTED_MESSAGE)


@SERVER_HANDSHAKES.row("handshake.ccc-missing", SERVER, "States", _EXHAUSTIVE)
async def _cccMissing(bench: ServerBench) -> None:
    await _beforeEstablished(bench, CDT(0, 0, b"early"))


@SERVER_HANDSHAKES.row(
    "handshake.early-beat",
    SERVER,
    "Heartbeat",
    "Neither is legal before the client is Established.",
)
async def _earlyBeat(bench: ServerBench) -> None:
    await _beforeEstablished(bench, CHB(1))


@SERVER_HANDSHAKES.row(
    "handshake.silence",
    SERVER,
    "Handshake",
    "A server that has had no CHI by then says so, too, in a clear SHR.",
    must=False,
    bound=30.0,
)
async def _silence(bench: ServerBench) -> None:
    peer = await bench.peer()
    await peer.refused(ErrorCode.HANDSHAKE_TIMEOUT, within=15.0)


# Shares.

for _number, _point in enumerate(SMALL_ORDER):
    _wrongly(
        f"shares.small-order-{_number}",
        "Groups",
        _ZERO,
        changing(T.CDH, pointed(_point)),
        ErrorCode.BAD_SHARE,
    )
_wrongly(
    "shares.short",
    "Groups",
    _LENGTH,
    changing(T.CDH, lambda cdh: replace(cdh, share=cdh.share[:-1])),
    ErrorCode.BAD_SHARE,
)
_wrongly(
    "shares.long",
    "Groups",
    _LENGTH,
    changing(T.CDH, lambda cdh: replace(cdh, share=cdh.share + b"\0")),
    ErrorCode.BAD_SHARE,
)
_oddly(
    "shares.top-bit",
    "Groups",
    "The top bit of a peer's public key is ignored, as RFC 7748 says.",
    changing(T.CDH, lambda cdh: replace(cdh, share=withTopBit(cdh.share))),
)
