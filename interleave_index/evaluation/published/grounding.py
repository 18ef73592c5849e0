"""Benchmarks that ask for one mask a phrase: FIND-Bench grounding, the RefCOCO family, ReasonSeg, false premises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.random import Generator

from ... import metrics
from ...interface.calibration import Calibration
from ...interface.protocol import Interface
from ...query.blocks import block_of
from ...query.calibration import complete
from ...query.judgement import curve_of, judge
from ...query.score import score, scoring_query
from ...records import RGB, BoolMask, PhotoEncoding, ResolvedPart
from ..outcome import Figures
from .coco import PanopticSet
from .entity import EntitySentence, Exemplar, interleave
from .files import read_photo
from .journal import Journal, Record
from .prompts import random_prompt
from .reasonseg import ReasonPhoto
from .refer import ReferredPhoto
from .run import Benchmark
from .subject import Masks, Subject

VISUAL_CHANCE = 0.5  # that a phrase of FIND-Bench is shown instead of said
SAMPLE = 200  # photos that the presence of a thing is judged against


class FindBench(Benchmark[EntitySentence]):
    """A part of FIND-Bench: the first sentence of each photo, where it has phrases.

    Args:
        sentences: by photo.
        panoptic: the photos with their segments.
        long: the sentences are those of the long file.
        visual: chance that a phrase is shown instead of said.
        published_protocol: replace words as the published evaluation does, see `entity.interleave`.
    """

    part: str

    def __init__(
        self,
        sentences: Mapping[int, Sequence[EntitySentence]],
        panoptic: PanopticSet,
        *,
        long: bool = False,
        visual: float = VISUAL_CHANCE,
        published_protocol: bool = False,
    ) -> None:
        firsts = [sentences[photo][0] for photo in panoptic.photos if photo in sentences]
        items = {str(sentence.photo): sentence for sentence in firsts if sentence.phrases}
        settings = {"visual": visual, "published_protocol": published_protocol}
        name = f"find-bench {self.part}" + (" long" if long else "")
        super().__init__(name, items, settings, comparable=visual == VISUAL_CHANCE)
        self.panoptic, self.visual, self.published_protocol = panoptic, visual, published_protocol


class FindBenchGrounding(FindBench):
    """COCO-Entity: phrases said, or shown by a stroke on their own segment, at random."""

    part = "grounding"

    def measure(self, subject: Subject, item: EntitySentence, rng: Generator) -> Record:
        """Pixels shared and in the union, one pair a phrase."""
        photo, ids = self.panoptic.photos[item.photo].rgb(), self.panoptic.ids(item.photo)
        masks = [self.panoptic.mask(item.photo, phrase.segment, ids) for phrase in item.phrases]
        shown = rng.random(len(masks)) < self.visual
        if self.published_protocol:  # two phrases of one segment are shown together
            segments = np.array([phrase.segment for phrase in item.phrases])
            shown = np.isin(segments, segments[shown])
        exemplars = []
        for mask, visual in zip(masks, shown, strict=True):
            exemplars.append(Exemplar(photo, random_prompt(mask, rng)) if visual else None)
        sentence = interleave(item, exemplars, published=self.published_protocol)
        return _counts(subject.ground_sentence(photo, sentence), masks)

    def figures(self, journal: Journal) -> Figures:
        """cIoU, mIoU, P@t and `n` phrases; the README of FIND calls P@0.5 AP50."""
        intersection, union = _pooled(journal)
        return {**metrics.grounding(intersection, union), "n": len(union)}


class Refer(Benchmark[ReferredPhoto]):
    """RefCOCO, RefCOCO+ or RefCOCOg.

    Args:
        together: all expressions of a photo in one pass, as FIND evaluates; else each by itself.
    """

    def __init__(self, name: str, split: str, photos: Sequence[ReferredPhoto], *, together: bool) -> None:
        items = {str(photo.id): photo for photo in photos}
        super().__init__(f"{name} {split}", items, {"together": together}, comparable=not together)
        self._together = together

    def measure(self, subject: Subject, item: ReferredPhoto, rng: Generator) -> Record:
        """Pixels shared and in the union, one pair an expression."""
        texts = [expression.text for expression in item.expressions]
        return _counts(subject.ground(item.rgb(), texts, together=self._together), item.masks())

    def figures(self, journal: Journal) -> Figures:
        """FIND's and READ's figures over expressions; cIoU is the same in both but for READ's 1e-10."""
        intersection, union = _pooled(journal)
        return {**metrics.grounding(intersection, union), **_read_figures(intersection, union), "n": len(union)}


