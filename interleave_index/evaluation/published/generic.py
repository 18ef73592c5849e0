"""Generic segmentation of COCO into its panoptic classes, given by name, by description or by an exemplar region."""

from __future__ import annotations

import contextlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.random import Generator

from ... import metrics
from ...errors import InputError
from ...geometry import encode_rle
from ..outcome import Figures
from ..progress import Progress, tracked
from .coco import Category, PanopticSet
from .entity import Exemplar, Sentences
from .files import read_json, write_ids
from .journal import Journal, Record
from .prompts import SMALLEST, random_prompt
from .run import Benchmark
from .subject import Subject, Table

MOST_EXEMPLARS = 30  # of a class, as published
Place: TypeAlias = tuple[int, int]  # photo, segment


def coco_panoptic(
    panoptic: PanopticSet,
    *,
    classes: str = "names",
    descriptions: Mapping[str, str] | None = None,
    exemplars: PanopticSet | None = None,
    exemplar_sentences: Sentences | None = None,
    most_exemplars: int = MOST_EXEMPLARS,
    instances: Mapping[str, Any] | None = None,
    predictions: Path | None = None,
) -> Benchmark[int]:
    """PQ, SQ, RQ (all classes, things, stuff), mAP, AP50 and mIoU on a panoptic split.

    Args:
        classes: ``names``, ``visual`` (the mean of exemplars) or ``descriptions``.
        descriptions: a sentence for every class name, for ``descriptions``.
        exemplars: the split that exemplars are drawn from, for ``visual``; with None they come from the measured
            split itself, as published, and their photos take part in the measurement too.
        exemplar_sentences: of the split that exemplars are drawn from; then a class is shown by the first of their
            phrases that name it, as published, else by segments drawn from the whole split.
        most_exemplars: of a class.
        instances: COCO's instance file of the split, for AP as it is published; None takes the things of the maps.
        predictions: folder that gets the panoptic maps in the form that panopticapi reads, or None.
    """
    measurement = _Measurement(
        panoptic,
        classes,
        descriptions or {},
        exemplars or panoptic,
        exemplar_sentences,
        most_exemplars,
        instances,
        predictions,
    )
    settings: Figures = {"classes": classes, "AP from": "maps" if instances is None else "instances"}
    if classes == "visual":
        settings |= {"exemplars": most_exemplars, "exemplars of phrases": exemplar_sentences is not None}
    return Benchmark(
        f"coco-panoptic {classes}",
        {str(photo): photo for photo in panoptic.photos},
        measurement.measure,
        measurement.figures,
        settings,
        comparable=classes != "visual" or most_exemplars == MOST_EXEMPLARS,
        written=measurement.written,
        prepare=measurement.prepare,
    )


@dataclass(slots=True)
class _Measurement:
    """What `coco_panoptic` measures; attributes as its arguments, `tables` the class table of every subject."""

    panoptic: PanopticSet
    classes: str
    descriptions: Mapping[str, str]
    exemplars: PanopticSet
    exemplar_sentences: Sentences | None
    most_exemplars: int
    instances: Mapping[str, Any] | None
    predictions: Path | None
    tables: dict[Subject, Table] = field(default_factory=dict)

    @property
    def written(self) -> list[Path]:
        """Files that are written beside the records."""
        if self.predictions is None:
            return []
        maps = [self.predictions / _map_name(photo) for photo in self.panoptic.photos]
        return [self.predictions.with_suffix(".json"), *maps]

    def prepare(self, subject: Subject, progress: Progress) -> None:
        """Make the class table of a subject."""
        categories = self.panoptic.categories
        if self.classes == "visual":
            shown = draw_exemplars(self.exemplars, categories, self.most_exemplars, self.exemplar_sentences)
            self.tables[subject] = subject.shown_classes(one for _, one in tracked(shown, "classes shown", progress))
            return
        names = [category.name for category in categories]
        if self.classes == "names":
            self.tables[subject] = subject.classes(names)
            return
        missing = [name for name in names if name not in self.descriptions]
        if missing:
            raise InputError(f"descriptions lack {len(missing)} of {len(names)} classes, the first is {missing[0]!r}")
        self.tables[subject] = subject.classes([self.descriptions[name] for name in names], descriptions=True)

    def measure(self, subject: Subject, item: int, rng: Generator) -> Record:
        """Panoptic counts by class, the confusion of classes, and the instances of one photo."""
        panoptic, categories = self.panoptic, self.panoptic.categories
        things = {number for number, category in enumerate(categories) if category.thing}
        answer = subject.segment(panoptic.photos[item].rgb(), self.tables[subject], things)
        ids = answer.panoptic.ids.astype(np.int64)
        segments = [metrics.Segment(row.id, categories[row.category].id) for row in answer.panoptic.segments]
        counts = metrics.panoptic_counts(ids, segments, panoptic.ids(item), panoptic.segments[item])
        confusion = metrics.class_confusion(answer.semantic, panoptic.classes(item), len(categories))
        found = []
        for one in answer.instances:
            if one.mask.any():
                category, mask = categories[one.category].id, encode_rle(one.mask).to_json()
                found.append({"category_id": category, "score": one.score, "segmentation": mask})
        if self.predictions is not None:
            write_ids(self.predictions / _map_name(item), ids)
        return {
            "panoptic": {str(category): list(astuple(count)) for category, count in counts.items()},
            "confusion": [[*pair, int(confusion[*pair])] for pair in np.argwhere(confusion).tolist()],
            "segments": [{"id": segment.id, "category_id": segment.category} for segment in segments],
            "instances": found,
        }

    def figures(self, journal: Journal) -> Figures:
        """Of everything measured; the JSON file of the predictions is written where they are."""
        photos = [int(key) for key, _ in journal.rows()]
        if self.predictions is not None:
            annotations = [
                {"image_id": photo, "file_name": _map_name(photo), "segments_info": segments}
                for photo, segments in zip(photos, journal.values("segments"), strict=True)
            ]
            self.predictions.with_suffix(".json").write_text(json.dumps({"annotations": annotations}))
        return {
            **self._quality(journal),
            **self._precision(journal, photos),
            **self._semantic(journal),
            "n": len(photos),
        }

    def _quality(self, journal: Journal) -> dict[str, float]:
        """PQ, SQ and RQ of all classes, of things and of stuff."""
        counts: dict[int, metrics.PanopticCounts] = defaultdict(metrics.PanopticCounts)
        for of_photo in journal.values("panoptic"):
            for category, row in of_photo.items():
                counts[int(category)] += metrics.PanopticCounts(*row)
        quality: dict[str, float] = {}
        for kind, wanted in (("", (True, False)), (" things", (True,)), (" stuff", (False,))):
            ids = [category.id for category in self.panoptic.categories if category.thing in wanted]
            of_kind = metrics.panoptic_quality(counts, ids)
            quality |= {name + kind: of_kind[name] for name in ("PQ", "SQ", "RQ")}
        return quality

    def _precision(self, journal: Journal, photos: Sequence[int]) -> dict[str, float]:
        """Mask AP of things, against COCO's instances or the maps."""
        results = []
        for photo, found in zip(photos, journal.values("instances"), strict=True):
            results += [{**one, "image_id": photo} for one in found]
        things = [category for category in self.panoptic.categories if category.thing]
        named = [{"id": category.id, "name": category.name} for category in things]
        truth = {"categories": named, **(self.instances or _instances_of_maps(self.panoptic, photos))}
        return average_precision(truth, results, photos)

    def _semantic(self, journal: Journal) -> dict[str, float]:
        """mIoU of classes."""
        classes = len(self.panoptic.categories)
        confusion = np.zeros((classes, classes + 1), np.int64)
        for true, predicted, pixels in journal.pooled("confusion"):
            confusion[true, predicted] += pixels
        return metrics.semantic_figures(confusion)


