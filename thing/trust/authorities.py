"""
Authorities of X.509: whose certificates are believed, and which of them no longer.

Paths are judged by cryptography's verifier, which follows RFC 5280 and, where
that leaves a choice, the rules of the web's authorities. What is judged here
besides keeps its work small and its refusals plain.
"""

from __future__ import annotations

import os
import re
import ssl
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePublicKey,
)
from cryptography.x509.oid import SignatureAlgorithmOID
from cryptography.x509.verification import PolicyBuilder, Store, Subject, VerificationError

from thing.core.credentials import AUTHORITY_RSA_SIZES, MAX_CHAIN, isRsa, splitChain
from thing.errors import CredentialError, NotAuthorized, RemoteProtocolError
from thing.identity import CredentialKind, Identity
from thing.trust.files import MAX_FILE, StrPath, readFile

UNREADABLE = (
    KeyError,
    TypeError,
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises, now and in its oldest release, if a certificate cannot be read."""

MAX_SHOWN = 200
"""How many characters of what a peer wrote go to the log."""

_LIST = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


def plain(text: str) -> str:
    """
    Make text of a stranger's fit for a line of the log.

    :param text: the text.
    :return: the same, printable and no longer than :data:`MAX_SHOWN` characters.
    """
    return "".join(each if each.isprintable() else "?" for each in text[:MAX_SHOWN])


def subjectOf(certificate: x509.Certificate) -> str:
    """
    Whose certificate it says that it is.

    :param certificate: the certificate.
    :return: the subject in one printable line.
    """
    return _text(certificate.subject)


def _text(name: x509.Name) -> str:
    return plain(name.rfc4514_string()) or "an empty name"


def date(moment: datetime) -> str:
    """
    Write a time.

    :param moment: the time.
    :return: the same as in ``2030-12-31T23:59:59Z``.
    """
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def checkChain(chain: Sequence[x509.Certificate]) -> None:
    """
    Check what makes certificates a chain, but for the signatures.

    No two of the authorities in it may have one name. So each certificate has
    one possible issuer in the chain, and a hostile chain cannot send the
    verifier down a number of paths that grows with the power of its length.
    And no authority's key may make the check of a signature long: whoever sends
    a chain chooses the keys in it, and they are used before a root is reached.
    The leaf's key signs no certificate; whether it fits, the handshake has judged.

    :param chain: the certificates, the leaf first.
    :raises CredentialError: if they are too many, out of order, ambiguous, signed
        with Ed25519, which the verifier does not know, or by unfit keys.
    """
    if not 0 < len(chain) <= MAX_CHAIN:
        raise CredentialError(f"{len(chain)} certificates, but a chain has 1 to {MAX_CHAIN}")
    for number, (certificate, issuer) in enumerate(pairwise(chain), 1):
        if certificate.issuer != issuer.subject:
            raise CredentialError(
                f"the chain is out of order: certificate {number} is issued by "
                f"{_text(certificate.issuer)}, but the next is that of {subjectOf(issuer)}"
            )
    names = [certificate.subject for certificate in chain[1:]]
    if len(set(names)) < len(names):
        raise CredentialError("two authorities of one name are in the chain")
    for number, certificate in enumerate(chain, 1):
        if certificate.signature_algorithm_oid == SignatureAlgorithmOID.ED25519:
            raise CredentialError(
                f"certificate {number} is signed with Ed25519, "
                "but authorities sign with ECDSA or RSA here"
            )
    for number, certificate in enumerate(chain[1:], 2):
        try:
            _checkAuthorityKey(certificate)
        except CredentialError as error:
            raise CredentialError(f"certificate {number}, {error}") from None


class Authorities:
    """
    The authorities that are believed, and their lists of revoked certificates.

    :param roots: a file of their own certificates, PEM; None for those of the platform.
    :param revoked: a file of lists (CRLs), PEM, or None. With it each certificate below a
        root is refused unless a list of its issuer, signed and not out of date, is there
        and does not name it.
    :param wallClock: tells the time, seconds since 1970.
    :raises CredentialError: as :meth:`reload` does.
    """

    def __init__(
        self,
        roots: StrPath | None,
        revoked: StrPath | None = None,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        self.path = None if roots is None else os.fspath(roots)
        self.revokedPath = None if revoked is None else os.fspath(revoked)
        self._wallClock = wallClock
        self.reload()

    def reload(self) -> None:
        """
        Read the files again, all or nothing.

        :raises CredentialError: if one cannot be read or understood, or if there is no root;
            then the last good reading stays in force.
        """
        roots = _platformRoots() if self.path is None else _readRoots(self.path)
        lists = [] if self.revokedPath is None else _readLists(self.revokedPath, roots)
        self._store = Store(roots)
        self._names = {root.subject for root in roots}
        self._lists = lists

    def judge(
        self,
        identity: Identity,
        decide: Callable[[x509.Certificate], str],
        subject: Subject | None = None,
    ) -> str:
        """
        Decide about a peer by its chain.

        :param identity: what the peer has proved.
        :param decide: given the leaf, which is verified only afterwards, names the peer;
            raises CredentialError to refuse it.
        :param subject: the name that a server's certificate must be of; None for a client's.
        :return: the name.
        :raises NotAuthorized: if the chain is none, not valid now, for another use, of no
            root, or revoked.
        """
        if identity.kind is not CredentialKind.X509:
            raise NotAuthorized(f"no X.509 certificate was proved, but {identity.kind.name}")
        about = f"the certificate of {identity.fingerprint}"
        try:
            chain = [x509.load_der_x509_certificate(der) for der in splitChain(identity.credential)]
            about += f" ({subjectOf(chain[0])})"
            checkChain(chain)
            now = datetime.fromtimestamp(self._wallClock(), timezone.utc)
            _checkTimes(chain, now)
            self._checkRoot(chain[-1])
            name = decide(chain[0])
            verified = self._verify(chain, now, subject)
            _checkSigns(chain[0])
            if self.revokedPath is not None:
                self._checkRevoked(verified, now)
        except VerificationError as error:
            reason = str(error).removeprefix("validation failed: ")
            raise NotAuthorized(f"{about} is not verified: {plain(reason)}") from None
        except (CredentialError, RemoteProtocolError) as error:
            raise NotAuthorized(f"{about}: {error}") from None
        except UNREADABLE as error:
            raise NotAuthorized(f"{about} cannot be read: {plain(str(error))}") from None
        return name

    def _checkRoot(self, last: x509.Certificate) -> None:
        """Refuse a chain that can end at no root."""
        if last.issuer not in self._names:
            raise CredentialError(
                f"the chain ends with the issuer {_text(last.issuer)}, which is not among the "
                f"roots {self._where}; or an intermediate certificate is missing"
            )

    @property
    def _where(self) -> str:
        return "of the platform" if self.path is None else f"in {self.path}"

    def _verify(
        self, chain: list[x509.Certificate], now: datetime, subject: Subject | None
    ) -> list[x509.Certificate]:
        """The path from the leaf to a root."""
        policy = PolicyBuilder().store(self._store).time(now).max_chain_depth(MAX_CHAIN - 1)
        if subject is None:
            return policy.build_client_verifier().verify(chain[0], chain[1:]).chain
        return policy.build_server_verifier(subject).verify(chain[0], chain[1:])

    def _checkRevoked(self, path: list[x509.Certificate], now: datetime) -> None:
        """Refuse a path with a certificate that is revoked, or of which that is not known."""
        for certificate, issuer in pairwise(path):
            lists = [each for each in self._lists if each.isOf(issuer)]
            about = f"of {subjectOf(issuer)} in {self.revokedPath}"
            if not lists:
                raise CredentialError(f"no list of revoked certificates {about}")
            for each in lists:
                if not each.begins <= now <= each.ends:
                    raise CredentialError(
                        f"the list of revoked certificates {about} is for {date(each.begins)} "
                        f"to {date(each.ends)}, and now is {date(now)}"
                    )
                if certificate.serial_number in each.serials:
                    raise CredentialError(
                        f"THE CERTIFICATE OF {subjectOf(certificate)} IS REVOKED: "
                        f"serial number {certificate.serial_number:x} is in the list {about}"
                    )


class _RevocationList:
    """One issuer's list of revoked certificates."""

    def __init__(self, crl: x509.CertificateRevocationList) -> None:
        for extension in crl.extensions:
            # It may say that the list is only a part, or speaks of other issuers.
            if extension.critical:
                raise CredentialError(
                    f"its critical extension {extension.oid.dotted_string} is not understood"
                )
        if crl.next_update_utc is None:
            raise CredentialError("it does not say when the next is due")
        self.issuer = crl.issuer
        self.begins = crl.last_update_utc
        self.ends = crl.next_update_utc
        self.serials = frozenset(each.serial_number for each in crl)
        self._crl = crl
        self._signer: object = None

    def isOf(self, issuer: x509.Certificate) -> bool:
        """Whether this issuer, whose own certificate is believed, has signed the list."""
        if issuer.subject != self.issuer:
            return False
        key = issuer.public_key()
        if key != self._signer:  # The list may be long, so it is hashed but once.
            usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
            try:
                if not usage.crl_sign or not self._crl.is_signature_valid(key):  # type: ignore[arg-type]
                    return False
            except UNREADABLE:
                return False
            self._signer = key
        return True


def _platformRoots() -> list[x509.Certificate]:
    """The roots that the platform's OpenSSL believes."""
    roots = []
    with warnings.catch_warnings():  # Of a hundred others' roots, one may be odd.
        warnings.simplefilter("ignore")
        for der in ssl.create_default_context().get_ca_certs(binary_form=True):
            with suppress(CredentialError, *UNREADABLE):
                root = x509.load_der_x509_certificate(der)
                _checkAuthorityKey(root)
                roots.append(root)
    if not roots:
        raise CredentialError("the platform has no roots: give a file of them")
    return roots


def _readRoots(path: str) -> list[x509.Certificate]:
    """The roots in a file, each of which must be of use."""
    try:
        roots = x509.load_pem_x509_certificates(readFile(path, MAX_FILE))
    except UNREADABLE:
        raise CredentialError(f"{path} is damaged, or holds no certificate in PEM") from None
    for number, root in enumerate(roots, 1):
        try:
            _checkAuthority(root)
        except CredentialError as error:
            raise CredentialError(f"{path}: certificate {number}, {error}") from None
        except UNREADABLE as error:
            raise CredentialError(f"{path}: certificate {number}: {plain(str(error))}") from None
    return roots


def _checkAuthority(root: x509.Certificate) -> None:
    """Refuse as a root what cannot be one."""
    try:
        extensions = root.extensions
        basic = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        isAuthority = basic.ca and usage.key_cert_sign
    except x509.ExtensionNotFound:
        isAuthority = False
    if not isAuthority:
        raise CredentialError(
            f"{subjectOf(root)}, is not an authority's: "
            "it needs basicConstraints CA:TRUE and keyUsage keyCertSign"
        )
    _checkAuthorityKey(root)


def _checkAuthorityKey(authority: x509.Certificate) -> None:
    """Refuse a key that the verifier does not take, or that makes it work for long."""
    try:
        key = authority.public_key()
    except UNREADABLE as error:
        raise CredentialError(
            f"{subjectOf(authority)}: its key cannot be read: {plain(str(error))}"
        ) from None
    onCurve = isinstance(key, EllipticCurvePublicKey) and isinstance(
        key.curve, SECP256R1 | SECP384R1 | SECP521R1
    )
    if not onCurve and not isRsa(key, AUTHORITY_RSA_SIZES):
        raise CredentialError(
            f"{subjectOf(authority)}: an authority's key is RSA of 2048 to 8192 bits "
            "with a public exponent below 2^33, or ECDSA on P-256, P-384 or P-521"
        )


def _readLists(path: str, roots: Iterable[x509.Certificate]) -> list[_RevocationList]:
    """The lists in a file; those of roots must be signed by them."""
    lists = []
    for number, pem in enumerate(_LIST.findall(readFile(path, MAX_FILE)), 1):
        about = f"{path}: list {number}"
        try:
            found = _RevocationList(x509.load_pem_x509_crl(pem))
            issuers = [root for root in roots if root.subject == found.issuer]
            if issuers and not any(map(found.isOf, issuers)):
                raise CredentialError(f"it is not signed by {_text(found.issuer)}")
        except CredentialError as error:
            raise CredentialError(f"{about}: {error}") from None
        except UNREADABLE:
            raise CredentialError(f"{about} is damaged") from None
        lists.append(found)
    if not lists:
        raise CredentialError(f"{path} holds no list of revoked certificates in PEM")
    return lists


def _checkTimes(chain: Iterable[x509.Certificate], now: datetime) -> None:
    """Refuse a chain before or after the time of any of its certificates."""
    for number, certificate in enumerate(chain, 1):
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if now < begins:
            raise CredentialError(
                f"certificate {number} is not valid before {date(begins)}, and now is {date(now)}"
            )
        if now > ends:
            raise CredentialError(
                f"certificate {number} expired at {date(ends)}, and now is {date(now)}"
            )


def _checkSigns(leaf: x509.Certificate) -> None:
    """Refuse a leaf whose key is for something else than signatures (RFC 8446, 4.4.2.2)."""
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.digital_signature:
        raise CredentialError("its key usage does not permit signatures")
