"""The interface network: nine layers (or fewer) of content and condition attention, and the heads.

Parameter names are those of the published release under `sem_seg_head.predictor.`, its spelling included.
Everything inside is batch-first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.positions import sine_positions
from .layers import ConditionLayer, ContentLayer, Ffn, Language, Stack
from .outputs import MASKS, PIXEL, SEMANTIC, Output, Pass
from .sampler import sample_tokens
from .variables import (
    CONTENT,
    VISION_GROUP,
    MaskPrompt,
    Prompts,
    TextTokens,
    Variable,
    VisualTokens,
    condition_groups,
    content_mask,
)

MOST_SCALE = 100.0
LEVELS = 3


@dataclass(frozen=True, slots=True)
class FindConfig:
    """Sizes of an interface; the defaults are the published ones.

    Attributes:
        width: C of the stream and of both output spaces.
        features: channels of the pyramid; where it differs from `width` a 1 x 1 convolution a level follows.
        object_queries: proposals, without the image query.
        text_width: of the language tower's tokens.
        most_points: visual tokens an image, for positive and negative masks each.
    """

    width: int = 512
    features: int = 512
    heads: int = 8
    ffn: int = 2048
    layers: int = 9
    object_queries: int = 100
    text_width: int = 4096
    memories: int = 32
    most_points: int = 512

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `FindConfig(**values)` takes them."""
        return asdict(self)


