"""The client's errors as ours, and what all parts of the adapter share."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaTopicPartition

from audit_consumers.positions import TopicPartition
from audit_schemas.errors import AuditError, ContractBroken, KafkaUnavailable, Refused

TIMEOUT_S = 10.0
# The client repeats on stderr what its calls and callbacks already say.
QUIET: Any = logging.getLogger("audit_consumers.librdkafka")
REFUSED = {
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,
}
OUT_OF_RANGE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
REBALANCING = {
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError._ASSIGNMENT_LOST,
    KafkaError._NO_OFFSET,
}
_CONTRACT = {KafkaError.UNSUPPORTED_VERSION, KafkaError.OFFSET_METADATA_TOO_LARGE, KafkaError._INVALID_ARG}


def translate(error: KafkaError) -> AuditError:
    """Our error for one of the client's."""
    text = f"Kafka: {error.str()} ({error.name()})"
    if error.code() in REFUSED:
        return Refused(text)
    if error.code() in _CONTRACT or error.fatal():
        return ContractBroken(text)
    return KafkaUnavailable(text)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns the client's exceptions into ours."""
    try:
        yield
    except KafkaException as error:
        raise translate(error.args[0]) from None


def native(partition: TopicPartition) -> KafkaTopicPartition:
    """The client's form of a partition."""
    return KafkaTopicPartition(partition.topic, partition.partition)


def ours(partition: KafkaTopicPartition) -> TopicPartition:
    """Our form of a partition."""
    return TopicPartition(partition.topic, partition.partition)


__all__ = ["OUT_OF_RANGE", "QUIET", "REBALANCING", "REFUSED", "TIMEOUT_S", "native", "ours", "translate", "translated"]
