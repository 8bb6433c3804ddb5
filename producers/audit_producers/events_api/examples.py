"""The examples of the reference: requests as one sends them, and answers made by the code that answers.

A test sends the requests to a service and compares.
"""

from __future__ import annotations

from typing import Any, Final

from audit_infra.http import body_problems
from audit_infra.http.accept import not_acceptable
from audit_infra.http.problems import (
    FORBIDDEN,
    INTERNAL,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    UNAUTHENTICATED,
    Fault,
    ProblemError,
    invalid,
)
from audit_infra.http.rates import rate_limited
from audit_producers.events_api import problems
from audit_producers.events_api.identity import Identities
from audit_schemas.errors import Problem

WORKSPACE, APP, REQUEST_ID = "acme", "crm", "6f0f1b6f3f0e4f5f9d3c5b7a9e1d2c4b"
_IDS = Identities(WORKSPACE, APP)

ONE: Final[dict[str, Any]] = {
    "event_id": "deal-4711-won",
    "event_type": "deal.won",
    "label": "Deal won",
    "occurred_at": "2026-03-14T12:00:00.123456Z",
    "targets": [{"type": "deal", "id": "4711", "name": "New roof"}],
    "outcome": "success",
    "metadata": {"amount": 129900, "currency": "EUR"},
}
FOR_A_PERSON: Final[dict[str, Any]] = {
    "event_id": "deal-4711-stage-7",
    "event_type": "deal.stage_changed",
    "actor": {"type": "internal_user", "id": "u1", "name": "Ada Lovelace", "email": "ada@example.com"},
    "ip": "203.0.113.7",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "targets": [{"type": "deal", "id": "4711", "name": "New roof"}],
    "changes": [{"path": "stage", "old": "offer", "new": "won"}],
    "request_id": "req-1",
    "session_id": "s-1",
}
BATCH: Final[dict[str, Any]] = {
    "events": [
        ONE,
        ONE,
        {"event_id": "login-1", "event_type": "auth.login_failed", "ip": "203.0.113.7"},
    ]
}
DESCRIPTION: Final[dict[str, Any]] = {
    "label": "Deal won",
    "schema": {
        "type": "object",
        "required": ["amount"],
        "properties": {"amount": {"type": "integer", "minimum": 0}, "currency": {"type": "string"}},
    },
    "mode": "reject",
}

_NATIVE = Problem(
    "/event_type",
    "native_event_type",
    "is a native type: native events are emitted by the product (GET /v1/catalogue lists them)",
)
_ADDRESS = Problem("/ip", "of_the_caller", "is the caller's own unless the actor is a person; leave it out")
_REFUSED = problems.invalid_event((Fault.of(_NATIVE), Fault.of(_ADDRESS)))
_ID = _IDS.of_event("deal-4711-won")

ANSWER: Final[dict[str, Any]] = {
    "results": [{"status": "accepted", "event_id": _ID}],
    "durability": "spooled",
}
_NOT_RECORDED: Final[dict[str, Any]] = {
    "status": "rejected",
    "event_id": "login-1",
    "problem": _REFUSED.body(REQUEST_ID),
}
BATCH_ANSWER: Final[dict[str, Any]] = {
    "results": [
        {"status": "accepted", "event_id": _ID},
        {"status": "duplicate", "event_id": _ID},
        _NOT_RECORDED,
    ],
    "durability": "spooled",
}
EVENT_TYPE: Final[dict[str, Any]] = {
    "name": "deal.won",
    "app_id": APP,
    "first_used_at": "2026-03-14T12:00:00.321Z",
    **DESCRIPTION,
}
REFUSED: Final[dict[str, Any]] = {"day": "2026-03-14", "app_id": APP, "reason": "rate_limit", "events": 500}


_UNKNOWN = Fault("page", "unknown_parameter", "this request has no parameters")
KNOWN: Final = (
    invalid((_UNKNOWN,)),
    body_problems.unreadable("not JSON: Expecting ',' delimiter at line 1, column 18"),
    ProblemError(UNAUTHENTICATED, "the API key is not valid"),
    ProblemError(FORBIDDEN, "this needs the scope audit:write"),
    problems.no_app(),
    problems.foreign_workspace(),
    problems.others_type("billing-bot"),
    ProblemError(NOT_FOUND),
    ProblemError(
        METHOD_NOT_ALLOWED,
        "events are read from the query service, not from the Events API",
        headers={"Allow": "POST"},
    ),
    not_acceptable(("application/json",)),
    body_problems.too_slow(30),
    problems.in_flight(),
    body_problems.too_large("events", problems.MAX_EVENTS),
    body_problems.unsupported_media_type("Content-Type must be application/json"),
    body_problems.wrong_shape((Fault("/events", "empty", "must hold 1 to 1000 events", place="body"),)),
    problems.nothing_accepted([_NOT_RECORDED], ()),
    _REFUSED,
    problems.request_key_reused(),
    rate_limited("100000 events per minute", 7, problems.NOT_RECORDED),
    ProblemError(INTERNAL),
    body_problems.busy(),
    problems.not_taken(),
    problems.unavailable(),
    problems.not_ready(["the spool is full: 1073741824 bytes wait for Kafka"]),
)
"""An example of every type of problem the service answers with, by status."""

__all__ = [
    "ANSWER",
    "APP",
    "BATCH",
    "BATCH_ANSWER",
    "DESCRIPTION",
    "EVENT_TYPE",
    "FOR_A_PERSON",
    "KNOWN",
    "ONE",
    "REFUSED",
    "REQUEST_ID",
    "WORKSPACE",
]
