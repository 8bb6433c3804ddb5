"""The adapter to ClickHouse: the one module of the worker that knows clickhouse-connect."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.httpclient import HttpClient
from clickhouse_connect.driver.httputil import get_pool_manager
from urllib3.exceptions import HTTPError

from audit_consumers.batch import Container
from audit_consumers.decoding import Stamp
from audit_consumers.ports import LedgerRow, ProgressRow, QuarantineRow, Stored
from audit_consumers.positions import Log, Range
from audit_infra.settings import ClickHouseSettings
from audit_schemas.clickhouse_codes import error_of
from audit_schemas.errors import AuditError, ClickHouseUnavailable, ContractBroken

_INSERT_SETTINGS: Mapping[str, str] = {
    "async_insert": "0",
    "max_insert_threads": "1",
    "optimize_on_insert": "0",
    # Made when parts are merged: new parts are small, and splitting text for its words is dear.
    "exclude_materialize_skip_indexes_on_insert": "bf_words",
    # One batch is one block, so that a token stands for the whole of it.
    "max_block_size": "1000000",
    "max_insert_block_size": "1000000",
    "min_insert_block_size_rows": "1000000",
    "min_insert_block_size_bytes": "1000000000",
    "deduplicate_blocks_in_dependent_materialized_views": "1",
    "materialized_views_ignore_errors": "0",
    "max_partitions_per_insert_block": "10000",
    "input_format_avro_allow_missing_fields": "0",
}
STAMP_COLUMNS = ("producer_service", "producer_instance", "producer_seq")
_EVENTS_WHERE = (
    "kafka_topic_id = {topic_id:String} AND kafka_partition = {partition:Int32}"
    " AND kafka_offset BETWEEN {first:Int64} AND {last:Int64}"
)
_USER = "workspace_id, actor_type, actor_id, actor_name, actor_email"


class ClickHouseStore:
    """`Store` over HTTP. The client shares a pool of connections among threads and keeps no session."""

    def __init__(self, settings: ClickHouseSettings, *, timeout_s: float = 60.0, connections: int = 8) -> None:
        self._client = connect(settings, timeout_s=timeout_s, connections=connections)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def insert(self, container: Container, token: str, comment: str) -> None:
        """See `Store`."""
        with translated():
            self._client.raw_insert(
                "audit_ingest",
                insert_block=container.body,
                fmt="Avro",
                settings={**_INSERT_SETTINGS, "insert_deduplication_token": token, "log_comment": comment},
            )

    def readable(self, container: Container) -> bool:
        """See `Store`."""
        try:
            with translated():
                self._client.raw_insert(
                    "audit_probe", insert_block=container.body, fmt="Avro", settings=dict(_INSERT_SETTINGS)
                )
        except AuditError as error:
            if error.retriable or isinstance(error, ContractBroken):
                raise
            return False
        return True

    def running(self, comment: str) -> bool:
        """See `Store`."""
        rows = self.rows(
            "SELECT count() FROM system.processes WHERE Settings['log_comment'] = {c:String}", {"c": comment}
        )
        return int(rows[0][0]) > 0

    def counts(self, log: Log, offsets: Range, since_ms: int) -> tuple[int, int]:
        """See `Store`."""
        rows = self.rows(
            f"SELECT (SELECT uniqExact(kafka_offset) FROM audit_events WHERE {_EVENTS_WHERE}"
            " AND ingested_at >= fromUnixTimestamp64Milli({since:Int64})),"
            f" (SELECT uniqExact(kafka_offset) FROM audit_quarantine WHERE {_EVENTS_WHERE}"
            " AND quarantined_at >= fromUnixTimestamp64Milli({since:Int64}))",
            {**_where(log, offsets), "since": since_ms},
        )
        return int(rows[0][0]), int(rows[0][1])

    def stored(self, log: Log, offsets: Range) -> Stored:
        """See `Store`."""
        where = _where(log, offsets)
        events = self.rows(f"SELECT DISTINCT kafka_offset FROM audit_events WHERE {_EVENTS_WHERE}", where)
        quarantine = self.rows(
            "SELECT kafka_offset, argMax(reason, has_raw), max(has_raw) FROM audit_quarantine"
            f" WHERE {_EVENTS_WHERE} GROUP BY kafka_offset",
            where,
        )
        return Stored(
            events=frozenset(row[0] for row in events),
            quarantine=frozenset(row[0] for row in quarantine),
            bare={row[0]: row[1] for row in quarantine if not row[2]},
        )

    def highest_stored(self, log: Log, above: int) -> int | None:
        """See `Store`."""
        where = _where(log, Range(above, 2**63 - 1))
        rows = self.rows(
            f"SELECT max(kafka_offset), count() FROM (SELECT kafka_offset FROM audit_events WHERE {_EVENTS_WHERE}"
            f" UNION ALL SELECT kafka_offset FROM audit_quarantine WHERE {_EVENTS_WHERE})",
            where,
        )
        return int(rows[0][0]) if rows[0][1] else None

    def quarantine(self, rows: Sequence[QuarantineRow]) -> None:
        """See `Store`."""
        names = (
            *("kafka_topic", "kafka_topic_id", "kafka_partition", "kafka_offset", "kafka_timestamp"),
            *("reason", "detail", "has_raw", "raw", *STAMP_COLUMNS),
        )
        none = Stamp("", "", 0)
        # A tombstone has no bytes; its row is complete all the same.
        values = [
            (
                *(*_log(row.log), row.offset, _time(row.timestamp_ms), row.reason, row.detail, 1, row.raw or b""),
                *astuple(row.stamp or none),
            )
            for row in rows
        ]
        self.insert_rows("audit_quarantine", names, values)

    def list_users(self, log: Log, offsets: Range) -> None:
        """See `Store`."""
        self.command(
            f"INSERT INTO audit_users ({_USER}, latest) SELECT {_USER}, max(occurred_at) FROM audit_events"
            f" WHERE {_EVENTS_WHERE} GROUP BY {_USER}",
            parameters=_where(log, offsets),
            settings={"async_insert": "0", "insert_deduplicate": "0"},
        )

    def ledger(self, logs: Mapping[Log, int]) -> dict[Log, list[LedgerRow]]:
        """See `Store`."""
        found: dict[Log, list[LedgerRow]] = {log: [] for log in logs}
        by_key = {(log.topic_id, log.partition): log for log in logs}
        rows = self.rows(
            "SELECT kafka_topic_id, kafka_partition, first, last, kind, excluded, gaps, rows_events, rows_quarantine,"
            " hash, toUnixTimestamp64Milli(highest_append) FROM audit_ledger FINAL"
            " WHERE kafka_topic_id IN {topic_ids:Array(String)} ORDER BY first",
            {"topic_ids": sorted({log.topic_id for log in logs})},
        )
        for row in rows:
            log = by_key.get((row[0], row[1]))
            if log is not None and row[3] >= logs[log]:
                found[log].append(ledger_row(log, row[2:]))
        return found

    def write_ledger(self, rows: Sequence[LedgerRow]) -> None:
        """See `Store`."""
        names = (
            *("kafka_topic", "kafka_topic_id", "kafka_partition", "first", "last", "kind", "excluded", "gaps"),
            *("rows_events", "rows_quarantine", "hash", "highest_append"),
        )
        values = [
            (
                *_log(row.log),
                row.offsets.first,
                row.offsets.last,
                row.kind,
                row.excluded,
                [(gap.first, gap.last) for gap in row.gaps],
                row.rows_events,
                row.rows_quarantine,
                row.hash,
                _time(row.highest_append_ms),
            )
            for row in rows
        ]
        self.insert_rows("audit_ledger", names, values)

    def write_progress(self, rows: Sequence[ProgressRow]) -> None:
        """See `Store`."""
        names = (
            *("kafka_topic", "kafka_topic_id", "kafka_partition", "partition_count"),
            *("complete_through", "end_offset", "at"),
        )
        values = [
            (*_log(row.log), row.partition_count, _time(row.complete_through_ms), row.end_offset, _time(row.at_ms))
            for row in rows
        ]
        self.insert_rows("audit_progress", names, values)

    def columns(self, table: str) -> dict[str, str]:
        """See `Store`."""
        rows = self.rows(f"DESCRIBE TABLE {table}", {})
        return {row[0]: row[1] for row in rows if row[2] not in ("MATERIALIZED", "ALIAS")}

    def dedup_windows(self) -> dict[str, int]:
        """See `Store`."""
        rows = self.rows(
            "SELECT name, extract(create_table_query, 'deduplication_window = (\\\\d+)') FROM system.tables"
            " WHERE database = currentDatabase() AND name IN ('audit_events', 'audit_quarantine', 'audit_users')",
            {},
        )
        return {row[0]: int(row[1] or 0) for row in rows}

    def rows(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """The rows of a query. For this package's own commands; values are always bound, never written into `sql`."""
        with translated():
            return self._client.query(sql, parameters=dict(parameters)).result_rows

    def command(
        self, sql: str, *, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        """Runs a statement without an answer; values are always bound."""
        with translated():
            self._client.command(sql, parameters=dict(parameters or {}), settings=dict(settings or {}))

    def insert_rows(self, table: str, names: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
        """Writes rows of Python values; for the small tables. Durable when it returns.

        As JSON, not through the driver's own insert: that one asks for the table's columns each time, and imports
        pandas where it is installed, which takes seconds of a busy worker.
        """
        if values:
            body = b"\n".join(_json(row) for row in values)
            with translated():
                self._client.raw_insert(
                    table, names, insert_block=body, fmt="JSONCompactEachRow", settings={"async_insert": "0"}
                )


def connect(
    settings: ClickHouseSettings, *, timeout_s: float = 60.0, connections: int = 8, database: str | None = None
) -> Client:
    """A client that neither retries nor keeps a session. Raises our errors."""
    with translated():
        client = clickhouse_connect.get_client(
            dsn=settings.clickhouse_url,
            username=settings.clickhouse_user,
            password=settings.clickhouse_password.get_secret_value(),
            database=settings.clickhouse_database if database is None else database,
            connect_timeout=10,
            send_receive_timeout=int(timeout_s),
            query_retries=0,
            autogenerate_session_id=False,
            compress=False,
            pool_mgr=get_pool_manager(maxsize=connections, num_pools=2),
        )
        if isinstance(client, HttpClient):
            client.http_retries = 0
        return client


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns the driver's errors into ours."""
    try:
        yield
    except ClickHouseError as error:
        raise error_of(getattr(error, "code", None), str(error)) from None
    except (HTTPError, OSError) as error:
        raise ClickHouseUnavailable(f"ClickHouse: {error}") from None
    except UnicodeDecodeError as error:
        # The engine quotes bytes of the row it could not read, which need not be text.
        raise error_of(117, f"unreadable row: {error.object!r}") from None


def ledger_row(log: Log, row: Sequence[Any]) -> LedgerRow:
    """A ledger row from (first, last, kind, excluded, gaps, events, quarantine, hash, highest append ms)."""
    return LedgerRow(
        log=log,
        offsets=Range(row[0], row[1]),
        kind=row[2],
        excluded=row[3],
        gaps=tuple(Range(gap[0], gap[1]) for gap in row[4]),
        rows_events=row[5],
        rows_quarantine=row[6],
        hash=row[7],
        highest_append_ms=row[8],
    )


def _log(log: Log) -> tuple[str, str, int]:
    return log.topic, log.topic_id, log.partition


def _where(log: Log, offsets: Range) -> dict[str, Any]:
    return {"topic_id": log.topic_id, "partition": log.partition, "first": offsets.first, "last": offsets.last}


def _time(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest:03}"


def _json(row: Sequence[Any]) -> bytes:
    """A row with bytes written as they are: ClickHouse stores a JSON string's bytes without looking at their encoding."""
    text = json.dumps(row, ensure_ascii=False, default=lambda raw: raw.decode(errors="surrogateescape"))
    return text.encode(errors="surrogateescape")


__all__ = ["STAMP_COLUMNS", "ClickHouseStore", "connect", "ledger_row", "translated"]
