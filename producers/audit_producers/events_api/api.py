"""The handlers of `/v1`: who asks, what is read of the request, and what is answered."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from audit_infra.access import Forbidden, Scope
from audit_infra.http.bodies import Bodies, check_accept, check_type
from audit_infra.http.body_problems import wrong_shape
from audit_infra.http.credentials import Credentials
from audit_infra.http.problems import Fault, ProblemError, invalid, refuse_parameters
from audit_infra.http.strict_json import parse_json
from audit_producers.addresses import Networks, client_address
from audit_producers.events_api.custom_types import CustomType
from audit_producers.events_api.descriptions import description_of
from audit_producers.events_api.fields import Caller
from audit_producers.events_api.problems import MAX_BODY_BYTES, no_app
from audit_producers.events_api.service import Service

MAX_REQUEST_KEY: Final = 255
MAX_DESCRIPTION_BYTES: Final = 65_536
"""The body of a PUT, unpacked."""
_MAX_NAME: Final = 256


class Api:
    """Credentials come from headers, never from a cookie, and so does the workspace: it is the credential's."""

    def __init__(self, service: Service, credentials: Credentials, bodies: Bodies, proxies: Networks) -> None:
        self._service, self._principal = service, credentials.principal
        self._bodies, self._proxies = bodies, proxies

    async def post_events(self, request: Request) -> Response:
        """`POST /v1/events`."""
        caller = await self._caller(request)
        refuse_parameters(request.query_params.keys())
        self._service.admit(caller)
        check_accept(request)
        request_key = _request_key(request)
        async with contextlib.AsyncExitStack() as held:
            try:
                check_type(request)
                raw = await held.enter_async_context(self._bodies.read(request, MAX_BODY_BYTES))
            except ProblemError as problem:
                self._service.refuse_body(caller, problem)
                raise
            answer = await self._service.post(caller, raw, request_key, request.state.request_id)
        return JSONResponse(answer, 202)

    async def get_event_types(self, request: Request) -> Response:
        """`GET /v1/event-types`."""
        principal = await self._principal(request)
        if not (principal.may(Scope.READ) or principal.may(Scope.WRITE)):
            raise Forbidden(f"this needs the scope {Scope.READ} or {Scope.WRITE}")
        refuse_parameters(request.query_params.keys())
        types, complete = await self._service.list_types(principal.workspace_id)
        return JSONResponse({"data": [_type_body(one) for one in types], "complete": complete})

    async def put_event_type(self, request: Request) -> Response:
        """`PUT /v1/event-types/{name}`."""
        caller = await self._caller(request)
        refuse_parameters(request.query_params.keys())
        self._service.admit(caller)
        check_accept(request)
        check_type(request)
        async with self._bodies.read(request, MAX_DESCRIPTION_BYTES) as raw:
            described, faults = description_of(parse_json(raw))
        name = request.path_params["name"]
        if fault := self._service.name_fault(name):
            faults = (fault, *faults)
        if faults or described is None:
            raise wrong_shape(faults)
        return JSONResponse(_type_body(await self._service.put_type(caller, name, described)))

    async def get_refused_events(self, request: Request) -> Response:
        """`GET /v1/refused-events`."""
        principal = await self._principal(request)
        principal.require(Scope.ADMIN)
        refuse_parameters(request.query_params.keys())
        refused = await self._service.list_refused(principal.workspace_id)
        return JSONResponse(
            {
                "data": [
                    {"day": one.day, "app_id": one.app_id, "reason": one.reason, "events": one.events}
                    for one in refused
                ]
            }
        )

    async def _caller(self, request: Request) -> Caller:
        """Who writes. Raises `AccessError` and the problem 403 for credentials that may not."""
        principal = await self._principal(request)
        principal.require(Scope.WRITE)
        if not principal.app_id:
            raise no_app()
        peer = None if request.client is None else request.client.host
        address = client_address(peer, request.headers.items(), self._proxies)
        return Caller(
            workspace_id=principal.workspace_id,
            app_id=principal.app_id,
            key_id=principal.subject,
            name=principal.name[:_MAX_NAME],
            ip=address.ip,
            ip_raw=address.raw,
            user_agent=request.headers.get("user-agent", ""),
        )


def _request_key(request: Request) -> str:
    """The Idempotency-Key, "" when there is none."""
    values = request.headers.getlist("idempotency-key")
    if not values:
        return ""
    key = values[0]
    if len(values) > 1 or not (0 < len(key) <= MAX_REQUEST_KEY and key.isascii() and key.isprintable()):
        text = f"must be one header of 1 to {MAX_REQUEST_KEY} printable ASCII characters"
        raise invalid((Fault("Idempotency-Key", "retry_key", text, place="header"),))
    return key


def _type_body(one: CustomType) -> dict[str, Any]:
    first = None
    if one.first_used_at is not None:
        first = datetime.fromtimestamp(one.first_used_at / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "name": one.name,
        "label": one.label,
        "app_id": one.app_id,
        "first_used_at": first and first.replace("+00:00", "Z"),
        "schema": one.schema,
        "mode": one.mode,
    }


__all__ = ["MAX_DESCRIPTION_BYTES", "MAX_REQUEST_KEY", "Api"]
