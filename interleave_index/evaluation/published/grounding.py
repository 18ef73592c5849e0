"""Benchmarks that ask for one mask a phrase: FIND-Bench grounding, the RefCOCO family, ReasonSeg, false premises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import metrics
from ...interface.calibration import Calibration
from ...interface.protocol import Interface
from ...query.blocks import block_of
from ...query.calibration import complete
from ...query.judgement import curve_of, judge
from ...query.score import score, scoring_query
from ...records import RGB, BoolMask, Floats, PhotoEncoding, ResolvedPart
from .coco import PanopticSet
from .entity import EntityBench, EntitySentence, Exemplar, ask
from .figures import FALSE_PREMISE, FIND_GROUNDING, REASONSEG, Published, refer
from .journal import Journal
from .prompts import random_prompt
from .reasonseg import ReasonPhoto
from .refer import ReferredPhoto
from .run import Measured
from .subject import Masks, Sizes, Subject

COCO_SIZES, REFER_SIZES = Sizes(640, 1024), Sizes(512, 1024)
VISUAL_CHANCE = 0.5  # that a phrase of FIND-Bench is shown instead of said
SAMPLE = 200  # photos that the presence of a thing is judged against


def _counts(found: Masks, truth: Sequence[BoolMask]) -> dict[str, Any]:
    inside, union = metrics.overlap(found, np.array(truth, bool).reshape(found.shape))
    return {"intersection": inside.tolist(), "union": union.tolist()}


def _pooled(journal: Journal) -> tuple[metrics.Counts, metrics.Counts]:
    rows = [record for _, record in journal.each()]
    return tuple(
        np.array([n for row in rows for n in row[name]], np.int64)  # type: ignore[return-value]
        for name in ("intersection", "union")
    )


def _read_figures(inside: metrics.Counts, union: metrics.Counts) -> dict[str, float]:
    both = metrics.read_iou(np.stack([inside, inside], 1), np.stack([union, union], 1))
    return {"gIoU": 100 * both.giou, "cIoU": 100 * both.ciou}


class FindBenchGrounding:
    """COCO-Entity: the first sentence of each photo, phrases said or shown at random.

    Args:
        entities: of the validation split.
        panoptic: the same photos with their segments.
        long: the sentences are those of the long file.
        visual: chance that a phrase is shown by a stroke on its own segment.
        published_protocol: replace words as the published evaluation does, see `entity.ask`.
    """

    def __init__(
        self,
        entities: EntityBench,
        panoptic: PanopticSet,
        *,
        long: bool = False,
        visual: float = VISUAL_CHANCE,
        published_protocol: bool = False,
    ) -> None:
        self.name = "find-bench grounding" + (" long" if long else "")
        self.settings = {"visual": visual, "published_protocol": published_protocol}
        self.published: Sequence[Published] = FIND_GROUNDING[long] if visual == VISUAL_CHANCE else ()
        self._entities, self._panoptic = entities, panoptic

    def items(self) -> list[tuple[str, EntitySentence]]:
        """Photos with a sentence and a panoptic map, by their id."""
        return [
            (str(photo), self._entities.sentences[photo][0])
            for photo in self._panoptic.photos
            if self._entities.sentences.get(photo) and self._entities.sentences[photo][0].phrases
        ]

    def measure(self, subject: Subject, item: EntitySentence, rng: np.random.Generator) -> Measured:
        """Pixels shared and in the union, one pair a phrase."""
        photo = self._panoptic.photos[item.photo].rgb()
        ids = self._panoptic.ids(item.photo)
        masks = [self._panoptic.mask(item.photo, phrase.segment, ids) for phrase in item.phrases]
        chosen = rng.random(len(masks)) < self.settings["visual"]
        published = bool(self.settings["published_protocol"])
        if published:  # two phrases of one segment are shown together
            shown = {phrase.segment for phrase, on in zip(item.phrases, chosen, strict=True) if on}
            chosen = np.array([phrase.segment in shown for phrase in item.phrases])
        exemplars = [
            Exemplar(photo, random_prompt(mask, rng)) if on else None for mask, on in zip(masks, chosen, strict=True)
        ]
        asked = ask(item, exemplars, published=published)
        return Measured(_counts(subject.look(photo, COCO_SIZES).ground_sentence(asked), masks))

    def figures(self, journal: Journal, subject: Subject) -> dict[str, Any]:
        """cIoU, mIoU, P@t and `n` phrases; the README of FIND calls P@0.5 AP50."""
        inside, union = _pooled(journal)
        return {**metrics.grounding(inside, union), "n": len(inside)}


class Refer:
    """RefCOCO, RefCOCO+ or RefCOCOg.

    Args:
        together: all expressions of a photo in one pass, as FIND evaluates; else each by itself.
    """

    def __init__(self, name: str, split: str, photos: Sequence[ReferredPhoto], *, together: bool) -> None:
        self.name = f"{name} {split}"
        self.settings: dict[str, Any] = {"together": together}
        self.published: Sequence[Published] = () if together else refer(name, split)
        self._photos = photos

    def items(self) -> list[tuple[str, ReferredPhoto]]:
        """Photos by their id."""
        return [(str(photo.id), photo) for photo in self._photos]

    def measure(self, subject: Subject, item: ReferredPhoto, rng: np.random.Generator) -> Measured:
        """Pixels shared and in the union, one pair an expression."""
        found = _ground(subject, item, together=bool(self.settings["together"]))
        return Measured(_counts(found, item.masks()))

    def figures(self, journal: Journal, subject: Subject) -> dict[str, Any]:
        """FIND's and READ's figures over expressions; cIoU is the same in both but for READ's 1e-10."""
        inside, union = _pooled(journal)
        return {**metrics.grounding(inside, union), **_read_figures(inside, union), "n": len(inside)}


