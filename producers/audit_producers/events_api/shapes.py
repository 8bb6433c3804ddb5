"""JSON Schemas of what is sent and answered: the contract in the reference, the same for people and machines."""

from __future__ import annotations

from typing import Any, Final

from audit_producers.events_api.descriptions import MAX_LABEL, MODES
from audit_producers.events_api.fields import PEOPLE
from audit_producers.events_api.intake import MAX_KEY, MAX_TYPE, TYPE_PATTERN
from audit_producers.events_api.problems import MAX_EVENTS
from audit_producers.events_api.refusals import Reason
from audit_schemas.event import MAX_USER_AGENT, OUTCOMES

Shape = dict[str, Any]
_NO_NUL: Final = r"^[^\x00]*$"
_WORD: Final = "^[a-z][a-z0-9_]{0,63}$"


def _text(most: int, least: int = 0, about: str = "", **further: Any) -> Shape:
    shape: Shape = {"type": "string", "maxLength": most, "pattern": _NO_NUL}
    return shape | ({"minLength": least} if least else {}) | ({"description": about} if about else {}) | further


def _object(properties: dict[str, Shape], required: tuple[str, ...] = (), about: str = "") -> Shape:
    shape: Shape = {"type": "object", "additionalProperties": False, "properties": properties}
    return shape | ({"required": list(required)} if required else {}) | ({"description": about} if about else {})


def _or_null(shape: Shape) -> Shape:
    """Null counts as absent where a field may be left out."""
    found = shape | {"type": [shape["type"], "null"]}
    return found | ({"enum": [*shape["enum"], None]} if "enum" in shape else {})


