"""
Which server a client believes: by its fingerprint, or by a file of the known_hosts kind.

How the lines of such a file are read and written is in :mod:`~thing.trust.knownhosts`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from zope.interface import implementer

from thing.arguments import checkCallable, checkFlag, checkKind, described
from thing.errors import CredentialError, ErrorCode, NotAuthorized
from thing.identity import CredentialKind, Identity, fingerprint
from thing.trust.files import (
    MAX_FILE,
    FileLocked,
    StrPath,
    lockedFile,
    readFile,
)
from thing.trust.interfaces import IRevocations, IServerAuthorizer, ServerIdentity
from thing.trust.keys import KEY_TYPE, formatPublicKey, parseFingerprint
from thing.trust.knownhosts import AUTHORITY, REVOKED, HostLine, HostsFile, nameOfServer
from thing.trust.sshkeys import keysOf
from thing.trust.succession import announcedBy, announcersIn, announcersOf

MAX_KEYS = 8
"""The most keys that are believed of one server, its next ones included."""


def _requireKey(identity: Identity) -> None:
    """Refuse a server that proved anything but a raw key."""
    if identity.kind is not CredentialKind.ED25519:
        raise NotAuthorized(f"the server proved no raw key, but {identity.kind.name}")


@implementer(IServerAuthorizer)
class PinnedServers:
    """
    Believes a server whose key has one of the given fingerprints.

    :param fingerprints: what the key's may be, as ssh prints them.
    :raises TypeError: if it is one string, or of something else.
    :raises CredentialError: if one is not a fingerprint, or if there are none.
    """

    def __init__(self, fingerprints: Iterable[str]) -> None:
        wanted = 'a list of fingerprints, as ["SHA256:..."]'
        checkKind("fingerprints", fingerprints, Iterable, wanted)
        if isinstance(fingerprints, str | bytes):
            raise TypeError(f"fingerprints is {wanted}, not {described(fingerprints)}")
        fingerprints = list(fingerprints)
        for each in fingerprints:
            checkKind("each of fingerprints", each, str, 'a str, as "SHA256:..."')
        self.fingerprints = frozenset(map(parseFingerprint, fingerprints))
        if not self.fingerprints:
            raise CredentialError("no fingerprint is given, so no server could be believed")

    def authorize(self, identity: ServerIdentity) -> Identity:
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
    """Empty if the line is damaged."""
    announcers: tuple[bytes, ...]
    """By whose word the key is believed; nobody's if it was written here or came first."""


