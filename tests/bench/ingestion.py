"""Ingestion of the same topic into the same tables: our worker, ClickHouse's Kafka engine, and the plain consumer."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.migrate import migrate
from audit_schemas.errors import ClickHouseBusy
from audit_schemas.registry import StaticRegistry
from audit_schemas.topics import topic_of
from tests.bench.measure import Ingestion, cpu_seconds, peak_mib, until
from tests.bench.plain import NAMES
from tests.support.pipeline import Pipeline
from tests.support.processes import ServerProcess


def rows_stored(store: ClickHouseStore) -> int:
    return int(store.rows("SELECT count() FROM audit_events", {})[0][0])


def watch(name: str, store: ClickHouseStore, rows: int, engine: int, consumer: int | None = None) -> Ingestion:
    """The rate from the first rows stored to at least `rows`, for us and for the peers alike.

    `engine` and `consumer` are process ids; no consumer where the engine consumes itself. CPU is counted over all rows
    and from the call on: what a consumer reads ahead of the first row stored is part of its price.
    """
    used = [cpu_seconds(engine), cpu_seconds(consumer) if consumer else 0.0]
    until(lambda: rows_stored(store) > 0, 60, f"the first rows of {name}")
    begun, first = time.monotonic(), rows_stored(store)
    ended = until(lambda: rows_stored(store) >= rows, 300, name)
    last = rows_stored(store)
    engine_s = cpu_seconds(engine) - used[0]
    consumer_s = cpu_seconds(consumer) - used[1] if consumer else 0.0
    return Ingestion(name, last - first, ended - begun, consumer_s / last * 1e6, engine_s / last * 1e6)


def ours(pipeline: Pipeline, rows: int) -> tuple[Ingestion, dict[str, float]]:
    """Our worker, and what it says of itself."""
    worker = pipeline.worker()
    worker.start()
    found = watch("workspace-audit-log worker", pipeline.store, rows, pipeline.clickhouse.pid, worker.pid)
    memory = peak_mib(worker.pid)
    until(lambda: worker.ledgered() >= rows, 60, "the last commit")
    seconds = worker.sums()
    worker.stop()
    pipeline.prove(exactly=False)
    return found, {"worker_peak_mib": memory, **seconds}


def kafka_engine(pipeline: Pipeline, rows: int) -> Ingestion:
    """ClickHouse's own Kafka table engine, with large blocks, into tables of its own."""
    settings = pipeline.settings.model_copy(update={"clickhouse_database": "peer_engine"})
    migrate(settings, list)
    store = ClickHouseStore(settings)
    names = store.columns("audit_ingest")
    columns = ", ".join(f"{name} {names[name]}" for name in NAMES)
    topic = topic_of(pipeline.prefix, "files")
    with registry() as url:
        _create_queue(
            store,
            f"CREATE TABLE queue ({columns}) ENGINE = Kafka SETTINGS kafka_broker_list ="
            f" '{pipeline.kafka.bootstrap_servers}', kafka_topic_list = '{topic}', kafka_group_name = 'engine',"
            " kafka_format = 'AvroConfluent', kafka_max_block_size = 100000, kafka_poll_max_batch_size = 100000,"
            f" kafka_flush_interval_ms = 7500, format_avro_schema_registry_url = '{url}'",
        )
        store.command(
            "CREATE MATERIALIZED VIEW queue_view TO audit_ingest AS SELECT _topic AS kafka_topic, 'engine' AS"
            " kafka_topic_id, toInt32(_partition) AS kafka_partition, toInt64(_offset) AS kafka_offset,"
            f" assumeNotNull(_timestamp_ms) AS kafka_timestamp, toInt32(1) AS kafka_schema_id, {', '.join(NAMES)} FROM queue"
        )
        found = watch("ClickHouse Kafka engine", store, rows, pipeline.clickhouse.pid)
        store.command("DROP TABLE queue_view SYNC")
        store.command("DROP TABLE queue SYNC")
    store.command("DROP DATABASE peer_engine SYNC")
    store.close()
    return found


def plain(pipeline: Pipeline, rows: int, log: Path) -> Ingestion:
    """Poll, fastavro, insert: a process of its own, as ours is."""
    settings = pipeline.settings.model_copy(update={"clickhouse_database": "peer_plain"})
    migrate(settings, list)
    store = ClickHouseStore(settings)
    host, port = settings.clickhouse_url.removeprefix("http://").split(":")
    topic = topic_of(pipeline.prefix, "files")
    command = [sys.executable, "-m", "tests.bench.plain"]
    command += [pipeline.kafka.bootstrap_servers, topic, host, port, "peer_plain"]
    process = ServerProcess("plain", command, lambda: True, log, 10)
    process.start()
    found = watch("poll + fastavro + insert", store, rows, pipeline.clickhouse.pid, process.pid)
    process.stop()
    store.command("DROP DATABASE peer_plain SYNC")
    store.close()
    return found


def _create_queue(store: ClickHouseStore, statement: str) -> None:
    """The embedded engine makes a Kafka table and then says "Shutdown was called"; the table works."""
    try:
        store.command(statement)
    except ClickHouseBusy as error:
        if "Shutdown was called" not in str(error):
            raise
    assert store.columns("queue")


@contextmanager
def registry() -> Iterator[str]:
    """The schema registry the engine insists on."""
    body = json.dumps({"schema": json.dumps(StaticRegistry().schema(1))}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


__all__ = ["kafka_engine", "ours", "plain", "rows_stored"]
