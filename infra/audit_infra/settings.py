"""How every process is configured: one frozen object, read once, all problems reported together."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, NoReturn, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(ValueError):
    """The environment does not describe a process that can run; the text lists every problem."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Settings(BaseSettings):
    """Base of all settings: frozen, from `AUDIT_*` variables, secrets never printed."""

    model_config = SettingsConfigDict(env_prefix="AUDIT_", frozen=True, extra="ignore")

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Reads the environment once; raises `SettingsError` naming every bad variable, never its value."""
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise SettingsError(
                [f"AUDIT_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
            ) from None

    def effective(self) -> str:
        """The settings in force as JSON, secrets masked: what `--check` prints."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True)


class KafkaSettings(Settings):
    """Where Kafka is and how the topics are named."""

    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", description="host:port, comma separated")
    topic_prefix: str = Field("audit", pattern=r"^[a-z][a-z0-9_-]{0,40}$", description="topics are <prefix>.<category>")


class ClickHouseSettings(Settings):
    """Where ClickHouse is."""

    clickhouse_url: str = Field("http://127.0.0.1:8123", pattern=r"^https?://", description="HTTP address")
    clickhouse_database: str = Field("audit", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")
    clickhouse_user: str = "default"
    clickhouse_password: SecretStr = SecretStr("")


class ControlSettings(Settings):
    """Where workspaces, plans and keys are kept."""

    control_database_url: str = Field("sqlite:///.data/control.db", description="SQLAlchemy URL")


def exit_with(error: SettingsError) -> NoReturn:
    """Ends the process with a readable list of the problems and status 78 (EX_CONFIG of sysexits.h)."""
    print(f"audit-log: {len(error.problems)} settings are not usable:", *error.problems, sep="\n  ", file=sys.stderr)
    raise SystemExit(os.EX_CONFIG) from None


__all__ = ["ClickHouseSettings", "ControlSettings", "KafkaSettings", "Settings", "SettingsError", "exit_with"]
