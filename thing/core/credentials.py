"""
Credentials: what a side signs the handshake with, and what that proves.

Specification, "Credentials and signatures". The construction is SIGMA's: the
signature covers the transcript, which holds both shares and the credential
that signs, so a key cannot be bound to another's session.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    load_ssh_public_identity,
)

from thing.core.layout import OPAQUE16, readAll
from thing.errors import ErrorCode, RemoteProtocolError
from thing.identity import CredentialKind, Identity


class SignatureScheme(IntEnum):
    """The schemes, by their TLS numbers (specification, "Credentials and signatures")."""

    NONE = 0x0000
    ECDSA_P256 = 0x0403
    RSA_PSS = 0x0804
    ED25519 = 0x0807


PublicKey = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey
"""The public keys that a credential may have."""

MAX_CHAIN = 8
"""The most certificates in a chain."""

RSA_SIZES = range(2048, 4097)
"""The sizes of RSA keys, bits: below is weak, and above is work for a stranger's sake."""

AUTHORITY_RSA_SIZES = range(2048, 8193)
"""The sizes of authorities' RSA keys, bits: they only check, and live longer than others."""

RSA_EXPONENTS = range(3, 1 << 33)
"""The public exponents of RSA keys: with a long one a check takes 200 times as long."""

_PSS = PSS(MGF1(SHA256()), SHA256.digest_size)  # RFC 8446, section 4.2.3
_SSH_CERTIFICATE = b"ssh-ed25519-cert-v01@openssh.com"


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

    kind: CredentialKind = CredentialKind.NONE
    data = b""
    scheme = SignatureScheme.NONE

    def sign(self, content: bytes) -> bytes:
        """
        Sign nothing.

        :param content: ignored.
        :return: the empty signature of the scheme :attr:`SignatureScheme.NONE`.
        """
        return b""


class Unsigned(Anonymous):
    """What stands for a credential where a secret that both sides have does: no signature."""

    kind = CredentialKind.PRESHARED


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


def isRsa(key: object, sizes: range = RSA_SIZES) -> bool:
    """
    Say whether a key is one of RSA with which a signature is checked in little time.

    It is asked before anything is computed with a key that somebody else made, whether that
    is a peer's own or that of an authority which a peer shows.

    :param key: the public key.
    :param sizes: the sizes that it may have, bits.
    :return: whether its size is among them, and its exponent in :data:`RSA_EXPONENTS`.
    """
    return (
        isinstance(key, RSAPublicKey)
        and key.key_size in sizes
        and key.public_numbers().e in RSA_EXPONENTS
    )


def schemeOf(key: PublicKey) -> SignatureScheme:
    """
    The one scheme in which a key signs.

    :param key: the public key.
    :return: its scheme.
    :raises RemoteProtocolError: ``BAD_CREDENTIAL`` for a key of another kind, curve or size.
    """
    if isinstance(key, Ed25519PublicKey):
        return SignatureScheme.ED25519
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return SignatureScheme.ECDSA_P256
    if isRsa(key):
        return SignatureScheme.RSA_PSS
    raise RemoteProtocolError(
        ErrorCode.BAD_CREDENTIAL, "a key that is not Ed25519, P-256 or RSA of 2048 to 4096 bits"
    )


def verifySignature(key: PublicKey, signature: bytes, content: bytes) -> None:
    """
    Check a signature in the key's own scheme.

    :param key: the public key.
    :param signature: the signature.
    :param content: what must have been signed.
    :raises RemoteProtocolError: ``BAD_SIGNATURE``.
    """
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, content)
        elif isinstance(key, EllipticCurvePublicKey):
            key.verify(signature, content, ECDSA(SHA256()))
        else:
            key.verify(signature, content, _PSS, SHA256())
    except InvalidSignature:
        raise RemoteProtocolError(ErrorCode.BAD_SIGNATURE) from None


def joinChain(certificates: Iterable[bytes]) -> bytes:
    """
    Write a certificate chain as a credential.

    :param certificates: each in DER, the leaf first, each of the others the issuer of the
        one before it.
    :return: the credential.
    """
    return b"".join(map(OPAQUE16.write, certificates))


