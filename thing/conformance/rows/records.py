"""Rows about records: framing, limits, protection, key updates, and which message is legal."""

from __future__ import annotations

from thing.conformance.bench import Bench, ClientBench, ServerBench
from thing.conformance.check import BOTH, CLIENT, SERVER, Checks
from thing.conformance.peer import Peer
from thing.conformance.steps import first, refusing, sending, taking
from thing.conformance.words import flipped
from thing.core.messages import CHB, CHI_LIMIT, HANDSHAKE_LIMIT, SUU, MessageType, Role
from thing.core.records import TAG_LENGTH, clearRecord
from thing.core.window import RECORD_COST
from thing.errors import ErrorCode

RECORDS = Checks()

_FIRST = (
    "So a server's first record is ``NOT_THING``, and is not answered, if it is longer than 1024 "
    "octets, has an unknown type octet, or is a CHI without the magic."
)
_AS_SOON = (
    "A receiver MUST refuse a longer record as soon as it has the header, without waiting for the "
    "payload."
)
_EMPTY = (
    "A record whose header is zero, a server's first one included, and a protected record whose "
    "plaintext is empty, are refused with ``RECORD_EMPTY``."
)
_UNREADABLE = "A record that does not decrypt is refused with ``RECORD_UNREADABLE``."
_STATE = (
    "A message that is not legal in this state is ``REFLECTED_MESSAGE`` if it is one that this "
    "side's own role sends, and ``UNEXPECTED_MESSAGE`` otherwise."
)
_TYPE = (
    "The type. One that is not in the table: ``UNKNOWN_MESSAGE``, or for a server's first record "
    "``NOT_THING``."
)
_BODY = (
    "The fields of a message MUST fill its body exactly: no octet may be missing, none may be "
    "left over."
)
_REPEATED = (
    "Between two key updates in the same direction there MUST be at least one other record; "
    "otherwise ``KEY_UPDATE_REPEATED``."
)


def header(length: int) -> bytes:
    """
    Make a record's header.

    :param length: what it says.
    :return: its octets.
    """
    return length.to_bytes(3, "big")


def beat(peer: Peer) -> CHB | SUU:
    """
    Make a message that the other role may say in a session.

    :param peer: the connection.
    :return: the message; as this side's own it would be right.
    """
    return SUU(1, 1000, 300) if peer.role is Role.CLIENT else CHB(1)


# The first record.

RECORDS.add("records.first-too-long", SERVER, "Message types", _FIRST, first(header(CHI_LIMIT + 1)))
RECORDS.add("records.first-unknown", SERVER, "Message types", _FIRST, first(clearRecord(0x7F, b"")))
RECORDS.add(
    "records.first-no-magic",
    SERVER,
    "Message types",
    _FIRST,
    first(clearRecord(MessageType.CHI, b"THINK" + bytes(80))),
)
RECORDS.add(
    "records.first-stranger",
    SERVER,
    "Rejects",
    "``NOT_THING``: a stranger is not answered.",
    first(b"GET / HTTP/1.1\r\n\r\n"),
)
RECORDS.add(
    "records.first-empty", SERVER, "Records", _EMPTY, first(header(0), ErrorCode.RECORD_EMPTY)
)
RECORDS.add(
    "records.first-other",
    SERVER,
    "Message types",
    _STATE,
    first(clearRecord(MessageType.CDH, bytes(4)), ErrorCode.UNEXPECTED_MESSAGE),
)
RECORDS.add(
    "records.first-reflected",
    SERVER,
    "Message types",
    _STATE,
    first(clearRecord(MessageType.SHI, bytes(4)), ErrorCode.REFLECTED_MESSAGE),
)
RECORDS.add(
    "records.first-reject",
    SERVER,
    "Rejects",
    "CHR as a server's first record is ``UNEXPECTED_MESSAGE``.",
    first(clearRecord(MessageType.CHR, bytes(6)), ErrorCode.UNEXPECTED_MESSAGE),
)


