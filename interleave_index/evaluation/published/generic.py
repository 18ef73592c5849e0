"""Generic segmentation of COCO into its panoptic classes, given by name, by description or by an exemplar region."""

from __future__ import annotations

import contextlib
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from ... import metrics
from ...errors import InputError
from ...geometry import encode_rle
from ..outcome import Figures
from .coco import Category, PanopticSet
from .entity import Exemplar
from .files import read_json, write_ids
from .journal import Journal, Record
from .run import Benchmark
from .subject import Subject, Table

LEAST_EXEMPLAR = 0.01  # share of its photo that an exemplar covers at least, where a class has one so large
TRIES = 20  # segments of a class that are looked at for one so large


class CocoPanoptic(Benchmark[int]):
    """PQ, mask AP and mIoU on a panoptic split.

    Args:
        classes: ``names``, ``visual`` (one exemplar a class) or ``descriptions``.
        descriptions: a sentence for every class name, for ``descriptions``.
        exemplars: the split that exemplars are drawn from, for ``visual``; with None they come from the measured
            split itself, and their photos take part in the measurement too.
        instances: COCO's instance file of the split, for AP as it is published; None takes the things of the maps.
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
        predictions: Path | None = None,
    ) -> None:
        items = {str(photo): photo for photo in panoptic.photos}
        source = "maps" if instances is None else "instances"
        super().__init__(f"coco-panoptic {classes}", items, {"classes": classes, "AP from": source})
        self._panoptic, self._kind, self._descriptions = panoptic, classes, descriptions or {}
        self._exemplars, self._instances, self._predictions = exemplars or panoptic, instances, predictions
        self._table: Table = None  # made with the first photo

    def written(self) -> list[Path]:
        """Files that the measurement writes: none, or a map a photo and the JSON beside their folder."""
        if self._predictions is None:
            return []
        maps = [self._predictions / _map_name(photo) for photo in self._panoptic.photos]
        return [self._predictions.with_suffix(".json"), *maps]

    def measure(self, subject: Subject, item: int, rng: Generator) -> Record:
        """Panoptic counts by class, the confusion of classes, and the instances of one photo."""
        if self._table is None:
            self._table = self._classes(subject)
        categories = self._panoptic.categories
        things = {number for number, category in enumerate(categories) if category.thing}
        answer = subject.segment(self._panoptic.photos[item].rgb(), self._table, things)
        ids = answer.panoptic.ids.astype(np.int64)
        segments = [metrics.Segment(row.id, categories[row.category].id) for row in answer.panoptic.segments]
        counts = metrics.panoptic_counts(ids, segments, self._panoptic.ids(item), self._panoptic.segments[item])
        confusion = metrics.class_confusion(answer.semantic, self._panoptic.classes(item), len(categories))
        instances = []
        for instance in answer.instances:
            if instance.mask.any():
                category, mask = categories[instance.category].id, encode_rle(instance.mask).to_json()
                instances.append({"category_id": category, "score": instance.score, "segmentation": mask})
        if self._predictions is not None:
            write_ids(self._predictions / _map_name(item), ids)
        return {
            "panoptic": {str(category): list(astuple(count)) for category, count in counts.items()},
            "confusion": [[*pair, int(confusion[*pair])] for pair in np.argwhere(confusion).tolist()],
            "segments": [{"id": segment.id, "category_id": segment.category} for segment in segments],
            "instances": instances,
        }

    def figures(self, journal: Journal) -> Figures:
        """PQ, SQ, RQ (all classes, things, stuff), mAP, AP50 and mIoU."""
        categories, photos = self._panoptic.categories, [int(key) for key, _ in journal.rows()]
        counts: dict[int, metrics.PanopticCounts] = defaultdict(metrics.PanopticCounts)
        for of_photo in journal.values("panoptic"):
            for category, row in of_photo.items():
                counts[int(category)] += metrics.PanopticCounts(*row)
        confusion = np.zeros((len(categories), len(categories) + 1), np.int64)
        for true, predicted, pixels in journal.pooled("confusion"):
            confusion[true, predicted] += pixels
        things = [category.id for category in categories if category.thing]
        stuff = [category.id for category in categories if not category.thing]
        quality: dict[str, float] = {}
        for kind, ids in (("", things + stuff), (" things", things), (" stuff", stuff)):
            of_kind = metrics.panoptic_quality(counts, ids)
            quality |= {name + kind: of_kind[name] for name in ("PQ", "SQ", "RQ")}
        if self._predictions is not None:
            annotations = [
                {"image_id": photo, "file_name": _map_name(photo), "segments_info": segments}
                for photo, segments in zip(photos, journal.values("segments"), strict=True)
            ]
            self._predictions.with_suffix(".json").write_text(json.dumps({"annotations": annotations}))
        precision = self._average_precision(photos, journal.values("instances"))
        return {**quality, **precision, **metrics.semantic_figures(confusion), "n": len(photos)}

    def _classes(self, subject: Subject) -> Table:
        names = [category.name for category in self._panoptic.categories]
        if self._kind == "visual":
            return subject.classes(draw_exemplars(self._exemplars, self._panoptic.categories))
        if self._kind == "names":
            return subject.classes(names)
        missing = [name for name in names if name not in self._descriptions]
        if missing:
            raise InputError(f"descriptions lack {len(missing)} of {len(names)} classes, the first is {missing[0]!r}")
        return subject.classes([self._descriptions[name] for name in names], descriptions=True)

    def _average_precision(self, photos: Sequence[int], answered: Sequence[list[Figures]]) -> dict[str, float]:
        things = [category for category in self._panoptic.categories if category.thing]
        named = [{"id": category.id, "name": category.name} for category in things]
        instances = self._instances or self._instances_of_maps(photos, [category.id for category in things])
        truth = {"categories": named, **instances}
        counted = {category["id"] for category in truth["categories"]}
        results = []
        for photo, of_photo in zip(photos, answered, strict=True):
            for instance in of_photo:
                if instance["category_id"] in counted:
                    results.append({**instance, "image_id": photo})
        return average_precision(truth, results, photos)

    def _instances_of_maps(self, photos: Sequence[int], things: Sequence[int]) -> Figures:
        """The `images` and `annotations` of an instances file, with the things of panoptic maps."""
        images, annotations = [], list[Figures]()
        for photo in photos:
            height, width = self._panoptic.photos[photo].size
            images.append({"id": photo, "height": height, "width": width})
            ids = self._panoptic.ids(photo)
            for segment in self._panoptic.segments[photo]:
                if segment.category not in things:
                    continue
                mask = ids == segment.id
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": photo,
                        "category_id": segment.category,
                        "iscrowd": int(segment.crowd),
                        "area": int(mask.sum()),
                        "bbox": [0, 0, 1, 1],  # pycocotools wants one, and makes no use of it for masks
                        "segmentation": encode_rle(mask).to_json(),
                    }
                )
        return {"images": images, "annotations": annotations}


def draw_exemplars(panoptic: PanopticSet, categories: Sequence[Category]) -> list[Exemplar]:
    """One segment a class, drawn among those of at least a hundredth of their photo where there are any.

    They are the same in every run, whatever its seed.

    Raises:
        InputError: a class has no segment at all.
    """
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)  # (photo, segment) by category
    for photo, segments in panoptic.segments.items():
        for segment in segments:
            if not segment.crowd:
                places[segment.category].append((photo, segment.id))
    rng, exemplars = np.random.default_rng(0), []
    for category in categories:
        if category.id not in places:
            raise InputError(
                f"no segment of {category.name!r} in {panoptic.annotation.name}, expected one to show it; "
                "take exemplars from a larger split"
            )
        for number in rng.permutation(len(places[category.id]))[:TRIES]:
            photo, segment_id = places[category.id][number]
            mask = panoptic.mask(photo, segment_id)
            if mask.mean() >= LEAST_EXEMPLAR:
                break
        exemplars.append(Exemplar(panoptic.photos[photo].rgb(), mask))
    return exemplars


def average_precision(truth: Mapping[str, Any], results: list[Figures], photos: Sequence[int]) -> dict[str, float]:
    """COCO's mask AP over IoU 0.5 to 0.95, and AP at 0.5, percent; by pycocotools itself.

    Args:
        truth: an instances file's content.
        results: in COCO's form: image_id, category_id, segmentation (run lengths), score.
        photos: ids of the photos that count.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not results or not truth["annotations"]:
        return {"mAP": 0.0, "AP50": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dict(truth)
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.params.imgIds = sorted(photos)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    average, at_half = (100 * max(0.0, float(value)) for value in evaluation.stats[:2])  # -1: nothing to measure
    return {"mAP": average, "AP50": at_half}


def read_descriptions(path: Path) -> dict[str, str]:
    """A JSON object from class names to sentences.

    Raises:
        InputError: it is missing or of another form.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise InputError(f"{path} is not a JSON object from class names to descriptions")
    return content


def _map_name(photo: int) -> str:
    return f"{photo:012d}.png"
