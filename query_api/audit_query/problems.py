"""The problems only the query service has, and the table of all its types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from audit_infra.http.body_problems import OF_BODIES
from audit_infra.http.problems import NOT_FOUND, SHARED, ProblemError, ProblemType
from audit_infra.http.rates import RATE_LIMITED
from audit_query.budgets import OVER_BUDGET

PLAN_LIMITED: Final = ProblemType(
    "plan-limited",
    403,
    "The plan does not hold this",
    "The workspace's plan does not hold this.",
    "`upgrade_url` leads to the plans that do.",
)
CONFLICT: Final = ProblemType(
    "conflict",
    409,
    "There is another one of this id",
    "A workspace of this id is there already, and not as it was sent.",
    "Take another id, or change the one that is there.",
)
WRONG_STATE: Final = ProblemType(
    "wrong-state",
    409,
    "The export is not in a state in which this can be done",
    "The export has ended, or has not ended yet; `detail` says in which state it is.",
    "Look at the export; where there is a `Retry-After`, repeat after so many seconds.",
)
EXPORT_EXPIRED: Final = ProblemType(
    "export-expired",
    410,
    "The files of this export are deleted",
    "The files were kept as long as files are; the manifest is still there.",
    "Ask for the export again.",
)
RANGE_NOT_SATISFIABLE: Final = ProblemType(
    "range-not-satisfiable",
    416,
    "The range begins behind the end",
    "The file has fewer bytes than the range begins with; `Content-Range` says how many.",
    "Ask for a range within the file, or for all of it.",
)
KEY_REUSED: Final = ProblemType(
    "idempotency-key-reused",
    422,
    "The Idempotency-Key was used for another request",
    "An export was asked for with this key and another body.",
    "Take a new key for a new request; repeat a request with its own body.",
)
TOO_MANY_EXPORTS: Final = ProblemType(
    "too-many-exports",
    429,
    "Too many exports wait",
    "As many export jobs of the workspace as `limit` says wait for their turn.",
    "Wait for one to start, or cancel one.",
)
TOO_MANY_IN_PARALLEL: Final = ProblemType(
    "too-many-in-parallel",
    429,
    "Too many requests at the same time",
    "As many requests of the workspace as `limit` says are being served.",
    "Wait for one to end.",
)
TOO_MANY_STREAMS: Final = ProblemType(
    "too-many-streams",
    429,
    "Too many streams at the same time",
    "The workspace follows its log on as many connections as it may.",
    "Close one first.",
)
NOT_RECORDED: Final = ProblemType(
    "not-recorded",
    503,
    "Exports are refused while they can't be recorded",
    "The export can't be recorded in the log, so it is refused.",
    "Repeat after `Retry-After` seconds.",
)
UNAVAILABLE: Final = ProblemType(
    "unavailable",
    503,
    "The log can't be read right now",
    "ClickHouse, the database of workspaces and keys, or the issuer's keys can't be read.",
    "Repeat after `Retry-After` seconds.",
)
_OF_EXPORTS: Final = (WRONG_STATE, EXPORT_EXPIRED, RANGE_NOT_SATISFIABLE, KEY_REUSED, TOO_MANY_EXPORTS)
_OWN: Final = (PLAN_LIMITED, CONFLICT, TOO_MANY_IN_PARALLEL, TOO_MANY_STREAMS, OVER_BUDGET, NOT_RECORDED, UNAVAILABLE)
TYPES: Final = tuple(
    sorted((*SHARED, *OF_BODIES, RATE_LIMITED, *_OWN, *_OF_EXPORTS), key=lambda kind: (kind.status, kind.name))
)
"""Every type of problem this service answers with, by status."""


def not_found(upgrade_url: str | None) -> ProblemError:
    """The same answer for an unknown event and for one that the plan does not show: nothing can be learnt from it."""
    extra = {"upgrade_url": upgrade_url} if upgrade_url else {}
    return ProblemError(NOT_FOUND, "There is no such event", extra=extra)


def no_such(what: str) -> ProblemError:
    """There is no workspace or key of this id."""
    return ProblemError(NOT_FOUND, f"There is no such {what}")


def conflict(detail: str) -> ProblemError:
    """What is there already is not what was sent."""
    return ProblemError(CONFLICT, detail)


def plan_limited(upgrade_url: str) -> ProblemError:
    """The plan does not hold this."""
    detail = "exports are part of the Advanced and Enterprise plans"
    return ProblemError(PLAN_LIMITED, detail, extra={"upgrade_url": upgrade_url})


def wrong_state(detail: str, retry_after_s: int | None = None) -> ProblemError:
    """An export is in another state than this needs."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return ProblemError(WRONG_STATE, detail, headers=headers)


def export_expired(at: datetime) -> ProblemError:
    """The files were deleted when their time was over."""
    return ProblemError(EXPORT_EXPIRED, f"they were kept until {at:%Y-%m-%dT%H:%M:%SZ}")


def range_not_satisfiable(size: int) -> ProblemError:
    """The file has only so many bytes."""
    detail = f"the file has {size} bytes"
    return ProblemError(RANGE_NOT_SATISFIABLE, detail, headers={"Content-Range": f"bytes */{size}"})


def key_reused() -> ProblemError:
    """The Idempotency-Key belongs to another request."""
    return ProblemError(KEY_REUSED, "the body is not the one that this key was first used with")


def too_many_exports(limit: int) -> ProblemError:
    """The queue of the workspace is full."""
    return ProblemError(
        TOO_MANY_EXPORTS,
        f"{limit} exports of the workspace wait already",
        headers={"Retry-After": "30"},
        extra={"limit": limit},
    )


def too_many_in_parallel(limit: int, headers: Mapping[str, str]) -> ProblemError:
    """So many requests of the workspace are being served that this one has no place."""
    return ProblemError(
        TOO_MANY_IN_PARALLEL,
        f"{limit} requests of a workspace are served at the same time, downloads among them; wait for one to end",
        headers={**headers, "Retry-After": "1"},
        extra={"limit": limit},
    )


def not_recorded() -> ProblemError:
    """An export of which the log would not know."""
    return ProblemError(NOT_RECORDED, "try again in a moment", headers={"Retry-After": "5"})


def too_many_streams(most: int) -> ProblemError:
    """The workspace follows its log on as many connections as it may."""
    return ProblemError(
        TOO_MANY_STREAMS,
        f"a workspace may have {most} streams open at once; close one first",
        headers={"Retry-After": "5"},
    )


def unavailable() -> ProblemError:
    """The tables can't be read now."""
    return ProblemError(UNAVAILABLE, "try again in a moment", headers={"Retry-After": "5"})


__all__ = [
    "CONFLICT",
    "EXPORT_EXPIRED",
    "KEY_REUSED",
    "NOT_RECORDED",
    "PLAN_LIMITED",
    "RANGE_NOT_SATISFIABLE",
    "TOO_MANY_EXPORTS",
    "TOO_MANY_IN_PARALLEL",
    "TOO_MANY_STREAMS",
    "TYPES",
    "UNAVAILABLE",
    "WRONG_STATE",
    "conflict",
    "export_expired",
    "key_reused",
    "no_such",
    "not_found",
    "not_recorded",
    "plan_limited",
    "range_not_satisfiable",
    "too_many_exports",
    "too_many_in_parallel",
    "too_many_streams",
    "unavailable",
    "wrong_state",
]
