"""Texts beside photos at size: how fast passages are taken in, and how long a query takes that asks photos and texts.

    python benchmarks/texts.py PACK... [--passages 10000] [--library 200000] [--photos 20000] [--json]

Captions of the packs are the words. The first part writes Markdown pages of some captions each and takes them in with
find-mini, without pictures; beside it stands how fast the model alone reads the same texts in the same run. The second
part makes a library of passages with made-up vectors, a photo for every ten of them, and asks captions as queries, with
everything that a search does: reading, full-text search, vectors of photos and passages, the records of ten hits.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from interleave_index import Config, Index
from interleave_index.building import build_interface
from interleave_index.evaluation.packs import read_pack
from interleave_index.geometry import encode_rle, unit
from interleave_index.ingest.text.phrases import noun_phrases
from interleave_index.records import PhotoFacts, ResolvedPart
from interleave_index.records.texts import PassageText, SourceText
from interleave_index.storage.text_rows import DocumentWrite, PassageVectors

PASSAGES_A_PAGE = 20
PASSAGES_A_PHOTO = 10
QUERIES = 100


def note(words: str) -> None:
    """A line on progress."""
    print(words, file=sys.stderr, flush=True)


def captions_of(packs: list[Path]) -> list[str]:
    """Every caption of the packs, in their order."""
    return [caption for pack in packs for photo in read_pack(pack) for caption in photo.captions]


def taken_in(captions: list[str], passages: int, folder: Path) -> dict[str, Any]:
    """Passages a second of an ingest of Markdown pages, and of the model alone on the same words."""
    pages = folder / "pages"
    pages.mkdir()
    words = [captions[n % len(captions)] for n in range(passages)]
    for start in range(0, passages, PASSAGES_A_PAGE):
        # each paragraph under a heading of its own is a passage of its own
        body = "\n\n".join(f"# {start + n}\n\n{text}" for n, text in enumerate(words[start : start + PASSAGES_A_PAGE]))
        (pages / f"{start}.md").write_text(body)
    interface = build_interface(Config())
    interface.encode_query(_caption("a word to begin with"))
    began = time.perf_counter()
    with Index.open(folder / "pages.index", config=Config(), interface=interface, create=True) as index:
        report = index.ingest(pages)
    whole = time.perf_counter() - began
    began = time.perf_counter()
    for start in range(0, passages, 512):
        interface.encode_queries([_caption(text) for text in words[start : start + 512]])
    alone = time.perf_counter() - began
    return {
        "passages": report.texts["passages"],
        "passages_per_s": round(report.texts["passages"] / whole, 1),
        "model_alone_wholes_per_s": round(passages / alone, 1),
        "seconds": report.seconds,
    }


def _caption(text: str) -> Any:
    return (ResolvedPart("caption", "text", text),)


def asked(captions: list[str], passages: int, folder: Path) -> dict[str, Any]:
    """Milliseconds of queries over a library of so many passages."""
    rng, interface = np.random.default_rng(0), build_interface(Config())
    dim = interface.space.dim
    photos = passages // PASSAGES_A_PHOTO
    mask = encode_rle(np.tri(48, dtype=bool))
    with Index.open(folder / "library.index", config=Config(), interface=interface, create=True) as index:
        store = index._store
        space = store.ensure_space(interface.space)
        store.save_calibration(space, interface.calibration.to_bytes())
        note(f"writing {photos} photos")
        for start in range(0, photos, 5_000):
            n = min(5_000, photos - start)
            facts = [PhotoFacts(f"{start + i:064x}", 640, 480, "JPEG") for i in range(n)]
            level = np.full((n, 4), 0.5, np.float32)
            boxes = np.tile(np.array([0, 0, 320, 240], np.float32), (n, 4, 1))
            regions = unit(rng.standard_normal((n, 4, dim), np.float32))
            store.write_encodings(
                space,
                facts,
                unit(rng.standard_normal((n, dim), np.float32)),
                regions,
                boxes,
                level,
                level,
                [[mask] * 4] * n,
                [f"/library/IMG_{start + i:06d}.jpg" for i in range(n)],
            )
        note(f"writing {passages} passages")
        for start in range(0, passages, 2_000):
            documents = []
            for number in range(start, min(start + 2_000, passages), PASSAGES_A_PHOTO):
                texts = [captions[(7 * (number + n)) % len(captions)] for n in range(PASSAGES_A_PHOTO)]
                about = (f"/library/IMG_{number // PASSAGES_A_PHOTO:06d}.jpg",)
                parts = tuple(PassageText(text, (), about, noun_phrases(text)) for text in texts)
                source = SourceText("markdown", None, None, parts)
                documents.append(DocumentWrite(f"/library/{number}.md", "markdown", f"{number:064x}", 1, 1, source))
            store.texts.write(documents)
            waiting = store.texts.pending(store.texts.waiting(space).tolist())
            made = [
                PassageVectors(
                    one.id,
                    unit(rng.standard_normal(dim, np.float32)),
                    unit(rng.standard_normal((len(one.phrases), dim), np.float32)),
                    "",
                )
                for one in waiting
            ]
            store.texts.write_vectors(space, dim, made)
        note("optimizing")
        index.optimize()
        random.seed(0)
        results: dict[str, Any] = {"passages": passages, "photos": photos}
        for name, target in (("photos", "photos"), ("photos_and_texts", "both")):
            spent = []
            for text in random.sample(captions, QUERIES + 5):
                began = time.perf_counter()
                index.search(text, 10, target=target)  # type: ignore[arg-type]
                spent.append(1000 * (time.perf_counter() - began))
            spent = sorted(spent[5:])  # the first ones open files
            results[name] = {
                "p50_ms": round(spent[len(spent) // 2], 1),
                "p95_ms": round(spent[int(0.95 * len(spent))], 1),
            }
        began = time.perf_counter()
        for text in random.sample(captions, 20):
            interface.encode_query(_caption(text))
        results["model_alone_ms"] = round(50 * (time.perf_counter() - began), 1)
        spent = []
        for text in random.sample(captions, 20):
            began = time.perf_counter()
            index.search(f"[{text.split()[1]}] {text}", 10)
            spent.append(1000 * (time.perf_counter() - began))
        results["with_an_entity"] = {"p50_ms": round(sorted(spent)[10], 1)}
    return results


def main() -> None:
    """Run both parts and print what they gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packs", type=Path, nargs="+")
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--library", type=int, default=200_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    captions = [" ".join(caption.replace("[", "").replace("]", "").split()) for caption in captions_of(args.packs)]
    with tempfile.TemporaryDirectory() as folder:
        results = {"ingest": taken_in(captions, args.passages, Path(folder))}
        results["queries"] = asked(captions, args.library, Path(folder))
    print(json.dumps(results) if args.json else json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
