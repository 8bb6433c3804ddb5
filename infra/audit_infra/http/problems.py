"""What a service answers when it can't do what was asked: RFC 9457 problems, with every fault listed.

An answer's type is one of a table, never a text made on the spot: each service lists its own beside those of all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

from audit_schemas.errors import AuditError, Problem


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One row of a service's table. `name` never changes; `meaning` says when it is answered, `advice` what to do."""

    name: str
    status: int
    title: str
    meaning: str
    advice: str

    @property
    def uri(self) -> str:
        """The `type` of the document."""
        return f"urn:audit-log:problem:{self.name}"


INVALID_REQUEST: Final = ProblemType(
    "invalid-request",
    400,
    "The request is not valid",
    "Parameters or headers are wrong, or a cursor was not made for this list.",
    "Correct everything that `errors` lists; repeating does not help.",
)
UNAUTHENTICATED: Final = ProblemType(
    "unauthenticated",
    401,
    "No valid credential",
    "There is no credential, or one that is unknown, expired or revoked.",
    "Send a valid key as `X-API-Key`, or a token as `Authorization: Bearer`.",
)
FORBIDDEN: Final = ProblemType(
    "forbidden",
    403,
    "Not allowed",
    "The credential lacks a scope, or its workspace is unknown.",
    "`detail` names the scope; ask an administrator for a key that has it.",
)
NOT_FOUND: Final = ProblemType(
    "not-found",
    404,
    "There is nothing here",
    "The address is wrong, or there is nothing of this id that the caller may see.",
    "Check the address and the id.",
)
METHOD_NOT_ALLOWED: Final = ProblemType(
    "method-not-allowed",
    405,
    "This method is not for this address",
    "The address takes other methods; `detail` names the service that takes this one, where there is one.",
    "See the header `Allow`.",
)
NOT_ACCEPTABLE: Final = ProblemType(
    "not-acceptable",
    406,
    "The answer is not given in this form",
    "`Accept` allows none of the media types there are.",
    "Send one of those that `detail` lists, or no `Accept` at all.",
)
INTERNAL: Final = ProblemType(
    "internal",
    500,
    "Something went wrong here",
    "A fault of the service.",
    "Quote `request_id` to whoever runs the service; repeating is safe.",
)
SHARED: Final = (
    INVALID_REQUEST,
    UNAUTHENTICATED,
    FORBIDDEN,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    NOT_ACCEPTABLE,
    INTERNAL,
)
"""The types that every service has."""


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
        kind: ProblemType,
        detail: str = "",
        *,
        faults: tuple[Fault, ...] = (),
        headers: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.kind, self.detail = kind, detail or kind.title
        self.faults, self.headers, self.extra = faults, headers or {}, extra or {}
        super().__init__(self.detail)

    @property
    def status(self) -> int:
        """The status of the answer."""
        return self.kind.status

    @property
    def title(self) -> str:
        """The type's: the same for every problem of the type."""
        return self.kind.title

    def body(self, request_id: str) -> dict[str, Any]:
        """The problem document."""
        return {
            "type": self.kind.uri,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
            "errors": [fault.body() for fault in self.faults],
            **self.extra,
        }


def invalid(faults: tuple[Fault, ...]) -> ProblemError:
    """The request's parameters are wrong."""
    detail = "; ".join(f"{fault.name}: {fault.message}" for fault in faults)
    return ProblemError(INVALID_REQUEST, detail, faults=faults)


def refuse_parameters(names: Iterable[str]) -> None:
    """For requests without query parameters: raises the problem 400 that names all there are."""
    faults = tuple(Fault(name, "unknown_parameter", "this request has no parameters") for name in names)
    if faults:
        raise invalid(faults)


__all__ = [
    "FORBIDDEN",
    "INTERNAL",
    "INVALID_REQUEST",
    "METHOD_NOT_ALLOWED",
    "NOT_ACCEPTABLE",
    "NOT_FOUND",
    "SHARED",
    "UNAUTHENTICATED",
    "Fault",
    "ProblemError",
    "ProblemType",
    "invalid",
    "refuse_parameters",
]
