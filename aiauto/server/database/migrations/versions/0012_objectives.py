"""Objectives in a table of their own: SQLite reads all of a batch to change one of its counts."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and move what there is."""
    op.create_table(
        "batch_objective",
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["trial_batch.id"],
            name=op.f("fk_batch_objective_batch_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_batch_objective")),
    )
    op.execute(
        "INSERT INTO batch_objective (batch_id, payload) SELECT id, objective FROM trial_batch"
    )
    # Not by Alembic, which copies the table on SQLite, and what hangs on it would be deleted.
    op.execute("ALTER TABLE trial_batch DROP COLUMN objective")
