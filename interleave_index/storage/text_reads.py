"""Everything that reads text sources, passages and their vectors, on a connection. Writes nothing, knows no FAISS."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from sqlalchemy import Connection, and_, func, inspect, select

from ..records import FailedFile, Floats
from ..records.texts import Passage
from . import checksums
from .names import real_path, stored_path
from .reads import photos
from .rows import Ids, LocationState
from .statements import below_stored, chunks, table
from .tables import DocumentRow, PassageEncodingRow, PassagePhotoRow, PassageRemovalRow, PassageRow
from .text_rows import KnownDocument, PassageLinks, PendingPassage, TextHalves, picture_key

E = PassageEncodingRow


def are_there(connection: Connection) -> bool:
    """Whether the catalog has tables for texts: an older one that may only be read has none."""
    return inspect(connection).has_table("passage")


def known_documents(connection: Connection, roots: Sequence[Path | str]) -> dict[str, KnownDocument]:
    """Every text source at or below the roots, by path."""
    here = below_stored([stored_path(root) for root in roots], DocumentRow)
    about: defaultdict[int, set[str]] = defaultdict(set)
    pairs = (
        select(PassageRow.document_id, PassagePhotoRow.path)
        .join(PassageRow, PassageRow.id == PassagePhotoRow.passage_id)
        .join(DocumentRow, DocumentRow.id == PassageRow.document_id)
        .where(here, PassagePhotoRow.path.is_not(None), ~PassagePhotoRow.inline)
        .distinct()
    )
    for document_id, path in connection.execute(pairs):
        if path is not None:
            about[document_id].add(real_path(path))
    return {
        real_path(row.path): KnownDocument(
            row.id,
            row.bytes,
            row.mtime_ns,
            cast(LocationState, row.state),
            row.kind,
            row.sha256,
            row.reason,
            row.detail,
            frozenset(about.get(row.id, ())),
        )
        for row in connection.execute(select(DocumentRow.__table__).where(here))
    }


def failed(connection: Connection) -> list[FailedFile]:
    """Every text source that could not be read, by path, with the reason of the last try."""
    rows = connection.execute(
        select(DocumentRow.path, DocumentRow.reason, DocumentRow.detail)
        .where(DocumentRow.state == "failed")
        .order_by(DocumentRow.path)
    )
    return [FailedFile(real_path(path), reason or "", detail or "", new=False) for path, reason, detail in rows if path]


def missing_contents(connection: Connection) -> dict[str, str]:
    """Paths of missing text sources by content (sha256): where a moved one was."""
    rows = connection.execute(select(DocumentRow.sha256, DocumentRow.path).where(DocumentRow.state == "missing"))
    return {sha: real_path(path) for sha, path in rows if sha and path}


def waiting(connection: Connection, space_id: int) -> Ids:
    """Passages without vectors in a space, or with vectors made with other pictures than they show now; ascending."""
    join = and_(E.passage_id == PassageRow.id, E.space_id == space_id)
    bare = select(PassageRow.id).outerjoin(E, join).where(E.passage_id.is_(None))
    ids = list(connection.execute(bare).scalars())
    shown = select(PassagePhotoRow.passage_id).where(PassagePhotoRow.inline).distinct()
    rows = connection.execute(select(E.passage_id, E.pictures).where(E.space_id == space_id, E.passage_id.in_(shown)))
    kept = {int(passage_id): str(key) for passage_id, key in rows}
    inline = _inline(connection, list(kept))
    ids += [passage_id for passage_id, key in kept.items() if picture_key(inline.get(passage_id, [])) != key]
    return np.unique(np.array(ids, np.int64))


def pending(connection: Connection, passage_ids: Sequence[int]) -> list[PendingPassage]:
    """What is to be encoded of these passages, in their order; those that are gone are left out."""
    found: dict[int, PendingPassage] = {}
    for some in chunks(list(passage_ids)):
        inline = _inline(connection, some)
        rows = connection.execute(
            select(PassageRow.id, PassageRow.text, PassageRow.phrases).where(PassageRow.id.in_(some))
        )
        for passage_id, words, phrases in rows:
            found[passage_id] = PendingPassage(passage_id, words, _spans(phrases), tuple(inline.get(passage_id, ())))
    return [found[passage_id] for passage_id in passage_ids if passage_id in found]


def _inline(connection: Connection, passage_ids: Sequence[int]) -> dict[int, list[int | None]]:
    found: defaultdict[int, list[int | None]] = defaultdict(list)
    for some in chunks(passage_ids):
        rows = connection.execute(
            select(PassagePhotoRow.passage_id, PassagePhotoRow.photo_id)
            .where(PassagePhotoRow.passage_id.in_(some), PassagePhotoRow.inline)
            .order_by(PassagePhotoRow.passage_id, PassagePhotoRow.position)
        )
        for passage_id, photo_id in rows:
            found[passage_id].append(photo_id)
    return found


def inline_pairs(connection: Connection, passage_ids: Ids) -> tuple[Ids, Ids]:
    """Pairs of a passage and an indexed photo among its words, of these passages."""
    found = _inline(connection, passage_ids.tolist())
    pairs = [
        (passage_id, photo_id) for passage_id, photos in found.items() for photo_id in photos if photo_id is not None
    ]
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _spans(phrases: str) -> tuple[tuple[int, int], ...]:
    return tuple((start, end) for start, end in json.loads(phrases))


def links(connection: Connection) -> PassageLinks:
    """Which photos the passages of present sources show or are about."""
    if not are_there(connection):
        none = np.empty(0, np.int64)
        return PassageLinks(none, none, none)
    present = select(PassageRow.id).join(DocumentRow).where(DocumentRow.state == "present").order_by(PassageRow.id)
    passage_ids = np.fromiter(connection.execute(present).scalars(), np.int64)
    rows = connection.execute(
        select(PassagePhotoRow.passage_id, PassagePhotoRow.photo_id)
        .where(PassagePhotoRow.photo_id.is_not(None))
        .distinct()
        .order_by(PassagePhotoRow.passage_id)
    ).all()
    pairs = np.array([tuple(row) for row in rows], np.int64).reshape(-1, 2)
    pairs = pairs[np.isin(pairs[:, 0], passage_ids)]
    return PassageLinks(passage_ids, np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]))


def passages(connection: Connection, passage_ids: Sequence[int]) -> dict[int, Passage]:
    """Those of the ids that the catalog knows."""
    found: dict[int, Passage] = {}
    for some in chunks(list(passage_ids)):
        shown: defaultdict[int, list[int]] = defaultdict(list)
        rows = connection.execute(
            select(PassagePhotoRow.passage_id, PassagePhotoRow.photo_id)
            .where(PassagePhotoRow.passage_id.in_(some), PassagePhotoRow.photo_id.is_not(None))
            .order_by(PassagePhotoRow.passage_id, PassagePhotoRow.position)
        )
        for passage_id, photo_id in rows:
            if photo_id is not None and photo_id not in shown[passage_id]:
                shown[passage_id].append(photo_id)
        inline = _inline(connection, some)
        records = connection.execute(
            select(
                PassageRow.__table__,
                DocumentRow.kind,
                DocumentRow.path,
                DocumentRow.photo_id,
                DocumentRow.title,
                DocumentRow.language,
            )
            .join(DocumentRow, DocumentRow.id == PassageRow.document_id)
            .where(PassageRow.id.in_(some))
        ).all()
        inside = photos(connection, [row.photo_id for row in records if row.photo_id is not None])
        for row in records:
            path = real_path(row.path) if row.path is not None else inside[row.photo_id].path
            found[row.id] = Passage(
                row.id,
                row.document_id,
                row.kind,
                path,
                row.title,
                row.language,
                row.ordinal,
                row.text,
                _spans(row.phrases),
                tuple(shown[row.id]),
                tuple(inline.get(row.id, ())),
            )
    return found


def of_photo(connection: Connection, photo_id: int) -> list[int]:
    """Ids of the passages that show a photo or are about it, in the order of their sources."""
    if not are_there(connection):
        return []
    tied = select(PassagePhotoRow.passage_id).where(PassagePhotoRow.photo_id == photo_id)
    rows = connection.execute(
        select(PassageRow.id)
        .join(DocumentRow, DocumentRow.id == PassageRow.document_id)
        .where(PassageRow.id.in_(tied), DocumentRow.state == "present")
        .order_by(DocumentRow.id, PassageRow.ordinal)
    )
    return [int(passage_id) for passage_id in rows.scalars()]


def at_path(connection: Connection, path: str) -> list[int]:
    """Ids of the passages of the present source at a path, in their order."""
    if not are_there(connection):
        return []
    rows = connection.execute(
        select(PassageRow.id)
        .join(DocumentRow, DocumentRow.id == PassageRow.document_id)
        .where(DocumentRow.path == stored_path(path), DocumentRow.state == "present")
        .order_by(PassageRow.ordinal)
    )
    return [int(passage_id) for passage_id in rows.scalars()]


def every_passage(connection: Connection) -> list[int]:
    """Ids of all passages of present sources, by source and place in it."""
    rows = connection.execute(
        select(PassageRow.id)
        .join(DocumentRow, DocumentRow.id == PassageRow.document_id)
        .where(DocumentRow.state == "present")
        .order_by(DocumentRow.id, PassageRow.ordinal)
    )
    return [int(passage_id) for passage_id in rows.scalars()]


def of_kinds(connection: Connection, kinds: Collection[str]) -> Ids:
    """Ids of the passages of present sources of some kinds, ascending."""
    if not are_there(connection):
        return np.empty(0, np.int64)
    rows = connection.execute(
        select(PassageRow.id)
        .join(DocumentRow, DocumentRow.id == PassageRow.document_id)
        .where(DocumentRow.state == "present", DocumentRow.kind.in_(list(kinds)))
        .order_by(PassageRow.id)
    )
    return np.fromiter(rows.scalars(), np.int64)


def kinds(connection: Connection) -> list[dict[str, Any]]:
    """How many passages of present sources there are of each kind: ``[{"kind", "passages"}]``, most passages first."""
    if not are_there(connection):
        return []
    number = func.count().label("number")
    rows = connection.execute(
        select(DocumentRow.kind, number)
        .join(PassageRow, PassageRow.document_id == DocumentRow.id)
        .where(DocumentRow.state == "present")
        .group_by(DocumentRow.kind)
        .order_by(number.desc(), DocumentRow.kind)
    )
    return [{"kind": str(kind), "passages": int(passages)} for kind, passages in rows]


def counts(connection: Connection) -> dict[str, Any]:
    """Text sources by kind and by state, and passages, as plain JSON values; zeros in a catalog without the tables."""
    if not are_there(connection):
        return {"documents": 0, "passages": 0, "kinds": {}, "missing": 0, "failed": 0}
    states = dict(_pairs(connection, DocumentRow.state))
    return {
        "documents": sum(states.values()),
        "passages": int(connection.execute(select(func.count()).select_from(PassageRow)).scalar_one()),
        "kinds": dict(_pairs(connection, DocumentRow.kind)),
        "missing": states.get("missing", 0),
        "failed": states.get("failed", 0),
    }


def _pairs(connection: Connection, column: Any) -> list[tuple[str, int]]:
    rows = connection.execute(select(column, func.count()).group_by(column).order_by(column))
    return [(str(name), int(number)) for name, number in rows]


# --- vectors ---------------------------------------------------------------------------------


def phrase_vectors(connection: Connection, space_id: int, dim: int, passage_ids: Sequence[int]) -> dict[int, Floats]:
    """(P, D) float32 vectors of the phrases of these passages, by passage id; those without vectors are left out.

    So are those whose vectors are not what was written.
    """
    found: dict[int, Floats] = {}
    for passage_id, blob, *kept in _read(connection, (E.passage_id, E.phrases), "phrases", space_id, passage_ids):
        if not kept or checksums.of((passage_id, space_id), blob) == kept[0]:
            found[passage_id] = np.frombuffer(blob, "<f2").reshape(-1, dim).astype(np.float32)
    return found


def _read(
    connection: Connection, columns: Sequence[Any], part: str, space_id: int, passage_ids: Sequence[int]
) -> Iterator[Any]:
    """Rows of the vectors of some passages, with the checksum of a part behind them where the catalog keeps any."""
    query: Any = select(*columns)
    if checksums.are_kept(connection):
        kept = checksums.PC[part]
        query = select(*columns, kept).select_from(table(E).outerjoin(kept.table, checksums.OF_PASSAGE))
    for some in chunks(list(passage_ids)):
        yield from connection.execute(query.where(E.space_id == space_id, E.passage_id.in_(some)))


def count(connection: Connection, space_id: int, after_seq: int = 0) -> int:
    """Passages encoded in a space with ``seq > after_seq``."""
    if not are_there(connection):
        return 0
    return int(connection.execute(select(func.count()).where(E.space_id == space_id, E.seq > after_seq)).scalar_one())


def encoded_ids(connection: Connection, space_id: int, *, after_seq: int = 0, until_seq: int | None = None) -> Ids:
    """Ids of the passages with vectors written in ``after_seq < seq <= until_seq``, ascending."""
    if not are_there(connection):
        return np.empty(0, np.int64)
    limits = [E.space_id == space_id, E.seq > after_seq]
    if until_seq is not None:
        limits.append(E.seq <= until_seq)
    ids = np.fromiter(connection.execute(select(E.passage_id).where(*limits)).scalars(), np.int64)
    ids.sort()
    return ids


def halves(connection: Connection, space_id: int, dim: int, passage_ids: Ids) -> TextHalves:
    """Stored vectors of these passages (ascending ids); those without, and damaged ones, are left out."""
    rows: list[Any] = []
    damaged: set[int] = set()
    for row in _read(connection, (E.passage_id, E.seq, E.passage), "passage", space_id, passage_ids.tolist()):
        if len(row) < 4 or checksums.of((row[0], space_id, row[1]), row[2]) == row[3]:
            rows.append(row)
        else:
            damaged.add(row[0])
    rows.sort(key=lambda row: row[0])
    numbers = np.array([row[:2] for row in rows], np.int64).reshape(-1, 2)
    joined = np.frombuffer(b"".join([row[2] for row in rows]), "<f2").reshape(-1, dim)
    return TextHalves(numbers[:, 0], numbers[:, 1], joined, frozenset(damaged))


def stream(
    connection: Connection, space_id: int, dim: int, *, after_seq: int = 0, block: int = 8192
) -> Iterator[TextHalves]:
    """Stored vectors with ``seq > after_seq``, sorted by passage id, in blocks."""
    ids = encoded_ids(connection, space_id, after_seq=after_seq)
    for start in range(0, len(ids), block):
        yield halves(connection, space_id, dim, ids[start : start + block])


def removed(connection: Connection, space_id: int, after: int) -> Ids:
    """Passages taken out or encoded again past a mark, ascending."""
    if not are_there(connection):
        return np.empty(0, np.int64)
    rows = connection.execute(
        select(PassageRemovalRow.passage_id).where(
            PassageRemovalRow.space_id == space_id, PassageRemovalRow.seq > after
        )
    )
    return np.unique(np.fromiter(rows.scalars(), np.int64))


def moved(connection: Connection, space_id: int, mark: int) -> tuple[int, int]:
    """Passages encoded past a mark, and passages taken out past it."""
    return count(connection, space_id, mark), len(removed(connection, space_id, mark))
