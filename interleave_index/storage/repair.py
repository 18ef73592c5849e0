"""What is wrong with an index and can be mended: FAISS files, thumbnails, vectors, failed files.

The plan only reads. What it takes to mend files of the index is done here; photos are taken in again by an ingest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, select, update

from ..errors import IndexDamaged
from ..regular import is_there, sha256_of, worded
from . import checksums, generations, text_reads, text_writes, writes
from .files import Generation, Kind, is_whole, open_file
from .names import real_path
from .spaces import active_id
from .statements import chunks, raise_change
from .tables import CalibrationRow, DocumentRow, EncodingRow, LocationRow, PassageRow, PhotoRow, SpaceTable


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What a repair would do.

    Attributes:
        rebuild: kinds of FAISS files that are lost or damaged, by space.
        unencoded: present files of photos without vectors in the active space.
        failed: files that could not be read when they were last tried.
        thumbnails: present files whose thumbnail is gone or damaged.
        damaged_thumbnails: thumbnails that are not whole pictures, which are removed first.
        orphans: thumbnails of no photo of the catalog.
        texts: present files of texts, or of photos with texts inside, of which passages wait for vectors in the active
            space.
        damaged: present files of photos of which something that is stored in the active space is not what was written.
        damaged_photos: these photos; their encodings are taken out first.
        damaged_passages: passages whose vectors are not what was written, by space; these are taken out first.
        calibrations: spaces whose calibration is not the one that was kept.
        beyond: photos with such damage that cannot be mended now: no file of theirs is here, or their space is not
            the active one.
    """

    rebuild: tuple[tuple[int, tuple[Kind, ...]], ...] = ()
    unencoded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    thumbnails: tuple[str, ...] = ()
    damaged_thumbnails: tuple[Path, ...] = ()
    orphans: tuple[Path, ...] = ()
    texts: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    damaged_photos: tuple[int, ...] = ()
    damaged_passages: tuple[tuple[int, tuple[int, ...]], ...] = ()
    calibrations: tuple[int, ...] = ()
    beyond: tuple[int, ...] = ()

    @property
    def again(self) -> tuple[str, ...]:
        """Files that are to be taken in again, each once, by path."""
        return tuple(sorted({*self.unencoded, *self.failed, *self.thumbnails, *self.texts, *self.damaged}))

    def __bool__(self) -> bool:
        """Whether anything is to be done."""
        of_files = self.rebuild or self.again or self.orphans or self.damaged_thumbnails
        return bool(of_files or self.damaged_passages or self.calibrations)


def plan(connection: Connection, folder: Path) -> RepairPlan:
    """Look through an index; every FAISS file and every encoding is read and compared with its checksum.

    Args:
        folder: of the index.
    """
    rebuild: dict[int, list[Kind]] = {}
    for row in generations.live(connection):
        is_lost = row.kind in rebuild.get(row.space_id, ())
        if not is_lost and not _can_be_used(folder / "faiss", row):
            rebuild.setdefault(row.space_id, []).append(row.kind)
    small = folder / "thumbnails"
    there = {path.name.removesuffix(".jpg"): path for path in small.glob("??/*.jpg")} if small.is_dir() else {}
    shas = {sha: photo_id for photo_id, sha in connection.execute(select(PhotoRow.id, PhotoRow.sha256))}
    damaged = {sha: path for sha, path in there.items() if sha in shas and not _is_whole(path)}
    lacking = {photo_id for sha, photo_id in shas.items() if sha not in there or sha in damaged}
    present = select(LocationRow.photo_id, LocationRow.path).where(LocationRow.state == "present")
    places = {photo_id: real_path(path) for photo_id, path in connection.execute(present)}
    active = active_id(connection) or 0
    encoded = select(EncodingRow.photo_id).where(EncodingRow.space_id == active)
    with_vectors = set(connection.execute(encoded).scalars())
    spaces = connection.execute(select(SpaceTable.id).order_by(SpaceTable.id)).scalars().all()
    wrong = {space_id: checksums.compared(connection, space_id).wrong for space_id in spaces}
    passages = {space_id: tuple(checksums.damaged_passages(connection, space_id)) for space_id in spaces}
    mendable = tuple(
        photo_id for photo_id in wrong.get(active, ()) if photo_id in places and is_there(places[photo_id])
    )
    return RepairPlan(
        tuple((space_id, tuple(kinds)) for space_id, kinds in sorted(rebuild.items())),
        _that_are_here(path for photo_id, path in places.items() if photo_id not in with_vectors),
        _that_are_here(_failed(connection)),
        _that_are_here(path for photo_id, path in places.items() if photo_id in lacking),
        tuple(sorted(damaged.values())),
        tuple(sorted(path for sha, path in there.items() if sha not in shas)),
        tuple(_texts_without_vectors(connection, places, passages.get(active, ()))),
        tuple(sorted(places[photo_id] for photo_id in mendable)),
        mendable,
        tuple((space_id, some) for space_id, some in passages.items() if some),
        tuple(space_id for space_id in spaces if not checksums.calibration_holds(connection, space_id)),
        tuple(sorted({photo_id for of_space in wrong.values() for photo_id in of_space} - set(mendable))),
    )


