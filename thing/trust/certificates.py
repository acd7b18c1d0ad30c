"""
Trust by X.509 certificates: our own chain, and whom a peer's chain proves.

Specification, "Credentials and signatures". The core proves the leaf's key;
:mod:`thing.trust.authorities` judges the path to a root; here is what the
names in the leaf mean.
"""

from __future__ import annotations

import copy
import ipaddress
import os
import re
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.verification import Subject
from zope.interface import implementer

from thing.core.credentials import joinChain, readCredential, schemeOf
from thing.errors import CredentialError, RemoteProtocolError
from thing.identity import CredentialKind, Identity
from thing.trust.authorities import Authorities, checkChain
from thing.trust.files import StrPath, readFile
from thing.trust.interfaces import (
    IServerAuthorizer,
    IThingAuthorizer,
    ServerIdentity,
    ThingIdentity,
)
from thing.trust.keys import ENCRYPTED, MAX_KEY_FILE, checkName, unusable
from thing.trust.slices import Slices
from thing.trust.x509text import UNREADABLE, plain, subjectOf

MAX_DATA = 6000
"""The longest chain that we show, octets: a record of the handshake has more to carry."""

MAX_HOST = 253
"""The most characters in a host name (RFC 1035)."""

MAX_NAMES = 8
"""How many of a certificate's names a refusal tells."""

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey
"""The private keys that a chain may be of."""

_PSS = PSS(MGF1(SHA256()), SHA256.digest_size)  # RFC 8446, section 4.2.3

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+$){_LABEL}")
_LABELS = r"(?:[a-z0-9_-]+\.)*[a-z0-9_-]+"
if TYPE_CHECKING:  # They take long to import, and only clients with certificates need them.
    from service_identity.hazmat import DNS_ID, DNSPattern, IPAddress_ID, IPAddressPattern
    from typing_extensions import Self

_Sort = type[x509.DNSName] | type[x509.UniformResourceIdentifier] | type[x509.RFC822Name]
_NAMES: tuple[tuple[_Sort, re.Pattern[str]], ...] = (
    (x509.DNSName, re.compile(_LABELS, re.IGNORECASE)),
    (x509.UniformResourceIdentifier, re.compile(r"[a-z][a-z0-9+.-]*:[!-~]+", re.IGNORECASE)),
    (x509.RFC822Name, re.compile(rf"[!-9;-?A-~]+@{_LABELS}", re.IGNORECASE)),
)
"""The sorts of name that a thing may have, the preferred first; no text is of two sorts."""


class CertificateChain:
    """
    Our own certificate with its private key; a :class:`~thing.core.credentials.Credential`.

    That the certificate is expired, or not yet valid, is no error here: this side's clock
    may be wrong, and it is the peer who judges.

    :param certificates: the leaf first, each of the others the issuer of the one before it;
        the root may be left out.
    :param key: the leaf's private key: Ed25519, ECDSA on P-256, or RSA of 2048 to 4096 bits.
    :raises CredentialError: if they are not a chain of that key, or too long.
    :ivar publicKey: the leaf's public key, the DER of its SubjectPublicKeyInfo.
    :ivar fingerprint: the SHA-256 of that, as ssh prints fingerprints (``SHA256:...``).
    :ivar expires: when the first of the certificates expires, seconds since 1970.
    """

    kind = CredentialKind.X509

    def __init__(self, certificates: Sequence[x509.Certificate], key: PrivateKey) -> None:
        checkChain(certificates)
        _checkIssuers(certificates)
        self.data = joinChain(each.public_bytes(Encoding.DER) for each in certificates)
        if len(self.data) > MAX_DATA:
            raise CredentialError(
                f"the chain has {len(self.data)} octets, but at most {MAX_DATA} fit a handshake"
            )
        try:
            identity = readCredential(self.kind, self.data)
        except RemoteProtocolError as error:
            raise CredentialError(f"the certificate is of no use: {error.detail}") from None
        public = key.public_key()
        encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if encoded != identity.publicKey:
            raise CredentialError("the private key is not that of the first certificate")
        self._key = key
        self.scheme = schemeOf(public)
        self.publicKey = identity.publicKey
        self.fingerprint = identity.fingerprint
        self.expires = min(each.not_valid_after_utc.timestamp() for each in certificates)
        self._subject = subjectOf(certificates[0])

    @classmethod
    def load(
        cls,
        certificate: StrPath,
        privateKey: StrPath | None = None,
        passphrase: bytes | None = None,
    ) -> CertificateChain:
        """
        Read a chain and its private key, both PEM.

        :param certificate: the file of the chain.
        :param privateKey: the file of the private key; None if it is in the same file.
        :param passphrase: what the private key is encrypted with, if it is.
        :return: the chain.
        :raises PassphraseNeeded: if the private key is encrypted, and no passphrase was given.
        :raises CredentialError: if a file cannot be read or understood, if that of the
            private key is too open or does not decrypt, or if they are not of each other.
        """
        path = os.fspath(certificate)
        keyPath = path if privateKey is None else os.fspath(privateKey)
        content = readFile(path, MAX_KEY_FILE, private=keyPath == path)
        keyContent = content if keyPath == path else readFile(keyPath, MAX_KEY_FILE, private=True)
        key = _decode(keyContent, passphrase)
        if isinstance(key, str):
            raise unusable(keyPath, key)
        try:
            certificates = x509.load_pem_x509_certificates(content)
        except UNREADABLE:
            raise CredentialError(f"{path} is damaged, or holds no certificate in PEM") from None
        try:
            return cls(certificates, key)
        except CredentialError as error:
            raise CredentialError(f"{path}: {error}") from None
        except UNREADABLE as error:
            raise CredentialError(f"{path} is damaged: {plain(str(error))}") from None

    def sign(self, content: bytes) -> bytes:
        """
        Sign ``content``.

        :param content: the bytes to sign.
        :return: the signature, in the scheme of the key.
        """
        key = self._key
        if isinstance(key, Ed25519PrivateKey):
            return key.sign(content)
        if isinstance(key, EllipticCurvePrivateKey):
            return key.sign(content, ECDSA(SHA256()))
        return key.sign(content, _PSS, SHA256())

    def __repr__(self) -> str:
        """The subject and the fingerprint, and nothing of the private key."""
        return f"<CertificateChain {self._subject} {self.fingerprint}>"


