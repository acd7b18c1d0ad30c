"""
Trust by OpenSSH certificates: an authority's key signs the keys of things and servers.

A thing's key is certified by ``ssh-keygen -s ca -I ID -n NAME key.pub``, a
server's by the same with ``-h``. Each is believed as far as its certificate
says and no further: its kind, its time, its principals.
"""

from __future__ import annotations

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Generic, TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import SSHCertificate, SSHCertificateType
from zope.interface import implementer

from thing.core.credentials import (
    AUTHORITY_RSA_SIZES,
    SignatureScheme,
    isRsa,
    readSshCertificate,
)
from thing.core.messages import HANDSHAKE_LIMIT
from thing.errors import CredentialError, NotAuthorized, RemoteProtocolError
from thing.identity import CredentialKind, Identity
from thing.logger import Logger
from thing.trust.files import MAX_FILE, StrPath, readFile
from thing.trust.interfaces import (
    IRevocations,
    IServerAuthorizer,
    IThingAuthorizer,
    ServerIdentity,
    ThingIdentity,
)
from thing.trust.keys import KEY_TYPE, MAX_KEY_FILE, MAX_NAME, IdentityKey, checkName
from thing.trust.knownhosts import AUTHORITY, HostsFile
from thing.trust.lines import textLines
from thing.trust.revocation import RevokedKeys
from thing.trust.sshkeys import (
    blobFingerprint,
    blobOf,
    describeCertificate,
    keysOf,
    parseAnyKey,
    signerOf,
)
from thing.trust.validity import tooEarly, tooLate

MAX_CERTIFICATE = HANDSHAKE_LIMIT // 2
"""The longest certificate that we show, octets: a record of the handshake has more to carry."""

MAX_SHOWN = 8
"""How many of a certificate's principals a refusal names."""

_FOREVER = 2**64 - 1
"""The end of a certificate that has none (OpenSSH, PROTOCOL.certkeys)."""

_CERT_AUTHORITY = re.compile(r"cert-authority[ \t]+", re.IGNORECASE)


class CertifiedKey:
    """
    Our own private key and its certificate; a :class:`~thing.core.credentials.Credential`.

    :param key: the private key.
    :param certificate: the certificate's blob.
    :raises CredentialError: if it is not a certificate of that key, or is longer than
        :data:`MAX_CERTIFICATE`.
    :ivar isHost: whether the certificate is a host's, for a server, and not a user's,
        for a client.
    """

    kind = CredentialKind.SSH_CERTIFICATE
    scheme = SignatureScheme.ED25519

    def __init__(self, key: IdentityKey, certificate: bytes) -> None:
        if len(certificate) > MAX_CERTIFICATE:
            raise CredentialError(f"the certificate is longer than {MAX_CERTIFICATE} octets")
        try:
            parsed = readSshCertificate(certificate)
        except RemoteProtocolError as error:
            raise CredentialError(f"the certificate is {error.detail}") from None
        if parsed.public_key().public_bytes_raw() != key.publicKey:  # type: ignore[union-attr]
            raise CredentialError(f"the certificate is not of the key {key.fingerprint}")
        self._key = key
        self.data = certificate
        self.isHost = parsed.type is SSHCertificateType.HOST

    @classmethod
    def load(
        cls,
        path: StrPath,
        certificatePath: StrPath | None = None,
        passphrase: bytes | None = None,
    ) -> CertifiedKey:
        """
        Read an OpenSSH private key file and its certificate.

        :param path: the file of the private key.
        :param certificatePath: the file of the certificate; by default, as ssh has it,
            ``path`` + ``-cert.pub``.
        :param passphrase: what the private key is encrypted with, if it is.
        :return: the key with its certificate.
        :raises CredentialError: if one cannot be read, or if they are not of each other.
        """
        key = IdentityKey.load(path, passphrase)
        certificatePath = os.fspath(certificatePath or f"{os.fspath(path)}-cert.pub")
        lines = list(textLines(certificatePath, readFile(certificatePath, MAX_KEY_FILE)))
        try:
            if len(lines) != 1:
                raise CredentialError(f"one certificate expected, not {len(lines)} lines")
            found = parseAnyKey(lines[0][1])
            if not isinstance(found, SSHCertificate):
                raise CredentialError("not a certificate of an Ed25519 key")
            return cls(key, blobOf(found))
        except CredentialError as error:
            raise CredentialError(f"{certificatePath}: {error}") from None

    @property
    def publicKey(self) -> bytes:
        """The 32 raw bytes of the public key."""
        return self._key.publicKey

    @property
    def fingerprint(self) -> str:
        """The public key's fingerprint as ssh prints it (``SHA256:...``)."""
        return self._key.fingerprint

    def sign(self, content: bytes) -> bytes:
        """
        Sign ``content``.

        :param content: the bytes to sign.
        :return: the signature, 64 bytes.
        """
        return self._key.sign(content)

    def __repr__(self) -> str:
        """The fingerprint, and nothing of the private key."""
        return f"<CertifiedKey {self.fingerprint}>"


