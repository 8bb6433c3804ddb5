"""How fast streamed exports are: the real API over millions of events, beside a plain export in Python."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import http.client
import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client as Engine

from audit_infra.access import Access, Scope
from audit_local.ports import free_ports
from tests.bench.measure import cpu_seconds, percentile
from tests.bench.reading import Client
from tests.bench.reading_data import LARGEST, load_events
from tests.support.clickhouse import ClickHouseProcess
from tests.support.processes import ServerProcess
from tests.support.rows import Tables

ASKED = {"csv": 450_000, "ndjson": 280_000, "parquet": 250_000}
"""Rows per second."""
FIRST_BYTE_MS, GROWTH_MIB, SLOWER = 250.0, 100.0, 1.25
PAGES = 60
PLAIN_ROWS = 300_000
_MIB = 1_048_576


@dataclass(frozen=True)
class Streamed:
    """One export. CPU in microseconds per row; `growth_mib` is how much the service grew; `load` that of the machine
    when it began, of which a number above that of the cores says that others were at work.
    """

    name: str
    rows: int
    mib: float
    seconds: float
    first_byte_ms: float
    service_us: float
    engine_us: float
    growth_mib: float
    load: float
    asked: int | None

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds

    @property
    def verdict(self) -> str:
        if self.asked is None:
            return ""
        fast = self.rows_per_second >= self.asked and self.first_byte_ms <= FIRST_BYTE_MS
        return "reached" if fast and self.growth_mib < GROWTH_MIB else "MISSED"


@dataclass(frozen=True)
class Served:
    """A query service of its own over an engine of its own."""

    service: ServerProcess
    engine: ClickHouseProcess
    tables: Tables
    port: int
    key: str

    def streamed(self, name: str, address: str, rows: int, coding: str, asked: int | None) -> Streamed:
        """Reads a whole export and throws it away."""
        load = os.getloadavg()[0]
        pids = self.service.pid, self.engine.pid
        before, base = [cpu_seconds(pid) for pid in pids], _resident_mib(pids[0])
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        with contextlib.closing(connection), _Peak(pids[0]) as peak:
            begun = time.monotonic()
            connection.request("GET", address, headers={"X-API-Key": self.key, "Accept-Encoding": coding})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            size = len(answer.read(1))
            first = time.monotonic() - begun
            while piece := answer.read1(_MIB):
                size += len(piece)
            seconds = time.monotonic() - begun
        service, engine = (cpu_seconds(pid) - used for pid, used in zip(pids, before, strict=True))
        growth = max(0.0, peak.mib - base)
        return Streamed(
            name,
            rows,
            size / _MIB,
            seconds,
            first * 1e3,
            service / rows * 1e6,
            engine / rows * 1e6,
            growth,
            load,
            asked,
        )


class _Peak:
    """The largest resident size of a process inside the block."""

    def __init__(self, pid: int) -> None:
        self._pid, self._stop, self.mib = pid, threading.Event(), 0.0
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.mib = max(self.mib, _resident_mib(self._pid))


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Starts both; the tables are empty."""
    engine = ClickHouseProcess(folder / "exports-clickhouse", log_path=folder / "exports-clickhouse.log")
    engine.start()
    (port,) = free_ports(1)
    control = f"sqlite:///{folder}/exports.db"
    access = Access.open(control)
    access.create_workspace(LARGEST, "enterprise")
    key = access.create_key(LARGEST, [Scope.READ, Scope.PII, Scope.EXPORT]).secret
    access.close()
    Tables(engine.url, "default").client.command("CREATE DATABASE exports")
    tables = Tables(engine.url, "exports")
    tables.migrate()
    settings = {
        "AUDIT_CLICKHOUSE_URL": engine.url,
        "AUDIT_CLICKHOUSE_DATABASE": "exports",
        "AUDIT_CONTROL_DATABASE_URL": control,
        "AUDIT_SIGNING_KEYS": "a signing key for the benchmark",
        "AUDIT_QUERY_PORT": str(port),
        "AUDIT_RATE_LIMIT_KEY": "1000000/minute",
        "AUDIT_RATE_LIMIT_WORKSPACE": "1000000/minute",
        "AUDIT_SELF_AUDIT": "0",
    }

    def ready() -> bool:
        try:
            return Client(port, key).get("/v1/catalogue")[0] == 200
        except OSError:
            return False

    command = (sys.executable, "-m", "audit_cli", "query")
    service = ServerProcess("query", command, ready, folder / "exports-query.log", 60, os.environ | settings)
    try:
        service.start()
        yield Served(service, engine, tables, port, key)
    finally:
        service.stop()
        tables.close()
        engine.stop()


