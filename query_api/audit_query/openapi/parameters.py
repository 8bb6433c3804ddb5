"""What can be asked for: the meaning, the schema and an example of every parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from audit_query.exports.form import FORMATS
from audit_query.exports.rows import COLUMN_NAMES
from audit_query.facets import MOST
from audit_query.filters import MAX_LIMIT, MAX_VALUES, META, NOT, PARAMETERS
from audit_query.histogram import INTERVALS
from audit_query.rows import FIELDS
from audit_schemas.event import ACTOR_TYPES, OUTCOMES, SOURCES
from audit_schemas.topics import CATEGORIES

JsonSchema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `example` is a value as it is sent; `place` is query, path or header."""

    name: str
    text: str
    example: Any
    schema: JsonSchema
    place: str = "query"

    @property
    def many(self) -> bool:
        """Whether it may be repeated."""
        return self.schema.get("type") == "array"

    def described(self) -> dict[str, Any]:
        """As OpenAPI has it."""
        return {
            "name": self.name,
            "in": self.place,
            "required": self.place != "query",
            "description": self.text,
            "schema": self.schema,
            "example": [self.example] if self.many else self.example,
        }


def _text(most: int, least: int = 1, **further: Any) -> JsonSchema:
    return {"type": "string", "minLength": least, "maxLength": most, **further}


def _many(inner: JsonSchema) -> JsonSchema:
    return {"type": "array", "items": inner, "minItems": 1, "maxItems": MAX_VALUES}


_OF_ANY_FORMAT: Final = list(dict.fromkeys(name for names in COLUMN_NAMES.values() for name in names))


def _listed(names: Sequence[str]) -> str:
    name = f"({'|'.join(names)})"
    return f"^{name}(,{name})*$"


