"""Everything that changes text sources and their passages, on a connection inside the store's transaction.

A passage whose words stay the same keeps its id and its vectors when its source is edited or moved; only what is new is
encoded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, func, insert, select, update

from ..errors import InputError
from ..records.texts import PassageText, SourceText
from . import checksums, words
from .names import folder_range, real_path, stored_path
from .rows import now
from .statements import below_stored, chunks, raise_change, raise_seq, table
from .tables import (
    DocumentRow,
    GenerationRow,
    LocationRow,
    PassageChecksumRow,
    PassageEncodingRow,
    PassagePhotoRow,
    PassageRemovalRow,
    PassageRow,
    TextReadRow,
)
from .text_rows import REFUSED, DocumentWrite, PassageVectors

SIDECARS = ("xmp", "txt", "takeout")  # kinds of sources that are about the photos of their name alone

# A photo keeps its id while it is missing, so that a passage is not encoded twice for a drive that was away.
_PHOTO_AT = (
    select(LocationRow.photo_id)
    .where(LocationRow.path == PassagePhotoRow.path, LocationRow.photo_id.is_not(None))
    .scalar_subquery()
)


def write_documents(connection: Connection, documents: Sequence[DocumentWrite]) -> None:
    """Write text sources with their passages, in the place of what the catalog held at their paths.

    Of several at one path the last one counts.
    """
    distinct = {stored_path(document.path): document for document in documents}
    moved = {path: stored_path(write.moved_from) for path, write in distinct.items() if write.moved_from is not None}
    known = _documents_at(connection, [*distinct, *moved.values()])
    placed: list[_Placed] = []
    for path, document in distinct.items():
        before = path if path in known else moved.get(path, path)
        passages = [(passage, _links(passage)) for passage in document.source.passages] if document.source else []
        placed += _write_source(
            connection, known.pop(before, None), _columns(path, document), document.source, passages
        )
    _write_words_and_links(connection, placed)
    if documents:
        raise_change(connection)


def _documents_at(connection: Connection, paths: Sequence[str]) -> dict[str, int]:
    """Ids of the text sources at these stored paths."""
    found: dict[str, int] = {}
    for some in chunks(paths):
        rows = connection.execute(select(DocumentRow.path, DocumentRow.id).where(DocumentRow.path.in_(some)))
        found.update((path, document_id) for path, document_id in rows if path is not None)
    return found


def _columns(path: str, document: DocumentWrite) -> dict[str, Any]:
    return {
        "path": path,
        "photo_id": None,
        "kind": document.kind,
        "sha256": document.sha256,
        "bytes": document.bytes,
        "mtime_ns": document.mtime_ns,
        "state": "present" if document.reason is None else "failed",
        "reason": document.reason,
        "detail": document.detail,
    }


def write_embedded(connection: Connection, texts: Mapping[int, SourceText]) -> None:
    """Keep what is written inside the files of some photos, by photo id, and that these were read."""
    known: dict[int, int] = {}
    read: set[int] = set()
    for some in chunks(list(texts)):
        rows = connection.execute(select(DocumentRow.photo_id, DocumentRow.id).where(DocumentRow.photo_id.in_(some)))
        known.update((photo_id, document_id) for photo_id, document_id in rows if photo_id is not None)
        read.update(connection.execute(select(TextReadRow.photo_id).where(TextReadRow.photo_id.in_(some))).scalars())
    placed: list[_Placed] = []
    for photo_id, source in texts.items():
        if source.passages:
            values = {"photo_id": photo_id, "path": None, "kind": "embedded", "bytes": 0, "mtime_ns": 0}
            state = {"sha256": None, "state": "present", "reason": None, "detail": None}
            passages: list[_Named] = [(passage, [(None, False, photo_id)]) for passage in source.passages]
            placed += _write_source(connection, known.get(photo_id), values | state, source, passages)
        elif photo_id in known:
            drop_documents(connection, [known[photo_id]])
    _write_words_and_links(connection, placed)
    new = [{"photo_id": photo_id} for photo_id in texts if photo_id not in read]
    if new:
        connection.execute(insert(table(TextReadRow)), new)
    if texts:
        raise_change(connection)


_Link = tuple[str | None, bool, int | None]  # path, inline, photo id
_Named = tuple[PassageText, Sequence[_Link]]
_Placed = tuple[int, str, Sequence[_Link]]  # passage id, words to search, links


def _links(passage: PassageText) -> list[_Link]:
    shown: list[_Link] = [(stored_path(path), True, None) for path in passage.pictures]
    return shown + [(stored_path(path), False, None) for path in passage.about]


def _write_source(
    connection: Connection,
    document_id: int | None,
    values: dict[str, Any],
    source: SourceText | None,
    passages: Sequence[_Named],
) -> list[_Placed]:
    """One document and its passages; passages that are there with the same words stay, all others of it go.

    Returns:
        The passages; their words and links are to be written.
    """
    columns = values | {
        "title": source.title if source else None,
        "language": source.language[:35] if source and source.language else None,
        "seen_at": now(),
    }
    kept: dict[tuple[str, str], list[int]] = {}
    if document_id is None:
        made = connection.execute(insert(table(DocumentRow)).values(columns))
        document_id = int(made.inserted_primary_key[0])  # type: ignore[index]
    else:
        connection.execute(update(DocumentRow).where(DocumentRow.id == document_id).values(columns))
        kept = _passages_of(connection, document_id)
    ids: list[int] = []
    for ordinal, (passage, _) in enumerate(passages):
        phrases = json.dumps(passage.phrases, separators=(",", ":"))
        same = kept.get((passage.text, phrases))
        if same:
            ids.append(same.pop())
            connection.execute(update(PassageRow).where(PassageRow.id == ids[-1]).values(ordinal=ordinal))
            continue
        row = {"document_id": document_id, "ordinal": ordinal, "text": passage.text, "phrases": phrases}
        made = connection.execute(insert(table(PassageRow)).values(row))
        ids.append(int(made.inserted_primary_key[0]))  # type: ignore[index]
    drop_passages(connection, [passage_id for left in kept.values() for passage_id in left])
    title = columns["title"] or ""
    return [
        (passage_id, _words(title, passage.text), links)
        for passage_id, (passage, links) in zip(ids, passages, strict=True)
    ]


def _words(title: str, passage: str) -> str:
    """What a passage is found by."""
    return f"{title}\n{passage}"


def put_all_words(connection: Connection) -> None:
    """Keep the words of every passage, a few at a time, in a catalog that has none."""
    every = connection.execute(select(PassageRow.id).order_by(PassageRow.id)).scalars().all()
    for some in chunks(every):
        rows = connection.execute(
            select(PassageRow.id, DocumentRow.title, PassageRow.text)
            .join(DocumentRow, DocumentRow.id == PassageRow.document_id)
            .where(PassageRow.id.in_(some))
        )
        words.put(connection, "passage", {row_id: _words(title or "", text) for row_id, title, text in rows})


def _passages_of(connection: Connection, document_id: int) -> dict[tuple[str, str], list[int]]:
    """Ids of the passages of a source by their text and phrases, the last in the source first."""
    rows = connection.execute(
        select(PassageRow.id, PassageRow.text, PassageRow.phrases)
        .where(PassageRow.document_id == document_id)
        .order_by(PassageRow.ordinal.desc())
    )
    found: dict[tuple[str, str], list[int]] = {}
    for passage_id, text, phrases in rows:
        found.setdefault((text, phrases), []).append(passage_id)
    return found


def _write_words_and_links(connection: Connection, placed: Sequence[_Placed]) -> None:
    """Words and links of some passages, in the place of those that they had; links are tied to photos."""
    words.put(connection, "passage", {passage_id: text for passage_id, text, _ in placed})
    ids = [passage_id for passage_id, _, _ in placed]
    for some in chunks(ids):
        connection.execute(delete(PassagePhotoRow).where(PassagePhotoRow.passage_id.in_(some)))
    links = [
        {"passage_id": passage_id, "position": position, "path": path, "inline": inline, "photo_id": photo_id}
        for passage_id, _, named in placed
        for position, (path, inline, photo_id) in enumerate(named)
    ]
    if links:
        connection.execute(insert(table(PassagePhotoRow)), links)
    for some in chunks(ids):
        _tie(connection, PassagePhotoRow.passage_id.in_(some))


def relink(connection: Connection) -> int:
    """Tie the pictures of all passages to the photos that lie at their paths now; returns how many were tied anew."""
    count = _tie(connection, PassagePhotoRow.photo_id.is_distinct_from(_PHOTO_AT))
    if count:
        raise_change(connection)
    return count


def _tie(connection: Connection, chosen: Any) -> int:
    rows = update(PassagePhotoRow).where(PassagePhotoRow.path.is_not(None), chosen)
    return int(connection.execute(rows.values(photo_id=_PHOTO_AT)).rowcount)


def write_vectors(connection: Connection, space_id: int, dim: int, made: Sequence[PassageVectors]) -> None:
    """Keep vectors of passages in one space, in the place of those that they had there.

    Raises:
        InputError: a vector has another length than the space, or is not finite.
    """
    for vectors in made:
        for array in (vectors.passage[None], vectors.phrases.reshape(-1, dim)):
            if array.shape[-1] != dim or not np.isfinite(array).all():
                raise InputError(f"passage {vectors.passage_id}: vectors are not finite, or not {dim} numbers long")
    ids = [vectors.passage_id for vectors in made]
    drop_vectors(connection, space_id, ids)
    there: set[int] = set()
    for some in chunks(ids):
        there.update(connection.execute(select(PassageRow.id).where(PassageRow.id.in_(some))).scalars())
    due = [vectors for vectors in made if vectors.passage_id in there]
    if not due:
        return
    first = raise_seq(connection, space_id, len(due))
    rows = [
        {
            "passage_id": vectors.passage_id,
            "space_id": space_id,
            "seq": seq,
            "passage": vectors.passage.astype("<f2").tobytes(),
            "phrases": vectors.phrases.astype("<f2").tobytes(),
            "pictures": vectors.pictures,
        }
        for seq, vectors in enumerate(due, first)
    ]
    connection.execute(insert(table(PassageEncodingRow)), rows)
    connection.execute(insert(table(PassageChecksumRow)), list(map(checksums.passage_row, rows)))
    raise_change(connection)


def keep_refused(connection: Connection, refused: Mapping[int, str], *, all_of_them: bool) -> set[int]:
    """Keep which passages the model refused, by id, and why, as reason of their sources, which stay present.

    Args:
        all_of_them: no other passage was refused: what is kept of other sources is out of date.
    Returns:
        Those whose source was kept with the same words before.
    """
    before = _refused(connection)
    owners: dict[int, int] = {}
    for some in chunks(sorted(refused)):
        rows = connection.execute(select(PassageRow.id, PassageRow.document_id).where(PassageRow.id.in_(some)))
        owners.update((passage_id, document_id) for passage_id, document_id in rows)
    said: dict[int, str] = {}
    for passage_id, document_id in sorted(owners.items()):
        said.setdefault(document_id, refused[passage_id])
    for document_id, words_ in said.items():
        if before.get(document_id) != words_:
            reason = {"reason": REFUSED, "detail": words_}
            connection.execute(update(DocumentRow).where(DocumentRow.id == document_id).values(reason))
    for some in chunks(sorted(before.keys() - said.keys()) if all_of_them else []):
        nothing = {"reason": None, "detail": None}
        connection.execute(update(DocumentRow).where(DocumentRow.id.in_(some)).values(nothing))
    return {passage_id for passage_id, document_id in owners.items() if before.get(document_id) == said[document_id]}


def any_refused(connection: Connection) -> bool:
    """Whether the model refused a passage of any present source when it was last asked."""
    return bool(_refused(connection))


def _refused(connection: Connection) -> dict[int, str | None]:
    """Present sources of which a passage was refused, with the words."""
    kept = select(DocumentRow.id, DocumentRow.detail).where(
        DocumentRow.state == "present", DocumentRow.reason.is_not(None)
    )
    return {row.id: row.detail for row in connection.execute(kept)}


def drop_vectors(connection: Connection, space_id: int, passage_ids: Sequence[int]) -> None:
    """Delete vectors of these passages in one space, and leave a removal row for each that had some.

    The next ingest encodes them again.
    """
    had: list[int] = []
    for some in chunks(passage_ids):
        here = (PassageEncodingRow.space_id == space_id, PassageEncodingRow.passage_id.in_(some))
        had += connection.execute(select(PassageEncodingRow.passage_id).where(*here)).scalars()
        connection.execute(delete(PassageEncodingRow).where(*here))
        their = (PassageChecksumRow.space_id == space_id, PassageChecksumRow.passage_id.in_(some))
        connection.execute(delete(PassageChecksumRow).where(*their))
    if had:
        first = raise_seq(connection, space_id, len(had))
        rows = [{"space_id": space_id, "seq": seq, "passage_id": had_id} for seq, had_id in enumerate(had, first)]
        connection.execute(insert(table(PassageRemovalRow)), rows)


def drop_passages(connection: Connection, passage_ids: Sequence[int]) -> None:
    """Take passages out of every table."""
    if not passage_ids:
        return
    spaces: set[int] = set()
    for some in chunks(passage_ids):
        found = select(PassageEncodingRow.space_id).where(PassageEncodingRow.passage_id.in_(some)).distinct()
        spaces.update(connection.execute(found).scalars())
    for space_id in sorted(spaces):
        drop_vectors(connection, space_id, passage_ids)
    words.remove(connection, "passage", passage_ids)
    for some in chunks(passage_ids):
        connection.execute(delete(PassagePhotoRow).where(PassagePhotoRow.passage_id.in_(some)))
        connection.execute(delete(PassageRow).where(PassageRow.id.in_(some)))


def drop_documents(connection: Connection, document_ids: Sequence[int]) -> None:
    """Take text sources out of the catalog with their passages; files stay."""
    for some in chunks(document_ids):
        own = connection.execute(select(PassageRow.id).where(PassageRow.document_id.in_(some))).scalars().all()
        drop_passages(connection, own)
        connection.execute(delete(DocumentRow).where(DocumentRow.id.in_(some)))
    if document_ids:
        raise_change(connection)


def forget_photos(connection: Connection, photo_ids: Sequence[int]) -> None:
    """Take out what is written inside the files of photos that go; passages of other sources lose them."""
    for some in chunks(photo_ids):
        own = connection.execute(select(DocumentRow.id).where(DocumentRow.photo_id.in_(some))).scalars().all()
        drop_documents(connection, own)
        connection.execute(update(PassagePhotoRow).where(PassagePhotoRow.photo_id.in_(some)).values(photo_id=None))
        connection.execute(delete(TextReadRow).where(TextReadRow.photo_id.in_(some)))


def sidecars_of(connection: Connection, paths: Set[str]) -> list[int]:
    """Ids of the sidecars that are about photos at these stored paths, and about no other one of the catalog."""
    about: dict[int, set[str]] = {}
    links = (
        select(PassageRow.document_id, PassagePhotoRow.path)
        .join(PassageRow, PassageRow.id == PassagePhotoRow.passage_id)
        .join(DocumentRow, DocumentRow.id == PassageRow.document_id)
        .where(DocumentRow.kind.in_(SIDECARS), PassagePhotoRow.path.is_not(None))
    )
    for some in chunks(sorted(paths)):
        for document_id, _ in connection.execute(links.where(PassagePhotoRow.path.in_(some))):
            about[document_id] = set()
    for ids in chunks(sorted(about)):
        for document_id, path in connection.execute(links.where(PassageRow.document_id.in_(ids))):
            about[document_id].add(str(path))
    others: set[str] = set()
    for names in chunks(sorted(set().union(*about.values()) - paths)):
        others.update(connection.execute(select(LocationRow.path).where(LocationRow.path.in_(names))).scalars())
    return sorted(document_id for document_id, named in about.items() if not named & others)


def forget_below(connection: Connection, names: Sequence[str]) -> int:
    """Take text sources at or below these stored names out; returns how many."""
    ids = connection.execute(select(DocumentRow.id).where(below_stored(names, DocumentRow))).scalars().all()
    drop_documents(connection, ids)
    return len(ids)


def mark_missing(
    connection: Connection,
    roots: Sequence[Path | str],
    seen: Set[str],
    unlisted: Sequence[Path | str],
    known: Set[str] | None,
) -> int:
    """Call text sources below the roots missing that were not seen, but for those below unlisted folders.

    A failed one that is not met any more goes. With `known`, other sources than these stay as they are. Returns how
    many became missing.
    """
    rows = connection.execute(
        select(DocumentRow.id, DocumentRow.path, DocumentRow.state).where(
            below_stored([stored_path(root) for root in roots], DocumentRow), DocumentRow.state != "missing"
        )
    ).all()
    skipped = [stored_path(folder) for folder in unlisted]
    gone: list[int] = []
    failed: list[int] = []
    for document_id, path, state in rows:
        if path is None:
            continue
        hidden = any(path == folder or path.startswith(folder_range(folder)[0]) for folder in skipped)
        real = real_path(path)
        if not hidden and real not in seen and (known is None or real in known):
            (failed if state == "failed" else gone).append(document_id)
    for some in chunks(gone):
        missing = {"state": "missing", "reason": None, "detail": None, "seen_at": now()}
        connection.execute(update(DocumentRow).where(DocumentRow.id.in_(some)).values(missing))
    drop_documents(connection, failed)
    if gone:
        raise_change(connection)
    return len(gone)


def prune(connection: Connection, before: datetime | None) -> int:
    """Take out the text sources that are missing, since before a moment; returns how many."""
    ids = lost_documents(connection, before)
    drop_documents(connection, ids)
    return len(ids)


def lost_documents(connection: Connection, before: datetime | None) -> Sequence[int]:
    """Ids of the text sources that are missing, since before a moment if one is given."""
    lost = select(DocumentRow.id).where(DocumentRow.state == "missing")
    return connection.execute(lost if before is None else lost.where(DocumentRow.seen_at < before)).scalars().all()


def trim_removals(connection: Connection, space_id: int) -> None:
    """Delete removal rows that no live generation of texts needs any more."""
    oldest = (
        select(func.min(GenerationRow.mark))
        .where(GenerationRow.space_id == space_id, GenerationRow.state == "live", GenerationRow.kind == "text")
        .scalar_subquery()
    )
    connection.execute(
        delete(PassageRemovalRow).where(PassageRemovalRow.space_id == space_id, PassageRemovalRow.seq <= oldest)
    )
