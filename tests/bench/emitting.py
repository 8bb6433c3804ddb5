"""How fast the SDK takes events beside what services use otherwise, and what an outage of Kafka does to its callers."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from audit_consumers.kafka import create_topics
from audit_consumers.settings import PipelineSettings
from audit_producers import AuditLog, Mode, ProducerSettings
from audit_producers.adoption import Adopter
from audit_producers.kafka import KafkaTransport
from audit_schemas.registry import CURRENT_SCHEMA_ID, StaticRegistry
from tests.bench.measure import cpu_seconds
from tests.support.kafka import KafkaProcess
from tests.support.topics import event_of, stored_messages

PARTITIONS = 6
PER_SECOND = 500.0
AGENT = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0"


@dataclass(frozen=True)
class Rate:
    """`taken` per second: calls of emit; `durable`: until the last one is fsynced or in Kafka; `kafka`: until it is
    acknowledged there. CPU of this process in microseconds per event, all threads."""

    name: str
    taken: float
    durable: float
    kafka: float
    cpu_us: float


def median_of(kafka: KafkaProcess, folder: Path, events: int, rounds: int) -> list[dict[str, object]]:
    """Each way of emitting in turn, several times; prints the median round of each, by what it took per second."""
    found = [throughput(kafka, folder, events) for _ in range(rounds)]
    medians = [sorted(rates, key=lambda one: one.taken)[rounds // 2] for rates in zip(*found, strict=True)]
    print(f"{'emitting, events/s':<28}{'taken':>10}{'durable':>10}{'in Kafka':>10}{'CPU µs':>10}   taken in each round")
    for one, rates in zip(medians, zip(*found, strict=True), strict=True):
        each = ", ".join(f"{rate.taken:.0f}" for rate in rates)
        print(
            f"{one.name:<28}{one.taken:>10.0f}{one.durable:>10.0f}{one.kafka:>10.0f}{one.cpu_us:>10.1f}   {each}",
            flush=True,
        )
    return [dataclasses.asdict(one) for one in medians]


def throughput(kafka: KafkaProcess, folder: Path, events: int) -> list[Rate]:
    """Ours in both modes, and a service with Confluent's AvroSerializer, in turn on topics of their own."""
    return [
        ours(kafka, folder, events, "durable"),
        ours(kafka, folder, events, "direct"),
        avro_serializer(kafka, events),
    ]


def ours(kafka: KafkaProcess, folder: Path, events: int, mode: Mode) -> Rate:
    prefix = new_topics(kafka)
    settings = ProducerSettings(
        kafka_bootstrap_servers=kafka.bootstrap_servers,
        topic_prefix=prefix,
        spool_dir=folder / prefix,
        emit_mode=mode,
        # A loop that does nothing but emit is no service: it waits for the disk instead of being refused.
        spool_full_wait_s=60,
    )
    log = AuditLog("bench", version="1", settings=settings)
    log.emit("file.downloaded", **fields(0)).wait(30)
    cpu, begun = cpu_seconds(os.getpid()), time.perf_counter()
    receipts = [log.emit("file.downloaded", **fields(number)) for number in range(events)]
    taken = time.perf_counter() - begun
    for receipt in receipts:
        receipt.wait_durable(60)
    durable = time.perf_counter() - begun
    if log.flush(120):
        raise TimeoutError("Kafka did not take everything")
    acknowledged = time.perf_counter() - begun
    cpu_us = (cpu_seconds(os.getpid()) - cpu) / events * 1e6
    log.close()
    return Rate(f"AuditLog.emit, {mode}", events / taken, events / durable, events / acknowledged, cpu_us)


def avro_serializer(kafka: KafkaProcess, events: int) -> Rate:
    """The serializer with a registry in memory and an idempotent producer; nothing is validated or kept on a disk."""
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    topic = f"{new_topics(kafka)}.files"
    registry = SchemaRegistryClient.new_client({"url": "mock://bench"})
    serialize = AvroSerializer(registry, json.dumps(StaticRegistry().schema(CURRENT_SCHEMA_ID)))
    context = SerializationContext(topic, MessageField.VALUE)
    config: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "enable.idempotence": True,
        "linger.ms": 5,
        "compression.type": "lz4",
        "queue.buffering.max.messages": events + 1,
    }
    producer, acknowledged = Producer(config), 0

    def delivered(error: object, _: object) -> None:
        nonlocal acknowledged
        if error is not None:
            raise RuntimeError(error)
        acknowledged += 1

    cpu, begun = cpu_seconds(os.getpid()), time.perf_counter()
    for number in range(events):
        record = plain_record(number)
        producer.produce(topic, serialize(record, context), key=record["workspace_id"], on_delivery=delivered)
        producer.poll(0)
    taken = time.perf_counter() - begun
    producer.flush(60)
    seconds = time.perf_counter() - begun
    if acknowledged != events:
        raise RuntimeError(f"{acknowledged} of {events} events were acknowledged")
    cpu_us = (cpu_seconds(os.getpid()) - cpu) / events * 1e6
    return Rate("AvroSerializer + Producer", events / taken, events / seconds, events / seconds, cpu_us)


