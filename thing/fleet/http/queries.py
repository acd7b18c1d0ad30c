"""Reading a request's path and query, strictly: what is not understood is refused."""

from __future__ import annotations

import math
import re
from urllib.parse import unquote_to_bytes

from thing.fleet.http.answers import Problem

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def pathOf(octets: bytes) -> str:
    """
    Read a path.

    :param octets: as they came.
    :return: the path, decoded.
    :raises Problem: 400 if it is none.
    """
    if not octets.startswith(b"/"):
        raise Problem(400, "The path does not begin with a slash.")
    return _decode(octets)


def _decode(octets: bytes) -> str:
    if _BAD_ESCAPE.search(octets):
        raise Problem(400, "A percent sign is not followed by two hexadecimal digits.")
    try:
        return unquote_to_bytes(octets).decode()
    except UnicodeDecodeError:
        raise Problem(400, "The address is not UTF-8.") from None


class Query:
    """The parameters behind the question mark."""

    def __init__(self, octets: bytes, known: tuple[str, ...]) -> None:
        """
        :param octets: as they came.
        :param known: the names that may be given.
        :raises Problem: 400 for another one, or what cannot be read.
        """
        self._found: dict[str, list[str]] = {}
        for part in octets.split(b"&") if octets else ():
            name, _, value = part.replace(b"+", b" ").partition(b"=")
            if _decode(name) not in known:
                raise Problem(400, "There is no such parameter.", parameter=_decode(name))
            self._found.setdefault(_decode(name), []).append(_decode(value))

    def all(self, name: str) -> list[str]:
        """
        Read a parameter that may be given often.

        :param name: its name.
        :return: the values.
        """
        return self._found.get(name, [])

    def one(self, name: str) -> str | None:
        """
        Read a parameter.

        :param name: its name.
        :return: its value, or None.
        :raises Problem: 400 if it is given twice.
        """
        values = self.all(name)
        if len(values) > 1:
            raise Problem(400, "A parameter is given twice.", parameter=name)
        return values[0] if values else None

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """
        Read a whole number.

        :param name: the parameter.
        :param default: without it.
        :param least: the least that is allowed.
        :param most: the most.
        :return: the number.
        :raises Problem: 400 if it is none.
        """
        text = self.one(name)
        if text is None:
            return default
        if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise Problem(
                400, f"{name} is not a whole number from {least} to {most}.", parameter=name
            )
        return int(text)

    def seconds(self, name: str, default: float, most: float) -> float:
        """
        Read a duration.

        :param name: the parameter.
        :param default: without it.
        :param most: the longest that is allowed.
        :return: seconds, more than zero.
        :raises Problem: 400 if it is none.
        """
        text = self.one(name)
        if text is None:
            return default
        try:
            # Python reads more than anybody else does: 1_0, or other scripts' digits.
            seconds = float(text) if text.isascii() and "_" not in text else math.nan
        except ValueError:
            seconds = math.nan
        if not 0 < seconds <= most:
            raise Problem(400, f"{name} is not a number above 0, {most:g} at most.", parameter=name)
        return seconds
