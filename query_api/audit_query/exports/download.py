"""The streamed export: all matching events in one answer, as ClickHouse makes the bytes."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio
import structlog

from audit_infra.access import Principal, Scope
from audit_infra.http.problems import Fault, ProblemError, invalid
from audit_query.asking import Asking, Question
from audit_query.exports import rows
from audit_query.exports.file_names import file_name, headers
from audit_query.exports.form import FORMATS, Form, Format
from audit_query.exports.recording import Ended, Outcome, Recorder, Stream
from audit_query.exports.rows import COLUMN_NAMES
from audit_query.exports.tally import Tally
from audit_query.filters import Params
from audit_query.freshness import Freshness
from audit_query.ports import Clock, Reading
from audit_query.problems import not_recorded
from audit_query.self_audit import SelfAudit
from audit_query.sql import Query
from audit_schemas.catalogue import Catalogue
from audit_schemas.errors import AuditError, Transient

PARAMETERS: Final[Mapping[str, Sequence[str]]] = {
    "format": FORMATS,
    "order": ("desc", "asc"),
    "raw": ("0", "1"),
    "header": ("labels", "names"),
    "bom": ("0", "1"),
}
COLUMNS: Final = "columns"
_OF_CSV: Final = {"raw": "0", "header": "labels", "bom": "0"}
"""Parameters of CSV alone, with what they are when they are not given."""
_RECORDING_S: Final = 10
log = structlog.get_logger("audit_query.export")


@dataclass(frozen=True, slots=True)
class _Asked:
    question: Question
    form: Form
    file: str


class Download:
    """Every method takes a principal, whose workspace is the only one it can see."""

    def __init__(
        self,
        *,
        reader: Reading,
        asking: Asking,
        freshness: Freshness,
        catalogue: Catalogue,
        clock: Clock,
        self_audit: SelfAudit,
        recorder: Recorder,
        late_after_s: float,
    ) -> None:
        self._reader, self._asking, self._freshness, self._catalogue = reader, asking, freshness, catalogue
        self._clock, self._self_audit, self._recorder, self._late_after_s = clock, self_audit, recorder, late_after_s

    async def headers(self, principal: Principal, params: Params) -> Sequence[tuple[str, str]]:
        """The headers of the answer to the same question, which begins no export."""
        asked = await self._asked(principal, params)
        return (*headers(asked.file, asked.form), _fresh(await self._complete_through()))

    async def stream(
        self, principal: Principal, params: Params
    ) -> tuple[Sequence[tuple[str, str]], AsyncGenerator[bytes]]:
        """The headers and the bytes of all matching events.

        The iterator raises when the stream breaks off; what came before is then no complete file. Beginning and end are
        recorded, under the id in the header `X-Export-Id`; an export that can't be recorded is refused with the
        problem 503.
        """
        asked = await self._asked(principal, params)
        question, form = asked.question, asked.form
        query = rows.query(principal.workspace_id, question.shown, self._catalogue, form, pii=question.pii)
        stream = Stream(
            export_id=uuid.uuid4().hex,
            principal=principal,
            params=[(name, value) for name, value in params if name not in {*PARAMETERS, COLUMNS}],
            filter=question.shown,
            form=form,
            pii=question.pii,
            file=asked.file,
            started_at=self._clock(),
            complete_through=await self._complete_through(),
        )
        try:
            await self._recorder.begun(stream)
        except AuditError as error:
            log.error("an export is refused, since it can't be recorded", error=str(error))  # noqa: TRY400 - no values
            raise not_recorded() from None
        tally = Tally(form.format)
        body = self._body(stream, query, tally)
        options = {"format": "csv", **question.further}
        try:
            recorded = await self._self_audit.export(principal, params, options, stream.export_id, body, tally)
        except ProblemError:
            # The body has not begun, and so won't tell of its end.
            await self._ended(stream, tally, "aborted")
            raise
        further = (_fresh(stream.complete_through), ("x-export-id", stream.export_id))
        return (*headers(asked.file, form), *further), recorded

    async def _asked(self, principal: Principal, params: Params) -> _Asked:
        given = dict(params).get("format", "csv")
        # An unknown one is refused with everything else that is wrong.
        format_: Format = next((one for one in FORMATS if one == given), FORMATS[0])
        question = await self._asking.question(
            principal, params, scope=Scope.EXPORT, further=PARAMETERS, lists={COLUMNS: COLUMN_NAMES[format_]}
        )
        further = question.further
        if format_ != "csv":
            _refuse_what_csv_has(format_, further)
        question.visibility.require_export()
        form = Form(
            format=format_,
            columns=tuple(dict.fromkeys(filter(None, further.get(COLUMNS, "").split(",")))),
            zone=question.shown.zone.key if question.shown.zone else "UTC",
            raw=further.get("raw") == "1",
            names=further.get("header") == "names",
            ascending=further.get("order") == "asc",
            bom=further.get("bom") == "1",
            late_after_s=self._late_after_s,
        )
        return _Asked(question, form, file_name(principal.workspace_id, question.shown, form, self._clock()))

    async def _complete_through(self) -> str | None:
        # When nothing can be read, the export itself fails, and is recorded to have failed.
        with contextlib.suppress(Transient):
            return (await self._freshness.complete_through())["all"]
        return None

    async def _body(self, stream: Stream, query: Query, tally: Tally) -> AsyncGenerator[bytes]:
        outcome: Outcome = "aborted"
        try:
            head = rows.head(stream.form)
            async with contextlib.aclosing(self._reader.stream(query)) as chunks:
                async for chunk in chunks:
                    # With the first rows: what fails before them gets a status of its own.
                    whole, head = head + chunk if head else chunk, b""
                    tally.add(whole)
                    yield whole
            if head:
                tally.add(head)
                yield head
            outcome = "done"
        finally:
            await self._ended(stream, tally, outcome)

    async def _ended(self, stream: Stream, tally: Tally, outcome: Outcome) -> None:
        ended = Ended(tally.rows, tally.bytes, tally.sha256, outcome, self._clock())
        # The answer's own end cancels what is left of it; this must be kept all the same.
        with anyio.move_on_after(_RECORDING_S, shield=True) as kept:
            try:
                await self._recorder.ended(stream, ended)
            except AuditError as error:
                log.error("the end of an export is not recorded", export_id=stream.export_id, error=str(error))  # noqa: TRY400 - no values
        if kept.cancelled_caught:
            log.error("the end of an export is not recorded in time", export_id=stream.export_id)


def _refuse_what_csv_has(format_: Format, given: Mapping[str, str]) -> None:
    faults = [
        Fault(name, "conflict", f"is of CSV, not of {format_}")
        for name, usual in _OF_CSV.items()
        if given.get(name, usual) != usual
    ]
    if faults:
        raise invalid(tuple(faults))


def _fresh(complete_through: str | None) -> tuple[str, str]:
    return "audit-complete-through", complete_through or "unknown"


__all__ = ["COLUMNS", "PARAMETERS", "Download"]
