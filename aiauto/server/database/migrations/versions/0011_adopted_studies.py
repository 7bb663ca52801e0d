"""Whether a study was made in the Optuna storage itself, and nobody has defined it since."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it. The studies so far were all defined."""
    with op.batch_alter_table("study") as table:
        # Written as text, since SQLite would copy the table for anything that it has to work out.
        table.add_column(sa.Column("adopted", sa.Boolean(), nullable=False, server_default="0"))
