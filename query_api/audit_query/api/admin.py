"""Workspaces, their plans, and keys, for operators."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from audit_infra.access import ApiKey, Principal, Scope
from audit_infra.http.bodies import Bodies, check_accept, check_type
from audit_infra.http.credentials import Credentials
from audit_infra.http.problems import Fault, ProblemError, invalid, refuse_parameters
from audit_infra.http.strict_json import parse_json
from audit_query.admin import MOST, NewApiKey, NewPlan, NewWorkspace, key_body, workspace_body
from audit_query.service import Service

MAX_BODY_BYTES: Final = 65_536
_BODIES_BYTES, _BODY_SECONDS = 1_048_576, 10.0
_DEFAULT: Final = 100
M = TypeVar("M", bound=BaseModel)


class AdminApi:
    """The handlers. A workspace in an address or a body is what is administered; it gives no rights."""

    def __init__(self, service: Service, credentials: Credentials) -> None:
        self._admin, self._credentials = service.admin, credentials
        self._bodies = Bodies(_BODIES_BYTES, _BODY_SECONDS)

    async def workspaces(self, request: Request) -> Response:
        principal = await self._operator(request)
        if request.method == "POST":
            wanted = await self._body(request, NewWorkspace)
            made, new = await self._admin.create_workspace(principal, wanted)
            location = {"Location": f"/v1/admin/workspaces/{made.id}"}
            return JSONResponse({"data": workspace_body(made)}, 201 if new else 200, headers=location)
        given = _parameters(request, ("after", "limit"))
        limit = _limit(given)
        found = await self._admin.workspaces(given.get("after", ""), limit + 1)
        return _list(request, [workspace_body(one) for one in found], limit, {})

    async def workspace(self, request: Request) -> Response:
        principal, workspace = await self._operator(request), request.path_params["workspace"]
        if request.method == "PATCH":
            found = await self._admin.set_plan(principal, workspace, await self._body(request, NewPlan))
        else:
            refuse_parameters(request.query_params.keys())
            found = await self._admin.workspace(workspace)
        return JSONResponse({"data": workspace_body(found)})

    async def keys(self, request: Request) -> Response:
        principal = await self._operator(request)
        if request.method == "POST":
            made = await self._admin.create_key(principal, await self._body(request, NewApiKey))
            location = {"Location": f"/v1/admin/keys/{made.key.id}"}
            return JSONResponse({"data": key_body(made.key) | {"secret": made.secret}}, 201, headers=location)
        given = _parameters(request, ("after", "limit", "workspace"))
        limit, workspace = _limit(given), given.get("workspace")
        found = await self._admin.keys(workspace, await self._after(given), limit + 1)
        return _list(request, [key_body(one) for one in found], limit, {"workspace": workspace} if workspace else {})

    async def key(self, request: Request) -> Response:
        principal, key_id = await self._operator(request), request.path_params["key"]
        refuse_parameters(request.query_params.keys())
        if request.method == "DELETE":
            await self._admin.revoke_key(principal, key_id)
            return Response(status_code=204)
        return JSONResponse({"data": key_body(await self._admin.key(key_id))})

    async def _operator(self, request: Request) -> Principal:
        principal = await self._credentials.principal(request)
        principal.require(Scope.ADMIN)
        return principal

    async def _body(self, request: Request, model: type[M]) -> M:
        refuse_parameters(request.query_params.keys())
        check_accept(request)
        check_type(request)
        async with self._bodies.read(request, MAX_BODY_BYTES) as raw:
            return self._admin.read(model, parse_json(raw))

    async def _after(self, given: dict[str, str]) -> ApiKey | None:
        if "after" not in given:
            return None
        try:
            return await self._admin.key(given["after"])
        except ProblemError:
            raise invalid((Fault("after", "unknown_value", "is the id of no key"),)) from None

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/v1/admin/workspaces", self.workspaces, methods=["GET", "POST"]),
            Route("/v1/admin/workspaces/{workspace}", self.workspace, methods=["GET", "PATCH"]),
            Route("/v1/admin/keys", self.keys, methods=["GET", "POST"]),
            Route("/v1/admin/keys/{key}", self.key, methods=["GET", "DELETE"]),
        ]


def _parameters(request: Request, known: Collection[str]) -> dict[str, str]:
    """Each parameter's one value. Raises the problem 400 that lists everything wrong with them."""
    faults, found = [], {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            faults.append(Fault(name, "unknown_parameter", "is no parameter of this request", tuple(sorted(known))))
        elif name in found:
            faults.append(Fault(name, "repeated", "can be given once"))
        elif name == "limit" and not (
            value.isascii() and value.isdecimal() and len(value) <= 4 and 1 <= int(value) <= MOST
        ):
            faults.append(Fault(name, "out_of_range", f"must be a number from 1 to {MOST}"))
        elif len(value) > 64 or not (value.isascii() and value.isprintable()):
            faults.append(Fault(name, "malformed", "must have at most 64 printable ASCII characters"))
        else:
            found[name] = value
    if faults:
        raise invalid(tuple(faults))
    return found


def _limit(given: dict[str, str]) -> int:
    return int(given.get("limit", _DEFAULT))


def _list(request: Request, rows: list[dict[str, Any]], limit: int, kept: dict[str, str]) -> Response:
    """One row more than `limit` was asked for, to know whether there are more."""
    following = None
    if len(rows) > limit:
        following = f"{request.url.path}?{urlencode({**kept, 'limit': limit, 'after': rows[limit - 1]['id']})}"
    return JSONResponse({"data": rows[:limit], "next": following})


__all__ = ["MAX_BODY_BYTES", "AdminApi"]
