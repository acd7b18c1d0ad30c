"""
Raw Ed25519 keys in OpenSSH's formats (specification, "Credentials").

Private keys as ``ssh-keygen -t ed25519`` writes them, public keys and
fingerprints as ssh prints them.
"""

from __future__ import annotations

import base64
import os
import re
from contextlib import suppress

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from thing.core.credentials import SignatureScheme
from thing.errors import CredentialError, PassphraseNeeded
from thing.identity import CredentialKind, fingerprint, sshBlob
from thing.text import isName
from thing.trust.files import StrPath, createFile, readFile, sweepBeside
from thing.trust.lines import BYTE_ORDER_MARK, MAX_LINE, textLines

MAX_KEY_FILE = 64 * 1024
"""The most bytes that a private key file may hold; one of Ed25519 has about 400."""

ENCRYPTED = "is encrypted: a passphrase is needed"
"""What is wrong with a private key file whose passphrase is not known."""

MAX_NAME = 184
"""The most octets of UTF-8 in a name or a comment: with any service it fits a stream's label."""

KEY_TYPE = re.compile(r"(?:ssh|ecdsa|sk|webauthn)-[a-z0-9@.-]{1,64}(?![^ \t])")
"""The word that begins a public key in any of OpenSSH's files."""


class IdentityKey:
    """
    Our own private key; a :class:`~thing.core.credentials.Credential`.

    :param key: the private key.
    :ivar publicKey: the 32 raw bytes of the public key.
    """

    kind = CredentialKind.ED25519
    scheme = SignatureScheme.ED25519

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.publicKey = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @classmethod
    def generate(cls) -> IdentityKey:
        """
        Make a new key.

        :return: the key, which is in no file yet.
        """
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: StrPath, passphrase: bytes | None = None) -> IdentityKey:
        """
        Read an OpenSSH private key file.

        :param path: the file.
        :param passphrase: what it is encrypted with, if it is.
        :return: the key.
        :raises PassphraseNeeded: if it is encrypted, and no passphrase was given.
        :raises CredentialError: if it cannot be read, is too open, is not an
            Ed25519 private key, or does not decrypt.
        """
        path = os.fspath(path)
        key = _decode(readFile(path, MAX_KEY_FILE, private=True), passphrase)
        if isinstance(key, str):
            raise unusable(path, key)
        return cls(key)

    @classmethod
    def loadOrCreate(cls, path: StrPath, comment: str = "") -> IdentityKey:
        """
        Read an unencrypted key file; if there is none, create it first.

        Of processes that start at once, one creates the file and all use it. A public
        file that is missing is written, if that can be.

        :param path: the file.
        :param comment: what a new public line ends with.
        :return: the key.
        :raises CredentialError: as :meth:`load` and :meth:`save` do.
        """
        if not os.path.lexists(path):
            key = cls.generate()
            if key._store(os.fspath(path), None, comment):
                return key
        sweepBeside(path)  # Of two that made a key at once, one may have been killed.
        key = cls.load(path)
        with suppress(CredentialError):  # A key that is only to be read needs none.
            key.savePublic(path, comment)
        return key

    def save(self, path: StrPath, passphrase: bytes | None = None, comment: str = "") -> None:
        """
        Write the key to a new file, and its public line to ``path`` + ``.pub``.

        The private file never holds the comment, and has mode 0600 from its
        first byte. No existing file is overwritten.

        :param path: the file of the private key.
        :param passphrase: what to encrypt it with; ``None`` for not at all.
        :param comment: what the public line ends with.
        :raises CredentialError: if a file exists already or cannot be written,
            or if the passphrase or the comment cannot be used.
        """
        if not self._store(os.fspath(path), passphrase, comment):
            raise CredentialError(f"{path} exists already and is not overwritten")

    def _store(self, path: str, passphrase: bytes | None, comment: str) -> bool:
        """Write both files, unless the private one exists: that is for the caller to judge."""
        checkName(comment)
        public = path + ".pub"
        # The private file comes first, so a public one alone is not of a race.
        if os.path.lexists(public) and not os.path.lexists(path):
            raise CredentialError(f"{public} exists, but {path} does not: move it away")
        if not createFile(path, self._encode(passphrase), 0o600):
            return False
        self.savePublic(path, comment)
        return True

    def savePublic(self, path: StrPath, comment: str = "") -> None:
        """
        Write the key's public line to ``path`` + ``.pub``, unless it is there already.

        So a key gets it whose writer was killed in between, or found the disk full.

        :param path: the file of the private key.
        :param comment: what the line ends with.
        :raises CredentialError: if the file cannot be written, if that of another key
            is there, or if the comment cannot be used.
        """
        public = os.fspath(path) + ".pub"
        line = self.publicLine(comment) + "\n"
        if not os.path.lexists(public) and createFile(public, line.encode(), 0o644):
            return
        if loadPublicKey(public) != self.publicKey:
            raise CredentialError(f"{public} exists already, but is not that of {path}")

    def _encode(self, passphrase: bytes | None) -> bytes:
        """The content of the private key file."""
        encryption = NoEncryption() if passphrase is None else _encryption(passphrase)
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption)

    @property
    def data(self) -> bytes:
        """The public key, as SCC and CCC carry it."""
        return self.publicKey

    @property
    def fingerprint(self) -> str:
        """The public key's fingerprint as ssh prints it (``SHA256:...``)."""
        return fingerprint(self.publicKey)

    def publicLine(self, comment: str = "") -> str:
        """
        The public key as a line of a ``.pub`` file, without the newline.

        :param comment: what the line ends with.
        :return: the line.
        :raises CredentialError: if the comment is not printable or too long.
        """
        return formatPublicKey(self.publicKey, comment)

    def sign(self, content: bytes) -> bytes:
        """
        Sign ``content``.

        :param content: the bytes to sign.
        :return: the signature, 64 bytes.
        """
        return self._key.sign(content)

    def __repr__(self) -> str:
        """The fingerprint, and nothing of the private key."""
        return f"<IdentityKey {self.fingerprint}>"


