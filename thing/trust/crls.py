"""
Lists of revoked certificates (CRLs): which of a file's count now, and what they say.

Whether a certificate is believed besides is not said here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise

from cryptography import x509

from thing.errors import CredentialError
from thing.trust.slices import Slices, eachOf
from thing.trust.validity import undecided
from thing.trust.x509text import UNREADABLE, date, nameText, subjectOf

SERIALS = 4096
"""How many revoked certificates of a list are read in a slice."""

_LIST = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


class RevocationLists:
    """
    The lists in a file.

    One whose time has not begun, by our clock, does not count yet: whoever signs lists may have
    a clock that is a little ahead. Until then the lists of its issuer that were read before
    count.

    :param path: the file, for what is told.
    :param lists: what it has.
    :param now: the time.
    :param before: what the file came to before.
    """

    def __init__(
        self,
        path: str,
        lists: list[RevocationList],
        now: datetime,
        before: RevocationLists | None = None,
    ) -> None:
        self.path = path
        self._lists = lists
        known: list[RevocationList] = [] if before is None else before._lists + before._earlier
        pending = {each.issuer for each in self._lists if now < each.begins}
        # By what is signed: the same list may have been read again and again.
        self._earlier: list[RevocationList] = list(
            {
                each.signature: each
                for each in known
                if each.issuer in pending and each.begins <= now
            }.values()
        )

    def nextBegin(self, now: datetime) -> datetime | None:
        """
        Tell when another list begins to count.

        :param now: the time.
        :return: when; None if all do.
        """
        return min((each.begins for each in self._lists if now < each.begins), default=None)

    def troubles(self, now: datetime) -> list[str]:
        """
        Tell what is wrong with the lists.

        :param now: the time.
        :return: a line for each list that is not valid now; always the same for the same list.
        """
        return [
            f"the list of revoked certificates of {nameText(each.issuer)} in {self.path} "
            f"{each.span}: " + ("it is not used yet" if now < each.begins else "it is out of date")
            for each in self._lists
            if not each.begins <= now <= each.ends
        ]

    def check(self, about: str, path: list[x509.Certificate], now: datetime) -> None:
        """
        Refuse a path with a certificate that is revoked, or of which that is not known.

        :param about: whose path it is, for this side's log.
        :param path: the certificates from the leaf to a root, verified.
        :param now: the time.
        :raises CredentialError: if one is revoked.
        :raises NotAuthorized: ``UNDECIDED`` if a list is missing, or not valid now.
        """
        for certificate, issuer in pairwise(path):
            for each in self._listsOf(issuer, now):
                if certificate.serial_number in each.serials:
                    raise CredentialError(
                        f"THE CERTIFICATE OF {subjectOf(certificate)} IS REVOKED: "
                        f"serial number {certificate.serial_number:x} is in the list "
                        f"of {subjectOf(issuer)} in {self.path}"
                    )
        for issuer in path[1:]:
            of = f"of {subjectOf(issuer)} in {self.path}"
            lists = self._listsOf(issuer, now)
            if not lists:
                raise undecided(about, f"no list of revoked certificates {of}")
            for each in lists:
                if not each.begins <= now <= each.ends:
                    raise undecided(
                        about,
                        f"the list of revoked certificates {of} {each.span}, "
                        f"and now is {date(now)}",
                    )

    def _listsOf(self, issuer: x509.Certificate, now: datetime) -> list[RevocationList]:
        """The lists of an issuer that count now; if there is none, those that do not count yet."""
        lists = [each for each in self._lists if each.isOf(issuer)]
        begun = [each for each in lists if each.begins <= now]
        if lists and not begun:
            begun = [each for each in self._earlier if each.isOf(issuer)]
        return begun or lists


class RevocationList:
    """One issuer's list of revoked certificates; it counts once it is read."""

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
        self.serials: set[int] = set()
        self.signature = crl.signature
        self._crl = crl
        self._signer: object = None

    def read(self) -> Slices[None]:
        """
        Read what it has.

        :return: the slices.
        """
        return eachOf(self._crl, lambda each: self.serials.add(each.serial_number), SERIALS)

    @property
    def span(self) -> str:
        """What it is for, in words."""
        return f"is for {date(self.begins)} to {date(self.ends)}"

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


def readLists(
    path: str, content: bytes, roots: Iterable[x509.Certificate]
) -> Slices[list[RevocationList]]:
    """
    Read the lists in a file.

    :param path: the file, for errors.
    :param content: what it holds, PEM.
    :param roots: the roots that are believed; lists of theirs must be signed by them.
    :return: the slices, which come to the lists. The encoding of a list is read at once.
    :raises CredentialError: if the file is not understood, or has no list.
    """
    lists = []
    for number, pem in enumerate(_LIST.findall(content), 1):
        about = f"{path}: list {number}"
        try:
            found = RevocationList(x509.load_pem_x509_crl(pem))
            yield from found.read()
            issuers = [root for root in roots if root.subject == found.issuer]
            if issuers and not any(map(found.isOf, issuers)):
                raise CredentialError(f"it is not signed by {nameText(found.issuer)}")
        except CredentialError as error:
            raise CredentialError(f"{about}: {error}") from None
        except UNREADABLE:
            raise CredentialError(f"{about} is damaged") from None
        lists.append(found)
    if not lists:
        raise CredentialError(f"{path} holds no list of revoked certificates in PEM")
    return lists
