"""
Keys and certificates that are believed no longer, in the files that sshd's ``RevokedKeys`` takes.

Either a text file of public keys, or a binary key revocation list (KRL) as
``ssh-keygen -k`` writes it (OpenSSH's PROTOCOL.krl).
"""

from __future__ import annotations

import hashlib
import heapq
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.serialization import SSHCertificate
from zope.interface import implementer

from thing.core.credentials import readSshCertificate
from thing.errors import CredentialError
from thing.identity import CredentialKind, Identity
from thing.trust.files import MAX_FILE, StrPath, readFile
from thing.trust.interfaces import IRevocations
from thing.trust.lines import eachLine
from thing.trust.slices import Slices, atOnce, eachOf
from thing.trust.sshkeys import (
    Reader,
    blobFingerprint,
    blobOf,
    keysOf,
    parseAnyKey,
    parseBlob,
    plainKey,
    signerOf,
)

MAX_RANGES = 1 << 20
"""The most ranges of serial numbers in a file; a number by itself is a range, too."""

MAX_BITMAP = 16384 // 8 + 1
"""The most octets in one bitmap of serial numbers, as OpenSSH has it."""

RANGES = 4096
"""How many ranges of serial numbers are read or put in order in a slice."""

ENTRIES = 64
"""How many other entries of a binary list are read in a slice: keys take the longest."""

_MAGIC = b"SSHKRL\n\0"
_FORMAT = 1
_SIGNATURE = 4
_LAST_SERIAL = (1 << 64) - 1


@implementer(IRevocations)
class RevokedKeys:
    """
    Knows the keys and certificates that a file revokes.

    As in OpenSSH, a key that is revoked takes all its certificates with it, and
    an authority that is revoked all that it has signed; a certificate in a text
    file stands for its key. The serial number 0 is that of certificates that
    were given none, and is never revoked. A list's own signature is ignored:
    what protects the file protects the list.

    :param path: the file; it is read now.
    :param revoked: what it has, if :func:`readRevoked` has read it already.
    :raises CredentialError: if the file cannot be read or understood.
    """

    def __init__(self, path: StrPath, revoked: _Revoked | None = None) -> None:
        self.path = os.fspath(path)
        self._revoked: _Revoked
        if revoked is None:
            self.reload()
        else:
            self._revoked = revoked

    def reload(self) -> None:
        """
        Read the file again, all or nothing.

        :raises CredentialError: if it cannot be read or understood; then what
            the last good reading revoked stays revoked.
        """
        self._revoked = atOnce(readRevoked(self.path, readFile(self.path, MAX_FILE)))

    def isRevoked(self, identity: Identity) -> bool:
        """
        Say whether a peer's key, its certificate or the certificate's authority is revoked.

        :param identity: what the peer has proved.
        :return: whether it is.
        """
        return self.whyRevoked(identity) is not None

    def whyRevoked(self, identity: Identity) -> str | None:
        """
        Say what of a peer's is revoked.

        :param identity: what the peer has proved, by a raw key or any certificate.
        :return: one line for this side's log; nothing if nothing is revoked.
        :raises RemoteProtocolError: if there should be an OpenSSH certificate, but is none.
        """
        for number, key in enumerate(keysOf(identity)):
            if self._revoked.hasKey(key):
                authorityOf = f"authority {blobFingerprint(key)}"
                about = authorityOf if number else f"key {identity.fingerprint}"
                return f"the {about} is revoked by {self.path}"
        if identity.kind is not CredentialKind.SSH_CERTIFICATE:
            return None
        certificate = readSshCertificate(identity.credential)
        authority, _ = signerOf(identity.credential)
        if self._revoked.hasCertificate(authority, certificate):
            return f"the certificate is revoked by {self.path}"
        return None


