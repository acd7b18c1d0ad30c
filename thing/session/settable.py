"""
What a session, and a server with its sessions, can be set to: one table for each side.

An endpoint's description and ``twistd thing`` make of it what can be written there, and ``thing``
says the same of what it has; what is for some of these places only, the table says. Whom to
trust is in the tables of :mod:`thing.trust.choice`. What concerns one place alone, as where to
listen, stays there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from enum import Enum, auto
from typing import Any

from thing.core.groups import GroupName
from thing.core.heartbeat import TtlPolicy
from thing.core.limits import Limits
from thing.core.records import Aead
from thing.core.settings import ClientSettings, Settings
from thing.trust.keywords import Keyword, Where, count, duration, members, seconds


class Topic(Enum):
    """What a setting is about, for a manual."""

    LIVENESS = auto()
    TIME = auto()
    CAPACITY = auto()
    ALGORITHMS = auto()


@dataclass(frozen=True, slots=True)
class Setting(Keyword):
    """A keyword that is a field of a session's settings, of the TTLs granted, or of the limits."""

    _: KW_ONLY
    of: type[Any]
    """The class that has the field."""

    field: str
    """The field; its default is the keyword's."""

    topic: Topic
    """What it is about."""


def _fieldsOf(
    of: type[Any], topic: Topic, where: Where = Where.DAEMON | Where.ENDPOINT, /, **rows: Keyword
) -> tuple[Setting, ...]:
    """Rows of the tables: fields of a class, which has their defaults, too."""
    defaults = of()
    return tuple(
        Setting(
            row.name,
            row.value,
            row.doc,
            row.read,
            default=getattr(defaults, field),
            shown=row.shown,
            where=where,
            of=of,
            field=field,
            topic=topic,
        )
        for field, row in rows.items()
    )


_TIMES = _fieldsOf(
    Settings,
    Topic.TIME,
    handshakeTimeout=Keyword("handshakeTimeout", "SECONDS", "for a handshake", duration),
    closeTimeout=Keyword("closeTimeout", "SECONDS", "for an orderly close", duration),
)
_ALGORITHMS = _fieldsOf(
    Settings,
    Topic.ALGORITHMS,
    Where.ENDPOINT,
    groups=Keyword(
        "groups",
        "NAMES",
        "the key exchange groups, the preferred first, commas between",
        members(GroupName),
    ),
    aeads=Keyword(
        "aeads", "NAMES", "the AEADs, the preferred first, commas between", members(Aead)
    ),
)

SERVER_SETTINGS: tuple[Setting, ...] = (
    *_fieldsOf(
        TtlPolicy,
        Topic.LIVENESS,
        default=Keyword("ttl", "SECONDS", "TTL, if the client asks for none", duration),
        minimum=Keyword("minTtl", "SECONDS", "shortest TTL granted", duration),
        maximum=Keyword("maxTtl", "SECONDS", "longest TTL granted", duration),
        beatsPerSecond=Keyword(
            "beatsPerSecond", "N", "of all clients; TTLs grow to hold it", count
        ),
    ),
    *_TIMES,
    *_fieldsOf(
        Limits,
        Topic.TIME,
        retryAfter=Keyword("retryAfter", "SECONDS", "told to clients turned or sent away", seconds),
    ),
    *_fieldsOf(
        Limits,
        Topic.CAPACITY,
        sessions=Keyword("maxSessions", "N", "at once", count),
        sessionsPerAddress=Keyword(
            "maxSessionsPerAddress", "N", "of them, from one network address", count
        ),
        handshakes=Keyword("maxHandshakes", "N", "in progress at once", count),
        handshakesPerAddress=Keyword(
            "maxHandshakesPerAddress", "N", "of them, from one network address", count
        ),
        held=Keyword("maxHeld", "OCTETS", "waiting, of all sessions", count),
    ),
    *_fieldsOf(
        Limits,
        Topic.CAPACITY,
        Where.DAEMON,
        puzzleAfter=Keyword("puzzleAfter", "N", "failed lately: newcomers solve puzzles", count),
        returnsPerSecond=Keyword("returnsPerSecond", "N", "of those sent away at SIGTERM", count),
    ),
    *_fieldsOf(
        Settings,
        Topic.CAPACITY,
        Where.DAEMON,  # An endpoint's data are a stream, which has no messages.
        maxMessage=Keyword("maxMessage", "OCTETS", "longest message taken", count),
        maxBuffered=Keyword("maxBuffered", "OCTETS", "waiting for one client", count),
    ),
    *_ALGORITHMS,
)
"""What a server can be set to."""

CLIENT_SETTINGS: tuple[Setting, ...] = (
    *_fieldsOf(
        ClientSettings,
        Topic.LIVENESS,
        Where.ENDPOINT | Where.COMMAND,
        requestedTtl=Keyword(
            "ttl", "SECONDS", "the TTL to ask for", duration, shown="the server's choice"
        ),
    ),
    *_TIMES,
    *_ALGORITHMS,
)
"""What a client can be set to."""


def settingsOf(table: Iterable[Setting], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """
    Make the fields of a session's settings.

    :param table: what can be chosen.
    :param chosen: what was, by keyword; there may be more in it.
    :return: the values, by the fields of ``ServerSettings`` or ``ClientSettings``.
    :raises LocalProtocolError: if the numbers of the TTL do not go together.
    """
    fields = _chosenOf(Settings, table, chosen)
    ttl = _chosenOf(TtlPolicy, table, chosen)
    return {**fields, "ttl": TtlPolicy(**ttl)} if ttl else fields


def limitsOf(chosen: Mapping[str, Any]) -> Limits:
    """
    Make a server's limits.

    :param chosen: what was chosen, by keyword; there may be more in it.
    :return: the limits.
    """
    return Limits(**_chosenOf(Limits, SERVER_SETTINGS, chosen))


def _chosenOf(of: type[Any], table: Iterable[Setting], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What was chosen of the fields of a class."""
    return {
        each.field: chosen[each.name]
        for each in table
        if issubclass(each.of, of) and each.name in chosen
    }
