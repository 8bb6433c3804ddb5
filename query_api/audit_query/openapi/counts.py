"""The rows of the table about numbers of events: facets and the histogram."""

from __future__ import annotations

from typing import Any, Final

from audit_infra.access import Scope
from audit_query.openapi.operation import JSON, Answer, Operation
from audit_query.openapi.parameters import FILTERS, INTERVAL, LISTED, SEARCH, JsonSchema
from audit_query.openapi.shapes import (
    BOOLEAN,
    COUNT,
    EXAMPLE_THROUGH,
    INSTANT,
    TEXT,
    TEXT_OR_NULL,
    record,
    reference,
    several,
)

_ABOUT: Final = (
    "Of the events that match all filters but its own. `scope` is `window` when the filters were left out because they"
    " cost too much; `exact` is false when only the newest rows were counted."
)
_BESIDE: Final = {
    "scope": {"enum": ["filtered", "window"]},
    "exact": BOOLEAN,
    "complete_through": reference("CompleteThrough"),
    "preview": reference("Preview"),
}
_VALUES: Final = {"scope": "filtered", "exact": True, "complete_through": EXAMPLE_THROUGH, "preview": None}
_AT: Final = "2026-03-14T12:00:00.000000Z"


def _answer(row: JsonSchema, example: dict[str, Any], /, **further: JsonSchema) -> tuple[Answer, ...]:
    shape = record(**further, data=several(row), **_BESIDE)
    return (Answer(JSON, shape, {**dict.fromkeys(further, "hour"), "data": [example], **_VALUES}),)


_LABELLED: Final = record(value=TEXT, label=TEXT, count=COUNT)
_COUNTED: Final = record(value=TEXT, count=COUNT)
COUNTS: Final = (
    Operation(
        "/v1/facets/users",
        "listUsers",
        "Facets",
        "The users that appear in the log, most recently active first.",
        Scope.READ,
        _answer(
            record(
                value=TEXT,
                actor_type=TEXT,
                id=TEXT_OR_NULL,
                name=TEXT_OR_NULL,
                email=TEXT_OR_NULL,
                count=COUNT,
                last_seen=INSTANT,
            ),
            {
                "value": "internal_user:u1",
                "actor_type": "internal_user",
                "id": "u1",
                "name": "Ada Lovelace",
                "email": "ada@example.com",
                "count": 3,
                "last_seen": _AT,
            },
        ),
        (*FILTERS, SEARCH, LISTED),
        description=_ABOUT,
        sample="search=ada&since=7d",
    ),
    Operation(
        "/v1/facets/events",
        "listEventTypes",
        "Facets",
        "The event types by category and label, native ones also without events.",
        Scope.READ,
        _answer(
            record(value=TEXT, label=TEXT, category=TEXT, app_id=TEXT_OR_NULL, count=COUNT),
            {"value": "file.downloaded", "label": "File Downloaded", "category": "files", "app_id": None, "count": 3},
        ),
        (*FILTERS, SEARCH),
        description=_ABOUT,
        sample="search=download",
    ),
    Operation(
        "/v1/facets/targets",
        "listTargets",
        "Facets",
        "What was acted on, latest first.",
        Scope.READ,
        _answer(
            record(value=TEXT, type=TEXT, id=TEXT_OR_NULL, name=TEXT_OR_NULL, count=COUNT, last_seen=INSTANT),
            {"value": "file:f1", "type": "file", "id": "f1", "name": "plan.pdf", "count": 3, "last_seen": _AT},
        ),
        (*FILTERS, SEARCH, LISTED),
        description=_ABOUT,
        sample="search=plan",
    ),
    Operation(
        "/v1/facets/categories",
        "listCategories",
        "Facets",
        "All categories.",
        Scope.READ,
        _answer(_LABELLED, {"value": "files", "label": "Files", "count": 3}),
        FILTERS,
        description=_ABOUT,
        sample="since=30d",
    ),
    Operation(
        "/v1/facets/sources",
        "listSources",
        "Facets",
        "All sources.",
        Scope.READ,
        _answer(_COUNTED, {"value": "web", "count": 3}),
        FILTERS,
        description=_ABOUT,
        sample="since=30d",
    ),
    Operation(
        "/v1/facets/actor-types",
        "listActorTypes",
        "Facets",
        "All types of actors.",
        Scope.READ,
        _answer(_COUNTED, {"value": "internal_user", "count": 3}),
        FILTERS,
        description=_ABOUT,
        sample="since=30d",
    ),
    Operation(
        "/v1/histogram",
        "getHistogram",
        "Histogram",
        "How many events there are over time.",
        Scope.READ,
        _answer(
            record(start=INSTANT, end=INSTANT, count=COUNT),
            {"start": _AT, "end": "2026-03-14T13:00:00.000000Z", "count": 3},
            interval=TEXT_OR_NULL,
        ),
        (*FILTERS, INTERVAL),
        description="`interval` says which one was taken; it is null when nothing is in an open range.",
        sample="since=24h&interval=hour",
    ),
)
"""In the order the reference shows them."""

__all__ = ["COUNTS"]
