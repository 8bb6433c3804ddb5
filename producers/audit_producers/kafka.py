"""The adapter to Kafka: the one module of the SDK that knows confluent-kafka."""

from __future__ import annotations

import logging
import threading
import time

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from audit_producers.ports import BufferFull, Delivered, NotDelivered, Position
from audit_producers.settings import ProducerSettings

_POLL_S = 0.05
_SAY_AGAIN_S = 60.0
_log = logging.getLogger("audit_producers")
_client_log = logging.getLogger("audit_producers.librdkafka")
# The client warns of each of our settings that it calls experimental, with every connection; that it can't connect it
# says with every attempt, and to `error_cb`.
_client_log.addFilter(lambda record: not record.getMessage().startswith(("CONFWARN", "FAIL")))


class KafkaTransport:
    """`Transport` through an idempotent producer: in order, without doubles, acknowledged by all replicas."""

    def __init__(self, settings: ProducerSettings) -> None:
        self._ended = threading.Event()
        self._said: dict[str, float] = {}
        self._producer = Producer(
            {
                "bootstrap.servers": settings.kafka_bootstrap_servers,
                "enable.idempotence": True,
                # A message that can't be delivered stops the producer: nothing overtakes it.
                "enable.gapless.guarantee": True,
                "acks": "all",
                # The Java client's choice: producers in other languages put a workspace on the same partition.
                "partitioner": "murmur2_random",
                # Never: an outage lasts as long as it lasts, and what waits is bounded by whoever sends.
                "message.timeout.ms": 0,
                "linger.ms": settings.linger_ms,
                "compression.type": "lz4",
                "batch.size": 1_000_000,
                "queue.buffering.max.messages": settings.in_flight_events + 1,
                "queue.buffering.max.kbytes": min(2_097_151, settings.in_flight_mib * 2048),
                "error_cb": self._on_error,
                "logger": _client_log,
            }
        )
        self._poller = threading.Thread(target=self._poll, name="audit-log-delivery", daemon=True)
        self._poller.start()

    def send(self, topic: str, key: str, value: bytes, delivered: Delivered) -> None:
        """See `Transport`."""

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is None:
                delivered(Position(message.topic(), message.partition(), message.offset()), None)  # type: ignore[arg-type]  # an acknowledged message has all three
            else:
                delivered(None, NotDelivered(f"{error.str()} ({error.name()})"))

        try:
            self._producer.produce(topic, value=value, key=key, on_delivery=on_delivery)
        except BufferError:
            raise BufferFull("too many events wait for Kafka") from None
        except KafkaException as error:
            raise NotDelivered(str(error.args[0])) from None

    def abandon(self) -> None:
        """See `Transport`."""
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        self._ended.set()

    def _poll(self) -> None:
        """Serves delivery reports, so that receipts settle while the service does other things.

        The thread outlives `abandon` until the last report came; the client is freed here, where that may block.
        """
        producer = self._producer
        while not (self._ended.is_set() and len(producer) == 0):
            try:
                producer.poll(_POLL_S)
            except KafkaException as error:
                # The client is beyond recovery. It says so here too; the delivery reports follow with later calls.
                self._on_error(error.args[0])
                self._ended.wait(_POLL_S)
        producer.close()

    def _on_error(self, error: KafkaError) -> None:
        """An outage repeats the same few errors for every broker and attempt; each is said once a minute."""
        name, now = error.name(), time.monotonic()
        if not self._ended.is_set() and now - self._said.get(name, -_SAY_AGAIN_S) >= _SAY_AGAIN_S:
            self._said[name] = now
            _log.warning("Kafka: %s (%s)", error.str(), name)


__all__ = ["KafkaTransport"]
