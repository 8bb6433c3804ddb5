"""The tables of exports, in the control database."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

# Instants are milliseconds since 1970, UTC; keys of events have microseconds. What is never looked for is JSON.
exports = Table(
    "exports",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("workspace_id", String(64), nullable=False),
    # job or stream.
    Column("kind", String(8), nullable=False),
    Column("state", String(16), nullable=False),
    # The Idempotency-Key, and a hash of what was asked with it.
    Column("key", String(128)),
    Column("body_hash", String(64), nullable=False),
    Column("asked", Text, nullable=False),
    Column("requested_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("expires_at", BigInteger),
    # What was decided when it started, and holds for all of its parts.
    Column("fixed", Text),
    Column("attempts", Text, nullable=False),
    Column("error", Text),
    # The lease: who works on it; which claim this is, ever growing; and a number that the holder keeps counting up.
    Column("worker", String(64)),
    Column("generation", BigInteger, nullable=False),
    Column("beat", BigInteger, nullable=False),
    # When it was claimed last, counted over all claims.
    Column("turn", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("manifest", LargeBinary),
    Column("signature", LargeBinary),
    # Work that is left after its end: signing, recording it in the log, deleting its files.
    Column("unsigned", Boolean, nullable=False),
    Column("untold", Boolean, nullable=False),
    Column("has_files", Boolean, nullable=False),
    UniqueConstraint("workspace_id", "key", name="exports_key"),
    Index("exports_by_workspace", "workspace_id", "kind", "requested_at", "id"),
    Index("exports_by_state", "kind", "state"),
    Index("exports_by_turn", "turn"),
    Index("exports_turn_of_workspace", "workspace_id", "turn"),
    Index("exports_unsigned", "unsigned"),
    Index("exports_untold", "untold"),
    Index("exports_with_files", "has_files", "expires_at"),
)
export_parts = Table(
    "export_parts",
    metadata,
    Column("export_id", ForeignKey("exports.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    # The name of the file in the export's folder.
    Column("stored", String(80), nullable=False),
    Column("rows", BigInteger),
    Column("bytes", BigInteger, nullable=False),
    Column("content_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("collapsed", BigInteger, nullable=False),
    Column("guarded", BigInteger, nullable=False),
    Column("first_at", BigInteger),
    Column("first_id", String(36)),
    Column("last_at", BigInteger),
    Column("last_id", String(36)),
    # Where the next part begins; null when this is the last one.
    Column("next_at", BigInteger),
    Column("next_id", String(36)),
)
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("public_key_pem", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("retired_at", BigInteger),
)

__all__ = ["export_parts", "exports", "metadata", "signing_keys"]
