"""The worker as a process: puts the real parts together, checks them, and runs the loop until a signal."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from audit_consumers import contract
from audit_consumers.clickhouse import STAMP_COLUMNS, ClickHouseStore
from audit_consumers.gap_watch import Watched
from audit_consumers.gaps import Folded, Gaps, Missing
from audit_consumers.health import HealthServer
from audit_consumers.kafka import KafkaCluster, KafkaDeadLetters, KafkaGroupConsumer
from audit_consumers.landing import Lander
from audit_consumers.metrics import WorkerMetrics
from audit_consumers.options import Options
from audit_consumers.partition import Status
from audit_consumers.pauses import Pauses
from audit_consumers.ports import Store
from audit_consumers.positions import TopicPartition
from audit_consumers.settings import WorkerSettings
from audit_consumers.worker import Worker
from audit_schemas.errors import ContractBroken, Refused, Transient
from audit_schemas.registry import CURRENT_SCHEMA_ID, StaticRegistry
from audit_schemas.topics import dead_letter_topic, event_topics, topic_of

log = structlog.get_logger("audit_consumers.process")

T = TypeVar("T")
_STALLED_S = 60.0
_LAST_SECONDS = 1.0
_POOL_THREADS = 5
"""For ledger, progress, questions, gaps and pauses: one each."""
_THREADS = "worker"


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def now_ms(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000


class _State:
    """What `/readyz` tells, written by the loop and read by the health thread."""

    def __init__(self) -> None:
        self.waiting_for = "start"
        self.worker: Worker | None = None
        self.last_step = time.monotonic()

    def readiness(self) -> tuple[bool, dict[str, object]]:
        if self.worker is None:
            return False, {"waiting_for": self.waiting_for}
        statuses = self.worker.statuses
        stalled = time.monotonic() - self.last_step > _STALLED_S
        troubled = {
            name: f"{status.value}: {why}"
            for name, (status, why) in statuses.items()
            if status in (Status.STOPPED, Status.HALTED)
        }
        ready = not stalled and bool(statuses) and all(s is not Status.RESOLVING for s, _ in statuses.values())
        return ready, {
            "partitions": len(statuses),
            "troubled": troubled,
            "paused": self.worker.held,
            "stalled": stalled,
        }


def check_contract(store: Store) -> None:
    """Raises `ContractBroken` naming everything in which the tables differ from what the worker writes."""
    found = contract.faults(
        StaticRegistry().schema(CURRENT_SCHEMA_ID), store.columns("audit_ingest"), store.dedup_windows()
    )
    there = store.columns("audit_quarantine")
    found += [f"audit_quarantine has no column {name}" for name in STAMP_COLUMNS if name not in there]
    if found:
        raise ContractBroken("; ".join(found))
    store.columns("audit_pauses")  # raises where the table is missing


def run(settings: WorkerSettings) -> None:
    """Runs until SIGTERM or SIGINT; returns after a graceful stop.

    While Kafka or ClickHouse can't be reached it waits for them and says so. Raises `Refused` and `ContractBroken`.
    When ClickHouse leaves a request unanswered beyond the time to stop, the process ends here with status 0: what is
    in doubt stands in the open intent, and the next owner settles it.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    state, metrics = _State(), WorkerMetrics()
    try:
        health = HealthServer(settings.worker_http_host, settings.worker_http_port, metrics.registry, state.readiness)
    except OSError as error:
        where = f"{settings.worker_http_host}:{settings.worker_http_port}"
        raise Refused(f"the worker can't listen on {where}: {error.strerror}") from None
    log.info("health endpoint", port=health.port)
    pool = ThreadPoolExecutor(_POOL_THREADS, thread_name_prefix=_THREADS)
    inserters = ThreadPoolExecutor(settings.inserters, thread_name_prefix=f"{_THREADS}-inserter")
    try:
        _run(settings, stopping, state, metrics, pool, inserters)
    finally:
        for executor in (pool, inserters):
            executor.shutdown(wait=False, cancel_futures=True)
        health.close()
    if not _threads_end(_LAST_SECONDS):
        log.warning("ended with requests unanswered")
        # The interpreter would wait for the threads, and those for an answer that may never come.
        os._exit(os.EX_OK)


