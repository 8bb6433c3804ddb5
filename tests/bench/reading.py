"""How long reading takes: the real API over ten million events, alone, in parallel, and while events come in."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from clickhouse_connect.driver.client import Client as Engine
from confluent_kafka import Producer

from audit_infra.access import Access, Scope
from audit_local.ports import free_ports
from audit_schemas.topics import topic_of
from tests.bench import events, page
from tests.bench.measure import percentile
from tests.bench.page import PageWaits
from tests.bench.reading_data import ACTORS, LARGEST, RARE, RARE_ACTOR, RARE_TYPE, Loaded, load_events
from tests.support.clickhouse import ClickHouseProcess
from tests.support.kafka import KafkaProcess
from tests.support.pipeline import Pipeline
from tests.support.processes import ServerProcess
from tests.support.rows import Tables

PAGE, DEEP = 50, 1000
CALLS, WARM_UP, COMBINATIONS = 60, 5, 40
READERS, READS = 16, 25
INGESTED_PER_SECOND, INGEST_SECONDS = 20_000, 20
BUDGET_S = 2.0
PAGE_FILTERS = ["File Downloaded", "Login Failed", "File Deleted", "Invoice Sent", "Contract Viewed"]
Call = Callable[[], object]


@dataclass(frozen=True)
class Wait:
    """One kind of request, one after the other; milliseconds. `asked` is what p95 must reach, None where it is shown for
    comparison.
    """

    name: str
    calls: int
    p50: float
    p95: float
    asked: float | None

    @property
    def verdict(self) -> str:
        return "" if self.asked is None else "reached" if self.p95 <= self.asked else "MISSED"


@dataclass
class Reading:
    """Everything that was measured."""

    loaded: Loaded
    waits: list[Wait] = field(default_factory=list)
    combinations: dict[str, Any] = field(default_factory=dict)
    parallel: dict[str, Any] = field(default_factory=dict)
    ingested_per_second: float = 0.0
    page: PageWaits | None = None

    def add(self, name: str, call: Call, asked: float | None = None, calls: int = CALLS) -> Wait:
        """Measures calls after a warm-up."""
        for _ in range(min(WARM_UP, calls)):
            call()
        took = sorted(_milliseconds(call) for _ in range(calls))
        self.waits.append(Wait(name, calls, percentile(took, 0.5), percentile(took, 0.95), asked))
        return self.waits[-1]


class Client:
    """One connection to the API, which closes one that asks nothing for five seconds. Belongs to one thread."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"X-API-Key": key}

    def get(self, address: str) -> tuple[int, Any]:
        """Status and body."""
        self._connection.request("GET", address, headers=self._headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def found(self, address: str) -> Any:
        """The body of an answer that must be one."""
        status, body = self.get(address)
        assert status == 200, (address, status, body)
        return body


def measure(kafka: KafkaProcess, folder: Path, largest: int, skew: float) -> Reading:
    """Loads the tables of an engine of its own, starts the query service, and measures it."""
    engine = ClickHouseProcess(folder / "clickhouse", log_path=folder / "clickhouse.log")
    engine.start()
    (port,) = free_ports(1)
    control = f"sqlite:///{folder}/reading.db"
    overrides = {
        "AUDIT_CONTROL_DATABASE_URL": control,
        "AUDIT_SPOOL_DIR": str(folder / "reading-spool"),
        "AUDIT_SIGNING_KEYS": "a signing key for the benchmark",
        "AUDIT_QUERY_PORT": str(port),
        # What is measured is reading, not how it is refused.
        "AUDIT_RATE_LIMIT_KEY": "1000000/minute",
        "AUDIT_RATE_LIMIT_WORKSPACE": "1000000/minute",
        "AUDIT_MAX_PARALLEL": str(2 * READERS),
        "AUDIT_FLUSH_MS": "1000",
    }
    access = Access.open(control)
    access.create_workspace(LARGEST, "enterprise")
    key = access.create_key(LARGEST, [Scope.READ, Scope.PII, Scope.EXPORT]).secret
    code = access.create_sign_in_code(LARGEST, "bench", "Bench", "", reusable=True)
    access.close()
    tables = Tables(engine.url, "reading")
    Tables(engine.url, "default").client.command("CREATE DATABASE reading")
    pipeline = Pipeline(kafka, engine, "reading", "reading", folder, 4, overrides)

    def ready() -> bool:
        try:
            return Client(port, key).get("/v1/catalogue")[0] == 200
        except OSError:
            return False

    command = (sys.executable, "-m", "audit_cli", "query")
    service = ServerProcess("query", command, ready, folder / "query.log", 60, os.environ | pipeline.env)
    try:
        found = Reading(load_events(tables.client, "reading", largest, skew))
        print(f"loaded: {found.loaded}")
        service.start()
        connect = partial(Client, port, key)
        _alone(found, connect(), tables.client)
        found.page = page.measure(f"http://127.0.0.1:{port}/audit-log/sign-in?code={code}", PAGE_FILTERS)
        found.combinations = _combined(connect())
        found.parallel = _in_parallel(connect)
        _while_ingesting(found, connect, pipeline)
        _compared(found, tables.client)
        return found
    finally:
        service.stop()
        pipeline.close()
        tables.close()
        engine.stop()


def _alone(found: Reading, client: Client, engine: Engine) -> None:
    newest = found.add("newest page", lambda: client.found(f"/v1/events?limit={PAGE}"), 40)
    pages = _pages_from(client, DEEP)
    deep = found.add(f"page {DEEP}", lambda: next(pages), 40)
    found.waits.append(dataclasses.replace(deep, name="  … against 1.2 × page 1", asked=1.2 * newest.p95))
    rare = client.found(f"/v1/events?user=client:{RARE_ACTOR}")["data"]
    assert len(rare) >= RARE, "a run with few events has fewer of the rare ones"
    found.add("rare user", lambda: client.found(f"/v1/events?user=client:{RARE_ACTOR}"), 150)
    found.add("rare type", lambda: client.found(f"/v1/events?event={RARE_TYPE}"), 150)
    found.add("no match", lambda: client.found("/v1/events?user=nobody"), 150)
    found.add("users", lambda: client.found("/v1/facets/users"), 40)
    found.add("users, searched", lambda: client.found("/v1/facets/users?search=person%20123"), 40)
    found.add("event types", lambda: client.found("/v1/facets/events"), 40)
    ids = engine.query(
        "SELECT event_id FROM audit_events WHERE workspace_id = {w:String} ORDER BY cityHash64(event_id) LIMIT 65",
        parameters={"w": LARGEST},
    ).result_rows
    each = iter([str(row[0]) for row in ids])
    found.add("event by id", lambda: client.found(f"/v1/events/{next(each)}"), 60)
    found.add("histogram", lambda: client.found("/v1/histogram"))


def _pages_from(client: Client, number: int) -> Iterator[Any]:
    """The pages from this number on; walks there in larger steps."""
    cursor, step = "", 200
    for _ in range(number * PAGE // step):
        body = client.found(f"/v1/events?limit={step}{cursor}")
        cursor = "&cursor=" + quote(body["next"].rpartition("cursor=")[2].partition("&")[0], safe="%")
    while True:
        body = client.found(f"/v1/events?limit={PAGE}{cursor}")
        cursor = "&cursor=" + quote(body["next"].rpartition("cursor=")[2].partition("&")[0], safe="%")
        yield body


def _combined(client: Client) -> dict[str, Any]:
    """Random filters: each answers within two seconds, or with a 503 that names the budget it exceeded."""
    random_ = random.Random(5)
    took: list[float] = []
    refused, late, wrong = [], [], []
    for _ in range(COMBINATIONS):
        address = f"/v1/events?{urlencode(filters(random_))}"
        begun = time.perf_counter()
        status, body = client.get(address)
        seconds = time.perf_counter() - begun
        took.append(seconds * 1000)
        if status == 503 and "budget" in body["type"]:
            refused.append(f"{address}: {body['detail']}")
        elif status != 200:
            wrong.append(f"{address}: {status} {body['detail']}")
        elif seconds > BUDGET_S:
            late.append(f"{address}: {seconds:.1f} s")
    took.sort()
    times = {"p50": percentile(took, 0.5), "p95": percentile(took, 0.95), "most": took[-1]}
    return {"filters": COMBINATIONS, **times, "over_budget": refused, "late": late, "wrong": wrong}


def filters(random_: random.Random) -> list[tuple[str, str]]:
    """One to four parameters of the grammar, some of them excluding."""
    number = random_.randrange(ACTORS)
    actor = f"{'internal_user:usr' if number % 10 < 3 else 'client:cli'}_{number:05}"
    values = {
        "user": actor,
        "event": random_.choice(("file.viewed", "invoice.paid", "task.created", RARE_TYPE)),
        "category": random_.choice(("files", "billing", "tasks", "authentication")),
        "source": random_.choice(("web", "api", "automation")),
        "actor_type": random_.choice(("internal_user", "client", "system")),
        "outcome": random_.choice(("success", "failure")),
        "target": random_.choice((f"file:t_{random_.randrange(10**6):06x}", "invoice:")),
        "ip": random_.choice((f"10.{number % 200}.0.0/16", f"10.{number % 200}.7.{1 + number % 250}")),
        "meta.order": f"A-{random_.randrange(100_000)}",
        "q": random_.choice(("contract", f"person {number}", "plan pdf", "nowhere")),
        "since": random_.choice(("24h", "7d", "90d")),
    }
    chosen = random_.sample(sorted(values), random_.randint(1, 4))
    return [(("not_" if name != "since" and random_.random() < 0.2 else "") + name, values[name]) for name in chosen]


def _in_parallel(connect: Callable[[], Client]) -> dict[str, Any]:
    """Sixteen clients at once; an error is any answer but a good one."""
    took: list[float] = []
    errors: list[str] = []
    asked = ("/v1/events", f"/v1/events?user=client:{RARE_ACTOR}", "/v1/facets/users", "/v1/events?category=files")

    def read(number: int) -> None:
        client = connect()
        for turn in range(READS):
            address = asked[(number + turn) % len(asked)]
            begun = time.perf_counter()
            status, body = client.get(address)
            took.append((time.perf_counter() - begun) * 1000)
            if status != 200:
                errors.append(f"{address}: {status} {body}")

    begun = time.monotonic()
    threads = [threading.Thread(target=read, args=(number,)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    per_second = len(took) / (time.monotonic() - begun)
    took.sort()
    times = {"p50": percentile(took, 0.5), "p95": percentile(took, 0.95), "most": took[-1]}
    return {"readers": READERS, "requests": len(took), "per_second": per_second, **times, "errors": errors}


def _while_ingesting(found: Reading, connect: Callable[[], Client], pipeline: Pipeline) -> None:
    """The newest page while a worker takes in 20 000 events a second, next to the same page right before."""
    worker = pipeline.worker()
    worker.start()
    prepared = list(events.values(INGESTED_PER_SECOND * INGEST_SECONDS, seed=11, days=1))
    client = connect()
    alone = found.add("newest page, with an idle worker", lambda: client.found(f"/v1/events?limit={PAGE}"))
    stop = threading.Event()
    rates: list[float] = []

    def produce() -> None:
        producer = Producer({"bootstrap.servers": pipeline.kafka.bootstrap_servers, "linger.ms": 20})
        topic, begun, sent = topic_of(pipeline.prefix, "files"), time.monotonic(), 0
        for number, (workspace, value) in enumerate(prepared):
            if number % 500 == 0 and (wait := begun + number / INGESTED_PER_SECOND - time.monotonic()) > 0:
                producer.poll(0)
                time.sleep(wait)
            if stop.is_set():
                break
            producer.produce(topic, key=workspace, value=value, partition=number % pipeline.partitions)
            sent += 1
        producer.flush(60)
        rates.append(sent / (time.monotonic() - begun))

    producing = threading.Thread(target=produce)
    producing.start()
    stored = pipeline.stored()[0]
    while pipeline.stored()[0] <= stored:
        time.sleep(0.1)
    again = connect()
    found.add(
        f"newest page at {INGESTED_PER_SECOND} events/s",
        lambda: again.found(f"/v1/events?limit={PAGE}"),
        2 * alone.p95,
    )
    stop.set()
    producing.join()
    found.ingested_per_second = rates[0]
    worker.stop()


def _compared(found: Reading, engine: Engine) -> None:
    """What others do, asked of the engine itself: OFFSET paging, and the same rows and sort key without indexes."""
    engine.command(
        "CREATE TABLE reading_plain ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(occurred_at)"
        " ORDER BY (workspace_id, occurred_at, event_id, kafka_topic_id, kafka_partition, kafka_offset)"
        " SETTINGS index_granularity = 2048, min_compress_block_size = 16384, max_compress_block_size = 65536"
        f" AS SELECT * FROM audit_events WHERE workspace_id = '{LARGEST}' SETTINGS max_insert_threads = 1"
    )

    def rows(table: str, condition: str, offset: int = 0) -> Call:
        sql = (
            f"SELECT * FROM {table} WHERE workspace_id = '{LARGEST}'{condition}"
            f" ORDER BY occurred_at DESC, event_id DESC LIMIT {PAGE} OFFSET {offset}"
            # The engine would remember which granules held nothing the last time.
            " SETTINGS use_query_condition_cache = 0"
        )
        return lambda: engine.query(sql)

    for offset in (0, 10_000, PAGE * DEEP):
        found.add(f"engine: OFFSET {offset}", rows("audit_events", "", offset), calls=20)
    for name, condition in (
        ("rare user", f" AND actor_type = 'client' AND actor_id = '{RARE_ACTOR}'"),
        ("rare type", f" AND event_type = '{RARE_TYPE}'"),
        ("no match", " AND actor_id = 'nobody'"),
    ):
        for table, said in (("audit_events", "with indexes"), ("reading_plain", "without")):
            found.add(f"engine: {name}, {said}", rows(table, condition), calls=20)


def shown(kafka: KafkaProcess, folder: Path, largest: int, skew: float) -> dict[str, object]:
    """Measures, and prints a table."""
    found = measure(kafka, folder, largest, skew)
    print(f"\n{'reading':<44}{'calls':>7}{'p50 ms':>10}{'p95 ms':>10}{'asked':>10}")
    for wait in found.waits:
        asked = "" if wait.asked is None else f"{wait.asked:.0f}"
        print(f"{wait.name:<44}{wait.calls:>7}{wait.p50:>10.1f}{wait.p95:>10.1f}{asked:>10}  {wait.verdict}")
    print(f"the page in a browser: {found.page}")
    print(f"\ningested meanwhile: {found.ingested_per_second:.0f} events/s")
    print(f"{READERS} readers: {json.dumps(found.parallel)}")
    print(f"random filters: {json.dumps(found.combinations, indent=2)}")
    return dataclasses.asdict(found)


def _milliseconds(call: Call) -> float:
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000
