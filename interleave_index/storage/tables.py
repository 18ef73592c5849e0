"""The catalog's tables as SQLAlchemy models; see docs/storage.md for what a row means. Knows no queries."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
# SQLite numbers rows by itself only for a column that is called INTEGER, which holds 64 bits there.
BigId = BigInteger().with_variant(Integer, "sqlite")
# Ranges over paths stand for "below this folder", so that they must sort by code point everywhere.
PathText = Text().with_variant(Text(collation="C"), "postgresql")

IS_DAMAGED = text("vectors = -1")


class Base(DeclarativeBase):
    """Base of every table, with one naming convention so that migrations can name constraints."""

    metadata = MetaData(naming_convention=NAMES)


class CatalogRow(Base):
    """The one row of the catalog itself; `change` is raised by every transaction that writes."""

    __tablename__ = "catalog"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    change: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(DateTime)


class PhotoRow(Base):
    """One distinct picture, by content. An id is never used twice."""

    __tablename__ = "photo"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    format: Mapped[str] = mapped_column(String(32))
    taken_at: Mapped[datetime | None] = mapped_column(DateTime, index=True)
    camera: Mapped[str | None] = mapped_column(Text)
    lens: Mapped[str | None] = mapped_column(Text)
    latitude: Mapped[float | None] = mapped_column(Float(53))
    longitude: Mapped[float | None] = mapped_column(Float(53))
    phash: Mapped[int | None] = mapped_column(BigInteger)
    added_at: Mapped[datetime] = mapped_column(DateTime)


class LocationRow(Base):
    """One path, in exactly one state."""

    __tablename__ = "location"
    __table_args__ = (
        CheckConstraint("state IN ('present', 'missing', 'failed')", name="state"),
        CheckConstraint("state <> 'present' OR photo_id IS NOT NULL", name="present_has_photo"),
        CheckConstraint("state <> 'failed' OR (photo_id IS NULL AND reason IS NOT NULL)", name="failed_has_reason"),
    )

    path: Mapped[str] = mapped_column(PathText, primary_key=True)
    photo_id: Mapped[int | None] = mapped_column(ForeignKey("photo.id"), index=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[str | None] = mapped_column(Text)
    seen_at: Mapped[datetime] = mapped_column(DateTime)


class SpaceTable(Base):
    """One embedding space; `seq` counts every encoding written and every removal in it."""

    __tablename__ = "space"
    __table_args__ = (
        UniqueConstraint("interface", "checkpoint", "preprocessing", "dim"),
        CheckConstraint("state IN ('building', 'active', 'retired')", name="state"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    interface: Mapped[str] = mapped_column(String(128))
    checkpoint: Mapped[str] = mapped_column(String(128))
    preprocessing: Mapped[str] = mapped_column(Text)
    dim: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16))
    seq: Mapped[int] = mapped_column(BigInteger)


class CalibrationRow(Base):
    """How scores of a space are made comparable; bytes that only the query package reads."""

    __tablename__ = "calibration"

    space_id: Mapped[int] = mapped_column(ForeignKey("space.id"), primary_key=True)
    made_at: Mapped[datetime] = mapped_column(DateTime)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class CalibrationChecksumRow(Base):
    """Checksum of the calibration of one space; see `checksums`."""

    __tablename__ = "calibration_checksum"

    space_id: Mapped[int] = mapped_column(ForeignKey("space.id"), primary_key=True)
    crc32: Mapped[int] = mapped_column(BigInteger)


class EncodingRow(Base):
    """The vectors of one photo in one space, as little-endian arrays (fp16 vectors, float32 boxes, areas, scores)."""

    __tablename__ = "encoding"
    __table_args__ = (Index("ix_encoding_space_id_seq", "space_id", "seq", "photo_id", "region_count"),)

    photo_id: Mapped[int] = mapped_column(ForeignKey("photo.id"), primary_key=True, autoincrement=False)
    space_id: Mapped[int] = mapped_column(ForeignKey("space.id"), primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    region_count: Mapped[int] = mapped_column(Integer)
    image: Mapped[bytes] = mapped_column(LargeBinary)
    regions: Mapped[bytes] = mapped_column(LargeBinary)
    boxes: Mapped[bytes] = mapped_column(LargeBinary)
    areas: Mapped[bytes] = mapped_column(LargeBinary)
    scores: Mapped[bytes] = mapped_column(LargeBinary)


class RegionMaskRow(Base):
    """Masks of one photo's regions, apart so that scans of vectors never drag them along."""

    __tablename__ = "region_mask"

    photo_id: Mapped[int] = mapped_column(ForeignKey("photo.id"), primary_key=True, autoincrement=False)
    space_id: Mapped[int] = mapped_column(ForeignKey("space.id"), primary_key=True, autoincrement=False)
    masks: Mapped[bytes] = mapped_column(LargeBinary)
    grounding: Mapped[bytes | None] = mapped_column(LargeBinary)


