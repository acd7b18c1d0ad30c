"""Whatever stands in a file of keys, it is understood or refused in one plain line."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

from fuzz import run
from thing.errors import CredentialError, NotAuthorized
from thing.identity import CredentialKind, Identity
from thing.trust import (
    AuthorizedThings,
    IdentityKey,
    KnownServers,
    formatPublicKey,
    loadPublicKey,
    parseFingerprint,
    parsePublicKey,
)
from thing.trust.jointoken import JoinToken


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


def checkLine(text: str) -> None:
    """
    Read a line of text as a key, as a fingerprint and as a token.

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


def oneInput(data: bytes) -> None:
    """
    Read octets as each kind of file of keys.

    :param data: what stands in the file.
    """
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        checkLine(line)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "keys")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
            file.write(data)
        refused(loadPublicKey, path)
        refused(IdentityKey.load, path)
        stranger = Identity(CredentialKind.ED25519, bytes(32))
        if not refused(AuthorizedThings, path):
            refused(AuthorizedThings(path).authorize, stranger)
        for host in ("example.org", "2001:db8::1"):
            if not refused(KnownServers, path, host, 7000):
                servers = KnownServers(path, host, 7000)
                refused(servers.authorize, stranger)


if __name__ == "__main__":
    run(oneInput)
