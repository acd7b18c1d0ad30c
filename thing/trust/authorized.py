"""
Which clients a server admits: those in a file of the authorized_keys kind, or anyone.

Certificates and shared secrets, which may admit others, are read elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from zope.interface import implementer

from thing.errors import CredentialError, NotAuthorized
from thing.identity import CredentialKind, Identity, Purpose
from thing.trust.files import MAX_FILE, StrPath, readFile
from thing.trust.interfaces import IThingAuthorizer, ThingIdentity
from thing.trust.keys import KEY_TYPE, checkName, formatPublicKey, parsePublicKey
from thing.trust.lines import eachLine
from thing.trust.permits import checkPermit
from thing.trust.slices import Slices, atOnce

_OPTION = re.compile(
    r"""
    (?P<option> [A-Za-z0-9-]{1,64} )
    (?: =" (?P<value> (?: \\" | \\(?!") | [^"\\] )* ) " )?  # as in sshd, \" is a quote
    (?P<end> , | [ \t]+ )
    """,
    re.VERBOSE,
)

_OPTIONS = ("name", "permit-reach")
_RAW = (CredentialKind.ED25519,)


class NotListed(NotAuthorized):
    """A key is in no line of the file: nothing else is said against it."""


@implementer(IThingAuthorizer)
class Anyone:
    """Admits whoever proves any key, nameless; and who proves none, if the settings let it."""

    def authorize(self, identity: ThingIdentity) -> Identity:
        """
        Admit a peer.

        :param identity: what the peer has proved.
        :return: the same.
        """
        return identity


@implementer(IThingAuthorizer)
class AuthorizedThings:
    """
    Admits the keys that are in a file, and knows things by the names there.

    A line is ``[options] ssh-ed25519 AAAA... [comment]``. The option
    ``name="..."`` gives the name; without it the comment is the thing's name, and
    without either the thing has none. ``permit-reach="THINGS:SERVICES"``, once or more,
    makes it the key of an operator, who may reach those
    (:mod:`thing.trust.permits`), and is no thing. A key stands once; a name may stand on
    two lines, so that a thing can change its key. Any line that is not understood
    is an error: to skip it could be to skip a restriction.

    :param path: the file; it is read now.
    :param listing: what it has, if it was read already.
    :raises CredentialError: if the file cannot be read or understood.
    :ivar listing: what it had when it was read last.
    """

    def __init__(self, path: StrPath, listing: Listing | None = None) -> None:
        self.path = os.fspath(path)
        self.listing: Listing
        if listing is None:
            self.reload()
        else:
            self.listing = listing

    def reload(self) -> None:
        """
        Read the file again, all or nothing.

        :raises CredentialError: if it cannot be read or understood; then the
            keys of the last good reading stay in force.
        """
        self.listing = atOnce(readListing(self.path, readFile(self.path, MAX_FILE)))

    @property
    def count(self) -> int:
        """How many keys are admitted."""
        return len(self.listing.lines)

    def authorize(self, identity: ThingIdentity) -> Identity:
        """
        Admit a client whose key is in the file, or one without a key, if the settings let it.

        :param identity: what the client has proved.
        :return: the identity with the name that the file gives it.
        :raises NotListed: if the key is not in the file.
        """
        if identity.anonymous:
            return identity
        line = self.lineOf(identity)
        if line is None:
            raise NotListed(
                f"{identity.fingerprint} is not in {self.path}; "
                f"to admit it, add the line: {formatPublicKey(identity.publicKey, 'NAME')}"
            )
        purpose = Purpose.OPERATOR if line.permits else Purpose.THING
        return replace(identity, name=line.name, purpose=purpose, permits=line.permits)

    def lineOf(self, identity: Identity) -> KeyLine | None:
        """
        Find what the file says of a key.

        :param identity: what its owner has proved.
        :return: what it says; None if the key is not there.
        """
        return self.listing.lines.get(identity.publicKey) if identity.kind in _RAW else None


@dataclass(frozen=True, slots=True)
class KeyLine:
    """What a line says of its key."""

    name: str | None
    """What the peer with the key is called."""

    permits: tuple[str, ...] = ()
    """What it may reach; an operator's key if there is anything."""

    number: int = field(default=0, compare=False)
    """Which line of the file it is, from one."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a file of authorized things had when it was read."""

    content: bytes = field(repr=False)
    """All of it."""

    lines: Mapping[bytes, KeyLine] = field(repr=False)
    """What it says of each key."""


def readListing(path: str, content: bytes, before: Listing | None = None) -> Slices[Listing]:
    """
    Read what a file of authorized things holds.

    :param path: the file, for errors.
    :param content: what it holds.
    :param before: what it had before: if it has just more lines, those alone are read.
    :return: the slices, which come to what it has.
    :raises CredentialError: if a line is not understood, or its key stands twice.
    """
    lines, start = {}, 0
    if before is not None and _continues(before.content, content):
        if len(content) == len(before.content):
            return before
        lines, start = dict(before.lines), len(before.content)

    def take(number: int, text: str) -> None:
        try:
            key, line = parseLine(text, number)
            if key in lines:
                raise CredentialError(f"the key is already in line {lines[key].number}")
        except CredentialError as error:
            raise CredentialError(f"{path}:{number}: {error}") from None
        lines[key] = line

    yield from eachLine(path, content, take, start)
    return Listing(content, lines)


def _continues(before: bytes, content: bytes) -> bool:
    """Whether a file has what it had before, and then perhaps more lines."""
    return content.startswith(before) and (before.endswith(b"\n") or len(before) == len(content))


def parseLine(text: str, number: int = 0) -> tuple[bytes, KeyLine]:
    """
    Read a line.

    :param text: the line, which is neither blank nor a comment.
    :param number: which line of a file it is, from one.
    :return: the key in it, and what is said of that.
    :raises CredentialError: if it is not understood.
    """
    options, text = ([], text) if KEY_TYPE.match(text) else _takeOptions(text)
    key = parsePublicKey(text)
    names = [value for option, value in options if option == "name"]
    if len(names) > 1:
        raise CredentialError("the option name stands once")
    name = names[0] if names else "".join(re.split(r"[ \t]+", text, maxsplit=2)[2:])
    permits = tuple(checkPermit(value) for option, value in options if option == "permit-reach")
    return key, KeyLine(checkName(name) or None, permits, number)


def _takeOptions(text: str) -> tuple[list[tuple[str, str]], str]:
    """A line's options, and what follows them."""
    if text.startswith("-----BEGIN"):
        raise CredentialError("this looks like a private key, and the public one is needed")
    options = []
    position = 0
    while match := _OPTION.match(text, position):
        option = match["option"].lower()
        if option not in _OPTIONS:
            raise CredentialError(f"the option {match['option']} is not understood")
        if not match["value"]:
            raise CredentialError(f'the option {option} has a value, as {option}="..."')
        options.append((option, match["value"].replace('\\"', '"')))
        position = match.end()
        if match["end"] != ",":
            return options, text[position:]
    raise CredentialError('neither a public key nor name="..." and a public key')
