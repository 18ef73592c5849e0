"""X-Decoder: object queries and one class query; expressions are read by a copy of the object queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..find.outputs import Output, Pass
from ..find.prompts import Level, Variable
from ..find.state import cosines
from .config import DecoderConfig
from .decoder import Heads, MaskDecoder, Stream

OBJECT, CLASS, GROUNDING, TEXT, CAPTION = "object", "class", "grounding", "text", "caption"
SEES = {
    OBJECT: (OBJECT,),
    CLASS: (CLASS,),
    GROUNDING: (GROUNDING, TEXT),
    TEXT: (GROUNDING, TEXT),
    CAPTION: (OBJECT, CLASS, CAPTION),
}


class XDecoder(MaskDecoder):
    """The decoder of a released X-Decoder file.

    Args:
        config: sizes, of family `xdecoder`.
    """

    crosses = (OBJECT, CLASS, GROUNDING, CAPTION)
    antialias = True
    self_attn_mask: Tensor

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        rows = config.queries + config.context
        self.caping_embed = nn.Parameter(torch.empty(config.width, config.width))
        self.pos_embed_caping = nn.Embedding(config.context, config.width)
        # part of a released file; what it says stands in SEES
        self.register_buffer("self_attn_mask", torch.zeros((1, rows, rows), dtype=torch.bool))
        nn.init.normal_(self.caping_embed, std=config.width**-0.5)

    def forward(
        self,
        levels: Sequence[Tensor],
        mask_features: Tensor,
        *,
        text: Tensor | None = None,
        class_table: Tensor | None = None,
        earlier: bool = False,
    ) -> Pass:
        """One pass over photos.

        Args:
            levels: (B, C, h, w) at strides 32, 16, 8; mask_features: at stride 4.
            text: (B, T, C) projected tokens of all expressions, none of them padding; they see each other.
            class_table: (K, C) class vectors of unit length for `pred_logits`, or None.
            earlier: also keep the predictions before each layer.
        Returns:
            `pred_logits`, `pred_masks` and `pred_captions` (the semantic vectors) of the object queries, of the class
            query, whose vector stands for the photo, and with `text` of as many grounding queries as there are objects.
        """
        stream = self._stream(levels, mask_features)
        if text is not None:
            batch = len(mask_features)
            stream.variables.append(self._learned(GROUNDING, slice(-1), batch))
            stream.variables.append(Variable(TEXT, text, text))
            stream.predicted = (*stream.predicted, GROUNDING)
        return self._decode(stream, class_table, earlier=earlier)

    def _stream(self, levels: Sequence[Tensor], mask_features: Tensor) -> Stream:
        batch = len(mask_features)
        variables = [self._learned(OBJECT, slice(-1), batch), self._learned(CLASS, slice(-1, None), batch)]
        return Stream(variables, SEES, self._features(levels), mask_features, (OBJECT, CLASS))

    def _normed(self, stream: Stream) -> dict[str, Tensor]:
        """The class row is the mean of the objects, weighted by how like it they are."""
        normed = super()._normed(stream)
        weight = cosines(normed[CLASS], normed[OBJECT]).softmax(-1)
        return normed | {CLASS: weight @ normed[OBJECT]}

    def _narrow(self, query: Variable, key: Variable) -> Tensor | None:
        """Words of a caption see none that come later."""
        if query.name == key.name == CAPTION:
            words = query.content.shape[1]
            return torch.ones((words, words), dtype=torch.bool, device=query.content.device).triu(1)
        return None

    def _blocked(self, stream: Stream, name: str, masks: dict[str, Tensor], level: Level) -> Tensor:
        """The published code means to let the class query see everything, and frees the row behind it instead."""
        if name == CAPTION:
            words = stream.named(CAPTION).content
            if stream.outside is None:
                return words.new_zeros((*words.shape[:2], level.size[0] * level.size[1]), dtype=torch.bool)
            region = F.interpolate(stream.outside[:, None].float(), size=level.size, mode="nearest")
            return region.bool().flatten(2).expand(len(words), words.shape[1], -1)
        blocked = super()._blocked(stream, name, masks, level)
        if name == GROUNDING:
            blocked[:, 0] = False
        return blocked

    def _outputs(self, stream: Stream, heads: dict[str, Heads], class_table: Tensor | None) -> Output:
        semantic = torch.cat([heads[name].semantic for name in stream.predicted], 1)
        output = {
            "pred_masks": torch.cat([heads[name].masks for name in stream.predicted], 1),
            "pred_captions": semantic,
        }
        if class_table is not None:
            output["pred_logits"] = self._class_logits(semantic, class_table)
        return output

    # --- captions -------------------------------------------------------------------------------

    def caption(
        self,
        levels: Sequence[Tensor],
        mask_features: Tensor,
        read: Callable[[Tensor], Tensor],
        words: Tensor,
        *,
        start: int,
        steps: int,
        outside: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Write captions, the likeliest word at each step.

        Args:
            read: (B, T) ids to their (B, T, C) projected states.
            words: (V, C) embeddings of all words, as the text tower has them.
            start: id that a caption begins with, and is filled up with.
            steps: words that are written.
            outside: (B, h, w) bool, True on pixels that the words must not look at, or None.
        Returns:
            (B, T) ids, and the (B, steps, V) logits of what was written.
        """
        batch, context = len(mask_features), self.config.context
        ids = torch.full((batch, context), start, dtype=torch.long, device=mask_features.device)
        logits = []
        for step in range(min(steps, context - 1)):
            tokens = read(ids)
            stream = self._stream(levels, mask_features)
            stream.outside = outside
            stream.variables.append(Variable(CAPTION, tokens, tokens + self.pos_embed_caping.weight))
            for number in range(self.config.layers):
                self._layer(stream, number, self._normed(stream))
            row = self.decoder_norm(stream.named(CAPTION).content[:, step])
            logits.append(row @ self.caping_embed @ words.T)
            ids[:, step + 1] = logits[-1].argmax(-1)
        return ids, torch.stack(logits, 1)
