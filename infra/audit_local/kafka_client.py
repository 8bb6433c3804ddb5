"""Whether the broker answers: the only module of this package that talks to Kafka."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_SILENT = logging.getLogger("audit_local.kafka_client.silent")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


def answers(bootstrap_servers: str, timeout_seconds: float = 2.0) -> bool:
    """True when the broker lists its topics; blocks for at most `timeout_seconds`, never raises."""
    admin = AdminClient(
        {
            "bootstrap.servers": bootstrap_servers,
            "socket.connection.setup.timeout.ms": 1000,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 200,
        },
        logger=_SILENT,
    )
    try:
        admin.list_topics(timeout=timeout_seconds)
    except KafkaException:
        return False
    return True


__all__ = ["answers"]
