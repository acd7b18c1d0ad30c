"""
What certificates and lists of X.509 say, in words that are fit for the log.

Nothing is judged here.
"""

from __future__ import annotations

from datetime import datetime, timezone

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from thing.text import visible

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


def plain(text: str) -> str:
    """
    Make text of a stranger's fit for a line of the log.

    :param text: the text.
    :return: the same, printable and no longer than :data:`MAX_SHOWN` characters.
    """
    return visible(text[:MAX_SHOWN])


def subjectOf(certificate: x509.Certificate) -> str:
    """
    Whose certificate it says that it is.

    :param certificate: the certificate.
    :return: the subject in one printable line.
    """
    return nameText(certificate.subject)


def nameText(name: x509.Name) -> str:
    """
    Write the name of somebody.

    :param name: the name.
    :return: the same in one printable line.
    """
    return plain(name.rfc4514_string()) or "an empty name"


def date(moment: datetime) -> str:
    """
    Write a time.

    :param moment: the time.
    :return: the same as in ``2030-12-31T23:59:59Z``.
    """
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
