"""What each device of find-mini's reading and drawing is worth: the same photos and questions with and without it.

    python benchmarks/find_mini_ablation.py PACK.tar ... [--devices NAME ...] [--together NAME ...] [--table FILE]

Photos are a split of the training packs on which no choice was made (`chosen`); those held out for choices are not
touched. The network was trained on these photos, but for `--never-trained`, which takes those of the sources that
training leaves out. Every variant is compared with what is served, question by question. Differences are with minus
without, in points, with their 95 % bootstrap interval: photos are resampled with everything that was asked of them,
for presence and for captions with a part labels. Costs are the fastest of alternating runs.

`--base` leaves devices out on both sides, to see what another is worth without them.
`--devices` takes names of `variants`, all of them by default; `--together` leaves several out at once, as one variant
of its own after the others, and measures everything. `--table` also writes the rows as Markdown, one by one.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interleave_index import metrics
from interleave_index.evaluation.grounding import exact_mask, overlap_of, stored_place
from interleave_index.evaluation.interleaved import REFERENCE_PENALTY, Question
from interleave_index.evaluation.judged_questions import judged_questions
from interleave_index.evaluation.labelled import Labelled, References, lone_regions, sha1_number
from interleave_index.evaluation.labels import labels
from interleave_index.evaluation.library import Library, asked, calibrated, encode_library, scores_of, totals
from interleave_index.evaluation.packs import PackPhoto, read_pack
from interleave_index.evaluation.proposals import proposals
from interleave_index.evaluation.remembered import Remembered
from interleave_index.evaluation.retrieval import captions
from interleave_index.evaluation.truth import named
from interleave_index.evaluation.verdicts import average_precision
from interleave_index.evaluation.words import mentions
from interleave_index.interface import BUNDLED, find_mini
from interleave_index.interface.find import candidates as drawing
from interleave_index.interface.find import pieces, tasks
from interleave_index.interface.find.candidates import Candidates, Drawn
from interleave_index.interface.find.model import FindModel, Sentence
from interleave_index.interface.find.rating import Rating
from interleave_index.interface.find.readings import Vocabulary
from interleave_index.interface.find_mini import FindMini
from interleave_index.interface.protocol import Interface
from interleave_index.models.pixel_decoder import Pyramid
from interleave_index.records import RGB, Entity, ResolvedQuery
from interleave_index.training.samples import EXCLUDED_SOURCES, NEAR_HELD_OUT, held_out

SALT = "find-mini ablation/"  # before a photo's key, so that the choice is another than that of `held_out`
SHARES = {"coco2017 with masks": 45, "coco2017": 8, "ccp with masks": 10, "bsds500 with masks": 10,
          "caltech101 with masks": 10, "caltech101": 4, "imagenet-sample with masks": 10, "imagenet-sample": 5,
          "flickr8k": 3}  # percent of the photos of each kind
MOST_PARTS, MOST_LOOKS = 400, 250  # questions by parts, exact looks: the first by the hash of photo and label
MOST_CAPTIONS = 3  # of a label, with a part in its place
SAMPLES = 2000  # of the bootstrap
ROUNDS, TIMED = 5, 8  # of a cost; photos or queries in each

Patch = tuple[Any, str, Any]  # object or module, attribute, what stands there without the device
Values = NDArray[np.float64]

STORED_WORD, STORED_PART = "stored region by name", "stored region by part"
EXACT_WORD, EXACT_PART = "exact look by name", "exact look by part"
PROPOSALS, PRESENCE_WORD, PRESENCE_PART = "proposals", "presence by name", "presence by part"
INTERLEAVED, CAPTIONS, CLASSES = "interleaved", "captions", "class names"
EVERYTHING = (STORED_WORD, STORED_PART, EXACT_WORD, EXACT_PART, PROPOSALS, PRESENCE_WORD, PRESENCE_PART, INTERLEAVED,
              CAPTIONS, CLASSES)
OF_REGIONS = (PROPOSALS, STORED_WORD, STORED_PART, PRESENCE_WORD, PRESENCE_PART, INTERLEAVED)
OF_PARTS = (STORED_PART, EXACT_PART, PRESENCE_PART, INTERLEAVED)
OF_LOOKS = (EXACT_WORD, EXACT_PART)
OF_NAMES = (STORED_WORD, EXACT_WORD, PRESENCE_WORD, INTERLEAVED, CLASSES)
PHOTO, NAME_QUERY, PART_QUERY, MIXED_QUERY, WORD_LOOK, PART_LOOK = (
    "photo", "query of a name", "query of a part", "sentence with a part", "look by name", "look by part")


@dataclass(frozen=True, slots=True)
class Variant:
    """What is served without one device.

    Attributes:
        name: of the device, as `--devices` takes it.
        patches: what stands in its place.
        measures: what it can change.
        costs: what it can make slower or faster.
        ingest, query: whether photos or queries are encoded otherwise.
    """

    name: str
    patches: tuple[Patch, ...]
    measures: tuple[str, ...]
    costs: tuple[str, ...]
    ingest: bool = False
    query: bool = True


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure, question by question.

    Attributes:
        values: (n,), in percent.
        groups: (n,) what is resampled.
        macro: the figure is the mean over groups of their means, and not that over questions.
    """

    values: Values
    groups: NDArray[Any]
    macro: bool = False

    @property
    def mean(self) -> float:
        """The figure."""
        return metrics.macro(self.values, self.groups) if self.macro else float(self.values.mean())