P = TypeVar("P", bound=Identity)


class _Certified(ABC, Generic[P]):
    """What is judged alike about the certificates of things and of servers."""

    _type: SSHCertificateType

    def __init__(
        self, path: StrPath, revoked: RevokedKeys | None, wallClock: Callable[[], float]
    ) -> None:
        self.path = os.fspath(path)
        self.revoked = revoked
        self._wallClock = wallClock
        self._authorities = self._read()

    def reload(self) -> None:
        """
        Read the authorities and the revoked keys again, all or nothing.

        :raises CredentialError: if a file cannot be read or understood; then
            the last good reading stays in force.
        """
        authorities = self._read()
        if self.revoked is not None:
            self.revoked.reload()
        self._authorities = authorities

    def authorize(self, identity: P) -> Identity:
        """
        Admit a peer whose certificate an authority has signed, and that is valid now.

        :param identity: what the peer has proved.
        :return: the same, with a name that the certificate gives it, and its end.
        :raises NotAuthorized: if the peer has no certificate, or is not admitted by it.
        """
        if identity.kind is not CredentialKind.SSH_CERTIFICATE:
            raise NotAuthorized(f"no OpenSSH certificate was proved, but {identity.kind.name}")
        about = f"the certificate of {identity.fingerprint}"
        try:
            certificate = readSshCertificate(identity.credential)
            self._checkSigner(certificate, identity.credential)
            # Only now is the certificate's content anybody's word.
            about = describeCertificate(identity.fingerprint, certificate)
            self._checkUse(certificate)
            self._checkRevoked(identity)
            name = self._nameAmong(_principalsOf(certificate))
            self._checkTime(about, certificate)
        except (CredentialError, RemoteProtocolError) as error:
            raise NotAuthorized(f"{about}: {error}") from None
        ends = None if certificate.valid_before == _FOREVER else float(certificate.valid_before)
        return replace(identity, name=name, expires=ends)

    def _read(self) -> set[bytes]:
        """The authorities in the file, of which there must be one."""
        authorities: set[bytes] = set()
        self._readLines(authorities, readFile(self.path, MAX_FILE))
        if not authorities:
            raise CredentialError(f"{self.path} has no authority, so nobody could be believed")
        return authorities

    @abstractmethod
    def _readLines(self, authorities: set[bytes], content: bytes) -> None:
        """Note what the file says of authorities."""

    @abstractmethod
    def _nameAmong(self, principals: list[str]) -> str:
        """The name that the principals give the peer; refuses if none does."""

    def _checkSigner(self, certificate: SSHCertificate, blob: bytes) -> None:
        """Refuse what none of the authorities has signed."""
        authority, algorithm = signerOf(blob)
        if authority not in self._authorities:
            raise CredentialError(
                f"it is signed by {blobFingerprint(authority)}, no authority in {self.path}"
            )
        if algorithm == b"ssh-rsa":
            raise CredentialError("its signature is made with SHA-1, which proves nothing")
        try:
            certificate.verify_cert_signature()
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            raise CredentialError(
                f"the signature of {blobFingerprint(authority)} does not verify"
            ) from None

    def _checkUse(self, certificate: SSHCertificate) -> None:
        """Refuse a certificate for something else, or on terms not known."""
        if certificate.type is not self._type:
            found, wanted = certificate.type.name.lower(), self._type.name.lower()
            raise CredentialError(f"it is a {found} certificate, but a {wanted} certificate is due")
        for option in certificate.critical_options:
            shown = option.decode("utf-8", "backslashreplace")[:MAX_NAME]
            raise CredentialError(f"its critical option {shown!a} is not understood")

    def _checkTime(self, about: str, certificate: SSHCertificate) -> None:
        """Refuse a certificate for another time."""
        now, begins, ends = self._wallClock(), certificate.valid_after, certificate.valid_before
        if now < begins:
            raise tooEarly(f"{about}: it is not valid before {_date(begins)}")
        if now >= ends:
            ofThing = self._type is SSHCertificateType.USER
            raise tooLate(f"{about}: it expired at {_date(ends)}", ofThing)

    def _checkRevoked(self, identity: Identity) -> None:
        """Refuse what is revoked."""
        if self.revoked is not None and (why := self.revoked.whyRevoked(identity)):
            raise CredentialError(why)


