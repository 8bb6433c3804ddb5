"""What the service answers when it can't do what was asked: RFC 9457 problems, with every fault listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from audit_schemas.errors import AuditError


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request. `code` is stable, `message` is for people."""

    name: str
    code: str
    message: str
    allowed: tuple[str, ...] = ()
    place: str = "query"

    def body(self) -> dict[str, Any]:
        """As it stands in the answer."""
        found: dict[str, Any] = {"in": self.place, "name": self.name, "code": self.code, "message": self.message}
        return found | ({"allowed": list(self.allowed)} if self.allowed else {})


class ProblemError(AuditError):
    """A request that gets a problem as its answer."""

    def __init__(
        self,
        status: int,
        type_: str,
        title: str,
        detail: str = "",
        *,
        faults: tuple[Fault, ...] = (),
        headers: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.status, self.type, self.title, self.detail = status, type_, title, detail
        self.faults, self.headers, self.extra = faults, headers or {}, extra or {}
        super().__init__(detail or title)

    def body(self, request_id: str) -> dict[str, Any]:
        """The problem document."""
        return {
            "type": f"urn:audit-log:problem:{self.type}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail or self.title,
            "request_id": request_id,
            "errors": [fault.body() for fault in self.faults],
            **self.extra,
        }


def invalid(faults: tuple[Fault, ...]) -> ProblemError:
    """The request's parameters are wrong."""
    detail = "; ".join(f"{fault.name}: {fault.message}" for fault in faults)
    return ProblemError(400, "invalid-request", "The request is not valid", detail, faults=faults)


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


__all__ = ["Fault", "ProblemError", "invalid", "not_found", "plan_limited", "unavailable"]