def _instances_of_maps(panoptic: PanopticSet, photos: Sequence[int]) -> Figures:
    """The `images` and `annotations` of an instances file, with the things of panoptic maps."""
    things = {category.id for category in panoptic.categories if category.thing}
    images, annotations = [], list[Figures]()
    for photo in photos:
        height, width = panoptic.photos[photo].size
        images.append({"id": photo, "height": height, "width": width})
        ids = panoptic.ids(photo)
        for segment in panoptic.segments[photo]:
            if segment.category in things:
                mask = ids == segment.id
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": photo,
                        "category_id": segment.category,
                        "iscrowd": int(segment.crowd),
                        "area": int(mask.sum()),
                        "segmentation": encode_rle(mask).to_json(),
                    }
                )
    return {"images": images, "annotations": annotations}


def draw_exemplars(
    panoptic: PanopticSet,
    categories: Sequence[Category],
    most: int = MOST_EXEMPLARS,
    sentences: Sentences | None = None,
) -> list[Iterator[Exemplar]]:
    """Exemplars of each class, in the order of `categories`: a drawn prompt on each of at most `most` of its segments.

    They are the same in every run, whatever its seed. Photos are read as the iterators go.

    Args:
        sentences: take the segments of the phrases of the first sentence of each photo, in the order of the photos;
            with None segments are drawn from all.
    Raises:
        InputError: a class has no segment at all; while they go, it has none that is large enough for a prompt.
    """
    places: dict[int, list[Place]] = defaultdict(list)
    for photo, segments in panoptic.segments.items():
        single = {segment.id: segment.category for segment in segments if not segment.crowd}
        first = next(iter(sentences.get(photo, ())), None) if sentences is not None else None
        named = [phrase.segment for phrase in first.phrases] if first is not None else []
        for number in single if sentences is None else [one for one in dict.fromkeys(named) if one in single]:
            places[single[number]].append((photo, number))
    missing = [category.name for category in categories if category.id not in places]
    if missing:
        what = "segment" if sentences is None else "phrase"
        raise InputError(
            f"no {what} of {missing[0]!r} in {panoptic.annotation.name}, expected one to show it; "
            "take exemplars from a larger split"
        )
    if sentences is None:
        for number, rows in places.items():
            places[number] = [rows[n] for n in np.random.default_rng(number).permutation(len(rows))]
    return [_exemplars(panoptic, category, places[category.id], most) for category in categories]


def _exemplars(panoptic: PanopticSet, category: Category, places: Sequence[Place], most: int) -> Iterator[Exemplar]:
    rng, shown = np.random.default_rng(category.id), 0
    for photo, segment in places:
        prompt = random_prompt(panoptic.mask(photo, segment), rng)
        if prompt.any():
            yield Exemplar(panoptic.photos[photo].rgb(), prompt)
            shown += 1
        if shown == most:
            return
    if not shown:
        raise InputError(
            f"no segment of {category.name!r} in {panoptic.annotation.name} has {SMALLEST} pixels, expected one to "
            "show it; take exemplars from a larger split"
        )


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
