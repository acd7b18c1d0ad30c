"""
Trust by pre-shared keys, for things that are too small for public ones.

Specification, "Pre-shared keys". The files have one ``identity:key`` in each
line, the key in hexadecimal, as mosquitto's ``psk_file`` and GnuTLS's
``psktool`` have it.
"""

from __future__ import annotations

import binascii
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from zope.interface import implementer

from thing.arguments import checkKind
from thing.core.credentials import Unsigned
from thing.core.preshared import MIN_KEY
from thing.errors import CredentialError, NotAuthorized
from thing.identity import CredentialKind, Identity
from thing.text import isName
from thing.trust.files import MAX_FILE, StrPath, readFile
from thing.trust.interfaces import (
    IServerAuthorizer,
    IThingAuthorizer,
    ServerIdentity,
    ThingIdentity,
)
from thing.trust.lines import eachLine
from thing.trust.slices import Slices, atOnce

IDENTITY_SIZES = range(1, 129)
"""How many octets an identity may have."""

KEY_SIZES = range(MIN_KEY, 65)
"""How many octets a key may have: at least the 128 bits of RFC 9257, section 6."""


@dataclass(frozen=True, slots=True)
class PresharedKey(Unsigned):
    """
    A key that this side shares with one peer; it is what a client authenticates with.

    Whoever has it can be either side of a handshake, and a key that can be
    guessed is soon had: draw it at random, and give each thing its own.

    :raises CredentialError: if the identity or the key cannot be one.
    """

    identity: bytes
    """What the key is called, which anybody may read: printable UTF-8, 1 to 128 octets."""

    key: bytes = field(repr=False)
    """The secret, 16 to 64 octets."""

    def __post_init__(self) -> None:
        """
        :raises TypeError: if they are not bytes.
        :raises CredentialError: if the identity or the key cannot be one.
        """
        checkKind("identity", self.identity, bytes, "bytes")
        checkKind("key", self.key, bytes, "bytes, 16 to 64 of them")
        _checkIdentity(self.identity)
        if len(self.key) < KEY_SIZES.start:
            raise CredentialError(
                f"the key has {len(self.key)} octets, but of fewer than {KEY_SIZES.start} "
                "it can be found by trying (RFC 9257)"
            )
        if len(self.key) not in KEY_SIZES:
            raise CredentialError(f"the key has more than {KEY_SIZES.stop - 1} octets")

    @classmethod
    def generate(cls, identity: bytes) -> PresharedKey:
        """
        Make a new key of 32 octets.

        :param identity: what it is to be called.
        :return: the key, which is in no file yet.
        :raises CredentialError: if the identity cannot be one.
        """
        return cls(identity, secrets.token_bytes(32))

    @classmethod
    def load(cls, path: StrPath) -> PresharedKey:
        """
        Read the file of a client, which holds its one key.

        :param path: the file, which nobody else may read.
        :return: the key.
        :raises CredentialError: if it cannot be read, is too open, or does not hold
            just one line ``identity:key``.
        """
        path = os.fspath(path)
        keys = atOnce(readKeys(path, readFile(path, MAX_FILE, private=True)))
        if len(keys) != 1:
            raise CredentialError(f"{path}: one key expected, not {len(keys)}")
        return cls(*next(iter(keys.items())))

    def secretLine(self) -> str:
        """
        Write the key as a line of the files; it holds the secret.

        :return: ``identity:key``, without a newline.
        """
        return f"{self.identity.decode()}:{self.key.hex()}"


class PresharedKeys(Mapping[bytes, bytes]):
    """
    The keys in a server's file, by identity; they are what ``settings.presharedKeys`` takes.

    Blank lines and comments mean nothing; any other line that is not
    understood is an error.

    :param path: the file, which nobody else may read; it is read now.
    :param keys: what it has, if it was read already.
    :raises CredentialError: as :meth:`reload` does.
    """

    def __init__(self, path: StrPath, keys: Mapping[bytes, bytes] | None = None) -> None:
        self.path = os.fspath(path)
        self._keys: Mapping[bytes, bytes]
        if keys is None:
            self.reload()
        else:
            self._keys = keys

    def reload(self) -> None:
        """
        Read the file again, all or nothing.

        :raises CredentialError: if it cannot be read or understood, is too open, or has two
            keys of one identity; then the last good reading stays in force.
        """
        self._keys = atOnce(readKeys(self.path, readFile(self.path, MAX_FILE, private=True)))

    def __getitem__(self, identity: bytes) -> bytes:
        return self._keys[identity]

    def get(self, identity: bytes, default: Any = None) -> Any:
        """
        Look a key up, as fast for an identity that is not known: strangers ask.

        :param identity: the identity.
        :param default: what to give if it is not known.
        :return: the key.
        """
        return self._keys.get(identity, default)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        """The file and how many keys, and nothing of any."""
        return f"<PresharedKeys {self.path}: {len(self)}>"


