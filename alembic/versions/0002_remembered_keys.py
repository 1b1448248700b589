"""Keys of requests that were answered with another's task.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

from core.store.types import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "remembered_key",
        sa.Column("system_code", sa.String(length=20), nullable=False, comment="Tenant"),
        sa.Column("idempotency_key", sa.String(length=128), nullable=False, comment="Its key"),
        sa.Column("task_id", sa.BigInteger(), nullable=False, comment="The task that was the answer"),
        sa.Column(
            "request_sha256", sa.String(length=64), nullable=False, comment="Hash of the canonical request"
        ),
        sa.Column("expires_at", UtcDateTime(), nullable=False, comment="When the key may be used anew"),
        sa.PrimaryKeyConstraint("system_code", "idempotency_key"),
        comment="Keys of requests that asked for the first of their dedup key",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_remembered_key_task_id"), "remembered_key", ["task_id"], unique=False)


def downgrade() -> None:
    """Drop the table."""
    op.drop_index(op.f("ix_remembered_key_task_id"), table_name="remembered_key")
    op.drop_table("remembered_key")
