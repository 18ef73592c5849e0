"""Grounding: the mask of a label in a photo that shows it once, asked by its name and by an exemplar.

Every question is answered twice: by the stored region that a search shows, and by an exact look at the photo. Beside
the figures stand two guesses that look at nothing: the whole photo, and one mean mask for every photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import metrics
from ..geometry import resize_mask
from ..grounding.instances import rank_regions
from ..interface.calibration import Calibration
from ..interface.protocol import Interface
from ..query.score import scoring_query
from ..records import BoolMask, Entity, GroundedMask, ResolvedQuery
from .labelled import Labelled, References, lone_regions
from .library import Library, Progress, asked, calibrated
from .outcome import Outcome

Counts = tuple[int, int]  # pixels of the intersection and of the union


def grounding(
    library: Library, interface: Interface, references: References, mean_mask: BoolMask, progress: Progress
) -> dict[str, Outcome]:
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
    by_text = {number: asked(Entity(target.label)) for number, target in enumerate(targets)}
    outcomes = _both("grounding_text", library, interface, targets, by_text, mean_mask, progress)
    chosen = [(target, references.choose(target.position, target.label)) for target in targets]
    shown = [(target, reference) for target, reference in chosen if reference is not None]
    by_picture = _Pictures(references, [reference for _, reference in shown])
    outcomes |= _both(
        "grounding_exemplar", library, interface, [target for target, _ in shown], by_picture, mean_mask, progress
    )
    outcomes["grounding_exemplar"].arrays["grounding_exemplar_reference_keys"] = np.array(
        [library.photos[reference.position].key for _, reference in shown], str
    )
    return outcomes


class _Pictures:
    """Exemplar queries by number, made when asked for: pictures of a whole pack need not lie in memory."""

    def __init__(self, references: References, chosen: Sequence[Labelled]) -> None:
        self._references, self._chosen = references, chosen

    def __getitem__(self, number: int) -> ResolvedQuery:
        return asked(self._references.picture(self._chosen[number]))


def _both(
    name: str,
    library: Library,
    interface: Interface,
    targets: Sequence[Labelled],
    queries: dict[int, ResolvedQuery] | _Pictures,
    mean_mask: BoolMask,
    progress: Progress,
) -> dict[str, Outcome]:
    exact, stored = np.zeros((len(targets), 2), np.int64), np.zeros((len(targets), 2), np.int64)
    whole, mean = np.zeros_like(exact), np.zeros_like(exact)
    calibration = calibrated(library, interface)
    for number, target in enumerate(targets):
        truth, query = target.rle.decode(), queries[number]
        photo = library.photos[target.position]
        exact[number] = overlap_of(exact_mask(interface.ground(photo.rgb(), query)), truth)
        place = stored_place(library, target.position, interface, query, calibration)
        stored[number] = overlap_of(None if place is None else library.masks[target.position][place].decode(), truth)
        whole[number] = overlap_of(np.ones((1, 1), bool), truth)
        mean[number] = overlap_of(mean_mask, truth)
        progress(name.replace("_", " "), number + 1, len(targets))
    beside = {"whole_image_mIoU": mean_iou(whole), "mean_mask_mIoU": mean_iou(mean), "n": len(targets)}
    keys = {
        f"{name}_keys": np.array([library.photos[target.position].key for target in targets], str),
        f"{name}_labels": np.array([target.label for target in targets], str),
    }
    first, second = _outcome(name, exact, beside), _outcome(f"{name}_stored", stored, beside)
    first.arrays.update(keys)
    return {name: first, f"{name}_stored": second}


def _outcome(name: str, counts: metrics.Counts, beside: dict[str, Any]) -> Outcome:
    intersection, union = counts[:, 0], counts[:, 1]
    return Outcome(
        {**metrics.grounding(intersection, union, (0.5,)), **beside},
        {
            f"{name}_intersection": intersection,
            f"{name}_union": union,
            f"{name}_iou": metrics.grounding_ious(intersection, union),
        },
    )


def exact_mask(found: Sequence[GroundedMask]) -> BoolMask | None:
    """The mask that a look shows for its first entity: the best by score, or, of a grounder that judges presence
    itself, the one that it gives first (`query.ground`).
    """
    masks = [mask for mask in found if mask.entity == 0]
    if any(mask.present is None for mask in masks):
        masks.sort(key=lambda mask: -mask.score)
    return masks[0].mask.decode() if masks else None


def stored_place(
    library: Library, position: int, interface: Interface, query: ResolvedQuery, calibration: Calibration
) -> int | None:
    """Ordinal of the stored region that a search shows for the first entity; None where the photo has no region."""
    regions = library.regions_of(position)
    if not len(regions):
        return None
    asking = scoring_query(query, interface.encode_query(query), calibration)
    return int(rank_regions(regions @ asking.entities.regions[0], library.scores_of(position))[0])


def overlap_of(found: BoolMask | None, truth: BoolMask) -> Counts:
    """Pixels of the intersection and of the union; a mask of another size is resized, None is an empty one."""
    if found is None:
        return 0, int(truth.sum())
    size = (int(truth.shape[0]), int(truth.shape[1]))
    intersection, union = metrics.overlap(found if found.shape == truth.shape else resize_mask(found, size), truth)
    return int(intersection), int(union)


def mean_iou(counts: metrics.Counts) -> float:
    """Mean IoU of (n, 2) intersections and unions, percent."""
    return metrics.grounding(counts[:, 0], counts[:, 1], ())["mIoU"]