Figures = dict[str, Measured]


# --- devices ----------------------------------------------------------------------------------


def variants(model: FindMini) -> list[Variant]:
    """Every device left out, the cheap ones first."""

    def photos(name: str, *patches: Patch) -> Variant:
        return Variant(name, patches, OF_REGIONS, (PHOTO,), ingest=True, query=False)

    named_off, readings_off = (Vocabulary, "named", _as_seen), (tasks, "encode_interleaved", _without_readings)
    return [
        Variant("templates", ((tasks, "READINGS", ("{}",)),), OF_NAMES, (NAME_QUERY,)),
        Variant("templates-photo", ((tasks, "READINGS", ("a photo of a {}",)),), OF_NAMES, (NAME_QUERY,)),
        Variant("blend", ((tasks, "_found", _best_alone),), OF_LOOKS, (WORD_LOOK,)),
        Variant("best-cut", ((tasks, "best_cut", lambda chance: 0.5),), OF_LOOKS, (WORD_LOOK,)),
        Variant("look", ((model, "_look", model._side),), OF_LOOKS, (WORD_LOOK, PART_LOOK)),
        Variant("readings", (readings_off,), (INTERLEAVED,), (MIXED_QUERY,)),
        Variant("named", (named_off,), OF_PARTS, (PART_QUERY,)),
        Variant("vocabulary", (named_off, readings_off), (INTERLEAVED,), (PART_QUERY, MIXED_QUERY)),
        Variant("closeup", ((find_mini, "closeup", lambda photo, mask: None),), OF_PARTS, (PART_QUERY, PART_LOOK)),
        photos("rating", (tasks, "regions", _by_own_quality)),
        photos("rating-and-cells", (model, "_rating", None)),
        photos("pieces", (drawing, "pieces", _no_pieces)),
        photos("cells", (tasks, "candidates", _without_cells)),
        photos("varied", (pieces, "APART", math.inf)),
    ]


def _as_seen(vocabulary: Vocabulary, vectors: Tensor, seen: Tensor) -> Tensor:
    return vectors


_encode_interleaved, _candidates = tasks.encode_interleaved, drawing.candidates


def _without_readings(model: FindModel, sentence: Sentence, references: Sequence[tasks.Reference | None],
                      vocabulary: Vocabulary | None = None) -> Tensor:
    return _encode_interleaved(model, sentence, references)


def _best_alone(masks: Tensor, scores: Tensor, cosines: Tensor, quality: Tensor | None) -> tasks.Found:
    best = int(scores.argmax())
    return tasks.Found(masks[best].float(), float(cosines[best]))


