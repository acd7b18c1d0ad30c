"""Certificates that tests make for themselves: for trust by X.509, and for TLS around it."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from thing.core.credentials import joinChain
from thing.identity import CredentialKind, Identity

NOW = 1_900_000_000.0
"""What the clock says where certificates are judged, seconds since 1970."""

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


def clock() -> float:
    """The clock of those who judge."""
    return NOW


def moment(seconds: float) -> datetime:
    """The time so long after :data:`NOW`."""
    return datetime.fromtimestamp(NOW + seconds, timezone.utc)


@functools.cache
def privateKey(sort: str, owner: str = "") -> Any:
    """A private key; for one sort and owner, always the same."""
    if sort == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if sort.startswith("rsa"):
        return rsa.generate_private_key(65537, int(sort[3:]))
    curves = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "secp256k1": ec.SECP256K1}
    return ec.generate_private_key(curves[sort]())


def named(name: str) -> x509.Name:
    """A name in a certificate, of which just the common name matters."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])


def keyUsage(*uses: str) -> x509.KeyUsage:
    """What a key may be used for, and nothing else."""
    every = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{each: each in uses for each in every})


def hashFor(key: object) -> hashes.HashAlgorithm | None:
    """What a key of its sort hashes what it signs with."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1):
        return hashes.SHA384()
    return hashes.SHA256()


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def keyPem(self, passphrase: bytes | None = None) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase)
            if passphrase
            else serialization.NoEncryption(),
        )


def issue(
    name: str,
    issuer: Issued | None = None,
    names: Iterable[x509.GeneralName] = (),
    *,
    sort: str = "p256",
    key: Any = None,
    use: x509.ObjectIdentifier | None = None,
    usage: x509.KeyUsage | None = None,
    begins: float = -3600,
    ends: float = 3600,
    ca: bool = False,
    pathLength: int | None = None,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
) -> Issued:
    """
    Issue a certificate, that of an authority or of somebody with names.

    :param issuer: who signs it; None for itself.
    :param begins: when its time begins, seconds after :data:`NOW`; ``ends`` likewise.
    """
    key = privateKey(sort) if key is None else key
    signing = key if issuer is None else issuer.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(name) if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(begins))
        .not_valid_after(moment(ends))
        .add_extension(x509.BasicConstraints(ca, pathLength), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False
        )
    )
    if usage is None and ca:
        usage = keyUsage("key_cert_sign", "crl_sign")
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not name)
    if use is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return Issued(builder.sign(signing, hashFor(signing)), key)


def authority(name: str = "root", issuer: Issued | None = None, **choices: Any) -> Issued:
    """Issue the certificate of an authority, with a key of its own for each name."""
    sort = choices.pop("sort", "p256")
    choices = {"key": privateKey(sort, name), "ca": True, **choices}
    return issue(name, issuer, **choices)


def revocations(
    issuer: Issued,
    *revoked: Issued,
    begins: float = -3600,
    ends: float = 3600,
    key: Any = None,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
) -> bytes:
    """An issuer's list of revoked certificates, PEM; signed with ``key``, or by the issuer."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(moment(begins))
        .next_update(moment(ends))
    )
    for each in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(each.certificate.serial_number)
            .revocation_date(moment(begins))
            .build()
        )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signing = issuer.key if key is None else key
    return builder.sign(signing, hashFor(signing)).public_bytes(serialization.Encoding.PEM)


def proved(*chain: Issued) -> Identity:
    """What a peer with this chain, the leaf first, proves in a handshake."""
    encoded = (
        chain[0]
        .certificate.public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    data = joinChain(each.der for each in chain)
    return Identity(CredentialKind.X509, encoded, credential=data)


def writeCertificate(path: str, host: str) -> str:
    """
    Write a private key and a certificate that it signed itself.

    :param path: the file for both, in PEM.
    :param host: whose certificate it is.
    :return: the path.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    with open(path, "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    return path
