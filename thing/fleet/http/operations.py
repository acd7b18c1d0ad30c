"""
How any operation of the API is described, in the words of OpenAPI 3.1.

Which there are is said by the routes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from thing.fleet.http.schemas import Json, reference

_PROBLEMS = {
    400: "Something in the request cannot be understood.",
    401: "The token is missing, or another one.",
    403: "A page of another site may ask nothing, nor who may only look for this.",
    404: "There is no such thing.",
    405: "The method is not for this path.",
    409: "The thing's program takes no requests.",
    413: "The message is too long.",
    421: "Without a token, only names of this machine are answered.",
    502: "The thing's program failed on the message.",
    503: "Too much is asked at once.",
    504: "There was no answer in time: a message may or may not have arrived.",
}

_PROBLEM_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"const": "Bearer"}, "required": True}},
    405: {"Allow": {"schema": {"type": "string"}, "required": True}},
}


def problem(status: int, description: str = "") -> Json:
    """
    Describe an answer that is not the one hoped for.

    :param status: of HTTP.
    :param description: when it is given; by default what the status means everywhere.
    :return: the description.
    """
    found: Json = {
        "description": description or _PROBLEMS[status],
        "content": {"application/problem+json": {"schema": reference("Problem")}},
    }
    if status in _PROBLEM_HEADERS:
        found["headers"] = _PROBLEM_HEADERS[status]
    return found


def good(description: str, schema: Json, contentType: str = "application/json") -> Json:
    """
    Describe a good answer.

    :param description: what it tells.
    :param schema: of what it holds.
    :param contentType: the kind of that.
    :return: the description.
    """
    return {"description": description, "content": {contentType: {"schema": schema}}}


def query(name: str, description: str, schema: Json) -> Json:
    """
    Describe a parameter behind the question mark.

    :param name: what it is called.
    :param description: what it is for.
    :param schema: of its value.
    :return: the description.
    """
    return {"name": name, "in": "query", "description": description, "schema": schema}


def jsonBody(name: str) -> Json:
    """
    Describe what a request must hold.

    :param name: of its schema.
    :return: the description.
    """
    return {"required": True, "content": {"application/json": {"schema": reference(name)}}}


def operation(
    name: str,
    summary: str,
    answers: dict[int, Json],
    problems: Iterable[int] = (),
    *,
    parameters: Iterable[Json] = (),
    public: bool = False,
    **more: Any,
) -> Json:
    """
    Describe an operation; every one that needs a token may be refused for the lack of it.

    :param name: what it is called.
    :param summary: what it does, in one line.
    :param answers: its good answers by status, and problems that mean something else here.
    :param problems: the other statuses that it may have, besides those that all have.
    :param parameters: what may be told to it.
    :param public: whether it needs no token.
    :param more: what else is to be said.
    :return: the description.
    """
    numbers = sorted({400, 403, 421, *problems} | (set() if public else {401, 503}))
    described: Json = {
        "operationId": name,
        "summary": summary,
        "responses": {
            **{str(status): answer for status, answer in answers.items()},
            **{str(status): problem(status) for status in numbers if status not in answers},
        },
        **more,
    }
    if parameters:
        described["parameters"] = list(parameters)
    if public:
        described["security"] = []
    return described