def _by_own_quality(model: FindModel, segments: tasks.Segments, row: int, rating: Rating | None) -> Candidates:
    """The same candidates, but each is worth what the network says of it."""
    drawn = tasks.drawn_by_cells(model, segments, row)
    found = drawing.candidates(segments.masks[row], segments.quality[row], drawn, None)
    if drawn is None or len(found.worth) == 0:
        return found
    cells = len(drawn.masks)
    return replace(found, worth=torch.cat([found.worth[:-cells], drawn.quality]))


def _no_pieces(masks: Tensor) -> tuple[NDArray[np.int64], Tensor, Tensor]:
    return np.zeros(0, np.int64), masks[:0], masks.new_zeros(0)


def _without_cells(masks: Tensor, quality: Tensor, drawn: Drawn | None, rating: Rating | None) -> Candidates:
    """Without what further cells draw; cells still bear witness to what the others are worth."""
    found = _candidates(masks, quality, drawn, rating)
    if drawn is None or found.figures is None:
        return found
    some = slice(0, len(found.masks) - len(drawn.masks))
    return Candidates(found.masks[some], found.parents[some], found.kin[some], found.figures[some], found.worth[some])


@contextmanager
def without(patches: Sequence[Patch]) -> Iterator[None]:
    """The program with these attributes replaced."""
    before = []
    try:
        for owner, name, value in patches:
            before.append((owner, name, getattr(owner, name)))
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


def together(some: Sequence[Variant]) -> Variant:
    """All of them left out at once."""
    patches = tuple(patch for variant in some for patch in variant.patches)
    costs = tuple(dict.fromkeys(cost for variant in some for cost in variant.costs))
    return Variant("together: " + ", ".join(one.name for one in some), patches, EVERYTHING, costs,
                   any(one.ingest for one in some), any(one.query for one in some))


# --- photos and questions ---------------------------------------------------------------------


def chosen(photo: PackPhoto, never_trained: bool, of_held_out: bool) -> bool:
    """Whether a photo of the training packs takes part.

    A photo that is held out for choices never does, but with `--held-out`, which takes those alone. Otherwise SHA-1 of `SALT` and its key, modulo 100, must be below
    the share of its kind; of the sources that training leaves out every photo is taken, for `never_trained` alone.
    """
    if of_held_out:
        return held_out(photo.key)
    if held_out(photo.key) or photo.key in NEAR_HELD_OUT:
        return False
    if never_trained or photo.source in EXCLUDED_SOURCES:
        return never_trained and photo.source in EXCLUDED_SOURCES
    kind = photo.source + (" with masks" if any(region.rle for region in photo.regions) else "")
    return int(hashlib.sha1((SALT + photo.key).encode()).hexdigest(), 16) % 100 < SHARES.get(kind, 0)


class Sample:
    """Some photos and all that is asked of them."""

    def __init__(self, photos: Sequence[PackPhoto]) -> None:
        self.photos = tuple(photos)
        self.references = References(photos)

    @cached_property
    def targets(self) -> list[Labelled]:
        """Labels that one mask of a photo has, in the order of a hash."""
        return sorted(lone_regions(self.photos), key=lambda one: sha1_number(self.key(one) + one.label))

    @cached_property
    def exemplars(self) -> list[tuple[Labelled, Labelled]]:
        """Such labels that another photo has too, with the part of it that stands for them."""
        pairs = ((target, self.references.choose(target.position, target.label)) for target in self.targets)
        return [(target, reference) for target, reference in pairs if reference is not None][:MOST_PARTS]

    @cached_property
    def interleaved(self) -> list[Question]:
        """Captions that name a label once, with a part of another photo for it; `MOST_CAPTIONS` a label at most."""
        found = []
        for label in self.references.labels():
            some = [ask for position in range(len(self.photos)) if (ask := self._question(position, label)) is not None]
            found += sorted(some, key=lambda ask: sha1_number(self.photos[ask.position].key))[:MOST_CAPTIONS]
        return found

    def _question(self, position: int, label: str) -> Question | None:
        for caption in self.photos[position].captions:
            spans = mentions(caption, label)
            if len(spans) == 1 and len(caption.split()) > len(label.split()):
                reference = self.references.choose(position, label)
                (start, end), = spans
                return None if reference is None else Question(
                    position, label, caption[:start], caption[start:end], caption[end:], reference)
        return None

    def key(self, target: Labelled) -> str:
        """Of the target's photo."""
        return self.photos[target.position].key

    def part(self, reference: Labelled) -> ResolvedQuery:
        """The query of a part alone."""
        return asked(self.references.picture(reference))


