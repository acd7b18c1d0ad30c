"""
How many files the process may open, and how many sessions and backends' connections fit into that.

A server that has no file left cannot take a connection, and so cannot tell who is to make room:
strangers would keep everybody out, and its limits would protect nobody. So its limits are met
before the process's are.
"""

from __future__ import annotations

import resource
from dataclasses import replace

from thing.core.limits import Limits
from thing.errors import ThingError
from thing.logger import Logger

SPARE = 128
"""For all but sessions, handshakes and the status server: logs, keys, Redis, other nodes."""

STATUS = 256
"""For connections to the status server; as many as it has places."""

LEAST_SESSIONS = 10
"""With fewer a server is of no use."""

_log = Logger()


class TooFewFiles(ThingError):
    """The process may open too few files."""


def allowFiles() -> int:
    """
    Have the process open as many files as it may: the soft limit becomes the hard one.

    :return: how many they are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def fitted(limits: Limits, files: int, backends: int = 0, others: int = 0) -> tuple[Limits, int]:
    """
    Lower limits to what fits, and say so; give what is left to the backends.

    :param limits: what was asked for.
    :param files: how many files the process may open.
    :param backends: how many servers stand behind the sessions; there is room for a connection of
        each session to each of them.
    :param others: for how many more there must be room, beside :data:`SPARE`.
    :return: the limits, those asked for if they fit; and how many connections there may be to
        each backend, for all sessions together.
    :raises TooFewFiles: if not even a few sessions fit.
    """
    room = files - SPARE - others
    if limits.handshakes + (1 + backends) * limits.sessions > room:
        limits = _lowered(limits, files, room, 1 + backends)
    return limits, (room - limits.handshakes - limits.sessions) // max(1, backends)


def _lowered(limits: Limits, files: int, room: int, each: int) -> Limits:
    """Limits that fit into the room, if each session has so many files."""
    handshakes = min(limits.handshakes, room // 4)
    sessions = min(limits.sessions, (room - handshakes) // each)
    if sessions < LEAST_SESSIONS:
        raise TooFewFiles(f"the process may open {files} files only (ulimit -n, LimitNOFILE=)")
    _log.warn(
        "The process may open {files} files (ulimit -n, LimitNOFILE=): so there are {sessions}"
        " sessions at most, and {handshakes} handshakes",
        files=files,
        sessions=sessions,
        handshakes=handshakes,
    )
    return replace(limits, sessions=sessions, handshakes=handshakes)
