"""Batches that end early, trials that are run again, and why trials failed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what batches and leases did not know."""
    with op.batch_alter_table("trial_batch") as table:
        table.add_column(sa.Column("deadline_at", sa.DateTime(timezone=True)))
        table.add_column(sa.Column("trial_timeout", sa.Float()))
        table.add_column(sa.Column("max_retries", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("patience", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(
            sa.Column("stagnant_trials", sa.Integer(), nullable=False, server_default="0")
        )
        table.add_column(
            sa.Column("stop_reason", sa.String(length=32), nullable=False, server_default="")
        )
    with op.batch_alter_table("lease") as table:
        table.add_column(sa.Column("attempt", sa.Integer(), nullable=False, server_default="1"))
        table.add_column(
            sa.Column("reason", sa.String(length=32), nullable=False, server_default="")
        )
    op.create_table(
        "retry",
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("trial_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["trial_batch.id"],
            name=op.f("fk_retry_batch_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("batch_id", "trial_id", name=op.f("pk_retry")),
    )
