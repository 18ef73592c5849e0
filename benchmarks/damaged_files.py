"""Changes a byte of each kind of file of an index, or cuts it short, and looks whether any answer is wrong then.

    python -m benchmarks.damaged_files [--points 180] [--seed 0] [--only catalog,backup] [--json]

Each point is one copy of an index of drawn photos, notes and sidecars in which one file is changed: one byte at a
random place, or at every third point the file ends there. Another process then asks for words, pictures, parts and
passages. It has to get the very answers of the index before, or an error of this program in words. What is made of the
catalog (FAISS files, notes about them, locks) must never lead to an error, and `repair` must leave an index that
`verify` finds sound. Of a damaged journal the last transactions may be lost; an ingest has to bring them back.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.disturbed import QUERIES, arguments, carry_out, expect, failed_checks, in_child
from benchmarks.kills import Copies
from benchmarks.work import backup, draw_library, ingest, make_grown, opened, restore
from interleave_index import Answer, Index
from interleave_index.interface.toy import ToyInterface

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
        self._look: Callable[[Path], list[Any]] = look
        self._wanted = expect(in_child(look, self._copies.place))[1]
        self._points = 0

    def one(self, share: float) -> tuple[bool, list[str]]:
        """Damage the file at this share of its length; gives whether that is refused in words, and what is wrong."""
        self._copies.begin_anew()
        self._points += 1
        place = self._copies.place
        damage(sorted(place.glob(self._pattern))[0], share, cut=self._points % CUT_EVERY == 0)
        kind, value, _ = in_child(self._look, place)
        wrong = []
        if kind == "error" or (kind == "refused" and self.name in DISPOSABLE):
            wrong.append(f"ended otherwise than it should: {value}")
        if kind == "done" and value != self._wanted and self.name != "journal":
            wrong.append(f"answers are others, and {self._seen(place)}")
        if self.name in DISPOSABLE or self.name in ("journal", "thumbnail"):
            wrong += self._mended(place)
        return kind == "refused", wrong

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
        return wrong if kind == "done" and value == self._wanted else [*wrong, "answers after repair are others"]

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


def main() -> None:
    """See the head of this file."""
    given = arguments("Damage each kind of file of an index.", 180, list(FILES)).parse_args()
    raise SystemExit(not carry_out(DamagedFile, list(FILES), given, "refused"))


if __name__ == "__main__":
    main()
