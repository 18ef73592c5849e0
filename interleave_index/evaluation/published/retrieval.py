"""Benchmarks that rank photos: FIND-Bench in its three modes, and Karpathy's split of COCO captions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from ... import metrics
from ...records import Floats
from ..outcome import Figures
from .coco import PanopticSet
from .entity import EntitySentence, Exemplar, InterleavedSentence, Sentences, interleave
from .files import read_photo
from .grounding import VISUAL_CHANCE, first_sentences
from .journal import Journal, Record
from .karpathy import CaptionedPhoto
from .run import Benchmark
from .subject import Subject

GALLERY = 500  # photos scored at a time, so that their objects fit into memory
OUTSIDE = -1  # reference of a phrase that has none


def find_bench_text(
    sentences: Sentences,
    panoptic: PanopticSet,
    *,
    long: bool = False,
    mode: str = "text",
) -> Benchmark[EntitySentence]:
    """COCO-Entity sentences without pictures: one sentence a photo.

    Args:
        mode: ``text`` ranks by the vector of the whole sentence as an interleaved query without pictures (the
            setting shipped with FIND), ``caption`` by that of a plain caption.
    """

    def measure(subject: Subject, item: EntitySentence, rng: Generator) -> Record:
        image = subject.views(panoptic.photos[item.photo].rgb())
        if mode == "caption":
            texts = subject.captions([item.text])
        else:
            texts = subject.sentence(InterleavedSentence(item.text))[0][None]
        return {"photo": item.photo, "image": image, "texts": texts}

    name = f"find-bench retrieval {mode}{' long' if long else ''}"
    return Benchmark(name, first_sentences(sentences, panoptic), measure, _caption_retrieval, {"mode": mode})


def find_bench_interleaved(
    sentences: Sentences,
    panoptic: PanopticSet,
    *,
    long: bool = False,
    visual: float = VISUAL_CHANCE,
    published_protocol: bool = False,
) -> Benchmark[EntitySentence]:
    """COCO-Entity sentences of an interleave file: phrases with a reference are said, or shown by it, at random.

    Args:
        sentences, panoptic, long, visual, published_protocol: see `grounding.find_bench_grounding`.
    """

    def measure(subject: Subject, item: EntitySentence, rng: Generator) -> Record:
        photos = panoptic.photos
        image, objects = subject.vectors(photos[item.photo].rgb())
        drawn = rng.random(len(item.phrases)) < visual
        exemplars: list[Exemplar | None] = []
        lenders = []
        for phrase, is_shown in zip(item.phrases, drawn, strict=True):
            exemplar, lender, reference = None, OUTSIDE, phrase.reference
            if is_shown and reference is not None and reference.photo in photos:
                lender = reference.photo
                exemplar = Exemplar(photos[lender].rgb(), panoptic.mask(lender, reference.segment))
            exemplars.append(exemplar)
            lenders.append(lender)
        legend, entities = subject.sentence(interleave(item, exemplars, published=published_protocol))
        vectors = {"image": image, "objects": objects, "legend": legend, "entities": entities}
        return {"photo": item.photo, "lenders": lenders, **vectors}

    return Benchmark(
        f"find-bench retrieval interleaved{' long' if long else ''}",
        first_sentences(sentences, panoptic),
        measure,
        _interleaved_retrieval,
        {"visual": visual, "published_protocol": published_protocol},
        comparable=visual == VISUAL_CHANCE,
    )


def karpathy(split: str, photos: Sequence[CaptionedPhoto]) -> Benchmark[CaptionedPhoto]:
    """Captions and photos of Karpathy's split."""

    def measure(subject: Subject, item: CaptionedPhoto, rng: Generator) -> Record:
        photo = read_photo(item.file)
        return {"photo": item.id, "image": subject.views(photo), "texts": subject.captions(item.captions)}

    return Benchmark(f"karpathy {split}", {str(photo.id): photo for photo in photos}, measure, _caption_retrieval)


def _caption_retrieval(journal: Journal) -> Figures:
    """IR@k and TR@k over all texts."""
    texts = journal.arrays("texts")
    photos = np.array(journal.values("photo"))
    owners = np.repeat(photos, [len(rows) for rows in texts])
    scores = metrics.nearest_views(journal.arrays("image"), np.concatenate(texts))
    return {**metrics.retrieval(scores, photos, owners), "n": len(owners), "photos": len(photos)}


def _interleaved_retrieval(journal: Journal) -> Figures:
    """IR@k of the interleaved score, ``n`` queries and how many of their phrases were shown."""
    photos, lenders = np.array(journal.values("photo")), np.array(journal.pooled("lenders"))
    offsets = np.cumsum([0, *map(len, journal.values("lenders"))])
    legends, entities = np.stack(journal.arrays("legend")), np.concatenate(journal.arrays("entities"))
    blocks = []
    for start in range(0, len(photos), GALLERY):
        part = slice(start, start + GALLERY)
        images, objects = np.stack(journal.arrays("image", part)), _same_length(journal.arrays("objects", part))
        scores = metrics.interleaved_scores(legends, entities, offsets, lenders, images, objects, photos[part])
        blocks.append(scores.total)
    ranks = metrics.first_ranks(np.concatenate(blocks, 1), np.eye(len(photos), dtype=bool))
    recalls = {f"IR@{k}": metrics.recall_at(ranks, k) for k in metrics.CUTOFFS}
    return {**recalls, "n": len(photos), "shown": int((lenders != OUTSIDE).sum()), "phrases": len(lenders)}


def _same_length(objects: Sequence[Floats]) -> Floats:
    """(N, R, D) with as many objects each: the first one is repeated, which changes no maximum."""
    most = max(map(len, objects))
    return np.stack([np.concatenate([rows, np.repeat(rows[:1], most - len(rows), 0)]) for rows in objects])
