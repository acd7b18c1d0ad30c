"""
What TLS to a registry needs of files: the authorities to believe, and this node's certificate.

They are read anew for each connection, since certificates are renewed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL.crypto import X509, PKey
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from thing.errors import CredentialError
from thing.fleet.redis.secretfile import SecretFile
from thing.trust.files import readFile

LONGEST_FILE = 1 << 20
"""How many octets a file of certificates may have."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files that there are."""

    ca: str = ""
    """The path of certificates of authorities to believe instead of the system's; or empty."""
    cert: str = ""
    """Of this node's certificate, and those of authorities between; empty if none is shown."""
    key: SecretFile | None = None
    """The private key of that, perhaps in the same file."""

    def optionsFor(self, host: str) -> Any:
        """
        Make what starts TLS.

        :param host: for whom the server's certificate must be.
        :return: the options, as Twisted's ``wrapClientTLS`` takes them.
        :raises CredentialError: if a file is of no use, in one line.
        """
        trust: Any = None
        if self.ca:
            wrap: Any = Certificate
            found = [wrap(X509.from_cryptography(each)) for each in _certificates(self.ca)]
            trust = trustRootFromCertificates(found)  # type: ignore[no-untyped-call]
        shown = {} if self.key is None else self._shown(self.key)
        return optionsForClientTLS(host, trustRoot=trust, extraCertificateOptions=shown)

    def _shown(self, file: SecretFile) -> dict[str, Any]:
        """This node's certificate and key, as Twisted's ``CertificateOptions`` takes them."""
        own, *others = _certificates(self.cert)
        try:
            key = load_pem_private_key(file.read(), None)
        except TypeError:
            raise CredentialError(f"{file.path}: its key must not be encrypted") from None
        except ValueError:
            raise CredentialError(f"{file.path}: it holds no private key") from None
        if key.public_key() != own.public_key():
            raise CredentialError(f"{file.path}: it is not the key of the one in {self.cert}")
        return {
            "privateKey": PKey.from_cryptography_key(key),  # type: ignore[arg-type]
            "certificate": X509.from_cryptography(own),
            "extraCertChain": [X509.from_cryptography(each) for each in others],
        }


def _certificates(path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(readFile(path, LONGEST_FILE))
    except ValueError:
        raise CredentialError(f"{path}: it holds no certificate") from None
