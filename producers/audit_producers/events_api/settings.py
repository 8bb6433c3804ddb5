"""Everything the Events API can be told, from `AUDIT_*` variables."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from audit_infra.http.rates import Rate
from audit_infra.settings import ControlSettings, TokenSettings
from audit_producers.settings import ProducerSettings, ProxySettings


class EventsApiSettings(ProducerSettings, ProxySettings, ControlSettings, TokenSettings):
    """The service's settings, with those of the producer it writes through. Times in the unit of their name."""

    events_host: str = "127.0.0.1"
    events_port: int = Field(8081, ge=0, le=65535)
    rate_limit_events: str = Field("100000/minute", description="per key and per app, e.g. 5000/second; 100000/minute")
    rate_limit_requests: str = Field("6000/minute", description="per key and per app")
    rate_limit_failures: str = Field("60/minute", description="failed credentials per address")
    idempotency_days: int = Field(7, ge=1, le=90, description="how long retry keys and first instants are kept")
    durable_timeout_s: float = Field(10.0, gt=0, le=300, description="how long an answer waits for the disk")
    idempotency_lease_s: float = Field(
        30.0, gt=0, le=600, description="when an attempt that never ended frees its keys"
    )
    body_timeout_s: float = Field(30.0, gt=0, le=600, description="how long a body may take to arrive")
    bodies_mib: int = Field(64, ge=8, le=65_536, description="unpacked bodies in memory, all requests together")

    @field_validator("rate_limit_events", "rate_limit_requests", "rate_limit_failures")
    @classmethod
    def _rate(cls, value: str) -> str:
        try:
            Rate.all_of(value)
        except ValueError:
            raise ValueError("is not a rate such as 100000/minute") from None
        return value

    @field_validator("idempotency_lease_s")
    @classmethod
    def _outlives_an_attempt(cls, value: float, info: ValidationInfo) -> float:
        if value < 2 * info.data.get("durable_timeout_s", 0):
            raise ValueError("must be at least twice AUDIT_DURABLE_TIMEOUT_S: an attempt that lives keeps its keys")
        return value


__all__ = ["EventsApiSettings"]
