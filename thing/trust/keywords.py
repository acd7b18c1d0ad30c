"""
What people choose as plain strings: the keywords, how each is read, which go together.

The same keywords are fields of an endpoint's description and options of a
command line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from thing.errors import CredentialError
from thing.trust.keys import parseFingerprint

Server = tuple[str, int | None]
"""A server's host and port, or its host alone."""

_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{0,15})?|\.[0-9]{1,15}")


def text(value: str) -> str:
    """
    Read a text, such as the name of a file.

    :param value: as it was written.
    :return: the same.
    :raises ValueError: if it is empty.
    """
    if not value:
        raise ValueError("is empty")
    return value


def yes(value: str) -> bool:
    """
    Read a decision.

    :param value: ``yes`` or ``no``.
    :return: whether it is yes.
    :raises ValueError: if it is neither.
    """
    if value not in ("yes", "no"):
        raise ValueError(f"{value!r} is neither yes nor no")
    return value == "yes"


def fingerprints(value: str) -> tuple[str, ...]:
    """
    Read fingerprints, with or without the word ``SHA256:`` before them.

    :param value: one, or several with commas between.
    :return: as ssh prints them.
    :raises ValueError: if one is none.
    """
    try:
        return tuple(
            parseFingerprint("SHA256:" + each.strip().removeprefix("SHA256:"))
            for each in value.split(",")
        )
    except CredentialError:
        raise ValueError(
            f"not a fingerprint: {value[:80]!r}; one is SHA256:<43 characters>,"
            " several have commas between"
        ) from None


def server(value: str) -> Server:
    """
    Read what a server is called.

    :param value: a host, or ``host:port``; an IPv6 address in brackets.
    :return: the host, and the port if it is there.
    :raises ValueError: if it is none.
    """
    match = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?", value)
    if match is None or not 0 < int(match[3] or 1) < 65536:
        raise ValueError(f"{value!r} is neither a host nor host:port")
    return match[1] or match[2], None if match[3] is None else int(match[3])


def names(value: str) -> tuple[str, ...]:
    """
    Read names or patterns.

    :param value: one, or several with commas between.
    :return: the names.
    :raises ValueError: if one is empty.
    """
    return tuple(text(each.strip()) for each in value.split(","))


def seconds(value: str) -> float:
    """
    Read a duration.

    :param value: a number of seconds, zero or more.
    :return: the number.
    :raises ValueError: if it is none.
    """
    if _NUMBER.fullmatch(value) is None:
        raise ValueError(f"{value!r} is not a number of seconds, zero or more")
    return float(value)


@dataclass(frozen=True, slots=True)
class Keyword:
    """One thing that can be chosen."""

    name: str
    """What it is called."""

    value: str
    """What its value is, for a manual."""

    doc: str
    """What it is for, in one line."""

    read: Callable[[str], Any] = text
    """Makes the value of its text, or raises ValueError with what is wrong with it."""

    decides: bool = False
    """Whether it says which peers to believe; one such must be chosen."""

    needs: tuple[str, ...] = ()
    """The keywords of which it needs one."""

    excludes: tuple[str, ...] = ()
    """The keywords that make no sense beside it."""

    default: str = ""
    """What it is if it is not chosen."""


def asOption(name: str) -> str:
    """
    Write a keyword as an option of a command line.

    :param name: the keyword, as ``trustRoots``.
    :return: the option, as ``--trust-roots``.
    """
    return "--" + re.sub("[A-Z]", lambda letter: "-" + letter[0].lower(), name)


def readKeywords(
    table: Iterable[Keyword], given: Mapping[str, str], spelled: Callable[[str], str] = str
) -> dict[str, Any]:
    """
    Read what was chosen by a table.

    :param table: what can be chosen.
    :param given: what was, by keyword.
    :param spelled: how a keyword is written where it was chosen.
    :return: the values, by keyword; a decision that is no is left out.
    :raises CredentialError: if a keyword or a value is wrong, or if keywords do not go together.
    """
    keywords = {keyword.name: keyword for keyword in table}
    values = {}
    for name, value in given.items():
        if name not in keywords:
            raise CredentialError(f"{name} is not known; known are {', '.join(sorted(keywords))}")
        try:
            values[name] = keywords[name].read(value)
        except ValueError as error:
            raise CredentialError(f"{spelled(name)}: {error}") from None
    chosen = {name: value for name, value in values.items() if value is not False}
    for name in chosen:
        _checkCompany(keywords[name], chosen, spelled)
    return chosen


def _checkCompany(
    keyword: Keyword, chosen: Mapping[str, Any], spelled: Callable[[str], str]
) -> None:
    """Refuse a keyword beside others that exclude it, or without one that it needs."""
    name = spelled(keyword.name)
    for other in keyword.excludes:
        if other in chosen:
            raise CredentialError(f"{name} and {spelled(other)} exclude each other")
    if keyword.needs and not any(other in chosen for other in keyword.needs):
        raise CredentialError(f"{name} needs {' or '.join(map(spelled, keyword.needs))}")


def checkDecided(table: Iterable[Keyword], chosen: Mapping[str, Any], what: str) -> None:
    """
    Refuse a choice that leaves open whom to believe.

    :param table: what can be chosen.
    :param chosen: what was, as :func:`readKeywords` has it.
    :param what: what is open.
    :raises CredentialError: if it is.
    """
    deciding = [keyword.name for keyword in table if keyword.decides]
    if not any(name in chosen for name in deciding):
        raise CredentialError(f"{what} must be said: {' or '.join(deciding)}")
