"""Tokens: what each is for, how it begins, how long it lasts, and when it was last used."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what their owner is told, and how long those that there are were to last."""
    with op.batch_alter_table("token") as table:
        table.add_column(
            sa.Column("name", sa.String(length=100), nullable=False, server_default="")
        )
        table.add_column(sa.Column("hint", sa.String(length=16), nullable=False, server_default=""))
        table.add_column(sa.Column("lifetime_seconds", sa.BigInteger()))
        table.add_column(sa.Column("last_used_at", sa.DateTime(timezone=True)))
    moment = sa.DateTime(timezone=True)
    token = sa.table(
        "token",
        sa.column("id", sa.BigInteger()),
        sa.column("lifetime_seconds", sa.BigInteger()),
        sa.column("created_at", moment),
        sa.column("expires_at", moment),
    )
    connection = op.get_bind()
    lasting = sa.select(token.c.id, token.c.created_at, token.c.expires_at).where(
        token.c.expires_at.is_not(None)
    )
    for id_, created_at, expires_at in connection.execute(lasting).all():
        seconds = round((expires_at - created_at).total_seconds())
        connection.execute(
            sa.update(token).where(token.c.id == id_).values(lifetime_seconds=seconds)
        )
