"""Whether events can be taken now: the spool's folder is writable and the spool has room, the database answers."""

from __future__ import annotations

import os
import tempfile
from typing import Final

from sqlalchemy import text

from audit_producers import folder
from audit_producers.events_api.recording import Recorder
from audit_producers.events_api.settings import EventsApiSettings
from audit_producers.events_api.tables import Database
from audit_producers.ports import SpoolUnavailable
from audit_schemas.errors import AuditError
from audit_schemas.event import MAX_EVENT_BYTES

_MIB: Final = 1_048_576
_PAGE: Final = b"\0" * 4096


class Readiness:
    """Thread-safe; blocks on the disk. That Kafka is away is no reason: the spool is there for that."""

    def __init__(self, settings: EventsApiSettings, recorder: Recorder, database: Database) -> None:
        self._settings, self._recorder, self._database = settings, recorder, database

    def reasons(self) -> list[str]:
        """Why events can't be taken, empty when they can."""
        settings, found = self._settings, list[str]()
        try:
            folder.prepare(settings.spool_dir)
            with tempfile.TemporaryFile(dir=settings.spool_dir) as file:
                file.write(_PAGE)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, SpoolUnavailable) as error:
            found.append(f"the spool's folder can't be written: {error}")
        stats = self._recorder.stats()
        if stats.spooled_bytes + MAX_EVENT_BYTES > settings.spool_max_mib * _MIB:
            found.append(f"the spool is full: {stats.spooled_bytes} bytes wait for Kafka")
        if stats.oldest_spooled_s >= settings.spool_max_age_h * 3600:
            found.append(f"the spool is too old: its first event waits for {stats.oldest_spooled_s / 3600:.0f} h")
        try:
            with self._database.transaction() as connection:
                connection.execute(text("SELECT 1"))
        except AuditError as error:
            found.append(str(error))
        return found


__all__ = ["Readiness"]