# --- measures ---------------------------------------------------------------------------------


def measure(what: str, model: FindMini, remembered: Interface, library: Library, sample: Sample) -> Figures:
    """One measure of a variant; without figures where the photos give no question.

    Args:
        model: looks at photos; remembered: the same, encodes queries.
    """
    if what in (STORED_WORD, STORED_PART):
        return _stored(what, remembered, library, sample)
    if what in (EXACT_WORD, EXACT_PART):
        return _exact(what, model, sample)
    if what in (PRESENCE_WORD, PRESENCE_PART):
        return _presence(what, remembered, library, sample)
    if what == PROPOSALS:
        found = proposals(library).arrays
        few, every = (100.0 * found[f"proposal_best_iou_{most}"].astype(float) for most in ("10", "all"))
        keys = found["proposal_keys"]
        return {f"{what}: mean best IoU": Measured(every, keys), f"{what}: recall": Measured(_share(every >= 50), keys),
                f"{what}: recall of the first 10": Measured(_share(few >= 50), keys)}
    if what == INTERLEAVED:
        return _interleaved(remembered, library, sample)
    if what == CAPTIONS:
        found = captions(library, remembered, _silent).arrays
        return {f"{what}: IR@10": Measured(_share(found["caption_image_ranks"] <= 10), found["caption_of"])}
    found = labels(library, remembered, (), _silent).arrays
    return {f"{what}: top {k}": Measured(_share(found["label_ranks"] <= k), found["label_keys"]) for k in (1, 5)}


def _share(right: NDArray[np.bool_]) -> Values:
    return 100.0 * right.astype(np.float64)


def _overlaps(what: str, counts: Sequence[tuple[int, int]], keys: Sequence[str]) -> Figures:
    table = np.array(counts, np.int64).reshape(-1, 2)
    ious, groups = metrics.grounding_ious(table[:, 0], table[:, 1]).astype(np.float64), np.array(keys, str)
    return {f"{what}: mIoU": Measured(100.0 * ious, groups), f"{what}: P@0.5": Measured(_share(ious >= 0.5), groups)}


def _stored(what: str, remembered: Interface, library: Library, sample: Sample) -> Figures:
    calibration = calibrated(library, remembered)
    counts, keys = [], []
    for target, query in _questions(what == STORED_WORD, sample):
        place = stored_place(library, target.position, remembered, query, calibration)
        mask = None if place is None else library.masks[target.position][place].decode()
        counts.append(overlap_of(mask, target.rle.decode()))
        keys.append(sample.key(target))
    return _overlaps(what, counts, keys)


def _exact(what: str, model: FindMini, sample: Sample) -> Figures:
    counts, keys = [], []
    for target, query in list(_questions(what == EXACT_WORD, sample, MOST_LOOKS)):
        found = model.ground(sample.photos[target.position].rgb(), query)
        counts.append(overlap_of(exact_mask(found), target.rle.decode()))
        keys.append(sample.key(target))
    return _overlaps(what, counts, keys)


def _questions(by_name: bool, sample: Sample, most: int | None = None) -> Iterator[tuple[Labelled, ResolvedQuery]]:
    if by_name:
        yield from ((target, asked(Entity(target.label))) for target in sample.targets[:most])
    else:
        yield from ((target, sample.part(reference)) for target, reference in sample.exemplars[:most])


