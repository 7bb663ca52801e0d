"""Artifacts that workers send, until it is known whether a trial has them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "artifact_upload",
        sa.Column("workspace_id", row_id, nullable=False),
        sa.Column("artifact_id", sa.String(length=36), nullable=False),
        sa.Column("worker_id", row_id),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspace.id"],
            name=op.f("fk_artifact_upload_workspace_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["worker_id"],
            ["worker.id"],
            name=op.f("fk_artifact_upload_worker_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "artifact_id", name=op.f("pk_artifact_upload")),
    )
    op.create_index(op.f("ix_artifact_upload_worker_id"), "artifact_upload", ["worker_id"])
