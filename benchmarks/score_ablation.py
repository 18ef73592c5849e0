"""What each part of the score and of the reading of entities is worth, on training photos that training never saw.

    python benchmarks/score_ablation.py PACK.tar ...

Photos are those held out by the hash of their key (`training.samples.held_out`). Every row compares what a search does
with the same without one part, question by question, and gives the mean difference with its 95 % bootstrap interval:
over phrases for the IoU of the chosen region, over labels for the average precision of "is it in the photo" (things
under 1 % of the photo left out), over captions for finding their photo among the first ten.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from interleave_index.evaluation.labelled import lone_regions
from interleave_index.evaluation.library import Library, encode_library
from interleave_index.evaluation.packs import read_pack
from interleave_index.evaluation.proposals import _ious
from interleave_index.evaluation.things import closed_lists, thing_areas
from interleave_index.evaluation.words import plural, with_article
from interleave_index.grounding.instances import rank_regions
from interleave_index.interface.find import tasks
from interleave_index.interface.registry import load
from interleave_index.query.score import ALONE, IMAGE_CENTRING, Terms, best_cosines
from interleave_index.training.samples import EXCLUDED_SOURCES, held_out

FORMS: dict[str, Callable[[str], str]] = {
    "dog": lambda name: name,
    "a dog": with_article,
    "the dog": lambda name: f"the {name}",
    "dogs": lambda name: " ".join([*name.split()[:-1], plural(name.split()[-1])]),
    "my old dog": lambda name: f"my old {name}",
}
VISIBLE, FEWEST = 0.01, 3


def interval(gains: np.ndarray, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    means = gains[rng.integers(0, len(gains), (2000, len(gains)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{gains.mean():+5.1f} ({low:+.1f} to {high:+.1f}), n = {len(gains)}"


class Bench:
    """The held-out photos, and everything that the rows compare."""

    def __init__(self, library: Library) -> None:
        self.library, self.model = library, load("find-mini")
        self.mean = self.model.calibration.captions.mean(0)
        self.targets = [
            (one.position, one.label, _ious([one.rle], library.masks[one.position])[0])
            for one in lone_regions(library.photos)
        ]
        self.labels = self._labels()

    def _labels(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        found = []
        for names, members in closed_lists(self.library.photos).values():
            shown = [thing_areas(self.library.photos[n]) for n in members]
            for name in names:
                areas = np.array([areas.get(name, 0.0) for areas in shown])
                clear = (areas == 0) | (areas >= VISIBLE)
                there = areas[clear] > 0
                if there.sum() >= FEWEST and not there.all():
                    found.append((name, np.array(members)[clear], there))
        return found

    def read(self, texts: list[str]) -> np.ndarray:
        """As a search reads entities."""
        return self.model._texts(texts)

    def as_written(self, texts: list[str]) -> np.ndarray:
        """As captions, word for word."""
        with torch.inference_mode():
            return tasks.encode_text(self.model.network, texts).numpy()

    def as_phrases(self, texts: list[str]) -> np.ndarray:
        """As the interface's own text entities."""
        with torch.inference_mode():
            return tasks.encode_phrases(self.model.network, texts).numpy()

    def ious(
        self,
        form: str,
        read: Callable[[list[str]], np.ndarray],
        centre: float = 1.0,
        choose: Callable[[np.ndarray, np.ndarray], int] = lambda cosines, scores: int(rank_regions(cosines, scores)[0]),
    ) -> np.ndarray:
        names = sorted({label for _, label, _ in self.targets})
        vectors = dict(zip(names, read([FORMS[form](name) for name in names]) - centre * self.mean, strict=True))
        found = []
        for position, label, ious in self.targets:
            cosines = self.library.regions_of(position) @ vectors[label]
            found.append(100 * ious[choose(cosines, self.library.scores_of(position))] if len(ious) else 0.0)
        return np.array(found)

    def precisions(
        self,
        form: str,
        read: Callable[[list[str]], np.ndarray],
        *,
        images: float = IMAGE_CENTRING,
        regions: float = 1.0,
        weight: float = ALONE,
    ) -> np.ndarray:
        vectors = read([FORMS[form](name) for name, _, _ in self.labels])
        scores = self.library.image @ (vectors - images * self.mean).T
        some = Terms(
            vectors - regions * self.mean, vectors, np.ones(len(vectors), np.float32), np.zeros(len(vectors), bool)
        )
        best = best_cosines(self.library, some)
        scores = scores + weight * np.where(np.isneginf(best), 0, best)
        return np.array(
            [100 * average_precision(scores[members, n], there) for n, (_, members, there) in enumerate(self.labels)]
        )

    def recalls(self, images: float) -> np.ndarray:
        captioned = [n for n, photo in enumerate(self.library.photos) if photo.captions]
        pairs = [(row, text) for row, n in enumerate(captioned) for text in self.library.photos[n].captions]
        vectors = np.concatenate([self.read([text for _, text in pairs[i : i + 64]]) for i in range(0, len(pairs), 64)])
        scores = self.library.image[captioned] @ (vectors - images * self.mean).T
        own = scores[[row for row, _ in pairs], np.arange(len(pairs))]
        return 100.0 * ((scores > own).sum(0) < 10)


def average_precision(scores: np.ndarray, right: np.ndarray) -> float:
    ranked = right[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(ranked)[ranked] / (np.flatnonzero(ranked) + 1)).mean())


def row(bench: Bench, form: str) -> None:
    """One form of the names: the chosen region, and presence."""
    served = bench.ious(form, bench.read)
    print(f"\n{form!r}: stored mIoU {served.mean():.1f}")
    for what, other in (
        ("the interface's own phrase vectors", bench.ious(form, bench.as_phrases, 0.0)),
        ("captions word for word", bench.ious(form, bench.as_written)),
        ("no centring", bench.ious(form, bench.read, 0.0)),
    ):
        print(f"  against {what:36}", interval(served - other))
    served = bench.precisions(form, bench.read)
    print(f"{form!r}: presence mean AP {served.mean():.1f}")
    for what, other in (
        ("the whole photo alone", bench.precisions(form, bench.as_written, images=0.0, weight=0.0)),
        ("captions word for word", bench.precisions(form, bench.as_written)),
        ("no centring", bench.precisions(form, bench.read, images=0.0, regions=0.0)),
        ("entities counting 0.3", bench.precisions(form, bench.read, weight=0.3)),
    ):
        print(f"  against {what:36}", interval(served - other))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packs", type=Path, nargs="+")
    photos = [
        photo
        for pack in parser.parse_args().packs
        for photo in read_pack(pack)
        if held_out(photo.key) and photo.source not in EXCLUDED_SOURCES
    ]
    bench = Bench(encode_library(photos, load("find-mini"), lambda what, done, total: None))
    print(f"{len(photos)} photos, {len(bench.targets)} phrases with one mask, {len(bench.labels)} labels")
    for form in FORMS:
        row(bench, form)
    served = bench.ious("dog", bench.read)
    print(
        "\nregions chosen with regard to their quality, against the nearest",
        interval(served - bench.ious("dog", bench.read, choose=lambda cosines, scores: int(cosines.argmax()))),
    )
    found = bench.recalls(IMAGE_CENTRING)
    print(f"captions IR@10 {found.mean():.1f}; half centred against not", interval(found - bench.recalls(0.0)))
    print("  against fully centred", interval(found - bench.recalls(1.0)))


if __name__ == "__main__":
    main()
