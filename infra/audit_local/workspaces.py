"""The demo workspaces of the local stack: one per plan, with a key and a sign-in link that stay from run to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from audit_infra.access import Access, AccessError, Scope
from audit_local.data_folder import WorkspaceAccess

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


@dataclass(frozen=True)
class DemoWorkspace:
    """A workspace that every local stack has."""

    id: str
    name: str
    plan: str


DEMO_WORKSPACES = (
    DemoWorkspace("northwind-starter", "Northwind Bookkeeping", "starter"),
    DemoWorkspace("lumen-professional", "Lumen Design Studio", "professional"),
    DemoWorkspace("harbor-advanced", "Harbor Legal", "advanced"),
    DemoWorkspace("atlas-enterprise", "Atlas Advisory Group", "enterprise"),
)


DEMO_APP, DEMO_APP_NAME = "deal-desk", "Deal Desk"
"""The custom app for which every workspace has a key."""


@dataclass(frozen=True)
class Viewer:
    """Who the sign-in links sign in."""

    id: str = "demo-owner"
    name: str = "Dana Reyes"
    email: str = "dana.reyes@example.com"


def ensure(
    access: Access, query_address: str, earlier: Sequence[WorkspaceAccess], now: datetime
) -> tuple[WorkspaceAccess, ...]:
    """Makes what is missing; keys and codes of an earlier run are kept while they still work.

    A plan that was changed since stays changed.
    """
    known = {one.id: one for one in earlier}
    existing = {workspace.id: workspace for workspace in access.list_workspaces()}
    found = []
    for demo in DEMO_WORKSPACES:
        workspace = existing.get(demo.id) or access.create_workspace(demo.id, demo.plan, demo.name)
        before = known.get(demo.id)
        found.append(
            WorkspaceAccess(
                id=demo.id,
                plan=workspace.plan,
                api_key=_key(access, demo.id, before.api_key if before else "", now, tuple(Scope)),
                app_key=_key(access, demo.id, before.app_key if before else "", now, (Scope.WRITE,), DEMO_APP),
                sign_in_url=sign_in_url(
                    query_address, _code(access, demo.id, code_of(before.sign_in_url) if before else "", now)
                ),
            )
        )
    return tuple(found)


def sign_in_url(query_address: str, code: str) -> str:
    """The link that signs the demo viewer in."""
    return f"{query_address}/audit-log/sign-in?{urlencode({'code': code})}"


def code_of(url: str) -> str:
    """The code in such a link; empty when there is none."""
    return parse_qs(urlsplit(url).query).get("code", [""])[0]


def _key(
    access: Access, workspace_id: str, kept: str, now: datetime, scopes: tuple[Scope, ...], app_id: str = ""
) -> str:
    try:
        if kept and access.authenticate_key(kept, now).workspace_id == workspace_id:
            return kept
    except AccessError:
        pass  # revoked, or another control database: a new one takes its place
    return access.create_key(workspace_id, scopes, DEMO_APP_NAME if app_id else "local demo", app_id).secret


def _code(access: Access, workspace_id: str, kept: str, now: datetime) -> str:
    try:
        if kept and access.redeem_sign_in_code(kept, now).workspace_id == workspace_id:
            return kept
    except AccessError:
        pass
    viewer = Viewer()
    return access.create_sign_in_code(workspace_id, viewer.id, viewer.name, viewer.email, reusable=True)


__all__ = ["DEMO_WORKSPACES", "DemoWorkspace", "code_of", "ensure", "sign_in_url"]
