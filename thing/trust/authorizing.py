"""
One more line in the file of authorized things, written by the server itself.

A line that is written so is like one by hand; the file is replaced as a whole, so that there is
the line, or none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from thing.errors import CredentialError
from thing.trust.authorized import KeyLine, Listing, parseLine, readListing
from thing.trust.files import MAX_FILE, LockedFile, StrPath, lockedFile, readFile
from thing.trust.invitations import NameTaken
from thing.trust.keys import formatPublicKey, parseFingerprint
from thing.trust.lines import MAX_LINE
from thing.trust.slices import atOnce


class KeyTaken(CredentialError):
    """A line of the file has the key already, and does not say the same of it."""


def checkThingName(name: str) -> str:
    """
    Check what a thing is to be called.

    :param name: the name.
    :return: the same.
    :raises CredentialError: if it cannot stand in the file, or reads as the fingerprint of a key,
        by which things are known that have no name.
    """
    _format(name, bytes(32), "")
    try:
        parseFingerprint(name)
    except CredentialError:
        return name
    raise CredentialError("no name of a thing: it is the fingerprint of a key")


def checkFree(
    path: StrPath,
    name: str,
    publicKey: bytes | None = None,
    replaces: bool = False,
    known: Listing | None = None,
) -> None:
    """
    Check that a thing can be added, and that the file can be written.

    :param path: the file of authorized things.
    :param name: what it will be called.
    :param publicKey: its key, 32 raw octets, if that is known.
    :param replaces: whether it takes the place of the things that are called so.
    :param known: what the file had a moment ago: what it has more is read, or all if it has less.
    :raises NameTaken: as for :func:`authorizeThing`.
    :raises KeyTaken: if the key stands there for something else.
    :raises FileLocked: if another process has locked the file.
    :raises CredentialError: if the name cannot stand in the file, or the file cannot be read,
        understood or written.
    """
    path = os.fspath(path)
    checkThingName(name)
    with _locked(path) as file:
        listing = atOnce(readListing(path, file.read(MAX_FILE), known))
        _replaced(path, listing, name, publicKey, replaces)


def authorizeThing(
    path: StrPath,
    name: str,
    publicKey: bytes,
    comment: str,
    replaces: bool = False,
    known: Listing | None = None,
) -> None:
    """
    Add a thing, at once and durably; one that is there already just so is not added again.

    :param path: the file of authorized things.
    :param name: what it is called.
    :param publicKey: its key, 32 raw octets.
    :param comment: what the line ends with.
    :param replaces: whether it takes the place of the things that are called so.
    :param known: as for :func:`checkFree`.
    :raises NameTaken: if another is called so, and is not to be replaced or is no thing.
    :raises KeyTaken: if the key stands there for something else.
    :raises FileLocked: if another process has locked the file.
    :raises CredentialError: if the name or the comment cannot stand in the file, or the file cannot
        be read, understood or written.
    """
    path = os.fspath(path)
    line = _format(name, publicKey, comment)
    with _locked(path) as file:
        content = file.read(MAX_FILE)
        listing = atOnce(readListing(path, content, known))
        replaced = _replaced(path, listing, name, publicKey, replaces)
        if replaced is not None:
            file.replace(_with(path, content, line, replaced))


@contextmanager
def _locked(path: str) -> Iterator[LockedFile]:
    readFile(path, MAX_FILE)  # One that is missing must not be made by locking it.
    with lockedFile(path) as file:
        yield file


def _replaced(
    path: str, listing: Listing, name: str, publicKey: bytes | None, replaces: bool
) -> set[int] | None:
    """The numbers of the lines that a new one replaces; None if it is there already."""
    said = None if publicKey is None else listing.lines.get(publicKey)
    if said == KeyLine(name):
        return None
    if said is not None:
        raise KeyTaken(f"{path}:{said.number} has the key already")
    others = [line for line in listing.lines.values() if line.name == name]
    for line in others:
        if line.permits:
            raise NameTaken(f"{path}:{line.number} has the name {name!r}, and is an operator's")
        if not replaces:
            raise NameTaken(f"{path}:{line.number} has the name {name!r} already")
    return {line.number for line in others}


def _with(path: str, content: bytes, line: str, replaced: set[int]) -> bytes:
    """The file with one more line, and without some."""
    kept = content
    if replaced:
        rows = content.split(b"\n")
        kept = b"\n".join(row for number, row in enumerate(rows, 1) if number not in replaced)
    if kept and not kept.endswith(b"\n"):
        kept += b"\n"
    changed = kept + line.encode() + b"\n"
    if len(changed) > MAX_FILE:
        raise CredentialError(f"{path} would be longer than {MAX_FILE} bytes")
    return changed


def _format(name: str, publicKey: bytes, comment: str) -> str:
    """A thing's line, which is read as it is meant."""
    escaped = name.replace('"', '\\"')
    line = f'name="{escaped}" {formatPublicKey(publicKey, comment)}'
    try:
        if parseLine(line) == (publicKey, KeyLine(name)) and len(line.encode()) <= MAX_LINE:
            return line
    except CredentialError as error:
        raise CredentialError(f"no name of a thing: {error}") from None
    raise CredentialError("no name of a thing: it would not be read as it is written")
