"""Workspaces, plans and keys over HTTP, for operators: what may be sent, what it changes, and who hears of it.

The scope audit:admin is for all workspaces; the credential's own one only says who acts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic import field_validator as validates

from audit_infra.access import PLANS, Access, AccessError, ApiKey, NewKey, Principal, Scope, Workspace
from audit_infra.http.body_problems import wrong_shape
from audit_infra.http.problems import Fault
from audit_query.ports import Clock
from audit_query.problems import conflict, no_such
from audit_query.self_audit_events import Change

MOST: Final = 500
"""Rows in one list."""
_CODES: Final = {"extra_forbidden": "unknown_field", "literal_error": "unknown_value", "string_type": "wrong_type"}
_PLAIN: Final = r"^[^\x00-\x1f\x7f]*$"
M = TypeVar("M", bound=BaseModel)


def _text_only(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise ValueError("must be an RFC 3339 instant")
    return value


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewWorkspace(_Body):
    """The body of `POST /v1/admin/workspaces`."""

    id: str = Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    plan: Literal[PLANS]  # type: ignore[valid-type]  # the plans stand in one tuple
    name: str = Field("", max_length=256, pattern=_PLAIN)


class NewPlan(_Body):
    """The body of `PATCH /v1/admin/workspaces/{workspace}`."""

    plan: Literal[PLANS]  # type: ignore[valid-type]  # as above


class NewApiKey(_Body):
    """The body of `POST /v1/admin/keys`."""

    workspace: str = Field(max_length=64)
    scopes: list[Literal[tuple(Scope)]] = Field(min_length=1, max_length=len(Scope))  # type: ignore[valid-type]  # one enum
    name: str = Field("", max_length=256, pattern=_PLAIN)
    app_id: str = Field("", max_length=64, pattern=_PLAIN)
    expires_at: Annotated[AwareDatetime | None, BeforeValidator(_text_only)] = None

    @validates("expires_at")
    @classmethod
    def _ahead(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        if value is not None and value <= (info.context or {})["now"]:
            raise ValueError("must be ahead")
        return value


Changed = Callable[[Change], Awaitable[None]]
"""Is awaited after the change has been written and before it is answered."""


class Admin:
    """Every method but the first takes a principal that may administer. Raises `ProblemError`."""

    def __init__(self, access: Access, clock: Clock, changed: Changed) -> None:
        self._access, self._clock, self._changed = access, clock, changed

    def read(self, model: type[M], value: Any) -> M:
        """A body. Raises the problem 422 that lists everything wrong with it."""
        try:
            return model.model_validate(value, context={"now": self._clock()})
        except ValidationError as error:
            raise wrong_shape(tuple(_fault(dict(one)) for one in error.errors(include_url=False))) from None

    async def workspaces(self, after: str, most: int) -> list[Workspace]:
        """By id, behind the id `after`."""
        return await asyncio.to_thread(self._access.list_workspaces, after, most)

    async def workspace(self, workspace_id: str) -> Workspace:
        """One."""
        try:
            return await asyncio.to_thread(self._access.get_workspace, workspace_id)
        except AccessError:
            raise no_such("workspace") from None

    async def create_workspace(self, principal: Principal, wanted: NewWorkspace) -> tuple[Workspace, bool]:
        """The workspace, and whether it is new: the same one may be asked for again."""
        create = self._access.create_workspace
        try:
            made = await asyncio.to_thread(create, wanted.id, wanted.plan, wanted.name, self._clock())
        except AccessError:
            there = await self.workspace(wanted.id)
            if (there.plan, there.name) != (wanted.plan, wanted.name):
                raise conflict(f"the workspace {there.id} is on {there.plan}, with the name {there.name!r}") from None
            return there, False
        await self._changed(Change(made.id, "workspace_created", principal, new=made.plan))
        return made, True

    async def set_plan(self, principal: Principal, workspace_id: str, wanted: NewPlan) -> Workspace:
        """The workspace on the plan; it holds with the next request."""
        before = await self.workspace(workspace_id)
        after = await asyncio.to_thread(self._access.set_plan, workspace_id, wanted.plan)
        if before.plan != after.plan:
            await self._changed(Change(workspace_id, "plan_changed", principal, before.plan, after.plan))
        return after

    async def keys(self, workspace_id: str | None, after: ApiKey | None, most: int) -> list[ApiKey]:
        """Oldest first, of one workspace or of all, behind the key `after`."""
        return await asyncio.to_thread(self._access.list_keys, workspace_id, after, most)

    async def key(self, key_id: str) -> ApiKey:
        """One, without its secret."""
        try:
            return await asyncio.to_thread(self._access.get_key, key_id)
        except AccessError:
            raise no_such("key") from None

    async def create_key(self, principal: Principal, wanted: NewApiKey) -> NewKey:
        """A key, with its secret this once."""
        try:
            await asyncio.to_thread(self._access.get_workspace, wanted.workspace)
        except AccessError as error:
            raise wrong_shape((Fault("/workspace", "unknown_workspace", str(error), place="body"),)) from None
        made = await asyncio.to_thread(
            self._access.create_key,
            wanted.workspace,
            wanted.scopes,
            wanted.name,
            wanted.app_id,
            wanted.expires_at,
            self._clock(),
        )
        await self._changed(Change(wanted.workspace, "key_created", principal, new=made.key))
        return made

    async def revoke_key(self, principal: Principal, key_id: str) -> None:
        """The key opens nothing any more; revoking it again changes nothing."""
        before = await self.key(key_id)
        if await asyncio.to_thread(self._access.revoke_key, key_id, self._clock()):
            await self._changed(Change(before.workspace_id, "key_revoked", principal, old=before))


def workspace_body(one: Workspace) -> dict[str, Any]:
    """A workspace as it is answered."""
    return {"id": one.id, "name": one.name, "plan": one.plan, "created_at": _text(one.created_at)}


def key_body(one: ApiKey) -> dict[str, Any]:
    """A key as it is answered: what can be shown of it."""
    return {
        "id": one.id,
        "workspace": one.workspace_id,
        "prefix": one.prefix,
        "name": one.name,
        "scopes": sorted(one.scopes),
        "app_id": one.app_id or None,
        "created_at": _text(one.created_at),
        "expires_at": _text(one.expires_at),
        "revoked_at": _text(one.revoked_at),
    }


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fault(error: dict[str, Any]) -> Fault:
    path = [str(part).replace("~", "~0").replace("/", "~1") for part in error["loc"]]
    pointer = "".join(f"/{part}" for part in path)[:200]
    allowed: tuple[str, ...] = ()
    if error["type"] == "literal_error":
        allowed = PLANS if path[0] == "plan" else tuple(Scope)
    return Fault(pointer, _CODES.get(error["type"], error["type"]), error["msg"], allowed, place="body")


__all__ = [
    "MOST",
    "Admin",
    "Changed",
    "NewApiKey",
    "NewPlan",
    "NewWorkspace",
    "key_body",
    "workspace_body",
]
