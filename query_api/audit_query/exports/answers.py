"""Export jobs and signing keys as they are answered. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from audit_query.exports.job import Export, Part
from audit_query.exports.keys import ALGORITHM, PublicKey
from audit_query.exports.rows import COLUMN_NAMES
from audit_query.filters import PERSONAL, base_of
from audit_query.rows import MASK


def job_body(export: Export, *, pii: bool) -> dict[str, Any]:
    """A job. Without `pii` the filter's values that are personal data are masked."""
    form = export.asked.form
    return {
        "id": export.id,
        "state": export.state,
        "format": form.format,
        "rows_done": export.rows_done,
        "rows_total": export.fixed.rows if export.fixed else None,
        "percent": percent(export),
        "parts": [_part(export, part) for part in export.parts],
        "requested_at": _text(export.requested_at),
        "started_at": _text(export.started_at),
        "finished_at": _text(export.finished_at),
        "expires_at": _text(export.expires_at),
        "error": {"type": export.error.type, "detail": export.error.detail} if export.error else None,
        "filter": {
            name: [MASK for _ in values] if base_of(name) in PERSONAL and not pii else list(values)
            for name, values in export.asked.sent
        },
        "columns": list(form.columns or COLUMN_NAMES[form.format]),
        "tz": form.zone,
        "raw": form.raw,
        "order": "asc" if form.ascending else "desc",
        "attempts": len(export.attempts),
    }


def percent(export: Export) -> float | None:
    """How much is done, from 0 to 100, of the rows there are; None until they are counted."""
    total = export.fixed.rows if export.fixed else None
    if export.state in ("done", "expired"):
        return 100.0
    if total is None:
        return None
    # What is left is the end: its manifest.
    return min(99.9, round(100 * export.rows_done / total, 1)) if total else 0.0


def key_body(key: PublicKey) -> dict[str, Any]:
    """A signing key: its public half."""
    return {
        "key_id": key.key_id,
        "algorithm": ALGORITHM,
        "public_key_pem": key.public_key_pem,
        "created_at": _text(key.created_at),
        "retired_at": _text(key.retired_at),
    }


def _part(export: Export, part: Part) -> dict[str, Any]:
    return {
        "number": part.number,
        "file": export.file(part.number),
        "rows": part.rows,
        "bytes": part.bytes,
        "sha256": part.sha256,
    }


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


__all__ = ["job_body", "key_body", "percent"]
