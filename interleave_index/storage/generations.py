"""Rows of `generation` and `removal`, and how indexes are put together from them and their files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from ..errors import IndexDamaged, NotInIndex
from . import text_reads
from .files import KINDS, PHOTO_KINDS, TEMPORARY, Generation, Kind, open_file
from .indexes import NONE, SpaceIndexes, VectorIndex
from .recipes import Recipe
from .rows import Ids, now
from .segment import Segment
from .statements import in_this_folder, put_in_this_folder, raise_change, table
from .tables import EncodingRow, GenerationRow, RemovalRow, SpaceTable
from .text_writes import trim_removals
from .vectors import Halves, stream

# Made once: every search asks whether its indexes are up to date.
HEAD = select(SpaceTable.seq, SpaceTable.dim).where(SpaceTable.id == bindparam("space"))
LIVE = select(GenerationRow.id).where(GenerationRow.space_id == bindparam("space"), GenerationRow.state == "live")


def space_head(connection: Connection, space_id: int) -> tuple[int, int]:
    """Counter and dimension of a space."""
    row = connection.execute(HEAD, {"space": space_id}).one_or_none()
    if row is None:
        raise NotInIndex(f"space {space_id} is not in the catalog; ensure_space makes one")
    return int(row[0]), int(row[1])


def version(connection: Connection, space_id: int) -> tuple[int, set[int]]:
    """By which indexes are known to be up to date: the counter of the space, and ids of its live generations."""
    here = in_this_folder(connection)
    ids = connection.execute(LIVE.where(*here) if here else LIVE, {"space": space_id}).scalars()
    return space_head(connection, space_id)[0], {int(row_id) for row_id in ids}


def live(connection: Connection, space_id: int | None = None) -> list[Generation]:
    """Live generations of one space, or of all, oldest first; those of the index folder of the connection."""
    columns = table(GenerationRow).c
    query = select(table(GenerationRow), SpaceTable.dim).join(SpaceTable, SpaceTable.id == columns.space_id)
    query = query.where(columns.state == "live", *in_this_folder(connection)).order_by(columns.id)
    if space_id is not None:
        query = query.where(columns.space_id == space_id)
    return [
        Generation(
            row.id,
            row.space_id,
            cast(Kind, row.kind),
            row.file,
            row.sha256,
            row.bytes,
            row.rows,
            row.mark,
            row.dim,
            Recipe.from_json(row.recipe),
        )
        for row in connection.execute(query)
    ]


def removed(connection: Connection, space_id: int, after: int) -> Ids:
    """Photos taken out or encoded again past a mark, ascending."""
    rows = connection.execute(
        select(RemovalRow.photo_id).where(RemovalRow.space_id == space_id, RemovalRow.seq > after)
    )
    return np.unique(np.fromiter(rows.scalars(), np.int64))


def moved(connection: Connection, space_id: int, mark: int) -> int:
    """Photos encoded past a mark, and photos taken out past it."""
    came = select(func.count()).where(EncodingRow.space_id == space_id, EncodingRow.seq > mark)
    went = select(func.count()).where(RemovalRow.space_id == space_id, RemovalRow.seq > mark)
    return int(connection.execute(came).scalar_one()) + int(connection.execute(went).scalar_one())


def load(
    connection: Connection, folder: Path, space_id: int, before: SpaceIndexes | None, *, read_only: bool = False
) -> SpaceIndexes:
    """Indexes of a space as of the connection's snapshot; what `before` holds already is not read again.

    Files that cannot be used are named in `lost`; the rows that they held are then served from SQL. Which files were
    read through and found right is kept beside them, unless the index is `read_only`.
    """
    seq, dim = space_head(connection, space_id)
    of_space = select(SpaceTable.interface, SpaceTable.checkpoint, SpaceTable.preprocessing)
    identity = tuple(connection.execute(of_space.where(SpaceTable.id == space_id)).one())
    if before is not None and before.identity != identity:  # a space that was dropped had this id before
        before = None
    opened: dict[Kind, tuple[Segment, Generation]] = {}
    lost: list[Kind] = []
    rows = live(connection, space_id)
    for row in rows:
        known = before.of(row.kind) if before else None
        try:
            opened[row.kind] = (
                known.generation[0]
                if known and known.generation and known.generation[1] == row
                else open_file(folder, row, remember=not read_only),
                row,
            )
        except IndexDamaged:
            lost.append(row.kind)
    marks = {kind: opened[kind][1].mark if kind in opened else 0 for kind in KINDS}
    mark = min(marks[kind] for kind in PHOTO_KINDS)
    pending = _pending(connection, space_id, dim, mark, before)
    made = {}
    for kind in PHOTO_KINDS:
        dead = removed(connection, space_id, marks[kind]) if kind in opened else NONE
        made[kind] = VectorIndex(kind, dim, opened.get(kind), dead, _delta(pending, kind, marks[kind]))
    return SpaceIndexes(
        space_id,
        seq,
        mark,
        made["image"],
        made["region"],
        _texts(connection, space_id, dim, opened.get("text"), marks["text"], before),
        pending,
        tuple(lost),
        frozenset(row.id for row in rows),
        identity,
    )


def _pending(connection: Connection, space_id: int, dim: int, mark: int, before: SpaceIndexes | None) -> Halves:
    """Everything with ``seq > mark``; of `before` what still holds is kept."""
    kept, after = Halves.empty(dim), mark
    if before is not None and before.mark <= mark <= before.seq:
        after = before.seq
        gone = np.isin(before.pending.photo_ids, removed(connection, space_id, before.seq))
        kept = before.pending.keep((before.pending.seqs > mark) & ~gone)
    for block in stream(connection, space_id, dim, after_seq=after):
        kept = kept.merged(block)
    return kept


def _delta(pending: Halves, kind: Kind, mark: int) -> Segment:
    if len(pending.seqs) and pending.seqs.min() <= mark:
        pending = pending.keep(pending.seqs > mark)
    if kind == "image":
        return Segment.of(pending.photo_ids, pending.image, regions=False)
    return Segment.of(pending.region_ids, pending.regions, regions=True)


def _texts(
    connection: Connection,
    space_id: int,
    dim: int,
    opened: tuple[Segment, Generation] | None,
    mark: int,
    before: SpaceIndexes | None,
) -> VectorIndex:
    """The index of passages; of the delta of `before` what still holds is kept, and only what came since is read."""
    kept, after = Segment.of(NONE, np.empty((0, dim), np.float16), regions=False), mark
    if before is not None and before.text.mark == mark <= before.seq:
        kept, after = before.text.delta, before.seq
    here = ~np.isin(kept.ids, text_reads.removed(connection, space_id, after))
    late = text_reads.halves(connection, space_id, dim, text_reads.encoded_ids(connection, space_id, after_seq=after))
    if len(late.passage_ids) or not here.all():
        ids = np.concatenate([kept.ids[here], late.passage_ids])
        vectors = np.concatenate([kept.codes[here].view("<f2"), late.vectors])
        order = np.argsort(ids, kind="stable")
        kept = Segment.of(ids[order], vectors[order], regions=False)
    dead = text_reads.removed(connection, space_id, mark) if opened else NONE
    return VectorIndex("text", dim, opened, dead, kept)


def commit(connection: Connection, made: Iterable[Generation]) -> None:
    """Put new generations in the place of the live ones of their kinds, in the caller's transaction."""
    for new in made:
        connection.execute(
            update(GenerationRow)
            .where(
                GenerationRow.space_id == new.space_id,
                GenerationRow.kind == new.kind,
                GenerationRow.state == "live",
                *in_this_folder(connection),
            )
            .values(state="retired")
        )
        row = connection.execute(
            insert(table(GenerationRow)).values(
                space_id=new.space_id,
                kind=new.kind,
                file=new.file,
                sha256=new.sha256,
                bytes=new.bytes,
                rows=new.rows,
                mark=new.mark,
                recipe=new.recipe.to_json(),
                state="live",
                made_at=now(),
            )
        )
        put_in_this_folder(connection, int(row.inserted_primary_key[0]))  # type: ignore[index]
        if new.kind == "text":
            trim_removals(connection, new.space_id)
            continue
        oldest = (
            select(func.min(GenerationRow.mark))
            .where(
                GenerationRow.space_id == new.space_id,
                GenerationRow.state == "live",
                GenerationRow.kind.in_(PHOTO_KINDS),
            )
            .scalar_subquery()
        )
        connection.execute(delete(RemovalRow).where(RemovalRow.space_id == new.space_id, RemovalRow.seq <= oldest))
    raise_change(connection)


def strays(connection: Connection, folder: Path) -> list[Path]:
    """Files of the FAISS folder that no live generation owns: left by a crash, or retired."""
    owned = {row.file for row in live(connection)}
    found = folder.glob("*") if folder.is_dir() else ()
    return sorted(
        path for path in found if path.name not in owned and (path.suffix == ".faiss" or path.name.endswith(TEMPORARY))
    )
