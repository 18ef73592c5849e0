"""find-mini's network: two small towers and the interface, and its sizes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from ...models.attention import Attention
from ...models.text.tower import TextTower
from ...models.vision.pixel_decoder import Pyramid
from ...models.vision.tower import VisionTower
from ..find.config import FindConfig
from ..find.network import FindInterface
from ..find.outputs import Output, Pass
from ..find.prompter import EncodedTexts, Prompter
from ..find.prompts import MaskPrompt, Prompts, VisualTokens

# Parts of the interface that photos pass through; what is asked outside of a pass stays float32.
IN_BFLOAT16 = (
    "content_attention",
    "condition_attention",
    "transformer_ffn_layers",
    "mask_embed",
    "input_proj",
    "seeds",
)
CELLS_IN_USE = 160  # that proposals start from once a network has learned with fewer: the more, the more small things
MANY_TEXTS = 128  # from here on texts are read in bfloat16 too: as a rule those of an ingest, which are kept in fp16


@dataclass(frozen=True, slots=True)
class MiniConfig:
    """Sizes of a find-mini network.

    Attributes:
        side: photos are squashed to side x side, a multiple of 32.
        mirrored: the backbone's deep maps are the mean over the photo and its mirror image.
        vision: arguments of VisionTower; text: of TextTower; interface: of FindConfig, with `towers` and `seeds`.
    """

    side: int = 192
    mirrored: bool = False
    vision: dict[str, Any] = field(
        default_factory=lambda: {
            "widths": [64, 128, 256, 384],
            "depths": [2, 2, 3, 2],
            "width": 128,
            "heads": 4,
            "ffn": 512,
            "layers": 3,
        }
    )
    text: dict[str, Any] = field(default_factory=lambda: {"width": 256, "heads": 4, "ffn": 1024, "layers": 4})
    interface: dict[str, Any] = field(
        default_factory=lambda: {
            "width": 256,
            "features": 128,
            "heads": 8,
            "ffn": 1024,
            "layers": 4,
            "object_queries": 40,
            "text_width": 256,
            "memories": 32,
            "most_points": 32,
            "towers": 640,
            "seeds": 36,
        }
    )


class MiniPrompter(Prompter):
    """The text tower as the language side of prompts."""

    def __init__(self, tower: TextTower, interface: FindInterface) -> None:
        self._tower, self._interface = tower, interface

    def encode(self, texts: Sequence[str], *, sentences: bool = False) -> EncodedTexts:
        """See `Prompter.encode`; a sentence with entities is read as if its visual entities were not there."""
        batch = self._tower.tokenise(texts)
        hidden = self._tower.placeholders(batch) if sentences else None
        return EncodedTexts(self._interface.project_text(self._tower(batch, hidden)), batch.pad, batch.spans)


class MiniModel(nn.Module):
    """Vision tower, text tower and interface: a `find.model.FindModel`."""

    def __init__(self, config: MiniConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionTower(**config.vision)
        self.text = TextTower(tokenizer, **config.text)
        self.interface = FindInterface(FindConfig(**config.interface))
        self.prompter = MiniPrompter(self.text, self.interface)
        self._bfloat16: tuple[FindInterface, ...] = ()  # in a tuple, as it is no module with weights of its own

    def start_from(self, cells: int) -> None:
        """Let so many proposals start from cells from here on, more or fewer than the network has learned with."""
        self.config = replace(self.config, interface={**self.config.interface, "seeds": cells})
        self.interface.config = replace(self.interface.config, seeds=cells)

    def halve(self) -> None:
        """See photos in bfloat16 from here on; what comes out stays float32, and a few texts are read as before."""
        self.vision.halve()
        interface = copy.deepcopy(self.interface)  # whose weights autocast would turn into bfloat16 anew in every pass
        _halve(getattr(interface, name) for name in IN_BFLOAT16)
        self._bfloat16 = (interface,)

    @contextmanager
    def reading(self, texts: int) -> Iterator[None]:
        """What so many texts at once are read in: bfloat16 where there are many and photos are seen so."""
        many = bool(self._bfloat16) and texts > MANY_TEXTS
        with torch.autocast("cpu", torch.bfloat16) if many else nullcontext():
            yield

    def pyramid(self, pixels: Tensor) -> Pyramid:
        """(B, 3, S, S) RGB in 0..255 to the pyramid."""
        out: Pyramid = self.vision(pixels, mirrored=self.config.mirrored)
        return out

    def see(self, pyramid: Pyramid, prompts: Prompts, **options: Any) -> Pass:
        """See `FindModel.see`."""
        interface = self._bfloat16[0] if self._bfloat16 else self.interface
        with torch.autocast("cpu", torch.bfloat16) if self._bfloat16 else nullcontext():
            made: Pass = interface(pyramid.levels, pyramid.mask_features, prompts, deep=pyramid.deep, **options)
        return made

    def read(self, prompts: Prompts) -> Output:
        """See `FindModel.read`."""
        made: Pass = self.interface(None, None, prompts)
        return made.final

    def sample(self, pyramid: Pyramid, masks: MaskPrompt, generator: torch.Generator | None = None) -> VisualTokens:
        """See `FindModel.sample`."""
        return self.interface.sample(
            pyramid.levels, masks, generator, deep=pyramid.deep, mask_features=pyramid.mask_features
        )


def _halve(parts: Iterable[nn.Module]) -> None:
    """Turn the weights of all products inside into bfloat16; norms stay as they are."""
    for part in parts:
        for module in part.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | Attention):
                for parameter in module.parameters(recurse=False):
                    parameter.data = parameter.data.bfloat16()
