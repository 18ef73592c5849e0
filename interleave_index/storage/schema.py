"""The version of a catalog: making a new one, bringing an old one up to date. Knows no rows.

Alembic takes most of a second to import, so that it is imported only when there is something to migrate.
A new catalog is made from the models, which the migrations lead to as well (a test compares the two).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    text,
)
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from ..errors import IndexDamaged, SchemaTooNew, StorageError
from . import checksums, words
from .rows import now
from .tables import Base, CatalogRow

MIGRATIONS = Path(__file__).parent / "migrations"
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")  # every migration, oldest first
WITH_WORDS = "0004"  # the first one with full-text search
WITH_CHECKSUMS = "0007"  # the first one with a checksum of everything that is searched


def stored_revision(connection: Connection) -> str | None:
    """Revision that the catalog says it has, None for one without any."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def is_current(engine: Engine, place: Path | str) -> bool:
    """Whether the catalog has the newest revision; False for an older one that can be migrated, or an empty one.

    Args:
        place: folder of the catalog, or its database, for messages.
    Raises:
        SchemaTooNew: it was written by a newer version of this package.
        IndexDamaged: the file is no catalog.
    """
    try:
        with engine.connect() as connection, connection.begin():
            revision = stored_revision(connection)
            known = inspect(connection).has_table("photo")
    except OperationalError:  # locked, read-only, out of space: that says nothing about the file
        raise
    except DatabaseError as error:
        if engine.dialect.name != "sqlite":
            raise
        raise IndexDamaged(
            f"catalog of {place} cannot be read ({error.orig}); restore it from a copy, or ingest into a new folder"
        ) from error
    if revision is None and known:
        raise IndexDamaged(f"catalog of {place} has tables but no schema version; restore it from a copy")
    if revision is not None and revision not in REVISIONS:
        raise SchemaTooNew(
            f"catalog of {place} has schema {revision}, this version knows up to {REVISIONS[-1]}; "
            "install a newer interleave-index"
        )
    return revision == REVISIONS[-1]


def create(connection: Connection) -> None:
    """Make every table of an empty catalog, in the caller's transaction."""
    Base.metadata.create_all(connection)
    words.create(connection)
    version = Table(
        "alembic_version",
        MetaData(),
        Column("version_num", String(32), nullable=False),
        PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
    )
    version.create(connection)
    connection.execute(insert(version).values(version_num=REVISIONS[-1]))
    connection.execute(insert(CatalogRow).values(id=1, change=0, created_at=now()))


def upgrade(engine: Engine, target: str = "head", *, place: Path | str = "an index") -> None:
    """Run the migrations that the catalog lacks, in one transaction; the caller holds the write lock.

    Full-text search over file names is made from the paths where it is new, and checksums from what is stored: a
    migration cannot import the package, and must not change with it.

    Args:
        place: folder of the catalog, or its database, for messages.
    Raises:
        StorageError: a migration failed; the catalog is as it was.
    """
    with engine.connect().execution_options(interleave_write=True) as connection, _loose_references(connection):
        revision = None
        try:
            with connection.begin():
                revision = stored_revision(connection)
                _run_migrations(connection, target)
                is_new = revision is None or revision < WITH_WORDS
                if is_new and words.are_there(connection):
                    words.put_all_names(connection)
                is_unchecked = revision is None or revision < WITH_CHECKSUMS
                if is_unchecked and checksums.are_kept(connection):
                    checksums.put_all(connection)
        except SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise StorageError(
                f"catalog of {place} could not be brought from schema {revision} to {REVISIONS[-1]} ({said}); "
                "it is as it was; mend what is said, and open it again"
            ) from error


def _run_migrations(connection: Connection, target: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes.update(metadata=Base.metadata, connection=connection)
    command.upgrade(config, target)


@contextmanager
def _loose_references(connection: Connection) -> Iterator[None]:
    """Foreign keys do nothing meanwhile: SQLite would empty tables that refer to one which is dropped and remade."""
    if connection.dialect.name != "sqlite":
        yield
        return
    raw = connection.connection.cursor()
    raw.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        raw.execute("PRAGMA foreign_keys = ON")
        raw.close()