class ReasonSeg(Benchmark[ReasonPhoto]):
    """ReasonSeg: the first text of each photo, ignored pixels blanked."""

    def __init__(self, split: str, photos: Sequence[ReasonPhoto]) -> None:
        super().__init__(f"reasonseg {split}", {photo.name: photo for photo in photos}, {})

    def measure(self, subject: Subject, item: ReasonPhoto, rng: Generator) -> Record:
        """Pixels of the target shared and in the union, and whether the text is a long one."""
        photo = read_photo(item.file)
        masks = subject.ground(photo, [item.text], together=False)
        intersection, union = metrics.class_intersection_and_union(
            masks, item.truth((photo.shape[0], photo.shape[1]))[None]
        )
        return {"intersection": int(intersection[0, 1]), "union": int(union[0, 1]), "long": item.long}

    def figures(self, journal: Journal) -> Figures:
        """gIoU and cIoU of all texts, of the short and of the long ones."""
        intersection, union, long = (np.array(journal.values(name)) for name in ("intersection", "union", "long"))
        figures: Figures = {}
        for kind, rows in (("", long | True), (" short", ~long), (" long", long)):
            if rows.any():
                for name, value in _read_figures(intersection[rows], union[rows]).items():
                    figures[name + kind] = value
        return {**figures, "n": len(long)}


class FalsePremise(Benchmark[ReferredPhoto]):
    """FP-RefCOCO: expressions of which about half name what is not there.

    A model without an answer "absent" is given one: a thing is there when a search for its words alone, over a sample
    of the split's photos and this one, counts this one as meant (`query.judgement`). For that the interface is asked as
    a search asks it, with the regions that it stores. A model that only grounds says "absent" by an empty mask.
    """

    def __init__(self, name: str, split: str, photos: Sequence[ReferredPhoto]) -> None:
        items = {str(photo.id): photo for photo in photos}
        super().__init__(f"fp-{name} {split}", items, {"sample": min(SAMPLE, len(photos))})
        step = max(1, len(photos) // SAMPLE)
        self._sample = photos[::step][:SAMPLE]
        self._library: tuple[list[PhotoEncoding], Calibration] | None = None  # made when it is needed

    def measure(self, subject: Subject, item: ReferredPhoto, rng: Generator) -> Record:
        """Overlap of both classes, and what was said about each expression."""
        photo, texts = item.rgb(), [expression.text for expression in item.expressions]
        said = self._present(subject.interface, photo, texts)
        masks = subject.ground(photo, texts, together=False) & said[:, None, None]
        said &= masks.any((1, 2))
        intersection, union = metrics.class_intersection_and_union(masks, np.array(item.masks(), np.uint8))
        return {
            "intersection": intersection.tolist(),
            "union": union.tolist(),
            "said": said.tolist(),
            "exists": [expression.exists for expression in item.expressions],
        }

    def figures(self, journal: Journal) -> Figures:
        """See and Segment."""
        intersection, union = _pooled(journal)
        said, exists = (np.array(journal.pooled(name), bool) for name in ("said", "exists"))
        summary = metrics.see_segment(intersection, union, said, exists)
        return {
            "See": 100 * summary.see,
            "Segment": 100 * summary.segment,
            "n": len(said),
            "absent": int((~exists).sum()),
            "said absent": int((~said).sum()),
        }

    def _present(self, interface: Interface, photo: RGB, texts: Sequence[str]) -> BoolMask:
        """Whether each of the texts counts as there in one photo, (n,)."""
        if not interface.capabilities.encodes:
            return np.ones(len(texts), bool)
        if self._library is None:
            encodings = interface.encode_photos([sample.rgb() for sample in self._sample])
            self._library = encodings, complete(interface.calibration, block_of(encodings))
        encodings, calibration = self._library
        block = block_of([*encodings, *interface.encode_photos([photo])])
        parts = [ResolvedPart("entity", "text", text) for text in texts]
        query = scoring_query(parts, interface.encode_query(tuple(parts)), calibration)
        evidence = score(block, query).evidence  # (photos, texts), the photo in question last
        present = []
        for part, scores in zip(parts, evidence.T, strict=True):
            judgement = judge(curve_of([part], calibration), float(scores.max()), len(scores))
            present.append(judgement.chances(scores[-1:])[0] >= judgement.cutoff)
        return np.array(present, bool)


def _counts(masks: Masks, truth: Sequence[BoolMask]) -> Record:
    intersection, union = metrics.intersection_and_union(masks, np.stack(truth))
    return {"intersection": intersection.tolist(), "union": union.tolist()}


def _pooled(journal: Journal) -> tuple[metrics.Counts, metrics.Counts]:
    return np.array(journal.pooled("intersection"), np.int64), np.array(journal.pooled("union"), np.int64)


def _read_figures(intersection: metrics.Counts, union: metrics.Counts) -> dict[str, float]:
    summary = metrics.read_iou(intersection[:, None], union[:, None])
    return {"gIoU": 100 * summary.giou, "cIoU": 100 * summary.ciou}
