"""The interface network: nine layers (or fewer) of content and condition attention, and the heads.

Parameter names are those of the published release under `sem_seg_head.predictor.`, its spelling included.
Everything inside is batch-first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from .attention import ConditionLayer, ContentLayer, Ffn, Language, MaskEmbed, Pointwise, Stack
from .config import FindConfig
from .outputs import MASKS, PIXEL, QUALITY, SEMANTIC, Output, Pass
from .prompts import (
    CONTENT,
    PROPOSALS,
    VISION_GROUP,
    Level,
    MaskPrompt,
    Prompts,
    Variable,
    Visual,
    VisualTokens,
    condition_groups,
    content_mask,
)
from .proposal_selector import Cells, ProposalSelector
from .sampler import prompt_points, tokens_at
from .state import (
    State,
    Towers,
    attention_mask,
    batch_size,
    cosines,
    joined,
    mask_logits,
    placed,
    put_back,
    token_variable,
    visual_variables,
)
from .tower_paths import TowerPaths, tower_scale

MOST_SCALE = 100.0
LEVELS = 3


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
            self.input_proj = nn.ModuleList(Pointwise(config.features, width) for _ in range(LEVELS))
        self.mask_embed = MaskEmbed(width, config.features)
        self.class_embed = nn.Parameter(torch.empty(width, width))
        self.mask_sptial_embed = nn.ParameterList(torch.empty(width, width) for _ in range(LEVELS))
        self.spatial_embed = nn.Embedding(config.memories, width)
        self.spatial_featured = nn.Embedding(config.memories, width)
        self.lang_encoder = Language(config.text_width, width)
        if config.towers:
            self.paths = TowerPaths(config.towers, config.features, width)
        if config.seeds:
            self.seeds = ProposalSelector(width, config.features, config.octaves, fine=config.fine_cells)
            self.quality = nn.Linear(width, 1)
        self._start()

    def _start(self) -> None:
        """Random start in which photos and words outweigh the learned constants they are added to."""
        for table in (self.level_embed, self.query_feat, self.query_embed, self.pn_indicator):
            nn.init.normal_(table.weight, std=0.2)
        for matrix in (self.class_embed, self.lang_encoder.lang_proj, *self.mask_sptial_embed):
            nn.init.normal_(matrix, std=matrix.shape[0] ** -0.5)
        if self.config.towers:  # the towers are right from the start, the interface is not
            with torch.no_grad():
                self.class_embed.mul_(0.15)
                nn.init.eye_(self.lang_encoder.lang_proj)
        if hasattr(self, "input_proj"):
            for parameter in self.input_proj.parameters():
                if parameter.ndim > 1:
                    nn.init.kaiming_normal_(parameter, nonlinearity="linear")
                else:
                    nn.init.zeros_(parameter)

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
        deep: Tensor | None = None,
        class_table: Tensor | None = None,
        earlier: bool | Collection[int] = False,
        segment_sees_queries: bool = False,
        generator: torch.Generator | None = None,
    ) -> Pass:
        """One pass over all prompts.

        Args:
            levels: (B, F, h, w) at strides 32, 16, 8; None runs the language side alone.
            mask_features: (B, F, h, w) at stride 4, or None with `levels`.
            prompts: what is asked.
            deep: (B, T, h, w) the backbone's deep maps, wanted with `levels` where the configuration has `towers`.
            class_table: (K, C) class vectors for `pred_logits`, or None.
            earlier: also keep the predictions before these layers (True: before each), for deep supervision.
            segment_sees_queries: see `condition_groups`.
            generator: of the point draws of the sampler.
        Returns:
            a Pass; image outputs do not depend on the prompts (but for rounding).
        """
        features = None if levels is None else self.features(levels)
        towers = Towers(deep, mask_features) if self.config.towers else None
        cells, start = None, None
        if self.config.seeds and features is not None and mask_features is not None:
            cells = self.seeds.cells(features, self._finest(mask_features))
            mask_features = self.seeds.placed(mask_features)
            start = self._selected(cells, mask_features)
        spatial, legend = (
            self._visual_tokens(features, None if prompt is None else prompt.masks, generator, towers)
            for prompt in (prompts.spatial, prompts.interleave)
        )
        variables = self._variables(features, prompts, start)
        variables += visual_variables("tokens_vision_spatial", spatial)
        variables += visual_variables("tokens_vision_spatial_", legend)
        ordered, groups = condition_groups(variables, segment_sees_queries=segment_sees_queries)
        state = State(ordered, features, mask_features, class_table, prompts, groups, towers)
        if towers is not None:
            towers.embeddings = self.paths.sentences(prompts) | self.paths.interleaved(prompts, legend)
            if deep is not None:
                towers.embeddings["queries_vision_image"] = self.paths.photos(deep)
        layers = self.config.layers
        kept = set(range(layers)) if earlier is True else set(earlier or ())
        predictions: dict[int, Output] = {}
        for number in range(layers + 1):
            wanted = number in kept or number == layers
            if wanted or features is not None:  # predicted masks also block the attention of the next layer
                next_level = number % LEVELS if number < layers else None
                with torch.set_grad_enabled(wanted and torch.is_grad_enabled()):
                    predictions[number] = self._predict(state, next_level, outputs=wanted)
            if number < layers:
                self._layer(state, number)
        earlier_outputs = [predictions[number] for number in sorted(kept)]
        return Pass(predictions[layers], earlier_outputs, legend, cells, mask_features)

    def sample(
        self,
        levels: Sequence[Tensor],
        prompt: MaskPrompt,
        generator: torch.Generator | None = None,
        *,
        deep: Tensor | None = None,
        mask_features: Tensor | None = None,
    ) -> VisualTokens:
        """Visual tokens of user masks on images, to be used in a pass over other images or none.

        `deep` and `mask_features` are wanted where the configuration has `towers`.
        """
        towers = Towers(deep, mask_features) if self.config.towers else None
        return self._sample(self.features(levels), prompt, generator, towers)

    def pixel(self, rows: Tensor) -> Tensor:
        """(..., C) contents to (..., F) vectors whose products with the mask features are masks."""
        out: Tensor = self.mask_embed(self.decoder_norm(rows))
        return out

    # --- variables ----------------------------------------------------------------------------

    def features(self, levels: Sequence[Tensor]) -> list[Level]:
        """(B, F, h, w) maps of a pyramid as tokens of the stream's width."""
        own = hasattr(self, "input_proj")
        return [
            placed(
                self.input_proj[number](level) if own else level.flatten(2).transpose(1, 2),
                self.level_embed.weight[number],
                (level.shape[-2], level.shape[-1]),
            )
            for number, level in enumerate(levels)
        ]

    def _finest(self, mask_features: Tensor) -> Level | None:
        """(B, F, h, w) mask features as tokens of the stream's width, where cells are made of them."""
        if self.seeds.fine is None:
            return None
        tokens = self.seeds.fine(mask_features.flatten(2).transpose(1, 2))
        return placed(tokens, self.level_embed.weight[-1], (mask_features.shape[-2], mask_features.shape[-1]))

    def _visual_tokens(
        self,
        features: Sequence[Level] | None,
        masks: Visual,
        generator: torch.Generator | None,
        towers: Towers | None,
    ) -> VisualTokens | None:
        if masks is None or isinstance(masks, VisualTokens):
            return masks
        if features is None:
            raise TypeError("masks were given without the image features that they are sampled from")
        return self._sample(features, masks, generator, towers)

    def _sample(
        self,
        features: Sequence[Level],
        prompt: MaskPrompt,
        generator: torch.Generator | None,
        towers: Towers | None,
    ) -> VisualTokens:
        maps = [level.source.unflatten(1, level.size) for level in features]
        points = prompt_points(prompt, self.config.most_points, maps[0].device, generator)
        sampled = tokens_at(points, maps, list(self.mask_sptial_embed), self.pn_indicator.weight)
        if towers is not None and towers.deep is not None and towers.mask_features is not None:
            sampled.vectors = self.paths.prompts(prompt.positive, towers.deep, towers.mask_features)
        return sampled

    def _selected(self, cells: Cells, mask_features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, seeds, C) contents and positions of the cells that proposals start from."""
        count = self.config.seeds
        top = cells.top = self.seeds.select(cells, count, self.pixel, mask_features)
        rows = top.rows.gather(1, top.selected)[..., None].expand(-1, -1, self.config.width)
        return cells.content.gather(1, rows), cells.position.gather(1, rows)

    def _learned(self, name: str, batch: int, index: Tensor | None = None) -> Variable:
        """Proposals are the object queries; any other learned variable repeats the image query, once an index."""
        rows = slice(-1) if name in PROPOSALS else slice(-1, None)
        content, position = self.query_feat.weight[rows], self.query_embed.weight[rows]
        if index is not None:
            content, position = content.expand(index.shape[1], -1), position.expand(index.shape[1], -1)
        return Variable(name, content.expand(batch, -1, -1), position.expand(batch, -1, -1), index=index)

    def _variables(
        self, features: Sequence[Level] | None, prompts: Prompts, start: tuple[Tensor, Tensor] | None
    ) -> list[Variable]:
        """Everything that takes part but for visual tokens; without photos there are no proposals.

        Args:
            start: contents and positions of the first proposals, or None.
        """
        batch = batch_size(features, prompts)
        variables: list[Variable] = []

        def add_proposals(name: str) -> None:
            if features is None:
                return
            proposals = self._learned(name, batch)
            if start is not None:
                count = self.config.seeds
                proposals.content = torch.cat([start[0], proposals.content[:, count:]], 1)
                proposals.position = torch.cat([start[1], proposals.position[:, count:]], 1)
            variables.append(proposals)

        add_proposals("proposals_vision_object")
        if features is not None:
            variables.append(self._learned("queries_vision_image", batch))
        for kind, text in (("caption", prompts.caption), ("class", prompts.class_name)):
            if text is not None:
                variables.append(self._learned(f"queries_language_{kind}", batch))
                variables.append(token_variable(f"tokens_language_{kind}", text))
        if (grounding := prompts.grounding) is not None:
            add_proposals("proposals_vision_grounding")
            variables.append(self._learned("queries_language_description", batch, grounding.query_index))
            variables.append(token_variable("tokens_language_description", grounding.text, grounding.token_index))
        if (spatial := prompts.spatial) is not None:
            variables.append(self._learned("queries_vision_spatial", batch, spatial.query_index))
            add_proposals("proposals_vision_segment")
            if features is not None and spatial.previous is not None:
                content, position = self.spatial_featured.weight, self.spatial_embed.weight
                memories = content.expand(batch, -1, -1), position.expand(batch, -1, -1)
                variables.append(Variable("memories_vision_spatial", *memories))
        if (interleave := prompts.interleave) is not None:
            add_proposals("proposals_interleave_entity")
            variables.append(self._learned("queries_interleave_legend", batch))
            variables.append(self._learned("queries_interleave_entity", batch, interleave.query_index))
            words = interleave.text.tokens
            visual = interleave.visual[:, :, None].to(words.dtype)
            content = words + visual * self.query_feat.weight[-1]
            position = words + visual * self.query_embed.weight[-1]
            variables.append(
                Variable("tokens_interleave_legend", content, position, interleave.text.pad, interleave.token_index)
            )
        return variables

    # --- one layer ----------------------------------------------------------------------------

    def _layer(self, state: State, number: int) -> None:
        level = number % LEVELS
        for variable in state.variables:
            if variable.levels is not None:
                variable.content = variable.levels[level]
                variable.position = variable.levels[level].detach()
        self._content(state, number, level)
        stream = self.condition_attention.layers[number](*joined(state.variables), state.condition)
        put_back(state.variables, self.transformer_ffn_layers[number](stream))

    def _content(self, state: State, number: int, level: int) -> None:
        layer = self.content_attention.layers[number]
        readers = [v for v in state.variables if v.name in CONTENT]
        keys = [v for v in state.variables if v.name in CONTENT.values()]
        updated: list[tuple[list[Variable], Tensor]] = []
        if readers:
            stream, place = joined(readers)
            value, key_place = joined(keys) if keys else (stream[:, :0], place[:, :0])
            if state.content is None:
                state.content = content_mask(readers, keys)
            updated.append((readers, layer(stream, place, value + key_place, value, state.content)))
        if state.features is not None and state.blocked is not None:
            level_tokens = state.features[level]
            vision = [v for v in state.variables if v.name in VISION_GROUP]
            updated.append((vision, layer(*joined(vision), level_tokens.key, level_tokens.source, state.blocked)))
        for group, stream in updated:
            put_back(group, stream)

    # --- heads --------------------------------------------------------------------------------

    def _predict(self, state: State, next_level: int | None, *, outputs: bool) -> Output:
        """Predictions of the stream as it is, and what the next layer's attention is blocked from.

        Args:
            next_level: of the pyramid that the next layer reads; None after the last.
            outputs: all predictions are wanted, not the masks for the attention alone.
        """
        normed = {v.name: self.decoder_norm(v.content) for v in state.variables if not v.name.startswith("tokens_")}
        if "queries_vision_image" in normed:
            objects = normed["proposals_vision_object"]
            weight = cosines(normed["queries_vision_image"], objects).softmax(-1).detach()
            normed["queries_vision_image"] = weight @ objects
        pixel = {name: self.mask_embed(rows) for name, rows in normed.items() if outputs or name in VISION_GROUP}
        size = None if state.features is None or next_level is None else state.features[next_level].size
        masks: dict[str, Tensor] = {}
        if state.features is not None:
            masks = mask_logits(pixel, state.mask_features if outputs or size is None else state.mask_features_at(size))
        values: Output = {}
        if outputs:
            for name, rows in normed.items():
                if name in SEMANTIC:
                    values[SEMANTIC[name]] = self._semantic(state, name, rows, masks.get(name))
                if self.config.seeds and name in QUALITY:
                    values[QUALITY[name]] = self.quality(rows)[..., 0]
            if state.class_table is not None and "pred_captions" in values:
                values["pred_logits"] = self.lang_encoder.logit_scale.exp() * cosines(
                    values["pred_captions"], state.class_table.expand(len(values["pred_captions"]), -1, -1)
                )
            values |= {PIXEL[name]: rows for name, rows in pixel.items() if name in PIXEL}
            values |= {MASKS[name]: logits for name, logits in masks.items()}
        if size is not None and state.mask_features is not None:
            state.blocked = attention_mask(state, masks, size)
        return values

    def _semantic(self, state: State, name: str, rows: Tensor, masks: Tensor | None) -> Tensor:
        """(B, N, C) semantic vectors; with towers, their embeddings of the same mask, photo or phrase added."""
        own, towers = rows @ self.class_embed, state.towers
        if towers is None:
            return own
        embedding = towers.embeddings.get(name)
        if masks is not None and towers.deep is not None and towers.mask_features is not None:
            embedding = self.paths.masks(masks.detach().float().sigmoid(), towers.deep, towers.mask_features)
        return own if embedding is None else own + tower_scale(name) * embedding
