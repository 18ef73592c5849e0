"""One evaluation, composed of its parts. The only place that knows the order of things and the form of the report."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..interface.protocol import Interface
from .annotations import References
from .feedback import feedback
from .grounding import grounding
from .hard_negatives import hard_negatives as judge_pairs
from .hard_negatives import read_pairs
from .in_forms import in_forms
from .interleaved import interleaved
from .judgement import judgement
from .labels import labels
from .library import Library, encode_library
from .negatives import negatives
from .outcome import Arrays, Figures, Outcome
from .own_photo import own_photo
from .packs import read_pack
from .plot import reliability_plot
from .progress import Progress
from .proposals import proposals
from .remembered import remembering
from .retrieval import captions
from .texts import texts
from .train_facts import TrainFacts, shipped_facts


def evaluate(
    pack: Path,
    *,
    interface: Interface,
    hard_negatives: Path | None = None,
    facts: TrainFacts | None = None,
    dump: Path | None = None,
    seed: int = 0,
    limit: int | None = None,
    exclude_sources: Collection[str] = (),
    progress: Progress | None = None,
    plot: Path | None = None,
    with_texts: bool = False,
) -> Figures:
    """Measure an interface on a photo pack.

    Args:
        pack: tar file in the form of docs/evaluate.md; nothing of it may have been trained on.
        interface: what is measured. Every photo is encoded once, and no query twice; queries rank through
            `query.score` and are judged by `query.judgement`.
        hard_negatives: JSONL of true and false captions, or None.
        facts: of the training packs; None takes those of the packs behind the bundled model.
        dump: where score matrices, ids, ranks and IoUs are written as ``.npz``, or None.
        seed: of the bootstrap intervals, the only thing that is drawn at random.
        limit: only the first so many photos of the pack, for a trial.
        exclude_sources: photos of these sources are left out.
        progress: called with what is being done, how many are done, and of how many.
        with_texts: measure what texts beside the photos are worth too, which asks every caption several times more.
        plot: where a reliability plot of the judgement is drawn as ``.png``, or None.
    Returns:
        The report as plain JSON values, figures in percent; its keys are listed in docs/evaluate.md.
    Raises:
        InputError: the pack or the pairs cannot be read, or no photo is left.
        ImageUnreadable: a picture of the pack is damaged.
    """
    report_progress = progress or (lambda what, done, total: None)
    pairs = read_pairs(hard_negatives) if hard_negatives else None
    photos = list(islice((photo for photo in read_pack(pack) if photo.source not in exclude_sources), limit))
    if not photos:
        raise InputError(f"pack {pack} has no photo left to evaluate; check --limit and --exclude-source")
    known = facts or shipped_facts()
    started = time.perf_counter()
    library = encode_library(photos, remembering(interface), report_progress)
    photos_per_s = len(photos) / (time.perf_counter() - started)
    outcomes = dict(_parts(library, known, seed, report_progress))
    if with_texts:
        outcomes["texts"] = texts(library, report_progress)
    if pairs is not None:
        outcomes["hard_negatives"] = judge_pairs(library, pairs, report_progress)
    if dump is not None:
        _write(dump, outcomes, library)
    if plot is not None:
        reliability_plot(outcomes["judgement"].figures, plot)
    return {
        **{name: outcome.figures for name, outcome in outcomes.items()},
        "photos": len(photos),
        "photos_per_s": photos_per_s,
        "model": asdict(interface.space),
        "pack": Path(pack).name,
        "seed": seed,
    }


def _parts(library: Library, facts: TrainFacts, seed: int, progress: Progress) -> Iterator[tuple[str, Outcome]]:
    references = References(library.photos)
    yield "caption", captions(library, progress)
    yield from interleaved(library, references, seed=seed, progress=progress).items()
    grounded = grounding(library, references, facts.mean_mask, progress)
    yield from grounded.items()
    by_name = grounded["grounding_text"].arrays
    looks = np.stack([by_name["grounding_text_intersection"], by_name["grounding_text_union"]], 1)
    yield "forms", in_forms(library, looks, progress)
    yield "proposals", proposals(library)
    yield "labels", labels(library, facts.names, progress)
    yield "judgement", judgement(library, references, progress)
    yield "negatives", negatives(library, progress)
    yield "feedback", feedback(library, seed=seed, progress=progress)
    yield "own_photo", own_photo(library, progress)


def _write(path: Path, outcomes: dict[str, Outcome], library: Library) -> None:
    arrays: Arrays = {"keys": library.keys()}
    for outcome in outcomes.values():
        arrays.update(outcome.arrays)
    try:
        with open(path, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise InputError(f"dump {path} cannot be written: {error.strerror or error}") from error
