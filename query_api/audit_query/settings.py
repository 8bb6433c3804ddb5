"""Everything the query service can be told, from `AUDIT_*` variables."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from audit_infra.settings import ClickHouseSettings, ControlSettings


class QuerySettings(ClickHouseSettings, ControlSettings):
    """The query service's settings. Times in the unit of their name."""

    query_host: str = "127.0.0.1"
    query_port: int = Field(8080, ge=0, le=65535)
    topic_prefix: str = Field("audit", pattern=r"^[a-z][a-z0-9_-]{0,40}$")
    signing_keys: SecretStr = Field(description="comma separated, newest first; for cursors, sessions and forms")
    jwt_secret: SecretStr = Field(SecretStr(""), description="HS256 secret of the host product; empty takes no JWT")
    upgrade_url: str = Field("/upgrade?workspace={workspace}", description="{workspace} is filled in")
    events_docs_url: str = Field("", description="address of the Events API's reference, linked from the page's help")
    local: bool = Field(default=False, description="serve the demo host shell and the plan switch; never in production")
    query_timeout_s: float = Field(10.0, gt=0, le=300)
    late_after_s: float = Field(60.0, gt=0, description="an event that arrives later than this is marked late")
    gap_after_s: float = Field(60.0, ge=0, description="a hole in a producer's numbers is told from this age on")

    @field_validator("signing_keys")
    @classmethod
    def _some_key(cls, value: SecretStr) -> SecretStr:
        if any(len(key) < 16 for key in cls.keys(value)):
            raise ValueError("needs at least one key, each of 16 characters or more")
        return value

    @staticmethod
    def keys(value: SecretStr) -> list[str]:
        """The keys, newest first."""
        return [key.strip() for key in value.get_secret_value().split(",")]


__all__ = ["QuerySettings"]