class FindInterface(nn.Module):
    """Proposals, queries and prompts into one space.

    Args:
        config: sizes.
    """

    def __init__(self, config: FindConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.content_attention = Stack([ContentLayer(width, config.heads) for _ in range(config.layers)])
        self.condition_attention = Stack([ConditionLayer(width, config.heads) for _ in range(config.layers)])
        self.transformer_ffn_layers = nn.ModuleList(Ffn(width, config.ffn) for _ in range(config.layers))
        self.decoder_norm = nn.LayerNorm(width)
        self.query_feat = nn.Embedding(config.object_queries + 1, width)
        self.query_embed = nn.Embedding(config.object_queries + 1, width)
        self.pn_indicator = nn.Embedding(2, width)
        self.level_embed = nn.Embedding(LEVELS, width)
        if config.features != width:
            self.input_proj = nn.ModuleList(nn.Conv2d(config.features, width, 1) for _ in range(LEVELS))
        self.mask_embed = Stack([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, config.features)])
        self.class_embed = nn.Parameter(torch.empty(width, width))
        self.mask_sptial_embed = nn.ParameterList(torch.empty(width, width) for _ in range(LEVELS))
        self.spatial_embed = nn.Embedding(config.memories, width)
        self.spatial_featured = nn.Embedding(config.memories, width)
        self.lang_encoder = Language(config.text_width, width)
        for matrix in (self.class_embed, *self.mask_sptial_embed):
            nn.init.trunc_normal_(matrix, std=0.02)

    # --- doors --------------------------------------------------------------------------------

    def project_text(self, states: Tensor) -> Tensor:
        """(B, T, text_width) states of the language tower to (B, T, C) tokens."""
        return states.to(self.lang_encoder.lang_proj.dtype) @ self.lang_encoder.lang_proj

    @property
    def scale(self) -> Tensor:
        """Factor of every cosine in a contrastive loss: min(exp(logit scale), 100)."""
        return self.lang_encoder.logit_scale.exp().clamp(max=MOST_SCALE)

    def forward(
        self,
        levels: Sequence[Tensor] | None,
        mask_features: Tensor | None,
        prompts: Prompts,
        *,
        class_table: Tensor | None = None,
        earlier: bool = False,
        segment_sees_queries: bool = False,
        generator: torch.Generator | None = None,
    ) -> Pass:
        """One pass over all prompts.

        Args:
            levels: (B, F, h, w) at strides 32, 16, 8; None runs the language side alone.
            mask_features: (B, F, h, w) at stride 4, or None with `levels`.
            prompts: what is asked.
            class_table: (K, C) class vectors for `pred_logits`, or None.
            earlier: also keep the prediction before each layer, for deep supervision.
            segment_sees_queries: see `condition_groups`.
            generator: of the point draws of the sampler.
        Returns:
            a Pass; image outputs do not depend on the prompts (but for rounding).
        """
        features = self._features(levels) if levels is not None else None
        variables, sampled = self._variables(features, prompts, generator)
        ordered, groups = condition_groups(variables, segment_sees_queries=segment_sees_queries)
        state = _State(ordered, features, mask_features, class_table, prompts, groups)
        predictions = [self._heads(state, 0)] if earlier or features is not None else []
        for number in range(self.config.layers):
            self._layer(state, number)
            last = number == self.config.layers - 1
            if earlier or last or features is not None:
                predictions.append(self._heads(state, (number + 1) % LEVELS, outputs=earlier or last))
        return Pass(predictions[-1], predictions[:-1] if earlier else [], *sampled)

    def sample(
        self, levels: Sequence[Tensor], prompt: MaskPrompt, generator: torch.Generator | None = None
    ) -> VisualTokens:
        """Visual tokens of user masks on images, to be used in a pass over other images or none."""
        return self._sample(self._features(levels), prompt, generator)

    # --- variables ----------------------------------------------------------------------------

    def _features(self, levels: Sequence[Tensor]) -> list[_Level]:
        out = []
        for number, level in enumerate(levels):
            if hasattr(self, "input_proj"):
                level = self.input_proj[number](level)
            height, width = level.shape[-2:]
            source = level.flatten(2).transpose(1, 2) + self.level_embed.weight[number]
            place = sine_positions(height, width, level.shape[1], level.device).flatten(1).T[None].to(source.dtype)
            out.append(_Level(source, source + place, (height, width)))
        return out

    def _sample(
        self, features: Sequence[_Level], prompt: MaskPrompt, generator: torch.Generator | None
    ) -> VisualTokens:
        maps = [level.source.unflatten(1, level.size) for level in features]
        return sample_tokens(
            maps,
            list(self.mask_sptial_embed),
            self.pn_indicator.weight,
            prompt,
            most=self.config.most_points,
            generator=generator,
        )

    def _learned(self, rows: slice, batch: int, repeat: int | None = None) -> tuple[Tensor, Tensor]:
        content, position = self.query_feat.weight[rows], self.query_embed.weight[rows]
        if repeat is not None:
            content, position = content.expand(repeat, -1), position.expand(repeat, -1)
        return content.expand(batch, -1, -1), position.expand(batch, -1, -1)

    def _variables(
        self,
        features: Sequence[_Level] | None,
        prompts: Prompts,
        generator: torch.Generator | None,
    ) -> tuple[list[Variable], tuple[VisualTokens | None, VisualTokens | None]]:
        batch = _batch_size(features, prompts)
        objects, image = slice(0, self.config.object_queries), slice(self.config.object_queries, None)
        found: list[Variable] = []
        spatial_tokens = interleave_tokens = None

        def learned(name: str, rows: slice, repeat: int | None = None, index: Tensor | None = None) -> None:
            found.append(Variable(name, *self._learned(rows, batch, repeat), index=index))

        def tokens(name: str, text: TextTokens, index: Tensor | None = None) -> None:
            found.append(Variable(name, text.tokens, text.tokens.detach(), text.pad, index))

        def visual(name: str, sampled: VisualTokens) -> None:
            if sampled.pad.shape[1]:
                first = sampled.levels[0]
                found.append(Variable(name, first, first.detach(), sampled.pad, sampled.index, sampled.levels))

        if features is not None:
            learned("proposals_vision_object", objects)
            learned("queries_vision_image", image)
        if (text := prompts.caption) is not None:
            learned("queries_language_caption", image)
            tokens("tokens_language_caption", text)
        if (text := prompts.class_name) is not None:
            learned("queries_language_class", image)
            tokens("tokens_language_class", text)
        if (grounding := prompts.grounding) is not None:
            if features is not None:
                learned("proposals_vision_grounding", objects)
            learned("queries_language_description", image, grounding.query_index.shape[1], grounding.query_index)
            tokens("tokens_language_description", grounding.text, grounding.token_index)
        if (spatial := prompts.spatial) is not None:
            spatial_tokens = (
                spatial.masks
                if isinstance(spatial.masks, VisualTokens)
                else self._sample(_needed(features), spatial.masks, generator)
            )
            if features is not None:
                learned("proposals_vision_segment", objects)
                if spatial.previous is not None:
                    found.append(
                        Variable(
                            "memories_vision_spatial",
                            self.spatial_featured.weight.expand(batch, -1, -1),
                            self.spatial_embed.weight.expand(batch, -1, -1),
                        )
                    )
            learned("queries_vision_spatial", image, spatial.query_index.shape[1], spatial.query_index)
            visual("tokens_vision_spatial", spatial_tokens)
        if (legend := prompts.interleave) is not None:
            if features is not None:
                learned("proposals_interleave_entity", objects)
            learned("queries_interleave_legend", image)
            learned("queries_interleave_entity", image, legend.query_index.shape[1], legend.query_index)
            isvisual = legend.visual[:, :, None].to(legend.text.tokens.dtype)
            found.append(
                Variable(
                    "tokens_interleave_legend",
                    legend.text.tokens + isvisual * self.query_feat.weight[image],
                    legend.text.tokens + isvisual * self.query_embed.weight[image],
                    legend.text.pad,
                    legend.token_index,
                )
            )
            if legend.masks is not None:
                interleave_tokens = (
                    legend.masks
                    if isinstance(legend.masks, VisualTokens)
                    else self._sample(_needed(features), legend.masks, generator)
                )
                visual("tokens_vision_spatial_", interleave_tokens)
        return found, (spatial_tokens, interleave_tokens)

    # --- one layer ----------------------------------------------------------------------------

    def _layer(self, state: _State, number: int) -> None:
        level = number % LEVELS
        for variable in state.variables:
            if variable.levels is not None:
                variable.content = variable.levels[level]
                variable.position = variable.levels[level].detach()
        self._content(state, number, level)
        stream = torch.cat([v.content for v in state.variables], 1)
        place = torch.cat([v.position for v in state.variables], 1)
        stream = self.condition_attention.layers[number](stream, place, state.condition)
        stream = self.transformer_ffn_layers[number](stream)
        sizes = [v.content.shape[1] for v in state.variables]
        for variable, content in zip(state.variables, stream.split(sizes, 1), strict=True):
            variable.content = content

    def _content(self, state: _State, number: int, level: int) -> None:
        layer = self.content_attention.layers[number]
        readers = [v for v in state.variables if v.name in CONTENT]
        keys = [v for v in state.variables if v.name in CONTENT.values()]
        updated: list[tuple[list[Variable], Tensor]] = []
        if readers:
            stream, place = _joined(readers)
            value, key_place = _joined(keys) if keys else (stream[:, :0], place[:, :0])
            if state.content is None:
                state.content = content_mask(readers, keys)
            updated.append((readers, layer(stream, place, value + key_place, value, state.content)))
        if state.features is not None and state.blocked is not None:
            seen = state.features[level]
            looking = [v for v in state.variables if v.name in VISION_GROUP]
            updated.append((looking, layer(*_joined(looking), seen.key, seen.source, state.blocked)))
        for group, stream in updated:
            for variable, content in zip(group, stream.split([v.content.shape[1] for v in group], 1), strict=True):
                variable.content = content

    # --- heads --------------------------------------------------------------------------------

    def _heads(self, state: _State, next_level: int, *, outputs: bool = True) -> Output:
        normed = {v.name: self.decoder_norm(v.content) for v in state.variables if not v.name.startswith("tokens_")}
        if "queries_vision_image" in normed:
            objects = normed["proposals_vision_object"]
            weight = _cosines(normed["queries_vision_image"], objects).softmax(-1).detach()
            normed["queries_vision_image"] = weight @ objects
        values: dict[str, Tensor] = {}
        if outputs:
            for name, rows in normed.items():
                for key in SEMANTIC.get(name, ()):
                    values[key] = rows @ self.class_embed
            if state.class_table is not None and "pred_captions" in values:
                values["pred_logits"] = self.lang_encoder.logit_scale.exp() * _cosines(
                    values["pred_captions"], state.class_table.expand(len(values["pred_captions"]), -1, -1)
                )
        pixel = {name: self._pixel(rows) for name, rows in normed.items() if outputs or name in VISION_GROUP}
        if outputs:
            values |= {PIXEL[name]: rows for name, rows in pixel.items() if name in PIXEL}
        if state.features is not None and state.mask_features is not None:
            masks = {
                name: torch.einsum("bnc,bchw->bnhw", pixel[name], state.mask_features)
                for name in MASKS
                if name in pixel
            }
            if outputs:
                values |= {MASKS[name]: logits for name, logits in masks.items()}
            state.blocked = _attention_mask(state, masks, state.features[next_level].size)
        return Output(values)

    def _pixel(self, rows: Tensor) -> Tensor:
        first, second, third = self.mask_embed.layers
        out: Tensor = third(F.relu(second(F.relu(first(rows)))))
        return out