def unusable(path: str, fault: str) -> CredentialError:
    """
    Say that a private key cannot be used.

    :param path: its file.
    :param fault: what is wrong with it.
    :return: what to raise.
    """
    error = PassphraseNeeded if fault == ENCRYPTED else CredentialError
    return error(f"{path} {fault}")


def _encryption(passphrase: bytes) -> BestAvailableEncryption:
    """How to encrypt a key file; an empty passphrase must not mean not at all."""
    if not 0 < len(passphrase) < 1024:  # the most that the format's writers take
        raise CredentialError("a passphrase has 1 to 1023 bytes")
    return BestAvailableEncryption(passphrase)


def _decode(content: bytes, passphrase: bytes | None) -> Ed25519PrivateKey | str:
    """
    The key in a file, or what is wrong with the file.

    An answer, not an exception: one raised here would carry those of the
    decoder as its context, and with them secrets.
    """
    if content.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        return "is a public key; the private one is needed"
    if not content:
        return "is empty: move it away, and a new key can be made"
    if b"-----BEGIN OPENSSH PRIVATE KEY-----" not in content:
        return "is not an OpenSSH private key, as ssh-keygen -t ed25519 writes it"
    try:
        key = load_ssh_private_key(content, passphrase)
    except TypeError:
        if passphrase:
            return "is not encrypted, but a passphrase was given"
        return ENCRYPTED
    except UnsupportedAlgorithm:
        return "has a cipher or a type of key that is not supported"
    except (ValueError, InvalidTag):
        if passphrase:
            return "does not decrypt: the passphrase is wrong or the file is damaged"
        return "is damaged"
    if not isinstance(key, Ed25519PrivateKey):
        return "has a key of another type than Ed25519"
    return key


