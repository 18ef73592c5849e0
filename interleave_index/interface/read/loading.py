"""READ's released folder into LLaVA, SAM and the head between them, piece by piece so that memory holds it once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ...errors import WeightsMissing
from ...models.hub import local, pretrained
from ...models.hub.pixels import CLIP_MEAN, CLIP_STD, Preprocessing
from .keys import HEAD, LLAVA, SAM, SAM_PREFIX, place_of, sam_sizes
from .prompts import SPECIAL

CLIP = "openai/clip-vit-large-patch14-336"
LLAMA_KEYS = (  # of config.json
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("rms_norm_eps", "max_position_embeddings", "rope_theta", "hidden_act"),
)


@dataclass(frozen=True, slots=True)
class Parts:
    """READ, loaded.

    Attributes:
        llava: `LlavaForConditionalGeneration`.
        sam: `SamModel`.
        head: state of the language model to SAM's token.
        tokenizer: with [SEG], <im_start> and <im_end>.
        view: preparation of a photo for the vision tower.
        released: part and name there of every weight that is used, by its released name.
        config: the folder's config.json.
    """

    llava: Any
    sam: Any
    head: nn.Sequential
    tokenizer: Any
    view: Preprocessing
    released: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def load_parts(
    folder: Path, *, device: str, dtype: torch.dtype = torch.bfloat16, sam_file: Path | None = None
) -> Parts:
    """Read a released READ, or put together what one is trained from.

    Args:
        folder: with config.json, the tokenizer and weights as released; the vision tower is read from the folder that
            its config names, or from CLIP's on this machine.
        device: as torch names it.
        dtype: of the weights; the release runs in bfloat16.
        sam_file: a SAM as first released. `folder` then is a LLaVA, new words are the mean of the others, and the
            layers between the two are random.
    Raises:
        WeightsMissing: a weight is missing, is of another shape, or the folder is not a READ.
        BackendMissing: transformers is not installed.
    """
    config = local.read_config(folder)
    tower_name = config.get("mm_vision_tower") or config.get("vision_tower")
    if tower_name is None:
        raise WeightsMissing(
            f"{folder} is not a READ: its config.json names no vision tower; get it with: "
            "interleave-index models pull rui-qian/READ-LLaVA-v1.5-7B-for-ReasonSeg-valset"
        )
    tokenizer = pretrained.reader(folder, "AutoTokenizer")
    tokenizer.add_tokens(list(SPECIAL[:1]))
    tokenizer.add_tokens(list(SPECIAL[1:]), special_tokens=True)

    vision = pretrained.build(_vision_folder(folder, str(tower_name)), "CLIPVisionModel", "cpu", dtype)
    weights = dict(_tensors(folder))  # mapped from the files, not read yet
    if sam_file is not None:
        weights |= _start_weights(sam_file, weights, len(tokenizer))
    shapes = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    with _no_random_weights(dtype):
        llava = _llava(config, vision.config, vocabulary=shapes["model.embed_tokens.weight"][0])
        sam = _sam({place[1]: shape for key, shape in shapes.items() if (place := place_of(key)) and place[0] == SAM})
        wide, narrow = shapes["model.text_hidden_fcs.0.0.weight"][1], shapes["model.text_hidden_fcs.0.2.weight"][0]
        head = nn.Sequential(nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, narrow))
    llava.model.vision_tower = vision
    modules = {LLAVA: llava, SAM: sam, HEAD: head}
    released = _fill(folder, modules, weights)
    for module in modules.values():
        module.to(device).eval().requires_grad_(False)

    side, patch = int(vision.config.image_size), int(vision.config.patch_size)
    view = Preprocessing("crop", (side, side), patch, side, mean=CLIP_MEAN, std=CLIP_STD)
    return Parts(llava, sam, head, tokenizer, view, released, config)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, in order: safetensors, else PyTorch's."""
    names = local.weights_of([file.name for file in folder.iterdir()])
    if not names:
        raise WeightsMissing(
            f"{folder} holds no weights, expected model*.safetensors or pytorch_model*.bin; get the model again"
        )
    return [folder / name for name in names]


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the weights, mapped from its file."""
    for file in weight_files(folder):
        yield from _tensors_of(file).items()


def _tensors_of(file: Path) -> dict[str, Tensor]:
    """The tensors of one file, mapped from it; nothing but tensors is ever unpickled."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        found: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        return found
    except Exception as error:  # a damaged pickle raises anything
        words = " ".join(str(error).split())[:200]
        raise WeightsMissing(f"{file} cannot be read: {words}; get the model again") from error


