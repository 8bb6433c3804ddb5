"""Everything the query service can be told, from `AUDIT_*` variables."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from audit_infra.http.rates import Rate
from audit_infra.settings import ClickHouseSettings, ControlSettings, TokenSettings
from audit_producers import ProducerSettings
from audit_producers.settings import ProxySettings
from audit_query.budgets import Budget


class SelfAuditSettings(ProducerSettings):
    """What is recorded of the log's own use, and the producer that records it. Times in the unit of their name."""

    self_audit: bool = Field(default=True, description="record views, searches, exports and changes in the log itself")
    self_audit_every_s: float = Field(3600.0, gt=0, description="a session's view is told once in this time")
    self_audit_remembered: int = Field(10_000, ge=1, description="sessions, and searches, known to have been told")


class ExportSettings(ClickHouseSettings, ControlSettings, SelfAuditSettings):
    """What the query service and the export workers must agree on. Times in the unit of their name."""

    exports_dir: Path = Field(Path(".data/exports"), description="where the files of export jobs are; all see the same")
    export_days: int = Field(7, ge=1, le=3650, description="how long the files of a job are kept")
    export_timeout_s: float = Field(3600.0, gt=0, le=86_400, description="how long a stream or a part may take")
    export_max_memory_mib: int = Field(2048, ge=16, le=1_048_576, description="memory a stream or a part may take")
    gap_after_s: float = Field(60.0, ge=0, description="a hole in a producer's numbers is told from this age on")

    @property
    def export_budget(self) -> Budget:
        """Of a stream or a part."""
        return Budget(self.export_timeout_s, self.export_max_memory_mib)


class SigningKeySettings(ControlSettings):
    """Where the keys are that manifests are signed with."""

    export_keys_dir: Path = Field(Path(".data/signing-keys"), description="private keys; readable by the workers alone")


class ExportWorkerSettings(ExportSettings, SigningKeySettings):
    """An export worker's settings. Times in the unit of their name."""

    export_part_rows: int = Field(1_000_000, ge=1, le=1_000_000, description="events in one part")
    export_running: int = Field(2, ge=1, le=100, description="jobs of a workspace that may run at the same time")
    export_lease_s: float = Field(
        10.0, gt=0, le=600, description="without a sign of life for so long, a job is taken over"
    )
    export_poll_s: float = Field(1.0, gt=0, le=60, description="how often an idle worker looks for work")
    export_tries: int = Field(8, ge=1, le=10_000, description="attempts in a row that may end without a finished part")
    export_backoff_s: float = Field(5.0, ge=0, le=600, description="wait after a failed attempt; doubles with each")


class QuerySettings(ExportSettings, TokenSettings, ProxySettings):
    """The query service's settings. Times in the unit of their name."""

    query_host: str = "127.0.0.1"
    query_port: int = Field(8080, ge=0, le=65535)
    signing_keys: SecretStr = Field(description="comma separated, newest first; for cursors, sessions and forms")
    upgrade_url: str = Field("/upgrade?workspace={workspace}", description="{workspace} is filled in")
    sign_in_url: str = Field("", description="where people sign in, linked when nobody is; {return} is filled in")
    events_docs_url: str = Field("", description="address of the Events API's reference, linked from the page's help")
    local: bool = Field(default=False, description="serve the demo host shell and the plan switch; never in production")
    query_timeout_s: float = Field(10.0, gt=0, le=300, description="how long a query may take")
    query_max_rows: int = Field(50_000_000, ge=1, description="rows a query may read")
    query_max_memory_mib: int = Field(1024, ge=16, le=1_048_576, description="memory a query may take")
    export_queued: int = Field(20, ge=1, le=10_000, description="export jobs of a workspace that may wait")
    rate_limit_key: str = Field("600/minute", description="requests per key, or per person of a token or session")
    rate_limit_workspace: str = Field("1200/minute", description="requests per workspace")
    rate_limit_failures: str = Field("60/minute", description="failed credentials per address")
    max_parallel: int = Field(8, ge=1, le=10_000, description="requests of a workspace served at the same time")
    late_after_s: float = Field(60.0, gt=0, description="an event that arrives later than this is marked late")
    freshness_cache_s: float = Field(0.5, ge=0, le=10, description="how old `complete_through` may be when it is told")
    lag_window_s: float = Field(300.0, gt=0, le=86_400, description="the lag is that of the events stored since then")
    facet_timeout_s: float = Field(1.0, gt=0, le=60, description="then a facet leaves the filters out")
    facet_rows: int = Field(20_000_000, gt=0, description="rows a facet may read; with more it leaves the filters out")
    facet_newest_rows: int = Field(200_000, gt=0, description="rows of the range where even that is too much")
    copies_inline_rows: int = Field(1_000_000, ge=0, description="larger workspaces are looked through meanwhile")
    copies_most: int = Field(2_000, gt=0, le=4_000, description="events sent twice that are known of a workspace")
    copies_workspaces: int = Field(1_000, gt=0, description="workspaces of which those are known")
    stream_poll_s: float = Field(0.3, gt=0, le=10, description="how often streams look for new events")
    stream_heartbeat_s: float = Field(
        15.0, gt=0, description="a stream says that it is there after this long a silence"
    )
    stream_check_s: float = Field(5.0, gt=0, description="how often a stream's credential and plan are checked again")
    streams_per_workspace: int = Field(20, ge=1, description="streams of a workspace open at once, in one process")

    @field_validator("signing_keys")
    @classmethod
    def _some_key(cls, value: SecretStr) -> SecretStr:
        if any(len(key) < 16 for key in cls.keys(value)):
            raise ValueError("needs at least one key, each of 16 characters or more")
        return value

    @field_validator("rate_limit_key", "rate_limit_workspace", "rate_limit_failures")
    @classmethod
    def _rate(cls, value: str) -> str:
        try:
            Rate.of(value)
        except ValueError:
            raise ValueError("is not a rate such as 600/minute") from None
        return value

    @property
    def budget(self) -> Budget:
        """Of what is answered at once."""
        return Budget(self.query_timeout_s, self.query_max_memory_mib, self.query_max_rows)

    @property
    def facet_budget(self) -> Budget:
        """Of a facet or histogram, before less is counted."""
        return Budget(self.facet_timeout_s, self.query_max_memory_mib, self.facet_rows)

    @staticmethod
    def keys(value: SecretStr) -> list[str]:
        """The keys, newest first."""
        return [key.strip() for key in value.get_secret_value().split(",")]


__all__ = ["ExportSettings", "ExportWorkerSettings", "QuerySettings", "SelfAuditSettings", "SigningKeySettings"]