@dataclass
class _Revoked:
    """What a file revokes; an authority is its key's blob, or empty for all of them."""

    keys: set[bytes] = field(default_factory=set)
    digests: dict[str, set[bytes]] = field(default_factory=lambda: {"sha1": set(), "sha256": set()})
    keyIds: dict[bytes, set[bytes]] = field(default_factory=dict)
    serials: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict)
    """First and last numbers; in the end sorted, and no two of a range overlap."""
    ranges: int = 0
    entries: int = 0

    def hasKey(self, blob: bytes) -> bool:
        return blob in self.keys or any(
            hashlib.new(name, blob, usedforsecurity=False).digest() in digests
            for name, digests in self.digests.items()
        )

    def hasCertificate(self, authority: bytes, certificate: SSHCertificate) -> bool:
        return any(
            certificate.key_id in self.keyIds.get(issuer, ())
            or _isWithin(certificate.serial, self.serials.get(issuer, []))
            for issuer in (authority, b"")
        )

    def addSerials(self, authority: bytes, ranges: Iterable[tuple[int, int]]) -> Slices[None]:
        added = self.serials.setdefault(authority, [])

        def add(numbers: tuple[int, int]) -> None:
            first, last = numbers
            self.ranges += 1
            if self.ranges > MAX_RANGES:
                raise CredentialError(f"more than {MAX_RANGES} ranges of serial numbers")
            if not 0 < first <= last <= _LAST_SERIAL:
                raise CredentialError("a range of serial numbers that cannot be")
            added.append((first, last))

        yield from eachOf(ranges, add, RANGES)
        yield from self.turn()

    def seal(self) -> Slices[None]:
        """Put the serial numbers in order once all are there."""
        for issuer, ranges in self.serials.items():
            self.serials[issuer] = yield from _merge(ranges)

    def turn(self) -> Slices[None]:
        """An entry is read; after some of them others have their turn."""
        self.entries += 1
        if self.entries % ENTRIES == 0:
            yield


def _merge(ranges: list[tuple[int, int]]) -> Slices[list[tuple[int, int]]]:
    """The same numbers in ranges that are sorted and do not overlap."""
    merged: list[tuple[int, int]] = []

    def add(numbers: tuple[int, int]) -> None:
        first, last = numbers
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append(numbers)

    runs: list[list[tuple[int, int]]] = []
    parts = (ranges[at : at + RANGES] for at in range(0, len(ranges), RANGES))
    yield from eachOf(parts, lambda part: runs.append(sorted(part)), 1)
    yield from eachOf(heapq.merge(*runs), add, RANGES)
    return merged


def _isWithin(serial: int, ranges: list[tuple[int, int]]) -> bool:
    at = bisect_right(ranges, (serial, _LAST_SERIAL)) - 1
    return at >= 0 and serial <= ranges[at][1]


def readRevoked(path: str, content: bytes) -> Slices[_Revoked]:
    """
    Read what a file revokes.

    :param path: the file, for errors.
    :param content: what it holds.
    :return: the slices, which come to that.
    :raises CredentialError: if it is not understood.
    """
    if not content.startswith(_MAGIC):
        return (yield from _readText(path, content))
    try:
        return (yield from _readList(content))
    except CredentialError as error:
        raise CredentialError(f"{path}: the revocation list is damaged: {error}") from None


def _readText(path: str, content: bytes) -> Slices[_Revoked]:
    """The keys in a text file."""
    found = _Revoked()

    def take(number: int, text: str) -> None:
        try:
            key = parseAnyKey(text)
        except CredentialError as error:
            raise CredentialError(f"{path}:{number}: {error}") from None
        if key is not None:
            found.keys.add(blobOf(plainKey(key)))

    yield from eachLine(path, content, take)
    return found


def _readList(content: bytes) -> Slices[_Revoked]:
    """What a binary revocation list revokes."""
    reader = Reader(content[len(_MAGIC) :])
    version = reader.integer(4)
    if version != _FORMAT:
        raise CredentialError(f"its format is {version}, but only {_FORMAT} is understood")
    reader.take(3 * 8)  # The list's number, its date and its flags.
    reader.string()
    reader.string()
    found = _Revoked()
    signed = False
    while reader.remaining:
        kind, section = reader.integer(1), Reader(reader.string())
        if kind == _SIGNATURE:
            reader.string()
            signed = True
            continue
        if signed:
            raise CredentialError("a section follows the signature")
        if kind not in _SECTIONS:
            raise CredentialError(f"its section {kind} is not understood")
        while section.remaining:
            yield from _SECTIONS[kind](found, section)
    yield from found.seal()
    return found


