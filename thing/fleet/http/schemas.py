"""What the API's answers hold, in the words of JSON Schema; its paths are described elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from thing.fleet.history import SPANS
from thing.fleet.model import Kind, Status
from thing.trust.invitations import LIFE, MAX_LIFE, State
from thing.trust.jointoken import MAX_SERVER, MAX_SERVERS
from thing.trust.keys import MAX_NAME

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
"""Any text."""

_COUNT: Json = {"type": "integer", "minimum": 0}
_SECONDS: Json = {"type": "number", "minimum": 0}
_TIME: Json = {"type": "number", "description": "Seconds since 1970."}


def reference(name: str) -> Json:
    """
    Name one of :data:`SCHEMAS`.

    :param name: which.
    :return: a schema for what fits that.
    """
    return {"$ref": f"#/components/schemas/{name}"}


def _orNone(schema: Json) -> Json:
    return {"oneOf": [schema, {"type": "null"}]}


def listOf(schema: Json, **more: Any) -> Json:
    """
    Make the schema of a list.

    :param schema: of each of its items.
    :param more: what else is to be said.
    :return: the schema.
    """
    return {"type": "array", "items": schema, **more}


def objectOf(properties: Json, optional: Iterable[str] = (), **more: Any) -> Json:
    """
    Make the schema of an object.

    :param properties: a schema for each of its members.
    :param optional: those of them that it may lack.
    :param more: what else is to be said.
    :return: the schema.
    """
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "properties": properties, "required": required, **more}


_MESSAGE = {
    "oneOf": [
        objectOf({"text": TEXT}, additionalProperties=False),
        objectOf(
            {"base64": {"type": "string", "contentEncoding": "base64"}},
            additionalProperties=False,
        ),
    ],
    "description": "Octets: as text if they are UTF-8, else in base64.",
}

POSITION: Json = {
    "type": "string",
    "pattern": "^[0-9]{1,19}-[0-9]{1,19}$",
    "examples": ["1800000000000-0"],
}
"""The position of an event."""

_NUMBER = {"type": ["string", "integer", "null"]}

_EVENT_DATA: Json = {
    # joined, moved
    "name": _orNone(TEXT),
    "fingerprint": TEXT,
    "address": TEXT,
    "ttl": _SECONDS,
    "resumed": {"type": "boolean"},
    "fromNode": TEXT,
    "fromSession": TEXT,
    "fromEpoch": _COUNT,
    # late, renewed
    "silence": _SECONDS,
    "roundTripTime": _orNone(_SECONDS),
    # left
    "cause": TEXT,
    "detail": TEXT,
    "code": _NUMBER,
    "reason": _NUMBER,
    "byPeer": {"type": "boolean"},
    "since": _TIME,
    # message, lastWord
    "text": TEXT,
    "base64": {"type": "string", "contentEncoding": "base64"},
    # twins
    "wait": _SECONDS,
    # reached, reachEnded; the latter has a reason, too
    "reach": TEXT,
    "service": TEXT,
    "by": TEXT,
    "key": TEXT,
    "from": TEXT,
    "duration": _SECONDS,
    "octetsUp": _COUNT,
    "octetsDown": _COUNT,
}

_INVITATION: Json = {
    "id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    "name": {"type": "string", "minLength": 1, "description": "What the thing will be called."},
    "state": {
        "enum": [state.value for state in State],
        "description": "Whether nobody has come; a key waits for a yes; it is about to be "
        "admitted; it is admitted.",
    },
    "expires": {**_TIME, "description": "When it counts no more, seconds since 1970."},
    "confirm": {"type": "boolean", "description": "Whether somebody must say yes to the key."},
    "replace": {
        "type": "boolean",
        "description": "Whether the key takes the place of those that have the name.",
    },
    "fingerprint": {"type": "string", "description": "Of the key that has come; empty before."},
}

SCHEMAS: Json = {
    "Problem": objectOf(
        {
            "title": {"type": "string", "description": "One plain sentence."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "acknowledged": {
                "type": "boolean",
                "description": "False if a message may or may not have arrived.",
            },
            "parameter": {"type": "string", "description": "Which parameter is wrong."},
            "id": {"type": "string", "description": "Of the thing that nobody has heard of."},
        },
        optional=("acknowledged", "parameter", "id"),
        description="Why there is no good answer (RFC 9457).",
    ),
    "Message": _MESSAGE,
    "Traffic": objectOf(
        {
            "roundTripTime": _orNone(_SECONDS),
            "silence": _orNone(_SECONDS),
            "heartbeats": _COUNT,
            "octetsIn": _COUNT,
            "octetsOut": _COUNT,
            "messagesIn": _COUNT,
            "messagesOut": _COUNT,
            "streams": _COUNT,
            "creditStalls": _COUNT,
            "ttl": _orNone(_SECONDS),
        },
        description="What the node that has the session measures of it.",
    ),
    "Ending": objectOf(
        {
            "session": TEXT,
            "node": TEXT,
            "since": _TIME,
            "until": _TIME,
            "cause": TEXT,
            "detail": TEXT,
        },
        description="How an earlier session ended.",
    ),
    "Thing": objectOf(
        {
            "id": {"type": "string", "minLength": 1},
            "name": _orNone(TEXT),
            "fingerprint": TEXT,
            "status": {"enum": [status.value for status in Status]},
            "node": TEXT,
            "session": {"type": "string", "description": "The session id, hexadecimal."},
            "epoch": _COUNT,
            "sequence": _COUNT,
            "since": _TIME,
            "lastSeen": _TIME,
            "address": TEXT,
            "group": TEXT,
            "aead": TEXT,
            "resumed": {"type": "boolean"},
            "traffic": _orNone(reference("Traffic")),
            "endings": listOf(reference("Ending")),
            "reaches": listOf(
                reference("Reach"), description="Told of a thing that was asked about alone."
            ),
            "complete": {
                "type": "boolean",
                "description": "Whether these are all: each node has told its reaches.",
            },
        },
        optional=("reaches", "complete"),
        description="What is known of one thing, here or gone.",
    ),
    "Reach": objectOf(
        {
            "id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
            "thing": {"type": "string", "minLength": 1},
            "service": TEXT,
            "by": {"type": "string", "description": "The operator's name."},
            "key": {"type": "string", "description": "The fingerprint of the operator's key."},
            "from": {"type": "string", "description": "The operator's address."},
            "since": _TIME,
            "node": {"type": "string", "description": "Which has the thing."},
            "octetsUp": {**_COUNT, "description": "To the thing."},
            "octetsDown": {**_COUNT, "description": "From the thing."},
        },
        description="An operator's way to a service of a thing, which is open.",
    ),
    "Reaches": objectOf({"reaches": listOf(reference("Reach")), "complete": {"type": "boolean"}}),
    "Event": objectOf(
        {
            "position": POSITION,
            "kind": {"enum": [kind.value for kind in Kind]},
            "id": {"type": "string", "minLength": 1},
            "epoch": _COUNT,
            "sequence": _COUNT,
            "node": TEXT,
            "session": TEXT,
            "at": _TIME,
            **_EVENT_DATA,
        },
        optional=_EVENT_DATA,
        description="Something that happened to a thing; what else is told depends on the kind.",
    ),
    "Things": objectOf(
        {
            "things": listOf(reference("Thing")),
            "following": _orNone(
                {"type": "string", "description": "Give it as after, for the next page."}
            ),
            "complete": {
                "type": "boolean",
                "description": "False if the shared registry is away, and only this node told, "
                "or if it is impaired.",
            },
            "node": {"type": "string", "description": "Which node answered."},
        }
    ),
    "Node": objectOf(
        {
            "node": TEXT,
            "since": _TIME,
            "lastSeen": {**_TIME, "description": "When it last said how it is, time of day."},
            "status": {"enum": ["up", "draining", "stopped", "lost"]},
            "sessions": _COUNT,
            "handshakes": {**_COUNT, "description": "In progress."},
            "completed": {**_COUNT, "description": "Handshakes, since the node started."},
            "terminations": {
                "type": "object",
                "additionalProperties": _COUNT,
                "description": "By cause, since the node started.",
            },
            "minutes": listOf(
                {
                    "type": "array",
                    "prefixItems": [_TIME, {"type": "object", "additionalProperties": _COUNT}],
                    "minItems": 2,
                    "maxItems": 2,
                },
                description="The terminations of each of the last minutes, by cause; without "
                "guests, who are no things, and the checks of balancers.",
            ),
            "loopLag": _SECONDS,
            "registry": {
                "type": "string",
                "description": "memory; of a shared one connected, impaired or away.",
            },
            "registryReason": {
                "type": "string",
                "description": "Why it is impaired or away, in one line.",
            },
            "version": TEXT,
            "advertised": {
                "type": "string",
                "description": "Where other nodes reach it, host:port; empty for nowhere.",
            },
            "fingerprint": {"type": "string", "description": "Of the raw key that it shows."},
        },
        description="How a node is.",
    ),
    "Nodes": objectOf(
        {"nodes": listOf(reference("Node"), minItems=1), "complete": {"type": "boolean"}}
    ),
    "History": objectOf(
        {
            "node": {"type": "string", "description": "Whose it is."},
            "span": {"enum": [*SPANS]},
            "step": {**_SECONDS, "description": "Between two points as a rule."},
            "at": listOf(_TIME, description="When each point ended; the oldest is first."),
            "seconds": listOf(_SECONDS, description="How long it took."),
            "sessions": listOf(_COUNT, description="How many were up at its end."),
            "joined": listOf(_COUNT, description="How many came up in it."),
            "left": listOf(_COUNT, description="How many ended in it."),
            "heartbeats": listOf(_COUNT, description="How many came in it."),
            "messages": listOf(_COUNT, description="How many things sent in it."),
            "roundTripP50": listOf(_orNone(_SECONDS), description="Half were below, about."),
            "roundTripP99": listOf(_orNone(_SECONDS), description="99 % were below, about."),
        },
        description="What a node's figures were: lists with a value for each point.",
    ),
    "Invitation": objectOf(_INVITATION, description="Who may join, once."),
    "Invitations": objectOf({"invitations": listOf(reference("Invitation"))}),
    "Invited": objectOf(
        {
            **_INVITATION,
            "token": {"type": "string", "description": "What the thing joins by. It is a secret."},
            "command": {"type": "string", "description": "What to type on the thing."},
            "qr": listOf(
                {"type": "string", "pattern": "^[01]+$"},
                description="The token as a QR code, row by row, a 1 for each dark module; empty "
                "if it is too long for one that cameras read.",
            ),
        },
        description="An invitation that was just made. Its token is told here and never again.",
    ),
    "Wish": objectOf(
        {
            "name": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_NAME,
                "description": "What the thing will be called: what shows to whoever reads it.",
            },
            "servers": listOf(
                {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": MAX_SERVER,
                    "examples": ["thing.example:9000"],
                },
                minItems=1,
                maxItems=MAX_SERVERS,
                description="Where the thing finds the server, HOST:PORT each, the best first.",
            ),
            "lifetime": {
                "type": "number",
                "exclusiveMinimum": 0,
                "maximum": MAX_LIFE,
                "default": LIFE,
                "description": "For how long it counts, seconds.",
            },
            "confirm": {"type": "boolean", "default": False},
            "replace": {"type": "boolean", "default": False},
        },
        optional=("lifetime", "confirm", "replace"),
        additionalProperties=False,
        description="Whom to invite.",
    ),
    "Confirmation": objectOf(
        {
            "fingerprint": {
                "type": "string",
                "pattern": "^SHA256:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]$",
                "description": "Of the key that has come: who says yes has seen it.",
            }
        },
        additionalProperties=False,
    ),
    "Reply": objectOf(
        {"acknowledged": {"const": True}, "reply": reference("Message")},
        description="The thing's program took the message; often it answers nothing.",
    ),
}
"""By name, as ``#/components/schemas`` has them; nobody may change them."""
