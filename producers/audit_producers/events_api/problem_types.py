"""The types of problem only the Events API has, and the table of all its types."""

from __future__ import annotations

from typing import Final

from audit_infra.http.body_problems import OF_BODIES
from audit_infra.http.problems import SHARED, ProblemType
from audit_infra.http.rates import RATE_LIMITED

NO_APP: Final = ProblemType(
    "no-app",
    403,
    "The credential belongs to no app",
    "The key was made without an app.",
    "Make one with `--app-id`.",
)
FOREIGN_WORKSPACE: Final = ProblemType(
    "foreign-workspace",
    403,
    "The credential is not for this workspace",
    "An item names another workspace than the key's. Nothing was recorded; the key's workspace hears of it.",
    "Leave `workspace_id` out.",
)
OTHERS_TYPE: Final = ProblemType(
    "others-type",
    403,
    "The type belongs to another app",
    "Only the app that used or described a type first may describe it.",
    "Use a name of your own.",
)
IN_FLIGHT: Final = ProblemType(
    "in-flight",
    409,
    "Another attempt with this retry key is being served",
    "Another attempt with one of the retry keys is being served.",
    "Repeat after Retry-After.",
)
NOTHING_ACCEPTED: Final = ProblemType(
    "nothing-accepted",
    422,
    "No event was accepted",
    "No event was accepted; `results` says why, one by one.",
    "Repeating does not help.",
)
INVALID_EVENT: Final = ProblemType(
    "invalid-event",
    422,
    "The event is not valid",
    "In a result: this event is not valid; `errors` lists all there is.",
    "Repeating does not help.",
)
KEY_REUSED: Final = ProblemType(
    "key-reused",
    422,
    "The retry key belongs to something else",
    "A retry key came with other content before: the Idempotency-Key of the request, or in a result the event_id.",
    "Send new content with a new key.",
)
NOT_TAKEN: Final = ProblemType(
    "not-taken",
    503,
    "The log can't take events right now",
    "The spool is full, or the disk too slow. Results, when there are any, say what is recorded.",
    "Repeat.",
)
UNAVAILABLE: Final = ProblemType(
    "unavailable",
    503,
    "The log can't answer right now",
    "The control database does not answer. Nothing was recorded.",
    "Repeat.",
)
NOT_READY: Final = ProblemType(
    "not-ready",
    503,
    "Events can't be taken right now",
    "Answer of /readyz: the reasons why events can't be taken.",
    "Look into the reasons; the service recovers by itself.",
)
TYPES: Final = tuple(
    sorted(
        (
            *SHARED,
            *OF_BODIES,
            RATE_LIMITED,
            NO_APP,
            FOREIGN_WORKSPACE,
            OTHERS_TYPE,
            IN_FLIGHT,
            NOTHING_ACCEPTED,
            INVALID_EVENT,
            KEY_REUSED,
            NOT_TAKEN,
            UNAVAILABLE,
            NOT_READY,
        ),
        key=lambda kind: (kind.status, kind.name),
    )
)
"""Every type of problem the service answers with, by status."""

__all__ = [
    "FOREIGN_WORKSPACE",
    "INVALID_EVENT",
    "IN_FLIGHT",
    "KEY_REUSED",
    "NOTHING_ACCEPTED",
    "NOT_READY",
    "NOT_TAKEN",
    "NO_APP",
    "OTHERS_TYPE",
    "TYPES",
    "UNAVAILABLE",
]
