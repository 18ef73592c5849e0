"""Composed retrieval as its data sets have it: CIRR, CIRCO and FashionIQ. A query is a photo and what should be other.

* CIRR: `cirr/captions/cap.rc2.SPLIT.json`, `cirr/image_splits/split.rc2.SPLIT.json`, and the photos that it names.
* CIRCO: `annotations/SPLIT.json`; `annotations/image_info_unlabeled2017.json` and `unlabeled2017/` in
  `COCO2017_unlabeled/`.
* FashionIQ: `captions/cap.KIND.SPLIT.json`, `image_splits/split.KIND.SPLIT.json`, `images/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from .files import Row, read_form

KINDS = ("dress", "shirt", "toptee")  # of FashionIQ, in the order of its tables
ENDINGS = (".png", ".jpg", ".jpeg")
SIGNS = ".?, "  # around the captions of FashionIQ


@dataclass(frozen=True, slots=True)
class ComposedQuery:
    """A photo, and what should be other than in it.

    Attributes:
        id: of the query in its file, or its place there.
        reference: name of the photo.
        text: what should be other.
        truths: names of the photos that are meant; none where the data set keeps them to itself.
        subset: names of the few photos that are also ranked by themselves, the reference left out; CIRR has them.
        aspects: kinds of change; CIRCO has them.
    """

    id: str
    reference: str
    text: str
    truths: tuple[str, ...] = ()
    subset: tuple[str, ...] = ()
    aspects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComposedSet:
    """Queries over one gallery.

    Attributes:
        photos: file of every photo that is searched, by its name, in the order of the data set.
        queries: in the order of the file.
        references: files of references that are not searched, by name.
    """

    photos: Mapping[str, Path]
    queries: tuple[ComposedQuery, ...]
    references: Mapping[str, Path]

    def file(self, name: str) -> Path:
        """Of a photo that is searched or asked with."""
        return self.photos.get(name) or self.references[name]


def read_cirr(root: Path, split: str = "val") -> ComposedSet:
    """Read a split: ``val``, ``train``, or ``test1``, whose truths only the server of the data set knows.

    Raises:
        InputError: a file is missing or of another form, or names a photo that the split lacks.
    """
    listed = root / "cirr" / "image_splits" / f"split.rc2.{split}.json"
    with read_form(listed, "CIRR's image splits") as content:
        photos = {str(name): root / str(place) for name, place in content.items()}
    captions = root / "cirr" / "captions" / f"cap.rc2.{split}.json"
    with read_form(captions, "CIRR's captions") as content:
        queries = tuple(_cirr_query(row) for row in content)
    return _checked(ComposedSet(photos, queries, {}), captions)


def _cirr_query(row: Row) -> ComposedQuery:
    reference, target = str(row["reference"]), row.get("target_hard")
    return ComposedQuery(
        id=str(int(row["pairid"])),
        reference=reference,
        text=str(row["caption"]).strip(),
        truths=() if target is None else (str(target),),
        subset=tuple(str(name) for name in row["img_set"]["members"] if name != reference),
    )


def read_circo(root: Path, split: str = "val") -> ComposedSet:
    """Read a split: ``val``, or ``test``, whose truths only the server of the data set knows.

    Raises:
        InputError: a file is missing or of another form, or names a photo that is not there.
    """
    folder = root / "COCO2017_unlabeled"
    with read_form(folder / "annotations" / "image_info_unlabeled2017.json", "COCO images") as content:
        rows = content["images"]
        photos = {str(int(row["id"])): folder / "unlabeled2017" / str(row["file_name"]) for row in rows}
    annotations = root / "annotations" / f"{split}.json"
    with read_form(annotations, "CIRCO") as content:
        queries = tuple(_circo_query(row) for row in content)
    return _checked(ComposedSet(photos, queries, {}), annotations)


def _circo_query(row: Row) -> ComposedQuery:
    truths = tuple(str(int(number)) for number in row.get("gt_img_ids") or ())
    target = row.get("target_img_id")
    if target is not None and truths[:1] != (str(int(target)),):
        raise ValueError(f"query {row['id']} has the target {target}, expected the first of its truths {truths[:3]}")
    return ComposedQuery(
        id=str(int(row["id"])),
        reference=str(int(row["reference_img_id"])),
        text=str(row["relative_caption"]).strip(),
        truths=truths,
        aspects=tuple(str(aspect) for aspect in row.get("semantic_aspects") or ()),
    )


def read_fashioniq(root: Path, kind: str, split: str = "val") -> ComposedSet:
    """Read one kind of garment; its two captions are joined by "and", as the field does.

    Args:
        kind: ``dress``, ``shirt`` or ``toptee``.
        split: ``val`` or ``train``; the test split has no truths.
    Raises:
        InputError: a file is missing or of another form, or names a photo that is not there.
    """
    captions = root / "captions" / f"cap.{kind}.{split}.json"
    with read_form(captions, "FashionIQ's captions") as content:
        queries = tuple(_fashion_query(number, row) for number, row in enumerate(content))
    listed = root / "image_splits" / f"split.{kind}.{split}.json"
    with read_form(listed, "FashionIQ's image splits") as content:
        photos = {str(name): _image(root / "images", str(name)) for name in content}
    outside = {query.reference for query in queries} - photos.keys()
    references = {name: _image(root / "images", name) for name in sorted(outside)}
    return _checked(ComposedSet(photos, queries, references), captions)


def _fashion_query(number: int, row: Row) -> ComposedQuery:
    first, second = row["captions"]
    text = f"{str(first).strip(SIGNS)} and {str(second).strip(SIGNS)}"
    return ComposedQuery(str(number), str(row["candidate"]), text, (str(row["target"]),))


def _image(folder: Path, name: str) -> Path:
    """The file of a photo that is named without its ending."""
    files = [folder / f"{name}{ending}" for ending in ENDINGS]
    return next((file for file in files if file.exists()), files[0])


def _checked(found: ComposedSet, path: Path) -> ComposedSet:
    """The set itself, where its queries name photos that it has."""
    if not found.queries:
        raise InputError(f"{path} has no query, expected a split of the data set")
    for query in found.queries:
        if bool(query.truths) != bool(found.queries[0].truths):
            raise InputError(f"{path} tells what is meant by some of its queries only; download it again")
        wanted = (*query.truths, *query.subset)
        missing = [name for name in wanted if name not in found.photos]
        if query.reference not in found.photos and query.reference not in found.references:
            missing.append(query.reference)
        if missing:
            raise InputError(
                f"{path}: query {query.id} names photo {missing[0]!r}, which its split does not list; both files must "
                "be of one release"
            )
    return found
