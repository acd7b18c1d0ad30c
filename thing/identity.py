"""
Who a peer is: what it has proved, and the name that this side knows it by.

Fingerprints and public keys are written as ssh writes them, so that they can
be compared with what people already have.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from enum import IntEnum


class CredentialKind(IntEnum):
    """The kinds of credential (specification, "Credentials and signatures")."""

    NONE = 0
    ED25519 = 1


@dataclass(frozen=True, slots=True)
class Identity:
    """What a peer has proved to be, and the name that this side knows it by."""

    kind: CredentialKind
    """The kind of credential that was proved."""

    publicKey: bytes = b""
    """The raw public key (32 bytes for Ed25519), empty for an anonymous peer."""

    name: str | None = None
    """The name that this side's own files give the key; never the peer's claim."""

    @property
    def anonymous(self) -> bool:
        """Whether the peer did not authenticate."""
        return self.kind is CredentialKind.NONE

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint as ssh prints it (``SHA256:...``), empty if anonymous."""
        return fingerprint(self.publicKey) if self.publicKey else ""

    def __str__(self) -> str:
        """The name if there is one, else the fingerprint, else ``anonymous``."""
        return self.name or self.fingerprint or "anonymous"


def sshBlob(publicKey: bytes) -> bytes:
    """
    Encode an Ed25519 public key as ssh does (RFC 8709, section 4).

    :param publicKey: the 32 raw bytes of the key.
    :return: the blob that stands, in base64, in a public key file.
    """
    algorithm = b"ssh-ed25519"
    return b"".join(len(part).to_bytes(4, "big") + part for part in (algorithm, publicKey))


def fingerprint(publicKey: bytes) -> str:
    """
    The fingerprint of an Ed25519 public key as ssh prints it.

    :param publicKey: the 32 raw bytes of the key.
    :return: ``SHA256:`` and the unpadded base64 of the blob's SHA-256.
    """
    digest = hashlib.sha256(sshBlob(publicKey)).digest()
    return "SHA256:" + base64.b64encode(digest).rstrip(b"=").decode("ascii")