def _presence(what: str, remembered: Interface, library: Library, sample: Sample) -> Figures:
    calibration = calibrated(library, remembered)
    if what == PRESENCE_WORD:
        shown = [one for one in named(sample.photos) if one.group == "things" and one.enough]
        asks = [(one.name, asked(Entity(one.name)), one.photos, one.right) for one in shown]
    else:
        parts = [one for one in judged_questions(sample.photos, sample.references)["parts"] if one.enough]
        asks = [(one.label, asked(*one.query().parts), one.photos, one.truth == 1) for one in parts]
    found = [average_precision(scores_of(library, remembered, query, calibration).evidence[photos, 0], right)
             for _, query, photos, right in asks]
    return {f"{what}: mean AP": Measured(np.array(found, float), np.array([name for name, *_ in asks], str))}


def _interleaved(remembered: Interface, library: Library, sample: Sample) -> Figures:
    """As `evaluation.interleaved`, but of every photo with a caption that names a label, masked or not."""
    gallery = library.only(np.array([bool(photo.captions) for photo in library.photos], bool))
    asks = sample.interleaved
    own, lent = (np.array(places, np.int64)[:, None] == gallery.photo_ids for places in (
        [ask.position for ask in asks], [ask.reference.position for ask in asks]))
    forms = {"a part in place of a word": (asked(ask.before, sample.references.picture(ask.reference), ask.after)
                                           for ask in asks),
             "the word in brackets": (asked(ask.before, Entity(ask.word), ask.after) for ask in asks)}
    found, groups = Figures(), np.array([ask.label for ask in asks], str)
    for form, queries in forms.items():
        scores = totals(gallery, remembered, queries, form, _silent, count=len(asks))
        ranks = metrics.first_ranks(scores - np.float32(REFERENCE_PENALTY) * lent, own)
        for k in (1, 10):
            found[f"{form}: IR@{k}"] = Measured(_share(ranks <= k), groups, macro=True)
        found[f"{form}: mean reciprocal rank"] = Measured(100.0 / ranks, groups, macro=True)
    return found


def _silent(what: str, done: int, total: int) -> None:
    """Nobody asked how far it is."""


