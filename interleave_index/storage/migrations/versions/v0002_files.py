"""What was forgotten for good, hashes of pixels, and checksums of encodings. New tables only.

Files that could not be read are tried once more, since more kinds are read by now. An index of the first schema that
may only be read is searched as it is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PATH = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the tables, and give failed files a time that no file has, so that the next ingest tries them again."""
    op.execute("UPDATE location SET mtime_ns = -1 WHERE state = 'failed'")
    op.create_table(
        "exclusion",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", PATH, nullable=False),
        sa.Column("shown", sa.Text(), nullable=True),
        sa.Column("made_at", sa.DateTime(), nullable=False),
        sa.CheckConstraint("kind IN ('file', 'folder', 'content')", name=op.f("ck_exclusion_kind")),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_exclusion")),
    )
    op.create_table(
        "pixels",
        sa.Column("photo_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_pixels_photo_id_photo")),
        sa.PrimaryKeyConstraint("photo_id", name=op.f("pk_pixels")),
    )
    op.create_table(
        "checksum",
        sa.Column("photo_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("space_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("crc32", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_checksum_photo_id_photo")),
        sa.ForeignKeyConstraint(["space_id"], ["space.id"], name=op.f("fk_checksum_space_id_space")),
        sa.PrimaryKeyConstraint("photo_id", "space_id", name=op.f("pk_checksum")),
    )


def downgrade() -> None:
    """Take the tables away, and all that they hold."""
    for name in ("checksum", "pixels", "exclusion"):
        op.drop_table(name)
