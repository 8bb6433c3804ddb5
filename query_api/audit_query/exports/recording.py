"""Who is told of streamed exports, so that each has a manifest: what it was to hold, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from audit_infra.access import Principal
from audit_query.exports.form import Form
from audit_query.filters import Filter, Params

Outcome = Literal["done", "aborted"]


@dataclass(frozen=True, slots=True)
class Stream:
    """A streamed export. `params` is the filter as sent, `filter` as it was taken; `pii` whether personal data is in the
    clear; `file` the name of the download; `complete_through` up to which moment of acceptance the log was complete when
    it began, None when that was not known.
    """

    export_id: str
    principal: Principal
    params: Params
    filter: Filter
    form: Form
    pii: bool
    file: str
    started_at: datetime
    complete_through: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """What was sent before any Content-Encoding, until the last byte or until it was aborted.

    `rows` is None for a Parquet file that has no end, or one of more rows than its footer is read for.
    """

    rows: int | None
    bytes: int
    sha256: str
    outcome: Outcome
    finished_at: datetime


class Recorder(Protocol):
    """Keeps what is told. Both methods may wait for a disk, and belong to the event loop."""

    async def begun(self, stream: Stream) -> None:
        """Before the first byte. Raises an `AuditError` when it can't be kept: then there is no export."""

    async def ended(self, stream: Stream, ended: Ended) -> None:
        """Once, after the last byte or when the stream was aborted; cancelling does not stop it. What it raises is
        logged: the bytes are gone.
        """


__all__ = ["Ended", "Outcome", "Recorder", "Stream"]
