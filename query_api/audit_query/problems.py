"""The problems only the query service has; the others are every service's."""

from __future__ import annotations

from audit_infra.http.problems import ProblemError


def not_found(upgrade_url: str | None) -> ProblemError:
    """The same answer for an unknown event and for one that the plan does not show: nothing can be learnt from it."""
    extra = {"upgrade_url": upgrade_url} if upgrade_url else {}
    return ProblemError(404, "not-found", "There is no such event", extra=extra)


def plan_limited(upgrade_url: str) -> ProblemError:
    """The plan does not hold this."""
    return ProblemError(
        403,
        "plan-limited",
        "Exports are part of the Advanced and Enterprise plans",
        extra={"upgrade_url": upgrade_url},
    )


def unavailable() -> ProblemError:
    """The tables can't be read now."""
    return ProblemError(
        503, "unavailable", "The log can't be read right now; try again in a moment", headers={"Retry-After": "5"}
    )


__all__ = ["not_found", "plan_limited", "unavailable"]
