"""Benchmarks that ask for one mask a phrase: FIND-Bench grounding, the RefCOCO family, ReasonSeg, false premises."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.random import Generator

from ... import metrics
from ...errors import InputError
from ...interface.calibration import Calibration
from ...interface.protocol import Interface
from ...query.blocks import block_of
from ...query.calibration import complete
from ...query.judgement import curve_of, judge
from ...query.score import score, scoring_query
from ...records import RGB, BoolMask, PhotoEncoding, ResolvedPart
from ..outcome import Figures
from .coco import PanopticSet
from .entity import EntitySentence, Exemplar, Sentences, interleave
from .files import read_photo
from .journal import Journal, Record
from .prompts import random_prompt
from .reasonseg import ReasonPhoto
from .refer import ReferredPhoto
from .run import Benchmark
from .subject import Masks, Subject

VISUAL_CHANCE = 0.5  # that a phrase of FIND-Bench is shown instead of said
SAMPLE = 200  # photos that the presence of a thing is judged against


def first_sentences(sentences: Sentences, panoptic: PanopticSet) -> dict[str, EntitySentence]:
    """The items of FIND-Bench: the first sentence of each photo, where it has phrases."""
    firsts = [sentences[photo][0] for photo in panoptic.photos if photo in sentences]
    return {str(sentence.photo): sentence for sentence in firsts if sentence.phrases}


def find_bench_grounding(
    sentences: Sentences,
    panoptic: PanopticSet,
    *,
    long: bool = False,
    visual: float = VISUAL_CHANCE,
    published_protocol: bool = False,
) -> Benchmark[EntitySentence]:
    """COCO-Entity: phrases said, or shown by a stroke on their own segment, at random.

    Args:
        sentences: by photo; `long` if they are those of the long file.
        panoptic: the photos with their segments.
        visual: chance that a phrase is shown instead of said.
        published_protocol: replace words as the published evaluation does, see `entity.interleave`.
    """

    def measure(subject: Subject, item: EntitySentence, rng: Generator) -> Record:
        photo, ids = panoptic.photos[item.photo].rgb(), panoptic.ids(item.photo)
        masks = [panoptic.mask(item.photo, phrase.segment, ids) for phrase in item.phrases]
        shown = rng.random(len(masks)) < visual
        if published_protocol:  # two phrases of one segment are shown together
            segments = np.array([phrase.segment for phrase in item.phrases])
            shown = np.isin(segments, segments[shown])
        exemplars = []
        for mask, is_shown in zip(masks, shown, strict=True):
            exemplars.append(Exemplar(photo, random_prompt(mask, rng)) if is_shown else None)
        sentence = interleave(item, exemplars, published=published_protocol)
        return _counts(subject.ground_sentence(photo, sentence), masks)

    length = " long" if long else ""
    return Benchmark(
        f"find-bench grounding{length}",
        first_sentences(sentences, panoptic),
        measure,
        _grounding_figures,  # the README of FIND calls P@0.5 AP50
        {"visual": visual, "published_protocol": published_protocol},
        comparable=visual in (0, VISUAL_CHANCE),
        published="" if visual else f"find-bench grounding text{length}",
    )


def refer(name: str, split: str, photos: Sequence[ReferredPhoto], *, together: bool) -> Benchmark[ReferredPhoto]:
    """RefCOCO, RefCOCO+ or RefCOCOg: figures over expressions as FIND and as READ count them.

    Args:
        together: all expressions of a photo in one pass, as FIND evaluates; else each by itself.
    Raises:
        InputError: an expression names what is not there.
    """
    if not all(expression.exists for photo in photos for expression in photo.expressions):
        raise InputError(
            f"expressions of {name} {split} name what is not there, expected a set without false premises; measure "
            f"this one by fp-refcoco --set {name}"
        )

    def measure(subject: Subject, item: ReferredPhoto, rng: Generator) -> Record:
        texts = [expression.text for expression in item.expressions]
        return _counts(subject.ground(item.rgb(), texts, together=together), item.masks())

    def figures(journal: Journal) -> Figures:
        return _read_figures(*_pooled(journal)) | _grounding_figures(journal)  # cIoU differs by READ's 1e-10 alone

    items = {str(photo.id): photo for photo in photos}
    published = f"{name} {split} find" if together else ""
    return Benchmark(f"{name} {split}", items, measure, figures, {"together": together}, published=published)


def reasonseg(split: str, photos: Sequence[ReasonPhoto]) -> Benchmark[ReasonPhoto]:
    """ReasonSeg: the first text of each photo, ignored pixels blanked; figures of all, short and long texts."""

    def measure(subject: Subject, item: ReasonPhoto, rng: Generator) -> Record:
        photo = read_photo(item.file)
        mask = subject.reason(photo, item.text, is_sentence=item.long)
        truth = item.truth((photo.shape[0], photo.shape[1]))[None]
        intersection, union = metrics.class_intersection_and_union(mask[None], truth)
        return {"intersection": int(intersection[0, 1]), "union": int(union[0, 1]), "long": item.long}

    def figures(journal: Journal) -> Figures:
        intersection, union, long = (np.array(journal.values(name)) for name in ("intersection", "union", "long"))
        figures: Figures = {}
        for kind, rows in (("", long | True), (" short", ~long), (" long", long)):
            if rows.any():
                of_kind = _read_figures(intersection[rows], union[rows])
                figures |= {name + kind: value for name, value in of_kind.items()}
        return {**figures, "n": len(long)}

    return Benchmark(f"reasonseg {split}", {photo.name: photo for photo in photos}, measure, figures)


def false_premise(name: str, split: str, photos: Sequence[ReferredPhoto]) -> Benchmark[ReferredPhoto]:
    """FP-RefCOCO (See, FP accuracy, Segment): expressions of which about half name what is not there.

    A model without an answer "absent" is given one: a thing is there when a search for its words alone, over a sample
    of the split's photos and this one, counts this one as meant (`query.judgement`). For that the interface is asked as
    a search asks it, with the regions that it stores. A model that only grounds says "absent" by an empty mask.

    See is the share of all expressions whose presence was judged rightly, FP accuracy that of the false premises.

    Raises:
        InputError: no expression names what is not there.
    """
    if all(expression.exists for photo in photos for expression in photo.expressions):
        raise InputError(
            f"all expressions of {name} {split} name what is there, expected false premises too, as in "
            f"refs(berkeley_exclude_unified).p; measure this set by {name}"
        )
    sample = photos[:: max(1, len(photos) // SAMPLE)][:SAMPLE]

    @cache
    def library(subject: Subject) -> tuple[list[PhotoEncoding], Calibration]:
        encodings = subject.interface.encode_photos([photo.rgb() for photo in sample])
        return encodings, complete(subject.interface.calibration, block_of(encodings))

    def measure(subject: Subject, item: ReferredPhoto, rng: Generator) -> Record:
        photo, texts = item.rgb(), [expression.text for expression in item.expressions]
        said = np.ones(len(texts), bool)
        if subject.interface.capabilities.encodes:
            said = _present(subject.interface, *library(subject), photo, texts)
        masks = subject.ground_if_there(photo, texts) & said[:, None, None]
        said &= masks.any((1, 2))
        intersection, union = metrics.class_intersection_and_union(masks, np.array(item.masks(), np.uint8))
        return {
            "intersection": intersection.tolist(),
            "union": union.tolist(),
            "said": said.tolist(),
            "exists": [expression.exists for expression in item.expressions],
        }

    def figures(journal: Journal) -> Figures:
        said, exists = (np.array(journal.pooled(name), bool) for name in ("said", "exists"))
        summary = metrics.see_segment(*_pooled(journal), said, exists)
        return {
            "See": 100 * summary.see,
            **({"FP accuracy": 100 * float((~said[~exists]).mean())} if not exists.all() else {}),
            "Segment": 100 * summary.segment,
            "n": len(said),
            "absent": int((~exists).sum()),
            "said absent": int((~said).sum()),
        }

    items = {str(photo.id): photo for photo in photos}
    settings = {"sample": min(SAMPLE, len(photos))}
    return Benchmark(f"fp-{name} {split}", items, measure, figures, settings, presence=True)


def _present(
    interface: Interface, sample: list[PhotoEncoding], calibration: Calibration, photo: RGB, texts: Sequence[str]
) -> BoolMask:
    """Whether each of the texts counts as there in one photo, (n,)."""
    block = block_of([*sample, *interface.encode_photos([photo])])
    parts = [ResolvedPart("entity", "text", text) for text in texts]
    query = scoring_query(parts, interface.encode_query(tuple(parts)), calibration)
    present = []
    for part, scores in zip(parts, score(block, query).evidence.T, strict=True):  # the photo in question is the last
        judgement = judge(curve_of([part], calibration), float(scores.max()), len(scores))
        present.append(judgement.chances(scores[-1:])[0] >= judgement.cutoff)
    return np.array(present, bool)


def _counts(masks: Masks, truth: Sequence[BoolMask]) -> Record:
    """Pixels shared and in the union, one pair a mask."""
    intersection, union = metrics.intersection_and_union(masks, np.stack(truth))
    return {"intersection": intersection.tolist(), "union": union.tolist()}


def _pooled(journal: Journal) -> tuple[metrics.Counts, metrics.Counts]:
    return np.array(journal.pooled("intersection"), np.int64), np.array(journal.pooled("union"), np.int64)


def _grounding_figures(journal: Journal) -> Figures:
    """cIoU, mIoU, P@t and `n` masks."""
    intersection, union = _pooled(journal)
    return {**metrics.grounding(intersection, union), "n": len(union)}


def _read_figures(intersection: metrics.Counts, union: metrics.Counts) -> dict[str, float]:
    summary = metrics.read_iou(intersection[:, None], union[:, None])
    return {"gIoU": 100 * summary.giou, "cIoU": 100 * summary.ciou}
