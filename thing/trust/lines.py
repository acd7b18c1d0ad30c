"""
Files of lines, as those of keys are: which lines say something, and whether any does.

A file may have a hundred thousand: whoever has others to see to reads it in slices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from thing.errors import CredentialError
from thing.trust.files import StrPath
from thing.trust.slices import Slices

MAX_LINE = 8 * 1024
"""The most bytes in one of its lines, as OpenSSH has it; the longest RSA keys fit."""

SLICE = 16 * 1024
"""How many bytes of a file of lines are read in a slice: of keys, some two hundred lines."""

EMPTY_LINE = b"# empty"
"""The line by which a file of keys says that it is empty on purpose."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some editors begin a file of UTF-8 with; it is no part of the first line."""

_SAYING = re.compile(rb"^[^\S\n]*(?:[^#\s]|" + EMPTY_LINE + rb"\s*$)", re.MULTILINE)
"""The beginning of a line that says something, or all of an :data:`EMPTY_LINE`."""


def textLines(path: StrPath, content: bytes, first: int = 1) -> Iterator[tuple[int, str]]:
    """
    The lines of a file of public keys that say something.

    :param path: the file, for the error.
    :param content: what it holds, from a line on.
    :param first: the number of that line.
    :return: the number (from 1) and the stripped text of each line that is
        neither blank nor a comment; bytes that are not UTF-8 become surrogates.
    :raises CredentialError: if a line is too long.
    """
    if first == 1:
        content = content.removeprefix(BYTE_ORDER_MARK)
    for number, line in enumerate(content.split(b"\n"), first):
        if len(line) > MAX_LINE:
            raise CredentialError(f"{path}:{number}: longer than {MAX_LINE} bytes")
        text = line.decode("utf-8", "surrogateescape").strip(" \t\r")
        if text and not text.startswith("#"):
            yield number, text


def eachLine(
    path: StrPath, content: bytes, take: Callable[[int, str], object], start: int = 0
) -> Slices[None]:
    """
    Give the lines of a file that say something to somebody, :data:`SLICE` bytes in a slice.

    :param path: the file, for the error.
    :param content: what it holds.
    :param take: takes the number (from 1) and the text of each, as :func:`textLines` has them.
    :param start: where to begin: where a line does.
    :return: the slices.
    :raises CredentialError: if a line is too long, or what ``take`` raises.
    """
    number, at = 1 + content.count(b"\n", 0, start), start
    while at < len(content):
        if at > start:
            yield
        end = content.find(b"\n", at + SLICE) + 1 or len(content)
        for line in textLines(path, content[at:end], number):
            take(*line)
        number += content.count(b"\n", at, end)
        at = end


def saysNothing(content: bytes) -> bool:
    """
    Tell whether a file of lines has neither a line that says something nor :data:`EMPTY_LINE`.

    A full disk or a slow copy leaves such a file; who means it says so.

    :param content: what the file holds.
    :return: whether it says nothing.
    """
    return _SAYING.search(content.removeprefix(BYTE_ORDER_MARK)) is None
