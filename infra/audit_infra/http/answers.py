"""How errors become answers: every error raised on purpose is a problem; nobody sees a stack trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from audit_infra.access import AccessError, Forbidden, Unauthenticated
from audit_infra.http.problems import (
    FORBIDDEN,
    INTERNAL,
    INVALID_REQUEST,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    UNAUTHENTICATED,
    ProblemError,
)
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
        match error.status_code:
            case 404:
                kind, detail = NOT_FOUND, ""
            case 405:
                kind, detail = METHOD_NOT_ALLOWED, self._elsewhere.get(request.url.path, "")
            case _:  # the framework's other refusals are of bodies that can't be read
                kind, detail = INVALID_REQUEST, error.detail
        return answer(request, ProblemError(kind, detail, headers=dict(error.headers or {})))

    async def _fault_of_ours(self, request: Request, _: Exception) -> Response:
        """The server logs the stack trace beside; the caller gets an id to quote."""
        return answer(request, ProblemError(INTERNAL))

    async def _audit_error(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, AuditError):
            raise error
        found = problem_of(error, self._unavailable)
        if found is self._unavailable:
            log.error("can't serve this now", error=str(error), request_id=request.state.request_id)
        return answer(request, found)


def problem_of(error: AuditError, unavailable: ProblemError) -> ProblemError:
    """What the caller is told; `unavailable` where the fault is not the caller's."""
    match error:
        case ProblemError():
            return error
        case Unauthenticated():
            headers = {"WWW-Authenticate": 'Bearer realm="audit-log"'}
            return ProblemError(UNAUTHENTICATED, str(error), headers=headers)
        case Forbidden() | AccessError():
            return ProblemError(FORBIDDEN, str(error))
        case _:
            return unavailable


def answer(request: Request, found: ProblemError) -> Response:
    """The problem as an answer."""
    return JSONResponse(
        found.body(request.state.request_id),
        found.status,
        headers=found.headers,
        media_type="application/problem+json",
    )


__all__ = ["Answers", "answer", "problem_of"]
