"""An export job of ten million events whose worker is killed twice: `python -m tests.bench.export_jobs`.

Made by the worker's own process over the real engine; checked row by row count and file by file.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from audit_infra.access import Access
from audit_query.exports.form import FORMATS, Form, Format
from audit_query.exports.job import Asked, Export, Requester
from audit_query.exports.keys import Keys
from audit_query.exports.store import ExportStore
from audit_query.filters import Filter
from audit_query.settings import ExportWorkerSettings
from audit_schemas.topics import CATEGORIES, topic_of
from tests.bench.measure import peak_mib
from tests.bench.reading_data import LARGEST, load_events
from tests.support.clickhouse import ClickHouseProcess
from tests.support.exports import WorkerProcess
from tests.support.rows import Tables
from tests.support.waiting import eventually

ALONE = 9.0
"""Zipf's law with this leaves nearly all events to the largest workspace."""
KILL_AFTER = (0.3, 0.6)
"""Of the parts."""
LEASE_S, PATIENCE_S = 2.0, 3600.0


@dataclass(frozen=True)
class Job:
    """What one job took. `seconds` from the request to the end, kills and takeovers included."""

    format: str
    rows: int
    parts: int
    attempts: int
    seconds: float
    rows_per_second: float
    file_mib: float
    worker_peak_mib: float


def measured(folder: Path, events: int, form: str) -> Job:
    """Loads the events, asks for all of them, and kills the worker on the way. Checks what came of it."""
    engine = ClickHouseProcess(folder / "clickhouse", log_path=folder / "clickhouse.log")
    engine.start()
    tables = Tables(engine.url, "default")
    try:
        tables.migrate()
        loaded = load_events(tables.client, "audit", events, ALONE)
        print(f"{loaded.rows_of_the_largest} events loaded at {loaded.rows_per_second:.0f}/s", flush=True)
        now = datetime.now(UTC)
        rows = [
            (topic_of("audit", category), f"bulk-{category}", partition, 8, now, loaded.rows + 1, now)
            for category in CATEGORIES
            for partition in range(8)
        ]
        tables.client.insert("audit_progress", rows)
        return _job(folder, engine.url, form, loaded.rows_of_the_largest)
    finally:
        tables.close()
        engine.stop()


def _job(folder: Path, clickhouse_url: str, form: str, rows: int) -> Job:
    url = f"sqlite:///{folder}/control.db"
    access = Access.open(url)
    store = ExportStore(access.engine)
    access.create_workspace(LARGEST, "enterprise")
    Keys(access.engine).create(folder / "keys", datetime.now(UTC))
    settings = ExportWorkerSettings.model_validate(
        {
            "clickhouse_url": clickhouse_url,
            "clickhouse_database": "default",
            "control_database_url": url,
            "exports_dir": folder / "exports",
            "export_keys_dir": folder / "keys",
            "export_lease_s": LEASE_S,
            "export_poll_s": 0.1,
            "self_audit": False,
        }
    )
    asked = Asked(Requester("system", "bench", "", ""), "enterprise", True, Form(format=_format(form)), (), Filter())
    job = Export(uuid.uuid4().hex, LARGEST, "job", "queued", asked, datetime.now(UTC))
    begun = time.monotonic()
    store.create(job, uuid.uuid4().hex, "", 1)

    def now() -> Export:
        found = store.get(LARGEST, job.id)
        assert found is not None
        return found

    def progressed(share: float) -> bool:
        found = now()
        assert found.error is None, found.error
        return found.state == "done" or found.rows_done >= share * rows

    peak = 0.0
    for share in (*KILL_AFTER, 1.0):
        worker = WorkerProcess(settings, folder / "worker.log")
        worker.start()
        eventually(partial(progressed, share), PATIENCE_S, "the job goes on", interval_seconds=0.1)
        if share < 1.0:
            peak = max(peak, peak_mib(worker.pid))
            worker.kill()
            print(f"killed at {now().rows_done} rows after {time.monotonic() - begun:.0f} s", flush=True)
        else:
            eventually(lambda: now().state == "done", PATIENCE_S, "the job is done", interval_seconds=0.05)
            seconds = time.monotonic() - begun
            peak = max(peak, peak_mib(worker.pid))
            worker.stop()
    found = now()
    assert found.rows_done == rows, (found.rows_done, rows)
    for part in found.parts:
        with (folder / "exports" / job.id / part.stored).open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == part.sha256
    access.close()
    size = sum(part.bytes for part in found.parts) / 2**20
    return Job(form, rows, len(found.parts), len(found.attempts), seconds, rows / seconds, size, peak)


def _format(name: str) -> Format:
    return next(one for one in FORMATS if one == name)


def shown(folder: Path, events: int, form: str = "csv") -> dict[str, object]:
    """Measures and prints."""
    folder.mkdir(exist_ok=True)
    found = measured(folder, events, form)
    print(f"{'export job, two kills':<28}{'rows':>10}{'parts':>7}{'s':>7}{'rows/s':>10}{'MiB':>8}{'worker MiB':>12}")
    print(
        f"{found.format:<28}{found.rows:>10}{found.parts:>7}{found.seconds:>7.0f}{found.rows_per_second:>10.0f}"
        f"{found.file_mib:>8.0f}{found.worker_peak_mib:>12.0f}"
    )
    return asdict(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.export_jobs", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--format", choices=FORMATS, default="csv")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="audit-bench-"))
    try:
        shown(folder, options.events, options.format)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
