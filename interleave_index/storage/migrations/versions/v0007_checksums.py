"""Checksums of what is read together: vectors, boxes, masks, grounding; of passages; of calibrations.

They are filled in by `schema.upgrade`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
IS_DAMAGED = sa.text("vectors = -1")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "part_checksum",
        sa.Column("photo_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("space_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("vectors", sa.BigInteger(), nullable=False),
        sa.Column("boxes", sa.BigInteger(), nullable=False),
        sa.Column("masks", sa.BigInteger(), nullable=False),
        sa.Column("grounding", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_part_checksum_photo_id_photo")),
        sa.ForeignKeyConstraint(["space_id"], ["space.id"], name=op.f("fk_part_checksum_space_id_space")),
        sa.PrimaryKeyConstraint("photo_id", "space_id", name=op.f("pk_part_checksum")),
    )
    op.create_index(
        "ix_part_checksum_damaged",
        "part_checksum",
        ["space_id", "photo_id"],
        sqlite_where=IS_DAMAGED,
        postgresql_where=IS_DAMAGED,
    )
    op.create_table(
        "passage_checksum",
        sa.Column("passage_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("space_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("passage", sa.BigInteger(), nullable=False),
        sa.Column("phrases", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["passage_id"], ["passage.id"], name=op.f("fk_passage_checksum_passage_id_passage")),
        sa.ForeignKeyConstraint(["space_id"], ["space.id"], name=op.f("fk_passage_checksum_space_id_space")),
        sa.PrimaryKeyConstraint("passage_id", "space_id", name=op.f("pk_passage_checksum")),
    )
    op.create_table(
        "calibration_checksum",
        sa.Column("space_id", sa.Integer(), nullable=False),
        sa.Column("crc32", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["space_id"], ["space.id"], name=op.f("fk_calibration_checksum_space_id_space")),
        sa.PrimaryKeyConstraint("space_id", name=op.f("pk_calibration_checksum")),
    )


def downgrade() -> None:
    """Take them away."""
    for name in ("calibration_checksum", "passage_checksum", "part_checksum"):
        op.drop_table(name)
