"""SIGKILL of the emitting process at any moment, Kafka away for part of the time: what was durable arrives."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit_consumers.kafka import create_topics
from audit_consumers.settings import PipelineSettings
from audit_local.launch import tethered
from audit_producers import ProducerSettings
from audit_producers.adoption import Adopter
from audit_producers.kafka import KafkaTransport
from audit_schemas.event import Event
from tests.support.topics import event_of, stored_messages
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.conftest import StartKafka

ROOT = Path(__file__).parents[2]
ROUNDS, PARTITIONS = 8, 2


@dataclass
class Emitter:
    """A running `tests.support.emitter`, and the lines it has written."""

    process: subprocess.Popen[bytes]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.decode())

    def work(self, seconds: float) -> None:
        """Returns when it has been emitting for so long."""
        eventually(lambda: self.lines, 20, "it emits")
        with pytest.raises(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def end(self, seconds: float) -> int:
        status = self.process.wait(seconds)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


def start(folder: Path, settings: ProducerSettings) -> Emitter:
    command = [sys.executable, "-m", "tests.support.emitter", str(folder), settings.kafka_bootstrap_servers]
    with (folder.parent / "emitter.log").open("ab") as log:
        return Emitter(
            subprocess.Popen(
                tethered([*command, settings.topic_prefix]), cwd=ROOT, stdout=subprocess.PIPE, stderr=log, bufsize=0
            )
        )


@pytest.mark.timeout(120)
def test_whatever_was_durable_arrives_in_order(start_kafka: StartKafka, topic_prefix: str, tmp_path: Path) -> None:
    """Eight emitters in a row die in mid-work, a ninth ends by SIGTERM; a relay brings what they left.

    Kafka is frozen for four of them. No durable event is lost; each workspace's events of an instance
    come first in the order of emitting; below the last durable one an instance has no hole in its numbers.
    """
    moments = random.Random(20260315)
    kafka = start_kafka()
    create_topics(
        PipelineSettings(kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix),
        partitions=PARTITIONS,
    )
    folder = tmp_path / "spool"
    settings = ProducerSettings(
        spool_dir=folder, kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=topic_prefix
    )
    rounds: list[list[str]] = []
    for number in range(ROUNDS):
        if number == 2:
            kafka.pause()
        elif number == 6:
            kafka.resume()
        emitter = start(folder, settings)
        emitter.work(moments.uniform(0.0, 0.3))
        emitter.process.kill()
        emitter.end(10)
        rounds.append(emitter.lines)
    last = start(folder, settings)
    last.work(0.3)
    last.process.terminate()
    assert last.end(20) == 143
    rounds.append(last.lines)

    left = list(folder.glob("*.spool"))
    relay = Adopter(settings, lambda: KafkaTransport(settings))
    eventually(lambda: relay.look() == 0 and not list(folder.iterdir()), 30, "the folder is empty")
    messages = stored_messages(kafka.bootstrap_servers, f"{topic_prefix}.files")
    events = [(message.value() or b"", event_of(message)) for message in messages]
    durable = {line.split()[1]: (n, line.split()) for n, lines in enumerate(rounds) for line in lines}
    print(
        f"{len(durable)} durable, {len(events)} stored, {len(left)} spools and {relay.adopted} events left to the relay"
    )
    assert len(durable) > 500
    prove(durable, events)


def prove(durable: dict[str, tuple[int, list[str]]], events: list[tuple[bytes, Event]]) -> None:
    firsts: dict[str, tuple[bytes, Event]] = {}
    for value, event in events:
        known, _ = firsts.setdefault(event.event_id, (value, event))
        assert known == value, "an event that comes again is the same"
    lost = durable.keys() - firsts.keys()
    assert not lost, f"{len(lost)} of {len(durable)} durable events are lost"
    by_key: dict[tuple[str, str], list[Event]] = defaultdict(list)
    numbers: dict[str, set[int]] = defaultdict(set)
    last_durable: dict[str, int] = {}
    for _, event in firsts.values():
        producer = event.producer
        by_key[event.workspace_id, producer.instance].append(event)
        numbers[producer.instance].add(producer.seq)
        if event.event_id in durable:
            last_durable[producer.instance] = max(producer.seq, last_durable.get(producer.instance, 0))
    for (workspace, instance), found in by_key.items():
        seqs = [event.producer.seq for event in found]
        assert seqs == sorted(seqs), f"order of {workspace} from {instance}"
        emitted = [int(durable[event.event_id][1][2]) for event in found if event.event_id in durable]
        assert emitted == list(range(len(emitted))), f"order of emitting of {workspace} from {instance}"
    for instance, last in last_durable.items():
        assert set(range(last + 1)) <= numbers[instance], f"holes of {instance}"