def splitChain(data: bytes) -> list[bytes]:
    """
    Read a certificate chain; whether it is one is for an authorizer to judge.

    :param data: the credential.
    :return: the certificates in DER, the leaf first.
    :raises RemoteProtocolError: ``BAD_CREDENTIAL`` if it is empty, too long or cut.
    """
    try:
        chain = readAll(OPAQUE16, data)
    except RemoteProtocolError:
        chain = []
    if not 0 < len(chain) <= MAX_CHAIN:
        raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, "not a chain of certificates")
    return chain


def _readKey(data: bytes) -> tuple[PublicKey, Identity]:
    try:
        key = Ed25519PublicKey.from_public_bytes(data)
    except ValueError:
        raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, "not an Ed25519 key") from None
    _refuseSmallOrder(data)
    return key, Identity(CredentialKind.ED25519, bytes(data))


def _readChain(data: bytes) -> tuple[PublicKey, Identity]:
    from cryptography import x509  # It takes long to import, and few have certificates.

    leaf = splitChain(data)[0]
    try:
        key = x509.load_der_x509_certificate(leaf).public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, "not an X.509 certificate") from None
    schemeOf(key)  # type: ignore[arg-type]  # It refuses all others.
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if isinstance(key, Ed25519PublicKey):
        _refuseSmallOrder(encoded[-32:])
    return key, Identity(CredentialKind.X509, encoded, credential=bytes(data))  # type: ignore[return-value]


def readSshCertificate(data: bytes) -> SSHCertificate:
    """
    Read an OpenSSH certificate of an Ed25519 key; whether to believe it is for an authorizer.

    :param data: the certificate's blob, as OpenSSH's PROTOCOL.certkeys has it.
    :return: the certificate; its own signature is not checked.
    :raises RemoteProtocolError: ``BAD_CREDENTIAL`` if it is none.
    """
    try:
        found = load_ssh_public_identity(_SSH_CERTIFICATE + b" " + base64.b64encode(data))
    except (ValueError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, SSHCertificate):
        raise RemoteProtocolError(
            ErrorCode.BAD_CREDENTIAL, "not an OpenSSH certificate of an Ed25519 key"
        )
    return found


def _readSshCertificate(data: bytes) -> tuple[PublicKey, Identity]:
    key = readSshCertificate(data).public_key()
    assert isinstance(key, Ed25519PublicKey), "the blob's type says so"
    raw = key.public_bytes_raw()
    _refuseSmallOrder(raw)
    return key, Identity(CredentialKind.SSH_CERTIFICATE, raw, credential=bytes(data))


def _refuseSmallOrder(key: bytes) -> None:
    if _isSmallOrder(key):
        raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, "a key of small order")


_READERS: dict[int, Callable[[bytes], tuple[PublicKey, Identity]]] = {
    CredentialKind.ED25519: _readKey,
    CredentialKind.X509: _readChain,
    CredentialKind.SSH_CERTIFICATE: _readSshCertificate,
}
"""The kinds of credential that sign."""


def readCredential(kind: int, data: bytes) -> Identity:
    """
    Whom a credential speaks of; nothing is proved by that.

    :param kind: the kind of credential.
    :param data: its public part.
    :return: the identity, without a name.
    :raises RemoteProtocolError: ``BAD_CREDENTIAL``.
    """
    if kind == CredentialKind.NONE:
        return Identity(CredentialKind.NONE)
    if kind not in _READERS:
        raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, f"kind {kind}")
    return _READERS[kind](data)[1]


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
    :return: the identity: its key is proved, its certificates are yet to be judged, and its
        name is not known here.
    :raises RemoteProtocolError: if the credential or the signature is not valid.
    """
    if kind == CredentialKind.NONE:
        if data or signature or scheme != SignatureScheme.NONE:
            raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, "no credential, yet data")
        return Identity(CredentialKind.NONE)
    if kind not in _READERS:
        raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, f"kind {kind}")
    key, identity = _READERS[kind](data)
    if scheme != schemeOf(key):
        raise RemoteProtocolError(ErrorCode.BAD_CREDENTIAL, f"kind {kind}, scheme {scheme:#06x}")
    verifySignature(key, signature, content)
    return identity
