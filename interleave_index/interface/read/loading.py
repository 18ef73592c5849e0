"""READ's released folder into LLaVA, SAM and the head between them, piece by piece so that memory holds it once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ...errors import WeightsMissing
from ...models.hub import local, pretrained
from .keys import HEAD, LLAVA, SAM, place_of, sam_sizes

CLIP = "openai/clip-vit-large-patch14-336"
SPECIAL = ("[SEG]", "<im_start>", "<im_end>")
_LLAMA = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "rms_norm_eps",
    "max_position_embeddings",
    "rope_theta",
    "hidden_act",
)


@dataclass(frozen=True, slots=True)
class Parts:
    """READ, loaded.

    Attributes:
        llava: `LlavaForConditionalGeneration`.
        sam: `SamModel`.
        head: state of the language model to SAM's token.
        tokenizer: with [SEG], <im_start> and <im_end>.
        clip: (side, mean, std) of the vision tower's input.
    """

    llava: Any
    sam: Any
    head: nn.Sequential
    tokenizer: Any
    clip: tuple[int, tuple[float, ...], tuple[float, ...]]


def load_parts(folder: Path, *, device: str, dtype: torch.dtype | None = None) -> Parts:
    """Read a released READ.

    Args:
        folder: with config.json, the tokenizer and weights as released; the vision tower is read from the folder that
            its config names, or from CLIP's on this machine.
        device: as torch names it.
        dtype: of the weights; None takes bfloat16, which the release runs in.
    Raises:
        WeightsMissing: a weight is missing, is of another shape, or the folder is not a READ.
        BackendMissing: transformers is not installed.
    """
    config = pretrained.read_config(folder)
    if "mm_vision_tower" not in config and "vision_tower" not in config:
        raise WeightsMissing(
            f"{folder} is not a READ: its config.json names no vision tower; get it with: "
            "interleave-index models pull rui-qian/READ-LLaVA-v1.5-7B-for-ReasonSeg-valset"
        )
    tokenizer = pretrained.reader(folder, "AutoTokenizer")
    tokenizer.add_tokens(list(SPECIAL[:1]))
    tokenizer.add_tokens(list(SPECIAL[1:]), special_tokens=True)
    shapes = {key: shape for name in weight_files(folder) for key, shape in _shapes(name)}
    tower = _tower(str(config.get("mm_vision_tower") or config["vision_tower"]), folder)
    vision = pretrained.build(tower, "CLIPVisionModel", "cpu", dtype or torch.bfloat16)
    with _made(dtype or torch.bfloat16):
        llava = _llava(config, vision.config, shapes["model.embed_tokens.weight"][0])
        sam = _sam({place[1]: shape for key, shape in shapes.items() if (place := place_of(key)) and place[0] == SAM})
        wide, narrow = shapes["model.text_hidden_fcs.0.0.weight"][1], shapes["model.text_hidden_fcs.0.2.weight"][0]
        head = nn.Sequential(nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, narrow))
    llava.model.vision_tower = vision
    _fill(folder, {LLAVA: llava, SAM: sam, HEAD: head})
    for part in (llava, sam, head):
        part.to(device).eval().requires_grad_(False)
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return Parts(llava, sam, head, tokenizer, (int(vision.config.image_size), mean, std))


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, in order: safetensors, else PyTorch's."""
    for pattern in ("model*.safetensors", "pytorch_model*.bin"):
        if files := sorted(folder.glob(pattern)):
            return files
    raise WeightsMissing(
        f"{folder} holds no weights, expected model*.safetensors or pytorch_model*.bin; get the model again"
    )


def _tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a file, one at a time; nothing but tensors is ever unpickled."""
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as opened:
                for key in opened.keys():  # noqa: SIM118  it is not a dict
                    yield key, opened.get_tensor(key)
        else:
            yield from torch.load(file, map_location="cpu", weights_only=True, mmap=True).items()
    except (OSError, RuntimeError, SafetensorError, ValueError) as trouble:
        words = " ".join(str(trouble).split())[:200]
        raise WeightsMissing(f"{file} cannot be read: {words}; get the model again") from trouble


def _shapes(file: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, "pt") as opened:
                for key in opened.keys():  # noqa: SIM118
                    yield key, tuple(opened.get_slice(key).get_shape())
        except (OSError, SafetensorError) as trouble:
            raise WeightsMissing(f"{file} cannot be read: {trouble}; get the model again") from trouble
    else:
        yield from ((key, tuple(tensor.shape)) for key, tensor in _tensors(file))


def _tower(named: str, folder: Path) -> Path:
    """Folder of the vision tower: beside the weights, where the config says, or CLIP's on this machine."""
    beside = folder / "vision_tower"
    if beside.is_dir():
        return beside
    if Path(named).is_dir():
        return Path(named)
    return local.find(named if local.is_hub_name(named) else CLIP)


def _llava(config: dict[str, Any], vision: Any, words: int) -> Any:
    transformers = pretrained.library()
    told = {key: config[key] for key in _LLAMA if config.get(key) is not None}
    text = transformers.LlamaConfig(vocab_size=words, **told)
    return transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(
            vision_config=vision.to_dict(),
            text_config=text.to_dict(),
            image_token_index=0,
            vision_feature_layer=int(config.get("mm_vision_select_layer", -2)),
            vision_feature_select_strategy="default",
        )
    )


def _sam(shapes: dict[str, tuple[int, ...]]) -> Any:
    transformers, sizes = pretrained.library(), sam_sizes(shapes)
    made = transformers.SamModel(
        transformers.SamConfig(
            vision_config=transformers.SamVisionConfig(**sizes["vision"]).to_dict(),
            prompt_encoder_config=transformers.SamPromptEncoderConfig(**sizes["prompt"]).to_dict(),
            mask_decoder_config=transformers.SamMaskDecoderConfig(**sizes["decoder"]).to_dict(),
        )
    )
    # one table of positions for the photo and for the points
    made.prompt_encoder.shared_embedding.positional_embedding = made.shared_image_embedding.positional_embedding
    return made


@contextmanager
def _made(dtype: torch.dtype) -> Iterator[None]:
    """New modules get this dtype and no random weights, which would be overwritten."""
    from transformers.initialization import no_init_weights

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with no_init_weights():
            yield
    finally:
        torch.set_default_dtype(before)


def _fill(folder: Path, parts: dict[str, Any]) -> None:
    """Copy every released weight to its place; each place must be filled once."""
    places = {
        (part, name): weight
        for part, module in parts.items()
        for name, weight in module.named_parameters()
        if not name.startswith("model.vision_tower.")
    }
    waiting = set(places)
    for file in weight_files(folder):
        for key, tensor in _tensors(file):
            place = place_of(key)
            if place is None or place not in places:
                continue
            if places[place].shape != tensor.shape:
                raise WeightsMissing(
                    f"{file.name}: {key} has shape {tuple(tensor.shape)}, expected "
                    f"{tuple(places[place].shape)}; get the model again"
                )
            places[place].data.copy_(tensor)
            waiting.discard(place)
    if waiting:
        part, name = min(waiting)
        raise WeightsMissing(
            f"{folder} lacks {len(waiting)} weights of READ, the first is {name} of {part}; get the model again"
        )


def checksum(folder: Path) -> str:
    """SHA-256 over names, sizes and config of a folder: tells two READs apart without reading 15 GB."""
    import hashlib

    told = json.dumps([[file.name, file.stat().st_size] for file in weight_files(folder)])
    return hashlib.sha256(told.encode() + (folder / "config.json").read_bytes()).hexdigest()
