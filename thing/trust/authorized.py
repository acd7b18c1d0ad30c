"""Which clients a server admits: those in a file of the authorized_keys kind, or anyone."""

from __future__ import annotations

import os
import re
from dataclasses import replace

from zope.interface import implementer

from thing.errors import CredentialError, NotAuthorized
from thing.identity import CredentialKind, Identity
from thing.trust.files import MAX_FILE, StrPath, readFile, textLines
from thing.trust.interfaces import IAuthorizer
from thing.trust.keys import KEY_TYPE, checkName, formatPublicKey, parsePublicKey

_OPTION = re.compile(
    r"""
    (?P<option> [A-Za-z0-9-]{1,64} )
    (?: =" (?P<value> (?: \\" | \\(?!") | [^"\\] )* ) " )?  # as in sshd, \" is a quote
    (?P<end> , | [ \t]+ )
    """,
    re.VERBOSE,
)


@implementer(IAuthorizer)
class Anyone:
    """Admits whoever proves any key, nameless; and who proves none, if the settings let it."""

    def authorize(self, identity: Identity) -> Identity:
        """
        Admit a peer.

        :param identity: what the peer has proved.
        :return: the same.
        """
        return identity


@implementer(IAuthorizer)
class AuthorizedThings:
    """
    Admits the keys that are in a file, and knows things by the names there.

    A line is ``[options] ssh-ed25519 AAAA... [comment]``. The only option is
    ``name="..."``; without it the comment is the thing's name, and without
    either the thing has none. A key stands once; a name may stand on two
    lines, so that a thing can change its key. Any line that is not understood
    is an error: to skip it could be to skip a restriction.

    :param path: the file; it is read now.
    :raises CredentialError: if the file cannot be read or understood.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = os.fspath(path)
        self.reload()

    def reload(self) -> None:
        """
        Read the file again, all or nothing.

        :raises CredentialError: if it cannot be read or understood; then the
            keys of the last good reading stay in force.
        """
        self._names = _parse(self.path, readFile(self.path, MAX_FILE))

    @property
    def count(self) -> int:
        """How many keys are admitted."""
        return len(self._names)

    def authorize(self, identity: Identity) -> Identity:
        """
        Admit a client whose key is in the file, or one without a key, if the settings let it.

        :param identity: what the client has proved.
        :return: the identity with the name that the file gives it.
        :raises NotAuthorized: if the key is not in the file.
        """
        if identity.anonymous:
            return identity
        key = identity.publicKey
        if identity.kind is not CredentialKind.ED25519 or key not in self._names:
            raise NotAuthorized(
                f"{identity.fingerprint} is not in {self.path}; "
                f"to admit it, add the line: {formatPublicKey(key, 'NAME')}"
            )
        return replace(identity, name=self._names[key])


def _parse(path: str, content: bytes) -> dict[bytes, str | None]:
    """The names of the keys in a file, by raw key."""
    names: dict[bytes, str | None] = {}
    numbers: dict[bytes, int] = {}
    for number, text in textLines(path, content):
        try:
            key, name = _parseLine(text)
            if key in numbers:
                raise CredentialError(f"the key is already in line {numbers[key]}")
        except CredentialError as error:
            raise CredentialError(f"{path}:{number}: {error}") from None
        numbers[key] = number
        names[key] = name
    return names


def _parseLine(text: str) -> tuple[bytes, str | None]:
    """The key and the name in a line."""
    name, text = (None, text) if KEY_TYPE.match(text) else _takeOptions(text)
    key = parsePublicKey(text)
    if name is None:
        name = "".join(re.split(r"[ \t]+", text, maxsplit=2)[2:])
    return key, checkName(name) or None


def _takeOptions(text: str) -> tuple[str | None, str]:
    """The name in a line's options, and what follows them."""
    if text.startswith("-----BEGIN"):
        raise CredentialError("this looks like a private key, and the public one is needed")
    name = None
    position = 0
    while match := _OPTION.match(text, position):
        if match["option"].lower() != "name":
            raise CredentialError(f"the option {match['option']} is not understood")
        if name is not None or not match["value"]:
            raise CredentialError('the option name stands once, as name="..."')
        name = match["value"].replace('\\"', '"')
        position = match.end()
        if match["end"] != ",":
            return name, text[position:]
    raise CredentialError('neither a public key nor name="..." and a public key')
