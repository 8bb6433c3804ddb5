"""The control tables: workspaces, keys and sign-in codes. SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, MetaData, String, Table

metadata = MetaData()

# Instants are milliseconds since 1970, UTC: the same on every database.
workspaces = Table(
    "workspaces",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(256), nullable=False),
    Column("plan", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("workspace_id", ForeignKey("workspaces.id"), nullable=False, index=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("prefix", String(16), nullable=False),
    Column("name", String(256), nullable=False),
    Column("scopes", String(256), nullable=False),
    Column("app_id", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)
sign_in_codes = Table(
    "sign_in_codes",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("workspace_id", ForeignKey("workspaces.id"), nullable=False),
    Column("user_id", String(128), nullable=False),
    Column("name", String(256), nullable=False),
    Column("email", String(320), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Column("reusable", Boolean, nullable=False),
)

__all__ = ["api_keys", "metadata", "sign_in_codes", "workspaces"]