def _start_weights(sam_file: Path, llava: Mapping[str, Tensor], vocabulary: int) -> dict[str, Tensor]:
    """What a READ has beyond the LLaVA that it is trained from, under its released names."""
    found = {f"{SAM_PREFIX}{name}": tensor for name, tensor in _tensors_of(sam_file).items()}
    token = found.get(f"{SAM_PREFIX}mask_decoder.iou_token.weight")
    if token is None:
        raise WeightsMissing(f"{sam_file} is no SAM as first released, expected a file such as sam_vit_h_4b8939.pth")
    for key in ("model.embed_tokens.weight", "lm_head.weight"):
        rows = llava[key]
        if len(rows) < vocabulary:
            mean = rows.float().mean(0, keepdim=True).to(rows.dtype)
            found[key] = torch.cat([rows, mean.expand(vocabulary - len(rows), -1)])
    wide = llava["model.embed_tokens.weight"].shape[1]
    for number, out in ((0, wide), (2, token.shape[1])):
        layer = nn.Linear(wide, out)
        found[f"model.text_hidden_fcs.0.{number}.weight"] = layer.weight.detach()
        found[f"model.text_hidden_fcs.0.{number}.bias"] = layer.bias.detach()
    return found


def _vision_folder(folder: Path, named: str) -> Path:
    """Folder of the vision tower: beside the weights, where the config points, or CLIP's on this machine."""
    for place in (folder / "vision_tower", Path(named)):
        if place.is_dir():
            return place
    return local.find(named if local.is_hub_name(named) else CLIP)


def _llava(config: dict[str, Any], vision: Any, vocabulary: int) -> Any:
    transformers = pretrained.library()
    sizes = {key: config[key] for key in LLAMA_KEYS if config.get(key) is not None}
    return transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(
            vision_config=vision.to_dict(),
            text_config=transformers.LlamaConfig(vocab_size=vocabulary, **sizes).to_dict(),
            image_token_index=0,
            vision_feature_layer=int(config.get("mm_vision_select_layer", -2)),
            vision_feature_select_strategy="default",
        )
    )


def _sam(shapes: dict[str, tuple[int, ...]]) -> Any:
    transformers, sizes = pretrained.library(), sam_sizes(shapes)
    sam = transformers.SamModel(
        transformers.SamConfig(
            vision_config=transformers.SamVisionConfig(**sizes["vision"]).to_dict(),
            prompt_encoder_config=transformers.SamPromptEncoderConfig(**sizes["prompt"]).to_dict(),
            mask_decoder_config=transformers.SamMaskDecoderConfig(**sizes["decoder"]).to_dict(),
        )
    )
    # one table of positions for the photo and for the points
    sam.prompt_encoder.shared_embedding.positional_embedding = sam.shared_image_embedding.positional_embedding
    return sam


@contextmanager
def _no_random_weights(dtype: torch.dtype) -> Iterator[None]:
    """New modules get this dtype and no random weights, which would be overwritten."""
    from transformers.initialization import no_init_weights

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with no_init_weights():
            yield
    finally:
        torch.set_default_dtype(before)


def _fill(folder: Path, modules: dict[str, Any], weights: dict[str, Tensor]) -> dict[str, tuple[str, str]]:
    """Copy every released weight to its place, which is given by its name; each place must be filled once."""
    places = {
        (part, name): parameter
        for part, module in modules.items()
        for name, parameter in module.named_parameters()
        if not name.startswith("model.vision_tower.")
    }
    empty = set(places)
    released = {}
    for key, tensor in weights.items():
        place = place_of(key)
        if place is None or place not in places:
            continue
        if places[place].shape != tensor.shape:
            raise WeightsMissing(
                f"{folder}: {key} has shape {tuple(tensor.shape)}, expected "
                f"{tuple(places[place].shape)}; get the model again"
            )
        places[place].data.copy_(tensor)
        empty.discard(place)
        released[key] = place
    if empty:
        part, name = min(empty)
        raise WeightsMissing(
            f"{folder} lacks {len(empty)} weights of READ, the first is {name} of {part}; get the model again"
        )
    return released


def checksum(folder: Path) -> str:
    """SHA-256 over names, sizes and config of a folder: distinguishes two READs without reading 15 GB."""
    sizes = json.dumps([[file.name, file.stat().st_size] for file in weight_files(folder)])
    return hashlib.sha256(sizes.encode() + (folder / "config.json").read_bytes()).hexdigest()
