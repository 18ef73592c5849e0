"""Any backbone and any language model of a hub as the frozen pair behind a FIND interface.

A backbone becomes four maps at strides 4, 8, 16 and 32, whatever strides its own maps have; a language model gives
the hidden state of one of its layers for every token, by the fast tokenizer in its folder. Both run on the classes of
transformers, imported when one is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ModelError, WeightsMissing
from ..text.language import BATCH, TokenStates, read_tokenizer, tokens_of
from ..text.tower import TextTower
from ..vision.tower import PIXEL_MEAN, PIXEL_STD
from .local import read_config
from .pixels import NO_MEAN, processor_settings
from .pretrained import _quiet, build, library

STRIDES = (4, 8, 16, 32)
OUTPUT_NORMS = "hidden_states_norms"
TEXT_PARTS = ("text_model", "language_model")  # of models that read more than text


class HubBackbone(nn.Module):
    """A backbone of a hub, such as Swin, ConvNeXt, FocalNet or DINOv2.

    Args:
        folder: of a checkpoint that `AutoBackbone` knows.

    Raises:
        WeightsMissing, BackendMissing: as `models.pretrained.build`.

    Attributes:
        mean, std: of the three channels, 0 to 255, as its preprocessor file says; ImageNet's without one.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.mean, self.std = pixel_statistics(folder)
        self.net = _backbone(folder, stages_of(folder))
        channels = list(self.net.channels)
        if not channels:
            raise WeightsMissing(f"{folder} gives no feature maps, expected a backbone")
        channels = [channels[0]] * (4 - len(channels)) + channels
        self.channels: tuple[int, int, int, int] = (channels[0], channels[1], channels[2], channels[3])

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) normalised pixels, sides multiples of 32, to maps at strides 4, 8, 16 and 32."""
        maps = list(self.net(pixels).feature_maps)
        maps = [maps[0]] * (4 - len(maps)) + maps
        sizes = [(pixels.shape[2] // stride, pixels.shape[3] // stride) for stride in STRIDES]
        return tuple(
            one if one.shape[2:] == size else F.interpolate(one, size, mode="bilinear", align_corners=False)
            for one, size in zip(maps, sizes, strict=True)
        )


def _backbone(folder: Path, stages: list[str]) -> Any:
    """A backbone class over the weights of a folder, be they a backbone's or those of a classifier.

    The norms over the outputs, which classifiers lack, start as they are made: as plain norms.
    """
    auto, config = library().AutoBackbone, library().AutoConfig
    try:
        with torch.device("meta"):  # AutoBackbone itself asks the hub about every folder; its class does not
            kind = type(auto.from_config(config.from_pretrained(folder, local_files_only=True)))
        with _quiet(library()):
            model, facts = kind.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True, out_features=stages
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        words = " ".join(str(error).split())[:300]
        raise WeightsMissing(
            f"{folder} cannot be loaded as a backbone: {words}; name one that AutoBackbone knows"
        ) from error
    missing = sorted(name for name in facts["missing_keys"] if not name.startswith(OUTPUT_NORMS))
    if missing:
        raise WeightsMissing(f"{folder} lacks {len(missing)} weights of its backbone, the first is {missing[0]}")
    return model.eval().requires_grad_(False)


def pixel_statistics(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the channels, 0 to 255, that the preprocessor file of a folder takes off and divides by.

    >>> pixel_statistics(Path("a folder without one"))
    ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    """
    settings = processor_settings(folder)
    if not settings:
        return PIXEL_MEAN, PIXEL_STD
    scale = 1 / settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0
    if not settings.get("do_normalize", True):
        return NO_MEAN, (scale,) * 3
    mean = settings.get("image_mean", [value / 255 for value in PIXEL_MEAN])
    std = settings.get("image_std", [value / 255 for value in PIXEL_STD])
    return tuple(value * scale for value in mean), tuple(value * scale for value in std)


