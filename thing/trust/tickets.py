"""
The keys that seal resumption tickets, in memory or in a file that several servers share.

Specification, "Resumption", as RFC 5077, section 4, recommends. The
last key seals; those before it still open what they sealed, until it has
expired. Keys are made anew by themselves, so a stolen one is of use for a
limited time; sessions that were resumed stay secret even then, since each has
a fresh Diffie-Hellman.
"""

from __future__ import annotations

import base64
import math
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from thing.core.credentials import readCredential
from thing.core.extensions import GivenTicket
from thing.core.layout import OCTETS32, OPAQUE16, UINT8, UINT64, Message
from thing.core.preshared import MAX_TICKET, Resumable
from thing.errors import CredentialError, RemoteProtocolError
from thing.logger import Logger
from thing.trust.files import FileLocked, StrPath, createFile, lockedFile, readFile
from thing.trust.lines import textLines

VERSION = 1
"""The layout of what is sealed."""

NAME_LENGTH = 16
NONCE_LENGTH = 12
KEY_LENGTH = 32

DEFAULT_LIFETIME = 24 * 3600.0
"""How long after a handshake with signatures a thing may come back without, seconds."""

ROTATION = 12 * 3600.0
"""How long one key seals, seconds."""

SKEW = 300.0
"""By how much wall clocks may differ, or be set back, before tickets are refused, seconds."""

MAX_TIME = 2.0**63 / 1000
"""The latest time that fits a ticket, seconds since 1970."""

CHECK_INTERVAL = 60.0
"""How often the file is looked at, seconds."""

MAX_KEYS = 800
"""The most keys that are kept: more would be too long a file, and mean clocks that disagree."""

MAX_FILE = 64 * 1024
"""The most bytes that a file of ticket keys may hold."""


@dataclass(frozen=True, slots=True)
class _Contents(Message):
    """What a ticket holds, before it is sealed."""

    LAYOUT = (UINT8, UINT64, OCTETS32, UINT8, OPAQUE16)

    version: int
    expires: int
    """Milliseconds since 1970."""
    secret: bytes = field(repr=False)
    kind: int
    credential: bytes


class _TicketKey:
    """One key, and when it was made (wall clock, seconds)."""

    def __init__(self, octets: bytes, created: float) -> None:
        """:raises ValueError: if they cannot be a key and a time."""
        if len(octets) != NAME_LENGTH + KEY_LENGTH or not abs(created) < 2**63:
            raise ValueError
        self.octets = octets
        self.name = octets[:NAME_LENGTH]
        self.cipher = AESGCM(octets[NAME_LENGTH:])
        self.created = created

    @classmethod
    def generate(cls, now: float) -> _TicketKey:
        return cls(secrets.token_bytes(NAME_LENGTH + KEY_LENGTH), now)

    def format(self) -> str:
        return f"{self.created:.0f} {base64.b64encode(self.octets).decode('ascii')}\n"


