"""The proof that goes with an export: what it holds, how it came about, and whether anything is missing. Pure.

Its exact bytes are what is signed: UTF-8, indented by two, keys in this order, a line break at the end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from audit_query.exports.job import GZIPPED, Attempt, Export, Fixed, Part
from audit_query.exports.keys import ALGORITHM, SigningKey
from audit_query.exports.part import Key
from audit_query.exports.rows import COLUMN_NAMES
from audit_query.exports.wording import canonical, words
from audit_query.rows import time_text
from audit_schemas.catalogue import Catalogue

FORMAT_VERSION: Final = 1
MASKED: Final = ("actor_email", "ip", "user_agent")
"""What is masked without the scope audit:pii, with its copies in other fields."""
_THROUGH: Final = (
    "Every event that Kafka accepted before this moment was stored when the export started, and is in it if it matches;"
    " null where that was not known."
)
_QUARANTINED: Final = (
    "Records of this workspace that Kafka accepted within the range and that could not be read as events when the export"
    " started; they are kept in quarantine and are not in the files."
)
_GAPS: Final = (
    "Holes in the numbers that producers give their events, and events missing in them, of all workspaces, that were open"
    " when the export started and were noticed after the beginning of the range; such events were never stored."
)


def manifest(export: Export, catalogue: Catalogue, key: SigningKey, *, software: str) -> bytes:
    """The document of an export that has ended. `software` is the version that makes it.

    Raises `ValueError` for one that goes on.
    """
    if export.finished_at is None:
        raise ValueError(f"the export {export.id} has not ended")
    document = {
        "format_version": FORMAT_VERSION,
        "export_id": export.id,
        "workspace_id": export.workspace_id,
        "requester": {
            "type": export.asked.requester.type,
            "id": export.asked.requester.id,
            "name": export.asked.requester.name,
            "credential_prefix": export.asked.requester.credential_prefix,
        },
        "plan": export.asked.plan,
        "requested_at": _time(export.requested_at),
        "started_at": _time(export.started_at),
        "finished_at": _time(export.finished_at),
        "outcome": "done" if export.state == "expired" else export.state,
        "filter": {
            "sent": {name: list(values) for name, values in export.asked.sent},
            "canonical": canonical(export.asked.filter),
            "words": words(export.asked.filter, catalogue),
        },
        "output": _output(export),
        **_fixed(export.fixed, software),
        "parts": [_part(export, part) for part in export.parts],
        "resends_collapsed": sum(part.collapsed for part in export.parts) if export.kind == "job" else None,
        "quarantined": {
            "events": export.fixed.quarantined if export.fixed else None,
            "meaning": _QUARANTINED,
        },
        "gaps": {
            "holes": export.fixed.holes if export.fixed else None,
            "events": export.fixed.missing if export.fixed else None,
            "meaning": _GAPS,
        },
        "attempts": [_attempt(attempt) for attempt in export.attempts],
        "totals": {
            "parts": len(export.parts),
            "rows": None if any(part.rows is None for part in export.parts) else export.rows_done,
            "bytes": sum(part.bytes for part in export.parts),
            "content_bytes": sum(part.content_bytes for part in export.parts),
        },
        "signing_key": {"key_id": key.key_id, "algorithm": ALGORITHM, "public_key_pem": key.public_key_pem},
    }
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def _output(export: Export) -> Mapping[str, Any]:
    form = export.asked.form
    csv = form.format == "csv"
    guarded = sum(part.guarded for part in export.parts) if export.kind == "job" else None
    return {
        "format": form.format,
        "columns": list(form.columns or COLUMN_NAMES[form.format]),
        "order": "asc" if form.ascending else "desc",
        "time_zone": form.zone,
        "tzdata": export.fixed.versions.tzdata if export.fixed else None,
        "compression": "gzip" if export.kind == "job" and form.format in GZIPPED else "none",
        "dialect": {"delimiter": ",", "quote": '"', "line_end": "\r\n", "encoding": "UTF-8", "header": True}
        if csv
        else None,
        "guard": {"applied": not form.raw, "character": "'", "cells_changed": guarded} if csv else None,
        "masked_fields": [] if export.asked.pii else list(MASKED),
    }


def _fixed(fixed: Fixed | None, software: str) -> Mapping[str, Any]:
    return {
        "versions": {
            "software": fixed.versions.software if fixed else software,
            "schema": fixed.versions.schema if fixed else None,
            "catalogue": fixed.versions.catalogue if fixed else None,
        },
        "complete_through": {"at": fixed.complete_through if fixed else None, "meaning": _THROUGH},
        "positions": [
            {"topic": one.topic, "topic_id": one.topic_id, "partition": one.partition, "end": one.end}
            for one in (fixed.positions if fixed else ())
        ],
    }


def _part(export: Export, part: Part) -> Mapping[str, Any]:
    return {
        "number": part.number,
        "file": export.file(part.number),
        "rows": part.rows,
        "bytes": part.bytes,
        "content_bytes": part.content_bytes,
        "first": _key(part.first),
        "last": _key(part.last),
        "sha256": part.sha256,
        "content_sha256": part.content_sha256,
    }


def _attempt(attempt: Attempt) -> Mapping[str, Any]:
    return {
        "number": attempt.number,
        "started_at": _time(attempt.started_at),
        "ended_at": _time(attempt.ended_at),
        "ended": attempt.ended,
        "reason": attempt.reason,
    }


def _key(key: Key | None) -> Mapping[str, str] | None:
    return None if key is None else {"occurred_at": time_text(key.occurred_at), "event_id": key.event_id}


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


__all__ = ["FORMAT_VERSION", "MASKED", "manifest"]
