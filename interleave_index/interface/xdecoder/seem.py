"""SEEM: every query stands for a thing; copies of them answer expressions and drawn prompts.

Three ways to read prompts share all weights (`DecoderConfig.version`): v0 takes one drawn prompt a photo and answers
by a copy of all queries, v1 takes several and answers each by a few queries, drawn at random; in the demo all kinds of
prompts act on the queries at once. What the released code draws at random is given here by whoever asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..find.network import LEVELS
from ..find.outputs import Output, Pass
from ..find.prompts import Level, MaskPrompt, TextTokens, Variable, VisualTokens
from ..find.sampler import PromptPoints, prompt_points, tokens_at
from .config import DecoderConfig
from .decoder import Heads, MaskDecoder, Stream, off

OBJECT, GROUNDING, TEXT = "object", "grounding", "text"
SPATIAL, DRAWN, SHOWN, MEMORY = "spatial", "drawn tokens", "shown tokens", "memory"
SEES = {
    OBJECT: (OBJECT,),
    GROUNDING: (GROUNDING, TEXT),
    TEXT: (GROUNDING, TEXT),
    SPATIAL: (SPATIAL, DRAWN, SHOWN, MEMORY),
    DRAWN: (DRAWN,),
    SHOWN: (SHOWN,),
    MEMORY: (MEMORY,),
}
DEMO_SEES = {OBJECT: (OBJECT, TEXT, DRAWN, SHOWN), TEXT: (OBJECT, TEXT), DRAWN: (DRAWN,), SHOWN: (SHOWN,)}
OF_A_PROMPT = (SPATIAL, DRAWN, MEMORY)  # in v1 these meet only within one prompt


@dataclass(frozen=True, slots=True)
class DrawnTokens:
    """Prompts drawn on photos, as a pass takes them, on these photos or (v0, demo) on others.

    Attributes:
        tokens: of three levels.
        positive, negative: (B, n, C), the mean of the mask features at the points of each prompt; n is 1 but in v1.
    """

    tokens: VisualTokens
    positive: Tensor
    negative: Tensor


@dataclass(frozen=True, slots=True)
class Draws:
    """What SEEM v1 draws at random in every pass.

    Attributes:
        rows: (n * rows a prompt,) numbers of object queries, those of one prompt after another.
        memory: (layers, memories) numbers of prompts, whose earlier mask a memory carries in a layer; rising.
    """

    rows: Tensor
    memory: Tensor

    def to(self, device: torch.device) -> Draws:
        """The same on another device."""
        return Draws(self.rows.to(device), self.memory.to(device))


class SeemDecoder(MaskDecoder):
    """The decoder of a released SEEM file.

    Args:
        config: sizes, of family `seem`.
    """

    crosses = (OBJECT, GROUNDING, SPATIAL, MEMORY)
    antialias = False

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        width = config.width
        self.mask_sptial_embed = nn.ParameterList(torch.empty(width, width) for _ in range(LEVELS))
        self.spatial_embed = nn.Embedding(config.memories, width)
        self.spatial_featured = nn.Embedding(config.memories, width)
        self.pn_indicator = nn.Embedding(2, width)
        for matrix in self.mask_sptial_embed:
            nn.init.normal_(matrix, std=width**-0.5)

    def draws(self, prompts: int, generator: torch.Generator | None = None) -> Draws:
        """Draws for a pass with so many prompts, as the released code makes them, on the generator's device."""
        config = self.config
        device = torch.device("cpu") if generator is None else generator.device

        def numbers(most: int, *shape: int) -> Tensor:
            return torch.randint(most, shape, generator=generator, device=device)

        rows = numbers(config.queries, prompts * config.rows_per_prompt)
        return Draws(rows, numbers(prompts, config.layers, config.memories).sort(-1).values)

    def sample(
        self,
        levels: Sequence[Tensor],
        mask_features: Tensor,
        prompt: MaskPrompt,
        generator: torch.Generator | None = None,
    ) -> DrawnTokens:
        """Tokens and vectors of prompts that are drawn on photos.

        Args:
            levels, mask_features: of these photos.
            prompt: (n, H, W) bool masks an image over the network's padded input; v0 and demo take one an image.
            generator: of the draw of points of large prompts.
        """
        maps = [level.source.unflatten(1, level.size) for level in self._features(levels)]
        points = prompt_points(prompt, self.config.most_points, mask_features.device, generator)
        tokens = tokens_at(points, maps, list(self.mask_sptial_embed), self.pn_indicator.weight)
        count, missing = max(len(masks) for masks in prompt.positive), -1.0 if self.config.version == "v1" else 0.0
        sampled = points.sample(mask_features)
        return DrawnTokens(tokens, *(means(sampled, points, sign, count, missing) for sign in (0, 1)))

    def forward(
        self,
        levels: Sequence[Tensor],
        mask_features: Tensor,
        *,
        text: TextTokens | None = None,
        drawn: DrawnTokens | None = None,
        shown: DrawnTokens | None = None,
        previous: Tensor | None = None,
        draws: Draws | None = None,
        class_table: Tensor | None = None,
        earlier: bool = False,
    ) -> Pass:
        """One pass over photos. Object queries do not depend on prompts, but in the demo.

        Args:
            levels: (B, C, h, w) at strides 32, 16, 8; mask_features: at stride 4.
            text: projected tokens of expressions, a row an image.
            drawn: prompts on these photos; shown: prompts on other photos (v0, demo).
            previous: (B, n, h, w) mask logits of an earlier round on the same photos, or None; never in the demo.
            draws: of v1, where something is drawn or shown.
            class_table: (K, C) class vectors of unit length for `pred_logits`, or None.
            earlier: also keep the predictions before each layer.
        Returns:
            `pred_logits`, `pred_masks`, `pred_captions` (semantic vectors) of the object queries, and `pred_maskembs`
            (pixel vectors) in the demo; `pred_gmasks`, `pred_gtexts` (semantic vectors)
            with text; `pred_smasks`, `pred_smaskembs` (pixel vectors) with prompts, and their own vectors
            `pred_pspatials`, `pred_nspatials`, in the demo `pred_pvisuals`, `pred_nvisuals` for those that are shown.
        """
        batch = len(mask_features)
        objects = self._learned(OBJECT, slice(None), batch)
        is_demo = self.config.version == "demo"
        stream = Stream(
            [objects],
            DEMO_SEES if is_demo else SEES,
            self._features(levels),
            mask_features,
            (OBJECT,),
            previous=previous,
        )
        if text is not None:
            stream.variables.append(Variable(TEXT, text.tokens, text.tokens, text.pad))
            if not is_demo:
                stream.variables.append(self._learned(GROUNDING, slice(None), batch))
                stream.predicted += (GROUNDING,)
        for name, prompts in ((DRAWN, drawn), (SHOWN, shown)):
            if prompts is not None and prompts.tokens.pad.shape[1]:
                tokens, first = prompts.tokens, prompts.tokens.levels[0]
                stream.variables.append(Variable(name, first, first, tokens.pad, tokens.index, tokens.levels))
        if (drawn is not None or shown is not None) and not is_demo:
            self._add_spatial(stream, batch, draws)
        made = self._decode(stream, class_table, earlier=earlier)
        for output in (made.final, *made.earlier):
            self._add_prompts(output, drawn, shown)
        return made

    def _add_spatial(self, stream: Stream, batch: int, draws: Draws | None) -> None:
        """The queries that answer drawn prompts, and the memories of the masks before."""
        if self.config.version == "v0":
            stream.variables.append(self._learned(SPATIAL, slice(None), batch))
        elif draws is None:
            raise TypeError("a prompt of SEEM v1 needs draws")
        else:
            count = len(draws.rows) // self.config.rows_per_prompt
            index = torch.arange(count, device=draws.rows.device).repeat_interleave(self.config.rows_per_prompt)
            stream.variables.append(self._learned(SPATIAL, draws.rows, batch, index.expand(batch, -1)))
        stream.predicted += (SPATIAL,)
        if stream.previous is not None:
            content, position = self.spatial_featured.weight, self.spatial_embed.weight
            stream.variables.append(Variable(MEMORY, content.expand(batch, -1, -1), position.expand(batch, -1, -1)))
            stream.memory_index = None if draws is None else draws.memory

    def _add_prompts(self, output: Output, drawn: DrawnTokens | None, shown: DrawnTokens | None) -> None:
        is_demo = self.config.version == "demo"
        if drawn is not None:
            output |= {"pred_pspatials": drawn.positive, "pred_nspatials": drawn.negative}
        if shown is not None:
            kind = "visuals" if is_demo else "spatials"
            output |= {f"pred_p{kind}": shown.positive, f"pred_n{kind}": shown.negative}

    def _enter(self, stream: Stream, number: int) -> None:
        if stream.memory_index is not None:
            memory = stream.named(MEMORY)
            memory.index = stream.memory_index[number].expand(len(memory.content), -1)

    def _narrow(self, query: Variable, key: Variable) -> Tensor | None:
        both = query.name in OF_A_PROMPT and key.name in OF_A_PROMPT
        if self.config.version != "v1" or not both or query.index is None or key.index is None:
            return None
        return query.index[:, :, None] != key.index[:, None, :]

    def _blocked(self, stream: Stream, name: str, masks: dict[str, Tensor], level: Level) -> Tensor:
        if name != MEMORY or stream.previous is None:
            return super()._blocked(stream, name, masks, level)
        blocked = off(self._resized(stream.previous, level.size))
        memory = stream.named(MEMORY)
        if memory.index is None:
            return blocked.expand(-1, memory.content.shape[1], -1)
        return blocked.gather(1, memory.index[:, :, None].expand(-1, -1, blocked.shape[2]))

    def _outputs(self, stream: Stream, heads: dict[str, Heads], class_table: Tensor | None) -> Output:
        objects, version = heads[OBJECT], self.config.version
        output: Output = {"pred_masks": objects.masks, "pred_captions": objects.semantic}
        if class_table is not None:
            output["pred_logits"] = self._class_logits(objects.semantic, class_table)
        if version == "demo":
            output["pred_maskembs"] = objects.pixel
        if GROUNDING in heads:
            output |= {"pred_gmasks": heads[GROUNDING].masks, "pred_gtexts": heads[GROUNDING].semantic}
        if SPATIAL in heads:
            output |= {"pred_smasks": heads[SPATIAL].masks, "pred_smaskembs": heads[SPATIAL].pixel}
            if version == "v1":
                output["pred_stexts"] = heads[SPATIAL].semantic
        return output

    def pick(self, output: Output) -> Tensor:
        """(B, n) row of `pred_smasks` that answers each prompt of a pass: the largest product with its vector."""
        fit = output["pred_pspatials"] @ output["pred_smaskembs"].transpose(1, 2)  # (B, n, rows)
        if self.config.version == "v1":
            count, each = fit.shape[1], self.config.rows_per_prompt
            own = torch.arange(count, device=fit.device).repeat_interleave(each) == torch.arange(
                count, device=fit.device
            ).unsqueeze(1)
            fit = fit.masked_fill(~own, -torch.inf)
        return fit.argmax(-1)

    def picked(self, output: Output) -> Tensor:
        """(B, n, h, w) logits of the masks that `pick` chooses; `previous` of the next round."""
        masks = output["pred_smasks"]
        return masks.gather(1, self.pick(output)[:, :, None, None].expand(-1, -1, *masks.shape[2:]))


def means(sampled: Tensor, points: PromptPoints, sign: int, count: int, missing: float) -> Tensor:
    """(B, count, C) means of what was sampled at the points of each mask of one sign; `missing` where there are none.

    Args:
        sampled: (B, P, C), one a point.
    """
    numbers = torch.arange(count, device=sampled.device)[None, :, None]
    own = ((points.index[:, None] == numbers) & (points.sign[:, None] == sign)).to(sampled.dtype)
    total = own.sum(-1, keepdim=True)
    return torch.where(total > 0, own @ sampled / total.clamp(min=1), sampled.new_tensor(missing))
