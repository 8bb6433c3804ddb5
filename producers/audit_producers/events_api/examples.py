"""The examples of the reference: requests as one sends them, and answers made by the code that answers.

A test sends the requests to a service and compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from audit_infra.http.problems import Fault, ProblemError, invalid
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


@dataclass(frozen=True, slots=True)
class Known:
    """A type of problem: an example, and what a caller does about it."""

    problem: ProblemError
    advice: str

    @property
    def body(self) -> dict[str, Any]:
        """The example."""
        return self.problem.body(REQUEST_ID)


_UNKNOWN = Fault("page", "unknown_parameter", "this request has no parameters")
_SCOPE = "this needs the scope audit:write"
_RATE = problems.rate_limited("100000 events per minute", 7)
KNOWN: Final = (
    Known(invalid((_UNKNOWN,)), "Parameters or headers are wrong; `errors` lists all. Repeating does not help."),
    Known(
        problems.unreadable("not JSON: Expecting ',' delimiter at line 1, column 18"),
        "The body is not strict JSON in UTF-8, or its gzip or zstd is damaged. Repeating does not help.",
    ),
    Known(
        ProblemError(401, "unauthenticated", "No valid credential", "the API key is not valid"),
        "No key, or one that is unknown, expired or revoked.",
    ),
    Known(ProblemError(403, "forbidden", "Not allowed", _SCOPE), "The key lacks the scope that `detail` names."),
    Known(problems.no_app(), "The key was made without an app; make one with `--app-id`."),
    Known(
        problems.foreign_workspace(),
        "An item names another workspace than the key's. Nothing was recorded; the key's workspace hears of it.",
    ),
    Known(problems.others_type("billing-bot"), "Only the app that used or described a type first may describe it."),
    Known(ProblemError(404, "not-found", "There is nothing here"), "The address is wrong."),
    Known(
        ProblemError(
            405,
            "method-not-allowed",
            "This method is not for this address",
            "events are read from the query service, not from the Events API",
            headers={"Allow": "POST"},
        ),
        "See the header Allow. Events are read from the query service.",
    ),
    Known(problems.not_acceptable(), "Accept must allow application/json."),
    Known(problems.too_slow(30), "Send the body faster, or a smaller one."),
    Known(
        problems.in_flight(), "Another attempt with one of the retry keys is being served. Repeat after Retry-After."
    ),
    Known(
        problems.too_large("events", problems.MAX_EVENTS),
        "Send less in one request; `limit` says how much. Bytes count before and after unpacking.",
    ),
    Known(
        problems.unsupported_media_type("Content-Type must be application/json"),
        "The body must be application/json, plain or with Content-Encoding gzip or zstd.",
    ),
    Known(
        problems.wrong_shape((Fault("/events", "empty", "must hold 1 to 1000 events", place="body"),)),
        "The body is JSON, but not an event or a list of events. Repeating does not help.",
    ),
    Known(
        problems.nothing_accepted([_NOT_RECORDED], ()),
        "No event was accepted; `results` says why, one by one. Repeating does not help.",
    ),
    Known(_REFUSED, "In a result: this event is not valid; `errors` lists all there is. Repeating does not help."),
    Known(
        problems.request_key_reused(),
        "A retry key came with other content before: the Idempotency-Key of the request, or in a result the event_id.",
    ),
    Known(_RATE, "Too much from this key or app. Nothing was recorded; repeat after Retry-After."),
    Known(
        ProblemError(500, "internal", "Something went wrong here"),
        "A fault of the service: quote the request_id. Repeat with the same retry key.",
    ),
    Known(problems.busy(), "Too many bodies are being read. Nothing was recorded; repeat after Retry-After."),
    Known(
        problems.not_taken(),
        "The spool is full, or the disk too slow. Results, when there are any, say what is recorded. Repeat.",
    ),
    Known(problems.unavailable(), "The control database does not answer. Nothing was recorded; repeat."),
    Known(
        problems.not_ready(["the spool is full: 1073741824 bytes wait for Kafka"]),
        "Answer of /readyz: the reasons why events can't be taken.",
    ),
)
"""Every type of problem the service answers with, by status."""

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
    "Known",
]
