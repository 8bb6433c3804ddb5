"""How errors become answers: every error raised on purpose is a problem; nobody sees a stack trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from audit_infra.access import AccessError, Forbidden, Unauthenticated
from audit_infra.http.problems import ProblemError
from audit_schemas.errors import AuditError

log = structlog.get_logger("audit_infra.http")


class Answers:
    """The exception handlers of a service.

    `unavailable` is the problem when what the service stands on does not answer; `elsewhere` says, for paths of another
    service, which one takes the methods this one refuses.
    """

    def __init__(self, unavailable: ProblemError, elsewhere: Mapping[str, str]) -> None:
        self._unavailable, self._elsewhere = unavailable, elsewhere

    def handlers(self) -> dict[Any, Any]:
        """For the application's `exception_handlers`."""
        return {AuditError: self._audit_error, HTTPException: self._http_error, Exception: self._fault_of_ours}

    async def _http_error(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        known = {
            404: ("not-found", "There is nothing here"),
            405: ("method-not-allowed", "This method is not for this address"),
        }
        kind, title = known.get(error.status_code, ("error", error.detail))
        detail = self._elsewhere.get(request.url.path, "") if error.status_code == 405 else ""
        return answer(request, ProblemError(error.status_code, kind, title, detail, headers=dict(error.headers or {})))

    async def _fault_of_ours(self, request: Request, _: Exception) -> Response:
        """The server logs the stack trace beside; the caller gets an id to quote."""
        return answer(request, ProblemError(500, "internal", "Something went wrong here"))

    async def _audit_error(self, request: Request, error: Exception) -> Response:
        match error:
            case ProblemError():
                found = error
            case Unauthenticated():
                headers = {"WWW-Authenticate": 'Bearer realm="audit-log"'}
                found = ProblemError(401, "unauthenticated", "No valid credential", str(error), headers=headers)
            case Forbidden() | AccessError():
                found = ProblemError(403, "forbidden", "Not allowed", str(error))
            case _:
                log.error("can't serve this now", error=str(error), request_id=request.state.request_id)
                found = self._unavailable
        return answer(request, found)


def answer(request: Request, found: ProblemError) -> Response:
    """The problem as an answer."""
    return JSONResponse(
        found.body(request.state.request_id),
        found.status,
        headers=found.headers,
        media_type="application/problem+json",
    )


__all__ = ["Answers", "answer"]