def plain(engine: Engine) -> float:
    """Rows per second of what one writes first: the same columns as rows of Python, and its csv module."""
    sql = (
        "SELECT toString(occurred_at), actor_name, actor_type, actor_id, actor_email, source, event_type, category,"
        " toString(ip), user_agent, outcome, `targets.id`, changes, metadata, toString(event_id) FROM audit_events"
        f" WHERE workspace_id = '{LARGEST}' ORDER BY occurred_at DESC, event_id DESC LIMIT {PLAIN_ROWS}"
    )
    begun = time.monotonic()
    out = io.StringIO()
    writer = csv.writer(out)
    with engine.query_rows_stream(sql) as rows:
        for row in rows:
            writer.writerow(row)
            if out.tell() > _MIB:
                out.seek(0)
                out.truncate()
    return PLAIN_ROWS / (time.monotonic() - begun)


def _pages(served_: Served) -> float:
    """p95 of the newest page, in milliseconds."""
    client = Client(served_.port, served_.key)
    took = []
    for _ in range(PAGES):
        begun = time.perf_counter()
        client.found("/v1/events?limit=50")
        took.append((time.perf_counter() - begun) * 1e3)
    return percentile(sorted(took), 0.95)


def _pages_meanwhile(served_: Served, rows: int) -> float:
    """The same while exports follow each other."""
    stop = threading.Event()

    def export() -> None:
        while not stop.is_set():
            served_.streamed("", "/v1/export", rows, "identity", None)

    thread = threading.Thread(target=export)
    thread.start()
    time.sleep(1)
    found = _pages(served_)
    stop.set()
    thread.join()
    return found


def shown(folder: Path, events: int) -> dict[str, object]:
    """Measures, and prints a table."""
    with served(folder) as one:
        loaded = load_events(one.tables.client, "exports", events, 4.0)
        rows = loaded.rows_of_the_largest
        print(f"\nloaded: {loaded}")
        alone = _pages(one)
        found = [
            one.streamed(f"{format_}, {coding}", f"/v1/export?format={format_}", rows, coding, asked)
            for format_, coding, asked in (
                ("csv", "identity", ASKED["csv"]),
                ("ndjson", "identity", ASKED["ndjson"]),
                ("parquet", "identity", ASKED["parquet"]),
                ("csv", "zstd", None),
                ("csv", "gzip", None),
            )
        ]
        meanwhile = _pages_meanwhile(one, rows)
        plainly = plain(one.tables.client)
    print(
        f"\n{'export':<20}{'rows':>10}{'MiB':>8}{'rows/s':>10}{'first ms':>10}{'service µs':>12}{'engine µs':>11}",
        end="",
    )
    print(f"{'grown MiB':>11}{'load':>7}{'asked':>9}")
    for each in found:
        print(
            f"{each.name:<20}{each.rows:>10}{each.mib:>8.0f}{each.rows_per_second:>10.0f}{each.first_byte_ms:>10.0f}"
            f"{each.service_us:>12.2f}{each.engine_us:>11.2f}{each.growth_mib:>11.0f}{each.load:>7.1f}"
            f"{each.asked or '':>9}  {each.verdict}"
        )
    print(f"\nplain Python, csv: {plainly:.0f} rows/s")
    verdict = "reached" if meanwhile <= SLOWER * alone else "MISSED"
    print(f"newest page, p95: {alone:.1f} ms alone, {meanwhile:.1f} ms while exports run  {verdict}")
    return {
        "streams": [dataclasses.asdict(each) | {"rows_per_second": each.rows_per_second} for each in found],
        "plain_rows_per_second": plainly,
        "page_p95_ms": {"alone": alone, "while_exporting": meanwhile},
    }


__all__ = ["shown"]
