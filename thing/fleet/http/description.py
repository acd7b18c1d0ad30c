"""The API in the words of OpenAPI 3.1: what is served at ``/openapi.json``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from thing.core.messages import REQUEST_LIMIT
from thing.fleet.http.guard import MIN_TOKEN
from thing.fleet.model import Kind, Status

Json = dict[str, Any]

MOST_LISTED = 1000
"""How many things one page lists at most."""

LISTED = 100
"""How many it lists by default."""

LONGEST_WAIT = 60.0
"""How long a thing may be waited for at most, seconds."""

WAIT = 10.0
"""How long it is waited for by default, seconds."""

_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_SECONDS: Json = {"type": "number", "minimum": 0}
_TIME: Json = {"type": "number", "description": "Seconds since 1970."}


def _schema(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _orNone(schema: Json) -> Json:
    return {"oneOf": [schema, {"type": "null"}]}


def _listOf(schema: Json, **more: Any) -> Json:
    return {"type": "array", "items": schema, **more}


def _object(properties: Json, optional: Iterable[str] = (), **more: Any) -> Json:
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "properties": properties, "required": required, **more}


_MESSAGE = {
    "oneOf": [
        _object({"text": _TEXT}, additionalProperties=False),
        _object(
            {"base64": {"type": "string", "contentEncoding": "base64"}},
            additionalProperties=False,
        ),
    ],
    "description": "Octets: as text if they are UTF-8, else in base64.",
}

_POSITION: Json = {
    "type": "string",
    "pattern": "^[0-9]{1,19}-[0-9]{1,19}$",
    "examples": ["1800000000000-0"],
}

_NUMBER = {"type": ["string", "integer", "null"]}

_EVENT_DATA: Json = {
    # joined, moved
    "name": _orNone(_TEXT),
    "fingerprint": _TEXT,
    "address": _TEXT,
    "ttl": _SECONDS,
    "resumed": {"type": "boolean"},
    "fromNode": _TEXT,
    "fromSession": _TEXT,
    "fromEpoch": _COUNT,
    # late, renewed
    "silence": _SECONDS,
    "roundTripTime": _orNone(_SECONDS),
    # left
    "cause": _TEXT,
    "detail": _TEXT,
    "code": _NUMBER,
    "reason": _NUMBER,
    "byPeer": {"type": "boolean"},
    "since": _TIME,
    # message, lastWord
    "text": _TEXT,
    "base64": {"type": "string", "contentEncoding": "base64"},
    # twins
    "wait": _SECONDS,
}

_SCHEMAS: Json = {
    "Problem": _object(
        {
            "title": {"type": "string", "description": "One plain sentence."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "acknowledged": {
                "type": "boolean",
                "description": "False if a message may or may not have arrived.",
            },
            "parameter": {"type": "string", "description": "Which parameter is wrong."},
        },
        optional=("acknowledged", "parameter"),
        description="Why there is no good answer (RFC 9457).",
    ),
    "Message": _MESSAGE,
    "Traffic": _object(
        {
            "roundTripTime": _orNone(_SECONDS),
            "silence": _orNone(_SECONDS),
            "heartbeats": _COUNT,
            "octetsIn": _COUNT,
            "octetsOut": _COUNT,
            "messagesIn": _COUNT,
            "messagesOut": _COUNT,
            "ttl": _orNone(_SECONDS),
        },
        description="What the node that has the session measures of it.",
    ),
    "Ending": _object(
        {
            "session": _TEXT,
            "node": _TEXT,
            "since": _TIME,
            "until": _TIME,
            "cause": _TEXT,
            "detail": _TEXT,
        },
        description="How an earlier session ended.",
    ),
    "Thing": _object(
        {
            "id": {"type": "string", "minLength": 1},
            "name": _orNone(_TEXT),
            "fingerprint": _TEXT,
            "status": {"enum": [status.value for status in Status]},
            "node": _TEXT,
            "session": {"type": "string", "description": "The session id, hexadecimal."},
            "epoch": _COUNT,
            "sequence": _COUNT,
            "since": _TIME,
            "lastSeen": _TIME,
            "address": _TEXT,
            "group": _TEXT,
            "aead": _TEXT,
            "resumed": {"type": "boolean"},
            "traffic": _orNone(_schema("Traffic")),
            "endings": _listOf(_schema("Ending")),
        },
        description="What is known of one thing, here or gone.",
    ),
    "Event": _object(
        {
            "position": _POSITION,
            "kind": {"enum": [kind.value for kind in Kind]},
            "id": {"type": "string", "minLength": 1},
            "epoch": _COUNT,
            "sequence": _COUNT,
            "node": _TEXT,
            "session": _TEXT,
            "at": _TIME,
            **_EVENT_DATA,
        },
        optional=_EVENT_DATA,
        description="Something that happened to a thing; what else is told depends on the kind.",
    ),
    "Things": _object(
        {
            "things": _listOf(_schema("Thing")),
            "following": _orNone(
                {"type": "string", "description": "Give it as after, for the next page."}
            ),
            "complete": {
                "type": "boolean",
                "description": "False if the shared registry is away, and only this node told.",
            },
            "node": {"type": "string", "description": "Which node answered."},
        }
    ),
    "Node": _object(
        {
            "node": _TEXT,
            "since": _TIME,
            "status": {"enum": ["up", "draining", "lost"]},
            "sessions": _COUNT,
            "handshakes": {**_COUNT, "description": "In progress."},
            "completed": {**_COUNT, "description": "Handshakes, since the node started."},
            "terminations": {
                "type": "object",
                "additionalProperties": _COUNT,
                "description": "By cause, since the node started.",
            },
            "minutes": _listOf(
                {
                    "type": "array",
                    "prefixItems": [_TIME, {"type": "object", "additionalProperties": _COUNT}],
                    "minItems": 2,
                    "maxItems": 2,
                },
                description="The terminations of each of the last minutes, by cause.",
            ),
            "loopLag": _SECONDS,
            "registry": _TEXT,
            "version": _TEXT,
        },
        description="How a node is.",
    ),
    "Nodes": _object(
        {"nodes": _listOf(_schema("Node"), minItems=1), "complete": {"type": "boolean"}}
    ),
    "Reply": _object(
        {"acknowledged": {"const": True}, "reply": _schema("Message")},
        description="The thing's program took the message; often it answers nothing.",
    ),
}

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
        "content": {"application/problem+json": {"schema": _schema("Problem")}},
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
    numbers = sorted({400, 403, 421, *problems} | (set() if public else {401}))
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
    "name": "id",
    "in": "path",
    "required": True,
    "description": "What the thing is called; a slash in it is written %2F.",
    "schema": {"type": "string", "minLength": 1},
}
_FIRST = {"id": "$response.body#/things/0/id"}

_PATHS: Json = {
    "/": {
        "get": _operation(
            "page",
            "The page: a table of things in a browser",
            {200: _good("The document.", _TEXT, "text/html")},
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
                    **_good("Some of them.", _schema("Things")),
                    "links": {
                        "thing": {"operationId": "thing", "parameters": _FIRST},
                        "send": {"operationId": "send", "parameters": _FIRST},
                    },
                }
            },
            parameters=[
                _query("after", "Begin behind this id.", _TEXT),
                _query(
                    "limit",
                    "How many at most.",
                    {"type": "integer", "minimum": 1, "maximum": MOST_LISTED, "default": LISTED},
                ),
                _query("q", "Part of the id, the name, the fingerprint or the address.", _TEXT),
                _query(
                    "status",
                    "Only these; without it, all but those that are gone.",
                    {"enum": [status.value for status in Status]},
                ),
                _query("node", "Only those of this node.", _TEXT),
            ],
        )
    },
    "/things/{id}": {
        "parameters": [_ID],
        "get": _operation(
            "thing",
            "Tell what is known of one thing",
            {200: _good("This is known.", _schema("Thing"))},
            [404],
        ),
        "delete": _operation(
            "dismiss",
            "Ask a thing to leave; whether it comes back is up to it",
            {202: _good("It is asked.", {"type": "object"})},
            [404, 504],
        ),
    },
    "/things/{id}/messages": {
        "parameters": [_ID],
        "post": _operation(
            "send",
            "Send a message to a thing, and wait until its program has taken it",
            {200: _good("It has.", _schema("Reply"))},
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
                    _object(
                        {
                            "event": {"enum": ["reset", *(kind.value for kind in Kind)]},
                            "id": _POSITION,
                            "data": {
                                "type": "string",
                                "contentMediaType": "application/json",
                                "contentSchema": {
                                    "anyOf": [_schema("Event"), {"maxProperties": 0}]
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
                _query("id", "Only of these things.", _listOf(_TEXT)),
                _query(
                    "kind",
                    "Only of these kinds.",
                    _listOf({"enum": [kind.value for kind in Kind]}),
                ),
                _query("after", "Begin behind this position.", _POSITION),
                {
                    "name": "Last-Event-ID",
                    "in": "header",
                    "description": "The same, as browsers say it; it has precedence.",
                    "schema": _POSITION,
                },
            ],
        )
    },
    "/nodes": {
        "get": _operation(
            "nodes",
            "Tell how the nodes are, the one that answers first",
            {200: _good("So they are.", _schema("Nodes"))},
        )
    },
    "/metrics": {
        "get": _operation(
            "metrics",
            "Figures of this node, for Prometheus",
            {200: _good("The figures.", _TEXT, "text/plain")},
        )
    },
}

DESCRIPTION: Json = {
    "openapi": "3.1.0",
    "info": {
        "title": "Thing's fleet",
        "version": "1",
        "description": (
            "Who is here, what happens, and a word to a thing, wherever it is connected. Times "
            "of day are seconds since 1970, durations are in seconds. Every path answers HEAD "
            "where it answers GET, and 405 to what is not listed here."
        ),
    },
    "security": [{"token": []}],
    "paths": _PATHS,
    "components": {
        "schemas": _SCHEMAS,
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