def interval(one: Measured, other: Measured, seed: int = 0) -> tuple[float, float, float]:
    """Mean difference of two variants on the same questions, and its 95 % interval."""
    gains, groups = one.values - other.values, one.groups
    if one.macro:
        low, high = metrics.bootstrap_interval(gains, groups, seed=seed, samples=SAMPLES)
        return metrics.macro(gains, groups), low, high
    _, place = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(place, gains), np.bincount(place)
    drawn = np.random.default_rng(seed).integers(0, len(sums), (SAMPLES, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return float(gains.mean()), float(low), float(high)


# --- costs ------------------------------------------------------------------------------------


def calls(model: FindMini, sample: Sample) -> dict[str, Callable[[], object]]:
    """What is timed: `TIMED` photos or queries each."""
    some = [target for target, _ in sample.exemplars[:TIMED]]
    photos = [sample.photos[target.position].rgb() for target in some]
    names = [asked(Entity(target.label)) for target in some]
    pictures = [sample.references.picture(reference) for _, reference in sample.exemplars[:TIMED]]
    parts, mixed = [asked(one) for one in pictures], [asked("a photo with", one, "in it") for one in pictures]

    def read(queries: Sequence[ResolvedQuery]) -> list[object]:
        return [model.encode_query(query) for query in queries]

    def look(queries: Sequence[ResolvedQuery]) -> list[object]:
        return [model.ground(photo, query) for photo, query in zip(photos, queries, strict=True)]

    return {PHOTO: partial(model.encode_photos, photos), NAME_QUERY: partial(read, names),
            PART_QUERY: partial(read, parts), MIXED_QUERY: partial(read, mixed), WORD_LOOK: partial(look, names),
            PART_LOOK: partial(look, parts)}


def cost(call: Callable[[], object], base: Sequence[Patch], patches: Sequence[Patch]) -> tuple[float, float]:
    """Milliseconds of one photo or query with and without a device, the fastest of `ROUNDS` each."""
    taken: tuple[list[float], list[float]] = [], []
    for _ in range(ROUNDS):
        for side, replaced in enumerate((base, (*base, *patches))):
            with without(replaced):
                started = time.perf_counter()
                call()
                taken[side].append(time.perf_counter() - started)
    with_it, without_it = (1000 * min(some) / TIMED for some in taken)
    return with_it, without_it


# --- report -----------------------------------------------------------------------------------


class Kept:
    """Pyramids of single photos, which many variants ask for again."""

    def __init__(self, make: Callable[..., Pyramid]) -> None:
        self._make, self._kept = make, dict[tuple[bytes, int | None], Pyramid]()

    def __call__(self, photos: Sequence[RGB], side: int | None = None) -> Pyramid:
        if len(photos) > 1:
            return self._make(photos, side)
        key = hashlib.sha1(repr(photos[0].shape).encode() + photos[0].tobytes()).digest(), side
        if key not in self._kept:
            self._kept[key] = self._make(photos, side)
        return self._kept[key]


class Bench:
    """What is served, measured once, and every variant against it."""

    def __init__(self, sample: Sample, table: Path | None, base: Sequence[str] = ()) -> None:
        self.sample, self.table = sample, table
        self.model = FindMini(BUNDLED["find-mini"])
        self.known = {variant.name: variant for variant in variants(self.model)}
        self.base = tuple(patch for name in base for patch in self.known[name].patches)
        self.remembered = Remembered(self.model)
        with without(self.base):
            self.library = encode_library(sample.photos, self.model, _silent)
        self.served: dict[str, Figures] = {}
        self.calls = calls(self.model, sample)
        self.kept: Patch = (self.model, "_pyramid", Kept(self.model._pyramid))
        self._write("| left out | measure | n | with | without | difference (95 % interval) | ms with / without |",
                    "|---|---|---|---|---|---|---|")

    def compare(self, variant: Variant) -> None:
        """All rows of one variant."""
        library, remembered = self.library, self.remembered
        costs = "; ".join(f"{what} {on:.1f} / {off:.1f}" for what in variant.costs
                          for on, off in [cost(self.calls[what], self.base, variant.patches)])
        with without((self.kept, *self.base)):
            for what in variant.measures:
                if what not in self.served:
                    self.served[what] = measure(what, self.model, self.remembered, self.library, self.sample)
        with without((self.kept, *self.base, *variant.patches)):
            if variant.ingest:
                library = encode_library(self.sample.photos, self.model, _silent)
            if variant.query:
                remembered = Remembered(self.model)
            for what in variant.measures:
                found = measure(what, self.model, remembered, library, self.sample)
                for figure, one in self.served[what].items():
                    if len(one.values):
                        gain, low, high = interval(one, found[figure])
                        self._write(f"| {variant.name} | {figure} | {len(one.values)} | {one.mean:.1f} | "
                                    f"{found[figure].mean:.1f} | {gain:+.2f} ({low:+.2f} to {high:+.2f}) | {costs} |")

    def _write(self, *lines: str) -> None:
        print(*lines, sep="\n", flush=True)
        if self.table is not None:
            with self.table.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packs", type=Path, nargs="+")
    parser.add_argument("--devices", nargs="*", help="names of devices, all by default, none if no name follows")
    parser.add_argument("--together", nargs="+", default=[], help="devices to leave out at once, after the others")
    parser.add_argument("--base", nargs="+", default=[], help="devices left out on both sides")
    parser.add_argument("--never-trained", action="store_true", help="the photos that training leaves out")
    parser.add_argument("--held-out", action="store_true", help="the photos that earlier choices were made on")
    parser.add_argument("--table", type=Path, help="Markdown file that rows are added to")
    args = parser.parse_args()
    photos = [photo for pack in args.packs for photo in read_pack(pack) if chosen(photo, args.never_trained, args.held_out)]
    sample = Sample(photos)
    print(f"{len(photos)} photos, {len(sample.targets)} labels with one mask, {len(sample.exemplars)} by a part, "
          f"{len(sample.interleaved)} captions with a part", flush=True)
    bench = Bench(sample, args.table, args.base)
    for name in bench.known if args.devices is None else args.devices:
        bench.compare(bench.known[name])
    if args.together:
        bench.compare(together([bench.known[name] for name in args.together]))


if __name__ == "__main__":
    main()
