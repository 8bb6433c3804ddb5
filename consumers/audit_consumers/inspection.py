"""What an operator asks about the pipeline while it runs: how far each partition is, and what is on its way."""

from __future__ import annotations

from dataclasses import dataclass

from audit_consumers.clickhouse import ClickHouseStore
from audit_consumers.intent import Intent
from audit_consumers.kafka import KafkaCluster
from audit_consumers.ports import LOST, Bounds, Committed, LedgerRow
from audit_consumers.positions import Log, Range, TopicPartition, contiguous_end, holes
from audit_consumers.settings import PipelineSettings
from audit_schemas.errors import ContractBroken
from audit_schemas.topics import event_topics


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One partition as Kafka and the ledger see it."""

    log: Log
    bounds: Bounds
    committed: Committed

    @property
    def lag(self) -> int:
        """Records that are not committed yet."""
        return self.bounds.end - (self.bounds.start if self.committed.offset is None else self.committed.offset)

    @property
    def intent(self) -> Intent | None:
        """The batch on its way, None when there is none."""
        metadata = self.committed.metadata
        return metadata.intent if metadata.topic_id == self.log.topic_id else None

    def __str__(self) -> str:
        offsets = f" {self.intent.offsets}" if self.intent else ""
        return f"{self.log.topic_partition}{offsets}"


def states(settings: PipelineSettings) -> list[PartitionState]:
    """All partitions of the event topics, in order."""
    cluster = KafkaCluster(settings.kafka_bootstrap_servers)
    topics = cluster.topic_ids(event_topics(settings.topic_prefix))
    logs = {
        TopicPartition(topic, number): Log(topic, topic_id, number)
        for topic, (topic_id, count) in sorted(topics.items())
        for number in range(count)
    }
    bounds = cluster.bounds(list(logs))
    committed = cluster.group_offsets(settings.consumer_group, list(logs))
    return [PartitionState(log, bounds[part], committed[part]) for part, log in logs.items()]


def open_intents(settings: PipelineSettings) -> list[PartitionState]:
    """The partitions that have a batch on its way."""
    return [state for state in states(settings) if state.intent is not None]


def accept_loss(settings: PipelineSettings, partition: TopicPartition, lost: Range) -> None:
    """Writes down that these offsets are lost, so that the partition goes on behind them.

    Raises `ContractBroken`, naming the reason, when Kafka still has some of them or the ledger holds some already.
    """
    found = [state for state in states(settings) if state.log.topic_partition == partition]
    if not found:
        raise ContractBroken(f"there is no partition {partition}")
    log, bounds = found[0].log, found[0].bounds
    store = ClickHouseStore(settings)
    try:
        ledger = store.ledger({log: 0})[log]
        if lost.last >= bounds.start and lost.first < bounds.end:
            raise ContractBroken(f"Kafka still has offsets {bounds.start} to {bounds.end - 1} of {partition}")
        if list(holes([row.offsets for row in ledger], lost)) != [lost]:
            raise ContractBroken(f"the ledger holds some of {lost} already; next is {_next(ledger, found[0])}")
        store.write_ledger([LedgerRow(log, lost, LOST)])
    finally:
        store.close()


def _next(ledger: list[LedgerRow], state: PartitionState) -> int:
    return contiguous_end([row.offsets for row in ledger], state.committed.offset or state.bounds.start)


__all__ = ["PartitionState", "accept_loss", "open_intents", "states"]
