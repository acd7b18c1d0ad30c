"""
The transcript and the key schedule, in TLS 1.3's shape (specification, "Key schedule").

Every secret that a session has comes from here, and every label stands here.
The construction is RFC 8446's, section 7.1, with HKDF-SHA256 (RFC 5869).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from thing.core.layout import OPAQUE16, UINT8
from thing.core.messages import Role
from thing.errors import ErrorCode, LocalProtocolError

HASH_LENGTH = 32
"""The length of a hash, a MAC and every secret, octets."""

SESSION_ID_LENGTH = 16
"""The length of a session id, octets."""

LABEL_PREFIX = b"thing/1 "
"""What every label starts with: the protocol's name and version."""

SIGNATURE_CONTEXTS = {
    Role.SERVER: b"thing/1 server crypto check",
    Role.CLIENT: b"thing/1 client crypto check",
}
"""The context strings of SCC's and CCC's signatures, so that neither can stand for the other."""

CURRENT_KEY_CONTEXT = b"thing/1 server current key"
NEXT_KEY_CONTEXT = b"thing/1 server next key"

_SHA256 = hashes.SHA256()
_ZEROS = bytes(HASH_LENGTH)
_EMPTY_HASH = hashlib.sha256(b"").digest()


def expandLabel(
    secret: bytes, label: bytes, context: bytes = b"", length: int = HASH_LENGTH
) -> bytes:
    """
    HKDF-Expand-Label of RFC 8446, section 7.1, with this protocol's prefix.

    :param secret: the secret to expand.
    :param label: what the result is for, without the prefix; at most 247 octets.
    :param context: a hash, or nothing.
    :param length: how many octets to derive, at most 8160.
    :return: the derived octets.
    """
    info = _infoOf(label, length) + bytes((len(context),)) + context
    return HKDFExpand(_SHA256, length, info).derive(secret)


@lru_cache(maxsize=64)
def _infoOf(label: bytes, length: int) -> bytes:
    """HKDF's info up to the context: always the same for the same use."""
    full = LABEL_PREFIX + label
    return length.to_bytes(2, "big") + bytes((len(full),)) + full


def extract(salt: bytes, keyMaterial: bytes) -> bytes:
    """
    HKDF-Extract of RFC 5869.

    :param salt: the salt.
    :param keyMaterial: the input keying material.
    :return: the pseudorandom key.
    """
    return HKDF.extract(_SHA256, salt, keyMaterial)


def mac(key: bytes, transcriptHash: bytes) -> bytes:
    """
    The MAC of SCC, CCC and SHF: HMAC-SHA256 over a transcript hash.

    :param key: a finished key.
    :param transcriptHash: the hash to confirm.
    :return: the MAC, 32 octets.
    """
    return hmac.digest(key, transcriptHash, "sha256")


def signatureContent(context: bytes, hashed: bytes) -> bytes:
    """
    What a signature is made over, in the manner of RFC 8446, section 4.4.3.

    :param context: the context string of this use.
    :param hashed: the hash to sign.
    :return: the octets to sign.
    """
    return b" " * 64 + context + b"\x00" + hashed


def nextKeyHash(
    sessionId: bytes, kind: int, credential: bytes, nextKind: int, nextCredential: bytes
) -> bytes:
    """
    What SNK's two signatures cover (specification, "Server Next Key").

    :param sessionId: the session in which it is announced, so that it cannot be replayed.
    :param kind: the current credential's kind.
    :param credential: the current credential.
    :param nextKind: the next credential's kind.
    :param nextCredential: the next credential.
    :return: the hash.
    """
    parts = [sessionId]
    for number, data in ((kind, credential), (nextKind, nextCredential)):
        parts += (UINT8.write(number), OPAQUE16.write(data))
    return hashlib.sha256(b"".join(parts)).digest()


class Transcript:
    """The running hash over every handshake message, each framed as if in the clear."""

    def __init__(self) -> None:
        """Start with no message."""
        self._hash = hashlib.sha256()

    def add(self, message: bytes) -> None:
        """
        Append a message.

        :param message: its type octet and its body.
        """
        self._hash.update(_framed(message))

    def hash(self) -> bytes:
        """:return: the hash over all messages so far."""
        return self._hash.digest()

    def hashWith(self, part: bytes) -> bytes:
        """
        The hash as if the first part of a message were a whole one.

        :param part: the type octet, and the part of the body that a signature or a MAC covers.
        :return: the hash over all messages so far and that part.
        """
        copy = self._hash.copy()
        copy.update(_framed(part))
        return copy.digest()


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(3, "big") + message


def _handshakeSalt(preshared: bytes) -> bytes:
    return expandLabel(extract(_ZEROS, preshared), b"derived", _EMPTY_HASH)


