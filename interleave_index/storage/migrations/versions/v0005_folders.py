"""In which index folder a FAISS file lies: a catalog in PostgreSQL has a folder on every machine. A new table only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "generation_folder",
        sa.Column("generation_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("folder", sa.String(length=32), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generation.id"], name=op.f("fk_generation_folder_generation_id_generation")
        ),
        sa.PrimaryKeyConstraint("generation_id", name=op.f("pk_generation_folder")),
    )
    op.create_index(op.f("ix_generation_folder_folder"), "generation_folder", ["folder"])


def downgrade() -> None:
    """Take the table away."""
    op.drop_table("generation_folder")