@dataclass(slots=True)
class _Level:
    source: Tensor  # (B, hw, C)
    key: Tensor  # with position
    size: tuple[int, int]


@dataclass(slots=True)
class _State:
    variables: list[Variable]
    features: list[_Level] | None
    mask_features: Tensor | None
    class_table: Tensor | None
    prompts: Prompts
    condition: list[tuple[int, Tensor | None]]
    content: Tensor | None = None
    blocked: Tensor | None = None


def _joined(variables: Sequence[Variable]) -> tuple[Tensor, Tensor]:
    return torch.cat([v.content for v in variables], 1), torch.cat([v.position for v in variables], 1)


def _cosines(rows: Tensor, others: Tensor) -> Tensor:
    rows = rows / (rows.norm(dim=-1, keepdim=True) + 1e-7)
    others = others / (others.norm(dim=-1, keepdim=True) + 1e-7)
    return rows @ others.transpose(-1, -2)


def _attention_mask(state: _State, masks: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
    """(B, N, hw) bool over the vision group: where the own predicted mask is off; rows wholly off are opened."""
    rows = []
    for variable in state.variables:
        if variable.name not in VISION_GROUP:
            continue
        logits = masks.get(variable.name)
        if variable.name == "memories_vision_spatial" and state.prompts.spatial is not None:
            logits = state.prompts.spatial.previous
        batch, count = variable.content.shape[:2]
        if logits is None:
            rows.append(
                torch.zeros((batch, count, size[0] * size[1]), dtype=torch.bool, device=variable.content.device)
            )
            continue
        resized = F.interpolate(logits.detach().float(), size=size, mode="bilinear", align_corners=False)
        rows.append((resized.sigmoid() < 0.5).flatten(2).expand(-1, count, -1))
    blocked = torch.cat(rows, 1)
    return blocked & ~blocked.all(-1, keepdim=True)


def _needed(features: Sequence[_Level] | None) -> Sequence[_Level]:
    if features is None:
        raise TypeError("masks were given without the image features that they are sampled from")
    return features


def _batch_size(features: Sequence[_Level] | None, prompts: Prompts) -> int:
    if features is not None:
        return len(features[0].source)
    for prompt in (prompts.caption, prompts.class_name):
        if prompt is not None:
            return len(prompt.tokens)
    for other in (prompts.grounding, prompts.spatial, prompts.interleave):
        if other is not None:
            return len(other.query_index)
    raise TypeError("a pass needs image features or a prompt")
