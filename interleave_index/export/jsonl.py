"""JSON lines: one hit, one photo with its stored regions, or one passage a line.

Knows the records. Lines are pure ASCII JSON; see `files.to_json_text` for names that are not UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..records import Answer, Photo, Region
from ..records.texts import Passage, TextHit
from .files import to_json_text
from .masks import at_photo_size
from .outputs import whole_file


def write_jsonl(answer: Answer, file: Path | str, *, overwrite: bool = False) -> int:
    """Write one line a hit: the hit as `search --json` prints it, after the ``query`` that it answers.

    Every line stands for itself, so it also holds the answer's ``cutoff`` and whether the hit is ``meant``.

    Returns:
        Number of lines.
    Raises:
        InputError: the file must not be written, see `export.outputs`.
        OSError: the file cannot be written; nothing is left half written.
    """
    with whole_file(file, overwrite=overwrite) as out:
        for hit in answer:
            judged = {"query": answer.query, "cutoff": answer.cutoff, "meant": answer.meant(hit)}
            out.write(to_json_text(judged | hit.to_json()) + "\n")
    return len(answer)


def write_library_jsonl(
    rows: Iterable[tuple[Photo, Sequence[Region]]], file: Path | str, *, overwrite: bool = False
) -> int:
    """Write one line a photo: its facts and its stored regions with masks at photo size.

    Args:
        rows: photos with their regions; taken one at a time, so that memory does not grow with the library.
        file: appears when it is complete.
        overwrite: whether a file that is there may be written over.
    Returns:
        Number of lines.
    """
    lines = 0
    with whole_file(file, overwrite=overwrite) as out:
        for photo, regions in rows:
            out.write(to_json_text(photo_to_json(photo, regions)) + "\n")
            lines += 1
    return lines


def write_texts_jsonl(
    texts: Iterable[Passage | TextHit],
    file: Path | str,
    *,
    photo_paths: Mapping[int, str | None],
    query: str | None = None,
    overwrite: bool = False,
) -> int:
    """Write one line a passage: as `search --json` prints it, with the paths of its photos.

    Args:
        texts: passages, or the ranked ones of an answer.
        file: appears when it is complete.
        photo_paths: by id, of the photos that the passages show or are about.
        query: that ranked them; stands first in every line.
        overwrite: whether a file that is there may be written over.
    Returns:
        Number of lines.
    """
    lines = 0
    with whole_file(file, overwrite=overwrite) as out:
        for text in texts:
            asked = {} if query is None else {"query": query}
            photos = text.passage.photos if isinstance(text, TextHit) else text.photos
            paths = {"photo_paths": [photo_paths.get(photo_id) for photo_id in photos]}
            out.write(to_json_text(asked | text.to_json() | paths) + "\n")
            lines += 1
    return lines


def photo_to_json(photo: Photo, regions: Sequence[Region]) -> dict[str, Any]:
    """One photo of the library as plain JSON values: ``photo_id``, ``path``, facts, ``regions``."""
    return {
        "photo_id": photo.id,
        "path": photo.path,
        "sha256": photo.sha256,
        "width": photo.width,
        "height": photo.height,
        "format": photo.format,
        "taken_at": photo.taken_at.isoformat() if photo.taken_at else None,
        "camera": photo.camera,
        "lens": photo.lens,
        "latitude": photo.latitude,
        "longitude": photo.longitude,
        "phash": None if photo.phash is None else f"{photo.phash:016x}",
        "regions": [
            {
                "region_id": r.region_id,
                "score": r.score,
                "box": list(r.box),
                "mask": at_photo_size(r.rle, photo).to_json(),
            }
            for r in regions
        ],
    }