@implementer(IThingAuthorizer)
class PresharedThings:
    """
    Admits the things that have proved a pre-shared key, named by its identity.

    The keys are asked again here, so that a key that was taken away during the handshake
    admits nobody.

    :param keys: the keys, by identity; the same as in ``settings.presharedKeys``.
    """

    def __init__(self, keys: Mapping[bytes, bytes]) -> None:
        checkKind("keys", keys, Mapping, "a mapping of bytes to bytes, as PresharedKeys(path)")
        self.keys = keys

    def authorize(self, identity: ThingIdentity) -> Identity:
        """
        Admit a thing whose key is among the keys.

        :param identity: what the thing has proved.
        :return: the identity, named as the key is.
        :raises NotAuthorized: if it proved something else, or if the key is gone.
        """
        named = _named(identity)
        if identity.credential not in self.keys:
            # A mapping's repr might tell the keys.
            raise NotAuthorized(f"the pre-shared key {named.name} is not among ours")
        return named


@implementer(IServerAuthorizer)
class PresharedServer:
    """
    Believes the server that has proved our own pre-shared key.

    :param key: the key, which is also this client's credential.
    """

    def __init__(self, key: PresharedKey) -> None:
        checkKind("key", key, PresharedKey, "a PresharedKey")
        self.key = key

    def authorize(self, identity: ServerIdentity) -> Identity:
        """
        Admit the server that has the key.

        :param identity: what the server has proved.
        :return: the identity, named as the key is.
        :raises NotAuthorized: if it proved something else.
        """
        named = _named(identity)
        if identity.credential != self.key.identity:
            raise NotAuthorized(f"the server proved the pre-shared key {named.name}, not ours")
        return named


def _named(identity: Identity) -> Identity:
    """An identity with the name that its pre-shared key has; refuses one of another kind."""
    if identity.kind is not CredentialKind.PRESHARED:
        raise NotAuthorized(f"no pre-shared key was proved, but {identity.kind.name}")
    try:
        return replace(identity, name=_checkIdentity(identity.credential))
    except CredentialError as error:
        raise NotAuthorized(str(error)) from None


def _checkIdentity(identity: bytes) -> str:
    """What an identity reads, if it can be one that stands in a file."""
    if len(identity) not in IDENTITY_SIZES:
        raise CredentialError(
            f"the identity has {len(identity)} octets, not 1 to {IDENTITY_SIZES.stop - 1}"
        )
    try:
        text = identity.decode()
    except UnicodeDecodeError:
        raise CredentialError("the identity is not text") from None
    if not isName(text) or text.strip() != text or ":" in text or text.startswith("#"):
        raise CredentialError(
            "the identity is not printable, has a colon, or begins or ends as none can in a file"
        )
    return text


def readKeys(path: str, content: bytes) -> Slices[dict[bytes, bytes]]:
    """
    Read what a file of pre-shared keys holds; nothing of a line is told, as it may be a secret.

    :param path: the file, for errors.
    :param content: what it holds.
    :return: the slices, which come to the keys by identity.
    :raises CredentialError: if a line is not understood, or its identity stands twice.
    """
    keys: dict[bytes, bytes] = {}
    numbers: dict[bytes, int] = {}

    def take(number: int, text: str) -> None:
        fault, key = _parse(text)
        if key is not None and key.identity in numbers:
            fault = f"the identity is already in line {numbers[key.identity]}"
        if fault or key is None:
            raise CredentialError(f"{path}:{number}: {fault}")
        numbers[key.identity] = number
        keys[key.identity] = key.key

    yield from eachLine(path, content, take)
    return keys


def _parse(text: str) -> tuple[str, PresharedKey | None]:
    """
    What is wrong with a line, or the key in it.

    An answer, not an exception: one raised here would carry the decoder's as
    its context, and with it the secret.
    """
    identity, colon, encoded = text.partition(":")
    if not colon:
        return "not a line identity:key", None
    try:
        key = binascii.unhexlify(encoded)  # bytes.fromhex would skip blanks
    except ValueError:
        return "the key is not in hexadecimal", None
    try:
        return "", PresharedKey(identity.encode("utf-8", "surrogateescape"), key)
    except CredentialError as error:
        return str(error), None
