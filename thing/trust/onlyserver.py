"""Which server is meant when none is named: the only one that a file of known servers has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from thing.errors import CredentialError
from thing.trust.files import MAX_FILE, StrPath, readFile
from thing.trust.lines import BYTE_ORDER_MARK

_LINE = re.compile(r"(?P<names>[^@#|\s]\S*)[ \t]+(?P<key>ssh-ed25519[ \t]+\S+)")
_NAME = re.compile(r"\[(?P<host>[\w.:%-]+)\]:(?P<port>[0-9]{1,5})")


def onlyServer(path: StrPath) -> list[tuple[str, int]]:
    """
    Find the only server in a file.

    Names of one server, which share a key, are its addresses. Hashed names, patterns, and lines of
    other types or with a marker name no server to connect to.

    :param path: a file of known servers, as :class:`~thing.trust.known.KnownServers` reads it.
    :return: the hosts and the ports of its addresses, in their order.
    :raises CredentialError: if it cannot be read, or has no server or several.
    """
    keys: dict[tuple[str, int], set[str]] = {}
    for server, key in _serversIn(readFile(path, MAX_FILE)):
        keys.setdefault(server, set()).add(key)
    if not keys:
        raise CredentialError(f"{path} has no server")
    if not set.intersection(*keys.values()):
        raise CredentialError(f"{path} has several servers")
    return list(keys)


def _serversIn(content: bytes) -> Iterator[tuple[tuple[str, int], str]]:
    """The servers that a file names, each with a key."""
    text = content.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace")
    for row in text.split("\n"):
        line = _LINE.match(row.strip())
        if line is None:
            continue
        for server in filter(None, map(_NAME.fullmatch, line["names"].split(","))):
            if 0 < int(server["port"]) < 65536:
                yield (server["host"], int(server["port"])), " ".join(line["key"].split())
