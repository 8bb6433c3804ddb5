"""The problems only the query service has, and the table of all its types."""

from __future__ import annotations

from collections.abc import Mapping
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
_OWN: Final = (PLAN_LIMITED, CONFLICT, TOO_MANY_IN_PARALLEL, TOO_MANY_STREAMS, OVER_BUDGET, NOT_RECORDED, UNAVAILABLE)
TYPES: Final = tuple(sorted((*SHARED, *OF_BODIES, RATE_LIMITED, *_OWN), key=lambda kind: (kind.status, kind.name)))
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
    "NOT_RECORDED",
    "PLAN_LIMITED",
    "TOO_MANY_IN_PARALLEL",
    "TOO_MANY_STREAMS",
    "TYPES",
    "UNAVAILABLE",
    "conflict",
    "no_such",
    "not_found",
    "not_recorded",
    "plan_limited",
    "too_many_in_parallel",
    "too_many_streams",
    "unavailable",
]
