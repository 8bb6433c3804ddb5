"""What a product service can set about emitting, in code or by `AUDIT_*` variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from audit_infra.settings import KafkaSettings, Settings
from audit_producers.addresses import Networks, networks_of

Mode = Literal["durable", "direct", "sync"]


class ProducerSettings(KafkaSettings):
    """Times and sizes in the unit of their name."""

    emit_mode: Mode = Field(
        "durable",
        description="durable: the spool first; direct: Kafka, the spool on trouble; sync: wait for Kafka",
    )
    spool_dir: Path = Field(
        Path(".data/spool"),
        description="a folder on a volume that outlives the process; for one Kafka cluster, shared by its services",
    )
    spool_max_mib: int = Field(1024, ge=1, le=1_048_576, description="waiting events of one process before SpoolFull")
    spool_max_age_h: float = Field(168, gt=0, le=8760, description="age of the oldest waiting event before SpoolFull")
    spool_full_wait_s: float = Field(
        0.0, ge=0, le=300, description="how long a caller waits for room before SpoolFull; 0: not at all"
    )
    spool_buffer_mib: int = Field(64, ge=1, le=16_384, description="events in memory that are not on the disk yet")
    adopt_interval_s: float = Field(
        15.0, ge=0, le=86_400, description="how often spools of dead processes are looked for; 0: never"
    )
    in_flight_events: int = Field(20_000, ge=1, le=1_000_000, description="events Kafka has not acknowledged yet")
    in_flight_mib: int = Field(64, ge=1, le=2047)
    linger_ms: int = Field(5, ge=0, le=1000, description="how long events wait for company on the way to Kafka")
    direct_patience_s: float = Field(
        2.0, gt=0, le=300, description="a direct event that waits longer for Kafka goes to the spool"
    )
    confirm_timeout_s: float = Field(
        10.0, gt=0, le=300, description="how long a sync emit waits for Kafka, and aemit for the disk"
    )
    exit_timeout_s: float = Field(5.0, ge=0, le=300, description="how long the end of the process waits for Kafka")
    handle_sigterm: bool = Field(
        default=True, description="where SIGTERM has no handler, end the interpreter in order instead of at once"
    )


class ProxySettings(Settings):
    """Whose word counts on where a request came from."""

    trusted_proxies: str = Field("", description="addresses or CIDRs, comma separated, whose Forwarded headers count")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        networks_of(value)
        return value

    @property
    def proxies(self) -> Networks:
        """The trusted proxies."""
        return networks_of(self.trusted_proxies)


__all__ = ["Mode", "ProducerSettings", "ProxySettings"]
