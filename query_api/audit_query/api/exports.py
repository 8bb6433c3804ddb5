"""Export jobs, their files and proofs, and the keys that these are signed with."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from audit_infra.access import Principal, Scope
from audit_infra.http.bodies import Bodies, check_accept, check_type
from audit_infra.http.credentials import Credentials
from audit_infra.http.problems import Fault, invalid, refuse_parameters
from audit_infra.http.strict_json import parse_json
from audit_query.exports.answers import job_body, key_body
from audit_query.exports.handing import file_answer
from audit_query.exports.job import Export
from audit_query.exports.request import KEY, check_key
from audit_query.exports.service import MOST
from audit_query.service import Service

MAX_BODY_BYTES: Final = 262_144
_BODIES_BYTES, _BODY_SECONDS = 4_194_304, 10.0
_DEFAULT: Final = 20


class ExportsApi:
    """The handlers."""

    def __init__(self, service: Service, credentials: Credentials) -> None:
        self._exports, self._principal = service.exports, credentials.principal
        self._bodies = Bodies(_BODIES_BYTES, _BODY_SECONDS)

    async def exports(self, request: Request) -> Response:
        principal = await self._principal(request)
        principal.require(Scope.EXPORT)
        if request.method == "POST":
            return await self._create(request, principal)
        limit, after = _page(request)
        found = await self._exports.jobs(principal, after, limit + 1)
        following = None
        if len(found) > limit:
            following = f"{request.url.path}?{urlencode({'limit': limit, 'after': found[limit - 1].id})}"
        pii = principal.may(Scope.PII)
        return JSONResponse({"data": [job_body(one, pii=pii) for one in found[:limit]], "next": following})

    async def export(self, request: Request) -> Response:
        principal, export_id = await self._asked(request)
        return _job(await self._exports.job(principal, export_id), principal)

    async def cancel(self, request: Request) -> Response:
        principal, export_id = await self._asked(request)
        return _job(await self._exports.cancel(principal, export_id), principal)

    async def retry(self, request: Request) -> Response:
        principal, export_id = await self._asked(request)
        return _job(await self._exports.retry(principal, export_id), principal, 202)

    async def part(self, request: Request) -> Response:
        principal, export_id = await self._asked(request)
        return await file_answer(self._exports, principal, request, export_id, request.path_params["number"])

    async def manifest(self, request: Request) -> Response:
        principal, export_id = await self._asked(request)
        found = await self._exports.proof(principal, export_id)
        return Response(found.manifest, media_type="application/json")

    async def signature(self, request: Request) -> Response:
        principal, export_id = await self._asked(request)
        found = await self._exports.proof(principal, export_id)
        return Response(found.signature, media_type="application/octet-stream")

    async def readme(self, request: Request) -> Response:
        principal, export_id = await self._asked(request)
        return Response(await self._exports.readme(principal, export_id), media_type="text/plain")

    async def signing_keys(self, request: Request) -> Response:
        principal = await self._principal(request)
        refuse_parameters(request.query_params.keys())
        return JSONResponse({"data": [key_body(key) for key in await self._exports.signing_keys(principal)]})

    async def _create(self, request: Request, principal: Principal) -> Response:
        refuse_parameters(request.query_params.keys())
        check_accept(request)
        key = check_key(request.headers.getlist(KEY))
        check_type(request)
        async with self._bodies.read(request, MAX_BODY_BYTES) as raw:
            made = await self._exports.create(principal, key, parse_json(raw))
        return _job(made, principal, 202)

    async def _asked(self, request: Request) -> tuple[Principal, str]:
        principal = await self._principal(request)
        refuse_parameters(request.query_params.keys())
        return principal, request.path_params["export_id"]

    def routes(self) -> list[Route]:
        """The routes."""
        one = "/v1/exports/{export_id}"
        return [
            Route("/v1/exports", self.exports, methods=["GET", "POST"]),
            Route(one, self.export),
            Route(f"{one}/cancel", self.cancel, methods=["POST"]),
            Route(f"{one}/retry", self.retry, methods=["POST"]),
            Route(f"{one}/parts/{{number}}", self.part),
            Route(f"{one}/manifest", self.manifest),
            Route(f"{one}/manifest.sig", self.signature),
            Route(f"{one}/readme", self.readme),
            Route("/v1/signing-keys", self.signing_keys),
        ]


def _job(export: Export, principal: Principal, status: int = 200) -> Response:
    headers = {"Location": f"/v1/exports/{export.id}"} if status == 202 else {}  # Accepted
    return JSONResponse(job_body(export, pii=principal.may(Scope.PII)), status, headers=headers)


def _page(request: Request) -> tuple[int, str]:
    """How many, behind which one. Raises the problem 400 that lists everything wrong with the parameters."""
    faults, found = [], {}
    for name, value in request.query_params.multi_items():
        if name not in ("after", "limit"):
            faults.append(Fault(name, "unknown_parameter", "is no parameter of this request", ("after", "limit")))
        elif name in found:
            faults.append(Fault(name, "repeated", "can be given once"))
        elif name == "limit" and not (
            value.isascii() and value.isdecimal() and len(value) <= 4 and 1 <= int(value) <= MOST
        ):
            faults.append(Fault(name, "out_of_range", f"must be a number from 1 to {MOST}"))
        else:
            found[name] = value
    if faults:
        raise invalid(tuple(faults))
    return int(found.get("limit", _DEFAULT)), found.get("after", "")


__all__ = ["ExportsApi"]
