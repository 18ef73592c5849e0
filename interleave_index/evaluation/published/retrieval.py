"""Benchmarks that rank photos: FIND-Bench in its three modes, and Karpathy's split of COCO captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import metrics
from ...records import Floats
from .coco import PanopticSet
from .entity import Asked, EntityBench, EntitySentence, Exemplar, ask
from .figures import FIND_RETRIEVAL, Published
from .grounding import VISUAL_CHANCE
from .journal import Journal
from .karpathy import CaptionedPhoto
from .run import Measured
from .subject import Sizes, Subject

SIZES = Sizes(512, 720)
MODES = ("text", "caption")
GALLERY = 500  # photos scored at a time, so that their objects fit into memory
OUTSIDE = -1  # reference of a phrase that has none


class FindBenchText:
    """COCO-Entity sentences without pictures: one sentence a photo.

    Args:
        mode: ``text`` ranks by the vector of the whole sentence as an interleaved query without pictures (the
            setting shipped with FIND), ``caption`` by that of a plain caption.
    """

    def __init__(self, entities: EntityBench, panoptic: PanopticSet, *, long: bool = False, mode: str = "text") -> None:
        self.name = f"find-bench retrieval {mode}" + (" long" if long else "")
        self.settings: dict[str, Any] = {"mode": mode}
        self.published: Sequence[Published] = FIND_RETRIEVAL[long] if mode == "text" else ()
        self._entities, self._panoptic = entities, panoptic

    def items(self) -> list[tuple[str, EntitySentence]]:
        """Photos with a sentence, by their id."""
        return _first_sentences(self._entities, self._panoptic)

    def measure(self, subject: Subject, item: EntitySentence, rng: np.random.Generator) -> Measured:
        """Vectors of the photo and of its sentence."""
        image, _ = subject.look(self._panoptic.photos[item.photo].rgb(), SIZES).vectors()
        if self.settings["mode"] == "caption":
            text = subject.captions([item.text])[0]
        else:
            text = subject.sentence(Asked(item.text))[0]
        return Measured({"photo": item.photo}, {"image": image, "texts": text[None]})

    def figures(self, journal: Journal, subject: Subject) -> dict[str, Any]:
        """IR@k and TR@k."""
        return _ranked(journal)


class FindBenchInterleaved:
    """COCO-Entity sentences in which phrases with a reference are shown by a segment of another photo.

    Args:
        entities: an interleave file, whose phrases have references.
        visual: chance that a phrase with a reference is shown.
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
        self.name = "find-bench retrieval interleaved" + (" long" if long else "")
        self.settings: dict[str, Any] = {"visual": visual, "published_protocol": published_protocol}
        self.published: Sequence[Published] = ()
        self._entities, self._panoptic = entities, panoptic

    def items(self) -> list[tuple[str, EntitySentence]]:
        """Photos with a sentence, by their id."""
        return _first_sentences(self._entities, self._panoptic)

    def measure(self, subject: Subject, item: EntitySentence, rng: np.random.Generator) -> Measured:
        """Vectors of the photo, its objects, the sentence and its phrases, and the photos that lent their segments."""
        image, objects = subject.look(self._panoptic.photos[item.photo].rgb(), SIZES).vectors()
        drawn = rng.random(len(item.phrases)) < self.settings["visual"]
        exemplars: list[Exemplar | None] = []
        lenders: list[int] = []
        for phrase, on in zip(item.phrases, drawn, strict=True):
            linked = phrase.reference
            shown = bool(on) and linked is not None and linked.photo in self._panoptic.photos
            exemplars.append(None)
            lenders.append(OUTSIDE)
            if shown and linked is not None:
                mask = self._panoptic.mask(linked.photo, linked.segment)
                exemplars[-1] = Exemplar(self._panoptic.photos[linked.photo].rgb(), mask)
                lenders[-1] = linked.photo
        asked = ask(item, exemplars, published=bool(self.settings["published_protocol"]))
        legend, entities = subject.sentence(asked)
        return Measured(
            {"photo": item.photo, "lenders": lenders},
            {"image": image, "objects": objects, "legend": legend, "entities": entities},
        )

    def figures(self, journal: Journal, subject: Subject) -> dict[str, Any]:
        """IR@k of the interleaved score, ``n`` queries and how many of their phrases were shown."""
        rows = list(journal.each())
        photos = np.array([record["photo"] for _, record in rows], np.int64)
        lenders = np.array([n for _, record in rows for n in record["lenders"]], np.int64)
        offsets = np.concatenate([[0], np.cumsum([len(record["lenders"]) for _, record in rows])]).astype(np.int64)
        entities = np.concatenate([journal.array(key, "entities") for key, _ in rows])
        legends = np.stack([journal.array(key, "legend") for key, _ in rows])
        columns = []
        for start in range(0, len(rows), GALLERY):
            keys = [key for key, _ in rows[start : start + GALLERY]]
            images = np.stack([journal.array(key, "image") for key in keys])
            objects = _level([journal.array(key, "objects") for key in keys])
            columns.append(
                metrics.interleaved_scores(
                    legends, entities, offsets, lenders, images, objects, photos[start : start + GALLERY]
                ).total
            )
        scores = np.concatenate(columns, 1)
        ranks = metrics.first_ranks(scores, np.eye(len(rows), dtype=bool))
        return {
            **{f"IR@{k}": metrics.recall_at(ranks, k) for k in metrics.CUTOFFS},
            "n": len(rows),
            "shown": int((lenders != OUTSIDE).sum()),
            "phrases": len(lenders),
        }


class Karpathy:
    """Captions and photos of Karpathy's split."""

    def __init__(self, split: str, photos: Sequence[CaptionedPhoto]) -> None:
        self.name = f"karpathy {split}"
        self.settings: dict[str, Any] = {}
        self.published: Sequence[Published] = ()
        self._photos = photos

    def items(self) -> list[tuple[str, CaptionedPhoto]]:
        """Photos by their id."""
        return [(str(photo.id), photo) for photo in self._photos]

    def measure(self, subject: Subject, item: CaptionedPhoto, rng: np.random.Generator) -> Measured:
        """Vectors of the photo and of its captions."""
        image, _ = subject.look(item.rgb(), SIZES).vectors()
        return Measured({"photo": item.id}, {"image": image, "texts": subject.captions(item.captions)})

    def figures(self, journal: Journal, subject: Subject) -> dict[str, Any]:
        """IR@k and TR@k over all captions of the split."""
        return _ranked(journal)


def _first_sentences(entities: EntityBench, panoptic: PanopticSet) -> list[tuple[str, EntitySentence]]:
    return [
        (str(photo), rows[0])
        for photo, rows in entities.sentences.items()
        if rows and rows[0].phrases and photo in panoptic.photos
    ]


def _ranked(journal: Journal) -> dict[str, Any]:
    rows = list(journal.each())
    texts = [journal.array(key, "texts") for key, _ in rows]
    photos = np.array([record["photo"] for _, record in rows], np.int64)
    owners = np.repeat(photos, [len(one) for one in texts])
    scores = metrics.cosines(np.stack([journal.array(key, "image") for key, _ in rows]), np.concatenate(texts))
    return {**metrics.retrieval(scores, photos, owners), "n": len(owners), "photos": len(photos)}


def _level(objects: Sequence[Floats]) -> Floats:
    """(N, R, D) with as many objects each: the first one is repeated, which changes no maximum."""
    most = max(len(one) for one in objects)
    return np.stack([np.concatenate([one, np.repeat(one[:1], most - len(one), 0)]) for one in objects])