@implementer(IRevocations)
class ServersFile:
    """
    Which keys of a server a file of the known_hosts kind has, for one host and port.

    An authorizer asks it, and waits where another process has locked the file: on the reactor
    that is :class:`~thing.trust.known.KnownServers`, on asyncio
    :class:`~thing.asyncio.known.KnownServers`.

    The file is of ssh's known_hosts format, and may be shared with ssh: a
    server is written ``[host]:port``, whatever its port. Lists, patterns,
    hashed names and ``@revoked`` mean what they mean to ssh; lines with other
    types of key or other markers are ssh's own. A line that is damaged is
    skipped, with a warning; but if it is about this server, no other key is
    believed on first use. The file is read at each decision, so a change to
    it needs no restart. A key that a server announces
    is added with those that announced it (:mod:`thing.trust.succession`): if
    one of them is revoked, so is the key.

    :param path: the file; it is read now, so that a mistake in it shows early.
    :param host: the host name or address that the client connects to.
    :param port: the port, 1 to 65535.
    :param firstUse: whether to believe and store the key of a server that the
        file does not know; the file itself may then be missing.
    :param onFirstUse: called with the identity after it was stored so.
    :param warn: is told what is damaged, in one line each, for the log.
    :raises CredentialError: if the host or the port cannot be one, or if the
        file cannot be read or understood.
    :raises TypeError: if ``firstUse`` is no bool, or ``onFirstUse`` nothing that is called.
    :ivar server: the server, as the file names it.
    """

    def __init__(
        self,
        path: StrPath,
        host: str,
        port: int,
        firstUse: bool = False,
        onFirstUse: Callable[[Identity], object] | None = None,
        warn: Callable[[str], object] = lambda text: None,
    ) -> None:
        checkFlag("firstUse", firstUse)
        checkCallable("onFirstUse", onFirstUse)
        self.path = os.fspath(path)
        self.server = nameOfServer(host, port)
        self.firstUse = firstUse
        self.onFirstUse = onFirstUse
        self._hosts = HostsFile(self.path, [self.server], warn)
        self._linesIn(self._read())

    def fingerprints(self) -> list[str]:
        """
        Tell by which keys the server is believed now.

        :return: the fingerprints of those that the file has for it.
        :raises CredentialError: if the file cannot be read or understood.
        """
        return [fingerprint(line.key) for line in self._believed(self._linesIn(self._read()))]

    def checkExpected(self, fingerprints: Collection[str]) -> None:
        """
        Check that nothing in the file is against a server, before it has proved a key.

        :param fingerprints: of the keys of which it will prove one.
        :raises NotAuthorized: if one of them is revoked, or a line about the server is damaged.
        :raises CredentialError: if the file cannot be read or understood.
        """
        lines = self._linesIn(self._read())
        for line in lines:
            if line.key and fingerprint(line.key) in fingerprints:
                self._refuseRevoked(lines, line.key)
        if not self._believed(lines):
            self._refuseDamaged(lines)

    def admit(self, identity: Identity) -> Identity:
        """
        Admit the server if the file has its key now, or on first use.

        A key that differs from those that the file has is never admitted, on
        first use neither.

        :param identity: what the server has proved.
        :return: the identity, named ``[host]:port``.
        :raises NotAuthorized: if the server is not known, has another key or a revoked one.
        :raises FileLocked: if it is to be stored and another process has locked the file.
        :raises CredentialError: if the file cannot be read or understood.
        """
        _requireKey(identity)
        named = replace(identity, name=self.server)
        known = self._known(self._linesIn(self._read()), identity.publicKey)
        if known:
            return replace(named, announcers=known[0].announcers)
        problem, code = f"{self.server} is not in {self.path}", ErrorCode.NOT_AUTHORIZED
        if self.firstUse:
            try:
                self._store(named)
                return named
            except FileLocked:
                raise
            except CredentialError as error:
                problem, code = str(error), ErrorCode.UNDECIDED
        raise NotAuthorized(
            f"{problem}; if {identity.fingerprint} is truly "
            f"its key, add the line: {self._format(identity.publicKey)}",
            code,
        )

    def update(self, current: Identity, following: Identity | None) -> None:
        """
        Add the server's next key to the file, and drop the keys that it replaces.

        Those are the ones by whose word the current key is believed: they hold no
        longer, but for the next one. A key goes out of the file in no other way;
        where there are :data:`MAX_KEYS`, the next one is refused. Only this
        server's name is taken out of a line that has others, and none out of a
        pattern.

        :param current: the server as this session's handshake proved it.
        :param following: the server by the other key that holds; None for no other.
        :raises NotAuthorized: if the current key is not known, or if one of
            the two is revoked.
        :raises FileLocked: if something is to be written and another process has locked the file.
        :raises CredentialError: if the file cannot be read or written, or if
            the next key cannot be added.
        """
        if following is not None:
            _requireKey(following)
        content = self._read()
        if self._updated(content, current, following) == content:
            return
        with lockedFile(self.path) as file:
            content = file.read(MAX_FILE)
            updated = self._updated(content, current, following)
            if updated != content:
                file.replace(updated)

    def _updated(self, content: bytes, current: Identity, following: Identity | None) -> bytes:
        """What the file should hold once a server has said which of its keys hold."""
        lines = self._linesIn(content)
        known = self._known(lines, current.publicKey)
        if not known:
            raise NotAuthorized(f"{self.server} is not in {self.path}")
        holding = {current.publicKey} | ({following.publicKey} if following else set())
        replaced = {each for line in known for each in line.announcers} - holding
        believed = self._believed(lines)
        content = self._without(content, [line for line in believed if line.key in replaced])
        if following is None or any(line.key == following.publicKey for line in believed):
            return content
        self._refuseRevoked(lines, following.publicKey)
        count = len(self._believed(self._linesIn(content)))
        if count >= MAX_KEYS:
            raise CredentialError(f"{self.path} has {count} keys for {self.server} already")
        announcers = announcersOf(current.publicKey, known[0].announcers, following.publicKey)
        return self._with(content, f"{self._format(following.publicKey)} {announcedBy(announcers)}")

    def whyRevoked(self, identity: Identity) -> str | None:
        """
        Say which key of a server's is marked as revoked, whatever it has proved.

        :param identity: what the server has proved.
        :return: one line for this side's log; nothing if none is.
        """
        try:
            lines = self._hosts.linesIn(self._read())
        except CredentialError as error:
            return str(error)
        return self._hosts.whyRevoked(lines, keysOf(identity))

    def _read(self) -> bytes:
        """What the file holds; on first use, a file that is missing holds nothing."""
        if self.firstUse and not os.path.lexists(self.path):
            return b""
        return readFile(self.path, MAX_FILE)

    def _linesIn(self, content: bytes) -> list[_Line]:
        """What a file says of this server's keys."""
        lines = []
        for line in self._hosts.linesIn(content):
            if not line.hosts:
                continue  # A key alone is of no server.
            # Those of other types, and of authorities, are for others.
            keyType = KEY_TYPE.match(line.text)
            if line.marker == AUTHORITY or (keyType and keyType[0] != "ssh-ed25519"):
                continue
            try:
                lines.append(_lineOf(line))
            except CredentialError as error:
                raise CredentialError(f"{self.path}:{line.number}: {error}") from None
        return lines

    def _known(self, lines: list[_Line], key: bytes) -> list[_Line]:
        """
        The lines by which the server is believed to have this key; refuses if it has others.

        Those come first that are by the word of the fewest.
        """
        self._refuseRevoked(lines, key)
        believed = self._believed(lines)
        known = [line for line in believed if line.key == key]
        if known:
            return sorted(known, key=lambda line: len(line.announcers))
        if not believed:
            self._refuseDamaged(lines)
            return []
        expected = ", ".join(
            f"{self.path}:{line.number} has {fingerprint(line.key)}" for line in believed[:MAX_KEYS]
        )
        raise NotAuthorized(
            f"THE KEY OF {self.server} HAS CHANGED: either someone is intercepting this "
            f"connection or the server got another key. It proved {fingerprint(key)}, but "
            f"{expected}. If the new key is right, put this line there: {self._format(key)}"
        )

    def _believed(self, lines: list[_Line]) -> list[_Line]:
        """The lines of keys that are not revoked, and were announced by none that is."""
        revoked = {line.key for line in lines if line.revoked}
        return [
            line for line in lines if line.key and revoked.isdisjoint((line.key, *line.announcers))
        ]

    def _refuseDamaged(self, lines: list[_Line]) -> None:
        """Refuse any key for the first, if there is one that cannot be read."""
        for line in lines:
            if not line.key:
                raise NotAuthorized(
                    f"{self.server} is in {self.path}:{line.number}, but its key there is "
                    "damaged: mend the line, or take it out"
                )

    def _refuseRevoked(self, lines: list[_Line], key: bytes) -> None:
        """Refuse a key that is marked as revoked for this server, or came of one that is."""
        revoked = {line.key: line for line in lines if line.revoked}
        if key in revoked:
            raise NotAuthorized(
                f"THE KEY OF {self.server} IS REVOKED: {fingerprint(key)} "
                f"by {self.path}:{revoked[key].number}"
            )
        mentioned = [line for line in lines if line.key == key]
        if mentioned and not self._believed(mentioned + list(revoked.values())):
            announcer = next(each for each in mentioned[0].announcers if each in revoked)
            raise NotAuthorized(
                f"THE KEY OF {self.server} IS REVOKED: {fingerprint(key)} was announced by "
                f"{fingerprint(announcer)}, which is revoked by "
                f"{self.path}:{revoked[announcer].number}"
            )

    def _store(self, identity: Identity) -> None:
        """Store a server's first key, unless another process was faster."""
        with lockedFile(self.path) as file:
            content = file.read(MAX_FILE)
            if self._known(self._linesIn(content), identity.publicKey):
                return
            file.replace(self._with(content, self._format(identity.publicKey)))
        if self.onFirstUse is not None:
            self.onFirstUse(identity)

    def _with(self, content: bytes, line: str) -> bytes:
        """The file with one more line."""
        if content and not content.endswith(b"\n"):
            content += b"\n"
        return content + line.encode() + b"\n"

    def _without(self, content: bytes, lines: list[_Line]) -> bytes:
        """The file without this server's name in some of its lines; one that has no other goes."""
        rows: list[bytes | None] = [*content.split(b"\n")]
        for line in lines:
            row = rows[line.number - 1]
            assert row is not None, "there is one key in a line"
            others = ",".join(
                name
                for name in line.hosts.split(",")
                if name.lower() != self.server and not name.startswith("|")
            )
            old, new = (text.encode("utf-8", "surrogateescape") for text in (line.hosts, others))
            rows[line.number - 1] = row.replace(old, new, 1) if others else None
        return b"\n".join(row for row in rows if row is not None)

    def _format(self, key: bytes) -> str:
        """The line for a key of this server."""
        return f"{self.server} {formatPublicKey(key)}"


def _lineOf(line: HostLine) -> _Line:
    """What a line says of a server's key; one that is damaged, that there is one."""
    revoked = line.marker == REVOKED
    if not isinstance(line.key, Ed25519PublicKey):
        if revoked:
            raise CredentialError("what it revokes cannot be read")
        return _Line(line.number, False, line.hosts, b"", ())
    key = line.key.public_bytes_raw()
    return _Line(line.number, revoked, line.hosts, key, announcersIn(line.text))
