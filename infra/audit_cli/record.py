"""Records what operators do to a workspace and its keys, in that workspace's log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from audit_cli.operator import recording

if TYPE_CHECKING:
    from audit_infra.access import ApiKey
    from audit_query.self_audit_events import ChangeKind

    RecordChange = Callable[[ChangeKind, str, str | ApiKey | None, str | ApiKey | None], None]


@contextmanager
def recording_changes() -> Iterator[RecordChange]:
    """Gives what takes kind, workspace, old and new of each change that was made, unless nothing is to be recorded."""
    from audit_query.self_audit_events import change_event
    from audit_query.settings import SelfAuditSettings

    settings = SelfAuditSettings.load()
    if not settings.self_audit:
        yield lambda *_: None
        return
    with recording(settings) as record:

        def change(kind: ChangeKind, workspace_id: str, old: str | ApiKey | None, new: str | ApiKey | None) -> None:
            event = change_event(kind, workspace_id, old, new)
            if event is not None:
                record(event[0], **event[1])

        yield change


__all__ = ["recording_changes"]