_ACTOR = _object(
    {
        "type": {"type": "string", "enum": ["custom_app", *PEOPLE]},
        "id": _text(128, about="The person's id in the workspace; of the app itself only its own."),
        "name": _text(256),
        "email": _text(320),
    },
    ("type",),
    "Who did it: left out, the app itself. Name a person when the app acts for one: the log then shows the person, "
    "via the app.",
)
_TARGET = _object(
    {"type": {"type": "string", "pattern": _WORD}, "id": _text(128), "name": _text(256)},
    ("type",),
)
_CHANGE = _object(
    {"path": _text(256, 1), "old": {}, "new": {}},
    ("path", "old", "new"),
    "Values of fields with secret names are replaced before anything is stored.",
)
_METADATA: Final[Shape] = {
    "type": "object",
    "maxProperties": 50,
    "propertyNames": {"maxLength": 40, "pattern": r"^([^_\x00][^\x00]*)?$"},
    "description": "What else is worth knowing: up to 50 keys of 40 characters, texts up to 500; nesting is fine. "
    "Keys that begin with _ are the log's own.",
}
EVENT: Final[Shape] = _object(
    {
        "event_type": {
            "type": "string",
            "maxLength": MAX_TYPE,
            "pattern": TYPE_PATTERN,
            "description": "The app's own type. Types of the product's catalogue are refused.",
        },
        "event_id": _or_null(
            _text(MAX_KEY, 1, "Retry key: any text that means this event to you. The stored id is made from it.")
        ),
        "occurred_at": _or_null(
            {
                "type": "string",
                "format": "date-time",
                "description": "When it happened, with an offset; from ten years ago to five minutes ahead. Left out: "
                "now, and on a retry the instant of the first attempt.",
            }
        ),
        "label": _or_null(_text(MAX_LABEL, about="What the type is called on the page. Left out: as recorded before.")),
        "actor": _or_null(_ACTOR),
        "ip": _or_null(
            {
                "type": "string",
                "description": "The person's address; only with a person as actor. What is no address is kept in "
                "metadata._ip_raw.",
            }
        ),
        "user_agent": _or_null(
            {
                "type": "string",
                "pattern": _NO_NUL,
                "description": f"The person's; only with a person as actor. Cut after {MAX_USER_AGENT} characters.",
            }
        ),
        "targets": _or_null(
            {
                "type": "array",
                "maxItems": 16,
                "items": _TARGET,
                "description": "What was acted on; the first is the main one.",
            }
        ),
        "outcome": _or_null(
            {"type": "string", "enum": list(OUTCOMES), "description": "Left out: success, or failure for *_failed."}
        ),
        "outcome_reason": _or_null(_text(64, about="A short code.")),
        "changes": _or_null(
            {"type": "array", "maxItems": 64, "items": _CHANGE, "description": "What was changed, from what to what."}
        ),
        "metadata": _or_null(_METADATA),
        "request_id": _or_null(_text(128, about="For correlation.")),
        "session_id": _or_null(_text(128, about="For correlation.")),
        "workspace_id": _or_null(_text(64, about="Set by the server; may repeat the key's workspace.")),
        "app_id": _or_null(_text(64, about="Set by the server; may repeat the key's app.")),
        "source": _or_null({"type": "string", "enum": ["api"], "description": "Set by the server."}),
        "category": _or_null({"type": "string", "enum": ["developer"], "description": "Set by the server."}),
        "on_behalf_of": _or_null(
            _object(
                {"type": {"type": "string", "enum": list(PEOPLE)}, "id": _text(128), "name": _text(256)},
                ("type", "id", "name"),
                "Set by the server: the person named as actor.",
            )
        ),
    },
    ("event_type",),
    "One action. At most 64 KiB as it is stored. Unknown fields are refused.",
)
BATCH: Final[Shape] = _object(
    {
        "events": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_EVENTS,
            "items": {"$ref": "#/components/schemas/Event"},
        }
    },
    ("events",),
)
FAULT: Final[Shape] = {
    "type": "object",
    "required": ["in", "code", "message"],
    "properties": {
        "in": {"type": "string", "enum": ["body", "header", "path", "query"]},
        "pointer": {"type": "string", "description": "In a body: a JSON pointer, within the event."},
        "name": {"type": "string", "description": "Elsewhere: the parameter or header."},
        "code": {"type": "string", "description": "Stable."},
        "message": {"type": "string", "description": "For people."},
        "allowed": {"type": "array", "items": {"type": "string"}},
    },
}
PROBLEM: Final[Shape] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id", "errors"],
    "properties": {
        "type": {"type": "string", "description": "Stable: urn:audit-log:problem:…"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "Also in the header X-Request-Id; quote it."},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Fault"}},
        "limit": {"type": ["integer", "string"], "description": "The limit that was reached."},
        "results": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}},
    },
}
RESULT: Final[Shape] = {
    "type": "object",
    "required": ["status", "event_id"],
    "properties": {
        "status": {"type": "string", "enum": ["accepted", "duplicate", "rejected"]},
        "event_id": {
            "type": ["string", "null"],
            "description": "The stored id; of a rejected event the retry key as it was sent, or null.",
        },
        "problem": {"$ref": "#/components/schemas/Problem"},
    },
}
ANSWER: Final[Shape] = {
    "type": "object",
    "required": ["results", "durability"],
    "properties": {
        "results": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/Result"},
            "description": "One per event, in the order of the request.",
        },
        "durability": {
            "type": "string",
            "enum": ["spooled", "kafka"],
            "description": "Who keeps the accepted events: this service's disk, or Kafka.",
        },
    },
}
DESCRIPTION: Final[Shape] = _object(
    {
        "label": _or_null(_text(MAX_LABEL, about="Left out: the recorded one stays, or is made from the name.")),
        "schema": _or_null(
            {"type": "object", "description": "JSON Schema (draft 2020-12) for metadata; without references."}
        ),
        "mode": _or_null(
            {
                "type": "string",
                "enum": list(MODES),
                "description": "An event that does not match is not accepted (reject, unless told otherwise), or is "
                "with metadata._schema_violations (flag).",
            }
        ),
    }
)
EVENT_TYPE: Final[Shape] = {
    "type": "object",
    "required": ["name", "label", "app_id", "first_used_at", "schema", "mode"],
    "properties": {
        "name": {"type": "string"},
        "label": {"type": "string"},
        "app_id": {"type": "string", "description": "The app that used or described it first."},
        "first_used_at": {"type": ["string", "null"], "format": "date-time"},
        "schema": {"type": ["object", "null"]},
        "mode": {"type": "string", "enum": list(MODES)},
    },
}
REFUSED: Final[Shape] = {
    "type": "object",
    "required": ["day", "app_id", "reason", "events"],
    "properties": {
        "day": {"type": "string", "format": "date", "description": "UTC."},
        "app_id": {"type": "string"},
        "reason": {"type": "string", "enum": [reason.value for reason in Reason]},
        "events": {"type": "integer", "description": "A body that can't be read counts as one."},
    },
}

__all__ = [
    "ANSWER",
    "BATCH",
    "DESCRIPTION",
    "EVENT",
    "EVENT_TYPE",
    "FAULT",
    "PROBLEM",
    "REFUSED",
    "RESULT",
    "Shape",
]
