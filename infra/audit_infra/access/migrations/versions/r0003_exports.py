"""Exports, the parts of their files, and the public keys that their manifests are signed with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "exports",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("workspace_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("key", sa.String(128)),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("asked", sa.Text, nullable=False),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("fixed", sa.Text),
        sa.Column("attempts", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("worker", sa.String(64)),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("manifest", sa.LargeBinary),
        sa.Column("signature", sa.LargeBinary),
        sa.Column("unsigned", sa.Boolean, nullable=False),
        sa.Column("untold", sa.Boolean, nullable=False),
        sa.Column("has_files", sa.Boolean, nullable=False),
        sa.UniqueConstraint("workspace_id", "key", name="exports_key"),
    )
    op.create_index("exports_by_workspace", "exports", ["workspace_id", "kind", "requested_at", "id"])
    op.create_index("exports_by_state", "exports", ["kind", "state"])
    op.create_index("exports_by_turn", "exports", ["turn"])
    op.create_index("exports_turn_of_workspace", "exports", ["workspace_id", "turn"])
    op.create_index("exports_unsigned", "exports", ["unsigned"])
    op.create_index("exports_untold", "exports", ["untold"])
    op.create_index("exports_with_files", "exports", ["has_files", "expires_at"])
    op.create_table(
        "export_parts",
        sa.Column("export_id", sa.String(32), sa.ForeignKey("exports.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("stored", sa.String(80), nullable=False),
        sa.Column("rows", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("content_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("collapsed", sa.BigInteger, nullable=False),
        sa.Column("guarded", sa.BigInteger, nullable=False),
        sa.Column("first_at", sa.BigInteger),
        sa.Column("first_id", sa.String(36)),
        sa.Column("last_at", sa.BigInteger),
        sa.Column("last_id", sa.String(36)),
        sa.Column("next_at", sa.BigInteger),
        sa.Column("next_id", sa.String(36)),
    )
    op.create_table(
        "signing_keys",
        sa.Column("key_id", sa.String(16), primary_key=True),
        sa.Column("public_key_pem", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("retired_at", sa.BigInteger),
    )
