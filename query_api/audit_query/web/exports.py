"""The list of export jobs: how far they are, what came of them, and their files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from audit_infra.access import Scope
from audit_query.exports.answers import percent
from audit_query.exports.handing import file_answer
from audit_query.exports.job import ENDED, Export
from audit_query.exports.readme import readme
from audit_query.exports.request import LONGEST_KEY
from audit_query.exports.store import Proof
from audit_query.exports.wording import words
from audit_query.filters import PERSONAL
from audit_query.problems import no_such
from audit_query.service import Service
from audit_query.web.address import PATH, Pair
from audit_query.web.messages import say
from audit_query.web.rendering import HEADERS, Rendering
from audit_query.web.session import Session
from audit_query.web.viewer import Viewer
from audit_schemas.catalogue import Catalogue

EXPORTS: Final = f"{PATH}/exports"
OF_CSV: Final = ("columns", "raw", "header", "bom")
"""What a form says of CSV alone."""
_OPTIONS: Final = ("format", "tz", "form_token", *OF_CSV)
_SHOWN: Final = 50
_MOST_FIELDS: Final = 1000


@dataclass(frozen=True, slots=True)
class PartView:
    """One file."""

    number: int
    name: str
    link: str
    rows: str
    bytes: str
    sha256: str


@dataclass(frozen=True, slots=True)
class JobView:
    """One job as it is shown; `percent` is None until its rows are counted."""

    id: str
    state: str
    state_text: str
    filter: str
    what: str
    asked: str
    percent: float | None
    progress: str
    error: str
    expires: str
    parts: tuple[PartView, ...]
    proof: bool
    may_cancel: bool
    may_retry: bool
    may_download: bool


def job_view(export: Export, viewer: Viewer, catalogue: Catalogue, *, pii: bool) -> JobView:
    """What people read of a job. Without `pii` what it filters by personal data is left out."""
    form, fixed = export.asked.form, export.fixed
    shown = export.asked.filter if pii else export.asked.filter.without(*PERSONAL)
    done = viewer.number(export.rows_done)
    expires = export.expires_at
    kept = expires is not None and expires > viewer.now and export.state != "expired"
    return JobView(
        id=export.id,
        state=export.state,
        state_text=say(f"state_{export.state}"),
        filter=words(shown, catalogue),
        what=say(f"format_{form.format}") + ("" if form.format != "csv" else f" · {form.zone}"),
        asked=say(
            "asked_by",
            name=export.asked.requester.name or export.asked.requester.id,
            time=viewer.moment(export.requested_at),
        ),
        percent=percent(export),
        progress=say("progress", done=done, total=viewer.number(fixed.rows))
        if fixed and fixed.rows is not None
        else say("progress_uncounted"),
        error=export.error.detail if export.error else "",
        expires=say("kept_until", time=viewer.moment(expires)) if expires is not None and kept else "",
        parts=tuple(
            PartView(
                one.number,
                export.file(one.number),
                f"{EXPORTS}/{export.id}/parts/{one.number}",
                viewer.number(one.rows or 0),
                viewer.number(one.bytes),
                one.sha256,
            )
            for one in export.parts
        ),
        proof=export.signed,
        may_cancel=export.state in ("queued", "running"),
        may_retry=export.state in ("failed", "cancelled"),
        may_download=export.state != "expired" and (expires is None or kept),
    )


class ExportsPage:
    """Every handler asks the service that the API asks."""

    def __init__(self, service: Service, session: Session, rendering: Rendering) -> None:
        self._service, self._session, self._rendering = service, session, rendering

    async def page(self, request: Request) -> Response:
        """The newest jobs of the workspace."""
        principal, viewer = self._session.principal(request), self._rendering.viewer(request)
        found = await self._service.exports.jobs(principal, "", _SHOWN)
        seen = await self._service.plans.visibility(principal)
        pii = principal.may(Scope.PII)
        return await self._rendering.within(
            principal,
            "export_jobs.html",
            "exports.html",
            request,
            jobs=[job_view(one, viewer, self._service.catalogue, pii=pii) for one in found],
            going=any(one.state not in ENDED for one in found),
            full=seen.full,
            upgrade_url=seen.upgrade_url,
        )

    async def create(self, request: Request) -> Response:
        """A job of what the filters show; the form's own token makes a repeated press the same job."""
        form = await self._session.own_form(request, _MOST_FIELDS)
        principal, viewer = self._session.principal(request), self._rendering.viewer(request)
        fields = [(name, str(value)) for name, value in form.multi_items()]
        # Another one each time the page is made: pressed twice, it is one export.
        key = dict(fields)["form_token"][-LONGEST_KEY:]
        await self._service.exports.create(principal, key, _body(fields, viewer))
        return RedirectResponse(EXPORTS, 303, headers=dict(HEADERS))

    async def change(self, request: Request) -> Response:
        """Cancels a job, or queues it again."""
        await self._session.own_form(request)
        principal = self._session.principal(request)
        changes = {"cancel": self._service.exports.cancel, "retry": self._service.exports.retry}
        change = changes.get(request.path_params["change"])
        if change is None:
            raise no_such("address")
        await change(principal, request.path_params["export_id"])
        return RedirectResponse(EXPORTS, 303, headers=dict(HEADERS))

    async def part(self, request: Request) -> Response:
        """One file of a job."""
        principal, number = self._session.principal(request), request.path_params["number"]
        return await file_answer(self._service.exports, principal, request, request.path_params["export_id"], number)

    async def proof(self, request: Request) -> Response:
        """The manifest, its signature, or the text that explains both."""
        principal, name = self._session.principal(request), request.path_params["name"]
        if name not in _PROOFS:
            raise no_such("address")
        proof = await self._service.exports.proof(principal, request.path_params["export_id"])
        media, content = _PROOFS[name]
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content(proof), media_type=media, headers=headers)


_PROOFS: Final[Mapping[str, tuple[str, Callable[[Proof], bytes]]]] = {
    "manifest.json": ("application/json", lambda proof: proof.manifest),
    "manifest.json.sig": ("application/octet-stream", lambda proof: proof.signature),
    "README.txt": ("text/plain", lambda proof: readme(proof.manifest).encode()),
}


def _body(fields: Sequence[Pair], viewer: Viewer) -> dict[str, Any]:
    """The job's body, as the API takes it: what is no option is a filter."""
    options = dict(fields)
    filter_: dict[str, list[str]] = defaultdict(list)
    for name, value in fields:
        if value and name not in _OPTIONS:
            filter_[name].append(value)
    body: dict[str, Any] = {
        "format": options.get("format", "csv"),
        "filter": filter_,
        "tz": options.get("tz") or viewer.zone.key,
    }
    if body["format"] == "csv":
        body["columns"] = [value for name, value in fields if name == "columns"] or None
        body["raw"] = options.get("raw") == "1"
    return body


__all__ = ["EXPORTS", "OF_CSV", "ExportsPage", "JobView", "job_view"]