class ExclusionRow(Base):
    """Something that was forgotten and is not to be taken in again: a file, all below a folder, or a content.

    `name` is a stored path or a sha256; `shown` is where a content lay when it was forgotten.
    """

    __tablename__ = "exclusion"
    __table_args__ = (CheckConstraint("kind IN ('file', 'folder', 'content')", name="kind"),)

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(PathText, primary_key=True)
    shown: Mapped[str | None] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(DateTime)


class ForgottenPixelsRow(Base):
    """Hash of the pixels of a content that was forgotten (`content`, a sha256): its edits are left out as well."""

    __tablename__ = "forgotten_pixels"

    content: Mapped[str] = mapped_column(String(64), primary_key=True)
    pixels: Mapped[str] = mapped_column(String(64))


class PixelsRow(Base):
    """Hash of a photo's pixels as the model saw them: tells an edit of its facts from one of the picture."""

    __tablename__ = "pixels"

    photo_id: Mapped[int] = mapped_column(ForeignKey("photo.id"), primary_key=True, autoincrement=False)
    sha256: Mapped[str] = mapped_column(String(64))


class ChecksumRow(Base):
    """CRC-32 over the blobs of an encoding and its masks, in the order of `blobs.CHECKED`; only `verify` reads it."""

    __tablename__ = "checksum"

    photo_id: Mapped[int] = mapped_column(ForeignKey("photo.id"), primary_key=True, autoincrement=False)
    space_id: Mapped[int] = mapped_column(ForeignKey("space.id"), primary_key=True, autoincrement=False)
    crc32: Mapped[int] = mapped_column(BigInteger)


class PartChecksumRow(Base):
    """Checksums of an encoding, one for each part that is read by itself: see `checksums`.

    -1 is the checksum of nothing: the part is known to be damaged.
    """

    __tablename__ = "part_checksum"
    __table_args__ = (
        Index("ix_part_checksum_damaged", "space_id", "photo_id", sqlite_where=IS_DAMAGED, postgresql_where=IS_DAMAGED),
    )

    photo_id: Mapped[int] = mapped_column(ForeignKey("photo.id"), primary_key=True, autoincrement=False)
    space_id: Mapped[int] = mapped_column(ForeignKey("space.id"), primary_key=True, autoincrement=False)
    vectors: Mapped[int] = mapped_column(BigInteger)
    boxes: Mapped[int] = mapped_column(BigInteger)
    masks: Mapped[int] = mapped_column(BigInteger)
    grounding: Mapped[int | None] = mapped_column(BigInteger)


