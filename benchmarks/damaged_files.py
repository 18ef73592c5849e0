"""Changes a byte of each kind of file of an index, or cuts it short, and looks whether any answer is wrong then.

    python -m benchmarks.damaged_files [--points 180] [--seed 0] [--only catalog,backup] [--json]

Each point is one copy of an index of drawn photos, notes and sidecars in which one file is changed: one byte at a
random place, or at every third point the file ends there. Another process then asks for words, pictures, parts and
passages. It has to get the very answers of the index before, or an error of this program in words. What is made of the
catalog (FAISS files, notes about them, locks) must never lead to an error, and `repair` must leave an index that
`verify` finds sound. Of a damaged journal the last transactions may be lost; an ingest has to bring them back.

`stored vectors` turns over a byte inside of what the catalog stores of photos and passages (vectors, boxes, areas,
scores, masks, calibration). What is damaged may be left out of answers, or be shown without its masks when a note says
so; everything else has to stay as it was, and `repair` has to bring back all of it.
"""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.disturbed import QUERIES, arguments, carry_out, expect, failed_checks, in_child
from benchmarks.kills import Copies
from benchmarks.work import backup, draw_library, ingest, make_grown, opened, restore
from interleave_index import Answer, Index
from interleave_index.interface.toy import ToyInterface

STORED = "stored vectors"
BLOBS = (  # tables and columns that `stored vectors` changes
    *(("encoding", name) for name in ("image", "regions", "boxes", "areas", "scores")),
    *(("passage_encoding", name) for name in ("passage", "phrases")),
    ("region_mask", "masks"),
    ("calibration", "data"),
)
CUT_EVERY = 3  # points, of which the last one cuts the file
DISPOSABLE = ("image file", "region file", "text file", "list of checked files", "lock")


def make_with_all(place: Path) -> None:
    """An index with FAISS files of every kind, photos that came later, and a backup."""
    make_grown(place)
    with opened(place) as index:
        index.optimize()
    draw_library(place / "photos" / "last", 50, 4, 0)
    ingest(place)
    backup(place)


def make_with_journal(place: Path) -> None:
    """The files of an index as a process leaves them that is killed: the last photos are in the journal alone."""
    make_grown(place)
    draw_library(place / "photos" / "last", 50, 4, 0)
    with opened(place) as index:
        index.ingest(place / "photos")
        shutil.copytree(place / "index", place / "left")
    shutil.rmtree(place / "index")
    (place / "left").rename(place / "index")


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "catalog": (make_with_all, "index/catalog.sqlite"),
    STORED: (make_with_all, "index/catalog.sqlite"),
    "journal": (make_with_journal, "index/catalog.sqlite-wal"),
    "image file": (make_with_all, "index/faiss/image-*"),
    "region file": (make_with_all, "index/faiss/region-*"),
    "text file": (make_with_all, "index/faiss/text-*"),
    "list of checked files": (make_with_all, "index/faiss/checked.json"),
    "thumbnail": (make_with_all, "index/thumbnails/*/*.jpg"),
    "settings": (make_with_all, "index/config.yaml"),
    "lock": (make_with_all, "index/writer.lock"),
    "backup": (make_with_all, "backup.tar"),
}


def answers(place: Path) -> list[Any]:
    """All that a search gives, exactly; with the settings that the index keeps."""
    with Index.open(place / "index", interface=ToyInterface()) as index:
        first = int(index.ids()[0])
        asked = (*QUERIES, f"[photo:{first}] in red", f"[region:{first}/0]", '"number 3"')
        return [_held(index.search(query, 60, target="both")) for query in asked]


def _held(answer: Answer) -> list[Any]:
    photos = [
        (hit.photo, round(hit.score, 6), [(region.box, region.rle) for part in hit.entities for region in part.regions])
        for hit in answer
    ]
    texts = [(hit.passage.path, hit.passage.text, round(hit.score, 6)) for hit in answer.texts or ()]
    return [photos, texts]


def answers_with_notes(place: Path) -> list[tuple[list[Any], tuple[str, ...]]]:
    """As `answers`, each with its notes."""
    with Index.open(place / "index", interface=ToyInterface()) as index:
        found = [index.search(query, 60, target="both") for query in QUERIES]
    return [(_held(answer), answer.notes) for answer in found]


def _is_close(score: float, other: float) -> bool:
    """Whether two scores are the same but for the last digits of float32, which change with the rows beside them."""
    return math.isclose(score, other, rel_tol=1e-6, abs_tol=2e-6)


def are_the_same(found: list[Any], wanted: list[Any]) -> bool:
    """Whether answers have the same hits in the same order, with the same regions and scores."""
    return len(found) == len(wanted) and all(
        len(hits) == len(right)
        and all(
            _is_close(one[place], true[place]) and _without(one, place) == _without(true, place)
            for one, true in zip(hits, right, strict=True)
        )
        for answer, expected in zip(found, wanted, strict=True)
        for hits, right, place in zip(answer, expected, (1, 2), strict=True)  # of photos, of texts: where the score is
    )


def _without(row: tuple[Any, ...], place: int) -> tuple[Any, ...]:
    return row[:place] + row[place + 1 :]


