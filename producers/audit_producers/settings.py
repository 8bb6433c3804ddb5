"""What a product service can set about emitting, in code or by `AUDIT_*` variables."""

from __future__ import annotations

from pydantic import Field

from audit_infra.settings import KafkaSettings


class ProducerSettings(KafkaSettings):
    """Times in the unit of their name."""

    linger_ms: int = Field(5, ge=0, le=1000, description="how long events wait for company on the way to Kafka")
    buffer_events: int = Field(100_000, ge=100, le=10_000_000, description="events in memory before BufferFull")
    buffer_kib: int = Field(262_144, ge=1024, le=2_097_151)
    delivery_timeout_s: int = Field(
        86_400, ge=1, le=2_000_000, description="how long an event is tried; the client's own five minutes lose outages"
    )


__all__ = ["ProducerSettings"]
