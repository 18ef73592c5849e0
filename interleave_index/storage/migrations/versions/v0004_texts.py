"""Text sources, their passages and vectors, full-text search over them and over file names; FAISS files of texts.

`schema.upgrade` takes the names of all photos into the full-text table afterwards. Texts inside the files of photos
that are indexed already are read by the next ingest.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PATH = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
WORDS = ("passage_words", "photo_words")


def upgrade() -> None:
    """Add the tables, and allow generations of texts."""
    op.create_table(
        "document",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("path", PATH, nullable=True),
        sa.Column("photo_id", BIG_ID, nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("language", sa.String(length=35), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("seen_at", sa.DateTime(), nullable=False),
        sa.CheckConstraint("state IN ('present', 'missing', 'failed')", name=op.f("ck_document_state")),
        sa.CheckConstraint("(path IS NULL) <> (photo_id IS NULL)", name=op.f("ck_document_one_place")),
        sa.CheckConstraint("state <> 'failed' OR reason IS NOT NULL", name=op.f("ck_document_failed_has_reason")),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_document_photo_id_photo")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document")),
        sa.UniqueConstraint("path", name=op.f("uq_document_path")),
        sa.UniqueConstraint("photo_id", name=op.f("uq_document_photo_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_document_sha256"), "document", ["sha256"])
    op.create_table(
        "passage",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("document_id", BIG_ID, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("phrases", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["document_id"], ["document.id"], name=op.f("fk_passage_document_id_document")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passage")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_passage_document_id"), "passage", ["document_id"])
    op.create_table(
        "passage_photo",
        sa.Column("passage_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("path", PATH, nullable=True),
        sa.Column("inline", sa.Boolean(), nullable=False),
        sa.Column("photo_id", BIG_ID, nullable=True),
        sa.ForeignKeyConstraint(["passage_id"], ["passage.id"], name=op.f("fk_passage_photo_passage_id_passage")),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_passage_photo_photo_id_photo")),
        sa.PrimaryKeyConstraint("passage_id", "position", name=op.f("pk_passage_photo")),
    )
    op.create_index(op.f("ix_passage_photo_path"), "passage_photo", ["path"])
    op.create_index(op.f("ix_passage_photo_photo_id"), "passage_photo", ["photo_id"])
    op.create_table(
        "passage_encoding",
        sa.Column("passage_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("space_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("passage", sa.LargeBinary(), nullable=False),
        sa.Column("phrases", sa.LargeBinary(), nullable=False),
        sa.Column("pictures", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["passage_id"], ["passage.id"], name=op.f("fk_passage_encoding_passage_id_passage")),
        sa.ForeignKeyConstraint(["space_id"], ["space.id"], name=op.f("fk_passage_encoding_space_id_space")),
        sa.PrimaryKeyConstraint("passage_id", "space_id", name=op.f("pk_passage_encoding")),
    )
    op.create_index("ix_passage_encoding_space_id_seq", "passage_encoding", ["space_id", "seq", "passage_id"])
    op.create_table(
        "passage_removal",
        sa.Column("space_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("passage_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["space_id"], ["space.id"], name=op.f("fk_passage_removal_space_id_space")),
        sa.PrimaryKeyConstraint("space_id", "seq", name=op.f("pk_passage_removal")),
    )
    op.create_table(
        "text_read",
        sa.Column("photo_id", BIG_ID, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_text_read_photo_id_photo")),
        sa.PrimaryKeyConstraint("photo_id", name=op.f("pk_text_read")),
    )
    _allow_generations(("image", "region", "text"))
    for name in WORDS:
        _make_words(name)


def downgrade() -> None:
    """Take the tables away, and all that they hold."""
    for name in WORDS:
        op.drop_table(name)
    op.execute("DELETE FROM generation WHERE kind = 'text'")
    _allow_generations(("image", "region"))
    for name in ("text_read", "passage_removal", "passage_encoding", "passage_photo", "passage", "document"):
        op.drop_table(name)


def _make_words(name: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE VIRTUAL TABLE {name} USING fts5(words, tokenize = 'porter unicode61 remove_diacritics 2')")
        return
    op.execute(
        f"CREATE TABLE {name} (id BIGINT NOT NULL, part INTEGER NOT NULL, words TSVECTOR NOT NULL, "
        f"CONSTRAINT pk_{name} PRIMARY KEY (id, part))"
    )
    op.execute(f"CREATE INDEX ix_{name}_words ON {name} USING gin (words)")


def _allow_generations(kinds: tuple[str, ...]) -> None:
    """Make the table of FAISS files anew with these kinds: SQLite cannot change a constraint in place."""
    names = ", ".join(f"'{kind}'" for kind in kinds)
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f("ck_generation_kind"), "generation")
        op.create_check_constraint(op.f("ck_generation_kind"), "generation", f"kind IN ({names})")
        return
    op.rename_table("generation", "generation_before")
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
        sa.CheckConstraint(f"kind IN ({names})", name=op.f("ck_generation_kind")),
        sa.CheckConstraint("state IN ('live', 'retired')", name=op.f("ck_generation_state")),
        sa.ForeignKeyConstraint(["space_id"], ["space.id"], name=op.f("fk_generation_space_id_space")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generation")),
        sa.UniqueConstraint("file", name=op.f("uq_generation_file")),
    )
    op.execute("INSERT INTO generation SELECT * FROM generation_before")
    op.drop_table("generation_before")
