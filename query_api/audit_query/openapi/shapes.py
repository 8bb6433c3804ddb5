"""What is answered: the schema of every answer, and the examples that the reference shows."""

from __future__ import annotations

from typing import Any, Final

from audit_query.openapi.parameters import JsonSchema
from audit_schemas.event import ACTOR_TYPES
from audit_schemas.topics import CATEGORIES

TEXT: Final[JsonSchema] = {"type": "string"}
TEXT_OR_NULL: Final[JsonSchema] = {"type": ["string", "null"]}
COUNT: Final[JsonSchema] = {"type": "integer", "minimum": 0}
BOOLEAN: Final[JsonSchema] = {"type": "boolean"}
INSTANT: Final[JsonSchema] = {"type": "string", "format": "date-time"}
INSTANT_OR_NULL: Final[JsonSchema] = {"type": ["string", "null"], "format": "date-time"}


def record(description: str = "", /, **fields: JsonSchema) -> JsonSchema:
    """An object that always has these fields. It may have more: clients must tolerate new ones."""
    found: JsonSchema = {"type": "object", "required": list(fields), "properties": fields}
    return {"description": description} | found if description else found


def several(inner: JsonSchema) -> JsonSchema:
    """A list."""
    return {"type": "array", "items": inner}


def reference(name: str) -> JsonSchema:
    """One of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _about(schema: JsonSchema, description: str) -> JsonSchema:
    return schema | {"description": description}


def _optional(description: str, **fields: JsonSchema) -> JsonSchema:
    return {"description": description, "type": "object", "properties": fields}


EVENT: Final = _optional(
    "An event: every field, unless `fields` names some. Absent text is null, times are UTC with microseconds.",
    event_id=_about({"type": "string", "format": "uuid"}, "Identity for ever, a UUID."),
    workspace_id=_about(TEXT, "The workspace: always the credential's."),
    category=_about({"enum": list(CATEGORIES)}, "One of the 12 categories."),
    event_type=_about(TEXT, "Stable name."),
    label=_about(TEXT, "The name people know it by."),
    occurred_at=_about(INSTANT, "When it happened."),
    received_at=_about(INSTANT_OR_NULL, "When the Events API took it; null for events of the product."),
    accepted_at=_about(INSTANT, "When Kafka took it."),
    ingested_at=_about(INSTANT, "When it was stored."),
    late=_about(BOOLEAN, "Whether it was accepted more than a minute (a setting) after it happened."),
    actor=record(
        "Who did it.",
        type=_about(TEXT, f"One of {', '.join(ACTOR_TYPES)}."),
        id=TEXT_OR_NULL,
        name=TEXT_OR_NULL,
        email=TEXT_OR_NULL,
    ),
    on_behalf_of={
        "description": "The person behind a key, automation, app or assistant.",
        "anyOf": [record(type=TEXT, id=TEXT_OR_NULL, name=TEXT_OR_NULL), {"type": "null"}],
    },
    source=_about(TEXT_OR_NULL, "web, automation or api."),
    ip=TEXT_OR_NULL,
    user_agent=TEXT_OR_NULL,
    targets=_about(
        several(record(type=TEXT, id=TEXT_OR_NULL, name=TEXT_OR_NULL)), "What was acted on; the first is primary."
    ),
    outcome=_about(TEXT_OR_NULL, "success, failure or unknown."),
    outcome_reason=_about(TEXT_OR_NULL, "A short code."),
    changes=_about(
        several({"type": "object", "required": ["path"], "properties": {"path": TEXT, "old": {}, "new": {}}}),
        'What became what; secrets are `{"redacted": true}`.',
    ),
    metadata=_about({"type": "object"}, "Whatever else the producer said."),
    request_id=TEXT_OR_NULL,
    session_id=TEXT_OR_NULL,
    app_id=_about(TEXT_OR_NULL, "The custom app that recorded it."),
    producer=record(
        "The process that recorded it, and its number there.",
        service=TEXT_OR_NULL,
        instance=TEXT_OR_NULL,
        version=TEXT_OR_NULL,
        seq={"type": "integer"},
    ),
)
EXPORTED_EVENT: Final[JsonSchema] = {
    **EVENT,
    "properties": EVENT["properties"]
    | {
        "kafka": record(
            "Where Kafka holds it.",
            topic=TEXT,
            topic_id=TEXT,
            partition={"type": "integer"},
            offset={"type": "integer"},
        )
    },
}
COMPLETE_THROUGH: Final = _about(
    record(all=INSTANT_OR_NULL, **dict.fromkeys(CATEGORIES, INSTANT_OR_NULL)),
    "Up to which moment of acceptance every event is shown; null where that is not known.",
)
PREVIEW: Final[JsonSchema] = {
    "description": "Null on plans that show everything.",
    "anyOf": [record(since=INSTANT, plan=TEXT, clamped=BOOLEAN, upgrade_url=TEXT), {"type": "null"}],
}
PAGE: Final = record(
    data=several(reference("Event")),
    next=_about(TEXT_OR_NULL, "Where older events are; null at the end."),
    prev=_about(TEXT_OR_NULL, "Where newer events are; null at the beginning."),
    complete_through=reference("CompleteThrough"),
    preview=reference("Preview"),
)
PAGE["properties"]["count"] = record("With `count=1`.", value=COUNT, capped=BOOLEAN)
CATALOGUE: Final = record(
    data=record(
        categories=several(record(name={"enum": list(CATEGORIES)}, label=TEXT)),
        types=several(
            record(
                name=TEXT,
                label=TEXT,
                category={"enum": list(CATEGORIES)},
                since=TEXT,
                targets=several(TEXT),
                changes_required=BOOLEAN,
                ocsf=record(**{"class": {"type": "integer"}, "activity": {"type": "integer"}}),
            )
        ),
    )
)
GAPS: Final = record(
    data=several(
        record(
            service=TEXT,
            instance=TEXT,
            first_seq=COUNT,
            last_seq=COUNT,
            events=COUNT,
            since=_about(INSTANT, "When the first event behind the hole was stored."),
        )
    ),
    total=record(gaps=COUNT, events=COUNT),
    unwatched=_about(
        several(record(service=TEXT, instance=TEXT, from_seq=COUNT)),
        "Instances with more than 100 000 holes: nothing is said of them from `from_seq` on.",
    ),
    checked_at=_about(INSTANT_OR_NULL, "Up to which moment stored events were looked at."),
)
_BY_CATEGORY: Final = ("all", *CATEGORIES)
_SECONDS_OR_NULL: Final[JsonSchema] = {"type": ["number", "null"], "minimum": 0}
_LAG: Final[JsonSchema] = {"anyOf": [record(p50_s={"type": "number"}, p99_s={"type": "number"}), {"type": "null"}]}
FRESHNESS: Final = record(
    complete_through=reference("CompleteThrough"),
    behind_s=record(**dict.fromkeys(_BY_CATEGORY, _SECONDS_OR_NULL)),
    lag=record(**dict.fromkeys(_BY_CATEGORY, _LAG)),
    lag_window_s={"type": "number"},
    slowest=record(
        category={"enum": list(CATEGORIES)},
        partition={"type": ["integer", "null"]},
        complete_through=INSTANT_OR_NULL,
        behind_s=_SECONDS_OR_NULL,
        paused=BOOLEAN,
    ),
)
PROBLEM: Final = record(
    "A problem (RFC 9457). Some types add members of their own, such as `upgrade_url`.",
    type=_about(TEXT, "Stable; see the table of problems."),
    title=TEXT,
    status={"type": "integer"},
    detail=TEXT,
    request_id=_about(TEXT, "Also in the header X-Request-Id; quote it."),
    errors=_about(
        several(
            {
                "type": "object",
                "required": ["in", "code", "message"],
                "properties": {
                    "in": {"enum": ["query", "header", "path", "body"]},
                    "name": _about(TEXT, "The parameter or header."),
                    "pointer": _about(TEXT, "JSON pointer (RFC 6901) into the body."),
                    "code": _about(TEXT, "Stable."),
                    "message": TEXT,
                    "allowed": several(TEXT),
                },
            }
        ),
        "Everything that is wrong, at once.",
    ),
)
SCHEMAS: Final[dict[str, JsonSchema]] = {
    "Event": EVENT,
    "ExportedEvent": EXPORTED_EVENT,
    "Page": PAGE,
    "CompleteThrough": COMPLETE_THROUGH,
    "Preview": PREVIEW,
    "Catalogue": CATALOGUE,
    "Gaps": GAPS,
    "Freshness": FRESHNESS,
    "Problem": PROBLEM,
}

_NOON: Final = "2026-03-14T12:00:00.000000Z"
EXAMPLE_EVENT: Final[dict[str, Any]] = {
    "event_id": "0198c7a2-6c1e-7d3a-9f10-3b5a7c9d1e2f",
    "workspace_id": "acme",
    "category": "files",
    "event_type": "file.downloaded",
    "label": "File Downloaded",
    "occurred_at": _NOON,
    "received_at": None,
    "accepted_at": "2026-03-14T12:00:00.213000Z",
    "ingested_at": "2026-03-14T12:00:00.950000Z",
    "late": False,
    "actor": {"type": "internal_user", "id": "u1", "name": "Ada Lovelace", "email": "ada@example.com"},
    "on_behalf_of": None,
    "source": "web",
    "ip": "203.0.113.7",
    "user_agent": "Mozilla/5.0",
    "targets": [{"type": "file", "id": "f1", "name": "plan.pdf"}],
    "outcome": "success",
    "outcome_reason": None,
    "changes": [],
    "metadata": {"size": 5},
    "request_id": "req-1",
    "session_id": None,
    "app_id": None,
    "producer": {"service": "files", "instance": "0198c7a2-0000-7000-8000-000000000000", "version": "1", "seq": 41},
}
EXAMPLE_LINE: Final[dict[str, Any]] = EXAMPLE_EVENT | {
    "kafka": {"topic": "audit.files", "topic_id": "oD1vXb7xQbeQ3jZ2kq0y4A", "partition": 3, "offset": 41}
}
EXAMPLE_THROUGH: Final = dict.fromkeys(("all", *CATEGORIES), "2026-03-14T12:00:05.000Z")
EXAMPLE_FRESHNESS: Final[dict[str, Any]] = {
    "complete_through": EXAMPLE_THROUGH,
    "behind_s": dict.fromkeys(_BY_CATEGORY, 1.2),
    "lag": dict.fromkeys(_BY_CATEGORY) | {"all": {"p50_s": 0.61, "p99_s": 1.08}},
    "lag_window_s": 300,
    "slowest": {
        "category": "files",
        "partition": 3,
        "complete_through": EXAMPLE_THROUGH["all"],
        "behind_s": 1.2,
        "paused": False,
    },
}
EXAMPLE_PAGE: Final[dict[str, Any]] = {
    "data": [EXAMPLE_EVENT],
    "next": "/v1/events?since=24h&cursor=m3Yx%E2%80%A6",
    "prev": None,
    "complete_through": EXAMPLE_THROUGH,
    "preview": None,
}

__all__ = [
    "BOOLEAN",
    "COUNT",
    "EVENT",
    "EXAMPLE_EVENT",
    "EXAMPLE_FRESHNESS",
    "EXAMPLE_LINE",
    "EXAMPLE_PAGE",
    "EXAMPLE_THROUGH",
    "INSTANT",
    "INSTANT_OR_NULL",
    "SCHEMAS",
    "TEXT",
    "TEXT_OR_NULL",
    "record",
    "reference",
    "several",
]
