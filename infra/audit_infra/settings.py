"""How every process is configured: one frozen object, read once, all problems reported together."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, NoReturn, Self

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PUBLIC_KEY_ALGORITHMS = frozenset(f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)) | {
    "EdDSA"
}


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


class TokenSettings(Settings):
    """Whose tokens are taken. Either a secret or the address of an issuer's keys; neither takes no tokens."""

    jwt_secret: SecretStr = Field(SecretStr(""), description="HS256 secret of the host product, where it is local")
    jwt_issuer: str = Field("portal", min_length=1, description="`iss` of the tokens")
    jwt_audience: str = Field("audit-log", min_length=1, description="`aud` of the tokens")
    jwks_url: str = Field("", pattern=r"^(https?://.+)?$", description="address of the issuer's JSON Web Key Set")
    jwt_algorithms: str = Field("RS256,ES256,EdDSA", description="algorithms taken with keys, comma separated")
    jwks_max_age_s: float = Field(300.0, gt=0, le=86_400, description="how long a key that was taken back may work on")
    jwks_refetch_s: float = Field(10.0, ge=0, le=3600, description="how often at most keys are fetched")
    jwks_timeout_s: int = Field(5, ge=1, le=60, description="how long the issuer may take to answer")

    @field_validator("jwt_algorithms")
    @classmethod
    def _public_key_algorithms(cls, value: str) -> str:
        if unknown := sorted(set(_split(value)) - PUBLIC_KEY_ALGORITHMS) or not _split(value):
            raise ValueError(f"takes {', '.join(sorted(PUBLIC_KEY_ALGORITHMS))}, not {unknown or 'nothing'}")
        return value

    @field_validator("jwks_url")
    @classmethod
    def _one_way(cls, value: str, info: ValidationInfo) -> str:
        secret = info.data.get("jwt_secret")
        if value and secret is not None and secret.get_secret_value():
            raise ValueError("set AUDIT_JWT_SECRET or AUDIT_JWKS_URL, not both")
        return value

    @field_validator("jwks_refetch_s")
    @classmethod
    def _in_time(cls, value: float, info: ValidationInfo) -> float:
        if value > info.data.get("jwks_max_age_s", value) / 2:
            raise ValueError("must be at most half of AUDIT_JWKS_MAX_AGE_S")
        return value

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What a token may be signed with when it is verified by a public key."""
        return _split(self.jwt_algorithms)


def _split(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def exit_with(error: SettingsError) -> NoReturn:
    """Ends the process with a readable list of the problems and status 78 (EX_CONFIG of sysexits.h)."""
    print(f"audit-log: {len(error.problems)} settings are not usable:", *error.problems, sep="\n  ", file=sys.stderr)
    raise SystemExit(os.EX_CONFIG) from None


__all__ = [
    "ClickHouseSettings",
    "ControlSettings",
    "KafkaSettings",
    "Settings",
    "SettingsError",
    "TokenSettings",
    "exit_with",
]
