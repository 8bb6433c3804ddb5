"""Rows of the control database as exports, and back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from audit_query.exports.job import ASKED, ATTEMPTS, ERROR, FIXED, Export, Part
from audit_query.exports.part import Key


def milliseconds(instant: datetime) -> int:
    """As the tables have instants."""
    return round(instant.timestamp() * 1000)


def instant(value: int | None) -> datetime | None:
    """From the tables' milliseconds."""
    return None if value is None else datetime.fromtimestamp(value / 1000, UTC)


def export_of(row: Any, parts: Sequence[Any]) -> Export:
    """From a row of `exports` and its rows of `export_parts` in order."""
    requested = instant(row.requested_at)
    assert requested is not None  # noqa: S101  # the column is never null
    return Export(
        id=row.id,
        workspace_id=row.workspace_id,
        kind=row.kind,
        state=row.state,
        asked=ASKED.validate_json(row.asked),
        requested_at=requested,
        started_at=instant(row.started_at),
        finished_at=instant(row.finished_at),
        expires_at=instant(row.expires_at),
        fixed=FIXED.validate_json(row.fixed) if row.fixed else None,
        attempts=ATTEMPTS.validate_json(row.attempts),
        error=ERROR.validate_json(row.error) if row.error else None,
        parts=tuple(map(part_of, parts)),
        signed=row.manifest is not None,
    )


def part_of(row: Any) -> Part:
    """From a row of `export_parts`."""
    return Part(
        number=row.number,
        stored=row.stored,
        rows=row.rows,
        bytes=row.bytes,
        content_bytes=row.content_bytes,
        sha256=row.sha256,
        content_sha256=row.content_sha256,
        collapsed=row.collapsed,
        guarded=row.guarded,
        first=_key(row.first_at, row.first_id),
        last=_key(row.last_at, row.last_id),
        next=_key(row.next_at, row.next_id),
    )


def _key(at: int | None, event_id: str | None) -> Key | None:
    return None if at is None or event_id is None else Key(at, event_id)


def part_values(export_id: str, part: Part) -> dict[str, Any]:
    """A row of `export_parts`."""
    ends = {"first": part.first, "last": part.last, "next": part.next}
    return {
        "export_id": export_id,
        "number": part.number,
        "stored": part.stored,
        "rows": part.rows,
        "bytes": part.bytes,
        "content_bytes": part.content_bytes,
        "sha256": part.sha256,
        "content_sha256": part.content_sha256,
        "collapsed": part.collapsed,
        "guarded": part.guarded,
        **{f"{name}_at": key and key.occurred_at for name, key in ends.items()},
        **{f"{name}_id": key and key.event_id for name, key in ends.items()},
    }


def new_values(export: Export, *, key: str | None, body_hash: str) -> dict[str, Any]:
    """A row of `exports` of one that was just asked for."""
    return {
        "id": export.id,
        "workspace_id": export.workspace_id,
        "kind": export.kind,
        "state": export.state,
        "key": key,
        "body_hash": body_hash,
        "asked": ASKED.dump_json(export.asked).decode(),
        "requested_at": milliseconds(export.requested_at),
        "started_at": None if export.started_at is None else milliseconds(export.started_at),
        "fixed": None if export.fixed is None else FIXED.dump_json(export.fixed).decode(),
        "attempts": ATTEMPTS.dump_json(export.attempts).decode(),
        "generation": 0,
        "beat": 0,
        "turn": 0,
        "failures": 0,
        "not_before": 0,
        "unsigned": False,
        "untold": False,
        "has_files": False,
    }


__all__ = ["export_of", "instant", "milliseconds", "new_values", "part_of", "part_values"]