_FILTERS: Final = {
    one.name: one
    for one in (
        Parameter(
            "user",
            "Who did it: `<actor type>:<id>`, split at the first colon only when an actor type precedes it; else an id of"
            " any type. `value` of `/v1/facets/users` is exactly that.",
            "internal_user:u1",
            _many(_text(160)),
        ),
        Parameter("event", "Event type, native or custom.", "auth.login_failed", _many(_text(96))),
        Parameter("app", "The custom app that recorded the event.", "crm", _many(_text(64))),
        Parameter("request_id", "The request that the event is part of.", "req-7f3a", _many(_text(128))),
        Parameter("category", f"One of {', '.join(CATEGORIES)}.", "authentication", _many({"enum": list(CATEGORIES)})),
        Parameter("source", "Where the action came from.", "web", _many({"enum": list(SOURCES)})),
        Parameter(
            "actor_type", f"Kind of actor: {', '.join(ACTOR_TYPES)}.", "client", _many({"enum": list(ACTOR_TYPES)})
        ),
        Parameter("outcome", "How it ended.", "failure", _many({"enum": list(OUTCOMES)})),
        Parameter(
            "target",
            "What was acted on, any of an event's targets: `<type>:<id>`, or `<type>:` for any of the type.",
            "file:f1",
            _many(_text(193, pattern="^[a-z][a-z0-9_]{0,63}:")),
        ),
        Parameter("ip", "Address or CIDR range, IPv4 or IPv6. Needs `audit:pii`.", "203.0.113.0/24", _many(_text(64))),
        Parameter(
            "q",
            "Words, in any order: every one must occur among the words of names, e-mails, ids of targets, label, event"
            " type, and metadata. Case does not matter.",
            "quarterly plan",
            _many(_text(500)),
        ),
    )
}
_META: Final = Parameter(
    "meta",
    "`meta.<key>=<value>`: everything after `meta.` is a literal top-level key of the metadata. Text matches by content,"
    ' numbers and booleans by their JSON text (`5` matches 5 and "5"). `not_meta.<key>` is the complement.',
    {"meta.plan": "gold"},
    {
        "type": "object",
        "propertyNames": {"pattern": r"^(not_)?meta\.[A-Za-z0-9][A-Za-z0-9_]{0,39}$"},
        "additionalProperties": _text(500, least=0),
    },
)
RANGE: Final = (
    Parameter(
        "since",
        "From this instant on: RFC 3339 with an offset, a date with `tz`, or a span before now such as `15m`, `24h`, `7d`,"
        " resolved at the first page.",
        "24h",
        _text(40),
    ),
    Parameter(
        "until",
        "Before this instant: RFC 3339 with an offset, or a date with `tz`, which includes that whole local day.",
        "2026-03-14T12:00:00Z",
        _text(40),
    ),
    Parameter("tz", "The zone of dates, and of local times in exports.", "Europe/Berlin", _text(64)),
)
PAGING: Final = (
    Parameter("limit", "Events per page.", 50, {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50}),
    Parameter(
        "cursor",
        "From `next` or `prev` of another page of the same filter. Follow those links as they are; a cursor is bound to"
        " the workspace and the filter.",
        "m3Yx…",
        _text(2000, least=0),
    ),
    Parameter(
        "fields",
        "Only these fields of each event, in this order: repeated, or with commas between them.",
        "event_id,label,occurred_at",
        {"type": "array", "items": {"type": "string", "pattern": _listed(FIELDS)}},
    ),
    Parameter(
        "count",
        "`1` counts all matching events, at most 10 000: `count` then holds `value` and whether it is `capped`.",
        "1",
        {"enum": ["0", "1"], "default": "0"},
    ),
)
SEARCH: Final = Parameter(
    "search", "Part of a name, e-mail, id or label. Case does not matter.", "ada", _text(200, least=0)
)
EXPORT: Final = (
    Parameter(
        "format",
        "CSV for people and spreadsheets, NDJSON with the API's rows, Parquet for analysis.",
        "ndjson",
        {"enum": list(FORMATS), "default": "csv"},
    ),
    Parameter(
        "columns",
        "Only these columns of the format, in this order: repeated, or with commas between them.",
        "event_id,event_type",
        {"type": "array", "items": {"type": "string", "pattern": _listed(_OF_ANY_FORMAT)}},
    ),
    Parameter("order", "Newest first, or oldest first.", "asc", {"enum": ["desc", "asc"], "default": "desc"}),
    Parameter(
        "raw",
        "CSV: `1` leaves cells as they are; by default spreadsheets can't take them for formulas.",
        "1",
        {"enum": ["0", "1"], "default": "0"},
    ),
    Parameter(
        "header", "CSV: English headers or field names.", "names", {"enum": ["labels", "names"], "default": "labels"}
    ),
    Parameter("bom", "CSV: `1` puts a byte-order mark first.", "1", {"enum": ["0", "1"], "default": "0"}),
)
LISTED: Final = Parameter(
    "limit", "Rows of the answer.", 20, {"type": "integer", "minimum": 1, "maximum": MOST, "default": 50}
)
INTERVAL: Final = Parameter(
    "interval",
    "Length of a bucket; `auto` takes the finest of which 200 hold the range. Days and longer are those of `tz`.",
    "hour",
    {"enum": ["auto", *INTERVALS], "default": "auto"},
)
AFTER: Final = Parameter(
    "after",
    "Go on behind this `id` of a stream of the same filter; the header `Last-Event-ID` does the same.",
    "eNqrVkrO…",
    _text(10_000),
)
EVENT_ID: Final = Parameter(
    "event_id", "The event's id, a UUID.", "0198c7a2-6c1e-7d3a-9f10-3b5a7c9d1e2f", _text(64), place="path"
)


def _both_ways(name: str) -> tuple[Parameter, ...]:
    """A filter parameter and its complement; the one of metadata stands for both."""
    if name == META:
        return (_META,)
    plain = _FILTERS[name]
    text = f"The exact complement of `{name}`: everything that it does not match."
    return plain, Parameter(NOT + name, text, plain.example, plain.schema)


FILTERS: Final = (*(one for each in PARAMETERS for one in _both_ways(each.name)), *RANGE)
"""What every question about events takes."""

__all__ = [
    "AFTER",
    "EVENT_ID",
    "EXPORT",
    "FILTERS",
    "INTERVAL",
    "LISTED",
    "PAGING",
    "RANGE",
    "SEARCH",
    "JsonSchema",
    "Parameter",
]