def fields(number: int) -> dict[str, Any]:
    """What a handler knows of an event; about 450 bytes as Avro."""
    return {
        "workspace_id": f"ws_{number % 200:04}",
        "actor": {"type": "internal_user", "id": "usr_00042", "name": "Person 00042", "email": "person42@example.com"},
        "source": "web",
        "ip": "203.0.113.7",
        "user_agent": AGENT,
        "targets": [{"type": "file", "id": f"fil_{number:010x}", "name": "plan.pdf"}],
        "metadata": {"folder": "/plan/final", "size": number},
        "request_id": f"req_{number:016x}",
        "session_id": "ses_0badcafe",
    }


def plain_record(number: int) -> dict[str, Any]:
    """The same event as a service without the SDK would write it."""
    given = fields(number)
    return given | {
        "event_id": str(uuid.uuid4()),
        "category": "files",
        "event_type": "file.downloaded",
        "label": "",
        "occurred_at": datetime.now(UTC),
        "received_at": datetime(1970, 1, 1, tzinfo=UTC),
        "on_behalf_of": {"type": "", "id": "", "name": ""},
        "outcome": "success",
        "outcome_reason": "",
        "changes": "[]",
        "metadata": json.dumps(given["metadata"]),
        "app_id": "",
        "producer": {"service": "bench", "instance": "0b6f1c52a3d94e58", "version": "1", "seq": number},
    }


def outages(kafka: KafkaProcess, folder: Path, seconds: float) -> list[dict[str, float]]:
    """An undisturbed service, then one that is killed at random; prints what each went through."""
    found = []
    for kills in (False, True):
        one = outage(kafka, folder, seconds, kills=kills)
        print(
            f"\nKafka down for {seconds:g} s at {PER_SECOND:g} events/s{', emitter killed at random' if kills else ''}"
        )
        print("\n".join(f"  {name:<20}{value:>12.3f}" for name, value in one.items()), flush=True)
        found.append(one)
    return found


def outage(kafka: KafkaProcess, folder: Path, seconds: float, *, kills: bool) -> dict[str, float]:
    """Kafka is down for so long, while a service emits 500 events a second; with `kills` it is killed at random.

    Raises `RuntimeError` when an event whose receipt said that it is durable does not arrive, or not in order.
    """
    prefix = new_topics(kafka)
    spool_dir, receipts = folder / prefix, folder / f"{prefix}.receipts"
    errors = (folder / f"{prefix}.log").open("a")
    environment = os.environ | {
        "AUDIT_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "AUDIT_TOPIC_PREFIX": prefix,
        "AUDIT_SPOOL_DIR": str(spool_dir),
        "AUDIT_EXIT_TIMEOUT_S": "1",
    }

    def emitter(for_s: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.bench.emitter", "--per-second", str(PER_SECOND)]
        command += ["--seconds", str(for_s), "--receipts", str(receipts)]
        return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=errors)

    kafka.kill()
    found: dict[str, float] = {"outage_s": seconds, "kills": 0.0}
    end, random_ = time.monotonic() + seconds, random.Random(7)
    while (left := end - time.monotonic()) > 1:
        process = emitter(left)
        try:
            output, _ = process.communicate(timeout=random_.uniform(5, 30) if kills else left + 60)
            if process.returncode:
                raise RuntimeError(f"the emitter failed, see {errors.name}")
            found |= json.loads(output)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            found["kills"] += 1
    kafka.start()
    begun = time.monotonic()
    settings = ProducerSettings(
        kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, spool_dir=spool_dir
    )
    found["adopted"] = Adopter(settings, lambda: KafkaTransport(settings)).look()
    found["caught_up_s"] = time.monotonic() - begun
    promised = [tuple(line.split()) for line in receipts.read_text().splitlines() if line.count(" ") == 1]
    return found | check(kafka, prefix, [(workspace, event_id) for workspace, event_id in promised])


def check(kafka: KafkaProcess, prefix: str, promised: list[tuple[str, str]]) -> dict[str, float]:
    """Every promised event is there; within a workspace and instance, first copies are in the order of their numbers."""
    copies, seen, last = 0, set[str](), dict[tuple[str, str], int]()
    for message in stored_messages(kafka.bootstrap_servers, f"{prefix}.files"):
        event = event_of(message)
        if event.event_id in seen:
            copies += 1
            continue
        seen.add(event.event_id)
        line = (event.workspace_id, event.producer.instance)
        if event.producer.seq <= last.get(line, -1):
            raise RuntimeError(f"event {event.producer.seq} of {line} came behind {last[line]}")
        last[line] = event.producer.seq
    missing = [event_id for _, event_id in promised if event_id not in seen]
    if missing:
        raise RuntimeError(f"{len(missing)} of {len(promised)} durable events are missing, such as {missing[:3]}")
    return {"durable_receipts": len(promised), "arrived": len(seen), "later_copies": copies}


def new_topics(kafka: KafkaProcess) -> str:
    """A prefix with fresh topics."""
    prefix = f"b{uuid.uuid4().hex[:8]}"
    create_topics(
        PipelineSettings(kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix), partitions=PARTITIONS
    )
    return prefix
