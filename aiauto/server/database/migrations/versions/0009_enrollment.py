"""Tokens by which Pods become workers of a batch, and servers that share what they hear."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add which batch a token enters workers for, and when leases were heard of: none so far."""
    with op.batch_alter_table("token") as table:
        table.add_column(
            sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"))
        )
        table.create_foreign_key(
            "token_batch_id_fkey", "trial_batch", ["batch_id"], ["id"], ondelete="CASCADE"
        )
        table.create_index("ix_token_batch_id", ["batch_id"])
    with op.batch_alter_table("worker") as table:
        # Written as text, since SQLite would copy the table for anything that it has to work out.
        is_idle: sa.Column[bool] = sa.Column(
            "is_idle", sa.Boolean(), nullable=False, server_default="0"
        )
        table.add_column(is_idle)
    with op.batch_alter_table("lease") as table:
        table.add_column(sa.Column("heard_at", sa.DateTime(timezone=True)))
