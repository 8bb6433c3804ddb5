"""From `produce` to visible in a query, at a steady rate."""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import quantiles

from confluent_kafka import KafkaError, Message, Producer

from audit_schemas.topics import topic_of
from tests.bench import events
from tests.support.pipeline import Pipeline

POLL_S = 0.02


@dataclass(frozen=True)
class Latency:
    """Milliseconds; the error is at most the time of one poll."""

    flush_ms: int
    partitions: int
    per_second: float
    p50: float
    p99: float
    most: float


def measure(pipeline: Pipeline, *, per_second: int, seconds: float, flush_ms: int, partitions: int) -> Latency:
    """Produces to the first `partitions` partitions; every event's own latency counts."""
    worker = pipeline.worker(AUDIT_FLUSH_MS=str(flush_ms))
    worker.start()
    sent: list[tuple[int, int, float]] = []
    seen: dict[int, list[tuple[int, float]]] = {number: [] for number in range(partitions)}
    stop = threading.Event()

    def look() -> None:
        sql = (
            "SELECT kafka_partition, max(kafka_offset) FROM audit_events"
            " WHERE ingested_at >= now64(3) - INTERVAL 3 SECOND GROUP BY 1"
        )
        while not stop.wait(POLL_S):
            for partition, offset in pipeline.store.rows(sql, {}):
                if partition in seen and (not seen[partition] or seen[partition][-1][0] < offset):
                    seen[partition].append((offset, time.monotonic()))

    producer = Producer({"bootstrap.servers": pipeline.kafka.bootstrap_servers, "acks": "all", "linger.ms": 2})
    topic = topic_of(pipeline.prefix, "files")
    count = int(per_second * seconds)
    prepared = list(events.values(count, seed=11, days=1))

    def delivered(at: float) -> Callable[[KafkaError | None, Message], None]:
        def note(error: KafkaError | None, message: Message) -> None:
            assert error is None
            sent.append((int(message.partition() or 0), int(message.offset() or 0), at))

        return note

    # The group has settled and the engine is warm before anything is timed.
    for number in range(partitions * 50):
        producer.produce(topic, value=prepared[number][1], partition=number % partitions)
    producer.flush(30)
    looking = threading.Thread(target=look)
    looking.start()
    while not all(seen.values()):
        time.sleep(0.05)
    begun = time.monotonic()
    for number, (workspace, value) in enumerate(prepared):
        due = begun + number / per_second
        if (wait := due - time.monotonic()) > 0.001:
            producer.poll(0)
            time.sleep(wait)
        at = time.monotonic()
        producer.produce(topic, key=workspace, value=value, partition=number % partitions, on_delivery=delivered(at))
    producer.flush(30)
    took = time.monotonic() - begun
    last = {partition: max(offset for p, offset, _ in sent if p == partition) for partition in range(partitions)}
    while any(seen[partition][-1][0] < last[partition] for partition in range(partitions)):
        time.sleep(0.05)
    stop.set()
    looking.join()
    worker.stop()
    found = []
    for partition, offset, at in sent:
        index = bisect.bisect_left(seen[partition], (offset, 0.0))
        found.append((seen[partition][index][1] - at) * 1000)
    cuts = quantiles(found, n=100)
    return Latency(flush_ms, partitions, count / took, cuts[49], cuts[98], max(found))