def _can_be_used(files: Path, row: Generation) -> bool:
    """Whether a FAISS file opens and has its checksum; all of it is read, of whatever size."""
    try:
        open_file(files, row, checked=False)
        return sha256_of(files / row.file) == row.sha256
    except (IndexDamaged, OSError):
        return False


def _texts_without_vectors(
    connection: Connection, places: Mapping[int | None, str], damaged: Sequence[int]
) -> list[str]:
    """Files whose passages wait for vectors, or have damaged ones; `places` has a present path of each photo."""
    space_id = active_id(connection)
    if space_id is None or not text_reads.are_there(connection):
        return []
    waiting = [*text_reads.waiting(connection, space_id).tolist(), *damaged]
    paths: set[str] = set()
    for some in chunks(waiting):
        sources = select(DocumentRow.path, DocumentRow.photo_id).join(
            PassageRow, PassageRow.document_id == DocumentRow.id
        )
        for path, photo_id in connection.execute(
            sources.where(PassageRow.id.in_(some), DocumentRow.state == "present")
        ):
            place = real_path(path) if path is not None else places.get(photo_id)
            if place is not None and is_there(place):
                paths.add(place)
    return sorted(paths)


def _failed(connection: Connection) -> list[str]:
    paths: list[str] = []
    for row in (LocationRow, DocumentRow) if text_reads.are_there(connection) else (LocationRow,):
        found = connection.execute(select(row.path).where(row.state == "failed"))
        paths += [real_path(path) for path in found.scalars() if path]
    return paths


def _that_are_here(paths: Iterable[str]) -> tuple[str, ...]:
    """Those of the paths that are there, by name: others are gone by now, or are those of another machine."""
    return tuple(sorted(path for path in paths if is_there(path)))


def _is_whole(path: Path) -> bool:
    try:
        return is_whole(path)
    except OSError:
        return False


def try_failed_again(connection: Connection) -> None:
    """Give failed files a time that no file has, so that the next ingest tries them again."""
    for row in (LocationRow, DocumentRow):
        connection.execute(update(row).where(row.state == "failed").values(mtime_ns=-1))


def take_out_damaged(connection: Connection, plan: RepairPlan) -> None:
    """Take out what is stored and is not what was written, so that an ingest makes it anew, in one transaction."""
    active = active_id(connection)
    if active is not None:
        writes.take_out(connection, active, plan.damaged_photos)
    for space_id, passage_ids in plan.damaged_passages:
        text_writes.drop_vectors(connection, space_id, passage_ids)
    connection.execute(delete(CalibrationRow).where(CalibrationRow.space_id.in_(plan.calibrations)))
    raise_change(connection)


def remove_files(paths: tuple[Path, ...]) -> None:
    """Remove files of the index; those that are gone already are passed over."""
    for path in paths:
        with worded(f"thumbnail {path} cannot be removed"):
            path.unlink(missing_ok=True)
