"""
Which request is answered by what: paths, the methods of each, and what a request says.

The answers themselves are made elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thing.core.messages import REQUEST_LIMIT
from thing.fleet.http.answers import Answer, Problem
from thing.fleet.http.queries import Query
from thing.text import readObject

if TYPE_CHECKING:
    from thing.fleet.http.channel import StatusRequest

_WITH_ID = re.compile(r"(/\w+/)([0-9a-f]{16})(/\w+)?")
"""A path that names one of many, and perhaps what is wanted of it."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may be answered."""

    request: StatusRequest

    id: str = ""
    """What its path names, if that has a place for it."""

    def query(self, *known: str) -> Query:
        """
        Read its parameters.

        :param known: the names that may be given.
        :return: the parameters.
        :raises Problem: 400 for another one, or what cannot be read.
        """
        return Query(self.request.query, known)

    def thing(self, *known: str) -> tuple[str, Query]:
        """
        Read which thing it is about, and its parameters.

        :param known: the names that may be given besides the thing's.
        :return: the thing's id, and the parameters.
        :raises Problem: 400 as :meth:`query`, or if no thing is named.
        """
        query = self.query("id", *known)
        id = query.one("id")
        if not id:
            raise Problem(400, "It is not said which thing.", parameter="id")
        return id, query

    def object(self) -> dict[str, Any]:
        """
        Read the JSON object that it holds.

        :return: the object.
        :raises Problem: 413 if it is too long; 400 if it is none.
        """
        if self.request.tooLong:
            raise Problem(413, f"The body is too long: {REQUEST_LIMIT} octets are the most.")
        try:
            return readObject(self.request.body)
        except ValueError:
            raise Problem(400, "The body is not a JSON object.") from None


Handler = Callable[[Call], Awaitable[Answer | None]]
"""Answers a call; None if it has seen to the answer."""


@dataclass(frozen=True, slots=True)
class Route:
    """What answers each method of a path."""

    methods: Mapping[bytes, Handler]
    public: bool = False
    """Whether it is answered without a token."""
    viewed: bool = True
    """Whether who may only look may see it."""

    def handler(self, method: bytes) -> Handler:
        """
        Find what answers a method.

        :param method: of HTTP; HEAD is answered as GET is.
        :return: what answers it.
        :raises Problem: 405 if nothing does.
        """
        found = self.methods.get(b"GET" if method == b"HEAD" else method)
        if found is None:
            allowed = [each.decode() for each in self.methods]
            allowed += ["HEAD"] if b"GET" in self.methods else []
            raise Problem(405, "That method is not for this path.", {"Allow": ", ".join(allowed)})
        return found


class Routes:
    """
    What answers each path.

    A path may have ``{id}`` in it, the place of 16 hexadecimal digits.

    :ivar known: the routes, by path.
    """

    def __init__(self, *tables: Mapping[str, Route]) -> None:
        """:param tables: routes by path, each path once."""
        self.known = {path: route for table in tables for path, route in table.items()}

    def find(self, path: str) -> tuple[Route | None, str]:
        """
        Find what answers a path.

        :param path: the path, decoded.
        :return: the route, None if there is none; and the id in the path.
        """
        route = self.known.get(path)
        match = _WITH_ID.fullmatch(path)
        if route is not None or match is None:
            return route, ""
        return self.known.get(f"{match[1]}{{id}}{match[3] or ''}"), match[2]