def _decode(content: bytes, passphrase: bytes | None) -> PrivateKey | str:
    """
    The private key in a file, or what is wrong with the file.

    An answer, not an exception: one raised here would carry those of the
    decoder as its context, and with them secrets.
    """
    if b"-----BEGIN OPENSSH PRIVATE KEY-----" in content:
        return "has a private key in OpenSSH's format; beside a certificate, PKCS #8 is needed"
    if b"PRIVATE KEY-----" not in content:
        return "holds no private key in PEM"
    try:
        key = load_pem_private_key(content, passphrase or None)
    except TypeError:
        if passphrase:
            return "is not encrypted, but a passphrase was given"
        return ENCRYPTED
    except UnsupportedAlgorithm:
        return "has a cipher or a type of key that is not supported"
    except ValueError:
        if passphrase:
            return "does not decrypt: the passphrase is wrong or the file is damaged"
        return "is damaged"
    if not isinstance(key, PrivateKey):
        return "has a key of another type than Ed25519, ECDSA and RSA"
    return key


def _checkIssuers(chain: Sequence[x509.Certificate]) -> None:
    """Refuse a chain of which one certificate was not signed by the next."""
    for number, (certificate, issuer) in enumerate(pairwise(chain), 1):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, *UNREADABLE):
            raise CredentialError(
                f"certificate {number} is not signed by the next, though it is so named"
            ) from None


class _Certificates:
    """What is alike about the certificates of things and of servers."""

    def __init__(
        self,
        roots: StrPath | None,
        revoked: StrPath | None,
        wallClock: Callable[[], float],
    ) -> None:
        self.authorities: Authorities = Authorities(roots, revoked, wallClock)

    def reload(self) -> None:
        """
        Read the roots and the lists of revoked certificates again, all or nothing.

        :raises CredentialError: if a file cannot be read or understood; then
            the last good reading stays in force.
        """
        self.authorities.reload()

    def again(self) -> Slices[Self]:
        """
        Read the files again; this stays as it is.

        :return: the slices, which come to what the files are now.
        :raises CredentialError: if a file cannot be read or understood.
        """
        found = copy.copy(self)
        found.authorities = yield from self.authorities.again()
        return found