class ReasonSeg:
    """ReasonSeg: the first text of each photo, ignored pixels blanked."""

    def __init__(self, split: str, photos: Sequence[ReasonPhoto]) -> None:
        self.name = f"reasonseg {split}"
        self.settings: dict[str, Any] = {}
        self.published: Sequence[Published] = REASONSEG.get(split, ())
        self._photos = photos

    def items(self) -> list[tuple[str, ReasonPhoto]]:
        """Photos by their name."""
        return [(photo.name, photo) for photo in self._photos]

    def measure(self, subject: Subject, item: ReasonPhoto, rng: np.random.Generator) -> Measured:
        """Pixels of the target shared and in the union, and whether the text is a long one."""
        photo = item.rgb()
        found = subject.look(photo, REFER_SIZES).ground([item.text])
        inside, union = metrics.class_overlap(found, item.truth((photo.shape[0], photo.shape[1]))[None])
        return Measured({"intersection": int(inside[0, 1]), "union": int(union[0, 1]), "long": item.long})

    def figures(self, journal: Journal, subject: Subject) -> dict[str, Any]:
        """gIoU and cIoU of all texts, of the short and of the long ones."""
        rows = np.array([[record["intersection"], record["union"], record["long"]] for _, record in journal.each()])
        found: dict[str, Any] = {}
        for kind, some in (("", rows), (" short", rows[rows[:, 2] == 0]), (" long", rows[rows[:, 2] == 1])):
            if len(some):
                found |= {f"{name}{kind}": value for name, value in _read_figures(some[:, 0], some[:, 1]).items()}
        return {**found, "n": len(rows)}


class FalsePremise:
    """FP-RefCOCO: expressions of which about half name what is not there.

    A model without an answer "absent" is given one: a thing is there when a search for its words alone, over a sample
    of the split's photos and this one, counts this one as meant (`query.judgement`). For that the interface is asked as
    a search asks it, with the regions that it stores. A model that only grounds says "absent" by an empty mask.
    """

    def __init__(self, name: str, split: str, photos: Sequence[ReferredPhoto], *, sample: int = SAMPLE) -> None:
        self.name = f"fp-{name} {split}"
        self.settings: dict[str, Any] = {"sample": min(sample, len(photos))}
        self.published: Sequence[Published] = FALSE_PREMISE.get(name, ()) if split == "val" else ()
        self._photos, self._sample = photos, _Sample(photos, sample)

    def items(self) -> list[tuple[str, ReferredPhoto]]:
        """Photos by their id."""
        return [(str(photo.id), photo) for photo in self._photos]

    def measure(self, subject: Subject, item: ReferredPhoto, rng: np.random.Generator) -> Measured:
        """Overlap of both classes, and what was said about each expression."""
        photo = item.rgb()
        look, texts = subject.look(photo, REFER_SIZES), [one.text for one in item.expressions]
        said = self._sample.there(subject.interface, photo, texts)
        found = np.concatenate([look.ground([text]) for text in texts]) & said[:, None, None]
        said &= found.any((1, 2))
        truth = np.array(item.masks(), np.uint8)
        inside, union = metrics.class_overlap(found, truth)
        return Measured(
            {
                "intersection": inside.tolist(),
                "union": union.tolist(),
                "said": said.tolist(),
                "exists": [one.exists for one in item.expressions],
            }
        )

    def figures(self, journal: Journal, subject: Subject) -> dict[str, Any]:
        """See and Segment."""
        rows = [record for _, record in journal.each()]
        inside, union = (
            np.array([n for row in rows for n in row[name]], np.int64).reshape(-1, 2)
            for name in ("intersection", "union")
        )
        said, exists = (np.array([n for row in rows for n in row[name]], bool) for name in ("said", "exists"))
        found = metrics.see_segment(inside, union, said, exists)
        return {
            "See": 100 * found.see,
            "Segment": 100 * found.segment,
            "n": len(said),
            "absent": int((~exists).sum()),
            "said absent": int((~said).sum()),
        }


class _Sample:
    """A sample of a split's photos as a library, encoded on first use."""

    def __init__(self, photos: Sequence[ReferredPhoto], count: int) -> None:
        step = max(1, len(photos) // max(1, count))
        self._photos = list(photos[::step])[:count]
        self._encodings: list[PhotoEncoding] = []
        self._calibration: Calibration | None = None

    def there(self, interface: Interface | None, photo: RGB, texts: Sequence[str]) -> BoolMask:
        """Whether each of the texts counts as there in one photo, (n,)."""
        if interface is None or not interface.capabilities.encodes:
            return np.ones(len(texts), bool)
        if self._calibration is None:
            self._encodings = interface.encode_photos([one.rgb() for one in self._photos])
            self._calibration = complete(interface.calibration, block_of(self._encodings))
        parts = [ResolvedPart("entity", "text", text) for text in texts]
        block = block_of([*self._encodings, *interface.encode_photos([photo])])
        query = scoring_query(parts, interface.encode_query(tuple(parts)), self._calibration)
        evidence: Floats = score(block, query).evidence
        judgements = [
            judge(curve_of([part], self._calibration), float(best), len(block.image))
            for part, best in zip(parts, evidence.max(0), strict=True)
        ]
        return np.array(
            [one.chances(own[None])[0] >= one.cutoff for one, own in zip(judgements, evidence[-1], strict=True)], bool
        )


def _ground(subject: Subject, item: ReferredPhoto, *, together: bool) -> Masks:
    look, texts = subject.look(item.rgb(), REFER_SIZES), [one.text for one in item.expressions]
    return look.ground(texts) if together else np.concatenate([look.ground([text]) for text in texts])
