"""Users who may make and remove others, and users who are kept out."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the user of the machine that the server runs on its admin; there was nobody else."""
    with op.batch_alter_table("user_account") as table:
        # Written as text, since SQLite would copy the table for anything that it has to work out.
        for name in ("is_admin", "disabled"):
            table.add_column(sa.Column(name, sa.Boolean(), nullable=False, server_default="0"))
    user = sa.table(
        "user_account", sa.column("name", sa.String()), sa.column("is_admin", sa.Boolean())
    )
    op.execute(sa.update(user).where(user.c.name == "local").values(is_admin=True))