def _run(
    settings: WorkerSettings,
    stopping: threading.Event,
    state: _State,
    metrics: WorkerMetrics,
    pool: ThreadPoolExecutor,
    inserters: ThreadPoolExecutor,
) -> None:
    schemas = StaticRegistry().schema
    cluster = KafkaCluster(settings.kafka_bootstrap_servers)

    def open_store() -> ClickHouseStore:
        opened = ClickHouseStore(
            settings, timeout_s=settings.insert_timeout_s, connections=settings.inserters + _POOL_THREADS
        )
        check_contract(opened)
        return opened

    store = _patiently("ClickHouse", open_store, stopping, state)
    cluster_id = _patiently("Kafka", cluster.cluster_id, stopping, state)
    if store is None or cluster_id is None:
        return
    _check_session(cluster, settings)
    clock = SystemClock()
    lander = Lander(
        store,
        KafkaDeadLetters(settings.kafka_bootstrap_servers, dead_letter_topic(settings.topic_prefix)),
        schemas,
        cluster_id,
        clock,
    )
    worker = Worker(
        join=lambda listener: KafkaGroupConsumer(
            settings.kafka_bootstrap_servers,
            settings.consumer_group,
            event_topics(settings.topic_prefix),
            listener,
        ),
        cluster=cluster,
        store=store,
        lander=lander,
        schemas=schemas,
        clock=clock,
        pool=pool,
        inserters=inserters,
        options=Options.of(settings),
        metrics=metrics,
        watched=_watched(settings, store),
        held=Pauses(store).held,
    )
    state.worker = worker
    _collect_rarely()
    log.info("worker runs", group=settings.consumer_group, topics=f"{settings.topic_prefix}.*")
    try:
        while not stopping.is_set():
            try:
                worker.step()
            except Transient as error:
                log.warning("turn failed", error=str(error))
                stopping.wait(0.5)
            state.last_step = time.monotonic()
    finally:
        worker.stop()
        store.close()
        log.info("worker stopped")


def _watched(settings: WorkerSettings, store: ClickHouseStore) -> Watched:
    gaps = Gaps(store)

    def look(before_ms: int) -> tuple[Folded, Missing]:
        return gaps.fold(), gaps.missing(before_ms)

    owner = TopicPartition(topic_of(settings.topic_prefix, "authentication"), 0)
    return Watched(owner, look, settings.gap_every_s, settings.gap_after_s)


def _collect_rarely() -> None:
    """The collector would look through hundreds of thousands of waiting records again and again, for cycles that are
    not there, which costs up to a fifth of the worker's CPU at full speed."""
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)


def _threads_end(seconds: float) -> bool:
    """Whether the threads of both pools end in the time given."""
    deadline = time.monotonic() + seconds
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(_THREADS)]
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _check_session(cluster: KafkaCluster, settings: WorkerSettings) -> None:
    """A killed worker's partitions wait for its session to end; how long that is, the brokers decide."""
    try:
        session_ms = cluster.session_timeout_ms(settings.consumer_group)
    except Transient as error:
        log.warning("the group's session timeout can't be read", error=str(error))
        return
    if session_ms > settings.session_timeout_ms:
        log.warning(
            "a killed worker is replaced only after a long session",
            session_ms=session_ms,
            wanted_ms=settings.session_timeout_ms,
            way_out=f"set consumer.session.timeout.ms of the group {settings.consumer_group}, or"
            " group.consumer.session.timeout.ms of the brokers",
        )


def _patiently(what: str, attempt: Callable[[], T], stopping: threading.Event, state: _State) -> T | None:
    """Tries until it works or the process is to stop; waits longer each time, 15 s at most."""
    delay = 0.5
    while not stopping.is_set():
        state.waiting_for = what
        try:
            return attempt()
        except Transient as error:
            log.warning(f"waiting for {what}", error=str(error), retry_s=delay)
        stopping.wait(delay)
        delay = min(15.0, delay * 2)
    return None


__all__ = ["SystemClock", "check_contract", "run"]
