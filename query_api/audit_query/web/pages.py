"""The routes of the page, and what a person reads of an error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from audit_infra.access import Access, AccessError, HostTokens, Principal, Sessions, Unauthenticated
from audit_infra.http.failures import Failures
from audit_infra.http.problems import NOT_FOUND, ProblemError
from audit_query.problems import unavailable
from audit_query.service import Service
from audit_query.stream import Relayed
from audit_query.web.address import PATH
from audit_query.web.choosing import Choosing
from audit_query.web.demo import Demo
from audit_query.web.event import Event
from audit_query.web.exports import OF_CSV, ExportsPage
from audit_query.web.log import Log
from audit_query.web.messages import say
from audit_query.web.rendering import COOKIE, Rendering, is_fragment
from audit_query.web.session import Session, own_path
from audit_schemas.errors import AuditError

Handler = Callable[[Request], Awaitable[Response]]


class Assets(StaticFiles):
    """The page's own files: kept by browsers, and asked about each time, so that an upgrade shows at once."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """As Starlette makes it, with the caching rule."""
        answer = super().file_response(*args, **kwargs)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


class Web:
    """The page for one service."""

    def __init__(
        self,
        *,
        service: Service,
        access: Access,
        sessions: Sessions,
        tokens: HostTokens,
        failures: Failures,
        address: Callable[[Request], str],
        local: bool,
        events_docs_url: str,
        sign_in_url: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._service, self._local, self._sign_in_url = service, local, sign_in_url
        self._rendering = Rendering(access, sessions, clock, local=local)
        self._session = Session(access, sessions, tokens, failures, address, clock)
        self._log = Log(service, self._session, self._rendering, events_docs_url)
        self._choosing = Choosing(service, self._session, self._rendering, self._log)
        self._event = Event(service, self._session, self._rendering)
        self._exports = ExportsPage(service, self._session, self._rendering)
        self._demo = Demo(service, access, self._session, self._rendering)

    def routes(self) -> list[BaseRoute]:
        """The host product's part, and the switches of plan and workspace, only on the local stack."""
        found: list[BaseRoute] = [
            Route(PATH, self._shown(self._log.page)),
            Route(f"{PATH}/choose/{{name}}", self._shown(self._choosing.choose)),
            Route(f"{PATH}/apply", self._shown(self._choosing.apply)),
            Route(f"{PATH}/activity", self._shown(self._log.activity)),
            Route(f"{PATH}/newer", self._shown(self._log.newer)),
            Route(f"{PATH}/events/{{event_id}}", self._shown(self._event.page)),
            Route(f"{PATH}/export", self._shown(self.export)),
            Route(f"{PATH}/exports", self._shown(self._exports.page)),
            Route(f"{PATH}/exports", self._shown(self._exports.create), methods=["POST"]),
            Route(f"{PATH}/exports/{{export_id}}/{{change}}", self._shown(self._exports.change), methods=["POST"]),
            Route(f"{PATH}/exports/{{export_id}}/parts/{{number}}", self._shown(self._exports.part)),
            Route(f"{PATH}/exports/{{export_id}}/{{name}}", self._shown(self._exports.proof)),
            Route(f"{PATH}/sign-in", self._shown(self._session.sign_in)),
            Route(f"{PATH}/session", self._shown(self._session.post), methods=["POST"]),
            Route(f"{PATH}/sign-out", self._shown(self._session.sign_out), methods=["POST"]),
            Route(f"{PATH}/zone", self._shown(self._session.zone), methods=["POST"]),
            Mount(f"{PATH}/static", Assets(directory=Path(str(files("audit_query.web"))) / "static")),
        ]
        if self._local:
            found += [
                Route("/", self._shown(self._demo.home)),
                Route("/settings", self._shown(self._demo.settings)),
                Route("/upgrade", self._shown(self._demo.upgrade)),
                Route("/upgrade", self._shown(self._demo.switch_plan), methods=["POST"]),
                Route("/workspace", self._shown(self._demo.switch_workspace), methods=["POST"]),
            ]
        return found

    async def export(self, request: Request) -> Response:
        """What the filters show as a file, in the viewer's zone, with a byte-order mark for spreadsheets."""
        principal = self._session.principal(request)
        params = [(name, value) for name, value in request.query_params.multi_items() if value]
        names = {name for name, _ in params}
        if "tz" not in names:
            params.append(("tz", self._rendering.viewer(request).zone.key))
        if dict(params).get("format", "csv") == "csv":
            params += [("bom", "1")] if "bom" not in names else []
        else:
            params = [(name, value) for name, value in params if name not in OF_CSV]
        return await Relayed.begin(*await self._service.download.stream(principal, params))

    def _shown(self, handler: Handler) -> Handler:
        """Errors as pages a person can read."""

        async def shown(request: Request) -> Response:
            try:
                return await handler(request)
            except AuditError as error:
                return self.refusal(request, error)

        return shown

    def refusal(self, request: Request, error: AuditError) -> Response:
        """What a person reads of an error: why, and what to do next."""
        values: dict[str, Any] = {"faults": (), "retry": False, "upgrade_url": "", "request_id": ""}
        headers: dict[str, str] = {}
        match error:
            case Unauthenticated():
                return self._signed_out(request, error)
            case ProblemError():
                headers = error.headers
                values["title"] = error.title
                values["faults"] = [_fault(one.name, one.message) for one in error.faults] or [error.detail]
                values["upgrade_url"] = str(error.extra.get("upgrade_url", ""))
                values["retry"] = error.status in (429, 503)
                status = error.status
                if error.kind is NOT_FOUND:
                    values["title"] = say("gone")
            case AccessError():
                status, values["title"], values["faults"] = 403, say("not_allowed"), [str(error)]
            case _:
                problem = unavailable()
                status, values["title"], values["retry"] = 503, say("unavailable"), True
                values["faults"] = [f"{problem.title}; {problem.detail}"]
        values["request_id"] = str(getattr(request.state, "request_id", ""))
        answer = self._rendering.part("problem.html", "problem_page.html", request, status, **values)
        answer.headers.update(headers)
        return answer

    def _signed_out(self, request: Request, error: Unauthenticated) -> Response:
        wanted = own_path(request.url.path)
        link = self._sign_in_url.replace("{return}", wanted or PATH) if self._sign_in_url else ""
        answer = self._rendering.part(
            "signed_out.html", "signed_out_page.html", request, 401, why=str(error), sign_in_url=link
        )
        if not is_fragment(request):
            self._session.remember(request, answer)
        return answer

    async def who(self, request: Request) -> Principal | None:
        """Who is signed in, None when nobody is."""
        try:
            return self._session.principal(request)
        except Unauthenticated:
            return None


def _fault(name: str, message: str) -> str:
    return f"{name}: {message}" if name else message


__all__ = ["COOKIE", "PATH", "Web"]
