"""The adapter to Kafka: the one module of the SDK that knows confluent-kafka."""

from __future__ import annotations

import logging
import threading

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from audit_producers.ports import BufferFull, Closed, Delivered, NotDelivered, Position
from audit_producers.settings import ProducerSettings

_POLL_S = 0.05
_log = logging.getLogger("audit_producers")


class KafkaTransport:
    """`Transport` through an idempotent producer: in order, without doubles, acknowledged by all replicas."""

    def __init__(self, settings: ProducerSettings) -> None:
        self._closed = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": settings.kafka_bootstrap_servers,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": settings.linger_ms,
                "compression.type": "lz4",
                "batch.size": 1_000_000,
                "delivery.timeout.ms": settings.delivery_timeout_s * 1000,
                "queue.buffering.max.messages": settings.buffer_events,
                "queue.buffering.max.kbytes": settings.buffer_kib,
                "error_cb": self._on_error,
                "logger": _log,
            }
        )
        self._poller = threading.Thread(target=self._poll, name="audit-log-delivery", daemon=True)
        self._poller.start()

    def send(self, topic: str, key: str, value: bytes, delivered: Delivered) -> None:
        """See `Transport`."""
        if self._closed.is_set():
            raise Closed("this audit log is closed")

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is None:
                delivered(Position(str(message.topic()), message.partition() or 0, message.offset() or 0), None)
            else:
                delivered(None, NotDelivered(f"{error.str()} ({error.name()})"))

        try:
            self._producer.produce(topic, value=value, key=key, on_delivery=on_delivery)
        except BufferError:
            raise BufferFull("too many events wait for Kafka") from None
        except KafkaException as error:
            raise NotDelivered(str(error.args[0])) from None

    def flush(self, timeout: float) -> int:
        """See `Transport`."""
        return int(self._producer.flush(timeout))

    def close(self, timeout: float) -> int:
        """See `Transport`."""
        self._closed.set()
        left = self.flush(timeout)
        self._poller.join(timeout=1)
        return left

    def _poll(self) -> None:
        """Serves delivery reports, so that receipts settle while the service does other things."""
        while not self._closed.is_set():
            self._producer.poll(_POLL_S)

    def _on_error(self, error: KafkaError) -> None:
        _log.warning("Kafka: %s (%s)", error.str(), error.name())


__all__ = ["KafkaTransport"]
