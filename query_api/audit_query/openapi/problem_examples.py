"""An example of every type of problem, made by the code that answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from audit_infra.http import body_problems
from audit_infra.http.accept import not_acceptable
from audit_infra.http.problems import (
    FORBIDDEN,
    INTERNAL,
    METHOD_NOT_ALLOWED,
    UNAUTHENTICATED,
    Fault,
    ProblemError,
    ProblemType,
    invalid,
)
from audit_infra.http.rates import rate_limited
from audit_query.budgets import over_budget
from audit_query.problems import (
    conflict,
    export_expired,
    key_reused,
    not_found,
    not_recorded,
    plan_limited,
    range_not_satisfiable,
    too_many_exports,
    too_many_in_parallel,
    too_many_streams,
    unavailable,
    wrong_state,
)

REQUEST_ID: Final = "6f0f1b6f3f0e4f5f9d3c5b7a9e1d2c4b"
_KNOWN: Final = (
    invalid(
        (
            Fault("tz", "unknown_zone", "'Mars/Base' is not a time zone such as Europe/Berlin"),
            Fault("order", "unknown_value", "'up' is not one of them", ("desc", "asc")),
        )
    ),
    ProblemError(UNAUTHENTICATED, "the API key is not valid"),
    ProblemError(FORBIDDEN, "this needs the scope audit:read"),
    plan_limited("/upgrade?workspace=acme"),
    not_found("/upgrade?workspace=acme"),
    ProblemError(METHOD_NOT_ALLOWED, "events are sent to the Events API, not to the query service"),
    not_acceptable(("application/json", "application/x-ndjson")),
    body_problems.unreadable("not JSON: Expecting ',' delimiter at line 1, column 18"),
    body_problems.too_slow(10),
    conflict("the workspace acme is on starter, with the name 'Acme'"),
    body_problems.too_large("bytes", 65_536),
    body_problems.unsupported_media_type("Content-Type must be application/json"),
    body_problems.wrong_shape((Fault("/plan", "missing", "Field required", place="body"),)),
    rate_limited("600 requests per minute", 7),
    too_many_in_parallel(8, {}),
    wrong_state("the export is done"),
    export_expired(datetime(2026, 3, 21, 12, 0, tzinfo=UTC)),
    range_not_satisfiable(52_428),
    key_reused(),
    too_many_exports(20),
    too_many_streams(20),
    ProblemError(INTERNAL),
    over_budget("rows", 50_000_000, "it would read more than 50,000,000 rows"),
    body_problems.busy(),
    not_recorded(),
    unavailable(),
)
PROBLEM_EXAMPLES: Final[dict[ProblemType, dict[str, Any]]] = {one.kind: one.body(REQUEST_ID) for one in _KNOWN}

__all__ = ["PROBLEM_EXAMPLES", "REQUEST_ID"]
