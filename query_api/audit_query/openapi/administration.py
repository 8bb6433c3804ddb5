"""The rows of the table for operators: workspaces, plans and keys."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from audit_infra.access import Scope
from audit_infra.http.problems import NOT_FOUND
from audit_query.admin import MOST, NewApiKey, NewPlan, NewWorkspace
from audit_query.openapi.operation import JSON, Answer, Operation
from audit_query.openapi.parameters import JsonSchema, Parameter
from audit_query.openapi.shapes import INSTANT, INSTANT_OR_NULL, TEXT, TEXT_OR_NULL, record, several
from audit_query.problems import CONFLICT

_ID: Final = {"type": "string", "minLength": 1, "maxLength": 64}
_ID_OR_NONE: Final = {"type": "string", "maxLength": 64}
_LIST: Final = (
    Parameter("limit", "Rows in one answer.", 100, {"type": "integer", "minimum": 1, "maximum": MOST, "default": 100}),
    Parameter("after", "Id of the row before the first one; `next` carries it.", "acme", _ID_OR_NONE),
)
_OF_WORKSPACE: Final = Parameter("workspace", "Only the keys of this workspace.", "acme", _ID_OR_NONE)
_WORKSPACE: Final = Parameter("workspace", "The workspace's id.", "acme", _ID, place="path")
_KEY: Final = Parameter("key", "The key's id.", "5f0c2a9d1b7e4f36", _ID, place="path")
_WORKSPACE_SHAPE: Final = record(id=TEXT, name=TEXT, plan=TEXT, created_at=INSTANT)
_KEY_SHAPE: Final = record(
    id=TEXT,
    workspace=TEXT,
    prefix=TEXT,
    name=TEXT,
    scopes=several(TEXT),
    app_id=TEXT_OR_NULL,
    created_at=INSTANT,
    expires_at=INSTANT_OR_NULL,
    revoked_at=INSTANT_OR_NULL,
)
_ONE_WORKSPACE: Final = {
    "id": "acme",
    "name": "Acme",
    "plan": "enterprise",
    "created_at": "2026-03-14T12:00:00.000Z",
}
_ONE_KEY: Final = {
    "id": "5f0c2a9d1b7e4f36",
    "workspace": "acme",
    "prefix": "aal_Qm3x",
    "name": "SIEM",
    "scopes": ["audit:export", "audit:read"],
    "app_id": None,
    "created_at": "2026-03-14T12:00:00.000Z",
    "expires_at": None,
    "revoked_at": None,
}


def _one(shape: JsonSchema, example: dict[str, Any]) -> tuple[Answer, ...]:
    return (Answer(JSON, record(data=shape), {"data": example}),)


def _page(shape: JsonSchema, example: dict[str, Any]) -> tuple[Answer, ...]:
    return (Answer(JSON, record(data=several(shape), next=TEXT_OR_NULL), {"data": [example], "next": None}),)


def _body(model: type[BaseModel], example: dict[str, Any]) -> tuple[JsonSchema, Any]:
    return model.model_json_schema(), example


ADMINISTRATION: Final = (
    Operation(
        "/v1/admin/workspaces",
        "listWorkspaces",
        "Administration",
        "Workspaces by id.",
        Scope.ADMIN,
        _page(_WORKSPACE_SHAPE, _ONE_WORKSPACE),
        _LIST,
    ),
    Operation(
        "/v1/admin/workspaces",
        "createWorkspace",
        "Administration",
        "Makes a workspace. The same one again is 200 and changes nothing.",
        Scope.ADMIN,
        _one(_WORKSPACE_SHAPE, _ONE_WORKSPACE),
        problems=(CONFLICT,),
        headers=("Location",),
        method="post",
        status=201,
        body=_body(NewWorkspace, {"id": "acme", "plan": "enterprise", "name": "Acme"}),
    ),
    Operation(
        "/v1/admin/workspaces/{workspace}",
        "getWorkspace",
        "Administration",
        "One workspace.",
        Scope.ADMIN,
        _one(_WORKSPACE_SHAPE, _ONE_WORKSPACE),
        (_WORKSPACE,),
        problems=(NOT_FOUND,),
    ),
    Operation(
        "/v1/admin/workspaces/{workspace}",
        "setPlan",
        "Administration",
        "Puts a workspace on another plan; it holds with the next request.",
        Scope.ADMIN,
        _one(_WORKSPACE_SHAPE, _ONE_WORKSPACE),
        (_WORKSPACE,),
        problems=(NOT_FOUND,),
        method="patch",
        body=_body(NewPlan, {"plan": "enterprise"}),
    ),
    Operation(
        "/v1/admin/keys",
        "listKeys",
        "Administration",
        "Keys of all workspaces, oldest first, without their secrets.",
        Scope.ADMIN,
        _page(_KEY_SHAPE, _ONE_KEY),
        (_LIST[0], Parameter("after", _LIST[1].text, _ONE_KEY["id"], _ID), _OF_WORKSPACE),
    ),
    Operation(
        "/v1/admin/keys",
        "createKey",
        "Administration",
        "Makes a key; its secret is told this once.",
        Scope.ADMIN,
        _one(record(**_KEY_SHAPE["properties"], secret=TEXT), {**_ONE_KEY, "secret": "aal_Qm3x…"}),
        headers=("Location",),
        method="post",
        status=201,
        body=_body(NewApiKey, {"workspace": "acme", "scopes": ["audit:read", "audit:export"], "name": "SIEM"}),
    ),
    Operation(
        "/v1/admin/keys/{key}",
        "getKey",
        "Administration",
        "One key, without its secret.",
        Scope.ADMIN,
        _one(_KEY_SHAPE, _ONE_KEY),
        (_KEY,),
        problems=(NOT_FOUND,),
    ),
    Operation(
        "/v1/admin/keys/{key}",
        "revokeKey",
        "Administration",
        "Revokes a key: it opens nothing any more.",
        Scope.ADMIN,
        (),
        (_KEY,),
        problems=(NOT_FOUND,),
        method="delete",
        status=204,
    ),
)
"""In the order the reference shows them."""

__all__ = ["ADMINISTRATION"]