_NOTHING_PRESHARED = _handshakeSalt(_ZEROS)
"""What stands for a pre-shared secret where there is none: the same in every such handshake."""


def binder(preshared: bytes, label: bytes, transcriptHash: bytes) -> bytes:
    """
    The binder of an offered secret (RFC 8446, section 4.2.11.2).

    :param preshared: the secret.
    :param label: ``"ext binder"`` for a key, ``"res binder"`` for a ticket.
    :param transcriptHash: the hash up to CHI, without the binder itself.
    :return: the binder, 32 octets.
    """
    key = expandLabel(extract(_ZEROS, preshared), label, _EMPTY_HASH)
    return mac(key, transcriptHash)


@dataclass(frozen=True, slots=True)
class HandshakeSecrets:
    """The secrets that follow from the two shares."""

    clientSecret: bytes = field(repr=False)
    serverSecret: bytes = field(repr=False)
    serverFinished: bytes = field(repr=False)
    """The key of SCC's MAC."""
    clientFinished: bytes = field(repr=False)
    """The key of CCC's MAC."""
    serverConfirm: bytes = field(repr=False)
    """The key of SHF's MAC."""
    mainSecret: bytes = field(repr=False)

    @classmethod
    def derive(
        cls, sharedSecret: bytes, transcriptHash: bytes, preshared: bytes | None = None
    ) -> HandshakeSecrets:
        """
        Derive the handshake secrets.

        :param sharedSecret: what the key exchange produced.
        :param transcriptHash: the hash of all messages from CHI to CDH.
        :param preshared: the secret that the server took from the client's offer, if it did.
        :return: the secrets.
        """
        salt = _NOTHING_PRESHARED if preshared is None else _handshakeSalt(preshared)
        handshake = extract(salt, sharedSecret)
        return cls(
            clientSecret=expandLabel(handshake, b"c hs traffic", transcriptHash),
            serverSecret=expandLabel(handshake, b"s hs traffic", transcriptHash),
            serverFinished=expandLabel(handshake, b"s finished", transcriptHash),
            clientFinished=expandLabel(handshake, b"c finished", transcriptHash),
            serverConfirm=expandLabel(handshake, b"s confirm", transcriptHash),
            mainSecret=extract(expandLabel(handshake, b"derived", _EMPTY_HASH), _ZEROS),
        )


@dataclass(frozen=True, slots=True)
class SessionSecrets:
    """The secrets of an established session."""

    clientSecret: bytes = field(repr=False)
    serverSecret: bytes = field(repr=False)
    exporterSecret: bytes = field(repr=False)
    sessionId: bytes

    @classmethod
    def derive(cls, mainSecret: bytes, transcriptHash: bytes) -> SessionSecrets:
        """
        Derive the session's secrets.

        :param mainSecret: the handshake's main secret.
        :param transcriptHash: the hash of all messages from CHI to SHF.
        :return: the secrets and the session id.
        """
        return cls(
            clientSecret=expandLabel(mainSecret, b"c ap traffic", transcriptHash),
            serverSecret=expandLabel(mainSecret, b"s ap traffic", transcriptHash),
            exporterSecret=expandLabel(mainSecret, b"exp main", transcriptHash),
            sessionId=expandLabel(mainSecret, b"session id", transcriptHash, SESSION_ID_LENGTH),
        )


def resumptionSecret(mainSecret: bytes, transcriptHash: bytes) -> bytes:
    """
    The secret that goes with a ticket.

    :param mainSecret: the handshake's main secret.
    :param transcriptHash: the hash of all messages from CHI to CCC; SHF brings the ticket.
    :return: the secret.
    """
    return expandLabel(mainSecret, b"res main", transcriptHash)


def nextTrafficSecret(secret: bytes) -> bytes:
    """
    The ratchet of a key update: forward only (RFC 8446, section 7.2).

    :param secret: the current traffic secret.
    :return: the next one.
    """
    return expandLabel(secret, b"traffic upd")


def exportKeyingMaterial(exporterSecret: bytes, label: str, context: bytes, length: int) -> bytes:
    """
    Keying material for the application (RFC 8446, section 7.5).

    :param exporterSecret: the session's exporter secret.
    :param label: what the material is for; ASCII, at most 128 characters.
    :param context: what it is bound to.
    :param length: how many octets, 1 to 8160.
    :return: the material, the same on both sides.
    :raises LocalProtocolError: ``BAD_ARGUMENT`` for a label or a length out of bounds.
    """
    if not (label.isascii() and 0 < len(label) <= 128 and 0 < length <= 8160):
        raise LocalProtocolError(ErrorCode.BAD_ARGUMENT, "exporter label or length")
    forLabel = expandLabel(exporterSecret, label.encode("ascii"), _EMPTY_HASH)
    return expandLabel(forLabel, b"exporter", hashlib.sha256(context).digest(), length)