def only_left_out(found: list[tuple[list[Any], tuple[str, ...]]], wanted: list[Any]) -> list[str]:
    """What is wrong with answers beside what may be left out of them; `wanted` are those of the index before."""
    wrong = []
    for (held, notes), right in zip(found, wanted, strict=False):
        shown = {hit[0].id: hit for hit in right[0]}
        for photo, score, regions in held[0]:
            true_photo, true_score, true_regions = shown[photo.id]
            by_boxes = any(f"masks of photo {photo.id} " in note for note in notes)
            if photo != true_photo or not _is_close(score, true_score) or (regions != true_regions and not by_boxes):
                wrong.append(f"photo {photo.id} is another: {score}, expected {true_score}")
        lost = shown.keys() - {hit[0].id for hit in held[0]}
        if lost and not any("left out" in note for note in notes):
            wrong.append(f"photos {lost} are left out without a word")
        if len(lost) > 1:
            wrong.append(f"{len(lost)} photos are left out, expected one at most")
        true_texts = {text[:2]: text[2] for text in right[1]}
        others = [text for text in held[1] if not _is_close(text[2], true_texts.get(text[:2], math.inf))]
        if others or len(held[1]) < len(right[1]) - 1:
            wrong.append(f"texts are others: {others}, {len(held[1])} of {len(right[1])}")
    return wrong


def restored_answers(place: Path) -> list[Any]:
    """Those of the index that a backup makes, put in the place of the one that it was taken of."""
    restore(place)
    shutil.rmtree(place / "index")
    (place / "again").rename(place / "index")
    return answers(place)


def _repair(place: Path) -> None:
    with opened(place) as index:
        index.repair()


class DamagedFile:
    """One kind of file that is damaged again and again."""

    def __init__(self, name: str, scratch: Path) -> None:
        self.name = name
        make, self._pattern = FILES[name]
        self._copies = Copies(scratch / name.replace(" ", "-"), make, None)
        self._copies.begin_anew()
        if not list(self._copies.place.glob(self._pattern)):
            raise SystemExit(f"there is no {name}: nothing is named {self._pattern}")
        look = restored_answers if name == "backup" else answers
        self._look: Callable[[Path], list[Any]] = answers_with_notes if name == STORED else look
        self._wanted = expect(in_child(look, self._copies.place))[1]
        self._undamaged = expect(in_child(self._look, self._copies.place))[1]
        self._points = 0

    def one(self, share: float) -> tuple[bool, list[str]]:
        """Damage the file at this share of its length; gives whether that is refused in words, and what is wrong."""
        self._copies.begin_anew()
        self._points += 1
        place = self._copies.place
        file = sorted(place.glob(self._pattern))[0]
        if self.name == STORED:
            damage_stored(file, share)
        else:
            damage(file, share, cut=self._points % CUT_EVERY == 0)
        kind, value, _ = in_child(self._look, place)
        wrong = []
        if kind == "error" or (kind == "refused" and self.name in DISPOSABLE):
            wrong.append(f"ended otherwise than it should: {value}")
        if self.name == STORED:
            wrong += only_left_out(value, self._wanted) if kind == "done" else [f"ended otherwise: {value}"]
        elif kind == "done" and value != self._wanted and self.name != "journal":
            wrong.append(f"answers are others, and {self._seen(place)}")
        if self.name in DISPOSABLE or self.name in ("journal", "thumbnail", STORED):
            wrong += self._mended(place)
        noticed = kind == "refused" or (self.name == STORED and value != self._undamaged)
        return noticed, wrong

    def _seen(self, place: Path) -> str:
        found = in_child(failed_checks, place)[1]
        return f"verify says {found}" if found else "verify says nothing"

    def _mended(self, place: Path) -> list[str]:
        for step in (_repair, ingest):
            kind, said, _ = in_child(step, place)
            if kind != "done":
                return [f"cannot be repaired: {said}"]
        wrong = [f"after repair: {words}" for words in in_child(failed_checks, place)[1]]
        kind, value, _ = in_child(partial(answers), place)
        same = kind == "done" and are_the_same(value, self._wanted)
        return wrong if same else [*wrong, f"answers after repair are others ({kind})"]

    def close(self) -> None:
        """Let go of the folder."""
        self._copies.close()


def damage(file: Path, share: float, *, cut: bool) -> None:
    """Turn over the bits of one byte at this share of a file's length, or end the file there."""
    data = bytearray(file.read_bytes())
    at = min(int(share * len(data)), max(0, len(data) - 1))
    if cut:
        data = data[:at]
    elif data:
        data[at] ^= 0xFF
    file.write_bytes(data)


def damage_stored(catalog: Path, share: float) -> None:
    """Turn over the bits of one byte at this share of all that the catalog stores in the columns `BLOBS`.

    Nothing else of the catalog changes, as when a disk gives back another byte.
    """
    with closing(sqlite3.connect(catalog)) as connection:
        held = [
            (table, column, row, bytes(data))
            for table, column in BLOBS
            for row, data in connection.execute(f"SELECT rowid, {column} FROM {table}")
        ]
        at = int(share * sum(len(data) for *_, data in held))
        for table, column, row, data in held:
            if at < len(data):
                changed = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, row))
                connection.commit()
                return
            at -= len(data)


def main() -> None:
    """See the head of this file."""
    given = arguments("Damage each kind of file of an index.", 180, list(FILES)).parse_args()
    raise SystemExit(not carry_out(DamagedFile, list(FILES), given, "refused"))


if __name__ == "__main__":
    main()
