"""What the program makes of models whose answers are known: oracles that read the annotations of a photo pack.

    python -m benchmarks.oracles PACK.tar [--limit 80] [--held-out] [--quality 1,0.85,0.7,0.5] [--json]

Whatever is lost against the quality of an oracle is lost by the program and not by a model. Two tables:

    grounding   an oracle in the place of SAM 3, of a detector with and without a segmenter, and of a segmenter, behind
                find-mini, a dual encoder with random weights, and an oracle encoder; with masks of quality q
    search      an oracle encoder in the place of a dual encoder, with noise, modality gap and masks of quality q

Grounders are asked by `Index.ground`, every label with a single masked region in a photo, by name and by a part of
another photo; absent are labels of a closed list that a photo does not show. Encoders go through `evaluation`. Photos
with masks are taken, at most `--limit`; `--held-out` takes those that training keeps back. Figures are in percent.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from interleave_index import Index
from interleave_index.evaluation.annotations import References, closed_lists, lone_regions, masked, sha1_number
from interleave_index.evaluation.interleaved import interleaved
from interleave_index.evaluation.judgement import judgement
from interleave_index.evaluation.library import asked, encode_library
from interleave_index.evaluation.outcome import evenly
from interleave_index.evaluation.packs import PackPhoto, read_pack
from interleave_index.evaluation.remembered import remembering
from interleave_index.evaluation.retrieval import captions
from interleave_index.geometry import mask_iou
from interleave_index.grammar import Query
from interleave_index.interface.calibration import Calibration
from interleave_index.interface.points import PointsInterface
from interleave_index.interface.protocol import InspectedPhoto, Interface
from interleave_index.interface.registry import load
from interleave_index.metrics import auc_percent, first_ranks
from interleave_index.models.segmenters.grounders import Grounders
from interleave_index.records import (
    RGB,
    Entity,
    GroundedMask,
    Hit,
    PhotoEncoding,
    QueryEncoding,
    ResolvedQuery,
    Rle,
    Space,
)
from interleave_index.training.data import held_out
from tests.models import tiny
from tests.oracles.encoder import OracleEncoder
from tests.oracles.grounders import OracleConcepts, OracleDetector, OracleSegmenter
from tests.oracles.world import Quality, World

GALLERY_RECALL = 60.0  # IR@10 of plain ranking that noise is chosen for
DRAWS = 32  # of that noise: a single one moves IR@10 by a point or two


def silent(what: str, done: int, total: int) -> None:
    """No progress is shown."""


class Seen(Interface):
    """Another interface that looks at no photo twice, however many grounders stand behind it."""

    def __init__(self, inner: Interface) -> None:
        self._inner = inner
        self._inspected: dict[bytes, InspectedPhoto] = {}
        self._encoded: dict[bytes, PhotoEncoding] = {}
        self._queries = remembering(inner)

    @property
    def space(self) -> Space:
        """That of the other."""
        return self._inner.space

    @property
    def calibration(self) -> Calibration:
        """That of the other."""
        return self._inner.calibration

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface`."""
        found = []
        for photo in photos:
            key = photo.tobytes()
            if key not in self._encoded:
                (self._encoded[key],) = self._inner.encode_photos([photo])
            found.append(self._encoded[key])
        return found

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface`."""
        return self._queries.encode_query(query)

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface`."""
        return self._inner.ground(photo, query)

    def inspect(self, photo: RGB) -> InspectedPhoto:
        """See `Interface`."""
        key = photo.tobytes()
        if key not in self._inspected:
            self._inspected[key] = self._inner.inspect(photo)
        return self._inspected[key]


# --- grounding --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """One query to one photo; `truth` is None where the photo does not show it."""

    position: int
    query: Callable[[], Query]
    truth: Rle | None = None


def questions(photos: Sequence[PackPhoto], absent_each: int) -> dict[str, list[Question]]:
    """By kind: ``text`` and ``part`` of what is there, ``absent`` by text, of so many photos a label."""
    references = References(photos)
    by_text, by_part, absent = [], [], []
    for one in lone_regions(photos):
        by_text.append(Question(one.position, partial(Query, Entity(one.label)), one.rle))
        reference = references.choose(one.position, one.label)
        if reference is not None:
            by_part.append(Question(one.position, partial(_shown, references, reference), one.rle))
    for names, members in closed_lists(photos).values():
        for label in names:
            without = [n for n in members if label not in {region.label for region in photos[n].regions}]
            without.sort(key=lambda n: sha1_number(f"{label} {photos[n].key}"))
            absent += [Question(n, partial(Query, Entity(label))) for n in without[:absent_each]]
    return {"text": by_text, "part": by_part, "absent": absent}


def _shown(references: References, reference: Any) -> Query:
    return Query(references.picture(reference))


def grounders(world: World, quality: Quality) -> dict[str, Grounders]:
    """The ways in which an oracle may stand behind a space."""
    concepts, detector = OracleConcepts(world, quality), OracleDetector(world, quality)
    segmenter = OracleSegmenter(world, quality)
    return {
        "concept": Grounders(concept=concepts),
        "phrases": Grounders(phrases=detector),
        "detector": Grounders(phrases=detector, pictures=detector),
        "detector + segmenter": Grounders(segmenter, None, detector, detector),
        "segmenter": Grounders(segmenter),
    }


def encoders(world: World, folder: Path) -> dict[str, Interface]:
    """The spaces behind which a grounder is put."""
    random = tiny.save(folder / "clip", "clip")
    return {
        "find-mini": load(grounding="own"),
        "random": load(str(random), proposals="find-mini", grounding="own"),
        "oracle": OracleEncoder(world),
    }


def grounding(
    photos: Sequence[PackPhoto],
    asks: dict[str, list[Question]],
    qualities: Sequence[float],
    spaces: Sequence[str],
    ways: Sequence[str] | None,
) -> Iterator[dict[str, Any]]:
    """One row a space, way and quality; of all ways, or of those named."""
    world = World(photos)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write(photos, folder / "photos")
        known_spaces = encoders(world, folder)
        for space in spaces:
            encoder, home = known_spaces[space], folder / space
            with Index.open(home, interface=encoder, create=True) as index:
                index.ingest(folder / "photos")
            known = Seen(encoder)
            setups: list[tuple[str, float, Interface]] = [
                ("own", 1.0, known),
                ("points", 1.0, PointsInterface(known)),
            ]
            for q in qualities:
                for way, models in grounders(world, Quality(iou=q)).items():
                    setups.append((way, q, PointsInterface(known, lambda models=models: models)))  # type: ignore[misc]
            for way, q, interface in setups:
                if ways is not None and way not in ways:
                    continue
                with Index.open(home, interface=interface) as index:
                    yield {"space": space, "way": way, "q": q, **ground_figures(index, paths, asks)}


def write(photos: Sequence[PackPhoto], folder: Path) -> list[Path]:
    """The photos as files."""
    folder.mkdir(parents=True)
    paths = [folder / f"{photo.key}.jpg" for photo in photos]
    for path, photo in zip(paths, photos, strict=True):
        path.write_bytes(photo.jpeg)
    return paths


def ground_figures(index: Index, paths: Sequence[Path], asks: dict[str, list[Question]]) -> dict[str, float]:
    """Mean IoU of the best mask by text and by part, how often what is there was denied, and what is not claimed."""
    figures: dict[str, float] = {}
    for kind, every in asks.items():
        hits = [index.ground(paths[one.position], one.query()) for one in every]
        there = [hit.entities[0].grounding.present for hit in hits]
        if kind == "absent":
            figures["claimed"] = percent(there)
        else:
            ious = [_iou(hit, one.truth) for hit, one in zip(hits, every, strict=True)]
            figures[kind], figures[f"{kind} denied"] = percent(ious), 100 - percent(there)
    return figures


def _iou(hit: Hit, truth: Rle | None) -> float:
    regions = hit.entities[0].regions
    return mask_iou(regions[0].rle.decode(), truth.decode()) if regions and truth is not None else 0.0


# --- search -----------------------------------------------------------------------------------


def search(photos: Sequence[PackPhoto], rows: Sequence[Quality]) -> Iterator[dict[str, Any]]:
    """One row an oracle encoder."""
    world = World(photos)
    for quality in rows:
        yield {"q": quality.iou, "noise": quality.noise, "gap": quality.gap, **search_figures(world, quality)}


def search_figures(world: World, quality: Quality) -> dict[str, float]:
    """Retrieval by the score and by plain cosine, presence, false answers."""
    library = encode_library(world.photos, remembering(OracleEncoder(world, quality)), silent)
    references = References(world.photos)
    caption = captions(library, silent).figures
    mixed = interleaved(library, references, seed=0, progress=silent)
    judged = judgement(library, references, silent)
    arrays = judged.arrays
    figures = {
        "caption IR@1": caption["IR@1"],
        "caption IR@10": caption["IR@10"],
        "plain IR@1": plain_recall(world, quality, 1),
        "plain IR@10": plain_recall(world, quality, 10),
        "interleaved IR@1": mixed["interleaved"].figures["IR@1"],
        "interleaved IR@10": mixed["interleaved"].figures["IR@10"],
        "word kept IR@1": mixed["interleaved_word_kept"].figures["IR@1"],
    }
    for kind in ("words", "bracketed", "parts"):
        figures[f"{kind} AUC"] = auc_of(arrays, kind)
        figures[f"{kind} missed"] = judged.figures[kind]["missed"]
        figures[f"{kind} false"] = judged.figures[kind]["false"]
    for kind in ("mixed_word", "mixed_part"):
        figures[f"{kind} false"] = judged.figures[kind]["false"]
    return figures | {"presence f1": judged.figures["presence"]["stored"]["f1"]}


def noisy_retrieval(world: World, noise: float) -> Iterator[dict[str, Any]]:
    """Captions at one noise, by the score and by plain cosine: the mean of several draws, and of their difference in
    IR@10 its standard error.
    """
    rows = []
    for draw in range(DRAWS):
        quality = Quality(noise=noise, gap=1.0, draw=draw)
        library = encode_library(world.photos, remembering(OracleEncoder(world, quality)), silent)
        figures = captions(library, silent).figures
        rows.append([figures[f"IR@{k}"] for k in (1, 10)] + [plain_recall(world, quality, k) for k in (1, 10)])
    means = np.mean(rows, axis=0).tolist()
    names = ("caption IR@1", "caption IR@10", "plain IR@1", "plain IR@10")
    differences = np.array([row[1] - row[3] for row in rows])
    error = float(differences.std(ddof=1) / np.sqrt(DRAWS))
    yield {"draws": DRAWS, "noise": noise, **dict(zip(names, means, strict=True)), "error": error}


def auc_of(arrays: dict[str, Any], kind: str) -> float:
    """AUC of the chance over all photos of all questions of a kind of which it is known whether they are right."""
    names = {name: arrays[f"judgement_{kind}_{name}"] for name in ("chance", "right", "absent")}
    there = ~names["absent"]
    right = names["right"][there]
    return auc_percent(names["chance"][there][right], names["chance"][there][~right])


def plain_recall(world: World, quality: Quality, k: int) -> float:
    """IR@k of captions by the cosine of text and image vector alone."""
    encoder = OracleEncoder(world, quality)
    described = [photo for photo in world.photos if photo.captions]
    texts = [(n, text) for n, photo in enumerate(described) for text in photo.captions if text.strip()]
    images = np.stack([one.image for one in encoder.encode_photos([photo.rgb() for photo in described])])
    queries = np.stack([encoder.encode_query(asked(text)).legend for _, text in texts])
    wanted = np.arange(len(described)) == np.array([n for n, _ in texts])[:, None]
    return percent((first_ranks(queries @ images.T, wanted) <= k).tolist())


def noise_for(world: World, recall: float, gap: float) -> float:
    """The noise at which plain ranking finds this share of photos among the first ten."""
    low, high = 0.0, 64.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if plain_recall(world, Quality(noise=middle, gap=gap), 10) > recall else (low, middle)
        )
    return low


def percent(values: Sequence[float]) -> float:
    """Their mean."""
    return 100 * float(np.mean(values)) if len(values) else 0.0


# --- both -------------------------------------------------------------------------------------


def chosen(pack: Path, limit: int, *, kept_back: bool) -> list[PackPhoto]:
    """The first photos of a pack that have masks."""
    photos = [photo for photo in read_pack(pack) if any(True for _ in masked(photo))]
    return [photo for photo in photos if not kept_back or held_out(photo.key)][:limit]


def show(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print rows as a table while they come."""
    every: list[dict[str, Any]] = []
    for row in rows:
        if not every:
            print(" | ".join(row), flush=True)
        every.append(row)
        print(" | ".join(f"{v:.1f}" if isinstance(v, float) else str(v) for v in row.values()), flush=True)
    return every


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("--limit", type=int, default=80)
    parser.add_argument("--held-out", action="store_true", help="only photos that training keeps back")
    parser.add_argument("--quality", default="1,0.85,0.7,0.5", help="IoU of the oracles' masks")
    parser.add_argument("--most", type=int, default=None, help="at most so many questions of a kind, evenly chosen")
    parser.add_argument("--absent", type=int, default=2, help="photos without a label that are asked for it")
    parser.add_argument("--spaces", default="find-mini,random,oracle", help="behind which grounders are put")
    parser.add_argument("--kinds", default="text,part,absent", help="of questions to grounders")
    parser.add_argument("--ways", default=None, help="of grounding, as the table names them; all where not given")
    parser.add_argument("--only", choices=("grounding", "search"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    photos = chosen(options.pack, options.limit, kept_back=options.held_out)
    qualities = [float(q) for q in options.quality.split(",")]
    started, report = time.perf_counter(), {}
    if options.only != "search":
        asks = {kind: every for kind, every in questions(photos, options.absent).items() if kind in options.kinds}
        if options.most is not None:
            asks = {kind: [every[n] for n in evenly(len(every), options.most)] for kind, every in asks.items()}
        print({kind: len(every) for kind, every in asks.items()}, flush=True)
        ways = None if options.ways is None else options.ways.split(",")
        report["grounding"] = show(grounding(photos, asks, qualities, options.spaces.split(","), ways))
    if options.only != "grounding":
        world = World(photos)
        rows = [Quality(iou=q) for q in qualities] + [Quality(gap=1.0)]
        noise = noise_for(world, GALLERY_RECALL, 1.0)
        rows += [Quality(noise=part * noise, gap=1.0) for part in (0.25, 0.5, 1.0)]
        report["search"] = show(search(photos, rows))
        report["noisy retrieval"] = show(noisy_retrieval(world, noise))
    print(f"{len(photos)} photos, {time.perf_counter() - started:.0f} s")
    if options.json:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
