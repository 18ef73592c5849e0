"""Pixels of photos that were forgotten for good, so that an edit of a file's facts does not bring one back.

A new table only. What was forgotten before is known by its content alone, as it was.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "forgotten_pixels",
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("pixels", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("content", name=op.f("pk_forgotten_pixels")),
    )


def downgrade() -> None:
    """Take the table away."""
    op.drop_table("forgotten_pixels")