class TicketKeys:
    """
    Seals and opens tickets; a :class:`~thing.core.preshared.TicketSealer`.

    A line of the file is the time at which the key was made, in seconds since
    1970, and the base64 of 48 octets, the key's name and the key. Whoever has
    the file can pose as any thing that has a ticket, and as the server to it.

    :param path: the file, which is made if it is missing; None to keep the keys in
        memory, so that no other server and no later process can open a ticket.
    :param lifetime: how long after a handshake with signatures a thing may come
        back without, seconds.
    :param rotation: how long one key seals, seconds.
    :param wallClock: the time, seconds since 1970.
    :raises CredentialError: if the file cannot be read, written or understood.
    """

    _log = Logger()

    def __init__(
        self,
        path: StrPath | None = None,
        lifetime: float = DEFAULT_LIFETIME,
        rotation: float = ROTATION,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        if not (0 < lifetime < 2**32 and rotation > 0):
            raise CredentialError(f"a ticket cannot be of use for {lifetime:g} s")
        self.path = None if path is None else os.fspath(path)
        self._lifetime = lifetime
        self._rotation = rotation
        self._wallClock = wallClock
        self._keys: list[_TicketKey] = []
        self._looked = -math.inf
        self.reload()

    def reload(self) -> None:
        """
        Read the file again, and make a new key if it is time.

        If another process has the file locked, that makes the new key, and the latest
        one seals until the next look.

        :raises CredentialError: if it cannot be read, written or understood; then
            the keys stay what they were.
        """
        self._checked = self._wallClock()
        if self.path is None:
            if self._isDue(self._keys):
                self._keys = self._renewed(self._keys)
            return
        if not os.path.lexists(self.path):
            createFile(self.path, self._content(self._renewed([])), 0o600)
        keys = self._read(self.path)
        if self._isDue(keys):
            try:
                keys = self._renewFile(self.path)
            except FileLocked as error:
                if not keys:
                    raise
                self._log.warn("The latest ticket key goes on to seal: {error}", error=str(error))
        self._keys = keys

    def _renewFile(self, path: str) -> list[_TicketKey]:
        """Have a new key in the file; the keys that it has then."""
        with lockedFile(path) as file:
            keys = _parse(path, file.read(MAX_FILE, private=True))
            if self._isDue(keys):  # Else another server was faster.
                keys = self._renewed(keys)
                file.replace(self._content(keys))
        return keys

    def seal(self, resumable: Resumable, server: bytes) -> GivenTicket | None:
        """
        Seal a ticket.

        :param resumable: what is to be in it.
        :param server: what the server is known by.
        :return: the ticket; None if it would be longer than
            :data:`~thing.core.preshared.MAX_TICKET`, as a long chain of certificates is.
        """
        now = self._wallClock()
        if abs(now - self._checked) >= CHECK_INTERVAL:
            self.refresh()
        expires = now + self._lifetime if resumable.expires is None else resumable.expires
        lifetime = int(min(expires - now, self._lifetime))
        if lifetime <= 0 or not 0 <= expires < MAX_TIME:
            return None
        peer = resumable.peer
        contents = _Contents(VERSION, int(expires * 1000), resumable.secret, peer.kind, peer.data)
        key = self._keys[-1]
        nonce = secrets.token_bytes(NONCE_LENGTH)
        sealed = key.cipher.encrypt(nonce, contents.encode(), key.name + server)
        ticket = key.name + nonce + sealed
        return GivenTicket(lifetime, ticket) if len(ticket) <= MAX_TICKET else None

    def open(self, ticket: bytes, server: bytes) -> Resumable | None:
        """
        Open a ticket.

        :param ticket: what a client offers, anything at all.
        :param server: what the server is known by.
        :return: what is in it; None if no key of ours opens it, it has expired, or the server
            was known otherwise when it was sealed.
        """
        key = self._find(ticket[:NAME_LENGTH])
        if key is None:
            return None
        nonce, sealed = ticket[NAME_LENGTH:][:NONCE_LENGTH], ticket[NAME_LENGTH + NONCE_LENGTH :]
        try:
            contents = _Contents.decode(key.cipher.decrypt(nonce, sealed, key.name + server))
            peer = readCredential(contents.kind, contents.credential)
        except (InvalidTag, ValueError, RemoteProtocolError):
            return None
        expires, now = contents.expires / 1000, self._wallClock()
        if contents.version != VERSION or not now < expires <= now + self._lifetime + SKEW:
            return None
        return Resumable(contents.secret, peer, expires)

    def _find(self, name: bytes) -> _TicketKey | None:
        """The key of a name; one that is not known may be new in the file."""
        found = self._named(name)
        now = self._wallClock()
        if found is None and self.path is not None and abs(now - self._looked) >= 1:
            self._looked = now
            # Whoever asks is a stranger: for it nothing is written, and no lock waited for.
            with suppress(CredentialError):
                self._keys = self._read(self.path) or self._keys
            found = self._named(name)
        return found

    def _named(self, name: bytes) -> _TicketKey | None:
        return next((key for key in self._keys if key.name == name), None)

    def refresh(self) -> None:
        """Read the file again; on any error the keys stay what they were, and the log says why."""
        try:
            self.reload()
        except CredentialError as error:
            self._log.error("The ticket keys stay what they were: {error}", error=str(error))

    def sayUnwritable(self) -> None:
        """Say, once the process has the rights that it will have, if no new key can be made."""
        if self.path is None:
            return
        problem = ""
        try:
            with suppress(FileLocked), lockedFile(self.path):
                pass
        except CredentialError as error:
            problem = str(error)
        if not problem and not os.access(os.path.dirname(os.path.realpath(self.path)), os.W_OK):
            problem = f"cannot write into the directory of {self.path}"
        if problem:
            self._log.warn(
                "No new ticket key can be made, so tickets end with those that there are:"
                " {problem}",
                problem=problem,
            )

    def _isDue(self, keys: list[_TicketKey]) -> bool:
        """Whether it is time for a new key; a clock that was set back makes it time, too."""
        return not keys or abs(self._wallClock() - keys[-1].created) >= self._rotation

    def _renewed(self, keys: list[_TicketKey]) -> list[_TicketKey]:
        """With a new key, and without those whose tickets have all expired."""
        now = self._wallClock()
        useful = self._rotation + self._lifetime
        kept = [key for key in keys if abs(now - key.created) < useful]
        return [*kept[1 - MAX_KEYS :], _TicketKey.generate(now)]

    @staticmethod
    def _content(keys: list[_TicketKey]) -> bytes:
        return "".join(key.format() for key in keys).encode()

    @staticmethod
    def _read(path: str) -> list[_TicketKey]:
        return _parse(path, readFile(path, MAX_FILE, private=True))


def _parse(path: str, content: bytes) -> list[_TicketKey]:
    """The keys in a file's content."""
    keys = []
    for number, text in textLines(path, content):
        key = _parseLine(text)
        if key is None:  # What is wrong with it could be told only by showing it.
            raise CredentialError(f"{path}:{number}: not a time and a ticket key")
        keys.append(key)
    return keys


def _parseLine(text: str) -> _TicketKey | None:
    """The key in a line; nothing, rather than an error that would show the line."""
    created, _, encoded = text.partition(" ")
    try:
        return _TicketKey(base64.b64decode(encoded, validate=True), int(created))
    except ValueError:
        return None
