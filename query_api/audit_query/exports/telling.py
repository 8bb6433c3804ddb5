"""What a worker records in the log: how an export ended, exactly once, whenever and by whichever worker it is told."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

from audit_producers import AuditLog, EventFields
from audit_query.exports.job import Export
from audit_query.exports.records import milliseconds
from audit_query.self_audit_events import asked, filter_metadata, the_log

SERVICE: Final = "audit-export-worker"
_NAMESPACE: Final = uuid.UUID("6c1f7f0e-3b2a-5d77-9a55-0d6f6f5a2a11")


def targets_of(export: Export) -> Sequence[dict[str, str]]:
    """What the events of an export are about."""
    return [{"type": "export", "id": export.id}, dict(the_log(export.workspace_id))]


def about(export: Export) -> dict[str, Any]:
    """What the events of an export say of it: its filter, cut to what an event holds, and its form."""
    params = [(name, value) for name, values in export.asked.sent for value in values]
    form = export.asked.form
    found: dict[str, Any] = filter_metadata(asked(params)) | {"format": form.format}
    found |= {"order": "asc"} if form.ascending else {}
    found |= {"columns": list(form.columns)} if form.columns else {}
    return found | ({"raw": "1"} if form.raw else {}) | ({"tz": form.zone} if form.zone != "UTC" else {})


class Telling:
    """Records through the SDK; None records nothing. Blocks until the event is durable."""

    def __init__(self, log: AuditLog | None, timeout_s: float) -> None:
        self._log, self._timeout_s = log, timeout_s

    def ended(self, export: Export) -> None:
        """The export is done or has failed.

        The id is made of the export's end: told again, it is the same event, which the log shows once. Raises an
        `AuditError` when it can't be recorded now.
        """
        if self._log is None or export.finished_at is None:
            return
        at = export.finished_at
        who = export.asked.requester
        event = "audit_log.export_failed" if export.state == "failed" else "audit_log.export_completed"
        fields = EventFields(
            event_id=str(uuid.uuid5(_NAMESPACE, f"{export.id}:{event}:{milliseconds(at)}")),
            occurred_at=at,
            workspace_id=export.workspace_id,
            actor={"type": who.type, "id": who.id, "name": who.name},
            source="api",
            targets=targets_of(export),
            outcome="failure" if export.state == "failed" else "success",
            outcome_reason=export.error.type if export.error else "",
            metadata=about(export)
            | {
                "rows": export.rows_done,
                "bytes": sum(part.bytes for part in export.parts),
                "parts": len(export.parts),
                "attempts": len(export.attempts),
            },
        )
        self._log.emit(event, mode="durable", **fields).wait_durable(self._timeout_s)

    def close(self, timeout_s: float) -> None:
        """Everything taken becomes durable; Kafka gets so many seconds, the rest waits in the spool."""
        if self._log is not None:
            self._log.close(timeout_s)


__all__ = ["SERVICE", "Telling", "about", "targets_of"]
