"""Grounding by points on a photo pack: mean IoU, which method answered, verdicts on presence, bytes a photo.

    python benchmarks/sasp.py PACK.tar [--model find-mini] [--skip 100] [--limit 200] [--json]

No segmenter is used unless --grounders names one: the map is drawn from the regions that an ingest stores (or from the
patch grid, for a model that keeps one). Text and exemplars are asked as `evaluate` asks them: every label with a single
masked region in a photo, and a region of another photo for it. Where a grounder judges presence, it is also asked for
absent things: labels of a photo's closed list that it does not show. Figures are in percent.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from interleave_index.evaluation.annotations import References, closed_lists, lone_regions, sha1_number
from interleave_index.evaluation.library import asked
from interleave_index.evaluation.packs import PackPhoto, read_pack
from interleave_index.geometry import mask_iou, resize_mask, unit
from interleave_index.grounding.cascade import GroundingModels, ground_targets
from interleave_index.grounding.grid import PatchGrid
from interleave_index.grounding.instances import rank_regions
from interleave_index.grounding.record import pack
from interleave_index.grounding.similarity import Scene, scene_of
from interleave_index.interface.points import models_for, target_of
from interleave_index.interface.protocol import Interface
from interleave_index.interface.registry import load, torch_device
from interleave_index.models.segmenters.grounders import Grounders, load_grounders
from interleave_index.records import BoolMask, Entity, Floats, GroundedMask, PhotoEncoding, ResolvedPart
from interleave_index.storage.blobs import pack_masks

BATCH = 16


@dataclass(frozen=True)
class Bench:
    """Everything that a question is asked of."""

    photos: list[PackPhoto]
    scenes: list[Scene]
    interface: Interface
    models: Callable[[int], GroundingModels]


def encode(photos: Sequence[PackPhoto], interface: Interface) -> list[PhotoEncoding]:
    found: list[PhotoEncoding] = []
    for start in range(0, len(photos), BATCH):
        found += interface.encode_photos([photo.rgb() for photo in photos[start : start + BATCH]])
    return found


def scene(photo: PackPhoto, encoding: PhotoEncoding, score_weight: float) -> Scene:
    return scene_of((photo.height, photo.width), encoding, score_weight)


@dataclass(frozen=True)
class Question:
    """One entity asked of one photo; `truth` is None where the photo does not show it."""

    position: int
    part: ResolvedPart
    vector: Floats
    truth: BoolMask | None = None


class Asker:
    """Makes questions of labels, and of regions of other photos; each query is encoded once."""

    def __init__(self, bench: Bench, kind: str) -> None:
        self._bench, self._kind, self._references = bench, kind, References(bench.photos)
        self._known: dict[Any, tuple[ResolvedPart, Floats]] = {}

    def ask(self, position: int, label: str, truth: BoolMask | None = None) -> Question | None:
        """None where no other photo shows the label."""
        reference = None if self._kind == "text" else self._references.choose(position, label)
        if self._kind != "text" and reference is None:
            return None
        key = label if reference is None else (reference.position, label)
        if key not in self._known:
            (part,) = asked(Entity(label) if reference is None else self._references.picture(reference))
            vector = self._bench.interface.encode_query((part,)).entities[0]
            self._known[key] = replace(part, photo=None, mask=None), vector
        return Question(position, *self._known[key], truth)


def present(bench: Bench, questions: Sequence[Question]) -> dict[str, Any]:
    """IoU of the best mask with the only region of a label, and of plainer answers; who answered, and its verdict."""
    ious: dict[str, list[float]] = {"cascade": [], "best_region": [], "whole_photo": []}
    methods: Counter[str] = Counter()
    verdicts: list[bool] = []
    for question in questions:
        scene, truth = bench.scenes[question.position], question.truth
        if truth is None:
            continue
        mask = answer(bench, question)
        methods[mask.rung] += 1
        verdicts += [] if mask.present is None else [mask.present]
        order = rank_regions(scene.regions @ question.vector, scene.scores, scene.score_weight)
        best = scene.masks[int(order[0])].decode() if len(order) else np.zeros((1, 1), bool)
        ious["cascade"].append(iou(mask.mask.decode(), truth))
        ious["best_region"].append(iou(best, truth))
        ious["whole_photo"].append(float(truth.mean()))
    found = {"judged": len(verdicts), "judged_there": percent(verdicts)} if verdicts else {}
    return {
        "n": methods.total(),
        **{f"mIoU_{name}": percent(values) for name, values in ious.items()},
        **found,
        "methods": {name: 100 * number / methods.total() for name, number in methods.most_common()},
    }


def answer(bench: Bench, question: Question) -> GroundedMask:
    """The best mask of the cascade."""
    target = target_of(question.part, question.vector)
    return ground_targets(bench.scenes[question.position], [target], bench.models(question.position))[0]


def absent(bench: Bench, questions: Sequence[Question]) -> dict[str, Any]:
    """How often a grounder claims a thing in a photo that does not show it, of those that it judges."""
    verdicts = [
        found.present for found in (answer(bench, question) for question in questions) if found.present is not None
    ]
    return {"judged": len(verdicts), "false_positives": percent(verdicts)}


def absent_questions(bench: Bench, asker: Asker, per_label: int) -> list[Question]:
    """Photos without a label of their closed list, chosen by a hash of label and name; a few for every label."""
    found = []
    for names, members in closed_lists(bench.photos).values():
        for label in names:
            without = [n for n in members if label not in {region.label for region in bench.photos[n].regions}]
            without.sort(key=lambda n: sha1_number(f"{label} {bench.photos[n].key}"))
            found += [asker.ask(position, label) for position in without[:per_label]]
    return [question for question in found if question is not None]


def judges(grounders: Grounders, kind: str) -> bool:
    """Whether any of the models can judge this kind of part absent."""
    detector = grounders.phrases if kind == "text" else grounders.pictures
    return (kind == "text" and grounders.concept is not None) or detector is not None


def percent(values: Sequence[float]) -> float:
    return 100 * float(np.mean(values)) if len(values) else 0.0


def iou(found: BoolMask, truth: BoolMask) -> float:
    return mask_iou(found if found.shape == truth.shape else resize_mask(found, truth.shape), truth)  # type: ignore[arg-type]


def bytes_a_photo(encodings: Sequence[PhotoEncoding]) -> dict[str, dict[str, float]]:
    """Mean KiB of every part that an index keeps: as the model makes them, and at 32 regions of 512 numbers.

    The second takes the masks of this pack, as many as there must be, and smooth random patches on a grid of 24 x 24.
    """
    random = np.random.default_rng(0)
    actual, full = [], []
    for encoding in encodings:
        actual.append(_parts(encoding, len(encoding.image), encoding.grounding or b""))
        if not len(encoding.masks) or len(full) == 16:
            continue
        masks = (encoding.masks * 32)[:32]
        smooth = random.normal(size=(6, 6, 512)).repeat(4, 0).repeat(4, 1).reshape(576, 512)
        patches = unit((smooth + random.normal(size=(576, 512)) * 0.5).astype(np.float32))
        grid = PatchGrid.whole((480, 640), (24, 24))
        record = pack(grid, [mask.decode() for mask in masks], "0" * 64, patches)
        big = PhotoEncoding(
            np.zeros(512, np.float32),
            np.zeros((32, 512), np.float32),
            np.zeros((32, 4), np.float32),
            np.zeros(32, np.float32),
            np.zeros(32, np.float32),
            masks,
        )
        full.append(_parts(big, 512, record))
    return {
        name: {part: float(np.mean([row[part] for row in rows])) / 1024 for part in rows[0]}
        for name, rows in (("as_made", actual), ("at_32_regions_of_512", full))
        if rows
    }


def _parts(encoding: PhotoEncoding, dim: int, record: bytes) -> dict[str, int]:
    count = len(encoding.masks)
    parts = {
        "image_vector": 2 * dim,
        "region_vectors": 2 * dim * count,
        "boxes_areas_scores": 24 * count,
        "masks": len(pack_masks(encoding.masks)),
        "grounding_record": len(record),
    }
    return {**parts, "total": sum(parts.values())}


def run(options: argparse.Namespace) -> dict[str, Any]:
    photos = [photo for photo in read_pack(options.pack) if photo.regions][options.skip :][: options.limit]
    device = torch_device(options.device)
    interface = load(options.model, device=device, grounding="own")
    started = time.perf_counter()
    encodings = encode(photos, interface)
    weight = interface.calibration.score_weight
    scenes = [scene(photo, encoding, weight) for photo, encoding in zip(photos, encodings, strict=True)]
    seconds = time.perf_counter() - started
    names = [name for name in options.grounders.split(",") if name]
    grounders = load_grounders(names, device=device)

    def models(position: int) -> GroundingModels:
        return models_for(photos[position].rgb(), grounders) if grounders else GroundingModels()

    bench = Bench(photos, scenes, interface, models)
    report: dict[str, Any] = {
        "photos": len(photos),
        "model": interface.space.interface,
        "photos_per_s": len(photos) / seconds,
    }
    started = time.perf_counter()
    for kind in ("text", "exemplar"):
        asker = Asker(bench, kind)
        shown = [asker.ask(one.position, one.label, one.rle.decode()) for one in lone_regions(photos)]
        report[kind] = present(bench, [question for question in shown if question is not None])
        if judges(grounders, kind):
            report[f"absent_{kind}"] = absent(bench, absent_questions(bench, asker, options.absent))
    return report | {"KiB_a_photo": bytes_a_photo(encodings), "seconds_of_questions": time.perf_counter() - started}


def show(report: dict[str, Any], indent: str = "") -> None:
    for name, value in report.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            show(value, indent + "  ")
        else:
            print(f"{indent}{name:22} {value:.1f}" if isinstance(value, float) else f"{indent}{name:22} {value}")


def main() -> int:
    """Measure and print; 1 when a photo takes more than 64 KB."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("--model", default="find-mini")
    parser.add_argument("--grounders", default="", help="models that segment or detect, by commas")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--skip", type=int, default=0, help="leave out the first photos with regions")
    parser.add_argument("--limit", type=int, default=None, help="at most so many photos")
    parser.add_argument("--absent", type=int, default=5, help="absent photos a label")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = run(options)
    if options.json:
        print(json.dumps(report))
    else:
        show(report)
    over = report["KiB_a_photo"].get("at_32_regions_of_512", {}).get("total", 0.0) > 64
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