class RemovalRow(Base):
    """One photo taken out, or encoded again, since the oldest live generation; its photo may be gone."""

    __tablename__ = "removal"

    space_id: Mapped[int] = mapped_column(ForeignKey("space.id"), primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    photo_id: Mapped[int] = mapped_column(BigInteger)


class DocumentRow(Base):
    """One text source: a sidecar or a page at a path, or what is written inside a photo's file (`photo_id`, no path).

    A failed one has a reason and no passages.
    """

    __tablename__ = "document"
    __table_args__ = (
        CheckConstraint("state IN ('present', 'missing', 'failed')", name="state"),
        CheckConstraint("(path IS NULL) <> (photo_id IS NULL)", name="one_place"),
        CheckConstraint("state <> 'failed' OR reason IS NOT NULL", name="failed_has_reason"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    path: Mapped[str | None] = mapped_column(PathText, unique=True)
    photo_id: Mapped[int | None] = mapped_column(ForeignKey("photo.id"), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    title: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str | None] = mapped_column(String(35))
    bytes: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[str | None] = mapped_column(Text)
    seen_at: Mapped[datetime] = mapped_column(DateTime)


class PassageRow(Base):
    """One piece of a document. `phrases` is JSON: spans of noun phrases, `[[start, end], ...]`. No id is used twice."""

    __tablename__ = "passage"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("document.id"), index=True)
    ordinal: Mapped[int] = mapped_column(Integer)
    text: Mapped[str] = mapped_column(Text)
    phrases: Mapped[str] = mapped_column(Text)


class PassagePhotoRow(Base):
    """One photo that a passage shows among its words (`inline`) or is about, by path; `photo_id` once it is indexed.

    What is written inside a photo's file has no path here.
    """

    __tablename__ = "passage_photo"

    passage_id: Mapped[int] = mapped_column(ForeignKey("passage.id"), primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    path: Mapped[str | None] = mapped_column(PathText, index=True)
    inline: Mapped[bool] = mapped_column(Boolean)
    photo_id: Mapped[int | None] = mapped_column(ForeignKey("photo.id"), index=True)


class PassageEncodingRow(Base):
    """The vectors of one passage in one space, fp16: of the whole, and of each of its phrases.

    `pictures` names the photos whose pixels took part, as ids with commas; where they are others now, the passage is
    encoded again.
    """

    __tablename__ = "passage_encoding"
    __table_args__ = (Index("ix_passage_encoding_space_id_seq", "space_id", "seq", "passage_id"),)

    passage_id: Mapped[int] = mapped_column(ForeignKey("passage.id"), primary_key=True, autoincrement=False)
    space_id: Mapped[int] = mapped_column(ForeignKey("space.id"), primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    passage: Mapped[bytes] = mapped_column(LargeBinary)
    phrases: Mapped[bytes] = mapped_column(LargeBinary)
    pictures: Mapped[str] = mapped_column(Text)


class PassageChecksumRow(Base):
    """Checksums of the vectors of one passage in one space: of the whole, and of its phrases. See `checksums`."""

    __tablename__ = "passage_checksum"

    passage_id: Mapped[int] = mapped_column(ForeignKey("passage.id"), primary_key=True, autoincrement=False)
    space_id: Mapped[int] = mapped_column(ForeignKey("space.id"), primary_key=True, autoincrement=False)
    passage: Mapped[int] = mapped_column(BigInteger)
    phrases: Mapped[int] = mapped_column(BigInteger)


class PassageRemovalRow(Base):
    """One passage taken out, or encoded again, since the live generation of texts."""

    __tablename__ = "passage_removal"

    space_id: Mapped[int] = mapped_column(ForeignKey("space.id"), primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    passage_id: Mapped[int] = mapped_column(BigInteger)


class TextReadRow(Base):
    """A photo whose file was searched for text; one without a row was taken in before texts were read."""

    __tablename__ = "text_read"

    photo_id: Mapped[int] = mapped_column(ForeignKey("photo.id"), primary_key=True, autoincrement=False)


class GenerationRow(Base):
    """One FAISS file of the folder `faiss`: vectors of `kind`, `rows` of them.

    Of a space and kind several may be live: each holds what was encoded with a ``seq`` up to its mark, and after the
    mark of the one before it. A retired one waits for its file to be removed.
    """

    __tablename__ = "generation"
    __table_args__ = (
        CheckConstraint("kind IN ('image', 'region', 'text')", name="kind"),
        CheckConstraint("state IN ('live', 'retired')", name="state"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    space_id: Mapped[int] = mapped_column(ForeignKey("space.id"))
    kind: Mapped[str] = mapped_column(String(16))
    file: Mapped[str] = mapped_column(String(255), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int] = mapped_column(BigInteger)
    mark: Mapped[int] = mapped_column(BigInteger)
    recipe: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    made_at: Mapped[datetime] = mapped_column(DateTime)


class GenerationFolderRow(Base):
    """In which index folder the file of a generation lies: a catalog in PostgreSQL may have a folder on each machine.

    `folder` is the key that the folder keeps, `place` its machine and path, for people. A catalog in SQLite has one
    folder, and no rows here.
    """

    __tablename__ = "generation_folder"

    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id"), primary_key=True, autoincrement=False)
    folder: Mapped[str] = mapped_column(String(32), index=True)
    place: Mapped[str] = mapped_column(Text)
