"""
What people choose as plain strings: the keywords, how each is read, which go together.

The same keywords are fields of an endpoint's description and options of a command line. Here
is what a keyword is; which there are is in the tables of the rooms, :mod:`thing.trust.choice`
and :mod:`thing.session.settable`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from enum import Flag, IntEnum, auto
from ipaddress import AddressValueError, IPv6Address
from typing import Any, TypeVar

from thing.errors import CredentialError
from thing.trust.keys import parseFingerprint

Server = tuple[str, int | None]
"""A server's host and port, or its host alone."""

_LABEL, _NAME = 63, 253
"""How long the parts of a name can be, and all of it, characters."""


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


def host(value: str) -> str:
    """
    Read what a host is called.

    :param value: a name, or an address.
    :return: the same.
    :raises ValueError: if it can be neither.
    """
    asciiHost(value)
    return value


def asciiHost(value: str) -> str:
    """
    Write what a host is called as name servers know it.

    :param value: a name, or an address; of IPv6 perhaps with a zone.
    :return: the same in ASCII.
    :raises ValueError: if no host can be called so. Underscores are fine: files of hosts and
        networks of containers are full of them.
    """
    shown = repr(value[:80])
    if not value.isprintable() or " " in value:
        raise ValueError(f"{shown} is no host: a name has no blanks and no control characters")
    if ":" in value:
        try:
            return str(IPv6Address(value))
        except AddressValueError:
            raise ValueError(f"{shown} is neither the name of a host nor an IPv6 address") from None
    try:
        name = value if value.isascii() else value.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError(f"{shown} is no host: its letters cannot be in a name") from None
    labels = name.removesuffix(".").split(".")
    if not all(0 < len(label) <= _LABEL for label in labels):
        raise ValueError(f"{shown} is no host: between dots are 1 to {_LABEL} characters")
    if len(name.removesuffix(".")) > _NAME:
        raise ValueError(f"{shown} is no host: a name has {_NAME} characters at most")
    return name


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
    number = _number(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{value!r} is not a number of seconds, zero or more")
    return number


def duration(value: str) -> float:
    """
    Read a duration that is not nothing.

    :param value: a number of seconds, more than zero.
    :return: the number.
    :raises ValueError: if it is none.
    """
    number = _number(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{value!r} is not a number of seconds above zero")
    return number


def _number(value: str) -> float:
    """A number; not a number if it is none."""
    try:
        return float(value)
    except ValueError:
        return math.nan


def count(value: str) -> int:
    """
    Read how many there are to be.

    :param value: a whole number, one or more.
    :return: the number.
    :raises ValueError: if it is none.
    """
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError(f"{value!r} is not a whole number above zero")
    return number


def port(value: str) -> int:
    """
    Read a port's number.

    :param value: a number, 0 to 65535.
    :return: the number.
    :raises ValueError: if it is none.
    """
    if re.fullmatch("[0-9]{1,5}", value) is None or int(value) > 0xFFFF:
        raise ValueError(f"{value!r} is not a port")
    return int(value)


def members(registry: type[IntEnum]) -> Callable[[str], tuple[IntEnum, ...]]:
    """
    Make what reads names of a registry, with commas between, the preferred first.

    :param registry: the registry; the case of letters does not matter.
    :return: the reader.
    """

    def read(value: str) -> tuple[IntEnum, ...]:
        try:
            return tuple(registry[name.strip().upper()] for name in value.split(","))
        except KeyError:
            known = ", ".join(registry.__members__)
            raise ValueError(f"{value!r}: known are {known}") from None

    return read


class Where(Flag):
    """The places where people write keywords."""

    DAEMON = auto()
    """The command line of ``twistd thing``."""

    ENDPOINT = auto()
    """An endpoint's description, ``thing:...``."""

    COMMAND = auto()
    """The command line of ``thing``."""


EVERYWHERE = Where.DAEMON | Where.ENDPOINT | Where.COMMAND
"""All places that are of the keyword's side: the daemon is a server, the command a client."""


@dataclass(frozen=True, slots=True)
class Keyword:
    """One thing that can be chosen."""

    name: str
    """What it is called."""

    value: str
    """What its value is, for a manual."""

    doc: str
    """What it is for, in one line; names in it are set in double backquotes."""

    read: Callable[[str], Any] = text
    """Makes the value of its text, or raises ValueError with what is wrong with it."""

    decides: bool = False
    """Whether it says which peers to believe; one such must be chosen."""

    needs: tuple[str, ...] = ()
    """The keywords of which it needs one."""

    excludes: tuple[str, ...] = ()
    """The keywords that make no sense beside it."""

    default: Any = None
    """What it is if it is not chosen; None for nothing, or for what no one value is."""

    shown: str = ""
    """What a manual says of a default that is no value."""

    where: Where = EVERYWHERE
    """Where people can write it."""

    @property
    def defaultText(self) -> str:
        """What a manual says of the default; empty if there is none."""
        if self.shown or self.default is None:
            return self.shown
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if isinstance(self.default, (int, float)):
            return f"{self.default:.12g}"
        if isinstance(self.default, tuple):
            return ",".join(each.name for each in self.default)
        return str(self.default)

    @property
    def plainDoc(self) -> str:
        """:attr:`doc` for a terminal."""
        return self.doc.replace("`", "")


AnyKeyword = TypeVar("AnyKeyword", bound=Keyword)


def writtenIn(place: Where, table: Iterable[AnyKeyword]) -> tuple[AnyKeyword, ...]:
    """
    Find what of a table can be written in a place.

    :param place: the place.
    :param table: the table.
    :return: the keywords, in the same order.
    """
    return tuple(keyword for keyword in table if place in keyword.where)


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
        checkCombination(keywords[name], chosen, spelled)
    return chosen


def checkCombination(
    keyword: Keyword, chosen: Container[str], spelled: Callable[[str], str] = str
) -> None:
    """
    Refuse a keyword beside others that it excludes, or without one that it needs.

    :param keyword: the keyword, which was chosen.
    :param chosen: the names of all that were.
    :param spelled: how a keyword is written where it was chosen.
    :raises CredentialError: if they do not go together.
    """
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
