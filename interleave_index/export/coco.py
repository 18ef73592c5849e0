"""COCO instance files, as pycocotools and the tools around it read them.

Knows the format and the records. Masks are compressed RLE at the size of the upright photo.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..records import Answer, Photo, Region
from .files import to_json_text
from .masks import at_photo_size
from .outputs import whole_file


def answer_to_coco(answer: Answer, *, absent: bool = False) -> dict[str, Any]:
    """The hits of one query as a COCO instance dictionary.

    * images: one a hit, in the order of the hits, id = photo id; besides COCO's keys ``rank``,
      ``score``, ``relevance`` and ``meant`` (whether it reaches the answer's cut-off);
    * categories: one an entity of the query, numbered from 1; ``supercategory`` is its kind
      (text, picture, region), ``negative`` tells what was asked to be absent;
    * annotations: one a region; besides COCO's keys ``score``, ``present`` (whether the entity is judged to be
      there), ``probability`` of that, ``grounding`` (stored or exact) and ``region_id`` (or null).

    Masks of entities that are not judged to be there are left out, unless `absent` asks for them. So is
    a region whose mask has no pixel; an answer without hits gives empty lists.
    """
    categories: dict[tuple[str, str, bool], int] = {}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for hit in answer:
        images.append(
            _image(hit.photo)
            | {"rank": hit.rank, "score": hit.score, "relevance": hit.relevance, "meant": answer.meant(hit)}
        )
        for entity in hit.entities:
            key = (entity.text, entity.kind, entity.negative)
            category = categories.setdefault(key, len(categories) + 1)
            extra = {
                "present": entity.grounding.present,
                "probability": entity.grounding.probability,
                "grounding": entity.grounding.source,
            }
            shown = entity.regions if absent or entity.grounding.present else ()
            for region in shown:
                annotations += _annotation(hit.photo, region, category, len(annotations) + 1, extra)
    return {
        "info": {
            "description": "Hits of an interleave-index query",
            "query": answer.query,
            "path": answer.path,
            "cutoff": answer.cutoff,
        },
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": number, "name": text, "supercategory": kind, "negative": negative}
            for (text, kind, negative), number in categories.items()
        ],
    }


def write_coco(answer: Answer, file: Path | str, *, absent: bool = False, overwrite: bool = False) -> tuple[int, int]:
    """Write the hits of one query as a COCO file; see `answer_to_coco` for what stands in it.

    Returns:
        Numbers of images and annotations written.
    Raises:
        InputError: the file must not be written, see `export.outputs`.
        OSError: the file cannot be written; nothing is left half written.
    """
    with whole_file(file, overwrite=overwrite) as out:
        made = answer_to_coco(answer, absent=absent)
        out.write(to_json_text(made) + "\n")
    return len(made["images"]), len(made["annotations"])


def write_library_coco(
    rows: Iterable[tuple[Photo, Sequence[Region]]], file: Path | str, *, overwrite: bool = False
) -> tuple[int, int]:
    """Write a whole library as a COCO file: every photo with its stored regions, all of category ``region``.

    Args:
        rows: photos with their regions; taken one at a time and written at once, so that memory does
            not grow with the library.
        file: the JSON file; appears when it is complete.
        overwrite: whether a file that is there may be written over.
    Returns:
        Numbers of images and annotations written.
    Raises:
        InputError: the file must not be written, see `export.outputs`.
        OSError: the file cannot be written.
    """
    with (
        whole_file(file, overwrite=overwrite) as out,
        tempfile.TemporaryFile("w+", encoding="ascii", newline="\n") as later,
    ):
        info = {"description": "Library of an interleave-index index"}
        categories = [{"id": 1, "name": "region", "supercategory": "region"}]
        out.write(f'{{"info": {to_json_text(info)}, "licenses": [], "categories": {to_json_text(categories)},\n')
        out.write('"images": [')
        images = annotations = 0
        for photo, regions in rows:
            out.write((",\n" if images else "\n") + to_json_text(_image(photo)))
            images += 1
            for line in _annotations(photo, regions, annotations):
                later.write((",\n" if annotations else "\n") + to_json_text(line))
                annotations += 1
        out.write('\n],\n"annotations": [')
        later.seek(0)
        shutil.copyfileobj(later, out)
        out.write("\n]}\n")
    return images, annotations


def _annotations(photo: Photo, regions: Sequence[Region], before: int) -> Iterator[dict[str, Any]]:
    for region in regions:
        for annotation in _annotation(photo, region, 1, before + 1, {}):
            before += 1
            yield annotation


def _image(photo: Photo) -> dict[str, Any]:
    taken = photo.taken_at.isoformat(sep=" ") if photo.taken_at else ""
    return {
        "id": photo.id,
        "file_name": photo.path or "",
        "width": photo.width,
        "height": photo.height,
        "date_captured": taken,
        "license": 0,
        "coco_url": "",
        "flickr_url": "",
    }


def _annotation(
    photo: Photo, region: Region, category: int, number: int, extra: dict[str, Any]
) -> list[dict[str, Any]]:
    """The region as a list of one annotation, or an empty list when its mask has no pixel."""
    from pycocotools import mask as coco

    rle = at_photo_size(region.rle, photo)
    coded = {"size": list(rle.size), "counts": rle.counts.encode("ascii")}
    area = int(coco.area(coded))
    if not area:
        return []
    box = [float(v) for v in coco.toBbox(coded)]
    return [
        {
            "id": number,
            "image_id": photo.id,
            "category_id": category,
            "segmentation": rle.to_json(),
            "bbox": box,
            "area": area,
            "iscrowd": 0,
            "score": region.score,
            "region_id": region.region_id,
        }
        | extra
    ]
