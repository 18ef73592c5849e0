"""Many photos into one folder of segments, photo by photo, so that a stopped run goes on where it was.

    FOLDER/panoptic/*.png     id maps in panopticapi's colours
    FOLDER/overlay/*.jpg      the photos, painted
    FOLDER/panoptic.json      what the id maps mean, as panopticapi reads it
    FOLDER/coco.json          the same segments as COCO's annotations with run lengths
    FOLDER/segments.jsonl     a line a finished photo, by which a later run knows it

What was finished is made anew only when the photo's size or time has changed, or its id map is gone.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..ingest.scan import ScannedFile, Scanner
from ..marks import is_marked_file
from ..records import RGB, FailedFile
from ..regular import os_words
from ..segmentation.classes import SegmentClass
from ..segmentation.segmenters import Segmenter
from .files import safe_name, to_json_text
from .outputs import Protected, check_folder, check_output, made_folder
from .segments import Row, write_coco_json, write_panoptic_json, write_pictures

JOURNAL, PANOPTIC, COCO = "segments.jsonl", "panoptic.json", "coco.json"
MAPS, OVERLAYS = "panoptic", "overlay"
FORMAT = 1


@dataclass
class SegmentReport:
    """What a run did.

    Attributes:
        segmented, before: photos of this run, and of earlier ones that were left as they are.
        own: pictures that this program made, which were passed over.
        segments: of the photos of this run.
        failed: files that could not be read, and folders that could not be listed.
    """

    segmented: int = 0
    before: int = 0
    own: int = 0
    segments: int = 0
    failed: list[FailedFile] = field(default_factory=list)


class SegmentFolder:
    """A folder of segments: what is finished in it, and what is added.

    Args:
        folder: made if missing, in a folder that is there.
        model: name of the model and its weights.
        classes: what its segments may be.
        overwrite: begin anew where there is one already, and write over files that are there.
        protected: whether a path must not be written.
    Raises:
        InputError: it must not be written, or holds segments of another model or of other classes.
    """

    def __init__(
        self,
        folder: Path,
        model: str,
        classes: Sequence[SegmentClass],
        *,
        overwrite: bool = False,
        protected: Protected | None = None,
    ) -> None:
        self.folder, self._classes = check_folder(folder, protected=protected), classes
        self._journal = self.folder / JOURNAL
        self._head = {"format": FORMAT, "model": model, "classes": _digest(classes)}
        self._places: dict[str, int] = {}  # of the line of each photo in the journal, in bytes
        self._facts: dict[str, tuple[int, int]] = {}  # size and time of each photo when it was segmented
        going_on = self._journal.is_file() and not overwrite
        if going_on:
            self._take_up()
        self._overwrite = overwrite or going_on  # the files of a folder that is gone on with are its own
        made_folder(self.folder)
        for name in (JOURNAL, PANOPTIC, COCO):
            check_output(self.folder / name, overwrite=self._overwrite, protected=protected)
        for name in (MAPS, OVERLAYS):
            made_folder(self.folder / name)
        if not going_on:
            self._journal.write_text(to_json_text(self._head) + "\n", encoding="ascii")

    def holds(self, photo: ScannedFile) -> bool:
        """Whether a photo is finished as it is now."""
        known = self._facts.get(photo.path) == (photo.bytes, photo.mtime_ns)
        return known and (self.folder / MAPS / f"{_name(photo.path)}.png").is_file()

    def add(self, photo: ScannedFile, pixels: RGB, segmenter: Segmenter) -> Row:
        """Segment one photo and write its files; it counts as finished afterwards."""
        name = _name(photo.path)
        maps, overlays = self.folder / MAPS / f"{name}.png", self.folder / OVERLAYS / f"{name}.jpg"
        found = segmenter.segment(pixels)
        segments = write_pictures(pixels, found, self._classes, maps, overlays, overwrite=self._overwrite)
        row = {
            "path": photo.path,
            "bytes": photo.bytes,
            "mtime_ns": photo.mtime_ns,
            "width": int(pixels.shape[1]),
            "height": int(pixels.shape[0]),
            "panoptic": maps.name,
            "segments": segments,
        }
        with self._journal.open("a", encoding="ascii", newline="\n") as journal:
            place = journal.tell()
            journal.write(to_json_text(row) + "\n")
        self._note(row, place)
        return row

    def write_json(self) -> None:
        """Write both JSON files, of all photos that are finished."""
        for write, name in ((write_panoptic_json, PANOPTIC), (write_coco_json, COCO)):
            write(self._rows(), self._classes, self.folder / name, overwrite=True)

    def _rows(self) -> Iterator[Row]:
        """The newest line of every photo, in the order in which they were finished."""
        with self._journal.open("rb") as journal:
            for place in sorted(self._places.values()):
                journal.seek(place)
                yield json.loads(journal.readline())

    def _note(self, row: Row, place: int) -> None:
        self._places[row["path"]], self._facts[row["path"]] = place, (row["bytes"], row["mtime_ns"])

    def _take_up(self) -> None:
        """Read what an earlier run has finished; a last line that was not written whole is cut off."""
        end = 0
        with self._journal.open("rb") as journal:
            for number, line in enumerate(journal):
                row = _read(line)
                if row is None:
                    break
                if number == 0:
                    self._check(row)
                else:
                    self._note(row, end)
                end += len(line)
        if not end:
            raise InputError(f"{self._journal} cannot be read as segments, expected another folder, or --overwrite")
        with self._journal.open("r+b") as journal:
            journal.truncate(end)

    def _check(self, head: Row) -> None:
        for name, what in (("format", "another form"), ("model", "another model"), ("classes", "other classes")):
            if head.get(name) != self._head[name]:
                model = head.get("model", "?")
                raise InputError(
                    f"folder {self.folder} holds segments of {what} (made by {model}), expected a new folder, "
                    "or --overwrite to begin anew"
                )


def segment_files(
    paths: Sequence[Path | str],
    segmenter: Segmenter,
    into: SegmentFolder,
    load: Callable[[str], RGB],
    *,
    progress: Callable[[int, int, str], None] = lambda done, total, path: None,
    finished: Callable[[Row], None] = lambda row: None,
) -> SegmentReport:
    """Segment photos and folders of photos.

    Args:
        paths: photos and folders.
        load: gives the upright (H, W, 3) uint8 pixels of a file.
        progress: called with photos done, how many there are, and the next one.
        finished: called with each photo that was segmented.
    Returns:
        What was done. A file that cannot be read is a line of it and stops nothing. The JSON files are written also
        when the run is stopped.
    Raises:
        InputError: a path is not there, or a file must not be written.
    """
    report = SegmentReport()
    scanner = Scanner()
    photos = list(scanner.files(paths))
    report.failed += [FailedFile(path, "NotListed", why) for path, why in scanner.unlisted.items()]
    try:
        for number, photo in enumerate(photos):
            progress(number, len(photos), Path(photo.path).name)
            if into.holds(photo):
                report.before += 1
                continue
            pixels = _pixels(photo.path, load, report)
            if pixels is not None:
                row = into.add(photo, pixels, segmenter)
                report.segmented, report.segments = report.segmented + 1, report.segments + len(row["segments"])
                finished(row)
    finally:
        into.write_json()
    return report


def _pixels(path: str, load: Callable[[str], RGB], report: SegmentReport) -> RGB | None:
    """The pixels of a photo; None for a picture of our own, and for one that cannot be read, which is noted."""
    try:
        if is_marked_file(path):
            report.own += 1
            return None
        return load(path)
    except OSError as error:
        report.failed.append(FailedFile(path, type(error).__name__, os_words(error)))
    except InputError as error:
        why = str(error).removeprefix(f"picture {path!r}: ")  # the line names its file already
        report.failed.append(FailedFile(path, type(error).__name__, why))
    return None


def names_of(row: Row, classes: Iterable[SegmentClass]) -> str:
    """What one photo shows, in words, most frequent class first.

    >>> dog = SegmentClass(18, "dog", "dog", True, (0, 0, 0))
    >>> names_of({"segments": [{"category_id": 18}, {"category_id": 18}]}, [dog])
    'dog ×2'
    """
    words = {one.id: one.words for one in classes}
    counts = Counter(words[segment["category_id"]] for segment in row["segments"])
    return ", ".join(name if count == 1 else f"{name} ×{count}" for name, count in counts.most_common())


def _name(path: str) -> str:
    """Of the files of a photo: readable, and different for all paths."""
    digest = hashlib.sha1(path.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{safe_name(Path(path).stem)}-{digest[:8]}"


def _digest(classes: Sequence[SegmentClass]) -> str:
    return hashlib.sha1(json.dumps([asdict(one) for one in classes]).encode()).hexdigest()[:12]


def _read(line: bytes) -> dict[str, Any] | None:
    """A whole line of the journal; None for one that is not."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
