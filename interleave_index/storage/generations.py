"""Rows of `generation` and `removal`, and how indexes are put together from them and their files.

Of one kind there may be several live generations: in order of their marks, each holds what was encoded after the mark
of the one before it. Photos that were taken out, or encoded again, after the mark of a file are dead in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any, cast

import numpy as np
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from ..errors import IndexDamaged, NotInIndex
from . import text_reads
from .files import KINDS, PHOTO_KINDS, TEMPORARY, Generation, Kind, open_file
from .indexes import NONE, SpaceIndexes, Tier, VectorIndex
from .recipes import Recipe
from .rows import Ids, now
from .segment import Segment
from .statements import folder_key, in_this_folder, put_in_this_folder, raise_change, table
from .tables import GenerationFolderRow, GenerationRow, RemovalRow, SpaceTable
from .text_writes import trim_removals
from .vectors import Halves, stream
from .vectors import count as encoded_rows

# Made once: every search asks whether its indexes are up to date.
HEAD = select(SpaceTable.seq, SpaceTable.dim).where(SpaceTable.id == bindparam("space"))
LIVE_ROWS = (
    select(table(GenerationRow), SpaceTable.dim)
    .join(SpaceTable, SpaceTable.id == GenerationRow.space_id)
    .where(GenerationRow.state == "live")
    .order_by(GenerationRow.mark, GenerationRow.id)
)
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
    """Live generations of one space, or of all, by mark; those of the index folder of the connection."""
    query = LIVE_ROWS.where(*in_this_folder(connection))
    if space_id is not None:
        query = query.where(GenerationRow.space_id == space_id)
    return _with_marks(connection.execute(query))


def live_elsewhere(connection: Connection, space_id: int) -> list[list[Generation]]:
    """Live generations of a space whose files lie in other index folders, by mark: a list for each folder."""
    here = folder_key(connection)
    if here is None:
        return []
    own = GenerationFolderRow.generation_id == GenerationRow.id
    query = LIVE_ROWS.add_columns(GenerationFolderRow.folder).join(GenerationFolderRow, own)
    rows = connection.execute(query.where(GenerationRow.space_id == space_id, GenerationFolderRow.folder != here))
    by_folder: dict[str, list[Any]] = {}
    for row in rows:
        by_folder.setdefault(row.folder, []).append(row)
    return [_with_marks(some) for some in by_folder.values()]


def are_live(connection: Connection, ids: Sequence[int]) -> bool:
    """Whether all of these generations are live."""
    query = select(func.count()).where(GenerationRow.id.in_(ids), GenerationRow.state == "live")
    return int(connection.execute(query).scalar_one()) == len(set(ids))


def _with_marks(rows: Iterable[Any]) -> list[Generation]:
    """Rows of one folder, in the order of their marks, each with the mark of the one before it."""
    marks: dict[tuple[int, str], int] = {}
    found = []
    for row in rows:
        after = marks.get((row.space_id, row.kind), 0)
        marks[row.space_id, row.kind] = row.mark
        found.append(
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
                after,
            )
        )
    return found


def removed(connection: Connection, space_id: int, after: int) -> Ids:
    """Photos taken out or encoded again past a mark, ascending."""
    rows = connection.execute(
        select(RemovalRow.photo_id).where(RemovalRow.space_id == space_id, RemovalRow.seq > after)
    )
    return np.unique(np.fromiter(rows.scalars(), np.int64))


def moved(connection: Connection, space_id: int, mark: int) -> tuple[int, int]:
    """Photos encoded past a mark, and how often photos were taken out past it."""
    went = select(func.count()).where(RemovalRow.space_id == space_id, RemovalRow.seq > mark)
    return encoded_rows(connection, space_id, mark)[0], int(connection.execute(went).scalar_one())


def load(
    connection: Connection,
    folder: Path,
    space_id: int,
    before: SpaceIndexes | None,
    *,
    read_only: bool = False,
    wrong: Set[int] = frozenset(),
) -> SpaceIndexes:
    """Indexes of a space as of the connection's snapshot; what `before` holds already is not read again.

    Files that cannot be used are named in `lost`; the rows that they held are then served from SQL. Which files were
    read through and found right is kept beside them, unless the index is `read_only`. Files of the generations `wrong`
    are known not to be usable.
    """
    seq, dim = space_head(connection, space_id)
    of_space = select(SpaceTable.interface, SpaceTable.checkpoint, SpaceTable.preprocessing)
    identity = tuple(connection.execute(of_space.where(SpaceTable.id == space_id)).one())
    if before is not None and before.identity != identity:  # a space that was dropped had this id before
        before = None
    opened: dict[Kind, list[tuple[Segment, Generation]]] = {kind: [] for kind in KINDS}
    lost: list[Kind] = []
    rows = live(connection, space_id)
    for row in rows:
        if row.kind in lost:  # what came after the lost file is served from SQL, too
            continue
        if row.id in wrong:
            lost.append(row.kind)
            continue
        try:
            opened[row.kind].append((_segment(folder, row, before, remember=not read_only), row))
        except IndexDamaged:
            lost.append(row.kind)
    tiers = {
        kind: [Tier(segment, row, _dead(connection, row)) for segment, row in found] for kind, found in opened.items()
    }
    marks = {kind: found[-1][1].mark if found else 0 for kind, found in opened.items()}
    mark = min(marks[kind] for kind in PHOTO_KINDS)
    pending = _pending(connection, space_id, dim, mark, before)
    made = {kind: VectorIndex(kind, dim, tiers[kind], _delta(pending, kind, marks[kind])) for kind in PHOTO_KINDS}
    texts, damaged_texts = _texts(connection, space_id, dim, tiers["text"], before)
    return SpaceIndexes(
        space_id,
        seq,
        mark,
        made["image"],
        made["region"],
        texts,
        pending,
        tuple(lost),
        frozenset(row.id for row in rows),
        identity,
        damaged_texts,
    )


def _segment(folder: Path, row: Generation, before: SpaceIndexes | None, *, remember: bool) -> Segment:
    """The vectors of a file, which `before` may have open already."""
    for tier in before.of(row.kind).tiers if before is not None else ():
        if tier.info == row:
            return tier.segment
    return open_file(folder, row, remember=remember)


def _dead(connection: Connection, row: Generation) -> Ids:
    """Photos (or passages) whose rows in a file no longer hold, ascending."""
    find = text_reads.removed if row.kind == "text" else removed
    return find(connection, row.space_id, row.mark)


def _pending(connection: Connection, space_id: int, dim: int, mark: int, before: SpaceIndexes | None) -> Halves:
    """Everything with ``seq > mark``; of `before` what still holds is kept."""
    kept, after = Halves.empty(dim), mark
    if before is not None and before.mark <= mark <= before.seq:
        after = before.seq
        taken_out = removed(connection, space_id, before.seq)
        kept = before.pending.keep((before.pending.seqs > mark) & ~np.isin(before.pending.photo_ids, taken_out))
        kept.damaged -= frozenset(taken_out.tolist())
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
    tiers: list[Tier],
    before: SpaceIndexes | None,
) -> tuple[VectorIndex, frozenset[int]]:
    """The index of passages, and those that are left out of it since their vectors are damaged.

    Of the delta of `before` what still holds is kept, and only what came since is read.
    """
    mark = tiers[-1].info.mark if tiers else 0
    kept, after = Segment.of(NONE, np.empty((0, dim), np.float16), regions=False), mark
    damaged: frozenset[int] = frozenset()
    if before is not None and before.text.mark == mark <= before.seq:
        kept, after, damaged = before.text.delta, before.seq, before.damaged_texts
    taken_out = text_reads.removed(connection, space_id, after)
    here = ~np.isin(kept.ids, taken_out)
    late = text_reads.halves(connection, space_id, dim, text_reads.encoded_ids(connection, space_id, after_seq=after))
    if len(late.passage_ids) or not here.all():
        ids = np.concatenate([kept.ids[here], late.passage_ids])
        vectors = np.concatenate([kept.codes[here].view("<f2"), late.vectors])
        order = np.argsort(ids, kind="stable")
        kept = Segment.of(ids[order], vectors[order], regions=False)
    return VectorIndex("text", dim, tiers, kept), damaged.difference(taken_out.tolist()) | late.damaged


def commit(connection: Connection, made: Iterable[Generation]) -> None:
    """Put new generations in the place of those live ones of their kinds that hold what they do, in the
    caller's transaction.
    """
    for new in made:
        replaced = [GenerationRow.mark > new.after] if new.after else []  # an empty space's file has the mark 0
        connection.execute(
            update(GenerationRow)
            .where(
                GenerationRow.space_id == new.space_id,
                GenerationRow.kind == new.kind,
                GenerationRow.state == "live",
                *replaced,
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


def put_recipes(connection: Connection, recipes: Iterable[tuple[int, Recipe]]) -> None:
    """Keep how files are searched from now on, by the ids of their generations."""
    for row_id, recipe in recipes:
        connection.execute(update(GenerationRow).where(GenerationRow.id == row_id).values(recipe=recipe.to_json()))


def strays(connection: Connection, folder: Path) -> list[Path]:
    """Files of the FAISS folder that no live generation owns: left by a crash, or retired."""
    owned = {row.file for row in live(connection)}
    found = folder.glob("*") if folder.is_dir() else ()
    return sorted(
        path for path in found if path.name not in owned and (path.suffix == ".faiss" or path.name.endswith(TEMPORARY))
    )
