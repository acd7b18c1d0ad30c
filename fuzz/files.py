"""Whatever stands in a file that is trusted, it is understood or refused in one plain line."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from fuzz.cost import AFTER, BEFORE, within
from tests.certificates import authority, clock, revocations
from tests.helpers import CLIENT_CREDENTIAL, SERVER_CREDENTIAL
from tests.trust.test_keys import write
from tests.trust.test_revocation import (
    BITMAP,
    HEADER,
    KEYS,
    RANGE,
    SERIALS,
    SHA256,
    certificates,
    number,
    section,
)
from tests.trust.test_sshcertificates import string
from thing.errors import CredentialError, NotAuthorized
from thing.fleet.http.guard import FileToken
from thing.identity import CredentialKind, Identity, sshBlob
from thing.trust import (
    AuthorizedThings,
    CertifiedThings,
    IdentityKey,
    KnownServers,
    PresharedKey,
    PresharedKeys,
    RevokedKeys,
    TicketKeys,
    formatPublicKey,
    loadPublicKey,
    parseFingerprint,
    parsePublicKey,
    readPassphrase,
)
from thing.trust.authorities import Authorities
from thing.trust.invitations import Invitation, Invitations, State, _format
from thing.trust.jointoken import JoinToken
from thing.trust.permits import checkPermit, matches

STRANGER = Identity(CredentialKind.ED25519, bytes(32))
PUBLIC = formatPublicKey(CLIENT_CREDENTIAL.data, "kettle").encode()
OTHER = formatPublicKey(SERVER_CREDENTIAL.data).encode()


def refused(call: Callable[..., object], *arguments: object) -> bool:
    """
    Whether a reader refuses what it reads; anything but a plain refusal gets out.

    :param call: the reader.
    :param arguments: what it reads.
    :return: whether it does.
    """
    try:
        call(*arguments)
    except (CredentialError, NotAuthorized) as error:
        assert str(error), "a refusal says why"
        return True
    return False


def _authorized(path: str) -> None:
    AuthorizedThings(path).authorize(STRANGER)


def _known(path: str) -> None:
    for host in ("example.org", "2001:db8::1"):
        KnownServers(path, host, 7000).authorize(STRANGER)


def _revoked(path: str) -> None:
    RevokedKeys(path).whyRevoked(STRANGER)


def _certified(path: str) -> None:
    CertifiedThings(path).authorize(STRANGER)


def _lists(path: str) -> None:
    Authorities(_roots(), path, clock)


def _invitations(path: str) -> None:
    held = Invitations(path, lambda: 0.0).list()
    write(path, _format({each.id: each for each in held}))
    assert Invitations(path, lambda: 0.0).list() == held


@cache
def _roots() -> str:
    """A file that stays."""
    path = os.path.join(_directory().name, "roots")
    return write(path, authority("root").certificate.public_bytes(Encoding.PEM))


@cache
def _directory() -> Any:
    return tempfile.TemporaryDirectory(prefix="thing-fuzz-")


READERS: tuple[Callable[[str], object], ...] = (
    *(_authorized, _known, _revoked, _certified, _lists, _invitations, Authorities),
    *(loadPublicKey, IdentityKey.load, PresharedKey.load, PresharedKeys, TicketKeys),
    *(FileToken, readPassphrase),
)
"""Reads each sort of file that there is."""


def checkLine(text: str) -> None:
    """
    Read a line of text as a key, as a fingerprint, as a token and as a rule.

    :param text: the line.
    """
    if not refused(parsePublicKey, text):
        key = parsePublicKey(text)
        assert len(key) == 32
        assert parsePublicKey(formatPublicKey(key)) == key
    if not refused(parseFingerprint, text):
        fingerprint = parseFingerprint(text)
        assert parseFingerprint(fingerprint) == fingerprint
    if not refused(JoinToken.parse, text):
        assert JoinToken.parse(text).encode() == "".join(text.split())
    if not refused(checkPermit, text):
        matches(text.rpartition(":")[0], "a" * 64)


def oneInput(data: bytes) -> None:
    """
    Read octets as one sort of file, and its first line alone.

    :param data: which sort, then what stands in the file.
    """
    if not data:
        return
    content = data[1:]
    limit = BEFORE + AFTER * (len(content) // 1024)
    with within(limit, "a line"):
        checkLine(content.decode("utf-8", "surrogateescape").partition("\n")[0])
    path = write(os.path.join(_directory().name, "file"), content)
    reader = READERS[data[0] % len(READERS)]
    with within(limit, reader.__qualname__):
        refused(reader, path)


def seeds() -> list[bytes]:
    """
    Make files to begin with.

    :return: some that each reader understands.
    """
    root = authority("root")
    key = IdentityKey.generate()
    path = os.path.join(_directory().name, "key")
    key.save(path)
    with open(path, "rb") as file:
        private = file.read()
    invitation = Invitation(id="00112233445566ff", name="lamp", expires=9, secret=bytes(32))
    fingerprint = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
    used = Invitation(
        id="00112233445566fe", name="lamp", expires=9, state=State.USED, fingerprint=fingerprint
    )
    held = {each.id: each for each in (invitation, used)}
    token = JoinToken("00112233445566ff", bytes(32), ("SHA256:" + "A" * 43,), ("a:1",)).encode()
    blob = sshBlob(CLIENT_CREDENTIAL.data)
    lists = (
        section(KEYS, string(blob)),
        section(SHA256, string(bytes(32))),
        certificates(section(SERIALS, number(1), number(2))),
        certificates(section(RANGE, number(1), number(9))),
        certificates(section(BITMAP, number(1), string(b"\1\2"))),
    )
    files: dict[Callable[[str], object], list[bytes]] = {
        _authorized: [
            PUBLIC,
            b"# comment\n\n" + PUBLIC + b"\n" + OTHER + b"\n",
            b'name="the \\"kettle\\"" ' + PUBLIC,
            b'permit-reach="lamp-*:ssh,web" ' + PUBLIC,
        ],
        _known: [
            b"[example.org]:7000 " + OTHER + b"\n@revoked [example.org]:7000 " + PUBLIC,
            b"*,![example.org]:7000 " + OTHER,
            b"|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA= " + OTHER,
        ],
        _revoked: [PUBLIC, *(HEADER + each for each in lists)],
        _certified: [b"cert-authority " + PUBLIC, PUBLIC],
        _lists: [revocations(root)],
        _invitations: [_format(held)],
        loadPublicKey: [PUBLIC, fingerprint.encode(), token.encode(), b"lamp-*:ssh,!web"],
        IdentityKey.load: [private],
        PresharedKey.load: [PresharedKey(b"kettle", bytes(32)).secretLine().encode()],
        TicketKeys: [b"1800000000 " + b"A" * 64],
        FileToken: [b"0123456789abcdef\n"],
    }
    with open(_roots(), "rb") as file:
        files[Authorities] = [file.read()]
    files[PresharedKeys] = files[PresharedKey.load]
    return [
        bytes((READERS.index(reader),)) + content
        for reader, contents in files.items()
        for content in contents
    ]
