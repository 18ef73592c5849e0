"""Generic segmentation of COCO into its panoptic classes, given by name, by description or by an exemplar region."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import metrics
from ...errors import InputError
from ...geometry import encode_rle
from .coco import Category, PanopticSet
from .entity import Exemplar
from .figures import Published
from .files import read_json
from .journal import Journal
from .run import Measured
from .subject import Segmented, Sizes, Subject, Table

SIZES = Sizes(640, 1024)
KINDS = ("names", "visual", "descriptions")
LEAST_EXEMPLAR = 0.01  # share of its photo that an exemplar covers at least, where a class has one so large


class CocoPanoptic:
    """PQ, mask AP and mIoU on a panoptic split.

    Args:
        classes: ``names``, ``visual`` (one exemplar a class) or ``descriptions``.
        descriptions: a sentence for every class name, for ``descriptions``.
        exemplars: the split that exemplars are drawn from, for ``visual``; with None they come from the measured
            split itself, and their photos take part in the measurement too.
        instances: COCO's instance file of the split, for AP as it is published; None takes the things of the maps.
        seed: of the exemplars.
        predictions: folder that gets the panoptic maps in the form that panopticapi reads, or None.
    """

    def __init__(
        self,
        panoptic: PanopticSet,
        *,
        classes: str = "names",
        descriptions: Mapping[str, str] | None = None,
        exemplars: PanopticSet | None = None,
        instances: Mapping[str, Any] | None = None,
        seed: int = 0,
        predictions: Path | None = None,
    ) -> None:
        self.name = f"coco-panoptic {classes}"
        self.settings: dict[str, Any] = {"classes": classes, "AP from": "maps" if instances is None else "instances"}
        self.published: Sequence[Published] = ()
        self._panoptic, self._kind, self._descriptions = panoptic, classes, descriptions or {}
        self._exemplars, self._instances, self._seed = exemplars or panoptic, instances, seed
        self._predictions = predictions
        self._table: Table = None

    def items(self) -> list[tuple[str, int]]:
        """Photos by their id."""
        return [(str(photo), photo) for photo in self._panoptic.photos]

    def measure(self, subject: Subject, item: int, rng: np.random.Generator) -> Measured:
        """Panoptic counts by class, the confusion of classes, and the instances of one photo."""
        if self._table is None:
            self._table = self._classes(subject)
        categories = self._panoptic.categories
        things = {number for number, category in enumerate(categories) if category.thing}
        found = subject.look(self._panoptic.photos[item].rgb(), SIZES).segment(self._table, things)
        ids = self._panoptic.ids(item)
        segments = [metrics.Segment(number, categories[place].id) for number, place in found.segments]
        counts = metrics.panoptic_counts(found.ids, segments, ids, self._panoptic.segments[item])
        confusion = metrics.class_confusion(found.semantic, self._panoptic.classes(item, ids), len(categories))
        if self._predictions is not None:
            _write_map(self._predictions / f"{item:012d}.png", found.ids)
        return Measured(
            {
                "panoptic": {str(k): [c.iou, c.matched, c.false, c.missed] for k, c in counts.items()},
                "confusion": [[int(a), int(b), int(confusion[a, b])] for a, b in np.argwhere(confusion)],
                "segments": [{"id": s.id, "category_id": s.category} for s in segments],
                "instances": _instances(found, categories),
            }
        )

    def figures(self, journal: Journal, subject: Subject) -> dict[str, Any]:
        """PQ, SQ, RQ (all classes, things, stuff), mAP, AP50 and mIoU."""
        categories = self._panoptic.categories
        counts: dict[int, metrics.PanopticCounts] = {}
        confusion = np.zeros((len(categories), len(categories) + 1), np.int64)
        rows = list(journal.each())
        for _, record in rows:
            for name, row in record["panoptic"].items():
                counts[int(name)] = counts.get(int(name), metrics.PanopticCounts()) + metrics.PanopticCounts(*row)
            for true, guess, pixels in record["confusion"]:
                confusion[true, guess] += pixels
        kinds = {
            "": categories,
            " things": [c for c in categories if c.thing],
            " stuff": [c for c in categories if not c.thing],
        }
        quality = {
            f"{name}{kind}": value
            for kind, some in kinds.items()
            for name, value in metrics.panoptic_quality(counts, [c.id for c in some]).items()
            if name != "classes"
        }
        if self._predictions is not None:
            self._write_json(rows)
        return {**quality, **self._average_precision(rows), **metrics.semantic_figures(confusion), "n": len(rows)}

    # --- classes ------------------------------------------------------------------------------

    def _classes(self, subject: Subject) -> Table:
        names = [category.name for category in self._panoptic.categories]
        if self._kind == "descriptions":
            missing = [name for name in names if name not in self._descriptions]
            if missing:
                raise InputError(
                    f"descriptions lack {len(missing)} of {len(names)} classes, the first is {missing[0]!r}"
                )
            return subject.classes([self._descriptions[name] for name in names], descriptions=True)
        if self._kind == "visual":
            return subject.classes(draw_exemplars(self._exemplars, self._panoptic.categories, self._seed))
        return subject.classes(names)

    # --- instances ----------------------------------------------------------------------------

    def _average_precision(self, rows: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, float]:
        found = [{**one, "image_id": int(key)} for key, record in rows for one in record["instances"]]
        truth = self._truth([int(key) for key, _ in rows])
        known = {one["id"] for one in truth["categories"]}
        return average_precision(
            truth, [one for one in found if one["category_id"] in known], [int(key) for key, _ in rows]
        )

    def _truth(self, photos: Sequence[int]) -> dict[str, Any]:
        things = [{"id": c.id, "name": c.name} for c in self._panoptic.categories if c.thing]
        if self._instances is not None:
            return {**self._instances, "categories": self._instances.get("categories", things)}
        countable = {one["id"] for one in things}
        annotations: list[dict[str, Any]] = []
        for photo in photos:
            ids = self._panoptic.ids(photo)
            for segment in self._panoptic.segments[photo]:
                if segment.category in countable:
                    mask = ids == segment.id
                    annotations.append(
                        {
                            "id": len(annotations) + 1,
                            "image_id": photo,
                            "category_id": segment.category,
                            "iscrowd": int(segment.crowd),
                            "area": int(mask.sum()),
                            "bbox": [0, 0, 1, 1],
                            "segmentation": encode_rle(mask).to_json(),
                        }
                    )
        images = [
            {"id": n, "height": self._panoptic.photos[n].size[0], "width": self._panoptic.photos[n].size[1]}
            for n in photos
        ]
        return {"images": images, "annotations": annotations, "categories": things}

    def _write_json(self, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
        if self._predictions is not None:
            annotations = [
                {"image_id": int(key), "file_name": f"{int(key):012d}.png", "segments_info": record["segments"]}
                for key, record in rows
            ]
            self._predictions.with_suffix(".json").write_text(json.dumps({"annotations": annotations}))


def draw_exemplars(panoptic: PanopticSet, categories: Sequence[Category], seed: int) -> list[Exemplar]:
    """One segment a class, drawn among those of at least a hundredth of their photo where there are any.

    Raises:
        InputError: a class has no segment at all.
    """
    owners: dict[int, list[tuple[int, int]]] = {}
    for photo, segments in panoptic.segments.items():
        for segment in segments:
            if not segment.crowd:
                owners.setdefault(segment.category, []).append((photo, segment.id))
    rng, found = np.random.default_rng(seed), []
    for category in categories:
        places = owners.get(category.id)
        if not places:
            raise InputError(
                f"no segment of {category.name!r} in {panoptic.annotation.name}, expected one to show it; "
                "take exemplars from a larger split"
            )
        for photo, segment in [places[n] for n in rng.permutation(len(places))[:20]]:
            mask = panoptic.mask(photo, segment)
            if mask.mean() >= LEAST_EXEMPLAR:
                break
        found.append(Exemplar(panoptic.photos[photo].rgb(), mask))
    return found


def average_precision(truth: Mapping[str, Any], found: list[dict[str, Any]], photos: Sequence[int]) -> dict[str, float]:
    """COCO's mask AP over IoU 0.5 to 0.95, and AP at 0.5, percent; by pycocotools itself.

    Args:
        truth: an instances file's content.
        found: COCO results: image_id, category_id, segmentation (run lengths), score.
        photos: ids of the photos that count.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not found or not truth["annotations"]:
        return {"mAP": 0.0, "AP50": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dict(truth)
        coco.createIndex()
        results = coco.loadRes(found)
        judged = COCOeval(coco, results, "segm")
        judged.params.imgIds = sorted(photos)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return {"mAP": 100 * max(0.0, float(judged.stats[0])), "AP50": 100 * max(0.0, float(judged.stats[1]))}


def read_descriptions(path: Path) -> dict[str, str]:
    """A JSON object from class names to sentences.

    Raises:
        InputError: it is missing or of another form.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise InputError(f"{path} is not a JSON object from class names to descriptions")
    return content


def _instances(found: Segmented, categories: Sequence[Category]) -> list[dict[str, Any]]:
    return [
        {"category_id": categories[one.category].id, "score": one.score, "segmentation": encode_rle(one.mask).to_json()}
        for one in found.instances
        if one.mask.any()
    ]


def _write_map(path: Path, ids: NDArray[np.int64]) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)).save(path)
