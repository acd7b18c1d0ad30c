"""The API's paths in the words of OpenAPI 3.1, and all that ``/openapi.json`` serves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from thing.core.messages import REQUEST_LIMIT
from thing.fleet.http.channel import API_VERSION, MARK
from thing.fleet.http.guard import MIN_TOKEN
from thing.fleet.http.schemas import POSITION, SCHEMAS, TEXT, Json, listOf, objectOf, reference
from thing.fleet.model import Kind, Status

MOST_LISTED = 1000
"""How many things one page lists at most."""

LISTED = 100
"""How many it lists by default."""

LONGEST_WAIT = 60.0
"""How long a thing may be waited for at most, seconds."""

WAIT = 10.0
"""How long it is waited for by default, seconds."""

_PROBLEMS = {
    400: "Something in the request cannot be understood.",
    401: "The token is missing, or another one.",
    403: "A page of another site may ask nothing.",
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


def _problem(status: int, description: str = "") -> Json:
    found: Json = {
        "description": description or _PROBLEMS[status],
        "content": {"application/problem+json": {"schema": reference("Problem")}},
    }
    if status in _PROBLEM_HEADERS:
        found["headers"] = _PROBLEM_HEADERS[status]
    return found


def _good(description: str, schema: Json, contentType: str = "application/json") -> Json:
    return {"description": description, "content": {contentType: {"schema": schema}}}


def _query(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _operation(
    name: str,
    summary: str,
    good: dict[int, Json],
    problems: Iterable[int] = (),
    *,
    parameters: Iterable[Json] = (),
    public: bool = False,
    **more: Any,
) -> Json:
    """An operation; every one that needs a token may be refused for the lack of it."""
    numbers = sorted({400, 403, 421, *problems} | (set() if public else {401, 503}))
    described: Json = {
        "operationId": name,
        "summary": summary,
        "responses": {
            **{str(status): answer for status, answer in good.items()},
            **{str(status): _problem(status) for status in numbers if status not in good},
        },
        **more,
    }
    if parameters:
        described["parameters"] = list(parameters)
    if public:
        described["security"] = []
    return described


_ID: Json = {
    **_query("id", "What the thing is called.", {"type": "string", "minLength": 1}),
    "required": True,
}
_FIRST = {"id": "$response.body#/things/0/id"}

_PATHS: Json = {
    "/": {
        "get": _operation(
            "page",
            "The page: a table of things in a browser",
            {200: _good("The document.", TEXT, "text/html")},
            public=True,
        )
    },
    "/healthz": {
        "get": _operation(
            "health",
            "Whether the process answers",
            {200: _good("It does.", {"const": "ok\n"}, "text/plain")},
            public=True,
        )
    },
    "/readyz": {
        "get": _operation(
            "readiness",
            "Whether the node takes things",
            {
                200: _good("It does.", {"const": "ready\n"}, "text/plain"),
                503: _problem(503, "It is about to stop, and asks its things to leave."),
            },
            public=True,
        )
    },
    "/openapi.json": {
        "get": _operation("description", "This", {200: _good("This.", {"type": "object"})})
    },
    "/things": {
        "get": _operation(
            "things",
            "List things in the order of their ids",
            {
                200: {
                    **_good("Some of them.", reference("Things")),
                    "links": {
                        "thing": {"operationId": "thing", "parameters": _FIRST},
                        "send": {"operationId": "send", "parameters": _FIRST},
                    },
                }
            },
            parameters=[
                _query("after", "Begin behind this id.", TEXT),
                _query(
                    "limit",
                    "How many at most.",
                    {"type": "integer", "minimum": 1, "maximum": MOST_LISTED, "default": LISTED},
                ),
                _query("q", "Part of the id, the name, the fingerprint or the address.", TEXT),
                _query(
                    "status",
                    "Only these; without it, all but those that are gone.",
                    {"enum": [status.value for status in Status]},
                ),
                _query("node", "Only those of this node.", TEXT),
            ],
        )
    },
    "/thing": {
        "parameters": [_ID],
        "get": _operation(
            "thing",
            "Tell what is known of one thing",
            {200: _good("This is known.", reference("Thing"))},
            [404],
        ),
        "delete": _operation(
            "dismiss",
            "Ask a thing to leave; whether it comes back is up to it",
            {202: _good("It is asked.", {"type": "object"})},
            [404, 504],
        ),
    },
    "/thing/messages": {
        "parameters": [_ID],
        "post": _operation(
            "send",
            "Send a message to a thing, and wait until its program has taken it",
            {200: _good("It has.", reference("Reply"))},
            [404, 409, 413, 502, 503, 504],
            parameters=[
                _query(
                    "timeout",
                    "How long to wait, seconds.",
                    {
                        "type": "number",
                        "exclusiveMinimum": 0,
                        "maximum": LONGEST_WAIT,
                        "default": WAIT,
                    },
                )
            ],
            requestBody={
                "description": f"The octets, whatever they are; {REQUEST_LIMIT} at most.",
                "content": {"application/octet-stream": {"schema": {}}, "*/*": {"schema": {}}},
            },
        ),
    },
    "/events": {
        "get": _operation(
            "events",
            "Follow what happens, as server-sent events without end",
            {
                200: _good(
                    "Each event's name is its kind, its id a position, its data an Event as JSON; "
                    "one called reset, with neither, says that some were lost.",
                    objectOf(
                        {
                            "event": {"enum": ["reset", *(kind.value for kind in Kind)]},
                            "id": POSITION,
                            "data": {
                                "type": "string",
                                "contentMediaType": "application/json",
                                "contentSchema": {
                                    "anyOf": [reference("Event"), {"maxProperties": 0}]
                                },
                            },
                        },
                        optional=("id",),
                    ),
                    "text/event-stream",
                )
            },
            [503],
            parameters=[
                _query("id", "Only of these things.", listOf(TEXT)),
                _query(
                    "kind",
                    "Only of these kinds.",
                    listOf({"enum": [kind.value for kind in Kind]}),
                ),
                _query("after", "Begin behind this position.", POSITION),
                {
                    "name": "Last-Event-ID",
                    "in": "header",
                    "description": "The same, as browsers say it; it has precedence.",
                    "schema": POSITION,
                },
            ],
        )
    },
    "/nodes": {
        "get": _operation(
            "nodes",
            "Tell how the nodes are, the one that answers first",
            {200: _good("So they are.", reference("Nodes"))},
        )
    },
    "/node": {
        "delete": _operation(
            "forget",
            "Show a node that was lost no more; if it comes back, it is shown again",
            {
                200: _good("It is forgotten.", {"type": "object"}),
                409: _problem(409, "The node is up."),
            },
            [404, 504],
            parameters=[
                {
                    **_query("name", "The node's.", {"type": "string", "minLength": 1}),
                    "required": True,
                }
            ],
        )
    },
    "/metrics": {
        "get": _operation(
            "metrics",
            "Figures of this node, for Prometheus",
            {200: _good("The figures.", TEXT, "text/plain")},
        )
    },
}

DESCRIPTION: Json = {
    "openapi": "3.1.0",
    "info": {
        "title": "Thing's fleet",
        "version": API_VERSION,
        "description": (
            "Who is here, what happens, and a word to a thing, wherever it is connected. Times "
            "of day are seconds since 1970, durations are in seconds. Every path answers HEAD "
            "where it answers GET, and 405 to what is not listed here. Every answer has the "
            f"header {MARK}: an error without it is a proxy's."
        ),
    },
    "security": [{"token": []}],
    "paths": _PATHS,
    "components": {
        "schemas": SCHEMAS,
        "securitySchemes": {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": (
                    f"What the server's token file holds, {MIN_TOKEN} characters or more; a "
                    "server that only its own machine can reach may have none."
                ),
            }
        },
    },
}
"""The description; nobody may change it."""
