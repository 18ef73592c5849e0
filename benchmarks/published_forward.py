"""Time and memory of one photo through a published model at its full size, with random weights.

    python benchmarks/published_forward.py [--model find-focal-l] [--height 480] [--width 640] [--photo FILE] [--runs 1]

Backbone, pixel decoder and interface, then masks at the photo's size; the language model takes no part (its class
table is drawn). Prints seconds of each step and the peak of resident memory. Weights do not change either figure.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from interleave_index.interface.published.model import PublishedModel
from interleave_index.interface.published.network import PRESETS, PublishedNetwork
from interleave_index.interface.published.preparation import to_photo
from interleave_index.interface.published.text import PublishedPrompter, TextCache
from interleave_index.models.text.language import LanguageTower

CLASSES = 133


def peak_gib() -> float:
    """Peak of this process's resident memory."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**30


def no_tower() -> LanguageTower:
    """Stands where the language model would; never asked."""
    raise RuntimeError("this measurement reads no text")


def build(name: str) -> PublishedModel:
    """A published model at its full size, randomly initialised."""
    torch.manual_seed(0)
    with torch.device("meta"):
        network = PublishedNetwork(PRESETS[name])
    network = network.to_empty(device="cpu").eval().requires_grad_(False)
    for key, parameter in network.named_parameters():
        if parameter.ndim > 1:
            parameter.uniform_(-0.03, 0.03)
        else:
            parameter.fill_(float(key.endswith("weight")))
    cache = TextCache(Path("nowhere"), name, no_tower)
    return PublishedModel(
        network, PublishedPrompter(cache, network.predictor.project_text, context=77, class_context=150)
    )


def photo_of(args: argparse.Namespace) -> np.ndarray:
    """The photo named, else noise of the size named."""
    if args.photo is None:
        return np.random.default_rng(0).integers(0, 255, (args.height, args.width, 3), np.uint8)
    from PIL import Image

    return np.asarray(Image.open(args.photo).convert("RGB"))


def main() -> int:
    """Print a table; 1 when the peak is above the bound."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=[*PRESETS], default="find-focal-l")
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--bound-gib", type=float, default=12.0)
    args = parser.parse_args()
    start = time.perf_counter()
    model = build(args.model)
    parameters = sum(p.numel() for p in model.network.parameters()) / 1e6
    print(
        f"{args.model}: {parameters:.1f} M parameters, built in {time.perf_counter() - start:.1f} s, "
        f"{torch.get_num_threads()} threads, {peak_gib():.2f} GiB"
    )
    photo, table = photo_of(args), torch.randn(CLASSES + 1, model.network.predictor.config.width)
    for number in range(args.runs):
        marks, busy = [time.perf_counter()], time.process_time()
        view = model.view(photo)
        marks.append(time.perf_counter())
        proposals = model.proposals(view, table)
        marks.append(time.perf_counter())
        with torch.inference_mode():
            masks = to_photo(proposals.masks[0], view)
        marks.append(time.perf_counter())
        steps = [
            f"{name} {later - earlier:.2f} s"
            for name, earlier, later in zip(
                ("backbone and pixel decoder", "interface", "masks"), marks, marks[1:], strict=False
            )
        ]
        print(
            f"run {number + 1}: photo {photo.shape[1]}x{photo.shape[0]}, input {view.padded[1]}x{view.padded[0]}: "
            f"{', '.join(steps)}; together {marks[-1] - marks[0]:.2f} s, of the processor "
            f"{time.process_time() - busy:.2f} s"
        )
        if masks.shape != (proposals.masks.shape[1], *photo.shape[:2]) or not bool(torch.isfinite(masks).all()):
            print(f"masks have shape {tuple(masks.shape)} or are not finite")
            return 1
    print(f"peak {peak_gib():.2f} GiB, bound {args.bound_gib:g} GiB")
    return int(peak_gib() > args.bound_gib)


if __name__ == "__main__":
    sys.exit(main())