@implementer(IThingAuthorizer)
class CertifiedThings(_Certified[ThingIdentity]):
    """
    Admits the things whose user certificate an authority has signed, by its principals.

    The file of authorities has one public key in each line, as sshd's
    ``TrustedUserCAKeys``, or ``cert-authority`` and a public key in each line,
    as authorized_keys; not both, since in the latter a key by itself is that of
    a thing. A certificate without principals, which to ssh may mean all of
    them, is refused, and so is one with any critical option: none is
    understood here.

    :param authorities: the file; it is read now.
    :param revoked: what is believed no longer; it is read again with the file.
    :param principals: names or patterns with ``*`` and ``?``, one of which a
        principal must match; the thing has the name of the first that does. By
        default it has the name of its first principal.
    :param wallClock: tells the time, seconds since 1970.
    :raises CredentialError: if the file cannot be read or understood, or if it
        has no authority.
    """

    _type = SSHCertificateType.USER

    def __init__(
        self,
        authorities: StrPath,
        revoked: RevokedKeys | None = None,
        principals: Iterable[str] | None = None,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(principals, str):  # Its letters would be patterns, and "*" one of them.
            principals = [principals]
        self.principals = ("*",) if principals is None else tuple(principals)
        if not self.principals:
            raise CredentialError("no principal is given, so nobody could be admitted")
        super().__init__(authorities, revoked, wallClock)

    def _readLines(self, authorities: set[bytes], content: bytes) -> None:
        marked: set[bool] = set()
        for number, text in textLines(self.path, content):
            option = _CERT_AUTHORITY.match(text)
            marked.add(option is not None)
            with _told(self.path, number):
                if option is None and not KEY_TYPE.match(text):
                    raise CredentialError(
                        "neither a public key nor just cert-authority and a public key"
                    )
                authorities.add(_parseAuthority(text[option.end() :] if option else text))
                if len(marked) > 1:
                    raise CredentialError("cert-authority stands in some lines, but not in all")

    def _nameAmong(self, principals: list[str]) -> str:
        for name in principals:
            # In ssh's patterns a bracket is just a bracket.
            if any(fnmatchcase(name, each.replace("[", "[[]")) for each in self.principals):
                return name
        raise CredentialError(f"none of its principals is admitted here: {_list(principals)}")


@implementer(IServerAuthorizer, IRevocations)
class CertifiedServers(_Certified[ServerIdentity]):
    """
    Believes a server whose host certificate an authority has signed for the host's name.

    The file of authorities is of ssh's known_hosts format, where lines
    ``@cert-authority HOSTS KEY`` and ``@revoked HOSTS KEY`` count and others
    are ssh's own, or has one public key in each line. The host stands there
    by itself or as ``[host]:port``. A line that is damaged is skipped, with a
    warning; but one that revokes for this host, so that nobody knows what,
    has it refused, and a key alone is an error. What is revoked is read at
    each decision, so that it needs no restart. A principal must be the
    host's very name or address, whatever the case of its letters: patterns in
    certificates mean nothing.

    :param authorities: the file; it is read now.
    :param host: the host name or address that the client connects to; a server
        has this name.
    :param revoked: what is believed no longer; it is read again with the file.
    :param wallClock: tells the time, seconds since 1970.
    :param port: the port that the client connects to, if it is known.
    :raises CredentialError: if the host cannot be one, if the file cannot be
        read or understood, or if it has no authority for the host.
    """

    _log = Logger()
    _type = SSHCertificateType.HOST

    def __init__(
        self,
        authorities: StrPath,
        host: str,
        revoked: RevokedKeys | None = None,
        wallClock: Callable[[], float] = time.time,
        port: int | None = None,
    ) -> None:
        if not re.fullmatch(r"[\w.:%-]+", host):
            raise CredentialError(f"not a host: {host!r}")
        self.host = host.lower()
        names = [self.host] if port is None else [self.host, f"[{self.host}]:{port}"]
        self._hosts = HostsFile(os.fspath(authorities), names, self._warn)
        super().__init__(authorities, revoked, wallClock)

    def _warn(self, text: str) -> None:
        self._log.warn("{text}", text=text)

    def whyRevoked(self, identity: Identity) -> str | None:
        """
        Say which key of a server's is marked as revoked, whatever it has proved.

        :param identity: what the server has proved.
        :return: one line for this side's log; nothing if none is.
        """
        try:
            lines = self._hosts.linesIn(readFile(self.path, MAX_FILE))
        except CredentialError as error:
            return str(error)
        return self._hosts.whyRevoked(lines, keysOf(identity))

    def _checkRevoked(self, identity: Identity) -> None:
        if why := self.whyRevoked(identity):
            raise CredentialError(why)
        super()._checkRevoked(identity)

    def _readLines(self, authorities: set[bytes], content: bytes) -> None:
        for line in self._hosts.linesIn(content):
            if not line.hosts or (line.marker == AUTHORITY and line.key is not None):
                with _told(self.path, line.number):
                    authorities.add(_parseAuthority(line.text))

    def _nameAmong(self, principals: list[str]) -> str:
        if self.host not in (principal.lower() for principal in principals):
            raise CredentialError(f"it is not for {self.host}, but for {_list(principals)}")
        return self.host


@contextmanager
def _told(path: str, number: int) -> Iterator[None]:
    """Say where what is wrong stands."""
    try:
        yield
    except CredentialError as error:
        raise CredentialError(f"{path}:{number}: {error}") from None


def _parseAuthority(text: str) -> bytes:
    """The key of an authority in a line, as ssh encodes it."""
    key = parseAnyKey(text)
    if key is None:
        raise CredentialError("an authority's key must be Ed25519, ECDSA or RSA")
    if isinstance(key, SSHCertificate):
        raise CredentialError("a certificate, but an authority's plain key is needed")
    if isinstance(key, RSAPublicKey) and not isRsa(key, AUTHORITY_RSA_SIZES):
        raise CredentialError(
            "an authority's RSA key that is not of 2048 to 8192 bits "
            "with a public exponent below 2^33"
        )
    return blobOf(key)


def _principalsOf(certificate: SSHCertificate) -> list[str]:
    """The names in a certificate, of which there must be one."""
    names = []
    for principal in certificate.valid_principals:
        try:
            names.append(checkName(principal.decode("utf-8")))
        except UnicodeDecodeError:
            raise CredentialError("a principal is not text") from None
    if not names or not all(names):
        raise CredentialError("it has no principal, or an empty one")
    return names


def _list(names: list[str]) -> str:
    """Some names, for the log."""
    return ", ".join(names[:MAX_SHOWN]) + (", ..." if len(names) > MAX_SHOWN else "")


def _date(seconds: int) -> str:
    """A time, for the log; the certificate's may be any number."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds} seconds after 1970"