@implementer(IServerAuthorizer)
class ServerCertificates(_Certificates):
    """
    Believes a server whose certificate is for its host, and of a root that we believe.

    :param roots: a file of roots' certificates, PEM; None for the roots of the platform.
    :param host: the host name or the IP address that the client connects to.
    :param revoked: a file of lists of revoked certificates (CRLs), PEM, or None; see
        :class:`~thing.trust.authorities.Authorities`.
    :param wallClock: tells the time, seconds since 1970.
    :raises CredentialError: if the host cannot be one, or if a file cannot be read or
        understood.
    :ivar host: the host, in lower case.
    """

    def __init__(
        self,
        roots: StrPath | None,
        host: str,
        revoked: StrPath | None = None,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        self.host = host.lower().removesuffix(".")
        self._subject, self._wanted = _readHost(self.host)
        super().__init__(roots, revoked, wallClock)

    def authorize(self, identity: ServerIdentity) -> Identity:
        """
        Admit a server whose certificate is verified and for the host.

        :param identity: what the server has proved.
        :return: the identity, named by the host, and when the certificate is over.
        :raises NotAuthorized: if the server has no certificate, or it is not believed.
        """
        return self.authorities.judge(identity, self._checkHost, self._subject)

    def _checkHost(self, leaf: x509.Certificate) -> str:
        """The host, if the certificate is for it."""
        from service_identity import CertificateError, VerificationError
        from service_identity.hazmat import (
            DNSPattern,
            IPAddress_ID,
            IPAddressPattern,
            verify_service_identity,
        )

        names = _namesIn(leaf)
        try:
            # Names of other sorts do not count, and so can do no harm.
            patterns: list[DNSPattern | IPAddressPattern] = (
                [IPAddressPattern(each) for each in _addressesIn(names)]
                if isinstance(self._wanted, IPAddress_ID)
                else [
                    DNSPattern.from_bytes(each.encode())
                    for each in names.get_values_for_type(x509.DNSName)
                ]
            )
            verify_service_identity(patterns, [self._wanted], [])
        except (VerificationError, CertificateError):
            raise CredentialError(f"it is not for {self.host}, but for {_list(names)}") from None
        return self.host


@implementer(IThingAuthorizer)
class ThingCertificates(_Certificates):
    """
    Admits the things that have a certificate of a root that we believe, by the names in it.

    A thing is known by the first alternative name (subjectAltName) that can be one: a DNS
    name, in lower case and without wildcards; else a URI; else an address of electronic
    mail; else an IP address. No text is a name of two of these sorts, so that an authority
    that may speak for one sort alone cannot name a thing as another does. A subject's
    common name is no name: none is constrained by the authorities' name constraints.

    :param roots: a file of roots' certificates, PEM.
    :param revoked: a file of lists of revoked certificates (CRLs), PEM, or None; see
        :class:`~thing.trust.authorities.Authorities`.
    :param wallClock: tells the time, seconds since 1970.
    :raises CredentialError: if a file cannot be read or understood.
    """

    def __init__(
        self,
        roots: StrPath,
        revoked: StrPath | None = None,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(roots, revoked, wallClock)

    def authorize(self, identity: ThingIdentity) -> Identity:
        """
        Admit a thing whose certificate is verified.

        :param identity: what the thing has proved.
        :return: the identity with the name that the certificate gives it, and when that is over.
        :raises NotAuthorized: if the thing has no certificate, or it is not believed.
        """
        return self.authorities.judge(identity, _nameOf)


def _readHost(host: str) -> tuple[Subject, DNS_ID | IPAddress_ID]:
    """What a server's certificate must be for, as both checkers have it."""
    from service_identity.hazmat import DNS_ID, IPAddress_ID

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return x509.IPAddress(address), IPAddress_ID(host)
    if len(host) > MAX_HOST or not _HOST.fullmatch(host):
        raise CredentialError(f"not an IP address, nor a host name in ASCII: {plain(host)!r}")
    return x509.DNSName(host), DNS_ID(host)


def _namesIn(leaf: x509.Certificate) -> x509.SubjectAlternativeName:
    """The alternative names of a certificate."""
    try:
        return leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise CredentialError("it has no alternative name (subjectAltName)") from None


def _addressesIn(
    names: x509.SubjectAlternativeName,
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The IP addresses among names; a whole network can stand there too, and is none."""
    return [
        each
        for each in names.get_values_for_type(x509.IPAddress)
        if isinstance(each, ipaddress.IPv4Address | ipaddress.IPv6Address)
    ]


def _nameOf(leaf: x509.Certificate) -> str:
    """The name of the thing that a certificate is of."""
    names = _namesIn(leaf)
    for sort, pattern in _NAMES:
        for value in names.get_values_for_type(sort):
            if pattern.fullmatch(value) and not _isAddress(value):
                return checkName(value.lower() if sort is x509.DNSName else value)
    for address in _addressesIn(names):
        return str(address)
    raise CredentialError(f"none of its names can be a thing's: {_list(names)}")


def _isAddress(text: str) -> bool:
    """Whether a text is an IP address, though a certificate has it as something else."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _list(names: x509.SubjectAlternativeName) -> str:
    """Some names, for the log."""
    shown = [str(name.value) for _, name in zip(range(MAX_NAMES), names, strict=False)]
    return plain(", ".join(shown)) + (", ..." if len(list(names)) > MAX_NAMES else "")
