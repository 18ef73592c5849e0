"""Labels in the forms that people write: where they point, and whether they tell photos with the thing from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..interface.calibration import Calibration
from ..interface.protocol import Interface
from ..query.score import score, scoring_query
from ..records import Entity, Floats
from .forms import FORMS
from .grounding import Counts, exact_mask, mean_iou, overlap_of, stored_place
from .labelled import Labelled, lone_regions
from .library import Library, Progress, asked, calibrated
from .outcome import Outcome
from .remembered import learn
from .truth import Named, named
from .verdicts import average_precision

LOOKED_AT = ("bare", "a")  # forms that every photo is looked at for
FEW = 100  # masks, for which looks are cheap enough for every form


def in_forms(library: Library, interface: Interface, exact_bare: NDArray[np.int64], progress: Progress) -> Outcome:
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
    shown = [one for one in named(library.photos) if one.group == "things" and one.enough]
    names = sorted({target.label for target in targets} | {one.name for one in shown})
    for form, write in FORMS.items():
        learn(interface, (asked(part) for name in names for part in (write(name), Entity(write(name)))))
        progress(f"labels as {form}", len(names), len(names))
    calibration = calibrated(library, interface)
    stored = _stored(library, interface, targets, calibration, progress)
    found: dict[str, Any] = {}
    presence, whole = (np.zeros((len(FORMS), len(shown)), np.float32) for _ in range(2))
    for row, form in enumerate(FORMS):
        presence[row], whole[row] = _presence(library, interface, shown, form, calibration, progress)
        exact = exact_bare if form == "bare" else None
        if exact is None and (form in LOOKED_AT or len(targets) <= FEW):
            exact = _exact(library, interface, targets, form, progress)
        found[form] = {
            "stored": mean_iou(stored[row]),
            **({} if exact is None else {"exact": mean_iou(exact)}),
            "presence": _mean(presence[row]),
            "whole_photo": _mean(whole[row]),
            "gain": _mean(presence[row] - whole[row]),
        }
    means = [one["stored"] for one in found.values()]
    return Outcome(
        {**found, "spread": max(means) - min(means), "n": len(targets), "labels": len(shown)},
        {
            "forms": np.array(list(FORMS), str),
            "forms_labels": np.array([one.name for one in shown], str),
            "forms_presence": presence,
            "forms_whole_photo": whole,
            "forms_stored_intersection": stored[..., 0],
            "forms_stored_union": stored[..., 1],
        },
    )


def _stored(
    library: Library, interface: Interface, targets: Sequence[Labelled], calibration: Calibration, progress: Progress
) -> NDArray[np.int64]:
    """(forms, targets, 2) intersection and union of the stored region that answers each form."""
    counts = np.zeros((len(FORMS), len(targets), 2), np.int64)
    for number, target in enumerate(targets):
        truth, known = target.rle.decode(), dict[int | None, Counts]()
        for row, write in enumerate(FORMS.values()):
            place = stored_place(library, target.position, interface, asked(Entity(write(target.label))), calibration)
            if place not in known:
                mask = None if place is None else library.masks[target.position][place].decode()
                known[place] = overlap_of(mask, truth)
            counts[row, number] = known[place]
        progress("grounding in five forms", number + 1, len(targets))
    return counts


def _exact(
    library: Library, interface: Interface, targets: Sequence[Labelled], form: str, progress: Progress
) -> NDArray[np.int64]:
    counts = np.zeros((len(targets), 2), np.int64)
    for number, target in enumerate(targets):
        found = interface.ground(library.photos[target.position].rgb(), asked(Entity(FORMS[form](target.label))))
        counts[number] = overlap_of(exact_mask(found), target.rle.decode())
        progress(f"grounding as {form}", number + 1, len(targets))
    return counts


def _presence(
    library: Library,
    interface: Interface,
    shown: Sequence[Named],
    form: str,
    calibration: Calibration,
    progress: Progress,
) -> tuple[Floats, Floats]:
    """(labels,) average precision of the entity's evidence, and of the whole photo's plain cosine."""
    presence, whole = np.zeros(len(shown), np.float32), np.zeros(len(shown), np.float32)
    for number, one in enumerate(shown):
        text = FORMS[form](one.name)
        query = asked(Entity(text))
        evidence = score(library, scoring_query(query, interface.encode_query(query), calibration)).evidence[:, 0]
        plain: Floats = library.image @ interface.encode_query(asked(text)).legend
        presence[number] = average_precision(evidence[one.photos], one.right)
        whole[number] = average_precision(plain[one.photos], one.right)
        progress(f"presence as {form}", number + 1, len(shown))
    return presence, whole


def _mean(values: NDArray[np.floating[Any]]) -> float:
    return float(values.mean()) if len(values) else 0.0
