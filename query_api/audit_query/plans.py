"""What a plan shows: the one place that decides.

Previews see the last 24 hours, counted from now on every request; no number or shape of older activity leaks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from audit_infra.access import FULL_PLANS, Access, AccessError, Forbidden, Principal
from audit_query.filters import Filter
from audit_query.ports import Clock
from audit_query.problems import plan_limited
from audit_schemas.event import instant_of, micros

PREVIEW = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Visibility:
    """What one request may see. `since` is None when everything may be seen."""

    plan: str
    upgrade_url: str
    since: int | None

    @property
    def full(self) -> bool:
        """Whether the plan shows everything."""
        return self.since is None

    def clamp(self, filter_: Filter) -> tuple[Filter, bool]:
        """The filter within what may be seen, and whether that took something away."""
        if self.since is None:
            return filter_, False
        if filter_.since is not None and filter_.since >= self.since:
            return filter_, False
        return filter_.within(self.since, filter_.until), filter_.since is not None or filter_.until is not None

    def at(self, now: datetime) -> Visibility:
        """The same plan at a later moment."""
        return self if self.full else replace(self, since=micros(now - PREVIEW))

    def require_export(self) -> None:
        """Raises a 403 `ProblemError` with the upgrade link for previews."""
        if not self.full:
            raise plan_limited(self.upgrade_url)

    def preview(self, clamped: bool) -> dict[str, Any] | None:
        """The `preview` of an answer."""
        if self.since is None:
            return None
        return {
            "since": instant_of(self.since).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "plan": self.plan,
            "clamped": clamped,
            "upgrade_url": self.upgrade_url,
        }


def visibility(plan: str, workspace_id: str, upgrade_url: str, now: datetime) -> Visibility:
    """What the plan shows now. Plans nobody knows are previews."""
    link = upgrade_url.replace("{workspace}", workspace_id)
    return Visibility(plan, link, None if plan in FULL_PLANS else micros(now - PREVIEW))


class Plans:
    """Looks the plan of a principal's workspace up, on every request."""

    def __init__(self, access: Access, upgrade_url: str, clock: Clock) -> None:
        self._access, self._upgrade_url, self._clock = access, upgrade_url, clock

    async def visibility(self, principal: Principal) -> Visibility:
        """What the workspace's plan shows now. Raises `Forbidden` for unknown workspaces."""
        try:
            plan = (await asyncio.to_thread(self._access.get_workspace, principal.workspace_id)).plan
        except AccessError:
            raise Forbidden(f"there is no workspace {principal.workspace_id}") from None
        return visibility(plan, principal.workspace_id, self._upgrade_url, self._clock())


__all__ = ["PREVIEW", "Plans", "Visibility", "visibility"]
