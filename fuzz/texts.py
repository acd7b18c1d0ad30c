"""Whatever a registry, another node or a thing says in JSON, it makes sense or is passed over."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fuzz.cost import admitted, within
from fuzz.files import refused
from tests.fleet.redis.test_rows import FIGURES, entry, row
from tests.helpers import CLIENT_CREDENTIAL
from thing.fleet.redis import reaches
from thing.fleet.redis.connection import RegistryAway
from thing.fleet.redis.rows import (
    MALFORMED,
    eventOf,
    nodesOf,
    recordOf,
    trafficOf,
)
from thing.fleet.redis.script import asJson, outcomeOf
from thing.fleet.relays import Announcement
from thing.session.joinmessages import JoinReply, JoinRequest, Refusal, encodeRefusal, parseReply
from thing.text import readObject

SEPARATOR = b"\x1f"
"""What stands in an input between the strings of an answer of Redis."""


def _list(data: bytes) -> list[Any]:
    """Strings as Redis gives them; an empty one stands for nothing."""
    return [each or None for each in data.split(SEPARATOR)]


def _entry(data: bytes) -> None:
    position, *flat = _list(data)
    event = eventOf((position, flat))
    assert event is None or asJson(event.event.data)


def _nodes(data: bytes) -> None:
    now, leased, *flat = (*_list(data), None)
    records, _ = nodesOf((now, flat, [leased, now]))
    for each in records:
        asJson(each.asDict())


def _row(data: bytes) -> None:
    record = recordOf(_list(data))
    assert record is None or asJson(record.asDict())


def _outcome(data: bytes) -> None:
    with suppress(RegistryAway):
        outcomeOf(_list(data))


def _object(data: bytes) -> None:
    with suppress(ValueError):
        found = readObject(data)
        assert readObject(asJson(found)) == found
        traffic = trafficOf(found)
        assert traffic is None or asJson(traffic.asDict())
        with suppress(*MALFORMED):
            asJson(reaches.recordOf(found).asDict())


def _announcement(data: bytes) -> None:
    with suppress(ValueError):
        Announcement.decode(data)


def _joining(data: bytes) -> None:
    if not refused(JoinRequest.parse, data):
        assert JoinRequest.parse(JoinRequest.parse(data).encode()) == JoinRequest.parse(data)
    if not refused(parseReply, data):
        reply = parseReply(data)
        again = encodeRefusal(reply) if isinstance(reply, Refusal) else reply.encode()
        assert parseReply(again) == reply


READERS: tuple[Callable[[bytes], None], ...] = (
    *(_row, _entry, _nodes, _outcome, _object, _announcement, _joining),
)
"""Reads each sort of text that comes from elsewhere."""


def oneInput(data: bytes) -> None:
    """
    Read octets as one sort of text.

    :param data: which sort, then the text.
    """
    if data:
        reader = READERS[data[0] % len(READERS)]
        with within(admitted(len(data)), reader.__name__):
            reader(data[1:])


def seeds() -> list[bytes]:
    """
    Make texts to begin with.

    :return: some that each reader understands.
    """
    said = {"status": "up", "registry": "memory", "registryReason": "", "version": "1"}
    said |= {"advertised": "", "fingerprint": ""}
    node = {
        **dict.fromkeys(("since", "lastSeen", "sessions", "handshakes", "completed", "loopLag"), 1),
        "terminations": {"GOODBYE": 1},
        "minutes": [[60, {"GOODBYE": 1}]],
        **said,
    }
    reach: dict[str, Any] = dict.fromkeys(
        ("id", "thing", "service", "by", "key", "from", "node"), "a"
    )
    reach |= dict.fromkeys(("since", "octetsUp", "octetsDown"), 1)
    ending = json.dumps(
        {"session": "s", "node": "a", "since": 1, "until": 2, "cause": "c", "detail": "d"}
    )
    position, flat = entry(data='{"wait":1.5,"text":"\\u00e4"}')
    key = CLIENT_CREDENTIAL.data
    texts: list[tuple[Callable[[bytes], None], list[bytes]]] = [
        (_row, row()),
        (_row, row(endings=f"{ending}\n{ending}")),
        (_entry, [position, *flat]),
        (_nodes, [b"1", b"a", b"a", asJson(node).encode()]),
        (_outcome, [b"up", b"1", b"2"]),
        (_outcome, [b"here", b"1000"]),
        (_object, [asJson(dict.fromkeys(FIGURES, 1)).encode()]),
        (_object, [asJson(reach).encode()]),
        (_announcement, [Announcement("0" * 16, key, "a", "ssh", "lamp").encode()]),
        (_joining, [JoinRequest(key).encode()]),
        (_joining, [JoinReply("lamp", key).encode()]),
        (_joining, [encodeRefusal(Refusal.NOT_NOW)]),
    ]
    return [
        bytes((READERS.index(reader),)) + SEPARATOR.join(map(bytes, parts))
        for reader, parts in texts
    ]
