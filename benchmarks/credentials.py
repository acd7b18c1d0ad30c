"""The keys and certificates of one run: made afresh, kept in one directory, known to both sides."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    TLSVersion,
    trustRootFromCertificates,
)

from thing import IdentityKey

ALGORITHMS = ("ed25519", "p256", "rsa")
ROLES = ("server", "client")

SEED_LENGTH = 32
"""The private key of a thing in the fleet, octets."""


def create(directory: Path, things: int = 1) -> None:
    """
    Make what every peer needs.

    :param directory: where to; empty, and for this user's eyes only.
    :param things: how many things have a key of their own.
    """
    for role in ROLES:
        IdentityKey.generate().save(directory / f"thing-{role}")
        for algorithm in ALGORITHMS:
            _createCertificate(directory / f"{algorithm}-{role}.pem", algorithm, role)
    seeds = os.urandom(SEED_LENGTH * things)
    (directory / "fleet").write_bytes(seeds)
    lines = [(directory / "thing-client.pub").read_text().strip()]
    lines += [fleetKey(seeds, number).publicLine(f"thing-{number}") for number in range(things)]
    (directory / "authorized").write_text("\n".join(lines) + "\n")


def fleetKey(seeds: bytes, number: int) -> IdentityKey:
    """
    One of the fleet's keys.

    :param seeds: all of them, as in the file ``fleet``.
    :param number: which; they begin anew after the last.
    :return: the key.
    """
    at = number * SEED_LENGTH % len(seeds)
    return IdentityKey(ed25519.Ed25519PrivateKey.from_private_bytes(seeds[at : at + SEED_LENGTH]))


def _createCertificate(path: Path, algorithm: str, name: str) -> None:
    """A self-signed certificate: the peer trusts it alone, as Thing's peers trust a raw key."""
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    if algorithm == "p256":
        key, digest = ec.generate_private_key(ec.SECP256R1()), SHA256()
    elif algorithm == "rsa":
        key, digest = rsa.generate_private_key(65537, 2048), SHA256()
    else:
        key, digest = ed25519.Ed25519PrivateKey.generate(), None
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, digest)
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))


def tlsOptions(directory: Path, role: str, algorithm: str, *, mutual: bool) -> CertificateOptions:
    """
    Twisted's TLS as its users set it up, held to TLS 1.3.

    :param directory: what :func:`create` filled.
    :param role: ``server`` or ``client``.
    :param algorithm: of the certificates, one of :data:`ALGORITHMS`.
    :param mutual: whether the client shows a certificate, too.
    :return: the options.
    """
    own = PrivateCertificate.loadPEM((directory / f"{algorithm}-{role}.pem").read_bytes())
    other = ROLES[1 - ROLES.index(role)]
    peer = Certificate.loadPEM((directory / f"{algorithm}-{other}.pem").read_bytes())
    shows = mutual or role == "server"
    verifies = mutual or role == "client"
    return CertificateOptions(
        privateKey=own.privateKey.original if shows else None,
        certificate=own.original if shows else None,
        trustRoot=trustRootFromCertificates([peer]) if verifies else None,
        raiseMinimumTo=TLSVersion.TLSv1_3,
    )
