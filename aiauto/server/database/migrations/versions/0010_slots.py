"""Which of a batch's places a worker has: one that replaces another has the same."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it. Of the workers so far nobody knows whom they replaced."""
    with op.batch_alter_table("worker") as table:
        table.add_column(sa.Column("slot", sa.Integer()))
