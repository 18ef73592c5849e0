"""Grounding: the mask of a label in a photo that shows it once, asked by its name and by an exemplar.

Every question is answered twice: by the best stored region, and by an exact look at the photo. Beside the
figures stand two guesses that look at nothing: the whole photo, and one mean mask for every photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import metrics
from ..geometry import resize_mask
from ..grounding.stored import answers
from ..interface.protocol import Interface
from ..records import BoolMask, Entity, GroundedMask, ResolvedQuery
from .labelled import Labelled, References, lone_regions
from .library import Library, Progress, asked
from .outcome import Outcome

Counts = tuple[int, int]  # pixels of the intersection and of the union


def grounding(library: Library, interface: Interface, references: References, mean_mask: BoolMask,
              progress: Progress) -> dict[str, Outcome]:
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
    outcomes |= _both("grounding_exemplar", library, interface, [target for target, _ in shown], by_picture,
                      mean_mask, progress)
    outcomes["grounding_exemplar"].arrays["grounding_exemplar_reference_keys"] = np.array(
        [library.photos[reference.position].key for _, reference in shown], str)
    return outcomes


class _Pictures:
    """Exemplar queries by number, made when asked for: pictures of a whole pack need not lie in memory."""

    def __init__(self, references: References, chosen: Sequence[Labelled]) -> None:
        self._references, self._chosen = references, chosen

    def __getitem__(self, number: int) -> ResolvedQuery:
        return asked(self._references.picture(self._chosen[number]))


def _both(name: str, library: Library, interface: Interface, targets: Sequence[Labelled],
          queries: dict[int, ResolvedQuery] | _Pictures, mean_mask: BoolMask, progress: Progress) -> dict[str, Outcome]:
    exact, stored = np.zeros((len(targets), 2), np.int64), np.zeros((len(targets), 2), np.int64)
    whole, mean = np.zeros_like(exact), np.zeros_like(exact)
    for number, target in enumerate(targets):
        truth, query = target.rle.decode(), queries[number]
        photo = library.photos[target.position]
        exact[number] = _overlap(_best(interface.ground(photo.rgb(), query)), truth)
        stored[number] = _overlap(_stored(library, target.position, interface, query), truth)
        whole[number] = _overlap(np.ones((1, 1), bool), truth)
        mean[number] = _overlap(mean_mask, truth)
        progress(name.replace("_", " "), number + 1, len(targets))
    beside = {"whole_image_mIoU": _mean_iou(whole), "mean_mask_mIoU": _mean_iou(mean), "n": len(targets)}
    keys = {f"{name}_keys": np.array([library.photos[target.position].key for target in targets], str),
            f"{name}_labels": np.array([target.label for target in targets], str)}
    first, second = _outcome(name, exact, beside), _outcome(f"{name}_stored", stored, beside)
    first.arrays.update(keys)
    return {name: first, f"{name}_stored": second}


def _outcome(name: str, counts: metrics.Counts, beside: dict[str, Any]) -> Outcome:
    intersection, union = counts[:, 0], counts[:, 1]
    return Outcome({**metrics.grounding(intersection, union, (0.5,)), **beside}, {
        f"{name}_intersection": intersection, f"{name}_union": union,
        f"{name}_iou": metrics.grounding_ious(intersection, union)})


def _best(found: Sequence[GroundedMask]) -> BoolMask | None:
    masks = [mask for mask in found if mask.entity == 0]
    return max(masks, key=lambda mask: mask.score).mask.decode() if masks else None


def _stored(library: Library, position: int, interface: Interface, query: ResolvedQuery) -> BoolMask | None:
    regions, masks = library.regions_of(position), library.masks[position]
    if not len(regions):
        return None
    cosines = regions @ interface.encode_query(query).entities[0]
    return masks[int(answers(cosines, library.scores_of(position))[0])].decode()


def _overlap(found: BoolMask | None, truth: BoolMask) -> Counts:
    if found is None:
        return 0, int(truth.sum())
    size = (int(truth.shape[0]), int(truth.shape[1]))
    intersection, union = metrics.overlap(found if found.shape == truth.shape else resize_mask(found, size), truth)
    return int(intersection), int(union)


def _mean_iou(counts: metrics.Counts) -> float:
    return metrics.grounding(counts[:, 0], counts[:, 1], ())["mIoU"]
