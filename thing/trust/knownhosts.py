"""
Files of ssh's known_hosts format: which of their lines are about a server.

Lines are judged as ``ssh-keygen -F`` does: one that is damaged costs itself and no other. But what
is said of this very server, and cannot be read, is not taken for nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import SSHCertificate

from thing.core.credentials import PublicKey
from thing.errors import CredentialError
from thing.trust.keys import KEY_TYPE, parsePublicKey
from thing.trust.lines import BYTE_ORDER_MARK
from thing.trust.permits import matches
from thing.trust.sshkeys import UNDERSTOOD, blobFingerprint, blobOf, parseAnyKey, plainKey

MAX_DAMAGED = 1000
"""With more damaged lines than these it is no file of hosts, and nobody reads it to its end."""

MAX_TOLD = 10
"""How many damaged lines of a file are told."""

REVOKED = "@revoked"
AUTHORITY = "@cert-authority"

_LINE = re.compile(r"(?:(@[^ \t]*)[ \t]+)?([^@ \t][^ \t]*)(?:[ \t]+(.*))?", re.DOTALL)
"""A marker, the hosts, and the public key from its type on."""

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class HostLine:
    """A line that is about the server."""

    number: int
    """Which line of the file it is, from one."""

    marker: str
    """:data:`REVOKED`, :data:`AUTHORITY`, or nothing for a key of the server."""

    hosts: str
    """The hosts, as they are written; empty if a public key stands alone."""

    text: str
    """The key, from its type on, and its comment."""

    key: PublicKey | SSHCertificate | None
    """The key; None if it is damaged, or stands alone."""


class HostsFile:
    """
    Reads a file for one server. What is damaged in it is told when it is first seen.

    Lines with other markers, and with keys that neither a server nor an authority can have here,
    are ssh's own.

    :ivar path: the file.
    """

    def __init__(self, path: str, names: Iterable[str], warn: Callable[[str], object]) -> None:
        """
        :param path: the file.
        :param names: what the server is called in it, in lower case.
        :param warn: is told what is damaged, in one line each, for the log.
        """
        self.path = path
        self._tell = warn
        self._names = tuple(names)
        self._told: set[str] = set()

    def linesIn(self, content: bytes) -> list[HostLine]:
        """
        Find the lines that are about the server, and those of a public key alone.

        :param content: what the file holds.
        :return: the lines.
        :raises CredentialError: if the file is of UTF-16, so that it would seem to hold nothing,
            or if more than :data:`MAX_DAMAGED` of its lines are damaged.
        """
        if content.startswith(_UTF16):
            raise CredentialError(f"{self.path}: text in UTF-16, but UTF-8 is needed")
        lines, damaged = [], 0
        for number, text in _texts(content):
            try:
                line = self._read(number, text)
            except CredentialError as error:
                self._warn(number, error)
                damaged += 1
                if damaged > MAX_DAMAGED:
                    raise CredentialError(
                        f"{self.path}: not a file of hosts and public keys, "
                        f"since more than {MAX_DAMAGED} lines are none"
                    ) from None
            else:
                lines += [] if line is None else [line]
        return lines

    def whyRevoked(self, lines: Iterable[HostLine], keys: Iterable[bytes]) -> str | None:
        """
        Say which of some keys is revoked for the server.

        :param lines: the lines that are about it.
        :param keys: the keys, as ssh encodes them.
        :return: one line for this side's log; nothing if none is.
        """
        wanted = set(keys)
        for line in lines:
            if line.marker != REVOKED:
                continue
            if line.key is None:
                return f"what {self.path}:{line.number} revokes cannot be read"
            blob = blobOf(plainKey(line.key))
            if blob in wanted:
                return f"the key {blobFingerprint(blob)} is revoked by {self.path}:{line.number}"
        return None

    def _read(self, number: int, text: str) -> HostLine | None:
        """The line, if it counts; one of another server that is damaged raises."""
        whole = text.replace("\0", "")  # A disk that failed leaves them, often before a line.
        match = _LINE.fullmatch(whole)
        if match is None:
            raise CredentialError("not a line of hosts and a public key")
        marker, hosts, keyText = match[1] or "", match[2], match[3] or ""
        if not marker and UNDERSTOOD.fullmatch(hosts) and not KEY_TYPE.match(keyText):
            return HostLine(number, "", "", whole, None)
        if marker not in ("", REVOKED, AUTHORITY) or _isOnlySshs(keyText):
            return None
        about = any(matchesHosts(hosts, name) for name in self._names)
        try:
            key = _parseKey(keyText, about)
            if whole != text:
                raise CredentialError("octets of zero are in the line")
        except CredentialError as error:
            if not about:
                raise
            self._warn(number, error)
            key = None
        return HostLine(number, marker, hosts, keyText, key) if about else None

    def _warn(self, number: int, error: CredentialError) -> None:
        text = f"{self.path}:{number} is damaged, and skipped: {error}"
        if text in self._told or len(self._told) > MAX_TOLD:
            return
        self._told.add(text)
        if len(self._told) > MAX_TOLD:
            text = f"{self.path}: more lines are damaged"
        self._tell(text)


def _texts(content: bytes) -> Iterator[tuple[int, str]]:
    """The lines that say something, however long: a list of hosts may be."""
    for number, row in enumerate(content.removeprefix(BYTE_ORDER_MARK).split(b"\n"), 1):
        text = row.decode("utf-8", "surrogateescape").strip(" \t\r")
        if text and not text.startswith("#"):
            yield number, text


def _isOnlySshs(keyText: str) -> bool:
    """Whether a key is of a type that is never met here: a security key, or one of SSH 1."""
    keyType = KEY_TYPE.match(keyText)
    if keyType is None:
        return re.match(r"[0-9]+[ \t]", keyText) is not None
    return UNDERSTOOD.fullmatch(keyType[0]) is None


def _parseKey(keyText: str, about: bool) -> PublicKey | SSHCertificate | None:
    """The key in a line; of other servers' lines just those are looked at that are ours to know."""
    if about or not KEY_TYPE.match(keyText):
        return parseAnyKey(keyText)
    if keyText.split(maxsplit=1)[0] == "ssh-ed25519":
        parsePublicKey(keyText)
    return None


