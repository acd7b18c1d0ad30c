"""The API's paths in the words of OpenAPI 3.1, and all that ``/openapi.json`` serves."""

from __future__ import annotations

from thing.core.messages import REQUEST_LIMIT
from thing.fleet.history import SPANS
from thing.fleet.http.channel import API_VERSION, MARK, ROLE
from thing.fleet.http.guard import MIN_TOKEN
from thing.fleet.http.history import LATEST
from thing.fleet.http.operations import good, jsonBody, operation, problem, query
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

_ID: Json = {
    **query("id", "What the thing is called.", {"type": "string", "minLength": 1}),
    "required": True,
}
_FIRST = {"id": "$response.body#/things/0/id"}

_IN_PATH: Json = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
}
_INVITATION: Json = {**_IN_PATH, "description": "The invitation's."}
_REACH: Json = {**_IN_PATH, "description": "The reach's."}
_INVITES_NOBODY = problem(404, "The server invites nobody: it has no file of authorized things.")
_NOT_INVITED = problem(404, "There is no such invitation, or its time is over.")

_PATHS: Json = {
    "/": {
        "get": operation(
            "page",
            "The page: a table of things in a browser",
            {200: good("The document.", TEXT, "text/html")},
            public=True,
        )
    },
    "/healthz": {
        "get": operation(
            "health",
            "Whether the process answers",
            {200: good("It does.", {"const": "ok\n"}, "text/plain")},
            public=True,
        )
    },
    "/readyz": {
        "get": operation(
            "readiness",
            "Whether the node takes things",
            {
                200: good("It does.", {"const": "ready\n"}, "text/plain"),
                503: problem(503, "It is about to stop, and asks its things to leave."),
            },
            public=True,
        )
    },
    "/openapi.json": {
        "get": operation("description", "This", {200: good("This.", {"type": "object"})})
    },
    "/things": {
        "get": operation(
            "things",
            "List things in the order of their ids, numbers in them by their value",
            {
                200: {
                    **good("Some of them.", reference("Things")),
                    "links": {
                        "thing": {"operationId": "thing", "parameters": _FIRST},
                        "send": {"operationId": "send", "parameters": _FIRST},
                    },
                }
            },
            parameters=[
                query("after", "Begin behind this id.", TEXT),
                query(
                    "limit",
                    "How many at most.",
                    {"type": "integer", "minimum": 1, "maximum": MOST_LISTED, "default": LISTED},
                ),
                query("q", "Part of the id, the name, the fingerprint or the address.", TEXT),
                query(
                    "status",
                    "Only these; without it, all but those that are gone.",
                    {"enum": [status.value for status in Status]},
                ),
                query("node", "Only those of this node.", TEXT),
            ],
        )
    },
    "/thing": {
        "parameters": [_ID],
        "get": operation(
            "thing",
            "Tell what is known of one thing",
            {200: good("This is known.", reference("Thing"))},
            [404],
        ),
        "delete": operation(
            "dismiss",
            "Ask a thing to leave; whether it comes back is up to it",
            {202: good("It is asked.", {"type": "object"})},
            [404, 504],
        ),
    },
    "/thing/record": {
        "parameters": [_ID],
        "delete": operation(
            "forgetThing",
            "Remember a thing no more that is gone; if it comes back, it is a new one",
            {
                200: good("It is forgotten.", {"type": "object"}),
                409: problem(409, "The thing is here."),
            },
            [404, 504],
        ),
    },
    "/thing/messages": {
        "parameters": [_ID],
        "post": operation(
            "send",
            "Send a message to a thing, and wait until its program has taken it",
            {200: good("It has.", reference("Reply"))},
            [404, 409, 413, 502, 503, 504],
            parameters=[
                query(
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
        "get": operation(
            "events",
            "Follow what happens, as server-sent events without end",
            {
                200: good(
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
                query("id", "Only of these things.", listOf(TEXT)),
                query(
                    "kind",
                    "Only of these kinds.",
                    listOf({"enum": [kind.value for kind in Kind]}),
                ),
                query("after", "Begin behind this position.", POSITION),
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
        "get": operation(
            "nodes",
            "Tell how the nodes are, the one that answers first",
            {200: good("So they are.", reference("Nodes"))},
        )
    },
    "/history": {
        "get": operation(
            "history",
            "Tell what the figures of the node that answers were",
            {
                200: good("They were these.", reference("History")),
                404: problem(404, "The server keeps no history."),
            },
            parameters=[
                query("span", "How far back.", {"enum": [*SPANS], "default": LATEST}),
            ],
        )
    },
    "/node": {
        "delete": operation(
            "forget",
            "Show a node that stopped or was lost no more; if it comes back, it is shown again",
            {
                200: good("It is forgotten.", {"type": "object"}),
                409: problem(409, "The node is up."),
            },
            [404, 504],
            parameters=[
                {
                    **query("name", "The node's.", {"type": "string", "minLength": 1}),
                    "required": True,
                }
            ],
        )
    },
    "/reaches": {
        "get": operation(
            "reaches",
            "List which services of things are reached by operators",
            {
                200: {
                    **good("They are these.", reference("Reaches")),
                    "links": {
                        "end": {
                            "operationId": "end",
                            "parameters": {"id": "$response.body#/reaches/0/id"},
                        }
                    },
                }
            },
        )
    },
    "/reaches/{id}": {
        "parameters": [_REACH],
        "delete": operation(
            "end",
            "End a reach; whether the operator comes back is up to it",
            {
                202: good("It is ended.", {"type": "object"}),
                404: problem(404, "There is no such reach."),
                504: problem(504, "The thing's node did not answer."),
            },
        ),
    },
    "/invitations": {
        "get": operation(
            "invitations",
            "Tell who is invited, and what became of it",
            {200: good("They are these.", reference("Invitations")), 404: _INVITES_NOBODY},
        ),
        "post": operation(
            "invite",
            "Invite a thing to join, once",
            {
                201: {
                    **good("It is invited.", reference("Invited")),
                    "links": {
                        name: {"operationId": name, "parameters": {"id": "$response.body#/id"}}
                        for name in ("withdraw", "confirm")
                    },
                },
                404: _INVITES_NOBODY,
                409: problem(409, "A thing has that name, and is not to be replaced."),
                413: problem(413, "The body is too long."),
            },
            requestBody=jsonBody("Wish"),
        ),
    },
    "/invitations/{id}": {
        "parameters": [_INVITATION],
        "delete": operation(
            "withdraw",
            "Have an invitation count no more; who has joined by it stays",
            {200: good("It is withdrawn.", {"type": "object"}), 404: _NOT_INVITED},
        ),
    },
    "/invitations/{id}/confirmation": {
        "parameters": [_INVITATION],
        "post": operation(
            "confirm",
            "Say yes to the key that has come with an invitation",
            {
                200: good("The key is admitted.", reference("Invitation")),
                404: _NOT_INVITED,
                409: problem(409, "No key has come, or another one."),
                413: problem(413, "The body is too long."),
            },
            requestBody=jsonBody("Confirmation"),
        ),
    },
    "/metrics": {
        "get": operation(
            "metrics",
            "Figures of this node, for Prometheus",
            {200: good("The figures.", TEXT, "text/plain")},
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
            f"header {MARK}: an error without it is a proxy's. Where not everybody is answered, "
            f"{ROLE} tells what one may do: a viewer changes nothing, and is told of no invitation."
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
