"""`make bench`: prints a table of what was measured and writes it as JSON to .data/bench/."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from audit_consumers.clickhouse import ClickHouseStore
from tests.bench import emitting, events, events_api, export_jobs, exports, ingestion, latency, reading
from tests.support.clickhouse import ClickHouseProcess
from tests.support.kafka import KafkaProcess
from tests.support.pipeline import Pipeline

PARTITIONS = 8
PARTS = ("emitting", "events-api", "outage", "ingestion", "reading", "exports", "export-jobs")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--emitted-events", type=int, default=100_000)
    parser.add_argument("--outage-seconds", type=float, default=600, help="twice: undisturbed, and with kills")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--peer-events", type=int, default=500_000, help="the peers are slow; their rate is steady")
    parser.add_argument("--rounds", type=int, default=3, help="of our worker and of emitting; the median counts")
    parser.add_argument("--latency-seconds", type=float, default=15)
    parser.add_argument("--read-events", type=int, default=10_000_000, help="in the largest of 200 workspaces")
    parser.add_argument(
        "--read-skew", type=float, default=2.0, help="Zipf's; 2 makes 1.6 times as many in all, 1.3 3.2"
    )
    parser.add_argument("--export-events", type=int, default=5_000_000, help="in the workspace that is exported")
    parser.add_argument("--job-events", type=int, default=10_000_000, help="in the export whose worker is killed")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="audit-bench-"))
    kafka = KafkaProcess(folder / "kafka", folder / "kafka.log")
    kafka.start()
    print(f"{platform.platform()}, {platform.processor() or 'cpu'}\n")
    report: dict[str, object] = {"machine": platform.platform()}
    try:
        if "emitting" in options.parts:
            report["emitting"] = emitting.median_of(kafka, folder, options.emitted_events, options.rounds)
        if "events-api" in options.parts:
            report["events_api"] = events_api.shown(kafka, folder)
        if "outage" in options.parts:
            report["outages"] = emitting.outages(kafka, folder, options.outage_seconds)
        if "ingestion" in options.parts:
            report["ingestion"] = ingest(kafka, folder, options)
        if "reading" in options.parts:
            report["reading"] = reading.shown(kafka, folder, options.read_events, options.read_skew)
        if "exports" in options.parts:
            report["exports"] = exports.shown(folder, options.export_events)
        if "export-jobs" in options.parts:
            report["export_jobs"] = export_jobs.shown(folder / "jobs", options.job_events)
    finally:
        kafka.stop()
        shutil.rmtree(folder, ignore_errors=True)
    target = Path(".data/bench")
    target.mkdir(parents=True, exist_ok=True)
    path = target / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nwritten to {path}")


def ingest(kafka: KafkaProcess, folder: Path, options: argparse.Namespace) -> dict[str, object]:
    engine = ClickHouseProcess(folder / "clickhouse", log_path=folder / "clickhouse.log")
    engine.start()
    pipelines: list[Pipeline] = []

    def pipeline(topics: str, name: str) -> Pipeline:
        """Tables and a consumer group of its own on topics that others may read too."""
        settings = {"AUDIT_FLUSH_MS": "1000"}
        pipelines.append(Pipeline(kafka, engine, topics, name, folder, PARTITIONS, settings, group=name))
        return pipelines[-1]

    try:
        return run(pipeline, folder, options)
    finally:
        for one in pipelines:
            one.close()
        engine.stop()


def run(pipeline: Callable[[str, str], Pipeline], folder: Path, options: argparse.Namespace) -> dict[str, object]:
    main_pipeline = pipeline("bench", "bench0")
    begun, size = time.monotonic(), 0
    for number, (workspace, value) in enumerate(events.values(options.events)):
        main_pipeline.produce("files", value, key=workspace, partition=number // 64 % PARTITIONS)
        size += len(value)
    main_pipeline.flush()
    print(
        f"{options.events} events of {size / options.events:.0f} bytes on {PARTITIONS} partitions,"
        f" produced in {time.monotonic() - begun:.1f} s\n"
    )
    rounds = [ingestion.ours(main_pipeline, options.events)]
    stored = bytes_per_row(main_pipeline.store)
    for number in range(1, options.rounds):
        again = pipeline("bench", f"bench{number}")
        rounds.append(ingestion.ours(again, options.events))
        again.store.command(f"DROP DATABASE {again.database} SYNC")
    rounds.sort(key=lambda one: one[0].rows_per_second)
    mine, further = rounds[len(rounds) // 2]
    rates = [round(one.rows_per_second) for one, _ in rounds]
    found = [mine, ingestion.kafka_engine(main_pipeline, options.peer_events)]
    found.append(ingestion.plain(main_pipeline, options.peer_events, folder / "plain.log"))
    print(f"{'ingestion':<28}{'rows':>10}{'rows/s':>10}{'consumer µs':>13}{'engine µs':>11}{'ours is':>9}")
    for one in found:
        ratio = mine.rows_per_second / one.rows_per_second
        print(
            f"{one.name:<28}{one.rows:>10}{one.rows_per_second:>10.0f}{one.consumer_us:>13.1f}{one.engine_us:>11.1f}"
            f"{ratio:>8.1f}×"
        )
    print(f"\nour rounds, rows/s: {', '.join(map(str, rates))}")
    print("\n" + "\n".join(f"{name:<28}{value:>10.1f}" for name, value in {**further, **stored}.items()))
    print(f"\n{'produce → visible':<28}{'events/s':>10}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}")
    waits: list[latency.Latency] = []
    for flush_ms, partitions in ((250, 1), (250, 4), (1000, 8)):
        wait = latency.measure(
            pipeline(f"latency{len(waits)}", f"latency{len(waits)}"),
            per_second=5000,
            seconds=options.latency_seconds,
            flush_ms=flush_ms,
            partitions=partitions,
        )
        waits.append(wait)
        name = f"flush {flush_ms} ms, {partitions} partitions"
        print(f"{name:<28}{wait.per_second:>10.0f}{wait.p50:>10.0f}{wait.p99:>10.0f}{wait.most:>10.0f}")
    return {
        "events": options.events,
        "ingestion": [dataclasses.asdict(one) | {"rows_per_second": one.rows_per_second} for one in found],
        "our_rounds_rows_per_second": rates,
        "worker": further,
        "storage": stored,
        "latency": [dataclasses.asdict(wait) for wait in waits],
    }


def bytes_per_row(store: ClickHouseStore) -> dict[str, float]:
    """After a merge, as the tables stand in the long run: events with their indexes, and all tables together."""
    rows = store.rows("SELECT count() FROM audit_events", {})[0][0]
    for table in ("audit_events", "audit_users", "audit_ledger"):
        store.command(f"OPTIMIZE TABLE {table} FINAL")
    sizes = {
        str(table): float(size)
        for table, size in store.rows(
            "SELECT table, sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() GROUP BY 1",
            {},
        )
    }
    return {
        "bytes_per_row_events": sizes["audit_events"] / rows,
        "bytes_per_row_all_tables": sum(sizes.values()) / rows,
    }


if __name__ == "__main__":
    main()
