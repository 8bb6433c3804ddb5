"""What every question about events goes through: scope, parameters and plan, in this order, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from audit_infra.access import Forbidden, Principal, Scope
from audit_query.filters import Filter, Paging, Params, parse
from audit_query.plans import Plans, Visibility
from audit_query.ports import Clock
from audit_query.rows import FIELDS


@dataclass(frozen=True, slots=True)
class Question:
    """What a principal asked for and what it may see of it.

    `filter` is as asked, `shown` within what the plan shows; only `shown` may reach the tables. `further` holds the
    endpoint's own parameters that were given.
    """

    principal: Principal
    visibility: Visibility
    filter: Filter
    shown: Filter
    clamped: bool
    paging: Paging
    further: Mapping[str, str]

    @property
    def workspace_id(self) -> str:
        """The only workspace this question is about."""
        return self.principal.workspace_id

    @property
    def pii(self) -> bool:
        """Whether personal data is shown in the clear."""
        return self.principal.may(Scope.PII)


class Asking:
    """Makes questions of requests."""

    def __init__(self, plans: Plans, clock: Clock) -> None:
        self._plans, self._clock = plans, clock

    async def question(
        self,
        principal: Principal,
        params: Params,
        *,
        scope: Scope = Scope.READ,
        paging: bool = False,
        further: Mapping[str, Sequence[str]] | None = None,
        lists: Mapping[str, Sequence[str]] | None = None,
    ) -> Question:
        """Raises a `ProblemError` that lists all bad parameters, and `Forbidden` where a scope is missing.

        `further` and `lists` name parameters of one endpoint with their allowed values, as `parse` takes them. Without
        audit:pii nothing is found by what is masked: it could be guessed.
        """
        principal.require(scope)
        filter_, page, own = parse(params, self._clock(), paging=paging, further=further, fields=FIELDS, lists=lists)
        if not principal.may(Scope.PII):
            if personal := filter_.personal():
                raise Forbidden(f"filtering by {', '.join(personal)} needs the scope {Scope.PII}")
            filter_ = replace(filter_, masked=True)
        visibility = await self._plans.visibility(principal)
        shown, clamped = visibility.clamp(filter_)
        return Question(principal, visibility, filter_, shown, clamped, page, own)


__all__ = ["Asking", "Question"]