def stages_of(folder: Path) -> list[str]:
    """Names of a backbone's stages, spread over its depth where it has many (as a plain transformer does)."""
    config = library().AutoConfig.from_pretrained(folder, local_files_only=True)
    names = [name for name in getattr(config, "stage_names", None) or [] if name != "stem"]
    if len(names) <= 4:
        return names
    return [names[round((n + 1) * len(names) / 4) - 1] for n in range(4)]


class HubLanguage:
    """A text model of a hub at one of its layers.

    Args:
        folder: of a checkpoint that `AutoModel` knows, with a tokenizer.json.
        layer: index into the hidden states, 0 the embeddings; negative ones count from the last, which is -1.
        device: as torch names it.
    """

    def __init__(self, folder: Path, *, layer: int = -1, device: str = "cpu") -> None:
        self._tokenizer, self._layer, self._device = read_tokenizer(folder), layer, torch.device(device)
        self._model = _text_part(build(folder, "AutoModel", device))
        config = self._model.config.get_text_config()
        width = getattr(config, "hidden_size", None) or getattr(config, "d_model", None)
        if not width:
            raise ModelError(
                f"{folder} holds a model of type {config.model_type!r}, expected one that reads text, such as bert"
            )
        self._width = int(width)
        most = int(getattr(config, "num_hidden_layers", None) or getattr(config, "num_layers", None) or 0)
        if most and not -most - 1 <= layer <= most:
            raise WeightsMissing(f"{folder} has no layer {layer}, expected {-most - 1} to -1 or 0 to {most}")

    @property
    def width(self) -> int:
        """Length of a state."""
        return self._width

    @torch.inference_mode()
    def states(self, texts: Sequence[str], context: int, *, tail: int = 0) -> list[TokenStates]:
        """See `LanguageTower.states`."""
        states: list[TokenStates] = []
        for start in range(0, len(texts), BATCH):
            coded = [tokens_of(self._tokenizer, text, context) for text in texts[start : start + BATCH]]
            ids = nn.utils.rnn.pad_sequence([ids for ids, _ in coded], batch_first=True)
            real = (torch.arange(ids.shape[1])[None] < torch.tensor([len(ids) for ids, _ in coded])[:, None]).long()
            out = self._model(
                input_ids=ids.to(self._device), attention_mask=real.to(self._device), output_hidden_states=True
            )
            rows = out.hidden_states[self._layer].float().cpu()
            states += [TokenStates(rows[n, : len(ids)], spans) for n, (ids, spans) in enumerate(coded)]
        return states


def _text_part(model: Any) -> Any:
    """The part of a model that turns text alone into states: a tower, a language model, the encoder of a pair."""
    parts = (getattr(model, name, None) for name in TEXT_PARTS)
    part = next((part for part in parts if part is not None), model)
    return part.encoder if part.config.is_encoder_decoder else part


class MiniLanguage:
    """find-mini's text tower as a language tower; it knows the placeholder of visual entities as one token."""

    def __init__(self, tower: TextTower) -> None:
        self._tower = tower.eval().requires_grad_(False)

    @property
    def width(self) -> int:
        """Length of a state."""
        return self._tower.width

    @torch.inference_mode()
    def states(self, texts: Sequence[str], context: int, *, tail: int = 0) -> list[TokenStates]:
        """See `LanguageTower.states`; at most 64 tokens a text."""
        states = []
        for text in texts:
            batch = self._tower.tokenise([text])
            states.append(TokenStates(self._tower(batch)[0, :context], batch.spans[0, :context]))
        return states


def llama_layer(folder: Path, layer: int) -> int:
    """A layer of a LLaMA counted from the end, as the ablations of FIND name it, counted from the embeddings.

    -1 is the last of the hidden states, so -12 of LLaMA-7B's 33 is 21. What is not negative stays as it is.
    """
    most = int(read_config(folder)["num_hidden_layers"])
    index = layer if layer >= 0 else most + 1 + layer
    if not 0 <= index <= most:
        raise WeightsMissing(f"{folder} has no layer {layer}, expected {-most - 1} to -1 or 0 to {most}")
    return index
