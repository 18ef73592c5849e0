"""Labels in the forms that people write: where they point, and whether they tell photos with the thing from others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..metrics import Counts
from ..query.score import score
from ..records import Entity, Floats
from .annotations import Named, lone_regions, things
from .forms import FORMS
from .grounding import exact_counts, mean_iou, stored_counts
from .library import Library, asked
from .outcome import Figures, Outcome
from .precision import average_precision
from .progress import Progress, chunks, tracked

LOOKED_AT = ("bare", "a")  # forms that every photo is looked at for
FEW = 100  # masks, for which looks are cheap enough for every form


def in_forms(library: Library, exact_bare: Counts, progress: Progress) -> Outcome:
    """Grounding and presence of every label in every form.

    Args:
        library: the pack.
        exact_bare: (G, 2) intersection and union of the exact looks by bare name, as `grounding` took them.
    Returns:
        Per form ``stored`` and ``exact`` mean IoU of the masks of lone labelled regions, as in `grounding` (exact for
        `LOOKED_AT`, for every form where there are at most `FEW`), ``presence``: mean over labels of the average
        precision of the entity's evidence for "is it in the photo", ``whole_photo``: the same of the plain cosine of
        the text with the image, ``gain``: their difference. ``spread`` of ``stored`` over the forms, ``n`` masks,
        ``labels`` that enough photos show. Arrays: ``forms`` names, ``forms_stored_intersection`` and ``_union``
        (forms, masks) int64, ``forms_labels``, ``forms_presence`` and ``forms_whole_photo`` (forms, labels) float32.
    """
    targets = lone_regions(library.photos)
    shown = [thing for thing in things(library.photos) if thing.enough]
    names = sorted({target.label for target in targets} | {thing.name for thing in shown})
    stored = np.zeros((len(FORMS), len(targets), 2), np.int64)
    presence, whole = np.zeros((2, len(FORMS), len(shown)), np.float32)
    figures: Figures = {}
    for row, (form, write) in enumerate(FORMS.items()):
        for together in chunks(names):
            texts = [write(name) for name in together]
            library.interface.encode_queries([asked(part) for text in texts for part in (text, Entity(text))])
        exact = exact_bare if form == "bare" else np.zeros_like(exact_bare)
        looked_at = form in LOOKED_AT or len(targets) <= FEW
        for number, target in tracked(targets, f"grounding as {form}", progress):
            query = asked(Entity(write(target.label)))
            stored[row, number] = stored_counts(library, target, query)
            if looked_at and form != "bare":
                exact[number] = exact_counts(library, target, query)
        presence[row], whole[row] = _presence(library, shown, write, progress)
        figures[form] = {
            "stored": mean_iou(stored[row]),
            **({"exact": mean_iou(exact)} if looked_at else {}),
            "presence": _mean(presence[row]),
            "whole_photo": _mean(whole[row]),
            "gain": _mean(presence[row] - whole[row]),
        }
    means = [figures[form]["stored"] for form in FORMS]
    return Outcome(
        {**figures, "spread": max(means) - min(means), "n": len(targets), "labels": len(shown)},
        {
            "forms": np.array(list(FORMS), str),
            "forms_labels": np.array([thing.name for thing in shown], str),
            "forms_presence": presence,
            "forms_whole_photo": whole,
            "forms_stored_intersection": stored[..., 0],
            "forms_stored_union": stored[..., 1],
        },
    )


def _presence(
    library: Library, shown: Sequence[Named], write: Callable[[str], str], progress: Progress
) -> tuple[Floats, Floats]:
    """(labels,) average precision of the entity's evidence, and of the whole photo's plain cosine."""
    presence, whole = np.zeros((2, len(shown)), np.float32)
    for number, thing in tracked(shown, "presence of labels", progress):
        text = write(thing.name)
        evidence = score(library.block, library.scoring(asked(Entity(text)))).evidence[:, 0]
        plain = library.block.image @ library.interface.encode_query(asked(text)).legend
        presence[number] = average_precision(evidence[thing.photos], thing.right)
        whole[number] = average_precision(plain[thing.photos], thing.right)
    return presence, whole


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0