def nameOfServer(host: str, port: int) -> str:
    """
    Tell what a server is called in a file.

    :param host: its host name or address.
    :param port: its port, 1 to 65535.
    :return: ``[host]:port``, whatever the port.
    :raises CredentialError: if the host or the port cannot be one. Nothing else comes into a file:
        a comma or a ``*`` would name other servers, too.
    """
    if not re.fullmatch(r"[\w.:%-]+", host) or not 0 < port < 65536:
        raise CredentialError(f"not a host and a port: {host!r}, {port!r}")
    return f"[{host.lower()}]:{port}"


def matchesHosts(hosts: str, server: str) -> bool:
    """
    Look for a server among a line's hosts.

    :param hosts: a list of patterns, or one hashed name.
    :param server: the server, as the file names it.
    :return: whether it is one of them.
    :raises CredentialError: if a hashed name is damaged.
    """
    if hosts.startswith("|"):
        return _matchesHash(hosts, server)
    return matches(hosts.lower(), server)


def _matchesHash(hashed: str, server: str) -> bool:
    """Whether a name hashed as ``ssh-keygen -H`` does is this server's."""
    match = re.fullmatch(r"\|1\|([A-Za-z0-9+/]{27}=)\|([A-Za-z0-9+/]{27}=)", hashed)
    if match is None:
        raise CredentialError("a hashed host name is damaged")
    salt, expected = map(base64.b64decode, match.groups())
    return hmac.digest(salt, server.encode(), hashlib.sha1) == expected
