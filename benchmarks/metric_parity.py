"""Recomputes the reference values of the published FIND and READ evaluators and prints the largest differences.

    python benchmarks/metric_parity.py FILE.npz ...

The file name gives its kind. Ends with status 0 when everything is within tolerance, 1 when a value
is not, 2 when a file cannot be used or is of a kind that this script does not know. Values that the original leaves
undefined (not a number) are not compared, and files named `*_boundary` are printed for information only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interleave_index import metrics
from interleave_index.grounding.compatible import ReadSettings, read_points, read_similarity
from interleave_index.models.segmenters.framing import Frame

SAM_SIDE = 1024  # of the square that READ hands to its mask decoder

Arrays = Mapping[str, NDArray[Any]]
Computed = dict[str, Any]  # value by the name of the expected one, without its "exp_"


def retrieval(file: Arrays) -> Computed:
    scores = metrics.cosines(file["image_embeds"], file["text_embeds"])
    figures = metrics.retrieval(scores, file["image_ids"], file["text_ids"])
    named = {key.replace("@", "").lower(): value for key, value in figures.items()}
    return {"scores": scores, **named, "irtr": named["ir1"] + named["tr1"]}


def interleave(file: Arrays) -> Computed:
    figures = metrics.interleaved_scores(
        file["legend_embeds"],
        file["entity_embeds"],
        file["entity_offsets"],
        file["entity_ref_ids"],
        file["image_embeds"],
        file["object_embeds"],
        file["image_ids"],
    )
    ranks = metrics.first_ranks(figures.total, np.eye(len(figures.total), dtype=bool))
    return {
        "legend_image_scores": figures.legend,
        "entity_object_scores": figures.entity,
        "reference_penalty": figures.penalty,
        "scores": figures.total,
        **{f"interleave2ir{k}": metrics.recall_at(ranks, k) for k in metrics.CUTOFFS},
    }


def grounding(file: Arrays) -> Computed:
    counts = {
        number: metrics.intersection_and_union(logits > 0, truth > 0)
        for number, logits, truth in _images(file, "pred_logits", "gt_masks")
    }
    intersection, union = (np.concatenate([pair[side] for pair in counts.values()]) for side in (0, 1))
    figures = metrics.grounding(intersection, union)
    return {
        **{f"iou_{number}": metrics.grounding_ious(*pair) for number, pair in counts.items()},
        "cum_intersection": intersection.sum(),
        "cum_union": union.sum(),
        **{name.replace("P@", "precision@"): value for name, value in figures.items()},
    }


def interactive(file: Arrays) -> Computed:
    ious, most, click = file["mask_iou"], int(file["max_clicks"]), int(file["iou_iter"])
    needed = {t: metrics.clicks_needed(ious, t, most) for t in (0.5, 0.8, 0.85, 0.9)}
    return {
        **{f"noc_per_item@{t}": value for t, value in needed.items()},
        **{f"noc@{t}": value.mean() for t, value in needed.items()},
        f"miou@iter{click}": ious[:, click - 1].mean(),
    }


def interactive_iou(file: Arrays) -> Computed:
    return {"iou": metrics.iou_without_ignored(file["pred_masks"].astype(bool), file["gt_masks"])}


def read_ious(file: Arrays) -> Computed:
    pairs = [
        metrics.class_intersection_and_union(logits > 0, truth)
        for _, logits, truth in _images(file, "pred_logits", "gt_masks")
    ]
    intersection, union = (np.concatenate(side) for side in zip(*pairs, strict=True))
    figures = metrics.read_iou(intersection, union)
    return {
        "intersection": intersection,
        "union": union,
        "intersection_sum": intersection.sum(0),
        "union_sum": union.sum(0),
        "ciou": figures.ciou,
        "giou": figures.giou,
        "giou_meter_sum": figures.giou_sums,
        "giou_meter_count": len(union),
    }


def see_segment(file: Arrays) -> Computed:
    pairs = [
        metrics.class_intersection_and_union(masks > 0, truth)
        for _, masks, truth in _images(file, "pred_masks", "gt_masks")
    ]
    intersection, union = (np.stack([part.sum(0) for part in side]) for side in zip(*pairs, strict=True))
    flags = list(_images(file, "pred_exists", "gt_exists"))
    figures = metrics.see_segment(
        intersection,
        union,
        np.concatenate([said for _, said, _ in flags]),
        np.concatenate([exists for _, _, exists in flags]),
    )
    return {
        "see": figures.see,
        "segment": figures.segment,
        "iou_class": figures.class_iou,
        "intersection": intersection,
        "union": union,
        "intersection_sum": intersection.sum(0),
        "union_sum": union.sum(0),
    }


def similarity_map(file: Arrays) -> Computed:
    pairs = zip(file["image_tokens"], file["query_tokens"], strict=True)
    return {
        "similarity": np.stack([read_similarity(tokens, query) for tokens, query in pairs]),
        "similarity_multi": read_similarity(file["image_tokens"][0], file["query_tokens_multi"]),
    }


def similarity_points(file: Arrays) -> Computed:
    maps, sizes = file["similarity_maps"], [(int(height), int(width)) for height, width in file["image_sizes_hw"]]
    computed: Computed = {}
    for key in file:
        if not key.endswith("_settings"):
            continue
        name = key.removesuffix("_settings")
        downsample, count, positive, negative = file[key].tolist()
        settings = ReadSettings(int(downsample), int(count), positive, negative)
        points = [[read_points(similarity, size, settings) for size in sizes] for similarity in maps]
        for ours, theirs in (
            ("cells", "cell_index"),
            ("labels", "labels"),
            ("whole", "points_int"),
            ("soft", "points_soft"),
            ("counts", "class_counts"),
        ):
            computed[f"{name}_{theirs}"] = np.array([[getattr(chosen, ours) for chosen in row] for row in points])
        frames = [Frame(size, SAM_SIDE, keep_aspect=True) for size in sizes]
        framed = [[frame.points(chosen.soft) for frame, chosen in zip(frames, row, strict=True)] for row in points]
        computed[f"{name}_points_sam1024"] = np.array(framed)
        computed[f"{name}_grid_hw"] = np.array([chosen.grid for chosen in points[0]])
        computed[f"{name}_pad_hw"] = np.array([chosen.padding for chosen in points[0]])
    return computed


KINDS: tuple[tuple[str, Callable[[Arrays], Computed]], ...] = (  # the longer name of two comes first
    ("find_retrieval", retrieval),
    ("find_interleave", interleave),
    ("find_grounding", grounding),
    ("find_interactive_iou", interactive_iou),
    ("find_interactive", interactive),
    ("read_giou_ciou", read_ious),
    ("read_see_segment", see_segment),
    ("read_similarity_map", similarity_map),
    ("read_similarity_to_points", similarity_points),
)
COUNTS = ("cum_", "intersection", "union", "giou_meter_count")
PERCENT = ("ir", "tr", "interleave2ir", "cIoU", "mIoU", "precision@")


def tolerance(name: str, expected: NDArray[Any]) -> float:
    """Largest absolute difference that counts as equal for the expected value of this name."""
    if "scores" in name:
        return 5e-6
    if name.endswith(("_points_soft", "_points_sam1024")):  # pixels
        return 1e-3 if name.endswith("_soft") else 3e-3
    if name.startswith(PERCENT):
        return 2e-3
    if np.issubdtype(expected.dtype, np.integer) or name.startswith(COUNTS):
        return 0.0
    return 1e-5 * max(1e-3, float(np.nanmax(np.abs(expected), initial=0)))


def compare(file: Arrays, computed: Computed) -> bool:
    """Print one line for every expected value; whether all are within tolerance."""
    fine = True
    for key in sorted(key for key in file if key.startswith("exp_") or key in computed):
        name = key.removeprefix("exp_")
        expected, got = np.asarray(file[key]), np.asarray(computed.get(name, np.nan))
        known = ~np.isnan(expected.astype(float))  # the original leaves undefined values NaN
        same = got.shape == expected.shape
        off = np.abs(got.astype(float) - expected.astype(float))[known] if same else np.array([np.inf])
        largest = float(np.nan_to_num(off, nan=np.inf).max(initial=0))
        good = largest <= tolerance(name, expected)
        fine &= good
        print(f"  {name:24} {largest:.2e}{'' if good else f'   beyond {tolerance(name, expected):.0e}'}")
    return fine


def _images(file: Arrays, one: str, other: str) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    for number in range(int(file["num_images"])):
        yield f"{number:02d}", file[f"{one}_{number:02d}"], file[f"{other}_{number:02d}"]


def main(paths: list[str]) -> int:
    """Check the files; returns the exit status."""
    if not paths:
        print("usage: metric_parity.py FILE.npz ...", file=sys.stderr)
        return 2
    status = 0
    for path in map(Path, paths):
        compute = next((function for prefix, function in KINDS if path.name.startswith(prefix)), None)
        if compute is None:
            names = ", ".join(f"{prefix}*" for prefix, _ in KINDS)
            print(f"{path.name}: holds no metric that this script knows, expected a name like {names}", file=sys.stderr)
            return 2
        try:
            with np.load(path, allow_pickle=False) as opened:
                file = {key: opened[key] for key in opened.files}
            informative = path.stem.endswith("_boundary")
            print(path.name + (" (information only)" if informative else ""))
            status |= 0 if compare(file, compute(file)) or informative else 1
        except (OSError, KeyError, ValueError) as error:
            print(f"{path}: cannot be used: {error}", file=sys.stderr)
            return 2
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
