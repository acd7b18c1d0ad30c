"""
Who a peer is: what it has proved, and the name that this side knows it by.

Fingerprints and public keys are written as ssh writes them, so that they can
be compared with what people already have.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from enum import Enum, IntEnum


class CredentialKind(IntEnum):
    """The kinds of credential (specification, "Credentials and signatures")."""

    NONE = 0
    ED25519 = 1
    X509 = 2
    PRESHARED = 3
    SSH_CERTIFICATE = 4


class Purpose(Enum):
    """What a peer is admitted for."""

    THING = "thing"
    """It is one of the fleet, and its session is the program's."""

    OPERATOR = "operator"
    """It reaches services of things, and is none itself."""

    NODE = "node"
    """It is another server of the fleet."""

    JOINER = "joiner"
    """It came by an invitation, to have its key authorized."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a peer has proved to be, and the name that this side knows it by."""

    kind: CredentialKind
    """The kind of credential that was proved."""

    publicKey: bytes = b""
    """
    The public key whose private half was proved: 32 raw bytes of an Ed25519 key, of a
    certificate of X.509 the DER of its SubjectPublicKeyInfo; empty where there is none.
    """

    name: str | None = None
    """
    The name that this side knows the peer by. An authorizer gives it, from this side's own
    files or from a certificate of an authority that it believes; never the peer's claim alone.
    """

    expires: float | None = field(default=None, compare=False)
    """
    When what was proved is over, seconds since 1970; None if that is never. As the name, it is an
    authorizer's word.
    """

    credential: bytes = field(default=b"", repr=False)
    """
    The rest of what the peer showed, as it went over the wire: a certificate or a chain of
    them, which an authorizer must still judge, or the identity of a pre-shared key.
    """

    secretDigest: bytes = field(default=b"", repr=False, compare=False)
    """
    Of a pre-shared key, a digest of its secret: it tells the key from the one that takes its
    place. It is for this process alone, and shown nowhere; empty for all other credentials.
    """

    announcers: tuple[bytes, ...] = field(default=(), repr=False, compare=False)
    """
    Of a server that is known by a key which was announced, the keys by whose word that is
    believed, 32 raw bytes each, the oldest first.
    """

    authorities: tuple[bytes, ...] = field(default=(), repr=False, compare=False)
    """
    Of who has an X.509 certificate, the keys of the authorities by which it was verified, with the
    root that a peer need not show; as ssh encodes them, as far as it can.
    """

    purpose: Purpose = field(default=Purpose.THING, compare=False)
    """What it is admitted for: as the name, an authorizer's word."""

    permits: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """
    What it may reach, each rule as it stands with its key (:mod:`thing.trust.permits`): an
    authorizer's word, too.
    """

    @property
    def anonymous(self) -> bool:
        """Whether the peer did not authenticate."""
        return self.kind is CredentialKind.NONE

    @property
    def data(self) -> bytes:
        """What went over the wire to show it: the public key, or a certificate with it."""
        return self.credential or self.publicKey

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint (``SHA256:...``), empty if there is no public key."""
        if self.kind is CredentialKind.X509:
            return _digest(self.publicKey)
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
    return _digest(sshBlob(publicKey))


def _digest(data: bytes) -> str:
    """A SHA-256 as ssh prints it."""
    digest = hashlib.sha256(data).digest()
    return "SHA256:" + base64.b64encode(digest).rstrip(b"=").decode("ascii")
