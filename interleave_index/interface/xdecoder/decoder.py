"""What X-Decoder and SEEM share: learned queries through masked cross-attention, self-attention and two linear layers.

Parameter names are those of the released files under `sem_seg_head.predictor.`. Everything is batch-first. A pass is a
short list of variables (`find.prompts.Variable`), as in FIND; who sees whom in self-attention stands in tables of the
two decoders. Source: docs/xdecoder.md.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...records import Size
from ..find.attention import ConditionLayer, ContentLayer, Ffn, Language, MaskEmbed
from ..find.network import LEVELS, MOST_SCALE
from ..find.outputs import Output, Pass
from ..find.prompts import Level, Variable, sight_groups
from ..find.state import joined, placed, put_back
from .config import DecoderConfig

EPSILON = 1e-7  # beside norms, as published


@dataclass(slots=True)
class Heads:
    """Predictions for the rows of one variable.

    Attributes:
        semantic: (B, N, C), compared with texts by cosine.
        pixel: (B, N, C), whose products with the mask features are masks.
        masks: (B, N, h, w) logits at stride 4.
    """

    semantic: Tensor
    pixel: Tensor
    masks: Tensor


@dataclass(slots=True)
class Stream:
    """What a pass carries from layer to layer.

    Attributes:
        variables: everything that takes part.
        sees: by name of each variable the names of those that it sees in self-attention.
        features: the three levels, coarse first.
        mask_features: (B, C, h, w) at stride 4.
        predicted: names of the variables that have masks and vectors, in the order of the output.
        outside: (B, H, W) bool, True on pixels that a caption must not look at, or None.
        previous: (B, n, h, w) mask logits of an earlier round, for the memories, or None.
        memory_index: (layers, memories) which of these masks each memory carries, or None.
        resized: mask features at the sizes of levels, as they become known.
    """

    variables: list[Variable]
    sees: Mapping[str, Collection[str]]
    features: list[Level]
    mask_features: Tensor
    predicted: tuple[str, ...]
    outside: Tensor | None = None
    previous: Tensor | None = None
    memory_index: Tensor | None = None
    resized: dict[Size, Tensor] = field(default_factory=dict)

    def named(self, name: str) -> Variable:
        """The variable of this name."""
        return next(variable for variable in self.variables if variable.name == name)


class MaskDecoder(nn.Module):
    """Base of the two decoders.

    Args:
        config: sizes.
    """

    crosses: tuple[str, ...]  # variables that read the image features
    antialias: bool  # masks are made smaller for the attention by a bicubic filter with antialias, else bilinear

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        width, layers = config.width, config.layers
        self.config = config
        self.transformer_cross_attention_layers = nn.ModuleList(
            ContentLayer(width, config.heads) for _ in range(layers)
        )
        self.transformer_self_attention_layers = nn.ModuleList(
            ConditionLayer(width, config.heads) for _ in range(layers)
        )
        self.transformer_ffn_layers = nn.ModuleList(Ffn(width, config.ffn) for _ in range(layers))
        self.decoder_norm = nn.LayerNorm(width)
        self.query_feat = nn.Embedding(config.queries, width)
        self.query_embed = nn.Embedding(config.queries, width)
        self.level_embed = nn.Embedding(LEVELS, width)
        self.mask_embed = MaskEmbed(width, width)
        self.class_embed = nn.Parameter(torch.empty(width, width))
        self.lang_encoder = Language(config.text_width, width)
        for matrix in (self.class_embed, self.lang_encoder.lang_proj):
            nn.init.normal_(matrix, std=matrix.shape[0] ** -0.5)

    def project_text(self, states: Tensor) -> Tensor:
        """(..., text_width) states of the text tower to (..., C)."""
        return states.to(self.lang_encoder.lang_proj.dtype) @ self.lang_encoder.lang_proj

    @property
    def scale(self) -> Tensor:
        """Factor of the cosine between a row and an expression: min(exp(logit scale), 100)."""
        return self.lang_encoder.logit_scale.exp().clamp(max=MOST_SCALE)

    # --- what the decoders fill in --------------------------------------------------------------

    def _enter(self, stream: Stream, number: int) -> None:
        """Change what changes before layer `number`."""

    def _normed(self, stream: Stream) -> dict[str, Tensor]:
        """Normed rows that predictions are made of, by name."""
        return {name: self.decoder_norm(stream.named(name).content) for name in stream.predicted}

    def _narrow(self, query: Variable, key: Variable) -> Tensor | None:
        """See `find.prompts.sight_groups`."""
        return None

    def _blocked(self, stream: Stream, name: str, masks: dict[str, Tensor], level: Level) -> Tensor:
        """(B, N, hw) bool, the pixels of a level that a variable must not read: where its own mask is off."""
        return off(masks[name])

    @abstractmethod
    def _outputs(self, stream: Stream, heads: dict[str, Heads], class_table: Tensor | None) -> Output:
        """Predictions under the published names."""

    # --- a pass ---------------------------------------------------------------------------------

    def _features(self, levels: Sequence[Tensor]) -> list[Level]:
        return [
            placed(level.flatten(2).transpose(1, 2), self.level_embed.weight[n], (level.shape[-2], level.shape[-1]))
            for n, level in enumerate(levels)
        ]

    def _learned(self, name: str, rows: slice | Tensor, batch: int, index: Tensor | None = None) -> Variable:
        """Some of the learned queries as a variable."""
        content, position = self.query_feat.weight[rows], self.query_embed.weight[rows]
        return Variable(name, content.expand(batch, -1, -1), position.expand(batch, -1, -1), index=index)

    def _decode(self, stream: Stream, class_table: Tensor | None, *, earlier: bool) -> Pass:
        """All layers; with `earlier` the predictions before each of them are kept too."""
        kept: list[Output] = []
        layers = self.config.layers
        for number in range(layers):
            normed = self._normed(stream)
            if earlier:
                kept.append(self._outputs(stream, self._heads(stream, normed), class_table))
            self._layer(stream, number, normed)
        final = self._heads(stream, self._normed(stream))
        return Pass(self._outputs(stream, final, class_table), kept)

    def _heads(self, stream: Stream, normed: dict[str, Tensor]) -> dict[str, Heads]:
        heads = {}
        for name, rows in normed.items():
            pixel = self.mask_embed(rows)
            masks = torch.einsum("bnc,bchw->bnhw", pixel, stream.mask_features)
            heads[name] = Heads(rows @ self.class_embed, pixel, masks)
        return heads

    def _layer(self, stream: Stream, number: int, normed: dict[str, Tensor]) -> None:
        level = stream.features[number % LEVELS]
        for variable in stream.variables:
            if variable.levels is not None:
                variable.content = variable.position = variable.levels[number % LEVELS]
        self._enter(stream, number)
        small = self._mask_features_at(stream, level.size)
        masks = {name: torch.einsum("bnc,bchw->bnhw", self.mask_embed(rows), small) for name, rows in normed.items()}
        readers = [variable for variable in stream.variables if variable.name in self.crosses]
        blocked = torch.cat([self._blocked(stream, reader.name, masks, level) for reader in readers], 1)
        blocked = blocked & ~blocked.all(-1, keepdim=True)
        cross = self.transformer_cross_attention_layers[number]
        put_back(readers, cross(*joined(readers), level.key, level.source, blocked))
        ordered, groups = sight_groups(stream.variables, stream.sees, self._narrow)
        rows = self.transformer_self_attention_layers[number](*joined(ordered), groups)
        put_back(ordered, self.transformer_ffn_layers[number](rows))

    def _mask_features_at(self, stream: Stream, size: Size) -> Tensor:
        """Mask features at the size of a level: masks made of them are those of the whole size, resized."""
        if size not in stream.resized:
            stream.resized[size] = self._resized(stream.mask_features, size)
        return stream.resized[size]

    def _resized(self, maps: Tensor, size: Size) -> Tensor:
        mode = "bicubic" if self.antialias else "bilinear"
        return F.interpolate(maps, size=size, mode=mode, align_corners=False, antialias=self.antialias)

    def _class_logits(self, semantic: Tensor, class_table: Tensor) -> Tensor:
        """(B, N, K) of semantic vectors and (K, C) class vectors of unit length; the scale is not clamped here."""
        unit = semantic / (semantic.norm(dim=-1, keepdim=True) + EPSILON)
        logits: Tensor = self.lang_encoder.logit_scale.exp() * unit @ class_table.to(unit.dtype).T
        return logits


def off(masks: Tensor) -> Tensor:
    """(B, N, h, w) logits to (B, N, hw) bool, True where a mask is off."""
    return (masks.detach().float().sigmoid() < 0.5).flatten(2)
