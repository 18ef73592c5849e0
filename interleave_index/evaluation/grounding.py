"""Grounding: the mask of a label in a photo that shows it once, asked by its name and by an exemplar.

Every question is answered twice: by the stored region that a search shows, and by an exact look at the photo. Beside
the figures stand two guesses that look at nothing: the whole photo, and one mean mask for every photo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from .. import metrics
from ..geometry import resize_mask
from ..grounding.instances import rank_regions
from ..query.ground import best_first
from ..records import BoolMask, Entity, Part, ResolvedQuery
from .annotations import Labelled, References, lone_regions
from .library import Library, asked
from .outcome import Outcome
from .progress import Progress, tracked


def grounding(library: Library, references: References, mean_mask: BoolMask, progress: Progress) -> dict[str, Outcome]:
    """Every label that has exactly one masked region in a photo, asked of that photo.

    Args:
        library: the pack.
        mean_mask: (S, S) bool, the best constant guess on training photos; stretched to each photo.
    Returns:
        ``grounding_text``, ``grounding_text_stored``, ``grounding_exemplar``, ``grounding_exemplar_stored``,
        the exemplar ones for labels that another photo has too. Figures in percent, the constant guesses
        over the same photos, ``n``. Arrays: NAME ``_intersection``, ``_union`` (n,) int64, ``_iou`` (n,)
        float32; for text and exemplar ``_keys``, ``_labels``, for exemplars ``_reference_keys``.
    """
    targets = lone_regions(library.photos)
    names = [partial(Entity, target.label) for target in targets]
    shown, chosen = [], []
    for target in targets:
        reference = references.choose(target.position, target.label)
        if reference is not None:
            shown.append(target)
            chosen.append(reference)
    pictures = [partial(references.picture, reference) for reference in chosen]
    outcomes = _both("grounding_text", library, targets, names, mean_mask, progress)
    outcomes |= _both("grounding_exemplar", library, shown, pictures, mean_mask, progress)
    arrays = outcomes["grounding_exemplar"].arrays
    arrays["grounding_exemplar_reference_keys"] = library.keys(reference.position for reference in chosen)
    return outcomes


def _both(
    name: str,
    library: Library,
    targets: Sequence[Labelled],
    parts: Sequence[Callable[[], Part]],
    mean_mask: BoolMask,
    progress: Progress,
) -> dict[str, Outcome]:
    """Exact and stored answers; parts are made when they are asked: a pack's pictures need not lie in memory."""
    exact, stored, whole, mean = np.zeros((4, len(targets), 2), np.int64)
    for number, target in tracked(targets, name, progress):
        query = asked(parts[number]())
        exact[number], stored[number] = exact_counts(library, target, query), stored_counts(library, target, query)
        whole[number], mean[number] = _counts(np.ones((1, 1), bool), target), _counts(mean_mask, target)
    guesses = {"whole_image_mIoU": mean_iou(whole), "mean_mask_mIoU": mean_iou(mean), "n": len(targets)}
    outcomes = {}
    for kind, counts in ((name, exact), (f"{name}_stored", stored)):
        inside, union = counts.T
        figures = {**metrics.grounding(inside, union, (0.5,)), **guesses}
        arrays = {"intersection": inside, "union": union, "iou": metrics.grounding_ious(inside, union)}
        outcomes[kind] = Outcome(figures, {f"{kind}_{array}": values for array, values in arrays.items()})
    outcomes[name].arrays[f"{name}_keys"] = library.keys(target.position for target in targets)
    outcomes[name].arrays[f"{name}_labels"] = np.array([target.label for target in targets], str)
    return outcomes


def exact_counts(library: Library, target: Labelled, query: ResolvedQuery) -> tuple[int, int]:
    """Pixels shared by what is annotated and the best mask of a look at the photo, and pixels of their union.

    Args:
        query: of the target's label or an exemplar; its first entity counts.
    """
    masks = best_first(library.interface.ground(library.photos[target.position].rgb(), query), 0)
    return _counts(masks[0].mask.decode() if masks else None, target)


def stored_counts(library: Library, target: Labelled, query: ResolvedQuery) -> tuple[int, int]:
    """The same of the stored region that a search shows."""
    regions, scores = library.regions_of(target.position)
    if not len(regions):
        return _counts(None, target)
    best = rank_regions(regions @ library.scoring(query).entities.regions[0], scores, library.calibration.score_weight)[
        0
    ]
    return _counts(library.masks[target.position][best].decode(), target)


def _counts(mask: BoolMask | None, target: Labelled) -> tuple[int, int]:
    """Pixels of the intersection and of the union; a mask of another size is resized, None is an empty one."""
    truth = target.rle.decode()
    if mask is None:
        return 0, int(truth.sum())
    if mask.shape != truth.shape:
        mask = resize_mask(mask, target.rle.size)
    intersection, union = metrics.intersection_and_union(mask, truth)
    return int(intersection), int(union)


def mean_iou(counts: metrics.Counts) -> float:
    """Mean IoU of (n, 2) intersections and unions, percent."""
    return metrics.grounding(counts[:, 0], counts[:, 1], ())["mIoU"]
