"""Spaces of models: which there are, which is searched, and how scores in each are made comparable."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from ..errors import NotInIndex
from ..records import Space
from . import checksums, spaces, statements
from .open_store import OpenStore
from .rows import SpaceRow, now
from .tables import CalibrationRow


class SpaceStore(OpenStore):
    """The part of a `Store` that knows spaces and their calibrations."""

    def ensure_space(self, space: Space) -> int:
        """Id of this space, made when it is new: the first of a catalog is active, a later one `building`."""
        with self._session.reading() as connection:
            found = spaces.find(connection, space)
        if found is None:
            with self._session.writing("a new space") as connection:
                found = spaces.ensure(connection, space)
        return found

    def active_space(self) -> tuple[int, Space] | None:
        """The space that searches use, or None before the first ingest."""
        return next(((row.id, row.space) for row in self.spaces() if row.state == "active"), None)

    def activate(self, space_id: int) -> None:
        """Let searches use another space, in one transaction; the one before is retired and can be activated again."""
        with self._session.writing("activate") as connection:
            spaces.activate(connection, space_id)

    def drop_space(self, space_id: int) -> None:
        """Take a space out with its vectors and FAISS files; never the active one.

        Raises:
            NotInIndex: there is no such space.
            StorageError: it is the active one.
        """
        with self._session.writing("spaces drop") as connection:
            spaces.drop(connection, space_id)
        self._upkeep.forget(space_id)
        self._upkeep.sweep()

    def spaces(self) -> list[SpaceRow]:
        """Every space, oldest first."""
        return list(self._session.remembered("spaces", spaces.all_spaces))

    def dim(self, space_id: int) -> int:
        """D of a space."""
        for row in self.spaces():
            if row.id == space_id:
                return row.space.dim
        raise NotInIndex(f"space {space_id} is not in the catalog; ensure_space makes one")

    def save_calibration(self, space_id: int, data: bytes) -> None:
        """Keep how the scores of a space are made comparable; only its writer knows what the bytes say."""
        with self._session.writing("calibration") as connection:
            connection.execute(delete(CalibrationRow).where(CalibrationRow.space_id == space_id))
            connection.execute(insert(CalibrationRow).values(space_id=space_id, made_at=now(), data=data))
            checksums.put_calibration(connection, space_id, data)
            statements.raise_change(connection)

    def load_calibration(self, space_id: int) -> bytes | None:
        """What `save_calibration` was given last, or None; None where it is damaged: the next ingest keeps it anew."""

        def read(connection: Connection) -> bytes | None:
            kept = select(CalibrationRow.data).where(CalibrationRow.space_id == space_id)
            return connection.execute(kept).scalar() if checksums.calibration_holds(connection, space_id) else None

        return self._session.remembered(("calibration", space_id), read)
