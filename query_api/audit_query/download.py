"""The streamed export: all matching events as CSV, as ClickHouse makes the bytes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

from audit_infra.access import Principal, Scope
from audit_query import export
from audit_query.asking import Asking
from audit_query.filters import Params
from audit_query.freshness import Freshness
from audit_query.ports import Clock, Reading
from audit_query.self_audit import SelfAudit
from audit_schemas.catalogue import Catalogue
from audit_schemas.errors import Transient

CSV_PARAMETERS = {
    "format": ("csv",),
    "order": ("desc", "asc"),
    "raw": ("0", "1"),
    "header": ("labels", "names"),
    "bom": ("0", "1"),
}


class Download:
    """Every method takes a principal, whose workspace is the only one it can see."""

    def __init__(
        self,
        reader: Reading,
        asking: Asking,
        freshness: Freshness,
        catalogue: Catalogue,
        clock: Clock,
        self_audit: SelfAudit,
    ) -> None:
        self._reader, self._asking, self._freshness, self._catalogue = reader, asking, freshness, catalogue
        self._clock, self._self_audit = clock, self_audit

    async def csv(
        self, principal: Principal, params: Params
    ) -> tuple[Sequence[tuple[str, str]], AsyncGenerator[bytes]]:
        """The headers and the bytes of a CSV of all matching events.

        The iterator raises when the stream breaks off; what came before is then no complete file. Beginning and end are
        recorded in the log; an export that can't be recorded is refused with the problem 503.
        """
        question = await self._asking.question(principal, params, scope=Scope.EXPORT, further=CSV_PARAMETERS)
        question.visibility.require_export()
        filter_, further = question.shown, question.further
        form = export.Form(
            zone=filter_.zone.key if filter_.zone else "UTC",
            raw=further.get("raw") == "1",
            names=further.get("header") == "names",
            ascending=further.get("order") == "asc",
            bom=further.get("bom") == "1",
        )
        complete_through = None
        with contextlib.suppress(Transient):
            # When nothing can be read, the export itself fails, and is recorded to have failed.
            complete_through = (await self._freshness.complete_through())["all"]
        query = export.query(principal.workspace_id, filter_, self._catalogue, form, pii=question.pii)
        day = f"{self._clock():%Y-%m-%d}"

        async def body() -> AsyncGenerator[bytes]:
            begun = False
            async for chunk in self._reader.stream(query):
                if not begun:
                    yield export.head(form)
                    begun = True
                yield chunk
            if not begun:
                yield export.head(form)

        recorded = await self._self_audit.export(principal, params, {"format": "csv", **further}, body())
        fresh = ("audit-complete-through", complete_through or "unknown")
        return (*export.headers(principal.workspace_id, day), fresh), recorded


__all__ = ["CSV_PARAMETERS", "Download"]
