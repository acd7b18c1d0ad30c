"""Which server a client believes: by its fingerprint, or by a file of the known_hosts kind."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from thing.errors import CredentialError, NotAuthorized
from thing.identity import CredentialKind, Identity, fingerprint
from thing.trust.files import (
    MAX_FILE,
    LockedFile,
    StrPath,
    lockedFile,
    onceUnlocked,
    readFile,
    textLines,
)
from thing.trust.interfaces import IAuthorizer, IKeyContinuity
from thing.trust.keys import formatPublicKey, parseFingerprint, parsePublicKey

MAX_KEYS = 8
"""The most keys that are kept for one server, its next ones included."""

HOSTS_LINE = re.compile(r"(?:(@[^ \t]*)[ \t]+)?([^@ \t][^ \t]*)[ \t]+(([^ \t]+).*)", re.DOTALL)
"""A line of known_hosts: a marker, the hosts, the public key and its type."""


def _requireKey(identity: Identity) -> None:
    """Refuse a server that proved anything but a raw key."""
    if identity.kind is not CredentialKind.ED25519:
        raise NotAuthorized(f"the server proved no raw key, but {identity.kind.name}")


def _refuse(failure: Failure) -> Identity:
    """Refuse a server because of its file."""
    failure.trap(CredentialError)  # type: ignore[no-untyped-call]
    raise NotAuthorized(str(failure.value)) from failure.value


@implementer(IAuthorizer)
class PinnedServers:
    """
    Believes a server whose key has one of the given fingerprints.

    :param fingerprints: what the key's may be, as ssh prints them.
    :raises CredentialError: if one is not a fingerprint, or if there are none.
    """

    def __init__(self, fingerprints: Iterable[str]) -> None:
        self.fingerprints = frozenset(map(parseFingerprint, fingerprints))
        if not self.fingerprints:
            raise CredentialError("no fingerprint is given, so no server could be believed")

    def authorize(self, identity: Identity) -> Identity:
        """
        Admit a server with a pinned key.

        :param identity: what the server has proved.
        :return: the same; a pin gives no name.
        :raises NotAuthorized: if the key is not pinned.
        """
        _requireKey(identity)
        if identity.fingerprint not in self.fingerprints:
            pins = ", ".join(sorted(self.fingerprints))
            raise NotAuthorized(f"the server's key is {identity.fingerprint}; pinned is {pins}")
        return identity


@dataclass(frozen=True, slots=True)
class _Line:
    """An Ed25519 key in the file, and the hosts that it is of."""

    number: int
    revoked: bool
    hosts: str
    key: bytes


@implementer(IAuthorizer, IKeyContinuity)
class KnownServers:
    """
    Believes the keys that a file has for one host and port.

    The file is of ssh's known_hosts format, and may be shared with ssh: a
    server is written ``[host]:port``, whatever its port. Lists, patterns,
    hashed names and ``@revoked`` mean what they mean to ssh; lines with other
    types of key or other markers are ssh's own. The file is read at each
    decision, so a change to it needs no restart.

    :param path: the file; it is read now, so that a mistake in it shows early.
    :param host: the host name or address that the client connects to.
    :param port: the port, 1 to 65535.
    :param firstUse: whether to believe and store the key of a server that the
        file does not know; the file itself may then be missing.
    :param onFirstUse: called with the identity after it was stored so.
    :param clock: measures how long to wait for another process that has locked the
        file; by default the reactor.
    :raises CredentialError: if the host or the port cannot be one, or if the
        file cannot be read or understood.
    :ivar server: the server, as the file names it.
    """

    def __init__(
        self,
        path: StrPath,
        host: str,
        port: int,
        firstUse: bool = False,
        onFirstUse: Callable[[Identity], object] | None = None,
        clock: IReactorTime | None = None,
    ) -> None:
        if not re.fullmatch(r"[\w.:%-]+", host) or not 0 < port < 65536:
            raise CredentialError(f"not a host and a port: {host!r}, {port!r}")
        self.path = os.fspath(path)
        self.server = f"[{host.lower()}]:{port}"
        self.firstUse = firstUse
        self.onFirstUse = onFirstUse
        self._clock = clock
        self._linesIn(self._read())

    def authorize(self, identity: Identity) -> Identity | Deferred[Identity]:
        """
        Admit the server if the file has its key, or on first use.

        A key that differs from those that the file has is never admitted, on
        first use neither.

        :param identity: what the server has proved.
        :return: the identity, named ``[host]:port``; a Deferred of that if it is to be
            stored and another process has locked the file.
        :raises NotAuthorized: if the server is not known, has another key or a
            revoked one, or if the file cannot be read or written.
        """
        _requireKey(identity)
        try:
            admitted = onceUnlocked(partial(self._admit, identity), self._clock)
        except CredentialError as error:
            raise NotAuthorized(str(error)) from error
        if isinstance(admitted, Deferred):
            admitted.addErrback(_refuse)
        return admitted

    def _admit(self, identity: Identity) -> Identity:
        """Decide by what the file has now."""
        named = replace(identity, name=self.server)
        if self._isKnown(self._linesIn(self._read()), identity.publicKey):
            return named
        if self.firstUse:
            self._store(named)
            return named
        raise NotAuthorized(
            f"{self.server} is not in {self.path}; if {identity.fingerprint} is truly "
            f"its key, add the line: {self._format(identity.publicKey)}"
        )

    def nextKeyAnnounced(self, current: Identity, next: Identity) -> Deferred[None] | None:
        """
        Add the server's next key to the file, if the file has the current one.

        Of more than :data:`MAX_KEYS` keys, the oldest goes that is not the
        current one.

        :param current: the server as this session's handshake proved it.
        :param next: the server as it will be.
        :return: fires when that is done, if another process has locked the file.
        :raises NotAuthorized: if the current key is not known, or if one of
            the two is revoked.
        :raises CredentialError: if the file cannot be read or written, or if
            no key can go.
        """
        _requireKey(next)
        return onceUnlocked(partial(self._keepNext, current, next), self._clock)

    def _keepNext(self, current: Identity, next: Identity) -> None:
        """Add the next key to what the file has now."""
        with lockedFile(self.path) as file:
            content = file.read(MAX_FILE)
            lines = self._linesIn(content)
            if not self._isKnown(lines, current.publicKey):
                raise NotAuthorized(f"{self.server} is not in {self.path}")
            self._refuseRevoked(lines, next.publicKey)
            if not any(line.key == next.publicKey for line in lines):
                content = self._withoutOldest(content, lines, current.publicKey)
                self._append(file, content, next.publicKey)

    def _read(self) -> bytes:
        """What the file holds; on first use, a file that is missing holds nothing."""
        if self.firstUse and not os.path.lexists(self.path):
            return b""
        return readFile(self.path, MAX_FILE)

    def _linesIn(self, content: bytes) -> list[_Line]:
        """The lines of a file that are about this server."""
        lines = []
        for number, text in textLines(self.path, content):
            try:
                line = _parseLine(number, text)
                if line is not None and matchesHosts(line.hosts, self.server):
                    lines.append(line)
            except CredentialError as error:
                raise CredentialError(f"{self.path}:{number}: {error}") from None
        return lines

    def _isKnown(self, lines: list[_Line], key: bytes) -> bool:
        """Whether the server is known by this key; refuses if by others only."""
        self._refuseRevoked(lines, key)
        known = [line for line in lines if not line.revoked]
        if not known:
            return False
        if any(line.key == key for line in known):
            return True
        expected = ", ".join(
            f"{self.path}:{line.number} has {fingerprint(line.key)}" for line in known[:MAX_KEYS]
        )
        raise NotAuthorized(
            f"THE KEY OF {self.server} HAS CHANGED: either someone is intercepting this "
            f"connection or the server got another key. It proved {fingerprint(key)}, but "
            f"{expected}. If the new key is right, put this line there: {self._format(key)}"
        )

    def _refuseRevoked(self, lines: list[_Line], key: bytes) -> None:
        """Refuse a key that is marked as revoked for this server."""
        for line in lines:
            if line.revoked and line.key == key:
                raise NotAuthorized(
                    f"THE KEY OF {self.server} IS REVOKED: {fingerprint(key)} "
                    f"by {self.path}:{line.number}"
                )

    def _store(self, identity: Identity) -> None:
        """Store a server's first key, unless another process was faster."""
        with lockedFile(self.path) as file:
            content = file.read(MAX_FILE)
            if self._isKnown(self._linesIn(content), identity.publicKey):
                return
            self._append(file, content, identity.publicKey)
        if self.onFirstUse is not None:
            self.onFirstUse(identity)

    def _append(self, file: LockedFile, content: bytes, key: bytes) -> None:
        """Write the file anew, with one more line."""
        if content and not content.endswith(b"\n"):
            content += b"\n"
        file.replace(content + self._format(key).encode() + b"\n")

    def _withoutOldest(self, content: bytes, lines: list[_Line], current: bytes) -> bytes:
        """Make room for one more key of this server."""
        known = [line for line in lines if not line.revoked]
        if len(known) < MAX_KEYS:
            return content
        for line in known:
            # A line that may be about other servers too is not ours to drop.
            if line.key != current and (line.hosts == self.server or line.hosts.startswith("|")):
                rows = content.split(b"\n")
                del rows[line.number - 1]
                return b"\n".join(rows)
        raise CredentialError(f"{self.path} has {len(known)} keys for {self.server} already")

    def _format(self, key: bytes) -> str:
        """The line for a key of this server."""
        return f"{self.server} {formatPublicKey(key)}"


def _parseLine(number: int, text: str) -> _Line | None:
    """The Ed25519 key in a line; nothing if the line is for ssh alone."""
    match = HOSTS_LINE.fullmatch(text)
    if match is None:
        raise CredentialError("not a line of hosts and a public key")
    marker, hosts, key, keyType = match.groups()
    if marker not in (None, "@revoked") or keyType != "ssh-ed25519":
        return None
    return _Line(number, marker is not None, hosts, parsePublicKey(key))


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
    matched = False
    for pattern in hosts.split(","):
        # In ssh's patterns a bracket is just a bracket.
        if fnmatchcase(server, pattern.lower().removeprefix("!").replace("[", "[[]")):
            if pattern.startswith("!"):
                return False
            matched = True
    return matched


def _matchesHash(hashed: str, server: str) -> bool:
    """Whether a name hashed as ``ssh-keygen -H`` does is this server's."""
    match = re.fullmatch(r"\|1\|([A-Za-z0-9+/]{27}=)\|([A-Za-z0-9+/]{27}=)", hashed)
    if match is None:
        raise CredentialError("a hashed host name is damaged")
    salt, expected = map(base64.b64decode, match.groups())
    return hmac.digest(salt, server.encode(), hashlib.sha1) == expected
