"""What a service answers when it can't do what was asked: RFC 9457 problems, with every fault listed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from audit_schemas.errors import AuditError, Problem


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request. `code` is stable, `message` is for people.

    `name` says where: a parameter or header, or a JSON pointer (RFC 6901) when `place` is the body.
    """

    name: str
    code: str
    message: str
    allowed: tuple[str, ...] = ()
    place: str = "query"

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """A problem of something that was sent in a body."""
        return cls(problem.pointer, problem.code, problem.message, problem.allowed, place="body")

    def body(self) -> dict[str, Any]:
        """As it stands in the answer."""
        where = "pointer" if self.place == "body" else "name"
        found: dict[str, Any] = {"in": self.place, where: self.name, "code": self.code, "message": self.message}
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


def refuse_parameters(names: Iterable[str]) -> None:
    """For requests without query parameters: raises the problem 400 that names all there are."""
    faults = tuple(Fault(name, "unknown_parameter", "this request has no parameters") for name in names)
    if faults:
        raise invalid(faults)


__all__ = ["Fault", "ProblemError", "invalid", "refuse_parameters"]
