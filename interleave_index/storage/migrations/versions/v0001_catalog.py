"""The first schema: catalog, photos and their locations, spaces, encodings, generations."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PATH = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make every table of an empty catalog."""
    _catalog_and_photos()
    _spaces()
    _encodings()
    _generations()
    catalog = sa.table("catalog", sa.column("id"), sa.column("change"), sa.column("created_at", sa.DateTime))
    op.execute(sa.insert(catalog).values(id=1, change=0, created_at=datetime.now()))


def downgrade() -> None:
    """Take every table away, and all that they hold."""
    for name in (
        "generation",
        "removal",
        "region_mask",
        "encoding",
        "calibration",
        "space",
        "location",
        "photo",
        "catalog",
    ):
        op.drop_table(name)


def _catalog_and_photos() -> None:
    op.create_table(
        "catalog",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog")),
    )
    op.create_table(
        "photo",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("format", sa.String(length=32), nullable=False),
        sa.Column("taken_at", sa.DateTime(), nullable=True),
        sa.Column("camera", sa.Text(), nullable=True),
        sa.Column("lens", sa.Text(), nullable=True),
        sa.Column("latitude", sa.Float(precision=53), nullable=True),
        sa.Column("longitude", sa.Float(precision=53), nullable=True),
        sa.Column("phash", sa.BigInteger(), nullable=True),
        sa.Column("added_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo")),
        sa.UniqueConstraint("sha256", name=op.f("uq_photo_sha256")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_photo_taken_at"), "photo", ["taken_at"], unique=False)
    op.create_table(
        "location",
        sa.Column("path", PATH, nullable=False),
        sa.Column("photo_id", BIG_ID, nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("seen_at", sa.DateTime(), nullable=False),
        sa.CheckConstraint(
            "state <> 'failed' OR (photo_id IS NULL AND reason IS NOT NULL)", name=op.f("ck_location_failed_has_reason")
        ),
        sa.CheckConstraint("state <> 'present' OR photo_id IS NOT NULL", name=op.f("ck_location_present_has_photo")),
        sa.CheckConstraint("state IN ('present', 'missing', 'failed')", name=op.f("ck_location_state")),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_location_photo_id_photo")),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_location")),
    )
    op.create_index(op.f("ix_location_photo_id"), "location", ["photo_id"], unique=False)


def _spaces() -> None:
    op.create_table(
        "space",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("interface", sa.String(length=128), nullable=False),
        sa.Column("checkpoint", sa.String(length=128), nullable=False),
        sa.Column("preprocessing", sa.Text(), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('building', 'active', 'retired')", name=op.f("ck_space_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_space")),
        sa.UniqueConstraint(
            "interface",
            "checkpoint",
            "preprocessing",
            "dim",
            name=op.f("uq_space_interface_checkpoint_preprocessing_dim"),
        ),
    )
    op.create_table(
        "calibration",
        sa.Column("space_id", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.DateTime(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["space_id"], ["space.id"], name=op.f("fk_calibration_space_id_space")),
        sa.PrimaryKeyConstraint("space_id", name=op.f("pk_calibration")),
    )


def _encodings() -> None:
    op.create_table(
        "encoding",
        sa.Column("photo_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("space_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("region_count", sa.Integer(), nullable=False),
        sa.Column("image", sa.LargeBinary(), nullable=False),
        sa.Column("regions", sa.LargeBinary(), nullable=False),
        sa.Column("boxes", sa.LargeBinary(), nullable=False),
        sa.Column("areas", sa.LargeBinary(), nullable=False),
        sa.Column("scores", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_encoding_photo_id_photo")),
        sa.ForeignKeyConstraint(["space_id"], ["space.id"], name=op.f("fk_encoding_space_id_space")),
        sa.PrimaryKeyConstraint("photo_id", "space_id", name=op.f("pk_encoding")),
    )
    op.create_index(
        "ix_encoding_space_id_seq", "encoding", ["space_id", "seq", "photo_id", "region_count"], unique=False
    )
    op.create_table(
        "region_mask",
        sa.Column("photo_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("space_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("masks", sa.LargeBinary(), nullable=False),
        sa.Column("grounding", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_region_mask_photo_id_photo")),
        sa.ForeignKeyConstraint(["space_id"], ["space.id"], name=op.f("fk_region_mask_space_id_space")),
        sa.PrimaryKeyConstraint("photo_id", "space_id", name=op.f("pk_region_mask")),
    )


def _generations() -> None:
    op.create_table(
        "removal",
        sa.Column("space_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("photo_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["space_id"], ["space.id"], name=op.f("fk_removal_space_id_space")),
        sa.PrimaryKeyConstraint("space_id", "seq", name=op.f("pk_removal")),
    )
    op.create_table(
        "generation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("space_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("file", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("made_at", sa.DateTime(), nullable=False),
        sa.CheckConstraint("kind IN ('image', 'region')", name=op.f("ck_generation_kind")),
        sa.CheckConstraint("state IN ('live', 'retired')", name=op.f("ck_generation_state")),
        sa.ForeignKeyConstraint(["space_id"], ["space.id"], name=op.f("fk_generation_space_id_space")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generation")),
        sa.UniqueConstraint("file", name=op.f("uq_generation_file")),
    )