def _readCertificates(found: _Revoked, section: Reader) -> Slices[None]:
    """A section of certificates: by whom, and which."""
    authority = section.string()
    if authority:
        _checkKey(authority)
    section.string()
    while section.remaining:
        kind, inner = section.integer(1), Reader(section.string())
        if kind not in _CERTIFICATE_SECTIONS:
            raise CredentialError(f"its section {kind:#x} of certificates is not understood")
        while inner.remaining:
            yield from _CERTIFICATE_SECTIONS[kind](found, authority, inner)


def _readKey(found: _Revoked, section: Reader) -> Slices[None]:
    blob = section.string()
    _checkKey(blob)
    found.keys.add(blob)
    return found.turn()


def _checkKey(blob: bytes) -> None:
    """Refuse what is not a plain key; one of a type that is never met may stay."""
    if isinstance(parseBlob(blob), SSHCertificate):
        raise CredentialError("a certificate where a key belongs")


def _readDigest(name: str) -> Callable[[_Revoked, Reader], Slices[None]]:
    """How fingerprints of that hash are read."""
    size = hashlib.new(name, usedforsecurity=False).digest_size

    def read(found: _Revoked, section: Reader) -> Slices[None]:
        digest = section.string()
        if len(digest) != size:
            raise CredentialError("a fingerprint of a wrong length")
        found.digests[name].add(digest)
        return found.turn()

    return read


def _readExtension(found: _Revoked, section: Reader) -> Slices[None]:
    """Pass over an extension, unless it must be understood."""
    name = section.string()
    if section.integer(1):
        shown = ascii(name[:64].decode("utf-8", "backslashreplace"))
        raise CredentialError(f"its critical extension {shown} is not understood")
    section.string()
    return found.turn()


def _readSerials(found: _Revoked, authority: bytes, section: Reader) -> Slices[None]:
    data = section.take(section.remaining)
    if len(data) % 8:
        raise CredentialError("a serial number is cut")
    numbers = (int.from_bytes(data[at : at + 8], "big") for at in range(0, len(data), 8))
    return found.addSerials(authority, ((number, number) for number in numbers))


def _readRange(found: _Revoked, authority: bytes, section: Reader) -> Slices[None]:
    return found.addSerials(authority, [(section.integer(8), section.integer(8))])


def _readBitmap(found: _Revoked, authority: bytes, section: Reader) -> Slices[None]:
    offset, bitmap = section.integer(8), section.string()
    if len(bitmap) > MAX_BITMAP or bitmap[:1] > b"\x7f":
        raise CredentialError("a bitmap is too long or negative")
    bits = f"{int.from_bytes(bitmap, 'big'):b}"[::-1]
    runs = re.finditer("1+", bits)
    return found.addSerials(
        authority, ((offset + run.start(), offset + run.end() - 1) for run in runs)
    )


def _readKeyId(found: _Revoked, authority: bytes, section: Reader) -> Slices[None]:
    found.keyIds.setdefault(authority, set()).add(section.string())
    return found.turn()


_SECTIONS: dict[int, Callable[[_Revoked, Reader], Slices[None]]] = {
    1: _readCertificates,
    2: _readKey,
    3: _readDigest("sha1"),
    5: _readDigest("sha256"),
    255: _readExtension,
}
"""How each section is read; what reads a part of it is called until it is read whole."""

_CERTIFICATE_SECTIONS: dict[int, Callable[[_Revoked, bytes, Reader], Slices[None]]] = {
    0x20: _readSerials,
    0x21: _readRange,
    0x22: _readBitmap,
    0x23: _readKeyId,
    0x39: lambda found, _, section: _readExtension(found, section),
}
