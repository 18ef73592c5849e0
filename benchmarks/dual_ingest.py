"""What a dual encoder costs in an ingest: each part of the model apart, the ingest bar of the core, bytes a photo.

    python benchmarks/dual_ingest.py [--photos 200] [--size base-32] [--device cpu] [--dtype auto] [--batch 16]

The encoder has the true size and random weights: speed does not depend on what they are. Printed:

* milliseconds a photo of each part of `encode_photos`: proposals, resizing, the bare forward pass, the second view with
  regions and patches, packing the record; and of all of it beside the bare forward pass at the same batch;
* decode + model against the whole ingest, on the same cores in the same run, as `benchmarks/ingest.py` measures it for
  the bundled model; proposals and pooling count as model;
* what is kept of a photo, by part.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interleave_index.grounding.record import pack
from interleave_index.ingest.pipeline import IngestSettings
from interleave_index.interface.dual.interface import DualInterface
from interleave_index.interface.generic import drawn_pictures
from interleave_index.interface.registry import load_proposer, torch_device
from interleave_index.models.hub.dual_encoder import DualEncoder
from interleave_index.storage.blobs import encoding_columns, pack_masks

SIZES = {  # width, layers, heads, patch, side
    "tiny": (64, 2, 4, 16, 64),
    "base-32": (768, 12, 12, 32, 224),
    "base-16": (768, 12, 12, 16, 224),
    "large-14": (1024, 24, 16, 14, 224),
}


def other(name: str) -> Any:
    """Another script of this folder."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise SystemExit(f"benchmarks/{name}.py is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save_model(folder: Path, family: str, size: str) -> Path:
    """A checkpoint of the true size with random weights, and a vocabulary of a few words."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    width, layers, heads, patch, side = SIZES[size]
    tower = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }
    text = {
        **tower,
        "hidden_size": min(width, 512),
        "intermediate_size": 2048,
        "num_attention_heads": 8,
        "vocab_size": 200,
        "max_position_embeddings": 64,
    }
    torch.manual_seed(0)
    if family == "clip":
        made: Any = transformers.CLIPModel(
            transformers.CLIPConfig(
                text_config={**text, "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 1},
                vision_config={**tower, "image_size": side, "patch_size": patch},
                projection_dim=512,
            )
        )
    else:
        made = transformers.SiglipModel(
            transformers.SiglipConfig(
                text_config={**text, "hidden_size": width, "projection_size": width},
                vision_config={**tower, "image_size": side, "patch_size": patch},
            )
        )
    made.save_pretrained(folder)
    vocabulary = Tokenizer(models.BPE(unk_token="<unk>"))
    vocabulary.pre_tokenizer = pre_tokenizers.Whitespace()
    vocabulary.train_from_iterator(
        ["a photo of a dog", "two cats"],
        trainers.BpeTrainer(vocab_size=100, special_tokens=["<s>", "</s>", "<pad>", "<unk>"]),
    )
    vocabulary.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "pad_token": "<pad>",
                "unk_token": "<unk>",
                "eos_token": "</s>",
            }
        )
    )
    return folder


def timed(device: torch.device, work: Callable[[], Any], rounds: int) -> float:
    """Seconds of one call: the median of some, after one that is not counted."""
    work()
    spent = []
    for _ in range(rounds):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent))


def measure_parts(model: DualInterface, batch: int, rounds: int) -> dict[str, float]:
    """Milliseconds a photo of each part, and of all together, at one batch."""
    encoder, regions = model._encoder, model._regions
    device = encoder.device
    photos = drawn_pictures(batch, (768, 1024))
    proposals = model._proposer.propose(photos)
    masks = [found.decoded() for found in proposals]
    images, whole = [encoder.prepare(p) for p in photos], [regions.prepare(p) for p in photos]
    views = regions.encode(photos, whole, masks)

    def bare() -> None:
        with torch.inference_mode():
            encoder._model.get_image_features(**encoder._inputs(images)).pooler_output.float().cpu()

    seconds = {
        "proposals": timed(device, lambda: model._proposer.propose(photos), rounds),
        "resizing": timed(device, lambda: [(encoder.prepare(p), regions.prepare(p)) for p in photos], rounds),
        "bare forward": timed(device, bare, rounds),
        "second view with regions and patches": timed(device, lambda: regions.encode(photos, whole, masks), rounds),
        "record": timed(
            device,
            lambda: [pack(v.grid, some, "0" * 64, v.patches) for v, some in zip(views, masks, strict=True)],
            rounds,
        ),
        "all of encode_photos": timed(device, lambda: model.encode_photos(photos), rounds),
    }
    found = {f"{name} (ms a photo)": round(1000 * spent / batch, 2) for name, spent in seconds.items()}
    found["regions a photo"] = round(float(np.mean([len(p.scores) for p in proposals])), 1)
    found["bare forward (photos/s)"] = round(batch / seconds["bare forward"], 1)
    found["encode_photos (photos/s)"] = round(batch / seconds["all of encode_photos"], 1)
    return found


def measure_bytes(model: DualInterface) -> dict[str, float]:
    """Mean bytes that a catalog keeps of a photo, by part."""
    parts: dict[str, list[int]] = {}
    for encoding in model.encode_photos(drawn_pictures(8, (768, 1024))):
        columns = encoding_columns(encoding, model.space.dim)
        for name in ("image", "regions", "boxes", "areas", "scores"):
            parts.setdefault(name, []).append(len(columns[name]))
        parts.setdefault("masks", []).append(len(pack_masks(encoding.masks)))
        parts.setdefault("grounding record", []).append(len(encoding.grounding or b""))
        parts.setdefault("regions kept", []).append(len(encoding.regions))
    return {name: round(float(np.mean(values)), 1) for name, values in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--family", choices=("clip", "siglip"), default="clip")
    parser.add_argument("--size", choices=SIZES, default="base-32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--method", default="attention")
    parser.add_argument("--proposals", default="find-mini")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--side", type=int, default=1024)
    chosen = parser.parse_args()
    core = other("ingest")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        device = torch_device(chosen.device)
        encoder = DualEncoder(save_model(folder, chosen.family, chosen.size), device=device, dtype=chosen.dtype)
        model = DualInterface(encoder, load_proposer(chosen.proposals, device), method=chosen.method)
        _ = model.calibration  # made once a model, not once an ingest
        figures: dict[str, Any] = {
            "model": f"{chosen.family} {chosen.size}, random weights",
            "device": model.capabilities.device,
            "batch": chosen.batch,
            "dtype": model.capabilities.dtype,
        }
        figures.update(measure_parts(model, chosen.batch, chosen.rounds))
        print(json.dumps(figures, indent=1), file=sys.stderr)
        figures["bytes a photo"] = measure_bytes(model)
        if chosen.photos:
            photos = Path(scratch) / "photos"
            photos.mkdir()
            core.make_variants(photos, core.real_pictures(None), chosen.photos, chosen.side)
            settings = IngestSettings(workers=chosen.workers, model_batch=min(64, chosen.batch))
            figures["ingest"] = core.measure_speed(photos, model, settings, chosen.rounds)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
