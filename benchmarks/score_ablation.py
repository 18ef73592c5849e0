"""What each part of the score and of the reading of entities is worth, on training photos that training never saw.

    python benchmarks/score_ablation.py PACK.tar ...

Photos are those held out by the hash of their key (`training.data.held_out`). Every row compares what a search does
with the same without one part, question by question, and gives the mean difference with its 95 % bootstrap interval:
over phrases for the IoU of the chosen region, over labels for the average precision of "is it in the photo" (things
under 1 % of the photo left out), over captions for finding their photo among the first ten.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from interleave_index import metrics
from interleave_index.evaluation import forms
from interleave_index.evaluation.annotations import captioned, lone_regions, things
from interleave_index.evaluation.library import Library, asked, encode_library
from interleave_index.evaluation.packs import read_pack
from interleave_index.evaluation.precision import average_precision
from interleave_index.evaluation.progress import chunks
from interleave_index.evaluation.proposals import pairwise_iou
from interleave_index.grounding.instances import rank_regions
from interleave_index.interface.find_mini.texts import encode_phrases, encode_texts
from interleave_index.interface.registry import load
from interleave_index.query.score import ALONE, IMAGE_CENTRING, Terms, best_cosines, mean_of
from interleave_index.records import Entity
from interleave_index.training.data import EXCLUDED_SOURCES, held_out

Read: TypeAlias = Callable[[Sequence[str]], np.ndarray]  # (n, D) vectors of texts

FORMS: dict[str, Callable[[str], str]] = {
    **{form: forms.FORMS[form] for form in ("bare", "a", "the", "plural")},
    "my old": lambda name: f"my old {name}",
}


def interval(gains: np.ndarray) -> str:
    low, high = metrics.bootstrap_interval(gains, np.arange(len(gains)), seed=0)
    return f"{gains.mean():+5.1f} ({low:+.1f} to {high:+.1f}), n = {len(gains)}"


class Bench:
    """The held-out photos, and everything that the rows compare."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.model: Any = load("find-mini")  # whose network is asked beside it
        self.mean = mean_of(self.model.calibration.phrases, self.model.space.dim)
        self.targets = lone_regions(library.photos)
        self.ious = [pairwise_iou([target.rle], library.masks[target.position])[0] for target in self.targets]
        self.labels = [thing for thing in things(library.photos) if thing.enough and not thing.right.all()]

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """As a search reads entities."""
        encodings = self.model.encode_queries([asked(Entity(text)) for text in texts])
        return np.array([encoding.entities[0] for encoding in encodings]).reshape(-1, len(self.mean))

    def as_written(self, texts: Sequence[str]) -> np.ndarray:
        """As captions, word for word."""
        with torch.inference_mode():
            return encode_texts(self.model.network, list(texts)).numpy()

    def as_phrases(self, texts: Sequence[str]) -> np.ndarray:
        """As the interface's own text entities."""
        with torch.inference_mode():
            return encode_phrases(self.model.network, list(texts)).numpy()

    def chosen(self, form: str, read: Read, *, centre: float = 1.0, by_quality: bool = True) -> np.ndarray:
        """(targets,) IoU of the region that answers, percent."""
        names = sorted({target.label for target in self.targets})
        rows = read([FORMS[form](name) for name in names]) - np.float32(centre) * self.mean
        vectors = dict(zip(names, rows, strict=True))
        ious = np.zeros(len(self.targets))
        for number, target in enumerate(self.targets):
            regions, scores = self.library.regions_of(target.position)
            if len(regions):
                weight = self.library.calibration.score_weight if by_quality else 0.0
                ranked = rank_regions(regions @ vectors[target.label], scores, weight)
                ious[number] = 100 * self.ious[number][ranked[0]]
        return ious

    def presence(
        self,
        form: str,
        read: Read,
        *,
        images: float = IMAGE_CENTRING,
        regions: float = 1.0,
        weight: float = ALONE,
    ) -> np.ndarray:
        """(labels,) average precision of the evidence, percent, with so much of the mean taken off."""
        vectors = read([FORMS[form](thing.name) for thing in self.labels])
        count = len(vectors)
        entities = Terms(
            regions=vectors - np.float32(regions) * self.mean,
            images=vectors - np.float32(images) * self.mean,
            weights=np.ones(count, np.float32),
            whole=np.zeros(count, bool),
        )
        best = best_cosines(self.library.block, entities)
        evidence = self.library.block.image @ entities.images.T + weight * np.where(np.isneginf(best), 0, best)
        return np.array(
            [average_precision(evidence[thing.photos, n], thing.right) for n, thing in enumerate(self.labels)]
        )

    def recalls(self, images: float) -> np.ndarray:
        """(captions,) 100 where the caption finds its photo among the first ten, else 0."""
        gallery = self.library.only(captioned(self.library.photos))
        texts = [caption for photo in gallery.photos for caption in photo.captions]
        owner = np.repeat(np.arange(len(gallery.photos)), [len(photo.captions) for photo in gallery.photos])
        legends = []
        for together in chunks(texts):
            encodings = self.model.encode_queries([asked(text) for text in together])
            legends += [encoding.legend for encoding in encodings]
        vectors = np.array(legends)
        scores = gallery.block.image @ (vectors - np.float32(images) * self.mean).T
        own = scores[owner, np.arange(len(texts))]
        found: np.ndarray = 100.0 * ((scores > own).sum(0) < 10)
        return found


def compare(bench: Bench, form: str) -> None:
    """One form of the names: the chosen region, and presence."""
    served = bench.chosen(form, bench.read)
    print(f"\n{form}: stored mIoU {served.mean():.1f}")
    others = {
        "the interface's own phrase vectors": bench.chosen(form, bench.as_phrases, centre=0.0),
        "captions word for word": bench.chosen(form, bench.as_written),
        "no centring": bench.chosen(form, bench.read, centre=0.0),
    }
    for what, other in others.items():
        print(f"  against {what:36}", interval(served - other))
    if not bench.labels:
        return
    served = bench.presence(form, bench.read)
    print(f"{form}: presence mean AP {served.mean():.1f}")
    others = {
        "the whole photo alone": bench.presence(form, bench.as_written, images=0.0, weight=0.0),
        "captions word for word": bench.presence(form, bench.as_written),
        "no centring": bench.presence(form, bench.read, images=0.0, regions=0.0),
        "entities counting 0.3": bench.presence(form, bench.read, weight=0.3),
    }
    for what, other in others.items():
        print(f"  against {what:36}", interval(served - other))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packs", type=Path, nargs="+")
    photos = []
    for pack in parser.parse_args().packs:
        photos += [photo for photo in read_pack(pack) if held_out(photo.key) and photo.source not in EXCLUDED_SOURCES]
    bench = Bench(encode_library(photos, load("find-mini"), lambda what, done, total: None))
    print(f"{len(photos)} photos, {len(bench.targets)} phrases with one mask, {len(bench.labels)} labels")
    for form in FORMS:
        compare(bench, form)
    gains = bench.chosen("bare", bench.read) - bench.chosen("bare", bench.read, by_quality=False)
    print("\nregions chosen with regard to their quality, against the nearest", interval(gains))
    served = bench.recalls(IMAGE_CENTRING)
    print(f"captions IR@10 {served.mean():.1f}; half centred against not", interval(served - bench.recalls(0.0)))
    print("  against fully centred", interval(served - bench.recalls(1.0)))


if __name__ == "__main__":
    main()
