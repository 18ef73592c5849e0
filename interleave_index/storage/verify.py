"""The checks of `verify`: that the catalog holds together and that every FAISS file agrees with it. Reads only."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, and_, func, inspect, or_, select, text
from sqlalchemy.exc import DBAPIError

from ..records import REGIONS_PER_PHOTO, Floats
from ..regular import sha256_of
from ..wording import number_of
from . import checksums, generations, text_reads, vectors, words
from .blobs import unpack_masks
from .files import Generation, is_whole, open_file
from .fp16 import widen
from .names import thumbnail_file
from .rows import Check, Ids, SpaceRow
from .spaces import all_spaces
from .tables import (
    DocumentRow,
    EncodingRow,
    LocationRow,
    PassageEncodingRow,
    PassagePhotoRow,
    PassageRow,
    PhotoRow,
    RegionMaskRow,
    SpaceTable,
)

BLOCK = 512  # photos that are held at a time
Outcome = tuple[bool, str]


def checks(connection: Connection, folder: Path) -> list[Check]:
    """Run every check on one snapshot; a check that cannot be run has failed.

    Args:
        folder: of the index.
    """
    found = [_run("database", partial(_database, connection))]
    if not found[0].ok:
        return found
    for name, look in (("photos", _photos), ("locations", _locations), ("references", _references)):
        found.append(_run(name, partial(look, connection)))
    found.append(_run("thumbnails", partial(_thumbnails, connection, folder / "thumbnails")))
    if text_reads.are_there(connection):
        found.append(_run("texts", partial(_texts, connection)))
        found.append(_run("words", partial(_words, connection)))
    for space in all_spaces(connection):
        if space.state == "active":
            found.append(_run("encodings", partial(_complete, connection, space)))
        for name, check in (
            ("vectors", _vectors),
            ("masks", _masks),
            ("checksums", _checksums),
            ("sequence", _sequence),
        ):
            found.append(_run(f"{name} of space {space.id}", partial(check, connection, space)))
        if text_reads.are_there(connection):
            found.append(_run(f"text vectors of space {space.id}", partial(_text_vectors, connection, space)))
    files = folder / "faiss"
    number: dict[tuple[int, str], int] = {}
    for row in generations.live(connection):
        key = row.space_id, row.kind
        number[key] = number.get(key, 0) + 1
        which = f" {number[key]}" if number[key] > 1 else ""
        about = f"{which} of space {row.space_id}"
        found.append(_run(f"{row.kind} file{about}", partial(_file, files, row)))
        if found[-1].ok:
            found.append(_run(f"{row.kind} ids{about}", partial(_ids, connection, files, row)))
            found.append(_run(f"{row.kind} vectors{about}", partial(_same, connection, files, row)))
    return found


def _run(name: str, check: Callable[[], Outcome]) -> Check:
    try:
        return Check(name, *check())
    except Exception as error:  # a value of a wrong type, where its bytes were changed, may be met anywhere
        said = error.orig if isinstance(error, DBAPIError) else error  # without the statement and links to a manual
        return Check(name, False, f"{type(error).__name__}: {' '.join(str(said).split())}")


def _database(connection: Connection) -> Outcome:
    if connection.dialect.name != "sqlite":
        return True, f"{connection.dialect.name} looks after itself"
    said = connection.execute(text("PRAGMA integrity_check(5)")).scalars().all()
    return list(said) == ["ok"], "; ".join(" ".join(str(line).split()) for line in said)  # one may have several lines


def _count(connection: Connection, *tests: object) -> int:
    return int(connection.execute(select(func.count()).where(*tests)).scalar_one())  # type: ignore[arg-type]


def _photos(connection: Connection) -> Outcome:
    wrong = []
    rows = connection.execute(select(PhotoRow.id, PhotoRow.sha256, PhotoRow.width, PhotoRow.height, PhotoRow.taken_at))
    count = 0
    for photo_id, sha, width, height, _ in rows:
        count += 1
        if not sha or width < 1 or height < 1:
            wrong.append(photo_id)
    return not wrong, f"{number_of(count, 'photo')}, {len(wrong)} with a content or size that cannot be" + _named(wrong)


def _thumbnails(connection: Connection, folder: Path) -> Outcome:
    """A thumbnail that is gone is made again by the next ingest; one that is damaged would be shown."""
    gone, damaged = 0, []
    for photo_id, sha in connection.execute(select(PhotoRow.id, PhotoRow.sha256)):
        try:
            whole = is_whole(thumbnail_file(folder, sha))
        except FileNotFoundError:
            gone += 1
            continue
        if not whole:
            damaged.append(photo_id)
    detail = f"{gone} gone, which the next ingest makes again, {len(damaged)} damaged"
    if damaged:
        detail += f"{_named(damaged)}; `interleave-index repair --apply` makes them anew"
    return not damaged, detail


def _named(ids: Sequence[int]) -> str:
    return f": photo {', '.join(map(str, ids[:10]))}" if ids else ""


def _locations(connection: Connection) -> Outcome:
    states = {
        str(row[0]): int(row[1])
        for row in connection.execute(select(LocationRow.state, func.count()).group_by(LocationRow.state))
    }
    present, missing, failed = (states.pop(name, 0) for name in ("present", "missing", "failed"))
    wrong = sum(states.values()) + _count(
        connection,
        or_(
            and_(LocationRow.state == "present", LocationRow.photo_id.is_(None)),
            and_(LocationRow.state == "failed", or_(LocationRow.photo_id.is_not(None), LocationRow.reason.is_(None))),
        ),
    )
    return wrong == 0, f"{present} present, {missing} missing, {failed} failed, {wrong} in no proper state"


def _references(connection: Connection) -> Outcome:
    lost = 0
    for model in (LocationRow, EncodingRow, RegionMaskRow):
        there = select(PhotoRow.id).where(PhotoRow.id == model.photo_id).exists()
        lost += _count(connection, model.photo_id.is_not(None), ~there)
    return lost == 0, f"{number_of(lost, 'reference')} to a photo that is not there"


def _complete(connection: Connection, space: SpaceRow) -> Outcome:
    there = select(EncodingRow.seq).where(EncodingRow.photo_id == PhotoRow.id, EncodingRow.space_id == space.id)
    lacking = connection.execute(select(PhotoRow.id).where(~there.exists()).order_by(PhotoRow.id)).scalars().all()
    photos = _count(connection, PhotoRow.id.is_not(None))
    detail = f"{number_of(photos, 'photo')}, {number_of(space.encodings, 'encoding')}"
    return not lacking, detail + (f"; without: {', '.join(map(str, lacking[:10]))}" if lacking else "")


def _vectors(connection: Connection, space: SpaceRow) -> Outcome:
    dim, regions = space.space.dim, EncodingRow.region_count
    wrong = _count(
        connection,
        EncodingRow.space_id == space.id,
        or_(
            func.length(EncodingRow.image) != 2 * dim,
            func.length(EncodingRow.regions) != 2 * dim * regions,
            func.length(EncodingRow.boxes) != 16 * regions,
            func.length(EncodingRow.areas) != 4 * regions,
            func.length(EncodingRow.scores) != 4 * regions,
        ),
    )
    if wrong:
        return False, f"{number_of(wrong, 'encoding')} with arrays of a wrong length"
    longest, broken = 0.0, []
    for ids in _blocks(vectors.encoded_ids(connection, space.id)):
        found = vectors.fetch(connection, space.id, dim, ids, leave_out=True)  # `_checksums` names what is left out
        longest = max([longest, *(_longest(part) for part in (found.image, found.regions))])
        owners = np.repeat(found.photo_ids, np.diff(found.offsets))
        finite = np.isfinite(np.column_stack([found.boxes, found.areas, found.scores])).all(1)
        ordered = (found.boxes[:, 2:] >= found.boxes[:, :2]).all(1)
        broken += np.unique(owners[~(finite & ordered)]).tolist()
    encodings = number_of(space.encodings, "encoding")
    detail = f"{encodings}, longest vector {longest**0.5:.4f}, {len(broken)} with an impossible box"
    return longest < 1.05 and not broken, detail + _named(broken)


def _longest(rows: Floats) -> float:
    """Largest squared length; infinite when a number is not finite."""
    if not np.isfinite(rows).all():
        return float("inf")
    return float(np.square(rows).sum(-1).max(initial=0.0))


def _blocks(ids: Ids) -> Iterator[list[int]]:
    for start in range(0, len(ids), BLOCK):
        yield ids[start : start + BLOCK].tolist()


def _masks(connection: Connection, space: SpaceRow) -> Outcome:
    key = (RegionMaskRow.photo_id == EncodingRow.photo_id, RegionMaskRow.space_id == EncodingRow.space_id)
    lost = _count(connection, EncodingRow.space_id == space.id, ~select(RegionMaskRow.photo_id).where(*key).exists())
    loose = _count(connection, RegionMaskRow.space_id == space.id, ~select(EncodingRow.photo_id).where(*key).exists())
    if lost or loose:
        alone, masks_alone = number_of(lost, "encoding"), number_of(loose, "row")
        return False, f"{alone} without a row of masks, {masks_alone} of masks without an encoding"
    looked_at, wrong = 0, []
    for ids in _blocks(vectors.encoded_ids(connection, space.id)):
        rows = connection.execute(
            select(EncodingRow.photo_id, EncodingRow.region_count, RegionMaskRow.masks)
            .join(RegionMaskRow, and_(*key))
            .where(EncodingRow.space_id == space.id, EncodingRow.photo_id.in_(ids))
        )
        for photo_id, regions, packed in rows:
            looked_at += 1
            try:
                masks = unpack_masks(packed)
            except (ValueError, TypeError, zlib.error):
                wrong.append(photo_id)
                continue
            if len(masks) not in (0, regions) or any(min(mask.size) < 1 for mask in masks):
                wrong.append(photo_id)
    return (
        not wrong,
        f"{number_of(looked_at, 'photo')}, {len(wrong)} with masks that are not those of their regions" + _named(wrong),
    )


def _checksums(connection: Connection, space: SpaceRow) -> Outcome:
    """Whether what is stored is what was written; encodings of older versions may have no checksum."""
    if not inspect(connection).has_table("checksum"):
        return True, "none in a catalog of this age"
    agreed, without, wrong = checksums.compared(connection, space.id)
    passages = checksums.damaged_passages(connection, space.id) if text_reads.are_there(connection) else []
    details = [f"{agreed} agree, {without} without one, {len(wrong)} differ{_named(wrong)}"]
    if passages:
        details.append(f"those of {number_of(len(passages), 'passage')} differ")
    if not checksums.calibration_holds(connection, space.id):
        details.append("that of the calibration differs")
    fine = not wrong and len(details) == 1
    return fine, ", ".join(details) + ("" if fine else "; `interleave-index repair --apply` makes them anew")


def _sequence(connection: Connection, space: SpaceRow) -> Outcome:
    head = int(connection.execute(select(SpaceTable.seq).where(SpaceTable.id == space.id)).scalar_one())
    rows, distinct, last = connection.execute(
        select(func.count(), func.count(EncodingRow.seq.distinct()), func.coalesce(func.max(EncodingRow.seq), 0)).where(
            EncodingRow.space_id == space.id
        )
    ).one()
    return rows == distinct and last <= head, f"counter at {head}, last used {last}, {rows - distinct} used twice"


def _texts(connection: Connection) -> Outcome:
    """Whether every passage belongs to a source, and every row about a passage to one that is there."""
    lost = _count(
        connection,
        PassageRow.id.is_not(None),
        ~select(DocumentRow.id).where(DocumentRow.id == PassageRow.document_id).exists(),
    )
    for model in (PassagePhotoRow, PassageEncodingRow):
        there = select(PassageRow.id).where(PassageRow.id == model.passage_id).exists()
        lost += _count(connection, model.passage_id.is_not(None), ~there)
    photo = select(PhotoRow.id).where(PhotoRow.id == PassagePhotoRow.photo_id).exists()
    lost += _count(connection, PassagePhotoRow.photo_id.is_not(None), ~photo)
    counts = text_reads.counts(connection)
    held = f"{number_of(counts['documents'], 'source')}, {number_of(counts['passages'], 'passage')}"
    return lost == 0, f"{held}, {number_of(lost, 'reference')} to what is not there"


def _words(connection: Connection) -> Outcome:
    """Whether full-text search knows every passage and every photo that lies somewhere."""
    passages = int(connection.execute(select(func.count()).select_from(PassageRow)).scalar_one())
    somewhere = func.count(LocationRow.photo_id.distinct())
    photos = int(connection.execute(select(somewhere)).scalar_one())
    known = words.count(connection, "passage"), words.count(connection, "photo")
    detail = f"{known[0]} of {number_of(passages, 'passage')} and {known[1]} of {number_of(photos, 'photo')}"
    return known == (passages, photos), detail


def _text_vectors(connection: Connection, space: SpaceRow) -> Outcome:
    """Whether vectors of passages have the length of their space and are unit vectors; some may not be made yet."""
    dim, longest, wrong = space.space.dim, 0.0, 0
    rows = connection.execute(
        select(PassageEncodingRow.passage, PassageEncodingRow.phrases, PassageRow.phrases)
        .join(PassageRow, PassageRow.id == PassageEncodingRow.passage_id)
        .where(PassageEncodingRow.space_id == space.id)
    )
    for passage, phrases, spans in rows:
        if len(passage) != 2 * dim or len(phrases) != 2 * dim * len(json.loads(spans)):
            wrong += 1
            continue
        vectors_ = np.frombuffer(passage + phrases, "<f2").reshape(-1, dim).astype(np.float32)
        longest = max(longest, _longest(vectors_))
    waiting = len(text_reads.waiting(connection, space.id)) if space.state == "active" else 0
    later = f", {waiting} wait for the next ingest" if waiting else ""
    detail = (
        f"{text_reads.count(connection, space.id)} passages{later}, longest vector {longest**0.5:.4f}, {wrong} wrong"
    )
    return not wrong and longest < 1.05, detail


def _file(folder: Path, row: Generation) -> Outcome:
    segment = open_file(folder, row, checked=False)
    found = sha256_of(folder / row.file)
    if found != row.sha256:
        return False, f"{row.file} has checksum {found[:12]}, expected {row.sha256[:12]}; repair makes it anew"
    return True, f"{row.file}, {number_of(len(segment), 'row')}, checksum agrees"


def _ids(connection: Connection, folder: Path, row: Generation) -> Outcome:
    segment = open_file(folder, row, checked=False)
    ascending = bool((np.diff(segment.ids) > 0).all())
    if row.kind == "text":
        dead = text_reads.removed(connection, row.space_id, row.mark)
        expected = text_reads.encoded_ids(connection, row.space_id, after_seq=row.after, until_seq=row.mark)
        wrong = np.setxor1d(segment.ids[~np.isin(segment.ids, dead)], expected)
        return ascending and not len(wrong), _agreement(len(segment), len(dead), len(wrong))
    dead = generations.removed(connection, row.space_id, row.mark)
    photos = segment.ids // REGIONS_PER_PHOTO if segment.regions else segment.ids
    counts = np.array(
        connection.execute(
            select(EncodingRow.photo_id, EncodingRow.region_count).where(
                EncodingRow.space_id == row.space_id, EncodingRow.seq > row.after, EncodingRow.seq <= row.mark
            )
        ).all(),
        np.int64,
    ).reshape(-1, 2)
    # those that were left out of the file are named by `_checksums`
    counts = counts[~np.isin(counts[:, 0], list(checksums.marked(connection, row.space_id)))]
    expected = counts[:, 0]
    if segment.regions:
        ordinals = np.arange(counts[:, 1].max(initial=0))
        every = expected[:, None] * REGIONS_PER_PHOTO + ordinals
        expected = every[ordinals < counts[:, 1:]]
    wrong = np.setxor1d(segment.ids[~np.isin(photos, dead)], expected)
    return ascending and not len(wrong), _agreement(len(segment), len(dead), len(wrong))


def _agreement(ids: int, dead: int, wrong: int) -> str:
    return f"{number_of(ids, 'id')}, {dead} removed since, {wrong} do not agree"


def _same(connection: Connection, folder: Path, row: Generation) -> Outcome:
    segment = open_file(folder, row, checked=False)
    removed = text_reads.removed if row.kind == "text" else generations.removed
    living = np.setdiff1d(segment.photo_ids, removed(connection, row.space_id, row.mark))
    compared, wrong = 0, []
    for ids in _blocks(living):
        # damaged ones, which `_checksums` names, are left out
        if row.kind == "text":
            stored_texts = text_reads.halves(connection, row.space_id, row.dim, np.array(ids, np.int64))
            whole, wanted = stored_texts.passage_ids, stored_texts.vectors.astype(np.float32)
        else:
            stored = vectors.fetch(connection, row.space_id, row.dim, ids, leave_out=True)
            whole, wanted = stored.photo_ids, stored.regions if segment.regions else stored.image
        rows = segment.select(whole, np.empty(0, np.int64)).rows
        held = widen(segment.codes[rows], np.empty((len(rows), row.dim), np.float32))
        compared += len(rows)
        if held.shape != wanted.shape or not (held == wanted).all():
            wrong += ids[:1]
    owners = number_of(len(living), "passage" if row.kind == "text" else "photo")
    return not wrong, f"{number_of(compared, 'vector')} of {owners} compared with the catalog"
