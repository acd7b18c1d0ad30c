"""
Public keys and certificates of all of OpenSSH's types, as its files have them.

A thing's own key is always Ed25519 (:mod:`thing.trust.keys`); the keys of
authorities, and those in lists of revoked keys, may be of other types.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    load_der_public_key,
    load_ssh_public_identity,
)

from thing.core.credentials import PublicKey, splitChain
from thing.errors import CredentialError, RemoteProtocolError
from thing.identity import CredentialKind, Identity, sshBlob
from thing.trust.keys import KEY_TYPE, MAX_NAME

if TYPE_CHECKING:  # It takes long to import, and few have certificates.
    from cryptography import x509

UNDERSTOOD = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521))(-cert-v01@openssh\.com)?"
)
"""The types of key that a thing or an authority may have, and of certificates of such keys."""


_BEFORE_SIGNER = (0, 0, 0, 8, 4, 0, 0, 8, 8, 0, 0, 0)
"""
The sizes, octets, of a certificate's fields before its authority, where 0 is a string: type, nonce,
key, serial number, kind, key ID, principals, from, until, critical options, extensions, reserved.
"""


class Reader:
    """
    A cursor over what OpenSSH encodes, which refuses to run past its end (RFC 4251, section 5).

    :param data: the octets.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    @property
    def remaining(self) -> int:
        """How many octets are left."""
        return len(self._data) - self._offset

    def take(self, count: int) -> bytes:
        """
        Read octets.

        :param count: how many.
        :return: the octets.
        :raises CredentialError: if there are fewer.
        """
        if count > self.remaining:
            raise CredentialError("it ends too early")
        start = self._offset
        self._offset += count
        return self._data[start : self._offset]

    def integer(self, size: int) -> int:
        """
        Read a number.

        :param size: its size, octets.
        :return: the number.
        :raises CredentialError: if it is cut.
        """
        return int.from_bytes(self.take(size), "big")

    def string(self) -> bytes:
        """
        Read octets that stand after their length.

        :return: the octets.
        :raises CredentialError: if they are cut.
        """
        return self.take(self.integer(4))


def parseAnyKey(text: str) -> PublicKey | SSHCertificate | None:
    """
    Read one line ``TYPE AAAA... comment`` of a public key or a certificate.

    :param text: the line.
    :return: the key or the certificate; nothing if it is of a type that neither a
        thing nor an authority can have.
    :raises CredentialError: if it is not such a line; the message quotes none of it,
        since anything might be in the wrong file.
    """
    fields = re.split(r"[ \t]+", text, maxsplit=2)
    if len(fields) < 2 or not KEY_TYPE.fullmatch(fields[0]):
        raise CredentialError("not a public key line: TYPE AAAA... comment")
    if not UNDERSTOOD.fullmatch(fields[0]):
        return None
    line = " ".join(fields[:2])
    try:
        found: Any = load_ssh_public_identity(line.encode())
    except (ValueError, UnsupportedAlgorithm):
        found = None
    # The decoder forgives what ssh-keygen never writes.
    if found is None or _lineOf(found) != line:
        raise CredentialError(f"the {fields[0]} is damaged")
    return cast("PublicKey | SSHCertificate", found)


def parseBlob(blob: bytes) -> PublicKey | SSHCertificate | None:
    """
    Read what stands, in base64, in such a line.

    :param blob: the octets.
    :return: as :func:`parseAnyKey` does.
    :raises CredentialError: if they are no key.
    """
    keyType = Reader(blob).string().decode("ascii", "replace")
    return parseAnyKey(f"{keyType} {base64.b64encode(blob).decode('ascii')}")


def signerOf(certificate: bytes) -> tuple[bytes, bytes]:
    """
    Say who signed a certificate of an Ed25519 key; whether it is true is not checked.

    :param certificate: the certificate's blob (OpenSSH's PROTOCOL.certkeys).
    :return: the authority's key as ssh encodes it, and the signature's algorithm.
    :raises CredentialError: if the blob is cut.
    """
    reader = Reader(certificate)
    for size in _BEFORE_SIGNER:
        reader.take(size or reader.integer(4))
    return reader.string(), Reader(reader.string()).string()


def plainKey(key: PublicKey | SSHCertificate) -> PublicKey:
    """
    The key itself.

    :param key: a key, or a certificate of one.
    :return: the key.
    """
    return key.public_key() if isinstance(key, SSHCertificate) else key


def blobOf(key: PublicKey | SSHCertificate) -> bytes:
    """
    Encode a public key or a certificate as ssh does.

    :param key: the key or the certificate.
    :return: the blob that stands, in base64, in a public key file.
    """
    return base64.b64decode(_lineOf(key).split(" ")[1])


def keysOf(identity: Identity) -> list[bytes]:
    """
    Find all keys that a peer stands with: who does not believe one does not believe the peer.

    :param identity: what the peer has proved, or claims.
    :return: its own key and those of the authorities that it shows, or was verified by, as ssh
        encodes them; of an X.509 chain those that ssh can encode.
    """
    if identity.kind is CredentialKind.X509:
        own = load_der_public_key(identity.publicKey)
        shown = _authoritiesIn(identity.credential)
        return [blobOf(own), *shown, *identity.authorities]  # type: ignore[arg-type]
    keys = [sshBlob(identity.publicKey)] if identity.publicKey else []
    if identity.kind is CredentialKind.SSH_CERTIFICATE:
        with suppress(CredentialError):
            keys.append(signerOf(identity.credential)[0])
    return keys


def _authoritiesIn(chain: bytes) -> list[bytes]:
    """The keys of the authorities in a chain of X.509 certificates."""
    from cryptography import x509  # It takes long to import, and few have certificates.

    certificates = []
    with suppress(RemoteProtocolError):
        for der in splitChain(chain)[1:]:
            # What cannot be read is for whoever judges the chain to refuse.
            with suppress(ValueError, x509.InvalidVersion):
                certificates.append(x509.load_der_x509_certificate(der))
    return blobsOf(certificates)


def blobsOf(certificates: Iterable[x509.Certificate]) -> list[bytes]:
    """
    Encode the keys of X.509 certificates.

    :param certificates: the certificates.
    :return: their keys as ssh encodes them, of those that it can encode.
    """
    keys = []
    for each in certificates:
        with suppress(ValueError, UnsupportedAlgorithm):
            keys.append(blobOf(each.public_key()))  # type: ignore[arg-type]
    return keys


def blobFingerprint(blob: bytes) -> str:
    """
    The fingerprint of a public key of any type, as ssh prints it.

    :param blob: the key, as ssh encodes it.
    :return: ``SHA256:`` and the unpadded base64 of the blob's SHA-256.
    """
    digest = base64.b64encode(hashlib.sha256(blob).digest())
    return "SHA256:" + digest.rstrip(b"=").decode("ascii")


def describeCertificate(fingerprint: str, certificate: SSHCertificate) -> str:
    """
    Name a certificate for this side's log, once its content is the word of an authority.

    :param fingerprint: the fingerprint of its key.
    :param certificate: the certificate.
    :return: the key, the key ID and the serial number, in printable ASCII.
    """
    keyId = certificate.key_id.decode("utf-8", "backslashreplace")[:MAX_NAME]
    return f"the certificate of {fingerprint} (key ID {keyId!a}, serial {certificate.serial})"


def _lineOf(key: PublicKey | SSHCertificate) -> str:
    """The line of a key or a certificate, without a comment."""
    if isinstance(key, SSHCertificate):
        return key.public_bytes().decode("ascii")
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
