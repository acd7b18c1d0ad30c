"""
Authorities of X.509: whose certificates are believed, and which of them no longer.

Paths are judged by cryptography's verifier, which follows RFC 5280 and, where
that leaves a choice, the rules of the web's authorities. What is judged here
besides keeps its work small and its refusals plain.
"""

from __future__ import annotations

import copy
import os
import ssl
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
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
from thing.trust.crls import RevocationLists, readLists
from thing.trust.files import MAX_FILE, StrPath, readFile
from thing.trust.slices import Slices, atOnce
from thing.trust.sshkeys import blobsOf
from thing.trust.validity import tooEarly, tooLate, undecided
from thing.trust.x509text import UNREADABLE, date, nameText, plain, subjectOf


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
                f"{nameText(certificate.issuer)}, but the next is that of {subjectOf(issuer)}"
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
        and does not name it. A list whose time has not begun is not used yet: until then those
        of the same issuer that were read before count.
    :param wallClock: tells the time, seconds since 1970.
    :raises CredentialError: as :meth:`reload` does.
    :ivar lists: the lists of revoked certificates, if there is a file of them.
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
        self.lists: RevocationLists | None = None
        self.reload()

    def reload(self) -> None:
        """
        Read the files again, all or nothing.

        :raises CredentialError: if one cannot be read or understood, or if there is no root;
            then the last good reading stays in force.
        """
        atOnce(self._read())

    def again(self) -> Slices[Authorities]:
        """
        Read the files again; this stays as it is.

        :return: the slices, which come to what the files are now.
        :raises CredentialError: as :meth:`reload` does.
        """
        found = copy.copy(self)
        yield from found._read()
        return found

    def _read(self) -> Slices[None]:
        roots = _platformRoots() if self.path is None else _readRoots(self.path)
        if self.revokedPath is not None:
            content = readFile(self.revokedPath, MAX_FILE)
            lists = yield from readLists(self.revokedPath, content, roots)
            self.lists = RevocationLists(self.revokedPath, lists, self._now(), self.lists)
        self._store = Store(roots)
        self._roots = roots

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wallClock(), timezone.utc)

    def judge(
        self,
        identity: Identity,
        decide: Callable[[x509.Certificate], str],
        subject: Subject | None = None,
    ) -> Identity:
        """
        Decide about a peer by its chain.

        :param identity: what the peer has proved.
        :param decide: given the leaf, which is verified only afterwards, names the peer;
            raises CredentialError to refuse it.
        :param subject: the name that a server's certificate must be of; None for a client's.
        :return: the identity with its name, when the first certificate of its chain is over, and
            the keys of the authorities that verify it.
        :raises NotAuthorized: if the chain is none, not valid now (``NOT_VALID_NOW``), for
            another use, of no root, or revoked; or if that cannot be decided (``UNDECIDED``),
            since a root or a list of revoked certificates is out of date.
        """
        if identity.kind is not CredentialKind.X509:
            raise NotAuthorized(f"no X.509 certificate was proved, but {identity.kind.name}")
        about = f"the certificate of {identity.fingerprint}"
        try:
            chain = [x509.load_der_x509_certificate(der) for der in splitChain(identity.credential)]
            about += f" ({subjectOf(chain[0])})"
            checkChain(chain)
            now = self._now()
            _checkTimes(about, chain, now, subject is None)
            self._checkRoot(about, chain[-1], now)
            name = decide(chain[0])
            verified = self._verify(chain, now, subject)
            _checkSigns(chain[0])
            if self.lists is not None:
                self.lists.check(about, verified, now)
        except VerificationError as error:
            reason = str(error).removeprefix("validation failed: ")
            self._checkSigner(about, chain[-1], now)
            raise NotAuthorized(f"{about} is not verified: {plain(reason)}") from None
        except (CredentialError, RemoteProtocolError) as error:
            raise NotAuthorized(f"{about}: {error}") from None
        except UNREADABLE as error:
            raise NotAuthorized(f"{about} cannot be read: {plain(str(error))}") from None
        expires = min(each.not_valid_after_utc for each in chain)
        authorities = tuple(blobsOf(verified[1:]))
        return replace(identity, name=name, expires=expires.timestamp(), authorities=authorities)

    def _checkRoot(self, about: str, last: x509.Certificate, now: datetime) -> None:
        """Refuse a chain that can end at no root, or at none that is valid now."""
        roots = [root for root in self._roots if root.subject == last.issuer]
        if not roots:
            raise CredentialError(
                f"the chain ends with the issuer {nameText(last.issuer)}, which is not among the "
                f"roots {self._where}; or an intermediate certificate is missing"
            )
        if not any(_isValid(root, now) for root in roots):
            raise self._outOfDate(about, last, now)

    def _checkSigner(self, about: str, last: x509.Certificate, now: datetime) -> None:
        """Say that it cannot be decided if a root that has signed a chain is not valid now."""
        for root in self._roots:
            if root.subject == last.issuer and not _isValid(root, now) and _hasSigned(root, last):
                raise self._outOfDate(about, last, now)

    def _outOfDate(self, about: str, last: x509.Certificate, now: datetime) -> NotAuthorized:
        return undecided(
            about, f"the root {nameText(last.issuer)} {self._where} is not valid now, {date(now)}"
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


def _isValid(root: x509.Certificate, now: datetime) -> bool:
    return root.not_valid_before_utc <= now <= root.not_valid_after_utc


def _hasSigned(root: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(root)
    except (InvalidSignature, *UNREADABLE):
        return False
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


def _checkTimes(
    about: str, chain: Iterable[x509.Certificate], now: datetime, ofThing: bool
) -> None:
    """Refuse a chain before or after the time of any of its certificates."""
    for number, certificate in enumerate(chain, 1):
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        which, shown = f"{about}: certificate {number}", f", and now is {date(now)}"
        if now < begins:
            raise tooEarly(f"{which} is not valid before {date(begins)}{shown}")
        if now > ends:
            raise tooLate(f"{which} expired at {date(ends)}{shown}", ofThing)


def _checkSigns(leaf: x509.Certificate) -> None:
    """Refuse a leaf whose key is for something else than signatures (RFC 8446, 4.4.2.2)."""
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.digital_signature:
        raise CredentialError("its key usage does not permit signatures")
