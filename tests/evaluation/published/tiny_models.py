"""Tiny random models under the names that docs/reproduce.md gives them, for its commands.

A further model is a line in `MODELS`: its name on the page, and what writes its folder. A name with a slash is one of a
hub, lies in INTERLEAVE_MODELS and gets the record of a pull; ``read`` is the one that it stands for. One that begins
with ``runs/`` or stands behind ``read:`` is a folder beside the data sets; any other name is an imported model. Models
that share a maker are made once and copied.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from interleave_index.interface.read.interface import RELEASED
from tests.evaluation.published.conftest import CATEGORIES
from tests.interface import tiny_read
from tests.interface.vlm import tiny_vlm
from tests.interface.xdecoder import family_toys
from tests.models import tiny, tiny_families, tiny_prompted, tiny_universal

Maker = Callable[[Path, ModuleType], object]


def find(folder: Path, toys: ModuleType) -> None:
    """A released FIND checkpoint, imported."""
    import torch

    from interleave_index.interface.generic import drawn_pictures
    from interleave_index.interface.importing import import_released
    from interleave_index.interface.published.importing import prepare

    parts = folder.with_name(f"{folder.name}.parts")
    parts.mkdir(parents=True)
    torch.save(toys.random_state(toys.tiny_sizes()), parts / "released.pt")
    toys.llama_state(parts / "llama")
    language, home = str(parts / "llama"), folder.parent
    import_released(parts / "released.pt", folder.name, language=language, sides=(64, 96), home=home)
    config = json.loads((folder / "config.json").read_text())
    config["class_names"] = config["class_names"][:3]  # each is read by the language model
    (folder / "config.json").write_text(json.dumps(config))
    prepare(folder, ["a dog", "a red disc"], drawn_pictures(1))


def seem(folder: Path, toys: ModuleType) -> None:
    """A released SEEM, imported as v1."""
    family_toys.imported(folder.parent, folder.name, family_toys.tiny_sizes("seem", "v1"))


def xdecoder(folder: Path, toys: ModuleType) -> None:
    """A released X-Decoder, imported."""
    family_toys.imported(folder.parent, folder.name, family_toys.tiny_sizes("xdecoder", None))


def sam(folder: Path, toys: ModuleType) -> None:
    """SAM."""
    tiny_prompted.sam(folder)


def dino(folder: Path, toys: ModuleType) -> None:
    """Grounding DINO."""
    tiny_prompted.dino(folder)


def mask2former(folder: Path, toys: ModuleType) -> None:
    """Mask2Former."""
    tiny_universal.mask2former(folder, labels={"num_labels": len(CATEGORIES)})
    config = json.loads((folder / "config.json").read_text())
    names = [str(category["name"]) for category in CATEGORIES]
    config |= {"id2label": dict(enumerate(names)), "label2id": {name: n for n, name in enumerate(names)}}
    (folder / "config.json").write_text(json.dumps(config))


def clip(folder: Path, toys: ModuleType) -> None:
    """A CLIP."""
    tiny.save(folder, "clip")


def qwen(folder: Path, toys: ModuleType) -> None:
    """An interleaved encoder."""
    tiny_vlm.save(folder, "qwen3_vl")


def blip_2(folder: Path, toys: ModuleType) -> None:
    """BLIP-2 for image-text retrieval."""
    tiny_families.save(folder, "blip-2")


def read(folder: Path, toys: ModuleType) -> None:
    """READ with its vision tower."""
    tiny_read.make(folder)


MODELS: dict[str, Maker] = {
    "facebook/sam-vit-base": sam,
    "facebook/sam-vit-large": sam,
    "facebook/sam-vit-huge": sam,
    "IDEA-Research/grounding-dino-base": dino,
    "facebook/mask2former-swin-tiny-coco-panoptic": mask2former,
    "facebook/mask2former-swin-base-IN21k-coco-panoptic": mask2former,
    "facebook/mask2former-swin-large-coco-panoptic": mask2former,
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": clip,
    "openai/clip-vit-large-patch14": clip,
    "Qwen/Qwen3-VL-Embedding-2B": qwen,
    "Salesforce/blip2-itm-vit-g": blip_2,
    "seem-focal-t": seem,
    "seem-focal-l": seem,
    "xdecoder-focal-t": xdecoder,
    "xdecoder-focal-l": xdecoder,
    "find-focal-t": find,
    "find-focal-l": find,
    "runs/find-b": find,
    "runs/focal-t": find,
    **{f"runs/layer-{layer}": find for layer in (1, 6, 12, 18, 24, 30)},
    **{f"runs/{vision}-{language}": find for vision in ("focal-t", "sam-b") for language in ("unicl", "llama")},
    "read": read,
    "read:READ-13B": read,
}


class TinyModels:
    """Makes models when they are first asked for.

    Args:
        home: the folder of INTERLEAVE_MODELS.
        runs: the folder that holds ``runs/``.
        toys: makers of published checkpoints.
    """

    def __init__(self, home: Path, runs: Path, toys: ModuleType) -> None:
        self._home, self._runs, self._toys = home, runs, toys
        self._made: dict[Maker, Path] = {}

    def provide(self, name: str) -> None:
        """Write the model of this name, if it is one of `MODELS`."""
        maker = MODELS.get(name)
        if maker is None:
            return
        name = RELEASED if name == "read" else name.removeprefix("read:")
        beside = name.startswith("runs/") or name not in (RELEASED, *MODELS)
        folder = self._runs / name if beside else self._home / name.replace("/", "--")
        if folder.exists():
            return
        if maker not in self._made:
            original = self._home / f"tiny-{maker.__name__}"
            maker(original, self._toys)
            self._made[maker] = original
        shutil.copytree(self._made[maker], folder)
        if "/" in name and not beside:
            (folder / "pulled.json").write_text(json.dumps({"name": name}))
