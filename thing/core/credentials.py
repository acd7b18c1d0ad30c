"""
Credentials: what a side signs the handshake with, and what that proves.

Specification, "Credentials and signatures". The construction is SIGMA's: the
signature covers the transcript, which holds both shares and the credential
that signs, so a key cannot be bound to another's session.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from thing.errors import ErrorCode, RemoteProtocolError
from thing.identity import CredentialKind, Identity


class SignatureScheme(IntEnum):
    """The schemes, by their TLS numbers (specification, "Credentials and signatures")."""

    NONE = 0x0000
    ED25519 = 0x0807


class Credential(Protocol):
    """
    What this side authenticates with.

    :ivar kind: the kind of credential.
    :ivar data: its public part, as it goes over the wire.
    :ivar scheme: the scheme that :meth:`sign` uses.
    """

    @property
    def kind(self) -> CredentialKind:
        """The kind of this credential."""

    @property
    def data(self) -> bytes:
        """The public part, as SCC and CCC carry it."""

    @property
    def scheme(self) -> SignatureScheme:
        """The scheme that :meth:`sign` uses."""

    def sign(self, content: bytes) -> bytes:
        """
        Sign ``content``.

        :param content: the bytes to sign.
        :return: the signature.
        """


class Anonymous:
    """The credential of a client that does not say who it is."""

    kind = CredentialKind.NONE
    data = b""
    scheme = SignatureScheme.NONE

    def sign(self, content: bytes) -> bytes:
        """
        Sign nothing.

        :param content: ignored.
        :return: the empty signature of the scheme :attr:`SignatureScheme.NONE`.
        """
        return b""


_SMALL_ORDER = frozenset(
    bytes.fromhex(point)
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
"""The points of small order, sign bit clear: "keys" under which anybody can sign anything."""


def _isSmallOrder(key: bytes) -> bool:
    return key[:31] + bytes((key[31] & 0x7F,)) in _SMALL_ORDER


def verifyCredential(
    kind: int, data: bytes, scheme: int, signature: bytes, content: bytes
) -> Identity:
    """
    Check a peer's signature and say who the peer is.

    :param kind: the kind of credential, as sent.
    :param data: its public part, as sent.
    :param scheme: the signature scheme, as sent.
    :param signature: the signature, as sent.
    :param content: what must have been signed.
    :return: the identity that is now proved; its name is not known here.
    :raises RemoteProtocolError: if the credential or the signature is not valid.
    """
    if kind == CredentialKind.NONE:
        if data or signature or scheme != SignatureScheme.NONE:
            raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, "no credential, yet data")
        return Identity(CredentialKind.NONE)
    if kind != CredentialKind.ED25519 or scheme != SignatureScheme.ED25519:
        raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, f"kind {kind}, scheme {scheme:#06x}")
    try:
        key = Ed25519PublicKey.from_public_bytes(data)
    except ValueError:
        raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, "not an Ed25519 key") from None
    if _isSmallOrder(data):
        raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, "a key of small order")
    try:
        key.verify(signature, content)
    except InvalidSignature:
        raise RemoteProtocolError(ErrorCode.BAD_SIGNATURE) from None
    return Identity(CredentialKind.ED25519, bytes(data))
