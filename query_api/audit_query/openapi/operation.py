"""What is said of one address and method: one row of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from audit_infra.access import Scope
from audit_infra.http.body_problems import OF_BODIES
from audit_infra.http.problems import NOT_FOUND, SHARED, ProblemType
from audit_infra.http.rates import RATE_LIMITED
from audit_query.budgets import OVER_BUDGET
from audit_query.openapi.parameters import JsonSchema, Parameter
from audit_query.problems import TOO_MANY_IN_PARALLEL, UNAVAILABLE

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """One form of the answer. `example` is JSON, or text where the media type is no JSON."""

    media: str
    schema: JsonSchema
    example: Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One address and method. `problems` beyond those that every address has; `headers` beyond X-Request-Id.

    `sample` is the query of the request that the reference shows; `body` a request's schema and an example.
    """

    path: str
    name: str
    tag: str
    summary: str
    scope: Scope
    answers: tuple[Answer, ...]
    parameters: tuple[Parameter, ...] = ()
    description: str = ""
    problems: tuple[ProblemType, ...] = ()
    headers: tuple[str, ...] = ()
    sample: str = ""
    method: str = "get"
    status: int = 200
    body: tuple[JsonSchema, Any] | None = None

    @property
    def all_problems(self) -> tuple[ProblemType, ...]:
        """By status."""
        every = {*_EVERYWHERE, *self.problems, *(OF_BODIES if self.body else ())}
        return tuple(sorted(every, key=lambda kind: (kind.status, kind.name)))


_EVERYWHERE = (
    *(kind for kind in SHARED if kind != NOT_FOUND),
    *(RATE_LIMITED, TOO_MANY_IN_PARALLEL, OVER_BUDGET, UNAVAILABLE),
)


__all__ = ["JSON", "Answer", "Operation"]
