"""GPUs: which share of a batch a worker serves, and what a batch waits for."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what batches and workers did not know."""
    with op.batch_alter_table("worker") as table:
        table.add_column(sa.Column("gpu_share", sa.String(length=63)))
    with op.batch_alter_table("trial_batch") as table:
        table.add_column(sa.Column("waits_for", sa.Text(), nullable=False, server_default=""))