@RECORDS.row("records.answer-too-long", CLIENT, "Records", "the first that a client receives")
async def _answerTooLong(bench: ClientBench) -> None:
    peer = await bench.peer()
    await peer.hear()
    peer.line.send(header(HANDSHAKE_LIMIT + 1))
    await peer.cut()


@RECORDS.row("records.handshake-too-long", SERVER, "Records", _AS_SOON)
async def _handshakeTooLong(bench: ServerBench) -> None:
    peer = await bench.peer()
    await peer.begin()
    peer.line.send(header(HANDSHAKE_LIMIT + 1))
    await peer.refused(ErrorCode.RECORD_TOO_LONG)


@RECORDS.row("records.share-too-long", CLIENT, "Records", _AS_SOON)
async def _shareTooLong(bench: ClientBench) -> None:
    peer = await bench.peer()
    await peer.hear()
    peer.choose()
    peer.line.send(header(HANDSHAKE_LIMIT + 1))
    await peer.refused(ErrorCode.RECORD_TOO_LONG)


@RECORDS.row(
    "records.pieces", BOTH, "Framing", "A record may arrive in any number of pieces", bound=40.0
)
async def _pieces(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    record = peer.seal(peer.say.data(0, 0, b"in pieces"))
    for at in range(len(record)):
        peer.line.send(record[at : at + 1])
        await bench.sleep(0.001)
    await peer.alive()


RECORDS.add(
    "records.together",
    BOTH,
    "Framing",
    "and several records may arrive in one piece.",
    taking(lambda peer: [peer.say.data(0, 0, b"one"), peer.say.data(0, 0, b"two")]),
)

# Limits, once Established.


@RECORDS.row("records.longest", BOTH, "What each side can take", "the longest payload of a record")
async def _longest(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    most = min(peer.capacity.fragment, peer.capacity.mainCredit - RECORD_COST)
    await peer.give(peer.say.data(0, 0, bytes(most)))
    await peer.alive()


RECORDS.add(
    "records.too-long",
    BOTH,
    "Records",
    _AS_SOON,
    sending(lambda peer: header(peer.capacity.recordLimit + 1), ErrorCode.RECORD_TOO_LONG),
)
RECORDS.add(
    "records.empty",
    BOTH,
    "Records",
    _EMPTY,
    sending(lambda peer: header(0), ErrorCode.RECORD_EMPTY),
)
RECORDS.add(
    "records.nothing-in-it",
    BOTH,
    "Records",
    _EMPTY,
    sending(lambda peer: peer.empty(), ErrorCode.RECORD_EMPTY),
)

# Protection.

RECORDS.add(
    "records.tampered",
    BOTH,
    "Protection",
    _UNREADABLE,
    sending(
        lambda peer: flipped(peer.seal(peer.say.data(0, 0, b"x")), 5), ErrorCode.RECORD_UNREADABLE
    ),
)
RECORDS.add(
    "records.tag",
    BOTH,
    "Protection",
    _UNREADABLE,
    sending(
        lambda peer: flipped(peer.seal(peer.say.data(0, 0, b"x"))), ErrorCode.RECORD_UNREADABLE
    ),
)
RECORDS.add(
    "records.replayed",
    BOTH,
    "Protection",
    _UNREADABLE,
    sending(lambda peer: peer.seal(peer.say.data(0, 0, b"x")) * 2, ErrorCode.RECORD_UNREADABLE),
)


def _clear(peer: Peer) -> bytes:
    octets = peer.say.data(0, 0, b"x").typed()
    return clearRecord(octets[0], octets[1:])


def _skipping(peer: Peer) -> bytes:
    peer.seal(peer.say.data(0, 0, b"lost"))
    return peer.seal(peer.say.data(0, 0, b"x"))


def _swapped(peer: Peer) -> bytes:
    one, other = (peer.seal(peer.say.data(0, 0, word)) for word in (b"one", b"two"))
    return other + one


def _wrongLength(peer: Peer) -> bytes:
    """The AAD is the header: one that was changed, with as many octets behind it, is noticed."""
    record = peer.seal(peer.say.data(0, 0, b"x"))
    return header(len(record) - 2) + record[3:] + bytes(1)


RECORDS.add(
    "records.lost", BOTH, "Protection", _UNREADABLE, sending(_skipping, ErrorCode.RECORD_UNREADABLE)
)
RECORDS.add(
    "records.swapped",
    BOTH,
    "Protection",
    _UNREADABLE,
    sending(_swapped, ErrorCode.RECORD_UNREADABLE),
)
RECORDS.add(
    "records.header",
    BOTH,
    "Protection",
    "The associated data (AAD) is the three octets of the header as sent.",
    sending(_wrongLength, ErrorCode.RECORD_UNREADABLE),
)
RECORDS.add(
    "records.shorter-than-tag",
    BOTH,
    "Protection",
    "That includes payloads shorter than 16 octets, and every clear record once keys are in use.",
    sending(
        lambda peer: header(TAG_LENGTH - 1) + bytes(TAG_LENGTH - 1), ErrorCode.RECORD_UNREADABLE
    ),
)
RECORDS.add(
    "records.clear",
    BOTH,
    "Protection",
    "That includes payloads shorter than 16 octets, and every clear record once keys are in use.",
    sending(_clear, ErrorCode.RECORD_UNREADABLE),
)


# Which message.

RECORDS.add(
    "messages.unknown",
    BOTH,
    "Message types",
    _TYPE,
    refusing(lambda peer: [b"\x7f"], ErrorCode.UNKNOWN_MESSAGE),
)
RECORDS.add(
    "messages.private",
    BOTH,
    "Registries",
    "unknown types are fatal, so a new one is sent only after an extension agreed on it",
    refusing(lambda peer: [b"\xf0"], ErrorCode.UNKNOWN_MESSAGE),
)
RECORDS.add(
    "messages.reflected",
    BOTH,
    "Message types",
    _STATE,
    refusing(lambda peer: [beat(peer)], ErrorCode.REFLECTED_MESSAGE),
)
RECORDS.add(
    "messages.unexpected",
    BOTH,
    "Message types",
    _STATE,
    refusing(
        lambda peer: [b"\x01THING" if peer.role is Role.CLIENT else b"\x02"],
        ErrorCode.UNEXPECTED_MESSAGE,
    ),
)
RECORDS.add(
    "messages.left-over",
    BOTH,
    "Notation",
    _BODY,
    refusing(lambda peer: [peer.say.credit(0, 1).typed() + b"\x00"], ErrorCode.MALFORMED_MESSAGE),
)
RECORDS.add(
    "messages.missing",
    BOTH,
    "Notation",
    _BODY,
    refusing(lambda peer: [peer.say.credit(0, 1).typed()[:-1]], ErrorCode.MALFORMED_MESSAGE),
)

# Key updates.

UPDATES = Checks()


@UPDATES.row(
    "keys.updated",
    BOTH,
    "Key update",
    "The receiver of CKU or SKU moves its *receiving* key in the same way, directly after this "
    "record.",
)
async def _updated(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    for _ in range(3):
        await peer.alive()
        peer.update()
    peer.send(peer.say.data(0, 0, b"under the next key"))
    await peer.alive()


@UPDATES.row(
    "keys.first",
    BOTH,
    "Key update",
    "a receiver accepts a key update as the very first record of a session.",
)
async def _updatedFirst(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    peer.update()
    await peer.alive()


@UPDATES.row("keys.repeated", BOTH, "Key update", _REPEATED)
async def _updatedTwice(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    peer.update()
    peer.update()
    await peer.refused(ErrorCode.KEY_UPDATE_REPEATED)


@UPDATES.row("keys.old", BOTH, "Protection", "There is no second try with another key.")
async def _oldKey(bench: Bench[Peer]) -> None:
    peer = await bench.session()
    peer.send(peer.say.update())  # And no other key.
    peer.send(peer.say.data(0, 0, b"under the key before"))
    await peer.refused(ErrorCode.RECORD_UNREADABLE)


UPDATES.add(
    "keys.body",
    BOTH,
    "Notation",
    _BODY,
    refusing(lambda peer: [peer.say.update().typed() + b"\x00"], ErrorCode.MALFORMED_MESSAGE),
)