def checkName(text: str) -> str:
    """
    Check a thing's name, or a comment, which may become one.

    :param text: the name.
    :return: the same.
    :raises CredentialError: if it is not printable or is longer than
        :data:`MAX_NAME` octets in UTF-8.
    """
    if not isName(text):
        raise CredentialError("a name or comment has characters that are not printable")
    if len(text.encode()) > MAX_NAME:
        raise CredentialError(f"a name or comment has more than {MAX_NAME} octets in UTF-8")
    return text


def formatPublicKey(publicKey: bytes, comment: str = "") -> str:
    """
    Write a public key as OpenSSH's files have it.

    :param publicKey: the 32 raw bytes.
    :param comment: what the line ends with.
    :return: ``ssh-ed25519 AAAA... comment``, without a newline.
    :raises CredentialError: if the comment is not printable or too long.
    """
    encoded = base64.b64encode(sshBlob(publicKey)).decode("ascii")
    return f"ssh-ed25519 {encoded} {checkName(comment)}".rstrip(" ")


def readPassphrase(path: StrPath) -> bytes:
    """
    Read a passphrase: the first line of a file that nobody else may read.

    :param path: the file.
    :return: the passphrase.
    :raises CredentialError: if the file cannot be read, is too open or holds none.
    """
    content = readFile(path, MAX_LINE, private=True).removeprefix(BYTE_ORDER_MARK)
    passphrase = content.split(b"\n")[0].rstrip(b"\r")
    if not passphrase:
        raise CredentialError(f"{os.fspath(path)} holds no passphrase")
    return passphrase


def parsePublicKey(text: str) -> bytes:
    """
    Read one line of a file of public keys, as ``ssh-ed25519 AAAA… comment``.

    :param text: the line.
    :return: the 32 raw bytes of the key.
    :raises CredentialError: if it is not such a line; the message quotes none of
        it but a type of key, since anything might be in the wrong file.
    """
    fields = re.split(r"[ \t]+", text.strip(" \t\r\n"), maxsplit=2)
    if fields[0] != "ssh-ed25519":
        if KEY_TYPE.fullmatch(fields[0]):
            raise CredentialError(f"a key of type {fields[0]}, but only ssh-ed25519 is understood")
        raise CredentialError("not a public key line: ssh-ed25519 AAAA... comment")
    try:
        blob = base64.b64decode("".join(fields[1:2]), validate=True)
    except ValueError:
        blob = b""
    key = blob[-32:]
    if "\n" in text.strip() or " ".join(fields[:2]) != formatPublicKey(key):
        raise CredentialError("the public key is damaged")
    return key


def loadPublicKey(path: StrPath) -> bytes:
    """
    Read a public key file, such as ``ssh-keygen`` writes beside the private one.

    :param path: the file.
    :return: the 32 raw bytes of the key.
    :raises CredentialError: if it cannot be read or does not hold just one
        Ed25519 public key.
    """
    lines = list(textLines(path, readFile(path, MAX_KEY_FILE)))
    if len(lines) != 1:
        raise CredentialError(f"{path}: one public key line expected, not {len(lines)} lines")
    number, text = lines[0]
    try:
        return parsePublicKey(text)
    except CredentialError as error:
        raise CredentialError(f"{path}:{number}: {error}") from None


def parseFingerprint(text: str) -> str:
    """
    Check a fingerprint, as ``ssh-keygen -l`` prints it.

    :param text: ``SHA256:`` and 43 characters of base64; space around it and
        the base64's padding are dropped.
    :return: the fingerprint, to compare with
        :attr:`~thing.identity.Identity.fingerprint`.
    :raises CredentialError: if it is none.
    """
    match = re.fullmatch(r"\s*SHA256:([A-Za-z0-9+/]{43})=?\s*", text)
    # The last character holds four bits of the hash; two must be zero.
    if match is None or match[1][-1] not in "AEIMQUYcgkosw048":
        raise CredentialError(f"not a fingerprint: {text[:80]!r}; one is SHA256:<43 characters>")
    return f"SHA256:{match[1]}"
