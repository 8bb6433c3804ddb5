"""Setting later copies aside, also when it is interrupted between any two steps."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.dedupe import dedupe
from audit_consumers.settings import PipelineSettings
from tests.builders import NOON, event
from tests.support.rows import Tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from audit_consumers.ports import QuarantineRow
    from tests.support.servers import ClickHouseServer

STEPS = ("quarantine", "delete", "nothing")


class EndedError(Exception):
    """The process is gone."""


class Interrupted(ClickHouseStore):
    """A store whose process ends after so many writes."""

    writes = 0

    def _write(self) -> None:
        if not self.writes:
            raise EndedError
        self.writes -= 1

    def quarantine(self, rows: Sequence[QuarantineRow]) -> None:
        self._write()
        super().quarantine(rows)

    def command(self, sql: str, **options: Any) -> None:
        self._write()
        super().command(sql, **options)


@pytest.mark.parametrize("writes", range(len(STEPS)), ids=STEPS)
def test_an_interrupted_run_is_finished_by_the_next(clickhouse: ClickHouseServer, database: str, writes: int) -> None:
    """Further copies arrive in between; every copy is set aside once."""
    tables = Tables(clickhouse.url, database)
    tables.migrate()
    sent = [event(occurred_at=NOON - timedelta(minutes=number)) for number in range(4)]
    tables.put(*sent)
    tables.put(sent[0], sent[1], sent[1], sent[2].model_copy(update={"outcome": "failure"}))
    settings = PipelineSettings(clickhouse_url=clickhouse.url, clickhouse_database=database)
    store = Interrupted(settings)
    store.writes = writes
    if writes < len(STEPS) - 1:
        with pytest.raises(EndedError):
            dedupe(store)
    else:
        moved = dedupe(store)
        assert (moved.duplicates, moved.conflicts) == (3, 1)
    tables.put(sent[0], sent[3])
    store.writes = 100
    dedupe(store)
    left = store.rows("SELECT toString(event_id), kafka_offset FROM audit_events ORDER BY kafka_offset", {})
    assert [tuple(row) for row in left] == [(one.event_id, offset) for offset, one in enumerate(sent)]
    aside = store.rows("SELECT kafka_offset, reason FROM audit_quarantine FINAL ORDER BY kafka_offset", {})
    assert [row[0] for row in aside] == [4, 5, 6, 7, 8, 9]
    assert [row[1] for row in aside].count("conflict") == 1
    assert dedupe(store).duplicates == 0
    store.close()
    tables.close()
