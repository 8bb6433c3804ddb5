"""What the Events API keeps: retry keys, custom types, and counts of refused events.

"If not exists": databases from before there were revisions may have these tables, just so.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "event_keys",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("attempt", sa.String(32), nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("content", sa.String(32), nullable=False),
        sa.Column("occurred_at", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.Column("kept_until", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_index("event_keys_kept_until", "event_keys", ["kept_until"], if_not_exists=True)
    op.create_table(
        "event_types",
        sa.Column("workspace_id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(96), primary_key=True),
        sa.Column("label", sa.String(80), nullable=False),
        sa.Column("app_id", sa.String(64), nullable=False),
        sa.Column("first_used_at", sa.BigInteger),
        sa.Column("schema", sa.Text, nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "refused_events",
        sa.Column("workspace_id", sa.String(64), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("app_id", sa.String(64), primary_key=True),
        sa.Column("reason", sa.String(32), primary_key=True),
        sa.Column("events", sa.Integer().with_variant(sa.BigInteger, "postgresql"), nullable=False),
        if_not_exists=True,
    )
