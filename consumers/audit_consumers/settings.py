"""Everything the worker and the pipeline's commands can be told, from `AUDIT_*` variables."""

from __future__ import annotations

from pydantic import Field

from audit_infra.settings import ClickHouseSettings, KafkaSettings


class PipelineSettings(KafkaSettings, ClickHouseSettings):
    """What every command of the pipeline needs."""

    consumer_group: str = Field("audit-workers", pattern=r"^[A-Za-z0-9._-]{1,200}$")
    operator_workspace: str = Field(
        "operator",
        pattern=r"^[A-Za-z0-9_.:-]{1,64}$",
        description="the workspace in whose log the operators' commands are written down",
    )
    gap_after_s: float = Field(60.0, ge=0, description="a hole in a producer's numbers is reported from this age on")


class WorkerSettings(PipelineSettings):
    """The worker's settings. Times in the unit of their name."""

    worker_http_host: str = "127.0.0.1"
    worker_http_port: int = Field(9101, ge=0, le=65535, description="/healthz /readyz /metrics; 0 takes a free port")
    flush_ms: int = Field(1000, ge=10, le=15_000, description="linger of a batch while the engine keeps up")
    batch_rows: int = Field(50_000, ge=1, le=500_000)
    batch_bytes: int = Field(32 * 2**20, ge=65_536, le=256 * 2**20)
    inserters: int = Field(2, ge=1, le=32, description="inserts that run at the same time")
    insert_timeout_s: float = Field(60.0, gt=0, le=600)
    intent_max_age_ms: int = Field(10_000, ge=1000, le=60_000, description="an older intent is committed again")
    max_buffer_bytes: int = Field(
        256 * 2**20,
        ge=2**20,
        description="Kafka values in memory; partitions pause beyond it. The process takes about four times as much",
    )
    stop_timeout_s: float = Field(10.0, gt=0, le=300, description="to finish inserts on SIGTERM and on revocation")
    session_timeout_ms: int = Field(6000, ge=1000, le=60_000, description="longest session the group may have")
    gap_every_s: float = Field(15.0, ge=1, le=3600, description="how often producers' numbers are looked through")
    clock_skew_margin_ms: int = Field(1000, ge=0, le=60_000, description="0 where broker and worker share a host")
    bad_record_share: float = Field(0.5, gt=0, le=1)
    bad_record_window: int = Field(10_000, ge=100)
    bad_record_run: int = Field(5_000, ge=10)


__all__ = ["PipelineSettings", "WorkerSettings"]
